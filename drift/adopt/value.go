package adopt

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// step is one step of a path: the name of an attribute, a key, or the index of
// an element.
type step struct {
	name    string
	index   int
	isIndex bool
	// bracket says that it was written in brackets, as instance keys are.
	bracket bool
}

// parsePath reads a path or an address as package drift and Terraform write
// them: tags.env, rule[0].port, labels["app.kubernetes.io/name"].
func parsePath(text string) (steps []step, ok bool) {
	for text != "" {
		if text[0] != '[' {
			end := strings.IndexAny(text, ".[")
			if end < 0 {
				end = len(text)
			}
			if end == 0 {
				return nil, false
			}
			steps = append(steps, step{name: text[:end]})
			text = text[end:]
		} else {
			inside, rest, ok := bracketed(text)
			if !ok {
				return nil, false
			}
			steps, text = append(steps, inside), rest
		}
		if after, dot := strings.CutPrefix(text, "."); dot {
			if after == "" {
				return nil, false
			}
			text = after
		} else if text != "" && text[0] != '[' {
			return nil, false
		}
	}
	return steps, len(steps) > 0
}

// bracketed reads a step such as [0] or ["key"].
func bracketed(text string) (s step, rest string, ok bool) {
	if quoted, err := strconv.QuotedPrefix(text[1:]); err == nil {
		name, err := strconv.Unquote(quoted)
		rest, closed := strings.CutPrefix(text[1+len(quoted):], "]")
		return step{name: name, bracket: true}, rest, err == nil && closed
	}
	end := strings.IndexByte(text, ']')
	if end < 0 {
		return step{}, "", false
	}
	index, err := strconv.Atoi(text[1:end])
	return step{index: index, isIndex: true, bracket: true}, text[end+1:], err == nil
}

// lookup follows a path; nil if there is nothing at its end.
func lookup(value any, steps []step) any {
	for _, s := range steps {
		switch v := value.(type) {
		case map[string]any:
			value = nil
			if !s.isIndex {
				value = v[s.name]
			}
		case []any:
			value = nil
			if s.isIndex && s.index >= 0 && s.index < len(v) {
				value = v[s.index]
			}
		default:
			return nil
		}
	}
	return value
}

// with returns a value that is the same but for one place. Nothing is changed
// in the value that was given.
func with(value any, steps []step, leaf any) any {
	if len(steps) == 0 {
		return leaf
	}
	s := steps[0]
	if s.isIndex {
		list, _ := value.([]any)
		if s.index < 0 || s.index >= len(list) {
			return value
		}
		list = slices.Clone(list)
		list[s.index] = with(list[s.index], steps[1:], leaf)
		return list
	}
	object, _ := value.(map[string]any)
	copied := make(map[string]any, len(object)+1)
	maps.Copy(copied, object)
	if leaf == nil && len(steps) == 1 {
		delete(copied, s.name)
	} else {
		copied[s.name] = with(object[s.name], steps[1:], leaf)
	}
	return copied
}

// equal compares two decoded JSON values. A key that is missing equals one that
// is null.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return false
		}
		for key, value := range a {
			if !equal(value, b[key]) {
				return false
			}
		}
		for key, value := range b {
			if _, known := a[key]; !known && value != nil {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case nil, bool, string:
		return a == b
	}
	x, ok := number(a)
	y, also := number(b)
	return ok && also && x.Cmp(y) == 0
}

// fits reports whether what is written is what a value asks for. Terraform
// converts between strings, numbers and booleans, and fills in attributes that
// an object leaves out.
func fits(written, value any) bool {
	switch w := written.(type) {
	case map[string]any:
		v, ok := value.(map[string]any)
		if !ok {
			return false
		}
		for key, inside := range w {
			if !fits(inside, v[key]) {
				return false
			}
		}
		return true
	case []any:
		v, ok := value.([]any)
		return ok && slices.EqualFunc(w, v, fits)
	}
	if equal(written, value) {
		return true
	}
	a, scalar := scalarText(written)
	b, also := scalarText(value)
	if !scalar || !also {
		return false
	}
	if a == b {
		return true
	}
	_, isText := written.(string)
	_, both := value.(string)
	if isText && both {
		return false
	}
	x, ok := parseNumber(a)
	y, also := parseNumber(b)
	return ok && also && x.Cmp(y) == 0
}

