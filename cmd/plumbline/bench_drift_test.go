package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
)

// BenchmarkSweep compares a drift sweep of a server over 500 workspaces that are clean, with a real provider, with the
// loop that says no more than "no changes", on directories that are warm:
//
//	xargs -P$(nproc) sh -c 'terraform plan'
//
// Each iteration times the two in turn. What counts is sweep/loop, the ratio of the medians: at most 1.15 is wanted.
func BenchmarkSweep(b *testing.B) {
	n := sized(b, "PLUMBLINE_BENCH_WORKSPACES", 500)
	binary := buildPlumbline(b)
	s := startServing(b, binary, n, "drift: { every: off, share: 1, starts_per_minute: 0, starts_per_minute_of_all: 0 }")
	loop := newLoop(b, s)
	loop.write(b, s.files(n, 1))
	loop.plan(b)
	pull := s.world.Open(b, world.Alice, "one", s.files(n, 1))
	s.awaitPlan(b, pull, n)
	pull.Merge(b, forge.Squash)
	s.world.AwaitStatus(b, pull.Merged, "plumbline", forge.Success)
	loop.apply(b)
	sweep := func() time.Duration {
		start := time.Now()
		s.run(b, append([]string{"drift", "--config", s.config, "--wait", "30m"}, s.names(n)...)...)
		return time.Since(start)
	}
	sweep() // the first look comes right after an apply and has a meaning of its own
	var ours, theirs []time.Duration
	for b.Loop() {
		theirs = append(theirs, loop.warmPlan(b))
		ours = append(ours, sweep())
	}
	s.stop(b)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours).Seconds(), "sweep-s")
	b.ReportMetric(median(theirs).Seconds(), "loop-s")
	b.ReportMetric(median(ours).Seconds()/median(theirs).Seconds(), "sweep/loop")
}

// BenchmarkIdle measures what a server costs that knows 10,000 workspaces and has nothing to do: the memory it holds
// (at most 150 MB is wanted), the most it held since it started, and its share of a core over a minute (at most 1 %).
func BenchmarkIdle(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Fatal("what a process costs is read from /proc, which only Linux has")
	}
	const n, minute = 10_000, time.Minute
	s := startServing(b, buildPlumbline(b), n, "drift: { every: 365d }")
	time.Sleep(10 * time.Second) // what follows from the first sight of the branch
	var spent time.Duration
	for b.Loop() {
		before := s.processorTime(b)
		time.Sleep(minute)
		spent += s.processorTime(b) - before
	}
	held, most := s.memory(b, "VmRSS"), s.memory(b, "VmHWM")
	s.stop(b)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(held, "idle-MB")
	b.ReportMetric(most, "most-MB")
	b.ReportMetric(100*spent.Seconds()/(minute.Seconds()*float64(b.N)), "%core")
}

// memory reads one of the server's figures from /proc, in MB.
func (s *serving) memory(b *testing.B, name string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == name+":" {
			kb, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb / 1024
		}
	}
	b.Fatalf("/proc says nothing of %s", name)
	return 0
}

// processorTime is what the server has used so far, without the programs that it started.
func (s *serving) processorTime(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, i := range []int{11, 12} { // utime and stime, counted from the field after the name
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs
}
