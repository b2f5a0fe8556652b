package runner_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// twoFiles is a workspace of two files on this machine.
func twoFiles(dir, one, two string) string {
	file := func(name, text string) string {
		return `
resource "local_file" "` + name + `" {
  filename = "` + filepath.Join(dir, name) + `"
  content  = "` + text + `"
}
`
	}
	return file("one", one) + file("two", two)
}

// applied is a place where two files were applied, and where they lie.
func applied(t *testing.T) (p *place, dir string) {
	t.Helper()
	dir = t.TempDir()
	p = newPlace(t, map[string]string{"main.tf": twoFiles(dir, "1", "2")})
	p.Config = parts.MirrorConfig(t, parts.Mirror(t))
	p.apply(t, "7", runner.Choice{PlanID: p.plan(t, "7").Receipt.ID}, runner.Applied)
	return p, dir
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// told lists findings as ADDRESS CAUSE, with a + where they may be corrected.
func told(v drift.Verdict) string {
	var lines []string
	for _, j := range v.Findings {
		line := j.Address + " " + string(j.Cause)
		if j.Allowed {
			line += " +"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, ", ")
}

// TestDriftAtTwoCommits: Git has moved on without an apply, and something was changed outside. Only the second is corrected,
// at the files that were applied, and the first is told apart.
func TestDriftAtTwoCommits(t *testing.T) {
	t.Parallel()
	p, dir := applied(t)
	if err := os.Remove(filepath.Join(dir, "one")); err != nil {
		t.Fatal(err)
	}
	before := content(t, filepath.Join(p.Root, "main.tf"))
	p.write(t, "main.tf", twoFiles(dir, "one", "two"))
	head, set := p.open(t, "7")
	if same, known, err := head.AsApplied(t.Context(), workspace(t, set, "")); err != nil || same || !known {
		t.Fatalf("the newer files are as applied: %v, known: %v, %v", same, known, err)
	}
	newer, err := head.Look(t.Context(), workspace(t, set, ""), runner.DriftOptions{})
	if err != nil {
		t.Fatal(err)
	}

	p.write(t, "main.tf", before)
	r, set := p.open(t, "7")
	w := workspace(t, set, "")
	if same, known, err := r.AsApplied(t.Context(), w); err != nil || !same || !known {
		t.Fatalf("the older files are as applied: %v, known: %v, %v", same, known, err)
	}
	ladder := drift.All
	o := runner.DriftOptions{Correct: true, AtMost: &ladder, Newer: newer, NewerCommit: "0123456789abcdef"}
	res := r.Drift(t.Context(), set.Workspaces, o)[0]
	if res.Err != nil || res.Status != runner.Drifted || res.Drift.Refused != nil {
		t.Fatalf("got %s, %v, refused: %v", res.Status, res.Err, res.Drift)
	}
	want := "local_file.one outside +, local_file.one unapplied, local_file.two unapplied"
	if got := told(res.Drift.Verdict); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	want = "local_file.one unapplied, local_file.two unapplied"
	if got := told(res.Drift.Left); got != want {
		t.Errorf("left is %q, want %q", got, want)
	}
	if one, two := content(t, filepath.Join(dir, "one")), content(t, filepath.Join(dir, "two")); one != "1" || two != "2" {
		t.Errorf("the files hold %q and %q, want what was applied", one, two)
	}
	last, err := p.store(t).LastApplied(t.Context(), ".")
	if err != nil || last.Correction == "" || last.Partial {
		t.Errorf("the record is %+v, %v, want that of the apply with the correction in it", last, err)
	}
}

// TestRefusedAtTheLastMoment: what Before says right before Terraform is started is a refusal and no failure.
func TestRefusedAtTheLastMoment(t *testing.T) {
	t.Parallel()
	p, dir := applied(t)
	if err := os.Remove(filepath.Join(dir, "one")); err != nil {
		t.Fatal(err)
	}
	r, set := p.open(t, "7", func(o *runner.Options) {
		o.Before = func(context.Context, *workspaces.Workspace, planstore.Plan) error {
			return &runner.NotNowError{Why: "corrections were paused"}
		}
	})
	ladder := drift.All
	res := r.Drift(t.Context(), set.Workspaces, runner.DriftOptions{Correct: true, AtMost: &ladder})[0]
	if res.Err != nil || res.Status != runner.Drifted || res.Drift.Refused == nil || res.Drift.Remaining != 1 {
		t.Fatalf("got %s, %v, %+v, want it drifted and the refusal told", res.Status, res.Err, res.Drift)
	}
	if got := content(t, filepath.Join(dir, "one")); got != "" || strings.Contains(p.stored(t), "correction") {
		t.Errorf("the file holds %q, and stored is %q: want nothing done and no plan left", got, p.stored(t))
	}
}

// TestKilledInACorrection: what became of a correction whose Plumbline was killed is found out, its record is that of the
// apply before with the state as it now is, and drift is measured against that.
func TestKilledInACorrection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kill string
		fate runner.Fate
		file string
	}{
		{killBefore, runner.NotBegun, ""},
		{killAfter, runner.Completed, "1"},
	} {
		t.Run(c.kill, func(t *testing.T) {
			t.Parallel()
			p, dir := applied(t)
			before, err := p.store(t).LastApplied(t.Context(), ".")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "one")); err != nil {
				t.Fatal(err)
			}
			p.Correct = true
			_ = p.die(t, c.kill, "7", "").Wait()
			var plan string
			all, err := p.store(t).List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, stored := range all {
				if stored.Purpose == planstore.PurposeCorrection {
					plan = stored.ID
				}
			}
			if plan == "" {
				t.Fatalf("no correction is in the store: %q", p.stored(t))
			}
			for range 2 {
				r, set := p.open(t, "7")
				in, _, err := r.Settle(t.Context(), workspace(t, set, ""), plan)
				if err != nil || in.Fate != c.fate {
					t.Fatalf("settled: got %s (%s), %v, want %s", in.Fate, in.Reason, err, c.fate)
				}
				if c.fate == runner.NotBegun {
					break // nothing remembers it then, nor has to
				}
			}
			last, err := p.store(t).LastApplied(t.Context(), ".")
			if err != nil || last.Plan.ID != before.Plan.ID || last.Partial || len(last.Plan.Targets) > 0 {
				t.Fatalf("the record is %+v, %v, want that of the apply", last, err)
			}
			if c.fate == runner.Completed && last.Correction != plan {
				t.Errorf("the record is %+v, want the correction in it", last)
			}
			if strings.Contains(p.stored(t), "correction") {
				t.Errorf("the plan of the correction is still there: %q", p.stored(t))
			}
			if got := content(t, filepath.Join(dir, "one")); got != c.file {
				t.Errorf("the file holds %q, want %q", got, c.file)
			}
			r, set := p.open(t, "7")
			ladder := drift.All
			res := r.Drift(t.Context(), set.Workspaces, runner.DriftOptions{Correct: true, AtMost: &ladder})[0]
			if res.Status != runner.Unchanged || content(t, filepath.Join(dir, "one")) != "1" {
				t.Errorf("the sweep after that: got %s, %v, want it clean", res.Status, res.Err)
			}
		})
	}
}
