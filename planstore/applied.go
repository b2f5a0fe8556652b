package planstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Applied is what is kept of an apply: the receipt of the plan that was applied and what was true right after. Drift is
// measured against it. Error is kept as given: take secrets out of it before.
type Applied struct {
	Plan      Plan      `json:"plan"`
	AppliedAt time.Time `json:"applied_at"` // set by PutApplied if zero
	Lineage   string    `json:"lineage"`    // of the state after the apply
	Serial    uint64    `json:"serial"`     // likewise
	Perpetual []string  `json:"perpetual,omitempty"`
	// Supposed are findings by key that a look right after an apply showed: noise of a provider, or something that somebody
	// had done already. The next apply tells.
	Supposed map[string]Supposition `json:"supposed,omitempty"`
	// Looked says that there was such a look after this apply. What differs later, and is no noise, was as applied then.
	Looked  bool   `json:"looked,omitempty"`
	Partial bool   `json:"partial,omitempty"` // it stopped on the way: some of the plan was done
	Error   string `json:"error,omitempty"`   // why it stopped; "" if it did not
	// Correction is the id of the plan that took drift back since, and moved the state on; "" if none did. Error is then
	// about that one.
	Correction string `json:"correction,omitempty"`
}

// Supposition is when a finding was seen right after an apply, and after which.
type Supposition struct {
	Plan string    `json:"plan"` // id of the plan that was applied
	At   time.Time `json:"at"`
}

// PutApplied keeps the record of an apply. Records are never changed: the newest one of a workspace counts.
func (s *Store) PutApplied(ctx context.Context, a Applied) error {
	failed := func(err error) error {
		return fmt.Errorf("store the record of the apply of workspace %q in %s: %w", a.Plan.Workspace, s.Location(), err)
	}
	if a.Plan.Workspace == "" {
		return failed(errors.New("the record names no workspace"))
	}
	if a.Plan.Repository != "" && a.Plan.Repository != s.repository {
		return failed(fmt.Errorf("the record is of repository %q, this store of %q", a.Plan.Repository, s.repository))
	}
	id, at, err := s.newID()
	if err != nil {
		return failed(err)
	}
	a.Plan.Repository = s.repository
	if a.AppliedAt.IsZero() {
		a.AppliedAt = at
	}
	if err := s.put(ctx, kindApplied, maker{a.Plan.Workspace, a.Plan.Commit, cmp.Or(a.Plan.Run, id)}, id, a); err != nil {
		return failed(err)
	}
	return nil
}

// LastApplied returns the record of the newest apply of a workspace. The error wraps ErrNotFound if nothing was applied
// yet.
func (s *Store) LastApplied(ctx context.Context, workspace string) (Applied, error) {
	failed := func(err error) (Applied, error) {
		return Applied{}, fmt.Errorf("read the record of the last apply of workspace %q: %w", workspace, err)
	}
	entries, err := s.entries(ctx, kindApplied, workspace)
	if err != nil {
		return failed(err)
	}
	if len(entries) == 0 {
		return failed(fmt.Errorf("%w in %s", ErrNotFound, s.Location()))
	}
	var a Applied
	if err := s.head(ctx, entries[len(entries)-1], &a); err != nil {
		return failed(err)
	}
	return a, nil
}

// AppliedSince returns the records of a workspace's applies that were kept after the plan with this id was made, oldest
// first: an apply of that very plan can only be among them.
func (s *Store) AppliedSince(ctx context.Context, workspace, id string) ([]Applied, error) {
	failed := func(err error) ([]Applied, error) {
		return nil, fmt.Errorf("read the records of the applies of workspace %q since plan %s: %w", workspace, id, err)
	}
	entries, err := s.entries(ctx, kindApplied, workspace)
	if err != nil {
		return failed(err)
	}
	var since []Applied
	for _, e := range entries {
		if e.id < id {
			continue
		}
		var a Applied
		if err := s.head(ctx, e, &a); err != nil {
			return failed(err)
		}
		since = append(since, a)
	}
	return since, nil
}
