// Package engine is what `plumbline serve` runs: what happens on forges goes in; plans, comments, statuses and applies
// come out.
//
// An event comes in through [Engine.Receive] or the poller and becomes a row. From there on, rows are the truth and jobs
// only point at them: the intake asks the forge how things stand and makes an [Operation], which has one [Run] for each
// workspace; workers claim runs and hand them to package runner; whenever a run takes a step, the change's report is
// wanted, and a report brings comments and statuses to what the rows say. A job may come twice, late or never: whoever
// works a row claims it first, and a sweeper makes new jobs for rows that wait.
//
// A process that dies leaves rows with its name. Its heart has stopped beating, so another process, or the next start in
// its data directory, takes them over: a plan is made again, an apply is examined and never repeated blindly.
//
// The package decides who may do what (the gate itself is package runner's) and writes each decision into the audit log
// in the same transaction. It listens on no port and reads no configuration file.
package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/cloudtrail"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/access"
)

// Options say what an Engine works with. DB, Audit, DataDir, Plans, Forges and Installer are required.
type Options struct {
	DB    *database.DB
	Audit *audit.Log
	// DataDir is an absolute directory of this process alone: mirrors of repositories, the workspaces' files and, for
	// those without a backend, their state.
	DataDir string
	// Plans opens the plan store of a repository.
	Plans func(repository string) (*planstore.Store, error)
	// Forges are served, by their names.
	Forges    []ForgeOptions
	Installer *terraform.Installer
	Providers *terraform.ProviderCache
	// Environ is the environment, as os.Environ returns it, for Git and, through its allow-list, for Terraform.
	Environ []string
	// Access gives Terraform the credentials that workspaces name, as far as the operator allows; nil gives none.
	Access *access.Broker
	// Secrets are values that nothing may show wherever they turn up.
	Secrets []string
	// Parallel is how many runs are worked at once; 0 means as many as terraform.AtOnce says.
	Parallel int
	// Shared says that other machines may work on the same database: state that lies in DataDir is then refused.
	Shared bool
	// PublicURL is the address of the pages, for links; "" for none.
	PublicURL string
	// Drift says how drift is looked for.
	Drift DriftOptions
	// StatusLimit is up to how many workspaces of a change have a status each; 0 means 20.
	StatusLimit int
	// Grace is how long running applies may take to end once the engine is stopped; 0 means ten minutes.
	Grace time.Duration
	// Hurry, once closed, ends the grace at once.
	Hurry <-chan struct{}
	// Trail is asked who changed things outside, for workspaces that want it; nil: nobody is asked.
	Trail *cloudtrail.Trail
	// Notify are where people are told of drift.
	Notify []*notify.Target
	// Metrics and Tracer are told what happens; nil for nobody.
	Metrics *telemetry.Metrics
	Tracer  *telemetry.Tracer
	Log     *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Engine is the server's inside. Make it with New; until Run it only takes events in.
type Engine struct {
	Options
	store   *store
	process string // id of this start: what owner columns hold
	queue   *river.Client[*sql.Tx]
	log     *slog.Logger
	rhythm  rhythm

	// hard ends once nothing is waited for any more.
	hard    context.Context
	endHard context.CancelFunc
	// stopping is closed when the engine stops: nothing new is begun.
	stopping chan struct{}
	looked   chan struct{} // a look for drift has ended: see nudge

	mu      sync.Mutex
	clones  *repositories // made by who first needs one; see clone
	state   state
	sites   map[string]chan struct{} // who uses which site; see occupy
	busy    map[string]*working      // what this process works on, by kind and id
	idle    *sync.Cond               // of mu: something is no longer busy
	rested  map[string]time.Time     // when work on a run that is not over was last left
	beating error                    // why the heart does not beat; nil when it does
	shown   shownPlans               // what reports have read
	outputs outputs
	tried   map[string]error // what is wrong with the credentials of each forge
}

type state int

const (
	made state = iota
	starting
	running
	ending
	ended
)

// rhythm is how often things are looked at.
type rhythm struct {
	beat   time.Duration // between two beats of the heart
	missed int           // beats after which a silent process counts as dead
	sweep  time.Duration // between two sweeps
	rest   time.Duration // before a run that was left as it was is tried again
	soft   time.Duration // what work other than runs gets to end in when the engine stops
	last   time.Duration // what the results of interrupted applies get to reach a database that is gone
}

// Why the context of a run, or of other work, is cancelled: ask context.Cause.
var (
	// errStopping: the engine stops. What can be begun again is given back.
	errStopping = errors.New("the server is stopping")
	// errCancelled: the run is not wanted any more.
	errCancelled = errors.New("something newer has taken its place")
	// errPreempted: something that somebody waits for needs the workspace's directory, or the worker.
	errPreempted = errors.New("what somebody waits for goes first")
	// errFenced: other processes took this one for dead and have its work.
	errFenced = errors.New("other processes took this one for dead and have taken over its work")
)

// New makes an engine.
func New(o Options) (*Engine, error) {
	switch {
	case o.DB == nil, o.Audit == nil, o.Plans == nil, o.Installer == nil:
		return nil, errors.New("make the engine: DB, Audit, Plans and Installer are required")
	case !filepath.IsAbs(o.DataDir):
		return nil, fmt.Errorf("make the engine: the data directory %q must be absolute", o.DataDir)
	case len(o.Forges) == 0:
		return nil, errors.New("make the engine: there is no forge to serve")
	}
	names := map[string]bool{}
	for _, f := range o.Forges {
		if f.Name == "" || strings.Contains(f.Name, "/") || names[f.Name] || f.Client == nil {
			return nil, fmt.Errorf("make the engine: the forge %q needs a client and a name of its own without a slash", f.Name)
		}
		names[f.Name] = true
	}
	if o.Parallel <= 0 {
		o.Parallel = terraform.AtOnce()
	}
	if o.StatusLimit <= 0 {
		o.StatusLimit = 20
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	id, err := newID()
	if err != nil {
		return nil, err
	}
	if o.Drift, err = o.Drift.withDefaults(); err != nil {
		return nil, err
	}
	e := &Engine{
		Options: o, store: &store{now: o.Now}, process: id, log: o.Log.With("component", "engine"),
		rhythm:   rhythm{beat: 5 * time.Second, missed: 12, sweep: time.Second, rest: 5 * time.Second, soft: 10 * time.Second, last: 30 * time.Second},
		stopping: make(chan struct{}), looked: make(chan struct{}, 1), busy: map[string]*working{}, rested: map[string]time.Time{}, tried: map[string]error{},
		outputs: outputs{all: map[*printed]bool{}, begun: make(chan struct{}, 1)},
	}
	if o.Shared {
		e.rhythm.sweep = 2 * time.Second
	}
	for _, f := range o.Forges {
		e.tried[f.Name] = errUntried
	}
	e.idle = sync.NewCond(&e.mu)
	e.hard, e.endHard = context.WithCancel(context.Background())
	if e.queue, err = e.newQueue(); err != nil {
		return nil, err
	}
	e.Metrics.OnScrape(e.levels)
	return e, nil
}

// forge finds a forge by its name.
func (e *Engine) forge(name string) (ForgeOptions, bool) {
	for _, f := range e.Forges {
		if f.Name == name {
			return f, true
		}
	}
	return ForgeOptions{}, false
}

// Run works until ctx ends. Then it takes no more work and interrupts plans, which the next start begins again; applies
// go on until they are done, or Grace is over, or Hurry is closed, and are then asked to stop. An engine runs once.
//
// It returns nil after an orderly stop. It is refused in a data directory where another engine runs.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.state != made {
		e.mu.Unlock()
		return errors.New("run the engine: it has run already")
	}
	e.state = starting
	e.mu.Unlock()
	defer e.closeClones()
	defer e.endHard()
	defer e.setState(ended)

	site, release, err := takeSite(e.DataDir)
	if err != nil {
		return err
	}
	defer release()
	if err := e.enter(ctx, site); err != nil {
		return err
	}
	e.setState(running) // before the first job comes
	if err := e.queue.Start(context.WithoutCancel(ctx)); err != nil {
		e.setState(ending)
		return errors.Join(fmt.Errorf("start the job queue: %w", err), e.leave(ctx))
	}
	e.log.Info("engine started", "process", e.process, "parallel", e.Parallel, "database", e.DB.String())

	// The heart beats until the last apply has ended; sweeps end with ctx.
	alive, still := context.WithCancel(context.WithoutCancel(ctx))
	sweeping, fence := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { e.beat(alive, fence) })
	wg.Go(func() { e.outputUntil(alive) })
	wg.Go(func() { e.sweepUntil(sweeping) })
	wg.Go(func() { e.driftUntil(sweeping) })
	wg.Go(func() { e.tidyUntil(sweeping, time.Hour) })
	wg.Go(func() { e.Installer.Warm(sweeping) })
	for _, f := range e.Forges {
		wg.Go(func() { e.expandUntil(sweeping, f) })
	}
	<-sweeping.Done()

	e.stop(context.Cause(sweeping))
	still()
	wg.Wait()
	err = e.leave(ctx)
	if cause := context.Cause(sweeping); errors.Is(cause, errFenced) {
		return errors.Join(cause, err)
	}
	e.log.Info("engine stopped", "process", e.process)
	return err
}

