package workspaces

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// This file tells, without running Terraform, which paths the expressions of a
// module name. It knows strings, path.module and its siblings, local values,
// and the iteration over lists and sets that are written down. The rest is a
// hole, of which it is known at best that it cannot lead out of the directory
// before it.

// isFileFunction reports whether calling the function reads a file, or tells
// something of one.
func isFileFunction(name string) bool {
	switch name {
	case "file", "fileexists", "fileset", "templatefile", "filebase64", "filemd5", "filesha1", "filesha256",
		"filesha512", "filebase64sha256", "filebase64sha512":
		return true
	}
	return false
}

// fragment is a part of a path.
type fragment struct {
	kind fragmentKind
	text string // for known text only
}

type fragmentKind byte

const (
	knownText fragmentKind = iota
	moduleDir              // path.module
	rootDir                // path.root and path.cwd
	inside                 // not known, but without ".." and not absolute
	anything               // not known
)

// value is one of the strings that an expression may stand for.
type value []fragment

// maxValues bounds how many values are told apart before giving up.
const maxValues = 64

var unknownValue = []value{{{kind: anything}}}

// scope is what an expression may refer to.
type scope struct {
	workspace string // terraform.workspace; "" when not known
	locals    map[string]hclsyntax.Expression
	each      hclsyntax.Expression            // the for_each of the block around
	vars      map[string]hclsyntax.Expression // variables of "for" expressions, with the collection of each
	flat      bool                            // keep no account of each and vars, whose values are then not known
	depth     int
}

// maxValueDepth bounds how far references are followed, which also ends those
// that go round in a circle.
const maxValueDepth = 32

func (sc scope) deeper() scope {
	sc.depth++
	return sc
}

// values are the strings that expr may stand for.
func (sc scope) values(expr hclsyntax.Expression) []value {
	if sc.depth > maxValueDepth {
		return unknownValue
	}
	sc = sc.deeper()
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		if text, ok := literalText(e.Val); ok {
			return []value{{{kind: knownText, text: text}}}
		}
	case *hclsyntax.TemplateExpr:
		return sc.concat(e.Parts)
	case *hclsyntax.TemplateWrapExpr:
		return sc.values(e.Wrapped)
	case *hclsyntax.ParenthesesExpr:
		return sc.values(e.Expression)
	case *hclsyntax.ObjectConsKeyExpr:
		if key := hcl.ExprAsKeyword(e.Wrapped); key != "" && !e.ForceNonLiteral {
			return []value{{{kind: knownText, text: key}}}
		}
		return sc.values(e.Wrapped)
	case *hclsyntax.ConditionalExpr:
		return limit(append(sc.values(e.TrueResult), sc.values(e.FalseResult)...))
	case *hclsyntax.FunctionCallExpr:
		return sc.callValues(e)
	case *hclsyntax.IndexExpr:
		if elements, ok := sc.elements(e.Collection); ok {
			return sc.all(elements)
		}
	case *hclsyntax.ScopeTraversalExpr:
		return sc.reference(e.Traversal)
	}
	return unknownValue
}

// concat are the strings that the parts make one after the other.
func (sc scope) concat(parts []hclsyntax.Expression) []value {
	result := []value{nil}
	for _, part := range parts {
		var longer []value
		for _, tail := range sc.values(part) {
			for _, head := range result {
				longer = append(longer, append(head[:len(head):len(head)], tail...))
			}
		}
		if result = limit(longer); len(result) == 1 && len(result[0]) == 1 && result[0][0].kind == anything {
			return result
		}
	}
	return result
}

func limit(values []value) []value {
	if len(values) == 0 || len(values) > maxValues {
		return unknownValue
	}
	return values
}

