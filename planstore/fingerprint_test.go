package planstore_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/planstore"
)

// everything is a plan that holds one of each thing that a plan can do.
const everything = `{
  "format_version": "1.2", "terraform_version": "1.11.4", "timestamp": "2026-01-02T03:04:05Z",
  "variables": {"size": {"value": 3}},
  "planned_values": {"root_module": {"resources": []}},
  "prior_state": {"format_version": "1.0", "terraform_version": "1.11.4"},
  "configuration": {"root_module": {}},
  "relevant_attributes": [{"resource": "cloud_node.a", "attribute": ["id"]}],
  "checks": [],
  "resource_drift": [
    {"address": "cloud_node.drifted", "mode": "managed", "type": "cloud_node", "name": "drifted",
     "change": {"actions": ["update"], "before": {"a": 1}, "after": {"a": 2}}}
  ],
  "resource_changes": [
    {"address": "module.net.cloud_node.replaced[\"a\"]", "module_address": "module.net", "mode": "managed",
     "type": "cloud_node", "name": "replaced", "index": "a", "provider_name": "registry.terraform.io/example/cloud",
     "action_reason": "replace_because_cannot_update",
     "change": {"actions": ["delete", "create"],
       "before": {"size": 1, "big": 9007199254740993, "rate": 0.10, "tags": ["x", "y"], "password": "old"},
       "after": {"size": 2, "big": 9007199254740993, "rate": 1.5e3, "tags": ["x", null, true], "password": "new"},
       "after_unknown": {"id": true, "tags": [false, false, false]},
       "before_sensitive": {"password": true}, "after_sensitive": {"password": true, "tags": []},
       "replace_paths": [["size"], ["tags", 0]]}},
    {"address": "cloud_node.created", "mode": "managed", "type": "cloud_node", "name": "created",
     "change": {"actions": ["create"], "before": null, "after": {"size": 1}, "after_unknown": {"id": true}}},
    {"address": "cloud_node.updated", "mode": "managed", "type": "cloud_node", "name": "updated", "previous_address": "cloud_node.older",
     "change": {"actions": ["update"], "before": {"size": 1}, "after": {"size": 2}, "after_unknown": {}}},
    {"address": "cloud_node.moved", "mode": "managed", "type": "cloud_node", "name": "moved", "previous_address": "cloud_node.was",
     "change": {"actions": ["no-op"], "before": {"size": 1}, "after": {"size": 1}, "after_unknown": {}}},
    {"address": "cloud_node.imported", "mode": "managed", "type": "cloud_node", "name": "imported",
     "change": {"actions": ["no-op"], "before": {"size": 1}, "after": {"size": 1}, "after_unknown": {}, "importing": {"id": "i-1"}}},
    {"address": "cloud_node.deposed", "mode": "managed", "type": "cloud_node", "name": "deposed", "deposed": "00aa11bb",
     "change": {"actions": ["delete"], "before": {"size": 1}, "after": null, "after_unknown": {}}},
    {"address": "cloud_node.forgotten", "mode": "managed", "type": "cloud_node", "name": "forgotten",
     "change": {"actions": ["forget"], "before": {"size": 1}, "after": null, "after_unknown": {}}},
    {"address": "cloud_node.kept", "mode": "managed", "type": "cloud_node", "name": "kept",
     "change": {"actions": ["create", "forget"], "before": {"size": 1}, "after": {"size": 1}, "after_unknown": {}}},
    {"address": "cloud_node.idle", "mode": "managed", "type": "cloud_node", "name": "idle",
     "change": {"actions": ["no-op"], "before": {"size": 1}, "after": {"size": 1}, "after_unknown": {}}},
    {"address": "data.cloud_image.read", "mode": "data", "type": "cloud_image", "name": "read",
     "change": {"actions": ["read"], "before": null, "after": {"name": "x"}, "after_unknown": {"id": true}}}
  ],
  "deferred_changes": [
    {"reason": "instance_count_unknown", "resource_change":
      {"address": "cloud_node.later", "mode": "managed", "type": "cloud_node", "name": "later",
       "change": {"actions": ["create"], "before": null, "after": {"size": 1}, "after_unknown": {}}}}
  ],
  "output_changes": {
    "address": {"actions": ["update"], "before": "10.0.0.1", "after": "10.0.0.2", "after_unknown": false, "before_sensitive": false, "after_sensitive": true},
    "same": {"actions": ["no-op"], "before": "x", "after": "x", "after_unknown": false}
  },
  "action_invocations": [
    {"address": "action.cloud_restart.a", "type": "cloud_restart", "name": "a", "config_values": {"force": true}, "config_unknown": {},
     "lifecycle_action_trigger": {"triggering_resource_address": "cloud_node.created", "action_trigger_event": "AfterCreate", "action_trigger_block_index": 0, "actions_list_index": 1}}
  ]
}`

