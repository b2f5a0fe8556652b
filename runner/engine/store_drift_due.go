package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/internal/schedule"
)

// notPaused is a condition on a row of sweep, named s; $1 is now.
const notPaused = `NOT EXISTS (SELECT 1 FROM drift_pause AS p WHERE (p.until = 0 OR p.until > $1) AND p.scope IN ('', s.repository, s.repository || ' ' || s.workspace))`

// dueLooks reads the workspaces that are to be looked at and that are not looked at now, at most so many of each account:
// those first that somebody has asked for, then those that have waited longest. Where the clock was set back, nobody waits
// until it has caught up.
func (s *store) dueLooks(ctx context.Context, tx *sql.Tx, perAccount int) ([]Sweep, error) {
	all, err := list(ctx, tx, scanSweep, `SELECT `+sweepColumns+` FROM (
		SELECT s.*, ROW_NUMBER() OVER (PARTITION BY s.account ORDER BY CASE WHEN s.asked_at > 0 THEN 0 ELSE 1 END, s.next_at, s.repository, s.workspace) AS place FROM sweep AS s
		WHERE s.gone = 0 AND s.operation = '' AND (s.asked_at > 0 OR s.next_at > 0 AND (s.next_at <= $1 OR s.started_at > $2 OR s.known_at > $2))
		AND `+notPaused+`) AS due
		WHERE place <= $3 ORDER BY CASE WHEN asked_at > 0 THEN 0 ELSE 1 END, next_at, repository, workspace LIMIT 1000`,
		millis(s.now()), s.beyond(0), perAccount)
	if err != nil {
		return nil, fmt.Errorf("look which workspaces are to be looked at: %w", err)
	}
	return all, nil
}

// mayBeDue reports, at the cost of a few looks into indexes, whether dueLooks may find anything: it is asked every second.
func (s *store) mayBeDue(ctx context.Context, tx *sql.Tx) (bool, error) {
	n, _, err := first(ctx, tx, scanNumber, `SELECT CASE WHEN
		EXISTS (SELECT 1 FROM sweep WHERE gone = 0 AND operation = '' AND next_at > 0 AND next_at <= $1)
		OR EXISTS (SELECT 1 FROM sweep WHERE `+askedLook+`)
		OR EXISTS (SELECT 1 FROM sweep WHERE started_at > $2)
		OR EXISTS (SELECT 1 FROM sweep WHERE known_at > $2) THEN 1 ELSE 0 END`, millis(s.now()), s.beyond(0))
	if err != nil {
		return false, fmt.Errorf("look whether any workspace is to be looked at: %w", err)
	}
	return n > 0, nil
}

// lostLook is a condition on a row of sweep: the operation that looked at it is over, and nobody said what it saw.
const lostLook = "operation <> '' AND NOT EXISTS (SELECT 1 FROM operation AS o WHERE o.id = sweep.operation AND o.status = 'running')"

// forgetLooks frees workspaces whose looks are over without a word: they were stopped before they began. They are looked
// at again when they are due.
//
// It waits for whoever begins looks. PostgreSQL judges a row that has changed since the statement began by the new row and
// the old operations, so it would free a workspace whose next look has just begun, and a second one would begin beside it.
func (s *store) forgetLooks(ctx context.Context, tx *sql.Tx) error {
	if _, err := s.holdRates(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE sweep SET operation = '' WHERE "+lostLook); err != nil {
		return fmt.Errorf("forget looks that are over: %w", err)
	}
	return nil
}

// holdRates reads when the next look of each account may begin, and keeps all other processes waiting that want to know.
func (s *store) holdRates(ctx context.Context, tx *sql.Tx) (map[string]time.Time, error) {
	if _, err := tx.ExecContext(ctx, "INSERT INTO drift_rate (account, next_at) VALUES ('', 0) ON CONFLICT (account) DO UPDATE SET account = excluded.account"); err != nil {
		return nil, fmt.Errorf("hold the rates of looks: %w", err)
	}
	type rate struct {
		account string
		next    int64
	}
	rows, err := list(ctx, tx, func(row scanner) (r rate, err error) {
		err = row.Scan(&r.account, &r.next)
		return r, err
	}, "SELECT account, next_at FROM drift_rate")
	if err != nil {
		return nil, fmt.Errorf("read the rates of looks: %w", err)
	}
	next := map[string]time.Time{}
	for _, r := range rows {
		if r.next != 0 {
			next[r.account] = moment(r.next)
		}
	}
	return next, nil
}

