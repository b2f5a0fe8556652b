//go:build e2e

package main

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/browsertest"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/web"
)

// TestBrowser has a real browser look at the pages of a real server after a busy day. With PLUMBLINE_PICTURES=DIR it leaves a
// picture of each page there, in each look: whoever changes how pages look, looks at them.
func TestBrowser(t *testing.T) {
	browser := browsertest.Start(t, parts.Chromium(t), parts.AxeCore(t))
	s := startBusyServer(t)
	t.Run("SignIn", func(t *testing.T) { signInAndOut(t, browser, s) })
	t.Run("Act", func(t *testing.T) { act(t, browser, s) })
	t.Run("EveryPage", func(t *testing.T) { everyPage(t, browser, s) })
	t.Run("KeysOnly", func(t *testing.T) { keysOnly(t, browser, s) })
	t.Run("NoScript", func(t *testing.T) { noScript(t, browser, s) })
	t.Run("FiltersAndTheBackButton", func(t *testing.T) { filtersAndBack(t, browser, s) })
	t.Run("WatchRun", func(t *testing.T) { watchRun(t, browser, s) })
}

// pageLimit is how large the answer of a page may be, in bytes.
const pageLimit = 150_000

// visit is a page to look at.
type visit struct {
	path   string
	status int    // 0 means 200
	name   string // of its picture
}

// visits are where each route is looked at; those that are no pages have none. Whoever adds a route adds a line.
func (s *busyServer) visits(t *testing.T) map[string][]visit {
	return map[string][]visit{
		"GET /{$}": {
			{path: "/", name: "workspaces"},
			{path: "/?state=drifted", name: "workspaces-drifted"},
			{path: "/?q=nothing+of+that+name", name: "workspaces-none"},
		},
		"GET /workspace": {
			{path: s.workspace("cluster"), name: "workspace"},
			{path: s.workspace("storage"), name: "workspace-drifted"},
			{path: s.workspace(registry), name: "workspace-paused"},
			{path: s.workspace("dns"), name: "workspace-failed"},
			{path: s.workspace("nowhere"), name: "problem", status: http.StatusNotFound},
		},
		"GET /run/{id}": {
			{path: s.newest(t, registry, "plan"), name: "run-plan"},
			{path: s.newest(t, registry, "plan") + "?action=destroy", name: "run-destroys"},
			{path: s.newest(t, "dns", "apply"), name: "run-failed"},
			{path: s.newest(t, "cluster", "apply"), name: "run-applied"},
			{path: s.newest(t, "network", "plan"), name: "run-under-way"},
		},
		"GET /graph": {
			{path: "/graph?repo=github%2Facme%2Flive", name: "graph"},
		},
		"GET /ask": {
			{path: "/ask?action=drift&repo=github%2Facme%2Flive&workspace=storage", name: "ask-drift"},
			{path: "/ask?action=correct&repo=github%2Facme%2Flive&workspace=storage", name: "ask-refused"},
			{path: "/ask?action=apply&repo=github%2Facme%2Flive&change=" + strconv.Itoa(s.planned.Number), name: "ask-apply"},
			{path: "/ask?action=pause", name: "ask-pause"},
			{path: "/ask?action=pause&repo=github%2Facme%2Flive", name: "ask-pause-repository"},
			{path: "/ask", name: "problem-ask", status: http.StatusBadRequest},
		},
		"GET /request/{id}": {{path: s.asked(t), name: "request"}},
		"GET /drift": {
			{path: "/drift", name: "drift"},
			{path: "/drift?q=nothing+of+that+name", name: "drift-none"},
		},
		"GET /audit": {
			{path: "/audit", name: "audit"},
			{path: "/audit?verify=1", name: "audit-verified"},
			{path: "/audit?refused=1", name: "audit-refused"},
			{path: "/audit?since=yesterday", name: "problem-address", status: http.StatusBadRequest},
		},
		"GET /queue": {{path: "/queue", name: "queue"}},

		"GET /sign-in": {{path: "/sign-in", name: "sign-in"}},
		"GET /tokens":  {{path: "/tokens", name: "tokens"}},

		"GET /sign-in/{way}":      nil, // leads elsewhere
		"GET /sign-in/{way}/back": {{path: "/sign-in/oidc/back?state=x&code=y", name: "problem-sign-in", status: http.StatusBadRequest}},

		// What a run prints is seen on its page.
		"GET /run/{id}/output":     nil,
		"GET /run/{id}/output.txt": nil,

		"GET /healthz":   nil,
		"GET /readyz":    nil,
		"GET /metrics":   nil,
		"GET /style.css": nil,
		"GET /script.js": nil,
		"GET /icon.svg":  nil,
	}
}

