package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// hostile is a name that would do harm if it were taken for anything but a name.
const hostile = "<script>alert(1)</script>\"'><img src=x onerror=y>\u202egnp.exe\x1b[31m"

func overview(name, url string) engine.Overview {
	repo := engine.RepoID("github/acme/live")
	return engine.Overview{
		Repositories: []engine.Repository{
			{ID: repo, Forge: "github", Repo: forge.Repo{Owner: "acme", Name: "live"}},
			{ID: "github/acme/gone", Problem: "not found, or " + name},
		},
		Workspaces: []engine.WorkspaceRow{
			{Repository: repo, Name: "network", LastStatus: engine.Applied, AppliedCommit: "0123456789abcdef", AppliedAt: noon.Add(-3 * time.Hour)},
			{Repository: repo, Name: name, LastStatus: engine.Failed, AppliedCommit: name},
			{Repository: repo, Name: "storage"},
		},
		MoreWorkspaces: 4,
		Drift: engine.DriftSummary{
			States: map[engine.SweepState]int{engine.SweepClean: 40, engine.SweepDrifted: 2, engine.SweepUnknown: 1}, Findings: 5, Overdue: 3,
			Pauses: []engine.Pause{
				{Repository: repo, Workspace: name, Until: noon.Add(time.Hour), Reason: "moving " + name, Actor: "ann"},
				{Actor: name, Reason: "all"},
			},
			Histories: []engine.DriftHistory{
				{
					Repository: repo, Workspace: name, State: engine.SweepDrifted, Since: noon.Add(-2 * time.Hour), CheckedAt: noon, Overdue: true, Fights: 1,
					Who: []engine.WhoChanged{{Address: "aws_instance.web", Trace: drift.Trace{At: noon.Add(-3 * time.Hour), By: name, Event: "StopInstances", From: "203.0.113.7"}}},
					Turns: []engine.Look{
						{At: noon.Add(-2 * time.Hour), State: engine.SweepDrifted, Counts: map[string]int{"outside/node": 2, "data/" + name: 1}, Corrected: 1},
						{At: noon.Add(-26 * time.Hour), State: engine.SweepClean},
					},
				},
				{Repository: repo, Workspace: "dns", State: engine.SweepUnknown, Turns: []engine.Look{{At: noon.Add(-72 * time.Hour), State: engine.SweepUnknown}}},
			},
			MoreHistories: 6,
		},
		Operations: []engine.OperationSummary{{
			Operation: engine.Operation{
				ID: "1", Repository: repo, Change: 7, Kind: engine.KindPlan, Cause: engine.CausePushed, Actor: name, Commit: "fedcba9876543210",
				Status: engine.OperationRunning, CreatedAt: noon.Add(-time.Minute),
			},
			Title: name, URL: url,
			Runs: []engine.RunSummary{{Workspace: "network", Status: engine.Running, Phase: engine.PhasePlanning}, {Workspace: name, Status: engine.Planned}},
		}},
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *web.Options) { o.Now = func() time.Time { return noon } })
	s.overview = overview("cluster", "https://github.com/acme/live/pull/7")
	status, header, text := ask(t, "GET", s.url+"/", nil, nil)
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Fatalf("the page answers %d %s", status, header.Get("Content-Type"))
	}
	for _, want := range []string{
		"network", "applied", "3 hours ago", "0123456789<", "never applied", "and 4 more", "not found, or cluster",
		`<a href="https://github.com/acme/live/pull/7">#7</a>`, "pushed by", "1 minute ago", "planning", "planned", "1.2.3",
		"Workspaces that are looked at: 43; 2 drifted, 1 of which it is not known, 40 clean. Findings: 5. Overdue: 3.", "moving cluster", "everything",
		"<strong>overdue</strong> <strong>1 fought over</strong>", "</span> 1 data cluster, 2 outside node, 1 corrected</p>", "26 hours ago</time>:</span> clean</p>",
		"3 hours ago</time>:</strong> <bdi>aws_instance.web was changed by cluster with StopInstances, from 203.0.113.7</bdi>",
		"<td>never</td>", "3 days ago</time>:</span> no answer</p>", "and 6 more",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(text, "<script") || strings.Contains(text, "style=") || strings.Contains(text, "ZgotmplZ") {
		t.Errorf("the page has a script, a style of its own or an address that was refused:\n%s", text)
	}
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
			t.Errorf("the page's policy %q has no %q", policy, want)
		}
	}
	status, header, text = ask(t, "GET", s.url+"/style.css", nil, nil)
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/css") || strings.Contains(text, "url(") {
		t.Errorf("/style.css answers %d %s", status, header.Get("Content-Type"))
	}
	if status, _, text := ask(t, "HEAD", s.url+"/", nil, nil); status != http.StatusOK || text != "" {
		t.Errorf("HEAD / answers %d with %d bytes", status, len(text))
	}
	s.overview = engine.Overview{}
	if _, _, text = ask(t, "GET", s.url+"/", nil, nil); !strings.Contains(text, "None yet") || !strings.Contains(text, "Nothing has happened") {
		t.Errorf("with nothing to show, the page says\n%s", text)
	}
	s.fail = errors.New("no database " + canary)
	if status, _, text := ask(t, "GET", s.url+"/", nil, nil); status != http.StatusServiceUnavailable || strings.Contains(text, canary) {
		t.Errorf("without a database the page answers %d %q", status, text)
	}
}

func TestPageEscapesNames(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, url := range []string{"javascript:alert(1)", "data:text/html,<script>", `"><script>x</script>`} {
		s.overview = overview(hostile, url)
		_, _, text := ask(t, "GET", s.url+"/", nil, nil)
		for _, bad := range []string{"<script", "<img", "javascript:", "data:text", "\u202e", "\x1b"} {
			if strings.Contains(text, bad) {
				t.Errorf("%q got through:\n%s", bad, text)
			}
		}
	}
}

// TestPageIsForThisMachine: it has no sign-in.
func TestPageIsForThisMachine(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.overview = overview("cluster", "")
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
		status, _, text := ask(t, "GET", s.url+"/", header, nil)
		if status != http.StatusForbidden || strings.Contains(text, "cluster") || !strings.Contains(text, "sign-in") {
			t.Errorf("%s: %d %q, want 403 that says why", name, status, text)
		}
	}
	for _, name := range []string{"localhost:4141", "LOCALHOST", "127.0.0.1", "[::1]:4141", "[::1]"} {
		if status, _, text := ask(t, "GET", s.url+"/", http.Header{"Host": {name}}, nil); status != http.StatusOK {
			t.Errorf("as %s: %d %q, want 200", name, status, text)
		}
	}
	exposed := serve(t, func(o *web.Options) { o.Exposed = true })
	if status, _, text := ask(t, "GET", exposed.url+"/", nil, nil); status != http.StatusForbidden || !strings.Contains(text, "127.0.0.1") {
		t.Errorf("where others can reach it, the page answers %d %q", status, text)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if status, _, _ := ask(t, "GET", exposed.url+path, nil, nil); status != http.StatusOK {
			t.Errorf("where others can reach it, %s answers %d", path, status)
		}
	}
	// Somebody else's connection.
	recorder, req := httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/", nil)
	req.RemoteAddr = "192.0.2.7:1234"
	web.New(web.Options{Engine: s.desk, Log: discard}).ServeHTTP(recorder, req)
	if recorder.Code != http.StatusForbidden {
		t.Errorf("a connection from elsewhere gets %d", recorder.Code)
	}
}
