package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
)

// runsWorld is an engine whose runs a test works one by one, over a repository
// on a forge.
type runsWorld struct {
	*testing.T
	*Engine
	hub *upstreamHub
	job doomedRun
}

// doomedRun is what another process needs to work a run of the same engine.
type doomedRun struct {
	Data, Database, Forge, Token, Path, Home, Config, Run string
	// Environ is more for Terraform.
	Environ []string
	// Hours is by how much the clock is wrong.
	Hours int
}

const runsKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func newRunsWorld(t *testing.T, files map[string]string) *runsWorld {
	t.Helper()
	w := &runsWorld{T: t, hub: startHub(t, files)}
	w.job = doomedRun{
		Data: t.TempDir(), Database: SuiteURL(t), Forge: w.hub.URL, Token: w.hub.Token, Home: t.TempDir(), Config: parts.MirrorConfig(t),
		Path: filepath.Dir(parts.Terraform(t)) + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	w.start()
	repo := w.hub.row()
	repo.DefaultBranch = "main"
	w.tx(func(tx *sql.Tx) error { return w.store.putRepository(t.Context(), tx, repo) })
	return w
}

// start starts the server, as after a stop or a death.
func (w *runsWorld) start() {
	w.Helper()
	e, db, err := w.job.open(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := db.Close(); err != nil {
			w.Error(err)
		}
	})
	w.Engine = e
}

func (j doomedRun) open(ctx context.Context) (*Engine, *database.DB, error) {
	db, err := database.Open(ctx, database.Options{URL: j.Database, DataDir: j.Data})
	if err != nil {
		return nil, nil, err
	}
	log, err := audit.New(audit.Options{})
	if err != nil {
		return nil, nil, err
	}
	client, err := github.New(github.Options{URL: j.Forge, Token: j.Token})
	if err != nil {
		return nil, nil, err
	}
	e, err := New(Options{
		DB: db, Audit: log, DataDir: j.Data,
		Plans: func(repository string) (*planstore.Store, error) {
			return planstore.Open(ctx, planstore.Options{Location: filepath.Join(j.Data, "plans"), Key: runsKey, Repository: repository})
		},
		Forges:    []ForgeOptions{{Name: "github", Client: client, Repos: []string{"*/*"}}},
		Installer: terraform.NewInstaller(terraform.InstallerOptions{CacheDir: filepath.Join(j.Home, "terraform"), SearchPath: j.Path}),
		Environ: append([]string{
			"PATH=" + j.Path, "HOME=" + j.Home, "TF_CLI_CONFIG_FILE=" + j.Config, "CHECKPOINT_DISABLE=1",
			"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		}, j.Environ...),
		Drift: DriftOptions{Correct: true},
		Now:   func() time.Time { return time.Now().Add(time.Duration(j.Hours) * time.Hour) },
	})
	if err != nil {
		return nil, nil, err
	}
	// As Run does, which a test that works runs one by one does not call.
	e.setState(running)
	go e.outputUntil(ctx)
	return e, db, e.enter(ctx, "here")
}

func (w *runsWorld) tx(fn func(tx *sql.Tx) error) {
	w.Helper()
	if err := w.DB.Tx(w.Context(), fn); err != nil {
		w.Fatal(err)
	}
}

// commit commits to the main branch and brings it to the mirror.
func (w *runsWorld) commit(files map[string]string) string {
	w.Helper()
	commit := w.hub.Commit(w.T, w.hub.repo, "main", "", files)
	c, err := w.clone(w.Context(), w.hub.row())
	if err != nil {
		w.Fatal(err)
	}
	if _, err := c.fetchBranch(w.Context(), "main"); err != nil {
		w.Fatal(err)
	}
	return commit
}

// add keeps an operation at a commit, and returns its runs.
func (w *runsWorld) add(op Operation, runs ...Run) []Run {
	w.Helper()
	op.Repository, op.Branch, op.Actor = w.hub.row().ID, "main", "alice"
	w.tx(func(tx *sql.Tx) error {
		added, _, err := w.store.addOperation(w.Context(), tx, op, runs)
		if err != nil {
			return err
		}
		if err := w.settle(w.Context(), tx, added.ID); err != nil {
			return err
		}
		runs, err = w.store.runsOf(w.Context(), tx, added.ID)
		return err
	})
	return runs
}

// work works a run, and wants a status of it.
func (w *runsWorld) work(r Run, want Status) (Run, outcome) {
	w.Helper()
	if err := w.workAs(w.Context(), r.ID); err != nil {
		w.Fatal(err)
	}
	return w.look(r, want)
}

func (w *runsWorld) look(r Run, want Status) (Run, outcome) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		r, _, err = w.store.run(w.Context(), tx, r.ID)
		return err
	})
	o, err := openResult(w.plans(), r)
	if err != nil {
		w.Fatal(err)
	}
	if r.Status != want {
		w.Fatalf("the run of %s is %s (%s, %+v), want %s", r.Workspace, r.Status, o.Error, o.Hold, want)
	}
	return r, o
}

