package engine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// TestTerraformIsKilled kills Terraform in the middle of an apply. It leaves a lock on the state, which is shown and given
// up by `plumbline unlock`, and what is left to do is applied by a command.
func TestTerraformIsKilled(t *testing.T) {
	t.Parallel()
	s := start(t, options{world: world.Options{Remote: (*world.States).Backend}})
	pull := s.Open(t, alice, "two", another("c", "two"))
	pull.AwaitComment(t, "kind=plan", "2 to add")
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)

	// The cloud is slow, so that Terraform is at it for long enough.
	if err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: []toycloud.Rule{{Verb: toycloud.Create, Latency: time.Minute}}}); err != nil {
		t.Fatal(err)
	}
	pull.Merge(t, forge.Squash)
	s.Await(t, "Terraform to apply", func() bool { return len(s.States.Locked()) > 0 && len(s.applying(t)) > 0 }, func() string { return s.log.tail(30) })
	s.killTerraform(t)
	s.mend(t)
	pull.AwaitComment(t, "kind=apply", "What to do next")
	s.quiet(t)
	if locked := s.States.Locked(); len(locked) != 1 {
		t.Fatalf("%q are locked, want the one that the killed Terraform left: this test no longer sees what it is for", locked)
	}

	// This backend does not tell who holds a lock, so nobody can be sure that the holder is gone.
	pull.Say(t, alice, "plumbline unlock -w c")
	s.quiet(t)
	pull.AwaitComment(t, s.States.LockID("c"), "terraform force-unlock")
	if len(s.States.Locked()) != 1 {
		t.Error("a lock was released whose holder may be alive")
	}
	s.States.Unlock("c")
	pull.Say(t, alice, "plumbline plan")
	s.quiet(t)
	pull.Say(t, alice, "plumbline apply")
	s.Await(t, "both buckets", func() bool { return len(s.Versions()) == 2 }, func() string { return s.log.tail(30) })
	s.quiet(t)
}

// applying finds the Terraform processes that apply something in a node's directory.
func (s *server) applying(t *testing.T) (pids []int) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range list {
		line, err := os.ReadFile(file)
		args := strings.Split(string(line), "\x00")
		if err != nil || filepath.Base(args[0]) != "terraform" || !strings.Contains(string(line), "\x00apply\x00") {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(file), "cwd"))
		for _, n := range s.nodes {
			if strings.HasPrefix(cwd, n.dir) || bytes.Contains(line, []byte(n.dir)) {
				pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
