//go:build e2e

package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/browsertest"
)

// focused tells what has the focus: its text, or its name for those who do not see it.
const focused = `((e) => (e.getAttribute('aria-label') || e.innerText || e.value || e.tagName).trim())(document.activeElement)`

// keysOnly goes through the pages as somebody without a mouse does.
func keysOnly(t *testing.T, browser *browsertest.Browser, s *busyServer) {
	tab := browser.Tab(t, browsertest.Look{})
	tab.Allow(s.oidc.URL)
	tab.Go(s.url + "/")
	tab.AwaitAddress("/sign-in")
	for !tab.Is(`document.activeElement.matches('.way')`) {
		tab.Press(browsertest.Tabulator)
	}
	tab.Press(browsertest.Enter)
	tab.Await("the provider's page", `document.getElementById('ada')`)
	for !tab.Is(`document.activeElement.id === 'ada'`) {
		tab.Press(browsertest.Tabulator)
	}
	tab.Press(browsertest.Enter)
	tab.AwaitAddress("/")

	// The tabulator reaches the content first, then everything else, in the order in which it stands there, and one sees where.
	tab.Press(browsertest.Tabulator)
	if got := tab.Text(focused); got != "Skip to the content" {
		t.Errorf("the first stop is %q, want the way around the navigation", got)
	}
	tab.Press(browsertest.Enter)
	tab.Press(browsertest.Tabulator)
	if !tab.Is(`document.activeElement.closest('main') !== null`) {
		t.Errorf("behind the navigation comes %q, which is not in the content", tab.Text(focused))
	}
	tab.Go(s.url + "/")
	var stops int
	tab.Do(`window.reachable = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex="0"]')].filter((e) => e.checkVisibility())`)
	tab.Value("reachable.length", &stops)
	for i := range stops {
		tab.Press(browsertest.Tabulator)
		if !tab.Is(`document.activeElement === reachable[` + strconv.Itoa(i) + `]`) {
			t.Fatalf("stop %d of the tabulator is %q, want %q", i+1, tab.Text(focused), tab.Text(`reachable[`+strconv.Itoa(i)+`].outerHTML`))
		}
		if !tab.Is(`((o) => o.outlineStyle !== 'none' && parseFloat(o.outlineWidth) >= 2)(getComputedStyle(document.activeElement))`) {
			t.Errorf("one does not see that %q has the focus", tab.Text(focused))
		}
	}
	tab.PressBack()
	if !tab.Is(`document.activeElement === reachable[` + strconv.Itoa(stops-2) + `]`) {
		t.Errorf("back is %q", tab.Text(focused))
	}

	// Search, down, up, open.
	tab.Press("/")
	if !tab.Is(`document.activeElement.matches('[data-search]')`) {
		t.Fatalf("/ goes to %q", tab.Text(focused))
	}
	tab.Press("st" + browsertest.Enter)
	tab.AwaitAddress("/?q=st&repo=")
	tab.Press("j")
	first := tab.Text(focused)
	tab.Press("j")
	second := tab.Text(focused)
	tab.Press("k")
	if back := tab.Text(focused); first == "" || first == second || back != first {
		t.Errorf("j, j and k go to %q, %q and %q", first, second, back)
	}
	tab.Press(browsertest.Enter)
	tab.Await("the page of "+first, `location.pathname === '/workspace' && document.readyState === 'complete'`)
	if h1 := tab.Text(`document.querySelector('h1').innerText`); h1 != first {
		t.Errorf("Enter on %q opens %q", first, h1)
	}

	// Help says all keys, and closes.
	tab.Press("?")
	tab.Await("the help", `document.getElementById('help').open`)
	tab.Press("3")
	if tab.Text("location.pathname") != "/workspace" {
		t.Error("keys go through the open help")
	}
	if found := tab.Violations(); len(found) > 0 {
		t.Errorf("the help has violations: %s", strings.Join(found, "\n"))
	}
	tab.Press(browsertest.Escape)
	tab.Await("the end of the help", `!document.getElementById('help').open`)

	// Pages by number; a search from a page without one leads to that of all workspaces.
	for key, path := range map[string]string{"1": "/", "2": "/graph", "3": "/drift", "4": "/queue", "5": "/audit"} {
		tab.Press(key)
		tab.AwaitAddress(path)
	}
	tab.Press("4")
	tab.AwaitAddress("/queue")
	tab.Press("/")
	tab.Await("the search of workspaces", `location.pathname === '/' && document.activeElement.matches('[data-search]')`)
	tab.Press("3" + browsertest.Escape + "3") // the first is written, the second pressed
	tab.AwaitAddress("/drift")

	// What is folded opens.
	tab.Go(s.url + s.newest(t, registry, "plan"))
	tab.Press("j")
	open := tab.Text(`document.activeElement.closest('details').open`)
	tab.Press(browsertest.Enter)
	if tab.Text(`document.activeElement.closest('details').open`) == open {
		t.Errorf("Enter on %q folds nothing", tab.Text(focused))
	}
	for _, complaint := range tab.Complaints() {
		t.Error(complaint)
	}
}

