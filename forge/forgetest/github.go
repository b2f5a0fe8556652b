package forgetest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// The accounts that exist from the start. Others come into being when they are named.
const (
	Robot     = "robot"       // whose token is GitHub.Token; administers each repository
	RobotBot  = "robot[bot]"  // the App
	AppID     = int64(12345)  // the App's id
	appSlug   = "robot"       //
	hookID    = int64(424242) //
	mainName  = "main"        //
	zeroes    = "0000000000000000000000000000000000000000"
	ownerName = "acme"
)

// GitHub is a server that stands in for github.com and, under /api/v3, for an Enterprise Server.
type GitHub struct {
	URL           string // root of the REST API, without a slash at the end
	EnterpriseURL string // the same API where an Enterprise Server has it
	Token         string // of Robot
	AppKey        []byte // PEM of the App's private key
	WebhookSecret string

	// PageCap caps the length of a page, to have many pages of few things. Set it before the first request.
	PageCap int
	// OnExchange is shown each request to the REST API and its answer, faults excepted. Set it before the first request.
	OnExchange func(Exchange)

	dir    string
	server *httptest.Server
	appPub *rsa.PublicKey
	mux    *http.ServeMux

	mu            sync.Mutex
	seq           int64
	users         map[string]*ghUser
	tokens        map[string]*ghToken
	repos         map[string]*ghRepo // by "owner/name" in lower case
	installations map[string]*ghInstallation
	appPerms      map[string]string
	oauth         ghOAuth
	faults        []*Fault
	limit         ghLimit
	hooks         hookQueue
}

// Exchange is a request to the API and its answer.
type Exchange struct {
	Method       string
	URL          string // path and query, without the Enterprise Server's prefix
	Header       http.Header
	Body         []byte
	Status       int
	Answer       []byte
	AnswerHeader http.Header
}

type ghUser struct {
	id    int64
	login string
	kind  string // User, Bot or Organization
}

// ghToken is who a token acts as.
type ghToken struct {
	user    string
	scopes  []string          // that somebody has given an OAuth App
	app     *ghInstallation   // nil for a person's
	perms   map[string]string // an App's
	repos   []string          // an App's, names; nil for all of the owner's
	expires time.Time
}

type ghInstallation struct {
	id      int64
	owner   string
	created time.Time
}

type ghLimit struct {
	remaining int
	reset     time.Time
}

type ghRepo struct {
	id       int64
	repo     forge.Repo
	dir      string
	private  bool
	parent   *ghRepo
	perms    map[string]forge.Permission
	refs     map[string]string // refs/heads/… → commit
	next     int
	issues   map[int]*ghIssue // pull requests too
	comments []*ghComment
	statuses []*ghStatus
	checks   []*ghCheck
	classic  map[string]forge.Protection
	rules    map[string]forge.Protection
	created  time.Time
	pushed   time.Time
}

type ghIssue struct {
	id, seq           int64
	number            int
	title, body, user string
	closed            bool
	labels, assignees []string
	created, updated  time.Time
	closedAt          time.Time
	pull              *ghPull
}

type ghPull struct {
	head        *ghRepo // nil when the fork is gone
	headBranch  string
	headSHA     string
	headOwner   string
	base        string
	baseSHA     string
	draft       bool
	merged      bool
	mergeCommit string
	mergedBy    string
	reviews     []*ghReview
}

type ghReview struct {
	id           int64
	user, state  string
	commit, body string
	at           time.Time
}

type ghComment struct {
	id, seq          int64
	issue            *ghIssue
	user, body       string
	created, updated time.Time
	minimised        bool
	reactions        []ghReaction
}

type ghReaction struct {
	id            int64
	user, content string
	at            time.Time
}

type ghStatus struct {
	id                            int64
	commit, context, state        string
	description, target, creator_ string
	at                            time.Time
}

type ghCheck struct {
	id                         int64
	commit, name, status       string
	conclusion, details, title string
	summary                    string
	started, completed         time.Time
}

