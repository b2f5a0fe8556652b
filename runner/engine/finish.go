package engine

import (
	"context"
	"errors"
)

// finish does what follows from the end of an operation, once all of its runs have ended: other open changes are planned
// again, plans are pruned, workspaces' rows are noted, a change is merged. It may be called again after it was
// interrupted, or after an error, so each part of it must be harmless the second time.
func (e *Engine) finish(ctx context.Context, operation string) error {
	return errors.New("not built yet")
}
