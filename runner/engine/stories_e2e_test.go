//go:build e2e

package engine_test

import (
	"testing"

	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/forge/gitea"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// TestStoriesByPolling has no webhooks at all.
func TestStoriesByPolling(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, o options) *server {
		o.polling = true
		return start(t, o)
	})
}

func TestStoriesOnGitea(t *testing.T) {
	t.Parallel()
	for name, polling := range map[string]bool{"webhooks": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, client := giteaHost(t)
			t.Run("stories", func(t *testing.T) {
				play(t, func(t *testing.T, o options) *server {
					o.polling = polling
					o.host = func(*testing.T) (world.Forge, engine.Forge) { return host, client }
					return start(t, o)
				})
			})
		})
	}
}

func giteaHost(t *testing.T) (world.Forge, engine.Forge) {
	t.Helper()
	g := forgetest.StartGitea(t)
	client, err := gitea.New(gitea.Options{URL: g.URL, Token: g.Token, WebhookSecret: g.WebhookSecret})
	if err != nil {
		t.Fatal(err)
	}
	return g, client
}
