package prcomment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agext/levenshtein"
)

// Verb is what a command asks for.
type Verb string

// The verbs.
const (
	VerbPlan   Verb = "plan"
	VerbApply  Verb = "apply"
	VerbUnlock Verb = "unlock"
	VerbHelp   Verb = "help"
)

// Command is what a person asked for in a comment.
type Command struct {
	Verb       Verb
	Workspaces []string // as written after -w, without doubles; none = all that are affected
}

// Bounds of a command.
const (
	maxCommand   = 4096 // bytes of its line
	maxSelection = 50   // workspaces
)

// ParseCommand reads the command in a comment: on its first line, empty lines and quoted ones (of the comment that is
// answered) not counted. It answers false for a comment that is no command: prose, code, or a page of ours. A comment
// that is meant as a command but cannot be understood gives true and an error that says what to write instead; its text
// is Markdown that is safe to post.
func ParseCommand(body string) (Command, bool, error) {
	line, ok := commandLine(body)
	if !ok {
		return Command{}, false, nil
	}
	words, err := splitWords(line)
	if len(words) == 1 && err == nil {
		return Command{Verb: VerbHelp}, true, nil
	}
	if len(words) < 2 {
		return Command{}, false, nil
	}
	verb := Verb(strings.ToLower(words[1]))
	verbs := []Verb{VerbPlan, VerbApply, VerbUnlock, VerbHelp}
	if !slices.Contains(verbs, verb) {
		near := nearest(verb, verbs)
		if near == "" && len(words) > 2 && !slices.ContainsFunc(words[2:], isFlag) {
			return Command{}, false, nil // "Plumbline is down again": somebody talks about us
		}
		hint := ""
		if near != "" {
			hint = " (did you mean `plumbline " + string(near) + "`?)"
		}
		return Command{}, true, fmt.Errorf("there is no command %s%s; %s", code("plumbline "+shorten(words[1], 60)), hint, usage)
	}
	if err != nil {
		return Command{}, true, err
	}
	c := Command{Verb: verb}
	rest := words[2:]
	if len(rest) >= 3 && !slices.ContainsFunc(rest, isFlag) {
		return Command{}, false, nil // "plumbline plan failed for me, why?"
	}
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		flag, name, joined := strings.Cut(word, "=")
		if flag != "-w" && flag != "--workspace" {
			if isFlag(word) {
				return Command{}, true, fmt.Errorf("%s is not known here; %s", code(shorten(word, 60)), usage)
			}
			return Command{}, true, fmt.Errorf("%s stands alone: workspaces are chosen with `-w`, as in %s",
				code(shorten(word, 60)), code("plumbline "+string(verb)+" "+workspaceFlag(shorten(word, 60))))
		}
		if !joined {
			if len(rest) == 0 || isFlag(rest[0]) {
				return Command{}, true, fmt.Errorf("%s needs the name of a workspace; %s", code(flag), usage)
			}
			name, rest = rest[0], rest[1:]
		}
		if err := checkName(name); err != nil {
			return Command{}, true, err
		}
		if !slices.Contains(c.Workspaces, name) {
			c.Workspaces = append(c.Workspaces, name)
		}
		if len(c.Workspaces) > maxSelection {
			return Command{}, true, fmt.Errorf("these are more than %d workspaces; leave `-w` out to mean all that are affected", maxSelection)
		}
	}
	return c, true, nil
}

// CommandLine returns the one line of a comment that ParseCommand and ParseIssueCommand read, for whoever keeps a command
// and nothing else of the comment. It answers false for a comment that is no command anywhere.
func CommandLine(body string) (string, bool) {
	_, change, _ := ParseCommand(body) // a command with a mistake is one as well
	if _, issue, _ := ParseIssueCommand(body); !change && !issue {
		return "", false
	}
	return commandLine(body)
}

// usage ends the errors about commands.
const usage = "what can be commented is `plumbline plan`, `plumbline apply`, `plumbline unlock` and `plumbline help`; " +
	"`-w NAME` picks a workspace"

// commandLine finds the line that may be a command. It looks at the first few kilobytes of a comment only.
func commandLine(body string) (string, bool) {
	if strings.HasPrefix(strings.TrimSpace(body[:min(len(body), 256)]), "<!-- plumbline:") {
		return "", false // a page of ours
	}
	const farEnough = 64 << 10
	for line := range strings.Lines(body[:min(len(body), farEnough)]) {
		line = strings.TrimRight(line, " \t\r\n")
		trimmed := strings.TrimLeft(line, " \t")
		if trimmed == "" || trimmed[0] == '>' {
			continue
		}
		indented := strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "    ")
		name := trimmed[:min(len(trimmed), len("plumbline"))]
		if indented || len(trimmed) > maxCommand || !strings.EqualFold(name, "plumbline") || !utf8.ValidString(trimmed) {
			return "", false
		}
		if rest := trimmed[len(name):]; rest != "" && rest[0] != ' ' && rest[0] != '\t' {
			return "", false // plumbline.yaml, plumbline's
		}
		return trimmed, true
	}
	return "", false
}

// splitWords splits a line at spaces, outside of quotes. Quotes and dashes are also known in the shapes that telephones
// make of them.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, escaped := false, false
	var quote rune
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case quote != 0 && r == quote:
			quote = 0
		case quote == '"' && r == '\\':
			escaped = true
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == '“' || r == '”' || r == '„':
			quote, inWord = '”', true
			if r == '„' {
				quote = '“'
			}
		case unicode.IsSpace(r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case r == '–' && !inWord:
			word.WriteString("-")
			inWord = true
		case r == '—' && !inWord:
			word.WriteString("--")
			inWord = true
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	if quote != 0 {
		return words, errors.New("a quote is not closed; names with spaces are written as `-w \"my workspace\"`")
	}
	return words, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("`-w` needs the name of a workspace; " + usage)
	case len(name) > 500:
		return errors.New("the name after `-w` is too long to be one of a workspace")
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }):
		return fmt.Errorf("%s has invisible characters in it, which no workspace has", code(shorten(name, 100)))
	}
	return nil
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// nearest is the verb that somebody may have meant, "" if none is near.
func nearest(verb Verb, verbs []Verb) Verb {
	best, where := 3, Verb("")
	for _, v := range verbs {
		if d := levenshtein.Distance(string(verb[:min(len(verb), 40)]), string(v), nil); d < best {
			best, where = d, v
		}
	}
	return where
}

// Help is the answer to `plumbline help`, in Markdown.
func Help() string {
	return "**What can be commented here**, alone on the first line:\n\n" +
		"| Comment | What it does |\n| --- | --- |\n" +
		"| `plumbline plan` | plans every workspace that this change affects |\n" +
		"| `plumbline apply` | applies the plans shown here, if they still hold; after a merge, what was held, failed or not started |\n" +
		"| `plumbline unlock` | shows who holds Terraform's state lock, and releases it if that run is surely gone |\n" +
		"| `plumbline help` | shows this |\n\n" +
		"`-w NAME` picks one workspace and can be repeated: `plumbline plan -w network -w \"clusters/my prod\"`. " +
		"Names with spaces are quoted.\n"
}
