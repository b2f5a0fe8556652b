package gitrepo_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// sides makes a mirror with two branches that parted: each is given by what it
// does to a checkout of the first commit.
func sides(t *testing.T, first map[string]string, base, head func(dir string)) (*gitrepo.Mirror, string) {
	t.Helper()
	root, checkout := origin(t, first)
	start := git(t, checkout, "rev-parse", "HEAD")
	for name, change := range map[string]func(string){"base": base, "head": head} {
		git(t, checkout, "checkout", "-q", "-f", "-b", name, start)
		change(checkout)
		git(t, checkout, "add", "-A")
		git(t, checkout, "commit", "-q", "--allow-empty", "-m", name)
	}
	git(t, checkout, "push", "-q", "up", "base", "head")
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	fetch(t, m, filepath.Join(root, "live.git"))
	return m, checkout
}

func TestMerge(t *testing.T) {
	t.Parallel()
	put := func(files map[string]string) func(string) { return func(dir string) { write(t, dir, files) } }
	run := func(args ...string) func(string) { return func(dir string) { git(t, dir, args...) } }
	long := strings.Repeat("line\n", 50)
	submodule := func(id string) func(string) {
		return func(dir string) {
			// Empty, as a submodule is that was never initialised.
			if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
				t.Error(err)
			}
			git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+id+",sub")
		}
	}
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 40)
	for name, test := range map[string]struct {
		first      map[string]string
		base, head func(string)
		want       map[string]string // files of the merge
		conflicts  []string
	}{
		"apart":     {nil, put(map[string]string{"a": "1"}), put(map[string]string{"b": "2"}), map[string]string{"a": "1", "b": "2"}, nil},
		"same file": {map[string]string{"f": "1\n2\n3\n4\n5\n6\n"}, put(map[string]string{"f": "0\n2\n3\n4\n5\n6\n"}), put(map[string]string{"f": "1\n2\n3\n4\n5\n7\n"}), map[string]string{"f": "0\n2\n3\n4\n5\n7\n"}, nil},
		"content":   {map[string]string{"d/ü\n\"x": "1"}, put(map[string]string{"d/ü\n\"x": "2"}), put(map[string]string{"d/ü\n\"x": "3"}), nil, []string{"d/ü\n\"x"}},
		"renamed": {
			map[string]string{"old.tf": long},
			run("mv", "old.tf", "new.tf"), put(map[string]string{"old.tf": long + "more\n"}),
			map[string]string{"new.tf": long + "more\n", "old.tf": ""}, nil,
		},
		"renamed twice": {
			map[string]string{"old.tf": long},
			run("mv", "old.tf", "x.tf"), run("mv", "old.tf", "y.tf"), nil, []string{"old.tf", "x.tf", "y.tf"},
		},
		"removed and changed": {
			map[string]string{"f": long}, run("rm", "-q", "f"), put(map[string]string{"f": long + "x"}), nil, []string{"f"},
		},
		"file and directory": {
			nil, put(map[string]string{"x": "file"}), put(map[string]string{"x/in": "dir"}), nil, []string{"x~" /* and a name */},
		},
		"binary":        {map[string]string{"b": "\x00\x01"}, put(map[string]string{"b": "\x00\x02"}), put(map[string]string{"b": "\x00\x03"}), nil, []string{"b"}},
		"submodule":     {nil, submodule(one), submodule(two), nil, []string{"sub"}},
		"one submodule": {nil, submodule(one), put(map[string]string{"a": "1"}), map[string]string{"a": "1"}, nil},
		// Forges do not heed merge drivers, and those could run programs.
		"attributes": {
			map[string]string{".gitattributes": "* merge=union\n", "f": "1\n"},
			put(map[string]string{"f": "2\n"}), put(map[string]string{"f": "3\n"}), nil, []string{"f"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, checkout := sides(t, test.first, test.base, test.head)
			got, err := m.Merge(t.Context(), "base", "head")
			if err != nil {
				t.Fatal(err)
			}
			if test.conflicts != nil {
				if got.Commit != "" || len(got.Conflicts) < len(test.conflicts) {
					t.Fatalf("got %+v, want conflicts in %q", got, test.conflicts)
				}
				for i, want := range test.conflicts {
					if !strings.HasPrefix(got.Conflicts[i], want) {
						t.Errorf("conflicts are %q, want %q", got.Conflicts, test.conflicts)
					}
				}
				return
			}
			if len(got.Conflicts) > 0 {
				t.Fatalf("conflicts: %q", got.Conflicts)
			}
			files := tree(t, m.Repo(), got.Commit)
			for name, content := range test.want {
				data, err := files.ReadFile(name)
				if string(data) != content || (err == nil) != (content != "") {
					t.Errorf("%s holds %q, %v; want %q", name, data, err, content)
				}
			}
			parents := strings.Fields(git(t, m.Dir(), "log", "-1", "--format=%P", got.Commit))
			if want := []string{git(t, checkout, "rev-parse", "base"), git(t, checkout, "rev-parse", "head")}; !slices.Equal(parents, want) {
				t.Errorf("parents are %v, want %v", parents, want)
			}
			git(t, m.Dir(), "fsck", "--strict", got.Commit)
			// Elsewhere, and under another configuration, it is the same commit.
			other, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: filepath.Join(t.TempDir(), "other.git"), Environ: append(os.Environ(),
				"GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_0=merge.renames", "GIT_CONFIG_VALUE_0=false", "GIT_CONFIG_KEY_1=i18n.commitEncoding", "GIT_CONFIG_VALUE_1=latin1",
				"GIT_CONFIG_KEY_2=user.name", "GIT_CONFIG_VALUE_2=Else", "TZ=Asia/Tokyo")})
			if err != nil {
				t.Fatal(err)
			}
			fetch(t, other, m.Dir())
			if again, err := other.Merge(t.Context(), parents[0], parents[1]); err != nil || again.Commit != got.Commit {
				t.Errorf("elsewhere: %+v, %v; want %s", again, err, got.Commit)
			}
			if err := m.Keep(t.Context(), "op/1", got.Commit); err != nil {
				t.Fatal(err)
			}
			git(t, m.Dir(), "gc", "-q", "--prune=now")
			tree(t, m.Repo(), got.Commit)
		})
	}
}

