package terraform_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// A repository may bring along what no reader survives: it is named, and nothing waits for it.
func TestFilesThatAreNoConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"a pipe": {func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "pipe.tf"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		"a pipe as lock file": {func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, ".terraform.lock.hcl"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		"a device without end": {func(t *testing.T, dir string) {
			if err := syscall.Symlink("/dev/zero", filepath.Join(dir, "zero.tf")); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		"brackets without end": {func(t *testing.T, dir string) {
			write(t, dir, "deep.tf", "locals { x = "+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+" }")
		}, "nested more than 500 deep"},
		"a lock file of brackets": {func(t *testing.T, dir string) {
			write(t, dir, ".terraform.lock.hcl", "x = "+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))
		}, "nested more than 500 deep"},
		"a file of 20 MB": {func(t *testing.T, dir string) {
			write(t, dir, "large.tf", strings.Repeat("# much of the same\n", 1<<20))
		}, "larger than 16 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := module(t, "main.tf", "resource \"terraform_data\" \"x\" {}\n")
			c.make(t, dir)
			o := options(t, dir)
			providers, err := terraform.OpenProviderCache(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			o.Providers = providers
			_, err = open(t, o).Init(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("init says %v, want %q", err, c.want)
			}
		})
	}
}
