package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/schedule"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEvery(t *testing.T) {
	for _, c := range []struct{ in, after, want string }{
		{"1m", "2027-01-01T00:00:30Z", "2027-01-01T00:01:30Z"},
		{"15m", "2027-01-01T00:00:00Z", "2027-01-01T00:15:00Z"},
		{" 1h30m ", "2027-01-01T00:00:00+02:00", "2026-12-31T23:30:00Z"},
		{"1d", "2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"},
		{"1d12h", "2027-01-01T00:00:00Z", "2027-01-02T12:00:00Z"},
		{"366d", "2027-01-01T00:00:00Z", "2028-01-02T00:00:00Z"},
		{"*/15 * * * *", "2027-01-01T00:00:00Z", "2027-01-01T00:15:00Z"},
		{"0 6 * * Mon-Fri", "2027-01-01T07:00:00Z", "2027-01-04T06:00:00Z"}, // a Friday
		{"0 6 * * *", "2027-01-01T07:30:00+05:00", "2027-01-01T06:00:00Z"},  // UTC, whatever zone is asked in
		{"0 6 * * * Europe/Berlin", "2027-01-01T00:00:00Z", "2027-01-01T05:00:00Z"},
		{"0 6 * * * Europe/Berlin", "2027-07-01T00:00:00Z", "2027-07-01T04:00:00Z"},
		// Clocks in Berlin went from 02:00 to 03:00 on 28 March 2027: 02:30 did not happen that day.
		{"30 2 * * * Europe/Berlin", "2027-03-27T12:00:00Z", "2027-03-29T00:30:00Z"},
		// They went from 03:00 back to 02:00 on 31 October 2027: 02:30 happens twice.
		{"30 2 * * * Europe/Berlin", "2027-10-30T12:00:00Z", "2027-10-31T00:30:00Z"},
		{"30 2 * * * Europe/Berlin", "2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"},
		{"30 2 * * * Europe/Berlin", "2027-10-31T01:30:00Z", "2027-11-01T01:30:00Z"},
		{"0 0 29 2 *", "2027-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		e, err := schedule.ParseEvery(c.in)
		if err != nil {
			t.Errorf("ParseEvery(%q): %v", c.in, err)
			continue
		}
		got, ok := e.Next(at(t, c.after))
		if !ok || got.Format(time.RFC3339) != c.want {
			t.Errorf("%q after %s: got %s, %v; want %s", c.in, c.after, got.Format(time.RFC3339), ok, c.want)
		}
		if e.Off() || e.String() != strings.TrimSpace(c.in) {
			t.Errorf("%q: Off %v, String %q", c.in, e.Off(), e.String())
		}
	}
}

func TestEveryOff(t *testing.T) {
	off, err := schedule.ParseEvery("off")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []schedule.Every{off, {}} {
		if next, ok := e.Next(at(t, "2027-01-01T00:00:00Z")); ok || !e.Off() || e.String() != "off" {
			t.Errorf("off: next %v %v, Off %v, String %q", next, ok, e.Off(), e.String())
		}
	}
}

func TestEveryErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "is empty",
		"   ":                        "is empty",
		"never":                      "not an interval",
		"15":                         "not an interval",
		"xd":                         "not an interval",
		"1d-":                        "not an interval",
		"-5m":                        "too short",
		"1d-23h59m30s":               "too short",
		"59s":                        "shortest interval is 1m",
		"0":                          "too short",
		"0d":                         "too short",
		"367d":                       "too long",
		"65535d2000000h":             "too long",
		"2562047h":                   "too long",
		"99999999999999999d":         "not an interval",
		"9999999999999999h":          "not an interval",
		"@hourly":                    "five fields",
		"@every 1h":                  "five fields",
		"TZ=":                        "not an interval",
		"TZ=UTC":                     "not an interval",
		"TZ=UTC 0 6 * * *":           "time zone at the end",
		"CRON_TZ=UTC 0 6 * * *":      "time zone at the end",
		"* * *":                      "has 3 fields",
		"0 0 * * * * UTC":            "has 7 fields",
		"61 * * * *":                 "61",
		"0 0 30 2 *":                 "never happens",
		"0 6 * * * Mars/Olympus":     `unknown time zone "Mars/Olympus"`,
		"0 6 * * * Local":            "every machine",
		"0 6 * * * ../../etc/passwd": "unknown time zone",
		"* * * * Mon-":               "Mon-",
	} {
		e, err := schedule.ParseEvery(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseEvery(%q) = %v, error %v; want an error with %q", in, e, err, want)
		}
	}
}

