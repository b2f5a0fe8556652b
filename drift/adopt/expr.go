package adopt

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

var errOtherwise = errors.New("what the configuration says is not what the plan asks for: something else has a part in it")

// literal is what an expression says if it says it in so many words.
func literal(expr hclsyntax.Expression) (any, bool) {
	if !isLiteral(expr) {
		return nil, false
	}
	v, diags := expr.Value(nil)
	if diags.HasErrors() || !v.IsWhollyKnown() {
		return nil, false
	}
	return decoded(v), true
}

func isLiteral(expr hclsyntax.Expression) bool {
	every := func(list []hclsyntax.Expression) bool {
		return !slices.ContainsFunc(list, func(e hclsyntax.Expression) bool { return !isLiteral(e) })
	}
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		return true
	case *hclsyntax.TemplateExpr:
		return every(e.Parts)
	case *hclsyntax.ParenthesesExpr:
		return isLiteral(e.Expression)
	case *hclsyntax.UnaryOpExpr:
		_, number := e.Val.(*hclsyntax.LiteralValueExpr)
		return number && e.Op == hclsyntax.OpNegate
	case *hclsyntax.TupleConsExpr:
		return every(e.Exprs)
	case *hclsyntax.ObjectConsExpr:
		items, err := itemsOf(e)
		return err == nil && !slices.ContainsFunc(items, func(i item) bool { return !isLiteral(i.value) })
	}
	return false
}

// text is a literal string.
func text(expr hclsyntax.Expression) (string, bool) {
	v, ok := literal(expr)
	s, isString := v.(string)
	return s, ok && isString
}

// item is one entry of a written object.
type item struct {
	key        string
	quoted     bool
	at         hclsyntax.Expression
	value      hclsyntax.Expression
	start, end int
}

func itemsOf(e *hclsyntax.ObjectConsExpr) ([]item, error) {
	items := make([]item, len(e.Items))
	seen := map[string]bool{}
	for i, written := range e.Items {
		key := item{at: written.KeyExpr, value: written.ValueExpr, start: written.KeyExpr.Range().Start.Byte, end: written.ValueExpr.Range().End.Byte}
		wrapped, ok := written.KeyExpr.(*hclsyntax.ObjectConsKeyExpr)
		if !ok {
			return nil, errors.New("a key of it is not a literal")
		}
		if key.key = hcl.ExprAsKeyword(wrapped.Wrapped); key.key == "" || wrapped.ForceNonLiteral {
			if key.key, ok = text(wrapped.Wrapped); !ok {
				return nil, errors.New("a key of it is not a literal")
			}
			key.quoted = true
		}
		if seen[key.key] {
			return nil, fmt.Errorf("it has the key %q twice", key.key)
		}
		seen[key.key] = true
		items[i] = key
	}
	return items, nil
}

// notLiteral says of an expression why nothing can be written in its place.
func notLiteral(expr hclsyntax.Expression) error {
	switch e := expr.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		return fmt.Errorf("its configuration is a reference to %s", traversalText(e.Traversal))
	case *hclsyntax.FunctionCallExpr:
		return fmt.Errorf("its configuration is not a literal: it calls %s()", e.Name)
	case *hclsyntax.TemplateExpr, *hclsyntax.TemplateWrapExpr:
		return errors.New("its configuration is a text with ${…} in it")
	case *hclsyntax.ConditionalExpr:
		return errors.New("its configuration depends on a condition")
	case *hclsyntax.ForExpr:
		return errors.New("its configuration is made by a for expression")
	}
	return errors.New("its configuration is an expression and not a literal")
}

func traversalText(t hcl.Traversal) string {
	var b strings.Builder
	for i, hop := range t {
		switch hop := hop.(type) {
		case hcl.TraverseRoot:
			b.WriteString(hop.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + hop.Name)
		default:
			if i > 0 {
				b.WriteString("[…]")
			}
		}
	}
	return b.String()
}

// expression changes what an expression says from one value into another.
func (t *tree) expression(s spot, was, now any) ([]edit, error) {
	if equal(was, now) {
		return nil, nil
	}
	written, plain := literal(s.expr)
	if plain && fits(written, now) && fits(now, written) {
		return nil, nil // it says so already
	}
	s = t.follow(s)
	switch e := s.expr.(type) {
	case *hclsyntax.ObjectConsExpr:
		before, isObject := was.(map[string]any)
		after, also := now.(map[string]any)
		if isObject && also {
			return t.object(s, e, before, after)
		}
	case *hclsyntax.TupleConsExpr:
		before, isList := was.([]any)
		after, also := now.([]any)
		if isList && also {
			return t.tuple(s, e, before, after)
		}
	case *hclsyntax.FunctionCallExpr:
		if slices.Contains([]string{"toset", "tolist", "tomap"}, e.Name) && len(e.Args) == 1 && !e.ExpandFinal {
			return t.expression(s.at(e.Args[0]), was, now)
		}
		before, isJSON := fromJSON(was)
		after, also := fromJSON(now)
		if e.Name == "jsonencode" && len(e.Args) == 1 && !e.ExpandFinal && isJSON && also {
			return t.expression(s.at(e.Args[0]), before, after)
		}
	}
	if written, plain = literal(s.expr); !plain {
		return nil, notLiteral(s.expr)
	}
	if fits(written, now) && fits(now, written) {
		return nil, nil
	}
	if !fits(written, was) {
		return nil, errOtherwise
	}
	if err := t.editable(s.file); err != nil {
		return nil, err
	}
	r := s.expr.Range()
	if new, ok := s.file.heredoc(r, now); ok {
		return []edit{s.file.replace(r, new)}, nil
	}
	return []edit{s.file.replace(r, s.file.written(now, s.file.indent(r.Start.Byte)))}, nil
}

