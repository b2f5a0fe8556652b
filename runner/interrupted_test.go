package runner_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
)

// examine looks at an apply until it runs no longer.
func (p *place) examine(t testing.TB, change, plan string) runner.Interrupted {
	t.Helper()
	var in runner.Interrupted
	until(t, "the apply has ended", func() bool {
		r, set := p.open(t, change)
		var err error
		if in, err = r.Examine(t.Context(), workspace(t, set, ""), plan); err != nil {
			t.Fatal(err)
		}
		return in.Fate != runner.StillRunning
	})
	return in
}

// settle settles an apply, and wants a status of it.
func (p *place) settle(t testing.TB, change, plan string, want runner.Status) runner.Result {
	t.Helper()
	r, set := p.open(t, change)
	in, res, err := r.Settle(t.Context(), workspace(t, set, ""), plan)
	if err != nil || res.Status != want {
		t.Fatalf("settle: got %s (%s), %s, %v, want %s", in.Fate, in.Reason, res.Status, err, want)
	}
	return res
}

// traces keeps a copy of what an apply has left, and returns what puts it back.
func (p *place) traces(t testing.TB) (back func()) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(p.Work, "*", "data", "plumbline-apply"))
	if err != nil || len(found) != 1 {
		t.Fatalf("traces of an apply: got %q, %v, want them once", found, err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(filepath.Join(copied, "x"), os.DirFS(found[0])); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(found[0]); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(found[0], os.DirFS(filepath.Join(copied, "x"))); err != nil {
			t.Fatal(err)
		}
	}
}

// records are the records of applies of a plan.
func (p *place) records(t testing.TB, workspace, plan string) []planstore.Applied {
	t.Helper()
	records, err := p.store(t).AppliedSince(t.Context(), workspace, plan)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// TestKilledAtEachSeam kills Plumbline at each step of an apply: Examine tells
// the truth, and Settle comes to the same end however often it is begun.
func TestKilledAtEachSeam(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, kill string
		config     string
		fate       runner.Fate
		status     runner.Status
	}{
		{"before Terraform", killBefore, data("a", "1"), runner.NotBegun, runner.Failed},
		{"while Terraform runs, which completes", "", slow("3"), runner.Completed, runner.Applied},
		{"while Terraform runs, which fails", "", slow("3; exit 1") + `
resource "terraform_data" "last" { depends_on = [terraform_data.slow] }
`, runner.InPart, runner.Partly},
		{"after Terraform", killAfter, data("a", "1"), runner.Completed, runner.Applied},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, map[string]string{"main.tf": c.config})
			plan := p.plan(t, "7").Receipt
			cmd := p.die(t, c.kill, "7", plan.ID)
			if c.kill == "" {
				appears(t, filepath.Join(p.Root, "started"))
				r, set := p.open(t, "7")
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait()
				in, res, err := r.Settle(t.Context(), workspace(t, set, ""), plan.ID)
				if err != nil || in.Fate != runner.StillRunning || res.Status != "" {
					t.Errorf("while Terraform runs: got %s, %s, %v, want that it runs and nothing else", in.Fate, res.Status, err)
				}
			} else {
				_ = cmd.Wait()
			}

			in := p.examine(t, "7", plan.ID)
			if in.Fate != c.fate || in.Reason == "" || in.StateErr != nil {
				t.Fatalf("examined: got %s (%s), %v, want %s", in.Fate, in.Reason, in.StateErr, c.fate)
			}
			if again := p.examine(t, "7", plan.ID); again.Fate != c.fate || len(p.records(t, ".", plan.ID)) != 0 {
				t.Errorf("examined again: got %s, and records %+v: to examine must change nothing", again.Fate, p.records(t, ".", plan.ID))
			}
			back := func() {}
			if in.Left != nil {
				back = p.traces(t)
			}
			// A settling that is killed has recorded nothing, has recorded and
			// not deleted, or has deleted and not forgotten.
			for range 3 {
				res := p.settle(t, "7", plan.ID, c.status)
				if c.status != runner.Applied && !errors.Is(res.Err, runner.ErrInterrupted) {
					t.Errorf("settled: got the error %v, want one that says interrupted", res.Err)
				}
				back()
			}
			p.settle(t, "7", plan.ID, c.status)
			if c.fate == runner.InPart && !strings.Contains(p.settle(t, "7", plan.ID, c.status).Err.Error(), "terraform_data.slow") {
				t.Error("the account does not name what was begun")
			}

			records := p.records(t, ".", plan.ID)
			switch c.fate {
			case runner.NotBegun:
				if len(records) != 0 || p.stored(t) != "7 plan" {
					t.Errorf("got records %+v and stored %q, want none and the plan", records, p.stored(t))
				}
				// What was not begun can be begun.
				p.apply(t, "7", runner.Choice{PlanID: plan.ID}, runner.Applied)
			case runner.Completed:
				if len(records) != 1 || records[0].Partial || records[0].Serial != in.State.Serial || p.stored(t) != "" {
					t.Errorf("got records %+v and stored %q, want one whole record and nothing", records, p.stored(t))
				}
				p.apply(t, "7", runner.Choice{PlanID: plan.ID}, runner.Held)
			case runner.InPart:
				if len(records) != 1 || !records[0].Partial || records[0].Error == "" {
					t.Errorf("got records %+v, want one of a part", records)
				}
				p.apply(t, "7", runner.Choice{PlanID: plan.ID}, runner.Held)
			}
		})
	}
}

