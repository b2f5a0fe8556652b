package prcomment

import (
	"slices"
	"strings"
)

// findings writes what drifted, one table a workspace, with the verdict on each resource.
func (w *renderer) findings() {
	if w.report.Kind != KindDrift {
		return
	}
	budget := w.most * w.pages.limit / 2
	for _, ws := range w.workspaces {
		if len(ws.Findings) == 0 {
			continue
		}
		shown := slices.Clone(ws.Findings)
		// What needs people comes first, what nobody wants to know last.
		slices.SortStableFunc(shown, func(a, b Finding) int { return urgency(a) - urgency(b) })
		var lines []string
		size := 0
		for i, f := range shown {
			line := w.finding(f)
			if size += len(line) + 1; i > 0 && size > budget {
				lines = append(lines, "| and "+number(len(shown)-i)+" more | | | | |")
				break
			}
			lines = append(lines, line)
		}
		budget = max(0, budget-size)
		head := ""
		if len(w.workspaces) > 1 {
			head = "#### " + w.name(ws.Name) + "\n\n"
		}
		table := "| Resource | Class | What happened | Cause | Correction |\n| --- | --- | --- | --- | --- |\n"
		w.pages.section(section{open: head + table, reopen: head + table, lines: lines, close: "\n"})
		w.traces(ws)
		w.attributes(ws)
	}
}

// isOutput tells an output of the root module from a resource.
func (f Finding) isOutput() bool { return strings.HasPrefix(f.Address, "output.") }

func urgency(f Finding) int {
	switch {
	case f.Ignored:
		return 3
	case f.Corrected:
		return 2
	case f.Allowed:
		return 1
	}
	return 0
}

func (w *renderer) finding(f Finding) string {
	happened := f.Outside
	if happened == "" {
		happened = f.Action
		if happened != "" {
			happened = "to " + happened
		}
	}
	var verdict string
	switch {
	case f.Ignored:
		verdict = "ignored"
	case f.Corrected:
		verdict = "✅ corrected: " + text(shorten(f.Action, 60))
	case f.Allowed:
		verdict = "may be corrected: " + text(shorten(f.Action, 60))
	default:
		verdict = "**not corrected**: " + text(shorten(f.Action, 60))
	}
	if f.Reason != "" {
		verdict += " (" + text(shorten(w.redactor.redact(f.Reason), 250)) + ")"
	}
	resource := codeCell(shorten(w.redactor.redact(f.Address), 300))
	class := f.Class
	if f.isOutput() {
		class = "output"
	}
	return "| " + resource + " | " + w.short(class) + " | " + w.short(happened) + " | " + w.short(f.Cause) + " | " + verdict + " |"
}

func (w *renderer) short(s string) string { return text(shorten(w.redactor.redact(s), 80)) }

// attributes writes what differs, folded.
func (w *renderer) attributes(ws *Workspace) {
	const most = 400
	p := printer{room: w.pages.limit}
	d := newDiffer(w.redactor, 1)
	for _, f := range ws.Findings {
		if f.Ignored || len(f.Attributes) == 0 || len(p.lines) > most {
			continue
		}
		if len(p.lines) > 0 {
			p.line(' ', 0, "")
		}
		p.line('!', 0, fenced(w.redactor, f.Address))
		p.kids(w.differences(d, f.Attributes), step)
	}
	if len(p.lines) == 0 {
		return
	}
	if p.dropped > 0 {
		p.lines = append(p.lines, "# … more is not shown")
	}
	fence := fenceFor(p.lines)
	top := "<details><summary>What differs: now → as it should be</summary>\n\n" + fence + "diff\n"
	w.pages.section(section{open: top, reopen: strings.Replace(top, "<details>", "<details open>", 1), lines: p.lines, close: fence + "\n\n</details>\n\n"})
}

// differences makes lines of a diff out of attributes.
func (w *renderer) differences(d *differ, attributes []Attribute) []*node {
	kids := make([]*node, 0, len(attributes))
	for _, a := range attributes {
		n := &node{op: '!', label: fenced(w.redactor, shorten(a.Path, maxKey)), before: d.line(w.redactor.redact(a.Before)), after: d.line(w.redactor.redact(a.After))}
		switch {
		case a.Sensitive:
			n.before, n.after = "", wordSensitive
		case a.Unknown:
			n.after = wordUnknown
		}
		if n.after == "" {
			n.after = "null"
		}
		if n.before == "" && !a.Sensitive {
			n.before = "null"
		}
		kids = append(kids, n)
	}
	return kids
}
