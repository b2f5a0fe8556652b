package forgetest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// Client is what the suite asks of a forge's client.
type Client interface {
	// Self is the login that the client's credentials act as.
	Self(ctx context.Context) (login string, err error)

	// Repository, Repos and Branch look around.
	Repository(ctx context.Context, repo forge.Repo) (forge.Repository, error)
	Repos(ctx context.Context) ([]forge.Repo, error)
	Branch(ctx context.Context, repo forge.Repo, branch string) (commit string, err error)

	Change(ctx context.Context, repo forge.Repo, number int) (forge.Change, error)
	Changes(ctx context.Context, repo forge.Repo, opts forge.ChangesOptions) ([]forge.Change, error)
	Approvals(ctx context.Context, repo forge.Repo, number int) ([]forge.Approval, error)
	Rejections(ctx context.Context, repo forge.Repo, number int) (logins []string, err error)
	Protection(ctx context.Context, repo forge.Repo, branch string) (forge.Protection, error)
	Permission(ctx context.Context, repo forge.Repo, user string) (forge.Permission, error)
	OpenChange(ctx context.Context, repo forge.Repo, head, base, title, body string) (forge.Change, error)
	Merge(ctx context.Context, c forge.Change, method forge.MergeMethod) (commit string, err error)

	Comments(ctx context.Context, repo forge.Repo, number int) ([]forge.Comment, error)
	CommentsSince(ctx context.Context, repo forge.Repo, opts forge.CommentsOptions) ([]forge.Comment, error)
	CreateComment(ctx context.Context, repo forge.Repo, number int, body string) (forge.Comment, error)
	EditComment(ctx context.Context, repo forge.Repo, id, body string) (forge.Comment, error)
	MinimiseComment(ctx context.Context, repo forge.Repo, id string) (done bool, err error)
	React(ctx context.Context, repo forge.Repo, commentID string, r forge.Reaction) error

	SetStatus(ctx context.Context, repo forge.Repo, commit string, s forge.Status) error
	Verdicts(ctx context.Context, repo forge.Repo, commit string) (map[string]forge.StatusState, error)

	OpenIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error)
	Issue(ctx context.Context, repo forge.Repo, number int) (forge.Issue, error)
	OwnIssues(ctx context.Context, repo forge.Repo) ([]forge.Issue, error)
	UpdateIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error)
	CloseIssue(ctx context.Context, repo forge.Repo, number int) error
	ReopenIssue(ctx context.Context, repo forge.Repo, number int) error

	Credential(ctx context.Context, repo forge.Repo) (forge.Credential, error)
	PushCredential(ctx context.Context, repo forge.Repo) (forge.Credential, error)
	Decode(header http.Header, body []byte) ([]forge.Event, error)
}

// Delivery is one webhook as the forge sent it.
type Delivery struct {
	Header http.Header
	Body   []byte
	SentAt time.Time // zero if it was not
}

// Host is a forge under test, seen by the people who use it: what the suite does that a client cannot. Users named here
// exist; the client's own account is another, which may administer each repository.
type Host interface {
	// NewRepo makes a repository with one commit on its default branch, "main", and webhooks that the client can verify.
	NewRepo(t testing.TB) forge.Repo
	// Commit puts a commit with the files on the branch, made from base (a branch) if it does not exist, and returns its id.
	Commit(t testing.TB, repo forge.Repo, branch, base string, files map[string]string) string
	// Grant lets the user ("alice" or "mallory") into the repository. Without it she has no right there.
	Grant(t testing.TB, repo forge.Repo, user string, p forge.Permission)
	// Open opens a pull request as the user.
	Open(t testing.TB, repo forge.Repo, user, head, base, title string, draft bool) int
	// Comment, Approve, Reject and Close act on a pull request as the user; Comment returns the comment's id.
	Comment(t testing.TB, repo forge.Repo, user string, number int, body string) string
	Approve(t testing.TB, repo forge.Repo, user string, number int)
	Reject(t testing.TB, repo forge.Repo, user string, number int)
	Close(t testing.TB, repo forge.Repo, user string, number int)
	// Reopen undoes Close. SetDraft makes a pull request a draft, or ready.
	Reopen(t testing.TB, repo forge.Repo, user string, number int)
	SetDraft(t testing.TB, repo forge.Repo, user string, number int, draft bool)
	// Reset moves a branch to a commit that the repository has, by a forced push.
	Reset(t testing.TB, repo forge.Repo, branch, commit string)
	// Protect sets the branch's protection.
	Protect(t testing.TB, repo forge.Repo, branch string, p forge.Protection)
	// Statuses reads the newest status of each context on a commit, as the forge shows them.
	Statuses(t testing.TB, repo forge.Repo, commit string) map[string]forge.Status
	// Deliveries returns the webhooks about the repository that arrived so far, in order. Some may still be on their way.
	Deliveries(t testing.TB, repo forge.Repo) []Delivery
}

