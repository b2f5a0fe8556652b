package runner_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// data is a resource with an input, which changes in place.
func data(name, input string) string {
	return "resource \"terraform_data\" \"" + name + "\" { input = \"" + input + "\" }\n"
}

// TestChangesDoNotSeeEachOthersPlans plans two pull requests, applies the one
// that was planned first last, and the other way round.
func TestChangesDoNotSeeEachOthersPlans(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"seven.tf": data("seven", "1")})
	seven := p.plan(t, "7")
	eight := p.plan(t, "8")

	// Both would do the same to the same state. Change 8 is merged first.
	p.apply(t, "8", runner.Choice{PlanID: eight.Receipt.ID}, runner.Applied)
	if got, want := p.stored(t), "7 plan"; got != want {
		t.Errorf("stored after the first apply: got %q, want %q", got, want)
	}
	// What 7 was to do is done: it is older, and is not refused but looked at again.
	res := p.apply(t, "7", runner.Choice{PlanID: seven.Receipt.ID}, runner.Unchanged)
	if got := strings.Join(res.Notes, " "); !strings.Contains(got, "nothing is left to do") {
		t.Errorf("notes: got %q, want that nothing is left to do", got)
	}
	if got := p.stored(t); got != "" {
		t.Errorf("stored in the end: got %q, want nothing", got)
	}
	// The same again is refused, for both.
	for change, plan := range map[string]string{"7": seven.Receipt.ID, "8": eight.Receipt.ID} {
		res := p.apply(t, change, runner.Choice{PlanID: plan}, runner.Held)
		if !strings.Contains(res.Hold.Reason, "already applied") || res.Hold.PlanID != "" {
			t.Errorf("%s again: got %+v, want that it is already applied", change, res.Hold)
		}
	}
}

// TestPlanOfAnotherChangeMovesTheState applies a plan whose state another change
// has moved on, without a change in what the plan does.
func TestPlanOfAnotherChangeMovesTheState(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"a.tf": data("a", "1")})
	p.apply(t, "", runner.Choice{PlanID: p.plan(t, "").Receipt.ID}, runner.Applied)

	p.write(t, "a.tf", data("a", "2"))
	seven := p.plan(t, "7")
	// Change 8 does the opposite and is taken back: what 7 plans stands as it did.
	for _, input := range []string{"3", "1"} {
		p.write(t, "a.tf", data("a", input))
		p.apply(t, "8", runner.Choice{PlanID: p.plan(t, "8").Receipt.ID}, runner.Applied)
	}
	p.write(t, "a.tf", data("a", "2"))
	var begun []string
	r, set := p.open(t, "7", func(o *runner.Options) {
		o.Before = func(_ context.Context, w *workspaces.Workspace, receipt planstore.Plan) error {
			begun = append(begun, w.Name+" "+receipt.Change+" "+receipt.ID)
			return nil
		}
	})
	res := r.ApplyChosen(t.Context(), workspace(t, set, ""), runner.Choice{PlanID: seven.Receipt.ID})
	if res.Status != runner.Applied || res.Receipt.ID == seven.Receipt.ID {
		t.Fatalf("got %s, %v, %+v, want another plan applied", res.Status, res.Err, res.Hold)
	}
	if len(begun) != 1 || begun[0] != ". 7 "+res.Receipt.ID {
		t.Errorf("Before was told of %q, want the plan that was applied", begun)
	}
	if got := p.stored(t); got != "" {
		t.Errorf("stored in the end: got %q, want nothing", got)
	}
}

