package engine

import (
	"context"
	"database/sql"
)

// mostWho is how many traces of a workspace the page shows, and whoFindings of how many findings it looks for them.
const (
	mostWho     = 3
	whoFindings = 100
)

// whoChanged reads who changed what has drifted in a workspace. What cannot be unsealed, such as after a change of keys, is
// left out: the next look writes it anew.
func (e *Engine) whoChanged(ctx context.Context, tx *sql.Tx, h *DriftHistory) error {
	if h.State != SweepDrifted {
		return nil
	}
	rows, err := e.store.findings(ctx, tx, h.Repository, h.Workspace, e.Now().AddDate(100, 0, 0)) // those that are there
	if err != nil {
		return err
	}
	plans, err := e.Plans(string(h.Repository))
	if err != nil {
		return err
	}
	for _, row := range rows[:min(len(rows), whoFindings)] {
		d, err := openFinding(plans, row)
		if err != nil || d.Ignored {
			continue
		}
		for _, trace := range d.Who {
			if h.Who = append(h.Who, WhoChanged{row.Address, trace}); len(h.Who) == mostWho {
				return nil
			}
		}
	}
	return nil
}
