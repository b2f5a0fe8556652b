package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/planstore"
)

// add keeps an operation with a run for each workspace, given as "name" or "name: need need / around around".
func (w *rowsWorld) add(kind Kind, change int, workspaces ...string) (Operation, []Run) {
	w.Helper()
	var runs []Run
	for i, text := range workspaces {
		name, rest, _ := strings.Cut(text, ":")
		needs, around, _ := strings.Cut(rest, "/")
		runs = append(runs, Run{Workspace: name, Dir: name, Position: i, Needs: strings.Fields(needs), Around: append(strings.Fields(around), name)})
	}
	var o Operation
	w.tx(func(tx *sql.Tx) (err error) {
		o, runs, err = w.store.addOperation(w.Context(), tx, Operation{Repository: repo, Change: change, Kind: kind, Cause: CausePushed, Branch: "main"}, slices.Clone(runs))
		if err == nil {
			_, err = w.store.settle(w.Context(), tx, o.ID)
		}
		return err
	})
	return o, runs
}

// claim claims a workspace's run, which must be possible.
func (w *rowsWorld) claim(o Operation, workspace, owner string) Run {
	w.Helper()
	r, ok := w.tryClaim(w.find(o, workspace).ID, owner)
	if !ok {
		w.Fatalf("the run of %s cannot be claimed: %s", workspace, w.statuses(o))
	}
	return r
}

func (w *rowsWorld) tryClaim(id, owner string) (Run, bool) {
	w.Helper()
	var r Run
	var ok bool
	w.tx(func(tx *sql.Tx) (err error) {
		r, ok, err = w.store.claimRun(w.Context(), tx, id, owner)
		return err
	})
	return r, ok
}

// end takes a run to its end and settles what follows.
func (w *rowsWorld) end(r Run, to Status) settled {
	w.Helper()
	var s settled
	w.tx(func(tx *sql.Tx) error {
		_, err := w.store.stepRun(w.Context(), tx, r, to)
		if err == nil {
			s, err = w.store.settle(w.Context(), tx, r.Operation)
		}
		return err
	})
	return s
}

func (w *rowsWorld) find(o Operation, workspace string) Run {
	w.Helper()
	for _, r := range w.runs(o) {
		if r.Workspace == workspace {
			return r
		}
	}
	w.Fatalf("no run of %s", workspace)
	return Run{}
}

func (w *rowsWorld) runs(o Operation) (runs []Run) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		runs, err = w.store.runsOf(w.Context(), tx, o.ID)
		return err
	})
	return runs
}

func (w *rowsWorld) operation(id string) (o Operation) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		o, _, err = w.store.operation(w.Context(), tx, id)
		return err
	})
	return o
}

// statuses is how the runs of an operation stand: "a queued, b waiting".
func (w *rowsWorld) statuses(o Operation) string {
	w.Helper()
	var all []string
	for _, r := range w.runs(o) {
		all = append(all, r.Workspace+" "+string(r.Status))
	}
	return strings.Join(all, ", ")
}

func (w *rowsWorld) want(o Operation, want string) {
	w.Helper()
	if got := w.statuses(o); got != want {
		w.Errorf("runs are %q, want %q", got, want)
	}
}

func oneApplyOfAWorkspaceAtATime(t *testing.T, w *rowsWorld) {
	// Of two kinds that do not wait for one another in the order of the branch.
	apply, _ := w.add(KindApply, 1, "a")
	unlock, _ := w.add(KindUnlock, 1, "a")
	plan, _ := w.add(KindPlan, 1, "a")
	ids := []string{w.find(apply, "a").ID, w.find(unlock, "a").ID}
	won := w.atOnce(16, func(ctx context.Context, i int) (ok bool, err error) {
		err = w.db.Tx(ctx, func(tx *sql.Tx) (err error) {
			_, ok, err = w.store.claimRun(ctx, tx, ids[i%2], fmt.Sprint("process", i%3))
			return err
		})
		return ok, err
	})
	if won != 1 {
		t.Fatalf("%d applies of one workspace run at once", won)
	}
	if _, ok := w.tryClaim(w.find(plan, "a").ID, "p"); !ok {
		t.Error("a plan has to wait for an apply, though it takes no lock")
	}
	for _, o := range []Operation{apply, unlock} {
		if r := w.find(o, "a"); r.Status == Running {
			w.end(r, Failed)
		}
	}
	if _, ok := w.tryClaim(ids[0], "p"); !ok {
		if _, ok := w.tryClaim(ids[1], "p"); !ok {
			t.Error("after the first has ended, the second cannot be claimed")
		}
	}
}

