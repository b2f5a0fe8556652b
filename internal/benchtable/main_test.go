package main

import (
	"io"
	"strings"
	"testing"
)

const results = `goos: linux
pkg: github.com/plumbline-dev/plumbline/cmd/plumbline
BenchmarkServe/workspaces=10-2         	       3	         0.8123 first-loop-s	         0.9012 first-s	         1.109 first/loop	         1.010 first/loop-least	         1.301 first/loop-most
BenchmarkServe/workspaces=10	nothing is measured here
BenchmarkIdle-2   	       1	         1.750 %core	       119.2 idle-MB
BenchmarkVerify10000-16	       2	4100000000 ns/op
BenchmarkSeal/stream-2  	      50	  40000000 ns/op	       612.4 MB/s/core
BenchmarkSeal/plan-2    	      50	  40000000 ns/op	       112.4 MB/s/core
PASS
`

func TestTable(t *testing.T) {
	t.Parallel()
	var out, progress strings.Builder
	met, err := table(strings.NewReader(results), &out, &progress)
	if err != nil || met {
		t.Errorf("met %v, %v: most of it was not measured", met, err)
	}
	for _, want := range []string{
		"first push, 10 workspaces 1.11 ≤ 1.15 0.90 s 0.81 s 1.01–1.30 met",
		"next push, 10 workspaces - ≤ 0.80 not measured",
		"idle, 10,000 workspaces, % of a core 1.75 ≤ 1.00 NOT MET",
		"idle, 10,000 workspaces, MB 119 ≤ 150 met",
		"10,000 plans verified, s 4.10 ≤ 10.0 met",
		"sealing alone, MB/s on a core 612 ≥ 500 met",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if progress.String() != results {
		t.Errorf("progress %q", progress.String())
	}
	if _, err := table(io.MultiReader(strings.NewReader("Benchmark"), broken{}), io.Discard, io.Discard); err == nil {
		t.Error("results that cannot be read made a table")
	}
}

// TestLeast: what is to be at least as much as its bound is not met by less, and of several parts the least counts.
func TestLeast(t *testing.T) {
	t.Parallel()
	bound := target{benchmark: "Seal", unit: "MB/s/core", least: 500}
	for results, want := range map[string]struct {
		worst float64
		met   bool
	}{
		"Seal/a 612": {612, true}, "Seal/a 500": {500, true}, "Seal/a 499": {499, false},
		"Seal/a 612 Seal/b 530": {530, true}, "Seal/a 612 Seal/b 450": {450, false}, "Seal/a 300 Seal/b 450": {300, false},
		"Seal/a 612 Sealed 1": {612, true},
	} {
		all, fields := map[string]measured{}, strings.Fields(results)
		for i := 0; i < len(fields); i += 2 {
			_, figures, ok := parse("Benchmark" + fields[i] + "-2 1 " + fields[i+1] + " MB/s/core")
			if !ok {
				t.Fatal(results)
			}
			all[fields[i]] = figures
		}
		if got, known := worst(all, bound); !known || got != want.worst || bound.holds(got) != want.met {
			t.Errorf("%s: the worst is %v (%v), met %v; want %+v", results, got, known, bound.holds(got), want)
		}
	}
	if got := bound.bound(); got != "≥ 500" {
		t.Errorf("the bound is written %q", got)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
