package engine

import (
	"context"
	"errors"
)

// workRun works a run: it claims it and brings it to its end. ctx ends with one of the causes in engine.go.
func (e *Engine) workRun(ctx context.Context, id string) error {
	return errors.New("not built yet")
}
