package parts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestMirrorServesTerraform(t *testing.T) {
	t.Parallel()
	mirrorServes(t, parts.Terraform(t))
}

// mirrorServes holds that an engine finds both providers in the mirror and
// really runs them.
func mirrorServes(t *testing.T, program string) {
	t.Helper()
	config := parts.MirrorConfig(t, parts.Mirror(t))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.tf"), `
terraform {
  required_providers {
    local = { source = "hashicorp/local", version = "1.4.0" }
    time  = { source = "hashicorp/time", version = "0.14.2" }
  }
}
resource "local_file" "greeting" {
  content  = "hello"
  filename = "${path.module}/greeting.txt"
}
resource "time_static" "now" {}
`)
	run(t, dir, config, program, "init", "-input=false", "-no-color")
	run(t, dir, config, program, "apply", "-input=false", "-no-color", "-auto-approve")
	got, err := os.ReadFile(filepath.Join(dir, "greeting.txt"))
	if err != nil || string(got) != "hello" {
		t.Errorf("the applied file holds %q, %v; want %q", got, err, "hello")
	}
}

// Many ask for a part at once: one builds, the others wait, and nobody sees half a part.
func TestBuildAtOnceBuildsOnce(t *testing.T) {
	compiled, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatalf("go env GOCACHE: %v", err)
	}
	t.Setenv("GOCACHE", strings.TrimSpace(string(compiled))) // by default it is below XDG_CACHE_HOME
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var built atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := parts.Build(t.Context(), "mirror", func(format string, args ...any) {
				if strings.HasPrefix(format, "built") {
					built.Add(1)
				}
			})
			if err != nil {
				t.Errorf("build: %v", err)
				return
			}
			for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
				found, err := filepath.Glob(filepath.Join(dir, host, "hashicorp", "*", "*", "*", "terraform-provider-*"))
				if err != nil || len(found) != 2 {
					t.Errorf("%s holds %q, %v; want two providers", host, found, err)
				}
			}
		})
	}
	wg.Wait()
	if got := built.Load(); got != 1 {
		t.Errorf("built %d times, want once", got)
	}
}

func TestBuildSaysWhatThereIs(t *testing.T) {
	t.Parallel()
	_, err := parts.Build(t.Context(), "gitlab", t.Logf)
	if err == nil || !strings.Contains(err.Error(), `there are ["chromium" "mirror" "s3" "tofu" "kubectl" "gitea" "kubernetes"]`) {
		t.Errorf("building an unknown part says %v; want the parts that there are", err)
	}
}

func run(t *testing.T, dir, config, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+config, "TF_DATA_DIR=", "CHECKPOINT_DISABLE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
