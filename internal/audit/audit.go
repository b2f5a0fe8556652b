// Package audit keeps the log of every decision: who asked for what, of which commit and plan, and why it was allowed or
// refused. Nobody changes it afterwards without its being found.
//
// The life of an entry: the function that decides calls Append in the transaction that acts on the decision, so there is
// neither act without entry nor entry without act. Append locks the head of the log, numbers the entry, and chains it: its
// hash covers all that it says and the hash before it. With a key, entry and head also get a seal. From then on the
// database refuses to change it. List shows it, Export writes it for others to keep, Verify finds what is not as it was.
//
// What is found, and by whom:
//
//   - A bug or a stray statement is refused by the database's triggers.
//   - Whoever may drop the triggers can rewrite the log, hashes included. Without the key they cannot make the seals, so
//     Verify finds an entry that was changed, removed, moved or put in, and an end that was cut off. The key must be kept
//     where the database's administrators do not get.
//   - Whoever puts back a former state of the whole database, head and its seal included, or has the key, is found only by
//     what was kept elsewhere: an Anchor, the number and hash of any exported entry, given to Verify later. Export
//     regularly to a place that cannot be rewritten.
//   - Without a key the log is only chained: it shows accidents, and with an anchor all that was changed before it.
//
// It keeps no secrets: details are an allow-list of keys whose values are short, and what a caller writes into Reason must
// come from its own words. It does not decide, log to a stream, or delete what is old.
package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Entry is one decision.
type Entry struct {
	Seq         int64             // from 1, without gaps; set by Append
	At          time.Time         // zero: now; kept in UTC to the microsecond. The order is that of Seq: clocks go back
	Actor       string            // who asked: a login of the forge, or plumbline
	Action      string            // what was asked for, such as apply
	Repository  string            // owner/name
	Change      int64             // number of the pull request; 0: none
	Workspace   string            // name, or ""
	Commit      string            // or ""
	Fingerprint string            // of the plan, or ""
	Allowed     bool              // false: refused
	Reason      string            // why it was allowed or refused
	Details     map[string]string // keys of DetailKeys only
	Hash        string            // of the entry and all before it, hexadecimal; set by Append
}

// Anchor is an entry's place in the chain. Kept elsewhere, it proves later that the log still holds what it held.
type Anchor struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// Limits, in bytes. What is longer is cut and ends in "…".
const (
	maxText   = 500
	maxReason = 2000
	maxDetail = 200
)

// maxList is how many entries List returns at most: a page of 1000, and one more that tells whether another page follows.
const maxList = 1001

// timeFormat is how times are kept: all of one length, so that they sort.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// DetailKeys returns the keys that Details may have, sorted. None is for text that Terraform, a provider or a user wrote.
func DetailKeys() []string {
	return []string{
		"approvals", // how many there were
		"approvers", // and whose
		"branch",    // the base branch's name
		"cause",     // of drift
		"class",     // of drift
		"command",   // the name of what was commanded in a comment
		"comment",   // the comment's id
		"counts",    // of the plan, such as +1 ~2 -0
		"engine",    // Terraform or OpenTofu
		"event",     // the key of the event that led here
		"issue",     // its number on the forge
		"ladder",    // of drift
		"lineage",   // of the state
		"lock",      // id of Terraform's state lock
		"person",    // who signed in, where that is not the actor's name
		"plan",      // id
		"request",   // id of what was asked for on a page or through the API
		"required",  // how many approvals were needed
		"run",       // id
		"serial",    // of the state
		"status",    // what became of it
		"terraform", // the engine's version
		"via",       // web or api, where it was not asked for in a comment
	}
}

// Options says how a log is sealed.
type Options struct {
	// Keys seal and verify. The first one seals; all of them verify, so that keys can be rotated. None: no seals.
	// Each has at least 32 bytes and is used for nothing else.
	Keys [][]byte
	// Now is the clock for entries without a time. Default time.Now.
	Now func() time.Time
}

// Log appends to the log, and reads it. Its tables are made by internal/database. It may be used by many at once.
type Log struct {
	keys []key
	now  func() time.Time
}

