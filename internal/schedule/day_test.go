package schedule_test

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plumbline-dev/plumbline/internal/schedule"
)

// day is a day of a server with many workspaces, on several machines that share what they know, as the rows of the
// database are shared.
type day struct {
	governor schedule.Governor
	machines int
	room     int // looks at once on each machine

	mu       sync.Mutex
	waiting  waiting
	next     map[string]time.Time
	looking  []int // by machine
	starts   int
	perSec   map[string]map[int64]int // by account, "" for all
	worst    float64                  // the longest time between two looks, in intervals
	worstOf  string
	problems []string
}

type sheep struct {
	name, account string
	every         schedule.Every
	timetable     schedule.Timetable
	due, last     time.Time
}

// waiting is a heap of workspaces by when they are due.
type waiting []*sheep

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(*sheep)) }
func (w *waiting) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

func newDay(t testing.TB, n int) *day {
	d := &day{
		governor: schedule.Governor{Account: 60, Total: 300}, machines: 3, room: 60, next: map[string]time.Time{}, perSec: map[string]map[int64]int{},
	}
	d.looking = make([]int, d.machines)
	now := time.Now()
	for i := range n {
		s := &sheep{name: fmt.Sprintf("gh/acme/live clusters/%d", i), account: fmt.Sprintf("account-%d", i%20)}
		text := "1h"
		switch i % 10 {
		case 0, 1:
			text = "2h"
		case 2:
			text = "1d"
		case 3:
			text = "30m"
		case 4:
			text = "17 */4 * * *"
		}
		var err error
		if s.every, err = schedule.ParseEvery(text); err != nil {
			t.Fatal(err)
		}
		s.timetable, s.last = schedule.NewTimetable(s.every, s.name), now
		s.due, _ = s.timetable.Next(now)
		d.waiting = append(d.waiting, s)
	}
	heap.Init(&d.waiting)
	return d
}

// tick is what a machine does every second or so.
func (d *day) tick(machine int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	var due []schedule.Due
	var who []*sheep
	for len(d.waiting) > 0 && !d.waiting[0].due.After(now) && len(due) < 500 {
		s := heap.Pop(&d.waiting).(*sheep)
		who, due = append(who, s), append(due, schedule.Due{Account: s.account, At: s.due})
	}
	picked := d.governor.Pick(now, due, d.room-d.looking[machine], d.next)
	for i, s := range who {
		if _, yes := slices.BinarySearch(picked, i); !yes {
			heap.Push(&d.waiting, s)
			continue
		}
		d.start(now, s)
		d.looking[machine]++
		time.AfterFunc(5*time.Second+rand.N(25*time.Second), func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.looking[machine]--
		})
		s.due, _ = s.timetable.Next(now)
		heap.Push(&d.waiting, s)
	}
}

func (d *day) start(now time.Time, s *sheep) {
	d.starts++
	for _, account := range []string{"", s.account} {
		if d.perSec[account] == nil {
			d.perSec[account] = map[int64]int{}
		}
		d.perSec[account][now.Unix()]++
	}
	// What a cron line names is not as far apart at the start of the day as it is later.
	after, _ := s.every.Next(s.last)
	interval := after.Sub(s.last)
	if following, ok := s.every.Next(after); ok {
		interval = max(interval, following.Sub(after))
	}
	if missed := float64(now.Sub(s.last)) / float64(interval); missed > d.worst {
		d.worst, d.worstOf = missed, s.name+" "+s.every.String()
	}
	s.last = now
}

// live lets a day go by, in a bubble of synctest. Nothing is started for a while after noon.
func (d *day) live(outage time.Duration) {
	start := time.Now()
	end := start.Add(24 * time.Hour)
	var wg sync.WaitGroup
	for machine := range d.machines {
		wg.Go(func() {
			for time.Now().Before(end) {
				time.Sleep(1500*time.Millisecond + rand.N(time.Second)) // machines do not tick in step
				if since := time.Since(start); since < 12*time.Hour || since > 12*time.Hour+outage {
					d.tick(machine)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Minute) // the last looks end
	for _, s := range d.waiting {
		if late := time.Since(s.due); late > 2*time.Minute {
			d.problems = append(d.problems, fmt.Sprintf("%s is %s late at the end of the day", s.name, late))
		}
	}
	for account, seconds := range d.perSec {
		limit := d.governor.Account
		if account == "" {
			limit = d.governor.Total
		}
		minutes := map[int64]int{}
		for second, n := range seconds {
			minutes[second/60] += n
			if n > limit.PerSecond() {
				d.problems = append(d.problems, fmt.Sprintf("%d starts of %q in a second, %d are allowed", n, account, limit.PerSecond()))
			}
		}
		for _, n := range minutes {
			// What a few seconds before it have left may be used in it.
			if most := int(limit) + limit.PerSecond(); n > most {
				d.problems = append(d.problems, fmt.Sprintf("%d starts of %q in a minute, %d are allowed", n, account, most))
			}
		}
	}
	slices.SortFunc(d.problems, cmp.Compare[string])
}

// TestDay is a day of 10,000 workspaces on three machines: no interval is missed by more than a tenth, and no second has
// more starts than the governor allows.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t, 10_000)
		d.live(0)
		for i, problem := range d.problems {
			if i == 10 {
				t.Errorf("and %d more", len(d.problems)-i)
				break
			}
			t.Error(problem)
		}
		if d.worst > 1.1 {
			t.Errorf("%s was not looked at for %.3f of its intervals, at most 1.1 are allowed", d.worstOf, d.worst)
		}
		// 5,000 each hour, 2,000 each two hours, 1,000 once, 1,000 each half an hour, 1,000 each four hours.
		if want := 5000*24 + 2000*12 + 1000 + 1000*48 + 1000*6; d.starts < want*97/100 || d.starts > want*103/100 {
			t.Errorf("%d looks in the day, want about %d", d.starts, want)
		}
		t.Logf("%d looks; the longest wait was %.3f intervals (%s)", d.starts, d.worst, d.worstOf)
	})
}

// TestDayWithAnOutage lets nothing be looked at for three hours, after which all is due at once: the governor holds, and by
// the end of the day all is as it was.
func TestDayWithAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t, 10_000)
		d.live(3 * time.Hour)
		for i, problem := range d.problems {
			if i == 10 {
				t.Errorf("and %d more", len(d.problems)-i)
				break
			}
			t.Error(problem)
		}
		if d.worst < 3 {
			t.Errorf("the longest wait was %.3f intervals: there was no outage", d.worst)
		}
	})
}

// BenchmarkDay is a day of the scheduler with 10,000 workspaces, and says how much of an interval was missed at worst.
func BenchmarkDay(b *testing.B) {
	var worst float64
	var starts int
	for b.Loop() {
		synctestDay(b, func(d *day) { worst, starts = max(worst, d.worst), d.starts })
	}
	b.ReportMetric(worst, "intervals-at-worst")
	b.ReportMetric(float64(starts), "looks/day")
}

// synctestDay runs a day in a bubble, which only a test may make.
func synctestDay(b *testing.B, done func(d *day)) {
	b.Helper()
	ok := testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "day", F: func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDay(t, 10_000)
			d.live(0)
			if len(d.problems) > 0 {
				t.Error(d.problems[0])
			}
			done(d)
		})
	}}})
	if !ok {
		b.Fatal("the day went wrong")
	}
}
