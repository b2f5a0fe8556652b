package engine

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// applies are the apply operations of the repository in their order, as "#change cause workspace:status…".
func (d *docket) applies() (all []string) {
	d.Helper()
	var ops []Operation
	d.read(func(tx *sql.Tx) (err error) {
		ops, err = list(d.Context(), tx, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE repository = $1 AND kind = 'apply' ORDER BY seq", string(d.id))
		return err
	})
	for _, op := range ops {
		byName := map[string]Run{}
		d.read(func(tx *sql.Tx) error {
			runs, err := d.engines[0].store.runsOf(d.Context(), tx, op.ID)
			for _, r := range runs {
				byName[r.Workspace] = r
			}
			return err
		})
		all = append(all, fmt.Sprintf("#%d %s %s", op.Change, op.Cause, statuses(byName)))
	}
	return all
}

func TestMergeAppliesWhatWasReviewed(t *testing.T) {
	for _, method := range []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase} {
		t.Run(string(method), func(t *testing.T) {
			d := newDocket(t, 1, docketFiles(), nil)
			files := bump("network", "2")
			files["app/main.tf"] = bump("app", "2")["app/main.tf"]
			number := d.opened("alice", "more", files)
			d.hub.Commit(t, d.repo, "more", "", map[string]string{"network/more.tf": "# more\n"})
			d.deliver()
			d.drain()
			planned := d.endAll(number, KindPlan, Planned)
			commit := d.merge(number, method)
			op, runs := d.last(number, KindApply)
			d.want("runs", statuses(runs), "app:waiting network:queued")
			d.want("commit", op.Commit, commit)
			d.want("cause", op.Cause, CauseMerged)
			for name, r := range runs {
				d.want("reviewed plan of "+name, r.Reviewed, planned[name].Plan)
			}
			d.want("needs", runs["app"].Needs, []string{"network"})
			d.want("around", runs["network"].Around, []string{"app", "network"})
			if ops, _ := d.operations(number, KindApply); len(ops) != 1 {
				t.Errorf("%d apply operations, want 1", len(ops))
			}
			entries := d.entries(audit.Filter{Action: "apply"})
			if len(entries) != 2 || entries[0].Commit != commit || !entries[0].Allowed || entries[0].Fingerprint == "" || entries[0].Details["plan"] == "" {
				t.Errorf("audit: %+v", entries)
			}
			// Told again and again, it is applied once.
			for range 2 {
				d.taken = 0
				d.settled()
			}
			if all := d.applies(); len(all) != 1 {
				t.Errorf("applies %q, want one", all)
			}
			d.endAll(number, KindApply, Applied)
			if row := d.row(number); !row.Pruned {
				t.Errorf("its plans are kept: %+v; %q", row, d.problems())
			}
		})
	}
}

