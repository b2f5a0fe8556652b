package forge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/forge"
)

func TestParseRepo(t *testing.T) {
	t.Parallel()
	if r, err := forge.ParseRepo("acme/live"); err != nil || r != (forge.Repo{Owner: "acme", Name: "live"}) || r.String() != "acme/live" {
		t.Errorf("ParseRepo = %v, %v", r, err)
	}
	for _, bad := range []string{"", "acme", "/live", "acme/", "a/b/c"} {
		if r, err := forge.ParseRepo(bad); err == nil {
			t.Errorf("ParseRepo(%q) = %v, want an error", bad, r)
		}
	}
}

func TestKeysTellFactsApart(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	c := forge.Change{
		Repo: forge.Repo{Owner: "acme", Name: "live"}, Number: 7, Head: forge.Ref{Branch: "f", Commit: "aaa"},
		Base: forge.Ref{Branch: "main", Commit: "bbb"}, UpdatedAt: at, ClosedAt: at, MergeCommit: "ccc",
	}
	change := func(edit func(*forge.Change)) forge.Event {
		d := c
		edit(&d)
		return forge.ChangeEvent(forge.ChangePushed, d, "", "")
	}
	comment := forge.Comment{ID: "1", UpdatedAt: at}
	edited := comment
	edited.UpdatedAt = at.Add(time.Second)
	reopened := c
	reopened.ClosedAt = at.Add(time.Second)
	facts := []forge.Event{
		forge.ChangeEvent(forge.ChangeOpened, c, "", ""),
		change(func(c *forge.Change) { c.Number = 8 }),
		change(func(c *forge.Change) { c.Repo.Name = "other" }),
		change(func(c *forge.Change) { c.Head.Commit = "ddd" }),
		change(func(c *forge.Change) { c.Base.Branch = "release" }),
		change(func(c *forge.Change) { c.Draft = true }),
		change(func(c *forge.Change) { c.UpdatedAt = at.Add(time.Second) }), // pushed away and back
		forge.ChangeEvent(forge.ChangeMerged, c, "", ""),
		forge.ChangeEvent(forge.ChangeClosed, c, "", ""),
		forge.ChangeEvent(forge.ChangeClosed, reopened, "", ""),
		forge.CommentEvent(c.Repo, 7, comment, ""),
		forge.CommentEvent(c.Repo, 7, edited, ""),
		forge.ReviewEvent(c.Repo, 7, "1", "approved", "", at),
		forge.ReviewEvent(c.Repo, 7, "1", "dismissed", "", at),
		forge.PushEvent(c.Repo, "main", "aaa", "bbb", "", at),
		forge.PushEvent(c.Repo, "main", "bbb", "aaa", "", at),
		forge.PushEvent(c.Repo, "a b", "bbb", "aaa", "", at),
	}
	seen := map[string]int{}
	for i, e := range facts {
		if before, ok := seen[e.Key]; ok {
			t.Errorf("facts %d and %d have one key, %q", before, i, e.Key)
		}
		seen[e.Key] = i
	}
	moved := c
	moved.UpdatedAt = at.Add(time.Hour)
	for _, kind := range []forge.Kind{forge.ChangeClosed, forge.ChangeMerged} {
		if a, b := forge.ChangeEvent(kind, c, "", "alice"), forge.ChangeEvent(kind, moved, "", ""); a.Key != b.Key {
			t.Errorf("%s seen later has another key: %q, %q", kind, a.Key, b.Key)
		}
	}
	if e := forge.PushEvent(c.Repo, "main", strings.Repeat("0", 40), "aaa", "", at); e.Before != "" {
		t.Errorf("a new branch has the commit %q before", e.Before)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	until := time.Unix(1_800_000_000, 0)
	for want, err := range map[string]error{
		"read acme/live: rate limit reached; try again after 2027-01-15T08:00:00Z": &forge.RateLimitError{Doing: "read acme/live", Until: until},
		"read acme/live: not allowed: No (grant it)":                               &forge.NotAllowedError{Doing: "read acme/live", Says: "No", Fix: "grant it"},
		"merge acme/live#7: conflict":                                              &forge.NotMergeableError{Repo: forge.Repo{Owner: "acme", Name: "live"}, Change: 7, Says: "conflict"},
	} {
		if got := fmt.Sprint(errors.Join(err)); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestCredentialHidesItsPassword(t *testing.T) {
	t.Parallel()
	c := forge.Credential{Username: "robot", Password: "canary"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, c); strings.Contains(got, "canary") {
			t.Errorf("%s prints %q", format, got)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, want string
		max      int
	}{
		{"short", "short", 5},
		{"shorter", "shor…", 5},
		{"a bcdef", "a…", 3},
		{"日本語日本語", "日本…", 3},
		{"", "", 1},
	} {
		got := forge.Cut(c.in, c.max)
		if got != c.want || utf8.RuneCountInString(got) > c.max {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.max, got, c.want)
		}
	}
}

func TestPermissionsAreOrdered(t *testing.T) {
	t.Parallel()
	if !(forge.None < forge.Read && forge.Read < forge.Write && forge.Write < forge.Admin) {
		t.Error("a higher permission must include the lower ones")
	}
	if got := fmt.Sprint(forge.None, forge.Read, forge.Write, forge.Admin); got != "none read write admin" {
		t.Errorf("permissions print as %q", got)
	}
}
