//go:build !postgres

package engine_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
)

// TestDiskIsFull lets no file of the program grow any more, as on a full disk, and then gives it room again. It is of
// SQLite alone: the files of PostgreSQL are not the program's.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	s := start(t, options{processes: true})
	n := s.nodes[0]
	first := s.Open(t, alice, "first", another("c", "one"))
	first.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)

	n.limit(t, 64<<10) // the database is larger
	first.Merge(t, forge.Squash)
	var pulls []*world.Pull
	for _, name := range []string{"p1", "p2", "p3"} {
		pulls = append(pulls, s.Open(t, alice, name, another("a", name)))
	}
	s.GitHub.Deliveries(t, s.Repo) // waits until they were sent, and refused
	if !s.log.contains("status=503") {
		t.Errorf("no webhook was refused: this test no longer sees what it is for; the log says\n%s", s.log.tail(30))
	}
	n.limit(t, unix.RLIM_INFINITY)

	s.AwaitVersions(t, map[string]string{"c": "1", "one": ""})
	for _, p := range pulls {
		p.AwaitComment(t, "kind=plan", "toy_bucket."+p.Branch)
		p.AwaitStatus(t, "plumbline", forge.Success)
	}
	s.quiet(t)
	if created, updated, deleted := s.Done(); created != 2 || updated != 0 || deleted != 0 {
		t.Errorf("made %d, changed %d, deleted %d, want two buckets once each", created, updated, deleted)
	}
}

// limit sets how long a file of the process may become.
func (n *node) limit(t *testing.T, bytes uint64) {
	t.Helper()
	if err := unix.Prlimit(n.process.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
		t.Fatal(err)
	}
}
