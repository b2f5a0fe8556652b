package engine_test

import (
	"context"
	"database/sql"
	"os"
	"os/user"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// TestPowerIsCut kills the server in the middle of an apply, and later Terraform too, as when the power fails. Terraform's
// lock is left on the state. `plumbline unlock` in the pull request leaves it alone for as long as Terraform lives, and
// releases it when it is gone; and it leaves those alone that are not this server's.
func TestPowerIsCut(t *testing.T) {
	t.Parallel()
	s := start(t, options{processes: true, world: world.Options{Remote: everywhere}})
	n := s.nodes[0]
	files := another("a", "two")
	files["b/three.tf"] = another("b", "three")["b/three.tf"]
	pull := s.Open(t, alice, "two", files)
	pull.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)

	// The cloud is slow, and in the end it does not do what it was asked for.
	err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: []toycloud.Rule{{Verb: toycloud.Create, Latency: 2 * time.Minute, Fault: toycloud.FaultDrop, Rate: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	pull.Merge(t, forge.Squash)
	shows := func() string { return s.log.tail(30) }
	s.Await(t, "Terraform to apply", func() bool { return s.Cloud.Counters().Faults > 0 }, shows)
	lock := s.States.LockID("a")
	n.kill(t)
	n.startProcess(t)
	asked := pull.Say(t, alice, "plumbline unlock -w a")
	pull.AwaitReaction(t, asked, forge.Seen)
	s.Await(t, "the server to see that Terraform goes on", func() bool {
		return s.log.contains("an apply goes on whose process died") && s.count(t, "SELECT count(*) FROM run WHERE kind = 'unlock'") == 1
	}, shows)
	if got := s.States.LockID("a"); lock == "" || got != lock {
		t.Fatalf("the lock %q of an apply that goes on became %q", lock, got)
	}

	n.kill(t)
	s.killTerraform(t)
	s.mend(t)
	n.startProcess(t)
	pull.AwaitComment(t, "kind=apply", "`a` was interrupted", lock, "the state is locked. `plumbline unlock -w a`", "`b` not started")
	pull.AwaitComment(t, "The lock of the state was released", "That was an apply of this server")
	s.quiet(t)
	if got := s.States.Locked(); len(got) != 0 {
		t.Fatalf("%q are locked after the lock was released", got)
	}

	// Locks of others stay.
	us, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ours := us.Username + "@" + host
	refused := func(id, who string, at time.Time, why string) {
		t.Helper()
		s.States.LockAt("a", id, who, at)
		pull.Say(t, alice, "plumbline unlock -w a")
		name, _, _ := strings.Cut(who, "@") // which is written so that nobody is mentioned
		pull.AwaitComment(t, "not released", id, "It was taken by "+name+"@", why)
		s.quiet(t)
		if got := s.States.LockID("a"); got != id {
			t.Errorf("the lock %s of %s became %q", id, who, got)
		}
	}
	refused("11111111-0000-0000-0000-000000000001", "grace@laptop", time.Now(), "none of the runs of this server")
	refused("11111111-0000-0000-0000-000000000002", ours, time.Now().Add(-time.Hour), "No apply of this server was under way then")
	// Somebody at this very machine, while an apply of ours was under way, which failed on that lock.
	const theirs = "11111111-0000-0000-0000-000000000003"
	s.States.LockAt("a", theirs, ours, time.Now())
	pull.Say(t, alice, "plumbline plan")
	pull.AwaitComment(t, "kind=plan", "2 to add", "plumbline apply")
	s.quiet(t)
	pull.Say(t, alice, "plumbline apply -w a")
	s.Await(t, "an apply to fail on the lock", func() bool {
		return s.count(t, "SELECT count(*) FROM run WHERE kind = 'apply' AND workspace = 'a' AND status = 'failed'") == 1
	}, func() string { return s.rows(t) })
	pull.AwaitComment(t, "kind=apply", "Apply failed", theirs, "the state is locked. `plumbline unlock -w a`")
	s.quiet(t)
	refused(theirs, ours, s.lastApply(t, "a"), "No apply of this server was under way then")
	s.States.Unlock("a")

	pull.Say(t, alice, "plumbline plan")
	s.quiet(t)
	pull.Say(t, alice, "plumbline apply")
	s.AwaitVersions(t, map[string]string{"a": "1", "two": "", "b": "1", "three": ""})
	s.quiet(t)
	if created, updated, deleted := s.Done(); created != 4 || updated != 0 || deleted != 0 {
		t.Errorf("made %d, changed %d, deleted %d, want four buckets once each", created, updated, deleted)
	}
}

// lastApply is a moment in the last apply of a workspace.
func (s *server) lastApply(t *testing.T, workspace string) (at time.Time) {
	t.Helper()
	s.read(t, func(ctx context.Context, tx *sql.Tx) error {
		var began, ended int64
		err := tx.QueryRowContext(ctx, "SELECT started_at, ended_at FROM run WHERE kind = 'apply' AND workspace = $1 ORDER BY started_at DESC LIMIT 1", workspace).Scan(&began, &ended)
		at = time.UnixMilli((began + ended) / 2)
		return err
	})
	return at
}

// killTerraform kills every Terraform of the nodes, with the providers that it started.
func (s *server) killTerraform(t *testing.T) {
	t.Helper()
	pids := s.applying(t)
	if len(pids) == 0 {
		t.Fatal("no Terraform runs: this test no longer sees what it is for")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
}
