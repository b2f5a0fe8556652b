package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/planstore"
)

// outputComesBackAsItWasPrinted: in pieces, from any place, for as long as its run is there.
func outputComesBackAsItWasPrinted(t *testing.T, w *rowsWorld) {
	plans, v := openPlans(t), w.views()
	v.Plans = func(string) (*planstore.Store, error) { return plans, nil }
	o, _ := w.add(KindPlan, 1, "app")
	run := w.claim(o, "app", "p")
	keep := func(begins int64, text, owner string) {
		t.Helper()
		rows, err := sealOutput(plans, run.ID, begins, text)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // as after a commit of which nobody knows
			w.tx(func(tx *sql.Tx) error { return w.store.addOutput(t.Context(), tx, rows, owner) })
		}
	}
	var text strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&text, "line %d, canary é\n", i)
	}
	text.WriteString(strings.Repeat("é", 100_000)) // no end of a line
	all := text.String()
	keep(0, all[:11], "p")
	keep(11, all[11:], "p")
	keep(int64(len(all)), "of another process", "q")

	read := func(from int64, most int) OutputView {
		t.Helper()
		got, err := v.Output(t.Context(), Everything(), run.ID, from, most)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, from := range []int64{0, 1, 10, 11, 12, 70_000, int64(len(all)) - 2, int64(len(all)), int64(len(all)) + 99} {
		var got strings.Builder
		at := from
		for {
			part := read(at, 50_000)
			if part.Text == "" {
				break
			}
			if len(part.Text) > 50_000+outputPiece {
				t.Fatalf("a part has %d bytes", len(part.Text))
			}
			got.WriteString(part.Text)
			at = part.Next
		}
		if want := all[min(from, int64(len(all))):]; got.String() != want {
			t.Errorf("from %d on there are %d bytes, want the %d that were printed", from, got.Len(), len(want))
		}
	}
	if got := read(-20, 1000); got.Text != all[len(all)-20:] || got.Total != int64(len(all)) || got.Status != Running || got.Over() {
		t.Errorf("the end is %+v", got)
	}
	if got := read(int64(len(all))-1, 10); got.Text != "\uFFFD" {
		t.Errorf("from amid a character: %q", got.Text)
	}
	w.tx(func(tx *sql.Tx) error {
		rows, err := list(t.Context(), tx, scanText, "SELECT text FROM run_output")
		if err == nil && strings.Contains(strings.Join(rows, ""), "canary") {
			t.Error("it is in the database in clear")
		}
		return err
	})
	if _, err := v.Output(t.Context(), Sight{}, run.ID, 0, 10); !errors.Is(err, ErrNoSuch) {
		t.Errorf("who sees nothing gets %v", err)
	}
	if _, err := v.Output(t.Context(), Everything(), "none", 0, 10); !errors.Is(err, ErrNoSuch) {
		t.Errorf("of no run: %v", err)
	}
	other := openPlans(t)
	v.Plans = func(string) (*planstore.Store, error) { return other, nil }
	if got := read(0, 10); !strings.Contains(got.Text, "do not open") || got.Next != 11 {
		t.Errorf("with another key it is %+v", got)
	}

	w.end(run, Planned)
	v.Plans = func(string) (*planstore.Store, error) { return plans, nil }
	if got := read(int64(len(all)), 10); !got.Over() {
		t.Errorf("after the end it is %+v", got)
	}
	w.tx(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "DELETE FROM run WHERE id = $1", run.ID)
		if err != nil {
			return err
		}
		left, _, err := first(t.Context(), tx, scanNumber, "SELECT COUNT(*) FROM run_output")
		if left != 0 {
			t.Errorf("%d pieces outlive their run", left)
		}
		return err
	})
}

// printing is a run of whose output a test says what it is.
func (w *rowsWorld) printing(plans *planstore.Store) (*Engine, *task) {
	w.Helper()
	o, _ := w.add(KindPlan, 1, "app")
	e := &Engine{Options: Options{DB: w.db, Secrets: []string{"canary-of-the-server"}}, store: w.store, log: slog.New(slog.DiscardHandler), outputs: outputs{all: map[*printed]bool{}}}
	return e, &task{Engine: e, run: w.claim(o, "app", "p"), plans: plans}
}

