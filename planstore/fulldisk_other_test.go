//go:build !linux

package planstore_test

import (
	"os/signal"
	"syscall"
)

// fullDisks: a limit on the length of files fails a write half-way, as a full disk does.
var fullDisks = []fullDisk{{name: "file size limit", want: syscall.EFBIG, mount: func(string) error {
	signal.Ignore(syscall.SIGXFSZ) // otherwise it ends the process before the write can fail
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10})
}}}
