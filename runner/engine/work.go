package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// working is something that this process works on.
type working struct {
	what   hintKind
	run    Run // of a run: as it was when its turn came; Writes is kept, see Engine.correcting
	cancel context.CancelCauseFunc
}

// applies reports whether the work may change something outside that cannot be begun again.
func (w *working) applies() bool {
	return w.what == hintRun && (w.run.Writes || w.run.Kind.rank() == 0)
}

// rank says who goes first: what people wait for with the branch, what they wait for with a change, what somebody has
// asked for on an issue, and what nobody waits for.
func (k Kind) rank() int {
	switch k {
	case KindPlan:
		return 1
	case KindAdopt:
		return 2
	case KindDrift:
		return 3
	}
	return 0
}

// correcting notes that a run of this process that looks for drift is about to correct (on), or that it has not begun to
// after all. While it corrects it is left alone, as an apply is. It reports false, and notes nothing, if somebody has
// asked it to stop before. Call it before the transaction that writes so into the row.
func (e *Engine) correcting(ctx context.Context, id string, on bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.busy[runKey(id)]
	if w == nil || on && ctx.Err() != nil {
		return false
	}
	w.run.Writes = on
	return true
}

// work follows a hint.
func (e *Engine) work(ctx context.Context, j job) {
	switch j.What {
	case hintEvent:
		for key := j.ID; key != ""; {
			at, next := eventJob(key), ""
			e.attend(ctx, at, func(ctx context.Context) (err error) {
				next, err = e.workEvent(ctx, at.ID)
				return err
			}, func(tx *sql.Tx, problem error) error {
				return e.giveBackEvent(ctx, tx, at.ID, problem)
			})
			key = next
		}
	case hintFinish:
		e.attend(ctx, j, func(ctx context.Context) error { return e.workFinish(ctx, j.ID) }, func(tx *sql.Tx, problem error) error {
			return e.giveBackFinish(ctx, tx, j.ID, problem)
		})
	case hintReport:
		who, err := j.subject()
		if err != nil {
			e.log.Error("a job cannot be read", "error", err)
			return
		}
		e.attend(ctx, j, func(ctx context.Context) error { return e.workReport(ctx, who) }, func(tx *sql.Tx, problem error) error {
			return e.giveBackReport(ctx, tx, who, problem)
		})
	case hintPoll:
		e.attend(ctx, j, func(ctx context.Context) error { return e.workPoll(ctx, RepoID(j.ID)) }, func(tx *sql.Tx, problem error) error {
			return e.giveBackPoll(ctx, tx, RepoID(j.ID), problem)
		})
	case hintNotify:
		e.attend(ctx, j, func(ctx context.Context) error { return e.workNotify(ctx, j.ID) }, func(tx *sql.Tx, problem error) error {
			return e.giveBackNotify(ctx, tx, j.ID, problem)
		})
	case hintRun:
		e.workRuns(ctx)
	default:
		e.log.Error("a job of an unknown kind: was it made by a newer Plumbline?", "kind", j.What)
	}
}

// attend does a piece of work that this process is not at already, and gives its row back if the work fails.
func (e *Engine) attend(ctx context.Context, j job, do func(ctx context.Context) error, giveBack func(tx *sql.Tx, problem error) error) {
	ctx, done, ok := e.begin(ctx, string(j.What)+" "+j.ID, &working{what: j.What})
	if !ok {
		return
	}
	defer done()
	ctx, span := e.Tracer.Start(ctx, string(j.What), slog.String("id", j.ID))
	problem := e.guard(ctx, do)
	span.End(problem)
	if problem == nil {
		return
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStopping) {
		problem = cause
		e.log.Info("work was stopped", "kind", j.What, "id", j.ID)
	} else {
		e.log.Warn("work failed and is tried again", "kind", j.What, "id", j.ID, "error", problem)
	}
	err := e.persist(ctx, func(tx *sql.Tx) error { return giveBack(tx, problem) })
	if err != nil && !errors.Is(err, errTaken) {
		e.log.Error("work could not be given back", "kind", j.What, "id", j.ID, "error", err)
	}
}

// guard runs a handler and makes an error of a panic, so that its row is given back like any other.
func (e *Engine) guard(ctx context.Context, do func(ctx context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// Not what it says: it may hold what a user wrote. The stack tells where it was.
			e.log.Error("work panicked", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = errors.New("this is a bug of Plumbline: its log tells where")
		}
	}()
	return do(ctx)
}

// begin enters a piece of work into the list of what this process does. It is refused if it is there already, or when the
// engine stops.
func (e *Engine) begin(ctx context.Context, key string, w *working) (context.Context, func(), bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.beginLocked(ctx, key, w)
}

func (e *Engine) beginLocked(ctx context.Context, key string, w *working) (context.Context, func(), bool) {
	if e.busy[key] != nil || e.state != running {
		return nil, nil, false
	}
	ctx, w.cancel = context.WithCancelCause(ctx)
	e.busy[key] = w
	return ctx, func() {
		w.cancel(nil)
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.busy, key)
		if w.what == hintRun {
			e.rested[w.run.ID] = time.Now()
		}
		e.idle.Broadcast()
	}, true
}