// scalarText is a string, number or boolean as Terraform converts it to text.
func scalarText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

func number(value any) (*big.Float, bool) {
	switch value.(type) {
	case json.Number, float64:
		text, _ := scalarText(value)
		return parseNumber(text)
	}
	return nil, false
}

// parseNumber keeps as many digits as Terraform does.
func parseNumber(text string) (*big.Float, bool) {
	f, _, err := big.ParseFloat(text, 10, 512, big.ToNearestEven)
	return f, err == nil
}

// decoded translates a literal of the configuration into the words of a plan.
func decoded(v cty.Value) any {
	if v.IsNull() {
		return nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		return json.Number(v.AsBigFloat().Text('f', -1))
	case t.IsTupleType():
		list := []any{}
		for _, element := range v.AsValueSlice() {
			list = append(list, decoded(element))
		}
		return list
	case t.IsObjectType():
		object := map[string]any{}
		for key, element := range v.AsValueMap() {
			object[key] = decoded(element)
		}
		return object
	}
	return nil
}

// encoded translates a value that is no list and no object back.
func encoded(value any) cty.Value {
	switch v := value.(type) {
	case string:
		return cty.StringVal(v)
	case bool:
		return cty.BoolVal(v)
	case json.Number, float64:
		text, _ := scalarText(v)
		if n, err := cty.ParseNumberVal(text); err == nil {
			return n
		}
	}
	return cty.NullVal(cty.DynamicPseudoType)
}

// written is a value as Terraform's language writes it; lines after the first
// begin with the indentation.
func (f *file) written(value any, indent string) string {
	const start = "x = "
	text := hclwrite.Format(append([]byte(start), tokens(value).Bytes()...))
	return strings.ReplaceAll(strings.TrimSpace(strings.TrimPrefix(string(text), start)), "\n", f.newline()+indent)
}

// tokens is hclwrite.TokensForValue, but for keys that the language would take
// for something else: { for = 1 } is no object.
func tokens(value any) hclwrite.Tokens {
	switch v := value.(type) {
	case []any:
		elements := make([]hclwrite.Tokens, len(v))
		for i := range v {
			elements[i] = tokens(v[i])
		}
		return hclwrite.TokensForTuple(elements)
	case map[string]any:
		var items []hclwrite.ObjectAttrTokens
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if v[key] == nil {
				continue // it means the same, and is what a person would write
			}
			name := hclwrite.TokensForIdentifier(key)
			if !plainKey(key) {
				name = hclwrite.TokensForValue(cty.StringVal(key))
			}
			items = append(items, hclwrite.ObjectAttrTokens{Name: name, Value: tokens(v[key])})
		}
		return hclwrite.TokensForObject(items)
	}
	return hclwrite.TokensForValue(encoded(value))
}

func plainKey(key string) bool {
	return hclsyntax.ValidIdentifier(key) && !slices.Contains([]string{"for", "null", "true", "false"}, key)
}

// writtenKey is a key of a map as Terraform's language writes it.
func (f *file) writtenKey(key string, quoted bool) string {
	if !quoted && plainKey(key) {
		return key
	}
	return f.written(key, "")
}

// flat reports whether a value holds no object, so that it can only be an
// attribute and never a block; a map of flat values is flat, too.
func flat(value any) bool {
	isLeaf := func(v any) bool {
		switch v.(type) {
		case map[string]any, []any:
			return false
		}
		return true
	}
	switch v := value.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(v any) bool { return !isLeaf(v) })
	case map[string]any:
		for _, element := range v {
			if !isLeaf(element) {
				return false
			}
		}
	}
	return true
}
