package github_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
)

func TestFork(t *testing.T) {
	t.Parallel()
	g, client, repo, number := opened(t, nil)
	fork := g.Fork(t, repo, "mallory")
	head := g.Commit(t, fork, "evil", "main", map[string]string{"evil.tf": "# e"})
	forked := g.Open(t, repo, "mallory", "mallory:evil", "main", "Trust me", false)
	for when, do := range map[string]func(){
		"while the fork is there": func() {},
		"after it was pushed to": func() {
			head = g.Commit(t, fork, "evil", "", map[string]string{"evil.tf": "# f"})
		},
	} {
		do()
		c, err := client.Change(t.Context(), repo, forked)
		if err != nil || !c.Fork || c.Head.Commit != head || c.Author != "mallory" {
			t.Errorf("%s: %+v, %v, want a fork's change at %s", when, c, err, head)
		}
	}
	if c, err := client.Change(t.Context(), repo, number); err != nil || c.Fork {
		t.Errorf("a change from the repository itself: %+v, %v, want no fork", c, err)
	}
	g.DeleteRepo(t, fork)
	if c, err := client.Change(t.Context(), repo, forked); err != nil || !c.Fork {
		t.Errorf("after the fork was deleted: %+v, %v, want it to count as a fork still", c, err)
	}
}

// TestEvents walks through what happens to a change besides what the suite holds every forge to.
func TestEvents(t *testing.T) {
	t.Parallel()
	g, client, repo, number := opened(t, nil)
	first, err := client.Change(t.Context(), repo, number)
	if err != nil {
		t.Fatal(err)
	}
	g.Commit(t, repo, "release", "main", map[string]string{"r.tf": "# r"})
	g.SetDraft(t, repo, "alice", number, true)
	g.SetDraft(t, repo, "alice", number, false)
	g.Retarget(t, repo, "alice", number, "release")
	g.Commit(t, repo, "feature", "", map[string]string{"a.tf": "# b"})
	g.Reset(t, repo, "feature", first.Head.Commit)
	g.Close(t, repo, "alice", number)
	g.Reopen(t, repo, "alice", number)
	id := g.Comment(t, repo, "alice", number, "plumbline plan")
	g.EditComment(t, repo, "alice", id, "plumbline apply")
	g.Approve(t, repo, "mallory", number)
	g.Remark(t, repo, "mallory", number)
	if a, err := client.Approvals(t.Context(), repo, number); err != nil || len(a) != 1 {
		t.Errorf("approvals after a remark = %+v, %v, want it to stand", a, err)
	}
	g.Dismiss(t, repo, "mallory", number)
	if a, err := client.Approvals(t.Context(), repo, number); err != nil || len(a) != 0 {
		t.Errorf("approvals after they were dismissed = %+v, %v, want none", a, err)
	}
	g.Reset(t, repo, "release", "")
	commit := g.Commit(t, repo, "release", "main", map[string]string{"r.tf": "# s"})
	if merged := g.Merge(t, repo, "alice", number, forge.Squash); merged == commit {
		t.Error("the merge made no commit")
	}

	var kinds []string
	for _, d := range g.Deliveries(t, repo) {
		events, err := client.Decode(d.Header, d.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind != forge.Pushed {
				kinds = append(kinds, string(e.Kind))
			}
			if e.Kind == forge.Pushed && e.Ref == "release" && e.Before != "" && e.After == "" {
				kinds = append(kinds, "deleted")
			}
		}
	}
	want := strings.Fields(`change-opened change-pushed change-pushed change-pushed change-pushed change-pushed change-closed change-opened
		comment comment change-reviewed change-reviewed change-reviewed change-reviewed deleted change-merged`)
	if !slices.Equal(kinds, want) {
		t.Errorf("events\n got %q\nwant %q", kinds, want)
	}
}

