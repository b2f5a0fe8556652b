package terraform

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
)

// downloadTimeout bounds one download. hc-install's own half minute is too short for a slow line.
const downloadTimeout = 15 * time.Minute

// platform is how releases and provider packages name this machine.
func platform() string { return runtime.GOOS + "_" + runtime.GOARCH }

// install fetches the newest release that w accepts. The signature of its checksums is verified.
func (i *Installer) install(ctx context.Context, w want) (Binary, error) {
	v := w.exact
	if v == nil {
		var err error
		if v, err = i.newestRelease(ctx, w); err != nil {
			return Binary{}, err
		}
	}
	home := filepath.Join(i.opts.CacheDir, "terraform", v.String(), platform())
	b := Binary{Engine: "terraform", Path: filepath.Join(home, "terraform"), Version: v.String(), From: "installed"}

	// One process downloads, the others wait for it and find it done.
	locks := filepath.Join(i.opts.CacheDir, "locks")
	if err := os.MkdirAll(locks, 0o755); err != nil {
		return Binary{}, fmt.Errorf("make cache: %w", err)
	}
	lock := flock.New(filepath.Join(locks, "terraform-"+v.String()+".lock"))
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return Binary{}, fmt.Errorf("wait for another installation of Terraform %s: %w", v, err)
	}
	defer func() { _ = lock.Unlock() }() // The kernel frees it at the latest when the process ends.
	if info, err := os.Stat(b.Path); err == nil && info.Mode().IsRegular() {
		b.From = "cache"
		return b, nil
	}

	i.opts.Log.Info("installing terraform", "version", v.String())
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return Binary{}, fmt.Errorf("make cache: %w", err)
	}
	// Beside its final place, so that the rename stays within one file system.
	tmp, err := os.MkdirTemp(filepath.Dir(home), ".installing-*")
	if err != nil {
		return Binary{}, fmt.Errorf("make cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	source := &releases.ExactVersion{
		Product: product.Terraform, Version: v, InstallDir: tmp, Timeout: downloadTimeout,
		ApiBaseURL: i.opts.ReleasesURL, ArmoredPublicKey: i.opts.PublicKey,
	}
	path, err := source.Install(ctx)
	if err != nil {
		return Binary{}, fmt.Errorf("install Terraform %s: %w", v, err)
	}
	// What does not run here, such as a build for another C library, must not get into the cache.
	got, err := askVersion(ctx, "terraform", path, i.opts.SearchPath)
	if err != nil {
		return Binary{}, fmt.Errorf("install Terraform %s: %w", v, err)
	}
	if got != v.String() {
		return Binary{}, fmt.Errorf("install Terraform %s: the release site served version %s under that name", v, got)
	}
	// hc-install makes the binary its owner's alone; other users of a shared cache need it too.
	for _, p := range []string{path, tmp} {
		if err := os.Chmod(p, 0o755); err != nil {
			return Binary{}, fmt.Errorf("install Terraform %s: %w", v, err)
		}
	}
	// A directory without a usable binary can only be somebody's leftover; an earlier good one was found above.
	if err := os.RemoveAll(home); err != nil {
		return Binary{}, fmt.Errorf("install Terraform %s: %w", v, err)
	}
	if err := os.Rename(tmp, home); err != nil {
		return Binary{}, fmt.Errorf("install Terraform %s: %w", v, err)
	}
	return b, nil
}

// newestRelease asks the release site.
func (i *Installer) newestRelease(ctx context.Context, w want) (*version.Version, error) {
	list := &releases.Versions{Product: product.Terraform, ListTimeout: time.Minute, ApiBaseURL: i.opts.ReleasesURL}
	sources, err := list.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the releases of Terraform: %w", err)
	}
	var newest *version.Version
	for _, s := range sources {
		e, ok := s.(*releases.ExactVersion)
		if !ok || !w.accepts(e.Version) || w.accept == nil && !released(e.Version) {
			continue
		}
		if newest == nil || e.Version.GreaterThan(newest) {
			newest = e.Version
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("no release of Terraform satisfies %s", w.text)
	}
	return newest, nil
}
