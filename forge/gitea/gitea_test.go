//go:build e2e

package gitea_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/gitea"
)

// TestAgainstGitea holds the client against one real Gitea, each part in a repository of its own.
func TestAgainstGitea(t *testing.T) {
	w := newWorld(t)
	t.Run("parts", func(t *testing.T) { // ends when its parallel parts have, before the server stops
		for name, part := range map[string]func(*testing.T, *world){
			"repository": testRepository, "life": testLife, "merge": testMerge, "conflict": testConflict,
			"comments": testComments, "statuses": testStatuses, "issues": testIssues, "permission": testPermission,
			"protection": testProtection, "approvals": testApprovals, "forks": testForks, "paging": testPaging,
			"credentials": testCredentials,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				part(t, w)
			})
		}
	})
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func testRepository(t *testing.T, w *world) {
	repo := w.newRepo(t)
	got := must[forge.Repository](t)(w.client.Repository(t.Context(), repo))
	want := forge.Repository{Repo: repo, DefaultBranch: "main", CloneURL: w.server.URL + "/" + repo.String() + ".git"}
	if got != want {
		t.Errorf("repository is %+v, want %+v", got, want)
	}
	dir := w.clone(t, repo, w.server.User)
	for _, branch := range []string{"topic", "feature/a b?c#d%e&ü"} {
		branch = strings.NewReplacer(" ", "-", "?", "!").Replace(branch) // Git takes neither
		commit := w.push(t, dir, branch, "a.tf", branch)
		if got := must[string](t)(w.client.Branch(t.Context(), repo, branch)); got != commit {
			t.Errorf("branch %q is at %s, want %s", branch, got, commit)
		}
	}
	if _, err := w.client.Branch(t.Context(), repo, "none"); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a branch that is not there: %v; want ErrNotFound", err)
	}
	w.do(t, repo, "", "PATCH", "", map[string]any{"archived": true}, nil)
	if got := must[forge.Repository](t)(w.client.Repository(t.Context(), repo)); !got.Archived {
		t.Errorf("an archived repository is %+v", got)
	}
}