func (w *runsWorld) plans() *planstore.Store {
	w.Helper()
	s, err := w.Plans(string(w.hub.row().ID))
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// planned makes a plan of one workspace for a change, and returns its run.
func (w *runsWorld) planned(change int, commit string) Run {
	w.Helper()
	runs := w.add(Operation{Change: change, Kind: KindPlan, Cause: CauseOpened, Commit: commit, HeadCommit: commit}, Run{Workspace: "app", Dir: "app"})
	r, _ := w.work(runs[0], Planned)
	return r
}

func (w *runsWorld) merged(change int, commit, reviewed string) Run {
	w.Helper()
	return w.add(Operation{Change: change, Kind: KindApply, Cause: CauseMerged, Commit: commit, HeadCommit: commit},
		Run{Workspace: "app", Dir: "app", Reviewed: reviewed, Around: []string{"app"}})[0]
}

// state is the state of app, which the server keeps.
func (w *runsWorld) state() string {
	w.Helper()
	found, err := filepath.Glob(filepath.Join(w.stateDir(w.hub.row()), "*", "terraform.tfstate"))
	if err != nil || len(found) > 1 {
		w.Fatal(found, err)
	}
	if len(found) == 0 {
		return ""
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// decisions are the audit log's entries of applies.
func (w *runsWorld) decisions() []string {
	w.Helper()
	var said []string
	w.tx(func(tx *sql.Tx) error {
		entries, err := w.Audit.List(w.Context(), tx, audit.Filter{})
		for _, e := range entries {
			said = append(said, fmt.Sprintf("%s %v %s", e.Action, e.Allowed, e.Details["status"]))
		}
		slices.Reverse(said)
		return err
	})
	return said
}

func app(input string) map[string]string {
	return map[string]string{"app/main.tf": fmt.Sprintf("resource \"terraform_data\" \"x\" {\n  input = %q\n}\n", input)}
}

// TestRunLife plans a change and applies it after its merge.
func TestRunLife(t *testing.T) {
	t.Parallel()
	w := newRunsWorld(t, app("1"))
	commit := w.commit(app("canary-2"))
	plan := w.planned(7, commit)
	receipt, err := w.plans().Get(t.Context(), plan.Plan)
	if err != nil || receipt.Change != "7" || receipt.Fingerprint != plan.Fingerprint || receipt.Commit != commit {
		t.Errorf("receipt: got %+v, %v, want one of change 7", receipt, err)
	}
	r, o := w.work(w.merged(7, commit, plan.Plan), Applied)
	if r.Plan != plan.Plan || o.Receipt.ID != plan.Plan || o.Plan == nil || !strings.Contains(w.state(), "canary-2") {
		t.Errorf("applied: got %+v, want the reviewed plan in the state", r)
	}
	if strings.Contains(string(r.Result), "canary") {
		t.Error("what is applied stands in the row in clear")
	}
	if got := w.output(plan); !strings.HasPrefix(got, "$ terraform init\n") || !strings.Contains(got, "$ terraform plan\n") || !strings.Contains(got, "Plan: 1 to add") {
		t.Errorf("the plan printed %q", got)
	}
	if got := w.output(r); !strings.Contains(got, "$ terraform apply\n") || !strings.Contains(got, ": Creating...") || !strings.Contains(got, "Apply complete!") {
		t.Errorf("the apply printed %q", got)
	}
	if got, want := strings.Join(w.decisions(), ", "), "apply true begun, apply true applied"; got != want {
		t.Errorf("decisions: got %q, want %q", got, want)
	}
	// A job that comes twice does nothing.
	w.work(r, Applied)
	// The same once more: nothing is applied twice.
	if _, o := w.work(w.merged(7, commit, plan.Plan), Held); !strings.Contains(o.Hold.Reason, "already applied") {
		t.Errorf("again: got %+v, want that it is applied already", o.Hold)
	}
	runs := w.add(Operation{Change: 7, Kind: KindPlan, Cause: CauseStale, Commit: commit, HeadCommit: commit},
		Run{Workspace: "app", Dir: "app"}, Run{Workspace: "gone", Dir: "gone"})
	w.work(runs[0], Unchanged)
	w.work(runs[1], Removed)
}

// TestHeldRunIsAccepted merges a plan that went stale: it is held with the new
// plan, and applied once that is accepted by its fingerprint.
func TestHeldRunIsAccepted(t *testing.T) {
	t.Parallel()
	w := newRunsWorld(t, app("1"))
	first, second := w.commit(app("2")), w.commit(app("3"))
	plan := w.planned(7, first)
	held, o := w.work(w.merged(7, second, plan.Plan), Held)
	if held.Plan == "" || held.Fingerprint == plan.Fingerprint || o.Hold == nil || len(o.Hold.Differences) != 1 {
		t.Fatalf("held: got %+v and %+v, want a proposal and what differs", held, o.Hold)
	}
	accept := func(fingerprint string) Run {
		return w.add(Operation{Change: 7, Kind: KindApply, Cause: CauseCommand, Commit: second, HeadCommit: first, Accept: map[string]string{"app": fingerprint}},
			Run{Workspace: "app", Dir: "app", Reviewed: held.Plan, Around: []string{"app"}})[0]
	}
	w.work(accept(plan.Fingerprint), Held)
	if w.state() != "" {
		t.Error("something was applied that nobody accepted")
	}
	if r, _ := w.work(accept(held.Fingerprint), Applied); r.Plan != held.Plan {
		t.Errorf("applied %s, want the proposal %s", r.Plan, held.Plan)
	}

	// A push that nobody reviewed is held, or applied where that is configured.
	third := w.commit(app("4"))
	push := Operation{Kind: KindApply, Cause: CausePush, Commit: third, HeadCommit: third}
	if r, o := w.work(w.add(push, Run{Workspace: "app", Dir: "app"})[0], Held); !strings.Contains(o.Hold.Reason, "without a pull request") || r.Plan == "" {
		t.Errorf("pushed: got %+v, want that nobody reviewed it", o.Hold)
	}
	push.Accept = map[string]string{"app": acceptAny}
	w.work(w.add(push, Run{Workspace: "app", Dir: "app"})[0], Applied)
}

// slowTerraform makes plans wait for a file to go.
func (w *runsWorld) slowTerraform() (started string, let func()) {
	w.Helper()
	bin, gate := w.TempDir(), filepath.Join(w.TempDir(), "gate")
	started = filepath.Join(w.TempDir(), "started")
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = plan ] && [ -e %q ]; then touch %q; while [ -e %q ]; do sleep 0.1; done; fi\nexec %q \"$@\"\n", gate, started, gate, parts.Terraform(w.T))
	if err := os.WriteFile(filepath.Join(bin, "terraform"), []byte(script), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		w.Fatal(err)
	}
	w.job.Path = bin + string(os.PathListSeparator) + os.Getenv("PATH")
	w.start()
	return started, func() {
		if err := os.Remove(gate); err != nil {
			w.Fatal(err)
		}
	}
}

// appears waits for a file.
func appears(t testing.TB, path string) {
	t.Helper()
	for range 2400 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s never appeared", path)
}

// TestPlanIsStopped stops a plan in the middle, for each reason there is.
func TestPlanIsStopped(t *testing.T) {
	t.Parallel()
	for cause, want := range map[error]Status{errCancelled: Superseded, errStopping: Queued, errPreempted: Queued} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			w := newRunsWorld(t, app("1"))
			started, let := w.slowTerraform()
			commit := w.commit(app("2"))
			r := w.add(Operation{Change: 7, Kind: KindPlan, Cause: CauseOpened, Commit: commit, HeadCommit: commit}, Run{Workspace: "app", Dir: "app"})[0]
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- w.workRun(ctx, r.ID) }()
			appears(t, started)
			cancel(cause)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			r, _ = w.look(r, want)
			let()
			if want == Queued {
				w.work(r, Planned)
			}
		})
	}
}

