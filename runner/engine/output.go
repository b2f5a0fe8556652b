package engine

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
)

// What runs print reaches people through rows, so that any process can show it and a killed one leaves what it had. The run
// does not wait for that: Terraform writes into memory, and one goroutine moves what came on, of all runs in one transaction.
// What is left at the end goes with the transaction that ends the run: whoever sees that a run has ended sees all that it
// printed.

// outputEvery is how often that is done.
const outputEvery = 300 * time.Millisecond

// Bounds of what is kept, in bytes of text.
const (
	outputAtOnce = 1 << 20  // of one run in one transaction
	outputMost   = 64 << 20 // of one run
	outputEnd    = 64 << 10 // of what is beyond that, the end is kept: errors stand there
	outputWaits  = 4 << 20  // of one run that the database has not taken; until it has, the rest stays as it was printed
	outputLast   = 1 << 18  // of one run that are written with its end
)

// outputPatience is how long the last of what a run printed may take on its way into rows, where it is more than goes with
// the end of the run.
const outputPatience = 20 * time.Second

// printed is what a run prints, on its way.
type printed struct {
	*runner.Output
	run, owner string
	plans      *planstore.Store

	mu   sync.Mutex
	next int64       // where the next piece begins
	rows []outputRow // not yet known to be in the database
	wait int64       // bytes of text in rows
	over int64       // bytes of text that were left out
	end  string      // of what was left out
	told bool        // that there is a limit
}

// outputs are those of all runs that this process works on.
type outputs struct {
	mu    sync.Mutex
	all   map[*printed]bool
	begun chan struct{} // holds one when there is something to take since
}

// none reports whether nothing prints.
func (o *outputs) none() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all) == 0
}

// forget leaves what a run prints to who ends it.
func (o *outputs) forget(p *printed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, p)
}

// printing begins to take in what a run prints.
func (t *task) printing(next int64) {
	t.printed = &printed{Output: runner.NewOutput(t.Secrets), run: t.run.ID, owner: t.run.Owner, plans: t.plans, next: next, told: next >= outputMost}
	if next > 0 {
		_, _ = fmt.Fprintf(t.printed, "\n[begun again: attempt %d]\n", t.run.Attempts)
	}
	t.outputs.mu.Lock()
	defer t.outputs.mu.Unlock()
	t.outputs.all[t.printed] = true
	select {
	case t.outputs.begun <- struct{}{}:
	default:
	}
}

// endPrinting takes the last of what a run has printed, and returns the rows that are to be written with its end.
func (t *task) endPrinting(ctx context.Context) []outputRow {
	p := t.printed
	if p == nil {
		return nil
	}
	t.outputs.forget(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outputPatience)
	defer cancel()
	for more := true; more; {
		more = p.pull(t.Engine, true)
		if p.wait < outputLast {
			continue
		}
		if err := t.keepOutput(ctx, p); err != nil {
			// What was done counts for more than what was printed meanwhile.
			t.log.Error("a part of what a run printed is lost", "run", p.run, "error", err)
			return nil
		}
	}
	if p.over > 0 {
		p.seal(t.Engine, fmt.Sprintf("[%d bytes are left out here]\n%s", p.over-int64(len(p.end)), p.end))
	}
	return p.rows
}

// pull takes what has come, and reports whether there is more.
func (p *printed) pull(e *Engine, last bool) (more bool) {
	text, more := p.Take(outputAtOnce, last)
	room := max(outputMost-p.next, 0)
	if p.told {
		room = 0
	}
	if int64(len(text)) <= room {
		p.seal(e, text)
		return more
	}
	fits := strings.LastIndexByte(text[:room], '\n') + 1
	p.over += int64(len(text) - fits)
	p.end += text[fits:]
	if cut := len(p.end) - outputEnd; cut > 0 {
		p.end = strings.ToValidUTF8(p.end[cut:], "")
		if _, lines, ok := strings.Cut(p.end, "\n"); ok {
			p.end = lines
		}
	}
	text = text[:fits]
	if !p.told {
		p.told = true
		text += fmt.Sprintf("\n[no more than %d MB of what a run prints is kept: of the rest, the end is shown once it has ended]\n", outputMost>>20)
	}
	p.seal(e, text)
	return more
}

// seal makes rows of a text.
func (p *printed) seal(e *Engine, text string) {
	rows, err := sealOutput(p.plans, p.run, p.next, text)
	if err != nil {
		e.log.Error("a part of what a run printed is lost", "run", p.run, "error", err)
		return
	}
	p.rows = append(p.rows, rows...)
	p.next += int64(len(text))
	p.wait += int64(len(text))
}

// outputUntil moves on what runs print, until ctx ends.
func (e *Engine) outputUntil(ctx context.Context) {
	waits := false
	for {
		if e.outputs.none() { // a server that is at rest is not woken
			select {
			case <-ctx.Done():
				return
			case <-e.outputs.begun:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(outputEvery):
		}
		err := e.moveOutput(ctx)
		if err != nil && !waits && ctx.Err() == nil {
			e.log.Warn("what runs print waits for the database", "error", err)
		}
		waits = err != nil
	}
}

// moveOutput moves on what has come since the last time.
func (e *Engine) moveOutput(ctx context.Context) error {
	e.outputs.mu.Lock()
	all := slices.Collect(maps.Keys(e.outputs.all))
	e.outputs.mu.Unlock()
	var some []*printed
	defer func() {
		for _, p := range some {
			p.mu.Unlock()
		}
	}()
	for _, p := range all {
		p.mu.Lock()
		if p.wait < outputWaits {
			p.pull(e, false)
		}
		if len(p.rows) == 0 {
			p.mu.Unlock()
			continue
		}
		some = append(some, p)
	}
	if len(some) == 0 {
		return nil
	}
	return e.keepOutput(ctx, some...)
}

// keepOutput writes the rows of some runs. Those of a run that another process has taken over are dropped.
func (e *Engine) keepOutput(ctx context.Context, all ...*printed) error {
	err := e.DB.Tx(ctx, func(tx *sql.Tx) error {
		for _, p := range all {
			if err := e.store.addOutput(ctx, tx, p.rows, p.owner); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range all {
		p.rows, p.wait = nil, 0
	}
	return nil
}

// brokenOff are the rows that say of a run whose process died that its output ends there.
func (t *task) brokenOff(ctx context.Context, tx *sql.Tx) ([]outputRow, error) {
	so, err := t.store.printedSoFar(ctx, tx, t.run.ID)
	if err != nil || so == 0 {
		return nil, err
	}
	return sealOutput(t.plans, t.run.ID, so, "\n[the server died here; what Terraform went on to print was not kept]\n")
}
