package gitrepo_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// The interfaces that callers may find by type assertion.
var _ interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
	Hash(name string) (string, error)
	Prefetch(names []string) error
} = (*gitrepo.Tree)(nil)

// symlink makes a symlink in a checkout.
func symlink(tb testing.TB, dir, name, target string) {
	tb.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		tb.Fatal(err)
	}
}

func TestTreeIsAFileSystem(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{
		"main.tf": "resource {}\n", "empty.tf": "", "modules/a/main.tf": "a", "modules/a.tf": "between in Git's order",
		"modules/a-b/main.tf": "b", "bin/run.sh": "#!/bin/sh\n",
	})
	if err := os.Chmod(filepath.Join(dir, "bin/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	symlink(t, dir, "link.tf", "main.tf")
	symlink(t, dir, "modules/alias", "a")
	for _, name := range []string{"with space.tf", "größe.tf", "日本/語.tf", "new\nline.tf", "-dash.tf", "[x]"} {
		write(t, dir, map[string]string{"odd/" + name: name})
	}
	git(t, dir, "add", "-A")
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",vendor/sub")
	git(t, dir, "commit", "-q", "-m", "x")
	r := open(t, dir)

	expected := []string{"main.tf", "modules/a/main.tf", "link.tf", "modules/alias", "odd/new\nline.tf", "odd/-dash.tf", "vendor/sub"}
	if err := fstest.TestFS(tree(t, r, "HEAD"), expected...); err != nil {
		t.Error(err)
	}
	prefetched := tree(t, r, "HEAD")
	if err := prefetched.PrefetchFunc(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(prefetched, expected...); err != nil {
		t.Errorf("after PrefetchFunc: %v", err)
	}
	info, err := prefetched.Stat("bin/run.sh")
	if err != nil || info.Mode() != 0o755 || info.Size() != 10 {
		t.Errorf("Stat = %v, %v", info, err)
	}
}

// What a Tree gives is what a checkout has.
func TestTreeEqualsCheckout(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	for _, name := range oddNames {
		write(t, dir, map[string]string{"odd/" + name: "content of " + name, name + "dir/f": ""})
	}
	for i := range 100 { // more directories than are read one by one
		write(t, dir, map[string]string{fmt.Sprintf("many/%d/%d/main.tf", i%10, i): fmt.Sprint(i)})
	}
	symlink(t, dir, "odd/link", "../many/1/1")
	commit(t, dir)
	describe := func(d fs.DirEntry, content []byte, err error) string {
		if err != nil {
			t.Error(err)
		}
		info, err := d.Info()
		if err != nil {
			t.Error(err)
			return ""
		}
		if d.IsDir() {
			return "directory"
		}
		return fmt.Sprintf("%v %d %q", d.Type(), info.Size(), content)
	}
	want, got := map[string]string{}, map[string]string{}
	// Not os.DirFS, which refuses names that are not UTF-8.
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == ".git" {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		var content []byte
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(file)
			content = []byte(target)
		case !d.IsDir():
			content, err = os.ReadFile(file)
		}
		name, _ := filepath.Rel(dir, file)
		want[name] = describe(d, content, err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tr := tree(t, open(t, dir), "main")
	err = fs.WalkDir(tr, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var content []byte
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			var target string
			target, err = tr.ReadLink(name)
			content = []byte(target)
		case !d.IsDir():
			content, err = tr.ReadFile(name)
		}
		got[name] = describe(d, content, err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-checkout +tree:\n%s", diff)
	}
	if len(got) < 200 {
		t.Errorf("only %d files compared", len(got))
	}
}

func TestTreeRefusesBadNames(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"a/b": "x", "top": ""})
	commit(t, dir)
	tr := tree(t, open(t, dir), "HEAD")
	for _, name := range []string{"", "/", "/top", "a/", "a//b", "./top", "a/./b", "a/../top", "..", "../x"} {
		if _, err := tr.ReadFile(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ReadFile(%q): %v, want fs.ErrInvalid", name, err)
		}
	}
	for _, name := range []string{"gone", "a/gone", "gone/b", "top/b", "a/b/c", "a\xff"} {
		_, err := tr.Stat(name)
		var pathErr *fs.PathError
		if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &pathErr) || pathErr.Path != name {
			t.Errorf("Stat(%q): %v, want fs.ErrNotExist", name, err)
		}
	}
	if _, err := tr.ReadFile("a"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile of a directory: %v", err)
	}
	if _, err := tr.ReadDir("top"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir of a file: %v", err)
	}
	if _, err := tr.ReadLink("top"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadLink of a file: %v", err)
	}
}