// outputIsMovedOnWhileItComes, and what is left goes with the end of the run.
func outputIsMovedOnWhileItComes(t *testing.T, w *rowsWorld) {
	plans, v := openPlans(t), w.views()
	v.Plans = func(string) (*planstore.Store, error) { return plans, nil }
	e, task := w.printing(plans)
	read := func() string {
		t.Helper()
		got, err := v.Output(t.Context(), Everything(), task.run.ID, 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		return got.Text
	}
	task.printing(0)
	_, _ = fmt.Fprint(task.printed, "one canary-of-the-server\nhalf")
	if err := e.moveOutput(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "one (redacted)\n" {
		t.Errorf("while it runs there is %q", got)
	}
	_, _ = fmt.Fprint(task.printed, " a line")
	rest := task.endPrinting(t.Context())
	if got := read(); got != "one (redacted)\n" || len(rest) != 1 || len(e.outputs.all) != 0 {
		t.Errorf("at its end there is %q, and %d pieces to go with it", got, len(rest))
	}
	w.tx(func(tx *sql.Tx) error { return e.store.addOutput(t.Context(), tx, rest, "") })

	task.run.Attempts = 2
	task.printing(int64(len(read())))
	_, _ = fmt.Fprint(task.printed, "again\n")
	rest = task.endPrinting(t.Context())
	w.tx(func(tx *sql.Tx) error { return e.store.addOutput(t.Context(), tx, rest, "") })
	if got, want := read(), "one (redacted)\nhalf a line\n[begun again: attempt 2]\nagain\n"; got != want {
		t.Errorf("there is %q, want %q", got, want)
	}
}

// outputHasAnEnd however much is printed.
func outputHasAnEnd(t *testing.T, w *rowsWorld) {
	plans, v := openPlans(t), w.views()
	v.Plans = func(string) (*planstore.Store, error) { return plans, nil }
	e, task := w.printing(plans)
	task.printing(outputMost - 100_000)
	line := strings.Repeat("y", 999) + "\n"
	for range 3 {
		_, _ = fmt.Fprint(task.printed, strings.Repeat(line, 200))
		if err := e.moveOutput(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = fmt.Fprint(task.printed, "Error: what it was all about\n")
	rest := task.endPrinting(t.Context())
	w.tx(func(tx *sql.Tx) error { return e.store.addOutput(t.Context(), tx, rest, "") })
	got, err := v.Output(t.Context(), Everything(), task.run.ID, 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.Text, "y\n\n[no more than 64 MB of what a run prints is kept") || !strings.Contains(got.Text, "bytes are left out here]\nyyy") ||
		!strings.HasSuffix(got.Text, "Error: what it was all about\n") || got.Total > outputMost+70_000 {
		t.Errorf("there are %d bytes: %.100q … %q", got.Total, got.Text, got.Text[len(got.Text)-100:])
	}
}

// outputWaitsForTheDatabase and holds up nobody meanwhile.
func outputWaitsForTheDatabase(t *testing.T, w *rowsWorld) {
	plans := openPlans(t)
	e, task := w.printing(plans)
	task.printing(0)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		_, _ = fmt.Fprint(task.printed, strings.Repeat(strings.Repeat("y", 1023)+"\n", 1024))
		if err := e.moveOutput(gone); err == nil {
			t.Fatal("a database that is gone has taken it")
		}
	}
	if task.printed.wait > outputWaits+outputAtOnce {
		t.Errorf("%d bytes wait", task.printed.wait)
	}
	rest := task.endPrinting(t.Context())
	w.tx(func(tx *sql.Tx) error { return e.store.addOutput(t.Context(), tx, rest, "") })
	w.tx(func(tx *sql.Tx) error {
		n, err := e.store.printedSoFar(t.Context(), tx, task.run.ID)
		if n != 20<<20 {
			t.Errorf("%d bytes came through, want all", n)
		}
		return err
	})
}

// output is what a run has printed, as people are shown it.
func (w *runsWorld) output(r Run) string {
	w.Helper()
	v := NewViews(ViewsOptions{DB: w.DB, Audit: w.Audit, Plans: w.Plans})
	got, err := v.Output(w.Context(), Everything(), r.ID, 0, 1<<30)
	if err != nil {
		w.Fatal(err)
	}
	return got.Text
}
