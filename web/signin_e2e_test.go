//go:build e2e

package web_test

import (
	"context"
	"database/sql"
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge/gitea"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/web"
	"github.com/plumbline-dev/plumbline/web/signin"
)

var (
	forms  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>`)
	hidden = regexp.MustCompile(`<input[^>]*type="hidden"[^>]*>`)
	named  = regexp.MustCompile(`name="([^"]*)"`)
	valued = regexp.MustCompile(`value="([^"]*)"`)
)

// formOf reads the form of a page that goes to an address, as it is.
func formOf(t *testing.T, text, action string) url.Values {
	t.Helper()
	for _, form := range forms.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(form[1], action) {
			continue
		}
		values := url.Values{}
		for _, input := range hidden.FindAllString(form[2], -1) {
			name, value := named.FindStringSubmatch(input), valued.FindStringSubmatch(input)
			if name != nil && value != nil {
				values.Set(name[1], html.UnescapeString(value[1]))
			}
		}
		return values
	}
	t.Fatalf("the page has no form for %s:\n%s", action, text)
	return nil
}

// TestSigningInWithGitea goes the whole way through a real one: its sign-in, its question whether Plumbline may know who it is,
// and back, with the teams and the permissions that it tells.
func TestSigningInWithGitea(t *testing.T) {
	t.Parallel()
	server := parts.Gitea(t)
	server.AddUser(t, "ann")
	server.AddUser(t, "bob")
	server.Do(t, "", "POST", "/orgs", map[string]any{"username": "acme"}, nil)
	server.Do(t, "", "POST", "/orgs/acme/repos", map[string]any{"name": "live", "private": true, "auto_init": true, "default_branch": "main"}, nil)
	var team struct{ ID int64 }
	server.Do(t, "", "POST", "/orgs/acme/teams", map[string]any{"name": "Platform", "permission": "read", "includes_all_repositories": true, "units": []string{"repo.code", "repo.pulls"}}, &team)
	server.Do(t, "", "PUT", "/teams/"+strconv.FormatInt(team.ID, 10)+"/members/ann", nil, nil)
	server.Do(t, "", "PUT", "/repos/acme/live/collaborators/ann", map[string]any{"permission": "write"}, nil)
	server.Do(t, "", "PUT", "/repos/acme/live/collaborators/bob", map[string]any{"permission": "read"}, nil)
	client, err := gitea.New(gitea.Options{URL: server.URL, Token: server.Token})
	if err != nil {
		t.Fatal(err)
	}
	views := look(t, "")
	views.tx(t, func(ctx context.Context, tx *sql.Tx) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO repository VALUES ('gitea/acme/live', 'gitea', 'acme', 'live', 'main', '', 0, '', 0, 0, 0, 0, 0, '')`); err != nil {
			t.Fatal(err)
		}
	})
	d := &door{views: views}
	d.site = serveAt(t, func(o *web.Options, at string) {
		showing(views)(o)
		var app struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
		server.Do(t, "", "POST", "/user/applications/oauth2", map[string]any{"name": "Plumbline", "redirect_uris": []string{at + "/sign-in/gitea/back"}, "confidential_client": true}, &app)
		d.gate, err = signin.New(signin.Options{
			DB: views.db, Audit: views.Audit, PublicURL: at, Forges: map[string]signin.Forge{"gitea": client},
			Ways: []signin.Way{{ID: "gitea", Kind: signin.Gitea, Name: "Gitea", URL: server.URL, ClientID: app.ID, ClientSecret: app.Secret, Teams: true}},
			Grants: []signin.Grant{
				{Role: signin.Admin, Repos: []string{"acme/*"}, Teams: []string{"gitea:acme/Platform"}},
				{Role: signin.Operator, Repos: []string{"*"}, People: []string{"gitea:bob"}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		o.SignIn = d.gate
	})
	for name, want := range map[string]struct {
		role       signin.Role
		everywhere signin.Role
	}{"ann": {signin.Operator, signin.NoRole}, "bob": {signin.Viewer, signin.Operator}} {
		b := d.browser(t)
		_, at, text := b.get(t, "/sign-in/gitea?to=/queue")
		if !strings.Contains(at, "/user/login") {
			t.Fatalf("%s is not asked who they are, at %s:\n%s", name, at, text)
		}
		fields := formOf(t, text, "/user/login")
		fields.Set("user_name", name)
		fields.Set("password", name+"-test-password")
		resp, err := b.PostForm(server.URL+"/user/login", fields)
		if err != nil {
			t.Fatal(err)
		}
		_, _, text = b.read(t, resp)
		grant := formOf(t, text, "/login/oauth/grant")
		grant.Set("granted", "true")
		if resp, err = b.PostForm(server.URL+"/login/oauth/grant", grant); err != nil {
			t.Fatal(err)
		}
		status, at, text := b.read(t, resp)
		if status != 200 || at != "/queue" || !strings.Contains(text, name) {
			t.Fatalf("%s is at %s with %d:\n%s", name, at, status, text)
		}
		a, _ := b.asker(t)
		role, err := a.Role(t.Context(), "gitea/acme/live")
		if err != nil || role != want.role || a.Everywhere() != want.everywhere {
			t.Errorf("%s is %s, and %s everywhere, %v; want %+v:\n%s", name, role, a.Everywhere(), err, want, views.everything(t))
		}
		// Once more, as each hour, nobody is asked anything.
		if _, at, text = b.get(t, "/sign-in/gitea?to=/drift"); at != "/drift" {
			t.Errorf("the second time %s is at %s:\n%s", name, at, text)
		}
	}
}
