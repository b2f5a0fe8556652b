package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_secondary_ratelimit"
	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

// DefaultURL is the API of github.com.
const DefaultURL = "https://api.github.com"

// Options say where GitHub is and who we are there. One of Token and App must be set.
type Options struct {
	// URL is the root of the REST API; "" means DefaultURL. An Enterprise Server's is https://HOST/api/v3.
	URL string
	// Token is a personal access token, classic or fine-grained.
	Token string
	// App authenticates as a GitHub App, in each repository as the installation that serves its owner.
	App *App
	// WebhookSecret is what GitHub signs webhooks with. If it is empty, Decode takes any payload for GitHub's: the caller
	// must see to it that nobody else can reach it.
	WebhookSecret string
	// MaxWait is the longest that one call waits for a secondary rate limit to pass; 0 means a minute. A longer limit, and
	// each primary one, is returned as a *forge.RateLimitError at once.
	MaxWait time.Duration
	// Timeout limits one attempt of one request, its answer's body included; 0 means 30 seconds.
	Timeout time.Duration
	// Transport sends the requests; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// OnCall is told of each request that was sent, for metrics; nil for nobody. Many goroutines may call it at once.
	OnCall func(Call)
}

// Call is one request to GitHub that got an answer.
type Call struct {
	Method  string
	Status  int // 304 for what had not changed
	Elapsed time.Duration
	// Resource and Remaining are the rate limit that the request counted against and what is left of it. Remaining is -1
	// where GitHub did not say, as a server without limits does.
	Resource  string
	Remaining int
}

// Client is one account, or one App, on one GitHub.
type Client struct {
	opts    Options
	base    *url.URL // ends in a slash
	graphql string

	app   *appClient     // nil with a token
	token *github.Client // nil with an App

	mu   sync.Mutex
	self string
}

// New makes a client. It reads nothing over the network, so wrong credentials show at the first call.
func New(opts Options) (*Client, error) {
	if opts.URL == "" {
		opts.URL = DefaultURL
	}
	if opts.MaxWait == 0 {
		opts.MaxWait = time.Minute
	}
	if opts.Timeout == 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.Transport == nil {
		opts.Transport = http.DefaultTransport
	}
	base, err := url.Parse(strings.TrimSuffix(opts.URL, "/") + "/")
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, fmt.Errorf("GitHub URL %q: want the root of its REST API, such as %s or https://HOST/api/v3", opts.URL, DefaultURL)
	}
	if base.User != nil {
		return nil, errors.New("GitHub URL: credentials do not belong in it; set the token instead")
	}
	if (opts.Token == "") == (opts.App == nil) {
		return nil, errors.New("GitHub credentials: want either a token or an App")
	}
	c := &Client{opts: opts, base: base}
	c.graphql = base.JoinPath("graphql").String()
	if root, ok := strings.CutSuffix(base.Path, "/v3/"); ok {
		there := *base
		there.Path = root + "/graphql"
		c.graphql = there.String()
	}
	sender := &attempt{next: opts.Transport, timeout: opts.Timeout, onCall: opts.OnCall}
	if opts.App != nil {
		c.app, err = newAppClient(c, sender, *opts.App)
		return c, err
	}
	c.token = c.newAPI(&bearer{next: sender, token: opts.Token})
	return c, nil
}

// newAPI makes go-github's client over a transport that authenticates. Each identity has limits and a cache of its own.
func (c *Client) newAPI(authenticated http.RoundTripper) *github.Client {
	limited := github_ratelimit.New(authenticated,
		github_secondary_ratelimit.WithSingleSleepLimit(c.opts.MaxWait, nil))
	api := github.NewClient(&http.Client{
		Transport: newETags(limited),
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			// The credentials are added to every request below, so they would follow a redirect to any place.
			if from := via[0].URL; to.URL.Host != from.Host || to.URL.Scheme != from.Scheme {
				return fmt.Errorf("refused a redirect from %s to another host, %s", from.Host, to.URL.Host)
			}
			if len(via) >= 5 {
				return errors.New("more than five redirects")
			}
			return nil
		},
	})
	api.BaseURL = c.base
	api.UserAgent = "plumbline"
	return api
}

// Repository reads a repository.
func (c *Client) Repository(ctx context.Context, repo forge.Repo) (forge.Repository, error) {
	doing := fmt.Sprintf("read repository %s", repo)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Repository{}, translate(doing, err)
	}
	r, _, err := api.Repositories.Get(ctx, repo.Owner, repo.Name)
	if err != nil {
		return forge.Repository{}, translate(doing, err)
	}
	return forge.Repository{
		Repo:          forge.Repo{Owner: r.GetOwner().GetLogin(), Name: r.GetName()},
		DefaultBranch: r.GetDefaultBranch(),
		CloneURL:      r.GetCloneURL(),
		Archived:      r.GetArchived(),
	}, nil
}

// Repos lists every repository that the credentials reach, sorted as GitHub does. An App reaches those that it is
// installed on.
func (c *Client) Repos(ctx context.Context) ([]forge.Repo, error) {
	if c.app != nil {
		return c.app.repos(ctx)
	}
	return collect("list repositories", func(page github.ListOptions) ([]forge.Repo, *github.Response, error) {
		list, resp, err := c.token.Repositories.ListByAuthenticatedUser(ctx, &github.RepositoryListByAuthenticatedUserOptions{ListOptions: page})
		return toRepos(list), resp, err
	})
}

// Branch returns the commit at a branch's tip.
func (c *Client) Branch(ctx context.Context, repo forge.Repo, branch string) (string, error) {
	doing := fmt.Sprintf("read branch %q of %s", branch, repo)
	api, err := c.api(ctx, repo)
	if err != nil {
		return "", translate(doing, err)
	}
	ref, _, err := api.Git.GetRef(ctx, repo.Owner, repo.Name, "heads/"+branch)
	if err != nil {
		return "", translate(doing, err)
	}
	return ref.GetObject().GetSHA(), nil
}

// api returns the client whose credentials serve the repository.
func (c *Client) api(ctx context.Context, repo forge.Repo) (*github.Client, error) {
	if c.app != nil {
		i, err := c.app.installation(ctx, repo)
		if err != nil {
			return nil, err
		}
		return i.api, nil
	}
	return c.token, nil
}

// collect reads every page of a list.
func collect[T any](doing string, read func(github.ListOptions) ([]T, *github.Response, error)) ([]T, error) {
	var all []T
	page := github.ListOptions{PerPage: 100}
	for {
		items, resp, err := read(page)
		if err != nil {
			return nil, translate(doing, err)
		}
		all = append(all, items...)
		if resp.NextPage == 0 {
			return all, nil
		}
		page.Page = resp.NextPage
	}
}

func toRepos(list []*github.Repository) []forge.Repo {
	repos := make([]forge.Repo, len(list))
	for i, r := range list {
		repos[i] = forge.Repo{Owner: r.GetOwner().GetLogin(), Name: r.GetName()}
	}
	return repos
}
