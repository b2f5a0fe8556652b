package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/plumbline-dev/plumbline/runner"
)

// progress shows on standard error what runs, what waits and for how long: a
// few lines that are drawn again on a terminal, plain lines elsewhere.
type progress struct {
	mu     sync.Mutex
	out    io.Writer
	live   bool
	width  func() int
	rows   map[string]*progressRow
	order  []string
	drawn  int
	ended  int
	start  time.Time
	ticker *time.Ticker
	done   chan struct{}
	tick   sync.WaitGroup
}

type progressRow struct {
	phase runner.Phase
	since time.Time
}

// progress starts showing. The caller must end it before printing results.
func (p *program) progress() *progress {
	g := &progress{
		out:   p.stderr,
		live:  isTerminal(p.stderr) && p.getenv("TERM") != "dumb",
		rows:  map[string]*progressRow{},
		start: time.Now(),
		done:  make(chan struct{}),
		width: func() int { return 80 },
	}
	if !g.live {
		return g
	}
	if f, ok := p.stderr.(*os.File); ok {
		g.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
				return w
			}
			return 80
		}
	}
	g.ticker = time.NewTicker(100 * time.Millisecond)
	g.tick.Go(func() {
		for {
			select {
			case <-g.ticker.C:
				g.mu.Lock()
				g.draw(time.Now())
				g.mu.Unlock()
			case <-g.done:
				return
			}
		}
	})
	return g
}

// observe takes one step of one workspace.
func (g *progress) observe(e runner.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	row := g.rows[e.Workspace]
	if row == nil {
		row = &progressRow{}
		g.rows[e.Workspace] = row
		g.order = append(g.order, e.Workspace)
	}
	row.phase, row.since = e.Phase, e.At
	if e.Phase != runner.PhaseDone {
		// Without a terminal a line for each thing that ended is enough, and
		// one for each apply that begins: it changes things.
		if !g.live && e.Phase == runner.PhaseApply {
			fmt.Fprintf(g.out, "%s: applying\n", printable(e.Workspace))
		}
		return
	}
	g.ended++
	line := fmt.Sprintf("%s: %s", printable(e.Workspace), outcome(e.Result))
	if e.Result.Elapsed > 0 {
		line += " (" + short(e.Result.Elapsed) + ")"
	}
	if !g.live {
		fmt.Fprintf(g.out, "[%d/%d] %s\n", g.ended, len(g.order), line)
		return
	}
	g.erase()
	fmt.Fprintf(g.out, "%s\n", clip(line, g.width()))
	g.draw(e.At)
}

// end stops showing; what has ended stays on the screen. Ending it again does
// nothing.
func (g *progress) end() {
	if !g.live {
		return
	}
	g.live = false
	close(g.done)
	g.tick.Wait()
	g.ticker.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.erase()
}

func (g *progress) draw(now time.Time) {
	var lines []string
	waiting := 0
	for _, name := range g.order {
		row := g.rows[name]
		switch row.phase {
		case runner.PhaseWaiting:
			waiting++
		case runner.PhaseDone:
		default:
			lines = append(lines, fmt.Sprintf("  %-12s %s  %s", row.phase, printable(name), short(now.Sub(row.since).Truncate(100*time.Millisecond))))
		}
	}
	slices.Sort(lines)
	foot := fmt.Sprintf("%d of %d done, %d running, %d waiting, %s", g.ended, len(g.order), len(lines), waiting, short(now.Sub(g.start).Truncate(100*time.Millisecond)))
	lines = append(lines, foot)
	var b strings.Builder
	if g.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", g.drawn)
	}
	width := g.width()
	for _, line := range lines {
		fmt.Fprintf(&b, "\r\x1b[2K%s\n", clip(line, width))
	}
	b.WriteString("\x1b[0J")
	io.WriteString(g.out, b.String())
	g.drawn = len(lines)
}

func (g *progress) erase() {
	if g.drawn > 0 {
		fmt.Fprintf(g.out, "\x1b[%dA\r\x1b[0J", g.drawn)
		g.drawn = 0
	}
}

// outcome says how a workspace ended, in a few words.
func outcome(r *runner.Result) string {
	if a := r.Adoption; a != nil && r.Err == nil {
		return fmt.Sprintf("%d adopted, %d left", len(a.Adopted), len(a.Left))
	}
	switch r.Status {
	case runner.Planned:
		return counted(r.Receipt.Counts)
	case runner.Applied:
		return "applied (" + counted(r.Receipt.Counts) + ")"
	case runner.Drifted:
		return fmt.Sprintf("drifted, %d remaining", r.Drift.Remaining)
	case runner.Failed, runner.Partly, runner.Skipped:
		if r.Err != nil {
			return string(r.Status) + ": " + printable(firstLine(r.Err.Error()))
		}
	case runner.Held:
		if r.Hold != nil {
			return "held: " + printable(r.Hold.Reason)
		}
	case runner.Unchanged:
		if r.Drift != nil {
			if n := len(r.Drift.Corrected); n > 0 {
				return fmt.Sprintf("clean, %d corrected", n)
			}
			return "no drift"
		}
		return "no changes"
	}
	return string(r.Status)
}

// firstLine is the line of an error that says most: Terraform's own first one,
// if there is any.
func firstLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "Error: ") {
			return line
		}
	}
	return lines[0]
}

// clip keeps a line within the terminal, so that drawing again hits the same
// lines.
func clip(s string, width int) string {
	runes := []rune(s)
	if len(runes) < width {
		return s
	}
	return string(runes[:max(0, width-2)]) + "…"
}
