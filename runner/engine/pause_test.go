package engine

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
)

// pauseStopsLooks says stop from outside of the server, for one workspace and for all, and has a workspace looked at.
func pauseStopsLooks(t *testing.T, o database.Options) {
	w := newWatch(t, o, nil)
	w.branch("a", "b", "c off")
	c := NewDriftControl(w.e.DB, w.e.Audit)
	c.store = w.store // with the clock of the test
	pause := func(p Pause) {
		t.Helper()
		p.Actor, p.Reason = "ann", "an incident"
		if err := c.Pause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(3 * time.Hour)
	pause(Pause{Repository: repo, Workspace: "a", Until: w.e.Now().Add(2 * time.Hour)})
	if got := w.tick(); got != "b" {
		t.Errorf("with a paused, %q are looked at", got)
	}
	b := w.begin("b")
	pause(Pause{})
	if got := text(t, w.e, "SELECT workspace FROM run WHERE cancel = 1"); got != "b" {
		t.Errorf("asked to stop are %q, want b", got)
	}
	w.tx(func(tx *sql.Tx) error {
		_, err := w.store.stepRun(t.Context(), tx, b, Superseded)
		return errors.Join(err, w.e.settle(t.Context(), tx, b.Operation))
	})
	if got := w.tick(); got != "" {
		t.Errorf("with all paused, %q are looked at", got)
	}
	status := func() DriftStatus {
		s, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	found, err := status().Find("acme/live", "c")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ask(t.Context(), "bob", found); !errors.Is(err, errPaused) || !strings.Contains(err.Error(), "an incident") {
		t.Errorf("a look that is asked for in a pause: %v", err)
	}
	s := status()
	if len(s.Pauses) != 2 || s.Paused(s.Sweeps[1]) == nil || s.Overdue(s.Sweeps[1]) {
		t.Errorf("while all is paused: %+v", s)
	}
	w.tx(func(tx *sql.Tx) error {
		l, err := w.store.driftLevels(t.Context(), tx)
		if l.Paused != 3 || l.Overdue != 0 || l.Workspaces["never"] != 2 {
			t.Errorf("levels while all is paused: %+v", l)
		}
		return err
	})

	for _, want := range []bool{true, false} {
		if ended, err := c.Resume(t.Context(), Pause{Actor: "ann"}); err != nil || ended != want {
			t.Errorf("resumed: %v, %v; want %v", ended, err, want)
		}
	}
	if s := status(); s.Paused(s.Sweeps[1]) != nil || !s.Overdue(s.Sweeps[1]) || s.Overdue(s.Sweeps[0]) {
		t.Errorf("after all was resumed: %+v", s)
	}
	if err := c.Ask(t.Context(), "bob", found); err != nil {
		t.Fatal(err)
	}
	if got := w.tick(); got != "b c" { // the one is off, and was asked for
		t.Errorf("%q are looked at, want b and c", got)
	}
	if op := w.operation(w.sweep("c").Operation); op.Cause != CauseCommand || op.Actor != "bob" {
		t.Errorf("the look that was asked for is %+v", op)
	}
	w.saw(w.begin("c"), SweepDrifted, "")
	if c := w.sweep("c"); !c.NextAt.IsZero() || !c.AskedAt.IsZero() {
		t.Errorf("what is off is due: %+v", c)
	}
	w.saw(w.begin("b"), SweepClean, "")
	w.pass(2*time.Hour + time.Second)
	if got := w.tick(); got != "a b" {
		t.Errorf("when the pause of a is over, %q are looked at", got)
	}

	var actions []string
	err = w.e.DB.Read(t.Context(), func(tx *sql.Tx) error {
		entries, err := w.e.Audit.List(t.Context(), tx, audit.Filter{Limit: 100})
		for _, e := range entries {
			actions = append(actions, e.Action+" "+e.Actor+" "+e.Repository+" "+e.Workspace)
		}
		return err
	})
	if want := "drift-look bob acme/live c; drift-resume ann  ; drift-pause ann  ; drift-pause ann acme/live a"; err != nil || strings.Join(actions, "; ") != want {
		t.Errorf("the audit log has %q (%v), want %q", strings.Join(actions, "; "), err, want)
	}
	for text, want := range map[[2]string]string{
		{"", "nowhere"}: "no workspace nowhere", {"acme/other", "a"}: "no workspace a of acme/other",
	} {
		if _, err := status().Find(text[0], text[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if id, err := status().Repository("acme/live"); id != repo || err != nil {
		t.Errorf("acme/live is %s, %v", id, err)
	}
}

func driftIsCounted(t *testing.T, w *rowsWorld) {
	now := w.store.now().UTC()
	w.tx(func(tx *sql.Tx) error {
		var errs []error
		for name, s := range map[string]Sweep{
			"a": {State: SweepDrifted, NextAt: now, OverdueAt: now.Add(-time.Minute)}, "b": {State: SweepClean, NextAt: now, OverdueAt: now.Add(time.Minute)},
			"c": {State: SweepNever, Every: "off"}, "d": {State: SweepDrifted, Gone: true, OverdueAt: now.Add(-time.Minute)},
		} {
			s.Repository, s.Workspace = repo, name
			errs = append(errs, w.store.putSweep(t.Context(), tx, s))
		}
		found := func(cause drift.Cause, class drift.Class, key string) FindingRow {
			return FindingRow{Key: key, Address: key, Cause: cause, Class: class}
		}
		errs = append(errs, w.store.putFindings(t.Context(), tx, repo, "a", now, []FindingRow{
			found(drift.CauseOutside, drift.ClassNode, "1"), found(drift.CauseOutside, drift.ClassNode, "2"), found(drift.CauseData, drift.ClassResource, "3"),
		}))
		d, err := w.store.driftSummary(t.Context(), tx, horizon{all: true})
		if err != nil || d.Findings != 3 || d.Overdue != 1 || d.States[SweepDrifted] != 1 || d.States[SweepClean] != 1 || d.States[SweepNever] != 0 {
			t.Errorf("summary: %+v, %v", d, err)
		}
		l, err := w.store.levels(t.Context(), tx)
		if err != nil || len(l.Drift.Findings) != 2 || l.Drift.Workspaces["unknown"] != 0 || l.Drift.Overdue != 1 {
			t.Errorf("levels: %+v, %v", l.Drift, err)
		}
		for _, f := range l.Drift.Findings {
			if f == (telemetry.DriftFindings{Cause: "outside", Class: "node", Number: 1}) {
				t.Errorf("levels: %+v", l.Drift)
			}
		}
		return errors.Join(errs...)
	})
}
