package terraform_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
)

const usesLocal = `
terraform {
  required_providers {
    local = {
      source = "hashicorp/local"
    }
  }
}

resource "local_file" "it" {
  filename = "${path.module}/out"
  content  = "x"
}
`

func TestInitRunsOnlyWhenItsInputsChange(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	write(t, base,
		"root/main.tf", usesLocal+`
module "child" {
  source = "../child"
}
`,
		"root/backend.hcl", "path = \"a.tfstate\"\n",
		"root/backend.tf", "terraform {\n  backend \"local\" {}\n}\n",
		"child/main.tf", "resource \"terraform_data\" \"it\" {}\n",
		"other/main.tf", "resource \"terraform_data\" \"it\" {}\n",
	)
	o := options(t, filepath.Join(base, "root"))
	o.BackendConfig = []string{"backend.hcl"}
	in := initialise(t, open(t, o))
	if !in.Ran || in.Why != "not initialised yet" {
		t.Fatalf("first init: got %+v", in)
	}

	again := func(o terraform.Options) string {
		t.Helper()
		in := initialise(t, open(t, o))
		if in.Ran != (in.Why != "") {
			t.Errorf("got %+v: it says why if and only if it runs", in)
		}
		return in.Why
	}
	root := o.Dir
	lock, err := os.ReadFile(filepath.Join(root, ".terraform.lock.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	const blocks = "changed: terraform blocks, modules or providers"
	for _, step := range []struct {
		name string
		do   func(o *terraform.Options)
		want string
	}{
		{"nothing", func(*terraform.Options) {}, ""},
		{"a resource", func(*terraform.Options) {
			write(t, root, "more.tf", "# A comment.\nresource \"terraform_data\" \"more\" {}\n")
		}, ""},
		{"a resource in a module", func(*terraform.Options) {
			write(t, base, "child/more.tf", "resource \"terraform_data\" \"more\" {}\n")
		}, ""},
		{"another module source", func(*terraform.Options) {
			write(t, root, "main.tf", usesLocal+"module \"child\" {\n  source = \"../other\"\n}\n")
		}, blocks},
		{"a provider in a module", func(*terraform.Options) {
			write(t, base, "other/time.tf", "resource \"time_static\" \"it\" {}\n")
		}, blocks},
		{"backend settings", func(*terraform.Options) {
			write(t, root, "backend.hcl", "path = \"b.tfstate\"\n")
		}, "changed: backend configuration"},
		{"another lock file", func(*terraform.Options) {
			write(t, root, ".terraform.lock.hcl", string(lock))
		}, "changed: lock file"},
		{"another version", func(o *terraform.Options) { o.Binary.Version = "1.11.5" }, "changed: binary"},
		{"another CLI configuration", func(o *terraform.Options) {
			o.Environ = append(o.Environ, "TF_CLI_CONFIG_FILE="+parts.MirrorConfig(t, parts.Mirror(t), t.TempDir()))
		}, "changed: CLI configuration"},
	} {
		step.do(&o)
		if got := again(o); got != step.want {
			t.Errorf("after %s: got %q, want %q", step.name, got, step.want)
		}
	}

	for _, gone := range []string{"modules", "providers", "terraform.tfstate"} {
		if err := os.RemoveAll(filepath.Join(o.DataDir, gone)); err != nil {
			t.Fatal(err)
		}
		if got := again(o); !strings.Contains(got, "is gone") {
			t.Errorf("after %s was removed: got %q, want that it is gone", gone, got)
		}
	}
	plan(t, open(t, o))
	write(t, o.DataDir, "plumbline-init.json", "{")
	if got := again(o); !strings.Contains(got, "damaged") {
		t.Errorf("with a damaged record: got %q", got)
	}
}

func TestPlanAsksForInitItself(t *testing.T) {
	t.Parallel()
	dir := module(t, "main.tf", usesLocal)
	d := open(t, options(t, dir))
	// No init at all: a new checkout, or a data directory that somebody has emptied.
	if _, changes := plan(t, d); !changes {
		t.Error("no changes")
	}
	in, err := d.Init(t.Context())
	if err != nil || in.Ran {
		t.Errorf("init after the plan: got %+v, %v, want none", in, err)
	}
}

func TestInitFailureIsTold(t *testing.T) {
	t.Parallel()
	dir := module(t, "main.tf", `
terraform {
  required_providers {
    nowhere = {
      source = "acme/nowhere"
    }
  }
}
`)
	d := open(t, options(t, dir))
	for range 2 {
		_, err := d.Init(t.Context())
		if err == nil || !strings.Contains(err.Error(), "Failed to query available provider packages") || strings.Contains(err.Error(), dir) {
			t.Errorf("got %v, want Terraform's diagnosis without the directory", err)
		}
	}
}

func TestBackendThatChanged(t *testing.T) {
	t.Parallel()
	dir := module(t, "main.tf", "resource \"terraform_data\" \"it\" {}\n", "backend.tf", "terraform {\n  backend \"local\" {\n    path = \"elsewhere.tfstate\"\n  }\n}\n")
	o := options(t, dir)
	d := open(t, o)
	initialise(t, d)
	file, _ := plan(t, d)
	if _, err := d.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "backend.tf")); err != nil {
		t.Fatal(err)
	}
	in := initialise(t, d)
	if len(in.Warnings) != 1 || !strings.Contains(in.Warnings[0], "is now kept in a local file, it was in the backend local") {
		t.Errorf("got %+v, want a warning that the state does not move", in)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere.tfstate")); err != nil {
		t.Errorf("the old state: %v", err)
	}
}

func BenchmarkInitWarm(b *testing.B) {
	base := b.TempDir()
	files := []string{}
	for _, m := range []string{"a", "b", "c", "d", "e"} {
		for _, f := range []string{"main.tf", "variables.tf", "outputs.tf"} {
			files = append(files, "modules/"+m+"/"+f, strings.Repeat("# A line of a file of ordinary length.\n", 100)+"\n")
		}
		files = append(files, "root/"+m+".tf", "module \""+m+"\" {\n  source = \"../modules/"+m+"\"\n}\n")
	}
	write(b, base, append(files, "root/main.tf", usesLocal)...)
	d := open(b, options(b, filepath.Join(base, "root")))
	if _, err := d.Init(context.Background()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if in, err := d.Init(context.Background()); err != nil || in.Ran {
			b.Fatalf("got %+v, %v", in, err)
		}
	}
}
