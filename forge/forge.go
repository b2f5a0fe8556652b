// Package forge is the vocabulary for whoever hosts the code: GitHub, Gitea and their like.
//
// The main type is Change, a pull request as it stands at one head commit. Somebody opens it, which is an Event; every
// push to it is another Event; people leave a Comment on it and give an Approval; Plumbline answers with comments of its
// own and with a Status on the head commit; in the end the change is merged or closed, which is the last Event.
//
// An Event comes in two ways: a webhook tells of it, or a poller finds it. Both make it with the same constructors, so
// that one fact has one Key and whoever keeps the keys can drop what it has seen. What an Event says was true when it was
// sent. Whoever acts on it asks the forge how things stand now.
//
// Clients live in the packages below, one a forge, with the same files and the same methods; forgetest holds the suite
// that each of them passes. This package makes no requests, keeps nothing, and decides nothing: whether a permission or a
// number of approvals is enough is for the engine to say.
package forge

import (
	"fmt"
	"strings"
	"time"
)

// Repo names a repository on its forge.
type Repo struct {
	Owner, Name string
}

// ParseRepo reads "owner/name". Owners that are paths themselves ("group/team/name") belong to no forge served here.
func ParseRepo(s string) (Repo, error) {
	owner, name, ok := strings.Cut(s, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return Repo{}, fmt.Errorf("repository %q: want owner/name", s)
	}
	return Repo{Owner: owner, Name: name}, nil
}

// String returns "owner/name".
func (r Repo) String() string { return r.Owner + "/" + r.Name }

// Repository is what a forge says about a repository.
type Repository struct {
	Repo
	// DefaultBranch is the branch's short name. It is set even for a repository that has no commit yet.
	DefaultBranch string
	// CloneURL is the HTTP address for Git, without credentials.
	CloneURL string
	// Archived repositories take no comments and no statuses.
	Archived bool
}

// Ref is a branch and the commit at its tip.
type Ref struct {
	Branch string // short name, without refs/heads/
	Commit string // object id in hex
}

// State says how far a change has come.
type State string

// The states of a change. Merged and Closed exclude one another.
const (
	Open   State = "open"
	Merged State = "merged"
	Closed State = "closed" // without a merge
)

// Change is a pull request.
type Change struct {
	Repo   Repo
	Number int
	Title  string
	Author string // login
	State  State
	Draft  bool
	// Fork is true if the head lives in another repository than the base, or if that repository is gone. Its author
	// need not have any right here.
	Fork bool
	Head Ref
	// Base is where the change goes. Its Commit is the tip of the base branch as the forge last looked, which may be older
	// than the branch.
	Base Ref
	// MergeCommit is the commit on the base branch that contains the change: a merge commit, the squashed commit, or the
	// last of the rebased ones. It is empty unless State is Merged.
	MergeCommit string
	URL         string // page for people
	UpdatedAt   time.Time
	ClosedAt    time.Time // also when merged; zero while open
}

// HeadRef is the ref that holds a change's head in the base repository, on each forge served here: for changes from forks,
// and once the head's branch is gone, too. A forge may move it a moment after it has told of a push, so whoever fetches it
// compares what came with Change.Head.
func HeadRef(number int) string { return fmt.Sprintf("refs/pull/%d/head", number) }

// ChangesOptions choose among the changes of a repository. The zero value chooses all of them.
type ChangesOptions struct {
	// OpenOnly leaves out what is merged or closed.
	OpenOnly bool
	// Since leaves out what was last updated before then. Forges count in whole seconds and the answer includes that
	// second, so a poller that passes the newest UpdatedAt it has seen misses nothing.
	Since time.Time
}

// CommentsOptions choose among the comments of a repository. The zero value chooses all of them.
type CommentsOptions struct {
	// Since leaves out what was last edited before then, in whole seconds, that second included.
	Since time.Time
}

// Kind says what an event tells.
type Kind string

