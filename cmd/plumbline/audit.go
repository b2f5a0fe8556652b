package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/planstore"
)

func (p *program) auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "read and verify the server's log of decisions",
		Description: "The server writes down each decision: who, what, which commit, which plan, why it was allowed or refused.\n" +
			"These commands read its database, also while it runs. They neither make nor migrate one.\n\n" +
			"Examples:\n" +
			"   plumbline audit list --config server.yaml --repo acme/live --change 17\n" +
			"   plumbline audit export --config server.yaml --anchor anchor.json > audit.jsonl\n" +
			"   plumbline audit verify --config server.yaml --anchor anchor.json",
		Subcommands: []*cli.Command{
			{
				Name:        "list",
				Usage:       "list decisions, newest first",
				Description: "Exit status: 0; 1 if the log cannot be read.\n\nExample:\n   plumbline audit list --refused --since 168h",
				Flags: append(storageFlags(),
					&cli.StringFlag{Name: "repo", Usage: "only of the repository `OWNER/NAME`"},
					&cli.Int64Flag{Name: "change", Usage: "only of pull request `N`"},
					&cli.StringFlag{Name: "workspace", Aliases: []string{"w"}, Usage: "only of the workspace `NAME`"},
					&cli.StringFlag{Name: "actor", Usage: "only what `LOGIN` asked for"},
					&cli.StringFlag{Name: "action", Usage: "only the action `NAME`, such as apply"},
					&cli.BoolFlag{Name: "refused", Usage: "only what was refused"},
					&cli.StringFlag{Name: "since", Usage: "only from `TIME` on: 2026-11-21, 2026-11-21T09:00:00Z, or 24h for that long ago"},
					&cli.StringFlag{Name: "until", Usage: "only before `TIME`"},
					&cli.Int64Flag{Name: "before", Usage: "only entries with a smaller number than `N`: the next page"},
					&cli.IntFlag{Name: "limit", Usage: "at most `N` entries, up to 1000", Value: 100},
					jsonFlag(),
				),
				Action: p.auditList,
			},
			{
				Name:        "export",
				Usage:       "print the whole log as JSON lines, oldest first",
				Description: "Keep what it prints, and the anchor, where the server's machine cannot change them.\n\nExamples:\n   plumbline audit export > audit.jsonl\n   plumbline audit export --after 1200 --anchor anchor.json >> audit.jsonl\n\nExit status: 0; 1 if the log cannot be read.",
				Flags: append(storageFlags(),
					&cli.Int64Flag{Name: "after", Usage: "only entries with a greater number than `N`"},
					&cli.StringFlag{Name: "anchor", Usage: "write the number and hash of the last entry to `FILE`"},
				),
				Action: p.auditExport,
			},
			{
				Name:  "verify",
				Usage: "read the log from end to end and say whether it is whole",
				Description: "Finds an entry that was changed, removed, moved or put in, and names it. An anchor that was kept elsewhere\n" +
					"also finds a log that was put back to an earlier state. With --json the output is such an anchor.\n\n" +
					"Examples:\n   plumbline audit verify\n   plumbline audit verify --anchor yesterday.json --json > today.json\n\n" +
					"Exit status: 0 it is whole; 1 otherwise.",
				Flags: append(storageFlags(),
					&cli.StringSliceFlag{Name: "anchor", Usage: "`FILE` with anchors: of export, of verify --json, or lines of an export"},
					jsonFlag(),
				),
				Action: p.auditVerify,
			},
		},
	}
}

// auditPurpose is what the keys that seal the audit log are derived for.
const auditPurpose = "audit log"

// openAuditLog makes the log with the keys that follow from those of plans.
func (p *program) openAuditLog(c *serverConfig) (*audit.Log, error) {
	keys, err := planstore.DeriveKeys(planstore.Options{Key: p.getenv("PLUMBLINE_PLAN_KEY"), KeyFile: c.planKeyFile}, auditPurpose)
	if err != nil {
		return nil, err
	}
	return audit.New(audit.Options{Keys: keys})
}

// withAudit runs fn in one view of the server's database.
func (p *program) withAudit(c *cli.Context, fn func(ctx context.Context, log *audit.Log, tx *sql.Tx) error) error {
	config, err := p.readConfig(c, true)
	if err != nil {
		return err
	}
	db, err := database.OpenExisting(c.Context, database.Options{URL: config.database, DataDir: config.dataDir, Version: version})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: has `plumbline serve` run with this configuration?", err)
	} else if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	log, err := audit.New(audit.Options{})
	if p.getenv("PLUMBLINE_PLAN_KEY") != "" || fileExists(config.planKeyFile) {
		log, err = p.openAuditLog(config)
	} else {
		fmt.Fprintf(p.stderr, "warning: there is no key at %s: seals are not checked\n", printable(config.planKeyFile))
	}
	if err != nil {
		return err
	}
	return db.Read(c.Context, func(tx *sql.Tx) error { return fn(c.Context, log, tx) })
}

// auditEntry is an entry as `audit list --json` prints it.
type auditEntry struct {
	Seq         int64             `json:"seq"`
	At          time.Time         `json:"at"`
	Actor       string            `json:"actor"`
	Action      string            `json:"action"`
	Repository  string            `json:"repository"`
	Change      int64             `json:"change"`
	Workspace   string            `json:"workspace"`
	Commit      string            `json:"commit"`
	Fingerprint string            `json:"fingerprint"`
	Allowed     bool              `json:"allowed"`
	Reason      string            `json:"reason"`
	Details     map[string]string `json:"details"`
	Hash        string            `json:"hash"`
}

