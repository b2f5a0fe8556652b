package engine

import (
	"time"

	"github.com/plumbline-dev/plumbline/drift"
)

// SweepState is what was last known of whether a workspace has drifted.
type SweepState string

// The states. An error is a state of its own: it is never "no drift".
const (
	SweepNever   SweepState = "never"   // not looked at yet
	SweepClean   SweepState = "clean"   // the newest look found nothing
	SweepDrifted SweepState = "drifted" // it found something that is still there
	SweepUnknown SweepState = "unknown" // it came to no answer
)

// Sweep says when a workspace of a default branch is looked at for drift, and what was last seen.
type Sweep struct {
	Repository    RepoID
	Workspace     string
	Account       string // whose starts it counts among: see sweepAccount
	Every         string // an interval, a cron line or "off", as internal/schedule reads them
	Gone          bool   // the default branch has it no more
	KnownAt       time.Time
	NextAt        time.Time // not before; zero when it is off
	AskedAt       time.Time // somebody wants it looked at now; zero when nobody does
	AskedBy       string
	Operation     string    // the one that looks at it now; "" when none does
	StartedAt     time.Time // of the newest look
	CheckedAt     time.Time // of the newest look that came to an answer; zero before the first
	State         SweepState
	Since         time.Time // when it came to be in that state
	Failures      int       // looks in a row that came to no answer
	Problem       []byte    // sealed: why the newest look came to none
	OverdueAt     time.Time // from then on it counts as overdue; zero when it is off
	OverdueToldAt time.Time // when somebody was told that it is
}

// FindingRow is one resource that differs, for as long as it does and after.
type FindingRow struct {
	Repository  RepoID
	Workspace   string
	Key         string // drift.Finding's
	Address     string
	Class       drift.Class
	Cause       drift.Cause
	FirstSeen   time.Time // since it last came
	LastSeen    time.Time
	GoneAt      time.Time // zero while it is there
	CorrectedAt time.Time
	Corrections int       // in all
	Noise       bool      // perpetual: told of once
	StoppedAt   time.Time // since then it is fought over and waits for a person; zero when it does not
	CountFrom   time.Time // corrections before that do not make a fight
	Detail      []byte    // sealed JSON
	Returned    bool      // this look has corrected it, and it was back at once; not kept
}

// CorrectionRow is one correction of a finding.
type CorrectionRow struct {
	ID         string
	Repository RepoID
	Workspace  string
	Key        string
	Address    string
	Run        string
	At         time.Time
}

// Look is what one look at a workspace saw. As history it holds until the next one.
type Look struct {
	Repository RepoID
	Workspace  string
	At         time.Time
	Run        string // "" where the default branch has the workspace no more: its State is SweepNever again
	State      SweepState
	Counts     map[string]int // "cause/class" to how many findings
	Corrected  int            // findings
}

// Pause says where nothing is looked at nor corrected.
type Pause struct {
	Repository RepoID // "" with an empty Workspace: everywhere
	Workspace  string // "" for the whole repository
	Until      time.Time
	Reason     string
	Actor      string
	At         time.Time
}

// scope is the pause's key: "" for all, a repository, or a repository, a space and a workspace. No repository has a space
// in its name.
func (p Pause) scope() string { return pauseScope(p.Repository, p.Workspace) }

func pauseScope(repo RepoID, workspace string) string {
	if repo == "" || workspace == "" {
		return string(repo)
	}
	return string(repo) + " " + workspace
}

// DriftIssueRow is an issue that tells of drift.
type DriftIssueRow struct {
	Repository RepoID
	Key        string // "workspace:" and its name, or "group:" and what is the same in several
	Number     int
	URL        string
	Digest     string // of its news: see prcomment.IssueDigest
	Written    string // digest of its whole body
	WrittenAt  time.Time
	Open       bool // as we left it
	// AcknowledgedAt is when somebody has closed it by hand: it stays closed until something new is found. Zero when
	// nobody has.
	AcknowledgedAt time.Time
	Turns          int // how often it was closed or opened again
	OpenedAt       time.Time
	ClosedAt       time.Time
}
