package workspaces_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plumbline-dev/plumbline/workspaces"
)

func inputs(t testing.TB, fsys fs.FS, name string) workspaces.Inputs {
	t.Helper()
	set := discover(t, fsys)
	in, err := set.Inputs(t.Context(), fsys, get(t, set, name))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestInputs(t *testing.T) {
	fsys := tree(t, `
-- plumbline.yaml --
workspaces:
  - dir: app
    workspace: prod
    var_files: [prod.tfvars, ../shared/all.tfvars]
    watch: ["../policies/**"]
  - dir: app
    workspace: dev
    var_files: [dev.tfvars]
-- .terraform-version --
1.11.0
-- app/main.tf --
module "m" {
  source = "../modules/m"
}
-- app/linked.tf --
-> ../links/common.tf
-- app/files/deep/x.json --
-- app/assets --
-> ../assets
-- app/prod.tfvars --
-- app/dev.tfvars --
-- app/terraform.tfvars --
-- app/terraform.tfstate --
-- app/terraform.tfstate.backup --
-- app/terraform.tfstate.d/prod/terraform.tfstate --
-- app/errored.tfstate --
-- app/.terraform/providers/x --
-- app/.terraform.lock.hcl --
-- app/.terraform.tfstate.lock.info --
-- app/nested/main.tf --
resource "terraform_data" "x" {}
-- app/library/main.tf --
variable "x" {}
-- links/common.tf --
locals {
  base = "${path.module}/../policies"
  set = { a = "one", b = "two" }
}
-- assets/logo.png --
-- shared/all.tfvars --
-- policies/p.json --
-- modules/m/main.tf --
resource "terraform_data" "x" {
  for_each = local.which
  input    = file("${path.module}/../../data/${each.key}.json")
  other    = templatefile("${local.dir}/t.tpl", {})
  more     = [for f in fileset("${path.module}/../../sets", "*.json") : file("${path.module}/../../sets/${f}")]
  cond     = fileexists("../opt/a.json") ? file("../opt/b.json") : filebase64(join("/", ["..", "opt", "c.bin"]))
  src      = "${path.root}/../src"
  ws       = file(format("%s/../../envs/%s.json", path.module, terraform.workspace))
  key      = file("~/.ssh/id.pub")
  gone     = fileexists("../opt/missing.json")
}
locals {
  which = toset(["a", "b"])
  dir   = "${path.module}/../../templates"
}
-- data/a.json --
-- data/b.json --
-- data/c.json --
-- templates/t.tpl --
${file("../fromtemplate.txt")}
-- templates/u.tpl --
-- fromtemplate.txt --
-- sets/x.json --
-- sets/x.yaml --
-- opt/a.json --
-- opt/b.json --
-- opt/c.bin --
-- src/code.py --
-- envs/prod.json --
-- envs/dev.json --
-- docs/x.md --
-- modules/other/main.tf --
variable "x" {}
`)
	want := []string{
		".terraform-version", "app/.terraform.lock.hcl", "app/assets", "app/files/deep/x.json", "app/library/main.tf", "app/linked.tf",
		"app/main.tf", "app/prod.tfvars", "app/terraform.tfvars", "assets/logo.png", "data/a.json", "data/b.json", "envs/prod.json",
		"fromtemplate.txt", "links/common.tf", "modules/m/main.tf", "opt/a.json", "opt/b.json", "opt/c.bin", "policies/p.json",
		"sets/x.json", "sets/x.yaml", "shared/all.tfvars", "src/code.py", "templates/t.tpl", "templates/u.tpl",
	}
	for kind, fsys := range map[string]fs.FS{"map": fsys, "checkout": checkout(t, fsys)} {
		in := inputs(t, fsys, "app@prod")
		equal(t, kind+": files", in.Files, want)
		if in.Whole {
			t.Errorf("%s: the whole repository is an input: %s", kind, in.Why)
		}
	}
	dev := inputs(t, fsys, "app@dev").Files
	for name, wanted := range map[string]bool{"app/dev.tfvars": true, "app/prod.tfvars": false, "envs/dev.json": true, "envs/prod.json": false, "docs/x.md": false, "modules/other/main.tf": false} {
		if slices.Contains(dev, name) != wanted {
			t.Errorf("the inputs of app@dev hold %s: %v, want %v", name, !wanted, wanted)
		}
	}
}

func TestInputsTakeTheWholeRepositoryWhenAPathIsNotKnown(t *testing.T) {
	for name, c := range map[string]struct{ expr, why string }{
		"a variable":            {`file(var.path)`, "a/main.tf:2: file reads a path that is known only when Terraform runs"},
		"part of a path":        {`templatefile("${path.module}/${var.x}.tpl", {})`, "a/main.tf:2: templatefile reads a path"},
		"a resource":            {`filemd5(terraform_data.y.output)`, "a/main.tf:2: filemd5 reads a path"},
		"another value of each": {`file(each.value)`, "a/main.tf:2: file reads a path"},
		"a fileset of anything": {`fileset(var.x, "*")`, "a/main.tf:2: fileset reads a path"},
		"a local of a variable": {`file(local.x)`, "a/main.tf:2: file reads a path"},
		"the root itself":       {`"${path.module}/.."`, "a/main.tf:2: a path leads to the root of the repository"},
		"in a heredoc":          {"<<EOT\n${file(var.x)}\nEOT", "a/main.tf:3: file reads a path"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := tree(t, "-- a/main.tf --\nresource \"terraform_data\" \"x\" {\n  input = "+c.expr+"\n}\n"+
				"locals {\n  x = var.x\n}\n-- b/main.tf --\n-- docs/x.md --\n-- b/terraform.tfstate --\n-- .git/config --\n")
			fsys["a/main.tf"].Data = []byte(strings.Replace(string(fsys["a/main.tf"].Data), "{\n  input", "{ \n  input", 1))
			in := inputs(t, fsys, "a")
			equal(t, "files", in.Files, []string{"a/main.tf", "b/main.tf", "docs/x.md"})
			if !in.Whole || !strings.HasPrefix(in.Why, c.why) {
				t.Errorf("got whole %v because of %q, want %q", in.Whole, in.Why, c.why)
			}
		})
	}
}

