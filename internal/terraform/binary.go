package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-version"
)

// Requirement is what a workspace asks of its binary. The first of Constraint, RequiredVersions and VersionFile that is
// set decides; with none of them, the binary on PATH is taken.
type Requirement struct {
	// Engine is "terraform" (also when empty) or "tofu".
	Engine string
	// Constraint is the one in plumbline.yaml, such as "~> 1.11".
	Constraint string
	// RequiredVersions are the required_version constraints of the root module; all must hold.
	RequiredVersions []string
	// VersionFile is the content of .terraform-version, or of .opentofu-version: a version, "latest", or "latest:"
	// and a regular expression.
	VersionFile string
}

// Binary is a Terraform or OpenTofu that was found.
type Binary struct {
	// Engine is "terraform" or "tofu".
	Engine string
	// Path is absolute.
	Path string
	// Version has no leading v.
	Version string
	// From says where it was: "PATH", "cache", or "installed" when this process has just fetched it.
	From string
}

// InstallerOptions configure an [Installer].
type InstallerOptions struct {
	// CacheDir holds installed binaries and remembered versions; several processes may share it. Required.
	CacheDir string
	// SearchPath is the value of PATH.
	SearchPath string
	// ReleasesURL replaces HashiCorp's release site by a mirror of the same layout; empty means the official one.
	ReleasesURL string
	// PublicKey is the armored key that signs the releases of ReleasesURL; empty means HashiCorp's.
	PublicKey string
	// Log may be nil.
	Log *slog.Logger
}

// Installer finds binaries, and installs what is missing. It may be used from several goroutines.
type Installer struct {
	opts InstallerOptions
	// turn is held while found is looked at or filled: a channel, because whoever waits for a download must be able to
	// give up.
	turn   chan struct{}
	found  map[string]Binary
	failed map[string]failure
}

// failure is remembered for a little while: without a network each takes a quarter of a minute of trying again, and
// hundreds of workspaces may ask for the same version.
type failure struct {
	err   error
	until time.Time
}

const failureLife = time.Minute

// NewInstaller returns an Installer. It touches nothing yet.
func NewInstaller(o InstallerOptions) *Installer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Installer{opts: o, turn: make(chan struct{}, 1), found: map[string]Binary{}, failed: map[string]failure{}}
}

// Find returns the newest binary in the cache or on PATH that satisfies r; equally new ones are taken from PATH. A
// requirement that nothing on the machine satisfies is installed, except for OpenTofu, whose releases the installer
// cannot fetch. With no requirement it is the first one on PATH, as in a shell. Answers are remembered for the life of
// the Installer, failures for a minute. When there is nothing suitable the error is a [*MissingError].
func (i *Installer) Find(ctx context.Context, r Requirement) (Binary, error) {
	if r.Engine == "" {
		r.Engine = "terraform"
	}
	w, err := wanted(r)
	if err != nil {
		return Binary{}, err
	}
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return Binary{}, fmt.Errorf("wait for another search for %s: %w", r.Engine, ctx.Err())
	}
	key := r.Engine + "\x00" + w.text
	if b, ok := i.found[key]; ok {
		return b, nil
	}
	if f, ok := i.failed[key]; ok && time.Now().Before(f.until) {
		return Binary{}, f.err
	}
	b, err := i.find(ctx, r.Engine, w)
	if err != nil {
		if ctx.Err() == nil {
			i.failed[key] = failure{err: err, until: time.Now().Add(failureLife)}
		}
		return Binary{}, err
	}
	i.found[key] = b
	return b, nil
}

