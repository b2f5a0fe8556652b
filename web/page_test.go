package web_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/terraform"
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
	db     *database.DB
	engine *engine.Engine
	// change changes what a run is told as; fail is answered instead of anything.
	change func(*engine.RunDetail)
	fail   error
}

func (s *seen) Workspaces(ctx context.Context, sight engine.Sight, f engine.WorkspaceFilter) (engine.WorkspaceList, error) {
	if s.fail != nil {
		return engine.WorkspaceList{}, s.fail
	}
	return s.Views.Workspaces(ctx, sight, f)
}

func (s *seen) Run(ctx context.Context, sight engine.Sight, id string) (engine.RunDetail, error) {
	d, err := s.Views.Run(ctx, sight, id)
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
	client, err := github.New(github.Options{Token: "none", WebhookSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	inside, err := engine.New(engine.Options{
		DB: db, Audit: log, DataDir: dir, Plans: func(string) (*planstore.Store, error) { return plans, nil }, Secrets: []string{canary},
		Forges:    []engine.ForgeOptions{{Name: "github", Client: client, Repos: []string{"acme/*"}}},
		Installer: terraform.NewInstaller(terraform.InstallerOptions{CacheDir: dir}), Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{db: db, engine: inside, Views: engine.NewViews(engine.ViewsOptions{
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
		s.print(t, tx, "r1", 0, "$ terraform plan\n<b>Plan: 1 to add</b>\nend\n")
		s.print(t, tx, "r3", 0, "$ terraform apply\n"+strings.Repeat("toy_bucket.a: Still creating... & on\n", 2000))
		do(`INSERT INTO request VALUES ('q1', 'x', 'q1', '', $1, 7, 'apply', $2, $3, $3, 'web', '', 'refused', $4, $5, $5)`,
			repository, `{"action":"apply","repository":"`+repository+`","change":7,"workspaces":["network"]}`, name, "because of "+name, ago(time.Minute))
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
	return func(o *web.Options) {
		o.Views, o.Now = s, func() time.Time { return noon }
		o.Engine = &taking{o.Engine, s.engine}
	}
}

// taking writes down what is asked for, in the engine of the database that is shown.
type taking struct {
	web.Engine
	engine *engine.Engine
}

func (e *taking) Ask(ctx context.Context, r engine.Request) (engine.RequestID, error) {
	return e.engine.Ask(ctx, r)
}

// linked are the addresses that a page leads to; posted are those that only a form is sent to.
var (
	linked = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	posted = regexp.MustCompile(` action="[^"]*" method="post"`)
)

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
		for _, found := range linked.FindAllStringSubmatch(posted.ReplaceAllString(text, ""), -1) {
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
