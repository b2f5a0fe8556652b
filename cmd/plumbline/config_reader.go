package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// maxServerConfig bounds the size of server.yaml in bytes.
const maxServerConfig = 1 << 20

// setting is one value of server.yaml, or of the flag or variable that stands
// in for it.
type setting struct {
	text  string // with the environment's values in it
	place workspaces.Problem
	set   bool
	// written is the text as it stands in the file, "" when it must not be
	// repeated in a message.
	written string
	// variables are the names that were expanded.
	variables []string
}

// configReader walks the tree of one server.yaml and collects every mistake, so
// that one run shows them all. What it says never holds a value that may be a
// secret.
type configReader struct {
	file     string
	getenv   func(string) (string, bool)
	problems []workspaces.Problem
}

// wrong tells of a mistake at a place.
func (r *configReader) wrong(at workspaces.Problem, fix, format string, args ...any) {
	at.Text, at.Fix, at.Severity = fmt.Sprintf(format, args...), fix, workspaces.SeverityError
	r.problems = append(r.problems, at)
}

func (r *configReader) warn(at workspaces.Problem, fix, format string, args ...any) {
	at.Text, at.Fix, at.Severity = fmt.Sprintf(format, args...), fix, workspaces.SeverityWarning
	r.problems = append(r.problems, at)
}

func (r *configReader) at(n *yaml.Node) workspaces.Problem {
	return workspaces.Problem{File: r.file, Line: n.Line}
}

// document returns the top mapping of the file; nil when there is none, which
// was told unless the file is empty.
func (r *configReader) document(data []byte) *yaml.Node {
	whole := workspaces.Problem{File: r.file}
	switch {
	case len(data) > maxServerConfig:
		r.wrong(whole, "is it the right file?", "the file has %d bytes; at most %d are read", len(data), maxServerConfig)
		return nil
	case !utf8.Valid(data):
		r.wrong(whole, "save it as UTF-8", "the file is not UTF-8")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			r.wrong(r.at(&second), `remove the line "---" and all after it`, "a second YAML document begins here; the file has one")
			err = io.EOF
		}
	}
	if !errors.Is(err, io.EOF) {
		r.syntax(err, data)
		return nil
	}
	top := first.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil
	}
	return top
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

var yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)

// syntax tells of an error of the YAML library. Where it repeats text of the
// file, that is left out.
func (r *configReader) syntax(err error, data []byte) {
	at, text := workspaces.Problem{File: r.file}, err.Error()
	if m := yamlError.FindStringSubmatch(text); m != nil {
		at.Line, _ = strconv.Atoi(m[1]) // no line: 0, the file as a whole
		text = m[2]
	}
	at.Line = workspaces.SyntaxLine(at.Line, text, data)
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := strings.Cut(string(data), "*"+m[1])
		at.Line = 1 + strings.Count(before, "\n")
		r.wrong(at, "put text that begins with * in quotes", "not YAML: an alias has no anchor before it")
		return
	}
	if strings.Contains(text, "did not find expected") { // words of the library alone, signs in quotes included
		r.wrong(at, "look at how this line and those above it are indented, and whether each bracket and quote is closed", "not YAML: %s", text)
		return
	}
	if strings.ContainsAny(text, "'`\"") {
		r.wrong(at, "put text with special characters in quotes", "not YAML")
		return
	}
	if strings.Contains(text, "cannot start any token") {
		for i, line := range bytes.Split(data, []byte("\n")) {
			if bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("\t")) {
				at.Line = i + 1
				r.wrong(at, "indent with spaces", "not YAML: the line is indented with a tab")
				return
			}
		}
	}
	r.wrong(at, "see https://yaml.org for the format", "not YAML: %s", text)
}

// mapping returns the values of a mapping's keys. It tells of keys that are
// unknown or stand twice, and of a node that is no mapping.
func (r *configReader) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		r.wrong(r.at(n), "write it as key: value", "%s takes a mapping, not %s", what, kindOf(n))
		return nil
	}
	values := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			r.wrong(r.at(key), "known keys are "+strings.Join(known, ", "), "a key in %s is %s, not text", what, kindOf(key))
		case !slices.Contains(known, key.Value):
			fix := "known keys are " + strings.Join(known, ", ")
			if near := nearestKey(key.Value, known); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			r.wrong(r.at(key), fix, "unknown key %s in %s", shown(key.Value), what)
		case values[key.Value] != nil:
			r.wrong(r.at(key), "keep one", "%q is given twice in %s, first on line %d", key.Value, what, values[key.Value].Line)
		case value.Kind == yaml.AliasNode:
			r.wrong(r.at(value), "write the value out, or put text that begins with * in quotes", "%s is an alias, which this file does not have", key.Value)
		default:
			values[key.Value] = value
		}
	}
	return values
}

