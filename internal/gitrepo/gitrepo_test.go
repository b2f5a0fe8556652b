package gitrepo_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

func TestOpenFindsTheRepository(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"a/b/c.tf": "x"})
	id := commit(t, dir)
	linked := filepath.Join(t.TempDir(), "linked tree\nwith a newline")
	git(t, dir, "worktree", "add", "-q", "-b", "other", linked)
	bare := filepath.Join(t.TempDir(), "bare.git")
	git(t, dir, "clone", "-q", "--bare", dir, bare)
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(filepath.Join(dir, "a"), alias); err != nil {
		t.Fatal(err)
	}
	linkedReal, err := filepath.EvalSymlinks(linked)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ dir, root string }{
		"root":              {dir, dir},
		"below":             {filepath.Join(dir, "a", "b"), dir},
		"git directory":     {filepath.Join(dir, ".git"), dir},
		"through a symlink": {alias, dir},
		"linked work tree":  {linked, linkedReal},
		"bare":              {bare, ""},
		"below bare":        {filepath.Join(bare, "refs"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, test.dir)
			if got := r.Root(); got != test.root {
				t.Errorf("Root() = %q, want %q", got, test.root)
			}
			head, err := r.Head(t.Context())
			if err != nil || head.Commit != id {
				t.Errorf("Head() = %+v, %v; want commit %s", head, err, id)
			}
			data, err := tree(t, r, "HEAD").ReadFile("a/b/c.tf")
			if err != nil || string(data) != "x" {
				t.Errorf("ReadFile = %q, %v", data, err)
			}
		})
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"file": ""})
	outside := t.TempDir()
	if _, err := gitrepo.Open(t.Context(), outside, os.Environ()); !errors.Is(err, gitrepo.ErrNotRepository) || !strings.Contains(err.Error(), outside) {
		t.Errorf("outside: %v", err)
	}
	if _, err := gitrepo.Open(t.Context(), filepath.Join(dir, "gone"), os.Environ()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if _, err := gitrepo.Open(t.Context(), filepath.Join(dir, "file"), os.Environ()); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("file: %v", err)
	}
	sha256 := t.TempDir()
	git(t, sha256, "init", "-q", "--object-format=sha256")
	if _, err := gitrepo.Open(t.Context(), sha256, os.Environ()); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("sha256: %v", err)
	}
	broken := newRepo(t)
	write(t, broken, map[string]string{".git/config": "[core\n"})
	if _, err := gitrepo.Open(t.Context(), broken, os.Environ()); err == nil || !strings.Contains(err.Error(), "config") {
		t.Errorf("broken configuration: %v", err)
	}
	for _, path := range []string{"", t.TempDir(), "."} {
		if _, err := gitrepo.Open(t.Context(), dir, []string{"PATH=" + path}); !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "install Git") {
			t.Errorf("no git on PATH %q: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("somebody pressed Ctrl-C"))
	if _, err := gitrepo.Open(ctx, dir, os.Environ()); !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenLooksAtTheGivenEnvironmentOnly(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, map[string]string{"a": ""})
	id := commit(t, dir)
	home := t.TempDir()
	write(t, home, map[string]string{".gitconfig": "[remote \"origin\"]\n\turl = https://example.com/given.git\n"})
	environ := []string{"PATH=" + t.TempDir(), "HOME=" + home, "PATH=" + os.Getenv("PATH")} // the last one counts

	poisoned := t.TempDir()
	write(t, poisoned, map[string]string{".gitconfig": "[remote \"origin\"]\n\turl = https://example.com/own.git\n"})
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(poisoned, ".gitconfig"))
	t.Setenv("PATH", poisoned)
	r, err := gitrepo.Open(t.Context(), dir, environ)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Identity(); got != "example.com/given" {
		t.Errorf("Identity() = %q, want what the given environment configures", got)
	}
	if got, err := r.Resolve(t.Context(), "main"); err != nil || got != id {
		t.Errorf("Resolve = %q, %v; want %q", got, err, id)
	}
	if dirty, err := r.Dirty(t.Context()); err != nil || dirty {
		t.Errorf("Dirty = %v, %v; want false", dirty, err)
	}
}

