package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
)

// Change is one file that differs between two commits.
type Change struct {
	// Path is relative to the root of the repository, with slashes, and as it
	// is: never quoted, whatever bytes it holds.
	Path string
	// Status is 'A' for added, 'D' for deleted and 'M' for everything else:
	// other content, other mode, a file that became a symlink. A renamed file is
	// deleted and added.
	Status byte
}

// Diff lists the files that differ between two revisions, in Git's order (by
// the bytes of the path). A submodule that moved is one change of its path.
// It compares the two commits themselves; for what a branch did since it
// parted from another, give "A...B" (see [ParseRange]) as a.
func (r *Repo) Diff(ctx context.Context, a, b string) ([]Change, error) {
	from, to := a, b
	if !isID(a) || !isID(b) {
		var err error
		if from, to, err = r.resolvePair(ctx, a, b); err != nil {
			return nil, err
		}
	}
	out, err := r.git.run(ctx, "diff-tree", "-r", "-z", "--raw", "--no-renames",
		"--ignore-submodules=none", "--no-relative", from, to, "--")
	if err != nil {
		var failed *gitError
		if errors.As(err, &failed) { // an id that is not here: say so better
			if _, _, err := r.resolvePair(ctx, a, b); err != nil {
				return nil, err
			}
		}
		return nil, fmt.Errorf("compare %q with %q: %w", a, b, err)
	}
	changes, err := parseRaw(out)
	if err != nil {
		return nil, fmt.Errorf("compare %q with %q: %w", a, b, err)
	}
	return changes, nil
}

// resolvePair resolves both sides of a comparison.
func (r *Repo) resolvePair(ctx context.Context, a, b string) (from, to string, err error) {
	if _, _, ok := cutMergeBase(a); ok {
		if from, err = r.Resolve(ctx, a); err != nil {
			return "", "", err
		}
		to, err = r.Resolve(ctx, b)
		return from, to, err
	}
	ids, err := r.resolve(ctx, a, b)
	if err != nil {
		return "", "", err
	}
	return ids[0], ids[1], nil
}

// parseRaw reads the raw format with zero bytes between fields:
// https://git-scm.com/docs/git-diff-tree#_raw_output_format
func parseRaw(out []byte) ([]Change, error) {
	changes := make([]Change, 0, bytes.Count(out, []byte{0})/2)
	text := string(out)
	for text != "" {
		meta, rest, ok := strings.Cut(text, "\x00")
		path, after, ok2 := strings.Cut(rest, "\x00")
		if !ok || !ok2 || !strings.HasPrefix(meta, ":") || path == "" {
			return nil, fmt.Errorf("git diff-tree answered %q, which is not understood", meta)
		}
		text = after
		status := meta[strings.LastIndexByte(meta, ' ')+1:]
		switch status {
		case "A", "D", "M":
			changes = append(changes, Change{Path: path, Status: status[0]})
		case "T":
			changes = append(changes, Change{Path: path, Status: 'M'})
		default:
			return nil, fmt.Errorf("git diff-tree gave %q the status %q, which is not understood", path, status)
		}
	}
	return changes, nil
}

// Dirty says whether the work tree differs from HEAD: a tracked file was
// changed, added or removed, or there is a file that is neither tracked nor
// ignored. Changes inside submodules count. A bare repository is never dirty.
func (r *Repo) Dirty(ctx context.Context) (bool, error) {
	if r.root == "" {
		return false, nil
	}
	// The monitor is a helper process that would outlive us.
	out, err := r.git.run(ctx, "status", "--porcelain", "-z",
		"--untracked-files=normal", "--ignore-submodules=none", "--no-renames")
	if err != nil {
		return false, fmt.Errorf("look for changes in %s: %w", r.root, err)
	}
	return len(out) > 0, nil
}
