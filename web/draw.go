package web

import (
	"slices"
	"strconv"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// drawing is a graph as it is drawn: what comes first at the left.
type drawing struct {
	Width, Height int
	Nodes         []drawnNode
	Edges         []string // paths
	Label         string   // for those who do not see it
}

type drawnNode struct {
	X, Y  int
	Name  string // as it fits
	Full  string
	URL   string
	State mark
}

// Sizes of a drawing, in its own units: about pixels.
const (
	nodeWidth, nodeHeight = 184, 30
	columnGap, rowGap     = 56, 10
	nodeName              = 21 // characters
)

// draw puts nodes into columns by their waves. In a column they stand near what they need.
func draw(nodes []engine.GraphNode) *drawing {
	d := &drawing{}
	columns := map[int][]engine.GraphNode{}
	waves := 0
	for _, n := range nodes {
		columns[n.Wave] = append(columns[n.Wave], n)
		waves = max(waves, n.Wave+1)
	}
	tallest := 0
	for _, column := range columns {
		tallest = max(tallest, len(column))
	}
	d.Width = waves*(nodeWidth+columnGap) - columnGap + 2
	d.Height = max(1, tallest)*(nodeHeight+rowGap) - rowGap + 2
	row := map[string]float64{} // the middle of each node
	type point struct{ x, y int }
	places := map[string]point{}
	edges := 0
	for wave := range waves {
		column := columns[wave]
		near := func(n engine.GraphNode) float64 {
			sum, count := 0.0, 0
			for _, need := range n.Needs {
				if y, ok := row[need]; ok {
					sum, count = sum+y, count+1
				}
			}
			if count == 0 {
				return 0
			}
			return sum / float64(count)
		}
		slices.SortStableFunc(column, func(a, b engine.GraphNode) int {
			switch x, y := near(a), near(b); {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
		top := (d.Height - len(column)*(nodeHeight+rowGap) + rowGap) / 2
		for i, n := range column {
			x, y := 1+wave*(nodeWidth+columnGap), top+i*(nodeHeight+rowGap)
			row[n.Name] = float64(y)
			places[n.Name] = point{x, y}
			d.Nodes = append(d.Nodes, drawnNode{
				X: x, Y: y, Name: forge.Cut(clean(n.Name), nodeName), Full: clean(n.Name) + ": " + markOf(n.State).Word,
				URL: workspaceURL(n.Repository, n.Name), State: markOf(n.State),
			})
		}
	}
	for _, n := range nodes {
		for _, need := range n.Needs {
			a, ok := places[need]
			b := places[n.Name]
			if !ok || a.x >= b.x {
				continue
			}
			edges++
			x1, y1, x2, y2 := a.x+nodeWidth, a.y+nodeHeight/2, b.x, b.y+nodeHeight/2
			bend := strconv.Itoa(x2 - columnGap/2)
			d.Edges = append(d.Edges, "M"+strconv.Itoa(x1)+" "+strconv.Itoa(y1)+"C"+bend+" "+strconv.Itoa(y1)+" "+bend+" "+strconv.Itoa(y2)+" "+strconv.Itoa(x2)+" "+strconv.Itoa(y2))
		}
	}
	d.Label = plural(len(d.Nodes), "workspace") + " and " + plural(edges, "dependency")
	if edges != 1 {
		d.Label = plural(len(d.Nodes), "workspace") + " and " + number(edges) + " dependencies"
	}
	return d
}

// chartView is how many findings a workspace had over a time.
type chartView struct {
	Line    string // path of the line, in a field of 1000 by 100
	Areas   []string
	Unknown []chartSpan // when no look came to an answer, or nobody looked
	Fixed   []string    // where something was corrected, 0 to 1000
	Most    string      // in words: how many findings there were at most
	From    moment
	Middle  moment
	Text    string
}

type chartSpan struct{ X, Width string }

// chart draws a history, the newest look first; nil if there is none.
func chart(looks []engine.Look, since, now time.Time) *chartView {
	if len(looks) == 0 || !now.After(since) {
		return nil
	}
	if oldest := looks[len(looks)-1].At; oldest.After(since) {
		// Nothing is known from before the first look.
		since = oldest.Add(-now.Sub(oldest) / 50)
	}
	v := &chartView{From: at(since, now), Middle: at(since.Add(now.Sub(since)/2), now)}
	x := func(t time.Time) float64 {
		return max(0, min(1000, 1000*float64(t.Sub(since))/float64(now.Sub(since))))
	}
	text := func(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }
	count := func(l engine.Look) int {
		n := 0
		for _, k := range l.Counts {
			n += k
		}
		return n
	}
	most := 1
	for _, l := range looks {
		most = max(most, count(l))
	}
	height := func(n int) float64 { return 96 - 88*float64(n)/float64(most) }
	end, drawn := now, 0
	for _, l := range looks { // from the newest to the oldest
		left, right := x(l.At), x(end)
		end = l.At
		if l.Corrected > 0 {
			v.Fixed = append(v.Fixed, text(left))
		}
		if l.State == engine.SweepUnknown || l.State == engine.SweepNever {
			v.Unknown = append(v.Unknown, chartSpan{text(left), text(max(1, right-left))})
			continue
		}
		y := height(count(l))
		v.Line += "M" + text(left) + " " + text(y) + "H" + text(right)
		if count(l) > 0 {
			v.Areas = append(v.Areas, "M"+text(left)+" 96V"+text(y)+"H"+text(right)+"V96Z")
			drawn++
		}
	}
	v.Most = "no findings"
	v.Text = plural(len(looks), "change") + " of what was seen since then, none with findings"
	if drawn > 0 {
		v.Most = "findings, " + number(most) + " at most"
		v.Text = plural(len(looks), "change") + " of what was seen since then, " + number(drawn) + " with findings; at most " + plural(most, "finding") + " at once"
	}
	return v
}
