package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// source is a program that is built inside of its own module, copied out of the module cache. It is for modules whose
// go.mod replaces others: Go obeys that only in the main module.
type source struct {
	module, version string
	// sum is the module's hash in go.sum. The module's own go.sum vouches for everything that it needs.
	sum     string
	tags    string
	ldflags string
	out     string   // slash path in the part's directory
	keep    []string // directories of the source that the program reads when it runs; they end up beside it
}

// build compiles the program into its place under dir. It needs a C compiler.
func (s source) build(ctx context.Context, dir string) error {
	from, err := s.download(ctx)
	if err != nil {
		return err
	}
	module, err := os.MkdirTemp(dir, ".source-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(module)
	if err := copyWritable(module, from); err != nil {
		return fmt.Errorf("copy %s out of the module cache: %w", s.module, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false",
		"-tags", s.tags, "-ldflags", s.ldflags, "-o", filepath.Join(dir, filepath.FromSlash(s.out)), ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=1", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s@%s: %w\n%s", s.module, s.version, err, bytes.TrimSpace(output))
	}
	for _, name := range s.keep {
		if err := os.Rename(filepath.Join(module, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// download returns the module's directory in the module cache.
func (s source) download(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", s.module+"@"+s.version)
	cmd.Dir = os.TempDir() // no module of the caller may have a say
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	output, err := cmd.Output()
	var answer struct{ Dir, Sum, Error string }
	if bad := json.Unmarshal(output, &answer); bad != nil || answer.Error != "" || err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %s: %w", s.module, s.version, answer.Error, err)
	}
	if answer.Sum != s.sum {
		return "", fmt.Errorf("go mod download %s@%s: the module's hash is %s, want %s", s.module, s.version, answer.Sum, s.sum)
	}
	return answer.Dir, nil
}

// copyWritable copies a tree of the module cache, in which nothing may be written, and where there are no links.
func copyWritable(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
}
