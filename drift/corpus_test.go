package drift_test

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

var update = flag.Bool("update", false, "record the corpus in testdata/corpus again, with a real Terraform")

// example is one case of the corpus: a workspace that was applied, what happened to it then, and what is to be found.
type example struct {
	name   string
	config string
	files  map[string]string
	before func(*bench) // before the first apply
	// applyFails says that the first apply fails.
	applyFails bool
	// noise makes a plan right after the apply, as the runner does, and remembers what it shows.
	noise bool
	then  func(*bench)     // after the apply
	facts func(*recording) // changes what is on record
	args  []string         // of the plan that is looked at
	// git moves Git on without an apply. Then both are planned, the applied files and the newer ones.
	git func(*bench)
	// corrected says when findings were corrected before, by address.
	corrected map[string][]time.Time
	// live plays the case with a real Terraform, correction included, in every run of the tests; -update plays them all.
	live bool
	// want are the findings: "ADDRESS CLASS CAUSE ACTIONS CAUSE(PATHS)… | yes", or a part of the reason why not.
	want []string
}

func text(s string) *string { return &s }
func whole(n int64) *int64  { return &n }

const toyNodes = `
resource "toy_network" "main" {
  name = "main"
  cidr = "10.0.0.0/16"
}
resource "toy_cluster" "main" {
  name    = "main"
  network = toy_network.main.id
  version = "1.33"
  size    = 3
}
resource "toy_node" "node" {
  for_each = toset(["a", "b"])
  cluster  = toy_cluster.main.id
  name     = each.key
  size     = "small"
  labels   = { rack = each.key }
}
resource "toy_bucket" "logs" {
  name       = "logs"
  versioning = true
  tags       = { owner = "me" }
}
output "bucket_etag" { value = toy_bucket.logs.etag }
`

const labThing1 = `
resource "lab_thing" "one" {
  name   = "one"
  size   = 3
  label  = "old"
  secret = "hunter2-canary"
  tags   = { env = "prod", "app.kubernetes.io/name" = "shop" }
  ports  = [80, 443]
  settings = {
    mode  = "fast"
    depth = 2
  }
  rule {
    port  = 1
    note  = "first"
    token = "canary-token-1"
  }
  rule {
    port = 2
    note = "second"
  }
  disk {
    name = "root"
    size = 10
  }
  disk {
    name = "data"
    size = 20
  }
}
`

const labPair = `
resource "lab_thing" "one" {
  name = "one"
  zone = "a"
}
resource "lab_thing" "two" {
  name  = "two"
  label = lab_thing.one.id
}
`

