package gitrepo_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// TestMain cuts the tests off from the configuration of the machine: Git, here
// and in the children of the package, sees the empty one only.
func TestMain(m *testing.M) {
	if os.Getenv(fetchVariable) != "" {
		fetchInChild()
	}
	home, err := os.MkdirTemp("", "gitrepo-home-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, value := range map[string]string{
		"HOME":                home,
		"XDG_CONFIG_HOME":     home,
		"GIT_CONFIG_GLOBAL":   os.DevNull,
		"GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME":     "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com",
		"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com",
		"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	status := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(status)
}

// git runs the git command in dir and returns what it printed, trimmed.
func git(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	return gitInput(tb, dir, nil, args...)
}

// gitInput is git with standard input.
func gitInput(tb testing.TB, dir string, stdin []byte, args ...string) string {
	tb.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// newRepo makes an empty repository whose branch is main.
func newRepo(tb testing.TB) string {
	tb.Helper()
	dir, err := filepath.EvalSymlinks(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	git(tb, dir, "init", "-q", "-b", "main")
	return dir
}

// write puts files into a directory.
func write(tb testing.TB, dir string, files map[string]string) {
	tb.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}

// commit commits everything and returns the id.
func commit(tb testing.TB, dir string) string {
	tb.Helper()
	git(tb, dir, "add", "-A")
	git(tb, dir, "commit", "-q", "--allow-empty", "-m", "change")
	return git(tb, dir, "rev-parse", "HEAD")
}

// open opens the repository at dir.
func open(tb testing.TB, dir string) *gitrepo.Repo {
	tb.Helper()
	r, err := gitrepo.Open(tb.Context(), dir, os.Environ())
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// tree opens the files of a commit until the test ends.
func tree(tb testing.TB, r *gitrepo.Repo, rev string) *gitrepo.Tree {
	tb.Helper()
	tr, err := r.Tree(tb.Context(), rev)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tr.Close(); err != nil {
			tb.Error(err)
		}
	})
	return tr
}

// monorepo makes a packed repository of 5,000 root modules and 200 local ones
// with three small files each. Its second commit changes one file.
func monorepo(tb testing.TB) (dir, first, second string) {
	tb.Helper()
	dir = newRepo(tb)
	files := map[string]string{}
	for i := range 200 {
		d := fmt.Sprintf("modules/m%03d", i)
		files[d+"/main.tf"] = fmt.Sprintf("resource \"terraform_data\" \"m%d\" {\n  input = var.x%d\n}\n\nlocals {\n  name = \"module-%d\"\n}\n", i, i, i)
		files[d+"/variables.tf"] = fmt.Sprintf("variable \"x%d\" {\n  type = string\n}\n", i)
		files[d+"/outputs.tf"] = fmt.Sprintf("output \"o%d\" {\n  value = terraform_data.m%d.id\n}\n", i, i)
	}
	root := func(i int) string { return fmt.Sprintf("envs/r%02d/app%04d", i%50, i) }
	for i := range 5000 {
		d := root(i)
		files[d+"/main.tf"] = fmt.Sprintf("terraform {\n  required_version = \">= 1.5\"\n}\n\nmodule \"a\" {\n  source = \"../../../modules/m%03d\"\n  x%d    = \"app%d\"\n}\n\nresource \"terraform_data\" \"r%d\" {\n  input = \"%d\"\n}\n", i%200, i%200, i, i, i)
		files[d+"/variables.tf"] = fmt.Sprintf("variable \"env%d\" {\n  type    = string\n  default = \"e%d\"\n}\n", i, i)
		files[d+"/outputs.tf"] = fmt.Sprintf("output \"out%d\" {\n  value = terraform_data.r%d.output\n}\n", i, i)
	}
	first = importFiles(tb, dir, files)
	second = importFiles(tb, dir, map[string]string{root(2500) + "/main.tf": "# changed\n"})
	return dir, first, second
}

// importFiles commits files on main, in one pack and much faster than through a
// work tree, which it leaves alone.
func importFiles(tb testing.TB, dir string, files map[string]string) string {
	tb.Helper()
	var in bytes.Buffer
	in.WriteString("commit refs/heads/main\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 6\nchange\n")
	if out, err := exec.Command("git", "-C", dir, "rev-parse", "--verify", "-q", "main").Output(); err == nil {
		fmt.Fprintf(&in, "from %s", out)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", name, len(files[name]), files[name])
	}
	gitInput(tb, dir, in.Bytes(), "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet")
	return git(tb, dir, "rev-parse", "main")
}

// What a repository's own configuration would run is not run.
func TestConfiguredProgramsAreNotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	git("add", "-A")
	git("commit", "-q", "-m", "first")
	ran := filepath.Join(t.TempDir(), "ran")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch '"+ran+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	git("config", "core.fsmonitor", script)
	repo, err := gitrepo.Open(t.Context(), dir, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Dirty(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := repo.Diff(t.Context(), "HEAD", "HEAD"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the program that the repository names was run")
	}
}