// noScript reads and filters without JavaScript.
func noScript(t *testing.T, browser *browsertest.Browser, s *busyServer) {
	with, without := browser.Tab(t, browsertest.Look{}), browser.Tab(t, browsertest.Look{NoScript: true})
	s.signIn(t, with, ada)
	s.signIn(t, without, ada)
	for _, all := range s.visits(t) {
		for _, v := range all {
			with.Go(s.url + v.path)
			without.Go(s.url + v.path)
			if !without.Is(`document.querySelector('.keys').hidden`) {
				t.Fatal("scripts run where none may")
			}
			// Times pass between the two; what a run prints is followed with a script alone, and leaves its white space.
			const words = `((main) => [...main.querySelectorAll('.output p, .output pre')].reduce((text, e) => text.replace(e.innerText, ''), main.innerText).replaceAll(/[0-9]+|just now|(second|minute)s?( ago)?/g, '').replaceAll(/\s+/g, ' ').trim())(document.querySelector('main'))`
			if got, want := without.Text(words), with.Text(words); got != want {
				t.Errorf("without a script %s shows\n%s\nand with it\n%s", v.path, got, want)
			}
		}
	}
	without.Go(s.url + "/")
	for !without.Is(`document.activeElement.matches('[data-search]')`) {
		without.Press(browsertest.Tabulator)
	}
	without.Press("registry" + browsertest.Enter)
	without.AwaitAddress("/?q=registry&repo=")
	without.Shows("1 of 7 workspaces")
	without.Go(s.url + "/drift")
	for !without.Is(`document.activeElement.matches('[data-search]')`) {
		without.Press(browsertest.Tabulator)
	}
	without.Press("logs" + browsertest.Enter)
	without.AwaitAddress("/drift?q=logs")
	without.Shows("1 of ")
	for _, complaint := range append(without.Complaints(), with.Complaints()...) {
		if !strings.Contains(complaint, "Failed to load resource") { // of pages that are not there
			t.Error(complaint)
		}
	}
}

// filtersAndBack: a filter is an address, and the browser's button undoes it.
func filtersAndBack(t *testing.T, browser *browsertest.Browser, s *busyServer) {
	tab := browser.Tab(t, browsertest.Look{})
	s.signIn(t, tab, ada)
	tab.Shows("7 workspaces")
	if groups := tab.Text(`[...document.querySelectorAll('.group')].map((g) => g.innerText.trim()).join()`); groups != "acme/edge,acme/live,acme/live / platform/eu-west-1" {
		t.Errorf("the groups are %s, want each folder once", groups)
	}
	tab.Do(`document.querySelector('.chips a.warn').click()`)
	tab.AwaitAddress("/?state=drifted")
	tab.Shows("of 7 workspaces")
	if chosen := tab.Text(`document.querySelector('.chips [aria-current]').innerText`); !strings.Contains(chosen, "drifted") {
		t.Errorf("the filter that is chosen is %q", chosen)
	}
	tab.Press("/" + "storage" + browsertest.Enter)
	tab.AwaitAddress("/?q=storage&repo=&state=drifted")
	tab.Shows("1 of 7 workspaces")
	tab.Back()
	tab.AwaitAddress("/?state=drifted")
	tab.Back()
	tab.AwaitAddress("/")

	// A list is followed when it is chosen from.
	tab.Do(`((list) => { list.value = 'github/acme/edge'; list.dispatchEvent(new Event('change', {bubbles: true})) })(document.querySelector('select[name=repo]'))`)
	tab.AwaitAddress("/?q=&repo=github%2Facme%2Fedge")
	tab.Shows("2 of 7 workspaces")
	// The address alone shows the same to somebody else.
	other := browser.Tab(t, browsertest.Look{Width: browsertest.Narrow})
	s.signIn(t, other, ada)
	other.Go(tab.Text("location.href"))
	other.Shows("2 of 7 workspaces")

	tab.Go(s.url + "/audit")
	for _, name := range []string{"actor", "repo"} {
		tab.Do(`document.querySelector('[name=` + name + `]').focus()`)
		tab.Press(map[string]string{"actor": "mallory", "repo": "acme/live"}[name])
	}
	tab.Press(browsertest.Enter)
	tab.Await("the filter in the address", `new URLSearchParams(location.search).get('actor') === 'mallory' && document.readyState === 'complete'`)
	tab.Shows("refused")
	if actors := tab.Text(`[...new Set([...document.querySelectorAll('.entries tbody td:nth-child(2)')].map((e) => e.innerText))].join()`); actors != "mallory" {
		t.Errorf("with the filter the log shows entries of %q", actors)
	}
	for _, complaint := range tab.Complaints() {
		t.Error(complaint)
	}
}