// StartGitHub starts a server for the duration of a test.
func StartGitHub(t testing.TB) *GitHub {
	t.Helper()
	// Generating a key takes a moment, and a short one is refused.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatalf("make the App's key: %v", err)
	}
	g := &GitHub{
		Token:         "ghp_" + randomHex(18),
		AppKey:        pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		WebhookSecret: randomHex(16),
		PageCap:       100,
		dir:           t.TempDir(),
		appPub:        &key.PublicKey,
		users:         map[string]*ghUser{},
		tokens:        map[string]*ghToken{},
		repos:         map[string]*ghRepo{},
		installations: map[string]*ghInstallation{},
		appPerms: map[string]string{
			"metadata": "read", "contents": "write", "pull_requests": "write", "issues": "write", "statuses": "write",
			"checks": "write", "administration": "read",
		},
		limit: ghLimit{remaining: 5000, reset: time.Now().Add(time.Hour)},
	}
	g.tokens[g.Token] = &ghToken{user: Robot}
	g.mux = g.routes()
	g.hooks.init(g)
	g.server = httptest.NewServer(g)
	g.URL = g.server.URL
	g.EnterpriseURL = g.server.URL + "/api/v3"
	t.Cleanup(func() {
		g.server.CloseClientConnections()
		g.server.Close()
		g.hooks.close()
	})
	return g
}

// AddRepo makes a repository with one commit on main. Robot administers it and the App is installed on it.
func (g *GitHub) AddRepo(t testing.TB, repo forge.Repo, private bool) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.newRepo(t, repo, private)
	g.commit(t, r, mainName, "", map[string]string{"README.md": "# " + repo.Name + "\n"})
}

// NewRepo makes a public repository with a name of its own, as AddRepo does.
func (g *GitHub) NewRepo(t testing.TB) forge.Repo {
	t.Helper()
	repo := forge.Repo{Owner: ownerName, Name: "live-" + randomHex(4)}
	g.AddRepo(t, repo, false)
	return repo
}

// newRepo makes a repository without commits.
func (g *GitHub) newRepo(t testing.TB, repo forge.Repo, private bool) *ghRepo {
	t.Helper()
	key := strings.ToLower(repo.String())
	if g.repos[key] != nil {
		t.Fatalf("repository %s exists already", repo)
	}
	g.user(repo.Owner).kind = "Organization"
	r := &ghRepo{
		id: g.nextID(), repo: repo, private: private, dir: filepath.Join(g.dir, repo.Owner, repo.Name+".git"),
		perms: map[string]forge.Permission{Robot: forge.Admin}, refs: map[string]string{}, issues: map[int]*ghIssue{},
		classic: map[string]forge.Protection{}, rules: map[string]forge.Protection{}, created: now(), pushed: now(), next: 1,
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mustGit(t, r.dir, nil, "init", "-q", "--bare", "--initial-branch", mainName)
	mustGit(t, r.dir, nil, "config", "http.receivepack", "true")
	g.repos[key] = r
	if g.installations[strings.ToLower(repo.Owner)] == nil {
		g.installations[strings.ToLower(repo.Owner)] = &ghInstallation{id: g.nextID(), owner: repo.Owner, created: now()}
	}
	return r
}

// SetAppPermission changes what the App may do from its next token on; level "" takes the permission away.
func (g *GitHub) SetAppPermission(name, level string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if level == "" {
		delete(g.appPerms, name)
		return
	}
	g.appPerms[name] = level
}

// Reinstall removes the App from the owner's account and installs it again, under another id and without valid tokens.
func (g *GitHub) Reinstall(owner string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := strings.ToLower(owner)
	old := g.installations[key]
	for token, known := range g.tokens {
		if known.app == old {
			delete(g.tokens, token)
		}
	}
	g.installations[key] = &ghInstallation{id: g.nextID(), owner: owner, created: now()}
}

// UserToken returns a new token of the user, for Git and the API.
func (g *GitHub) UserToken(login string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.user(login)
	token := "ghp_" + randomHex(18)
	g.tokens[token] = &ghToken{user: login}
	return token
}

// SetLimit sets what is left of the primary rate limit of everybody, until it is reset.
func (g *GitHub) SetLimit(remaining int, reset time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = ghLimit{remaining: remaining, reset: reset}
}

// Remaining returns what is left of the primary rate limit.
func (g *GitHub) Remaining() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit.remaining
}

