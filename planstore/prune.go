package planstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// PruneOptions says which plans Prune takes away. At least one of OlderThan, Keep, Superseded and Broken must be set.
type PruneOptions struct {
	// OlderThan selects plans made longer ago than this. Zero selects by age not at all.
	OlderThan time.Duration

	// Superseded selects plans of a workspace and scope in which an apply has happened since: they can never be applied
	// again.
	Superseded bool

	// Keep protects the newest plans of each workspace, scope and purpose from OlderThan and Superseded. Zero means one. When
	// neither of those is set, a Keep above zero selects all that it does not protect.
	Keep int

	// Newest lets even the newest plan of a workspace go if it is selected: with it, a Keep of zero protects none.
	Newest bool

	// Broken selects entries that cannot be read, whatever their age. Without it they are left and reported.
	Broken bool

	// DryRun only says what would go.
	DryRun bool
}

// Prune removes plans and returns the receipts of those that are gone, or with DryRun would go, oldest first. Of a broken
// entry only the ID is known. Records of applies go by the same age, but never the newest of a workspace; kept states
// never go. What could not be read or removed is joined in the error, beside what was done.
func (s *Store) Prune(ctx context.Context, o PruneOptions) ([]Plan, error) {
	if o.OlderThan < 0 || o.Keep < 0 {
		return nil, errors.New("prune plans: an age or a number to keep is negative")
	}
	if o.OlderThan == 0 && o.Keep == 0 && !o.Superseded && !o.Broken {
		return nil, errors.New("prune plans: say which: older than an age, all but the newest few, superseded, or broken")
	}
	entries, err := s.entries(ctx, kindPlan, "")
	if err != nil {
		return nil, fmt.Errorf("prune plans: %w", err)
	}
	plans, broken, errs := s.readable(ctx, entries)
	applied, err := s.lastApplies(ctx, o, plans)
	errs = append(errs, err)

	gone := choose(plans, applied, o, s.now())
	if o.Broken {
		for _, b := range broken {
			gone = append(gone, Plan{ID: b.ID, Repository: s.repository})
		}
	} else {
		for _, b := range broken {
			errs = append(errs, b)
		}
	}
	slices.SortFunc(gone, func(a, b Plan) int { return strings.Compare(a.ID, b.ID) })
	if o.DryRun {
		return gone, errors.Join(errs...)
	}

	keys := make(map[string]string, len(entries))
	for _, e := range entries {
		keys[e.id] = e.key
	}
	removed := gone[:0]
	for _, p := range gone {
		if err := s.bucket.Delete(ctx, keys[p.ID]); err != nil {
			errs = append(errs, fmt.Errorf("delete plan %s: %w", p.ID, err))
			continue
		}
		removed = append(removed, p)
	}
	errs = append(errs, s.pruneApplies(ctx, o))
	return removed, errors.Join(errs...)
}

// choose decides which plans go.
func choose(plans []Plan, applied map[string]Applied, o PruneOptions, now time.Time) []Plan {
	keep := o.Keep
	if keep == 0 && !o.Newest {
		keep = 1
	}
	type row struct{ workspace, change, purpose string }
	newer := make(map[row]int)
	slices.SortFunc(plans, func(a, b Plan) int { return strings.Compare(b.ID, a.ID) })
	var gone []Plan
	for _, p := range plans {
		r := row{p.Workspace, p.Change, p.Purpose}
		newer[r]++
		if newer[r] <= keep {
			continue
		}
		last, ok := applied[p.Workspace]
		// After an apply of another change a plan is made again, and may still be what was reviewed.
		superseded := o.Superseded && ok && last.Plan.Change == p.Change && last.AppliedAt.After(p.CreatedAt)
		old := o.OlderThan > 0 && now.Sub(p.CreatedAt) > o.OlderThan
		all := o.OlderThan == 0 && !o.Superseded && o.Keep > 0
		if superseded || old || all {
			gone = append(gone, p)
		}
	}
	return gone
}

// readable opens the heads of entries and parts the broken ones from those that could not be read for another reason.
func (s *Store) readable(ctx context.Context, entries []entry) (plans []Plan, broken []*BrokenError, errs []error) {
	plans, err := heads[Plan](ctx, s, entries)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return plans, nil, nil
	}
	for _, err := range joined.Unwrap() {
		var b *BrokenError
		if errors.As(err, &b) {
			broken = append(broken, b)
		} else {
			errs = append(errs, err)
		}
	}
	return plans, broken, errs
}

// lastApplies returns how each workspace of the plans was applied last, if the options ask for that.
func (s *Store) lastApplies(ctx context.Context, o PruneOptions, plans []Plan) (map[string]Applied, error) {
	if !o.Superseded {
		return nil, nil
	}
	applied := make(map[string]Applied)
	asked := make(map[string]bool)
	var errs []error
	for _, p := range plans {
		if asked[p.Workspace] {
			continue
		}
		asked[p.Workspace] = true
		a, err := s.LastApplied(ctx, p.Workspace)
		switch {
		case err == nil:
			applied[p.Workspace] = a
		case !errors.Is(err, ErrNotFound):
			errs = append(errs, err)
		}
	}
	return applied, errors.Join(errs...)
}

// pruneApplies removes old records of applies. Their age is that of their id, so that none has to be opened.
func (s *Store) pruneApplies(ctx context.Context, o PruneOptions) error {
	if o.OlderThan == 0 {
		return nil
	}
	entries, err := s.entries(ctx, kindApplied, "")
	if err != nil {
		return err
	}
	oldest := s.now().Add(-o.OlderThan).UTC().Format("20060102-150405")
	newest := make(map[string]bool) // by directory: that of a workspace
	var errs []error
	for _, e := range slices.Backward(entries) {
		dir := e.key[:strings.LastIndexByte(e.key, '/')]
		if !newest[dir] {
			newest[dir] = true
			continue
		}
		if e.id < oldest {
			if err := s.bucket.Delete(ctx, e.key); err != nil {
				errs = append(errs, fmt.Errorf("delete record of an apply %s: %w", e.id, err))
			}
		}
	}
	return errors.Join(errs...)
}
