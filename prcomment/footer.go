package prcomment

import "strings"

// footer says what can be commented.
func (w *renderer) footer() {
	if !w.report.Commands || len(w.workspaces) == 0 && w.report.Notice == "" {
		return
	}
	n := w.tally()
	lead := "Comment: "
	var parts []string
	switch w.report.Kind {
	case KindApply:
		if n[StatusHeld] > 0 {
			parts = append(parts, "`plumbline apply` applies what is held, as it is shown here")
		}
		if n[StatusApplied]+n[StatusUnchanged]+n[StatusRemoved] < len(w.workspaces) {
			parts = append(parts, "`plumbline plan` plans again")
		}
	case KindDrift, KindUnlock:
	default:
		if n[StatusPlanned]+n[StatusHeld] > 0 && n[StatusWaiting]+n[StatusRunning] == 0 && w.report.Notice == "" {
			switch {
			case w.report.Merging:
				lead = "Merging applies this. Comment: "
			case len(w.workspaces) > 1:
				parts = append(parts, "`plumbline apply` applies all of it", "`plumbline apply -w NAME` one workspace")
			default:
				parts = append(parts, "`plumbline apply` applies it")
			}
		}
		if len(w.workspaces) > 0 { // else the notice says what would help
			parts = append(parts, "`plumbline plan` plans again")
		}
	}
	parts = append(parts, "`plumbline help` tells more")
	w.pages.block("---\n<sub>" + lead + strings.Join(parts, " · ") + "</sub>\n")
}
