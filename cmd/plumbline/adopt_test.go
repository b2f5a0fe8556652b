package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// adoptFiles is a small landscape: literals in the root module, in a module and
// behind a variable, and some that cannot be written.
var adoptFiles = map[string]string{
	"plumbline.yaml": "version: 1\ndefaults:\n  env: [\"TOY_*\"]\nworkspaces:\n  - dir: site\n    var_files: [prod.tfvars]\n",
	"site/main.tf": toyProvider + `
resource "toy_network" "main" {
  name = "main"
  cidr = "10.0.0.0/16"
}

# What everything runs in.
resource "toy_cluster" "main" {
  name    = "main"
  network = toy_network.main.name
  version = var.release # see prod.tfvars
}

module "logs" {
  source = "../modules/bucket"
  name   = "logs"
  tags   = { env = "prod" }
}

resource "toy_node" "web" {
  for_each = toset(["web-1", "web-2"])
  cluster  = toy_cluster.main.id
  name     = each.key
  size     = "small"
  labels = {
    role = "web" # for the balancer
    team = "a"
  }
}

resource "toy_node" "lone" {
  cluster = toy_cluster.main.id
  name    = "lone"
  size    = "small"
}
`,
	"site/variables.tf": "variable \"release\" { type = string }\n",
	"site/prod.tfvars":  "release = \"1.33\" # reviewed in June\n",
	"modules/bucket/main.tf": `terraform {
  required_providers {
    toy = { source = "plumbline-dev/toy" }
  }
}

variable "name" {}
variable "tags" {}

resource "toy_bucket" "this" {
  name       = var.name
  versioning = true
  tags       = var.tags
  policy     = jsonencode({ read = ["auditors"] })
}
`,
}

type adoption struct {
	Adopted []struct{ Address, Attribute string }
	Left    []struct{ Address, Attribute, Why string }
	Refused string
	Files   []struct{ Path, Diff string }
}

func (c *testCheckout) adopt(want int, args ...string) adoption {
	c.t.Helper()
	out := c.run(want, append([]string{"drift", "adopt", "--json"}, args...)...)
	var a adoption
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{\n"):]), &a); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return a
}

// TestAdoptOnACloud meddles with a cloud, adopts, and has Terraform find that
// nothing is left to do and nothing to format.
func TestAdoptOnACloud(t *testing.T) {
	t.Parallel()
	c, cloud := newCloudCheckout(t, adoptFiles)
	c.run(exitChanges, "plan")
	c.run(exitOK, "apply")
	label := func(o *toycloud.Node) { o.Labels = map[string]string{"role": "api", "team": "a", "app.io/x": "${y}"} }
	for _, err := range []error{
		cloud.EditCluster("main", func(o *toycloud.Cluster) { o.Version = "1.34" }),
		cloud.EditBucket("logs", func(o *toycloud.Bucket) {
			o.Versioning, o.Tags = false, map[string]string{"env": "dev", "new": "1"}
			o.Policy = `{"read":["auditors","ops"]}`
		}),
		cloud.EditNode("web-1", label),
		cloud.EditNode("web-2", label),
		cloud.EditNode("lone", func(o *toycloud.Node) { o.Labels = map[string]string{"by": "hand"} }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := c.read("site/main.tf")
	if a := c.adopt(exitOK, "--dry-run", "site"); len(a.Files) != 3 || c.read("site/main.tf") != before {
		t.Errorf("a dry run shows %+v, and the file is\n%s", a.Files, c.read("site/main.tf"))
	}
	a := c.adopt(exitOK, "site")
	if len(a.Left) > 0 || len(a.Files) != 3 {
		t.Fatalf("left %+v, files %+v", a.Left, a.Files)
	}
	for file, want := range map[string]string{
		"site/prod.tfvars":       "release = \"1.34\" # reviewed in June\n",
		"site/variables.tf":      adoptFiles["site/variables.tf"],
		"modules/bucket/main.tf": strings.NewReplacer("= true", "= false", `["auditors"]`, `["auditors", "ops"]`).Replace(adoptFiles["modules/bucket/main.tf"]),
	} {
		if got := c.read(file); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", file, got, want)
		}
	}
	for _, want := range []string{
		"# What everything runs in.", "  labels = {\n    role       = \"api\" # for the balancer\n    team       = \"a\"\n    \"app.io/x\" = \"$${y}\"\n  }\n",
		"tags   = { env = \"dev\", new = \"1\" }", "  labels = {\n    by = \"hand\"\n  }\n",
	} {
		if got := c.read("site/main.tf"); !strings.Contains(got, want) {
			t.Errorf("main.tf does not hold %q:\n%s", want, got)
		}
	}
	if out, err := exec.Command(parts.Terraform(t), "fmt", "-check", "-diff", "-recursive", c.dir).CombinedOutput(); err != nil {
		t.Errorf("terraform fmt: %v\n%s", err, out)
	}
	cloud.ResetCounters()
	c.run(exitOK, "plan")
	c.run(exitOK, "apply")
	for kind, n := range cloud.Counters().Kinds {
		if n.Creates+n.Updates+n.Deletes > 0 {
			t.Errorf("%s: %+v, although the configuration says what is real", kind, n)
		}
	}
	if a := c.adopt(exitOK, "site"); len(a.Files) > 0 {
		t.Errorf("a second time: %+v", a)
	}
}

// TestAdoptPutsBackWhatDoesNotHelp has drift that can be written, but whose
// plan would then do something else besides; and drift that cannot be written.
func TestAdoptPutsBackWhatDoesNotHelp(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"plumbline.yaml": "version: 1\ndefaults:\n  env: [\"TOY_*\"]\n",
		"site/main.tf": toyProvider + `
locals {
  versioned = true
  tier      = "gold"
}

resource "toy_bucket" "a" {
  name       = "a"
  versioning = local.versioned
  tags       = { tier = local.tier, note = lower("X") }
}

# Its setting hangs on the same value, and is as it was.
resource "toy_bucket" "b" {
  name       = "b"
  versioning = local.versioned
}
`}
	c, cloud := newCloudCheckout(t, files)
	c.run(exitChanges, "plan")
	c.run(exitOK, "apply")
	if err := cloud.EditBucket("a", func(o *toycloud.Bucket) {
		o.Versioning, o.Tags = false, map[string]string{"tier": "gold", "note": "y"}
	}); err != nil {
		t.Fatal(err)
	}
	a := c.adopt(exitChanges, "site")
	if !strings.Contains(a.Refused, "toy_bucket.b") || len(a.Adopted) > 0 || len(a.Files) > 0 {
		t.Errorf("%+v, want all of it refused because of toy_bucket.b", a)
	}
	if len(a.Left) != 1 || a.Left[0].Attribute != "tags.note" || !strings.Contains(a.Left[0].Why, "lower()") {
		t.Errorf("left %+v, want the tag that is computed", a.Left)
	}
	if got := c.read("site/main.tf"); got != files["site/main.tf"] {
		t.Errorf("the file was not put back:\n%s", got)
	}
}

func (c *testCheckout) read(name string) string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(name)))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}
