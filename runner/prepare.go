package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// site is a workspace that Terraform can run in: initialised, its binary
// found, its inputs digested.
type site struct {
	workspace *workspaces.Workspace
	binary    terraform.Binary
	dir       *terraform.Dir
	// inputs is the digest of all that a plan of this workspace reads from
	// this side: files, engine, version, variables, names of the environment.
	// configuration is the same without what only pins versions.
	inputs, configuration string
	// scratch is a private directory for plan files, removed by close.
	scratch string
	// notes are what a person should know of it, whatever is done next.
	notes []string
}

// prepare makes a workspace ready to be planned or applied. The caller must
// close the site.
func (r *Runner) prepare(ctx context.Context, w *workspaces.Workspace) (*site, error) {
	r.observe(w, PhaseInit)
	binary, err := r.opts.Installer.Find(ctx, terraform.Requirement{
		Engine:           w.Engine,
		Constraint:       w.Terraform,
		RequiredVersions: w.RequiredVersions,
		VersionFile:      w.VersionFile,
	})
	if err != nil {
		return nil, err
	}
	home := filepath.Join(r.opts.WorkDir, slug(w.Name))
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("make the work directory of %s: %w", w.Name, err)
	}
	dir, err := terraform.Open(terraform.Options{
		Dir:           filepath.Join(r.opts.Root, filepath.FromSlash(w.Dir)),
		DataDir:       filepath.Join(home, "data"),
		Binary:        binary,
		Workspace:     w.Workspace,
		VarFiles:      w.VarFiles,
		BackendConfig: w.BackendConfig,
		Env:           w.Env,
		Environ:       r.opts.Environ,
		Providers:     r.opts.Providers,
		Hurry:         r.opts.Hurry,
		Log:           r.opts.Log.With("workspace", w.Name),
	})
	if err != nil {
		return nil, err
	}
	init, err := dir.Init(ctx)
	if err != nil {
		return nil, err
	}
	notes := init.Warnings
	// Init fails while an apply still runs whose Plumbline died; one that has
	// ended since is told once.
	left, err := dir.Abandoned()
	if err == nil {
		err = dir.ForgetAbandoned(left)
	}
	if err != nil {
		return nil, err
	}
	if left != nil {
		notes = append(notes, abandonedNote(left))
	}
	// The digest comes after init, which may have written the lock file.
	inputs, configuration, err := r.digest(ctx, w, binary)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(home, "plan-")
	if err != nil {
		return nil, fmt.Errorf("make a private directory for the plan of %s: %w", w.Name, err)
	}
	return &site{workspace: w, binary: binary, dir: dir, inputs: inputs, configuration: configuration, scratch: scratch, notes: notes}, nil
}

// close removes the plan files: they hold secrets in clear.
func (s *site) close() { os.RemoveAll(s.scratch) }

// file is a path for a plan file that nobody else can read.
func (s *site) file(name string) string { return filepath.Join(s.scratch, name) }

// digest is the inputs digest of a workspace: two plans with the same digest
// were made from the same files by the same Terraform with the same variables.
// configuration is the part of it in which a new version does not show.
func (r *Runner) digest(ctx context.Context, w *workspaces.Workspace, binary terraform.Binary) (inputs, configuration string, err error) {
	files, err := r.opts.Set.Digest(ctx, r.opts.Files, w)
	if err != nil {
		return "", "", fmt.Errorf("digest the inputs of %s: %w", w.Name, err)
	}
	environ := terraform.Environ(r.opts.Environ, w.Env)
	slices.Sort(environ)
	var settings strings.Builder
	fmt.Fprintf(&settings, "workspace %q\nvar_files %q\nbackend_config %q\n", w.Workspace, w.VarFiles, w.BackendConfig)
	fmt.Fprintf(&settings, "environment %q\n", terraform.EnvNames(environ))
	for _, kv := range environ {
		if strings.HasPrefix(kv, "TF_VAR_") {
			fmt.Fprintf(&settings, "variable %q\n", kv)
		}
	}
	sum := func(text string) string {
		digest := sha256.Sum256([]byte(text + settings.String()))
		return hex.EncodeToString(digest[:])
	}
	inputs = sum(fmt.Sprintf("files %s\nengine %s %s\n", files.Inputs, binary.Engine, binary.Version))
	return inputs, sum(fmt.Sprintf("configuration %s\n", files.Configuration)), nil
}

// abandonedNote tells of an apply that went on after its Plumbline had died.
func abandonedNote(a *terraform.Abandoned) string {
	note := fmt.Sprintf("An apply that began at %s went on by itself after Plumbline had died; it has ended. ", a.Began.UTC().Format(time.DateTime+" MST"))
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
