package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
)

// pollWorld is an engine that does not run, a forge, and a clock that is ahead of the forge's by ahead.
type pollWorld struct {
	*testing.T
	g     *forgetest.GitHub
	repo  forge.Repo
	id    RepoID
	e     *Engine
	ahead time.Duration
}

func newPollWorld(t *testing.T, change func(*ForgeOptions)) *pollWorld {
	t.Helper()
	w := &pollWorld{T: t, g: forgetest.StartGitHub(t)}
	w.repo = w.g.NewRepo(t)
	w.id = RepoID("github/" + w.repo.String())
	w.e = w.engine(t.TempDir(), change)
	w.meet(w.repo)
	return w
}

func (w *pollWorld) engine(dir string, change func(*ForgeOptions)) *Engine {
	w.Helper()
	client, err := github.New(github.Options{URL: w.g.URL, Token: w.g.Token, WebhookSecret: w.g.WebhookSecret, Timeout: 20 * time.Second, MaxWait: time.Millisecond})
	if err != nil {
		w.Fatal(err)
	}
	f := ForgeOptions{Name: "github", Client: client, Repos: []string{"acme/*"}, Branches: []string{"release"}, Poll: time.Minute}
	if change != nil {
		change(&f)
	}
	db, err := database.Open(w.Context(), database.Options{URL: SuiteURL(w.T), DataDir: dir})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := db.Close(); err != nil {
			w.Error(err)
		}
	})
	log, err := audit.New(audit.Options{})
	if err != nil {
		w.Fatal(err)
	}
	e, err := New(Options{
		DB: db, Audit: log, DataDir: dir, Forges: []ForgeOptions{f},
		Installer: terraform.NewInstaller(terraform.InstallerOptions{}),
		Plans:     func(string) (*planstore.Store, error) { return nil, errors.New("no plans here") },
		Now:       func() time.Time { return time.Now().Add(w.ahead) },
	})
	if err != nil {
		w.Fatal(err)
	}
	return e
}

func (w *pollWorld) tx(fn func(tx *sql.Tx) error) {
	w.Helper()
	if err := w.e.DB.Tx(w.Context(), fn); err != nil {
		w.Fatal(err)
	}
}

func (w *pollWorld) meet(repo forge.Repo) {
	w.Helper()
	w.tx(func(tx *sql.Tx) error {
		return w.e.store.meetRepository(w.Context(), tx, "github", RepoID("github/"+repo.String()), repo)
	})
}

// poll looks once, when the next look is due.
func (w *pollWorld) poll() {
	w.Helper()
	w.ahead += 11 * time.Minute
	if err := w.e.workPoll(w.Context(), w.id); err != nil {
		w.Fatalf("poll: %v", err)
	}
}

func (w *pollWorld) row() (r Repository) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		r, _, err = w.e.store.repository(w.Context(), tx, w.id)
		return err
	})
	return r
}

// news returns what the events that wait tell of, sorted, and deals with them as the intake does: the rows then say what
// the forge says.
func (w *pollWorld) news() []string {
	w.Helper()
	var rows []EventRow
	w.tx(func(tx *sql.Tx) (err error) {
		rows, err = list(w.Context(), tx, scanEvent, "SELECT "+eventColumns+" FROM event WHERE status = 'waiting' ORDER BY received_at, key")
		return err
	})
	var told []string
	for _, row := range rows {
		ev := row.Event
		text := fmt.Sprintf("%s #%d", ev.Kind, ev.Change)
		switch ev.Kind {
		case forge.Pushed:
			text = "push " + ev.Ref
		case forge.Commented:
			text += " " + ev.Comment.Body
		}
		told = append(told, text)
		f, _ := w.e.forge("github")
		w.tx(func(tx *sql.Tx) error {
			if ev.Kind == forge.Pushed && ev.Before != "" {
				if _, err := w.e.store.moveBranch(w.Context(), tx, row.Repository, ev.Ref, ev.Before, ev.After); err != nil {
					return err
				}
			}
			if ev.Change > 0 {
				c, err := f.Client.Change(w.Context(), w.repo, ev.Change)
				if err != nil {
					return err
				}
				if _, err := w.e.store.putChange(w.Context(), tx, row.Repository, c); err != nil {
					return err
				}
			}
			return w.e.store.dropEvent(w.Context(), tx, row.Key, "")
		})
	}
	slices.Sort(told)
	return told
}

