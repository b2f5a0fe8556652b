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
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
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
	// LocalBackend is what an override file in the root module, which reads as [LocalBackend.Override], says about its backend.
	// Nil: there is no such file.
	LocalBackend *LocalBackend
	// Environ is the environment that Plumbline itself was given, as in os.Environ. Only what [Environ] lets through
	// reaches Terraform.
	Environ []string
	// Env names further variables that Terraform may see; a trailing * stands for any ending.
	Env []string
	// Given is what Terraform gets besides, and in the place of what Environ says.
	Given Given
	// Providers is the shared provider cache; nil keeps every provider in DataDir.
	Providers *ProviderCache
	// Output is shown what Terraform prints while it runs; nil: nobody is.
	Output Output
	// Log may be nil.
	Log *slog.Logger
	// Grace is how long an interrupted command other than an apply may take to end before it is killed; zero means
	// 30 s. An apply is waited for without limit.
	Grace time.Duration
	// Hurry, when closed after the context of an apply was cancelled, interrupts Terraform a second time: it then
	// exits at once, and what it was creating may be lost to the state. Nil means never.
	Hurry <-chan struct{}
}

// Given are variables that Terraform gets whatever the environment says, such as credentials for one phase of a run.
type Given struct {
	// Set is as in os.Environ. A name that is never let through is an error.
	Set []string
	// Hide are values that are masked in what Terraform says, beside those that look secret by their names.
	Hide []string
	// Explain adds to what Terraform said when it failed, such as that the credentials have ended; "" for nothing. Nil: nobody
	// is asked.
	Explain func(said string) string
}

// Format hides the values, whatever the verb.
func (g Given) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%d variables (hidden)", len(g.Set)) }

// LocalBackend are settings of a backend "local": absolute paths.
type LocalBackend struct {
	Path         string `json:"path"`
	WorkspaceDir string `json:"workspace_dir"`
}

// Override is what a file in a root module reads that gives it this backend, whatever the rest says.
func (l *LocalBackend) Override() []byte {
	if l == nil {
		return nil
	}
	// Strings alone: it cannot fail.
	text, _ := json.Marshal(map[string]any{"terraform": map[string]any{"backend": map[string]any{"local": l}}})
	return text
}

// Dir is one root module with its data directory. Its methods may be called from several goroutines.
type Dir struct {
	opts Options
	// env is what Terraform is given.
	env     map[string]string
	secrets []string
}

// defaultGrace is [Options.Grace] when it is zero.
const defaultGrace = 30 * time.Second

// Open checks the options and makes the data directory. It starts no process.
func Open(o Options) (*Dir, error) {
	if !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.DataDir) {
		return nil, fmt.Errorf("open root module %q with data directory %q: both paths must be absolute", o.Dir, o.DataDir)
	}
	if info, err := os.Stat(o.Dir); err != nil {
		return nil, fmt.Errorf("open root module: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open root module %q: it is not a directory", o.Dir)
	}
	if o.Binary.Path == "" {
		return nil, fmt.Errorf("open root module %q: no Terraform binary given", o.Dir)
	}
	if err := checkExtra(o.Env); err != nil {
		return nil, fmt.Errorf("open root module: %w", err)
	}
	if err := checkGiven(o.Given.Set); err != nil {
		return nil, fmt.Errorf("open root module: %w", err)
	}
	if o.Workspace == "" {
		o.Workspace = defaultWorkspace
	}
	// It becomes a file name in the data directory and, for local states, beside the configuration.
	if strings.ContainsAny(o.Workspace, "/\\\x00\n") || o.Workspace == "." || o.Workspace == ".." {
		return nil, fmt.Errorf("open root module: %q cannot be the name of a Terraform workspace", o.Workspace)
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// Plan and state of whole clouds pass through it.
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	environ := append(Environ(o.Environ, o.Env), o.Given.Set...) // of two with one name the last counts
	d := &Dir{opts: o, env: map[string]string{}, secrets: append(secretsOf(environ), sensitiveValues(o.Dir, environ)...)}
	for _, value := range o.Given.Hide {
		d.secrets = append(d.secrets, worthHiding(value)...)
	}
	slices.SortFunc(d.secrets, func(a, b string) int { return len(b) - len(a) }) // a part must not be masked before the whole
	if o.Output != nil {
		o.Output.Hide(d.secrets...)
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		d.env[name] = value
	}
	d.env["TF_DATA_DIR"] = o.DataDir
	d.env["CHECKPOINT_DISABLE"] = "1"
	if _, set := d.env[collection]; !set && roomy() {
		d.env[collection] = lazyCollection
	}
	if d.cachesPlugins() {
		// A plugin_cache_dir in the CLI configuration is shared by every Terraform of this user, and parallel inits
		// rewrite its files under running plans. The variable overrides it with one that nobody else uses.
		dir := filepath.Join(o.DataDir, pluginCacheName)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
		d.env["TF_PLUGIN_CACHE_DIR"] = dir
	}
	return d, nil
}

// With is the same directory with other variables given, in the place of those that it has.
func (d *Dir) With(g Given) (*Dir, error) {
	o := d.opts
	o.Given = g
	return Open(o)
}

// pluginCacheName is the directory in the data directory that takes the place of a configured plugin_cache_dir.
const pluginCacheName = "plugin-cache"

