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

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
)

// TestLife holds what is promised of processes, of sweeps and of stopping.
func TestLife(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, o database.Options){
		"RunsUntilItsContextEnds":               runsUntilItsContextEnds,
		"StopInterruptsPlansAndNoApply":         stopInterruptsPlansAndNoApply,
		"GraceEnds":                             graceEnds,
		"SilentProcessIsTakenForDead":           silentProcessIsTakenForDead,
		"ProcessTakenForDeadStops":              processTakenForDeadStops,
		"NextStartTakesOverAtOnce":              nextStartTakesOverAtOnce,
		"FailedWorkIsGivenBack":                 failedWorkIsGivenBack,
		"StoppedWorkIsDueAtOnce":                stoppedWorkIsDueAtOnce,
		"PanicIsAFailure":                       panicIsAFailure,
		"SweepHintsWhatIsDue":                   sweepHintsWhatIsDue,
		"SweepSettlesWhatWasForgotten":          sweepSettlesWhatWasForgotten,
		"CancelOfAnotherProcessIsNoticed":       cancelOfAnotherProcessIsNoticed,
		"OldRowsAreTrimmed":                     oldRowsAreTrimmed,
		"OldOperationsAreTrimmed":               oldOperationsAreTrimmed,
		"DirectoryIsNotSharedByAppliesAndPlans": directoryIsNotSharedByAppliesAndPlans,
		"WorkspacesAreLookedAtWhenTheyAreDue":   workspacesAreLookedAtWhenTheyAreDue,
		"LooksGiveWay":                          looksGiveWay,
		"LooksKeepTheirShare":                   looksKeepTheirShare,
		"AdoptionsTakeALooksShare":              adoptionsTakeALooksShare,
		"WorkspaceGoesWhileItIsLookedAt":        workspaceGoesWhileItIsLookedAt,
		"AccountsAreHeldBack":                   accountsAreHeldBack,
		"LooksThatWereLostComeAround":           looksThatWereLostComeAround,
		"PauseStopsLooks":                       pauseStopsLooks,
		"LockOfABrokenOffCorrectionIsOurs":      lockOfABrokenOffCorrectionIsOurs,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, suiteOptions(t))
		})
	}
}

// suiteOptions opens an empty database.
func suiteOptions(t *testing.T) database.Options {
	return database.Options{URL: SuiteURL(t), DataDir: t.TempDir()}
}

// newEngine makes an engine with a database connection and a data directory of its own. Its forge has no repository.
func newEngine(t *testing.T, o database.Options, change func(o *Options)) *Engine {
	t.Helper()
	db, err := database.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	log, err := audit.New(audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gh := forgetest.StartGitHub(t)
	client, err := github.New(github.Options{URL: gh.URL, Token: gh.Token, MaxWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	options := Options{
		DB: db, Audit: log, DataDir: t.TempDir(), Installer: &terraform.Installer{},
		Plans:    func(string) (*planstore.Store, error) { return nil, errors.New("there is no plan store") },
		Forges:   []ForgeOptions{{Name: "gh", Client: client}},
		Parallel: 2, Shared: o.URL != "",
	}
	if change != nil {
		change(&options)
	}
	e, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	e.rhythm.beat, e.rhythm.sweep = 20*time.Millisecond, 20*time.Millisecond
	return e
}

// run runs an engine until the test ends, or stop is called, which returns what Run does.
func run(t *testing.T, e *Engine) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	var err error
	stopped := false
	stop = func() error {
		cancel()
		if !stopped {
			err, stopped = <-ended, true
		}
		return err
	}
	t.Cleanup(func() { _ = stop() })
	eventually(t, "the engine is ready", func() bool { return e.Ready(t.Context()) == nil })
	return stop
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("after a minute it is still not so that %s", what)
		}
	}
}

// exec runs a statement.
func exec(t *testing.T, e *Engine, statement string, args ...any) {
	t.Helper()
	if err := e.DB.Tx(t.Context(), func(tx *sql.Tx) error { _, err := tx.ExecContext(t.Context(), statement, args...); return err }); err != nil {
		t.Fatal(err)
	}
}

