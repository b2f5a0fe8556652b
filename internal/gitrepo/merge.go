package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Merged is what a merge came to.
type Merged struct {
	// Commit holds both sides; "" if they conflict.
	Commit string
	// Conflicts are the paths, as they are, that people must look at; none if
	// Commit is set.
	Conflicts []string
}

// mergeConfig are the settings that a merge depends on, so that those of the
// machine make no difference. Attributes, which may name merge drivers, are
// not heeded: forges do not do so either.
var mergeConfig = []string{
	"-c", "merge.renames=true", "-c", "merge.directoryRenames=conflict", "-c", "merge.renormalize=false",
	"-c", "merge.renameLimit=7000", "-c", "diff.renameLimit=1000",
	"-c", "core.attributesFile=/dev/null", "-c", "attr.tree=" + emptyTree,
}

// emptyTree is the tree without files, which Git knows in every repository.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// Merge merges the commit head into the commit base, as a forge would that
// merges a pull request, and touches no ref. The same two commits give the same
// commit, everywhere and at any time, unless Git itself learns to merge
// differently. Where one of them holds the other already, it is the result.
//
// The commit is kept by nothing; see [Mirror.Keep]. It needs Git 2.38.
func (m *Mirror) Merge(ctx context.Context, base, head string) (Merged, error) {
	merged, err := m.merge(ctx, base, head)
	if err != nil {
		return Merged{}, fmt.Errorf("merge %q into %q: %w", head, base, err)
	}
	return merged, nil
}

func (m *Mirror) merge(ctx context.Context, base, head string) (Merged, error) {
	ids, err := m.repo.resolve(ctx, base, head)
	if err != nil {
		return Merged{}, err
	}
	base, head = ids[0], ids[1]
	for _, pair := range [][2]string{{head, base}, {base, head}} {
		inside, err := m.repo.IsAncestor(ctx, pair[0], pair[1])
		if err != nil {
			return Merged{}, err
		}
		if inside {
			return Merged{Commit: pair[1]}, nil
		}
	}
	args := append(slices.Clone(mergeConfig), "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base, head)
	out, err := m.repo.git.run(ctx, args...)
	var failed *gitError
	conflict := errors.As(err, &failed) && failed.status == 1 && len(out) > 0
	if err != nil && !conflict {
		switch {
		case failed != nil && failed.status == 129: // usage
			return Merged{}, errors.New("this Git cannot merge without a work tree; install Git 2.38 or newer")
		case failed != nil && strings.Contains(failed.stderr, "unrelated histories"):
			return Merged{}, errors.New("they have no commit in common")
		}
		return Merged{}, err
	}
	// https://git-scm.com/docs/git-merge-tree#OUTPUT
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if !isID(fields[0]) {
		return Merged{}, fmt.Errorf("git merge-tree answered %q, which is not understood", out)
	}
	if conflict {
		paths := slices.DeleteFunc(fields[1:], func(p string) bool { return p == "" })
		slices.Sort(paths)
		return Merged{Conflicts: slices.Compact(paths)}, nil
	}
	commit, err := m.commit(ctx, fields[0], base, head)
	return Merged{Commit: commit}, err
}

// commit writes the merge commit. Everything in it follows from the parents,
// its date too: that of the later one.
func (m *Mirror) commit(ctx context.Context, tree, base, head string) (string, error) {
	out, err := m.repo.git.run(ctx, "log", "--no-walk=unsorted", "--no-show-signature", "--format=%ct", base, head, "--")
	if err != nil {
		return "", err
	}
	var date int64
	for _, field := range bytes.Fields(out) {
		at, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return "", fmt.Errorf("git log answered %q, which is not understood", out)
		}
		date = max(date, at)
	}
	const who = "Plumbline <plumbline@localhost>"
	text := fmt.Sprintf("tree %s\nparent %s\nparent %s\nauthor %s %d +0000\ncommitter %s %d +0000\n\nMerge %s into %s\n",
		tree, base, head, who, date, who, date, head, base)
	out, err = m.repo.git.feed(ctx, text, "hash-object", "-w", "-t", "commit", "--stdin")
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	if !isID(id) {
		return "", fmt.Errorf("git hash-object answered %q, which is not understood", out)
	}
	return id, nil
}
