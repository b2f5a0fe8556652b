package engine

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// person is a login that asks on the web.
func person(login string) Asker {
	return Asker{ID: "test " + login, Name: login + " of the tests", Login: login, Via: ViaWeb}
}

func (d *docket) views() *Views {
	e := d.engines[0]
	return NewViews(ViewsOptions{DB: e.DB, Audit: e.Audit, Plans: e.Plans, Secrets: e.Secrets, Now: e.Now})
}

// ask writes a request down and does no more.
func (d *docket) ask(by Asker, r Request) RequestID {
	d.Helper()
	r.By = by
	if r.Repository == "" && !by.Everywhere && !by.Own {
		r.Repository = d.id
	}
	id, err := d.engines[0].Ask(d.Context(), r)
	if err != nil {
		d.Fatalf("ask for %s: %v", r.Action, err)
	}
	return id
}

// asked is what became of a request.
func (d *docket) asked(id RequestID) RequestView {
	d.Helper()
	d.drain()
	v, err := d.views().Request(d.Context(), Everything(), id)
	if err != nil {
		d.Fatal(err)
	}
	return v
}

// wantAsked asks, and wants it refused with some words, or taken with "".
func (d *docket) wantAsked(by Asker, r Request, why string) RequestView {
	d.Helper()
	v := d.asked(d.ask(by, r))
	want := RequestTaken
	if why != "" {
		want = RequestRefused
	}
	if v.State != want || !strings.Contains(v.Why, why) || why == "" && v.Why != "" || v.EndedAt.IsZero() {
		d.Errorf("%s asks for %s of #%d %q %q: it is %s: %q, want %s: %q; %q", by.Name, r.Action, r.Change, r.Workspaces, r.Repository, v.State, v.Why, want, why, d.problems())
	}
	return v
}

// alike wants a comment and a request refused with the very same words, and the same in the audit log.
func (d *docket) alike(login string, r Request, why string) {
	d.Helper()
	command := "plumbline " + string(r.Action)
	for _, name := range r.Workspaces {
		command += " -w " + name
	}
	replies, noted := len(d.replies(r.Change)), len(d.entries(audit.Filter{}))
	d.say(login, r.Change, command)
	said := d.replies(r.Change)[replies:]
	v := d.wantAsked(person(login), r, why)
	if len(said) != 1 || !strings.Contains(strings.ReplaceAll(said[0], "&#8203;", ""), v.Why) {
		d.Errorf("%q as a comment is answered %q, and on the web %q", command, said, v.Why)
	}
	if again := len(d.replies(r.Change)) - replies; again != 1 {
		d.Errorf("%q on the web is answered in a comment", command)
	}
	entries := d.entries(audit.Filter{})[noted:]
	if len(entries) != 2 {
		d.Fatalf("%q: audit %+v", command, entries)
	}
	comment, web := entries[0], entries[1]
	if web.Details["via"] != ViaWeb || web.Details["request"] != string(v.ID) || web.Details["person"] != login+" of the tests" || comment.Details["via"] != "" {
		d.Errorf("%q: audit details %v and %v", command, comment.Details, web.Details)
	}
	for _, e := range []*audit.Entry{&comment, &web} {
		e.Seq, e.At, e.Hash = 0, time.Time{}, ""
		for _, key := range []string{"comment", "event", "via", "request", "person"} {
			delete(e.Details, key)
		}
	}
	d.want("audit of "+command, fmt.Sprintf("%+v", web), fmt.Sprintf("%+v", comment))
}

