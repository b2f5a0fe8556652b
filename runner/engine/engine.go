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
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
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
	// Secrets are values that nothing may show wherever they turn up.
	Secrets []string
	// Parallel is how many runs are worked at once; 0 means as many as there are cores.
	Parallel int
	// Shared says that other machines may work on the same database: state that lies in DataDir is then refused.
	Shared bool
	// PublicURL is the address of the pages, for links; "" for none.
	PublicURL string
	// StatusLimit is up to how many workspaces of a change have a status each; 0 means 20.
	StatusLimit int
	// Grace is how long running applies may take to end once the engine is stopped; 0 means ten minutes.
	Grace time.Duration
	// Hurry, once closed, ends the grace at once.
	Hurry <-chan struct{}
	Log   *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Engine is the server's inside. Make it with New; it does nothing before Run.
type Engine struct {
	Options
	store   *store
	process string // id of this start: what owner columns hold
	queue   *river.Client[*sql.Tx]
	log     *slog.Logger

	// stopping is closed when the engine stops: nothing new is begun.
	stopping chan struct{}
	mu       sync.Mutex
	busy     map[string]*working // runs that this process works on, by id
}

// Why the context of a run, or of other work, is cancelled: ask context.Cause.
var (
	// errStopping: the engine stops. What can be begun again is given back.
	errStopping = errors.New("the server is stopping")
	// errCancelled: the run is not wanted any more.
	errCancelled = errors.New("something newer has taken its place")
	// errPreempted: an apply needs the workspace's directory.
	errPreempted = errors.New("an apply of the workspace goes first")
	// errFenced: other processes took this one for dead and have its work.
	errFenced = errors.New("other processes took this one for dead")
)

// Forge finds a forge by its name.
func (e *Engine) forge(name string) (ForgeOptions, bool) {
	for _, f := range e.Forges {
		if f.Name == name {
			return f, true
		}
	}
	return ForgeOptions{}, false
}

// persist is DB.Tx for the result of work that cannot be done again: it waits out a database that is gone, locked or
// full, until the engine is told to hurry.
func (e *Engine) persist(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return e.DB.Tx(ctx, fn)
}
