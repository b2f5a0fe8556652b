package engine

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// review is what was last made known to reviewers about one workspace of a change.
type review struct {
	Plan        string // id; "" if there was nothing to do
	Fingerprint string
	Status      Status // "" if nobody has read a plan of it
}

// shownPlan is how a plan of a workspace ended, and when a comment showed that.
type shownPlan struct {
	review
	at time.Time // zero if none has
}

// reviewedPlans reads what reviewers of a change that is merged had read of each workspace.
func (h *errand) reviewedPlans(ctx context.Context, c forge.Change) (map[string]review, error) {
	var operations []Operation
	runs := map[string][]Run{}
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if operations, err = h.store.operations(ctx, tx, h.repo.ID, c.Number, KindPlan); err != nil {
			return err
		}
		// Plans of another head, or for another branch, are of something else.
		operations = slices.DeleteFunc(operations, func(op Operation) bool { return op.HeadCommit != c.Head.Commit || op.Branch != c.Base.Branch })
		for _, op := range operations {
			if runs[op.ID], err = h.store.runsOf(ctx, tx, op.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := h.findShown(ctx, c.Number, runs); err != nil {
		return nil, err
	}
	found := map[string]review{}
	for name, plans := range plansOf(operations, runs) {
		found[name] = lastRead(plans, c.ClosedAt)
	}
	return found, nil
}

// plansOf are the plans that have ended, by workspace and newest first, of operations given oldest first with their runs.
// A plan that was still being made, or was stopped, has been read by nobody.
func plansOf(operations []Operation, runs map[string][]Run) map[string][]shownPlan {
	all := map[string][]shownPlan{}
	for _, op := range slices.Backward(operations) {
		for _, r := range runs[op.ID] {
			if r.Status.Ended() && r.Status != Superseded {
				all[r.Workspace] = append(all[r.Workspace], shownPlan{review{Plan: r.Plan, Fingerprint: r.Fingerprint, Status: r.Status}, r.ShownAt})
			}
		}
	}
	return all
}

// lastRead is the newest plan that a comment showed when the change was merged: a merge may be learnt of late, and must not
// apply what was planned meanwhile. What was shown before still stands, and the gate sees whether it holds.
//
// Both times are of the forge's clock, which counts in whole seconds: within one, nobody can tell what came first. A plan
// that was shown in the very second of the merge gives way to one that was shown before. Where there is none it counts,
// because a program that merges as soon as the plan is there has waited for it.
func lastRead(plans []shownPlan, merged time.Time) review {
	merged = merged.Truncate(time.Second)
	var atOnce review
	for _, p := range plans {
		shown := p.at.Truncate(time.Second)
		switch {
		case p.at.IsZero() || shown.After(merged):
		case shown.Before(merged):
			return p.review
		case atOnce.Status == "":
			atOnce = p.review
		}
	}
	return atOnce
}
