package prcomment

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The longest names and sentences that are written in full, in bytes. Whatever exceeds them is shortened in the middle
// and says by how much, so that no single line can be longer than a page.
const (
	maxName = 400
	maxText = 600
)

// visible makes text safe to look at: invalid UTF-8, control characters, and characters that are invisible or turn the
// writing direction are spelled out, as \u202e. Tabs stay. Line breaks stay when lines is set, else they too are
// spelled out.
func visible(s string, lines bool) string {
	if strings.Contains(s, "<!--") {
		s = markLike.ReplaceAllString(s, "<!- -${1}plumbline:")
	}
	ok := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || c < ' ' && c != '\t' && !(c == '\n' && lines) || c == 0x7f {
			ok = false
			break
		}
	}
	if ok {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
			} else {
				b.WriteRune(r)
			}
		case r == '\t', r == '\n' && lines:
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp), isFiller(r):
			if r > 0xffff {
				fmt.Fprintf(&b, `\U%08x`, r)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isFiller tells characters that are drawn as nothing though Unicode counts them as letters or marks, variation
// selectors among them: a name could hide behind them, or hide something in them.
func isFiller(r rune) bool {
	return r == 0x034f || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r == 0x3164 || r == 0xffa0 ||
		r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0000 && r <= 0xe0fff
}

// withoutANSI removes terminal escape sequences: colours in what Terraform printed.
func withoutANSI(s string) string {
	if !strings.Contains(s, "\x1b") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			i++
			continue
		}
		i++
		if i == len(s) {
			break
		}
		switch s[i] {
		case '[': // CSI: parameters, then one final byte
			i++
			for i < len(s) && s[i] >= 0x20 && s[i] <= 0x3f {
				i++
			}
			if i < len(s) && s[i] >= 0x40 && s[i] <= 0x7e {
				i++
			}
		case ']', 'P', '_', '^': // a string, up to BEL or ESC \
			end := strings.IndexAny(s[i:], "\a\x1b\n")
			switch {
			case end < 0:
				i = len(s)
			case s[i+end] == '\n':
				i += end
			case s[i+end] == 0x1b && i+end+1 < len(s) && s[i+end+1] == '\\':
				i += end + 2
			case s[i+end] == 0x1b:
				i += end
			default:
				i += end + 1
			}
		default:
			if s[i] >= 0x20 && s[i] <= 0x7e {
				i++
			}
		}
	}
	return b.String()
}

// shorten cuts the middle out of s when it is longer than limit bytes, and says how much is missing. It keeps more of
// the beginning than of the end. The result is at most limit bytes plus the few that say so.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	head, tail := floorRune(s, limit*2/3), ceilRune(s, len(s)-limit/3)
	return s[:head] + " […" + number(tail-head) + " bytes left out…] " + s[tail:]
}

// floorRune is the last rune boundary of s at or before i.
func floorRune(s string, i int) int {
	for i > 0 && i < len(s) && !utf8.RuneStart(s[i]) {
		i--
	}
	return i
}

// ceilRune is the first rune boundary of s at or after i.
func ceilRune(s string, i int) int {
	for i < len(s) && !utf8.RuneStart(s[i]) {
		i++
	}
	return i
}

