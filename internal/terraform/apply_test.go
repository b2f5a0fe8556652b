package terraform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// stateServer is a state store that Terraform's http backend talks to.
type stateServer struct {
	*httptest.Server
	mu     sync.Mutex
	state  []byte
	lock   []byte
	refuse bool          // answers to writes with an error
	hang   chan struct{} // when not nil, writes wait for it, and
	asked  chan struct{} // this is closed by the first one
	once   sync.Once
}

func serveState(t testing.TB) *stateServer {
	t.Helper()
	s := &stateServer{asked: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stateServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		if s.state == nil {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(s.state)
	case http.MethodPost:
		if s.hang != nil {
			s.once.Do(func() { close(s.asked) })
			hang := s.hang
			s.mu.Unlock()
			<-hang
			s.mu.Lock()
		}
		if s.refuse {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.state = body
	case "LOCK":
		if s.lock != nil {
			w.WriteHeader(http.StatusLocked)
			_, _ = w.Write(s.lock)
			return
		}
		s.lock = body
	case "UNLOCK":
		s.lock = nil
	}
}

// set changes how it behaves.
func (s *stateServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// backend is the configuration that uses it.
func (s *stateServer) backend() string {
	return fmt.Sprintf(`
terraform {
  backend "http" {
    address        = "%[1]s/state"
    lock_address   = "%[1]s/state"
    unlock_address = "%[1]s/state"
    retry_max      = 0
  }
}
`, s.URL)
}

// ready returns an initialised root module and a plan of it.
func ready(t testing.TB, o terraform.Options) (d *terraform.Dir, planFile string) {
	t.Helper()
	d = open(t, o)
	initialise(t, d)
	planFile, _ = plan(t, d)
	return d, planFile
}

func TestStateBehindABackend(t *testing.T) {
	t.Parallel()
	s := serveState(t)
	d, file := ready(t, options(t, module(t, "main.tf", s.backend()+"resource \"terraform_data\" \"it\" {}\n")))
	if got := state(t, d); got != (terraform.StateID{}) {
		t.Errorf("before the first apply: got %+v, want none", got)
	}
	a, err := d.Apply(t.Context(), file)
	if err != nil || a.After.Serial == 0 || a.After != state(t, d) {
		t.Errorf("got %+v, %v, want the state that is there now: %+v", a, err, state(t, d))
	}
	second, _ := plan(t, d)
	if got, err := terraform.PlanState(second); err != nil || got != a.After {
		t.Errorf("state of the next plan: got %+v, %v, want %+v", got, err, a.After)
	}
}

func TestStateLocked(t *testing.T) {
	t.Parallel()
	s := serveState(t)
	d, file := ready(t, options(t, module(t, "main.tf", s.backend()+"resource \"terraform_data\" \"it\" {}\n")))
	s.set(func() {
		s.lock = []byte(`{"ID":"b1946ac9","Operation":"OperationTypeApply","Who":"ada@engine","Version":"1.11.4","Created":"2026-01-02T03:04:05Z","Path":"x"}`)
	})
	a, err := d.Apply(t.Context(), file)
	var locked *terraform.LockedError
	// Terraform's http backend shows the lock that it could not take, not the one that is held; only the id is known.
	if !errors.As(err, &locked) || *locked != (terraform.LockedError{ID: "b1946ac9"}) {
		t.Fatalf("got %#v (%v), want a LockedError with the id", err, err)
	}
	if !strings.Contains(err.Error(), "terraform force-unlock b1946ac9") {
		t.Errorf("got %q, want what to do", err)
	}
	if a.Started {
		t.Errorf("apply of a locked state: got %+v, want Started false", a)
	}
	// Planning takes no lock.
	plan(t, d)
}

func TestStateLockedByAnotherApply(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	o := options(t, module(t, "main.tf", slowly(started, 600)))
	d, file := ready(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := d.Apply(ctx, file)
		ended <- err
	}()
	waitFor(t, started)
	o.DataDir += "2" // Another machine, or somebody by hand.
	other := open(t, o)
	_, err := other.Apply(t.Context(), file)
	var locked *terraform.LockedError
	if !errors.As(err, &locked) || locked.ID == "" || locked.Operation != "OperationTypeApply" || locked.Path != "terraform.tfstate" || !strings.Contains(locked.Who, "@") {
		t.Errorf("got %#v (%v), want a LockedError with its holder", err, err)
	}
	// This one waits for its turn, and gives up with its context.
	short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelShort()
	var stopped *terraform.Interrupted
	if a, err := d.Apply(short, file); !errors.As(err, &stopped) || stopped.Started || a.Started {
		t.Errorf("second apply with the same data directory: got %v, want one that was not started", err)
	}
	cancel()
	if err := <-ended; !errors.As(err, &stopped) || !stopped.Started {
		t.Errorf("the first apply: got %v, want that it was interrupted", err)
	}
}

func TestStateThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	s := serveState(t)
	dir := module(t, "main.tf", s.backend()+"resource \"terraform_data\" \"it\" {}\n")
	d, file := ready(t, options(t, dir))
	s.set(func() { s.refuse = true })
	a, err := d.Apply(t.Context(), file)
	want := filepath.Join(dir, "errored.tfstate")
	if err == nil || !a.Started || a.ErroredState != want || len(a.Done) != 1 || a.After != (terraform.StateID{}) {
		t.Fatalf("got %+v, %v, want an error and the path of errored.tfstate", a, err)
	}
	kept, readErr := os.ReadFile(a.ErroredState)
	if readErr != nil || !bytes.Contains(kept, []byte(`"terraform_data"`)) {
		t.Errorf("errored.tfstate: got %s, %v", kept, readErr)
	}
	for _, say := range []string{"One change was finished: terraform_data.it", "The state could NOT be saved", want, "terraform state push", "Failed to save state"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("want %q in:\n%v", say, err)
		}
	}
	// It would be overwritten.
	s.set(func() { s.refuse = false })
	if a, err := d.Apply(t.Context(), file); err == nil || a.Started || !strings.Contains(err.Error(), "an earlier apply could not save") {
		t.Errorf("with errored.tfstate in place: got %v, want a refusal", err)
	}
	if err := os.Remove(want); err != nil {
		t.Fatal(err)
	}
	if a, err := d.Apply(t.Context(), file); err != nil || a.ErroredState != "" {
		t.Errorf("with errored.tfstate out of the way: got %+v, %v", a, err)
	}
}

func TestApplyFailureInTheMiddle(t *testing.T) {
	t.Parallel()
	d, file := ready(t, options(t, module(t, "main.tf", `
resource "terraform_data" "first" {}

resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "echo 'x: Creation complete after 0s'; exit 7"
  }
}
`)))
	a, err := d.Apply(t.Context(), file)
	if err == nil || !a.Started || strings.Join(a.Done, " ") != "terraform_data.first" || strings.Join(a.Begun, " ") != "terraform_data.second" || a.After.Serial == 0 {
		t.Fatalf("got %+v, %v, want one done and one begun", a, err)
	}
	for _, say := range []string{"Error: local-exec provisioner error", "status 7", "One change was finished: terraform_data.first.",
		"Begun and not finished: terraform_data.second.", "The state was saved"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("want %q in:\n%v", say, err)
		}
	}
}