func corpus() []example {
	return []example{
		{
			name: "nothing happened", config: toyNodes,
		},
		{
			name: "node deleted", config: toyNodes,
			then: func(b *bench) { b.ok(b.cloud.Delete(toycloud.Nodes, "a")) },
			want: []string{`toy_node.node["a"] node outside create | yes`},
		},
		{
			name: "bucket edited", config: toyNodes,
			then: func(b *bench) {
				b.ok(b.cloud.EditBucket("logs", func(o *toycloud.Bucket) { o.Versioning = false; o.Tags["owner"] = "you" }))
			},
			want: []string{`toy_bucket.logs resource outside update outside(tags.owner versioning) | yes`},
		},
		{
			name: "node and bucket together", live: true, config: toyNodes,
			then: func(b *bench) {
				b.ok(b.cloud.Delete(toycloud.Nodes, "b"))
				b.ok(b.cloud.EditBucket("logs", func(o *toycloud.Bucket) { o.Tags["new"] = "tag" }))
			},
			want: []string{
				`toy_bucket.logs resource outside update outside(tags.new) | yes`,
				`toy_node.node["b"] node outside create | yes`,
			},
		},
		{
			name: "cluster scaled", config: toyNodes,
			then: func(b *bench) { b.ok(b.cloud.EditCluster("main", func(o *toycloud.Cluster) { o.Size = 5 })) },
			want: []string{`toy_cluster.main cluster outside update outside(size) | yes`},
		},
		{
			name: "cluster deleted with its nodes", config: toyNodes,
			then: func(b *bench) { b.ok(b.cloud.Delete(toycloud.Clusters, "main")) },
			want: []string{
				`toy_cluster.main cluster outside create | yes`,
				`toy_node.node["a"] node outside create outside(cluster) follows(toy_cluster.main) | yes`,
				`toy_node.node["b"] node outside create outside(cluster) follows(toy_cluster.main) | yes`,
			},
		},
		{
			name: "node of another size", config: toyNodes,
			then: func(b *bench) {
				b.ok(b.cloud.EditNode("a", func(o *toycloud.Node) { o.Size = "large"; o.Labels["by"] = "hand" }))
			},
			want: []string{`toy_node.node["a"] node outside replace outside(labels.by size) | yes`},
		},
		{
			name: "image released",
			config: `
data "toy_image" "debian" { name = "debian" }
` + strings.Replace(toyNodes, `size     = "small"`, `size     = "small"
  image    = data.toy_image.debian.reference`, 1),
			then: func(b *bench) { b.ok(b.cloud.EditImage("debian", func(o *toycloud.Image) { o.Release = "13" })) },
			want: []string{
				`toy_node.node["a"] node data replace data(image) | data source`,
				`toy_node.node["b"] node data replace data(image) | data source`,
			},
		},
		{
			name: "autoscaler fights", config: toyNodes, noise: true,
			before: func(b *bench) {
				b.ok(b.cloud.SetBehaviour(toycloud.Behaviour{Autoscalers: []toycloud.Autoscaler{{Size: 7}}}))
			},
			want: []string{`toy_cluster.main cluster perpetual update perpetual(size) | noise`},
		},
		{
			name: "autoscaler fights and a node is gone", config: toyNodes, noise: true,
			before: func(b *bench) {
				b.ok(b.cloud.SetBehaviour(toycloud.Behaviour{Autoscalers: []toycloud.Autoscaler{{Size: 7}}}))
			},
			then: func(b *bench) { b.ok(b.cloud.Delete(toycloud.Nodes, "a")) },
			want: []string{
				`toy_cluster.main cluster perpetual update perpetual(size) | noise`,
				`toy_node.node["a"] node outside create | depends on toy_cluster.main`,
			},
		},
		{
			name: "never applied here", config: toyNodes,
			then: func(b *bench) {
				b.ok(b.cloud.Delete(toycloud.Nodes, "a"))
				b.replace("main.tf", `owner = "me"`, `owner = "us"`)
			},
			facts: func(r *recording) { r.Baseline = nil },
			want: []string{
				`toy_bucket.logs resource unapplied update unapplied(tags.owner) | apply`,
				`toy_node.node["a"] node outside create | yes`,
			},
		},
		{
			name: "another state", config: toyNodes,
			then:  func(b *bench) { b.replace("main.tf", `owner = "me"`, `owner = "us"`) },
			facts: func(r *recording) { r.Baseline.Lineage = "other"; r.Current.InputsDigest = r.Baseline.InputsDigest },
			want:  []string{`toy_bucket.logs resource unapplied update unapplied(tags.owner) | apply`},
		},
		{
			name: "unapplied change", config: labThing1,
			then: func(b *bench) { b.replace("main.tf", "size   = 3", "size   = 4") },
			want: []string{`lab_thing.one resource unapplied update unapplied(size) | apply`},
		},
		{
			name: "outside and unapplied in one resource", config: labThing1,
			then: func(b *bench) {
				b.replace("main.tf", "size   = 3", "size   = 4")
				b.edit("one", func(s *stored) { s.Label = text("new") })
			},
			want: []string{`lab_thing.one resource unapplied update outside(label) unapplied(size) | apply`},
		},
		{
			name: "outside and unapplied in two resources", config: labPair,
			then: func(b *bench) {
				b.replace("main.tf", `label = lab_thing.one.id`, `label = "fixed"`)
				b.edit("one", func(s *stored) { s.Zone = text("b") })
			},
			want: []string{
				`lab_thing.one resource outside replace outside(zone) | yes`,
				`lab_thing.two resource unapplied update unapplied(label) | apply`,
			},
		},
		{
			name: "one attribute changed on both sides", config: labThing1,
			then: func(b *bench) {
				b.replace("main.tf", "size   = 3", "size   = 4")
				b.edit("one", func(s *stored) { s.Size = whole(9) })
			},
			want: []string{`lab_thing.one resource unapplied update unapplied(size) | apply`},
		},
		{
			name: "reality is already what Git wants", config: labThing1,
			then: func(b *bench) {
				b.replace("main.tf", "size   = 3", "size   = 4")
				b.edit("one", func(s *stored) { s.Size = whole(4) })
			},
			want: []string{`lab_thing.one resource outside no-op outside(size) | nothing to correct`},
		},
		{
			name: "deleted outside and changed in Git", config: labThing1,
			then: func(b *bench) {
				b.replace("main.tf", "size   = 3", "size   = 4")
				b.lose("one")
			},
			want: []string{`lab_thing.one resource unapplied create unapplied(size) | apply`},
		},
		{
			name: "deleted outside and removed from Git", config: labPair,
			then: func(b *bench) {
				b.write("main.tf", strings.Split(labPair, `resource "lab_thing" "two"`)[0])
				b.lose("two")
			},
			want: []string{`lab_thing.two resource outside no-op | nothing to correct`},
		},
		{
			name: "deleted outside", config: labThing1,
			then: func(b *bench) { b.lose("one") },
			want: []string{`lab_thing.one resource outside create | yes`},
		},
		{
			name: "nested block edited", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Rules[1].Note = text("changed") }) },
			want: []string{`lab_thing.one resource outside update outside(rule[1].note) | yes`},
		},
		{
			name: "nested block added", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Rules = append(s.Rules, labRule{Port: 3}) }) },
			want: []string{`lab_thing.one resource outside update outside(rule) | yes`},
		},
		{
			name: "nested block first removed", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Rules = s.Rules[1:] }) },
			want: []string{`lab_thing.one resource outside update outside(rule) | yes`},
		},
		{
			name: "nested blocks swapped", config: labThing1,
			then: func(b *bench) {
				b.edit("one", func(s *stored) { s.Rules[0], s.Rules[1] = s.Rules[1], s.Rules[0] })
			},
			want: []string{`lab_thing.one resource outside update outside(rule) | yes`},
		},
		{
			name: "block in a set edited", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Disks[1].Size = 30 }) },
			want: []string{`lab_thing.one resource outside update outside(disk[1].size) | yes`},
		},
		{
			name: "set of numbers edited", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Ports = []int64{8080, 80} }) },
			want: []string{`lab_thing.one resource outside update outside(ports) | yes`},
		},
		{
			name: "object and map edited", config: labThing1,
			then: func(b *bench) {
				b.edit("one", func(s *stored) {
					s.Settings.Depth = whole(7)
					s.Tags["app.kubernetes.io/name"] = "till"
					delete(s.Tags, "env")
				})
			},
			want: []string{`lab_thing.one resource outside update outside(settings.depth tags["app.kubernetes.io/name"] tags.env) | yes`},
		},
		{
			name: "object and map removed", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Settings, s.Tags = nil, nil }) },
			want: []string{`lab_thing.one resource outside update outside(settings tags) | yes`},
		},
		{
			name: "sensitive value edited", config: labThing1,
			then: func(b *bench) {
				b.edit("one", func(s *stored) { s.Secret, s.Rules[0].Token = text("outside-canary"), text("other-canary") })
			},
			want: []string{`lab_thing.one resource outside update outside(rule[0].token secret) | yes`},
		},
		{
			name: "sensitive variable",
			config: `
variable "tags" {
  type      = map(string)
  sensitive = true
  default   = { secret_name = "map-canary" }
}
resource "lab_thing" "one" {
  name = "one"
  tags = var.tags
}
output "tags" {
  value     = lab_thing.one.tags
  sensitive = true
}
`,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Tags["other_canary"] = "x" }) },
			want: []string{`lab_thing.one resource outside update outside(tags) | yes`},
		},
		{
			name: "computed drift only", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Status = "degraded" }) },
			want: []string{`lab_thing.one resource outside no-op outside(status) | nothing to correct`},
		},
		{
			name: "computed drift carried on",
			config: `
resource "lab_thing" "one" { name = "one" }
resource "lab_thing" "two" {
  name  = "two"
  label = lab_thing.one.status
}
`,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Status = "degraded" }) },
			want: []string{
				`lab_thing.one resource outside no-op outside(status) | nothing to correct`,
				`lab_thing.two resource outside update outside(label) follows(lab_thing.one) | carry a change of lab_thing.one on`,
			},
		},
		{
			name: "computed drift beside a correction", config: labThing1,
			then: func(b *bench) {
				b.edit("one", func(s *stored) { s.Status, s.Size = "degraded", whole(8) })
			},
			want: []string{`lab_thing.one resource outside update outside(size) | yes`},
		},
		{
			name: "ignore_changes", config: strings.Replace(labThing1, `  size   = 3`, "  lifecycle { ignore_changes = [size] }\n  size   = 3", 1),
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Size = whole(8) }) },
			want: []string{`lab_thing.one resource outside no-op outside(size) | nothing to correct`},
		},
		{
			name: "replaced outside and followed", config: labPair,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Zone = text("b") }) },
			want: []string{
				`lab_thing.one resource outside replace outside(zone) | yes`,
				`lab_thing.two resource outside update outside(label) follows(lab_thing.one) | yes`,
			},
		},
		{
			name: "create before destroy", live: true,
			config: strings.Replace(labPair, `zone = "a"`, "zone = \"a\"\n  lifecycle { create_before_destroy = true }", 1),
			then:   func(b *bench) { b.edit("one", func(s *stored) { s.Zone = text("b") }) },
			want: []string{
				`lab_thing.one resource outside replace outside(zone) | yes`,
				`lab_thing.two resource outside update outside(label) follows(lab_thing.one) | yes`,
			},
		},
		{
			name: "unapplied replacement and followed", config: labPair,
			then: func(b *bench) { b.replace("main.tf", `zone = "a"`, `zone = "b"`) },
			want: []string{
				`lab_thing.one resource unapplied replace unapplied(zone) | apply`,
				`lab_thing.two resource unapplied update unapplied(label) follows(lab_thing.one) | apply`,
			},
		},
		{
			name: "deleted outside and followed after a commit", config: labPair,
			then: func(b *bench) {
				b.write("other.tf", `resource "terraform_data" "new" {}`)
				b.lose("one")
			},
			want: []string{
				`lab_thing.one resource outside create | lab_thing.two follows it and is held`,
				`lab_thing.two resource outside update outside(label) follows(lab_thing.one) | not certain enough`,
				`terraform_data.new resource unapplied create | apply`,
			},
		},
		{
			name: "depends on something unapplied", config: labPair,
			then: func(b *bench) {
				b.write("main.tf", strings.Replace(labPair, `zone = "a"`, "zone = \"a\"\n  size = 7", 1))
				b.lose("two")
			},
			want: []string{
				`lab_thing.one resource unapplied update unapplied(size) | apply`,
				`lab_thing.two resource outside create | depends on lab_thing.one`,
			},
		},
		{
			name: "followed through a local value and a module", live: true,
			config: `
locals { where = lab_thing.one.id }
resource "lab_thing" "one" {
  name = "one"
  zone = "a"
}
module "inner" {
  source = "./inner"
  label  = local.where
}
resource "lab_thing" "three" {
  name  = "three"
  label = module.inner.id
}
`,
			files: map[string]string{"inner/main.tf": `
terraform {
  required_providers {
    lab = { source = "plumbline-dev/lab" }
  }
}
variable "label" {}
resource "lab_thing" "two" {
  name  = "two"
  zone  = var.label
}
output "id" { value = "${lab_thing.two.id}!" }
`},
			then: func(b *bench) { b.lose("one") },
			want: []string{
				`lab_thing.one resource outside create | yes`,
				`lab_thing.three resource outside update outside(label) follows(module.inner.lab_thing.two) | yes`,
				`module.inner.lab_thing.two resource outside replace outside(zone) follows(lab_thing.one) | yes`,
			},
		},
		{
			name: "replace triggered by",
			config: `
resource "lab_thing" "one" {
  name = "one"
  size = 1
}
resource "lab_thing" "two" {
  name = "two"
  lifecycle { replace_triggered_by = [lab_thing.one] }
}
`,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Size = whole(2) }) },
			want: []string{
				`lab_thing.one resource outside update outside(size) | yes`,
				`lab_thing.two resource outside replace follows(lab_thing.one) | yes`,
			},
		},
		{
			name: "data source",
			config: `
data "lab_fact" "f" { name = "f" }
resource "lab_thing" "one" {
  name  = "one"
  label = data.lab_fact.f.value
}
output "fact" { value = data.lab_fact.f.value }
`,
			before: func(b *bench) { b.fact("f", "first") },
			then:   func(b *bench) { b.fact("f", "second") },
			want: []string{
				`lab_thing.one resource data update data(label) | data source`,
				`output.fact resource data update data(value) | an output`,
			},
		},
		{
			name: "data source and outside in one resource",
			config: `
data "lab_fact" "f" { name = "f" }
resource "lab_thing" "one" {
  name  = "one"
  size  = 3
  label = data.lab_fact.f.value
}
`,
			before: func(b *bench) { b.fact("f", "first") },
			then: func(b *bench) {
				b.fact("f", "second")
				b.edit("one", func(s *stored) { s.Size = whole(4) })
			},
			want: []string{`lab_thing.one resource data update data(label) outside(size) | data source`},
		},
		{
			name: "data source through modules and locals",
			config: `
data "lab_fact" "f" { name = "f" }
module "outer" {
  source = "./outer"
  input  = data.lab_fact.f.value
}
resource "lab_thing" "last" {
  name  = "last"
  label = module.outer.result
}
`,
			files: map[string]string{
				"outer/main.tf": `
variable "input" {}
locals { same = var.input }
module "inner" {
  source = "./inner"
  count  = 1
  input  = local.same
}
output "result" { value = module.inner[0].result }
`,
				"outer/inner/main.tf": `
terraform {
  required_providers {
    lab = { source = "plumbline-dev/lab" }
  }
}
variable "input" {}
resource "lab_thing" "deep" {
  name  = "deep"
  label = "a ${var.input}"
}
output "result" { value = var.input }
`},
			before: func(b *bench) { b.fact("f", "first") },
			then:   func(b *bench) { b.fact("f", "second") },
			want: []string{
				`lab_thing.last resource data update data(label) | data source`,
				`module.outer.module.inner[0].lab_thing.deep resource data update data(label) | data source`,
			},
		},
		{
			name: "data source decides how many",
			config: `
data "lab_fact" "f" { name = "f" }
resource "lab_thing" "each" {
  for_each = toset(data.lab_fact.f.list)
  name     = each.key
}
`,
			before: func(b *bench) { b.fact("f", "a b") },
			then:   func(b *bench) { b.fact("f", "b c") },
			want: []string{
				`lab_thing.each["a"] resource data delete | data source`,
				`lab_thing.each["c"] resource data create | data source`,
			},
		},
		{
			name: "data source read during the apply",
			config: `
resource "lab_thing" "one" { name = "one" }
data "lab_fact" "f" { name = lab_thing.one.id }
resource "lab_thing" "two" {
  name  = "two"
  label = data.lab_fact.f.value
}
`,
			then: func(b *bench) { b.lose("one") },
			want: []string{
				`lab_thing.one resource outside create | lab_thing.two follows it and is held`,
				`lab_thing.two resource outside update outside(label) follows(lab_thing.one) | read again during the apply`,
			},
		},
		{
			name: "data source beside what is followed",
			config: `
data "lab_fact" "f" { name = "f" }
resource "lab_thing" "one" { name = "one" }
resource "lab_thing" "two" {
  name  = "two"
  label = "${lab_thing.one.id} ${data.lab_fact.f.value}"
}
`,
			then: func(b *bench) { b.lose("one") },
			want: []string{
				`lab_thing.one resource outside create | lab_thing.two follows it and is held`,
				`lab_thing.two resource outside update outside(label) follows(lab_thing.one) | also made from data.lab_fact.f`,
			},
		},
		{
			name: "data source through for_each",
			config: `
data "lab_fact" "f" { name = "f" }
resource "lab_thing" "each" {
  for_each = { one = data.lab_fact.f.value }
  name     = each.key
  label    = each.value
}
`,
			before: func(b *bench) { b.fact("f", "first") },
			then:   func(b *bench) { b.fact("f", "second") },
			want:   []string{`lab_thing.each["one"] resource data update data(label) | data source`},
		},
		{
			name: "output made from a data source through a local value",
			config: `
data "lab_fact" "f" { name = "f" }
locals { fact = data.lab_fact.f.value }
output "fact" { value = local.fact }
`,
			before: func(b *bench) { b.fact("f", "first") },
			then:   func(b *bench) { b.fact("f", "second") },
			want:   []string{`output.fact resource data update data(value) | an output`},
		},
		{
			name: "timestamp",
			config: `
resource "lab_thing" "one" {
  name  = "one"
  label = timestamp()
}
`,
			want: []string{`lab_thing.one resource data update data(label) | from the time`},
		},
		{
			name: "timestamp beside an edit",
			config: `
resource "lab_thing" "one" {
  name  = "one"
  size  = 3
  label = timestamp()
}
`,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Size = whole(4) }) },
			want: []string{`lab_thing.one resource data update data(label) outside(size) | from the time`},
		},
		{
			name: "rotation comes due",
			config: `
resource "time_rotating" "key" {
  rfc3339       = "2020-01-01T00:00:00Z"
  rotation_days = 10
}
resource "lab_thing" "one" {
  name  = "one"
  zone  = time_rotating.key.id
}
`,
			want: []string{
				`lab_thing.one resource data replace data(zone) follows(time_rotating.key) | from the time`,
				`time_rotating.key resource data create | from the time`,
			},
		},
		{
			name: "provider upgraded with a new default", config: labPair,
			then: func(b *bench) { b.upgradeLab() },
			want: []string{
				`lab_thing.one resource upgrade update upgrade(tier) | upgrade`,
				`lab_thing.two resource upgrade update upgrade(tier) | upgrade`,
			},
		},
		{
			name: "provider upgraded and something edited", config: labThing1,
			then: func(b *bench) {
				b.upgradeLab()
				b.edit("one", func(s *stored) { s.Size = whole(4); s.Tier = "standard" })
			},
			want: []string{`lab_thing.one resource outside update outside(size) | may read the same object differently`},
		},
		{
			name: "provider upgraded and something deleted", config: labThing1,
			then: func(b *bench) { b.upgradeLab(); b.lose("one") },
			want: []string{`lab_thing.one resource upgrade create upgrade(tier) | upgrade`},
		},
		{
			name: "terraform upgraded", config: labPair,
			then: func(b *bench) {
				b.upgradeLab()
			},
			facts: func(r *recording) {
				r.Baseline.TerraformVersion, r.Baseline.Providers = "1.10.0", r.Current.Providers
			},
			want: []string{
				`lab_thing.one resource upgrade update upgrade(tier) | upgrade`,
				`lab_thing.two resource upgrade update upgrade(tier) | upgrade`,
			},
		},
		{
			name: "nothing explains it", config: labPair,
			then:  func(b *bench) { b.upgradeLab() },
			facts: func(r *recording) { r.Baseline.Providers = r.Current.Providers },
			want: []string{
				`lab_thing.one resource perpetual update perpetual(tier) | noise`,
				`lab_thing.two resource perpetual update perpetual(tier) | noise`,
			},
		},
		{
			name: "refreshed by hand", config: labThing1,
			then: func(b *bench) {
				b.edit("one", func(s *stored) { s.Size = whole(4) })
				b.apply("-refresh-only")
			},
			want: []string{`lab_thing.one resource outside update outside(size) | something else has written the state`},
		},
		{
			name: "removed from the state by hand", config: labThing1,
			then: func(b *bench) { b.must("state", "rm", "lab_thing.one") },
			want: []string{`lab_thing.one resource outside create | something else has written the state`},
		},
		{
			name: "deleted without Terraform saying so", config: labThing1,
			then:  func(b *bench) { b.must("state", "rm", "lab_thing.one") },
			facts: func(r *recording) { r.Current.Serial = r.Baseline.Serial },
			want:  []string{`lab_thing.one resource outside create | yes`},
		},
		{
			name: "apply that was left undone", config: labPair,
			then:  func(b *bench) { b.must("state", "rm", "lab_thing.two") },
			facts: func(r *recording) { r.Baseline.Partial = true },
			want:  []string{`lab_thing.two resource unapplied create | apply`},
		},
		{
			name: "tainted", config: labPair, applyFails: true,
			before: func(b *bench) { b.deny("create") },
			facts:  func(r *recording) { r.Baseline.Partial = true },
			want: []string{
				`lab_thing.one resource unapplied replace | apply`,
				`lab_thing.two resource unapplied create | apply`,
			},
		},
		{
			name:   "deposed",
			config: strings.Replace(labPair, `zone = "a"`, "zone = \"a\"\n  lifecycle { create_before_destroy = true }", 1),
			then: func(b *bench) {
				b.deny("delete")
				b.replace("main.tf", `zone = "a"`, `zone = "b"`)
				b.applyFails()
			},
			facts: func(r *recording) {
				r.Baseline.InputsDigest, r.Baseline.Serial, r.Baseline.Partial = r.Current.InputsDigest, r.Current.Serial, true
			},
			want: []string{`lab_thing.one resource unapplied delete | apply`},
		},
		{
			name: "moved", config: labPair,
			then: func(b *bench) {
				b.write("main.tf", strings.ReplaceAll(strings.ReplaceAll(labPair, `"lab_thing" "one"`, `"lab_thing" "uno"`), "lab_thing.one", "lab_thing.uno")+`
moved {
  from = lab_thing.one
  to   = lab_thing.uno
}`)
			},
			want: []string{`lab_thing.uno resource unapplied move | apply`},
		},
		{
			name: "moved and edited", config: labThing1,
			then: func(b *bench) {
				b.write("main.tf", strings.ReplaceAll(labThing1, `"lab_thing" "one"`, `"lab_thing" "uno"`)+`
moved {
  from = lab_thing.one
  to   = lab_thing.uno
}`)
				b.edit("one", func(s *stored) { s.Size = whole(4) })
			},
			want: []string{`lab_thing.uno resource unapplied move+update outside(size) | apply`},
		},
		{
			name: "import", config: labPair,
			then: func(b *bench) {
				b.ok(b.lab.write(stored{thing: thing{Name: "three"}, Made: 1, Revision: 1, Status: "ready"}))
				b.write("more.tf", `
resource "lab_thing" "three" { name = "three" }
import {
  to = lab_thing.three
  id = "three"
}`)
			},
			want: []string{`lab_thing.three resource unapplied import | apply`},
		},
		{
			name: "forgotten", config: labPair,
			then: func(b *bench) {
				b.write("main.tf", strings.Split(labPair, `resource "lab_thing" "two"`)[0]+`
removed {
  from = lab_thing.two
  lifecycle { destroy = false }
}`)
			},
			want: []string{`lab_thing.two resource unapplied forget | apply`},
		},
		{
			name: "count lowered",
			config: `
resource "lab_thing" "n" {
  count = 3
  name  = "n${count.index}"
  size  = 1
}
`,
			then: func(b *bench) {
				b.replace("main.tf", "count = 3", "count = 2")
				b.edit("n0", func(s *stored) { s.Size = whole(2) })
			},
			want: []string{
				`lab_thing.n[0] resource outside update outside(size) | yes`,
				`lab_thing.n[2] resource unapplied delete | apply`,
			},
		},
		{
			name: "for_each with odd keys",
			config: `
resource "lab_thing" "k" {
  for_each = { "a.b c" = "ab", "x]\"y" = "xy" }
  name     = each.value
  size     = 1
}
`,
			then: func(b *bench) {
				b.lose("ab")
				b.edit("xy", func(s *stored) { s.Size = whole(2) })
			},
			want: []string{
				`lab_thing.k["a.b c"] resource outside create | yes`,
				`lab_thing.k["x]\"y"] resource outside update outside(size) | yes`,
			},
		},
		{
			name: "count becomes for_each",
			config: `
resource "lab_thing" "n" {
  count = 1
  name  = "n${count.index}"
}
`,
			then: func(b *bench) {
				b.write("main.tf", `
resource "lab_thing" "n" {
  for_each = toset(["n1"])
  name     = each.key
}`)
			},
			want: []string{
				`lab_thing.n[0] resource unapplied delete | apply`,
				`lab_thing.n["n1"] resource unapplied create | apply`,
			},
		},
		{
			name: "files of the local provider", live: true,
			config: `
resource "local_file" "a" {
  filename = "${path.module}/a.txt"
  content  = "a"
}
resource "local_file" "b" {
  filename = "${path.module}/b.txt"
  content  = "b of ${local_file.a.id}"
}
resource "terraform_data" "follows" { triggers_replace = local_file.b.id }
`,
			then: func(b *bench) { b.remove("a.txt"); b.write("b.txt", "somebody else's") },
			want: []string{
				`local_file.a resource outside create | yes`,
				`local_file.b resource outside create outside(content) follows(local_file.a) | yes`,
				`terraform_data.follows resource outside replace outside(triggers_replace) follows(local_file.b) | yes`,
			},
		},
		{
			name: "output changed in Git", config: toyNodes,
			then: func(b *bench) { b.write("out.tf", `output "word" { value = "new" }`) },
			want: []string{`output.word resource unapplied create unapplied(value) | an output`},
		},
		{
			name: "two commits, one resource", live: true, config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Label = text("new") }) },
			git:  func(b *bench) { b.replace("main.tf", "size   = 3", "size   = 4") },
			want: []string{
				`lab_thing.one resource outside update outside(label) | yes`,
				`lab_thing.one resource unapplied update unapplied(size) | apply`,
			},
		},
		{
			name: "two commits, one attribute", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Size = whole(9) }) },
			git:  func(b *bench) { b.replace("main.tf", "size   = 3", "size   = 4") },
			want: []string{
				`lab_thing.one resource outside update outside(size) | yes`,
				`lab_thing.one resource unapplied update unapplied(size) | apply`,
			},
		},
		{
			name: "two commits, the newer has what is real", config: labThing1,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Size = whole(4) }) },
			git:  func(b *bench) { b.replace("main.tf", "size   = 3", "size   = 4") },
			want: []string{`lab_thing.one resource outside update outside(size) | it already is as newer files will have it`},
		},
		{
			name: "two commits, deleted outside and in the newer", config: labPair,
			then: func(b *bench) { b.lose("two") },
			git: func(b *bench) {
				b.replace("main.tf", `resource "lab_thing" "two" {
  name  = "two"
  label = lab_thing.one.id
}`, "")
			},
			want: []string{`lab_thing.two resource outside create | it already is as newer files will have it`},
		},
		{
			name: "two commits, edited outside and removed in the newer", config: labPair,
			then: func(b *bench) { b.edit("two", func(s *stored) { s.Label = text("mine") }) },
			git: func(b *bench) {
				b.replace("main.tf", `resource "lab_thing" "two" {
  name  = "two"
  label = lab_thing.one.id
}`, "")
			},
			want: []string{
				`lab_thing.two resource outside update outside(label) | yes`,
				`lab_thing.two resource unapplied delete | apply`,
			},
		},
		{
			name: "two commits, the newer only adds", config: toyNodes,
			then: func(b *bench) { b.ok(b.cloud.Delete(toycloud.Nodes, "a")) },
			git:  func(b *bench) { b.replace("main.tf", `["a", "b"]`, `["a", "b", "c"]`) },
			want: []string{
				`toy_node.node["a"] node outside create | yes`,
				`toy_node.node["c"] node unapplied create | apply`,
			},
		},
		{
			name: "two commits that do the same", config: toyNodes,
			then: func(b *bench) { b.ok(b.cloud.Delete(toycloud.Nodes, "a")) },
			git:  func(b *bench) { b.replace("main.tf", `output "bucket_etag"`, "# a comment\noutput \"bucket_etag\"") },
			want: []string{`toy_node.node["a"] node outside create | yes`},
		},
		{
			name: "two commits, moved in the newer", config: labPair,
			then: func(b *bench) { b.edit("one", func(s *stored) { s.Zone = text("b") }) },
			git: func(b *bench) {
				b.replace("main.tf", `"lab_thing" "two"`, `"lab_thing" "second"`)
				b.write("moved.tf", "moved {\n  from = lab_thing.two\n  to   = lab_thing.second\n}\n")
			},
			want: []string{
				`lab_thing.one resource outside replace outside(zone) | yes`,
				`lab_thing.two resource outside update outside(label) follows(lab_thing.one) | yes`,
				`lab_thing.second resource unapplied move+update unapplied(label) follows(lab_thing.one) | apply`,
			},
		},
		{
			name: "scaled once more after three corrections", config: toyNodes,
			then: func(b *bench) {
				b.ok(b.cloud.EditCluster("main", func(o *toycloud.Cluster) { o.Size = 5 }))
				b.ok(b.cloud.EditBucket("logs", func(o *toycloud.Bucket) { o.Versioning = false }))
			},
			corrected: map[string][]time.Time{
				"toy_cluster.main": {now.Add(-3 * time.Hour), now.Add(-2 * time.Hour), now.Add(-time.Hour)},
				"toy_bucket.logs":  {now.Add(-72 * time.Hour), now.Add(-48 * time.Hour), now.Add(-time.Hour)},
			},
			want: []string{
				`toy_bucket.logs resource outside update outside(versioning) | yes`,
				`toy_cluster.main cluster outside update outside(size) | waits for a person`,
			},
		},
		{
			name: "refresh only", config: toyNodes, args: []string{"-refresh-only"},
			then: func(b *bench) { b.ok(b.cloud.Delete(toycloud.Nodes, "a")) },
			want: []string{`toy_node.node["a"] node outside no-op | nothing to correct`},
		},
	}
}

