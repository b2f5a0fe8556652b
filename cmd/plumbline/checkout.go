package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// checkout is the repository that a command looks at.
type checkout struct {
	// repo is nil where the directory is not in a Git repository.
	repo *gitrepo.Repo
	root string
	// here is the slash path of the starting directory from root.
	here  string
	files fs.FS
	head  gitrepo.Head
	// dirty is known once something is run.
	dirty bool
	facts *workspaces.FactCache
}

// openCheckout finds the repository around the directory given by --chdir.
// Without Git, the directory itself is the root.
func (p *program) openCheckout(c *cli.Context) (*checkout, error) {
	dir, err := filepath.Abs(c.String("chdir"))
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("open the checkout: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open the checkout: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open the checkout: %s is not a directory", dir)
	}
	co := &checkout{root: dir, here: "."}
	repo, err := gitrepo.Open(c.Context, dir, p.environ)
	switch {
	case errors.Is(err, gitrepo.ErrNotRepository):
	case err != nil:
		return nil, err
	case repo.Root() == "":
		return nil, fmt.Errorf("%s is a bare repository: Terraform needs a work tree to run in", dir)
	default:
		co.repo, co.root = repo, repo.Root()
		rel, err := filepath.Rel(co.root, dir)
		if err != nil {
			return nil, err
		}
		co.here = filepath.ToSlash(rel)
		if co.head, err = repo.Head(c.Context); err != nil {
			return nil, err
		}
	}
	co.files = os.DirFS(co.root)
	where, err := p.paths(c)
	if err != nil {
		return nil, err
	}
	co.facts = workspaces.OpenFactCache(filepath.Join(where.cache, "facts", repositoryID(co.identity())))
	return co, nil
}

// close saves what was learned about files, for the next time. Losing it costs
// time and nothing else.
func (co *checkout) close() { _ = co.facts.Save() }

// openSet opens the checkout and finds its workspaces as they are on disk, and
// tells of the mistakes on the way. The caller closes the checkout.
func (p *program) openSet(c *cli.Context) (*checkout, *workspaces.Set, error) {
	co, err := p.openCheckout(c)
	if err != nil {
		return nil, nil, err
	}
	set, err := co.discover(c.Context)
	if err != nil {
		co.close()
		return nil, nil, err
	}
	p.warn(set.Problems)
	return co, set, nil
}

// discover finds the workspaces of the checkout as it is on disk.
func (co *checkout) discover(ctx context.Context) (*workspaces.Set, error) {
	return workspaces.Discover(ctx, co.files, workspaces.Options{Facts: co.facts})
}

// resolve turns a range of revisions into two commits.
func (co *checkout) resolve(ctx context.Context, commits string) (base, head string, err error) {
	if base, head, err = gitrepo.ParseRange(commits); err != nil {
		return "", "", err
	}
	if base, err = co.repo.Resolve(ctx, base); err != nil {
		return "", "", err
	}
	head, err = co.repo.Resolve(ctx, head)
	return base, head, err
}

// affected finds what the commits of a range touch. With two commits nothing
// is read from the work tree. The result's set is that of the range's head.
func (co *checkout) affected(ctx context.Context, commits string) ([]*workspaces.Workspace, *workspaces.Set, string, error) {
	if co.repo == nil {
		return nil, nil, "", fmt.Errorf("--affected compares commits, but %s is not in a Git repository", co.root)
	}
	base, head, err := co.resolve(ctx, commits)
	if err != nil {
		return nil, nil, "", fmt.Errorf("--affected %s: %w", commits, err)
	}
	sets := make([]*workspaces.Set, 2)
	for i, commit := range []string{base, head} {
		tree, err := co.repo.Tree(ctx, commit)
		if err != nil {
			return nil, nil, "", err
		}
		defer tree.Close()
		if sets[i], err = workspaces.Discover(ctx, tree, workspaces.Options{Facts: co.facts}); err != nil {
			if i == 0 && len(workspaces.Problems(err)) > 0 {
				// A base whose configuration is wrong is no reason not to look
				// at the commit that mends it: all that it has is new.
				sets[i] = nil
				continue
			}
			return nil, nil, "", err
		}
	}
	diff, err := co.repo.Diff(ctx, base, head)
	if err != nil {
		return nil, nil, "", err
	}
	changes := make([]workspaces.Change, len(diff))
	for i, d := range diff {
		changes[i] = workspaces.Change{Path: d.Path, Deleted: d.Status == 'D'}
	}
	return workspaces.Affected(sets[0], sets[1], changes), sets[1], head, nil
}

// choose picks the workspaces that a command line names: by name, by
// directory (as seen from the current one, or from the repository's root), all
// with --all, and otherwise those in or under the current directory.
func (co *checkout) choose(set *workspaces.Set, names []string, all bool) ([]*workspaces.Workspace, error) {
	switch {
	case all && len(names) > 0:
		return nil, errors.New("either name workspaces or say --all, not both")
	case len(set.Workspaces) == 0:
		return nil, fmt.Errorf("there is no Terraform root module in %s: nothing can be run", co.root)
	case all || len(names) == 0 && co.here == ".":
		return set.Workspaces, nil
	case len(names) > 0:
		return co.named(set, names)
	}
	found := under(set, co.here)
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no workspace in %s: name one, or say --all (`plumbline workspaces` lists them)", co.here)
	}
	return found, nil
}

// named picks workspaces by name or directory, in the order of the graph. A
// name wins over a directory.
func (co *checkout) named(set *workspaces.Set, names []string) ([]*workspaces.Workspace, error) {
	var wanted []string
	for _, name := range names {
		if _, ok := set.Get(name); !ok && !filepath.IsAbs(name) {
			if inside := under(set, path.Join(co.here, filepath.ToSlash(name))); len(inside) > 0 {
				for _, w := range inside {
					wanted = append(wanted, w.Name)
				}
				continue
			}
		}
		wanted = append(wanted, name)
	}
	return set.Select(wanted)
}

// under returns the workspaces in a directory and below it.
func under(set *workspaces.Set, dir string) []*workspaces.Workspace {
	var found []*workspaces.Workspace
	for _, w := range set.Workspaces {
		if dir == "." || w.Dir == dir || strings.HasPrefix(w.Dir, dir+"/") {
			found = append(found, w)
		}
	}
	return found
}
