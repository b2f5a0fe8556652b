package cloudtrail

import (
	"testing"
	"time"
)

// TestRememberedIsBounded: what is too old goes with the next answer, and what is not is bounded by its records.
func TestRememberedIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	trail := New(Options{Now: func() time.Time { return now }})
	many := make([]record, 1000)
	for i := range 100 {
		trail.remember(question{since: int64(i)}, many)
	}
	size := 0
	for _, a := range trail.answers {
		size += len(a.records)
	}
	if last := (question{since: 99}); size > remembered || size < remembered/2 || len(trail.answers[last].records) == 0 {
		t.Errorf("%d records of %d answers are remembered, at most %d should, and the last answer", size, len(trail.answers), remembered)
	}
	now = now.Add(rememberedFor)
	trail.remember(question{}, nil)
	if n := len(trail.answers); n != 1 {
		t.Errorf("%d answers are remembered although all but one are too old", n)
	}
}
