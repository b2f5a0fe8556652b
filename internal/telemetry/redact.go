package telemetry

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Hidden stands where a secret value was.
const Hidden = "(hidden)"

const (
	minSecret = 4  // a shorter one is no secret, and would be found in every second word
	minLine   = 16 // a shorter line of a longer secret, such as "-----", says nothing
)

// Redactor replaces secret values in text. A nil Redactor replaces nothing.
type Redactor struct {
	replacer *strings.Replacer
}

// NewRedactor makes a Redactor that knows these values. Those shorter than four characters are not looked for.
//
// A value is also found as it is written in a URL, in JSON, in a quoted string and in Base64, and a value of several
// lines, such as a private key, also by each of its longer lines. It is not found after any other change, nor cut in two.
func NewRedactor(secrets ...string) *Redactor {
	known := map[string]bool{}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			known[form] = true
		}
	}
	found := make([]string, 0, len(known))
	for form := range known {
		found = append(found, form)
	}
	if len(found) == 0 {
		return nil
	}
	// Where several begin at one place the first of the list is taken, which must be the longest.
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, form := range found {
		pairs = append(pairs, form, Hidden)
	}
	return &Redactor{strings.NewReplacer(pairs...)}
}

// String returns s with Hidden in place of each secret value.
func (r *Redactor) String(s string) string {
	if r == nil {
		return s
	}
	return r.replacer.Replace(s)
}

// forms are the ways in which a secret may be written.
func forms(secret string) []string {
	secret = strings.TrimSpace(secret)
	if len(secret) < minSecret {
		return nil
	}
	all := []string{
		secret,
		url.QueryEscape(secret), url.PathEscape(secret),
		unquoted(strconv.Quote(secret)), inJSON(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	}
	if strings.Contains(secret, "\n") {
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) >= minLine && !strings.HasPrefix(line, "-----") {
				all = append(all, line)
			}
		}
	}
	return all
}

func inJSON(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return s // not possible: every string can be written
	}
	return unquoted(string(text))
}

func unquoted(s string) string { return s[1 : len(s)-1] }
