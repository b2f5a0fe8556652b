package engine

import (
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// RepoID names a repository among all forges: FORGE/OWNER/NAME.
type RepoID string

// repo is the repository's name on its forge.
func (id RepoID) repo() forge.Repo {
	_, name, _ := strings.Cut(string(id), "/") // a forge's name holds no slash
	owner, name, _ := strings.Cut(name, "/")
	return forge.Repo{Owner: owner, Name: name}
}

// Repository is a repository that Plumbline serves.
type Repository struct {
	ID            RepoID
	Forge         string // name of the forge in the configuration
	Repo          forge.Repo
	DefaultBranch string
	CloneURL      string
	Archived      bool
	Problem       string // why nothing can be done with it now; "" when something can
	ChangesSince  time.Time
	CommentsSince time.Time
	PolledAt      time.Time // zero before the first poll
	PollAt        time.Time // not before
	PollFailures  int
}

// EventRow is an event that was accepted: from then on it is not lost.
type EventRow struct {
	Key        string // forge's name and the event's own key
	Repository RepoID
	Event      forge.Event
	Source     Source
	Attempts   int
	ReceivedAt time.Time
}

// Source says how an event was learnt of.
type Source string

// The sources of events.
const (
	FromWebhook Source = "webhook"
	FromPoll    Source = "poll"
)

// ChangeRow is a pull request as it was last seen, and what was made of it.
type ChangeRow struct {
	Repository RepoID
	forge.Change
	Notice    Notice
	Operation string // the plan operation that its comment shows; "" before the first
	Pruned    bool   // its plans are gone from the plan store
}

// Notice says of a change what no run can say: why it is not planned, and what its reader should know.
type Notice struct {
	// Waits is why nothing is planned, in a sentence; "" when something is.
	Waits string `json:"waits,omitempty"`
	// State is what the change's status says while it waits.
	State forge.StatusState `json:"state,omitempty"`
	// Short is Waits in a few words, for the status.
	Short string `json:"short,omitempty"`
	// Mends says that the change waits because of what itself mends: it may be merged.
	Mends bool `json:"mends,omitempty"`
	// Along is why nothing is applied for a merged change, in a sentence; "" when something is, or is to be.
	Along string `json:"along,omitempty"`
	// Notes are sentences for the comment.
	Notes []string `json:"notes,omitempty"`
}

// Kind says what an operation does.
type Kind string

// The kinds of operations, and of the runs in them.
const (
	KindPlan   Kind = "plan"
	KindApply  Kind = "apply"
	KindUnlock Kind = "unlock"
	KindDrift  Kind = "drift"
	KindAdopt  Kind = "adopt" // of drift, into the configuration
)

// sweeps reports whether a run is a look for drift, or what follows from one: it is told of in an issue, takes a share of
// the workers, and gives way to whatever a change waits for.
func (k Kind) sweeps() bool { return k == KindDrift || k == KindAdopt }

// Cause says what an operation was made for.
type Cause string

// The causes.
const (
	CauseOpened      Cause = "opened"      // a new change, or one that is open or ready again
	CausePushed      Cause = "pushed"      // another head or base branch
	CauseCommand     Cause = "command"     // somebody asked for it, in a comment or on a page
	CauseStale       Cause = "stale"       // an apply of another change has moved what the plans rest on
	CauseMerged      Cause = "merged"      // a change was merged
	CausePush        Cause = "push"        // a push to the base branch without a change
	CauseInterrupted Cause = "interrupted" // an apply whose process died: what is left to do is planned
	CauseSchedule    Cause = "schedule"    // a look for drift that was due
)

// OperationStatus says how far an operation has come.
type OperationStatus string

// The statuses of an operation.
const (
	OperationRunning    OperationStatus = "running"
	OperationDone       OperationStatus = "done"
	OperationSuperseded OperationStatus = "superseded" // a newer one has taken its place
)

// Operation is one plan or one apply, of one change or push, at one commit.
type Operation struct {
	ID         string
	Seq        int64 // set by insert; applies of a repository happen in this order
	Repository RepoID
	Change     int // 0 for a push without a change
	Kind       Kind
	Cause      Cause
	Actor      string // login, or "plumbline"
	Branch     string // where the change goes
	BaseCommit string // what Commit is compared with
	HeadCommit string // of the change
	Commit     string // whose files are run
	// Accept maps workspaces to the fingerprint of the plan that a person has seen and accepted, or to acceptAny.
	Accept    map[string]string
	Notes     []string // sentences for the report
	ReplyTo   string   // id of the comment that asked for it, or where and by which request it was; of an adoption, the key of its event
	Asked     []string // addresses that an adoption is about; none for all that differs
	Unread    bool     // nobody could tell what it is to apply: see unread.go
	Status    OperationStatus
	EventAt   time.Time // when what led to it was received
	CreatedAt time.Time
	EndedAt   time.Time
	ToldAt    time.Time // when its last report was posted
}

// Run is one workspace in an operation.
type Run struct {
	ID          string
	Operation   string
	Repository  RepoID
	Workspace   string
	Dir         string
	Position    int
	Kind        Kind
	Status      Status
	Phase       Phase
	Needs       []string // workspaces of the operation that come first
	Around      []string // workspaces whose applies of earlier operations come first
	Reasons     []string // why the workspace is touched
	Reviewed    string   // id of the plan that was reviewed; "" if none was
	Plan        string   // id of the plan that was made or applied
	Fingerprint string
	Result      []byte // sealed; see result.go
	Writes      bool   // it may change what is real; of a look for drift, once it corrects
	Cancel      bool   // it is to stop
	Owner       string // the process that works on it
	Attempts    int
	CreatedAt   time.Time
	StartedAt   time.Time
	EndedAt     time.Time
	ShownAt     time.Time // by the forge's clock: when a comment first showed how this plan ended; zero if none has
}

// Phase is what a running run does. What matters is PhaseApplying: without it in the row, nothing was begun.
type Phase string

// The phases.
const (
	PhaseNone      Phase = ""
	PhasePreparing Phase = "preparing"
	PhasePlanning  Phase = "planning"
	PhaseApplying  Phase = "applying"
)

// WorkspaceRow is what was last known of a workspace of the default branch.
type WorkspaceRow struct {
	Repository    RepoID
	Name, Dir     string
	Present       bool
	Settings      string // JSON of workspaces.Workspace
	AppliedCommit string
	AppliedAt     time.Time
	LastStatus    Status
}

// Subject is who a report is for: a change, or a push without one.
type Subject struct {
	Repository RepoID
	Change     int
	Operation  string // of a push; "" for a change
}

// subject is who the operation's reports are for.
func (o Operation) subject() Subject {
	if o.Change == 0 {
		return Subject{Repository: o.Repository, Operation: o.ID}
	}
	return Subject{Repository: o.Repository, Change: o.Change}
}

// CommentRow is a page of a comment that we have written.
type CommentRow struct {
	Repository RepoID
	Change     int
	Key        string // see prcomment.Mark
	Page       int
	ID         string
	URL        string // page for people
	Digest     string
	Minimised  bool
	WrittenAt  time.Time // by the forge's clock: when it was last made to say something else
	Settled    bool      // it does not say any more what can be done: the change is merged or closed
}
