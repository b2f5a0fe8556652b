package engine

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// docket is where events are decided: a forge with a repository, and engines that work events when the test says so. Nothing
// runs Terraform: the test says how runs end.
type docket struct {
	*testing.T
	hub     *forgetest.GitHub
	repo    forge.Repo
	id      RepoID
	engines []*Engine
	passed  atomic.Int64 // how far the engines' clocks are ahead
	taken   int          // deliveries that were handed over
	unshown bool         // no comment shows how plans end
}

// docketFiles are a repository of three workspaces: app depends on network.
func docketFiles() map[string]string {
	return map[string]string{
		"plumbline.yaml":   "workspaces:\n  - dir: app\n    depends_on: [network]\n",
		"network/main.tf":  "resource \"terraform_data\" \"a\" {\n  input = \"1\"\n}\n",
		"app/main.tf":      "resource \"terraform_data\" \"b\" {\n  input = \"1\"\n}\n",
		"database/main.tf": "resource \"terraform_data\" \"c\" {\n  input = \"1\"\n}\n",
		"README.md":        "# live\n",
	}
}

// bump is a new content of a workspace's file.
func bump(workspace, version string) map[string]string {
	return map[string]string{workspace + "/main.tf": fmt.Sprintf("resource \"terraform_data\" \"x\" {\n  input = %q\n}\n", version)}
}

