//go:build postgres

package engine

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/planstore"
)

// On SQLite one transaction writes at a time. These are what PostgreSQL does at the same time.

// watches are several servers on one database, on one clock.
type watches []*watch

func newWatches(t *testing.T, n int) (all watches) {
	t.Helper()
	o, plans := suiteOptions(t), t.TempDir()
	for range n {
		w := newWatch(t, o, func(o *Options) { o.Parallel = 100 })
		w.e.Notify = []*notify.Target{{Name: "ops"}}
		w.e.Plans = func(repository string) (*planstore.Store, error) {
			return planstore.Open(t.Context(), planstore.Options{Location: plans, KeyFile: filepath.Join(plans, "key"), Repository: repository})
		}
		all = append(all, w)
	}
	return all
}

func (all watches) pass(d time.Duration) {
	for _, w := range all {
		w.passed.Add(int64(d))
	}
}

// atOnce does several things at the same time.
func atOnce(t *testing.T, all ...func() error) {
	t.Helper()
	var group sync.WaitGroup
	start := make(chan struct{})
	for _, do := range all {
		group.Go(func() {
			<-start
			if err := do(); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	group.Wait()
}

func TestOverdueIsToldOnceBySeveral(t *testing.T) {
	t.Parallel()
	all := newWatches(t, 3)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("w%02d", i))
	}
	all[0].branch(names...)
	all.pass(3 * time.Hour)
	var tell []func() error
	for _, w := range all {
		tell = append(tell, func() error { return w.e.tellOverdue(t.Context()) })
	}
	atOnce(t, tell...)
	if got := text(t, all[0].e, "SELECT CAST(COUNT(*) AS TEXT) || ' of ' || CAST(COUNT(DISTINCT workspace) AS TEXT) FROM outbox"); got != "20 of 20" {
		t.Errorf("people are told %s workspaces, want 20 of 20", got)
	}
}

// between does something in a transaction, and begins something else before that one is committed, which waits for it.
func (w *watch) between(fn func(tx *sql.Tx) error, other func() error) {
	w.Helper()
	var group sync.WaitGroup
	w.tx(func(tx *sql.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		group.Go(func() {
			if err := other(); err != nil {
				w.Error(err)
			}
		})
		eventually(w.T, "the other one waits", func() bool {
			return text(w.T, w.e, "SELECT CAST(COUNT(*) AS TEXT) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") != "0"
		})
		return nil
	})
	group.Wait()
}

func TestAskedWhileALookEnds(t *testing.T) {
	t.Parallel()
	all := newWatches(t, 2)
	one, two := all[0], all[1]
	one.branch("a 1h")
	all.pass(2 * time.Hour)
	one.tick()
	r := one.begin("a")
	two.between(func(tx *sql.Tx) error {
		_, err := two.store.askLook(t.Context(), tx, repo, "a", "ann")
		return err
	}, func() error {
		one.saw(r, SweepClean, "")
		return nil
	})
	if a := one.sweep("a"); a.State != SweepClean || a.AskedAt.IsZero() || a.AskedBy != "ann" {
		t.Fatalf("nobody knows any more that a look was asked for: %+v", a)
	}
}

func TestPausedWhileLooksBegin(t *testing.T) {
	t.Parallel()
	all := newWatches(t, 2)
	one, two := all[0], all[1]
	one.branch("a 1h", "b 1h", "c 1h", "d 1h")
	for round := range 15 {
		all.pass(2 * time.Hour)
		atOnce(t, func() error { return one.e.driftTick(t.Context()) }, func() error {
			time.Sleep(time.Duration(round) * time.Millisecond / 2) // to hit different moments; the outcome does not depend on it
			return NewDriftControl(two.db, two.e.Audit).Pause(t.Context(), Pause{Actor: "ann", Reason: "stop"})
		})
		if looking := one.looking(); looking != "" {
			t.Fatalf("round %d: %q are looked at though it is paused", round, looking)
		}
		one.tx(func(tx *sql.Tx) error {
			_, err := one.store.endPause(t.Context(), tx, "")
			return err
		})
	}
}

// TestLostLookIsForgottenOnce has one server free a workspace whose look was lost and begin another one, while a second
// server frees it too.
func TestLostLookIsForgottenOnce(t *testing.T) {
	t.Parallel()
	all := newWatches(t, 2)
	one, two := all[0], all[1]
	one.branch("a 1h")
	all.pass(2 * time.Hour)
	one.tick()
	exec(t, one.e, "UPDATE run SET status = 'superseded', ended_at = 1")
	exec(t, one.e, "UPDATE operation SET status = 'superseded', ended_at = 1")
	all.pass(2 * time.Hour)
	one.between(func(tx *sql.Tx) error {
		if err := one.store.forgetLooks(t.Context(), tx); err != nil {
			return err
		}
		looks, err := one.store.dueLooks(t.Context(), tx, 1)
		if err != nil || len(looks) != 1 {
			return fmt.Errorf("%d looks are due: %w", len(looks), err)
		}
		return one.e.beginLook(t.Context(), tx, looks[0])
	}, func() error {
		return two.e.DB.Tx(t.Context(), func(tx *sql.Tx) error { return two.store.forgetLooks(t.Context(), tx) })
	})
	if a := one.sweep("a"); a.Operation == "" {
		t.Error("the look that has just begun is forgotten")
	}
	if looking := two.tick(); looking != "a" {
		t.Errorf("%q are looked at, want one look at a", looking)
	}
}
