package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Statuses are all that a run may have, in the order of its life.
func Statuses() []Status {
	return []Status{Waiting, Queued, Running, Planned, Unchanged, Applied, Partly, Held, Skipped, Failed, Interrupted, Removed, Superseded, Released, Drifted}
}

// RunFilter chooses runs. Zero fields choose all.
type RunFilter struct {
	Repository RepoID
	Workspace  string
	Change     int
	Kind       Kind
	Statuses   []Status
	Since      time.Time // created then or later
	Notable    bool      // without looks for drift that found nothing
	Before     string    // only those that began before the run with this id: the last one of the page before
	Limit      int       // at most so many; there is no default
}

// RunList is a page of runs.
type RunList struct {
	Runs []RunCard // the newest first
	More bool      // there are older ones
}

// Runs reads a page of runs.
func (v *Views) Runs(ctx context.Context, sight Sight, f RunFilter) (RunList, error) {
	var l RunList
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		h, err := v.horizon(ctx, tx, sight)
		if err != nil {
			return err
		}
		query, args := f.query(h)
		runs, err := list(ctx, tx, scanRunCard, query, args...)
		l = RunList{Runs: runs}
		if l.More = len(runs) > f.Limit; l.More {
			l.Runs = runs[:f.Limit]
		}
		return err
	})
	if err != nil {
		return RunList{}, fmt.Errorf("read the runs: %w", err)
	}
	return l, nil
}

// query is the filter in SQL, as far as the horizon goes. It asks for one run more than there is room for, to know whether there are more.
func (f RunFilter) query(h horizon) (query string, args []any) {
	var conditions []string
	where := func(condition string, values ...any) {
		for _, value := range values {
			args = append(args, value)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		conditions = append(conditions, condition)
	}
	if f.Repository != "" {
		where("r.repository = ?", string(f.Repository))
	}
	if f.Workspace != "" {
		where("r.workspace = ?", f.Workspace)
	}
	if f.Change != 0 {
		where("o.change_number = ?", f.Change)
	}
	if f.Kind != "" {
		where("r.kind = ?", string(f.Kind))
	}
	if !f.Since.IsZero() {
		where("r.created_at >= ?", millis(f.Since))
	}
	if f.Notable {
		where("NOT (r.kind = 'drift' AND r.status IN ('unchanged', 'superseded'))")
	}
	if f.Before != "" {
		where("r.id < ?", f.Before)
	}
	if len(f.Statuses) > 0 {
		if !slices.ContainsFunc(f.Statuses, Status.Ended) {
			// These are few, and have an index of their own: old runs are not looked through for them.
			where("r.id IN (SELECT id FROM run WHERE status IN ('waiting', 'queued', 'running'))")
		}
		var values []any
		for _, status := range f.Statuses {
			values = append(values, string(status))
		}
		where("r.status IN (?"+strings.Repeat(", ?", len(values)-1)+")", values...)
	}
	seen, args := h.where("r.repository", args...)
	query = "SELECT " + runCardColumns + " FROM run AS r JOIN operation AS o ON o.id = r.operation WHERE 1 = 1"
	for _, condition := range conditions {
		query += " AND " + condition
	}
	return query + seen + " ORDER BY r.id DESC LIMIT " + strconv.Itoa(f.Limit+1), args
}
