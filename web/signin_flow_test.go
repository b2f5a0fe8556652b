package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
	"github.com/plumbline-dev/plumbline/web/signin"
)

const (
	live = engine.RepoID(repository)
	gone = engine.RepoID("github/acme/gone")
)

// asker is who a browser is to the server.
func (b *browser) asker(t *testing.T) (*signin.Asker, signin.State) {
	t.Helper()
	req := httptest.NewRequest("GET", "/", nil)
	req.AddCookie(&http.Cookie{Name: "plumbline", Value: b.cookie(t)})
	a, state, err := b.d.gate.Asker(req)
	if err != nil {
		t.Fatal(err)
	}
	if a == nil {
		a = &signin.Asker{}
	}
	return a, state
}

// may says in words what somebody may in both repositories, and in the server.
func may(t *testing.T, a *signin.Asker) string {
	t.Helper()
	inLive, err := a.Role(t.Context(), live)
	if err != nil {
		return err.Error()
	}
	inGone, err := a.Role(t.Context(), gone)
	if err != nil {
		return err.Error()
	}
	sight, err := a.Sight(t.Context())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, %s, %s; sees %v %v %v", inLive, inGone, a.Everywhere(), sight.Sees(live), sight.Sees(gone), sight.Sees(""))
}

// TestSigningIn: somebody is sent to sign in, comes back to the page that they wanted, and is nobody after signing out. What
// they and the servers have shown one another stands nowhere in clear.
func TestSigningIn(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, "cluster"), nil)
	b := d.browser(t)
	if status, at, text := b.get(t, "/drift?class=node"); status != 200 || at != "/sign-in?to=%2Fdrift%3Fclass%3Dnode" || !strings.Contains(text, "GitHub") || strings.Contains(text, "Queue") {
		t.Fatalf("who is not signed in is at %s with %d:\n%s", at, status, text)
	}
	d.oidc.Silent("operator")
	if status, at, text := b.get(t, "/sign-in/oidc?to=%2Fdrift%3Fclass%3Dnode"); status != 200 || at != "/drift?class=node" || !strings.Contains(text, "The operator") || !strings.Contains(text, "Sign out") {
		t.Fatalf("after signing in: at %s with %d:\n%s", at, status, text)
	}
	first := b.cookie(t)
	token := b.token(t, "viewer")
	if status, _, text := b.get(t, "/tokens"); status != 200 || strings.Contains(text, token) || !strings.Contains(text, "a test") {
		t.Errorf("the list of tokens answers %d and has the token again:\n%s", status, text)
	}
	d.oidc.Silent("viewer")
	b.get(t, "/sign-in/oidc")
	second := b.cookie(t)
	old := d.browser(t)
	u, _ := url.Parse(d.url)
	old.Jar.SetCookies(u, []*http.Cookie{{Name: "plumbline", Value: first}})
	if _, at, _ := old.get(t, "/queue"); first == second || !strings.HasPrefix(at, "/sign-in?") {
		t.Errorf("the session from before is still good: at %s", at)
	}
	form := b.form(t)
	if _, at, _ := b.post(t, "/sign-out", form); at != "/sign-in" || b.cookie(t) != "" {
		t.Errorf("after signing out: at %s with the cookie %q", at, b.cookie(t))
	}
	old.Jar.SetCookies(u, []*http.Cookie{{Name: "plumbline", Value: second}})
	if _, at, _ := old.get(t, "/queue"); !strings.HasPrefix(at, "/sign-in?") {
		t.Errorf("a session that was ended is still good: at %s", at)
	}
	rows, log := d.views.everything(t), d.log.String()
	_, appSecret := d.github.OAuthApp()
	for name, secret := range map[string]string{"cookie": first, "other cookie": second, "token": token, "client's secret": d.oidc.ClientSecret, "other client's secret": appSecret, "form": form.Get("form")} {
		if strings.Contains(rows, secret) || strings.Contains(log, secret) {
			t.Errorf("the %s stands in the database or in the log", name)
		}
	}
	for _, want := range []string{"sign-in", "token-make", "The operator (oidc:operator)", "signed in by oidc", "at most viewer in all repositories"} {
		if !strings.Contains(rows, want) {
			t.Errorf("the audit log does not say %q:\n%s", want, rows)
		}
	}
	if strings.Count(rows, "signed in by oidc") != 2 {
		t.Errorf("two sign-ins are told of otherwise:\n%s", rows)
	}
}

