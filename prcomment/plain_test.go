package prcomment_test

import (
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestPlainIsTheCommentsDiff: the same lines in the same order, and as little of what is secret.
func TestPlainIsTheCommentsDiff(t *testing.T) {
	t.Parallel()
	change := func(address string, actions tfjson.Actions, before, after map[string]any) *tfjson.ResourceChange {
		c := &tfjson.Change{Actions: actions, BeforeSensitive: map[string]any{"token": true}, AfterSensitive: map[string]any{"token": true}}
		if before != nil {
			c.Before = before
		}
		if after != nil {
			c.After = after
		}
		return &tfjson.ResourceChange{Address: address, Change: c}
	}
	old := map[string]any{"name": "a", "token": "canary-of-before", "copy": "x canary-of-before x", "note": "the server-secret"}
	fresh := map[string]any{"name": "b", "token": "canary-of-what-comes-after", "copy": "x canary-of-what-comes-after x", "note": "the server-secret"}
	plan := &tfjson.Plan{
		ResourceChanges: []*tfjson.ResourceChange{
			change("toy.create", tfjson.Actions{tfjson.ActionCreate}, nil, fresh),
			change("toy.update", tfjson.Actions{tfjson.ActionUpdate}, old, fresh),
			change("toy.replace", tfjson.Actions{tfjson.ActionDelete, tfjson.ActionCreate}, old, fresh),
			change("toy.destroy\u202e", tfjson.Actions{tfjson.ActionDelete}, old, nil),
			change("toy.none", tfjson.Actions{tfjson.ActionNoop}, old, old),
		},
		ResourceDrift: []*tfjson.ResourceChange{change("toy.drifted", tfjson.Actions{tfjson.ActionUpdate}, old, fresh)},
		OutputChanges: map[string]*tfjson.Change{"out": {Actions: tfjson.Actions{tfjson.ActionCreate}, After: "seen"}},
	}
	secrets := []string{"server-secret"}
	plain := prcomment.NewPlain(secrets)
	d := plain.Diff(plan, false)
	page := strings.Join(prcomment.Render(prcomment.Report{Workspaces: []prcomment.Workspace{{Name: "w", Status: prcomment.StatusPlanned, Plan: plan}}, Secrets: secrets}, 0), "")
	var order []string
	for _, item := range d.Items {
		order = append(order, item.Deed+" "+item.Address)
		lines, cut := item.Lines(10_000)
		all := strings.Join(lines, "\n")
		if cut || len(lines) == 0 {
			t.Errorf("%s: cut %v, lines %q", item.Address, cut, lines)
		}
		if !strings.Contains(page, all) {
			t.Errorf("%s: the comment does not have\n%s", item.Address, all)
		}
		for _, secret := range []string{"canary", "server-secret", "\u202e"} {
			if strings.Contains(all+item.Address+item.Why, secret) {
				t.Errorf("%s shows %q:\n%s", item.Address, secret, all)
			}
		}
		if short, cut := item.Lines(120); !cut || len(short) > len(lines)+1 {
			if len(all) > 120 {
				t.Errorf("%s: in little room it has %d lines, cut %v", item.Address, len(short), cut)
			}
		}
	}
	if got, want := strings.Join(order, ", "), `destroy toy.destroy\u202e, replace toy.replace, update toy.update, create toy.create, output output.out, changed outside toy.drifted`; got != want {
		t.Errorf("the order is %s, want %s", got, want)
	}
	if d.Totals != "1 to add, 1 to change, 1 to replace, 1 to destroy" || plain.Diff(nil, true) != nil {
		t.Errorf("the totals are %q", d.Totals)
	}
	if got := plain.With(plan).Text("\x1b[31mfailed\x1b[0m: canary-of-before\nserver-secret"); got != "failed: (redacted)\n(redacted)" {
		t.Errorf("a text becomes %q", got)
	}
	lines := plain.Differences([]prcomment.Attribute{{Path: "tags.v", Before: `"1"`, After: `"2"`}, {Path: "token", Before: "canary", After: "canary", Sensitive: true}}, 1000)
	if got := strings.Join(lines, "\n"); strings.Contains(got, "canary") || !strings.Contains(got, `"1" → "2"`) {
		t.Errorf("the differences are\n%s", got)
	}
}