// stop ends all work, in the order that Run promises, and the job queue.
func (e *Engine) stop(why error) {
	e.setState(ending)
	close(e.stopping)
	e.log.Info("engine stops", "cause", why, "busy", e.count(nil))
	stopped := make(chan error, 1)
	go func() { stopped <- e.queue.Stop(e.hard) }()

	over := make(chan struct{})
	go func() {
		defer close(over)
		e.mu.Lock()
		defer e.mu.Unlock()
		for len(e.busy) > 0 {
			e.idle.Wait()
		}
	}()
	soft, grace := time.NewTimer(e.rhythm.soft), time.NewTimer(e.Grace)
	defer soft.Stop()
	defer grace.Stop()
	e.cancelAll(errStopping, func(w *working) bool { return w.what == hintRun && !w.applies() })
	hurry := e.Hurry
	for waiting := true; waiting; {
		select {
		case <-over:
			waiting = false
		case <-soft.C:
			e.cancelAll(errStopping, func(w *working) bool { return !w.applies() })
		case <-grace.C:
			e.interrupt("the grace is over")
		case <-hurry:
			hurry = nil
			e.interrupt("asked to hurry")
		}
	}
	// Nothing is busy, so River has no more than its own books to close.
	last := time.AfterFunc(e.rhythm.last, e.endHard)
	defer last.Stop()
	if err := <-stopped; err != nil {
		e.log.Warn("the job queue did not stop in order", "error", err)
		ctx, cancel := context.WithTimeout(context.Background(), e.rhythm.soft)
		defer cancel()
		_ = e.queue.StopAndCancel(ctx) // the rows are the truth
	}
}

