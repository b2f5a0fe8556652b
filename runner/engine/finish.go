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
	"github.com/plumbline-dev/plumbline/workspaces"
)

// finish does what follows from the end of an operation, once all of its runs have ended: other open changes are planned
// again, plans are pruned, a change is merged. It may be called again after it was interrupted, or after an error, so each
// part of it must be harmless the second time.
//
// What takes Git or the forge becomes an event, which is kept until it is done.
func (e *Engine) finish(ctx context.Context, operation string) error {
	var op Operation
	var runs []Run
	known := false
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if op, known, err = e.store.operation(ctx, tx, operation); err == nil && known {
			runs, err = e.store.runsOf(ctx, tx, operation)
		}
		return err
	})
	if err == nil && known {
		e.traceOperation(ctx, op)
	}
	if err == nil && known && op.Kind == KindAdopt {
		return e.DB.Tx(ctx, func(tx *sql.Tx) error { return e.finishAdopt(ctx, tx, op) })
	}
	if err != nil || !known || op.Kind != KindApply {
		return err
	}
	return e.DB.Tx(ctx, func(tx *sql.Tx) error { return e.finishApply(ctx, tx, op, runs) })
}

func (e *Engine) finishApply(ctx context.Context, tx *sql.Tx, op Operation, runs []Run) error {
	if _, err := e.store.hold(ctx, tx, op.Repository); err != nil {
		return err
	}
	if op.Unread { // it is still to be applied, by the plans that were reviewed
		return e.tellUnread(ctx, tx, op)
	}
	if err := e.tellOthers(ctx, tx, op, runs); err != nil {
		return err
	}
	if op.Change == 0 {
		return nil
	}
	row, known, err := e.store.change(ctx, tx, op.Repository, op.Change)
	if err != nil || !known {
		return err
	}
	if slices.ContainsFunc(runs, func(r Run) bool { return r.Status == Interrupted }) {
		if err := e.send(ctx, tx, op.Repository, eventInterrupted, op.Change, op.ID); err != nil {
			return err
		}
	}
	switch {
	case row.State == forge.Open && op.Cause == CauseCommand:
		return e.send(ctx, tx, op.Repository, eventMerge, op.Change, op.ID)
	case row.State == forge.Merged:
		applied, err := e.store.allApplied(ctx, tx, op.Repository, op.Change)
		if err != nil || !applied {
			return err
		}
		return e.send(ctx, tx, op.Repository, eventPrune, op.Change, op.ID)
	}
	return nil
}

// moved are the workspaces whose state or files an apply operation has moved, as far as others must plan again. At a merge
// files have moved whatever became of the applies; before one, only what was begun has moved anything.
func moved(op Operation, runs []Run) []string {
	var names []string
	for _, r := range runs {
		begun := r.Status == Applied || r.Status == Partly || r.Status == Interrupted
		if begun || op.Cause == CauseMerged || op.Cause == CausePush {
			names = append(names, r.Workspace)
		}
	}
	return names
}