// replace is a small plan.
const replace = `{"format_version": "1.2", "resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "name": "b",
  "change": {"actions": ["delete", "create"], "before": {"x": 1}, "after": {"x": 2}, "after_unknown": {}}}]}`

func TestCount(t *testing.T) {
	t.Parallel()
	want := planstore.Counts{Create: 2, Update: 1, Replace: 1, Delete: 1, Import: 1, Forget: 2, Move: 2, Read: 1, Outputs: 1}
	if got := planstore.Count(plan(t, everything)); got != want {
		t.Errorf("count: got %+v, want %+v", got, want)
	}
	for _, empty := range []*tfjson.Plan{nil, {}, {ResourceChanges: []*tfjson.ResourceChange{nil, {}}, OutputChanges: map[string]*tfjson.Change{"a": nil}}} {
		if got := planstore.Count(empty); got.Any() || got != (planstore.Counts{}) {
			t.Errorf("count of nothing: %+v", got)
		}
	}
	for c, want := range map[planstore.Counts]bool{{}: false, {Read: 1}: false, {Move: 1}: true, {Outputs: 1}: true, {Delete: 1, Read: 1}: true} {
		if c.Any() != want {
			t.Errorf("%+v.Any() is %t", c, !want)
		}
	}
}

// Every value that decides what an apply does changes the fingerprint; nothing else does.
func TestFingerprintCoversWhatApplyDoes(t *testing.T) {
	t.Parallel()
	s := open(t, planstore.Options{Location: t.TempDir()})
	want := fingerprint(t, s, plan(t, everything))
	ignoredBelow := []string{
		".terraform_version", ".timestamp", ".variables", ".planned_values", ".prior_state", ".configuration",
		".relevant_attributes", ".checks", ".resource_drift",
		".resource_changes.8", ".resource_changes.9", ".output_changes.same", // no-op and read
	}
	ignoredAt := []string{".name", ".index", ".action_reason"} // the address and the actions say these already
	root := decode(t, everything)
	all := leaves(root, "")
	if len(all) < 100 {
		t.Errorf("the plan has only %d values", len(all))
	}
	for _, leaf := range all {
		if strings.HasSuffix(leaf.path, ".format_version") {
			continue // others are not decoded
		}
		switch old := leaf.value.(type) {
		case string:
			leaf.set(old + "x")
		case bool:
			leaf.set(!old)
		case json.Number:
			leaf.set(json.Number("1" + old.String()))
		default:
			leaf.set("not null")
		}
		text, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		leaf.set(leaf.value)
		below := func(prefix string) bool { return strings.HasPrefix(leaf.path+".", prefix+".") }
		at := func(suffix string) bool { return strings.HasSuffix(leaf.path, suffix) }
		ignored := slices.ContainsFunc(ignoredBelow, below) && !at(".actions.0") || slices.ContainsFunc(ignoredAt, at)
		ignored = ignored || below(".resource_drift")
		if same := fingerprint(t, s, plan(t, string(text))) == want; same != ignored {
			t.Errorf("after a change at %s (%v) the fingerprint is the same: %t, want %t", leaf.path, leaf.value, same, ignored)
		}
	}
}

