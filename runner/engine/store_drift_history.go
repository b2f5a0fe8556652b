package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// How much history of drift the page shows.
const (
	historyDays       = 30
	historyWorkspaces = 50
	historyTurns      = 8 // of one workspace
)

// driftHistories reads what looks saw lately, of workspaces where there is something to tell: what wants somebody first.
// more is how many others there are.
func (s *store) driftHistories(ctx context.Context, tx *sql.Tx) (all []DriftHistory, more int, err error) {
	now := s.now()
	since := now.AddDate(0, 0, -historyDays)
	// A finding that is there, or went not long ago, was seen since.
	const told = ` FROM sweep AS s WHERE gone = 0 AND (state IN ('drifted', 'unknown') OR overdue_at > 0 AND overdue_at < $1 AND ` + notPaused + `
		OR EXISTS (SELECT 1 FROM finding AS f WHERE f.repository = s.repository AND f.workspace = s.workspace AND f.last_seen >= $2))`
	all, err = list(ctx, tx, func(row scanner) (h DriftHistory, err error) {
		var changed, checked int64
		err = row.Scan(&h.Repository, &h.Workspace, &h.State, &changed, &checked, &h.Overdue, &h.Fights)
		h.Since, h.CheckedAt = moment(changed), moment(checked)
		return h, err
	}, `SELECT repository, workspace, state, since, checked_at, CASE WHEN overdue_at > 0 AND overdue_at < $1 AND `+notPaused+` THEN 1 ELSE 0 END AS overdue,
		(SELECT COUNT(*) FROM finding AS f WHERE f.repository = s.repository AND f.workspace = s.workspace AND f.gone_at = 0 AND f.stopped_at > 0)`+told+`
		ORDER BY CASE state WHEN 'unknown' THEN 0 WHEN 'drifted' THEN 1 ELSE 2 END, overdue DESC, repository, workspace LIMIT $3`,
		millis(now), millis(since), historyWorkspaces)
	if err != nil {
		return nil, 0, fmt.Errorf("read where there is drift to tell of: %w", err)
	}
	n, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*)"+told, millis(now), millis(since))
	if err != nil {
		return nil, 0, fmt.Errorf("count where there is drift to tell of: %w", err)
	}
	for i := range all {
		if all[i].Turns, err = s.lookTurns(ctx, tx, all[i].Repository, all[i].Workspace, since); err != nil {
			return nil, 0, err
		}
	}
	return all, int(n) - len(all), nil
}

// lookTurns reads the newest looks at a workspace that saw something else than the look before, or corrected; the newest first.
func (s *store) lookTurns(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, since time.Time) ([]Look, error) {
	all, err := list(ctx, tx, scanLook, `SELECT repository, workspace, at, run, state, counts, corrected FROM (
			SELECT repository, workspace, at, run, state, counts, corrected, LAG(state || ' ' || counts) OVER (ORDER BY at) AS previous
			FROM sweep_history WHERE repository = $1 AND workspace = $2 AND at >= $3) AS look
		WHERE previous IS NULL OR previous <> state || ' ' || counts OR corrected > 0 ORDER BY at DESC LIMIT $4`,
		string(repo), workspace, millis(since), historyTurns)
	if err != nil {
		return nil, fmt.Errorf("read how drift of %s of %s came and went: %w", workspace, repo, err)
	}
	return all, nil
}

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