// everything permits all that can be permitted.
var everything = drift.Policy{Default: drift.All, AtMost: drift.All}

// now is when the corpus is judged.
var now = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// verify compares a verdict with what a case wants.
func verify(t *testing.T, e example, v drift.Verdict) {
	t.Helper()
	var got, want []string
	for i, j := range v.Findings {
		outcome := "yes"
		if !j.Allowed {
			outcome = j.Reason
			// The case names a part of the reason.
			if i < len(e.want) {
				if _, part, _ := strings.Cut(e.want[i], " | "); part != "yes" && strings.Contains(j.Reason, part) {
					outcome = part
				}
			}
		}
		got = append(got, line(j)+" | "+outcome)
	}
	want = append(want, e.want...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
		for _, j := range v.Findings {
			t.Logf("%s: %s; doubt: %q; reason: %s; needs %q", j.Address, j.Detail, j.Doubt, j.Reason, j.Needs)
		}
	}
}

// TestCorpus looks at what real Terraforms said of real workspaces, and prints the cases as a table.
func TestCorpus(t *testing.T) {
	right := 0
	cases := corpus()
	for _, e := range cases {
		ok := t.Run(e.name, func(t *testing.T) {
			if *update {
				b := newBench(t)
				r := b.record(e)
				r.save(t, e.name)
				b.correct(r.judge(t, e))
			}
			v := load(t, e.name).judge(t, e)
			verify(t, e, v)
			keys := map[string]bool{}
			for _, f := range v.Findings {
				if keys[f.Key] || f.Key == "" || f.Detail == "" || f.Class == "" {
					t.Errorf("%s: key %q (twice: %v), detail %q, class %q", f.Address, f.Key, keys[f.Key], f.Detail, f.Class)
				}
				keys[f.Key] = true
			}
		})
		mark := "wrong"
		if ok {
			right, mark = right+1, "right"
		}
		t.Logf("%-5s  %-45s  %d findings", mark, e.name, len(e.want))
	}
	t.Logf("%d of %d cases right", right, len(cases))
}

