package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/planstore"
)

const sweepColumns = "repository, workspace, account, every, gone, known_at, next_at, asked_at, asked_by, operation, started_at, checked_at, state, since, failures, problem, overdue_at, overdue_told_at"

func scanSweep(row scanner) (Sweep, error) {
	var s Sweep
	var known, next, asked, started, checked, since, overdue, told int64
	var problem string
	err := row.Scan(&s.Repository, &s.Workspace, &s.Account, &s.Every, &s.Gone, &known, &next, &asked, &s.AskedBy, &s.Operation, &started, &checked,
		&s.State, &since, &s.Failures, &problem, &overdue, &told)
	s.KnownAt, s.NextAt, s.AskedAt, s.StartedAt, s.CheckedAt = moment(known), moment(next), moment(asked), moment(started), moment(checked)
	s.Since, s.OverdueAt, s.OverdueToldAt, s.Problem = moment(since), moment(overdue), moment(told), decode(problem)
	return s, err
}

// sweep reads when a workspace is looked at, and what was last seen.
func (s *store) sweep(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string) (Sweep, bool, error) {
	w, ok, err := first(ctx, tx, scanSweep, "SELECT "+sweepColumns+" FROM sweep WHERE repository = $1 AND workspace = $2", string(repo), workspace)
	if err != nil {
		return Sweep{}, false, fmt.Errorf("read when %s of %s is looked at: %w", workspace, repo, err)
	}
	return w, ok, nil
}

// sweeps reads those of a repository, or of all with "", in order; also of workspaces that are gone.
func (s *store) sweeps(ctx context.Context, tx *sql.Tx, repo RepoID) ([]Sweep, error) {
	all, err := list(ctx, tx, scanSweep, "SELECT "+sweepColumns+" FROM sweep WHERE repository = $1 OR $1 = '' ORDER BY repository, workspace", string(repo))
	if err != nil {
		return nil, fmt.Errorf("read when workspaces are looked at: %w", err)
	}
	return all, nil
}