// callValues are the strings that a call of a function without side effects
// may return.
func (sc scope) callValues(e *hclsyntax.FunctionCallExpr) []value {
	name := strings.TrimPrefix(e.Name, "core::")
	switch {
	case (name == "abspath" || name == "tostring" || name == "nonsensitive" || name == "one") && len(e.Args) == 1:
		return sc.values(e.Args[0])
	case name == "pathexpand" && len(e.Args) == 1:
		return sc.values(e.Args[0])
	case (name == "try" || name == "coalesce") && len(e.Args) > 0:
		var all []value
		for _, arg := range e.Args {
			all = append(all, sc.values(arg)...)
		}
		return limit(all)
	case name == "basename" && len(e.Args) == 1, strings.HasPrefix(name, "filemd5"), strings.HasPrefix(name, "filesha"):
		return []value{{{kind: inside}}}
	case name == "join" && len(e.Args) == 2:
		if list, ok := e.Args[1].(*hclsyntax.TupleConsExpr); ok {
			var parts []hclsyntax.Expression
			for i, item := range list.Exprs {
				if i > 0 {
					parts = append(parts, e.Args[0])
				}
				parts = append(parts, item)
			}
			return sc.concat(parts)
		}
	case name == "format" && len(e.Args) > 0:
		return sc.formatValues(e.Args)
	}
	return unknownValue
}

// formatValues understands format with the verbs %s and %d only.
func (sc scope) formatValues(args []hclsyntax.Expression) []value {
	layout, ok := plainText(args[0])
	if !ok || verbs(layout) != len(args)-1 {
		return unknownValue
	}
	var parts []hclsyntax.Expression
	args = args[1:]
	for layout != "" {
		i := strings.IndexByte(layout, '%')
		if i < 0 {
			i = len(layout)
		}
		if i > 0 {
			parts = append(parts, &hclsyntax.LiteralValueExpr{Val: cty.StringVal(layout[:i])})
			layout = layout[i:]
			continue
		}
		if len(layout) < 2 || (layout[1] != 's' && layout[1] != 'd') {
			return unknownValue
		}
		parts = append(parts, args[0])
		args = args[1:]
		layout = layout[2:]
	}
	return sc.concat(parts)
}

// verbs counts the percent signs of a layout, each of which takes an argument in
// the layouts that are understood.
func verbs(layout string) int { return strings.Count(layout, "%") }

// reference are the strings that a traversal such as local.name may stand for.
func (sc scope) reference(t hcl.Traversal) []value {
	root, attr := t.RootName(), ""
	if len(t) > 1 {
		if step, ok := t[1].(hcl.TraverseAttr); ok {
			attr = step.Name
		}
	}
	switch {
	case root == "path" && attr == "module" && len(t) == 2:
		return []value{{{kind: moduleDir}}}
	case root == "path" && (attr == "root" || attr == "cwd") && len(t) == 2:
		return []value{{{kind: rootDir}}}
	case (root == "terraform" || root == "tofu") && attr == "workspace" && len(t) == 2:
		if sc.workspace == "" {
			return []value{{{kind: inside}}}
		}
		return []value{{{kind: knownText, text: sc.workspace}}}
	case root == "count" && attr == "index":
		return []value{{{kind: inside}}}
	case root == "each" && attr == "key" && len(t) == 2 && sc.each != nil:
		if keys, ok := sc.keys(sc.each); ok {
			return sc.all(keys)
		}
		return sc.eachInside()
	case root == "each" && attr == "value" && sc.each != nil:
		if elements, ok := sc.elements(sc.each); ok {
			return sc.member(elements, t[2:])
		}
		return sc.eachInside()
	case root == "local" && attr != "":
		if expr, ok := sc.locals[attr]; ok {
			return sc.member([]hclsyntax.Expression{expr}, t[2:])
		}
	default:
		if collection, ok := sc.vars[root]; ok {
			if sc.isFileset(collection) && len(t) == 1 {
				return []value{{{kind: inside}}}
			}
			if elements, ok := sc.elements(collection); ok {
				return sc.member(elements, t[1:])
			}
		}
	}
	return unknownValue
}

// eachInside is the value of each.key and each.value where the for_each is not
// written down.
func (sc scope) eachInside() []value {
	if sc.isFileset(sc.each) {
		return []value{{{kind: inside}}}
	}
	return unknownValue
}

// member follows a traversal through objects that are written down.
func (sc scope) member(from []hclsyntax.Expression, steps hcl.Traversal) []value {
	if sc.depth > maxValueDepth {
		return unknownValue
	}
	for _, step := range steps {
		var next []hclsyntax.Expression
		for _, expr := range from {
			object, ok := expr.(*hclsyntax.ObjectConsExpr)
			name, isAttr := step.(hcl.TraverseAttr)
			if !ok || !isAttr {
				return unknownValue
			}
			for _, item := range object.Items {
				key := sc.deeper().values(item.KeyExpr)
				if len(key) != 1 || len(key[0]) != 1 || key[0][0].kind != knownText {
					return unknownValue
				}
				if key[0][0].text == name.Name {
					next = append(next, item.ValueExpr)
				}
			}
		}
		from = next
	}
	return sc.all(from)
}

