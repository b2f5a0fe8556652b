package workspaces_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// tree makes a file system from txtar text. A file whose content is
// "-> target" becomes a symbolic link.
func tree(t testing.TB, text string) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		if target, ok := strings.CutPrefix(strings.TrimSpace(string(f.Data)), "-> "); ok {
			fsys[f.Name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		fsys[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
	return fsys
}

// checkout writes a file system to a directory, symbolic links included.
func checkout(t testing.TB, fsys fstest.MapFS) fs.FS {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, fsys)
	return os.DirFS(dir)
}

func discover(t testing.TB, fsys fs.FS) *workspaces.Set {
	t.Helper()
	set, err := workspaces.Discover(t.Context(), fsys, workspaces.Options{})
	if err != nil {
		t.Fatalf("Discover: %v", err)
	}
	return set
}

func names(list []*workspaces.Workspace) []string {
	out := []string{}
	for _, w := range list {
		out = append(out, w.Name)
	}
	return out
}

func problems(list []workspaces.Problem) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, string(p.Severity)+" "+p.Error())
	}
	return out
}

func get(t testing.TB, set *workspaces.Set, name string) *workspaces.Workspace {
	t.Helper()
	w, ok := set.Get(name)
	if !ok {
		t.Fatalf("there is no workspace %q, only %q", name, names(set.Workspaces))
	}
	return w
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const (
	resource = "resource \"terraform_data\" \"x\" {}\n"
	nothing  = "variable \"x\" {}\n"
)

func TestDiscoverFindsRootModules(t *testing.T) {
	for _, c := range []struct {
		name, files    string
		want, problems []string
	}{
		{
			name:  "a directory that runs something",
			files: "-- a/main.tf --\n" + resource + "-- lib/variables.tf --\n" + nothing + "-- README.md --\n",
			want:  []string{"a"},
		},
		{
			name:  "the root directory",
			files: "-- main.tf --\n" + resource,
			want:  []string{"."},
		},
		{
			name: "every kind of file",
			files: "-- json/main.tf.json --\n{\"resource\":{\"terraform_data\":{\"x\":{}}}}\n-- tofu/main.tofu --\n" + resource +
				"-- tofujson/main.tofu.json --\n{\"output\":{\"x\":{\"value\":1}}}\n",
			want: []string{"json", "tofu", "tofujson"},
		},
		{
			name: "whatever gives a plan something to hold",
			files: "-- a/m.tf --\ndata \"x\" \"y\" {}\n-- b/m.tf --\noutput \"x\" {\n  value = 1\n}\n-- c/m.tf --\nterraform {\n  backend \"s3\" {}\n}\n" +
				"-- d/m.tf --\nmodule \"x\" {\n  source = \"hashicorp/x/aws\"\n}\n-- e/m.tf --\nlocals {}\nprovider \"aws\" {}\n-- f/m.tf --\nterraform {\n  required_version = \">= 1\"\n}\n",
			want: []string{"a", "b", "c", "d"},
		},
		{
			name: "not what is called as a module, however deep",
			files: "-- prod/main.tf --\nmodule \"a\" {\n  source = \"../modules/a\"\n}\n-- modules/a/main.tf --\nmodule \"b\" {\n  source = \"./b\"\n}\n" +
				"-- modules/a/b/main.tf --\n" + resource,
			want: []string{"prod"},
		},
		{
			name: "not hidden and vendored directories",
			files: "-- .hidden/main.tf --\n" + resource + "-- a/.terraform/modules/x/main.tf --\n" + resource + "-- a/main.tf --\n" + resource +
				"-- node_modules/x/main.tf --\n" + resource + "-- a/.git/main.tf --\n",
			want: []string{},
		},
		{
			name:  "not a nested clone",
			files: "-- main.tf --\n" + resource + "-- vendor/x/.git --\ngitdir: elsewhere\n-- vendor/x/main.tf --\n" + resource,
			want:  []string{"."},
		},
		{
			name:  "not editors' leftovers",
			files: "-- a/main.tf~ --\n" + resource + "-- b/.main.tf --\n" + resource + "-- c/#main.tf# --\n" + resource,
			want:  []string{},
		},
		{
			name: "not a helper that only tests run",
			files: "-- main.tf --\n" + resource + "-- tests/setup/main.tf --\n" + resource +
				"-- tests/x.tftest.hcl --\nrun \"setup\" {\n  module {\n    source = \"./tests/setup\"\n  }\n}\n",
			want: []string{"."},
		},
		{
			name:  "names that need care",
			files: "-- a b/ü/main.tf --\n" + resource + "-- [x]/main.tf --\n" + resource,
			want:  []string{"[x]", "a b/ü"},
		},
		{
			name:     "broken HCL is one finding, and the directory stays",
			files:    "-- bad/main.tf --\nresource \"x\" {\n-- bad/other.tf --\nx = = 1\n-- good/main.tf --\n" + resource,
			want:     []string{"bad", "good"},
			problems: []string{"error bad/main.tf:1: Terraform cannot read the file: Unclosed configuration block: There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file; 1 more in this directory are broken too (correct the file; the other directories are not concerned)"},
		},
		{
			name:     "a broken caller still calls",
			files:    "-- a/main.tf --\nmodule \"m\" {\n  source = \"../m\"\n}\nlocals {\n  x = = 1\n}\n-- m/main.tf --\n" + resource,
			want:     []string{"a"},
			problems: []string{"error a/main.tf:5: Terraform cannot read the file: Invalid expression: Expected the start of an expression, but found an invalid expression token (correct the file; the other directories are not concerned)"},
		},
		{
			name:     "a broken module leaves its callers",
			files:    "-- a/main.tf --\nmodule \"m\" {\n  source = \"../m\"\n}\n-- m/main.tf.json --\n{\n  \"x\": ]\n}\n-- b/main.tf --\n" + resource,
			want:     []string{"a", "b"},
			problems: []string{"error m/main.tf.json:2: Terraform cannot read the file: "},
		},
		{
			name:     "a source that leaves the repository",
			files:    "-- a/main.tf --\n" + resource + "\nmodule \"m\" {\n  source = \"../../other\"\n}\n",
			want:     []string{"a"},
			problems: []string{`error a/main.tf:4: module "m": the source "../../other" points outside the repository (move the module into the repository, or give it a remote source)`},
		},
		{
			name:     "an absolute source",
			files:    "-- a/main.tf --\nmodule \"m\" {\n  source = \"/srv/modules/m\"\n}\n",
			want:     []string{"a"},
			problems: []string{`error a/main.tf:2: module "m": the source "/srv/modules/m" points outside the repository (move the module into the repository, or give it a remote source)`},
		},
		{
			name:  "a module that is not there, and one without files",
			files: "-- a/main.tf --\nmodule \"m\" {\n  source = \"../m\"\n}\nmodule \"n\" {\n  source = \"../n\"\n}\n-- n/README.md --\n",
			want:  []string{"a"},
			problems: []string{
				`error a/main.tf:2: module "m": there is no directory "m" (correct the source or add the directory)`,
				`error a/main.tf:5: module "n": the directory "n" holds no files that terraform reads (correct the source)`,
			},
		},
		{
			name:     "a module that calls itself",
			files:    "-- a/main.tf --\nmodule \"a\" {\n  source = \"./\"\n}\n",
			want:     []string{"a"},
			problems: []string{`error a/main.tf:2: module "a" calls its own directory (let one of them not call the next)`},
		},
		{
			name: "modules that call one another in a circle",
			files: "-- root/main.tf --\nmodule \"a\" {\n  source = \"../a\"\n}\n-- a/main.tf --\nmodule \"b\" {\n  source = \"../b\"\n}\n" +
				"-- b/main.tf --\nmodule \"a\" {\n  source = \"../a\"\n}\n",
			want:     []string{"root"},
			problems: []string{`error b/main.tf:2: module "a" closes a circle of modules: a → b → a (let one of them not call the next)`},
		},
		{
			name:     "a circle that nobody calls keeps a beginning",
			files:    "-- a/main.tf --\nmodule \"b\" {\n  source = \"../b\"\n}\n-- b/main.tf --\nmodule \"a\" {\n  source = \"../a\"\n}\n",
			want:     []string{"a"},
			problems: []string{`error b/main.tf:2: module "a" closes a circle of modules: a → b → a (let one of them not call the next)`},
		},
		{
			name:     "a source that is no plain string",
			files:    "-- a/main.tf --\nmodule \"m\" {\n  source = \"../${var.m}\"\n}\n",
			want:     []string{"a"},
			problems: []string{`warning a/main.tf:2: the source of module "m" is not a plain string, so its files are not followed (write the path out, or name the files under "watch" in plumbline.yaml)`},
		},
		{
			name:     "a module without a source",
			files:    "-- a/main.tf --\nmodule \"m\" {\n}\n",
			want:     []string{"a"},
			problems: []string{`error a/main.tf:1: module "m" has no source (say where the module comes from)`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := tree(t, c.files)
			for kind, fsys := range map[string]fs.FS{"map": fsys, "checkout": checkout(t, fsys)} {
				set := discover(t, fsys)
				equal(t, kind+": workspaces", names(set.Workspaces), c.want)
				got := problems(set.Problems)
				for i := range got {
					if i < len(c.problems) && strings.HasPrefix(got[i], c.problems[i]) {
						got[i] = c.problems[i] // the parser's own words may go on
					}
				}
				if len(got)+len(c.problems) > 0 {
					equal(t, kind+": problems", got, c.problems)
				}
			}
		})
	}
}

func TestDiscoverFollowsModules(t *testing.T) {
	set := discover(t, tree(t, `
-- prod/main.tf --
module "vpc" {
  source = "../modules/vpc"
}
module "registry" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "5.1.0"
}
module "branch" {
  source = "git::https://example.com/x.git?ref=main"
}
terraform {
  required_version = ">= 1.5"
}
-- prod/extra_override.tf --
terraform {
  required_version = ">= 1.9"
}
module "branch" {
  source = "git::https://example.com/x.git?ref=v1.2.3"
}
-- modules/vpc/main.tf --
module "subnet" {
  source = "../subnet"
}
module "deep" {
  source = "terraform-aws-modules/x/aws"
  version = "~> 5.0"
}
-- modules/subnet/main.tf.json --
{"module": {"s": {"source": "./s"}}}
-- modules/subnet/s/main.tf --
variable "x" {}
-- .terraform-version --
# the version of everything
1.11.0
`))
	w := get(t, set, "prod")
	equal(t, "modules", w.Modules, []string{"modules/subnet", "modules/subnet/s", "modules/vpc"})
	equal(t, "required versions", w.RequiredVersions, []string{">= 1.9"})
	equal(t, "version file", w.VersionFile, "1.11.0")
	equal(t, "remote modules", w.RemoteModules, []workspaces.RemoteModule{
		{Call: "registry", Source: "terraform-aws-modules/vpc/aws", Version: "5.1.0", File: "prod/main.tf", Line: 5},
		{Call: "branch", Source: "git::https://example.com/x.git?ref=v1.2.3", File: "prod/extra_override.tf", Line: 5},
		{Call: "deep", Source: "terraform-aws-modules/x/aws", Version: "~> 5.0", Floating: true, File: "modules/vpc/main.tf", Line: 5},
	})
	equal(t, "problems", problems(set.Problems), []string{})
}

func TestRemoteModulesFloat(t *testing.T) {
	for source, want := range map[string]bool{
		"hashicorp/consul/aws":                                  true,
		"hashicorp/consul/aws//modules/x":                       true,
		"app.terraform.io/acme/vpc/aws":                         true,
		"hashicorp/consul/aws 1.2.3":                            false,
		"hashicorp/consul/aws = 1.2.3":                          false,
		"hashicorp/consul/aws ~> 1.2":                           true,
		"hashicorp/consul/aws >= 1.2, < 2.0":                    true,
		"github.com/acme/vpc":                                   true,
		"github.com/acme/vpc/aws":                               true,
		"github.com/acme/vpc?ref=v1.2.0":                        false,
		"github.com/acme/vpc?ref=v1":                            true,
		"git::ssh://git@example.com/x.git":                      true,
		"git::ssh://git@example.com/x.git?ref=main":             true,
		"git::ssh://git@example.com/x.git?ref=release-1":        true,
		"git::ssh://git@example.com/x.git//sub?ref=vpc/v1.2.3":  false,
		"git::ssh://git@example.com/x.git?depth=1&ref=1a2b3c4d": false,
		"https://example.com/x.zip":                             true,
		"https://example.com/x.zip?checksum=sha256:0011":        false,
		"s3::https://s3-eu-west-1.amazonaws.com/b/x.zip":        true,
		"oci://example.com/x?digest=sha256:0011":                false,
		"oci://example.com/x?tag=latest":                        true,
	} {
		address, version, _ := strings.Cut(source, " ")
		if strings.Contains(address, "?") {
			address, version = source, ""
		}
		text := "module \"m\" {\n  source = \"" + address + "\"\n"
		if version != "" {
			text += "  version = \"" + version + "\"\n"
		}
		set := discover(t, fstest.MapFS{"main.tf": {Data: []byte(text + "}\n")}})
		remotes := get(t, set, ".").RemoteModules
		if len(remotes) != 1 || remotes[0].Floating != want {
			t.Errorf("%s: got %+v, want floating %v", source, remotes, want)
		}
	}
}

func TestDiscoverChoosesTheEngine(t *testing.T) {
	set := discover(t, tree(t, `
-- plumbline.yaml --
workspaces:
  - { dir: chosen, engine: tofu }
-- .terraform-version --
1.11.0
-- .opentofu-version --
1.9.0
-- both/main.tf --
resource "terraform_data" "x" {}
-- both/main.tofu --
module "m" {
  source = "../m"
}
-- chosen/main.tf --
terraform {
  required_version = ">= 1.0"
}
module "gone" {
  source = "../not/there"
}
-- chosen/main.tofu --
terraform {
  required_version = ">= 1.7"
}
module "m" {
  source = "../m"
}
-- chosen/more.tf --
resource "terraform_data" "x" {}
-- only/main.tofu --
resource "terraform_data" "x" {}
-- m/main.tf --
variable "x" {}
`))
	for _, want := range []struct {
		name, engine, pin string
		modules, required []string
	}{
		{"both", "terraform", "1.11.0", []string{}, []string{}},
		{"chosen", "tofu", "1.9.0", []string{"m"}, []string{">= 1.7"}},
		{"only", "tofu", "1.9.0", []string{}, []string{}},
	} {
		w := get(t, set, want.name)
		equal(t, want.name+": engine", w.Engine, want.engine)
		equal(t, want.name+": version file", w.VersionFile, want.pin)
		equal(t, want.name+": modules", w.Modules, want.modules)
		equal(t, want.name+": required versions", w.RequiredVersions, want.required)
	}
	equal(t, "problems", problems(set.Problems), []string{})
}

func TestDiscoverFollowsSymbolicLinks(t *testing.T) {
	fsys := tree(t, `
-- live/prod/main.tf --
module "net" {
  source = "../modules/net"
}
-- live/prod/shared.tf --
-> ../../common/shared.tf
-- live/prod/plain.tf --
-> ../../common/plain.txt
-- live/modules --
-> ../modules
-- modules/net/main.tf --
module "sibling" {
  source = "../sibling"
}
-- modules/sibling/main.tf --
variable "x" {}
-- common/shared.tf --
module "aliased" {
  source = "../modules/aliased"
}
-- common/plain.txt --
terraform {
  required_version = ">= 1.2"
}
-- elsewhere/aliased/main.tf --
module "beside" {
  source = "../sibling"
}
-- modules/aliased --
-> ../elsewhere/aliased
-- loop/main.tf --
module "x" {
  source = "./a"
}
-- loop/a --
-> b
-- loop/b --
-> a
-- out/main.tf --
module "x" {
  source = "./away"
}
-- out/away --
-> ../../../etc
-- out/absolute.tf --
-> /etc/passwd
-- out/dangling.tf --
-> nowhere.tf
-- ring/main.tf --
module "x" {
  source = "./self"
}
-- ring/self --
-> .
`)
	for kind, fsys := range map[string]fs.FS{"map": fsys, "checkout": checkout(t, fsys)} {
		set := discover(t, fsys)
		equal(t, kind+": workspaces", names(set.Workspaces), []string{"common", "live/prod", "loop", "out", "ring"})
		w := get(t, set, "live/prod")
		// Reached as live/modules/aliased, its ../sibling is live/modules/sibling.
		equal(t, kind+": modules", w.Modules, []string{"elsewhere/aliased", "modules/net", "modules/sibling"})
		equal(t, kind+": required versions", w.RequiredVersions, []string{">= 1.2"})
		equal(t, kind+": problems", problems(set.Problems), []string{
			`error loop/main.tf:2: module "x": the source "./a" goes round in a loop of symbolic links (correct the link)`,
			`error out/absolute.tf: the symbolic link to "/etc/passwd" leads out of the repository (let it point to a file of this repository)`,
			`error out/dangling.tf: the symbolic link to "nowhere.tf" leads to a file that cannot be read: ` + missingFile(kind) + ` (correct the link or add the file)`,
			`error out/main.tf:2: module "x": the source "./away" points outside the repository through the symbolic link "out/away" (move the module into the repository, or give it a remote source)`,
			`error ring/main.tf:2: module "x" calls its own directory (let one of them not call the next)`,
		})
	}
}

func missingFile(kind string) string {
	if kind == "map" {
		return fs.ErrNotExist.Error()
	}
	return "no such file or directory"
}

func TestDiscoverAppliesPlumblineYAML(t *testing.T) {
	set := discover(t, tree(t, `
-- plumbline.yaml --
defaults:
  terraform: "~> 1.11"
  apply: on-comment
  drift: { every: 1h, correct: { node: replace } }
classes: { "toy_node*": node }
ignore: ["examples/**"]
workspaces:
  - dir: cluster
    workspace: prod
    var_files: [prod.tfvars]
    backend_config: ["region=eu", prod.tfbackend]
    depends_on: [network]
    approvals: 2
    drift: { every: 15m, correct: { cluster: never } }
  - dir: cluster
    workspace: staging
    name: stage
    depends_on: [cluster@prod]
  - dir: examples/kept
  - dir: off
    enabled: false
-- network/main.tf --
resource "terraform_data" "x" {}
-- cluster/main.tf --
resource "terraform_data" "x" {}
-- cluster/prod.tfvars --
-- cluster/prod.tfbackend --
-- examples/kept/main.tf --
resource "terraform_data" "x" {}
-- examples/dropped/main.tf --
resource "terraform_data" "x" {}
-- off/main.tf --
resource "terraform_data" "x" {}
`))
	equal(t, "workspaces", names(set.Workspaces), []string{"examples/kept", "network", "cluster@prod", "stage"})
	got, err := json.Marshal(get(t, set, "cluster@prod"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"cluster@prod","dir":"cluster","workspace":"prod","engine":"terraform","terraform":"~\u003e 1.11",` +
		`"required_versions":[],"version_file":"","var_files":["prod.tfvars"],"backend_config":["region=eu","prod.tfbackend"],` +
		`"backend":"","backend_path":"","account":"","env":[],"watch":[],"depends_on":["network"],"apply":"on-comment","approvals":2,` +
		`"drift":{"every":"15m","correct":{"cluster":"never","node":"replace"},"max_changes":10,"windows":[],"who":"off","ignore":[],"classes":{"toy_node*":"node"}},` +
		`"modules":[],"remote_modules":[],"reasons":[],"removed":false,"warnings":[],"source":"plumbline.yaml:8"}`
	equal(t, "JSON", string(got), want)
	equal(t, "the default entry's source", get(t, set, "network").Source, "discovered")
	equal(t, "problems", problems(set.Problems), []string{})
}

func TestDiscoverNamesMistakesOfPlumblineYAML(t *testing.T) {
	const dirs = "-- a/main.tf --\n" + resource + "-- b/main.tf --\n" + resource + "-- c/main.tf --\n" + resource
	for _, c := range []struct {
		name, yaml string
		problems   []string
		err        string
	}{
		{
			name: "a directory that is not there",
			yaml: "workspaces:\n  - dir: gone\n  - dir: docs\n",
			problems: []string{
				`error plumbline.yaml:2: there is no directory "gone" (correct dir, or remove the entry if the directory is gone for good)`,
				`error plumbline.yaml:3: the directory "docs" holds no files that terraform reads (correct dir, or remove the entry if the directory is gone for good)`,
			},
		},
		{
			name: "a dependency that nobody is",
			yaml: "workspaces:\n  - { dir: abc, name: cluster }\n  - dir: b\n    depends_on: [clutser]\n",
			problems: []string{
				`error plumbline.yaml:2: there is no directory "abc" (correct dir, or remove the entry if the directory is gone for good)`,
				`error plumbline.yaml:4: workspace "b" depends on "clutser", which is no workspace (name a workspace that is found and enabled; see plumbline workspaces)`,
			},
		},
		{
			name:     "a dependency with a slip",
			yaml:     "workspaces:\n  - { dir: a, name: cluster }\n  - dir: b\n    depends_on: [clutser]\n",
			problems: []string{`error plumbline.yaml:4: workspace "b" depends on "clutser", which is no workspace (did you mean "cluster"?)`},
		},
		{
			name: "a circle",
			yaml: "workspaces:\n  - dir: b\n    depends_on: [c]\n  - dir: c\n    depends_on: [a]\n  - dir: a\n    depends_on: [b]\n",
			err:  `plumbline.yaml:7: depends_on goes round in a circle: a → b → c → a (let one of them not depend on the next)`,
		},
		{
			name: "on itself",
			yaml: "workspaces:\n  - dir: b\n    depends_on: [b]\n",
			err:  `plumbline.yaml:3: the workspace "b" depends on itself (remove it from its depends_on)`,
		},
		{
			name: "a name that a directory has",
			yaml: "workspaces:\n  - { dir: b, name: a }\n",
			err:  `plumbline.yaml:2: two workspaces have the name "a": that of "b" and that of "a" (give one of them a name of its own)`,
		},
		{
			name:     "a var file that is not there",
			yaml:     "workspaces:\n  - dir: a\n    var_files: [x.tfvars]\n",
			problems: []string{`warning plumbline.yaml:3: the var file "x.tfvars" of workspace "a" does not exist (correct the path, which is relative to the workspace's directory, or add the file)`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := tree(t, "-- plumbline.yaml --\n"+c.yaml+dirs+"-- docs/x.md --\n")
			set, err := workspaces.Discover(t.Context(), fsys, workspaces.Options{})
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("got error %v, want %s", err, c.err)
				}
				if n := len(workspaces.Problems(err)); n != 1 {
					t.Errorf("the error holds %d problems, want 1", n)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "problems", problems(set.Problems), c.problems)
		})
	}
}

