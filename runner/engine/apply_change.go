package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// judged is a workspace with its judgement.
type judged struct {
	*workspaces.Workspace
	judgement
}

// applySpan makes the apply operation of one part of a branch's way, and moves the branch over it. It is errRaced if
// another process has moved the branch.
func (h *errand) applySpan(ctx context.Context, branch string, span gitrepo.Span, eventAt time.Time) error {
	var row ChangeRow
	if span.Change != 0 {
		err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			row, _, err = h.store.change(ctx, tx, h.repo.ID, span.Change)
			return err
		})
		if err != nil {
			return err
		}
	}
	f, err := h.footing(ctx, branch, span)
	if err != nil {
		return err
	}
	g := f.ground
	all, err := h.judgeSpan(ctx, span, row, g)
	if err != nil {
		return err
	}
	op := Operation{
		Repository: h.repo.ID, Change: span.Change, Kind: KindApply, Cause: CauseMerged, Actor: h.merger(span.Change), Branch: branch,
		BaseCommit: g.Base, HeadCommit: row.Head.Commit, Commit: span.To, Notes: g.Notes, Unread: f.unread, EventAt: eventAt,
	}
	if span.Change == 0 {
		op.Cause, op.HeadCommit = CausePush, span.To
		if len(all) == 0 && len(op.Notes) == 0 && len(f.late) == 0 {
			return h.passOver(ctx, branch, span, g.Set)
		}
	}
	runs, err := h.applyRuns(&op, g.Set, all)
	if err != nil {
		return err
	}
	late, err := h.catchUp(ctx, branch, span, f, eventAt)
	if err != nil {
		return err
	}
	var cancelled []string
	err = h.step(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if _, err := h.store.hold(ctx, tx, h.repo.ID); err != nil {
			return nil, err
		}
		moved, err := h.store.moveBranch(ctx, tx, h.repo.ID, branch, span.From, span.To)
		if err != nil {
			return nil, err
		}
		if !moved {
			return nil, errRaced
		}
		// A branch may be set back and forward again.
		if applied, err := h.store.appliedSpan(ctx, tx, h.repo.ID, branch, span.To); err != nil || applied {
			return nil, err
		}
		subject := Subject{Repository: h.repo.ID, Change: span.Change}
		if span.Change != 0 {
			// Plans that are still being made were read by nobody; see reviewed.
			if cancelled, _, err = h.store.supersede(ctx, tx, h.repo.ID, span.Change, KindPlan, ""); err != nil {
				return nil, err
			}
			if _, superseded, err := h.store.supersede(ctx, tx, h.repo.ID, span.Change, KindApply, ""); err != nil {
				return nil, err
			} else if err := h.settleAll(ctx, tx, superseded); err != nil {
				return nil, err
			}
		}
		var entries []audit.Entry
		for _, l := range late {
			if _, err := h.addApply(ctx, tx, l.op, l.runs); err != nil {
				return nil, err
			}
			if err := h.wantReport(ctx, tx, l.op.subject(), true); err != nil {
				return nil, err
			}
			entries = append(entries, h.entries(l.op, l.all)...)
		}
		if !f.unread && len(f.late) > 0 {
			if err := h.store.caughtUp(ctx, tx, h.repo.ID, branch); err != nil {
				return nil, err
			}
		}
		added, err := h.addApply(ctx, tx, op, runs)
		if err != nil {
			return nil, err
		}
		if span.Change == 0 {
			subject.Operation = added.ID
		}
		if err := h.wantReport(ctx, tx, subject, true); err != nil {
			return nil, err
		}
		if err := h.along(ctx, tx, span); err != nil {
			return nil, err
		}
		if err := h.lookAgain(ctx, tx, branch, span.To, span.Change); err != nil {
			return nil, err
		}
		if err := h.putSet(ctx, tx, branch, g.Set); err != nil {
			return nil, err
		}
		return append(entries, h.entries(op, all)...), nil
	})
	h.cancel(errCancelled, cancelled...)
	if f.unread && err == nil {
		h.log.Error("nothing can be applied: "+workspaces.ConfigFile+" of a branch has mistakes", "repository", h.repo.ID, "branch", branch, "commit", span.To)
	}
	return err
}

