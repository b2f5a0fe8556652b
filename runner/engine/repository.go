package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// repositories holds the clones of all repositories that were asked for. It
// belongs to one data directory.
type repositories struct {
	dir     string // of the mirrors
	environ []string
	forge   func(name string) (ForgeOptions, bool)
	now     func() time.Time

	mu     sync.Mutex
	clones map[RepoID]*clone
}

// newRepositories makes it from what New was given.
func newRepositories(o Options) *repositories {
	g := &repositories{dir: filepath.Join(o.DataDir, "repos"), environ: o.Environ, now: o.Now, clones: map[RepoID]*clone{}}
	if g.now == nil {
		g.now = time.Now
	}
	g.forge = func(name string) (ForgeOptions, bool) {
		for _, f := range o.Forges {
			if f.Name == name {
				return f, true
			}
		}
		return ForgeOptions{}, false
	}
	return g
}

// clone returns the engine's clone of a repository.
func (e *Engine) clone(ctx context.Context, repo Repository) (*clone, error) {
	e.mu.Lock()
	if e.clones == nil {
		e.clones = newRepositories(e.Options)
	}
	g := e.clones
	e.mu.Unlock()
	return g.of(ctx, repo)
}

// of returns the clone of a repository. Its mirror is made if need be; nothing
// is fetched.
func (g *repositories) of(ctx context.Context, repo Repository) (*clone, error) {
	served, ok := g.forge(repo.Forge)
	if !ok {
		return nil, fmt.Errorf("open the mirror of %s: no forge is called %q", repo.ID, repo.Forge)
	}
	url := served.gitURL(repo.Repo, repo.CloneURL)
	g.mu.Lock()
	c, ok := g.clones[repo.ID]
	if !ok {
		c = &clone{
			id: repo.ID, repo: repo.Repo, dir: g.path(repo), environ: g.environ, client: served.Client, now: g.now,
			turn: make(chan struct{}, 1), discovering: make(chan struct{}, 1),
		}
		g.clones[repo.ID] = c
	}
	g.mu.Unlock()
	if err := c.open(ctx, url); err != nil {
		return nil, err
	}
	return c, nil
}

// path is where a repository's mirror is: FORGE/OWNER/NAME.git.
func (g *repositories) path(repo Repository) string {
	return filepath.Join(g.dir, fileName(repo.Forge), fileName(repo.Repo.Owner), fileName(repo.Repo.Name)+".git")
}

// fileName makes a name that people chose into that of one file, and no other
// name into the same. Forges allow little more than what stays as it is.
func fileName(name string) string {
	var b strings.Builder
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	if b.Len() == 0 {
		return "%"
	}
	return b.String()
}

// clone is what this process has of one repository: a mirror, and the sets of
// workspaces of the commits it looked at last. It is safe for concurrent use.
type clone struct {
	id      RepoID
	repo    forge.Repo
	dir     string
	environ []string
	client  Forge
	now     func() time.Time

	mu     sync.Mutex
	url    string
	mirror *gitrepo.Mirror
	cred   forge.Credential
	facts  *workspaces.FactCache
	next   *batch     // what the next fetch brings
	sets   []knownSet // the newest first
	opened openTrees

	turn        chan struct{} // held by who fetches
	discovering chan struct{} // held by who discovers
}

func (c *clone) open(ctx context.Context, url string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.url = url // repositories move
	if c.mirror != nil {
		return nil
	}
	mirror, err := gitrepo.OpenMirror(ctx, gitrepo.MirrorOptions{Dir: c.dir, Environ: c.environ})
	if err != nil {
		return fmt.Errorf("open the mirror of %s: %w", c.id, err)
	}
	c.mirror = mirror
	c.facts = workspaces.OpenFactCache(strings.TrimSuffix(c.dir, ".git") + ".facts")
	return nil
}

// tree opens the files of a commit that the mirror has. The caller closes it.
func (c *clone) tree(ctx context.Context, commit string) (*gitrepo.Tree, error) {
	t, err := c.mirror.Repo().Tree(ctx, commit)
	if err != nil {
		return nil, fmt.Errorf("open commit %s of %s: %w", commit, c.id, err)
	}
	return t, nil
}

// merge merges head into base, and touches no branch: see gitrepo.Mirror.Merge.
// What came of it lasts two weeks; see mergeChange.
func (c *clone) merge(ctx context.Context, base, head string) (gitrepo.Merged, error) {
	merged, err := c.mirror.Merge(ctx, base, head)
	if err != nil {
		return gitrepo.Merged{}, fmt.Errorf("%s: %w", c.id, err)
	}
	return merged, nil
}

// mergeChange is merge for the head of a change. The last merge of a change is
// kept until forget.
func (c *clone) mergeChange(ctx context.Context, change int, base, head string) (gitrepo.Merged, error) {
	merged, err := c.merge(ctx, base, head)
	if err != nil || merged.Commit == "" {
		return merged, err
	}
	if err := c.mirror.Keep(ctx, keptFor(change), merged.Commit); err != nil {
		return gitrepo.Merged{}, fmt.Errorf("%s: %w", c.id, err)
	}
	return merged, nil
}

// changed lists the paths that differ between two commits.
func (c *clone) changed(ctx context.Context, base, commit string) ([]workspaces.Change, error) {
	diff, err := c.mirror.Repo().Diff(ctx, base, commit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.id, err)
	}
	changes := make([]workspaces.Change, len(diff))
	for i, d := range diff {
		changes[i] = workspaces.Change{Path: d.Path, Deleted: d.Status == 'D'}
	}
	return changes, nil
}

// spans divides what came to a branch among the merged changes. forward is
// false, and there are none, when from is not in the history of to: the branch
// was pushed with force.
func (c *clone) spans(ctx context.Context, from, to string, merged []gitrepo.MergedChange) (spans []gitrepo.Span, forward bool, err error) {
	_, forward, err = c.mirror.Repo().FirstParents(ctx, from, to)
	if err == nil && forward {
		spans, err = c.mirror.Repo().Spans(ctx, from, to, merged)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", c.id, err)
	}
	return spans, forward, nil
}

// holds reports whether a commit has another one in its history, or is the same.
func (c *clone) holds(ctx context.Context, commit, ancestor string) (bool, error) {
	yes, err := c.mirror.Repo().IsAncestor(ctx, ancestor, commit)
	if err != nil {
		return false, fmt.Errorf("%s: %w", c.id, err)
	}
	return yes, nil
}

// onBranch reports whether a commit is on a branch. The mirror may not have heard of it yet.
func (c *clone) onBranch(ctx context.Context, branch, commit string) (bool, error) {
	if on, err := c.holds(ctx, branchRef(branch), commit); err == nil && on {
		return true, nil
	}
	tip, err := c.fetchBranch(ctx, branch)
	if err != nil {
		return false, err
	}
	return c.holds(ctx, tip, commit)
}

// keptFor is the name under which a change's merge is kept.
func keptFor(change int) string { return fmt.Sprintf("change/%d", change) }

// forget drops what the mirror has for a change's sake. It stays readable for
// two weeks, and what is on a branch stays.
func (c *clone) forget(ctx context.Context, change int) error {
	if err := c.mirror.Drop(ctx, changeRef(change), "refs/plumbline/"+keptFor(change)); err != nil {
		return fmt.Errorf("%s: %w", c.id, err)
	}
	return nil
}
