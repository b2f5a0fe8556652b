package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// knownSet is the workspaces of a commit, or why it has none.
type knownSet struct {
	commit string
	set    *workspaces.Set
	err    error // of plumbline.yaml only: it will not be another one later
}

// mostSets is of how many commits of a repository the sets are kept: the tip of
// a branch, and the merges of a few changes into it.
const mostSets = 8

// set returns the workspaces of a commit that the mirror has. They are shared:
// nobody changes them. workspaces.Problems finds in the error what is wrong with
// plumbline.yaml, if that is it.
func (c *clone) set(ctx context.Context, commit string) (*workspaces.Set, error) {
	select {
	case c.discovering <- struct{}{}:
		defer func() { <-c.discovering }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if i := slices.IndexFunc(c.sets, func(k knownSet) bool { return k.commit == commit }); i >= 0 {
		known := c.sets[i]
		c.sets = slices.Insert(slices.Delete(c.sets, i, i+1), 0, known)
		return known.set, known.err
	}
	known, err := c.discover(ctx, commit)
	if err != nil {
		return nil, err
	}
	c.sets = slices.Insert(c.sets, 0, known)
	c.sets = slices.Delete(c.sets, min(len(c.sets), mostSets), len(c.sets))
	return known.set, known.err
}

func (c *clone) discover(ctx context.Context, commit string) (knownSet, error) {
	tree, err := c.tree(ctx, commit)
	if err != nil {
		return knownSet{}, err
	}
	defer func() { _ = tree.Close() }()
	set, err := workspaces.Discover(ctx, tree, workspaces.Options{Facts: c.facts})
	if err != nil && ctx.Err() != nil {
		return knownSet{}, context.Cause(ctx)
	}
	if failed := tree.Failed(); failed != nil {
		// It may look as if a file could not be read, which is nothing to remember of a commit.
		return knownSet{}, fmt.Errorf("find the workspaces of commit %s of %s: %w", commit, c.id, failed)
	}
	if err != nil {
		err = fmt.Errorf("find the workspaces of commit %s of %s: %w", commit, c.id, err)
		if len(workspaces.Problems(err)) == 0 {
			return knownSet{}, err
		}
	}
	// Losing the cache costs time and nothing else.
	_ = c.facts.Save()
	return knownSet{commit, set, err}, nil
}

// brokenBaseError says that the branch's own plumbline.yaml cannot be used, so
// that nobody knows what guards its workspaces.
type brokenBaseError struct{ err error }

func (b *brokenBaseError) Error() string {
	return fmt.Sprintf("what guards the workspaces is not known: %v", b.err)
}

func (b *brokenBaseError) Unwrap() error { return b.err }

// guarded returns the workspaces of a commit under the rules of its base, and
// what the commit asks for that does not count yet: see workspaces.Guard.
func (c *clone) guarded(ctx context.Context, base, commit string) (*workspaces.Set, []workspaces.Guarded, error) {
	return c.under(ctx, base, commit, workspaces.Guard)
}

// guardedMerge is guarded for a commit that is on the branch already: see
// workspaces.GuardMerge.
func (c *clone) guardedMerge(ctx context.Context, base, commit string) (*workspaces.Set, []workspaces.Guarded, error) {
	return c.under(ctx, base, commit, workspaces.GuardMerge)
}

func (c *clone) under(ctx context.Context, base, commit string, guard func(base, head *workspaces.Set) (*workspaces.Set, []workspaces.Guarded)) (*workspaces.Set, []workspaces.Guarded, error) {
	before, err := c.set(ctx, base)
	if err != nil {
		if len(workspaces.Problems(err)) > 0 {
			err = &brokenBaseError{err}
		}
		return nil, nil, err
	}
	set, err := c.set(ctx, commit)
	if err != nil {
		return nil, nil, err
	}
	guarded, asked := guard(before, set)
	return guarded, asked, nil
}

// affected returns the workspaces that differ between two commits, and all of
// the newer one, under the rules of the older one.
func (c *clone) affected(ctx context.Context, base, commit string) ([]*workspaces.Workspace, *workspaces.Set, error) {
	set, _, err := c.guarded(ctx, base, commit)
	if err != nil {
		return nil, nil, err
	}
	before, err := c.set(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	changes, err := c.changed(ctx, base, commit)
	if err != nil {
		return nil, nil, err
	}
	return workspaces.Affected(before, set, changes), set, nil
}

// materialise makes SITE/files hold what a workspace reads of a commit, whose
// tree is open, and says how many files it wrote or removed. What Terraform
// wrote there stays. Nobody else may use the site meanwhile.
func (c *clone) materialise(ctx context.Context, tree *gitrepo.Tree, commit, workspace, site string) (int, error) {
	set, err := c.set(ctx, commit)
	if err != nil {
		return 0, err
	}
	w, ok := set.Get(workspace)
	if !ok {
		return 0, fmt.Errorf("%s: commit %s has no workspace %q", c.id, commit, workspace)
	}
	inputs, err := set.Inputs(ctx, tree, w)
	if failed := tree.Failed(); failed != nil {
		err = failed
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.id, err)
	}
	files := inputs.Files
	// Nothing that runs reads it, but who looks at a site wants to see it.
	if _, err := tree.Lstat(workspaces.ConfigFile); err == nil && !slices.Contains(files, workspaces.ConfigFile) {
		files = append(slices.Clone(files), workspaces.ConfigFile)
	}
	changed, err := gitrepo.Materialise(ctx, tree, gitrepo.Placement{
		Dir: filepath.Join(site, "files"), Index: filepath.Join(site, "files.index"), Files: files,
	})
	if err != nil {
		return changed, fmt.Errorf("%s, workspace %q: %w", c.id, workspace, err)
	}
	strays, err := removeStrays(filepath.Join(site, "files"), files)
	if err != nil {
		return changed, fmt.Errorf("%s, workspace %q: %w", c.id, workspace, err)
	}
	return changed + strays, nil
}
