package schedule

import (
	"time"
)

// MaxRate is the highest [Rate] that is kept to: times are kept in milliseconds.
const MaxRate = 6000

// CatchUp is how much of what a rate allows may be made up for at once: whoever asks does so every second or two, not
// whenever the next start is allowed.
const CatchUp = 3 * time.Second

// skew is by how much the clocks of several machines may differ. An allowance that lies further ahead than that was
// written before the clock was set back.
const skew = time.Minute

// Rate is how many starts a minute are allowed; 0 means any number.
type Rate int

// gap is the time between two starts.
func (r Rate) gap() time.Duration { return time.Minute / time.Duration(r) }

// PerSecond is how many starts there may be in any second. More than a sixtieth of the rate, because what was not used
// in the last few seconds may be made up for.
func (r Rate) PerSecond() int {
	if r <= 0 {
		return 0
	}
	return int((time.Second + CatchUp + r.gap() - 1) / r.gap())
}

// take reports whether a start is allowed now, given what take returned the last time (the zero time before the first),
// and returns what it is to be given the next time.
func (r Rate) take(next, now time.Time) (time.Time, bool) {
	if r <= 0 {
		return next, true
	}
	if next.Before(now.Add(-CatchUp)) || next.Sub(now) > skew+r.gap() {
		next = now.Add(-CatchUp)
	}
	if next.After(now) {
		return next, false
	}
	return next.Add(r.gap()), true
}

// Due is something that waits to be started.
type Due struct {
	Account string // whose starts it counts among
	Asked   bool   // somebody waits for it
	At      time.Time
}

// Governor says how many of those that are due may start, so that a cloud account is not asked for too much at once. It
// is a value without a memory: its caller keeps what it has allowed, where several processes see it.
type Governor struct {
	Account Rate // of each account
	Total   Rate // of all together
}

// Pick says which of those that are due are to be started now, at most room of them: their indexes, in the order in which
// due lists them. next is what is remembered between calls, "" for the total and by account otherwise; Pick changes it.
func (g Governor) Pick(now time.Time, due []Due, room int, next map[string]time.Time) []int {
	var picked []int
	refused := map[string]bool{}
	for i, d := range due {
		if len(picked) >= room {
			break
		}
		if refused[d.Account] {
			continue
		}
		account, ok := g.Account.take(next[d.Account], now)
		if !ok {
			refused[d.Account] = true
			continue
		}
		total, ok := g.Total.take(next[""], now)
		if !ok {
			break
		}
		if g.Account > 0 {
			next[d.Account] = account
		}
		if g.Total > 0 {
			next[""] = total
		}
		picked = append(picked, i)
	}
	return picked
}
