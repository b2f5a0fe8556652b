package atlantis

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// write returns the plumbline.yaml. It is written by hand: an encoder puts no comments where a reader looks for them.
func (m *migration) write() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Made by \"plumbline migrate\" from %s. Comments name what has no equal, with the line where it stood.\n", oneLine(m.opts.File))
	writeComments(&out, "", m.head)
	out.WriteString("version: 1\n")
	if !m.discover {
		out.WriteString("discover: false # only the workspaces named here, as in Atlantis\n")
	}
	out.WriteString("defaults:\n  apply: on-comment # as in Atlantis; on-merge applies what was reviewed once it is merged\n")
	if len(m.kept()) > 0 {
		out.WriteString("workspaces:\n")
	}
	for _, e := range m.entries {
		if e.leftOut == nil {
			e.write(&out)
			continue
		}
		var block bytes.Buffer
		e.write(&block)
		fmt.Fprintf(&out, "  %s\n", e.leftOut.text)
		for line := range strings.Lines(block.String()) {
			fmt.Fprintf(&out, "  # %s", strings.TrimPrefix(line, "  "))
		}
	}
	if len(m.ignore) > 0 {
		fmt.Fprintf(&out, "ignore: %s\n", flow(m.ignore))
	}
	writeComments(&out, "", m.tail)
	return out.Bytes()
}

// write writes an entry, each comment after the key that it is about.
func (e *entry) write(out *bytes.Buffer) {
	lead := "  - "
	put := func(key, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s%s: %s\n", lead, key, value)
			lead = "    "
		}
		writeComments(out, "    ", e.comments[key])
	}
	put("dir", scalar(e.Dir))
	name := e.Name
	if name == e.ownName() {
		name = ""
	}
	put("name", scalar(name))
	put("workspace", scalar(e.Workspace))
	put("engine", scalar(e.Engine))
	put("terraform", scalar(e.Terraform))
	approvals := ""
	if e.Approvals != nil {
		approvals = fmt.Sprint(*e.Approvals)
	}
	put("approvals", approvals)
	put("var_files", flow(e.VarFiles))
	put("backend_config", flow(e.BackendConfig))
	put("watch", flow(e.Watch))
	put("depends_on", flow(e.DependsOn))
}

// writeComments writes comments in the order of the lines that they are about.
func writeComments(out *bytes.Buffer, indent string, comments []comment) {
	slices.SortStableFunc(comments, func(a, b comment) int { return cmp.Compare(a.line, b.line) })
	for _, c := range comments {
		fmt.Fprintf(out, "%s%s\n", indent, c.text)
	}
}

// flow writes a list on one line.
func flow(items []string) string {
	if len(items) == 0 {
		return ""
	}
	written := make([]string, len(items))
	for i, item := range items {
		written[i] = scalar(item)
	}
	return "[" + strings.Join(written, ", ") + "]"
}

// plainText is text that YAML takes as such without quotes, wherever it stands: it begins with a letter, so it is no number
// or date, and words that YAML takes for something else are excluded below.
var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./@+-]*$`)

// scalar writes text, in quotes where needed. A JSON string is one of YAML too, but for a few characters that YAML wants
// escaped.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "":
		return ""
	case ".":
		return s
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if plainText.MatchString(s) {
			return s
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return fmt.Sprintf("%q", s) // no text is refused
	}
	var quoted strings.Builder
	for _, c := range strings.TrimSpace(out.String()) {
		if unicode.IsControl(c) || c == '\ufeff' || c == '\ufffe' || c == '\uffff' {
			fmt.Fprintf(&quoted, `\u%04x`, c)
		} else {
			quoted.WriteRune(c)
		}
	}
	return quoted.String()
}
