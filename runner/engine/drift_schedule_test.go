package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/internal/schedule"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// watch is an engine on a clock that is moved by hand, with a repository whose workspaces are looked at for drift. Nothing
// works the looks but the test.
type watch struct {
	*rowsWorld
	e      *Engine
	passed *atomic.Int64
}

func newWatch(t *testing.T, o database.Options, change func(o *Options)) *watch {
	t.Helper()
	start, passed := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), &atomic.Int64{}
	e := newEngine(t, o, func(o *Options) {
		o.Now = func() time.Time { return start.Add(time.Duration(passed.Load())) }
		o.Parallel, o.Drift = 4, DriftOptions{Every: "1h", Rates: schedule.Governor{Account: 600}}
		o.Forges[0].Repos = []string{"acme/*"}
		if change != nil {
			change(o)
		}
	})
	e.setState(running)
	if err := e.enter(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	w := &watch{world(t, e), e, passed}
	w.tx(func(tx *sql.Tx) error {
		_, err := w.store.moveBranch(t.Context(), tx, repo, "main", "", "tip")
		return err
	})
	return w
}

func (w *watch) pass(d time.Duration) { w.passed.Add(int64(d)) }

// branch says what the default branch holds: "name", or "name every", or "name every account".
func (w *watch) branch(all ...string) {
	w.Helper()
	var rows []WorkspaceRow
	for _, text := range all {
		fields := append(strings.Fields(text), "", "")
		settings, err := json.Marshal(workspaces.Workspace{Name: fields[0], Dir: fields[0], Account: fields[2], Drift: workspaces.Drift{Every: fields[1]}})
		if err != nil {
			w.Fatal(err)
		}
		rows = append(rows, WorkspaceRow{Name: fields[0], Dir: fields[0], Settings: string(settings)})
	}
	w.tx(func(tx *sql.Tx) error { return w.e.putWorkspaces(w.Context(), tx, repo, rows) })
}

// tick begins what is due, and returns the workspaces that are looked at now.
func (w *watch) tick() string {
	w.Helper()
	if err := w.e.driftTick(w.Context()); err != nil {
		w.Fatal(err)
	}
	return w.looking()
}

func (w *watch) looking() string {
	w.Helper()
	return text(w.T, w.e, "SELECT workspace FROM run WHERE kind = 'drift' AND status IN ('queued', 'running') ORDER BY workspace")
}

func (w *watch) sweep(workspace string) (s Sweep) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		s, _, err = w.store.sweep(w.Context(), tx, repo, workspace)
		return err
	})
	return s
}

// begin claims the look at a workspace.
func (w *watch) begin(workspace string) Run {
	w.Helper()
	id := text(w.T, w.e, "SELECT id FROM run WHERE kind = 'drift' AND status = 'queued' AND workspace = $1", workspace)
	r, ok := w.tryClaim(id, w.e.process)
	if !ok {
		w.Fatalf("the look at %s cannot be claimed", workspace)
	}
	return r
}

// saw ends a look.
func (w *watch) saw(r Run, state SweepState, problem string) {
	w.Helper()
	w.tx(func(tx *sql.Tx) error {
		if _, err := w.store.stepRun(w.Context(), tx, r, Unchanged); err != nil {
			return err
		}
		return errors.Join(w.e.endLook(w.Context(), tx, r, state, []byte(problem)), w.e.settle(w.Context(), tx, r.Operation))
	})
}