// all are the strings that any of the expressions may stand for.
func (sc scope) all(exprs []hclsyntax.Expression) []value {
	var all []value
	for _, expr := range exprs {
		all = append(all, sc.values(expr)...)
	}
	return limit(all)
}

// elements are the values of a list, set or map that is written down.
func (sc scope) elements(expr hclsyntax.Expression) ([]hclsyntax.Expression, bool) {
	switch e := sc.collection(expr).(type) {
	case *hclsyntax.TupleConsExpr:
		return e.Exprs, true
	case *hclsyntax.ObjectConsExpr:
		var list []hclsyntax.Expression
		for _, item := range e.Items {
			list = append(list, item.ValueExpr)
		}
		return list, true
	}
	return nil, false
}

// keys are the values of each.key over a collection that is written down. For
// a set they are its elements.
func (sc scope) keys(expr hclsyntax.Expression) ([]hclsyntax.Expression, bool) {
	switch e := sc.collection(expr).(type) {
	case *hclsyntax.TupleConsExpr:
		return e.Exprs, true
	case *hclsyntax.ObjectConsExpr:
		var list []hclsyntax.Expression
		for _, item := range e.Items {
			list = append(list, item.KeyExpr)
		}
		return list, true
	}
	return nil, false
}

// collection looks through conversions, parentheses and local values.
func (sc scope) collection(expr hclsyntax.Expression) hclsyntax.Expression {
	for range maxValueDepth {
		switch e := expr.(type) {
		case *hclsyntax.ParenthesesExpr:
			expr = e.Expression
		case *hclsyntax.FunctionCallExpr:
			name := strings.TrimPrefix(e.Name, "core::")
			if len(e.Args) != 1 || (name != "toset" && name != "tolist" && name != "tomap" && name != "sort" && name != "distinct") {
				return expr
			}
			expr = e.Args[0]
		case *hclsyntax.ScopeTraversalExpr:
			if len(e.Traversal) != 2 || e.Traversal.RootName() != "local" {
				return expr
			}
			step, ok := e.Traversal[1].(hcl.TraverseAttr)
			if !ok || sc.locals[step.Name] == nil {
				return expr
			}
			expr = sc.locals[step.Name]
		default:
			return expr
		}
	}
	return nil
}

// isFileset reports whether the collection is what fileset returns: paths
// below the directory that was listed.
func (sc scope) isFileset(expr hclsyntax.Expression) bool {
	switch e := sc.collection(expr).(type) {
	case *hclsyntax.FunctionCallExpr:
		return strings.TrimPrefix(e.Name, "core::") == "fileset"
	case *hclsyntax.ForExpr:
		// { for f in fileset(…) : f => f } and its like.
		if !sc.isFileset(e.CollExpr) {
			return false
		}
		return isVariable(e.ValExpr, e.KeyVar, e.ValVar) && (e.KeyExpr == nil || isVariable(e.KeyExpr, e.KeyVar, e.ValVar))
	}
	return false
}

func isVariable(expr hclsyntax.Expression, names ...string) bool {
	e, ok := expr.(*hclsyntax.ScopeTraversalExpr)
	if !ok || len(e.Traversal) != 1 {
		return false
	}
	for _, name := range names {
		if name != "" && e.Traversal.RootName() == name {
			return true
		}
	}
	return false
}

func literalText(v cty.Value) (string, bool) {
	if v.IsNull() || !v.IsWhollyKnown() {
		return "", false
	}
	v, err := convert.Convert(v, cty.String)
	if err != nil || v.IsNull() {
		return "", false
	}
	return v.AsString(), true
}

// foundRead is a place where a path is named, with all that the path may be.
type foundRead struct {
	fn      string // the file function, or "" when the path is only written down
	paths   []value
	pattern []value // the second argument of fileset
	line    int
}

