package web

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// drift says how it stands with drift, where it is paused, and how it came and went.
func drift(d engine.DriftSummary, now time.Time) *driftView {
	var v driftView
	all, parts := 0, []string{}
	for _, one := range []struct {
		state engine.SweepState
		text  string
	}{
		{engine.SweepDrifted, "drifted"}, {engine.SweepUnknown, "of which it is not known"},
		{engine.SweepClean, "clean"}, {engine.SweepNever, "not looked at yet"},
	} {
		if n := d.States[one.state]; n > 0 {
			all += n
			parts = append(parts, strconv.Itoa(n)+" "+one.text)
		}
	}
	if all == 0 && len(d.Pauses) == 0 {
		return nil
	}
	v.Text = "Workspaces that are looked at: " + strconv.Itoa(all)
	if all > 0 {
		v.Text += "; " + strings.Join(parts, ", ")
	}
	v.Text += fmt.Sprintf(". Findings: %d. Overdue: %d.", d.Findings, d.Overdue)
	for i, p := range d.Pauses {
		if i == maxPauses {
			v.Pauses = append(v.Pauses, pauseView{What: fmt.Sprintf("and %d more.", len(d.Pauses)-i)})
			break
		}
		what := "everything"
		switch {
		case p.Workspace != "":
			what = clean(p.Workspace) + " of " + clean(string(p.Repository))
		case p.Repository != "":
			what = "all of " + clean(string(p.Repository))
		}
		v.Pauses = append(v.Pauses, pauseView{what, forge.Cut(spelled(p.String()), 600)})
	}
	v.More = d.MoreHistories
	for _, h := range d.Histories {
		v.Histories = append(v.Histories, history(h, now))
	}
	return &v
}

// history says how drift of a workspace came and went.
func history(h engine.DriftHistory, now time.Time) historyView {
	v := historyView{
		Repository: clean(string(h.Repository)), Name: clean(h.Workspace), Status: look(string(h.State), ""),
		Since: at(h.Since, now), Checked: at(h.CheckedAt, now),
	}
	if h.Overdue {
		v.Remarks = append(v.Remarks, "overdue")
	}
	if h.Fights > 0 {
		v.Remarks = append(v.Remarks, strconv.Itoa(h.Fights)+" fought over")
	}
	for _, who := range h.Who {
		text := clean(who.Address) + " was changed by " + clean(who.By) + " with " + clean(who.Event)
		if who.From != "" {
			text += ", from " + clean(who.From)
		}
		v.Who = append(v.Who, turnView{at(who.At, now), text})
	}
	for _, l := range h.Turns {
		v.Turns = append(v.Turns, turnView{at(l.At, now), turn(l)})
	}
	return v
}

// turn says what a look saw: how many findings of which cause and class.
func turn(l engine.Look) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(l.Counts)) {
		parts = append(parts, strconv.Itoa(l.Counts[kind])+" "+clean(strings.ReplaceAll(kind, "/", " ")))
	}
	if len(parts) == 0 && l.State != engine.SweepUnknown {
		parts = append(parts, "clean")
	}
	if l.State == engine.SweepUnknown {
		parts = append([]string{"no answer"}, parts...)
	}
	if l.Corrected > 0 {
		parts = append(parts, strconv.Itoa(l.Corrected)+" corrected")
	}
	return strings.Join(parts, ", ")
}
