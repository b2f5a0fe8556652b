package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/cloudtrail"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/runner/access"
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
		&cli.StringFlag{Name: "plan-kms-key", Usage: "`KEY` of AWS KMS that wraps the keys of plans: an ARN, an id or alias/NAME; several with commas, the first for new plans (default: the key file seals them)", EnvVars: []string{"PLUMBLINE_PLAN_KMS_KEY"}},
	}
}

// runFlags say how workspaces are run.
func runFlags() []cli.Flag {
	return append(storeFlags(),
		&cli.IntFlag{Name: "parallel", Aliases: []string{"p"}, Usage: "run `N` workspaces at once (default: two a core, or one where memory is short)", EnvVars: []string{"PLUMBLINE_PARALLEL"}},
		&cli.StringFlag{Name: "terraform-releases", Usage: "`URL` to install Terraform from, for machines that cannot reach HashiCorp's own releases", EnvVars: []string{"PLUMBLINE_TERRAFORM_RELEASES"}, Hidden: true},
	)
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of text"}
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
		if !filepath.IsAbs(base) {
			home := p.getenv("HOME")
			if home == "" {
				return paths{}, errors.New("neither HOME nor XDG_CACHE_HOME is set: say where to keep things with --cache-dir")
			}
			base = filepath.Join(home, ".cache")
		}
		cache = filepath.Join(base, "plumbline")
	}
	// A relative value is to be ignored, says the XDG Base Directory
	// Specification; it would put the key into the checkout.
	state := p.getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
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
// by its key. It depends on nothing but the key.
func repositoryID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return path.Base(filepath.ToSlash(key)) + "-" + hex.EncodeToString(sum[:6])
}

func (co *checkout) identity() string {
	if co.repo == nil {
		return co.root
	}
	return co.repo.Identity()
}

// openStore opens the plan store of the checkout's repository.
func (p *program) openStore(c *cli.Context, co *checkout) (*planstore.Store, error) {
	o, err := p.checkoutStore(c, co)
	if err != nil {
		return nil, err
	}
	return planstore.Open(c.Context, o)
}

// checkoutStore says where the plans of the checkout's repository are kept.
func (p *program) checkoutStore(c *cli.Context, co *checkout) (planstore.Options, error) {
	where, err := p.paths(c)
	if err != nil {
		return planstore.Options{}, err
	}
	location := p.givenLocation(c)
	if location == "" {
		location = filepath.Join(where.state, "plans", repositoryID(co.identity()))
	}
	keyFile := c.String("plan-key-file")
	if keyFile == "" {
		keyFile = filepath.Join(where.state, "plan.key")
	}
	return planstore.Options{
		Location:   location,
		KeyFile:    keyFile,
		Key:        p.getenv("PLUMBLINE_PLAN_KEY"),
		KMSKey:     c.String("plan-kms-key"),
		Repository: co.identity(),
	}, nil
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
	if co.repo != nil {
		if co.dirty, err = co.repo.Dirty(c.Context); err != nil {
			return nil, nil, err
		}
	}
	run, err := runner.New(runner.Options{
		Root:       co.root,
		Files:      co.files,
		Set:        set,
		Repository: co.identity(),
		Commit:     co.head.Commit,
		Dirty:      co.dirty,
		Plans:      store,
		Installer: terraform.NewInstaller(terraform.InstallerOptions{
			CacheDir:    filepath.Join(where.cache, "terraform"),
			SearchPath:  p.getenv("PATH"),
			ReleasesURL: c.String("terraform-releases"),
			Log:         log,
		}),
		Providers: providers,
		// Two clones of one repository share plans, but not data directories.
		WorkDir: filepath.Join(where.cache, "work", repositoryID(co.root)),
		Environ: p.environ,
		// Whoever runs this could run what plumbline.yaml names as well.
		Access:   access.New(access.Options{Environ: p.environ, Anything: true}),
		Actor:    p.actor(),
		Parallel: c.Int("parallel"),
		Hurry:    p.hurry,
		Trail:    cloudtrail.New(cloudtrail.Options{Log: log}),
		Observe:  observe,
		Log:      log,
	})
	return run, store, err
}

// actor is who runs the program, for the sessions of roles: in CI whoever has
// started the job.
func (p *program) actor() string {
	for _, name := range []string{"GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER", "LOGNAME"} {
		if value := p.getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func (p *program) logger(c *cli.Context) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", c.String("log-level"))
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level})), nil
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
