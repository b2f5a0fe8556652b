package main

import (
	"fmt"
	"html"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"golang.org/x/term"
)

// showMarkdown writes a comment as a person would see it on the forge's page,
// as far as a terminal can: folded parts are shown open.
func (p *program) showMarkdown(w io.Writer, pages []string) error {
	shown := renderMarkdown(pages, lineWidth(w), p.colours(w))
	if _, err := io.WriteString(w, shown); err != nil {
		return fmt.Errorf("print the comment: %w", err)
	}
	return nil
}

// colours says whether w is a terminal whose user wants to see colours.
func (p *program) colours(w io.Writer) bool {
	return isTerminal(w) && p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb"
}

// lineWidth is how many columns a line of prose may take: the terminal's, but
// not more than the eye can follow, or 100 when w is no terminal.
func lineWidth(w io.Writer) int {
	const widest, unknown = 120, 100
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return min(columns, widest)
		}
	}
	return unknown
}

// renderMarkdown lays out pages of Markdown. Prose and tables are wrapped at
// width columns, though never inside a word, so that names can be copied; the
// lines of code blocks stay as they are. Without colour there is no escape
// sequence in the result. Control characters and those that turn the writing
// direction are left out, even where the Markdown spells them as entities.
func renderMarkdown(pages []string, width int, colour bool) string {
	parser := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser()
	var b strings.Builder
	for i, page := range pages {
		source := []byte(page)
		layout := &layout{source: source, colour: colour}
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, line := range layout.blocks(parser.Parse(text.NewReader(source)), width) {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// style is how a run of characters looks: any of these together.
type style uint8

const (
	styleBold style = 1 << iota
	styleDim
	styleName // what stands between backticks
	styleRed
	styleGreen
	styleYellow
	styleBlue
	styleMagenta
)

// sgr are the parameters of the escape sequence for each style, in the order
// of the constants. They are the 16 colours that users choose for themselves.
var sgr = [...]string{"1", "2", "36", "31", "32", "33", "34", "35"}

// span is a piece of a line that looks the same all along.
type span struct {
	text  string
	style style
}

// word is what is never broken: spans without a space between them.
type word struct {
	spans []span
	width int
	// spaces stand before the word, unless a line begins with it.
	spaces int
	// joined means that the spaces are part of a name. The line is broken
	// there only if the name is too long for any line.
	joined bool
}

// layout turns one page into lines.
type layout struct {
	source []byte
	colour bool
}

// paint writes spans, without whatever blanks there are at the end.
func (l *layout) paint(spans ...span) string {
	var joined []span
	for i, s := range spans {
		if s.text == "" {
			continue
		}
		blank := strings.TrimSpace(s.text) == ""
		if blank && len(joined) > 0 && i+1 < len(spans) && spans[i+1].style == joined[len(joined)-1].style {
			s.style = spans[i+1].style
		}
		if len(joined) > 0 && joined[len(joined)-1].style == s.style {
			joined[len(joined)-1].text += s.text
			continue
		}
		joined = append(joined, s)
	}
	for len(joined) > 0 {
		last := &joined[len(joined)-1]
		if last.text = strings.TrimRightFunc(last.text, unicode.IsSpace); last.text != "" {
			break
		}
		joined = joined[:len(joined)-1]
	}
	var b strings.Builder
	for _, s := range joined {
		if !l.colour || s.style == 0 {
			b.WriteString(s.text)
			continue
		}
		var codes []string
		for i, code := range sgr {
			if s.style&(1<<i) != 0 {
				codes = append(codes, code)
			}
		}
		b.WriteString("\x1b[" + strings.Join(codes, ";") + "m" + s.text + "\x1b[0m")
	}
	return b.String()
}

// blocks lays out the children of a document, a quote or a list's item.
func (l *layout) blocks(parent ast.Node, width int) []string {
	var out []string
	tight := true // to what stands before, so no empty line
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		lines := l.block(n, width)
		if len(lines) == 0 {
			continue
		}
		if !tight {
			out = append(out, "")
		}
		out = append(out, lines...)
		_, tight = n.(*ast.TextBlock) // of a list whose items are close together
	}
	return out
}

func (l *layout) block(n ast.Node, width int) []string {
	switch n := n.(type) {
	case *ast.Heading:
		return l.prose(n, styleBold, width)
	case *ast.FencedCodeBlock:
		return l.code(n, string(n.Language(l.source)) == "diff")
	case *ast.CodeBlock:
		return l.code(n, false)
	case *ast.HTMLBlock:
		return l.htmlBlock(n, width)
	case *ast.Blockquote:
		return l.quote(n, width)
	case *ast.List:
		return l.list(n, width)
	case *tables.Table:
		return l.table(n, width)
	case *ast.ThematicBreak:
		return nil // the empty line is enough
	default:
		return l.prose(n, 0, width)
	}
}

// prose lays out a paragraph.
func (l *layout) prose(n ast.Node, s style, width int) []string {
	var out []string
	for _, words := range l.inline(n, s) {
		out = append(out, l.wrap(words, width)...)
	}
	return out
}

// wrap fills lines with words, and paints them.
func (l *layout) wrap(words []word, width int) []string {
	var out []string
	for _, line := range breakLines(words, width) {
		out = append(out, l.paint(line.spans...))
	}
	return out
}

// diffHead is a line of a diff that names a resource: all others are indented.
var diffHead = regexp.MustCompile(`^(?:[-+!]|-/\+|@@) \S`)

// code shows a block of code as it is, a little to the right.
func (l *layout) code(n ast.Node, diff bool) []string {
	var out []string
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		line := clean(strings.TrimRight(string(segment.Value(l.source)), "\r\n"))
		var s style
		if diff && line != "" {
			switch line[0] {
			case '+':
				s = styleGreen
			case '-':
				s = styleRed
			case '!':
				s = styleYellow
			case '@':
				s = styleBlue
			case '#':
				s = styleDim
			}
			if strings.HasPrefix(strings.TrimSpace(line), "# ") {
				s = styleDim
			}
			if diffHead.MatchString(line) {
				s |= styleBold
			}
		}
		out = append(out, l.paint(span{"  ", 0}, span{line, s}))
	}
	return out
}

var htmlTag = regexp.MustCompile(`<!--.*?-->|</?([A-Za-z][A-Za-z0-9]*)[^<>]*>`)

// htmlBlock shows the summary of a folded part; other HTML has nothing to show.
func (l *layout) htmlBlock(n *ast.HTMLBlock, width int) []string {
	var source strings.Builder
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		source.Write(segment.Value(l.source))
	}
	if n.HasClosure() {
		source.Write(n.ClosureLine.Value(l.source))
	}
	markup := strings.TrimSpace(source.String())
	f := flow{style: styleBold}
	at := 0
	for _, m := range htmlTag.FindAllStringSubmatchIndex(markup, -1) {
		f.add(html.UnescapeString(markup[at:m[0]]))
		if m[2] >= 0 {
			f.tag(markup[m[0]:m[1]])
		}
		at = m[1]
	}
	f.add(html.UnescapeString(markup[at:]))
	var out []string
	for _, words := range f.lines() {
		if strings.Contains(markup, "<summary>") {
			out = append(out, hang(l.wrap(words, width-2), "▾ ", "  ")...)
			continue
		}
		out = append(out, l.wrap(words, width)...)
	}
	return out
}

