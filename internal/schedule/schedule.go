// Package schedule says when what is done again and again is due. It reads the two ways in which plumbline.yaml talks about
// time: how often a workspace is looked at ("every"), and when it may be corrected ("windows"); it spreads thousands of
// workspaces over their intervals, and it holds back those whose account has had its share.
//
// An [Every] begins as text ("15m", "0 6 * * Mon-Fri Europe/Berlin", "off"), is parsed once, and from then on answers one
// question: after this instant, which comes next? A [Window] begins as text too ("Mon-Fri 08:00-18:00 Europe/Berlin") and
// answers whether it is open at an instant and, when it is not, when it opens.
//
// A [Timetable] is an Every with a place of its own in the interval. A [Governor] picks, of all that is due, what may start
// now.
//
// All are values without a clock, a timer or a goroutine: the caller brings the time. Time zones come from the IANA
// database that is compiled into the binary, so that a container without /usr/share/zoneinfo understands the same names as
// a laptop. "Local" is refused, because the same file would mean different hours on different machines.
package schedule

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zone names work where the machine has no zone database
)

// loadZone finds a time zone by its IANA name.
func loadZone(name string) (*time.Location, error) {
	// LoadLocation gives "" and "Local" a meaning of their own, which depends on the machine.
	if name == "" || strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("time zone %q means something else on every machine: write a name such as Europe/Berlin, or UTC", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("unknown time zone %q: write a name of the IANA database such as Europe/Berlin or America/New_York, or UTC", name)
	}
	return zone, nil
}
