package engine

import (
	"context"
	"database/sql"
	"fmt"
)

// How much the page shows.
const (
	overviewWorkspaces = 300
	overviewOperations = 50
)

// Overview reads how things stand.
func (e *Engine) Overview(ctx context.Context) (Overview, error) {
	var o Overview
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if o, err = e.store.overview(ctx, tx); err != nil {
			return err
		}
		for i := range o.Drift.Histories {
			if err := e.whoChanged(ctx, tx, &o.Drift.Histories[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Overview{}, fmt.Errorf("read the overview: %w", err)
	}
	return o, nil
}

func (s *store) overview(ctx context.Context, tx *sql.Tx) (Overview, error) {
	var o Overview
	var err error
	if o.Repositories, err = s.repositories(ctx, tx, ""); err != nil {
		return Overview{}, err
	}
	o.Workspaces, err = list(ctx, tx, scanWorkspace, "SELECT "+workspaceColumns+" FROM workspace WHERE present = 1 ORDER BY repository, name LIMIT $1", overviewWorkspaces)
	if err != nil {
		return Overview{}, err
	}
	all, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM workspace WHERE present = 1")
	if err != nil {
		return Overview{}, err
	}
	o.MoreWorkspaces = int(all) - len(o.Workspaces)
	operations, err := list(ctx, tx, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE kind NOT IN ('drift', 'adopt') ORDER BY id DESC LIMIT $1", overviewOperations)
	if err != nil {
		return Overview{}, err
	}
	for _, op := range operations {
		summary := OperationSummary{Operation: op}
		c, _, err := s.change(ctx, tx, op.Repository, op.Change)
		if err != nil {
			return Overview{}, err
		}
		summary.Title, summary.URL = c.Title, c.URL
		// Without results, which are large.
		summary.Runs, err = list(ctx, tx, func(row scanner) (r RunSummary, err error) {
			err = row.Scan(&r.Workspace, &r.Status, &r.Phase)
			return r, err
		}, "SELECT workspace, status, phase FROM run WHERE operation = $1 ORDER BY position, workspace", op.ID)
		if err != nil {
			return Overview{}, err
		}
		o.Operations = append(o.Operations, summary)
	}
	if o.Drift, err = s.driftSummary(ctx, tx); err != nil {
		return Overview{}, err
	}
	o.Drift.Histories, o.Drift.MoreHistories, err = s.driftHistories(ctx, tx)
	return o, err
}

// driftSummary reads how it stands with drift.
func (s *store) driftSummary(ctx context.Context, tx *sql.Tx) (DriftSummary, error) {
	d := DriftSummary{States: map[SweepState]int{}}
	type state struct {
		state SweepState
		n     int
	}
	// What is off and was never looked at is none of it.
	states, err := list(ctx, tx, func(row scanner) (one state, err error) {
		err = row.Scan(&one.state, &one.n)
		return one, err
	}, "SELECT state, COUNT(*) FROM sweep WHERE gone = 0 AND (next_at > 0 OR state <> 'never') GROUP BY state")
	if err != nil {
		return DriftSummary{}, fmt.Errorf("count what is looked at: %w", err)
	}
	for _, one := range states {
		d.States[one.state] = one.n
	}
	overdue, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM sweep AS s WHERE gone = 0 AND overdue_at > 0 AND overdue_at < $1 AND "+notPaused, millis(s.now()))
	if err != nil {
		return DriftSummary{}, fmt.Errorf("count what is overdue: %w", err)
	}
	findings, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM finding WHERE gone_at = 0")
	if err != nil {
		return DriftSummary{}, fmt.Errorf("count the findings: %w", err)
	}
	d.Overdue, d.Findings = int(overdue), int(findings)
	d.Pauses, err = s.pauses(ctx, tx)
	return d, err
}
