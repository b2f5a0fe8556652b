package engine

import (
	"database/sql"
	"errors"
	"slices"
	"testing"
	"time"
)

func (w *rowsWorld) wantReport(who Subject, urgent bool) {
	w.Helper()
	w.tx(func(tx *sql.Tx) error { return w.store.wantReport(w.Context(), tx, who, urgent) })
}

func (w *rowsWorld) claimReport(who Subject, owner string) (ReportRow, bool) {
	w.Helper()
	var r ReportRow
	var ok bool
	w.tx(func(tx *sql.Tx) (err error) {
		r, ok, err = w.store.claimReport(w.Context(), tx, who, owner)
		return err
	})
	return r, ok
}

func reportsAreCoalesced(t *testing.T, w *rowsWorld) {
	who := Subject{Repository: repo, Change: 7}
	if _, ok := w.claimReport(who, "p"); ok {
		t.Error("a report that nobody wants was claimed")
	}
	w.wantReport(who, false)
	w.wantReport(who, false)
	r, ok := w.claimReport(who, "p")
	if !ok || r.Wanted != 2 || r.Subject != who {
		t.Fatalf("claimed %v, %+v", ok, r)
	}
	if _, ok := w.claimReport(who, "q"); ok {
		t.Error("two make one report")
	}
	w.wantReport(who, false) // while it is being told
	w.tx(func(tx *sql.Tx) error { return w.store.endReport(t.Context(), tx, r, "p", "", time.Time{}) })
	if _, ok := w.claimReport(who, "p"); ok {
		t.Error("the next report comes at once")
	}
	w.wantReport(who, true)
	if r, ok = w.claimReport(who, "p"); !ok || r.Wanted != 4 {
		t.Fatalf("an urgent report waits: %v, %+v", ok, r)
	}
	w.tx(func(tx *sql.Tx) error { return w.store.endReport(t.Context(), tx, r, "p", "", time.Time{}) })
	w.wantReport(who, false)
	if _, ok := w.claimReport(who, "p"); ok {
		t.Error("urgency outlasts the report that was urgent")
	}
	w.pass(between)
	if r, ok = w.claimReport(who, "p"); !ok {
		t.Fatal("later it is not made either")
	}
	w.tx(func(tx *sql.Tx) error { return w.store.endReport(t.Context(), tx, r, "p", "", time.Time{}) })
	w.pass(time.Hour)
	if _, ok := w.claimReport(who, "p"); ok {
		t.Error("what was told is told again")
	}
}

func reportThatFailedWaits(t *testing.T, w *rowsWorld) {
	who := Subject{Repository: repo, Operation: "push"}
	w.wantReport(who, true)
	r, _ := w.claimReport(who, "p")
	w.tx(func(tx *sql.Tx) error {
		return w.store.endReport(t.Context(), tx, r, "p", "502", w.store.now().Add(time.Minute))
	})
	w.wantReport(who, true)
	if _, ok := w.claimReport(who, "p"); ok {
		t.Error("a forge that failed is asked again at once")
	}
	w.pass(time.Minute)
	if r, ok := w.claimReport(who, "p"); !ok || r.Attempts != 2 || r.Wanted != 2 {
		t.Errorf("claimed %v, %+v", ok, r)
	}
}

func commentsAndStatusesAreRemembered(t *testing.T, w *rowsWorld) {
	c := CommentRow{Repository: repo, Change: 1, Key: "plan", Page: 2, ID: "99", Digest: "d"}
	w.tx(func(tx *sql.Tx) error {
		if err := w.store.putComment(t.Context(), tx, c); err != nil {
			return err
		}
		c.Digest, c.Minimised = "e", true
		return errors.Join(w.store.putComment(t.Context(), tx, c), w.store.putStatus(t.Context(), tx, repo, "c1", "plumbline", "x"), w.store.putStatus(t.Context(), tx, repo, "c1", "plumbline", "y"))
	})
	w.tx(func(tx *sql.Tx) error {
		all, err := w.store.comments(t.Context(), tx, repo, 1)
		if err == nil && !slices.Equal(all, []CommentRow{c}) {
			t.Errorf("comments are %+v", all)
		}
		digests, err2 := w.store.statuses(t.Context(), tx, repo, "c1")
		if len(digests) != 1 || digests["plumbline"] != "y" {
			t.Errorf("statuses are %v", digests)
		}
		return errors.Join(err, err2, w.store.dropComment(t.Context(), tx, c))
	})
	w.tx(func(tx *sql.Tx) error {
		all, err := w.store.comments(t.Context(), tx, repo, 1)
		if len(all) != 0 {
			t.Errorf("a comment that was dropped is still there: %+v", all)
		}
		return err
	})
}