func workspacesAreLookedAtWhenTheyAreDue(t *testing.T, o database.Options) {
	w := newWatch(t, o, nil)
	w.branch("a", "b 2h", "c off")
	if a, b, c := w.sweep("a"), w.sweep("b"), w.sweep("c"); a.Every != "1h" || b.Every != "2h" || c.Every != "off" || a.State != SweepNever || !c.NextAt.IsZero() || a.NextAt.IsZero() {
		t.Fatalf("sweeps are %+v, %+v and %+v", a, b, c)
	}
	if got := w.tick(); got != "" {
		t.Errorf("at once, %q are looked at", got)
	}
	w.tx(func(tx *sql.Tx) error {
		return w.store.noteApplied(t.Context(), tx, repo, "a", "a", "applied", Applied, w.e.Now())
	})
	w.pass(63 * time.Minute)
	w.branch("a", "b off", "c off")
	if got := w.tick(); got != "a" {
		t.Fatalf("after an hour, %q are looked at, want a", got)
	}
	if got := w.tick(); got != "a" {
		t.Errorf("a look that is under way is begun again: %q", got)
	}
	op := w.operation(w.sweep("a").Operation)
	if op.Kind != KindDrift || op.Cause != CauseSchedule || op.Commit != "applied" || op.HeadCommit != "tip" || op.Change != 0 {
		t.Errorf("the operation is %+v", op)
	}
	w.saw(w.begin("a"), SweepDrifted, "")
	a := w.sweep("a")
	if a.State != SweepDrifted || a.Operation != "" || !a.CheckedAt.Equal(w.e.Now()) || !a.NextAt.After(w.e.Now()) || !a.OverdueAt.Equal(w.e.Now().Add(2*time.Hour)) {
		t.Errorf("after the look: %+v", a)
	}
	if got := w.operation(op.ID).Status; got != OperationDone {
		t.Errorf("the operation is %s", got)
	}
	if n := text(t, w.e, "SELECT CAST(COUNT(*) AS TEXT) FROM report"); n != "0" {
		t.Errorf("%s reports are wanted: a look is told of in an issue", n)
	}

	// No answer is a state of its own: it backs off, and says so until there is one.
	waited := time.Duration(0)
	for i := range 6 {
		w.pass(w.sweep("a").NextAt.Sub(w.e.Now()) + time.Second)
		w.tick()
		w.saw(w.begin("a"), SweepUnknown, "throttled")
		a := w.sweep("a")
		if wait := a.NextAt.Sub(w.e.Now()); wait <= waited {
			t.Errorf("after %d failures it waits %s, before it waited %s", i+1, wait, waited)
		} else {
			waited = wait
		}
		if a.State != SweepUnknown || a.Failures != i+1 || string(a.Problem) != "throttled" || a.CheckedAt.Equal(w.e.Now()) {
			t.Fatalf("after %d failures: %+v", i+1, a)
		}
	}
	// What was not answered for twice the interval is overdue, and told of once.
	w.pass(2 * time.Hour)
	w.e.Notify = []*notify.Target{{Name: "ops"}}
	w.e.Plans = func(repository string) (*planstore.Store, error) {
		return planstore.Open(t.Context(), planstore.Options{Location: t.TempDir(), KeyFile: filepath.Join(w.e.DataDir, "key"), Repository: repository})
	}
	for range 2 {
		if err := w.e.tellOverdue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.e.Notify = nil
	if got := text(t, w.e, "SELECT workspace FROM outbox"); got != "a" {
		t.Errorf("people are told of %q", got)
	}
	if told := w.sweep("a").OverdueToldAt; !told.Equal(w.e.Now()) {
		t.Errorf("told that it is overdue at %s", told)
	}
	w.tick()
	w.saw(w.begin("a"), SweepClean, "")
	if a := w.sweep("a"); a.Failures != 0 || len(a.Problem) > 0 || !a.OverdueToldAt.IsZero() || a.State != SweepClean || !a.Since.Equal(w.e.Now()) {
		t.Errorf("after an answer: %+v", a)
	}

	// The clock is set back by days.
	w.pass(-72 * time.Hour)
	if got := w.tick(); got != "a" {
		t.Errorf("after the clock was set back, %q are looked at", got)
	}
}

// looksKeepTheirShare has four workers, of which half may look for drift: a look waits for each of these, and no more.
func looksKeepTheirShare(t *testing.T, o database.Options) {
	w := newWatch(t, o, nil)
	w.branch("a", "b", "c", "d", "e")
	w.pass(3 * time.Hour)
	begun := w.tick()
	if len(strings.Fields(begun)) != 4 {
		t.Fatalf("with two workers for drift %q are begun", begun)
	}
	for i := range 3 {
		_, _, done, ok := w.e.takeTurn(t.Context())
		if ok != (i < 2) {
			t.Fatalf("with two workers for drift, look %d has a turn: %v", i+1, ok)
		}
		if ok {
			defer done()
		}
	}
	if got := w.tick(); got != begun {
		t.Errorf("while two of %q are looked at and two wait, there are %q", begun, got)
	}
}

func looksGiveWay(t *testing.T, o database.Options) {
	w := newWatch(t, o, nil)
	w.branch("a", "b")
	w.pass(3 * time.Hour)
	if got := w.tick(); len(strings.Fields(got)) != 2 {
		t.Fatalf("%q are looked at", got)
	}
	names := strings.Fields(w.looking())
	// The plan of a pull request in the directory of the one, and then as many as there are workers.
	w.add(KindPlan, 1, names[0])
	first, _, doneFirst, ok := w.e.takeTurn(t.Context())
	if !ok || text(t, w.e, "SELECT kind FROM run WHERE id = $1", first) != "plan" {
		t.Fatal("a plan does not come before looks")
	}
	var look []context.Context
	id, on, doneLook, ok := w.e.takeTurn(t.Context())
	if !ok || text(t, w.e, "SELECT workspace FROM run WHERE id = $1", id) != names[1] {
		t.Fatal("beside the plan, there is no turn for the look at another workspace")
	}
	defer doneLook()
	look = append(look, on)
	if got, _, _, ok := w.e.takeTurn(t.Context()); ok {
		t.Errorf("%s has a turn in a directory that a plan uses", got)
	}
	doneFirst()
	exec(t, w.e, "UPDATE run SET status = 'unchanged' WHERE kind = 'plan'")
	w.pass(time.Minute)
	id, on, done, ok := w.e.takeTurn(t.Context())
	if !ok || text(t, w.e, "SELECT workspace FROM run WHERE id = $1", id) != names[0] {
		t.Fatal("after the plan there is no turn for the look")
	}
	defer done()
	look = append(look, on)

	// A plan in the same directory interrupts a look; an apply too, unless the look corrects.
	plan := Run{ID: "plan", Repository: repo, Workspace: names[0], Kind: KindPlan}
	if release, err := w.e.occupy(t.Context(), plan); err != nil {
		t.Fatal(err)
	} else {
		release()
	}
	if cause := context.Cause(look[1]); !errors.Is(cause, errPreempted) {
		t.Errorf("the look goes on beside a plan of its workspace: %v", cause)
	}
	lookID := text(t, w.e, "SELECT id FROM run WHERE kind = 'drift' AND workspace = $1", names[1])
	if !w.e.correcting(look[0], lookID, true) {
		t.Fatal("the look may not correct")
	}
	apply := plan
	apply.Kind, apply.Workspace = KindApply, names[1]
	if release, err := w.e.occupy(t.Context(), apply); err != nil {
		t.Fatal(err)
	} else {
		release()
	}
	// So many plans that there is no worker left: looks that do not correct are stopped.
	w.e.giveWay(10)
	if err := look[0].Err(); err != nil {
		t.Errorf("a correction was stopped: %v", context.Cause(look[0]))
	}
	if !w.e.correcting(look[0], lookID, false) {
		t.Error("that it does not correct any more is not noted")
	}
	w.e.giveWay(2)
	if err := look[0].Err(); err != nil {
		t.Errorf("a look was stopped though there are workers for all: %v", context.Cause(look[0]))
	}
	w.e.giveWay(3)
	if cause := context.Cause(look[0]); !errors.Is(cause, errPreempted) {
		t.Errorf("plans wait for a look: %v", cause)
	}
	if w.e.correcting(look[0], lookID, true) {
		t.Error("a look that was asked to stop may correct")
	}
}

// adoptionsTakeALooksShare: what somebody asks for on an issue goes before looks, takes no more workers than they may, and
// gives way to what a change waits for. One that its process left is begun again.
func adoptionsTakeALooksShare(t *testing.T, o database.Options) {
	w := newWatch(t, o, nil)
	w.branch("a", "b", "c", "d")
	w.pass(3 * time.Hour)
	w.tick()
	looked := strings.Fields(w.looking())
	w.add(KindAdopt, 0, "x")
	w.add(KindAdopt, 0, "y")
	w.add(KindAdopt, 0, "z")
	var adoptions []context.Context
	var ids []string
	for range 2 {
		id, on, done, ok := w.e.takeTurn(t.Context())
		if !ok || text(t, w.e, "SELECT kind FROM run WHERE id = $1", id) != "adopt" {
			t.Fatalf("with %q to look at, adoptions do not come first: %q", looked, id)
		}
		defer done()
		adoptions, ids = append(adoptions, on), append(ids, id)
	}
	if id, _, _, ok := w.e.takeTurn(t.Context()); ok {
		t.Errorf("half of four workers may be about drift, and %s has a turn", id)
	}
	if got := w.tick(); len(strings.Fields(got)) > len(looked) {
		t.Errorf("beside them more looks begin: %q", got)
	}
	workspace := text(t, w.e, "SELECT workspace FROM run WHERE id = $1", ids[0])
	w.add(KindPlan, 1, workspace)
	id, _, done, ok := w.e.takeTurn(t.Context())
	if !ok || text(t, w.e, "SELECT kind FROM run WHERE id = $1", id) != "plan" {
		t.Fatal("a plan waits for an adoption in its directory")
	}
	defer done()
	if release, err := w.e.occupy(t.Context(), Run{ID: id, Repository: repo, Workspace: workspace, Kind: KindPlan}); err != nil {
		t.Fatal(err)
	} else {
		release()
	}
	if cause := context.Cause(adoptions[0]); !errors.Is(cause, errPreempted) {
		t.Errorf("the adoption goes on beside a plan of its workspace: %v", cause)
	}
	if err := adoptions[1].Err(); err != nil {
		t.Errorf("the other one was stopped, too: %v", context.Cause(adoptions[1]))
	}

	// Its process dies.
	r, ok := w.tryClaim(ids[1], "dead")
	if !ok {
		t.Fatal("an adoption cannot be claimed")
	}
	if err := w.e.recoverRun(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := text(t, w.e, "SELECT status FROM run WHERE id = $1", ids[1]); got != "queued" {
		t.Errorf("an adoption whose process died is %s, want it queued", got)
	}
}

func workspaceGoesWhileItIsLookedAt(t *testing.T, o database.Options) {
	w := newWatch(t, o, nil)
	w.branch("a", "b")
	w.pass(3 * time.Hour)
	w.tick()
	w.tx(func(tx *sql.Tx) error {
		return w.store.putFindings(t.Context(), tx, repo, "a", w.e.Now(), []FindingRow{{Key: "k", Address: "x", Class: drift.ClassNode, Cause: drift.CauseOutside}})
	})
	a := w.begin("a")
	w.pass(time.Second)
	w.branch("other 3h") // b's has not begun
	if got := text(t, w.e, "SELECT workspace FROM run WHERE cancel = 1"); got != "a" {
		t.Errorf("asked to stop are %q, want a", got)
	}
	w.saw(a, SweepDrifted, "")
	for _, name := range []string{"a", "b"} {
		if s := w.sweep(name); !s.Gone || !s.NextAt.IsZero() || !s.OverdueAt.IsZero() {
			t.Errorf("a workspace that is gone: %+v", s)
		}
	}
	if got := text(t, w.e, "SELECT workspace FROM finding WHERE gone_at = 0"); got != "" {
		t.Errorf("findings are left of %q", got)
	}
	w.pass(time.Hour)
	if got := w.tick(); got != "" {
		t.Errorf("%q are looked at", got)
	}
	w.branch("a", "other 4h account")
	if s := w.sweep("a"); s.Gone || s.State != SweepNever || !s.NextAt.After(w.e.Now()) || !s.CheckedAt.IsZero() {
		t.Errorf("a workspace that came back: %+v", s)
	}
	if s := w.sweep("other"); s.Every != "4h" || s.Account != "account" || !s.KnownAt.Equal(w.e.Now()) {
		t.Errorf("settings that changed: %+v", s)
	}
	// The server's own interval changes.
	w.e.Drift.Every = "30m"
	if err := w.e.followAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := w.sweep("a"); s.Every != "30m" {
		t.Errorf("the server's interval is not followed: %+v", s)
	}
}

// accountsAreHeldBack lets two machines begin looks at a thousand workspaces that are all due, and counts each second's.
func accountsAreHeldBack(t *testing.T, o database.Options) {
	rates := schedule.Governor{Account: 60, Total: 100}
	w := newWatch(t, o, func(o *Options) { o.Parallel, o.Drift.Share, o.Drift.Rates = 1000, 1, rates })
	var all []string
	for i := range 60 {
		all = append(all, fmt.Sprintf("w%03d 1h account%d", i, i%3))
	}
	w.branch(all...)
	w.pass(3 * time.Hour)
	second := newEngine(t, o, func(o *Options) {
		*o = w.e.Options
		o.DataDir = t.TempDir()
	})
	if second.Drift.Rates != rates {
		t.Fatal("the second machine has other rates")
	}
	begun := 0
	for range 20 {
		before := text(t, w.e, "SELECT workspace FROM run WHERE kind = 'drift'")
		for _, e := range []*Engine{w.e, second} {
			if err := e.driftTick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		after := text(t, w.e, "SELECT workspace FROM run WHERE kind = 'drift'")
		n := len(strings.Fields(after)) - len(strings.Fields(before))
		if begun += n; n > rates.Total.PerSecond() {
			t.Errorf("%d looks began in a second, %d are allowed", n, rates.Total.PerSecond())
		}
		w.pass(time.Second)
	}
	if begun < 30 || begun > 45 {
		t.Errorf("%d looks began in twenty seconds; at 100 a minute it should be about 35", begun)
	}
	if got := text(t, w.e, "SELECT workspace FROM run WHERE kind = 'drift' GROUP BY workspace HAVING COUNT(*) > 1"); got != "" {
		t.Errorf("looked at twice: %s", got)
	}
}

func looksThatWereLostComeAround(t *testing.T, o database.Options) {
	w := newWatch(t, o, nil)
	w.branch("a")
	w.pass(3 * time.Hour)
	w.tick()
	exec(t, w.e, "UPDATE run SET status = 'superseded'")
	exec(t, w.e, "UPDATE operation SET status = 'superseded'")
	w.tick()
	if s := w.sweep("a"); s.Operation != "" {
		t.Errorf("a look that is over counts as under way: %+v", s)
	}
	w.pass(66 * time.Minute)
	if got := w.tick(); got != "a" {
		t.Errorf("an hour later %q are looked at", got)
	}
	// What is not served any more is not looked at.
	w.saw(w.begin("a"), SweepClean, "")
	w.e.Forges[0].Repos = nil
	w.pass(66 * time.Minute)
	if got := w.tick(); got != "" {
		t.Errorf("%q are looked at, of a repository that is not served", got)
	}
}
