package engine

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/drift"
)

func historyTellsWhatTurned(t *testing.T, w *rowsWorld) {
	now := w.store.now().UTC().Truncate(time.Millisecond)
	hours := func(n int) time.Time { return now.Add(-time.Duration(n) * time.Hour) }
	two := map[string]int{"outside/node": 1, "data/resource": 1}
	looks := []Look{ // of net, the newest first
		{At: hours(1), State: SweepDrifted, Counts: two},
		{At: hours(2), State: SweepDrifted, Counts: two},
		{At: hours(3), State: SweepClean, Corrected: 1},
		{At: hours(4), State: SweepClean},
		{At: hours(5), State: SweepClean},
		{At: hours(6), State: SweepUnknown},
		{At: hours(24 * 40), State: SweepDrifted, Counts: two},
	}
	w.tx(func(tx *sql.Tx) error {
		for i, s := range []Sweep{
			{Workspace: "net", State: SweepDrifted, Since: hours(2), CheckedAt: hours(1)},
			{Workspace: "calm", State: SweepClean},
			{Workspace: "mended", State: SweepClean},
			{Workspace: "late", State: SweepClean, OverdueAt: hours(1)},
			{Workspace: "dark", State: SweepUnknown},
			{Workspace: "gone", State: SweepDrifted, Gone: true},
			{Workspace: "paused", State: SweepClean, OverdueAt: hours(1)},
		} {
			s.Repository, s.Every = repo, "1h"
			if err := w.store.putSweep(t.Context(), tx, s); err != nil {
				t.Errorf("sweep %d: %v", i, err)
			}
		}
		if err := w.store.putPause(t.Context(), tx, Pause{Repository: repo, Workspace: "paused", Reason: "x", Actor: "ann", At: now}); err != nil {
			return err
		}
		for _, l := range slices.Backward(looks) {
			l.Repository, l.Workspace, l.Run = repo, "net", "r"
			if err := w.store.putLook(t.Context(), tx, l); err != nil {
				return err
			}
		}
		found := FindingRow{Key: "k", Address: "a", Class: drift.ClassNode, Cause: drift.CauseOutside, StoppedAt: now}
		if err := w.store.putFindings(t.Context(), tx, repo, "net", now, []FindingRow{found}); err != nil {
			return err
		}
		if err := w.store.putFindings(t.Context(), tx, repo, "mended", hours(48), []FindingRow{found}); err != nil {
			return err
		}
		return w.store.putFindings(t.Context(), tx, repo, "mended", hours(24), nil)
	})
	var all []DriftHistory
	w.tx(func(tx *sql.Tx) error {
		var more int
		var err error
		all, more, err = w.store.driftHistories(t.Context(), tx, horizon{all: true})
		if more != 0 {
			t.Errorf("%d more, want none", more)
		}
		return err
	})
	var names []string
	for _, h := range all {
		name := h.Workspace
		if h.Overdue {
			name += " overdue"
		}
		names = append(names, name)
	}
	if diff := cmp.Diff([]string{"dark", "net", "late overdue", "mended"}, names); diff != "" {
		t.Fatal(diff)
	}
	net := all[1]
	if net.Fights != 1 || all[3].Fights != 0 || !net.Since.Equal(hours(2)) || !net.CheckedAt.Equal(hours(1)) {
		t.Errorf("the row: %+v", net)
	}
	var turned []time.Time
	for _, l := range net.Turns {
		turned = append(turned, l.At)
	}
	// The hours at which something else was seen than before. What is older than a month is not told.
	if diff := cmp.Diff([]time.Time{hours(2), hours(3), hours(5), hours(6)}, turned); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(two, net.Turns[0].Counts); diff != "" {
		t.Error(diff)
	}
}

func historyGrowsWithChange(t *testing.T, w *rowsWorld) {
	start := w.store.now().UTC().Truncate(time.Millisecond)
	put := func(l Look) {
		w.tx(func(tx *sql.Tx) error { return w.store.putLook(t.Context(), tx, l) })
	}
	look := func(workspace string, hour int, state SweepState, outside int) Look {
		l := Look{Repository: repo, Workspace: workspace, At: start.Add(time.Duration(hour) * time.Hour), Run: fmt.Sprint("r", hour), State: state}
		if outside > 0 {
			l.Counts = map[string]int{"outside/node": outside}
		}
		return l
	}
	wants := func(when string, got []Look, want ...Look) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	all := func() (of []Look) {
		w.tx(func(tx *sql.Tx) (err error) {
			of, err = w.store.newestLooks(t.Context(), tx, repo, "net", time.Time{}, mostLooks+1)
			return err
		})
		return of
	}

	put(look("net", 0, SweepNever, 0)) // it has gone before anybody looked
	clean, two, one := look("net", 1, SweepClean, 0), look("net", 3, SweepDrifted, 2), look("net", 5, SweepDrifted, 1)
	corrected := look("net", 6, SweepClean, 0)
	corrected.Corrected = 1
	for _, l := range []Look{clean, look("net", 2, SweepClean, 0), two, look("net", 4, SweepDrifted, 2), one, corrected, look("net", 7, SweepClean, 0)} {
		put(l)
	}
	wants("in order", all(), corrected, one, two, clean)

	back := look("net", 0, SweepNever, 0) // the clock was set back
	put(back)
	back.At = corrected.At.Add(time.Millisecond)
	wants("after the clock went back", all()[:2], back, corrected)

	w.tx(func(tx *sql.Tx) error {
		for i := range mostLooks { // each look is another than the one before
			if err := w.store.putLook(t.Context(), tx, look("net", 10+i, SweepDrifted, 1+i%2)); err != nil {
				return err
			}
		}
		return nil
	})
	of := all()
	if len(of) != mostLooks || of[len(of)-1].Run != "r10" {
		t.Errorf("%d looks are kept, want the newest %d", len(of), mostLooks)
	}
}
