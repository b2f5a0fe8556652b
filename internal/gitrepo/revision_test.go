package gitrepo_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"f": "1"})
	first := commit(t, dir)
	git(t, dir, "tag", "-a", "-m", "x", "v1")
	write(t, dir, map[string]string{"f": "2"})
	second := commit(t, dir)
	git(t, dir, "update-ref", "refs/heads/-dash", first)
	git(t, dir, "update-ref", "refs/heads/--help", first)
	git(t, dir, "update-ref", "refs/remotes/origin/develop", first)
	git(t, dir, "checkout", "-q", "-b", "side", first)
	write(t, dir, map[string]string{"g": "3"})
	side := commit(t, dir)
	git(t, dir, "checkout", "-q", "main")
	r := open(t, dir)

	for rev, want := range map[string]string{
		"HEAD": second, "main": second, "main~1": first, "v1": first, "refs/tags/v1": first,
		second: second, second[:8]: second, strings.ToUpper(second): second,
		"-dash": first, "--help": first, "@": second, "HEAD^": first,
		"origin/develop": first, "main...side": first, "side": side,
		"HEAD@{0}": second, "main^{/change}": second,
	} {
		if got, err := r.Resolve(t.Context(), rev); err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v; want %q", rev, got, err, want)
		}
	}
	for rev, want := range map[string]string{
		"":                      "empty",
		"a\nmain":               "line break",
		"main\x00":              "zero byte",
		"main..side":            "range",
		"...side":               "range",
		":f":                    "names a file",
		"HEAD:f":                "blob, not a commit",
		"main^{tree}":           "tree, not a commit",
		"mian":                  `did you mean "main"`,
		"develop":               `did you mean "origin/develop"`,
		"nothing-like-it":       "no such branch",
		"--upload-pack=x":       "no such branch",
		"-h":                    "no such branch",
		"main~7":                "no such branch",
		strings.Repeat("1", 40): "no such branch",
	} {
		if got, err := r.Resolve(t.Context(), rev); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q) = %q, %v; want an error with %q", rev, got, err, want)
		}
	}
}

func TestShallowClone(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	write(t, origin, map[string]string{"f": "0"})
	first := commit(t, origin)
	for _, content := range []string{"1", "2"} {
		write(t, origin, map[string]string{"f": content})
		commit(t, origin)
	}
	git(t, origin, "checkout", "-q", "-b", "side", first)
	write(t, origin, map[string]string{"g": "1"})
	commit(t, origin)
	dir := filepath.Join(t.TempDir(), "clone")
	git(t, origin, "clone", "-q", "--depth=2", "--no-single-branch", "--branch=main", "file://"+origin, dir)
	r := open(t, dir)
	if _, err := r.Resolve(t.Context(), "HEAD~1"); err != nil {
		t.Errorf("inside the boundary: %v", err)
	}
	_, beyond := r.Resolve(t.Context(), "HEAD~2")
	_, absent := r.Resolve(t.Context(), strings.Repeat("1", 40))
	_, noTree := r.Tree(t.Context(), "HEAD~2")
	_, noDiff := r.Diff(t.Context(), strings.Repeat("2", 40), git(t, dir, "rev-parse", "HEAD"))
	for what, err := range map[string]error{"Resolve": beyond, "Resolve id": absent, "Tree": noTree, "Diff": noDiff} {
		if err == nil || !strings.Contains(err.Error(), "shallow") || !strings.Contains(err.Error(), "git fetch --unshallow") {
			t.Errorf("%s beyond the boundary: %v", what, err)
		}
	}
	// side~1 is there, as its depth is counted apart; main does not reach it.
	git(t, dir, "fetch", "-q", "--depth=1", "origin", "main", "side")
	if base, err := r.MergeBase(t.Context(), "origin/main", "origin/side"); err == nil || !strings.Contains(err.Error(), "git fetch --unshallow") {
		t.Errorf("MergeBase = %q, %v", base, err)
	}
	git(t, dir, "fetch", "-q", "--unshallow")
	if base, err := r.MergeBase(t.Context(), "origin/main", "origin/side"); err != nil || base != first {
		t.Errorf("MergeBase after the fetch = %q, %v; want %q", base, err, first)
	}
}

func TestMergeBase(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, map[string]string{"f": "0"})
	base := commit(t, dir)
	git(t, dir, "checkout", "-q", "-b", "side")
	write(t, dir, map[string]string{"g": "1"})
	side := commit(t, dir)
	git(t, dir, "checkout", "-q", "main")
	write(t, dir, map[string]string{"f": "1"})
	main := commit(t, dir)
	git(t, dir, "checkout", "-q", "--orphan", "alone")
	commit(t, dir)
	r := open(t, dir)
	if got, err := r.MergeBase(t.Context(), "side", main); err != nil || got != base {
		t.Errorf("MergeBase = %q, %v; want %q", got, err, base)
	}
	if got, err := r.MergeBase(t.Context(), side, "side"); err != nil || got != side {
		t.Errorf("MergeBase with itself = %q, %v; want %q", got, err, side)
	}
	if got, err := r.MergeBase(t.Context(), "alone", "main"); err == nil || !strings.Contains(err.Error(), "no commit in common") {
		t.Errorf("MergeBase of strangers = %q, %v", got, err)
	}
	if got, err := r.MergeBase(t.Context(), "main", "nowhere"); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("MergeBase with nothing = %q, %v", got, err)
	}
}

func TestParseRange(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"main..HEAD":           {"main", "HEAD"},
		"main...HEAD":          {"main...HEAD", "HEAD"},
		"main..":               {"main", "HEAD"},
		"main...":              {"main...HEAD", "HEAD"},
		"..side":               {"HEAD", "side"},
		"...side":              {"HEAD...side", "side"},
		"v1.2..v1.3":           {"v1.2", "v1.3"},
		"HEAD~2..HEAD":         {"HEAD~2", "HEAD"},
		"-x..--y":              {"-x", "--y"},
		"origin/main...feat/a": {"origin/main...feat/a", "feat/a"},
	} {
		base, head, err := gitrepo.ParseRange(in)
		if err != nil || base != want[0] || head != want[1] {
			t.Errorf("ParseRange(%q) = %q, %q, %v; want %q", in, base, head, err, want)
		}
	}
	for _, in := range []string{"", "main", "..", "...", "a....b", "a..b..c", "a...b...c", "a..b...c", "....b"} {
		if base, head, err := gitrepo.ParseRange(in); err == nil || !strings.Contains(err.Error(), "range ") {
			t.Errorf("ParseRange(%q) = %q, %q, %v; want an error", in, base, head, err)
		}
	}
}
