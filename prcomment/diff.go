package prcomment

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Sizes inside a diff, in bytes, lines and elements.
const (
	maxValue    = 1000    // a value on one line; the middle of longer ones is left out
	maxKey      = 200     // the name of an attribute or a key of a map
	maxArrow    = 90      // before and after on one line, if they fit; else on two
	maxDocument = 1 << 20 // a string that is looked into (JSON, lines); longer ones are one value
	maxTexts    = 1 << 19 // two texts together that are compared whole, line by line
	maxAligned  = 20000   // elements of two lists together that are aligned; longer lists are compared by index
	context     = 2       // unchanged lines around a changed one
	maxDepth    = 60      // nesting; deeper values are written as JSON on one line
)

// Words that stand for values.
const (
	wordSensitive = "(sensitive)"
	wordUnknown   = "(known after apply)"
)

// A node is a piece of a diff: an attribute, an element, or a line of a string. Nodes exist for what changed only.
type node struct {
	op     byte   // '+', '-', '!' or ' '
	label  string // ready to write; "" for elements of lists of plain values and for lines
	before string // what was, ready to write; "" when there are kids
	after  string // what will be
	note   string // written behind
	kids   []*node
	// Fold says that a single kid may be written on this node's line: labels, not sentences, follow each other.
	fold bool
	// Text marks a line of a string.
	text bool
	// Hidden counts the unchanged kids that are not written, which are called noun.
	hidden int
	noun   string
	// Unknown marks a computed value that tells nothing but that it will be known after the apply.
	unknown bool
}

// value is one side or the other of a comparison, with what Terraform says about it.
type value struct {
	v         any
	has       bool
	sensitive any // nil, bool, or a tree of them
}

func (v value) key(name string) value {
	child, has := asMap(v.v)[name]
	return value{v: child, has: v.has && has && child != nil, sensitive: maskAt(v.sensitive, name)}
}

func (v value) index(i int) value {
	list := asList(v.v)
	if i < 0 || i >= len(list) {
		return value{}
	}
	return value{v: list[i], has: v.has, sensitive: maskIndex(v.sensitive, i)}
}

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

func asList(v any) []any { l, _ := v.([]any); return l }

func maskAt(mask any, name string) any {
	if m, ok := mask.(map[string]any); ok {
		return m[name]
	}
	return mask == true
}

func maskIndex(mask any, i int) any {
	if m, ok := mask.([]any); ok {
		if i < len(m) {
			return m[i]
		}
		return nil
	}
	return mask == true
}

// differ compares values. It visits every value at most a few times, and stops for good when it has made as many nodes
// as anybody will read.
type differ struct {
	redactor *redactor
	forces   map[string]bool // paths that force a replacement, as pathOf writes them
	room     int             // nodes that may still be made
	seed     maphash.Seed
}

func newDiffer(r *redactor, room int) *differ {
	return &differ{redactor: r, room: room, seed: maphash.MakeSeed()}
}

// full says that the diff is as long as it may be; nothing more is compared.
func (d *differ) full() bool { return d.room <= 0 }

func (d *differ) node(n node) *node {
	d.room--
	return &n
}

// compare returns what differs between before and after, nil if nothing does.
func (d *differ) compare(label, path string, before, after value, unknown any, depth int) *node {
	if d.full() {
		return nil
	}
	n := d.compareValue(label, path, before, after, unknown, depth)
	if n != nil && d.forces[path] {
		n.note = strings.TrimPrefix(n.note+"; forces replacement", "; ")
		n.unknown = false
		n.fold = false
	}
	return n
}

