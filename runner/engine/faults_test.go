package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// TestForgeFails has the forge and its Git fail in many ways, a few times each, while a pull request is opened and merged.
func TestForgeFails(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	version := 1
	for name, faults := range map[string][]forgetest.Fault{
		"errors":                {{Status: 500, Times: 3}, {Status: 502, Body: "<html>bad gateway</html>", Times: 2}},
		"rate limit":            {forgetest.SecondaryLimit(time.Second, 3)},
		"drops":                 {{Drop: true, Times: 4}},
		"comments lost":         {{Method: "POST", Path: "/comments", Lose: true, Times: 1}},
		"statuses lost":         {{Method: "POST", Path: "/statuses/", Lose: true, Times: 1}},
		"answers cut":           {{Method: "GET", Path: "/pulls/", Cut: 40, Times: 3}},
		"Git is cut":            {{Path: "git-upload-pack", Cut: 60, Times: 3}},
		"Git fails":             {{Path: ".git/info/refs", Status: 503, Times: 3}},
		"longer than a timeout": {{Path: "/pulls/", Delay: 12 * time.Second, Times: 1}},
	} {
		version++
		t.Logf("%s", name)
		for _, f := range faults {
			s.GitHub.Break(f)
		}
		pull := s.Open(t, alice, fmt.Sprintf("to-%d", version), with("c", fmt.Sprint(version)))
		pull.AwaitComment(t, "kind=plan", "toy_bucket.this")
		pull.AwaitStatus(t, "plumbline", forge.Success)
		for _, f := range faults {
			s.GitHub.Break(f)
		}
		pull.Merge(t, forge.Squash)
		s.AwaitVersions(t, map[string]string{"c": fmt.Sprint(version)})
		pull.AwaitComment(t, "kind=apply", "✅")
		s.quiet(t)
		if n := len(pages(t, pull, prcomment.KindPlan)); n != 1 {
			t.Errorf("%s: %d comments about plans, want one", name, n)
		}
	}
	if created, updated, deleted := s.Done(); created != 1 || updated != version-2 || deleted != 0 {
		t.Errorf("made %d, changed %d, deleted %d, want 1, %d, 0", created, updated, deleted, version-2)
	}
}

// TestNetworkIsGone cuts the server off from its forge for an hour while people go on working there. No webhook arrives, no
// request gets through. Once the network is back everything leads to its outcome, within the longest time that the server
// waits before it asks again. The hour is one of the server's clock, which is moved.
func TestNetworkIsGone(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64
	s := start(t, options{tune: func(o *engine.Options) {
		o.Forges[0].Poll = 2 * time.Second
		o.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	}})
	// pass lets time pass, in steps that are short enough for the server to try again in each.
	pass := func(minutes int) {
		for range minutes {
			passed.Add(int64(time.Minute))
			time.Sleep(150 * time.Millisecond)
		}
	}
	first := s.Open(t, alice, "first", with("c", "2"))
	first.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)

	s.GitHub.Deliveries(t, s.Repo) // waits
	s.GitHub.SendWebhooksOf(t, s.Repo, "")
	mend := s.GitHub.Break(forgetest.Fault{Drop: true})
	first.Merge(t, forge.Rebase)
	second := s.Open(t, alice, "second", with("a", "2"))
	second.Push(t, with("b", "2"))
	third := s.Open(t, alice, "third", with("b", "3"))
	third.Close(t)
	asked := second.Say(t, alice, "plumbline help")
	pass(60)
	s.Await(t, "the server to say that it cannot reach the forge", func() bool {
		return s.count(t, "SELECT count(*) FROM repository WHERE problem <> ''") > 0
	}, func() string { return s.log.tail(20) })
	mend()
	pass(10)

	s.AwaitVersions(t, map[string]string{"c": "2"})
	second.AwaitComment(t, "kind=plan", "`a`", "`b`", second.Head[:8])
	second.AwaitReaction(t, asked, forge.Seen)
	s.quiet(t)
	if ours := third.Ours(t); len(ours) != 0 && strings.Contains(ours[0].Body, "toy_bucket") {
		t.Errorf("what was opened and closed meanwhile was planned: %s", ours[0].Body)
	}
}

