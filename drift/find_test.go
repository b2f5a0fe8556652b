package drift_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
)

// parse makes a plan of the fields given.
func parse(t testing.TB, fields string) *tfjson.Plan {
	t.Helper()
	return decode(t, []byte(`{"format_version": "1.2", "terraform_version": "1.11.4", `+fields+`}`))
}

// settled are facts that leave nothing but the plan itself to explain it.
func settled(plan *tfjson.Plan) drift.Input {
	facts := drift.Facts{InputsDigest: "d", Engine: "terraform", TerraformVersion: "1.11.4", Serial: 4, Lineage: "l"}
	return drift.Input{Plan: plan, Baseline: &facts, Current: facts}
}

// one wants exactly one finding.
func one(t *testing.T, in drift.Input) drift.Finding {
	t.Helper()
	findings := drift.Find(in)
	if len(findings) != 1 {
		t.Fatalf("got %d findings: %+v", len(findings), findings)
	}
	return findings[0]
}

// TestBigNumbers: ids of twenty digits are told apart when the plan was decoded without rounding.
func TestBigNumbers(t *testing.T) {
	plan := new(tfjson.Plan)
	plan.UseJSONNumber(true)
	data := `{"format_version": "1.2", "resource_drift": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"id": 12345678901234567891, "same": 1.50}, "after": {"id": 12345678901234567890, "same": 1.5}}}],
		"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"id": 12345678901234567890, "same": 1.5}, "after": {"id": 12345678901234567891, "same": 15e-1}}}]}`
	if err := json.Unmarshal([]byte(data), plan); err != nil {
		t.Fatal(err)
	}
	f := one(t, settled(plan))
	if f.Cause != drift.CauseOutside || len(f.Attributes) != 1 || f.Attributes[0].After != "12345678901234567891" {
		t.Errorf("got %+v", f)
	}
}

// TestWholeIsSensitive: the marks of a resource may be one bool instead of a tree.
func TestWholeIsSensitive(t *testing.T) {
	f := one(t, settled(parse(t, `"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"x": "canary-1"}, "after": {"x": "canary-2"}, "before_sensitive": true, "after_sensitive": false}}]`)))
	if data, err := json.Marshal(f); err != nil || strings.Contains(string(data), "canary") || len(f.Attributes) != 1 || !f.Attributes[0].Sensitive {
		t.Errorf("got %s, %v", data, err)
	}
}

// TestDriftMarksSecrets: what only the refreshed state marks as sensitive is not shown either.
func TestDriftMarksSecrets(t *testing.T) {
	f := one(t, settled(parse(t, `"resource_drift": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"x": {"y": "canary-1"}}, "after": {"x": {"y": "canary-2"}}, "before_sensitive": {"x": true}}}],
		"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": ["update"],
		"before": {"x": {"y": "canary-2"}}, "after": {"x": {"y": "canary-1"}}, "before_sensitive": {}, "after_sensitive": {}}}]`)))
	if data, err := json.Marshal(f); err != nil || strings.Contains(string(data), "canary") || f.Cause != drift.CauseOutside {
		t.Errorf("got %s, %v", data, err)
	}
}

// TestComputedDriftBesideAPlan: what a plan leaves alone is told all the same.
func TestComputedDriftBesideAPlan(t *testing.T) {
	f := one(t, load(t, "computed drift beside a correction").input(t))
	if want := "size: changed outside Terraform; also changed outside, and not changed back by the plan: status"; f.Detail != want {
		t.Errorf("got %q, want %q", f.Detail, want)
	}
}

// kubectlPlan is what Terraform 1.11 and gavinbunney/kubectl 1.19 say of a node that was relabelled.
const kubectlPlan = `"resource_drift": [{"address": "kubectl_manifest.n", "mode": "managed", "type": "kubectl_manifest", "name": "n", "change": {
	"actions": ["update"], "before": {"kind": "Node", "api_version": "v1", "yaml_body": "kind: Node", "live_manifest_incluster": "1", "yaml_incluster": "1"},
	"after": {"kind": "Node", "api_version": "v1", "yaml_body": "kind: Node", "live_manifest_incluster": "2", "yaml_incluster": "1"}}}],
	"resource_changes": [{"address": "kubectl_manifest.n", "mode": "managed", "type": "kubectl_manifest", "name": "n", "change": {
	"actions": ["update"], "before": {"kind": "Node", "api_version": "v1", "yaml_body": "kind: Node", "live_manifest_incluster": "2", "yaml_incluster": "1"},
	"after": {"kind": "Node", "api_version": "v1", "yaml_body": "kind: Node", "live_manifest_incluster": "2"}, "after_unknown": {"yaml_incluster": true}}}]`

