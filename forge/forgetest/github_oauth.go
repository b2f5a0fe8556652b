package forgetest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ghOAuth is an OAuth App, as
// https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps describes signing in by one.
type ghOAuth struct {
	id, secret string
	login      string // who sits before the browser; "" refuses
	codes      map[string]ghCode
	teams      map[string][]string // ORG/TEAM by login
}

type ghCode struct{ login, redirect, challenge, scope string }

// OAuthApp returns the credentials of an OAuth App by which people sign in.
func (g *GitHub) OAuthApp() (id, secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.oauth.id == "" {
		g.oauth.id, g.oauth.secret = "Iv1."+randomHex(8), randomHex(20)
	}
	return g.oauth.id, g.oauth.secret
}

// Before has somebody sit before each browser that comes to sign in; with "" they press "Cancel".
func (g *GitHub) Before(login string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.oauth.login = login; login != "" {
		g.user(login)
	}
}

// AddToTeam puts somebody into a team, ORG/TEAM.
func (g *GitHub) AddToTeam(team, login string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.oauth.teams == nil {
		g.oauth.teams = map[string][]string{}
	}
	g.oauth.teams[login] = append(g.oauth.teams[login], team)
}

// serveOAuth serves what browsers and clients ask below /login/oauth/.
func (g *GitHub) serveOAuth(w http.ResponseWriter, req *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch req.Method + " " + req.URL.Path {
	case "GET /login/oauth/authorize":
		q := req.URL.Query()
		back, err := url.Parse(q.Get("redirect_uri"))
		if q.Get("client_id") != g.oauth.id || g.oauth.id == "" || err != nil || back.Host == "" {
			http.Error(w, "no such application", http.StatusNotFound)
			return
		}
		values := url.Values{"state": {q.Get("state")}}
		if g.oauth.login == "" {
			values.Set("error", "access_denied")
			values.Set("error_description", "The user has denied your application access.")
		} else {
			code := rand.Text()
			if g.oauth.codes == nil {
				g.oauth.codes = map[string]ghCode{}
			}
			g.oauth.codes[code] = ghCode{g.oauth.login, back.String(), q.Get("code_challenge"), q.Get("scope")}
			values.Set("code", code)
		}
		back.RawQuery = values.Encode()
		http.Redirect(w, req, back.String(), http.StatusFound)
	case "POST /login/oauth/access_token":
		code := req.PostFormValue("code")
		known, ok := g.oauth.codes[code]
		delete(g.oauth.codes, code)
		sum := sha256.Sum256([]byte(req.PostFormValue("code_verifier")))
		said := map[string]string{}
		switch {
		case req.PostFormValue("client_id") != g.oauth.id || req.PostFormValue("client_secret") != g.oauth.secret:
			said["error"] = "incorrect_client_credentials"
		case !ok || known.challenge != "" && known.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
			said["error"] = "bad_verification_code"
		case req.PostFormValue("redirect_uri") != known.redirect:
			said["error"] = "redirect_uri_mismatch"
		default:
			token := "gho_" + randomHex(18)
			g.tokens[token] = &ghToken{user: known.login, scopes: strings.Fields(known.scope)}
			said = map[string]string{"access_token": token, "token_type": "bearer", "scope": strings.Join(strings.Fields(known.scope), ",")}
		}
		// Errors have the status 200, too.
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(said)
	default:
		http.NotFound(w, req)
	}
}

// listTeams is GET /user/teams.
func (g *GitHub) listTeams(c *call) reply {
	if c.token == nil || c.token.app != nil {
		return failure(http.StatusForbidden, "Resource not accessible by integration")
	}
	if !slices.Contains(c.token.scopes, "read:org") {
		return failure(http.StatusForbidden, "You need at least read:org scope or user scope to list your teams.")
	}
	all := []map[string]any{}
	if page := c.URL.Query().Get("page"); page == "" || page == "1" {
		for _, team := range g.oauth.teams[c.token.user] {
			org, name, _ := strings.Cut(team, "/")
			all = append(all, map[string]any{"slug": name, "name": strings.ToUpper(name), "organization": map[string]any{"login": org}})
		}
	}
	return ok(all)
}
