package drift

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shownBytes is how much of a value is shown; user data and policies can be megabytes.
const shownBytes = 512

// delta is one place in a resource where two values differ.
type delta struct {
	steps         path
	before, after any
	unknown       bool // after is known only after apply
	sensitive     bool
}

// path leads to a place inside a resource: a string for an attribute, a block or a key of a map, an int for an element.
type path []any

// String writes a path as it would be written in configuration: tags.env, rule[0].port, labels["app.kubernetes.io/name"].
func (p path) String() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			switch {
			case !identifier.MatchString(step):
				fmt.Fprintf(&b, "[%q]", step)
			case b.Len() > 0:
				b.WriteString("." + step)
			default:
				b.WriteString(step)
			}
		}
	}
	return b.String()
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// top is the attribute or block that a path begins with.
func (p path) top() string {
	if len(p) == 0 {
		return ""
	}
	return text(p[0])
}

// lookup follows a path; nil if there is nothing at its end.
func (p path) lookup(value any) any {
	for _, step := range p {
		switch step := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

// marks reports whether a tree of marks covers the place that the path leads to, or anything in it.
func (p path) marks(tree any) bool {
	for i := range p {
		if tree == true {
			return true
		}
		tree = p[i : i+1].lookup(tree)
	}
	return marked(tree)
}

// sides are the two values that are compared, with the trees that Terraform's JSON keeps beside them: what is not known
// yet, and what is sensitive on either side. A tree is true where it applies to everything below, else has the value's
// shape; parts without a mark are missing or false.
type sides struct {
	before, after, unknown, beforeMask, afterMask any
}

// down goes to one attribute, key or element.
func (s sides) down(step any) sides {
	one := path{step}
	return sides{
		before: one.lookup(s.before), after: one.lookup(s.after), unknown: one.lookup(s.unknown),
		beforeMask: one.lookup(s.beforeMask), afterMask: one.lookup(s.afterMask),
	}
}

// diff lists where two values differ, as deep as that can be told without the provider's schema.
func (s sides) diff() []delta { return s.walk(nil, nil) }

func (s sides) walk(at path, found []delta) []delta {
	changed := s.unknown == true || marked(s.unknown) || !equal(s.before, s.after)
	if !changed {
		return found
	}
	here := delta{
		steps: slices.Clone(at), before: s.before, after: s.after,
		unknown:   s.unknown == true || marked(s.unknown),
		sensitive: marked(s.beforeMask) || marked(s.afterMask),
	}
	// Below a mark even the names of keys are secret, so the walk ends there.
	if s.unknown == true || s.beforeMask == true || s.afterMask == true {
		return append(found, here)
	}
	before, isObject := s.before.(map[string]any)
	after, alsoObject := s.after.(map[string]any)
	if isObject && alsoObject || len(at) == 0 && (isObject || alsoObject) {
		keys := map[string]bool{}
		unknown, _ := s.unknown.(map[string]any)
		for _, object := range []map[string]any{before, after, unknown} {
			for key := range object {
				keys[key] = true
			}
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			found = s.down(key).walk(append(at, key), found)
		}
		return found
	}
	if s.elementwise() {
		list, _ := s.before.([]any)
		for i := range list {
			found = s.down(i).walk(append(at, i), found)
		}
		return found
	}
	return append(found, here)
}

// elementwise reports whether two lists are best compared element by element: blocks, as many as before, none of which
// has only moved. JSON does not tell a list from a set, and in a set one changed element can shift all the others.
func (s sides) elementwise() bool {
	before, ok := s.before.([]any)
	after, also := s.after.([]any)
	if !ok || !also || len(before) != len(after) || len(before) == 0 {
		return false
	}
	for i := range before {
		if _, isObject := before[i].(map[string]any); !isObject {
			return false
		}
		if _, isObject := after[i].(map[string]any); !isObject {
			return false
		}
		if equal(before[i], after[i]) {
			continue
		}
		for j := range after {
			if i != j && equal(before[i], after[j]) {
				return false
			}
		}
	}
	return true
}

// marked reports whether a tree of marks holds any true.
func marked(tree any) bool {
	switch tree := tree.(type) {
	case bool:
		return tree
	case map[string]any:
		for _, branch := range tree {
			if marked(branch) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(tree, marked)
	}
	return false
}

// equal compares two decoded JSON values. A key that is missing equals one that is null.
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
			if _, ok := a[key]; !ok && value != nil {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case json.Number, float64:
		if b, ok := b.(float64); ok {
			if a, ok := a.(float64); ok {
				return a == b
			}
		}
		x, ok := number(a)
		y, also := number(b)
		return ok && also && x.Cmp(y) == 0
	case nil, bool, string:
		return a == b
	}
	return false
}

// number reads a JSON number in whichever form the plan was decoded. Precision is that of the digits given, so that ids
// of twenty digits are not taken for each other.
func number(value any) (*big.Float, bool) {
	var digits string
	switch value := value.(type) {
	case json.Number:
		digits = value.String()
	case float64:
		digits = strconv.FormatFloat(value, 'g', -1, 64)
	default:
		return nil, false
	}
	f, _, err := big.ParseFloat(digits, 10, 512, big.ToNearestEven)
	return f, err == nil
}

// empty reports whether a value holds nothing: null, "", [] or {}. Providers built on the older SDK turn these into each
// other between an apply and the next refresh.
func empty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// zero reports whether a value is what a provider reports for an argument that nobody set.
func zero(value any) bool {
	if n, ok := number(value); ok {
		return n.Sign() == 0
	}
	return value == false || empty(value)
}

// same is equal, and also true for two values that hold nothing.
func same(a, b any) bool { return equal(a, b) || empty(a) && empty(b) }

// show writes a value for people: as JSON on one line, cut when it is long.
func show(value any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "(cannot be shown)" // no decoded JSON comes here
	}
	shown := strings.TrimSuffix(b.String(), "\n")
	if len(shown) <= shownBytes {
		return shown
	}
	cut := shownBytes
	for cut > 0 && !utf8.RuneStart(shown[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes in all)", shown[:cut], len(shown))
}