func TestTreeSymlinks(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"modules/vpc/main.tf": "vpc", "top.tf": "top", "envs/prod/x": ""})
	for name, target := range map[string]string{
		"envs/prod/main.tf":   "../../modules/vpc/main.tf",
		"envs/prod/mod":       "../../modules/./vpc//",
		"envs/alias":          "prod",
		"envs/up":             "..",
		"envs/root":           "../",
		"through":             "envs/alias/mod/../vpc/main.tf",
		"slash-on-file":       "top.tf/",
		"dangling":            "nowhere/at/all",
		"loop":                "loop",
		"a":                   "b",
		"b":                   "c/../a",
		"c":                   "envs",
		"out":                 "../outside",
		"envs/deep-out":       "../../etc/passwd",
		"out-and-in":          "../" + filepath.Base(dir) + "/top.tf",
		"absolute":            "/etc/passwd",
		"absolute-in":         filepath.Join(dir, "top.tf"),
		"chain0":              "top.tf",
		"envs/prod/odd\nlink": "x",
	} {
		symlink(t, dir, name, target)
	}
	for i := range 45 {
		symlink(t, dir, fmt.Sprintf("chain%d", i+1), fmt.Sprintf("chain%d", i))
	}
	commit(t, dir)
	r := open(t, dir)

	fresh, ready := tree(t, r, "HEAD"), tree(t, r, "HEAD")
	check := func(t *testing.T, tr *gitrepo.Tree) {
		for name, want := range map[string]string{
			"envs/prod/main.tf": "vpc", "envs/alias/main.tf": "vpc", "envs/prod/mod/main.tf": "vpc", "through": "vpc",
			"envs/alias/mod/main.tf": "vpc", "envs/up/top.tf": "top", "envs/root/envs/up/top.tf": "top",
			"chain39": "top", "envs/prod/odd\nlink": "",
		} {
			if data, err := tr.ReadFile(name); err != nil || string(data) != want {
				t.Errorf("ReadFile(%q) = %q, %v; want %q", name, data, err, want)
			}
			if info, err := tr.Stat(name); err != nil || !info.Mode().IsRegular() || info.Name() != path.Base(name) || info.Size() != int64(len(want)) {
				t.Errorf("Stat(%q) = %v, %v", name, info, err)
			}
			f, err := tr.Open(name)
			if err != nil {
				t.Errorf("Open(%q): %v", name, err)
				continue
			}
			if data, err := io.ReadAll(f); err != nil || string(data) != want {
				t.Errorf("Open(%q) reads %q, %v; want %q", name, data, err, want)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		for name, want := range map[string]error{
			"dangling": fs.ErrNotExist, "loop": syscall.ELOOP, "a": syscall.ELOOP, "a/x": syscall.ELOOP,
			"chain41": syscall.ELOOP, "slash-on-file": fs.ErrNotExist,
		} {
			if _, err := tr.Stat(name); !errors.Is(err, want) {
				t.Errorf("Stat(%q): %v, want %v", name, err, want)
			}
		}
		for _, name := range []string{"out", "envs/deep-out", "out-and-in", "absolute", "absolute-in", "out/x"} {
			if _, err := tr.ReadFile(name); err == nil || !strings.Contains(err.Error(), "out of the repository") {
				t.Errorf("ReadFile(%q): %v", name, err)
			}
		}
		for name, want := range map[string]string{"out": "../outside", "absolute": "/etc/passwd", "loop": "loop", "envs/alias/mod": "../../modules/./vpc//"} {
			if got, err := tr.ReadLink(name); err != nil || got != want {
				t.Errorf("ReadLink(%q) = %q, %v; want %q", name, got, err, want)
			}
			if info, err := tr.Lstat(name); err != nil || info.Mode().Type() != fs.ModeSymlink || info.Size() != int64(len(want)) {
				t.Errorf("Lstat(%q) = %v, %v", name, info, err)
			}
		}
		list, err := tr.ReadDir("envs/prod/mod")
		if err != nil || len(list) != 1 || list[0].Name() != "main.tf" {
			t.Errorf("ReadDir through a symlink = %v, %v", list, err)
		}
	}
	t.Run("fresh", func(t *testing.T) { check(t, fresh) })
	if err := ready.PrefetchFunc(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	t.Run("prefetched", func(t *testing.T) { check(t, ready) })
	// A walk does not follow, and so ends.
	if err := fs.WalkDir(fresh, ".", func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
		t.Error(err)
	}
}

func TestTreeHash(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"a/b/main.tf": "x", "c": "y"})
	symlink(t, dir, "link", "a/b")
	sub := strings.Repeat("1", 40)
	git(t, dir, "add", "-A")
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+sub+",sub")
	git(t, dir, "commit", "-q", "-m", "x")
	tr := tree(t, open(t, dir), "HEAD")
	for name, want := range map[string]string{
		".":           git(t, dir, "rev-parse", "HEAD^{tree}"),
		"a":           git(t, dir, "rev-parse", "HEAD:a"),
		"a/b/main.tf": git(t, dir, "rev-parse", "HEAD:a/b/main.tf"),
		"link":        git(t, dir, "rev-parse", "HEAD:a/b"),
		"sub":         sub,
	} {
		if got, err := tr.Hash(name); err != nil || got != want {
			t.Errorf("Hash(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := tr.Hash("gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Hash of nothing: %v", err)
	}
}

func TestTreeSubmodule(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"main.tf": "x"})
	symlink(t, dir, "into", "vendor/sub/main.tf")
	git(t, dir, "add", "-A")
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",vendor/sub")
	git(t, dir, "commit", "-q", "-m", "x")
	tr := tree(t, open(t, dir), "HEAD")
	if list, err := tr.ReadDir("vendor/sub"); err != nil || len(list) != 0 {
		t.Errorf("ReadDir = %v, %v; want nothing", list, err)
	}
	if info, err := tr.Stat("vendor/sub"); err != nil || !info.IsDir() {
		t.Errorf("Stat = %v, %v; want a directory", info, err)
	}
	for _, name := range []string{"vendor/sub/main.tf", "vendor/sub/a/b", "into"} {
		if _, err := tr.ReadFile(name); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "submodule") {
			t.Errorf("ReadFile(%q): %v", name, err)
		}
	}
	if err := tr.PrefetchFunc(func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	if data, err := tr.ReadFile("main.tf"); err != nil || string(data) != "x" {
		t.Errorf("ReadFile = %q, %v", data, err)
	}
}