func oneApplyIsAConstraint(t *testing.T, w *rowsWorld) {
	one, _ := w.add(KindApply, 1, "a")
	two, _ := w.add(KindApply, 2, "a")
	w.claim(one, "a", "p")
	err := w.db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE run SET status = 'running' WHERE operation = $1", two.ID)
		return err
	})
	if err == nil {
		t.Error("the database takes a second running apply of a workspace")
	}
}

func runIsClaimedOnce(t *testing.T, w *rowsWorld) {
	o, runs := w.add(KindPlan, 1, "a", "b", "c", "d")
	claimed := w.atOnce(16, func(ctx context.Context, i int) (ok bool, err error) {
		err = w.db.Tx(ctx, func(tx *sql.Tx) (err error) {
			_, ok, err = w.store.claimRun(ctx, tx, runs[i%4].ID, fmt.Sprint("p", i))
			return err
		})
		return ok, err
	})
	if claimed != 4 {
		t.Errorf("4 runs were claimed %d times: %s", claimed, w.statuses(o))
	}
}

func stepsOutsideTheTableAreRefused(t *testing.T, w *rowsWorld) {
	o, _ := w.add(KindPlan, 1, "a")
	all := []Status{Waiting, Queued, Running, Planned, Unchanged, Applied, Partly, Held, Skipped, Failed, Interrupted, Removed, Superseded, Released, Drifted}
	r := w.find(o, "a")
	for _, from := range all {
		for _, to := range all {
			w.tx(func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), "UPDATE run SET status = $1", string(from))
				return err
			})
			r.Status = from
			err := w.db.Tx(t.Context(), func(tx *sql.Tx) error { _, err := w.store.stepRun(t.Context(), tx, r, to); return err })
			if allowed := slices.Contains(transitions[from], to); (err == nil) != allowed {
				t.Errorf("from %s to %s: %v, want it allowed: %v", from, to, err, allowed)
			}
			want := from
			if err == nil {
				want = to
			}
			w.want(o, "a "+string(want))
		}
	}
}

func stepOfAnotherOwnerIsRefused(t *testing.T, w *rowsWorld) {
	o, _ := w.add(KindApply, 1, "a")
	r := w.claim(o, "a", "frozen")
	taken := r
	taken.Owner = "other"
	w.tx(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE run SET owner = $1 WHERE id = $2", taken.Owner, r.ID)
		return err
	})
	for what, step := range map[string]func(tx *sql.Tx) error{
		"an apply": func(tx *sql.Tx) error {
			return w.store.beginApply(t.Context(), tx, r.ID, r.Owner, planstore.Plan{ID: "plan"})
		},
		"a step": func(tx *sql.Tx) error { _, err := w.store.stepRun(t.Context(), tx, r, Applied); return err },
	} {
		if err := w.db.Tx(t.Context(), step); !errors.Is(err, errTaken) {
			t.Errorf("%s of the former owner says %v, want errTaken", what, err)
		}
	}
	w.end(taken, Interrupted)
	w.want(o, "a interrupted")
}

