package engine

import (
	"context"
	"database/sql"
)

// unread refuses a command to apply plans that its author cannot have read: no comment of ours showed them when the
// command was written. A command may be learnt of late, and must not apply what was planned meanwhile.
func (h *errand) unread(ctx context.Context, row ChangeRow, plans []Run) error {
	runs := map[string][]Run{}
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		for _, p := range plans {
			if err == nil && runs[p.Operation] == nil {
				runs[p.Operation], err = h.store.runsOf(ctx, tx, p.Operation)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := h.findShown(ctx, row.Number, runs); err != nil {
		return err
	}
	for _, p := range plans {
		for _, r := range runs[p.Operation] {
			if r.ID != p.ID {
				continue
			}
			if why := h.asker.readable(r); why != "" {
				return &refusal{why: why}
			}
		}
	}
	return nil
}