// fromJSON reads a text that is JSON, as policies are.
func fromJSON(value any) (decoded any, ok bool) {
	text, isText := value.(string)
	if !isText {
		return nil, false
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	err := decoder.Decode(&decoded)
	return decoded, err == nil && !decoder.More()
}

var heredocStart = regexp.MustCompile(`^<<(-?)([^\s]+)\r?\n`)

// heredoc writes a text as the heredoc that it was before, where that can be.
func (f *file) heredoc(r hcl.Range, now any) (string, bool) {
	src := f.src[r.Start.Byte:r.End.Byte]
	start := heredocStart.FindSubmatch(src)
	text, isText := now.(string)
	if start == nil || !isText || !strings.HasSuffix(text, "\n") || strings.ContainsAny(text, "\r\x00") || f.newline() != "\n" {
		return "", false
	}
	marker := string(start[2])
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	indent := ""
	if len(start[1]) > 0 {
		first := src[len(start[0]):]
		indent = string(first[:len(first)-len(strings.TrimLeft(string(first), " \t"))])
		// The least indented line loses its indentation, so one must have none of its own.
		if !slices.ContainsFunc(lines, func(l string) bool { return l != "" && l[0] != ' ' && l[0] != '\t' }) {
			return "", false
		}
	}
	var b strings.Builder
	b.Write(start[0])
	for _, line := range lines {
		if strings.TrimSpace(line) == marker {
			return "", false
		}
		if line != "" {
			b.WriteString(indent + strings.NewReplacer("${", "$${", "%{", "%%{").Replace(line))
		} else if indent != "" {
			return "", false // a blank line would count as the least indented one
		}
		b.WriteByte('\n')
	}
	last := strings.LastIndexByte(strings.TrimRight(string(src), "\n"), '\n') + 1
	b.WriteString(string(src[last:]))
	return b.String(), true
}

// object changes those entries of an object or a map that differ.
func (t *tree) object(s spot, e *hclsyntax.ObjectConsExpr, was, now map[string]any) ([]edit, error) {
	items, err := itemsOf(e)
	if err != nil {
		return nil, err
	}
	if err := t.editable(s.file); err != nil {
		return nil, err
	}
	l := layout{file: s.file, open: e.OpenRange, whole: e.SrcRange, object: true}
	quoted, equals := len(items) > 0, " = "
	for _, i := range items {
		l.items = append(l.items, [2]int{i.start, i.end})
		quoted = quoted && i.quoted
		if strings.Contains(string(s.file.src[i.at.Range().End.Byte:i.value.Range().Start.Byte]), ":") {
			equals = ": "
		}
	}
	var edits []edit
	for i, at := range items {
		before, after := was[at.key], now[at.key]
		switch {
		case equal(before, after):
		case after == nil:
			written, plain := literal(at.value)
			if !plain {
				return nil, notLiteral(at.value)
			}
			if !fits(written, before) {
				return nil, errOtherwise
			}
			l.drop = append(l.drop, i)
		default:
			inside, err := t.expression(s.at(at.value), before, after)
			if err != nil {
				return nil, err
			}
			edits = append(edits, inside...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if equal(was[key], now[key]) || slices.ContainsFunc(items, func(i item) bool { return i.key == key }) {
			continue
		}
		l.add = append(l.add, addition{after: len(items) - 1, text: func(indent string) string {
			return s.file.writtenKey(key, quoted) + equals + s.file.written(now[key], indent)
		}})
	}
	more, err := l.edits()
	return append(edits, more...), err
}

// tuple changes those elements of a list or set that differ.
func (t *tree) tuple(s spot, e *hclsyntax.TupleConsExpr, was, now []any) ([]edit, error) {
	written := make([]func(any) bool, len(e.Exprs))
	for i, element := range e.Exprs {
		value, plain := literal(element)
		if !plain {
			continue // what it is cannot be seen, only that it stands at its place
		}
		written[i] = func(v any) bool { return fits(value, v) }
	}
	values, ordered, ok := assign(written, was)
	if !ok {
		if values, _, done := assign(written, now); done && isLiteral(e) && len(values) == len(now) {
			return nil, nil
		}
		return nil, errOtherwise
	}
	if err := t.editable(s.file); err != nil {
		return nil, err
	}
	l := layout{file: s.file, open: e.OpenRange, whole: e.SrcRange}
	for _, element := range e.Exprs {
		l.items = append(l.items, [2]int{element.Range().Start.Byte, element.Range().End.Byte})
	}
	matches, err := align(values, now, ordered)
	if err != nil {
		return nil, err
	}
	var edits []edit
	last := -1
	for _, m := range matches {
		switch {
		case m.from < 0:
			value := now[m.to]
			l.add = append(l.add, addition{after: last, text: func(indent string) string { return s.file.written(value, indent) }})
			continue
		case m.to < 0:
			if written[m.from] == nil {
				return nil, notLiteral(e.Exprs[m.from])
			}
			l.drop = append(l.drop, m.from)
			continue
		}
		last = m.from
		inside, err := t.expression(s.at(e.Exprs[m.from]), values[m.from], now[m.to])
		if err != nil {
			return nil, err
		}
		edits = append(edits, inside...)
	}
	more, err := l.edits()
	return append(edits, more...), err
}