// TestProviderAnswers: a provider that compares for itself plans nothing but values of its own.
func TestProviderAnswers(t *testing.T) {
	f := one(t, settled(parse(t, kubectlPlan)))
	if f.Cause != drift.CauseOutside || f.Class != drift.ClassNode || f.Doubt != "" ||
		!strings.HasPrefix(f.Detail, "live_manifest_incluster: changed outside Terraform") || strings.Contains(f.Detail, "not changed back") {
		t.Errorf("got %+v", f)
	}

	// When anything else has changed since the last apply, that may be the reason.
	for name, c := range map[string]struct {
		change func(*drift.Facts)
		want   drift.Cause
	}{
		"files":    {func(f *drift.Facts) { f.InputsDigest = "e" }, drift.CauseUnapplied},
		"provider": {func(f *drift.Facts) { f.TerraformVersion = "1.12.0" }, drift.CauseUpgrade},
	} {
		in := settled(parse(t, kubectlPlan))
		c.change(&in.Current)
		if f := one(t, in); f.Cause != c.want {
			t.Errorf("%s changed: got %+v, want %s", name, f, c.want)
		}
	}

	// Noise stays noise, also beside drift.
	in := settled(parse(t, kubectlPlan))
	in.Perpetual = []string{one(t, in).Key}
	if f := one(t, in); f.Cause != drift.CausePerpetual {
		t.Errorf("after the same plan right after an apply: got %+v, want perpetual", f)
	}
}

// TestEmptyIsNoDrift: providers of the older kind turn null into "", [] and {} between an apply and the next refresh.
func TestEmptyIsNoDrift(t *testing.T) {
	findings := drift.Find(settled(parse(t, `"resource_drift": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"x": null, "y": "", "z": null}, "after": {"x": "", "y": null, "z": {}}}}],
		"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": ["no-op"]}}]`)))
	if len(findings) != 0 {
		t.Errorf("got %+v", findings)
	}
}

// TestWordsOfActions: every way in which Terraform lists actions.
func TestWordsOfActions(t *testing.T) {
	for actions, want := range map[string]string{
		`["create"]`: "create", `["update"]`: "update", `["delete"]`: "delete", `["forget"]`: "forget",
		`["delete", "create"]`: "replace", `["create", "delete"]`: "replace", `["create", "forget"]`: "replace",
		`["something-new"]`: "delete",
	} {
		f := one(t, settled(parse(t, `"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": `+actions+`}}]`)))
		if f.Action() != want {
			t.Errorf("%s: got %q, want %q", actions, f.Action(), want)
		}
	}
}

// TestDeferred: what Terraform puts off is found and held.
func TestDeferred(t *testing.T) {
	in := settled(parse(t, `"resource_drift": [{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": ["delete"], "before": {"x": 1}}}],
		"deferred_changes": [{"reason": "provider_config_unknown", "resource_change":
		{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": ["create"], "after": {"x": 1}}}}]`))
	v := drift.Decide(drift.Find(in), everything, now)
	if j := v.Findings[0]; j.Cause != drift.CauseOutside || j.Allowed || !strings.Contains(j.Reason, "put off planning it (provider_config_unknown)") {
		t.Errorf("got %+v", j)
	}
}

// TestDriftOfWhatIsInNoPlan: Terraform lists no change for what is gone from Git and from reality.
func TestDriftOfWhatIsInNoPlan(t *testing.T) {
	f := one(t, settled(parse(t, `"resource_drift": [{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": ["delete"], "before": {}}}]`)))
	if f.Cause != drift.CauseOutside || f.Outside != "deleted" || f.Action() != "no-op" {
		t.Errorf("got %+v", f)
	}
}