func TestApplyWithoutItsBinary(t *testing.T) {
	t.Parallel()
	o := options(t, module(t, "main.tf", "resource \"terraform_data\" \"it\" {}\n"))
	_, file := ready(t, o)
	o.Binary.Path = filepath.Join(t.TempDir(), "terraform")
	var missing *terraform.MissingError
	if a, err := open(t, o).Apply(t.Context(), file); !errors.As(err, &missing) || a.Started {
		t.Errorf("got %+v, %v, want a MissingError and Started false", a, err)
	}
}

// A provisioner may run Terraform, whose words are then within those of the one that runs it.
func TestApplyThatQuotesALock(t *testing.T) {
	t.Parallel()
	for name, quoted := range map[string]string{
		"lock":  `Error: Error acquiring the state lock\n\nLock Info:\n  ID: 7f3c\n`,
		"stale": `Error: Saved plan is stale\n`,
	} {
		dir := module(t, "said", strings.ReplaceAll(quoted, `\n`, "\n"), "main.tf", `
resource "terraform_data" "it" {
  provisioner "local-exec" {
    command = "cat said; exit 1"
  }
}
`)
		d, file := ready(t, options(t, dir))
		a, err := d.Apply(t.Context(), file)
		var locked *terraform.LockedError
		var stale *terraform.StalePlanError
		if err == nil || errors.As(err, &locked) || errors.As(err, &stale) || !a.Started || len(a.Begun) != 1 {
			t.Errorf("%s: got %+v, %#v, want an apply that was started and failed", name, a, err)
		}
	}
}

