// Package secret knows the texts in which a secret may turn up, so that all who hide secrets look for the same.
package secret

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// short is below how many bytes a secret is not looked for in other forms: they would be found everywhere.
const short = 6

// Encoded are the texts that a secret becomes in URLs, in hexadecimal and in base64, in the latter also as a part of
// something longer. The secret as it is, is not among them.
func Encoded(s string) []string {
	if len(s) < short {
		return nil
	}
	forms := []string{hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s)))}
	for _, escaped := range []string{url.QueryEscape(s), url.PathEscape(s)} {
		if escaped != s {
			forms = append(forms, escaped)
		}
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, encoding.EncodeToString([]byte(s)))
		// In the middle of something longer that was encoded as a whole ("user:password"), base64 looks different
		// depending on where the secret starts, and its first and last characters depend on the neighbours.
		for shift := range 3 {
			encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + s))
			first := (shift*8 + 5) / 6
			last := (shift + len(s)) * 8 / 6
			if last-first >= 8 {
				forms = append(forms, encoded[first:last])
			}
		}
	}
	return forms
}
