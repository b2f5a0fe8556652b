package prcomment

import (
	"slices"
	"strings"
	"time"
)

// RenderIssue writes the body of a drift issue in at most limit bytes; 0 means 65,536, which every forge takes. What
// needs people comes first. When there is not room for everything, differences are left out, then findings, last ones
// first; nothing is cut in the middle, and what is left out is counted.
func RenderIssue(i Issue, limit int) string {
	if limit <= 0 {
		limit = defaultLimit
	}
	w := &renderer{report: Report{Kind: KindDrift, Commands: i.Commands}, redactor: newRedactor(i.Secrets), mark: Mark{
		Kind: KindDrift, Key: shortKey(i.Key), Plans: plansDigest(nil),
	}}
	w.pages.limit = max(limit, leastLimit) - furniture - len(w.mark.String())
	body := &issueWriter{renderer: w, issue: i, room: w.pages.limit}
	body.sort()
	body.add(body.headline())
	body.banners()
	footer := body.footer()
	body.room -= len(footer)
	if len(i.Members) > 0 {
		body.members()
	}
	body.findings()
	body.history()
	body.add(footer)
	w.pages.block(body.b.String())
	return w.pages.finish(w.mark)[0]
}

// issueWriter writes one body. Whatever it writes is a whole block.
type issueWriter struct {
	*renderer
	issue                   Issue
	b                       strings.Builder
	room                    int // bytes left
	standing, noise, ignore []*IssueFinding
	over                    []*IssueFinding
}

// Room in a body, in bytes.
const (
	historyRoom = 6000  // for what is over
	blockRoom   = 12000 // for the differences of one finding
	problemRoom = 4000  // for why looks come to no answer
)

func (w *issueWriter) add(s string) bool {
	if len(s) > w.room {
		return false
	}
	w.b.WriteString(s)
	w.room -= len(s)
	return true
}