// Two workspaces of one root module share the place of errored.tfstate.
func TestErroredStateOfAnotherWorkspace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "main.tf", fmt.Sprintf(`
resource "terraform_data" "it" {
  provisioner "local-exec" {
    command = "echo '{}' > %s"
  }
}
`, filepath.Join(dir, "errored.tfstate")))
	d, file := ready(t, options(t, dir))
	if a, err := d.Apply(t.Context(), file); err != nil || a.ErroredState != "" || !a.Started {
		t.Errorf("got %+v, %v, want a success that left no errored state", a, err)
	}
	if d.ErroredState() == "" {
		t.Error("the file is not seen")
	}
}

// slowly is a resource that says when it is being made and then takes its time.
func slowly(started string, seconds int) string {
	return fmt.Sprintf(`
resource "terraform_data" "first" {}

resource "terraform_data" "slow" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "touch %s; exec sleep %d"
  }
}

resource "terraform_data" "last" {
  depends_on = [terraform_data.slow]
}
`, started, seconds)
}

// held is a resource that says when it is being made, by a file of that name, and is not made before that file is gone.
func held(started string) string {
	return strings.Replace(slowly(started, 0), "exec sleep 0", "while [ -e "+started+" ]; do sleep 0.1; done", 1)
}

func TestInterruptApply(t *testing.T) {
	t.Parallel()
	s := serveState(t)
	started := filepath.Join(t.TempDir(), "started")
	d, file := ready(t, options(t, module(t, "main.tf", s.backend()+slowly(started, 600))))
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		waitFor(t, started)
		cancel(errors.New("somebody pressed Ctrl-C"))
	}()
	a, err := d.Apply(ctx, file)
	var stopped *terraform.Interrupted
	if !errors.As(err, &stopped) || stopped.Killed || !stopped.Started || !a.Started || stopped.Command != "apply" || !errors.Is(err, context.Cause(ctx)) {
		t.Fatalf("got %#v, want an Interrupted that ended by itself", err)
	}
	if a.After.Serial == 0 || strings.Join(a.Done, " ") != "terraform_data.first" {
		t.Errorf("got %+v, want the state saved and the first resource done", a)
	}
	for _, say := range []string{"was interrupted and ended in good order", "One change was finished: terraform_data.first.",
		"Begun and not finished: terraform_data.slow.", "The state was saved"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("want %q in:\n%v", say, err)
		}
	}
	s.set(func() {
		if s.lock != nil || !bytes.Contains(s.state, []byte(`"first"`)) {
			t.Errorf("afterwards: lock %s, state %s, want no lock and the first resource", s.lock, s.state)
		}
	})
	if a, err := d.Apply(ctx, file); !errors.As(err, &stopped) || stopped.Started || a.Started {
		t.Errorf("apply with a cancelled context: got %v, want that it was not started", err)
	}
}

func TestInterruptReplacement(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	config := func(version int, command string) string {
		return fmt.Sprintf(`
resource "terraform_data" "it" {
  triggers_replace = [%d]
  provisioner "local-exec" {
    command = %q
  }
}
`, version, command)
	}
	dir := module(t, "main.tf", config(1, "true"))
	d, file := ready(t, options(t, dir))
	if _, err := d.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "main.tf", config(2, "touch "+started+"; exec sleep 600"))
	file, _ = plan(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		waitFor(t, started)
		cancel()
	}()
	_, err := d.Apply(ctx, file)
	const want = "terraform apply was interrupted and ended in good order.\n" +
		"terraform_data.it was destroyed; its creation was begun and not finished.\nThe state was saved"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want it to begin with\n%s", err, want)
	}
}

