package engine

import (
	"context"
	"database/sql"
	"net/http"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/prcomment"
)

func TestLastRead(t *testing.T) {
	t.Parallel()
	merged := time.Date(2026, 11, 21, 10, 0, 17, 0, time.UTC)
	shown := func(plan string, after time.Duration) shownPlan {
		return shownPlan{review{Plan: plan, Status: Planned}, merged.Add(after)}
	}
	never := shownPlan{review{Plan: "never", Status: Planned}, time.Time{}}
	for name, c := range map[string]struct {
		plans []shownPlan // newest first
		want  string
	}{
		"nothing was planned":                          {nil, ""},
		"read and merged":                              {[]shownPlan{shown("a", -time.Minute)}, "a"},
		"the newer of two":                             {[]shownPlan{shown("b", -time.Second), shown("a", -time.Minute)}, "b"},
		"posted after the merge":                       {[]shownPlan{shown("b", time.Second), shown("a", -time.Minute)}, "a"},
		"posted after the merge, and nothing before":   {[]shownPlan{shown("a", time.Second)}, ""},
		"never posted":                                 {[]shownPlan{never, shown("a", -time.Minute)}, "a"},
		"never posted, and nothing before":             {[]shownPlan{never}, ""},
		"in the second of the merge":                   {[]shownPlan{shown("b", 900*time.Millisecond), shown("a", -time.Minute)}, "a"},
		"in the second of the merge, nothing before":   {[]shownPlan{shown("a", 900*time.Millisecond)}, "a"},
		"two in the second of the merge, the newer":    {[]shownPlan{shown("b", 0), shown("a", 0)}, "b"},
		"after, in and before the second of the merge": {[]shownPlan{shown("c", time.Second), shown("b", 0), shown("a", -time.Second)}, "a"},
	} {
		if got := lastRead(c.plans, merged.Add(191*time.Millisecond)).Plan; got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// shown has the plans of a run's operation be in a comment since a time of the forge's clock.
func (d *docket) shown(at time.Time, runs ...Run) {
	d.Helper()
	e := d.engines[0]
	if err := e.DB.Tx(d.Context(), func(tx *sql.Tx) error {
		for _, r := range runs {
			if err := e.store.noteShown(d.Context(), tx, []string{r.ID}, at); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		d.Fatal(err)
	}
}

// TestMergeAppliesOnlyWhatWasShownBefore has plans be made anew while people merge: the merge is of what they could read.
func TestMergeAppliesOnlyWhatWasShownBefore(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	two := bump("database", "2")
	for name, content := range bump("network", "2") {
		two[name] = content
	}
	number := d.opened("alice", "more", two)
	_, first := d.last(number, KindPlan)

	d.unshown = true
	d.say("bob", number, "plumbline plan")
	second := d.endAll(number, KindPlan, Planned)
	d.shown(time.Now().Add(-time.Minute), second["network"])
	d.shown(time.Now().Add(time.Minute), second["database"])
	d.merge(number, forge.MergeCommit)

	op, runs := d.last(number, KindApply)
	d.want("cause", op.Cause, CauseMerged)
	d.want("network's plan was read", runs["network"].Reviewed, second["network"].Plan)
	d.want("database's newest plan came after the merge", runs["database"].Reviewed, first["database"].Plan)
}

// TestMergeBeforeAnyPlanWasShown holds what nobody can have read, though it was planned when the merge was learnt of.
func TestMergeBeforeAnyPlanWasShown(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	d.unshown = true
	number := d.opened("alice", "more", bump("database", "2"))
	d.merge(number, forge.MergeCommit)
	_, runs := d.last(number, KindApply)
	d.want("a plan that no comment showed", runs["database"].Reviewed, "")

	// Who posted the comment died before it was written down: the forge knows.
	number = d.opened("alice", "other", bump("database", "3"))
	op, plans := d.last(number, KindPlan)
	mark := prcomment.Mark{Kind: prcomment.KindPlan, Key: keyPlan, Page: 1, Pages: 1, Shows: showsOf(op.ID, []Run{plans["database"]}, nil)}
	if _, err := d.engines[0].Forges[0].Client.CreateComment(t.Context(), d.repo, number, mark.String()+"\nThe plan.\n"); err != nil {
		t.Fatal(err)
	}
	d.hub.Comment(t, d.repo, "mallory", number, mark.String()+"\nNobody else's word counts.\n")
	nextSecond()
	d.merge(number, forge.MergeCommit)
	_, runs = d.last(number, KindApply)
	d.want("a plan whose comment is on the forge", runs["database"].Reviewed, plans["database"].Plan)

	// It shows an older edition, in which the plan was still being made; or somebody else has written it.
	number = d.opened("alice", "third", bump("database", "4"))
	op, plans = d.last(number, KindPlan)
	mark.Shows = showsOf(op.ID, []Run{{Status: Running}}, nil)
	if _, err := d.engines[0].Forges[0].Client.CreateComment(t.Context(), d.repo, number, mark.String()+"\nIt is being planned.\n"); err != nil {
		t.Fatal(err)
	}
	mark.Shows = showsOf(op.ID, []Run{plans["database"]}, nil)
	d.hub.Comment(t, d.repo, "mallory", number, mark.String()+"\nThe plan.\n")
	nextSecond()
	d.merge(number, forge.MergeCommit)
	_, runs = d.last(number, KindApply)
	d.want("a plan that is not in the comment yet", runs["database"].Reviewed, "")
}

// TestShownIsWrittenDownOnce reads since when a plan is in the comment: from its first edition on that shows it, even if
// the process that wrote that heard no answer.
func TestShownIsWrittenDownOnce(t *testing.T) {
	d := newDesk(t)
	runs := func(o Operation) map[string]Run {
		byName := map[string]Run{}
		d.tx(func(ctx context.Context, tx *sql.Tx) error {
			all, err := d.engine.store.runsOf(ctx, tx, o.ID)
			for _, r := range all {
				byName[r.Workspace] = r
			}
			return err
		})
		return byName
	}
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network", "app")
	d.end(o, "network", d.planned("network"))
	d.tell()
	before := runs(o)
	if before["network"].ShownAt.IsZero() || !before["app"].ShownAt.IsZero() {
		t.Errorf("network was shown at %v, app at %v before it was planned", before["network"].ShownAt, before["app"].ShownAt)
	}

	nextSecond()
	d.end(o, "app", d.planned("app"))
	d.later(time.Minute)
	d.gh.Break(forgetest.Fault{Method: http.MethodPatch, Path: "/comments", Times: 1, Lose: true})
	if d.tell() {
		t.Fatal("the report counts as told though nobody heard the forge's answer")
	}
	posted := time.Now()
	nextSecond()
	nextSecond()
	d.engine = d.start()
	d.later(time.Hour)
	writes := d.writes.Load()
	d.tell()
	after := runs(o)
	if !after["network"].ShownAt.Equal(before["network"].ShownAt) {
		t.Errorf("network was shown at %v, and later at %v", before["network"].ShownAt, after["network"].ShownAt)
	}
	if at := after["app"].ShownAt; at.IsZero() || at.After(posted) {
		t.Errorf("app was posted by %v, and shown at %v", posted, at)
	}
	for _, x := range d.pages() {
		d.holds(x, "**Plan: 2 to add**")
	}
	if n := d.writes.Load() - writes; n > 2 { // statuses
		t.Errorf("%d writes though the comment says it all", n)
	}
}
