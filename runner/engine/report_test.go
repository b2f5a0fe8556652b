package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// environSecret is a value that the configuration names as a secret.
const environSecret = "canary-of-the-environment"

// desk is where reports are made: a forge with one pull request, and rows written as the other parts of the engine do.
type desk struct {
	t      *testing.T
	gh     *forgetest.GitHub
	repo   forge.Repo
	id     RepoID
	dir    string // of the database
	db     *database.DB
	plans  *planstore.Store
	ahead  *atomic.Int64 // the clock, against the real one
	log    *safeLog
	writes *atomic.Int64 // requests that change something
	onRead func()        // the comments of a change were read
	engine *Engine
	change forge.Change
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, gh: forgetest.StartGitHub(t), ahead: &atomic.Int64{}, log: &safeLog{}, writes: &atomic.Int64{}}
	d.gh.OnExchange = func(x forgetest.Exchange) {
		if x.Method != http.MethodGet {
			d.writes.Add(1)
		} else if strings.HasSuffix(strings.Split(x.URL, "?")[0], "/comments") && d.onRead != nil {
			d.onRead() // before the answer is sent
		}
	}
	d.dir = t.TempDir()
	db, err := database.Open(t.Context(), database.Options{URL: SuiteURL(t), DataDir: d.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	d.db, d.plans = db, openPlans(t)
	d.engine = d.start()
	d.repo = d.gh.NewRepo(t)
	d.id = d.engine.Forges[0].repoID(d.repo)
	d.gh.Commit(t, d.repo, "topic", "main", map[string]string{"a.tf": "# a\n"})
	number := d.gh.Open(t, d.repo, "alice", "topic", "main", "Add a bucket", false)
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		return d.engine.store.putRepository(ctx, tx, Repository{ID: d.id, Forge: "github", Repo: d.repo, DefaultBranch: "main"})
	})
	d.see(number)
	return d
}

// start makes the engine of another process.
func (d *desk) start() *Engine {
	d.t.Helper()
	client, err := github.New(github.Options{URL: d.gh.URL, Token: d.gh.Token, MaxWait: time.Millisecond})
	if err != nil {
		d.t.Fatal(err)
	}
	id, err := newID()
	if err != nil {
		d.t.Fatal(err)
	}
	e := &Engine{
		Options: Options{
			DB: d.db, Plans: func(string) (*planstore.Store, error) { return d.plans, nil },
			Forges:      []ForgeOptions{{Name: "github", Client: client, Repos: []string{"*/*"}}},
			StatusLimit: 20, Secrets: []string{environSecret}, Metrics: telemetry.NewMetrics("test"), PublicURL: "https://plumbline.example.com",
			Now: func() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) },
		},
		process: id, busy: map[string]*working{}, log: slog.New(slog.NewTextHandler(d.log, nil)),
	}
	e.store = &store{now: e.Now}
	e.hard, e.endHard = context.WithCancel(context.Background())
	d.t.Cleanup(e.endHard)
	return e
}

func (d *desk) tx(fn func(ctx context.Context, tx *sql.Tx) error) {
	d.t.Helper()
	if err := d.db.Tx(d.t.Context(), func(tx *sql.Tx) error { return fn(d.t.Context(), tx) }); err != nil {
		d.t.Fatal(err)
	}
}

// see takes down the change as it stands.
func (d *desk) see(number int) {
	d.t.Helper()
	c, err := d.engine.Forges[0].Client.Change(d.t.Context(), d.repo, number)
	if err != nil {
		d.t.Fatal(err)
	}
	d.change = c
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		_, err := d.engine.store.putChange(ctx, tx, d.id, c)
		return err
	})
}

func (d *desk) subject() Subject { return Subject{Repository: d.id, Change: d.change.Number} }

