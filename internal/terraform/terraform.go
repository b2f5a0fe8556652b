// Package terraform runs Terraform, or OpenTofu, on one root module at a time.
//
// The life of a [Dir]: an [Installer] finds the binary that the workspace asks for, installing it when nothing on the
// machine will do. [Open] ties that binary to a root module, to a data directory of Plumbline's own (so that the user's
// .terraform is left alone) and to an environment built from an allow-list. [Dir.Init] prepares the data directory, and
// does so only when something that init depends on has changed. [Dir.Plan] writes a plan file, [Dir.Show] reads it,
// [Dir.Apply] applies it and says afterwards what state things are in, whatever happened.
//
// The package will not decide: whether a plan may be applied, what it means, or where it is kept is for the packages
// above. It never edits configuration, never moves state from one backend to another, and never breaks a state lock.
package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
)

// Options say what a [Dir] works on. Dir, DataDir and Binary are required.
type Options struct {
	// Dir is the absolute path of the root module.
	Dir string
	// DataDir is the absolute path of the directory that takes the place of .terraform. It is Plumbline's own, one for
	// each workspace, and is made when missing.
	DataDir string
	// Binary is what [Installer.Find] returned.
	Binary Binary
	// Workspace is the Terraform workspace; empty means "default".
	Workspace string
	// VarFiles and BackendConfig are files relative to Dir, in the order in which Terraform is to read them.
	VarFiles, BackendConfig []string
	// Environ is the environment that Plumbline itself was given, as in os.Environ. Only what [Environ] lets through
	// reaches Terraform.
	Environ []string
	// Env names further variables that Terraform may see; a trailing * stands for any ending.
	Env []string
	// Providers is the shared provider cache; nil keeps every provider in DataDir.
	Providers *ProviderCache
	// StampInputs is a digest of whatever else Init should be run again for; empty adds nothing.
	StampInputs string
	// Log may be nil.
	Log *slog.Logger
	// Grace is how long an interrupted command other than an apply may take to end before it is killed; zero means
	// 30 s. An apply is waited for without limit.
	Grace time.Duration
	// Hurry, when closed after the context of an apply was cancelled, interrupts Terraform a second time: it then
	// exits at once, and what it was creating may be lost to the state. Nil means never.
	Hurry <-chan struct{}
}

// Dir is one root module with its data directory. Its methods may be called from several goroutines.
type Dir struct {
	opts Options
}

// Open checks the options. It starts no process.
func Open(o Options) (*Dir, error) {
	if !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.DataDir) {
		return nil, fmt.Errorf("open root module %q with data directory %q: both paths must be absolute", o.Dir, o.DataDir)
	}
	if o.Binary.Path == "" {
		return nil, fmt.Errorf("open root module %q: no Terraform binary given", o.Dir)
	}
	if o.Workspace == "" {
		o.Workspace = "default"
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	return &Dir{opts: o}, nil
}

// Init is what [Dir.Init] did.
type Init struct {
	// Ran is false when nothing that init depends on has changed.
	Ran bool
	// Why says what made init necessary; empty when it did not run.
	Why string
	// Elapsed is the time init and the choice of the Terraform workspace took, waiting for others included.
	Elapsed time.Duration
}

// PlanOptions are the settings of one plan.
type PlanOptions struct {
	// Out is where the plan file is written, with mode 0600. Required.
	Out string
	// Targets limits the plan to these addresses; empty means all.
	Targets []string
	// RefreshOnly plans to bring the state up to date with the real objects, and nothing else.
	RefreshOnly bool
	// NoRefresh trusts the state and reads no real object.
	NoRefresh bool
	// Destroy plans the removal of everything.
	Destroy bool
	// Lock takes the state lock while planning. Off by default: a plan that raced an apply is told by its serial.
	Lock bool
	// Output receives what Terraform prints, as it comes; nil discards it.
	Output io.Writer
}

// StateID tells one version of a state from another. The zero value means that there is no state yet.
type StateID struct {
	Lineage string
	Serial  uint64
}

// Applied is what is known after an apply, failed ones included.
type Applied struct {
	// Before is the state that the plan was made for, After the one that is there now. After is zero when it could not
	// be read; the error then says so.
	Before, After StateID
	// Done lists the addresses that Terraform reported as complete, in its order.
	Done []string
	// ErroredState is the path of the errored.tfstate that this apply left; empty when it left none. The file holds
	// the only record of what was done: keep it.
	ErroredState string
}

var errSkeleton = errors.New("not built yet")

// Init initialises the data directory and selects, or creates, the Terraform workspace.
func (d *Dir) Init(ctx context.Context) (Init, error) { return Init{}, errSkeleton }

// Plan reports whether the plan that it wrote to o.Out holds changes.
func (d *Dir) Plan(ctx context.Context, o PlanOptions) (changes bool, err error) {
	return false, errSkeleton
}

// Show returns a plan file as JSON, and decoded.
func (d *Dir) Show(ctx context.Context, planFile string) ([]byte, *tfjson.Plan, error) {
	return nil, nil, errSkeleton
}

// Apply applies a plan file.
func (d *Dir) Apply(ctx context.Context, planFile string, output io.Writer) (Applied, error) {
	return Applied{}, errSkeleton
}

// State reads which state the workspace has now.
func (d *Dir) State(ctx context.Context) (StateID, error) { return StateID{}, errSkeleton }

// PlanState reads from a plan file which state it was made for.
func PlanState(planFile string) (StateID, error) { return StateID{}, errSkeleton }

// Environ picks from parent what Terraform may see.
func Environ(parent, extra []string) []string { return nil }

// EnvNames returns the sorted names of the variables that matter to a plan.
func EnvNames(environ []string) []string { return nil }

// ProviderCache is a directory of provider packages.
type ProviderCache struct{ dir string }

// OpenProviderCache makes the directory when missing.
func OpenProviderCache(dir string) (*ProviderCache, error) { return &ProviderCache{dir: dir}, nil }