func TestInputsReadJSON(t *testing.T) {
	in := inputs(t, tree(t, `
-- a/main.tf.json --
{"resource": {"terraform_data": {"x": {"input": "${file(\"${path.module}/../b/x.txt\")}"}}}}
-- b/x.txt --
-- b/y.txt --
`), "a")
	equal(t, "files", in.Files, []string{"a/main.tf.json", "b/x.txt"})
}

func TestDigestFollowsEveryInput(t *testing.T) {
	base := tree(t, `
-- a/main.tf --
module "m" {
  source = "../m"
}
output "x" {
  value = file("${path.module}/../data/x.json")
}
-- a/link --
-> ../data/y.json
-- m/main.tf --
resource "terraform_data" "x" {}
-- data/x.json --
-- data/y.json --
-- data/z.json --
-- b/main.tf --
resource "terraform_data" "x" {}
`)
	digest := func(fsys fs.FS) string {
		t.Helper()
		set := discover(t, fsys)
		d, err := set.Digest(t.Context(), fsys, get(t, set, "a"))
		if err != nil {
			t.Fatal(err)
		}
		return d.Inputs
	}
	before := digest(base)
	if got := digest(checkout(t, base)); got != before {
		t.Errorf("a checkout has the digest %s, the same tree %s", got, before)
	}
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		same   bool
	}{
		"own file":     {change: func(m fstest.MapFS) { m["a/main.tf"] = file("module \"m\" {\n  source = \"../m\"\n}\n") }},
		"new file":     {change: func(m fstest.MapFS) { m["a/notes.txt"] = file("") }},
		"renamed file": {change: func(m fstest.MapFS) { m["m/other.tf"] = m["m/main.tf"]; delete(m, "m/main.tf") }},
		"module":       {change: func(m fstest.MapFS) { m["m/main.tf"] = file(resource + "#") }},
		"read file":    {change: func(m fstest.MapFS) { m["data/x.json"] = file("{}") }},
		"linked file":  {change: func(m fstest.MapFS) { m["data/y.json"] = file("{}") }},
		"link": {change: func(m fstest.MapFS) {
			m["a/link"] = &fstest.MapFile{Data: []byte("../data/z.json"), Mode: fs.ModeSymlink}
		}},
		"executable":       {change: func(m fstest.MapFS) { f := *m["a/main.tf"]; f.Mode = 0o755; m["a/main.tf"] = &f }},
		"file of others":   {change: func(m fstest.MapFS) { m["data/z.json"] = file("{}"); m["b/main.tf"] = file(resource + "#") }, same: true},
		"state":            {change: func(m fstest.MapFS) { m["a/terraform.tfstate"] = file("{}"); m["a/.terraform/x"] = file("") }, same: true},
		"permissions only": {change: func(m fstest.MapFS) { f := *m["a/main.tf"]; f.Mode = 0o600; m["a/main.tf"] = &f }, same: true},
	} {
		changed := maps.Clone(base)
		c.change(changed)
		if same := digest(changed) == before; same != c.same {
			t.Errorf("%s: the digest is the same: %v, want %v", name, same, c.same)
		}
	}
}

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content), Mode: 0o644} }

