package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// ErrNoSuch is when somebody asks for what there is not, or not any more.
var ErrNoSuch = errors.New("there is no such thing")

// ViewsOptions say what Views read. DB, Audit and Plans are required.
type ViewsOptions struct {
	DB    *database.DB
	Audit *audit.Log
	// Plans opens the plan store of a repository.
	Plans func(repository string) (*planstore.Store, error)
	// Secrets are values that nothing may show wherever they turn up.
	Secrets []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Views answer what pages show: rows as they are, put together for people. They change nothing, and each answer is of one
// moment. What was sealed is opened here, and what must not be seen is hidden here, so that no page has to think of it: each takes
// the Sight of who asks, and what is not in it is as if it were not there.
// They may be asked by many at once, beside any number of engines.
type Views struct {
	ViewsOptions
	store *store
	shown shownPlans
	plain *prcomment.Plain

	verifying sync.Mutex // one reads the whole audit log at a time
	mu        sync.Mutex
	verified  *AuditCheck // the newest
}

// NewViews makes them.
func NewViews(o ViewsOptions) *Views {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Views{ViewsOptions: o, store: &store{now: o.Now}, plain: prcomment.NewPlain(o.Secrets)}
}

// WorkspaceState is how it stands with a workspace, in one word: the one that wants somebody most.
type WorkspaceState string

// The states, the most urgent first.
const (
	StateApplying WorkspaceState = "applying"
	StateFailed   WorkspaceState = "failed"  // its newest apply failed, or stopped on the way
	StateHeld     WorkspaceState = "held"    // its newest apply was not made, because it must not be
	StateDrifted  WorkspaceState = "drifted" // what is real is not what was applied
	StateUnknown  WorkspaceState = "unknown" // the newest look came to no answer
	StatePaused   WorkspaceState = "paused"  // nobody looks
	StatePlanned  WorkspaceState = "planned" // an open change would change it
	StateInSync   WorkspaceState = "in sync" // the newest look found nothing
	StateApplied  WorkspaceState = "applied" // and nobody has looked since
	StateNew      WorkspaceState = "new"     // neither applied nor looked at by Plumbline yet
)

// WorkspaceStates are all of them, in that order.
func WorkspaceStates() []WorkspaceState {
	return []WorkspaceState{StateApplying, StateFailed, StateHeld, StateDrifted, StateUnknown, StatePaused, StatePlanned, StateInSync, StateApplied, StateNew}
}

// WorkspaceCard is a workspace in a few words.
type WorkspaceCard struct {
	Repository    RepoID
	Name, Dir     string
	State         WorkspaceState
	Class         drift.Class // the most dangerous one that has drifted; "" when nothing has
	Findings      int         // that are there, noise excepted
	Paused        bool
	Overdue       bool // it was not looked at for twice its interval
	AppliedCommit string
	AppliedAt     time.Time
	LastStatus    Status // of its newest apply
	Sweep         SweepState
	CheckedAt     time.Time    // of the newest look that came to an answer
	Changes       []ChangeCard // that are open and touch it
}

// ChangeCard is an open change, and what is planned of it for one workspace.
type ChangeCard struct {
	Number     int
	Title, URL string
	Run        string
	Status     Status
}

// RunCard is a run in a few words.
type RunCard struct {
	ID         string
	Repository RepoID
	Workspace  string
	Change     int
	Kind       Kind
	Cause      Cause
	Actor      string
	Commit     string
	Status     Status
	Phase      Phase
	CreatedAt  time.Time
	StartedAt  time.Time
	EndedAt    time.Time
}

const runCardColumns = "r.id, r.repository, r.workspace, o.change_number, r.kind, o.cause, o.actor, o.commit_id, r.status, r.phase, r.created_at, r.started_at, r.ended_at"

func scanRunCard(row scanner) (RunCard, error) {
	var r RunCard
	var created, started, ended int64
	err := row.Scan(&r.ID, &r.Repository, &r.Workspace, &r.Change, &r.Kind, &r.Cause, &r.Actor, &r.Commit, &r.Status, &r.Phase, &created, &started, &ended)
	r.CreatedAt, r.StartedAt, r.EndedAt = moment(created), moment(started), moment(ended)
	return r, err
}

// FindingView is a finding with what was decided about it. Its texts hold no secret.
type FindingView struct {
	FindingRow      // without its Detail
	Outside, Action string
	Detail, Reason  string
	Allowed         bool
	Ignored         bool
	Fight, Refused  string   // why it is not corrected though it may be; "" when nothing stands in the way
	Lines           []string // what differs, as lines of a diff
	Who             []prcomment.Trace
	Closed          bool // the detail does not open, such as after a change of keys
}

// differenceRoom is how much of a finding's differences is shown, in bytes.
const differenceRoom = 4000

// finding opens a row.
func (v *Views) finding(row FindingRow) FindingView {
	view := FindingView{FindingRow: row}
	view.FindingRow.Detail = nil
	view.Address = v.plain.Line(row.Address)
	plans, err := v.Plans(string(row.Repository))
	if err != nil {
		view.Closed = true
		return view
	}
	d, err := openFinding(plans, row)
	if err != nil {
		view.Closed = true
		return view
	}
	view.Outside, view.Action, view.Allowed, view.Ignored = d.Outside, d.Action(), d.Allowed, d.Ignored
	view.Detail, view.Reason = v.plain.Line(d.Detail), v.plain.Line(d.Reason)
	view.Fight, view.Refused = v.plain.Line(d.Fight), v.plain.Line(d.Refused)
	var attributes []prcomment.Attribute
	for _, a := range d.Attributes {
		attributes = append(attributes, prcomment.Attribute{Path: a.Path, Before: a.Before, After: a.After, Sensitive: a.Sensitive, Unknown: a.Unknown})
	}
	view.Lines = v.plain.Differences(attributes, differenceRoom)
	for _, t := range d.Who {
		t.By, t.From, t.Event, t.Service = v.plain.Line(t.By), v.plain.Line(t.From), v.plain.Line(t.Event), v.plain.Line(t.Service)
		view.Who = append(view.Who, prcomment.Trace(t))
	}
	return view
}

// repositoryOf reads a repository that somebody names.
func (v *Views) repositoryOf(ctx context.Context, tx *sql.Tx, sight Sight, id RepoID) (Repository, error) {
	r, ok, err := v.store.repository(ctx, tx, id)
	if err == nil && (!ok || !sight.Sees(id)) {
		return Repository{}, fmt.Errorf("the repository: %w", ErrNoSuch)
	}
	r.Problem = v.plain.Line(r.Problem)
	return r, err
}

// pausedBy reports whether one of the pauses holds for a workspace.
func pausedBy(pauses []Pause, repo RepoID, workspace string) bool {
	for _, p := range pauses {
		if p.covers(repo, workspace) {
			return true
		}
	}
	return false
}

// contains reports whether all words of a text are in one of the others, whatever their case.
func contains(words []string, in ...string) bool {
	all := strings.ToLower(strings.Join(in, "\n"))
	for _, word := range words {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}
