//go:build e2e

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/browsertest"
)

// ask does on a page what it offers: there, and on the page that asks whether it is meant. It returns when it was done, on the
// page that says what became of it.
func (s *busyServer) ask(t *testing.T, tab *browsertest.Tab, page, action string) {
	t.Helper()
	tab.Go(s.url + page)
	tab.Do("[...document.querySelectorAll('.actions a')].find((a) => a.innerText === '" + action + "').click()")
	tab.Await("the page that asks", "location.pathname === '/ask' && document.querySelector('.ask button')")
	if title := tab.Text("document.querySelector('h1').innerText"); title != action+"?" {
		t.Errorf("the page that asks is called %q", title)
	}
	tab.Do("document.querySelector('.ask button').click()")
	tab.Await("the page of the request", "location.pathname.startsWith('/request/')")
	tab.Await("what became of it", "document.readyState === 'complete' && !document.querySelector('[data-waits]') && document.querySelector('h1')")
	s.requested = tab.Text("location.pathname")
}

// act has Alice ask for a look and a plan, and Mallory for what he must not.
func act(t *testing.T, browser *browsertest.Browser, s *busyServer) {
	tab := browser.Tab(t, browsertest.Look{})
	s.signIn(t, tab, world.Alice)
	s.ask(t, tab, s.workspace("storage"), "Look for drift in storage")
	tab.Shows("taken")
	look := tab.Text("location.pathname")

	// What was sent is asked for once, also when somebody goes back and presses the button again.
	tab.Back()
	tab.Await("the page that asks", "location.pathname === '/ask' && document.querySelector('.ask button')")
	tab.Do("document.querySelector('.ask button').click()")
	tab.Await("the page of the request", "location.pathname.startsWith('/request/')")

	run := s.newest(t, registry, "plan")
	s.ask(t, tab, run, "Plan "+registry+" of #3 again")
	s.Await(t, "the new run", func() bool {
		tab.Go(s.url + s.requested)
		return tab.Is("document.querySelector('main [data-row]')")
	}, func() string { return tab.Text("document.body.innerText") })
	tab.Do("document.querySelector('main [data-row]').click()")
	tab.Await("its page", "location.pathname.startsWith('/run/') && location.pathname !== '"+run+"'")
	tab.Shows("command by alice")
	again := tab.Text("location.pathname")
	s.Await(t, "the new plan", func() bool {
		tab.Go(s.url + again)
		return strings.Contains(tab.Text("document.querySelector('.head .mark').innerText"), "planned")
	}, func() string { return tab.Text("document.body.innerText") })
	tab.Go(s.url + "/audit?actor=alice&workspace=storage")
	const entries = `[...document.querySelectorAll('.entries tbody tr')].filter((row) => row.textContent.includes('ID')).length`
	if got := tab.Text(strings.ReplaceAll(entries, "ID", strings.TrimPrefix(look, "/request/"))); got != "1" {
		t.Errorf("the audit log has %s entries of what was asked for at %s, want 1", got, look)
	}

	// By key alone: back out of a question, and through one.
	tab.Go(s.url + s.workspace("storage"))
	for !tab.Is("document.activeElement.matches('.actions a')") {
		tab.Press(browsertest.Tabulator)
	}
	tab.Press(browsertest.Enter)
	tab.Await("the page that asks", "location.pathname === '/ask' && document.querySelector('.ask button')")
	for !tab.Is("document.activeElement.innerText === 'No, go back'") {
		tab.Press(browsertest.Tabulator)
	}
	tab.Press(browsertest.Enter)
	tab.AwaitAddress(s.workspace("storage"))
	for _, complaint := range tab.Complaints() {
		t.Error(complaint)
	}

	// Mallory is offered nothing, is told so when he goes there by himself, and refused when he sends the form anyhow.
	created, updated, deleted := s.Done()
	tab = browser.Tab(t, browsertest.Look{})
	s.signIn(t, tab, world.Mallory)
	for _, page := range []string{s.workspace("storage"), run, "/drift", "/queue"} {
		tab.Go(s.url + page)
		if tab.Is("document.querySelector('.actions')") {
			t.Errorf("%s offers Mallory %s", page, tab.Text("document.querySelector('.actions').innerText"))
		}
	}
	tab.Go(s.url + "/ask?action=correct&repo=github%2Facme%2Flive&workspace=storage")
	tab.Shows("It would be refused")
	if tab.Is("document.querySelector('.ask button')") {
		t.Error("the page that asks has a button for Mallory")
	}
	tab.Do("document.querySelector('.ask').submit()")
	tab.Await("a refusal", "location.pathname + location.search === '/ask' && document.readyState === 'complete'")
	if text := tab.Text("document.querySelector('main').innerText"); !strings.Contains(text, "takes the role operator") {
		t.Errorf("Mallory's form is answered with\n%s", text)
	}
	if c, u, d := s.Done(); c != created || u != updated || d != deleted {
		t.Error("something was done for Mallory")
	}
	var status int
	tab.Value("performance.getEntriesByType('navigation')[0].responseStatus", &status)
	if status != http.StatusForbidden {
		t.Errorf("Mallory's form is answered with %d, want 403", status)
	}
}
