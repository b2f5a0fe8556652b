package engine

import "slices"

// Status says how far a run has come.
type Status string

// The statuses of a run.
const (
	Waiting Status = "waiting" // for others to end first
	Queued  Status = "queued"  // for a worker
	Running Status = "running"

	Planned     Status = "planned"     // there is a plan with changes
	Unchanged   Status = "unchanged"   // there is nothing to do
	Applied     Status = "applied"     // all of its plan was applied
	Partly      Status = "partly"      // the apply stopped on the way
	Held        Status = "held"        // nothing was applied, because it must not be
	Skipped     Status = "skipped"     // not started: what it depends on did not succeed
	Failed      Status = "failed"      // before anything was changed
	Interrupted Status = "interrupted" // its process died in mid-apply
	Removed     Status = "removed"     // its directory is gone; nothing was run
	Superseded  Status = "superseded"  // stopped or never begun, because of something newer
	Released    Status = "released"    // the state lock was released
	Drifted     Status = "drifted"     // what is real is not what was applied
)

// transitions is the one table of how a run may go on. What is not in it is a bug, and the store refuses it.
var transitions = map[Status][]Status{
	Waiting: {Queued, Skipped, Superseded, Held, Failed},
	Queued:  {Running, Superseded, Skipped, Failed},
	// Back to Queued: given back before anything was applied.
	Running: {Queued, Planned, Unchanged, Applied, Partly, Held, Skipped, Failed, Interrupted, Removed, Superseded, Released, Drifted},
}

// Ended reports whether a run in this status is over.
func (s Status) Ended() bool { return len(transitions[s]) == 0 }

// OK reports whether what depends on a run that ended so may go on.
func (s Status) OK() bool {
	switch s {
	case Planned, Unchanged, Applied, Released:
		return true
	}
	return false
}

// may reports whether the table allows a step.
func (s Status) may(next Status) bool { return slices.Contains(transitions[s], next) }