// findReads walks expressions and finds the calls of file functions and the
// strings that begin like a path that may leave the module's directory.
func findReads(node hclsyntax.Node, sc scope) []foundRead {
	w := &readWalker{scope: sc}
	// The walker returns no diagnostics.
	_ = hclsyntax.Walk(node, w)
	return w.found
}

// readWalker implements hclsyntax.Walker. It keeps the scope of the node that
// is being visited, and leaves out what a file function's path is made of,
// since the call has been judged as a whole.
type readWalker struct {
	scope scope
	outer []scope
	skip  map[hclsyntax.Expression]bool
	muted int
	found []foundRead
}

func (w *readWalker) Enter(node hclsyntax.Node) hcl.Diagnostics {
	w.outer = append(w.outer, w.scope)
	if expr, ok := node.(hclsyntax.Expression); ok && w.skip[expr] {
		w.muted++
	}
	switch n := node.(type) {
	case *hclsyntax.Block:
		if n.Body == nil {
			break
		}
		for _, name := range noPaths(n.Type) {
			if attr, ok := n.Body.Attributes[name]; ok {
				w.mute(attr.Expr)
			}
		}
		if attr, ok := n.Body.Attributes["for_each"]; ok && !w.scope.flat {
			w.scope.each = attr.Expr
		}
	case *hclsyntax.ForExpr:
		if w.scope.flat {
			break
		}
		vars := map[string]hclsyntax.Expression{}
		for name, collection := range w.scope.vars {
			vars[name] = collection
		}
		delete(vars, n.KeyVar)
		vars[n.ValVar] = n.CollExpr
		w.scope.vars = vars
	case *hclsyntax.FunctionCallExpr:
		name := strings.TrimPrefix(n.Name, "core::")
		if !isFileFunction(name) || len(n.Args) == 0 {
			break
		}
		found := foundRead{fn: name, paths: w.scope.values(n.Args[0]), line: n.NameRange.Start.Line}
		if name == "fileset" && len(n.Args) > 1 {
			found.pattern = w.scope.values(n.Args[1])
		}
		if n.ExpandFinal {
			found.paths = unknownValue
		}
		w.found = append(w.found, found)
		w.mute(n.Args[0])
	case *hclsyntax.TemplateExpr:
		if w.muted > 0 {
			break
		}
		if beginsLikePath(n) {
			w.found = append(w.found, foundRead{paths: w.scope.values(n), line: n.SrcRange.Start.Line})
		}
		for _, word := range pathWords(n) {
			w.found = append(w.found, foundRead{paths: w.scope.values(word), line: n.SrcRange.Start.Line})
		}
	}
	return nil
}

// noPaths are the arguments of a block that look like paths but are judged
// elsewhere.
func noPaths(blockType string) []string {
	switch blockType {
	case "module":
		return []string{"source", "version"}
	case "terraform":
		return []string{"required_version"}
	}
	return nil
}

// beginsLikePath reports whether a string, though it is no argument of a file
// function, begins like a path that may leave the module's directory, such as
// the source directory of an archive.
func beginsLikePath(e *hclsyntax.TemplateExpr) bool {
	if len(e.Parts) == 0 {
		return false
	}
	switch first := e.Parts[0].(type) {
	case *hclsyntax.LiteralValueExpr:
		text, ok := literalText(first.Val)
		return ok && looksLikePath([]byte(text))
	case *hclsyntax.ScopeTraversalExpr:
		return first.Traversal.RootName() == "path"
	}
	return false
}

// pathWords are the words of a string, after its first, that are paths which
// may leave the module's directory, such as the script in "sh ../run.sh": each
// as a template of its own.
func pathWords(e *hclsyntax.TemplateExpr) []*hclsyntax.TemplateExpr {
	var words []*hclsyntax.TemplateExpr
	var word []hclsyntax.Expression // the word that is being read
	isPath, first := false, true
	end := func() {
		if isPath && !first {
			words = append(words, &hclsyntax.TemplateExpr{Parts: word, SrcRange: e.SrcRange})
		}
		word, isPath, first = nil, false, false
	}
	for _, part := range e.Parts {
		literal, ok := part.(*hclsyntax.LiteralValueExpr)
		text := ""
		if ok {
			text, ok = literalText(literal.Val)
		}
		if !ok {
			if traversal, ok := part.(*hclsyntax.ScopeTraversalExpr); ok && len(word) == 0 {
				isPath = traversal.Traversal.RootName() == "path"
			}
			word = append(word, part)
			continue
		}
		for text != "" {
			i := strings.IndexAny(text, wordEnds)
			if i != 0 {
				piece := text
				if i > 0 {
					piece = text[:i]
				}
				if len(word) == 0 {
					isPath = looksLikePath([]byte(piece))
				}
				word = append(word, &hclsyntax.LiteralValueExpr{Val: cty.StringVal(piece), SrcRange: literal.SrcRange})
				text = text[len(piece):]
				continue
			}
			end()
			text = text[1:]
		}
	}
	end()
	return words
}

