package web_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/web"
)

// pageTest is what a route answers: to everybody, and to whoever is hostile.
type pageTest struct {
	path string
	want answers
	says []string // what stands on it where somebody sees everything
	bad  []string // addresses that must be answered by a 4xx
}

// answers are the statuses of a route, by who asks. The first two are of servers without sign-in.
type answers struct {
	machine int // where only its own machine reaches the server
	exposed int // where others can
}

// What most routes answer.
var (
	open    = answers{machine: 200, exposed: 200} // to anybody
	reading = answers{machine: 200, exposed: 403} // to those who may see something
)

// asking is one who asks.
type asking struct {
	name string
	site *site
	want func(answers) int
}

// routeTable has a row for each route: TestEveryRoute fails without.
var routeTable = map[string]pageTest{
	"POST /webhook/{forge}": {path: "/webhook/github", want: answers{405, 405}, bad: []string{"/webhook/other", "/webhook/%00"}},
	"GET /healthz":          {path: "/healthz", want: open, says: []string{"alive"}},
	"GET /readyz":           {path: "/readyz", want: open, says: []string{"ready"}},
	"GET /metrics":          {path: "/metrics", want: reading, says: []string{"plumbline_"}},
	"GET /{$}": {path: "/", want: reading,
		says: []string{"3 workspaces", "network</bdi>", "applying", "failed", "acme/live", "/ <bdi>base", "3 hours ago", "0123456789<", `title="cluster">#7</a>`, "not found, or cluster(redacted)", "1.2.3", "overdue", "paused"},
		bad:  []string{"/?state=none", "/?from=-1", "/?from=x", "/?from=99999999999", "/?q=%00", "/?q=%ff", "/?q=a&q=b", "/?q=%zz", "/?q=a;b", "/?repo=" + strings.Repeat("a", 600), "/?q=" + strings.Repeat("b", 5000)}},
	"GET /workspace": {path: "/workspace?repo=github%2Facme%2Flive&name=network", want: reading,
		says: []string{"looked at every 15m, next", "in 1 hour", "toy_node.cluster", "its details do not open", "fought over", "<svg", "Each change of what was seen", "1 data resource, 1 outside node, 1 corrected", "plumbline.yaml:3", "TOY_*", ">key<", "plan</a> of #7"},
		bad:  []string{"/workspace", "/workspace?repo=a", "/workspace?repo=a&name=b", "/workspace?repo=" + repository + "&name=%00", "/workspace?repo=" + repository + "&name=network&before=..", "/workspace?repo=..%2F..&name=../../etc/passwd"}},
	"GET /run/{id}": {path: "/run/r3", want: reading,
		says: []string{"apply of <bdi>network", "applying", "by <bdi>cluster", "fedcba9876543210", "reason 0 of cluster", "refused", "plan-id", "Together with", "1 min 0 s so far"},
		bad:  []string{"/run/none", "/run/..%2fx", "/run/%00", "/run/" + strings.Repeat("a", 3000), "/run/r3?action=drop", "/run/r3?from=x", "/run/r3%27--", "/run/%3Cscript%3E"}},
	"GET /graph": {path: "/graph", want: reading,
		says: []string{"Graph", "<svg", "2 workspaces and 1 dependency", "After 1 step", "needs <a", "storage"},
		bad:  []string{"/graph?repo=none", "/graph?repo=%0d", "/graph?from=-3"}},
	"GET /drift": {path: "/drift", want: reading,
		says: []string{"2 findings", "outside", "Paused: <bdi>storage of acme/live", "moving cluster", "The last 30 days", "fought over", "1 corrected"},
		bad:  []string{"/drift?class=none", "/drift?cause=%3Cscript%3E", "/drift?from=1e3", "/drift?q=%01"}},
	"GET /audit": {path: "/audit", want: reading,
		says: []string{"The chain was not verified", "reason 1 of cluster", "refused", "begun"},
		bad:  []string{"/audit?change=x", "/audit?since=yesterday", "/audit?until=0000-13-40", "/audit?refused=2", "/audit?verify=yes", "/audit?before=-1", "/audit?actor=" + strings.Repeat("a", 501)}},
	"GET /queue": {path: "/queue", want: reading,
		says: []string{"1 running, 1 waiting", "It waits for network, which it needs.", "3 attempts", "no answer of cluster", "What happened last", `<a href="https://github.com/acme/live/pull/7">#7</a>`},
		bad:  []string{"/queue?%zz"}},
	"GET /style.css": {path: "/style.css", want: reading, says: []string{"prefers-contrast"}},
	"GET /script.js": {path: "/script.js", want: reading, says: []string{"use strict"}},
	"GET /icon.svg":  {path: "/icon.svg", want: reading, says: []string{"<svg"}},

	// What the API says, and to whom it says what is wrong, is in apiTable.
	"GET /api/v1/openapi.json":        {path: "/api/v1/openapi.json", want: reading},
	"GET /api/v1/server":              {path: "/api/v1/server", want: reading},
	"GET /api/v1/status":              {path: "/api/v1/status", want: reading},
	"GET /api/v1/repositories":        {path: "/api/v1/repositories", want: reading},
	"GET /api/v1/workspaces":          {path: "/api/v1/workspaces", want: reading},
	"GET /api/v1/workspace":           {path: "/api/v1/workspace?repository=github%2Facme%2Flive&name=network", want: reading},
	"GET /api/v1/runs":                {path: "/api/v1/runs", want: reading},
	"GET /api/v1/runs/{id}":           {path: "/api/v1/runs/r3", want: reading},
	"GET /api/v1/runs/{id}/plan":      {path: "/api/v1/runs/r3/plan", want: answers{404, 403}}, // there is none
	"GET /api/v1/graph":               {path: "/api/v1/graph?repository=github%2Facme%2Flive", want: reading},
	"GET /api/v1/drift":               {path: "/api/v1/drift", want: reading},
	"GET /api/v1/drift/findings":      {path: "/api/v1/drift/findings", want: reading},
	"GET /api/v1/queue":               {path: "/api/v1/queue", want: reading},
	"GET /api/v1/audit":               {path: "/api/v1/audit", want: reading},
	"GET /api/v1/audit/verification":  {path: "/api/v1/audit/verification", want: reading},
	"POST /api/v1/audit/verification": {path: "/api/v1/audit/verification", want: reading},
	"/api/":                           {path: "/api/v1/nothing", want: answers{404, 403}},
}

