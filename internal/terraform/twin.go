package terraform

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

// twins are the inits of this process that others can be spared. In a large repository most root modules ask init for
// the same few providers and for nothing else; what init would do for the second one is what it has just done for the
// first: the same lock file, and the same providers in the data directory.
//
// Only what is certain is spared: the implicit local backend or the one that our own override names, the default workspace,
// no modules, the same binary, environment and CLI configuration, the same lock file to begin with, and providers that are
// links. Anything else, and anything that cannot be read, is left to Terraform.
type twins struct {
	mu  sync.Mutex
	did map[string]twin
}

// twin is what one init left behind.
type twin struct {
	lock []byte
	// links are the providers: path below the data directory, and target.
	links map[string]string
	// record is what init wrote about the backend of our override; nil when there was none.
	record map[string]any
}

// twinKey says what init would be asked for here, in words that do not name the place; "" when there is more to it than
// a twin could stand in for. It must be taken before init runs.
func (d *Dir) twinKey() string {
	if d.opts.Providers == nil || d.selectedWorkspace() != defaultWorkspace || d.opts.Workspace != defaultWorkspace || len(d.opts.BackendConfig) > 0 {
		return ""
	}
	if at := d.backend().Type; at != "" && (at != "local" || d.opts.LocalBackend == nil) {
		return ""
	}
	c, err := d.configuration()
	if err != nil || c.alone == "" {
		return ""
	}
	parts, err := d.parts()
	if err != nil {
		return ""
	}
	lock, err := readSource(filepath.Join(d.opts.Dir, lockFileName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n%q\n%v %x\n%v\n", c.alone, parts["binary"], parts["CLI configuration"], err == nil, sha256.Sum256(lock), d.opts.LocalBackend != nil)
	var env []string
	for name, value := range d.env {
		if name != "TF_DATA_DIR" && name != "TF_PLUGIN_CACHE_DIR" {
			env = append(env, name+"="+value)
		}
	}
	slices.Sort(env)
	fmt.Fprintf(h, "%q", env)
	return hex.EncodeToString(h.Sum(nil))
}

// adopt does what init would do, after the example of a twin, and reports whether it could. On false nothing was done
// that init minds.
func (t *twins) adopt(d *Dir, key string) (bool, error) {
	t.mu.Lock()
	from, ok := t.did[key]
	t.mu.Unlock()
	if key == "" || !ok {
		return false, nil
	}
	for _, target := range from.links {
		if !exists(target) {
			return false, nil
		}
	}
	for path, target := range from.links {
		path = d.data(path)
		if at, _ := os.Readlink(path); at == target {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return false, fmt.Errorf("link provider: %w", err)
		}
		if err := os.Symlink(target, path); err != nil {
			// Something else is there: Terraform will sort it out.
			d.log().Debug("no link to a twin's provider", "path", path, "error", err)
			return false, nil
		}
	}
	if from.record != nil {
		if err := d.recordBackend(from.record); err != nil {
			return false, err
		}
	}
	name := filepath.Join(d.opts.Dir, lockFileName)
	if now, err := readSource(name); (err != nil || !bytes.Equal(now, from.lock)) && from.lock != nil {
		if err := renameio.WriteFile(name, from.lock, 0o644); err != nil {
			return false, fmt.Errorf("write dependency lock file: %w", err)
		}
	}
	return true, nil
}

// remember keeps what an init has just done under the key that was taken before it.
func (t *twins) remember(d *Dir, key string) {
	if key == "" {
		return
	}
	locks, err := readLockFile(d.opts.Dir)
	if err != nil {
		return
	}
	lock, err := readSource(filepath.Join(d.opts.Dir, lockFileName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	links := map[string]string{}
	for _, l := range locks {
		target, err := os.Readlink(d.data(l.packageDir()))
		if err != nil || !filepath.IsAbs(target) {
			return // Overridden, or unpacked and not harvested: not for others.
		}
		links[l.packageDir()] = target
	}
	var record map[string]any
	if d.opts.LocalBackend != nil {
		if record = d.backendRecord(); record == nil {
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.did == nil {
		t.did = map[string]twin{}
	}
	t.did[key] = twin{lock: lock, links: links, record: record}
}

// aloneFacts makes a digest of what one directory says to init, without saying where it is; "" when more than this
// directory has a say, or when the text of a file had to stand for what it means.
func aloneFacts(dir string, facts []string) string {
	h := sha256.New()
	for _, f := range facts {
		parts := strings.Split(f, "\x00")
		if len(parts) < 2 || parts[1] != dir || parts[0] == "module" {
			return ""
		}
		parts[1] = "."
		fmt.Fprintf(h, "%q\n", parts)
	}
	return hex.EncodeToString(h.Sum(nil))
}
