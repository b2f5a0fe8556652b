package provider

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// program is what Terraform expects the provider's executable to be called, but for _v and the version.
const program = "terraform-provider-toy"

// hosts returns the registries under whose name the provider can be found. Nothing is ever fetched from them: a source
// of "plumbline-dev/toy" means the first one to Terraform and the second to OpenTofu.
func hosts() []string { return []string{"registry.terraform.io", "registry.opentofu.org"} }

// IsProvider reports whether a process was started as the provider: whether argv0, its own name as it was called, is
// that of the provider's executable.
func IsProvider(argv0 string) bool {
	base := argv0[strings.LastIndexAny(argv0, `/\`)+1:]
	base = strings.TrimSuffix(base, ".exe")
	return base == program || strings.HasPrefix(base, program+"_v")
}

// Mirror makes dir a provider mirror, unpacked, that holds the provider toy for the platform that this program was
// built for. The provider's executable is a link to binary, which must call [Serve] when [IsProvider] says so; where
// links do not work it is a copy. What dir holds besides stays, and doing it again, with the same or another binary, is
// fine, also while Terraform runs.
func Mirror(dir, binary string) error {
	wrap := func(err error) error { return fmt.Errorf("make the provider mirror %q: %w", dir, err) }
	binary, err := filepath.Abs(binary)
	if err != nil {
		return wrap(err)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return wrap(err)
	}
	if !info.Mode().IsRegular() {
		return wrap(fmt.Errorf("%q is not a file", binary))
	}
	name := program + "_v" + Version
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	for _, host := range hosts() {
		platform := filepath.Join(dir, host, "plumbline-dev", "toy", Version, runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(platform, 0o755); err != nil {
			return wrap(err)
		}
		if err := place(binary, filepath.Join(platform, name), dir, os.Symlink, os.Link, copyFile); err != nil {
			return wrap(err)
		}
	}
	return nil
}

// CLIConfig returns the text of a CLI configuration file that makes Terraform or OpenTofu take the provider toy from
// mirrorDir and all other providers from where they come from by default.
func CLIConfig(mirrorDir string) string {
	var include []string
	for _, host := range hosts() {
		include = append(include, strconv.Quote(host+"/plumbline-dev/*"))
	}
	patterns := "[" + strings.Join(include, ", ") + "]"
	return `provider_installation {
  filesystem_mirror {
    path    = ` + strconv.Quote(filepath.ToSlash(mirrorDir)) + `
    include = ` + patterns + `
  }
  direct {
    exclude = ` + patterns + `
  }
}
`
}

// place makes target stand for binary by the first of the ways that works, in one step: at every moment target is
// either what it was or what it shall be. Scratch is a directory on the same file system.
func place(binary, target, scratch string, ways ...func(binary, target string) error) error {
	if link, err := os.Readlink(target); err == nil && link == binary {
		return nil
	}
	tmp, err := os.MkdirTemp(scratch, ".placing-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	next := filepath.Join(tmp, filepath.Base(target))
	for _, way := range ways {
		if err = way(binary, next); err == nil {
			return os.Rename(next, target)
		}
	}
	return err
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}
