package engine

import (
	"context"
	"database/sql"
	"fmt"
)

// driftSummary reads how it stands with drift of the repositories in sight, and all pauses.
func (s *store) driftSummary(ctx context.Context, tx *sql.Tx, h horizon) (DriftSummary, error) {
	d := DriftSummary{States: map[SweepState]int{}}
	type state struct {
		state SweepState
		n     int
	}
	seen, args := h.where("repository")
	// What is off and was never looked at is none of it.
	states, err := list(ctx, tx, func(row scanner) (one state, err error) {
		err = row.Scan(&one.state, &one.n)
		return one, err
	}, "SELECT state, COUNT(*) FROM sweep WHERE gone = 0 AND (next_at > 0 OR state <> 'never')"+seen+" GROUP BY state", args...)
	if err != nil {
		return DriftSummary{}, fmt.Errorf("count what is looked at: %w", err)
	}
	for _, one := range states {
		d.States[one.state] = one.n
	}
	late, lateArgs := h.where("repository", millis(s.now()))
	overdue, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM sweep AS s WHERE gone = 0 AND overdue_at > 0 AND overdue_at < $1 AND "+notPaused+late, lateArgs...)
	if err != nil {
		return DriftSummary{}, fmt.Errorf("count what is overdue: %w", err)
	}
	findings, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM finding WHERE gone_at = 0"+seen, args...)
	if err != nil {
		return DriftSummary{}, fmt.Errorf("count the findings: %w", err)
	}
	d.Overdue, d.Findings = int(overdue), int(findings)
	d.Pauses, err = s.pauses(ctx, tx)
	return d, err
}
