package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
)

// BenchmarkServe compares what people wait for, with the stand-in for GitHub and a real provider, with the loop that it
// replaces:
//
//	xargs -P$(nproc) sh -c 'terraform init && terraform plan -out'
//
// Each iteration has a new server and times, in turn and each beside its loop: the first push of a pull request that
// changes every workspace, from its webhook to the final comment; the next push of it; and, once it is merged and applied, a
// drift sweep over all workspaces. What counts are the ratios of the medians.
func BenchmarkServe(b *testing.B) {
	for _, n := range []int{1, 10, 30, 100} {
		b.Run(fmt.Sprintf("workspaces=%d", n), func(b *testing.B) { benchServe(b, n) })
	}
}

func benchServe(b *testing.B, n int) {
	binary := buildPlumbline(b)
	var first, next, sweep, loopFirst, loopNext, loopSweep []time.Duration
	for b.Loop() {
		s := startServing(b, binary, n, "drift: { every: off, share: 1, starts_per_minute: 0, starts_per_minute_of_all: 0 }")
		loop := newLoop(b, s)

		loop.write(b, s.files(n, 1))
		loopFirst = append(loopFirst, loop.plan(b))
		earlier := s.deliveries(b)
		pull := s.world.Open(b, world.Alice, "one", s.files(n, 1))
		s.awaitPlan(b, pull, n)
		first = append(first, s.sinceTold(b, earlier))

		loop.write(b, s.files(n, 2))
		loopNext = append(loopNext, loop.plan(b))
		earlier = s.deliveries(b)
		pull.Push(b, s.files(n, 2))
		s.awaitPlan(b, pull, n)
		next = append(next, s.sinceTold(b, earlier))

		pull.Merge(b, forge.Squash)
		s.world.AwaitStatus(b, pull.Merged, "plumbline", forge.Success)
		loop.apply(b)
		s.run(b, append([]string{"drift", "--config", s.config}, s.names(n)...)...) // the first look comes right after an apply and has a meaning of its own
		for range 3 {
			loopSweep = append(loopSweep, loop.plan(b))
			start := time.Now()
			s.run(b, append([]string{"drift", "--config", s.config}, s.names(n)...)...)
			sweep = append(sweep, time.Since(start))
		}
		s.stop(b)
	}
	b.ReportMetric(0, "ns/op")
	compare(b, "first", first, loopFirst)
	compare(b, "next", next, loopNext)
	compare(b, "sweep", sweep, loopSweep)
}
