package terraform

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// SecretForms are the texts in which a secret may turn up: as it is, escaped for a URL, and encoded by Terraform's own
// functions, in base64 also as a part of something longer. Short secrets have no other forms, for they would be found
// everywhere.
func SecretForms(secret string) []string {
	forms := []string{secret}
	if len(secret) < 8 {
		return forms
	}
	for _, form := range []string{url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))} {
		if form != secret {
			forms = append(forms, form)
		}
	}
	// What is before it moves it by one or two bytes against the groups of three that base64 encodes.
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before, begins := range []int{0, 2, 3} {
			text := encoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			// The last character may hold bits of what follows.
			if (before+len(secret))%3 != 0 {
				text = text[:len(text)-1]
			}
			forms = append(forms, text[begins:])
		}
	}
	return forms
}