// TestMergesInAnyOrder merges many changes in many ways, tells two engines of it in any order and more than once, and
// finds one apply for each in the order of the branch.
func TestMergesInAnyOrder(t *testing.T) {
	d := newDocket(t, 2, docketFiles(), nil)
	var numbers []int
	for i, name := range []string{"network", "app", "database", "four", "five"} {
		numbers = append(numbers, d.opened("alice", fmt.Sprintf("branch-%d", i), bump(name, "2")))
	}
	var want []string
	methods := []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase, forge.Squash, forge.MergeCommit}
	for i, number := range numbers {
		if i == 3 {
			d.hub.Commit(t, d.repo, "main", "", bump("pushed", "2"))
			want = append(want, "#0")
		}
		d.hub.Merge(t, d.repo, "alice", number, methods[i])
		want = append(want, fmt.Sprintf("#%d", number))
	}
	all := d.hub.Deliveries(t, d.repo)
	told := append(all[d.taken:], all[d.taken:]...)
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	random.Shuffle(len(told), func(i, j int) { told[i], told[j] = told[j], told[i] })
	var wg sync.WaitGroup
	for i, e := range d.engines {
		wg.Go(func() {
			for k, w := range told {
				if k%2 == i {
					if _, err := e.Receive(context.Background(), "hub", w.Header, w.Body); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	d.taken = len(all)
	for range 4 {
		d.settled()
	}
	got := d.applies()
	for i := range got {
		got[i], _, _ = strings.Cut(got[i], " ")
	}
	d.want("applies in order", got, want)
	d.want("problems", d.problems(), []string{})
}

// TestMissedWebhooks merges changes of which nobody was told; a push much later tells all.
func TestMissedWebhooks(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	known := d.opened("alice", "known", bump("network", "2"))
	unknown := d.open("bob", "unknown", bump("database", "2"))
	d.hub.Merge(t, d.repo, "alice", known, forge.Squash)
	d.hub.Merge(t, d.repo, "alice", unknown, forge.Rebase)
	d.hub.Commit(t, d.repo, "main", "", map[string]string{"notes.txt": "x"})
	all := d.hub.Deliveries(t, d.repo)
	last := all[len(all)-1]
	if _, err := d.engines[0].Receive(t.Context(), "hub", last.Header, last.Body); err != nil {
		t.Fatal(err)
	}
	d.drain()
	d.pass(settleFor + time.Second)
	d.drain()
	d.want("applies", d.applies(), []string{
		fmt.Sprintf("#%d merged network:queued", known), fmt.Sprintf("#%d merged database:queued", unknown),
	})
	_, runs := d.last(unknown, KindApply)
	d.want("the reviewed plan of a change that was never planned", runs["database"].Reviewed, "")
	d.taken = 0
	d.settled()
	if n := len(d.applies()); n != 2 {
		t.Errorf("%d applies after the webhooks came late: %q", n, d.applies())
	}
}

// TestDirectPush is held, or applied where plumbline.yaml says so.
func TestDirectPush(t *testing.T) {
	for _, c := range []struct{ push, accept string }{{"hold", ""}, {"apply", acceptAny}} {
		t.Run(c.push, func(t *testing.T) {
			files := docketFiles()
			files["plumbline.yaml"] = "push: " + c.push + "\n" + files["plumbline.yaml"]
			d := newDocket(t, 1, files, nil)
			d.opened("alice", "other", bump("database", "2"))
			before := d.hub.Commit(t, d.repo, "main", "", map[string]string{"notes.txt": "x"})
			d.settled()
			d.hub.Commit(t, d.repo, "main", "", bump("network", "2"))
			d.deliver()
			d.drain()
			d.want("applies before the forge had time to tell of a merge", d.applies(), []string{})
			d.settled()
			d.want("applies", d.applies(), []string{"#0 push network:queued"})
			op, runs := d.last(0, KindApply)
			d.want("accepted", op.Accept["network"], c.accept)
			d.want("reviewed", runs["network"].Reviewed, "")
			d.want("base", op.BaseCommit, before)
		})
	}
}

// TestForcedPush rewrites the branch: nothing is applied, and that is said; what is merged afterwards is applied.
func TestForcedPush(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	d.opened("alice", "more", bump("network", "2"))
	first := d.hub.Commit(t, d.repo, "main", "", bump("database", "2"))
	d.settled()
	d.hub.Commit(t, d.repo, "away", "more", bump("app", "9"))
	d.hub.Reset(t, d.repo, "main", d.hub.Commit(t, d.repo, "away", "", bump("network", "9")))
	d.settled()
	d.pass(behindFor)
	d.drain()
	ops, _ := d.operations(0, KindApply)
	if len(ops) != 2 || ops[0].Commit != first || len(ops[1].Notes) != 1 || !strings.Contains(ops[1].Notes[0], "rewritten") {
		t.Fatalf("operations %+v; %q", ops, d.problems())
	}
	d.want("applies", d.applies(), []string{"#0 push database:queued", "#0 push "})
	refused := d.entries(audit.Filter{Refused: true})
	if len(refused) != 1 || !strings.Contains(refused[0].Reason, "force") {
		t.Errorf("audit: %+v", refused)
	}
	later := d.opened("bob", "later", bump("database", "3"))
	d.merge(later, forge.MergeCommit)
	_, runs := d.last(later, KindApply)
	d.want("runs after that", statuses(runs), "database:waiting")
}

// TestSetBackAndForward takes a merge away and brings it back: it is applied once.
func TestSetBackAndForward(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.opened("alice", "more", bump("network", "2"))
	before := d.row(number).Base.Commit
	merge := d.merge(number, forge.Squash)
	d.endAll(number, KindApply, Applied)
	d.hub.Reset(t, d.repo, "main", before)
	d.settled()
	d.pass(behindFor)
	d.drain()
	d.want("applies", len(d.applies()), 2)
	d.hub.Reset(t, d.repo, "main", merge)
	d.settled()
	want := []string{fmt.Sprintf("#%d merged network:applied", number), "#0 push "}
	d.want("applies", d.applies(), want)
	later := d.opened("bob", "later", bump("database", "3"))
	d.merge(later, forge.Squash)
	d.want("applies", d.applies(), append(want, fmt.Sprintf("#%d merged database:queued", later)))
}

// TestOtherBase merges into a branch that is not the default one, and that is served.
func TestOtherBase(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), func(o *ForgeOptions) { o.Branches = []string{"rel*"} })
	d.hub.Commit(t, d.repo, "release", "main", bump("database", "2"))
	d.hub.Commit(t, d.repo, "fix", "release", bump("network", "2"))
	number := d.hub.Open(t, d.repo, "alice", "fix", "release", "Fix", false)
	d.deliver()
	d.drain()
	d.endAll(number, KindPlan, Planned)
	d.merge(number, forge.Squash)
	d.want("applies", d.applies(), []string{fmt.Sprintf("#%d merged network:queued", number)})

	// Branches that nothing goes to are nobody's business.
	d.hub.Commit(t, d.repo, "scratch", "main", bump("app", "7"))
	d.settled()
	d.want("applies", len(d.applies()), 1)
}

// TestChangeCannotLoosenItsRules asks, in the change that is merged, for what the base does not allow.
func TestChangeCannotLoosenItsRules(t *testing.T) {
	files := docketFiles()
	files["plumbline.yaml"] = "defaults:\n  approvals: 1\nworkspaces:\n  - dir: network\n    apply: never\n  - dir: app\n    depends_on: [network]\n  - dir: database\n    apply: on-comment\n"
	d := newDocket(t, 1, files, nil)
	change := map[string]string{"plumbline.yaml": "defaults:\n  apply: on-merge\n  approvals: 0\n"}
	for _, name := range []string{"network", "app", "database"} {
		for file, content := range bump(name, "2") {
			change[file] = content
		}
	}
	number := d.opened("alice", "loose", change)
	op, _ := d.last(number, KindPlan)
	if notes := strings.Join(op.Notes, "\n"); !strings.Contains(notes, "apply stays") || !strings.Contains(notes, "approvals stays") {
		t.Errorf("notes of the plan: %q", op.Notes)
	}
	d.hub.Approve(t, d.repo, "mallory", number) // may not write
	d.merge(number, forge.MergeCommit)
	op, runs := d.last(number, KindApply)
	d.want("runs", statuses(runs), "app:held database:held")
	if notes := strings.Join(op.Notes, "\n"); !strings.Contains(notes, "`network` is left as it is") {
		t.Errorf("notes of the apply: %q", op.Notes)
	}
	plans, err := d.engines[0].Plans(string(d.id))
	if err != nil {
		t.Fatal(err)
	}
	held, err := openResult(plans, runs["app"])
	if err != nil || held.Hold == nil || !strings.Contains(held.Hold.Reason, "1 approval") {
		t.Errorf("hold of app: %+v, %v", held.Hold, err)
	}
	d.want("refusals", len(d.entries(audit.Filter{Action: "apply", Refused: true})), 3)
}

// TestApprovalsAreOfTheHead counts only approvals of what is merged, by others who may write.
func TestApprovalsAreOfTheHead(t *testing.T) {
	files := docketFiles()
	files["plumbline.yaml"] = "defaults:\n  approvals: 1\n"
	for _, c := range []struct {
		name    string
		approve func(d *docket, number int)
		want    string
	}{
		{"bob", func(d *docket, n int) { d.hub.Approve(d.T, d.repo, "bob", n) }, "network:queued"},
		{"the author", func(d *docket, n int) { d.hub.Approve(d.T, d.repo, "alice", n) }, "network:held"},
		{"a reader", func(d *docket, n int) { d.hub.Approve(d.T, d.repo, "mallory", n) }, "network:held"},
		{"taken back", func(d *docket, n int) {
			d.hub.Approve(d.T, d.repo, "bob", n)
			d.hub.Reject(d.T, d.repo, "bob", n)
		}, "network:held"},
		{"an older head", func(d *docket, n int) {
			d.hub.Approve(d.T, d.repo, "bob", n)
			d.hub.Commit(d.T, d.repo, "more", "", bump("network", "3"))
			d.deliver()
			d.drain()
			d.endAll(n, KindPlan, Planned)
		}, "network:held"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDocket(t, 1, files, nil)
			number := d.opened("alice", "more", bump("network", "2"))
			c.approve(d, number)
			d.merge(number, forge.MergeCommit)
			_, runs := d.last(number, KindApply)
			d.want("runs", statuses(runs), c.want)
		})
	}
}

// TestUnfinishedPlanIsNotReviewed merges while a plan is still being made.
func TestUnfinishedPlanIsNotReviewed(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.open("alice", "more", bump("network", "2"))
	d.deliver()
	d.drain()
	d.merge(number, forge.MergeCommit)
	_, plans := d.last(number, KindPlan)
	d.want("its plan", statuses(plans), "network:superseded")
	_, runs := d.last(number, KindApply)
	d.want("runs", statuses(runs), "network:queued")
	d.want("reviewed", runs["network"].Reviewed, "")
}

// TestNothingCountsAsReviewedWithoutABase merges onto a branch whose rules nobody can read: the change is under its own, and a
// plan from before was made under others.
func TestNothingCountsAsReviewedWithoutABase(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.opened("alice", "more", bump("app", "2"))
	h := &errand{Engine: d.engines[0], repo: Repository{ID: d.id}}
	app := &workspaces.Workspace{Name: "app", Dir: "app", Apply: "on-merge"}
	row := d.row(number)
	row.ClosedAt = time.Now()
	for _, scratch := range []bool{false, true} {
		all, err := h.judgeSpan(d.Context(), gitrepo.Span{Change: number}, row, ground{Affected: []*workspaces.Workspace{app}, Scratch: scratch})
		if err != nil || len(all) != 1 {
			t.Fatalf("judged %+v: %v", all, err)
		}
		if reviewed := all[0].Reviewed != ""; reviewed == scratch {
			t.Errorf("with a base: %v; reviewed: %v", !scratch, reviewed)
		}
	}
}
