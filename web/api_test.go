package web_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
	"github.com/plumbline-dev/plumbline/web/api"
)

// apiTest is what an operation of the API answers, beyond what all do: TestAPIIsAsDescribed asks for that itself.
type apiTest struct {
	good []string          // what follows the path: each is answered 200, the first with something in it
	says []string          // what stands in the first
	bad  map[string]string // what follows the path, or a body, to the kind of problem
	body string            // that is sent along
	want int               // the status of the good ones; 0 for 200
	// stream says that the answer is no JSON, and written as it comes: it has no tag.
	stream bool
}

// sent is a body and its header, and what follows the path: of a row that may be a body itself.
func (r apiTest) sent(row string) (rest string, header http.Header, body io.Reader) {
	text := r.body
	if rest = row; strings.HasPrefix(row, "{") {
		rest, text = "", row
	}
	if text == "" {
		return rest, http.Header{}, nil
	}
	return rest, http.Header{"Content-Type": {"application/json"}}, strings.NewReader(text)
}

const aWorkspace = "?repository=" + repository + "&name="

// badRequests are asked for by nobody in earnest.
var badRequests = map[string]string{
	`{"action":"drop"}`: "malformed-request", `{"action":"plan","repository":"github/acme/live"}`: "malformed-request", `{"action":"plan","canary":1}`: "malformed-request", `{"action":"plan"} {}`: "malformed-request", `{"action":`: "malformed-request",
	`{"action":"drift","repository":"github/acme/live","workspaces":["none"]}`: "not-found", `{"action":"drift","repository":"github/acme/none","workspaces":["network"]}`: "not-found",
	`{"action":"plan","repository":"github/acme/live","change":8}`: "not-found", `{"action":"pause","reason":"` + strings.Repeat("a", 600) + `"}`: "malformed-request", `{"reason":"` + strings.Repeat("a", 70000) + `"}`: "too-large",
}

