package planstore_test

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// fullDisks: a file system of 64 kB of its own (in a user and mount namespace, so that no rights are needed), and, where
// the kernel refuses that, a limit on the length of files, which fails a write half-way just the same.
var fullDisks = func() []fullDisk {
	limit := fullDisk{name: "file size limit", want: syscall.EFBIG, mount: func(string) error {
		signal.Ignore(syscall.SIGXFSZ) // otherwise it ends the process before the write can fail
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10})
	}}
	small := fullDisk{
		name: "small file system",
		want: syscall.ENOSPC,
		prepare: func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
		},
		mount: func(dir string) error { return syscall.Mount("small", dir, "tmpfs", 0, "size=64k") },
	}
	if os.Getenv("PLANSTORE_TEST_ROLE") == "" {
		try := exec.Command("/bin/true")
		small.prepare(try)
		if try.Run() != nil {
			return []fullDisk{limit}
		}
	}
	return []fullDisk{limit, small}
}()
