package web_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/oidctest"
	"github.com/plumbline-dev/plumbline/web"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// door is a server on which people sign in: by OIDC, or with accounts of the stand-in for GitHub, which says what they may do.
type door struct {
	*site
	oidc   *oidctest.Provider
	github *forgetest.GitHub
	gate   *signin.Gate
	views  *seen

	mu  sync.Mutex
	now time.Time
}

func (d *door) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *door) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

// The people: each is called as the role that server.yaml would give them, and has an account of that name on the forge.
var doorGrants = []signin.Grant{
	{Role: signin.Viewer, Repos: []string{"acme/live"}, Groups: []string{"viewers"}},
	{Role: signin.Operator, Repos: []string{"acme/live"}, People: []string{"github:operator"}},
	{Role: signin.Admin, Repos: []string{"*"}, People: []string{"admin@example.com"}},
	{Role: signin.Admin, Repos: []string{"acme/gone"}, People: []string{"github:other"}},
	{Role: signin.Admin, People: []string{"github:capped", "oidc:stranger"}},
	{Role: signin.Viewer, Repos: []string{"acme/*"}, Teams: []string{"github:acme/platform"}},
}

// openDoor starts one. change may change what the gate is told.
func openDoor(t *testing.T, views *seen, change func(*signin.Options)) *door {
	t.Helper()
	d := &door{oidc: oidctest.Start(t), github: forgetest.StartGitHub(t), views: views, now: time.Now()}
	d.oidc.Clock(d.clock)
	live, gone := forge.Repo{Owner: "acme", Name: "live"}, forge.Repo{Owner: "acme", Name: "gone"}
	d.github.AddRepo(t, live, true)
	d.github.AddRepo(t, gone, true)
	for login, may := range map[string]forge.Permission{"viewer": forge.Admin, "operator": forge.Admin, "admin": forge.Admin, "nobody": forge.Admin, "capped": forge.Read, "team": forge.Write} {
		d.github.Grant(t, live, login, may)
	}
	for _, login := range []string{"other", "admin"} {
		d.github.Grant(t, gone, login, forge.Admin)
	}
	for _, name := range []string{"viewer", "operator", "admin", "nobody", "other", "capped"} {
		d.oidc.Person(name, map[string]any{"preferred_username": "The " + name, "email": name + "@example.com", "email_verified": true, "login": name, "groups": []string{name + "s"}})
	}
	d.oidc.Person("stranger", map[string]any{"preferred_username": "The stranger", "email": "admin@example.com"}) // not verified, and no account
	client, err := github.New(github.Options{URL: d.github.URL, Token: d.github.Token})
	if err != nil {
		t.Fatal(err)
	}
	id, appSecret := d.github.OAuthApp()
	logs := &logged{}
	o := signin.Options{
		DB: views.db, Audit: views.Audit, Grants: doorGrants, Forges: map[string]signin.Forge{"github": client}, Now: d.clock, Log: slog.New(slog.NewTextHandler(logs, nil)),
		Ways: []signin.Way{
			{ID: signin.OIDCWay, Kind: signin.OIDC, Name: "Example", URL: d.oidc.URL, ClientID: d.oidc.ClientID, ClientSecret: d.oidc.ClientSecret, Accounts: map[string]string{"github": "login"}},
			{ID: "github", Kind: signin.GitHub, Name: "GitHub", URL: d.github.URL, ClientID: id, ClientSecret: appSecret, Teams: true},
		},
	}
	d.site = serveAt(t, func(w *web.Options, at string) {
		showing(views)(w)
		w.Exposed = true
		o.PublicURL = at
		if change != nil {
			change(&o)
		}
		if d.gate, err = signin.New(o); err != nil {
			t.Fatal(err)
		}
		w.SignIn = d.gate
	})
	return d
}

// browser is somebody's, with its cookies.
type browser struct {
	*http.Client
	d *door
}

func (d *door) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, Timeout: time.Minute}, d}
}

// get follows where it is sent, and says where it ended.
func (b *browser) get(t *testing.T, address string) (status int, at, text string) {
	t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.d.url + address
	}
	resp, err := b.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	return b.read(t, resp)
}