// Run holds a client against what every client must do. The host's repositories are made by the suite; what else the forge
// holds does not matter.
func Run(t *testing.T, client Client, host Host) {
	s := suite{client, host}
	t.Run("Repository", s.repository)
	t.Run("Nothing", s.nothing)
	t.Run("Change", s.change)
	t.Run("Changes", s.changes)
	t.Run("Closed", s.closed)
	t.Run("Turns", s.turns)
	t.Run("Open change", s.openChange)
	t.Run("Merge", s.merge)
	t.Run("Refused merge", s.refusedMerge)
	t.Run("Comment", s.comment)
	t.Run("Comments", s.comments)
	t.Run("Status", s.status)
	t.Run("Permission", s.permission)
	t.Run("Approvals", s.approvals)
	t.Run("Protection", s.protection)
	t.Run("Issue", s.issue)
	t.Run("Git", s.git)
	t.Run("Signature", s.signature)
	t.Run("Odd names", s.oddNames)
}

type suite struct {
	Client
	host Host
}

func (s suite) repository(t *testing.T) {
	repo := s.host.NewRepo(t)
	got, err := s.Repository(t.Context(), repo)
	must(t, err)
	if got.Repo != repo || got.DefaultBranch != "main" || got.Archived {
		t.Errorf("Repository = %+v, want %s with default branch main, not archived", got, repo)
	}
	repos, err := s.Repos(t.Context())
	must(t, err)
	if !slices.Contains(repos, repo) {
		t.Errorf("Repos = %v, want it to hold %s", repos, repo)
	}
	commit := s.host.Commit(t, repo, "main", "", map[string]string{"a.tf": "# a"})
	tip, err := s.Branch(t.Context(), repo, "main")
	must(t, err)
	if tip != commit {
		t.Errorf("Branch = %s, want %s", tip, commit)
	}
}

func (s suite) nothing(t *testing.T) {
	repo := s.host.NewRepo(t)
	missing := forge.Repo{Owner: repo.Owner, Name: repo.Name + "-missing"}
	ctx := t.Context()
	_, e1 := s.Repository(ctx, missing)
	_, e2 := s.Branch(ctx, repo, "missing")
	_, e3 := s.Change(ctx, repo, 999)
	_, e4 := s.CreateComment(ctx, repo, 999, "hello")
	_, e5 := s.EditComment(ctx, repo, "999999", "hello")
	_, e6 := s.Issue(ctx, repo, 999)
	_, e7 := s.Comments(ctx, missing, 1)
	for what, err := range map[string]error{
		"Repository": e1, "Branch": e2, "Change": e3, "CreateComment": e4, "EditComment": e5, "Issue": e6, "Comments": e7,
	} {
		if !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("%s of what does not exist: %v, want ErrNotFound", what, err)
		}
	}
}

// opened is a repository with one open pull request of alice's.
func (s suite) opened(t *testing.T) (forge.Repo, int) {
	t.Helper()
	repo := s.host.NewRepo(t)
	s.host.Grant(t, repo, "alice", forge.Write)
	s.host.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
	return repo, s.host.Open(t, repo, "alice", "feature", "main", "Add a", false)
}

func (s suite) change(t *testing.T) {
	repo, number := s.opened(t)
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	head, err := s.Branch(t.Context(), repo, "feature")
	must(t, err)
	base, err := s.Branch(t.Context(), repo, "main")
	must(t, err)
	want := forge.Change{
		Repo: repo, Number: number, Title: "Add a", Author: "alice", State: forge.Open,
		Head: forge.Ref{Branch: "feature", Commit: head}, Base: forge.Ref{Branch: "main", Commit: base},
		URL: c.URL, UpdatedAt: c.UpdatedAt,
	}
	if c != want || c.URL == "" || c.UpdatedAt.IsZero() {
		t.Errorf("Change = %+v\nwant     %+v", c, want)
	}
	e := s.find(t, repo, forge.ChangeOpened, func(e forge.Event) bool { return e.Change == number })
	if e.After != head || e.Ref != "main" || e.Sender != "alice" || e.Repo != repo {
		t.Errorf("event of opening = %+v", e)
	}

	pushed := s.host.Commit(t, repo, "feature", "", map[string]string{"a.tf": "# b"})
	c, err = s.Change(t.Context(), repo, number)
	must(t, err)
	if c.Head.Commit != pushed {
		t.Errorf("after a push the head is %s, want %s", c.Head.Commit, pushed)
	}
	s.find(t, repo, forge.ChangePushed, func(e forge.Event) bool { return e.Change == number && e.After == pushed })
	push := s.find(t, repo, forge.Pushed, func(e forge.Event) bool { return e.After == pushed })
	if push.Ref != "feature" || push.Before != head {
		t.Errorf("push = %+v, want feature %s..%s", push, head, pushed)
	}
	if same := forge.PushEvent(repo, "feature", head, pushed, "", time.Time{}); same.Key != push.Key {
		t.Errorf("a poller would give the push the key %q, the webhook %q", same.Key, push.Key)
	}

	s.host.Commit(t, repo, "draft", "main", map[string]string{"b.tf": "# b"})
	draft, err := s.Change(t.Context(), repo, s.host.Open(t, repo, "alice", "draft", "main", "Add b", true))
	must(t, err)
	if !draft.Draft {
		t.Errorf("a draft is read as %+v", draft)
	}
}

