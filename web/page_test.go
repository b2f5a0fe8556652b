package web_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// hostile is a name that would do harm if it were taken for anything but a name.
const hostile = "<script>alert(1)</script>\"'><img src=x onerror=y>\u202egnp.exe\x1b[31m"

// pageLimit is how large a page may be.
const pageLimit = 150_000

// seen is a database with something on every page, and the views of it.
type seen struct {
	*engine.Views
	db *database.DB
	// change changes what a run is told as; fail is answered instead of anything.
	change func(*engine.RunDetail)
	fail   error
}

func (s *seen) Workspaces(ctx context.Context, f engine.WorkspaceFilter) (engine.WorkspaceList, error) {
	if s.fail != nil {
		return engine.WorkspaceList{}, s.fail
	}
	return s.Views.Workspaces(ctx, f)
}

func (s *seen) Run(ctx context.Context, id string) (engine.RunDetail, error) {
	d, err := s.Views.Run(ctx, id)
	if err == nil && s.change != nil {
		s.change(&d)
	}
	return d, err
}

const repository = "github/acme/live"

// look opens a database. With a name, one workspace is called so, and whatever else can be named.
func look(t testing.TB, name string) *seen {
	t.Helper()
	dir := t.TempDir()
	db, err := database.Open(t.Context(), database.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	log, err := audit.New(audit.Options{Keys: [][]byte{[]byte(strings.Repeat("k", 32))}, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	plans, err := planstore.Open(t.Context(), planstore.Options{Location: dir + "/plans", KeyFile: dir + "/key", Repository: repository})
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{db: db, Views: engine.NewViews(engine.ViewsOptions{
		DB: db, Audit: log, Plans: func(string) (*planstore.Store, error) { return plans, nil }, Secrets: []string{canary}, Now: func() time.Time { return noon },
	})}
	if name == "" {
		return s
	}
	ago := func(d time.Duration) int64 { return noon.Add(-d).UnixMilli() }
	s.tx(t, func(ctx context.Context, tx *sql.Tx) {
		do := func(query string, args ...any) {
			t.Helper()
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				t.Fatal(err)
			}
		}
		do(`INSERT INTO repository VALUES ($1, 'github', 'acme', 'live', 'main', '', 0, '', 0, 0, 0, 0, 0, ''), ('github/acme/gone', 'github', 'acme', 'gone', 'main', '', 0, $2, 0, 0, 0, 0, 0, '')`,
			repository, "not found, or "+name+canary)
		settings := fmt.Sprintf(`{"name":%q,"dir":"net","workspace":"default","engine":"terraform","source":"plumbline.yaml:3","env":["TOY_*"],"backend_config":["key=hidden-value"],"drift":{"every":"15m"}}`, "network")
		do(`INSERT INTO workspace VALUES ($1, 'network', 'base/net', 1, $2, '0123456789abcdef', $3, 'applied')`, repository, settings, ago(3*time.Hour))
		do(`INSERT INTO workspace VALUES ($1, $2, 'top', 1, '{"depends_on":["network"]}', $2, 0, 'failed')`, repository, name)
		do(`INSERT INTO workspace VALUES ($1, 'storage', 'base/storage', 1, '', '', 0, '')`, repository)
		do(`INSERT INTO sweep VALUES ($1, 'network', '', '15m', 0, 0, $2, 0, '', '', 0, $3, 'drifted', $3, 0, '', $3, 0), ($1, 'storage', '', '1h', 0, 0, 0, 0, '', '', 0, $3, 'unknown', $3, 2, 'c2VhbGVk', 0, 0)`,
			repository, ago(-time.Hour), ago(2*time.Hour))
		do(`INSERT INTO finding VALUES ($1, 'network', 'k1', $2, 'node', 'outside', $3, $3, 0, 0, 0, 0, 0, 0, ''), ($1, 'network', 'k2', 'toy_bucket.b', 'resource', 'data', $3, $3, 0, 0, 2, 0, $3, 0, '')`,
			repository, "toy_node."+name, ago(2*time.Hour))
		do(`INSERT INTO sweep_history VALUES ($1, 'network', $2, '', 'clean', '', 0), ($1, 'network', $3, '', 'unknown', '', 0), ($1, 'network', $4, '', 'drifted', $5, 1)`,
			repository, ago(200*time.Hour), ago(100*time.Hour), ago(2*time.Hour), `{"outside/node":1,"data/resource":1}`)
		do(`INSERT INTO drift_pause VALUES ($1, 0, $2, $2, $3)`, repository+" storage", "moving "+name, ago(time.Hour))
		do(`INSERT INTO change VALUES ($1, 7, $2, $2, 'open', 0, 0, 'f', 'c', 'main', 'b', '', 'https://github.com/acme/live/pull/7', 0, 0, '', 'o1', 0)`, repository, name)
		operation := func(id string, seq, change int, kind, status string) {
			do(`INSERT INTO operation VALUES ($1, $2, $3, $4, $5, 'pushed', $6, 'main', 'b', 'h', 'fedcba9876543210', '', '', '', '', 0, $7, $8, $8, 0, 0, 0, '', 0, 0)`,
				id, seq, repository, change, kind, name, status, ago(time.Minute))
		}
		reason, err := json.Marshal([]string{"it changes " + name})
		if err != nil {
			t.Fatal(err)
		}
		reasons := string(reason)
		run := func(id, operation, workspace, kind, status, phase, needs string, writes int) {
			do(`INSERT INTO run VALUES ($1, $2, $3, $4, 'd', 0, $5, $6, $7, $8, '', $9, '', 'plan-id', 'abcdef', '', $10, 0, '', 1, $11, $11, 0, 0)`,
				id, operation, repository, workspace, kind, status, phase, needs, reasons, writes, ago(time.Minute))
		}
		operation("o1", 1, 7, "plan", "done")
		run("r1", "o1", "network", "plan", "planned", "", "", 0)
		run("r2", "o1", name, "plan", "unchanged", "", "", 0)
		operation("o2", 2, 8, "apply", "running")
		run("r3", "o2", "network", "apply", "running", "applying", "", 1)
		run("r4", "o2", name, "apply", "waiting", "", `["network"]`, 1)
		do(`INSERT INTO event VALUES ('e', $1, 9, 'opened', '{}', 'poll', 'waiting', '', 3, $2, $3, 0, 0)`, repository, ago(-time.Minute), "no answer of "+name)
		for i, allowed := range []bool{true, false} {
			if _, err := s.Audit.Append(ctx, tx, audit.Entry{
				Actor: name, Action: "apply", Repository: "acme/live", Change: 8, Workspace: "network", Commit: "fedcba9876543210", Allowed: allowed, At: noon.Add(-time.Minute),
				Reason: fmt.Sprintf("reason %d of %s", i, name), Details: map[string]string{"run": "r3", "status": "begun"},
			}); err != nil {
				t.Fatal(err)
			}
		}
	})
	return s
}

func (s *seen) tx(t testing.TB, fn func(ctx context.Context, tx *sql.Tx)) {
	t.Helper()
	if err := s.db.Tx(t.Context(), func(tx *sql.Tx) error { fn(t.Context(), tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func showing(s *seen) func(*web.Options) {
	return func(o *web.Options) { o.Views, o.Now = s, func() time.Time { return noon } }
}

// pageTest is what a route answers: without parameters to this machine, and to whoever is hostile.
type pageTest struct {
	path    string
	want    int      // of path, on loopback
	exposed int      // where others can reach the server
	says    []string // what stands on it
	bad     []string // addresses that must be answered by a 4xx
}

// routeTable has a row for each route: TestEveryRoute fails without.
var routeTable = map[string]pageTest{
	"POST /webhook/{forge}": {path: "/webhook/github", want: 405, exposed: 405, bad: []string{"/webhook/other", "/webhook/%00"}},
	"GET /healthz":          {path: "/healthz", want: 200, exposed: 200, says: []string{"alive"}},
	"GET /readyz":           {path: "/readyz", want: 200, exposed: 200, says: []string{"ready"}},
	"GET /metrics":          {path: "/metrics", want: 200, exposed: 200, says: []string{"plumbline_"}},
	"GET /{$}": {path: "/", want: 200, exposed: 403,
		says: []string{"3 workspaces", "network</bdi>", "applying", "failed", "acme/live", "/ <bdi>base", "3 hours ago", "0123456789<", `title="cluster">#7</a>`, "not found, or cluster(redacted)", "1.2.3", "overdue", "paused"},
		bad:  []string{"/?state=none", "/?from=-1", "/?from=x", "/?from=99999999999", "/?q=%00", "/?q=%ff", "/?q=a&q=b", "/?q=%zz", "/?q=a;b", "/?repo=" + strings.Repeat("a", 600), "/?q=" + strings.Repeat("b", 5000)}},
	"GET /workspace": {path: "/workspace?repo=github%2Facme%2Flive&name=network", want: 200, exposed: 403,
		says: []string{"looked at every 15m, next", "in 1 hour", "toy_node.cluster", "its details do not open", "fought over", "<svg", "Each change of what was seen", "1 data resource, 1 outside node, 1 corrected", "plumbline.yaml:3", "TOY_*", ">key<", "plan</a> of #7"},
		bad:  []string{"/workspace", "/workspace?repo=a", "/workspace?repo=a&name=b", "/workspace?repo=" + repository + "&name=%00", "/workspace?repo=" + repository + "&name=network&before=..", "/workspace?repo=..%2F..&name=../../etc/passwd"}},
	"GET /run/{id}": {path: "/run/r3", want: 200, exposed: 403,
		says: []string{"apply of <bdi>network", "applying", "by <bdi>cluster", "fedcba9876543210", "reason 0 of cluster", "refused", "plan-id", "Together with", "1 min 0 s so far"},
		bad:  []string{"/run/none", "/run/..%2fx", "/run/%00", "/run/" + strings.Repeat("a", 3000), "/run/r3?action=drop", "/run/r3?from=x", "/run/r3%27--", "/run/%3Cscript%3E"}},
	"GET /graph": {path: "/graph", want: 200, exposed: 403,
		says: []string{"Graph", "<svg", "2 workspaces and 1 dependency", "After 1 step", "needs <a", "storage"},
		bad:  []string{"/graph?repo=none", "/graph?repo=%0d", "/graph?from=-3"}},
	"GET /drift": {path: "/drift", want: 200, exposed: 403,
		says: []string{"2 findings", "outside", "Paused: <bdi>storage of acme/live", "moving cluster", "The last 30 days", "fought over", "1 corrected"},
		bad:  []string{"/drift?class=none", "/drift?cause=%3Cscript%3E", "/drift?from=1e3", "/drift?q=%01"}},
	"GET /audit": {path: "/audit", want: 200, exposed: 403,
		says: []string{"The chain was not verified", "reason 1 of cluster", "refused", "begun"},
		bad:  []string{"/audit?change=x", "/audit?since=yesterday", "/audit?until=0000-13-40", "/audit?refused=2", "/audit?verify=yes", "/audit?before=-1", "/audit?actor=" + strings.Repeat("a", 501)}},
	"GET /queue": {path: "/queue", want: 200, exposed: 403,
		says: []string{"1 running, 1 waiting", "It waits for network, which it needs.", "3 attempts", "no answer of cluster", "What happened last", `<a href="https://github.com/acme/live/pull/7">#7</a>`},
		bad:  []string{"/queue?%zz"}},
	"GET /style.css": {path: "/style.css", want: 200, exposed: 403, says: []string{"prefers-contrast"}},
	"GET /script.js": {path: "/script.js", want: 200, exposed: 403, says: []string{"use strict"}},
	"GET /icon.svg":  {path: "/icon.svg", want: 200, exposed: 403, says: []string{"<svg"}},
}

// TestEveryRoute fails when a route is added without a row.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	inside, exposed := serve(t, showing(views)), serve(t, func(o *web.Options) { showing(views)(o); o.Exposed = true })
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
		if status != row.want {
			t.Errorf("%s answers %d, want %d: %.300s", row.path, status, row.want, text)
		}
		for _, want := range row.says {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", row.path, want, text)
			}
		}
		wholesome(t, row.path, header, text)
		if status, _, text := ask(t, "GET", exposed.url+row.path, nil, nil); status != row.exposed || status == 403 && (!strings.Contains(text, "127.0.0.1") || strings.Contains(text, "cluster")) {
			t.Errorf("where others can reach it, %s answers %d %.200q, want %d", row.path, status, text, row.exposed)
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH", "TRACE"} {
			if status, _, _ := ask(t, method, inside.url+row.path, nil, nil); status != 405 {
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

var linked = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)

// crawl follows every link from the first page, and returns the pages.
func crawl(t *testing.T, s *site) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for next := []string{"/"}; len(next) > 0; next = next[1:] {
		path := next[0]
		if _, known := pages[path]; known {
			continue
		}
		status, header, text := ask(t, "GET", s.url+path, nil, nil)
		if status != http.StatusOK {
			t.Errorf("%s is linked, and answers %d", path, status)
		}
		wholesome(t, path, header, text)
		pages[path] = text
		if len(pages) > 300 {
			t.Fatal("there is no end of pages")
		}
		for _, found := range linked.FindAllStringSubmatch(text, -1) {
			address := html.UnescapeString(found[1])
			u, err := url.Parse(address)
			if err != nil {
				t.Errorf("%s links to %q: %v", path, address, err)
				continue
			}
			if u.Host != "" { // a forge
				continue
			}
			if u.Fragment = ""; u.String() != "" {
				next = append(next, u.String())
			}
		}
	}
	return pages
}

// TestNoLinkIsDead follows all of them, with names that mean harm; whatever they are, they are shown as names.
func TestNoLinkIsDead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cluster", hostile, "..", ".", "a/../b", "100% & more?", "../../etc/passwd", strings.Repeat("long", 100)} {
		s := serve(t, showing(look(t, name)))
		pages := crawl(t, s)
		for path, text := range pages {
			for _, bad := range []string{"<script>", "<img src=x", "\u202e", "\x1b"} {
				if strings.Contains(text, bad) {
					t.Errorf("with the name %q, %s has %q", name, path, bad)
				}
			}
		}
		for _, want := range []string{"/", "/graph", "/drift", "/audit", "/queue", "/run/r4", "/workspace?name=network&repo=github%2Facme%2Flive", "/workspace?name=" + url.QueryEscape(name) + "&repo=github%2Facme%2Flive"} {
			if _, ok := pages[want]; !ok {
				t.Errorf("with the name %.20q, nothing links to %s", name, want)
			}
		}
	}
}

// TestForgeLinksLeadToForges: what a forge says is the address of a pull request may be anything.
func TestForgeLinksLeadToForges(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	s := serve(t, showing(views))
	for _, address := range []string{"javascript:alert(1)", "data:text/html,<script>", `"><script>x</script>`, "//evil.example", "https://user:" + canary + "@evil.example/"} {
		views.tx(t, func(ctx context.Context, tx *sql.Tx) {
			if _, err := tx.ExecContext(ctx, "UPDATE change SET url = $1", address); err != nil {
				t.Fatal(err)
			}
		})
		for _, path := range []string{"/run/r1", "/queue"} {
			_, header, text := ask(t, "GET", s.url+path, nil, nil)
			wholesome(t, path, header, text)
			if strings.Contains(text, "evil.example") || strings.Contains(text, "alert(1)") {
				t.Errorf("%s leads to %s", path, address)
			}
		}
	}
}

// TestFiltersLiveInTheAddress: and say what they found.
func TestFiltersLiveInTheAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, showing(look(t, "cluster")))
	for path, want := range map[string]string{
		"/?q=NET":                          "1 of 3 workspaces",
		"/?state=unknown":                  "1 of 3 workspaces",
		"/?state=paused":                   "1 of 3 workspaces",
		"/?q=nothing+at+all":               "No workspace fits",
		"/?repo=github%2Facme%2Flive":      "3 of 3 workspaces",
		"/?q=%22%3E%3Cb%3E":                "value=\"&#34;&gt;&lt;b&gt;\"",
		"/?from=2":                         "3–3 of 3",
		"/?from=7":                         "No workspace fits",
		"/drift?class=node&cause=outside":  "1 of 2 findings",
		"/drift?q=bucket":                  "1 of 2 findings",
		"/audit?refused=1":                 "reason 1 of",
		"/audit?q=REASON+0":                "reason 0 of",
		"/audit?since=2026-11-22":          "Nothing fits",
		"/audit?verify=1":                  "2 entries, each as it was written, all sealed",
		"/audit?actor=cluster&change=8":    "reason 0 of",
		"/run/r3?from=5":                   "apply of",
		"/graph?repo=github%2Facme%2Fgone": "no workspace here yet",
		"/workspace?name=storage&repo=" + url.QueryEscape(repository): "does not open with the key",
	} {
		if status, _, text := ask(t, "GET", s.url+path, nil, nil); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s answers %d and does not say %q:\n%s", path, status, want, text)
		}
	}
	if _, _, text := ask(t, "GET", s.url+"/audit", nil, nil); !strings.Contains(text, "verified <time") {
		t.Error("the audit page forgets that the log was verified")
	}
}

