package web

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// findingView is one resource that differs.
type findingView struct {
	Repo, Workspace, URL string
	Address              string
	Class, Cause         string
	What                 string // what happened
	Verdict              mark
	Reason               string
	First, Last, Gone    moment
	Corrections          int
	Lines                []diffLine
	Closed               bool
	Who                  []turnView
}

func findingOf(f engine.FindingView, now time.Time, room *budget) findingView {
	v := findingView{
		Repo: repoName(f.Repository), Workspace: clean(f.Workspace), URL: workspaceURL(f.Repository, f.Workspace), Address: clean(f.Address),
		Class: clean(string(f.Class)), Cause: clean(string(f.Cause)), What: sentence(f.Detail), Reason: sentence(f.Reason), Closed: f.Closed,
		First: at(f.FirstSeen, now), Last: at(f.LastSeen, now), Gone: at(f.GoneAt, now), Corrections: f.Corrections,
	}
	if v.What == "" {
		v.What = clean(f.Outside)
	}
	switch {
	case !f.GoneAt.IsZero() && f.CorrectedAt.Equal(f.GoneAt):
		v.Verdict = markOf("fixed")
	case !f.GoneAt.IsZero():
		v.Verdict = markOf("gone")
	case f.Noise:
		v.Verdict = markOf("noise")
	case f.Ignored:
		v.Verdict = markOf("ignored")
	case !f.StoppedAt.IsZero():
		v.Verdict, v.Reason = markOf("fight"), sentence(f.Fight)
	case f.Closed:
		v.Verdict = markOf(engine.SweepUnknown)
	case f.Refused != "" && f.Allowed:
		v.Verdict, v.Reason = markOf("not"), sentence("it may be corrected, but nothing was: "+f.Refused)
	case f.Allowed:
		v.Verdict = markOf("may")
	default:
		v.Verdict = markOf("not")
	}
	if f.GoneAt.IsZero() {
		v.Lines, _ = room.lines(f.Lines, room.left)
	}
	for _, t := range f.Who {
		text := clean(t.By) + " with " + clean(t.Event)
		if t.From != "" {
			text += ", from " + clean(t.From)
		}
		v.Who = append(v.Who, turnView{at(t.At, now), text})
	}
	return v
}

// turn says what a look saw: how many findings of which cause and class.
func turn(l engine.Look) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(l.Counts)) {
		parts = append(parts, strconv.Itoa(l.Counts[kind])+" "+clean(strings.ReplaceAll(kind, "/", " ")))
	}
	switch {
	case l.State == engine.SweepUnknown:
		parts = append([]string{"no answer"}, parts...)
	case l.State == engine.SweepNever:
		parts = append([]string{"not on the branch any more"}, parts...)
	case len(parts) == 0:
		parts = append(parts, "clean")
	}
	if l.Corrected > 0 {
		parts = append(parts, strconv.Itoa(l.Corrected)+" corrected")
	}
	return strings.Join(parts, ", ")
}
