package engine

import (
	"slices"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/notify"
)

// news is what people are to be told of a look: what was not so at the look before. What goes on is told once.
func (t *task) news(was SweepState, look Look, left []drift.Judged, rows []FindingRow) []notify.Event {
	quiet := map[string]bool{} // what makes nobody's workspace a drifted one
	for _, j := range left {
		quiet[j.Key] = !stands(j)
	}
	found := map[notify.State][]notify.Finding{}
	add := func(state notify.State, f FindingRow) {
		found[state] = append(found[state], notify.Finding{Address: f.Address, Class: string(f.Class), Cause: string(f.Cause)})
	}
	for _, f := range rows {
		before, known := t.seenBefore(f.Key)
		known = known && before.GoneAt.IsZero()
		switch {
		case !f.CorrectedAt.IsZero():
			add(notify.Corrected, f)
		case !f.StoppedAt.IsZero() && before.StoppedAt.IsZero():
			add(notify.Fight, f)
		case !known && !quiet[f.Key]:
			add(notify.Drifted, f)
		}
	}
	var events []notify.Event
	tell := func(state notify.State, note string) {
		events = append(events, notify.Event{Workspace: look.Workspace, State: state, Findings: found[state], Note: note})
	}
	for _, state := range notify.States {
		if len(found[state]) > 0 {
			tell(state, "")
		}
	}
	switch {
	case look.State == SweepUnknown && was != SweepUnknown:
		// Why is in words of a provider, which belong into the issue and not into a chat.
		tell(notify.Unknown, "It could not be found out whether it has drifted.")
	case look.State == SweepClean && (was == SweepDrifted || was == SweepUnknown) && len(found[notify.Corrected]) == 0:
		tell(notify.Clean, "")
	}
	return slices.Clip(events)
}
