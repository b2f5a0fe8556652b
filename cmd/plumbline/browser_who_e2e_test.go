//go:build e2e

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/browsertest"
)

// signInAndOut: nothing is shown before, what somebody may not see is absent, and nothing is left after.
func signInAndOut(t *testing.T, browser *browsertest.Browser, s *busyServer) {
	tab := browser.Tab(t, browsertest.Look{})
	tab.Allow(s.oidc.URL)
	tab.Go(s.url + "/drift?q=logs")
	tab.Await("the page to sign in on", `location.pathname === '/sign-in' && document.querySelector('.way')`)
	if text := tab.Text("document.body.innerText"); strings.Contains(text, "logs") || strings.Contains(text, "acme") {
		t.Errorf("before somebody signs in the page says\n%s", text)
	}
	tab.Do("document.querySelector('.way').click()")
	tab.Await("the provider's page", "document.getElementById('mallory')")
	tab.Do("document.getElementById('mallory').click()")
	tab.AwaitAddress("/drift?q=logs")
	tab.Shows("storage")
	tab.Go(s.url + "/")
	tab.Shows("5 workspaces")
	for _, path := range []string{"/", "/?q=north", "/graph", "/audit", "/queue", "/drift"} {
		tab.Go(s.url + path)
		if text := tab.Text("document.documentElement.outerHTML"); strings.Contains(text, "acme/edge") || strings.Contains(text, "north</bdi>") {
			t.Errorf("%s shows Mallory the repository acme/edge:\n%s", path, tab.Text("document.body.innerText"))
		}
	}
	if status := tab.Go(s.url + "/workspace?name=north&repo=github%2Facme%2Fedge"); status != http.StatusNotFound {
		t.Errorf("the page of a workspace that Mallory must not see answers %d", status)
	}
	_ = tab.Complaints() // of that page

	tab.Go(s.url + "/")
	tab.Do("document.querySelector('.who button').click()")
	tab.Await("the page after signing out", "!document.querySelector('.who') && document.readyState === 'complete'")
	tab.Back()
	tab.Await("the page to sign in on", `document.querySelector('.way')`)
	if text := tab.Text("document.body.innerText"); strings.Contains(text, "storage") {
		t.Errorf("after signing out, the browser's button for back shows\n%s", text)
	}
	for _, complaint := range tab.Complaints() {
		t.Error(complaint)
	}

	// Alice sees both.
	alice := browser.Tab(t, browsertest.Look{})
	s.signIn(t, alice, world.Alice)
	alice.Shows("7 workspaces")
}
