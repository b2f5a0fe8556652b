package workspaces

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
)

const (
	// maxConfigBytes bounds plumbline.yaml. Five thousand workspaces with every setting need about half of it.
	maxConfigBytes = 4 << 20
	// maxConfigNodes bounds how many YAML values are looked at, each alias counted as often as it is used, so that a
	// small file of aliases to aliases cannot grow without end.
	maxConfigNodes = 1 << 20
)

// configReader walks the YAML tree of one plumbline.yaml and collects every mistake it meets. It goes on after each of
// them, so that one run shows them all.
type configReader struct {
	file     string
	problems []Problem
	told     map[Problem]bool    // an alias may lead to the same mistake many times
	open     map[*yaml.Node]bool // aliases that are being followed, to notice one that contains itself
	nodes    int                 // looked at so far
	entryAt  int                 // the entry that is being read; notAnEntry outside of them
	lines    configLines
	// useless is set when nothing can be said of what the file means.
	useless bool
}

// configLines are the lines of the values in plumbline.yaml that the repository
// has a say in.
type configLines map[lineKey]int

// lineKey is a value of an entry, or of "defaults" when the entry is
// notAnEntry.
type lineKey struct {
	entry int
	key   string
	item  string // "" for what is no list
}

const notAnEntry = -1

// find returns the line of an entry's value, which may come from "defaults";
// otherwise when neither has it.
func (l configLines) find(entry int, key, item string, otherwise int) int {
	for _, e := range []int{entry, notAnEntry} {
		if line := l[lineKey{e, key, item}]; line > 0 {
			return line
		}
	}
	return otherwise
}

// field is one key that a mapping may have, and what reads its value.
type field struct {
	key  string
	read func(*yaml.Node)
}

// pair is one key of a mapping with its value; neither is an alias.
type pair struct{ key, value *yaml.Node }

func newConfigReader(file string) *configReader {
	return &configReader{file: file, told: map[Problem]bool{}, open: map[*yaml.Node]bool{}, entryAt: notAnEntry, lines: configLines{}}
}

func (r *configReader) tell(p Problem) {
	p.File = r.file
	if p.Severity == "" {
		p.Severity = SeverityError
	}
	if !r.told[p] {
		r.told[p] = true
		r.problems = append(r.problems, p)
	}
}

// note keeps the line of a value.
func (r *configReader) note(key, item string, line int) {
	r.lines[lineKey{r.entryAt, key, item}] = line
}

