package prcomment

import (
	"encoding/json"
	"html"
	"sort"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/internal/secret"
)

// redacted stands where a secret was.
const redacted = "(redacted)"

// minSecret is the shortest secret that is looked for, in bytes. Shorter ones are too likely to be parts of words.
const minSecret = 6

// redactor finds secret values in text, in one pass however many there are.
//
// Every pattern is at least minSecret bytes long, so each place in a text is looked up by its first six bytes: first in
// a small filter that almost always says no, then in the table.
type redactor struct {
	filter [1 << 13]uint64
	table  map[[minSecret]byte][]string
	known  map[string]bool
}

func newRedactor(secrets []string) *redactor {
	r := &redactor{table: map[[minSecret]byte][]string{}, known: map[string]bool{}}
	for _, s := range secrets {
		r.addForms(s)
	}
	r.ready()
	return r
}

// with is r and the values that a plan itself marks as sensitive. Terraform masks a sensitive value only where it knows
// it to be one: a provider that copies it into a computed attribute makes it readable there.
func (r *redactor) with(values []string) *redactor {
	if len(values) == 0 {
		return r
	}
	more := &redactor{table: make(map[[minSecret]byte][]string, len(r.table)), known: make(map[string]bool, len(r.known))}
	for s := range r.known {
		more.add(s)
	}
	for _, s := range values {
		more.addForms(s)
	}
	more.ready()
	return more
}

// addForms adds a secret as it is, and as other programs would write it.
func (r *redactor) addForms(s string) {
	if len(s) < minSecret {
		return
	}
	r.addWritten(s)
	trimmed := strings.TrimSpace(s)
	r.addWritten(trimmed)
	if strings.Contains(trimmed, "\n") {
		// A document: each of its lines is a secret too, because error messages wrap and prefix lines.
		for line := range strings.Lines(trimmed) {
			if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
				r.addWritten(line)
			}
		}
	}
	if strings.HasPrefix(trimmed, "{") && len(trimmed) < 64<<10 {
		// A file of credentials: what is secret in it is secret alone.
		var document map[string]any
		if json.Unmarshal([]byte(trimmed), &document) == nil {
			for key, value := range document {
				if v, ok := value.(string); ok && len(v) >= minSecret && secretName(key) {
					r.addForms(v)
				}
			}
		}
	}
}

// addWritten adds a secret and its escaped and encoded forms.
func (r *redactor) addWritten(s string) {
	r.add(s)
	if len(s) > 64<<10 {
		return
	}
	if quoted, err := json.Marshal(s); err == nil {
		r.add(string(quoted[1 : len(quoted)-1]))
	}
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(s) == nil {
		r.add(strings.Trim(plain.String(), "\"\n"))
	}
	if q := strconv.Quote(s); len(q) > 2 {
		r.add(q[1 : len(q)-1])
	}
	r.add(html.EscapeString(s))
	for _, form := range secret.Encoded(s) {
		r.add(form)
	}
}

func (r *redactor) add(s string) {
	if len(s) < minSecret || r.known[s] {
		return
	}
	r.known[s] = true
	key := [minSecret]byte([]byte(s[:minSecret]))
	r.table[key] = append(r.table[key], s)
	h := hashOf(s)
	r.filter[h>>6] |= 1 << (h & 63)
}

// ready puts longer patterns first: where two begin at the same place, the longer one is hidden whole.
func (r *redactor) ready() {
	for _, patterns := range r.table {
		sort.Slice(patterns, func(i, j int) bool { return len(patterns[i]) > len(patterns[j]) })
	}
}

func hashOf(s string) uint32 {
	v := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
	v ^= (uint32(s[4]) | uint32(s[5])<<8) * 0x9e3779b1
	v *= 0x85ebca6b
	return v >> 13
}

// redact hides every secret in s, and what looks like one.
func (r *redactor) redact(s string) string {
	return maskCredentials(r.hide(s))
}