func testLife(t *testing.T, w *world) {
	repo := w.newRepo(t)
	dir := w.clone(t, repo, w.server.User)
	first := w.push(t, dir, "topic", "a.tf", "1")
	pushed := w.event(t, repo, "pushed", func(e forge.Event) bool { return e.Kind == forge.Pushed && e.After == first })
	if pushed.Before != "" || pushed.Ref != "topic" {
		t.Errorf("the push of a new branch is %+v", pushed)
	}
	w.raw(t, repo, "created", "create", "topic")
	number := w.open(t, repo, "", "topic", "Add a")
	main := must[string](t)(w.client.Branch(t.Context(), repo, "main"))
	opened := w.event(t, repo, "opened", func(e forge.Event) bool { return e.Kind == forge.ChangeOpened })
	c := must[forge.Change](t)(w.client.Change(t.Context(), repo, number))
	want := forge.Change{
		Repo: repo, Number: number, Title: "Add a", Author: "operator", State: forge.Open,
		Head: forge.Ref{Branch: "topic", Commit: first}, Base: forge.Ref{Branch: "main", Commit: main},
		URL: fmt.Sprintf("%s/%s/pulls/%d", w.server.URL, repo, number), UpdatedAt: c.UpdatedAt,
	}
	if diff := cmp.Diff(want, c); diff != "" || c.UpdatedAt.IsZero() {
		t.Errorf("the change (-want +got):\n%s", diff)
	}
	if key := forge.ChangeEvent(forge.ChangeOpened, c, "", "").Key; opened.Key != key || opened.After != first || opened.Ref != "main" {
		t.Errorf("a webhook says %+v; a poller's key is %q", opened, key)
	}

	second := w.push(t, dir, "topic", "a.tf", "2")
	synchronized := w.event(t, repo, "synchronized", func(e forge.Event) bool { return e.Kind == forge.ChangePushed && e.After == second })
	if synchronized.Key == opened.Key {
		t.Errorf("another head has the same key, %q", opened.Key)
	}
	w.do(t, repo, "", "PATCH", fmt.Sprintf("/pulls/%d", number), map[string]any{"title": "WIP: Add a"}, nil)
	w.event(t, repo, "titled", func(e forge.Event) bool { return strings.Contains(e.Key, " draft ") })
	if c := must[forge.Change](t)(w.client.Change(t.Context(), repo, number)); !c.Draft {
		t.Errorf("a change marked as a draft is %+v", c)
	}
	w.do(t, repo, "", "PATCH", fmt.Sprintf("/pulls/%d", number), map[string]any{"body": "Why."}, nil)
	w.raw(t, repo, "described", "pull_request", `"body": {`)

	w.do(t, repo, "", "PATCH", fmt.Sprintf("/pulls/%d", number), map[string]any{"state": "closed"}, nil)
	closed := w.event(t, repo, "closed", func(e forge.Event) bool { return e.Kind == forge.ChangeClosed })
	c = must[forge.Change](t)(w.client.Change(t.Context(), repo, number))
	if c.State != forge.Closed || c.ClosedAt.IsZero() || c.MergeCommit != "" {
		t.Errorf("a closed change is %+v", c)
	}
	if key := forge.ChangeEvent(forge.ChangeClosed, c, "", "").Key; closed.Key != key || !closed.At.Equal(c.ClosedAt) {
		t.Errorf("a webhook says %+v; a poller's key is %q", closed, key)
	}
	w.do(t, repo, "", "PATCH", fmt.Sprintf("/pulls/%d", number), map[string]any{"state": "open"}, nil)
	w.event(t, repo, "reopened", func(e forge.Event) bool { return e.Kind == forge.ChangeOpened && e.After == second })

	w.git(t, dir, "push", "-q", "origin", ":topic")
	w.event(t, repo, "deleted", func(e forge.Event) bool { return e.Kind == forge.Pushed && e.Ref == "topic" && e.After == "" })
	// Gitea closes what has lost its branch. The head is still known.
	c = must[forge.Change](t)(w.client.Change(t.Context(), repo, number))
	if c.Head != (forge.Ref{Branch: "topic", Commit: second}) || c.Fork {
		t.Errorf("without its branch the change is %+v", c)
	}

	var hooks []struct{ ID int }
	w.do(t, repo, "", "GET", "/hooks", nil, &hooks)
	w.do(t, repo, "", "POST", fmt.Sprintf("/hooks/%d/tests", hooks[0].ID), nil, nil)
	w.event(t, repo, "tested", func(e forge.Event) bool { return e.Kind == forge.Ping })
}

func testMerge(t *testing.T, w *world) {
	for _, method := range []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase} {
		repo := w.newRepo(t)
		number, head, dir := w.propose(t, repo, "topic")
		w.push(t, dir, "main", "other.tf", "# meanwhile\n")
		c := must[forge.Change](t)(w.client.Change(t.Context(), repo, number))

		stale := c
		stale.Head.Commit = c.Base.Commit
		var refused *forge.NotMergeableError
		if _, err := w.client.Merge(t.Context(), stale, method); !errors.As(err, &refused) {
			t.Errorf("%s: with another head: %v; want a *NotMergeableError", method, err)
		}
		commit := must[string](t)(w.client.Merge(t.Context(), c, method))
		merged := must[forge.Change](t)(w.client.Change(t.Context(), repo, number))
		if tip := must[string](t)(w.client.Branch(t.Context(), repo, "main")); commit == "" || tip != commit || merged.MergeCommit != commit {
			t.Errorf("%s: merged as %q and the change says %q; main is at %s", method, commit, merged.MergeCommit, tip)
		}
		if merged.State != forge.Merged || merged.ClosedAt.IsZero() || merged.Head.Commit != head {
			t.Errorf("%s: the merged change is %+v", method, merged)
		}
		event := w.event(t, repo, "merged", func(e forge.Event) bool { return e.Kind == forge.ChangeMerged })
		if key := forge.ChangeEvent(forge.ChangeMerged, merged, "", "").Key; event.Key != key || event.After != commit || event.Sender != "robot" {
			t.Errorf("%s: a webhook says %+v; a poller's key is %q", method, event, key)
		}
		push := w.event(t, repo, "pushed-merge", func(e forge.Event) bool { return e.Kind == forge.Pushed && e.Ref == "main" && e.After == commit })
		if push.Before == "" {
			t.Errorf("%s: the push of the merge says %+v", method, push)
		}
		w.git(t, dir, "fetch", "-q")
		parents := len(strings.Fields(w.git(t, dir, "show", "-s", "--format=%P", commit)))
		if want := map[forge.MergeMethod]int{forge.MergeCommit: 2, forge.Squash: 1, forge.Rebase: 1}[method]; parents != want {
			t.Errorf("%s: the commit has %d parents, want %d", method, parents, want)
		}
		if _, err := w.client.Merge(t.Context(), c, method); !errors.As(err, &refused) {
			t.Errorf("%s: a second time: %v; want a *NotMergeableError", method, err)
		}
	}
}

