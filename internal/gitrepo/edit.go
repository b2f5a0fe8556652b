package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// ErrUnchanged is wrapped by the error about an edit that changes nothing.
var ErrUnchanged = errors.New("the files hold that already")

// Edit is one commit on top of another, made without a work tree.
type Edit struct {
	// Base is the commit that is edited.
	Base string
	// Files are the new contents by path, relative to the root of the
	// repository, with slashes; nil removes the file. A file keeps its mode, and
	// a new one is an ordinary file. What is no file in Base is left alone.
	Files map[string][]byte
	// Message is the commit's message.
	Message string
	// Name and Email are the author's; "" for Plumbline's, who is the committer
	// in any case.
	Name, Email string
	// At is the commit's date, in whole seconds. The same edit at the same time
	// is the same commit.
	At time.Time
}

// committerName and committerEmail sign the commits that are made here.
const (
	committerName  = "Plumbline"
	committerEmail = "plumbline@localhost"
)

// Commit writes the commit and returns its id. It touches no ref, so the commit
// is kept by nothing; see [Mirror.Keep].
func (m *Mirror) Commit(ctx context.Context, e Edit) (string, error) {
	id, err := m.commitEdit(ctx, e)
	if err != nil {
		return "", fmt.Errorf("make a commit on %q: %w", e.Base, err)
	}
	return id, nil
}

func (m *Mirror) commitEdit(ctx context.Context, e Edit) (string, error) {
	if len(e.Files) == 0 {
		return "", ErrUnchanged
	}
	base, err := m.repo.Resolve(ctx, e.Base)
	if err != nil {
		return "", err
	}
	paths := make([]string, 0, len(e.Files))
	for p := range e.Files {
		if !fs.ValidPath(p) || p == "." || strings.Contains(p, "\x00") {
			return "", fmt.Errorf("%q is no path of a file in a repository", p)
		}
		paths = append(paths, p)
	}
	slices.Sort(paths)
	above := slices.Clone(paths)
	for _, p := range paths {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			above = append(above, dir)
		}
	}
	modes, err := m.modes(ctx, base, above)
	if err != nil {
		return "", err
	}
	var entries strings.Builder
	for _, p := range paths {
		mode, there := modes[p]
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			// Git would put the directory in the place of the file.
			if above := modes[dir]; above != "" && above != "040000" {
				return "", fmt.Errorf("%s is no directory, so there can be no %s", dir, p)
			}
		}
		switch {
		case there && mode != "100644" && mode != "100755":
			return "", fmt.Errorf("%s is no ordinary file (mode %s)", p, mode)
		case e.Files[p] == nil:
			fmt.Fprintf(&entries, "0 %s\t%s\x00", strings.Repeat("0", 40), p)
			continue
		case !there:
			mode = "100644"
		}
		blob, err := m.write(ctx, "blob", string(e.Files[p]))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&entries, "%s %s\t%s\x00", mode, blob, p)
	}
	tree, err := m.editTree(ctx, base, entries.String())
	if err != nil {
		return "", err
	}
	before, err := m.repo.git.run(ctx, "rev-parse", "--verify", "--quiet", base+"^{tree}")
	if err != nil {
		return "", err
	}
	if tree == strings.TrimSpace(string(before)) {
		return "", ErrUnchanged
	}
	name, email := identity(e.Name), identity(e.Email)
	if name == "" || email == "" {
		name, email = committerName, committerEmail
	}
	text := fmt.Sprintf("tree %s\nparent %s\nauthor %s <%s> %d +0000\ncommitter %s <%s> %d +0000\n\n%s\n",
		tree, base, name, email, e.At.Unix(), committerName, committerEmail, e.At.Unix(),
		strings.TrimSpace(strings.ReplaceAll(e.Message, "\x00", "")))
	return m.write(ctx, "commit", text)
}

// modes reads the modes of those of the paths that the commit has. A path that
// is a directory has a mode too.
func (m *Mirror) modes(ctx context.Context, commit string, paths []string) (map[string]string, error) {
	args := append([]string{"--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--"}, paths...)
	out, err := m.repo.git.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	modes := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		meta, path, ok := strings.Cut(entry, "\t")
		if ok {
			modes[path], _, _ = strings.Cut(meta, " ")
		}
	}
	return modes, nil
}

// editTree makes the tree of a commit with other entries, in an index of its
// own. https://git-scm.com/docs/git-update-index#_using_index_info
func (m *Mirror) editTree(ctx context.Context, commit, entries string) (string, error) {
	dir, err := os.MkdirTemp("", "plumbline-index-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	g := m.repo.git
	g.env = append(slices.Clone(g.env), "GIT_INDEX_FILE="+filepath.Join(dir, "index"))
	if _, err := g.run(ctx, "read-tree", commit); err != nil {
		return "", err
	}
	if _, err := g.feed(ctx, entries, "update-index", "-z", "--add", "--index-info"); err != nil {
		return "", err
	}
	out, err := g.run(ctx, "write-tree")
	if err != nil {
		return "", err
	}
	return objectID("write-tree", out)
}

// write puts an object into the repository.
func (m *Mirror) write(ctx context.Context, kind, content string) (string, error) {
	out, err := m.repo.git.feed(ctx, content, "hash-object", "-w", "-t", kind, "--no-filters", "--stdin")
	if err != nil {
		return "", err
	}
	return objectID("hash-object", out)
}

func objectID(command string, out []byte) (string, error) {
	id := strings.TrimSpace(string(out))
	if !isID(id) {
		return "", fmt.Errorf("git %s answered %q, which is not understood", command, out)
	}
	return id, nil
}

// identity makes a name or an address fit for a commit's header, which is a line
// in which the address stands between angle brackets.
func identity(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '<' || r == '>' || unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
	return strings.Trim(s, " .,:;\"'")
}

// MadeHere reports whether a commit of the mirror was made by [Mirror.Commit]:
// nobody else's work is lost when it goes.
func (m *Mirror) MadeHere(ctx context.Context, commit string) (bool, error) {
	out, err := m.repo.git.run(ctx, "log", "-1", "--no-show-signature", "--format=%cn <%ce>", commit, "--")
	if err != nil {
		return false, fmt.Errorf("read who made commit %s: %w", commit, err)
	}
	return strings.TrimSpace(string(out)) == committerName+" <"+committerEmail+">", nil
}
