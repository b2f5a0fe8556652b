package workspaces

import (
	"bytes"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// scanFile reads a Terraform file in native syntax in one pass, without
// building a syntax tree, and is more than a hundred times faster than the full
// parser.
//
// It knows the part of the language that nearly all files are written in, and
// accepts a file only when it is certain that the full parser would accept it
// too and that parseFile would find the same facts. In all other cases (a
// mistake, a rare construct) it returns false, and the caller asks parseFile.
// So it can be too modest but not wrong, which FuzzScan holds it to. The few
// expressions that name files are given to the full parser one by one.
func scanFile(data []byte) (fileFacts, bool) {
	if bytes.IndexByte(data, '\r') >= 0 || bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return fileFacts{}, false
	}
	s := scanner{data: data}
	if !s.body(topBody, 0) || s.pos != len(data) {
		return fileFacts{}, false
	}
	var reads []foundRead
	for _, n := range s.notes {
		start := hcl.Pos{Line: s.line(n.start), Column: 1}
		expr, diags := hclsyntax.ParseExpression(data[n.start:n.end], "", start)
		if diags.HasErrors() {
			return fileFacts{}, false
		}
		reads = append(reads, findReads(expr, scope{flat: true})...)
	}
	s.facts.reads = factReads(reads)
	return s.facts, true
}

// scanner recognises HCL native syntax by recursive descent. Each method
// consumes what it is named for and returns false when it is not certain; the
// position is then of no more use.
//
// The argument lines tells whether a line's end means something: it ends an
// argument and separates the items of an object, but is mere space within
// parentheses, brackets and interpolations.
type scanner struct {
	data  []byte
	pos   int
	facts fileFacts
	call  *call  // the module block whose body is being read
	notes []note // expressions that name files, the outer ones only
	inner bool   // within such an expression
}

// note is a part of the file.
type note struct{ start, end int }

// line is the number of the line of an offset.
func (s *scanner) line(offset int) int { return 1 + bytes.Count(s.data[:offset], []byte{'\n'}) }

// noted runs consume, and notes what it consumed from start on.
func (s *scanner) noted(start int, consume func() bool) bool {
	if s.inner {
		return consume()
	}
	s.inner = true
	ok := consume()
	s.inner = false
	s.notes = append(s.notes, note{start, s.pos})
	return ok
}

// bodyKind says which arguments of a body are of interest.
type bodyKind byte

const (
	otherBody bodyKind = iota
	topBody
	moduleBody
	terraformBody
)

// maxScanDepth bounds the recursion; a deeper file goes to the full parser.
const maxScanDepth = 100

func (s *scanner) at(i int) byte {
	if i < len(s.data) {
		return s.data[i]
	}
	return 0
}

func (s *scanner) cur() byte { return s.at(s.pos) }

// space skips blanks and comments. When lines count it stops before a line's
// end, including the one that ends a comment.
func (s *scanner) space(lines bool) bool {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == ' ' || c == '\t':
			s.pos++
		case c == '\n' && !lines:
			s.pos++
		case c == '#', c == '/' && s.at(s.pos+1) == '/':
			end := bytes.IndexByte(s.data[s.pos:], '\n')
			if end < 0 {
				s.pos = len(s.data)
				return true
			}
			s.pos += end
		case c == '/' && s.at(s.pos+1) == '*':
			end := bytes.Index(s.data[s.pos+2:], []byte("*/"))
			if end < 0 {
				return false
			}
			s.pos += 2 + end + 2
		default:
			return true
		}
	}
	return true
}

func isIdentStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

func isIdentPart(c byte) bool {
	return isIdentStart(c) || '0' <= c && c <= '9' || c == '-'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// ident consumes an ASCII identifier; nil when there is none.
func (s *scanner) ident() []byte {
	start := s.pos
	if !isIdentStart(s.cur()) {
		return nil
	}
	for isIdentPart(s.cur()) {
		s.pos++
	}
	if s.cur() >= utf8.RuneSelf {
		s.pos = start
		return nil
	}
	return s.data[start:s.pos]
}

// plainString consumes a quoted string that stands for itself: ASCII without
// escapes or interpolation.
func (s *scanner) plainString() (string, bool) {
	if s.cur() != '"' {
		return "", false
	}
	for i := s.pos + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			text := string(s.data[s.pos+1 : i])
			s.pos = i + 1
			return text, true
		case c == '\\' || c == '$' || c == '%' || c == '\n' || c >= utf8.RuneSelf:
			return "", false
		}
	}
	return "", false
}