// wrong records a mistake at a node. The fix may be empty.
func (r *configReader) wrong(n *yaml.Node, fix, format string, args ...any) {
	r.tell(Problem{Line: n.Line, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// document returns the top node of the only YAML document in data; nil if there is none, or if the file cannot be read
// as one, which has been told then.
func (r *configReader) document(data []byte) *yaml.Node {
	if len(data) > maxConfigBytes {
		r.tell(Problem{
			Text: fmt.Sprintf("the file is %d bytes long; at most %d are read", len(data), maxConfigBytes),
			Fix:  `move what workspaces have in common to "defaults"`,
		})
		return nil
	}
	if !r.isText(data) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		r.syntax(err, data)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.syntax(err, data)
		return nil
	default:
		r.tell(Problem{
			Line: second.Line,
			Text: "a second YAML document begins here; a file has one",
			Fix:  `remove the line "---" and all after it, or join the two`,
		})
	}
	return r.follow(first.Content[0])
}

// isText tells of every byte that YAML does not allow. The YAML library would name the first, without its line.
func (r *configReader) isText(data []byte) bool {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		r.tell(Problem{Line: 1, Text: "the file is UTF-16", Fix: "save it as UTF-8"})
		return false
	}
	ok := true
	line := 1
	for rest := bytes.TrimPrefix(data, []byte("\ufeff")); len(rest) > 0; {
		c, size := utf8.DecodeRune(rest)
		switch {
		case c == '\n':
			line++
		case c == utf8.RuneError && size <= 1:
			r.tell(Problem{Line: line, Text: "the line is not valid UTF-8", Fix: "save the file as UTF-8"})
			ok = false
		case c == '\t', c == '\r', c == '\u0085':
		case isControl(c), c == '\ufeff', c == '\ufffe', c == '\uffff':
			r.tell(Problem{Line: line, Text: fmt.Sprintf("the line holds the control character %U", c), Fix: "remove it"})
			ok = false
		}
		rest = rest[size:]
	}
	return ok
}

var (
	yamlErrorLine     = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	yamlUnknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntax tells of an error of the YAML library, in our form. It names a line in its text, and sometimes none.
func (r *configReader) syntax(err error, data []byte) {
	text := err.Error()
	p := Problem{Fix: "see https://yaml.org for the format"}
	if m := yamlErrorLine.FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1]) // no line: 0, the file as a whole
		text = text[len(m[0]):]
	}
	p.Text = "not YAML: " + strings.ReplaceAll(text, "\n", " ")
	p.Line = SyntaxLine(p.Line, text, data)
	switch anchor := yamlUnknownAnchor.FindStringSubmatch(text); {
	case anchor != nil:
		p.Line = lineWith(data, func(line []byte) bool { return bytes.Contains(line, []byte("*"+anchor[1])) })
		p.Text = fmt.Sprintf("the alias *%s has no anchor &%s before it", anchor[1], anchor[1])
		p.Fix = "put text that begins with * in quotes"
	case strings.Contains(text, "expected alphabetic or numeric character"):
		p.Fix = "put text that begins with * or & in quotes"
	case strings.Contains(text, "cannot start any token"):
		tab := lineWith(data, func(line []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("\t")) })
		if tab > 0 {
			p.Line, p.Text, p.Fix = tab, "not YAML: the line is indented with a tab", "indent with spaces"
		} else {
			p.Fix = "put text that begins with @, ` or % in quotes"
		}
	}
	r.tell(p)
}

// SyntaxLine returns the line at which the YAML library stumbles over a file, with the text of its error and the line that it
// names. What it names itself is often where the list or mapping around it begins, less one. So parse the file up to each line from there on until the same error appears. Long files are
// not worth it.
func SyntaxLine(from int, text string, data []byte) int {
	const maxBytes, maxLines = 256 << 10, 500
	if len(data) > maxBytes {
		return from
	}
	end := 0
	for line := 1; end < len(data) && line < from+maxLines; line++ {
		next := bytes.IndexByte(data[end:], '\n')
		if next < 0 {
			next = len(data) - end - 1
		}
		end += next + 1
		if line < from {
			continue
		}
		var n yaml.Node
		if err := yaml.Unmarshal(data[:end], &n); err != nil && strings.HasSuffix(err.Error(), text) {
			return line
		}
	}
	return from
}

// lineWith returns the number of the first line that is meant, 0 if none is.
func lineWith(data []byte, meant func([]byte) bool) int {
	return 1 + slices.IndexFunc(bytes.Split(data, []byte("\n")), meant)
}

// follow returns the node that an alias stands for, or the node itself. It returns nil, and has told why, if there is
// nothing more to look at.
func (r *configReader) follow(n *yaml.Node) *yaml.Node {
	r.nodes++
	if r.nodes > maxConfigNodes {
		r.tell(Problem{
			Text: fmt.Sprintf("the file stands for more than %d values", maxConfigNodes),
			Fix:  "use fewer aliases",
		})
		return nil
	}
	if n.Kind != yaml.AliasNode {
		return n
	}
	if n.Alias == nil || r.open[n.Alias] {
		r.wrong(n, "write the value out", "the alias *%s contains itself", plain(n.Value))
		return nil
	}
	return n.Alias
}

// within runs f while n is known to be open, so that an alias inside it that leads back to it is noticed.
func (r *configReader) within(n *yaml.Node, f func()) {
	if r.open[n] {
		return
	}
	r.open[n] = true
	defer delete(r.open, n)
	f()
}

