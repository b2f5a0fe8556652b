package engine

import (
	"context"
	"errors"
)

// recoverRun sees what became of a run whose worker is gone: r.Owner is a dead process, or this one. A run that has
// applied nothing is given back; one that was applying is examined. After an error it is tried again.
func (e *Engine) recoverRun(ctx context.Context, r Run) error {
	return errors.New("not built yet")
}
