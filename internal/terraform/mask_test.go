package terraform

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestSecretsAreMaskedInAllForms(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"s3cr3t/key+with=signs", "12345678", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"} {
		texts := []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret))}
		for before := range 4 {
			for after := range 4 {
				text := fmt.Sprintf("%.*sAWS=%s%.*s", before, "abcd", secret, after, "wxyz")
				texts = append(texts, base64.StdEncoding.EncodeToString([]byte(text)), base64.URLEncoding.EncodeToString([]byte(text)))
			}
		}
		for _, text := range texts {
			if masked := mask("see "+text+".", []string{secret}); masked == "see "+text+"." {
				t.Errorf("%q is not found in %q", secret, text)
			}
		}
	}
	if got := mask("a short text", []string{"short"}); got != "a (hidden) text" {
		t.Errorf("got %q", got)
	}
}

// TestLockIsReadFromItsOwnError has a configuration print what looks like a lock, with a secret where its holder stands.
func TestLockIsReadFromItsOwnError(t *testing.T) {
	t.Parallel()
	const secret = "AQoDYXdzEJr-canary"
	lock := "Error: Error acquiring the state lock\n\nError message: resource temporarily unavailable\nLock Info:\n  ID:        1234\n  Path:      terraform.tfstate\n  Operation: OperationTypeApply\n  Who:       ada@host " + secret + "\n  Created:   2026-11-21\n"
	err := turnedDown("\n"+lock, []string{secret})
	if err == nil || !strings.Contains(err.Error(), "ada@host") || strings.Contains(err.Error(), secret) {
		t.Errorf("a lock: %v", err)
	}
	for _, before := range []string{
		"Error: Resource precondition failed\n\n  on main.tf line 3:\n\nsee\n\n",
		"Error: Resource precondition failed\n\nError: Error acquiring the state lock, or so it seems\n",
	} {
		if err := turnedDown(before+lock, []string{secret}); err != nil {
			t.Errorf("after another error: %v", err)
		}
	}
	if err := turnedDown("Error: Something else\n\nError acquiring the state lock\nLock Info:\n  ID: 1\n", nil); err != nil {
		t.Errorf("in the middle of another error: %v", err)
	}
}
