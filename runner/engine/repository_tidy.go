package engine

import (
	"context"
	"time"
)

// tidyUntil packs mirrors in which many fetches have piled up, until ctx ends.
// Fetches of a mirror wait meanwhile, so it is one mirror at a time.
func (e *Engine) tidyUntil(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, c := range e.opened() {
			if err := c.tidy(ctx); err != nil && ctx.Err() == nil {
				e.log.Warn("packing a mirror failed", "repository", c.id, "error", err)
			}
		}
	}
}

// opened lists the clones that this process has.
func (e *Engine) opened() []*clone {
	e.mu.Lock()
	g := e.clones
	e.mu.Unlock()
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	clones := make([]*clone, 0, len(g.clones))
	for _, c := range g.clones {
		clones = append(clones, c)
	}
	return clones
}

// closeClones ends the processes of Git that wait for more to read.
func (e *Engine) closeClones() {
	for _, c := range e.opened() {
		c.opened.close()
	}
}

// tidy packs the mirror if that is worth its while.
func (c *clone) tidy(ctx context.Context) error {
	c.mu.Lock()
	mirror := c.mirror
	c.mu.Unlock()
	if mirror == nil || !mirror.Untidy() {
		return nil
	}
	return mirror.Maintain(ctx)
}