// judgeSpan decides about each workspace that a part of a branch's way touches.
func (h *errand) judgeSpan(ctx context.Context, span gitrepo.Span, row ChangeRow, g ground) ([]judged, error) {
	all := make([]judged, 0, len(g.Affected))
	if span.Change == 0 {
		var policy workspaces.Policy // allows nothing
		if g.BaseSet != nil && !g.Scratch {
			policy = g.BaseSet.Policy()
		}
		for _, w := range g.Affected {
			all = append(all, judged{w, judgePush(w, policy)})
		}
		return all, nil
	}
	approvers, err := h.approvalsFor(ctx, row.Change, g.Affected)
	if err != nil {
		return nil, err
	}
	plans, err := h.reviewedPlans(ctx, row.Change)
	if err != nil {
		return nil, err
	}
	var applied map[string]bool
	err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		applied, err = h.stillApplied(ctx, tx, row.Change)
		return err
	})
	if err != nil {
		return nil, err
	}
	if g.Scratch {
		plans = nil // they were made under rules that nobody knows any more
	}
	for _, w := range g.Affected {
		all = append(all, judged{w, judgeMerge(w, row.Head.Commit, plans[w.Name], applied[w.Name], approvers)})
	}
	return all, nil
}

// appliedPlans reads which workspaces of a change were applied at its head: their newest apply did all of it.
func (h *errand) appliedPlans(ctx context.Context, tx *sql.Tx, c forge.Change) (map[string]bool, error) {
	operations, err := h.store.operations(ctx, tx, h.repo.ID, c.Number, KindApply)
	if err != nil {
		return nil, err
	}
	applied := map[string]bool{}
	for _, op := range operations {
		runs, err := h.store.runsOf(ctx, tx, op.ID)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			if r.Status != Superseded {
				applied[r.Workspace] = op.HeadCommit == c.Head.Commit && (r.Status == Applied || r.Status == Unchanged)
			}
		}
	}
	return applied, nil
}

// stillApplied reads which workspaces of a change were applied at its head and have not been touched since: no other
// change was applied there, and no newer plan of this one found something left to do. What another change has undone is
// not applied.
func (h *errand) stillApplied(ctx context.Context, tx *sql.Tx, c forge.Change) (map[string]bool, error) {
	applied, err := h.appliedPlans(ctx, tx, c)
	if err != nil {
		return nil, err
	}
	states, err := h.store.standings(ctx, tx, h.repo.ID, c.Number)
	if err != nil {
		return nil, err
	}
	for name := range applied {
		s := states[name]
		if s.fresh.Status != "" && s.fresh.Status != Unchanged && s.fresh.Status != Superseded {
			applied[name] = false
			continue
		}
		n, _, err := first(ctx, tx, scanNumber, `SELECT COUNT(*) FROM run JOIN operation ON operation.id = run.operation
			WHERE run.repository = $1 AND run.workspace = $2 AND run.kind = 'apply' AND run.started_at > $3 AND operation.change_number <> $4
			AND run.status IN ('running', 'applied', 'partly', 'interrupted')`,
			string(h.repo.ID), name, millis(s.apply.StartedAt), c.Number)
		if err != nil {
			return nil, fmt.Errorf("look for later applies of %s: %w", name, err)
		}
		applied[name] = applied[name] && n == 0
	}
	return applied, nil
}