// TestEmptyPages: a server that has seen nothing shows pages that say so.
func TestEmptyPages(t *testing.T) {
	t.Parallel()
	views := look(t, "")
	s := serve(t, showing(views))
	for path, want := range map[string]string{
		"/": "None yet", "/graph": "no workspace here yet", "/drift": "Nothing differs", "/audit": "Nothing was decided yet", "/queue": "Nothing has happened yet",
	} {
		if status, header, text := ask(t, "GET", s.url+path, nil, nil); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s answers %d and does not say %q:\n%s", path, status, want, text)
		} else {
			wholesome(t, path, header, text)
		}
	}
	if status, _, text := ask(t, "HEAD", s.url+"/", nil, nil); status != 200 || text != "" {
		t.Errorf("HEAD / answers %d with %d bytes", status, len(text))
	}
	views.fail = errors.New("no database " + canary)
	if status, _, text := ask(t, "GET", s.url+"/", nil, nil); status != 503 || strings.Contains(text, canary) || !strings.Contains(text, "the log says why") {
		t.Errorf("without a database the page answers %d %q", status, text)
	}
}

// TestLargePlansFit: a plan of thousands of objects comes in parts, what is destroyed first, and can be filtered.
func TestLargePlansFit(t *testing.T) {
	t.Parallel()
	plan := &tfjson.Plan{}
	long := strings.Repeat(`<"quoted" & 'so'> `, 400)
	for i := range 3000 {
		actions := tfjson.Actions{tfjson.ActionCreate}
		if i%1000 == 999 {
			actions = tfjson.Actions{tfjson.ActionDelete}
		}
		attributes := map[string]any{"name": fmt.Sprint("n", i), "text": long, "secret": "the secret of object"}
		c := &tfjson.Change{Actions: actions, After: attributes, AfterSensitive: map[string]any{"secret": true}}
		if actions.Delete() {
			c = &tfjson.Change{Actions: actions, Before: attributes, BeforeSensitive: map[string]any{"secret": true}}
		}
		plan.ResourceChanges = append(plan.ResourceChanges, &tfjson.ResourceChange{Address: fmt.Sprintf("toy_bucket.b%d[%q]", i, hostile), Change: c})
	}
	views := look(t, "cluster")
	views.change = func(d *engine.RunDetail) { d.Diff = prcomment.NewPlain(nil).Diff(plan, false) }
	s := serve(t, showing(views))
	_, header, text := ask(t, "GET", s.url+"/run/r1", nil, nil)
	wholesome(t, "/run/r1", header, text)
	first := strings.Index(text, "toy_bucket.b999[")
	if create := strings.Index(text, "toy_bucket.b0["); first < 0 || create < first {
		t.Errorf("what is destroyed stands at %d, what is created at %d", first, create)
	}
	if strings.Contains(text, "the secret of") || !strings.Contains(text, "(sensitive)") {
		t.Error("the page shows what is sensitive")
	}
	pages, parts := map[string]bool{}, 0
	for address := "/run/r1"; address != "" && parts < 500; parts++ {
		_, header, text := ask(t, "GET", s.url+address, nil, nil)
		wholesome(t, address, header, text)
		for _, found := range regexp.MustCompile(`toy_bucket\.b\d+\[`).FindAllString(text, -1) {
			pages[found] = true
		}
		address = ""
		if next := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(text); next != nil {
			address = html.UnescapeString(next[1])
		}
	}
	if len(pages) != 3000 || parts < 3 {
		t.Errorf("%d parts show %d objects of 3000", parts, len(pages))
	}
	_, _, text = ask(t, "GET", s.url+"/run/r1?action=destroy", nil, nil)
	if strings.Contains(text, "toy_bucket.b0[") || strings.Count(text, "<summary data-row>") != 3 {
		t.Errorf("with the filter it shows %d objects, want 3", strings.Count(text, "<summary data-row>"))
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
			if row.exposed != http.StatusForbidden {
				continue
			}
			status, _, text := ask(t, "GET", s.url+row.path, header, nil)
			if status != http.StatusForbidden || strings.Contains(text, "cluster") || !strings.Contains(text, "sign-in") {
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

// BenchmarkWorkspacesPage is the first page with 10,000 workspaces, of which a third have drifted or are planned.
func BenchmarkWorkspacesPage(b *testing.B) {
	views := look(b, "")
	views.tx(b, func(ctx context.Context, tx *sql.Tx) {
		do := func(query string, args ...any) {
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				b.Fatal(err)
			}
		}
		settings := `{"name":"x","env":["` + strings.Repeat("TOY_LONG_NAME,", 60) + `"]}`
		for r := range 20 {
			repo := fmt.Sprintf("github/acme/live-%02d", r)
			do(`INSERT INTO repository VALUES ($1, 'github', 'acme', $2, 'main', '', 0, '', 0, 0, 0, 0, 0, '')`, repo, fmt.Sprint("live-", r))
			do(`INSERT INTO change VALUES ($1, 1, 'Change it', 'ann', 'open', 0, 0, 'f', 'c', 'main', 'b', '', 'https://github.com/acme/live/pull/1', 0, 0, '', $1, 0)`, repo)
			do(`INSERT INTO operation VALUES ($1, 1, $1, 1, 'plan', 'pushed', 'ann', 'main', 'b', 'h', 'c', '', '', '', '', 0, 'done', 0, 0, 0, 0, 0, '', 0, 0)`, repo)
			for i := range 500 {
				dir := fmt.Sprintf("env-%d/part-%03d", i%10, i)
				state := []string{"clean", "clean", "drifted", "unknown"}[i%4]
				do(`INSERT INTO workspace VALUES ($1, $2, $2, 1, $3, '0123456789abcdef', $4, 'applied')`, repo, dir, settings, noon.UnixMilli())
				do(`INSERT INTO sweep VALUES ($1, $2, '', '1h', 0, 0, $3, 0, '', '', 0, $3, $4, $3, 0, '', $3, 0)`, repo, dir, noon.UnixMilli(), state)
				if state == "drifted" {
					do(`INSERT INTO finding VALUES ($1, $2, 'k', 'toy_bucket.a', 'resource', 'outside', 1, 1, 0, 0, 0, 0, 0, 0, '')`, repo, dir)
				}
				if i%10 == 0 {
					do(`INSERT INTO run VALUES ($1, $2, $2, $3, $3, 0, 'plan', 'planned', '', '', '', '', '', '', '', '', 0, 0, '', 1, 0, 0, 0, 0)`, repo+dir, repo, dir)
				}
			}
		}
	})
	handler := web.New(web.Options{Engine: &desk{}, Views: views, Log: slog.New(slog.DiscardHandler)})
	for _, path := range []string{"/", "/?q=env-3&state=drifted", "/?from=9900"} {
		b.Run(strings.NewReplacer("/", "page", "?", " ").Replace(path), func(b *testing.B) {
			size := 0
			for b.Loop() {
				recorder, req := httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost"+path, nil)
				req.RemoteAddr = "127.0.0.1:1"
				handler.ServeHTTP(recorder, req)
				if recorder.Code != http.StatusOK {
					b.Fatal(recorder.Code, recorder.Body)
				}
				size = recorder.Body.Len()
			}
			b.ReportMetric(float64(size), "B/page")
		})
	}
}
