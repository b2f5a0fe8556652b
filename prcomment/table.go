package prcomment

import (
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// table lists the workspaces that something is to be said about, the same ones together, and counts the others.
func (w *renderer) table() {
	var rows []*group
	unchanged, removed := 0, 0
	for _, g := range w.groups {
		switch s := g.members[0].Status; {
		case s == StatusUnchanged && len(g.members[0].Findings) == 0:
			unchanged += len(g.members)
		case s == StatusRemoved:
			removed += len(g.members) // told above, and there is nothing to count
		case w.report.Kind == KindDrift && len(g.members[0].Findings) > 0:
		default:
			rows = append(rows, g)
		}
	}
	switch {
	case len(w.workspaces) == 1:
		// The verdict has said all of it but the reasons.
		if reasons := w.workspaces[0].Reasons; len(reasons) > 0 && w.workspaces[0].Status != StatusRemoved {
			w.pages.block(w.name(w.workspaces[0].Name) + ": " + w.reasons(reasons, "; ") + "\n\n")
		}
		return
	case w.report.Kind == KindDrift:
		// The findings have tables of their own.
		rows = slices.DeleteFunc(rows, func(g *group) bool { return len(g.patch.lines) == 0 })
	}
	if len(rows) > 0 {
		w.rows(rows)
	}
	if unchanged > 0 && unchanged < len(w.workspaces) {
		word := "has no changes"
		if unchanged > 1 {
			word = "have no changes"
		}
		switch w.report.Kind {
		case KindDrift:
			word = strings.Replace(word, "changes", "drift", 1)
		case KindUnlock:
			word = strings.Replace(word, "changes", "state lock", 1)
		}
		w.pages.block("<sub>" + count(unchanged, "other workspace", "other workspaces") + " " + word + ".</sub>\n\n")
	}
}

// A column is one kind of count. Those that are nowhere needed are left out.
type column struct {
	title string
	of    func(totals) int
}

func (w *renderer) rows(groups []*group) {
	all := []column{
		{"Import", func(t totals) int { return t.imported }},
		{"Add", func(t totals) int { return t.create }},
		{"Change", func(t totals) int { return t.update }},
		{"Replace", func(t totals) int { return t.replace }},
		{"Destroy", func(t totals) int { return t.destroy }},
		{"Move", func(t totals) int { return t.moved }},
		{"Forget", func(t totals) int { return t.forgotten }},
		{"Output", func(t totals) int { return t.outputs }},
	}
	columns := slices.DeleteFunc(all, func(c column) bool {
		return !slices.ContainsFunc(groups, func(g *group) bool { return c.of(g.totals) > 0 })
	})
	hasStatus := slices.ContainsFunc(groups, func(g *group) bool { return g.members[0].Status != StatusPlanned })
	hasReasons := slices.ContainsFunc(groups, func(g *group) bool {
		return slices.ContainsFunc(g.members, func(ws *Workspace) bool { return len(ws.Reasons) > 0 })
	})
	titles, rules := []string{"Workspace"}, []string{"---"}
	if hasStatus {
		titles, rules = append(titles, "Status"), append(rules, "---")
	}
	for _, c := range columns {
		titles, rules = append(titles, c.title), append(rules, "--:")
	}
	if hasReasons {
		titles, rules = append(titles, "Affected because"), append(rules, "---")
	}
	if len(titles) == 1 {
		titles, rules = append(titles, "Status"), append(rules, "---")
		hasStatus = true
	}
	var lines []string
	size, most := 0, max(w.pages.limit, (w.most-w.pages.number())*w.pages.limit/2)
	for i, g := range groups {
		cells := []string{w.cellNames(g.members)}
		if hasStatus {
			cells = append(cells, w.statusCell(g.members[0].Status))
		}
		for _, c := range columns {
			n := c.of(g.totals)
			switch {
			case n == 0:
				cells = append(cells, "")
			case c.title == "Destroy" || c.title == "Replace":
				cells = append(cells, "**"+number(n)+"**")
			default:
				cells = append(cells, number(n))
			}
		}
		if hasReasons {
			cells = append(cells, w.reasons(reasonsOf(g.members), "<br>"))
		}
		line := "| " + strings.Join(cells, " | ") + " |"
		if size += len(line) + 1; size > most {
			lines = append(lines, "| and "+number(len(groups)-i)+" more |"+strings.Repeat(" |", len(titles)-1))
			break
		}
		lines = append(lines, line)
	}
	w.pages.section(section{
		open:  "| " + strings.Join(titles, " | ") + " |\n| " + strings.Join(rules, " | ") + " |\n",
		lines: lines,
		close: "\n",
	})
}

// cellNames names the workspaces of a row: all of them if they are few.
func (w *renderer) cellNames(members []*Workspace) string {
	const most = 4
	var names []string
	for i, ws := range members {
		if i == most && len(members) > most+1 {
			names = append(names, "and "+number(len(members)-most)+" with the same plan")
			break
		}
		names = append(names, w.cell(ws.Name))
	}
	return strings.Join(names, "<br>")
}

func (w *renderer) statusCell(s Status) string {
	sign := map[Status]string{
		StatusWaiting: "⏳ ", StatusRunning: "⏳ ", StatusFailed: "❌ ", StatusHeld: "⏸️ ", StatusSkipped: "⏭️ ",
		StatusApplied: "✅ ", StatusCorrected: "✅ ", StatusPartly: "❌ ", StatusDrifted: "⚠️ ", StatusInterrupted: "❌ ",
		StatusReleased: "🔓 ",
	}[s]
	return sign + w.text(shorten(w.statusWord(s), 40))
}

// statusWord is a status as a reader of this kind of report would call it.
func (w *renderer) statusWord(s Status) string {
	switch {
	case s == StatusPartly:
		return "partly applied"
	case s == StatusSkipped && w.report.Kind == KindApply:
		return "not started"
	case s == StatusSkipped && w.report.Kind == KindDrift:
		return "not checked"
	case s == StatusSkipped && w.report.Kind == KindUnlock:
		return "not looked at"
	case s == StatusSkipped:
		return "not planned"
	case s == StatusHeld && w.report.Kind == KindUnlock:
		return "still locked"
	case s == StatusUnchanged && w.report.Kind == KindUnlock:
		return "not locked"
	}
	return string(s)
}

// reasonsOf collects the reasons of workspaces, without doubles.
func reasonsOf(members []*Workspace) []string {
	var all []string
	seen := map[string]bool{}
	for _, ws := range members {
		for _, reason := range ws.Reasons {
			if !seen[reason] {
				seen[reason] = true
				all = append(all, reason)
			}
		}
	}
	return all
}

func (w *renderer) reasons(all []string, separator string) string {
	const most, longest = 3, 160
	var out []string
	for i, reason := range all {
		if i == most && len(all) > most {
			out = append(out, "and "+number(len(all)-most)+" more")
			break
		}
		out = append(out, text(shorten(w.redactor.redact(reason), longest)))
	}
	return strings.Join(out, separator)
}

// failingChecks are the assertions of a plan that do not hold.
func failingChecks(plan *tfjson.Plan) []string {
	if plan == nil {
		return nil
	}
	const most = 20
	var problems []string
	for _, check := range plan.Checks {
		if check.Status != tfjson.CheckStatusFail && check.Status != tfjson.CheckStatusError {
			continue
		}
		for _, instance := range check.Instances {
			for _, problem := range instance.Problems {
				if len(problems) < most {
					problems = append(problems, "`"+strings.ReplaceAll(instance.Address.ToDisplay, "`", "'")+"` does not hold: "+problem.Message)
				}
			}
		}
	}
	return problems
}