// A hook, or "git rebase --exec", hands its children variables that name
// another repository.
func TestEnvironmentDoesNotConfuse(t *testing.T) {
	other := newRepo(t)
	write(t, other, map[string]string{"other.tf": ""})
	commit(t, other)
	dir := newRepo(t)
	write(t, dir, map[string]string{"mine.tf": ""})
	id := commit(t, dir)

	for name, value := range map[string]string{
		"GIT_DIR":                          filepath.Join(other, ".git"),
		"GIT_WORK_TREE":                    other,
		"GIT_INDEX_FILE":                   filepath.Join(other, ".git", "index"),
		"GIT_OBJECT_DIRECTORY":             filepath.Join(other, ".git", "objects"),
		"GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nowhere",
		"GIT_COMMON_DIR":                   filepath.Join(other, ".git"),
		"GIT_NAMESPACE":                    "elsewhere",
		"GIT_PREFIX":                       "sub/",
		"GIT_CONFIG_PARAMETERS":            "'core.bare'='true'",
		"GIT_DIFF_OPTS":                    "--unified=9",
		"GIT_TRACE":                        "1",
		"LC_ALL":                           "de_DE.UTF-8",
	} {
		t.Setenv(name, value)
	}
	r := open(t, dir)
	if r.Root() != dir {
		t.Errorf("Root() = %q, want %q", r.Root(), dir)
	}
	if got, err := r.Resolve(t.Context(), "main"); err != nil || got != id {
		t.Errorf("Resolve = %q, %v; want %q", got, err, id)
	}
	if _, err := fs.Stat(tree(t, r, "main"), "mine.tf"); err != nil {
		t.Error(err)
	}
	if dirty, err := r.Dirty(t.Context()); err != nil || dirty {
		t.Errorf("Dirty = %v, %v; want false", dirty, err)
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	r := open(t, dir)
	check := func(want gitrepo.Head) {
		t.Helper()
		if got, err := r.Head(t.Context()); err != nil || got != want {
			t.Errorf("Head() = %+v, %v; want %+v", got, err, want)
		}
	}
	check(gitrepo.Head{Branch: "main", Unborn: true})

	write(t, dir, map[string]string{"a": ""})
	first := commit(t, dir)
	check(gitrepo.Head{Commit: first, Branch: "main"})

	git(t, dir, "checkout", "-q", "-b", "feature/größe")
	second := commit(t, dir)
	check(gitrepo.Head{Commit: second, Branch: "feature/größe"})

	git(t, dir, "pack-refs", "--all", "--prune")
	check(gitrepo.Head{Commit: second, Branch: "feature/größe"})

	git(t, dir, "checkout", "-q", "--detach", first)
	check(gitrepo.Head{Commit: first})

	// Extensions that go-git's own Open refuses.
	git(t, dir, "sparse-checkout", "set", "--skip-checks", "a")
	check(gitrepo.Head{Commit: first})

	write(t, dir, map[string]string{".git/HEAD": "ref: refs/heads/.invalid\n"})
	if _, err := r.Head(t.Context()); err == nil || !strings.Contains(err.Error(), "reftable") {
		t.Errorf("reftable: %v", err)
	}
	write(t, dir, map[string]string{".git/HEAD": "rubbish\n"})
	if head, err := r.Head(t.Context()); err == nil {
		t.Errorf("broken HEAD: %+v, nil", head)
	}
}

func TestNoCommits(t *testing.T) {
	t.Parallel()
	r := open(t, newRepo(t))
	for _, rev := range []string{"HEAD", "main"} {
		if _, err := r.Resolve(t.Context(), rev); err == nil || !strings.Contains(err.Error(), "no commits yet") {
			t.Errorf("Resolve(%q): %v", rev, err)
		}
		if _, err := r.Tree(t.Context(), rev); err == nil || !strings.Contains(err.Error(), "no commits yet") {
			t.Errorf("Tree(%q): %v", rev, err)
		}
	}
	if _, err := r.Diff(t.Context(), "main", "HEAD"); err == nil || !strings.Contains(err.Error(), "no commits yet") {
		t.Errorf("Diff: %v", err)
	}
	if dirty, err := r.Dirty(t.Context()); err != nil || dirty {
		t.Errorf("Dirty() = %v, %v; want false", dirty, err)
	}
	write(t, r.Root(), map[string]string{"a": ""})
	if dirty, err := r.Dirty(t.Context()); err != nil || !dirty {
		t.Errorf("Dirty() = %v, %v; want true", dirty, err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	commit(t, dir)
	if got, want := open(t, dir).Identity(), filepath.Join(dir, ".git"); got != want {
		t.Errorf("without origin: %q, want %q", got, want)
	}
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, dir, "worktree", "add", "-q", "--detach", linked)
	if got, want := open(t, linked).Identity(), filepath.Join(dir, ".git"); got != want {
		t.Errorf("linked without origin: %q, want %q", got, want)
	}
	git(t, dir, "config", "remote.origin.prune", "true") // no URL: still none
	if got, want := open(t, dir).Identity(), filepath.Join(dir, ".git"); got != want {
		t.Errorf("origin without URL: %q, want %q", got, want)
	}

	parent := filepath.Dir(dir)
	for origin, want := range map[string]string{
		"https://github.com/acme/infra.git":                   "github.com/acme/infra",
		"https://GitHub.com/acme/infra/":                      "github.com/acme/infra",
		"https://x-access-token:CANARY@github.com/acme/infra": "github.com/acme/infra",
		"https://CANARY@github.com:443/acme/infra.git":        "github.com/acme/infra",
		"https://a:CAN@ARY@github.com/acme/infra.git":         "github.com/acme/infra",
		"https://host/acme/infra?private_token=CANARY":        "host/acme/infra",
		"https://host/acme/infra#CANARY":                      "host/acme/infra",
		"https://host:8443/acme/infra":                        "host:8443/acme/infra",
		"http://[::1]:80/acme/infra":                          "[::1]/acme/infra",
		"ssh://git@github.com:22/acme/infra.git":              "github.com/acme/infra",
		"ssh://git@host:2222/~me/infra.git":                   "host:2222/~me/infra",
		"git@github.com:acme/infra.git":                       "github.com/acme/infra",
		"github.com:acme/infra":                               "github.com/acme/infra",
		"git@host:/srv/git/infra.git":                         "host/srv/git/infra",
		"a:CANARY@host:acme/infra":                            "host/acme/infra",
		"git@host:in@fra":                                     "host/in@fra",
		"codecommit::eu-central-1://CANARY@infra":             "codecommit::eu-central-1://infra",
		"s3://bucket/infra":                                   "s3://bucket/infra",
		"file:///srv/git/infra.git":                           "/srv/git/infra.git",
		"/srv/git/infra.git/":                                 "/srv/git/infra.git",
		"/srv/git/infra/.git":                                 "/srv/git/infra",
		"../up":                                               filepath.Join(parent, "up"),
		"./with:colon":                                        filepath.Join(dir, "with:colon"),
	} {
		git(t, dir, "config", "remote.origin.url", origin)
		got := open(t, dir).Identity()
		if got != want {
			t.Errorf("origin %q: %q, want %q", origin, got, want)
		}
		if again := open(t, linked).Identity(); again != got {
			t.Errorf("origin %q: %q in a linked work tree, %q in the main one", origin, again, got)
		}
	}
	// Two URLs: Git fetches from the first.
	git(t, dir, "config", "remote.origin.url", "https://first/x")
	git(t, dir, "config", "--add", "remote.origin.url", "https://second/x")
	if got := open(t, dir).Identity(); got != "first/x" {
		t.Errorf("two URLs: %q", got)
	}
}

func TestDirty(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"a.tf": "1\n", ".gitignore": "*.log\n", "sub/b.tf": ""})
	commit(t, dir)
	r := open(t, filepath.Join(dir, "sub"))
	check := func(what string, want bool) {
		t.Helper()
		if got, err := r.Dirty(t.Context()); err != nil || got != want {
			t.Errorf("%s: Dirty() = %v, %v; want %v", what, got, err, want)
		}
	}
	check("clean", false)
	write(t, dir, map[string]string{"x.log": ""})
	check("ignored file", false)
	write(t, dir, map[string]string{"a.tf": "2\n"})
	check("changed file", true)
	git(t, dir, "add", "-A")
	check("staged file", true)
	git(t, dir, "reset", "-q", "--hard")
	check("reset", false)
	write(t, dir, map[string]string{"new.tf": ""})
	git(t, dir, "config", "status.showUntrackedFiles", "no")
	check("untracked file", true)
	git(t, dir, "clean", "-q", "-f")
	if err := os.Remove(filepath.Join(dir, "a.tf")); err != nil {
		t.Fatal(err)
	}
	check("removed file", true)

	bare := filepath.Join(t.TempDir(), "bare")
	git(t, dir, "clone", "-q", "--bare", dir, bare)
	r = open(t, bare)
	check("bare", false)
}