func (s suite) changes(t *testing.T) {
	repo := s.host.NewRepo(t)
	s.host.Grant(t, repo, "alice", forge.Write)
	var opened []int
	for _, branch := range []string{"a", "b", "c", "d", "e"} {
		s.host.Commit(t, repo, branch, "main", map[string]string{branch + ".tf": "# a"})
		opened = append(opened, s.host.Open(t, repo, "alice", branch, "main", "Add "+branch, false))
	}
	s.host.Close(t, repo, "alice", opened[2])
	all, err := s.Changes(t.Context(), repo, forge.ChangesOptions{})
	must(t, err)
	if got := numbers(all); !sameNumbers(got, opened) {
		t.Errorf("Changes = %v, want %v in any order of one second", got, opened)
	}
	if !slices.IsSortedFunc(all, func(a, b forge.Change) int { return a.UpdatedAt.Compare(b.UpdatedAt) }) {
		t.Errorf("Changes are not sorted by their last update: %+v", all)
	}
	open, err := s.Changes(t.Context(), repo, forge.ChangesOptions{OpenOnly: true})
	must(t, err)
	if got, want := numbers(open), slices.Concat(opened[:2], opened[3:]); !sameNumbers(got, want) {
		t.Errorf("open Changes = %v, want %v", got, want)
	}
	newest := all[len(all)-1].UpdatedAt
	recent, err := s.Changes(t.Context(), repo, forge.ChangesOptions{Since: newest})
	must(t, err)
	if got := numbers(recent); !slices.Contains(got, all[len(all)-1].Number) {
		t.Errorf("Changes since the newest update = %v, want the newest, %d, among them", got, all[len(all)-1].Number)
	}
	none, err := s.Changes(t.Context(), repo, forge.ChangesOptions{Since: newest.Add(time.Hour)})
	must(t, err)
	if len(none) != 0 {
		t.Errorf("Changes since an hour from now = %v, want none", numbers(none))
	}
}

func (s suite) closed(t *testing.T) {
	repo, number := s.opened(t)
	s.host.Close(t, repo, "alice", number)
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	if c.State != forge.Closed || c.MergeCommit != "" || c.ClosedAt.IsZero() {
		t.Errorf("closed change = %+v", c)
	}
	e := s.find(t, repo, forge.ChangeClosed, anyEvent)
	if want := forge.ChangeEvent(forge.ChangeClosed, c, "", ""); e.Key != want.Key || e.Change != number {
		t.Errorf("event of closing = %+v, a poller would give it the key %q", e, want.Key)
	}
}

// turns are what may happen to an open change besides a push: each must be an event that no other is taken for.
func (s suite) turns(t *testing.T) {
	repo, number := s.opened(t)
	first, err := s.Change(t.Context(), repo, number)
	must(t, err)
	second := s.host.Commit(t, repo, "feature", "", map[string]string{"a.tf": "# b"})
	s.find(t, repo, forge.ChangePushed, func(e forge.Event) bool { return e.After == second })
	s.host.Reset(t, repo, "feature", first.Head.Commit)
	back := s.find(t, repo, forge.Pushed, func(e forge.Event) bool { return e.Before == second && e.After == first.Head.Commit })
	if back.Ref != "feature" {
		t.Errorf("forced push = %+v", back)
	}
	s.find(t, repo, forge.ChangePushed, func(e forge.Event) bool { return e.After == first.Head.Commit })
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	if c.Head != first.Head || c.State != forge.Open {
		t.Errorf("after a forced push back: %+v, want head %s", c, first.Head.Commit)
	}

	for _, draft := range []bool{true, false} {
		s.host.SetDraft(t, repo, "alice", number, draft)
		c, err := s.Change(t.Context(), repo, number)
		must(t, err)
		want := forge.ChangeEvent(forge.ChangePushed, c, "", "")
		if c.Draft != draft {
			t.Errorf("SetDraft(%v) reads as %+v", draft, c)
		}
		s.find(t, repo, forge.ChangePushed, func(e forge.Event) bool { return e.Key == want.Key })
	}

	s.host.Close(t, repo, "alice", number)
	s.find(t, repo, forge.ChangeClosed, anyEvent)
	s.host.Reopen(t, repo, "alice", number)
	c, err = s.Change(t.Context(), repo, number)
	must(t, err)
	if c.State != forge.Open || !c.ClosedAt.IsZero() {
		t.Errorf("reopened change = %+v", c)
	}
	want := forge.ChangeEvent(forge.ChangeOpened, c, "", "")
	s.find(t, repo, forge.ChangeOpened, func(e forge.Event) bool { return e.Key == want.Key })
}

