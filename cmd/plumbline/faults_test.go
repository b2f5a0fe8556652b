package main

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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// testCheckout is a plumbline that a test starts as a process of its own, in a
// directory of its own.
type testCheckout struct {
	t       *testing.T
	dir     string
	environ []string
}

func newTestCheckout(t *testing.T, files map[string]string) *testCheckout {
	t.Helper()
	dir, home := t.TempDir(), t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &testCheckout{t: t, dir: dir, environ: []string{
		"HOME=" + home,
		"PATH=" + filepath.Dir(parts.Terraform(t)) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"TMPDIR=" + t.TempDir(),
		"CHECKPOINT_DISABLE=1",
	}}
}

// start starts the test binary as plumbline.
func (c *testCheckout) start(args ...string) (cmd *exec.Cmd, out *lockedBuffer) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	c.t.Cleanup(cancel)
	out = &lockedBuffer{}
	cmd = exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = "plumbline"
	cmd.Dir, cmd.Env = c.dir, c.environ
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return cmd, out
}

// run runs plumbline to its end and wants an exit status of it.
func (c *testCheckout) run(want int, args ...string) string {
	c.t.Helper()
	cmd, out := c.start(args...)
	got := exitStatus(c.t, cmd.Wait())
	if got != want {
		c.t.Fatalf("plumbline %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, want, out)
	}
	return out.String()
}

func exitStatus(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// stateServer is a remote backend that can be slow or refuse to save.
type stateServer struct {
	url    string
	refuse atomic.Bool
	// saving gets a value when a save begins that is held.
	saving chan struct{}
	mu     sync.Mutex
	gate   chan struct{}
	state  []byte
}

func newStateServer(t *testing.T) *stateServer {
	s := &stateServer{saving: make(chan struct{}, 1)}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *stateServer) config() string {
	return fmt.Sprintf("terraform {\n  backend \"http\" {\n    address = %q\n    retry_max = 0\n  }\n}\n", s.url)
}

// hold makes every save wait until release is called.
func (s *stateServer) hold() (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	s.gate = gate
	s.mu.Unlock()
	return sync.OnceFunc(func() { close(gate) })
}

func (s *stateServer) serve(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.state == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(s.state)
	case http.MethodPost:
		if s.refuse.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		gate := s.gate
		s.mu.Unlock()
		if gate != nil {
			select {
			case s.saving <- struct{}{}:
			default:
			}
			<-gate
		}
		s.mu.Lock()
		s.state = body
		s.mu.Unlock()
	}
}

// wait waits until a file is there: the sign that Terraform is in the middle
// of something.
func wait(t *testing.T, file string) {
	t.Helper()
	for range 2400 {
		if _, err := os.Stat(file); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s never appeared", file)
}

// TestInterruptLetsAnApplyEnd interrupts an apply in the middle of its first
// resource: Terraform saves what it did, begins nothing more, and the next
// workspace is not started.
func TestInterruptLetsAnApplyEnd(t *testing.T) {
	t.Parallel()
	c := newTestCheckout(t, map[string]string{
		"plumbline.yaml": "version: 1\nworkspaces:\n  - dir: one\n  - {dir: two, depends_on: [one]}\n",
		"one/main.tf": `
resource "terraform_data" "first" {
  provisioner "local-exec" { command = "touch started; exec sleep 60" }
}
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "touch second" }
}
`,
		"two/main.tf": `resource "terraform_data" "x" {
  provisioner "local-exec" { command = "touch started" }
}
`,
	})
	c.run(exitChanges, "plan")
	cmd, out := c.start("apply")
	wait(t, filepath.Join(c.dir, "one/started"))
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if got := exitStatus(t, cmd.Wait()); got != exitError {
		t.Errorf("an interrupted apply ends with status %d, want %d", got, exitError)
	}
	for _, file := range []string{"one/second", "two/started"} {
		if _, err := os.Stat(filepath.Join(c.dir, file)); err == nil {
			t.Errorf("%s exists: it was begun after the interrupt\n%s", file, out)
		}
	}
	// Terraform ends a provisioner and keeps the resource, tainted.
	state, err := os.ReadFile(filepath.Join(c.dir, "one/terraform.tfstate"))
	if err != nil || !strings.Contains(string(state), `"first"`) || strings.Contains(string(state), `"second"`) {
		t.Errorf("the state does not hold what was done and only that: %v\n%s", err, state)
	}
	for _, want := range []string{"interrupted", "a second interrupt", "partly applied", "not started", "The state was saved"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q:\n%s", want, out)
		}
	}
	// No lock remains: what is left can be planned as ever.
	c.run(exitChanges, "plan", "one")
}

// TestSecondInterruptSaysWhatMayBeLost interrupts twice while Terraform saves
// its state over a slow line: it exits at once, and the user is told what that
// may mean.
func TestSecondInterruptSaysWhatMayBeLost(t *testing.T) {
	t.Parallel()
	backend := newStateServer(t)
	c := newTestCheckout(t, map[string]string{"main.tf": backend.config() + `
resource "terraform_data" "x" {}
`})
	c.run(exitChanges, "plan")
	release := backend.hold()
	defer release()
	cmd, out := c.start("apply")
	<-backend.saving
	start := time.Now()
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	if got := exitStatus(t, cmd.Wait()); got != exitError {
		t.Errorf("exit status %d, want %d", got, exitError)
	}
	// Not a measure of speed: the line is never released before.
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the second interrupt did not end the apply: it took %s", took)
	}
	for _, want := range []string{"may be lost", "exits at once", "terraform_data.x"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q:\n%s", want, out)
		}
	}
}

