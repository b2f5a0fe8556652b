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

// answers are the statuses of a route, by who asks.
type answers struct {
	// Of servers without sign-in:
	machine int // where only its own machine reaches the server
	exposed int // where others can
	// Of a server on which people sign in:
	out      int // nobody has
	nobody   int // somebody without a role
	other    int // a viewer of another repository
	viewer   int // of the repository that the row is about
	operator int
	admin    int
	// And by API tokens, which none of them may do more with:
	otherToken, viewerToken, operatorToken int
}

// What most routes answer.
var (
	open    = answers{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200} // to anybody
	asset   = answers{200, 403, 200, 200, 200, 200, 200, 200, 200, 200, 200} // to anybody who may sign in
	reading = answers{200, 403, 303, 403, 200, 200, 200, 200, 303, 303, 303} // a page, with what somebody sees
	about   = answers{200, 403, 303, 403, 404, 200, 200, 200, 303, 303, 303} // a page about the repository
	form    = answers{403, 403, 401, 403, 403, 403, 403, 403, 401, 401, 401} // a form that was not got from here
	listing = answers{200, 403, 401, 401, 401, 401, 401, 401, 200, 200, 200} // a list of the API, with what somebody sees
	telling = answers{200, 403, 401, 401, 401, 401, 401, 401, 404, 200, 200} // what the API tells of the repository
)

// with is answers with other ones to those who see the repository.
func (a answers) with(status int) answers {
	for _, s := range []*int{&a.machine, &a.viewer, &a.operator, &a.admin, &a.viewerToken, &a.operatorToken} {
		if *s == 200 {
			*s = status
		}
	}
	return a
}

// asking is one who asks.
type asking struct {
	name   string
	site   *site
	header func() http.Header // what the request brings
	want   func(answers) int
}