// Commit puts a commit with the files on the branch, made from base (a branch) if it does not exist, and returns its id.
// Webhooks tell of it as of any push.
func (g *GitHub) Commit(t testing.TB, repo forge.Repo, branch, base string, files map[string]string) string {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.commit(t, g.mustRepo(t, repo), branch, base, files)
}

func (g *GitHub) commit(t testing.TB, r *ghRepo, branch, base string, files map[string]string) string {
	t.Helper()
	tip := r.refs["refs/heads/"+branch]
	if tip == "" && base != "" {
		tip = r.refs["refs/heads/"+base]
	}
	mustGit(t, r.dir, commitStream(branch, tip, files), "fast-import", "--quiet", "--force")
	if err := g.syncRefs(r, "alice"); err != nil {
		t.Fatal(err)
	}
	return r.refs["refs/heads/"+branch]
}

// Reset moves a branch to a commit that the repository has, as a forced push does, or deletes it if commit is "".
func (g *GitHub) Reset(t testing.TB, repo forge.Repo, branch, commit string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.mustRepo(t, repo)
	if commit == "" {
		mustGit(t, r.dir, nil, "update-ref", "-d", "refs/heads/"+branch)
	} else {
		mustGit(t, r.dir, nil, "update-ref", "refs/heads/"+branch, commit)
	}
	if err := g.syncRefs(r, "alice"); err != nil {
		t.Fatal(err)
	}
}

// Grant sets what a user may do in a repository.
func (g *GitHub) Grant(t testing.TB, repo forge.Repo, login string, p forge.Permission) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.user(login)
	g.mustRepo(t, repo).perms[login] = p
}

// Protect sets a branch's protection, in the classic form.
func (g *GitHub) Protect(t testing.TB, repo forge.Repo, branch string, p forge.Protection) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mustRepo(t, repo).classic[branch] = p
}

// ProtectByRules sets a branch's protection as a ruleset.
func (g *GitHub) ProtectByRules(t testing.TB, repo forge.Repo, branch string, p forge.Protection) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mustRepo(t, repo).rules[branch] = p
}

// Open opens a pull request as the user. The branch may be "owner:branch", of a fork made with Fork.
func (g *GitHub) Open(t testing.TB, repo forge.Repo, login, head, base, title string, draft bool) int {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.mustRepo(t, repo)
	from := r
	owner, branch, forked := strings.Cut(head, ":")
	if forked {
		from = g.mustRepo(t, forge.Repo{Owner: owner, Name: repo.Name})
		// A fork's commits come into the base repository, as they do on GitHub.
		mustGit(t, r.dir, nil, "fetch", "-q", from.dir, "refs/heads/"+branch)
	} else {
		branch = head
	}
	sha := from.refs["refs/heads/"+branch]
	if sha == "" || r.refs["refs/heads/"+base] == "" {
		t.Fatalf("open %s → %s: no such branch", head, base)
	}
	i := g.newIssue(r, login, title, "")
	i.pull = &ghPull{
		head: from, headBranch: branch, headSHA: sha, headOwner: from.repo.Owner,
		base: base, baseSHA: r.refs["refs/heads/"+base], draft: draft,
	}
	mustGit(t, r.dir, nil, "update-ref", fmt.Sprintf("refs/pull/%d/head", i.number), sha)
	g.pullHook(r, i, "opened", login, nil)
	return i.number
}

// Fork makes the user's fork of a repository.
func (g *GitHub) Fork(t testing.TB, repo forge.Repo, login string) forge.Repo {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	parent := g.mustRepo(t, repo)
	fork := forge.Repo{Owner: login, Name: repo.Name}
	r := g.newRepo(t, fork, parent.private)
	g.user(login).kind = "User"
	r.parent = parent
	r.perms[login] = forge.Admin
	mustGit(t, r.dir, nil, "fetch", "-q", parent.dir, "+refs/heads/*:refs/heads/*")
	if err := g.syncRefs(r, login); err != nil {
		t.Fatal(err)
	}
	return fork
}

// DeleteRepo deletes a repository. Pull requests that come from it stay, without a head repository.
func (g *GitHub) DeleteRepo(t testing.TB, repo forge.Repo) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	gone := g.mustRepo(t, repo)
	delete(g.repos, strings.ToLower(repo.String()))
	for _, r := range g.repos {
		for _, i := range r.issues {
			if i.pull != nil && i.pull.head == gone {
				i.pull.head = nil
			}
		}
	}
}

