package drift_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
)

// Where the cap of a sweep stands in the way, and not the class's ladder, the
// reason says so.
func TestReasonNamesWhatStandsInTheWay(t *testing.T) {
	finding := []drift.Finding{{
		Address: "local_file.a", Type: "local_file", Class: drift.ClassResource, Cause: drift.CauseOutside,
		Actions: []string{"create"}, Outside: "deleted", Key: "local_file.a create ",
	}}
	for name, c := range map[string]struct {
		policy drift.Policy
		want   string
	}{
		"the cap":          {drift.Policy{Correct: map[drift.Class]drift.Ladder{drift.ClassResource: drift.Create}}, "this sweep may correct only up to never"},
		"the ladder":       {drift.Policy{AtMost: drift.All}, "resources are never corrected"},
		"nothing, allowed": {drift.Policy{Correct: map[drift.Class]drift.Ladder{drift.ClassResource: drift.Create}, AtMost: drift.All}, "may be corrected up to create"},
	} {
		v := drift.Decide(finding, c.policy, time.Now())
		if got := v.Findings[0].Reason; !strings.Contains(got, c.want) {
			t.Errorf("%s: the reason is %q, want it to say %q", name, got, c.want)
		}
	}
}