// openChange goes from a commit that is made here to a pull request: the same request twice is one of each.
func (s suite) openChange(t *testing.T) {
	repo := s.host.NewRepo(t)
	about, err := s.Repository(t.Context(), repo)
	must(t, err)
	cred, err := s.PushCredential(t.Context(), repo)
	must(t, err)
	login := gitrepo.Credential{Username: cred.Username, Password: cred.Password}
	m, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: filepath.Join(t.TempDir(), "mirror.git"), Environ: gitEnv()})
	must(t, err)
	must(t, m.Fetch(t.Context(), about.CloneURL, login, "+refs/heads/main:refs/heads/main"))
	edit := func(text string) string {
		commit, err := m.Commit(t.Context(), gitrepo.Edit{
			Base: "refs/heads/main", Files: map[string][]byte{"plumbline.yaml": []byte(text)}, Message: "Ignore a drift",
			Name: "alice", Email: "alice@example.com", At: time.Unix(1700000000, 0),
		})
		must(t, err)
		return commit
	}
	const branch, title = "plumbline/ignore-1", "<b>ignore</b> `x` [y](z) & \"ü\""
	first := edit("# one\n")
	for range 2 {
		must(t, m.Push(t.Context(), about.CloneURL, login, branch, "", first))
	}
	made, err := s.OpenChange(t.Context(), repo, branch, "main", "first", "one")
	must(t, err)
	second := edit("# two\n")
	if err := m.Push(t.Context(), about.CloneURL, login, branch, "", second); !errors.Is(err, gitrepo.ErrMoved) {
		t.Errorf("Push over a branch that was not expected = %v, want ErrMoved", err)
	}
	must(t, m.Push(t.Context(), about.CloneURL, login, branch, first, second))
	again, err := s.OpenChange(t.Context(), repo, branch, "main", title, "two")
	must(t, err)
	if again.Number != made.Number || again.Title != title || again.State != forge.Open || again.Fork || again.URL == "" {
		t.Errorf("OpenChange again = %+v, want #%d with title %q", again, made.Number, title)
	}
	self, err := s.Self(t.Context())
	must(t, err)
	if made.Author != self {
		t.Errorf("the pull request is by %q, want %q", made.Author, self)
	}
	// The forge may take a moment to move a pull request's head after a push.
	for deadline := time.Now().Add(time.Minute); again.Head.Commit != second && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		again, err = s.Change(t.Context(), repo, made.Number)
		must(t, err)
	}
	if want := (forge.Ref{Branch: branch, Commit: second}); again.Head != want || again.Base.Branch != "main" {
		t.Errorf("the pull request goes from %+v to %+v, want from %+v to main", again.Head, again.Base, want)
	}
	open, err := s.Changes(t.Context(), repo, forge.ChangesOptions{OpenOnly: true})
	must(t, err)
	if !slices.Equal(numbers(open), []int{made.Number}) {
		t.Errorf("open pull requests = %v, want %d alone", numbers(open), made.Number)
	}
	s.host.Grant(t, repo, "alice", forge.Write)
	s.host.Close(t, repo, "alice", made.Number)
	next, err := s.OpenChange(t.Context(), repo, branch, "main", "third", "three")
	must(t, err)
	if next.Number == made.Number || next.State != forge.Open {
		t.Errorf("OpenChange after #%d was closed = %+v, want another", made.Number, next)
	}
	if _, err := s.OpenChange(t.Context(), repo, "plumbline/missing", "main", "x", "y"); err == nil {
		t.Error("OpenChange of a branch that is not there gave no error")
	}
}

