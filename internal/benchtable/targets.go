package main

import (
	"fmt"
	"strings"
)

// target is what a figure is to be.
type target struct {
	what      string
	benchmark string // without "Benchmark"
	unit      string
	scale     float64 // of the figure to what is told of it; 0 = 1
	most      float64
	least     float64 // the bound where it is not 0; else most is
}

func (t target) holds(v float64) bool {
	if t.least != 0 {
		return v >= t.least
	}
	return v <= t.most
}

func (t target) bound() string {
	if t.least != 0 {
		return "≥ " + number(t.least)
	}
	return "≤ " + number(t.most)
}

// beside is what a ratio is made of: the time of ours, that of what it is compared with, and the least and the most ratio of
// single pairs, which is how noisy the machine was.
func (t target) beside(m measured) string {
	what, isRatio := strings.CutSuffix(t.unit, "/loop")
	if !isRatio {
		return "\t\t"
	}
	pairs := ""
	if least, known := m[t.unit+"-least"]; known {
		pairs = number(least) + "–" + number(m[t.unit+"-most"])
	}
	return fmt.Sprintf("%s s\t%s s\t%s", number(m[what+"-s"]), number(m[what+"-loop-s"]), pairs)
}

// targets are all that is promised of speed and size.
var targets = func() []target {
	all := []target{
		{what: "workspaces of 5,000 roots, cold, against git", benchmark: "DiscoverCold", unit: "×git", most: 2},
		{what: "the same after a change, ms", benchmark: "DiscoverAgain", unit: "ms/discover", most: 100},
		{what: "which of them a change touches, ms", benchmark: "Affected", unit: "ms/affected", most: 150},
		{what: "a plan of 10 MB as a comment, ms", benchmark: "Render10MB", unit: "ns/op", scale: 1e-6, most: 300},
		{what: "the same, MB", benchmark: "Render10MB", unit: "peak-MB", most: 100},
		{what: "plan --all, 40 workspaces, first", benchmark: "PlanAll", unit: "first/loop", most: 1.3},
		{what: "plan --all, 40 workspaces, again", benchmark: "PlanAll", unit: "second/loop", most: 1},
	}
	for _, n := range []int{1, 10, 30, 100} {
		first, next, sweep := 1.15, 0.8, 0.8
		if n == 1 {
			first, next, sweep = 1.6, 1.3, 1.2
		}
		benchmark := fmt.Sprintf("Serve/workspaces=%d", n)
		all = append(all,
			target{what: fmt.Sprintf("first push, %d workspaces", n), benchmark: benchmark, unit: "first/loop", most: first},
			target{what: fmt.Sprintf("next push, %d workspaces", n), benchmark: benchmark, unit: "next/loop", most: next},
			target{what: fmt.Sprintf("clean sweep, %d workspaces", n), benchmark: benchmark, unit: "sweep/loop", most: sweep},
		)
	}
	return append(all,
		target{what: "clean sweep, 500 workspaces, warm plans", benchmark: "Sweep", unit: "sweep/loop", most: 1.15},
		target{what: "empty cache, 30 workspaces: rounds that fail", benchmark: "Races", unit: "failed-rounds", most: 0},
		target{what: "push to 1 of 5,000 workspaces", benchmark: "Monorepo", unit: "push/loop", most: 1.3},
		target{what: "disk for an open pull request, kB", benchmark: "Monorepo", unit: "kB/pull", most: 1000},
		target{what: "a push while plans run, against when none do", benchmark: "Supersede", unit: "late/loop", most: 1},
		target{what: "merge to first resource, later by ms", benchmark: "Merge", unit: "later-ms", most: 150},
		target{what: "200 pull requests at once", benchmark: "Crowd", unit: "crowd/loop", most: 1.1},
		target{what: "the last of them, of twice its fair share", benchmark: "Crowd", unit: "last/fair", most: 1},
		target{what: "idle, 10,000 workspaces, % of a core", benchmark: "Idle", unit: "%core", most: 1},
		target{what: "idle, 10,000 workspaces, MB", benchmark: "Idle", unit: "idle-MB", most: 150},
		target{what: "plans to S3, against the bare SDK", benchmark: "S3", unit: "put/bare", most: 1.2},
		target{what: "plans from S3, against the bare SDK", benchmark: "S3", unit: "get/bare", most: 1.2},
		target{what: "sealing alone, MB/s on a core", benchmark: "Seal/stream", unit: "MB/s/core", least: 500},
		target{what: "10,000 plans verified, s", benchmark: "Verify10000", unit: "ns/op", scale: 1e-9, most: 10},
		target{what: "page of 10,000 workspaces, ms of the server", benchmark: "FirstPaint", unit: "answer-ms", most: 300},
		target{what: "the same, ms to the first paint", benchmark: "FirstPaint", unit: "paint-ms", most: 1500},
		target{what: "10,000 workspaces by the API, against the query", benchmark: "APIWorkspaces", unit: "list/query", most: 2},
		target{what: "500 who watch one run, cores", benchmark: "Watchers", unit: "cores", most: 1},
		target{what: "a plan whose output is shown, % slower", benchmark: "ShownPlan", unit: "%-slower", most: 5},
		target{what: "a simulated day: longest gap, in intervals", benchmark: "Day", unit: "intervals-at-worst", most: 1.5},
	)
}()