// TestApplyGoesFirst begins an apply while the workspace is planned for another
// change: the plan is given back, and made after it.
func TestApplyGoesFirst(t *testing.T) {
	t.Parallel()
	w := newRunsWorld(t, app("1"))
	commit := w.commit(app("2"))
	plan := w.planned(7, commit)
	started, let := w.slowTerraform()
	other := w.add(Operation{Change: 8, Kind: KindPlan, Cause: CauseOpened, Commit: commit, HeadCommit: commit}, Run{Workspace: "app", Dir: "app"})[0]
	key, on, done, ok := w.takeTurn(t.Context())
	if !ok || key != other.ID {
		t.Fatalf("turn: got %q, %v, want that of the plan", key, ok)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.workRun(on, key) }()
	appears(t, started)
	w.work(w.merged(7, commit, plan.Plan), Applied)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	done()
	let()
	other, _ = w.look(other, Queued)
	w.work(other, Unchanged)
}

// TestFencedApplyBeginsNothing has other processes take this one for dead just
// before Terraform is started.
func TestFencedApplyBeginsNothing(t *testing.T) {
	t.Parallel()
	w := newRunsWorld(t, app("1"))
	commit := w.commit(app("2"))
	plan := w.planned(7, commit)
	started, let := w.slowTerraform()
	// The new commit has the plan made again, and that waits.
	r := w.merged(7, w.commit(map[string]string{"app/more.tf": "locals {\n  a = 1\n}\n"}), plan.Plan)
	ended := make(chan error, 1)
	go func() { ended <- w.workRun(t.Context(), r.ID) }()
	appears(t, started)
	w.tx(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE run SET owner = 'another' WHERE id = $1", r.ID)
		return err
	})
	let()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.look(r, Running)
	if w.state() != "" {
		t.Error("a process that was taken for dead has applied something")
	}
}