// alerts are the kinds of quotes that forges draw in a colour.
var alerts = map[string]style{
	"CAUTION": styleRed, "WARNING": styleYellow, "IMPORTANT": styleMagenta, "NOTE": styleBlue, "TIP": styleGreen,
}

var alertMark = regexp.MustCompile(`^\[!([A-Z]+)\]\s*$`)

// quote shows a quote behind a bar. The mark of an alert becomes the first word
// of what it is about.
func (l *layout) quote(n *ast.Blockquote, width int) []string {
	bar := styleDim
	var lines []string
	if first, ok := n.FirstChild().(*ast.Paragraph); ok && first.Lines().Len() > 0 {
		segment := first.Lines().At(0)
		if m := alertMark.FindStringSubmatch(strings.TrimSpace(string(segment.Value(l.source)))); m != nil {
			bar = alerts[m[1]]
			paragraphs := l.inline(first, 0)
			if len(paragraphs) == 0 {
				paragraphs = [][]word{nil}
			}
			// The mark was the first word of the paragraph, in the spelling of the source.
			rest := paragraphs[0][min(1, len(paragraphs[0])):]
			label := word{spans: []span{{m[1] + ":", bar | styleBold}}, width: len(m[1]) + 1}
			for i, words := range append([][]word{append([]word{label}, rest...)}, paragraphs[1:]...) {
				if i == 0 && len(rest) > 0 {
					words[1].spaces = 1
				}
				lines = append(lines, l.wrap(words, width-2)...)
			}
			n.RemoveChild(n, first)
			if n.HasChildren() {
				lines = append(lines, "")
			}
		}
	}
	lines = append(lines, l.blocks(n, width-2)...)
	mark := l.paint(span{"│", bar})
	return hang(lines, mark+" ", mark+" ")
}

