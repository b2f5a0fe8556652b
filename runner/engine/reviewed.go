package engine

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/prcomment"
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
	if err := h.findShown(ctx, c.Number, operations, runs); err != nil {
		return nil, err
	}
	found := map[string]review{}
	for name, plans := range plansAt(operations, runs, c.Head.Commit) {
		found[name] = lastRead(plans, c.ClosedAt)
	}
	return found, nil
}

// plansAt are the plans of a change at a head that have ended, by workspace and newest first, from plan operations given
// oldest first with their runs. A plan that was still being made, or was stopped, has been read by nobody.
func plansAt(operations []Operation, runs map[string][]Run, head string) map[string][]shownPlan {
	all := map[string][]shownPlan{}
	for _, op := range slices.Backward(operations) {
		if op.Kind != KindPlan || op.HeadCommit != head {
			continue
		}
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

// findShown looks on the forge for the comment with the newest plans, if no row says when it was posted: who posted it may
// have died before that was written down, or is about to write it.
func (h *errand) findShown(ctx context.Context, change int, operations []Operation, runs map[string][]Run) error {
	if len(operations) == 0 {
		return nil
	}
	newest := operations[len(operations)-1]
	shows, unnoted := showsOf(newest.ID, runs[newest.ID])
	if len(unnoted) == 0 {
		return nil
	}
	comments, err := h.forge.Client.Comments(ctx, h.repo.Repo, change)
	if err != nil {
		return err
	}
	if at := shownIn(comments, shows); !at.IsZero() {
		for i, r := range runs[newest.ID] {
			if slices.Contains(unnoted, r.ID) {
				runs[newest.ID][i].ShownAt = at
			}
		}
	}
	return nil
}

// shownIn is since when all pages of a plan comment of ours show a thing; zero if they do not.
func shownIn(comments []forge.Comment, shows string) time.Time {
	var last time.Time
	pages, want := map[int]bool{}, 0
	for _, c := range comments {
		m, ok := prcomment.ParseMark(c.Body)
		if !ok || !c.Ours || m.Key != keyPlan || m.Shows != shows {
			continue
		}
		pages[m.Page], want = true, m.Pages
		if c.UpdatedAt.After(last) {
			last = c.UpdatedAt
		}
	}
	if want == 0 || len(pages) < want {
		return time.Time{}
	}
	return last
}

// showsOf says in a word what a comment shows of an operation, so that one that is found on the forge can be told from an
// earlier edition, and lists the runs that it shows first as far as rows say: those that have ended.
func showsOf(operation string, runs []Run) (shows string, unnoted []string) {
	ended := 0
	for _, r := range runs {
		if !r.Status.Ended() || r.Status == Superseded {
			continue
		}
		ended++
		if r.ShownAt.IsZero() {
			unnoted = append(unnoted, r.ID)
		}
	}
	return operationKey(fmt.Sprint(ended), operation), unnoted
}

// noteShown writes down when a comment that was just written came to show plans that no comment had shown before. If an
// earlier attempt at the report had written it and died, that is when.
func (t *thread) noteShown(ctx context.Context, key string, o accountedOp) error {
	shows, unnoted := showsOf(o.ID, o.runs)
	if len(unnoted) == 0 {
		return nil
	}
	at := shownIn(slices.Collect(maps.Values(t.byID)), shows)
	if at.IsZero() {
		for _, where := range t.beyond(key, 0) {
			if row := t.rows[where]; row.WrittenAt.After(at) {
				at = row.WrittenAt
			}
		}
	}
	return t.e.persist(ctx, func(tx *sql.Tx) error {
		return t.e.store.noteShown(context.WithoutCancel(ctx), tx, unnoted, at)
	})
}