// begin makes an operation; a plan becomes the change's own and takes the place of the one before.
func (d *desk) begin(o Operation, names ...string) Operation {
	d.t.Helper()
	o.Repository, o.Change, o.Branch, o.HeadCommit = d.id, d.change.Number, "main", d.change.Head.Commit
	o.EventAt = d.engine.Now()
	if o.Actor == "" {
		o.Actor = "plumbline"
	}
	if o.Commit == "" {
		o.Commit = d.change.Head.Commit
	}
	var runs []Run
	for i, name := range names {
		r := Run{Workspace: name, Dir: name, Position: i, Reasons: []string{"`" + name + "/main.tf` changed"}}
		if i > 0 {
			r.Needs = names[:i]
		}
		runs = append(runs, r)
	}
	d.tx(func(ctx context.Context, tx *sql.Tx) (err error) {
		if o.Kind == KindPlan {
			if _, _, err = d.engine.store.supersede(ctx, tx, d.id, d.change.Number, KindPlan, ""); err != nil {
				return err
			}
		}
		added, _, err := d.engine.store.addOperation(ctx, tx, o, runs)
		if err != nil {
			return err
		}
		o = added
		if o.Kind == KindPlan {
			if err := d.engine.store.setOperation(ctx, tx, d.id, d.change.Number, o.ID); err != nil {
				return err
			}
			if err := d.engine.store.setNotice(ctx, tx, d.id, d.change.Number, Notice{}); err != nil {
				return err
			}
		}
		_, err = d.engine.store.settle(ctx, tx, o.ID)
		return err
	})
	return o
}

// planned is the result of a plan, in the store.
func (d *desk) planned(name string) runner.Result {
	d.t.Helper()
	plan := readPlanText(d.t)
	receipt, err := d.plans.Put(d.t.Context(), planstore.Plan{Workspace: name, Fingerprint: "fp-" + name, Counts: planstore.Count(plan)},
		strings.NewReader("zip"), strings.NewReader(planText))
	if err != nil {
		d.t.Fatal(err)
	}
	return runner.Result{Status: runner.Planned, Receipt: receipt, Plan: plan}
}

// end has a run of the operation end so.
func (d *desk) end(o Operation, name string, res runner.Result) {
	d.t.Helper()
	d.endAs(o, name, res, statusOf(res.Status))
}

func (d *desk) endAs(o Operation, name string, res runner.Result, status Status) {
	d.t.Helper()
	res.Workspace = &workspaces.Workspace{Name: name, Dir: name, Apply: "on-merge"}
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		runs, err := d.engine.store.runsOf(ctx, tx, o.ID)
		if err != nil {
			return err
		}
		for _, r := range runs {
			if r.Workspace != name {
				continue
			}
			r, ok, err := d.engine.store.claimRun(ctx, tx, r.ID, d.engine.process)
			if err != nil || !ok {
				return fmt.Errorf("claim %s: %v, %w", name, ok, err)
			}
			if r.Result, err = sealResult(d.plans, r.ID, res); err != nil {
				return err
			}
			r.Plan, r.Fingerprint = res.Receipt.ID, res.Receipt.Fingerprint
			if _, err := d.engine.store.stepRun(ctx, tx, r, status); err != nil {
				return err
			}
		}
		_, err = d.engine.store.settle(ctx, tx, o.ID)
		return err
	})
}

func (d *desk) want(who Subject, urgent bool) {
	d.t.Helper()
	d.tx(func(ctx context.Context, tx *sql.Tx) error { return d.engine.store.wantReport(ctx, tx, who, urgent) })
}

// tell asks for a report and has it made. It reports whether it was told.
func (d *desk) tell() bool {
	d.t.Helper()
	return d.tellOf(d.subject())
}

func (d *desk) tellOf(who Subject) bool {
	d.t.Helper()
	d.want(who, true)
	if err := d.engine.workReport(d.t.Context(), who); err != nil {
		d.t.Fatal(err)
	}
	return !d.wanted(who)
}

func (d *desk) wanted(who Subject) bool {
	d.t.Helper()
	var wanted bool
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT wanted > told FROM report WHERE change_number = $1 AND operation = $2", who.Change, who.Operation).Scan(&wanted)
	})
	return wanted
}

// later moves the clock on, so that what was put off is due.
func (d *desk) later(by time.Duration) { d.ahead.Add(int64(by)) }

// pages are our comments that are not folded, without their marks.
func (d *desk) pages() []string {
	d.t.Helper()
	var pages []string
	unfolded := d.gh.CommentsOf(d.t, d.repo, d.change.Number)
	for _, c := range d.gh.Thread(d.t, d.repo, d.change.Number) {
		if c.Ours && slices.Contains(unfolded, c.Body) {
			pages = append(pages, c.Body)
		}
	}
	return pages
}

