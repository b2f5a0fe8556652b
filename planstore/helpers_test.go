package planstore_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/planstore"
)

// open opens a store for repository "repo" with key1, unless the options say otherwise.
func open(t testing.TB, o planstore.Options) *planstore.Store {
	t.Helper()
	if o.Repository == "" {
		o.Repository = "repo"
	}
	if o.Key == "" && o.KeyFile == "" {
		o.Key = key1
	}
	s, err := planstore.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open %v: %v", o, err)
	}
	return s
}

func put(t testing.TB, s *planstore.Store, p planstore.Plan) planstore.Plan {
	t.Helper()
	p, err := s.Put(t.Context(), p, strings.NewReader("plan file"), strings.NewReader(`{"plan":"json"}`))
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return p
}

// objects returns the paths of all files in a store's directory.
func objects(t testing.TB, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() != ".lock" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// damage changes a file.
func damage(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// dirs names plans by their Dir.
func dirs(plans []planstore.Plan) string {
	var names []string
	for _, p := range plans {
		names = append(names, p.Dir)
	}
	return strings.Join(names, " ")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, fs.ErrClosed
	}
	return 0, f.err
}
