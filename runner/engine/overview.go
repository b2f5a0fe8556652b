package engine

import (
	"time"

	"github.com/plumbline-dev/plumbline/drift"
)

// Overview is what the page shows: how things stand, and what happened last.
type Overview struct {
	Repositories []Repository // by id
	// Workspaces of default branches, by repository and name, and how many there are beyond the first few hundred.
	Workspaces     []WorkspaceRow
	MoreWorkspaces int
	Operations     []OperationSummary // the newest first
	Drift          DriftSummary
}

// DriftSummary is how it stands with drift, over all workspaces of default branches.
type DriftSummary struct {
	States   map[SweepState]int // workspaces that are looked at, or were
	Findings int
	Overdue  int // workspaces that were not looked at for twice their interval
	Pauses   []Pause
	// Histories are of workspaces that have drifted, are not known, are overdue, or had findings lately, and how many there
	// are beyond the first few dozen.
	Histories     []DriftHistory
	MoreHistories int
}

// DriftHistory is how drift of one workspace came and went.
type DriftHistory struct {
	Repository RepoID
	Workspace  string
	State      SweepState
	Since      time.Time // when it came to be in that state
	CheckedAt  time.Time // of the newest look that came to an answer; zero before the first
	Overdue    bool
	Fights     int    // findings that wait for a person, because something puts them back
	Turns      []Look // in the last month, the newest first
	// Who are traces of who changed what is there now, a few of them.
	Who []WhoChanged
}

// WhoChanged is a trace of who changed a resource outside.
type WhoChanged struct {
	Address string
	drift.Trace
}

// OperationSummary is an operation with what came of it.
type OperationSummary struct {
	Operation
	Title, URL string // of its change
	Runs       []RunSummary
}

// RunSummary is a run in a few words.
type RunSummary struct {
	Workspace string
	Status    Status
	Phase     Phase
}
