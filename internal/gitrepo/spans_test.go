package gitrepo_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// branch is a history under construction.
type branch struct {
	t   *testing.T
	dir string
	n   int
}

// add makes commits on the branch that is checked out.
func (b *branch) add(names ...string) string {
	b.t.Helper()
	for _, name := range names {
		b.n++
		write(b.t, b.dir, map[string]string{strings.ReplaceAll(name, " ", "_"): fmt.Sprint(b.n)})
		git(b.t, b.dir, "add", "-A")
		git(b.t, b.dir, "commit", "-q", "-m", name, "--date", fmt.Sprintf("%d +0200", 1700000000+b.n))
	}
	return b.id("HEAD")
}

func (b *branch) id(rev string) string { return git(b.t, b.dir, "rev-parse", rev) }

// change makes a branch with commits, and returns to main.
func (b *branch) change(name string, commits ...string) string {
	b.t.Helper()
	git(b.t, b.dir, "checkout", "-q", "-b", name)
	head := b.add(commits...)
	git(b.t, b.dir, "checkout", "-q", "main")
	return head
}

func (b *branch) merge(name string) string {
	git(b.t, b.dir, "merge", "-q", "--no-ff", "-m", "Merge "+name, name)
	return b.id("HEAD")
}

func (b *branch) squash(name string) string {
	git(b.t, b.dir, "merge", "-q", "--squash", name)
	git(b.t, b.dir, "commit", "-q", "-m", name+" (#1)", "--date", "1800000000 +0000")
	return b.id("HEAD")
}

// rebase does what a forge does: the branch itself stays.
func (b *branch) rebase(name string) string {
	git(b.t, b.dir, "checkout", "-q", "-b", "rebased-"+name, name)
	git(b.t, b.dir, "-c", "user.name=Forge", "-c", "user.email=forge@example.com", "rebase", "-q", "--force-rebase", "main")
	git(b.t, b.dir, "checkout", "-q", "main")
	git(b.t, b.dir, "merge", "-q", "--ff-only", "rebased-"+name)
	return b.id("HEAD")
}

func newBranch(t *testing.T) (*branch, string) {
	b := &branch{t: t, dir: newRepo(t)}
	return b, b.add("start")
}

// show writes spans with the subjects of their last commits.
func show(t *testing.T, r *gitrepo.Repo, from string, spans []gitrepo.Span) []string {
	t.Helper()
	var list []string
	last := from
	for _, s := range spans {
		if s.From != last {
			t.Errorf("span %+v does not follow %s", s, last)
		}
		last = s.To
		commits, forward, err := r.FirstParents(t.Context(), s.From, s.To)
		if err != nil || !forward {
			t.Fatalf("commits of %+v: %v", s, err)
		}
		var subjects []string
		for _, c := range commits {
			subjects = append(subjects, c.Subject)
		}
		line := fmt.Sprintf("%d %s: %s", s.Change, s.Method, strings.Join(subjects, ", "))
		if s.Also != nil {
			line += fmt.Sprintf(" also %v", s.Also)
		}
		list = append(list, line)
	}
	return list
}

func TestSpans(t *testing.T) {
	t.Parallel()
	b, from := newBranch(t)
	var merged []gitrepo.MergedChange
	note := func(number int, head, commit string) {
		merged = append(merged, gitrepo.MergedChange{Number: number, Head: head, MergeCommit: commit})
	}
	one := b.change("one", "1a", "1b")
	two := b.change("two", "2a", "2b", "2c")
	three := b.change("three", "3a", "3b")
	four := b.change("four", "4a")
	b.add("push 1", "push 2")
	note(1, one, b.merge("one"))
	note(2, two, b.rebase("two"))
	note(3, three, b.squash("three"))
	b.add("push 3")
	note(4, four, b.rebase("four"))
	five := b.change("five", "5a", "5b")
	git(t, b.dir, "merge", "-q", "--ff-only", "five")
	note(5, five, five)
	git(t, b.dir, "checkout", "-q", "-b", "six")
	b.add("6a")
	git(t, b.dir, "checkout", "-q", "-b", "seven")
	seven := b.add("7a")
	git(t, b.dir, "checkout", "-q", "main")
	note(7, seven, b.merge("seven"))
	note(6, b.id("six"), "")
	note(8, from, from) // before all this
	note(9, strings.Repeat("9", 40), strings.Repeat("8", 40))
	to := b.add("push 4")

	r := open(t, b.dir)
	slices.Reverse(merged) // their order does not matter
	spans, err := r.Spans(t.Context(), from, to, merged)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 : push 1, push 2", "1 merge: Merge one", "2 rebase: 2a, 2b, 2c", "3 squash: three (#1)", "0 : push 3",
		"4 rebase: 4a", "5 fast-forward: 5a, 5b", "7 merge: Merge seven also [6]", "0 : push 4",
	}
	if got := show(t, r, from, spans); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Again from the middle, and to nowhere.
	spans, err = r.Spans(t.Context(), spans[3].To, to, merged)
	if err != nil || !slices.Equal(show(t, r, spans[0].From, spans), want[4:]) {
		t.Errorf("from the middle: %v, %v", spans, err)
	}
	if spans, err := r.Spans(t.Context(), to, to, merged); err != nil || spans != nil {
		t.Errorf("nothing new: %v, %v", spans, err)
	}
}

