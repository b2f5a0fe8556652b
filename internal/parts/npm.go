package parts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// npmPackage is a package that holds data for tests. Nothing of it is run.
type npmPackage struct {
	name, version string
	integrity     string   // as npm prints it: the SHA-512 of the archive
	keep          []string // paths in the package
}

// GitHubDescription returns the file of GitHub's own OpenAPI description of its REST API.
func GitHubDescription(t testing.TB) string {
	t.Helper()
	return filepath.Join(unpacked(t, npmPackage{
		name: "@octokit/openapi", version: "23.0.2",
		integrity: "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
		keep:      []string{"generated/api.github.com.json"},
	}), "generated", "api.github.com.json")
}

// GitHubWebhooks returns the file of webhooks that GitHub sent, by event.
func GitHubWebhooks(t testing.TB) string {
	t.Helper()
	return filepath.Join(unpacked(t, npmPackage{
		name: "@octokit/webhooks-examples", version: "7.6.1",
		integrity: "sha512-De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==",
		keep:      []string{"api.github.com/index.json"},
	}), "api.github.com", "index.json")
}

// unpacked fetches the package with npm if it is missing and returns the directory that holds what is kept of it.
func unpacked(t testing.TB, p npmPackage) string {
	t.Helper()
	name := strings.NewReplacer("@", "", "/", "-").Replace(p.name) + "-" + p.version
	dir, err := cached(name, t.Logf, func(dir string) error { return p.fetch(t.Context(), dir) })
	if err != nil {
		t.Fatalf("fetch %s %s: %v", p.name, p.version, err)
	}
	return dir
}

func (p npmPackage) fetch(ctx context.Context, dir string) error {
	scratch, err := os.MkdirTemp("", "plumbline-part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	// pack downloads; install would run scripts.
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", scratch, p.name+"@"+p.version)
	cmd.Dir = scratch
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm pack: %w\n%s", err, bytes.TrimSpace(output.Bytes()))
	}
	archives, err := filepath.Glob(filepath.Join(scratch, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack left %q, want one archive: %w", archives, err)
	}
	archive, err := os.ReadFile(archives[0])
	if err != nil {
		return err
	}
	sum := sha512.Sum512(archive)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != p.integrity {
		return fmt.Errorf("its checksum is %s, want %s", got, p.integrity)
	}
	return p.unpack(archive, dir)
}

// unpack writes the files to keep.
func (p npmPackage) unpack(archive []byte, dir string) error {
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, path := range p.keep {
		wanted["package/"+path] = true
	}
	for files := tar.NewReader(zipped); len(wanted) > 0; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("it has no file %v", wanted)
		}
		if err != nil {
			return err
		}
		if !wanted[header.Name] {
			continue
		}
		delete(wanted, header.Name)
		content, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		out := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(header.Name, "package/")))
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(out, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