// TestEveryRoute fails when a route is added without a row.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	inside, exposed := serve(t, showing(views)), serve(t, func(o *web.Options) { showing(views)(o); o.Exposed = true })
	everybody := []asking{
		{"the machine itself", inside, func(a answers) int { return a.machine }},
		{"others, without sign-in", exposed, func(a answers) int { return a.exposed }},
	}
	all := web.Routes()
	for pattern := range routeTable {
		if !slices.Contains(all, pattern) {
			t.Errorf("there is a row for %s and no such route", pattern)
		}
	}
	for _, pattern := range all {
		row, ok := routeTable[pattern]
		if !ok {
			t.Errorf("the route %s has no row in routeTable", pattern)
			continue
		}
		status, header, text := ask(t, "GET", inside.url+row.path, nil, nil)
		if status != row.want.machine {
			t.Errorf("%s answers %d, want %d: %.300s", row.path, status, row.want.machine, text)
		}
		for _, want := range row.says {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", row.path, want, text)
			}
		}
		wholesome(t, row.path, header, text)
		for _, who := range everybody {
			status, header, text := ask(t, "GET", who.site.url+row.path, nil, nil)
			if want := who.want(row.want); status != want || status > 299 && strings.Contains(text, "cluster") {
				t.Errorf("%s: %s answers %d %.200q, want %d", who.name, row.path, status, text, want)
			}
			wholesome(t, row.path, header, text)
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH", "TRACE"} {
			if status, _, _ := ask(t, method, inside.url+row.path, nil, nil); status != 405 && pattern != "/api/" {
				t.Errorf("%s %s answers %d, want 405", method, row.path, status)
			}
		}
		for _, path := range row.bad {
			status, header, text := ask(t, "GET", inside.url+path, http.Header{"Cookie": {"session=" + hostile[:20]}, "X-Request-Id": {canary}, "Accept-Language": {strings.Repeat("x", 4000)}}, nil)
			if status < 400 || status > 499 {
				t.Errorf("%.80s answers %d, want a 4xx", path, status)
			}
			for _, bad := range []string{"goroutine", ".go:", "SELECT", "sql", "passwd", "none", canary, "%00", strings.Repeat("a", 300)} {
				if strings.Contains(text, bad) {
					t.Errorf("%.80s leaks %q:\n%s", path, bad, text)
				}
			}
			wholesome(t, path, header, text)
		}
	}
	if log := inside.log.String(); strings.Contains(log, "panic") || strings.Contains(log, canary) {
		t.Errorf("the log has\n%s", log)
	}
}

