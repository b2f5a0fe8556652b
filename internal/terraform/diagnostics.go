package terraform

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/plumbline-dev/plumbline/internal/secret"
)

// Bounds of what is quoted from Terraform: enough for a person, and for a comment, never a flood.
const (
	maxDiagnostic  = 4 << 10
	maxDiagnostics = 16 << 10
	maxStderr      = 256 << 10
	maxLockField   = 300
)

// diagnostics returns Terraform's "Error:" blocks, each once, in its order. Warnings are left out.
func diagnostics(out string) []string {
	var blocks []string
	var block []string
	seen := map[string]bool{}
	flush := func() {
		text := strings.TrimSpace(strings.Join(block, "\n"))
		block = nil
		if text != "" && !seen[text] {
			seen[text] = true
			blocks = append(blocks, text)
		}
	}
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		// Terraform draws boxes when it is given a terminal or its colours are forced.
		line = strings.TrimPrefix(strings.TrimPrefix(line, "│ "), "│")
		if line == "╷" || line == "╵" {
			flush()
			continue
		}
		switch {
		case strings.HasPrefix(line, "Error: "):
			flush()
			block = []string{line}
		case strings.HasPrefix(line, "Warning: "):
			flush()
		case len(block) > 0:
			block = append(block, line)
		}
	}
	flush()
	return blocks
}

// explain turns what a failed command printed into text for people: its errors or, when it printed none that look like
// Terraform's, the end of what it did print. Secrets are masked.
func explain(stderr, stdout string, secrets []string) string {
	blocks := diagnostics(stderr)
	if len(blocks) == 0 {
		blocks = diagnostics(stdout)
	}
	if len(blocks) == 0 {
		text := strings.TrimSpace(stderr)
		if text == "" {
			text = strings.TrimSpace(stdout)
		}
		if text == "" {
			return "it printed nothing"
		}
		if len(text) > maxDiagnostic {
			text = "… " + strings.ToValidUTF8(text[len(text)-maxDiagnostic:], "")
		}
		return mask(text, secrets)
	}
	var b strings.Builder
	for i, block := range blocks {
		// Masked before it is cut, so that no half of a secret is left at the edge.
		block = excerpt(mask(block, secrets), maxDiagnostic)
		if b.Len()+len(block) > maxDiagnostics {
			fmt.Fprintf(&b, "\n\n… and %d more errors", len(blocks)-i)
			break
		}
		if i > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(block)
	}
	return b.String()
}

// mask replaces secrets. Terraform breaks long lines at spaces, so a secret with spaces in it may be spread out.
func mask(text string, secrets []string) string {
	for _, s := range secrets {
		words := strings.Fields(s)
		for _, form := range append(secret.Encoded(s), s) {
			if form != "" {
				text = strings.ReplaceAll(text, form, "(hidden)")
			}
		}
		if len(words) <= 1 {
			continue
		}
		for i, w := range words {
			words[i] = regexp.QuoteMeta(w)
		}
		if re, err := regexp.Compile(strings.Join(words, `[\s│]+`)); err == nil {
			text = re.ReplaceAllString(text, "(hidden)")
		}
	}
	return text
}

// excerpt returns the first n bytes, at a character's edge.
func excerpt(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// hasTitle reports whether one of the errors in out says one of titles, with line breaks undone.
func hasTitle(out string, titles ...string) bool {
	for _, block := range diagnostics(out) {
		flat := strings.Join(strings.Fields(block), " ")
		for _, t := range titles {
			if strings.Contains(flat, t) {
				return true
			}
		}
	}
	return false
}

// needsInit reports whether a command failed only because the data directory is not what the configuration needs.
// Sources: Terraform's internal/command/meta_backend.go, internal/backend/local/backend_local.go,
// internal/configs/configload/loader_load.go and internal/terraform/context.go; OpenTofu has kept their titles.
func needsInit(out string) bool {
	return hasTitle(out,
		"Error: Inconsistent dependency lock file",
		"Error: Required plugins are not installed",
		"Error: Backend initialization required",
		"Error: Backend configuration changed",
		"Error: Backend type changed",
		"Error: HCP Terraform or Terraform Enterprise initialization required",
		"Error: Terraform Cloud initialization required",
		"Error: Cloud backend initialization required",
		"Error: Initialization required",
		"Error: Module not installed",
		"Error: Module source has changed",
		"Error: Module version requirements have changed",
		"Error: Missing required provider",
		"Error: Provider requirements cannot be satisfied by locked dependencies",
	)
}

// lockInfo matches the lines of Terraform's "Lock Info:".
var lockInfo = regexp.MustCompile(`(?m)^\s*(ID|Path|Operation|Who|Created):[ \t]*(.*?)\s*$`)

// lockHeld reads Terraform's account of a lock that somebody else holds; nil when it is about something else. Terraform
// asks for the lock before it does anything, so only its first error is looked at: in later ones, and in the middle of one,
// a configuration may have it say whatever it likes. Secrets are masked all the same.
func lockHeld(out string, secrets []string) *LockedError {
	blocks := diagnostics(out)
	if len(blocks) == 0 || !strings.HasPrefix(strings.Join(strings.Fields(blocks[0]), " "), "Error: Error acquiring the state lock") {
		return nil
	}
	title, _, _ := strings.Cut(blocks[0], "\n\n")
	if strings.Join(strings.Fields(title), " ") != "Error: Error acquiring the state lock" {
		return nil
	}
	block := mask(blocks[0], secrets)
	// Without a holder the lock could not be asked for at all, which is another failure.
	_, info, ok := strings.Cut(block, "Lock Info:")
	if !ok {
		return nil
	}
	e := &LockedError{}
	for _, m := range lockInfo.FindAllStringSubmatch(info, 5) {
		said := excerpt(m[2], maxLockField)
		switch m[1] {
		case "ID":
			e.ID = said
		case "Path":
			e.Path = said
		case "Operation":
			e.Operation = said
		case "Who":
			e.Who = said
		case "Created":
			e.Created = said
		}
	}
	// The http backend says who holds the lock in the error, and describes the one that it could not take.
	if m := httpLock.FindStringSubmatch(block); m != nil {
		return &LockedError{ID: excerpt(m[1], maxLockField)}
	}
	return e
}

var httpLock = regexp.MustCompile(`HTTP\s+remote\s+state\s+already\s+locked:\s+ID=(\S+)`)
