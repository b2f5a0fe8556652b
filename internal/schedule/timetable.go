package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	// cronWindow is within how long after a cron line's instant something is done at the latest: the line says an hour, and
	// people do not mean that all of it happens in its first second. Where instants are close it is a tenth of their gap.
	cronWindow = 5 * time.Minute
	// near is the part of an interval in which nothing is done again. It is half of what two times in a row may be further
	// apart than the interval: the other half is for coming late.
	near = 20
	// spread is the part of the gap between two instants of a cron line that it may come late.
	spread = 10
	// firstRetry is how long after a first failure it is tried again; each further one doubles it, up to lastRetry, or to
	// the interval where that is longer.
	firstRetry = 2 * time.Minute
	lastRetry  = 4 * time.Hour
)

// Timetable says when one of many is due, so that a thousand with the same interval are spread over all of it: each has a
// place in the interval that follows from its key, on every machine and after every start the same.
type Timetable struct {
	every Every
	place float64 // in the interval, from 0 up to 1
}

// NewTimetable makes the timetable of whatever the key names.
func NewTimetable(every Every, key string) Timetable {
	sum := sha256.Sum256([]byte(key))
	return Timetable{every: every, place: float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)}
}

// Next returns when it is due after it was done at an instant, or came to be known then; false if never.
//
// At an interval, the times do not wander with what came late: they are the interval's multiples, moved to the place of
// the key. One that is so near that it would be of no use is left out. Two times in a row are never further apart than 1.05
// intervals. For a cron line it is a while after the instant that the line names, up to five minutes.
func (t Timetable) Next(after time.Time) (time.Time, bool) {
	interval := t.every.interval
	switch {
	case interval > 0:
		place := time.Duration(t.place * float64(interval))
		since := time.Duration(after.UnixNano()) - place
		gone := since % interval
		if gone < 0 {
			gone += interval
		}
		next := after.Add(interval - gone)
		if next.Sub(after) < interval/near {
			next = next.Add(interval)
		}
		return next.UTC(), true
	case t.every.cron != nil:
		// An instant that has gone by may still be to come here.
		for at, ok := t.every.Next(after.Add(-cronWindow)); ok; at, ok = t.every.Next(at) {
			if next := at.Add(t.late(at)); next.After(after) {
				return next, true
			}
		}
	}
	return time.Time{}, false
}

// late is how long after a cron line's instant it is due.
func (t Timetable) late(at time.Time) time.Duration {
	window := cronWindow
	if following, ok := t.every.Next(at); ok {
		window = min(window, following.Sub(at)/spread)
	}
	return time.Duration(t.place * float64(window))
}

// Retry returns when to try again after so many failures in a row, the newest of them at an instant: sooner than it would
// be due where that is far, and later each time, so that what throttles or is down gets rest. false if it is off.
func (t Timetable) Retry(after time.Time, failures int) (time.Time, bool) {
	limit := max(t.interval(after), lastRetry)
	if limit == lastRetry && t.every.Off() {
		return time.Time{}, false
	}
	wait := min(firstRetry<<min(max(failures-1, 0), 20), limit)
	// Those that failed together do not come back together.
	return after.Add(wait*3/4 + time.Duration(t.place*float64(wait/2))).UTC(), true
}

// Overdue returns from when on it counts as overdue when it was last done at an instant, or came to be known then: twice
// the interval later; for a cron line, at the second instant that it names, and the while that it may take. false if it
// is off.
func (t Timetable) Overdue(last time.Time) (time.Time, bool) {
	if t.every.interval > 0 {
		return last.Add(2 * t.every.interval).UTC(), true
	}
	at, ok := t.every.Next(last)
	if ok {
		at, ok = t.every.Next(at)
	}
	if !ok {
		return time.Time{}, false
	}
	return at.Add(2 * cronWindow), true
}

// interval is the one, or the gap between the next two instants of a cron line; 0 if it is off.
func (t Timetable) interval(after time.Time) time.Duration {
	if t.every.interval > 0 {
		return t.every.interval
	}
	one, ok := t.every.Next(after)
	if !ok {
		return 0
	}
	two, ok := t.every.Next(one)
	if !ok {
		return 0
	}
	return two.Sub(one)
}
