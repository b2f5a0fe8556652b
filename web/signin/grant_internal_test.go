package signin

import (
	"strings"
	"testing"
)

// TestNamesHideNobody: whatever somebody calls themselves, the audit log says who it was, and a key stays theirs.
func TestNamesHideNobody(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Ada":                             "Ada (oidc:eve)",
		"ada (oidc:ada)\u202e  \t\u200bx": "ada (oidc:ada) x (oidc:eve)",
		strings.Repeat("ä", 200):          strings.Repeat("ä", maxName-1) + "… (oidc:eve)",
	} {
		p := Person{ID: "oidc:eve", Name: name}
		if got := p.actor(); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
		if a := (&Asker{gate: &Gate{}, person: p, name: name}); a.As("web", "").ID != "oidc:eve" {
			t.Errorf("%q asks as %q", name, a.As("web", "").ID)
		}
	}
}

// TestNumbersAreLogins: a login may be a number, and that is not the number by which the forge knows somebody else.
func TestNumbersAreLogins(t *testing.T) {
	t.Parallel()
	login, other := Person{ID: "github:7", Accounts: map[string]string{"github": "1234"}}, Person{ID: "github:1234", Accounts: map[string]string{"github": "eve"}}
	subject := Person{ID: "oidc:1234"}
	for who, want := range map[string][3]bool{"github:1234": {true, false, false}, "oidc:1234": {false, false, true}, "github:EVE": {false, true, false}, "*": {true, true, true}} {
		g := Grant{Role: Viewer, People: []string{who}}
		if got := [3]bool{g.to(login), g.to(other), g.to(subject)}; got != want {
			t.Errorf("what is given to %s is given to %v, want %v", who, got, want)
		}
	}
}
