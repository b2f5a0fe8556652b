//go:build unix

package planstore

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is what this process has used of all cores so far, garbage collector and kernel included.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