func (d *differ) compareValue(label, path string, before, after value, unknown any, depth int) *node {
	isUnknown := unknown == true
	if before.has && before.sensitive == true || after.has && after.sensitive == true || isUnknown && after.sensitive == true {
		return d.sensitive(label, before, after, isUnknown)
	}
	if isUnknown {
		n := d.node(node{op: '!', label: label, after: wordUnknown, unknown: true})
		switch {
		case !before.has:
			n.op = '+'
		case isScalar(before.v):
			n.before = d.scalar(before.v)
		default:
			n.before = "(" + d.size(before.v) + ")"
		}
		return n
	}
	if !before.has && !after.has && !hasUnknown(unknown) {
		return nil
	}
	if depth >= maxDepth {
		return d.deep(label, before, after)
	}
	beforeMap, beforeIsMap := before.v.(map[string]any)
	afterMap, afterIsMap := after.v.(map[string]any)
	beforeList, beforeIsList := before.v.([]any)
	afterList, afterIsList := after.v.([]any)
	if !after.has && hasUnknown(unknown) { // an object of which nothing is known yet but its shape
		switch unknown.(type) {
		case map[string]any:
			after, afterMap, afterIsMap = value{v: map[string]any{}, has: true, sensitive: after.sensitive}, nil, true
		case []any:
			after, afterList, afterIsList = value{v: make([]any, len(asList(unknown))), has: true, sensitive: after.sensitive}, make([]any, len(asList(unknown))), true
		}
	}
	switch {
	case (beforeIsMap || !before.has) && (afterIsMap || !after.has):
		return d.maps(label, path, before, after, beforeMap, afterMap, unknown, depth)
	case (beforeIsList || !before.has) && (afterIsList || !after.has):
		return d.lists(label, path, before, after, beforeList, afterList, unknown, depth)
	case isScalar(before.v) && isScalar(after.v):
		return d.scalars(label, before, after, depth)
	}
	// One value that becomes a list of such, or back: policies are full of them.
	switch {
	case isScalar(before.v) && afterIsList && !slices.ContainsFunc(afterList, func(v any) bool { return !isScalar(v) }):
		return d.listed(label, path, value{v: []any{before.v}, has: true}, after, "becomes a list", unknown, depth)
	case isScalar(after.v) && beforeIsList && !slices.ContainsFunc(beforeList, func(v any) bool { return !isScalar(v) }):
		return d.listed(label, path, before, value{v: []any{after.v}, has: true}, "is no list any more", nil, depth)
	}
	if hasTrue(before.sensitive) || hasTrue(after.sensitive) {
		return d.node(node{op: '!', label: label, after: "(sensitive, changes)"})
	}
	// The kind of value changed: all of the old one goes, all of the new one comes.
	n := d.node(node{op: ' ', label: label})
	if k := d.compare("(was)", nowhere, before, value{}, nil, depth+1); k != nil {
		n.kids = append(n.kids, k)
	}
	if k := d.compare("(becomes)", nowhere, value{}, after, unknown, depth+1); k != nil {
		n.kids = append(n.kids, k)
	}
	return n
}

// listed compares two lists of which one was no list.
func (d *differ) listed(label, path string, before, after value, note string, unknown any, depth int) *node {
	n := d.lists(label, path, before, after, asList(before.v), asList(after.v), unknown, depth)
	if n == nil {
		n = d.node(node{op: '!', label: label, after: d.scalar(asList(after.v)[0])})
	}
	n.note, n.fold = note, false
	return n
}

// sensitive compares without telling: the value of either side may be the secret of the other.
func (d *differ) sensitive(label string, before, after value, unknown bool) *node {
	switch {
	case unknown && !before.has:
		return d.node(node{op: '+', label: label, after: "(sensitive, known after apply)"})
	case unknown:
		return d.node(node{op: '!', label: label, after: "(sensitive) → (sensitive, known after apply)"})
	case !before.has:
		if !after.has || after.v == nil {
			return nil
		}
		return d.node(node{op: '+', label: label, after: wordSensitive})
	case !after.has:
		if before.v == nil {
			return nil
		}
		return d.node(node{op: '-', label: label, after: wordSensitive})
	}
	same := equal(before.v, after.v)
	switch was, is := before.sensitive == true, after.sensitive == true; {
	case same && was == is:
		return nil
	case same && is:
		return d.node(node{op: '!', label: label, after: "(sensitive, same value; it was not marked as sensitive before)"})
	case same:
		return d.node(node{op: '!', label: label, after: "(sensitive, same value; it will no longer be marked as sensitive)"})
	}
	return d.node(node{op: '!', label: label, after: "(sensitive, changes)"})
}

