package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/runner"
)

// phaseTimes is how long a run spends in each phase. The phases of package runner are those in which Terraform runs.
type phaseTimes struct {
	parent string // the run's span

	mu        sync.Mutex
	phase     runner.Phase
	since     time.Time
	terraform time.Duration
}

// note ends one phase and begins the next.
func (p *phaseTimes) note(tracer *telemetry.Tracer, ev runner.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.phase {
	case runner.PhaseInit, runner.PhasePlan, runner.PhaseApply, runner.PhaseVerify:
		p.terraform += max(0, ev.At.Sub(p.since))
		tracer.Record(tracer.WithParent(context.Background(), p.parent), "terraform "+string(p.phase), p.since, ev.At)
	}
	p.phase, p.since = ev.Phase, ev.At
}

func (p *phaseTimes) total() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.terraform
}

// traceOperation makes a span of an operation that is over.
func (e *Engine) traceOperation(ctx context.Context, op Operation) {
	e.Tracer.Record(ctx, "operation", op.CreatedAt, op.EndedAt, slog.String("operation", op.ID), slog.String("repository", string(op.Repository)),
		slog.Int("change", op.Change), slog.String("kind", string(op.Kind)), slog.String("cause", string(op.Cause)), slog.String("status", string(op.Status)))
}