func (s suite) merge(t *testing.T) {
	for _, method := range []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase} {
		t.Run(string(method), func(t *testing.T) {
			repo, number := s.opened(t)
			// The base moves, so that no method can leave the commits as they are.
			s.host.Commit(t, repo, "main", "", map[string]string{"other.tf": "# o"})
			c, err := s.Change(t.Context(), repo, number)
			must(t, err)
			commit, err := s.Merge(t.Context(), c, method)
			must(t, err)
			tip, err := s.Branch(t.Context(), repo, "main")
			must(t, err)
			c, err = s.Change(t.Context(), repo, number)
			must(t, err)
			if commit != tip || c.State != forge.Merged || c.MergeCommit != tip || c.ClosedAt.IsZero() {
				t.Errorf("Merge = %s, main is at %s, the change is %+v", commit, tip, c)
			}
			e := s.find(t, repo, forge.ChangeMerged, anyEvent)
			if want := forge.ChangeEvent(forge.ChangeMerged, c, "", ""); e.Key != want.Key || e.After != tip || e.Ref != "main" {
				t.Errorf("event of merging = %+v, a poller would see %+v", e, want)
			}
		})
	}
}

func (s suite) refusedMerge(t *testing.T) {
	repo, number := s.opened(t)
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	s.host.Commit(t, repo, "feature", "", map[string]string{"a.tf": "# unseen"})
	var refused *forge.NotMergeableError
	if _, err := s.Merge(t.Context(), c, forge.MergeCommit); !errors.As(err, &refused) || refused.Says == "" {
		t.Errorf("merge of a head that moved: %v, want a NotMergeableError with the forge's reason", err)
	}
	s.host.Commit(t, repo, "main", "", map[string]string{"a.tf": "# in the way"})
	c, err = s.Change(t.Context(), repo, number)
	must(t, err)
	if _, err := s.Merge(t.Context(), c, forge.MergeCommit); !errors.As(err, &refused) {
		t.Errorf("merge with a conflict: %v, want a NotMergeableError", err)
	}
	if c, err = s.Change(t.Context(), repo, number); err != nil || c.State != forge.Open {
		t.Errorf("after refused merges: %+v, %v, want it open", c, err)
	}
}

func (s suite) comment(t *testing.T) {
	repo, number := s.opened(t)
	self, err := s.Self(t.Context())
	must(t, err)
	const body = "plan: 1 to add\n\n<!-- plumbline 1 -->\n\n`a` & <b> ünï 🚀"
	made, err := s.CreateComment(t.Context(), repo, number, body)
	must(t, err)
	if made.Author != self || made.Body != body || !made.Ours || made.Change != number || made.ID == "" || made.CreatedAt.IsZero() {
		t.Errorf("CreateComment = %+v, want %q by %s on %d", made, body, self, number)
	}
	edited, err := s.EditComment(t.Context(), repo, made.ID, "plan: nothing to do")
	must(t, err)
	if edited.ID != made.ID || edited.Body != "plan: nothing to do" || !edited.Ours {
		t.Errorf("EditComment = %+v, want the same comment with another body", edited)
	}

	// Somebody copies our comment.
	id := s.host.Comment(t, repo, "alice", number, body)
	list, err := s.Comments(t.Context(), repo, number)
	must(t, err)
	if len(list) != 2 || list[0].ID != made.ID || list[1].ID != id {
		t.Fatalf("Comments = %+v, want ours and then alice's", list)
	}
	if ours, hers := list[0], list[1]; !ours.Ours || ours.Body != edited.Body || hers.Ours || hers.Author != "alice" || hers.Body != body || hers.Change != number {
		t.Errorf("Comments = %+v", list)
	}
	must(t, s.React(t.Context(), repo, id, forge.Seen))
	must(t, s.React(t.Context(), repo, id, forge.Seen))
	must(t, s.React(t.Context(), repo, id, forge.Accepted))
	must(t, s.React(t.Context(), repo, id, forge.Refused))
	if _, err := s.MinimiseComment(t.Context(), repo, made.ID); err != nil {
		t.Errorf("MinimiseComment: %v", err)
	}

	e := s.find(t, repo, forge.Commented, func(e forge.Event) bool { return e.Sender == "alice" })
	if want := forge.CommentEvent(repo, number, list[1], ""); e.Key != want.Key || e.Change != number || e.Comment == nil || e.Comment.Body != body {
		t.Errorf("event of a comment = %+v, a poller would give it the key %q", e, want.Key)
	}

	if _, err := s.CreateComment(t.Context(), repo, number, strings.Repeat("x", forge.MaxComment)); err != nil {
		t.Errorf("the longest comment is refused: %v", err)
	}
}

