package adopt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// body changes what a block says from one object into another: only the
// attributes and nested blocks that differ.
func (t *tree) body(m *module, f *file, b *hclsyntax.Block, was, now map[string]any) ([]edit, error) {
	var edits []edit
	keys := map[string]bool{}
	for _, object := range []map[string]any{was, now} {
		for key := range object {
			keys[key] = true
		}
	}
	var added []piece
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if equal(was[key], now[key]) {
			continue
		}
		more, fresh, err := t.argument(spot{module: m, file: f}, b, key, was[key], now[key])
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
		added = append(added, fresh...)
	}
	if len(added) > 0 {
		edits = append(edits, f.addTo(b, added)...)
	}
	return edits, nil
}

// piece is an attribute or a nested block that a block does not have yet.
type piece struct {
	text  string
	block bool
}

// argument changes one attribute or the nested blocks of one name. What the
// block does not have yet comes back as pieces.
func (t *tree) argument(s spot, b *hclsyntax.Block, key string, was, now any) (edits []edit, fresh []piece, err error) {
	f := s.file
	inner := f.indent(b.CloseBraceRange.Start.Byte) + "  "
	if attribute := b.Body.Attributes[key]; attribute != nil {
		if now != nil {
			edits, err = t.expression(s.at(attribute.Expr), was, now)
			return edits, nil, err
		}
		written, plain := literal(attribute.Expr)
		switch {
		case !plain:
			return nil, nil, notLiteral(attribute.Expr)
		case written == nil:
			return nil, nil, nil
		case !fits(written, was):
			return nil, nil, errOtherwise
		}
		if err := t.editable(f); err != nil {
			return nil, nil, err
		}
		return []edit{f.dropArgument(attribute)}, nil, nil
	}
	var blocks []*hclsyntax.Block
	for _, block := range b.Body.Blocks {
		switch {
		case block.Type == "dynamic" && len(block.Labels) == 1 && block.Labels[0] == key:
			return nil, nil, errors.New("its configuration is a dynamic block")
		case block.Type == key && len(block.Labels) > 0:
			return nil, nil, errors.New("its configuration is blocks with labels")
		case block.Type == key:
			blocks = append(blocks, block)
		}
	}
	if err := t.editable(f); err != nil {
		return nil, nil, err
	}
	before, wasList := was.([]any)
	after, isList := now.([]any)
	switch {
	case len(blocks) == 0 && now == nil:
		return nil, nil, nil
	case len(blocks) == 0 && flat(now) && !(isList && len(after) == 0):
		return nil, []piece{{text: f.argumentText(key, now, inner)}}, nil
	case len(blocks) == 0 && wasList && len(before) == 0 && isList:
		// An attribute that is not set is null; only blocks can be none at all.
		for _, value := range after {
			text, err := f.blockText(key, value, nil, inner)
			if err != nil {
				return nil, nil, err
			}
			fresh = append(fresh, piece{text, true})
		}
		return nil, fresh, nil
	case len(blocks) == 0:
		return nil, nil, errors.New("the configuration does not set it, and whether it is an attribute or a block cannot be told")
	case wasList && isList:
		edits, err = t.blocks(s, blocks, before, after)
		return edits, nil, err
	}
	object, wasObject := was.(map[string]any)
	wanted, isObject := now.(map[string]any)
	switch {
	case len(blocks) != 1 || !wasObject:
		return nil, nil, errOtherwise
	case now == nil:
		return []edit{f.dropLines(blocks[0].Range().Start.Byte, blocks[0].CloseBraceRange.End.Byte)}, nil, nil
	case isObject:
		edits, err = t.body(s.module, f, blocks[0], object, wanted)
		return edits, nil, err
	}
	return nil, nil, errOtherwise
}

// blocks changes the nested blocks of one name.
func (t *tree) blocks(s spot, blocks []*hclsyntax.Block, was, now []any) ([]edit, error) {
	written := make([]func(any) bool, len(blocks))
	for i, block := range blocks {
		written[i] = func(v any) bool { return bodyFits(block.Body, v) }
	}
	values, ordered, ok := assign(written, was)
	if !ok {
		if _, _, done := assign(written, now); done {
			return nil, nil
		}
		return nil, errors.New("which block stands for which of the real ones cannot be told")
	}
	matches, err := align(values, now, ordered)
	if err != nil {
		return nil, err
	}
	f := s.file
	var edits []edit
	last := blocks[0]
	var before bool // nothing is kept before what is new
	before = true
	for _, m := range matches {
		switch {
		case m.from < 0:
			at := last.Range().Start.Byte
			indent := f.indent(at)
			text, err := f.blockText(last.Type, now[m.to], last.Body, indent)
			if err != nil {
				return nil, err
			}
			if before {
				edits = append(edits, f.insert(f.lineStart(at), text+f.newline()))
			} else {
				edits = append(edits, f.insert(f.after(last.CloseBraceRange.End.Byte).next, text+f.newline()))
			}
		case m.to < 0:
			block := blocks[m.from]
			if !onlyLiterals(block.Body) {
				return nil, errors.New("the block that would go holds more than literals")
			}
			edits = append(edits, f.dropLines(block.Range().Start.Byte, block.CloseBraceRange.End.Byte))
		default:
			last, before = blocks[m.from], false
			old, ok := values[m.from].(map[string]any)
			new, also := now[m.to].(map[string]any)
			if !ok || !also {
				return nil, errOtherwise
			}
			inside, err := t.body(s.module, f, last, old, new)
			if err != nil {
				return nil, err
			}
			edits = append(edits, inside...)
		}
	}
	return edits, nil
}

