package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// A story is what people live through with a server. It must be true on any forge, any database, and however the server
// learns of things.
type story struct {
	name string
	play func(t *testing.T, start starter)
}

// starter starts a server for a story, in the setting that the stories are played in.
type starter func(t *testing.T, o options) *server

func stories() []story {
	return []story{
		{"a pull request is planned and a push edits its comment", planned},
		{"merging applies what was reviewed, by each method", merged},
		{"a dependent waits, and is not started after a failure", ordered},
		{"a second pull request becomes stale and is planned again", stale},
		{"what is not what was reviewed is held, and accepted", held},
		{"commands are obeyed and refused", commands},
		{"a conflict is said", conflicting},
		{"a fork is not planned", forked},
		{"a draft waits", draft},
		{"a push without a pull request is held", pushed},
		{"a closed pull request loses its plans and gets them back", closed},
		{"a pull request cannot loosen its own rules", loosened},
		{"a comment applies and the pull request is merged", onComment},
		{"a comment does not apply what could not be merged", protected},
		{"two pull requests with one head share its statuses", twins},
		{"a broken plumbline.yaml is told of, and caught up with", broken},
		{"what a merge itself allows is shown before it is applied", entitled},
		{"a merge while the server is down is applied afterwards", down},
	}
}

func TestStories(t *testing.T) {
	t.Parallel()
	play(t, start)
}

func play(t *testing.T, start starter) {
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.play(t, start)
		})
	}
}

const (
	alice   = world.Alice
	mallory = world.Mallory
)

// with is one file, of a workspace that has one bucket of the workspace's name.
func with(workspace, version string) map[string]string {
	return map[string]string{workspace + "/main.tf": world.Bucket("", workspace, version)}
}

// another adds a bucket to a workspace, in a file of its own.
func another(workspace, bucket string) map[string]string {
	return map[string]string{workspace + "/" + bucket + ".tf": "resource \"toy_bucket\" \"" + bucket + "\" {\n  name = \"" + bucket + "\"\n}\n"}
}

func planned(t *testing.T, start starter) {
	s := start(t, options{})
	pull := s.Open(t, alice, "two", with("c", "2"))
	first := pull.AwaitComment(t, "kind=plan", "1 to add", "toy_bucket.this")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.AwaitStatus(t, "plumbline/c", forge.Success)

	pull.Push(t, with("a", "2"))
	second := pull.AwaitEdit(t, first.ID, "`a`", "`c`", pull.Head[:8])
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.AwaitStatus(t, "plumbline/a", forge.Success)
	if n := len(pages(t, pull, prcomment.KindPlan)); n != 1 {
		t.Errorf("there are %d comments about plans, want the first one edited", n)
	}
	if second.Author != first.Author {
		t.Errorf("%s edited what %s wrote", second.Author, first.Author)
	}
	if created, updated, deleted := s.Done(); created+updated+deleted != 0 {
		t.Errorf("planning did something: %d, %d, %d", created, updated, deleted)
	}
}

func merged(t *testing.T, start starter) {
	s := start(t, options{})
	for i, method := range []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase} {
		version := string(rune('2' + i))
		pull := s.Open(t, alice, "to-"+version, with("c", version))
		pull.AwaitComment(t, "kind=plan", "toy_bucket.this")
		pull.AwaitStatus(t, "plumbline", forge.Success)
		pull.Merge(t, method)
		s.AwaitVersions(t, map[string]string{"c": version})
		pull.AwaitComment(t, "kind=apply", "✅", "toy_bucket.this")
		// Forges that fold nothing show the plan for good.
		pull.AwaitComment(t, "kind=plan", "This is merged. What became of it is told further down.")
	}
	s.quiet(t)
	if created, updated, deleted := s.Done(); created != 1 || updated != 2 || deleted != 0 {
		t.Errorf("three merges made %d, changed %d and deleted %d buckets, want 1, 2, 0", created, updated, deleted)
	}
}

