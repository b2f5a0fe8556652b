package prcomment

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Issue is everything that one drift issue tells: of a workspace, or of several in which the same has happened. Its
// strings are plain text, as a Report's are. Times may be zero where they are not known.
type Issue struct {
	Key       string   // hidden in the body, so that a lost issue is found again; no secret
	Workspace string   // whose findings these are; "" in the issue of a group
	Members   []Member // of a group: where the same is found. Findings then holds one of them, as an example.
	Commit    string   // what drift is measured against; "" = nothing was applied yet
	Findings  []IssueFinding
	Unknown   *Unknown // looks have come to no answer
	Pauses    []Pause
	Elsewhere []Elsewhere // findings of this workspace that other issues tell of
	Notes     []string
	CheckedAt time.Time // of the newest look that came to an answer
	Commands  bool      // somebody reads commands that are commented here
	Secrets   []string  // as in a Report
}

// IssueFinding is a finding with its history.
type IssueFinding struct {
	Finding
	Detail      string    // what happened, in a sentence
	Noise       bool      // no apply removes it: a provider that never agrees with itself
	Fight       string    // why it is not corrected any more, though it might be; "" = nobody fights back
	FirstSeen   time.Time // since it last came
	LastSeen    time.Time
	GoneAt      time.Time // zero while it is there
	CorrectedAt time.Time // when last; zero if it never was
	Corrections int
}

// stands reports whether somebody should do something about a finding.
func (f *IssueFinding) stands() bool { return f.GoneAt.IsZero() && !f.Noise && !f.Ignored }

// Member is one workspace of a group.
type Member struct {
	Workspace string
	Addresses []string
	FirstSeen time.Time
	Number    int // of its own issue; 0 = it has none
}

// Unknown says why nobody can tell whether a workspace has drifted.
type Unknown struct {
	Since    time.Time
	LastTry  time.Time
	Failures int
	Problem  string // the provider's words, or ours; shown in a fence
}

// Pause is why nothing is corrected for a while.
type Pause struct {
	Scope  string // in words: "everything", "this repository", "this workspace"
	Until  time.Time
	By     string // login
	Reason string
}

// Elsewhere names another issue, and how many findings it has taken over.
type Elsewhere struct {
	Number   int
	Findings int
}

// maxTitle is the longest title of an issue, in bytes: both forges take 255 characters.
const maxTitle = 200

// IssueTitle is the title of a drift issue. It stays the same for as long as the issue lives: people find it by its title.
func IssueTitle(i Issue) string {
	w := &renderer{redactor: newRedactor(i.Secrets)}
	if i.Workspace != "" {
		return shorten("Drift in "+visible(w.redactor.redact(i.Workspace), false), maxTitle)
	}
	what := "the same findings"
	if len(i.Findings) > 0 {
		f := i.Findings[0]
		what = resourceType(f.Address)
		if words, ok := groupWords[f.Cause]; ok {
			what += " " + words
		}
	}
	return shorten("Drift in several workspaces: "+visible(w.redactor.redact(what), false), maxTitle)
}

var groupWords = map[string]string{
	"upgrade":   "after an upgrade",
	"data":      "after a data source changed",
	"perpetual": "as noise of its provider",
	"unapplied": "not applied yet",
}

// resourceType is the type in an address: aws_vpc of module.a["x"].aws_vpc.main[0].
func resourceType(address string) string {
	quoted, depth := false, 0
	var parts []string
	var part strings.Builder
	for _, r := range address {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '[':
			depth++
		case r == ']':
			depth--
		case r == '.' && depth == 0:
			parts = append(parts, part.String())
			part.Reset()
		case depth == 0:
			part.WriteRune(r)
		}
	}
	parts = append(parts, part.String())
	for len(parts) > 2 && parts[0] == "module" {
		parts = parts[2:]
	}
	if len(parts) > 2 && parts[0] == "data" {
		parts = parts[1:]
	}
	return parts[0]
}

// IssueClosing is the comment that is left when an issue is closed: what has become of its findings.
func IssueClosing(i Issue, key string) string {
	w := &renderer{redactor: newRedactor(i.Secrets)}
	var b strings.Builder
	b.WriteString(Mark{Kind: KindDrift, Key: shortKey(key), Page: 1, Pages: 1, Plans: plansDigest(nil)}.String() + "\n")
	corrected, noise, gone := 0, 0, 0
	for n := range i.Findings {
		switch f := &i.Findings[n]; {
		case f.GoneAt.IsZero() && f.Noise:
			noise++
		case f.GoneAt.IsZero():
		case f.correctedAway():
			corrected++
		default:
			gone++
		}
	}
	b.WriteString("✅ **Clean**")
	if !i.CheckedAt.IsZero() {
		b.WriteString(" at " + moment(i.CheckedAt))
	}
	var parts []string
	if corrected > 0 {
		parts = append(parts, count(corrected, "finding was", "findings were")+" corrected")
	}
	if gone > 0 {
		parts = append(parts, count(gone, "went", "went")+" without a correction")
	}
	if noise > 0 {
		parts = append(parts, count(noise, "is", "are")+" noise that no apply removes")
	}
	if len(parts) > 0 {
		b.WriteString(": " + enumerate(parts))
	}
	b.WriteString(".\n")
	const most = 30
	lines := 0
	for n := range i.Findings {
		f := &i.Findings[n]
		if f.Ignored || f.stands() {
			continue
		}
		if lines++; lines == 1 {
			b.WriteString("\n")
		}
		if lines > most {
			b.WriteString("- and more\n")
			break
		}
		b.WriteString(w.past(f))
	}
	b.WriteString("\nThis issue is opened again when something new is found.\n")
	return b.String()
}

// correctedAway says that a finding is gone because it was corrected.
func (f *IssueFinding) correctedAway() bool {
	return f.Corrections > 0 && !f.CorrectedAt.IsZero() && !f.CorrectedAt.Before(f.FirstSeen)
}

// IssueReturned is the comment that is left when an issue is opened again.
func IssueReturned(i Issue, key string) string {
	standing := 0
	for n := range i.Findings {
		if i.Findings[n].stands() {
			standing++
		}
	}
	var b strings.Builder
	b.WriteString(Mark{Kind: KindDrift, Key: shortKey(key), Page: 1, Pages: 1, Plans: plansDigest(nil)}.String() + "\n")
	switch {
	case standing > 0:
		fmt.Fprintf(&b, "🔁 **Drift again**: %s. The description above says which.\n", count(standing, "finding", "findings"))
	case i.Unknown != nil:
		b.WriteString("❓ **Not known any more**: looks come to no answer. The description above says why.\n")
	default:
		b.WriteString("🔁 There is something new to tell; the description above says what.\n")
	}
	return b.String()
}

// IssueDigest stands for what an issue says that is news: everything but when things were last seen.
func IssueDigest(i Issue) string {
	i.CheckedAt = time.Time{}
	i.Findings = slices.Clone(i.Findings)
	for n := range i.Findings {
		i.Findings[n].LastSeen = time.Time{}
	}
	if i.Unknown != nil {
		unknown := *i.Unknown
		unknown.LastTry, unknown.Failures = time.Time{}, 0
		i.Unknown = &unknown
	}
	sum := sha256.Sum256([]byte(IssueTitle(i) + "\x00" + RenderIssue(i, 0)))
	return hex.EncodeToString(sum[:16])
}

// moment writes a time for people everywhere.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
