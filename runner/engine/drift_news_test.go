package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
)

// TestNews: people are told of what was not so before, and of nothing twice.
func TestNews(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(5)
	row := func(key string) FindingRow { return FindingRow{Key: key, Address: key, Cause: drift.CauseOutside} }
	judged := func(key string, cause drift.Cause) drift.Judged {
		return drift.Judged{Finding: drift.Finding{Key: key, Cause: cause}}
	}
	stopped, corrected, gone := row("a"), row("a"), row("a")
	stopped.StoppedAt, corrected.CorrectedAt, gone.GoneAt = at, at, at
	for _, c := range []struct {
		name   string
		was    SweepState
		is     SweepState
		before []FindingRow
		left   []drift.Judged
		rows   []FindingRow
		want   string
	}{
		{"nothing", SweepClean, SweepClean, nil, nil, nil, ""},
		{"found", SweepClean, SweepDrifted, nil, []drift.Judged{judged("a", drift.CauseOutside)}, []FindingRow{row("a")}, "drifted 1"},
		{"still there", SweepDrifted, SweepDrifted, []FindingRow{row("a")}, []drift.Judged{judged("a", drift.CauseOutside)}, []FindingRow{row("a")}, ""},
		{"back", SweepClean, SweepDrifted, []FindingRow{gone}, []drift.Judged{judged("a", drift.CauseOutside)}, []FindingRow{row("a")}, "drifted 1"},
		{"noise", SweepClean, SweepClean, nil, []drift.Judged{judged("a", drift.CausePerpetual)}, []FindingRow{row("a")}, ""},
		{"corrected", SweepDrifted, SweepClean, []FindingRow{row("a")}, nil, []FindingRow{corrected}, "corrected 1"},
		{"fought over", SweepClean, SweepDrifted, []FindingRow{gone}, []drift.Judged{judged("a", drift.CauseOutside)}, []FindingRow{stopped}, "fight 1"},
		{"fought over still", SweepDrifted, SweepDrifted, []FindingRow{stopped}, []drift.Judged{judged("a", drift.CauseOutside)}, []FindingRow{stopped}, ""},
		{"not known", SweepDrifted, SweepUnknown, []FindingRow{row("a")}, nil, nil, "unknown 0"},
		{"not known still", SweepUnknown, SweepUnknown, nil, nil, nil, ""},
		{"gone by itself", SweepDrifted, SweepClean, []FindingRow{row("a")}, nil, nil, "clean 0"},
		{"known again", SweepUnknown, SweepClean, nil, nil, nil, "clean 0"},
	} {
		task := &task{drift: driftLook{before: c.before}}
		var got []string
		for _, e := range task.news(c.was, Look{Workspace: "app", State: c.is}, c.left, c.rows) {
			got = append(got, fmt.Sprintf("%s %d", e.State, len(e.Findings)))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: told %q, want %q", c.name, text, c.want)
		}
	}
}
