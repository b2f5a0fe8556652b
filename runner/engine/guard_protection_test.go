package engine

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
)

// TestUnmet: what a protection asks for is said, and our own statuses are never waited for.
func TestUnmet(t *testing.T) {
	green := map[string]forge.StatusState{"lint": forge.Success, "ci/unit": forge.Success, "ci/deep/er": forge.Success, "plumbline": forge.Failure, "plumbline/a": forge.Pending}
	for _, c := range []struct {
		name  string
		p     forge.Protection
		stand standingOnForge
		want  []string // a part of each sentence
	}{
		{"nothing is asked", forge.Protection{}, standingOnForge{}, nil},
		{"enough approvals", forge.Protection{Approvals: 1}, standingOnForge{approvals: 1}, nil},
		{"one approval is missing", forge.Protection{Approvals: 2}, standingOnForge{approvals: 1}, []string{"takes 2 approvals, and there is 1"}},
		{"a no", forge.Protection{Rejections: true}, standingOnForge{rejections: []string{"bob"}}, []string{"`bob` asked for changes"}},
		{"ours alone", forge.Protection{Checks: []string{"plumbline", "plumbline/a", "plumbline/*"}}, standingOnForge{}, nil},
		{"ours stand for a pattern", forge.Protection{Checks: []string{"*"}}, standingOnForge{verdicts: map[string]forge.StatusState{"plumbline": forge.Pending}}, nil},
		{"green", forge.Protection{Checks: []string{"lint", "ci/*", "*"}}, standingOnForge{verdicts: green}, nil},
		{"silent", forge.Protection{Checks: []string{"build"}}, standingOnForge{verdicts: green}, []string{"`build` has not said anything"}},
		{"a pattern that nothing answers", forge.Protection{Checks: []string{"build/*"}}, standingOnForge{verdicts: green}, []string{"`build/*` has not said anything"}},
		{"red and unfinished", forge.Protection{Checks: []string{"lint", "unit"}},
			standingOnForge{verdicts: map[string]forge.StatusState{"lint": forge.Error, "unit": forge.Pending}},
			[]string{"`lint` is not green", "`unit` has not ended"}},
		{"one of a pattern is red", forge.Protection{Checks: []string{"ci/*"}},
			standingOnForge{verdicts: map[string]forge.StatusState{"ci/a": forge.Success, "ci/b": forge.Failure, "ci/c": forge.Pending}}, []string{"is not green"}},
	} {
		got := unmet(c.p, c.stand)
		ok := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			ok = ok && strings.Contains(got[i], c.want[i])
		}
		if !ok {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestWorst: of a context that several changes share the worst verdict stands, whoever asks.
func TestWorst(t *testing.T) {
	says := func(change int, commit string, states ...forge.StatusState) changeSays {
		s := changeSays{change: change}
		for i, state := range states {
			s.statuses = append(s.statuses, stated{commit, forge.Status{Context: string(rune('a' + i)), State: state, Description: "words"}})
		}
		return s
	}
	for _, all := range [][]changeSays{
		{says(7, "h", forge.Success, forge.Pending), says(3, "h", forge.Failure, forge.Success, forge.Success), says(7, "m", forge.Success)},
		{says(3, "h", forge.Failure, forge.Success, forge.Success), says(7, "m", forge.Success), says(7, "h", forge.Success, forge.Pending)},
	} {
		var got []string
		for _, s := range worst(all, "h") {
			got = append(got, s.commit+" "+s.Context+" "+string(s.State)+" "+s.Description)
		}
		want := "h a failure #3: words, h b pending #7: words, h c success #3: words, m a success words"
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("got %s\nwant %s", text, want)
		}
	}
}
