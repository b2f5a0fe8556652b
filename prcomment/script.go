package prcomment

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// An edit is one step from one list to another: keep ('␠'), drop ('-') or add ('+').
type edit struct {
	op   byte
	a, b int // where in the old and in the new list; meaningless where there is no such element
}

// editScript aligns two lists. It takes O(n log n) time, so that no plan can make it slow.
func editScript(a, b []string) []edit {
	edits := make([]edit, 0, max(len(a), len(b)))
	keep := func(i, j, n int) {
		for k := range n {
			edits = append(edits, edit{' ', i + k, j + k})
		}
	}
	// What both lists begin and end with needs no search.
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	keep(0, 0, head)
	i, j := head, head
	endA, endB := len(a)-tail, len(b)-tail

	if i < endA && j < endB {
		// The library compares texts: each distinct element becomes a line with its number.
		numbers := make(map[string]int, endA-i)
		lines := func(list []string) []byte {
			var text []byte
			for _, s := range list {
				n, ok := numbers[s]
				if !ok {
					n = len(numbers)
					numbers[s] = n
				}
				text = append(strconv.AppendInt(text, int64(n), 36), '\n')
			}
			return text
		}
		unified := diff.Diff("a", lines(a[i:endA]), "b", lines(b[j:endB]))
		for skip := 0; skip < 3 && len(unified) > 0; skip++ { // the names of the two texts
			_, unified, _ = bytes.Cut(unified, []byte("\n"))
		}
		first := i
		for len(unified) > 0 {
			var line []byte
			line, unified, _ = bytes.Cut(unified, []byte("\n"))
			if len(line) == 0 {
				continue
			}
			switch line[0] {
			case '@':
				if start, ok := hunkStart(string(line)); ok {
					n := max(first+start-i, 0)
					keep(i, j, n)
					i, j = i+n, j+n
				}
			case '-':
				edits = append(edits, edit{'-', i, j})
				i++
			case '+':
				edits = append(edits, edit{'+', i, j})
				j++
			case ' ':
				keep(i, j, 1)
				i, j = i+1, j+1
			}
		}
		if rest := endA - i; rest > 0 && rest == endB-j {
			keep(i, j, rest)
			i, j = endA, endB
		}
	}
	for ; i < endA; i++ {
		edits = append(edits, edit{'-', i, j})
	}
	for ; j < endB; j++ {
		edits = append(edits, edit{'+', i, j})
	}
	keep(endA, endB, tail)
	return edits
}

// hunkStart reads the 0-based line at which a hunk "@@ -12,3 +12,4 @@" begins in the old text.
func hunkStart(line string) (int, bool) {
	_, rest, ok := strings.Cut(line, "@@ -")
	if !ok {
		return 0, false
	}
	start, rest, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(start)
	if err != nil {
		return 0, false
	}
	length, _, _ := strings.Cut(rest, " ")
	if length == "0" { // a hunk without old lines names the line before it
		return n, true
	}
	return n - 1, true
}

// splitEdits separates what goes from what comes.
func splitEdits(edits []edit) (gone, come []int) {
	for _, e := range edits {
		switch e.op {
		case '-':
			gone = append(gone, e.a)
		case '+':
			come = append(come, e.b)
		}
	}
	return gone, come
}

// splitLines splits a text into lines, without an empty last one.
func splitLines(s string) []string {
	s = strings.TrimSuffix(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
