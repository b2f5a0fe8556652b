package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// planText is a plan that creates one bucket whose password is marked.
const planText = `{"format_version": "1.2", "resource_changes": [{"address": "toy_bucket.logs", "mode": "managed", "type": "toy_bucket",
	"name": "logs", "change": {"actions": ["create"], "before": null, "after": {"name": "logs", "password": "canary-of-a-plan"},
	"after_unknown": {}, "before_sensitive": {}, "after_sensitive": {"password": true}}}]}`

func readPlanText(t testing.TB) *tfjson.Plan {
	t.Helper()
	var plan tfjson.Plan
	if err := plan.UnmarshalJSON([]byte(planText)); err != nil {
		t.Fatal(err)
	}
	return &plan
}

func openPlans(t testing.TB) *planstore.Store {
	t.Helper()
	dir := t.TempDir()
	plans, err := planstore.Open(context.Background(), planstore.Options{
		Location: dir + "/plans", KeyFile: dir + "/key", Repository: "github/acme/live",
	})
	if err != nil {
		t.Fatal(err)
	}
	return plans
}

func TestResultsComeBack(t *testing.T) {
	ctx, plans, plan := context.Background(), openPlans(t), readPlanText(t)
	receipt, err := plans.Put(ctx, planstore.Plan{Workspace: "storage", Fingerprint: "f1"}, strings.NewReader("zip"), strings.NewReader(planText))
	if err != nil {
		t.Fatal(err)
	}
	ws := &workspaces.Workspace{Name: "storage", Dir: "live/storage", Reasons: []string{"`main.tf` changed"}, Apply: "on-merge"}
	for _, want := range []runner.Result{
		{Status: runner.Planned, Receipt: receipt, Plan: plan, Notes: []string{"a note"}, Elapsed: time.Second},
		{Status: runner.Unchanged},
		{Status: runner.Failed, Err: errors.New("token canary-of-an-error was refused")},
		{Status: runner.Skipped, Err: runner.ErrNotStarted},
		{Status: runner.Applied, Receipt: receipt, Plan: plan},
		{Status: runner.Partly, Receipt: receipt, Plan: plan, Err: errors.New("no"), Kept: "state-1"},
		{Status: runner.Held, Receipt: receipt, Plan: plan, Hold: &runner.Hold{
			Reason: "The state has moved on.", Differences: []string{"x"}, Next: "n", Fingerprint: "f2", Plan: &tfjson.Plan{},
		}},
	} {
		want.Workspace = ws
		sealed, err := sealResult(plans, "r1", want)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(sealed); strings.Contains(s, "canary") || strings.Contains(s, "toy_bucket") {
			t.Errorf("%s: the sealed result shows what is in it", want.Status)
		}
		run := Run{ID: "r1", Workspace: ws.Name, Dir: ws.Dir, Reasons: ws.Reasons, Result: sealed}
		got, err := new(shownPlans).results(ctx, plans, []Run{run})
		if err != nil {
			t.Fatal(err)
		}
		if want.Hold != nil {
			want.Hold.Plan.FormatVersion = "1.2" // an empty plan is written with a version, so that it can be read
		}
		same := cmp.Comparer(func(a, b error) bool {
			return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error() && errors.Is(a, runner.ErrNotStarted) == errors.Is(b, runner.ErrNotStarted)
		})
		if diff := cmp.Diff(want, got[0], same, cmp.AllowUnexported(tfjson.Plan{}, tfjson.ResourceChange{}, tfjson.Change{})); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", want.Status, diff)
		}
		run.ID = "r2"
		if got, err = new(shownPlans).results(ctx, plans, []Run{run}); err != nil || len(got[0].Notes) != 1 {
			t.Errorf("%s: the result of another run opened: %v, %v", want.Status, got, err)
		}
	}

	// What was pruned is said, not an error.
	sealed, err := sealResult(plans, "r1", runner.Result{Workspace: ws, Status: runner.Planned, Receipt: receipt})
	if err != nil {
		t.Fatal(err)
	}
	if err := plans.Delete(ctx, receipt.ID); err != nil {
		t.Fatal(err)
	}
	got, err := new(shownPlans).results(ctx, plans, []Run{{ID: "r1", Result: sealed}})
	if err != nil || got[0].Plan != nil || len(got[0].Notes) != 1 {
		t.Errorf("got %+v, %v; want no plan and a note", got, err)
	}
}
