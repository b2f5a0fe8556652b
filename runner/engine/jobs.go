package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/riverqueue/river"
)

// hintKind says what a job points to.
type hintKind string

const (
	hintEvent  hintKind = "event"
	hintRun    hintKind = "run"
	hintReport hintKind = "report"
	hintPoll   hintKind = "poll"
)

// job is a hint that a row waits. It may come twice, late or never; whoever works it claims the row first. A hint of a
// run says no more than that there is one: the worker takes the run whose turn it is.
type job struct {
	What hintKind `json:"what"`
	ID   string   `json:"id"`
}

// Kind is the name of its kind in the queue.
func (job) Kind() string { return "hint" }

func eventJob(key string) job   { return job{hintEvent, key} }
func runJob(r Run) job          { return job{hintRun, r.ID} }
func pollJob(repo RepoID) job   { return job{hintPoll, string(repo)} }
func reportJob(who Subject) job { return job{hintReport, who.id()} }
func (s Subject) id() string    { text, _ := json.Marshal(s); return string(text) }
func (j job) subject() (Subject, error) {
	var s Subject
	if err := json.Unmarshal([]byte(j.ID), &s); err != nil {
		return Subject{}, fmt.Errorf("read whom the report %q is for: %w", j.ID, err)
	}
	return s, nil
}

// queues are where hints wait, so that many of one kind do not keep the others waiting.
var queues = map[hintKind]string{hintEvent: "events", hintRun: "runs", hintReport: "reports", hintPoll: "polls"}

// hint makes jobs in a transaction, beside the rows that they point to.
func (e *Engine) hint(ctx context.Context, tx *sql.Tx, jobs ...job) error {
	for _, j := range jobs {
		if _, err := e.queue.InsertTx(ctx, tx, j, &river.InsertOpts{Queue: queues[j.What]}); err != nil {
			return fmt.Errorf("make a job for the %s %s: %w", j.What, j.ID, err)
		}
	}
	return nil
}

// settle does what follows from a run that ended, or an operation that was added or superseded: see store.settle. It makes
// the jobs of what is ready now, and asks for reports, at once of operations that are done. It returns what is done, for
// whoever finishes operations.
func (e *Engine) settle(ctx context.Context, tx *sql.Tx, operation string) (done []string, err error) {
	s, err := e.store.settle(ctx, tx, operation)
	if err != nil {
		return nil, err
	}
	for _, r := range s.Queued {
		if err := e.hint(ctx, tx, runJob(r)); err != nil {
			return nil, err
		}
	}
	for _, id := range s.Touched {
		o, ok, err := e.store.operation(ctx, tx, id)
		if err != nil || !ok {
			return nil, err
		}
		if err := e.wantReport(ctx, tx, o.subject(), slices.Contains(s.Operations, id)); err != nil {
			return nil, err
		}
	}
	return s.Operations, nil
}

// wantReport asks for a report and makes the job for it.
func (e *Engine) wantReport(ctx context.Context, tx *sql.Tx, who Subject, urgent bool) error {
	if err := e.store.wantReport(ctx, tx, who, urgent); err != nil {
		return err
	}
	return e.hint(ctx, tx, reportJob(who))
}

// working is a run, event or report that this process works on.
type working struct {
	run    Run
	cancel context.CancelCauseFunc
}

// cancel tells workers of this process that work on one of these runs to stop, and why. Call it after the transaction
// that asked for it. Runs of other processes notice by themselves: see supersede.
func (e *Engine) cancel(cause error, runs ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range runs {
		if w := e.busy[id]; w != nil {
			w.cancel(cause)
		}
	}
}
