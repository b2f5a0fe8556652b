package prcomment

import (
	"strings"
	"unicode/utf8"

	tfjson "github.com/hashicorp/terraform-json"
)

// printer writes nodes as lines of a diff: the sign in the first column, where GitHub colours by it ('!' is orange),
// then the indented attribute. It writes until its room, in bytes, is used up; then it drops what comes and counts it.
type printer struct {
	lines   []string
	room    int
	dropped int // lines
}

func (p *printer) line(op byte, indent int, s string) bool {
	if p.dropped > 0 || p.room < len(s)+indent+3 {
		p.dropped++
		return false
	}
	line := strings.TrimRight(string(op)+" "+strings.Repeat(" ", indent)+s, " \t")
	p.lines = append(p.lines, line)
	p.room -= len(line) + 1
	return true
}

const step = 4

// attributes writes what is under a change's header.
func (p *printer) attributes(root *node, replaced bool) {
	if root == nil {
		return
	}
	kids, later := root.kids, []string(nil)
	if len(kids) == 0 && root.after != "" { // a value that has no attributes: an output, or all of it sensitive
		kids = []*node{root}
	} else {
		kids = make([]*node, 0, len(root.kids))
		for _, k := range root.kids {
			// Computed values say nothing but that they are computed; together they fit on one line.
			if k.unknown && (k.op == '+' || replaced || len(k.before) > maxArrow || strings.HasPrefix(k.before, "(") || k.label == "id" || k.label == "arn") {
				later = append(later, k.label)
				continue
			}
			kids = append(kids, k)
		}
	}
	p.kids(kids, step)
	if len(later) > 0 {
		const most = 8
		names := strings.Join(later[:min(len(later), most)], ", ")
		if len(later) > most {
			names += " and " + number(len(later)-most) + " more"
		}
		names = "# known after apply: " + names
		if root.hidden > 0 {
			names += "; " + count(root.hidden, "unchanged attribute", "unchanged attributes")
		}
		p.line(' ', step, names)
		return
	}
	p.hidden(root, step)
}

func (p *printer) hidden(n *node, indent int) {
	if n.hidden > 0 {
		p.line(' ', indent, "# "+count(n.hidden, "unchanged "+n.noun, "unchanged "+n.noun+"s"))
	}
}

func (p *printer) kids(kids []*node, indent int) {
	width := 0
	for _, k := range kids {
		if (k.isLeaf() || k.inline() != "") && len(k.label) <= 28 {
			width = max(width, utf8.RuneCountInString(k.label))
		}
	}
	for _, k := range kids {
		p.node(k, k.label, indent, width)
		if p.dropped > 0 {
			// Nothing more fits; do not walk what nobody will see.
			return
		}
	}
}

func (n *node) isLeaf() bool { return len(n.kids) == 0 }

func (p *printer) node(n *node, label string, indent, width int) {
	if n.text {
		p.line(n.op, indent, "| "+n.after)
		return
	}
	if !n.isLeaf() {
		for n.fold && len(n.kids) == 1 && n.kids[0].label != "" && n.note == "" {
			n = n.kids[0]
			label = joinLabel(label, n.label)
		}
	}
	note := ""
	if n.note != "" {
		note = "  # " + n.note
	}
	if n.isLeaf() {
		p.leaf(n, label, note, indent, width)
		return
	}
	if short := n.inline(); short != "" && label != "" {
		p.line(n.op, indent, padded(label, width)+" = "+short+note)
		return
	}
	if label == "" { // an element, or the two halves of a value that became another kind
		if n.op == ' ' {
			label = "-"
		} else {
			label = "(element)"
		}
	}
	if !p.line(n.op, indent, label+":"+note) {
		return
	}
	p.kids(n.kids, indent+step)
	p.hidden(n, indent+step)
}

