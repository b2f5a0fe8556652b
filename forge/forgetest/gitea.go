//go:build e2e

package forgetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

// Gitea is a real Gitea as its users see it, with the same methods as GitHub where the two can do the same. Robot
// administers each repository but not the server, as a bot's account should. Other accounts come into being when they are
// named.
type Gitea struct {
	URL           string // root of the server, without a slash at the end
	Token         string // of Robot
	WebhookSecret string

	server *parts.GiteaServer
	hooks  string // where the webhooks for Deliveries go
	dir    string

	mu         sync.Mutex
	users      map[string]bool
	deliveries []Delivery
}

// StartGitea starts a server for the duration of a test.
func StartGitea(t testing.TB) *Gitea {
	t.Helper()
	server := parts.Gitea(t)
	g := &Gitea{
		URL: server.URL, Token: server.AddUser(t, Robot), WebhookSecret: randomHex(16),
		server: server, dir: t.TempDir(), users: map[string]bool{Robot: true, server.User: true},
	}
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.deliveries = append(g.deliveries, Delivery{Header: r.Header, Body: body})
	}))
	t.Cleanup(listener.Close)
	g.hooks = listener.URL
	server.Do(t, "", "POST", "/orgs", map[string]any{"username": ownerName}, nil)
	return g
}

// NewRepo makes a public repository with one commit on main.
func (g *Gitea) NewRepo(t testing.TB) forge.Repo {
	t.Helper()
	repo := forge.Repo{Owner: ownerName, Name: "live-" + randomHex(4)}
	g.AddRepo(t, repo, false)
	return repo
}

// AddRepo makes a repository of an organisation with one commit on main. Robot administers it.
func (g *Gitea) AddRepo(t testing.TB, repo forge.Repo, private bool) {
	t.Helper()
	if repo.Owner != ownerName {
		g.server.Do(t, "", "POST", "/orgs", map[string]any{"username": repo.Owner}, nil)
	}
	g.server.Do(t, "", "POST", "/orgs/"+repo.Owner+"/repos", map[string]any{
		"name": repo.Name, "auto_init": true, "default_branch": mainName, "private": private,
	}, nil)
	g.do(t, repo, "", "PATCH", "", map[string]any{"has_pull_requests": true, "allow_fast_forward_only_merge": true}, nil)
	g.Grant(t, repo, Robot, forge.Admin)
	g.addHook(t, repo, g.hooks)
}

func (g *Gitea) addHook(t testing.TB, repo forge.Repo, target string) {
	t.Helper()
	g.do(t, repo, "", "POST", "/hooks", map[string]any{
		"type": "gitea", "active": true, "events": []string{
			"push", "delete", "pull_request", "pull_request_sync", "pull_request_review", "pull_request_comment", "issue_comment",
		},
		"config": map[string]any{"url": target, "content_type": "json", "secret": g.WebhookSecret},
	}, nil)
}

// SendWebhooksOf has Gitea send each webhook about the repository from now on to the address too, or to nobody else if it
// is "".
func (g *Gitea) SendWebhooksOf(t testing.TB, repo forge.Repo, address string) {
	t.Helper()
	var hooks []struct {
		ID     int64
		Config struct{ URL string }
	}
	g.do(t, repo, "", "GET", "/hooks", nil, &hooks)
	for _, h := range hooks {
		if h.Config.URL != g.hooks {
			g.do(t, repo, "", "DELETE", fmt.Sprintf("/hooks/%d", h.ID), nil, nil)
		}
	}
	if address != "" {
		g.addHook(t, repo, address)
	}
}

// DetectMerges has Gitea take a pull request for merged once its commits are on the base branch, however they got there.
// GitHub always does.
func (g *Gitea) DetectMerges(t testing.TB, repo forge.Repo) {
	t.Helper()
	g.do(t, repo, "", "PATCH", "", map[string]any{"has_pull_requests": true, "allow_manual_merge": true, "autodetect_manual_merge": true}, nil)
}