// TestStateThatCannotBeSavedIsKept applies against a backend that refuses the
// new state: the state lands, sealed, in the plan store, and comes back whole.
func TestStateThatCannotBeSavedIsKept(t *testing.T) {
	t.Parallel()
	backend := newStateServer(t)
	c := newTestCheckout(t, map[string]string{"app/main.tf": backend.config() + `
resource "terraform_data" "x" { input = "canary-state-7731" }
`})
	c.run(exitChanges, "plan")
	backend.refuse.Store(true)
	out := c.run(exitError, "apply")
	if !strings.Contains(out, "plans show --state") || !strings.Contains(out, "state push") {
		t.Errorf("the output does not say how to get the state back:\n%s", out)
	}
	left, err := os.ReadFile(filepath.Join(c.dir, "app/errored.tfstate"))
	if err != nil {
		t.Errorf("Terraform's own file is gone: %v", err)
	}
	var states []struct{ Place, Workspace string }
	if err := json.Unmarshal([]byte(c.run(exitOK, "plans", "list", "--states", "--json")), &states); err != nil || len(states) != 1 || states[0].Workspace != "app" {
		t.Fatalf("plans list --states: %v, %+v, want one of app", err, states)
	}
	state := c.run(exitOK, "plans", "show", "--state", states[0].Place)
	if state != string(left) || !strings.Contains(state, "canary-state-7731") {
		t.Errorf("the kept state is not what Terraform left:\n%s", state)
	}
	// Sealed: nowhere in clear.
	home := strings.TrimPrefix(c.environ[0], "HOME=")
	err = filepath.WalkDir(filepath.Join(home, ".local"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte("canary-state-7731")) {
			t.Errorf("%s holds the state in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// And it can be pushed.
	backend.refuse.Store(false)
	if err := os.WriteFile(filepath.Join(c.dir, "app/recovered.tfstate"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-input=false"}, {"state", "push", "recovered.tfstate"}} {
		cmd := exec.Command(parts.Terraform(t), append([]string{"-chdir=" + filepath.Join(c.dir, "app")}, args...)...)
		cmd.Env = c.environ
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("terraform %s: %v\n%s", args, err, out)
		}
	}
	if err := os.Remove(filepath.Join(c.dir, "app/recovered.tfstate")); err != nil {
		t.Fatal(err)
	}
	c.run(exitOK, "plan")
}

// TestTerraformThatCannotRun gives plumbline no Terraform, or one that is not
// what it should be: it says what was wanted, what there is and what to do, and
// it ends.
func TestTerraformThatCannotRun(t *testing.T) {
	t.Parallel()
	real := parts.Terraform(t)
	for name, c := range map[string]struct {
		script, config string
		want           []string
	}{
		"missing":       {"", "", []string{"erraform", "PATH"}},
		"wrong version": {`exec "` + real + `" "$@"`, `terraform { required_version = ">= 99.0" }`, []string{">= 99.0", "required_version"}},
		"no Terraform":  {`echo hello`, "", []string{"not"}},
		"killed":        {`if [ "$1" = plan ]; then kill -9 $$; fi; exec "` + real + `" "$@"`, "", []string{"kill"}},
		"talkative": {`if [ "$1" = plan ]; then i=0; while [ $i -lt 40000 ]; do echo "line $i of very much that nobody asked for, and more of it"; i=$((i+1)); done; echo "Error: enough" >&2; exit 1; fi; exec "` + real + `" "$@"`,
			"", []string{"enough"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			co := newTestCheckout(t, map[string]string{"main.tf": c.config + "\nresource \"terraform_data\" \"x\" {}\n"})
			bin := t.TempDir()
			git, err := exec.LookPath("git")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(git, filepath.Join(bin, "git")); err != nil {
				t.Fatal(err)
			}
			if c.script != "" {
				if err := os.WriteFile(filepath.Join(bin, "terraform"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for i, kv := range co.environ {
				if strings.HasPrefix(kv, "PATH=") {
					co.environ[i] = "PATH=" + bin
				}
			}
			// Nothing can be installed from a place that does not answer.
			co.environ = append(co.environ, "PLUMBLINE_TERRAFORM_RELEASES=http://127.0.0.1:1")
			out := co.run(exitError, "plan")
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("the output does not say %q:\n%s", want, out)
				}
			}
			if len(out) > 64<<10 {
				t.Errorf("the output has %d bytes: Terraform's own was passed on without bound", len(out))
			}
		})
	}
}

// TestKilledInMidApply kills plumbline with no chance to tidy up. Terraform
// goes on to its end; the next run waits for nobody, tells what happened, and
// takes away what lay about in clear.
func TestKilledInMidApply(t *testing.T) {
	t.Parallel()
	c := newTestCheckout(t, map[string]string{"main.tf": `
resource "terraform_data" "x" {
  input = "canary-plan-2209"
  provisioner "local-exec" { command = "touch started; sleep 3" }
}
`})
	c.run(exitChanges, "plan")
	cmd, _ := c.start("apply")
	wait(t, filepath.Join(c.dir, "started"))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed, and says so.
	if got := c.plansInClear(); len(got) == 0 {
		t.Error("a killed run leaves no plan file in clear: this test no longer sees what it is for")
	}
	wait(t, filepath.Join(c.dir, "terraform.tfstate"))

	// While Terraform is still at it, nothing else may begin; then the account.
	var out string
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); {
		cmd, buffer := c.start("plan")
		status := exitStatus(t, cmd.Wait())
		if out = buffer.String(); status != exitError {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	for _, want := range []string{"went on by itself", "terraform_data.x"} {
		if !strings.Contains(out, want) {
			t.Errorf("the next plan does not say %q:\n%s", want, out)
		}
	}
	if got := c.plansInClear(); len(got) > 0 {
		t.Errorf("plan files in clear are still there: %q", got)
	}
	// What was applied is not applied again: the newest plan is an empty one.
	if out := c.run(exitOK, "apply", "."); strings.Contains(out, "applying") {
		t.Errorf("it was applied again:\n%s", out)
	}
}

// plansInClear are the plan files that lie in the cache.
func (c *testCheckout) plansInClear() []string {
	var found []string
	home := strings.TrimPrefix(c.environ[0], "HOME=")
	err := filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(d.Name(), ".tfplan") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return found
}

// TestDemoStaysUp holds --keep to staying up, and Ctrl-C to ending it.
func TestDemoStaysUp(t *testing.T) {
	t.Parallel()
	c := newTestCheckout(t, nil)
	cmd, out := c.start("demo", "--keep")
	for range 2400 {
		if strings.Contains(out.String(), "/admin/nodes/web-1") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !strings.Contains(out.String(), "press Ctrl-C") {
		t.Fatalf("the demo does not say that it stays up:\n%s", out)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if got := exitStatus(t, cmd.Wait()); got != exitOK {
		t.Errorf("exit status %d, want %d\n%s", got, exitOK, out)
	}
	if strings.Contains(out.String(), "may be lost") {
		t.Errorf("the demo warns of what cannot happen:\n%s", out)
	}
}