// one is our only comment, which holds all of the parts.
func (d *desk) one(parts ...string) string {
	d.t.Helper()
	pages := d.pages()
	if len(pages) != 1 {
		d.t.Fatalf("got %d comments, want 1:\n%s", len(pages), strings.Join(pages, "\n=====\n"))
	}
	d.holds(pages[0], parts...)
	return pages[0]
}

func (d *desk) holds(page string, parts ...string) {
	d.t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			d.t.Errorf("the comment lacks %q:\n%s", part, page)
		}
	}
}

func (d *desk) status(commit, name string, state forge.StatusState, words string) {
	d.t.Helper()
	got := d.gh.Statuses(d.t, d.repo, commit)[name]
	if got.State != state || got.Description != words {
		d.t.Errorf("status %s: got %s %q, want %s %q", name, got.State, got.Description, state, words)
	}
}

// safeLog is a log that several goroutines write to.
type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestPlanCommentOverItsLife(t *testing.T) {
	d := newDesk(t)
	head := d.change.Head.Commit
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network", "storage")
	if d.tell() || len(d.pages()) > 0 {
		t.Errorf("a comment was begun that has nothing to tell: %q; or nothing is to be told later", d.pages())
	}
	d.status(head, "plumbline", forge.Pending, "planning: 0 of 2 workspaces done")
	d.later(silence)
	d.tell()
	d.one("⏳ **Planning: 0 of 2 workspaces done**", "| `network` | ⏳ waiting |")

	d.end(o, "network", d.planned("network"))
	d.later(3 * time.Second)
	d.tell()
	d.one("1 of 2 workspaces done", "toy_bucket.logs", "(sensitive)", "| `storage` | ⏳ waiting |")
	d.status(head, "plumbline/network", forge.Success, "1 to add")
	d.status(head, "plumbline/storage", forge.Pending, "waiting")

	d.end(o, "storage", runner.Result{Status: runner.Unchanged})
	if !d.tell() {
		t.Error("the report is still wanted")
	}
	d.one("**Plan: 1 to add** in 1 of 2 workspaces", "Merging applies this.")
	d.status(head, "plumbline", forge.Success, "1 to add in 1 of 2 workspaces")
	d.status(head, "plumbline/storage", forge.Success, "no changes")
	var told Operation
	d.tx(func(ctx context.Context, tx *sql.Tx) (err error) {
		told, _, err = d.engine.store.operation(ctx, tx, o.ID)
		return err
	})
	if told.ToldAt.IsZero() {
		t.Error("the operation is not marked as told")
	}

	// A push: the same comment, and the old commit's statuses stay.
	d.gh.Commit(t, d.repo, "topic", "", map[string]string{"b.tf": "# b\n"})
	d.see(d.change.Number)
	o = d.begin(Operation{Kind: KindPlan, Cause: CausePushed, Notes: []string{"Planned again because #5 was applied."}}, "network")
	d.end(o, "network", runner.Result{Status: runner.Failed, Err: errors.New("no such region " + environSecret)})
	d.tell()
	page := d.one("❌ **Plan failed**", "no such region (redacted)", "Planned again because")
	d.status(d.change.Head.Commit, "plumbline", forge.Failure, "1 of 1 workspace not planned")
	d.status(head, "plumbline/storage", forge.Success, "no changes")

	// Told again, nothing is said that was said.
	before := d.writes.Load()
	d.tell()
	if n := d.writes.Load() - before; d.one() != page || n != 0 {
		t.Errorf("%d requests to say the same again", n)
	}
	if strings.Contains(d.log.String(), environSecret) {
		t.Error("the secret is in the log")
	}
}

func TestWorkspaceIsNotTouchedAnyMore(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network", "storage")
	d.end(o, "network", runner.Result{Status: runner.Failed, Err: errors.New("no")})
	d.tell()
	d.status(d.change.Head.Commit, "plumbline/storage", forge.Failure, "not started: what it depends on did not succeed")
	d.one("`network`, which it depends on, has failed")
	o = d.begin(Operation{Kind: KindPlan, Cause: CauseCommand, Actor: "alice"}, "network")
	d.end(o, "network", runner.Result{Status: runner.Unchanged})
	d.tell()
	d.status(d.change.Head.Commit, "plumbline/storage", forge.Success, "not touched any more")
	d.one("asked for by `alice`", "✅ **No changes**")

	// Many workspaces have no status each.
	names := make([]string, 30)
	for i := range names {
		names[i] = fmt.Sprintf("w%02d", i)
	}
	d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, names...)
	d.tell()
	if n := len(d.gh.Statuses(t, d.repo, d.change.Head.Commit)); n != 3 {
		t.Errorf("%d statuses, want those of the change and of what had one", n)
	}
}