// tellOthers has the plans of other open changes looked at that rest on what an apply has moved.
func (e *Engine) tellOthers(ctx context.Context, tx *sql.Tx, op Operation, runs []Run) error {
	names := moved(op, runs)
	var near []string // what depends on it may read it
	for _, r := range runs {
		if slices.Contains(names, r.Workspace) {
			near = append(near, r.Around...)
			near = append(near, r.Workspace)
		}
	}
	if len(names) == 0 {
		return nil
	}
	open, err := e.store.openChanges(ctx, tx, op.Repository, op.Branch)
	if err != nil {
		return err
	}
	for _, row := range open {
		if row.Number == op.Change || row.Operation == "" {
			continue
		}
		theirs, err := e.store.runsOf(ctx, tx, row.Operation)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(theirs, func(r Run) bool { return slices.Contains(near, r.Workspace) }) {
			if err := e.send(ctx, tx, op.Repository, eventStale, row.Number, op.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// stale plans those workspaces of an open change again whose ground an apply of another change has moved.
func (h *errand) stale(ctx context.Context, number int, apply string) error {
	var row ChangeRow
	var op Operation
	var runs []Run
	known := false
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if row, known, err = h.store.change(ctx, tx, h.repo.ID, number); err != nil || !known {
			return err
		}
		if op, known, err = h.store.operation(ctx, tx, apply); err == nil && known {
			runs, err = h.store.runsOf(ctx, tx, apply)
		}
		return err
	})
	if err != nil || !known || row.State != forge.Open {
		return err
	}
	plan, known, err := h.current(ctx, row)
	if err != nil {
		return err
	}
	if !known || !planned(row.Change, plan) {
		return h.look(ctx, number)
	}
	if plan.CreatedAt.After(op.EndedAt) {
		return nil // it was planned since
	}
	what := "applied"
	if !slices.ContainsFunc(runs, func(r Run) bool { return r.Status == Applied || r.Status == Partly || r.Status == Interrupted }) {
		what = "merged"
	}
	note := fmt.Sprintf("Planned again because #%d was %s.", op.Change, what)
	if op.Change == 0 {
		note = fmt.Sprintf("Planned again because %s was pushed to %s.", short(op.Commit), codeName(op.Branch))
	}
	return h.plan(ctx, row, planRequest{
		cause: CauseStale, actor: ourselves, eventAt: h.event.ReceivedAt, notes: []string{note}, only: moved(op, runs), dependents: true,
	})
}

// interrupted plans what an apply that ended on the way has left to do.
func (h *errand) interrupted(ctx context.Context, number int, apply string) error {
	var row ChangeRow
	known := false
	var only []string
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if row, known, err = h.store.change(ctx, tx, h.repo.ID, number); err != nil || !known {
			return err
		}
		only = nil
		runs, err := h.store.runsOf(ctx, tx, apply)
		for _, r := range runs {
			if r.Status == Interrupted {
				only = append(only, r.Workspace)
			}
		}
		return err
	})
	if err != nil || !known || len(only) == 0 || row.State == forge.Closed {
		return err
	}
	p := planRequest{cause: CauseInterrupted, actor: ourselves, eventAt: h.event.ReceivedAt, only: only,
		notes: []string{"Planned again because an apply of " + names(only) + " was interrupted: this is what is left to do."}}
	if row.State == forge.Open {
		return h.plan(ctx, row, p)
	}
	err = h.planMerged(ctx, row, p)
	if no := new(refusal); errors.As(err, &no) {
		return &overError{no.why}
	}
	return err
}

