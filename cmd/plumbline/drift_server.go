package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// pauseCommand, resumeCommand and statusCommand speak to the servers of one
// configuration, through their database.
func (p *program) pauseCommand() *cli.Command {
	return &cli.Command{
		Name:      "pause",
		Usage:     "keep the server from looking for drift and from correcting it",
		ArgsUsage: "[NAME...]",
		Description: "Holds at once, on all machines, for the workspaces that are named, for a repository, or for all. Looks that\n" +
			"are under way are stopped; a correction that Terraform applies already comes to its end.\n\n" +
			"Examples:\n" +
			"   plumbline drift pause --all --until 2h --reason 'the provider is down'\n" +
			"   plumbline drift pause --until 2026-12-01 --reason 'a migration by hand' clusters/prod\n" +
			"   plumbline drift pause --repo acme/live --reason 'moving accounts'\n\n" +
			"Exit status: 0; 1 on an error.",
		Flags: append(storageFlags(),
			&cli.BoolFlag{Name: "all", Usage: "everything that the server looks at"},
			&cli.StringFlag{Name: "repo", Usage: "all of the repository `OWNER/NAME`, or the workspaces that are named in it"},
			&cli.StringFlag{Name: "until", Usage: "end it by itself at `TIME`: 2026-12-01, 2026-12-01T09:00:00Z, or 2h for that long from now"},
			&cli.StringFlag{Name: "reason", Usage: "say why, for whoever sees it"},
		),
		Action: p.driftPause,
	}
}

func (p *program) resumeCommand() *cli.Command {
	return &cli.Command{
		Name:      "resume",
		Usage:     "end what `plumbline drift pause` began",
		ArgsUsage: "[NAME...]",
		Description: "Ends the pause of the workspaces that are named, of a repository, or the one of all: each on its own.\n\n" +
			"Examples:\n   plumbline drift resume --all\n   plumbline drift resume clusters/prod\n\n" +
			"Exit status: 0; 1 if there was none, or on an error.",
		Flags: append(storageFlags(),
			&cli.BoolFlag{Name: "all", Usage: "the pause of everything"},
			&cli.StringFlag{Name: "repo", Usage: "the pause of the repository `OWNER/NAME`, or of the workspaces that are named in it"},
		),
		Action: p.driftResume,
	}
}

func (p *program) statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show what the server knows of drift, what is due, overdue and paused",
		ArgsUsage: " ",
		Description: "Examples:\n   plumbline drift status\n   plumbline drift status --repo acme/live --json\n\n" +
			"Exit status: 0; 1 on an error.",
		Flags: append(storageFlags(),
			&cli.StringFlag{Name: "repo", Usage: "only of the repository `OWNER/NAME`"},
			jsonFlag(),
		),
		Action: p.driftStatusOfServer,
	}
}

// askFlags are those that make `plumbline drift NAME` ask a server.
func askFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "have the server of this configuration `FILE` look, instead of looking here"},
		&cli.StringFlag{Name: "repo", Usage: "with --config: in the repository `OWNER/NAME`"},
		&cli.DurationFlag{Name: "wait", Usage: "with --config: wait so long for the answer", Value: 10 * time.Minute},
	}
}

// withServer opens the database of the configuration, for as long as fn runs.
func (p *program) withServer(c *cli.Context, fn func(ctx context.Context, control *engine.DriftControl) error) error {
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
	log, err := p.openAuditLog(config)
	if err != nil {
		return err
	}
	return fn(c.Context, engine.NewDriftControl(db, log))
}

// operator is whoever sits at this machine, for the audit log.
func operator() string {
	name := "somebody"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return name + " (command line)"
}

// scopes are the pauses that the arguments name.
func scopes(c *cli.Context, s engine.DriftStatus) ([]engine.Pause, error) {
	names, repo := c.Args().Slice(), c.String("repo")
	switch {
	case c.Bool("all") && (len(names) > 0 || repo != ""):
		return nil, errors.New("--all is everything: leave out the rest")
	case c.Bool("all"):
		return []engine.Pause{{}}, nil
	case len(names) == 0 && repo == "":
		return nil, errors.New("name a workspace, a repository with --repo, or everything with --all")
	case len(names) == 0:
		id, err := s.Repository(repo)
		return []engine.Pause{{Repository: id}}, err
	}
	var all []engine.Pause
	for _, name := range names {
		found, err := s.Find(repo, name)
		if err != nil {
			return nil, err
		}
		all = append(all, engine.Pause{Repository: found[0].Repository, Workspace: found[0].Workspace})
	}
	return all, nil
}

