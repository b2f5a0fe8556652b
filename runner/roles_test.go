package runner_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// TestRolesOfACorrection: a correction gets the role that writes, for its one plan, and the look after it a new session to read
// with if the correction has taken its time. An adoption only reads. STS away means that nothing is begun.
func TestRolesOfACorrection(t *testing.T) {
	sts := awstest.New(t)
	sts.Setenv(t)
	settings := fmt.Sprintf("defaults: { aws: { plan_role: %q, apply_role: %q } }\n",
		sts.AddRole("plan", awstest.Role{Trusts: []string{awstest.AccessKey}}), sts.AddRole("apply", awstest.Role{Trusts: []string{awstest.AccessKey}}))
	dir := t.TempDir()
	p := newPlace(t, map[string]string{"plumbline.yaml": settings, "main.tf": twoFiles(dir, "1", "2")})
	p.Config = parts.MirrorConfig(t, parts.Mirror(t))

	now, told, begun := time.Now(), 0, 0
	clock := func() time.Time { return now }
	with := func(o *runner.Options) {
		o.Access, o.Now = access.New(access.Options{Environ: os.Environ(), Anything: true, Now: clock}), clock
		o.Before = func(context.Context, *workspaces.Workspace, planstore.Plan) error {
			begun++
			now = now.Add(40 * time.Minute)
			return nil
		}
	}
	open := func() (*runner.Runner, *workspaces.Set) {
		r, set, err := p.runner(t.Context(), "7", with)
		if err != nil {
			t.Fatal(err)
		}
		return r, set
	}
	had := func(want string) {
		t.Helper()
		var roles []string
		for _, s := range sts.Sessions()[told:] {
			roles = append(roles, s.Role[strings.LastIndexByte(s.Role, '/')+1:])
		}
		told += len(roles)
		if got := strings.Join(roles, " "); got != want {
			t.Errorf("the sessions were %q, want %q", got, want)
		}
	}
	r, set := open()
	plan := r.Plan(t.Context(), set.Workspaces)[0]
	if plan.Status != runner.Planned {
		t.Fatal(plan.Err)
	}
	had("plan")
	sts.Deny("AssumeRole", true)
	r, set = open()
	if res := r.ApplyChosen(t.Context(), set.Workspaces[0], runner.Choice{PlanID: plan.Receipt.ID}); res.Status != runner.Failed || begun != 0 || !strings.Contains(fmt.Sprint(res.Err), "AccessDenied") {
		t.Errorf("with STS that refuses: %s, %v, %d applies begun", res.Status, res.Err, begun)
	}
	sts.Deny("AssumeRole", false)
	r, set = open()
	if res := r.ApplyChosen(t.Context(), set.Workspaces[0], runner.Choice{PlanID: plan.Receipt.ID}); res.Status != runner.Applied {
		t.Fatal(res.Status, res.Err)
	}
	had("plan apply")

	if err := os.Remove(filepath.Join(dir, "one")); err != nil {
		t.Fatal(err)
	}
	r, set = open()
	if res := r.Adopt(t.Context(), set.Workspaces[0], runner.AdoptOptions{}); res.Err != nil {
		t.Error(res.Err)
	}
	had("plan")
	ladder := drift.Create
	r, set = open()
	res := r.Drift(t.Context(), set.Workspaces, runner.DriftOptions{Correct: true, AtMost: &ladder})[0]
	if res.Err != nil || res.Drift == nil || len(res.Drift.Corrected) != 1 {
		t.Errorf("the correction: %s, %v, %+v", res.Status, res.Err, res.Drift)
	}
	had("plan apply plan")
}

// TestKilledWithCredentials: what Terraform said in an apply whose Plumbline died is not repeated where it had credentials
// that are known no more.
func TestKilledWithCredentials(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"plumbline.yaml": "defaults: { env: { apply: { TOKEN: { env: WRITES } } } }\n",
		"main.tf":        slow("1; echo $TOKEN; exit 1"),
	})
	plan := p.plan(t, "7").Receipt
	cmd := p.die(t, "", "7", plan.ID)
	appears(t, filepath.Join(p.Root, "started"))
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if in := p.examine(t, "7", plan.ID); in.Fate != runner.InPart {
		t.Fatalf("it is %s (%s)", in.Fate, in.Reason)
	}
	res := p.settle(t, "7", plan.ID, runner.Partly)
	if said := res.Err.Error(); strings.Contains(said, "canary") || !strings.Contains(said, "What Terraform said is not shown") || !strings.Contains(said, "terraform_data.slow") {
		t.Errorf("it is told: %s", said)
	}
}
