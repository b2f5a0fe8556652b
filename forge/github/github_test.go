package github_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"

	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
)

// hosts makes a server and the options of a client for it, in each of the ways in which a client can be set up.
var hosts = map[string]func(*forgetest.GitHub) github.Options{
	"token": func(g *forgetest.GitHub) github.Options {
		return github.Options{URL: g.URL, Token: g.Token, WebhookSecret: g.WebhookSecret}
	},
	"App on an Enterprise Server": func(g *forgetest.GitHub) github.Options {
		app := &github.App{ID: forgetest.AppID, PrivateKey: g.AppKey}
		return github.Options{URL: g.EnterpriseURL + "/", App: app, WebhookSecret: g.WebhookSecret}
	},
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, options := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := forgetest.StartGitHub(t)
			g.PageCap = 2 // so that every list has several pages
			forgetest.Run(t, newClient(t, options(g)), g)
		})
	}
}

func newClient(t *testing.T, opts github.Options) *github.Client {
	t.Helper()
	c, err := github.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signed is the header of a webhook that GitHub signed.
func signed(secret, event string, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return http.Header{
		"Content-Type":        {"application/json"},
		"X-Github-Event":      {event},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))},
	}
}