// TestWhoMayWhat: the highest role of all that fit, and never more than the forge allows.
func TestWhoMayWhat(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, "cluster"), nil)
	for name, want := range map[string]string{
		"viewer":   "viewer, no role, no role; sees true false false",
		"operator": "operator, no role, no role; sees true false false",
		"admin":    "admin, admin, admin; sees true true true",
		"other":    "no role, admin, no role; sees false true false",
		"capped":   "viewer, no role, admin; sees true false true",
		"nobody":   "no role, no role, no role; sees false false false",
		"stranger": "no role, no role, admin; sees false false true", // no claim names an account, and the address is not verified
	} {
		a, _ := d.as(t, name).asker(t)
		if got := may(t, a); got != want {
			t.Errorf("%s may %s, want %s", name, got, want)
		}
	}
	// With an account of the forge, and a team.
	d.github.AddToTeam("acme/platform", "team")
	for login, want := range map[string]string{
		"team":     "viewer, no role, no role; sees true false false",
		"operator": "operator, no role, no role; sees true false false",
		"viewer":   "no role, no role, no role; sees false false false", // the group is the OIDC provider's
	} {
		b := d.browser(t)
		d.github.Before(login)
		if _, at, text := b.get(t, "/sign-in/github?to=/queue"); at != "/queue" {
			t.Fatalf("%s is at %s: %s", login, at, text)
		}
		a, _ := b.asker(t)
		if got := may(t, a); got != want {
			t.Errorf("%s of the forge may %s, want %s", login, got, want)
		}
		if account, _ := a.Account("github"); account != login {
			t.Errorf("%s has the account %q", login, account)
		}
	}
}

// TestRightsThatAreLost: on the forge within a minute to act and minutes to look, at the provider within an hour. What a forge
// does not answer for is not allowed.
func TestRightsThatAreLost(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, "cluster"), nil)
	b := d.as(t, "operator")
	a, _ := b.asker(t)
	if got := may(t, a); !strings.HasPrefix(got, "operator") {
		t.Fatal(got)
	}
	d.github.Grant(t, forge.Repo{Owner: "acme", Name: "live"}, "operator", forge.Read)
	d.pass(59 * time.Second)
	if got := may(t, a); !strings.HasPrefix(got, "operator") {
		t.Errorf("the forge is asked again after seconds: %s", got)
	}
	d.pass(2 * time.Second)
	if got := may(t, a); !strings.HasPrefix(got, "viewer") {
		t.Errorf("a minute later the operator may %s", got)
	}
	mend := d.github.Break(forgetest.Fault{Method: "GET", Path: "/repos/acme/live/collaborators", Status: 500, Body: "{}"})
	d.pass(6 * time.Minute)
	if got := may(t, a); !strings.Contains(got, "500") {
		t.Errorf("while the forge does not answer, the operator may %s", got)
	}
	if status, _, text := b.get(t, "/"); status != 503 || strings.Contains(text, "cluster") {
		t.Errorf("while the forge does not answer, a page answers %d:\n%s", status, text)
	}
	mend()
	if status, _, _ := b.get(t, "/"); status != 200 {
		t.Errorf("then a page answers %d", status)
	}

	// At the provider: the browser goes there by itself, and a form waits for that.
	v := d.as(t, "viewer")
	form := v.form(t, "name", "x", "role", "viewer", "days", "1")
	d.oidc.Person("viewer", map[string]any{"preferred_username": "The viewer", "login": "viewer", "groups": "others"})
	d.pass(time.Hour)
	if _, state := v.asker(t); state != signin.Stale {
		t.Errorf("after an hour the state is %v", state)
	}
	if status, _, _ := v.post(t, "/tokens", form); status != 401 {
		t.Errorf("a form after an hour answers %d", status)
	}
	d.oidc.Silent("viewer")
	if status, at, text := v.get(t, "/queue"); status != 403 || at != "/queue" || !strings.Contains(text, "no role") {
		t.Errorf("who is in no group any more is at %s with %d", at, status)
	}
	// And neither idle nor for ever.
	d.pass(signin.DefaultIdle)
	if _, state := v.asker(t); state != signin.SignedOut {
		t.Errorf("a session that was idle is in the state %v", state)
	}
	d.oidc.Silent("admin")
	v = d.as(t, "admin")
	for range int(signin.DefaultAbsolute/time.Hour) + 1 {
		d.pass(59 * time.Minute)
		v.get(t, "/queue")
	}
	if _, state := v.asker(t); state != signin.SignedOut {
		t.Errorf("a session that was used for more than a day is in the state %v", state)
	}
	if rows := d.views.everything(t); strings.Count(rows, "The admin (oidc:admin)") != 1 {
		t.Errorf("signing in again each hour is news:\n%s", rows)
	}
}