// asked asks for a look for drift as a browser without a script does, and returns where it says what became of that.
func (s *busyServer) asked(t *testing.T) string {
	t.Helper()
	if s.requested != "" {
		return s.requested
	}
	text := s.get(t, "/ask?action=drift&repo=github%2Facme%2Flive&workspace=storage")
	fields := url.Values{}
	for _, field := range regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`).FindAllStringSubmatch(text, -1) {
		fields.Set(field[1], html.UnescapeString(field[2]))
	}
	resp, err := s.desk.PostForm(s.url+"/ask", fields)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Request.URL.Path, "/request/") {
		t.Fatalf("a look for drift that is asked for is answered with %s at %s", resp.Status, resp.Request.URL)
	}
	s.requested = resp.Request.URL.Path
	return s.requested
}

// looks are how each page is looked at.
var looks = []browsertest.Look{
	{Width: browsertest.Wide}, {Width: browsertest.Wide, Dark: true}, {Width: browsertest.Narrow}, {Width: browsertest.Narrow, Dark: true},
}

// everyPage holds each page to what is promised of all of them.
func everyPage(t *testing.T, browser *browsertest.Browser, s *busyServer) {
	visits := s.visits(t)
	for _, route := range web.Routes() {
		if _, ok := visits[route]; !ok && strings.HasPrefix(route, "GET ") && !strings.HasPrefix(route, "GET /api/") {
			t.Errorf("no browser looks at the route %s: give it a line in visits", route)
		}
	}
	for route := range visits {
		if !slices.Contains(web.Routes(), route) {
			t.Errorf("visits has a line for %s, and there is no such route", route)
		}
	}
	for _, look := range looks {
		t.Run(look.String(), func(t *testing.T) {
			t.Parallel()
			tab := browser.Tab(t, look)
			s.look(t, tab, look, visit{path: "/sign-in?to=%2Fdrift", name: "sign-in-first"})
			s.signIn(t, tab, ada)
			for _, route := range web.Routes() {
				for _, v := range visits[route] {
					s.look(t, tab, look, v)
				}
			}
		})
	}
}

// look goes to a page and checks it as it comes, and with all of it unfolded.
func (s *busyServer) look(t *testing.T, tab *browsertest.Tab, look browsertest.Look, v visit) {
	t.Helper()
	wrong := func(what string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s", v.path, fmt.Sprintf(what, args...))
	}
	want := max(v.status, http.StatusOK) // any other is greater
	if status := tab.Go(s.url + v.path); status != want {
		wrong("it answers %d, want %d", status, want)
	}
	if dir := os.Getenv("PLUMBLINE_PICTURES"); dir != "" {
		tab.Picture(filepath.Join(dir, v.name+"-"+look.String()+".png"))
	}
	for _, complaint := range tab.Complaints() {
		// The console repeats the status of an answer that is meant to be one.
		if v.status == 0 || !strings.Contains(complaint, "Failed to load resource") {
			wrong("%s", complaint)
		}
	}
	var size int
	tab.Value("performance.getEntriesByType('navigation')[0].decodedBodySize", &size)
	if size == 0 || size > pageLimit {
		wrong("it has %d bytes, want at most %d", size, pageLimit)
	}
	tab.Do("document.querySelectorAll('main details').forEach((d) => { d.open = true })")
	var widest int // not beside innerWidth: a phone shows more when a page is too wide
	tab.Value("document.documentElement.scrollWidth", &widest)
	if widest > look.Width {
		wrong("it is %d pixels wide in a window of %d: %s", widest, look.Width, tab.Text(strings.ReplaceAll(widestElements, "WIDTH", strconv.Itoa(look.Width))))
	}
	for _, violation := range tab.Violations() {
		wrong("axe-core finds %s", violation)
	}
}

// widestElements names what stands out of the window at the right.
const widestElements = `[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > WIDTH + 1 && !e.closest('.scroll, pre, nav')).slice(0, 5).map((e) => e.outerHTML.slice(0, 120)).join('\n')`