func TestApplyComments(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network", "storage")
	network, storage := d.planned("network"), d.planned("storage")
	d.end(o, "network", network)
	d.end(o, "storage", storage)
	d.tell()
	commit := d.gh.Merge(t, d.repo, "alice", d.change.Number, forge.MergeCommit)
	d.see(d.change.Number)
	apply := d.begin(Operation{Kind: KindApply, Cause: CauseMerged, Commit: commit}, "network", "storage")
	d.later(silence)
	d.tell()
	pages := d.pages()
	if len(pages) != 2 {
		t.Fatalf("%d comments after the merge, want 2", len(pages))
	}
	d.holds(pages[0], "**Plan: 2 to add**")
	d.holds(pages[1], "### Apply after the merge into `main`", "⏳ **Applying: 0 of 2 workspaces done**")

	applied := network
	applied.Status = runner.Applied
	d.end(apply, "network", applied)
	if err := d.plans.Delete(t.Context(), network.Receipt.ID); err != nil { // as an apply does
		t.Fatal(err)
	}
	held := storage
	held.Status = runner.Held
	held.Hold = &runner.Hold{Reason: "The state has moved on. A new plan would not do what was reviewed.", Plan: otherPlan(t), Fingerprint: "fp-other"}
	d.end(apply, "storage", held)
	d.tell()
	pages = d.pages()
	if len(pages) != 2 {
		t.Fatalf("%d comments, want 2", len(pages))
	}
	d.holds(pages[1], "⏸️ **Applied in 1 of 2 workspaces**: 1 added (1 held)", "toy_bucket.logs", "How the new plan differs", "toy_bucket.other",
		"`plumbline apply -w storage` applies it")
	d.status(commit, "plumbline", forge.Failure, "1 of 2 workspaces held: see the comment")
	d.status(commit, "plumbline/network", forge.Success, "1 added")
	d.status(d.change.Head.Commit, "plumbline", forge.Failure, "1 of 2 workspaces held: see the comment")

	// Somebody accepts it: a new comment, and what is settled is folded away.
	accept := d.begin(Operation{Kind: KindApply, Cause: CauseCommand, Actor: "bob", Commit: commit}, "storage")
	applied = storage
	applied.Status, applied.Plan = runner.Applied, otherPlan(t)
	d.end(accept, "storage", applied)
	d.tell()
	d.one("✅ **Applied: 1 added**", "asked for by `bob`")
	d.status(commit, "plumbline", forge.Success, "2 added in 2 workspaces")
	d.status(d.change.Head.Commit, "plumbline", forge.Success, "2 added in 2 workspaces")
	before := d.writes.Load()
	d.tell()
	if n := d.writes.Load() - before; n != 0 {
		t.Errorf("%d requests to say and fold the same again", n)
	}
	if got := d.gh.Statuses(t, d.repo, commit)["plumbline"].URL; !strings.Contains(got, fmt.Sprintf("/pull/%d", d.change.Number)) {
		t.Errorf("the status leads to %q, want the comment", got)
	}
}

func otherPlan(t *testing.T) *tfjson.Plan {
	t.Helper()
	var plan tfjson.Plan
	if err := plan.UnmarshalJSON([]byte(strings.ReplaceAll(planText, "logs", "other"))); err != nil {
		t.Fatal(err)
	}
	return &plan
}