func (p *program) auditList(c *cli.Context) error {
	filter := audit.Filter{
		Repository: c.String("repo"), Workspace: c.String("workspace"), Actor: c.String("actor"), Action: c.String("action"),
		Change: c.Int64("change"), Refused: c.Bool("refused"), Before: c.Int64("before"), Limit: c.Int("limit"),
	}
	if filter.Limit < 1 || filter.Limit > 1000 {
		return fmt.Errorf("--limit %d: say how many entries, from 1 to 1000", filter.Limit)
	}
	var err error
	if filter.Since, err = parseMoment("since", c.String("since")); err != nil {
		return err
	}
	if filter.Until, err = parseMoment("until", c.String("until")); err != nil {
		return err
	}
	var entries []audit.Entry
	err = p.withAudit(c, func(ctx context.Context, log *audit.Log, tx *sql.Tx) error {
		entries, err = log.List(ctx, tx, filter)
		return err
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		list := make([]auditEntry, 0, len(entries))
		for _, e := range entries {
			list = append(list, auditEntry(e))
		}
		return p.printJSON(list)
	}
	rows := [][]string{{"ENTRY", "TIME", "WHO", "WHAT", "WHERE", "DECISION", "WHY"}}
	for _, e := range entries {
		where := e.Repository
		if e.Change != 0 {
			where += "#" + strconv.FormatInt(e.Change, 10)
		}
		if e.Workspace != "" {
			where += " " + e.Workspace
		}
		decision := "refused"
		if e.Allowed {
			decision = "allowed"
		}
		rows = append(rows, []string{strconv.FormatInt(e.Seq, 10), e.At.Local().Format(time.DateTime), e.Actor, e.Action, where, decision, e.Reason})
	}
	return table(p.stdout, rows)
}

// parseMoment reads a day, a time, or how long ago it was.
func parseMoment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("--%s %q: write a day (2026-11-21), a time (2026-11-21T09:00:00Z) or how long ago it was (24h)", flag, text)
}

// onceWriter knows whether anything was written: what has been printed cannot
// be taken back.
type onceWriter struct {
	to      io.Writer
	started bool
}

func (w *onceWriter) Write(data []byte) (int, error) {
	w.started = true
	return w.to.Write(data)
}

func (p *program) auditExport(c *cli.Context) error {
	out := &onceWriter{to: p.stdout}
	var last audit.Anchor
	err := p.withAudit(c, func(ctx context.Context, log *audit.Log, tx *sql.Tx) error {
		if out.started {
			return errors.New("the database's connection broke in the middle of the export: run it again")
		}
		var err error
		last, err = log.Export(ctx, tx, out, c.Int64("after"))
		return err
	})
	if err != nil {
		return err
	}
	file := c.String("anchor")
	if file == "" || last.Seq == 0 {
		return nil
	}
	data, err := json.Marshal(last)
	if err == nil {
		err = renameio.WriteFile(file, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the anchor: %w", err)
	}
	return nil
}

func (p *program) auditVerify(c *cli.Context) error {
	var anchors []audit.Anchor
	for _, file := range c.StringSlice("anchor") {
		list, err := readAnchors(file)
		if err != nil {
			return fmt.Errorf("read the anchor %s: %w", file, pathless(err))
		}
		anchors = append(anchors, list...)
	}
	var whole audit.Verified
	err := p.withAudit(c, func(ctx context.Context, log *audit.Log, tx *sql.Tx) error {
		var err error
		whole, err = log.Verify(ctx, tx, anchors...)
		return err
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return p.printJSON(struct {
			Entries int64        `json:"entries"`
			Sealed  int64        `json:"sealed"`
			Anchors int          `json:"anchors"`
			End     audit.Anchor `json:"end"`
		}{whole.Entries, whole.Sealed, len(anchors), whole.End})
	}
	met := "no anchor was given" // without one, an end that was cut off is not found
	if len(anchors) > 0 {
		met = fmt.Sprintf("anchors met: %d", len(anchors))
	}
	fmt.Fprintf(p.stdout, "The audit log is whole: %d entries, %d of them sealed; %s.\n", whole.Entries, whole.Sealed, met)
	if whole.End.Seq > 0 {
		fmt.Fprintf(p.stdout, "It ends with entry %d, %s.\n", whole.End.Seq, whole.End.Hash)
	}
	return nil
}

// readAnchors reads every anchor of a file of JSON values.
func readAnchors(path string) ([]audit.Anchor, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var anchors []audit.Anchor
	for decoder := json.NewDecoder(file); ; {
		var value struct {
			audit.Anchor
			End *audit.Anchor `json:"end"`
		}
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("it is not JSON: %w", err)
		}
		anchor := value.Anchor
		if value.End != nil {
			anchor = *value.End
		}
		if anchor.Seq < 0 || (anchor.Seq == 0) != (anchor.Hash == "") {
			return nil, errors.New("it has an entry without a number or a hash")
		}
		if anchor.Seq > 0 {
			anchors = append(anchors, anchor)
		}
	}
	if len(anchors) == 0 {
		return nil, errors.New("it holds no anchor")
	}
	return anchors, nil
}
