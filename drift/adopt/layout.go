package adopt

import (
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// layout is how the elements of a written list or object stand in the file:
// each on lines of its own, or one after the other. What is added or taken out
// follows it.
type layout struct {
	file        *file
	open, whole hcl.Range
	object      bool
	items       [][2]int // from the first byte of each to the one after its last
	drop        []int    // in ascending order
	add         []addition
}

// addition is a new element.
type addition struct {
	after int // the element that it follows, -1 for none
	text  func(indent string) string
}

// dropped reports whether an element goes.
func (l layout) dropped(i int) bool { return slices.Contains(l.drop, i) }

// lines reports whether an element stands on lines of its own.
func (l layout) lines(i int) bool {
	return l.file.alone(l.items[i][0]) && l.file.after(l.items[i][1]).line
}

func (l layout) edits() ([]edit, error) {
	if len(l.drop) == 0 && len(l.add) == 0 {
		return nil, nil
	}
	var edits []edit
	if len(l.items) == 0 {
		return l.fill()
	}
	if len(l.drop) == len(l.items) && len(l.add) > 0 {
		return l.instead(), nil
	}
	for n := range l.add {
		for l.add[n].after >= 0 && l.dropped(l.add[n].after) {
			l.add[n].after--
		}
	}
	// What is dropped at the end of a line takes the comma before it along.
	kept := len(l.items)
	for kept > 0 && l.dropped(kept-1) && !l.lines(kept-1) {
		kept--
	}
	for _, i := range l.drop {
		start, end := l.items[i][0], l.items[i][1]
		follows := l.file.after(end)
		switch {
		case i >= kept:
		case l.lines(i):
			edits = append(edits, edit{file: l.file, start: l.file.lineStart(start), end: follows.next})
		case follows.comma >= 0 && !follows.line:
			edits = append(edits, edit{file: l.file, start: start, end: follows.next})
		case follows.comma >= 0:
			edits = append(edits, edit{file: l.file, start: start, end: follows.comma + 1})
		default:
			return nil, errors.New("how its elements are laid out is more than can be edited")
		}
	}
	if kept < len(l.items) {
		start, end := l.items[kept][0], l.items[len(l.items)-1][1]
		if kept > 0 {
			start = l.items[kept-1][1]
		} else if follows := l.file.after(end); follows.comma >= 0 {
			end = follows.comma + 1
		}
		edits = append(edits, edit{file: l.file, start: start, end: end})
	}
	return append(edits, l.added()...), nil
}

// added are the edits that add elements to others.
func (l layout) added() []edit {
	var edits []edit
	nl := l.file.newline()
	comma := map[int]bool{}
	for n, a := range l.add {
		if a.after < 0 {
			start := l.items[0][0]
			indent := l.file.indent(start)
			separator := ","
			if l.object && l.file.after(l.items[0][1]).comma < 0 {
				separator = ""
			}
			if l.lines(0) {
				edits = append(edits, l.file.insert(l.file.lineStart(start), indent+a.text(indent)+separator+nl))
			} else {
				edits = append(edits, l.file.insert(start, a.text(indent)+", "))
			}
			continue
		}
		start, end := l.items[a.after][0], l.items[a.after][1]
		indent := l.file.indent(start)
		if !l.lines(a.after) {
			edits = append(edits, l.file.insert(end, ", "+a.text(indent)))
			continue
		}
		follows := l.file.after(end)
		separator := ","
		if follows.comma < 0 {
			separator = ""
			if !l.object {
				if !comma[a.after] {
					edits = append(edits, l.file.insert(end, ","))
					comma[a.after] = true
				}
				if n+1 < len(l.add) && l.add[n+1].after == a.after {
					separator = ","
				}
			}
		}
		edits = append(edits, l.file.insert(follows.next, indent+a.text(indent)+separator+nl))
	}
	return edits
}

// instead puts what is added in the place of all that was there.
func (l layout) instead() []edit {
	start, end := l.items[0][0], l.items[len(l.items)-1][1]
	follows := l.file.after(end)
	separator, last := ", ", ""
	indent := l.file.indent(start)
	if l.lines(0) {
		separator = "," + l.file.newline() + indent
		if l.object && l.file.after(l.items[0][1]).comma < 0 {
			separator = l.file.newline() + indent
		}
	}
	if follows.comma >= 0 {
		end, last = follows.comma+1, ","
	}
	var texts []string
	for _, a := range l.add {
		texts = append(texts, a.text(indent))
	}
	return []edit{{file: l.file, start: start, end: end, text: strings.Join(texts, separator) + last}}
}

// fill is for what had no elements before.
func (l layout) fill() ([]edit, error) {
	start, end := l.open.End.Byte, l.whole.End.Byte-1
	if strings.TrimSpace(string(l.file.src[start:end])) != "" {
		return nil, errors.New("it holds nothing but a comment")
	}
	indent, nl := l.file.indent(l.whole.Start.Byte), l.file.newline()
	var b strings.Builder
	for i, a := range l.add {
		switch {
		case l.object:
			b.WriteString(nl + indent + "  " + a.text(indent+"  "))
		case i > 0:
			b.WriteString(", " + a.text(indent))
		default:
			b.WriteString(a.text(indent))
		}
	}
	if l.object {
		b.WriteString(nl + indent)
	}
	return []edit{{file: l.file, start: start, end: end, text: b.String()}}, nil
}
