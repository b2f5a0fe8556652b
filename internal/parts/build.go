package parts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// The go.mod and go.sum of the modules that the parts are built in. They are not called go.mod because a directory with
// a go.mod is another module, whose files cannot be embedded; embedded, they are found from any working directory and in
// binaries built with -trimpath.
//
//go:embed pins
var pins embed.FS

// recipe says how one part is made.
type recipe struct {
	title    string // for people
	label    string // the version, as it appears in the directory's name
	binaries []binary
	source   *source // what is built in its own module, or nil
}

// binary is one program of a part.
type binary struct {
	pin     string // pins/NAME.mod and pins/NAME.sum
	pkg     string // import path of its main package
	ldflags string
	out     string // slash path in the part's directory
	// link is a second place for out's directory, or "" for none. It is a link at the level of the platform directory
	// because Terraform and OpenTofu walk a mirror without following links above that level.
	link string
}

func recipes() map[string]recipe {
	platform := runtime.GOOS + "_" + runtime.GOARCH
	provider := func(owner, name, version, pkg string) binary {
		dir := "/" + owner + "/" + name + "/" + version + "/" + platform
		return binary{
			pin:     "provider-" + name,
			pkg:     pkg,
			ldflags: "-s -w",
			out:     "registry.terraform.io" + dir + "/terraform-provider-" + name + "_v" + version + "_x5",
			link:    "registry.opentofu.org" + dir,
		}
	}
	return map[string]recipe{
		"mirror": {
			title: "a filesystem mirror with hashicorp/local v1.4.0 and hashicorp/time v0.14.2",
			label: "1",
			binaries: []binary{
				// Release 1.4.0 still calls itself by the module path of its former organisation; the pin replaces it.
				provider("hashicorp", "local", "1.4.0", "github.com/terraform-providers/terraform-provider-local"),
				provider("hashicorp", "time", "0.14.2", "github.com/hashicorp/terraform-provider-time"),
			},
		},
		// Not in the mirror above: its client of Kubernetes takes longer to build than all that a newcomer's tests need.
		"kubectl": {
			title:    "a filesystem mirror with gavinbunney/kubectl v1.19.0",
			label:    "1.19.0",
			binaries: []binary{provider("gavinbunney", "kubectl", "1.19.0", "github.com/gavinbunney/terraform-provider-kubectl")},
		},
		"kubernetes": {
			title: "Kubernetes v1.36.3 (kube-apiserver, and etcd v3.6.16 to keep its objects)",
			label: "1.36.3",
			binaries: []binary{
				{
					pin:     "etcd",
					pkg:     "go.etcd.io/etcd/server/v3",
					ldflags: "-s -w",
					out:     "etcd",
				},
				{
					// Its module takes its siblings from directories that are not in the module; the pin takes their releases.
					pin:     "kube-apiserver",
					pkg:     "k8s.io/kubernetes/cmd/kube-apiserver",
					ldflags: "-s -w -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitVersion=v1.36.3",
					out:     "kube-apiserver",
				},
			},
		},
		"tofu": {
			title: "OpenTofu v1.12.6",
			label: "1.12.6",
			binaries: []binary{{
				pin:     "tofu",
				pkg:     "github.com/opentofu/opentofu/cmd/tofu",
				ldflags: "-s -w -X github.com/opentofu/opentofu/version.dev=no",
				out:     "tofu",
			}},
		},
		"s3": {
			title: "the S3 server versitygw v1.8.0",
			label: "1.8.0",
			binaries: []binary{{
				pin:     "s3",
				pkg:     "github.com/versity/versitygw/cmd/versitygw",
				ldflags: "-s -w -X main.Version=v1.8.0",
				out:     "versitygw",
			}},
		},
		"gitea": {
			title: "Gitea v1.26.0",
			label: "1.26.0",
			source: &source{
				module:  "code.gitea.io/gitea",
				version: "v1.26.0",
				sum:     "h1:fJP9dqLbzKrKWUVnCVTfVersZdVDuyJQLEDzCAOmKKA=",
				tags:    "sqlite sqlite_unlock_notify",
				ldflags: "-s -w -X main.Version=1.26.0", // clients look at it; without, it is "development"
				out:     "gitea",
				keep:    []string{"options", "public", "templates"},
			},
		},
	}
}