func TestInterruptApplyTwice(t *testing.T) {
	t.Parallel()
	s := serveState(t)
	o := options(t, module(t, "main.tf", s.backend()+"resource \"terraform_data\" \"it\" {}\n"))
	hurry := make(chan struct{})
	o.Hurry = hurry
	d, file := ready(t, o)
	s.set(func() { s.hang = make(chan struct{}) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.asked // Terraform saves the state, which does not end.
		cancel()
		close(hurry)
	}()
	t.Cleanup(func() { close(s.hang) })
	a, err := d.Apply(ctx, file)
	var stopped *terraform.Interrupted
	if !errors.As(err, &stopped) || stopped.Killed {
		t.Fatalf("got %v, want an Interrupted", err)
	}
	if a.After != (terraform.StateID{}) {
		t.Errorf("got %+v, want no state", a)
	}
	for _, say := range []string{"interrupted twice and gave up at once", "One change was finished: terraform_data.it", "The state is the one from before",
		"What was done may be missing from the state", "A state lock may remain"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("want %q in:\n%v", say, err)
		}
	}
}

// applyJob is what a process of its own is to apply, until it is killed.
type applyJob struct {
	Dir, DataDir, Plan string
	Binary             terraform.Binary
	Environ            []string
	// DieRecording has it killed as soon as Terraform has ended.
	DieRecording bool
}

func applyRole() error {
	var j applyJob
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	d, err := terraform.Open(terraform.Options{Dir: j.Dir, DataDir: j.DataDir, Binary: j.Binary, Environ: j.Environ})
	if err != nil {
		return err
	}
	ctx, cancel := contextWithLimit()
	defer cancel()
	_, err = d.ApplyWith(ctx, terraform.ApplyOptions{PlanFile: j.Plan, Name: "the plan", Record: func(terraform.Applied, error) error {
		if j.DieRecording {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}})
	return err
}

// TestDeathBeforeAnApplyIsRecorded kills plumbline when Terraform has ended, and before it could record that.
func TestDeathBeforeAnApplyIsRecorded(t *testing.T) {
	t.Parallel()
	o := options(t, module(t, "main.tf", "resource \"terraform_data\" \"it\" {}\n"))
	d, file := ready(t, o)
	_ = applying(t, applyJob{Dir: o.Dir, DataDir: o.DataDir, Plan: file, Binary: o.Binary, Environ: o.Environ, DieRecording: true}).Wait()
	left := abandoned(t, d)
	if !left.Completed || left.Ended || left.Name != "the plan" || strings.Join(left.Done, " ") != "terraform_data.it" {
		t.Errorf("got %+v, want the plan completed", left)
	}
}

// TestApplyThatCannotBeRecorded keeps the traces of an apply whose caller fails to record it.
func TestApplyThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	d, file := ready(t, options(t, module(t, "main.tf", "resource \"terraform_data\" \"it\" {}\n")))
	var told terraform.Applied
	record := func(a terraform.Applied, err error) error {
		told = a
		if left, abandonedErr := d.Abandoned(); left != nil || abandonedErr != nil || err != nil {
			t.Errorf("while it is recorded: got %+v, %v, want nothing abandoned", left, errors.Join(err, abandonedErr))
		}
		return errors.New("the disk is full")
	}
	a, err := d.ApplyWith(t.Context(), terraform.ApplyOptions{PlanFile: file, Name: "mine", Record: record})
	if err != nil || a.After != told.After || told.After.Serial == 0 {
		t.Fatalf("got %+v, %v, and told %+v, want a success", a, err, told)
	}
	if left := abandoned(t, d); !left.Completed || !left.Ended || left.Name != "mine" {
		t.Errorf("got %+v, want mine completed and not recorded", left)
	}
	// The same plan is stale now. That Terraform turned it down shows in the traces.
	refused := func(terraform.Applied, error) error { return errors.New("the disk is full") }
	var stale *terraform.StalePlanError
	if _, err := d.ApplyWith(t.Context(), terraform.ApplyOptions{PlanFile: file, Record: refused}); !errors.As(err, &stale) {
		t.Fatalf("got %v, want a StalePlanError", err)
	}
	if left := abandoned(t, d); left.Completed || !left.Refused {
		t.Errorf("got %+v, want a refused plan", left)
	}
}