// apiTable has a row for each operation: TestAPIIsAsDescribed fails without. {id} is r3, or what stands before a space.
var apiTable = map[string]apiTest{
	"GET /api/v1/openapi.json": {good: []string{""}, says: []string{`"openapi": "3.0.3"`}},
	"GET /api/v1/server":       {good: []string{""}, says: []string{`{"name":"plumbline","version":"1.2.3","api":"v1"}`}},
	"GET /api/v1/status": {good: []string{""}, says: []string{
		`"workspaces":3,`, `"applying":1,`, `"failed":1,`, `"unknown":1}`, `"overdue":1`, `"running":1,"waiting":1,"retries":1`, `"problem":"not found, or cluster(redacted)"`, `"reason":"moving cluster"`, `"wanting":[{"repository":"github/acme/live","name":"network","dir":"base/net","state":"applying"`,
	}},
	"GET /api/v1/repositories": {good: []string{""}, says: []string{`"id":"github/acme/live","forge":"github","name":"acme/live","default_branch":"main"`}},
	"GET /api/v1/workspaces": {
		good: []string{"", "?q=NET", "?state=paused&limit=1", "?state=in_sync", "?repository=" + repository, "?repository=none", "?q="},
		says: []string{`"applied_at":"2026-11-21T09:00:00Z"`, `"state":"applying","class":"node"`, `"changes":[{"number":7,"title":"cluster","url":"https://github.com/acme/live/pull/7","run":"r1","status":"planned"}]`, `"applied_at":null`, `"next":null`},
		bad: map[string]string{
			"?state=in sync": "invalid-parameter", "?limit=0": "invalid-parameter", "?limit=1001": "invalid-parameter", "?limit=1e2": "invalid-parameter", "?limit=": "invalid-parameter", "?cursor=": "invalid-parameter",
			"?cursor=AAAA": "invalid-parameter", "?cursor=%2e%2e": "invalid-parameter", "?q=%00": "invalid-parameter", "?q=%ff": "invalid-parameter", "?repository=%00": "invalid-parameter", "?q=a&q=b": "invalid-parameter",
			"?q=%zz": "malformed-request", "?q=a;b": "malformed-request",
		},
	},
	"GET /api/v1/workspace": {
		good: []string{aWorkspace + "network", aWorkspace + "storage"},
		says: []string{`"every":"15m"`, `"verdict":"unknown"`, `"verdict":"fought_over"`, `"needed_by":[{"name":"cluster","dir":"top","state":"failed"}]`, `{"name":"env","values":["TOY_*"],"source":"plumbline.yaml"}`, `{"name":"backend_config","values":["key"],`, `{"class":"node","cause":"outside","count":1}`},
		bad: map[string]string{
			"": "invalid-parameter", "?repository=a": "invalid-parameter", "?repository=a&name=b": "not-found", aWorkspace + "..%2f..%2fetc%2fpasswd": "not-found", aWorkspace + "%00": "invalid-parameter", aWorkspace + "%ff": "invalid-parameter",
			aWorkspace + strings.Repeat("a", 3000): "not-found",
		},
	},
	"GET /api/v1/runs": {
		good: []string{"", "?repository=" + repository + "&workspace=network", "?status=running,queued", "?status=applied", "?kind=apply&change=8", "?since=2026-11-21", "?since=2026-11-22T01:00:00%2B02:00", "?notable=true", "?limit=1"},
		says: []string{`"id":"r4","repository":"github/acme/live","workspace":"cluster","kind":"apply","status":"waiting"`, `"started_at":"2026-11-21T11:59:00Z","ended_at":null`, `"change":8`},
		bad: map[string]string{
			"?status=none": "invalid-parameter", "?status=": "invalid-parameter", "?status=running,": "invalid-parameter", "?kind=x": "invalid-parameter", "?since=yesterday": "invalid-parameter", "?since=0000-01-01": "invalid-parameter",
			"?change=0": "invalid-parameter", "?change=99999999999999999999": "invalid-parameter", "?notable=1": "invalid-parameter", "?cursor=cnVucw": "invalid-parameter", "?cursor=" + strings.Repeat("a", 3000): "invalid-parameter",
		},
	},
	"GET /api/v1/runs/{id}": {
		good: []string{"", "r1 ", "r4 "},
		says: []string{`"phase":"applying"`, `"actor":"cluster"`, `"plans":[{"which":"plan","totals":"`, `"actions":[{"action":"destroy","count":1},{"action":"create","count":2}]`, `"reason":"reason 1 of cluster"`, `"fingerprint":"abcdef"`, `"others":[{"id":"r4"`, `"hold":null`},
		bad:  map[string]string{"none ": "not-found", "%00 ": "not-found", "..%2f.. ": "not-found", strings.Repeat("a", 3000) + " ": "not-found", "r3%27-- ": "not-found"},
	},
	"GET /api/v1/runs/{id}/plan": {
		good: []string{"", "?action=create", "?which=plan&limit=1", "?action=read"},
		says: []string{`{"items":[{"action":"destroy","address":"toy_bucket.b2","why":"`, `"-     size   = 2"`, `(sensitive)`},
		bad:  map[string]string{"?which=fresh": "not-found", "?which=x": "invalid-parameter", "?action=drop": "invalid-parameter", "?cursor=cGxhbgAtMQ": "invalid-parameter", "?cursor=cGxhbgB4": "invalid-parameter", "none ": "not-found"},
	},
	"GET /api/v1/runs/{id}/output": {
		good: []string{"r1 ?from=-26", "r1 ", "r1 ?from=0", "r1 ?from=999", "r2 "}, says: []string{"<b>Plan: 1 to add</b>\nend\n"}, stream: true,
		bad: map[string]string{"?from=": "invalid-parameter", "?from=1e3": "invalid-parameter", "?from=9999999999999999999999": "invalid-parameter", "?form=1": "unknown-parameter", "?from=1&from=2": "invalid-parameter", "none ": "not-found", "%00 ": "not-found"},
	},
	"GET /api/v1/runs/{id}/output/events": {
		good: []string{"r1 ", "r1 ?from=3", "r2 "}, says: []string{`data: "$ terraform plan\n`, "event: end\n", `"status":"planned"`}, stream: true,
		bad: map[string]string{"?from=x": "invalid-parameter", "?to=1": "unknown-parameter", "none ": "not-found", "..%2f.. ": "not-found"},
	},
	"GET /api/v1/graph": {
		good: []string{"?repository=" + repository, "?repository=" + repository + "&limit=1", "?repository=github/acme/gone"},
		says: []string{`"items":[{"name":"network","dir":"base/net","state":"applying","wave":0,"needs":[]}`, `"wave":1,"needs":["network"]`},
		bad:  map[string]string{"": "invalid-parameter", "?repository=none": "not-found", "?repository=%0d": "not-found", "?repository=" + repository + "&cursor=Z3JhcGgAeAB5": "invalid-parameter"},
	},
	"GET /api/v1/drift": {good: []string{""}, says: []string{`"states":{"clean":0,"drifted":1,"never":0,"unknown":1}`, `"finding_count":2`, `{"class":"node","cause":"outside","count":1}`, `"fights":1`, `"corrected":1`}},
	"GET /api/v1/drift/findings": {
		good: []string{"", "?class=node&cause=outside", "?q=bucket", "?limit=1"},
		says: []string{`"address":"toy_bucket.b"`, `"address":"toy_node.cluster"`, `"gone_at":null`},
		bad:  map[string]string{"?class=none": "invalid-parameter", "?cause=%3Cscript%3E": "invalid-parameter", "?cursor=ZmluZGluZ3MALTE": "invalid-parameter"},
	},
	"GET /api/v1/queue": {good: []string{""}, says: []string{`"running":[{"id":"r3"`, `"waits":["It waits for network, which it needs."]`, `"problem":"no answer of cluster"`, `"change_url":"https://github.com/acme/live/pull/7"`}},
	"GET /api/v1/audit": {
		good: []string{"", "?refused=true", "?q=REASON+0", "?since=2026-11-22", "?until=2026-11-22T00:00:00Z", "?actor=cluster&change=8&repository=acme/live&workspace=network&action=apply", "?limit=1"},
		says: []string{`"seq":2,"at":"2026-11-21T11:59:00Z"`, `"allowed":false,"reason":"reason 1 of cluster"`, `"details":{"run":"r3","status":"begun"}`},
		bad: map[string]string{
			"?refused=1": "invalid-parameter", "?change=x": "invalid-parameter", "?until=0000-13-40": "invalid-parameter", "?cursor=YXVkaXQAMA": "invalid-parameter", "?actor=" + strings.Repeat("a", 501): "invalid-parameter",
		},
	},
	"POST /api/v1/requests": {
		good: []string{""}, body: `{"action":"drift","repository":"github/acme/live","workspaces":["network"]}`, want: 202,
		says: []string{`"action":"drift","repository":"github/acme/live","change":0,"workspaces":["network"],"actor":"this machine","via":"api","state":"taken","why":""`},
		bad:  badRequests,
	},
	"POST /api/v1/requests/preview": {
		good: []string{"", `{"action":"pause"}`, `{"action":"resume","repository":"github/acme/live","workspaces":["storage"]}`, `{"action":"correct","repository":"github/acme/live","workspaces":["network"]}`},
		body: `{"action":"apply","repository":"github/acme/live","change":7}`, says: []string{`"refused":"it takes a person whom the forge knows`}, bad: badRequests,
	},
	"GET /api/v1/requests/{id}":       {good: []string{"q1 "}, says: []string{`"id":"q1","action":"apply"`, `"state":"refused","why":"because of cluster"`}, bad: map[string]string{"none ": "not-found", "%00 ": "not-found"}},
	"GET /api/v1/tokens":              {good: []string{""}, says: []string{`{"items":[]`}, bad: map[string]string{"?q=a": "unknown-parameter"}},
	"POST /api/v1/tokens/{id}/revoke": {good: []string{"t1 "}, want: 403},
	"GET /api/v1/audit/verification":  {good: []string{""}, says: []string{`"checked_at":null`}},
	"POST /api/v1/audit/verification": {good: []string{""}, says: []string{`"whole":true,"entries":3,"sealed":3,"end":{"seq":3,"hash":"`, `"damage":null`}},
}