// putSweep writes all of a sweep.
func (s *store) putSweep(ctx context.Context, tx *sql.Tx, w Sweep) error {
	sets := make([]string, 0, 20)
	for _, column := range strings.Split(sweepColumns, ", ")[2:] {
		sets = append(sets, column+" = excluded."+column)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO sweep ("+sweepColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (repository, workspace) DO UPDATE SET `+strings.Join(sets, ", "),
		string(w.Repository), w.Workspace, w.Account, w.Every, bit(w.Gone), millis(w.KnownAt), millis(w.NextAt), millis(w.AskedAt), w.AskedBy, w.Operation,
		millis(w.StartedAt), millis(w.CheckedAt), string(w.State), millis(w.Since), w.Failures, encode(w.Problem), millis(w.OverdueAt), millis(w.OverdueToldAt))
	if err != nil {
		return fmt.Errorf("keep when %s of %s is looked at: %w", w.Workspace, w.Repository, err)
	}
	return nil
}

// errYields says that a correction may not begin now: an apply of the workspace goes first.
var errYields = errors.New("an apply of the workspace goes first")

// errPaused says that a correction may not begin because of a pause; the error that wraps it says which.
var errPaused = errors.New("drift is paused")

// beginCorrection writes that a run that looks for drift applies a plan: from then on it writes, as an apply does. It is
// errTaken if the run is no longer its owner's, errYields if an apply or unlock of the workspace runs or waits for its
// turn, and wraps errPaused if somebody has said stop. Call it with the repository held by nobody else: it holds it.
func (s *store) beginCorrection(ctx context.Context, tx *sql.Tx, r Run, receipt planstore.Plan) error {
	if _, err := s.hold(ctx, tx, r.Repository); err != nil {
		return err
	}
	p, paused, err := s.paused(ctx, tx, r.Repository, r.Workspace)
	if err != nil {
		return err
	}
	if paused {
		return fmt.Errorf("%w: %s", errPaused, p.String())
	}
	others, _, err := first(ctx, tx, scanNumber, `SELECT COUNT(*) FROM run WHERE repository = $1 AND workspace = $2 AND id <> $3 AND writes = 1 AND status IN ('queued', 'running')`,
		string(r.Repository), r.Workspace, r.ID)
	if err != nil {
		return fmt.Errorf("look who else writes to %s: %w", r.Workspace, err)
	}
	if others > 0 {
		return errYields
	}
	ok, err := s.change1(ctx, tx, "UPDATE run SET phase = 'applying', writes = 1, plan = $1, fingerprint = $2 WHERE id = $3 AND kind = 'drift' AND status = 'running' AND owner = $4 AND cancel = 0",
		receipt.ID, receipt.Fingerprint, r.ID, r.Owner)
	if err == nil && !ok {
		err = errTaken
	}
	if err != nil {
		return fmt.Errorf("note that the run %s corrects: %w", r.ID, err)
	}
	return nil
}

// String says until when and why, for a sentence: "until 2026-11-21 18:00 UTC by ann: the provider is throttled".
func (p Pause) String() string {
	until := "until it is resumed"
	if !p.Until.IsZero() {
		until = "until " + p.Until.UTC().Format("2006-01-02 15:04 UTC")
	}
	text := until + " by " + p.Actor
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

const pauseColumns = "scope, until, reason, actor, at"

func scanPause(row scanner) (Pause, error) {
	var p Pause
	var scope string
	var until, at int64
	err := row.Scan(&scope, &until, &p.Reason, &p.Actor, &at)
	repo, workspace, _ := strings.Cut(scope, " ")
	p.Repository, p.Workspace, p.Until, p.At = RepoID(repo), workspace, moment(until), moment(at)
	return p, err
}

// paused reads the pause that holds for a workspace, the widest one if there are several. One whose time is over does not
// count.
func (s *store) paused(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string) (Pause, bool, error) {
	p, ok, err := first(ctx, tx, scanPause, "SELECT "+pauseColumns+" FROM drift_pause WHERE scope IN ('', $1, $2) AND (until = 0 OR until > $3) ORDER BY scope LIMIT 1",
		string(repo), pauseScope(repo, workspace), millis(s.now()))
	if err != nil {
		return Pause{}, false, fmt.Errorf("read whether %s of %s is paused: %w", workspace, repo, err)
	}
	return p, ok, nil
}

// pauses reads all that hold, the widest first.
func (s *store) pauses(ctx context.Context, tx *sql.Tx) ([]Pause, error) {
	all, err := list(ctx, tx, scanPause, "SELECT "+pauseColumns+" FROM drift_pause WHERE until = 0 OR until > $1 ORDER BY scope", millis(s.now()))
	if err != nil {
		return nil, fmt.Errorf("read what is paused: %w", err)
	}
	return all, nil
}

// putPause keeps a pause in place of one of the same scope.
func (s *store) putPause(ctx context.Context, tx *sql.Tx, p Pause) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO drift_pause ("+pauseColumns+`) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (scope) DO UPDATE SET until = excluded.until, reason = excluded.reason, actor = excluded.actor, at = excluded.at`,
		p.scope(), millis(p.Until), p.Reason, p.Actor, millis(p.At))
	if err != nil {
		return fmt.Errorf("keep a pause: %w", err)
	}
	return nil
}

// endPause removes the pause of exactly this scope, and reports whether there was one that held.
func (s *store) endPause(ctx context.Context, tx *sql.Tx, scope string) (bool, error) {
	ok, err := s.change1(ctx, tx, "DELETE FROM drift_pause WHERE scope = $1 AND (until = 0 OR until > $2)", scope, millis(s.now()))
	if err != nil {
		return false, fmt.Errorf("end a pause: %w", err)
	}
	return ok, nil
}

// addCorrection keeps that a finding was corrected.
func (s *store) addCorrection(ctx context.Context, tx *sql.Tx, c CorrectionRow) error {
	id, err := newID()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO correction (id, repository, workspace, key, address, run, at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		id, string(c.Repository), c.Workspace, c.Key, c.Address, c.Run, millis(c.At)); err != nil {
		return fmt.Errorf("keep a correction of %s of %s: %w", c.Workspace, c.Repository, err)
	}
	return nil
}

// corrections counts how often each finding of a workspace was corrected since a time.
func (s *store) corrections(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, since time.Time) (map[string]int, error) {
	type count struct {
		key string
		n   int
	}
	all, err := list(ctx, tx, func(row scanner) (c count, err error) {
		err = row.Scan(&c.key, &c.n)
		return c, err
	}, "SELECT key, COUNT(*) FROM correction WHERE repository = $1 AND workspace = $2 AND at >= $3 GROUP BY key", string(repo), workspace, millis(since))
	if err != nil {
		return nil, fmt.Errorf("count the corrections of %s of %s: %w", workspace, repo, err)
	}
	counts := map[string]int{}
	for _, c := range all {
		counts[c.key] = c.n
	}
	return counts, nil
}
