package runner

import (
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/planstore"
)

func TestModuleCalls(t *testing.T) {
	for address, want := range map[string][]string{
		"":                             nil,
		"module.a":                     {"a"},
		"module.a.module.b":            {"a", "b"},
		`module.a["x.y"].module.b[0]`:  {"a", "b"},
		`module.a["]\"].module.c"]`:    {"a"},
		`module.a["\\"].module.b["k"]`: {"a", "b"},
	} {
		if got := moduleCalls(address); !slices.Equal(got, want) {
			t.Errorf("moduleCalls(%q) = %q, want %q", address, got, want)
		}
	}
}

func TestHidden(t *testing.T) {
	create := &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionCreate}, AfterUnknown: map[string]any{"id": true}}
	resource := func(change *tfjson.Change, config *tfjson.ConfigResource) *tfjson.Plan {
		config.Mode, config.Type, config.Name = tfjson.ManagedResourceMode, "a", "b"
		return &tfjson.Plan{
			Config: &tfjson.Config{RootModule: &tfjson.ConfigModule{Resources: []*tfjson.ConfigResource{config}}},
			ResourceChanges: []*tfjson.ResourceChange{{
				Address: "a.b", Mode: tfjson.ManagedResourceMode, Type: "a", Name: "b", Change: change,
			}},
		}
	}
	unknown := &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionUpdate}, AfterUnknown: map[string]any{"nested": []any{map[string]any{"x": true}}}}
	expression := map[string]*tfjson.Expression{"nested": {}}
	for _, c := range []struct {
		name   string
		change func(now *planstore.Plan)
		plan   *tfjson.Plan
		want   string
	}{
		{"nothing moved", func(*planstore.Plan) {}, resource(unknown, &tfjson.ConfigResource{Expressions: expression}), ""},
		{"only what the provider computes is unknown", func(p *planstore.Plan) { p.ConfigurationDigest = "2" }, resource(create, &tfjson.ConfigResource{}), ""},
		{"an expression is unknown", func(p *planstore.Plan) { p.ConfigurationDigest = "2" }, resource(unknown, &tfjson.ConfigResource{Expressions: expression}), "known only after"},
		{"a provisioner", func(p *planstore.Plan) { p.ConfigurationDigest = "2" }, resource(create, &tfjson.ConfigResource{Provisioners: []*tfjson.ConfigProvisioner{{}}}), "provisioners"},
		{"another environment", func(p *planstore.Plan) { p.EnvironmentDigest = "2" }, resource(create, &tfjson.ConfigResource{}), "environment"},
		{"other providers", func(p *planstore.Plan) { p.ConfigurationDigest, p.ProvidersDigest = "2", "2" }, resource(create, &tfjson.ConfigResource{}), "providers"},
		{"providers that cannot be compared", func(p *planstore.Plan) { p.ConfigurationDigest, p.ProvidersDigest = "2", "" }, resource(create, &tfjson.ConfigResource{}), "providers"},
		{"an output", func(p *planstore.Plan) { p.ConfigurationDigest = "2" }, &tfjson.Plan{OutputChanges: map[string]*tfjson.Change{"o": {AfterUnknown: true}}}, "output"},
		{"no configuration", func(p *planstore.Plan) { p.ConfigurationDigest = "2" }, &tfjson.Plan{ResourceChanges: []*tfjson.ResourceChange{{Address: "a.b", Mode: tfjson.ManagedResourceMode, Change: create}}}, "not in the plan"},
	} {
		reviewed := planstore.Plan{ConfigurationDigest: "1", EnvironmentDigest: "1", ProvidersDigest: "1"}
		now := reviewed
		c.change(&now)
		got := hidden(reviewed, now, c.plan)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: hidden says %q, want %q", c.name, got, c.want)
		}
	}
}
