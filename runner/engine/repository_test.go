package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// upstreamHub is a GitHub with one private repository, and a door before its
// Git that counts fetches and can be held shut.
type upstreamHub struct {
	*forgetest.GitHub
	repo    forge.Repo
	client  *github.Client
	door    *httptest.Server
	fetches atomic.Int64
	shut    atomic.Pointer[chan struct{}] // fetches wait until it is closed
}

func startHub(t *testing.T, files map[string]string) *upstreamHub {
	t.Helper()
	h := &upstreamHub{GitHub: forgetest.StartGitHub(t), repo: forge.Repo{Owner: "acme", Name: "live"}}
	h.AddRepo(t, h.repo, true)
	h.Commit(t, h.repo, "main", "", files)
	var err error
	if h.client, err = github.New(github.Options{URL: h.URL, Token: h.Token}); err != nil {
		t.Fatal(err)
	}
	api, err := h.client.Repository(t.Context(), h.repo)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(api.CloneURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	h.door = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") && r.Header.Get("Authorization") != "" {
			h.fetches.Add(1)
			if shut := h.shut.Load(); shut != nil {
				select {
				case <-*shut:
				case <-r.Context().Done():
				}
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(h.door.Close)
	return h
}

// row is what the engine knows of the repository.
func (h *upstreamHub) row() Repository {
	return Repository{ID: RepoID("github/" + h.repo.String()), Forge: "github", Repo: h.repo, CloneURL: h.door.URL + "/" + h.repo.String() + ".git"}
}

// clone opens a clone in a data directory.
func (h *upstreamHub) clone(t *testing.T, dir string, client Forge) *clone {
	t.Helper()
	e := &Engine{Options: Options{DataDir: dir, Environ: gitEnviron(), Forges: []ForgeOptions{{Name: "github", Client: client, Repos: []string{"*/*"}}}}}
	c, err := e.clone(t.Context(), h.row())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := e.clone(t.Context(), h.row()); err != nil || again != c {
		t.Errorf("asked again, the clone is %p, %v; want %p", again, err, c)
	}
	return c
}

func gitEnviron() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
}

// change asks the forge for a change.
func (h *upstreamHub) change(t *testing.T, number int) forge.Change {
	t.Helper()
	c, err := h.client.Change(t.Context(), h.repo, number)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const someRoot = "resource \"terraform_data\" \"x\" {\n  input = %q\n}\n"

func someFiles() map[string]string {
	return map[string]string{
		"network/main.tf": fmt.Sprintf(someRoot, "1"), "app/main.tf": fmt.Sprintf(someRoot, "1"),
		"app/net.tf": "module \"m\" {\n  source = \"../modules/m\"\n}\n", "modules/m/main.tf": fmt.Sprintf(someRoot, "m"),
		"plumbline.yaml": "version: 1\nworkspaces:\n  - dir: app\n    approvals: 2\n",
	}
}

// materialise lays the files of a commit out, as a run does.
func materialise(t *testing.T, c *clone, commit, workspace, site string) (int, error) {
	t.Helper()
	tree, err := c.tree(t.Context(), commit)
	if err != nil {
		return 0, err
	}
	defer tree.Close()
	return c.materialise(t.Context(), tree, commit, workspace, site)
}

func TestCloneOfAChange(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	h.Commit(t, h.repo, "feature", "main", map[string]string{
		"modules/m/main.tf": fmt.Sprintf(someRoot, "m2"), "plumbline.yaml": "version: 1\n",
	})
	number := h.Open(t, h.repo, "alice", "feature", "main", "title", false)
	main := h.Commit(t, h.repo, "main", "", map[string]string{"network/main.tf": fmt.Sprintf(someRoot, "2")})

	data := t.TempDir()
	c := h.clone(t, data, h.client)
	change := h.change(t, number)
	tip, err := c.fetchChange(t.Context(), change)
	if err != nil || tip != main {
		t.Fatalf("fetchChange = %q, %v; want %q", tip, err, main)
	}
	merged, err := c.mergeChange(t.Context(), number, tip, change.Head.Commit)
	if err != nil || merged.Commit == "" {
		t.Fatalf("merge: %+v, %v", merged, err)
	}
	touched, set, err := c.affected(t.Context(), tip, merged.Commit)
	if err != nil || len(touched) != 1 || touched[0].Name != "app" {
		t.Fatalf("affected: %v, %v; want app", touched, err)
	}
	if w, _ := set.Get("app"); w == nil || w.Approvals != 2 || touched[0].Approvals != 2 {
		t.Errorf("a change took its own approvals away: %+v", w)
	}
	if _, asked, err := c.guarded(t.Context(), tip, merged.Commit); err != nil || len(asked) != 1 || asked[0].Key != "approvals" {
		t.Errorf("asked for %v, %v", asked, err)
	}

	site := filepath.Join(t.TempDir(), "site")
	if n, err := materialise(t, c, merged.Commit, "app", site); err != nil || n != 4 {
		t.Errorf("materialise wrote %d, %v; want 4", n, err)
	}
	for name, want := range map[string]bool{"app/main.tf": true, "app/net.tf": true, "modules/m/main.tf": true, "plumbline.yaml": true, "network/main.tf": false, "README.md": false} {
		if _, err := os.Stat(filepath.Join(site, "files", name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	if n, err := materialise(t, c, tip, "app", site); err != nil || n != 2 {
		t.Errorf("another commit changed %d, %v; want 2", n, err)
	}
	// What an earlier run has left does not configure anything.
	left := map[string]bool{"app/zz_override.tf": false, "app/x.auto.tfvars.json": false, "modules/m/more.tofu": false, "zz.tf.json": false, "app/out/z.tf": false, "app/built.zip": true, "app/.terraform.lock.hcl": true}
	for name := range left {
		path := filepath.Join(site, "files", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("# left\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := materialise(t, c, tip, "app", site); err != nil || n != 5 {
		t.Errorf("clearing up changed %d, %v; want 5", n, err)
	}
	for name, stays := range left {
		if _, err := os.Stat(filepath.Join(site, "files", name)); (err == nil) != stays {
			t.Errorf("%s stays: %v, want %v", name, err == nil, stays)
		}
	}
	if _, err := materialise(t, c, tip, "none", site); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no such workspace: %v", err)
	}

	// Another machine, or the mirror was lost: the same commit again.
	other := h.clone(t, t.TempDir(), h.client)
	op := Operation{Kind: KindPlan, Change: number, Branch: "main", BaseCommit: tip, HeadCommit: change.Head.Commit, Commit: merged.Commit}
	if err := other.ensure(t.Context(), op); err != nil {
		t.Error(err)
	}
	if again, err := other.set(t.Context(), merged.Commit); err != nil || len(again.Workspaces) != len(set.Workspaces) {
		t.Errorf("elsewhere: %v, %v", again, err)
	}
	op.Commit = strings.Repeat("4", 40)
	if err := other.ensure(t.Context(), op); err == nil || !strings.Contains(err.Error(), "version of Git") {
		t.Errorf("a merge that comes out differently: %v", err)
	}
	if err := c.forget(t.Context(), number); err != nil {
		t.Error(err)
	}

	// It is merged, and the branch moves on.
	squash := h.Merge(t, h.repo, "alice", number, forge.Squash)
	push := h.Commit(t, h.repo, "main", "", map[string]string{"x": "y"})
	if tip, err := c.fetchBranch(t.Context(), "main"); err != nil || tip != push {
		t.Fatalf("fetchBranch = %q, %v; want %q", tip, err, push)
	}
	spans, forward, err := c.spans(t.Context(), main, push, []gitrepo.MergedChange{{Number: number, Head: change.Head.Commit, MergeCommit: squash}})
	if err != nil || !forward || len(spans) != 2 || spans[0].Change != number || spans[0].Method != gitrepo.SquashMethod || spans[1].Change != 0 {
		t.Errorf("spans: %+v, %v, %v", spans, forward, err)
	}
	if yes, err := c.holds(t.Context(), push, squash); err != nil || !yes {
		t.Errorf("holds: %v, %v", yes, err)
	}
	h.Reset(t, h.repo, "main", main)
	if tip, err := c.fetchBranch(t.Context(), "main"); err != nil || tip != main {
		t.Errorf("after a forced push: %q, %v", tip, err)
	}
	if _, forward, err := c.spans(t.Context(), push, main, nil); err != nil || forward {
		t.Errorf("after a forced push: forward %v, %v", forward, err)
	}
}

func TestCloneOfAConflictAndAFork(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	fork := h.Fork(t, h.repo, "mallory")
	h.Commit(t, fork, "evil", "main", map[string]string{"network/main.tf": fmt.Sprintf(someRoot, "fork")})
	number := h.Open(t, h.repo, "mallory", "mallory:evil", "main", "title", false)
	h.Commit(t, h.repo, "main", "", map[string]string{"network/main.tf": fmt.Sprintf(someRoot, "main")})
	c := h.clone(t, t.TempDir(), h.client)
	change := h.change(t, number)
	tip, err := c.fetchChange(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := c.mergeChange(t.Context(), number, tip, change.Head.Commit)
	if err != nil || merged.Commit != "" || len(merged.Conflicts) != 1 || merged.Conflicts[0] != "network/main.tf" {
		t.Errorf("merge: %+v, %v", merged, err)
	}
}

func TestCloneBrokenConfiguration(t *testing.T) {
	t.Parallel()
	files := someFiles()
	files["plumbline.yaml"] = "version: 1\nworkspace: []\n"
	h := startHub(t, files)
	c := h.clone(t, t.TempDir(), h.client)
	broken, err := c.fetchBranch(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	mended := h.Commit(t, h.repo, "main", "", map[string]string{"plumbline.yaml": "version: 1\n"})
	if _, err := c.fetchBranch(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second answer is remembered
		if _, err := c.set(t.Context(), broken); len(workspaces.Problems(err)) == 0 {
			t.Errorf("set: %v", err)
		}
	}
	var base *brokenBaseError
	if _, _, err := c.affected(t.Context(), broken, mended); !errors.As(err, &base) || len(workspaces.Problems(err)) == 0 {
		t.Errorf("a broken base: %v", err)
	}
	if _, _, err := c.affected(t.Context(), mended, broken); errors.As(err, &base) || len(workspaces.Problems(err)) == 0 {
		t.Errorf("a broken commit: %v", err)
	}
	if _, err := c.set(t.Context(), strings.Repeat("3", 40)); err == nil || len(workspaces.Problems(err)) > 0 {
		t.Errorf("no such commit: %v", err)
	}
}

// TestCloneIsInterrupted ends whoever looks for workspaces first at any moment: who comes next must not be told of it.
func TestCloneIsInterrupted(t *testing.T) {
	t.Parallel()
	files := someFiles()
	files["plumbline.yaml"] = "version: 1\n"
	h := startHub(t, files)
	dir := t.TempDir()
	tip, err := h.clone(t, dir, h.client).fetchBranch(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	preempted := errors.New("somebody goes first")
	ended := 0
	for n := range 60 {
		c := h.clone(t, dir, h.client)
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(time.Duration(n)*time.Millisecond/4, func() { cancel(preempted) })
		if _, err := c.set(ctx, tip); err != nil {
			ended++
			if !errors.Is(err, preempted) || len(workspaces.Problems(err)) > 0 {
				t.Errorf("after %d: %v", n, err)
			}
		}
		timer.Stop()
		cancel(nil)
		if set, err := c.set(t.Context(), tip); err != nil || len(set.Workspaces) == 0 {
			t.Errorf("the next one after %d: %v", n, err)
		}
	}
	if ended == 0 {
		t.Error("none was interrupted")
	}
}

// Whoever comes while a fetch is under way shares the next one.
func TestCloneFetchesTogether(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	const others = 20
	for i := range others {
		h.Commit(t, h.repo, fmt.Sprint("b", i), "main", nil)
	}
	c := h.clone(t, t.TempDir(), h.client)
	if _, err := c.fetchBranch(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	shut := make(chan struct{})
	h.shut.Store(&shut)
	before := h.fetches.Load()
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := c.fetchBranch(t.Context(), "main"); err != nil {
			t.Error(err)
		}
	})
	await(t, "the first fetch", func() bool { return h.fetches.Load() > before })
	for range 20 {
		all.Go(func() {
			if _, err := c.fetchBranch(t.Context(), "main"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() { // what is not there is nobody else's trouble
		if err := c.fetch(t.Context(), branchRef("gone")); !errors.Is(err, gitrepo.ErrRefNotFound) {
			t.Errorf("a branch that is gone: %v", err)
		}
	})
	ended, cancel := context.WithCancel(t.Context())
	all.Go(func() {
		if err := c.fetch(ended, branchRef("main")); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
	await(t, "the others to wait", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.next != nil && len(c.next.refs) == 2
	})
	cancel()
	close(shut)
	all.Wait()
	// The first, the one for all, and then each alone because one ref was gone.
	// Without that one, two are enough.
	shut = make(chan struct{})
	h.shut.Store(&shut)
	before = h.fetches.Load()
	all.Go(func() {
		if _, err := c.fetchBranch(t.Context(), "main"); err != nil {
			t.Error(err)
		}
	})
	await(t, "the first fetch", func() bool { return h.fetches.Load() > before })
	for i := range others {
		all.Go(func() {
			if err := c.fetch(t.Context(), branchRef(fmt.Sprint("b", i))); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, "the others to wait", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.next != nil && len(c.next.refs) == others
	})
	close(shut)
	all.Wait()
	if n := h.fetches.Load() - before; n != 2 {
		t.Errorf("%d callers made %d fetches, want 2", others+1, n)
	}
}

// A leader that gives up does not take the others with it.
func TestCloneFetchGoesOnWithoutItsLeader(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	c := h.clone(t, t.TempDir(), h.client)
	shut := make(chan struct{})
	h.shut.Store(&shut)
	c.turn <- struct{}{}
	ended, cancel := context.WithCancelCause(t.Context())
	gaveUp := errors.New("gave up")
	results := make(chan error, 2)
	go func() { results <- c.fetch(ended, branchRef("main")) }()
	go func() { results <- c.fetch(t.Context(), branchRef("main")) }()
	await(t, "both to wait", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.next != nil
	})
	<-c.turn
	await(t, "a fetch", func() bool { return h.fetches.Load() > 0 })
	cancel(gaveUp)
	time.AfterFunc(100*time.Millisecond, func() { close(shut) })
	good, bad := 0, 0
	for range 2 {
		switch err := <-results; {
		case err == nil:
			good++
		case errors.Is(err, gaveUp):
			bad++
		default:
			t.Errorf("got %v", err)
		}
	}
	if good == 0 || good+bad != 2 {
		t.Errorf("%d fetched, %d gave up", good, bad)
	}
}

// tokens is a forge whose credentials end.
type tokens struct {
	Forge
	asked atomic.Int64
	list  []string
	life  time.Duration
}

func (f *tokens) Credential(context.Context, forge.Repo) (forge.Credential, error) {
	n := int(f.asked.Add(1)) - 1
	return forge.Credential{Username: "x-access-token", Password: f.list[min(n, len(f.list)-1)], Expires: time.Now().Add(f.life)}, nil
}

func TestCloneCredentials(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	for name, test := range map[string]struct {
		tokens []string
		life   time.Duration
		asked  int64 // after three fetches
		fails  bool
	}{
		"good":        {[]string{h.Token}, time.Hour, 1, false},
		"revoked":     {[]string{"CANARY-revoked", h.Token}, time.Hour, 2, false},
		"short-lived": {[]string{h.Token}, 30 * time.Second, 3, false},
		"wrong":       {[]string{"CANARY-wrong"}, time.Hour, 4, true},
	} {
		f := &tokens{Forge: h.client, list: test.tokens, life: test.life}
		data := t.TempDir()
		c := h.clone(t, data, f)
		for range 3 {
			_, err := c.fetchBranch(t.Context(), "main")
			if (err != nil) != test.fails || test.fails && !errors.Is(err, gitrepo.ErrAuth) && !errors.Is(err, gitrepo.ErrRemoteNotFound) {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s: the error shows the token: %v", name, err)
			}
		}
		if got := f.asked.Load(); got != test.asked {
			t.Errorf("%s: asked for %d credentials, want %d", name, got, test.asked)
		}
	}
}

func TestFileName(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"live", "Live", ".", "..", "", "a/b", "a%2fb", ".git", "a.git", "a\x00", "ü", "a b", "%", "-rf", "%2e"} {
		got := fileName(name)
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %q", name, other, got)
		}
		seen[got] = name
		if got == "" || strings.HasPrefix(got, ".") || strings.ContainsAny(got, "/\\\x00 ") {
			t.Errorf("%q is the file name %q", name, got)
		}
	}
}

// The sets are shared by everything that happens in a repository at once.
func TestCloneIsShared(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	c := h.clone(t, t.TempDir(), h.client)
	first, err := c.fetchBranch(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	second := h.Commit(t, h.repo, "main", "", map[string]string{"modules/m/main.tf": "# nothing\n"})
	if _, err := c.fetchBranch(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if touched, _, err := c.affected(t.Context(), first, second); err != nil || len(touched) != 1 {
				t.Errorf("affected: %v, %v", touched, err)
			}
			if _, err := materialise(t, c, second, "app", filepath.Join(t.TempDir(), fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
			set, err := c.set(t.Context(), first)
			if err != nil {
				t.Error(err)
				return
			}
			tree, err := c.tree(t.Context(), first)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = tree.Close() }()
			for _, w := range set.Workspaces {
				if _, err := set.Digest(t.Context(), tree, w); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := len(c.sets); n != 2 {
		t.Errorf("%d sets are kept, want 2", n)
	}
}

// await polls until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func TestCloneIsTidied(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	e := &Engine{Options: Options{DataDir: t.TempDir(), Environ: gitEnviron(), Forges: []ForgeOptions{{Name: "github", Client: h.client, Repos: []string{"*/*"}}}}}
	c, err := e.clone(t.Context(), h.row())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.fetchBranch(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	// Git does not mind what is not its own among single objects.
	for i := range 40 {
		name := filepath.Join(c.mirror.Dir(), "objects", "17", fmt.Sprintf("%038d", i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, end := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { e.tidyUntil(ctx, 10*time.Millisecond) })
	await(t, "the mirror to be packed", func() bool {
		packs, err := filepath.Glob(filepath.Join(c.mirror.Dir(), "objects", "pack", "*.pack"))
		return err == nil && len(packs) == 1
	})
	end()
	all.Wait()
}
