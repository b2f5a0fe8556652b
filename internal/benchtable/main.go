// Command benchtable reads what `go test -bench` prints and writes one table of it: each figure that has a target beside
// the target, what it is compared with, and whether it is met. It ends with 1 if one is not, or was not measured.
//
//	go test -run '^$' -bench . ./... | go run ./internal/benchtable
//
// Lines that are no results go to standard error as they come, so that whoever waits sees that something happens.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	met, err := table(os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(2)
	}
	if !met {
		os.Exit(1)
	}
}

// measured are the figures of one benchmark, by their units.
type measured map[string]float64

// table reads results and writes the table.
func table(results io.Reader, out, progress io.Writer) (met bool, err error) {
	all := map[string]measured{}
	lines := bufio.NewScanner(results)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(progress, lines.Text())
		if name, figures, ok := parse(lines.Text()); ok {
			all[name] = figures
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read the results: %w", err)
	}
	fmt.Fprintf(out, "%d cores, %s, %s\n\n", runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH, runtime.Version())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tfigure\ttarget\tours\tcompared with\tpairs\t")
	met = true
	for _, t := range targets {
		value, known := worst(all, t)
		switch {
		case !known:
			met = false
			fmt.Fprintf(w, "%s\t-\t%s\t\t\t\tnot measured\n", t.what, t.bound())
			continue
		case !t.holds(value):
			met = false
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.what, number(value), t.bound(), t.beside(all[t.benchmark]), map[bool]string{true: "met", false: "NOT MET"}[t.holds(value)])
	}
	return met, w.Flush()
}

// worst is the figure of a target: of a benchmark in several parts, that of the worst.
func worst(all map[string]measured, t target) (value float64, known bool) {
	for name, figures := range all {
		if name != t.benchmark && !strings.HasPrefix(name, t.benchmark+"/") {
			continue
		}
		v, has := figures[t.unit]
		if !has {
			continue
		}
		if t.scale != 0 {
			v *= t.scale
		}
		if !known || t.least == 0 && v > value || t.least != 0 && v < value {
			value, known = v, true
		}
	}
	return value, known
}

// parse reads a line of results: a name with the number of cores, how often it was run, and pairs of a figure and its unit.
func parse(line string) (name string, figures measured, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return "", nil, false
	}
	name = strings.TrimPrefix(fields[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		if _, err := strconv.Atoi(name[i+1:]); err == nil {
			name = name[:i]
		}
	}
	figures = measured{}
	for i := 2; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return "", nil, false
		}
		figures[fields[i+1]] = value
	}
	return name, figures, true
}

// number writes a figure with as many digits as say something.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