// rawTree stores a tree object that Git itself would refuse to make.
func rawTree(tb testing.TB, dir string, entries ...string) string {
	tb.Helper()
	var raw []byte
	for _, e := range entries {
		at := strings.LastIndex(e, " ")
		raw = append(append(raw, e[:at]...), 0)
		id, err := hex.DecodeString(e[at+1:])
		if err != nil {
			tb.Fatal(err)
		}
		raw = append(raw, id...)
	}
	return gitInput(tb, dir, raw, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
}

// Whoever can push can craft objects; none may lead a reader out of the tree,
// and none spoils its neighbours.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	blob := gitInput(t, dir, []byte("x"), "hash-object", "-w", "--stdin")
	good := rawTree(t, dir, "100644 main.tf "+blob)
	bad := map[string]string{
		"dotdot":    rawTree(t, dir, "40000 .. "+good),
		"dot":       rawTree(t, dir, "40000 . "+good),
		"empty":     rawTree(t, dir, "100644  "+blob),
		"slash":     rawTree(t, dir, "100644 a/b "+blob),
		"git":       rawTree(t, dir, "40000 .GIT "+good),
		"twice":     rawTree(t, dir, "100644 a "+blob, "100644 a "+blob),
		"kinds":     rawTree(t, dir, "100644 a "+blob, "100644 a.b "+blob, "40000 a "+good),
		"mode":      rawTree(t, dir, "60000 device "+blob),
		"truncated": gitInput(t, dir, []byte("100644 main.tf\x00short"), "hash-object", "-t", "tree", "-w", "--stdin", "--literally"),
		"missing":   strings.Repeat("4", 40),
		"blob":      blob,
	}
	var entries []string
	for name, id := range bad {
		entries = append(entries, "40000 "+name+" "+id)
	}
	for i := range 40 { // so that everything is read in one go
		entries = append(entries, fmt.Sprintf("40000 ok%02d %s", i, rawTree(t, dir, fmt.Sprintf("40000 d%d %s", i, good))))
	}
	entries = append(entries, "100644 lost.tf "+strings.Repeat("5", 40), "120000 lost-link "+strings.Repeat("5", 40))
	slices.Sort(entries)
	id := git(t, dir, "commit-tree", "-m", "x", rawTree(t, dir, entries...))

	r := open(t, dir)
	for _, prefetch := range []bool{false, true} {
		tr := tree(t, r, id)
		if prefetch {
			if err := tr.PrefetchFunc(func(string) bool { return true }); err != nil {
				t.Fatal(err)
			}
		}
		var broken, read int
		err := fs.WalkDir(tr, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				broken++
				if bad[name] == "" {
					t.Errorf("walk %q: %v", name, err)
				}
				return nil
			}
			if strings.HasSuffix(name, "main.tf") {
				if data, err := tr.ReadFile(name); err != nil || string(data) != "x" {
					t.Errorf("ReadFile(%q) = %q, %v", name, data, err)
				}
				read++
			}
			return nil
		})
		if err != nil || broken != len(bad) || read != 40 {
			t.Errorf("prefetch %v: %d broken of %d, %d files, %v", prefetch, broken, len(bad), read, err)
		}
		for _, name := range []string{"lost.tf", "lost-link"} {
			if _, err := tr.ReadFile(name); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), strings.Repeat("5", 40)) {
				t.Errorf("ReadFile(%q): %v; want the missing object named", name, err)
			}
		}
		if _, err := tr.ReadFile("dotdot/../x"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ReadFile through ..: %v", err)
		}
	}
}

