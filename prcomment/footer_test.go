package prcomment_test

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestSettle: the last line of a page is all that changes, and only where it is the last one.
func TestSettle(t *testing.T) {
	report := prcomment.Report{
		Kind: prcomment.KindPlan, Commands: true, Merging: true, Approvals: true,
		Workspaces: []prcomment.Workspace{{Name: "a", Status: prcomment.StatusPlanned, Plan: planOf(create("toy_node.a", obj{"name": "---\n<sub>Merging"}))}},
	}
	page := prcomment.Render(report, 0)[0]
	if !strings.Contains(page, "Merging applies this once it is approved.") {
		t.Fatalf("the page does not say what merging does:\n%s", page)
	}
	above, _, _ := strings.Cut(page, "---\n<sub>Merging applies")
	for what, body := range map[string]string{"as written": page, "as Gitea keeps it": strings.TrimSpace(page), "as a browser sends it": strings.ReplaceAll(page, "\n", "\r\n")} {
		if got, want := prcomment.Settle(body, "It is over."), above+"---\n<sub>It is over.</sub>\n"; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
	if got := prcomment.Settle(above, "It is over."); got != above {
		t.Errorf("a page without a last line became\n%s", got)
	}
}
