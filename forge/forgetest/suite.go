package forgetest

import (
	"context"
	"net/http"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
)

// Client is what the suite asks of a forge's client.
type Client interface {
	// Self is the login that the client's credentials act as.
	Self(ctx context.Context) (login string, err error)

	// Repository, Repos and Branch look around.
	Repository(ctx context.Context, repo forge.Repo) (forge.Repository, error)
	Repos(ctx context.Context) ([]forge.Repo, error)
	Branch(ctx context.Context, repo forge.Repo, branch string) (commit string, err error)

	Change(ctx context.Context, repo forge.Repo, number int) (forge.Change, error)
	Changes(ctx context.Context, repo forge.Repo, opts forge.ChangesOptions) ([]forge.Change, error)
	Approvals(ctx context.Context, repo forge.Repo, number int) ([]forge.Approval, error)
	Protection(ctx context.Context, repo forge.Repo, branch string) (forge.Protection, error)
	Permission(ctx context.Context, repo forge.Repo, user string) (forge.Permission, error)
	Merge(ctx context.Context, c forge.Change, method forge.MergeMethod) (commit string, err error)

	Comments(ctx context.Context, repo forge.Repo, number int) ([]forge.Comment, error)
	CommentsSince(ctx context.Context, repo forge.Repo, opts forge.CommentsOptions) ([]forge.Comment, error)
	CreateComment(ctx context.Context, repo forge.Repo, number int, body string) (forge.Comment, error)
	EditComment(ctx context.Context, repo forge.Repo, id, body string) (forge.Comment, error)
	MinimiseComment(ctx context.Context, repo forge.Repo, id string) (done bool, err error)
	React(ctx context.Context, repo forge.Repo, commentID string, r forge.Reaction) error

	SetStatus(ctx context.Context, repo forge.Repo, commit string, s forge.Status) error

	OpenIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error)
	Issue(ctx context.Context, repo forge.Repo, number int) (forge.Issue, error)
	UpdateIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error)
	CloseIssue(ctx context.Context, repo forge.Repo, number int) error
	ReopenIssue(ctx context.Context, repo forge.Repo, number int) error

	Credential(ctx context.Context, repo forge.Repo) (forge.Credential, error)
	Decode(header http.Header, body []byte) ([]forge.Event, error)
}

// Delivery is one webhook as the forge sent it.
type Delivery struct {
	Header http.Header
	Body   []byte
}

// Host is a forge under test, seen by the people who use it: what the suite does that a client cannot. Users named here
// exist; "robot" is the one whose credentials the client has, and may administer each repository.
type Host interface {
	// NewRepo makes a repository with one commit on its default branch, "main", and webhooks that the client can verify.
	NewRepo(t *testing.T) forge.Repo
	// Commit puts a commit with the files on the branch, made from base (a branch) if it does not exist, and returns its id.
	Commit(t *testing.T, repo forge.Repo, branch, base string, files map[string]string) string
	// Grant lets the user ("alice" or "mallory") into the repository. Without it she has no right there.
	Grant(t *testing.T, repo forge.Repo, user string, p forge.Permission)
	// Open opens a pull request as the user.
	Open(t *testing.T, repo forge.Repo, user, head, base, title string, draft bool) int
	// Comment, Approve, Reject and Close act on a pull request as the user; Comment returns the comment's id.
	Comment(t *testing.T, repo forge.Repo, user string, number int, body string) string
	Approve(t *testing.T, repo forge.Repo, user string, number int)
	Reject(t *testing.T, repo forge.Repo, user string, number int)
	Close(t *testing.T, repo forge.Repo, user string, number int)
	// Protect sets the branch's protection.
	Protect(t *testing.T, repo forge.Repo, branch string, p forge.Protection)
	// Statuses reads the newest status of each context on a commit, as the forge shows them.
	Statuses(t *testing.T, repo forge.Repo, commit string) map[string]forge.Status
	// Deliveries returns the webhooks that were sent about the repository so far, in order. It waits for those that are
	// on their way.
	Deliveries(t *testing.T, repo forge.Repo) []Delivery
}
