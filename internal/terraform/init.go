package terraform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Init is what [Dir.Init] did.
type Init struct {
	// Ran is false when nothing that init depends on has changed, or when what an earlier init of this process did could
	// stand in for it.
	Ran bool
	// Why says what made it necessary; empty when it did not run.
	Why string
	// Warnings are for the user, such as a backend that is another than last time.
	Warnings []string
	// Elapsed is the time it took, waiting for other runs included.
	Elapsed time.Duration
}

// stampName is the file in the data directory that says what its last init was made from.
const stampName = "plumbline-init.json"

// stamp is the record of one finished init. Whatever is in it must still be so for init not to run.
type stamp struct {
	// Parts are digests by what they are of: the words are shown to users.
	Parts map[string]string `json:"parts"`
	// Dirs and Bytes are those of the configuration: as long as the bytes are the same, so is Parts["configuration"].
	Dirs  []string `json:"dirs"`
	Bytes string   `json:"bytes"`
	// Exist are paths that init made.
	Exist []string `json:"exist"`
	// Workspace is the Terraform workspace that was wanted, Selected the one that init chose. They differ when the
	// configuration itself names the only one, as a cloud block may.
	Workspace string `json:"workspace"`
	Selected  string `json:"selected"`
}

// Init makes the data directory ready: backend, modules, providers, and the Terraform workspace, which is created when
// it does not exist. It runs terraform only when something that init depends on has changed since the last time, or
// something that it made is gone; otherwise it starts no process and takes about a millisecond. Inits of one root
// module wait for each other, also across processes, because they write the same dependency lock file. The state is
// never moved from one backend to another.
func (d *Dir) Init(ctx context.Context) (Init, error) {
	began := time.Now()
	in, err := d.init(ctx, false)
	in.Elapsed = time.Since(began)
	return in, err
}

