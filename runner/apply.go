package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

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
			return Result{Status: Skipped, Err: fmt.Errorf("not started: %s, which it depends on, is %s", need.Workspace.Name, need.Status)}
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

	says, reason := gate(evidence{Workspace: w, Receipt: receipt, Inputs: s.inputs, State: state, Upstream: upstream})
	r.opts.Log.Info("gate", "workspace", w.Name, "answer", string(says), "reason", reason)
	var res Result
	switch says {
	case refuse:
		return Result{Status: Held, Receipt: receipt, Hold: &Hold{Reason: reason, Next: "nothing was changed."}}
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
	if err := r.opts.Plans.WritePlanFile(ctx, receipt.ID, path); err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	plan, err := r.storedPlan(ctx, receipt)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	res := r.applyFile(ctx, s, receipt, path)
	res.Plan = plan
	return res
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
			Plan:        m.plan,
			Fingerprint: m.receipt.Fingerprint,
		}}
	}
	if !m.changes {
		return r.inSync(ctx, reviewed, m.receipt)
	}
	fresh, err := r.keep(ctx, s, m)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: reviewed}
	}
	res := r.applyFile(ctx, s, fresh, m.path)
	res.Plan = m.plan
	res.Notes = append(res.Notes, reason+" It was planned again, and the new plan is the reviewed one to the letter.")
	if res.Status == Applied {
		r.forget(ctx, reviewed, &res)
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
	applied := planstore.Applied{Plan: current, AppliedAt: r.opts.Now().UTC(), Lineage: current.Lineage, Serial: current.Serial}
	if before, ok := r.lastApplied(ctx, current.Workspace); ok {
		applied.Perpetual = before.Perpetual
	}
	if err := r.opts.Plans.PutApplied(context.WithoutCancel(ctx), applied); err != nil {
		return Result{Status: Failed, Receipt: current, Err: fmt.Errorf("record that %s is in sync: %w", current.Workspace, err)}
	}
	r.forget(ctx, reviewed, &res)
	return res
}

// applyFile hands a plan to Terraform and records what came of it. From here
// on the record is written whatever happens to the context: something may
// have been changed.
func (r *Runner) applyFile(ctx context.Context, s *site, receipt planstore.Plan, path string) Result {
	r.observe(s.workspace, PhaseApply)
	res := Result{Status: Applied, Receipt: receipt}
	done, err := s.dir.Apply(ctx, path)
	var stale *terraform.StalePlanError
	var locked *terraform.LockedError
	var missing *terraform.MissingError
	if errors.As(err, &stale) || errors.As(err, &locked) || errors.As(err, &missing) {
		// Nothing was begun.
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		res.Status, res.Err = Partly, err
	}
	if done.ErroredState != "" {
		r.rescue(ctx, s, done.ErroredState, &res)
	}

	applied := planstore.Applied{
		Plan:      receipt,
		AppliedAt: r.opts.Now().UTC(),
		Lineage:   done.After.Lineage,
		Serial:    done.After.Serial,
		Partial:   err != nil,
	}
	if err != nil {
		applied.Error = err.Error()
		if done.ErroredState == "" && done.After != (terraform.StateID{}) && done.After == done.Before {
			res.Notes = append(res.Notes, "The state is as it was before: nothing was changed that Terraform knows of.")
		}
	}
	if err := r.opts.Plans.PutApplied(ctx, applied); err != nil {
		res.Notes = append(res.Notes, fmt.Sprintf("What was applied could not be recorded: %v.", err))
	}
	if res.Status == Applied {
		r.forget(ctx, receipt, &res)
	}
	return res
}

// forget takes an applied plan out of the store, so that it is never applied
// a second time.
func (r *Runner) forget(ctx context.Context, receipt planstore.Plan, res *Result) {
	if receipt.ID == "" {
		return
	}
	if err := r.opts.Plans.Delete(context.WithoutCancel(ctx), receipt.ID); err != nil && !errors.Is(err, planstore.ErrNotFound) {
		res.Notes = append(res.Notes, fmt.Sprintf("The applied plan %s could not be taken out of the plan store: %v.", receipt.ID, err))
	}
}

// rescue copies a state that Terraform could not save into the plan store: it
// is the only record of what was just created, and the directory it lies in
// may not live long. The file itself stays, for Terraform's own advice to hold.
func (r *Runner) rescue(ctx context.Context, s *site, path string, res *Result) {
	place, err := func() (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return r.opts.Plans.KeepState(ctx, s.workspace.Name, f)
	}()
	if err != nil {
		res.Err = fmt.Errorf("%w\nIt could not be copied into the plan store either (%w): that file is all there is", res.Err, err)
		return
	}
	res.Kept = place
	res.Err = fmt.Errorf("%w\nA sealed copy of that state is in the plan store: plumbline plans show --state %s", res.Err, place)
}