func testConflict(t *testing.T, w *world) {
	repo := w.newRepo(t)
	dir := w.clone(t, repo, w.server.User)
	w.push(t, dir, "topic", "a.tf", "one")
	w.push(t, dir, "main", "a.tf", "another")
	c := must[forge.Change](t)(w.client.Change(t.Context(), repo, w.open(t, repo, "", "topic", "Add a")))
	impatient, err := gitea.New(gitea.Options{URL: w.server.URL, Token: w.tokens["robot"], MaxWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var refused *forge.NotMergeableError
	if _, err := impatient.Merge(t.Context(), c, forge.MergeCommit); !errors.As(err, &refused) || !strings.Contains(err.Error(), "conflicts") {
		t.Errorf("merging a conflict: %v; want a *NotMergeableError that says so", err)
	}
}

func testComments(t *testing.T, w *world) {
	repo := w.newRepo(t)
	w.grant(t, repo, "alice", "write")
	number, _, _ := w.propose(t, repo, "topic")
	body := "A *plan* of `a < b && c`\n\n```diff\n+ ünïcödé\n```\n<!-- hidden -->"
	made := must[forge.Comment](t)(w.client.CreateComment(t.Context(), repo, number, body))
	if made.Body != body || !made.Ours || made.Author != "robot" || made.Change != number {
		t.Errorf("the comment is %+v", made)
	}
	long := strings.Repeat("x", forge.MaxComment)
	edited := must[forge.Comment](t)(w.client.EditComment(t.Context(), repo, made.ID, long))
	if edited.ID != made.ID || edited.Body != long || !edited.Ours {
		t.Errorf("the edited comment is %s by %s with %d bytes, want %s with %d", edited.ID, edited.Author, len(edited.Body), made.ID, len(long))
	}

	var theirs struct{ ID int }
	w.do(t, repo, "alice", "POST", fmt.Sprintf("/issues/%d/comments", number), map[string]any{"body": "plumbline plan"}, &theirs)
	id := fmt.Sprint(theirs.ID)
	event := w.event(t, repo, "commented", func(e forge.Event) bool { return e.Kind == forge.Commented && e.Sender == "alice" })
	comments := must[[]forge.Comment](t)(w.client.Comments(t.Context(), repo, number))
	if len(comments) != 2 || comments[0].ID != made.ID || comments[1].ID != id || comments[1].Ours || comments[1].Author != "alice" || comments[1].Body != "plumbline plan" {
		t.Fatalf("the comments are %+v", comments)
	}
	if key := forge.CommentEvent(repo, number, comments[1], "").Key; event.Key != key || event.Change != number {
		t.Errorf("a webhook says %+v; a poller's key is %q", event, key)
	}
	w.do(t, repo, "alice", "PATCH", "/issues/comments/"+id, map[string]any{"body": "plumbline apply"}, nil)
	w.event(t, repo, "comment-edited", func(e forge.Event) bool { return e.Comment != nil && e.Comment.Body == "plumbline apply" })

	for range 2 {
		if err := w.client.React(t.Context(), repo, id, forge.Seen); err != nil {
			t.Errorf("react: %v", err)
		}
	}
	for _, r := range []forge.Reaction{forge.Accepted, forge.Refused} {
		if err := w.client.React(t.Context(), repo, id, r); err != nil {
			t.Errorf("react: %v", err)
		}
	}
	var reactions []struct{ Content string }
	w.do(t, repo, "", "GET", "/issues/comments/"+id+"/reactions", nil, &reactions)
	if len(reactions) != 3 {
		t.Errorf("the reactions are %v, want three", reactions)
	}
	if done, err := w.client.MinimiseComment(t.Context(), repo, id); done || err != nil {
		t.Errorf("minimise: %v, %v; want false, because Gitea cannot", done, err)
	}

	// On an issue, which is no change, and is said to be none.
	issue := must[forge.Issue](t)(w.client.OpenIssue(t.Context(), repo, forge.Issue{Title: "Drift"}))
	w.do(t, repo, "alice", "POST", fmt.Sprintf("/issues/%d/comments", issue.Number), map[string]any{"body": "on an issue"}, nil)
	d := w.raw(t, repo, "issue-commented", "issue_comment", "on an issue")
	events, err := w.client.Decode(d.header, d.body)
	if err != nil || len(events) != 1 || events[0].Kind != forge.Commented || !events[0].Comment.Issue || events[0].Comment.Change != issue.Number {
		t.Errorf("a comment on an issue is %v, %v; want one event that says so", events, err)
	}
	for _, since := range []time.Time{{}, edited.UpdatedAt} {
		got := must[[]forge.Comment](t)(w.client.CommentsSince(t.Context(), repo, forge.CommentsOptions{Since: since}))
		said := map[string]bool{} // whether it was on an issue
		for _, c := range got {
			said[forge.Cut(c.Body, 20)] = c.Issue
		}
		onIssue, known := said["on an issue"]
		onChange, also := said["plumbline apply"]
		if len(got) != 3 || !known || !onIssue || !also || onChange {
			t.Errorf("since %s there are %d comments, of which on an issue: %v", since, len(got), said)
		}
	}
	if got := must[[]forge.Comment](t)(w.client.CommentsSince(t.Context(), repo, forge.CommentsOptions{Since: time.Now().Add(time.Hour)})); len(got) != 0 {
		t.Errorf("since later the comments are %+v", got)
	}
	for _, id := range []string{"", "x", "-1", "1/../2", "99999999"} {
		if _, err := w.client.EditComment(t.Context(), repo, id, "x"); err == nil {
			t.Errorf("comment %q was edited", id)
		}
	}
}

func testStatuses(t *testing.T, w *world) {
	repo := w.newRepo(t)
	_, head, _ := w.propose(t, repo, "topic")
	for _, s := range []forge.Status{
		{Context: "plumbline", State: forge.Pending, Description: "planning"},
		{Context: "plumbline", State: forge.Success, Description: strings.Repeat("ä", 300), URL: "https://plumbline.example.com/runs/1", Summary: "dropped"},
		{Context: "plumbline/network/prod", State: forge.Failure},
		{Context: "plumbline/network/dev", State: forge.Error},
	} {
		if err := w.client.SetStatus(t.Context(), repo, head, s); err != nil {
			t.Fatal(err)
		}
	}
	var combined struct {
		Statuses []struct {
			Context, Status, Description string
			TargetURL                    string `json:"target_url"`
		}
	}
	w.do(t, repo, "", "GET", "/commits/"+head+"/status", nil, &combined)
	got := map[string]string{}
	for _, s := range combined.Statuses {
		got[s.Context] = s.Status
		if s.Context == "plumbline" && (len([]rune(s.Description)) != 255 || s.TargetURL != "https://plumbline.example.com/runs/1") {
			t.Errorf("the status is %+v", s)
		}
	}
	want := map[string]string{"plumbline": "success", "plumbline/network/prod": "failure", "plumbline/network/dev": "error"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if err := w.client.SetStatus(t.Context(), repo, strings.Repeat("0", 39)+"1", forge.Status{Context: "x", State: forge.Success}); err == nil {
		t.Error("a commit that is not there has a status")
	}
}

func testIssues(t *testing.T, w *world) {
	repo := w.newRepo(t)
	w.grant(t, repo, "alice", "write")
	w.do(t, repo, "", "POST", "/labels", map[string]any{"name": "drift", "color": "#ff0000"}, nil)
	opened := must[forge.Issue](t)(w.client.OpenIssue(t.Context(), repo, forge.Issue{
		Title: "Drift in prod", Body: "one", Labels: []string{"drift", "new label"}, Assignees: []string{"alice"},
	}))
	want := forge.Issue{
		Number: opened.Number, Title: "Drift in prod", Body: "one", Open: true, Labels: []string{"drift", "new label"},
		Assignees: []string{"alice"}, URL: fmt.Sprintf("%s/%s/issues/%d", w.server.URL, repo, opened.Number),
	}
	if diff := cmp.Diff(want, opened); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	want.Title, want.Body, want.Labels, want.Assignees = "Drift in dev", "", []string{"drift"}, nil
	if diff := cmp.Diff(want, must[forge.Issue](t)(w.client.UpdateIssue(t.Context(), repo, want))); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := w.client.CloseIssue(t.Context(), repo, want.Number); err != nil {
			t.Fatal(err)
		}
	}
	closed := must[forge.Issue](t)(w.client.Issue(t.Context(), repo, want.Number))
	if closed.ClosedAt.IsZero() {
		t.Error("a closed issue does not say since when")
	}
	want.Open, closed.ClosedAt = false, time.Time{}
	if diff := cmp.Diff(want, closed); diff != "" {
		t.Errorf("closed (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := w.client.ReopenIssue(t.Context(), repo, want.Number); err != nil {
			t.Fatal(err)
		}
	}
	want.Open = true
	if diff := cmp.Diff(want, must[forge.Issue](t)(w.client.Issue(t.Context(), repo, want.Number))); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	if _, err := w.client.Issue(t.Context(), repo, 9999); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("an issue that is not there: %v; want ErrNotFound", err)
	}
}

func testPermission(t *testing.T, w *world) {
	repo := w.newRepo(t)
	w.do(t, repo, "", "PATCH", "", map[string]any{"private": true}, nil)
	w.grant(t, repo, "alice", "write")
	for user, want := range map[string]forge.Permission{
		"robot": forge.Admin, "operator": forge.Admin, "alice": forge.Write, "mallory": forge.None, "nobody": forge.None,
		"": forge.None, "../alice": forge.None, "alice/../alice": forge.None,
	} {
		if got, err := w.client.Permission(t.Context(), repo, user); got != want || err != nil {
			t.Errorf("the permission of %q is %s, %v; want %s", user, got, err, want)
		}
	}
	w.grant(t, repo, "mallory", "read")
	if got, err := w.client.Permission(t.Context(), repo, "mallory"); got != forge.Read || err != nil {
		t.Errorf("the permission of a reader is %s, %v", got, err)
	}
	var refused *forge.NotAllowedError
	if _, err := w.as(t, "alice").Permission(t.Context(), repo, "robot"); !errors.As(err, &refused) || refused.Fix == "" {
		t.Errorf("asked by a writer: %v; want a *NotAllowedError that says what to do", err)
	}
}

func testProtection(t *testing.T, w *world) {
	repo := w.newRepo(t)
	w.grant(t, repo, "alice", "write")
	if got := must[forge.Protection](t)(w.client.Protection(t.Context(), repo, "main")); cmp.Diff(forge.Protection{}, got) != "" {
		t.Errorf("a branch without protection has %+v", got)
	}
	w.do(t, repo, "", "POST", "/branch_protections", map[string]any{
		"rule_name": "ma*", "required_approvals": 2, "dismiss_stale_approvals": true,
		"enable_status_check": true, "status_check_contexts": []string{"plumbline", "ci/*"},
	}, nil)
	want := forge.Protection{Approvals: 2, Checks: []string{"ci/*", "plumbline"}, DismissStale: true}
	if diff := cmp.Diff(want, must[forge.Protection](t)(w.client.Protection(t.Context(), repo, "main"))); diff != "" {
		t.Errorf("protection (-want +got):\n%s", diff)
	}
	var hidden *forge.NotAllowedError
	if got, err := w.as(t, "alice").Protection(t.Context(), repo, "main"); !errors.As(err, &hidden) || hidden.Fix == "" {
		t.Errorf("seen by a writer: %+v, %v; want a *NotAllowedError that says what to do", got, err)
	}
	number, _, _ := w.propose(t, repo, "topic")
	c := must[forge.Change](t)(w.client.Change(t.Context(), repo, number))
	var refused *forge.NotMergeableError
	if _, err := w.client.Merge(t.Context(), c, forge.MergeCommit); !errors.As(err, &refused) {
		t.Errorf("merged without approvals: %v; want a *NotMergeableError", err)
	}
	if _, err := w.client.Protection(t.Context(), repo, "none"); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("the protection of no branch: %v; want ErrNotFound", err)
	}
}

