package prcomment

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// heading writes the title, the verdict, and what was looked at.
func (w *renderer) heading() {
	if w.report.Title != "" {
		w.pages.block("### " + w.text(w.report.Title) + "\n\n")
	}
	w.pages.block(w.verdict() + "\n")
	var facts []string
	if w.report.Commit != "" {
		fact := "commit " + w.name(shortCommit(w.report.Commit))
		if w.report.Dirty {
			fact += " with uncommitted changes"
		}
		if w.report.Base != "" {
			fact += " against " + w.name(shortCommit(w.report.Base))
		}
		facts = append(facts, fact)
	}
	if w.report.By != "" {
		via := map[string]string{"web": "on the web ", "api": "through the API "}[w.report.Via]
		facts = append(facts, "asked for "+via+"by "+w.name(w.report.By))
	}
	if !w.report.At.IsZero() {
		facts = append(facts, w.report.At.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if len(facts) > 0 {
		w.pages.block("<sub>" + strings.Join(facts, " · ") + "</sub>\n")
	}
	w.pages.block("\n")
}

// tally counts workspaces by status.
func (w *renderer) tally() map[Status]int {
	n := map[Status]int{}
	for _, ws := range w.workspaces {
		n[ws.Status]++
	}
	return n
}

// sum adds up the plans of the workspaces with one of the statuses.
func (w *renderer) sum(statuses ...Status) (t totals, workspaces int) {
	for _, g := range w.groups {
		if slices.Contains(statuses, g.members[0].Status) && g.totals.any() {
			for range g.members {
				t = t.plus(g.totals)
			}
			workspaces += len(g.members)
		}
	}
	return t, workspaces
}

// verdict is the one line that a person can act on.
func (w *renderer) verdict() string {
	all := len(w.workspaces)
	switch {
	case w.report.Notice != "":
		return w.notice()
	case all == 0 && w.report.Base != "":
		return "✅ **No workspace is affected.**"
	case all == 0 && w.report.Kind == KindApply:
		return "**There is no workspace to apply.**"
	case all == 0 && w.report.Kind == KindDrift:
		return "**There is no workspace to check.**"
	case all == 0:
		return "**There is no workspace to plan.**"
	}
	switch w.report.Kind {
	case KindApply:
		return w.applyVerdict(all)
	case KindDrift:
		return w.driftVerdict(all)
	case KindUnlock:
		return w.unlockVerdict(all)
	}
	n := w.tally()
	t, changed := w.sum(StatusPlanned, StatusHeld)
	plan := ""
	if changed > 0 {
		plan = t.words(false)
	}
	of := inWorkspaces(changed, all)
	var tail []string
	if n[StatusHeld] > 0 {
		tail = append(tail, number(n[StatusHeld])+" held")
	}
	if n[StatusSkipped] > 0 {
		tail = append(tail, number(n[StatusSkipped])+" "+w.statusWord(StatusSkipped))
	}
	if n[StatusRemoved] > 0 {
		tail = append(tail, number(n[StatusRemoved])+" removed")
	}
	rest := ""
	if len(tail) > 0 {
		rest = "; " + enumerate(tail)
	}
	pending := n[StatusWaiting] + n[StatusRunning]
	switch {
	case n[StatusFailed] > 0 && n[StatusFailed] == all:
		return "❌ **Plan failed**" + inAll(all)
	case n[StatusFailed] > 0:
		line := "❌ **Plan failed in " + number(n[StatusFailed]) + " of " + count(all, "workspace", "workspaces") + "**"
		if plan != "" {
			line += "; elsewhere **" + plan + "**"
		} else if pending == 0 {
			line += "; no changes in the others"
		}
		if pending > 0 {
			line += "; " + number(pending) + " still to come"
		}
		return line + rest
	case pending > 0:
		line := "⏳ **Planning: " + number(all-pending) + " of " + count(all, "workspace", "workspaces") + " done**"
		if plan != "" {
			line += "; so far " + plan
		}
		return line + rest
	case plan == "" && rest == "":
		return "✅ **No changes**" + inAll(all)
	case plan == "":
		return "**No plan with changes**" + inAll(all) + rest
	case t.destroy+t.replace > 0:
		return "⚠️ **Plan: " + plan + "**" + of + rest
	}
	return "**Plan: " + plan + "**" + of + rest
}

func (w *renderer) applyVerdict(all int) string {
	n := w.tally()
	t, _ := w.sum(StatusApplied)
	did := ""
	if t.any() {
		did = ": " + t.words(true)
	}
	var tail []string
	add := func(k int, words string) {
		if k > 0 {
			tail = append(tail, number(k)+" "+words)
		}
	}
	broken := n[StatusFailed] + n[StatusPartly] + n[StatusInterrupted]
	add(n[StatusFailed], "failed")
	add(n[StatusPartly], "stopped half-way")
	add(n[StatusInterrupted], "interrupted")
	add(n[StatusHeld], "held")
	add(n[StatusSkipped], w.statusWord(StatusSkipped))
	add(n[StatusWaiting]+n[StatusRunning]+n[StatusPlanned], "still to come")
	applied := n[StatusApplied] + n[StatusUnchanged]
	switch {
	case broken > 0:
		line := "❌ **Apply failed in " + number(broken) + " of " + count(all, "workspace", "workspaces") + "** (" + enumerate(tail) + ")"
		if all == 1 {
			line = "❌ **Apply failed**"
			if n[StatusPartly] > 0 {
				line = "❌ **Apply stopped half-way**: part of the plan is applied"
			}
			if n[StatusInterrupted] > 0 {
				line = "❌ **Apply interrupted**: how much of the plan is applied is not known"
			}
		}
		if n[StatusApplied] > 0 {
			line += "; applied in " + number(applied) + did
		}
		return line
	case n[StatusWaiting]+n[StatusRunning]+n[StatusPlanned] > 0:
		return "⏳ **Applying: " + number(applied) + " of " + count(all, "workspace", "workspaces") + " done**" + did
	case n[StatusHeld] > 0 && n[StatusHeld] == all:
		return "⏸️ **Apply held**: nothing was changed" + inAll(all)
	case len(tail) > 0 && n[StatusApplied] == 0:
		return "⏸️ **Nothing was applied**" + inAll(all) + " (" + enumerate(tail) + ")"
	case n[StatusUnchanged] == all:
		return "✅ **Nothing to apply**" + inAll(all)
	case len(tail) > 0:
		return "⏸️ **Applied in " + number(applied) + " of " + count(all, "workspace", "workspaces") + "**" + did + " (" + enumerate(tail) + ")"
	}
	return "✅ **Applied" + did + "**" + inAll(all)
}

func (w *renderer) unlockVerdict(all int) string {
	n := w.tally()
	pending := n[StatusWaiting] + n[StatusRunning]
	of := ""
	if all == 1 {
		of = " of " + w.name(w.workspaces[0].Name)
	}
	switch released := n[StatusReleased]; {
	case pending > 0:
		return "⏳ **Looking at state locks: " + number(all-pending) + " of " + count(all, "workspace", "workspaces") + " done**"
	case released == all:
		return "🔓 **State lock" + of + " released**" + inAll(all)
	case released > 0:
		return "🔓 **State lock released** in " + number(released) + " of " + count(all, "workspace", "workspaces")
	case n[StatusUnchanged] == all:
		return "✅ **No state lock" + of + " to release**" + inAll(all)
	case n[StatusFailed] > 0:
		return "❌ **State lock" + of + " not released**" + inAll(all)
	}
	return "⏸️ **State lock" + of + " not released**" + inAll(all)
}

// notice stands in the verdict's place. What is long or has several lines goes into a fence below it.
func (w *renderer) notice() string {
	lead := "⏸️ **Nothing is planned**"
	switch {
	case w.report.Kind == KindApply:
		lead = "⏸️ **Nothing is applied**"
	case len(w.workspaces) > 0:
		lead = "⏸️ **Planning has stopped**"
	}
	if n := w.report.Notice; len(n) > maxText || strings.Contains(strings.TrimSpace(n), "\n") {
		return lead
	}
	return lead + ": " + w.text(w.report.Notice)
}

// longNotice writes the notice that had no room in the verdict.
func (w *renderer) longNotice() {
	if n := w.report.Notice; len(n) > maxText || strings.Contains(strings.TrimSpace(n), "\n") {
		first, rest, _ := strings.Cut(strings.TrimSpace(n), "\n")
		if len(first) > maxText || strings.TrimSpace(rest) == "" {
			first, rest = "", n
		}
		w.fenced(w.text(first), rest, 6000)
	}
}

func (w *renderer) driftVerdict(all int) string {
	n := w.tally()
	drifted, outputs, allowed, corrected, ignored, places := 0, 0, 0, 0, 0, 0
	for _, ws := range w.workspaces {
		here := 0
		for _, f := range ws.Findings {
			switch {
			case f.Ignored:
				ignored++
				continue
			case f.Corrected:
				corrected++
			case f.Allowed:
				allowed++
			}
			here++
			if f.isOutput() {
				outputs++
			}
		}
		drifted += here
		if here > 0 {
			places++
		}
	}
	failed := ""
	if n[StatusFailed] > 0 {
		failed = "; " + count(n[StatusFailed], "workspace", "workspaces") + " could not be checked"
	}
	if ignored > 0 {
		failed = "; " + number(ignored) + " ignored by rule" + failed
	}
	switch {
	case drifted == 0 && n[StatusFailed] == all:
		return "❌ **Drift could not be checked**" + inAll(all)
	case drifted == 0 && n[StatusFailed] > 0:
		return "❌ **No drift found, but not everywhere could be looked**" + failed
	case drifted == 0:
		return "✅ **No drift**" + inAll(all) + failed
	case corrected == drifted:
		return "✅ **Drift corrected: " + things(drifted-outputs, outputs) + "**" + inWorkspaces(places, all) + failed
	}
	differ := " differ"
	if drifted == 1 {
		differ = " differs"
	}
	line := "⚠️ **Drift: " + things(drifted-outputs, outputs) + differ + "**" + inWorkspaces(places, all)
	var done []string
	if corrected > 0 {
		done = append(done, number(corrected)+" corrected")
	}
	if allowed > 0 {
		done = append(done, number(allowed)+" may be corrected")
	}
	if left := drifted - corrected - allowed; left > 0 && len(done) > 0 {
		done = append(done, number(left)+" left to people")
	}
	if len(done) > 0 {
		line += "; " + enumerate(done)
	} else {
		line += "; none may be corrected"
	}
	return line + failed
}

// things counts what drifted.
func things(resources, outputs int) string {
	var parts []string
	if resources > 0 {
		parts = append(parts, count(resources, "resource", "resources"))
	}
	if outputs > 0 {
		parts = append(parts, count(outputs, "output", "outputs"))
	}
	return enumerate(parts)
}

func inWorkspaces(n, all int) string {
	if all == 1 {
		return ""
	}
	return " in " + number(n) + " of " + count(all, "workspace", "workspaces")
}

func inAll(all int) string {
	if all == 1 {
		return ""
	}
	return " in " + count(all, "workspace", "workspaces")
}

// dangers lists everything that is destroyed or replaced, in the open and to the last address.
func (w *renderer) dangers() {
	w.dangerous(false)
	w.dangerous(true)
}

func (w *renderer) dangerous(past bool) {
	destroys, replaces, affected := 0, 0, 0
	var lines, heads []string
	for _, g := range w.groups {
		status := g.members[0].Status
		isPast := status == StatusApplied || status == StatusCorrected
		if isPast != past || g.totals.destroy+g.totals.replace == 0 || status == StatusUnchanged {
			continue
		}
		affected += len(g.members)
		destroys += g.totals.destroy * len(g.members)
		replaces += g.totals.replace * len(g.members)
		head := ""
		if len(w.workspaces) > 1 {
			const most = 5
			head = ">\n> " + w.names(g.members, most, w.name)
			if len(g.members) > 1 {
				head += " (the same in each)"
			}
			head += "\n>\n"
		}
		for _, c := range changesOf(g.members[0].Plan) {
			word := ""
			switch {
			case c.deed == deedDestroy && past:
				word = "destroyed"
			case c.deed == deedDestroy:
				word = "destroy"
			case c.deed == deedReplace && past:
				word = "replaced"
			case c.deed == deedReplace:
				word = "replace"
			}
			if word == "" {
				break // what follows is less dangerous
			}
			line := "> - **" + word + "** " + spanned(g.redactor, c.Address)
			if c.DeposedKey != "" {
				line += " (deposed object " + spanned(g.redactor, c.DeposedKey) + ")"
			}
			if why := c.why(g.redactor, brief); why != "" {
				line += ": " + why
			}
			lines, heads = append(lines, line), append(heads, head)
		}
	}
	if len(lines) == 0 {
		return
	}
	title := totals{destroy: destroys, replace: replaces}.words(past)
	kind := "CAUTION"
	if past {
		kind = "IMPORTANT"
	}
	end := "\n"
	if len(w.workspaces) == 1 {
		end = "\n>\n" // else the name of the workspace comes, after an empty line of its own
	}
	w.pages.section(section{
		open:   "> [!" + kind + "]\n> **" + title + "**" + inWorkspaces(affected, len(w.workspaces)) + end,
		reopen: "> [!" + kind + "]\n> **" + title + "**, continued" + end,
		lines:  lines,
		heads:  heads,
		close:  "\n",
	})
}

// brief writes a name inside a reason.
func brief(r *redactor, s string) string { return code(shorten(r.redact(s), maxShown)) }

// failures writes errors in fences. The same error in many workspaces is written once.
func (w *renderer) failures() {
	all := w.outcomes(StatusFailed, StatusPartly, StatusInterrupted)
	if len(all) == 0 {
		return
	}
	budget := w.most * w.pages.limit / 4
	each := min(6000, max(400, budget/len(all)))
	left := 0
	for _, o := range all {
		if budget < 0 {
			left += len(o.members)
			continue
		}
		ws := o.members[0]
		word := "failed"
		switch {
		case ws.Status == StatusPartly:
			word = "stopped half-way"
		case ws.Status == StatusInterrupted && len(o.members) > 1:
			word = "were interrupted"
		case ws.Status == StatusInterrupted:
			word = "was interrupted"
		}
		head := "❌ **" + w.names(o.members, 12, w.name) + " " + word + "**"
		if len(o.members) == 1 && ws.Elapsed > 0 {
			head += " after " + elapsed(ws.Elapsed)
		}
		budget -= w.fenced(head, ws.Error, each)
	}
	if left > 0 {
		w.pages.block("❌ " + count(left, "more workspace", "more workspaces") + " failed; the errors are not shown here.\n\n")
	}
}

// outcome is an error, and the workspaces that have it.
type outcome struct{ members []*Workspace }

func (w *renderer) outcomes(statuses ...Status) []*outcome {
	var all []*outcome
	known := map[string]*outcome{}
	for _, ws := range w.workspaces {
		if !slices.Contains(statuses, ws.Status) {
			continue
		}
		key := string(ws.Status) + "\x00" + ws.Error
		if ws.Status == StatusRemoved {
			key += "\x00" + strings.Join(append(append([]string{}, ws.Reasons...), ws.Notes...), "\x00")
		}
		if o := known[key]; o != nil {
			o.members = append(o.members, ws)
			continue
		}
		known[key] = &outcome{members: []*Workspace{ws}}
		all = append(all, known[key])
	}
	return all
}

// fenced writes a message under its heading, shortened to limit bytes, and answers how many bytes it took.
func (w *renderer) fenced(head, message string, limit int) int {
	message = w.message(message)
	if message == "" {
		w.pages.block(head + "\n\n")
		return len(head)
	}
	lines := strings.Split(message, "\n")
	size := 0
	for i, l := range lines {
		lines[i] = unticked(shorten(l, 1500))
		size += len(lines[i]) + 1
	}
	if size > limit {
		lines = middleOut(lines, limit)
	}
	fence := fenceFor(lines)
	w.pages.section(section{
		open: head + "\n\n" + fence + "text\n", reopen: fence + "text\n", lines: lines, close: fence + "\n\n",
	})
	return min(size, limit) + len(head)
}

// message cleans what Terraform printed: no colours, no frame around it, no secrets.
func (w *renderer) message(s string) string {
	const most = 256 << 10
	s = w.redactor.redact(withoutANSI(s))
	if len(s) > most {
		s = shorten(s, most)
	}
	var lines []string
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, " \r\n")
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "╷" || trimmed == "╵":
			continue
		case strings.HasPrefix(trimmed, "│"):
			line = strings.TrimPrefix(strings.TrimPrefix(trimmed, "│"), " ")
		}
		if line == "" && (len(lines) == 0 || lines[len(lines)-1] == "") {
			continue
		}
		lines = append(lines, visible(line, false))
	}
	// Once more: a secret of several lines is whole only without the frame.
	return strings.TrimSpace(w.redactor.redact(strings.Join(lines, "\n")))
}