// lineEnd consumes the end of a line or file.
func (s *scanner) lineEnd() bool {
	if !s.space(true) {
		return false
	}
	if s.pos == len(s.data) {
		return true
	}
	if s.cur() != '\n' {
		return false
	}
	s.pos++
	return true
}

// body consumes arguments and blocks up to, and not including, the closing
// brace or the end of the file.
func (s *scanner) body(kind bodyKind, depth int) bool {
	if depth > maxScanDepth {
		return false
	}
	var buf [24][]byte
	seen := buf[:0]
	for {
		if !s.space(false) {
			return false
		}
		if s.pos == len(s.data) {
			return kind == topBody
		}
		if s.cur() == '}' {
			return kind != topBody
		}
		name := s.ident()
		if name == nil || !s.space(true) {
			return false
		}
		if s.cur() == '=' && s.at(s.pos+1) != '=' && s.at(s.pos+1) != '>' {
			for _, other := range seen {
				if bytes.Equal(name, other) {
					return false
				}
			}
			if len(seen) == 64 {
				return false
			}
			seen = append(seen, name)
			s.pos++
			if !s.argument(kind, name, depth) || !s.lineEnd() {
				return false
			}
			continue
		}
		if !s.block(kind, name, depth) || !s.lineEnd() {
			return false
		}
	}
}

// argument consumes the value of an argument and keeps what is of interest.
func (s *scanner) argument(kind bodyKind, name []byte, depth int) bool {
	if !s.space(true) {
		return false
	}
	switch {
	case kind == moduleBody && string(name) == "source":
		s.call.line = s.line(s.pos)
		text, ok := s.plainString()
		s.call.source = text
		return ok
	case kind == moduleBody && string(name) == "version":
		text, ok := s.plainString()
		s.call.version = text
		return ok
	case kind == terraformBody && string(name) == "required_version":
		text, ok := s.plainString()
		s.facts.required = append(s.facts.required, text)
		return ok
	}
	return s.expr(true, depth+1)
}

// block consumes the labels and the body of a block, up to its closing brace.
func (s *scanner) block(kind bodyKind, name []byte, depth int) bool {
	labels := 0
	label := ""
	for s.cur() != '{' {
		if s.cur() == '"' {
			text, ok := s.plainString()
			if !ok {
				return false
			}
			label = text
		} else {
			id := s.ident()
			if id == nil {
				return false
			}
			label = string(id)
		}
		labels++
		if !s.space(true) {
			return false
		}
	}
	s.pos++

	inner := otherBody
	switch kind {
	case topBody:
		if runsBlock(string(name)) {
			s.facts.runs = true
		}
		switch string(name) {
		case "module":
			// A module block without exactly one label is a mistake that the
			// full parser's side knows how to treat.
			if labels != 1 {
				return false
			}
			inner = moduleBody
			s.facts.calls = append(s.facts.calls, call{name: label})
			s.call = &s.facts.calls[len(s.facts.calls)-1]
		case "terraform":
			inner = terraformBody
		}
	case terraformBody:
		switch string(name) {
		case "backend":
			// The path of a local backend is for the full parser to find.
			if labels != 1 || label == localBackend {
				return false
			}
			s.facts.runs = true
			s.facts.backend = &backendFact{kind: label}
		case "cloud":
			s.facts.runs = true
			s.facts.backend = &backendFact{kind: cloudBackend}
		}
	}

	if !s.space(true) {
		return false
	}
	switch s.cur() {
	case '\n', '}':
		if !s.body(inner, depth+1) {
			return false
		}
	default:
		// The form for one argument on a single line.
		arg := s.ident()
		if arg == nil || !s.space(true) || s.cur() != '=' || s.at(s.pos+1) == '=' || s.at(s.pos+1) == '>' {
			return false
		}
		s.pos++
		if !s.argument(inner, arg, depth) || !s.space(true) {
			return false
		}
	}
	if s.cur() != '}' {
		return false
	}
	s.pos++
	// A module block without a source is reported with the line of the block,
	// which the full parser knows.
	return inner != moduleBody || s.call.line != 0
}