// TestCorrection plays cases with a real Terraform to their end: what is found is what was recorded, the plan that targets
// it passes the check, and after it is applied all of it is gone.
func TestCorrection(t *testing.T) {
	t.Parallel()
	for _, e := range corpus() {
		if !e.live {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			v := b.record(e).judge(t, e)
			verify(t, e, v)
			b.correct(v)
		})
	}
}

// correct makes the plan that a verdict allows, checks it, applies it, and wants to find none of it afterwards.
func (b *bench) correct(v drift.Verdict) {
	b.t.Helper()
	if len(v.Targets) == 0 {
		return
	}
	var args []string
	for _, target := range v.Targets {
		args = append(args, "-target="+target)
	}
	if err := v.Check(decode(b.t, b.plan(args...))); err != nil {
		b.t.Fatalf("the targeted plan does not pass: %v", err)
	}
	b.must("apply", "-input=false", "-no-color", "plan.bin")
	after := b.facts()
	for _, f := range drift.Find(drift.Input{Plan: decode(b.t, b.plan()), Baseline: &after, Current: after}) {
		for _, target := range v.Targets {
			if f.Address == target {
				b.t.Errorf("%s is still there after the correction: %s (%s)", f.Address, f.Detail, f.Cause)
			}
		}
	}
}
