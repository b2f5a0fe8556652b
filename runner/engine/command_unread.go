package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// unread refuses a command to apply the plans of an operation that its author cannot have read: our comment with them was
// not written yet, or was made to say something else after the command was written. A command may be learnt of late, and
// must not apply what was planned meanwhile.
//
// Both times are of the forge's clock, which counts in whole seconds; nobody reads a plan within the second it appears in.
func (h *errand) unread(ctx context.Context, row ChangeRow, operation string) error {
	var written time.Time
	err := h.DB.Read(ctx, func(tx *sql.Tx) error {
		written = time.Time{}
		comments, err := h.store.comments(ctx, tx, row.Repository, row.Number)
		for _, c := range comments {
			of := c.Key == operationKey("apply", operation) || c.Key == operationKey("plan", operation) ||
				c.Key == keyPlan && row.Operation == operation
			if of && c.WrittenAt.After(written) {
				written = c.WrittenAt
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if written.IsZero() {
		return &refusal{why: "its plan is not posted yet. Wait for it, read it, and then apply it."}
	}
	if asked := commandedAt(*h.event.Event.Comment); asked.Before(written.Truncate(time.Second)) {
		return &refusal{why: fmt.Sprintf("the plan was posted anew at %s, after this was written. Read it, and then apply it.", written.UTC().Format("15:04:05 MST"))}
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
