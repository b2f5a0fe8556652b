package terraform

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// probeAddress is an address that no configuration has.
const probeAddress = "terraform_data.plumbline_looks_whether_the_state_is_locked"

// Locked returns who holds the lock of the state, nil when nobody does. To find out the lock is taken and given back, by
// a command that then finds nothing to do and writes nothing. Init must have run.
func (d *Dir) Locked(ctx context.Context) (*LockedError, error) {
	unlock, err := lockDir(ctx, d.opts.DataDir, false)
	if err != nil {
		return nil, d.gaveUp(ctx, "look at the lock", err)
	}
	defer unlock()
	_, err = d.run(ctx, "untaint", nil, "untaint", "-no-color", "-allow-missing", "-lock-timeout=0s", probeAddress)
	var locked *LockedError
	if errors.As(err, &locked) {
		return locked, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look whether the state is locked: %w", err)
	}
	return nil, nil
}

// Unlock releases the lock of the state with this id, whoever holds it: the caller must know that its holder is gone for
// good. Init must have run.
func (d *Dir) Unlock(ctx context.Context, id string) error {
	if id == "" || strings.HasPrefix(id, "-") {
		return fmt.Errorf("release the lock of the state: %q is not the id of a lock", id)
	}
	unlock, err := lockDir(ctx, d.opts.DataDir, false)
	if err != nil {
		return d.gaveUp(ctx, "force-unlock", err)
	}
	defer unlock()
	_, err = d.run(ctx, "force-unlock", nil, "force-unlock", "-no-color", "-force", id)
	return err
}

// Since is when the lock was taken, in the holder's clock; the zero time when that cannot be read.
func (e *LockedError) Since() time.Time {
	// As Go prints a time, possibly with a monotonic reading after it.
	text, _, _ := strings.Cut(e.Created, " m=")
	at, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", text)
	if err != nil {
		return time.Time{}
	}
	return at
}
