package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// What errors.Is finds in the error of a push, beside those of a fetch.
var (
	// ErrMoved means that the branch is not where the push expected it.
	ErrMoved = errors.New("the branch has moved meanwhile")
	// ErrRejected means that the other side took the commits and refused the
	// branch, by a rule of its own.
	ErrRejected = errors.New("the other side refused the branch")
)

// PushedBranches is what the name of every branch begins with that a mirror
// pushes. Nobody's own branch is ever moved.
const PushedBranches = "plumbline/"

// Push moves a branch of the repository at address to a commit of the mirror.
// Before is the commit at which the branch is expected there, "" if it must not
// be there yet; a branch that is elsewhere is left alone, and the error wraps
// [ErrMoved]. A branch that is at the commit already is no error, so a push may
// be tried again.
//
// The credential is treated as [Mirror.Fetch] does, and the error wraps the same
// ones where they are the reason, or [ErrRejected].
func (m *Mirror) Push(ctx context.Context, address string, cred Credential, branch, before, commit string) error {
	err := m.push(ctx, address, cred, branch, before, commit)
	if err != nil {
		return fmt.Errorf("push branch %q to %s: %w", branch, withoutSecret(address, cred), err)
	}
	return nil
}

func (m *Mirror) push(ctx context.Context, address string, cred Credential, branch, before, commit string) error {
	ref := "refs/heads/" + branch
	if !strings.HasPrefix(branch, PushedBranches) || !plainRef(ref) {
		return fmt.Errorf("only branches named %s… are pushed", PushedBranches)
	}
	if !isID(commit) || before != "" && !isID(before) {
		return errors.New("want full object ids")
	}
	settings, err := m.settings(address, cred)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, fmt.Errorf("not done after %s: %w", m.timeout, ErrUnreachable))
	defer cancel()
	g := m.repo.git
	g.env = settings.apply(g.env)
	out, err := g.run(ctx, "push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags",
		"--recurse-submodules=no", "--force-with-lease="+ref+":"+before, "--", address, commit+":"+ref)
	var failed *gitError
	if !errors.As(err, &failed) {
		return err
	}
	failed.stderr = withoutSecret(failed.stderr, cred)
	// With --porcelain each ref has a line: https://git-scm.com/docs/git-push#_output
	if refused := pushRefused.FindStringSubmatch(string(out)); refused != nil {
		says := strings.TrimSpace(withoutSecret(refused[1], cred) + "\n" + failed.stderr)
		if strings.HasPrefix(refused[1], "[rejected]") { // by Git here, before anything was sent
			return fmt.Errorf("%w: %s", ErrMoved, says)
		}
		return fmt.Errorf("%w: %s", ErrRejected, says)
	}
	if reason := fetchReason(failed.stderr); reason != nil {
		return fmt.Errorf("%w: %w", reason, failed)
	}
	return failed
}

var pushRefused = regexp.MustCompile(`(?m)^!\t[^\t]*\t(\[(?:remote rejected|rejected)\].*)$`)
