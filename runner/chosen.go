package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/gate"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Choice says what of a workspace is to be applied where the newest plan is not
// simply the reviewed one: each pull request has plans of its own.
type Choice struct {
	// PlanID is that of the plan that was reviewed; "" when none was.
	PlanID string
	// Accepted reports that somebody has seen this very plan after it was held
	// or proposed, and wants it applied.
	Accepted bool
	// Unreviewed says, in one sentence, why there is no PlanID. The workspace is
	// then planned, and held with that plan.
	Unreviewed string
	// Trusted, without a PlanID, has the workspace planned and that plan applied,
	// whatever it does.
	Trusted bool
	// Upstream names the dependencies that were changed since the plan was made,
	// in what this apply is part of: what the plan read of them may be history.
	Upstream []string
}

// ApplyChosen applies the plan of a workspace that was chosen, if the gate lets
// it. Order among workspaces is the caller's. Where the workspace is held, the
// plan that would be applied now is kept as a proposal, which can be chosen
// once it is accepted; [Hold] names it.
func (r *Runner) ApplyChosen(ctx context.Context, w *workspaces.Workspace, c Choice) Result {
	return r.each(ctx, []*workspaces.Workspace{w}, func(ctx context.Context, w *workspaces.Workspace, _ []Result) Result {
		return r.applyChosen(ctx, w, c)
	})[0]
}

func (r *Runner) applyChosen(ctx context.Context, w *workspaces.Workspace, c Choice) Result {
	if w.Removed {
		return Result{Status: Removed, Notes: w.Warnings}
	}
	var receipt planstore.Plan
	if c.PlanID != "" {
		var err error
		receipt, err = r.opts.Plans.Get(ctx, c.PlanID)
		if errors.Is(err, planstore.ErrNotFound) {
			done, err := r.wasApplied(ctx, w.Name, c.PlanID)
			if err != nil {
				return Result{Status: Failed, Err: err}
			}
			if done {
				return Result{Status: Held, Hold: &Hold{Reason: "It is already applied.", Next: nextIsPlan(w.Name)}}
			}
			c = Choice{Unreviewed: "The reviewed plan is no longer in the plan store."}
		} else if err != nil {
			return Result{Status: Failed, Err: err}
		}
	}
	s, err := r.prepare(ctx, w)
	if err != nil {
		return Result{Status: Failed, Err: err, Receipt: receipt}
	}
	defer s.close()
	var res Result
	if c.PlanID == "" {
		res = r.applyUnreviewed(ctx, s, c)
	} else {
		res = r.applyAt(ctx, s, review{Receipt: receipt, Accepted: c.Accepted, Upstream: c.Upstream, Propose: true})
	}
	res.Notes = append(slices.Clone(s.notes), res.Notes...)
	return res
}

// applyUnreviewed plans a workspace of which nobody has read a plan. Without
// changes nothing is to be reviewed; else the plan is held, or trusted.
func (r *Runner) applyUnreviewed(ctx context.Context, s *site, c Choice) Result {
	w := s.workspace
	if w.Apply == gate.Never {
		return Result{Status: Held, Hold: &Hold{Reason: "plumbline.yaml says `apply: never` for this workspace.", Next: "nothing was changed."}}
	}
	m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan})
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	if !m.changes {
		return r.inSync(ctx, planstore.Plan{}, m.receipt)
	}
	if permit, err := gate.Trust(w, m.receipt, c.Trusted); err == nil {
		return r.applyMade(ctx, s, permit, m)
	}
	res := Result{Status: Held, Hold: &Hold{
		Reason: cmp.Or(c.Unreviewed, "Nobody has reviewed a plan of this workspace."),
		Plan:   cmp.Or(m.plan, &tfjson.Plan{}), Fingerprint: m.receipt.Fingerprint,
	}}
	return r.propose(ctx, s, review{Propose: true}, m, res)
}

// propose keeps the plan that a hold shows, where that is wanted, so that it
// can be shown again and accepted.
func (r *Runner) propose(ctx context.Context, s *site, v review, m *made, held Result) Result {
	if !v.Propose {
		return held
	}
	m.receipt.Purpose = planstore.PurposeProposal
	proposed, err := r.keep(ctx, s, m)
	if err != nil {
		return Result{Status: Failed, Err: fmt.Errorf("it was held, and the plan that would be applied now is lost: %w", err), Receipt: v.Receipt}
	}
	held.Hold.PlanID = proposed.ID
	held.Hold.Next = "nothing was changed. If the new plan is what you want, `plumbline apply` in a comment accepts it."
	return held
}

// wasApplied reports whether a plan was applied, in part included.
func (r *Runner) wasApplied(ctx context.Context, workspace, id string) (bool, error) {
	records, err := r.opts.Plans.AppliedSince(ctx, workspace, id)
	return slices.ContainsFunc(records, func(a planstore.Applied) bool { return a.Plan.ID == id }), err
}