// Retarget changes a pull request's base branch.
func (g *GitHub) Retarget(t testing.TB, repo forge.Repo, login string, number int, base string) {
	t.Helper()
	g.onPull(t, repo, number, func(r *ghRepo, i *ghIssue) {
		from := i.pull.base
		i.pull.base, i.pull.baseSHA = base, r.refs["refs/heads/"+base]
		g.pullHook(r, i, "edited", login, map[string]any{"changes": map[string]any{
			"base": map[string]any{"ref": map[string]any{"from": from}, "sha": map[string]any{"from": i.pull.baseSHA}},
		}})
	})
}

// SetDraft makes a pull request a draft, or ready for review.
func (g *GitHub) SetDraft(t testing.TB, repo forge.Repo, login string, number int, draft bool) {
	t.Helper()
	g.onPull(t, repo, number, func(r *ghRepo, i *ghIssue) {
		i.pull.draft = draft
		action := "ready_for_review"
		if draft {
			action = "converted_to_draft"
		}
		g.pullHook(r, i, action, login, nil)
	})
}

// Comment comments on a pull request or an issue and returns the comment's id.
func (g *GitHub) Comment(t testing.TB, repo forge.Repo, login string, number int, body string) string {
	t.Helper()
	var id string
	g.onIssue(t, repo, number, func(r *ghRepo, i *ghIssue) {
		id = strconv.FormatInt(g.addComment(r, i, login, body).id, 10)
	})
	return id
}

// EditComment edits a comment as the user.
func (g *GitHub) EditComment(t testing.TB, repo forge.Repo, login, id, body string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.mustRepo(t, repo)
	for _, c := range r.comments {
		if strconv.FormatInt(c.id, 10) == id {
			g.editComment(r, c, login, body)
			return
		}
	}
	t.Fatalf("no comment %s in %s", id, repo)
}

// DeleteComment deletes a comment as the user.
func (g *GitHub) DeleteComment(t testing.TB, repo forge.Repo, login, id string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.mustRepo(t, repo)
	at := slices.IndexFunc(r.comments, func(c *ghComment) bool { return strconv.FormatInt(c.id, 10) == id })
	if at < 0 {
		t.Fatalf("no comment %s in %s", id, repo)
	}
	gone := r.comments[at]
	r.comments = slices.Delete(r.comments, at, at+1)
	g.touch(gone.issue)
	g.commentHook(r, gone, "deleted", login, nil)
}

// Approve, Reject and Remark review a pull request's head as the user.
func (g *GitHub) Approve(t testing.TB, repo forge.Repo, login string, number int) {
	t.Helper()
	g.review(t, repo, login, number, "APPROVED")
}

// Reject asks for changes.
func (g *GitHub) Reject(t testing.TB, repo forge.Repo, login string, number int) {
	t.Helper()
	g.review(t, repo, login, number, "CHANGES_REQUESTED")
}

// Remark reviews without a verdict.
func (g *GitHub) Remark(t testing.TB, repo forge.Repo, login string, number int) {
	t.Helper()
	g.review(t, repo, login, number, "COMMENTED")
}

func (g *GitHub) review(t testing.TB, repo forge.Repo, login string, number int, state string) {
	t.Helper()
	g.onPull(t, repo, number, func(r *ghRepo, i *ghIssue) {
		v := &ghReview{id: g.nextID(), user: login, state: state, commit: i.pull.headSHA, at: now()}
		i.pull.reviews = append(i.pull.reviews, v)
		g.touch(i)
		g.reviewHook(r, i, v, "submitted", login)
	})
}

// Dismiss takes away all standing reviews of a user.
func (g *GitHub) Dismiss(t testing.TB, repo forge.Repo, login string, number int) {
	t.Helper()
	g.onPull(t, repo, number, func(r *ghRepo, i *ghIssue) {
		for _, v := range i.pull.reviews {
			if v.user == login {
				v.state = "DISMISSED"
				g.reviewHook(r, i, v, "dismissed", Robot)
			}
		}
		g.touch(i)
	})
}