// runsBlock reports whether a block of this type gives Terraform something to
// do: without one, a directory is a library of variables and locals.
func runsBlock(blockType string) bool {
	switch blockType {
	case "resource", "data", "ephemeral", "module", "output", "check", "import", "removed", "moved", "action", "list":
		return true
	}
	return false
}

// expr consumes an expression, conditional or not.
func (s *scanner) expr(lines bool, depth int) bool {
	if depth > maxScanDepth {
		return false
	}
	for {
		if !s.term(lines, depth) || !s.space(lines) {
			return false
		}
		n := s.operator()
		if n == 0 {
			break
		}
		s.pos += n
	}
	if s.cur() != '?' {
		return true
	}
	s.pos++
	if !s.expr(lines, depth+1) || !s.space(lines) || s.cur() != ':' || s.at(s.pos+1) == ':' {
		return false
	}
	s.pos++
	return s.expr(lines, depth+1)
}

// operator is the length of the binary operator at the position, 0 if none.
func (s *scanner) operator() int {
	next := s.at(s.pos + 1)
	switch s.cur() {
	case '=', '!':
		if next == '=' {
			return 2
		}
	case '<':
		switch next {
		case '=':
			return 2
		case '<':
			return 0
		}
		return 1
	case '>':
		if next == '=' {
			return 2
		}
		return 1
	case '&', '|':
		if next == s.cur() {
			return 2
		}
	case '+', '-', '*', '/', '%':
		return 1
	}
	return 0
}

// term consumes one operand with its prefix operators and its postfixes.
func (s *scanner) term(lines bool, depth int) bool {
	if depth > maxScanDepth || !s.space(lines) {
		return false
	}
	switch c := s.cur(); {
	case c == '-', c == '!' && s.at(s.pos+1) != '=':
		s.pos++
		return s.term(lines, depth+1)
	case isDigit(c):
		return s.number()
	case c == '"':
		if !s.template(depth) {
			return false
		}
	case c == '<' && s.at(s.pos+1) == '<':
		// The newline after the closing marker is left for the caller, and no
		// postfix can follow the marker on its line.
		return s.heredoc(depth)
	case c == '(':
		s.pos++
		if !s.expr(false, depth+1) || !s.space(false) || s.cur() != ')' {
			return false
		}
		s.pos++
	case c == '[':
		if !s.tuple(depth) {
			return false
		}
	case c == '{':
		if !s.object(depth) {
			return false
		}
	case isIdentStart(c):
		start := s.pos
		name := s.ident()
		if name == nil || isReserved(name) || !s.space(lines) {
			return false
		}
		if s.cur() == ':' && s.at(s.pos+1) == ':' {
			return false
		}
		if s.cur() == '(' {
			s.pos++
			if isFileFunction(string(name)) {
				if !s.noted(start, func() bool { return s.arguments(depth) }) {
					return false
				}
			} else if !s.arguments(depth) {
				return false
			}
		}
	default:
		return false
	}
	return s.postfixes(lines, depth)
}

// isReserved reports whether the word has a meaning of its own in some place;
// whether this is such a place is left to the full parser.
func isReserved(word []byte) bool {
	switch string(word) {
	case "for", "in", "if", "else", "endif", "endfor":
		return true
	}
	return false
}

// number consumes digits with an optional fraction.
func (s *scanner) number() bool {
	for isDigit(s.cur()) {
		s.pos++
	}
	if s.cur() == '.' {
		if !isDigit(s.at(s.pos + 1)) {
			return false
		}
		s.pos++
		for isDigit(s.cur()) {
			s.pos++
		}
	}
	c := s.cur()
	return !isIdentStart(c) && c != '.' && c < utf8.RuneSelf
}

