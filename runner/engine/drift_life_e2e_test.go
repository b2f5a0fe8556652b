//go:build e2e

package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

func TestDriftIssueOnGitea(t *testing.T) {
	t.Parallel()
	for name, polling := range map[string]bool{"webhooks": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, client := giteaHost(t)
			gitea := host.(*forgetest.Gitea)
			lifeOfAnIssue(t, options{polling: polling, host: func(*testing.T) (world.Forge, engine.Forge) { return host, client }}, gitea.CloseIssue, gitea.LockIssue)
		})
	}
}

func TestDriftIssueOnGitHub(t *testing.T) {
	t.Parallel()
	host, client := gitHub(t)
	lifeOfAnIssue(t, options{host: func(*testing.T) (world.Forge, engine.Forge) { return host, client }}, host.(*forgetest.GitHub).Close, nil)
}

// issueLife is a server, and the issue of its workspace c.
type issueLife struct {
	*server
	corrects *atomic.Bool
}

func newIssueLife(t *testing.T, o options) issueLife {
	t.Helper()
	l := issueLife{corrects: &atomic.Bool{}}
	o.world.Files = map[string]string{
		"plumbline.yaml": world.Settings("workspaces:", "  - dir: c", "    drift: { correct: { resource: update } }"),
		"CODEOWNERS":     "/c/ @" + alice + "\n",
		"c/README.md":    "a bucket\n",
		"c/main.tf":      "terraform {\n  required_version = \">= 1.5\"\n}\n",
	}
	o.tune = func(o *engine.Options) {
		o.Drift.Every, o.Drift.Correct = "1d", l.corrects.Load()
		o.Drift.Rates.Account = 600
	}
	l.server = start(t, o)
	pull := l.Open(t, alice, "first", with("c", "1"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.Merge(t, forge.Squash)
	l.AwaitVersions(t, map[string]string{"c": "1"})
	l.sees(t, "clean") // the look after an apply
	return l
}

// control is what `plumbline drift` on the command line does.
func (l issueLife) control(t *testing.T) (*engine.DriftControl, engine.DriftStatus) {
	t.Helper()
	log, err := audit.New(audit.Options{Keys: [][]byte{[]byte(strings.Repeat("\x07", 32))}})
	if err != nil {
		t.Fatal(err)
	}
	control := engine.NewDriftControl(l.nodes[0].db, log)
	status, err := control.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return control, status
}

// sees waits until the workspace was looked at since it was applied, and is in a state.
func (l issueLife) sees(t *testing.T, state engine.SweepState) {
	t.Helper()
	var shows string
	l.Await(t, "a look to see that it is "+string(state), func() bool {
		_, status := l.control(t)
		for _, w := range status.Sweeps {
			shows = fmt.Sprintf("%+v", w)
			if w.Workspace == "c" && w.State == state && w.Operation == "" && w.AskedAt.IsZero() {
				return true
			}
		}
		return false
	}, func() string { return shows + "\n" + l.log.tail(30) })
}

// look asks for one, and waits for what it sees.
func (l issueLife) look(t *testing.T, state engine.SweepState) {
	t.Helper()
	control, status := l.control(t)
	found, err := status.Find("", "c")
	if err == nil {
		err = control.Ask(context.Background(), "test", found)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.sees(t, state)
}

func (l issueLife) edit(t *testing.T, change func(b *toycloud.Bucket)) {
	t.Helper()
	if err := l.Cloud.EditBucket("c", change); err != nil {
		t.Fatal(err)
	}
}

// issue waits until there is one issue, open or not, that holds all of the parts.
func (l issueLife) issue(t *testing.T, open bool, parts ...string) (found forge.Issue) {
	t.Helper()
	l.Await(t, fmt.Sprintf("an issue, open: %v, with %q", open, parts), func() bool {
		own, err := l.client.OwnIssues(context.Background(), l.Repo)
		if err != nil {
			t.Fatal(err)
		}
		if len(own) > 1 {
			t.Fatalf("there are %d issues: %+v", len(own), own)
		}
		if len(own) == 0 {
			return false
		}
		found = own[0]
		return found.Open == open && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(found.Body, part) })
	}, func() string { return fmt.Sprintf("%+v\n%s\n%s", found, l.thread(t, found.Number), l.log.tail(40)) })
	return found
}

func (l issueLife) thread(t *testing.T, number int) string {
	var all strings.Builder
	if number > 0 {
		for _, c := range l.Forge.Thread(t, l.Repo, number) {
			all.WriteString("--- " + c.Author + ": " + c.Body + "\n")
		}
	}
	return all.String()
}

// says comments on the issue, and waits for a sign under it and for what the server answers: "" for nothing.
func (l issueLife) says(t *testing.T, number int, who, text string, sign forge.Reaction, answer string) {
	t.Helper()
	id := l.Forge.Comment(t, l.Repo, who, number, text)
	shows := func() string { return l.thread(t, number) + l.log.tail(40) }
	l.Await(t, fmt.Sprintf("reaction %s to %q", sign, text), func() bool {
		return slices.Contains(l.Forge.ReactionsTo(t, l.Repo, id), string(sign))
	}, shows)
	l.Await(t, fmt.Sprintf("an answer with %q to %q", answer, text), func() bool { return strings.Contains(l.thread(t, number), answer) }, shows)
}

// proposed waits for the pull request of ours whose branch begins so.
func (l issueLife) proposed(t *testing.T, branch string) (found forge.Change) {
	t.Helper()
	l.Await(t, "a pull request from "+branch, func() bool {
		all, err := l.client.Changes(context.Background(), l.Repo, forge.ChangesOptions{OpenOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range all {
			if strings.HasPrefix(c.Head.Branch, branch) {
				found = c
				n++
			}
		}
		if n > 1 {
			t.Fatalf("there are %d pull requests from %s: %+v", n, branch, all)
		}
		return n == 1
	}, func() string { return l.log.tail(40) })
	return found
}

// lifeOfAnIssue is all that happens to one, told by people on the forge.
func lifeOfAnIssue(t *testing.T, o options, closeIssue func(testing.TB, forge.Repo, string, int), lock func(testing.TB, forge.Repo, int)) {
	l := newIssueLife(t, o)

	// Opened at the first finding, and given to the owner.
	l.edit(t, func(b *toycloud.Bucket) { b.Tags["version"] = "by hand" })
	l.look(t, engine.SweepDrifted)
	i := l.issue(t, true, "toy_bucket.this", "outside", "tags.version", "by hand")
	if i.Title != "Drift in c" || !slices.Equal(i.Labels, []string{"drift"}) {
		t.Errorf("the issue is %+v", i)
	}
	l.Await(t, "the issue to be "+alice+"'s", func() bool { return slices.Equal(l.issue(t, true).Assignees, []string{alice}) }, func() string { return l.log.tail(40) })
	if lock != nil {
		lock(t, l.Repo, i.Number) // who may write goes on
	}

	// Edited as it changes, by a look that somebody asks for on it. Who may not write is refused.
	l.Forge.Grant(t, l.Repo, world.Mallory, forge.Read)
	if lock == nil {
		l.says(t, i.Number, world.Mallory, "plumbline drift", forge.Refused, "takes write permission")
	}
	l.edit(t, func(b *toycloud.Bucket) { b.Versioning = true })
	l.says(t, i.Number, alice, "plumbline drift", forge.Seen, "")
	l.issue(t, true, "tags.version", "versioning")

	// Paused and resumed.
	l.says(t, i.Number, alice, "plumbline pause --reason somebody is at it", forge.Seen, "")
	l.issue(t, true, "somebody is at it")
	l.says(t, i.Number, alice, "plumbline drift", forge.Refused, "nothing is looked at or corrected until it is resumed by alice")
	l.says(t, i.Number, alice, "plumbline resume", forge.Seen, "")

	// A rule and the real value are proposed.
	l.says(t, i.Number, alice, "plumbline ignore toy_bucket.this versioning --until "+time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly), forge.Seen, "proposes it")
	l.proposed(t, "plumbline/ignore-")
	l.says(t, i.Number, alice, "plumbline correct", forge.Refused, "this server is set to correct nothing")
	l.says(t, i.Number, alice, "plumbline adopt", forge.Seen, "proposes it")
	adopted := l.proposed(t, "plumbline/adopt-")
	pull := &world.Pull{World: l.World, Number: adopted.Number, Author: alice, Branch: adopted.Head.Branch, Head: adopted.Head.Commit}
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.Merge(t, forge.Squash)
	if got := l.Versions(); got["c"] != "by hand" {
		t.Errorf("after the adoption there is %v", got)
	}

	// Reality and Git agree: it is closed, and opened again when something returns.
	l.sees(t, engine.SweepClean)
	l.issue(t, false)
	l.edit(t, func(b *toycloud.Bucket) { b.Tags["owner"] = "again" })
	l.look(t, engine.SweepDrifted)
	if again := l.issue(t, true, "tags.owner", "again"); again.Number != i.Number {
		t.Errorf("it is #%d now, and was #%d", again.Number, i.Number)
	}

	// Closed by hand it stays closed, until there is something new.
	closeIssue(t, l.Repo, alice, i.Number)
	l.look(t, engine.SweepDrifted)
	l.told(t)
	l.quiet(t)
	l.issue(t, false)
	l.edit(t, func(b *toycloud.Bucket) { b.Tags["team"] = "ours" })
	l.look(t, engine.SweepDrifted)
	l.issue(t, true, "tags.team")

	// Corrected at a word, up to the cloud and the report.
	l.corrects.Store(true)
	l.nodes[0].restart(t)
	l.says(t, i.Number, alice, "plumbline correct", forge.Seen, "")
	l.sees(t, engine.SweepClean)
	for _, b := range l.Cloud.Snapshot().Buckets {
		if len(b.Tags) != 1 || b.Tags["version"] != "by hand" || !b.Versioning {
			t.Errorf("after the correction there is %+v", b)
		}
	}
	l.issue(t, false, "**corrected**")
	if all := l.thread(t, i.Number); !strings.Contains(all, "corrected") {
		t.Errorf("nothing tells of the correction:\n%s", all)
	}
	l.told(t)
	if created, updated, _ := l.Done(); created != 1 || updated != 1 {
		t.Errorf("%d buckets were made and %d changed, want 1 and 1", created, updated)
	}
	l.checkThread(t, i.Number)
}