// TestDeathWhileTerraformStarts has plumbline die before it could note which process Terraform is.
func TestDeathWhileTerraformStarts(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	o := options(t, module(t, "main.tf", held(started)))
	d, file := ready(t, o)
	applyAndDie(t, o, file, started, func() {})
	name := filepath.Join(o.DataDir, "plumbline-apply", "record.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(data, &record); err != nil {
		t.Fatal(err)
	}
	record["pid"], record["start"] = 0, ""
	if data, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var busy *terraform.BusyError
	if _, err := d.Apply(t.Context(), file); !errors.As(err, &busy) || busy.PID != 0 {
		t.Errorf("apply while it runs: got %v, want a BusyError", err)
	}
	release(t, started)
	if left := abandoned(t, d); !left.Completed {
		t.Errorf("got %+v, want that it completed", left)
	}
}

// applyAndDie applies a plan in a process of its own, which is killed when the file started has come up, after alive.
func applyAndDie(t testing.TB, o terraform.Options, file, started string, alive func()) {
	t.Helper()
	plumbline := applying(t, applyJob{Dir: o.Dir, DataDir: o.DataDir, Plan: file, Binary: o.Binary, Environ: o.Environ})
	waitFor(t, started)
	alive()
	if err := plumbline.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = plumbline.Wait()
}

// applying starts a process that applies.
func applying(t testing.TB, j applyJob) *exec.Cmd {
	t.Helper()
	in, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plumbline := exec.Command(self)
	plumbline.Env = append(os.Environ(), "PLUMBLINE_TEST_ROLE=apply")
	plumbline.Stdin = bytes.NewReader(in)
	if err := plumbline.Start(); err != nil {
		t.Fatal(err)
	}
	return plumbline
}

// release has what waits for it go on.
func release(t testing.TB, started string) {
	t.Helper()
	if err := os.Remove(started); err != nil {
		t.Fatal(err)
	}
}

