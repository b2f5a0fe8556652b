package prcomment_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// FuzzText puts the same text everywhere where text may come from outside.
func FuzzText(f *testing.F) {
	for _, seed := range []string{
		hostile, "", "\n", "`", "``", "|", "\\", "\\|", "`|`\\|", "</details>", "<details>", "```\n", "~~~\n", "    x", "- [ ] x", "1. x", "1) y",
		"| a | b |\n| - | - |", "===", "---", "***", "[x]: http://a", "[^1]", "http://a.b", "www.a.b", "a@b.c", "@a/b", "#1", "a#1", "GH-1", "!1", "&lt;", "&#35;1",
		"<!--", "-->", "<![CDATA[", "<?php", "<script>", "\x1b]8;;http://x\x07y", "\u2028", "\ufeff", "\u200b", "\U000e0041", strings.Repeat("`", 5000), strings.Repeat("|", 3000), strings.Repeat("@a", 900),
		strings.Repeat("$", 2000), strings.Repeat("\x00", 2000), strings.Repeat("> ", 300), "$a$ $$b$$", ":smile:", "\r", "\r\n\r\n", "{\"a\":\"`\"}", "x  \ny", "*a*", "_a_", "~a~", "~~a~~", "![a](b)", "[a](b)", "<a@b.c>", "<http://a>",
	} {
		f.Add(seed, "x", uint16(0))
	}
	f.Fuzz(func(t *testing.T, a, b string, limit uint16) {
		plan := planOf(
			destroy(a),
			create(b+a, obj{a: b, b: a, "l": []any{a, b, obj{a: a}}, "j": `{"k":` + quoted(a) + `}`}),
			update(a+b, obj{"t": a + "\n" + b, "u": a, "l": []any{obj{"name": a}, obj{"name": b}}}, obj{"t": b + "\n" + a, "u": b, "l": []any{obj{"name": b, "x": a}, a}}),
		)
		plan.ResourceChanges[0].DeposedKey = b
		plan.ResourceChanges[0].ActionReason = tfjson.ActionReason(a)
		plan.ResourceChanges[2].Change.ReplacePaths = []any{[]any{a, 1.0, b}}
		plan.ResourceChanges[2].Change.Actions = tfjson.Actions{tfjson.ActionDelete, tfjson.ActionCreate}
		plan.ResourceChanges[1].Change.Importing = &tfjson.Importing{ID: a}
		plan.ResourceChanges[1].PreviousAddress = b
		plan.ResourceDrift = plan.ResourceChanges[2:]
		plan.OutputChanges = map[string]*tfjson.Change{a: {Actions: tfjson.Actions{tfjson.ActionCreate}, After: b}}
		report := prcomment.Report{
			Kind: prcomment.KindPlan, Title: a, Commit: a, Base: b, Warnings: []string{a, b}, Commands: true, Key: a, At: time.Unix(0, 0), MaxPages: 3,
			Workspaces: []prcomment.Workspace{
				{Name: a, Dir: b, Status: prcomment.StatusPlanned, Plan: plan, PlanID: a, Reasons: []string{a, b, a + b, b + a, "`" + a + "`"}, Notes: []string{a, b}, Fingerprint: a},
				{Name: b, Status: prcomment.StatusFailed, Error: a},
				{Name: a + b, Status: prcomment.StatusHeld, Error: b, Plan: plan, Reviewed: planOf(destroy(b))},
				{Name: "s" + a, Status: prcomment.StatusSkipped, Error: a, Notes: []string{a}},
				{Name: "r" + a, Status: prcomment.StatusRemoved},
				{Name: "p" + a, Status: prcomment.StatusPartly, Error: a + b},
				{Name: "o", Status: prcomment.Status(b)},
				{Name: "d" + a, Status: prcomment.StatusDrifted, Findings: []prcomment.Finding{{Address: a, Class: b, Cause: a, Outside: b, Action: a, Reason: b, Attributes: []prcomment.Attribute{{Path: a, Before: a, After: b}}}}},
			},
		}
		for _, kind := range []prcomment.Kind{prcomment.KindPlan, prcomment.KindApply, prcomment.KindDrift} {
			report.Kind = kind
			checkPages(t, prcomment.Render(report, int(limit)), int(limit), report)
		}
	})
}

func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(raw)
}

// FuzzPlan renders whatever Terraform, or somebody in its place, may write as a plan. Secrets are put in under masks.
func FuzzPlan(f *testing.F) {
	for _, seed := range []string{
		`{"actions":["update"],"before":{"a":1},"after":{"a":2},"after_unknown":{},"before_sensitive":{},"after_sensitive":{}}`,
		`{"actions":["update"],"before":{"a":[1,2,{"b":"x"}]},"after":{"a":[2,{"b":"y"}]},"after_unknown":{"a":[false,{"b":true}]},"before_sensitive":{"a":[false]},"after_sensitive":{"a":true}}`,
		`{"actions":["create"],"after":"text","after_unknown":true,"after_sensitive":true}`,
		`{"actions":["delete","create"],"before":[[[[]]]],"after":{},"replace_paths":[["a",0],[],"x",null,[{"a":1}]]}`,
		`{"actions":["forget","create"],"before":null,"after":null}`,
		`{"actions":["magic"],"before":{"j":"[1,{\"a\":null}]"},"after":{"j":"[1]"}}`,
		`{"actions":[],"importing":{}}`,
		`{"actions":["update"],"before":{"t":"a\nb\nc\n"},"after":{"t":"a\nx\nc"},"before_sensitive":true}`,
	} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, raw string, number bool) {
		var change tfjson.Change
		decoder := json.NewDecoder(strings.NewReader(raw))
		if number {
			decoder.UseNumber()
		}
		if decoder.Decode(&change) != nil {
			return
		}
		const hidden = "hidden-canary-8842"
		if m, ok := change.Before.(map[string]any); ok {
			if mask, ok := change.BeforeSensitive.(map[string]any); ok || change.BeforeSensitive == nil {
				if mask == nil {
					mask = map[string]any{}
				}
				m["hidden"], mask["hidden"] = obj{"deep": []any{hidden}}, obj{"deep": []any{true}}
				m["copy"] = "unmasked copy of " + hidden
				change.BeforeSensitive = mask
			}
		}
		rc := &tfjson.ResourceChange{Address: "a.b", Change: &change}
		plan := planOf(rc)
		plan.ResourceDrift = []*tfjson.ResourceChange{rc, nil, {}}
		plan.OutputChanges = map[string]*tfjson.Change{"o": &change, "n": nil}
		report := prcomment.Report{Key: "k", Workspaces: []prcomment.Workspace{{Name: "w", Status: prcomment.StatusPlanned, Plan: plan}}}
		pages := prcomment.Render(report, 8192)
		checkPages(t, pages, 8192, report)
		if strings.Contains(strings.Join(pages, ""), hidden) {
			t.Error("a sensitive value is shown")
		}
	})
}