func testApprovals(t *testing.T, w *world) {
	repo := w.newRepo(t)
	w.grant(t, repo, "alice", "write")
	number, head, dir := w.propose(t, repo, "topic")
	review := func(user, verdict string) (id int) {
		t.Helper()
		var made struct{ ID int }
		w.do(t, repo, user, "POST", fmt.Sprintf("/pulls/%d/reviews", number), map[string]any{"event": verdict, "body": "so"}, &made)
		return made.ID
	}
	expect := func(when string, want ...string) []forge.Approval {
		t.Helper()
		approvals := must[[]forge.Approval](t)(w.client.Approvals(t.Context(), repo, number))
		var got []string
		for _, a := range approvals {
			got = append(got, a.Author)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: approved by %q, want %q", when, got, want)
		}
		return approvals
	}
	expect("at first")
	review("alice", "APPROVED")
	event := w.event(t, repo, "approved", func(e forge.Event) bool { return e.Kind == forge.ChangeReviewed })
	if event.Change != number || event.Sender != "alice" {
		t.Errorf("a webhook says %+v", event)
	}
	if got := expect("approved", "alice"); got[0].Commit != head || got[0].At.IsZero() {
		t.Errorf("the approval is %+v", got)
	}
	review("alice", "COMMENT")
	expect("after a remark", "alice")
	review("mallory", "APPROVED")
	expect("approved by somebody who may not write", "alice")
	w.push(t, dir, "topic", "b.tf", "2")
	if got := expect("after a push", "alice"); len(got) == 1 && got[0].Commit != head {
		t.Errorf("the approval of an older head is %+v, want commit %s", got, head)
	}
	review("alice", "REQUEST_CHANGES")
	w.event(t, repo, "rejected", func(e forge.Event) bool { return e.Kind == forge.ChangeReviewed && strings.Contains(e.Key, "rejected") })
	expect("after a refusal")
	id := review("robot", "APPROVED")
	expect("approved by another", "robot")
	w.do(t, repo, "", "POST", fmt.Sprintf("/pulls/%d/reviews/%d/dismissals", number, id), map[string]any{"message": "no"}, nil)
	expect("dismissed")
}