func TestInputsOfAnUnknownWorkspace(t *testing.T) {
	fsys := tree(t, "-- a/main.tf --\n"+resource)
	_, err := discover(t, fsys).Inputs(t.Context(), fsys, &workspaces.Workspace{Name: "b"})
	if want := `list the inputs of workspace "b": this commit has no such workspace`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// hashed is a file system with object ids, as a Git tree has them.
type hashed struct {
	fstest.MapFS
	reads *int
}

func (h hashed) Hash(name string) (string, error) {
	id := ""
	for _, p := range slices.Sorted(maps.Keys(h.MapFS)) {
		if name == "." || p == name || strings.HasPrefix(p, name+"/") {
			id += strings.TrimPrefix(p, name) + "\x00" + h.MapFS[p].Mode.String() + string(h.MapFS[p].Data) + "\x00"
		}
	}
	return id, nil
}

func (h hashed) ReadFile(name string) ([]byte, error) {
	*h.reads++
	return h.MapFS.ReadFile(name)
}

func TestFactCache(t *testing.T) {
	base := tree(t, repository)
	cacheFile := filepath.Join(t.TempDir(), "made", "facts")
	run := func(fsys fstest.MapFS) (*workspaces.Set, int) {
		t.Helper()
		reads := 0
		cache := workspaces.OpenFactCache(cacheFile)
		set, err := workspaces.Discover(t.Context(), hashed{fsys, &reads}, workspaces.Options{Facts: cache})
		if err != nil {
			t.Fatal(err)
		}
		if err := cache.Save(); err != nil {
			t.Fatal(err)
		}
		return set, reads
	}
	same := func(what string, got *workspaces.Set, fsys fstest.MapFS) {
		t.Helper()
		want := discover(t, fsys)
		equal(t, what+": workspaces", got.Workspaces, want.Workspaces)
		equal(t, what+": problems", got.Problems, want.Problems)
	}

	set, cold := run(base)
	same("cold", set, base)
	set, warm := run(base)
	same("warm", set, base)
	// plumbline.yaml, and no more.
	if cold < 5 || warm != 1 {
		t.Errorf("read %d files cold and %d warm, want many and 1", cold, warm)
	}
	changed, _ := edit(t, base, "-- modules/vpc/main.tf --\nmodule \"net\" {\n  source = \"../../net\"\n}\n")
	set, again := run(changed)
	same("changed", set, changed)
	// The changed file, plumbline.yaml, and what else lies in the directories
	// above the changed one.
	if again != 3 {
		t.Errorf("read %d files after a change of one, want 3", again)
	}

	saved, err := os.ReadFile(cacheFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":           {},
		"cut":             saved[:len(saved)/2],
		"cut in the head": saved[:20],
		"one bit flipped": flip(saved, len(saved)-10),
		"another version": flip(saved, 20),
		"another format":  flip(saved, 0),
		"longer":          append(slices.Clone(saved), 1),
	} {
		if err := os.WriteFile(cacheFile, data, 0o600); err != nil {
			t.Fatal(err)
		}
		set, reads := run(base)
		same(name, set, base)
		if reads != cold {
			t.Errorf("%s: read %d files, want %d as with no cache", name, reads, cold)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(cacheFile), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory of the cache holds %q, %v", left, err)
	}
}

func flip(data []byte, at int) []byte {
	data = slices.Clone(data)
	data[at] ^= 1
	return data
}

func TestFactCacheSaveSaysWhatIsWrong(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cache := workspaces.OpenFactCache(filepath.Join(blocked, "facts"))
	reads := 0
	if _, err := workspaces.Discover(t.Context(), hashed{tree(t, repository), &reads}, workspaces.Options{Facts: cache}); err != nil {
		t.Fatal(err)
	}
	if err := cache.Save(); err == nil || !strings.Contains(err.Error(), blocked) {
		t.Errorf("got %v, want an error that names %s", err, blocked)
	}
}

// What only pins versions moves the one digest and not the other: so an
// upgrade can be told from a change.
func TestDigestTellsVersionsApart(t *testing.T) {
	digests := func(extra string) workspaces.Digests {
		t.Helper()
		fsys := tree(t, "-- a/main.tf --\nresource \"terraform_data\" \"x\" {}\n"+extra)
		set := discover(t, fsys)
		d, err := set.Digest(t.Context(), fsys, get(t, set, "a"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := digests("")
	for _, name := range []string{"a/.terraform.lock.hcl", "a/.terraform-version", ".terraform-version"} {
		after := digests("-- " + name + " --\n1.9.5\n")
		if after.Inputs == before.Inputs {
			t.Errorf("%s does not count as an input", name)
		}
		if after.Configuration != before.Configuration {
			t.Errorf("%s counts as configuration", name)
		}
	}
	if after := digests("-- a/more.tf --\n"); after.Configuration == before.Configuration {
		t.Error("a new file does not count as configuration")
	}
}

// A script that a command line names is read by the apply, wherever the name
// stands.
func TestInputsFindScriptsInCommands(t *testing.T) {
	in := inputs(t, tree(t, `
-- a/main.tf --
resource "terraform_data" "x" {
  provisioner "local-exec" { command = "sh ${path.module}/../scripts/one.sh --fast" }
  provisioner "local-exec" {
    command = "bash -c '../scripts/two.sh' && ./own.sh"
  }
  provisioner "local-exec" {
    command = <<-EOT
      set -e
      sh ${path.module}/../scripts/three.sh
    EOT
  }
}
-- scripts/one.sh --
-- scripts/two.sh --
-- scripts/three.sh --
-- scripts/other.sh --
`), "a")
	equal(t, "files", in.Files, []string{"a/main.tf", "scripts/one.sh", "scripts/three.sh", "scripts/two.sh"})
	if in.Whole {
		t.Errorf("the whole repository counts: %s", in.Why)
	}
}