func TestInterruptedApplyAndWhatIsLeft(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.end(o, "network", d.planned("network"))
	d.tell()
	commit := d.gh.Merge(t, d.repo, "alice", d.change.Number, forge.Squash)
	d.see(d.change.Number)
	apply := d.begin(Operation{Kind: KindApply, Cause: CauseMerged, Commit: commit}, "network")
	d.endAs(apply, "network", runner.Result{Status: runner.Failed, Err: errors.New("the server died; the state went from serial 3 to 4")}, Interrupted)
	left := d.begin(Operation{Kind: KindPlan, Cause: CauseInterrupted, Commit: commit}, "network")
	d.end(left, "network", d.planned("network"))
	d.tell()
	pages := d.pages()
	if len(pages) != 3 {
		t.Fatalf("%d comments, want 3:\n%s", len(pages), strings.Join(pages, "\n=====\n"))
	}
	d.holds(pages[0], "**Plan: 1 to add**")
	d.holds(pages[1], "❌ **Apply interrupted**", "from serial 3 to 4", "`plumbline apply -w network` applies that")
	d.holds(pages[2], "### What is left to do after the interrupted apply", "Comment: `plumbline apply` applies it")
	d.status(commit, "plumbline", forge.Failure, "1 of 1 workspace not applied")

	again := d.begin(Operation{Kind: KindApply, Cause: CauseCommand, Actor: "bob", Commit: commit}, "network")
	d.end(again, "network", runner.Result{Status: runner.Unchanged})
	d.tell()
	d.one("✅ **Nothing to apply**")
	d.status(commit, "plumbline", forge.Success, "nothing to apply in 1 workspace")
}

func TestNotices(t *testing.T) {
	d := newDesk(t)
	notice := func(n Notice) {
		d.tx(func(ctx context.Context, tx *sql.Tx) error {
			if err := d.engine.store.setOperation(ctx, tx, d.id, d.change.Number, ""); err != nil {
				return err
			}
			return d.engine.store.setNotice(ctx, tx, d.id, d.change.Number, n)
		})
	}
	d.gh.SetDraft(t, d.repo, "alice", d.change.Number, true)
	d.see(d.change.Number)
	notice(Notice{Waits: "It is a draft.", State: forge.Pending, Short: "waits while it is a draft"})
	d.tell()
	if pages := d.pages(); len(pages) != 0 {
		t.Fatalf("a draft got a comment: %q", pages)
	}
	d.status(d.change.Head.Commit, "plumbline", forge.Pending, "waits while it is a draft")

	d.gh.SetDraft(t, d.repo, "alice", d.change.Number, false)
	d.see(d.change.Number)
	notice(Notice{Waits: "It conflicts with `main` in `a.tf`.", State: forge.Failure, Short: "conflicts with main", Notes: []string{"ping @octocat"}})
	d.tell()
	page := d.one("⏸️ **Nothing is planned**: It conflicts with `main` in `a.tf`.")
	if strings.Contains(page, "@octocat") {
		t.Errorf("the notice mentions somebody:\n%s", page)
	}
	d.status(d.change.Head.Commit, "plumbline", forge.Failure, "conflicts with main")

	o := d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, "network")
	d.tell()
	d.one("⏳ **Planning")
	d.gh.Close(t, d.repo, "alice", d.change.Number)
	d.see(d.change.Number)
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		_, _, err := d.engine.store.supersede(ctx, tx, d.id, d.change.Number, "", "")
		return err
	})
	d.tell()
	d.one("⏸️ **Planning has stopped**: The pull request was closed")
	_ = o
}

func TestChangesThatNothingIsDoneFor(t *testing.T) {
	d := newDesk(t)
	none := Notice{Waits: "This touches no workspace.", State: forge.Success, Short: "touches no workspace"}
	notice := func(n Notice) {
		d.tx(func(ctx context.Context, tx *sql.Tx) error {
			return d.engine.store.setNotice(ctx, tx, d.id, d.change.Number, n)
		})
	}
	d.begin(Operation{Kind: KindPlan, Cause: CauseOpened})
	notice(none)
	d.tell()
	if pages := d.pages(); len(pages) != 0 {
		t.Errorf("a comment on a change that touches no workspace: %q", pages)
	}
	d.status(d.change.Head.Commit, "plumbline", forge.Success, "no workspace is touched")

	o := d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, "network")
	d.end(o, "network", d.planned("network"))
	d.tell()
	d.begin(Operation{Kind: KindPlan, Cause: CausePushed})
	notice(none)
	d.tell()
	d.one("✅ **No workspace is affected.**") // what was shown before is not left standing

	d.gh.Merge(t, d.repo, "alice", d.change.Number, forge.MergeCommit)
	d.see(d.change.Number)
	notice(Notice{Along: "Its commits came to `main` with #7, and are applied there."})
	d.tell()
	if pages := d.pages(); len(pages) != 2 || !strings.Contains(pages[1], "⏸️ **Nothing is applied**: Its commits came to `main` with") {
		t.Errorf("got %q", pages)
	}
}

