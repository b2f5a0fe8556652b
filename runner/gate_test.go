package runner

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func TestGate(t *testing.T) {
	plans := func(id, change string) []planstore.Plan { return []planstore.Plan{{ID: id, Change: change}} }
	sound := func() evidence {
		return evidence{
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
		change func(*evidence)
		want   answer
		says   string
	}{
		{"nothing moved", func(*evidence) {}, applyStored, "those of the plan"},
		{"applied on comment", func(e *evidence) { e.Workspace.Apply = "on-comment" }, applyStored, ""},
		{"never", func(e *evidence) { e.Workspace.Apply = "never" }, refuse, "apply: never"},
		{"never wins over what moved", func(e *evidence) { e.Workspace.Apply, e.Inputs = "never", "d2" }, refuse, "apply: never"},
		{"a correction's plan", func(e *evidence) { e.Receipt.Purpose = planstore.PurposeCorrection }, refuse, "only some"},
		{"a targeted plan", func(e *evidence) { e.Receipt.Targets = []string{"a.b"} }, refuse, "only some"},
		{"another workspace", func(e *evidence) { e.Receipt.Workspace = "other" }, refuse, "other"},
		{"another directory", func(e *evidence) { e.Receipt.Dir = "elsewhere" }, refuse, "elsewhere"},
		{"another Terraform workspace", func(e *evidence) { e.Receipt.TerraformWorkspace = "prod" }, refuse, "prod"},
		{"an older plan was applied", func(e *evidence) { e.Applied = plans("20260101-a", "") }, applyStored, ""},
		{"applied already", func(e *evidence) { e.Applied = plans("20260102-b", "") }, refuse, "already applied"},
		{"a newer plan was applied", func(e *evidence) { e.Applied = plans("20260103-c", "") }, refuse, "newer"},
		{"a newer plan of another change was applied", func(e *evidence) { e.Applied = plans("20260103-c", "8") }, planAgain, "another change"},
		{"an older plan of another change was applied", func(e *evidence) { e.Applied = plans("20260101-a", "8") }, applyStored, ""},
		{"applied already, and then another change", func(e *evidence) {
			e.Applied = append(plans("20260102-b", ""), plans("20260103-c", "8")...)
		}, refuse, "already applied"},
		{"a newer plan of the same change was applied, and then another change", func(e *evidence) {
			e.Receipt.Change, e.Applied = "7", append(plans("20260103-c", "7"), plans("20260104-d", "8")...)
		}, refuse, "newer"},
		{"a proposal", func(e *evidence) { e.Receipt.Purpose = planstore.PurposeProposal }, refuse, "nobody has accepted"},
		{"an accepted proposal", func(e *evidence) { e.Receipt.Purpose, e.Accepted = planstore.PurposeProposal, true }, applyStored, ""},
		{"an accepted proposal, and inputs moved", func(e *evidence) {
			e.Receipt.Purpose, e.Accepted, e.Inputs = planstore.PurposeProposal, true, "d2"
		}, planAgain, "reads has changed"},
		{"an accepted correction", func(e *evidence) { e.Receipt.Purpose, e.Accepted = planstore.PurposeCorrection, true }, refuse, "only some"},
		{"inputs moved", func(e *evidence) { e.Inputs = "d2" }, planAgain, "reads has changed"},
		{"no digest at all", func(e *evidence) { e.Receipt.InputsDigest = "" }, planAgain, "reads has changed"},
		{"the state moved on", func(e *evidence) { e.State.Serial = 8 }, planAgain, "from serial 7 to 8"},
		{"the state moved back", func(e *evidence) { e.State.Serial = 6 }, planAgain, "from serial 7 to 6"},
		{"another state", func(e *evidence) { e.State.Lineage = "l2" }, planAgain, "lineage"},
		{"the state is gone", func(e *evidence) { e.State = terraform.StateID{} }, planAgain, "lineage"},
		{"no state yet, as at the plan", func(e *evidence) {
			e.State, e.Receipt.Lineage, e.Receipt.Serial = terraform.StateID{}, "", 0
		}, applyStored, ""},
		{"a first state came in between", func(e *evidence) {
			e.Receipt.Lineage, e.Receipt.Serial = "", 0
			e.State = terraform.StateID{Lineage: "l9", Serial: 1}
		}, planAgain, "serial"},
		{"a dependency was changed in this run", func(e *evidence) { e.Upstream = []string{"network"} }, planAgain, "network"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := sound()
			c.change(&e)
			got, reason := gate(e)
			if got != c.want {
				t.Errorf("gate says %q (%s), want %q", got, reason, c.want)
			}
			if !strings.Contains(reason, c.says) {
				t.Errorf("the reason is %q, want it to name %q", reason, c.says)
			}
		})
	}
}