// init is [Dir.Init]; with force it runs whatever the stamp says, and checks cached providers byte by byte.
func (d *Dir) init(ctx context.Context, force bool) (Init, error) {
	if err := d.busy(); err != nil {
		return Init{}, err
	}
	why := d.stale()
	if why == "" && !force {
		return Init{}, nil
	}
	unlockRoot, err := lockDir(ctx, d.opts.Dir, true)
	if err != nil {
		return Init{}, d.gaveUp(ctx, "init", err)
	}
	defer unlockRoot()
	unlockData, err := lockDir(ctx, d.opts.DataDir, true)
	if err != nil {
		return Init{}, d.gaveUp(ctx, "init", err)
	}
	defer unlockData()
	// Another run may have done it meanwhile.
	if why = d.stale(); why == "" && !force {
		return Init{}, nil
	}
	if why == "" {
		why = "terraform asked for it"
	}
	in := Init{Ran: true, Why: why}
	// What cannot be read here Terraform must not be given either: it would wait for ever, or die of it.
	if _, err := d.parts(); err != nil {
		return in, err
	}
	if _, err := d.configuration(); err != nil {
		return in, err
	}
	key := ""
	if !force {
		key = d.twinKey()
	}
	d.log().Debug("init", "dir", d.opts.Dir, "why", why)

	// From here on until the new stamp is written, a crash leaves no stamp, and the next run starts over.
	if err := os.Remove(d.data(stampName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return in, fmt.Errorf("prepare data directory: %w", err)
	}
	before := d.backend()
	// The data directory is a cache: what the last backend was must not decide what this init does. With it gone,
	// init behaves as in a fresh clone, and never offers to migrate.
	if err := os.Remove(d.data("terraform.tfstate")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return in, fmt.Errorf("prepare data directory: %w", err)
	}
	if d.opts.Providers != nil {
		if err := d.opts.Providers.seed(d.opts.Dir, d.opts.DataDir, force); err != nil {
			return in, err
		}
	}
	if d.opts.Providers != nil {
		if in.Ran, err = d.initLikeTwin(key); err != nil {
			return in, err
		}
	}
	if in.Ran {
		if err := d.runInit(ctx); err != nil {
			return in, err
		}
	}
	if d.opts.Providers != nil {
		if err := d.opts.Providers.harvest(d.opts.Dir, d.opts.DataDir); err != nil {
			return in, err
		}
	}
	if after := d.backend(); before.Type != "" && before.Type != after.Type {
		in.Warnings = append(in.Warnings, fmt.Sprintf("the state is now kept in %s, it was in %s: plumbline does not move it; "+
			"if nobody has (terraform init -migrate-state), the plan will want to create everything anew", after, before))
	}
	s, err := d.newStamp()
	if err != nil {
		return in, err
	}
	if d.opts.Providers != nil && in.Ran {
		d.opts.Providers.twins.remember(d, key)
	}
	return in, d.writeStamp(s)
}

// initLikeTwin reports whether Terraform has to run init because no earlier init can stand in for it.
func (d *Dir) initLikeTwin(key string) (needed bool, err error) {
	adopted, err := d.opts.Providers.twins.adopt(d, key)
	if adopted {
		d.log().Debug("init spared: the same was done elsewhere in this run", "dir", d.opts.Dir)
	}
	return !adopted, err
}

// runInit runs init and selects the workspace.
func (d *Dir) runInit(ctx context.Context) error {
	if err := d.presetWorkspace(); err != nil {
		return err
	}
	if err := d.presetLocalBackend(); err != nil {
		return err
	}
	args := []string{"init", "-no-color", "-input=false"}
	for _, f := range d.opts.BackendConfig {
		args = append(args, "-backend-config="+f)
	}
	if d.opts.Binary.Engine == "tofu" {
		// OpenTofu evaluates variables early, for backends and module sources.
		for _, f := range d.opts.VarFiles {
			args = append(args, "-var-file="+f)
		}
	}
	out, err := d.run(ctx, "init", nil, args...)
	if err != nil && hasTitle(out, "Currently selected workspace", "No existing workspaces") {
		// It does not exist yet. From the default one it can be created.
		if err := os.Remove(d.data("environment")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("choose Terraform workspace: %w", err)
		}
		out, err = d.run(ctx, "init", nil, args...)
	}
	if err != nil {
		if hasTitle(out, "input is disabled", "interactive input") {
			err = fmt.Errorf("%w\n\nA local state (terraform.tfstate) lies beside the configuration, and Terraform asks whether it belongs into the backend: "+
				"move it there with terraform init -migrate-state, or out of the way", err)
		}
		return err
	}
	return d.selectWorkspace(ctx)
}

// stale says why init has to run, or "".
func (d *Dir) stale() string {
	data, err := os.ReadFile(d.data(stampName))
	if err != nil {
		return "not initialised yet"
	}
	var s stamp
	if json.Unmarshal(data, &s) != nil {
		return "the record of the last init is damaged"
	}
	if s.Workspace != d.opts.Workspace || s.Selected != d.selectedWorkspace() {
		return "another Terraform workspace was selected"
	}
	for _, path := range s.Exist {
		if _, err := os.Stat(path); err != nil {
			return path + " is gone"
		}
	}
	now, err := d.parts()
	if err != nil {
		return err.Error()
	}
	bytes, err := bytesOf(d.opts.Binary.Engine, s.Dirs)
	if err != nil {
		return err.Error()
	}
	now[configurationPart] = s.Parts[configurationPart]
	var c configuration
	if bytes != s.Bytes {
		if c, err = d.configuration(); err != nil {
			return err.Error()
		}
		now[configurationPart] = c.meaning
	}
	var changed []string
	for what, digest := range now {
		if s.Parts[what] != digest {
			changed = append(changed, what)
		}
	}
	for what := range s.Parts {
		if _, ok := now[what]; !ok {
			changed = append(changed, what)
		}
	}
	if len(changed) > 0 {
		slices.Sort(changed)
		return "changed: " + strings.Join(slices.Compact(changed), ", ")
	}
	if bytes != s.Bytes {
		// Edited, but not in what init reads. Should the record not be written, the next run reads the files again.
		s.Dirs, s.Bytes = c.dirs, c.bytes
		if err := d.writeStamp(s); err != nil {
			d.log().Debug("record of init not renewed", "error", err)
		}
	}
	return ""
}

// configurationPart is the one part of a stamp that is not always read anew.
const configurationPart = "terraform blocks, modules or providers"

// parts are the digests of what init depends on besides the configuration.
func (d *Dir) parts() (map[string]string, error) {
	parts := map[string]string{
		"binary":         d.opts.Binary.Engine + " " + d.opts.Binary.Version,
		"root directory": d.opts.Dir,
	}
	digest := func(what string, files ...string) error {
		h := sha256.New()
		any := false
		for _, f := range files {
			src, err := readSource(f)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read what init depends on: %w", err)
			}
			any = true
			fmt.Fprintf(h, "%s\x00%d\x00", f, len(src))
			h.Write(src)
		}
		if any {
			parts[what] = hex.EncodeToString(h.Sum(nil))
		}
		return nil
	}
	if err := digest("lock file", filepath.Join(d.opts.Dir, lockFileName)); err != nil {
		return nil, err
	}
	if err := digest("CLI configuration", d.cliConfigs()...); err != nil {
		return nil, err
	}
	if err := digest("backend configuration", d.relative(d.opts.BackendConfig)...); err != nil {
		return nil, err
	}
	if len(d.opts.BackendConfig) > 0 {
		parts["backend configuration files"] = strings.Join(d.opts.BackendConfig, "\n")
	}
	if d.opts.Binary.Engine == "tofu" {
		if err := digest("variables", d.relative(d.opts.VarFiles)...); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// relative resolves names as Terraform does.
func (d *Dir) relative(names []string) []string {
	var paths []string
	for _, n := range names {
		if !filepath.IsAbs(n) {
			n = filepath.Join(d.opts.Dir, n)
		}
		paths = append(paths, n)
	}
	return paths
}

// cliConfigs are the places where Terraform looks for its CLI configuration.
func (d *Dir) cliConfigs() []string {
	if file := d.env["TF_CLI_CONFIG_FILE"]; file != "" {
		return []string{file}
	}
	var files []string
	if home := d.env["HOME"]; home != "" {
		files = append(files, filepath.Join(home, ".terraformrc"))
		if d.opts.Binary.Engine == "tofu" {
			files = append(files, filepath.Join(home, ".tofurc"), filepath.Join(home, ".config", "opentofu", "tofurc"))
		}
	}
	if xdg := d.env["XDG_CONFIG_HOME"]; xdg != "" && d.opts.Binary.Engine == "tofu" {
		files = append(files, filepath.Join(xdg, "opentofu", "tofurc"))
	}
	return files
}

// newStamp describes the init that has just ended.
func (d *Dir) newStamp() (stamp, error) {
	parts, err := d.parts()
	if err != nil {
		return stamp{}, err
	}
	c, err := d.configuration()
	if err != nil {
		return stamp{}, err
	}
	parts[configurationPart] = c.meaning
	s := stamp{Parts: parts, Dirs: c.dirs, Bytes: c.bytes, Workspace: d.opts.Workspace, Selected: d.selectedWorkspace()}

	locks, err := readLockFile(d.opts.Dir)
	if err != nil {
		return stamp{}, err
	}
	candidates := d.moduleDirs()
	for _, l := range locks {
		candidates = append(candidates, d.data(l.packageDir()))
	}
	if b := d.backend(); b.Type != "" {
		candidates = append(candidates, d.data("terraform.tfstate"))
	}
	for _, path := range candidates {
		// A provider that a development override replaces is locked and not installed.
		if _, err := os.Stat(path); err == nil {
			s.Exist = append(s.Exist, path)
		}
	}
	return s, nil
}

// moduleDirs are the directories in init's module manifest.
func (d *Dir) moduleDirs() []string {
	manifest := d.data("modules", "modules.json")
	data, err := os.ReadFile(manifest)
	if err != nil {
		return nil
	}
	var m struct{ Modules []struct{ Dir string } }
	if json.Unmarshal(data, &m) != nil {
		return nil
	}
	dirs := []string{manifest}
	for _, mod := range m.Modules {
		dirs = append(dirs, d.relative([]string{mod.Dir})...)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func (d *Dir) writeStamp(s stamp) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("record init: %w", err)
	}
	if err := renameio.WriteFile(d.data(stampName), data, 0o600); err != nil {
		return fmt.Errorf("record init: %w", err)
	}
	return nil
}
