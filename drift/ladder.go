package drift

import (
	"fmt"
	"strings"
)

// Ladder says how far drift may be corrected. Each rung includes the ones below it: [Never] < [Create] < [Update] <
// [Replace] < [All]. The zero value is Never. As text (JSON, YAML, flags) it is the word in lower case.
type Ladder int

// The rungs, from the lowest.
const (
	Never   Ladder = iota // nothing is corrected
	Create                // what was deleted is created again
	Update                // and what was changed is changed back in place
	Replace               // and what cannot be changed in place is destroyed and created
	All                   // and what should not be there is deleted
)

// ParseLadder reads "never", "create", "update", "replace" or "all".
func ParseLadder(s string) (Ladder, error) {
	for l := Never; l <= All; l++ {
		if s == l.String() {
			return l, nil
		}
	}
	return Never, fmt.Errorf("%q is not a step of the ladder: write never, create, update, replace or all", s)
}

// String returns the word that [ParseLadder] reads; "never" for a value that is none of the constants.
func (l Ladder) String() string {
	switch l {
	case Create:
		return "create"
	case Update:
		return "update"
	case Replace:
		return "replace"
	case All:
		return "all"
	}
	return "never"
}

// MarshalText implements [encoding.TextMarshaler].
func (l Ladder) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *Ladder) UnmarshalText(text []byte) error {
	parsed, err := ParseLadder(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}

// rung is the lowest step of the ladder that permits an action of a finding. Moves and imports change no real object, but
// they are never drift either: only a reviewed apply does them, so no rung permits them.
func rung(action string) (Ladder, bool) {
	switch action {
	case "create":
		return Create, true
	case "update":
		return Update, true
	case "replace":
		return Replace, true
	case "delete", "forget":
		return All, true
	}
	return Never, false
}

// matches reports whether a whole text fits a pattern in which * stands for any run of characters, dots, brackets and
// quotes included, and ? for any one. Nothing else is special: addresses are full of brackets, which most glob syntaxes
// would take for character classes.
func matches(pattern, text string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return len(text) == len(pattern) && fits(pattern, text)
	}
	if len(text) < len(head) || !fits(head, text[:len(head)]) {
		return false
	}
	text = text[len(head):]
	for {
		middle, rest, more := strings.Cut(tail, "*")
		if !more {
			return len(text) >= len(tail) && fits(tail, text[len(text)-len(tail):])
		}
		// The first place where the middle fits leaves the most for what follows.
		at := 0
		for at+len(middle) <= len(text) && !fits(middle, text[at:at+len(middle)]) {
			at++
		}
		if at+len(middle) > len(text) {
			return false
		}
		text, tail = text[at+len(middle):], rest
	}
}

// fits compares two texts of one length, where ? in the first stands for any byte.
func fits(pattern, text string) bool {
	for i := range len(pattern) {
		if pattern[i] != '?' && pattern[i] != text[i] {
			return false
		}
	}
	return true
}
