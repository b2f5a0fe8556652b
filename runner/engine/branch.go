package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

const (
	// settleFor is how long commits that no change explains wait for one: forges tell of the push before they know of the
	// merge that made it.
	settleFor = 10 * time.Second
	// landFor is how long a merge may be missing on its branch.
	landFor = 2 * time.Minute
	// skew is how far the forge's clock may be from ours.
	skew = time.Hour
)

// pushed handles a branch that moved.
func (h *errand) pushed(ctx context.Context) error {
	ev := h.event.Event
	if ev.After == "" {
		return nil // deleted; should it come back, its row tells what was handled
	}
	if !h.forge.servesBranch(ev.Ref, h.repo.DefaultBranch) { // most pushes: nobody is asked whether the default branch is another one now
		return nil
	}
	return h.advance(ctx, ev.Ref, h.event.ReceivedAt)
}

// servesBranch reports whether merges into a branch are applied. A branch that is not served may be the default one since
// the repository was last asked for.
func (h *errand) servesBranch(ctx context.Context, name string) (bool, error) {
	if h.forge.servesBranch(name, h.repo.DefaultBranch) {
		return true, nil
	}
	row, err := h.ask(ctx, h.repo.Repo)
	if err != nil {
		return false, err
	}
	h.repo.DefaultBranch = row.DefaultBranch
	return h.forge.servesBranch(name, h.repo.DefaultBranch), nil
}

// astray is what a change is told that goes to a branch that is not served.
func (h *errand) astray(ctx context.Context, c forge.Change) (Notice, bool, error) {
	served, err := h.servesBranch(ctx, c.Base.Branch)
	if served || err != nil {
		return Notice{}, false, err
	}
	return Notice{
		Waits: fmt.Sprintf("This is to be merged into %s, which this server does not serve, so it is neither planned nor applied: nothing says that the branch is guarded. "+
			"Changes into %s are, and into those that `branches` in the server's configuration names.", codeName(c.Base.Branch), codeName(h.repo.DefaultBranch)),
		State: forge.Pending, Short: "goes to a branch that is not served",
	}, true, nil
}

// lookMerged handles a change that is merged: with all that came to its branch before it, in the branch's order.
func (h *errand) lookMerged(ctx context.Context, row ChangeRow) error {
	if served, err := h.servesBranch(ctx, row.Base.Branch); err != nil {
		return err
	} else if !served {
		return h.mergedAlong(ctx, row)
	}
	if err := h.advance(ctx, row.Base.Branch, h.event.ReceivedAt); err != nil {
		return err
	}
	var applies []Operation
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		applies, err = h.store.operations(ctx, tx, h.repo.ID, row.Number, KindApply)
		return err
	})
	if err != nil || slices.ContainsFunc(applies, func(op Operation) bool { return op.Cause == CauseMerged }) {
		return err
	}
	landed, err := h.onBranch(ctx, row)
	if err != nil {
		return err
	}
	if now := h.store.now(); !landed && now.Sub(h.event.ReceivedAt) < landFor {
		return &laterError{now.Add(2 * time.Second), fmt.Sprintf("the merge of #%d is not on %s yet", row.Number, row.Base.Branch)}
	}
	// It came with another change, or before the branch was first seen, or is gone from it.
	return h.mergedAlong(ctx, row)
}

// mergedAlong ends what is under way for a change of which nothing is to be applied by itself.
func (h *errand) mergedAlong(ctx context.Context, row ChangeRow) error {
	var cancelled []string
	err := h.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if err := h.unmoved(ctx, tx, row); err != nil {
			return nil, err
		}
		var superseded []Operation
		var err error
		if cancelled, superseded, err = h.store.supersede(ctx, tx, h.repo.ID, row.Number, KindPlan, ""); err != nil {
			return nil, err
		}
		if len(superseded) > 0 {
			if err := h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true); err != nil {
				return nil, err
			}
		}
		return nil, h.send(ctx, tx, eventPrune, row.Number, "merged "+row.MergeCommit)
	})
	h.cancel(errCancelled, cancelled...)
	return err
}

