package gate

import (
	"errors"
	"fmt"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Permit is the leave to apply one plan. Nobody outside of this package can make one; the zero Permit permits nothing.
type Permit struct {
	workspace   string
	fingerprint string
	content     string
	inputs      string
}

// errNever is why a workspace that is only ever planned gets no permit.
var errNever = errors.New("plumbline.yaml says `apply: never` for this workspace")

// permit is for a plan, which need not be stored yet: so it goes by what the plan is, not by its id.
func permit(p planstore.Plan) Permit {
	return Permit{workspace: p.Workspace, fingerprint: p.Fingerprint, content: p.ContentDigest, inputs: p.InputsDigest}
}

// Covers returns nil if the permit is for this plan of this workspace.
func (p Permit) Covers(workspace string, plan planstore.Plan) error {
	switch {
	case p.workspace == "" || p.fingerprint == "":
		return fmt.Errorf("the gate has not allowed an apply of %s", workspace)
	case p.workspace != workspace || p != permit(plan):
		return fmt.Errorf("the gate has allowed another plan of %s to be applied, and not this one of %s", p.workspace, workspace)
	}
	return nil
}

// Workspace is the name of the workspace that the permit is for; "" for none.
func (p Permit) Workspace() string { return p.workspace }

// Decision is what the gate says of a stored plan, and why.
type Decision struct {
	Answer Answer
	Reason string

	reviewed planstore.Plan
}

// Permit is the leave to apply the very plan that was stored.
func (d Decision) Permit() (Permit, error) {
	if d.Answer != ApplyStored {
		return Permit{}, errors.New(d.Reason)
	}
	return permit(d.reviewed), nil
}

// Again is the leave to apply a plan that was just made in the place of the reviewed one: it must do the same. Beyond is what
// it may do otherwise although it looks the same; "" for nothing.
func (d Decision) Again(fresh planstore.Plan, beyond string) (Permit, error) {
	switch {
	case d.Answer != ApplyStored && d.Answer != PlanAgain:
		return Permit{}, errors.New(d.Reason)
	case fresh.Fingerprint == "" || fresh.Fingerprint != d.reviewed.Fingerprint || fresh.Workspace != d.reviewed.Workspace || len(fresh.Targets) > 0:
		return Permit{}, errors.New("a new plan would not do what was reviewed")
	case beyond != "":
		return Permit{}, errors.New(beyond)
	}
	return permit(fresh), nil
}

// Trust is the leave to apply a plan that nobody has read, because somebody who may has said so.
func Trust(w *workspaces.Workspace, fresh planstore.Plan, trusted bool) (Permit, error) {
	switch {
	case w.Apply == Never:
		return Permit{}, errNever
	case !trusted || fresh.Workspace != w.Name:
		return Permit{}, errors.New("nobody has reviewed the plan")
	}
	return permit(fresh), nil
}

// Correction is a plan that is to correct drift, and what it was made from.
type Correction struct {
	// Rules is the workspace whose settings count.
	Rules *workspaces.Workspace
	// Verdict is what may be corrected, Plan what would be done.
	Verdict drift.Verdict
	Plan    *tfjson.Plan
	Receipt planstore.Plan
	// Beyond is what the plan might do beyond the values that the verdict is held against; "" for nothing.
	Beyond string
}

// Correct is the leave to apply a correction: the plan is held against the verdict resource by resource.
func Correct(c Correction) (Permit, error) {
	if c.Rules.Apply == Never {
		return Permit{}, errNever
	}
	if c.Receipt.Purpose != planstore.PurposeCorrection || len(c.Verdict.Targets) == 0 {
		return Permit{}, errors.New("the plan is not one of a correction")
	}
	if err := c.Verdict.Check(c.Plan); err != nil {
		return Permit{}, err
	}
	if c.Beyond != "" {
		return Permit{}, errors.New(c.Beyond)
	}
	return permit(c.Receipt), nil
}
