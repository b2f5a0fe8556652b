package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

func branchMovesOnce(t *testing.T, w *rowsWorld) {
	for _, from := range []string{"", "c0"} {
		if from != "" {
			w.tx(func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), "UPDATE branch SET seen = 'c0'")
				return err
			})
		}
		moved := w.atOnce(16, func(ctx context.Context, i int) (moved bool, err error) {
			err = w.db.Tx(ctx, func(tx *sql.Tx) (err error) {
				moved, err = w.store.moveBranch(ctx, tx, repo, "main", from, fmt.Sprint("d", i))
				return err
			})
			return moved, err
		})
		if moved != 1 {
			t.Errorf("from %q the branch moved %d times", from, moved)
		}
	}
}

func change(n int, at time.Time) forge.Change {
	return forge.Change{Repo: repo.repo(), Number: n, Title: "t", Author: "ann", State: forge.Open, Head: forge.Ref{Branch: "f", Commit: "h1"},
		Base: forge.Ref{Branch: "main", Commit: "b1"}, URL: "u", UpdatedAt: at.UTC()}
}

func (w *rowsWorld) putChange(c forge.Change) (before *ChangeRow) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		before, err = w.store.putChange(w.Context(), tx, repo, c)
		return err
	})
	return before
}

func (w *rowsWorld) change(n int) (c ChangeRow) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		c, _, err = w.store.change(w.Context(), tx, repo, n)
		return err
	})
	return c
}

func olderNewsOfAChangeIsDropped(t *testing.T, w *rowsWorld) {
	now := w.store.now()
	c := change(1, now)
	if before := w.putChange(c); before != nil {
		t.Errorf("a new change was %+v before", before)
	}
	c.State, c.MergeCommit, c.UpdatedAt, c.ClosedAt = forge.Merged, "m", now.Add(time.Second), now.Add(time.Second)
	if before := w.putChange(c); before == nil || before.State != forge.Open {
		t.Errorf("before: %+v", before)
	}
	w.putChange(change(1, now))
	if got := w.change(1); got.State != forge.Merged || got.MergeCommit != "m" {
		t.Errorf("an answer that came late has opened the change again: %+v", got)
	}
	var open []ChangeRow
	w.tx(func(tx *sql.Tx) (err error) {
		open, err = w.store.openChanges(t.Context(), tx, repo, "main")
		return err
	})
	if len(open) != 0 {
		t.Errorf("open are %+v", open)
	}
}

func changeKeepsWhatWasMadeOfIt(t *testing.T, w *rowsWorld) {
	c := change(3, w.store.now())
	w.putChange(c)
	notice := Notice{Waits: "It is a draft.", State: forge.Pending, Short: "draft", Notes: []string{"a", "b"}}
	w.tx(func(tx *sql.Tx) error {
		return errors.Join(w.store.setNotice(t.Context(), tx, repo, 3, notice), w.store.setOperation(t.Context(), tx, repo, 3, "op"), w.store.setPruned(t.Context(), tx, repo, 3, true))
	})
	c.Head.Commit, c.UpdatedAt = "h2", c.UpdatedAt.Add(time.Second)
	w.putChange(c)
	got := w.change(3)
	want := ChangeRow{Repository: repo, Change: c, Notice: notice, Operation: "op", Pruned: true}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	err := w.db.Tx(t.Context(), func(tx *sql.Tx) error { return w.store.setOperation(t.Context(), tx, repo, 99, "op") })
	if err == nil {
		t.Error("a plan was noted of a change that has no row")
	}
}

