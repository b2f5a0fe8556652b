package provider

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestPlaceFallsBack tries the ways to put the provider into its place: what cannot be linked is copied.
func TestPlaceFallsBack(t *testing.T) {
	refuse := func(string, string) error { return errors.ErrUnsupported }
	for name, ways := range map[string][]func(string, string) error{
		"symlink":  {os.Symlink, refuse, refuse},
		"hardlink": {refuse, os.Link, refuse},
		"copy":     {refuse, refuse, copyFile},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target := filepath.Join(dir, "target")
			for _, content := range []string{"first", "second"} { // the second replaces the first
				binary := filepath.Join(dir, content)
				if err := os.WriteFile(binary, []byte(content), 0o755); err != nil {
					t.Fatal(err)
				}
				for range 2 { // again is fine
					if err := place(binary, target, dir, ways...); err != nil {
						t.Fatal(err)
					}
				}
				data, err := os.ReadFile(target)
				if err != nil || string(data) != content {
					t.Errorf("target holds %q, %v, want %q", data, err, content)
				}
				info, err := os.Stat(target)
				if err != nil || info.Mode().Perm()&0o100 == 0 {
					t.Errorf("target has mode %v, %v, want that it can be run", info.Mode(), err)
				}
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 3 {
				t.Errorf("left in the directory: %v, %v, want the two binaries and the target", entries, err)
			}
		})
	}
	if err := place("x", filepath.Join(t.TempDir(), "y"), t.TempDir(), refuse, refuse, copyFile); err == nil {
		t.Error("placing a file that is not there worked")
	}
}
