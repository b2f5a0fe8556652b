package engine

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// How much history of drift the page shows.
const (
	historyDays       = 30
	historyWorkspaces = 50
	historyTurns      = 8 // of one workspace
)

// driftHistories reads what looks saw lately, of workspaces in sight where there is something to tell: what wants somebody first.
// more is how many others there are.
func (s *store) driftHistories(ctx context.Context, tx *sql.Tx, h horizon) (all []DriftHistory, more int, err error) {
	now := s.now()
	since := now.AddDate(0, 0, -historyDays)
	// A finding that is there, or went not long ago, was seen since.
	const told = ` FROM sweep AS s WHERE gone = 0 AND (state IN ('drifted', 'unknown') OR overdue_at > 0 AND overdue_at < $1 AND ` + notPaused + `
		OR EXISTS (SELECT 1 FROM finding AS f WHERE f.repository = s.repository AND f.workspace = s.workspace AND f.last_seen >= $2))`
	seen, args := h.where("s.repository", millis(now), millis(since))
	all, err = list(ctx, tx, func(row scanner) (h DriftHistory, err error) {
		var changed, checked int64
		err = row.Scan(&h.Repository, &h.Workspace, &h.State, &changed, &checked, &h.Overdue, &h.Fights)
		h.Since, h.CheckedAt = moment(changed), moment(checked)
		return h, err
	}, `SELECT repository, workspace, state, since, checked_at, CASE WHEN overdue_at > 0 AND overdue_at < $1 AND `+notPaused+` THEN 1 ELSE 0 END AS overdue,
		(SELECT COUNT(*) FROM finding AS f WHERE f.repository = s.repository AND f.workspace = s.workspace AND f.gone_at = 0 AND f.stopped_at > 0)`+told+seen+`
		ORDER BY CASE state WHEN 'unknown' THEN 0 WHEN 'drifted' THEN 1 ELSE 2 END, overdue DESC, repository, workspace LIMIT `+strconv.Itoa(historyWorkspaces), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("read where there is drift to tell of: %w", err)
	}
	n, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*)"+told+seen, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("count where there is drift to tell of: %w", err)
	}
	for i := range all {
		if all[i].Turns, err = s.newestLooks(ctx, tx, all[i].Repository, all[i].Workspace, since, historyTurns); err != nil {
			return nil, 0, err
		}
	}
	return all, int(n) - len(all), nil
}

// newestLooks reads what looks at a workspace saw since a time, the newest first.
func (s *store) newestLooks(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, since time.Time, limit int) ([]Look, error) {
	all, err := list(ctx, tx, scanLook, "SELECT "+lookColumns+" FROM sweep_history WHERE repository = $1 AND workspace = $2 AND at >= $3 ORDER BY at DESC LIMIT $4",
		string(repo), workspace, millis(since), limit)
	if err != nil {
		return nil, fmt.Errorf("read how drift of %s of %s came and went: %w", workspace, repo, err)
	}
	return all, nil
}

// mostLooks is how much history of a workspace is kept: one that comes and goes with every look would fill the database
// otherwise.
const mostLooks = 1000

// putLook writes what a look at a workspace saw, if that is another thing than what the look before saw, or if it has
// corrected something. What was seen holds until the next row, so looks that see the same need none.
func (s *store) putLook(ctx context.Context, tx *sql.Tx, l Look) error {
	before, err := s.newestLooks(ctx, tx, l.Repository, l.Workspace, time.Time{}, 1)
	if err != nil {
		return err
	}
	if !l.news(before) {
		return nil
	}
	if len(before) > 0 && !l.At.After(before[0].At) {
		l.At = before[0].At.Add(time.Millisecond) // the clock was set back, and the order is to stay
	}
	counts, err := pack(l.Counts)
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO sweep_history ("+lookColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7)",
			string(l.Repository), l.Workspace, millis(l.At), l.Run, string(l.State), counts, l.Corrected)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM sweep_history WHERE repository = $1 AND workspace = $2
			AND at <= (SELECT at FROM sweep_history WHERE repository = $1 AND workspace = $2 ORDER BY at DESC LIMIT 1 OFFSET $3)`, string(l.Repository), l.Workspace, mostLooks)
	}
	if err != nil {
		return fmt.Errorf("keep what was seen of %s of %s: %w", l.Workspace, l.Repository, err)
	}
	return nil
}

// news reports whether a look adds something to the history before it, the newest first.
func (l Look) news(before []Look) bool {
	if len(before) == 0 {
		return l.State != SweepNever
	}
	return l.Corrected > 0 || l.State != before[0].State || !maps.Equal(l.Counts, before[0].Counts)
}

const lookColumns = "repository, workspace, at, run, state, counts, corrected"

func scanLook(row scanner) (Look, error) {
	var l Look
	var at int64
	var counts string
	if err := row.Scan(&l.Repository, &l.Workspace, &at, &l.Run, &l.State, &counts, &l.Corrected); err != nil {
		return Look{}, err
	}
	l.At = moment(at)
	return l, unpack(counts, &l.Counts)
}
