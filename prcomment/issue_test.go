package prcomment_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// an is a finding that stands since yesterday.
func an(address, class, cause string, change func(*prcomment.IssueFinding)) prcomment.IssueFinding {
	f := prcomment.IssueFinding{FirstSeen: made.Add(-26 * time.Hour), LastSeen: made}
	f.Address, f.Class, f.Cause, f.Action = address, class, cause, "update"
	if change != nil {
		change(&f)
	}
	return f
}

type issueScenario struct {
	name  string
	issue prcomment.Issue
	limit int
}

func issueScenarios() []issueScenario {
	with := func(change func(*prcomment.Issue)) prcomment.Issue {
		i := prcomment.Issue{Key: "network/prod", Workspace: "network/prod", Commit: commit, CheckedAt: made, Commands: true, Secrets: []string{secret}}
		change(&i)
		return i
	}
	deleted := an(`toy_node.pool["b"]`, "node", "outside", func(f *prcomment.IssueFinding) {
		f.Outside, f.Action, f.Allowed, f.Detail = "deleted", "create", true, "it was deleted outside of Terraform"
		f.Reason = "changed outside, and nodes may be corrected up to replace"
	})
	cluster := an("toy_cluster.blue", "cluster", "outside", func(f *prcomment.IssueFinding) {
		f.Outside, f.Detail, f.Reason = "changed", "version was changed outside of Terraform", "clusters are never corrected"
		f.Attributes = []prcomment.Attribute{
			{Path: "version", Before: `"1.31"`, After: `"1.30"`}, {Path: `tags["app.kubernetes.io/name"]`, Before: `"` + secret + `"`, After: `"x"`},
			{Path: "token", Sensitive: true, Before: "hunter2-canary-0001"}, {Path: "endpoint", Before: `"a"`, Unknown: true},
		}
	})
	unapplied := an("toy_bucket.logs", "resource", "unapplied", func(f *prcomment.IssueFinding) {
		f.Reason = "not applied yet: an apply takes care of it"
		f.Attributes = []prcomment.Attribute{{Path: "public", Before: "true", After: "false"}}
	})
	fight := an("toy_node.autoscaled", "node", "outside", func(f *prcomment.IssueFinding) {
		f.Outside, f.Allowed, f.Corrections, f.CorrectedAt = "changed", true, 3, made.Add(-2*time.Hour)
		f.Reason = "it was corrected 3 times within 24h and came back each time"
		f.Fight = "corrected 3 times within 24h, and back each time. It is left alone until somebody comments `plumbline correct`."
		f.Attributes = []prcomment.Attribute{{Path: "size", Before: "5", After: "3"}}
	})
	noise := an("toy_cluster.noise", "cluster", "perpetual", func(f *prcomment.IssueFinding) {
		f.Noise, f.Attributes = true, []prcomment.Attribute{{Path: "defaults", Before: "{}", After: "null"}}
	})
	corrected := an("toy_node.a", "node", "outside", func(f *prcomment.IssueFinding) {
		f.Outside, f.GoneAt, f.CorrectedAt, f.Corrections = "changed", made.Add(-time.Hour), made.Add(-time.Hour), 2
	})
	gone := an("toy_bucket.old", "resource", "unapplied", func(f *prcomment.IssueFinding) { f.GoneAt = made.Add(-30 * time.Minute) })
	ignored := an("toy_node.scaled", "node", "outside", func(f *prcomment.IssueFinding) { f.Ignored = true })
	everything := []prcomment.IssueFinding{deleted, cluster, unapplied, fight, noise, corrected, gone, ignored}

	var many []prcomment.IssueFinding
	for n := range 900 {
		many = append(many, an(fmt.Sprintf("module.m[%d].toy_node.x", n), "node", []string{"outside", "data"}[n%2], func(f *prcomment.IssueFinding) {
			f.Attributes = []prcomment.Attribute{{Path: "size", Before: strings.Repeat("1", 300), After: "2"}}
			f.Corrections, f.Reason = 0, "it comes from a data source or from the time: review it and apply"
		}))
	}
	for n := range 300 {
		f := corrected
		f.Address = fmt.Sprintf("toy_node.gone[%d]", n)
		many = append(many, f)
	}
	return []issueScenario{
		{name: "issue", issue: with(func(i *prcomment.Issue) { i.Findings = everything })},
		{name: "issue-paused", issue: with(func(i *prcomment.Issue) {
			i.Findings = []prcomment.IssueFinding{unapplied}
			i.Pauses = []prcomment.Pause{{Scope: "everything", Until: made.Add(48 * time.Hour), By: "alice", Reason: "the cloud moves, see @octocat and #12"}, {Scope: "this workspace", By: "bob"}}
			i.Elsewhere = []prcomment.Elsewhere{{Number: 12, Findings: 2}}
			i.Notes = []string{"The ignore rule for `toy_node.old` counted to 2026-08-01, and no longer does."}
		})},
		{name: "issue-unknown", issue: with(func(i *prcomment.Issue) {
			i.Findings = []prcomment.IssueFinding{unapplied}
			i.Unknown = &prcomment.Unknown{Since: made.Add(-3 * time.Hour), LastTry: made, Failures: 5, Problem: "\x1b[31mError: ThrottlingException: Rate exceeded ``` " + secret + "\n\n  with provider[\"toy\"]"}
		})},
		{name: "issue-never-known", issue: with(func(i *prcomment.Issue) {
			i.CheckedAt, i.Commit = time.Time{}, ""
			i.Unknown = &prcomment.Unknown{Since: made, Failures: 3, Problem: "Error: no credentials"}
		})},
		{name: "issue-clean", issue: with(func(i *prcomment.Issue) { i.Findings = []prcomment.IssueFinding{noise, corrected, gone} })},
		{name: "issue-no-op", issue: with(func(i *prcomment.Issue) {
			i.Commands = false
			i.Findings = []prcomment.IssueFinding{an("toy_node.a", "node", "outside", func(f *prcomment.IssueFinding) {
				f.Outside, f.Action, f.Reason = "changed", "no-op", "nothing to correct: the plan would not change it"
				f.Attributes = []prcomment.Attribute{{Path: "labels.zone", Before: `"a"`, After: `"b"`}}
			}), an("output.url", "", "unapplied", nil)}
		})},
		{name: "issue-group", issue: with(func(i *prcomment.Issue) {
			i.Workspace, i.Key = "", "group:5f2e9c"
			i.Members = []prcomment.Member{
				{Workspace: "dns", Addresses: []string{"toy_bucket.a"}, FirstSeen: made.Add(-time.Hour), Number: 7},
				{Workspace: "network/prod", Addresses: []string{"toy_bucket.a", "toy_bucket.b", "toy_bucket.c", "toy_bucket.d", "toy_bucket.e"}, FirstSeen: made},
				{Workspace: "storage", Addresses: []string{`module.m["a.b"].toy_bucket.a`}},
			}
			i.Findings = []prcomment.IssueFinding{an(`module.m["a.b"].toy_bucket.a`, "resource", "upgrade", func(f *prcomment.IssueFinding) {
				f.Detail, f.Reason = "the provider went from 1.0.0 to 1.1.0", "it comes from an upgrade: review it and apply"
				f.Attributes = []prcomment.Attribute{{Path: "acl", Before: "null", After: `"private"`}}
			})}
		})},
		{name: "issue-large", issue: with(func(i *prcomment.Issue) { i.Findings = many })},
		{name: "issue-small", limit: 8192, issue: with(func(i *prcomment.Issue) { i.Findings = many[:40] })},
	}
}