// pairs returns the keys of a mapping in their order, each once: its own, then those of its merge keys (<<) that it has
// not itself. Keys that are given twice are told.
func (r *configReader) pairs(n *yaml.Node) []pair {
	var own []pair
	var merged []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := r.follow(n.Content[i]), n.Content[i+1]
		switch {
		case key == nil:
		case key.Kind != yaml.ScalarNode:
			r.wrong(key, "", "a key is text, not %s", describe(key))
		case key.Tag == "!!merge":
			merged = append(merged, value)
		case lines[key.Value] != 0:
			r.wrong(key, "keep one", "%s is given twice, first on line %d", quote(key.Value), lines[key.Value])
		default:
			lines[key.Value] = key.Line
			if value = r.follow(value); value != nil {
				own = append(own, pair{key, value})
			}
		}
	}
	for _, m := range merged {
		for _, p := range r.merged(m) {
			if lines[p.key.Value] == 0 {
				lines[p.key.Value] = p.key.Line
				own = append(own, p)
			}
		}
	}
	return own
}

// merged returns the pairs that the value of a merge key stands for: a mapping, or a list of them of which the earlier
// win.
func (r *configReader) merged(value *yaml.Node) []pair {
	n := r.follow(value)
	if n == nil {
		return nil
	}
	var pairs []pair
	switch n.Kind {
	case yaml.MappingNode:
		r.within(n, func() { pairs = r.pairs(n) })
	case yaml.SequenceNode:
		r.within(n, func() {
			for _, item := range n.Content {
				pairs = append(pairs, r.merged(item)...)
			}
		})
	default:
		r.wrong(value, "name a mapping with an anchor, such as <<: *common", "<< takes a mapping, not %s", describe(n))
	}
	return pairs
}

// mapping reads a mapping whose keys are known, in the order of fields, not of the file. It reports whether n is a mapping; what is wrong has been told.
func (r *configReader) mapping(n *yaml.Node, what string, fields []field) bool {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "write it as key: value", "%s takes a mapping, not %s", what, describe(n))
		return false
	}
	r.within(n, func() {
		values := map[string]*yaml.Node{}
		for _, p := range r.pairs(n) {
			if !slices.ContainsFunc(fields, func(f field) bool { return f.key == p.key.Value }) {
				r.wrong(p.key, unknownKeyFix(p.key.Value, what, fields), "unknown key %s in %s", quote(p.key.Value), what)
			}
			values[p.key.Value] = p.value
		}
		for _, f := range fields {
			if value := values[f.key]; value != nil {
				f.read(value)
			}
		}
	})
	return true
}

// items returns the items of a list; ok is false, and it has been told, if n is something else.
func (r *configReader) items(n *yaml.Node, what, example string) (items []*yaml.Node, ok bool) {
	if n.Kind != yaml.SequenceNode {
		r.wrong(n, "write it as a list: "+example, "%s takes a list, not %s", what, describe(n))
		return nil, false
	}
	for _, item := range n.Content {
		if item = r.follow(item); item != nil {
			items = append(items, item)
		}
	}
	return items, true
}

// text returns a scalar that is text; ok is false, and it has been told, if it is anything else.
func (r *configReader) text(n *yaml.Node, what string) (value string, ok bool) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		r.wrong(n, "give it a value, or remove the key", "%s has no value", what)
	case n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool" || n.Tag == "!!timestamp"):
		r.wrong(n, fmt.Sprintf("put it in quotes: %q", n.Value), "%s takes text, not %s", what, describe(n))
	case n.Kind == yaml.ScalarNode && n.Tag != "!!str":
		r.wrong(n, "remove the tag, or put text that begins with ! in quotes", "%s takes text, not %s", what, describe(n))
	case n.Kind != yaml.ScalarNode:
		r.wrong(n, "", "%s takes text, not %s", what, describe(n))
	case strings.ContainsFunc(n.Value, isControl):
		r.wrong(n, "remove it", "%s holds a control character: %q", what, shorten(n.Value))
	case strings.TrimSpace(n.Value) == "":
		r.wrong(n, "give it a value, or remove the key", "%s is empty", what)
	default:
		return n.Value, true
	}
	return "", false
}

