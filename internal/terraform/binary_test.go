package terraform_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// fake writes an executable shell script: for faults that no real Terraform shows when asked.
func fake(t testing.TB, name, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// releases serves a release site in the layout of HashiCorp's, with the real Terraform of this machine in it.
type releases struct {
	url, key  string
	version   string
	downloads atomic.Int64
}

func serveReleases(t testing.TB, others ...string) *releases {
	t.Helper()
	r := &releases{version: "1.11.4"}
	out, err := exec.Command(parts.Terraform(t), "version", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(out[bytes.IndexByte(out, '{'):], &v); err != nil {
		t.Fatal(err)
	}
	r.version = v.Version

	archive := filepath.Join(t.TempDir(), "terraform.zip")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	z := zip.NewWriter(io.MultiWriter(f, sum))
	w, err := z.CreateHeader(&zip.FileHeader{Name: "terraform", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	bin, err := os.Open(parts.Terraform(t))
	if err != nil {
		t.Fatal(err)
	}
	defer bin.Close()
	if _, err := io.Copy(w, bin); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}

	entity, err := openpgp.NewEntity("test", "", "test@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var key bytes.Buffer
	a, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(entity.Serialize(a), a.Close()); err != nil {
		t.Fatal(err)
	}
	r.key = key.String()

	index := map[string]any{}
	mux := http.NewServeMux()
	asJSON := func(path string, v any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		})
	}
	for _, version := range append(others, r.version) {
		name := fmt.Sprintf("terraform_%s_%s_%s.zip", version, runtime.GOOS, runtime.GOARCH)
		sums := fmt.Sprintf("%x  %s\n", sum.Sum(nil), name)
		var sig bytes.Buffer
		if err := openpgp.DetachSign(&sig, entity, strings.NewReader(sums), nil); err != nil {
			t.Fatal(err)
		}
		base := "/terraform/" + version + "/"
		release := map[string]any{
			"name": "terraform", "version": version,
			"shasums": "terraform_" + version + "_SHA256SUMS", "shasums_signature": "terraform_" + version + "_SHA256SUMS.sig",
			"builds": []any{map[string]any{"name": "terraform", "version": version, "os": runtime.GOOS, "arch": runtime.GOARCH, "filename": name, "url": base + name}},
		}
		index[version] = release
		asJSON(base+"index.json", release)
		mux.HandleFunc(base+"terraform_"+version+"_SHA256SUMS", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sums) })
		mux.HandleFunc(base+"terraform_"+version+"_SHA256SUMS.sig", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(sig.Bytes()) })
		mux.HandleFunc(base+name, func(w http.ResponseWriter, req *http.Request) {
			r.downloads.Add(1)
			w.Header().Set("Content-Type", "application/zip")
			http.ServeFile(w, req, archive)
		})
	}
	asJSON("/terraform/index.json", map[string]any{"name": "terraform", "versions": index})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

// emptySite is a release site with nothing on it: the quickest way to fail, where a refused connection is tried again.
func emptySite(t testing.TB) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.URL
}

// findJob is what a process of its own is to find.
type findJob struct {
	CacheDir, URL, Key, Constraint string
}

func (j findJob) run(ctx context.Context) (terraform.Binary, error) {
	i := terraform.NewInstaller(terraform.InstallerOptions{CacheDir: j.CacheDir, ReleasesURL: j.URL, PublicKey: j.Key})
	return i.Find(ctx, terraform.Requirement{Constraint: j.Constraint})
}

func findRole() error {
	var j findJob
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	ctx, cancel := contextWithLimit()
	defer cancel()
	b, err := j.run(ctx)
	fmt.Print(b.Path)
	return err
}

func TestInstallOnceForAll(t *testing.T) {
	t.Parallel()
	r := serveReleases(t)
	job := findJob{CacheDir: t.TempDir(), URL: r.url, Key: r.key, Constraint: "~> 1.0"}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(job.CacheDir, "terraform", r.version, runtime.GOOS+"_"+runtime.GOARCH, "terraform")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if b, err := job.run(t.Context()); err != nil || b.Path != want || b.Version != r.version {
				t.Errorf("got %+v, %v, want %s", b, err, want)
			}
		})
		wg.Go(func() {
			in, _ := json.Marshal(job)
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_ROLE=find")
			cmd.Stdin = bytes.NewReader(in)
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
				t.Errorf("got %s, %v, want %s", out, err, want)
			}
		})
	}
	wg.Wait()
	if n := r.downloads.Load(); n != 1 {
		t.Errorf("downloads: got %d, want 1", n)
	}
	if left, _ := filepath.Glob(filepath.Join(job.CacheDir, "terraform", "*", ".*")); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
	// Another time nothing is asked of the network.
	job.URL = "http://127.0.0.1:1"
	if b, err := job.run(t.Context()); err != nil || b.From != "cache" {
		t.Errorf("got %+v, %v, want the one in the cache", b, err)
	}
}

