package web

import (
	"context"
	"strconv"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

type driftView struct {
	Text, Class, Cause string // the filter
	States             []statLine
	Overdue            string
	Pauses             []pauseLine
	Actions            []actionLink
	Causes             []string
	Rows               []matrixRow
	Findings           []findingView
	Count              string
	Filtered           bool
	Clear              string
	Pages              pagesView
	Histories          []historyLine
	MoreHistories      int
	Corrections        []entryView
}

type (
	statLine struct {
		mark
		Count string
		URL   string
	}
	pauseLine struct {
		What, Why string
		Actions   []actionLink
	}
	matrixRow struct {
		Class string
		Cells []matrixCell
	}
	matrixCell struct {
		Count, URL string
		Chosen     bool
	}
	historyLine struct {
		Repo, Workspace, URL string
		State                mark
		Remarks              []mark
		Since, Checked       moment
		Turns                []turnView
	}
)

// driftPage is how many findings a page has.
const driftPage = 40

var (
	driftClasses = []drift.Class{drift.ClassCluster, drift.ClassNode, drift.ClassResource}
	driftCauses  = []drift.Cause{drift.CauseOutside, drift.CauseUnapplied, drift.CauseUpgrade, drift.CauseData, drift.CausePerpetual}
)

func texts[T ~string](all []T) []string {
	var written []string
	for _, t := range all {
		written = append(written, string(t))
	}
	return written
}

func (s *site) drift(ctx context.Context, q *query) (any, error) {
	f := engine.DriftFilter{
		Class: drift.Class(q.choice("class", texts(driftClasses)...)), Cause: drift.Cause(q.choice("cause", texts(driftCauses)...)),
		Text: q.text("q"), From: q.number("from"), Limit: driftPage,
	}
	if q.wrong != "" {
		return nil, q
	}
	b, err := s.views.Drift(ctx, q.sight, f)
	if err != nil {
		return nil, err
	}
	now := s.now()
	to := func(class drift.Class, cause drift.Cause, n int) string {
		return address("/drift", "q", f.Text, "class", string(class), "cause", string(cause), "from", from(n))
	}
	v := driftView{
		Text: f.Text, Class: string(f.Class), Cause: string(f.Cause), Causes: texts(driftCauses), Clear: "/drift",
		Filtered: f.Text != "" || f.Class != "" || f.Cause != "", Count: plural(b.Summary.Findings, "finding"), MoreHistories: b.Summary.MoreHistories,
		Pages: pagesOf(f.From, len(b.Findings), b.Found, driftPage, func(n int) string { return to(f.Class, f.Cause, n) }),
	}
	if v.Filtered {
		v.Count = number(b.Found) + " of " + v.Count
	}
	for _, one := range []struct {
		seen  engine.SweepState
		state engine.WorkspaceState
	}{{engine.SweepDrifted, engine.StateDrifted}, {engine.SweepUnknown, engine.StateUnknown}, {engine.SweepClean, ""}, {engine.SweepNever, ""}} {
		if n := b.Summary.States[one.seen]; n > 0 {
			line := statLine{mark: markOf(one.seen), Count: number(n)}
			if one.state != "" {
				line.URL = address("/", "state", string(one.state))
			}
			v.States = append(v.States, line)
		}
	}
	if b.Summary.Overdue > 0 {
		v.States = append(v.States, statLine{mark: markOf("overdue"), Count: number(b.Summary.Overdue)})
	}
	for _, class := range driftClasses {
		row := matrixRow{Class: string(class)}
		for _, cause := range driftCauses {
			cell := matrixCell{Chosen: f.Class == class && f.Cause == cause}
			if n := b.Counts[class][cause]; n > 0 {
				cell.Count, cell.URL = number(n), address("/drift", "class", string(class), "cause", string(cause))
			}
			row.Cells = append(row.Cells, cell)
		}
		v.Rows = append(v.Rows, row)
	}
	all := false // is paused
	for i, p := range b.Summary.Pauses {
		if i == 20 {
			v.Pauses = append(v.Pauses, pauseLine{What: "and " + strconv.Itoa(len(b.Summary.Pauses)-i) + " more"})
			break
		}
		what := "everything"
		switch {
		case p.Workspace != "":
			what = clean(p.Workspace) + " of " + repoName(p.Repository)
		case p.Repository != "":
			what = "all of " + repoName(p.Repository)
		}
		resume := engine.Request{Action: engine.ActResume, Repository: p.Repository}
		if p.Workspace != "" {
			resume.Workspaces = []string{p.Workspace}
		}
		v.Pauses = append(v.Pauses, pauseLine{what, sentence(p.String()), offers(ctx, resume)})
		all = all || p.Repository == ""
	}
	if !all {
		v.Actions = offers(ctx, engine.Request{Action: engine.ActPause})
	}
	room := budget{left: 40_000}
	for _, finding := range b.Findings {
		v.Findings = append(v.Findings, findingOf(finding, now, &room))
	}
	for _, h := range b.Summary.Histories {
		line := historyLine{
			Repo: repoName(h.Repository), Workspace: clean(h.Workspace), URL: workspaceURL(h.Repository, h.Workspace), State: markOf(h.State),
			Since: at(h.Since, now), Checked: at(h.CheckedAt, now),
		}
		if h.Overdue {
			line.Remarks = append(line.Remarks, markOf("overdue"))
		}
		if h.Fights > 0 {
			m := markOf("fight")
			m.Word = strconv.Itoa(h.Fights) + " " + m.Word
			line.Remarks = append(line.Remarks, m)
		}
		for i, l := range h.Turns {
			if i == 3 {
				break
			}
			line.Turns = append(line.Turns, turnView{at(l.At, now), turn(l)})
		}
		v.Histories = append(v.Histories, line)
	}
	for _, e := range b.Corrections {
		v.Corrections = append(v.Corrections, entryOf(e, now))
	}
	return v, nil
}