func workspacesComeAndGo(t *testing.T, w *rowsWorld) {
	put := func(names ...string) {
		var all []WorkspaceRow
		for _, name := range names {
			all = append(all, WorkspaceRow{Name: name, Dir: "dir/" + name, Settings: "{}"})
		}
		w.tx(func(tx *sql.Tx) error { return w.store.putWorkspaces(t.Context(), tx, repo, all) })
	}
	put("a", "b")
	at := w.store.now().UTC()
	w.tx(func(tx *sql.Tx) error {
		return errors.Join(w.store.noteApplied(t.Context(), tx, repo, "a", "dir/a", "c1", Applied, at),
			w.store.noteApplied(t.Context(), tx, repo, "a", "dir/a", "c2", Failed, at.Add(time.Hour)))
	})
	put("a")
	var all []WorkspaceRow
	w.tx(func(tx *sql.Tx) (err error) {
		all, err = w.store.workspaces(t.Context(), tx, repo)
		return err
	})
	want := []WorkspaceRow{
		{Repository: repo, Name: "a", Dir: "dir/a", Present: true, Settings: "{}", AppliedCommit: "c1", AppliedAt: at, LastStatus: Failed},
		{Repository: repo, Name: "b", Dir: "dir/b", Settings: "{}"},
	}
	if !slices.Equal(all, want) {
		t.Errorf("got  %+v\nwant %+v", all, want)
	}
}

func pollsAreTakenInTurn(t *testing.T, w *rowsWorld) {
	claim := func(owner string) (r Repository, ok bool) {
		w.tx(func(tx *sql.Tx) (err error) {
			r, ok, err = w.store.claimPoll(t.Context(), tx, repo, owner)
			return err
		})
		return r, ok
	}
	r, ok := claim("p")
	if _, again := claim("q"); !ok || again {
		t.Fatalf("claimed %v, and by another %v", ok, again)
	}
	r.ChangesSince, r.PolledAt, r.PollAt = w.store.now().UTC(), w.store.now().UTC(), w.store.now().Add(time.Minute).UTC()
	w.tx(func(tx *sql.Tx) error { return w.store.endPoll(t.Context(), tx, r, "p") })
	// What the forge says of the repository leaves alone how far the poller has seen.
	w.tx(func(tx *sql.Tx) error {
		return w.store.putRepository(t.Context(), tx, Repository{ID: repo, Forge: "gh", Repo: repo.repo(), DefaultBranch: "trunk"})
	})
	if _, ok := claim("q"); ok {
		t.Error("it is polled again at once")
	}
	w.pass(time.Minute)
	got, ok := claim("q")
	if !ok || !got.ChangesSince.Equal(r.ChangesSince) || got.DefaultBranch != "trunk" {
		t.Fatalf("claimed %v, %+v", ok, got)
	}
	got.PolledAt, got.PollAt = w.store.now().UTC(), w.store.now().Add(time.Minute).UTC()
	w.tx(func(tx *sql.Tx) error { return w.store.endPoll(t.Context(), tx, got, "q") })
	w.pass(-time.Hour)
	if _, ok := claim("p"); !ok {
		t.Error("after the clock was set back by an hour, nobody polls for an hour")
	}
}

func queueTellsOfTheNewestOperation(t *testing.T, w *rowsWorld) {
	w.putChange(change(1, w.store.now()))
	w.add(KindPlan, 1, "a", "b")
	newest, _ := w.add(KindPlan, 1, "c")
	q, err := w.views().Queue(t.Context(), Everything())
	if err != nil || len(q.Recent) != 2 || q.Recent[0].ID != newest.ID || q.Recent[0].Title != "t" || len(q.Recent[1].Runs) != 2 {
		t.Errorf("the queue is %+v, %v", q, err)
	}
}

func levelsCountWhatThereIs(t *testing.T, w *rowsWorld) {
	o, _ := w.add(KindApply, 1, "a", "b: a")
	w.add(KindPlan, 2, "a")
	w.claim(o, "a", "p")
	w.event(1, 1)
	w.tx(func(tx *sql.Tx) error {
		if err := w.store.noteApplied(t.Context(), tx, repo, "a", "a", "c", Held, w.store.now()); err != nil {
			return err
		}
		l, err := w.store.levels(t.Context(), tx)
		if l.Queued["apply"] != 1 || l.Queued["plan"] != 1 || l.Running["apply"] != 1 || l.Running["plan"] != 0 || l.Leases != 1 || l.Held != 1 || l.Events != 1 || l.Problems != 0 {
			t.Errorf("levels are %+v", l)
		}
		return err
	})
}