// postfixes consumes attribute access, indexes and splats.
func (s *scanner) postfixes(lines bool, depth int) bool {
	splat := false // a splat in the old style, which little may follow
	for {
		if !s.space(lines) {
			return false
		}
		switch s.cur() {
		case '.':
			s.pos++
			if s.cur() == '*' {
				if splat {
					return false
				}
				splat = true
				s.pos++
				continue
			}
			if isDigit(s.cur()) && !splat {
				if !s.oldIndex() {
					return false
				}
				continue
			}
			if s.ident() == nil {
				// The "..." after the last argument of a call.
				s.pos--
				return s.at(s.pos+1) == '.' && s.at(s.pos+2) == '.'
			}
		case '[':
			if splat {
				return false
			}
			s.pos++
			if s.cur() == '*' {
				s.pos++
			} else if !s.expr(false, depth+1) || !s.space(false) {
				return false
			}
			if s.cur() != ']' {
				return false
			}
			s.pos++
		default:
			return true
		}
	}
}

// oldIndex consumes the number of an index as in "list.0.name".
func (s *scanner) oldIndex() bool {
	for isDigit(s.cur()) {
		s.pos++
	}
	c := s.cur()
	return !isIdentStart(c) && c < utf8.RuneSelf && !(c == '.' && isDigit(s.at(s.pos+1)))
}

// arguments consumes what follows the opening parenthesis of a call.
func (s *scanner) arguments(depth int) bool {
	for {
		if !s.space(false) {
			return false
		}
		if s.cur() == ')' {
			s.pos++
			return true
		}
		if !s.expr(false, depth+1) || !s.space(false) {
			return false
		}
		switch {
		case s.cur() == ',':
			s.pos++
		case s.cur() == ')':
		case bytes.HasPrefix(s.data[s.pos:], []byte("...")):
			s.pos += 3
			if !s.space(false) || s.cur() != ')' {
				return false
			}
		default:
			return false
		}
	}
}

// tuple consumes a list, or a "for" that makes one.
func (s *scanner) tuple(depth int) bool {
	s.pos++
	if !s.space(false) {
		return false
	}
	if s.word("for") {
		return s.forExpr(']', depth)
	}
	for {
		if !s.space(false) {
			return false
		}
		if s.cur() == ']' {
			s.pos++
			return true
		}
		if !s.expr(false, depth+1) || !s.space(false) {
			return false
		}
		switch s.cur() {
		case ',':
			s.pos++
		case ']':
		default:
			return false
		}
	}
}

// object consumes an object, or a "for" that makes one.
func (s *scanner) object(depth int) bool {
	s.pos++
	start := s.pos
	if !s.space(false) {
		return false
	}
	if s.word("for") {
		return s.forExpr('}', depth)
	}
	s.pos = start
	for {
		if !s.space(false) {
			return false
		}
		if s.cur() == '}' {
			s.pos++
			return true
		}
		switch s.cur() {
		case '"':
			if !s.template(depth) {
				return false
			}
		case '(':
			s.pos++
			if !s.expr(false, depth+1) || !s.space(false) || s.cur() != ')' {
				return false
			}
			s.pos++
		default:
			if name := s.ident(); name == nil || isReserved(name) {
				return false
			}
			// The providers of a module are keyed by traversals.
			for s.cur() == '.' {
				s.pos++
				if s.ident() == nil {
					return false
				}
			}
		}
		if !s.space(true) {
			return false
		}
		next := s.at(s.pos + 1)
		switch s.cur() {
		case '=':
			if next == '=' || next == '>' {
				return false
			}
		case ':':
			if next == ':' {
				return false
			}
		default:
			return false
		}
		s.pos++
		if !s.expr(true, depth+1) || !s.space(true) {
			return false
		}
		switch s.cur() {
		case ',', '\n':
			s.pos++
		case '}':
		default:
			return false
		}
	}
}

// word consumes the given word if it stands here alone.
func (s *scanner) word(w string) bool {
	end := s.pos + len(w)
	if end > len(s.data) || string(s.data[s.pos:end]) != w {
		return false
	}
	if c := s.at(end); isIdentPart(c) || c >= utf8.RuneSelf {
		return false
	}
	s.pos = end
	return true
}

