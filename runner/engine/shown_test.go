package engine

import (
	"context"
	"database/sql"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
)

// tell makes a report on a change now, as a worker would.
func (d *docket) tell(number int) {
	d.Helper()
	e, who := d.engines[0], Subject{Repository: d.id, Change: number}
	if err := e.DB.Tx(d.Context(), func(tx *sql.Tx) error { return e.store.wantReport(d.Context(), tx, who, true) }); err != nil {
		d.Fatal(err)
	}
	if err := e.workReport(d.Context(), who); err != nil {
		d.Fatal(err)
	}
}

// both changes two workspaces that do not depend on each other.
func both() map[string]string {
	files := bump("database", "2")
	for name, content := range bump("network", "2") {
		files[name] = content
	}
	return files
}

func onComment() map[string]string {
	files := docketFiles()
	files["plumbline.yaml"] = "defaults:\n  apply: on-comment\n"
	return files
}

// TestCommandAppliesOnlyWhatIsPosted has people command an apply while plans are made that no comment shows yet.
func TestCommandAppliesOnlyWhatIsPosted(t *testing.T) {
	for name, c := range map[string]func(d *docket) (comment string, number int){
		"one of two plans is posted": func(d *docket) (string, int) {
			number := d.open("alice", "more", both())
			d.deliver()
			d.drain()
			_, runs := d.last(number, KindPlan)
			d.end(runs["network"], Planned)
			d.tell(number)
			nextSecond()
			said := d.hub.Comment(d, d.repo, "bob", number, "plumbline apply")
			d.end(runs["database"], Planned)
			return said, number
		},
		"it was planned again, and the forge takes no comments": func(d *docket) (string, int) {
			number := d.opened("alice", "more", bump("database", "2"))
			d.tell(number)
			nextSecond()
			d.say("carol", number, "plumbline plan")
			d.hub.Break(forgetest.Fault{Method: http.MethodPatch, Path: "/comments", Status: http.StatusBadGateway})
			d.endAll(number, KindPlan, Planned)
			d.tell(number)
			nextSecond()
			return d.hub.Comment(d, d.repo, "bob", number, "plumbline apply"), number
		},
		"it is posted in the same second": func(d *docket) (string, int) {
			number := d.open("alice", "more", bump("database", "2"))
			d.deliver()
			d.drain()
			nextSecond()
			said := d.hub.Comment(d, d.repo, "bob", number, "plumbline apply")
			d.endAll(number, KindPlan, Planned)
			d.tell(number)
			return said, number
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDocket(t, 1, onComment(), nil)
			d.unshown = true
			said, number := c(d)
			d.deliver()
			d.drain()
			d.reacted(said, forge.Refused)
			if ops, _ := d.operations(number, KindApply); len(ops) > 0 {
				t.Errorf("it is applied: %+v", ops)
			}
			if replies := strings.Join(d.replies(number), "\n"); !strings.Contains(replies, "Read it, and then apply it.") && !strings.Contains(replies, "is not posted yet") {
				t.Errorf("replies %q", replies)
			}
		})
	}
}

// TestHeldPlanIsAcceptedOncePosted commands an apply of two held workspaces, one of which was held after that.
func TestHeldPlanIsAcceptedOncePosted(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.opened("alice", "more", both())
	d.merge(number, forge.MergeCommit)
	d.unshown = true
	_, runs := d.last(number, KindApply)
	d.end(runs["network"], Held)
	d.tell(number)
	nextSecond()
	said := d.hub.Comment(t, d.repo, "bob", number, "plumbline apply")
	d.end(runs["database"], Held)
	d.deliver()
	d.drain()
	d.reacted(said, forge.Refused)
	op, _ := d.last(number, KindApply)
	d.want("accepted", len(op.Accept), 0)

	d.tell(number)
	nextSecond()
	said = d.hub.Comment(t, d.repo, "bob", number, "plumbline apply")
	d.deliver()
	d.drain()
	d.reacted(said, forge.Seen)
	op, _ = d.last(number, KindApply)
	d.want("accepted", len(op.Accept), 2)
}