func runsWaitForTheirNeeds(t *testing.T, w *rowsWorld) {
	o, _ := w.add(KindApply, 1, "net", "db: net", "app: db", "dns: net", "alone: elsewhere")
	w.want(o, "net queued, db waiting, app waiting, dns waiting, alone queued")
	s := w.end(w.claim(o, "net", "p"), Applied)
	if len(s.Queued) != 2 || len(s.Operations) != 0 {
		t.Errorf("after net: %+v", s)
	}
	w.want(o, "net applied, db queued, app waiting, dns queued, alone queued")
	s = w.end(w.claim(o, "db", "p"), Partly)
	w.want(o, "net applied, db partly, app skipped, dns queued, alone queued")
	if len(s.Skipped) != 1 {
		t.Errorf("after db: %+v", s)
	}
	w.end(w.claim(o, "dns", "p"), Unchanged)
	s = w.end(w.claim(o, "alone", "p"), Held)
	if !slices.Equal(s.Operations, []string{o.ID}) || w.operation(o.ID).Status != OperationDone {
		t.Errorf("at the end: %+v, %s", s, w.operation(o.ID).Status)
	}
}

func appliesWaitForEarlierApplies(t *testing.T, w *rowsWorld) {
	one, _ := w.add(KindApply, 1, "net", "app: net / net")
	two, _ := w.add(KindApply, 2, "app: / net", "other")
	three, _ := w.add(KindApply, 3, "net: / app", "other")
	plan, _ := w.add(KindPlan, 4, "net", "app")
	w.want(two, "app waiting, other queued")
	w.want(three, "net waiting, other waiting")
	w.want(plan, "net queued, app queued")
	w.end(w.claim(one, "net", "p"), Applied)
	w.want(two, "app waiting, other queued")
	s := w.end(w.claim(one, "app", "p"), Held)
	w.want(two, "app queued, other queued")
	w.want(three, "net waiting, other waiting")
	if !slices.Equal(s.Touched, []string{one.ID, two.ID}) {
		t.Errorf("touched %v, want the first two", s.Touched)
	}
	w.end(w.claim(two, "app", "p"), Failed)
	w.want(three, "net queued, other waiting")
	w.end(w.claim(two, "other", "p"), Applied)
	w.want(three, "net queued, other queued")
}

// Whoever ends the run before and whoever adds the one after must see each other.
func noApplyWaitsForEver(t *testing.T, w *rowsWorld) {
	for round := range 8 {
		before, _ := w.add(KindApply, round, "a")
		r := w.claim(before, "a", "p")
		var after Operation
		w.atOnce(2, func(ctx context.Context, i int) (bool, error) {
			return true, w.db.Tx(ctx, func(tx *sql.Tx) (err error) {
				if i == 0 {
					if _, err = w.store.stepRun(ctx, tx, r, Applied); err == nil {
						_, err = w.store.settle(ctx, tx, before.ID)
					}
					return err
				}
				after, _, err = w.store.addOperation(ctx, tx, Operation{Repository: repo, Kind: KindApply, Change: 100 + round}, []Run{{Workspace: "a", Around: []string{"a"}}})
				if err == nil {
					_, err = w.store.settle(ctx, tx, after.ID)
				}
				return err
			})
		})
		w.want(after, "a queued")
		w.end(w.claim(after, "a", "p"), Applied)
	}
}

func supersedeStopsPlansAndNoApply(t *testing.T, w *rowsWorld) {
	old, _ := w.add(KindPlan, 1, "a", "b", "c: b")
	apply, _ := w.add(KindApply, 1, "d", "e: d")
	other, _ := w.add(KindPlan, 2, "a")
	kept, _ := w.add(KindPlan, 1, "a")
	planning, applying := w.claim(old, "a", "p"), w.claim(apply, "d", "p")
	var cancelled []string
	var ended []Operation
	w.tx(func(tx *sql.Tx) (err error) {
		cancelled, ended, err = w.store.supersede(t.Context(), tx, repo, 1, "", kept.ID)
		return err
	})
	if !slices.Equal(cancelled, []string{planning.ID}) || len(ended) != 2 {
		t.Errorf("cancelled %v of %d operations, want the plan that runs, of 2", cancelled, len(ended))
	}
	w.want(old, "a running, b superseded, c superseded")
	w.want(apply, "d running, e superseded")
	w.want(other, "a queued")
	w.want(kept, "a queued")
	w.end(planning, Superseded)
	s := w.end(applying, Applied)
	if !slices.Equal(s.Operations, []string{apply.ID}) || w.operation(apply.ID).Status != OperationSuperseded {
		t.Errorf("the apply that ended late: %+v, %s", s, w.operation(apply.ID).Status)
	}
}

