package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// UnlockOptions say when a lock may be released.
type UnlockOptions struct {
	// Gone decides whether the run that left a lock is surely gone, and why or
	// why not, in one sentence. It is asked only when there is a lock, and no
	// apply of the workspace runs on this machine. nil releases nothing.
	Gone func(terraform.LockedError) (gone bool, reason string)
}

// Unlocked is what became of the lock of a workspace's state.
type Unlocked struct {
	// Lock is who held it; nil when nobody did, or nobody looked.
	Lock *terraform.LockedError
	// Free reports that nobody held it: there was nothing to do.
	Free bool
	// Released reports that it was taken from them.
	Released bool
	// Reason says why it was released or not, in one sentence.
	Reason string
}

// Unlock looks who holds the lock of a workspace's state, and releases it when
// its holder is surely gone.
func (r *Runner) Unlock(ctx context.Context, w *workspaces.Workspace, o UnlockOptions) (Unlocked, error) {
	r.observe(w, PhaseInit)
	if err := r.mistake(w); err != nil {
		return Unlocked{}, err
	}
	opened, err := r.open(ctx, w)
	if err != nil {
		return Unlocked{}, err
	}
	dir := opened.dir
	left, err := dir.Abandoned()
	if err != nil {
		return Unlocked{}, err
	}
	if left != nil && left.Running {
		return Unlocked{Reason: fmt.Sprintf("An apply that began at %s goes on by itself: it gives the lock back when it ends.", when(left.Began))}, nil
	}
	if _, err := dir.Init(ctx); err != nil {
		return Unlocked{}, err
	}
	lock, err := dir.Locked(ctx)
	if err != nil {
		return Unlocked{}, err
	}
	if lock == nil {
		return Unlocked{Free: true, Reason: "Nobody holds the lock of the state."}, nil
	}
	u := Unlocked{Lock: lock, Reason: "Whether its holder is gone is not known."}
	gone := false
	if o.Gone != nil {
		gone, u.Reason = o.Gone(*lock)
	}
	r.opts.Log.Info("lock of the state", "workspace", w.Name, "id", lock.ID, "who", lock.Who, "created", lock.Created, "gone", gone, "reason", u.Reason)
	switch {
	case !gone:
		return u, nil
	case lock.ID == "":
		u.Reason += " The backend does not say the id of the lock, so it must be released by hand."
		return u, nil
	}
	// With the id of a lock, no other one is released that somebody may have
	// taken meanwhile.
	if err := dir.Unlock(ctx, lock.ID); err != nil {
		return u, err
	}
	u.Released = true
	if again, err := dir.Locked(ctx); err != nil {
		return u, fmt.Errorf("the lock was released, but whether the state is free is not known: %w", err)
	} else if again != nil && again.ID == lock.ID {
		return u, errors.New("terraform said that it released the lock, and the state is still locked with it")
	}
	return u, nil
}
