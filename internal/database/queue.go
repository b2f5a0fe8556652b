package database

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"
)

// QueueOptions says what a client of the job queue does. The zero value only inserts jobs.
type QueueOptions struct {
	// Workers do the jobs, by kind. nil: the client cannot be started, and inserts jobs of any kind.
	Workers *river.Workers
	// Queues is how many jobs of each queue are worked at once in this process. It goes with Workers.
	Queues map[string]int
	// Poll is how often the database is asked for jobs of each queue, which is how those are found that another process
	// inserted, or a transaction without Wake. Default 1 s.
	Poll time.Duration
	// Timeout is how long a job may take before its context is cancelled, unless its worker says otherwise. Default 6
	// hours; River's own is a minute. It must be finite: a job whose process died is found by having taken longer.
	Timeout time.Duration
	// Attempts is how often a job is tried unless its arguments say otherwise. Default 1; River's own is 25. A job that
	// applies must have 1; one that only looks at a row may have more.
	Attempts int
	// Keep is how long jobs that have ended are kept. Default an hour; River's own is a day, and a week after a failure.
	Keep time.Duration
	// Periodic jobs are inserted by one of all processes, their leader.
	Periodic []*river.PeriodicJob
	// Log gets what River has to say; nil drops it.
	Log *slog.Logger
}

// cooldown is how long a client rests between two looks for jobs: short beside what people notice, and long enough that a
// flood of jobs is not a flood of looks.
const cooldown = 10 * time.Millisecond

// Queue builds a client of the job queue. Its InsertTx puts a job beside rows, in a transaction of Tx, and Wake has it
// worked at once; Start works jobs, and Stop or StopAndCancel must be called before Close.
//
// A job is a hint that points to a row, never the truth. One whose process was killed stays "running" until its time-out
// has passed, and only then is River ready to try it again or to discard it. So whoever inserts jobs for rows that none
// points to must not ask River to keep them unique: a dead one would stand in the way for hours.
//
// The leader inserts periodic jobs, moves those whose time has come, and cleans up. When it stops, another process takes
// over within about 6 s; when it is killed, within about 20 s.
func (db *DB) Queue(o QueueOptions) (*river.Client[*sql.Tx], error) {
	if o.Poll < 0 || o.Timeout < 0 || o.Attempts < 0 || o.Keep < 0 {
		return nil, fmt.Errorf("build the job queue: Poll %s, Timeout %s, Attempts %d and Keep %s must not be negative", o.Poll, o.Timeout, o.Attempts, o.Keep)
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 6 * time.Hour
	}
	if o.Attempts == 0 {
		o.Attempts = 1
	}
	if o.Keep == 0 {
		o.Keep = time.Hour
	}
	if o.Log == nil {
		o.Log = silent()
	}
	config := &river.Config{
		FetchPollInterval: o.Poll,
		FetchCooldown:     min(o.Poll, cooldown),
		JobTimeout:        o.Timeout,
		// River takes it for stuck, and works it a second time, whether or not it still runs: after the time-out, a
		// worker gets a while to heed it.
		RescueStuckJobsAfter: o.Timeout + 5*time.Minute,
		MaxAttempts:          o.Attempts,

		Hooks: []rivertype.Hook{river.HookInsertBeginFunc(dueLongAgo)},

		CompletedJobRetentionPeriod: o.Keep,
		CancelledJobRetentionPeriod: o.Keep,
		DiscardedJobRetentionPeriod: o.Keep,
		PeriodicJobs:                o.Periodic,
		Logger:                      o.Log,
		Workers:                     o.Workers,
	}
	for _, name := range slices.Sorted(maps.Keys(o.Queues)) {
		if config.Queues == nil {
			config.Queues = map[string]river.QueueConfig{}
		}
		config.Queues[name] = river.QueueConfig{MaxWorkers: o.Queues[name]}
	}
	client, err := river.NewClient(db.river(), config)
	if err != nil {
		return nil, fmt.Errorf("build the job queue: %w", err)
	}
	return client, nil
}

// longAgo is since when jobs are due that are due at all.
var longAgo = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// dueLongAgo changes a job that is due now. Otherwise, when the clock is set back by an hour, it would wait for an hour.
func dueLongAgo(_ context.Context, job *rivertype.JobInsertParams) error {
	if job.State == rivertype.JobStateAvailable {
		job.ScheduledAt = &longAgo
	}
	return nil
}

// Waiting returns how many jobs wait in each queue for a worker; queues without any are left out.
func (db *DB) Waiting(ctx context.Context, tx *sql.Tx) (map[string]int, error) {
	rows, err := tx.QueryContext(ctx, "SELECT queue, COUNT(*) FROM river_job WHERE state = 'available' GROUP BY queue")
	if err != nil {
		return nil, fmt.Errorf("count the jobs that wait: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	waiting := map[string]int{}
	for rows.Next() {
		var queue string
		var n int
		if err := rows.Scan(&queue, &n); err != nil {
			return nil, fmt.Errorf("count the jobs that wait: %w", err)
		}
		waiting[queue] = n
	}
	return waiting, rows.Err()
}

func (db *DB) river() riverdriver.Driver[*sql.Tx] {
	if db.kind == postgres {
		return postgresDriver{riverdatabasesql.New(db.write), &db.bell}
	}
	return sqliteDriver{riversqlite.New(db.write), &db.bell}
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
