package access_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/runner/access"
)

// TestSessionsAreCleanAndCut: whatever names hold, STS takes the session, and its tags are as long as they may be. The
// stand-in refuses what the model of STS does not allow.
func TestSessionsAreCleanAndCut(t *testing.T) {
	s, w, b := stage(t)
	w.Access.SessionTags = true
	long := strings.Repeat("größe ", 100)
	name := regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	for i, c := range []struct {
		workspace string
		of        access.Purpose
		session   string
		tag       string // plumbline-workspace
		actor     string
	}{
		{"a", access.Purpose{}, "plan,a", "a", ""},
		{"clusters/prod@blue", access.Purpose{Repository: "hub/acme/live", Change: "push", Commit: strings.Repeat("ab", 20), Actor: "renovate[bot]"},
			"plan,push,abababab,renovate-bot,live,clusters-prod@blue", "clusters/prod@blue", "renovate_bot_"},
		{"naïve, \"quoted\" & <b>\x00\n", access.Purpose{Actor: "Ada Lovelace <ada@example.com>"}, "plan,Ada-Lovelace--ad,na-ve---quoted-----b", "naïve_ _quoted_ _ _b___", "Ada Lovelace _ada@example.com_"},
		{long, access.Purpose{Repository: strings.Repeat("r", 300), Change: "1234567890123", Actor: long, Commit: "c"},
			"plan,pr12345678,c,gr--e-gr--e-gr--,rrrrrrrrrrrrrrrr,gr--e-gr--e", string([]rune(long)[:256]), string([]rune(long)[:256])},
		{"aws:prod", access.Purpose{Actor: " AWS:ann"}, "plan,AWS-ann,aws-prod", "aws_prod", "AWS_ann"},
		{"\xff\xfe", access.Purpose{Actor: "\u2028\u200b"}, "plan", "_", "__"},
	} {
		w.Name = c.workspace
		if _, err := b.For(w, c.of).Plan(t.Context()); err != nil {
			t.Errorf("%q: %v", c.workspace, err)
			continue
		}
		sessions := s.Sessions()
		got := sessions[len(sessions)-1]
		if got.Name != c.session || !name.MatchString(got.Name) {
			t.Errorf("%d: the session is %q, want %q", i, got.Name, c.session)
		}
		if want := strings.TrimSpace(c.tag); got.Tags["plumbline-workspace"] != want || got.Tags["plumbline-actor"] != strings.TrimSpace(c.actor) {
			t.Errorf("%d: the tags are %q", i, got.Tags)
		}
		for key, value := range got.Tags {
			if utf8.RuneCountInString(value) > 256 {
				t.Errorf("%d: %s has %d characters", i, key, utf8.RuneCountInString(value))
			}
		}
	}
	if len(s.Sessions()) != 6 || s.Sessions()[0].Source != awstest.AccessKey {
		t.Errorf("there are %d sessions", len(s.Sessions()))
	}
}