func TestUnlockIsAnsweredOnce(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindUnlock, Cause: CauseCommand, Actor: "alice"}, "network")
	d.endAs(o, "network", runner.Result{Status: runner.Unchanged, Notes: []string{"The lock was of `plumbline@old`."}}, Released)
	d.tell()
	d.tell()
	d.one("🔓 **State lock of `network` released**", "The lock was of `plumbline@old`.", "asked for by `alice`")
}

func TestPushWithoutAChangeHasStatusesOnly(t *testing.T) {
	d := newDesk(t)
	commit := d.gh.Commit(t, d.repo, "main", "", map[string]string{"c.tf": "# c\n"})
	var o Operation
	d.tx(func(ctx context.Context, tx *sql.Tx) (err error) {
		o, _, err = d.engine.store.addOperation(ctx, tx, Operation{Repository: d.id, Kind: KindApply, Cause: CausePush, Branch: "main", Commit: commit},
			[]Run{{Workspace: "network", Dir: "network"}})
		if err == nil {
			_, err = d.engine.store.settle(ctx, tx, o.ID)
		}
		return err
	})
	d.end(o, "network", runner.Result{Status: runner.Held, Hold: &runner.Hold{Reason: "Nobody has reviewed it."}})
	if !d.tellOf(Subject{Repository: d.id, Operation: o.ID}) {
		t.Error("the report is still wanted")
	}
	d.status(commit, "plumbline", forge.Failure, "unapplied: 1 of 1 workspace held for the next pull request there")
	d.status(commit, "plumbline/network", forge.Failure, "unapplied: held for the next pull request that touches it")
	if pages := d.pages(); len(pages) != 0 {
		t.Errorf("a comment on a change that it has nothing to do with: %q", pages)
	}
}

// TestCommentThatWasPostedAndNotWrittenDown is a process that dies between the post and the row: the request was served,
// and nobody heard the answer.
func TestCommentThatWasPostedAndNotWrittenDown(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.end(o, "network", d.planned("network"))
	d.gh.Break(forgetest.Fault{Method: http.MethodPost, Path: "/comments", Times: 1, Lose: true})
	if d.tell() {
		t.Fatal("the report counts as told though nobody heard the forge's answer")
	}
	d.engine = d.start() // the next process; its sweeper knows that the first one is dead
	d.later(time.Minute)
	if !d.tell() {
		t.Error("the report is still wanted")
	}
	d.one("**Plan: 1 to add**")

	// A reply too.
	d.gh.Break(forgetest.Fault{Method: http.MethodPost, Path: "/comments", Times: 1, Lose: true})
	r := prcomment.Reply{To: "mallory", Command: "plumbline apply", Refused: true, Says: "you may only read " + environSecret}
	if err := d.engine.reply(t.Context(), d.id, d.change.Number, "17", r); err == nil {
		t.Error("the reply counts as given though nobody heard the forge's answer")
	}
	for range 2 {
		if err := d.engine.reply(t.Context(), d.id, d.change.Number, "17", r); err != nil {
			t.Fatal(err)
		}
	}
	pages := d.pages()
	if len(pages) != 2 || !strings.Contains(pages[1], "⛔ `plumbline apply` by `mallory` is refused: you may only read (redacted)") {
		t.Errorf("got %q", pages)
	}
}

func TestForgeIsDownAndComesBack(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.end(o, "network", d.planned("network"))
	mend := d.gh.Break(forgetest.Fault{Status: http.StatusBadGateway})
	for range 3 {
		if d.tell() {
			t.Fatal("told a forge that is down")
		}
		d.later(5 * time.Minute)
	}
	mend()
	if got := strings.Count(d.log.String(), "report put off"); got != 1 {
		t.Errorf("the same trouble was logged %d times, want once:\n%s", got, d.log)
	}
	d.later(5 * time.Minute)
	if !d.tell() {
		t.Error("the report is still wanted")
	}
	d.one("**Plan: 1 to add**")

	// What is not allowed is tried again, but not soon.
	o = d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, "network")
	mend = d.gh.Break(forgetest.Fault{Path: "/comments", Status: http.StatusForbidden, Body: `{"message": "Unable to create comment because issue is locked."}`})
	d.tell()
	d.later(20 * time.Second)
	d.tell()
	mend()
	d.later(20 * time.Second)
	if d.tell() {
		t.Error("tried again after seconds")
	}
	d.status(d.change.Head.Commit, "plumbline", forge.Pending, "planning: 0 of 1 workspace done") // these are taken all the same
	d.later(longestRetry)
	if !d.tell() {
		t.Error("not tried again")
	}
	d.end(o, "network", d.planned("network"))
	d.gh.SetLimit(0, time.Now().Add(5*time.Minute))
	d.tell()
	d.gh.SetLimit(5000, time.Now().Add(time.Hour))
	d.later(time.Minute)
	if d.tell() {
		t.Error("tried again before the rate limit was over")
	}
	d.later(5 * time.Minute)
	d.engine = d.start() // the client keeps to what it was told
	if !d.tell() {
		t.Error("not tried again after the rate limit")
	}
	d.one("**Plan: 1 to add**")
}

