package engine

import (
	"context"
	"database/sql"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// drifting is a desk at which issues are written.
type drifting struct{ *desk }

func newDrifting(t *testing.T) drifting {
	d := drifting{newDesk(t)}
	d.ready(d.engine)
	return d
}

// ready lets an engine make jobs.
func (d drifting) ready(e *Engine) {
	d.t.Helper()
	e.Parallel = 1
	var err error
	if e.queue, err = e.newQueue(); err != nil {
		d.t.Fatal(err)
	}
}

// found writes what a look at a workspace found.
func (d drifting) found(workspace string, all ...findingDetail) {
	d.t.Helper()
	e := d.engine
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		var rows []FindingRow
		for _, f := range all {
			sealed, err := sealFinding(d.plans, d.id, workspace, f)
			if err != nil {
				return err
			}
			row := FindingRow{Key: f.Key, Address: f.Address, Class: f.Class, Cause: f.Cause, Noise: f.Cause == drift.CausePerpetual, Detail: sealed}
			if f.Reason == "corrected" {
				row.CorrectedAt = e.Now()
			}
			rows = append(rows, row)
		}
		state := SweepClean
		if len(all) > 0 {
			state = SweepDrifted
		}
		if err := e.store.putFindings(ctx, tx, d.id, workspace, e.Now(), rows); err != nil {
			return err
		}
		return e.store.putSweep(ctx, tx, Sweep{Repository: d.id, Workspace: workspace, State: state, CheckedAt: e.Now(), Since: e.Now()})
	})
	d.later(time.Second)
}

func finding(address string, cause drift.Cause, paths ...string) findingDetail {
	f := drift.Finding{Address: address, Type: typeOf(address), Class: drift.Class("node"), Cause: cause, Actions: []string{"update"}, Detail: "it was changed"}
	for _, path := range paths {
		f.Attributes = append(f.Attributes, drift.Attribute{Path: path, Before: `"is ` + environSecret + `"`, After: `"should"`, Cause: cause})
	}
	f.Key = address + " update " + strings.Join(paths, ",")
	return findingDetail{Judged: drift.Judged{Finding: f, Reason: "because"}}
}

func (d drifting) tellIssue(workspace string) {
	d.t.Helper()
	d.later(betweenNotes)
	if !d.tellOf(issueSubject(d.id, workspaceIssue+workspace)) {
		d.t.Fatalf("the issue of %s was not told: %s", workspace, d.log)
	}
}

// issues are ours, by title.
func (d drifting) issues() map[string]forge.Issue {
	d.t.Helper()
	own, err := d.engine.Forges[0].Client.OwnIssues(d.t.Context(), d.repo)
	if err != nil {
		d.t.Fatal(err)
	}
	all := map[string]forge.Issue{}
	for _, i := range own {
		if _, twice := all[i.Title]; twice {
			d.t.Errorf("there are two issues %q", i.Title)
		}
		all[i.Title] = i
		if strings.Contains(i.Body, environSecret) {
			d.t.Errorf("a secret is shown in %s", i.Body)
		}
	}
	return all
}

func (d drifting) issue(workspace string, open bool, parts ...string) forge.Issue {
	d.t.Helper()
	i, ok := d.issues()["Drift in "+workspace]
	if !ok || i.Open != open {
		d.t.Fatalf("the issue of %s is there: %v, and open: %v; want it open: %v\n%s", workspace, ok, i.Open, open, d.log)
	}
	d.holds(i.Body, parts...)
	return i
}

func (d drifting) comments(number int) (all []string) {
	d.t.Helper()
	for _, c := range d.gh.Thread(d.t, d.repo, number) {
		_, text, _ := strings.Cut(c.Body, "\n")
		first, _, _ := strings.Cut(text, "\n")
		all = append(all, first)
	}
	return all
}

func TestIssueOverItsLife(t *testing.T) {
	d := newDrifting(t)
	d.found("net")
	d.tellIssue("net")
	if n := len(d.issues()); n != 0 {
		t.Fatalf("%d issues of what is clean", n)
	}

	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("net")
	i := d.issue("net", true, "**1 finding in `net`**", "`toy_node.a`", "(redacted)", "plumbline ignore toy_node.a size")
	if !slices.Equal(i.Labels, []string{"drift"}) {
		t.Errorf("labels are %q", i.Labels)
	}

	// What was only seen again is written once in an hour.
	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("net")
	if again := d.issue("net", true); again.Body != i.Body {
		t.Error("an edit says only when it was last seen")
	}
	d.later(2 * time.Hour)
	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("net")
	if again := d.issue("net", true); again.Body == i.Body {
		t.Error("after hours nobody is told that it is still there")
	}

	// News is written at once.
	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"), finding("toy_node.b", drift.CauseUnapplied, "size"))
	d.tellIssue("net")
	d.issue("net", true, "**2 findings in `net`**", "`toy_node.b`")

	// One was corrected, one went by itself.
	corrected := finding("toy_node.a", drift.CauseOutside, "size")
	corrected.Reason = "corrected"
	d.found("net", corrected)
	d.tellIssue("net")
	i = d.issue("net", false, "✅ **Clean**", "`toy_node.a`: **corrected**", "`toy_node.b`: gone without a correction")
	if got := d.comments(i.Number); len(got) != 1 || !strings.Contains(got[0], "1 finding was corrected and 1 went without a correction") {
		t.Errorf("comments are %q", got)
	}

	// It returns.
	d.later(time.Hour)
	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("net")
	i = d.issue("net", true, "Corrected 1 time")
	if got := d.comments(i.Number); len(got) != 2 || !strings.HasPrefix(got[1], "🔁 **Drift again**: 1 finding") {
		t.Errorf("comments are %q", got)
	}
	d.found("net")
	d.tellIssue("net")
	d.tellIssue("net")
	d.issue("net", false)
	if got := d.comments(i.Number); len(got) != 3 {
		t.Errorf("comments are %q", got)
	}
}