// advance brings a branch from where it was handled up to its tip: one apply operation for each merged change on the way,
// and for each push without one, oldest first. The branch's row moves with each of them, so that a commit is handled once.
func (h *errand) advance(ctx context.Context, branch string, eventAt time.Time) error {
	mirror, err := h.clone(ctx, h.repo)
	if err != nil {
		return err
	}
	tip, err := mirror.fetchBranch(ctx, branch)
	if errors.Is(err, gitrepo.ErrRefNotFound) {
		return &overError{fmt.Sprintf("there is no branch %s any more", branch)}
	}
	if err != nil {
		return err
	}
	for asked, again := false, false; ; {
		seen, movedAt, err := h.seen(ctx, branch)
		if err != nil {
			return err
		}
		if seen == "" || seen == tip {
			h.takeStock(ctx, mirror, branch, tip)
			return h.meetBranch(ctx, mirror, branch, seen, tip)
		}
		spans, forward, err := h.spans(ctx, mirror, branch, seen, tip, movedAt)
		if err != nil {
			return err
		}
		if !forward {
			behind, err := mirror.holds(ctx, seen, tip)
			if err != nil {
				return err
			}
			if behind && !again {
				again = true // another event may have seen more of the branch than this one's fetch
				if tip, err = mirror.fetchBranch(ctx, branch); err != nil {
					return err
				}
				continue
			}
			if behind && h.store.now().Sub(movedAt) < behindFor {
				// The forge may answer from a copy that lags. If the branch was set back, it stays so.
				return &laterError{h.store.now().Add(10 * time.Second), fmt.Sprintf("%s was seen further on than %s", branch, short(tip))}
			}
			return h.rewritten(ctx, branch, seen, tip)
		}
		if !asked && slices.ContainsFunc(spans, func(s gitrepo.Span) bool { return s.Change == 0 }) {
			asked = true
			if err := h.askMerged(ctx, branch, movedAt); err != nil {
				return err
			}
			continue
		}
		span := spans[0]
		if wait := settleFor - h.store.now().Sub(eventAt); span.Change == 0 && wait > 0 {
			return &laterError{eventAt.Add(settleFor), fmt.Sprintf("%s may be a merge that the forge does not tell of yet", short(span.To))}
		}
		if err := h.applySpan(ctx, branch, span, eventAt); err != nil && !errors.Is(err, errRaced) {
			return err
		}
	}
}

// seen reads how far a branch was handled, and when that was: by the forge's clock if it is known from a merge that was
// handled, because ours may be wrong or may have been set meanwhile, else by ours.
func (h *errand) seen(ctx context.Context, branch string) (seen string, at time.Time, err error) {
	err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if seen, _, err = h.store.branch(ctx, tx, h.repo.ID, branch); err == nil && seen != "" {
			at, err = h.store.branchMovedAt(ctx, tx, h.repo.ID, branch)
		}
		if err != nil {
			return err
		}
		if latest, err := h.store.latestHandled(ctx, tx, h.repo.ID, branch); err != nil {
			return err
		} else if !latest.IsZero() && latest.Before(at) {
			at = latest
		}
		return nil
	})
	return seen, at, err
}

// meetBranch notes the tip of a branch that is seen for the first time. What it holds already is not applied.
func (h *errand) meetBranch(ctx context.Context, mirror *clone, branch, seen, tip string) error {
	if seen == tip {
		return nil
	}
	set, err := mirror.set(ctx, tip)
	if err != nil && len(workspaces.Problems(err)) == 0 {
		return err
	}
	return h.DB.Tx(ctx, func(tx *sql.Tx) error {
		met, err := h.store.moveBranch(ctx, tx, h.repo.ID, branch, "", tip)
		if err == nil && met {
			err = h.putSet(ctx, tx, branch, set)
		}
		return err
	})
}

// firstSeen takes a branch that is not known as it is, without looking into it. What workspaces the default branch has is
// found out soon.
func (e *Engine) firstSeen(ctx context.Context, tx *sql.Tx, repo Repository, branch, tip string) error {
	met, err := e.store.moveBranch(ctx, tx, repo.ID, branch, "", tip)
	if err != nil || !met || branch != repo.DefaultBranch {
		return err
	}
	return e.send(ctx, tx, repo.ID, eventStock, 0, tip)
}

