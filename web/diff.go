package web

import "strings"

// diffLine is a line of a diff: its sign, what follows it, and how it looks.
type diffLine struct{ Look, Text string }

// budget is how many bytes of diffs a page may still hold: pages stay small, whatever is planned.
type budget struct{ left int }

// lines takes lines of a diff as far as they fit in room and in the budget.
func (b *budget) lines(raw []string, room int) (lines []diffLine, cut bool) {
	room = min(room, b.left)
	for _, text := range raw {
		cost := escaped(text) + 28
		if cost > room {
			return lines, true
		}
		room -= cost
		b.left -= cost
		lines = append(lines, diffLine{lookOfLine(text), spelled(text)})
	}
	return lines, false
}

func lookOfLine(text string) string {
	switch {
	case strings.HasPrefix(text, "+"):
		return "add"
	case strings.HasPrefix(text, "-"):
		return "del"
	case strings.HasPrefix(text, "!"):
		return "chg"
	}
	return ""
}