func (w *pollWorld) expect(when string, want ...string) {
	w.Helper()
	slices.Sort(want)
	if got := w.news(); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
		w.Errorf("%s:\n got %q\nwant %q", when, got, want)
	}
}

// open opens a change with a commit of its own.
func (w *pollWorld) open(branch, base string) int {
	w.Helper()
	w.g.Commit(w, w.repo, branch, base, map[string]string{branch + ".tf": "# " + branch + "\n"})
	return w.g.Open(w, w.repo, "ann", branch, base, "Change "+branch, false)
}

func (w *pollWorld) push(branch string) {
	w.Helper()
	w.g.Commit(w, w.repo, branch, branch, map[string]string{branch + ".tf": fmt.Sprintf("# %d\n", w.ahead)})
}

func TestFirstLook(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	w.g.Commit(t, w.repo, "release", "main", map[string]string{"r.tf": ""})
	over := w.open("over", "main")
	w.g.Merge(t, w.repo, "ann", over, forge.MergeCommit)
	dead := w.open("dead", "main")
	w.g.Close(t, w.repo, "ann", dead)
	one, two := w.open("one", "main"), w.open("two", "release")
	w.g.Comment(t, w.repo, "ann", one, "plumbline plan")

	w.poll()
	w.expect("first look", fmt.Sprintf("change-opened #%d", one), fmt.Sprintf("change-opened #%d", two), "push main")
	row := w.row()
	if row.DefaultBranch != "main" || row.CloneURL == "" || row.PolledAt.IsZero() || row.Problem != "" {
		t.Errorf("after the first look the repository's row is %+v", row)
	}
	var branches map[string]string
	w.tx(func(tx *sql.Tx) (err error) {
		branches, err = w.e.store.branches(t.Context(), tx, w.id)
		return err
	})
	if branches["main"] == "" || branches["release"] == "" || len(branches) != 2 {
		t.Errorf("branches are known up to %v, want main and release", branches)
	}
	for range 2 {
		w.poll()
		w.expect("another look though nothing happened")
	}
}

func TestPollSeesALife(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	w.poll()
	w.expect("empty", "push main")
	n := w.open("one", "main")
	w.poll()
	w.expect("opened", fmt.Sprintf("change-opened #%d", n))
	w.push("one")
	w.poll()
	w.expect("pushed", fmt.Sprintf("change-pushed #%d", n))
	w.g.SetDraft(t, w.repo, "ann", n, true)
	w.poll()
	w.expect("made a draft", fmt.Sprintf("change-pushed #%d", n))
	w.g.SetDraft(t, w.repo, "ann", n, false)
	w.g.Commit(t, w.repo, "release", "main", map[string]string{"r.tf": ""})
	w.g.Retarget(t, w.repo, "ann", n, "release")
	w.poll()
	w.expect("onto another branch", fmt.Sprintf("change-pushed #%d", n))
	w.push("release")
	w.poll()
	w.expect("its branch moved", "push release")
	w.g.Comment(t, w.repo, "ann", n, "looks good")
	w.g.Comment(t, w.repo, forgetest.Robot, n, "plumbline apply")
	id := w.g.Comment(t, w.repo, "ann", n, "> so be it\n\nplumbline plan -w one\n\nwith a secret below")
	w.poll()
	w.expect("comments", fmt.Sprintf("comment #%d plumbline plan -w one", n))
	w.poll()
	w.expect("comments again")
	time.Sleep(time.Second) // an edit is known by its second
	w.g.EditComment(t, w.repo, "ann", id, "plumbline apply")
	w.poll()
	w.expect("an edited comment", fmt.Sprintf("comment #%d plumbline apply", n))
	w.g.Close(t, w.repo, "ann", n)
	w.poll()
	w.expect("closed", fmt.Sprintf("change-closed #%d", n))
	w.g.Reopen(t, w.repo, "ann", n)
	w.poll()
	w.expect("reopened", fmt.Sprintf("change-opened #%d", n))
	w.g.Merge(t, w.repo, "ann", n, forge.Squash)
	w.poll()
	w.expect("merged", fmt.Sprintf("change-merged #%d", n), "push release")
	w.poll()
	w.expect("all over")
}

