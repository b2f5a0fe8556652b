package terraform_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// What init did for one root module is not done again for another that asks for the very same, and the result is the
// same as if it had been.
func TestInitLikeATwin(t *testing.T) {
	t.Parallel()
	providers, err := terraform.OpenProviderCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config := parts.MirrorConfig(t, parts.Mirror(t))
	site := func(files ...string) (*terraform.Dir, string) {
		t.Helper()
		dir := module(t, files...)
		o := options(t, dir)
		o.Providers = providers
		// Twins share everything but their place.
		o.Environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TF_CLI_CONFIG_FILE=" + config}
		return open(t, o), dir
	}
	lock := func(dir string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, ".terraform.lock.hcl"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first, firstDir := site("main.tf", usesLocal)
	if in := initialise(t, first); !in.Ran {
		t.Error("the first init did not run")
	}
	// Another resource of the same provider asks nothing more of init.
	second, secondDir := site("main.tf", usesLocal, "more.tf", `
resource "local_file" "more" {
  filename = "more.txt"
  content  = "x"
}
`)
	if in := initialise(t, second); in.Ran {
		t.Errorf("the second init ran: %+v", in)
	}
	if a, b := lock(firstDir), lock(secondDir); !bytes.Equal(a, b) {
		t.Errorf("the lock files differ:\n%s\n%s", a, b)
	}
	if in := initialise(t, second); in.Ran {
		t.Errorf("the second init ran when it was asked for again: %+v", in)
	}
	file, _ := plan(t, second)
	if _, err := second.Apply(t.Context(), file); err != nil {
		t.Errorf("apply where init was spared: %v", err)
	}

	for name, files := range map[string][]string{
		"another provider": {"main.tf", usesLocal, "time.tf", "resource \"time_static\" \"now\" {}\n"},
		"a version":        {"main.tf", usesLocal, "versions.tf", "terraform {\n  required_version = \">= 1.0\"\n}\n"},
		"a backend":        {"main.tf", usesLocal, "backend.tf", "terraform {\n  backend \"local\" {}\n}\n"},
		"a module":         {"main.tf", usesLocal, "module.tf", "module \"m\" {\n  source = \"./m\"\n}\n", "m/main.tf", "output \"x\" { value = 1 }\n"},
		"JSON":             {"main.tf", usesLocal, "more.tf.json", `{"resource": {"terraform_data": {"x": {}}}}`},
		"an override":      {"main.tf", usesLocal, "override.tf", "resource \"local_file\" \"it\" {\n  content = \"y\"\n}\n"},
		"a lock file":      {"main.tf", usesLocal, ".terraform.lock.hcl", "# Written by hand.\n"},
	} {
		d, _ := site(files...)
		if in := initialise(t, d); !in.Ran {
			t.Errorf("%s: init did not run", name)
		}
		if _, changes := plan(t, d); !changes {
			t.Errorf("%s: no changes", name)
		}
	}
}

// Where the state is kept is each workspace's own: an init that is spared records its own place, and the plan goes there.
func TestInitLikeATwinWithBackend(t *testing.T) {
	t.Parallel()
	providers, err := terraform.OpenProviderCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config := parts.MirrorConfig(t, parts.Mirror(t))
	site := func(beside ...string) (*terraform.Dir, *terraform.LocalBackend) {
		t.Helper()
		home := t.TempDir()
		backend := &terraform.LocalBackend{Path: filepath.Join(home, "a \"state\".tfstate"), WorkspaceDir: filepath.Join(home, "workspaces")}
		dir := module(t, append([]string{"main.tf", usesLocal, "zz_override.tf.json", string(backend.Override())}, beside...)...)
		o := options(t, dir)
		o.Providers, o.LocalBackend = providers, backend
		o.Environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TF_CLI_CONFIG_FILE=" + config}
		return open(t, o), backend
	}
	first, _ := site()
	if in := initialise(t, first); !in.Ran {
		t.Error("the first init did not run")
	}
	second, backend := site()
	if in := initialise(t, second); in.Ran {
		t.Errorf("the second init ran: %+v", in)
	}
	file, changes := plan(t, second)
	if !changes {
		t.Fatal("the plan where init was spared holds no changes")
	}
	if _, err := second.Apply(t.Context(), file); err != nil {
		t.Fatalf("apply where init was spared: %v", err)
	}
	if _, err := os.Stat(backend.Path); err != nil {
		t.Errorf("the state is not where the override says: %v", err)
	}
	if in := initialise(t, second); in.Ran {
		t.Errorf("the second init ran when it was asked for again: %+v", in)
	}
	if _, changes := plan(t, second); changes {
		t.Error("what was applied is planned again: the state was not read")
	}
	for name, files := range map[string][]string{
		"a backend of its own": {"backend.tf", "terraform {\n  backend \"local\" {}\n}\n"},
		"an override beside":   {"override.tf", "resource \"local_file\" \"it\" {\n  content = \"y\"\n}\n"},
	} {
		d, _ := site(files...)
		if in := initialise(t, d); !in.Ran {
			t.Errorf("%s: init did not run", name)
		}
	}
}