// text reads the first column of the rows of a query.
func text(t *testing.T, e *Engine, query string, args ...any) string {
	t.Helper()
	var all []string
	err := e.DB.Read(t.Context(), func(tx *sql.Tx) (err error) {
		all, err = list(t.Context(), tx, scanText, query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// world is the rows of an engine, for the helpers of the store's tests.
func world(t *testing.T, e *Engine) *rowsWorld {
	w := &rowsWorld{T: t, db: e.DB, store: e.store}
	w.tx(func(tx *sql.Tx) error {
		return w.store.putRepository(t.Context(), tx, Repository{ID: repo, Forge: "gh", Repo: repo.repo(), DefaultBranch: "main"})
	})
	return w
}

func runsUntilItsContextEnds(t *testing.T, o database.Options) {
	e := newEngine(t, o, nil)
	if err := e.Ready(t.Context()); err == nil {
		t.Error("ready before it has started")
	}
	stop := run(t, e)
	second := newEngine(t, o, func(o *Options) { o.DataDir = e.DataDir })
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("a second engine in its data directory says %v", err)
	}
	if err := e.Run(t.Context()); err == nil {
		t.Error("it runs twice")
	}
	if err := stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if err := e.Ready(t.Context()); err == nil {
		t.Error("ready after it has stopped")
	}
	if got := text(t, e, "SELECT id FROM process WHERE ended_at = 0"); got != "" {
		t.Errorf("living processes: %s", got)
	}
}

// hold begins a piece of work that ends as soon as it is told to, and returns what its context ended with.
func hold(t *testing.T, e *Engine, what hintKind, kind Kind) (cause func() error) {
	t.Helper()
	ctx, done, ok := e.begin(t.Context(), fmt.Sprint(what, kind), &working{what: what, run: Run{ID: string(kind), Kind: kind}})
	if !ok {
		t.Fatal("nothing can be begun")
	}
	go func() {
		<-ctx.Done()
		done()
	}()
	return func() error { return context.Cause(ctx) }
}

func stopInterruptsPlansAndNoApply(t *testing.T, o database.Options) {
	hurry := make(chan struct{})
	e := newEngine(t, o, func(o *Options) { o.Hurry = hurry })
	stop := run(t, e)
	plan, apply, unlock := hold(t, e, hintRun, KindPlan), hold(t, e, hintRun, KindApply), hold(t, e, hintRun, KindUnlock)
	event := hold(t, e, hintEvent, "")
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	eventually(t, "the plan is interrupted", func() bool { return errors.Is(plan(), errStopping) })
	if _, _, ok := e.begin(t.Context(), "another", &working{what: hintRun}); ok {
		t.Error("work was begun while the engine stops")
	}
	beats := text(t, e, "SELECT CAST(beat AS TEXT) FROM process WHERE id = $1", e.process)
	eventually(t, "the heart goes on beating", func() bool {
		return text(t, e, "SELECT CAST(beat AS TEXT) FROM process WHERE id = $1 AND ended_at = 0", e.process) != beats
	})
	if apply() != nil || unlock() != nil {
		t.Errorf("an apply ends with %v, an unlock with %v, though there is grace", apply(), unlock())
	}
	if event() != nil {
		t.Errorf("an event is not left the time to end: %v", event())
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended (%v) while an apply runs", err)
	default:
	}
	close(hurry)
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if !errors.Is(apply(), errStopping) {
		t.Errorf("the apply ended with %v", apply())
	}
}

func graceEnds(t *testing.T, o database.Options) {
	e := newEngine(t, o, func(o *Options) { o.Grace = 10 * time.Millisecond })
	stop := run(t, e)
	apply := hold(t, e, hintRun, KindApply)
	if err := stop(); err != nil || !errors.Is(apply(), errStopping) {
		t.Errorf("it ended with %v, the apply with %v", err, apply())
	}
}

func TestListenCountsLooksAndNotTime(t *testing.T) {
	t.Parallel()
	l := listener{}
	for look := range 10 {
		beats := map[string]int64{"silent": 4, "slow": int64(look / 3), "alive": int64(look)}
		dead := l.listen(beats, 5)
		if want := look >= 5; slices.Contains(dead, "silent") != want {
			t.Errorf("at look %d, dead are %v", look, dead)
		}
		if len(dead) > 1 {
			t.Errorf("at look %d, dead are %v", look, dead)
		}
	}
	if dead := l.listen(map[string]int64{"silent": 5}, 5); len(dead) != 0 || len(l) != 1 {
		t.Errorf("after it was heard again, dead are %v; known are %v", dead, l)
	}
}

func silentProcessIsTakenForDead(t *testing.T, o database.Options) {
	e := newEngine(t, o, nil)
	w := world(t, e)
	// Its clock runs ahead by years: only beats count.
	exec(t, e, "INSERT INTO process (id, site, host, started_at, beat, ended_at) VALUES ('gone', 'elsewhere', 'h', 9999999999999, 7, 0)")
	w.event(1, 1)
	w.wantReport(Subject{Repository: repo, Change: 1}, false)
	operation, _ := w.add(KindPlan, 1)
	exec(t, e, "UPDATE event SET owner = 'gone'")
	exec(t, e, "UPDATE report SET owner = 'gone'")
	exec(t, e, "UPDATE repository SET poll_owner = 'gone'")
	exec(t, e, "UPDATE operation SET owner = 'gone', finished_at = 0 WHERE id = $1", operation.ID)
	if err := e.enter(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	others := listener{}
	for look := range e.rhythm.missed {
		if _, alive, err := e.beatOnce(t.Context(), others); err != nil || !alive {
			t.Fatalf("look %d: %v, %v", look, alive, err)
		}
		if err := e.sweepOrphans(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := text(t, e, "SELECT owner FROM event"); got != "gone" {
			t.Fatalf("after %d looks it is taken for dead", look)
		}
	}
	dead, _, err := e.beatOnce(t.Context(), others)
	if err != nil || !slices.Equal(dead, []string{"gone"}) {
		t.Fatalf("dead are %v, %v", dead, err)
	}
	if err := e.sweepOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, column := range []string{"owner FROM event", "owner FROM report", "poll_owner FROM repository", "owner FROM operation"} {
		if got := text(t, e, "SELECT "+column); got != "" {
			t.Errorf("%s is still %s", column, got)
		}
	}
}

func processTakenForDeadStops(t *testing.T, o database.Options) {
	e := newEngine(t, o, nil)
	stop := run(t, e)
	plan := hold(t, e, hintRun, KindPlan)
	exec(t, e, "UPDATE process SET ended_at = 1")
	eventually(t, "its plan is stopped", func() bool { return plan() != nil })
	if err := stop(); !errors.Is(err, errFenced) {
		t.Errorf("it ended with %v", err)
	}
}

func nextStartTakesOverAtOnce(t *testing.T, o database.Options) {
	first := newEngine(t, o, nil)
	site, release, err := takeSite(first.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.enter(t.Context(), site); err != nil {
		t.Fatal(err)
	}
	w := world(t, first)
	key := w.event(1, 1)
	w.claimEvent(key, first.process)
	release() // as when it is killed

	next := newEngine(t, o, func(o *Options) { o.DataDir = first.DataDir })
	again, release, err := takeSite(next.DataDir)
	if err != nil || again != site {
		t.Fatalf("the data directory is now %q (%v), was %q", again, err, site)
	}
	defer release()
	if err := next.enter(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if err := next.sweepOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.claimEvent(key, next.process); !ok {
		t.Error("what the killed process was at is not taken over")
	}
}

// life is the state of an engine that works, without what looks for work.
func life(t *testing.T, o database.Options) (*Engine, *rowsWorld) {
	t.Helper()
	e := newEngine(t, o, nil)
	e.setState(running)
	if err := e.enter(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	return e, world(t, e)
}

// try attends to an event as a worker does.
func try(e *Engine, ctx context.Context, key string, do func(ctx context.Context) error) {
	e.attend(ctx, eventJob(key), do, func(tx *sql.Tx, problem error) error { return e.giveBackEvent(ctx, tx, key, problem) })
}

func failedWorkIsGivenBack(t *testing.T, o database.Options) {
	e, w := life(t, o)
	key := w.event(1, 1)
	var waits []time.Duration
	for range 4 {
		exec(t, e, "UPDATE event SET next_at = 0")
		try(e, t.Context(), key, func(context.Context) error {
			if _, ok := w.claimEvent(key, e.process); !ok {
				t.Fatal("it cannot be claimed")
			}
			return errors.New("the forge is away")
		})
		var at int64
		w.tx(func(tx *sql.Tx) (err error) {
			at, _, err = first(t.Context(), tx, scanNumber, "SELECT next_at FROM event WHERE owner = '' AND status = 'waiting' AND problem = 'the forge is away'")
			return err
		})
		waits = append(waits, time.Until(moment(at)))
	}
	if waits[0] <= 0 || waits[3] < 2*waits[0] || waits[3] > longestRetry {
		t.Errorf("it is tried again after %v", waits)
	}
	limited := fmt.Errorf("comment: %w", &forge.RateLimitError{Doing: "comment", Until: e.Now().Add(7 * time.Minute)})
	if wait := e.again(1, limited).Sub(e.Now()); wait < 6*time.Minute || wait > 8*time.Minute {
		t.Errorf("a forge that asks for 7 minutes gets %v", wait)
	}
	if wait := e.again(1000, errors.New("x")).Sub(e.Now()); wait > longestRetry || wait < longestRetry/2 {
		t.Errorf("after 1000 failures it waits for %v", wait)
	}
}

func stoppedWorkIsDueAtOnce(t *testing.T, o database.Options) {
	e, w := life(t, o)
	key := w.event(1, 1)
	try(e, t.Context(), key, func(ctx context.Context) error {
		w.claimEvent(key, e.process)
		e.cancelAll(errStopping, func(*working) bool { return true })
		return fmt.Errorf("fetch: %w", ctx.Err())
	})
	if _, ok := w.claimEvent(key, "next"); !ok {
		t.Error("what was stopped is not due at once")
	}
}

func panicIsAFailure(t *testing.T, o database.Options) {
	e, w := life(t, o)
	key := w.event(1, 1)
	try(e, t.Context(), key, func(context.Context) error {
		w.claimEvent(key, e.process)
		panic("s3cret")
	})
	problem := text(t, e, "SELECT problem FROM event WHERE owner = ''")
	if !strings.Contains(problem, "bug") || strings.Contains(problem, "s3cret") {
		t.Errorf("the event says %q", problem)
	}
}

func sweepHintsWhatIsDue(t *testing.T, o database.Options) {
	e, w := life(t, o)
	w.event(1, 1)
	w.wantReport(Subject{Repository: repo, Change: 1}, false)
	for n := range 20 {
		w.add(KindPlan, 1+n, "a")
	}
	empty, _ := w.add(KindPlan, 50)
	e.Forges[0].Poll = time.Minute
	for range 5 {
		if err := e.sweepHints(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	hints := map[string]int{}
	w.tx(func(tx *sql.Tx) (err error) {
		hints, err = e.DB.Waiting(t.Context(), tx)
		return err
	})
	for queue, workers := range e.workers() {
		if n := hints[queue]; n == 0 || n > 3*workers {
			t.Errorf("after five sweeps the queue %s has %d hints", queue, n)
		}
	}
	if got := text(t, e, "SELECT id FROM operation WHERE status = 'done'"); got != empty.ID {
		t.Errorf("done are %q, want the one without runs", got)
	}
}

func sweepSettlesWhatWasForgotten(t *testing.T, o database.Options) {
	e, w := life(t, o)
	before, _ := w.add(KindApply, 1, "a")
	after, _ := w.add(KindApply, 2, "a")
	w.want(after, "a waiting")
	exec(t, e, "UPDATE run SET status = 'applied' WHERE operation = $1", before.ID)
	if err := e.sweepOperations(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want(after, "a queued")
	if got := w.operation(before.ID).Status; got != OperationDone {
		t.Errorf("the one before is %s", got)
	}
}

func cancelOfAnotherProcessIsNoticed(t *testing.T, o database.Options) {
	e, w := life(t, o)
	op, _ := w.add(KindPlan, 1, "a")
	r := w.claim(op, "a", e.process)
	ctx, done, _ := e.begin(t.Context(), runKey(r.ID), &working{what: hintRun, run: r})
	defer done()
	w.tx(func(tx *sql.Tx) error { _, _, err := w.store.supersede(t.Context(), tx, repo, 1, "", ""); return err })
	if err := e.sweepCancelled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, errCancelled) {
		t.Errorf("its context ended with %v", cause)
	}
}

func oldRowsAreTrimmed(t *testing.T, o database.Options) {
	e, w := life(t, o)
	now := e.Now()
	old, fresh := w.event(1, 1), w.event(1, 2)
	waiting := w.event(2, 1)
	for _, key := range []string{old, fresh} { // events of a change are worked in their order
		w.claimEvent(key, "p")
		w.endEvent(key, "p")
	}
	for key, age := range map[string]int{old: 40, fresh: 20} {
		exec(t, e, "UPDATE event SET ended_at = $1, received_at = $1 WHERE key = $2", millis(now.AddDate(0, 0, -age)), key)
	}
	exec(t, e, "UPDATE event SET received_at = $1 WHERE key = $2", millis(now.AddDate(0, 0, -90)), waiting)
	for n, state := range map[int]forge.State{1: forge.Closed, 2: forge.Open} {
		c := change(n, now)
		c.State, c.Head.Commit = state, fmt.Sprint("h", n)
		if state == forge.Closed {
			c.ClosedAt = now.AddDate(-1, 0, 0)
		}
		w.putChange(c)
		w.wantReport(Subject{Repository: repo, Change: n}, false)
		w.tx(func(tx *sql.Tx) error {
			return w.store.putStatus(t.Context(), tx, repo, c.Head.Commit, "plumbline", "d")
		})
	}
	exec(t, e, "UPDATE report SET told = wanted, told_at = 1")
	var looks []Operation
	for range 2 {
		look, _ := w.add(KindDrift, 0, "a")
		w.end(w.claim(look, "a", "p"), Unchanged)
		looks = append(looks, look)
	}
	exec(t, e, "UPDATE operation SET finished_at = 1")
	exec(t, e, "UPDATE run SET ended_at = 1 WHERE operation = $1", looks[0].ID)
	exec(t, e, "UPDATE operation SET ended_at = 1 WHERE id = $1", looks[0].ID)
	// Of the history that a year has passed over, what held then is left, unless the workspace was gone.
	for _, l := range []struct {
		workspace string
		state     SweepState
		months    int
	}{
		{"a", SweepDrifted, 15}, {"a", SweepClean, 14}, {"a", SweepDrifted, 2}, {"b", SweepClean, 20}, {"c", SweepDrifted, 16}, {"c", SweepNever, 13},
	} {
		w.tx(func(tx *sql.Tx) error {
			return w.store.putLook(t.Context(), tx, Look{Repository: repo, Workspace: l.workspace, At: now.AddDate(0, -l.months, 0), State: l.state, Run: fmt.Sprint(l.months)})
		})
	}
	for key, months := range map[string]int{"old": 13, "young": 2} {
		w.tx(func(tx *sql.Tx) error {
			at := now.AddDate(0, -months, 0)
			return errors.Join(w.store.putFindings(t.Context(), tx, repo, key, at, []FindingRow{{Key: key, CorrectedAt: at}}),
				w.store.putFindings(t.Context(), tx, repo, key+" and there", at, []FindingRow{{Key: key}}),
				w.store.addCorrection(t.Context(), tx, CorrectionRow{Repository: repo, Workspace: key, Key: key, At: at}))
		})
	}
	if err := e.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := text(t, e, "SELECT id FROM operation WHERE kind = 'drift'") + " " + text(t, e, "SELECT operation FROM run WHERE kind = 'drift'"); got != looks[1].ID+" "+looks[1].ID {
		t.Errorf("looks left: %s", got)
	}
	if got := text(t, e, "SELECT run FROM sweep_history ORDER BY workspace, at"); got != "14 2 20" {
		t.Errorf("history left: %s", got)
	}
	if got := text(t, e, "SELECT workspace FROM finding ORDER BY workspace") + " " + text(t, e, "SELECT key FROM correction"); got != "old and there young young and there young" {
		t.Errorf("findings and corrections left: %s", got)
	}
	if got := text(t, e, "SELECT key FROM event ORDER BY key"); got != fresh+" "+waiting {
		t.Errorf("events left: %s", got)
	}
	if got := text(t, e, "SELECT CAST(change_number AS TEXT) FROM report") + text(t, e, "SELECT commit_id FROM status"); got != "2h2" {
		t.Errorf("reports and statuses left: %s", got)
	}
}

func oldOperationsAreTrimmed(t *testing.T, o database.Options) {
	e, w := life(t, o)
	longAgo := e.Now().AddDate(-2, 0, 0)
	for n, state := range map[int]forge.State{1: forge.Merged, 2: forge.Open, 3: forge.Merged, 4: forge.Merged, 5: forge.Merged} {
		c := change(n, e.Now())
		c.State, c.MergeCommit = state, fmt.Sprint("m", n)
		if state != forge.Open {
			c.ClosedAt = longAgo
		}
		w.putChange(c)
	}
	ended := func(kind Kind, change int, workspace string) string {
		op, _ := w.add(kind, change, workspace)
		status := Planned
		if kind == KindApply {
			status = Applied
		}
		w.end(w.claim(op, workspace, "p"), status)
		return op.ID
	}
	plan, apply := ended(KindPlan, 1, "a"), ended(KindApply, 1, "a")
	open, newest := ended(KindPlan, 2, "a"), ended(KindApply, 3, "a")
	unread, pointed := ended(KindPlan, 1, "b"), ended(KindPlan, 1, "c")
	// What the first one of these held, the second one applied: without it, it would look as if it waited still.
	first, _ := w.add(KindApply, 4, "d", "e")
	w.end(w.claim(first, "d", "p"), Applied)
	w.end(w.claim(first, "e", "p"), Held)
	second, third := ended(KindApply, 4, "e"), ended(KindApply, 5, "e")
	exec(t, e, "UPDATE run SET ended_at = $1, created_at = $2", millis(longAgo), millis(longAgo)+1)
	exec(t, e, "UPDATE run SET created_at = $1 WHERE operation IN ($2, $3) AND workspace = 'e'", millis(longAgo), first.ID, second)
	exec(t, e, "UPDATE run SET created_at = $1 WHERE operation = $2", millis(longAgo), apply)
	exec(t, e, "UPDATE operation SET ended_at = $1, finished_at = $1", millis(longAgo))
	exec(t, e, "UPDATE operation SET unread = 1 WHERE id = $1", unread)
	exec(t, e, "UPDATE operation SET commit_id = 'applied' WHERE id = $1", pointed)
	exec(t, e, "INSERT INTO workspace (repository, name, dir, present, settings, applied_commit, applied_at, last_status) VALUES ($1, 'x', 'x', 1, '{}', 'applied', 0, '')", string(repo))
	exec(t, e, "UPDATE report SET told = wanted")
	young := ended(KindPlan, 1, "a")
	exec(t, e, "UPDATE operation SET finished_at = 1 WHERE id = $1", young)
	if err := e.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{open, newest, unread, pointed, first.ID, second, third, young}, " ")
	if got := text(t, e, "SELECT id FROM operation ORDER BY id"); got != want {
		t.Errorf("operations left: %s\nwant %s, and neither %s nor %s", got, want, plan, apply)
	}
	if got := text(t, e, "SELECT DISTINCT operation FROM run ORDER BY operation"); got != want {
		t.Errorf("runs are left of: %s\nwant %s", got, want)
	}
}

// A correction whose process died may leave its lock as an apply may. Somebody who locks the state by hand after one that
// came to its end is left alone.
func lockOfABrokenOffCorrectionIsOurs(t *testing.T, o database.Options) {
	e, w := life(t, o)
	began := e.Now().Add(-time.Hour)
	look, _ := w.add(KindDrift, 0, "a")
	r := w.claim(look, "a", "p")
	w.tx(func(tx *sql.Tx) error {
		return w.store.addCorrection(t.Context(), tx, CorrectionRow{Repository: repo, Workspace: "a", Key: "k", Address: "k", Run: r.ID, At: began})
	})
	ours := func(after time.Duration) (yes bool) {
		w.tx(func(tx *sql.Tx) error {
			runs, err := w.store.brokenOffCorrections(t.Context(), tx, repo, "a", 50)
			yes, _ = gone(terraform.LockedError{ID: "x", Who: "me@here", Created: began.Add(after).UTC().String()}, "me", map[string]bool{"here": true}, runs)
			return err
		})
		return yes
	}
	if !ours(5 * time.Second) {
		t.Error("its look was begun anew, and the lock that it took is not its own")
	}
	if ours(10*time.Minute) || ours(-time.Minute) {
		t.Error("a lock from another time is taken for its own")
	}
	exec(t, e, "UPDATE run SET started_at = $1 WHERE id = $2", millis(began.Add(-time.Minute)), r.ID)
	if ours(5 * time.Second) {
		t.Error("its look was never broken off, and a lock is taken for its own")
	}
}

func directoryIsNotSharedByAppliesAndPlans(t *testing.T, o database.Options) {
	e, w := life(t, o)
	w.add(KindPlan, 1, "a")
	plan, _, doneA, ok := e.takeTurn(t.Context())
	if !ok {
		t.Fatal("the plan has no turn")
	}
	w.add(KindPlan, 2, "a", "b")
	b, _, doneB, ok := e.takeTurn(t.Context())
	if !ok || text(t, e, "SELECT workspace FROM run WHERE id = $1", b) != "b" {
		t.Error("beside a plan of a, it is not the turn of b")
	}
	apply, _ := w.add(KindApply, 3, "a")
	id, _, doneApply, ok := e.takeTurn(t.Context())
	if !ok || id != w.find(apply, "a").ID {
		t.Error("an apply waits for a plan")
	}
	if id, _, _, ok := e.takeTurn(t.Context()); ok {
		t.Errorf("%s has a turn, though an apply of its workspace runs", id)
	}
	doneA()
	doneB()
	doneApply()
	if id, _, done, ok := e.takeTurn(t.Context()); ok {
		defer done()
		if id == plan {
			t.Error("a run that was just left has the next turn")
		}
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	t.Parallel()
	good := newEngine(t, suiteOptions(t), nil).Options
	for what, change := range map[string]func(o *Options){
		"no database":          func(o *Options) { o.DB = nil },
		"a relative directory": func(o *Options) { o.DataDir = "data" },
		"no forge":             func(o *Options) { o.Forges = nil },
		"a forge twice":        func(o *Options) { o.Forges = append(slices.Clone(o.Forges), o.Forges...) },
		"a slash in a name":    func(o *Options) { o.Forges = []ForgeOptions{{Name: "a/b", Client: o.Forges[0].Client}} },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("with %s it makes an engine", what)
		}
	}
}

// While another process keeps the database, a result waits for it.
func TestPersistWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	o := suiteOptions(t)
	e, _ := life(t, o)
	other, err := database.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	release, held := make(chan struct{}), make(chan struct{})
	go func() {
		ctx := context.WithoutCancel(t.Context())
		_ = other.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE process SET host = 'held'")
			close(held)
			<-release
			return err
		})
	}()
	<-held
	// Longer than Tx repeats by itself. Its caller's context has ended: that must not matter.
	timer := time.AfterFunc(13*time.Second, func() { close(release) })
	defer timer.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = e.persist(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(context.WithoutCancel(ctx), "UPDATE process SET host = 'kept'")
		return err
	})
	if err != nil || text(t, e, "SELECT host FROM process") != "kept" {
		t.Errorf("persist: %v", err)
	}
	runs := 0
	err = e.persist(t.Context(), func(*sql.Tx) error {
		if runs++; runs == 1 {
			return fmt.Errorf("commit: %w", errors.Join(database.ErrUnknown, database.ErrUnavailable))
		}
		return fmt.Errorf("step: %w", errTaken)
	})
	if err != nil || runs != 2 {
		t.Errorf("a commit that nobody answered, and was done: %v after %d runs", err, runs)
	}
	if err := e.persist(t.Context(), func(*sql.Tx) error { return errTaken }); !errors.Is(err, errTaken) {
		t.Errorf("a step that another has taken: %v", err)
	}
	e.endHard()
	if err := e.persist(t.Context(), func(*sql.Tx) error { return database.ErrUnavailable }); err == nil {
		t.Error("at the end of the engine it still waits")
	}
}
