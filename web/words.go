package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// mark is a state: a word with an icon before it, and how both look. The word alone says all.
type mark struct{ Icon, Word, Look string }

// How marks look. Colours say how much a state wants somebody, icons which it is.
const (
	lookGood  = "good"
	lookBad   = "bad"
	lookWarn  = "warn"
	lookQuiet = "quiet"
	lookWork  = "work"
)

// icons and looks of states of workspaces and of statuses.
var marks = map[string]mark{
	string(engine.StateApplying): {"▸", "applying", lookWork},
	string(engine.StateFailed):   {"✕", "failed", lookBad},
	string(engine.StateHeld):     {"■", "held", lookWarn},
	string(engine.StateDrifted):  {"≠", "drifted", lookWarn},
	string(engine.StateUnknown):  {"?", "unknown", lookBad},
	string(engine.StatePaused):   {"‖", "paused", lookQuiet},
	string(engine.StatePlanned):  {"◇", "planned", lookWork},
	string(engine.StateInSync):   {"✓", "in sync", lookGood},
	string(engine.StateApplied):  {"●", "applied", lookGood},
	string(engine.StateNew):      {"○", "new", lookQuiet},

	string(engine.Waiting):     {"…", "waiting", lookQuiet},
	string(engine.Queued):      {"…", "queued", lookQuiet},
	string(engine.Running):     {"▸", "running", lookWork},
	string(engine.Unchanged):   {"✓", "unchanged", lookGood},
	string(engine.Partly):      {"✕", "partly applied", lookBad},
	string(engine.Skipped):     {"–", "skipped", lookQuiet},
	string(engine.Interrupted): {"✕", "interrupted", lookBad},
	string(engine.Removed):     {"–", "removed", lookQuiet},
	string(engine.Superseded):  {"–", "superseded", lookQuiet},
	string(engine.Released):    {"✓", "released", lookGood},

	string(engine.OperationDone): {"✓", "done", lookQuiet},

	string(engine.SweepClean): {"✓", "clean", lookGood},
	string(engine.SweepNever): {"○", "never looked at", lookQuiet},

	"allowed":  {"✓", "allowed", lookGood},
	"refused":  {"✕", "refused", lookBad},
	"overdue":  {"!", "overdue", lookWarn},
	"fight":    {"⇄", "fought over", lookBad},
	"noise":    {"~", "noise", lookQuiet},
	"ignored":  {"–", "ignored", lookQuiet},
	"gone":     {"✓", "gone", lookGood},
	"fixed":    {"✓", "corrected", lookGood},
	"may":      {"◇", "may be corrected", lookWork},
	"not":      {"■", "not corrected", lookWarn},
	"removing": {"–", "destroy", lookBad},
}

// markOf is the mark of a state or status; one that is not known is shown as it is.
func markOf[T ~string](state T) mark {
	if m, ok := marks[string(state)]; ok {
		return m
	}
	return mark{"·", clean(string(state)), lookQuiet}
}

// markOfRun is the mark of a run: of one that runs, what it does.
func markOfRun(status engine.Status, phase engine.Phase) mark {
	m := markOf(status)
	if status == engine.Running && phase != engine.PhaseNone {
		m.Word = clean(string(phase))
	}
	return m
}

// link is a name that leads somewhere; it is a mere name without an address.
type link struct{ Text, URL string }

// moment is a time for people, and exactly. It is "" for never.
type moment struct{ Ago, Exact string }

// at says how long ago t was, or how long it is until then.
func at(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{Exact: t.UTC().Format(time.RFC3339)}
	ago := now.Sub(t)
	switch {
	case ago < -time.Minute:
		m.Ago = "in " + span(-ago)
	case ago < time.Minute:
		m.Ago = "just now"
	default:
		m.Ago = span(ago) + " ago"
	}
	return m
}

// span is a time of a minute and more in words.
func span(d time.Duration) string {
	switch {
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/(24*time.Hour)), "day")
}

// took is how long something took, exactly enough.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d/time.Minute), int(d%time.Minute/time.Second))
	}
	return fmt.Sprintf("%d h %d min", int(d/time.Hour), int(d%time.Hour/time.Minute))
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return number(n) + " " + unit + "s"
}

// number writes 12345 as 12,345.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// repoName is a repository without its forge, which most servers have one of.
func repoName(id engine.RepoID) string {
	_, name, ok := strings.Cut(string(id), "/")
	if !ok {
		name = string(id)
	}
	return clean(name)
}

const maxText = 160 // characters of a name or a title

// clean makes a name fit for a line of a page.
func clean(s string) string { return forge.Cut(spelled(s), maxText) }

// sentence is clean for what may be long.
func sentence(s string) string { return forge.Cut(spelled(s), 1000) }

// paragraphs is a text of several lines.
func paragraphs(s string, most int) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = spelled(l)
	}
	return forge.Cut(strings.TrimSpace(strings.Join(lines, "\n")), most)
}

func short(commit string) string {
	if len(commit) > 10 {
		return clean(commit[:10])
	}
	return clean(commit)
}

// spelled replaces what one cannot see and what turns the direction of text around: such a name could look like another.
func spelled(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case c < ' ', c >= 0x7f && c < 0xa0, c == 0xad, c == 0x61c, c >= 0x200b && c <= 0x200f,
			c >= 0x2028 && c <= 0x202e, c >= 0x2060 && c <= 0x206f, c == 0xfeff, c >= 0xe0000 && c <= 0xe007f:
			return '\uFFFD'
		}
		return c
	}, s)
}

// escaped is about how many bytes a text takes on a page.
func escaped(s string) int {
	n := len(s)
	for i := range len(s) {
		switch s[i] {
		case '"', '\'', '<', '>', '&', '+':
			n += 4
		}
	}
	return n
}
