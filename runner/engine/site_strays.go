package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// removeStrays removes what Terraform would read as configuration from the files of a site, as far as the commit does not
// have it, and says how many files those were. A plan may run code of a pull request, which can write there; an apply, or the
// plan of somebody else, must not find it. What else Terraform and its providers leave there stays.
func removeStrays(dir string, placed []string) (int, error) {
	ours := make(map[string]bool, len(placed))
	for _, name := range placed {
		ours[name] = true
	}
	removed := 0
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || e.IsDir() || !configures(e.Name()) || ours[filepath.ToSlash(rel)] {
			return err
		}
		removed++
		return os.Remove(name)
	})
	if err != nil {
		return removed, fmt.Errorf("remove what an earlier run left among the files: %w", err)
	}
	return removed, nil
}

// configures reports whether Terraform or OpenTofu reads a file of this name by itself.
func configures(name string) bool {
	switch path.Ext(strings.TrimSuffix(name, ".json")) {
	case ".tf", ".tofu":
		return true
	}
	return name == "terraform.tfvars" || name == "terraform.tfvars.json" || strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json")
}
