package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// MinEvery is the shortest interval that [ParseEvery] takes. A plan of a small workspace takes seconds and costs calls to
// the cloud; below a minute a workspace would do nothing but plan.
const MinEvery = time.Minute

// maxEvery keeps "after plus interval" far from where time.Time overflows, and catches slips such as 9000d.
const maxEvery = 366 * 24 * time.Hour

// Every says how often something is done: at an interval, at the instants of a cron line, or never. The zero value is
// never. Values are immutable and may be shared.
type Every struct {
	text     string
	interval time.Duration // set for an interval
	cron     cron.Schedule // set for a cron line
}

// ParseEvery reads one of
//
//   - an interval of at least a minute and at most 366 days, as Go writes durations, with d for a day of 24 hours: "15m",
//     "1h30m", "1d", "1d12h";
//   - a cron line of five fields (minute, hour, day of month, month, day of week), with an optional sixth that names the
//     time zone: "0 6 * * Mon-Fri", "30 2 * * * Europe/Berlin". Without a zone it is UTC;
//   - "off".
//
// An error says what is wrong and what would be right.
func ParseEvery(s string) (Every, error) {
	text := strings.TrimSpace(s)
	switch fields := strings.Fields(text); {
	case text == "":
		return Every{}, fmt.Errorf(`it is empty: write an interval such as 15m, a cron line such as "0 6 * * *", or off`)
	case text == "off":
		return Every{text: text}, nil
	case len(fields) > 1 || strings.HasPrefix(text, "@"):
		return parseCron(text, fields)
	}
	interval, err := parseInterval(text)
	if err != nil {
		return Every{}, err
	}
	return Every{text: text, interval: interval}, nil
}

// Next returns the first instant after the one given, in UTC, and false if there is none because it is off.
//
// For a cron line in a zone with daylight saving time: a line for an hour that the clocks skip does not happen on that
// day, and one for an hour that comes twice happens twice.
func (e Every) Next(after time.Time) (time.Time, bool) {
	switch {
	case e.interval > 0:
		return after.Add(e.interval).UTC(), true
	case e.cron != nil:
		next := e.cron.Next(after)
		return next.UTC(), !next.IsZero()
	}
	return time.Time{}, false
}

// Off reports whether there is never a next time.
func (e Every) Off() bool { return e.interval == 0 && e.cron == nil }

// String returns the text that was parsed; "off" for the zero value.
func (e Every) String() string {
	if e.text == "" {
		return "off"
	}
	return e.text
}

func parseInterval(text string) (time.Duration, error) {
	wrong := fmt.Errorf(`%q is not an interval: write a number with a unit such as 15m, 6h or 1d, a cron line such as "0 6 * * *", or off`, text)
	var days time.Duration
	rest := text
	if head, tail, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, wrong
		}
		days, rest = time.Duration(n)*24*time.Hour, tail
	}
	interval := days
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil {
			return 0, wrong
		}
		if d < 0 || d > maxEvery {
			d = max(min(d, maxEvery+1), -1) // keeps the sum from overflowing
			days = 0
		}
		interval = days + d
	}
	if interval < MinEvery {
		return 0, fmt.Errorf("%q is too short: the shortest interval is 1m (to switch it off, write off)", text)
	}
	if interval > maxEvery {
		return 0, fmt.Errorf("%q is too long: the longest interval is 366d (to switch it off, write off)", text)
	}
	return interval, nil
}

func parseCron(text string, fields []string) (Every, error) {
	if strings.HasPrefix(text, "@") {
		return Every{}, fmt.Errorf(`%q is not understood: write the five fields of a cron line, such as "0 * * * *", or an interval such as 1h`, text)
	}
	// The parser of the library takes TZ= in front and, in some versions, panics when nothing follows it.
	if strings.Contains(fields[0], "=") {
		return Every{}, fmt.Errorf(`%q: write the time zone at the end, such as "0 6 * * * Europe/Berlin"`, text)
	}
	zone := time.UTC
	switch len(fields) {
	case 5:
	case 6:
		var err error
		if zone, err = loadZone(fields[5]); err != nil {
			return Every{}, fmt.Errorf("cron line %q: %w", text, err)
		}
	default:
		return Every{}, fmt.Errorf("%q has %d fields: a cron line has five (minute, hour, day of month, month, day of week) and may name a time zone after them", text, len(fields))
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(strings.Join(fields[:5], " "))
	if err != nil {
		return Every{}, fmt.Errorf("cron line %q: %w", text, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Every{}, fmt.Errorf("cron line %q: it is not a plain schedule of five fields", text)
	}
	// Left alone, the library would take the zone of whatever time it is asked about.
	spec.Location = zone
	if spec.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Every{}, fmt.Errorf("cron line %q never happens: no such day exists", text)
	}
	return Every{text: text, cron: spec}, nil
}