// items returns the items of a list.
func (r *configReader) items(n *yaml.Node, what, example string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.wrong(r.at(n), "write it as a list: "+example, "%s takes a list, not %s", what, kindOf(n))
		return nil
	}
	var items []*yaml.Node
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			r.wrong(r.at(item), "write the value out, or put text that begins with * in quotes", "an item of %s is an alias, which this file does not have", what)
			continue
		}
		items = append(items, item)
	}
	return items
}

// scalar returns the value of a key. A missing node is a setting that is not
// set, and so is one with a mistake.
func (r *configReader) scalar(n *yaml.Node, what string, secret bool) setting {
	if n == nil {
		return setting{}
	}
	at := r.at(n)
	switch {
	case n.Kind != yaml.ScalarNode:
		r.wrong(at, "write one value", "%s takes one value, not %s", what, kindOf(n))
		return setting{}
	case n.Tag == "!!null":
		r.wrong(at, `give it a value, or remove the key`, "%s has no value", what)
		return setting{}
	case strings.ContainsFunc(n.Value, isControl):
		r.wrong(at, "remove it", "%s holds a control character", what)
		return setting{}
	}
	s := setting{place: at, set: true}
	var ok bool
	if s.text, s.variables, ok = r.expand(n, what); !ok {
		return setting{}
	}
	if strings.ContainsFunc(s.text, isControl) {
		r.wrong(at, "set it to one line of text", "%s holds a control character, which comes from the environment", what)
		return setting{}
	}
	if !secret {
		s.written = n.Value
	}
	if len(s.variables) > 0 && s.text == "" {
		r.wrong(at, "set it, or remove the key", "%s is empty, because the environment variable %s is", what, s.variables[0])
		return setting{}
	}
	return s
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts the values of environment variables in for ${NAME}. $${ stands
// for ${ itself. The values are not looked at again.
func (r *configReader) expand(n *yaml.Node, what string) (text string, names []string, ok bool) {
	var out strings.Builder
	ok = true
	for rest := n.Value; ; {
		i := strings.Index(rest, "${")
		if i < 0 {
			out.WriteString(rest)
			return out.String(), names, ok
		}
		if i > 0 && rest[i-1] == '$' {
			out.WriteString(rest[:i-1] + "${")
			rest = rest[i+2:]
			continue
		}
		out.WriteString(rest[:i])
		name, after, closed := strings.Cut(rest[i+2:], "}")
		if !closed || !variableName.MatchString(name) {
			r.wrong(r.at(n), "write ${NAME}, or $${ for the two characters themselves", "%s has ${ without the name of an environment variable", what)
			return "", nil, false
		}
		value, found := r.getenv(name)
		if !found {
			r.wrong(r.at(n), "set it where plumbline is started", "%s takes the environment variable %s, which is not set", what, name)
			ok = false
		}
		out.WriteString(value)
		names = append(names, name)
		rest = after
	}
}

// isControl reports what would break out of a line, of a header or of a log.
func isControl(c rune) bool {
	return c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029'
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return "text"
}

// nearestKey returns the key that differs by a slip of the fingers, or "".
func nearestKey(word string, known []string) string {
	word = strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	if len(word) > 40 {
		return ""
	}
	limit := 1
	if len(word) > 4 {
		limit = max(2, len(word)/3)
	}
	best, distance := "", 1+limit
	for _, k := range known {
		if d := levenshtein.Distance(word, k, nil); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// tokenLike is a run of characters as tokens have them.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_+=]{20}`)

// shown repeats a short text in a message, and nothing of what may be a token
// in the wrong place.
func shown(text string) string {
	if len(text) > 60 || tokenLike.MatchString(text) {
		return "(not shown)"
	}
	return strconv.Quote(text)
}
