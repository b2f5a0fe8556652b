package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/go-git/go-git/v5/plumbing"
)

// Resolve returns the commit that rev names, as 40 hexadecimal digits. rev is
// whatever Git takes for one commit: a branch, a tag, HEAD~2, main@{1}, the
// start of an id; and A...B, which means the merge base of A and B, as it does
// for "git checkout". It may start with a dash: it is never taken as an option.
//
// The error says whether the repository has no commits, whether a shallow clone
// does not reach that far and how to deepen it, or which ref was perhaps meant.
func (r *Repo) Resolve(ctx context.Context, rev string) (string, error) {
	if a, b, ok := cutMergeBase(rev); ok {
		return r.MergeBase(ctx, a, b)
	}
	ids, err := r.resolve(ctx, rev)
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// MergeBase returns the best common ancestor of two revisions: where their
// histories parted. When there are several equally good ones it is the one that
// Git names first.
func (r *Repo) MergeBase(ctx context.Context, a, b string) (string, error) {
	ids, err := r.resolve(ctx, a, b)
	if err != nil {
		return "", err
	}
	out, err := r.git.run(ctx, "merge-base", ids[0], ids[1])
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	var failed *gitError
	if !errors.As(err, &failed) || failed.status != 1 {
		return "", fmt.Errorf("find the merge base of %q and %q: %w", a, b, err)
	}
	if r.shallow() {
		return "", fmt.Errorf("find the merge base of %q and %q: their histories do not meet in this shallow clone; %s", a, b, deepen)
	}
	return "", fmt.Errorf("find the merge base of %q and %q: they have no commit in common", a, b)
}

// ParseRange splits what --affected takes:
//
//	A..B   from A to B
//	A...B  from where A and B parted to B; base is then "A...B", which
//	       [Repo.Resolve], [Repo.Tree] and [Repo.Diff] understand as the merge base
//	A..    from A to HEAD (likewise A..., ..B and ...B: what is left out is HEAD)
func ParseRange(s string) (base, head string, err error) {
	base, head, ok := strings.Cut(s, "..")
	if !ok {
		return "", "", fmt.Errorf("range %q: write BASE..HEAD (from one commit to another) or BASE...HEAD (from where they parted)", s)
	}
	head, parted := strings.CutPrefix(head, ".")
	if base == "" && head == "" {
		return "", "", fmt.Errorf("range %q: name at least one revision, as in main..HEAD", s)
	}
	if base == "" {
		base = "HEAD"
	}
	if head == "" {
		head = "HEAD"
	}
	for _, rev := range []string{base, head} {
		// No ref name holds two dots or starts with one:
		// https://git-scm.com/docs/git-check-ref-format
		if strings.HasPrefix(rev, ".") || strings.Contains(rev, "..") {
			return "", "", fmt.Errorf("range %q: %q is not a revision; write BASE..HEAD or BASE...HEAD", s, rev)
		}
	}
	if parted {
		base = base + "..." + head
	}
	return base, head, nil
}

// deepen says what to do about a shallow clone.
const deepen = `fetch the whole history with "git fetch --unshallow" (in GitHub Actions: actions/checkout with "fetch-depth: 0"; in GitLab CI: GIT_DEPTH: 0)`

// cutMergeBase takes A...B apart.
func cutMergeBase(rev string) (a, b string, ok bool) {
	a, b, ok = strings.Cut(rev, "...")
	return a, b, ok && a != "" && b != ""
}

// resolve resolves several revisions with one child. They go through its
// standard input, where nothing is an option.
func (r *Repo) resolve(ctx context.Context, revs ...string) ([]string, error) {
	var stdin strings.Builder
	for _, rev := range revs {
		if err := checkRevision(rev); err != nil {
			return nil, err
		}
		stdin.WriteString(rev + "^{commit}\n")
	}
	out, err := r.git.feed(ctx, stdin.String(), "cat-file", "--batch-check=%(objectname)")
	if err != nil {
		return nil, fmt.Errorf("resolve revision %s: %w", quoted(revs), err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(revs) {
		return nil, fmt.Errorf("resolve revision %s: git cat-file answered %q", quoted(revs), out)
	}
	for i, line := range lines {
		if !isID(line) {
			return nil, r.unknown(ctx, revs[i])
		}
	}
	return lines, nil
}

// checkRevision refuses what cannot be one commit, before Git is asked.
func checkRevision(rev string) error {
	switch {
	case rev == "":
		return errors.New("the revision is empty; name a branch, a tag or a commit")
	case strings.ContainsAny(rev, "\n\x00"):
		return fmt.Errorf("revision %q holds a line break or a zero byte", rev)
	case strings.Contains(rev, ".."):
		return fmt.Errorf("%q is a range of revisions; one revision is wanted here", rev)
	case strings.HasPrefix(rev, ":"):
		return fmt.Errorf("revision %q names a file or a message; name a branch, a tag or a commit", rev)
	}
	return nil
}

// unknown explains why rev names no commit.
func (r *Repo) unknown(ctx context.Context, rev string) error {
	head, err := r.Head(ctx)
	if err == nil && head.Unborn && (rev == "HEAD" || rev == "@" || rev == head.Branch) {
		return fmt.Errorf("revision %q: the branch %q has no commits yet", rev, head.Branch)
	}
	// What exists but leads to no commit, with its kind.
	out, err := r.git.feed(ctx, rev+"\n", "cat-file", "--batch-check=%(objecttype) .")
	if err != nil {
		return fmt.Errorf("resolve revision %q: %w", rev, err)
	}
	kind, rest, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if rest == "." && (kind == "tree" || kind == "blob" || kind == "tag") {
		return fmt.Errorf("revision %q is a %s, not a commit", rev, kind)
	}
	if strings.HasSuffix(strings.TrimSpace(string(out)), " ambiguous") {
		return fmt.Errorf("revision %q is the start of several object ids; write more digits", rev)
	}
	if ref := r.similar(rev); ref != "" {
		return fmt.Errorf("unknown revision %q; did you mean %q?", rev, ref)
	}
	if r.shallow() {
		return fmt.Errorf("revision %q is not in this shallow clone; %s", rev, deepen)
	}
	return fmt.Errorf("unknown revision %q: there is no such branch, tag or commit here; perhaps it must be fetched first", rev)
}

// similar returns the short name of the ref that rev was probably meant to be,
// or "". A branch that exists only at a remote, as in most CI checkouts, comes
// first.
func (r *Repo) similar(rev string) string {
	if strings.ContainsAny(rev, "~^{") { // more than a name
		return ""
	}
	refs, err := r.refs().IterReferences()
	if err != nil {
		return ""
	}
	defer refs.Close()
	best, distance := "", 3
	_ = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Name() == plumbing.HEAD || strings.HasSuffix(ref.Name().String(), "/HEAD") {
			return nil
		}
		short := ref.Name().Short()
		if ref.Name().IsRemote() {
			if _, branch, _ := strings.Cut(short, "/"); branch == rev {
				best, distance = short, 0
			}
			return nil
		}
		if d := levenshtein.Distance(rev, short, nil); d < distance && 2*d <= len(rev) {
			best, distance = short, d
		}
		return nil
	})
	return best
}

// isID reports whether s is a full object id.
func isID(s string) bool {
	if len(s) != 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// quoted lists revisions for a message.
func quoted(revs []string) string {
	q := make([]string, len(revs))
	for i, rev := range revs {
		q[i] = fmt.Sprintf("%q", rev)
	}
	return strings.Join(q, ", ")
}