// New returns a log. It fails if a key is too short.
func New(o Options) (*Log, error) {
	l := &Log{now: o.Now}
	if l.now == nil {
		l.now = time.Now
	}
	for i, secret := range o.Keys {
		if len(secret) < 32 {
			return nil, fmt.Errorf("use key %d of the audit log: it has %d bytes, want at least 32", i+1, len(secret))
		}
		l.keys = append(l.keys, newKey(secret))
	}
	return l, nil
}

// Append adds an entry in the caller's transaction and returns it as it was kept. Until that transaction ends no other
// entry can be appended, so append last. When it fails, the transaction must be rolled back.
//
// Control characters and invalid UTF-8 become U+FFFD, and long texts are cut, so that a decision can be kept whatever a
// branch is called. A detail with a key that is not in DetailKeys is an error, which does not show the value.
func (l *Log) Append(ctx context.Context, tx *sql.Tx, e Entry) (Entry, error) {
	for _, name := range slices.Sorted(maps.Keys(e.Details)) {
		if !slices.Contains(DetailKeys(), name) {
			return Entry{}, fmt.Errorf("append to the audit log: a detail's key is not one of %q", DetailKeys())
		}
	}
	if strings.TrimSpace(e.Actor) == "" || strings.TrimSpace(e.Action) == "" {
		return Entry{}, errors.New("append to the audit log: the entry has no actor or no action")
	}
	if e.At.IsZero() {
		e.At = l.now()
	}
	if year := e.At.UTC().Year(); year < 1 || year > 9999 {
		return Entry{}, fmt.Errorf("append to the audit log: the year %d cannot be kept", year)
	}
	// A statement that changes nothing, and locks the row on both databases.
	head, err := scanHead(tx.QueryRowContext(ctx, `UPDATE audit_head SET seq = seq WHERE id = 1 RETURNING seq, hash, key_id, seal`))
	if err != nil {
		return Entry{}, fmt.Errorf("append to the audit log: lock its head: %w", err)
	}
	sealer, err := l.sealer(ctx, tx, head)
	if err != nil {
		return Entry{}, fmt.Errorf("append to the audit log: %w", err)
	}
	r, err := rowOf(e)
	if err != nil {
		return Entry{}, fmt.Errorf("append to the audit log: %w", err)
	}
	r[colSeq] = strconv.FormatInt(head.seq+1, 10)
	r[colPrevious] = head.hash
	r[colKey] = sealer.id
	r[colHash] = r.digest()
	r[colSeal] = sealer.entry(r[colHash])
	args := make([]any, 0, columns)
	marks := make([]string, 0, columns)
	for i, text := range r {
		var arg any = text
		if i == colSeq || i == colChange || i == colAllowed {
			if arg, err = strconv.ParseInt(text, 10, 64); err != nil {
				return Entry{}, fmt.Errorf("append to the audit log: %w", err)
			}
		}
		args, marks = append(args, arg), append(marks, "$"+strconv.Itoa(i+1))
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit_entry (`+columnNames+`) VALUES (`+strings.Join(marks, ", ")+`)`, args...); err != nil {
		return Entry{}, fmt.Errorf("append to the audit log: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE audit_head SET seq = $1, hash = $2, key_id = $3, seal = $4 WHERE id = 1`,
		head.seq+1, r[colHash], sealer.id, sealer.head(head.seq+1, r[colHash])); err != nil {
		return Entry{}, fmt.Errorf("append to the audit log: move its head: %w", err)
	}
	return r.entry()
}

// Filter chooses entries. Zero fields choose all.
type Filter struct {
	Repository, Workspace, Actor, Action string
	Repositories                         []string // only entries of one of these, "" for those of none; nil: all, empty: no entry
	Change                               int64
	Refused                              bool   // only what was refused
	Text                                 string // stands in the actor, action, repository, workspace, commit, fingerprint or reason, in any case of a to z
	Since, Until                         time.Time
	Before                               int64 // only entries with a smaller Seq: the last one of the page before
	Limit                                int   // size of a page; 0: 100, at most 1001
}