// middleOut leaves out lines in the middle, keeping about limit bytes.
func middleOut(lines []string, limit int) []string {
	head, tail, size := 0, len(lines), 0
	for head < tail {
		// Two lines of the beginning for one of the end.
		if n := len(lines[head]) + 1; size+n <= limit {
			size += n
			head++
		} else {
			break
		}
		if head%2 == 0 && head < tail {
			if n := len(lines[tail-1]) + 1; size+n <= limit {
				size += n
				tail--
			} else {
				break
			}
		}
	}
	out := slices.Clone(lines[:head])
	if head < tail {
		out = append(out, "[… "+count(tail-head, "line", "lines")+" left out …]")
	}
	return append(out, lines[tail:]...)
}

// attention tells of workspaces that are held, skipped or removed, a line each where a line will do. The lines are
// returned, to stand in one list with the warnings.
func (w *renderer) attention() (lines []string) {
	signs := map[Status]string{StatusHeld: "⏸️", StatusSkipped: "⏭️", StatusRemoved: "🗑️"}
	for _, o := range w.outcomes(StatusHeld, StatusSkipped, StatusRemoved) {
		ws := o.members[0]
		head := signs[ws.Status] + " **" + w.names(o.members, 12, w.name) + " " + w.statusWord(ws.Status) + "**"
		message := strings.TrimPrefix(w.message(ws.Error), w.statusWord(ws.Status)+": ")
		if ws.Status == StatusRemoved {
			if len(ws.Reasons) > 0 {
				head += " (" + w.reasons(ws.Reasons, "; ") + ")"
			}
			// A note tells of its state better than we can; warnings leaves it out.
			message = w.message(strings.TrimSpace(ws.Error + " " + strings.Join(ws.Notes, " ")))
			if message == "" {
				message = "The directory is gone. Its state may still hold resources, which nobody manages from now on."
			}
		}
		switch {
		case message == "":
			lines = append(lines, "- "+head)
		case len(message) <= maxText && !strings.Contains(message, "\n"):
			lines = append(lines, "- "+head+": "+text(message))
		default:
			w.fenced(head, message, 3000)
		}
	}
	return lines
}

