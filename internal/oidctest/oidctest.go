// Package oidctest is a small OpenID provider over HTTP, for tests: discovery, a page to choose who signs in, codes with PKCE,
// ID tokens signed with RS256, keys, and user info. It holds clients to the rules, and breaks them when it is told to.
//
// The life of a sign-in: the client sends a browser to /authorize, which shows the people that there are as buttons (or, with
// Silent, sends it back at once as one of them); the browser comes back to the client with a code, which the client trades for
// tokens at /token, once, with its secret and the verifier.
package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Provider is a running one. Its fields are set before the first request, but for those that Set changes.
type Provider struct {
	URL                    string // the issuer
	ClientID, ClientSecret string
	// Redirects are where clients may be sent back to; none: anywhere.
	Redirects []string

	server *httptest.Server
	key    *rsa.PrivateKey

	mu       sync.Mutex
	people   map[string]map[string]any // claims by subject
	silent   string
	mangle   func(claims map[string]any)
	forge    bool // sign with another key
	down     bool
	codes    map[string]grant
	tokens   map[string]string // subjects by access token
	requests []string          // method and path
	now      func() time.Time
}

// grant is what a code stands for.
type grant struct{ subject, redirect, challenge, nonce string }

// Start starts a provider for the duration of a test.
func Start(t testing.TB) *Provider {
	t.Helper()
	key, err := theKey()
	if err != nil {
		t.Fatalf("make the provider's key: %v", err)
	}
	p := &Provider{
		ClientID: "plumbline", ClientSecret: "client-" + rand.Text(), key: key,
		people: map[string]map[string]any{}, codes: map[string]grant{}, tokens: map[string]string{}, now: time.Now,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.describe)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		p.mu.Lock()
		down := p.down
		p.requests = append(p.requests, req.Method+" "+req.URL.Path)
		p.mu.Unlock()
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, req)
	}))
	p.URL = p.server.URL
	t.Cleanup(p.server.Close)
	return p
}

// Person adds somebody, with claims beside sub: preferred_username, email, email_verified, groups and whatever else.
func (p *Provider) Person(subject string, claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people[subject] = maps.Clone(claims)
}

// Silent has whoever comes be signed in as somebody without being asked; "" asks again.
func (p *Provider) Silent(subject string) { p.set(func() { p.silent = subject }) }

// Down has the provider answer nobody.
func (p *Provider) Down(down bool) { p.set(func() { p.down = down }) }

// Mangle changes what ID tokens claim; nil changes nothing.
func (p *Provider) Mangle(claims func(map[string]any)) { p.set(func() { p.mangle = claims }) }

// Forge has ID tokens signed with a key that is not the provider's.
func (p *Provider) Forge(forge bool) { p.set(func() { p.forge = forge }) }

// Clock is what time the provider takes it to be.
func (p *Provider) Clock(now func() time.Time) { p.set(func() { p.now = now }) }

func (p *Provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// Requests are those that came, as method and path.
func (p *Provider) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

func (p *Provider) describe(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"userinfo_endpoint": p.URL + "/userinfo", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
	})
}

// theKey is that of all providers of a test's process: making one takes a while.
var theKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

const keyID = "one"

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": encode(p.key.N.Bytes()), "e": encode(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

var choose = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Who are you?</title><link rel="icon" href="data:,"></head><body><main><h1>Who are you?</h1>
{{range .}}<p><a href="{{.URL}}" id="{{.Subject}}">{{.Subject}}</a></p>{{end}}</main></body></html>`))

// authorize sends a browser back with a code.
func (p *Provider) authorize(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	redirect, err := url.Parse(q.Get("redirect_uri"))
	bad := ""
	switch {
	case err != nil || redirect.Host == "" || len(p.Redirects) > 0 && !slices.Contains(p.Redirects, redirect.String()):
		bad = "redirect_uri"
	case q.Get("client_id") != p.ClientID:
		bad = "client_id"
	case q.Get("response_type") != "code":
		bad = "response_type"
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		bad = "scope"
	case len(q.Get("state")) < 16:
		bad = "state"
	case len(q.Get("nonce")) < 16:
		bad = "nonce"
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		bad = "code_challenge"
	}
	if bad != "" {
		http.Error(w, "bad "+bad, http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	subject := p.silent
	if chosen := q.Get("choose"); chosen != "" {
		subject = chosen
	}
	if _, known := p.people[subject]; !known {
		type person struct{ URL, Subject string }
		var all []person
		for _, name := range slices.Sorted(maps.Keys(p.people)) {
			q.Set("choose", name)
			all = append(all, person{"/authorize?" + q.Encode(), name})
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = choose.Execute(w, all)
		return
	}
	code := rand.Text()
	p.codes[code] = grant{subject, redirect.String(), q.Get("code_challenge"), q.Get("nonce")}
	back := redirect.Query()
	back.Set("code", code)
	back.Set("state", q.Get("state"))
	redirect.RawQuery = back.Encode()
	http.Redirect(w, req, redirect.String(), http.StatusSeeOther)
}

// token trades a code for tokens.
func (p *Provider) token(w http.ResponseWriter, req *http.Request) {
	id, secret, _ := req.BasicAuth()
	secret, _ = url.QueryUnescape(secret)
	p.mu.Lock()
	defer p.mu.Unlock()
	g, ok := p.codes[req.PostFormValue("code")]
	delete(p.codes, req.PostFormValue("code"))
	sum := sha256.Sum256([]byte(req.PostFormValue("code_verifier")))
	switch {
	case id != p.ClientID || secret != p.ClientSecret:
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	case req.PostFormValue("grant_type") != "authorization_code", !ok, g.redirect != req.PostFormValue("redirect_uri"), encode(sum[:]) != g.challenge:
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	now := p.now()
	claims := maps.Clone(p.people[g.subject])
	if claims == nil {
		claims = map[string]any{}
	}
	maps.Copy(claims, map[string]any{"iss": p.URL, "sub": g.subject, "aud": p.ClientID, "nonce": g.nonce, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	if p.mangle != nil {
		p.mangle(claims)
	}
	access := "access-" + rand.Text()
	p.tokens[access] = g.subject
	signed, err := p.sign(claims)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "server_error")
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600, "id_token": signed})
}

func (p *Provider) sign(claims map[string]any) (string, error) {
	key := p.key
	if p.forge {
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", err
		}
		key = other
	}
	head, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign an ID token: %w", err)
	}
	return text + "." + encode(signature), nil
}

func (p *Provider) userinfo(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	subject, ok := p.tokens[strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		refuse(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	claims := maps.Clone(p.people[subject])
	if claims == nil {
		claims = map[string]any{}
	}
	claims["sub"] = subject
	answer(w, claims)
}

func refuse(w http.ResponseWriter, status int, what string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": what})
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what)
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