func TestWindowContains(t *testing.T) {
	for _, c := range []struct {
		window, at string
		want       bool
	}{
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-04T07:00:00Z", true}, // Monday 08:00 in Berlin
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-04T06:59:59Z", false},
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-04T16:59:59Z", true},
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-04T17:00:00Z", false}, // the end is outside
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-07-05T06:00:00Z", true},  // summer
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-07-05T16:00:00Z", false},
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-03T12:00:00Z", false}, // Sunday
		{"Mon-Fri 08:00-18:00 Asia/Tokyo", "2027-01-03T23:00:00Z", true},     // already Monday there
		{"Mon,Wed 22:00-06:00 UTC", "2027-01-04T22:00:00Z", true},
		{"Mon,Wed 22:00-06:00 UTC", "2027-01-05T05:59:00Z", true}, // Tuesday morning belongs to Monday's window
		{"Mon,Wed 22:00-06:00 UTC", "2027-01-05T06:00:00Z", false},
		{"Mon,Wed 22:00-06:00 UTC", "2027-01-05T23:00:00Z", false},
		{"Mon,Wed 22:00-06:00 UTC", "2027-01-04T05:00:00Z", false}, // Sunday's would be
		{"Sun 22:00-06:00 UTC", "2027-01-04T05:00:00Z", true},      // over the end of the week
		{"Fri-Mon 00:00-24:00 UTC", "2027-01-03T23:59:59Z", true},
		{"Fri-Mon 00:00-24:00 UTC", "2027-01-05T00:00:00Z", false},
		{"daily 12:00-00:00 UTC", "2027-01-05T23:59:00Z", true},
		{"daily 12:00-00:00 UTC", "2027-01-06T00:00:00Z", false},
		{"DAILY 00:00-24:00 UTC", "2027-01-06T00:00:00Z", true},
		{"monday,TUESDAY 10:00-11:00 UTC", "2027-01-05T10:30:00Z", true},
		// 28 March 2027, Berlin: 02:00 becomes 03:00 at 01:00 UTC.
		{"Sun 01:00-02:30 Europe/Berlin", "2027-03-28T00:59:00Z", true},
		{"Sun 01:00-02:30 Europe/Berlin", "2027-03-28T01:00:00Z", false},
		{"Sun 02:30-05:00 Europe/Berlin", "2027-03-28T01:00:00Z", true}, // 03:00
		{"Sun 02:00-03:00 Europe/Berlin", "2027-03-28T01:00:00Z", false},
		// 31 October 2027, Berlin: 03:00 becomes 02:00 at 01:00 UTC; 02:30 comes at 00:30 and at 01:30 UTC.
		{"Sun 02:15-02:45 Europe/Berlin", "2027-10-31T00:30:00Z", true},
		{"Sun 02:15-02:45 Europe/Berlin", "2027-10-31T01:30:00Z", true},
		{"Sun 02:15-02:45 Europe/Berlin", "2027-10-31T01:00:00Z", false},
		{"Sat 22:00-02:30 Europe/Berlin", "2027-10-31T01:29:00Z", true},
		{"Sat 22:00-02:30 Europe/Berlin", "2027-10-31T01:30:00Z", false},
	} {
		w, err := schedule.ParseWindow(c.window)
		if err != nil {
			t.Errorf("ParseWindow(%q): %v", c.window, err)
			continue
		}
		if got := w.Contains(at(t, c.at)); got != c.want {
			t.Errorf("%q at %s (%s): got %v, want %v", c.window, c.at, at(t, c.at).Weekday(), got, c.want)
		}
	}
}