func (s suite) comments(t *testing.T) {
	repo, number := s.opened(t)
	issue, err := s.OpenIssue(t.Context(), repo, forge.Issue{Title: "Drift"})
	must(t, err)
	onIssue := s.host.Comment(t, repo, "alice", issue.Number, "on an issue")
	var ids []string
	for _, body := range []string{"one", "two", "three", "four", "five"} {
		ids = append(ids, s.host.Comment(t, repo, "alice", number, body))
	}
	all, err := s.CommentsSince(t.Context(), repo, forge.CommentsOptions{})
	must(t, err)
	var got []string
	for _, c := range all {
		want := number
		if c.ID == onIssue {
			want = issue.Number
		}
		if c.Change != want || c.Issue != (c.ID == onIssue) {
			t.Errorf("comment %q is said to be on %d (issue: %v), want %d", c.Body, c.Change, c.Issue, want)
		}
		got = append(got, c.ID)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(append(slices.Clone(ids), onIssue)))
	if !slices.Equal(got, want) {
		t.Errorf("CommentsSince = %v, want those on the change and the issue, %v", got, want)
	}
	told := s.find(t, repo, forge.Commented, func(e forge.Event) bool { return e.Comment.ID == onIssue })
	if told.Change != issue.Number || !told.Comment.Issue {
		t.Errorf("the webhook of the comment on issue %d = %+v", issue.Number, told)
	}
	told = s.find(t, repo, forge.Commented, func(e forge.Event) bool { return e.Comment.ID == ids[0] })
	if told.Change != number || told.Comment.Issue {
		t.Errorf("the webhook of the comment on change %d = %+v", number, told)
	}
	alone, err := s.Comments(t.Context(), repo, issue.Number)
	must(t, err)
	if len(alone) != 1 || alone[0].ID != onIssue || !alone[0].Issue {
		t.Errorf("Comments of the issue = %+v, want one", alone)
	}
	later, err := s.CommentsSince(t.Context(), repo, forge.CommentsOptions{Since: all[len(all)-1].UpdatedAt.Add(time.Hour)})
	must(t, err)
	if len(later) != 0 {
		t.Errorf("CommentsSince an hour from now = %+v, want none", later)
	}
	list, err := s.Comments(t.Context(), repo, number)
	must(t, err)
	if len(list) != len(ids) {
		t.Errorf("Comments has %d, want %d", len(list), len(ids))
	}
}

func (s suite) status(t *testing.T) {
	repo, number := s.opened(t)
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	for _, state := range []forge.StatusState{forge.Pending, forge.Success, forge.Failure, forge.Pending, forge.Success} {
		must(t, s.SetStatus(t.Context(), repo, c.Head.Commit, forge.Status{
			Context: "plumbline/network", State: state, Description: "1 to add, " + string(state), URL: "https://plumbline.example.com/runs/1", Summary: "**one**",
		}))
		got := s.host.Statuses(t, repo, c.Head.Commit)["plumbline/network"]
		if got.State != state || got.Description != "1 to add, "+string(state) || got.URL != "https://plumbline.example.com/runs/1" {
			t.Errorf("status = %+v, want %s", got, state)
		}
	}
	must(t, s.SetStatus(t.Context(), repo, c.Head.Commit, forge.Status{Context: "plumbline", State: forge.Pending, Description: strings.Repeat("långt ", 100)}))
	must(t, s.SetStatus(t.Context(), repo, c.Head.Commit, forge.Status{Context: "plumbline/bare", State: forge.Pending}))
	if got := s.host.Statuses(t, repo, c.Head.Commit); len(got) != 3 || !strings.HasPrefix(got["plumbline"].Description, "långt långt") {
		t.Errorf("statuses = %+v, want three", got)
	}
}

func (s suite) permission(t *testing.T) {
	repo := s.host.NewRepo(t)
	for _, want := range []forge.Permission{forge.Read, forge.Write, forge.Admin} {
		s.host.Grant(t, repo, "alice", want)
		got, err := s.Permission(t.Context(), repo, "alice")
		must(t, err)
		if got != want {
			t.Errorf("Permission = %s, want %s", got, want)
		}
	}
	for _, stranger := range []string{"mallory", "nobody-of-this-name", "../../alice"} {
		got, err := s.Permission(t.Context(), repo, stranger)
		must(t, err)
		if got > forge.Read { // a public repository can be read by everybody
			t.Errorf("Permission of %q = %s, want no more than read", stranger, got)
		}
	}
}