// wordEnds are the characters at which a word of a command line ends.
const wordEnds = " \t\n\r'\"`;&|<>()=,"

func (w *readWalker) Exit(node hclsyntax.Node) hcl.Diagnostics {
	w.scope = w.outer[len(w.outer)-1]
	w.outer = w.outer[:len(w.outer)-1]
	if expr, ok := node.(hclsyntax.Expression); ok && w.skip[expr] {
		w.muted--
	}
	return nil
}

func (w *readWalker) mute(node hclsyntax.Expression) {
	if w.skip == nil {
		w.skip = map[hclsyntax.Expression]bool{}
	}
	w.skip[node] = true
}

// place is where a value leads: a path with holes, relative to the directory
// of the module or to the one in which Terraform runs.
type place struct {
	base    readBase
	pieces  []string // known text; between two pieces there is a hole
	loose   bool     // a hole may lead anywhere
	foreign bool     // absolute or in a home directory: no file of the repository
}

// placeOf interprets a value as a path.
func placeOf(v value) place {
	p := place{base: fromRoot, pieces: []string{""}}
	for i, f := range v {
		last := &p.pieces[len(p.pieces)-1]
		switch f.kind {
		case knownText:
			if i == 0 && (strings.HasPrefix(f.text, "/") || strings.HasPrefix(f.text, "~")) {
				p.foreign = true
			}
			*last += f.text
		case moduleDir, rootDir:
			if i > 0 {
				p.loose = true
				p.pieces = append(p.pieces, "")
				continue
			}
			*last += "."
			if f.kind == moduleDir {
				p.base = fromModule
			}
		case inside:
			// After a dot, what cannot be ".." by itself might become it.
			if strings.HasSuffix(*last, ".") {
				p.loose = true
			}
			p.pieces = append(p.pieces, "")
		case anything:
			p.loose = true
			p.pieces = append(p.pieces, "")
		}
	}
	return p
}

// known reports that the whole path is known.
func (p place) known() bool { return len(p.pieces) == 1 }

// prefix is the known path up to the last separator before the first hole, or
// the whole path when there is no hole.
func (p place) prefix() string {
	text := p.pieces[0]
	if !p.known() {
		i := strings.LastIndexByte(text, '/')
		if i < 0 {
			return "."
		}
		text = text[:i+1]
	}
	return path.Clean(text)
}

// factReads keeps of what was found the part that a change can be compared
// with: paths of which at least the beginning is known. Paths that are only
// written down count only if they lead out of the directory they start from.
func factReads(found []foundRead) []read {
	var reads []read
	for _, f := range found {
		for _, v := range f.paths {
			p := placeOf(v)
			if p.foreign {
				continue
			}
			prefix := p.prefix()
			if f.fn == "" {
				if !isOutside(prefix) {
					continue
				}
				p.pieces = []string{prefix}
			} else if !p.known() && prefix == "." && !strings.HasPrefix(p.pieces[0], "./") {
				continue
			}
			if f.fn == "fileset" {
				p.pieces = append([]string{strings.TrimSuffix(prefix, "/") + "/"}, "")
			}
			reads = append(reads, read{fn: f.fn, base: p.base, pieces: p.pieces, line: f.line})
		}
	}
	slices.SortFunc(reads, func(a, b read) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.fn, b.fn), cmp.Compare(a.base, b.base), slices.Compare(a.pieces, b.pieces))
	})
	return slices.CompactFunc(reads, func(a, b read) bool {
		return a.line == b.line && a.fn == b.fn && a.base == b.base && slices.Equal(a.pieces, b.pieces)
	})
}