// inline writes a small value that comes or goes as a whole on one line: lists of plain values, and objects of few
// attributes. Anything else gives "".
func (n *node) inline() string {
	if n.op == ' ' || n.hidden > 0 || len(n.kids) > 8 || strings.HasSuffix(n.label, ")") {
		return ""
	}
	labelled := n.kids[0].label != ""
	if labelled && len(n.kids) > 3 {
		return ""
	}
	parts := make([]string, 0, len(n.kids))
	size := 0
	for _, k := range n.kids {
		if !k.isLeaf() || k.text || k.note != "" || k.op != n.op || (k.label != "") != labelled || k.before != "" && k.after != "" {
			return ""
		}
		part := k.before + k.after
		if labelled {
			part = k.label + " = " + part
		}
		if size += len(part) + 2; size > maxArrow-20 {
			return ""
		}
		parts = append(parts, part)
	}
	if labelled {
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (p *printer) leaf(n *node, label, note string, indent, width int) {
	if label != "" {
		label = padded(label, width) + " = "
	}
	switch {
	case n.op != '!' || n.before == "":
		value := n.after
		if value == "" {
			value = n.before
		}
		p.line(n.op, indent, label+value+note)
	case len(n.before)+len(n.after) <= maxArrow:
		p.line('!', indent, label+n.before+" → "+n.after+note)
	default:
		p.line('-', indent, label+n.before)
		p.line('+', indent, label+n.after+note)
	}
}

func padded(label string, width int) string {
	return label + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(label)))
}

func joinLabel(parent, kid string) string {
	switch {
	case parent == "":
		return kid
	case strings.HasPrefix(kid, "["):
		return parent + kid
	case strings.HasPrefix(kid, `"`):
		return parent + "[" + kid + "]"
	}
	return parent + "." + kid
}

// A patch is the diff of one plan, as far as it fits.
type patch struct {
	lines    []string
	bytes    int
	complete bool
	shown    int // changes that are written, at least by their header
	missing  int // changes that are not
	cut      int // changes that are written in part
}

// changeRoom is what a single change may take, in bytes, when there are others that want to be seen too.
const changeRoom = 6000

// patchOf writes the diff of a plan in at most room bytes. Every change gets its share; when the room is used up the
// rest is counted only.
func patchOf(plan *tfjson.Plan, r *redactor, room int) patch {
	changes := changesOf(plan)
	w := &patchWriter{redactor: r, room: room, share: max(changeRoom, room/max(1, len(changes)))}
	for _, c := range changes {
		w.change(c)
	}
	w.outputs(plan.OutputChanges)
	w.deferred(plan.DeferredChanges)
	w.invocations(plan.ActionInvocations)
	w.drift(plan.ResourceDrift)
	w.patch.complete = w.patch.missing == 0 && w.patch.cut == 0
	for _, l := range w.patch.lines {
		w.patch.bytes += len(l) + 1
	}
	return w.patch
}

type patchWriter struct {
	redactor *redactor
	room     int // bytes left
	share    int // bytes that one change may take
	patch    patch
}

// write adds lines that belong together, an empty line before them; it is all or nothing.
func (w *patchWriter) write(lines []string, gap bool) bool {
	size := 0
	for _, l := range lines {
		size += len(l) + 1
	}
	if gap && len(w.patch.lines) > 0 {
		size++
	}
	if w.patch.missing > 0 || size > w.room {
		w.patch.missing++
		return false
	}
	if gap && len(w.patch.lines) > 0 {
		w.patch.lines = append(w.patch.lines, "")
	}
	w.patch.lines = append(w.patch.lines, lines...)
	w.patch.shown++
	w.room -= size
	return true
}

func (w *patchWriter) change(c change) {
	if w.patch.missing > 0 {
		w.patch.missing++
		return
	}
	lines := []string{c.header(w.redactor)}
	if c.deed == deedMove || c.deed == deedForget || c.deed == deedImport || c.deed == deedRead {
		w.write(lines, true)
		return
	}
	more, cut := w.attributes(c, min(w.share, w.room)-len(lines[0])-80)
	if w.write(append(lines, more...), true) && cut {
		w.patch.cut++
	}
}

