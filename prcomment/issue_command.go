package prcomment

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The verbs of an issue that tells of drift, beside VerbHelp.
const (
	VerbDrift   Verb = "drift"
	VerbCorrect Verb = "correct"
	VerbIgnore  Verb = "ignore"
	VerbAdopt   Verb = "adopt"
	VerbPause   Verb = "pause"
	VerbResume  Verb = "resume"
)

// IssueCommand is what a person asked for in a comment on an issue that tells of drift.
type IssueCommand struct {
	Verb       Verb
	Workspace  string    // of VerbDrift; "" = the issue's
	Addresses  []string  // of VerbCorrect and VerbAdopt, none = all; of VerbIgnore exactly one, which may be a pattern
	Attributes []string  // of VerbIgnore; none = the whole resource
	Until      time.Time // the last day, as its first moment in UTC; zero = not said. VerbIgnore always has one.
	Reason     string    // of VerbIgnore and VerbPause; "" = not said
}

// Bounds of a command on an issue.
const (
	maxAddresses = 50
	maxAddress   = 500 // bytes
	maxReason    = 500 // bytes
)

// ParseIssueCommand is ParseCommand for an issue that tells of drift.
func ParseIssueCommand(body string) (IssueCommand, bool, error) {
	line, ok := commandLine(body)
	if !ok {
		return IssueCommand{}, false, nil
	}
	line, said := cutReason(line)
	words, err := splitWords(line)
	if len(words) == 1 && err == nil {
		return IssueCommand{Verb: VerbHelp}, true, nil
	}
	if len(words) < 2 {
		return IssueCommand{}, false, nil
	}
	verb, rest := Verb(strings.ToLower(words[1])), words[2:]
	if len(rest) >= 3 && !slices.ContainsFunc(rest, isFlag) && !slices.ContainsFunc(rest, isAddress) {
		return IssueCommand{}, false, nil // "plumbline drift is found in the wrong place"
	}
	verbs := []Verb{VerbDrift, VerbCorrect, VerbIgnore, VerbAdopt, VerbPause, VerbResume, VerbHelp}
	if !slices.Contains(verbs, verb) {
		near, hint := nearest(verb, verbs), ""
		if near == "" && len(rest) > 0 && !slices.ContainsFunc(rest, isFlag) {
			return IssueCommand{}, false, nil
		}
		if near != "" {
			hint = " (did you mean `plumbline " + string(near) + "`?)"
		}
		return IssueCommand{}, true, fmt.Errorf("there is no command %s on an issue about drift%s; %s", code("plumbline "+shorten(words[1], 60)), hint, issueUsage)
	}
	if err != nil {
		return IssueCommand{}, true, fmt.Errorf("a quote is not closed; an address with quotes or spaces in it is written as %s", code(`"toy_node.web[\"a\"]"`))
	}
	c := IssueCommand{Verb: verb}
	if said != "" {
		rest = append(rest, "--reason="+said)
	}
	plain, err := c.flags(rest)
	if err == nil {
		err = c.arguments(plain)
	}
	if err != nil {
		return IssueCommand{}, true, err
	}
	return c, true, nil
}

// cutReason takes a reason that is not in quotes out of a line: it goes up to the next flag, and an apostrophe in it is one.
func cutReason(line string) (rest, reason string) {
	at := reasonFlag.FindStringIndex(line)
	if at == nil || strings.ContainsAny(line[:at[0]], "\"'“”„") && !balanced(line[:at[0]]) {
		return line, ""
	}
	reason, rest = strings.TrimSpace(line[at[1]:]), ""
	if reason == "" || strings.ContainsRune("\"'“”„-–—", []rune(reason)[0]) {
		return line, ""
	}
	if next := otherFlag.FindStringIndex(reason); next != nil {
		reason, rest = reason[:next[0]], reason[next[0]:]
	}
	return line[:at[0]] + rest, strings.TrimSpace(reason)
}

func balanced(text string) bool {
	_, err := splitWords(text)
	return err == nil
}

var (
	reasonFlag = regexp.MustCompile(`\s(?:--|—)reason(?:=|\s|$)`)
	otherFlag  = regexp.MustCompile(`\s(?:--|—)[a-z]`)
)

// issueUsage ends the errors about commands on issues.
const issueUsage = "comment `plumbline help` to see what can be commented here"

// flags reads the flags and returns the other words. What follows --reason belongs to it, up to the next flag.
func (c *IssueCommand) flags(words []string) (plain []string, err error) {
	given := map[string]bool{}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if !isFlag(word) {
			plain = append(plain, word)
			continue
		}
		flag, value, joined := strings.Cut(word, "=")
		known := flag == "--until" && (c.Verb == VerbIgnore || c.Verb == VerbPause) || flag == "--reason" && (c.Verb == VerbIgnore || c.Verb == VerbPause)
		if !known {
			return nil, fmt.Errorf("%s is not known to %s; %s", code(shorten(flag, 60)), code("plumbline "+string(c.Verb)), issueUsage)
		}
		if given[flag] {
			return nil, fmt.Errorf("%s is given twice", code(flag))
		}
		given[flag] = true
		if !joined && len(words) > 0 && !isFlag(words[0]) {
			value, words = words[0], words[1:]
		}
		if flag == "--reason" {
			for len(words) > 0 && !isFlag(words[0]) {
				value, words = value+" "+words[0], words[1:]
			}
			if c.Reason, err = reason(value); err != nil {
				return nil, err
			}
			continue
		}
		if c.Until, err = time.Parse(time.DateOnly, value); err != nil {
			return nil, fmt.Errorf("%s is no day; write it as in %s", code(shorten(value, 60)), code("--until 2027-03-01"))
		}
	}
	return plain, nil
}