// routeTable has a row for each route: TestEveryRoute fails without.
var routeTable = map[string]pageTest{
	"POST /webhook/{forge}": {path: "/webhook/github", want: answers{401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401}, bad: []string{"/webhook/other", "/webhook/%00"}},
	"GET /healthz":          {path: "/healthz", want: open, says: []string{"alive"}},
	"GET /readyz":           {path: "/readyz", want: open, says: []string{"ready"}},
	"GET /metrics":          {path: "/metrics", want: answers{200, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403}, says: []string{"plumbline_"}},
	"GET /{$}": {path: "/", want: reading,
		says: []string{"3 workspaces", "network</bdi>", "applying", "failed", "acme/live", "/ <bdi>base", "3 hours ago", "0123456789<", `title="cluster">#7</a>`, "not found, or cluster(redacted)", "1.2.3", "overdue", "paused"},
		bad:  []string{"/?state=none", "/?from=-1", "/?from=x", "/?from=99999999999", "/?q=%00", "/?q=%ff", "/?q=a&q=b", "/?q=%zz", "/?q=a;b", "/?repo=" + strings.Repeat("a", 600), "/?q=" + strings.Repeat("b", 5000)}},
	"GET /workspace": {path: "/workspace?repo=github%2Facme%2Flive&name=network", want: about,
		says: []string{"looked at every 15m, next", "in 1 hour", "toy_node.cluster", "its details do not open", "fought over", "<svg", "Each change of what was seen", "1 data resource, 1 outside node, 1 corrected", "plumbline.yaml:3", "TOY_*", ">key<", "plan</a> of #7"},
		bad:  []string{"/workspace", "/workspace?repo=a", "/workspace?repo=a&name=b", "/workspace?repo=" + repository + "&name=%00", "/workspace?repo=" + repository + "&name=network&before=..", "/workspace?repo=..%2F..&name=../../etc/passwd"}},
	"GET /run/{id}": {path: "/run/r3", want: about,
		says: []string{"apply of <bdi>network", "applying", "by <bdi>cluster", "fedcba9876543210", "reason 0 of cluster", "refused", "plan-id", "Together with", "1 min 0 s so far"},
		bad:  []string{"/run/none", "/run/..%2fx", "/run/%00", "/run/" + strings.Repeat("a", 3000), "/run/r3?action=drop", "/run/r3?from=x", "/run/r3%27--", "/run/%3Cscript%3E"}},
	"GET /run/{id}/output": {path: "/run/r1/output", want: about, says: []string{"id: 43\ndata: \"$ terraform plan\\n<b>Plan: 1 to add</b>\\nend\\n\"\n\n", "event: state\n", "event: end\ndata: {", `"status":"planned"`},
		bad: []string{"/run/none/output", "/run/%00/output", "/run/r1/output?from=x", "/run/r1/output?from=1&from=2", "/run/r1/output?form=1", "/run/r1/output?from=99999999999999999999", "/run/%3Cscript%3E/output"}},
	"GET /run/{id}/output.txt": {path: "/run/r1/output.txt?from=-26", want: about, says: []string{"<b>Plan: 1 to add</b>\nend\n"},
		bad: []string{"/run/none/output.txt", "/run/r1/output.txt?from=1e3", "/run/r1/output.txt?to=3", "/run/" + strings.Repeat("a", 3000) + "/output.txt"}},
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
	"GET /sign-in":             {path: "/sign-in", want: answers{404, 403, 200, 200, 200, 200, 200, 200, 200, 200, 200}, bad: []string{"/sign-in?to=a&to=b", "/sign-in?%zz"}},
	"GET /sign-in/{way}":       {path: "/sign-in/oidc", want: answers{404, 403, 303, 303, 303, 303, 303, 303, 303, 303, 303}, bad: []string{"/sign-in/none", "/sign-in/%00", "/sign-in/..%2f.."}},
	"GET /sign-in/{way}/back":  {path: "/sign-in/oidc/back", want: answers{404, 403, 400, 400, 400, 400, 400, 400, 400, 400, 400}, bad: []string{"/sign-in/none/back", "/sign-in/oidc/back?code=x&state=" + strings.Repeat("a", 43), "/sign-in/oidc/back?state=%00"}},
	"POST /sign-out":           {path: "/sign-out", want: form},
	"GET /tokens":              {path: "/tokens", want: reading, says: []string{"nobody can on this server"}, bad: []string{"/tokens?%zz"}},
	"POST /tokens":             {path: "/tokens", want: form},
	"POST /tokens/{id}/revoke": {path: "/tokens/none/revoke", want: form},

	"GET /ask": {path: "/ask?action=drift&repo=github%2Facme%2Flive&workspace=network", want: about,
		says: []string{"Look for drift in network</bdi>?", "Nothing is changed", `<form class="ask" action="/ask" method="post">`, `name="nonce"`, "No, go back"},
		bad: []string{"/ask", "/ask?action=drop", "/ask?action=plan", "/ask?action=plan&repo=a&change=1", "/ask?action=plan&repo=" + repository + "&change=-1", "/ask?action=plan&repo=" + repository + "&change=8",
			"/ask?action=drift&repo=" + repository + "&workspace=%00", "/ask?action=drift&repo=" + repository + "&workspace=../../etc/passwd", "/ask?action=retry&repo=" + repository, "/ask?action=pause&until=x", "/ask?action=pause&reason=%ff",
			"/ask?action=drift&repo=" + repository + "&workspace=" + strings.Repeat("a", 3000)}},
	"POST /ask": {path: "/ask", want: form},
	"GET /request/{id}": {path: "/request/q1", want: about, says: []string{"Apply network of #7", "refused", "because of cluster", "on the web", "Look at it again"},
		bad: []string{"/request/none", "/request/%00", "/request/%3Cscript%3E", "/request/" + strings.Repeat("a", 3000)}},

	"GET /style.css": {path: "/style.css", want: asset, says: []string{"prefers-contrast"}},
	"GET /script.js": {path: "/script.js", want: asset, says: []string{"use strict"}},
	"GET /icon.svg":  {path: "/icon.svg", want: asset, says: []string{"<svg"}},

	// What the API says, and to whom it says what is wrong, is in apiTable.
	"GET /api/v1/openapi.json":            {path: "/api/v1/openapi.json", want: listing},
	"GET /api/v1/server":                  {path: "/api/v1/server", want: listing},
	"GET /api/v1/status":                  {path: "/api/v1/status", want: listing},
	"GET /api/v1/repositories":            {path: "/api/v1/repositories", want: listing},
	"GET /api/v1/workspaces":              {path: "/api/v1/workspaces", want: listing},
	"GET /api/v1/workspace":               {path: "/api/v1/workspace?repository=github%2Facme%2Flive&name=network", want: telling},
	"GET /api/v1/runs":                    {path: "/api/v1/runs", want: listing},
	"GET /api/v1/runs/{id}":               {path: "/api/v1/runs/r3", want: telling},
	"GET /api/v1/runs/{id}/plan":          {path: "/api/v1/runs/r3/plan", want: telling.with(404)}, // there is none
	"GET /api/v1/runs/{id}/output":        {path: "/api/v1/runs/r1/output", want: telling},
	"GET /api/v1/runs/{id}/output/events": {path: "/api/v1/runs/r1/output/events", want: telling},
	"GET /api/v1/graph":                   {path: "/api/v1/graph?repository=github%2Facme%2Flive", want: telling},
	"GET /api/v1/drift":                   {path: "/api/v1/drift", want: listing},
	"GET /api/v1/drift/findings":          {path: "/api/v1/drift/findings", want: listing},
	"GET /api/v1/queue":                   {path: "/api/v1/queue", want: listing},
	"GET /api/v1/audit":                   {path: "/api/v1/audit", want: listing},
	"GET /api/v1/audit/verification":      {path: "/api/v1/audit/verification", want: listing},
	"POST /api/v1/requests":               {path: "/api/v1/requests", want: answers{400, 403, 401, 401, 401, 401, 401, 401, 404, 404, 404}},
	"POST /api/v1/requests/preview":       {path: "/api/v1/requests/preview", want: answers{400, 403, 401, 401, 401, 401, 401, 401, 404, 404, 404}},
	"GET /api/v1/requests/{id}":           {path: "/api/v1/requests/q1", want: telling},
	"GET /api/v1/tokens":                  {path: "/api/v1/tokens", want: listing},
	"POST /api/v1/tokens/{id}/revoke":     {path: "/api/v1/tokens/none/revoke", want: answers{403, 403, 401, 401, 401, 401, 401, 401, 403, 403, 403}},
	"POST /api/v1/audit/verification":     {path: "/api/v1/audit/verification", want: answers{200, 403, 401, 401, 401, 401, 401, 401, 404, 404, 404}},
	"/api/":                               {path: "/api/v1/nothing", want: answers{404, 403, 401, 401, 401, 401, 401, 401, 404, 404, 404}},
}