// warnings writes what needs attention, the warnings of the report, the checks that fail, and the notes that have no
// diff to stand under: those of workspaces without one, and those that many share.
func (w *renderer) warnings() {
	lines := w.attention()
	for _, warning := range w.report.Warnings {
		lines = append(lines, "- ⚠️ "+w.text(warning))
	}
	for _, note := range w.report.Notes {
		lines = append(lines, "- "+w.text(note))
	}
	for _, g := range w.groups {
		of := ""
		if len(w.workspaces) > 1 {
			of = w.names(g.members, 3, w.name) + ": "
		}
		for _, problem := range failingChecks(g.members[0].Plan) {
			lines = append(lines, "- ⚠️ "+of+text(g.redactor.redact(problem)))
		}
		if !g.hasDiff() {
			for _, note := range g.notes {
				lines = append(lines, "- "+of+w.text(note))
			}
		}
	}
	for _, s := range w.shared {
		of := w.names(s.members, 3, w.name)
		if len(s.members) > 3 {
			of = count(len(s.members), "workspace", "workspaces") + " (" + of + ")"
		}
		lines = append(lines, "- "+of+": "+w.text(s.note))
	}
	const most = 200
	if len(lines) > most {
		more := len(lines) - most
		lines = append(lines[:most], "- and "+number(more)+" more")
	}
	if len(lines) > 0 {
		w.pages.section(section{lines: lines, close: "\n"})
	}
}

func (g *group) hasDiff() bool { return len(g.patch.lines) > 0 || g.patch.missing > 0 }

// elapsed writes a duration as a person would.
func elapsed(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// shortCommit shortens what is a full commit id.
func shortCommit(s string) string {
	if len(s) >= 40 && strings.Trim(s, "0123456789abcdef") == "" {
		return s[:8]
	}
	return s
}