// bodyFits reports whether what is written in a block is what a value has. What
// cannot be read fits anything.
func bodyFits(b *hclsyntax.Body, value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for name, attribute := range b.Attributes {
		if written, plain := literal(attribute.Expr); plain && !fits(written, object[name]) {
			return false
		}
	}
	for _, block := range b.Blocks {
		switch inside := object[block.Type].(type) {
		case []any:
			if !slices.ContainsFunc(inside, func(v any) bool { return bodyFits(block.Body, v) }) {
				return false
			}
		case map[string]any:
			if !bodyFits(block.Body, inside) {
				return false
			}
		default:
			if block.Type != "dynamic" {
				return false
			}
		}
	}
	return true
}

func onlyLiterals(b *hclsyntax.Body) bool {
	for _, attribute := range b.Attributes {
		if !isLiteral(attribute.Expr) {
			return false
		}
	}
	return !slices.ContainsFunc(b.Blocks, func(inner *hclsyntax.Block) bool {
		return inner.Type == "dynamic" || !onlyLiterals(inner.Body)
	})
}

// dropArgument removes an attribute with the line that it stands on.
func (f *file) dropArgument(a *hclsyntax.Attribute) edit {
	start, end := argumentRange(a)
	if f.alone(start) && f.after(end).line {
		return f.dropLines(start, end)
	}
	// The only attribute of a block on one line.
	return edit{file: f, start: start, end: f.blanks(end)}
}

func argumentRange(a *hclsyntax.Attribute) (start, end int) {
	return a.NameRange.Start.Byte, a.Expr.Range().End.Byte
}

func (f *file) argumentText(key string, value any, indent string) string {
	return indent + key + " = " + f.written(value, indent)
}

// blockText is a new nested block. It says what its sibling says, and besides
// what is not empty: a provider fills in the rest itself.
func (f *file) blockText(name string, value any, sibling *hclsyntax.Body, indent string) (string, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return "", errOtherwise
	}
	var b strings.Builder
	nl := f.newline()
	b.WriteString(indent + name + " {" + nl)
	var nested []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		inside := object[key]
		said := sibling != nil && sibling.Attributes[key] != nil
		switch {
		case inside == nil || hollow(inside) && !said:
		case flat(inside):
			b.WriteString(f.argumentText(key, inside, indent+"  ") + nl)
		default:
			list, ok := inside.([]any)
			if !ok {
				return "", fmt.Errorf("the configuration does not have %s, and whether it is an attribute or a block cannot be told", key)
			}
			for _, element := range list {
				text, err := f.blockText(key, element, nil, indent+"  ")
				if err != nil {
					return "", err
				}
				nested = append(nested, text)
			}
		}
	}
	for _, text := range nested {
		b.WriteString(text + nl)
	}
	b.WriteString(indent + "}")
	return b.String(), nil
}

// hollow reports whether a value holds nothing.
func hollow(value any) bool {
	switch v := value.(type) {
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// addTo adds to a block: attributes after its last attribute, before its
// blocks; blocks at the end.
func (f *file) addTo(b *hclsyntax.Block, pieces []piece) []edit {
	nl := f.newline()
	open, end := b.OpenBraceRange.End.Byte, b.CloseBraceRange.Start.Byte
	first, last := end, -1
	for _, a := range b.Body.Attributes {
		start, stop := argumentRange(a)
		first, last = min(first, start), max(last, stop)
	}
	var arguments, blocks strings.Builder
	for _, p := range pieces {
		if p.block {
			blocks.WriteString(p.text + nl)
		} else {
			arguments.WriteString(p.text + nl)
		}
	}
	indent := f.indent(end)
	inside := string(f.src[open:end])
	switch {
	case strings.TrimSpace(inside) == "":
		return []edit{{file: f, start: open, end: end, text: nl + arguments.String() + blocks.String() + indent}}
	case !strings.Contains(inside, "\n") && last < 0:
		return []edit{f.insert(open, nl+arguments.String()+blocks.String()+indent+"  "), f.insert(end, nl+indent)}
	case !strings.Contains(inside, "\n"):
		// A block on one line has one attribute: it is unfolded.
		return []edit{
			{file: f, start: open, end: first, text: nl + indent + "  "},
			{file: f, start: last, end: end, text: nl + arguments.String() + blocks.String() + indent},
		}
	}
	var edits []edit
	if arguments.Len() > 0 {
		at := f.after(open).next
		if last >= 0 {
			at = f.after(last).next
		}
		edits = append(edits, f.insert(at, arguments.String()))
	}
	if blocks.Len() > 0 {
		edits = append(edits, f.insert(f.lineStart(end), blocks.String()))
	}
	return edits
}