func (w *patchWriter) attributes(c change, room int) (lines []string, cut bool) {
	p := printer{room: room}
	root, cut := c.nodes(w.redactor, max(room/8, 1))
	p.attributes(root, c.deed == deedReplace)
	switch {
	case cut || p.dropped > 0:
		return append(p.lines, "      # … more of this is not shown"), true
	case root == nil && c.deed == deedUpdate && w.share > 0:
		return []string{"      # nothing that Terraform shows changes"}, false
	}
	return p.lines, false
}

func (w *patchWriter) outputs(outputs map[string]*tfjson.Change) {
	first := true
	for _, name := range sortedKeys(outputs) {
		c := outputs[name]
		if c == nil || deedOf(c.Actions) == deedNone {
			continue
		}
		if w.patch.missing > 0 {
			w.patch.missing++
			continue
		}
		lines, cut := outputLines(w.redactor, name, c, min(w.room, w.share))
		if len(lines) == 0 {
			continue
		}
		if w.write(lines, first) && cut {
			w.patch.cut++
		}
		first = false
	}
}

// outputLines writes what becomes of an output, in at most room bytes.
func outputLines(r *redactor, name string, c *tfjson.Change, room int) (lines []string, cut bool) {
	d := newDiffer(r, max(room/8, 1))
	n := d.compare("output."+d.name(name), nowhere,
		value{v: c.Before, has: c.Before != nil, sensitive: c.BeforeSensitive},
		value{v: c.After, has: c.After != nil, sensitive: c.AfterSensitive}, c.AfterUnknown, 1)
	if n == nil {
		return nil, false
	}
	p := printer{room: room - 80}
	p.kids([]*node{n}, 0)
	if d.full() || p.dropped > 0 {
		return append(p.lines, "      # … more of this is not shown"), true
	}
	return p.lines, false
}

func (w *patchWriter) deferred(changes []*tfjson.DeferredResourceChange) {
	for i, dc := range changes {
		if dc == nil || dc.ResourceChange == nil {
			continue
		}
		line := "# defer " + fenced(w.redactor, dc.ResourceChange.Address)
		if dc.Reason != "" {
			line += "  # " + fenced(w.redactor, strings.ReplaceAll(dc.Reason, "_", " "))
		}
		w.write([]string{line}, i == 0)
	}
}

func (w *patchWriter) invocations(invocations []*tfjson.ActionInvocation) {
	for i, a := range invocations {
		if a == nil {
			continue
		}
		line := "! invoke " + fenced(w.redactor, a.Address)
		if t := a.LifecycleActionTrigger; t != nil {
			line += "  # " + fenced(w.redactor, strings.ReplaceAll(t.ActionTriggerEvent, "_", " ")) + " " + fenced(w.redactor, t.TriggeringResourceAddress)
		}
		w.write([]string{line}, i == 0)
	}
}

// drift tells what Terraform noticed while it refreshed: it explains why things are to be changed that nobody touched
// in Git.
func (w *patchWriter) drift(drifted []*tfjson.ResourceChange) {
	first := true
	for _, rc := range drifted {
		if rc == nil || rc.Change == nil {
			continue
		}
		c := newChange(rc)
		if c.deed == deedNone || c.deed == deedMove {
			continue
		}
		if w.patch.missing > 0 {
			w.patch.missing++
			continue
		}
		var lines []string
		if first {
			lines = append(lines, "@@ Changed outside of Terraform @@")
		}
		switch c.deed {
		case deedDestroy:
			lines = append(lines, "# deleted: "+c.name(w.redactor))
		default:
			lines = append(lines, "# changed: "+c.name(w.redactor))
			more, cut := w.attributes(c, min(w.share, w.room)-200)
			lines = append(lines, more...)
			if cut {
				w.patch.cut++
			}
		}
		w.write(lines, true)
		first = false
	}
}