func slow(seconds string) string {
	return `
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "touch started; sleep ` + seconds + `" }
}
`
}

// TestRecordedAndNotTidied finds an apply that was recorded, and whose traces
// were not removed any more.
func TestRecordedAndNotTidied(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"main.tf": data("a", "1")})
	plan := p.plan(t, "7").Receipt
	_ = p.die(t, killAfter, "7", plan.ID).Wait()
	back := p.traces(t)
	in := p.examine(t, "7", plan.ID)
	if err := p.store(t).PutApplied(t.Context(), planstore.Applied{Plan: plan, Lineage: in.State.Lineage, Serial: in.State.Serial}); err != nil {
		t.Fatal(err)
	}
	p.settle(t, "7", plan.ID, runner.Applied)
	if got := p.records(t, ".", plan.ID); len(got) != 1 {
		t.Errorf("got %d records, want the one that was there", len(got))
	}
	// The traces alone, as when the plan was deleted and they were not.
	back()
	if got := p.settle(t, "7", plan.ID, runner.Applied); got.Receipt.ID != plan.ID {
		t.Errorf("got the receipt %+v, want that of the record", got.Receipt)
	}
}

// TestAnotherRunSettlesFirst begins a plan in a workspace whose last apply was
// never settled: that is done first, and nothing of it is lost.
func TestAnotherRunSettlesFirst(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"main.tf": data("a", "1")})
	plan := p.plan(t, "7").Receipt
	_ = p.die(t, killAfter, "7", plan.ID).Wait()
	r, set := p.open(t, "8", func(o *runner.Options) { o.Settle = true })
	res := r.Plan(t.Context(), set.Workspaces)[0]
	if res.Status != runner.Unchanged || !strings.Contains(strings.Join(res.Notes, " "), "It completed") {
		t.Errorf("got %s, %v, notes %q, want unchanged and told of the apply", res.Status, res.Err, res.Notes)
	}
	in := p.examine(t, "7", plan.ID)
	if in.Fate != runner.Completed || in.Left != nil || in.Record == nil {
		t.Errorf("got %s (%s), %+v, want completed by its record", in.Fate, in.Reason, in.Left)
	}
}

// TestItsPlanIsGone begins plans in a workspace whose last apply can never be
// recorded: that must not keep anybody from it.
func TestItsPlanIsGone(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"main.tf": data("a", "1")})
	plan := p.plan(t, "7").Receipt
	_ = p.die(t, killAfter, "7", plan.ID).Wait()
	if err := p.store(t).Delete(t.Context(), plan.ID); err != nil {
		t.Fatal(err)
	}
	back := p.traces(t)
	for range 2 {
		r, set := p.open(t, "8", func(o *runner.Options) { o.Settle = true })
		res := r.Plan(t.Context(), set.Workspaces)[0]
		if res.Status != runner.Unchanged || !strings.Contains(strings.Join(res.Notes, " "), "It completed") {
			t.Errorf("got %s, %v, notes %q, want unchanged and told of the apply", res.Status, res.Err, res.Notes)
		}
		back()
	}
	if res := p.settle(t, "7", plan.ID, runner.Applied); res.Err != nil {
		t.Errorf("settled: %v", res.Err)
	}
	if in := p.examine(t, "7", plan.ID); in.Left != nil {
		t.Errorf("the traces are still there: %+v", in.Left)
	}
}