// List returns a page of entries, newest first. What it shows was not verified.
func (l *Log) List(ctx context.Context, tx *sql.Tx, f Filter) ([]Entry, error) {
	var conditions []string
	var args []any
	where := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, condition+" $"+strconv.Itoa(len(args)))
	}
	for column, text := range map[string]string{"repository =": f.Repository, "workspace =": f.Workspace, "actor =": f.Actor, "action =": f.Action} {
		if text != "" {
			where(column, text)
		}
	}
	if f.Repositories != nil {
		marks := make([]string, 0, len(f.Repositories))
		for _, name := range f.Repositories {
			args = append(args, name)
			marks = append(marks, "$"+strconv.Itoa(len(args)))
		}
		condition := "1 = 0"
		if len(marks) > 0 {
			condition = "repository IN (" + strings.Join(marks, ", ") + ")"
		}
		conditions = append(conditions, condition)
	}
	if f.Change != 0 {
		where("change_number =", f.Change)
	}
	if f.Refused {
		where("allowed =", 0)
	}
	if f.Text != "" {
		where(`LOWER(actor || ' ' || action || ' ' || repository || ' ' || workspace || ' ' || commit_id || ' ' || fingerprint || ' ' || reason) LIKE`, likely(f.Text))
		conditions[len(conditions)-1] += ` ESCAPE '!'`
	}
	if !f.Since.IsZero() {
		where("at >=", f.Since.UTC().Format(timeFormat))
	}
	if !f.Until.IsZero() {
		where("at <", f.Until.UTC().Format(timeFormat))
	}
	if f.Before > 0 {
		where("seq <", f.Before)
	}
	query := `SELECT ` + columnNames + ` FROM audit_entry`
	if len(conditions) > 0 {
		query += ` WHERE ` + strings.Join(conditions, " AND ")
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	query += ` ORDER BY seq DESC LIMIT ` + strconv.Itoa(min(limit, maxList))
	var entries []Entry
	err := eachRow(ctx, tx, query, args, func(r row) error {
		e, err := r.entry()
		if err != nil {
			return fmt.Errorf("entry %s: %w", r[colSeq], err)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	return entries, nil
}

// likely is the pattern of LIKE for texts that hold another, with "!" before what would stand for others.
func likely(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(text)) + "%"
}

// Export writes the entries after a number (0: all), oldest first, one JSON object a line, and returns the anchor of the
// last one: Seq 0 if there was none. What it writes was not verified.
//
// Every column is written as it is kept, so whoever keeps the lines can compute the hashes again. A hash is SHA-256, in
// hexadecimal, of the line "plumbline audit entry 1" and then, for each of seq, at, actor, action, repository, change,
// workspace, commit, fingerprint, allowed (1 or 0), reason, details (as written), key and previous: its length in bytes, a
// colon, its text and a line feed.
func (l *Log) Export(ctx context.Context, tx *sql.Tx, w io.Writer, after int64) (Anchor, error) {
	var last Anchor
	err := eachRow(ctx, tx, `SELECT `+columnNames+` FROM audit_entry WHERE seq > $1 ORDER BY seq`, []any{after}, func(r row) error {
		seq, err := strconv.ParseInt(r[colSeq], 10, 64)
		if err != nil {
			return err
		}
		details := json.RawMessage(r[colDetails])
		if !json.Valid(details) {
			return fmt.Errorf("entry %d: its details are not JSON; it was changed", seq)
		}
		line, err := json.Marshal(struct {
			Seq         json.Number     `json:"seq"`
			At          string          `json:"at"`
			Actor       string          `json:"actor"`
			Action      string          `json:"action"`
			Repository  string          `json:"repository"`
			Change      json.Number     `json:"change"`
			Workspace   string          `json:"workspace"`
			Commit      string          `json:"commit"`
			Fingerprint string          `json:"fingerprint"`
			Allowed     bool            `json:"allowed"`
			Reason      string          `json:"reason"`
			Details     json.RawMessage `json:"details"`
			Key         string          `json:"key"`
			Previous    string          `json:"previous"`
			Hash        string          `json:"hash"`
			Seal        string          `json:"seal"`
		}{json.Number(r[colSeq]), r[colAt], r[colActor], r[colAction], r[colRepository], json.Number(r[colChange]), r[colWorkspace],
			r[colCommit], r[colFingerprint], r[colAllowed] == "1", r[colReason], details, r[colKey], r[colPrevious], r[colHash], r[colSeal]})
		if err != nil {
			return err
		}
		last = Anchor{seq, r[colHash]}
		_, err = w.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		return Anchor{}, fmt.Errorf("export the audit log: %w", err)
	}
	return last, nil
}

// clean makes a text one that both databases keep as it is, and that does no harm on a terminal.
func clean(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return utf8.RuneError
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	cut := limit - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
