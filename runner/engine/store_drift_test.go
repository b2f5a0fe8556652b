package engine

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/planstore"
)

func sweepComesBackAsItWasKept(t *testing.T, w *rowsWorld) {
	now := w.store.now().UTC()
	want := Sweep{Repository: repo, Workspace: "net", Account: "prod", Every: "1h", Gone: true, KnownAt: now, NextAt: now.Add(1), AskedAt: now.Add(time.Second), AskedBy: "ann",
		Operation: "op", StartedAt: now.Add(2 * time.Second), CheckedAt: now.Add(3 * time.Second), State: SweepUnknown, Since: now.Add(4 * time.Second), Failures: 3,
		Problem: []byte("sealed"), OverdueAt: now.Add(5 * time.Second), OverdueToldAt: now.Add(6 * time.Second)}
	want.NextAt = want.NextAt.Truncate(time.Millisecond)
	var got Sweep
	w.tx(func(tx *sql.Tx) error {
		for _, s := range []Sweep{{Repository: repo, Workspace: "net", State: SweepNever}, want} { // the second overwrites all of the first
			if err := w.store.putSweep(t.Context(), tx, s); err != nil {
				return err
			}
		}
		all, err := w.store.sweeps(t.Context(), tx, "")
		if err != nil {
			return err
		}
		if len(all) != 1 {
			t.Errorf("%d sweeps, want 1", len(all))
		}
		got, _, err = w.store.sweep(t.Context(), tx, repo, "net")
		return err
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func findingsComeAndGo(t *testing.T, w *rowsWorld) {
	look := func(found ...FindingRow) []FindingRow {
		t.Helper()
		w.pass(time.Hour)
		var all []FindingRow
		w.tx(func(tx *sql.Tx) (err error) {
			if err := w.store.putFindings(t.Context(), tx, repo, "net", w.store.now(), found); err != nil {
				return err
			}
			all, err = w.store.findings(t.Context(), tx, repo, "net", w.store.now().Add(-90*time.Minute))
			return err
		})
		return all
	}
	a := FindingRow{Key: "k1", Address: "a", Class: drift.ClassResource, Cause: drift.CauseOutside, Detail: []byte("x")}
	b := FindingRow{Key: "k2", Address: "b", Class: drift.ClassNode, Cause: drift.CausePerpetual, Noise: true}
	start := w.store.now().UTC()
	all := look(a, b)
	if len(all) != 2 || all[0].FirstSeen != start.Add(time.Hour) || !all[1].Noise || string(all[0].Detail) != "x" {
		t.Fatalf("after the first look: %+v", all)
	}
	all = look(a) // b has gone
	if all[0].FirstSeen != start.Add(time.Hour) || all[0].LastSeen != start.Add(2*time.Hour) || !all[0].GoneAt.IsZero() || all[1].GoneAt != start.Add(2*time.Hour) {
		t.Fatalf("after the second: %+v", all)
	}
	corrected := a
	corrected.CorrectedAt = start.Add(3 * time.Hour)
	all = look(corrected, b) // a is corrected, and b is back
	if all[0].GoneAt != start.Add(3*time.Hour) || all[0].Corrections != 1 || all[1].FirstSeen != start.Add(3*time.Hour) || !all[1].GoneAt.IsZero() {
		t.Fatalf("after the third: %+v", all)
	}
	all = look(a)
	if !all[0].GoneAt.IsZero() || all[0].Corrections != 1 || all[0].CorrectedAt != start.Add(3*time.Hour) || all[0].FirstSeen != start.Add(4*time.Hour) {
		t.Fatalf("what was corrected is back: %+v", all)
	}

	w.tx(func(tx *sql.Tx) error {
		for i := range 3 {
			c := CorrectionRow{Repository: repo, Workspace: "net", Key: "k1", Address: "a", Run: "r", At: start.Add(time.Duration(i) * time.Hour)}
			if err := w.store.addCorrection(t.Context(), tx, c); err != nil {
				return err
			}
		}
		counts, err := w.store.corrections(t.Context(), tx, repo, "net", start.Add(time.Hour))
		if counts["k1"] != 2 {
			t.Errorf("corrections since: %v, want 2 of k1", counts)
		}
		return err
	})
}

func pauseHoldsWhereItSays(t *testing.T, w *rowsWorld) {
	now := w.store.now().UTC()
	put := func(p Pause) {
		w.tx(func(tx *sql.Tx) error { return w.store.putPause(t.Context(), tx, p) })
	}
	holds := func(repo RepoID, workspace string) string {
		t.Helper()
		reason := ""
		w.tx(func(tx *sql.Tx) error {
			p, ok, err := w.store.paused(t.Context(), tx, repo, workspace)
			if ok {
				reason = p.Reason
			}
			return err
		})
		return reason
	}
	put(Pause{Repository: repo, Workspace: "a b", Reason: "one", Actor: "ann", At: now})
	put(Pause{Repository: "gh/acme/other", Reason: "repository", Actor: "ann", At: now, Until: now.Add(time.Hour)})
	for _, c := range []struct {
		repo            RepoID
		workspace, want string
	}{{repo, "a b", "one"}, {repo, "a", ""}, {"gh/acme/other", "a b", "repository"}, {"gh/acme/others", "a b", ""}} {
		if got := holds(c.repo, c.workspace); got != c.want {
			t.Errorf("%s %q is paused for %q, want %q", c.repo, c.workspace, got, c.want)
		}
	}
	put(Pause{Reason: "all", Actor: "ann", At: now})
	if got := holds(repo, "a b"); got != "all" {
		t.Errorf("the widest pause is said to be %q", got)
	}
	w.pass(2 * time.Hour)
	w.tx(func(tx *sql.Tx) error {
		ended, err := w.store.endPause(t.Context(), tx, "")
		if !ended {
			t.Error("the pause of all was not there")
		}
		over, err2 := w.store.endPause(t.Context(), tx, "gh/acme/other")
		if over {
			t.Error("a pause whose time is over counts as one that held")
		}
		left, err3 := w.store.pauses(t.Context(), tx)
		if len(left) != 1 || left[0].Repository != repo || left[0].Workspace != "a b" {
			t.Errorf("pauses that are left: %+v", left)
		}
		return errors.Join(err, err2, err3)
	})
	if got := holds("gh/acme/other", "x"); got != "" {
		t.Errorf("a pause that is over still holds: %q", got)
	}
}

// lookGivesWayToApplies holds that a look is not begun while an apply of its workspace runs or is about to, that it keeps
// no apply from beginning, and that it corrects only where no apply is in sight and nobody has said stop.
func lookGivesWayToApplies(t *testing.T, w *rowsWorld) {
	look, _ := w.add(KindDrift, 0, "a")
	apply, _ := w.add(KindApply, 1, "a")
	if _, ok := w.tryClaim(w.find(look, "a").ID, "p"); ok {
		t.Fatal("a look begins though an apply is queued")
	}
	a := w.claim(apply, "a", "p")
	if _, ok := w.tryClaim(w.find(look, "a").ID, "p"); ok {
		t.Fatal("a look begins though an apply runs")
	}
	w.end(a, Applied)
	l := w.claim(look, "a", "p")
	if l.Writes {
		t.Error("a look writes before it corrects")
	}
	correct := func() error {
		return w.db.Tx(t.Context(), func(tx *sql.Tx) error {
			return w.store.beginCorrection(t.Context(), tx, l, planstore.Plan{ID: "plan", Fingerprint: "f"})
		})
	}
	second, _ := w.add(KindApply, 2, "a")
	if err := correct(); !errors.Is(err, errYields) {
		t.Errorf("a correction goes before an apply that waits: %v", err)
	}
	a = w.claim(second, "a", "p") // the look keeps it from nothing
	if err := correct(); !errors.Is(err, errYields) {
		t.Errorf("a correction begins beside an apply: %v", err)
	}
	w.end(a, Applied)
	w.tx(func(tx *sql.Tx) error {
		return w.store.putPause(t.Context(), tx, Pause{Repository: repo, Reason: "an incident", Actor: "ann"})
	})
	if err := correct(); !errors.Is(err, errPaused) {
		t.Errorf("a correction begins in a pause: %v", err)
	}
	w.tx(func(tx *sql.Tx) error { _, err := w.store.endPause(t.Context(), tx, string(repo)); return err })
	if err := correct(); err != nil {
		t.Fatal(err)
	}
	if r := w.find(look, "a"); !r.Writes || r.Phase != PhaseApplying || r.Plan != "plan" {
		t.Errorf("a run that corrects is kept as %+v", r)
	}
	third, _ := w.add(KindApply, 3, "a")
	if _, ok := w.tryClaim(w.find(third, "a").ID, "p"); ok {
		t.Error("an apply begins beside a correction")
	}
	w.end(l, Unchanged)
	w.claim(third, "a", "p")
}

func oneWriterIsAConstraint(t *testing.T, w *rowsWorld) {
	apply, _ := w.add(KindApply, 1, "a")
	look, _ := w.add(KindDrift, 0, "a")
	w.claim(apply, "a", "p")
	err := w.db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE run SET status = 'running', writes = 1 WHERE operation = $1", look.ID)
		return err
	})
	if err == nil {
		t.Error("the database takes a correction beside a running apply of its workspace")
	}
}
