package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// QueueView is what is worked, what waits, and what happened last.
type QueueView struct {
	Running []QueuedRun // the oldest first
	Waiting []QueuedRun // in the order of their operations
	More    int         // that are not shown
	Retries []RetryView // what failed and is tried again
	Recent  []OperationSummary
}

// QueuedRun is a run that has not ended.
type QueuedRun struct {
	RunCard
	Title, URL string   // of its change
	Waits      []string // for what, in sentences
}

// RetryView is an event or a report that could not be worked and is tried again.
type RetryView struct {
	What       string // "event" or "report"
	Event      string // key of the event
	Operation  string // of a push that the report is about
	Repository RepoID
	Change     int
	Attempts   int
	NextAt     time.Time
	Problem    string
}

// OperationSummary is an operation with what came of it.
type OperationSummary struct {
	Operation
	Title, URL string // of its change
	Runs       []RunSummary
}

// RunSummary is a run in a few words.
type RunSummary struct {
	ID        string
	Workspace string
	Status    Status
	Phase     Phase
}

// How much of the queue is shown.
const (
	queueRuns    = 150
	queueRetries = 50
	queueRecent  = 40
)

// Queue reads what is worked and what waits.
func (v *Views) Queue(ctx context.Context, sight Sight) (QueueView, error) {
	var q QueueView
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		q = QueueView{}
		h, err := v.horizon(ctx, tx, sight)
		if err != nil {
			return err
		}
		seen, args := h.where("r.repository", queueRuns)
		all, err := list(ctx, tx, func(row scanner) (r QueuedRun, err error) {
			var created, started, ended int64
			err = row.Scan(&r.ID, &r.Repository, &r.Workspace, &r.Change, &r.Kind, &r.Cause, &r.Actor, &r.Commit, &r.Status, &r.Phase, &created, &started, &ended, &r.Title, &r.URL)
			r.CreatedAt, r.StartedAt, r.EndedAt, r.Title = moment(created), moment(started), moment(ended), v.plain.Line(r.Title)
			return r, err
		}, "SELECT "+runCardColumns+`, COALESCE(c.title, ''), COALESCE(c.url, '') FROM run AS r JOIN operation AS o ON o.id = r.operation
			LEFT JOIN change AS c ON c.repository = o.repository AND c.number = o.change_number
			WHERE r.status IN ('waiting', 'queued', 'running')`+seen+` ORDER BY CASE r.status WHEN 'running' THEN 0 ELSE 1 END, o.id, r.position, r.workspace LIMIT $1`, args...)
		if err != nil {
			return err
		}
		seen, args = h.where("repository")
		n, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM run WHERE status IN ('waiting', 'queued', 'running')"+seen, args...)
		if err != nil {
			return err
		}
		q.More = int(n) - len(all)
		for _, r := range all {
			if r.Status == Running {
				q.Running = append(q.Running, r)
				continue
			}
			run, _, err := v.store.run(ctx, tx, r.ID)
			if err != nil {
				return err
			}
			o, _, err := v.store.operation(ctx, tx, run.Operation)
			if err != nil {
				return err
			}
			if r.Waits, err = v.waits(ctx, tx, run, o.Seq); err != nil {
				return err
			}
			q.Waiting = append(q.Waiting, r)
		}
		if q.Retries, err = v.retries(ctx, tx, h); err != nil {
			return err
		}
		q.Recent, err = v.recent(ctx, tx, h)
		return err
	})
	if err != nil {
		return QueueView{}, fmt.Errorf("read the queue: %w", err)
	}
	return q, nil
}

func (v *Views) retries(ctx context.Context, tx *sql.Tx, h horizon) ([]RetryView, error) {
	seen, args := h.where("repository", queueRetries)
	return list(ctx, tx, func(row scanner) (r RetryView, err error) {
		var at int64
		err = row.Scan(&r.What, &r.Event, &r.Operation, &r.Repository, &r.Change, &r.Attempts, &at, &r.Problem)
		r.NextAt, r.Problem = moment(at), v.plain.Line(r.Problem)
		return r, err
	}, `SELECT 'event' AS what, key AS event, '' AS operation, repository, change_number, attempts, next_at, problem FROM event WHERE status = 'waiting' AND problem <> ''`+seen+`
		UNION ALL SELECT 'report' AS what, '' AS event, operation, repository, change_number, attempts, next_at, problem FROM report WHERE wanted > told AND problem <> ''`+seen+`
		ORDER BY next_at, repository, change_number, what LIMIT $1`, args...)
}

// recent reads the newest operations. Looks for drift are left out: there are many, and the board tells what they saw.
func (v *Views) recent(ctx context.Context, tx *sql.Tx, h horizon) ([]OperationSummary, error) {
	seen, args := h.where("repository", queueRecent)
	operations, err := list(ctx, tx, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE kind NOT IN ('drift', 'adopt')"+seen+" ORDER BY id DESC LIMIT $1", args...)
	if err != nil {
		return nil, err
	}
	var all []OperationSummary
	for _, op := range operations {
		summary := OperationSummary{Operation: op}
		c, _, err := v.store.change(ctx, tx, op.Repository, op.Change)
		if err != nil {
			return nil, err
		}
		summary.Title, summary.URL = v.plain.Line(c.Title), c.URL
		// Without results, which are large.
		summary.Runs, err = list(ctx, tx, func(row scanner) (r RunSummary, err error) {
			err = row.Scan(&r.ID, &r.Workspace, &r.Status, &r.Phase)
			return r, err
		}, "SELECT id, workspace, status, phase FROM run WHERE operation = $1 ORDER BY position, workspace", op.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, summary)
	}
	return all, nil
}
