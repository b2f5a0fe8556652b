package parts

import (
	"os/exec"
	"syscall"
)

// dieWithParent keeps a server from outliving a test binary that was killed, when no cleanup runs.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