func runGivenBackAfterCancelIsOver(t *testing.T, w *rowsWorld) {
	o, _ := w.add(KindPlan, 1, "a", "b")
	cancelled, preempted := w.claim(o, "a", "p"), w.claim(o, "b", "p")
	w.tx(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE run SET cancel = 1 WHERE id = $1", cancelled.ID)
		return err
	})
	w.end(cancelled, Queued)
	w.end(preempted, Queued)
	w.want(o, "a superseded, b queued")
	if r := w.claim(o, "b", "q"); r.Attempts != 2 || r.Owner != "q" {
		t.Errorf("claimed again: %+v", r)
	}
}

func operationsAreNumberedInOrder(t *testing.T, w *rowsWorld) {
	w.atOnce(16, func(ctx context.Context, i int) (bool, error) {
		return true, w.db.Tx(ctx, func(tx *sql.Tx) error {
			_, _, err := w.store.addOperation(ctx, tx, Operation{Repository: repo, Change: 1, Kind: KindPlan}, nil)
			return err
		})
	})
	var all []Operation
	w.tx(func(tx *sql.Tx) (err error) {
		all, err = w.store.operations(t.Context(), tx, repo, 1, KindPlan)
		return err
	})
	for i, o := range all {
		if o.Seq != int64(i+1) {
			t.Errorf("operation %d has number %d", i, o.Seq)
		}
	}
	if len(all) != 16 {
		t.Errorf("%d operations, want 16", len(all))
	}
	err := w.db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, _, err := w.store.addOperation(t.Context(), tx, Operation{Repository: "gh/no/where", Kind: KindPlan}, nil)
		return err
	})
	if err == nil {
		t.Error("an operation of an unknown repository was kept")
	}
}

func finishIsClaimedOnceAllIsOver(t *testing.T, w *rowsWorld) {
	o, _ := w.add(KindApply, 1, "a")
	claim := func(owner string) (ok bool) {
		w.tx(func(tx *sql.Tx) (err error) {
			ok, err = w.store.claimFinish(t.Context(), tx, o.ID, owner)
			return err
		})
		return ok
	}
	due := func() (ids []string) {
		w.tx(func(tx *sql.Tx) (err error) {
			ids, err = w.store.dueFinishes(t.Context(), tx, 10)
			return err
		})
		return ids
	}
	if claim("p") || len(due()) > 0 {
		t.Error("an operation that runs is finished")
	}
	w.end(w.claim(o, "a", "p"), Applied)
	if len(due()) != 1 || !claim("p") || claim("q") || len(due()) > 0 {
		t.Error("an operation that has ended is not finished by one alone")
	}
	w.tx(func(tx *sql.Tx) error {
		return w.store.retryFinish(t.Context(), tx, o.ID, "p", w.store.now().Add(time.Minute))
	})
	if claim("q") {
		t.Error("it is finished again at once")
	}
	w.pass(time.Minute)
	if !claim("q") {
		t.Error("it is not finished again")
	}
	w.tx(func(tx *sql.Tx) error { return w.store.endFinish(t.Context(), tx, o.ID, "q") })
	w.pass(time.Hour)
	if claim("r") || len(due()) > 0 {
		t.Error("what was finished is finished again")
	}
}

