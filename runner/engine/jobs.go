package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/plumbline-dev/plumbline/internal/database"
)

// hintKind says what a job points to.
type hintKind string

const (
	hintEvent  hintKind = "event"
	hintRun    hintKind = "run"
	hintFinish hintKind = "finish"
	hintReport hintKind = "report"
	hintPoll   hintKind = "poll"
	hintNotify hintKind = "notify"
)

// queues are where hints wait, so that many of one kind do not keep the others waiting.
var queues = map[hintKind]string{hintEvent: "events", hintRun: "runs", hintFinish: "chores", hintReport: "reports", hintPoll: "chores", hintNotify: "chores"}

// pace is how often the database is asked for hints of each queue that another process has made: what is hinted here is
// heard of at once. It is often enough for what one machine leaves to another, and seldom enough that an idle server is
// idle.
const pace = time.Second

// lonePace is pace where no other server works on the database: what a command on this machine wants, the sweep sees.
const lonePace = 10 * time.Second

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
func finishJob(op string) job   { return job{hintFinish, op} }
func reportJob(who Subject) job { return job{hintReport, who.id()} }
func pollJob(repo RepoID) job   { return job{hintPoll, string(repo)} }

func notifyJob(target string) job { return job{hintNotify, target} }

func (s Subject) id() string {
	text, _ := json.Marshal(s) // of strings and a number, which cannot fail
	return string(text)
}

func (j job) subject() (Subject, error) {
	var s Subject
	if err := json.Unmarshal([]byte(j.ID), &s); err != nil {
		return Subject{}, fmt.Errorf("read whom the report %q is for: %w", j.ID, err)
	}
	return s, nil
}

// workers is how many hints of each queue are worked at once.
func (e *Engine) workers() map[string]int {
	return map[string]int{"events": 4, "runs": e.Parallel, "reports": 4, "chores": 3}
}

// newQueue builds the client that makes hints and, once started, works them.
func (e *Engine) newQueue() (*river.Client[*sql.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[job]) error {
		e.work(ctx, j.Args)
		return nil // rows know what is to be tried again
	}))
	poll := pace
	if !e.Shared {
		poll = lonePace
	}
	return e.DB.Queue(database.QueueOptions{Workers: workers, Queues: e.workers(), Poll: poll, Log: slog.New(quiet{e.log.Handler()})})
}

// hint makes jobs in a transaction, beside the rows that they point to.
func (e *Engine) hint(ctx context.Context, tx *sql.Tx, jobs ...job) error {
	var many []river.InsertManyParams
	runs := 0
	for _, j := range jobs {
		if j.What == hintRun {
			// Each worker goes on while there are runs, so more hints than workers would only be thrown away.
			if runs++; runs > e.Parallel {
				continue
			}
		}
		many = append(many, river.InsertManyParams{Args: j, InsertOpts: &river.InsertOpts{Queue: queues[j.What]}})
	}
	for some := range slices.Chunk(many, 100) {
		if _, err := e.queue.InsertManyTx(ctx, tx, some); err != nil {
			return fmt.Errorf("make %d jobs: %w", len(some), err)
		}
		for _, j := range some {
			e.DB.Wake(tx, j.InsertOpts.Queue)
		}
	}
	return nil
}

// settle does what follows from a run that ended, or an operation that was added or superseded: see store.settle. It makes
// the jobs of what is ready now, asks for reports, at once of operations that have ended, and has those finished.
func (e *Engine) settle(ctx context.Context, tx *sql.Tx, operation string) error {
	s, err := e.store.settle(ctx, tx, operation)
	if err != nil {
		return err
	}
	return e.follow(ctx, tx, s)
}

func (e *Engine) follow(ctx context.Context, tx *sql.Tx, s settled) error {
	var jobs []job
	for _, r := range s.Queued {
		jobs = append(jobs, runJob(r))
	}
	for _, id := range s.Operations {
		jobs = append(jobs, finishJob(id))
	}
	for _, id := range s.Touched {
		o, ok, err := e.store.operation(ctx, tx, id)
		if err != nil {
			return err
		}
		if !ok || o.Kind.sweeps() {
			continue // what a look for drift has found is told of in an issue
		}
		if err := e.store.wantReport(ctx, tx, o.subject(), slices.Contains(s.Operations, id)); err != nil {
			return err
		}
		jobs = append(jobs, reportJob(o.subject()))
	}
	return e.hint(ctx, tx, jobs...)
}

// wantReport asks for a report and makes the job for it.
func (e *Engine) wantReport(ctx context.Context, tx *sql.Tx, who Subject, urgent bool) error {
	if err := e.store.wantReport(ctx, tx, who, urgent); err != nil {
		return err
	}
	return e.hint(ctx, tx, reportJob(who))
}

// quiet takes what the job queue logs for details: when its database is gone, whoever needs it says so.
type quiet struct{ slog.Handler }

// Enabled reports whether details are logged.
func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle logs a record as a detail.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return q.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler that is as quiet.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup returns a handler that is as quiet.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