// The kinds of events.
const (
	// ChangeOpened is a change that is new, or open again.
	ChangeOpened Kind = "change-opened"
	// ChangePushed is an open change with another head, another base branch, or that began or ceased to be a draft.
	ChangePushed Kind = "change-pushed"
	// ChangeClosed is a change closed without a merge.
	ChangeClosed Kind = "change-closed"
	// ChangeMerged is a change whose commits are on its base branch.
	ChangeMerged Kind = "change-merged"
	// ChangeReviewed is a review given, changed or dismissed: approvals are worth a new look.
	ChangeReviewed Kind = "change-reviewed"
	// Commented is a comment on a change or an issue, new or edited.
	Commented Kind = "comment"
	// Pushed is a branch that moved, came into being or was deleted.
	Pushed Kind = "push"
	// Ping is the forge trying whether the webhook works.
	Ping Kind = "ping"
)

// Event is one thing that happened on a forge. Make it with ChangeEvent, CommentEvent, ReviewEvent or PushEvent, which
// give it its key.
type Event struct {
	// Key is the same whenever the same fact is told again: by a redelivered webhook, by a second webhook on the same
	// repository, or by a poller. See the constructors for where a poller may see one fact as another.
	Key    string
	Kind   Kind
	Repo   Repo
	Change int       // number of the change, or of the issue that was commented on; 0 for Pushed and Ping
	Ref    string    // Pushed: short name of the branch. ChangeOpened, -Pushed, -Closed, -Merged: the base branch
	Before string    // Pushed: the commit before, "" if the branch is new. ChangePushed: the head before, if known
	After  string    // Pushed: the commit now, "" if the branch is gone. ChangeMerged: the merge commit. Other changes: the head
	Sender string    // login of who did it, "" if not known
	At     time.Time // when it happened by the forge's clock; zero if not said

	Comment *Comment // Commented only
}

// ChangeEvent tells of a change as it stands, with kind ChangeOpened, ChangePushed, ChangeClosed or ChangeMerged.
//
// Closing and merging have the same key however they are learnt of. The key of an open change holds its head, base branch
// and draft mark, and when it was last updated: a branch may be pushed back to a head that it had before, which is a new
// fact. A poller that reads the change after a comment was left on it therefore finds another key than the webhook had;
// it sends an event only if the change differs from what is known, and who receives it compares heads.
func ChangeEvent(kind Kind, c Change, before, sender string) Event {
	e := Event{
		Kind: kind, Repo: c.Repo, Change: c.Number, Ref: c.Base.Branch,
		Before: before, After: c.Head.Commit, Sender: sender, At: c.UpdatedAt,
	}
	switch kind {
	case ChangeMerged:
		e.After, e.At = c.MergeCommit, c.ClosedAt
		e.Key = fmt.Sprintf("%s#%d merged %s", c.Repo, c.Number, c.MergeCommit)
	case ChangeClosed:
		e.At = c.ClosedAt
		e.Key = fmt.Sprintf("%s#%d closed %d", c.Repo, c.Number, c.ClosedAt.Unix())
	default:
		draft := ""
		if c.Draft {
			draft = " draft"
		}
		e.Key = fmt.Sprintf("%s#%d head %s onto %q%s at %d", c.Repo, c.Number, c.Head.Commit, c.Base.Branch, draft, c.UpdatedAt.Unix())
	}
	return e
}

// CommentEvent tells of a comment. An edited comment is another event than the comment was before.
func CommentEvent(repo Repo, change int, c Comment, sender string) Event {
	return Event{
		Key:  fmt.Sprintf("%s#%d comment %s at %d", repo, change, c.ID, c.UpdatedAt.Unix()),
		Kind: Commented, Repo: repo, Change: change, Sender: sender, At: c.UpdatedAt, Comment: &c,
	}
}

// ReviewEvent tells that the review with the given id now has the given state, in the forge's words.
func ReviewEvent(repo Repo, change int, id, state, sender string, at time.Time) Event {
	return Event{
		Key:  fmt.Sprintf("%s#%d review %s %s at %d", repo, change, id, state, at.Unix()),
		Kind: ChangeReviewed, Repo: repo, Change: change, Sender: sender, At: at,
	}
}

