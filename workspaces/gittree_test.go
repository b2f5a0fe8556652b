package workspaces_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// git runs a command that must succeed and returns what it prints.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "protocol.file.allow=always", "-c", "user.name=T", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func commitAll(t testing.TB, dir string) string {
	t.Helper()
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "x")
	return git(t, dir, "rev-parse", "HEAD")
}

// TestCommitAndCheckoutAreTheSame compares a commit in Git's object store with
// its checkout: workspaces, problems, inputs and digests, with and without a
// cache.
func TestCommitAndCheckoutAreTheSame(t *testing.T) {
	other := t.TempDir()
	git(t, other, "init", "-q")
	write(t, other, tree(t, "-- main.tf --\n"+resource))
	commitAll(t, other)

	dir := t.TempDir()
	git(t, dir, "init", "-q")
	fsys := tree(t, repository)
	for name, f := range tree(t, `
-- ü and space/main.tf --
module "sub" {
  source = "../vendored"
}
module "away" {
  source = "../../away"
}
-- links/loop --
-> loop
-- broken/main.tf --
resource {
-- exec/run.sh --
#!/bin/sh
-- exec/main.tf --
data "external" "x" {
  program = ["./run.sh"]
}
`) {
		fsys[name] = f
	}
	fsys["exec/run.sh"].Mode = 0o755
	fsys["new\nline/main.tf"] = file(resource)
	write(t, dir, fsys)
	git(t, dir, "submodule", "add", "-q", other, "vendored")
	commit := commitAll(t, dir)

	repo, err := gitrepo.Open(t.Context(), dir, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	cache := workspaces.OpenFactCache("")
	checkout := describe(t, os.DirFS(dir), nil)
	if !strings.Contains(checkout, "ü and space") || !strings.Contains(checkout, "submodule") || !strings.Contains(checkout, "exec/run.sh") {
		t.Fatalf("the test compares too little:\n%s", checkout)
	}
	for _, what := range []string{"a commit", "a commit, from the cache"} {
		tree, err := repo.Tree(t.Context(), commit)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		equal(t, what, describe(t, tree, cache), checkout)
	}
}

// describe tells all that the package says of a file system.
func describe(t testing.TB, fsys fs.FS, cache *workspaces.FactCache) string {
	t.Helper()
	set, err := workspaces.Discover(t.Context(), fsys, workspaces.Options{Facts: cache})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range set.Problems {
		fmt.Fprintln(&b, p.Severity, p)
	}
	for _, w := range set.Workspaces {
		in, err := set.Inputs(t.Context(), fsys, w)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := set.Digest(t.Context(), fsys, w)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%q %+v\n%q %v %s\n%s\n", w.Name, *w, in.Files, in.Whole, in.Why, digest.Inputs)
	}
	return b.String()
}

// write puts the files of a file system in a directory.
func write(t testing.TB, dir string, fsys fs.FS) {
	t.Helper()
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if e.Type()&fs.ModeSymlink != 0 {
			target, err := fs.ReadLink(fsys, name)
			if err != nil {
				return err
			}
			return os.Symlink(target, full)
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(full, data, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}