func testForks(t *testing.T, w *world) {
	repo := w.newRepo(t)
	w.do(t, repo, "mallory", "POST", "/forks", map[string]any{"name": repo.Name}, nil)
	fork := forge.Repo{Owner: "mallory", Name: repo.Name}
	dir := w.clone(t, fork, "mallory")
	head := w.push(t, dir, "topic", "a.tf", "1")
	number := w.open(t, repo, "mallory", "mallory:topic", "From a fork")
	c := must[forge.Change](t)(w.client.Change(t.Context(), repo, number))
	if !c.Fork || c.Head != (forge.Ref{Branch: "topic", Commit: head}) || c.Author != "mallory" || c.Base.Branch != "main" {
		t.Errorf("the change from a fork is %+v", c)
	}
	w.server.Do(t, "mallory", "DELETE", "/repos/"+fork.String(), nil, nil)
	if c := must[forge.Change](t)(w.client.Change(t.Context(), repo, number)); !c.Fork || c.Head.Commit != head {
		t.Errorf("the change from a fork that is gone is %+v", c)
	}

	// Who may only read can propose without a fork, too.
	dir = w.clone(t, repo, "mallory")
	w.git(t, dir, "checkout", "-q", "-b", "agit")
	w.git(t, dir, "commit", "-q", "--allow-empty", "-m", "Without a fork")
	w.git(t, dir, "push", "-q", "origin", "HEAD:refs/for/main", "-o", "topic=agit")
	changes := must[[]forge.Change](t)(w.client.Changes(t.Context(), repo, forge.ChangesOptions{OpenOnly: true}))
	at := slices.IndexFunc(changes, func(c forge.Change) bool { return c.Title == "Without a fork" })
	if at < 0 || !changes[at].Fork || changes[at].Head.Commit != w.git(t, dir, "rev-parse", "HEAD") {
		t.Errorf("what was pushed for review is not told as a fork's: %+v", changes)
	}
}

