//go:build unix

package gitrepo

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a child into a process group of its own. An interrupt typed at
// the terminal then reaches only us: whoever is finishing an apply may still
// need to read. Cancelling ends the whole group, helpers included.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
