package live

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// quiet is a run that prints nothing.
type quiet struct{}

func (quiet) Output(context.Context, engine.Sight, string, int64, int) (engine.OutputView, error) {
	return engine.OutputView{Status: engine.Running}, nil
}

// TestNobodyTakesAllPlaces: one person may watch a lot, and the others may still watch.
func TestNobodyTakesAllPlaces(t *testing.T) {
	t.Parallel()
	o := New(Options{Views: quiet{}, Log: slog.New(slog.DiscardHandler)})
	var first *feed
	for range mostEach {
		f, err := o.join("r1", "oidc:greedy")
		if err != nil {
			t.Fatal(err)
		}
		first = f
	}
	if _, err := o.join("r2", "oidc:greedy"); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("one more is answered %v", err)
	}
	other, err := o.join("r1", "oidc:other")
	if err != nil {
		t.Fatal(err)
	}
	o.leave(first, "oidc:greedy")
	if _, err := o.join("r1", "oidc:greedy"); err != nil {
		t.Errorf("in the place of one that has ended: %v", err)
	}
	o.leave(other, "oidc:other")
	for range mostEach {
		o.leave(first, "oidc:greedy")
	}
	if len(o.persons) != 0 || len(o.feeds) != 0 || o.watching != 0 {
		t.Errorf("what is left: %v, %d feeds, %d watching", o.persons, len(o.feeds), o.watching)
	}
}
