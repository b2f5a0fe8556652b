package engine

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
)

// TestStaleIsPlannedAgain applies one change: another one's plans that rest on it are made again, and no others.
func TestStaleIsPlannedAgain(t *testing.T) {
	d := newDocket(t, 2, docketFiles(), nil)
	first := d.opened("alice", "first", bump("network", "2"))
	files := map[string]string{"network/other.tf": "# other\n", "app/other.tf": "# other\n", "database/other.tf": "# other\n"}
	second := d.opened("bob", "second", files)
	third := d.opened("bob", "third", bump("database", "3"))
	_, before := d.last(second, KindPlan)
	d.merge(first, forge.Squash)
	d.endAll(first, KindApply, Applied)
	op, runs := d.last(second, KindPlan)
	d.want("runs of what rests on it", statuses(runs), "app:queued database:planned network:queued")
	d.want("carried over", runs["database"].Plan, before["database"].Plan)
	d.want("cause", op.Cause, CauseStale)
	if len(op.Notes) != 1 || !strings.Contains(op.Notes[0], "Planned again because #1 was applied") {
		t.Errorf("notes %q", op.Notes)
	}
	if ops, _ := d.operations(third, KindPlan); len(ops) != 1 {
		t.Errorf("%d plans of a change that has nothing to do with it", len(ops))
	}
	// The end told once more changes nothing.
	apply, _ := d.last(first, KindApply)
	for _, e := range d.engines {
		if err := e.finish(t.Context(), apply.ID); err != nil {
			t.Fatal(err)
		}
	}
	d.drain()
	if ops, _ := d.operations(second, KindPlan); len(ops) != 2 {
		t.Errorf("%d plans after the end was told again, want 2", len(ops))
	}
	// Merged now, it is the new plan that counts.
	fresh := d.endAll(second, KindPlan, Planned)
	d.merge(second, forge.Squash)
	_, runs = d.last(second, KindApply)
	d.want("reviewed", runs["network"].Reviewed, fresh["network"].Plan)
	d.want("reviewed and carried over", runs["database"].Reviewed, before["database"].Plan)
}

// TestStaleMayConflict finds that a change conflicts now, and that it does not any more.
func TestStaleMayConflict(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	first := d.opened("alice", "first", bump("network", "2"))
	second := d.opened("bob", "second", bump("network", "3"))
	d.merge(first, forge.Squash)
	d.endAll(first, KindApply, Applied)
	row := d.row(second)
	if row.Notice.Short != conflictShort || row.Operation != "" {
		t.Fatalf("change %+v", row)
	}
	d.hub.Commit(t, d.repo, "main", "", bump("network", "1"))
	d.hub.Commit(t, d.repo, "main", "", map[string]string{"network/main.tf": docketFiles()["network/main.tf"]})
	d.settled()
	_, runs := d.last(second, KindPlan)
	d.want("runs once it does not conflict", statuses(runs), "network:queued")
}

func TestClosedAndReopened(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.open("alice", "more", bump("network", "2"))
	d.deliver()
	d.drain()
	d.hub.Close(t, d.repo, "alice", number)
	d.deliver()
	d.drain()
	op, runs := d.last(number, KindPlan)
	d.want("operation", op.Status, OperationSuperseded)
	d.want("runs", statuses(runs), "network:superseded")
	row := d.row(number)
	if row.State != forge.Closed || !row.Pruned {
		t.Errorf("change %+v; %q", row, d.problems())
	}
	nextSecond()
	d.hub.Reopen(t, d.repo, "alice", number)
	d.deliver()
	d.drain()
	op, runs = d.last(number, KindPlan)
	d.want("runs", statuses(runs), "network:queued")
	d.want("cause", op.Cause, CauseOpened)
	if d.row(number).Pruned {
		t.Error("it counts as pruned")
	}
}

// TestInterruptedIsPlanned posts what an interrupted apply has left to do; a command accepts it.
func TestInterruptedIsPlanned(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.opened("alice", "more", bump("network", "2"))
	d.merge(number, forge.MergeCommit)
	d.endAll(number, KindApply, Interrupted)
	op, runs := d.last(number, KindPlan)
	d.want("cause", op.Cause, CauseInterrupted)
	d.want("runs", statuses(runs), "network:queued")
	d.want("commit", op.Commit, d.row(number).MergeCommit)
	if d.row(number).Pruned {
		t.Error("its plans are gone")
	}
	fresh := d.endAll(number, KindPlan, Planned)["network"]
	d.say("bob", number, "plumbline apply")
	again, _ := d.last(number, KindApply)
	d.want("accepted", again.Accept["network"], fresh.Fingerprint)
}

// TestRacesAreSettled has both engines work the same events at once while the change moves on.
func TestRacesAreSettled(t *testing.T) {
	d := newDocket(t, 2, docketFiles(), nil)
	number := d.open("alice", "more", bump("network", "0"))
	var heads []string
	for _, version := range []string{"1", "2", "3", "4"} {
		heads = append(heads, d.hub.Commit(t, d.repo, "more", "", bump("network", version)))
		d.hub.Comment(t, d.repo, "bob", number, "plumbline plan")
	}
	all := d.hub.Deliveries(t, d.repo)
	slices.Reverse(all[d.taken:])
	for _, w := range all[d.taken:] {
		for _, e := range d.engines {
			if _, err := e.Receive(t.Context(), "hub", w.Header, w.Body); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.drain()
	op, runs := d.last(number, KindPlan)
	d.want("head", op.HeadCommit, heads[len(heads)-1])
	d.want("runs", statuses(runs), "network:queued")
	running := 0
	d.read(func(tx *sql.Tx) error {
		n, _, err := first(d.Context(), tx, scanNumber, "SELECT COUNT(*) FROM operation WHERE status = 'running'")
		running = int(n)
		return err
	})
	d.want("operations under way", running, 1)
}