// Direct pushes before a fast-forward are told from it by its base.
func TestSpansFastForwardWithBase(t *testing.T) {
	t.Parallel()
	b, from := newBranch(t)
	base := b.add("push")
	head := b.change("one", "1a", "1b")
	git(t, b.dir, "merge", "-q", "--ff-only", "one")
	r := open(t, b.dir)
	change := gitrepo.MergedChange{Number: 1, Head: head, MergeCommit: head, Base: base}
	for _, c := range []struct {
		base string
		want []string
	}{
		{base, []string{"0 : push", "1 fast-forward: 1a, 1b"}},
		{from, []string{"1 fast-forward: push, 1a, 1b"}},
		{"", []string{"1 fast-forward: push, 1a, 1b"}},
		{head, []string{"1 fast-forward: push, 1a, 1b"}},
		{strings.Repeat("5", 40), []string{"1 fast-forward: push, 1a, 1b"}},
	} {
		change.Base = c.base
		spans, err := r.Spans(t.Context(), from, head, []gitrepo.MergedChange{change})
		if got := show(t, r, from, spans); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("base %q: %q, %v; want %q", c.base, got, err, c.want)
		}
	}
}

// A rebase drops commits that are on the branch already, and never takes what
// belongs to another change or to nobody.
func TestSpansRebaseTakesItsOwnOnly(t *testing.T) {
	t.Parallel()
	b, from := newBranch(t)
	one := b.change("one", "1a", "1b")
	two := b.change("two", "2a", "2b")
	git(t, b.dir, "cherry-pick", one+"^") // 1a, pushed directly
	b.add("push")
	onto := b.rebase("two")
	commit := b.rebase("one")
	r := open(t, b.dir)
	spans, err := r.Spans(t.Context(), from, commit, []gitrepo.MergedChange{{Number: 1, Head: one, MergeCommit: commit}, {Number: 2, Head: two, MergeCommit: onto}})
	want := []string{"0 : 1a, push", "2 rebase: 2a, 2b", "1 rebase: 1b"}
	if got := show(t, r, from, spans); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// A change that was built on another one holds that one's commits too.
func TestSpansStackedRebases(t *testing.T) {
	t.Parallel()
	b, from := newBranch(t)
	one := b.change("one", "1a", "1b")
	git(t, b.dir, "checkout", "-q", "one")
	two := b.change("two", "2a", "2b")
	b.add("push")
	onto := b.rebase("one")
	commit := b.rebase("two")
	r := open(t, b.dir)
	spans, err := r.Spans(t.Context(), from, commit, []gitrepo.MergedChange{{Number: 2, Head: two, MergeCommit: commit}, {Number: 1, Head: one, MergeCommit: onto}})
	want := []string{"0 : push", "1 rebase: 1a, 1b", "2 rebase: 2a, 2b"}
	if got := show(t, r, from, spans); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// Whoever merges by hand makes a commit that the forge does not name.
func TestSpansMergedByHand(t *testing.T) {
	t.Parallel()
	b, from := newBranch(t)
	one := b.change("one", "1a", "1b")
	b.add("push")
	b.merge("one")
	to := b.add("push 2")
	r := open(t, b.dir)
	spans, err := r.Spans(t.Context(), from, to, []gitrepo.MergedChange{{Number: 1, Head: one, MergeCommit: one}})
	want := []string{"0 : push", "1 merge: Merge one", "0 : push 2"}
	if got := show(t, r, from, spans); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestFirstParents(t *testing.T) {
	t.Parallel()
	b, from := newBranch(t)
	one := b.change("one", "1a")
	merge := b.merge("one")
	git(t, b.dir, "-c", "i18n.commitEncoding=latin1", "commit", "-q", "--allow-empty", "-m", "\xfcber alles")
	to := b.id("HEAD")
	r := open(t, b.dir)
	got, forward, err := r.FirstParents(t.Context(), from, to)
	if err != nil || !forward || len(got) != 2 {
		t.Fatalf("got %v, %v, %v", got, forward, err)
	}
	if want := []string{from, one}; got[0].ID != merge || !slices.Equal(got[0].Parents, want) || got[1].Subject != "über alles" {
		t.Errorf("got %+v", got)
	}
	if want := (gitrepo.Commit{ID: one, Parents: []string{from}, AuthorEmail: "ada@example.com", AuthorDate: 1700000002, Subject: "1a"}); true {
		own, _, err := r.FirstParents(t.Context(), from, one)
		if err != nil || len(own) != 1 || !reflect.DeepEqual(own[0], want) {
			t.Errorf("got %+v, %v; want %+v", own, err, want)
		}
	}

	// The branch is pushed with force, from a commit that is gone or is not.
	git(t, b.dir, "reset", "-q", "--hard", from)
	forced := b.add("other")
	if got, forward, err := r.FirstParents(t.Context(), to, forced); err != nil || forward || len(got) != 1 || got[0].ID != forced {
		t.Errorf("forced: %v, %v, %v", got, forward, err)
	}
	if got, forward, err := r.FirstParents(t.Context(), strings.Repeat("7", 40), forced); err != nil || forward || got != nil {
		t.Errorf("from a commit that is gone: %v, %v, %v", got, forward, err)
	}
	if _, err := r.Spans(t.Context(), to, forced, nil); err == nil || !strings.Contains(err.Error(), "force") {
		t.Errorf("spans of a forced push: %v", err)
	}
	if _, _, err := r.FirstParents(t.Context(), from, strings.Repeat("7", 40)); err == nil {
		t.Error("listed the history of what is not there")
	}
}
