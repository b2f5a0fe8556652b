package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

func (w *rowsWorld) event(change int, n int) string {
	w.Helper()
	var key string
	w.tx(func(tx *sql.Tx) (err error) {
		key, _, err = w.store.addEvent(w.Context(), tx, "gh", repo, forge.Event{Key: fmt.Sprintf("%s#%d event %d", repo, change, n), Kind: forge.Commented, Repo: repo.repo(), Change: change}, FromWebhook)
		return err
	})
	return key
}

func (w *rowsWorld) claimEvent(key, owner string) (EventRow, bool) {
	w.Helper()
	var e EventRow
	var ok bool
	w.tx(func(tx *sql.Tx) (err error) {
		e, ok, err = w.store.claimEvent(w.Context(), tx, key, owner)
		return err
	})
	return e, ok
}

func (w *rowsWorld) endEvent(key, owner string) (next string) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		next, err = w.store.endEvent(w.Context(), tx, key, owner, "")
		return err
	})
	return next
}

func eventIsKeptOnce(t *testing.T, w *rowsWorld) {
	added := w.atOnce(16, func(ctx context.Context, _ int) (added bool, err error) {
		err = w.db.Tx(ctx, func(tx *sql.Tx) (err error) {
			_, added, err = w.store.addEvent(ctx, tx, "gh", repo, forge.Event{Key: "k", Kind: forge.Pushed, Repo: repo.repo(), Ref: "main"}, FromWebhook)
			return err
		})
		return added, err
	})
	if added != 1 {
		t.Errorf("one fact told 16 times was kept %d times", added)
	}
	e, ok := w.claimEvent("gh k", "p")
	if !ok || e.Event.Ref != "main" || e.Repository != repo || e.Attempts != 1 || e.Source != FromWebhook {
		t.Errorf("claimed %v, %+v", ok, e)
	}
	w.endEvent("gh k", "p")
	if _, ok := w.claimEvent("gh k", "p"); ok {
		t.Error("an event that is done was claimed again")
	}
	err := w.db.Tx(t.Context(), func(tx *sql.Tx) error { _, err := w.store.endEvent(t.Context(), tx, "gh k", "p", ""); return err })
	if !errors.Is(err, errTaken) {
		t.Errorf("ending it twice says %v", err)
	}
}

func eventsOfAChangeAreWorkedInTurn(t *testing.T, w *rowsWorld) {
	first := w.event(1, 1)
	w.pass(time.Second)
	second, other := w.event(1, 2), w.event(2, 1)
	if _, ok := w.claimEvent(first, "p"); !ok {
		t.Fatal("the first cannot be claimed")
	}
	if _, ok := w.claimEvent(second, "q"); ok {
		t.Error("two events of one change are worked at once")
	}
	if _, ok := w.claimEvent(other, "q"); !ok {
		t.Error("an event of another change has to wait")
	}
	if next := w.endEvent(first, "p"); next != second {
		t.Errorf("after the first comes %q, want %q", next, second)
	}
	if _, ok := w.claimEvent(second, "q"); !ok {
		t.Error("the second cannot be claimed after the first")
	}
}

func eventThatFailedWaits(t *testing.T, w *rowsWorld) {
	key := w.event(1, 1)
	if _, ok := w.claimEvent(key, "p"); !ok {
		t.Fatal("cannot be claimed")
	}
	w.tx(func(tx *sql.Tx) error {
		_, err := w.store.retryEvent(t.Context(), tx, key, "p", w.store.now().Add(time.Minute), "the forge is away")
		return err
	})
	due := func() (keys []string) {
		w.tx(func(tx *sql.Tx) (err error) {
			keys, err = w.store.dueEvents(t.Context(), tx, 10)
			return err
		})
		return keys
	}
	if _, ok := w.claimEvent(key, "p"); ok || len(due()) > 0 {
		t.Error("it is due before its time")
	}
	w.pass(time.Minute)
	if got := due(); !slices.Equal(got, []string{key}) {
		t.Errorf("due are %v", got)
	}
	// The clock is set back by a day: it must not wait that long.
	w.pass(-24 * time.Hour)
	if got := due(); !slices.Equal(got, []string{key}) {
		t.Errorf("after the clock went back, due are %v", got)
	}
	if e, ok := w.claimEvent(key, "p"); !ok || e.Attempts != 2 {
		t.Errorf("claimed %v at attempt %d", ok, e.Attempts)
	}
}

func manyWorkersClaimEachEventOnce(t *testing.T, w *rowsWorld) {
	var keys []string
	for n := range 12 {
		keys = append(keys, w.event(n%4, n))
	}
	var mu sync.Mutex
	done := map[string]int{}
	w.atOnce(16, func(ctx context.Context, i int) (bool, error) {
		owner := fmt.Sprint("p", i)
		for until := time.Now().Add(time.Minute); time.Now().Before(until); {
			left := 0
			for _, key := range keys {
				mu.Lock()
				over := done[key] > 0
				mu.Unlock()
				if over {
					continue
				}
				left++
				var ok bool
				err := w.db.Tx(ctx, func(tx *sql.Tx) (err error) {
					_, ok, err = w.store.claimEvent(ctx, tx, key, owner)
					return err
				})
				if err != nil {
					return false, err
				}
				if !ok {
					continue
				}
				mu.Lock()
				done[key]++
				mu.Unlock()
				err = w.db.Tx(ctx, func(tx *sql.Tx) error { _, err := w.store.endEvent(ctx, tx, key, owner, ""); return err })
				if err != nil {
					return false, err
				}
			}
			if left == 0 {
				return true, nil
			}
		}
		return false, errors.New("after a minute events are left")
	})
	for _, key := range keys {
		if done[key] != 1 {
			t.Errorf("%s was worked %d times", key, done[key])
		}
	}
}
