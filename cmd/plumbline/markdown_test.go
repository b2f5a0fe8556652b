package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
)

var escapeSequence = regexp.MustCompile("\x1b\\[[0-9;]+m")

// codeLines are the lines between the fences of a comment, as they are shown.
func codeLines(page string) map[string]bool {
	fence := regexp.MustCompile("^(`{3,})[a-z]*$")
	lines, open := map[string]bool{}, ""
	for _, line := range strings.Split(page, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case open == "" && m != nil:
			open = m[1]
		case open != "" && line == open:
			open = ""
		case open != "":
			lines[strings.TrimRight("  "+line, " ")] = true
		}
	}
	return lines
}

// What every comment must be on every terminal.
func TestMarkdownOfAllComments(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../prcomment/testdata/golden/*.md")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d comments: %v", len(files), err)
	}
	raw := regexp.MustCompile("\\*\\*|^#+ |\\[!|</?(sub|details|summary|code|br)\\b|<!--|&#?[a-z0-9]+;|^\\||\\| ?-{3}|`|\\\\")
	bar := regexp.MustCompile(`^[│ ]*(?:[▾•] )?`)
	for _, file := range files {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(file)
		code := codeLines(string(page))
		for _, width := range []int{20, 60, 80, 120} {
			plain := renderMarkdown([]string{string(page)}, width, false)
			coloured := renderMarkdown([]string{string(page)}, width, true)
			if diff := cmp.Diff(plain, escapeSequence.ReplaceAllString(coloured, "")); diff != "" {
				t.Errorf("%s at %d: colour changes the text:\n%s", base, width, diff)
			}
			if !strings.Contains(coloured, "\x1b[1m") {
				t.Errorf("%s at %d: nothing is bold", base, width)
			}
			if i := strings.IndexFunc(plain, func(r rune) bool {
				return r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
			}); i >= 0 {
				t.Errorf("%s at %d: control character at %q", base, width, plain[i:min(i+20, len(plain))])
			}
			for line := range strings.Lines(coloured) {
				if bare := escapeSequence.ReplaceAllString(line, ""); strings.TrimRight(bare, " \n")+"\n" != bare {
					t.Errorf("%s at %d: blanks at the end of %q", base, width, line)
				}
			}
			if strings.Contains(plain, "\n\n\n") {
				t.Errorf("%s at %d: two empty lines", base, width)
			}
			shown := map[string]bool{}
			for line := range strings.Lines(plain) {
				line = strings.TrimSuffix(line, "\n")
				shown[line] = true
				if code[line] {
					continue
				}
				if w := uniseg.StringWidth(line); w > width && strings.ContainsAny(line[len(bar.FindString(line)):], " ") {
					t.Errorf("%s: %d columns instead of %d: %q", base, w, width, line)
				}
				// The names in these hold what looks like markup.
				if !slices.Contains([]string{"hostile.md", "cloud.md", "real-change.md", "issue.md"}, base) && raw.MatchString(line) {
					t.Errorf("%s at %d: raw markup in %q", base, width, line)
				}
			}
			for line := range code {
				if !shown[line] {
					t.Errorf("%s at %d: the line of code %q is missing", base, width, line)
				}
			}
		}
	}
}

const comment = "<!-- plumbline: v=1 -->\n" +
	"#### A `title`\n\n" +
	"⚠️ **Plan: 1 to destroy** in 2 workspaces\n" +
	"<sub>commit `4f1d` against `main`</sub>\n\n" +
	"> [!CAUTION]\n> **1 to destroy**\n>\n> - **destroy** `toy_node.a[\"a b\"]`: ignored by @&#8203;ada, not in the configuration \\*any\\* more\n\n" +
	"| Workspace | Add | Affected because |\n| --- | --: | --- |\n" +
	"| `network` | **1** | module `modules/labels`: `main.tf` changed<br>`a.tf` changed |\n" +
	"| <code>a&#124;b</code> |  | x |\n\n" +
	"<details><summary><code>net&amp;work</code> · 1 to destroy</summary>\n\n" +
	"```diff\n- destroy toy_node.a  # not in the configuration any more\n-     name = \"a\"\n      # 2 unchanged\n\n! update b\n+ create c\n@@ Outside @@\n```\n\n" +
	"</details>\n\n---\n<sub>Comment: `plumbline help` tells more</sub>\n"

func TestMarkdownLayout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		width  int
		colour bool
		want   string
	}{
		{"plain", 60, false, `A title

⚠️ Plan: 1 to destroy in 2 workspaces
commit 4f1d against main

│ CAUTION: 1 to destroy
│
│ • destroy toy_node.a["a b"]: ignored by @ada, not in the
│   configuration *any* more

Workspace  Add  Affected because
─────────  ───  ──────────────────────────────────────
network      1  module modules/labels: main.tf changed
                a.tf changed
a|b             x

▾ net&work · 1 to destroy

  - destroy toy_node.a  # not in the configuration any more
  -     name = "a"
        # 2 unchanged

  ! update b
  + create c
  @@ Outside @@

Comment: plumbline help tells more
`},
		{"a narrow table is wrapped", 44, false, `A title

⚠️ Plan: 1 to destroy in 2 workspaces
commit 4f1d against main

│ CAUTION: 1 to destroy
│
│ • destroy toy_node.a["a b"]: ignored by
│   @ada, not in the configuration *any*
│   more

Workspace  Add  Affected because
─────────  ───  ────────────────────────────
network      1  module modules/labels:
                main.tf changed
                a.tf changed
a|b             x

▾ net&work · 1 to destroy

  - destroy toy_node.a  # not in the configuration any more
  -     name = "a"
        # 2 unchanged

  ! update b
  + create c
  @@ Outside @@

Comment: plumbline help tells more
`},
		{"a table that does not fit becomes a list", 26, false, `A title

⚠️ Plan: 1 to destroy in 2
workspaces
commit 4f1d against main

│ CAUTION: 1 to destroy
│
│ • destroy
│   toy_node.a["a b"]:
│   ignored by @ada, not
│   in the configuration
│   *any* more

network
  Add: 1
  Affected because:
    module modules/labels:
    main.tf changed
    a.tf changed
a|b
  Affected because: x

▾ net&work · 1 to destroy

  - destroy toy_node.a  # not in the configuration any more
  -     name = "a"
        # 2 unchanged

  ! update b
  + create c
  @@ Outside @@

Comment: plumbline help
tells more
`},
		{"colour", 60, true, `{1}A{} {1;36}title{}

⚠️ {1}Plan: 1 to destroy{} in 2 workspaces
{2}commit{} {2;36}4f1d{} {2}against{} {2;36}main{}

{31}│{} {1;31}CAUTION:{} {1}1 to destroy{}
{31}│{}
{31}│{} • {1}destroy{} {36}toy_node.a["a b"]{}: ignored by @ada, not in the
{31}│{}   configuration *any* more

{1}Workspace{}  {1}Add{}  {1}Affected because{}
{2}─────────  ───  ──────────────────────────────────────{}
{36}network{}      {1}1{}  module {36}modules/labels{}: {36}main.tf{} changed
                {36}a.tf{} changed
{36}a|b{}             x

▾ {1;36}net&work{} {1}· 1 to destroy{}

  {1;31}- destroy toy_node.a  # not in the configuration any more{}
  {31}-     name = "a"{}
  {2}      # 2 unchanged{}

  {1;33}! update b{}
  {1;32}+ create c{}
  {1;34}@@ Outside @@{}

{2}Comment:{} {2;36}plumbline help{} {2}tells more{}
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := renderMarkdown([]string{comment}, tt.width, tt.colour)
			got = regexp.MustCompile("\x1b\\[([0-9;]*)m").ReplaceAllStringFunc(got, func(s string) string {
				if s == "\x1b[0m" {
					return "{}"
				}
				return "{" + s[2:len(s)-1] + "}"
			})
			if diff := cmp.Diff(strings.Split(tt.want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("renderMarkdown (-want +got):\n%s\n%s", diff, got)
			}
		})
	}
}

// An entity must not bring back what prcomment spelled out, and nothing else
// may reach the terminal either.
func TestMarkdownSendsNoCommandsToTheTerminal(t *testing.T) {
	t.Parallel()
	for _, hostile := range []string{
		"&#27;]0;title&#7;x", "&#x1b;[31mred", "&#155;31mx", "&#x202e;abc", "&rlm;x", "&ZeroWidthSpace;x", "&#8232;x",
		"\x1b]0;title\a", "\u202eabc\u2066", "\u009b31m", "&#13;x", "&#8;x", "a\rb", "a\x00b", "\xff\xfe",
	} {
		for _, page := range []string{
			hostile + " x", "#### " + hostile, "**" + hostile + "**", "`x" + hostile + "`", "```text\n" + hostile + "\n```",
			"> [!NOTE]\n> " + hostile, "- " + hostile, "| a |\n| --- |\n| " + hostile + " |", "<code>" + hostile + "</code>",
			"<details><summary><code>" + hostile + "</code></summary>\n\n</details>", "<sub>" + hostile + "</sub>",
			"<div>" + hostile, "[" + hostile + "](http://example.com)", "<http://example.com/" + hostile + ">",
		} {
			got := renderMarkdown([]string{page}, 80, false)
			for _, r := range got {
				if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
					t.Errorf("%q brings %U to the terminal: %q", page, r, got)
				}
			}
			coloured := escapeSequence.ReplaceAllString(renderMarkdown([]string{page}, 80, true), "")
			if strings.ContainsAny(coloured, "\x1b\a\u009b") {
				t.Errorf("%q brings a command to the terminal: %q", page, coloured)
			}
		}
	}
	if got, want := renderMarkdown([]string{"&amp;#27; \\&lt; @&#8203;ada `&lt;`"}, 80, false), "&#27; &lt; @ada &lt;\n"; got != want {
		t.Errorf("entities are resolved to %q, want %q", got, want)
	}
}

func TestMarkdownElsewhereThanOnATerminal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if got := lineWidth(file); got != 100 {
		t.Errorf("a file is %d columns wide, want 100", got)
	}
	var out bytes.Buffer
	p := &program{}
	if err := p.showMarkdown(&out, []string{"**one**", strings.Repeat("two ", 30)}); err != nil {
		t.Fatal(err)
	}
	want := "one\n\n" + strings.TrimSpace(strings.Repeat("two ", 25)) + "\n" + strings.TrimSpace(strings.Repeat("two ", 5)) + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("showMarkdown (-want +got):\n%s", diff)
	}
}
