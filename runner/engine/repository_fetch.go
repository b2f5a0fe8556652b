package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// branchRef and changeRef name what is fetched. Both GitHub and Gitea serve the
// head of every change, of forks too, under the latter.
func branchRef(branch string) string { return "refs/heads/" + branch }
func changeRef(number int) string    { return fmt.Sprintf("refs/pull/%d/head", number) }

// batch is one fetch for several callers.
type batch struct {
	refs map[string]bool
	done chan struct{} // closed once err is set
	err  error
}

// fetch brings refs up to date, each under its own name. Callers that wait
// while another fetch is under way share the next one: the one under way may
// have looked at the other side before what they want was there.
//
// The error wraps one of gitrepo's where it is known what is the matter.
func (c *clone) fetch(ctx context.Context, refs ...string) error {
	for {
		b := c.join(refs)
		select {
		case <-b.done:
		case <-ctx.Done():
			return fmt.Errorf("fetch %s: %w", c.id, context.Cause(ctx))
		case c.turn <- struct{}{}:
			if c.begin(b) {
				b.err = c.fetchNow(ctx, slices.Sorted(maps.Keys(b.refs)))
				close(b.done)
			}
			<-c.turn
		}
		<-b.done // who had the turn before may have done it
		switch {
		case b.err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("fetch %s: %w", c.id, context.Cause(ctx))
		case errors.Is(b.err, errOtherGaveUp):
			continue
		case errors.Is(b.err, gitrepo.ErrRefNotFound) && len(b.refs) > len(refs):
			// It may be another caller's that is gone.
			return c.fetchAlone(ctx, refs)
		}
		return b.err
	}
}

// errOtherGaveUp is in the error of a batch whose leader was cancelled.
var errOtherGaveUp = errors.New("whoever fetched gave up")

// join adds refs to the next fetch.
func (c *clone) join(refs []string) *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = &batch{refs: map[string]bool{}, done: make(chan struct{})}
	}
	for _, ref := range refs {
		c.next.refs[ref] = true
	}
	return c.next
}

// begin makes the caller, who has the turn, the one who fetches a batch. It
// returns false if somebody else did so.
func (c *clone) begin(b *batch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != b {
		return false
	}
	c.next = nil
	return true
}

func (c *clone) fetchAlone(ctx context.Context, refs []string) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
		return c.fetchNow(ctx, refs)
	case <-ctx.Done():
		return fmt.Errorf("fetch %s: %w", c.id, context.Cause(ctx))
	}
}

// fetchNow fetches. A credential that is refused is asked for again, once: it
// may have been revoked or have ended early.
func (c *clone) fetchNow(ctx context.Context, refs []string) error {
	specs := make([]string, len(refs))
	for i, ref := range refs {
		specs[i] = "+" + ref + ":" + ref
	}
	for again := false; ; again = true {
		cred, url, err := c.credential(ctx, again)
		if err == nil {
			err = c.mirror.Fetch(ctx, url, gitrepo.Credential{Username: cred.Username, Password: cred.Password}, specs...)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("fetch %s: %w: %w", c.id, errOtherGaveUp, err)
		case !again && (errors.Is(err, gitrepo.ErrAuth) || errors.Is(err, gitrepo.ErrRemoteNotFound)):
			continue // a forge may hide what it would refuse
		}
		return fmt.Errorf("%s: %w", c.id, err)
	}
}

// credential returns the one of the last fetch while it lasts, and asks the
// forge for another one otherwise, or with fresh.
func (c *clone) credential(ctx context.Context, fresh bool) (forge.Credential, string, error) {
	c.mu.Lock()
	cred, url := c.cred, c.url
	c.mu.Unlock()
	if url == "" {
		return cred, "", errors.New("the forge has not said where Git finds it, and no git_url is configured")
	}
	lasts := cred.Expires.IsZero() || c.now().Add(time.Minute).Before(cred.Expires)
	if !fresh && lasts && cred.Password != "" {
		return cred, url, nil
	}
	cred, err := c.client.Credential(ctx, c.repo)
	if err != nil {
		return cred, "", fmt.Errorf("ask for a credential for Git: %w", err)
	}
	c.mu.Lock()
	c.cred = cred
	c.mu.Unlock()
	return cred, url, nil
}

// fetchBranch fetches a branch and returns the commit at its tip.
func (c *clone) fetchBranch(ctx context.Context, branch string) (string, error) {
	if err := c.fetch(ctx, branchRef(branch)); err != nil {
		return "", err
	}
	return c.resolve(ctx, branchRef(branch))
}

// fetchChange fetches the head of a change and its base branch, and returns the
// commit at the branch's tip. The change's head commit is in the mirror then.
func (c *clone) fetchChange(ctx context.Context, change forge.Change) (tip string, err error) {
	refs := []string{branchRef(change.Base.Branch), changeRef(change.Number)}
	// A forge may tell of a push before its Git serves it, and moves refs/pull
	// a little later than the branch.
	for wait := 200 * time.Millisecond; ; wait *= 2 {
		if err = c.fetch(ctx, refs...); err == nil {
			_, err = c.resolve(ctx, change.Head.Commit)
		} else if !errors.Is(err, gitrepo.ErrRefNotFound) {
			return "", err
		}
		if err == nil {
			return c.resolve(ctx, branchRef(change.Base.Branch))
		}
		if wait > 3*time.Second {
			return "", fmt.Errorf("fetch the head %s of %s#%d: %w", change.Head.Commit, c.id, change.Number, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", fmt.Errorf("fetch %s: %w", c.id, context.Cause(ctx))
		}
	}
}

// ensure makes sure that the mirror has what an operation runs: it may have been
// made by a process on another machine, or a mirror that was lost since. Merges
// are made again, and come out the same.
func (c *clone) ensure(ctx context.Context, op Operation) error {
	if c.opened.has(op.Commit) {
		return nil
	}
	if _, err := c.resolve(ctx, op.Commit); err == nil {
		return nil
	}
	refs := []string{branchRef(op.Branch)}
	if op.Change != 0 && (op.Kind == KindPlan || op.Cause == CauseCommand) {
		refs = append(refs, changeRef(op.Change))
	}
	if err := c.fetch(ctx, refs...); err != nil {
		return err
	}
	_, err := c.resolve(ctx, op.Commit)
	if err == nil || op.HeadCommit == "" || op.BaseCommit == "" {
		return err
	}
	merged, failed := c.mergeChange(ctx, op.Change, op.BaseCommit, op.HeadCommit)
	switch {
	case failed != nil:
		return failed
	case merged.Commit != op.Commit:
		return fmt.Errorf("%s: the merge of %s into %s came out as %q and not as %s: do all machines have the same version of Git?",
			c.id, op.HeadCommit, op.BaseCommit, merged.Commit, op.Commit)
	}
	return nil
}

// resolve returns the commit that a name means in the mirror.
func (c *clone) resolve(ctx context.Context, rev string) (string, error) {
	commit, err := c.mirror.Repo().Resolve(ctx, rev)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.id, err)
	}
	return commit, nil
}
