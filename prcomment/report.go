package prcomment

import (
	"time"

	tfjson "github.com/hashicorp/terraform-json"
)

// Kind says what a report tells about.
type Kind string

// The kinds of report. The zero value is read as KindPlan.
const (
	KindPlan   Kind = "plan"
	KindApply  Kind = "apply"
	KindDrift  Kind = "drift"
	KindUnlock Kind = "unlock"
	KindReply  Kind = "reply" // only in the mark of what Reply writes
)

// Status says how far a workspace came.
type Status string

// The statuses of a workspace. Any other value is shown as it is.
const (
	StatusWaiting   Status = "waiting"   // its turn has not come; the comment is edited when it has
	StatusRunning   Status = "running"   // Terraform is at work
	StatusPlanned   Status = "planned"   // there is a plan with changes
	StatusUnchanged Status = "unchanged" // nothing to do; counted, never listed
	StatusFailed    Status = "failed"    // Error says why; nothing was changed
	StatusHeld      Status = "held"      // it could run, but must not; Error says why
	StatusSkipped   Status = "skipped"   // something it depends on did not succeed; Error says what
	StatusRemoved   Status = "removed"   // its directory is gone, its state may not be
	StatusApplied   Status = "applied"   // all of its plan was applied
	StatusPartly    Status = "partly"    // the apply stopped half-way; Error says why
	StatusDrifted   Status = "drifted"   // Findings say what drifted
	StatusCorrected Status = "corrected" // drift was found and all that may be corrected was
	// StatusInterrupted is an apply whose Plumbline died: how much of it was done is not known. Error says what is.
	StatusInterrupted Status = "interrupted"
	StatusReleased    Status = "released" // the state lock that a dead run had left is gone; Notes say whose it was
)

// Report is everything that one comment tells. All of its strings are plain text: Render escapes them. A pair of
// backticks around a few words makes them code in Title, Notice, Warnings, Reasons, Notes, and Finding.Reason; nothing
// else is markup.
type Report struct {
	Kind   Kind
	Title  string // shown as a heading above the verdict; "" = none
	Commit string // what was planned or applied; 40 hex digits are shortened to 8
	Dirty  bool   // what was planned or applied is Commit with changes that are not committed
	Base   string // what Commit was compared with: a branch or a commit; "" = not said
	By     string // login of who asked for it; "" = nobody did, or it is not said
	Via    string // where they asked: "web" or "api"; "" = in a comment, or it is not said
	// Notice is why nothing is planned or applied, in a sentence or in many lines. It stands in the verdict's place; ""
	// where there is a verdict.
	Notice     string
	Workspaces []Workspace
	Warnings   []string  // of the report as a whole
	Notes      []string  // likewise, of what is no cause for concern
	Merging    bool      // merging the change applies what is planned; false where a command does
	Approvals  bool      // what is planned takes approvals before it is applied; Notes say which
	Merged     bool      // the change is merged, so that its code can be mended by another one only
	Commands   bool      // end with what can be commented; false where nobody listens (CI, a terminal)
	Key        string    // hidden in every page, so that Parse finds it again; no secret, no text of users
	Shows      string    // hidden likewise: what its maker wants to know again of what it shows; the same rules as for Key
	Secrets    []string  // values that must not be shown, in whatever form; shorter than 6 bytes are ignored
	MaxPages   int       // diffs are summarised beyond so many pages; 0 = 10; destroys and replaces go on regardless
	At         time.Time // when it was made; zero = not said
}

// Workspace is what happened to one workspace.
type Workspace struct {
	Name   string
	Dir    string // shown only where it says more than Name
	Status Status
	// Reasons say why the workspace is affected, most telling first.
	Reasons []string
	// Plan is what Terraform wants to do, or did. Only ResourceChanges, ResourceDrift, DeferredChanges,
	// OutputChanges, Checks and ActionInvocations are read: the rest may be dropped to save memory.
	Plan *tfjson.Plan
	// Reviewed is the plan that was approved, where Plan has taken its place: the report then says how they differ.
	Reviewed    *tfjson.Plan
	Fingerprint string // of Plan; part of the hidden id
	PlanID      string // for `plumbline plans show`; "" = the plan was not stored
	Elapsed     time.Duration
	Error       string // Terraform's words, or ours; shown in a fence, ANSI codes removed
	// Next is what to do about an apply that did not do all of it, or about a lock; "" = what Status suggests. It is not read where Plan
	// took the place of Reviewed and is empty: then there is no new plan to read, and the report says so.
	Next     string
	Locked   bool      // the state is locked, so that no apply can begin
	Notes    []string  // the same one in many workspaces is written once
	Order    int       // position in the graph; ties are sorted by name
	Findings []Finding // of a drift report
}

// Finding is one resource or output that drifted, with the verdict on it.
type Finding struct {
	Address   string // begins with "output." for an output
	Class     string // cluster, node, resource; not read for an output
	Cause     string // outside, unapplied, upgrade, data, perpetual
	Outside   string // what happened to the real object: changed, deleted; "" = nothing
	Action    string // what a correcting apply would do: create, update, replace, delete, …
	Allowed   bool   // it may be corrected
	Ignored   bool   // a rule says that nobody wants to know
	Corrected bool   // it was corrected
	Reason    string // why it is (not) allowed or ignored
	// Attributes are what differs. Values are shown as they are handed in, except where Sensitive or Unknown.
	Attributes []Attribute
	// Who are traces of who changed it outside, the newest first.
	Who []Trace
}

// Attribute is one difference of a Finding.
type Attribute struct {
	Path      string
	Before    string // as it is now
	After     string // as it should be
	Sensitive bool   // neither is shown
	Unknown   bool   // After is known after apply only
}