func TestMergeOfWhatIsMerged(t *testing.T) {
	t.Parallel()
	m, checkout := sides(t, nil, func(dir string) { write(t, dir, map[string]string{"a": "1"}) }, func(dir string) { write(t, dir, map[string]string{"b": "1"}) })
	base, head := git(t, checkout, "rev-parse", "base"), git(t, checkout, "rev-parse", "head")
	first := git(t, checkout, "rev-parse", "main")
	for _, test := range []struct{ base, head, want string }{{first, head, head}, {head, first, head}, {head, head, head}, {base, first, base}} {
		if got, err := m.Merge(t.Context(), test.base, test.head); err != nil || got.Commit != test.want || got.Conflicts != nil {
			t.Errorf("%s into %s: %+v, %v; want %s", test.head, test.base, got, err, test.want)
		}
	}
	git(t, checkout, "checkout", "-q", "--orphan", "alone")
	alone := commit(t, checkout)
	fetch(t, m, checkout, "+refs/heads/alone:refs/heads/alone")
	if _, err := m.Merge(t.Context(), base, alone); err == nil || !strings.Contains(err.Error(), "no commit in common") {
		t.Errorf("unrelated: %v", err)
	}
	if _, err := m.Merge(t.Context(), base, strings.Repeat("a", 40)); err == nil {
		t.Error("merged what is not there")
	}
	if _, err := m.Merge(t.Context(), "--output=x", "head"); err == nil {
		t.Error("took an option for a commit")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Merge(ended, base, head); err == nil {
		t.Error("merged after the end")
	}
}

// Two branches that merged one another have two merge bases.
func TestMergeCrissCross(t *testing.T) {
	t.Parallel()
	m, checkout := sides(t, map[string]string{"f": "1\n2\n3\n4\n5\n6\n7\n8\n9\n"},
		func(dir string) { write(t, dir, map[string]string{"f": "base\n2\n3\n4\n5\n6\n7\n8\n9\n"}) },
		func(dir string) { write(t, dir, map[string]string{"f": "1\n2\n3\n4\n5\n6\n7\n8\nhead\n"}) })
	git(t, checkout, "branch", "was", "base")
	for _, step := range [][]string{
		{"checkout", "-q", "base"},
		{"merge", "-q", "--no-edit", "head"},
		{"checkout", "-q", "head"},
		{"merge", "-q", "--no-edit", "--no-ff", "was"},
	} {
		git(t, checkout, step...)
	}
	write(t, checkout, map[string]string{"g": "from head"})
	commit(t, checkout)
	git(t, checkout, "checkout", "-q", "base")
	write(t, checkout, map[string]string{"h": "from base"})
	commit(t, checkout)
	fetch(t, m, checkout)
	if bases := strings.Fields(git(t, m.Dir(), "merge-base", "--all", "base", "head")); len(bases) != 2 {
		t.Fatalf("the test has merge bases %v, want two", bases)
	}
	got, err := m.Merge(t.Context(), "base", "head")
	if err != nil || got.Commit == "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	files := tree(t, m.Repo(), got.Commit)
	for name, want := range map[string]string{"f": "base\n2\n3\n4\n5\n6\n7\n8\nhead\n", "g": "from head", "h": "from base"} {
		if data, err := files.ReadFile(name); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v; want %q", name, data, err, want)
		}
	}
}
