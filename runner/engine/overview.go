package engine

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
