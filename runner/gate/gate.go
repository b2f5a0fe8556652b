// Package gate decides what may be applied, and is the only one that can say so.
//
// A stored plan comes with what is known of the present ([Evidence]), and [Decide] says whether it may be applied as it is,
// must be made again, or is held. Whatever may be applied gets a [Permit]: a stored plan from its decision, one that was made
// again from [Decision.Again], one that somebody trusts unread from [Trust], a correction of drift from [Correct]. A permit
// is for one plan. Only this package can make one, so a function that asks for a permit is out of reach of a plan: Terraform
// is started on a plan file with one, and credentials for applying are had with one.
//
// It runs nothing and keeps nothing.
package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Answer is what the gate says of a stored plan.
type Answer string

const (
	// ApplyStored: nothing that the plan rests on has moved.
	ApplyStored Answer = "apply the stored plan"
	// PlanAgain: something has moved; apply only what has the same fingerprint.
	PlanAgain Answer = "plan again"
	// Refuse: this must not be applied at all.
	Refuse Answer = "hold"
)

// Evidence is all that the gate decides from.
type Evidence struct {
	Workspace *workspaces.Workspace
	Receipt   planstore.Plan
	// Inputs is the inputs digest as it is now.
	Inputs string
	// State is the state's identity as it is now.
	State terraform.StateID
	// Accepted reports that somebody has seen this very plan after it was held
	// or proposed, and wants it applied.
	Accepted bool
	// Applied are the plans that were applied last and since this one was made.
	Applied []planstore.Plan
	// Upstream names the dependencies that this run has changed: what the
	// plan read of them through data sources may be history.
	Upstream []string
}

// Never is the setting of a workspace that is only ever planned.
const Never = "never"

// Decide decides whether a stored plan may be applied, with the reason. It is
// the one place where "what was reviewed is what is applied" is made true.
func Decide(e Evidence) Decision {
	answer, reason := decide(e)
	return Decision{Answer: answer, Reason: reason, reviewed: e.Receipt}
}

func decide(e Evidence) (Answer, string) {
	p, w := e.Receipt, e.Workspace
	switch {
	case w.Apply == Never:
		return Refuse, "plumbline.yaml says `apply: never` for this workspace."
	case p.Purpose == planstore.PurposeProposal && !e.Accepted:
		return Refuse, "The stored plan is a proposal that nobody has accepted."
	case p.Purpose == planstore.PurposeCorrection || len(p.Targets) > 0:
		return Refuse, "The stored plan covers only some of the workspace's resources."
	case p.Workspace != w.Name || p.Dir != w.Dir || p.TerraformWorkspace != w.Workspace:
		return Refuse, fmt.Sprintf("The stored plan was made for %s in %s with the Terraform workspace %s.", p.Workspace, p.Dir, p.TerraformWorkspace)
	case slices.ContainsFunc(e.Applied, func(a planstore.Plan) bool { return replaced(p, a) }):
		return Refuse, "It is already applied, or a newer plan of the workspace is."
	case slices.ContainsFunc(e.Applied, func(a planstore.Plan) bool { return a.ID > p.ID }):
		return PlanAgain, "A newer plan of another change was applied since the plan was made."
	case p.InputsDigest != e.Inputs:
		return PlanAgain, "What the workspace reads has changed since the plan was made: its files, variables, environment or Terraform version."
	case p.Lineage != e.State.Lineage && p.Lineage != "":
		return PlanAgain, "The state is not the one that the plan was made from: its lineage differs."
	case p.Serial != e.State.Serial:
		return PlanAgain, fmt.Sprintf("The state has moved on since the plan was made, from serial %d to %d.", p.Serial, e.State.Serial)
	case len(e.Upstream) > 0:
		return PlanAgain, fmt.Sprintf("What it depends on has just been changed: %s.", list(e.Upstream))
	}
	return ApplyStored, "Inputs digest and state serial are those of the plan."
}

// replaced reports whether a plan may never be applied again since another one
// was: it is that one, or an older one of the same scope. Ids sort by time.
// Without this rule a plan that a newer one has replaced would come back as
// soon as its change is needed once more.
func replaced(p, applied planstore.Plan) bool {
	return p.ID == applied.ID || p.Change == applied.Change && p.ID < applied.ID
}

func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}
