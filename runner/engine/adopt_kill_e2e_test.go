//go:build e2e && !postgres

// The program refuses states without a backend where it shares its database.

package engine_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// TestKilledInAnAdoption kills the server with kill -9 at each step of `plumbline adopt` on an issue: while Terraform plans,
// as the branch is pushed, as the pull request is opened, and as the comment is answered, each before and after the forge
// has taken it. The next start goes on, and there is one branch, one pull request and one answer.
func TestKilledInAnAdoption(t *testing.T) {
	t.Parallel()
	s := start(t, options{processes: true, world: world.Options{Files: map[string]string{
		"plumbline.yaml": world.Settings("workspaces:", "  - dir: c"),
		"c/main.tf":      "terraform {\n  required_version = \">= 1.5\"\n}\n",
	}}})
	n := s.nodes[0]
	// Terraform waits where it is told to.
	bin, gate := t.TempDir(), filepath.Join(t.TempDir(), "wait")
	script := "#!/bin/sh\nif [ \"$1\" = plan ] && [ -e " + gate + " ]; then touch " + gate + ".there; while [ -e " + gate + " ]; do sleep 0.1; done; fi\nexec " + parts.Terraform(t) + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "terraform"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, kv := range s.Environ {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			s.Environ[i] = "PATH=" + bin + string(os.PathListSeparator) + path
		}
	}
	n.kill(t)
	n.startProcess(t)

	pull := s.Open(t, alice, "first", with("c", "1"))
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.Merge(t, forge.Squash)
	s.AwaitVersions(t, map[string]string{"c": "1"})
	s.quiet(t)
	edit := func(version string) {
		t.Helper()
		if err := s.Cloud.EditBucket("c", func(b *toycloud.Bucket) { b.Tags["version"] = version }); err != nil {
			t.Fatal(err)
		}
	}
	n.plumbline(t, "drift", "c")
	edit("2")
	look(t, n)
	var issue int
	s.Await(t, "the issue", func() bool {
		own, err := s.client.OwnIssues(context.Background(), s.Repo)
		if err != nil {
			t.Fatal(err)
		}
		if len(own) == 1 {
			issue = own[0].Number
		}
		return issue > 0
	}, func() string { return s.log.tail(40) })

	changes := func() []forge.Change {
		t.Helper()
		all, err := s.client.Changes(context.Background(), s.Repo, forge.ChangesOptions{OpenOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	answers := func() (n int) {
		for _, c := range s.Forge.Thread(t, s.Repo, issue) {
			if c.Ours && strings.Contains(c.Body, "proposes it") {
				n++
			}
		}
		return n
	}
	path := "/repos/" + s.Repo.String()
	for i, c := range []struct {
		at    string
		fault forgetest.Fault
	}{
		{"a plan", forgetest.Fault{}},
		{"before the push", forgetest.Fault{Method: "POST", Path: "git-receive-pack", Status: 502}},
		{"after the push", forgetest.Fault{Method: "POST", Path: "git-receive-pack"}},
		{"before the pull request", forgetest.Fault{Method: "POST", Path: path + "/pulls", Status: 502}},
		{"after the pull request", forgetest.Fault{Method: "POST", Path: path + "/pulls"}},
		{"before the answer", forgetest.Fault{Method: "POST", Path: "/comments", Status: 502}},
		{"after the answer", forgetest.Fault{Method: "POST", Path: "/comments"}},
	} {
		said := "plumbline adopt"
		if i%2 == 1 {
			said = "plumbline adopt toy_bucket.this"
		}
		for _, left := range changes() { // each time anew
			s.Forge.Close(t, s.Repo, alice, left.Number)
		}
		s.quiet(t)
		answered := answers()
		var killed sync.WaitGroup
		killed.Add(1)
		if c.fault.Method != "" {
			c.fault.Times = 1
			c.fault.Do = func() {
				defer killed.Done()
				_ = n.process.cmd.Process.Kill()
				<-n.process.ended
			}
			s.GitHub.Break(c.fault)
		} else if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.Forge.Comment(t, s.Repo, alice, issue, said)
		if c.fault.Method == "" {
			s.Await(t, "Terraform to plan", func() bool { _, err := os.Stat(gate + ".there"); return err == nil }, func() string { return s.log.tail(40) })
			n.kill(t)
			_ = os.Remove(gate)
			killed.Done()
		}
		killed.Wait()
		n.mu.Lock()
		n.alive = false
		n.mu.Unlock()
		n.startProcess(t)
		s.Await(t, "an answer after a kill at "+c.at, func() bool { return answers() > answered }, func() string { return s.log.tail(60) })
		s.quiet(t)
		if all := changes(); len(all) != 1 || !strings.HasPrefix(all[0].Head.Branch, "plumbline/adopt-") {
			t.Errorf("killed at %s: the pull requests are %+v, want one", c.at, all)
		} else if got := s.GitHub.ReadFile(t, s.Repo, all[0].Head.Branch, "c/main.tf"); !strings.Contains(got, `version = "2"`) {
			t.Errorf("killed at %s: it proposes\n%s", c.at, got)
		}
		if got := answers(); got != answered+1 {
			t.Errorf("killed at %s: there are %d answers, want one more than %d", c.at, got, answered)
		}
	}
	s.checkThread(t, issue)
}

// look has a process look at the workspace c, where something differs.
func look(t *testing.T, n *node) {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "drift", "--config", n.process.config, "c")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, n.environ(), io.Discard, io.Discard
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 2 {
		t.Fatalf("a look: %v, want exit status 2", err)
	}
}
