package runner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/runner"
)

// files are the names below a directory.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestLocalState applies workspaces without a backend, whose files are laid out
// anew for each commit: their states stay.
func TestLocalState(t *testing.T) {
	t.Parallel()
	const config = "version: 1\nworkspaces:\n  - dir: app\n  - {dir: app, workspace: prod}\n"
	for name, backend := range map[string]string{
		"none":      "",
		"plain":     "terraform {\n  backend \"local\" {}\n}\n",
		"with path": "terraform {\n  backend \"local\" {\n    path = \"../states/app.tfstate\"\n    workspace_dir = \"../states/w\"\n  }\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, nil)
			p.LocalState = t.TempDir()
			apply := func(input string, want runner.Status) {
				t.Helper()
				// As a server does for another commit.
				if err := os.RemoveAll(filepath.Join(p.Root, "app")); err != nil {
					t.Fatal(err)
				}
				p.write(t, "plumbline.yaml", config)
				p.write(t, "app/main.tf", backend+data("a", input))
				r, set := p.open(t, "7")
				for _, w := range []string{"app", "app@prod"} {
					if res := r.ApplyChosen(t.Context(), workspace(t, set, w), runner.Choice{Trusted: true}); res.Status != want {
						t.Errorf("%s with %s: got %s, %v, want %s", w, input, res.Status, res.Err, want)
					}
				}
			}
			apply("1", runner.Applied)
			apply("1", runner.Unchanged)
			times := 2
			if backend == "" {
				times = 22
			}
			for i := range times {
				apply(fmt.Sprint(2+i), runner.Applied)
				if t.Failed() {
					return
				}
			}
			for _, name := range files(t, p.Root) {
				if strings.Contains(name, "tfstate") {
					t.Errorf("%s lies among the files of the commit", name)
				}
			}
			states, backups := 0, map[string]int{}
			for _, name := range files(t, p.LocalState) {
				switch {
				case strings.Contains(name, "/backups/"):
					backups[filepath.Dir(name)]++
				case strings.HasSuffix(name, "/terraform.tfstate"):
					states++
				}
				if info, err := os.Stat(filepath.Join(p.LocalState, name)); err != nil || strings.Contains(name, "backups") && info.Mode().Perm() != 0o600 {
					t.Errorf("%s: got %v, %v, want mode 0600", name, info.Mode(), err)
				}
			}
			if states != 2 || len(backups) != 2 {
				t.Errorf("got %d states, and backups of %d: want two, one for each Terraform workspace", states, len(backups))
			}
			for dir, n := range backups {
				if n != min(20, times) {
					t.Errorf("%s holds %d copies, want %d", dir, n, min(20, times))
				}
			}
		})
	}
}

// TestLocalStateBesideTheConfiguration has a state from before in Git.
func TestLocalStateBesideTheConfiguration(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"app/main.tf": data("a", "1")})
	p.apply(t, "", runner.Choice{Trusted: true}, runner.Applied) // by hand, as it was before there was a server
	state, err := os.ReadFile(filepath.Join(p.Root, "app/terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	p.Work, p.LocalState = t.TempDir(), t.TempDir()
	r, set := p.open(t, "7")
	res := r.Plan(t.Context(), set.Workspaces)[0]
	if res.Status != runner.Failed || !strings.Contains(res.Err.Error(), "app/terraform.tfstate") || !strings.Contains(res.Err.Error(), "copy it there") {
		t.Fatalf("got %s, %v, want a refusal that says what to do", res.Status, res.Err)
	}
	// It is done as the error says.
	_, place, _ := strings.Cut(res.Err.Error(), "keeps that state in ")
	place, _, _ = strings.Cut(place, ", where")
	if err := os.WriteFile(place, state, 0o600); err != nil {
		t.Fatal(err)
	}
	res = r.Plan(t.Context(), set.Workspaces)[0]
	if res.Status != runner.Unchanged || !strings.Contains(strings.Join(res.Notes, " "), "It is not used") {
		t.Errorf("got %s, %v, notes %q, want unchanged and a note", res.Status, res.Err, res.Notes)
	}
}

// TestLocalStateAndBackends leaves alone what has a backend, and refuses what
// has none where several machines work.
func TestLocalStateAndBackends(t *testing.T) {
	t.Parallel()
	backend := newStateServer(t)
	p := newPlace(t, map[string]string{"main.tf": data("a", "1")})
	p.LocalState = t.TempDir()
	p.apply(t, "7", runner.Choice{Trusted: true}, runner.Applied)
	refuse := func(o *runner.Options) { o.LocalState, o.RefuseLocalState = "", true }
	r, set := p.open(t, "7", refuse)
	if res := r.Plan(t.Context(), set.Workspaces)[0]; res.Status != runner.Failed || !strings.Contains(res.Err.Error(), "declare a backend") {
		t.Errorf("on several machines: got %s, %v, want a refusal", res.Status, res.Err)
	}
	// It gets a backend: the override must go.
	p.write(t, "backend.tf", backend.config())
	p.apply(t, "7", runner.Choice{Trusted: true}, runner.Applied)
	if !strings.Contains(string(backend.current()), `"a"`) {
		t.Errorf("the backend holds %q, want the state", backend.current())
	}
	r, set = p.open(t, "7", refuse)
	if res := r.Plan(t.Context(), set.Workspaces)[0]; res.Status != runner.Unchanged {
		t.Errorf("with a backend, on several machines: got %s, %v, want unchanged", res.Status, res.Err)
	}
	if got := len(p.records(t, ".", "0")); got != 2 {
		t.Errorf("got %d records of applies, want 2", got)
	}
}