func TestFloodOfWantsIsPutTogether(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network", "storage")
	d.tell()
	before := d.writes.Load()
	d.end(o, "network", d.planned("network"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if err := d.db.Tx(t.Context(), func(tx *sql.Tx) error {
					return d.engine.store.wantReport(t.Context(), tx, d.subject(), false)
				}); err != nil {
					t.Error(err)
				}
				if err := d.engine.workReport(t.Context(), d.subject()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d.later(3 * time.Second)
	if err := d.engine.workReport(t.Context(), d.subject()); err != nil {
		t.Fatal(err)
	}
	if d.wanted(d.subject()) {
		t.Error("something is left to tell")
	}
	d.one("1 of 2 workspaces done")
	// An edit and three statuses; should the flood have lasted for more than two seconds, the same again would be nothing.
	if got := d.writes.Load() - before; got > 4 {
		t.Errorf("%d requests for 200 wants", got)
	}
}

func TestTwoEnginesTellOnce(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.end(o, "network", d.planned("network"))
	engines := []*Engine{d.engine, d.start(), d.start()}
	d.gh.Break(forgetest.Fault{Method: http.MethodPost, Path: "/comments", Delay: 200 * time.Millisecond})
	var wg sync.WaitGroup
	for _, e := range engines {
		wg.Go(func() {
			for range 5 {
				if err := d.db.Tx(t.Context(), func(tx *sql.Tx) error { return e.store.wantReport(t.Context(), tx, d.subject(), true) }); err != nil {
					t.Error(err)
				}
				if err := e.workReport(t.Context(), d.subject()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d.one("**Plan: 1 to add**")
}

func TestProcessThatWasTakenForDeadPostsNothing(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.end(o, "network", d.planned("network"))
	d.want(d.subject(), true)
	// It has listed the comments, and is slow to go on: another process has its work meanwhile, and does it.
	other := d.start()
	var reads atomic.Int64
	d.onRead = func() {
		if reads.Add(1) > 1 {
			return
		}
		d.tx(func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE report SET owner = '' WHERE owner = $1", d.engine.process)
			return err
		})
		if err := other.workReport(t.Context(), d.subject()); err != nil {
			t.Error(err)
		}
	}
	if err := d.engine.workReport(t.Context(), d.subject()); !errors.Is(err, errTaken) {
		t.Errorf("got %v, want that the report was taken", err)
	}
	d.one("**Plan: 1 to add**")
}

func TestCommentsOfOthersAndLostOnes(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.end(o, "network", d.planned("network"))
	// Somebody else's comment looks like ours.
	fake := prcomment.Mark{Kind: prcomment.KindPlan, Key: keyPlan, Page: 1, Pages: 1}.String() + "\n✅ **No changes**\n"
	d.gh.Comment(t, d.repo, "mallory", d.change.Number, fake)
	d.tell()
	page := d.one("**Plan: 1 to add**")
	if thread := d.gh.Thread(t, d.repo, d.change.Number); len(thread) != 2 || thread[0].Body != fake {
		t.Errorf("the stranger's comment was touched: %+v", thread)
	}
	// Ours is edited by somebody, and later deleted.
	ours := func() string {
		for _, c := range d.gh.Thread(t, d.repo, d.change.Number) {
			if c.Ours {
				return c.ID
			}
		}
		t.Fatal("no comment of ours")
		return ""
	}
	d.gh.EditComment(t, d.repo, "mallory", ours(), "✅ **No changes**, trust me")
	d.tell()
	if d.one() != page {
		t.Error("the edited comment was not put right")
	}
	d.gh.DeleteComment(t, d.repo, "mallory", ours())
	d.tell()
	if d.one() != page {
		t.Error("the deleted comment did not come back as it was")
	}
	d.gh.DeleteComment(t, d.repo, "mallory", ours())
	d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, "network")
	d.tell()
	d.one("⏳ **Planning")
}

func TestPagesComeAndGo(t *testing.T) {
	d := newDesk(t)
	large := func(lines int) runner.Result {
		var b strings.Builder
		for i := range lines {
			fmt.Fprintf(&b, "canary-free line %d of something long enough to fill a page before long\n", i)
		}
		var changes []string
		for i := range 4 {
			changes = append(changes, fmt.Sprintf(`{"address": "toy_bucket.b%d", "mode": "managed", "type": "toy_bucket", "name": "b%d", "change": {"actions": ["create"],
				"before": null, "after": {"text": %q}, "after_unknown": {}, "before_sensitive": {}, "after_sensitive": {}}}`, i, i, b.String()))
		}
		text := `{"format_version": "1.2", "resource_changes": [` + strings.Join(changes, ",") + `]}`
		receipt, err := d.plans.Put(t.Context(), planstore.Plan{Workspace: "network"}, strings.NewReader("zip"), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return runner.Result{Status: runner.Planned, Receipt: receipt}
	}
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network")
	d.end(o, "network", large(1000))
	d.tell()
	many := len(d.pages())
	if many < 2 {
		t.Fatalf("%d pages, want more", many)
	}
	o = d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, "network")
	d.tell()
	if pages := d.pages(); len(pages) != many || !strings.Contains(pages[1], "is being made anew") {
		t.Errorf("%d pages while it is planned again, want %d, the second empty", len(pages), many)
	}
	d.end(o, "network", large(1000))
	d.tell()
	if pages := d.pages(); len(pages) != many || strings.Contains(strings.Join(pages, ""), "is being made anew") {
		t.Errorf("%d pages, want %d full ones", len(pages), many)
	}
	o = d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, "network")
	d.end(o, "network", large(1))
	d.tell()
	d.one("**Plan: 4 to add**")
	o = d.begin(Operation{Kind: KindPlan, Cause: CausePushed}, "network")
	d.end(o, "network", large(1000))
	d.tell()
	if pages := d.pages(); len(pages) != many {
		t.Errorf("%d pages, want %d again", len(pages), many)
	}
}

// TestSecretsGoNowhere puts canaries where secrets come from, and looks for them wherever a report leaves something.
func TestSecretsGoNowhere(t *testing.T) {
	d := newDesk(t)
	o := d.begin(Operation{Kind: KindPlan, Cause: CauseOpened}, "network", "storage")
	d.end(o, "network", d.planned("network"))
	d.end(o, "storage", runner.Result{Status: runner.Failed, Err: errors.New("Error: token " + environSecret + " was refused"), Notes: []string{environSecret}})
	d.gh.Break(forgetest.Fault{Method: http.MethodPost, Times: 1, Status: http.StatusInternalServerError, Body: `{"message": "cannot parse ` + environSecret + `"}`})
	d.tell()
	d.later(time.Minute)
	d.tell()
	d.one("(redacted)", "(sensitive)")
	commit := d.gh.Merge(t, d.repo, "alice", d.change.Number, forge.MergeCommit)
	d.see(d.change.Number)
	apply := d.begin(Operation{Kind: KindApply, Cause: CauseMerged, Commit: commit}, "network")
	res := d.planned("network")
	res.Status, res.Hold = runner.Held, &runner.Hold{Reason: "It saw " + environSecret + ".", Plan: otherPlan(t)}
	d.end(apply, "network", res)
	d.tell()

	places := map[string]string{"the log": d.log.String(), "comments": strings.Join(d.pages(), "\n")}
	for _, c := range []string{commit, d.change.Head.Commit} {
		places["statuses of "+c] = fmt.Sprint(d.gh.Statuses(t, d.repo, c))
	}
	places["the database"] = SuiteText(t, d.db, d.dir)
	for where, text := range places {
		for _, canary := range []string{"canary-of-a-plan", environSecret} {
			if strings.Contains(text, canary) {
				t.Errorf("%s shows %s", where, canary)
			}
		}
	}
}
