package engine

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/plumbline-dev/plumbline/drift"
)

const issueColumns = "repository, key, number, url, digest, written, written_at, open, acknowledged_at, turns, opened_at, closed_at"

func scanIssue(row scanner) (DriftIssueRow, error) {
	var r DriftIssueRow
	var written, acknowledged, opened, closed int64
	err := row.Scan(&r.Repository, &r.Key, &r.Number, &r.URL, &r.Digest, &r.Written, &written, &r.Open, &acknowledged, &r.Turns, &opened, &closed)
	r.WrittenAt, r.AcknowledgedAt, r.OpenedAt, r.ClosedAt = moment(written), moment(acknowledged), moment(opened), moment(closed)
	return r, err
}

// driftIssue reads the issue with a key.
func (s *store) driftIssue(ctx context.Context, tx *sql.Tx, repo RepoID, key string) (DriftIssueRow, bool, error) {
	r, ok, err := first(ctx, tx, scanIssue, "SELECT "+issueColumns+" FROM drift_issue WHERE repository = $1 AND key = $2", string(repo), key)
	if err != nil {
		return DriftIssueRow{}, false, fmt.Errorf("read the issue of %s in %s: %w", key, repo, err)
	}
	return r, ok, nil
}

// driftIssueAt reads the issue with a number, for whoever has got a comment on it.
func (s *store) driftIssueAt(ctx context.Context, tx *sql.Tx, repo RepoID, number int) (DriftIssueRow, bool, error) {
	r, ok, err := first(ctx, tx, scanIssue, "SELECT "+issueColumns+" FROM drift_issue WHERE repository = $1 AND number = $2", string(repo), number)
	if err != nil {
		return DriftIssueRow{}, false, fmt.Errorf("read the issue %d of %s: %w", number, repo, err)
	}
	return r, ok, nil
}

// putDriftIssue writes all of an issue's row.
func (s *store) putDriftIssue(ctx context.Context, tx *sql.Tx, r DriftIssueRow) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO drift_issue ("+issueColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (repository, key) DO UPDATE SET number = excluded.number, url = excluded.url, digest = excluded.digest, written = excluded.written,
		written_at = excluded.written_at, open = excluded.open, acknowledged_at = excluded.acknowledged_at, turns = excluded.turns,
		opened_at = excluded.opened_at, closed_at = excluded.closed_at`,
		string(r.Repository), r.Key, r.Number, r.URL, r.Digest, r.Written, millis(r.WrittenAt), bit(r.Open), millis(r.AcknowledgedAt), r.Turns, millis(r.OpenedAt), millis(r.ClosedAt))
	if err != nil {
		return fmt.Errorf("keep the issue of %s in %s: %w", r.Key, r.Repository, err)
	}
	return nil
}

// dropDriftIssue forgets an issue that the forge does not have any more.
func (s *store) dropDriftIssue(ctx context.Context, tx *sql.Tx, r DriftIssueRow) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM drift_issue WHERE repository = $1 AND key = $2 AND number = $3", string(r.Repository), r.Key, r.Number); err != nil {
		return fmt.Errorf("forget the issue of %s in %s: %w", r.Key, r.Repository, err)
	}
	return nil
}

// alikeFindings reads what stands in a repository of the causes that may be the same in many workspaces, without details.
func (s *store) alikeFindings(ctx context.Context, tx *sql.Tx, repo RepoID) ([]FindingRow, error) {
	all, err := list(ctx, tx, func(row scanner) (FindingRow, error) {
		f := FindingRow{Repository: repo}
		var first int64
		err := row.Scan(&f.Workspace, &f.Key, &f.Address, &f.Cause, &first)
		f.FirstSeen = moment(first)
		return f, err
	}, "SELECT workspace, key, address, cause, first_seen FROM finding WHERE repository = $1 AND gone_at = 0 AND noise = 0 AND cause IN ($2, $3, $4) ORDER BY workspace, address, key",
		string(repo), string(drift.CauseUpgrade), string(drift.CauseData), string(drift.CauseUnapplied))
	if err != nil {
		return nil, fmt.Errorf("read what may be the same in workspaces of %s: %w", repo, err)
	}
	return all, nil
}

// finding reads one finding.
func (s *store) finding(ctx context.Context, tx *sql.Tx, repo RepoID, workspace, key string) (FindingRow, bool, error) {
	f, ok, err := first(ctx, tx, scanFinding, "SELECT "+findingColumns+" FROM finding WHERE repository = $1 AND workspace = $2 AND key = $3", string(repo), workspace, key)
	if err != nil {
		return FindingRow{}, false, fmt.Errorf("read a finding of %s of %s: %w", workspace, repo, err)
	}
	return f, ok, nil
}
