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
	"github.com/plumbline-dev/plumbline/runner/gate"
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
	res := r.applyAt(ctx, s, review{Receipt: receipt, Upstream: upstream})
	res.Notes = append(slices.Clone(s.notes), res.Notes...)
	return res
}

// review is a plan that somebody has read, and what else its apply turns on.
type review struct {
	Receipt planstore.Plan
	// Accepted is as in [Choice], Upstream as in evidence.
	Accepted bool
	Upstream []string
	// Propose has the new plan kept where the reviewed one is held.
	Propose bool
}

func (r *Runner) applyAt(ctx context.Context, s *site, v review) Result {
	w, receipt := s.workspace, v.Receipt
	state, err := s.dir.State(ctx)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	applied, err := r.appliedSince(ctx, receipt)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	says := gate.Decide(gate.Evidence{
		Workspace: w, Receipt: receipt, Inputs: s.inputs, State: state, Applied: applied, Accepted: v.Accepted, Upstream: v.Upstream,
	})
	r.opts.Log.Info("gate", "workspace", w.Name, "answer", string(says.Answer), "reason", says.Reason)
	var res Result
	switch says.Answer {
	case gate.Refuse:
		hold := &Hold{Reason: says.Reason, Next: "nothing was changed."}
		if w.Apply != gate.Never {
			hold.Next = nextIsPlan(w.Name)
		}
		return Result{Status: Held, Receipt: receipt, Hold: hold}
	case gate.PlanAgain:
		res = r.applyAgain(ctx, s, v, says, says.Reason)
	default:
		if !hasChanges(receipt) {
			return r.inSync(ctx, receipt, receipt)
		}
		res = r.applyStored(ctx, s, says, receipt)
		var stale *terraform.StalePlanError
		if errors.As(res.Err, &stale) {
			// Terraform holds the state's lock when it compares serials, so it
			// can see an apply that slipped in after the gate had looked.
			res = r.applyAgain(ctx, s, v, says, "Another apply changed the state while this one was about to begin.")
		}
	}
	return res
}

// appliedSince are the plans whose applies may rule out this one: the last, and
// all since it was made.
func (r *Runner) appliedSince(ctx context.Context, receipt planstore.Plan) ([]planstore.Plan, error) {
	records, err := r.opts.Plans.AppliedSince(ctx, receipt.Workspace, receipt.ID)
	if err != nil {
		return nil, err
	}
	last, known, err := r.lastApplied(ctx, receipt.Workspace)
	if err != nil {
		return nil, err
	}
	if known {
		records = append(records, last)
	}
	plans := make([]planstore.Plan, len(records))
	for i, a := range records {
		plans[i] = a.Plan
	}
	return plans, nil
}

// applyStored applies the very plan that was reviewed.
func (r *Runner) applyStored(ctx context.Context, s *site, says gate.Decision, receipt planstore.Plan) Result {
	permit, err := says.Permit()
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	path := s.file("stored.tfplan")
	err = r.opts.Plans.WritePlanFile(ctx, receipt.ID, path)
	if err != nil {
		return gone(receipt, err)
	}
	plan, err := r.storedPlan(ctx, receipt)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	res := r.applyFile(ctx, s, permit, receipt, path, recordOf(receipt))
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
func (r *Runner) applyAgain(ctx context.Context, s *site, v review, says gate.Decision, reason string) Result {
	reviewed := v.Receipt
	m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan})
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: reviewed, Notes: []string{reason}}
	}
	if v.Propose && !m.changes {
		res := r.inSync(ctx, reviewed, m.receipt)
		if hasChanges(reviewed) {
			res.Notes = append(res.Notes, reason+" It was planned again, and nothing is left to do.")
		}
		return res
	}
	if m.receipt.Fingerprint != reviewed.Fingerprint {
		old, err := r.storedPlan(ctx, reviewed)
		if err != nil {
			return Result{Status: Failed, Err: err, Receipt: reviewed}
		}
		res := Result{Status: Held, Receipt: reviewed, Plan: old, Hold: &Hold{
			Reason:      reason + " A new plan would not do what was reviewed.",
			Differences: compare(old, m.plan),
			Next:        fmt.Sprintf("nothing was changed. Read the new plan below; if it is what you want, `plumbline plan %s` makes it the reviewed one.", shellQuote(s.workspace.Name)),
			Plan:        cmp.Or(m.plan, &tfjson.Plan{}),
			Fingerprint: m.receipt.Fingerprint,
		}}
		return r.propose(ctx, s, v, m, res)
	}
	if !m.changes {
		return r.inSync(ctx, reviewed, m.receipt)
	}
	why := hidden(reviewed, m.receipt, m.plan)
	permit, err := says.Again(m.receipt, why)
	if err != nil && why == "" {
		return Result{Status: Failed, Err: err, Receipt: reviewed}
	}
	if err != nil {
		res := Result{Status: Held, Receipt: reviewed, Plan: m.plan, Hold: &Hold{
			Reason:      reason + " A new plan shows the same changes, but need not do the same: " + why + ".",
			Next:        fmt.Sprintf("nothing was changed. If the plan is what you want, `plumbline plan %s` makes it the reviewed one.", shellQuote(s.workspace.Name)),
			Plan:        m.plan,
			Fingerprint: m.receipt.Fingerprint,
		}}
		return r.propose(ctx, s, v, m, res)
	}
	if _, err := r.opts.Plans.Get(ctx, reviewed.ID); err != nil {
		return gone(reviewed, err)
	}
	res := r.applyMade(ctx, s, permit, m)
	res.Notes = append(res.Notes, reason+" It was planned again, and the new plan is the reviewed one to the letter.")
	return res
}

