package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/cloudtrail"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
)

func (p *program) serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve pull requests: plans as comments, applies on merge",
		Description: "Plans each pull request of the repositories that the configuration names, answers in a comment, and applies\n" +
			"what was reviewed when it is merged. docs/serve.md is the guide.\n\n" +
			"The first SIGTERM (or Ctrl-C) stops taking work: plans are interrupted and made again at the next start, and\n" +
			"applies may end. The second asks their Terraform to stop, too.\n\n" +
			"Example:\n" +
			"   plumbline serve --config server.yaml\n\n" +
			"Exit status: 0 after an orderly stop; 1 if it could not start, or had to give up.",
		Flags: append(configFlags(),
			&cli.StringFlag{Name: "terraform-releases", Usage: "`URL` to install Terraform from, for machines that cannot reach HashiCorp's own releases", EnvVars: []string{"PLUMBLINE_TERRAFORM_RELEASES"}, Hidden: true},
		),
		Action: p.serve,
	}
}

// serve builds everything from the floor up, runs it, and takes it down in
// reverse.
func (p *program) serve(c *cli.Context) (err error) {
	if c.NArg() > 0 {
		return fmt.Errorf("serve takes no argument %q: what it serves stands in the configuration", c.Args().First())
	}
	config, err := p.readConfig(c, false)
	if err != nil {
		return err
	}
	p.idle.Store(true) // nothing runs yet that an interrupt could leave half done
	ctx := c.Context
	defer func() {
		// Who is asked to stop while starting stops in order, too.
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	log, redactor, err := p.serverLog(config)
	if err != nil {
		return err
	}
	metrics := telemetry.NewMetrics(version)
	tracer, err := telemetry.NewTracer(ctx, telemetry.TracerOptions{
		Endpoint: config.traces, Getenv: p.getenv, Version: version, Redactor: redactor, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, tracer.Close(last))
	}()

	forges, err := config.clients(metrics, tracer)
	if err != nil {
		return err
	}
	if err := checkForges(ctx, forges, log); err != nil {
		return err
	}
	db, err := database.Open(ctx, database.Options{URL: config.database, DataDir: config.dataDir, Version: version})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	decisions, err := p.openAuditLog(config)
	if err != nil {
		return err
	}
	cache := filepath.Join(config.dataDir, "cache")
	if c.String("cache-dir") != "" {
		where, err := p.paths(c)
		if err != nil {
			return err
		}
		cache = where.cache
	}
	providers, err := terraform.OpenProviderCache(filepath.Join(cache, "providers"))
	if err != nil {
		return err
	}
	plans := keepStores(func(repository string) (*planstore.Store, error) {
		return planstore.Open(context.WithoutCancel(ctx), planstore.Options{
			Location: config.planStore, KeyFile: config.planKeyFile, Key: p.getenv("PLUMBLINE_PLAN_KEY"), KMSKey: config.planKMSKey, Repository: repository,
		})
	})
	startup, err := plans("startup")
	if err != nil { // mistakes show now, not with the first pull request
		return err
	}
	checkPlans(ctx, startup, log)
	work, err := engine.New(engine.Options{
		DB: db, Audit: decisions, DataDir: config.dataDir, Plans: plans, Forges: forges,
		Installer: terraform.NewInstaller(terraform.InstallerOptions{
			CacheDir: filepath.Join(cache, "terraform"), SearchPath: p.getenv("PATH"), ReleasesURL: c.String("terraform-releases"), Log: log,
		}),
		Providers: providers,
		Environ:   config.environ(p.environ),
		Access:    access.New(access.Options{Environ: config.environ(p.environ), Rules: config.credentials}),
		Secrets:   append(config.secrets(), p.secrets()...),
		Parallel:  config.parallel, Shared: config.database != "", PublicURL: config.publicURL, StatusLimit: config.statusLimit, Drift: config.drift, Notify: config.targets(),
		Trail: cloudtrail.New(cloudtrail.Options{Log: log.With("component", "cloudtrail")}),
		Grace: config.grace, Hurry: p.hurry, Metrics: metrics, Tracer: tracer, Log: log,
	})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", config.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w: does another `plumbline serve` run here?", config.listen, err)
	}
	p.grace.Store(int64(config.grace))
	gate, err := config.gate(db, decisions, forges, tracer, log)
	if err != nil {
		return err
	}
	views := engine.NewViews(engine.ViewsOptions{DB: db, Audit: decisions, Plans: plans, Secrets: append(config.secrets(), p.secrets()...)})
	return p.runServer(ctx, work, config, listener, web.New(web.Options{
		Engine: work, Views: views, Forges: config.hooked(), Exposed: !isLoopback(config.listen), SignIn: gate, MetricsToken: config.metricsToken, Metrics: metrics, Version: version, Log: log,
	}), log)
}