func (l *layout) list(n *ast.List, width int) []string {
	var out []string
	number := n.Start
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		mark := "• "
		if n.IsOrdered() {
			mark = strconv.Itoa(number) + ". "
			number++
		}
		if !n.IsTight && len(out) > 0 {
			out = append(out, "")
		}
		indent := utf8.RuneCountInString(mark)
		out = append(out, hang(l.blocks(item, width-indent), mark, strings.Repeat(" ", indent))...)
	}
	return out
}

// hang puts first before the first line, and rest before the others.
func hang(lines []string, first, rest string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		lead := rest
		if i == 0 {
			lead = first
		}
		if line == "" {
			lead = strings.TrimRight(lead, " ")
		}
		out[i] = lead + line
	}
	return out
}

// cell is what stands in one field of a table: the lines that the Markdown asks
// for, which may be broken further.
type cell [][]word

// natural is the width of the cell if nothing is broken.
func (c cell) natural() int {
	widest := 0
	for _, words := range c {
		width := 0
		for i, w := range words {
			if i > 0 {
				width += w.spaces
			}
			width += w.width
		}
		widest = max(widest, width)
	}
	return widest
}

// least is the width below which the cell is not narrowed: that of its longest
// word, and more than a word or two.
func (c cell) least() int {
	const readable = 16
	least := min(readable, c.natural())
	for _, words := range c {
		for _, w := range words {
			least = max(least, w.width)
		}
	}
	return least
}