func (s suite) approvals(t *testing.T) {
	repo, number := s.opened(t)
	s.host.Grant(t, repo, "mallory", forge.Write)
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	check := func(when string, want ...string) {
		t.Helper()
		list, err := s.Approvals(t.Context(), repo, number)
		must(t, err)
		var got []string
		for _, a := range list {
			if a.Commit != c.Head.Commit || a.At.IsZero() {
				t.Errorf("%s: approval %+v, want one of %s", when, a, c.Head.Commit)
			}
			got = append(got, a.Author)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: approvals of %v, want %v", when, got, want)
		}
	}
	check("at first")
	s.host.Approve(t, repo, "mallory", number)
	check("approved", "mallory")
	s.find(t, repo, forge.ChangeReviewed, func(e forge.Event) bool { return e.Change == number && e.Sender == "mallory" })
	s.host.Reject(t, repo, "mallory", number)
	check("rejected")
	if no, err := s.Rejections(t.Context(), repo, number); err != nil || !slices.Equal(no, []string{"mallory"}) {
		t.Errorf("Rejections = %q, %v; want mallory's", no, err)
	}
	s.host.Approve(t, repo, "mallory", number)
	check("approved again", "mallory")
	if no, err := s.Rejections(t.Context(), repo, number); err != nil || len(no) != 0 {
		t.Errorf("Rejections after she approved = %q, %v; want none", no, err)
	}
}

func (s suite) protection(t *testing.T) {
	repo := s.host.NewRepo(t)
	got, err := s.Protection(t.Context(), repo, "main")
	must(t, err)
	if got.Approvals != 0 || len(got.Checks) != 0 || got.DismissStale {
		t.Errorf("Protection of an unprotected branch = %+v", got)
	}
	want := forge.Protection{Approvals: 2, Checks: []string{"lint", "plumbline"}, DismissStale: true, Rejections: true}
	s.host.Protect(t, repo, "main", want)
	got, err = s.Protection(t.Context(), repo, "main")
	must(t, err)
	if got.Approvals != want.Approvals || !slices.Equal(got.Checks, want.Checks) || got.DismissStale != want.DismissStale || got.Rejections != want.Rejections {
		t.Errorf("Protection = %+v, want %+v", got, want)
	}
}

func (s suite) issue(t *testing.T) {
	repo := s.host.NewRepo(t)
	s.host.Grant(t, repo, "alice", forge.Write)
	made, err := s.OpenIssue(t.Context(), repo, forge.Issue{Title: "Drift in network", Body: "1 changed", Labels: []string{"drift"}, Assignees: []string{"alice"}})
	must(t, err)
	made.Title, made.Body, made.Labels, made.Assignees = "Drift in network and dns", "2 changed", []string{"drift", "network"}, nil
	updated, err := s.UpdateIssue(t.Context(), repo, made)
	must(t, err)
	must(t, s.CloseIssue(t.Context(), repo, made.Number))
	must(t, s.CloseIssue(t.Context(), repo, made.Number))
	closed, err := s.Issue(t.Context(), repo, made.Number)
	must(t, err)
	must(t, s.ReopenIssue(t.Context(), repo, made.Number))
	reopened, err := s.Issue(t.Context(), repo, made.Number)
	must(t, err)
	if closed.Open || !reopened.Open || !updated.Open {
		t.Errorf("open after update, close, reopen = %v, %v, %v; want true, false, true", updated.Open, closed.Open, reopened.Open)
	}
	if closed.ClosedAt.IsZero() || !reopened.ClosedAt.IsZero() || time.Since(closed.ClosedAt) > time.Hour {
		t.Errorf("closed at %v, and reopened at %v", closed.ClosedAt, reopened.ClosedAt)
	}
	second, err := s.OpenIssue(t.Context(), repo, forge.Issue{Title: "Drift in dns"})
	must(t, err)
	must(t, s.CloseIssue(t.Context(), repo, second.Number))
	s.host.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
	s.host.Open(t, repo, "alice", "feature", "main", "No issue", false)
	own, err := s.OwnIssues(t.Context(), repo)
	must(t, err)
	if len(own) != 2 || own[0].Number != second.Number || own[0].Open || own[1].Number != made.Number || own[1].Body != made.Body {
		t.Errorf("OwnIssues = %+v, want %d, closed, and %d", own, second.Number, made.Number)
	}
	slices.Sort(reopened.Labels)
	if reopened.Title != made.Title || reopened.Body != made.Body || !slices.Equal(reopened.Labels, made.Labels) || len(reopened.Assignees) != 0 || reopened.URL == "" {
		t.Errorf("Issue = %+v, want %+v", reopened, made)
	}
}

