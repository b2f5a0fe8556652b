package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// commandApply applies what was planned: before the merge where plumbline.yaml has it so, after it what was held or failed.
func (h *errand) commandApply(ctx context.Context, row ChangeRow, cmd prcomment.Command) error {
	if n, no, err := h.astray(ctx, row.Change); err != nil {
		return err
	} else if no {
		return &refusal{why: n.Waits, noted: n.Short}
	}
	switch row.State {
	case forge.Open:
		return h.applyOpen(ctx, row, cmd)
	case forge.Merged:
		return h.applyMerged(ctx, row, cmd)
	}
	return &refusal{why: "it is closed, and what is not on its base branch is not applied."}
}

// applyOpen applies reviewed plans of a change that is not merged.
func (h *errand) applyOpen(ctx context.Context, row ChangeRow, cmd prcomment.Command) error {
	if n, no := distrust(row.Change, h.forge); no {
		return &refusal{why: n.Waits}
	}
	current, known, err := h.current(ctx, row)
	if err != nil {
		return err
	}
	if !known || !planned(row.Change, current) {
		return &refusal{why: fmt.Sprintf("there is no plan of %s. Comment `plumbline plan`, read it, and then apply it.", short(row.Head.Commit))}
	}
	g, notice, err := h.lay(ctx, row.Change)
	if err != nil {
		return err
	}
	if notice.Waits != "" {
		return &refusal{why: notice.Waits}
	}
	chosen, err := pick(g.Affected, cmd.Workspaces)
	if err != nil {
		return err
	}
	approvers, err := h.approvalsFor(ctx, row.Change, chosen)
	if err != nil {
		return err
	}
	runs := map[string]Run{}
	var applied map[string]bool
	err = h.DB.Read(ctx, func(tx *sql.Tx) error {
		all, err := h.store.runsOf(ctx, tx, current.ID)
		for _, r := range all {
			runs[r.Workspace] = r
		}
		if err == nil {
			applied, err = h.appliedPlans(ctx, tx, row.Change)
		}
		return err
	})
	if err != nil {
		return err
	}
	all := make([]judged, 0, len(chosen))
	for _, w := range chosen {
		r := runs[w.Name]
		done := applied[w.Name] && r.Status != Planned // planned again since: then there is something left
		if applied[w.Name] && r.Status == Planned {
			if done, err = h.appliedSince(ctx, row, r); err != nil {
				return err
			}
		}
		all = append(all, judged{w, judgeOpen(w, row.Head.Commit, r, done, approvers)})
	}
	if slices.ContainsFunc(all, func(j judged) bool { return j.Leave == "" }) {
		if err := h.mergeable(ctx, row.Change); err != nil {
			return err
		}
		var plans []Run
		for _, j := range all {
			if j.Leave == "" {
				plans = append(plans, runs[j.Name])
			}
		}
		if err := h.unread(ctx, row, plans); err != nil {
			return err
		}
	}
	return h.applyChosen(ctx, row, cmd, Operation{
		Branch: row.Base.Branch, BaseCommit: g.Base, Commit: g.Commit, Notes: g.Notes,
	}, g.Set, all)
}

// appliedSince reports whether a plan run's workspace was applied after it was planned.
func (h *errand) appliedSince(ctx context.Context, row ChangeRow, r Run) (bool, error) {
	states, err := h.standings(ctx, row.Number)
	s := states[r.Workspace]
	return s.apply.CreatedAt.After(r.CreatedAt), err
}

// judgeOpen decides whether a workspace of an open change may be applied by command.
func judgeOpen(w *workspaces.Workspace, head string, plan Run, applied bool, approvers []string) judgement {
	leave := func(format string, args ...any) judgement {
		text := fmt.Sprintf(format, args...)
		return judgement{Leave: codeName(w.Name) + " " + text, Reason: text}
	}
	missing := missingApprovals(w, head, approvers)
	switch {
	case w.Removed:
		return leave("is not a workspace any more.")
	case w.Apply == "never":
		return leave("is never applied from here: `%s` says `apply: never`.", workspaces.ConfigFile)
	case w.Apply != "on-comment":
		return leave("is applied when this is merged: its `apply` is `%s`, as it is unless `%s` on the base branch says otherwise.", w.Apply, workspaces.ConfigFile)
	case applied:
		return leave("is applied already.")
	case missing != "":
		return leave("is not approved: %s", strings.ToLower(missing[:1])+missing[1:])
	case plan.Status == Unchanged:
		return leave("has nothing to apply.")
	case !plan.Status.Ended() || plan.Status == "":
		return leave("has no plan yet: wait for it, read it, and then apply it.")
	case plan.Status != Planned || plan.Plan == "":
		return leave("has no plan: planning it did not succeed.")
	}
	return judgement{Reviewed: plan.Plan, Fingerprint: plan.Fingerprint, Reason: "plumbline.yaml says apply: on-comment; the plan that was reviewed is applied if the gate lets it"}
}