func (d *differ) maps(label, path string, before, after value, beforeMap, afterMap map[string]any, unknown any, depth int) *node {
	n := node{label: label, op: side(before.has, after.has), noun: "attribute"}
	n.fold = n.op == ' '
	names := slices.Collect(maps.Keys(afterMap))
	for name := range beforeMap {
		if _, ok := afterMap[name]; !ok {
			names = append(names, name)
		}
	}
	unknownMap := asMap(unknown)
	for name, u := range unknownMap {
		if _, ok := afterMap[name]; !ok && hasUnknown(u) {
			if _, ok := beforeMap[name]; !ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	empty := 0
	for _, name := range names {
		if d.full() {
			break
		}
		b, a, u := before.key(name), after.key(name), unknownMap[name]
		if before.has != after.has && isEmpty(b.v) && isEmpty(a.v) && !hasUnknown(u) && b.sensitive != true && a.sensitive != true {
			empty++
			continue
		}
		kid := d.compare(d.name(name), joinPath(path, name), b, a, u, depth+1)
		switch {
		case kid != nil:
			n.kids = append(n.kids, kid)
		case b.has || a.has:
			n.hidden++
		}
	}
	if before.has != after.has {
		n.hidden = 0
	}
	if len(n.kids) > 0 {
		return d.node(n)
	}
	if before.has != after.has {
		text := "{}"
		if empty > 0 {
			text = "{" + count(empty, "empty attribute", "empty attributes") + "}"
		}
		n.after = text
		return d.node(n)
	}
	return nil
}

func (d *differ) lists(label, path string, before, after value, beforeList, afterList []any, unknown any, depth int) *node {
	n := node{label: label, op: side(before.has, after.has), noun: "element"}
	unknownList := asList(unknown)
	at := func(i int) any {
		if i < len(unknownList) {
			return unknownList[i]
		}
		return nil
	}
	indexed := func(v any, i int) (string, string) {
		p := joinIndex(path, i)
		if isScalar(v) {
			return "", p
		}
		return "[" + strconv.Itoa(i) + "]", p
	}
	add := func(kid *node) {
		switch {
		case kid != nil:
			n.kids = append(n.kids, kid)
		case !d.full():
			n.hidden++
		}
	}
	if before.has != after.has {
		for i := range max(len(beforeList), len(afterList)) {
			if d.full() {
				break
			}
			b, a := before.index(i), after.index(i)
			v := a.v
			if !after.has {
				v = b.v
			}
			l, p := indexed(v, i)
			if v == nil && !hasUnknown(at(i)) && b.sensitive != true && a.sensitive != true {
				add(d.node(node{op: n.op, after: "null"}))
				continue
			}
			add(d.compare(l, p, b, a, at(i), depth+1))
		}
		if len(n.kids) == 0 {
			n.after = "[]"
		}
		n.hidden = 0
		return d.node(n)
	}
	if len(beforeList) == 0 && len(afterList) == 0 {
		return nil
	}
	if len(beforeList) == 0 || len(afterList) == 0 {
		// Nothing to compare with: an empty list that gets its first elements, or the other way round.
		n.op = ' '
	}
	// Elements are matched by value, not by place: what is masked in one element on one side may be its unmasked
	// successor on the other. So what goes or comes is masked as any element of either side is.
	before.sensitive = spread(before.sensitive, after.sensitive, len(beforeList))
	after.sensitive = spread(after.sensitive, before.sensitive, len(afterList))
	if len(beforeList)+len(afterList) > maxAligned {
		return d.byIndex(n, path, before, after, at, depth)
	}
	was, is := d.tokens(before, nil), d.tokens(after, unknownList)
	edits, moved := editScript(was, is), false
	if isObjects(beforeList) && isObjects(afterList) {
		edits, moved = matchObjects(edits, was, is)
	}
	gone, come := splitEdits(edits)
	partner := pair(beforeList, afterList, gone, come)
	paired := make(map[int]bool, len(partner))
	for _, c := range partner {
		paired[c] = true
	}
	for _, e := range edits {
		if d.full() {
			break
		}
		switch e.op {
		case ' ':
			// The same value may be masked, or unknown within, on one side only.
			add(d.compareSame(e, path, before, after, at, depth))
		case '-':
			if c, ok := partner[e.a]; ok {
				l, p := indexed(afterList[c], c)
				add(d.compare(l, p, before.index(e.a), after.index(c), at(c), depth+1))
				continue
			}
			l, _ := indexed(beforeList[e.a], e.a)
			add(d.one('-', l, nowhere, before.index(e.a), nil, depth+1))
		case '+':
			if !paired[e.b] {
				l, p := indexed(afterList[e.b], e.b)
				add(d.one('+', l, p, after.index(e.b), at(e.b), depth+1))
			}
		}
	}
	if moved {
		n.note = "the order changes, too"
		if len(n.kids) == 0 {
			n.note = "only the order changes"
			n.op, n.after = '!', "("+count(len(afterList), "element", "elements")+")"
			return d.node(n)
		}
		return d.node(n)
	}
	if len(n.kids) == 0 {
		return nil
	}
	n.fold = len(n.kids) == 1 && n.kids[0].label != ""
	if len(n.kids) == 2 && n.hidden == 0 && label != "" {
		if b, a := n.kids[0], n.kids[1]; b.op == '-' && a.op == '+' && b.label+a.label == "" && b.isLeaf() && a.isLeaf() &&
			len(b.before)+len(a.after) < maxArrow {
			return d.node(node{op: '!', label: label, before: "[" + b.before + "]", after: "[" + a.after + "]"})
		}
	}
	return d.node(n)
}

// spread is the mask of a list of n elements, each masked as all elements of this list and of the other one together.
// Without any mask inside it is what it was.
func spread(mask, other any, n int) any {
	if !hasTrue(mask) && !hasTrue(other) {
		return mask
	}
	var all any
	for _, m := range [][]any{asList(mask), asList(other)} {
		for _, element := range m {
			all = mergeMasks(all, element)
		}
	}
	if all == nil {
		return mask
	}
	masks := make([]any, n)
	for i := range masks {
		masks[i] = all
	}
	return masks
}

// mergeMasks hides what either of two masks hides.
func mergeMasks(a, b any) any {
	if a == true || b == true {
		return true
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return x
		}
		merged := maps.Clone(x)
		for name, m := range y {
			merged[name] = mergeMasks(merged[name], m)
		}
		return merged
	case []any:
		y, ok := b.([]any)
		if !ok {
			return x
		}
		merged := make([]any, max(len(x), len(y)))
		copy(merged, x)
		for i, m := range y {
			merged[i] = mergeMasks(merged[i], m)
		}
		return merged
	}
	if b != nil && b != false {
		return b
	}
	return a
}

// byIndex compares lists that are too long to be aligned, each element with the one in the same place.
func (d *differ) byIndex(n node, path string, before, after value, at func(int) any, depth int) *node {
	b, a := len(asList(before.v)), len(asList(after.v))
	for i := range max(b, a) {
		if d.full() {
			break
		}
		label := "[" + strconv.Itoa(i) + "]"
		var kid *node
		switch {
		case i >= a:
			kid = d.one('-', label, nowhere, before.index(i), nil, depth+1)
		case i >= b:
			kid = d.one('+', label, joinIndex(path, i), after.index(i), at(i), depth+1)
		default:
			kid = d.compare(label, joinIndex(path, i), before.index(i), after.index(i), at(i), depth+1)
		}
		if kid != nil {
			n.kids = append(n.kids, kid)
		} else {
			n.hidden++
		}
	}
	if len(n.kids) == 0 {
		return nil
	}
	return d.node(n)
}

// compareSame looks at two elements that are equal as far as their values go.
func (d *differ) compareSame(e edit, path string, before, after value, at func(int) any, depth int) *node {
	b, a, u := before.index(e.a), after.index(e.b), at(e.b)
	if !hasUnknown(u) && equal(b.sensitive, a.sensitive) {
		return nil
	}
	return d.compare("["+strconv.Itoa(e.b)+"]", joinIndex(path, e.b), b, a, u, depth+1)
}

// one writes an element that exists on one side only.
func (d *differ) one(op byte, label, path string, v value, unknown any, depth int) *node {
	if v.v == nil && !hasUnknown(unknown) && v.sensitive != true {
		return d.node(node{op: op, label: label, after: "null"})
	}
	v.has = true
	if op == '-' {
		return d.compare(label, path, v, value{}, nil, depth)
	}
	if unknown == true {
		v.has = false
	}
	return d.compare(label, path, value{}, v, unknown, depth)
}

func isObjects(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool { return asMap(v) == nil })
}