func TestFingerprintIgnoresOrderAndSpelling(t *testing.T) {
	t.Parallel()
	s := open(t, planstore.Options{Location: t.TempDir()})
	want := fingerprint(t, s, plan(t, everything))
	permuted := plan(t, everything)
	slices.Reverse(permuted.ResourceChanges)
	slices.Reverse(permuted.ResourceChanges[9].Change.ReplacePaths)
	if got := fingerprint(t, s, permuted); got != want {
		t.Errorf("in another order: %s, want %s", got, want)
	}
	for from, to := range map[string]string{
		`"rate": 0.10`:                  `"rate": 1e-1`,
		`1.5e3`:                         `1500.000`,
		`"size": 2`:                     `"size": 2.0`,
		`9007199254740993`:              `9007199254740993.0`,
		`"tags": [false, false, false]`: `"tags": []`,
		`"after_sensitive": {"password": true, "tags": []}`: `"after_sensitive": {"password": true}`,
		`"10.0.0.2"`: `"1\u0030.0.0.2"`,
	} {
		if !strings.Contains(everything, from) {
			t.Fatalf("the plan holds no %s", from)
		}
		if got := fingerprint(t, s, plan(t, strings.ReplaceAll(everything, from, to))); got != want {
			t.Errorf("%s written as %s: %s, want %s", from, to, got, want)
		}
	}
	// Decoded without UseJSONNumber, where no number is too large for that.
	small := strings.ReplaceAll(everything, "9007199254740993", "900719925474099")
	var floats tfjson.Plan
	if err := json.Unmarshal([]byte(small), &floats); err != nil {
		t.Fatal(err)
	}
	if got, want := fingerprint(t, s, &floats), fingerprint(t, s, plan(t, small)); got != want {
		t.Errorf("with numbers decoded as floats: %s, want %s", got, want)
	}
	for from, to := range map[string]string{`1.5e3`: `1e999999999`, `"size": 2`: `"size": -1e-99999999999999999999`} {
		if got := fingerprint(t, s, plan(t, strings.ReplaceAll(everything, from, to))); got == want {
			t.Errorf("%s written as %s changes nothing", from, to)
		}
	}
}

func TestFingerprintIsKeyed(t *testing.T) {
	t.Parallel()
	one := open(t, planstore.Options{Location: t.TempDir(), Key: key1})
	same := open(t, planstore.Options{Location: t.TempDir(), Key: key1, Repository: "other"})
	two := open(t, planstore.Options{Location: t.TempDir(), Key: key2})
	p := plan(t, replace)
	if a, b := fingerprint(t, one, p), fingerprint(t, same, p); a != b {
		t.Errorf("stores with the same key disagree: %s and %s", a, b)
	}
	if a, b := fingerprint(t, one, p), fingerprint(t, two, p); a == b {
		t.Errorf("stores with different keys agree on %s", a)
	}
	if _, err := one.Fingerprint(nil); err == nil {
		t.Error("no plan has a fingerprint")
	}
	p.ResourceChanges[0].Change.After = struct{}{}
	if _, err := one.Fingerprint(p); err == nil || !strings.Contains(err.Error(), "struct {}") {
		t.Errorf("a value that is no JSON gives %v", err)
	}
}

func TestFingerprintOfLargePlansIsStreamed(t *testing.T) {
	s := open(t, planstore.Options{Location: t.TempDir()})
	p := largePlan()
	size, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	used := allocated(func() { fingerprint(t, s, p) })
	if limit := 3 * uint64(len(size)); used > limit {
		t.Errorf("the fingerprint of a plan of %d MB allocates %d MB", len(size)>>20, used>>20)
	}
}

func BenchmarkFingerprint10MB(b *testing.B) {
	s := open(b, planstore.Options{Location: b.TempDir()})
	p := largePlan()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Fingerprint(p); err != nil {
			b.Fatal(err)
		}
	}
}

// Real plans: two runs agree, in two places, and every change of what would be done shows.
func TestFingerprintOfRealPlans(t *testing.T) {
	t.Parallel()
	s := open(t, planstore.Options{Location: t.TempDir()})
	config := parts.MirrorConfig(t, parts.Mirror(t))
	const first = `{"size": 3, "password": "canary-one", "names": ["a", "b"]}`
	terraform := newRoot(t, parts.Terraform(t), config)
	created := fingerprint(t, s, terraform.plan(first))
	if again := fingerprint(t, s, terraform.plan(first)); again != created {
		t.Errorf("the same plan made again: %s, want %s", again, created)
	}
	elsewhere := newRoot(t, parts.Terraform(t), config)
	if got := fingerprint(t, s, elsewhere.plan(first)); got != created {
		t.Errorf("the same plan made in another directory: %s, want %s", got, created)
	}
	seen := map[string]string{created: first}
	differ := func(variables string) {
		t.Helper()
		got := fingerprint(t, s, terraform.plan(variables))
		if before, ok := seen[got]; ok {
			t.Errorf("%s and %s have one fingerprint", variables, before)
		}
		seen[got] = variables
	}
	differ(`{"size": 4, "password": "canary-one", "names": ["a", "b"]}`)
	differ(`{"size": 3, "password": "canary-two", "names": ["a", "b"]}`)
	differ(`{"size": 3, "password": "canary-one", "names": ["b", "a"]}`)

	terraform.apply(first)
	nothing := terraform.plan(first)
	if c := planstore.Count(nothing); c.Any() {
		t.Errorf("right after the apply the plan would still do %+v", c)
	}
	differ(first)
	differ(`{"size": 4, "password": "canary-one", "names": ["a"]}`)
	differ(`{"size": 4, "password": "canary-three", "names": ["a"]}`)
	changed := terraform.plan(`{"size": 4, "password": "canary-one", "names": ["a"]}`)
	want := planstore.Counts{Update: 1, Replace: 1, Delete: 1, Outputs: 1}
	if got := planstore.Count(changed); got != want {
		t.Errorf("count: got %+v, want %+v", got, want)
	}
}