func TestWindowNextOpen(t *testing.T) {
	for _, c := range []struct{ window, from, want string }{
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-04T08:13:14Z", "2027-01-04T09:13:14+01:00"}, // open now
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-01T17:00:00Z", "2027-01-04T08:00:00+01:00"}, // over the weekend
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2027-01-04T06:59:59Z", "2027-01-04T08:00:00+01:00"},
		{"Mon-Fri 08:00-18:00 Asia/Kolkata", "2027-01-04T00:00:00Z", "2027-01-04T08:00:00+05:30"},
		{"Sun 02:30-05:00 Europe/Berlin", "2027-03-28T00:30:00Z", "2027-03-28T03:00:00+02:00"}, // its start is skipped
		{"Sun 02:00-03:00 Europe/Berlin", "2027-03-27T12:00:00Z", "2027-04-04T02:00:00+02:00"}, // all of it is skipped
		{"Sun 02:00-03:00 Europe/Berlin", "2027-03-21T02:00:00Z", "2027-04-04T02:00:00+02:00"}, // a fortnight
		{"Mon 08:00-18:00 Europe/Berlin", "2027-10-30T00:00:00Z", "2027-11-01T08:00:00+01:00"}, // clocks change on the way
	} {
		w, err := schedule.ParseWindow(c.window)
		if err != nil {
			t.Fatalf("ParseWindow(%q): %v", c.window, err)
		}
		got, ok := w.NextOpen(at(t, c.from))
		if !ok || got.Format(time.RFC3339) != c.want {
			t.Errorf("%q from %s: got %s, %v; want %s", c.window, c.from, got.Format(time.RFC3339), ok, c.want)
		}
	}
	if next, ok := (schedule.Window{}).NextOpen(at(t, "2027-01-01T00:00:00Z")); ok || (schedule.Window{}).Contains(next) {
		t.Errorf("the zero window opens at %s", next)
	}
}

func TestWindowErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "not understood",
		"Mon-Fri":                          "not understood",
		"Mon-Fri 08:00-18:00":              "no time zone",
		"08:00-18:00 Europe/Berlin":        "not understood",
		"Mon - Fri 08:00-18:00 UTC":        "not understood",
		"Mo-Fr 08:00-18:00 UTC":            `"Mo" is not a day`,
		"Mon, 08:00-18:00 UTC":             `"" is not a day`,
		"Mon-Fri-Sun 08:00-18:00 UTC":      `"Fri-Sun" is not a day`,
		"Mon-Fri 8:00-18:00 UTC":           `"8:00" is not a time of day`,
		"Mon-Fri 08:00-25:00 UTC":          `"25:00" is not a time of day`,
		"Mon-Fri 08:00-18:60 UTC":          `"18:60" is not a time of day`,
		"Mon-Fri 0800 UTC":                 "not a span of hours",
		"Mon-Fri 08:00-08:00 UTC":          "write 00:00-24:00",
		"Mon-Fri 24:00-06:00 UTC":          "24:00 can only be an end",
		"Mon-Fri 08:00-18:00 Europe/Berln": `unknown time zone "Europe/Berln"`,
		"Mon-Fri 08:00-18:00 Local":        "every machine",
	} {
		w, err := schedule.ParseWindow(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseWindow(%q) = %v, error %v; want an error with %q", in, w, err, want)
		}
	}
}

func TestWindowString(t *testing.T) {
	w, err := schedule.ParseWindow("  Mon-Fri   08:00-18:00\tEurope/Berlin ")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.String(), "Mon-Fri 08:00-18:00 Europe/Berlin"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"15m", "1d12h", "0 6 * * * UTC", "off", "TZ=", "Mon,Wed 22:00-06:00 UTC", "daily 00:00-24:00 UTC"} {
		f.Add(s)
	}
	from := time.Date(2027, 3, 28, 0, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := schedule.ParseEvery(s); err == nil {
			if next, ok := e.Next(from); ok && !next.After(from) {
				t.Errorf("%q: next is %s, not after %s", s, next, from)
			}
		}
		if w, err := schedule.ParseWindow(s); err == nil {
			if next, ok := w.NextOpen(from); !ok || next.Before(from) || !w.Contains(next) {
				t.Errorf("%q: next open %s, %v", s, next, ok)
			}
		}
	})
}
