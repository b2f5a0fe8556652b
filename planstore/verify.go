package planstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// kinds are all there are.
var kinds = []kind{kindPlan, kindApplied, kindState}

// Verified is what VerifyAll found to be whole, and what it found besides.
type Verified struct {
	Plans   []string // ids, oldest first
	Applies int
	States  int
	// Foreign are the names of objects that lie among ours and that nobody here wrote. They are left alone.
	Foreign []string
}

// VerifyAll reads everything that is stored for the repository from end to end: plans, records of applies and kept states.
// What is not whole is joined in the error, each a *BrokenError or what the bucket said. What another process deletes
// meanwhile is passed over.
func (s *Store) VerifyAll(ctx context.Context) (Verified, error) {
	var v Verified
	var errs []error
	for _, k := range kinds {
		objects, err := s.bucket.List(ctx, s.prefix(k))
		if err != nil {
			return v, fmt.Errorf("verify: list %s: %w", s.Location(), err)
		}
		for _, o := range objects {
			if !strings.HasSuffix(o.key, suffix) {
				v.Foreign = append(v.Foreign, s.Location()+"/"+o.key)
			}
		}
		whole, err := s.each(ctx, s.entriesOf(k, objects), s.verify)
		errs = append(errs, err)
		switch k {
		case kindPlan:
			v.Plans = whole
		case kindApplied:
			v.Applies = len(whole)
		case kindState:
			v.States = len(whole)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	return v, nil
}

// each calls do for several entries at a time. It returns the ids of those for which it went well, in their order, and the
// joined errors of the others. What is not there any more is neither.
func (s *Store) each(ctx context.Context, entries []entry, do func(context.Context, entry) error) ([]string, error) {
	var mu sync.Mutex
	var ids []string
	errs := make([]error, len(entries))
	var group errgroup.Group
	group.SetLimit(headReaders)
	for i, e := range entries {
		group.Go(func() error {
			err := do(ctx, e)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if errs[i] = err; err == nil {
				mu.Lock()
				defer mu.Unlock()
				ids = append(ids, e.id)
			}
			return nil
		})
	}
	_ = group.Wait() // always nil: errors are collected by place
	slices.Sort(ids)
	return ids, errors.Join(errs...)
}
