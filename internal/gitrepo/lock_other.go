//go:build !unix || solaris || illumos || aix

package gitrepo

import (
	"errors"
	"os"
	"os/exec"
)

// tryLock says that mirrors need a lock that children can share, which exists
// on Linux, macOS and the BSDs.
func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func unlock(*os.File) {}

func handDown(*exec.Cmd, *os.File) {}
