package main

import (
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"

	"github.com/charmbracelet/glamour"
)

// showMarkdown writes a comment as a person would see it on the forge's page,
// as far as a terminal can: folded parts are shown open.
func (p *program) showMarkdown(w io.Writer, pages []string, width int) error {
	style := "notty"
	if isTerminal(w) && p.getenv("NO_COLOR") == "" {
		style = "dark"
	}
	renderer, err := glamour.NewTermRenderer(
		glamour.WithStandardStyle(style),
		glamour.WithWordWrap(max(60, min(width, 120))),
		glamour.WithEmoji(),
	)
	if err != nil {
		return fmt.Errorf("render the comment: %w", err)
	}
	for _, page := range pages {
		out, err := renderer.Render(unfold(page))
		if err != nil {
			return fmt.Errorf("render the comment: %w", err)
		}
		if _, err := io.WriteString(w, strings.Trim(out, "\n")+"\n"); err != nil {
			return fmt.Errorf("print the comment: %w", err)
		}
	}
	return nil
}

var (
	summaryLine = regexp.MustCompile(`^\s*(?:<details[^>]*>)?\s*<summary>(.*)</summary>\s*$`)
	detailsLine = regexp.MustCompile(`^\s*</?details[^>]*>\s*$`)
	commentLine = regexp.MustCompile(`^\s*<!--.*-->\s*$`)
	lineBreak   = regexp.MustCompile(`\s*<br\s*/?>\s*`)
	tag         = regexp.MustCompile(`</?[a-z]+[^>]*>`)
	fence       = regexp.MustCompile("^ {0,3}(`{3,}|~{3,})")
)

// unfold turns the little HTML of a comment into what a terminal can show. It
// leaves what stands between fences alone.
func unfold(page string) string {
	var out []string
	open := ""
	for _, line := range strings.Split(page, "\n") {
		if m := fence.FindStringSubmatch(line); m != nil {
			switch {
			case open == "":
				open = m[1]
			case strings.HasPrefix(m[1], open) && strings.TrimSpace(line) == m[1]:
				open = ""
			}
			out = append(out, line)
			continue
		}
		if open != "" {
			out = append(out, line)
			continue
		}
		switch {
		case commentLine.MatchString(line), detailsLine.MatchString(line):
		case summaryLine.MatchString(line):
			text := html.UnescapeString(tag.ReplaceAllString(summaryLine.FindStringSubmatch(line)[1], ""))
			out = append(out, "", "**▾ "+strings.TrimSpace(text)+"**", "")
		default:
			out = append(out, lineBreak.ReplaceAllString(line, "; "))
		}
	}
	return strings.Join(out, "\n")
}
