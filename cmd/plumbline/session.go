package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// globalFlags are understood before any command.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "chdir", Aliases: []string{"C"}, Usage: "run as if started in `DIR`", Value: "."},
		&cli.StringFlag{Name: "cache-dir", Usage: "`DIR` for what can be had again: Terraform versions, providers, facts about files (default: plumbline in the user's cache directory)", EnvVars: []string{"PLUMBLINE_CACHE_DIR"}},
		&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` of the log on standard error: debug, info, warn or error", Value: "warn", EnvVars: []string{"PLUMBLINE_LOG_LEVEL"}},
	}
}

// storeFlags choose the plan store.
func storeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "plan-store", Usage: "where plans are kept: a directory or s3://BUCKET/PREFIX (default: a directory for this repository in the user's state directory)", EnvVars: []string{"PLUMBLINE_PLAN_STORE"}},
		&cli.StringFlag{Name: "plan-key-file", Usage: "`FILE` with the key that seals plans; made on first use (default: plan.key in the user's state directory)", EnvVars: []string{"PLUMBLINE_PLAN_KEY_FILE"}},
	}
}

// runFlags say how workspaces are run.
func runFlags() []cli.Flag {
	return append(storeFlags(),
		&cli.IntFlag{Name: "parallel", Aliases: []string{"p"}, Usage: "run `N` workspaces at once (default: as many as there are cores)", EnvVars: []string{"PLUMBLINE_PARALLEL"}},
		&cli.StringFlag{Name: "terraform-releases", Usage: "`URL` to install Terraform from, for machines that cannot reach HashiCorp's own releases", EnvVars: []string{"PLUMBLINE_TERRAFORM_RELEASES"}, Hidden: true},
	)
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of text"}
}

// checkout is the repository that a command looks at.
type checkout struct {
	// repo is nil where the directory is not in a Git repository.
	repo *gitrepo.Repo
	root string
	// here is the slash path of the starting directory from root.
	here  string
	files fs.FS
	head  gitrepo.Head
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
	co.facts = workspaces.OpenFactCache(filepath.Join(where.cache, "facts", repositoryID(co.root, co.identity())))
	return co, nil
}

// close saves what was learned about files, for the next time. Losing it costs
// time and nothing else.
func (co *checkout) close() { _ = co.facts.Save() }

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

// paths are where Plumbline keeps things outside of the checkout.
type paths struct {
	cache string // can be had again
	state string // cannot
}

func (p *program) paths(c *cli.Context) (paths, error) {
	cache := c.String("cache-dir")
	if cache == "" {
		base := p.getenv("XDG_CACHE_HOME")
		if base == "" {
			home := p.getenv("HOME")
			if home == "" {
				return paths{}, errors.New("neither HOME nor XDG_CACHE_HOME is set: say where to keep things with --cache-dir")
			}
			base = filepath.Join(home, ".cache")
		}
		cache = filepath.Join(base, "plumbline")
	}
	state := p.getenv("XDG_STATE_HOME")
	if state == "" {
		if home := p.getenv("HOME"); home != "" {
			state = filepath.Join(home, ".local", "state")
		} else {
			state = filepath.Join(cache, "state")
		}
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return paths{}, err
	}
	return paths{cache: cache, state: filepath.Join(state, "plumbline")}, nil
}

// repositoryID names something of a repository in paths: readable, and unique
// by its key.
func repositoryID(root, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Base(root) + "-" + hex.EncodeToString(sum[:6])
}

func (co *checkout) identity() string {
	if co.repo == nil {
		return co.root
	}
	return co.repo.Identity()
}

// openStore opens the plan store of the checkout's repository.
func (p *program) openStore(c *cli.Context, co *checkout) (*planstore.Store, error) {
	where, err := p.paths(c)
	if err != nil {
		return nil, err
	}
	location := c.String("plan-store")
	if location == "" {
		location = filepath.Join(where.state, "plans", repositoryID(co.root, co.identity()))
	}
	keyFile := c.String("plan-key-file")
	if keyFile == "" {
		keyFile = filepath.Join(where.state, "plan.key")
	}
	return planstore.Open(c.Context, planstore.Options{
		Location:   location,
		KeyFile:    keyFile,
		Key:        p.getenv("PLUMBLINE_PLAN_KEY"),
		Repository: co.identity(),
	})
}

// openRunner builds the engine over a checkout, top to bottom.
func (p *program) openRunner(c *cli.Context, co *checkout, set *workspaces.Set, observe func(runner.Event)) (*runner.Runner, *planstore.Store, error) {
	where, err := p.paths(c)
	if err != nil {
		return nil, nil, err
	}
	log, err := p.logger(c)
	if err != nil {
		return nil, nil, err
	}
	if c.Int("parallel") < 0 {
		return nil, nil, fmt.Errorf("--parallel %d: say how many workspaces run at once, at least 1", c.Int("parallel"))
	}
	store, err := p.openStore(c, co)
	if err != nil {
		return nil, nil, err
	}
	providers, err := terraform.OpenProviderCache(filepath.Join(where.cache, "providers"))
	if err != nil {
		return nil, nil, err
	}
	dirty := false
	if co.repo != nil {
		if dirty, err = co.repo.Dirty(c.Context); err != nil {
			return nil, nil, err
		}
	}
	run, err := runner.New(runner.Options{
		Root:       co.root,
		Files:      co.files,
		Set:        set,
		Repository: co.identity(),
		Commit:     co.head.Commit,
		Dirty:      dirty,
		Plans:      store,
		Installer: terraform.NewInstaller(terraform.InstallerOptions{
			CacheDir:    filepath.Join(where.cache, "terraform"),
			SearchPath:  p.getenv("PATH"),
			ReleasesURL: c.String("terraform-releases"),
			Log:         log,
		}),
		Providers: providers,
		// Two clones of one repository share plans, but not data directories.
		WorkDir:  filepath.Join(where.cache, "work", repositoryID(co.root, co.root)),
		Environ:  p.environ,
		Parallel: c.Int("parallel"),
		Hurry:    p.hurry,
		Observe:  observe,
		Log:      log,
	})
	return run, store, err
}

func (p *program) logger(c *cli.Context) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", c.String("log-level"))
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level})), nil
}

// choose picks the workspaces that a command line names: by name, by
// directory, all with --all, and otherwise those in or under the directory
// that the command was started in.
func choose(set *workspaces.Set, co *checkout, names []string, all bool) ([]*workspaces.Workspace, error) {
	switch {
	case all && len(names) > 0:
		return nil, fmt.Errorf("either name workspaces or say --all, not both")
	case len(names) > 0:
		return set.Select(names)
	case all || co.here == ".":
		return set.Workspaces, nil
	}
	var under []*workspaces.Workspace
	for _, w := range set.Workspaces {
		if w.Dir == co.here || strings.HasPrefix(w.Dir, co.here+"/") {
			under = append(under, w)
		}
	}
	if len(under) == 0 {
		return nil, fmt.Errorf("there is no workspace in %s: name one, or say --all (`plumbline workspaces` lists them)", co.here)
	}
	return under, nil
}

func (p *program) getenv(name string) string {
	i := slices.IndexFunc(p.environ, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	if i < 0 {
		return ""
	}
	return p.environ[i][len(name)+1:]
}

// secrets are the values of the environment that no output may show.
func (p *program) secrets() []string { return terraform.Secrets(p.environ) }
