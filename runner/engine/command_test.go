package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// commented are docketFiles in which database is applied by command, and app never.
func commented(more string) map[string]string {
	files := docketFiles()
	files["plumbline.yaml"] = more + "workspaces:\n  - dir: app\n    apply: never\n  - dir: database\n    apply: on-comment\n"
	return files
}

func (d *docket) reacted(id string, want forge.Reaction) {
	d.Helper()
	if got := d.hub.ReactionsTo(d.T, d.repo, id); !slices.Contains(got, string(want)) {
		d.Errorf("reactions to comment %s: got %q, want %q", id, got, want)
	}
}

func TestWhoMayCommand(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.opened("alice", "more", bump("network", "2"))
	for _, login := range []string{"mallory", "stranger"} {
		said := d.say(login, number, "plumbline plan")
		d.reacted(said, forge.Refused)
	}
	if ops, _ := d.operations(number, KindPlan); len(ops) != 1 {
		t.Errorf("%d plan operations, want 1", len(ops))
	}
	replies := strings.Join(d.replies(number), "\n")
	if !strings.Contains(replies, "`mallory` has read permission") || !strings.Contains(replies, "takes write permission") {
		t.Errorf("replies %q", replies)
	}
	refused := d.entries(audit.Filter{Refused: true})
	if len(refused) != 2 || refused[0].Actor != "mallory" || refused[0].Details["command"] != "plan" {
		t.Errorf("audit: %+v", refused)
	}
	// Our own account commands nothing, whatever it may do.
	said := d.say(forgetest.Robot, number, "plumbline plan")
	if got := d.hub.ReactionsTo(t, d.repo, said); len(got) != 0 {
		t.Errorf("reactions to a comment of our own: %q", got)
	}
	said = d.say("bob", number, "plumbline plan")
	d.reacted(said, forge.Seen)
	op, _ := d.last(number, KindPlan)
	if op.Cause != CauseCommand || op.Actor != "bob" || op.ReplyTo != said {
		t.Errorf("operation %+v", op)
	}
}

// TestCommandsCountOnce redelivers and edits comments.
func TestCommandsCountOnce(t *testing.T) {
	d := newDocket(t, 2, docketFiles(), nil)
	number := d.opened("alice", "more", bump("network", "2"))
	plans := func() int {
		ops, _ := d.operations(number, KindPlan)
		return len(ops)
	}
	said := d.say("bob", number, "plumbline plan")
	d.taken = 0
	d.deliver()
	d.drain()
	d.want("plans after a redelivery", plans(), 2)

	later := func(id, body string) { // an edit of a later second
		nextSecond()
		d.hub.EditComment(t, d.repo, "bob", id, body)
		d.deliver()
		d.drain()
	}
	later(said, "plumbline plan\n\nwith a remark")
	d.want("plans after an edit that asks for the same", plans(), 2)
	prose := d.say("bob", number, "what does this do?")
	d.want("plans after prose", plans(), 2)
	later(prose, "plumbline plan -w network")
	d.want("plans after an edit that makes it a command", plans(), 3)
}

func TestCommandsThatAreRefused(t *testing.T) {
	d := newDocket(t, 1, commented(""), nil)
	files := bump("network", "2")
	files["app/main.tf"] = bump("app", "2")["app/main.tf"]
	files["database/main.tf"] = bump("database", "2")["database/main.tf"]
	number := d.open("alice", "more", files)
	d.deliver()
	d.drain()
	for _, c := range []struct{ say, want string }{
		{"plumbline aply", "did you mean `plumbline apply`"},
		{"plumbline plan -w netwrk", "network"},
		{"plumbline apply", "`database` has no plan yet"},
		{"plumbline apply -w app", "`apply: never`"},
		{"plumbline apply -w network", "applied when this is merged"},
		{"plumbline help", "plumbline unlock"},
	} {
		before := len(d.replies(number))
		said := d.say("bob", number, c.say)
		replies := d.replies(number)
		if len(replies) != before+1 || !strings.Contains(replies[before], c.want) {
			t.Errorf("replies to %q: %q, want one with %q", c.say, replies[before:], c.want)
		}
		if c.say != "plumbline help" {
			d.reacted(said, forge.Refused)
		}
	}
	d.want("applies", d.applies(), []string(nil))
	d.hub.Close(t, d.repo, "alice", number)
	d.deliver()
	d.drain()
	d.reacted(d.say("bob", number, "plumbline apply"), forge.Refused)
}