// sort divides the findings by what is to be done about them.
func (w *issueWriter) sort() {
	for n := range w.issue.Findings {
		f := &w.issue.Findings[n]
		switch {
		case !f.GoneAt.IsZero():
			w.over = append(w.over, f)
		case f.Ignored:
			w.ignore = append(w.ignore, f)
		case f.Noise:
			w.noise = append(w.noise, f)
		default:
			w.standing = append(w.standing, f)
		}
	}
	rank := func(f *IssueFinding) int {
		switch {
		case f.Fight != "":
			return 0
		case f.Allowed:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(w.standing, func(a, b *IssueFinding) int { return rank(a) - rank(b) })
	slices.SortStableFunc(w.over, func(a, b *IssueFinding) int { return b.GoneAt.Compare(a.GoneAt) })
}

// headline is the verdict: how much there is, of which causes and classes.
func (w *issueWriter) headline() string {
	i := w.issue
	where := ""
	switch {
	case len(i.Members) > 0:
		where = " in " + count(len(i.Members), "workspace", "workspaces")
	case i.Workspace != "":
		where = " in " + w.name(i.Workspace)
	}
	var b strings.Builder
	switch {
	case len(w.standing) > 0:
		found := len(w.standing)
		if len(i.Members) > 0 {
			found = 0
			for _, m := range i.Members {
				found += len(m.Addresses)
			}
		}
		b.WriteString("**" + count(found, "finding", "findings") + where + "**")
		if len(i.Members) == 0 {
			b.WriteString(": " + w.tallied(w.standing, func(f *IssueFinding) string { return f.Cause }) + "; " +
				w.tallied(w.standing, func(f *IssueFinding) string {
					if f.isOutput() {
						return "output"
					}
					return f.Class
				}))
		}
		b.WriteString(".")
	case i.Unknown != nil:
		b.WriteString("**Not known**" + where + ": looks come to no answer.")
	default:
		b.WriteString("✅ **Clean**" + where + ": nothing stands that somebody has to look at.")
	}
	if i.Commit != "" {
		b.WriteString(" Measured against " + w.name(shortCommit(i.Commit)) + ", which was applied last.")
	}
	if !i.CheckedAt.IsZero() {
		b.WriteString(" Last looked at " + moment(i.CheckedAt) + ".")
	}
	return b.String() + "\n\n"
}

// tallied counts findings by a word, most first.
func (w *issueWriter) tallied(findings []*IssueFinding, word func(*IssueFinding) string) string {
	n := map[string]int{}
	var words []string
	for _, f := range findings {
		s := word(f)
		if n[s] == 0 {
			words = append(words, s)
		}
		n[s]++
	}
	slices.SortFunc(words, func(a, b string) int {
		if n[a] != n[b] {
			return n[b] - n[a]
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, 0, len(words))
	for _, s := range words {
		parts = append(parts, number(n[s])+" "+w.short(s))
	}
	return enumerate(parts)
}

// banners say what keeps things from going their way.
func (w *issueWriter) banners() {
	for _, p := range w.issue.Pauses {
		line := "> ⏸️ **Paused**: " + w.text(p.Scope)
		if p.Until.IsZero() {
			line += ", until somebody resumes it"
		} else {
			line += ", until " + moment(p.Until)
		}
		if p.By != "" {
			line += ", by " + w.name(p.By)
		}
		if p.Reason != "" {
			line += ": " + w.text(shorten(p.Reason, 300))
		}
		w.add(line + "\n>\n> Nothing is looked at or corrected meanwhile.\n\n")
	}
	if u := w.issue.Unknown; u != nil {
		line := "> ❓ **Not known**"
		if !u.Since.IsZero() {
			line += " since " + moment(u.Since)
		}
		if u.Failures > 0 {
			line += ": " + count(u.Failures, "look has", "looks in a row have") + " come to no answer"
		}
		if !u.LastTry.IsZero() {
			line += ", the last at " + moment(u.LastTry)
		}
		if line += "."; len(w.issue.Findings) > 0 {
			line += " What stands below is what was known before."
		}
		line += "\n\n"
		if u.Problem != "" {
			lines := splitLines(unticked(visible(w.redactor.redact(withoutANSI(shorten(u.Problem, problemRoom))), true)))
			fence := fenceFor(lines)
			line += "<details><summary>Why</summary>\n\n" + fence + "text\n" + strings.Join(lines, "\n") + "\n" + fence + "\n\n</details>\n\n"
		}
		w.add(line)
	}
	for _, f := range w.standing {
		if f.Fight != "" {
			w.add("> 🥊 **Something fights back** over " + code(shorten(w.redactor.redact(f.Address), 200)) + ": " + w.text(shorten(f.Fight, 300)) + "\n\n")
		}
	}
	for _, e := range w.issue.Elsewhere {
		w.add("> #" + number(e.Number) + " tells of " + count(e.Findings, "more finding", "more findings") + ", together with other workspaces where the same was found.\n\n")
	}
	for _, note := range w.issue.Notes {
		w.add("> " + w.text(note) + "\n\n")
	}
}

// members lists the workspaces of a group.
func (w *issueWriter) members() {
	w.add("#### Where\n\n")
	for n, m := range w.issue.Members {
		line := "- " + w.name(m.Workspace) + ": "
		var names []string
		for _, address := range m.Addresses[:min(len(m.Addresses), 3)] {
			names = append(names, code(shorten(w.redactor.redact(address), 200)))
		}
		if more := len(m.Addresses) - 3; more > 0 {
			names = append(names, number(more)+" more")
		}
		line += enumerate(names)
		if !m.FirstSeen.IsZero() {
			line += ", since " + moment(m.FirstSeen)
		}
		if m.Number > 0 {
			line += " (#" + number(m.Number) + ")"
		}
		if w.room < len(line)+blockRoom || !w.add(line+"\n") {
			w.add("- and " + number(len(w.issue.Members)-n) + " more\n")
			break
		}
	}
	w.add("\n#### What it looks like in one of them\n\n")
}

// findings writes what stands: first how much room the words take, then differences with what is left.
func (w *issueWriter) findings() {
	reserve := 200 // for the line that counts what is left out
	if len(w.over) > 0 {
		reserve += min(historyRoom, 400*len(w.over))
	}
	if len(w.noise)+len(w.ignore) > 0 {
		reserve += min(historyRoom, 400*len(w.noise)+200)
	}
	room := w.room - reserve
	heads := make([]string, 0, len(w.standing))
	for _, f := range w.standing {
		head := w.head(f)
		if len(head) > room {
			break
		}
		room -= len(head)
		heads = append(heads, head)
	}
	for n, head := range heads {
		w.add(head)
		diff := w.diff(w.standing[n], min(blockRoom, room))
		if len(diff) <= room {
			room -= len(diff)
			w.add(diff)
			continue
		}
		const left = "What differs is left out here: there is no room for it.\n\n"
		if len(left) <= room {
			room -= len(left)
			w.add(left)
		}
	}
	if more := w.standing[len(heads):]; len(more) > 0 {
		w.add("**And " + count(len(more), "more finding", "more findings") + "**, for which there is no room here: " +
			w.tallied(more, func(f *IssueFinding) string { return f.Cause }) + ".\n\n")
	}
}

// head says of a finding everything but what differs.
func (w *issueWriter) head(f *IssueFinding) string {
	var b strings.Builder
	b.WriteString("#### " + code(shorten(w.redactor.redact(f.Address), 300)) + "\n\n")
	kind := w.short(f.Class)
	if f.isOutput() {
		kind = "output"
	}
	b.WriteString("- **" + w.short(f.Cause) + "** · " + kind)
	if f.Outside != "" {
		b.WriteString(" · " + w.short(f.Outside))
	}
	if f.Action != "" && f.Action != "no-op" {
		b.WriteString(" · to " + w.short(f.Action))
	}
	if f.Detail != "" {
		b.WriteString(": " + w.text(shorten(f.Detail, 400)))
	}
	b.WriteString("\n")
	for _, t := range f.Who {
		b.WriteString("- Changed by " + w.trace(t) + "\n")
	}
	if seen := seen(f); seen != "" {
		b.WriteString("- " + seen + "\n")
	}
	verdict := "Not corrected"
	if f.Allowed && f.Fight == "" {
		verdict = "May be corrected"
	}
	if f.Reason != "" {
		verdict += ": " + w.text(shorten(f.Reason, 400))
	}
	b.WriteString("- " + verdict + "\n")
	if f.Corrections > 0 {
		b.WriteString("- Corrected " + count(f.Corrections, "time", "times"))
		if !f.CorrectedAt.IsZero() {
			b.WriteString(", last at " + moment(f.CorrectedAt))
		}
		b.WriteString("; it is back\n")
	}
	if command := w.ignoring(f); command != "" {
		b.WriteString("- " + command + " leaves it alone until then\n")
	}
	return b.String() + "\n"
}

func seen(f *IssueFinding) string {
	var parts []string
	if !f.FirstSeen.IsZero() {
		parts = append(parts, "First seen "+moment(f.FirstSeen))
	}
	if !f.LastSeen.IsZero() {
		parts = append(parts, "last seen "+moment(f.LastSeen))
	}
	return strings.Join(parts, ", ")
}

// ignoring is the command that leaves a finding alone; "" where nobody reads it, or where it would be no use.
func (w *issueWriter) ignoring(f *IssueFinding) string {
	if !w.issue.Commands || len(w.issue.Members) > 0 || f.isOutput() {
		return ""
	}
	address := w.writable(f.Address, maxName/2)
	if address != f.Address {
		address = "ADDRESS"
	}
	command := "plumbline ignore " + commentWord(address)
	if f.Action == "update" || f.Action == "no-op" {
		for _, a := range f.Attributes {
			if path := w.writable(a.Path, maxName/4); path == a.Path && len(command) < maxName-100 {
				command += " " + commentWord(path)
			}
		}
	}
	return code(command + " --until " + w.until())
}

// until is a day some three months ahead. It moves once a month, so that the body does not change every day.
func (w *issueWriter) until() string {
	at := w.issue.CheckedAt
	if at.IsZero() {
		return "YYYY-MM-DD"
	}
	year, month, _ := at.UTC().Date()
	return time.Date(year, month+4, 1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// diff is what differs, folded, in at most room bytes; "" if there is nothing.
func (w *issueWriter) diff(f *IssueFinding, room int) string {
	if len(f.Attributes) == 0 {
		return ""
	}
	p := printer{room: max(room-200, 0)}
	p.kids(w.differences(newDiffer(w.redactor, 1), f.Attributes), 0)
	if p.dropped > 0 {
		p.lines = append(p.lines, "# … more is not shown")
	}
	fence := fenceFor(p.lines)
	way := "now → as it should be"
	switch {
	case f.Action == "no-op":
		way = "as recorded → now"
	case f.Outside == "deleted":
		way = "as recorded → as it should be"
	}
	return "<details><summary>What differs: " + count(len(f.Attributes), "attribute", "attributes") + ", " + way + "</summary>\n\n" +
		fence + "diff\n" + strings.Join(p.lines, "\n") + "\n" + fence + "\n\n</details>\n\n"
}

// history lists noise, what is ignored, and what is over, each in a line.
func (w *issueWriter) history() {
	if len(w.noise) > 0 && w.add("#### Noise\n\nNo apply removes this: the provider does not agree with itself. It is told once, and never corrected.\n\n") {
		w.lines(w.noise, func(f *IssueFinding) string {
			var paths []string
			for _, a := range f.Attributes[:min(len(f.Attributes), 5)] {
				paths = append(paths, code(shorten(w.redactor.redact(a.Path), 80)))
			}
			line := "- " + code(shorten(w.redactor.redact(f.Address), 200))
			if len(paths) > 0 {
				line += ": " + enumerate(paths)
			}
			return line + "\n"
		})
	}
	if len(w.ignore) > 0 {
		w.add(count(len(w.ignore), "finding is", "findings are") + " left alone by rules in plumbline.yaml.\n\n")
	}
	if len(w.over) > 0 && w.add("#### What is over\n\n") {
		w.lines(w.over, w.past)
	}
}

func (w *issueWriter) lines(findings []*IssueFinding, write func(*IssueFinding) string) {
	room := historyRoom
	for n, f := range findings {
		line := write(f)
		if room -= len(line); room < 0 || len(line)+60 > w.room {
			w.add("- and " + number(len(findings)-n) + " more\n")
			break
		}
		w.add(line)
	}
	w.add("\n")
}

// past is one line about a finding that is over.
func (w *renderer) past(f *IssueFinding) string {
	line := "- " + code(shorten(w.redactor.redact(f.Address), 200)) + ": "
	switch {
	case f.GoneAt.IsZero():
		line += "noise, left as it is"
	case f.correctedAway():
		line += "**corrected**"
		if f.Action != "" {
			line += " (" + w.short(f.Action) + ")"
		}
		line += " at " + moment(f.CorrectedAt)
		if f.Corrections > 1 {
			line += ", the " + ordinal(f.Corrections) + " time"
		}
	default:
		line += "gone without a correction at " + moment(f.GoneAt)
	}
	if f.Cause != "" {
		line += "; " + w.short(f.Cause)
	}
	if len(f.Who) > 0 {
		line += "; changed by " + w.trace(f.Who[0])
	}
	if !f.FirstSeen.IsZero() {
		line += ", first seen " + moment(f.FirstSeen)
	}
	return line + "\n"
}

// ordinal writes 2 as 2nd.
func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return number(n) + suffix
}

// footer says what can be commented.
func (w *issueWriter) footer() string {
	if !w.issue.Commands {
		return ""
	}
	var parts []string
	if len(w.issue.Members) == 0 {
		outside := slices.ContainsFunc(w.standing, func(f *IssueFinding) bool { return f.Cause == "outside" && f.Action != "no-op" })
		if outside {
			parts = append(parts, "`plumbline correct` puts back what may be corrected", "`plumbline adopt` writes what is real into the configuration, in a pull request")
		}
		parts = append(parts, "`plumbline drift` looks again")
	}
	parts = append(parts, "`plumbline help` tells more")
	return "---\n<sub>Comment: " + strings.Join(parts, " · ") + "</sub>\n"
}
