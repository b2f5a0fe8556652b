package gate_test

import (
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/gate"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func reviewed() planstore.Plan {
	return planstore.Plan{
		ID: "20260102-b", Workspace: "app", Dir: "apps/app", TerraformWorkspace: "default", Purpose: planstore.PurposePlan,
		InputsDigest: "d1", ContentDigest: "c1", Fingerprint: "f1", Lineage: "l1", Serial: 7,
	}
}

func app(apply string) *workspaces.Workspace {
	return &workspaces.Workspace{Name: "app", Dir: "apps/app", Workspace: "default", Apply: apply}
}

// TestPermitsAreForOnePlan: nothing but a decision that lets a plan pass makes a permit, and it is for no other plan.
func TestPermitsAreForOnePlan(t *testing.T) {
	decide := func(inputs string) gate.Decision {
		return gate.Decide(gate.Evidence{Workspace: app("on-merge"), Receipt: reviewed(), Inputs: inputs, State: terraform.StateID{Lineage: "l1", Serial: 7}})
	}
	if err := (gate.Permit{}).Covers("app", reviewed()); err == nil {
		t.Error("the zero permit permits a plan")
	}
	if err := (gate.Permit{}).Covers("", planstore.Plan{}); err == nil {
		t.Error("the zero permit permits the zero plan")
	}
	p, err := decide("d1").Permit()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Covers("app", reviewed()); err != nil {
		t.Errorf("what was allowed is not covered: %v", err)
	}
	for what, change := range map[string]func(*planstore.Plan){
		"another workspace": func(p *planstore.Plan) { p.Workspace = "other" },
		"another plan":      func(p *planstore.Plan) { p.Fingerprint = "f2" },
		"other content":     func(p *planstore.Plan) { p.ContentDigest = "c2" },
		"other inputs":      func(p *planstore.Plan) { p.InputsDigest = "d2" },
	} {
		plan := reviewed()
		change(&plan)
		if p.Covers("app", plan) == nil {
			t.Errorf("%s is covered", what)
		}
	}
	if p.Covers("other", reviewed()) == nil {
		t.Error("the same plan is covered in another workspace")
	}
	if _, err := decide("d2").Permit(); err == nil || !strings.Contains(err.Error(), "reads has changed") {
		t.Errorf("a plan whose inputs moved: %v", err)
	}

	fresh := reviewed()
	fresh.ID, fresh.InputsDigest, fresh.ContentDigest = "", "d2", "c2"
	again, err := decide("d2").Again(fresh, "")
	if err != nil || again.Covers("app", fresh) != nil || again.Covers("app", reviewed()) == nil {
		t.Errorf("a plan that was made again and does the same: %v, %+v", err, again)
	}
	if _, err := decide("d2").Again(fresh, "it has provisioners"); err == nil {
		t.Error("a plan that may do something else is allowed")
	}
	fresh.Fingerprint = "f2"
	if _, err := decide("d2").Again(fresh, ""); err == nil {
		t.Error("a plan that does something else is allowed")
	}
	held := gate.Decide(gate.Evidence{Workspace: app("never"), Receipt: reviewed()})
	fresh.Fingerprint = "f1"
	if _, err := held.Again(fresh, ""); err == nil {
		t.Error("what is held may be planned again and applied")
	}
	if _, err := (gate.Decision{}).Again(fresh, ""); err == nil {
		t.Error("a decision that nobody took allows something")
	}
}

func TestTrustIsGiven(t *testing.T) {
	if _, err := gate.Trust(app("on-merge"), reviewed(), false); err == nil {
		t.Error("a plan that nobody trusts is allowed")
	}
	if _, err := gate.Trust(app("never"), reviewed(), true); err == nil {
		t.Error("a workspace that is never applied is")
	}
	if p, err := gate.Trust(app("on-merge"), reviewed(), true); err != nil || p.Covers("app", reviewed()) != nil {
		t.Errorf("a trusted plan: %v", err)
	}
}

func TestCorrectionsAreHeldAgainstTheirVerdict(t *testing.T) {
	receipt := reviewed()
	receipt.Purpose, receipt.Targets, receipt.Fingerprint = planstore.PurposeCorrection, []string{"toy_node.a"}, "f9"
	created := tfjson.Change{Actions: tfjson.Actions{tfjson.ActionCreate}, After: map[string]any{"size": "small"}}
	good := gate.Correction{
		Rules: app("on-merge"), Receipt: receipt,
		Verdict: drift.Verdict{Targets: receipt.Targets, Findings: []drift.Judged{{Allowed: true, Finding: drift.Finding{Address: "toy_node.a"}}}},
		Plan:    &tfjson.Plan{ResourceChanges: []*tfjson.ResourceChange{{Address: "toy_node.a", Mode: tfjson.ManagedResourceMode, Change: &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionNoop}}}}},
	}
	p, err := gate.Correct(good)
	if err != nil || p.Covers("app", receipt) != nil || p.Covers("app", reviewed()) == nil {
		t.Errorf("what the verdict allows: %v, %+v", err, p)
	}
	more := good
	more.Beyond = "it has provisioners"
	if _, err := gate.Correct(more); err == nil || err.Error() != more.Beyond {
		t.Errorf("what may do more: %v", err)
	}
	other := good
	other.Plan = &tfjson.Plan{ResourceChanges: []*tfjson.ResourceChange{{Address: "toy_node.b", Mode: tfjson.ManagedResourceMode, Change: &created}}}
	if _, err := gate.Correct(other); err == nil || !strings.Contains(err.Error(), "toy_node.b") {
		t.Errorf("what would create something else: %v", err)
	}
	for _, c := range []struct {
		name string
		of   gate.Correction
	}{
		{"never", gate.Correction{Rules: app("never"), Receipt: receipt, Verdict: drift.Verdict{Targets: receipt.Targets}}},
		{"a plan of everything", gate.Correction{Rules: app("on-merge"), Receipt: reviewed(), Verdict: drift.Verdict{Targets: receipt.Targets}}},
		{"a verdict that allows nothing", gate.Correction{Rules: app("on-merge"), Receipt: receipt}},
		{"no plan", gate.Correction{Rules: app("on-merge"), Receipt: receipt, Verdict: drift.Verdict{Targets: receipt.Targets}}},
	} {
		if _, err := gate.Correct(c.of); err == nil {
			t.Errorf("%s: allowed", c.name)
		}
	}
}