func TestDiscoverReturnsEveryMistakeAsError(t *testing.T) {
	_, err := workspaces.Discover(t.Context(), tree(t, "-- plumbline.yaml --\nunknown: 1\nworkspaces:\n  - dir: ../x\n"), workspaces.Options{})
	found := workspaces.Problems(err)
	if len(found) != 2 || found[0].Line != 1 || found[1].Line != 3 {
		t.Errorf("got %v, want two problems, in lines 1 and 3", err)
	}
	if got := workspaces.Problems(errors.New("other")); len(got) != 0 {
		t.Errorf("another error holds problems: %v", got)
	}
}

func TestDiscoverReadsUnreadableFilesAsProblems(t *testing.T) {
	if os.Getuid() == 0 {
		// Root reads everything, so the file system is asked for a directory
		// in the place of a file instead.
		fsys := tree(t, "-- a/main.tf --\n"+resource)
		set := discover(t, refusing{fsys, "a/main.tf"})
		equal(t, "workspaces", names(set.Workspaces), []string{"a"})
		equal(t, "problems", problems(set.Problems), []string{
			"error a/main.tf: Terraform cannot read the file: the file cannot be read: permission denied (correct the file; the other directories are not concerned)",
		})
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(resource), 0); err != nil {
		t.Fatal(err)
	}
	set := discover(t, os.DirFS(dir))
	equal(t, "problems", problems(set.Problems), []string{
		"error main.tf: Terraform cannot read the file: the file cannot be read: permission denied (correct the file; the other directories are not concerned)",
	})
}

