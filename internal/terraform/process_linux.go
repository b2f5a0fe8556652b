package terraform

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ownGroup puts a process into a group of its own. One that dies with its parent is killed by the kernel when Plumbline
// is killed: right for what only reads, wrong for an apply.
func ownGroup(diesWithParent bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if diesWithParent {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}

// killMarked kills every process that was started with this entry in its environment.
func killMarked(entry string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+entry+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // It may just have ended.
		}
	}
}

// processStart returns something that, with its number, tells a process from a later one of the same number; "" when
// it does not run.
func processStart(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The name, in parentheses, may hold anything. After it: state is field 3, the start time field 22. See proc(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// inodeAndChange returns the number and the change time of a file, in nanoseconds.
func inodeAndChange(info os.FileInfo) (inode uint64, changed int64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino, s.Ctim.Nano()
	}
	return 0, 0
}
