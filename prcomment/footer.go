package prcomment

import "strings"

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