// TestDoomedRun is no test: it is the process that works a run and is killed.
func TestDoomedRun(t *testing.T) {
	text := os.Getenv("PLUMBLINE_TEST_DOOMED_RUN")
	if text == "" {
		return
	}
	var job doomedRun
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		t.Fatal(err)
	}
	e, _, err := job.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.workAs(t.Context(), job.Run); err != nil {
		t.Fatal(err)
	}
}

// workAs works a run as workers do: it is in the list of what the process works on.
func (e *Engine) workAs(ctx context.Context, id string) error {
	var r Run
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		r, _, err = e.store.run(ctx, tx, id)
		return err
	})
	if err != nil {
		return err
	}
	on, done, ok := e.begin(ctx, runKey(id), &working{what: hintRun, run: Run{ID: id, Repository: r.Repository, Workspace: r.Workspace, Kind: r.Kind}})
	if !ok {
		return errors.New("somebody works on it")
	}
	defer done()
	return e.workRun(on, id)
}

// TestKilledInMidRun kills the server while Terraform applies: the apply goes
// on by itself, and its run ends with what came of it. It is never repeated.
func TestKilledInMidRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		want   Status
	}{
		"completes": {"sleep 3", Applied},
		"fails":     {"sleep 3; exit 1", Interrupted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mark := filepath.Join(t.TempDir(), "marks")
			w := newRunsWorld(t, app("1"))
			commit := w.commit(map[string]string{"app/main.tf": fmt.Sprintf("resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"echo begun; sleep 1; echo x >> %s; %s\"\n  }\n}\n", mark, c.script)})
			plan := w.planned(7, commit)
			r := w.merged(7, commit, plan.Plan)
			job := w.job
			job.Run = r.ID
			text, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			cmd := osexec.Command(os.Args[0], "-test.run=^TestDoomedRun$")
			cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_DOOMED_RUN="+string(text))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			appears(t, mark)
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()

			w.start()
			r, _ = w.look(r, Running)
			if r.Phase != PhaseApplying || r.Plan != plan.Plan || r.Owner == "" || r.Owner == w.process {
				t.Fatalf("left: got %+v, want one that applies, of a dead process", r)
			}
			for range 600 {
				if err := w.recoverRun(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				w.tx(func(tx *sql.Tx) (err error) {
					r, _, err = w.store.run(t.Context(), tx, r.ID)
					return err
				})
				if r.Status != Running {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			r, o := w.look(r, c.want)
			if c.want == Interrupted && !strings.Contains(o.Error, "terraform_data.x") {
				t.Errorf("the account is %q, want that it names what was begun", o.Error)
			}
			if got := w.output(r); !strings.Contains(got, "(local-exec): begun\n") || !strings.HasSuffix(got, "\n[the server died here; what Terraform went on to print was not kept]\n") {
				t.Errorf("of what it printed there is %q", got)
			}
			// The job that comes again does nothing.
			w.work(r, c.want)
			if marks, err := os.ReadFile(mark); err != nil || string(marks) != "x\n" {
				t.Errorf("marks: got %q, %v: the apply was repeated", marks, err)
			}
			if got := w.decisions(); got[len(got)-1] != "apply "+fmt.Sprint(c.want == Applied)+" "+string(c.want) {
				t.Errorf("decisions: got %q, want the last one to tell of %s", got, c.want)
			}
		})
	}
}

// TestRunsLeftBeforeAnApplyAreGivenBack takes over what a dead process left
// before it applied anything.
func TestRunsLeftBeforeAnApplyAreGivenBack(t *testing.T) {
	t.Parallel()
	w := newRunsWorld(t, app("1"))
	commit := w.commit(app("2"))
	plan := w.planned(7, commit)
	r := w.merged(7, commit, plan.Plan)
	leave := func(r Run, phase Phase) Run {
		w.tx(func(tx *sql.Tx) (err error) {
			if r, _, err = w.store.claimRun(t.Context(), tx, r.ID, "dead"); err != nil {
				return err
			}
			r.Phase = phase
			_, err = tx.ExecContext(t.Context(), "UPDATE run SET phase = $1, plan = $2 WHERE id = $3", string(phase), plan.Plan, r.ID)
			r.Plan = plan.Plan
			return err
		})
		return r
	}
	for _, phase := range []Phase{PhaseNone, PhasePreparing, PhasePlanning} {
		if err := w.recoverRun(t.Context(), leave(r, phase)); err != nil {
			t.Fatal(err)
		}
		w.look(r, Queued)
	}
	// The row says that it applies, and Terraform was never started: that is found out.
	if err := w.recoverRun(t.Context(), leave(r, PhaseApplying)); err != nil {
		t.Fatal(err)
	}
	w.look(r, Queued)
	w.work(r, Applied)
}

// TestExaminationEnds has an apply left of which nothing can be found out: its
// workspace is not closed for ever.
func TestExaminationEnds(t *testing.T) {
	t.Parallel()
	w := newRunsWorld(t, app("1"))
	commit := w.commit(app("2"))
	plan := w.planned(7, commit)
	r := w.merged(7, commit, plan.Plan)
	w.tx(func(tx *sql.Tx) (err error) {
		if r, _, err = w.store.claimRun(t.Context(), tx, r.ID, "dead"); err != nil {
			return err
		}
		_, err = tx.ExecContext(t.Context(), "UPDATE run SET phase = 'applying', plan = $1 WHERE id = $2", plan.Plan, r.ID)
		return err
	})
	r.Phase, r.Plan = PhaseApplying, plan.Plan
	died := time.Now()
	w.tx(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "INSERT INTO process (id, site, host, started_at, beat, beat_at, ended_at) VALUES ('dead', 'there', 'here', 1, 1, $1, $1)", millis(died))
		return err
	})
	w.Installer = terraform.NewInstaller(terraform.InstallerOptions{CacheDir: t.TempDir(), SearchPath: t.TempDir(), ReleasesURL: "http://127.0.0.1:1"})
	if err := w.recoverRun(t.Context(), r); err == nil {
		t.Error("there is no Terraform, and it was found out all the same")
	}
	w.look(r, Running)
	w.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if err := w.recoverRun(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	now, o := w.look(r, Interrupted)
	if !strings.Contains(o.Error, "could not be found out") {
		t.Errorf("the account is %q", o.Error)
	}
	// Whoever has locked the state by hand since the server died is not taken for this run.
	if at := now.EndedAt; at.Before(now.StartedAt) || at.After(died.Add(2*begunFor)) {
		t.Errorf("its process died at %v, and it ended at %v", died, at)
	}
}

