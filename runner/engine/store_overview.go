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
		o, err = e.store.overview(ctx, tx)
		return err
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
	operations, err := list(ctx, tx, scanOperation, "SELECT "+operationColumns+" FROM operation ORDER BY id DESC LIMIT $1", overviewOperations)
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
	return o, nil
}