// described is openapi.json as the server serves it. It is held to the letter here: no object has a property that is not in it,
// although clients must take such.
func described(t *testing.T, s *site) *openapi3.T {
	t.Helper()
	_, _, text := ask(t, "GET", s.url+"/api/v1/openapi.json", nil, nil)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	none := false
	for name, schema := range doc.Components.Schemas {
		if v := schema.Value; len(v.Properties) > 0 {
			v.AdditionalProperties.Has = &none
			for property := range v.Properties {
				if !slices.Contains(v.Required, property) && name != "Problem" {
					t.Errorf("%s.%s is not required: what there is not is null, empty or 0", name, property)
				}
			}
		}
	}
	return doc
}

// The checker of answers is to take streams of events for text.
var _ = func() bool {
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	return true
}()

// held checks an answer against the description of an operation.
func held(t *testing.T, doc *openapi3.T, pattern, address string, status int, header http.Header, text string) {
	t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	item := doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		t.Errorf("%s is not in openapi.json", pattern)
		return
	}
	req, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true}
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: req, Route: &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: item.GetOperation(method)}, Options: options,
		},
		Status: status, Header: header, Options: options,
	}
	output.SetBodyBytes([]byte(text))
	if err := openapi3filter.ValidateResponse(context.Background(), output); err != nil {
		t.Errorf("%s answers %d %.600s\nwhich is not what is described: %.1500v", address, status, text, err)
	}
}

