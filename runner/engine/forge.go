package engine

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// Forge is what the engine asks of a forge's client.
type Forge interface {
	Self(ctx context.Context) (login string, err error)
	Repository(ctx context.Context, repo forge.Repo) (forge.Repository, error)
	Repos(ctx context.Context) ([]forge.Repo, error)
	Branch(ctx context.Context, repo forge.Repo, branch string) (commit string, err error)

	Change(ctx context.Context, repo forge.Repo, number int) (forge.Change, error)
	Changes(ctx context.Context, repo forge.Repo, opts forge.ChangesOptions) ([]forge.Change, error)
	Approvals(ctx context.Context, repo forge.Repo, number int) ([]forge.Approval, error)
	Permission(ctx context.Context, repo forge.Repo, user string) (forge.Permission, error)
	// Protection, Rejections and Verdicts tell whether the forge would let a change be merged.
	Protection(ctx context.Context, repo forge.Repo, branch string) (forge.Protection, error)
	Rejections(ctx context.Context, repo forge.Repo, number int) (logins []string, err error)
	Verdicts(ctx context.Context, repo forge.Repo, commit string) (map[string]forge.StatusState, error)
	// OpenChange opens a pull request between two branches, or updates the one that is open between them.
	OpenChange(ctx context.Context, repo forge.Repo, head, base, title, body string) (forge.Change, error)
	Merge(ctx context.Context, c forge.Change, method forge.MergeMethod) (commit string, err error)

	Comments(ctx context.Context, repo forge.Repo, number int) ([]forge.Comment, error)
	CommentsSince(ctx context.Context, repo forge.Repo, opts forge.CommentsOptions) ([]forge.Comment, error)
	CreateComment(ctx context.Context, repo forge.Repo, number int, body string) (forge.Comment, error)
	EditComment(ctx context.Context, repo forge.Repo, id, body string) (forge.Comment, error)
	MinimiseComment(ctx context.Context, repo forge.Repo, id string) (done bool, err error)
	React(ctx context.Context, repo forge.Repo, commentID string, r forge.Reaction) error

	OpenIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error)
	Issue(ctx context.Context, repo forge.Repo, number int) (forge.Issue, error)
	OwnIssues(ctx context.Context, repo forge.Repo) ([]forge.Issue, error)
	UpdateIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error)
	CloseIssue(ctx context.Context, repo forge.Repo, number int) error
	ReopenIssue(ctx context.Context, repo forge.Repo, number int) error

	SetStatus(ctx context.Context, repo forge.Repo, commit string, s forge.Status) error

	// Credential is for fetching, PushCredential for pushing a branch of ours.
	Credential(ctx context.Context, repo forge.Repo) (forge.Credential, error)
	PushCredential(ctx context.Context, repo forge.Repo) (forge.Credential, error)
	Decode(header http.Header, body []byte) ([]forge.Event, error)
}

// ForgeOptions say how one forge is served.
type ForgeOptions struct {
	// Name is the forge's name in the configuration, in addresses and in rows. Never change it for a forge that has
	// rows: its repositories would be others.
	Name   string
	Client Forge
	// Repos is the allow-list: owner/name, where each part may hold "*".
	Repos []string
	// GitURL is where Git finds a repository: a template with {owner} and {repo}; "" for what the forge says.
	GitURL string
	// Poll is how often the forge is asked what webhooks may have missed; 0 for never.
	Poll time.Duration
	// TrustForks lists who may have changes from forks planned: logins, or "*" for all. Planning runs the change's code
	// with the server's credentials.
	TrustForks []string
	// Branches are patterns of branches that are served beside each repository's default branch: what is merged into them
	// is applied. Whoever may write to a repository can make a branch that nothing protects, with a plumbline.yaml that
	// guards nothing; so no branch is served because a change goes to it.
	Branches []string
}

// servesBranch reports whether changes into a branch are planned, and applied once they are merged.
func (o ForgeOptions) servesBranch(branch, defaultBranch string) bool {
	return branch != "" && (branch == defaultBranch || slices.ContainsFunc(o.Branches, func(pattern string) bool {
		ok, err := path.Match(pattern, branch)
		return ok && err == nil
	}))
}

// allows reports whether the allow-list names a repository. Forges do not tell upper from lower case in names.
func (o ForgeOptions) allows(repo forge.Repo) bool {
	for _, pattern := range o.Repos {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(repo.String())); err == nil && ok {
			return true
		}
	}
	return false
}

// repoID names a repository of this forge.
func (o ForgeOptions) repoID(repo forge.Repo) RepoID { return RepoID(o.Name + "/" + repo.String()) }

// gitURL is where Git finds a repository.
func (o ForgeOptions) gitURL(repo forge.Repo, cloneURL string) string {
	if o.GitURL == "" {
		return cloneURL
	}
	return strings.NewReplacer("{owner}", repo.Owner, "{repo}", repo.Name).Replace(o.GitURL)
}
