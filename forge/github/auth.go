package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

// App is a GitHub App's identity.
type App struct {
	ID         int64
	PrivateKey []byte // PEM, as GitHub hands it out
}

// Self returns the login that comments of ours bear: the token's user, or the App's bot.
func (c *Client) Self(ctx context.Context) (string, error) {
	c.mu.Lock()
	known := c.self
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	login, err := c.askSelf(ctx)
	if err != nil {
		return "", translate("read our own name", err)
	}
	c.mu.Lock()
	c.self = login
	c.mu.Unlock()
	return login, nil
}

func (c *Client) askSelf(ctx context.Context) (string, error) {
	if c.app != nil {
		app, _, err := c.app.api.Apps.Get(ctx, "")
		if err != nil {
			return "", err
		}
		// No person can have a login with brackets, so nobody can pass for the bot.
		return app.GetSlug() + "[bot]", nil
	}
	user, _, err := c.token.Users.Get(ctx, "")
	return user.GetLogin(), err
}

// Credential returns what Git needs to read the repository: the token, or an App's token that is good for an hour, for
// this repository, and for reading its contents alone.
func (c *Client) Credential(ctx context.Context, repo forge.Repo) (forge.Credential, error) {
	return c.credential(ctx, repo, "read")
}

// PushCredential returns what Git needs to push to the repository: the token, or an App's token that is good for an hour,
// for this repository, and for its contents alone.
func (c *Client) PushCredential(ctx context.Context, repo forge.Repo) (forge.Credential, error) {
	return c.credential(ctx, repo, "write")
}

func (c *Client) credential(ctx context.Context, repo forge.Repo, level string) (forge.Credential, error) {
	// GitHub takes a token as the password of this user, and Git asks for both.
	const user = "x-access-token"
	if c.app == nil {
		return forge.Credential{Username: user, Password: c.opts.Token}, nil
	}
	doing := fmt.Sprintf("get a token to %s the contents of %s", level, repo)
	i, err := c.app.installation(ctx, repo)
	if err != nil {
		return forge.Credential{}, translate(doing, err)
	}
	source := i.gitSource(repo.Name, level)
	token, err := source.Token(ctx)
	var refused *ghinstallation.HTTPError
	if errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode == http.StatusUnprocessableEntity {
		return forge.Credential{}, &forge.NotAllowedError{
			Doing: doing, Says: "the installation does not have this permission",
			Fix: fmt.Sprintf(`give the App the repository permission "Contents: %s"`, level),
		}
	}
	if err != nil {
		return forge.Credential{}, translate(doing, err)
	}
	expires, _, err := source.Expiry()
	if err != nil {
		return forge.Credential{}, translate(doing, err)
	}
	return forge.Credential{Username: user, Password: token, Expires: expires}, nil
}

// appClient acts as an App and as each of its installations.
type appClient struct {
	client *Client
	signed *ghinstallation.AppsTransport
	api    *github.Client // as the App itself

	mu     sync.Mutex
	owners map[string]*installation // by the owner's login in lower case: an account has one installation of an App
}

// installation is the App in one account.
type installation struct {
	app    *appClient
	id     int64
	tokens *ghinstallation.Transport
	api    *github.Client

	mu  sync.Mutex
	git map[string]*ghinstallation.Transport // by repository name and level
}

func newAppClient(c *Client, sender http.RoundTripper, app App) (*appClient, error) {
	signed, err := ghinstallation.NewAppsTransport(sender, app.ID, app.PrivateKey)
	if err != nil {
		// The library's error says what is wrong with the key and quotes nothing of it.
		return nil, fmt.Errorf("GitHub App %d: %w", app.ID, err)
	}
	signed.BaseURL = strings.TrimSuffix(c.base.String(), "/")
	return &appClient{client: c, signed: signed, api: c.newAPI(signed), owners: map[string]*installation{}}, nil
}

// installation finds the installation that serves a repository.
func (a *appClient) installation(ctx context.Context, repo forge.Repo) (*installation, error) {
	a.mu.Lock()
	known := a.owners[strings.ToLower(repo.Owner)]
	a.mu.Unlock()
	if known != nil {
		return known, nil
	}
	found, _, err := a.api.Apps.FindRepositoryInstallation(ctx, repo.Owner, repo.Name)
	if status(err) == http.StatusNotFound {
		return nil, fmt.Errorf("the App is not installed on %s, or the repository does not exist: %w", repo, forge.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return a.remember(repo.Owner, found.GetID()), nil
}

func (a *appClient) remember(owner string, id int64) *installation {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := strings.ToLower(owner)
	if known := a.owners[key]; known != nil && known.id == id {
		return known
	}
	i := &installation{app: a, id: id, tokens: a.source(id), git: map[string]*ghinstallation.Transport{}}
	i.api = a.client.newAPI(i)
	a.owners[key] = i
	return i
}

// RoundTrip sends a request as the installation. If GitHub does not know the installation any more, it is forgotten, and
// the next call looks for it anew: an App that was removed and installed again has another.
func (i *installation) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := i.tokens.RoundTrip(req)
	var refused *ghinstallation.HTTPError
	switch {
	case err == nil && resp.StatusCode == http.StatusUnauthorized,
		errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode == http.StatusNotFound:
		i.app.forget(i)
	}
	return resp, err
}

func (a *appClient) forget(i *installation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for owner, known := range a.owners {
		if known == i {
			delete(a.owners, owner)
		}
	}
}

func (a *appClient) source(id int64) *ghinstallation.Transport {
	// The transport writes the base URL into the App's, so each has a copy.
	signed := *a.signed
	t := ghinstallation.NewFromAppsTransport(&signed, id)
	t.BaseURL = a.signed.BaseURL
	t.InstallationTokenOptions = &github.InstallationTokenOptions{} // without, it would send "null"
	return t
}

func (a *appClient) repos(ctx context.Context) ([]forge.Repo, error) {
	installations, err := collect("list the App's installations", func(page github.ListOptions) ([]*github.Installation, *github.Response, error) {
		return a.api.Apps.ListInstallations(ctx, &page)
	})
	if err != nil {
		return nil, err
	}
	var all []forge.Repo
	for _, found := range installations {
		if found.SuspendedAt != nil {
			continue
		}
		owner := found.GetAccount().GetLogin()
		i := a.remember(owner, found.GetID())
		repos, err := collect("list the repositories that the App may use of "+owner, func(page github.ListOptions) ([]forge.Repo, *github.Response, error) {
			list, resp, err := i.api.Apps.ListRepos(ctx, &page)
			if err != nil {
				return nil, resp, err
			}
			return toRepos(list.Repositories), resp, nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, repos...)
	}
	return all, nil
}

// mayCheck says whether the installation may write check runs.
func (i *installation) mayCheck(ctx context.Context) (bool, error) {
	if _, err := i.tokens.Token(ctx); err != nil {
		return false, err
	}
	may, err := i.tokens.Permissions()
	return may.GetChecks() == "write", err
}

// gitSource makes tokens for one repository that can read, or write, its contents and nothing else.
func (i *installation) gitSource(name, level string) *ghinstallation.Transport {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := strings.ToLower(name) + " " + level
	if known := i.git[key]; known != nil {
		return known
	}
	t := i.app.source(i.id)
	t.InstallationTokenOptions = &github.InstallationTokenOptions{
		Repositories: []string{name},
		Permissions:  &github.InstallationPermissions{Contents: github.String(level), Metadata: github.String("read")},
	}
	i.git[key] = t
	return t
}