// wholesome checks what must be true of every answer.
func wholesome(t *testing.T, path string, header http.Header, text string) {
	t.Helper()
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
			t.Errorf("%.80s has the policy %q, which has no %q", path, policy, want)
		}
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		return
	}
	if len(text) > pageLimit {
		t.Errorf("%.80s has %d bytes", path, len(text))
	}
	if scripts := strings.Count(text, "<script"); scripts != strings.Count(text, `<script src="/script.js" defer></script>`) {
		t.Errorf("%.80s has a script of its own", path)
	}
	bare := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(text, `""`)
	bad := regexp.MustCompile(`(?i)<[a-z][^>]*\s(style|on[a-z]+)=|<style`).FindString(bare) + regexp.MustCompile(`="(javascript|data):|ZgotmplZ`).FindString(text)
	if bad != "" {
		t.Errorf("%.80s has a style or a script of its own, or an address that was refused: %q", path, bad)
	}
	for _, bad := range []string{"\u202e", "\x1b", canary, "hidden-value"} {
		if strings.Contains(text, bad) {
			t.Errorf("%.80s shows %q", path, bad)
		}
	}
}

// TestPagesAreForThisMachine: they have no sign-in.
func TestPagesAreForThisMachine(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	s := serve(t, showing(views))
	for name, header := range map[string]http.Header{
		"another name":       {"Host": {"plumbline.example.com"}},
		"a rebound name":     {"Host": {"evil.example:4141"}},
		"another address":    {"Host": {"192.0.2.7:4141"}},
		"through a proxy":    {"X-Forwarded-For": {"192.0.2.7"}},
		"a standard proxy":   {"Forwarded": {"for=192.0.2.7"}},
		"another proxy":      {"X-Real-Ip": {"192.0.2.7"}},
		"a name like ours":   {"Host": {"localhost.example.com"}},
		"a number like ours": {"Host": {"127.0.0.1.example.com"}},
	} {
		for pattern, row := range routeTable {
			if row.want.exposed != http.StatusForbidden {
				continue
			}
			status, _, text := ask(t, "GET", s.url+row.path, header, nil)
			if status != http.StatusForbidden || strings.Contains(text, "cluster") || !strings.Contains(text, "sign-in") && pattern != "GET /metrics" {
				t.Errorf("%s, %s: %d %.200q, want 403 that says why", pattern, name, status, text)
			}
		}
	}
	for _, name := range []string{"localhost:4141", "LOCALHOST", "127.0.0.1", "[::1]:4141", "[::1]"} {
		if status, _, text := ask(t, "GET", s.url+"/", http.Header{"Host": {name}}, nil); status != http.StatusOK {
			t.Errorf("as %s: %d %.200q, want 200", name, status, text)
		}
	}
	// Somebody else's connection.
	recorder, req := httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/", nil)
	req.RemoteAddr = "192.0.2.7:1234"
	web.New(web.Options{Engine: s.desk, Views: views, Log: discard}).ServeHTTP(recorder, req)
	if recorder.Code != http.StatusForbidden {
		t.Errorf("a connection from elsewhere gets %d", recorder.Code)
	}
}
