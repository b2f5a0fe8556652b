package workspaces_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// edit returns a copy of a file system with changes as txtar text, and the
// changes. A file whose content is "-> /dev/null" is deleted.
func edit(t testing.TB, base fstest.MapFS, text string) (fstest.MapFS, []workspaces.Change) {
	t.Helper()
	head := maps.Clone(base)
	var changes []workspaces.Change
	for name, f := range tree(t, text) {
		if string(f.Data) == "/dev/null" {
			delete(head, name)
			changes = append(changes, workspaces.Change{Path: name, Deleted: true})
			continue
		}
		head[name] = f
		changes = append(changes, workspaces.Change{Path: name})
	}
	return head, changes
}

const gone = "\n-> /dev/null\n"

// repository is a small repository with everything that a change may touch.
const repository = `
-- plumbline.yaml --
workspaces:
  - dir: app
    workspace: prod
    var_files: [prod.tfvars, ../shared/all.tfvars]
    backend_config: [prod.tfbackend]
    watch: ["../policies/**"]
  - dir: app
    workspace: dev
    var_files: [dev.tfvars]
-- app/main.tf --
module "vpc" {
  source = "../modules/vpc"
}
-- app/prod.tfvars --
-- app/dev.tfvars --
-- app/prod.tfbackend --
-- app/README.md --
-- app/files/x.json --
-- app/common.tf --
-> ../links/common.tf
-- shared/all.tfvars --
-- links/common.tf --
variable "x" {}
-- policies/deep/x.json --
-- modules/vpc/main.tf --
module "subnet" {
  source = "../subnet"
}
-- modules/subnet/main.tf --
resource "terraform_data" "x" {
  input = [
    file("${path.module}/../../data/${var.name}.json"),
    fileset("${path.module}/../../sets", "*.json"),
    templatefile("../data/fixed.tpl", {}),
  ]
  source_dir = "${path.module}/../../src"
}
-- data/a.json --
-- data/fixed.tpl --
-- sets/a.json --
-- src/deep/code.py --
-- net/main.tf --
resource "terraform_data" "x" {}
-- net/sub/main.tf --
resource "terraform_data" "x" {}
-- net/.terraform-version --
1.11.0
-- other/main.tf --
resource "terraform_data" "x" {}
-- .terraform-version --
1.10.0
`

