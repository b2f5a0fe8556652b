package prcomment_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extensionast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// checkPages says what must hold of every page of every report, whatever is in it.
func checkPages(t testing.TB, pages []string, limit int, r prcomment.Report) {
	t.Helper()
	if limit == 0 {
		limit = 65536
	}
	if len(pages) == 0 {
		t.Fatal("there is no page")
	}
	for i, page := range pages {
		if len(page) > max(limit, 8192) {
			t.Errorf("page %d is %d bytes long, the limit is %d", i+1, len(page), limit)
		}
		if !utf8.ValidString(page) {
			t.Errorf("page %d is not valid UTF-8", i+1)
		}
		for _, c := range page {
			if c != '\n' && c != '\t' && c != '\ufe0f' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
				t.Errorf("page %d holds the invisible character %U", i+1, c)
				break
			}
		}
		for _, canary := range canaries {
			if strings.Contains(page, canary) {
				t.Errorf("page %d shows the secret %q", i+1, canary)
			}
		}
		mark, ok := prcomment.ParseMark(page)
		if !ok || mark.Page != i+1 || mark.Pages != len(pages) || len(r.Key) < 300 && mark.Key != r.Key {
			t.Errorf("page %d has mark %+v (%v), want page %d of %d with key %q", i+1, mark, ok, i+1, len(pages), r.Key)
		}
		if n := strings.Count(page, "<!-- plumbline:"); n != 1 {
			t.Errorf("page %d has %d marks, want 1", i+1, n)
		}
		checkMarkup(t, i+1, page)
	}
}

// ourHTML is all the HTML there may be: ours. What comes from outside never makes an HTML node.
var ourHTML = regexp.MustCompile(`^(?:<!-- plumbline: [^<>\n]* -->|</?(?:details|details open|summary|sub|code)>|<br>|` +
	`<summary>[^<>]*|&#[0-9]+;|\s)+$`)

// summaryText is what stands in a summary: entities, no tags but code.
var summaryLine = regexp.MustCompile(`^<details(?: open)?><summary>(?:[^<>]|</?code>)*</summary>\n?$`)

func checkMarkup(t testing.TB, number int, page string) {
	t.Helper()
	source := []byte(page)
	parser := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()
	document := parser.Parse(text.NewReader(source))
	opened, closed := 0, 0
	inCode := false // between <code> and </code>
	walk := func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.RawHTML:
			var raw strings.Builder
			for i := range n.Segments.Len() {
				s := n.Segments.At(i)
				raw.Write(s.Value(source))
			}
			if !ourHTML.MatchString(raw.String()) {
				t.Errorf("page %d has foreign HTML: %q", number, raw.String())
			}
			inCode = raw.String() == "<code>" || inCode && raw.String() != "</code>"
		case *ast.HTMLBlock:
			for i := range n.Lines().Len() {
				s := n.Lines().At(i)
				line := string(s.Value(source))
				switch {
				case summaryLine.MatchString(line):
					opened++
				case strings.TrimSpace(line) == "</details>":
					closed++
				case ourHTML.MatchString(line):
				default:
					// The mark is followed by the first line of the page, which belongs to its block on no renderer:
					// an HTML comment ends where it ends.
					t.Errorf("page %d has a foreign block of HTML: %q", number, line)
				}
			}
			if n.HasClosure() {
				line := string(n.ClosureLine.Value(source))
				if !ourHTML.MatchString(line) {
					t.Errorf("page %d has foreign HTML at the end of a block: %q", number, line)
				}
			}
		case *ast.Link, *ast.Image, *ast.AutoLink:
			t.Errorf("page %d has a link or an image", number)
		case *ast.FencedCodeBlock:
			if language := string(n.Language(source)); language != "diff" && language != "text" {
				t.Errorf("page %d has a fence of language %q", number, language)
			}
			if last := n.Lines().Len(); last > 0 {
				end := n.Lines().At(last - 1).Stop
				rest, _, _ := strings.Cut(page[end:], "\n")
				if strings.Trim(rest, "`") != "" || rest == "" {
					t.Errorf("page %d has a fence that is not closed, but followed by %q", number, rest)
				}
			}
		case *ast.CodeBlock:
			t.Errorf("page %d has an indented code block", number)
		case *ast.Heading:
			if n.Level != 3 && n.Level != 4 {
				t.Errorf("page %d has a heading of level %d", number, n.Level)
			}
		case *extensionast.Table:
			width := -1
			for row := n.FirstChild(); row != nil; row = row.NextSibling() {
				cells := 0
				for c := row.FirstChild(); c != nil; c = c.NextSibling() {
					cells++
				}
				if width >= 0 && cells != width {
					t.Errorf("page %d has a table with rows of %d and %d cells", number, width, cells)
				}
				width = cells
				// Cells beyond the last column are dropped in silence, so count what was written.
				if first := firstText(row); first >= 0 {
					start := strings.LastIndexByte(page[:first], '\n') + 1
					line, _, _ := strings.Cut(page[start:], "\n")
					if n := strings.Count(strings.ReplaceAll(strings.ReplaceAll(line, `\\`, ""), `\|`, ""), "|"); n != width+1 {
						t.Errorf("page %d has a row of %d cells that is written with %d bars: %q", number, width, n, line)
					}
				}
			}
		case *ast.Text:
			// Outside of code, nothing may be seen as a mention or a reference.
			if inCode || insideCode(n) {
				break
			}
			if strings.Contains(string(n.Segment.Value(source)), "$") {
				t.Errorf("page %d has what may begin a formula: %q", number, n.Segment.Value(source))
			}
			if s := html.UnescapeString(string(n.Segment.Value(source))); mentionLike.MatchString(s) {
				t.Errorf("page %d has a mention or a reference: %q", number, s)
			}
		}
		return ast.WalkContinue, nil
	}
	if err := ast.Walk(document, walk); err != nil {
		t.Fatal(err)
	}
	if opened != closed {
		t.Errorf("page %d opens %d details and closes %d", number, opened, closed)
	}
}

var mentionLike = regexp.MustCompile(`@\w|#\d|\bGH-\d`)

// firstText is where the first text under a node begins, -1 if there is none.
func firstText(n ast.Node) int {
	at := -1
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if text, ok := n.(*ast.Text); ok && entering && at < 0 {
			at = text.Segment.Start
		}
		return ast.WalkContinue, nil
	})
	return at
}

func insideCode(n ast.Node) bool {
	for p := n.Parent(); p != nil; p = p.Parent() {
		if p.Kind() == ast.KindCodeSpan {
			return true
		}
	}
	return false
}
