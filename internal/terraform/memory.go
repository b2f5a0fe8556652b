package terraform

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// collection is the variable that says how often a Go program, as Terraform and its providers are, collects its garbage.
const collection = "GOGC"

// lazyCollection has it done less often than by default. These processes live for a moment, and spend a tenth of it
// (measured, Terraform 1.11) on collecting what their end frees anyway. They may then take up to four times the memory of
// what is alive, instead of twice.
const lazyCollection = "300"

// perCore is how much memory a machine must have for each of its cores to be roomy, in bytes.
const perCore = 2 << 30

// AtOnce is how many workspaces this machine works at once where nobody says a number: two for each core, because a third of
// its time a plan waits, for its own plugins and for the cloud; one where memory is short.
func AtOnce() int {
	if roomy() {
		return 2 * runtime.GOMAXPROCS(0)
	}
	return runtime.GOMAXPROCS(0)
}

// roomy reports whether there is memory to waste. Where it cannot be told there is not.
var roomy = sync.OnceValue(func() bool {
	return roomFor(runtime.NumCPU(), "/proc/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
})

// roomFor looks into the kernel's account of memory, and into the limits of control groups, which need not exist.
func roomFor(cores int, meminfo string, limits ...string) bool {
	text, err := os.ReadFile(meminfo)
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), "MemTotal:")
	amount, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.ParseUint(amount, 10, 64)
	if err != nil {
		return false
	}
	room := kib << 10
	for _, file := range limits {
		if text, err := os.ReadFile(file); err == nil {
			if limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil { // else "max"
				room = min(room, limit)
			}
		}
	}
	return room/uint64(cores) >= perCore
}
