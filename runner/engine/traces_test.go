package engine

import (
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/runner"
)

func TestPhaseTimes(t *testing.T) {
	t.Parallel()
	var p phaseTimes
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		phase runner.Phase
		after time.Duration
	}{
		{runner.PhaseWaiting, 0}, {runner.PhaseInit, 10 * time.Second}, {runner.PhasePlan, 13 * time.Second},
		{runner.PhaseApply, 18 * time.Second}, {runner.PhaseDone, 30 * time.Second}, {runner.PhaseDone, time.Hour},
	} {
		p.note(nil, runner.Event{Phase: step.phase, At: at.Add(step.after)})
	}
	if got := p.total(); got != 20*time.Second {
		t.Errorf("Terraform ran for %s, want 20 s: from init to the end", got)
	}
}