// cachesPlugins reports whether the CLI configuration sets plugin_cache_dir.
func (d *Dir) cachesPlugins() bool {
	for _, file := range d.cliConfigs() {
		src, err := os.ReadFile(file)
		if err == nil && bytes.Contains(src, []byte("plugin_cache_dir")) {
			return true
		}
	}
	return false
}

// data returns a path in the data directory.
func (d *Dir) data(elem ...string) string {
	return filepath.Join(append([]string{d.opts.DataDir}, elem...)...)
}

func (d *Dir) log() *slog.Logger { return d.opts.Log }

// userAgent is what providers call themselves beside what they are, where Plumbline applies: a cloud's log of requests then
// tells its changes from those of people with the same credentials. internal/cloudtrail looks for it.
const userAgent = "plumbline/1"

// environ is the environment of a process that terraform-exec does not start. It sets what terraform-exec would.
func (d *Dir) environ() []string {
	env := []string{"TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_LOG=", "TF_APPEND_USER_AGENT=" + userAgent}
	for name, value := range d.env {
		env = append(env, name+"="+value)
	}
	return env
}

// run runs one command that terraform-exec is not asked to; see [process]. It returns what was printed to stderr.
func (d *Dir) run(ctx context.Context, command string, stdout io.Writer, args ...string) (string, error) {
	stderr := &capped{limit: maxStderr}
	head := &capped{limit: maxStderr}
	shown := command == "init"
	if shown {
		d.announce(command)
		stdout = d.shown(head)
	}
	if stdout == nil {
		stdout = head
	}
	p := process{
		path: d.opts.Binary.Path, args: args, dir: d.opts.Dir, env: d.environ(),
		stdout: stdout, stderr: stderr, grace: d.opts.Grace,
	}
	err := p.run(ctx)
	if shown {
		d.said(stderr.String())
	}
	if err != nil {
		return stderr.String(), d.failed(ctx, command, err, stderr.String(), head.String())
	}
	return stderr.String(), nil
}

// failed turns the error of a command into one for the caller, from what the command printed. It does not say where:
// the caller names the workspace, and the same failure of many workspaces reads the same.
func (d *Dir) failed(ctx context.Context, command string, err error, stderr, stdout string) error {
	var s *stopped
	switch {
	case errors.As(err, &s):
		return d.interrupted(command, s)
	case ctx.Err() != nil:
		s = &stopped{cause: context.Cause(ctx)}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			s.err = exit
			status, ok := exit.Sys().(syscall.WaitStatus)
			s.killed = ok && status.Signaled() && status.Signal() == syscall.SIGKILL
		}
		return d.interrupted(command, s)
	}
	if err := turnedDown(stderr, d.secrets); err != nil {
		return err
	}
	return d.ended(command, err, stderr, stdout)
}

// turnedDown is what Terraform says before it does anything: a *LockedError, a *StalePlanError or nil.
func turnedDown(stderr string, secrets []string) error {
	if locked := lockHeld(stderr, secrets); locked != nil {
		return locked
	}
	if hasTitle(stderr, "Error: Saved plan is stale") {
		return &StalePlanError{Text: explain(stderr, "", secrets)}
	}
	return nil
}

// ended is the error of a command that was not stopped and not turned down.
func (d *Dir) ended(command string, err error, stderr, stdout string) error {
	engine := d.opts.Binary.Engine
	text := explain(stderr, stdout, d.secrets)
	if d.opts.Given.Explain != nil {
		if more := d.opts.Given.Explain(stderr + stdout); more != "" {
			text += "\n\n" + more
		}
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return &MissingError{Engine: engine, Cause: err, Text: fmt.Sprintf("%s cannot be run: %v; was it removed?", d.opts.Binary.Path, err)}
		}
		return fmt.Errorf("%s %s: %w", engine, command, err)
	}
	if exit.ExitCode() < 0 {
		return fmt.Errorf("%s %s was ended from outside (%s); if it was not you, the machine may be short of memory: %s",
			engine, command, exit.ProcessState, text)
	}
	return fmt.Errorf("%s %s failed with status %d:\n%s", engine, command, exit.ExitCode(), text)
}

// interrupted accounts for a command other than apply. Those change nothing that outlives them, except that init may
// leave a half-made data directory, which the next init completes.
func (d *Dir) interrupted(command string, s *stopped) *Interrupted {
	e := &Interrupted{Command: command, Started: !s.before, Killed: s.killed, Cause: s.cause}
	what := d.opts.Binary.Engine + " " + command
	switch {
	case s.before:
		e.Text = fmt.Sprintf("%s was not started: %v", what, s.cause)
	case s.killed:
		e.Text = fmt.Sprintf("%s was interrupted, did not end within %s and was killed; %s", what, d.opts.Grace, harmless(command))
	default:
		e.Text = fmt.Sprintf("%s was interrupted and ended; %s", what, harmless(command))
	}
	return e
}

func harmless(command string) string {
	switch command {
	case "init":
		return "the next run starts it over"
	case "workspace new":
		return "the next run looks whether it exists"
	}
	return "it had changed nothing"
}

// gaveUp is for errors from before the start.
func (d *Dir) gaveUp(ctx context.Context, command string, err error) error {
	if ctx.Err() != nil {
		return d.interrupted(command, &stopped{cause: context.Cause(ctx), before: true})
	}
	return err
}
