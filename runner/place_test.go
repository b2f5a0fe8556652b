package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// TestMain lets the test binary be the Plumbline that dies.
func TestMain(m *testing.M) {
	if job := os.Getenv("PLUMBLINE_TEST_DOOMED"); job != "" {
		if err := doomed(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// place is a repository with all that a runner needs, as a server keeps it.
// It can be handed to another process.
type place struct {
	Root, Work, Store, LocalState string
	Path, Home, Config            string
	// Kill names the moment at which a doomed process kills itself; Plan and
	// Change are what it applies.
	Kill, Plan, Change string
	// Correct has it correct drift instead.
	Correct bool
}

func newPlace(t *testing.T, files map[string]string) *place {
	t.Helper()
	p := &place{
		Root: t.TempDir(), Work: t.TempDir(), Store: t.TempDir(), Home: t.TempDir(),
		Path:   filepath.Dir(parts.Terraform(t)) + string(os.PathListSeparator) + os.Getenv("PATH"),
		Config: parts.MirrorConfig(t),
	}
	for name, text := range files {
		p.write(t, name, text)
	}
	return p
}

func (p *place) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(p.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const testKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func (p *place) openStore(ctx context.Context) (*planstore.Store, error) {
	return planstore.Open(ctx, planstore.Options{Location: p.Store, Key: testKey, Repository: "repo"})
}

func (p *place) store(t testing.TB) *planstore.Store {
	t.Helper()
	s, err := p.openStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runner opens a runner for one change, and the set it works on.
func (p *place) runner(ctx context.Context, change string, adjust ...func(*runner.Options)) (*runner.Runner, *workspaces.Set, error) {
	files, err := p.committed()
	if err != nil {
		return nil, nil, err
	}
	set, err := workspaces.Discover(ctx, files, workspaces.Options{})
	if err != nil {
		return nil, nil, err
	}
	store, err := p.openStore(ctx)
	if err != nil {
		return nil, nil, err
	}
	o := runner.Options{
		Root: p.Root, WorkDir: p.Work, Files: files, Set: set, Repository: "repo", Change: change, Plans: store,
		Installer:  terraform.NewInstaller(terraform.InstallerOptions{CacheDir: filepath.Join(p.Home, "terraform"), SearchPath: p.Path}),
		LocalState: p.LocalState,
		Access:     access.New(access.Options{Environ: []string{"WRITES=canary-of-an-apply"}, Anything: true}),
		Environ:    []string{"PATH=" + p.Path, "HOME=" + p.Home, "TF_CLI_CONFIG_FILE=" + p.Config, "CHECKPOINT_DISABLE=1"},
	}
	for _, a := range adjust {
		a(&o)
	}
	r, err := runner.New(o)
	return r, set, err
}

// committed are the files of the root but for those that a server adds: what
// Git has.
func (p *place) committed() (fs.FS, error) {
	files := fstest.MapFS{}
	err := filepath.WalkDir(p.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "_plumbline_backend_override.tf.json") {
			return err
		}
		name, err := filepath.Rel(p.Root, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		files[filepath.ToSlash(name)] = &fstest.MapFile{Data: text}
		return err
	})
	return files, err
}

func (p *place) open(t testing.TB, change string, adjust ...func(*runner.Options)) (*runner.Runner, *workspaces.Set) {
	t.Helper()
	r, set, err := p.runner(t.Context(), change, adjust...)
	if err != nil {
		t.Fatal(err)
	}
	return r, set
}

// workspace finds one by name; "" is the only one.
func workspace(t testing.TB, set *workspaces.Set, name string) *workspaces.Workspace {
	t.Helper()
	for _, w := range set.Workspaces {
		if w.Name == name || name == "" && len(set.Workspaces) == 1 {
			return w
		}
	}
	t.Fatalf("there is no workspace %q", name)
	return nil
}

// plan plans the only workspace for a change, and wants changes.
func (p *place) plan(t testing.TB, change string) runner.Result {
	t.Helper()
	r, set := p.open(t, change)
	res := r.Plan(t.Context(), set.Workspaces)[0]
	if res.Status != runner.Planned {
		t.Fatalf("plan for %q: got %s, %v, want planned", change, res.Status, res.Err)
	}
	return res
}

// apply applies what is chosen, and wants a status.
func (p *place) apply(t testing.TB, change string, c runner.Choice, want runner.Status) runner.Result {
	t.Helper()
	r, set := p.open(t, change)
	res := r.ApplyChosen(t.Context(), workspace(t, set, ""), c)
	if res.Status != want {
		t.Fatalf("apply of %q: got %s, %v, %+v, want %s", change, res.Status, res.Err, res.Hold, want)
	}
	return res
}

// stored names the plans in the store, the newest first, by change and purpose.
func (p *place) stored(t testing.TB) string {
	t.Helper()
	plans, err := p.store(t).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, plan := range plans {
		names = append(names, plan.Change+" "+plan.Purpose)
	}
	return strings.Join(names, ", ")
}

// die applies a plan in a process of its own that is killed: by itself at the
// moment named kill, or by the caller.
func (p *place) die(t testing.TB, kill, change, plan string) *exec.Cmd {
	t.Helper()
	job := *p
	job.Kill, job.Change, job.Plan = kill, change, plan
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_DOOMED="+string(text))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

const (
	killBefore = "before Terraform is started"
	killAfter  = "when Terraform has ended"
)

func doomed(job string) error {
	var p place
	if err := json.Unmarshal([]byte(job), &p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	die := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	begun := false
	r, set, err := p.runner(ctx, p.Change, func(o *runner.Options) {
		o.Before = func(context.Context, *workspaces.Workspace, planstore.Plan) error {
			begun = true
			if p.Kill == killBefore {
				die()
			}
			return nil
		}
		// The clock is looked at for the record of the apply.
		o.Now = func() time.Time {
			if begun && p.Kill == killAfter {
				die()
			}
			return time.Now()
		}
	})
	if err != nil {
		return err
	}
	if p.Correct {
		ladder := drift.All
		res := r.Drift(ctx, set.Workspaces, runner.DriftOptions{Correct: true, AtMost: &ladder})[0]
		return fmt.Errorf("a correction that was to be killed ended: %s, %w", res.Status, res.Err)
	}
	if res := r.ApplyChosen(ctx, set.Workspaces[0], runner.Choice{PlanID: p.Plan}); res.Status != runner.Applied {
		return errors.Join(fmt.Errorf("%s", res.Status), res.Err)
	}
	return nil
}

// appears waits for a file: the sign that Terraform is in the middle of something.
func appears(t testing.TB, path string) {
	t.Helper()
	until(t, path+" is there", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for range 2400 {
		if so() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("waited for long, and still not: %s", what)
}