// table gives each column the width that it needs. If that is too much, the
// widest columns are wrapped; if it is too much even so, each row is shown by
// itself.
func (l *layout) table(n *tables.Table, width int) []string {
	const gap = 2
	var rows [][]cell
	columns := len(n.Alignments)
	natural, least := make([]int, columns), make([]int, columns)
	for r := n.FirstChild(); r != nil; r = r.NextSibling() {
		var s style
		if len(rows) == 0 {
			s = styleBold
		}
		row := make([]cell, columns)
		i := 0
		for c := r.FirstChild(); c != nil && i < columns; c = c.NextSibling() {
			row[i] = l.inline(c, s)
			natural[i], least[i] = max(natural[i], row[i].natural()), max(least[i], row[i].least())
			i++
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	widths, ok := shareOut(natural, least, width-gap*(columns-1))
	if !ok {
		return l.records(rows, width)
	}
	var out []string
	for i, row := range rows {
		out = append(out, l.row(row, widths, n.Alignments, gap)...)
		if i == 0 {
			rules := make([]string, columns)
			for j, w := range widths {
				rules[j] = strings.Repeat("─", w)
			}
			out = append(out, l.paint(span{strings.Join(rules, strings.Repeat(" ", gap)), styleDim}))
		}
	}
	return out
}

// shareOut narrows the widest columns until all fit into width, none below its
// least. It is not ok if they cannot fit.
func shareOut(natural, least []int, width int) (widths []int, ok bool) {
	widths = append([]int(nil), natural...)
	for {
		sum, widest := 0, -1
		for i, w := range widths {
			sum += w
			if w > least[i] && (widest < 0 || w >= widths[widest]) {
				widest = i
			}
		}
		if sum <= width {
			return widths, true
		}
		if widest < 0 {
			return nil, false
		}
		widths[widest]--
	}
}

// row shows a row of a table, on as many lines as its highest cell needs.
func (l *layout) row(row []cell, widths []int, alignments []tables.Alignment, gap int) []string {
	broken, height := make([][]spanLine, len(row)), 0
	for i, c := range row {
		for _, words := range c {
			broken[i] = append(broken[i], breakLines(words, widths[i])...)
		}
		height = max(height, len(broken[i]))
	}
	out := make([]string, height)
	for y := range out {
		var spans []span
		for i := range row {
			var at spanLine
			if y < len(broken[i]) {
				at = broken[i][y]
			}
			before, after := 0, widths[i]-at.width
			if alignments[i] == tables.AlignRight {
				before, after = after, 0
			}
			spans = append(spans, span{strings.Repeat(" ", before), 0})
			spans = append(spans, at.spans...)
			spans = append(spans, span{strings.Repeat(" ", after+gap), 0})
		}
		out[y] = l.paint(spans...)
	}
	return out
}

// records shows a table that is too wide: the first field of a row, and under
// it the others with the names of their columns.
func (l *layout) records(rows [][]cell, width int) []string {
	var out []string
	for _, row := range rows[1:] {
		for _, words := range row[0] {
			out = append(out, l.wrap(words, width)...)
		}
		for i, c := range row[1:] {
			label := rows[0][i+1]
			for j, words := range c {
				lead := "    "
				if j == 0 {
					lead = "  "
				}
				if j == 0 && len(label) > 0 && len(words) > 0 {
					f := flow{}
					for _, w := range label[0] {
						f.words = append(f.words, word{spans: plain(w.spans, styleDim), width: w.width, spaces: w.spaces})
					}
					f.style = styleDim
					f.glue(":")
					words[0].spaces = 1
					words = append(f.words, words...)
				}
				out = append(out, hang(l.wrap(words, width-4), lead, "    ")...)
			}
		}
	}
	return out
}

// plain gives spans a style instead of their own.
func plain(spans []span, s style) []span {
	out := make([]span, len(spans))
	for i, r := range spans {
		out[i] = span{r.text, s}
	}
	return out
}

// spanLine is a line that is laid out.
type spanLine struct {
	spans []span
	width int
}

// breakLines puts as many words on each line as fit, and at least one.
func breakLines(words []word, width int) []spanLine {
	var out []spanLine
	var at spanLine
	fits := 0 // how many of the next words belong to a name that fits on a line
	for i, w := range words {
		if fits > 0 {
			fits--
		} else {
			need := w.width
			joined := 0
			for _, next := range words[i+1:] {
				if !next.joined {
					break
				}
				need += next.spaces + next.width
				joined++
			}
			if joined > 0 && need <= width {
				fits = joined
			} else {
				need = w.width
			}
			if len(at.spans) > 0 && at.width+w.spaces+need > width {
				out = append(out, at)
				at = spanLine{}
			}
		}
		if len(at.spans) > 0 {
			at.spans = append(at.spans, span{strings.Repeat(" ", w.spaces), 0})
			at.width += w.spaces
		}
		at.spans = append(at.spans, w.spans...)
		at.width += w.width
	}
	if len(at.spans) > 0 {
		out = append(out, at)
	}
	return out
}

// flow collects words while inline Markdown is walked.
type flow struct {
	done  [][]word
	words []word
	style style
	// space was read since the last word: the next text does not go on with it.
	space bool
}

// add adds text in which any white space is one place to break the line.
func (f *flow) add(s string) {
	for s = clean(s); s != ""; {
		if i := strings.IndexFunc(s, isBlank); i != 0 {
			if i < 0 {
				i = len(s)
			}
			f.glue(s[:i])
			s = s[i:]
			continue
		}
		f.space = true
		s = strings.TrimLeftFunc(s, isBlank)
	}
}

// addName adds what stands between backticks, where each space counts.
func (f *flow) addName(s string) {
	s = clean(s)
	for first := true; s != ""; first = false {
		rest := strings.TrimLeftFunc(s, isBlank)
		spaces := utf8.RuneCountInString(s[:len(s)-len(rest)])
		if first || rest == "" {
			f.space = f.space || spaces > 0
		} else {
			f.words = append(f.words, word{spaces: spaces, joined: true})
		}
		end := strings.IndexFunc(rest, isBlank)
		if end < 0 {
			end = len(rest)
		}
		if end > 0 {
			f.glue(rest[:end])
		}
		s = rest[end:]
	}
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }

// glue adds to the last word, or begins one after a space.
func (f *flow) glue(s string) {
	if len(f.words) == 0 || f.space {
		f.words = append(f.words, word{spaces: 1})
	}
	f.space = false
	w := &f.words[len(f.words)-1]
	w.spans = append(w.spans, span{s, f.style})
	w.width += uniseg.StringWidth(s)
}

// tag takes note of one HTML tag, as <sub>, which stands on a line of its own.
func (f *flow) tag(s string) {
	m := htmlTag.FindStringSubmatch(s)
	if m == nil {
		return
	}
	var styled style
	switch strings.ToLower(m[1]) {
	case "br":
		f.end()
	case "sub":
		f.end()
		styled = styleDim
	case "code":
		styled = styleName
	case "b", "strong":
		styled = styleBold
	}
	if strings.HasPrefix(s, "</") {
		f.style &^= styled
	} else {
		f.style |= styled
	}
}

// end ends a line that the Markdown ends.
func (f *flow) end() {
	if len(f.words) > 0 {
		f.done = append(f.done, f.words)
	}
	f.words, f.space = nil, false
}

// lines are all words, by the lines that the Markdown asks for.
func (f *flow) lines() [][]word {
	f.end()
	return f.done
}

// inline reads the text of a block.
func (l *layout) inline(n ast.Node, s style) [][]word {
	f := &flow{style: s}
	l.walk(n, f)
	return f.lines()
}

func (l *layout) walk(parent ast.Node, f *flow) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			if s := string(n.Segment.Value(l.source)); n.IsRaw() {
				f.add(s)
			} else {
				f.add(unescape(s))
			}
			if n.SoftLineBreak() {
				f.space = true
			}
			if n.HardLineBreak() {
				f.end()
			}
		case *ast.String:
			f.add(string(n.Value))
		case *ast.CodeSpan:
			var b strings.Builder
			for c := n.FirstChild(); c != nil; c = c.NextSibling() {
				switch c := c.(type) {
				case *ast.Text:
					b.Write(c.Segment.Value(l.source))
				case *ast.String:
					b.Write(c.Value)
				}
			}
			before := f.style
			f.style |= styleName
			f.addName(b.String())
			f.style = before
		case *ast.RawHTML:
			for i := range n.Segments.Len() {
				segment := n.Segments.At(i)
				f.tag(string(segment.Value(l.source)))
			}
		case *ast.AutoLink:
			f.add(string(n.Label(l.source)))
		case *ast.Emphasis:
			before := f.style
			f.style |= styleBold
			l.walk(n, f)
			f.style = before
		default:
			l.walk(n, f)
		}
	}
}

var entity = regexp.MustCompile(`^&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`)

// unescape resolves backslashes and entities as Markdown has them, each once.
func unescape(s string) string {
	if !strings.ContainsAny(s, `\&`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] < utf8.RuneSelf && strings.IndexByte("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		case s[i] == '&':
			if m := entity.FindString(s[i:]); m != "" {
				b.WriteString(html.UnescapeString(m))
				i += len(m) - 1
				continue
			}
			b.WriteByte('&')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// clean leaves out what could command the terminal or turn the writing
// direction, and the characters without width that keep forges from seeing a
// mention. What remains is what the user may copy.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n':
			return r
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
}