func testPaging(t *testing.T, w *world) {
	repo := w.newRepo(t)
	dir := w.clone(t, repo, w.server.User)
	const many = 23 // this Gitea gives 10 at once
	head := w.push(t, dir, "topic-1", "a.tf", "1")
	refs := []string{"push", "-q", "origin"}
	for n := 2; n <= many; n++ {
		refs = append(refs, fmt.Sprintf("%s:refs/heads/topic-%d", head, n))
	}
	w.git(t, dir, refs...)
	for n := 1; n <= many; n++ {
		w.open(t, repo, "", fmt.Sprintf("topic-%d", n), fmt.Sprintf("Change %d", n))
	}
	w.do(t, repo, "", "PATCH", "/pulls/3", map[string]any{"state": "closed"}, nil)
	all := must[[]forge.Change](t)(w.client.Changes(t.Context(), repo, forge.ChangesOptions{}))
	numbers := map[int]bool{}
	for _, c := range all {
		numbers[c.Number] = true
	}
	if len(all) != many || len(numbers) != many {
		t.Errorf("there are %d changes with %d numbers, want %d", len(all), len(numbers), many)
	}
	if !slices.IsSortedFunc(all, func(a, b forge.Change) int { return a.UpdatedAt.Compare(b.UpdatedAt) }) {
		t.Errorf("the changes are not in the order of their updates")
	}
	if open := must[[]forge.Change](t)(w.client.Changes(t.Context(), repo, forge.ChangesOptions{OpenOnly: true})); len(open) != many-1 {
		t.Errorf("%d changes are open, want %d", len(open), many-1)
	}
	newest := all[len(all)-1].UpdatedAt
	since := must[[]forge.Change](t)(w.client.Changes(t.Context(), repo, forge.ChangesOptions{Since: newest.Add(999 * time.Millisecond)}))
	if len(since) == 0 || since[len(since)-1].Number != all[len(all)-1].Number || since[0].UpdatedAt.Before(newest) {
		t.Errorf("since the last update there are %+v", since)
	}

	for n := range many {
		must[forge.Comment](t)(w.client.CreateComment(t.Context(), repo, 1+n%2, fmt.Sprintf("Comment %d", n)))
	}
	if got := must[[]forge.Comment](t)(w.client.CommentsSince(t.Context(), repo, forge.CommentsOptions{})); len(got) != many {
		t.Errorf("the repository has %d comments, want %d", len(got), many)
	}
	if got := must[[]forge.Comment](t)(w.client.Comments(t.Context(), repo, 1)); len(got) != (many+1)/2 {
		t.Errorf("the change has %d comments, want %d", len(got), (many+1)/2)
	}
	labels := make([]string, many)
	for n := range labels {
		labels[n] = fmt.Sprintf("label %d", n)
	}
	for range 2 { // the second time all labels exist, on two pages
		if got := must[forge.Issue](t)(w.client.OpenIssue(t.Context(), repo, forge.Issue{Title: "Many labels", Labels: labels})); len(got.Labels) != many {
			t.Errorf("the issue has %d labels, want %d", len(got.Labels), many)
		}
	}
	repos := must[[]forge.Repo](t)(w.client.Repos(t.Context()))
	if !slices.Contains(repos, repo) {
		t.Errorf("the repositories are %v, without %s", repos, repo)
	}
}