// TestWhatWasShownIsFound merges what a comment showed though no row says so: who wrote the comment has died.
func TestWhatWasShownIsFound(t *testing.T) {
	t.Run("and it is planned again", func(t *testing.T) {
		d := newDocket(t, 1, docketFiles(), nil)
		d.unshown = true
		number := d.opened("alice", "more", bump("database", "2"))
		_, plans := d.last(number, KindPlan)
		d.tell(number)
		d.posted(number, time.Time{}) // the row was not written
		nextSecond()
		d.say("bob", number, "plumbline plan")
		nextSecond()
		d.merge(number, forge.MergeCommit)
		_, runs := d.last(number, KindApply)
		d.want("reviewed", runs["database"].Reviewed, plans["database"].Plan)
	})
	t.Run("and more of it has ended", func(t *testing.T) {
		d := newDocket(t, 1, docketFiles(), nil)
		d.unshown = true
		number := d.open("alice", "more", both())
		d.deliver()
		d.drain()
		_, runs := d.last(number, KindPlan)
		network := d.end(runs["network"], Planned)
		d.hub.Break(forgetest.Fault{Method: http.MethodPost, Path: "/comments", Times: 1, Lose: true})
		d.tell(number)
		nextSecond()
		d.end(runs["database"], Planned)
		d.merge(number, forge.MergeCommit)
		_, runs = d.last(number, KindApply)
		d.want("reviewed of network", runs["network"].Reviewed, network.Plan)
		d.want("reviewed of database", runs["database"].Reviewed, "")
	})
}

// TestCommentsThatCannotBeRead merges a change whose comments are gone: what no row says was shown was not, and the
// changes after it are applied.
func TestCommentsThatCannotBeRead(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	d.unshown = true
	bad := d.opened("alice", "bad", bump("database", "2"))
	d.unshown = false
	good := d.opened("alice", "good", bump("network", "2"))
	_, plans := d.last(good, KindPlan)
	d.hub.Break(forgetest.Fault{Method: http.MethodGet, Path: "/issues/1/comments", Status: http.StatusNotFound, Body: `{"message": "Not Found"}`})
	d.merge(bad, forge.MergeCommit)
	d.merge(good, forge.MergeCommit)
	_, runs := d.last(bad, KindApply)
	d.want("reviewed of the one", runs["database"].Reviewed, "")
	_, runs = d.last(good, KindApply)
	d.want("reviewed of the other", runs["network"].Reviewed, plans["network"].Plan)
}

// TestOwnMergeWaitsForPlans applies one workspace by a command, after which the server merges: not before people could
// read what the merge applies of the other one.
func TestOwnMergeWaitsForPlans(t *testing.T) {
	files := docketFiles()
	files["plumbline.yaml"] = "merge: squash\nworkspaces:\n  - dir: database\n    apply: on-comment\n"
	for name, c := range map[string]struct {
		end  Status
		want forge.State
	}{"planned": {Planned, forge.Merged}, "failed": {Failed, forge.Open}} {
		t.Run(name, func(t *testing.T) {
			d := newDocket(t, 1, files, nil)
			number := d.open("alice", "more", both())
			d.deliver()
			d.drain()
			_, plans := d.last(number, KindPlan)
			d.end(plans["database"], Planned)
			d.say("bob", number, "plumbline apply -w database")
			d.endAll(number, KindApply, Applied)
			d.want("while a plan is made", d.row(number).State, forge.Open)
			d.unshown = true
			network := d.end(plans["network"], c.end)
			d.pass(5 * time.Second)
			d.drain()
			if c.end == Planned {
				d.want("before it is posted", d.row(number).State, forge.Open)
			}
			d.posted(number, time.Now().Add(-time.Hour))
			d.pass(5 * time.Second)
			d.drain()
			d.want("in the end", d.row(number).State, c.want)
			if c.want == forge.Merged {
				d.settled()
				_, runs := d.last(number, KindApply)
				d.want("reviewed", runs["network"].Reviewed, network.Plan)
			}
		})
	}
}

// TestLateWriterIsMended has a process that was taken for dead write an older edition over a newer one: it says so, and the
// comment is mended.
func TestLateWriterIsMended(t *testing.T) {
	d := newDesk(t)
	a := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.later(time.Minute)
	d.tell()
	d.end(a, "network", d.planned("network"))
	late := d.engine
	d.gh.Break(forgetest.Fault{Method: http.MethodPatch, Path: "/comments", Times: 1, Do: func() {
		d.later(time.Minute)
		d.tx(func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE report SET owner = ''")
			return err
		})
		d.engine = d.start()
		b := d.begin(Operation{Kind: KindPlan, Cause: CauseCommand, Actor: "bob"}, "network")
		d.end(b, "network", d.planned("network"))
		d.tell()
	}})
	d.want(d.subject(), true)
	if err := late.workReport(t.Context(), d.subject()); err == nil {
		t.Error("the late one does not learn that it was taken for dead")
	}
	d.later(time.Minute)
	if err := d.engine.workReport(t.Context(), d.subject()); err != nil {
		t.Fatal(err)
	}
	if page := d.pages()[0]; strings.Contains(page, operationKey("", a.ID)) {
		t.Errorf("the comment shows the older plan: %s", page[:200])
	}
}