func TestTreeIgnoresReplaceRefs(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"f": "reviewed"})
	commit(t, dir)
	evil := gitInput(t, dir, []byte("other"), "hash-object", "-w", "--stdin")
	git(t, dir, "replace", git(t, dir, "rev-parse", "HEAD:f"), evil)
	if got := git(t, dir, "show", "HEAD:f"); got != "other" {
		t.Fatalf("git itself shows %q", got)
	}
	tr := tree(t, open(t, dir), "HEAD")
	if data, err := tr.ReadFile("f"); err != nil || string(data) != "reviewed" {
		t.Errorf("ReadFile = %q, %v", data, err)
	}
}

func TestTreeOfAlternates(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	write(t, origin, map[string]string{"f": "x"})
	commit(t, origin)
	dir := filepath.Join(t.TempDir(), "borrower")
	git(t, origin, "clone", "-q", "--shared", "--no-checkout", origin, dir)
	if data, err := tree(t, open(t, dir), "origin/main").ReadFile("f"); err != nil || string(data) != "x" {
		t.Errorf("ReadFile = %q, %v", data, err)
	}
}

func TestPartialClone(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	write(t, origin, map[string]string{"f": "x", "d/g": "y"})
	commit(t, origin)
	git(t, origin, "config", "uploadpack.allowFilter", "true")
	git(t, origin, "config", "uploadpack.allowAnySHA1InWant", "true")
	dir := filepath.Join(t.TempDir(), "partial")
	git(t, origin, "clone", "-q", "--filter=blob:none", "--no-checkout", "file://"+origin, dir)
	tr := tree(t, open(t, dir), "HEAD")
	if data, err := tr.ReadFile("f"); err != nil || string(data) != "x" {
		t.Errorf("ReadFile = %q, %v; want it fetched", data, err)
	}
	git(t, dir, "config", "remote.origin.url", "ssh://ada@127.0.0.1/gone")
	git(t, dir, "config", "core.sshCommand", "echo 'no way to https://ada:CANARY@host/x' >&2; false")
	tr = tree(t, open(t, dir), "HEAD")
	if err := tr.PrefetchFunc(func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	_, err := tr.ReadFile("d/g")
	if err == nil || errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "https://host/x") {
		t.Errorf("ReadFile without the remote: %v; want Git's words without the secret", err)
	}
	if data, err := tr.ReadFile("f"); err != nil || string(data) != "x" {
		t.Errorf("ReadFile = %q, %v; want it still there", data, err)
	}
}