// problemIn checks that an answer is a problem of a kind, that no word of it is what was sent, and that it leaks nothing.
func problemIn(t *testing.T, address string, status int, header http.Header, text, kind string) {
	t.Helper()
	var p api.Problem
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil || header.Get("Content-Type") != "application/problem+json" || p.Status != status || p.Title == "" || p.Detail == "" || p.Kind() != kind {
		t.Errorf("%.100s answers %d %s %.300s, want a problem of the kind %s", address, status, header.Get("Content-Type"), text, kind)
	}
	if docs := guide(t); !strings.Contains(docs, "\n### "+kind+"\n\n"+strconv.Itoa(status)+". ") {
		t.Errorf("docs/api.md has no heading %s with its status %d", kind, status)
	}
	for _, bad := range []string{"goroutine", ".go:", "SELECT", "sql", "passwd", canary, "\x00", strings.Repeat("a", 300), "%zz", "<script"} {
		if strings.Contains(text, bad) {
			t.Errorf("%.100s leaks %q: %s", address, bad, text)
		}
	}
}

// guide is docs/api.md.
func guide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// aPlan destroys a bucket and makes two.
func aPlan() *tfjson.Plan {
	change := func(i int, actions tfjson.Actions) *tfjson.ResourceChange {
		attributes := map[string]any{"size": i, "secret": "the secret of object"}
		c := &tfjson.Change{Actions: actions, After: attributes, AfterSensitive: map[string]any{"secret": true}}
		if actions.Delete() {
			c = &tfjson.Change{Actions: actions, Before: attributes, BeforeSensitive: map[string]any{"secret": true}}
		}
		return &tfjson.ResourceChange{Address: fmt.Sprint("toy_bucket.b", i), Change: c}
	}
	return &tfjson.Plan{ResourceChanges: []*tfjson.ResourceChange{
		change(0, tfjson.Actions{tfjson.ActionCreate}), change(1, tfjson.Actions{tfjson.ActionCreate}), change(2, tfjson.Actions{tfjson.ActionDelete}),
	}}
}

// address is where an operation is, with what stands in a row.
func apiAddress(pattern, row string) (method, address string) {
	method, path, _ := strings.Cut(pattern, " ")
	id, rest, other := strings.Cut(row, " ")
	if !other || strings.HasPrefix(row, "?") {
		id, rest = "r3", row
	}
	return method, strings.ReplaceAll(path, "{id}", id) + strings.ReplaceAll(rest, " ", "%20")
}