// TestProvidersThatLie: nobody is signed in by a token that is not for this server, this browser and this try.
func TestProvidersThatLie(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, ""), nil)
	d.oidc.Silent("admin")
	refused := func(name string, status int, at string, b *browser) {
		t.Helper()
		if status < 400 || b.cookie(t) != "" {
			t.Errorf("%s: at %s with %d and the cookie %q", name, at, status, b.cookie(t))
		}
	}
	for name, lie := range map[string]func(map[string]any){
		"another nonce":    func(c map[string]any) { c["nonce"] = "another" },
		"no nonce":         func(c map[string]any) { delete(c, "nonce") },
		"another audience": func(c map[string]any) { c["aud"] = "another" },
		"another issuer":   func(c map[string]any) { c["iss"] = "https://evil.example" },
		"of yesterday":     func(c map[string]any) { c["exp"] = d.clock().Add(-time.Hour).Unix() },
		"another person":   func(c map[string]any) { c["sub"] = "viewer"; delete(c, "groups") }, // as the user info says
	} {
		b := d.browser(t)
		d.oidc.Mangle(lie)
		status, at, text := b.get(t, "/sign-in/oidc")
		refused(name, status, at, b)
		if strings.Contains(text, "nonce") || strings.Contains(text, "evil") {
			t.Errorf("%s is told to whoever asks: %s", name, text)
		}
	}
	d.oidc.Mangle(nil)
	b := d.browser(t)
	d.oidc.Forge(true)
	status, at, _ := b.get(t, "/sign-in/oidc")
	refused("another key", status, at, b)
	d.oidc.Forge(false)
	d.oidc.Down(true)
	fresh := openDoor(t, look(t, ""), nil)
	fresh.oidc.Down(true)
	status, at, _ = fresh.browser(t).get(t, "/sign-in/oidc")
	if status != http.StatusBadGateway {
		t.Errorf("a provider that is down: at %s with %d", at, status)
	}
	d.oidc.Down(false)

	// The way back of one browser is none for another one, nor a second time, nor by another way.
	b = d.browser(t)
	var backs []string
	b.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(req.URL.Path, "/back") {
			backs = append(backs, req.URL.String())
			return http.ErrUseLastResponse
		}
		return nil
	}
	b.get(t, "/sign-in/oidc")
	if len(backs) != 1 {
		t.Fatalf("the ways back are %q", backs)
	}
	other := d.browser(t)
	status, at, _ = other.get(t, backs[0])
	refused("another browser", status, at, other)
	status, at, _ = b.get(t, strings.Replace(backs[0], "/sign-in/oidc/", "/sign-in/github/", 1))
	refused("another way", status, at, b)
	status, at, _ = b.get(t, backs[0])
	refused("a second time", status, at, b)

	d.github.Before("")
	b = d.browser(t)
	status, at, text := b.get(t, "/sign-in/github")
	refused("given up", status, at, b)
	if strings.Contains(text, "denied") {
		t.Errorf("what the forge says is repeated: %s", text)
	}
	// A code for another server's callback, and one that nobody has given.
	for _, query := range []string{"code=x", "state=" + strings.Repeat("A", 43), "error=%3Cscript%3E", "code=" + strings.Repeat("c", 5000)} {
		b = d.browser(t)
		status, at, _ = b.get(t, "/sign-in/oidc/back?"+query)
		refused(query[:6], status, at, b)
	}
}