// TestHeldPlanIsProposedAndAccepted changes what a plan would do after its
// review: it is held, the new plan is kept, and applied when it is accepted.
func TestHeldPlanIsProposedAndAccepted(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"a.tf": data("a", "1")})
	reviewed := p.plan(t, "7")
	p.write(t, "b.tf", data("b", "1"))
	held := p.apply(t, "7", runner.Choice{PlanID: reviewed.Receipt.ID}, runner.Held)
	if held.Hold.PlanID == "" || len(held.Hold.Differences) != 1 || !strings.Contains(held.Hold.Differences[0], "terraform_data.b") {
		t.Fatalf("hold: got %+v, want one difference and the id of the proposal", held.Hold)
	}
	if got, want := p.stored(t), "7 proposal, 7 plan"; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
	proposal := held.Hold.PlanID
	if receipt, err := p.store(t).Get(t.Context(), proposal); err != nil || receipt.Fingerprint != held.Hold.Fingerprint || receipt.Change != "7" {
		t.Errorf("proposal: got %+v, %v, want the fingerprint of the hold", receipt, err)
	}

	res := p.apply(t, "7", runner.Choice{PlanID: proposal}, runner.Held)
	if !strings.Contains(res.Hold.Reason, "nobody has accepted") {
		t.Errorf("before it is accepted: got %+v", res.Hold)
	}
	// Something moves again: what was accepted is not what would be done now.
	p.write(t, "b.tf", data("b", "2"))
	res = p.apply(t, "7", runner.Choice{PlanID: proposal, Accepted: true}, runner.Held)
	if res.Hold.PlanID == "" || res.Hold.PlanID == proposal || len(res.Hold.Differences) != 1 {
		t.Errorf("accepted, and moved: got %+v, want another proposal", res.Hold)
	}
	p.write(t, "b.tf", data("b", "1"))
	res = p.apply(t, "7", runner.Choice{PlanID: proposal, Accepted: true}, runner.Applied)
	if res.Receipt.ID != proposal {
		t.Errorf("applied %s, want the proposal %s itself", res.Receipt.ID, proposal)
	}
	// The newer proposal was not accepted. That it is newer does not save it.
	if got, want := p.stored(t), "7 proposal"; got != want {
		t.Errorf("stored in the end: got %q, want %q", got, want)
	}
	p.apply(t, "7", runner.Choice{PlanID: res.Receipt.ID, Accepted: true}, runner.Held)
}

// TestUnreviewed merges what nobody has planned.
func TestUnreviewed(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"a.tf": data("a", "1")})
	held := p.apply(t, "7", runner.Choice{Unreviewed: "It was merged before it was planned."}, runner.Held)
	if held.Hold.Reason != "It was merged before it was planned." || held.Hold.Plan == nil || held.Hold.PlanID == "" {
		t.Fatalf("hold: got %+v, want a plan and the reason given", held.Hold)
	}
	p.apply(t, "7", runner.Choice{PlanID: held.Hold.PlanID, Accepted: true}, runner.Applied)
	p.apply(t, "7", runner.Choice{}, runner.Unchanged)

	p.write(t, "a.tf", data("a", "2"))
	gone := p.plan(t, "7")
	if err := p.store(t).Delete(t.Context(), gone.Receipt.ID); err != nil {
		t.Fatal(err)
	}
	held = p.apply(t, "7", runner.Choice{PlanID: gone.Receipt.ID}, runner.Held)
	if !strings.Contains(held.Hold.Reason, "no longer in the plan store") || held.Hold.Fingerprint != gone.Receipt.Fingerprint {
		t.Errorf("the plan was pruned: got %+v, want the same plan held", held.Hold)
	}
	p.apply(t, "7", runner.Choice{Trusted: true}, runner.Applied)
	p.apply(t, "7", runner.Choice{}, runner.Unchanged)
	if got := p.stored(t); got != "" {
		t.Errorf("stored in the end: got %q, want nothing", got)
	}
}

// TestNothingBeginsUnwritten refuses an apply in Before.
func TestNothingBeginsUnwritten(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"a.tf": data("a", "1")})
	reviewed := p.plan(t, "7")
	r, set := p.open(t, "7", func(o *runner.Options) {
		o.Before = func(context.Context, *workspaces.Workspace, planstore.Plan) error {
			return errors.New("the database is gone")
		}
	})
	res := r.ApplyChosen(t.Context(), workspace(t, set, ""), runner.Choice{PlanID: reviewed.Receipt.ID})
	if res.Status != runner.Failed || res.Err == nil || !strings.Contains(res.Err.Error(), "the database is gone") {
		t.Fatalf("got %s, %v, want failed", res.Status, res.Err)
	}
	p.apply(t, "7", runner.Choice{PlanID: reviewed.Receipt.ID}, runner.Applied)
}
