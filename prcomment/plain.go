package prcomment

import (
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Plain says what a comment would say where there is no Markdown, such as on a page: the same diffs in the same order, with
// the same things hidden. What it returns is plain text, which its user escapes. It is made with NewPlain, and may be used
// by many at once.
type Plain struct{ redactor *redactor }

// NewPlain hides the given secrets, and whatever looks like one.
func NewPlain(secrets []string) *Plain { return &Plain{newRedactor(secrets)} }

// With hides also what plans mark as sensitive. Some may be nil.
func (p *Plain) With(plans ...*tfjson.Plan) *Plain {
	var values []string
	for _, plan := range plans {
		if plan != nil {
			values = append(values, sensitiveValues(plan)...)
		}
	}
	return &Plain{p.redactor.with(values)}
}

// Line is a text on one line: what cannot be seen in it, or turns its direction, is spelled out.
func (p *Plain) Line(s string) string { return visible(p.redactor.redact(withoutANSI(s)), false) }

// Text is Line with its line breaks and without colours.
func (p *Plain) Text(s string) string { return visible(p.redactor.redact(withoutANSI(s)), true) }

// Differences writes what differs in a finding, as lines of a diff.
func (p *Plain) Differences(attributes []Attribute, room int) []string {
	w := printer{room: room}
	w.kids((&renderer{redactor: p.redactor}).differences(newDiffer(p.redactor, 1), attributes), 0)
	if w.dropped > 0 {
		w.lines = append(w.lines, "  # … more is not shown")
	}
	return w.lines
}

// Diff is what a plan does, an item for each object: what is destroyed first.
type Diff struct {
	Totals string // in words: "3 to add, 1 to destroy"
	Items  []DiffItem
}

// DiffItem is what a plan does to one object.
type DiffItem struct {
	// Deed is destroy, replace, update, create, forget, import, move or read; "output", "defer" and "invoke" for what is no
	// resource; "changed outside" and "deleted outside" for what Terraform noticed; "other" for what is none of these.
	Deed    string
	Address string
	Why     string // why Terraform does it, and what else happens on the way; "" for nothing to say
	lines   func(room int) ([]string, bool)
}

// Lines compares the attributes, in at most about room bytes; cut says that this was not enough. A line begins with its
// sign (+, -, ! for what changes, or a space) and a space.
func (i DiffItem) Lines(room int) (lines []string, cut bool) {
	if i.lines == nil {
		return nil, false
	}
	return i.lines(room)
}

// Diff lists what a plan does, or did. Nothing is compared before Lines asks for it, so large plans can be shown in parts.
func (p *Plain) Diff(plan *tfjson.Plan, past bool) *Diff {
	if plan == nil {
		return nil
	}
	p = p.With(plan)
	d := &Diff{Totals: totalsOf(plan).words(past)}
	for _, c := range changesOf(plan) {
		item := DiffItem{Deed: c.deed.String(), Address: c.name(p.redactor), Why: c.why(p.redactor, fenced)}
		switch c.deed {
		case deedMove, deedForget, deedImport, deedRead:
		case deedOther:
			item.Deed = "other"
			item.lines = p.attributes(c)
		default:
			item.lines = p.attributes(c)
		}
		d.Items = append(d.Items, item)
	}
	for _, name := range sortedKeys(plan.OutputChanges) {
		c := plan.OutputChanges[name]
		if c == nil || deedOf(c.Actions) == deedNone {
			continue
		}
		d.Items = append(d.Items, DiffItem{Deed: "output", Address: "output." + fenced(p.redactor, name), lines: func(room int) ([]string, bool) {
			return outputLines(p.redactor, name, c, room)
		}})
	}
	for _, c := range plan.DeferredChanges {
		if c != nil && c.ResourceChange != nil {
			d.Items = append(d.Items, DiffItem{Deed: "defer", Address: fenced(p.redactor, c.ResourceChange.Address), Why: fenced(p.redactor, strings.ReplaceAll(c.Reason, "_", " "))})
		}
	}
	for _, a := range plan.ActionInvocations {
		if a != nil {
			d.Items = append(d.Items, DiffItem{Deed: "invoke", Address: fenced(p.redactor, a.Address)})
		}
	}
	for _, rc := range plan.ResourceDrift {
		if rc == nil || rc.Change == nil {
			continue
		}
		switch c := newChange(rc); c.deed {
		case deedNone, deedMove:
		case deedDestroy:
			d.Items = append(d.Items, DiffItem{Deed: "deleted outside", Address: c.name(p.redactor)})
		default:
			d.Items = append(d.Items, DiffItem{Deed: "changed outside", Address: c.name(p.redactor), lines: p.attributes(c)})
		}
	}
	return d
}

func (p *Plain) attributes(c change) func(room int) ([]string, bool) {
	return func(room int) ([]string, bool) {
		w := &patchWriter{redactor: p.redactor, room: room, share: room}
		return w.attributes(c, room)
	}
}
