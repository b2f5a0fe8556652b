package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Apply applies the newest stored plan of each selected workspace, in graph
// order, if the gate lets it; a workspace whose dependency was not applied is
// skipped. Each plan is applied at most once: what was applied leaves the
// store and stays only as a receipt.
func (r *Runner) Apply(ctx context.Context, selected []*workspaces.Workspace) []Result {
	return r.each(ctx, selected, r.apply)
}

func (r *Runner) apply(ctx context.Context, w *workspaces.Workspace, needs []Result) Result {
	var upstream []string
	for _, need := range needs {
		if !need.OK() {
			return Result{Status: Skipped, Err: fmt.Errorf("`%s`, which it depends on, %s", need.Workspace.Name, need.Status.past())}
		}
		if need.changedSomething() {
			upstream = append(upstream, need.Workspace.Name)
		}
	}
	receipt, err := r.opts.Plans.Latest(ctx, w.Name)
	if errors.Is(err, planstore.ErrNotFound) {
		return Result{Status: Held, Hold: &Hold{
			Reason: "There is no stored plan of this workspace.",
			Next:   fmt.Sprintf("`plumbline plan %s` makes one.", shellQuote(w.Name)),
		}}
	}
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	s, err := r.prepare(ctx, w)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	defer s.close()
	res := r.applyAt(ctx, s, receipt, upstream)
	res.Notes = append(slices.Clone(s.notes), res.Notes...)
	return res
}

func (r *Runner) applyAt(ctx context.Context, s *site, receipt planstore.Plan, upstream []string) Result {
	w := s.workspace
	state, err := s.dir.State(ctx)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}

	applied, _, err := r.lastApplied(ctx, w.Name)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	says, reason := gate(evidence{
		Workspace: w, Receipt: receipt, Inputs: s.inputs, State: state, Applied: applied.Plan.ID, Upstream: upstream,
	})
	r.opts.Log.Info("gate", "workspace", w.Name, "answer", string(says), "reason", reason)
	var res Result
	switch says {
	case refuse:
		hold := &Hold{Reason: reason, Next: "nothing was changed."}
		if w.Apply != applyNever {
			hold.Next = nextIsPlan(w.Name)
		}
		return Result{Status: Held, Receipt: receipt, Hold: hold}
	case planAgain:
		res = r.applyAgain(ctx, s, receipt, reason)
	default:
		if !hasChanges(receipt) {
			return r.inSync(ctx, receipt, receipt)
		}
		res = r.applyStored(ctx, s, receipt)
		var stale *terraform.StalePlanError
		if errors.As(res.Err, &stale) {
			// Terraform holds the state's lock when it compares serials, so it
			// can see an apply that slipped in after the gate had looked.
			res = r.applyAgain(ctx, s, receipt, "Another apply changed the state while this one was about to begin.")
		}
	}
	return res
}

// applyStored applies the very plan that was reviewed.
func (r *Runner) applyStored(ctx context.Context, s *site, receipt planstore.Plan) Result {
	path := s.file("stored.tfplan")
	err := r.opts.Plans.WritePlanFile(ctx, receipt.ID, path)
	if err != nil {
		return gone(receipt, err)
	}
	plan, err := r.storedPlan(ctx, receipt)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	res := r.applyFile(ctx, s, receipt, path, recordOf(receipt))
	res.Plan = plan
	if res.Status == Applied {
		r.forget(ctx, receipt, &res)
	}
	return res
}

// gone is the result when a reviewed plan cannot be had from the store any
// more: another apply may have taken it while this one waited or planned.
func gone(receipt planstore.Plan, err error) Result {
	if !errors.Is(err, planstore.ErrNotFound) {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	return Result{Status: Held, Receipt: receipt, Hold: &Hold{
		Reason: "Another apply has taken the reviewed plan meanwhile.",
		Next:   nextIsPlan(receipt.Workspace),
	}}
}

// nextIsPlan is what to do where nothing that was reviewed can be applied.
func nextIsPlan(workspace string) string {
	return fmt.Sprintf("nothing was changed. `plumbline plan %s` says what is left to do.", shellQuote(workspace))
}

// applyAgain plans anew, and applies the new plan only if it would do exactly
// what was reviewed.
func (r *Runner) applyAgain(ctx context.Context, s *site, reviewed planstore.Plan, reason string) Result {
	m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan})
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: reviewed, Notes: []string{reason}}
	}
	if m.receipt.Fingerprint != reviewed.Fingerprint {
		old, err := r.storedPlan(ctx, reviewed)
		if err != nil {
			return Result{Status: Failed, Err: err, Receipt: reviewed}
		}
		return Result{Status: Held, Receipt: reviewed, Plan: old, Hold: &Hold{
			Reason:      reason + " A new plan would not do what was reviewed.",
			Differences: compare(old, m.plan),
			Next:        fmt.Sprintf("nothing was changed. Read the new plan below; if it is what you want, `plumbline plan %s` makes it the reviewed one.", shellQuote(s.workspace.Name)),
			Plan:        cmp.Or(m.plan, &tfjson.Plan{}),
			Fingerprint: m.receipt.Fingerprint,
		}}
	}
	if !m.changes {
		return r.inSync(ctx, reviewed, m.receipt)
	}
	if why := hidden(reviewed, m.receipt, m.plan); why != "" {
		return Result{Status: Held, Receipt: reviewed, Plan: m.plan, Hold: &Hold{
			Reason:      reason + " A new plan shows the same changes, but need not do the same: " + why + ".",
			Next:        fmt.Sprintf("nothing was changed. If the plan is what you want, `plumbline plan %s` makes it the reviewed one.", shellQuote(s.workspace.Name)),
			Plan:        m.plan,
			Fingerprint: m.receipt.Fingerprint,
		}}
	}
	if _, err := r.opts.Plans.Get(ctx, reviewed.ID); err != nil {
		return gone(reviewed, err)
	}
	fresh, err := r.keep(ctx, s, m)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: reviewed}
	}
	res := r.applyFile(ctx, s, fresh, m.path, recordOf(fresh))
	res.Plan = m.plan
	res.Notes = append(res.Notes, reason+" It was planned again, and the new plan is the reviewed one to the letter.")
	if res.Status == Applied {
		// The new plan is the younger one, so the reviewed one goes with it.
		r.forget(ctx, fresh, &res)
	}
	return res
}