func ordered(t *testing.T, start starter) {
	s := start(t, options{})
	files := with("a", "2")
	for name, text := range with("b", "2") {
		files[name] = text
	}
	pull := s.Open(t, alice, "both", files)
	pull.AwaitComment(t, "kind=plan", "2 to add", "`a`", "`b`")
	s.breakBucket(t, "a")
	pull.Merge(t, forge.Squash)
	report := pull.AwaitComment(t, "kind=apply", "not started", "What to do next")
	if !strings.Contains(report.Body, "`b` not started") || !strings.Contains(report.Body, "plumbline") {
		t.Errorf("the report does not say that b was not started, and what to do:\n%s", report.Body)
	}
	s.quiet(t)
	if got := s.Versions(); len(got) != 0 {
		t.Errorf("there are %v, want nothing", got)
	}

	// The cause is gone. What is left to do is shown first, and then applied.
	s.mend(t)
	pull.Say(t, alice, "plumbline plan")
	s.quiet(t)
	pull.AwaitComment(t, "plumbline apply")
	pull.Say(t, alice, "plumbline apply")
	s.AwaitVersions(t, map[string]string{"a": "2", "b": "2"})
	s.quiet(t)
	if created, updated, deleted := s.Done(); created != 2 || updated != 0 || deleted != 0 {
		t.Errorf("made %d, changed %d, deleted %d, want each bucket made once", created, updated, deleted)
	}
}

func stale(t *testing.T, start starter) {
	s := start(t, options{})
	first := s.Open(t, alice, "first", another("c", "one"))
	second := s.Open(t, alice, "second", another("c", "two"))
	first.AwaitComment(t, "kind=plan", "toy_bucket.one")
	before := second.AwaitComment(t, "kind=plan", "toy_bucket.two", "2 to add") // and c itself
	first.Merge(t, forge.MergeCommit)
	s.AwaitVersions(t, map[string]string{"c": "1", "one": ""})
	// Planned again, since a merge has changed what it rests on.
	second.AwaitEdit(t, before.ID, "toy_bucket.two", "1 to add")
	second.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	second.Read()
	second.Merge(t, forge.MergeCommit)
	s.AwaitVersions(t, map[string]string{"c": "1", "one": "", "two": ""})
	s.quiet(t)
	if created, updated, deleted := s.Done(); created != 3 || updated != 0 || deleted != 0 {
		t.Errorf("%d, %d, %d, want three buckets made once each", created, updated, deleted)
	}
}

func held(t *testing.T, start starter) {
	s := start(t, options{})
	first := s.Open(t, alice, "first", another("c", "one"))
	second := s.Open(t, alice, "second", another("c", "two"))
	for _, pull := range []*world.Pull{first, second} {
		pull.AwaitComment(t, "kind=plan", "2 to add")
		pull.AwaitStatus(t, "plumbline", forge.Success)
	}
	s.quiet(t)
	// At once, so that the second one's plan still says that c itself is to be made.
	first.Merge(t, forge.MergeCommit)
	second.Merge(t, forge.MergeCommit)
	report := second.AwaitComment(t, "kind=apply", "held", "no more: create toy_bucket.this", "plumbline apply")
	s.quiet(t)
	s.AwaitVersions(t, map[string]string{"c": "1", "one": ""})

	accepted := second.Say(t, alice, "plumbline apply")
	second.AwaitReaction(t, accepted, forge.Seen)
	s.AwaitVersions(t, map[string]string{"c": "1", "one": "", "two": ""})
	s.quiet(t)
	if created, updated, deleted := s.Done(); created != 3 || updated != 0 || deleted != 0 {
		t.Errorf("%d, %d, %d, want three buckets made once each; it was held with\n%s", created, updated, deleted, report.Body)
	}
}

func commands(t *testing.T, start starter) {
	s := start(t, options{})
	pull := s.Open(t, alice, "two", with("c", "2"))
	first := pull.AwaitComment(t, "kind=plan", "1 to add")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)

	refused := pull.Say(t, mallory, "plumbline apply")
	pull.AwaitReaction(t, refused, forge.Refused)
	pull.AwaitComment(t, "kind=reply", "mallory", "write")
	talk := pull.Say(t, alice, "I think plumbline apply would be nice here")
	again := pull.Say(t, alice, "plumbline plan")
	pull.AwaitReaction(t, again, forge.Seen)
	s.quiet(t)
	help := pull.Say(t, alice, "plumbline help")
	pull.AwaitReaction(t, help, forge.Seen)
	pull.AwaitComment(t, "kind=reply", "plumbline unlock")
	odd := pull.Say(t, alice, "plumbline frobnicate")
	pull.AwaitReaction(t, odd, forge.Refused)
	s.quiet(t)

	if got := s.Forge.ReactionsTo(t, s.Repo, talk); len(got) != 0 {
		t.Errorf("a remark that is no command got the reactions %q", got)
	}
	if list := pages(t, pull, prcomment.KindPlan); len(list) != 1 || list[0].ID != first.ID {
		t.Errorf("planning by command left %d comments about plans, want the first one edited", len(list))
	}
	if len(s.Versions()) != 0 {
		t.Errorf("something was applied: %v", s.Versions())
	}
}