// find is [Installer.Find] without its memory.
func (i *Installer) find(ctx context.Context, engine string, w want) (Binary, error) {
	onPath, unusable, err := i.onPath(ctx, engine)
	if err != nil {
		return Binary{}, err
	}
	seen := unusable
	if w.accept == nil && len(onPath) > 0 {
		return onPath[0], nil
	}
	if w.accept == nil && len(unusable) > 0 {
		return Binary{}, &MissingError{Engine: engine, Text: fmt.Sprintf("%s on PATH cannot be used: %s; repair it, or name a version in plumbline.yaml",
			engine, strings.Join(unusable, "; "))}
	}

	var best Binary
	var bestVersion *version.Version
	for _, b := range slices.Concat(onPath, i.installed(engine)) {
		v, err := version.NewVersion(b.Version)
		if err != nil {
			continue
		}
		if !w.accepts(v) {
			seen = append(seen, fmt.Sprintf("%s is %s", b.Path, b.Version))
			continue
		}
		if bestVersion == nil || v.GreaterThan(bestVersion) {
			best, bestVersion = b, v
		}
	}
	if bestVersion != nil {
		return best, nil
	}

	if engine != "terraform" {
		text := fmt.Sprintf("%s is wanted (%s), but none is on PATH", engine, w.text)
		if len(seen) > 0 {
			text = fmt.Sprintf("%s is wanted (%s), but what is on PATH does not do: %s", engine, w.text, strings.Join(seen, "; "))
		}
		return Binary{}, &MissingError{Engine: engine, Text: text + "; install it and put it on PATH (plumbline can fetch Terraform, but not OpenTofu)"}
	}
	b, err := i.install(ctx, w)
	if err != nil && ctx.Err() == nil {
		found := "nothing was found on PATH or in " + i.opts.CacheDir
		if len(seen) > 0 {
			found = "what was found does not do: " + strings.Join(seen, "; ")
		}
		return Binary{}, &MissingError{Engine: engine, Cause: err, Text: fmt.Sprintf(
			"Terraform is wanted (%s); %s; installing it failed: %v; install it and put it on PATH, or change the constraint", w.text, found, err)}
	}
	return b, err
}

// want is a requirement, understood. A nil accept takes anything.
type want struct {
	text   string
	exact  *version.Version
	accept func(*version.Version) bool
}

func (w want) accepts(v *version.Version) bool { return w.accept == nil || w.accept(v) }

// wanted reads a requirement. Its text says what is wanted and which file says so.
func wanted(r Requirement) (want, error) {
	if r.Engine != "terraform" && r.Engine != "tofu" {
		return want{}, fmt.Errorf("unknown engine %q: use terraform or tofu", r.Engine)
	}
	versionFile := ".terraform-version"
	if r.Engine == "tofu" {
		versionFile = ".opentofu-version"
	}
	required := strings.Join(r.RequiredVersions, ", ")
	switch {
	case strings.TrimSpace(r.Constraint) != "":
		return constrained(r.Constraint, "by plumbline.yaml")
	case strings.TrimSpace(required) != "":
		return constrained(required, "by required_version")
	}
	line := versionLine(r.VersionFile)
	switch {
	case line == "":
		return want{text: "any version"}, nil
	case line == "latest":
		return want{text: "latest, by " + versionFile, accept: released}, nil
	case strings.HasPrefix(line, "latest:"):
		re, err := regexp.Compile(strings.TrimPrefix(line, "latest:"))
		if err != nil {
			return want{}, fmt.Errorf("%s says %q: %w", versionFile, line, err)
		}
		return want{text: line + ", by " + versionFile, accept: func(v *version.Version) bool {
			return released(v) && re.MatchString(v.String())
		}}, nil
	}
	v, err := version.NewVersion(line)
	if err != nil {
		return want{}, fmt.Errorf(`%s says %q, which is not a version; write one such as 1.11.4, or "latest"`, versionFile, line)
	}
	return want{text: v.String() + ", by " + versionFile, exact: v, accept: v.Equal}, nil
}

// constrained reads a version constraint.
func constrained(text, by string) (want, error) {
	text = strings.TrimSpace(text)
	cs, err := version.NewConstraint(text)
	if err != nil {
		return want{}, fmt.Errorf("version constraint %q, set %s: %w", text, by, err)
	}
	w := want{text: text + ", " + by, accept: cs.Check}
	if v, err := version.NewVersion(strings.TrimSpace(strings.TrimPrefix(text, "="))); err == nil {
		w.exact = v
	}
	return w, nil
}

func released(v *version.Version) bool { return v.Prerelease() == "" }