func TestAffectedGivesReasons(t *testing.T) {
	base := tree(t, repository)
	both := func(reason string) []string { return []string{"app@dev: " + reason, "app@prod: " + reason} }
	for _, c := range []struct {
		name, edit string
		want       []string
	}{
		{"nothing", "", nil},
		{"an own file", "-- net/main.tf --\noutput \"x\" {\n  value = 1\n}\n", []string{"net: main.tf changed"}},
		{"a new file", "-- net/new.tf --\n", []string{"net: new.tf changed"}},
		{"a deleted file", "-- app/files/x.json --" + gone, both("files/x.json removed")},
		{"a module", "-- modules/vpc/main.tf --\nmodule \"subnet\" {\n  source = \"../subnet\"\n}\n#\n", both("module ../modules/vpc: main.tf changed")},
		{"a module's module", "-- modules/subnet/new.tf --\n", both("module ../modules/subnet: new.tf changed")},
		{"a var file of one workspace", "-- app/prod.tfvars --\nx = 1\n", []string{"app@prod: var file prod.tfvars changed"}},
		{"a var file elsewhere", "-- shared/all.tfvars --\nx = 1\n", []string{"app@prod: var file ../shared/all.tfvars changed"}},
		{"a deleted var file", "-- shared/all.tfvars --" + gone, []string{"app@prod: var file ../shared/all.tfvars removed"}},
		{"a backend file", "-- app/prod.tfbackend --\nx = 1\n", []string{"app@prod: backend file prod.tfbackend changed"}},
		{"a value file that is loaded by itself", "-- app/x.auto.tfvars --\nx = 1\n", both("x.auto.tfvars changed")},
		{"a value file that nobody names", "-- app/other.tfvars --\nx = 1\n", both("other.tfvars changed")},
		{"the lock file", "-- net/.terraform.lock.hcl --\n", []string{"net: lock file changed"}},
		{"the version file", "-- net/.terraform-version --\n1.11.1\n", []string{"net: .terraform-version changed", "net/sub: ../.terraform-version changed"}},
		{
			"the version file of everything", "-- .terraform-version --\n1.10.1\n",
			[]string{"app@dev: ../.terraform-version changed", "app@prod: ../.terraform-version changed", "other: ../.terraform-version changed"},
		},
		{"a new version file", "-- net/sub/.terraform-version --\n1.9.0\n", []string{"net/sub: .terraform-version changed"}},
		{"the end of a version file", "-- net/.terraform-version --" + gone, []string{"net: .terraform-version removed", "net/sub: ../.terraform-version removed"}},
		{"a watched file", "-- policies/deep/x.json --\n{}\n", []string{"app@prod: watched ../policies/deep/x.json changed"}},
		{"a new watched file", "-- policies/y.json --\n{}\n", []string{"app@prod: watched ../policies/y.json changed"}},
		{"a linked file", "-- links/common.tf --\nvariable \"y\" {}\n", both("linked ../links/common.tf changed")},
		{"a link", "-- app/common.tf --\n-> ../links/elsewhere.tf\n-- links/elsewhere.tf --\n", []string{
			"app@dev: common.tf changed", "app@dev: linked ../links/elsewhere.tf changed",
			"app@prod: common.tf changed", "app@prod: linked ../links/elsewhere.tf changed",
		}},
		{"a file that a path with a hole may mean", "-- data/b.json --\n{}\n", both("module ../modules/subnet: file ../data/b.json changed")},
		{"a file that no path means", "-- data/b.yaml --\n{}\n", nil},
		{"a file relative to where Terraform runs", "-- data/fixed.tpl --\n{}\n", both("module ../modules/subnet: file ../data/fixed.tpl changed")},
		{"a new file of a fileset", "-- sets/b.json --\n{}\n", both("module ../modules/subnet: file ../sets/b.json changed")},
		{"a file below a path that is written down", "-- src/deep/code.py --\n#\n", both("module ../modules/subnet: file ../src/deep/code.py changed")},
		{"a README", "-- app/README.md --\n# x\n-- modules/vpc/README.md --\n# y\n", nil},
		{"tests", "-- net/x.tftest.hcl --\n", nil},
		{"state", "-- net/terraform.tfstate --\n{}\n-- net/errored.tfstate --\n{}\n", nil},
		{"a nested root module", "-- net/sub/main.tf --\nresource \"terraform_data\" \"y\" {}\n", []string{"net/sub: main.tf changed"}},
		{"a file of no module", "-- docs/x.txt --\n", nil},
		{
			"settings", "-- plumbline.yaml --\n" + strings.Replace(section(repository, "plumbline.yaml"), "var_files: [dev.tfvars]", "var_files: [dev.tfvars]\n    env: [X]", 1),
			[]string{"app@dev: plumbline.yaml: workspace settings changed"},
		},
		{
			"settings that no plan shows", "-- plumbline.yaml --\n" + strings.Replace(section(repository, "plumbline.yaml"), "var_files: [dev.tfvars]", "var_files: [dev.tfvars]\n    approvals: 3\n    drift: { every: 1h }", 1),
			nil,
		},
		{
			"another name", "-- plumbline.yaml --\n" + strings.Replace(section(repository, "plumbline.yaml"), "workspace: dev", "workspace: dev\n    name: app-dev", 1),
			[]string{"app-dev: plumbline.yaml: workspace settings changed"},
		},
		{"a new workspace", "-- brand/new/main.tf --\nresource \"terraform_data\" \"x\" {}\n", []string{"brand/new: new workspace"}},
		{"a removed directory", "-- other/main.tf --" + gone, []string{"other: REMOVED directory removed"}},
		{
			"a root module that is called now", "-- net/more.tf --\nmodule \"other\" {\n  source = \"../other\"\n}\n",
			[]string{"net: more.tf changed", `other: REMOVED no longer a root module: "net" calls it as a module`},
		},
		{
			"an entry that is disabled", "-- plumbline.yaml --\n" + strings.Replace(section(repository, "plumbline.yaml"), "var_files: [dev.tfvars]", "var_files: [dev.tfvars]\n    enabled: false", 1),
			[]string{"app@dev: REMOVED plumbline.yaml:10: workspace disabled"},
		},
		{
			"an entry that went", "-- plumbline.yaml --\nworkspaces:\n  - { dir: app, workspace: dev, var_files: [dev.tfvars] }\n",
			[]string{"app@prod: REMOVED plumbline.yaml: workspace removed; the directory has the workspace app@dev now"},
		},
		{
			"entries that went", "-- plumbline.yaml --\n",
			[]string{
				"app: new workspace",
				"app@dev: REMOVED plumbline.yaml: workspace removed; the directory has the workspace app now",
				"app@prod: REMOVED plumbline.yaml: workspace removed; the directory has the workspace app now",
			},
		},
		{
			"entries that went, without discovery", "-- plumbline.yaml --\nignore: [app, other]\n",
			[]string{
				"app@dev: REMOVED plumbline.yaml: workspace removed", "app@prod: REMOVED plumbline.yaml: workspace removed",
				`other: REMOVED plumbline.yaml: ignored by "other"`,
			},
		},
		{
			"Terraform workspaces of a directory that was found", "-- plumbline.yaml --\n" + section(repository, "plumbline.yaml") + "  - { dir: other, workspace: x }\n  - { dir: other, workspace: y }\n",
			[]string{
				"other@x: new workspace", "other@y: new workspace",
				"other: REMOVED plumbline.yaml gives the directory other Terraform workspaces now: other@x, other@y",
			},
		},
		{
			"an entry that switches off what was found", "-- plumbline.yaml --\n" + section(repository, "plumbline.yaml") + "  - dir: other\n    enabled: false\n",
			[]string{"other: REMOVED plumbline.yaml:11: workspace disabled"},
		},
		{
			"an entry that switches off another Terraform workspace", "-- plumbline.yaml --\n" + section(repository, "plumbline.yaml") + "  - dir: other\n    workspace: x\n    enabled: false\n",
			[]string{"other: REMOVED plumbline.yaml:10: its entry gives it no workspace"},
		},
		{
			"no discovery", "-- plumbline.yaml --\ndiscover: false\n" + section(repository, "plumbline.yaml") + "  - dir: net\n  - dir: net/sub\n",
			[]string{"other: REMOVED plumbline.yaml: discover is false now, and no entry names the directory"},
		},
		{
			"a root module with nothing to run", "-- other/main.tf --\nvariable \"x\" {}\n",
			[]string{"other: REMOVED no longer a root module: it has nothing to run"},
		},
		{
			"a root module that only the other engine reads", "-- plumbline.yaml --\ndefaults: { engine: terraform }\n" + section(repository, "plumbline.yaml") + "-- other/main.tf --" + gone + "-- other/main.tofu --\nresource \"terraform_data\" \"x\" {}\n",
			[]string{"other: REMOVED no longer a root module: it holds no files that terraform reads"},
		},
		{
			"a root module that a test runs", "-- net/tests/x.tftest.hcl --\nrun \"x\" {\n  module {\n    source = \"./sub\"\n  }\n}\n",
			[]string{"net: tests/x.tftest.hcl changed", "net/sub: REMOVED no longer a root module: a test runs it as a module"},
		},
		{
			"a root module that a broken file names", "-- net/more.tf --\n<<<<<<< HEAD\nmodule \"other\" {\n  source = \"../other\"\n}\n",
			[]string{"net: more.tf changed", `other: REMOVED no longer a root module: "net" seems to call it as a module, but has a file that Terraform cannot read`},
		},
		{
			"defaults that lead out of the repository", "-- plumbline.yaml --\n" + section(repository, "plumbline.yaml") + "defaults: { watch: [\"../../x\"] }\n",
			[]string{
				"app@dev: REMOVED plumbline.yaml:10: its settings have a mistake", "net: REMOVED plumbline.yaml:10: its settings have a mistake",
				"other: REMOVED plumbline.yaml:10: its settings have a mistake",
			},
		},
		{
			"many files of one module",
			"-- net/a.tf --\n-- net/b.tf --\n-- net/c.tf --\n-- net/d.tf --\n-- net/e.tf --\n-- net/f.tf --\n-- net/g.tf --\n",
			[]string{"net: a.tf changed", "net: b.tf changed", "net: c.tf changed", "net: d.tf changed", "net: e.tf changed", "net: 2 more files changed"},
		},
		{
			"a module that became broken", "-- modules/vpc/main.tf --\nmodule \"subnet\" {\n  source = \"../subnet\"\n}\nx = = 1\n",
			both("module ../modules/vpc: main.tf changed"),
		},
		{
			"a root module that became broken", "-- other/main.tf --\nresource {{\n",
			[]string{"other: main.tf changed"},
		},
		{
			"a module that went, with its call", "-- app/main.tf --\nresource \"terraform_data\" \"x\" {}\n-- modules/vpc/main.tf --" + gone,
			[]string{
				"app@dev: main.tf changed", "app@dev: module ../modules/vpc: main.tf removed",
				"app@prod: main.tf changed", "app@prod: module ../modules/vpc: main.tf removed",
				"modules/subnet: new workspace",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			head, changes := edit(t, base, c.edit)
			var got []string
			for _, w := range workspaces.Affected(discover(t, base), discover(t, head), changes) {
				for _, reason := range w.Reasons {
					if w.Removed {
						reason = "REMOVED " + reason
					}
					got = append(got, w.Name+": "+reason)
				}
				if w.Removed != (len(w.Warnings) == 1 && strings.Contains(w.Warnings[0], "state") && strings.Contains(w.Warnings[0], "may still hold resources")) {
					t.Errorf("%s is removed (%v) with the warnings %q", w.Name, w.Removed, w.Warnings)
				}
			}
			equal(t, "affected", got, c.want)
		})
	}
}