// refusing is a file system that does not let one file be read.
type refusing struct {
	fstest.MapFS
	name string
}

func (r refusing) ReadFile(name string) ([]byte, error) {
	if name == r.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.MapFS.ReadFile(name)
}

func TestSelect(t *testing.T) {
	set := discover(t, tree(t, `
-- plumbline.yaml --
workspaces:
  - { dir: a, workspace: x }
  - { dir: a, workspace: y }
  - dir: off
    enabled: false
  - { dir: half, enabled: false }
  - { dir: half, workspace: x }
  - dir: below/one
    name: one
    enabled: false
  - dir: named
    name: a/sub
    enabled: false
  - { dir: below/two, enabled: false }
-- network/prod/main.tf --
`+resource+"-- network/stage/deep/main.tf --\n"+resource+"-- networks/main.tf --\n"+resource+
		"-- a/main.tf --\n"+resource+"-- b/main.tf --\n"+resource+"-- off/main.tf --\n"+resource+"-- half/main.tf --\n"+resource))
	for _, c := range []struct {
		names, want []string
		err         string
	}{
		{names: []string{"b", "a@y"}, want: []string{"a@y", "b"}},
		{names: []string{"a"}, want: []string{"a@x", "a@y"}},
		{names: []string{"./a/", "a@x"}, want: []string{"a@x", "a@y"}},
		{names: []string{"network"}, want: []string{"network/prod", "network/stage/deep"}},
		{names: []string{"network/stage/", "b"}, want: []string{"b", "network/stage/deep"}},
		{names: []string{"."}, want: []string{"a@x", "a@y", "b", "half@x", "network/prod", "network/stage/deep", "networks"}},
		{names: []string{"half"}, want: []string{"half@x"}},
		{names: []string{"off"}, err: `workspace "off" is disabled in plumbline.yaml:5`},
		{names: []string{"one"}, err: `workspace "one" is disabled in plumbline.yaml:10`},
		{names: []string{"below/one"}, err: `every workspace in "below/one" is disabled: "one" in plumbline.yaml:10`},
		{names: []string{"below"}, err: `every workspace in "below" is disabled: "one" in plumbline.yaml:10, "below/two" in plumbline.yaml:14`},
		{names: []string{"a/sub"}, err: `workspace "a/sub" is disabled in plumbline.yaml:13`},
		{names: []string{"netw"}, err: `there is no workspace "netw" (plumbline workspaces lists them all)`},
		{names: []string{"a@z", "nothing"}, err: `there is no workspace "a@z"; did you mean "a@x"?, there is no workspace "nothing" (plumbline workspaces lists them all)`},
	} {
		got, err := set.Select(c.names)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("Select(%q): got error %v, want %s", c.names, err, c.err)
			}
			continue
		}
		if err != nil || !slices.Equal(names(got), c.want) {
			t.Errorf("Select(%q): got %q, %v, want %q", c.names, names(got), err, c.want)
		}
	}
}

