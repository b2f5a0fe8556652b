package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/runner"
)

// TestProgressOnATerminal holds the redrawn lines to what they are for: what
// runs and for how long, what waits, what has ended and how.
func TestProgressOnATerminal(t *testing.T) {
	var out strings.Builder
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := &progress{out: &out, live: true, rows: map[string]*progressRow{}, start: start, width: func() int { return 60 }}
	step := func(workspace string, phase runner.Phase, after time.Duration, result *runner.Result) {
		g.observe(runner.Event{Workspace: workspace, Phase: phase, At: start.Add(after), Result: result})
	}
	step("network", runner.PhaseWaiting, 0, nil)
	step("cluster", runner.PhaseWaiting, 0, nil)
	step("a\x1b[31mb", runner.PhaseWaiting, 0, nil)
	step("network", runner.PhasePlan, time.Second, nil)
	g.draw(start.Add(3 * time.Second))
	for _, want := range []string{"planning", "network", "2.0 s", "0 of 3 done, 1 running, 2 waiting, 3.0 s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the lines do not say %q:\n%q", want, out.String())
		}
	}

	out.Reset()
	step("network", runner.PhaseDone, 4*time.Second, &runner.Result{
		Status: runner.Failed, Elapsed: 3 * time.Second,
		Err: errors.New("terraform plan failed with status 1:\n\nError: no such thing, said at a length that does not fit"),
	})
	step("a\x1b[31mb", runner.PhaseApply, 5*time.Second, nil)
	g.draw(start.Add(6 * time.Second))
	text := out.String()
	if !strings.Contains(text, "network: failed: Error: no such thing") {
		t.Errorf("how it ended is not said:\n%q", text)
	}
	if strings.Contains(text, "\x1b[31m") {
		t.Errorf("a name reached the terminal's controls:\n%q", text)
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.NewReplacer("\x1b[2K", "", "\x1b[0J", "", "\r", "").Replace(line)
		if n := len([]rune(line)); n > 60 && !strings.Contains(line, "\x1b[") {
			t.Errorf("a line of %d columns would wrap, and be drawn again in the wrong place: %q", n, line)
		}
	}
	out.Reset()
	g.erase()
	if !strings.HasPrefix(out.String(), "\x1b[2A") {
		t.Errorf("two lines were drawn, and %q erases them", out.String())
	}
}

// TestProgressElsewhere: plain lines where nobody redraws.
func TestProgressElsewhere(t *testing.T) {
	var out strings.Builder
	g := &progress{out: &out, rows: map[string]*progressRow{}, width: func() int { return 80 }}
	now := time.Now()
	for _, phase := range []runner.Phase{runner.PhaseWaiting, runner.PhaseInit, runner.PhasePlan, runner.PhaseApply} {
		g.observe(runner.Event{Workspace: "network", Phase: phase, At: now})
	}
	g.observe(runner.Event{Workspace: "network", Phase: runner.PhaseDone, At: now, Result: &runner.Result{Status: runner.Unchanged}})
	if got, want := out.String(), "network: applying\n[1/1] network: no changes\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	g.end()
}
