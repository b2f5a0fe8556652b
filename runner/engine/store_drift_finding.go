package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const findingColumns = "repository, workspace, key, address, class, cause, first_seen, last_seen, gone_at, corrected_at, corrections, noise, detail"

func scanFinding(row scanner) (FindingRow, error) {
	var f FindingRow
	var first, last, gone, corrected int64
	var detail string
	err := row.Scan(&f.Repository, &f.Workspace, &f.Key, &f.Address, &f.Class, &f.Cause, &first, &last, &gone, &corrected, &f.Corrections, &f.Noise, &detail)
	f.FirstSeen, f.LastSeen, f.GoneAt, f.CorrectedAt, f.Detail = moment(first), moment(last), moment(gone), moment(corrected), decode(detail)
	return f, err
}

// findings reads those of a workspace that are there, and those that went since a time, by address.
func (s *store) findings(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, goneSince time.Time) ([]FindingRow, error) {
	all, err := list(ctx, tx, scanFinding, "SELECT "+findingColumns+" FROM finding WHERE repository = $1 AND workspace = $2 AND (gone_at = 0 OR gone_at >= $3) ORDER BY address, key",
		string(repo), workspace, millis(goneSince))
	if err != nil {
		return nil, fmt.Errorf("read the findings of %s of %s: %w", workspace, repo, err)
	}
	return all, nil
}

// putFindings writes what a look at a workspace found: Key, Address, Class, Cause, Noise and Detail of each are used, and
// CorrectedAt where the look has corrected it: then it is gone at once. What was there and is not found any more is gone.
// One that comes back is first seen again.
func (s *store) putFindings(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, at time.Time, found []FindingRow) error {
	now := millis(at)
	for _, f := range found {
		gone, corrections := int64(0), 0
		if !f.CorrectedAt.IsZero() {
			gone, corrections = now, 1
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO finding (`+findingColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12)
			ON CONFLICT (repository, workspace, key) DO UPDATE SET address = excluded.address, class = excluded.class, cause = excluded.cause,
			first_seen = CASE WHEN finding.gone_at > 0 THEN excluded.first_seen ELSE finding.first_seen END,
			last_seen = excluded.last_seen, gone_at = excluded.gone_at,
			corrected_at = CASE WHEN excluded.corrected_at > 0 THEN excluded.corrected_at ELSE finding.corrected_at END,
			corrections = finding.corrections + excluded.corrections, noise = excluded.noise, detail = excluded.detail`,
			string(repo), workspace, f.Key, f.Address, string(f.Class), string(f.Cause), now, gone, millis(f.CorrectedAt), corrections, bit(f.Noise), encode(f.Detail))
		if err != nil {
			return fmt.Errorf("keep a finding of %s of %s: %w", workspace, repo, err)
		}
	}
	// What this look has not touched was not found.
	if _, err := tx.ExecContext(ctx, "UPDATE finding SET gone_at = $1 WHERE repository = $2 AND workspace = $3 AND gone_at = 0 AND last_seen <> $1", now, string(repo), workspace); err != nil {
		return fmt.Errorf("note which findings of %s of %s are gone: %w", workspace, repo, err)
	}
	return nil
}
