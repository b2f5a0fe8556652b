package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// patience is by how much a run of an operation falls back for each run of it that was begun. Among changes that wait,
// each gets a run in turn, so one with hundreds of workspaces does not keep the others waiting; but what has waited long
// comes before what is new, so that many small changes do not keep a large one waiting for ever.
const patience = 20 * time.Second

// turn is a queued run that may be worked now.
type turn struct {
	id        string
	repo      RepoID
	workspace string
	kind      Kind
}

// turns reads queued runs in the order in which they are to be worked: applies and unlocks, for which somebody waits with
// the branch, before plans, and what is about drift last.
func (s *store) turns(ctx context.Context, tx *sql.Tx, limit int) ([]turn, error) {
	all, err := list(ctx, tx, func(row scanner) (t turn, err error) {
		err = row.Scan(&t.id, &t.repo, &t.workspace, &t.kind)
		return t, err
	}, `SELECT r.id, r.repository, r.workspace, r.kind FROM run AS r JOIN operation AS o ON o.id = r.operation
		JOIN (SELECT operation, SUM(CASE WHEN status IN ('waiting', 'queued') THEN 0 ELSE 1 END) AS begun FROM run
			WHERE operation IN (SELECT operation FROM run WHERE status = 'queued') GROUP BY operation) AS b ON b.operation = r.operation
		WHERE r.status = 'queued' AND `+mayRun("r")+`
		ORDER BY CASE r.kind WHEN 'drift' THEN 3 WHEN 'adopt' THEN 2 WHEN 'plan' THEN 1 ELSE 0 END, o.created_at + $1 * (b.begun + ROW_NUMBER() OVER (PARTITION BY r.operation ORDER BY r.position, r.id)), r.id LIMIT $2`,
		patience.Milliseconds(), limit)
	if err != nil {
		return nil, fmt.Errorf("look whose turn it is: %w", err)
	}
	return all, nil
}

// takeTurn enters the run whose turn it is into the list of what this process does, and returns its id. The run is yet to
// be claimed: another process may be faster.
func (e *Engine) takeTurn(ctx context.Context) (string, context.Context, func(), bool) {
	var turns []turn
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		turns, err = e.store.turns(ctx, tx, 4*e.Parallel+32)
		return err
	})
	if err != nil {
		e.log.Debug("no run can be begun", "error", err)
		return "", nil, nil, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, at := range e.rested {
		if time.Since(at) > time.Minute {
			delete(e.rested, id)
		}
	}
	looks := 0
	for _, w := range e.busy {
		if w.looks() {
			looks++
		}
	}
	for _, t := range turns {
		if t.kind.sweeps() && looks >= e.driftWorkers() {
			break // they come last
		}
		if at, ok := e.rested[t.id]; ok && time.Since(at) < time.Second {
			continue // its worker could not take it, or has just given it back: do not turn in circles
		}
		if e.occupied(t) {
			continue
		}
		w := &working{what: hintRun, run: Run{ID: t.id, Repository: t.repo, Workspace: t.workspace, Kind: t.kind}}
		if on, done, ok := e.beginLocked(ctx, runKey(t.id), w); ok {
			return t.id, on, done, true
		}
	}
	return "", nil, nil, false
}

// occupied reports whether a run would have to wait for another one in its workspace's directory. An apply does not wait
// for a plan, which it interrupts; neither waits for a look for drift.
func (e *Engine) occupied(t turn) bool {
	for _, w := range e.busy {
		if w.what == hintRun && w.run.Repository == t.repo && w.run.Workspace == t.workspace && (w.applies() || t.kind.rank() >= w.run.Kind.rank()) {
			return true
		}
	}
	return false
}
