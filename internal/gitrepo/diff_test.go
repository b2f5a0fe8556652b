package gitrepo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// oddNames are names that Git quotes when it may.
var oddNames = []string{
	"with space.tf", "größe.tf", "日本/語.tf", "new\nline.tf", "tab\t.tf", `quote".tf`, `back\slash.tf`,
	"-dash.tf", "--help", "star*.tf", "[x].tf", ":(top)x", "latin\xe9.tf", "'", "a\x01b", "trailing ", "...",
}

func TestDiff(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{
		"same.tf": "s", "changed.tf": "1", "gone.tf": "1", "moved/from.tf": "the very same content\n",
		"exec.sh": "x", "kind.tf": "k", "file-to-dir": "f", "deep/a/b/c/d.tf": "1",
	})
	for _, name := range oddNames {
		write(t, dir, map[string]string{"odd/" + name: "1"})
	}
	first := commit(t, dir)

	write(t, dir, map[string]string{"changed.tf": "2", "new.tf": "1", "moved/to.tf": "the very same content\n", "deep/a/b/c/d.tf": "2"})
	for _, name := range oddNames {
		write(t, dir, map[string]string{"odd/" + name: "2"})
	}
	for _, name := range []string{"gone.tf", "moved/from.tf", "kind.tf", "file-to-dir"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, map[string]string{"file-to-dir/x.tf": "f"})
	if err := os.Symlink("same.tf", filepath.Join(dir, "kind.tf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "exec.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	second := commit(t, dir)
	git(t, dir, "config", "diff.renames", "copies")
	git(t, dir, "config", "diff.orderFile", "/nowhere")
	git(t, dir, "config", "diff.noprefix", "true")

	want := map[string]byte{
		"changed.tf": 'M', "gone.tf": 'D', "new.tf": 'A', "moved/from.tf": 'D', "moved/to.tf": 'A',
		"exec.sh": 'M', "kind.tf": 'M', "file-to-dir": 'D', "file-to-dir/x.tf": 'A', "deep/a/b/c/d.tf": 'M',
	}
	for _, name := range oddNames {
		want["odd/"+name] = 'M'
	}
	// From a subdirectory: paths still count from the root.
	r := open(t, filepath.Join(dir, "odd"))
	for _, revs := range [][2]string{{first, second}, {"main~1", "main"}, {"main~1...main", second}} {
		changes, err := r.Diff(t.Context(), revs[0], revs[1])
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]byte{}
		for _, c := range changes {
			got[c.Path] = c.Status
		}
		if diff := cmp.Diff(want, got); diff != "" || len(changes) != len(got) {
			t.Errorf("Diff(%q) (-want +got):\n%s", revs, diff)
		}
	}
	if changes, err := r.Diff(t.Context(), first, first); err != nil || len(changes) != 0 {
		t.Errorf("Diff with itself = %v, %v", changes, err)
	}
	for _, revs := range [][2]string{{"nowhere", "main"}, {"main", "--output=x"}, {"main", strings.Repeat("1", 40)}} {
		if changes, err := r.Diff(t.Context(), revs[0], revs[1]); err == nil || !strings.Contains(err.Error(), "no such branch") {
			t.Errorf("Diff(%q) = %v, %v", revs, changes, err)
		}
	}
}

func TestDiffSubmodule(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",vendor/sub")
	git(t, dir, "commit", "-q", "-m", "one")
	git(t, dir, "update-index", "--cacheinfo", "160000,"+strings.Repeat("2", 40)+",vendor/sub")
	git(t, dir, "commit", "-q", "-m", "two")
	git(t, dir, "config", "diff.ignoreSubmodules", "all")
	git(t, dir, "config", "submodule.sub.ignore", "all")
	write(t, dir, map[string]string{".gitmodules": "[submodule \"sub\"]\n\tpath = vendor/sub\n\turl = ../sub\n\tignore = all\n"})
	changes, err := open(t, dir).Diff(t.Context(), "HEAD~1", "HEAD")
	if diff := cmp.Diff([]gitrepo.Change{{Path: "vendor/sub", Status: 'M'}}, changes); err != nil || diff != "" {
		t.Errorf("Diff: %v (-want +got):\n%s", err, diff)
	}
}
