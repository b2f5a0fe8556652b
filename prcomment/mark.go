package prcomment

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mark is the hidden first line of a page.
type Mark struct {
	Kind  Kind
	Key   string // Report.Key
	Page  int    // from 1
	Pages int
	// Plans is a digest of the names and fingerprints of all workspaces of the report: as long as it stays, the pages
	// tell of the same plans.
	Plans string
	// Shows is Report.Shows; "" if the report has none.
	Shows string
}

// markVersion is raised when a mark of today can no longer be read as one of tomorrow.
const markVersion = "1"

// markLike finds what looks like a mark in text that is not ours.
var markLike = regexp.MustCompile(`(?i)<!--(\s*)plumbline:`)

// String writes the mark as an HTML comment. Nothing in a key can end the comment early.
func (m Mark) String() string {
	shows := ""
	if m.Shows != "" {
		shows = " shows=" + escapeMark(m.Shows)
	}
	return "<!-- plumbline: v=" + markVersion + " kind=" + url.QueryEscape(string(m.Kind)) + " key=" + escapeMark(m.Key) +
		" page=" + strconv.Itoa(m.Page) + "/" + strconv.Itoa(m.Pages) + " plans=" + m.Plans + shows + " -->"
}

// escapeMark writes a field of a mark: it has no space, and cannot end the comment.
func escapeMark(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "--", "%2D%2D") }

// ParseMark reads the mark of a page. It looks at the very first line only: a mark that is quoted further down is text.
// A mark says which page this is, not who wrote it: ask the forge for the author before trusting it.
func ParseMark(page string) (Mark, bool) {
	line, _, _ := strings.Cut(page, "\n")
	line = strings.TrimSuffix(line, "\r")
	line, ok := strings.CutPrefix(line, "<!-- plumbline: ")
	if !ok {
		return Mark{}, false
	}
	line, ok = strings.CutSuffix(line, " -->")
	if !ok {
		return Mark{}, false
	}
	var m Mark
	version := ""
	for _, field := range strings.Fields(line) {
		name, text, _ := strings.Cut(field, "=")
		switch name {
		case "v":
			version = text
		case "kind":
			kind, err := url.QueryUnescape(text)
			if err != nil {
				return Mark{}, false
			}
			m.Kind = Kind(kind)
		case "key":
			key, err := url.QueryUnescape(text)
			if err != nil {
				return Mark{}, false
			}
			m.Key = key
		case "page":
			page, pages, _ := strings.Cut(text, "/")
			var err1, err2 error
			m.Page, err1 = strconv.Atoi(page)
			m.Pages, err2 = strconv.Atoi(pages)
			if err1 != nil || err2 != nil {
				return Mark{}, false
			}
		case "plans":
			m.Plans = text
		case "shows":
			shows, err := url.QueryUnescape(text)
			if err != nil {
				return Mark{}, false
			}
			m.Shows = shows
		}
	}
	return m, version == markVersion && m.Page >= 1 && m.Pages >= m.Page
}

// shortKey keeps a key as it is, unless it is absurdly long: then a digest stands for it.
func shortKey(key string) string {
	if len(key) <= 300 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// plansDigest names the plans of a report.
func plansDigest(workspaces []Workspace) string {
	lines := make([]string, 0, len(workspaces))
	for _, w := range workspaces {
		lines = append(lines, strconv.Quote(w.Name)+" "+strconv.Quote(string(w.Status))+" "+strconv.Quote(w.Fingerprint))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}