// TestAPIIsAsDescribed asks for everything, rightly and wrongly, and holds each answer against openapi.json. An operation
// without a row above, or without its part of the document, fails.
func TestAPIIsAsDescribed(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	views.change = func(d *engine.RunDetail) { d.Diff = prcomment.NewPlain(nil).Diff(aPlan(), false) }
	s, exposed := serve(t, showing(views)), serve(t, func(o *web.Options) { showing(views)(o); o.Exposed = true })
	doc := described(t, s)
	routes := slices.DeleteFunc(web.Routes(), func(pattern string) bool { return !strings.Contains(pattern, " /api/v1/") })
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !slices.Contains(routes, method+" "+path) {
				t.Errorf("openapi.json describes %s %s, and there is no such route", method, path)
			}
		}
	}
	for pattern := range apiTable {
		if !slices.Contains(routes, pattern) {
			t.Errorf("there is a row for %s and no such route", pattern)
		}
	}
	for _, pattern := range routes {
		row, ok := apiTable[pattern]
		if !ok || len(row.good) == 0 {
			t.Errorf("the operation %s has no row in apiTable", pattern)
			continue
		}
		if !strings.Contains(guide(t), "`"+strings.Replace(pattern, "/api/v1", "", 1)) {
			t.Errorf("docs/api.md does not list %s", pattern)
		}
		for i, one := range row.good {
			rest, sent, body := row.sent(one)
			method, address := apiAddress(pattern, rest)
			status, header, text := ask(t, method, s.url+address, sent, body)
			if status != cmp.Or(row.want, http.StatusOK) || header.Get(api.Header) != api.Version || header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s answers %d %v %.300s, want 200", method, address, status, header, text)
			}
			held(t, doc, pattern, address, status, header, text)
			for _, want := range row.says {
				if i == 0 && !strings.Contains(text, want) {
					t.Errorf("%s %s does not say %s:\n%s", method, address, want, text)
				}
			}
			for _, bad := range []string{canary, "hidden-value", "the secret of"} {
				if strings.Contains(text, bad) {
					t.Errorf("%s shows %q", address, bad)
				}
			}
			if tag := header.Get("ETag"); method == http.MethodGet && !row.stream {
				status, header, text := ask(t, method, s.url+address, http.Header{"If-None-Match": {`"x", W/` + tag}}, nil)
				if status != http.StatusNotModified || text != "" || tag == "" || header.Get("ETag") != tag {
					t.Errorf("%s with the tag %q answers %d with %q and %d bytes, want 304", address, tag, status, header.Get("ETag"), len(text))
				}
				held(t, doc, pattern, address, status, header, text)
				if status, header, text := ask(t, "HEAD", s.url+address, nil, nil); status != 200 || text != "" || header.Get("ETag") != tag {
					t.Errorf("HEAD %s answers %d %v", address, status, header)
				}
			}
		}
		for one, kind := range row.bad {
			rest, sent, body := row.sent(one)
			method, address := apiAddress(pattern, rest)
			sent["X-Request-Id"], sent["Authorization"] = []string{canary}, []string{"Bearer " + canary}
			status, header, text := ask(t, method, s.url+address, sent, body)
			problemIn(t, address, status, header, text, kind)
			held(t, doc, pattern, address, status, header, text)
		}
		method, address := apiAddress(pattern, row.good[0])
		joined := "?"
		if strings.Contains(address, "?") {
			joined = "&"
		}
		for kind, wrong := range map[string]struct {
			server *site
			path   string
			header http.Header
		}{
			"unknown-parameter": {s, address + joined + "canary%3Cscript%3E=1", nil},
			"too-long":          {s, address + joined + "q=" + strings.Repeat("a", 5000), nil},
			"not-acceptable":    {s, address, http.Header{"Accept": {"text/html, application/json;q=0, */;*, " + strings.Repeat("a/b,", 500)}}},
			"forbidden":         {exposed, address, nil},
		} {
			_, sent, body := row.sent("")
			maps.Copy(sent, wrong.header)
			status, header, text := ask(t, method, wrong.server.url+wrong.path, sent, body)
			problemIn(t, wrong.path, status, header, text, kind)
			held(t, doc, pattern, wrong.path, status, header, text)
			if kind == "unknown-parameter" {
				_, taken, _ := strings.Cut(strings.TrimSuffix(text, `."}`+"\n"), "This address takes: ")
				parametersDescribed(t, doc, pattern, taken)
			}
		}
		_, path, _ := strings.Cut(pattern, " ")
		for _, other := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
			status, header, text := ask(t, other, s.url+strings.ReplaceAll(path, "{id}", "r3"), nil, nil)
			problemIn(t, path, status, header, text, "method-not-allowed")
			if !strings.Contains(header.Get("Allow"), method) {
				t.Errorf("%s %s is answered with Allow: %q", other, path, header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/api/", "/api/v1", "/api/v1/", "/api/v2/runs", "/api/v1/runs/", "/api/v1/runs/r3/plan/x", "/api/v1/%2e%2e/x", "/api/v1/canary%3Cscript%3E?x=y"} {
		status, header, text := ask(t, "GET", s.url+path, nil, nil)
		problemIn(t, path, status, header, text, "no-such-address")
	}
	if log := s.log.String(); strings.Contains(log, "panic") || strings.Contains(log, canary) {
		t.Errorf("the log has\n%s", log)
	}
}

