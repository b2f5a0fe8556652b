package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/internal/database"
)

// persist is DB.Tx for what must not be lost, such as the result of a Terraform that has ended: it waits out a database
// that is gone, locked or full, also when ctx has ended, and gives up only when the engine's stop can wait no longer. The
// row then still says that its run is running, and the next start looks into it.
//
// fn must not use a context that ends: give its statements context.WithoutCancel(ctx).
//
// fn may be run again though an earlier run of it was committed, if nobody knows whether it was. So it has to begin with a
// step (stepRun, endEvent and their like): the second time they are errTaken, which persist then takes for success.
func (e *Engine) persist(ctx context.Context, fn func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(e.hard, cancel)()
	pause, waits, unknown := 500*time.Millisecond, false, false
	for {
		err := e.DB.Tx(ctx, fn)
		switch {
		case err == nil, unknown && errors.Is(err, errTaken):
			if waits {
				e.log.Info("the database takes results again")
			}
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("gave up on keeping a result, because the engine stops: %w", err)
		case !passes(err):
			return err
		}
		unknown = unknown || errors.Is(err, database.ErrUnknown)
		if !waits {
			e.log.Error("a result waits for the database", "error", err)
			waits = true
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		pause = min(2*pause, 15*time.Second)
	}
}

// passes reports whether the database may answer otherwise later.
func passes(err error) bool {
	for _, is := range []error{database.ErrUnavailable, database.ErrUnknown, database.ErrLocked, database.ErrFull, database.ErrReadOnly} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
