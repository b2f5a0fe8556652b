package drift

import (
	"fmt"
	"slices"
	"time"
)

// Fight says when a finding that keeps coming back is no drift any more but somebody else's will: an autoscaler, another
// tool, a person. Then it takes a person to decide who is right, and each further correction would only do harm. The zero
// value sees no fights.
type Fight struct {
	// After is how many corrections of one finding are a fight; 0 means that none are.
	After int
	// Within is the time within which they were made.
	Within time.Duration
}

// Stops says in words why a finding that was corrected at these times, and is there again now, is not corrected once more;
// "" if it may be.
//
// A correction of the future is one whose clock was wrong, or ours is: it counts as one of just now, since doubt is not
// permission.
func (f Fight) Stops(corrected []time.Time, now time.Time) string {
	if f.After <= 0 {
		return ""
	}
	var recent []time.Time
	for _, at := range corrected {
		if now.Sub(at) < f.Within {
			recent = append(recent, at)
		}
	}
	if len(recent) < f.After {
		return ""
	}
	slices.SortFunc(recent, time.Time.Compare)
	return fmt.Sprintf("it was corrected %s since %s and came back each time: something else wants it otherwise, so it waits for a person",
		times(len(recent)), recent[0].UTC().Format("2006-01-02 15:04 MST"))
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
