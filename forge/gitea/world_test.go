//go:build e2e

package gitea_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/gitea"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

var update = flag.Bool("update", false, "record the webhooks in testdata anew")

// world is a Gitea with an organisation, "acme", and three people beside its operator: "robot", whose token the client
// has and who administers each repository but not the server, "alice" and "mallory".
type world struct {
	server *parts.GiteaServer
	client *gitea.Client
	tokens map[string]string
	hooks  string // address that webhooks are sent to

	mu         sync.Mutex
	repos      int
	deliveries []delivery
	arrived    chan struct{} // closed and replaced at each delivery
}

// delivery is a webhook as it arrived.
type delivery struct {
	header http.Header
	body   []byte
}

func newWorld(t *testing.T) *world {
	w := &world{server: parts.Gitea(t), tokens: map[string]string{}, arrived: make(chan struct{})}
	for _, name := range []string{"robot", "alice", "mallory"} {
		w.tokens[name] = w.server.AddUser(t, name)
	}
	w.tokens[w.server.User] = w.server.Token
	w.server.Do(t, "", "POST", "/orgs", map[string]any{"username": "acme"}, nil)
	client, err := gitea.New(gitea.Options{URL: w.server.URL + "/", Token: w.tokens["robot"], WebhookSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	w.client = client
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.deliveries = append(w.deliveries, delivery{r.Header, body})
		close(w.arrived)
		w.arrived = make(chan struct{})
	}))
	t.Cleanup(listener.Close)
	w.hooks = listener.URL
	return w
}

// newRepo makes a repository with one commit on main and a webhook for everything.
func (w *world) newRepo(t *testing.T) forge.Repo {
	t.Helper()
	w.mu.Lock()
	w.repos++
	repo := forge.Repo{Owner: "acme", Name: fmt.Sprintf("live-%d", w.repos)}
	w.mu.Unlock()
	w.server.Do(t, "", "POST", "/orgs/acme/repos", map[string]any{"name": repo.Name, "auto_init": true, "default_branch": "main"}, nil)
	w.grant(t, repo, "robot", "admin")
	w.do(t, repo, "", "POST", "/hooks", map[string]any{
		"type": "gitea", "active": true, "events": []string{
			"push", "delete", "pull_request", "pull_request_sync", "pull_request_review", "pull_request_comment",
			"issue_comment", "issues", "create",
		},
		"config": map[string]any{"url": w.hooks, "content_type": "json", "secret": secret},
	}, nil)
	return repo
}

// do calls the API below a repository.
func (w *world) do(t *testing.T, repo forge.Repo, user, method, path string, in, out any) {
	t.Helper()
	w.server.Do(t, user, method, "/repos/"+repo.String()+path, in, out)
}

func (w *world) grant(t *testing.T, repo forge.Repo, user, permission string) {
	t.Helper()
	w.do(t, repo, "", "PUT", "/collaborators/"+user, map[string]any{"permission": permission}, nil)
}

// git runs Git in dir and returns what it prints.
func (w *world) git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@example.com",
		"GIT_COMMITTER_NAME=Alice", "GIT_COMMITTER_EMAIL=alice@example.com")
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", args[0], err, output)
	}
	return strings.TrimSpace(string(output))
}

// clone clones a repository as the user.
func (w *world) clone(t *testing.T, repo forge.Repo, user string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	address := strings.Replace(w.server.URL, "http://", "http://"+user+":"+w.tokens[user]+"@", 1) + "/" + repo.String() + ".git"
	w.git(t, dir, "clone", "-q", address, ".")
	return dir
}

// push commits a file on a branch, made from origin/main if it is new, pushes it and returns the commit.
func (w *world) push(t *testing.T, dir, branch, file, text string) string {
	t.Helper()
	if exec.Command("git", "-C", dir, "checkout", "-q", branch).Run() != nil {
		w.git(t, dir, "checkout", "-q", "-b", branch, "origin/main")
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.git(t, dir, "add", ".")
	w.git(t, dir, "commit", "-q", "-m", "Change "+file)
	w.git(t, dir, "push", "-q", "origin", branch)
	return w.git(t, dir, "rev-parse", "HEAD")
}

// open opens a pull request.
func (w *world) open(t *testing.T, repo forge.Repo, user, head, title string) int {
	t.Helper()
	var made struct{ Number int }
	w.do(t, repo, user, "POST", "/pulls", map[string]any{"head": head, "base": "main", "title": title}, &made)
	return made.Number
}

// propose pushes a branch as the operator and opens a pull request from it.
func (w *world) propose(t *testing.T, repo forge.Repo, branch string) (number int, head, dir string) {
	t.Helper()
	dir = w.clone(t, repo, w.server.User)
	head = w.push(t, dir, branch, branch+".tf", "# "+branch+"\n")
	return w.open(t, repo, "", branch, "Add "+branch), head, dir
}

// about yields the webhooks about a repository, those that arrived before and then each that arrives. It fails the test
// if what the caller looks for, called name, is not among them.
func (w *world) about(t *testing.T, repo forge.Repo, name string) iter.Seq[delivery] {
	return func(yield func(delivery) bool) {
		t.Helper()
		mention := []byte(`"` + repo.String() + `"`)
		deadline := time.After(time.Minute)
		for seen := 0; ; {
			w.mu.Lock()
			arrived, deliveries := w.arrived, w.deliveries[seen:]
			w.mu.Unlock()
			seen += len(deliveries)
			for _, d := range deliveries {
				if bytes.Contains(d.body, mention) && !yield(d) {
					return
				}
			}
			select {
			case <-arrived:
			case <-deadline:
				t.Fatalf("no webhook about %s is %s", repo, name)
			}
		}
	}
}

// event waits for a webhook about the repository that matches, and returns what the client makes of it. With -update it
// is recorded under name.
func (w *world) event(t *testing.T, repo forge.Repo, name string, match func(forge.Event) bool) (found forge.Event) {
	t.Helper()
	for d := range w.about(t, repo, name) {
		events, err := w.client.Decode(d.header, d.body)
		if err != nil {
			t.Fatalf("decode %s: %v\n%s", d.header.Get("X-Gitea-Event"), err, d.body)
		}
		if at := slices.IndexFunc(events, func(e forge.Event) bool { return e.Repo == repo && match(e) }); at >= 0 {
			w.record(t, name, d)
			return events[at]
		}
	}
	return found
}

// raw waits for a webhook of the given type about the repository. With -update it is recorded under name.
func (w *world) raw(t *testing.T, repo forge.Repo, name, kind, contains string) (found delivery) {
	t.Helper()
	for d := range w.about(t, repo, name) {
		if d.header.Get("X-Gitea-Event-Type") == kind && bytes.Contains(d.body, []byte(contains)) {
			w.record(t, name, d)
			return d
		}
	}
	return found
}

func (w *world) record(t *testing.T, name string, d delivery) {
	t.Helper()
	if !*update {
		return
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "POST /webhook/gitea HTTP/1.1\r\nHost: plumbline.example.com\r\nContent-Length: %d\r\n", len(d.body))
	header := d.header.Clone()
	header.Del("Content-Length")
	header.Del("Accept-Encoding")
	if err := header.Write(&text); err != nil {
		t.Fatal(err)
	}
	text.WriteString("\r\n")
	text.Write(d.body)
	if err := os.WriteFile(filepath.Join("testdata", name+".http"), text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