// TestGone decides about locks.
func TestGone(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	runs := []Run{{Status: Interrupted, StartedAt: at.Add(-time.Minute), EndedAt: at.Add(time.Minute)}}
	lock := func(who string, at time.Time) terraform.LockedError {
		return terraform.LockedError{ID: "x", Who: who, Created: at.String(), Operation: "OperationTypeApply"}
	}
	for name, c := range map[string]struct {
		lock terraform.LockedError
		runs []Run
		want bool
	}{
		"ours, and over":                 {lock("me@here", at), runs, true},
		"another user on this host":      {lock("root@here", at), runs, false},
		"another host":                   {lock("me@laptop", at), runs, false},
		"nobody is named":                {terraform.LockedError{ID: "x"}, runs, false},
		"long after any run of ours":     {lock("me@here", at.Add(time.Hour)), runs, false},
		"before any run of ours":         {lock("me@here", at.Add(-time.Hour)), runs, false},
		"just before our run began":      {lock("me@here", at.Add(-90*time.Second)), runs, false},
		"just after it was over":         {lock("me@here", at.Add(90*time.Second)), runs, false},
		"its run is not over":            {lock("me@here", at), []Run{{Status: Running, StartedAt: at}}, false},
		"no run of ours was ever there":  {lock("me@here", at), nil, false},
		"the time cannot be read":        {terraform.LockedError{ID: "x", Who: "me@here", Created: "lately"}, runs, false},
		"its run was given back and not": {lock("me@here", at), []Run{{Status: Queued, StartedAt: at}}, false},
	} {
		if got, why := gone(c.lock, "me", map[string]bool{"here": true}, c.runs); got != c.want || why == "" {
			t.Errorf("%s: got %v (%s), want %v", name, got, why, c.want)
		}
	}
}

