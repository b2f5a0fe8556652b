package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// sweepUntil looks, again and again until ctx ends, for rows that wait and that no job points to: because their time has
// come, because their process died, or because a job was lost.
func (e *Engine) sweepUntil(ctx context.Context) {
	failing := false
	for n := 0; ; n++ {
		err := e.sweep(ctx, n)
		if ctx.Err() != nil {
			return
		}
		// That the database is gone is said by the heart.
		if err != nil && !failing && !passes(err) {
			e.log.Error("looking for rows that wait failed", "error", err)
		}
		failing = err != nil
		pause := e.rhythm.sweep
		timer := time.NewTimer(pause*3/4 + rand.N(pause/2)) // processes do not sweep in step
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Every so many sweeps, what is rarely needed is looked at too.
const (
	sweepsToSettle = 5
	sweepsToTrim   = 600
)

func (e *Engine) sweep(ctx context.Context, n int) error {
	var errs []error
	errs = append(errs, e.sweepOrphans(ctx), e.sweepCancelled(ctx))
	if n%sweepsToSettle == 0 {
		errs = append(errs, e.sweepOperations(ctx))
	}
	errs = append(errs, e.sweepHints(ctx))
	if n%sweepsToTrim == sweepsToTrim-1 {
		errs = append(errs, e.trim(ctx))
	}
	return errors.Join(errs...)
}

// sweepHints makes jobs for rows whose time has come. A queue that has enough jobs gets none: they are worked first.
func (e *Engine) sweepHints(ctx context.Context) error {
	var jobs []job
	err := e.DB.Read(ctx, func(tx *sql.Tx) error {
		jobs = nil
		waiting, err := e.DB.Waiting(ctx, tx)
		if err != nil {
			return err
		}
		workers := e.workers()
		room := func(kind hintKind) int { return max(2*workers[queues[kind]]-waiting[queues[kind]], 0) }

		if limit := room(hintEvent); limit > 0 {
			keys, err := e.store.dueEvents(ctx, tx, limit)
			if err != nil {
				return err
			}
			for _, key := range keys {
				jobs = append(jobs, eventJob(key))
			}
		}
		if limit := min(room(hintRun), e.Parallel); limit > 0 {
			turns, err := e.store.turns(ctx, tx, limit)
			if err != nil {
				return err
			}
			for _, t := range turns {
				jobs = append(jobs, runJob(Run{ID: t.id}))
			}
		}
		if limit := room(hintFinish); limit > 0 {
			ids, err := e.store.dueFinishes(ctx, tx, limit)
			if err != nil {
				return err
			}
			for _, id := range ids {
				jobs = append(jobs, finishJob(id))
			}
		}
		if limit := room(hintReport); limit > 0 {
			all, err := e.store.dueReports(ctx, tx, limit)
			if err != nil {
				return err
			}
			for _, who := range all {
				jobs = append(jobs, reportJob(who))
			}
		}
		if limit := room(hintNotify); limit > 0 && len(e.Notify) > 0 {
			names, err := e.store.dueTargets(ctx, tx, limit)
			if err != nil {
				return err
			}
			for _, name := range names {
				jobs = append(jobs, notifyJob(name))
			}
		}
		if limit := room(hintPoll); limit > 0 {
			ids, err := e.store.duePolls(ctx, tx, limit)
			if err != nil {
				return err
			}
			for _, id := range ids {
				jobs = append(jobs, pollJob(id))
			}
		}
		return nil
	})
	if err != nil || len(jobs) == 0 {
		return err
	}
	return e.DB.Tx(ctx, func(tx *sql.Tx) error { return e.hint(ctx, tx, jobs...) })
}

// sweepCancelled stops runs of this process that are not wanted any more, because of what another process has learnt.
func (e *Engine) sweepCancelled(ctx context.Context) error {
	var ids []string
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		ids, err = list(ctx, tx, scanText, "SELECT id FROM run WHERE owner = $1 AND owner <> '' AND cancel = 1", e.process)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for runs that are to stop: %w", err)
	}
	e.cancel(errCancelled, ids...)
	return nil
}

// sweepOperations settles operations that wait though nothing is left to wait for: of each transaction that ends a run
// one settles what follows, so this finds work only if one of them was written by a bug or an older Plumbline.
func (e *Engine) sweepOperations(ctx context.Context) error {
	var ids []string
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		ids, err = list(ctx, tx, scanText, `SELECT id FROM operation WHERE status = 'running'
			AND NOT EXISTS (SELECT 1 FROM run WHERE run.operation = operation.id AND run.status IN ('queued', 'running')) ORDER BY repository, seq`)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for operations that wait: %w", err)
	}
	for _, id := range ids {
		if err := e.DB.Tx(ctx, func(tx *sql.Tx) error { return e.settleIfMoved(ctx, tx, id) }); err != nil {
			return err
		}
	}
	return nil
}