// standing is how far a workspace of a change has come.
type standing struct {
	apply Run // its newest run in an apply operation; zero if there is none
	fresh Run // its newest plan that ended after that
}

// accepted is the run whose plan a command accepts.
func (s standing) accepted() Run {
	if s.fresh.Status == Planned && s.fresh.Fingerprint != "" {
		return s.fresh
	}
	return s.apply
}

// standings reads how far the workspaces have come that the applies of a change were about.
func (h *errand) standings(ctx context.Context, number int) (map[string]standing, error) {
	var states map[string]standing
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		states, err = h.store.standings(ctx, tx, h.repo.ID, number)
		return err
	})
	return states, err
}

func (s *store) standings(ctx context.Context, tx *sql.Tx, repo RepoID, number int) (map[string]standing, error) {
	states := map[string]standing{}
	operations, err := s.operations(ctx, tx, repo, number, "")
	if err != nil {
		return nil, err
	}
	for _, op := range operations { // oldest first
		if op.Kind == KindUnlock {
			continue
		}
		runs, err := s.runsOf(ctx, tx, op.ID)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			state, known := states[r.Workspace]
			switch {
			case r.Status == Superseded:
			case op.Kind == KindApply:
				states[r.Workspace] = standing{apply: r}
			case known && r.Status.Ended():
				state.fresh = r
				states[r.Workspace] = state
			}
		}
	}
	return states, nil
}

// applyMerged applies what is still to be applied of a change that is merged, at the tip of its branch.
func (h *errand) applyMerged(ctx context.Context, row ChangeRow, cmd prcomment.Command) error {
	if err := h.advance(ctx, row.Base.Branch, h.event.ReceivedAt); err != nil {
		return err
	}
	tip, set, err := h.atTip(ctx, row.Base.Branch)
	if err != nil {
		return err
	}
	states, err := h.standings(ctx, row.Number)
	if err != nil {
		return err
	}
	var candidates []*workspaces.Workspace
	for _, w := range set.Workspaces {
		if _, mine := states[w.Name]; mine {
			candidates = append(candidates, w)
		}
	}
	chosen, err := pick(candidates, cmd.Workspaces)
	if err != nil {
		return err
	}
	if chosen, err = h.asBefore(ctx, row, chosen); err != nil {
		return err
	}
	approvers, err := h.approvalsFor(ctx, row.Change, chosen)
	if err != nil {
		return err
	}
	all := make([]judged, 0, len(chosen))
	var plans []Run
	for _, w := range chosen {
		j := judgeAgain(w, row.Head.Commit, states[w.Name], approvers)
		if j.Accept != "" {
			plans = append(plans, states[w.Name].accepted())
		}
		all = append(all, judged{w, j})
	}
	if err := h.unread(ctx, row, plans); err != nil {
		return err
	}
	return h.applyChosen(ctx, row, cmd, Operation{Branch: row.Base.Branch, BaseCommit: row.Base.Commit, Commit: tip}, set, all)
}

