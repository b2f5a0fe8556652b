package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// unread refuses a command to apply plans that its author cannot have read: no comment of ours showed them when the
// command was written. A command may be learnt of late, and must not apply what was planned meanwhile.
//
// Times are of the forge's clock, which counts in whole seconds; nobody reads a plan within the second it appears in.
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
	asked := commandedAt(*h.event.Event.Comment).Truncate(time.Second)
	for _, p := range plans {
		for _, r := range runs[p.Operation] {
			switch {
			case r.ID != p.ID:
			case r.ShownAt.IsZero():
				return &refusal{why: fmt.Sprintf("the plan of %s is not posted yet. Wait for it, read it, and then apply it.", codeName(r.Workspace))}
			case !asked.After(r.ShownAt):
				return &refusal{why: fmt.Sprintf("the plan of %s was posted at %s, and this was not written after that. Read it, and then apply it.",
					codeName(r.Workspace), r.ShownAt.UTC().Format("15:04:05 MST"))}
			}
		}
	}
	return nil
}

// commandedAt is when a comment came to say what it says.
func commandedAt(c forge.Comment) time.Time {
	if c.UpdatedAt.After(c.CreatedAt) {
		return c.UpdatedAt
	}
	return c.CreatedAt
}