func noChangeStarves(t *testing.T, w *rowsWorld) {
	names := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("w%03d", i))
		}
		return all
	}
	large, _ := w.add(KindPlan, 1, names(120)...)
	var small []Operation
	for n := range 40 {
		w.pass(10 * time.Millisecond)
		o, _ := w.add(KindPlan, 2+n, names(5)...)
		small = append(small, o)
	}
	take := func() string {
		var turns []turn
		w.tx(func(tx *sql.Tx) (err error) {
			turns, err = w.store.turns(t.Context(), tx, 1)
			return err
		})
		if len(turns) == 0 {
			return ""
		}
		r, ok := w.tryClaim(turns[0].id, "p")
		if !ok {
			t.Fatal("a run whose turn it is cannot be claimed")
		}
		return r.Operation
	}
	begun := map[string]int{}
	for range 41 {
		begun[take()]++
	}
	for i, o := range append(small, large) {
		if begun[o.ID] != 1 {
			t.Errorf("of change %d, %d runs were begun while each waits for its first", i, begun[o.ID])
		}
	}
	// New changes go on coming; what waits gets its turn all the same.
	for n := 0; begun[large.ID] < 3; n++ {
		if n > 600 {
			t.Fatalf("after %d more runs, the large change has begun %d", n, begun[large.ID])
		}
		w.pass(2 * time.Second)
		if n%3 == 0 {
			w.add(KindPlan, 1000+n, "a", "b", "c")
		}
		begun[take()]++
	}
}

func appliesComeBeforePlans(t *testing.T, w *rowsWorld) {
	w.add(KindPlan, 1, "a", "b")
	w.pass(time.Minute)
	apply, _ := w.add(KindApply, 2, "a", "c")
	unlock, _ := w.add(KindUnlock, 3, "a")
	turns := func() (all []string) {
		w.tx(func(tx *sql.Tx) error {
			got, err := w.store.turns(t.Context(), tx, 10)
			for _, turn := range got {
				all = append(all, string(turn.kind)+" "+turn.workspace)
			}
			return err
		})
		return all
	}
	if got := strings.Join(turns(), ", "); got != "apply a, unlock a, apply c, plan a, plan b" && got != "unlock a, apply a, apply c, plan a, plan b" {
		t.Errorf("turns are %q", got)
	}
	w.claim(apply, "a", "p")
	if got := turns(); slices.Contains(got, "unlock a") {
		t.Errorf("an apply of a runs, and it is the turn of another of it: %v", got)
	}
	w.want(unlock, "a queued")
}

func rowsComeBackAsTheyWereKept(t *testing.T, w *rowsWorld) {
	given := Operation{Repository: repo, Change: 4, Kind: KindApply, Cause: CauseMerged, Actor: "ann", Branch: "main", BaseCommit: "b", HeadCommit: "h", Commit: "c",
		Accept: map[string]string{"a": "fp"}, Notes: []string{"note"}, ReplyTo: "17", EventAt: w.store.now().UTC()}
	run := Run{Workspace: "a", Dir: "d", Position: 3, Status: Held, Needs: []string{"n"}, Around: []string{"a", "n"}, Reasons: []string{"r"}, Reviewed: "plan1", Plan: "plan2", Fingerprint: "fp", Result: []byte{0, 1, 255}}
	var o Operation
	var runs []Run
	w.tx(func(tx *sql.Tx) (err error) {
		o, runs, err = w.store.addOperation(t.Context(), tx, given, []Run{run})
		return err
	})
	if got := w.operation(o.ID); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", o) {
		t.Errorf("the operation is\n%+v\nwant\n%+v", got, o)
	}
	if got := w.runs(o)[0]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", runs[0]) || got.EndedAt.IsZero() || string(got.Result) != string(run.Result) {
		t.Errorf("the run is\n%+v\nwant\n%+v", got, runs[0])
	}
	if o.Accept["a"] != "fp" || o.Status != OperationRunning || o.Seq != 1 {
		t.Errorf("kept as %+v", o)
	}
}
