package drift_test

import (
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
)

// TestCheck holds real plans, and real plans with something slipped in, against the verdict of what was found.
func TestCheck(t *testing.T) {
	change := func(p *tfjson.Plan, address string) *tfjson.ResourceChange {
		for _, rc := range p.ResourceChanges {
			if rc.Address == address {
				return rc
			}
		}
		t.Fatalf("the plan has no %s", address)
		return nil
	}
	for _, c := range []struct {
		name, example string
		slip          func(*tfjson.Plan)
		want          []string // parts of the error, in order; none is no error
	}{
		{name: "what was found", example: "bucket edited"},
		{name: "what was found, created", example: "node deleted"},
		{name: "what was found, replaced", example: "replaced outside and followed"},
		{name: "less", example: "node and bucket together", slip: func(p *tfjson.Plan) {
			change(p, "toy_bucket.logs").Change.Actions = tfjson.Actions{tfjson.ActionNoop}
			p.OutputChanges = nil
		}},
		{
			name: "something unapplied", example: "outside and unapplied in two resources",
			want: []string{"lab_thing.two: the plan would update it, which the verdict does not allow: not applied yet"},
		},
		{
			name: "a delete that nobody found", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				change(p, "toy_cluster.main").Change.Actions = tfjson.Actions{tfjson.ActionDelete}
			},
			want: []string{"toy_cluster.main: the plan would delete it, which the verdict does not allow"},
		},
		{
			name: "replace for update", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				change(p, "toy_bucket.logs").Change.Actions = tfjson.Actions{tfjson.ActionCreate, tfjson.ActionDelete}
			},
			want: []string{"toy_bucket.logs: the plan would replace it, but the verdict allows to update it"},
		},
		{
			name: "create for update", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				change(p, "toy_bucket.logs").Change.Actions = tfjson.Actions{tfjson.ActionCreate}
			},
			want: []string{"toy_bucket.logs: the plan would create it, but the verdict allows to update it"},
		},
		{
			name: "update for replace", example: "node of another size",
			slip: func(p *tfjson.Plan) {
				change(p, `toy_node.node["a"]`).Change.Actions = tfjson.Actions{tfjson.ActionUpdate}
			},
		},
		{
			name: "an action of a later Terraform", example: "bucket edited",
			slip: func(p *tfjson.Plan) { change(p, "toy_bucket.logs").Change.Actions = tfjson.Actions{"melt"} },
			want: []string{"toy_bucket.logs: the plan would delete it"},
		},
		{
			name: "one more attribute", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				change(p, "toy_bucket.logs").Change.After.(map[string]any)["policy"] = "{}"
			},
			want: []string{"toy_bucket.logs: policy would change too"},
		},
		{
			name: "another value", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				change(p, "toy_bucket.logs").Change.After.(map[string]any)["tags"] = map[string]any{"owner": "mallory"}
			},
			want: []string{"toy_bucket.logs: tags.owner would be set to another value"},
		},
		{
			name: "created otherwise", example: "node deleted",
			slip: func(p *tfjson.Plan) {
				change(p, `toy_node.node["a"]`).Change.After.(map[string]any)["size"] = "large"
			},
			want: []string{`toy_node.node["a"]: it would be created otherwise`},
		},
		{
			name: "moved, imported, deposed", example: "node and bucket together",
			slip: func(p *tfjson.Plan) {
				change(p, "toy_bucket.logs").PreviousAddress = "toy_bucket.old"
				change(p, `toy_node.node["b"]`).Change.Importing = &tfjson.Importing{ID: "x"}
				p.ResourceChanges = append(p.ResourceChanges, &tfjson.ResourceChange{
					Address: "toy_bucket.logs", DeposedKey: "abcd", Change: &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionDelete}},
				})
			},
			want: []string{
				"toy_bucket.logs: the plan would delete an old object of it (abcd)",
				"toy_bucket.logs: the plan would move and update it",
				`toy_node.node["b"]: the plan would import and create it`,
			},
		},
		{
			name: "only moved", example: "bucket edited",
			slip: func(p *tfjson.Plan) { change(p, "toy_cluster.main").PreviousAddress = "toy_cluster.old" },
			want: []string{"toy_cluster.main: the plan would move it"},
		},
		{
			name: "an output that follows nothing allowed", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				p.OutputChanges["other"] = &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionUpdate}}
			},
			want: []string{"output.other: it would change"},
		},
		{
			name: "put off, and an action", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				p.DeferredChanges = []*tfjson.DeferredResourceChange{{Reason: "unknown", ResourceChange: &tfjson.ResourceChange{Address: "x.y"}}}
				p.ActionInvocations = []*tfjson.ActionInvocation{{Address: "action.a.b"}}
			},
			want: []string{"action.a.b: the plan would invoke", "x.y: Terraform has put off"},
		},
		{
			name: "a data source that is read", example: "bucket edited",
			slip: func(p *tfjson.Plan) {
				p.ResourceChanges = append(p.ResourceChanges, &tfjson.ResourceChange{
					Address: "data.a.b", Mode: tfjson.DataResourceMode, Change: &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionRead}},
				})
			},
		},
		{
			name: "a broken entry", example: "bucket edited",
			slip: func(p *tfjson.Plan) { p.ResourceChanges = append(p.ResourceChanges, nil) },
			want: []string{"an entry that says nothing"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := load(t, c.example)
			v := drift.Decide(drift.Find(r.input(t)), everything, now)
			plan := decode(t, r.Plan)
			if c.slip != nil {
				c.slip(plan)
			}
			err := v.Check(plan)
			var lines []string
			if err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(c.want) {
				t.Fatalf("got %q, want %d lines", lines, len(c.want))
			}
			for i, want := range c.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d: got %q, want %q in it", i, lines[i], want)
				}
			}
		})
	}
	if err := (drift.Verdict{}).Check(nil); err == nil {
		t.Error("no plan passes")
	}
}

// TestCheckRealTarget: Terraform takes along what a target depends on, and the check says so.
func TestCheckRealTarget(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, e := range corpus() {
		if e.name != "depends on something unapplied" {
			continue
		}
		v := drift.Decide(drift.Find(b.record(e).input(t)), everything, now)
		// What Decide would not do.
		for i := range v.Findings {
			if v.Findings[i].Address == "lab_thing.two" {
				v.Findings[i].Allowed = true
				v.Targets = []string{"lab_thing.two"}
			}
		}
		err := v.Check(decode(t, b.plan("-target=lab_thing.two")))
		if err == nil || err.Error() != "lab_thing.one: the plan would update it, which the verdict does not allow: not applied yet: an apply takes care of it" {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Fatal("the corpus has lost the case")
}