// matchObjects finds again the objects that an alignment dropped in one place and added in another. What Terraform calls
// a set is a list here, in an order that means nothing and changes with every element; moved tells that such a list may
// also have been put in another order by somebody.
func matchObjects(edits []edit, before, after []string) (matched []edit, moved bool) {
	gone := map[string][]int{}
	for _, e := range edits {
		if e.op == '-' {
			gone[before[e.a]] = append(gone[before[e.a]], e.a)
		}
	}
	same := map[int]int{} // in after → in before
	found := map[int]bool{}
	for _, e := range edits {
		if e.op == '+' {
			if list := gone[after[e.b]]; len(list) > 0 {
				same[e.b] = list[0]
				found[list[0]] = true
				gone[after[e.b]] = list[1:]
			}
		}
	}
	if len(same) == 0 {
		return edits, false
	}
	for _, e := range edits {
		switch {
		case e.op == '-' && found[e.a]:
			continue
		case e.op == '+':
			if i, ok := same[e.b]; ok {
				e = edit{' ', i, e.b}
			}
		}
		matched = append(matched, e)
	}
	return matched, true
}

// pair finds which of the elements that go and come are the same thing, changed: the most alike first. Plain values
// never are.
func pair(before, after []any, gone, come []int) map[int]int {
	pairs := map[int]int{}
	if len(gone) == 1 && len(come) == 1 {
		if b, a := before[gone[0]], after[come[0]]; asMap(b) != nil && asMap(a) != nil || asList(b) != nil && asList(a) != nil {
			pairs[gone[0]] = come[0]
		}
		return pairs
	}
	if len(gone)*len(come) > 2500 { // comparing each with each would take too long
		for i := range min(len(gone), len(come)) {
			if alike(before[gone[i]], after[come[i]]) >= 0.5 {
				pairs[gone[i]] = come[i]
			}
		}
		return pairs
	}
	type candidate struct {
		gone, come int
		score      float64
	}
	var candidates []candidate
	for _, g := range gone {
		for _, c := range come {
			if score := alike(before[g], after[c]); score >= 0.5 {
				candidates = append(candidates, candidate{g, c, score})
			}
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	taken := map[int]bool{}
	for _, c := range candidates {
		if _, ok := pairs[c.gone]; !ok && !taken[c.come] {
			pairs[c.gone] = c.come
			taken[c.come] = true
		}
	}
	return pairs
}

// alike is the part of two objects' attributes that are plain and equal, from 0 to 1. The same name or id is as good as
// half of them.
func alike(before, after any) float64 {
	b, a := asMap(before), asMap(after)
	if b == nil || a == nil {
		return 0
	}
	same, all := 0, 0
	for name, x := range b {
		y, ok := a[name]
		if x == nil && y == nil {
			continue
		}
		all++
		if ok && isScalar(x) && isScalar(y) && x == y || len(asList(x)) == len(asList(y)) && len(asList(x)) > 0 && len(asList(x)) < 20 && equal(x, y) {
			same++
		}
	}
	if all == 0 {
		return 0
	}
	score := float64(same) / float64(all)
	for _, name := range []string{"name", "id", "key", "Sid", "sid"} {
		if x, ok := b[name].(string); ok && x != "" && x == a[name] {
			return max(score, 0.5+score/2)
		}
	}
	return score
}

// tokens stand for the elements of a list when it is aligned with another: the same token, the same value.
func (d *differ) tokens(v value, unknown []any) []string {
	list := asList(v.v)
	tokens := make([]string, len(list))
	var h maphash.Hash
	h.SetSeed(d.seed)
	for i, e := range list {
		if i < len(unknown) && unknown[i] == true {
			tokens[i] = "?"
			continue
		}
		h.Reset()
		writeHash(&h, e)
		tokens[i] = strconv.FormatUint(h.Sum64(), 36)
	}
	return tokens
}

func writeHash(h *maphash.Hash, v any) {
	switch v := v.(type) {
	case nil:
		h.WriteByte('n')
	case string:
		h.WriteByte('s')
		h.WriteString(v)
		h.WriteByte(0)
	case map[string]any:
		h.WriteByte('{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			h.WriteString(name)
			h.WriteByte(0)
			writeHash(h, v[name])
		}
		h.WriteByte('}')
	case []any:
		h.WriteByte('[')
		for _, e := range v {
			writeHash(h, e)
		}
		h.WriteByte(']')
	default:
		h.WriteByte('v')
		h.WriteString(plain(v))
		h.WriteByte(0)
	}
}

func (d *differ) scalars(label string, before, after value, depth int) *node {
	if before.has && after.has && before.v == after.v {
		return nil
	}
	b, bIsString := before.v.(string)
	a, aIsString := after.v.(string)
	if (bIsString || !before.has) && (aIsString || !after.has) {
		return d.strings(label, b, a, before.has, after.has, depth)
	}
	n := node{label: label, op: side(before.has, after.has)}
	if n.op == ' ' {
		n.op = '!'
	}
	if before.has {
		n.before = d.scalar(before.v)
	}
	if after.has {
		n.after = d.scalar(after.v)
	}
	if before.has && after.has && n.before == n.after {
		if plain(before.v) == plain(after.v) {
			return nil
		}
		n.note = "the difference is redacted"
	}
	return d.node(n)
}

// strings compares two strings, or writes one. Documents are looked into.
func (d *differ) strings(label, before, after string, hasBefore, hasAfter bool, depth int) *node {
	before, after = d.redactor.redact(before), d.redactor.redact(after)
	op := side(hasBefore, hasAfter)
	both := op == ' '
	if len(before) <= maxDocument && len(after) <= maxDocument {
		if n := d.document(label, before, after, hasBefore, hasAfter, depth); n != nil {
			return n
		}
		if strings.Contains(before, "\n") || strings.Contains(after, "\n") {
			return d.lines(label, before, after, hasBefore, hasAfter)
		}
	}
	n := node{label: label, op: op}
	if both {
		n.op = '!'
		if before == after {
			n.note = "the difference is redacted"
		} else {
			before, after = aroundChange(before, after)
		}
	}
	if hasBefore {
		n.before = d.quote(before)
	}
	if hasAfter {
		n.after = d.quote(after)
	}
	return d.node(n)
}

// document compares JSON inside a string by its structure. Nil means that it is not JSON.
func (d *differ) document(label, before, after string, hasBefore, hasAfter bool, depth int) *node {
	var b, a any
	if hasBefore && !parseDocument(before, &b) || hasAfter && !parseDocument(after, &a) {
		return nil
	}
	n := d.compare("", nowhere, value{v: b, has: hasBefore}, value{v: a, has: hasAfter}, nil, depth+1)
	if n == nil {
		if d.full() {
			return nil
		}
		return d.node(node{op: '!', label: label, after: "(JSON; only its formatting changes)"})
	}
	n.label = strings.TrimSpace(label + " (JSON)")
	n.fold = false
	return n
}

func parseDocument(s string, into *any) bool {
	trimmed := strings.TrimSpace(s)
	if len(trimmed) < 2 || trimmed[0] != '{' && trimmed[0] != '[' || trimmed == "{}" || trimmed == "[]" {
		return false
	}
	decoder := json.NewDecoder(strings.NewReader(trimmed))
	decoder.UseNumber()
	if decoder.Decode(into) != nil {
		return false
	}
	return decoder.InputOffset() == int64(len(trimmed))
}

// lines compares two texts line by line.
func (d *differ) lines(label, before, after string, hasBefore, hasAfter bool) *node {
	n := node{label: label, op: side(hasBefore, hasAfter), noun: "line"}
	line := func(op byte, s string) {
		n.kids = append(n.kids, d.node(node{op: op, text: true, after: d.line(s)}))
	}
	skipped := 0 // lines
	if hasBefore && hasAfter && before != after && isLong(before, after) {
		before, after, skipped = window(before, after)
		n.note = "too long to be compared whole; this is where it begins to differ"
	}
	b, a := splitLines(before), splitLines(after)
	switch {
	case !hasBefore:
		for _, l := range a {
			if d.full() {
				break
			}
			line('+', l)
		}
		return d.node(n)
	case !hasAfter:
		for _, l := range b {
			if d.full() {
				break
			}
			line('-', l)
		}
		return d.node(n)
	}
	switch {
	case before == after:
		n.op = '!'
		n.after = fmt.Sprintf("(text, %s)", count(len(a), "line", "lines"))
		n.note = "the difference is redacted"
		return d.node(n)
	case strings.TrimRight(before, "\n") == strings.TrimRight(after, "\n"):
		n.op = '!'
		n.after = fmt.Sprintf("(text, %s; only line breaks at its end change)", count(len(a), "line", "lines"))
		return d.node(n)
	case strings.Join(strings.Fields(before), " ") == strings.Join(strings.Fields(after), " "):
		n.note = "only white space changes"
	}
	edits := editScript(b, a)
	changed := make([]int, 0, len(edits)) // where the next change is, for each edit: context is written around changes
	last := -1 << 30
	for i, e := range edits {
		if e.op != ' ' {
			last = i
		}
		changed = append(changed, i-last)
	}
	next := 1 << 30
	show := make([]bool, len(edits))
	for i := len(edits) - 1; i >= 0; i-- {
		if edits[i].op != ' ' {
			next = i
		}
		show[i] = changed[i] <= context || next-i <= context
	}
	flush := func() {
		if skipped > 0 {
			n.kids = append(n.kids, d.node(node{op: ' ', after: "# " + count(skipped, "unchanged line", "unchanged lines")}))
		}
		skipped = 0
	}
	for i, e := range edits {
		if d.full() {
			break
		}
		if !show[i] {
			skipped++
			continue
		}
		flush()
		if e.op == '+' {
			line('+', a[e.b])
		} else {
			line(e.op, b[e.a])
		}
	}
	flush()
	return d.node(n)
}

// isLong says whether texts are too long to be compared in a moment.
func isLong(before, after string) bool {
	return len(before)+len(after) > maxTexts || strings.Count(before, "\n")+strings.Count(after, "\n") > maxAligned
}

// window cuts two texts down to a piece of each around their first difference, and counts the lines before it.
func window(before, after string) (b, a string, skipped int) {
	const size = 64 << 10
	start := 0
	for start < len(before) && start < len(after) && before[start] == after[start] {
		start++
	}
	for range context + 1 { // back to the beginning of the line, and of those before it
		start = max(0, strings.LastIndexByte(before[:max(0, start)], '\n'))
	}
	if start > 0 {
		start++
	}
	cut := func(s string) string {
		s = s[start:]
		if len(s) <= size {
			return s
		}
		return s[:strings.LastIndexByte(s[:size], '\n')+1]
	}
	return cut(before), cut(after), strings.Count(before[:start], "\n")
}

// deep writes values that are nested beyond reason as JSON.
func (d *differ) deep(label string, before, after value) *node {
	if before.has && after.has && equal(before.v, after.v) {
		return nil
	}
	if hasTrue(before.sensitive) || hasTrue(after.sensitive) {
		return d.node(node{op: '!', label: label, after: wordSensitive})
	}
	n := node{label: label, op: side(before.has, after.has)}
	if n.op == ' ' {
		n.op = '!'
	}
	write := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			return "(" + d.size(v) + ")"
		}
		return d.line(d.redactor.redact(string(raw)))
	}
	if before.has {
		n.before = write(before.v)
	}
	if after.has {
		n.after = write(after.v)
	}
	return d.node(n)
}

