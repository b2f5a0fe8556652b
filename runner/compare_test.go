package runner

import (
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
)

func TestCompareNamesWhatDiffersAndNoValue(t *testing.T) {
	change := func(address string, after map[string]any, actions ...tfjson.Action) *tfjson.ResourceChange {
		return &tfjson.ResourceChange{Address: address, Mode: tfjson.ManagedResourceMode,
			Change: &tfjson.Change{Actions: actions, After: after}}
	}
	old := &tfjson.Plan{
		ResourceChanges: []*tfjson.ResourceChange{
			change("a.same", map[string]any{"x": "canary"}, tfjson.ActionUpdate),
			change("a.gone", nil, tfjson.ActionDelete),
			change("a.worse", nil, tfjson.ActionUpdate),
			change("a.other", map[string]any{"password": "canary-1", "size": 1, "kept": true}, tfjson.ActionUpdate),
			change("a.quiet", nil, tfjson.ActionNoop),
		},
		OutputChanges: map[string]*tfjson.Change{"url": {Actions: tfjson.Actions{tfjson.ActionCreate}, After: "canary"}},
	}
	now := &tfjson.Plan{
		ResourceChanges: []*tfjson.ResourceChange{
			change("a.same", map[string]any{"x": "canary"}, tfjson.ActionUpdate),
			change("a.worse", nil, tfjson.ActionDelete, tfjson.ActionCreate),
			change("a.other", map[string]any{"password": "canary-2", "size": 2, "kept": true}, tfjson.ActionUpdate),
			change("a.new", nil, tfjson.ActionCreate),
			change("a.quiet", nil, tfjson.ActionNoop),
		},
	}
	got := strings.Join(compare(old, now), "\n")
	want := strings.Join([]string{
		"a.gone: delete was reviewed, but is no longer planned",
		"a.new: create, which was not in the reviewed plan",
		"a.other: update as reviewed, but with another password and size",
		"a.worse: replace instead of update",
		"output url: create was reviewed, but is no longer planned",
	}, "\n")
	if got != want {
		t.Errorf("compare says\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(got, "canary") {
		t.Errorf("compare shows a value:\n%s", got)
	}
	if lines := compare(nil, nil); len(lines) != 0 {
		t.Errorf("two empty plans differ: %q", lines)
	}
}
