package prcomment_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestTraces: who changed something is told wherever drift is, and nothing that stands in an event can do more than be read.
func TestTraces(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	f := prcomment.Finding{
		Address: "aws_instance.web", Class: "node", Cause: "outside", Outside: "changed", Action: "update", Reason: "nodes are never corrected",
		Who: []prcomment.Trace{
			{At: at, By: "arn:aws:iam::111122223333:user/ann", From: "203.0.113.7", Event: "StopInstances", Service: "ec2.amazonaws.com"},
			{At: at.Add(-time.Minute), By: "a`</td>@everyone canary-5512", Event: "Modify|Instance"},
		},
	}
	const plain = "`arn:aws:iam::111122223333:user/ann` at 2026-11-21 09:30 UTC with `StopInstances` of ec2.amazonaws.com, from `203.0.113.7`"
	hold := func(where, text, line string) {
		t.Helper()
		if !strings.Contains(text, line) {
			t.Errorf("%s does not say %q:\n%s", where, line, text)
		}
		if strings.Contains(text, "canary") {
			t.Errorf("%s shows a secret:\n%s", where, text)
		}
		for _, line := range strings.Split(text, "\n") {
			if strings.Contains(line, "everyone") && !strings.Contains(line, "``a`</td>@everyone") {
				t.Errorf("%s lets a text out of its code: %s", where, line)
			}
		}
	}
	report := prcomment.Report{
		Kind: prcomment.KindDrift, Secrets: []string{"canary-5512"},
		Workspaces: []prcomment.Workspace{{Name: "prod", Status: prcomment.StatusDrifted, Findings: []prcomment.Finding{f}}},
	}
	hold("the report", strings.Join(prcomment.Render(report, 0), "\n"), "- `aws_instance.web`: "+plain)

	issue := prcomment.Issue{Workspace: "prod", Secrets: report.Secrets, Findings: []prcomment.IssueFinding{{Finding: f, FirstSeen: at}}}
	hold("the issue", prcomment.RenderIssue(issue, 0), "- Changed by "+plain)

	gone := issue
	gone.Findings = []prcomment.IssueFinding{{Finding: f, FirstSeen: at, GoneAt: at, CorrectedAt: at, Corrections: 1}}
	hold("the last comment", prcomment.IssueClosing(gone, "closed-1"), "; changed by "+plain)

	// That somebody was found out is news.
	unnamed := issue
	unnamed.Findings = []prcomment.IssueFinding{{Finding: f, FirstSeen: at}}
	unnamed.Findings[0].Who = nil
	if prcomment.IssueDigest(issue) == prcomment.IssueDigest(unnamed) {
		t.Error("an issue that names somebody is no news")
	}
}
