package adopt

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// file is one file of the configuration as it is now.
type file struct {
	name string // slash path from the root of the tree
	src  []byte
	body *hclsyntax.Body
	// problem says why it cannot be edited; "" if it can.
	problem string
	// override says that its blocks are laid over those of other files.
	override bool
}

// edit replaces a piece of a file. Everything else of the file stays byte for
// byte.
type edit struct {
	file       *file
	start, end int
	text       string
}

// replace puts text in place of a range.
func (f *file) replace(r hcl.Range, text string) edit {
	return edit{file: f, start: r.Start.Byte, end: r.End.Byte, text: text}
}

func (f *file) insert(at int, text string) edit { return edit{file: f, start: at, end: at, text: text} }

// newline is how the file's lines end.
func (f *file) newline() string {
	if bytes.Contains(f.src, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// lineStart is where the line of a byte begins.
func (f *file) lineStart(at int) int { return bytes.LastIndexByte(f.src[:at], '\n') + 1 }

// indent is the white space that the line of a byte begins with.
func (f *file) indent(at int) string {
	line := f.src[f.lineStart(at):]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// alone reports whether only white space stands before a byte on its line.
func (f *file) alone(at int) bool {
	return len(bytes.TrimLeft(f.src[f.lineStart(at):at], " \t")) == 0
}

func (f *file) blanks(at int) int {
	for at < len(f.src) && (f.src[at] == ' ' || f.src[at] == '\t') {
		at++
	}
	return at
}

// rest is what stands after something on its line.
type rest struct {
	comma int  // where a comma is, -1 if there is none
	next  int  // where the next thing begins: after comma and blanks, or the next line
	line  bool // nothing but a comment follows on the line
}

func (f *file) after(at int) rest {
	r := rest{comma: -1}
	at = f.blanks(at)
	if at < len(f.src) && f.src[at] == ',' {
		r.comma = at
		at = f.blanks(at + 1)
	}
	r.next = at
	tail := f.src[at:]
	end := bytes.IndexByte(tail, '\n')
	switch {
	case bytes.HasPrefix(tail, []byte("#")), bytes.HasPrefix(tail, []byte("//")):
	case end >= 0 && len(bytes.TrimSpace(tail[:end])) == 0:
	case end < 0 && len(bytes.TrimSpace(tail)) == 0:
	default:
		return r
	}
	r.line, r.next = true, len(f.src)
	if end >= 0 {
		r.next = at + end + 1
	}
	return r
}

// dropLines removes whole lines, and one of two blank lines that would then
// stand together or before a closing brace.
func (f *file) dropLines(start, end int) edit {
	start, end = f.lineStart(start), f.after(end).next
	if start > 0 {
		above := f.lineStart(start - 1)
		below := bytes.TrimLeft(f.src[end:], " \t")
		blankAbove := len(bytes.TrimSpace(f.src[above:start])) == 0
		opens := above == 0 || bytes.HasSuffix(bytes.TrimSpace(f.src[:start]), []byte("{"))
		if blankAbove && !opens && (len(below) == 0 || below[0] == '}' || below[0] == '\n' || below[0] == '\r') {
			start = above
		}
	}
	return edit{file: f, start: start, end: end}
}

var errTangled = errors.New("two of the changes fall on the same place of the file")

// apply makes the edits of one file. A file that was formatted stays so; in any
// other nothing but the edits changes.
func (f *file) apply(edits []edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return a.end - b.end
	})
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		if e.start < at {
			return nil, errTangled
		}
		out.Write(f.src[at:e.start])
		out.WriteString(e.text)
		at = e.end
	}
	out.Write(f.src[at:])
	result := out.Bytes()
	if f.newline() == "\n" && bytes.Equal(hclwrite.Format(f.src), f.src) {
		result = hclwrite.Format(result)
	}
	if _, diags := hclsyntax.ParseConfig(result, f.name, hcl.InitialPos); diags.HasErrors() {
		return nil, errors.New("the edited file would not be valid: " + strings.TrimSpace(diags[0].Summary))
	}
	return result, nil
}
