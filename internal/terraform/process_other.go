//go:build !linux

package terraform

import (
	"os"
	"syscall"
)

// ownGroup puts a process into a group of its own. Only Linux can make it die with its parent.
func ownGroup(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killMarked does nothing: only Linux shows the environment of a process.
func killMarked(string) {}

// processStart returns "runs" when a process of that number runs, else "".
func processStart(pid int) string {
	if err := syscall.Kill(pid, 0); err != nil && err != syscall.EPERM {
		return ""
	}
	return "runs"
}

// inodeAndChange returns the number of a file; its change time is called differently on every system.
func inodeAndChange(info os.FileInfo) (inode uint64, changed int64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Ino), 0
	}
	return 0, 0
}
