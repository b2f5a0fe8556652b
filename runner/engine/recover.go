package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// lockedFor is how long after the death of its process an apply counts as still running because the state is locked and
// nothing else is known of it on this machine.
const lockedFor = 2 * time.Minute

// examinedFor is how long after the death of its process it is tried to find out what became of an apply. Then its run ends
// without that being known, so that the workspace is not closed for ever.
const examinedFor = 15 * time.Minute

// begunFor is how long after the last sign of life of a process what it had begun may still have begun: the heart beats only
// so often, and Terraform takes its lock a moment after it was started.
const begunFor = time.Minute

// lives is what is known of the end of a process.
type lives struct{ ended, last time.Time }

func scanLives(row scanner) (l lives, err error) {
	var ended, last int64
	err = row.Scan(&ended, &last)
	return lives{moment(ended), moment(last)}, err
}

// recoverRun sees what became of a run whose worker is gone: r.Owner is a dead process, or this one. A run that has
// applied nothing is given back; one that was applying is examined. After an error it is tried again.
func (e *Engine) recoverRun(ctx context.Context, r Run) error {
	t := &task{Engine: e, run: r}
	died := time.Time{}
	err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		owner, _, err := first(ctx, tx, scanLives, "SELECT ended_at, beat_at FROM process WHERE id = $1", r.Owner)
		if err != nil {
			return err
		}
		if died = owner.ended; !owner.last.IsZero() {
			// Its run was over then, however late that is noticed: a lock that was taken later is not its own.
			t.run.EndedAt = owner.last.Add(begunFor)
		}
		if r.Kind == KindPlan || r.Phase != PhaseApplying {
			return t.giveBack(ctx, tx)
		}
		if err := t.read(ctx, tx); err != nil {
			return err
		}
		t.rest, err = t.brokenOff(ctx, tx)
		return err
	})
	if errors.Is(err, errTaken) {
		return nil
	}
	if err != nil || r.Kind == KindPlan || r.Phase != PhaseApplying {
		return err
	}
	if died.IsZero() {
		died = r.StartedAt // its worker, in this process, has left it
	}
	if r.Kind == KindDrift {
		err = t.examineCorrection(ctx, died)
	} else {
		err = t.examine(ctx, died)
	}
	if err == nil || ctx.Err() != nil || t.Now().Sub(died) < examinedFor {
		return err
	}
	t.log.Error("what became of an interrupted apply was not found out", "run", r.ID, "workspace", r.Workspace, "error", err)
	if r.Kind == KindDrift {
		return t.lookAgain(ctx, "what became of it could not be found out")
	}
	return t.write(ctx, r, Interrupted, runner.Result{
		Status: runner.Failed, Err: fmt.Errorf("%w. What became of it could not be found out: %w", runner.ErrInterrupted, err),
	})
}

// giveBack has a run that has applied nothing begun again.
func (t *task) giveBack(ctx context.Context, tx *sql.Tx) error {
	r := t.run
	r.Plan, r.Fingerprint, r.Result = "", "", nil
	now, err := t.store.stepRun(ctx, tx, r, Queued)
	if err != nil {
		return err
	}
	if now.Status == Queued {
		return t.hint(ctx, tx, runJob(now))
	}
	return t.settle(ctx, tx, now.Operation)
}

// examine finds out what became of an apply. It is never repeated blindly: only one that has changed nothing is begun
// again, and then it goes through the gate like any other.
func (t *task) examine(ctx context.Context, died time.Time) error {
	release, err := t.occupy(ctx, t.run)
	if err != nil {
		return err
	}
	defer release()
	f, err := t.furnish(ctx)
	if errors.Is(err, errOccupied) {
		t.log.Info("an apply goes on whose process died", "run", t.run.ID, "workspace", t.run.Workspace)
		return nil // looked at again
	}
	if err != nil {
		return err
	}
	defer f.close()
	if f.workspace.Removed {
		return t.write(ctx, t.run, Interrupted, runner.Result{Status: runner.Failed, Err: fmt.Errorf("%w. Its directory is not in the commit any more", runner.ErrInterrupted)})
	}
	in, res, err := f.runner.Settle(ctx, f.workspace, t.run.Plan)
	if err != nil {
		return err
	}
	t.log.Info("an interrupted apply was examined", "run", t.run.ID, "workspace", t.run.Workspace, "plan", t.run.Plan, "fate", in.Fate, "reason", in.Reason)
	r := t.run
	switch in.Fate {
	case runner.StillRunning:
		if in.Locked == nil || t.Now().Sub(died) < lockedFor {
			return nil // looked at again
		}
		res = runner.Result{Workspace: f.workspace, Status: runner.Failed, Receipt: in.Receipt,
			Err: fmt.Errorf("%w. Nothing of it is left on this machine, and %w", runner.ErrInterrupted, in.Locked)}
		return t.write(ctx, r, Interrupted, res)
	case runner.NotBegun:
		if in.Locked != nil {
			// To begin again would fail on the lock, and then nothing would show any more that it was this run's own.
			break
		}
		return t.persist(ctx, func(tx *sql.Tx) error { return t.giveBack(ctx, tx) })
	case runner.Completed:
		res.Notes = append(res.Notes, "The server died while this was being applied. The apply went on by itself and completed.")
		return t.write(ctx, r, Applied, res)
	}
	if res.Workspace == nil {
		res.Workspace = &workspaces.Workspace{Name: r.Workspace, Dir: r.Dir}
	}
	return t.write(ctx, r, Interrupted, res)
}