// abandoned waits until Terraform has ended.
func abandoned(t testing.TB, d *terraform.Dir) *terraform.Abandoned {
	t.Helper()
	for {
		left, err := d.Abandoned()
		if err != nil || left == nil {
			t.Fatalf("abandoned: got %+v, %v", left, err)
		}
		if !left.Running {
			return left
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestApplyOutlivesPlumbline(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	o := options(t, module(t, "main.tf", held(started)))
	d, file := ready(t, o)
	applyAndDie(t, o, file, started, func() {
		if left, err := d.Abandoned(); err != nil || left != nil {
			t.Errorf("while plumbline lives: got %+v, %v, want nothing abandoned", left, err)
		}
	})

	var busy *terraform.BusyError
	a, err := d.Apply(t.Context(), file)
	if !errors.As(err, &busy) || busy.PID == 0 || a.Started {
		t.Fatalf("apply while Terraform still runs: got %v, want a BusyError", err)
	}
	if _, err := d.Plan(t.Context(), terraform.PlanOptions{Out: filepath.Join(t.TempDir(), "plan")}); !errors.As(err, &busy) {
		t.Errorf("plan while Terraform still runs: got %v, want a BusyError", err)
	}
	left, err := d.Abandoned()
	if err != nil || left == nil || !left.Running || left.PID != busy.PID || left.PlanFile != file || left.ErroredState != "" {
		t.Fatalf("abandoned: got %+v, %v, want a running one", left, err)
	}
	if err := d.ForgetAbandoned(left); err != nil {
		t.Error(err)
	}
	release(t, started)
	left = abandoned(t, d) // While it ran it was not forgotten.
	if want := "terraform_data.first terraform_data.slow terraform_data.last"; strings.Join(left.Done, " ") != want || !left.Completed || left.Errors != "" {
		t.Errorf("abandoned: got %+v, want that it completed with %s", left, want)
	}
	if got := state(t, d); got.Serial == 0 {
		t.Error("the state was not saved")
	}
	if _, changes := plan(t, d); changes {
		t.Error("a plan afterwards has changes")
	}
	another := *left
	another.Began = another.Began.Add(-time.Hour)
	for _, told := range []*terraform.Abandoned{nil, &another} {
		if err := d.ForgetAbandoned(told); err != nil {
			t.Error(err)
		}
		if left, err := d.Abandoned(); err != nil || left == nil {
			t.Errorf("after another one was forgotten: got %+v, %v", left, err)
		}
	}
	if err := d.ForgetAbandoned(left); err != nil {
		t.Error(err)
	}
	if left, err := d.Abandoned(); err != nil || left != nil {
		t.Errorf("after it was forgotten: got %+v, %v", left, err)
	}
}

func TestAbandonedApplyThatCannotSaveItsState(t *testing.T) {
	t.Parallel()
	s := serveState(t)
	started := filepath.Join(t.TempDir(), "started")
	o := options(t, module(t, "main.tf", s.backend()+held(started)))
	d, file := ready(t, o)
	applyAndDie(t, o, file, started, func() {
		if got := d.ErroredState(); got != "" {
			t.Errorf("errored state before: got %q", got)
		}
		s.set(func() { s.refuse = true })
	})
	release(t, started)
	left := abandoned(t, d)
	want := filepath.Join(o.Dir, "errored.tfstate")
	if left.ErroredState != want || d.ErroredState() != want || left.Completed || !strings.Contains(left.Errors, "Failed to save state") {
		t.Errorf("abandoned: got %+v and errored state %q, want %s", left, d.ErroredState(), want)
	}
	if err := os.Remove(want); err != nil {
		t.Fatal(err)
	}
	if got := d.ErroredState(); got != "" {
		t.Errorf("errored state after it was removed: got %q", got)
	}
}

// faulty are options with a script in the place of Terraform.
func faulty(t testing.TB, script string) terraform.Options {
	t.Helper()
	o := options(t, module(t))
	o.Binary.Path = filepath.Join(fake(t, "terraform", script), "terraform")
	o.Grace = 100 * time.Millisecond
	return o
}

func TestFaults(t *testing.T) {
	t.Parallel()
	out := func() terraform.PlanOptions {
		return terraform.PlanOptions{Out: filepath.Join(t.TempDir(), "plan")}
	}
	fails := func(o terraform.Options, say ...string) error {
		t.Helper()
		d := open(t, o)
		_, err := d.Plan(t.Context(), out())
		for _, s := range say {
			if err == nil || !strings.Contains(err.Error(), s) || len(err.Error()) > 64<<10 || strings.Contains(err.Error(), o.Dir) {
				t.Errorf("plan: got %v, want a short error that says %q", err, s)
			}
		}
		_, _, err = d.Show(t.Context(), "plan")
		for _, s := range say {
			s = strings.ReplaceAll(s, "plan", "show")
			if err == nil || !strings.Contains(err.Error(), s) || len(err.Error()) > 64<<10 || strings.Contains(err.Error(), o.Dir) {
				t.Errorf("show: got %v, want a short error that says %q", err, s)
			}
		}
		return err
	}
	for script, say := range map[string][]string{
		"kill -9 $$": {"terraform plan", "was ended from outside (signal: killed)"},
		"exit 1":     {"failed with status 1", "it printed nothing"},
		"echo 'it broke: ' $TF_DATA_DIR >&2; exit 12":                                            {"failed with status 12", "it broke:"},
		"yes 'Error: all the same' | head -c 3000000 >&2; yes | head -c 30000000; exit 1":        {"Error: all the same"},
		"i=0; while [ $i -lt 9000 ]; do echo \"Error: number $i\"; i=$((i+1)); done >&2; exit 1": {"Error: number 7", "more errors"},
	} {
		if err := fails(faulty(t, script), say...); err == nil {
			t.Errorf("%s: no error", script)
		}
	}

	o := faulty(t, "exit 1")
	if err := os.Remove(o.Binary.Path); err != nil {
		t.Fatal(err)
	}
	var missing *terraform.MissingError
	if err := fails(o, o.Binary.Path, "was it removed?"); !errors.As(err, &missing) {
		t.Errorf("got %#v, want a MissingError", err)
	}
	// Shows what is not a plan.
	for _, garbage := range []string{"echo hello", "echo '{}'", "true"} {
		if _, _, err := open(t, faulty(t, garbage)).Show(t.Context(), "plan"); err == nil || !strings.Contains(err.Error(), "what terraform show printed") {
			t.Errorf("show of %q: got %v", garbage, err)
		}
	}
}

func TestFlood(t *testing.T) {
	t.Parallel()
	_, err := open(t, faulty(t, "yes 'Error: without end' >&2")).Plan(t.Context(), terraform.PlanOptions{Out: filepath.Join(t.TempDir(), "plan")})
	if err == nil || !strings.Contains(err.Error(), "more than 64 MiB of errors") {
		t.Errorf("got %v, want that it was stopped", err)
	}
}

func TestTerraformThatHangs(t *testing.T) {
	t.Parallel()
	for command, call := range map[string]func(context.Context, *terraform.Dir) error{
		"init": func(ctx context.Context, d *terraform.Dir) error {
			_, err := d.Init(ctx)
			return err
		},
		"plan": func(ctx context.Context, d *terraform.Dir) error {
			_, err := d.Plan(ctx, terraform.PlanOptions{Out: filepath.Join(t.TempDir(), "plan")})
			return err
		},
		"show": func(ctx context.Context, d *terraform.Dir) error {
			_, _, err := d.Show(ctx, "plan")
			return err
		},
	} {
		started := filepath.Join(t.TempDir(), "started")
		// It has a child that holds its output open, as a provider may.
		d := open(t, faulty(t, "trap '' INT; touch "+started+"; sleep 600; sleep 600"))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			waitFor(t, started)
			cancel()
		}()
		var stopped *terraform.Interrupted
		if err := call(ctx, d); !errors.As(err, &stopped) || !stopped.Killed || stopped.Command != command || !strings.Contains(err.Error(), command+" was interrupted") || !strings.Contains(err.Error(), "was killed") {
			t.Errorf("%s: got %v, want an Interrupted that was killed", command, err)
		}
		if err := call(ctx, d); !errors.As(err, &stopped) || stopped.Started {
			t.Errorf("%s, cancelled before: got %v, want one that was not started", command, err)
		}
	}
}

func TestPlanState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "empty", "", "garbage", "PK\x03\x04 and so on")
	d, file := ready(t, options(t, module(t, "main.tf", "resource \"terraform_data\" \"it\" {}\n")))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "truncated", string(whole[:len(whole)-30]))
	for _, name := range []string{"empty", "garbage", "truncated"} {
		if _, err := terraform.PlanState(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), "not a plan file, or is truncated") {
			t.Errorf("%s: got %v", name, err)
		}
		if a, err := d.Apply(t.Context(), filepath.Join(dir, name)); err == nil || a.Started {
			t.Errorf("%s was applied: %+v", name, a)
		}
	}
	if _, err := terraform.PlanState(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: got %v", err)
	}
}

func BenchmarkPlan(b *testing.B) {
	for name, commands := range map[string]func(*terraform.Dir, string) error{
		"init+plan+show": func(d *terraform.Dir, out string) error {
			if _, err := d.Init(context.Background()); err != nil {
				return err
			}
			if _, err := d.Plan(context.Background(), terraform.PlanOptions{Out: out}); err != nil {
				return err
			}
			_, _, err := d.Show(context.Background(), out)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			o := options(b, module(b, "main.tf", usesLocal))
			d := open(b, o)
			if _, err := d.Init(context.Background()); err != nil {
				b.Fatal(err)
			}
			out := filepath.Join(b.TempDir(), "plan")
			for b.Loop() {
				if err := commands(d, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("bare", func(b *testing.B) {
		o := options(b, module(b, "main.tf", usesLocal))
		bare := func(args ...string) {
			cmd := exec.Command(parts.Terraform(b), args...)
			cmd.Dir = o.Dir
			cmd.Env = append(o.Environ, "CHECKPOINT_DISABLE=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
		bare("init")
		out := filepath.Join(b.TempDir(), "plan")
		for b.Loop() {
			bare("init")
			bare("plan", "-out="+out)
		}
	})
}
