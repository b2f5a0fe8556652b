package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// site is a workspace that Terraform can run in: initialised, its binary
// found, its inputs digested.
type site struct {
	opened
	workspace *workspaces.Workspace
	digests
	// scratch is a private directory for plan files, removed by close.
	scratch *scratch
	// notes are what a person should know of it, whatever is done next.
	notes []string
}

// prepare makes a workspace ready to be planned or applied. The caller must
// close the site.
func (r *Runner) prepare(ctx context.Context, w *workspaces.Workspace) (*site, error) {
	r.observe(w, PhaseInit)
	if err := r.mistake(w); err != nil {
		return nil, err
	}
	o, err := r.open(ctx, w)
	if err != nil {
		return nil, err
	}
	home, dir := o.home, o.dir
	init, err := dir.Init(ctx)
	if err != nil {
		return nil, err
	}
	notes := init.Warnings
	if o.local != nil && o.local.note != "" {
		notes = append(notes, o.local.note)
	}
	// Init fails while an apply still runs whose Plumbline died; one that has
	// ended since is told once.
	left, err := dir.Abandoned()
	if err != nil {
		return nil, err
	}
	if left != nil && r.opts.Settle {
		if _, err := r.settleLeft(ctx, w, home, dir, left); err != nil {
			return nil, fmt.Errorf("settle an earlier apply first: %w", err)
		}
	}
	if err := dir.ForgetAbandoned(left); err != nil {
		return nil, err
	}
	if left != nil {
		notes = append(notes, abandonedNote(left))
	}
	// The digest comes after init, which may have written the lock file.
	read, err := r.digest(ctx, w, o.binary)
	if err != nil {
		return nil, err
	}
	place, err := newScratch(home)
	if err != nil {
		return nil, fmt.Errorf("make a private directory for the plan of %s: %w", w.Name, err)
	}
	if note := r.noteErrored(ctx, w, home); note != "" {
		notes = append(notes, note)
	}
	return &site{opened: o, workspace: w, digests: read, scratch: place, notes: notes}, nil
}

// renew gets other credentials where those for planning end soon: an apply may
// have taken its time.
func (s *site) renew(ctx context.Context) error {
	if !s.grant.Ending() {
		return nil
	}
	grant, err := s.keys.Plan(ctx)
	if err != nil {
		return err
	}
	dir, err := s.dir.With(grant.Given())
	if err == nil {
		s.grant, s.dir = grant, dir
	}
	return err
}

// opened is a workspace of which it is known what it is run with, and where.
type opened struct {
	// home is where what is remembered of the workspace between runs is.
	home   string
	binary terraform.Binary
	dir    *terraform.Dir
	// local is nil where the state is not ours to keep.
	local *localState
	// keys is what Terraform may be given, and grant what it was given to plan
	// with, and for all else that writes nothing.
	keys  *access.Keyring
	grant *access.Grant
}

// open finds what a workspace is run with, and where. It changes nothing but
// that the directories of the workspace are made, and its backend overridden.
func (r *Runner) open(ctx context.Context, w *workspaces.Workspace) (o opened, err error) {
	o.binary, err = r.opts.Installer.Find(ctx, terraform.Requirement{
		Engine:           w.Engine,
		Constraint:       w.Terraform,
		RequiredVersions: w.RequiredVersions,
		VersionFile:      w.VersionFile,
	})
	if err != nil {
		return opened{}, err
	}
	o.home = filepath.Join(r.opts.WorkDir, slug(w.Name))
	if err := os.MkdirAll(o.home, 0o700); err != nil {
		return opened{}, fmt.Errorf("make the work directory of %s: %w", w.Name, err)
	}
	if o.local, err = r.localState(w); err != nil {
		return opened{}, err
	}
	o.keys = r.keyring(w)
	if o.grant, err = o.keys.Plan(ctx); err != nil {
		return opened{}, err
	}
	options := terraform.Options{
		Dir:           filepath.Join(r.opts.Root, filepath.FromSlash(w.Dir)),
		DataDir:       filepath.Join(o.home, "data"),
		Binary:        o.binary,
		Workspace:     w.Workspace,
		VarFiles:      w.VarFiles,
		BackendConfig: w.BackendConfig,
		Env:           w.Env,
		Environ:       o.keys.Pass(r.opts.Environ, r.opts.Set.Workspaces),
		Given:         o.grant.Given(),
		Providers:     r.opts.Providers,
		Hurry:         r.opts.Hurry,
		Log:           r.opts.Log.With("workspace", w.Name),
	}
	if r.opts.Output != nil {
		options.Output = r.opts.Output
	}
	if o.local != nil {
		// What the settings of a local backend say is in its place already.
		options.LocalBackend, options.BackendConfig = &o.local.backend, nil
	}
	o.dir, err = terraform.Open(options)
	return o, err
}

