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
			once := ""
			if w.report.Approvals {
				once = " once it is approved"
			}
			switch {
			case w.report.Merging:
				lead = "Merging applies this" + once + ". Comment: "
			case len(w.workspaces) > 1:
				parts = append(parts, "`plumbline apply` applies all of it"+once, "`plumbline apply -w NAME` one workspace")
			default:
				parts = append(parts, "`plumbline apply` applies it"+once)
			}
		}
		if len(w.workspaces) > 0 { // else the notice says what would help
			parts = append(parts, "`plumbline plan` plans again")
		}
	}
	parts = append(parts, "`plumbline help` tells more")
	w.pages.block(footerOpen + lead + strings.Join(parts, " · ") + footerClose)
}

const (
	footerOpen  = "---\n<sub>"
	footerClose = "</sub>\n"
)

// Settle puts other words in the place of what a page of ours says can be done, for when that is over. It returns the
// page as it is if it does not end with that. The words are ours: they are not escaped.
func Settle(page, words string) string {
	page = strings.ReplaceAll(page, "\r\n", "\n")
	at := strings.LastIndex(page, "\n"+footerOpen)
	if at < 0 || !strings.HasSuffix(strings.TrimRight(page, " \t\n"), strings.TrimSpace(footerClose)) {
		return page
	}
	return page[:at+1] + footerOpen + words + footerClose
}
