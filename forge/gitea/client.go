package gitea

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"code.gitea.io/sdk/gitea"

	"github.com/plumbline-dev/plumbline/forge"
)

// Options say where Gitea is and who we are there. URL and Token must be set.
type Options struct {
	// URL is the root of the server as people see it, such as https://git.example.com. It may have a path.
	URL string
	// Token is an access token with the scopes write:repository, write:issue and read:user. Lists of repositories in
	// organisations and their labels need read:organization too.
	Token string
	// WebhookSecret is what Gitea signs webhooks with. If it is empty, Decode takes any payload for Gitea's: the caller
	// must see to it that nobody else can reach it.
	WebhookSecret string
	// MaxWait is the longest that Merge waits for Gitea to find out whether a change can be merged; 0 means 10 seconds.
	MaxWait time.Duration
	// Timeout limits one request, its answer's body included; 0 means 30 seconds.
	Timeout time.Duration
	// Transport sends the requests; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// OnCall is told of each request that was sent, for metrics; nil for nobody. Many goroutines may call it at once.
	OnCall func(Call)
}

// Call is one request to Gitea that got an answer.
type Call struct {
	Method  string
	Status  int
	Elapsed time.Duration // until the answer's header
}

// Client is one account on one Gitea.
type Client struct {
	opts Options
	base string // without a slash at the end
	http *http.Client

	mu   sync.Mutex
	self string

	heads mergedHeads
}

// New makes a client. It reads nothing over the network, so a wrong token shows at the first call.
func New(opts Options) (*Client, error) {
	if opts.MaxWait == 0 {
		opts.MaxWait = 10 * time.Second
	}
	if opts.Timeout == 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.Transport == nil {
		opts.Transport = http.DefaultTransport
	}
	base, err := url.Parse(opts.URL)
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, errors.New("the URL of Gitea: want the root of the server, such as https://git.example.com")
	}
	if base.User != nil {
		return nil, errors.New("the URL of Gitea: credentials do not belong in it; set the token instead")
	}
	if strings.HasSuffix(strings.TrimSuffix(base.Path, "/"), "/api/v1") {
		return nil, fmt.Errorf("the URL of Gitea, %q: want the root of the server, without /api/v1", opts.URL)
	}
	if opts.Token == "" {
		return nil, errors.New("the token for Gitea is empty")
	}
	return &Client{
		opts: opts,
		base: strings.TrimSuffix(base.String(), "/"),
		http: &http.Client{
			Timeout:   opts.Timeout,
			Transport: &transport{next: opts.Transport, onCall: opts.OnCall},
			CheckRedirect: func(to *http.Request, via []*http.Request) error {
				// A renamed repository redirects to its new place. Nothing else should, and never to another server.
				if from := via[0].URL; to.URL.Host != from.Host || to.URL.Scheme != from.Scheme {
					return fmt.Errorf("refused a redirect from %s to another host, %s", from.Host, to.URL.Host)
				}
				if len(via) >= 5 {
					return errors.New("more than five redirects")
				}
				return nil
			},
		},
	}, nil
}

// Repository reads a repository.
func (c *Client) Repository(ctx context.Context, repo forge.Repo) (forge.Repository, error) {
	doing := fmt.Sprintf("read repository %s", repo)
	api, err := c.api(ctx)
	if err != nil {
		return forge.Repository{}, translate(doing, err)
	}
	r, _, err := api.GetRepo(repo.Owner, repo.Name)
	if err != nil {
		return forge.Repository{}, translate(doing, err)
	}
	return forge.Repository{Repo: toRepo(r), DefaultBranch: r.DefaultBranch, CloneURL: r.CloneURL, Archived: r.Archived}, nil
}

// Repos lists every repository that the token's user owns, was let into, or reaches through a team.
func (c *Client) Repos(ctx context.Context) ([]forge.Repo, error) {
	const doing = "list repositories"
	api, err := c.api(ctx)
	if err != nil {
		return nil, translate(doing, err)
	}
	list, err := collect(doing, repositoryID, func(page gitea.ListOptions) ([]*gitea.Repository, *gitea.Response, error) {
		return api.ListMyRepos(gitea.ListReposOptions{ListOptions: page})
	})
	if err != nil {
		return nil, err
	}
	repos := make([]forge.Repo, len(list))
	for i, r := range list {
		repos[i] = toRepo(r)
	}
	return repos, nil
}

// Branch returns the commit at a branch's tip.
func (c *Client) Branch(ctx context.Context, repo forge.Repo, branch string) (string, error) {
	b, err := c.branch(ctx, fmt.Sprintf("read branch %q of %s", branch, repo), repo, branch)
	if err != nil {
		return "", err
	}
	return b.Commit.ID, nil
}

func (c *Client) branch(ctx context.Context, doing string, repo forge.Repo, branch string) (*gitea.Branch, error) {
	api, err := c.api(ctx)
	if err != nil {
		return nil, translate(doing, err)
	}
	b, _, err := api.GetRepoBranch(repo.Owner, repo.Name, branch)
	if err != nil {
		return nil, translate(doing, err)
	}
	if b.Commit == nil {
		return nil, fmt.Errorf("%s: Gitea names no commit", doing)
	}
	return b, nil
}

// api returns the SDK's client for one call of ours: it holds the context.
func (c *Client) api(ctx context.Context) (*gitea.Client, error) {
	return gitea.NewClient(c.base, gitea.SetGiteaVersion(""), gitea.SetToken(c.opts.Token), gitea.SetContext(ctx),
		gitea.SetHTTPClient(c.http), gitea.SetUserAgent("plumbline"))
}

// pageSize is the most that a Gitea with default settings returns at once. Another may return less.
const pageSize = 50

// collect reads every page of a list, each item once. Some of Gitea's lists know pages and some answer with everything
// whatever the page, so reading ends when a page brings nothing new or the promised number is there.
func collect[T any](doing string, id func(T) int64, read func(gitea.ListOptions) ([]T, *gitea.Response, error)) ([]T, error) {
	var all []T
	seen := map[int64]bool{}
	for page := 1; ; page++ {
		items, resp, err := read(gitea.ListOptions{Page: page, PageSize: pageSize})
		if err != nil {
			return nil, translate(doing, err)
		}
		before := len(all)
		for _, item := range items {
			if !seen[id(item)] {
				seen[id(item)] = true
				all = append(all, item)
			}
		}
		total, unknown := strconv.Atoi(resp.Header.Get("X-Total-Count"))
		if len(all) == before || (unknown == nil && len(all) >= total) {
			return all, nil
		}
	}
}

func repositoryID(r *gitea.Repository) int64 { return r.ID }

func toRepo(r *gitea.Repository) forge.Repo {
	if r == nil {
		return forge.Repo{}
	}
	return forge.Repo{Owner: login(r.Owner), Name: r.Name}
}

// login names a user who may be gone.
func login(u *gitea.User) string {
	if u == nil {
		return ""
	}
	return u.UserName
}
