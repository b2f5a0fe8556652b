package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// planRequest says why a change is planned, and how much of it.
type planRequest struct {
	cause   Cause
	actor   string
	eventAt time.Time
	replyTo string
	notes   []string
	// only names the workspaces to plan; the runs of the others are carried over from the operation before. nil means all.
	only []string
	// dependents extends only to what depends on it.
	dependents bool
	// chosen are names as a person wrote them; they become only.
	chosen []string
}

// plan makes a plan operation for an open change, or a notice that says why there is none.
func (h *errand) plan(ctx context.Context, row ChangeRow, p planRequest) error {
	if n, no := distrust(row.Change, h.forge); no {
		return h.wait(ctx, row, p, n)
	}
	if n, no, err := h.astray(ctx, row.Change); err != nil {
		return err
	} else if no {
		return h.wait(ctx, row, p, n)
	}
	g, notice, err := h.lay(ctx, row.Change)
	if err != nil {
		return err
	}
	if notice.Waits != "" {
		return h.wait(ctx, row, p, notice)
	}
	if n, waits := drafted(row.Change, g.BaseSet.Policy()); waits && p.cause != CauseCommand {
		return h.wait(ctx, row, p, n)
	}
	carried, err := h.former(ctx, row)
	if err != nil {
		return err
	}
	if len(p.chosen) > 0 {
		picked, err := pick(g.Affected, p.chosen)
		if err != nil {
			return err
		}
		for _, w := range picked {
			p.only = append(p.only, w.Name)
		}
	}
	if p.only != nil && p.dependents {
		p.only = downstream(g.Set, p.only)
	}
	plans, err := h.Plans(string(h.repo.ID))
	if err != nil {
		return err
	}
	runs, err := planRuns(g, p.only, carried, plans)
	if err != nil {
		return err
	}
	if p.cause == CauseStale && !slices.ContainsFunc(runs, func(r Run) bool { return r.Status == "" }) {
		return nil // nothing of it has moved
	}
	op := Operation{
		Repository: h.repo.ID, Change: row.Number, Kind: KindPlan, Cause: p.cause, Actor: p.actor, Branch: row.Base.Branch,
		BaseCommit: g.Base, HeadCommit: row.Head.Commit, Commit: g.Commit, Notes: slices.Concat(p.notes, g.Notes),
		ReplyTo: p.replyTo, EventAt: p.eventAt,
	}
	notice = Notice{}
	if len(runs) == 0 {
		notice = Notice{Waits: "This touches no workspace.", State: forge.Success, Short: "touches no workspace"}
	}
	return h.begin(ctx, row, op, runs, notice)
}

// former reads those runs of the plan operation before that another operation of the same head may take over.
func (h *errand) former(ctx context.Context, row ChangeRow) (runs map[string]Run, err error) {
	op, known, err := h.current(ctx, row)
	if err != nil || !known || op.HeadCommit != row.Head.Commit || op.Branch != row.Base.Branch {
		return nil, err
	}
	err = h.DB.Read(ctx, func(tx *sql.Tx) error {
		all, err := h.store.runsOf(ctx, tx, op.ID)
		if err != nil {
			return err
		}
		applies, err := h.store.operations(ctx, tx, h.repo.ID, row.Number, KindApply)
		if err != nil {
			return err
		}
		runs = map[string]Run{}
		for _, r := range all {
			if r.Status == Planned || r.Status == Unchanged || r.Status == Failed || r.Status == Removed {
				runs[r.Workspace] = r
			}
		}
		for _, apply := range applies { // what an apply has touched since is not as it was planned
			applied, err := h.store.runsOf(ctx, tx, apply.ID)
			if err != nil {
				return err
			}
			for _, r := range applied {
				if r.CreatedAt.After(runs[r.Workspace].CreatedAt) {
					delete(runs, r.Workspace)
				}
			}
		}
		return nil
	})
	return runs, err
}

