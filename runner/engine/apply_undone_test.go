package engine

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
)

// TestAppliedAndUndone applies a change before its merge and then another one in the same workspace, which takes back what
// the first one did. The first one's merge must not pass for applied.
func TestAppliedAndUndone(t *testing.T) {
	for _, c := range []struct {
		name  string
		again bool // the first change's new plan ends before the merge
	}{{"planned again", true}, {"not planned again yet", false}} {
		t.Run(c.name, func(t *testing.T) {
			d := newDocket(t, 1, commented(""), nil)
			one := d.opened("alice", "one", bump("database", "2"))
			two := d.opened("carol", "two", map[string]string{"database/more.tf": "# more\n"})
			d.say("bob", one, "plumbline apply")
			d.endAll(one, KindApply, Applied)
			d.endAll(two, KindPlan, Planned)
			d.say("bob", two, "plumbline apply")
			d.endAll(two, KindApply, Applied)
			if c.again {
				d.endAll(one, KindPlan, Planned)
			}
			d.merge(one, forge.Squash)
			op, runs := d.last(one, KindApply)
			d.want("runs of the merge", op.Cause, CauseMerged)
			d.want("runs of the merge", statuses(runs), "database:held")
			if notes := strings.Join(op.Notes, "\n"); strings.Contains(notes, "applied before the merge") {
				t.Errorf("notes: %q", op.Notes)
			}
		})
	}
}