func TestPrefetch(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	const count = 3000 // enough for several children
	files := map[string]string{"big.bin": strings.Repeat("0123456789abcdef", 9<<16), "middle.bin": strings.Repeat("m", 100_000)}
	for i := range count {
		files[fmt.Sprintf("d%02d/f%d.tf", i%60, i)] = fmt.Sprintf("content %d", i/2) // each twice
	}
	importFiles(t, dir, files)
	git(t, dir, "reset", "-q", "--hard")
	symlink(t, dir, "link.tf", "d00/f0.tf")
	commit(t, dir)
	git(t, dir, "gc", "-q")
	r := open(t, dir)
	first, second := tree(t, r, "HEAD"), tree(t, r, "HEAD")
	if err := first.PrefetchFunc(func(name string) bool { return name != "d00/f60.tf" }); err != nil {
		t.Fatal(err)
	}
	verify := func(tr *gitrepo.Tree) {
		t.Helper()
		for name, want := range files {
			if data, err := tr.ReadFile(name); err != nil || string(data) != want {
				t.Fatalf("ReadFile(%q) = %.20q, %v; want %.20q", name, data, err, want)
			}
		}
	}
	verify(first)

	// All is in memory now, for every tree of the repository: it needs no
	// objects any more. What was above the limit or refused by the filter does.
	if err := os.Rename(filepath.Join(dir, ".git/objects/pack"), filepath.Join(dir, ".git/objects/away")); err != nil {
		t.Fatal(err)
	}
	delete(files, "big.bin")
	verify(second)
	if data, err := second.ReadFile("link.tf"); err != nil || string(data) != "content 0" {
		t.Errorf("ReadFile of a symlink = %q, %v", data, err)
	}
	// Callers own what they get.
	data, err := first.ReadFile("middle.bin")
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	verify(first)
}

func TestPrefetchNames(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"a/b.tf": "b", "c.tf": "c", "d.tf": "d"})
	symlink(t, dir, "l.tf", "c.tf")
	commit(t, dir)
	tr := tree(t, open(t, dir), "HEAD")
	if err := tr.Prefetch([]string{"a/b.tf", "gone", "a", "../x", "l.tf", "a/b.tf"}); err != nil {
		t.Fatal(err)
	}
	read := func(name, want string) {
		t.Helper()
		if data, err := tr.ReadFile(name); err != nil || string(data) != want {
			t.Errorf("ReadFile(%q) = %q, %v; want %q", name, data, err, want)
		}
	}
	read("a/b.tf", "b")
	read("l.tf", "c")
	if err := os.RemoveAll(filepath.Join(dir, ".git/objects")); err != nil {
		t.Fatal(err)
	}
	read("a/b.tf", "b")
	read("c.tf", "c")
	if data, err := tr.ReadFile("d.tf"); err == nil {
		t.Errorf("ReadFile of what was not prefetched = %q", data)
	}
}