// applyRuns makes the runs of an apply operation, in the graph's order, and writes into the operation what is accepted and
// what is left out.
func (h *errand) applyRuns(op *Operation, set *workspaces.Set, all []judged) ([]Run, error) {
	plans, err := h.Plans(string(h.repo.ID))
	if err != nil {
		return nil, err
	}
	before := map[string][]string{}
	if set != nil {
		before = upstream(set)
	}
	after := map[string][]string{}
	for name, deps := range before {
		for _, dep := range deps {
			after[dep] = append(after[dep], name)
		}
	}
	in := map[string]bool{}
	for _, j := range all {
		in[j.Name] = j.Leave == ""
	}
	var runs []Run
	for i, j := range all {
		if j.Leave != "" {
			op.Notes = append(op.Notes, j.Leave)
			continue
		}
		r := Run{
			Workspace: j.Name, Dir: j.Dir, Position: i, Reasons: j.Reasons, Reviewed: j.Reviewed,
			Around: slices.Concat([]string{j.Name}, before[j.Name], after[j.Name]),
		}
		slices.Sort(r.Around)
		for _, dep := range before[j.Name] {
			if in[dep] {
				r.Needs = append(r.Needs, dep)
			}
		}
		if j.Hold != "" {
			if r, err = holdRun(plans, r, j); err != nil {
				return nil, err
			}
		} else if j.Accept != "" {
			if op.Accept == nil {
				op.Accept = map[string]string{}
			}
			op.Accept[j.Name] = j.Accept
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// holdRun makes a run that is held from the start.
func holdRun(plans *planstore.Store, r Run, j judged) (Run, error) {
	var err error
	if r.ID, err = newID(); err != nil {
		return Run{}, err
	}
	r.Status = Held
	r.Result, err = sealResult(plans, r.ID, runner.Result{
		Workspace: j.Workspace, Status: runner.Held, Hold: &runner.Hold{Reason: j.Hold, Next: j.Next},
	})
	return r, err
}

// addApply keeps an apply operation with its runs and has what is ready begun.
func (h *errand) addApply(ctx context.Context, tx *sql.Tx, op Operation, runs []Run) (Operation, error) {
	added, _, err := h.store.addOperation(ctx, tx, op, runs)
	if err != nil {
		return Operation{}, err
	}
	if len(runs) == 0 { // it is done at once, which settle does not tell of
		return added, h.hint(ctx, tx, finishJob(added.ID))
	}
	return added, h.settle(ctx, tx, added.ID)
}

func (h *errand) settleAll(ctx context.Context, tx *sql.Tx, operations []Operation) error {
	for _, op := range operations {
		if err := h.settle(ctx, tx, op.ID); err != nil {
			return err
		}
	}
	return nil
}

// along tells the changes whose commits came with another one's that nothing is applied for them by itself.
func (h *errand) along(ctx context.Context, tx *sql.Tx, span gitrepo.Span) error {
	for _, number := range span.Also {
		row, known, err := h.store.change(ctx, tx, h.repo.ID, number)
		if err != nil {
			return err
		}
		if !known || row.Number == span.Change {
			continue
		}
		row.Notice.Along = fmt.Sprintf("Its commits came to %s with #%d, and are applied there.", codeName(row.Base.Branch), span.Change)
		if err := h.store.setNotice(ctx, tx, h.repo.ID, number, row.Notice); err != nil {
			return err
		}
		if err := h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: number}, true); err != nil {
			return err
		}
	}
	return nil
}

// passOver moves a branch over commits that touch no workspace.
func (h *errand) passOver(ctx context.Context, branch string, span gitrepo.Span, set *workspaces.Set) error {
	return h.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := h.store.hold(ctx, tx, h.repo.ID); err != nil {
			return err
		}
		moved, err := h.store.moveBranch(ctx, tx, h.repo.ID, branch, span.From, span.To)
		if err == nil && moved {
			err = h.lookAgain(ctx, tx, branch, span.To, 0)
		}
		if err == nil && moved {
			err = h.putSet(ctx, tx, branch, set)
		}
		return err
	})
}

// entries are the audit entries of an apply operation, one for each workspace.
func (h *errand) entries(op Operation, all []judged) []audit.Entry {
	entries := make([]audit.Entry, 0, len(all))
	for _, j := range all {
		details := map[string]string{"branch": op.Branch, "event": h.event.Event.Key}
		if j.Reviewed != "" {
			details["plan"] = j.Reviewed
		}
		fingerprint := j.Fingerprint
		if j.Accept != "" && j.Accept != acceptAny {
			fingerprint = j.Accept
		}
		if w := j.Workspace; w.Approvals > 0 {
			details["required"] = strconv.Itoa(w.Approvals)
		}
		entries = append(entries, audit.Entry{
			Actor: op.Actor, Action: string(op.Kind), Change: int64(op.Change), Workspace: j.Name, Commit: op.Commit,
			Fingerprint: fingerprint, Allowed: j.allowed(), Reason: j.Reason, Details: details,
		})
	}
	if len(all) == 0 {
		entries = append(entries, audit.Entry{
			Actor: op.Actor, Action: string(op.Kind), Change: int64(op.Change), Commit: op.Commit, Allowed: false,
			Reason: "no workspace to apply", Details: map[string]string{"branch": op.Branch, "event": h.event.Event.Key},
		})
	}
	return entries
}

// merger is who merged a change or pushed, if the event tells it.
func (h *errand) merger(change int) string {
	switch ev := h.event.Event; {
	case ev.Kind == forge.ChangeMerged && ev.Change == change, ev.Kind == forge.Pushed:
		return h.actor()
	}
	return ourselves
}

// scopeOf is the plan store's scope of a change.
func scopeOf(change int) string { return strconv.Itoa(change) }
