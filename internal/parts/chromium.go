package parts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// chromiumNames are what Chromium is called on PATH. Chrome is the same browser.
var chromiumNames = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// Chromium returns the path of a Chromium: the one on PATH, else the package of Debian, which is installed then and there
// if root runs the tests. Package browsertest starts it.
func Chromium(t testing.TB) string {
	t.Helper()
	program, err := chromium(t.Context(), t.Logf)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return program
}

// AxeCore returns the file of axe-core, a script that finds what keeps some people from using a page.
func AxeCore(t testing.TB) string {
	t.Helper()
	return filepath.Join(unpacked(t, npmPackage{
		name: "axe-core", version: "4.14.1",
		integrity: "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
		keep:      []string{"axe.min.js"},
	}), "axe.min.js")
}

// chromium is no part that could be compiled, so there is none of its own in the cache: the system's is taken as it is.
func chromium(ctx context.Context, logf func(string, ...any)) (string, error) {
	if program := findChromium(ctx); program != "" {
		return program, nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return "", fmt.Errorf("there is no Chromium on PATH (looked for %q): install the package chromium, or Chrome", chromiumNames)
	}
	logf("installing the package chromium")
	var output bytes.Buffer
	// Without a font, which is only recommended, no text would have a width.
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "chromium", "fonts-liberation"}} {
		// Another process that installs is waited for.
		cmd := exec.CommandContext(ctx, apt, append([]string{"-o", "DPkg::Lock::Timeout=600"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("install the package chromium: apt-get %s: %w\n%s", args[0], err, bytes.TrimSpace(output.Bytes()))
		}
	}
	program := findChromium(ctx)
	if program == "" {
		return "", fmt.Errorf("the package chromium is installed, and none of %q on PATH runs", chromiumNames)
	}
	return program, nil
}

// findChromium returns the path of one that runs, or "": on some systems a name on PATH is a script that only says where to
// get it.
func findChromium(ctx context.Context) string {
	for _, name := range chromiumNames {
		path, err := exec.LookPath(name)
		if err == nil && exec.CommandContext(ctx, path, "--version").Run() == nil {
			return path
		}
	}
	return ""
}