// TestNobodyIsLedAway: whatever an address says of where to after, it is a page of this server.
func TestNobodyIsLedAway(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"/drift?class=node": "/drift?class=node", "/": "/", "": "/", "/run/r3#top": "/run/r3#top",
		"//evil.example": "/", "https://evil.example": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "/\t/evil.example": "/", "/%09/evil.example": "/%09/evil.example",
		"/%2f%2fevil.example": "/", "/%5cevil.example": "/", "javascript:alert(1)": "/", "///evil.example": "/", "evil.example": "/", "/a\r\nSet-Cookie: x=y": "/",
		"http:evil.example": "/", "/sign-out": "/", "/sign-in/oidc": "/", "?x": "/", "/é": "/", "/" + strings.Repeat("a", 3000): "/", "https:/evil.example": "/", "/@evil.example": "/@evil.example",
	} {
		if got := signin.Local(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
	d := openDoor(t, look(t, ""), nil)
	d.oidc.Silent("admin")
	for _, to := range []string{"//evil.example/x", "https://evil.example/x", "/%5Cevil.example", "/%2F/evil.example"} {
		if _, at, _ := d.browser(t).get(t, "/sign-in/oidc?to="+url.QueryEscape(to)); strings.Contains(at, "evil") {
			t.Errorf("%s leads to %s", to, at)
		}
	}
}

// TestFormsOfOthers: what another site sends, or somebody else's page, is not done.
func TestFormsOfOthers(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, ""), nil)
	a, b := d.as(t, "admin"), d.as(t, "viewer")
	good := a.form(t, "name", "x", "role", "viewer", "days", "1")
	send := func(b *browser, form url.Values, header http.Header) int {
		t.Helper()
		req, err := http.NewRequest("POST", d.url+"/tokens", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header.Clone()
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for name, c := range map[string]struct {
		by     *browser
		form   url.Values
		header http.Header
		want   int
	}{
		"their own":           {a, good, http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		"of no browser":       {a, good, http.Header{}, 200},
		"another site":        {a, good, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"a neighbour":         {a, good, http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		"another origin":      {a, good, http.Header{"Origin": {"https://evil.example"}}, 403},
		"no origin":           {a, good, http.Header{"Origin": {"null"}}, 403},
		"somebody else's":     {b, good, http.Header{}, 403},
		"without a token":     {a, url.Values{"name": {"x"}}, http.Header{}, 403},
		"in the address":      {a, url.Values{}, http.Header{}, 403},
		"too large":           {a, url.Values{"form": good["form"], "name": {strings.Repeat("x", 100_000)}}, http.Header{}, 400},
		"without a session":   {d.browser(t), good, http.Header{}, 401},
		"with a bad cookie":   {d.browser(t), good, http.Header{"Cookie": {"plumbline=" + strings.Repeat("A", 43)}}, 401},
		"with a long one":     {d.browser(t), good, http.Header{"Cookie": {"plumbline=" + strings.Repeat("A", 20_000)}}, 401},
		"with a strange one":  {d.browser(t), good, http.Header{"Cookie": {"plumbline=' OR 1=1 --; plumbline=\u00e9"}}, 401},
		"with two cookies":    {d.browser(t), good, http.Header{"Cookie": {"plumbline=x; plumbline=" + a.cookie(t)}}, 401},
		"what is no form":     {a, url.Values{"%zz": {"\x00"}, "form": good["form"]}, http.Header{}, 400},
		"a role there is not": {a, url.Values{"form": good["form"], "name": {"x"}, "days": {"1"}, "role": {"owner"}}, http.Header{}, 400},
		"for too long":        {a, url.Values{"form": good["form"], "name": {"x"}, "days": {"366"}, "role": {"viewer"}}, http.Header{}, 400},
		"of a strange name":   {a, url.Values{"form": good["form"], "name": {"\x1b[31m"}, "days": {"1"}, "role": {"viewer"}}, http.Header{}, 400},
		"in strange places":   {a, url.Values{"form": good["form"], "name": {"x"}, "days": {"1"}, "role": {"viewer"}, "repos": {"../.."}}, http.Header{}, 400},
	} {
		if got := send(c.by, c.form, c.header); got != c.want {
			t.Errorf("a form %s answers %d, want %d", name, got, c.want)
		}
	}
}

// TestTriesAreCounted: from one address, and not from another one.
func TestTriesAreCounted(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, ""), nil)
	once := func(path, from string, header http.Header) int {
		t.Helper()
		if header == nil {
			header = http.Header{}
		}
		header.Set("X-Forwarded-For", "198.51.100.9, "+from)
		status, _, _ := ask(t, "GET", d.url+path, header, nil)
		return status
	}
	for range 30 {
		if status := once("/sign-in/github", "192.0.2.1", nil); status != 303 {
			t.Fatalf("a try answers %d", status)
		}
	}
	if a, b := once("/sign-in/github", "192.0.2.1", nil), once("/sign-in/github", "192.0.2.2", nil); a != 429 || b != 303 {
		t.Errorf("one more answers %d, one from elsewhere %d", a, b)
	}
	wrong := func() http.Header {
		return http.Header{"Authorization": {"Bearer plumbline_" + strings.Repeat("A", 43)}}
	}
	for i := range 31 {
		want := 401
		if i == 30 {
			want = 429
		}
		if status := once("/api/v1/server", fmt.Sprintf("2001:db8::%x", i), wrong()); status != want {
			t.Fatalf("the wrong token number %d answers %d, want %d", i, status, want)
		}
	}
	if status := once("/sign-in/github", "2001:db8::", nil); status != 303 {
		t.Errorf("wrong tokens keep people there from signing in: %d", status)
	}
	d.pass(time.Minute)
	if status := once("/sign-in/github", "192.0.2.1", nil); status != 303 {
		t.Errorf("a minute later a try answers %d", status)
	}
}

// TestTokens: one may what its owner may, and less if it was made so; it ends, and is ended by its owner.
func TestTokens(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, "cluster"), nil)
	b := d.as(t, "operator")
	bearer := func(text string) (*signin.Asker, error) {
		req := httptest.NewRequest("GET", "/api/v1/server", nil)
		req.Header.Set("Authorization", "Bearer "+text)
		a, _, err := d.gate.Bearer(req)
		return a, err
	}
	made := func(b *browser, role string, more ...string) string {
		t.Helper()
		_, _, text := b.post(t, "/tokens", b.form(t, append([]string{"name", "x", "role", role, "days", "30"}, more...)...))
		token := tokenText.FindString(text)
		if token == "" {
			t.Fatalf("no token:\n%s", text)
		}
		return token
	}
	all := map[string]string{
		made(b, "viewer"): "viewer, no role, no role; sees true false false",
		made(b, "admin"):  "operator, no role, no role; sees true false false",
		made(b, "admin", "repos", "acme/gone, acme/l*x"):   "no role, no role, no role; sees false false false",
		made(d.as(t, "admin"), "operator"):                 "operator, operator, operator; sees true true true",
		made(d.as(t, "admin"), "admin", "repos", "*/gone"): "no role, admin, no role; sees false true false",
	}
	for text, want := range all {
		a, err := bearer(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := may(t, a); got != want {
			t.Errorf("a token may %s, want %s", got, want)
		}
		if _, _, err := a.MakeToken(t.Context(), "more", signin.Viewer, nil, 1); err == nil {
			t.Error("a token made another one")
		}
		if _, err := a.RevokeToken(t.Context(), "x"); err == nil {
			t.Error("a token revoked one")
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer x", "Basic " + canary, "Bearer plumbline_" + strings.Repeat("\u00e9", 43), "Bearer plumbline_" + strings.Repeat("A", 4000), "bearer  plumbline_x", canary} {
		status, _, text := ask(t, "GET", d.url+"/api/v1/server", http.Header{"Authorization": {header}}, nil)
		if status != 401 || strings.Contains(text, canary) {
			t.Errorf("with %q the API answers %d %s", header, status, text)
		}
	}
	token := made(b, "viewer")
	if status, _, _ := ask(t, "GET", d.url+"/api/v1/server", http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, nil); status != 401 {
		t.Errorf("with two tokens the API answers %d", status)
	}
	if status, _, text := ask(t, "GET", d.url+"/api/v1/runs/r3", http.Header{"Authorization": {"Bearer " + token}}, nil); status != 200 {
		t.Errorf("the API answers %d %s", status, text)
	}
	mine, err := first(b.asker(t)).Tokens(t.Context())
	if err != nil || len(mine) != 4 || mine[0].UsedAt.IsZero() {
		t.Fatalf("the tokens are %+v, %v", mine, err)
	}
	// Nobody else ends it.
	if status, _, _ := d.as(t, "admin").post(t, "/tokens/"+mine[0].ID+"/revoke", d.as(t, "admin").form(t)); status != 403 {
		t.Errorf("with the form of another session it answers %d", status)
	}
	admin := d.as(t, "admin")
	if status, _, _ := admin.post(t, "/tokens/"+mine[0].ID+"/revoke", admin.form(t)); status != 404 {
		t.Errorf("somebody else's token answers %d", status)
	}
	if status, at, _ := b.post(t, "/tokens/"+mine[0].ID+"/revoke", b.form(t)); status != 200 || at != "/tokens" {
		t.Errorf("revoking answers %d at %s", status, at)
	}
	if _, err := bearer(token); err == nil {
		t.Error("a token that was revoked is good")
	}
	// It may no more than its owner may then: groups count for a week, the forge's word always.
	group := made(d.as(t, "viewer"), "viewer")
	d.pass(6 * 24 * time.Hour)
	a, err := bearer(group)
	if err != nil || may(t, a) != "viewer, no role, no role; sees true false false" {
		t.Errorf("after six days: %s, %v", may(t, a), err)
	}
	d.github.Grant(t, forge.Repo{Owner: "acme", Name: "live"}, "viewer", forge.None)
	d.pass(6 * time.Minute)
	if got := may(t, a); got != "no role, no role, no role; sees false false false" {
		t.Errorf("whoever lost the forge's permission may %s", got)
	}
	d.github.Grant(t, forge.Repo{Owner: "acme", Name: "live"}, "viewer", forge.Read)
	d.pass(24 * time.Hour)
	if a, err = bearer(group); err != nil || may(t, a) != "no role, no role, no role; sees false false false" {
		t.Errorf("a week after its owner was seen in the group a token may %s, %v", may(t, a), err)
	}
	d.pass(24 * 24 * time.Hour)
	if _, err := bearer(group); err == nil {
		t.Error("a token is good for more than its days")
	}
	if rows := d.views.everything(t); !strings.Contains(rows, "revoked the token "+mine[0].ID) || strings.Contains(rows, token) {
		t.Errorf("the audit log does not tell of it:\n%s", rows)
	}
}

func first[A, B any](a A, _ B) A { return a }

// TestCookiesOfHTTPS: browsers send them to this host alone, over https alone, and to no script.
func TestCookiesOfHTTPS(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, ""), func(o *signin.Options) { o.PublicURL = "https://plumbline.example.com" })
	_, header, _ := ask(t, "GET", d.url+"/sign-in/github", nil, nil)
	cookie := header.Get("Set-Cookie")
	for _, want := range []string{"__Host-plumbline-", "Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"} {
		if !strings.Contains(cookie, want) || strings.Contains(cookie, "Domain") {
			t.Errorf("the cookie %s has no %s", cookie, want)
		}
	}
	to, err := url.Parse(header.Get("Location"))
	if err != nil || to.Query().Get("redirect_uri") != "https://plumbline.example.com/sign-in/github/back" || to.Query().Get("code_challenge_method") != "S256" || to.Query().Get("scope") != "read:org" {
		t.Errorf("somebody is sent to %s", to)
	}
	// A proxy asks in another name than the browser.
	status, _, _ := ask(t, "POST", d.url+"/sign-out", http.Header{"Origin": {"https://plumbline.example.com"}, "Host": {"127.0.0.1:4141"}}, nil)
	if status != 401 {
		t.Errorf("without a session it answers %d", status)
	}
}

