package runner

import (
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Status is how one workspace's part of a run ended.
type Status string

const (
	// Planned: the plan holds changes and is stored.
	Planned Status = "planned"
	// Unchanged: there is nothing to do.
	Unchanged Status = "unchanged"
	// Applied: every change of the plan was made.
	Applied Status = "applied"
	// Partly: the apply failed after it had begun; some changes may be made.
	Partly Status = "partly applied"
	// Held: nothing was applied, because what would be applied is not what was
	// reviewed. Result.Hold says why.
	Held Status = "held"
	// Skipped: not started, because something it depends on did not succeed or
	// because the run was interrupted.
	Skipped Status = "skipped"
	// Failed: Terraform or its preparation failed before anything was changed.
	Failed Status = "failed"
	// Drifted: reality differs from what was applied. Result.Drift says how.
	Drifted Status = "drifted"
	// Removed: the workspace's directory is gone; nothing was run.
	Removed Status = "removed"
)

// past says of a workspace, in the past tense, how it ended.
func (s Status) past() string {
	switch s {
	case Failed:
		return "has failed"
	case Partly:
		return "was applied in part"
	case Held:
		return "is held"
	case Skipped:
		return "was not started"
	}
	return "is " + string(s)
}

// Result is how one workspace's part of a run ended.
type Result struct {
	Workspace *workspaces.Workspace
	Status    Status
	// Receipt is that of the plan that was made or applied; zero if none was.
	Receipt planstore.Plan
	// Plan is what would change or was changed; nil when nothing was planned
	// or the plan is empty.
	Plan *tfjson.Plan
	// Err is why Status is Failed, Partly or Skipped.
	Err error
	// Hold is set when Status is Held.
	Hold *Hold
	// Drift is set by Runner.Drift.
	Drift *DriftResult
	// Adoption is set by Runner.Adopt.
	Adoption *Adoption
	// Notes are facts that a person should know, in whole sentences.
	Notes []string
	// Kept is the place in the plan store of a state that Terraform could not
	// save; "" almost always.
	Kept string
	// Elapsed is the time from start to end, waiting excluded.
	Elapsed time.Duration
}

// OK reports whether a dependent may go on after this result.
func (r Result) OK() bool {
	switch r.Status {
	case Planned, Unchanged, Applied, Drifted:
		return true
	}
	return false
}

// changedSomething reports whether what dependents read may have moved.
func (r Result) changedSomething() bool {
	return r.Status == Applied && r.Receipt.Counts.Any()
}

// Hold says why a reviewed plan was not applied.
type Hold struct {
	// Reason is one sentence: what is not as it was.
	Reason string
	// Differences name what the new plan does otherwise than the reviewed one,
	// a line each; empty when there is no new plan.
	Differences []string
	// Next is what to do about it.
	Next string
	// Plan is what would be applied now; nil when nothing was planned again.
	Plan *tfjson.Plan
	// Fingerprint is that of Plan.
	Fingerprint string
	// PlanID is that of Plan where it is kept as a proposal; "" where it is not
	// in the plan store, as on the command line.
	PlanID string
}

// DriftResult is what one sweep of one workspace found and did.
type DriftResult struct {
	Verdict drift.Verdict
	// Left is what stands after a correction; the same as Verdict where nothing was corrected.
	Left drift.Verdict
	// Perpetual are the keys of findings that were there again right after they had been corrected: noise, and known as
	// such from now on.
	Perpetual []string
	// Returned are the keys of findings that were there again right after they had been corrected, and are no noise: somebody
	// or something else wants them otherwise. They stand in Left as any other.
	Returned []string
	// Corrected are the findings that were corrected and found clean after.
	Corrected []drift.Finding
	// Refused is why nothing was corrected although something was allowed;
	// nil when nothing stood in the way.
	Refused error
	// Remaining counts the findings that still stand, ignored ones excluded.
	Remaining int
}
