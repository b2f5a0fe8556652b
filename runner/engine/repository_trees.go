package engine

import (
	"context"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// openTrees are the commits whose files runs have open. Runs come in crowds that read the same commit, and to open one is a
// process of Git or two for each: so those that come at the same time, or soon after, share it.
type openTrees struct {
	mu    sync.Mutex
	trees map[string]*openTree // by commit
}

type openTree struct {
	tree   *gitrepo.Tree
	users  int
	served int
	closer *time.Timer // set while nobody uses it
}

const (
	// treeIdle is how long a commit stays open that nobody reads.
	treeIdle = 5 * time.Second
	// treeServes is how many runs read through one opening: what it has read is in memory until it is closed.
	treeServes = 100
)

// lease opens a commit that the mirror has, or joins those who have it open. release is called once.
func (c *clone) lease(ctx context.Context, commit string) (tree *gitrepo.Tree, release func(), err error) {
	o := &c.opened
	if t := o.join(commit); t != nil {
		return t.tree, func() { o.leave(commit, t) }, nil
	}
	// It outlives this run: others may have joined.
	tree, err = c.tree(context.WithoutCancel(ctx), commit)
	if err != nil {
		return nil, nil, err
	}
	t := o.add(commit, tree)
	return t.tree, func() { o.leave(commit, t) }, nil
}

// has reports whether a commit is open, and so in the mirror.
func (o *openTrees) has(commit string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.trees[commit]
	return t != nil && t.tree.Failed() == nil
}

// join takes part in a commit that is open; nil if none is.
func (o *openTrees) join(commit string) *openTree {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.trees[commit]
	if t == nil {
		return nil
	}
	if t.served >= treeServes || t.tree.Failed() != nil {
		o.forget(commit, t)
		return nil
	}
	if t.closer != nil {
		t.closer.Stop()
		t.closer = nil
	}
	t.users++
	t.served++
	return t
}

// add lets others take part in a tree from now on, unless somebody was faster.
func (o *openTrees) add(commit string, tree *gitrepo.Tree) *openTree {
	t := &openTree{tree: tree, users: 1, served: 1}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.trees == nil {
		o.trees = map[string]*openTree{}
	}
	if o.trees[commit] == nil {
		o.trees[commit] = t
	}
	return t
}

// leave ends a run's part in a tree. The last one closes it, in a while.
func (o *openTrees) leave(commit string, t *openTree) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.users--; t.users > 0 {
		return
	}
	if o.trees[commit] != t || t.tree.Failed() != nil {
		o.forget(commit, t)
		return
	}
	t.closer = time.AfterFunc(treeIdle, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if t.users == 0 && t.closer != nil {
			o.forget(commit, t)
		}
	})
}

// forget lets nobody join a tree any more, and closes it if nobody reads it. The caller holds the lock.
func (o *openTrees) forget(commit string, t *openTree) {
	if o.trees[commit] == t {
		delete(o.trees, commit)
	}
	if t.users > 0 {
		return
	}
	if t.closer != nil {
		t.closer.Stop()
		t.closer = nil
	}
	_ = t.tree.Close()
}

// close closes what nobody reads, at once.
func (o *openTrees) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for commit, t := range o.trees {
		o.forget(commit, t)
	}
}
