package api

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Pause says where nothing is looked at nor corrected.
type Pause struct {
	Repository string `json:"repository"` // "": everywhere
	Workspace  string `json:"workspace"`  // "": the whole repository
	Until      Time   `json:"until"`      // null: until it is resumed
	Reason     string `json:"reason"`
	Actor      string `json:"actor"`
	At         Time   `json:"at"`
}

func pauseOf(p engine.Pause) Pause {
	return Pause{string(p.Repository), p.Workspace, at(p.Until), p.Reason, p.Actor, at(p.At)}
}

// Finding is one resource that differs, for as long as it does and a while after.
type Finding struct {
	Repository  string   `json:"repository"`
	Workspace   string   `json:"workspace"`
	Address     string   `json:"address"`
	Class       string   `json:"class"`
	Cause       string   `json:"cause"`
	What        string   `json:"what"`    // happened
	Verdict     string   `json:"verdict"` // what may be done about it
	Reason      string   `json:"reason"`  // of the verdict
	FirstSeen   Time     `json:"first_seen"`
	LastSeen    Time     `json:"last_seen"`
	GoneAt      Time     `json:"gone_at"`
	CorrectedAt Time     `json:"corrected_at"`
	Corrections int      `json:"corrections"`
	Lines       []string `json:"lines"` // what differs, as lines of a diff
	Who         []Trace  `json:"who"`
}

// Trace is somebody who may have done it.
type Trace struct {
	At      Time   `json:"at"`
	By      string `json:"by"`
	From    string `json:"from"`
	Event   string `json:"event"`
	Service string `json:"service"`
}

func findingOf(f engine.FindingView) Finding {
	v := Finding{
		Repository: string(f.Repository), Workspace: f.Workspace, Address: f.Address, Class: string(f.Class), Cause: string(f.Cause), What: f.Detail, Reason: f.Reason,
		FirstSeen: at(f.FirstSeen), LastSeen: at(f.LastSeen), GoneAt: at(f.GoneAt), CorrectedAt: at(f.CorrectedAt), Corrections: f.Corrections, Lines: texts(f.Lines), Who: []Trace{},
	}
	if v.What == "" {
		v.What = f.Outside
	}
	switch {
	case !f.GoneAt.IsZero() && f.CorrectedAt.Equal(f.GoneAt):
		v.Verdict = "corrected"
	case !f.GoneAt.IsZero():
		v.Verdict = "gone"
	case f.Noise:
		v.Verdict = "noise"
	case f.Ignored:
		v.Verdict = "ignored"
	case !f.StoppedAt.IsZero():
		v.Verdict, v.Reason = "fought_over", f.Fight
	case f.Closed:
		v.Verdict, v.Reason = "unknown", "Its details do not open with the key that this server has."
	case f.Allowed && f.Refused == "":
		v.Verdict = "may_be_corrected"
	case f.Allowed:
		v.Verdict, v.Reason = "not_corrected", f.Refused
	default:
		v.Verdict = "not_corrected"
	}
	for _, t := range f.Who {
		v.Who = append(v.Who, Trace{at(t.At), t.By, t.From, t.Event, t.Service})
	}
	return v
}

// Look is what was seen of a workspace from a time on.
type Look struct {
	At        Time           `json:"at"`
	Run       string         `json:"run"`
	State     string         `json:"state"`
	Findings  []FindingCount `json:"findings"`
	Corrected int            `json:"corrected"`
}

// FindingCount is how many findings are of a class and a cause.
type FindingCount struct {
	Class string `json:"class"`
	Cause string `json:"cause"`
	Count int    `json:"count"`
}

func lookOf(l engine.Look) Look {
	v := Look{At: at(l.At), Run: l.Run, State: string(l.State), Findings: []FindingCount{}, Corrected: l.Corrected}
	for _, kind := range slices.Sorted(maps.Keys(l.Counts)) {
		cause, class, _ := strings.Cut(kind, "/")
		v.Findings = append(v.Findings, FindingCount{class, cause, l.Counts[kind]})
	}
	return v
}

// Drift is how it stands with drift over all workspaces of default branches.
type Drift struct {
	States        map[string]int `json:"states"` // how many workspaces are in each
	Overdue       int            `json:"overdue"`
	FindingCount  int            `json:"finding_count"`
	Findings      []FindingCount `json:"findings"`
	Pauses        []Pause        `json:"pauses"`
	Histories     []DriftHistory `json:"histories"` // of workspaces that drift came to or went from lately
	MoreHistories int            `json:"more_histories"`
	Corrections   []Decision     `json:"corrections"` // made and refused, the newest first
}

// DriftHistory is how drift of one workspace came and went.
type DriftHistory struct {
	Repository string `json:"repository"`
	Workspace  string `json:"workspace"`
	State      string `json:"state"`
	Since      Time   `json:"since"`
	CheckedAt  Time   `json:"checked_at"`
	Overdue    bool   `json:"overdue"`
	Fights     int    `json:"fights"`
	Looks      []Look `json:"looks"` // the newest first
}

var (
	sweepStates = []engine.SweepState{engine.SweepNever, engine.SweepClean, engine.SweepDrifted, engine.SweepUnknown}
	classes     = []drift.Class{drift.ClassCluster, drift.ClassNode, drift.ClassResource}
	causes      = []drift.Cause{drift.CauseOutside, drift.CauseUnapplied, drift.CauseUpgrade, drift.CauseData, drift.CausePerpetual}
)

func (a *API) drift(c *call) work {
	return func(ctx context.Context) (any, error) {
		b, err := a.Views.Drift(ctx, c.sight, engine.DriftFilter{})
		if err != nil {
			return nil, err
		}
		s := b.Summary
		v := Drift{
			States: map[string]int{}, Overdue: s.Overdue, FindingCount: s.Findings, Findings: []FindingCount{}, Pauses: all(s.Pauses, pauseOf), MoreHistories: s.MoreHistories,
			Histories: all(s.Histories, func(h engine.DriftHistory) DriftHistory {
				return DriftHistory{string(h.Repository), h.Workspace, string(h.State), at(h.Since), at(h.CheckedAt), h.Overdue, h.Fights, all(h.Turns, lookOf)}
			}),
			Corrections: all(b.Corrections, decisionOf),
		}
		for _, state := range sweepStates {
			v.States[string(state)] = s.States[state]
		}
		for _, class := range classes {
			for _, cause := range causes {
				if n := b.Counts[class][cause]; n > 0 {
					v.Findings = append(v.Findings, FindingCount{string(class), string(cause), n})
				}
			}
		}
		return v, nil
	}
}

func (a *API) findings(c *call) work {
	f := engine.DriftFilter{
		Text: c.text("q"), Class: drift.Class(c.choice("class", texts(classes)...)), Cause: drift.Cause(c.choice("cause", texts(causes)...)), Limit: c.limit(),
	}
	if parts := c.cursor("findings", 1); parts != nil {
		n, err := strconv.Atoi(parts[0])
		if f.From = n; err != nil || n < 0 {
			c.fail("cursor", "is not one that this list has given: take it from next, as it is")
		}
	}
	return func(ctx context.Context) (any, error) {
		b, err := a.Views.Drift(ctx, c.sight, f)
		if err != nil {
			return nil, err
		}
		v := List[Finding]{Items: all(b.Findings, findingOf)}
		if end := f.From + len(b.Findings); len(b.Findings) > 0 && end < b.Found {
			v.Next = c.next("findings", strconv.Itoa(end))
		}
		return v, nil
	}
}