// putRates writes when the next look of each account may begin. What says nothing any more is forgotten.
func (s *store) putRates(ctx context.Context, tx *sql.Tx, now time.Time, next map[string]time.Time) error {
	for account, at := range next {
		if account != "" && at.Before(now.Add(-schedule.CatchUp)) {
			if _, err := tx.ExecContext(ctx, "DELETE FROM drift_rate WHERE account = $1", account); err != nil {
				return fmt.Errorf("forget the rate of an account: %w", err)
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO drift_rate (account, next_at) VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET next_at = excluded.next_at",
			account, millis(at)); err != nil {
			return fmt.Errorf("keep the rate of an account: %w", err)
		}
	}
	return nil
}

// stopLook stops the look at a workspace, unless it corrects already: what has not begun is over, and what runs is asked to
// stop; its id is returned for the workers of this process to be told.
func (s *store) stopLook(ctx context.Context, tx *sql.Tx, w Sweep) (cancelled []string, err error) {
	if w.Operation == "" {
		return nil, nil
	}
	ended, err := s.change1(ctx, tx, "UPDATE run SET status = 'superseded', ended_at = $1 WHERE operation = $2 AND status IN ('waiting', 'queued')", millis(s.now()), w.Operation)
	if err == nil && ended {
		_, err = s.endOperation(ctx, tx, w.Operation, OperationSuperseded)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, "UPDATE run SET cancel = 1 WHERE operation = $1 AND status = 'running' AND writes = 0", w.Operation)
	}
	if err == nil {
		cancelled, err = list(ctx, tx, scanText, "SELECT id FROM run WHERE operation = $1 AND status = 'running' AND cancel = 1", w.Operation)
	}
	if err != nil {
		return nil, fmt.Errorf("stop the look at %s of %s: %w", w.Workspace, w.Repository, err)
	}
	return cancelled, nil
}

// overdue reads workspaces that were not looked at for too long, and of which nobody was told. What is paused is not
// overdue: that is told of otherwise.
func (s *store) overdue(ctx context.Context, tx *sql.Tx, limit int) ([]Sweep, error) {
	all, err := list(ctx, tx, scanSweep, `SELECT `+sweepColumns+` FROM sweep AS s WHERE gone = 0 AND overdue_at > 0 AND overdue_at < $1 AND overdue_told_at = 0
		AND `+notPaused+` ORDER BY overdue_at LIMIT $2`, millis(s.now()), limit)
	if err != nil {
		return nil, fmt.Errorf("look which workspaces are overdue: %w", err)
	}
	return all, nil
}

// workspace reads what is known of a workspace.
func (s *store) workspace(ctx context.Context, tx *sql.Tx, repo RepoID, name string) (WorkspaceRow, bool, error) {
	w, ok, err := first(ctx, tx, scanWorkspace, "SELECT "+workspaceColumns+" FROM workspace WHERE repository = $1 AND name = $2", string(repo), name)
	if err != nil {
		return WorkspaceRow{}, false, fmt.Errorf("read the workspace %s of %s: %w", name, repo, err)
	}
	return w, ok, nil
}

// askLook has a workspace looked at now, and reports whether there is one that can be. When it is paused, it waits for the
// end of the pause.
func (s *store) askLook(ctx context.Context, tx *sql.Tx, repo RepoID, workspace, actor string) (bool, error) {
	if _, err := s.hold(ctx, tx, repo); err != nil { // who writes all of a row has read it before
		return false, err
	}
	ok, err := s.change1(ctx, tx, "UPDATE sweep SET asked_at = $1, asked_by = $2 WHERE repository = $3 AND workspace = $4 AND gone = 0", millis(s.now()), actor, string(repo), workspace)
	if err != nil {
		return false, fmt.Errorf("ask for a look at %s of %s: %w", workspace, repo, err)
	}
	return ok, nil
}

// askedLook is which workspaces somebody has asked for a look at that is not begun.
const askedLook = "asked_at > 0 AND gone = 0 AND operation = ''"

// isAsked reports whether there are any.
func (s *store) isAsked(ctx context.Context, tx *sql.Tx) (bool, error) {
	_, asked, err := first(ctx, tx, scanNumber, "SELECT 1 FROM sweep WHERE "+askedLook+" LIMIT 1")
	if err != nil {
		return false, fmt.Errorf("look whether a look is asked for: %w", err)
	}
	return asked, nil
}

// pauseDrift keeps a pause, and stops the looks that it covers: what corrects already comes to its end. It returns the
// stopped runs for the workers of this process to be told; other processes notice within a few seconds.
//
// It holds the repositories first: a look or a correction has begun before, and is stopped or comes to its end, or sees the
// pause.
func (s *store) pauseDrift(ctx context.Context, tx *sql.Tx, p Pause) (cancelled []string, err error) {
	held, err := s.repositories(ctx, tx, "")
	if err != nil {
		return nil, err
	}
	for _, repo := range held {
		if p.Repository != "" && repo.ID != p.Repository {
			continue
		}
		if _, err := s.hold(ctx, tx, repo.ID); err != nil {
			return nil, err
		}
	}
	if err := s.putPause(ctx, tx, p); err != nil {
		return nil, err
	}
	working, err := list(ctx, tx, scanSweep, "SELECT "+sweepColumns+` FROM sweep WHERE operation <> '' AND (repository = $1 OR $1 = '') AND (workspace = $2 OR $2 = '')
		ORDER BY repository, workspace`, string(p.Repository), p.Workspace)
	if err != nil {
		return nil, fmt.Errorf("read what is looked at: %w", err)
	}
	for _, w := range working {
		ids, err := s.stopLook(ctx, tx, w)
		if err != nil {
			return nil, err
		}
		cancelled = append(cancelled, ids...)
		// What was stopped is due when it goes on.
		if _, err := tx.ExecContext(ctx, "UPDATE sweep SET next_at = $1 WHERE repository = $2 AND workspace = $3 AND next_at > 0", millis(s.now()), string(w.Repository), w.Workspace); err != nil {
			return nil, fmt.Errorf("put off the look at %s of %s: %w", w.Workspace, w.Repository, err)
		}
	}
	return cancelled, nil
}