// Applying reports whether, in a work directory, an apply of a workspace goes on
// whose Plumbline died.
func Applying(workDir, workspace string) (bool, error) {
	return terraform.Applying(filepath.Join(workDir, slug(workspace), "data"))
}

// mistake is what discovery found wrong with a workspace, or with a module that
// it calls: what cannot be read, or leads out of the repository, is not run.
func (r *Runner) mistake(w *workspaces.Workspace) error {
	for _, p := range r.opts.Set.Problems {
		if !p.IsError() || p.File == workspaces.ConfigFile {
			continue
		}
		dir := path.Dir(p.File)
		if p.Workspace == w.Name || p.File != "" && (dir == w.Dir || slices.Contains(w.Modules, dir)) {
			return p
		}
	}
	return nil
}

// close removes the plan files: they hold secrets in clear.
func (s *site) close() { s.scratch.remove() }

// file is a path for a plan file that nobody else can read.
func (s *site) file(name string) string { return filepath.Join(s.scratch.dir, name) }

// digests tell what a plan of a workspace is made from on this side.
type digests struct {
	// inputs covers all of it: files, engine, version, variables, and the
	// environment. Two plans with the same one were made from the same.
	inputs string
	// configuration is the part of it in which a new version does not show.
	configuration string
	// environment covers what chooses, by its value, what is managed.
	environment string
}

func (r *Runner) digest(ctx context.Context, w *workspaces.Workspace, binary terraform.Binary) (digests, error) {
	files, err := r.opts.Set.Digest(ctx, r.opts.Files, w)
	if err != nil {
		return digests{}, fmt.Errorf("digest the inputs of %s: %w", w.Name, err)
	}
	keys := r.keyring(w)
	variables, declared, err := keys.Inputs(ctx)
	if err != nil {
		return digests{}, err
	}
	environ := append(terraform.Environ(keys.Pass(r.opts.Environ, r.opts.Set.Workspaces), w.Env), variables...)
	slices.Sort(environ)
	names := terraform.EnvNames(environ)
	secrets := terraform.Secrets(environ)
	var settings, values strings.Builder
	fmt.Fprintf(&settings, "workspace %q\nvar_files %q\nbackend_config %q\n", w.Workspace, w.VarFiles, w.BackendConfig)
	fmt.Fprintf(&settings, "environment %q\n", names)
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "TF_VAR_"):
			fmt.Fprintf(&settings, "variable %q\n", kv)
		case slices.Contains(names, name) && !slices.Contains(secrets, strings.TrimSpace(value)):
			fmt.Fprintf(&values, "%q\n", kv)
		}
	}
	for _, line := range declared {
		fmt.Fprintf(&values, "%q\n", line)
	}
	sum := func(parts ...string) string {
		digest := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
		return hex.EncodeToString(digest[:])
	}
	d := digests{
		configuration: sum("configuration", files.Configuration, settings.String()),
		environment:   sum("environment", values.String()),
	}
	d.inputs = sum("inputs", files.Inputs, binary.Engine, binary.Version, settings.String(), d.environment)
	return d, nil
}

func when(t time.Time) string { return t.UTC().Format(time.DateTime + " MST") }

// abandonedNote tells of an apply that went on after its Plumbline had died.
func abandonedNote(a *terraform.Abandoned) string {
	began := when(a.Began)
	note := fmt.Sprintf("An apply that began at %s went on by itself after Plumbline had died; it has ended. ", began)
	if a.Ended {
		note = fmt.Sprintf("An apply that began at %s has ended, and what came of it could not be recorded then. ", began)
	}
	switch {
	case a.Completed:
		note += "It completed."
	case a.Errors != "":
		note += "It failed."
	default:
		note += "How it ended is not known."
	}
	if len(a.Done) > 0 {
		note += " Done: " + list(a.Done) + "."
	}
	if len(a.Begun) > 0 {
		note += " Begun and not reported as done: " + list(a.Begun) + "."
	}
	return note + " What is in the state now is what counts: plan again."
}

// slug makes a file name of a workspace's name: readable, and different for
// different names even where a file system folds case.
func slug(name string) string {
	sum := sha256.Sum256([]byte(name))
	readable := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			return c
		}
		return '-'
	}, name)
	readable = strings.TrimLeft(readable, ".")
	if len(readable) > 80 {
		readable = readable[len(readable)-80:]
	}
	return readable + "-" + hex.EncodeToString(sum[:6])
}

// openForStore opens a plan file for the plan store to read.
func openForStore(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the plan file that Terraform wrote: %w", err)
	}
	return f, nil
}

// shellQuote quotes a name for the command line that a message proposes.
func shellQuote(name string) string {
	plain := strings.IndexFunc(name, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./@:+,", c))
	}) < 0
	if plain && name != "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