// TestPushAndRedelivery pushes with Git itself and has the webhooks sent over HTTP, twice.
func TestPushAndRedelivery(t *testing.T) {
	t.Parallel()
	g := forgetest.StartGitHub(t)
	client := newClient(t, github.Options{URL: g.URL, Token: g.Token, WebhookSecret: g.WebhookSecret})
	var mu sync.Mutex
	keys := map[string]int{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		events, err := client.Decode(req.Header, body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range events {
			keys[e.Key]++
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer receiver.Close()
	g.SendWebhooks(receiver.URL)
	repo := forge.Repo{Owner: "acme", Name: "live"}
	g.AddRepo(t, repo, true)
	g.Grant(t, repo, "alice", forge.Write)
	remote := strings.Replace(g.URL, "://", "://alice:"+g.UserToken("alice")+"@", 1) + "/" + repo.String() + ".git"
	dir := t.TempDir()
	for _, args := range [][]string{
		{"clone", "-q", remote, dir}, {"-C", dir, "checkout", "-q", "-b", "feature"},
		{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "one"},
		{"-C", dir, "push", "-q", "origin", "feature"},
	} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	g.Open(t, repo, "alice", "feature", "main", "Add a", false)
	g.Redeliver(repo)
	g.Deliveries(t, repo) // waits
	mu.Lock()
	defer mu.Unlock()
	if len(keys) != 4 { // a ping, the first commit, the push, the pull request
		t.Errorf("%d different events, want 4: %v", len(keys), keys)
	}
	for key, n := range keys {
		if want := map[bool]int{true: 1, false: 2}[strings.HasPrefix(key, "ping")]; n != want {
			t.Errorf("event %q arrived %d times, want %d", key, n, want)
		}
	}
}

func TestFetchThatBreaksOff(t *testing.T) {
	t.Parallel()
	g, _, repo, _ := opened(t, nil)
	remote := g.URL + "/" + repo.String() + ".git"
	mend := g.Break(forgetest.Fault{Path: "/git-upload-pack", Cut: 50})
	if err := exec.CommandContext(t.Context(), "git", "clone", "-q", remote, t.TempDir()+"/a").Run(); err == nil {
		t.Error("a clone that broke off succeeded")
	}
	mend()
	if out, err := exec.CommandContext(t.Context(), "git", "clone", "-q", remote, t.TempDir()+"/b").CombinedOutput(); err != nil {
		t.Errorf("a clone after that: %v\n%s", err, out)
	}
}

func TestChangesStopAtTheFirstThatIsTooOld(t *testing.T) {
	t.Parallel()
	var seen calls
	g, client, repo, _ := opened(t, func(o *github.Options) { o.OnCall = seen.add })
	g.PageCap = 1
	g.Commit(t, repo, "b", "main", map[string]string{"b.tf": "# b"})
	g.Commit(t, repo, "c", "main", map[string]string{"c.tf": "# c"})
	g.Open(t, repo, "alice", "b", "main", "Add b", false)
	g.Open(t, repo, "alice", "c", "main", "Add c", false)
	got, err := client.Changes(t.Context(), repo, forge.ChangesOptions{Since: time.Now().Add(time.Hour)})
	if err != nil || len(got) != 0 {
		t.Errorf("Changes = %+v, %v, want none", got, err)
	}
	if n := len(seen.take()); n != 1 {
		t.Errorf("%d pages were read, want one", n)
	}
}

func TestMinimiseAndReact(t *testing.T) {
	t.Parallel()
	g, client, repo, number := opened(t, nil)
	id := g.Comment(t, repo, "alice", number, "plumbline plan")
	for range 2 {
		if err := client.React(t.Context(), repo, id, forge.Seen); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.ReactionsTo(t, repo, id); !slices.Equal(got, []string{"eyes"}) {
		t.Errorf("reactions %q, want one", got)
	}
	made, err := client.CreateComment(t.Context(), repo, number, "a plan that is stale")
	if err != nil {
		t.Fatal(err)
	}
	if done, err := client.MinimiseComment(t.Context(), repo, made.ID); !done || err != nil {
		t.Errorf("MinimiseComment = %v, %v", done, err)
	}
	if got := g.CommentsOf(t, repo, number); !slices.Equal(got, []string{"plumbline plan"}) {
		t.Errorf("comments that show: %q, want alice's alone", got)
	}
	if _, err := client.MinimiseComment(t.Context(), repo, "no number"); err == nil {
		t.Error("a comment's id that is no number is taken")
	}

	reader := newClient(t, github.Options{URL: g.URL, Token: g.UserToken("mallory")})
	var refused *forge.NotAllowedError
	if done, err := reader.MinimiseComment(t.Context(), repo, id); done || !errors.As(err, &refused) {
		t.Errorf("MinimiseComment without write access = %v, %v, want a NotAllowedError", done, err)
	}
	if err := reader.SetStatus(t.Context(), repo, strings.Repeat("0", 40), forge.Status{Context: "a", State: forge.Success}); !errors.As(err, &refused) {
		t.Errorf("SetStatus without write access: %v, want a NotAllowedError", err)
	}
	if err := client.SetStatus(t.Context(), repo, strings.Repeat("0", 40), forge.Status{Context: "a", State: forge.Success}); err == nil || !strings.Contains(err.Error(), "No commit found") {
		t.Errorf("SetStatus on no commit: %v, want GitHub's words", err)
	}
}

// Somebody merges on her own machine and pushes the base branch.
func TestMergedByAPush(t *testing.T) {
	t.Parallel()
	g := forgetest.StartGitHub(t)
	client := newClient(t, hosts["token"](g))
	repo := g.NewRepo(t)
	head := g.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
	number := g.Open(t, repo, "alice", "feature", "main", "Add a", false)
	g.Reset(t, repo, "main", head)
	c, err := client.Change(t.Context(), repo, number)
	if err != nil || c.State != forge.Merged || c.MergeCommit != head || c.ClosedAt.IsZero() {
		t.Errorf("the change is %+v, %v, want it merged at %s", c, err, head)
	}
}
