package prcomment_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestDestroysAreNeverCut renders far more than the pages can hold: diffs give way, addresses do not.
func TestDestroysAreNeverCut(t *testing.T) {
	var changes []*tfjson.ResourceChange
	for i := range 3000 {
		rc := destroy(fmt.Sprintf("module.m[%d].toy_node.x", i))
		if i%2 == 0 {
			rc.Change.Actions = tfjson.Actions{tfjson.ActionCreate, tfjson.ActionDelete}
			rc.Change.After = obj{"name": strings.Repeat("z", 500)}
			rc.ActionReason = tfjson.ActionReasonReplaceBecauseCannotUpdate
			rc.Change.ReplacePaths = []any{[]any{"name"}}
		}
		changes = append(changes, rc)
	}
	report := prcomment.Report{Key: "k", MaxPages: 2, Workspaces: []prcomment.Workspace{
		{Name: "w", Status: prcomment.StatusPlanned, Plan: planOf(changes...), PlanID: "01J"},
		{Name: "v", Status: prcomment.StatusPlanned, Plan: planOf(destroy("toy_node.v")), PlanID: "01K"},
	}}
	pages := prcomment.Render(report, 8192)
	checkPages(t, pages, 8192, report)
	all := strings.Join(pages, "\n")
	for i := range 3000 {
		word := "destroy"
		if i%2 == 0 {
			word = "replace"
		}
		if want := fmt.Sprintf("> - **%s** `module.m[%d].toy_node.x`", word, i); strings.Count(all, want) != 1 {
			t.Fatalf("%q is there %d times, want once", want, strings.Count(all, want))
		}
	}
	for _, want := range []string{"**destroy** `toy_node.v`", "`plumbline plans show 01J`", "2 diffs are not shown"} {
		if !strings.Contains(all, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if !strings.Contains(pages[0], "1,500 to replace, 1,501 to destroy") {
		t.Errorf("the first page does not begin with the verdict:\n%s", pages[0][:300])
	}
}

func TestMostPages(t *testing.T) {
	for name, plan := range tenMegabytes(t) {
		if name == "destroys" {
			continue // named to the last, however many pages it takes
		}
		for _, most := range []int{0, 1, 3} {
			report := prcomment.Report{Key: "k", MaxPages: most, Commands: true, Workspaces: []prcomment.Workspace{
				{Name: "w", Status: prcomment.StatusPlanned, Plan: plan, PlanID: "01J"},
				{Name: "v", Status: prcomment.StatusPlanned, Plan: planOf(create("toy_node.v", obj{"name": "small one"})), PlanID: "01K"},
			}}
			pages := prcomment.Render(report, 0)
			checkPages(t, pages, 0, report)
			if want := max(most, 1); most > 0 && len(pages) > want || len(pages) > 10 {
				t.Errorf("%s: %d pages, want at most %d", name, len(pages), most)
			}
			all := strings.Join(pages, "\n")
			if name != "string" && !strings.Contains(all, "`plumbline plans show 01J`") {
				t.Errorf("%s: nothing says how to see the rest", name)
			}
			if !strings.Contains(all, `"small one"`) {
				t.Errorf("%s: a small diff found no room beside a large one", name)
			}
		}
	}
}

func TestIdenticalPlansAreGrouped(t *testing.T) {
	plan := func(version string) *tfjson.Plan {
		return planOf(update("toy_cluster.x", obj{"id": "id-" + version, "version": "1"}, obj{"id": "id-" + version, "version": version}))
	}
	report := prcomment.Report{Workspaces: []prcomment.Workspace{
		{Name: "a", Status: prcomment.StatusPlanned, Plan: plan("2")},
		{Name: "b", Status: prcomment.StatusPlanned, Plan: plan("2")},
		{Name: "c", Status: prcomment.StatusPlanned, Plan: plan("3")},
		{Name: "d", Status: prcomment.StatusPlanned, Plan: plan("2"), Error: "on its own"},
	}}
	page := prcomment.Render(report, 0)[0]
	if n := strings.Count(page, "```diff"); n != 3 {
		t.Errorf("there are %d diffs, want 3: a and b together, c, d\n%s", n, page)
	}
	if want := "| `a`<br>`b` | 1 |"; !strings.Contains(page, want) {
		t.Errorf("there is no row %q in:\n%s", want, page)
	}
	if !strings.Contains(page, "**Plan: 4 to change** in 4 of 4 workspaces") {
		t.Errorf("grouped workspaces are not counted each:\n%s", page)
	}
}

func TestDeedsByWhatTheyHold(t *testing.T) {
	for _, test := range []struct {
		actions tfjson.Actions
		want    string
	}{
		{tfjson.Actions{"delete", "create"}, "> - **replace** `a.b`"},
		{tfjson.Actions{"create", "delete"}, "> - **replace** `a.b`: it cannot be updated in place; the new one is created first"},
		{tfjson.Actions{"delete"}, "> - **destroy** `a.b`"},
		{tfjson.Actions{"delete", "something-new"}, "> - **destroy** `a.b`"},
		{tfjson.Actions{"create", "forget"}, "+ create a.b  # the old object stays, unmanaged"},
		{tfjson.Actions{"something-new"}, "! a.b (something-new)"},
		{tfjson.Actions{"forget"}, "# forget a.b"},
	} {
		rc := object("a.b", test.actions, obj{"x": "1"}, obj{"x": "2"})
		page := prcomment.Render(prcomment.Report{Workspaces: []prcomment.Workspace{{Name: "w", Status: prcomment.StatusPlanned, Plan: planOf(rc)}}}, 0)[0]
		if !strings.Contains(page, test.want) {
			t.Errorf("%v: there is no %q in:\n%s", test.actions, test.want, page)
		}
	}
}

func TestDiff(t *testing.T) {
	for name, test := range map[string]struct {
		before, after string // JSON
		unknown       string
		want          []string
		not           []string
	}{
		"an element in the middle of a list": {
			before: `{"l":["a","b","c"]}`, after: `{"l":["a","x","b","c"]}`,
			want: []string{`+         "x"`, "# 3 unchanged elements"}, not: []string{`"b"`},
		},
		"an object of a set that moved": {
			before: `{"s":[{"p":1,"d":"one"},{"p":2,"d":"two"}]}`, after: `{"s":[{"p":2,"d":"two"},{"p":1,"d":"one"},{"p":3,"d":"six"}]}`,
			want: []string{`+         [2] = { d = "six", p = 3 }`, "# 2 unchanged elements"}, not: []string{`"one"`},
		},
		"only the order": {
			before: `{"s":[{"p":1},{"p":2}]}`, after: `{"s":[{"p":2},{"p":1}]}`,
			want: []string{"!     s = (2 elements)  # only the order changes"},
		},
		"a chain of single changes": {
			before: `{"a":{"b":[{"c.d":{"e":1}}]}}`, after: `{"a":{"b":[{"c.d":{"e":2}}]}}`,
			want: []string{`!     a.b[0]["c.d"].e = 1 → 2`},
		},
		"a value that becomes a list": {
			before: `{"p":"{\"Action\":\"a:b\"}"}`, after: `{"p":"{\"Action\":[\"a:b\",\"a:c\"]}"}`,
			want: []string{"p (JSON):", "Action:  # becomes a list", `+             "a:c"`}, not: []string{`"a:b"`},
		},
		"the formatting of JSON": {
			before: `{"p":"{\"a\": 1}"}`, after: `{"p":"{\"a\":1}"}`,
			want: []string{"!     p = (JSON; only its formatting changes)"},
		},
		"numbers beyond float64 in JSON": {
			before: `{"p":"{\"a\":12345678901234567890}"}`, after: `{"p":"{\"a\":12345678901234567891}"}`,
			want: []string{"a = 12345678901234567890 → 12345678901234567891"},
		},
		"known after apply": {
			before: `{"id":"i","ip":"10.0.0.1","list":[1]}`, after: `{}`, unknown: `{"id":true,"ip":true,"list":true}`,
			want: []string{`!     ip = "10.0.0.1" → (known after apply)`, "# known after apply: id, list"},
		},
		"unknown in a list": {
			before: `{"l":["a"]}`, after: `{"l":["a",null]}`, unknown: `{"l":[false,true]}`,
			want: []string{"+         (known after apply)"},
		},
		"null and missing are the same": {
			before: `{"a":null,"b":1}`, after: `{"b":2}`,
			want: []string{"!     b = 1 → 2"}, not: []string{"null"},
		},
		"an attribute that goes": {
			before: `{"a":"x","b":{"c":1}}`, after: `{}`,
			want: []string{`-     a = "x"`, "-     b = { c = 1 }"},
		},
		"text that looks like a diff": {
			before: `{"t":"a\n# 3 unchanged attributes\n"}`, after: `{"t":"a\n- destroy everything\n"}`,
			want: []string{"-         | # 3 unchanged attributes", "+         | - destroy everything"},
		},
		"a string in which little changes": {
			before: `{"s":"` + strings.Repeat("long ", 100) + `A` + strings.Repeat(" tail", 100) + `"}`, after: `{"s":"` + strings.Repeat("long ", 100) + `B` + strings.Repeat(" tail", 100) + `"}`,
			want: []string{"long A tail", "long B tail", "[…440 bytes…]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.unknown == "" {
				test.unknown = "{}"
			}
			plan := parsePlan(t, []byte(`{"format_version":"1.2","resource_changes":[{"address":"x.y","change":{"actions":["update"],"before":`+
				test.before+`,"after":`+test.after+`,"after_unknown":`+test.unknown+`,"before_sensitive":{},"after_sensitive":{}}}]}`))
			page := prcomment.Render(prcomment.Report{Workspaces: []prcomment.Workspace{{Name: "w", Status: prcomment.StatusPlanned, Plan: plan}}}, 0)[0]
			for _, want := range test.want {
				if !strings.Contains(page, want) {
					t.Errorf("there is no %q in:\n%s", want, page)
				}
			}
			for _, not := range test.not {
				if strings.Contains(page, not) {
					t.Errorf("there is a %q in:\n%s", not, page)
				}
			}
		})
	}
}

func TestParseMark(t *testing.T) {
	key := "acme/infra--x#12 --> <!-- é"
	page := prcomment.Render(prcomment.Report{Kind: prcomment.KindDrift, Key: key}, 0)[0]
	mark, ok := prcomment.ParseMark(page)
	if !ok || mark.Key != key || mark.Kind != prcomment.KindDrift || mark.Page != 1 || mark.Pages != 1 || mark.Plans == "" {
		t.Errorf("the mark is %+v (%v), want the key %q", mark, ok, key)
	}
	if again, ok := prcomment.ParseMark(strings.ReplaceAll(page, "\n", "\r\n")); !ok || again != mark {
		t.Errorf("with other line breaks the mark is %+v (%v)", again, ok)
	}
	for _, text := range []string{
		"", "hello", "hello\n" + page, " " + page, "> " + page, "```\n" + page,
		"<!-- plumbline: -->", "<!-- plumbline: v=9 kind=plan key=k page=1/1 plans=x -->", "<!-- plumbline: v=1 kind=plan key=k page=2/1 plans=x -->",
		"<!-- plumbline: v=1 kind=plan key=%zz page=1/1 plans=x -->", "<!-- plumbline: v=1 kind=plan key=k page=a/b plans=x -->",
		"<!-- plumbline: v=1 kind=plan key=k page=1/1 plans=x",
	} {
		if got, ok := prcomment.ParseMark(text); ok {
			t.Errorf("%q has the mark %+v", text, got)
		}
	}
	planned := func(fingerprint string) string {
		page := prcomment.Render(prcomment.Report{Key: "k", Workspaces: []prcomment.Workspace{{Name: "w", Fingerprint: fingerprint}}}, 0)[0]
		mark, _ := prcomment.ParseMark(page)
		return mark.Plans
	}
	if planned("a") != planned("a") || planned("a") == planned("b") {
		t.Error("the mark does not follow the fingerprints")
	}
}

// TestRenderLeavesTheReportAlone: the caller may render the same report again, for another forge.
func TestRenderLeavesTheReportAlone(t *testing.T) {
	for _, s := range scenarios(t) {
		first := prcomment.Render(s.report, s.limit)
		if second := prcomment.Render(s.report, s.limit); strings.Join(first, "") != strings.Join(second, "") {
			t.Errorf("%s: the second rendering differs from the first", s.name)
		}
	}
}
