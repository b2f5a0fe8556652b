package gitrepo_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// site is a directory that commits are written to.
type site struct {
	t          *testing.T
	repo       *gitrepo.Repo
	dir, index string
}

func newSite(t *testing.T, repoDir string) *site {
	t.Helper()
	top := t.TempDir()
	return &site{t, open(t, repoDir), filepath.Join(top, "files"), filepath.Join(top, "index")}
}

// put materialises files of a commit; nil stands for all of them.
func (s *site) put(rev string, files []string) (int, error) {
	s.t.Helper()
	tr := tree(s.t, s.repo, rev)
	if files == nil {
		files = []string{}
		err := fs.WalkDir(tr, ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return gitrepo.Materialise(s.t.Context(), tr, gitrepo.Placement{Dir: s.dir, Index: s.index, Files: files})
}

// expect materialises and compares with what lies there then.
func (s *site) expect(rev string, files []string, changed int, want map[string]string) {
	s.t.Helper()
	if got, err := s.put(rev, files); err != nil || got != changed {
		s.t.Errorf("%s: changed %d, %v; want %d", rev, got, err, changed)
	}
	if got := listing(s.t, s.dir); !maps.Equal(got, want) {
		s.t.Errorf("%s: the directory holds %q, want %q", rev, got, want)
	}
}

// listing reads a directory: "content", "x content" of what may be executed, "-> target".
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(name)
			got[rel] = "-> " + target
			return err
		}
		data, err := os.ReadFile(name)
		if info, _ := d.Info(); info != nil && info.Mode()&0o100 != 0 {
			data = append([]byte("x "), data...)
		}
		got[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// entries makes a commit of modes and contents, without a checkout: "120000 to".
func entries(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	var in strings.Builder
	in.WriteString("commit refs/heads/made\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 0\ndeleteall\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode, content, _ := strings.Cut(files[name], " ")
		fmt.Fprintf(&in, "M %s inline %s\ndata %d\n%s\n", mode, quoteName(name), len(content), content)
	}
	gitInput(t, dir, []byte(in.String()), "fast-import", "--quiet", "--force")
	return git(t, dir, "rev-parse", "made")
}

// quoteName quotes a path as C does.
func quoteName(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(name) {
		fmt.Fprintf(&b, "\\%03o", c)
	}
	return b.String() + `"`
}

func TestMaterialise(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	first := entries(t, dir, map[string]string{
		"main.tf": "100644 1", "run.sh": "100755 #!", "m/a/x.tf": "100644 x", "m/b/y.tf": "100644 y",
		"link.tf": "120000 m/a/x.tf", "gone": "120000 nowhere", "empty": "100644 ", "A.tf": "100644 upper", "a.tf": "100644 lower",
		"o\ndd/\x01\xff \"'$(x)\\é": "100644 odd", "-rf": "100644 dash", "unlisted": "100644 no",
	})
	s := newSite(t, dir)
	want := map[string]string{
		"main.tf": "1", "run.sh": "x #!", "m/a/x.tf": "x", "m/b/y.tf": "y", "link.tf": "-> m/a/x.tf", "gone": "-> nowhere", "empty": "",
		"A.tf": "upper", "a.tf": "lower", "o\ndd/\x01\xff \"'$(x)\\é": "odd", "-rf": "dash",
	}
	files := slices.Collect(maps.Keys(want))
	s.expect(first, files, len(want), want)
	s.expect(first, files, 0, want)

	// What others wrote stays; what they changed of ours is mended.
	write(t, s.dir, map[string]string{".terraform/providers/p": "p", ".terraform.lock.hcl": "lock", "m/a/terraform.tfstate": "state", "main.tf": "2", "new": "n"})
	if err := errors.Join(os.Remove(filepath.Join(s.dir, "m/b/y.tf")), os.Chmod(filepath.Join(s.dir, "run.sh"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{".terraform/providers/p": "p", ".terraform.lock.hcl": "lock", "m/a/terraform.tfstate": "state", "new": "n"} {
		want[name] = content
	}
	s.expect(first, files, 3, want)

	// The next commit changes, moves and removes.
	second := entries(t, dir, map[string]string{"main.tf": "100755 1", "m/a": "100644 file now", "new": "100644 ours now", "run.sh": "120000 main.tf", "link.tf/in": "100644 dir now"})
	if _, err := s.put(second, nil); err == nil || !strings.Contains(err.Error(), `"m/a"`) {
		t.Errorf("a directory with state in the place of a file: %v", err)
	}
	if err := os.Remove(filepath.Join(s.dir, "m/a/terraform.tfstate")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.put(second, nil); err != nil {
		t.Fatal(err)
	}
	s.expect(second, nil, 0, map[string]string{
		"main.tf": "x 1", "m/a": "file now", "new": "ours now", "run.sh": "-> main.tf", "link.tf/in": "dir now",
		".terraform/providers/p": "p", ".terraform.lock.hcl": "lock",
	})
	s.expect(second, []string{}, 5, map[string]string{".terraform/providers/p": "p", ".terraform.lock.hcl": "lock"})
	if _, err := os.Stat(filepath.Join(s.dir, "m")); err == nil {
		t.Error("an empty directory is left")
	}
	// A lost index costs work, and nothing else.
	s.expect(first, files, len(files), mapsPlus(want, "m/a/terraform.tfstate", "new"))
	if err := os.WriteFile(s.index, []byte("plumbline placed files 1\n0 zz\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.expect(first, files, len(files), mapsPlus(want, "m/a/terraform.tfstate", "new"))
}

// mapsPlus returns a map without some keys.
func mapsPlus(m map[string]string, without ...string) map[string]string {
	m = maps.Clone(m)
	for _, k := range without {
		delete(m, k)
	}
	return m
}

func TestMaterialiseRefuses(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	id := entries(t, dir, map[string]string{
		"abs": "120000 /etc/passwd", "up": "120000 ../x", "d/up": "120000 ../../x", "d/sly": "120000 .terraform/../../../x",
		"chain": "120000 d/up", "file": "100644 f", "self": "120000 self", "dir/in": "100644 x", "through": "120000 dir", "empty": "120000 ",
	})
	s := newSite(t, dir)
	for _, name := range []string{"abs", "up", "d/up", "d/sly", "chain", "missing", "dir", "../x", "/etc/passwd", "", ".", "file/x", "through/in", "empty"} {
		if n, err := s.put(id, []string{"file", name}); err == nil || n != 0 {
			t.Errorf("%q: changed %d, %v", name, n, err)
		}
	}
	if got := listing(t, filepath.Dir(s.dir)); len(got) != 0 {
		t.Errorf("wrote %v", got)
	}
	if _, err := s.put(id, []string{"file", "self", "through", "dir/in"}); err != nil {
		t.Error(err)
	}
}

// A commit makes a link, and the next one writes "through" it.
func TestMaterialiseFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	outside := t.TempDir()
	write(t, outside, map[string]string{"b": "precious", "c": "precious"})
	linked := entries(t, dir, map[string]string{"a": "120000 d", "d/b": "100644 d", "e": "120000 d/b"})
	through := entries(t, dir, map[string]string{"a/b": "100644 through", "a/c": "100644 through", "d/b": "100644 d", "e": "100644 e"})
	s := newSite(t, dir)
	if _, err := s.put(linked, nil); err != nil {
		t.Fatal(err)
	}
	s.expect(through, nil, 4, map[string]string{"a/b": "through", "a/c": "through", "d/b": "d", "e": "e"})

	// Somebody, such as what Terraform ran, puts links in the way: of a file
	// that is there, of a directory, of one to be removed.
	links := map[string]string{"a": outside, "d/b": filepath.Join(outside, "b")}
	for name, target := range links {
		at := filepath.Join(s.dir, name)
		if err := errors.Join(os.RemoveAll(at), os.Symlink(target, at)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.put(through, nil); err != nil {
		t.Fatal(err)
	}
	s.expect(through, nil, 0, map[string]string{"a/b": "through", "a/c": "through", "d/b": "d", "e": "e"})
	if err := errors.Join(os.RemoveAll(filepath.Join(s.dir, "a")), os.Symlink(outside, filepath.Join(s.dir, "a"))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.put(through, []string{"e"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c"} {
		if data, err := os.ReadFile(filepath.Join(outside, name)); err != nil || string(data) != "precious" {
			t.Errorf("outside, %s holds %q, %v", name, data, err)
		}
	}
}

// An interruption at any moment is made good by the next call.
func TestMaterialiseIsInterrupted(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	files, more := map[string]string{}, map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("d%d/f", i)] = "100644 one"
		more[fmt.Sprintf("d%d/f", i+20)] = "100644 two"
	}
	one, two := entries(t, dir, files), entries(t, dir, more)
	for stop := 0; stop < 60; stop += 7 {
		s := newSite(t, dir)
		if _, err := s.put(one, nil); err != nil {
			t.Fatal(err)
		}
		tr := tree(t, s.repo, two)
		ctx := &countdown{Context: t.Context(), left: stop}
		names := slices.Collect(maps.Keys(more))
		if _, err := gitrepo.Materialise(ctx, tr, gitrepo.Placement{Dir: s.dir, Index: s.index, Files: names}); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped after %d: %v", stop, err)
		}
		// A file that was cut off half-way.
		write(t, s.dir, map[string]string{"d59/f": "t"})
		want := map[string]string{}
		for name := range more {
			want[name] = "two"
		}
		if _, err := s.put(two, nil); err != nil {
			t.Error(err)
		}
		s.expect(two, nil, 0, want)
	}
	// And when another commit comes next, nothing of the one that was cut off
	// stays.
	s := newSite(t, dir)
	tr := tree(t, s.repo, two)
	names := slices.Collect(maps.Keys(more))
	if _, err := gitrepo.Materialise(&countdown{Context: t.Context(), left: 30}, tr, gitrepo.Placement{Dir: s.dir, Index: s.index, Files: names}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := len(listing(t, s.dir)); n == 0 || n == len(more) {
		t.Fatalf("the interruption left %d files, want some", n)
	}
	if _, err := s.put(one, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for name := range files {
		want[name] = "one"
	}
	s.expect(one, nil, 0, want)
}

// countdown is a context that ends after it was asked so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestMaterialiseReportsTheDisk(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	id := entries(t, dir, map[string]string{"f": "100644 x"})
	s := newSite(t, dir)
	write(t, filepath.Dir(s.dir), map[string]string{"files": "a file"})
	if _, err := s.put(id, nil); err == nil || !strings.Contains(err.Error(), s.dir) {
		t.Errorf("a file in the place of the directory: %v", err)
	}
	s = newSite(t, dir)
	s.index = filepath.Join(s.dir, "..", "files2", "x")
	write(t, filepath.Dir(s.dir), map[string]string{"files2": "a file"})
	if _, err := s.put(id, nil); err == nil {
		t.Error("wrote without an index")
	}
	if got := listing(t, s.dir); len(got) > 0 {
		t.Errorf("wrote %v before the index", got)
	}
}

func TestMaterialiseManyFiles(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	files := map[string]string{}
	for i := range 5000 {
		files[fmt.Sprintf("envs/e%02d/app%04d/main.tf", i%50, i)] = fmt.Sprintf("# %d\n", i)
	}
	importFiles(t, dir, files)
	s := newSite(t, dir)
	start := time.Now()
	if n, err := s.put("main", nil); err != nil || n != 5000 {
		t.Fatalf("changed %d, %v", n, err)
	}
	cold := time.Since(start)
	start = time.Now()
	if n, err := s.put("main", nil); err != nil || n != 0 {
		t.Fatalf("again: changed %d, %v", n, err)
	}
	t.Logf("5,000 files: %s, then %s", cold, time.Since(start))
	if cold > time.Minute {
		t.Errorf("5,000 files took %s", cold)
	}
}
