package schedule

import (
	"fmt"
	"strings"
	"time"
)

const day = 24 * 60 // minutes of the clock on the wall

// Window is a span of hours on days of the week in one time zone, such as working hours. The zero value is never open.
// Values are immutable and may be shared.
//
// A window is open whenever the clock on the wall in its zone shows a time inside it: from its first minute, up to and not
// including its last. On the day when clocks go forward a window that lies wholly in the skipped hour does not open; on the
// day when they go back a time that comes twice counts twice. So correction never happens at an hour that a person there
// would read as outside the window.
type Window struct {
	text  string
	days  [7]bool // by time.Weekday: the days on which it begins
	start int     // minute of the day, 0..1439
	end   int     // minute of the day, 1..1440; not after start means that it ends on the next day
	zone  *time.Location
}

// ParseWindow reads "DAYS HH:MM-HH:MM ZONE".
//
// DAYS is "daily", or a list of days and ranges of days: "Mon-Fri", "Mon,Wed", "Fri-Mon" (over the weekend). Names are
// English, short or long, in any case. An end that is not after the start lies on the next day and the window belongs to
// the day on which it begins: "Fri 22:00-06:00 UTC" is open on Saturday at five. A whole day is 00:00-24:00. ZONE is a name of the
// IANA database or UTC, and is required: hours without a zone would mean those of whichever machine reads the file.
func ParseWindow(s string) (Window, error) {
	const form = `write days, hours and a time zone, such as "Mon-Fri 08:00-18:00 Europe/Berlin" or "daily 22:00-06:00 UTC"`
	fields := strings.Fields(s)
	if len(fields) == 2 && strings.Contains(fields[1], ":") {
		return Window{}, fmt.Errorf("window %q has no time zone: add one, such as UTC or Europe/Berlin", s)
	}
	if len(fields) != 3 {
		return Window{}, fmt.Errorf("window %q is not understood: %s", s, form)
	}
	w := Window{text: strings.Join(fields, " ")}
	var err error
	if w.days, err = parseDays(fields[0]); err != nil {
		return Window{}, fmt.Errorf("window %q: %w", s, err)
	}
	from, to, ok := strings.Cut(fields[1], "-")
	if !ok {
		return Window{}, fmt.Errorf("window %q: %q is not a span of hours: write it as 08:00-18:00", s, fields[1])
	}
	if w.start, err = parseClock(from); err != nil {
		return Window{}, fmt.Errorf("window %q: %w", s, err)
	}
	if w.end, err = parseClock(to); err != nil {
		return Window{}, fmt.Errorf("window %q: %w", s, err)
	}
	switch {
	case w.start == w.end:
		return Window{}, fmt.Errorf("window %q begins and ends at the same time: for a whole day write 00:00-24:00", s)
	case w.start == day:
		return Window{}, fmt.Errorf("window %q: 24:00 can only be an end; a window that begins at midnight begins at 00:00", s)
	case w.end == 0:
		w.end = day
	}
	if w.zone, err = loadZone(fields[2]); err != nil {
		return Window{}, fmt.Errorf("window %q: %w", s, err)
	}
	return w, nil
}

// Contains reports whether the window is open at t.
func (w Window) Contains(t time.Time) bool {
	if w.zone == nil {
		return false
	}
	t = t.In(w.zone)
	clock := t.Hour()*60 + t.Minute()
	today := t.Weekday()
	if w.start < w.end {
		return w.days[today] && clock >= w.start && clock < w.end
	}
	yesterday := (today + 6) % 7
	return w.days[today] && clock >= w.start || w.days[yesterday] && clock < w.end
}

// NextOpen returns the first instant, not before t, at which the window is open, in the window's zone: t itself if it is
// open now. It is false only for the zero Window.
func (w Window) NextOpen(t time.Time) (time.Time, bool) {
	if w.zone == nil {
		return time.Time{}, false
	}
	// Walking over the minutes is exact through every change of the clocks, which arithmetic on hours is not. A window of
	// one hour a week that the clocks skip is open again the week after, hence the bound; at worst it costs milliseconds.
	next := t.In(w.zone)
	for range 15 * day {
		if w.Contains(next) {
			return next, true
		}
		next = next.Truncate(time.Minute).Add(time.Minute)
	}
	return time.Time{}, false
}

// String returns the window as it was written, with single spaces.
func (w Window) String() string { return w.text }

func parseDays(s string) ([7]bool, error) {
	var days [7]bool
	if strings.EqualFold(s, "daily") {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := parseDay(from)
		if err != nil {
			return days, err
		}
		last := first
		if isRange {
			if last, err = parseDay(to); err != nil {
				return days, err
			}
		}
		for d := first; ; d = (d + 1) % 7 {
			days[d] = true
			if d == last {
				break
			}
		}
	}
	return days, nil
}

func parseDay(s string) (time.Weekday, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := d.String(); strings.EqualFold(s, name) || strings.EqualFold(s, name[:3]) {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is not a day: write Mon, Tue, Wed, Thu, Fri, Sat, Sun, or daily", s)
}

// parseClock reads HH:MM, 00:00 to 24:00, as minutes of the day.
func parseClock(s string) (int, error) {
	wrong := fmt.Errorf("%q is not a time of day: write it as 08:00, from 00:00 to 24:00", s)
	if s == "24:00" {
		return day, nil
	}
	if len(s) != len("08:00") {
		return 0, wrong
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, wrong
	}
	return t.Hour()*60 + t.Minute(), nil
}