// interrupt asks all work to stop, applies too.
func (e *Engine) interrupt(why string) {
	e.log.Warn("interrupting what still runs", "cause", why, "busy", e.count(nil))
	e.cancelAll(errStopping, func(*working) bool { return true })
	// Results of what is interrupted now may still be on their way to a database that is gone.
	time.AfterFunc(e.rhythm.last, e.giveUp)
}

// giveUp ends what waits for the database. It does nothing while the database answers.
func (e *Engine) giveUp() {
	ctx, cancel := context.WithTimeout(context.Background(), e.rhythm.soft)
	defer cancel()
	if e.DB.Ping(ctx) != nil {
		e.endHard()
		return
	}
	time.AfterFunc(e.rhythm.last, e.giveUp)
}

func (e *Engine) setState(s state) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state = s
}

// Ready returns nil if events are accepted and worked; else why not, one reason or more.
func (e *Engine) Ready(ctx context.Context) error {
	e.mu.Lock()
	state, beating := e.state, e.beating
	e.mu.Unlock()
	err := e.DB.Ping(ctx)
	switch state {
	case made, starting:
		err = errors.Join(errors.New("the engine has not started"), err)
	case running:
		if err == nil {
			err = errors.Join(beating, e.refused())
		}
	default:
		err = errors.Join(errStopping, err)
	}
	return err
}