// Close closes a pull request or an issue without merging it.
func (g *GitHub) Close(t testing.TB, repo forge.Repo, login string, number int) {
	t.Helper()
	g.onIssue(t, repo, number, func(r *ghRepo, i *ghIssue) { g.setClosed(r, i, login, true) })
}

// Reopen opens a pull request or an issue again.
func (g *GitHub) Reopen(t testing.TB, repo forge.Repo, login string, number int) {
	t.Helper()
	g.onIssue(t, repo, number, func(r *ghRepo, i *ghIssue) { g.setClosed(r, i, login, false) })
}

// Merge merges a pull request as somebody does on its page, and returns the commit on the base branch.
func (g *GitHub) Merge(t testing.TB, repo forge.Repo, login string, number int, method forge.MergeMethod) string {
	t.Helper()
	var commit string
	g.onPull(t, repo, number, func(r *ghRepo, i *ghIssue) {
		var err error
		if commit, err = g.merge(r, i, login, string(method)); err != nil {
			t.Fatalf("merge %s#%d: %v", repo, number, err)
		}
	})
	return commit
}

// CommentsOf returns the bodies of the comments on a pull request or an issue that are not minimised, oldest first.
func (g *GitHub) CommentsOf(t testing.TB, repo forge.Repo, number int) []string {
	t.Helper()
	var bodies []string
	g.onIssue(t, repo, number, func(r *ghRepo, i *ghIssue) {
		for _, c := range r.comments {
			if c.issue == i && !c.minimised {
				bodies = append(bodies, c.body)
			}
		}
	})
	return bodies
}

// BodyOf returns the body of a pull request or an issue.
func (g *GitHub) BodyOf(t testing.TB, repo forge.Repo, number int) (body string) {
	t.Helper()
	g.onIssue(t, repo, number, func(_ *ghRepo, i *ghIssue) { body = i.body })
	return body
}