// TestGuardsRefuseTheWebAlike asks for the same in comments and on the web.
func TestGuardsRefuseTheWebAlike(t *testing.T) {
	files := commented("")
	files["plumbline.yaml"] += "    approvals: 1\n  - dir: network\n    apply: on-comment\n"
	d := newDocket(t, 1, files, nil)
	change := bump("network", "2")
	change["app/main.tf"] = bump("app", "2")["app/main.tf"]
	change["database/main.tf"] = bump("database", "2")["database/main.tf"]
	number := d.open("alice", "more", change)
	d.deliver()
	d.drain()
	of := func(action Action, names ...string) Request {
		return Request{Action: action, Change: number, Workspaces: names}
	}
	d.alike("bob", of(ActApply, "network"), "has no plan yet")
	d.endAll(number, KindPlan, Planned)
	for _, action := range []Action{ActPlan, ActApply, ActUnlock} {
		d.alike("mallory", of(action), "it takes write permission in")
		d.alike("stranger", of(action, "network"), "`stranger` has read permission")
	}
	d.alike("bob", of(ActApply, "app"), "`apply: never`")
	d.alike("bob", of(ActApply, "database"), "is not approved: it needs 1 approval")
	d.alike("bob", of(ActApply, "netwrk"), "netwrk")
	d.posted(number, time.Time{})
	d.alike("bob", of(ActApply, "network"), "is not posted yet")
	d.posted(number, time.Now().Add(-time.Hour))
	d.want("applies", len(d.applies()), 0)

	// What is not refused is the same operation.
	v := d.wantAsked(person("bob"), of(ActApply, "network"), "")
	web, _ := d.last(number, KindApply)
	d.want("via", web.askedVia(), ViaWeb)
	if len(v.Runs) != 1 || v.Runs[0].Workspace != "network" || v.Actor != "bob" {
		t.Errorf("what came of it: %+v", v)
	}
	d.alike("carol", of(ActApply, "network"), "is being applied, or waits for its turn")
	d.endAll(number, KindApply, Failed)
	d.say("bob", number, "plumbline apply -w network")
	said, _ := d.last(number, KindApply)
	d.want("via", said.askedVia(), "")
	for _, op := range []*Operation{&web, &said} {
		op.ID, op.Seq, op.ReplyTo, op.Status, op.EventAt, op.CreatedAt, op.EndedAt = "", 0, "", "", time.Time{}, time.Time{}, time.Time{}
	}
	d.want("operation", fmt.Sprintf("%+v", web), fmt.Sprintf("%+v", said))
	d.endAll(number, KindApply, Applied)
	d.alike("bob", of(ActApply, "network"), "is applied already")
	d.wantAsked(person("bob"), of(ActUnlock, "network"), "")
	if op, runs := d.last(number, KindUnlock); op.Actor != "bob" || statuses(runs) != "network:queued" {
		t.Errorf("unlock: %+v %s", op, statuses(runs))
	}
	d.wantAsked(person("carol"), of(ActPlan, "database"), "")
	if op, _ := d.last(number, KindPlan); op.Actor != "carol" || op.Cause != CauseCommand {
		t.Errorf("plan: %+v", op)
	}
	entries := d.entries(audit.Filter{})
	if last := entries[len(entries)-1]; last.Action != "plan" || !last.Allowed || last.Details["via"] != ViaWeb || last.Actor != "carol" {
		t.Errorf("audit of the plan: %+v", last)
	}
	d.wantAsked(person(forgetest.Robot), of(ActPlan), "Plumbline's own account")

	// A head that is not planned, and a change that is closed.
	d.hub.Commit(t, d.repo, "more", "", bump("network", "3"))
	d.deliver()
	d.drain()
	d.alike("bob", of(ActApply, "network"), "has no plan yet")
	d.hub.Close(t, d.repo, "alice", number)
	d.deliver()
	d.drain()
	d.alike("bob", of(ActApply), "it is closed")
	d.alike("bob", of(ActPlan), "it is closed")
	d.want("applies", len(d.applies()), 2)
}