// TestUnlockRun asks for the lock of a state that nobody holds.
func TestUnlockRun(t *testing.T) {
	t.Parallel()
	w := newRunsWorld(t, app("1"))
	commit := w.commit(app("2"))
	r := w.add(Operation{Change: 7, Kind: KindUnlock, Cause: CauseCommand, Commit: commit, BaseCommit: commit}, Run{Workspace: "app", Dir: "app"})[0]
	if _, o := w.work(r, Unchanged); !strings.Contains(strings.Join(o.Notes, " "), "Nobody holds the lock") {
		t.Errorf("got %q, want that nobody holds it", o.Notes)
	}
}

// TestAfter decides what a run is once a worker has ended.
func TestAfter(t *testing.T) {
	t.Parallel()
	failed := runner.Result{Status: runner.Failed, Err: errors.New("boom")}
	for _, c := range []struct {
		res   runner.Result
		cause error
		want  Status
	}{
		{failed, nil, Failed},
		{failed, errCancelled, Superseded},
		{failed, errStopping, Queued},
		{failed, context.Canceled, Queued},
		{runner.Result{Status: runner.Skipped, Err: runner.ErrNotStarted}, errStopping, Queued},
		{runner.Result{Status: runner.Partly, Err: errors.New("boom")}, errStopping, Partly},
		{runner.Result{Status: runner.Applied}, errStopping, Applied},
		{runner.Result{Status: runner.Planned}, errCancelled, Planned},
		{runner.Result{Status: runner.Failed, Err: errOccupied}, nil, Queued},
		{runner.Result{Status: runner.Failed, Err: fmt.Errorf("x: %w", &terraform.BusyError{})}, nil, Queued},
	} {
		if got := after(c.res, c.cause); got != c.want {
			t.Errorf("after %s and %v: got %s, want %s", c.res.Status, c.cause, got, c.want)
		}
	}
}