// parametersDescribed checks that an operation takes those parameters that are described for it.
func parametersDescribed(t *testing.T, doc *openapi3.T, pattern, taken string) {
	t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	want := slices.DeleteFunc(strings.Split(taken, ", "), func(s string) bool { return s == "" })
	var got []string
	if item := doc.Paths.Value(path); item != nil && item.GetOperation(method) != nil {
		for _, p := range item.GetOperation(method).Parameters {
			if p.Value.In == "query" {
				got = append(got, p.Value.Name)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s takes %q, and openapi.json describes %q", pattern, want, got)
	}
}

// failing answers nothing as it should.
type failing struct {
	*seen
	err error
}

func (f *failing) Standing(context.Context, engine.Sight) (engine.Standing, error) { panic(f.err) }

func (f *failing) VerifyAudit(context.Context, engine.Sight) error { return f.err }

// TestAPIFails as described.
func TestAPIFails(t *testing.T) {
	t.Parallel()
	views := &failing{look(t, "cluster"), engine.ErrBusy}
	s := serve(t, func(o *web.Options) { showing(views.seen)(o); o.Views = views })
	doc := described(t, s)
	post := "POST /api/v1/audit/verification"
	status, header, text := ask(t, "POST", s.url+"/api/v1/audit/verification", nil, nil)
	problemIn(t, post, status, header, text, "busy")
	held(t, doc, post, post, status, header, text)
	if header.Get("Retry-After") == "" {
		t.Error("it does not say when to ask again")
	}
	views.err = errors.New("no database " + canary)
	status, header, text = ask(t, "POST", s.url+"/api/v1/audit/verification", nil, nil)
	problemIn(t, post, status, header, text, "unavailable")
	held(t, doc, post, post, status, header, text)
	status, header, text = ask(t, "GET", s.url+"/api/v1/status", nil, nil)
	problemIn(t, "status", status, header, text, "internal")
	held(t, doc, "GET /api/v1/status", "status", status, header, text)
	if log := s.log.String(); !strings.Contains(log, "a request caused a panic") {
		t.Errorf("the log does not tell of the panic:\n%s", log)
	}
	// A page of another site cannot have the log verified, which takes a while.
	status, header, text = ask(t, "POST", s.url+"/api/v1/audit/verification", http.Header{"Sec-Fetch-Site": {"cross-site"}}, nil)
	problemIn(t, post, status, header, text, "cross-origin")
	held(t, doc, post, post, status, header, text)
}

// TestAPIListsGoOn: whoever follows next sees each item once, however small the parts and whatever names are.
func TestAPIListsGoOn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cluster", hostile, "..", "100% & more?"} {
		views := look(t, name)
		views.change = func(d *engine.RunDetail) { d.Diff = prcomment.NewPlain(nil).Diff(aPlan(), false) }
		s := serve(t, showing(views))
		for address, want := range map[string]int{
			"/api/v1/workspaces?limit=1": 3, "/api/v1/workspaces?limit=2&repository=" + repository: 3, "/api/v1/workspaces?limit=1&state=applying": 1, "/api/v1/workspaces?limit=2&q=base": 2,
			"/api/v1/runs?limit=1": 4, "/api/v1/runs?limit=3&status=waiting,running,planned": 3, "/api/v1/runs/r3/plan?limit=1": 3, "/api/v1/runs/r3/plan?limit=1&action=create": 2,
			"/api/v1/graph?limit=1&repository=" + repository: 3, "/api/v1/drift/findings?limit=1": 2, "/api/v1/audit?limit=1": 2, "/api/v1/audit?limit=1000": 2,
		} {
			seen, parts := map[string]bool{}, 0
			for next := address; next != ""; parts++ {
				status, _, text := ask(t, "GET", s.url+next, nil, nil)
				var part api.List[json.RawMessage]
				if err := json.Unmarshal([]byte(text), &part); err != nil || status != 200 || parts > 10 {
					t.Fatalf("%s, part %d: %d %v %s", address, parts, status, err, text)
				}
				for _, item := range part.Items {
					if seen[string(item)] {
						t.Errorf("%s has twice %s", address, item)
					}
					seen[string(item)] = true
				}
				if next = ""; part.Next != nil {
					next = *part.Next
				}
			}
			if len(seen) != want {
				t.Errorf("%s has %d items, want %d", address, len(seen), want)
			}
		}
	}
}