func TestInstallRefusesWhatIsNotSigned(t *testing.T) {
	t.Parallel()
	r := serveReleases(t, "1.10.0")
	// Signed, but by somebody else: HashiCorp's key is expected.
	for want, job := range map[string]findJob{
		"signature":                         {URL: r.url, Constraint: r.version},
		"served version " + r.version:       {URL: r.url, Key: r.key, Constraint: "1.10.0"},
		"no release of Terraform satisfies": {URL: r.url, Key: r.key, Constraint: "> 99"},
		"404":                               {URL: r.url, Key: r.key, Constraint: "= 1.2.3"},
		"failed to obtain product versions": {URL: emptySite(t), Key: r.key, Constraint: "~> 1.2"},
	} {
		job.CacheDir = t.TempDir()
		_, err := job.run(t.Context())
		var missing *terraform.MissingError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "by plumbline.yaml") {
			t.Errorf("got %v, want a MissingError that says %q", err, want)
		}
		if installed, _ := filepath.Glob(filepath.Join(job.CacheDir, "terraform", "*", "*", "terraform")); len(installed) > 0 {
			t.Errorf("installed all the same: %v", installed)
		}
	}
}

func TestWhichBinary(t *testing.T) {
	t.Parallel()
	says := func(v string) string { return fake(t, "terraform", "echo Terraform v"+v) }
	path := strings.Join([]string{says("1.5.7"), says("1.9.8"), says("1.11.4"), says("1.12.0-rc1"), "relative", ""}, ":")
	cache := t.TempDir()
	cached := filepath.Join(cache, "terraform", "1.10.5", runtime.GOOS+"_"+runtime.GOARCH, "terraform")
	write(t, filepath.Dir(cached), "terraform", "")
	if err := os.Chmod(cached, 0o755); err != nil {
		t.Fatal(err)
	}
	i := terraform.NewInstaller(terraform.InstallerOptions{CacheDir: cache, SearchPath: path, ReleasesURL: emptySite(t)})
	for _, c := range []struct {
		name    string
		r       terraform.Requirement
		version string
		from    string
	}{
		{"nothing", terraform.Requirement{}, "1.5.7", "PATH"},
		{"constraint first", terraform.Requirement{Constraint: "~> 1.9.0", RequiredVersions: []string{">= 1.11"}, VersionFile: "1.5.7"}, "1.9.8", "PATH"},
		{"then required_version", terraform.Requirement{RequiredVersions: []string{">= 1.6", "< 1.11"}, VersionFile: "1.5.7"}, "1.10.5", "cache"},
		{"then the version file", terraform.Requirement{VersionFile: "# ours\nv1.5.7\n"}, "1.5.7", "PATH"},
		{"newest", terraform.Requirement{Constraint: ">= 1.5"}, "1.11.4", "PATH"},
		{"a prerelease only when named", terraform.Requirement{VersionFile: "1.12.0-rc1"}, "1.12.0-rc1", "PATH"},
		{"latest", terraform.Requirement{VersionFile: "latest"}, "1.11.4", "PATH"},
		{"latest of", terraform.Requirement{VersionFile: "latest:^1\\.9"}, "1.9.8", "PATH"},
	} {
		b, err := i.Find(t.Context(), c.r)
		if err != nil || b.Version != c.version || b.From != c.from {
			t.Errorf("%s: got %+v, %v, want %s from %s", c.name, b, err, c.version, c.from)
		}
	}
	for want, r := range map[string]terraform.Requirement{
		`"one.two", which is not a version`:                   {VersionFile: "one.two"},
		`version constraint "about 1", set by plumbline.yaml`: {Constraint: "about 1"},
		`unknown engine "pulumi"`:                             {Engine: "pulumi"},
		"1.5.7; ":                                             {RequiredVersions: []string{"> 99"}},
	} {
		if _, err := i.Find(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
}

func TestVersionIsAskedOnce(t *testing.T) {
	t.Parallel()
	// A binary, not a script, whose calls are counted by how its access is: the real one, through a link that is
	// removed from under the Installer's memory.
	dir, cache := t.TempDir(), t.TempDir()
	real := parts.Terraform(t)
	if err := os.Symlink(real, filepath.Join(dir, "terraform")); err != nil {
		t.Fatal(err)
	}
	find := func() (terraform.Binary, error) {
		return terraform.NewInstaller(terraform.InstallerOptions{CacheDir: cache, SearchPath: dir}).Find(t.Context(), terraform.Requirement{})
	}
	b, err := find()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.ReadFile(filepath.Join(cache, "versions.json"))
	if err != nil || !bytes.Contains(memory, []byte(b.Version)) {
		t.Fatalf("memory: got %s, %v", memory, err)
	}
	// What is remembered is believed, so nothing was asked.
	write(t, cache, "versions.json", strings.ReplaceAll(string(memory), b.Version, "9.9.9"))
	if b, err := find(); err != nil || b.Version != "9.9.9" {
		t.Errorf("got %+v, %v, want what is remembered", b, err)
	}
	for _, damaged := range []string{"{", strings.ReplaceAll(string(memory), `"size": `, `"size": 1`)} {
		write(t, cache, "versions.json", damaged)
		if again, err := find(); err != nil || again.Version != b.Version {
			t.Errorf("got %+v, %v, want %+v, asked again", again, err, b)
		}
	}
}

func TestUnusableBinaries(t *testing.T) {
	t.Parallel()
	notExecutable := t.TempDir()
	write(t, notExecutable, "terraform", "x")
	garbage := t.TempDir()
	write(t, garbage, "terraform", "\x00\x01\x02")
	if err := os.Chmod(filepath.Join(garbage, "terraform"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for want, path := range map[string]string{
		"is not executable":              notExecutable,
		"does not run":                   garbage,
		"exit status 3":                  fake(t, "terraform", "echo oops >&2; exit 3"),
		`answered to "version" with "Te`: fake(t, "terraform", "echo 'Terrible v1'"),
		"is OpenTofu, not Terraform":     fake(t, "terraform", "echo 'OpenTofu v1.9.0'"),
		`with "yyyyyyy`:                  fake(t, "terraform", "yes y | tr -d '\\n' | head -c 20000000"),
	} {
		i := terraform.NewInstaller(terraform.InstallerOptions{CacheDir: t.TempDir(), SearchPath: path + ":/usr/bin:/bin", ReleasesURL: emptySite(t)})
		var missing *terraform.MissingError
		for _, r := range []terraform.Requirement{{}, {Constraint: ">= 1"}} {
			_, err := i.Find(ctx, r)
			if !errors.As(err, &missing) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Join(path, "terraform")) {
				t.Errorf("got %v, want a MissingError that says %q", err, want)
			}
		}
	}
	i := terraform.NewInstaller(terraform.InstallerOptions{CacheDir: t.TempDir(), SearchPath: t.TempDir()})
	if _, err := i.Find(ctx, terraform.Requirement{Engine: "tofu", Constraint: ">= 1.6"}); err == nil ||
		!strings.Contains(err.Error(), "tofu is wanted (>= 1.6, by plumbline.yaml), but none is on PATH; install it") {
		t.Errorf("OpenTofu missing: got %v", err)
	}
}

func TestBinaryThatHangs(t *testing.T) {
	t.Parallel()
	marker := filepath.Join(t.TempDir(), "started")
	path := fake(t, "terraform", "touch "+marker+"; sleep 600; echo Terraform v1.11.4")
	i := terraform.NewInstaller(terraform.InstallerOptions{CacheDir: t.TempDir(), SearchPath: path + ":/usr/bin:/bin"})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		waitFor(t, marker)
		cancel(errors.New("enough"))
	}()
	if _, err := i.Find(ctx, terraform.Requirement{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Errorf("cancelled: got %v, want one that names the binary", err)
	}
	_, err := i.Find(t.Context(), terraform.Requirement{})
	var missing *terraform.MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), `did not answer to "version" within 10s`) {
		t.Errorf("left alone: got %v, want that it did not answer", err)
	}
}