// startupPatience is how long the start waits for a bucket to say what is
// wrong with it.
const startupPatience = 5 * time.Second

// checkPlans asks the plan store whether it can be used: a bucket tells only
// when it is asked. The server starts all the same, because what is wrong may
// pass, or be mended, while it runs.
func checkPlans(ctx context.Context, store *planstore.Store, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, startupPatience)
	defer cancel()
	if _, err := store.List(ctx); err != nil {
		log.Error("plans cannot be kept now", "plan_store", store.Location(), "error", err)
	}
}

// keepStores opens the plan store of each repository once: connections,
// credentials and unwrapped keys are kept with it.
func keepStores(open func(repository string) (*planstore.Store, error)) func(string) (*planstore.Store, error) {
	var mu sync.Mutex
	stores := map[string]*planstore.Store{}
	return func(repository string) (*planstore.Store, error) {
		mu.Lock()
		defer mu.Unlock()
		if store, ok := stores[repository]; ok {
			return store, nil
		}
		store, err := open(repository)
		if err == nil {
			stores[repository] = store
		}
		return store, err
	}
}

// runServer runs the engine and the listener until ctx ends or one of the two
// fails. The listener outlives the engine: what forges tell while the last
// applies end is written down for the next start.
func (p *program) runServer(ctx context.Context, work *engine.Engine, config *serverConfig, l net.Listener, handler http.Handler, log *slog.Logger) error {
	working, stopWork := context.WithCancel(ctx)
	defer stopWork()
	listening, stopWeb := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWeb()
	served := make(chan error, 1)
	go func() {
		err := web.Serve(listening, l, handler, log)
		stopWork()
		served <- err
	}()
	text := fmt.Sprintf("plumbline %s is listening on http://%s%s\n", version, l.Addr(), config.describe())
	switch {
	case len(config.signIn.ways) > 0:
		var ways []string
		for _, w := range config.signIn.ways {
			ways = append(ways, w.Name)
		}
		text += fmt.Sprintf("plumbline serves its pages at %s to those who sign in by %s\n", config.publicURL, strings.Join(ways, ", "))
	case !isLoopback(config.listen):
		text += fmt.Sprintf("plumbline serves no pages: others can reach %s, and nobody can sign in; webhooks and health are served\n", config.listen)
	}
	fmt.Fprint(p.stdout, text)
	err := work.Run(working)
	stopWeb()
	if webErr := <-served; webErr != nil {
		err = errors.Join(err, fmt.Errorf("serve http://%s: %w", l.Addr(), webErr))
	}
	return err
}

// describe says where webhooks go and what is polled.
func (c *serverConfig) describe() string {
	var hooks, polled []string
	for _, f := range c.forges {
		if f.webhookSecret != "" {
			hooks = append(hooks, "/webhook/"+f.name)
		}
		if f.poll > 0 {
			polled = append(polled, f.name+" every "+written(f.poll))
		}
	}
	text := ""
	if len(hooks) > 0 {
		text += ", webhooks go to " + strings.Join(hooks, ", ")
	}
	if len(polled) > 0 {
		text += ", polling " + strings.Join(polled, ", ")
	}
	return text
}

// hooked are the forges whose webhooks are taken: those that sign them.
// Whoever can reach an address could make up the others.
func (c *serverConfig) hooked() []string {
	var names []string
	for _, f := range c.forges {
		if f.webhookSecret != "" {
			names = append(names, f.name)
		}
	}
	return names
}

// environ is what Git and Terraform get to choose from: everything but the
// variables that the configuration takes secrets from, and our own. No
// plumbline.yaml must be able to name them.
func (c *serverConfig) environ(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(c.hidden, name) || strings.HasPrefix(name, "PLUMBLINE_")
	})
}

// serverLog makes the log, which goes to standard error, and what hides secrets
// in it.
func (p *program) serverLog(c *serverConfig) (*slog.Logger, *telemetry.Redactor, error) {
	redactor := telemetry.NewRedactor(append(c.secrets(), p.secrets()...)...)
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		return nil, nil, err
	}
	log, err := telemetry.NewLog(p.stderr, telemetry.LogOptions{Format: c.logFormat, Level: level, Redactor: redactor})
	return log, redactor, err
}