// TestCorrectionsAreToldAndNoiseOnce: a correction that heals and never tells would hide a problem.
func TestCorrectionsAreToldAndNoiseOnce(t *testing.T) {
	d := newDrifting(t)
	corrected := finding("toy_node.a", drift.CauseOutside, "size")
	corrected.Reason = "corrected"
	d.found("net", corrected)
	d.tellIssue("net")
	i := d.issue("net", false, "`toy_node.a`: **corrected**")
	d.later(time.Hour)
	d.found("net", corrected)
	d.tellIssue("net")
	d.tellIssue("net")
	d.issue("net", false, "the 2nd time")
	if got := d.comments(i.Number); len(got) != 2 {
		t.Errorf("comments are %q, want one for each correction", got)
	}
	noise := finding("toy_node.n", drift.CausePerpetual, "defaults")
	d.found("dns", noise)
	d.tellIssue("dns")
	d.later(2 * time.Hour)
	d.found("dns", noise)
	d.tellIssue("dns")
	i = d.issue("dns", false, "#### Noise", "`toy_node.n`: `defaults`")
	if got := d.comments(i.Number); len(got) != 1 {
		t.Errorf("comments are %q, want noise to be told once", got)
	}
}

func TestIssueClosedByHand(t *testing.T) {
	d := newDrifting(t)
	a := finding("toy_node.a", drift.CauseOutside, "size")
	d.found("net", a)
	d.tellIssue("net")
	i := d.issue("net", true)
	d.gh.Close(t, d.repo, "alice", i.Number)
	nextSecond() // the forge's clock counts in seconds

	d.later(2 * time.Hour)
	d.found("net", a)
	d.tellIssue("net")
	d.issue("net", false)
	d.later(2 * time.Hour)
	d.found("net", a, finding("toy_node.b", drift.CauseOutside, "size"))
	d.tellIssue("net")
	d.issue("net", true, "`toy_node.b`")
	if got := d.comments(i.Number); len(got) != 1 {
		t.Errorf("comments are %q, want one that says why it is open again", got)
	}
	// Closed by hand, and then clean: nothing is left to acknowledge.
	d.gh.Close(t, d.repo, "alice", i.Number)
	d.found("net")
	d.tellIssue("net")
	d.issue("net", false, "✅ **Clean**")
}

// TestIssueThatWasOpenedAndNotWrittenDown: the process died between the two.
func TestIssueThatWasOpenedAndNotWrittenDown(t *testing.T) {
	d := newDrifting(t)
	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("net")
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM drift_issue")
		return err
	})
	d.found("net", finding("toy_node.b", drift.CauseOutside, "size"))
	d.tellIssue("net")
	d.issue("net", true, "`toy_node.b`") // and not two of them
}

func TestIssueThatIsGoneOrRefused(t *testing.T) {
	d := newDrifting(t)
	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("net")
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE drift_issue SET number = 999")
		return err
	})
	d.found("net", finding("toy_node.b", drift.CauseOutside, "size"))
	d.tellIssue("net")
	d.issue("net", true, "`toy_node.b`")

	mend := d.gh.Break(forgetest.Fault{Method: "PATCH", Path: "/issues/", Status: http.StatusForbidden, Body: `{"message":"This issue is locked"}`})
	d.found("net", finding("toy_node.c", drift.CauseOutside, "size"))
	if d.tellOf(issueSubject(d.id, workspaceIssue+"net")) {
		t.Fatal("what was refused counts as told")
	}
	var problem string
	var next int64
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT problem, next_at FROM report WHERE operation = $1", issueSubject(d.id, workspaceIssue+"net").Operation).Scan(&problem, &next)
	})
	if !strings.Contains(problem, "locked") || time.UnixMilli(next).Sub(d.engine.Now()) < 30*time.Second {
		t.Errorf("the problem is %q, tried again at %v", problem, time.UnixMilli(next))
	}
	mend()
	d.later(time.Hour)
	d.tellIssue("net")
	d.issue("net", true, "`toy_node.c`")
}

