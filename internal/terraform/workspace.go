package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// defaultWorkspace is the Terraform workspace that always exists.
const defaultWorkspace = "default"

// backend is what init recorded about where the state is kept.
type backend struct {
	// Type is empty for the local file that is used when the configuration names no backend.
	Type   string          `json:"type"`
	Config json.RawMessage `json:"config"`
}

// String names it for people.
func (b backend) String() string {
	if b.Type == "" {
		return "a local file"
	}
	return "the backend " + b.Type
}

// backend reads init's record. Terraform writes none when the configuration names no backend.
func (d *Dir) backend() backend {
	data, err := os.ReadFile(d.data("terraform.tfstate"))
	if err != nil {
		return backend{}
	}
	var record struct{ Backend backend }
	if json.Unmarshal(data, &record) != nil {
		return backend{Type: "unknown"}
	}
	return record.Backend
}

// stateFile returns the local file that holds the state, when it is certain that one does.
func (d *Dir) stateFile() (string, bool) {
	b := d.backend()
	var config struct {
		Path         string `json:"path"`
		WorkspaceDir string `json:"workspace_dir"`
	}
	switch b.Type {
	case "":
	case "local":
		if json.Unmarshal(b.Config, &config) != nil {
			return "", false
		}
	default:
		return "", false
	}
	if config.Path == "" {
		config.Path = "terraform.tfstate"
	}
	if config.WorkspaceDir == "" {
		config.WorkspaceDir = "terraform.tfstate.d"
	}
	if d.opts.Workspace == defaultWorkspace {
		return d.relative([]string{config.Path})[0], true
	}
	return filepath.Join(d.relative([]string{config.WorkspaceDir})[0], d.opts.Workspace, "terraform.tfstate"), true
}

// selectedWorkspace reads what "workspace select" writes.
func (d *Dir) selectedWorkspace() string {
	data, err := os.ReadFile(d.data("environment"))
	if name := strings.TrimSpace(string(data)); err == nil && name != "" {
		return name
	}
	return defaultWorkspace
}

// presetWorkspace selects the workspace before init, by writing the file that "workspace select" writes: init then
// verifies with the backend that it exists, which saves a process.
func (d *Dir) presetWorkspace() error {
	if d.opts.Workspace == defaultWorkspace {
		if err := os.Remove(d.data("environment")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("choose Terraform workspace: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(d.data("environment"), []byte(d.opts.Workspace), 0o600); err != nil {
		return fmt.Errorf("choose Terraform workspace: %w", err)
	}
	return nil
}

// presetLocalBackend records a local backend as if it had been initialised already. Otherwise Terraform finds the states
// of other workspaces, which lie where its default is, and stops to ask whether they should be copied onto themselves.
// Init compares what is recorded with the configuration, and brings it up to date.
func (d *Dir) presetLocalBackend() error {
	if len(d.opts.BackendConfig) > 0 {
		return nil
	}
	var local any = d.opts.LocalBackend
	if d.opts.LocalBackend == nil {
		c, err := d.configuration()
		if err != nil {
			return err
		}
		if c.local == nil {
			return nil
		}
		local = c.local
	}
	config, err := json.Marshal(local)
	if err != nil {
		return fmt.Errorf("prepare local backend: %w", err)
	}
	record := fmt.Sprintf(`{"version":3,"serial":1,"lineage":"","backend":{"type":"local","config":%s,"hash":0}}`, config)
	if err := os.WriteFile(d.data("terraform.tfstate"), []byte(record), 0o600); err != nil {
		return fmt.Errorf("prepare local backend: %w", err)
	}
	return nil
}

// selectWorkspace makes sure, after init, that the workspace exists and is selected.
func (d *Dir) selectWorkspace(ctx context.Context) error {
	if d.opts.Workspace == defaultWorkspace {
		return nil
	}
	if file, ok := d.stateFile(); ok {
		// With local states init need not have verified anything, and a workspace is a directory.
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("create Terraform workspace %q: %w", d.opts.Workspace, err)
		}
		return d.presetWorkspace()
	}
	if d.selectedWorkspace() == d.opts.Workspace {
		return nil
	}
	// Init found that it does not exist, and selected another one.
	x, err := d.exec(nil)
	if err != nil {
		return err
	}
	err = x.call(ctx, func(ctx context.Context) error { return x.WorkspaceNew(ctx, d.opts.Workspace) })
	if err != nil && strings.Contains(x.stderr.String(), "already exists") {
		// Somebody was quicker.
		if x, err = d.exec(nil); err != nil {
			return err
		}
		err = x.call(ctx, func(ctx context.Context) error { return x.WorkspaceSelect(ctx, d.opts.Workspace) })
	}
	if err != nil {
		return d.failed(ctx, "workspace new", err, x.stderr.String(), "")
	}
	if got := d.selectedWorkspace(); got != d.opts.Workspace {
		return fmt.Errorf("select Terraform workspace %q: %s selected %q instead", d.opts.Workspace, d.opts.Binary.Engine, got)
	}
	return nil
}
