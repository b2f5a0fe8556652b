package forgetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// serveGit serves Git's smart HTTP protocol with Git's own program.
func (g *GitHub) serveGit(w http.ResponseWriter, req *http.Request) {
	path, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), ".git/")
	g.mu.Lock()
	r := g.repos[strings.ToLower(path)]
	token, authenticated := g.gitIdentity(req)
	g.mu.Unlock()
	pushing := strings.HasSuffix(req.URL.Path, "/git-receive-pack") || req.URL.Query().Get("service") == "git-receive-pack"
	need := forge.Read
	if pushing {
		need = forge.Write
	}
	if r == nil || !authenticated || (g.may(token, r, "contents") < need && (r.private || pushing)) {
		// GitHub asks for credentials before it says that there is nothing.
		if _, _, given := req.BasicAuth(); !given {
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			http.Error(w, "Repository not found.", http.StatusUnauthorized)
			return
		}
		http.Error(w, "Repository not found.", http.StatusNotFound)
		return
	}
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		http.Error(w, "git: "+err.Error(), http.StatusInternalServerError)
		return
	}
	// CGI needs the length of the body, which Git does not send with large ones.
	if req.ContentLength < 0 {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, "read body", http.StatusBadRequest)
			return
		}
		req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Root: "/" + path + ".git",
		Dir:  r.dir,
		Env: append(gitEnv(),
			"GIT_PROJECT_ROOT="+r.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER="+token.user,
			"GIT_PROTOCOL="+req.Header.Get("Git-Protocol")),
		Stderr: io.Discard,
	}
	backend.ServeHTTP(w, req)
	if strings.HasSuffix(req.URL.Path, "/git-receive-pack") {
		g.mu.Lock()
		defer g.mu.Unlock()
		if err := g.syncRefs(r, token.user); err != nil {
			panic(http.ErrAbortHandler) // the pusher sees a broken connection
		}
	}
}

// gitIdentity says who is at the other end: nobody, for a request without credentials, is somebody too.
func (g *GitHub) gitIdentity(req *http.Request) (*ghToken, bool) {
	_, password, given := req.BasicAuth()
	if !given {
		return &ghToken{}, true
	}
	token := g.tokens[password]
	return token, token != nil && token.valid()
}