// scalar writes a plain value.
func (d *differ) scalar(v any) string {
	if s, ok := v.(string); ok {
		return d.quote(d.redactor.redact(s))
	}
	return d.redactor.redact(plain(v))
}

// quote writes a string that has been redacted.
func (d *differ) quote(s string) string {
	if s == redacted {
		return s
	}
	s = shorten(s, maxValue)
	s = strings.ReplaceAll(s, `\`, `\\`)
	s = strings.ReplaceAll(s, `"`, `\"`)
	return `"` + strings.ReplaceAll(unticked(visible(s, false)), "\t", `\t`) + `"`
}

// line writes a line of a text that has been redacted.
func (d *differ) line(s string) string {
	return unticked(visible(shorten(s, maxValue), false))
}

// name writes the name of an attribute, or a key of a map, quoted where it needs to be.
func (d *differ) name(s string) string {
	plainName := s != ""
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '-' {
			plainName = false
			break
		}
	}
	s = d.redactor.redact(s)
	if plainName && len(s) <= maxKey {
		return s
	}
	return `"` + strings.ReplaceAll(unticked(visible(shorten(s, maxKey), false)), `"`, `\"`) + `"`
}

// size describes a value that is not written out.
func (d *differ) size(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return count(len(v), "attribute", "attributes")
	case []any:
		return count(len(v), "element", "elements")
	case string:
		return count(len(v), "byte", "bytes")
	}
	return "a value"
}

