package workspaces

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// AddIgnore adds an ignore rule to a workspace's entry in a plumbline.yaml, as text: every other byte of the file stays,
// comments and layout included. Without a file, or without an entry, one is made. What the workspace ignored before it goes
// on to ignore: rules that it had from "defaults" are copied, since a list of its own takes their place.
//
// The result is read again and means what the file meant before, and the rule; otherwise there is an error, which says
// that a person has to write it. The rule's words may hold anything.
func AddIgnore(file string, data []byte, w *Workspace, rule IgnoreRule) ([]byte, error) {
	e := &configEdit{eol: "\n", before: &Config{Version: configVersion}}
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("version: 1\n")
	}
	if bytes.Contains(data, []byte("\r\n")) {
		e.eol = "\r\n"
	}
	var problems []Problem
	if e.before, problems = ParseConfig(file, data); slices.ContainsFunc(problems, Problem.IsError) {
		return nil, fmt.Errorf("%s has mistakes that must be mended first: %w", file, problems[0])
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	e.lines = strings.SplitAfter(string(data), "\n")
	if last := len(e.lines) - 1; e.lines[last] == "" {
		e.lines = e.lines[:last]
	} else {
		e.lines[last] += e.eol
	}
	if err := e.add(&doc, w, rule); err != nil {
		return nil, fmt.Errorf("add a rule to %s: %w", file, err)
	}
	after := []byte(strings.Join(e.lines, ""))
	got, problems := ParseConfig(file, after)
	if slices.ContainsFunc(problems, Problem.IsError) || plainConfig(got) != plainConfig(e.before) {
		return nil, fmt.Errorf("the way %s is written, a rule cannot be added to it without changing what else it says: add it by hand", file)
	}
	return after, nil
}

// configEdit is one edit on its way. Before becomes what the file is to mean.
type configEdit struct {
	before *Config
	lines  []string // each with its end
	eol    string
}

func (e *configEdit) add(doc *yaml.Node, w *Workspace, rule IgnoreRule) error {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return fmt.Errorf("its top level is no mapping")
	}
	top := doc.Content[0]
	at := slices.IndexFunc(e.before.Workspaces, func(entry Entry) bool { return entry.name(e.before.Defaults) == w.Name })
	list := valueOf(top, "workspaces")
	if at < 0 {
		if w.Name != w.Dir {
			return fmt.Errorf("it has no entry for the workspace %s", quote(w.Name))
		}
		return e.addEntry(top, list, w.Dir, rule)
	}
	entry := &e.before.Workspaces[at]
	rules := []IgnoreRule{rule}
	if own := entry.Drift; own == nil || own.Ignore == nil {
		rules = append(ignoreOf(e.before.Defaults.Drift), rule)
	}
	if entry.Drift == nil {
		entry.Drift = &DriftSettings{}
	} else {
		own := *entry.Drift
		entry.Drift = &own
	}
	node := list.Content[at]
	drift := valueOf(node, "drift")
	var ignore *yaml.Node
	if drift != nil {
		ignore = valueOf(drift, "ignore")
	}
	switch {
	case drift == nil || isNull(drift):
		entry.Drift.Ignore = rules
		return e.put(node, drift, "drift", []any{keyed{"ignore", rules}})
	case ignore == nil || isNull(ignore):
		entry.Drift.Ignore = rules
		return e.put(drift, ignore, "ignore", rules)
	}
	if ignore.Style&yaml.FlowStyle != 0 {
		entry.Drift.Ignore = append([]IgnoreRule{rule}, entry.Drift.Ignore...)
	} else {
		entry.Drift.Ignore = append(slices.Clone(entry.Drift.Ignore), rule)
	}
	return e.push(ignore, rule)
}

func ignoreOf(d *DriftSettings) []IgnoreRule {
	if d == nil {
		return nil
	}
	return slices.Clone(d.Ignore)
}

// addEntry adds an entry for a workspace that was discovered.
func (e *configEdit) addEntry(top, list *yaml.Node, dir string, rule IgnoreRule) error {
	rules := append(ignoreOf(e.before.Defaults.Drift), rule)
	entry := Entry{Dir: dir, Settings: Settings{Drift: &DriftSettings{Ignore: rules}}}
	content := entryText{dir: dir, rules: rules}
	if list == nil || isNull(list) {
		e.before.Workspaces = []Entry{entry}
		return e.put(top, list, "workspaces", []entryText{content})
	}
	if list.Style&yaml.FlowStyle != 0 {
		e.before.Workspaces = append([]Entry{entry}, e.before.Workspaces...)
	} else {
		e.before.Workspaces = append(slices.Clone(e.before.Workspaces), entry)
	}
	return e.push(list, content)
}

// keyed is a key with its value.
type keyed struct {
	key   string
	value any
}

// entryText is an entry that is to be written.
type entryText struct {
	dir   string
	rules []IgnoreRule
}

// put adds a key to a mapping, or gives one that has no value a value.
func (e *configEdit) put(mapping, null *yaml.Node, key string, value any) error {
	if mapping.Kind != yaml.MappingNode {
		return fmt.Errorf("%s would go into something that is no mapping", key)
	}
	if null != nil {
		return fmt.Errorf("the key %s has no value; remove it", key)
	}
	if mapping.Style&yaml.FlowStyle != 0 {
		text := key + ": " + flow(value)
		if len(mapping.Content) > 0 {
			text += ", "
		}
		return e.splice(mapping.Line, mapping.Column, text)
	}
	indent := mapping.Column - 1
	line := e.end(mapping.Line, func(n int) bool { return n >= indent })
	return e.insert(line, block([]any{keyed{key, value}}, strings.Repeat(" ", indent)))
}