// PushEvent tells that a branch moved from one commit to another. An object id of zeros counts as none. A poller knows the
// commit before from what it saw last; when several pushes came between two looks, it tells of them as one, with a key of
// its own.
func PushEvent(repo Repo, branch, before, after, sender string, at time.Time) Event {
	if strings.Trim(before, "0") == "" {
		before = ""
	}
	if strings.Trim(after, "0") == "" {
		after = ""
	}
	return Event{
		Key:  fmt.Sprintf("%s push %q %s..%s", repo, branch, before, after),
		Kind: Pushed, Repo: repo, Ref: branch, Before: before, After: after, Sender: sender, At: at,
	}
}

// Comment is what somebody said on a change or on an issue.
type Comment struct {
	ID     string
	Change int    // number of the change, or of the issue
	Issue  bool   // it is on an issue that is no change
	Author string // login
	Body   string // Markdown as written, at most MaxComment bytes when it is ours
	// Ours is true if the comment was written with the credentials of the client that returned it. A comment that merely
	// looks like ours is not. It is false in an event where the forge's payload does not tell.
	Ours      bool
	URL       string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// MaxComment is how many characters every forge takes as the body of a comment.
const MaxComment = 65536

// Reaction is a small sign under a comment.
type Reaction string

// The reactions. Each forge has them.
const (
	Seen     Reaction = "eyes" // noticed, and being worked on
	Accepted Reaction = "+1"
	Refused  Reaction = "-1"
)

// StatusState is the verdict of a status.
type StatusState string

// The verdicts.
const (
	Pending StatusState = "pending"
	Success StatusState = "success"
	Failure StatusState = "failure" // what was checked is not good
	Error   StatusState = "error"   // it could not be checked
)

// Status is a verdict on a commit, which branch protection may ask for by its Context.
type Status struct {
	Context string // for example "plumbline/network/prod"; a second status of the same context takes the place of the first
	State   StatusState
	// Description is one line. A client cuts what is longer than its forge takes.
	Description string
	URL         string // page with details, "" for none
	// Summary is Markdown, shown where the forge has room for it and dropped elsewhere.
	Summary string
}

// Issue is a ticket that is no change.
type Issue struct {
	Number    int
	Title     string
	Body      string
	Open      bool
	Labels    []string
	Assignees []string
	URL       string
	ClosedAt  time.Time // zero while it is open
}

// Permission is what somebody may do in a repository. Higher ones include the lower ones.
type Permission int

// The permissions. Finer roles of a forge count as the next lower one of these.
const (
	None Permission = iota
	Read
	Write
	Admin
)

// String returns "none", "read", "write" or "admin".
func (p Permission) String() string {
	switch p {
	case Read:
		return "read"
	case Write:
		return "write"
	case Admin:
		return "admin"
	default:
		return "none"
	}
}

// Protection is what a forge asks for before it lets a change into a branch. The zero value asks for nothing.
type Protection struct {
	Approvals int      // how many approvals
	Checks    []string // contexts of statuses that must be Success, sorted; on Gitea they may be patterns
	// DismissStale is true if a push takes away the approvals that were given before it: the forge does that by itself.
	DismissStale bool
	// Rejections is true if the standing "no" of somebody who may write keeps a change out.
	Rejections bool
}

// Approval is one person's standing "yes" to a change. A later "no" of the same person, or a dismissal, takes it away.
type Approval struct {
	Author string // login
	Commit string // the head that was approved
	At     time.Time
}

// MergeMethod says how the commits of a change get onto its base branch.
type MergeMethod string

// The methods. A repository may forbid some of them.
const (
	MergeCommit MergeMethod = "merge"
	Squash      MergeMethod = "squash"
	Rebase      MergeMethod = "rebase"
)

// Credential is what Git needs to fetch over HTTP.
type Credential struct {
	Username, Password string
	// Expires is when to ask for another one; zero for one that lasts.
	Expires time.Time
}

// String hides the password, so that a credential may be logged by mistake.
func (c Credential) String() string { return c.Username + ":***" }

// GoString hides the password too.
func (c Credential) GoString() string { return c.String() }

// Cut shortens s to at most max characters, ending in "…" if something was cut. It never cuts inside of a character.
func Cut(s string, max int) string {
	runes := []rune(s)
	if len(runes) <= max {
		return s
	}
	return strings.TrimRight(string(runes[:max-1]), " ") + "…"
}
