package terraform_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// packed makes a mirror whose packages are zip archives, as registries serve them, of hashicorp/local.
func packed(t testing.TB) string {
	t.Helper()
	mirror := t.TempDir()
	from := filepath.Join(parts.Mirror(t), "registry.terraform.io", "hashicorp", "local")
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path) // VERSION/PLATFORM/FILE
		if err != nil {
			return err
		}
		elem := strings.Split(filepath.ToSlash(rel), "/")
		to := filepath.Join(mirror, "registry.terraform.io", "hashicorp", "local", fmt.Sprintf("terraform-provider-local_%s_%s.zip", elem[0], elem[1]))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		var buf bytes.Buffer
		z := zip.NewWriter(&buf)
		h := &zip.FileHeader{Name: elem[2], Method: zip.Store}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		return os.WriteFile(to, buf.Bytes(), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return mirror
}

// cached are options with a provider cache and a packed mirror.
func cached(t testing.TB, dir, mirror, cache string) terraform.Options {
	t.Helper()
	o := options(t, dir)
	o.Environ = append(o.Environ, "TF_CLI_CONFIG_FILE="+parts.MirrorConfig(t, mirror))
	var err error
	if o.Providers, err = terraform.OpenProviderCache(cache); err != nil {
		t.Fatal(err)
	}
	return o
}

// providerLink is where a data directory has the provider, and what it links to; "" when it is no link.
func providerLink(t testing.TB, o terraform.Options) (path, target string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(o.DataDir, "providers", "registry.terraform.io", "hashicorp", "local", "*", "*"))
	if err != nil || len(all) != 1 {
		t.Fatalf("providers in the data directory: %v, %v, want one", all, err)
	}
	target, err = os.Readlink(all[0])
	if err != nil {
		target = ""
	}
	return all[0], target
}