// TestNothingIsKnownHere examines applies of which this machine has no traces.
func TestNothingIsKnownHere(t *testing.T) {
	t.Parallel()
	backend := newStateServer(t)
	p := newPlace(t, map[string]string{"main.tf": backend.config() + data("a", "1")})
	plan := p.plan(t, "7").Receipt
	p.Work = t.TempDir() // Another machine.
	if in := p.examine(t, "7", plan.ID); in.Fate != runner.NotBegun || in.Locked != nil {
		t.Errorf("nothing moved: got %s (%s), want not begun", in.Fate, in.Reason)
	}
	backend.lock(t, "somebody")
	r, set := p.open(t, "7")
	if in, err := r.Examine(t.Context(), workspace(t, set, ""), plan.ID); err != nil || in.Fate != runner.StillRunning || in.Locked == nil {
		t.Errorf("locked: got %s (%s), %v, want that it may be running", in.Fate, in.Reason, err)
	}
	backend.unlock()
	other := p.plan(t, "8").Receipt
	p.apply(t, "8", runner.Choice{PlanID: other.ID}, runner.Applied)
	if in := p.examine(t, "7", plan.ID); in.Fate != runner.Unknown {
		t.Errorf("the state moved: got %s (%s), want unknown", in.Fate, in.Reason)
	}
	if res := p.settle(t, "7", plan.ID, runner.Failed); !errors.Is(res.Err, runner.ErrInterrupted) {
		t.Errorf("got the error %v, want interrupted", res.Err)
	}
	backend.close()
	if in := p.examine(t, "7", plan.ID); in.Fate != runner.Unknown || in.StateErr == nil {
		t.Errorf("the backend is gone: got %s (%s), want unknown, and why", in.Fate, in.Reason)
	}
}

// TestKilledTerraform kills Terraform together with Plumbline, as the end of a
// container does.
func TestKilledTerraform(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"main.tf": `
resource "terraform_data" "first" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "touch started; exec sleep 600" }
}
`})
	plan := p.plan(t, "7").Receipt
	cmd := p.die(t, "", "7", plan.ID)
	appears(t, filepath.Join(p.Root, "started"))
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	r, set := p.open(t, "7")
	in, err := r.Examine(t.Context(), workspace(t, set, ""), plan.ID)
	if err != nil || in.Fate != runner.StillRunning || in.Left.PID == 0 {
		t.Fatalf("got %s, %v, %+v, want that it runs", in.Fate, err, in.Left)
	}
	// Its group: the provisioner goes with it.
	if err := syscall.Kill(-in.Left.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	in = p.examine(t, "7", plan.ID)
	if in.Fate != runner.InPart || strings.Join(in.Left.Done, " ") != "terraform_data.first" || strings.Join(in.Left.Begun, " ") != "terraform_data.slow" {
		t.Errorf("got %s (%s), %+v, want a part", in.Fate, in.Reason, in.Left)
	}
	res := p.settle(t, "7", plan.ID, runner.Partly)
	for _, say := range []string{"Done: terraform_data.first", "Begun and not reported as done: terraform_data.slow"} {
		if !strings.Contains(res.Err.Error(), say) {
			t.Errorf("the account does not say %q:\n%v", say, res.Err)
		}
	}
}

// TestErroredStateIsRescued settles an apply that could not save its state.
func TestErroredStateIsRescued(t *testing.T) {
	t.Parallel()
	backend := newStateServer(t)
	p := newPlace(t, map[string]string{"main.tf": backend.config() + slow("2")})
	plan := p.plan(t, "7").Receipt
	cmd := p.die(t, "", "7", plan.ID)
	appears(t, filepath.Join(p.Root, "started"))
	backend.refuse(true)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	in := p.examine(t, "7", plan.ID)
	if in.Fate != runner.InPart || in.Left.ErroredState == "" {
		t.Fatalf("got %s (%s), %+v, want a part and a state that could not be saved", in.Fate, in.Reason, in.Left)
	}
	res := p.settle(t, "7", plan.ID, runner.Partly)
	kept, err := p.store(t).State(t.Context(), res.Kept)
	if err != nil || !strings.Contains(string(kept), "terraform_data") {
		t.Errorf("the state that was kept: got %q, %v", kept, err)
	}
}