func TestApplyByCommandAndMerge(t *testing.T) {
	d := newDocket(t, 1, commented("merge: squash\n"), nil)
	files := bump("network", "2")
	files["database/main.tf"] = bump("database", "2")["database/main.tf"]
	number := d.opened("alice", "more", files)
	_, plans := d.last(number, KindPlan)
	d.reacted(d.say("bob", number, "plumbline apply"), forge.Seen)
	op, runs := d.last(number, KindApply)
	d.want("runs", statuses(runs), "database:queued")
	d.want("reviewed", runs["database"].Reviewed, plans["database"].Plan)
	if op.Commit == op.HeadCommit && op.BaseCommit == "" || op.Cause != CauseCommand || op.Actor != "bob" {
		t.Errorf("operation %+v", op)
	}
	again := d.say("bob", number, "plumbline apply -w database")
	d.reacted(again, forge.Refused)
	d.want("applies while one is under way", len(d.applies()), 1)

	d.endAll(number, KindApply, Applied)
	d.settled()
	row := d.row(number)
	if row.State != forge.Merged {
		t.Fatalf("it is %s: %+v; %q", row.State, row.Notice, d.problems())
	}
	op, runs = d.last(number, KindApply)
	d.want("what the merge applies", statuses(runs), "network:queued")
	if notes := strings.Join(op.Notes, "\n"); !strings.Contains(notes, "`database` was applied before the merge") {
		t.Errorf("notes %q", notes)
	}
	d.want("applies", len(d.applies()), 2)
}

// TestMergeIsRefused has the forge refuse to merge: that is told.
func TestMergeIsRefused(t *testing.T) {
	d := newDocket(t, 1, commented("merge: merge\n"), nil)
	number := d.opened("alice", "more", bump("database", "2"))
	d.hub.Break(forgetest.Fault{Method: "PUT", Path: "/merge", Status: 405, Body: `{"message":"At least 1 approving review is required"}`})
	d.say("bob", number, "plumbline apply")
	d.endAll(number, KindApply, Applied)
	// What the branch requires may be a status that is on its way.
	d.want("what is said after the first refusal", len(d.row(number).Notice.Notes), 0)
	for range mergeTries {
		d.pass(time.Minute)
		d.drain()
	}
	notes := strings.Join(d.row(number).Notice.Notes, "\n")
	if !strings.Contains(notes, "could not be merged") || !strings.Contains(notes, "approving review") {
		t.Errorf("notes %q; %q", notes, d.problems())
	}
}

