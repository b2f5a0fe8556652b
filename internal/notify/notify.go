// Package notify tells people of drift where they are: in a chat, by mail, or at a webhook of their own.
//
// An [Event] is one thing that happened to one workspace. Each [Target] has a [Rule] that says which events it wants; the
// caller keeps the events of each target in a queue, and when their time has come, [Compose] makes one short message of
// all that wait, and [Target.Send] hands it over. How a message gets to Slack, Teams, Discord or a mail server is the
// library's business (github.com/nicholas-fedor/shoutrrr), which only this package knows.
//
// The address of a target is a secret: whoever has it can write there. It is in no error and no log of this package, nor
// is any part of it that could be one.
//
// The package keeps nothing, has no clock, and tries each message once.
package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// State says what happened to a workspace.
type State string

// The states.
const (
	Drifted   State = "drifted"   // something was found that was not there before
	Corrected State = "corrected" // what was found was corrected
	Fight     State = "fight"     // what is corrected comes back each time
	Unknown   State = "unknown"   // a look came to no answer
	Overdue   State = "overdue"   // it was not looked at for too long
	Clean     State = "clean"     // nothing is left of what was found
)

// States are all states, in the order of their urgency.
var States = []State{Fight, Drifted, Unknown, Overdue, Corrected, Clean}

// Event is one thing that happened to one workspace.
type Event struct {
	At         time.Time `json:"at"`
	Repository string    `json:"repository"` // owner/name
	Workspace  string    `json:"workspace"`
	State      State     `json:"state"`
	Findings   []Finding `json:"findings,omitempty"` // what it is about; none where it is about the workspace as a whole
	Note       string    `json:"note,omitempty"`     // why, in a sentence
}

// Finding is what an event says of a finding.
type Finding struct {
	Address string `json:"address"`
	Class   string `json:"class"`
	Cause   string `json:"cause"`
}

// Rule says which events a target wants. A list that is empty wants all.
type Rule struct {
	Classes []string
	Causes  []string
	// Workspaces are globs over workspace names, where ** stands for any number of directories.
	Workspaces []string
	// Repos are globs over owner/name.
	Repos  []string
	States []State
}

// Pick returns what of an event the rule wants: the event with those of its findings that are of a class and cause that it
// names. An event that is about no findings is wanted whatever the rule says of these.
func (r Rule) Pick(e Event) (Event, bool) {
	if len(r.States) > 0 && !slices.Contains(r.States, e.State) || !anyGlob(r.Repos, e.Repository) || !anyGlob(r.Workspaces, e.Workspace) {
		return Event{}, false
	}
	if len(e.Findings) == 0 {
		return e, true
	}
	var wanted []Finding
	for _, f := range e.Findings {
		if (len(r.Classes) == 0 || slices.Contains(r.Classes, f.Class)) && (len(r.Causes) == 0 || slices.Contains(r.Causes, f.Cause)) {
			wanted = append(wanted, f)
		}
	}
	e.Findings = wanted
	return e, len(wanted) > 0
}

func anyGlob(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := doublestar.Match(pattern, name)
		return err == nil && ok
	})
}

// CheckGlob says what is wrong with a pattern of a rule.
func CheckGlob(pattern string) error {
	if pattern == "" || !doublestar.ValidatePattern(pattern) {
		return fmt.Errorf("%q is no pattern: * stands for any characters within a directory's name, ** for any directories", pattern)
	}
	return nil
}

// Line is an event with the page that tells more.
type Line struct {
	Event
	URL   string // "" for none
	Again bool   // it may have been told already
}

// Bounds of a message, in bytes: some chats take no more than 2,000 characters.
const (
	maxMessage  = 1800
	maxLine     = 320
	maxTitle    = 120
	maxFindings = 3 // that are named in a line
)

// Compose makes one message of all events that wait for a target, the urgent ones first. It is plain text, and nothing in
// it can call for anybody's attention but by being read. What has no room is counted.
func Compose(lines []Line) (title, message string) {
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(a, b Line) int {
		return slices.Index(States, a.State) - slices.Index(States, b.State)
	})
	var kinds []State
	workspaces := map[State]map[string]bool{}
	for _, l := range lines {
		if workspaces[l.State] == nil {
			workspaces[l.State] = map[string]bool{}
			kinds = append(kinds, l.State)
		}
		workspaces[l.State][l.Repository+" "+l.Workspace] = true
	}
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", len(workspaces[kind]), kind))
	}
	title = "Plumbline: " + strings.Join(parts, ", ")
	if len(lines) == 1 {
		title = "Plumbline: " + plain(lines[0].Workspace) + " " + headline[lines[0].State]
	}
	var b strings.Builder
	for n, l := range lines {
		text := l.text()
		if b.Len()+len(text)+1 > maxMessage-40 {
			fmt.Fprintf(&b, "and %d more", len(lines)-n)
			break
		}
		b.WriteString(text + "\n")
	}
	return cut(title, maxTitle), strings.TrimSuffix(b.String(), "\n")
}

// headline is what a message says of one workspace.
var headline = map[State]string{
	Drifted: "has drifted", Corrected: "was corrected", Fight: "is fought over", Unknown: "cannot be looked at",
	Overdue: "was not looked at for too long", Clean: "is clean again",
}

// text is an event in one line.
func (l Line) text() string {
	var b strings.Builder
	if l.Again {
		b.WriteString("(maybe again) ")
	}
	b.WriteString(plain(l.Repository) + " " + plain(l.Workspace) + " " + headline[l.State])
	if n := len(l.Findings); n > 0 {
		var names []string
		for _, f := range l.Findings[:min(n, maxFindings)] {
			names = append(names, fmt.Sprintf("%s (%s, %s)", cut(plain(f.Address), 80), plain(f.Cause), plain(f.Class)))
		}
		if n > maxFindings {
			names = append(names, fmt.Sprintf("%d more", n-maxFindings))
		}
		b.WriteString(": " + strings.Join(names, ", "))
	}
	if l.Note != "" {
		b.WriteString("; " + plain(l.Note))
	}
	text := cut(b.String(), maxLine)
	if l.URL != "" && len(l.URL) <= maxLine {
		text += " " + l.URL
	}
	return text
}

// plain takes out of a text what a chat might act on: line breaks, control characters, mentions, markup of links.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '@':
			return '＠' // a full-width one, which mentions nobody
		case r == '<':
			return '‹'
		case r == '>':
			return '›'
		case r == '`':
			return '\''
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// cut shortens a text to so many bytes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit - len("…")
	for end > 0 && s[end]&0xc0 == 0x80 {
		end--
	}
	return s[:end] + "…"
}
