package prcomment

import (
	"math"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Sizes around a diff, in bytes.
const (
	leastDiff = 400  // a diff with less room than this is not worth folding out
	footRoom  = 2500 // kept for the footer, and for naming what is not shown
	openDiff  = 40   // lines; the only diff of a report is open when it is not longer
)

// diffs writes one folded diff for each group. Small diffs are whole; the large ones share what room there is.
func (w *renderer) diffs() {
	var shown []*group
	for _, g := range w.groups {
		if g.hasDiff() || g.members[0].Reviewed != nil {
			shown = append(shown, g)
		}
	}
	if len(shown) == 0 {
		return
	}
	room := (w.most-len(w.pages.done))*w.pages.limit - w.pages.page.Len() - footRoom
	room -= room / 10 // the feet of pages stay empty where a section moves over
	shown, omitted, room := w.choose(shown, room)
	level := share(shown, room)
	for _, g := range shown {
		if !g.patch.complete || g.patch.bytes > level {
			if plan := g.members[0].Plan; plan != nil {
				g.patch = patchOf(plan, g.redactor, level)
			}
		}
		before := len(w.pages.done)
		if before >= w.most || before == w.most-1 && w.pages.room() < g.patch.bytes+w.around(g)+footRoom {
			omitted = append(omitted, g)
			continue
		}
		w.details(g, len(shown) == 1 && len(w.workspaces) == 1)
		g.patch.lines = nil // written; the next ones need the memory
	}
	w.omitted(omitted)
}

// choose drops the diffs for which there is no room at all; those without dangers go first. It returns what room is left
// when everything around the diffs is written.
func (w *renderer) choose(all []*group, room int) (shown, omitted []*group, left int) {
	left = room
	chosen := make(map[*group]bool, len(all))
	for _, dangerous := range []bool{true, false} {
		for _, g := range all {
			around := w.around(g)
			least := around + min(g.patch.bytes, leastDiff)
			if (g.totals.destroy+g.totals.replace > 0) == dangerous && least <= room {
				chosen[g] = true
				room -= least
				left -= around
			}
		}
	}
	for _, g := range all {
		if chosen[g] {
			shown = append(shown, g)
		} else {
			omitted = append(omitted, g)
		}
	}
	return shown, omitted, left
}

// around estimates what stands around a diff, in bytes.
func (w *renderer) around(g *group) int {
	names := 0
	for i, ws := range g.members {
		size := min(len(ws.Name), maxShown) + 15
		names += size
		if len(g.members) > fewMembers {
			names += size + min(len(ws.PlanID), maxShown) + 10
		}
		if i > 500 {
			break
		}
	}
	return 260 + names + len(w.below(g))
}

// share finds how much room each diff may take so that together they take no more than room: what small ones leave is
// for the large ones.
func share(groups []*group, room int) int {
	sizes := make([]int, len(groups))
	for i, g := range groups {
		sizes[i] = g.patch.bytes
		if !g.patch.complete {
			sizes[i] = math.MaxInt // how much it would be nobody knows
		}
	}
	slices.Sort(sizes)
	for i, size := range sizes {
		level := max(leastDiff, room/(len(sizes)-i))
		if size > level {
			return level
		}
		room -= size
	}
	return math.MaxInt
}

// details writes one diff.
func (w *renderer) details(g *group, alone bool) {
	ws := g.members[0]
	var summary strings.Builder
	for i, m := range g.members {
		if i == 3 && len(g.members) > 4 {
			summary.WriteString(" and " + number(len(g.members)-i) + " more")
			break
		}
		if i > 0 {
			summary.WriteString(", ")
		}
		summary.WriteString(codeHTML(shorten(w.redactor.redact(m.Name), maxShown)))
	}
	past := ws.Status == StatusApplied || ws.Status == StatusCorrected
	summary.WriteString(" · " + g.totals.words(past))
	if len(g.members) > 1 {
		summary.WriteString(" in each")
	}
	tag := "<details>"
	if alone && len(g.patch.lines) <= openDiff {
		tag = "<details open>"
	}
	top := tag + "<summary>" + summary.String() + "</summary>\n\n"
	again := "<details open><summary>" + summary.String() + " (continued)</summary>\n\n"
	w.pages.need(len(top) + 1000)
	w.members(g)

	for _, block := range w.reviewed(g) {
		w.pages.section(section{
			open: top + block.intro + "```diff\n", reopen: again + "```diff\n", lines: block.lines, close: "```\n\n</details>\n\n",
		})
		top = "<details><summary>" + summary.String() + " (the new plan in full)</summary>\n\n"
	}
	if !g.hasDiff() {
		return
	}
	fence := fenceFor(g.patch.lines)
	w.pages.section(section{
		open:   top + fence + "diff\n",
		reopen: again + fence + "diff\n",
		lines:  g.patch.lines,
		close:  fence + "\n\n</details>\n\n",
		last:   fence + "\n\n" + w.below(g) + "</details>\n\n",
	})
}

// fewMembers is how many workspaces of a group are named outside of a list of their own.
const fewMembers = 4

// members names the workspaces of a large group and their plans, folded: the table and the summary have room for a few
// only.
func (w *renderer) members(g *group) {
	if len(g.members) <= fewMembers {
		return
	}
	top := "<details><summary>The " + number(len(g.members)) + " workspaces that have the plan below</summary>\n\n"
	if slices.ContainsFunc(g.members, func(ws *Workspace) bool { return ws.PlanID != "" }) {
		var lines []string
		for _, ws := range g.members {
			line := "- " + w.name(ws.Name)
			if ws.PlanID != "" {
				line += ": plan " + w.name(ws.PlanID)
			}
			lines = append(lines, line)
		}
		w.pages.section(section{open: top, lines: lines, close: "\n</details>\n\n"})
		return
	}
	var lines []string
	for i := 0; i < len(g.members); i += 3 {
		var names []string
		for _, ws := range g.members[i:min(i+3, len(g.members))] {
			names = append(names, w.name(ws.Name))
		}
		line := strings.Join(names, ", ")
		if i+3 < len(g.members) {
			line += ","
		}
		lines = append(lines, line)
	}
	w.pages.section(section{open: top, lines: lines, close: "\n</details>\n\n"})
}

// below is what stands under a diff: what is not in it, notes, and which plan it is.
func (w *renderer) below(g *group) string {
	ws := g.members[0]
	var b strings.Builder
	if g.patch.missing > 0 || g.patch.cut > 0 {
		var parts []string
		if g.patch.missing > 0 {
			parts = append(parts, count(g.patch.missing, "more change is not shown", "more changes are not shown"))
		}
		if g.patch.cut > 0 {
			parts = append(parts, count(g.patch.cut, "change is shown in part", "changes are shown in part"))
		}
		b.WriteString("**" + enumerate(parts) + ".** All of it: " + w.show(ws) + "\n\n")
	}
	const most = 5
	for i, note := range g.notes {
		if i == most {
			b.WriteString("- and " + number(len(g.notes)-most) + " more notes\n")
			break
		}
		b.WriteString("- " + text(shorten(w.redactor.redact(note), 1000)) + "\n")
	}
	if len(g.notes) > 0 {
		b.WriteString("\n")
	}
	var facts []string
	switch {
	case len(g.members) == 1 && ws.PlanID != "":
		facts = append(facts, "plan "+w.name(ws.PlanID))
	case len(g.members) <= fewMembers: // of more, the list above names the plans
		for _, m := range g.members {
			if m.PlanID != "" {
				facts = append(facts, w.name(m.Name)+": plan "+w.name(m.PlanID))
			}
		}
	}
	if ws.Dir != "" && ws.Dir != ws.Name && len(g.members) == 1 {
		facts = append(facts, "directory "+w.name(ws.Dir))
	}
	if ws.Elapsed > 0 && len(g.members) == 1 {
		facts = append(facts, elapsed(ws.Elapsed))
	}
	if len(facts) > 0 {
		b.WriteString("<sub>" + strings.Join(facts, " · ") + "</sub>\n\n")
	}
	return b.String()
}

// show is the command that prints a plan in full.
func (w *renderer) show(ws *Workspace) string {
	if ws.PlanID == "" {
		return w.command("plan", []*Workspace{ws})
	}
	// No comment asks for this: it is for a shell, always.
	return code("plumbline plans show " + shellWord(w.writable(ws.PlanID, maxName/2)))
}

// omitted names the diffs that found no room.
func (w *renderer) omitted(groups []*group) {
	if len(groups) == 0 {
		return
	}
	const most = 12
	var b strings.Builder
	b.WriteString("**" + count(len(groups), "diff is", "diffs are") + " not shown, because this comment is long enough:**\n\n")
	for i, g := range groups {
		line := "- " + w.names(g.members, 2, w.name) + ": " + g.totals.words(false) + "; " + w.show(g.members[0]) + "\n"
		if i == most || b.Len()+len(line) > footRoom-700 {
			b.WriteString("- and " + number(len(groups)-i) + " more; `plumbline plans list` names their plans\n")
			break
		}
		b.WriteString(line)
	}
	w.pages.block(b.String() + "\n")
}

// A comparison is how a plan differs from the one that was reviewed.
type comparison struct {
	intro string
	lines []string
}

// reviewed compares a new plan with the one that was approved, object by object.
func (w *renderer) reviewed(g *group) []comparison {
	ws := g.members[0]
	if ws.Reviewed == nil {
		return nil
	}
	r := g.redactor.with(sensitiveValues(ws.Reviewed))
	const roomEach, most = 4000, 300
	old := map[string]change{}
	for _, c := range changesOf(ws.Reviewed) {
		old[c.Address+"\x00"+c.DeposedKey] = c
	}
	w1 := &patchWriter{redactor: r, room: roomEach, share: roomEach}
	body := func(c change) []string {
		lines, _ := w1.attributes(c, roomEach)
		return append(lines, c.header(r))
	}
	var lines []string
	same := 0
	add := func(l string) {
		if len(lines) < most {
			lines = append(lines, l)
		}
	}
	if ws.Plan == nil {
		return nil
	}
	for _, c := range changesOf(ws.Plan) {
		key := c.Address + "\x00" + c.DeposedKey
		before, ok := old[key]
		delete(old, key)
		switch {
		case !ok:
			add("+ new:     " + strings.TrimLeft(c.header(r), "+-/!# "))
		case before.deed != c.deed:
			add("! other:   " + c.deed.String() + " instead of " + before.deed.String() + " " + c.name(r))
		default:
			was, is := body(before), body(c)
			if slices.Equal(was, is) {
				if x, y := before.Change, c.Change; equal(x.Before, y.Before) && equal(x.After, y.After) && equal(x.AfterUnknown, y.AfterUnknown) {
					same++
				} else {
					add("! values:  " + c.deed.String() + " " + c.name(r) + "  # in what is not shown: sensitive, or too long")
				}
				continue
			}
			add("! values:  " + c.deed.String() + " " + c.name(r))
			for _, e := range editScript(was, is) {
				switch e.op {
				case '-':
					add("-   was:   " + strings.TrimLeft(was[e.a], "+-!# "))
				case '+':
					add("+   is:    " + strings.TrimLeft(is[e.b], "+-!# "))
				}
			}
		}
	}
	for _, key := range sortedKeys(old) {
		add("- no more: " + strings.TrimLeft(old[key].header(r), "+-/!# "))
	}
	nothingLeft := ws.nothingLeft()
	switch {
	case nothingLeft:
		for _, name := range sortedKeys(ws.Reviewed.OutputChanges) {
			if c := ws.Reviewed.OutputChanges[name]; c != nil && deedOf(c.Actions) != deedNone {
				add("- no more: " + deedOf(c.Actions).String() + " output." + fenced(r, name))
			}
		}
	case !sameOutputs(ws.Reviewed, ws.Plan):
		add("! outputs differ")
	}
	if len(lines) == 0 {
		add("  # no difference that may be shown")
	}
	if len(lines) == most {
		lines = append(lines, "  # and more")
	}
	if same > 0 {
		lines = append(lines, "  # "+count(same, "change is as reviewed", "changes are as reviewed"))
	}
	if nothingLeft {
		return []comparison{{intro: "A new plan would change nothing any more. What was reviewed and is no longer planned:\n\n", lines: lines}}
	}
	return []comparison{{intro: "How the new plan differs from the one that was reviewed:\n\n", lines: lines}}
}

func sameOutputs(a, b *tfjson.Plan) bool {
	names := append(sortedKeys(a.OutputChanges), sortedKeys(b.OutputChanges)...)
	for _, name := range names {
		x, y := a.OutputChanges[name], b.OutputChanges[name]
		if (x == nil) != (y == nil) || x != nil && (!equal(x.Before, y.Before) || !equal(x.After, y.After) || !equal(x.AfterUnknown, y.AfterUnknown)) {
			return false
		}
	}
	return true
}

func (d deed) String() string {
	return map[deed]string{
		deedDestroy: "destroy", deedReplace: "replace", deedUpdate: "update", deedCreate: "create", deedForget: "forget",
		deedImport: "import", deedMove: "move", deedRead: "read", deedOther: "another action", deedNone: "nothing",
	}[d]
}