// forExpr consumes what follows the word "for", with the closing bracket.
func (s *scanner) forExpr(end byte, depth int) bool {
	variable := func() bool {
		if !s.space(false) {
			return false
		}
		name := s.ident()
		return name != nil && !isReserved(name) && s.space(false)
	}
	if !variable() {
		return false
	}
	if s.cur() == ',' {
		s.pos++
		if !variable() {
			return false
		}
	}
	if !s.word("in") || !s.expr(false, depth+1) || !s.space(false) || s.cur() != ':' || s.at(s.pos+1) == ':' {
		return false
	}
	s.pos++
	if !s.expr(false, depth+1) || !s.space(false) {
		return false
	}
	if end == '}' {
		if s.cur() != '=' || s.at(s.pos+1) != '>' {
			return false
		}
		s.pos += 2
		if !s.expr(false, depth+1) || !s.space(false) {
			return false
		}
		if bytes.HasPrefix(s.data[s.pos:], []byte("...")) {
			s.pos += 3
			if !s.space(false) {
				return false
			}
		}
	}
	if s.word("if") {
		if !s.expr(false, depth+1) || !s.space(false) {
			return false
		}
	}
	if s.cur() != end {
		return false
	}
	s.pos++
	return true
}

// template consumes a quoted string with its interpolations.
func (s *scanner) template(depth int) bool {
	start := s.pos
	s.pos++
	if mentionsPath(s.data[s.pos:]) {
		return s.noted(start, func() bool { return s.templateRest(depth) })
	}
	return s.templateRest(depth)
}

func (s *scanner) templateRest(depth int) bool {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case '"':
			s.pos++
			return true
		case '\n':
			return false
		case '\\':
			switch s.at(s.pos + 1) {
			case 'n', 'r', 't', '"', '\\':
				s.pos += 2
			default:
				return false
			}
		case '$', '%':
			if !s.sequence(depth) {
				return false
			}
		default:
			s.pos++
		}
	}
	return false
}

// looksLikePath reports whether a string's content begins like a relative
// path: it may name a file, which the full parser's side looks into.
func looksLikePath(content []byte) bool {
	return bytes.HasPrefix(content, []byte("./")) || bytes.HasPrefix(content, []byte("../"))
}

// mentionsPath reports whether the rest of a line may hold a relative path, or
// path.module or one of its siblings. That the rest of the line may be more
// than the string in question only makes the full parser look once more.
func mentionsPath(rest []byte) bool {
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	return bytes.Contains(rest, []byte("./")) || bytes.Contains(rest, []byte("path"))
}

// sequence consumes what a dollar or percent sign in a template begins: an
// interpolation or the sign itself. Directives and escapes are not certain.
func (s *scanner) sequence(depth int) bool {
	c, next := s.cur(), s.at(s.pos+1)
	if next == c || next == '\\' || c == '%' && next == '{' {
		return false
	}
	if next != '{' {
		s.pos++
		return true
	}
	s.pos += 2
	if s.cur() == '~' {
		s.pos++
	}
	if !s.expr(false, depth+1) || !s.space(false) {
		return false
	}
	if s.cur() == '~' {
		s.pos++
	}
	if s.cur() != '}' {
		return false
	}
	s.pos++
	return true
}

// heredoc consumes a heredoc up to the end of its closing marker, before the
// line's end.
func (s *scanner) heredoc(depth int) bool {
	s.pos += 2
	if s.cur() == '-' {
		s.pos++
	}
	marker := s.ident()
	if marker == nil || s.cur() != '\n' {
		return false
	}
	s.pos++
	if content := s.data[s.pos:]; looksLikePath(content) || bytes.HasPrefix(bytes.TrimLeft(content, " \t"), []byte("${")) {
		return false
	}
	for {
		end := bytes.IndexByte(s.data[s.pos:], '\n')
		if end < 0 {
			return false
		}
		line := s.data[s.pos : s.pos+end]
		if mentionsPath(line) {
			return false
		}
		if bytes.Equal(bytes.TrimSpace(line), marker) {
			s.pos += end
			return true
		}
		if bytes.IndexByte(line, '$') < 0 && bytes.IndexByte(line, '%') < 0 {
			s.pos += end + 1
			continue
		}
		for s.cur() != '\n' {
			if s.pos >= len(s.data) {
				return false
			}
			if s.cur() != '$' && s.cur() != '%' {
				s.pos++
				continue
			}
			if !s.sequence(depth) {
				return false
			}
			// The rest of a line is never the closing marker, but reading it
			// as one would be an easy mistake: leave that to the full parser.
			if rest := s.data[s.pos:]; bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), marker) {
				return false
			}
		}
		s.pos++
	}
}
