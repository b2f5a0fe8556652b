package terraform

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// lockFileName is the dependency lock file of a root module.
const lockFileName = ".terraform.lock.hcl"

// locked is one provider in the dependency lock file.
type locked struct {
	// source is the full address, such as registry.terraform.io/hashicorp/time.
	source  string
	version string
	hashes  []string
}

// packageDir is where Terraform keeps the package below the data directory.
func (l locked) packageDir() string {
	return filepath.Join("providers", filepath.FromSlash(l.source), l.version, platform())
}

// readLockFile reads what a root module has locked. No file means no providers.
func readLockFile(dir string) ([]locked, error) {
	name := filepath.Join(dir, lockFileName)
	src, err := readSource(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read dependency lock file: %w", err)
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, fmt.Errorf("read dependency lock file: %w", diags)
	}
	var all []locked
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "provider" || len(b.Labels) != 1 {
			continue
		}
		l := locked{source: b.Labels[0]}
		if a, ok := b.Body.Attributes["version"]; ok {
			l.version = literal(a.Expr)
		}
		if a, ok := b.Body.Attributes["hashes"]; ok {
			if list, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok {
				for _, e := range list.Exprs {
					l.hashes = append(l.hashes, literal(e))
				}
			}
		}
		// These become paths. Terraform would not write such names; somebody else might.
		if l.version != "" && filepath.IsLocal(l.packageDir()) && strings.Count(l.source, "/") == 2 && !strings.ContainsAny(l.version, `/\`) {
			all = append(all, l)
		}
	}
	return all, nil
}

// literal returns the value of a string that refers to nothing, else "".
func literal(e hclsyntax.Expression) string {
	v, diags := e.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type().FriendlyName() != "string" {
		return ""
	}
	return v.AsString()
}