// applyMade keeps a plan that was just made, and applies it.
func (r *Runner) applyMade(ctx context.Context, s *site, permit gate.Permit, m *made) Result {
	fresh, err := r.keep(ctx, s, m)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: m.receipt}
	}
	res := r.applyFile(ctx, s, permit, fresh, m.path, recordOf(fresh))
	res.Plan = m.plan
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
	applied.Perpetual, applied.Looked = before.Perpetual, before.Looked
	if applied.Plan.ID == "" {
		// The plan that proves it was never stored. What was reviewed up to
		// the last apply is done with all the same.
		applied.Plan.ID, applied.Plan.Change = reviewed.ID, reviewed.Change
		if reviewed.ID == "" || reviewed.Change == before.Plan.Change {
			applied.Plan.ID, applied.Plan.Change = max(reviewed.ID, before.Plan.ID), before.Plan.Change
		}
	}
	if err := r.opts.Plans.PutApplied(context.WithoutCancel(ctx), applied); err != nil {
		return Result{Status: Failed, Receipt: current, Err: fmt.Errorf("record that %s is in sync: %w", current.Workspace, err)}
	}
	r.forget(ctx, reviewed, &res)
	return res
}

// recordOf begins the record of an apply of this plan.
func recordOf(receipt planstore.Plan) *planstore.Applied { return &planstore.Applied{Plan: receipt} }

// applyFile hands a plan that the gate has allowed to Terraform, and completes
// and stores the record of what came of it; nil stores none. From here on the
// record is written whatever happens to the context: something may have been
// changed. The permit is what credentials for applying are had with.
func (r *Runner) applyFile(ctx context.Context, s *site, permit gate.Permit, receipt planstore.Plan, path string, record *planstore.Applied) Result {
	if err := permit.Covers(s.workspace.Name, receipt); err != nil {
		return Result{Status: Failed, Receipt: receipt, Err: fmt.Errorf("nothing was applied: %w", err)}
	}
	grant, err := s.keys.Apply(ctx, permit)
	if err != nil {
		return Result{Status: Failed, Receipt: receipt, Err: fmt.Errorf("nothing was applied: %w", err)}
	}
	dir, err := s.dir.With(grant.Given())
	if err != nil {
		return Result{Status: Failed, Receipt: receipt, Err: fmt.Errorf("nothing was applied: %w", err)}
	}
	r.observe(s.workspace, PhaseApply)
	if s.local != nil {
		if err := s.local.backUp(r.opts.Now().UTC().Format("20060102-150405.000000000")); err != nil {
			return Result{Status: Failed, Receipt: receipt, Err: fmt.Errorf("nothing was applied, because the state could not be copied aside first: %w", err)}
		}
	}
	if r.opts.Before != nil {
		if err := r.opts.Before(ctx, s.workspace, receipt); err != nil {
			return Result{Status: Failed, Receipt: receipt, Err: fmt.Errorf("nothing was applied, because that could not be written down first: %w", err)}
		}
	}
	res := Result{Status: Applied, Receipt: receipt}
	kept := context.WithoutCancel(ctx)
	done, err := dir.ApplyWith(ctx, terraform.ApplyOptions{
		PlanFile: path, Name: receipt.ID,
		Record: func(done terraform.Applied, err error) error {
			if err != nil && !done.Started {
				return nil // Nothing was begun, so there is nothing to record.
			}
			return r.record(kept, s, done, err, record, &res)
		},
	})
	if err != nil && !done.Started {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	if err != nil && done.ErroredState == "" && done.After != (terraform.StateID{}) && done.After == done.Before {
		res.Notes = append(res.Notes, "The state is as it was before: nothing was changed that Terraform knows of.")
	}
	return res
}

// record stores what came of an apply, and completes its result.
func (r *Runner) record(ctx context.Context, s *site, done terraform.Applied, err error, record *planstore.Applied, res *Result) error {
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
	if record == nil {
		return nil
	}
	if record.Correction == "" {
		if before, known, err := r.lastApplied(ctx, record.Plan.Workspace); err == nil && known {
			inherit(record, before)
		}
	}
	record.AppliedAt = r.opts.Now().UTC()
	record.Lineage, record.Serial = done.After.Lineage, done.After.Serial
	if err != nil {
		record.Partial, record.Error = true, err.Error()
	}
	if err := r.opts.Plans.PutApplied(ctx, *record); err != nil {
		res.Notes = append(res.Notes, fmt.Sprintf("What was applied could not be recorded: %v.", err))
		return err
	}
	return nil
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