// asBefore puts workspaces as they are after the merge of a change under what that change itself took back of the
// approvals that they need. What another change has said since counts.
func (h *errand) asBefore(ctx context.Context, row ChangeRow, all []*workspaces.Workspace) ([]*workspaces.Workspace, error) {
	var merges []Operation
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		merges, err = h.store.operations(ctx, tx, h.repo.ID, row.Number, KindApply)
		return err
	})
	if err != nil {
		return nil, err
	}
	merges = slices.DeleteFunc(merges, func(op Operation) bool { return op.Cause != CauseMerged })
	if len(merges) == 0 {
		return all, nil
	}
	mirror, err := h.clone(ctx, h.repo)
	if err != nil {
		return nil, err
	}
	merge := merges[len(merges)-1]
	// Where plumbline.yaml cannot be used, nothing was applied at the merge, nor can be told what guarded it.
	said, err := mirror.set(ctx, merge.Commit)
	if len(workspaces.Problems(err)) > 0 {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	kept, _, err := mirror.guarded(ctx, merge.BaseCommit, merge.Commit)
	if len(workspaces.Problems(err)) > 0 {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	stricter := make([]*workspaces.Workspace, 0, len(all))
	for _, w := range all {
		then, known := said.Get(w.Name)
		before, _ := kept.Get(w.Name)
		if known && before != nil && then.Approvals == w.Approvals && before.Approvals > w.Approvals {
			guarded := *w
			guarded.Approvals = before.Approvals
			w = &guarded
		}
		stricter = append(stricter, w)
	}
	return stricter, nil
}

// judgeAgain decides whether a workspace of a merged change may be applied by command, and which plan somebody who
// commands it has seen.
func judgeAgain(w *workspaces.Workspace, head string, s standing, approvers []string) judgement {
	leave := func(format string, args ...any) judgement {
		text := fmt.Sprintf(format, args...)
		return judgement{Leave: codeName(w.Name) + " " + text, Reason: text}
	}
	missing := missingApprovals(w, head, approvers)
	switch {
	case w.Apply == "never":
		return leave("is never applied from here: `%s` says `apply: never`.", workspaces.ConfigFile)
	case !s.apply.Status.Ended():
		return leave("is being applied, or waits for its turn.")
	case missing != "":
		return leave("is not approved: %s", strings.ToLower(missing[:1])+missing[1:])
	case s.fresh.Status == Planned && s.fresh.Fingerprint != "":
		return judgement{
			Reviewed: s.fresh.Plan, Fingerprint: s.fresh.Fingerprint, Accept: s.fresh.Fingerprint,
			Reason: "the plan that was made after the merge is accepted by command",
		}
	}
	switch s.apply.Status {
	case Applied, Unchanged, Removed:
		return leave("is applied already.")
	case Held:
		if s.apply.Fingerprint != "" {
			return judgement{
				Reviewed: s.apply.Plan, Fingerprint: s.apply.Fingerprint, Accept: s.apply.Fingerprint,
				Reason: "the plan that was held is accepted by command",
			}
		}
		return judgement{Reviewed: s.apply.Reviewed, Reason: "what was held is applied by command, if the gate lets it"}
	case Failed, Skipped:
		return judgement{Reviewed: s.apply.Reviewed, Reason: "nothing was changed the last time: it is tried again by command"}
	}
	// Something was begun: what is left to do nobody has seen yet.
	return judgement{Reason: "an apply ended on the way: what is left is planned, and held to be read"}
}

// applyChosen makes an apply operation of what a person may apply, or refuses.
func (h *errand) applyChosen(ctx context.Context, row ChangeRow, cmd prcomment.Command, op Operation, set *workspaces.Set, all []judged) error {
	var left []string
	// Without names, what is not to be applied by command is not worth a word as long as something is.
	for _, j := range all {
		if j.Leave != "" {
			left = append(left, j.Leave)
		}
	}
	if len(left) == len(all) {
		if len(left) == 0 {
			return &refusal{why: "there is nothing here to apply."}
		}
		return &refusal{why: strings.Join(left[:min(len(left), 10)], " ")}
	}
	if len(cmd.Workspaces) == 0 {
		all = slices.DeleteFunc(slices.Clone(all), func(j judged) bool { return j.Leave != "" })
	}
	op.Repository, op.Change, op.Kind, op.Cause = h.repo.ID, row.Number, KindApply, CauseCommand
	op.Actor, op.HeadCommit = h.asker.login(), row.Head.Commit
	op.ReplyTo, op.EventAt = h.asker.key(), h.event.ReceivedAt
	runs, err := h.applyRuns(&op, set, all)
	if err != nil {
		return err
	}
	return h.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if err := h.unmoved(ctx, tx, row); err != nil {
			return nil, err
		}
		for _, r := range runs {
			busy, err := h.applying(ctx, tx, row.Number, r.Workspace)
			if err != nil {
				return nil, err
			}
			if busy {
				return nil, &refusal{why: codeName(r.Workspace) + " is being applied, or waits for its turn."}
			}
		}
		if _, err := h.addApply(ctx, tx, op, runs); err != nil {
			return nil, err
		}
		return h.commandEntries(op, all, cmd), h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true)
	})
}

// applying reports whether an apply of a workspace of a change has not ended.
func (h *errand) applying(ctx context.Context, tx *sql.Tx, number int, workspace string) (bool, error) {
	n, _, err := first(ctx, tx, scanNumber, `SELECT COUNT(*) FROM run JOIN operation ON operation.id = run.operation
		WHERE operation.repository = $1 AND operation.change_number = $2 AND run.workspace = $3 AND run.kind = 'apply' AND run.status IN ('waiting', 'queued', 'running')`,
		string(h.repo.ID), number, workspace)
	if err != nil {
		return false, fmt.Errorf("look for an apply of %s: %w", workspace, err)
	}
	return n > 0, nil
}