// Deliveries returns the webhooks about the repository that arrived so far.
func (g *Gitea) Deliveries(_ testing.TB, repo forge.Repo) []Delivery {
	g.mu.Lock()
	defer g.mu.Unlock()
	mention := []byte(strconv.Quote(repo.String()))
	var found []Delivery
	for _, d := range g.deliveries {
		if bytes.Contains(d.Body, mention) {
			found = append(found, d)
		}
	}
	return found
}

// do calls the API below a repository as the user; "" is the server's operator.
func (g *Gitea) do(t testing.TB, repo forge.Repo, user, method, path string, in, out any) {
	t.Helper()
	g.need(t, user)
	g.server.Do(t, user, method, "/repos/"+repo.String()+path, in, out)
}

// need makes the account unless it exists.
func (g *Gitea) need(t testing.TB, user string) {
	t.Helper()
	g.mu.Lock()
	known := user == "" || g.users[user]
	g.users[user] = true
	g.mu.Unlock()
	if !known {
		g.server.AddUser(t, user)
	}
}

// Grant sets what a user may do in a repository.
func (g *Gitea) Grant(t testing.TB, repo forge.Repo, user string, p forge.Permission) {
	t.Helper()
	g.need(t, user)
	g.do(t, repo, "", "PUT", "/collaborators/"+user, map[string]any{"permission": p.String()}, nil)
}

// Protect sets a branch's protection.
func (g *Gitea) Protect(t testing.TB, repo forge.Repo, branch string, p forge.Protection) {
	t.Helper()
	g.do(t, repo, "", "POST", "/branch_protections", map[string]any{
		"rule_name": branch, "required_approvals": p.Approvals, "dismiss_stale_approvals": p.DismissStale, "enable_push": true,
		"block_on_rejected_reviews": p.Rejections, "enable_status_check": len(p.Checks) > 0, "status_check_contexts": p.Checks,
	}, nil)
}

// Commit puts a commit with the files on the branch, made from base (a branch) if it does not exist, pushes it as the
// operator and returns its id.
func (g *Gitea) Commit(t testing.TB, repo forge.Repo, branch, base string, files map[string]string) string {
	t.Helper()
	dir := g.mirror(t, repo)
	tip := g.tip(t, dir, branch)
	if tip == "" && base != "" {
		tip = g.tip(t, dir, base)
	}
	mustGit(t, dir, commitStream(branch, tip, files), "fast-import", "--quiet", "--force")
	g.push(t, repo, dir, "refs/heads/"+branch+":refs/heads/"+branch)
	return g.tip(t, dir, branch)
}

// Reset moves a branch to a commit that the repository has by a forced push, or deletes it if commit is "".
func (g *Gitea) Reset(t testing.TB, repo forge.Repo, branch, commit string) {
	t.Helper()
	g.push(t, repo, g.mirror(t, repo), "+"+commit+":refs/heads/"+branch)
}

// mirror returns a bare copy of the repository with the branches as they are now.
func (g *Gitea) mirror(t testing.TB, repo forge.Repo) string {
	t.Helper()
	dir := filepath.Join(g.dir, repo.Owner, repo.Name+".git")
	mustGit(t, "", nil, "init", "-q", "--bare", dir)
	mustGit(t, dir, nil, "fetch", "-q", "--prune", g.remote(repo), "+refs/heads/*:refs/heads/*")
	return dir
}

func (g *Gitea) remote(repo forge.Repo) string {
	u, _ := url.Parse(g.URL) // is one: we were there
	u.User = url.UserPassword(g.server.User, g.server.Token)
	return u.String() + "/" + repo.String() + ".git"
}

func (g *Gitea) push(t testing.TB, repo forge.Repo, dir, refspec string) {
	t.Helper()
	mustGit(t, dir, nil, "push", "-q", g.remote(repo), refspec)
}

