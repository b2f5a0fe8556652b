package runner

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/drift/adopt"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// TestWhatProvesAnAdoption holds the plan after an edit against the one before.
func TestWhatProvesAnAdoption(t *testing.T) {
	t.Parallel()
	finding := func(address, action string, paths ...string) drift.Finding {
		f := drift.Finding{Address: address, Actions: []string{action}}
		for _, path := range paths {
			path, computed := strings.CutSuffix(path, "?")
			f.Attributes = append(f.Attributes, drift.Attribute{Path: path, Consequence: computed})
		}
		return f
	}
	adopted := func(address, attribute string) []adopt.Adopted {
		return []adopt.Adopted{{Place: adopt.Place{Address: address, Attribute: attribute}}}
	}
	output := finding("output.x", "update", "value")
	output.Type, output.Name = "output", "x"
	for name, c := range map[string]struct {
		before, after []drift.Finding
		adopted       []adopt.Adopted
		vain          int
		more          string
		outputs       string
	}{
		"gone":               {before: []drift.Finding{finding("a.b", "update", "size")}, adopted: adopted("a.b", "size")},
		"only recorded":      {before: []drift.Finding{finding("a.b", "update", "size")}, after: []drift.Finding{finding("a.b", "no-op", "size")}, adopted: adopted("a.b", "size")},
		"still there":        {before: []drift.Finding{finding("a.b", "update", "size")}, after: []drift.Finding{finding("a.b", "update", "size")}, adopted: adopted("a.b", "size"), vain: 1},
		"there in part":      {before: []drift.Finding{finding("a.b", "update", "tags")}, after: []drift.Finding{finding("a.b", "update", "tags.x")}, adopted: adopted("a.b", "tags"), vain: 1},
		"another is left":    {before: []drift.Finding{finding("a.b", "update", "size", "sizes")}, after: []drift.Finding{finding("a.b", "update", "sizes")}, adopted: adopted("a.b", "size")},
		"only computed left": {before: []drift.Finding{finding("a.b", "update", "size", "rev?")}, after: []drift.Finding{finding("a.b", "update", "rev?")}, adopted: adopted("a.b", "size"), vain: 1},
		"another resource":   {before: []drift.Finding{finding("a.b", "update", "size")}, after: []drift.Finding{finding("a.c", "update", "size")}, adopted: adopted("a.b", "size"), more: "update a.c"},
		"another attribute":  {before: []drift.Finding{finding("a.b", "update", "size")}, after: []drift.Finding{finding("a.b", "update", "zone")}, adopted: adopted("a.b", "size"), more: "change zone of a.b"},
		"a worse action":     {before: []drift.Finding{finding("a.b", "update", "size")}, after: []drift.Finding{finding("a.b", "replace", "size")}, adopted: adopted("a.b", "size"), more: "replace a.b"},
		"a milder action":    {before: []drift.Finding{finding("a.b", "replace", "zone", "size")}, after: []drift.Finding{finding("a.b", "update", "size")}, adopted: adopted("a.b", "zone")},
		"forgotten":          {before: []drift.Finding{finding("a.b", "create")}, after: []drift.Finding{finding("a.b", "forget")}, adopted: adopted("a.b", "")},
		"forgotten unasked":  {before: []drift.Finding{finding("a.b", "update", "size")}, after: []drift.Finding{finding("a.c", "forget")}, adopted: adopted("a.b", "size"), more: "forget a.c"},
		"an output follows":  {before: []drift.Finding{finding("a.b", "update", "size")}, after: []drift.Finding{output}, adopted: adopted("a.b", "size"), outputs: "x"},
	} {
		vain, more, outputs := compareAdopted(c.before, c.after, c.adopted)
		if len(vain) != c.vain || !strings.HasPrefix(more, c.more) || (more == "") != (c.more == "") || strings.Join(outputs, " ") != c.outputs {
			t.Errorf("%s: in vain %v, more %q, outputs %q", name, vain, more, outputs)
		}
	}
}

func TestSharedFiles(t *testing.T) {
	t.Parallel()
	one := &workspaces.Workspace{Name: "one", Dir: "site", VarFiles: []string{"one.tfvars"}, Modules: []string{"modules/a", "modules/b"}}
	two := &workspaces.Workspace{Name: "two", Dir: "site", VarFiles: []string{"two.tfvars", "../common.tfvars"}, Modules: []string{"modules/a"}}
	shared := sharedWith([]*workspaces.Workspace{one, two, {Name: "gone", Dir: "modules/b", Removed: true}}, one)
	for place, want := range map[string]string{"site": "two", "modules/a": "two", "modules/b": "", "site/one.tfvars": "", "site/two.tfvars": "two", "common.tfvars": "two"} {
		if got := strings.Join(shared[place], " "); got != want {
			t.Errorf("%s is read by %q, want %q", place, got, want)
		}
	}
}