func reason(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", fmt.Errorf("%s needs a few words; leave it out if there is nothing to say", code("--reason"))
	case len(text) > maxReason:
		return "", fmt.Errorf("the reason is longer than %d bytes", maxReason)
	case strings.ContainsFunc(text, invisible):
		return "", fmt.Errorf("the reason has invisible characters in it")
	}
	return text, nil
}

// arguments reads what is no flag.
func (c *IssueCommand) arguments(words []string) error {
	switch c.Verb {
	case VerbDrift:
		if len(words) > 1 {
			return fmt.Errorf("%s takes the name of one workspace, or none for this issue's", code("plumbline drift"))
		}
		if len(words) == 1 {
			if err := checkName(words[0]); err != nil {
				return err
			}
			c.Workspace = words[0]
		}
		return nil
	case VerbCorrect, VerbAdopt:
		if len(words) > maxAddresses {
			return fmt.Errorf("these are more than %d addresses; leave them out to mean all", maxAddresses)
		}
		for _, word := range words {
			if err := c.address(word); err != nil {
				return err
			}
		}
		return nil
	case VerbIgnore:
		if len(words) == 0 {
			return fmt.Errorf("%s needs the address of a resource, as in %s", code("plumbline ignore"), code(ignoreExample))
		}
		if err := c.address(words[0]); err != nil {
			return err
		}
		if len(words)-1 > maxAddresses {
			return fmt.Errorf("these are more than %d attributes; leave them out to mean the whole resource", maxAddresses)
		}
		for _, word := range words[1:] {
			if word == "" || len(word) > maxAddress || strings.ContainsFunc(word, invisible) {
				return fmt.Errorf("%s cannot be an attribute", code(shorten(word, 60)))
			}
			if !slices.Contains(c.Attributes, word) {
				c.Attributes = append(c.Attributes, word)
			}
		}
		if c.Until.IsZero() {
			return fmt.Errorf("%s needs a last day, so that nothing is forgotten: %s", code("plumbline ignore"), code(ignoreExample))
		}
		return nil
	}
	if len(words) > 0 {
		return fmt.Errorf("%s is not understood; %s", code(shorten(words[0], 60)), issueUsage)
	}
	return nil
}

const ignoreExample = "plumbline ignore aws_instance.web tags --until 2027-03-01"

// address keeps an address.
func (c *IssueCommand) address(word string) error {
	switch {
	case len(word) > maxAddress:
		return fmt.Errorf("%s is too long to be an address", code(shorten(word, 60)))
	case strings.ContainsFunc(word, invisible):
		return fmt.Errorf("%s has invisible characters in it, which no address has", code(shorten(word, 60)))
	case !isAddress(word):
		return fmt.Errorf("%s is no address of a resource, such as %s", code(shorten(word, 60)), code("aws_instance.web"))
	}
	if !slices.Contains(c.Addresses, word) {
		c.Addresses = append(c.Addresses, word)
	}
	return nil
}

// isAddress reports whether a word may be an address, or a pattern of some.
func isAddress(word string) bool { return addressShape.MatchString(word) }

var addressShape = regexp.MustCompile(`^\*$|^[\pL_*?][\pL\pN_*?-]*(\[[^\]]*\])?\.[\pL_*?]`)

func invisible(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// HelpIssue is the answer to `plumbline help` on an issue about drift, in Markdown.
func HelpIssue() string {
	return "**What can be commented here**, alone on the first line, with write permission:\n\n" +
		"| Comment | What it does |\n| --- | --- |\n" +
		"| `plumbline drift [WORKSPACE]` | looks again, now |\n" +
		"| `plumbline correct [ADDRESS…]` | looks again and corrects what `plumbline.yaml` allows, once more where it had stopped because something fights back |\n" +
		"| `plumbline ignore ADDRESS [ATTRIBUTE…] --until DATE [--reason TEXT]` | opens a pull request that adds the rule to `plumbline.yaml` |\n" +
		"| `plumbline adopt [ADDRESS…]` | opens a pull request that writes what is real into the configuration |\n" +
		"| `plumbline pause [--until DATE] [--reason TEXT]` | looks for nothing and corrects nothing in this workspace until then |\n" +
		"| `plumbline resume` | ends the pause |\n" +
		"| `plumbline help` | shows this |\n\n" +
		"A day is written as `2027-03-01` and counts to its end in UTC. In the address of a rule `*` stands for any characters. " +
		"Addresses with quotes are quoted: `\"toy_node.web[\\\"a\\\"]\"`.\n"
}
