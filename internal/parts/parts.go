// Package parts gives tests the real things they run against: providers in a filesystem mirror, Terraform, OpenTofu,
// an S3 server, Gitea, Kubernetes and a browser.
//
// A part is asked for by the test that needs it (Mirror, Terraform, Tofu, S3, Gitea, Kubernetes, KubectlMirror, Chromium). If it is
// not on this machine yet it is built then and there, so no test is ever skipped for want of a part. The life of a part:
// its module graph is pinned in pins/NAME.mod and pins/NAME.sum, or by the hash of its own module; Build compiles it with
// the local Go into a scratch directory beside its final place, under a file lock, and renames the whole directory into
// place. From then on it never changes: another pin makes another directory. Any number of tests and processes may ask at
// once; one builds, the others wait.
//
// Parts live outside the checkout, in plumbline/parts under the user's cache directory (XDG_CACHE_HOME, else ~/.cache),
// because they outlive a clone. `go run ./internal/parts/build all` builds them ahead of time, which keeps a first
// `go test` from running into its time limit.
//
// Only tests and the build command import this package. It fakes nothing, and it never deletes a part.
package parts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-version"
	install "github.com/hashicorp/hc-install"
	"github.com/hashicorp/hc-install/fs"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
	"github.com/hashicorp/hc-install/src"
)

// terraformVersion is what Terraform installs when PATH holds none that is new enough.
const terraformVersion = "1.11.4"

// Mirror returns an unpacked filesystem mirror that holds hashicorp/local v1.4.0 and hashicorp/time v0.14.2, for the
// registries of Terraform and of OpenTofu. The directory is shared by all tests: nothing may be written to it.
func Mirror(t testing.TB) string {
	t.Helper()
	return need(t, "mirror")
}

// MirrorConfig writes a CLI configuration file that takes every provider from the mirrors given and from nowhere else,
// and returns its path, for TF_CLI_CONFIG_FILE. Mirrors are asked in the order given. The file lives as long as the test.
func MirrorConfig(t testing.TB, mirrors ...string) string {
	t.Helper()
	text := "disable_checkpoint = true\n\nprovider_installation {\n"
	for _, mirror := range mirrors {
		text += fmt.Sprintf("  filesystem_mirror {\n    path = %q\n  }\n", mirror)
	}
	text += "}\n"
	file := filepath.Join(t.TempDir(), "mirror.tfrc")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatalf("write a CLI configuration for the mirrors: %v", err)
	}
	return file
}

// Terraform returns the path of a Terraform 1.11 or newer: the one on PATH, else one that hc-install fetches once into
// the parts directory.
func Terraform(t testing.TB) string {
	t.Helper()
	path, err := findTerraform(t.Context(), t.Logf)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return path
}

// Tofu returns the path of OpenTofu v1.12.6, built from its module.
func Tofu(t testing.TB) string {
	t.Helper()
	return filepath.Join(need(t, "tofu"), "tofu")
}

func findTerraform(ctx context.Context, logf func(string, ...any)) (string, error) {
	newEnough := version.MustConstraints(version.NewConstraint(">= 1.11"))
	onPath := &fs.Version{Product: product.Terraform, Constraints: newEnough}
	if path, err := install.NewInstaller().Ensure(ctx, []src.Source{onPath}); err == nil {
		return path, nil
	}
	dir, err := cached("terraform-"+terraformVersion, logf, func(dir string) error {
		logf("no Terraform %s on PATH: fetching %s", newEnough, terraformVersion)
		release := &releases.ExactVersion{
			Product:    product.Terraform,
			Version:    version.Must(version.NewVersion(terraformVersion)),
			InstallDir: dir,
		}
		_, err := install.NewInstaller().Ensure(ctx, []src.Source{release})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("install Terraform %s (put Terraform 1.11 or newer on PATH to do without): %w", terraformVersion, err)
	}
	return filepath.Join(dir, "terraform"), nil
}

// need builds a part if it is missing and returns its directory.
func need(t testing.TB, name string) string {
	t.Helper()
	dir, err := Build(t.Context(), name, t.Logf)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return dir
}