type root struct {
	t                    *testing.T
	program, dir, config string
}

func newRoot(t *testing.T, program, config string) root {
	t.Helper()
	r := root{t: t, program: program, dir: t.TempDir(), config: config}
	write(t, filepath.Join(r.dir, "main.tf"), []byte(`
variable "size" { type = number }
variable "names" { type = list(string) }
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "sized" {
  input            = "kept"
  triggers_replace = [var.size]
}
resource "terraform_data" "secret" {
  input = { size = var.size, password = var.password }
}
resource "terraform_data" "each" {
  count = length(var.names)
  input = var.names[count.index]
}
output "size" { value = var.size }
`))
	r.run("init", "-input=false")
	return r
}

func (r root) plan(variables string) *tfjson.Plan {
	r.t.Helper()
	write(r.t, filepath.Join(r.dir, "terraform.tfvars.json"), []byte(variables))
	r.run("plan", "-input=false", "-out=saved", "-lock=false")
	return plan(r.t, string(r.run("show", "-json", "saved")))
}

func (r root) apply(variables string) {
	r.t.Helper()
	r.plan(variables)
	r.run("apply", "-input=false", "saved")
}

func (r root) run(args ...string) []byte {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.program, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+r.config, "CHECKPOINT_DISABLE=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%s %q: %v\n%s%s", r.program, args, err, &out, &errs)
	}
	return out.Bytes()
}

func fingerprint(t testing.TB, s *planstore.Store, p *tfjson.Plan) string {
	t.Helper()
	print, err := s.Fingerprint(p)
	if err != nil || len(print) != 64 {
		t.Fatalf("fingerprint: %q, %v; want 64 digits", print, err)
	}
	return print
}

// plan decodes plan JSON with exact numbers.
func plan(t testing.TB, text string) *tfjson.Plan {
	t.Helper()
	var p tfjson.Plan
	p.UseJSONNumber(true)
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("decode a plan: %v", err)
	}
	return &p
}

func decode(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// leaf is a value in decoded JSON that is neither object nor array.
type leaf struct {
	path  string
	value any
	set   func(any)
}

func leaves(v any, path string) []leaf {
	var all []leaf
	visit := func(name string, item any, set func(any)) {
		switch item.(type) {
		case map[string]any, []any:
			all = append(all, leaves(item, path+"."+name)...)
		default:
			all = append(all, leaf{path + "." + name, item, set})
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for name, item := range v {
			visit(name, item, func(changed any) { v[name] = changed })
		}
	case []any:
		for i, item := range v {
			visit(fmt.Sprint(i), item, func(changed any) { v[i] = changed })
		}
	}
	return all
}

// largePlan is a plan whose JSON has more than ten megabytes.
func largePlan() *tfjson.Plan {
	p := &tfjson.Plan{FormatVersion: "1.2"}
	for i := range 40_000 {
		object := map[string]any{"id": fmt.Sprint("i-", i), "size": json.Number("3"), "tags": map[string]any{"owner": "team", "stage": "prod"}}
		p.ResourceChanges = append(p.ResourceChanges, &tfjson.ResourceChange{
			Address: fmt.Sprintf("cloud_node.n[%d]", i), Mode: tfjson.ManagedResourceMode, Type: "cloud_node", Name: "n",
			Change: &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionUpdate}, Before: object, After: object},
		})
	}
	return p
}
