package prcomment

import "time"

// Trace is something that was done to a resource, as its cloud's own log tells it.
type Trace struct {
	At      time.Time
	By      string // who did it
	From    string // where the request came from; "" = not known
	Event   string // what was asked for, as the cloud calls it
	Service string // of whom
}

// trace writes a trace as the rest of a sentence: who, when, what and from where.
func (w *renderer) trace(t Trace) string {
	show := func(s string) string { return code(shorten(w.redactor.redact(s), 200)) }
	text := show(t.By)
	if !t.At.IsZero() {
		text += " at " + moment(t.At)
	}
	if t.Event != "" {
		text += " with " + show(t.Event)
	}
	if t.Service != "" {
		text += " of " + w.short(t.Service)
	}
	if t.From != "" {
		text += ", from " + show(t.From)
	}
	return text
}

// traces lists who changed what, where somebody has found out.
func (w *renderer) traces(ws *Workspace) {
	const most = 50
	var lines []string
	more := 0
	for _, f := range ws.Findings {
		if f.Ignored {
			continue
		}
		for _, t := range f.Who {
			if len(lines) == most {
				more++
				continue
			}
			lines = append(lines, "- "+code(shorten(w.redactor.redact(f.Address), 200))+": "+w.trace(t))
		}
	}
	if len(lines) == 0 {
		return
	}
	if more > 0 {
		lines = append(lines, "- and "+number(more)+" more")
	}
	const head = "Who changed it, as far as the cloud's own log tells:\n\n"
	w.pages.section(section{open: head, reopen: head, lines: lines, close: "\n"})
}