// syncRefs compares the repository's branches with what was known, and does what follows from a push: webhooks, and new
// heads of pull requests.
func (g *GitHub) syncRefs(r *ghRepo, pusher string) error {
	out, err := git(r.dir, nil, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads")
	if err != nil {
		return err
	}
	current := map[string]string{}
	for line := range strings.Lines(out) {
		name, commit, _ := strings.Cut(strings.TrimSpace(line), " ")
		current[name] = commit
	}
	previous := r.refs
	r.refs = current
	for name := range previous {
		if current[name] == "" {
			current[name] = ""
		}
	}
	for name, after := range current {
		before := previous[name]
		if before == after {
			continue
		}
		r.pushed = now()
		branch := strings.TrimPrefix(name, "refs/heads/")
		g.pushHook(r, name, before, after, pusher)
		if after == "" {
			delete(current, name)
		}
		if err := g.moveHeads(r, branch, before, after, pusher); err != nil {
			return err
		}
	}
	return nil
}

// moveHeads gives the open pull requests whose head or base is the branch its new commit.
func (g *GitHub) moveHeads(r *ghRepo, branch, before, after, pusher string) error {
	for _, base := range g.repos {
		for _, i := range base.issues {
			if i.pull == nil || i.closed {
				continue
			}
			if base == r && i.pull.base == branch && after != "" {
				i.pull.baseSHA = after
				if _, err := git(r.dir, nil, "merge-base", "--is-ancestor", i.pull.headSHA, after); err == nil {
					// However the commits got there, the pull request is merged.
					g.setMerged(r, i, pusher, after)
					continue
				}
			}
			if i.pull.head != r || i.pull.headBranch != branch {
				continue
			}
			if after == "" {
				g.setClosed(base, i, pusher, true)
				continue
			}
			if base != r {
				if _, err := git(base.dir, nil, "fetch", "-q", r.dir, "refs/heads/"+branch); err != nil {
					return err
				}
			}
			if _, err := git(base.dir, nil, "update-ref", fmt.Sprintf("refs/pull/%d/head", i.number), after); err != nil {
				return err
			}
			i.pull.headSHA = after
			g.touch(i)
			if base.classic[i.pull.base].DismissStale {
				for _, v := range i.pull.reviews {
					if v.state == "APPROVED" {
						v.state = "DISMISSED"
					}
				}
			}
			g.pullHook(base, i, "synchronize", pusher, map[string]any{"before": before, "after": after})
		}
	}
	return nil
}

// errConflict is what merge returns when the branches conflict.
var errConflict = errors.New("Pull Request is not mergeable") //nolint:staticcheck // GitHub's own words

// mergeable tries the merge of a pull request and returns the merged tree.
func (g *GitHub) mergeable(r *ghRepo, i *ghIssue) (tree string, err error) {
	out, err := git(r.dir, nil, "merge-tree", "--write-tree", "--no-messages", r.refs["refs/heads/"+i.pull.base], i.pull.headSHA)
	if err != nil {
		return "", errConflict
	}
	return strings.TrimSpace(out), nil
}

// merge merges a pull request with one of GitHub's three methods.
func (g *GitHub) merge(r *ghRepo, i *ghIssue, login, method string) (string, error) {
	if i.closed || i.pull.draft {
		return "", errConflict
	}
	tree, err := g.mergeable(r, i)
	if err != nil {
		return "", err
	}
	base := r.refs["refs/heads/"+i.pull.base]
	var commit string
	switch method {
	case "squash":
		commit, err = git(r.dir, nil, "commit-tree", tree, "-p", base, "-m", fmt.Sprintf("%s (#%d)", i.title, i.number))
	case "rebase":
		commit, err = rebase(r.dir, base, i.pull.headSHA)
	default:
		commit, err = git(r.dir, nil, "commit-tree", tree, "-p", base, "-p", i.pull.headSHA, "-m", fmt.Sprintf("Merge pull request #%d", i.number))
	}
	if err != nil {
		return "", err
	}
	commit = strings.TrimSpace(commit)
	if _, err := git(r.dir, nil, "update-ref", "refs/heads/"+i.pull.base, commit, base); err != nil {
		return "", err
	}
	i.closed = true // so that the push below does not merge it
	if err := g.syncRefs(r, login); err != nil {
		return "", err
	}
	g.setMerged(r, i, login, commit)
	return commit, nil
}

func (g *GitHub) setMerged(r *ghRepo, i *ghIssue, login, commit string) {
	i.closed, i.closedAt = true, now()
	i.pull.merged, i.pull.mergeCommit, i.pull.mergedBy = true, commit, login
	g.touch(i)
	g.pullHook(r, i, "closed", login, nil)
}

// rebase puts the commits between base and head on top of base, and returns the last one.
func rebase(dir, base, head string) (string, error) {
	out, err := git(dir, nil, "rev-list", "--reverse", "--no-merges", base+".."+head)
	if err != nil {
		return "", err
	}
	tip := base
	for commit := range strings.FieldsSeq(out) {
		tree, err := git(dir, nil, "merge-tree", "--write-tree", "--no-messages", "--merge-base="+commit+"^", tip, commit)
		if err != nil {
			// Git before 2.40 has no --merge-base; a plain merge gives the same tree where nothing conflicts.
			if tree, err = git(dir, nil, "merge-tree", "--write-tree", "--no-messages", tip, commit); err != nil {
				return "", errConflict
			}
		}
		// Author and message stay, as on GitHub.
		old, err := git(dir, nil, "cat-file", "commit", commit)
		if err != nil {
			return "", err
		}
		header, message, _ := strings.Cut(old, "\n\n")
		_, author, _ := strings.Cut(header, "\nauthor ")
		author, _, _ = strings.Cut(author, "\n")
		text := fmt.Sprintf("tree %s\nparent %s\nauthor %s\ncommitter GitHub <noreply@github.com> %d +0000\n\n%s",
			strings.TrimSpace(tree), tip, author, time.Now().Unix(), message)
		made, err := git(dir, []byte(text), "hash-object", "-w", "-t", "commit", "--stdin")
		if err != nil {
			return "", err
		}
		tip = strings.TrimSpace(made)
	}
	return tip, nil
}

// Gone, as the content of a file in a commit, removes the file.
const Gone = "\x00gone"

// commitStream is what git fast-import makes a commit of: the files on the branch, on top of tip ("" for none).
func commitStream(branch, tip string, files map[string]string) []byte {
	var in bytes.Buffer
	message := "Change " + branch
	fmt.Fprintf(&in, "commit refs/heads/%s\ncommitter Alice <alice@example.com> %d +0000\ndata %d\n%s\n", branch, time.Now().Unix(), len(message), message)
	if tip != "" {
		fmt.Fprintf(&in, "from %s\n", tip)
	}
	for name, content := range files {
		if content == Gone {
			fmt.Fprintf(&in, "D %s\n", strconv.Quote(name))
			continue
		}
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", strconv.Quote(name), len(content), content)
	}
	return in.Bytes()
}

func mustGit(t testing.TB, dir string, stdin []byte, args ...string) {
	t.Helper()
	if _, err := git(dir, stdin, args...); err != nil {
		t.Fatal(err)
	}
}

func git(dir string, stdin []byte, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, gitEnv(), bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// gitEnv keeps the configuration of whoever runs the tests out of them.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@example.com", "GIT_COMMITTER_NAME=GitHub", "GIT_COMMITTER_EMAIL=noreply@github.com",
	}
}