// TestLongValues: a value is cut between characters, and says so.
func TestLongValues(t *testing.T) {
	long := strings.Repeat("é", 2000)
	f := one(t, settled(parse(t, `"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"x": "short <b>"}, "after": {"x": "`+long+`"}}}]`)))
	a := f.Attributes[0]
	if a.Before != `"short <b>"` || len(a.After) > 600 || !strings.HasSuffix(a.After, "é… (4002 bytes in all)") {
		t.Errorf("got %s and %s", a.Before, a.After)
	}
}

// TestPerpetualByAttribute: noise that is known does not hide what happens beside it, nor is it forgotten when it comes
// with something else.
func TestPerpetualByAttribute(t *testing.T) {
	in := settled(parse(t, `"resource_drift": [{"address": "a.b[\"x, y z\"]", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"noisy": {"k, 1": 1}, "size": 1}, "after": {"noisy": {"k, 1": 2}, "size": 2}}}],
		"resource_changes": [{"address": "a.b[\"x, y z\"]", "mode": "managed", "type": "a", "change": {
		"actions": ["update"], "before": {"noisy": {"k, 1": 2}, "size": 2}, "after": {"noisy": {"k, 1": 1}, "size": 1}}}]`))
	in.Perpetual = []string{`a.b["x, y z"] update noisy["k, 1"]`, "", " ", `unclosed["`, "a.b update size"}
	f := one(t, in)
	got := map[string]drift.Cause{}
	for _, a := range f.Attributes {
		got[a.Path] = a.Cause
	}
	if f.Cause != drift.CauseOutside || got[`noisy["k, 1"]`] != drift.CausePerpetual || got["size"] != drift.CauseOutside {
		t.Errorf("got %s, %v", f.Cause, got)
	}
	if v := drift.Decide([]drift.Finding{f}, everything, now); v.Findings[0].Allowed {
		t.Errorf("noise is corrected: %s", v.Findings[0].Reason)
	}
}

// TestPerpetualCreate: something that is gone again after every apply is noise too.
func TestPerpetualCreate(t *testing.T) {
	in := settled(parse(t, `"resource_drift": [{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": ["delete"], "before": {}}}],
		"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": ["create"], "after": {}}}]`))
	if f := one(t, in); f.Cause != drift.CauseOutside {
		t.Errorf("first: %s", f.Cause)
	}
	in.Perpetual = []string{one(t, in).Key}
	if f := one(t, in); f.Cause != drift.CausePerpetual {
		t.Errorf("again: %s (%s)", f.Cause, f.Detail)
	}
}

// TestUpgradeOfADigestedVersion: where the digest covers versions too, the commit tells an upgrade from a change in Git.
func TestUpgradeOfADigestedVersion(t *testing.T) {
	for name, c := range map[string]struct {
		change func(was, is *drift.Facts)
		want   drift.Cause
	}{
		"same commit":    {func(was, is *drift.Facts) {}, drift.CauseUpgrade},
		"another commit": {func(was, is *drift.Facts) { is.Commit = "c2" }, drift.CauseUnapplied},
		"no commit":      {func(was, is *drift.Facts) { was.Commit, is.Commit = "", "" }, drift.CauseUnapplied},
		"dirty":          {func(was, is *drift.Facts) { is.Dirty = true }, drift.CauseUnapplied},
		"left undone":    {func(was, is *drift.Facts) { was.Partial = true }, drift.CauseUnapplied},
		"same version":   {func(was, is *drift.Facts) { is.TerraformVersion = was.TerraformVersion }, drift.CauseUnapplied},
		"other engine":   {func(was, is *drift.Facts) { is.TerraformVersion, is.Engine = was.TerraformVersion, "tofu" }, drift.CauseUpgrade},
	} {
		in := settled(parse(t, `"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
			"actions": ["update"], "before": {"x": 1}, "after": {"x": 2}}}]`))
		in.Baseline.Commit, in.Current.Commit = "c1", "c1"
		in.Current.InputsDigest, in.Current.TerraformVersion = "other", "1.12.0"
		c.change(in.Baseline, &in.Current)
		if f := one(t, in); f.Cause != c.want {
			t.Errorf("%s: got %s (%s), want %s", name, f.Cause, f.Detail, c.want)
		}
	}
}