// hasChanges reports whether there is anything to apply. Only a plan that
// changes something is read, and so has its JSON in the store.
func hasChanges(p planstore.Plan) bool { return p.JSONBytes > 0 }

// inSync records that a workspace needs no apply: as of this plan, what is
// configured is what is there. Drift is measured against that from now on, as
// it is after an apply.
func (r *Runner) inSync(ctx context.Context, reviewed, current planstore.Plan) Result {
	res := Result{Status: Unchanged, Receipt: current}
	reviewed.Workspace = current.Workspace
	applied := planstore.Applied{Plan: current, AppliedAt: r.opts.Now().UTC(), Lineage: current.Lineage, Serial: current.Serial}
	before, _, err := r.lastApplied(ctx, current.Workspace)
	if err != nil {
		return Result{Status: Failed, Receipt: current, Err: err}
	}
	applied.Perpetual = before.Perpetual
	if applied.Plan.ID == "" {
		// The plan that proves it was never stored. What was reviewed up to
		// the last apply is done with all the same.
		applied.Plan.ID = max(reviewed.ID, before.Plan.ID)
	}
	if err := r.opts.Plans.PutApplied(context.WithoutCancel(ctx), applied); err != nil {
		return Result{Status: Failed, Receipt: current, Err: fmt.Errorf("record that %s is in sync: %w", current.Workspace, err)}
	}
	r.forget(ctx, reviewed, &res)
	return res
}

// recordOf begins the record of an apply of this plan.
func recordOf(receipt planstore.Plan) *planstore.Applied { return &planstore.Applied{Plan: receipt} }

// applyFile hands a plan to Terraform, and completes and stores the record of
// what came of it; nil stores none. From here on the record is written whatever
// happens to the context: something may have been changed.
func (r *Runner) applyFile(ctx context.Context, s *site, receipt planstore.Plan, path string, record *planstore.Applied) Result {
	r.observe(s.workspace, PhaseApply)
	res := Result{Status: Applied, Receipt: receipt}
	done, err := s.dir.Apply(ctx, path)
	if err != nil && !done.Started {
		// Nothing was begun, so there is nothing to record.
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		res.Status, res.Err = Partly, err
	}
	if done.ErroredState != "" {
		place, err := r.rescue(ctx, s.workspace, s.home, done.ErroredState)
		if err != nil {
			res.Err = fmt.Errorf("%w\nIt could not be copied into the plan store either (%w): that file is all there is", res.Err, err)
		} else {
			res.Kept = place
			res.Err = fmt.Errorf("%w\nA sealed copy of that state is in the plan store: plumbline plans show --state %s", res.Err, place)
		}
	}

	if err != nil && done.ErroredState == "" && done.After != (terraform.StateID{}) && done.After == done.Before {
		res.Notes = append(res.Notes, "The state is as it was before: nothing was changed that Terraform knows of.")
	}
	if record != nil {
		record.AppliedAt = r.opts.Now().UTC()
		record.Lineage, record.Serial = done.After.Lineage, done.After.Serial
		if err != nil {
			record.Partial, record.Error = true, err.Error()
		}
		if err := r.opts.Plans.PutApplied(ctx, *record); err != nil {
			res.Notes = append(res.Notes, fmt.Sprintf("What was applied could not be recorded: %v.", err))
		}
	}
	return res
}

// forget takes an applied plan out of the store, and those that it replaced
// when it was made: none of them may ever be applied any more. The gate would
// not let them; here they are tidied away.
func (r *Runner) forget(ctx context.Context, receipt planstore.Plan, res *Result) {
	if receipt.ID == "" {
		return
	}
	if err := r.opts.Plans.DeleteThrough(context.WithoutCancel(ctx), receipt); err != nil {
		res.Notes = append(res.Notes, fmt.Sprintf("The applied plan %s could not be taken out of the plan store: %v.", receipt.ID, err))
	}
}