// TestClockJumps sets the server's clock forward by a day and back by two, in the middle of things.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	s := start(t, options{tune: func(o *engine.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	}})
	for i, jump := range []time.Duration{24 * time.Hour, -48 * time.Hour, 24 * time.Hour} {
		version := fmt.Sprint(i + 2)
		pull := s.Open(t, alice, "to-"+version, with("c", version))
		offset.Add(int64(jump))
		pull.AwaitComment(t, "kind=plan", "toy_bucket.this")
		pull.AwaitStatus(t, "plumbline", forge.Success)
		pull.Merge(t, forge.Squash)
		offset.Add(int64(-jump) / 2)
		s.AwaitVersions(t, map[string]string{"c": version})
		offset.Add(int64(jump) / 2)
		s.quiet(t)
	}
}

// TestFlood sends a thousand webhooks at once. Each is accepted, each is dealt with, and what people wait for comes.
func TestFlood(t *testing.T) {
	t.Parallel()
	s := start(t, options{world: world.Options{Patience: 10 * time.Minute}}) // a thousand requests to the forge take a while
	pull := s.Open(t, alice, "two", with("c", "2"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	before := s.count(t, "SELECT count(*) FROM event")

	var opened forgetest.Delivery
	for _, d := range s.Forge.Deliveries(t, s.Repo) {
		if d.Header.Get("X-Github-Event") == "pull_request" {
			opened = d
		}
	}
	const flood = 1000
	var lost atomic.Int64
	var group sync.WaitGroup
	requests := make(chan forgetest.Delivery)
	for range 50 {
		group.Go(func() {
			for d := range requests {
				req, err := http.NewRequest(http.MethodPost, s.hub, bytes.NewReader(d.Body))
				if err != nil {
					panic(err)
				}
				req.Header = d.Header
				resp, err := http.DefaultClient.Do(req)
				if err != nil || resp.StatusCode != http.StatusAccepted {
					lost.Add(1)
				}
				if err == nil {
					_ = resp.Body.Close()
				}
			}
		})
	}
	for i := range flood {
		requests <- s.later(t, opened, time.Duration(i+1)*time.Second)
	}
	close(requests)
	group.Wait()
	if n := lost.Load(); n > 0 {
		t.Errorf("%d of %d webhooks were not accepted", n, flood)
	}
	if n := s.count(t, "SELECT count(*) FROM event") - before; n < flood {
		t.Errorf("%d events were written down, want %d", n, flood)
	}
	next := s.Open(t, alice, "three", with("a", "3"))
	next.AwaitComment(t, "kind=plan", "`a`")
	s.quiet(t)
	if n := len(pages(t, pull, prcomment.KindPlan)); n != 1 {
		t.Errorf("the flood left %d comments about plans, want one", n)
	}
}

// later is a webhook about a pull request as it would be if the pull request had been touched that much later.
func (s *server) later(t *testing.T, d forgetest.Delivery, by time.Duration) forgetest.Delivery {
	t.Helper()
	var payload map[string]any
	if err := json.Unmarshal(d.Body, &payload); err != nil {
		t.Fatal(err)
	}
	pull := payload["pull_request"].(map[string]any)
	at, err := time.Parse(time.RFC3339, pull["updated_at"].(string))
	if err != nil {
		t.Fatal(err)
	}
	pull["updated_at"] = at.Add(by).Format(time.RFC3339)
	payload["action"] = "synchronize"
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return s.GitHub.Sign(d.Header, body)
}

// TestRedelivery has every webhook delivered again, twice.
func TestRedelivery(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	pull := s.Open(t, alice, "two", with("c", "2"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
	asked := pull.Say(t, alice, "plumbline help")
	pull.AwaitReaction(t, asked, forge.Seen)
	s.quiet(t)
	pull.Merge(t, forge.Squash)
	s.AwaitVersions(t, map[string]string{"c": "2"})
	s.quiet(t)
	s.GitHub.Redeliver(s.Repo) // the first pushes too, from before there were webhooks
	s.GitHub.Deliveries(t, s.Repo)
	s.quiet(t)
	before, said := s.count(t, "SELECT count(*) FROM event"), len(pull.Ours(t))
	s.GitHub.Redeliver(s.Repo)
	s.GitHub.Deliveries(t, s.Repo)
	s.quiet(t)
	if after := s.count(t, "SELECT count(*) FROM event"); after != before {
		t.Errorf("%d events became %d by redelivery", before, after)
	}
	if now := len(pull.Ours(t)); now != said || said != 3 { // the plan, the apply, and the help that was asked for
		t.Errorf("%d comments became %d by redelivery", said, now)
	}
	if created, updated, _ := s.Done(); created != 1 || updated != 0 {
		t.Errorf("made %d and changed %d, want 1 and 0", created, updated)
	}
}

// TestHostileNames gives branches, files, titles and comments names that would like to be something else.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	const branch = "x;`touch${IFS}pwned`$(id)'\"&|<!--->"
	files := another("c", "two")
	files["c/</details> @octocat $(touch pwned) `x`.tf"] = "# hello\n"
	files["c/--upload-pack=touch pwned"] = "hello\n"
	pull := s.Open(t, alice, branch, files)
	plan := pull.AwaitComment(t, "kind=plan", "toy_bucket.two")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)

	// Somebody writes what we would have written: it must be left alone, and ours must still be found.
	copied := pull.Say(t, mallory, plan.Body)
	pull.Push(t, map[string]string{"c/more.tf": "# more\n"})
	pull.AwaitEdit(t, plan.ID, pull.Head[:8])
	s.quiet(t)
	if n := len(pages(t, pull, prcomment.KindPlan)); n != 1 {
		t.Errorf("%d comments about plans after somebody copied one, want one", n)
	}
	for _, c := range s.Forge.Thread(t, s.Repo, pull.Number) {
		if c.ID == copied && c.Body != plan.Body {
			t.Errorf("a comment of somebody else was edited")
		}
	}
	pull.Merge(t, forge.MergeCommit)
	s.Await(t, "the bucket two", func() bool { _, ok := s.Versions()["two"]; return ok }, func() string { return s.log.tail(30) })

	other := s.Open(t, alice, "copied-first", with("a", "2"))
	other.Say(t, mallory, strings.ReplaceAll(plan.Body, fmt.Sprintf("%%23%d", pull.Number), fmt.Sprintf("%%23%d", other.Number)))
	other.AwaitComment(t, "kind=plan", "`a`")
}

// people open, push and merge pull requests for as long as more says so, three at a time, in three workspaces. Each adds a
// bucket that is called as its branch.
func (s *server) people(t *testing.T, more func(done int) bool) (pulls []*world.Pull) {
	for more(len(pulls)) {
		var batch []*world.Pull
		for _, workspace := range []string{"a", "b", "c"} {
			name := fmt.Sprintf("pr-%03d", len(pulls))
			pull := s.Open(t, alice, name, another(workspace, name))
			if len(pulls)%4 == 1 {
				pull.Push(t, map[string]string{"README.md": "# " + name + "\n"})
			}
			pulls, batch = append(pulls, pull), append(batch, pull)
		}
		for _, p := range batch {
			p.AwaitStatus(t, "plumbline", forge.Success)
			p.Merge(t, []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase}[p.Number%3])
		}
	}
	return pulls
}

// TestStopsAndGoesOn stops the server in the middle of an apply, which ends first, and in the middle of a plan, which is
// made again by the next start.
func TestStopsAndGoesOn(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	pull := s.Open(t, alice, "two", with("c", "2"))
	pull.AwaitComment(t, "kind=plan", "1 to add")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: []toycloud.Rule{{Latency: 3 * time.Second}}})
	if err != nil {
		t.Fatal(err)
	}
	under := func(kind string) func() bool {
		return func() bool {
			return s.count(t, "SELECT count(*) FROM run WHERE status = 'running' AND phase <> 'preparing' AND phase <> '' AND kind = '"+kind+"'") > 0
		}
	}
	shows := func() string { return s.log.tail(20) }
	pull.Merge(t, forge.Squash)
	s.Await(t, "an apply to be under way", under("apply"), shows)
	s.nodes[0].restart(t)
	if got := s.Versions()["c"]; got != "2" {
		t.Errorf("the server stopped before its apply had ended: there are %v", s.Versions())
	}
	next := s.Open(t, alice, "three", with("c", "3"))
	s.Await(t, "a plan to be under way", under("plan"), shows)
	s.nodes[0].restart(t)
	next.AwaitComment(t, "kind=plan", "1 to change")
	pull.AwaitComment(t, "kind=apply", "✅")
	s.quiet(t)
	if created, updated, _ := s.Done(); created != 1 || updated != 0 {
		t.Errorf("made %d and changed %d, want 1 and 0", created, updated)
	}
}