// settleIfMoved settles an operation, and asks for no report if nothing follows.
func (e *Engine) settleIfMoved(ctx context.Context, tx *sql.Tx, id string) error {
	s, err := e.store.settle(ctx, tx, id)
	if err != nil || len(s.Queued)+len(s.Skipped)+len(s.Operations) == 0 {
		return err
	}
	return e.follow(ctx, tx, s)
}

// dead is a condition on a column that names an owner: it is a process that does not live.
func dead(column string) string {
	return column + " <> '' AND " + column + " NOT IN (SELECT id FROM process WHERE ended_at = 0)"
}

// sweepOrphans takes over what dead processes have left, and what workers of this one have left as it was. Events,
// reports, polls and finishes are begun again; runs are looked into.
func (e *Engine) sweepOrphans(ctx context.Context) error {
	var gone []string
	var runs []Run
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if gone, err = list(ctx, tx, scanText, `SELECT owner FROM event WHERE `+dead("owner")+` UNION SELECT owner FROM report WHERE `+dead("owner")+`
			UNION SELECT owner FROM operation WHERE finished_at = 0 AND `+dead("owner")+` UNION SELECT poll_owner FROM repository WHERE `+dead("poll_owner")+`
			UNION SELECT owner FROM notify_target WHERE `+dead("owner")); err != nil {
			return err
		}
		runs, err = list(ctx, tx, scanRun, "SELECT "+runColumns+" FROM run WHERE owner <> '' AND status = 'running' AND (owner = $1 OR "+dead("owner")+") ORDER BY id", e.process)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for what dead processes left: %w", err)
	}
	for _, owner := range gone {
		if err := e.DB.Tx(ctx, func(tx *sql.Tx) error { return e.store.bequeath(ctx, tx, owner) }); err != nil {
			return fmt.Errorf("take over what a dead process left: %w", err)
		}
		e.log.Info("took over what a dead process left", "process", owner)
	}
	for _, r := range runs {
		e.lookInto(ctx, r)
	}
	return nil
}

// bequeath frees what a process that is dead has left. It names the process, which never comes back: a row that another
// one has taken meanwhile is left alone, however new that one is.
func (s *store) bequeath(ctx context.Context, tx *sql.Tx, owner string) error {
	for _, statement := range []string{
		"UPDATE event SET owner = '', next_at = 0 WHERE owner = $1",
		"UPDATE report SET owner = '', next_at = 0 WHERE owner = $1",
		"UPDATE operation SET owner = '', next_at = 0 WHERE finished_at = 0 AND owner = $1",
		"UPDATE repository SET poll_owner = '', poll_at = 0 WHERE poll_owner = $1",
		"UPDATE notify_target SET owner = '' WHERE owner = $1",
	} {
		if _, err := tx.ExecContext(ctx, statement, owner); err != nil {
			return err
		}
	}
	return nil
}

// lookInto finds out what became of a run whose worker is gone, unless this process is at it. It returns at once.
func (e *Engine) lookInto(ctx context.Context, r Run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at, ok := e.rested[r.ID]; ok && time.Since(at) < e.rhythm.rest {
		return
	}
	// A plan's kind: what looks into a run changes nothing outside, and is begun again.
	w := &working{what: hintRun, run: Run{ID: r.ID, Repository: r.Repository, Workspace: r.Workspace, Kind: KindPlan}}
	on, done, ok := e.beginLocked(context.WithoutCancel(ctx), runKey(r.ID), w)
	if !ok {
		return
	}
	e.log.Info("looking into a run that its worker left", "run", r.ID, "workspace", r.Workspace, "phase", r.Phase, "process", r.Owner)
	go func() { // stop waits for it, as for all that is busy
		defer done()
		if err := e.guard(on, func(ctx context.Context) error { return e.recoverRun(ctx, r) }); err != nil && context.Cause(on) == nil {
			e.log.Warn("a run that its worker left could not be looked into; trying again", "run", r.ID, "error", err)
		}
	}()
}