func testCredentials(t *testing.T, w *world) {
	repo := w.newRepo(t)
	w.do(t, repo, "", "PATCH", "", map[string]any{"private": true}, nil)
	credential := must[forge.Credential](t)(w.client.Credential(t.Context(), repo))
	address := strings.Replace(w.server.URL, "http://", "http://"+credential.Username+":"+credential.Password+"@", 1)
	if got := w.git(t, t.TempDir(), "ls-remote", address+"/"+repo.String()+".git", "main"); !strings.HasSuffix(got, "refs/heads/main") {
		t.Errorf("Git lists %q", got)
	}
	if self := must[string](t)(w.client.Self(t.Context())); self != "robot" {
		t.Errorf("we are %q, want robot", self)
	}
	if _, err := w.as(t, "mallory").Change(t.Context(), repo, 1); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a private repository: %v; want ErrNotFound", err)
	}
	stranger, err := gitea.New(gitea.Options{URL: w.server.URL, Token: "0123456789012345678901234567890123456789"})
	if err != nil {
		t.Fatal(err)
	}
	var refused *forge.NotAllowedError
	if _, err := stranger.Self(t.Context()); !errors.As(err, &refused) || strings.Contains(err.Error(), "0123456789") {
		t.Errorf("a wrong token: %v; want a *NotAllowedError without it", err)
	}
}

// as is a client with another person's token.
func (w *world) as(t *testing.T, user string) *gitea.Client {
	t.Helper()
	client, err := gitea.New(gitea.Options{URL: w.server.URL, Token: w.tokens[user]})
	if err != nil {
		t.Fatal(err)
	}
	return client
}