// plain writes a number, a bool or null as JSON does.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case float64:
		if v == float64(int64(v)) && v < 1e15 && v > -1e15 {
			return strconv.FormatInt(int64(v), 10)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return v
	}
	return fmt.Sprint(v)
}

func isScalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// isEmpty tells values that say nothing where a whole object is written.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func hasUnknown(mask any) bool { return hasTrue(mask) }

// hasTrue says whether there is a true anywhere in a mask.
func hasTrue(mask any) bool {
	switch m := mask.(type) {
	case bool:
		return m
	case map[string]any:
		for _, v := range m {
			if hasTrue(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(m, hasTrue)
	}
	return false
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	}
	if !isScalar(b) {
		return false
	}
	return a == b
}

// side is the sign for a value that exists before, after, or both.
func side(before, after bool) byte {
	switch {
	case before && !after:
		return '-'
	case after && !before:
		return '+'
	}
	return ' '
}

// aroundChange leaves out what two long strings have in common at their ends, so that what differs stays visible when
// they are shortened.
func aroundChange(before, after string) (string, string) {
	const keep = 60
	if len(before) <= maxArrow*2 && len(after) <= maxArrow*2 {
		return before, after
	}
	prefix := 0
	for prefix < len(before) && prefix < len(after) && before[prefix] == after[prefix] {
		prefix++
	}
	suffix := 0
	for suffix < len(before)-prefix && suffix < len(after)-prefix && before[len(before)-1-suffix] == after[len(after)-1-suffix] {
		suffix++
	}
	cut := func(s string) string {
		head, tail := "", ""
		start, end := 0, len(s)
		if prefix > 2*keep {
			start = floorRune(s, prefix-keep)
			head = "[…" + number(start) + " bytes…]"
		}
		if suffix > 2*keep {
			end = ceilRune(s, len(s)-suffix+keep)
			tail = "[…" + number(len(s)-end) + " bytes…]"
		}
		return head + s[start:end] + tail
	}
	return cut(before), cut(after)
}

// joinPath and joinIndex write a path as Terraform does, for lookups among the paths that force a replacement.
func joinPath(path, name string) string { return path + "\x00" + name }

func joinIndex(path string, i int) string { return path + "\x00#" + strconv.Itoa(i) }

// nowhere begins the paths inside what has no path of its own: JSON in strings, elements that go.
const nowhere = "\x01"
