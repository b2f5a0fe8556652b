package engine

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/plumbline-dev/plumbline/internal/telemetry"
)

// levels reads how much of everything there is, for the metrics. It sees the rows of all processes.
func (e *Engine) levels(ctx context.Context) (telemetry.Levels, error) {
	var l telemetry.Levels
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		l, err = e.store.levels(ctx, tx)
		if err != nil {
			return err
		}
		waiting, err := e.DB.Waiting(ctx, tx)
		if err != nil {
			return err
		}
		l.Depth = map[string]int{}
		for queue := range e.workers() {
			l.Depth[queue] = waiting[queue]
		}
		return nil
	})
	if err != nil {
		return telemetry.Levels{}, fmt.Errorf("read the levels: %w", err)
	}
	return l, nil
}

func (s *store) levels(ctx context.Context, tx *sql.Tx) (telemetry.Levels, error) {
	l := telemetry.Levels{Queued: map[string]int{}, Running: map[string]int{}}
	for _, kind := range []Kind{KindPlan, KindApply, KindUnlock, KindDrift, KindAdopt} {
		l.Queued[string(kind)], l.Running[string(kind)] = 0, 0 // also what there is none of
	}
	type group struct {
		kind    string
		running bool
		n       int
	}
	groups, err := list(ctx, tx, func(row scanner) (g group, err error) {
		var status Status
		err = row.Scan(&g.kind, &status, &g.n)
		g.running = status == Running
		return g, err
	}, "SELECT kind, status, COUNT(*) FROM run WHERE status IN ('waiting', 'queued', 'running') GROUP BY kind, status")
	if err != nil {
		return telemetry.Levels{}, err
	}
	for _, g := range groups {
		if !g.running {
			l.Queued[g.kind] += g.n
			continue
		}
		l.Running[g.kind] += g.n
	}
	for query, into := range map[string]*int{
		"SELECT COUNT(*) FROM workspace WHERE present = 1 AND last_status = 'held'": &l.Held,
		"SELECT COUNT(*) FROM run WHERE status = 'running' AND writes = 1":          &l.Leases, // run_one_apply: each is of a workspace of its own
		"SELECT COUNT(*) FROM process WHERE ended_at = 0":                           &l.Processes,
		"SELECT COUNT(*) FROM event WHERE status = 'waiting'":                       &l.Events,
		"SELECT COUNT(*) FROM repository WHERE problem <> ''":                       &l.Problems,
		"SELECT COUNT(*) FROM operation WHERE unread = 1":                           &l.Unread,
	} {
		n, _, err := first(ctx, tx, scanNumber, query)
		if err != nil {
			return telemetry.Levels{}, err
		}
		*into = int(n)
	}
	l.Drift, err = s.driftLevels(ctx, tx)
	return l, err
}

// driftLevels reads how it stands with drift, for the metrics.
func (s *store) driftLevels(ctx context.Context, tx *sql.Tx) (telemetry.DriftLevels, error) {
	summary, err := s.driftSummary(ctx, tx, horizon{all: true})
	if err != nil {
		return telemetry.DriftLevels{}, err
	}
	l := telemetry.DriftLevels{Workspaces: map[string]int{}, Overdue: summary.Overdue}
	for _, state := range []SweepState{SweepNever, SweepClean, SweepDrifted, SweepUnknown} {
		l.Workspaces[string(state)] = summary.States[state] // also what there is none of
	}
	l.Findings, err = list(ctx, tx, func(row scanner) (f telemetry.DriftFindings, err error) {
		err = row.Scan(&f.Cause, &f.Class, &f.Number)
		return f, err
	}, "SELECT cause, class, COUNT(*) FROM finding WHERE gone_at = 0 GROUP BY cause, class")
	if err != nil {
		return telemetry.DriftLevels{}, fmt.Errorf("count the findings: %w", err)
	}
	paused, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM sweep AS s WHERE gone = 0 AND NOT "+notPaused, millis(s.now()))
	l.Paused = int(paused)
	return l, err
}