// push adds an item to a list: at the end of one that is written in lines, at the beginning of one in brackets.
func (e *configEdit) push(list *yaml.Node, item any) error {
	if list.Kind != yaml.SequenceNode {
		return fmt.Errorf("a list is needed on line %d", list.Line)
	}
	if list.Style&yaml.FlowStyle != 0 {
		text := flow(item)
		if len(list.Content) > 0 {
			text += ", "
		}
		return e.splice(list.Line, list.Column, text)
	}
	indent := list.Column - 1
	last := list.Content[len(list.Content)-1]
	line := e.end(last.Line, func(n int) bool { return n > indent })
	return e.insert(line, block([]any{item}, strings.Repeat(" ", indent)))
}

// end finds the line after which something ends that begins on a line, counted from 1: what is inside goes on while lines
// are indented so far. Empty lines and remarks at the end are left to what follows.
func (e *configEdit) end(line int, inside func(indent int) bool) int {
	end := line
	for i := line; i < len(e.lines); i++ {
		text := strings.TrimRight(e.lines[i], " \t\r\n")
		body := strings.TrimLeft(text, " ")
		if body == "" || body[0] == '#' {
			continue
		}
		if !inside(len(text) - len(body)) {
			break
		}
		end = i + 1
	}
	return end
}

// insert puts lines after a line, counted from 1.
func (e *configEdit) insert(after int, lines []string) error {
	for i := range lines {
		lines[i] += e.eol
	}
	e.lines = slices.Insert(e.lines, after, lines...)
	return nil
}

// splice puts text behind the opening bracket that stands at a line and a column, which count from 1 and in characters.
func (e *configEdit) splice(line, column int, text string) error {
	runes := []rune(e.lines[line-1])
	if column > len(runes) || runes[column-1] != '[' && runes[column-1] != '{' {
		return fmt.Errorf("no bracket was found on line %d", line)
	}
	e.lines[line-1] = string(runes[:column]) + text + string(runes[column:])
	return nil
}

// block writes items, or keys with values, as lines.
func block(content []any, indent string) []string {
	var lines []string
	item := func(of []string) {
		for i, line := range of {
			lead := "  "
			if i == 0 {
				lead = "- "
			}
			lines = append(lines, indent+lead+line)
		}
	}
	for _, c := range content {
		switch c := c.(type) {
		case keyed:
			lines = append(lines, indent+c.key+":")
			var inner []any
			switch v := c.value.(type) {
			case []any:
				inner = v
			case []IgnoreRule:
				for _, r := range v {
					inner = append(inner, r)
				}
			case []entryText:
				for _, t := range v {
					inner = append(inner, t)
				}
			}
			lines = append(lines, block(inner, indent+"  ")...)
		case IgnoreRule:
			item(ruleFields(c))
		case entryText:
			item(append([]string{"dir: " + scalar(c.dir)}, block([]any{keyed{"drift", []any{keyed{"ignore", c.rules}}}}, "")...))
		}
	}
	return lines
}

// flow writes the same in brackets, on one line.
func flow(v any) string {
	var parts []string
	switch v := v.(type) {
	case IgnoreRule:
		return "{ " + strings.Join(ruleFields(v), ", ") + " }"
	case entryText:
		return "{ dir: " + scalar(v.dir) + ", drift: { ignore: " + flow(v.rules) + " } }"
	case []IgnoreRule:
		for _, r := range v {
			parts = append(parts, flow(r))
		}
	case []entryText:
		for _, t := range v {
			parts = append(parts, flow(t))
		}
	case []any: // the keys of a mapping
		for _, p := range v {
			p := p.(keyed)
			parts = append(parts, p.key+": "+flow(p.value))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func ruleFields(r IgnoreRule) []string {
	fields := []string{"address: " + scalar(r.Address)}
	if len(r.Attributes) > 0 {
		var names []string
		for _, a := range r.Attributes {
			names = append(names, scalar(a))
		}
		fields = append(fields, "attributes: ["+strings.Join(names, ", ")+"]")
	}
	if r.Until != "" {
		fields = append(fields, "until: "+r.Until)
	}
	if r.Owner != "" {
		fields = append(fields, "owner: "+scalar(r.Owner))
	}
	if r.Reason != "" {
		fields = append(fields, "reason: "+scalar(r.Reason))
	}
	return fields
}

// scalar writes a text so that YAML takes it for nothing else: bare where it looks like a plain path of names, else in
// double quotes, whose escapes are JSON's.
func scalar(s string) string {
	if bareScalar.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

var bareScalar = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_/-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*$`)

func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plainConfig is a Config without what does not count when two are compared: lines, and whether a list is nil.
func plainConfig(c *Config) string {
	plain := *c
	plain.Workspaces = slices.Clone(c.Workspaces)
	for i := range plain.Workspaces {
		plain.Workspaces[i].Line = 0
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return "" // no Config holds what JSON cannot
	}
	return strings.ReplaceAll(string(text), `"attributes":[]`, `"attributes":null`)
}