// section returns one file of txtar text.
func section(text, name string) string {
	_, rest, _ := strings.Cut(text, "-- "+name+" --\n")
	content, _, _ := strings.Cut(rest, "\n-- ")
	return content + "\n"
}

func TestAffectedWithoutBaseIsEverything(t *testing.T) {
	head := discover(t, tree(t, repository))
	got := workspaces.Affected(nil, head, nil)
	equal(t, "names", names(got), names(head.Workspaces))
	for _, w := range got {
		equal(t, w.Name, w.Reasons, []string{"new workspace"})
	}
	for _, w := range head.Workspaces {
		if len(w.Reasons) > 0 {
			t.Errorf("Affected changed the set: %s has the reasons %q", w.Name, w.Reasons)
		}
	}
}

func TestAffectedKeepsGraphOrder(t *testing.T) {
	base := tree(t, "-- plumbline.yaml --\nworkspaces:\n  - { dir: a, depends_on: [c] }\n-- a/main.tf --\n"+resource+"-- b/main.tf --\n"+resource+"-- c/main.tf --\n"+resource+"-- z/main.tf --\n"+resource)
	head, changes := edit(t, base, "-- a/x.tf --\n-- b/x.tf --\n-- c/x.tf --\n-- z/main.tf --"+gone)
	got := names(workspaces.Affected(discover(t, base), discover(t, head), changes))
	if want := []string{"b", "c", "a", "z"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAffectedBySubmodules(t *testing.T) {
	fsys := tree(t, "-- a/main.tf --\nmodule \"m\" {\n  source = \"../vendored/modules/m\"\n}\n-- b/main.tf --\n"+resource+"-- vendored/.git --\ngitdir: elsewhere\n")
	set := discover(t, fsys)
	equal(t, "problems", problems(set.Problems), []string{
		`warning a/main.tf:2: module "m": the source "../vendored/modules/m" lies in "vendored", which is a submodule or an empty directory (its files are not followed; only the submodule's commit counts as a change)`,
	})
	got := workspaces.Affected(set, set, []workspaces.Change{{Path: "vendored"}})
	equal(t, "names", names(got), []string{"a"})
	equal(t, "reasons", got[0].Reasons, []string{"submodule ../vendored changed"})
}

func TestIgnoredDirectoriesAreNotComplainedAbout(t *testing.T) {
	set := discover(t, tree(t, "-- plumbline.yaml --\nignore: [old, \"examples/**\"]\n-- old/deep/main.tf --\nresource {\n-- examples/a/main.tf --\nmodule \"m\" {\n  source = \"../../m\"\n}\n-- m/main.tf --\n"+resource+"-- b/main.tf --\n"+resource))
	// A module that only an ignored directory calls is a module all the same.
	equal(t, "workspaces", names(set.Workspaces), []string{"b"})
	equal(t, "problems", problems(set.Problems), []string{})
}

func TestDiscoverStopsWhenItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := workspaces.Discover(ctx, tree(t, repository), workspaces.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
