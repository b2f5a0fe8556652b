package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
)

// BenchmarkCrowd opens 200 pull requests at once, each of which changes five workspaces of its own, and compares the time
// until the last one has its comment with the loop over the same plans. What counts are crowd/loop (at most 1.1 is wanted);
// last/fair, how late the last comment of a pull request is against twice the time that its share of the work takes when
// all get the same (at most 1); and the most memory that the server held.
func BenchmarkCrowd(b *testing.B) {
	pulls, each := sized(b, "PLUMBLINE_BENCH_PULLS", 200), 5
	binary := buildPlumbline(b)
	var ours, theirs []time.Duration
	var late, most float64
	for b.Loop() {
		s := startServing(b, binary, pulls*each, "drift: { every: off }")
		loop := newLoop(b, s)
		after := s.files(pulls*each, 1)
		loop.write(b, after)
		theirs = append(theirs, loop.plan(b))

		names := s.names(pulls * each)
		opened := make([]*world.Pull, pulls)
		for i := range opened {
			files := map[string]string{}
			for _, name := range names[i*each : (i+1)*each] {
				files[name+"/main.tf"] = after[name+"/main.tf"]
			}
			branch := fmt.Sprint("p", i)
			head := s.world.Forge.Commit(b, s.world.Repo, branch, "main", files)
			opened[i] = &world.Pull{World: s.world, Author: world.Alice, Branch: branch, Head: head}
		}
		start := time.Now()
		for _, p := range opened {
			p.Number = s.world.Forge.Open(b, s.world.Repo, p.Author, p.Branch, "main", "Change "+p.Branch, false)
		}
		var done []time.Duration
		for _, pull := range opened {
			s.awaitPlan(b, pull, each)
			done = append(done, time.Since(start))
		}
		ours = append(ours, slices.Max(done))
		late = max(late, slices.Max(done).Seconds()/(2*theirs[len(theirs)-1].Seconds()))
		most = max(most, s.memory(b, "VmHWM"))
		s.stop(b)
	}
	b.ReportMetric(0, "ns/op")
	compare(b, "crowd", ours, theirs)
	b.ReportMetric(late, "last/fair")
	b.ReportMetric(most, "most-MB")
}

// BenchmarkRaces has 50 servers in turn plan 30 workspaces each with a cache of providers that is empty. What counts is how
// many plans fail: none may.
func BenchmarkRaces(b *testing.B) {
	rounds := sized(b, "PLUMBLINE_BENCH_ROUNDS", 50)
	binary := buildPlumbline(b)
	failed := 0
	for b.Loop() {
		for range rounds {
			const n = 30
			s := startServing(b, binary, n, "drift: { every: off }")
			pull := s.world.Open(b, world.Alice, "one", s.files(n, 1))
			s.world.Await(b, "the final comment", func() bool {
				for _, c := range pull.Ours(b) {
					if !strings.Contains(c.Body, "kind=plan") || strings.Contains(c.Body, "planning") {
						continue
					}
					if strings.Contains(c.Body, fmt.Sprintf("**Plan: %d to ", 3*n)) {
						return true
					}
					if strings.Contains(c.Body, "failed") {
						failed++
						return true
					}
				}
				return false
			}, func() string { return "" })
			s.stop(b)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(rounds*b.N), "rounds")
	b.ReportMetric(float64(failed), "failed-rounds")
}

// sized is how large a benchmark is, unless a variable says another number: a quick look need not take an hour.
func sized(b *testing.B, variable string, usual int) int {
	b.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%s is no number of anything", variable, text)
	}
	return n
}
