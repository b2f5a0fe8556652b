package terraform

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// configuration is what init depends on in the files of a root module and its local modules. Two digests are kept: one
// of the bytes, which is cheap to compare (about 0.1 ms), and, should the bytes differ, one of what they mean to init,
// so that an edited resource does not cost an init.
type configuration struct {
	// dirs are the root module and its local modules, absolute.
	dirs []string
	// bytes is a digest of every configuration file in dirs.
	bytes string
	// meaning is a digest of terraform blocks, of the sources and versions of modules, and of the providers that
	// blocks imply. A comment within a terraform block counts; anything that init does not read does not.
	meaning string
	// alone is a digest like meaning that does not depend on where the root module is, nor on what our own override says of
	// its backend; "" when it calls modules, has a backend, or is not plain. See [twins].
	alone string
	// remote is true when a terraform block of the root module has a backend or cloud block.
	remote bool
	// local is the root module's local backend, nil when it has none or one that cannot be read without Terraform.
	local *localBackend
}

// localBackend are the settings of a local backend, nil for what is not set.
type localBackend struct {
	Path         *string `json:"path"`
	WorkspaceDir *string `json:"workspace_dir"`
}

// isConfig reports whether the engine reads the file as configuration.
func isConfig(engine, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#") {
		return false
	}
	if strings.HasSuffix(name, ".tf") || strings.HasSuffix(name, ".tf.json") {
		return true
	}
	return engine == "tofu" && (strings.HasSuffix(name, ".tofu") || strings.HasSuffix(name, ".tofu.json"))
}

// configFiles reads the configuration files of one directory, in the order of their names.
func configFiles(engine, dir string, each func(path string, src []byte)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read module: %w", err)
	}
	for _, e := range entries {
		if !isConfig(engine, e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		src, err := readSource(path)
		var missing *fs.PathError
		if errors.As(err, &missing) {
			// A dangling link or a directory of such a name: Terraform will say what is wrong.
			src = []byte(err.Error())
		} else if err != nil {
			// Terraform would wait for ever, or die of it.
			return fmt.Errorf("read module: %w", err)
		}
		each(path, src)
	}
	return nil
}

// bytesOf is the digest of every configuration file in dirs. A directory that is gone counts as empty.
func bytesOf(engine string, dirs []string) (string, error) {
	h := sha256.New()
	for _, dir := range dirs {
		err := configFiles(engine, dir, func(path string, src []byte) {
			fmt.Fprintf(h, "%s\x00%d\x00", path, len(src))
			h.Write(src)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// configuration reads the root module and, through it, its local modules.
func (d *Dir) configuration() (configuration, error) {
	return readConfiguration(d.opts.Binary.Engine, d.opts.Dir, d.opts.LocalBackend.Override())
}

// readConfiguration is [Dir.configuration]. ours is what our own override file in the root module reads, nil if there is none.
func readConfiguration(engine, root string, ours []byte) (configuration, error) {
	c := configuration{dirs: []string{root}}
	var facts, others []string // others are those that our override has no part in
	overridden := false
	for i := 0; i < len(c.dirs); i++ {
		dir := c.dirs[i]
		err := configFiles(engine, dir, func(path string, src []byte) {
			read := c.read(engine, dir, path, src)
			facts = append(facts, read...)
			if ours != nil && i == 0 && bytes.Equal(src, ours) {
				return
			}
			others = append(others, read...)
			name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".json"), filepath.Ext(strings.TrimSuffix(path, ".json")))
			overridden = overridden || i == 0 && (name == "override" || strings.HasSuffix(name, "_override"))
		})
		// A local module that is missing is for Terraform to report, with the line that calls it.
		if err != nil && (i == 0 || !errors.Is(err, fs.ErrNotExist)) {
			return configuration{}, err
		}
	}
	if overridden {
		c.local = nil // What override files make of it is for Terraform to say.
	}
	slices.Sort(facts)
	facts = slices.Compact(facts)
	h := sha256.New()
	for _, f := range facts {
		fmt.Fprintf(h, "%d\x00%s", len(f), f)
	}
	c.meaning = hex.EncodeToString(h.Sum(nil))
	if len(c.dirs) == 1 && !overridden && !c.remote {
		slices.Sort(others)
		c.alone = aloneFacts(root, slices.Compact(others))
	}
	var err error
	c.bytes, err = bytesOf(engine, c.dirs)
	return c, err
}

// read returns what one file says to init, and adds the local modules that it calls to c.dirs.
func (c *configuration) read(engine, dir, path string, src []byte) (facts []string) {
	say := func(parts ...string) { facts = append(facts, strings.Join(parts, "\x00")) }
	file, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if strings.HasSuffix(path, ".json") || diags.HasErrors() {
		// JSON is rare, and broken files are rarely the same for long: all of their bytes count.
		say(path, string(src))
		if diags.HasErrors() {
			return facts
		}
	}
	if strings.HasSuffix(path, ".json") {
		return facts
	}
	text := func(r hcl.Range) string { return string(r.SliceBytes(src)) }
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		switch b.Type {
		case "terraform":
			// The directory counts: only the root module's backend does, and moving a block between modules matters.
			say("terraform", dir, text(b.Range()))
			for _, inner := range b.Body.Blocks {
				c.remote = c.remote || inner.Type == "backend" || inner.Type == "cloud"
			}
			if dir == c.dirs[0] {
				c.local = cmp.Or(c.local, readLocalBackend(b.Body))
			}
		case "module":
			say("module", dir, strings.Join(b.Labels, "."))
			for _, name := range []string{"source", "version"} {
				if a, ok := b.Body.Attributes[name]; ok {
					say("module", dir, strings.Join(b.Labels, "."), name, text(a.Expr.Range()))
				}
			}
			if a, ok := b.Body.Attributes["source"]; ok {
				if s := literal(a.Expr); strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") {
					if local := filepath.Join(dir, filepath.FromSlash(s)); !slices.Contains(c.dirs, local) {
						c.dirs = append(c.dirs, local)
					}
				}
			}
		case "resource", "data", "ephemeral", "provider":
			if len(b.Labels) > 0 {
				// "aws_instance" implies the provider aws.
				if name, _, _ := strings.Cut(b.Labels[0], "_"); name != "terraform" { // That one is built in.
					say("provider", dir, name)
				}
			}
			if a, ok := b.Body.Attributes["provider"]; ok && b.Type != "provider" {
				say("provider", dir, text(a.Expr.Range()))
			}
		case "import":
			if a, ok := b.Body.Attributes["provider"]; ok {
				say("provider", dir, text(a.Expr.Range()))
			}
		case "variable", "locals":
			// OpenTofu lets a backend and a module source refer to these.
			if engine == "tofu" {
				say(b.Type, dir, text(b.Range()))
			}
		}
	}
	return facts
}

// readLocalBackend returns the local backend in a terraform block.
func readLocalBackend(body *hclsyntax.Body) *localBackend {
	for _, b := range body.Blocks {
		if b.Type != "backend" || len(b.Labels) != 1 || b.Labels[0] != "local" {
			continue
		}
		l := &localBackend{}
		for name, a := range b.Body.Attributes {
			value := literal(a.Expr)
			switch {
			case value == "":
				return nil
			case name == "path":
				l.Path = &value
			case name == "workspace_dir":
				l.WorkspaceDir = &value
			default:
				return nil
			}
		}
		return l
	}
	return nil
}
