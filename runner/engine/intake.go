package engine

import (
	"context"
	"errors"
)

// workEvent works an event: it claims it, does what follows from it and ends it. After an error the event is tried again, later each time.
func (e *Engine) workEvent(ctx context.Context, key string) error {
	return errors.New("not built yet")
}