func (g *Gitea) tip(t testing.TB, dir, branch string) string {
	t.Helper()
	out, err := git(dir, nil, "for-each-ref", "--format=%(objectname)", "refs/heads/"+branch)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// wip marks a draft: Gitea knows it by its title.
const wip = "WIP: "

// Open opens a pull request as the user. The branch may be "owner:branch", of a fork made with Fork.
func (g *Gitea) Open(t testing.TB, repo forge.Repo, user, head, base, title string, draft bool) int {
	t.Helper()
	if draft {
		title = wip + title
	}
	var made struct{ Number int }
	g.do(t, repo, user, "POST", "/pulls", map[string]any{"head": head, "base": base, "title": title}, &made)
	return made.Number
}

// Fork makes the user's fork of a repository.
func (g *Gitea) Fork(t testing.TB, repo forge.Repo, user string) forge.Repo {
	t.Helper()
	g.do(t, repo, user, "POST", "/forks", map[string]any{"name": repo.Name}, nil)
	return forge.Repo{Owner: user, Name: repo.Name}
}

// SetDraft makes a pull request a draft, or ready for review.
func (g *Gitea) SetDraft(t testing.TB, repo forge.Repo, user string, number int, draft bool) {
	t.Helper()
	var now struct{ Title string }
	g.do(t, repo, user, "GET", fmt.Sprintf("/pulls/%d", number), nil, &now)
	title := strings.TrimPrefix(now.Title, wip)
	if draft {
		title = wip + title
	}
	g.edit(t, repo, user, number, map[string]any{"title": title})
}

// Retarget changes a pull request's base branch.
func (g *Gitea) Retarget(t testing.TB, repo forge.Repo, user string, number int, base string) {
	t.Helper()
	g.edit(t, repo, user, number, map[string]any{"base": base})
}

// Close closes a pull request without merging it.
func (g *Gitea) Close(t testing.TB, repo forge.Repo, user string, number int) {
	t.Helper()
	g.edit(t, repo, user, number, map[string]any{"state": "closed"})
}

// Reopen opens a pull request again.
func (g *Gitea) Reopen(t testing.TB, repo forge.Repo, user string, number int) {
	t.Helper()
	g.edit(t, repo, user, number, map[string]any{"state": "open"})
}

// CloseIssue closes an issue as the user.
func (g *Gitea) CloseIssue(t testing.TB, repo forge.Repo, user string, number int) {
	t.Helper()
	g.do(t, repo, user, "PATCH", fmt.Sprintf("/issues/%d", number), map[string]any{"state": "closed"}, nil)
}

// LockIssue keeps those without write permission from commenting on an issue.
func (g *Gitea) LockIssue(t testing.TB, repo forge.Repo, number int) {
	t.Helper()
	g.do(t, repo, "", "PUT", fmt.Sprintf("/issues/%d/lock", number), map[string]any{"lock_reason": "Too heated"}, nil)
}

func (g *Gitea) edit(t testing.TB, repo forge.Repo, user string, number int, fields map[string]any) {
	t.Helper()
	g.do(t, repo, user, "PATCH", fmt.Sprintf("/pulls/%d", number), fields, nil)
}

// FastForward is Gitea's way to merge without a new commit. The client does not offer it; people may choose it.
const FastForward forge.MergeMethod = "fast-forward-only"

// Merge merges a pull request as somebody does on its page, and returns the commit on the base branch. Gitea finds out in
// the background whether it can be merged, so this asks until it knows.
func (g *Gitea) Merge(t testing.TB, repo forge.Repo, user string, number int, method forge.MergeMethod) string {
	t.Helper()
	g.need(t, user)
	pull := fmt.Sprintf("%s/api/v1/repos/%s/pulls/%d", g.URL, repo, number)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		body, _ := json.Marshal(map[string]any{"Do": method}) // a string can be encoded
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, pull+"/merge", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "token "+g.server.Token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Sudo", user)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("merge %s#%d: %v", repo, number, err)
		}
		answer, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			break
		}
		if resp.StatusCode != http.StatusMethodNotAllowed || !bytes.Contains(answer, []byte("try again later")) || time.Now().After(deadline) {
			t.Fatalf("merge %s#%d: %s: %s", repo, number, resp.Status, answer)
		}
	}
	var merged struct {
		Commit string `json:"merge_commit_sha"`
	}
	g.do(t, repo, "", "GET", fmt.Sprintf("/pulls/%d", number), nil, &merged)
	return merged.Commit
}