func (b *browser) read(t *testing.T, resp *http.Response) (status int, at, text string) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimPrefix(resp.Request.URL.String(), b.d.url), string(body)
}

// post sends a form with the token that the page shows.
func (b *browser) post(t *testing.T, path string, fields url.Values) (status int, at, text string) {
	t.Helper()
	resp, err := b.PostForm(b.d.url+path, fields)
	if err != nil {
		t.Fatal(err)
	}
	return b.read(t, resp)
}

var formToken = regexp.MustCompile(`name="form" value="([0-9a-f]+)"`)

func (b *browser) form(t *testing.T, fields ...string) url.Values {
	t.Helper()
	_, _, text := b.get(t, "/tokens")
	found := formToken.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("the page has no form:\n%s", text)
	}
	values := url.Values{"form": {found[1]}}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return values
}

// cookie is the session's.
func (b *browser) cookie(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(b.d.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == "plumbline" {
			return c.Value
		}
	}
	return ""
}

// as is the browser of somebody who has signed in by OIDC.
func (d *door) as(t *testing.T, name string) *browser {
	t.Helper()
	b := d.browser(t)
	d.oidc.Silent(name)
	if status, at, text := b.get(t, "/sign-in/oidc?to=/queue"); at != "/queue" || status != 200 && status != 403 {
		t.Fatalf("%s signs in and is at %s with %d: %s", name, at, status, text)
	}
	return b
}

var tokenText = regexp.MustCompile(`plumbline_[A-Za-z0-9_-]{43}`)

// token makes an API token.
func (b *browser) token(t *testing.T, role string) string {
	t.Helper()
	status, _, text := b.post(t, "/tokens", b.form(t, "name", "a test", "role", role, "days", "3"))
	found := tokenText.FindString(text)
	if status != 200 || found == "" {
		t.Fatalf("a token is answered with %d:\n%s", status, text)
	}
	return found
}

// signedIn are all who may ask a server on which people sign in.
func signedIn(t *testing.T, views *seen) []asking {
	t.Helper()
	d := openDoor(t, views, nil)
	cookie := func(name string) func() http.Header {
		value := d.as(t, name).cookie(t)
		return func() http.Header { return http.Header{"Cookie": {"plumbline=" + value}} }
	}
	bearer := func(name, role string) func() http.Header {
		text := d.as(t, name).token(t, role)
		return func() http.Header { return http.Header{"Authorization": {"Bearer " + text}} }
	}
	return []asking{
		{"nobody signed in", d.site, func() http.Header { return nil }, func(a answers) int { return a.out }},
		{"somebody without a role", d.site, cookie("nobody"), func(a answers) int { return a.nobody }},
		{"a viewer of another repository", d.site, cookie("other"), func(a answers) int { return a.other }},
		{"a viewer", d.site, cookie("viewer"), func(a answers) int { return a.viewer }},
		{"an operator", d.site, cookie("operator"), func(a answers) int { return a.operator }},
		{"an admin", d.site, cookie("admin"), func(a answers) int { return a.admin }},
		{"a token for another repository", d.site, bearer("other", "admin"), func(a answers) int { return a.otherToken }},
		{"a viewer's token", d.site, bearer("operator", "viewer"), func(a answers) int { return a.viewerToken }},
		{"an operator's token", d.site, bearer("operator", "operator"), func(a answers) int { return a.operatorToken }},
	}
}

// everything is all that the database holds, as text.
func (s *seen) everything(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	s.tx(t, func(ctx context.Context, tx *sql.Tx) {
		for _, table := range []string{"web_person", "web_session", "web_token", "audit_entry"} {
			rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			columns, err := rows.Columns()
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				values := make([]any, len(columns))
				into := make([]any, len(columns))
				for i := range values {
					into[i] = &values[i]
				}
				if err := rows.Scan(into...); err != nil {
					t.Fatal(err)
				}
				fmt.Fprintln(&all, table, values)
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
	return all.String()
}