func (s suite) git(t *testing.T) {
	repo, number := s.opened(t)
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	about, err := s.Repository(t.Context(), repo)
	must(t, err)
	cred, err := s.Credential(t.Context(), repo)
	must(t, err)
	if strings.Contains(cred.String(), cred.Password) {
		t.Errorf("a credential prints as %q, which holds the password", cred)
	}
	remote, err := url.Parse(about.CloneURL)
	must(t, err)
	remote.User = url.UserPassword(cred.Username, cred.Password)
	dir := filepath.Join(t.TempDir(), "clone")
	clone := exec.CommandContext(t.Context(), "git", "clone", "-q", "--no-checkout", remote.String(), dir)
	clone.Env = append(gitEnv(), "GIT_TERMINAL_PROMPT=0")
	if out, err := clone.CombinedOutput(); err != nil {
		t.Fatalf("clone: %v\n%s", err, strings.ReplaceAll(string(out), cred.Password, "***"))
	}
	// A change's head can be had from the base repository, wherever it lives.
	if _, err := git(dir, nil, "fetch", "-q", remote.String(), forge.HeadRef(number)); err != nil {
		t.Fatalf("fetch the change's head: %v", strings.ReplaceAll(err.Error(), cred.Password, "***"))
	}
	if _, err := git(dir, nil, "cat-file", "-e", c.Head.Commit); err != nil {
		t.Errorf("the change's head %s did not come: %v", c.Head.Commit, err)
	}
}

func (s suite) signature(t *testing.T) {
	repo, _ := s.opened(t)
	s.find(t, repo, forge.ChangeOpened, anyEvent)
	d := s.host.Deliveries(t, repo)[0]
	if _, err := s.Decode(d.Header, d.Body); err != nil {
		t.Errorf("Decode of the forge's own webhook: %v", err)
	}
	if _, err := s.Decode(d.Header, append(slices.Clone(d.Body), ' ')); !errors.Is(err, forge.ErrSignature) {
		t.Errorf("Decode of a body with a space more: %v, want ErrSignature", err)
	}
	for name := range d.Header {
		if !strings.Contains(name, "Signature") {
			continue
		}
		for _, value := range []string{"", "sha256=", "sha256=00", "x", strings.Repeat("0", 64)} {
			forged := d.Header.Clone()
			for other := range forged {
				if strings.Contains(other, "Signature") {
					forged.Del(other)
				}
			}
			if value != "" {
				forged.Set(name, value)
			}
			if _, err := s.Decode(forged, d.Body); !errors.Is(err, forge.ErrSignature) {
				t.Errorf("Decode with %s %q: %v, want ErrSignature", name, value, err)
			}
		}
	}
	again, err := s.Decode(d.Header, d.Body)
	must(t, err)
	twice, err := s.Decode(d.Header, d.Body)
	must(t, err)
	for i := range again {
		if again[i].Key == "" || again[i].Key != twice[i].Key {
			t.Errorf("a redelivery has the key %q, then %q", again[i].Key, twice[i].Key)
		}
	}
}

func (s suite) oddNames(t *testing.T) {
	repo := s.host.NewRepo(t)
	s.host.Grant(t, repo, "alice", forge.Write)
	const branch = "feat/$(id);`x`&<b>|'#%2e+ü"
	const title = "<script>alert(1)</script> `$(id)` | [x](y) \"q\" ünï"
	commit := s.host.Commit(t, repo, branch, "main", map[string]string{"a b;$(c).tf": "# a"})
	number := s.host.Open(t, repo, "alice", branch, "main", title, false)
	c, err := s.Change(t.Context(), repo, number)
	must(t, err)
	if c.Head != (forge.Ref{Branch: branch, Commit: commit}) || c.Title != title {
		t.Errorf("Change = %+v, want branch %q and title %q", c, branch, title)
	}
	tip, err := s.Branch(t.Context(), repo, branch)
	must(t, err)
	if tip != commit {
		t.Errorf("Branch(%q) = %s, want %s", branch, tip, commit)
	}
	if _, err := s.Protection(t.Context(), repo, branch); err != nil {
		t.Errorf("Protection(%q): %v", branch, err)
	}
	s.find(t, repo, forge.Pushed, func(e forge.Event) bool { return e.Ref == branch && e.After == commit })
}

// find waits for a webhook about the repository that tells of an event of the kind which matches, and returns the first.
func (s suite) find(t *testing.T, repo forge.Repo, kind forge.Kind, match func(forge.Event) bool) forge.Event {
	t.Helper()
	var told []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		told = nil
		for _, d := range s.host.Deliveries(t, repo) {
			events, err := s.Decode(d.Header, d.Body)
			if err != nil {
				t.Fatalf("decode a webhook: %v", err)
			}
			for _, e := range events {
				if e.Kind == kind && match(e) {
					return e
				}
				told = append(told, e.Key)
			}
		}
	}
	t.Fatalf("no webhook told of the %s that was looked for, only of:\n%s", kind, strings.Join(told, "\n"))
	return forge.Event{}
}

func anyEvent(forge.Event) bool { return true }

func numbers(changes []forge.Change) []int {
	var out []int
	for _, c := range changes {
		out = append(out, c.Number)
	}
	return out
}

func sameNumbers(a, b []int) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
