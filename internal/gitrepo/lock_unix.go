//go:build unix && !solaris && !illumos && !aix

package gitrepo

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// tryLock takes a lock that belongs to the open file, and so to every process
// that has it open.
func tryLock(file *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		}
		return err == nil, err
	}
}

// unlock takes the lock from all who have the file open.
func unlock(file *os.File) { _ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }

// handDown lets a child have the file open as well.
func handDown(cmd *exec.Cmd, file *os.File) { cmd.ExtraFiles = append(cmd.ExtraFiles, file) }
