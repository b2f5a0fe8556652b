package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/schedule"
)

func timetable(t testing.TB, every, key string) schedule.Timetable {
	t.Helper()
	e, err := schedule.ParseEvery(every)
	if err != nil {
		t.Fatal(err)
	}
	return schedule.NewTimetable(e, key)
}

// TestTimetableSpreads gives a thousand workspaces the same interval, and looks where in it they are due.
func TestTimetableSpreads(t *testing.T) {
	start := at(t, "2027-01-01T00:00:30Z")
	for every, whole := range map[string]time.Duration{"1h": time.Hour, "7m": 7 * time.Minute, "0 6 * * *": 5 * time.Minute} {
		from := start
		if every == "0 6 * * *" {
			from = at(t, "2027-01-01T06:00:00Z")
		}
		var tenths [11]int
		for i := range 1000 {
			tt := timetable(t, every, fmt.Sprintf("gh/acme/live clusters/%d", i))
			due, ok := tt.Next(at(t, "2027-01-01T00:00:30Z"))
			if !ok {
				t.Fatal("it is never due")
			}
			tenths[int(10*due.Sub(from)/whole)]++
		}
		// What is due within the first tenth of an interval is due an interval later.
		if every != "0 6 * * *" {
			tenths[0] += tenths[10]
		}
		for i, n := range tenths[:10] {
			if n < 60 || n > 140 {
				t.Errorf("%s: %d of 1000 are due in the %dth tenth: %v", every, n, i+1, tenths)
			}
		}
	}
}

// TestTimetableKeepsItsPlace follows one workspace: late starts do not move the later ones, and never far
// apart.
func TestTimetableKeepsItsPlace(t *testing.T) {
	tt := timetable(t, "1h", "a")
	first, _ := tt.Next(at(t, "2027-01-01T00:00:00Z"))
	for _, late := range []time.Duration{0, time.Second, 10 * time.Minute, 56 * time.Minute} {
		next, _ := tt.Next(first.Add(late))
		if want := first.Add(time.Hour); !next.Equal(want) {
			t.Errorf("%s late: next at %s, want %s", late, next, want)
		}
	}
	if next, _ := tt.Next(first.Add(58 * time.Minute)); !next.Equal(first.Add(2 * time.Hour)) {
		t.Errorf("what was done two minutes before it is due is done again at %s, want %s", next, first.Add(2*time.Hour))
	}
	// Before 1970 the remainder is negative.
	if next, _ := tt.Next(time.Unix(-100_000, 0)); next.Sub(time.Unix(-100_000, 0)) > 66*time.Minute || !next.After(time.Unix(-100_000, 0)) {
		t.Errorf("with a clock that is far back, next is %s", next)
	}
	if _, ok := timetable(t, "off", "a").Next(first); ok {
		t.Error("what is off is due")
	}
}

// TestTimetableOfCronMissesNothing follows cron lines for days: each instant is followed by one time, within its window.
func TestTimetableOfCronMissesNothing(t *testing.T) {
	for every, want := range map[string]int{"0 6 * * *": 10, "*/15 * * * *": 960, "*/5 * * * *": 2880, "0 6 * * Mon-Fri Europe/Berlin": 6} {
		for _, key := range []string{"a", "b", "c"} {
			tt := timetable(t, every, key)
			n, end := 0, at(t, "2027-01-11T00:00:00Z")
			e, _ := schedule.ParseEvery(every)
			for due, _ := tt.Next(at(t, "2027-01-01T00:00:00Z")); due.Before(end); due, _ = tt.Next(due) {
				n++
				if named, _ := e.Next(due.Add(-5*time.Minute - 1)); due.Sub(named) < 0 {
					t.Fatalf("%s: due at %s, which no instant comes before", every, due)
				}
			}
			if n < want-1 || n > want {
				t.Errorf("%s of %s: due %d times in ten days, want %d", every, key, n, want)
			}
		}
	}
}

func TestTimetableBacksOff(t *testing.T) {
	now := at(t, "2027-01-01T00:00:00Z")
	for every, limit := range map[string]time.Duration{"1m": 4 * time.Hour, "1d": 24 * time.Hour, "0 6 * * *": 24 * time.Hour} {
		tt := timetable(t, every, "a")
		before := time.Duration(0)
		for failures := 1; failures < 40; failures++ {
			next, ok := tt.Retry(now, failures)
			wait := next.Sub(now)
			if !ok || wait < before || wait > limit*5/4 {
				t.Fatalf("%s: after %d failures it waits %s, after %s", every, failures, wait, before)
			}
			if failures == 1 && wait > 3*time.Minute {
				t.Errorf("%s: after the first failure it waits %s", every, wait)
			}
			before = wait
		}
		if before < limit*3/4 {
			t.Errorf("%s: it never waits longer than %s", every, before)
		}
	}
	if _, ok := timetable(t, "off", "a").Retry(now, 1); ok {
		t.Error("what is off is tried again")
	}
}

func TestTimetableIsOverdue(t *testing.T) {
	for _, c := range []struct{ every, last, want string }{
		{"1h", "2027-01-01T00:00:00Z", "2027-01-01T02:00:00Z"},
		{"0 6 * * Mon-Fri", "2027-01-01T06:02:00Z", "2027-01-05T06:10:00Z"}, // a Friday: Monday was missed, and Tuesday
	} {
		if got, ok := timetable(t, c.every, "a").Overdue(at(t, c.last)); !ok || got.Format(time.RFC3339) != c.want {
			t.Errorf("%s, last done at %s: overdue from %s, want %s", c.every, c.last, got.Format(time.RFC3339), c.want)
		}
	}
	if _, ok := timetable(t, "off", "a").Overdue(time.Now()); ok {
		t.Error("what is off is overdue")
	}
}

func TestGovernor(t *testing.T) {
	now := at(t, "2027-01-01T00:00:00Z")
	g := schedule.Governor{Account: 30, Total: 60}
	due := []schedule.Due{{Account: "a"}, {Account: "a"}, {Account: "a"}, {Account: "a"}, {Account: "b"}, {Account: "c"}}
	next := map[string]time.Time{}
	if got := fmt.Sprint(g.Pick(now, due, 10, next)); got != "[0 1 4 5]" {
		t.Errorf("picked %s: two of each account and four of all may start at once", got)
	}
	if got := g.Pick(now, due, 10, next); len(got) != 0 {
		t.Errorf("picked %v at the same instant again", got)
	}
	now = now.Add(time.Second)
	if got := fmt.Sprint(g.Pick(now, due, 10, next)); got != "[0]" && got != "[4]" {
		t.Errorf("a second later picked %s", got)
	}
	if got := g.Pick(now.Add(time.Hour), due, 1, next); len(got) != 1 {
		t.Errorf("with room for one, picked %v", got)
	}
	// The clock is set back by an hour: what was remembered does not hold everything up for an hour.
	if got := g.Pick(now, due, 10, next); len(got) == 0 {
		t.Error("after the clock was set back, nothing starts")
	}
	if got := (schedule.Governor{}).Pick(now, due, 10, next); len(got) != len(due) {
		t.Errorf("without limits, picked %v", got)
	}
}
