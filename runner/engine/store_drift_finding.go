package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const findingColumns = "repository, workspace, key, address, class, cause, first_seen, last_seen, gone_at, corrected_at, corrections, noise, stopped_at, count_from, detail"

func scanFinding(row scanner) (FindingRow, error) {
	var f FindingRow
	var first, last, gone, corrected, stopped, from int64
	var detail string
	err := row.Scan(&f.Repository, &f.Workspace, &f.Key, &f.Address, &f.Class, &f.Cause, &first, &last, &gone, &corrected, &f.Corrections, &f.Noise, &stopped, &from, &detail)
	f.FirstSeen, f.LastSeen, f.GoneAt, f.CorrectedAt, f.Detail = moment(first), moment(last), moment(gone), moment(corrected), decode(detail)
	f.StoppedAt, f.CountFrom = moment(stopped), moment(from)
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

// putFindings writes all that a look at a workspace found: see seeFindings. What was there and is not found any more is
// gone, and if it was fought over, so is the fight.
func (s *store) putFindings(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, at time.Time, found []FindingRow) error {
	if err := s.seeFindings(ctx, tx, repo, workspace, at, found); err != nil {
		return err
	}
	// What this look has not touched was not found.
	if _, err := tx.ExecContext(ctx, `UPDATE finding SET gone_at = $1, count_from = CASE WHEN stopped_at > 0 THEN $1 ELSE count_from END, stopped_at = 0
		WHERE repository = $2 AND workspace = $3 AND gone_at = 0 AND last_seen <> $1`, millis(at), string(repo), workspace); err != nil {
		return fmt.Errorf("note which findings of %s of %s are gone: %w", workspace, repo, err)
	}
	return nil
}

// seeFindings writes findings of a look at a workspace: Key, Address, Class, Cause, Noise, StoppedAt and Detail of each are
// used, and CorrectedAt where the look has corrected it: then it is gone at once, unless it was Returned. One that comes back
// is first seen again.
func (s *store) seeFindings(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, at time.Time, found []FindingRow) error {
	now := millis(at)
	for _, f := range found {
		gone, corrections := int64(0), 0
		if !f.CorrectedAt.IsZero() {
			gone, corrections = now, 1
		}
		if f.Returned {
			gone, corrections, f.CorrectedAt = 0, 1, at
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO finding (`+findingColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12, 0, $13)
			ON CONFLICT (repository, workspace, key) DO UPDATE SET address = excluded.address, class = excluded.class, cause = excluded.cause,
			first_seen = CASE WHEN finding.gone_at > 0 THEN excluded.first_seen ELSE finding.first_seen END,
			last_seen = excluded.last_seen, gone_at = excluded.gone_at,
			corrected_at = CASE WHEN excluded.corrected_at > 0 THEN excluded.corrected_at ELSE finding.corrected_at END,
			corrections = finding.corrections + excluded.corrections, noise = excluded.noise, stopped_at = excluded.stopped_at, detail = excluded.detail`,
			string(repo), workspace, f.Key, f.Address, string(f.Class), string(f.Cause), now, gone, millis(f.CorrectedAt), corrections, bit(f.Noise), millis(f.StoppedAt), encode(f.Detail))
		if err != nil {
			return fmt.Errorf("keep a finding of %s of %s: %w", workspace, repo, err)
		}
	}
	return nil
}

// endFights has findings of a workspace corrected again that are fought over: those at an address, or all with "". It
// reports how many there were. What was corrected before counts no more: a person has decided.
func (s *store) endFights(ctx context.Context, tx *sql.Tx, repo RepoID, workspace, address string) (int, error) {
	done, err := tx.ExecContext(ctx, `UPDATE finding SET stopped_at = 0, count_from = $1 WHERE repository = $2 AND workspace = $3 AND (address = $4 OR $4 = '') AND stopped_at > 0`,
		millis(s.now()), string(repo), workspace, address)
	if err != nil {
		return 0, fmt.Errorf("end the fights over %s of %s: %w", workspace, repo, err)
	}
	n, err := done.RowsAffected()
	return int(n), err
}

// correctionsOf reads the corrections of a workspace, oldest first: of a run, or of all with "".
func (s *store) correctionsOf(ctx context.Context, tx *sql.Tx, repo RepoID, workspace, run string) ([]CorrectionRow, error) {
	all, err := list(ctx, tx, func(row scanner) (c CorrectionRow, err error) {
		var at int64
		err = row.Scan(&c.ID, &c.Repository, &c.Workspace, &c.Key, &c.Address, &c.Run, &at)
		c.At = moment(at)
		return c, err
	}, "SELECT id, repository, workspace, key, address, run, at FROM correction WHERE repository = $1 AND workspace = $2 AND (run = $3 OR $3 = '') ORDER BY at, id",
		string(repo), workspace, run)
	if err != nil {
		return nil, fmt.Errorf("read the corrections of %s of %s: %w", workspace, repo, err)
	}
	return all, nil
}

// takeBackCorrections forgets the corrections of a run: it turned out that none was begun.
func (s *store) takeBackCorrections(ctx context.Context, tx *sql.Tx, run string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM correction WHERE run = $1", run); err != nil {
		return fmt.Errorf("forget the corrections of the run %s: %w", run, err)
	}
	return nil
}