func TestSelectFromAListOfTheCaller(t *testing.T) {
	list := []*workspaces.Workspace{{Name: "cl-stage", Dir: "cl"}, {Name: "b", Dir: "live/b"}}
	set := &workspaces.Set{Workspaces: list}
	for _, name := range []string{"cl-stage", "cl", "./cl/"} {
		if got, err := set.Select([]string{name}); err != nil || !slices.Equal(names(got), []string{"cl-stage"}) {
			t.Errorf("Select(%q): got %q, %v", name, names(got), err)
		}
	}
	if w, ok := set.Get("b"); !ok || w != list[1] {
		t.Errorf("Get: got %v, %v", w, ok)
	}
	if _, ok := set.Get("c"); ok {
		t.Error("Get finds a workspace that is not there")
	}
	if _, err := set.Select([]string{"cl-stagee"}); err == nil || err.Error() != `there is no workspace "cl-stagee"; did you mean "cl-stage"? (plumbline workspaces lists them all)` {
		t.Errorf("got error %v", err)
	}
}

// FuzzDiscover holds Discover to never panicking, and to always giving the
// same answer, on files of any content.
func FuzzDiscover(f *testing.F) {
	f.Add([]byte(resource), []byte(`{"module":{"x":{"source":"../a"}}}`), []byte("workspaces:\n  - dir: a\n"))
	f.Add([]byte("module \"m\" {\n  source = \"../b\"\n}\n"), []byte(`{"terraform":[{"backend":{"s3":{}}}]}`), []byte(""))
	f.Add([]byte("locals {\n  x = templatefile(\"${path.module}/../b/${each.key}\", {})\n}\n"), []byte(`{"output":{"x":{"value":"${file(\"x\")}"}}}`), []byte("ignore: [b]\n"))
	f.Add([]byte("module \"m\" {\n  source = \"./\"\n}\nx = ["), []byte(`{`), []byte("defaults: { engine: tofu }\n"))
	f.Fuzz(func(t *testing.T, native, inJSON, config []byte) {
		fsys := fstest.MapFS{
			"a/main.tf":            {Data: native},
			"a/x.tofu":             {Data: native},
			"b/main.tf.json":       {Data: inJSON},
			"b/t.tftest.hcl":       {Data: native},
			"b/.terraform-version": {Data: inJSON},
			"plumbline.yaml":       {Data: config},
		}
		set, err := workspaces.Discover(t.Context(), fsys, workspaces.Options{})
		checked, checkErr := workspaces.Check(t.Context(), fsys, workspaces.Options{})
		if checkErr != nil {
			t.Fatalf("Check: %v", checkErr)
		}
		if err != nil {
			if len(workspaces.Problems(err)) == 0 {
				t.Fatalf("an error without a problem: %v", err)
			}
			for _, p := range workspaces.Problems(err) {
				if !slices.Contains(checked, p) {
					t.Errorf("Check does not find %v, only %v", p, checked)
				}
			}
			return
		}
		if !slices.Equal(checked, set.Problems) {
			t.Errorf("Check finds %v, Discover %v", checked, set.Problems)
		}
		again := discover(t, fsys)
		if diff := cmp.Diff(set.Workspaces, again.Workspaces); diff != "" {
			t.Errorf("two answers:\n%s", diff)
		}
		if diff := cmp.Diff(set.Problems, again.Problems); diff != "" {
			t.Errorf("two answers:\n%s", diff)
		}
		for _, w := range set.Workspaces {
			if _, err := set.Inputs(t.Context(), fsys, w); err != nil {
				t.Errorf("inputs: %v", err)
			}
		}
	})
}

