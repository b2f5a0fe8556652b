package prcomment

import "strings"

// next says what to do about an apply that did not do all of it.
func (w *renderer) next() {
	if w.report.Kind != KindApply {
		return
	}
	var lines []string
	advise := func(verb, before, after string, is func(*Workspace) bool) {
		var members []*Workspace
		for _, ws := range w.workspaces {
			if ws.Next == "" && is(ws) {
				members = append(members, ws)
			}
		}
		if len(members) > 0 {
			lines = append(lines, "- "+w.names(members, 8, w.name)+": "+before+w.command(verb, members)+after)
		}
	}
	advise("plan", "what was done is in the state, the rest is not. Remove the cause, then ", " shows what is left to do.",
		func(ws *Workspace) bool { return ws.Status == StatusPartly })
	advise("plan", "nothing was changed. Remove the cause, then ", ".",
		func(ws *Workspace) bool { return ws.Status == StatusFailed })
	if w.report.Commands {
		advise("apply", "nothing was changed. Read the new plan below; if it is what you want, ", ".",
			func(ws *Workspace) bool { return ws.Status == StatusHeld && ws.Plan != nil })
	} else {
		// Where nobody listens, only a plan that was made to be read can be applied.
		advise("plan", "nothing was changed. Read the new plan below; if it is what you want, ", " makes it the reviewed one.",
			func(ws *Workspace) bool { return ws.Status == StatusHeld && ws.Plan != nil })
	}
	advise("plan", "nothing was changed. Plan again: ", ".",
		func(ws *Workspace) bool { return ws.Status == StatusHeld && ws.Plan == nil })
	advise("apply", "nothing was changed. When what it depends on is applied, ", ".",
		func(ws *Workspace) bool { return ws.Status == StatusSkipped })
	for _, ws := range w.workspaces {
		if ws.Next != "" {
			lines = append(lines, "- "+w.name(ws.Name)+": "+w.text(ws.Next))
		}
	}
	if len(lines) > 0 {
		w.pages.section(section{open: "**What to do next**\n\n", lines: lines, close: "\n"})
	}
	w.unapplied()
}

// unapplied names what partly applied workspaces did not reach.
func (w *renderer) unapplied() {
	for _, ws := range w.workspaces {
		if ws.Status != StatusPartly || len(ws.Unapplied) == 0 {
			continue
		}
		const most = 100
		var lines []string
		for _, address := range ws.Unapplied[:min(len(ws.Unapplied), most)] {
			lines = append(lines, "- "+spanned(w.redactor, address))
		}
		if len(ws.Unapplied) > most {
			lines = append(lines, "- and "+number(len(ws.Unapplied)-most)+" more")
		}
		w.pages.section(section{open: "Not applied in " + w.name(ws.Name) + ":\n\n", lines: lines, close: "\n"})
	}
}

// command is what to comment, or to type where no server reads comments.
func (w *renderer) command(verb string, members []*Workspace) string {
	const most = 4
	command := "plumbline " + verb
	if len(members) <= most {
		for _, ws := range members {
			name := argument(shorten(ws.Name, maxShown))
			if w.report.Commands {
				name = "-w " + name
			}
			if len(command)+len(name) < maxName-50 {
				command += " " + name
			}
		}
	}
	return code(w.redactor.redact(command))
}

// argument quotes a name for a command, where it needs quotes.
func argument(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\r\n\"'\\`") {
		return s
	}
	s = strings.ReplaceAll(s, `\`, `\\`)
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
}

// footer says what can be commented.
func (w *renderer) footer() {
	if !w.report.Commands || len(w.workspaces) == 0 {
		return
	}
	n := w.tally()
	var parts []string
	switch w.report.Kind {
	case KindApply:
		parts = append(parts, "`plumbline plan` plans again")
	case KindDrift:
	default:
		if n[StatusPlanned]+n[StatusHeld] > 0 {
			parts = append(parts, "`plumbline apply` applies all of it", "`plumbline apply -w NAME` one workspace")
		}
		parts = append(parts, "`plumbline plan` plans again")
	}
	parts = append(parts, "`plumbline help` tells more")
	w.pages.block("---\n<sub>Comment: " + strings.Join(parts, " · ") + "</sub>\n")
}