// code writes a name as a code span, where forges look for neither markup nor mentions. Not for table cells.
func code(s string) string {
	s = shorten(visible(s, false), maxName)
	if s == "" {
		return "(empty)"
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	if s[0] == '`' || s[len(s)-1] == '`' || s[0] == ' ' && s[len(s)-1] == ' ' {
		s = " " + s + " "
	}
	return ticks + strings.ReplaceAll(s, "\t", " ") + ticks
}

// codeCell writes a name as code inside a table, where a | ends the cell even in a code span, and the rules for
// escaping it differ between renderers as soon as there is a backslash too. Such names become HTML.
func codeCell(s string) string {
	if !strings.Contains(s, "|") {
		return code(s)
	}
	var b strings.Builder
	for _, r := range shorten(visible(s, false), maxName) {
		if r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != ' ' {
			b.WriteString("&#" + strconv.Itoa(int(r)) + ";")
		} else {
			b.WriteRune(r)
		}
	}
	return "<code>" + b.String() + "</code>"
}

// codeHTML writes a name as code where Markdown does not reach: in a summary.
func codeHTML(s string) string {
	return "<code>" + html.EscapeString(shorten(visible(s, false), maxName)) + "</code>"
}

// text writes a sentence. Words between two backticks become code; everything else means itself, in tables too:
// no markup, no links, no mentions, no references to issues.
func text(s string) string {
	s = shorten(strings.Join(strings.Fields(visible(strings.NewReplacer("\n", " ", "\r", " ").Replace(withoutANSI(s)), false)), " "), maxText)
	var b strings.Builder
	for s != "" {
		start := strings.IndexByte(s, '`')
		end := -1
		if start >= 0 {
			end = strings.IndexByte(s[start+1:], '`')
		}
		if end < 0 {
			escapeText(&b, s)
			break
		}
		escapeText(&b, s[:start])
		if end > 0 {
			b.WriteString(codeCell(s[start+1 : start+1+end]))
		}
		s = s[start+end+2:]
	}
	return b.String()
}

// nothing is a character without width. After an @ or a # it keeps forges from seeing a mention or a reference: they
// look for these in the finished HTML, where a backslash no longer helps.
const nothing = "&#8203;"

func escapeText(b *strings.Builder, s string) {
	for i, r := range s {
		var prev, next byte
		if i > 0 {
			prev = s[i-1]
		}
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch r {
		case '\\', '`', '*', '[', ']', '<', '>', '|', '~', '&':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '_':
			if !isWord(prev) || !isWord(next) {
				b.WriteByte('\\')
			}
			b.WriteByte('_')
		case '@', '#', '!': // ! is Gitea's sign for pull requests
			if r != '@' && b.Len() == 0 {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
			if isWord(next) {
				b.WriteString(nothing)
			}
		case '$': // begins a formula on GitHub
			b.WriteString("&#36;")
		case ':': // https://, but also :emoji:
			b.WriteByte(':')
			if next == '/' || isEmoji(s[i:]) {
				b.WriteString(nothing)
			}
		case '.', ')':
			if b.Len() > 0 && strings.Trim(b.String(), "0123456789") == "" || strings.HasSuffix(strings.ToLower(b.String()), "www") {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		case '-', '+', '=':
			if b.Len() == 0 {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
			if r == '-' && next >= '0' && next <= '9' && isLetter(prev) { // GH-12, JIRA-7
				b.WriteString(nothing)
			}
		default:
			b.WriteRune(r)
		}
	}
}

// isEmoji says whether s begins with a short code such as :boom:. "main.tf:12:" is none.
func isEmoji(s string) bool {
	end := strings.IndexByte(s[1:], ':')
	if end < 1 {
		return false
	}
	name := s[1 : 1+end]
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_+-") == "" && strings.Trim(name, "0123456789") != ""
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isWord(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c >= 0x80 }

// longestRun is the length of the longest run of c in s.
func longestRun(s string, c byte) int {
	longest, run := 0, 0
	for i := 0; i < len(s); i++ {
		if s[i] != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// maxTicks is the longest run of backticks that is written out inside a fence. A plan could hold a page full of them,
// and the fence around it has to be longer still.
const maxTicks = 24

// unticked cuts absurd runs of backticks.
func unticked(s string) string {
	if !strings.Contains(s, strings.Repeat("`", maxTicks+1)) {
		return s
	}
	var b strings.Builder
	run := 0
	flush := func() {
		b.WriteString(strings.Repeat("`", min(run, maxTicks)))
		if run > maxTicks {
			b.WriteString("[…" + number(run-maxTicks) + " more backticks…]")
		}
		run = 0
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '`' {
			run++
			continue
		}
		flush()
		b.WriteByte(s[i])
	}
	flush()
	return b.String()
}

// fenceFor is a fence that nothing in the lines can close.
func fenceFor(lines []string) string {
	n := 2
	for _, l := range lines {
		n = max(n, longestRun(l, '`'))
	}
	return strings.Repeat("`", n+1)
}

// number writes n with commas between thousands.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count writes n with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}