// ReadFile returns a file at the tip of a branch.
func (g *GitHub) ReadFile(t testing.TB, repo forge.Repo, branch, name string) string {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	text, err := git(g.mustRepo(t, repo).dir, nil, "cat-file", "blob", "refs/heads/"+branch+":"+name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// StateOf returns how far a pull request has come.
func (g *GitHub) StateOf(t testing.TB, repo forge.Repo, number int) forge.State {
	t.Helper()
	state := forge.Open
	g.onIssue(t, repo, number, func(_ *ghRepo, i *ghIssue) {
		switch {
		case i.pull != nil && i.pull.merged:
			state = forge.Merged
		case i.closed:
			state = forge.Closed
		}
	})
	return state
}

// Thread returns the comments on a pull request or an issue, minimised ones included, oldest first.
func (g *GitHub) Thread(t testing.TB, repo forge.Repo, number int) []forge.Comment {
	t.Helper()
	var thread []forge.Comment
	g.onIssue(t, repo, number, func(r *ghRepo, i *ghIssue) {
		for _, c := range r.comments {
			if c.issue == i {
				thread = append(thread, forge.Comment{
					ID: strconv.FormatInt(c.id, 10), Change: number, Author: c.user, Body: c.body,
					Ours: c.user == Robot || c.user == RobotBot, CreatedAt: c.created, UpdatedAt: c.updated,
				})
			}
		}
	})
	return thread
}

// ReactionsTo returns the reactions to a comment, sorted.
func (g *GitHub) ReactionsTo(t testing.TB, repo forge.Repo, id string) []string {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []string
	for _, c := range g.mustRepo(t, repo).comments {
		if strconv.FormatInt(c.id, 10) == id {
			for _, x := range c.reactions {
				found = append(found, x.content)
			}
		}
	}
	slices.Sort(found)
	return found
}

// Statuses returns the verdicts on a commit, commit statuses and check runs alike, by context.
func (g *GitHub) Statuses(t testing.TB, repo forge.Repo, commit string) map[string]forge.Status {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.mustRepo(t, repo)
	found := map[string]forge.Status{}
	for _, s := range r.statuses { // oldest first, so the newest stays
		if s.commit == commit {
			found[s.context] = forge.Status{Context: s.context, State: forge.StatusState(s.state), Description: s.description, URL: s.target}
		}
	}
	maps.Copy(found, r.checkRuns(commit))
	return found
}

// Checks returns the newest check run of each name on a commit.
func (g *GitHub) Checks(t testing.TB, repo forge.Repo, commit string) map[string]forge.Status {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mustRepo(t, repo).checkRuns(commit)
}

func (r *ghRepo) checkRuns(commit string) map[string]forge.Status {
	found := map[string]forge.Status{}
	for _, c := range r.checks {
		if c.commit != commit {
			continue
		}
		state := forge.Pending
		if c.status == "completed" {
			state = forge.StatusState(c.conclusion)
		}
		found[c.name] = forge.Status{Context: c.name, State: state, Description: c.title, URL: c.details, Summary: c.summary}
	}
	return found
}

// CheckRuns counts the check runs on a commit, replaced ones included.
func (g *GitHub) CheckRuns(t testing.TB, repo forge.Repo, commit string) int {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, c := range g.mustRepo(t, repo).checks {
		if c.commit == commit {
			n++
		}
	}
	return n
}

func (g *GitHub) onIssue(t testing.TB, repo forge.Repo, number int, do func(*ghRepo, *ghIssue)) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.mustRepo(t, repo)
	i := r.issues[number]
	if i == nil {
		t.Fatalf("no %s#%d", repo, number)
	}
	do(r, i)
}

func (g *GitHub) onPull(t testing.TB, repo forge.Repo, number int, do func(*ghRepo, *ghIssue)) {
	t.Helper()
	g.onIssue(t, repo, number, func(r *ghRepo, i *ghIssue) {
		if i.pull == nil {
			t.Fatalf("%s#%d is no pull request", repo, number)
		}
		do(r, i)
	})
}

func (g *GitHub) mustRepo(t testing.TB, repo forge.Repo) *ghRepo {
	t.Helper()
	r := g.repos[strings.ToLower(repo.String())]
	if r == nil {
		t.Fatalf("no repository %s", repo)
	}
	return r
}

// user returns the account of that name, which comes into being if need be.
func (g *GitHub) user(login string) *ghUser {
	u := g.users[login]
	if u == nil {
		u = &ghUser{id: g.nextID(), login: login, kind: "User"}
		if strings.HasSuffix(login, "[bot]") {
			u.kind = "Bot"
		}
		g.users[login] = u
	}
	return u
}

func (g *GitHub) newIssue(r *ghRepo, login, title, body string) *ghIssue {
	g.user(login)
	i := &ghIssue{id: g.nextID(), number: r.next, title: title, body: body, user: login, created: now()}
	r.next++
	r.issues[i.number] = i
	g.touch(i)
	return i
}

func (g *GitHub) touch(i *ghIssue) {
	i.updated, i.seq = now(), g.nextID()
}

func (g *GitHub) addComment(r *ghRepo, i *ghIssue, login, body string) *ghComment {
	g.user(login)
	c := &ghComment{id: g.nextID(), issue: i, user: login, body: body, created: now(), updated: now()}
	c.seq = c.id
	r.comments = append(r.comments, c)
	g.touch(i)
	g.commentHook(r, c, "created", login, nil)
	return c
}

func (g *GitHub) editComment(r *ghRepo, c *ghComment, login, body string) {
	old := c.body
	c.body, c.updated, c.seq = body, now(), g.nextID()
	g.touch(c.issue)
	g.commentHook(r, c, "edited", login, map[string]any{"changes": map[string]any{"body": map[string]any{"from": old}}})
}

func (g *GitHub) setClosed(r *ghRepo, i *ghIssue, login string, closed bool) {
	if i.closed == closed || (i.pull != nil && i.pull.merged) {
		return
	}
	i.closed, i.closedAt = closed, time.Time{}
	if closed {
		i.closedAt = now()
	}
	g.touch(i)
	if i.pull != nil {
		action := "reopened"
		if closed {
			action = "closed"
		}
		g.pullHook(r, i, action, login, nil)
	}
}

func (g *GitHub) nextID() int64 {
	g.seq++
	return g.seq
}

// now is in whole seconds, as all of GitHub's times are.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own maps and structs are encoded
	}
	return b
}
