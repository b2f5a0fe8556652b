package main

import (
	"strings"
	"testing"
)

func TestChooseRepository(t *testing.T) {
	t.Parallel()
	const live, other, elsewhere, mine = "github/acme/live", "github/acme/other", "gitea/acme/live", "github.com/acme/live"
	for _, c := range []struct {
		name        string
		all         []string
		named, here string
		want        string // or a part of the error
	}{
		{"the only one", []string{live}, "", "", live},
		{"by its whole name", []string{elsewhere, live}, "GitHub/acme/live", "", live},
		{"by its end", []string{live, other}, "acme/other", "", other},
		{"not by a part of a word", []string{live}, "me/live", "", "! nothing of me/live is stored there; there is something of github/acme/live"},
		{"twice", []string{elsewhere, live}, "acme/live", "", "! several repositories are called acme/live: write one of gitea/acme/live, github/acme/live"},
		{"the checkout's", []string{live, other}, "", mine, live},
		{"the checkout's, of two forges", []string{elsewhere, live}, "", mine, "! plans of several repositories"},
		{"the checkout's, also of the command line", []string{mine, live, other}, "", mine, "! plans of several repositories"},
		{"of several", []string{live, other}, "", "example.com/x", "! there are plans of several repositories: say whose with --repository: github/acme/live, github/acme/other"},
		{"nothing there", nil, "", "", "! nothing is stored there"},
		{"nothing there, named", nil, "github/acme/live", "", live},
		{"what a terminal would obey", []string{"a/\x1b[31m", "b/c"}, "", "", "! a/\uFFFD[31m, b/c"},
	} {
		got, err := chooseRepository(c.all, c.named, c.here)
		if part, refused := strings.CutPrefix(c.want, "! "); refused {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %q, %v, want %q", c.name, got, err, part)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}