// planRuns makes the runs of a plan operation. Those in only are planned, and those that there is nothing to carry over of.
func planRuns(g ground, only []string, carried map[string]Run, plans *planstore.Store) ([]Run, error) {
	runs := make([]Run, 0, len(g.Affected))
	for i, w := range g.Affected {
		r := Run{Workspace: w.Name, Dir: w.Dir, Position: i, Reasons: w.Reasons}
		if old, have := carried[w.Name]; have && only != nil && !slices.Contains(only, w.Name) && old.Dir == w.Dir {
			var err error
			if r, err = carry(plans, old, r); err != nil {
				return nil, err
			}
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// carry makes r what old was. What is sealed is bound to a run, so it is sealed again.
func carry(plans *planstore.Store, old, r Run) (Run, error) {
	var err error
	if r.ID, err = newID(); err != nil {
		return Run{}, err
	}
	r.Status, r.Plan, r.Fingerprint, r.Attempts = old.Status, old.Plan, old.Fingerprint, old.Attempts
	r.StartedAt, r.EndedAt, r.ShownAt = old.StartedAt, old.EndedAt, old.ShownAt
	if len(old.Result) == 0 {
		return r, nil
	}
	text, err := plans.Unseal("run "+old.ID, old.Result)
	var broken *planstore.BrokenError
	if errors.As(err, &broken) {
		return Run{Workspace: r.Workspace, Dir: r.Dir, Position: r.Position, Reasons: r.Reasons}, nil // it is planned again
	}
	if err == nil {
		r.Result, err = plans.Seal("run "+r.ID, text)
	}
	if err != nil {
		return Run{}, fmt.Errorf("carry over the run %s: %w", old.ID, err)
	}
	return r, nil
}

// begin keeps a plan operation and what takes its place, if the change is still as it was seen: the row, and the
// operation that its comment shows.
func (h *errand) begin(ctx context.Context, row ChangeRow, op Operation, runs []Run, n Notice) error {
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
		if op.Cause == CauseOpened || op.Cause == CausePushed {
			if err := h.callOff(ctx, tx, row); err != nil {
				return nil, err
			}
		}
		added, _, err := h.store.addOperation(ctx, tx, op, runs)
		if err != nil {
			return nil, err
		}
		if err := h.store.setOperation(ctx, tx, h.repo.ID, row.Number, added.ID); err != nil {
			return nil, err
		}
		if err := h.store.setNotice(ctx, tx, h.repo.ID, row.Number, n); err != nil {
			return nil, err
		}
		if err := h.store.setPruned(ctx, tx, h.repo.ID, row.Number, false); err != nil {
			return nil, err
		}
		// What is merged from now on is new: a merge that is the first one heard of a branch must not be taken for its past.
		if err := h.firstSeen(ctx, tx, h.repo, op.Branch, op.BaseCommit); err != nil {
			return nil, err
		}
		if err := h.settle(ctx, tx, added.ID); err != nil {
			return nil, err
		}
		if err := h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, len(runs) == 0); err != nil {
			return nil, err
		}
		reason := fmt.Sprintf("cause: %s; %s", op.Cause, counted(len(runs), "workspace"))
		if len(superseded) > 0 {
			reason += "; an older plan was superseded"
		}
		return []audit.Entry{{
			Actor: op.Actor, Action: string(KindPlan), Change: int64(row.Number), Commit: op.HeadCommit, Allowed: true,
			Reason: reason, Details: h.planDetails(op.Branch),
		}}, nil
	})
	h.cancel(errCancelled, cancelled...)
	return err
}

// planDetails are what the audit log says of a plan, and of a request for it. Of a comment the event's key tells which it is.
func (h *errand) planDetails(branch string) map[string]string {
	details := map[string]string{"event": h.event.Event.Key, "branch": branch}
	if v, ok := h.asker.(*visitor); ok {
		maps.Copy(details, v.details())
	}
	return details
}