// rewritten starts anew from the tip of a branch that was pushed with force. Which changes that took away or brought back
// nobody can tell, so nothing is applied.
func (h *errand) rewritten(ctx context.Context, branch, seen, tip string) error {
	said := fmt.Sprintf("The history of %s was rewritten: %s is not in it any more. Nothing was applied; what is merged from %s on will be. Compare its workspaces with `plumbline drift`.",
		codeName(branch), short(seen), short(tip))
	moved := false
	err := h.step(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if _, err := h.store.hold(ctx, tx, h.repo.ID); err != nil {
			return nil, err
		}
		var err error
		if moved, err = h.store.moveBranch(ctx, tx, h.repo.ID, branch, seen, tip); err != nil || !moved {
			return nil, err
		}
		if err := h.store.caughtUp(ctx, tx, h.repo.ID, branch); err != nil {
			return nil, err
		}
		op, _, err := h.store.addOperation(ctx, tx, Operation{
			Repository: h.repo.ID, Kind: KindApply, Cause: CausePush, Actor: h.actor(), Branch: branch,
			BaseCommit: seen, Commit: tip, Notes: []string{said}, EventAt: h.event.ReceivedAt,
		}, nil)
		if err != nil {
			return nil, err
		}
		if err := h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Operation: op.ID}, true); err != nil {
			return nil, err
		}
		if err := h.lookAgain(ctx, tx, branch, tip, 0); err != nil {
			return nil, err
		}
		return []audit.Entry{{
			Actor: h.actor(), Action: string(KindApply), Commit: tip, Allowed: false, Reason: "the branch was pushed with force: nothing is applied of what came to it so",
			Details: map[string]string{"branch": branch, "event": h.event.Event.Key},
		}}, nil
	})
	if err == nil && moved {
		h.log.Warn("a branch was pushed with force: nothing was applied", "repository", h.repo.ID, "branch", branch, "from", seen, "to", tip)
	}
	return err
}

// lookAgain has the changes looked at that wait because they conflict with a branch, now that it has moved.
func (h *errand) lookAgain(ctx context.Context, tx *sql.Tx, branch, tip string, except int) error {
	open, err := h.store.openChanges(ctx, tx, h.repo.ID, branch)
	if err != nil {
		return err
	}
	for _, row := range open {
		if row.Number != except && row.Operation == "" && row.Notice.Waits != "" && row.Notice.Short != "" && (row.Notice.State == forge.Failure || row.Notice.Mends) {
			if err := h.send(ctx, tx, eventLook, row.Number, tip); err != nil {
				return err
			}
		}
	}
	return nil
}

// spans divides what came to a branch among the changes that rows know to be merged into it.
func (h *errand) spans(ctx context.Context, mirror *clone, branch, seen, tip string, movedAt time.Time) (spans []gitrepo.Span, forward bool, err error) {
	var rows []ChangeRow
	err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		rows, err = h.store.mergedSince(ctx, tx, h.repo.ID, branch, movedAt.Add(-skew))
		return err
	})
	if err != nil {
		return nil, false, err
	}
	merged := make([]gitrepo.MergedChange, 0, len(rows))
	for _, row := range rows {
		merged = append(merged, gitrepo.MergedChange{Number: row.Number, Head: row.Head.Commit, MergeCommit: row.MergeCommit, Base: row.Base.Commit})
	}
	return mirror.spans(ctx, seen, tip, merged)
}

// onBranch reports whether the merge of a change is on its base branch as it was last fetched.
func (h *errand) onBranch(ctx context.Context, row ChangeRow) (bool, error) {
	mirror, err := h.clone(ctx, h.repo)
	if err != nil || row.MergeCommit == "" {
		return false, err
	}
	if _, err := mirror.resolve(ctx, row.MergeCommit); err != nil {
		return false, ctx.Err() // it is not known here
	}
	return mirror.holds(ctx, branchRef(row.Base.Branch), row.MergeCommit)
}

// askMerged asks the forge which changes were merged into a branch since it was last handled, for those whose webhook was
// missed or has not come yet.
func (h *errand) askMerged(ctx context.Context, branch string, movedAt time.Time) error {
	changes, err := h.forge.Client.Changes(ctx, h.repo.Repo, forge.ChangesOptions{Since: movedAt.Add(-skew)})
	if err != nil {
		return err
	}
	return h.DB.Tx(ctx, func(tx *sql.Tx) error {
		for _, c := range changes {
			// What is not merged is left to its own events.
			if c.State != forge.Merged || c.Base.Branch != branch {
				continue
			}
			if _, err := h.store.putChange(ctx, tx, h.repo.ID, c); err != nil {
				return err
			}
		}
		return nil
	})
}
