// Package runner is the engine: it drives Terraform over the workspaces of one
// checkout and conducts the packages below it, which know nothing of one
// another.
//
// The life of a workspace in a run: [Runner.Plan] finds the Terraform binary
// the workspace asks for, initialises its data directory if something that
// init depends on has changed, plans without taking the state lock, reads the
// plan and seals it into the plan store with a receipt. [Runner.Apply] takes
// the newest receipt, lets the gate compare it with what is there now, and
// applies the very plan that was reviewed, or one whose fingerprint is the
// same, or nothing. [Runner.Drift] plans again, asks package drift what
// happened and what may be done about it, and corrects at most that.
//
// Workspaces run in parallel, dependencies before dependents; what depends on
// something that failed is not started. The result of each workspace is a
// [Result], in graph order, whatever order they ended in.
//
// The package keeps no state of its own between runs, prints nothing and reads
// neither flags nor the process's environment. It never walks away from a
// running apply: a cancelled context asks Terraform to stop and waits.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/internal/cloudtrail"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Options say what a [Runner] works on and with. Root, Set, Plans, Installer
// and WorkDir are required.
type Options struct {
	// Root is the absolute path of the checkout that Terraform runs in.
	Root string
	// Files is the same tree, for reading what the workspaces' inputs are.
	Files fs.FS
	// Set is what can be run, as found in Files.
	Set *workspaces.Set
	// Repository identifies the repository in receipts.
	Repository string
	// Commit is what Root has checked out; "" outside of Git.
	Commit string
	// Dirty reports that Root holds changes that Commit does not.
	Dirty bool
	// Change is the scope that plans are kept in, such as the number of a pull
	// request; "" is the command line's. See planstore.Plan.
	Change string
	// Run names what plans are made for, such as a run of the server; "" for the
	// command line. See planstore.Plan.
	Run string
	// Plans is where plans are kept.
	Plans *planstore.Store
	// Installer finds or installs Terraform.
	Installer *terraform.Installer
	// Providers is the shared provider cache; nil for none.
	Providers *terraform.ProviderCache
	// WorkDir is an absolute directory that holds what Terraform needs to
	// remember of each workspace (its data directory). It must lie outside of
	// Root and belong to this repository alone.
	WorkDir string
	// LocalState is an absolute directory that keeps the states of workspaces
	// which have no backend, with copies from before each apply. It belongs to
	// this repository alone. Root must then not be a person's: a file is added
	// to the root modules of such workspaces. "" leaves their states beside
	// their configuration.
	LocalState string
	// RefuseLocalState has such workspaces fail: other machines would not see
	// their state.
	RefuseLocalState bool
	// Environ is the environment, as os.Environ returns it, out of which
	// Terraform gets what the allow-list lets through.
	Environ []string
	// Access gives Terraform the credentials that workspaces name. nil gives
	// them none.
	Access *access.Broker
	// Actor is who wants this, for sessions of roles; "" if nobody is known.
	Actor string
	// Parallel is how many workspaces run at once; 0 means as many as
	// terraform.AtOnce says.
	Parallel int
	// Hurry, once closed, asks a Terraform that was already interrupted to
	// stop at once, at the risk that it cannot save its state. nil: never.
	Hurry <-chan struct{}
	// Before is called right before Terraform is started on a plan file, with
	// the receipt of that plan. Should it return an error, nothing is applied.
	// What it writes down is what tells later whether an apply was begun. nil:
	// nobody is asked.
	Before func(ctx context.Context, w *workspaces.Workspace, receipt planstore.Plan) error
	// Settle has an apply whose Plumbline died recorded, as [Runner.Settle]
	// does, before anything else is done in its workspace. Without it such an
	// apply is told once and forgotten.
	Settle bool
	// Trail is asked who changed things outside, for workspaces that want it. nil: nobody is asked.
	Trail *cloudtrail.Trail
	// Observe is told of each step of each workspace, from several goroutines
	// at once. nil: nobody is told.
	Observe func(Event)
	// Output is shown what Terraform prints, of one workspace at a time; nil:
	// nobody is.
	Output *Output
	// Log receives what an operator may want to know; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Runner runs Terraform on the workspaces of one checkout.
type Runner struct {
	opts Options

	mu   sync.Mutex
	keys map[string]*access.Keyring // by workspace
}

// New returns a Runner, or an error that names the option that is missing.
func New(opts Options) (*Runner, error) {
	switch {
	case !filepath.IsAbs(opts.Root):
		return nil, fmt.Errorf("runner: the checkout's root %q is not an absolute path", opts.Root)
	case !filepath.IsAbs(opts.WorkDir):
		return nil, fmt.Errorf("runner: the work directory %q is not an absolute path", opts.WorkDir)
	case opts.LocalState != "" && !filepath.IsAbs(opts.LocalState):
		return nil, fmt.Errorf("runner: the directory of local states %q is not an absolute path", opts.LocalState)
	case opts.Set == nil, opts.Plans == nil, opts.Installer == nil, opts.Files == nil:
		return nil, errors.New("runner: Files, Set, Plans and Installer must be set")
	}
	if opts.Parallel <= 0 {
		opts.Parallel = terraform.AtOnce()
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Observe == nil {
		opts.Observe = func(Event) {}
	}
	if opts.Access == nil {
		opts.Access = access.New(access.Options{})
	}
	return &Runner{opts: opts, keys: map[string]*access.Keyring{}}, nil
}

// keyring is what a workspace may be given in this run.
func (r *Runner) keyring(w *workspaces.Workspace) *access.Keyring {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[w.Name] == nil {
		r.keys[w.Name] = r.opts.Access.For(w, access.Purpose{
			Repository: r.opts.Repository, Change: r.opts.Change, Commit: r.opts.Commit, Actor: r.opts.Actor,
		})
	}
	return r.keys[w.Name]
}

// Phase is what a workspace is doing.
type Phase string

const (
	PhaseInit    Phase = "initialising"
	PhasePlan    Phase = "planning"
	PhaseApply   Phase = "applying"
	PhaseVerify  Phase = "verifying"
	PhaseDone    Phase = "done"
	PhaseWaiting Phase = "waiting"
)

// Event is one step of one workspace, for whoever shows progress.
type Event struct {
	Workspace string
	Phase     Phase
	// Result is set when Phase is PhaseDone.
	Result *Result
	At     time.Time
}

func (r *Runner) observe(w *workspaces.Workspace, phase Phase) {
	r.opts.Observe(Event{Workspace: w.Name, Phase: phase, At: r.opts.Now()})
}

// each runs do for each of the selected workspaces in graph order, measures
// it, and tells the observer how it ended.
func (r *Runner) each(ctx context.Context, selected []*workspaces.Workspace, do func(context.Context, *workspaces.Workspace, []Result) Result) []Result {
	for _, w := range selected {
		r.observe(w, PhaseWaiting)
	}
	return walk(ctx, walkOptions{
		All:      r.opts.Set.Workspaces,
		Selected: selected,
		Parallel: r.opts.Parallel,
		Do: func(ctx context.Context, w *workspaces.Workspace, needs []Result) Result {
			start := r.opts.Now()
			var res Result
			if ctx.Err() != nil {
				res = Result{Status: Skipped, Err: ErrNotStarted}
			} else {
				res = do(ctx, w, needs)
			}
			res.Workspace = w
			res.Elapsed = r.opts.Now().Sub(start)
			r.opts.Observe(Event{Workspace: w.Name, Phase: PhaseDone, Result: &res, At: r.opts.Now()})
			return res
		},
	})
}

// ErrNotStarted is the error of a workspace that an interrupt kept from starting.
var ErrNotStarted = errors.New("not started: the run was interrupted")