// Comment comments on a pull request and returns the comment's id.
func (g *Gitea) Comment(t testing.TB, repo forge.Repo, user string, number int, body string) string {
	t.Helper()
	var made struct{ ID int64 }
	g.do(t, repo, user, "POST", fmt.Sprintf("/issues/%d/comments", number), map[string]any{"body": body}, &made)
	return strconv.FormatInt(made.ID, 10)
}

// EditComment edits a comment as the user.
func (g *Gitea) EditComment(t testing.TB, repo forge.Repo, user, id, body string) {
	t.Helper()
	g.do(t, repo, user, "PATCH", "/issues/comments/"+id, map[string]any{"body": body}, nil)
}

// DeleteComment deletes a comment as the user.
func (g *Gitea) DeleteComment(t testing.TB, repo forge.Repo, user, id string) {
	t.Helper()
	g.do(t, repo, user, "DELETE", "/issues/comments/"+id, nil, nil)
}

// Approve approves of a pull request's head as the user.
func (g *Gitea) Approve(t testing.TB, repo forge.Repo, user string, number int) {
	t.Helper()
	g.review(t, repo, user, number, "APPROVED")
}

// Reject asks for changes.
func (g *Gitea) Reject(t testing.TB, repo forge.Repo, user string, number int) {
	t.Helper()
	g.review(t, repo, user, number, "REQUEST_CHANGES")
}

func (g *Gitea) review(t testing.TB, repo forge.Repo, user string, number int, verdict string) {
	t.Helper()
	g.do(t, repo, user, "POST", fmt.Sprintf("/pulls/%d/reviews", number), map[string]any{"event": verdict, "body": "so"}, nil)
}

// Thread returns the comments on a pull request, oldest first.
func (g *Gitea) Thread(t testing.TB, repo forge.Repo, number int) []forge.Comment {
	t.Helper()
	var list []struct {
		ID      int64
		Body    string
		User    struct{ Login string }
		Created time.Time `json:"created_at"`
		Updated time.Time `json:"updated_at"`
	}
	g.do(t, repo, "", "GET", fmt.Sprintf("/issues/%d/comments", number), nil, &list) // all of them, whatever the page
	thread := make([]forge.Comment, len(list))
	for i, c := range list {
		thread[i] = forge.Comment{
			ID: strconv.FormatInt(c.ID, 10), Change: number, Author: c.User.Login, Body: c.Body, Ours: c.User.Login == Robot,
			CreatedAt: c.Created, UpdatedAt: c.Updated,
		}
	}
	return thread
}

// ReactionsTo returns the reactions to a comment, sorted.
func (g *Gitea) ReactionsTo(t testing.TB, repo forge.Repo, id string) []string {
	t.Helper()
	var list []struct{ Content string }
	g.do(t, repo, "", "GET", "/issues/comments/"+id+"/reactions", nil, &list)
	var found []string
	for _, r := range list {
		found = append(found, r.Content)
	}
	slices.Sort(found)
	return found
}

// Statuses returns the verdicts on a commit by context.
func (g *Gitea) Statuses(t testing.TB, repo forge.Repo, commit string) map[string]forge.Status {
	t.Helper()
	found := map[string]forge.Status{}
	for page := 1; ; page++ {
		var combined struct {
			Statuses []struct {
				Context, Status, Description string
				Target                       string `json:"target_url"`
			}
		}
		g.do(t, repo, "", "GET", fmt.Sprintf("/commits/%s/status?limit=50&page=%d", commit, page), nil, &combined)
		before := len(found)
		for _, s := range combined.Statuses {
			found[s.Context] = forge.Status{Context: s.Context, State: forge.StatusState(s.Status), Description: s.Description, URL: s.Target}
		}
		if len(found) == before {
			return found
		}
	}
}