func TestCloseForgetsContents(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"f": "x"})
	commit(t, dir)
	r := open(t, dir)
	tr := tree(t, r, "HEAD")
	if err := tr.Prefetch([]string{"f"}); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ReadFile("f"); err != nil {
		t.Fatal(err)
	}
	id, err := tr.Hash("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, ".git/objects", id[:2], id[2:])); err != nil {
		t.Fatal(err)
	}
	other := tree(t, r, "HEAD")
	if _, err := other.ReadFile("f"); err != nil {
		t.Errorf("while the one that asked for it is open: %v", err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := other.ReadFile("f"); err == nil {
		t.Errorf("after it was closed: %q is still in memory", data)
	}
}

func TestTreeIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	files := map[string]string{}
	for i := range 400 {
		files[fmt.Sprintf("d%d/f%d.tf", i%80, i)] = fmt.Sprint("content ", i)
	}
	write(t, dir, files)
	commit(t, dir)
	r := open(t, dir)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			tr, err := r.Tree(t.Context(), "HEAD")
			if err != nil {
				t.Error(err)
				return
			}
			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					if n%2 == 0 {
						if err := tr.PrefetchFunc(func(name string) bool { return strings.HasSuffix(name, fmt.Sprintf("%d.tf", n)) }); err != nil {
							t.Error(err)
						}
					}
					for name, want := range files {
						if data, err := tr.ReadFile(name); err != nil || string(data) != want {
							t.Errorf("ReadFile(%q) = %q, %v; want %q", name, data, err, want)
							return
						}
					}
				})
			}
			readers.Wait()
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestTreeAfterItsEnd(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"d/f": "x"})
	commit(t, dir)
	r := open(t, dir)

	ctx, cancel := context.WithCancelCause(t.Context())
	tr, err := r.Tree(ctx, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	file, err := tr.Open("d/f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ReadFile("none"); !errors.Is(err, fs.ErrNotExist) || tr.Failed() != nil {
		t.Errorf("a file that is not there: %v, failed %v", err, tr.Failed())
	}
	enough := errors.New("enough")
	cancel(enough)
	expect := func(want error) {
		t.Helper()
		_, read := tr.ReadFile("d/f")
		_, list := tr.ReadDir(".")
		_, stat := tr.Stat("d")
		_, hash := tr.Hash("d")
		for what, err := range map[string]error{
			"ReadFile": read, "ReadDir": list, "Stat": stat, "Hash": hash,
			"Prefetch":     tr.Prefetch([]string{"d/f"}),
			"PrefetchFunc": tr.PrefetchFunc(func(string) bool { return true }),
		} {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
	}
	expect(enough)
	if err := tr.Failed(); !errors.Is(err, enough) {
		t.Errorf("failed: %v, want %v", err, enough)
	}
	for range 2 {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
	expect(enough)
	if data, err := io.ReadAll(file); err != nil || string(data) != "x" {
		t.Errorf("an open file reads %q, %v", data, err)
	}

	if tr, err = r.Tree(t.Context(), "HEAD"); err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	expect(fs.ErrClosed)

	if _, err := r.Tree(ctx, "HEAD"); !errors.Is(err, enough) {
		t.Errorf("Tree: %v, want %v", err, enough)
	}
	if _, err := r.Resolve(ctx, "HEAD"); !errors.Is(err, enough) {
		t.Errorf("Resolve: %v, want %v", err, enough)
	}
	if _, err := r.Head(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Head: %v", err)
	}
}
