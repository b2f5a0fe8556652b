package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// printJSON prints one value, indented, as the whole of a command's output. No
// secret of the environment is in it.
func (p *program) printJSON(v any) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	// Addresses hold < and >; JSON that a person reads is better without \u003c.
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	if _, err := p.stdout.Write(withoutSecrets(out.Bytes(), p.secrets())); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// withoutSecrets takes values out of JSON, as they stand in a string and as
// they stand in a string that is JSON itself. What is left is valid JSON.
func withoutSecrets(out []byte, secrets []string) []byte {
	for _, secret := range secrets {
		once := inString(secret)
		for _, form := range []string{inString(once), once} {
			out = bytes.ReplaceAll(out, []byte(form), []byte("(secret)"))
		}
	}
	return out
}

// inString is how a value stands between the quotes of a JSON string.
func inString(s string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return s // No string fails to be encoded.
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(out.String()), `"`), `"`)
}

// table prints rows of cells in columns; the first row is the heading.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, printable(cell))
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// printable keeps names from Git out of the terminal's controls.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			return '\uFFFD'
		}
		return c
	}, s)
}

// warn prints the problems of a repository to standard error.
func (p *program) warn(problems []workspaces.Problem) {
	for _, problem := range problems {
		fmt.Fprintf(p.stderr, "%s: %s\n", severity(problem), printable(problem.Error()))
	}
}

func severity(p workspaces.Problem) string {
	if p.IsError() {
		return "error"
	}
	return "warning"
}

// isTerminal reports whether w is a terminal that a person looks at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// short prints a duration the way a person says it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// counted says what a plan would do, in a few words.
func counted(c planstore.Counts) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{c.Import, "to import"}, {c.Create, "to add"}, {c.Update, "to change"}, {c.Replace, "to replace"},
		{c.Delete, "to destroy"}, {c.Forget, "to forget"}, {c.Move, "to move"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case c.Outputs > 0:
		return "only outputs change"
	}
	return "no changes"
}