func runKey(id string) string { return string(hintRun) + " " + id }

// cancel tells workers of this process that work on one of these runs to stop, and why. Call it after the transaction
// that asked for it. Other processes notice within a few seconds: see store.supersede.
func (e *Engine) cancel(cause error, runs ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range runs {
		if w := e.busy[runKey(id)]; w != nil {
			w.cancel(cause)
		}
	}
}

func (e *Engine) cancelAll(cause error, which func(*working) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.busy {
		if which(w) {
			w.cancel(cause)
		}
	}
}

// count is how much this process works on.
func (e *Engine) count(which func(*working) bool) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, w := range e.busy {
		if which == nil || which(w) {
			n++
		}
	}
	return n
}

// workRuns works runs, one after the other, while there are any whose turn it is.
func (e *Engine) workRuns(ctx context.Context) {
	for {
		key, on, done, ok := e.takeTurn(ctx)
		if !ok {
			return
		}
		err := e.guard(on, func(ctx context.Context) error { return e.workRun(ctx, key) })
		if cause := context.Cause(on); err != nil && cause == nil {
			e.log.Warn("a run was left by its worker", "run", key, "error", err)
		}
		done()
		e.nudge()
	}
}

// workFinish does what follows from the end of an operation.
func (e *Engine) workFinish(ctx context.Context, operation string) error {
	var mine bool
	err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		mine, err = e.store.claimFinish(ctx, tx, operation, e.process)
		return err
	})
	if err != nil || !mine {
		return err
	}
	if err := e.finish(ctx, operation); err != nil {
		return err
	}
	return e.persist(ctx, func(tx *sql.Tx) error { return e.store.endFinish(ctx, tx, operation, e.process) })
}

func (e *Engine) giveBackEvent(ctx context.Context, tx *sql.Tx, key string, problem error) error {
	ctx = context.WithoutCancel(ctx)
	attempts, ok, err := first(ctx, tx, scanNumber, "SELECT attempts FROM event WHERE key = $1 AND owner = $2", key, e.process)
	if err != nil || !ok {
		return err
	}
	next, err := e.store.retryEvent(ctx, tx, key, e.process, e.again(attempts, problem), said(problem))
	if err != nil || next == "" {
		return err
	}
	return e.hint(ctx, tx, eventJob(next))
}

func (e *Engine) giveBackFinish(ctx context.Context, tx *sql.Tx, operation string, problem error) error {
	ctx = context.WithoutCancel(ctx)
	attempts, ok, err := first(ctx, tx, scanNumber, "SELECT attempts FROM operation WHERE id = $1 AND owner = $2", operation, e.process)
	if err != nil || !ok {
		return err
	}
	return e.store.retryFinish(ctx, tx, operation, e.process, e.again(attempts, problem))
}

func (e *Engine) giveBackReport(ctx context.Context, tx *sql.Tx, who Subject, problem error) error {
	ctx = context.WithoutCancel(ctx)
	r, ok, err := first(ctx, tx, scanReport, "SELECT "+reportColumns+" FROM report WHERE repository = $1 AND change_number = $2 AND operation = $3 AND owner = $4",
		string(who.Repository), who.Change, who.Operation, e.process)
	if err != nil || !ok {
		return err
	}
	return e.store.endReport(ctx, tx, r, e.process, said(problem), e.again(int64(r.Attempts), problem))
}

func (e *Engine) giveBackPoll(ctx context.Context, tx *sql.Tx, repo RepoID, problem error) error {
	ctx = context.WithoutCancel(ctx)
	failures, ok, err := first(ctx, tx, scanNumber, "SELECT poll_failures FROM repository WHERE id = $1 AND poll_owner = $2", string(repo), e.process)
	if err != nil || !ok {
		return err
	}
	_, err = e.store.change1(ctx, tx, `UPDATE repository SET poll_owner = '', poll_at = $1, poll_failures = poll_failures + 1, problem = $2,
		polled_at = CASE WHEN polled_at > $5 THEN $5 ELSE polled_at END WHERE id = $3 AND poll_owner = $4`,
		millis(e.again(failures+1, problem)), said(problem), string(repo), e.process, millis(e.Now()))
	return err
}

// said is an error as it is kept beside a row.
func said(problem error) string { return forge.Cut(problem.Error(), 500) }

// again is when to try once more what has failed so many times: later each time, up to longestRetry. What a forge asks
// for is heeded; what was only stopped is due at once.
func (e *Engine) again(attempts int64, problem error) time.Time {
	now := e.Now()
	if errors.Is(problem, errStopping) {
		return now
	}
	wait := 2 * time.Second << min(max(attempts-1, 0), 9)
	wait = min(wait, longestRetry)*3/4 + rand.N(min(wait, longestRetry)/4)
	if limited := new(forge.RateLimitError); errors.As(problem, &limited) {
		wait = min(max(limited.Until.Sub(now), wait), longestRetry)
	}
	return now.Add(wait)
}