func newDocket(t *testing.T, engines int, files map[string]string, tune func(*ForgeOptions)) *docket {
	t.Helper()
	t.Parallel()
	d := &docket{T: t, hub: forgetest.StartGitHub(t)}
	d.repo = d.hub.NewRepo(t)
	d.id = RepoID("hub/" + d.repo.String())
	for _, login := range []string{"alice", "bob", "carol"} {
		d.hub.Grant(t, d.repo, login, forge.Write)
	}
	d.hub.Grant(t, d.repo, "mallory", forge.Read)
	d.hub.Commit(t, d.repo, "main", "", files)
	d.taken = len(d.hub.Deliveries(t, d.repo))
	shared, url := t.TempDir(), SuiteURL(t)
	for range engines {
		db, err := database.Open(t.Context(), database.Options{URL: url, DataDir: shared})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		log, err := audit.New(audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		client, err := github.New(github.Options{URL: d.hub.URL, Token: d.hub.Token, WebhookSecret: d.hub.WebhookSecret})
		if err != nil {
			t.Fatal(err)
		}
		options := ForgeOptions{Name: "hub", Client: client, Repos: []string{"acme/*"}}
		if tune != nil {
			tune(&options)
		}
		e, err := New(Options{
			DB: db, Audit: log, DataDir: t.TempDir(), Forges: []ForgeOptions{options}, Environ: os.Environ(),
			Plans: func(repository string) (*planstore.Store, error) {
				return planstore.Open(context.Background(), planstore.Options{
					Location: filepath.Join(shared, "plans"), KeyFile: filepath.Join(shared, "key"), Repository: repository,
				})
			},
			Installer: terraform.NewInstaller(terraform.InstallerOptions{CacheDir: t.TempDir()}),
			Log:       slog.New(slog.NewTextHandler(io.Discard, nil)),
			Now:       func() time.Time { return time.Now().Add(time.Duration(d.passed.Load())) },
		})
		if err != nil {
			t.Fatal(err)
		}
		d.engines = append(d.engines, e)
	}
	return d
}

// nextSecond waits until forges, whose times are in whole seconds, can tell what comes now from what was before.
func nextSecond() {
	for second := time.Now().Unix(); time.Now().Unix() == second; {
		time.Sleep(20 * time.Millisecond)
	}
}

func (d *docket) pass(by time.Duration) { d.passed.Add(int64(by)) }

// deliver hands the webhooks that were sent since the last time to the engines, in turn.
func (d *docket) deliver() {
	d.Helper()
	all := d.hub.Deliveries(d.T, d.repo)
	for i, w := range all[d.taken:] {
		if _, err := d.engines[i%len(d.engines)].Receive(d.Context(), "hub", w.Header, w.Body); err != nil {
			d.Fatal(err)
		}
	}
	d.taken = len(all)
}

// drain works all events that wait and are due, by all engines at once, and what follows from operations that ended.
func (d *docket) drain() {
	d.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		var keys, ends []string
		e := d.engines[0]
		d.read(func(tx *sql.Tx) (err error) {
			if keys, err = e.store.dueEvents(d.Context(), tx, 100); err == nil {
				ends, err = e.store.dueFinishes(d.Context(), tx, 100)
			}
			return err
		})
		if len(keys)+len(ends) == 0 {
			return
		}
		if time.Now().After(deadline) {
			d.Fatalf("these events are never done: %q %q: %v", keys, ends, d.problems())
		}
		var wg sync.WaitGroup
		for _, e := range d.engines {
			wg.Go(func() {
				for _, key := range keys {
					if _, err := e.workEvent(d.Context(), key); err != nil {
						d.Errorf("work %s: %v", key, err)
					}
				}
				for _, op := range ends {
					if err := e.workFinish(d.Context(), op); err != nil {
						d.Errorf("finish %s: %v", op, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// settled delivers and drains, and then lets the time pass after which a push counts as one without a change.
func (d *docket) settled() {
	d.Helper()
	d.deliver()
	d.drain()
	d.pass(settleFor + time.Second)
	d.drain()
}

func (d *docket) problems() (all []string) {
	d.read(func(tx *sql.Tx) (err error) {
		all, err = list(d.Context(), tx, scanText, "SELECT key || ' (' || status || '): ' || problem FROM event WHERE problem <> ''")
		return err
	})
	return all
}

func (d *docket) read(fn func(tx *sql.Tx) error) {
	d.Helper()
	if err := d.engines[0].DB.Read(d.Context(), fn); err != nil {
		d.Fatal(err)
	}
}

func (d *docket) row(number int) (row ChangeRow) {
	d.Helper()
	d.read(func(tx *sql.Tx) error {
		var known bool
		var err error
		if row, known, err = d.engines[0].store.change(d.Context(), tx, d.id, number); err == nil && !known {
			err = fmt.Errorf("change %d has no row", number)
		}
		return err
	})
	return row
}

// operations are those of a change and kind, oldest first, with their runs by workspace.
func (d *docket) operations(number int, kind Kind) (ops []Operation, runs []map[string]Run) {
	d.Helper()
	d.read(func(tx *sql.Tx) (err error) {
		if ops, err = d.engines[0].store.operations(d.Context(), tx, d.id, number, kind); err != nil {
			return err
		}
		runs = nil
		for _, op := range ops {
			all, err := d.engines[0].store.runsOf(d.Context(), tx, op.ID)
			if err != nil {
				return err
			}
			byName := map[string]Run{}
			for _, r := range all {
				byName[r.Workspace] = r
			}
			runs = append(runs, byName)
		}
		return nil
	})
	return ops, runs
}

// last is the newest operation of a change and kind.
func (d *docket) last(number int, kind Kind) (Operation, map[string]Run) {
	d.Helper()
	ops, runs := d.operations(number, kind)
	if len(ops) == 0 {
		d.Fatalf("change %d has no %s operation; notice: %+v; events: %q", number, kind, d.row(number).Notice, d.problems())
	}
	return ops[len(ops)-1], runs[len(runs)-1]
}

// end ends a queued run as a worker would, with a plan whose id and fingerprint tell which run made it, and has that shown
// long ago.
func (d *docket) end(r Run, status Status) Run {
	d.Helper()
	e := d.engines[0]
	plans, err := e.Plans(string(d.id))
	if err != nil {
		d.Fatal(err)
	}
	result, err := sealResult(plans, r.ID, runner.Result{
		Workspace: &workspaces.Workspace{Name: r.Workspace, Dir: r.Dir}, Status: runner.Status(status), Notes: []string{"of run " + r.ID},
	})
	if err != nil {
		d.Fatal(err)
	}
	err = e.DB.Tx(d.Context(), func(tx *sql.Tx) error {
		claimed, ok, err := e.store.claimRun(d.Context(), tx, r.ID, e.process)
		if err != nil || !ok {
			return fmt.Errorf("claim %s (%s): %v, %w", r.Workspace, r.Status, ok, err)
		}
		claimed.Result = result
		if status == Planned || status == Held {
			claimed.Plan, claimed.Fingerprint = "plan-"+r.ID, "print-"+r.ID
		}
		if r, err = e.store.stepRun(d.Context(), tx, claimed, status); err != nil {
			return err
		}
		if !d.unshown {
			if err := e.store.noteShown(d.Context(), tx, []string{r.ID}, time.Now().Add(-time.Hour)); err != nil {
				return err
			}
		}
		return e.settle(d.Context(), tx, r.Operation)
	})
	if err != nil {
		d.Fatal(err)
	}
	return r
}

// endAll ends the runs of the newest operation of a change and kind as they become ready, all alike.
func (d *docket) endAll(number int, kind Kind, status Status) map[string]Run {
	d.Helper()
	for {
		_, runs := d.last(number, kind)
		again := false
		for _, r := range runs {
			if r.Status == Queued {
				d.end(r, status)
				again = true
			}
		}
		if !again {
			d.drain()
			_, runs = d.last(number, kind)
			return runs
		}
	}
}

// open opens a change with the files on a branch of its own.
func (d *docket) open(author, branch string, files map[string]string) int {
	d.Helper()
	d.hub.Commit(d.T, d.repo, branch, "main", files)
	return d.hub.Open(d.T, d.repo, author, branch, "main", "Change "+branch, false)
}

// opened opens a change and has it planned: each of its runs ends with changes.
func (d *docket) opened(author, branch string, files map[string]string) int {
	d.Helper()
	number := d.open(author, branch, files)
	d.deliver()
	d.drain()
	d.endAll(number, KindPlan, Planned)
	return number
}

// merge merges a change and decides what follows.
func (d *docket) merge(number int, method forge.MergeMethod) string {
	d.Helper()
	commit := d.hub.Merge(d.T, d.repo, "alice", number, method)
	d.settled()
	return commit
}

// say comments and returns the comment's id.
func (d *docket) say(login string, number int, body string) string {
	d.Helper()
	id := d.hub.Comment(d.T, d.repo, login, number, body)
	d.deliver()
	d.drain()
	return id
}

// posted has the plans and applies of a change that have ended be in comments since then; a time of zero for in none.
func (d *docket) posted(number int, at time.Time) {
	d.Helper()
	e := d.engines[0]
	if err := e.DB.Tx(d.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(d.Context(), `UPDATE run SET shown_at = $1 WHERE ended_at > 0 AND operation IN (SELECT id FROM operation WHERE repository = $2 AND change_number = $3)`,
			millis(at), string(d.id), number)
		return err
	}); err != nil {
		d.Fatal(err)
	}
}

// replies are our comments on a change.
func (d *docket) replies(number int) []string {
	d.Helper()
	return slices.DeleteFunc(d.hub.CommentsOf(d.T, d.repo, number), func(body string) bool { return !strings.HasPrefix(body, "<!-- plumbline:") })
}

// entries are the audit log, oldest first, as "actor action workspace allowed".
func (d *docket) entries(f audit.Filter) (all []audit.Entry) {
	d.Helper()
	d.read(func(tx *sql.Tx) (err error) {
		all, err = d.engines[0].Audit.List(d.Context(), tx, f)
		return err
	})
	slices.Reverse(all)
	return all
}

func statuses(runs map[string]Run) string {
	var all []string
	for name, r := range runs {
		all = append(all, name+":"+string(r.Status))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (d *docket) want(what string, got, want any) {
	d.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestOpenedIsPlanned(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	number := d.open("alice", "more", bump("network", "2"))
	d.deliver()
	d.drain()
	op, runs := d.last(number, KindPlan)
	d.want("runs", statuses(runs), "network:queued")
	d.want("cause", op.Cause, CauseOpened)
	row := d.row(number)
	if op.HeadCommit != row.Head.Commit || row.Operation != op.ID || op.Branch != "main" {
		t.Errorf("operation %+v of change %+v", op, row)
	}

	// The same webhooks once more, and a review, change nothing.
	d.taken = 0
	d.hub.Approve(t, d.repo, "bob", number)
	d.deliver()
	d.drain()
	if ops, _ := d.operations(number, KindPlan); len(ops) != 1 {
		t.Errorf("%d operations after a redelivery, want 1", len(ops))
	}

	// A push supersedes, and main has moved meanwhile: what is planned holds both.
	d.hub.Commit(t, d.repo, "main", "", map[string]string{"notes.txt": "x"})
	d.hub.Commit(t, d.repo, "more", "", bump("app", "2"))
	d.settled()
	ops, all := d.operations(number, KindPlan)
	if len(ops) != 2 {
		t.Fatalf("%d operations after a push, want 2: %q", len(ops), d.problems())
	}
	d.want("the older one", ops[0].Status, OperationSuperseded)
	d.want("its runs", statuses(all[0]), "network:superseded")
	d.want("the newer one's runs", statuses(all[1]), "app:queued network:queued")
	d.want("its cause", ops[1].Cause, CausePushed)
	if ops[1].Commit == ops[1].HeadCommit || ops[1].BaseCommit == ops[0].BaseCommit {
		t.Errorf("it is not planned on the merge: %+v", ops[1])
	}
	entries := d.entries(audit.Filter{Change: int64(number)})
	if len(entries) != 2 || !entries[0].Allowed || entries[0].Actor != "alice" || entries[0].Action != "plan" {
		t.Errorf("audit: %+v", entries)
	}
}

// TestNotPlanned opens changes that are not planned, reads why, and takes the reason away.
func TestNotPlanned(t *testing.T) {
	files := docketFiles()
	files["plumbline.yaml"] = "drafts: wait\n" + files["plumbline.yaml"]
	d := newDocket(t, 1, files, nil)

	conflict := d.open("alice", "conflict", bump("network", "left"))
	d.hub.Commit(t, d.repo, "main", "", bump("network", "right"))
	d.hub.Commit(t, d.repo, "draft", "main", bump("app", "2"))
	draft := d.hub.Open(t, d.repo, "alice", "draft", "main", "Draft", true)
	broken := d.open("alice", "broken", map[string]string{"plumbline.yaml": "aply: never\nworkspaces:\n  - dir: [\n"})
	nothing := d.open("alice", "nothing", map[string]string{"README.md": "# more\n"})
	fork := d.hub.Fork(t, d.repo, "mallory")
	d.hub.Commit(t, fork, "evil", "main", bump("app", "evil"))
	forked := d.hub.Open(t, d.repo, "mallory", "mallory:evil", "main", "Evil", false)
	d.settled()

	for _, c := range []struct {
		name   string
		number int
		state  forge.StatusState
		parts  []string
	}{
		{"conflict", conflict, forge.Failure, []string{"`network/main.tf`", "conflicts with `main`"}},
		{"draft", draft, forge.Pending, []string{"draft"}},
		{"broken", broken, forge.Failure, []string{"plumbline.yaml:"}},
		{"nothing", nothing, forge.Success, []string{"touches no workspace"}},
		{"fork", forked, forge.Failure, []string{"fork", "trust_forks", "plumbline plan"}},
	} {
		n := d.row(c.number).Notice
		if n.State != c.state || n.Short == "" {
			t.Errorf("%s: notice %+v, want %s", c.name, n, c.state)
		}
		for _, part := range c.parts {
			if !strings.Contains(n.Waits, part) {
				t.Errorf("%s: notice %q, want %q in it", c.name, n.Waits, part)
			}
		}
		ops, runs := d.operations(c.number, KindPlan)
		if len(ops) > 0 && len(runs[0]) > 0 {
			t.Errorf("%s: it has runs: %v", c.name, runs)
		}
	}

	// Nobody can have a fork planned by a comment.
	said := d.say("alice", forked, "plumbline plan")
	if ops, _ := d.operations(forked, KindPlan); len(ops) > 0 {
		t.Error("a comment has a fork planned")
	}
	if got := d.hub.ReactionsTo(t, d.repo, said); !slices.Contains(got, string(forge.Refused)) {
		t.Errorf("reactions to it: %q", got)
	}
	d.want("replies to it", len(d.replies(forked)), 1)

	d.hub.Reset(t, d.repo, "conflict", d.hub.Commit(t, d.repo, "fresh", "main", bump("network", "left")))
	d.hub.SetDraft(t, d.repo, "alice", draft, false)
	d.hub.Commit(t, d.repo, "broken", "", map[string]string{"plumbline.yaml": files["plumbline.yaml"], "app/main.tf": "# x\n"})
	d.settled()
	for number, want := range map[int]string{conflict: "network:queued", draft: "app:queued", broken: "app:queued"} {
		_, runs := d.last(number, KindPlan)
		d.want(fmt.Sprint("runs of ", number), statuses(runs), want)
		if n := d.row(number).Notice; n.Waits != "" {
			t.Errorf("notice of %d stays: %+v", number, n)
		}
	}
}

func TestForkIsPlannedWhenTrusted(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), func(o *ForgeOptions) { o.TrustForks = []string{"Mallory"} })
	fork := d.hub.Fork(t, d.repo, "mallory")
	d.hub.Commit(t, fork, "good", "main", bump("app", "2"))
	number := d.hub.Open(t, d.repo, "mallory", "mallory:good", "main", "Good", false)
	d.deliver()
	d.drain()
	_, runs := d.last(number, KindPlan)
	d.want("runs", statuses(runs), "app:queued")
}

// TestForgeFails has the forge answer nonsense for a while: nothing is lost.
func TestForgeFails(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	mend := d.hub.Break(forgetest.Fault{Path: "/pulls/", Status: 502})
	defer mend()
	number := d.open("alice", "more", bump("network", "2"))
	d.deliver()
	d.drain()
	d.read(func(tx *sql.Tx) error {
		if _, known, err := d.engines[0].store.change(d.Context(), tx, d.id, number); err != nil || known {
			t.Errorf("it is known already: %v, %v", known, err)
		}
		return nil
	})
	mend()
	d.pass(longestBackOff)
	d.drain()
	_, runs := d.last(number, KindPlan)
	d.want("runs", statuses(runs), "network:queued")
}

func TestJudgeAttempt(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	failed := fmt.Errorf("dial: refused")
	for _, c := range []struct {
		name     string
		attempts int
		age      time.Duration
		err      error
		want     afterwards
	}{
		{"done", 1, 0, nil, afterwards{Over: true}},
		{"first", 1, 0, failed, afterwards{At: now.Add(time.Second), Problem: "dial: refused"}},
		{"fourth", 4, 0, failed, afterwards{At: now.Add(8 * time.Second), Problem: "dial: refused"}},
		{"hundredth", 100, time.Hour, failed, afterwards{At: now.Add(longestBackOff), Problem: "dial: refused"}},
		{"a day later", 300, 25 * time.Hour, failed, afterwards{Over: true, Failed: true, GaveUp: true, Problem: "dial: refused"}},
		{"limit", 1, 0, &forge.RateLimitError{Doing: "x", Until: now.Add(7 * time.Minute)}, afterwards{At: now.Add(7 * time.Minute), Problem: "x: rate limit reached; try again after 2026-03-01T12:07:00Z"}},
		{"long limit", 1, 0, &forge.RateLimitError{Doing: "x", Until: now.Add(time.Hour)}, afterwards{At: now.Add(longestRetry), Problem: "x: rate limit reached; try again after 2026-03-01T13:00:00Z"}},
		{"gone", 1, 0, fmt.Errorf("read: %w", forge.ErrNotFound), afterwards{Over: true, Failed: true, Problem: "read: " + forge.ErrNotFound.Error()}},
		{"not ours", 1, 0, &overError{"archived"}, afterwards{Over: true, Problem: "archived"}},
		{"too early", 9, 0, &laterError{now.Add(2 * time.Second), "wait"}, afterwards{At: now.Add(2 * time.Second), Problem: "wait"}},
		{"raced", 9, 25 * time.Hour, errRaced, afterwards{At: now, Problem: errRaced.Error()}},
	} {
		if got := judgeAttempt(EventRow{Attempts: c.attempts, ReceivedAt: now.Add(-c.age)}, c.err, now); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestGivenUpIsTold lets a day pass over an event that cannot be worked.
func TestGivenUpIsTold(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	d.engines[0].Secrets = []string{"correct horse"}
	number := d.opened("alice", "more", bump("network", "2"))
	d.hub.Break(forgetest.Fault{Path: "/pulls/", Status: 500, Body: "correct horse"})
	d.hub.Commit(t, d.repo, "more", "", bump("network", "3"))
	d.deliver()
	d.drain()
	d.pass(giveUpAfter + time.Hour)
	d.drain()
	notes := strings.Join(d.row(number).Notice.Notes, "\n")
	if !strings.Contains(notes, "a day of attempts failed") || strings.Contains(notes, "correct horse") {
		t.Errorf("notes %q", notes)
	}
}

// TestHostileNames has branches, files and workspaces with names full of markup and shell.
func TestHostileNames(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	branch := "x`id`$(id)<!--&'--option"
	dir := "we|ird `$(touch pwned)` <img src=x> 日本"
	number := d.open("alice", branch, bump(dir, "2"))
	d.deliver()
	d.drain()
	_, runs := d.last(number, KindPlan)
	if len(runs) != 1 || runs[dir].Dir != dir {
		t.Errorf("runs %v", runs)
	}
	d.say("alice", number, "plumbline plan -w \"`$(id)` <!-- plumbline: -->\"")
	if replies := d.replies(number); len(replies) != 1 || strings.Count(replies[0], "<!--") != 1 {
		t.Errorf("replies %q", replies)
	}
	if bytes.Contains([]byte(fmt.Sprint(d.problems())), []byte("failed")) {
		t.Errorf("problems %q", d.problems())
	}
}