// versionLine returns the first line that says something.
func versionLine(content string) string {
	for line := range strings.Lines(content) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// Warm asks what is on PATH for its version, so that the first run in a new cache need not.
func (i *Installer) Warm(ctx context.Context) {
	for _, engine := range []string{"terraform", "tofu"} {
		_, _, _ = i.onPath(ctx, engine) // what is wrong with it is said by the run that needs it
	}
}

// onPath returns what of that name works, in the order of PATH, and why the rest does not. Only a cancelled context is
// an error.
func (i *Installer) onPath(ctx context.Context, engine string) (usable []Binary, unusable []string, err error) {
	seen := map[string]bool{}
	for _, dir := range filepath.SplitList(i.opts.SearchPath) {
		if !filepath.IsAbs(dir) {
			continue // As in os/exec: whoever can write to the current directory must not choose what runs.
		}
		path := filepath.Join(dir, engine)
		real, err := filepath.EvalSymlinks(path)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		info, err := os.Stat(real)
		switch {
		case err != nil || info.IsDir():
			continue
		case info.Mode()&0o111 == 0:
			unusable = append(unusable, path+" is not executable")
			continue
		}
		v, err := i.version(ctx, engine, path, info)
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("ask %s for its version: %w", path, ctx.Err())
		}
		if err != nil {
			i.opts.Log.Warn("binary cannot be used", "path", path, "error", err)
			unusable = append(unusable, err.Error())
			continue
		}
		usable = append(usable, Binary{Engine: engine, Path: path, Version: v, From: "PATH"})
	}
	return usable, unusable, nil
}

// installed returns what the cache holds.
func (i *Installer) installed(engine string) []Binary {
	paths, _ := filepath.Glob(filepath.Join(i.opts.CacheDir, engine, "*", platform(), engine))
	var bs []Binary
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			bs = append(bs, Binary{Engine: engine, Path: p, Version: filepath.Base(filepath.Dir(filepath.Dir(p))), From: "cache"})
		}
	}
	return bs
}

// remembered is one answer to "version". A file that was replaced has another size or time.
type remembered struct {
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	Version string    `json:"version"`
}

// version asks a binary for its version, once: a process costs some 30 ms. The answer of a script is not remembered,
// because version managers put scripts on PATH that answer according to where they are called.
func (i *Installer) version(ctx context.Context, engine, path string, info os.FileInfo) (string, error) {
	file := filepath.Join(i.opts.CacheDir, "versions.json")
	memory := map[string]remembered{}
	if data, err := os.ReadFile(file); err == nil {
		// A damaged memory is an empty one.
		if json.Unmarshal(data, &memory) != nil {
			memory = map[string]remembered{}
		}
	}
	key := engine + ":" + path
	if m, ok := memory[key]; ok && m.Size == info.Size() && m.ModTime.Equal(info.ModTime()) {
		return m.Version, nil
	}
	v, err := askVersion(ctx, engine, path, i.opts.SearchPath)
	if err != nil {
		return "", err
	}
	if isScript(path) {
		return v, nil
	}
	memory[key] = remembered{Size: info.Size(), ModTime: info.ModTime(), Version: v}
	// Two processes that write at once lose one of the answers, which is then asked for again.
	if data, err := json.MarshalIndent(memory, "", "  "); err == nil && os.MkdirAll(i.opts.CacheDir, 0o755) == nil {
		if err := renameio.WriteFile(file, data, 0o644); err != nil {
			i.opts.Log.Warn("version not remembered", "file", file, "error", err)
		}
	}
	return v, nil
}

func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [2]byte
	n, _ := f.Read(head[:])
	return string(head[:n]) == "#!"
}

// versionTimeout bounds "terraform version". A healthy one answers within a tenth of a second; a cold disk under load
// may need a few seconds.
const versionTimeout = 10 * time.Second

// askVersion runs the binary. The words for people are read, because OpenTofu's JSON calls itself Terraform.
func askVersion(ctx context.Context, engine, path, searchPath string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out := &capped{limit: 64 << 10}
	p := process{
		path: path, args: []string{"version"}, dir: os.TempDir(), stdout: out, stderr: out, grace: time.Second,
		// A version manager's script finds its interpreter through PATH. No HOME: a CLI configuration is not asked for.
		env: []string{"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "PATH=" + searchPath},
	}
	err := p.run(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%s did not answer to \"version\" within %s", path, versionTimeout)
	}
	name := map[string]string{"terraform": "Terraform", "tofu": "OpenTofu"}
	for line := range bytes.Lines(out.Bytes()) {
		m := versionRE.FindSubmatch(line)
		if m == nil {
			continue
		}
		if string(m[1]) != name[engine] {
			return "", fmt.Errorf("%s is %s, not %s", path, m[1], name[engine])
		}
		if v, err := version.NewVersion(string(m[2])); err == nil {
			return v.String(), nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s does not run: %w", path, err)
	}
	return "", fmt.Errorf("%s is not %s: it answered to \"version\" with %q", path, name[engine], excerpt(out.String(), 80))
}

var versionRE = regexp.MustCompile(`^(Terraform|OpenTofu) v(\S+)\s*$`)
