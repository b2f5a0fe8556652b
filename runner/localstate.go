package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// A workspace without a backend keeps its state beside its configuration, and
// a server's files there come and go with commits. So the server gives such a
// workspace a place of its own, by an override file in its root module, and
// keeps copies of the state from before each apply.

const (
	// overrideName is read after every other file of the root module.
	overrideName = "zz_plumbline_backend_override.tf.json"
	// statesKept is how many copies of a state are kept.
	statesKept = 20
)

// localState is where the state of a workspace without a backend is kept.
type localState struct {
	backend terraform.LocalBackend
	// file is the state, backups the directory of its copies.
	file, backups string
	note          string
}

// isLocal reports whether a workspace's state lies beside its configuration.
func isLocal(w *workspaces.Workspace) bool {
	return w.Backend == "" || w.Backend == "local" && !filepath.IsAbs(w.BackendPath)
}

// localState gives the state of a workspace its place; nil where the workspace
// has one of its own, or the options leave it beside the configuration.
func (r *Runner) localState(w *workspaces.Workspace) (*localState, error) {
	if r.opts.RefuseLocalState && isLocal(w) {
		return nil, fmt.Errorf("%s keeps its state in a local file, and this server shares its work with other machines, which would not see it: "+
			"declare a backend in %s that all of them reach (such as s3, gcs, azurerm, pg or http), or run a single server", w.Name, w.Dir)
	}
	if r.opts.LocalState == "" {
		return nil, nil
	}
	root := filepath.Join(r.opts.Root, filepath.FromSlash(w.Dir))
	override := filepath.Join(root, overrideName)
	if !isLocal(w) {
		if err := os.Remove(override); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove the override of an earlier backend: %w", err)
		}
		return nil, nil
	}
	if w.BackendPath == "?" {
		return nil, fmt.Errorf("where %s keeps its local state cannot be told from its files: write the path of its backend plainly, or use a backend that is not local", w.Name)
	}
	// Several states may belong to one directory: one for each path.
	key := w.Dir
	if w.BackendPath != "" {
		key += ":" + path.Clean(filepath.ToSlash(w.BackendPath))
	}
	home := filepath.Join(r.opts.LocalState, slug(key))
	l := &localState{
		backend: terraform.LocalBackend{Path: filepath.Join(home, "terraform.tfstate"), WorkspaceDir: filepath.Join(home, "workspaces")},
		file:    filepath.Join(home, "terraform.tfstate"),
		backups: filepath.Join(home, "backups", slug(w.Workspace)),
	}
	if w.Workspace != "default" {
		l.file = filepath.Join(l.backend.WorkspaceDir, w.Workspace, "terraform.tfstate")
	}
	if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil {
		return nil, fmt.Errorf("make a place for the state of %s: %w", w.Name, err)
	}
	if err := l.lookBeside(w, root); err != nil {
		return nil, err
	}
	text := l.backend.Override()
	if now, err := os.ReadFile(override); err == nil && bytes.Equal(now, text) {
		return l, nil
	}
	if err := renameio.WriteFile(override, text, 0o600); err != nil {
		return nil, fmt.Errorf("override the backend of %s: %w", w.Name, err)
	}
	return l, nil
}

// lookBeside looks for a state beside the configuration. Where it is the only
// one, to plan without it would be to create everything anew.
func (l *localState) lookBeside(w *workspaces.Workspace, root string) error {
	beside := filepath.FromSlash(w.BackendPath)
	switch {
	case w.Workspace != "default":
		beside = filepath.Join("terraform.tfstate.d", w.Workspace, "terraform.tfstate")
	case beside == "":
		beside = "terraform.tfstate"
	}
	name := path.Join(w.Dir, filepath.ToSlash(beside))
	switch info, err := os.Stat(filepath.Join(root, beside)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for a state beside the configuration: %w", err)
	case info.Size() == 0:
		return nil
	}
	if _, err := os.Stat(l.file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a state lies beside the configuration of %s (%s), and the server keeps that state in %s, where there is none yet: "+
			"copy it there if it is the right one, and take it out of Git in any case", w.Name, name, l.file)
	} else if err != nil {
		return err
	}
	l.note = fmt.Sprintf("A state lies beside the configuration (`%s`). It is not used: the server keeps the state of this workspace itself. Take it out of Git.", name)
	return nil
}

// backUp copies the state aside, and removes the oldest copies.
func (l *localState) backUp(now string) error {
	state, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.backups, 0o700); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(l.backups, now+".tfstate"), state, 0o600); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.backups) // in the order of their names, which is that of time
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".tfstate") || e.Name()[0] == '.' })
	for len(entries) > statesKept {
		if err := os.Remove(filepath.Join(l.backups, entries[0].Name())); err != nil {
			return err
		}
		entries = entries[1:]
	}
	return nil
}