// TestEveryRoute fails when a route is added without a row.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	inside, exposed := serve(t, showing(views)), serve(t, func(o *web.Options) { showing(views)(o); o.Exposed = true })
	nothing := func() http.Header { return nil }
	everybody := append(signedIn(t, views),
		asking{"the machine itself", inside, nothing, func(a answers) int { return a.machine }},
		asking{"others, without sign-in", exposed, nothing, func(a answers) int { return a.exposed }},
	)
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
		method, _, _ := strings.Cut(pattern, " ")
		if !strings.Contains(pattern, " ") {
			method = "GET"
		}
		status, header, text := ask(t, method, inside.url+row.path, nil, nil)
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
			status, header, text := ask(t, method, who.site.url+row.path, who.header(), nil)
			if want := who.want(row.want); status != want || status > 299 && strings.Contains(text, "cluster") {
				t.Errorf("%s: %s %s answers %d %.200q, want %d", who.name, method, row.path, status, text, want)
			}
			if (row.want == reading || row.want == listing) && strings.Contains(who.name, "another repository") && (strings.Contains(text, "acme/live") || strings.Contains(text, "network")) {
				t.Errorf("%s: %s %s tells of what is not in sight:\n%s", who.name, method, row.path, text)
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
		"a quiet proxy":      {"Origin": {"https://plumbline.example.com"}},
		"a file":             {"Origin": {"null"}},
		"a name like ours":   {"Host": {"localhost.example.com"}},
		"a number like ours": {"Host": {"127.0.0.1.example.com"}},
	} {
		for pattern, row := range routeTable {
			if row.want.exposed != http.StatusForbidden || strings.HasPrefix(pattern, "POST /") {
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
	// A proxy that was told nothing, and asks as if for itself.
	recorder, req := httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/", nil)
	req.RemoteAddr, req.Proto, req.ProtoMinor = "127.0.0.1:1234", "HTTP/1.0", 0
	web.New(web.Options{Engine: s.desk, Views: views, Log: discard}).ServeHTTP(recorder, req)
	if recorder.Code != http.StatusForbidden {
		t.Errorf("by HTTP/1.0: %d", recorder.Code)
	}
	// Somebody else's connection.
	recorder, req = httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/", nil)
	req.RemoteAddr = "192.0.2.7:1234"
	web.New(web.Options{Engine: s.desk, Views: views, Log: discard}).ServeHTTP(recorder, req)
	if recorder.Code != http.StatusForbidden {
		t.Errorf("a connection from elsewhere gets %d", recorder.Code)
	}
}