func conflicting(t *testing.T, start starter) {
	s := start(t, options{})
	pull := s.Open(t, alice, "two", with("c", "2"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.Push(t, "main", with("c", "3"))
	// Of the head that was planned, nothing stays green.
	pull.AwaitStatus(t, "plumbline", forge.Failure)
	pull.AwaitStatus(t, "plumbline/c", forge.Failure)
	pull.Push(t, map[string]string{"c/more.tf": "# more\n"})
	pull.AwaitComment(t, "conflict", "c/main.tf")
	pull.AwaitStatus(t, "plumbline", forge.Failure)
	s.quiet(t)
	// Solved by taking the other side.
	pull.Push(t, with("c", "3"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
}

func forked(t *testing.T, start starter) {
	s := start(t, options{})
	pull := s.OpenFork(t, mallory, "evil", with("c", "2"))
	pull.AwaitComment(t, "fork")
	s.quiet(t)
	if list := pull.Ours(t); len(list) != 1 || strings.Contains(list[0].Body, "toy_bucket") {
		t.Errorf("a fork's change was planned: %+v", list)
	}
	pull.Say(t, mallory, "plumbline plan")
	pull.AwaitComment(t, "kind=reply", "write")
}

func draft(t *testing.T, start starter) {
	files := world.Files()
	files["plumbline.yaml"] = world.Settings("drafts: wait")
	s := start(t, options{world: world.Options{Files: files}})
	pull := s.OpenDraft(t, alice, "two", with("c", "2"))
	if got := pull.AwaitStatus(t, "plumbline", forge.Pending); !strings.Contains(got.Description, "ready for review") {
		t.Errorf("the status is %+v, want it to say what it waits for", got)
	}
	s.quiet(t)
	if list := pull.Ours(t); len(list) > 0 {
		t.Errorf("a draft was commented on: %+v", list)
	}
	pull.Ready(t)
	pull.AwaitComment(t, "kind=plan", "1 to add")
	pull.AwaitStatus(t, "plumbline", forge.Success)
}

func pushed(t *testing.T, start starter) {
	s := start(t, options{})
	commit := s.Push(t, "main", with("c", "2"))
	s.AwaitStatus(t, commit, "plumbline", forge.Failure)
	s.quiet(t)
	if got := s.Versions(); len(got) != 0 {
		t.Errorf("a push that nobody reviewed was applied: %v", got)
	}
	// As configured, it is.
	s.Push(t, "main", map[string]string{"plumbline.yaml": world.Settings("push: apply")})
	s.quiet(t)
	commit = s.Push(t, "main", with("a", "2"))
	s.Await(t, "bucket a", func() bool { return s.Versions()["a"] == "2" }, func() string { return s.log.tail(30) })
	s.AwaitStatus(t, commit, "plumbline", forge.Success)
}

func closed(t *testing.T, start starter) {
	s := start(t, options{})
	pull := s.Open(t, alice, "two", with("c", "2"))
	first := pull.AwaitComment(t, "kind=plan", "1 to add")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	if s.plans(t) == 0 {
		t.Fatal("no plan is stored: this test no longer sees what it is for")
	}
	pull.Close(t)
	s.Await(t, "the plans to be gone", func() bool { return s.plans(t) == 0 }, func() string { return s.log.tail(20) })
	pull.AwaitEdit(t, first.ID, "closed without being merged")
	pull.Reopen(t)
	s.Await(t, "a plan", func() bool { return s.plans(t) > 0 }, func() string { return s.log.tail(20) })
	s.quiet(t)
	pull.AwaitEdit(t, first.ID, "Merging applies this")
	if list := pages(t, pull, prcomment.KindPlan); len(list) != 1 || list[0].ID != first.ID {
		t.Errorf("closing and opening left %d comments about plans, want the first one", len(list))
	}
}

func loosened(t *testing.T, start starter) {
	files := world.Files()
	files["plumbline.yaml"] = world.Settings("workspaces:", "  - { dir: c, apply: never }")
	s := start(t, options{world: world.Options{Files: files}})
	change := with("c", "2")
	change["plumbline.yaml"] = world.Settings()
	pull := s.Open(t, alice, "two", change)
	pull.AwaitComment(t, "kind=plan", "1 to add")
	pull.Merge(t, forge.Squash)
	s.quiet(t)
	pull.AwaitComment(t, "kind=apply")
	if got := s.Versions(); len(got) != 0 {
		t.Errorf("a change that took its own guard away was applied: %v", got)
	}
	// The next one is under the new rules.
	next := s.Open(t, alice, "three", with("c", "3"))
	next.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	next.Merge(t, forge.Squash)
	s.AwaitVersions(t, map[string]string{"c": "3"})
}

func onComment(t *testing.T, start starter) {
	files := world.Files()
	files["plumbline.yaml"] = world.Settings("merge: squash", "workspaces:", "  - { dir: c, apply: on-comment }")
	s := start(t, options{world: world.Options{Files: files}})
	pull := s.Open(t, alice, "two", with("c", "2"))
	pull.AwaitComment(t, "kind=plan", "1 to add")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	id := pull.Say(t, alice, "plumbline apply")
	pull.AwaitReaction(t, id, forge.Seen)
	s.AwaitVersions(t, map[string]string{"c": "2"})
	s.Await(t, "the pull request to be merged", func() bool { return s.state(t, pull) == forge.Merged }, func() string { return s.log.tail(30) })
	s.quiet(t)
	if created, updated, _ := s.Done(); created != 1 || updated != 0 {
		t.Errorf("applied before the merge and after: made %d, changed %d", created, updated)
	}
}

func protected(t *testing.T, start starter) {
	files := world.Files()
	files["plumbline.yaml"] = world.Settings("merge: squash", "workspaces:", "  - { dir: c, apply: on-comment }")
	s := start(t, options{world: world.Options{Files: files}})
	s.Forge.Grant(t, s.Repo, mallory, forge.Write)
	// Our own status turns green before the apply, and is never waited for.
	s.Forge.Protect(t, s.Repo, "main", forge.Protection{Approvals: 1, Checks: []string{"lint", "plumbline"}, Rejections: true})
	pull := s.Open(t, alice, "two", with("c", "2"))
	pull.AwaitComment(t, "kind=plan", "1 to add")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	refused := func(parts ...string) {
		t.Helper()
		id := pull.Say(t, alice, "plumbline apply")
		pull.AwaitReaction(t, id, forge.Refused)
		pull.AwaitComment(t, append([]string{"kind=reply", "key=reply-" + id, "cannot be merged"}, parts...)...)
	}
	refused("1 approval", "`lint` has not said anything")
	s.Forge.Reject(t, s.Repo, mallory, pull.Number)
	if err := s.client.SetStatus(t.Context(), s.Repo, pull.Head, forge.Status{Context: "lint", State: forge.Failure}); err != nil {
		t.Fatal(err)
	}
	refused("`mallory` asked for changes", "`lint` is not green")
	s.Forge.Approve(t, s.Repo, mallory, pull.Number)
	if err := s.client.SetStatus(t.Context(), s.Repo, pull.Head, forge.Status{Context: "lint", State: forge.Success}); err != nil {
		t.Fatal(err)
	}
	if got := s.Versions(); len(got) != 0 {
		t.Errorf("something was applied that could not be merged: %v", got)
	}
	s.quiet(t)
	pull.Say(t, alice, "plumbline apply")
	s.AwaitVersions(t, map[string]string{"c": "2"})
	s.Await(t, "the pull request to be merged", func() bool { return s.state(t, pull) == forge.Merged }, func() string { return s.log.tail(30) })
}

func twins(t *testing.T, start starter) {
	s := start(t, options{tune: func(o *engine.Options) { o.Forges[0].Branches = []string{"release"} }})
	s.Forge.Commit(t, s.Repo, "release", "main", map[string]string{"c/main.tf": world.Bucket("", "c", "9")})
	pull := s.Open(t, alice, "two", with("c", "2"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.AwaitStatus(t, "plumbline/c", forge.Success)
	// The same commits conflict with the other branch.
	other := &world.Pull{World: s.World, Author: alice, Branch: "two", Head: pull.Head}
	other.Number = s.Forge.Open(t, s.Repo, alice, "two", "release", "The same for release", false)
	got := pull.AwaitStatus(t, "plumbline", forge.Failure)
	if want := fmt.Sprintf("#%d: ", other.Number); !strings.HasPrefix(got.Description, want) {
		t.Errorf("the status says %q, want it to begin with %q", got.Description, want)
	}
	pull.AwaitStatus(t, "plumbline/c", forge.Failure)
	other.Close(t)
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.AwaitStatus(t, "plumbline/c", forge.Success)
}

func broken(t *testing.T, start starter) {
	s := start(t, options{})
	pull := s.Open(t, alice, "two", with("c", "2"))
	waiting := s.Open(t, alice, "three", with("b", "3"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
	waiting.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	commit := s.Push(t, "main", map[string]string{"plumbline.yaml": "version: 1\nworkspaces: [{ dri: c }]\n"})
	s.AwaitStatus(t, commit, "plumbline", forge.Failure)
	pull.AwaitStatus(t, "plumbline", forge.Failure)
	s.quiet(t)
	pull.Merge(t, forge.Squash)
	pull.AwaitComment(t, "kind=apply", "Nothing was applied yet", "plumbline.yaml")
	s.AwaitStatus(t, pull.Merged, "plumbline", forge.Failure)
	s.Push(t, "main", with("a", "5")) // which nobody has reviewed
	s.quiet(t)
	if got := s.Versions(); len(got) != 0 {
		t.Errorf("something was applied that nobody could read the rules of: %v", got)
	}

	mending := s.Open(t, alice, "mend", map[string]string{"plumbline.yaml": world.Files()["plumbline.yaml"]})
	mending.AwaitComment(t, "Nothing is planned", "This pull request mends it")
	mending.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	mending.Merge(t, forge.Squash)
	s.AwaitVersions(t, map[string]string{"c": "2"})
	pull.AwaitComment(t, "kind=apply", "catches up", "✅")
	s.AwaitStatus(t, pull.Merged, "plumbline", forge.Success)
	mending.AwaitComment(t, "kind=apply", "`a` held", "catches up with")
	if got := s.AwaitStatus(t, mending.Merged, "plumbline", forge.Failure); !strings.Contains(got.Description, "held") {
		t.Errorf("of what was pushed meanwhile the status says %q, want that it is held", got.Description)
	}
	waiting.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	if created, updated, deleted := s.Done(); created != 1 || updated != 0 || deleted != 0 {
		t.Errorf("made %d, changed %d, deleted %d; want one bucket made", created, updated, deleted)
	}
}

func entitled(t *testing.T, start starter) {
	files := world.Files()
	files["plumbline.yaml"] = "version: 1\nworkspaces:\n  - { dir: a }\n  - { dir: c, enabled: false }\n"
	s := start(t, options{world: world.Options{Files: files}})
	change := with("c", "2")
	change["plumbline.yaml"] = "version: 1\nworkspaces:\n  - { dir: a, env: [\"TOY_*\"] }\n  - { dir: c, env: [\"TOY_*\"] }\n"
	change["a/main.tf"] = world.Bucket("", "a", "2")
	pull := s.Open(t, alice, "two", change)
	// Without its token the cloud cannot be asked.
	pull.AwaitComment(t, "kind=plan", "env stays none until this is merged", "`c`: enabled stays false until this is merged")
	pull.AwaitStatus(t, "plumbline", forge.Failure)
	s.quiet(t)
	pull.Merge(t, forge.Squash)
	// The branch says by now that a sees the token, and that c is run: nobody has seen a plan of either.
	pull.AwaitComment(t, "kind=apply", "`a` and `c` held", "toy_bucket.this")
	s.quiet(t)
	if got := s.Versions(); len(got) != 0 {
		t.Errorf("something was applied that nobody has seen: %v", got)
	}
	pull.Say(t, alice, "plumbline apply")
	s.AwaitVersions(t, map[string]string{"a": "2", "c": "2"})
}

func down(t *testing.T, start starter) {
	s := start(t, options{})
	first := s.Open(t, alice, "first", with("c", "2"))
	first.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	s.nodes[0].halt()
	first.Merge(t, forge.Squash)
	second := s.Open(t, alice, "second", with("a", "2"))
	asked := first.Say(t, alice, "plumbline help")
	s.nodes[0].start(t)
	s.AwaitVersions(t, map[string]string{"c": "2"})
	second.AwaitComment(t, "kind=plan", "`a`")
	first.AwaitReaction(t, asked, forge.Seen)
}
