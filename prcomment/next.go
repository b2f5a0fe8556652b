package prcomment

import (
	"strings"
	"unicode"
)

// next says what to do about an apply that did not do all of it, or a lock that was not released.
func (w *renderer) next() {
	if w.report.Kind != KindApply && w.report.Kind != KindUnlock {
		return
	}
	var lines []string
	advise := func(verb, before, after string, is func(*Workspace) bool) {
		var members []*Workspace
		for _, ws := range w.workspaces {
			if w.report.Kind == KindApply && is(ws) && (ws.Next == "" || ws.nothingLeft()) {
				members = append(members, ws)
			}
		}
		if len(members) > 0 {
			lines = append(lines, "- "+w.names(members, 8, w.name)+": "+before+w.command(verb, members)+after)
		}
	}
	if w.report.Commands {
		advise("unlock", "the state is locked. ", " says by whom, and releases the lock if the run that left it is surely gone.",
			func(ws *Workspace) bool { return ws.Locked })
	}
	partly := func(ws *Workspace) bool { return ws.Status == StatusPartly }
	failed := func(ws *Workspace) bool { return ws.Status == StatusFailed }
	// A merged change can only be mended around its code, or by another change.
	const outside = "if the cause lies outside of the code, remove it; then "
	const inside = " shows here what is left to do, and `plumbline apply` applies exactly that. If it lies in the code, mend it in a new pull request: its plan holds the rest too."
	if w.report.Commands && w.report.Merged {
		advise("plan", "what was done is in the state, the rest is not. There are two ways on: "+outside, inside, partly)
	} else {
		advise("plan", "what was done is in the state, the rest is not. Remove the cause, then ", " shows what is left to do.", partly)
	}
	if w.report.Commands {
		advise("apply", "a new plan is made and shown in this pull request: it says what is left to do, and ", " applies that.",
			func(ws *Workspace) bool { return ws.Status == StatusInterrupted })
	} else {
		advise("plan", "what was done is in the state, if the state could be saved. ", " shows what is left to do.",
			func(ws *Workspace) bool { return ws.Status == StatusInterrupted })
	}
	if w.report.Commands && w.report.Merged {
		advise("plan", "nothing was changed. There are two ways on: "+outside, inside, failed)
	} else {
		advise("plan", "nothing was changed. Remove the cause, then ", ".", failed)
	}
	const empty = "nothing was changed, and a new plan would change nothing any more. What was reviewed and is no longer planned is listed below; "
	if w.report.Commands {
		advise("apply", empty, " settles it.", (*Workspace).nothingLeft)
		advise("apply", "nothing was changed. Read the new plan below; if it is what you want, ", " applies it.",
			func(ws *Workspace) bool { return ws.Status == StatusHeld && ws.Plan != nil && !ws.nothingLeft() })
	} else {
		// Where nobody listens, only a plan that was made to be read can be applied.
		advise("plan", empty, " makes the empty plan the reviewed one.", (*Workspace).nothingLeft)
		advise("plan", "nothing was changed. Read the new plan below; if it is what you want, ", " makes it the reviewed one.",
			func(ws *Workspace) bool { return ws.Status == StatusHeld && ws.Plan != nil && !ws.nothingLeft() })
	}
	advise("plan", "nothing was changed. Plan again: ", ".",
		func(ws *Workspace) bool { return ws.Status == StatusHeld && ws.Plan == nil })
	advise("apply", "nothing was changed. When what it depends on is applied, ", ".",
		func(ws *Workspace) bool { return ws.Status == StatusSkipped })
	for _, ws := range w.workspaces {
		if ws.Next != "" && !ws.nothingLeft() {
			lines = append(lines, "- "+w.name(ws.Name)+": "+w.text(ws.Next))
		}
	}
	if len(lines) > 0 {
		w.pages.section(section{open: "**What to do next**\n\n", lines: lines, close: "\n"})
	}
}

// nothingLeft says that what was reviewed needs no apply any more: the plan that took its place is empty.
func (ws *Workspace) nothingLeft() bool {
	return ws.Status == StatusHeld && ws.Reviewed != nil && ws.Plan != nil && !totalsOf(ws.Plan).changes()
}

// command is what to comment, or to type into a shell where no server reads comments.
func (w *renderer) command(verb string, members []*Workspace) string {
	const most = 4
	if len(members) > most {
		members = nil
	}
	command := "plumbline " + verb
	for i, ws := range members {
		name := w.writable(ws.Name, maxName/len(members)-20)
		switch {
		case w.report.Commands:
			command += " " + workspaceFlag(name)
		case i == 0 && hasDash(members):
			command += " -- " + shellWord(name) // else it would be taken for a flag
		default:
			command += " " + shellWord(name)
		}
	}
	return code(command)
}

// writable is a name as it goes into a command, or NAME where it cannot be written out, in longest bytes with its quotes.
// Once it is quoted nothing may be cut, masked or spelled out any more: what is lost might be a quote.
func (w *renderer) writable(name string, longest int) string {
	shown := visible(w.redactor.redact(name), false)
	odd := strings.Count(name, "'") + strings.Count(name, `"`) + strings.Count(name, `\`)
	if shown != name || strings.Contains(name, "\t") || len(name)+3*odd > longest {
		return "NAME"
	}
	return name
}

func hasDash(members []*Workspace) bool {
	for _, ws := range members {
		if strings.HasPrefix(ws.Name, "-") {
			return true
		}
	}
	return false
}

// shellWord quotes a name for a POSIX shell, where it needs quotes. What is not plainly harmless does: directories are
// named by whoever opens a pull request, and somebody pastes what we print.
func shellWord(s string) string {
	harmful := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./@:+,", r))
	}
	if s != "" && !strings.ContainsFunc(s, harmful) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// workspaceFlag picks a workspace in a command that ParseCommand reads.
func workspaceFlag(name string) string {
	if isFlag(name) {
		return "-w=" + commentWord(name)
	}
	return "-w " + commentWord(name)
}

// commentWord quotes a name for ParseCommand, where it needs quotes. Its quotes are no shell's.
func commentWord(s string) string {
	special := func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("\"'\\`“”„–—", r) }
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	s = strings.ReplaceAll(s, `\`, `\\`)
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
}