// scopeText names a pause's scope for people.
func scopeText(p engine.Pause) string {
	switch {
	case p.Repository == "":
		return "everything"
	case p.Workspace == "":
		return "all of " + printable(string(p.Repository))
	}
	return printable(p.Workspace) + " of " + printable(string(p.Repository))
}

func (p *program) driftPause(c *cli.Context) error {
	until, err := parseAhead(c.String("until"), time.Now())
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(c.String("reason"))
	switch {
	case reason == "":
		return errors.New("say why with --reason: others will see the pause and want to know")
	case len(reason) > 500 || strings.ContainsFunc(reason, isControl):
		return errors.New("--reason: write one line of at most 500 bytes")
	}
	return p.withServer(c, func(ctx context.Context, control *engine.DriftControl) error {
		s, err := control.Status(ctx)
		if err != nil {
			return err
		}
		all, err := scopes(c, s)
		if err != nil {
			return err
		}
		for _, pause := range all {
			pause.Until, pause.Reason, pause.Actor = until, reason, operator()
			if err := control.Pause(ctx, pause); err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "paused: %s %s\n", scopeText(pause), printable(pause.String()))
		}
		return nil
	})
}

func (p *program) driftResume(c *cli.Context) error {
	return p.withServer(c, func(ctx context.Context, control *engine.DriftControl) error {
		s, err := control.Status(ctx)
		if err != nil {
			return err
		}
		all, err := scopes(c, s)
		if err != nil {
			return err
		}
		var missing []error
		for _, pause := range all {
			pause.Actor = operator()
			ended, err := control.Resume(ctx, pause)
			switch {
			case err != nil:
				return err
			case ended:
				fmt.Fprintf(p.stdout, "resumed: %s\n", scopeText(pause))
			default:
				missing = append(missing, fmt.Errorf("%s was not paused by itself: `plumbline drift status` lists what is", scopeText(pause)))
			}
		}
		return errors.Join(missing...)
	})
}

// parseAhead reads when something ends; "" is never.
func parseAhead(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	var until time.Time
	if d, err := time.ParseDuration(text); err == nil {
		until = now.Add(d)
	} else if t, err := time.Parse(time.RFC3339, text); err == nil {
		until = t
	} else if t, err := time.Parse(time.DateOnly, text); err == nil {
		until = t
	} else {
		return time.Time{}, fmt.Errorf("--until %s: write a date such as 2026-12-01, a time such as 2026-12-01T09:00:00Z, or 2h for that long from now", printable(text))
	}
	if !until.After(now) {
		return time.Time{}, fmt.Errorf("--until %s: that is over already", printable(text))
	}
	return until.UTC(), nil
}

// sweepJSON is a workspace as `drift status --json` prints it. Times that never
// were are null.
type sweepJSON struct {
	Repository string     `json:"repository"`
	Workspace  string     `json:"workspace"`
	State      string     `json:"state"`
	Findings   int        `json:"findings"`
	Every      string     `json:"every"`
	Account    string     `json:"account"`
	Since      *time.Time `json:"since"`
	Checked    *time.Time `json:"checked"`
	Next       *time.Time `json:"next"`
	Failures   int        `json:"failures"`
	Running    bool       `json:"running"`
	Overdue    bool       `json:"overdue"`
	Paused     *pauseJSON `json:"paused"`
}

type pauseJSON struct {
	Scope  string     `json:"scope"`
	Until  *time.Time `json:"until"`
	Reason string     `json:"reason"`
	Actor  string     `json:"actor"`
	At     time.Time  `json:"at"`
}

