package gate_test

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/gate"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func TestGate(t *testing.T) {
	plans := func(id, change string) []planstore.Plan { return []planstore.Plan{{ID: id, Change: change}} }
	sound := func() gate.Evidence {
		return gate.Evidence{
			Workspace: &workspaces.Workspace{Name: "app", Dir: "apps/app", Workspace: "default", Apply: "on-merge"},
			Receipt: planstore.Plan{
				ID: "20260102-b", Workspace: "app", Dir: "apps/app", TerraformWorkspace: "default", Purpose: planstore.PurposePlan,
				InputsDigest: "d1", Lineage: "l1", Serial: 7,
			},
			Inputs: "d1",
			State:  terraform.StateID{Lineage: "l1", Serial: 7},
		}
	}
	for _, c := range []struct {
		name   string
		change func(*gate.Evidence)
		want   gate.Answer
		says   string
	}{
		{"nothing moved", func(*gate.Evidence) {}, gate.ApplyStored, "those of the plan"},
		{"applied on comment", func(e *gate.Evidence) { e.Workspace.Apply = "on-comment" }, gate.ApplyStored, ""},
		{"never", func(e *gate.Evidence) { e.Workspace.Apply = "never" }, gate.Refuse, "apply: never"},
		{"never wins over what moved", func(e *gate.Evidence) { e.Workspace.Apply, e.Inputs = "never", "d2" }, gate.Refuse, "apply: never"},
		{"a correction's plan", func(e *gate.Evidence) { e.Receipt.Purpose = planstore.PurposeCorrection }, gate.Refuse, "only some"},
		{"a targeted plan", func(e *gate.Evidence) { e.Receipt.Targets = []string{"a.b"} }, gate.Refuse, "only some"},
		{"another workspace", func(e *gate.Evidence) { e.Receipt.Workspace = "other" }, gate.Refuse, "other"},
		{"another directory", func(e *gate.Evidence) { e.Receipt.Dir = "elsewhere" }, gate.Refuse, "elsewhere"},
		{"another Terraform workspace", func(e *gate.Evidence) { e.Receipt.TerraformWorkspace = "prod" }, gate.Refuse, "prod"},
		{"an older plan was applied", func(e *gate.Evidence) { e.Applied = plans("20260101-a", "") }, gate.ApplyStored, ""},
		{"applied already", func(e *gate.Evidence) { e.Applied = plans("20260102-b", "") }, gate.Refuse, "already applied"},
		{"a newer plan was applied", func(e *gate.Evidence) { e.Applied = plans("20260103-c", "") }, gate.Refuse, "newer"},
		{"a newer plan of another change was applied", func(e *gate.Evidence) { e.Applied = plans("20260103-c", "8") }, gate.PlanAgain, "another change"},
		{"an older plan of another change was applied", func(e *gate.Evidence) { e.Applied = plans("20260101-a", "8") }, gate.ApplyStored, ""},
		{"applied already, and then another change", func(e *gate.Evidence) {
			e.Applied = append(plans("20260102-b", ""), plans("20260103-c", "8")...)
		}, gate.Refuse, "already applied"},
		{"a newer plan of the same change was applied, and then another change", func(e *gate.Evidence) {
			e.Receipt.Change, e.Applied = "7", append(plans("20260103-c", "7"), plans("20260104-d", "8")...)
		}, gate.Refuse, "newer"},
		{"a proposal", func(e *gate.Evidence) { e.Receipt.Purpose = planstore.PurposeProposal }, gate.Refuse, "nobody has accepted"},
		{"an accepted proposal", func(e *gate.Evidence) { e.Receipt.Purpose, e.Accepted = planstore.PurposeProposal, true }, gate.ApplyStored, ""},
		{"an accepted proposal, and inputs moved", func(e *gate.Evidence) {
			e.Receipt.Purpose, e.Accepted, e.Inputs = planstore.PurposeProposal, true, "d2"
		}, gate.PlanAgain, "reads has changed"},
		{"an accepted correction", func(e *gate.Evidence) { e.Receipt.Purpose, e.Accepted = planstore.PurposeCorrection, true }, gate.Refuse, "only some"},
		{"inputs moved", func(e *gate.Evidence) { e.Inputs = "d2" }, gate.PlanAgain, "reads has changed"},
		{"no digest at all", func(e *gate.Evidence) { e.Receipt.InputsDigest = "" }, gate.PlanAgain, "reads has changed"},
		{"the state moved on", func(e *gate.Evidence) { e.State.Serial = 8 }, gate.PlanAgain, "from serial 7 to 8"},
		{"the state moved back", func(e *gate.Evidence) { e.State.Serial = 6 }, gate.PlanAgain, "from serial 7 to 6"},
		{"another state", func(e *gate.Evidence) { e.State.Lineage = "l2" }, gate.PlanAgain, "lineage"},
		{"the state is gone", func(e *gate.Evidence) { e.State = terraform.StateID{} }, gate.PlanAgain, "lineage"},
		{"no state yet, as at the plan", func(e *gate.Evidence) {
			e.State, e.Receipt.Lineage, e.Receipt.Serial = terraform.StateID{}, "", 0
		}, gate.ApplyStored, ""},
		{"a first state came in between", func(e *gate.Evidence) {
			e.Receipt.Lineage, e.Receipt.Serial = "", 0
			e.State = terraform.StateID{Lineage: "l9", Serial: 1}
		}, gate.PlanAgain, "serial"},
		{"a dependency was changed in this run", func(e *gate.Evidence) { e.Upstream = []string{"network"} }, gate.PlanAgain, "network"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := sound()
			c.change(&e)
			d := gate.Decide(e)
			got, reason := d.Answer, d.Reason
			if got != c.want {
				t.Errorf("gate says %q (%s), want %q", got, reason, c.want)
			}
			if !strings.Contains(reason, c.says) {
				t.Errorf("the reason is %q, want it to name %q", reason, c.says)
			}
		})
	}
}