// TestWebAppliesNothingUnread asks before a plan is shown, and for another plan than the page had.
func TestWebAppliesNothingUnread(t *testing.T) {
	d := newDocket(t, 1, commented(""), nil)
	number := d.opened("alice", "more", bump("database", "2"))
	_, runs := d.last(number, KindPlan)
	apply := Request{Action: ActApply, Change: number}
	d.posted(number, time.Time{})
	early := d.ask(person("bob"), apply)
	d.posted(number, time.Now().Add(-time.Hour)) // whatever the clocks say
	if v := d.asked(early); v.State != RequestRefused || !strings.Contains(v.Why, "was not written after that") {
		t.Errorf("asked before the plan was posted: %+v", v)
	}
	other := apply
	other.Seen = map[string]string{"database": "another"}
	d.wantAsked(person("bob"), other, "not the one that was on the page")
	other.Seen = map[string]string{}
	d.wantAsked(person("bob"), other, "not the one that was on the page")
	d.want("applies", len(d.applies()), 0)
	p, err := d.views().Preview(t.Context(), Everything(), Request{Action: ActApply, Repository: d.id, Change: number, By: person("bob")})
	if err != nil || p.Refused != "" || len(p.Targets) != 1 || p.Request.Seen["database"] != runs["database"].Plan {
		t.Fatalf("preview %+v, %v", p, err)
	}
	other.Seen = p.Request.Seen
	d.wantAsked(person("bob"), other, "")
	_, applied := d.last(number, KindApply)
	d.want("plan", applied["database"].Reviewed, runs["database"].Plan)

	// What is held after the merge is shown once more before it is accepted.
	d.endAll(number, KindApply, Failed)
	d.merge(number, forge.Squash)
	held := d.endAll(number, KindApply, Held)["database"]
	d.posted(number, time.Now().Add(-time.Hour))
	p, err = d.views().Preview(t.Context(), Everything(), Request{Action: ActApply, Repository: d.id, Change: number, By: person("bob")})
	if err != nil || p.Refused != "" || p.Request.Seen["database"] != held.Plan && held.Plan != "" {
		t.Errorf("preview of what is held %+v, %v; %+v", p, err, held)
	}
	d.wantAsked(person("bob"), apply, "")
	if _, err := d.views().Preview(t.Context(), Sight{}, apply); err == nil {
		t.Error("a preview of what is out of sight")
	}
	if _, err := d.views().Request(t.Context(), Sight{}, early); !errors.Is(err, ErrNoSuch) {
		t.Errorf("a request out of sight: %v", err)
	}
}