// number returns a whole number from low to high.
func (r *configReader) number(n *yaml.Node, what string, low, high int) (value int, ok bool) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!int":
		if err := n.Decode(&value); err != nil || value < low || value > high {
			r.wrong(n, "", "%s is %s; it is a whole number from %d to %d", what, plain(n.Value), low, high)
			return 0, false
		}
		return value, true
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && isDigits(n.Value):
		r.wrong(n, "remove the quotes", "%s takes a number, not text", what)
	default:
		r.wrong(n, "", "%s takes a whole number, not %s", what, describe(n))
	}
	return 0, false
}

// truth returns true or false.
func (r *configReader) truth(n *yaml.Node, what string) (value, ok bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		return strings.EqualFold(n.Value, "true"), true
	}
	r.wrong(n, "write true or false", "%s takes true or false, not %s", what, describe(n))
	return false, false
}

// choice returns text that is one of a few.
func (r *configReader) choice(n *yaml.Node, what string, choices []string) (string, bool) {
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!bool" || n.Tag == "!!int") && !slices.Contains(choices, n.Value) {
		r.wrong(n, choiceFix(n.Value, choices), "%s is %s", what, plain(n.Value))
		return "", false
	}
	value, ok := r.text(n, what)
	if ok && !slices.Contains(choices, value) {
		r.wrong(n, choiceFix(value, choices), "%s is %s", what, quote(value))
		return "", false
	}
	return value, ok
}

// choiceFix names the choices, and the one that was meant if it is plain.
func choiceFix(value string, choices []string) string {
	last := len(choices) - 1
	fix := "write " + strings.Join(choices[:last], ", ") + " or " + choices[last]
	near := nearest(value, choices)
	if other := foreignValues[strings.ToLower(value)]; slices.Contains(choices, other) {
		near = other
	}
	if near != "" {
		fix = fmt.Sprintf("did you mean %q? it is %s or %s", near, strings.Join(choices[:last], ", "), choices[last])
	}
	return fix
}

// unknownKeyFix says which key was meant: one with nearly the same letters, one that other tools use for the same thing,
// or one that exists elsewhere in the file.
func unknownKeyFix(key, what string, fields []field) string {
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	lower := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if slices.Contains(known, lower) {
		return fmt.Sprintf("write it as %q", lower)
	}
	if place, ok := keyPlaces[lower]; ok && place != what {
		return fmt.Sprintf("it belongs under %s", place)
	}
	if other, ok := foreignKeys[lower]; ok && slices.Contains(known, other) {
		return fmt.Sprintf("did you mean %q?", other)
	}
	if near := nearest(lower, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "known keys are " + strings.Join(known, ", ")
}

// nearest returns the candidate that differs from word by a slip of the fingers at most, or "".
func nearest(word string, candidates []string) string {
	if len(word) > 40 {
		return ""
	}
	best, distance := "", 1+max(1, len(word)/3)
	for _, c := range candidates {
		if d := levenshtein.Distance(word, c, nil); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// describe says what kind of value a node is, for "takes a list, not …". It never repeats long text.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!str":
		return "the text " + quote(n.Value)
	case "!!int", "!!float":
		return "the number " + plain(n.Value)
	case "!!bool":
		return "the truth value " + plain(n.Value)
	case "!!timestamp":
		return "the date " + plain(n.Value)
	case "!!null":
		return "nothing"
	}
	return "a value with the tag " + quote(n.Tag)
}

func quote(s string) string { return strconv.Quote(shorten(s)) }

// shorten keeps a message readable when someone pasted a page into a key.
func shorten(s string) string {
	const limit = 80
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit]) + "…"
}

// plain is for what is shown without quotes, such as numbers; a tag may make one of any text.
func plain(s string) string { return strings.Map(printable, shorten(s)) }

// printable drops control characters.
func printable(c rune) rune {
	if isControl(c) {
		return -1
	}
	return c
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isControl reports the characters of C0 and C1 and DEL, and the separators of lines and paragraphs, which would break
// out of a line of a log or a comment as well.
func isControl(c rune) bool {
	return c < 0x20 || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029'
}