// A file made of brackets is one finding; the parsers never see it.
func TestBracketsWithoutEnd(t *testing.T) {
	deep := strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000)
	fsys := fstest.MapFS{
		"deep/main.tf":      {Data: []byte("\nlocals { x = " + deep + " }\nmodule \"m\" { source = \"../m\" }\n")},
		"json/main.tf.json": {Data: []byte(`{"locals": {"x": ` + deep + `}}`)},
		"m/main.tf":         {Data: []byte("resource \"terraform_data\" \"x\" {}\n")},
		"good/main.tf":      {Data: []byte("resource \"terraform_data\" \"x\" {}\n")},
	}
	set := discover(t, fsys)
	var found []string
	for _, p := range set.Problems {
		found = append(found, fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text))
	}
	text := strings.Join(found, "\n")
	for _, want := range []string{"deep/main.tf:2: ", "json/main.tf.json:1: ", "nested more than 500 deep"} {
		if !strings.Contains(text, want) {
			t.Errorf("the findings do not say %q:\n%s", want, text)
		}
	}
	if _, ok := set.Get("good"); !ok {
		t.Error("the good workspace is gone")
	}
	if _, ok := set.Get("m"); ok {
		t.Error("a module of the broken directory became a workspace")
	}
	w, ok := set.Get("deep")
	if !ok {
		t.Fatal("the broken directory is not listed")
	}
	if _, err := set.Inputs(t.Context(), fsys, w); err != nil {
		t.Errorf("inputs of the broken directory: %v", err)
	}
}