// TestOutageLosesNothing: whatever happened while the forge was out of reach is found afterwards.
func TestOutageLosesNothing(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	old := w.open("old", "main")
	w.poll()
	w.expect("before", fmt.Sprintf("change-opened #%d", old), "push main")

	mend := w.g.Break(forgetest.Fault{Drop: true})
	var waits []time.Duration
	for i := range 6 {
		if i == 3 {
			// Half-way each look begins well and breaks off.
			mend()
			mend = w.g.Break(forgetest.Fault{Path: "/issues/comments", Status: http.StatusBadGateway})
		}
		w.poll()
		waits = append(waits, w.row().PollAt.Sub(w.e.store.now()))
		w.expect("during the outage")
	}
	if waits[1] > 11*time.Minute || waits[0] > 2*time.Minute || waits[5] < 5*time.Minute {
		t.Errorf("between failing polls are %v, want from one to ten minutes", waits)
	}
	if row := w.row(); row.Problem == "" || row.PollFailures != 6 {
		t.Errorf("after six failures the row says %q after %d", row.Problem, row.PollFailures)
	}
	w.push("old")
	w.g.Comment(t, w.repo, "ann", old, "plumbline plan")
	quick := w.open("quick", "main")
	w.g.Merge(t, w.repo, "ann", quick, forge.Rebase)
	gone := w.open("gone", "main")
	w.g.Close(t, w.repo, "ann", gone)
	still := w.open("still", "main")
	mend()

	w.poll()
	w.expect("after the outage", fmt.Sprintf("change-pushed #%d", old), fmt.Sprintf("comment #%d plumbline plan", old),
		fmt.Sprintf("change-merged #%d", quick), "push main", fmt.Sprintf("change-opened #%d", still))
	if row := w.row(); row.Problem != "" || row.PollFailures != 0 {
		t.Errorf("after the outage the row still says %q after %d failures", row.Problem, row.PollFailures)
	}
}

// TestOneFactTwoWays: what a webhook told is not told again by the poller, before it was dealt with and after.
func TestOneFactTwoWays(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	w.poll()
	w.expect("first look", "push main")
	n := w.open("one", "main")
	w.g.Comment(t, w.repo, "ann", n, "plumbline plan")
	w.g.Merge(t, w.repo, "ann", n, forge.MergeCommit)
	accepted := 0
	for _, d := range w.g.Deliveries(t, w.repo) {
		for again := range 2 {
			r, err := w.e.Receive(t.Context(), "github", d.Header, d.Body)
			if err != nil {
				t.Fatal(err)
			}
			if again == 0 {
				accepted += r.Accepted
			} else if r.Accepted > 0 {
				t.Errorf("a redelivered webhook was accepted: %+v", r)
			}
		}
	}
	w.poll() // while all of it waits
	told := w.news()
	count := func(prefix string) (n int) {
		for _, s := range told {
			if strings.HasPrefix(s, prefix) {
				n++
			}
		}
		return n
	}
	if count("comment") != 1 || count("change-merged") != 1 || count("push main") != 1 {
		t.Errorf("of %d accepted webhooks and a look came %q, want each fact once", accepted, told)
	}
	w.poll()
	w.expect("dealt with")
}

func TestRateLimitIsHeeded(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	until := time.Now().Add(40 * time.Minute).Truncate(time.Second)
	w.g.SetLimit(0, until)
	w.poll()
	row := w.row()
	if row.PollAt.Before(until) || row.PollAt.After(until.Add(time.Minute)) || row.PollFailures != 0 || row.Problem != "" {
		t.Errorf("with a rate limit until %s the next poll is at %s, after %d failures: %q", until, row.PollAt, row.PollFailures, row.Problem)
	}
	w.expect("limited")
}