// TestKeysAreStable: the key does not change with the values, or with what the provider computes.
func TestKeysAreStable(t *testing.T) {
	key := func(value, unknown string) string {
		return one(t, settled(parse(t, `"resource_changes": [{"address": "a.b", "mode": "managed", "type": "a", "change": {
			"actions": ["update"], "before": {"x": "old", "id": "i"}, "after": {"x": "`+value+`"}, "after_unknown": {`+unknown+`}}}]`))).Key
	}
	a, b := key("canary-1", `"id": true`), key("canary-2", `"id": true, "etag": true`)
	if a != b || a != "a.b update x" {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestNoPlan(t *testing.T) {
	if got := drift.Find(drift.Input{}); got != nil {
		t.Errorf("got %v", got)
	}
	if v := drift.Decide(nil, everything, now); v.Targets != nil || v.Check(&tfjson.Plan{}) != nil {
		t.Errorf("got %+v", v)
	}
}

// FuzzFind: whatever a plan holds, finding, judging and checking end without panic, and nothing that was not found outside
// is allowed.
func FuzzFind(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "corpus", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var r recording
		if err := json.Unmarshal(data, &r); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(r.Plan), true)
	}
	f.Add([]byte(`{"format_version":"1.0","resource_changes":[null,{"change":null},{"address":"a[\"","change":{"actions":["update"],"before":[1],"after":{"":null}}}],"configuration":{"root_module":{"module_calls":{"m":{"expressions":{"x":{"references":["module.m.x","var.x","each.value",""]}}}},"resources":[null,{"address":"a.b","expressions":{"x":{"references":["a.b","data","module","module.m",".","a["]}}}],"outputs":{"o":null}}},"output_changes":{"o":null,"p":{"actions":["update"]}}}`), false)
	f.Fuzz(func(t *testing.T, data []byte, settledFacts bool) {
		plan := new(tfjson.Plan)
		if json.Unmarshal(data, plan) != nil {
			return
		}
		in := drift.Input{Plan: plan}
		if settledFacts {
			in = settled(plan)
		}
		v := drift.Decide(drift.Find(in), everything, now)
		for _, j := range v.Findings {
			if j.Allowed && j.Cause != drift.CauseOutside {
				t.Errorf("%s is allowed with the cause %s", j.Address, j.Cause)
			}
			if j.Reason == "" {
				t.Errorf("%s has no reason", j.Address)
			}
		}
		_ = v.Check(plan) // only has to end
	})
}

// BenchmarkFind looks at a plan of thousands of resources that all drifted and that others follow.
func BenchmarkFind(b *testing.B) {
	const n = 5000
	var drifted, changes strings.Builder
	for i := range n {
		separator := ","
		if i == 0 {
			separator = ""
		}
		fmt.Fprintf(&drifted, `%s{"address":"toy_node.n[%d]","mode":"managed","type":"toy_node","change":{"actions":["delete"],"before":{"name":"n%d","size":"small"}}}`, separator, i, i)
		fmt.Fprintf(&changes, `%s{"address":"toy_node.n[%d]","mode":"managed","type":"toy_node","change":{"actions":["create"],"after":{"name":"n%d","size":"small"},"after_unknown":{"id":true}}}`, separator, i, i)
		fmt.Fprintf(&changes, `,{"address":"dns.d[%d]","mode":"managed","type":"dns","change":{"actions":["update"],"before":{"to":"x"},"after":{},"after_unknown":{"to":true}}}`, i)
	}
	plan := parse(b, `"resource_drift":[`+drifted.String()+`],"resource_changes":[`+changes.String()+`],"configuration":{"root_module":{"resources":[
		{"address":"toy_node.n","mode":"managed","type":"toy_node","name":"n"},
		{"address":"dns.d","mode":"managed","type":"dns","name":"d","expressions":{"to":{"references":["toy_node.n"]}}}]}}`)
	in := settled(plan)
	b.ReportAllocs()
	for b.Loop() {
		v := drift.Decide(drift.Find(in), everything, now)
		if len(v.Targets) != 2*n {
			b.Fatalf("%d targets; first reason: %s", len(v.Targets), v.Findings[0].Reason)
		}
	}
}