func TestDiscoverTellsWhereTheStateIs(t *testing.T) {
	block := func(body string) string {
		return "terraform {\n" + body + "\n}\n" + resource
	}
	for name, c := range map[string]struct{ files, config, want string }{
		"none":          {"-- a/m.tf --\n" + resource, "", ""},
		"s3":            {"-- a/m.tf --\n" + block(`backend "s3" { path = "x" }`), "", "s3"},
		"cloud":         {"-- a/m.tf --\n" + block("cloud {\n}"), "", "cloud"},
		"local":         {"-- a/m.tf --\n" + block("backend \"local\" {\n}"), "", "local"},
		"local path":    {"-- a/m.tf --\n" + block(`backend "local" { path = "../x.tfstate" }`), "", "local ../x.tfstate"},
		"expression":    {"-- a/m.tf --\n" + block(`backend "local" { path = var.x }`), "", "local ?"},
		"JSON":          {"-- a/m.tf.json --\n{\"terraform\":{\"backend\":{\"local\":{\"path\":\"/var/x\"}}}}\n", "", "local /var/x"},
		"JSON cloud":    {"-- a/m.tf.json --\n{\"terraform\":{\"cloud\":{}}}\n", "", "cloud"},
		"override":      {"-- a/m.tf --\n" + block(`backend "s3" {}`) + "-- a/override.tf --\nterraform {\n  backend \"local\" {}\n}\n", "", "local"},
		"another's":     {"-- a/m.tf --\n" + block(`backend "http" {}`) + "-- a/b.tofu --\nterraform {\n  backend \"local\" {}\n}\n", "", "http"},
		"of a module":   {"-- a/m.tf --\nmodule \"m\" {\n  source = \"../m\"\n}\n-- m/m.tf --\n" + block(`backend "s3" {}`), "", ""},
		"a given path":  {"-- a/m.tf --\n" + block(`backend "local" { path = "x" }`), "path=y", "local y"},
		"a given file":  {"-- a/m.tf --\n" + block(`backend "local" {}`) + "-- a/f.tfbackend --\npath = \"z\"\n", "f.tfbackend", "local z"},
		"a file of ...": {"-- a/m.tf --\n" + block(`backend "local" {}`) + "-- a/f.tfbackend --\n{{\n", "f.tfbackend", "local ?"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := tree(t, c.files)
			if c.config != "" {
				fsys["plumbline.yaml"] = &fstest.MapFile{Data: []byte("workspaces: [{ dir: a, backend_config: ['" + c.config + "'] }]\n"), Mode: 0o644}
			}
			w := get(t, discover(t, fsys), "a")
			equal(t, "backend", strings.TrimSpace(w.Backend+" "+w.BackendPath), c.want)
		})
	}
}