// unmoved is errRaced unless the change's row is as it was read.
func (h *errand) unmoved(ctx context.Context, tx *sql.Tx, row ChangeRow) error {
	if _, err := h.store.hold(ctx, tx, h.repo.ID); err != nil {
		return err
	}
	now, known, err := h.store.change(ctx, tx, h.repo.ID, row.Number)
	if err == nil && (!known || !sameChange(now.Change, row.Change) || now.Operation != row.Operation) {
		err = errRaced
	}
	return err
}

// callOff ends the applies of an open change that have not begun: they are of a head that is the change's no more.
func (h *errand) callOff(ctx context.Context, tx *sql.Tx, row ChangeRow) error {
	_, superseded, err := h.store.supersede(ctx, tx, h.repo.ID, row.Number, KindApply, "")
	if err != nil {
		return err
	}
	return h.settleAll(ctx, tx, superseded)
}

// wait keeps a notice that says why a change is not planned, and ends what was planned of it before.
func (h *errand) wait(ctx context.Context, row ChangeRow, p planRequest, n Notice) error {
	if p.replyTo != "" {
		if err := h.asker.refuse(ctx, row.Number, n.Waits); err != nil {
			return err
		}
	}
	if row.Operation == "" && row.Notice.Waits == n.Waits && row.Notice.State == n.State {
		// It was told, but perhaps not on this head, where a status is to stand.
		return h.DB.Tx(ctx, func(tx *sql.Tx) error {
			return h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true)
		})
	}
	var cancelled []string
	err := h.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if err := h.unmoved(ctx, tx, row); err != nil {
			return nil, err
		}
		var err error
		if cancelled, _, err = h.store.supersede(ctx, tx, h.repo.ID, row.Number, KindPlan, ""); err != nil {
			return nil, err
		}
		if err := h.callOff(ctx, tx, row); err != nil {
			return nil, err
		}
		if err := h.store.setOperation(ctx, tx, h.repo.ID, row.Number, ""); err != nil {
			return nil, err
		}
		if err := h.store.setNotice(ctx, tx, h.repo.ID, row.Number, n); err != nil {
			return nil, err
		}
		if err := h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true); err != nil {
			return nil, err
		}
		return []audit.Entry{{
			Actor: p.actor, Action: string(KindPlan), Change: int64(row.Number), Commit: row.Head.Commit, Allowed: false,
			Reason: "not planned: " + strings.TrimPrefix(n.Short, "not planned: "), Details: h.planDetails(row.Base.Branch),
		}}, nil
	})
	h.cancel(errCancelled, cancelled...)
	return err
}

// planMerged plans workspaces of a change that is merged: at the tip of its branch, to see what is left to do.
func (h *errand) planMerged(ctx context.Context, row ChangeRow, p planRequest) error {
	tip, set, err := h.atTip(ctx, row.Base.Branch)
	if err != nil {
		return err
	}
	states, err := h.standings(ctx, row.Number)
	if err != nil {
		return err
	}
	var chosen []*workspaces.Workspace
	for _, w := range set.Workspaces {
		if _, mine := states[w.Name]; mine && (p.only == nil || slices.Contains(p.only, w.Name)) {
			chosen = append(chosen, w)
		}
	}
	if chosen, err = pick(chosen, p.chosen); err != nil {
		return err
	}
	if len(chosen) == 0 {
		return &refusal{why: "nothing that was applied for this change is a workspace of " + codeName(row.Base.Branch) + " now."}
	}
	runs, err := planRuns(ground{Affected: chosen}, nil, nil, nil)
	if err != nil {
		return err
	}
	return h.begin(ctx, row, Operation{
		Repository: h.repo.ID, Change: row.Number, Kind: KindPlan, Cause: p.cause, Actor: p.actor, Branch: row.Base.Branch,
		BaseCommit: row.Base.Commit, HeadCommit: row.Head.Commit, Commit: tip, ReplyTo: p.replyTo, EventAt: p.eventAt,
		Notes: append(p.notes, fmt.Sprintf("This is a plan of %s as it is now, after the merge.", codeName(row.Base.Branch))),
	}, runs, Notice{})
}