func TestRepositoryVanishes(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	w.poll()
	w.news()
	w.g.DeleteRepo(t, w.repo)
	w.poll()
	row := w.row()
	if !strings.Contains(row.Problem, "not found") || !row.PollAt.After(w.e.store.now()) {
		t.Errorf("of a repository that is gone the row says %q, next poll at %s", row.Problem, row.PollAt)
	}
	w.g.AddRepo(t, w.repo, false)
	w.poll()
	if row := w.row(); row.Problem != "" {
		t.Errorf("it is back, and the row still says %q", row.Problem)
	}
}

// TestBranchBackAndForth: the same move of a branch is another fact when it happens again.
func TestBranchBackAndForth(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	w.poll()
	w.expect("first look", "push main")
	var before string
	w.tx(func(tx *sql.Tx) (err error) {
		before, _, err = w.e.store.branch(t.Context(), tx, w.id, "main")
		return err
	})
	after := w.g.Commit(t, w.repo, "main", "main", map[string]string{"x.tf": ""})
	for range 2 {
		w.g.Reset(t, w.repo, "main", after)
		w.poll()
		w.poll()
		w.expect("forth", "push main")
		w.g.Reset(t, w.repo, "main", before)
		w.poll()
		w.poll()
		w.expect("back", "push main")
	}
}

func TestPollingIsOff(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, func(f *ForgeOptions) { f.Poll = 0 })
	n := w.open("one", "main")
	w.poll()
	w.expect("the first look is taken all the same", fmt.Sprintf("change-opened #%d", n), "push main")
	w.push("one")
	w.poll()
	w.expect("no second one")
	if row := w.row(); !row.PollAt.After(w.e.store.now()) {
		t.Error("a repository that is not polled stays due")
	}
}

// TestOldCommandsAreKnownAgain: a look sees the last comment of a quiet repository again and again, and where nobody polled
// for a long time also what came before. None of it is done once more because its event is old.
func TestOldCommandsAreKnownAgain(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	w.poll()
	n := w.open("one", "main")
	w.g.Comment(t, w.repo, "ann", n, "plumbline plan")
	time.Sleep(time.Second) // how far a look has seen is known by the second
	w.g.Comment(t, w.repo, "ann", n, "plumbline apply")
	w.poll()
	w.expect("two commands", "push main", fmt.Sprintf("change-opened #%d", n), fmt.Sprintf("comment #%d plumbline plan", n), fmt.Sprintf("comment #%d plumbline apply", n))
	w.ahead += 40 * 24 * time.Hour
	if err := w.e.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.poll()
	w.expect("quiet for forty days")
	if got := text(t, w.e, "SELECT payload FROM event WHERE kind = 'comment'"); !strings.Contains(got, "plumbline apply") || strings.Contains(got, "plumbline plan") {
		t.Errorf("kept of the comments is %s, want the last one", got)
	}
}

// TestStopGivesThePollBack: a look that is cut short is due at once, and says nothing bad of the repository.
func TestStopGivesThePollBack(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, nil)
	mend := w.g.Break(forgetest.Fault{Delay: time.Hour})
	defer mend()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(errStopping) })
	if err := w.e.workPoll(ctx, w.id); err != nil {
		t.Fatal(err)
	}
	mend()
	row := w.row()
	if row.Problem != "" || row.PollFailures != 0 || row.PollAt.After(w.e.store.now()) {
		t.Errorf("after a stop the row is %+v", row)
	}
	w.poll()
	w.expect("after the stop", "push main")
}