// TestHeldIsAcceptedByCommand applies after a merge what was held, as it was shown, and what failed once more.
func TestHeldIsAcceptedByCommand(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	files := bump("network", "2")
	files["app/main.tf"] = bump("app", "2")["app/main.tf"]
	files["database/main.tf"] = bump("database", "2")["database/main.tf"]
	number := d.opened("alice", "more", files)
	d.merge(number, forge.MergeCommit)
	_, first := d.last(number, KindApply)
	held := d.end(first["network"], Held)
	d.end(first["database"], Failed)
	d.drain()
	_, runs := d.last(number, KindApply)
	d.want("runs", statuses(runs), "app:skipped database:failed network:held")
	if d.row(number).Pruned {
		t.Error("the plans of what was held are gone")
	}

	tip := d.hub.Commit(t, d.repo, "main", "", map[string]string{"notes.txt": "x"})
	d.settled()
	d.reacted(d.say("mallory", number, "plumbline apply"), forge.Refused)
	// A plan that was posted after the command was written, or never, is not what its author means.
	h := &errand{Engine: d.engines[0], forge: d.engines[0].Forges[0], repo: Repository{ID: d.id, Repo: d.repo}}
	written := time.Now().Truncate(time.Second)
	h.event.Event.Comment = &forge.Comment{CreatedAt: written, UpdatedAt: written}
	h.commented()
	for _, at := range []time.Time{{}, written, written.Add(2 * time.Second)} {
		d.posted(number, at)
		var refused *refusal
		if err := h.unread(d.Context(), d.row(number), []Run{held}); !errors.As(err, &refused) {
			t.Errorf("a plan posted at %v is accepted now: %v", at, err)
		}
	}
	d.posted(number, written.Add(-time.Second))
	d.reacted(d.say("bob", number, "plumbline apply"), forge.Seen)
	op, runs := d.last(number, KindApply)
	d.want("runs", statuses(runs), "app:waiting database:queued network:queued")
	d.want("commit", op.Commit, tip)
	d.want("accepted", op.Accept, map[string]string{"network": held.Fingerprint})
	d.want("plan of network", runs["network"].Reviewed, held.Plan)
	d.want("plan of database", runs["database"].Reviewed, first["database"].Reviewed)
	d.endAll(number, KindApply, Applied)
	d.reacted(d.say("bob", number, "plumbline apply"), forge.Refused)
	if !d.row(number).Pruned {
		t.Errorf("its plans are kept: %q", d.problems())
	}
}

// TestPartlyIsPlannedBeforeItIsApplied leaves an apply half done: nobody has seen what is left.
func TestPartlyIsPlannedBeforeItIsApplied(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.opened("alice", "more", bump("network", "2"))
	d.merge(number, forge.MergeCommit)
	d.endAll(number, KindApply, Partly)
	d.say("bob", number, "plumbline apply")
	op, runs := d.last(number, KindApply)
	d.want("what is applied without a plan that was read", fmt.Sprint(runs["network"].Reviewed, op.Accept), "map[]")
	held := d.endAll(number, KindApply, Held)["network"]
	d.say("bob", number, "plumbline plan")
	fresh := d.endAll(number, KindPlan, Planned)["network"]
	d.say("bob", number, "plumbline apply")
	op, runs = d.last(number, KindApply)
	d.want("accepted", op.Accept["network"], fresh.Fingerprint)
	if runs["network"].Reviewed == held.Plan {
		t.Error("the older plan is accepted")
	}
}

func TestUnlock(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	files := bump("network", "2")
	files["app/main.tf"] = bump("app", "2")["app/main.tf"]
	number := d.opened("alice", "more", files)
	d.say("mallory", number, "plumbline unlock")
	if ops, _ := d.operations(number, KindUnlock); len(ops) != 0 {
		t.Error("a reader unlocks")
	}
	d.say("bob", number, "plumbline unlock -w network")
	_, runs := d.last(number, KindUnlock)
	d.want("runs", statuses(runs), "network:queued")
	d.merge(number, forge.Squash)
	d.say("bob", number, "plumbline unlock")
	op, runs := d.last(number, KindUnlock)
	d.want("runs after the merge", len(runs), 2)
	d.want("commit", op.Commit, d.row(number).MergeCommit)
}

// TestPlanSome plans one workspace again; what was planned of the others is still told.
func TestPlanSome(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	files := bump("network", "2")
	files["database/main.tf"] = bump("database", "2")["database/main.tf"]
	number := d.opened("alice", "more", files)
	_, before := d.last(number, KindPlan)
	d.say("bob", number, "plumbline plan -w database")
	_, runs := d.last(number, KindPlan)
	d.want("runs", statuses(runs), "database:queued network:planned")
	d.want("plan", runs["network"].Plan, before["network"].Plan)
	plans, err := d.engines[0].Plans(string(d.id))
	if err != nil {
		t.Fatal(err)
	}
	carried, err := openResult(plans, runs["network"])
	if err != nil || !slices.Equal(carried.Notes, []string{"of run " + before["network"].ID}) {
		t.Errorf("what was carried over: %+v, %v", carried, err)
	}
}