// snapshot tells whether files were touched: name, number, size, mode and times.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !e.IsDir() {
			fmt.Fprintf(&b, "%s %d %s %s\n", path, info.Size(), info.Mode(), info.ModTime())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestProviderIsUnpackedOnce(t *testing.T) {
	t.Parallel()
	mirror, cache := packed(t), t.TempDir()
	first := cached(t, module(t, "main.tf", usesLocal), mirror, cache)
	initialise(t, open(t, first))
	_, target := providerLink(t, first)
	if !strings.HasPrefix(target, cache) {
		t.Fatalf("after init the provider is %q, want a link into the cache", target)
	}
	lock, err := os.ReadFile(filepath.Join(first.Dir, ".terraform.lock.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, cache)

	// With a lock file nothing is unpacked: the archive may be as broken as it likes.
	broken := t.TempDir()
	zips, err := filepath.Glob(filepath.Join(mirror, "*", "*", "*", "*.zip"))
	if err != nil || len(zips) == 0 {
		t.Fatal(zips, err)
	}
	for _, z := range zips {
		rel, _ := filepath.Rel(mirror, z)
		write(t, broken, rel, "not a zip")
	}
	second := cached(t, module(t, "main.tf", usesLocal, ".terraform.lock.hcl", string(lock)), broken, cache)
	d := open(t, second)
	initialise(t, d)
	if _, changes := plan(t, d); !changes {
		t.Error("no changes")
	}

	// Without one Terraform unpacks; the cache stays as it is, also when the data directory was linked to it.
	third := cached(t, module(t, "main.tf", usesLocal, ".terraform.lock.hcl", string(lock)), mirror, cache)
	d = open(t, third)
	initialise(t, d)
	if err := os.Remove(filepath.Join(third.Dir, ".terraform.lock.hcl")); err != nil {
		t.Fatal(err)
	}
	if in := initialise(t, d); !in.Ran {
		t.Error("init did not run without lock file")
	}
	if _, again := providerLink(t, third); again != target {
		t.Errorf("the provider is %q, want a link to %q", again, target)
	}
	if after := snapshot(t, cache); after != before {
		t.Errorf("the cache was written to:\n%s\nbefore:\n%s", after, before)
	}
	leftovers, _ := filepath.Glob(filepath.Join(cache, "*", "*", "*", "*", "*", ".*"))
	if len(leftovers) > 0 {
		t.Errorf("left in the cache: %v", leftovers)
	}
}

func TestDamagedProviderIsReplaced(t *testing.T) {
	t.Parallel()
	mirror, cache := packed(t), t.TempDir()
	o := cached(t, module(t, "main.tf", usesLocal), mirror, cache)
	d := open(t, o)
	initialise(t, d)
	_, target := providerLink(t, o)
	files, err := os.ReadDir(target)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	bin := filepath.Join(target, files[0].Name())
	good, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	// One byte, with size and modification time as before.
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	if err := os.WriteFile(bin, bad, info.Mode()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(bin, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}

	// Whoever is linked to it already learns it from Terraform, and is healed.
	if _, changes := plan(t, d); !changes {
		t.Error("no changes")
	}
	// Whoever comes next does not get it.
	lock, err := os.ReadFile(filepath.Join(o.Dir, ".terraform.lock.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	next := cached(t, module(t, "main.tf", usesLocal, ".terraform.lock.hcl", string(lock)), mirror, cache)
	n := open(t, next)
	initialise(t, n)
	plan(t, n)
	if now, err := os.ReadFile(bin); err != nil || !bytes.Equal(now, good) {
		t.Errorf("the cached provider is not whole again: %v", err)
	}
}

func TestUnpackedMirrorStaysLinked(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	o := cached(t, module(t, "main.tf", usesLocal), parts.Mirror(t), cache)
	initialise(t, open(t, o))
	if _, target := providerLink(t, o); !strings.HasPrefix(target, parts.Mirror(t)) {
		t.Errorf("the provider is %q, want Terraform's own link into the mirror", target)
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) > 0 {
		t.Errorf("cache: got %v, %v, want nothing", entries, err)
	}
}

func TestConfiguredPluginCacheIsNotShared(t *testing.T) {
	t.Parallel()
	shared := t.TempDir()
	o := cached(t, module(t, "main.tf", usesLocal), packed(t), t.TempDir())
	config := filepath.Join(t.TempDir(), "cli.tfrc")
	write(t, filepath.Dir(config), "cli.tfrc", fmt.Sprintf("plugin_cache_dir = %q\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", shared, packed(t)))
	o.Environ = append(o.Environ, "TF_CLI_CONFIG_FILE="+config)
	d := open(t, o)
	initialise(t, d)
	plan(t, d)
	if entries, err := os.ReadDir(shared); err != nil || len(entries) > 0 {
		t.Errorf("the configured plugin_cache_dir: got %v, %v, want nothing", entries, err)
	}
	if in := initialise(t, d); in.Ran {
		t.Errorf("init again: got %+v", in)
	}
}

// initJob is what a process of its own is to initialise and plan.
type initJob struct {
	Dir, DataDir, Cache, Out string
	Binary                   terraform.Binary
	Environ                  []string
}

func initRole() error {
	var job initJob
	if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
		return err
	}
	return job.run()
}

func (job initJob) run() error {
	cache, err := terraform.OpenProviderCache(job.Cache)
	if err != nil {
		return err
	}
	d, err := terraform.Open(terraform.Options{Dir: job.Dir, DataDir: job.DataDir, Binary: job.Binary, Environ: job.Environ, Providers: cache})
	if err != nil {
		return err
	}
	ctx, cancel := contextWithLimit()
	defer cancel()
	if _, err := d.Init(ctx); err != nil {
		return err
	}
	_, err = d.Plan(ctx, terraform.PlanOptions{Out: job.Out})
	return err
}

// TestManyInitsAtOnce is the race that TF_PLUGIN_CACHE_DIR loses: inits of many root modules, and several of the same
// one, by goroutines and processes, with and without lock files, while others plan.
func TestManyInitsAtOnce(t *testing.T) {
	t.Parallel()
	mirror, cache := packed(t), t.TempDir()
	made := cached(t, module(t, "main.tf", usesLocal), mirror, t.TempDir())
	initialise(t, open(t, made))
	lock, err := os.ReadFile(filepath.Join(made.Dir, ".terraform.lock.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shared := module(t, "main.tf", usesLocal)
	var wg sync.WaitGroup
	for i := range 9 {
		dir := shared
		switch i % 3 {
		case 1:
			dir = module(t, "main.tf", usesLocal)
		case 2:
			dir = module(t, "main.tf", usesLocal, ".terraform.lock.hcl", string(lock))
		}
		o := cached(t, dir, mirror, cache)
		job := initJob{Dir: o.Dir, DataDir: o.DataDir, Binary: o.Binary, Environ: o.Environ, Cache: cache, Out: filepath.Join(t.TempDir(), "plan")}
		if i%2 == 0 {
			wg.Go(func() {
				if err := job.run(); err != nil {
					t.Error(err)
				}
			})
			continue
		}
		wg.Go(func() {
			in, err := json.Marshal(job)
			if err != nil {
				t.Error(err)
				return
			}
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_ROLE=init")
			cmd.Stdin = bytes.NewReader(in)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	entries, _ := filepath.Glob(filepath.Join(cache, "registry.terraform.io", "hashicorp", "local", "*", runtime.GOOS+"_"+runtime.GOARCH, "*"))
	if len(entries) != 1 {
		t.Errorf("cache entries: got %v, want one", entries)
	}
}