func TestSameInManyWorkspacesIsOneIssue(t *testing.T) {
	d := newDrifting(t)
	upgrade := func(address string) findingDetail { return finding(address, drift.CauseUpgrade, "acl") }
	d.found("a", upgrade("toy_bucket.a"), finding("toy_node.a", drift.CauseOutside, "size"))
	d.found("b", upgrade("toy_bucket.b"))
	tell := func(all ...string) {
		t.Helper()
		for range 2 { // an issue may ask for others
			for _, w := range all {
				d.tellIssue(w)
			}
			d.later(betweenNotes)
			var keys []string
			d.tx(func(ctx context.Context, tx *sql.Tx) (err error) {
				keys, err = list(ctx, tx, scanText, "SELECT operation FROM report WHERE wanted > told ORDER BY operation")
				return err
			})
			for _, key := range keys {
				if err := d.engine.workReport(t.Context(), Subject{Repository: d.id, Operation: key}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tell("a", "b")
	d.issue("a", true, "**2 findings in `a`**")
	d.issue("b", true)
	d.found("c", upgrade("module.m.toy_bucket.c"))
	tell("c")
	all := d.issues()
	group, ok := all["Drift in several workspaces: toy_bucket after an upgrade"]
	if !ok || !group.Open {
		t.Fatalf("issues are %v", all)
	}
	d.holds(group.Body, "**3 findings in 3 workspaces**", "`module.m.toy_bucket.c`")
	d.issue("a", true, "**1 finding in `a`**", "tells of 1 more finding")
	d.issue("b", false)
	if _, ok := all["Drift in c"]; ok {
		t.Error("c has an issue of its own, too")
	}
	// As long as any of them has it, the group stays.
	d.found("a", finding("toy_node.a", drift.CauseOutside, "size"))
	d.found("c")
	tell("a", "c")
	if group = d.issues()[group.Title]; !group.Open {
		t.Error("the group is closed while b has the finding")
	}
	d.holds(group.Body, "1 workspace")
	d.found("b")
	tell("b")
	if group = d.issues()[group.Title]; group.Open {
		t.Error("the group is open though nobody has the finding any more")
	}
}

func TestUnknownAloneOpensAnIssueLate(t *testing.T) {
	d := newDrifting(t)
	unknown := func(failures int) {
		t.Helper()
		sealed, err := sealProblem(d.plans, d.id, "net", "Error: throttled "+environSecret)
		if err != nil {
			t.Fatal(err)
		}
		d.tx(func(ctx context.Context, tx *sql.Tx) error {
			return d.engine.store.putSweep(ctx, tx, Sweep{Repository: d.id, Workspace: "net", State: SweepUnknown, Failures: failures, Problem: sealed, Since: d.engine.Now()})
		})
		d.tellIssue("net")
	}
	unknown(1)
	if n := len(d.issues()); n != 0 {
		t.Errorf("%d issues after one look without an answer", n)
	}
	unknown(unknownAfter)
	d.issue("net", true, "**Not known** in `net`", "Error: throttled (redacted)")
	d.found("net")
	d.tellIssue("net")
	d.issue("net", false, "✅ **Clean**")
}

// TestOwnersAreAssigned: by CODEOWNERS of the directory; a team is named, and nobody is called by it.
func TestOwnersAreAssigned(t *testing.T) {
	d := newDrifting(t)
	d.gh.Grant(t, d.repo, "alice", forge.Write)
	commit := d.gh.Commit(t, d.repo, "main", "", map[string]string{".github/CODEOWNERS": "* @bob\nnet/ @alice @acme/netops @nobody\n", "net/main.tf": ""})
	d.engine.DataDir, d.engine.Environ = t.TempDir(), gitEnviron()
	found, err := d.engine.Forges[0].Client.Repository(t.Context(), d.repo)
	if err != nil {
		t.Fatal(err)
	}
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		if err := d.engine.store.putRepository(ctx, tx, Repository{ID: d.id, Forge: "github", Repo: d.repo, DefaultBranch: "main", CloneURL: found.CloneURL}); err != nil {
			return err
		}
		if _, err := d.engine.store.moveBranch(ctx, tx, d.id, "main", "", commit); err != nil {
			return err
		}
		return d.engine.putWorkspaces(ctx, tx, d.id, []WorkspaceRow{{Name: "net", Dir: "net"}})
	})
	d.found("net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("net")
	i := d.issue("net", true, "Owned by `@acme/netops`")
	if !slices.Equal(i.Assignees, []string{"alice"}) {
		t.Errorf("assigned are %q", i.Assignees)
	}
	if mark, ok := prcomment.ParseMark(i.Body); !ok || mark.Key != "workspace:net" {
		t.Errorf("the mark is %+v", mark)
	}
}