func TestAllowListIsExpanded(t *testing.T) {
	t.Parallel()
	w := newPollWorld(t, func(f *ForgeOptions) { f.Repos = []string{"ACME/live-*", "other/Here", "other/gone"} })
	w.g.AddRepo(t, forge.Repo{Owner: "other", Name: "here"}, true)
	w.g.AddRepo(t, forge.Repo{Owner: "other", Name: "hidden"}, true)
	second := w.g.NewRepo(t)
	f, _ := w.e.forge("github")
	if err := w.e.refused(); err == nil || !strings.Contains(err.Error(), "not been tried") {
		t.Errorf("before the credentials were tried the forge is %v", err)
	}
	if err := w.e.expand(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if err := w.e.refused(); err != nil {
		t.Errorf("the credentials are good, and the forge is %v", err)
	}
	var due []RepoID
	w.tx(func(tx *sql.Tx) (err error) {
		due, err = w.e.store.duePolls(t.Context(), tx, 10)
		return err
	})
	slices.Sort(due)
	want := []RepoID{w.id, RepoID("github/" + second.String()), "github/other/here", "github/other/gone"}
	slices.Sort(want)
	if !reflect.DeepEqual(due, want) {
		t.Errorf("to be polled are %v, want %v", due, want)
	}
	mend := w.g.Break(forgetest.Fault{Status: http.StatusServiceUnavailable})
	if err := w.e.expand(t.Context(), f); err == nil || w.e.refused() != nil {
		t.Errorf("the forge is down: %v, and the engine is %v; want an error and readiness", err, w.e.refused())
	}
	mend()
	defer w.g.Break(forgetest.Fault{Status: http.StatusUnauthorized, Body: `{"message":"Bad credentials"}`})()
	if err := w.e.expand(t.Context(), f); err == nil || w.e.refused() == nil {
		t.Errorf("the token is refused: %v, and the engine is %v", err, w.e.refused())
	}
}

func TestDifference(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	change := func(state forge.State, head string, sec int) forge.Change {
		return forge.Change{State: state, Head: forge.Ref{Commit: head}, Base: forge.Ref{Branch: "main"}, UpdatedAt: at.Add(time.Duration(sec) * time.Second)}
	}
	for name, c := range map[string]struct {
		was   *forge.Change
		is    forge.Change
		first bool
		want  forge.Kind
	}{
		"new":                       {is: change(forge.Open, "a", 0), want: forge.ChangeOpened},
		"new at the first look":     {is: change(forge.Open, "a", 0), first: true, want: forge.ChangeOpened},
		"merged between two looks":  {is: change(forge.Merged, "a", 0), want: forge.ChangeMerged},
		"merged before the first":   {is: change(forge.Merged, "a", 0), first: true},
		"closed between two looks":  {is: change(forge.Closed, "a", 0)},
		"nothing":                   {was: ptr(change(forge.Open, "a", 0)), is: change(forge.Open, "a", 5)},
		"an answer from before":     {was: ptr(change(forge.Open, "b", 5)), is: change(forge.Open, "a", 0)},
		"pushed":                    {was: ptr(change(forge.Open, "a", 0)), is: change(forge.Open, "b", 0), want: forge.ChangePushed},
		"merged":                    {was: ptr(change(forge.Open, "a", 0)), is: change(forge.Merged, "a", 0), want: forge.ChangeMerged},
		"closed":                    {was: ptr(change(forge.Open, "a", 0)), is: change(forge.Closed, "a", 0), want: forge.ChangeClosed},
		"reopened":                  {was: ptr(change(forge.Closed, "a", 0)), is: change(forge.Open, "a", 0), want: forge.ChangeOpened},
		"closed, reopened, merged":  {was: ptr(change(forge.Closed, "a", 0)), is: change(forge.Merged, "a", 0), want: forge.ChangeMerged},
		"merged and commented":      {was: ptr(change(forge.Merged, "a", 0)), is: change(forge.Merged, "a", 5)},
		"its closed branch goes on": {was: ptr(change(forge.Closed, "a", 0)), is: change(forge.Closed, "b", 5)},
	} {
		was := forge.Change{}
		if c.was != nil {
			was = *c.was
		}
		if kind, ok := difference(was, c.was != nil, c.is, c.first); ok != (c.want != "") || ok && kind != c.want {
			t.Errorf("%s: %q, %v; want %q", name, kind, ok, c.want)
		}
	}
	for want, answer := range map[string]forge.Repository{
		"":         {Repo: forge.Repo{Owner: "Acme", Name: "Live"}},
		"archived": {Repo: forge.Repo{Owner: "acme", Name: "live"}, Archived: true},
		"b/live":   {Repo: forge.Repo{Owner: "b", Name: "live"}},
	} {
		if got := unservable(forge.Repo{Owner: "acme", Name: "live"}, answer); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("of %+v is said %q, want %q", answer, got, want)
		}
	}
}

func ptr[T any](v T) *T { return &v }
