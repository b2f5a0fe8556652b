//go:build unix

package access

import (
	"os/exec"
	"syscall"
)

// inGroup gives a command a process group of its own, and has all of it end when the command is told to.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		endGroup(cmd)
		return cmd.Process.Kill()
	}
}

// endGroup ends a command and all its children that did not leave its group.
func endGroup(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may be gone already, which is what is wanted
}