type driftStatusJSON struct {
	Pauses     []pauseJSON `json:"pauses"`
	Workspaces []sweepJSON `json:"workspaces"`
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func newPauseJSON(p engine.Pause) pauseJSON {
	return pauseJSON{Scope: strings.TrimSpace(string(p.Repository) + " " + p.Workspace), Until: known(p.Until), Reason: p.Reason, Actor: p.Actor, At: p.At}
}

func (p *program) driftStatusOfServer(c *cli.Context) error {
	return p.withServer(c, func(ctx context.Context, control *engine.DriftControl) error {
		s, err := control.Status(ctx)
		if err != nil {
			return err
		}
		if repo := c.String("repo"); repo != "" {
			id, err := s.Repository(repo)
			if err != nil {
				return err
			}
			s.Sweeps = slices.DeleteFunc(s.Sweeps, func(w engine.Sweep) bool { return w.Repository != id })
		}
		if c.Bool("json") {
			return p.printJSON(newDriftStatusJSON(s))
		}
		return p.printDriftStatus(s)
	})
}

func newDriftStatusJSON(s engine.DriftStatus) driftStatusJSON {
	j := driftStatusJSON{Pauses: []pauseJSON{}, Workspaces: []sweepJSON{}}
	for _, pause := range s.Pauses {
		j.Pauses = append(j.Pauses, newPauseJSON(pause))
	}
	for _, w := range s.Sweeps {
		one := sweepJSON{
			Repository: string(w.Repository), Workspace: w.Workspace, State: string(w.State), Findings: s.Found(w), Every: w.Every, Account: w.Account,
			Since: known(w.Since), Checked: known(w.CheckedAt), Next: known(w.NextAt), Failures: w.Failures, Running: w.Operation != "", Overdue: s.Overdue(w),
		}
		if pause := s.Paused(w); pause != nil {
			text := newPauseJSON(*pause)
			one.Paused = &text
		}
		j.Workspaces = append(j.Workspaces, one)
	}
	return j
}

func (p *program) printDriftStatus(s engine.DriftStatus) error {
	for _, pause := range s.Pauses {
		fmt.Fprintf(p.stdout, "paused: %s %s\n", scopeText(pause), printable(pause.String()))
	}
	rows := [][]string{{"WORKSPACE", "REPOSITORY", "STATE", "FINDINGS", "CHECKED", "NEXT", "EVERY", "REMARK"}}
	for _, w := range s.Sweeps {
		remark := ""
		switch pause := s.Paused(w); {
		case pause != nil:
			remark = "paused"
		case w.Operation != "":
			remark = "being looked at"
		case s.Overdue(w):
			remark = "overdue"
		case w.Failures > 0:
			remark = strconv.Itoa(w.Failures) + " looks in a row without an answer"
		}
		rows = append(rows, []string{
			w.Workspace, string(w.Repository), string(w.State), strconv.Itoa(s.Found(w)), momentText(w.CheckedAt), momentText(w.NextAt), w.Every, remark,
		})
	}
	return table(p.stdout, rows)
}

func momentText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format(time.DateTime)
}

// askDrift has a server look at workspaces, and waits for what it says.
func (p *program) askDrift(c *cli.Context) error {
	if c.NArg() == 0 {
		return errors.New("with --config, name the workspaces that the server is to look at")
	}
	return p.withServer(c, func(ctx context.Context, control *engine.DriftControl) error {
		s, err := control.Status(ctx)
		if err != nil {
			return err
		}
		var asked []engine.Sweep
		for _, name := range c.Args().Slice() {
			found, err := s.Find(c.String("repo"), name)
			if err != nil {
				return err
			}
			asked = append(asked, found...)
		}
		if err := control.Ask(ctx, operator(), asked); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "asked the server to look at %d workspaces\n", len(asked))
		return p.awaitLooks(ctx, c, control, asked)
	})
}

// awaitLooks waits until each workspace was looked at once more.
func (p *program) awaitLooks(ctx context.Context, c *cli.Context, control *engine.DriftControl, asked []engine.Sweep) error {
	began := time.Now()
	until := began.Add(c.Duration("wait"))
	for {
		s, err := control.Status(ctx)
		if err != nil {
			return err
		}
		var now []engine.Sweep
		open := 0
		for _, w := range s.Sweeps {
			i := slices.IndexFunc(asked, func(a engine.Sweep) bool { return a.Repository == w.Repository && a.Workspace == w.Workspace })
			if i < 0 {
				continue
			}
			now = append(now, w)
			if !w.AskedAt.IsZero() || w.Operation != "" || !w.StartedAt.After(asked[i].StartedAt) {
				open++
			}
		}
		if open == 0 || time.Now().After(until) {
			s.Sweeps = now
			if err := p.printDriftStatus(s); err != nil {
				return err
			}
			if open > 0 {
				return fmt.Errorf("%d of %d workspaces were not looked at yet: does `plumbline serve` run?", open, len(asked))
			}
			return lookStatus(now)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(max(time.Since(began)/8, 25*time.Millisecond), time.Second)): // who waits long can wait a little longer
		}
	}
}

// lookStatus is the exit status of what a server has seen.
func lookStatus(looked []engine.Sweep) error {
	switch {
	case slices.ContainsFunc(looked, func(w engine.Sweep) bool { return w.State == engine.SweepUnknown || w.State == engine.SweepNever }):
		return status(exitError)
	case slices.ContainsFunc(looked, func(w engine.Sweep) bool { return w.State == engine.SweepDrifted }):
		return status(exitChanges)
	}
	return nil
}