// hide hides the secrets whose values are known. Overlapping ones are hidden together.
func (r *redactor) hide(s string) string {
	if len(r.table) == 0 || len(s) < minSecret {
		return s
	}
	var b strings.Builder
	done, hidden := 0, 0 // s[:done] is written; s[done:hidden] is to be hidden
	for i := 0; i+minSecret <= len(s); i++ {
		h := hashOf(s[i:])
		if r.filter[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, pattern := range r.table[[minSecret]byte([]byte(s[i:i+minSecret]))] {
			if !strings.HasPrefix(s[i:], pattern) {
				continue
			}
			if i > hidden || hidden == 0 {
				if hidden > done {
					b.WriteString(redacted)
					done = hidden
				}
				b.WriteString(s[done:i])
				done = i
			}
			hidden = max(hidden, i+len(pattern))
			break
		}
	}
	if hidden == 0 {
		return s
	}
	b.WriteString(redacted)
	b.WriteString(s[hidden:])
	return b.String()
}

// secretName tells the names of attributes that hold secrets in files of credentials.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"secret", "token", "password", "passwd", "private", "credential", "key"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// A shape is how an access token looks: a prefix that its maker chose so that it can be found, and what follows.
type shape struct {
	prefix string
	least  int // characters that follow, at least
	chars  string
}

const (
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower = "abcdefghijklmnopqrstuvwxyz"
	digit = "0123456789"
	alnum = upper + lower + digit
)

// shapes are the tokens that are recognised without being told.
func shapes() []shape {
	return []shape{
		{"AKIA", 16, upper + digit}, {"ASIA", 16, upper + digit}, // AWS access key ids
		{"ghp_", 30, alnum}, {"gho_", 30, alnum}, {"ghu_", 30, alnum}, {"ghs_", 30, alnum}, {"ghr_", 30, alnum},
		{"github_pat_", 30, alnum + "_"},
		{"glpat-", 16, alnum + "-_."}, {"gldt-", 16, alnum + "-_"}, {"glrt-", 16, alnum + "-_"},
		{"xoxb-", 16, alnum + "-"}, {"xoxp-", 16, alnum + "-"}, {"xoxa-", 16, alnum + "-"}, {"xoxr-", 16, alnum + "-"},
		{"xapp-", 16, alnum + "-"},
		{"sk_live_", 16, alnum}, {"rk_live_", 16, alnum}, {"whsec_", 16, alnum},
		{"AIza", 35, alnum + "-_"}, {"ya29.", 20, alnum + "-_"},
		{"hvs.", 20, alnum + "-_"}, {"hvb.", 20, alnum + "-_"},
		{"dop_v1_", 32, alnum}, {"npm_", 30, alnum}, {"pypi-AgEI", 20, alnum + "-_"}, {"SG.", 40, alnum + "-_."},
		{"AGE-SECRET-KEY-1", 40, upper + digit}, {"dckr_pat_", 20, alnum + "-_"}, {"ATATT3", 40, alnum + "-_="},
		{"sk-ant-", 20, alnum + "-_"}, {"glsa_", 30, alnum + "_"}, {"shpat_", 30, alnum}, {"lin_api_", 30, alnum},
		{"eyJ", 40, alnum + "-_."}, // JSON web tokens; see tokenAt for the dots
	}
}

// maskCredentials hides what is plainly a private key, an access token or a password in a URL, whoever it belongs to.
// It is the second net: it knows shapes, not values.
func maskCredentials(s string) string {
	if len(s) < 8 {
		return s
	}
	return maskURLs(maskTokens(maskPrivateKeys(s)))
}

// maskTokens hides access tokens. It looks at three bytes at a time, and at the shapes only where these fit.
func maskTokens(s string) string {
	var b strings.Builder
	done := 0
	for i := 0; i+3 <= len(s); i++ {
		if h := hashOf3(s[i:]); tokenFilter[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		if i > 0 && strings.IndexByte(alnum, s[i-1]) >= 0 {
			continue // in the middle of a word
		}
		if n := tokenAt(s[i:]); n > 0 {
			b.WriteString(s[done:i])
			b.WriteString(redacted)
			done = i + n
			i = done - 1
		}
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// tokenAt is the length of the token that s begins with, 0 if it begins with none.
func tokenAt(s string) int {
	for _, shape := range tokenShapes[hashOf3(s)] {
		if !strings.HasPrefix(s, shape.prefix) {
			continue
		}
		end := len(shape.prefix)
		for end < len(s) && strings.IndexByte(shape.chars, s[end]) >= 0 {
			end++
		}
		if end-len(shape.prefix) >= shape.least && (shape.prefix != "eyJ" || strings.Count(s[:end], ".") >= 2) {
			return end
		}
	}
	return 0
}

func hashOf3(s string) uint32 {
	return (uint32(s[0])<<9 ^ uint32(s[1])<<5 ^ uint32(s[2])) & 0xffff
}

// tokenShapes is shapes by the hash of their first three bytes, and tokenFilter says which hashes there are. They are
// made once and never written to.
var (
	tokenShapes = func() map[uint32][]shape {
		table := map[uint32][]shape{}
		for _, shape := range shapes() {
			h := hashOf3(shape.prefix)
			table[h] = append(table[h], shape)
		}
		return table
	}()
	tokenFilter = func() (filter [1 << 10]uint64) {
		for h := range tokenShapes {
			filter[h>>6] |= 1 << (h & 63)
		}
		return filter
	}()
)

// maskPrivateKeys hides the body of PEM private keys, also where line breaks are escaped, and where the end is missing.
func maskPrivateKeys(s string) string {
	const begin, private, dashes = "-----BEGIN ", "PRIVATE KEY", "-----"
	for from := 0; ; {
		at := strings.Index(s[from:], begin)
		if at < 0 {
			return s
		}
		at += from
		label := strings.Index(s[at+len(begin):], dashes)
		if label < 0 {
			return s
		}
		bodyStart := at + len(begin) + label + len(dashes)
		if label > 60 || !strings.Contains(s[at+len(begin):bodyStart], private) {
			from = at + len(begin)
			continue
		}
		end := len(s)
		if i := strings.Index(s[bodyStart:], "-----END "); i >= 0 {
			end = bodyStart + i
		}
		s = s[:bodyStart] + redacted + s[end:]
		from = bodyStart + len(redacted)
	}
}

// maskURLs hides passwords and tokens in URLs: scheme://user:password@host.
func maskURLs(s string) string {
	for from := 0; ; {
		at := strings.Index(s[from:], "://")
		if at < 0 {
			return s
		}
		at += from + len("://")
		from = at
		end := strings.IndexAny(s[at:], "/?# \t\r\n\"'<>`\\")
		if end < 0 {
			end = len(s) - at
		}
		host := strings.LastIndexByte(s[at:at+end], '@')
		if host <= 0 {
			continue
		}
		colon := strings.IndexByte(s[at:at+host], ':')
		switch {
		case colon >= 0 && colon+1 < host:
			s = s[:at+colon+1] + redacted + s[at+host:]
		case colon < 0 && host >= 16: // https://TOKEN@host
			s = s[:at] + redacted + s[at+host:]
		}
	}
}

// sensitiveValues are the strings that a plan marks as sensitive, if they are worth hiding wherever else they appear:
// a short plain word that some provider marks must not black out half of the comment.
func sensitiveValues(plan *tfjson.Plan) []string {
	const enough = 5000
	var values []string
	seen := map[string]bool{}
	var all, marked func(v, mask any)
	all = func(v, _ any) {
		switch v := v.(type) {
		case string:
			if len(values) < enough && !seen[v] && telling(v) {
				seen[v] = true
				values = append(values, v)
			}
		case map[string]any:
			for _, e := range v {
				all(e, nil)
			}
		case []any:
			for _, e := range v {
				all(e, nil)
			}
		}
	}
	marked = func(v, mask any) {
		switch mask := mask.(type) {
		case bool:
			if mask {
				all(v, nil)
			}
		case map[string]any:
			if v, ok := v.(map[string]any); ok {
				for key, m := range mask {
					marked(v[key], m)
				}
			}
		case []any:
			if v, ok := v.([]any); ok {
				for i, m := range mask {
					if i < len(v) {
						marked(v[i], m)
					}
				}
			}
		}
	}
	change := func(c *tfjson.Change) {
		if c != nil {
			marked(c.Before, c.BeforeSensitive)
			marked(c.After, c.AfterSensitive)
		}
	}
	for _, rc := range plan.ResourceChanges {
		if rc != nil {
			change(rc.Change)
		}
	}
	for _, rc := range plan.ResourceDrift {
		if rc != nil {
			change(rc.Change)
		}
	}
	for _, c := range plan.OutputChanges {
		change(c)
	}
	sort.Strings(values)
	return values
}

// telling says whether a sensitive value is unlike the words that plans are full of.
func telling(s string) bool {
	if len(s) < 8 {
		return false
	}
	return len(s) >= 16 || strings.Trim(s, lower+"-_") != ""
}