// Names returns what Build can build, in the order in which it is best built: quick ones first.
func Names() []string {
	return []string{"chromium", "mirror", "s3", "tofu", "kubectl", "gitea", "kubernetes"}
}

// Build makes sure that the named part (see Names) is on this machine and returns its directory. It says through logf
// what it builds and how long that took; it says nothing when the part is there already. It needs Go on PATH and, the
// first time, the module proxy; Gitea needs a C compiler too, for SQLite. An interrupted build leaves nothing that a later call would take for a part.
func Build(ctx context.Context, name string, logf func(format string, args ...any)) (string, error) {
	if name == "chromium" {
		program, err := chromium(ctx, logf)
		return filepath.Dir(program), err
	}
	r, ok := recipes()[name]
	if !ok {
		return "", fmt.Errorf("build part %q: no such part; there are %q", name, Names())
	}
	key, err := r.key()
	if err != nil {
		return "", fmt.Errorf("build part %q: %w", name, err)
	}
	dir, err := cached(name+"-"+r.label+"-"+key, logf, func(dir string) error {
		start := time.Now()
		logf("building %s with %s", r.title, runtime.Version())
		for _, b := range r.binaries {
			if err := b.build(ctx, dir); err != nil {
				return err
			}
		}
		if r.source != nil {
			if err := r.source.build(ctx, dir); err != nil {
				return err
			}
		}
		logf("built %s in %s", r.title, time.Since(start).Round(time.Second))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("build part %q (%s): %w", name, r.title, err)
	}
	return dir, nil
}

// key names a directory's content: any other pin, package, flag or path has another key.
func (r recipe) key() (string, error) {
	hash := sha256.New()
	for _, b := range r.binaries {
		fmt.Fprintf(hash, "%s\n%s\n%s\n%s\n", b.pkg, b.ldflags, b.out, b.link)
		for _, ext := range []string{".mod", ".sum"} {
			text, err := pins.ReadFile("pins/" + b.pin + ext)
			if err != nil {
				return "", err
			}
			hash.Write(text)
		}
	}
	if r.source != nil {
		fmt.Fprintf(hash, "%q\n", *r.source)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// build compiles one program into its place under dir.
func (b binary) build(ctx context.Context, dir string) error {
	module, err := os.MkdirTemp("", "plumbline-part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(module)
	for file, pin := range map[string]string{"go.mod": b.pin + ".mod", "go.sum": b.pin + ".sum"} {
		text, err := pins.ReadFile("pins/" + pin)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(module, file), text, 0o600); err != nil {
			return err
		}
	}
	out := filepath.Join(dir, filepath.FromSlash(b.out))
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", b.ldflags, "-o", out, b.pkg)
	cmd.Dir = module
	// The part must not depend on a go.work around the temporary directory or on a cross-compiling caller.
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", b.pkg, err, bytes.TrimSpace(output.Bytes()))
	}
	if b.link == "" {
		return nil
	}
	link := filepath.Join(dir, filepath.FromSlash(b.link))
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(link), filepath.Dir(out))
	if err != nil {
		return err
	}
	return os.Symlink(target, link)
}

// cached returns the directory named name in the parts directory. If it is not there, fill is called with a scratch
// directory that becomes it.
func cached(name string, logf func(string, ...any), fill func(dir string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "plumbline", "parts")
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(dir + ".lock")
	if locked, err := lock.TryLock(); err != nil {
		return "", err
	} else if !locked {
		logf("waiting for another process that makes %s", dir)
		if err := lock.Lock(); err != nil {
			return "", err
		}
	}
	defer func() { _ = lock.Close() }() // ends with the process at the latest
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// Scratch directories of this name belong to builds that were killed: only the lock's holder makes them.
	stale, err := filepath.Glob(filepath.Join(root, "."+name+"-*"))
	if err != nil {
		return "", err
	}
	for _, left := range stale {
		if err := os.RemoveAll(left); err != nil {
			return "", err
		}
	}
	scratch, err := os.MkdirTemp(root, "."+name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		return "", err
	}
	if err := fill(scratch); err != nil {
		return "", err
	}
	return dir, os.Rename(scratch, dir)
}