// mergeApplied merges an open change all of which was applied by command, where the base branch's plumbline.yaml says so.
func (h *errand) mergeApplied(ctx context.Context, number int) error {
	row, _, err := h.refresh(ctx, number)
	if err != nil || row.State == forge.Closed {
		return err
	}
	if row.State == forge.Merged { // perhaps by us, a moment ago
		return h.lookMerged(ctx, row)
	}
	plan, known, err := h.current(ctx, row)
	if err != nil || !known || !planned(row.Change, plan) {
		return err
	}
	g, notice, err := h.lay(ctx, row.Change)
	if err != nil || notice.Waits != "" {
		return err
	}
	method := g.BaseSet.Policy().Merge
	if method == "off" || method == "" {
		return nil
	}
	var runs []Run
	var applied map[string]bool
	err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if runs, err = h.store.runsOf(ctx, tx, plan.ID); err == nil {
			applied, err = h.stillApplied(ctx, tx, row.Change)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, w := range g.Affected {
		i := slices.IndexFunc(runs, func(r Run) bool { return r.Workspace == w.Name })
		unchanged := i >= 0 && runs[i].Status == Unchanged
		if w.Apply == "on-comment" && !w.Removed && !applied[w.Name] && !unchanged {
			return nil // there is more to apply
		}
	}
	if why, err := h.unreadable(g.Affected, runs, applied); err != nil {
		return err
	} else if why != "" {
		return h.notMerged(ctx, row, why)
	}
	commit, err := h.forge.Client.Merge(ctx, row.Change, forge.MergeMethod(method))
	var not *forge.NotMergeableError
	var denied *forge.NotAllowedError
	switch {
	case errors.As(err, &not) && h.event.Attempts < mergeTries:
		// A branch may require the very statuses that tell of this apply, which are on their way.
		return &laterError{h.store.now().Add(2 * time.Second), "the forge does not merge it yet"}
	case errors.As(err, &not):
		return h.notMerged(ctx, row, not.Says)
	case errors.As(err, &denied):
		return h.notMerged(ctx, row, denied.Error())
	case err != nil:
		return err
	}
	err = h.step(ctx, func(*sql.Tx) ([]audit.Entry, error) {
		return []audit.Entry{{
			Actor: ourselves, Action: "merge", Change: int64(number), Commit: commit, Allowed: true,
			Reason: "all of it is applied, and plumbline.yaml says merge: " + method, Details: map[string]string{"branch": row.Base.Branch, "event": h.event.Event.Key},
		}}, nil
	})
	if err != nil {
		return err
	}
	return h.look(ctx, number)
}

// mergeTries is how often a merge that the forge refuses is tried before people are asked to do it.
const mergeTries = 5

// unreadable has our own merge of a change wait until people could read the plans that it applies: what comes after a
// merge is held. why says that there will be none.
func (h *errand) unreadable(affected []*workspaces.Workspace, runs []Run, applied map[string]bool) (why string, err error) {
	now := h.store.now()
	for _, w := range affected {
		i := slices.IndexFunc(runs, func(r Run) bool { return r.Workspace == w.Name })
		if i < 0 || w.Removed || w.Apply == "never" || applied[w.Name] || runs[i].Status == Unchanged {
			continue
		}
		switch r := runs[i]; {
		case r.Status == Failed:
			return codeName(w.Name) + " could not be planned.", nil
		case !r.Status.Ended():
			return "", &laterError{now.Add(2 * time.Second), "a plan that the merge applies is still being made"}
		case r.ShownAt.IsZero() && now.Sub(h.event.ReceivedAt) > postFor:
			return "The plan of " + codeName(w.Name) + " could not be posted.", nil
		case r.ShownAt.IsZero(), now.After(r.ShownAt) && now.Sub(r.ShownAt) < 2*time.Second: // forges count in whole seconds
			return "", &laterError{now.Add(time.Second), "a plan that the merge applies is not posted yet, or was just now"}
		}
	}
	return "", nil
}

// postFor is how long our own merge waits for plans to be posted.
const postFor = 10 * time.Minute

// notMerged tells on a change that it is applied and could not be merged.
func (h *errand) notMerged(ctx context.Context, row ChangeRow, why string) error {
	return h.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if err := h.unmoved(ctx, tx, row); err != nil {
			return nil, err
		}
		n := row.Notice
		n.Notes = append(n.Notes, "All of it is applied, but it could not be merged: "+sentence(h.plain(why))+" Merge it by hand.")
		if err := h.store.setNotice(ctx, tx, h.repo.ID, row.Number, n); err != nil {
			return nil, err
		}
		if err := h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true); err != nil {
			return nil, err
		}
		return []audit.Entry{{
			Actor: ourselves, Action: "merge", Change: int64(row.Number), Commit: row.Head.Commit, Allowed: false,
			Reason: "the forge does not merge it", Details: map[string]string{"branch": row.Base.Branch, "event": h.event.Event.Key},
		}}, nil
	})
}

// allApplied reports whether nothing of a merged change is left to apply: the newest apply of each of its workspaces has
// done all there was to do.
func (s *store) allApplied(ctx context.Context, tx *sql.Tx, repo RepoID, change int) (bool, error) {
	operations, err := s.operations(ctx, tx, repo, change, KindApply)
	if err != nil {
		return false, err
	}
	newest := map[string]Status{}
	for _, op := range operations {
		runs, err := s.runsOf(ctx, tx, op.ID)
		if err != nil {
			return false, err
		}
		for _, r := range runs {
			if r.Status != Superseded {
				newest[r.Workspace] = r.Status
			}
		}
	}
	for _, status := range newest {
		if status != Applied && status != Unchanged && status != Removed {
			return false, nil
		}
	}
	return true, nil
}
