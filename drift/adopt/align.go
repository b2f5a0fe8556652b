package adopt

import (
	"errors"
)

// match says what becomes of an element: it turns into another, or stays (both
// are set), goes (to is -1) or is new (from is -1).
type match struct{ from, to int }

// assign finds out which of the plan's elements each written one stands for. A
// written element that cannot be read is nil and is known by its place alone.
// Ordered means that they stand in the plan's order; those of a set may not.
func assign(written []func(any) bool, elements []any) (values []any, ordered, ok bool) {
	if len(written) != len(elements) {
		return nil, false, false
	}
	ordered = true
	for i, fits := range written {
		if fits == nil {
			continue
		}
		if !fits(elements[i]) {
			ordered = false
			break
		}
	}
	if ordered {
		return elements, true, true
	}
	values = make([]any, len(written))
	taken := make([]bool, len(elements))
	for i, fits := range written {
		if fits == nil {
			return nil, false, false
		}
		found := -1
		for j, element := range elements {
			switch {
			case taken[j] || !fits(element):
			case found < 0:
				found = j
			case !equal(elements[found], element):
				return nil, false, false // it could be the one or the other
			}
		}
		if found < 0 {
			return nil, false, false
		}
		taken[found], values[i] = true, elements[found]
	}
	return values, false, true
}

// align finds the least that has to change to make one sequence another. What
// has no order is matched by its content.
func align(from, to []any, ordered bool) ([]match, error) {
	if !ordered {
		return alignSet(from, to), nil
	}
	start := 0
	for start < len(from) && start < len(to) && equal(from[start], to[start]) {
		start++
	}
	end := 0
	for end < len(from)-start && end < len(to)-start && equal(from[len(from)-1-end], to[len(to)-1-end]) {
		end++
	}
	a, b := from[start:len(from)-end], to[start:len(to)-end]
	if len(a)*len(b) > 1<<20 {
		return nil, errors.New("too much of a long list has changed")
	}
	// longest[i][j] is how much a[i:] and b[j:] have in common.
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if equal(a[i], b[j]) {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var matches []match
	for i := range start {
		matches = append(matches, match{i, i})
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		// A gap: what goes and what comes, paired as far as it reaches.
		fromI, fromJ := i, j
		for i < len(a) || j < len(b) {
			if i < len(a) && j < len(b) && equal(a[i], b[j]) {
				break
			}
			if j >= len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1] {
				i++
			} else {
				j++
			}
		}
		for k := range max(i-fromI, j-fromJ) {
			m := match{-1, -1}
			if fromI+k < i {
				m.from = start + fromI + k
			}
			if fromJ+k < j {
				m.to = start + fromJ + k
			}
			matches = append(matches, m)
		}
		for i < len(a) && j < len(b) && equal(a[i], b[j]) {
			matches = append(matches, match{start + i, start + j})
			i, j = i+1, j+1
		}
	}
	for k := range end {
		matches = append(matches, match{len(from) - end + k, len(to) - end + k})
	}
	return matches, nil
}

// alignSet keeps what is the same, pairs the rest by how much is alike, and
// adds at the end what is left.
func alignSet(from, to []any) []match {
	matches := make([]match, len(from))
	taken := make([]bool, len(to))
	pair := func(enough func(a, b any) int) {
		for i := range from {
			if matches[i].to >= 0 {
				continue
			}
			best, most := -1, 0
			for j := range to {
				if n := enough(from[i], to[j]); !taken[j] && n > most {
					best, most = j, n
				}
			}
			if best >= 0 {
				matches[i].to, taken[best] = best, true
			}
		}
	}
	for i := range matches {
		matches[i] = match{i, -1}
	}
	pair(func(a, b any) int {
		if equal(a, b) {
			return 1
		}
		return 0
	})
	pair(func(a, b any) int { return 1 + alike(a, b) })
	for j := range to {
		if !taken[j] {
			matches = append(matches, match{-1, j})
		}
	}
	return matches
}

// alike counts the attributes that two objects have in common.
func alike(a, b any) int {
	x, ok := a.(map[string]any)
	y, also := b.(map[string]any)
	if !ok || !also {
		return 0
	}
	n := 0
	for key, value := range x {
		if value != nil && equal(value, y[key]) {
			n++
		}
	}
	return n
}
