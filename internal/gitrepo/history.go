package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Commit is what a walk through history tells of a commit.
type Commit struct {
	ID      string
	Parents []string // the first is the branch that it was made on
	// AuthorEmail, AuthorDate (Unix seconds) and Subject stay the same when a
	// commit is rebased.
	AuthorEmail string
	AuthorDate  int64
	Subject     string
}

// IsAncestor reports whether the commit b holds the commit a in its history, or
// is the same.
func (r *Repo) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	ids, err := r.resolve(ctx, a, b)
	if err != nil {
		return false, err
	}
	_, err = r.git.run(ctx, "merge-base", "--is-ancestor", ids[0], ids[1])
	var failed *gitError
	if errors.As(err, &failed) && failed.status == 1 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whether %q is in the history of %q: %w", a, b, err)
	}
	return true, nil
}

// FirstParents lists the commits that came to a branch between the commits from
// and to, oldest first: those on the way along first parents, so that a merge
// is one commit.
//
// forward is false when from is not in the history of to: the branch was pushed
// with force. Then the list holds what to has beyond from, and is empty when
// from is not in the repository any more.
func (r *Repo) FirstParents(ctx context.Context, from, to string) (commits []Commit, forward bool, err error) {
	end, err := r.Resolve(ctx, to)
	if err != nil {
		return nil, false, err
	}
	if !isID(from) {
		if from, err = r.Resolve(ctx, from); err != nil {
			return nil, false, err
		}
	}
	known, err := r.has(ctx, from)
	if err != nil || !known {
		return nil, false, err
	}
	if forward, err = r.IsAncestor(ctx, from, end); err != nil {
		return nil, false, err
	}
	commits, err = r.log(ctx, "--first-parent", "--reverse", end, "^"+from)
	if err != nil {
		return nil, false, fmt.Errorf("list the commits from %s to %s: %w", from, end, err)
	}
	return commits, forward, nil
}

// has reports whether a commit is in the repository.
func (r *Repo) has(ctx context.Context, commit string) (bool, error) {
	out, err := r.git.feed(ctx, commit+"^{commit}\n", "cat-file", "--batch-check=%(objectname)")
	if err != nil {
		return false, fmt.Errorf("look for commit %s: %w", commit, err)
	}
	return isID(strings.TrimSpace(string(out))), nil
}

// log runs git rev-list.
func (r *Repo) log(ctx context.Context, args ...string) ([]Commit, error) {
	args = append([]string{
		"-c", "i18n.logOutputEncoding=UTF-8", "rev-list", "--no-commit-header",
		"--format=%H%x00%P%x00%ae%x00%at%x00%s%x00",
	}, args...)
	out, err := r.git.run(ctx, append(args, "--")...)
	if err != nil {
		return nil, err
	}
	var commits []Commit
	rest := string(out)
	for rest != "" {
		var fields [5]string
		for i := range fields {
			var ok bool
			if fields[i], rest, ok = strings.Cut(rest, "\x00"); !ok {
				return nil, errors.New("git rev-list gave an answer that is not understood")
			}
		}
		rest = strings.TrimPrefix(rest, "\n")
		date, err := strconv.ParseInt(fields[3], 10, 64)
		if !isID(fields[0]) || err != nil && fields[3] != "" {
			return nil, fmt.Errorf("git rev-list answered %q, which is not understood", fields)
		}
		commits = append(commits, Commit{
			ID: fields[0], Parents: strings.Fields(fields[1]),
			AuthorEmail: fields[2], AuthorDate: date, Subject: fields[4],
		})
	}
	return commits, nil
}
