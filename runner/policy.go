package runner

import (
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/schedule"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// rules is the workspace whose settings count for a workspace.
func (o DriftOptions) rules(w *workspaces.Workspace) *workspaces.Workspace {
	if o.Rules != nil {
		return o.Rules
	}
	return w
}

// driftPolicy translates a workspace's settings, which package workspaces has
// checked as text, into the words of package drift.
func driftPolicy(w *workspaces.Workspace, o DriftOptions) (drift.Policy, map[string]drift.Class, error) {
	fail := func(what string, err error) (drift.Policy, map[string]drift.Class, error) {
		return drift.Policy{}, nil, fmt.Errorf("%s of %s (%s): %w", what, w.Name, w.Source, err)
	}
	w = o.rules(w)
	p := drift.Policy{Correct: map[drift.Class]drift.Ladder{}, AtMost: drift.All, MaxChanges: w.Drift.MaxChanges, Stopped: o.Stopped, Paused: o.Paused}
	for class, ladder := range w.Drift.Correct {
		l, err := drift.ParseLadder(ladder)
		if err != nil {
			return fail("drift.correct."+class, err)
		}
		p.Correct[drift.Class(class)] = l
	}
	if o.AtMost != nil {
		p.AtMost, p.Default = *o.AtMost, *o.AtMost
	}
	for _, text := range w.Drift.Windows {
		window, err := schedule.ParseWindow(text)
		if err != nil {
			return fail("drift.windows", err)
		}
		p.Windows = append(p.Windows, window)
	}
	for _, rule := range w.Drift.Ignore {
		ignore := drift.Ignore{Address: rule.Address, Attributes: rule.Attributes, Owner: rule.Owner, Reason: rule.Reason}
		if rule.Until != "" {
			until, err := time.Parse(time.DateOnly, rule.Until)
			if err != nil {
				return fail("drift.ignore.until", err)
			}
			ignore.Until = until
		}
		p.Ignore = append(p.Ignore, ignore)
	}
	classes := map[string]drift.Class{}
	for pattern, class := range w.Drift.Classes {
		classes[pattern] = drift.Class(class)
	}
	return p, classes, nil
}
