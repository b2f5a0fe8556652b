package drift_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
)

func TestFight(t *testing.T) {
	t.Parallel()
	at := func(hours ...int) (times []time.Time) {
		for _, h := range hours {
			times = append(times, now.Add(time.Duration(h)*time.Hour))
		}
		return times
	}
	three := drift.Fight{After: 3, Within: 24 * time.Hour}
	for _, c := range []struct {
		name      string
		fight     drift.Fight
		corrected []time.Time
		want      string
	}{
		{"never corrected", three, nil, ""},
		{"twice", three, at(-2, -1), ""},
		{"three times", three, at(-1, -3, -2), "3 times since 2027-03-01 09:00 UTC"},
		{"three times, one of them long ago", three, at(-24, -2, -1), ""},
		{"three times, one of them almost long ago", three, at(-23, -2, -1), "3 times"},
		{"the clock was set back", three, at(100, 101, 102), "3 times"},
		{"the clock jumped ahead", three, at(-10000, -9999, -9998), ""},
		{"fights do not count", drift.Fight{}, at(-1, -1, -1, -1), ""},
		{"once is enough", drift.Fight{After: 1, Within: time.Hour}, at(0), "once"},
	} {
		got := c.fight.Stops(c.corrected, now)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want it to hold %q", c.name, got, c.want)
		}
	}
}

// TestStoppedAndPaused: what is fought over waits for a person and takes along what hangs on it; a pause holds all.
func TestStoppedAndPaused(t *testing.T) {
	t.Parallel()
	e := corpusCase(t, "cluster deleted with its nodes")
	found := drift.Find(e.input(t))
	policy := everything
	policy.Stopped = map[string]string{found[0].Key: "it is fought over"}
	for _, j := range drift.Decide(found, policy, now).Findings {
		if j.Allowed || !strings.Contains(j.Reason, "it is fought over") {
			t.Errorf("%s: allowed %v, because %s", j.Address, j.Allowed, j.Reason)
		}
	}
	policy = everything
	policy.Paused = "corrections are paused"
	for _, j := range drift.Decide(found, policy, now).Findings {
		if j.Allowed || j.Reason != policy.Paused {
			t.Errorf("%s: allowed %v, because %s", j.Address, j.Allowed, j.Reason)
		}
	}
}

// TestAheadKeepsItsInput: findings are used again for the look after a correction.
func TestAheadKeepsItsInput(t *testing.T) {
	t.Parallel()
	newer := []drift.Finding{{
		Address: "a.b", Actions: []string{"update"}, Cause: drift.CauseOutside,
		Attributes: []drift.Attribute{{Path: "x", After: "1", Cause: drift.CauseOutside}, {Path: "y", After: "2", Cause: drift.CauseOutside}},
	}}
	applied := []drift.Finding{{Address: "a.b", Actions: []string{"update"}, Attributes: []drift.Attribute{{Path: "x", After: "1"}}}}
	for range 2 {
		here, ahead := drift.Ahead(applied, newer, "0123456789abcdef")
		if len(here) != 1 || len(ahead) != 1 || len(ahead[0].Attributes) != 1 || ahead[0].Attributes[0].Path != "y" || ahead[0].Cause != drift.CauseUnapplied ||
			!strings.Contains(ahead[0].Detail, "0123456789ab ") || ahead[0].Key != "a.b ahead update y" {
			t.Errorf("got %+v and %+v", here, ahead)
		}
	}
}

func corpusCase(t *testing.T, name string) recording {
	t.Helper()
	for _, e := range corpus() {
		if e.name == name {
			return load(t, name)
		}
	}
	t.Fatalf("the corpus has no case %q", name)
	return recording{}
}