// TestAPIWritesWhatItMeans: workspaces write themselves, for speed; it must be what reading them gives back.
func TestAPIWritesWhatItMeans(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cluster", hostile, "\"\\\u2028é\t", strings.Repeat("long", 100)} {
		s := serve(t, showing(look(t, name)))
		_, _, text := ask(t, "GET", s.url+"/api/v1/workspaces", nil, nil)
		var l api.List[api.Workspace]
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if string(again)+"\n" != text {
			t.Errorf("the server writes\n%s\nencoding/json writes\n%s", text, again)
		}
		if !slices.ContainsFunc(l.Items, func(w api.Workspace) bool { return w.Name == name }) {
			t.Errorf("%q is not there", name)
		}
	}
}

// A token tells what its owner has, makes nothing, and ends itself alone.
func TestTokensOfAToken(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, "cluster"), nil)
	doc := described(t, serve(t, showing(look(t, "cluster"))))
	somebody := d.as(t, "operator")
	first, second := somebody.token(t, "operator"), somebody.token(t, "viewer")
	bearer := func(text string) http.Header { return http.Header{"Authorization": {"Bearer " + text}} }
	status, header, text := ask(t, "GET", d.url+"/api/v1/tokens", bearer(first), nil)
	held(t, doc, "GET /api/v1/tokens", "/api/v1/tokens", status, header, text)
	var list api.List[api.Token]
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Items) != 2 {
		t.Fatalf("the list answers %d %s (%v), want both tokens", status, text, err)
	}
	if strings.Contains(text, first) || strings.Contains(text, second) {
		t.Error("the list says what a token reads")
	}
	revoke := func(token, id string, want int) {
		t.Helper()
		status, header, text := ask(t, "POST", d.url+"/api/v1/tokens/"+id+"/revoke", bearer(token), nil)
		if status != want {
			t.Errorf("revoking %s answers %d %s, want %d", id, status, text, want)
		}
		held(t, doc, "POST /api/v1/tokens/{id}/revoke", "/api/v1/tokens/"+id+"/revoke", status, header, text)
	}
	newest, oldest := list.Items[0].ID, list.Items[1].ID // second and first
	revoke(first, newest, http.StatusForbidden)
	revoke(first, oldest, http.StatusOK)
	revoke(first, oldest, http.StatusUnauthorized)
	revoke(second, newest, http.StatusOK)
}
