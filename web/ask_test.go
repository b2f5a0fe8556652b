package web_test

import (
	"context"
	"database/sql"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)

// confirmation is the form of a page that asks whether something is meant.
func confirmation(text string) url.Values {
	_, form, _ := strings.Cut(text, `<form class="ask"`)
	values := url.Values{}
	for _, field := range hiddenField.FindAllStringSubmatch(form, -1) {
		values.Set(field[1], html.UnescapeString(field[2]))
	}
	return values
}

const (
	aLook = "/ask?action=drift&repo=github%2Facme%2Flive&workspace=network"
	anAsk = "/ask?action=apply&repo=github%2Facme%2Flive&change=7&workspace=network"
)

// applicable makes the plan of network in #7 one that may be applied by command.
func (s *seen) applicable(t *testing.T) {
	t.Helper()
	s.tx(t, func(ctx context.Context, tx *sql.Tx) {
		for _, do := range []string{
			`UPDATE workspace SET settings = '{"name":"network","dir":"net","apply":"on-comment","approvals":1}' WHERE name = 'network'`,
			"UPDATE run SET shown_at = 1 WHERE id = 'r1'", "UPDATE operation SET head_commit = 'c' WHERE id = 'o1'",
		} {
			if _, err := tx.ExecContext(ctx, do); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestAskedAtOwnMachine asks as a browser without JavaScript does, where nobody signs in.
func TestAskedAtOwnMachine(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	views.applicable(t)
	s := serve(t, showing(views))
	post := func(values url.Values) (int, string, string) {
		t.Helper()
		status, header, text := ask(t, "POST", s.url+"/ask", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, strings.NewReader(values.Encode()))
		return status, header.Get("Location"), text
	}
	_, _, text := ask(t, "GET", s.url+aLook, nil, nil)
	form := confirmation(text)
	status, at, _ := post(form)
	if status != http.StatusSeeOther || !strings.HasPrefix(at, "/request/") {
		t.Fatalf("a look is answered %d %q from %v", status, at, form)
	}
	if _, _, text := ask(t, "GET", s.url+at, nil, nil); !strings.Contains(text, ">taken<") || !strings.Contains(text, "this machine") {
		t.Errorf("the request's page:\n%s", text)
	}
	if status, again, _ := post(form); status != http.StatusSeeOther || again != at {
		t.Errorf("the form sent twice is answered %d %q, want %q", status, again, at)
	}
	for name, change := range map[string]func(url.Values){
		"another token":  func(v url.Values) { v.Set("form", strings.Repeat("0", len(v.Get("form")))) },
		"no token":       func(v url.Values) { v.Del("form") },
		"no nonce":       func(v url.Values) { v.Del("nonce") },
		"a field twice":  func(v url.Values) { v.Add("repo", repository) },
		"another action": func(v url.Values) { v.Set("action", "drop") },
		"other use":      func(v url.Values) { v.Set("workspace", "storage"); v.Set("action", "resume") },
		"no such thing":  func(v url.Values) { v.Set("workspace", "nowhere") },
	} {
		wrong := confirmation(text)
		wrong.Set("nonce", form.Get("nonce"))
		change(wrong)
		if status, at, text := post(wrong); status < 400 || status > 499 || at != "" || strings.Contains(text, "nowhere") {
			t.Errorf("%s is answered %d %q", name, status, at)
		}
	}
	_, _, text = ask(t, "GET", s.url+anAsk, nil, nil)
	if !strings.Contains(text, "It would be refused") || !strings.Contains(text, "a person whom the forge knows") || strings.Contains(text, "<button>Apply") || strings.Contains(text, `class="danger"`) {
		t.Errorf("an apply without a person:\n%s", text)
	}
	status, at, _ = post(confirmation(text))
	if _, _, text := ask(t, "GET", s.url+at, nil, nil); status != http.StatusSeeOther || !strings.Contains(text, ">refused<") {
		t.Errorf("an apply without a person is answered %d:\n%s", status, text)
	}
	_, _, text = ask(t, "GET", s.url+"/workspace?repo=github%2Facme%2Flive&name=network", nil, nil)
	for want, there := range map[string]bool{">Look for drift in network<": true, ">Pause network<": true, ">Pause all of acme/live<": true, ">Apply network of #7<": false, ">Correct drift": false} {
		if strings.Contains(text, want) != there {
			t.Errorf("the workspace offers %q: %v, want %v", want, !there, there)
		}
	}
	if _, _, text := ask(t, "GET", s.url+"/queue", nil, nil); !strings.Contains(text, "Try again now") {
		t.Errorf("the queue offers no retry:\n%s", text)
	}
}

// TestAskedBySomebody asks as people with roles do.
func TestAskedBySomebody(t *testing.T) {
	t.Parallel()
	views := look(t, "cluster")
	views.applicable(t)
	d := openDoor(t, views, nil)
	operator, viewer := d.as(t, "operator"), d.as(t, "viewer")
	_, _, text := operator.get(t, anAsk)
	for _, want := range []string{"#7", `class="danger">Apply network of #7</button>`, "It needs 1 approval", "It destroys nothing"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	form := confirmation(text)

	// A viewer is not offered it, and what they send all the same is not taken.
	_, _, page := viewer.get(t, anAsk)
	if !strings.Contains(page, "It takes the role operator there, and you have that of a viewer") || strings.Contains(page, "</button>\n<a href") || strings.Contains(page, `class="danger"`) {
		t.Errorf("a viewer's page:\n%s", page)
	}
	if status, _, text := viewer.post(t, "/ask", confirmation(page)); status != http.StatusForbidden || !strings.Contains(text, "It takes the role operator") {
		t.Errorf("a viewer's form is answered %d", status)
	}
	if status, _, _ := viewer.post(t, "/ask", form); status != http.StatusForbidden {
		t.Errorf("a form of somebody else is answered %d", status)
	}
	if _, _, page := viewer.get(t, "/workspace?repo=github%2Facme%2Flive&name=network"); strings.Contains(page, `class="actions"`) {
		t.Error("a viewer is offered something")
	}
	if status, _, page := d.as(t, "other").get(t, anAsk); status != http.StatusNotFound || strings.Contains(page, "cluster") {
		t.Errorf("somebody of another repository gets %d", status)
	}

	// What is on the page is what is asked for.
	views.tx(t, func(ctx context.Context, tx *sql.Tx) {
		if _, err := tx.ExecContext(ctx, "UPDATE run SET plan = 'another' WHERE id = 'r1'"); err != nil {
			t.Fatal(err)
		}
	})
	if status, _, text := operator.post(t, "/ask", form); status != http.StatusConflict || !strings.Contains(text, "is not what was on the page any more") {
		t.Errorf("another plan is answered %d:\n%s", status, text)
	} else if status, at, text := operator.post(t, "/ask", confirmation(text)); status != http.StatusOK || !strings.HasPrefix(at, "/request/") || !strings.Contains(text, ">waiting<") || !strings.Contains(text, "operator") {
		t.Errorf("the plan that is shown is answered %d at %s:\n%s", status, at, text)
	}

	// What a plan does must be told before it is asked for.
	views.tx(t, func(ctx context.Context, tx *sql.Tx) {
		if _, err := tx.ExecContext(ctx, "UPDATE run SET result = $1 WHERE id = 'r1'", []byte("not sealed")); err != nil {
			t.Fatal(err)
		}
	})
	if _, _, text := operator.get(t, anAsk); !strings.Contains(text, "cannot be read now") || strings.Contains(text, "It destroys nothing") || strings.Contains(text, `class="danger"`) {
		t.Errorf("a plan that does not open:\n%s", text)
	}

	// What is not listed is counted.
	views.tx(t, func(ctx context.Context, tx *sql.Tx) {
		for i := range 70 {
			if _, err := tx.ExecContext(ctx, "INSERT INTO finding SELECT repository, workspace, $1, $2, class, cause, first_seen, last_seen, 0, 0, 0, 0, 0, 0, '' FROM finding WHERE key = 'k1'",
				fmt.Sprint("more", i), fmt.Sprintf("toy_node.x[%d]", i)); err != nil {
				t.Fatal(err)
			}
		}
	})
	if _, _, text := operator.get(t, "/ask?action=correct&repo=github%2Facme%2Flive&workspace=network"); !strings.Contains(text, "toy_node.x[0]") || !strings.Contains(text, "and 42 more") {
		t.Errorf("72 findings on the page before a correction:\n%s", text)
	}

	// The pause of a repository takes an admin.
	const pause = "/ask?action=pause&repo=github%2Facme%2Flive"
	if _, _, text := operator.get(t, pause); !strings.Contains(text, "It takes the role admin there") {
		t.Errorf("an operator pauses a repository:\n%s", text)
	}
	admin := d.as(t, "admin")
	_, _, text = admin.get(t, "/ask?action=pause")
	form = confirmation(text)
	form.Set("reason", "an incident")
	if status, _, text := admin.post(t, "/ask", form); status != http.StatusOK || !strings.Contains(text, ">taken<") {
		t.Errorf("an admin of all pauses everything: %d\n%s", status, text)
	}
	if status, _, _ := operator.get(t, "/ask?action=resume"); status != http.StatusNotFound {
		t.Errorf("an operator of one repository is told of everything: %d", status)
	}
	if _, _, text := admin.get(t, "/drift"); !strings.Contains(text, "an incident") || !strings.Contains(text, ">Resume everything<") {
		t.Errorf("the board after the pause:\n%s", text)
	}

	// By tokens: at most what the token may, and the same key asks once.
	say := func(token, key, body string) (int, string) {
		t.Helper()
		status, header, _ := ask(t, "POST", d.url+"/api/v1/requests", http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Idempotency-Key": {key}}, strings.NewReader(body))
		return status, header.Get("Location")
	}
	token := operator.token(t, "operator")
	const plan = `{"action":"plan","repository":"github/acme/live","change":7}`
	status, first := say(token, "k", plan)
	if again, at := say(token, "k", plan); status != 202 || again != 202 || first == "" || at != first {
		t.Errorf("a plan asked for twice with one key: %d %q, then %d %q", status, first, again, at)
	}
	if status, _ := say(token, "k", `{"action":"unlock","repository":"github/acme/live","change":7}`); status != http.StatusConflict {
		t.Errorf("the key for something else: %d", status)
	}
	if status, _ := say(operator.token(t, "viewer"), "k2", plan); status != http.StatusForbidden {
		t.Errorf("a viewer's token plans: %d", status)
	}
	id := engine.RequestID(strings.TrimPrefix(first, "/api/v1/requests/"))
	if v, err := views.Request(t.Context(), engine.Everything(), id); err != nil || v.Actor != "operator" || v.Via != engine.ViaAPI {
		t.Errorf("the request: %+v, %v", v, err)
	}
}
