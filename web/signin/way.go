package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Kind is how a way of signing in tells who somebody is.
type Kind string

// The kinds.
const (
	OIDC   Kind = "oidc"
	GitHub Kind = "github"
	Gitea  Kind = "gitea" // and Forgejo
)

// OIDCWay is the ID of the way by OIDC, of which there is one. No forge whose accounts sign in is called so.
const OIDCWay = "oidc"

// Way is a way of signing in.
type Way struct {
	// ID is part of addresses and of what people are called for good: OIDCWay, or the forge's name.
	ID   string
	Kind Kind
	// Name is what the sign-in page calls it.
	Name string
	// URL is the issuer, or the forge as it is configured: GitHub's API or Gitea's root.
	URL                    string
	ClientID, ClientSecret string
	// Scopes are asked for beside those that are needed.
	Scopes []string
	// GroupsClaim is the claim with the groups of an OIDC provider; "" for groups.
	GroupsClaim string
	// Accounts are the claims that hold logins on forges, by the forge's name. An OIDC provider must not let people choose them.
	Accounts map[string]string
	// Teams has a forge asked for the teams that somebody is in.
	Teams bool
	// Transport is what requests go through; nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// way is a Way that works.
type way struct {
	Way
	back   string // where people come back to
	client *http.Client
	now    func() time.Time

	finding  chan struct{}  // held by who finds the provider
	provider *oidc.Provider // once it was found
}

// providerTime is how long a way of signing in has to answer, and maxAnswer how much.
const (
	providerTime = 10 * time.Second
	maxAnswer    = 1 << 20
)

func newWay(w Way, back string, now func() time.Time) *way {
	transport := w.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &way{Way: w, back: back, now: now, finding: make(chan struct{}, 1), client: &http.Client{
		Transport: bounded{transport}, Timeout: providerTime,
		// What is sent is secret, and for nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// bounded cuts answers that are too long.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// found is the OIDC provider's description of itself. It is asked for when somebody first signs in: a provider that is down
// keeps no server from starting.
func (w *way) found(ctx context.Context) (*oidc.Provider, error) {
	select {
	case w.finding <- struct{}{}:
	case <-ctx.Done(): // one that does not answer must not gather a crowd
		return nil, fmt.Errorf("find the OIDC provider %s: wait for others who do: %w", w.URL, ctx.Err())
	}
	defer func() { <-w.finding }()
	if w.provider != nil {
		return w.provider, nil
	}
	provider, err := oidc.NewProvider(ctx, w.URL)
	if err != nil {
		return nil, fmt.Errorf("find the OIDC provider %s: %w", w.URL, err)
	}
	w.provider = provider
	return provider, nil
}

// config is what OAuth 2 needs to know.
func (w *way) config(ctx context.Context) (*oauth2.Config, error) {
	c := &oauth2.Config{ClientID: w.ClientID, ClientSecret: w.ClientSecret, RedirectURL: w.back, Scopes: slices.Clone(w.Scopes)}
	switch w.Kind {
	case OIDC:
		provider, err := w.found(ctx)
		if err != nil {
			return nil, err
		}
		var said struct {
			Methods []string `json:"token_endpoint_auth_methods_supported"`
		}
		if err := provider.Claims(&said); err != nil {
			return nil, fmt.Errorf("read what the OIDC provider says of itself: %w", err)
		}
		c.Endpoint = provider.Endpoint()
		c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader // what holds where nothing is said
		if len(said.Methods) > 0 && !slices.Contains(said.Methods, "client_secret_basic") {
			c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
		}
		c.Scopes = append([]string{oidc.ScopeOpenID, "profile", "email"}, c.Scopes...)
	case GitHub:
		root := strings.TrimSuffix(w.URL, "/api/v3")
		if root == "https://api.github.com" {
			root = "https://github.com"
		}
		c.Endpoint = oauth2.Endpoint{AuthURL: root + "/login/oauth/authorize", TokenURL: root + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams}
		if w.Teams {
			c.Scopes = append(c.Scopes, "read:org")
		}
	case Gitea:
		c.Endpoint = oauth2.Endpoint{AuthURL: w.URL + "/login/oauth/authorize", TokenURL: w.URL + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams}
		c.Scopes = append(c.Scopes, "read:user")
		if w.Teams {
			c.Scopes = append(c.Scopes, "read:organization")
		}
	}
	return c, nil
}

// person asks who somebody is who has come back with a code. What the way gives for that is thrown away after.
func (w *way) person(ctx context.Context, code string, f flow) (Person, error) {
	ctx = oidc.ClientContext(ctx, w.client)
	c, err := w.config(ctx)
	if err != nil {
		return Person{}, err
	}
	token, err := c.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return Person{}, fmt.Errorf("trade the code of %s for a token: %w", w.ID, err)
	}
	if w.Kind == OIDC {
		return w.claimed(ctx, c, token, f.Nonce)
	}
	return w.account(ctx, token.AccessToken)
}

// claimed reads who an ID token is about.
func (w *way) claimed(ctx context.Context, c *oauth2.Config, token *oauth2.Token, nonce string) (Person, error) {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return Person{}, errors.New("the OIDC provider sent no ID token")
	}
	provider, err := w.found(ctx)
	if err != nil {
		return Person{}, err
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: w.ClientID, Now: w.now}).Verify(ctx, raw)
	if err != nil {
		return Person{}, fmt.Errorf("verify the ID token: %w", err)
	}
	if id.Nonce != nonce || nonce == "" {
		return Person{}, errors.New("verify the ID token: it was made for another sign-in")
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return Person{}, fmt.Errorf("read the ID token: %w", err)
	}
	groups := w.GroupsClaim
	if groups == "" {
		groups = "groups"
	}
	wanted := []string{groups, "email"}
	for _, claim := range w.Accounts {
		wanted = append(wanted, claim)
	}
	if provider.UserInfoEndpoint() != "" && slices.ContainsFunc(wanted, func(claim string) bool { return claims[claim] == nil }) {
		// Some tell the rest only here.
		info, err := provider.UserInfo(ctx, c.TokenSource(ctx, token))
		if err != nil {
			return Person{}, fmt.Errorf("ask the OIDC provider about somebody: %w", err)
		}
		if info.Subject != id.Subject {
			return Person{}, errors.New("the OIDC provider tells of somebody else than it has signed in")
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil {
			return Person{}, fmt.Errorf("read what the OIDC provider tells: %w", err)
		}
		for name, value := range more {
			if claims[name] == nil {
				claims[name] = value
			}
		}
	}
	text := func(claim string) string {
		value, _ := claims[claim].(string)
		if len(value) > maxClaim || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return ""
		}
		return value
	}
	p := Person{ID: w.ID + ":" + id.Subject, Accounts: map[string]string{}, Name: text("preferred_username")}
	for _, claim := range []string{"name", "email", "sub"} {
		if p.Name == "" {
			p.Name = text(claim)
		}
	}
	if verified := claims["email_verified"]; verified == true || verified == "true" {
		p.Mail = text("email")
	}
	for forge, claim := range w.Accounts {
		if login := text(claim); login != "" && !strings.ContainsAny(login, " /:") {
			p.Accounts[forge] = login
		}
	}
	switch list := claims[groups].(type) {
	case string:
		p.Groups = append(p.Groups, groupPrefix+list)
	case []any:
		for _, one := range list[:min(len(list), mostGroups)] {
			if group, ok := one.(string); ok && len(group) <= maxClaim {
				p.Groups = append(p.Groups, groupPrefix+group)
			}
		}
	}
	return p, nil
}

// Limits of what is kept of somebody.
const (
	maxClaim   = 300 // bytes
	mostGroups = 2000
)

// account reads whose token of a forge it is.
func (w *way) account(ctx context.Context, token string) (Person, error) {
	api, size := w.URL, "per_page"
	if w.Kind == Gitea {
		api, size = w.URL+"/api/v1", "limit"
	}
	var who struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
	}
	if err := w.get(ctx, api+"/user", token, &who); err != nil {
		return Person{}, err
	}
	if who.ID <= 0 || who.Login == "" || len(who.Login) > maxClaim {
		return Person{}, fmt.Errorf("ask %s who somebody is: it does not say", w.ID)
	}
	p := Person{ID: w.ID + ":" + strconv.FormatInt(who.ID, 10), Name: who.Login, Accounts: map[string]string{w.ID: who.Login}}
	const perPage = 50
	for page := 1; w.Teams && page <= mostGroups/perPage; page++ {
		var teams []struct {
			Slug         string `json:"slug"` // GitHub
			Name         string `json:"name"`
			Organization struct {
				Login    string `json:"login"` // GitHub
				Name     string `json:"name"`
				Username string `json:"username"`
			} `json:"organization"`
		}
		if err := w.get(ctx, api+"/user/teams?"+size+"="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(page), token, &teams); err != nil {
			return Person{}, err
		}
		for _, t := range teams {
			org, team := t.Organization.Login, t.Slug
			if w.Kind == Gitea {
				if org, team = t.Organization.Username, t.Name; org == "" {
					org = t.Organization.Name
				}
			}
			if org != "" && team != "" && len(org)+len(team) <= maxClaim {
				p.Groups = append(p.Groups, strings.ToLower(w.ID+":"+org+"/"+team))
			}
		}
		if len(teams) == 0 { // a forge may have smaller pages than are asked for
			break
		}
	}
	return p, nil
}

// get asks a forge in somebody's name.
func (w *way) get(ctx context.Context, address, token string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	what := req.URL.Path
	resp, err := w.client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return fmt.Errorf("ask %s for %s: %w", w.ID, what, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s for %s: it answers %s", w.ID, what, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask %s for %s: %w", w.ID, what, err)
	}
	return nil
}