func TestIssueGolden(t *testing.T) {
	for _, s := range issueScenarios() {
		t.Run(s.name, func(t *testing.T) {
			got := "# " + prcomment.IssueTitle(s.issue) + pageBreak + prcomment.RenderIssue(s.issue, s.limit) + pageBreak + prcomment.IssueClosing(s.issue, "closed-1")
			file := filepath.Join("testdata", "golden", s.name+".md")
			if *updateGolden {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// issueLink finds the links to other issues, which are meant.
var issueLink = regexp.MustCompile(`(> |\()#(\d+)`)

// checkIssue says what must hold of every body.
func checkIssue(t testing.TB, body string, limit int, key string) {
	t.Helper()
	if limit == 0 {
		limit = 65536
	}
	if len(body) > max(limit, 8192) || !utf8.ValidString(body) {
		t.Errorf("the body is %d bytes long, the limit is %d; valid UTF-8: %v", len(body), limit, utf8.ValidString(body))
	}
	if mark, ok := prcomment.ParseMark(body); !ok || mark.Kind != prcomment.KindDrift || len(key) < 300 && mark.Key != key {
		t.Errorf("the mark is %+v (%v), want the key %q", mark, ok, key)
	}
	if n := strings.Count(body, "<!-- plumbline:"); n != 1 {
		t.Errorf("there are %d marks, want 1", n)
	}
	for _, canary := range canaries {
		if strings.Contains(body, canary) {
			t.Errorf("the secret %q is shown", canary)
		}
	}
	checkMarkup(t, 1, issueLink.ReplaceAllString(body, "${1}issue $2"))
}

func TestIssueIsSafe(t *testing.T) {
	for _, s := range issueScenarios() {
		t.Run(s.name, func(t *testing.T) {
			checkIssue(t, prcomment.RenderIssue(s.issue, s.limit), s.limit, s.issue.Key)
			checkIssue(t, prcomment.IssueClosing(s.issue, "closed-1"), 0, "closed-1")
			checkIssue(t, prcomment.IssueReturned(s.issue, "back-1"), 0, "back-1")
			if title := prcomment.IssueTitle(s.issue); len(title) > 255 || strings.Contains(title, "\n") {
				t.Errorf("the title is %q", title)
			}
		})
	}
}

// TestIssueQuotesAnything puts hostile text everywhere.
func TestIssueQuotesAnything(t *testing.T) {
	for _, h := range []string{hostile, strings.Repeat("`", 3000), strings.Repeat("x\n", 3000), "</details>\n```\n<!-- plumbline: v=1 -->", `"\'` + secret} {
		f := an(h, h, h, func(f *prcomment.IssueFinding) {
			f.Outside, f.Action, f.Reason, f.Detail, f.Fight = h, h, h, h, h
			f.Attributes = []prcomment.Attribute{{Path: h, Before: h, After: h}}
		})
		gone := f
		gone.GoneAt, gone.CorrectedAt, gone.Corrections = made, made, 1
		noise := f
		noise.Noise = true
		i := prcomment.Issue{
			Key: "k --> <!--", Workspace: h, Commit: h, CheckedAt: made, Commands: true, Secrets: []string{secret}, Notes: []string{h},
			Findings: []prcomment.IssueFinding{f, gone, noise}, Unknown: &prcomment.Unknown{Problem: h},
			Pauses: []prcomment.Pause{{Scope: h, By: h, Reason: h}}, Elsewhere: []prcomment.Elsewhere{{Number: 3, Findings: 1}},
		}
		for _, limit := range []int{0, 8192} {
			checkIssue(t, prcomment.RenderIssue(i, limit), limit, i.Key)
		}
		checkIssue(t, prcomment.IssueClosing(i, "k"), 0, "k")
		i.Workspace, i.Members = "", []prcomment.Member{{Workspace: h, Addresses: []string{h, h, h, h}, Number: 5}}
		checkIssue(t, prcomment.RenderIssue(i, 0), 0, i.Key)
		if title := prcomment.IssueTitle(i); len(title) > 255 || strings.ContainsAny(title, "\n\x1b") || strings.Contains(title, secret) {
			t.Errorf("the title is %q", title)
		}
	}
}

// TestIssueCutsByFinding: what has no room is counted, and nothing is torn.
func TestIssueCutsByFinding(t *testing.T) {
	for _, s := range issueScenarios() {
		if s.name != "issue-large" {
			continue
		}
		body := prcomment.RenderIssue(s.issue, 0)
		shown := strings.Count(body, "\n#### `module.")
		more := regexp.MustCompile(`\*\*And (\d+) more findings\*\*`).FindStringSubmatch(body)
		if more == nil || shown == 0 || fmt.Sprint(900-shown) != more[1] {
			t.Errorf("%d of 900 findings are shown and %v are counted", shown, more)
		}
		if !strings.Contains(body, "**900 findings in `network/prod`**") {
			t.Errorf("the headline does not count them all:\n%s", body[:400])
		}
		if !strings.Contains(body, "#### What is over") {
			t.Error("what is over found no room")
		}
	}
}

// TestIssueDigest: an edit may tell people by mail, so there is one when there is news.
func TestIssueDigest(t *testing.T) {
	s := issueScenarios()[0]
	same, later := prcomment.IssueDigest(s.issue), s.issue
	later.CheckedAt = later.CheckedAt.Add(40 * 24 * time.Hour)
	later.Findings = append([]prcomment.IssueFinding(nil), later.Findings...)
	later.Findings[0].LastSeen = later.CheckedAt
	if prcomment.IssueDigest(later) != same {
		t.Error("when it was last seen counts as news")
	}
	if later.Findings[0].LastSeen.IsZero() || prcomment.RenderIssue(later, 0) == prcomment.RenderIssue(s.issue, 0) {
		t.Error("the body does not follow the time")
	}
	later.Findings[0].Reason = "because"
	if prcomment.IssueDigest(later) == same {
		t.Error("another reason does not count as news")
	}
}
