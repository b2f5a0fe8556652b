//go:build postgres

package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// TestDriftOnSeveralServers has three servers that share a database look for drift. Each workspace that is due is looked
// at by one of them, what may be corrected is corrected once, people are told once, and a pause holds on all of them.
func TestDriftOnSeveralServers(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e", "f"}
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	chat := newChat(t)
	s := start(t, options{engines: 3, world: world.Options{Remote: (*world.States).Backend, Patience: 3 * time.Minute, Files: map[string]string{
		"plumbline.yaml": "version: 1\ndefaults:\n  env: [\"TOY_*\"]\n  drift: { every: 7d, correct: { resource: update } }\n" +
			"workspaces:\n  - dir: b\n    drift: { correct: { resource: never } }\n",
	}}, tune: func(o *engine.Options) {
		o.Now, o.Parallel, o.Drift.Correct = now, 2, true
		o.Notify = []*notify.Target{chat.target(t)}
	}})
	shows := func() string { return s.log.tail(40) }
	files := map[string]string{}
	want := map[string]string{}
	for _, name := range names {
		files[name+"/main.tf"] = world.Bucket(s.States.Backend(name), name, "2")
		want[name] = "2"
	}
	pull := s.Open(t, alice, "two", files)
	pull.AwaitStatus(t, "plumbline", forge.Success)
	pull.Merge(t, forge.Squash)
	s.AwaitVersions(t, want)
	// What was just applied is looked at at once.
	s.Await(t, "a first look at each workspace", func() bool {
		return s.count(t, "SELECT COUNT(*) FROM sweep WHERE state = 'clean' AND operation = ''") == len(names)
	}, shows)
	s.quiet(t)

	// Two are changed, of which one may be corrected. A week later all are due at once.
	for _, name := range []string{"a", "b"} {
		if err := s.Cloud.EditBucket(name, func(b *toycloud.Bucket) { b.Tags["version"] = "9" }); err != nil {
			t.Fatal(err)
		}
	}
	due := now().UnixMilli()
	ahead.Add(int64(8 * 24 * time.Hour))
	s.looked(t, due, len(names))
	s.onceEach(t, due, len(names))
	want["b"] = "9"
	s.AwaitVersions(t, want)
	if created, updated, deleted := s.Done(); created != len(names) || updated != 1 || deleted != 0 {
		t.Errorf("made %d, changed %d and deleted %d, want %d made and one correction", created, updated, deleted, len(names))
	}
	if n := s.count(t, "SELECT COUNT(*) FROM correction"); n != 1 {
		t.Errorf("%d corrections are written down, want 1", n)
	}
	issues := func() string {
		own, err := s.client.OwnIssues(t.Context(), s.Repo)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, i := range own {
			all = append(all, fmt.Sprintf("%s, open: %v", i.Title, i.Open))
		}
		return strings.Join(all, "; ")
	}
	told := func() {
		t.Helper()
		s.Await(t, "two issues", func() bool {
			own := issues()
			return strings.Contains(own, "Drift in a, open: false") && strings.Contains(own, "Drift in b, open: true")
		}, issues)
		s.Await(t, "nothing to be left to tell", func() bool {
			return s.count(t, "SELECT COUNT(*) FROM outbox") == 0 && s.count(t, "SELECT COUNT(*) FROM notify_target WHERE owner <> ''") == 0
		}, chat.said)
		if own := issues(); strings.Count(own, "Drift in") != 2 {
			t.Errorf("issues are %s, want one of each", own)
		}
		said := chat.said()
		if strings.Count(said, "a was corrected") != 1 || strings.Count(said, "b has drifted") != 1 || strings.Contains(said, "maybe again") {
			t.Errorf("people were told %q, want each once", said)
		}
	}
	told()

	// The cloud hangs, so that all servers are at it when somebody says stop.
	if err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: []toycloud.Rule{{Latency: time.Minute}}}); err != nil {
		t.Fatal(err)
	}
	due = now().UnixMilli()
	ahead.Add(int64(8 * 24 * time.Hour))
	s.Await(t, "each server to look at something", func() bool {
		return s.count(t, "SELECT COUNT(DISTINCT owner) FROM run WHERE kind = 'drift' AND status = 'running'") == len(s.nodes)
	}, shows)
	log, err := audit.New(audit.Options{Keys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	control := engine.NewDriftControl(s.nodes[0].db, log)
	if err := control.Pause(t.Context(), engine.Pause{Actor: "ann", Reason: "the cloud hangs"}); err != nil {
		t.Fatal(err)
	}
	begun := s.count(t, "SELECT COUNT(*) FROM operation WHERE kind = 'drift'")
	s.Await(t, "all servers to stop", func() bool {
		return s.count(t, "SELECT COUNT(*) FROM run WHERE kind = 'drift' AND status IN ('waiting', 'queued', 'running')") == 0
	}, shows)
	s.mend(t)
	time.Sleep(5 * time.Second) // the servers look every second or two for what is due
	if n := s.count(t, "SELECT COUNT(*) FROM operation WHERE kind = 'drift'"); n != begun {
		t.Errorf("%d looks had begun when it was paused, and %d some seconds later", begun, n)
	}
	answered := fmt.Sprintf("SELECT COUNT(*) FROM run WHERE kind = 'drift' AND status IN ('unchanged', 'drifted') AND ended_at > %d", due)
	if n := s.count(t, answered); n != 0 {
		t.Errorf("%d looks went on after the pause", n)
	}
	if ended, err := control.Resume(t.Context(), engine.Pause{Actor: "ann"}); err != nil || !ended {
		t.Fatalf("resume: %v, %v", ended, err)
	}
	s.looked(t, due, len(names))
	if n := s.count(t, answered); n != len(names) {
		t.Errorf("%d looks came to an answer after the pause, want %d", n, len(names))
	}
	s.quiet(t)
	told()
}

// looked waits until each workspace was looked at since a moment, and sees that none is looked at by two.
func (s *server) looked(t *testing.T, since int64, workspaces int) {
	t.Helper()
	s.Await(t, "a look at each workspace", func() bool {
		if n := s.count(t, `SELECT COUNT(*) FROM (SELECT workspace FROM run WHERE kind = 'drift' AND status IN ('waiting', 'queued', 'running')
			GROUP BY workspace HAVING COUNT(*) > 1) AS twice`); n > 0 {
			t.Fatalf("%d workspaces are looked at by two at the same time", n)
		}
		return s.count(t, fmt.Sprintf("SELECT COUNT(*) FROM sweep WHERE checked_at > %d AND operation = ''", since)) == workspaces
	}, func() string { return s.log.tail(40) })
}

// onceEach sees that there was one look at each workspace since a moment.
func (s *server) onceEach(t *testing.T, since int64, workspaces int) {
	t.Helper()
	all := s.count(t, fmt.Sprintf("SELECT COUNT(*) FROM run WHERE kind = 'drift' AND created_at > %d", since))
	each := s.count(t, fmt.Sprintf("SELECT COUNT(DISTINCT workspace) FROM run WHERE kind = 'drift' AND created_at > %d", since))
	if all != workspaces || each != workspaces {
		t.Errorf("there were %d looks at %d workspaces, want one at each of %d", all, each, workspaces)
	}
}

// chat is where people are told.
type chat struct {
	*httptest.Server
	mu       sync.Mutex
	messages []string
}

func newChat(t *testing.T) *chat {
	c := &chat{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.messages = append(c.messages, body["message"])
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *chat) target(t *testing.T) *notify.Target {
	t.Helper()
	target, err := notify.Open("chat", "generic+"+c.URL+"/room?template=json", notify.Rule{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func (c *chat) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.messages, "\n")
}