// TestAskedTwiceIsAskedOnce posts forms twice, at once and later.
func TestAskedTwiceIsAskedOnce(t *testing.T) {
	d := newDocket(t, 2, docketFiles(), nil)
	number := d.opened("alice", "more", bump("network", "2"))
	r := Request{Action: ActPlan, Repository: d.id, Change: number, Nonce: "n1", By: person("bob")}
	ids := make([]RequestID, 6)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = d.engines[i%2].Ask(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d.want("ids", slices.Compact(ids), ids[:1])
	d.drain()
	d.want("again later", d.ask(r.By, r), ids[0])
	d.drain()
	plans, _ := d.operations(number, KindPlan)
	d.want("plans", len(plans), 2)
	r.Workspaces = []string{"network"}
	if _, err := d.engines[0].Ask(t.Context(), r); !errors.Is(err, ErrOtherRequest) {
		t.Errorf("the same nonce for something else: %v", err)
	}
	r.By = person("carol")
	if d.ask(r.By, r) == ids[0] {
		t.Error("two people share a nonce")
	}
	d.drain()
	for name, r := range map[string]Request{
		"another repository": {Action: ActPlan, Repository: "hub/acme/none", Change: number},
		"another change":     {Action: ActPlan, Repository: d.id, Change: 999},
		"another workspace":  {Action: ActDrift, Repository: d.id, Workspaces: []string{"none"}},
	} {
		if _, err := d.engines[0].Ask(t.Context(), r); !errors.Is(err, ErrNoSuch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range []Request{
		{}, {Action: "drop"}, {Action: ActPlan}, {Action: ActPlan, Repository: d.id}, {Action: ActPlan, Repository: d.id, Change: -1},
		{Action: ActDrift, Repository: d.id}, {Action: ActDrift, Repository: d.id, Workspaces: []string{"a", "b"}},
		{Action: ActPause, Workspaces: []string{"a"}}, {Action: ActRetry, Repository: d.id}, {Action: ActRetry, Repository: d.id, Event: "x", Report: true},
		{Action: ActPlan, Repository: d.id, Change: 1, Seen: map[string]string{}}, {Action: ActPlan, Repository: d.id, Change: 1, Reason: "x"},
		{Action: ActPlan, Repository: d.id, Change: 1, Workspaces: []string{"a\x00"}}, {Action: ActPlan, Repository: d.id, Change: 1, Workspaces: []string{"\xff"}},
		{Action: ActPlan, Repository: d.id, Change: 1, Workspaces: make([]string, 51)}, {Action: ActPause, Reason: strings.Repeat("x", 600)},
	} {
		var wrong *MisaskedError
		if _, err := d.engines[0].Ask(t.Context(), r); !errors.As(err, &wrong) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// TestAskedAboutDrift asks for looks, corrections and pauses.
func TestAskedAboutDrift(t *testing.T) {
	d, number := driftDocket(t, docketFiles())
	d.say("bob", number, "plumbline help") // the repository is met
	d.hub.Grant(t, d.repo, "carol", forge.Admin)
	app := func(action Action) Request { return Request{Action: action, Workspaces: []string{"app"}} }
	d.wantAsked(person("mallory"), app(ActCorrect), "it takes write permission")
	d.want("who asked", d.sweepOf("app").AskedBy, "")
	d.wantAsked(person("bob"), app(ActDrift), "")
	d.want("who asked", d.sweepOf("app").AskedBy, "bob")
	correct := app(ActCorrect)
	correct.Addresses = []string{"toy_bucket.logs"}
	d.wantAsked(person("carol"), correct, "")
	d.want("fights", len(d.stopped()), len(driftFound)-1)
	correct.Addresses = []string{"toy_node.zz"}
	d.wantAsked(person("carol"), correct, "has the address `toy_node.zz`")
	p, err := d.views().Preview(t.Context(), Everything(), Request{Action: ActCorrect, Repository: d.id, Workspaces: []string{"app"}, By: person("bob")})
	if err != nil || len(p.Findings) != len(driftFound) || p.Refused != "" {
		t.Errorf("preview of a correction: %d findings, %q, %v", len(p.Findings), p.Refused, err)
	}
	p, err = d.views().Preview(t.Context(), Everything(), Request{Action: ActCorrect, Repository: d.id, Workspaces: []string{"app"}, Addresses: correct.Addresses, By: person("bob")})
	if err != nil || !strings.Contains(p.Refused, "has the address `toy_node.zz`") {
		t.Errorf("preview of a correction of what does not differ: %q, %v", p.Refused, err)
	}

	// Of one workspace, of the repository, and of all.
	d.wantAsked(person("bob"), Request{Action: ActPause, Workspaces: []string{"app"}, Reason: "an incident", Until: d.engines[0].Now().Add(time.Hour)}, "")
	d.wantAsked(person("bob"), app(ActDrift), "nothing is looked at or corrected until")
	d.wantAsked(person("bob"), app(ActCorrect), "an incident")
	d.refusesIn(number, "bob", "plumbline correct", "an incident")
	if p, err := d.views().Preview(t.Context(), Everything(), Request{Action: ActDrift, Repository: d.id, Workspaces: []string{"app"}, By: person("bob")}); err != nil || !strings.Contains(p.Refused, "an incident") {
		t.Errorf("preview of what is paused: %+v, %v", p, err)
	}
	d.wantAsked(person("bob"), app(ActResume), "")
	d.wantAsked(person("bob"), app(ActResume), "it is not paused")
	d.wantAsked(person("bob"), Request{Action: ActPause}, "it takes admin permission in "+d.repo.String()+", and `bob` has write permission")
	d.wantAsked(person("carol"), Request{Action: ActPause}, "")
	d.wantAsked(person("bob"), app(ActDrift), "by carol")
	d.wantAsked(person("bob"), Request{Action: ActResume}, "it takes admin permission")
	d.wantAsked(person("carol"), Request{Action: ActResume}, "")
	past := d.engines[0].Now().Add(-time.Minute)
	d.wantAsked(person("carol"), Request{Action: ActPause, Until: past}, "that time is over")
	d.wantAsked(person("bob"), Request{Action: ActPause, Workspaces: []string{"app"}, Until: past}, "that time is over")
	all := Request{Action: ActPause, By: person("carol")}
	id, err := d.engines[0].Ask(t.Context(), all)
	if v := d.asked(id); err != nil || v.State != RequestRefused || !strings.Contains(v.Why, "admin for all repositories") {
		t.Errorf("a pause of everything by somebody of one repository: %+v, %v", v, err)
	}
	root := Asker{ID: "root", Name: "root", Via: ViaAPI, Everywhere: true}
	d.wantAsked(root, Request{Action: ActPause, Reason: "all"}, "")
	d.wantAsked(person("bob"), app(ActDrift), "by root: all")
	d.wantAsked(root, Request{Action: ActResume}, "")
	d.wantAsked(root, Request{Action: ActResume}, "it is not paused")
	d.wantAsked(root, Request{Action: ActCorrect, Repository: d.id, Workspaces: []string{"app"}}, "an account on the forge `hub`")
	refused := d.entries(audit.Filter{Refused: true})
	if last := refused[len(refused)-1]; last.Actor != "root" || last.Details["via"] != ViaAPI || last.Action != "drift-correct" || last.Workspace != "app" {
		t.Errorf("audit: %+v", last)
	}
}

// TestOwnMachineAsks has nobody signed in: what the command line may is done, and what takes a person is not.
func TestOwnMachineAsks(t *testing.T) {
	d, _ := driftDocket(t, docketFiles())
	number := d.opened("alice", "more", bump("network", "2"))
	own := Asker{ID: "own", Name: "somebody at this machine", Via: ViaWeb, Own: true}
	for _, r := range []Request{
		{Action: ActPlan, Repository: d.id, Change: number}, {Action: ActApply, Repository: d.id, Change: number},
		{Action: ActUnlock, Repository: d.id, Change: number}, {Action: ActCorrect, Repository: d.id, Workspaces: []string{"app"}},
	} {
		d.wantAsked(own, r, "it takes a person whom the forge knows")
	}
	app := Request{Action: ActDrift, Repository: d.id, Workspaces: []string{"app"}}
	d.wantAsked(own, app, "")
	d.want("who asked", d.sweepOf("app").AskedBy, own.Name)
	d.wantAsked(own, Request{Action: ActPause}, "")
	d.wantAsked(own, app, "nothing is looked at")
	d.wantAsked(own, Request{Action: ActPause, Repository: d.id}, "")
	d.wantAsked(own, Request{Action: ActResume, Repository: d.id}, "")
	d.wantAsked(own, Request{Action: ActResume}, "")
	plans, _ := d.operations(number, KindPlan)
	d.want("plans", len(plans), 1)

	// An event that waits to be tried again is tried at once; a command that was given up is not.
	mend := d.hub.Break(forgetest.Fault{Method: "GET", Path: "/pulls/", Status: 500, Body: "{}"})
	d.say("bob", number, "plumbline plan")
	var key string
	d.read(func(tx *sql.Tx) (err error) {
		key, _, err = first(t.Context(), tx, scanText, "SELECT key FROM event WHERE status = 'waiting' AND problem <> ''")
		return err
	})
	retry := Request{Action: ActRetry, Repository: d.id, Event: key}
	if p, err := d.views().Preview(t.Context(), Everything(), retry); err != nil || p.Refused != "" || p.Waiting == "" {
		t.Fatalf("preview of %q: %+v, %v; %q", key, p, err, d.problems())
	}
	mend()
	d.wantAsked(own, retry, "")
	plans, _ = d.operations(number, KindPlan)
	d.want("plans", len(plans), 2)
	d.wantAsked(own, retry, "does not wait any more")
	d.write(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE event SET status = 'failed' WHERE key = $1", key)
		return err
	})
	d.wantAsked(own, retry, "asks again")
	d.wantAsked(own, Request{Action: ActRetry, Repository: d.id, Report: true, Change: number}, "")
}