// TestLeavingLate: whoever has signed in too long ago for anything else still signs out.
func TestLeavingLate(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, ""), nil)
	b := d.as(t, "viewer")
	form, value := b.form(t), b.cookie(t)
	d.pass(2 * time.Hour)
	if status, _, _ := b.post(t, "/sign-out", url.Values{"form": {"x"}}); status != 403 {
		t.Errorf("signing out without a form answers %d", status)
	}
	if status, at, _ := b.post(t, "/sign-out", form); status != 200 || at != "/sign-in" || b.cookie(t) != "" {
		t.Errorf("signing out late answers %d at %s and leaves the cookie %q", status, at, b.cookie(t))
	}
	if strings.Contains(d.views.everything(t), "web_session") {
		t.Error("the session is still there: " + value[:4])
	}
}

// TestScriptsAreNotLedAway: only a browser that goes somewhere is sent to sign in, and not by a way that there is no more. What
// it begins there leaves a few cookies at most.
func TestScriptsAreNotLedAway(t *testing.T) {
	t.Parallel()
	var o signin.Options
	d := openDoor(t, look(t, "cluster"), func(given *signin.Options) { o = *given })
	b := d.as(t, "viewer")
	d.pass(2 * time.Hour)
	header := http.Header{"Cookie": {"plumbline=" + b.cookie(t)}, "Sec-Fetch-Mode": {"cors"}}
	if status, got, _ := ask(t, "GET", d.url+"/run/r1/output", header, nil); status != 401 || got.Get("Set-Cookie") != "" {
		t.Errorf("a script is answered %d, %v", status, got)
	}
	header.Set("Sec-Fetch-Mode", "navigate")
	if status, got, _ := ask(t, "GET", d.url+"/queue", header, nil); status != 303 || got.Get("Location") != "/sign-in/oidc?to=%2Fqueue" {
		t.Errorf("a browser is answered %d, %v", status, got)
	}
	for range 25 {
		resp, err := (&http.Client{Jar: b.Jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(d.url + "/sign-in/oidc")
		if err != nil || resp.StatusCode != 303 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	u, _ := url.Parse(d.url)
	if n := len(b.Jar.Cookies(u)); n != 11 {
		t.Errorf("the browser has %d cookies, want the session's and ten", n)
	}
	d.oidc.Silent("viewer")
	if status, at, _ := b.get(t, "/sign-in/oidc?to=/queue"); status != 200 || at != "/queue" {
		t.Errorf("the last try ends at %s with %d", at, status)
	}

	// The same rows, and a server that offers accounts of the forge only.
	d.pass(2 * time.Hour)
	o.Ways = o.Ways[1:]
	gate, err := signin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(w *web.Options) { showing(d.views)(w); w.SignIn = gate })
	header.Set("Cookie", "plumbline="+b.cookie(t))
	if status, got, _ := ask(t, "GET", s.url+"/queue", header, nil); status != 303 || got.Get("Location") != "/sign-in?to=%2Fqueue" {
		t.Errorf("who has signed in by a way that there is no more is answered %d, %v", status, got)
	}
}

// TestRepositoryThatIsGone is one that the forge has no more: it is not seen, and all others are.
func TestRepositoryThatIsGone(t *testing.T) {
	t.Parallel()
	var o signin.Options
	d := openDoor(t, look(t, "cluster"), func(given *signin.Options) { o = *given })
	a, _ := d.as(t, "admin").asker(t)
	d.github.DeleteRepo(t, forge.Repo{Owner: "acme", Name: "gone"})
	d.pass(time.Hour / 2)
	app, err := github.New(github.Options{URL: d.github.URL, App: &github.App{ID: forgetest.AppID, PrivateKey: d.github.AppKey}})
	if err != nil {
		t.Fatal(err)
	}
	o.Forges["github"] = app // which looks for its installation first
	if role, err := a.Role(t.Context(), gone); err != nil || role != signin.NoRole {
		t.Errorf("the role there is %s, %v", role, err)
	}
	if got, want := may(t, a), "admin, no role, admin; sees true false true"; got != want {
		t.Errorf("the admin may %s, want %s", got, want)
	}
}
