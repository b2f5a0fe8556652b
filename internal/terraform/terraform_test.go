package terraform_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// roles are what this test binary does when another test starts it as a process of its own.
var roles = map[string]func() error{
	"init":  initRole,
	"find":  findRole,
	"apply": applyRole,
}

func TestMain(m *testing.M) {
	if role := os.Getenv("PLUMBLINE_TEST_ROLE"); role != "" {
		if err := roles[role](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// module writes a root module and returns its directory. Files are given as name, content, name, content and so on.
func module(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files...)
	return dir
}

func write(t testing.TB, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// options are those that most tests begin with: the real Terraform, and an environment that reaches no network.
func options(t testing.TB, dir string) terraform.Options {
	t.Helper()
	return terraform.Options{
		Dir:     dir,
		DataDir: filepath.Join(t.TempDir(), "data"),
		Binary:  terraform.Binary{Engine: "terraform", Path: parts.Terraform(t), Version: "1.11.4", From: "PATH"},
		Environ: []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
			"TF_CLI_CONFIG_FILE=" + parts.MirrorConfig(t, parts.Mirror(t)),
		},
	}
}

func open(t testing.TB, o terraform.Options) *terraform.Dir {
	t.Helper()
	d, err := terraform.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func initialise(t testing.TB, d *terraform.Dir) terraform.Init {
	t.Helper()
	in, err := d.Init(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// plan plans to a file of its own.
func plan(t testing.TB, d *terraform.Dir) (file string, changes bool) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "plan")
	changes, err := d.Plan(t.Context(), terraform.PlanOptions{Out: file})
	if err != nil {
		t.Fatal(err)
	}
	return file, changes
}

func state(t testing.TB, d *terraform.Dir) terraform.StateID {
	t.Helper()
	id, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

const twoThings = `
variable "greeting" {
  type = string
}

resource "terraform_data" "one" {
  input = var.greeting
}

resource "terraform_data" "two" {
  input = terraform_data.one.output
}
`

func TestLife(t *testing.T) {
	t.Parallel()
	dir := module(t, "main.tf", twoThings, ".terraform/environment", "users-own")
	o := options(t, dir)
	o.Environ = append(o.Environ, "TF_VAR_greeting=hello", "TF_VAR_undeclared=x", "TF_CLI_ARGS_plan=-destroy", "SOME_SECRET=x")
	d := open(t, o)

	in := initialise(t, d)
	if !in.Ran || in.Why == "" {
		t.Errorf("first init: got %+v, want one that ran and says why", in)
	}
	file, changes := plan(t, d)
	if !changes {
		t.Error("first plan: no changes")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("plan file: got %v, %v, want mode 0600", info.Mode(), err)
	}
	raw, shown, err := d.Show(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if len(shown.ResourceChanges) != 2 || !bytes.Contains(raw, []byte(`"hello"`)) {
		t.Errorf("show: got %d changes and\n%s\nwant 2 changes and the value of TF_VAR_greeting", len(shown.ResourceChanges), raw)
	}
	if got := state(t, d); got != (terraform.StateID{}) {
		t.Errorf("state before the first apply: got %+v, want none", got)
	}
	if got, err := terraform.PlanState(file); err != nil || got != (terraform.StateID{}) {
		t.Errorf("state of the first plan: got %+v, %v, want none", got, err)
	}

	a, err := d.Apply(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(a.Done, " "); got != "terraform_data.one terraform_data.two" || len(a.Begun) != 0 {
		t.Errorf("apply: got done %q, begun %q", got, a.Begun)
	}
	if a.After.Lineage == "" || a.After.Serial == 0 || a.After != state(t, d) || a.ErroredState != "" || !a.Started {
		t.Errorf("apply: got %+v, want the state that is there now: %+v", a, state(t, d))
	}

	second, changes := plan(t, d)
	if changes {
		t.Error("second plan: changes")
	}
	if got, err := terraform.PlanState(second); err != nil || got != a.After {
		t.Errorf("state of the second plan: got %+v, %v, want %+v", got, err, a.After)
	}

	var stale *terraform.StalePlanError
	if a, err := d.Apply(t.Context(), file); !errors.As(err, &stale) || a.Started || !strings.Contains(stale.Text, "Saved plan is stale") {
		t.Errorf("apply of the first plan again: got %v, want a StalePlanError with Terraform's words", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, ".terraform/environment")); err != nil || string(got) != "users-own" {
		t.Errorf("the user's .terraform: got %q, %v, want it untouched", got, err)
	}
	if in := initialise(t, d); in.Ran {
		t.Errorf("second init: got %+v, want none", in)
	}
}

func TestWorkspacesOfOneDirectoryAtOnce(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"", `terraform {
  backend "local" {}
}`, `terraform {
  backend "local" {
    path          = "states/main.tfstate"
    workspace_dir = "states"
  }
}`} {
		dir := module(t, "main.tf", backend+`
resource "terraform_data" "it" {
  input = terraform.workspace
}
`)
		var wg sync.WaitGroup
		for _, name := range []string{"default", "blue", "green", "red"} {
			o := options(t, dir)
			o.Workspace = name
			d := open(t, o)
			out := filepath.Join(t.TempDir(), "plan")
			wg.Go(func() {
				if _, err := d.Init(t.Context()); err != nil {
					t.Error(err)
					return
				}
				if _, err := d.Plan(t.Context(), terraform.PlanOptions{Out: out}); err != nil {
					t.Error(err)
					return
				}
				raw, _, err := d.Show(t.Context(), out)
				if err != nil || !bytes.Contains(raw, []byte(`"input":"`+name+`"`)) {
					t.Errorf("workspace %s with %q: got %v and\n%s", name, backend, err, raw)
				}
				a, err := d.Apply(t.Context(), out)
				if err != nil || a.After.Serial == 0 {
					t.Errorf("apply of workspace %s with %q: got %+v, %v", name, backend, a, err)
				}
				if in, err := d.Init(t.Context()); err != nil || in.Ran {
					t.Errorf("init again of workspace %s with %q: got %+v, %v", name, backend, in, err)
				}
			})
		}
		wg.Wait()
	}
}

func TestPlanFailureSaysWhatTerraformSaid(t *testing.T) {
	t.Parallel()
	dir := module(t, "main.tf", `
variable "token" {
  type = string
}

variable "private_key" {
  type = string
}

resource "terraform_data" "it" {
  lifecycle {
    precondition {
      condition     = var.token == ""
      error_message = "The token was ${var.token}, and that will not do: ${var.private_key}"
    }
  }
}

resource "terraform_data" "other" {
  lifecycle {
    precondition {
      condition     = var.token == ""
      error_message = "Neither here."
    }
  }
}
`)
	o := options(t, dir)
	o.Environ = append(o.Environ, "TF_VAR_token=hunter2-and-more",
		"TF_VAR_private_key=BEGIN KEY\nSFRNTCBpcyBub3QgYSBrZXk\nbm9yIGlzIHRoaXM and more words than fit on a line of seventy-eight columns in all\nEND KEY")
	d := open(t, o)
	initialise(t, d)
	out := filepath.Join(t.TempDir(), "plan")
	_, err := d.Plan(t.Context(), terraform.PlanOptions{Out: out})
	if err == nil {
		t.Fatal("a plan of nonsense succeeded")
	}
	text := err.Error()
	for _, part := range []string{"hunter2", "SFRNTCBpcyBub3QgYSBrZXk", "bm9yIGlzIHRoaXM", "seventy-eight"} {
		if strings.Contains(text, part) {
			t.Errorf("%q of a secret is in:\n%s", part, text)
		}
	}
	if !strings.Contains(text, "The token was (hidden)") {
		t.Errorf("want the secret hidden in:\n%s", text)
	}
	if !strings.Contains(text, "Error: Resource precondition failed") || !strings.Contains(text, "main.tf line 13") ||
		!strings.Contains(text, "Neither here.") || !strings.HasPrefix(text, "terraform plan failed with status 1:\n") {
		t.Errorf("want Terraform's diagnosis in:\n%s", text)
	}
	if strings.Contains(text, dir) {
		t.Errorf("want the same text wherever the root module is, got:\n%s", text)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed plan left a plan file")
	}
}

func TestPlanTargets(t *testing.T) {
	t.Parallel()
	dir := module(t, "main.tf", twoThings, "a.tfvars", `greeting = "from a file"`)
	o := options(t, dir)
	o.VarFiles = []string{"a.tfvars"}
	o.Environ = append(o.Environ, "TF_VAR_greeting=outranked")
	d := open(t, o)
	initialise(t, d)
	out := filepath.Join(t.TempDir(), "plan")
	if _, err := d.Plan(t.Context(), terraform.PlanOptions{Out: out, Targets: []string{"terraform_data.one"}}); err != nil {
		t.Fatal(err)
	}
	raw, shown, err := d.Show(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	if len(shown.ResourceChanges) != 1 || !bytes.Contains(raw, []byte("from a file")) || bytes.Contains(raw, []byte("outranked")) {
		t.Errorf("got %s, want one change, with the var file's value", raw)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := module(t)
	for want, change := range map[string]func(*terraform.Options){
		"both paths must be absolute":                                           func(o *terraform.Options) { o.Dir = "relative" },
		"no such file":                                                          func(o *terraform.Options) { o.Dir = filepath.Join(dir, "missing") },
		"it changes the arguments of every command":                             func(o *terraform.Options) { o.Env = []string{"TF_CLI_ARGS_plan"} },
		"plumbline.yaml says which":                                             func(o *terraform.Options) { o.Env = []string{"TF_WORKSPACE"} },
		"the whole environment":                                                 func(o *terraform.Options) { o.Env = []string{"*"} },
		"cannot be the name of a Terraform workspace":                           func(o *terraform.Options) { o.Workspace = "../other" },
		"no Terraform binary":                                                   func(o *terraform.Options) { o.Binary = terraform.Binary{} },
		`"TF_LOG" cannot be handed to Terraform: logs`:                          func(o *terraform.Options) { o.Given.Set = []string{"TF_LOG=trace"} },
		`"PATH" cannot be handed to Terraform: it belongs to the machine`:       func(o *terraform.Options) { o.Given.Set = []string{"PATH=/evil"} },
		`"LD_PRELOAD" cannot be handed to Terraform: it belongs to the machine`: func(o *terraform.Options) { o.Given.Set = []string{"LD_PRELOAD=/evil.so"} },
		"it is no variable with a value":                                        func(o *terraform.Options) { o.Given.Set = []string{"secret-without-a-name"} },
	} {
		o := options(t, dir)
		change(&o)
		if _, err := terraform.Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
}

// TestGiven: what is given counts in the place of the environment's, is gone with the next, and is hidden where Terraform
// repeats it.
func TestGiven(t *testing.T) {
	t.Parallel()
	dir := module(t)
	write(t, dir, "main.tf", `variable "word" {}
data "terraform_remote_state" "none" {
  backend = "local"
  config  = { path = "./missing-${var.word}-${file("/proc/self/environ")}" }
}
`)
	o := options(t, dir)
	o.Environ = append(o.Environ, "TF_VAR_word=of-the-environment", "AWS_SESSION_TOKEN=of-the-environment")
	o.Given = terraform.Given{
		Set: []string{"TF_VAR_word=first-word", "AWS_SESSION_TOKEN=canary-token-1"}, Hide: []string{"canary-token-1"},
		Explain: func(said string) string {
			if strings.Contains(said, "first-word") {
				return "This was explained."
			}
			return ""
		},
	}
	d, err := terraform.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	plan := func(d *terraform.Dir) string {
		t.Helper()
		_, err := d.Plan(t.Context(), terraform.PlanOptions{Out: filepath.Join(t.TempDir(), "plan")})
		if err == nil {
			t.Fatal("the plan did not fail")
		}
		return err.Error()
	}
	if said := plan(d); strings.Contains(said, "canary") || strings.Contains(said, "of-the-environment") || !strings.HasSuffix(said, "This was explained.") {
		t.Errorf("with the first: %s", said)
	}
	again, err := d.With(terraform.Given{Set: []string{"TF_VAR_word=second-word"}})
	if err != nil {
		t.Fatal(err)
	}
	if said := plan(again); strings.Contains(said, "first-word") || strings.Contains(said, "canary-token-1") || !strings.Contains(said, "second-word") || strings.Contains(said, "explained") {
		t.Errorf("with others: %s", said)
	}
}

// contextWithLimit ends what would otherwise hang in a process of its own.
func contextWithLimit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Minute)
}

// waitFor waits until a file exists.
func waitFor(t testing.TB, path string) {
	t.Helper()
	for range 6000 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s did not come up", path)
}
