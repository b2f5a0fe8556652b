//go:build postgres

package engine_test

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// TestSeveralServers is a busy day of three processes, `plumbline serve` each, that share a database.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	// A state that lies on one machine is refused where there are several.
	s := start(t, options{engines: 3, processes: true, world: world.Options{Remote: (*world.States).Backend}})
	pulls := s.people(t, func(done int) bool { return done < 9 })
	s.quiet(t)
	for _, p := range pulls {
		if _, there := s.Versions()[p.Branch]; !there {
			p.Say(t, alice, "plumbline apply")
			s.quiet(t)
		}
	}
	for _, p := range pulls {
		if _, there := s.Versions()[p.Branch]; !there {
			t.Errorf("%s was merged and never applied", p.Branch)
		}
	}
	if created, updated, deleted := s.Done(); created != len(s.Versions()) || updated != 0 || deleted != 0 {
		t.Errorf("made %d, changed %d, deleted %d; there are %d", created, updated, deleted, len(s.Versions()))
	}
}

// TestDatabaseIsGone takes the database away for a minute, in the middle of an apply.
func TestDatabaseIsGone(t *testing.T) {
	t.Parallel()
	address, line := lineTo(t, engine.SuiteURL(t))
	s := start(t, options{database: address, tune: func(o *engine.Options) { o.Forges[0].Poll = 5 * time.Second }, world: world.Options{Patience: 5 * time.Minute}})
	first := s.Open(t, alice, "first", with("c", "2"))
	first.AwaitStatus(t, "plumbline", forge.Success)
	s.quiet(t)
	first.Merge(t, forge.Squash)
	s.Await(t, "an apply", func() bool {
		return s.count(t, "SELECT count(*) FROM run WHERE kind = 'apply' AND status = 'running'") > 0 || len(s.Versions()) > 0
	}, func() string { return s.log.tail(30) })
	line.cut()
	second := s.Open(t, alice, "second", with("a", "2"))
	time.Sleep(time.Minute)
	line.mend(t)
	s.AwaitVersions(t, map[string]string{"c": "2"})
	second.AwaitComment(t, "kind=plan", "`a`")
	s.quiet(t)
	if created, updated, _ := s.Done(); created != 1 || updated != 0 {
		t.Errorf("made %d and changed %d, want 1 and 0", created, updated)
	}
}

// line carries connections to a socket, until it is cut.
type line struct {
	from, to string
	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
}

// lineTo returns the address of a database by way of a line that can be cut.
func lineTo(t *testing.T, database string) (string, *line) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	dir, err := os.MkdirTemp("", "line-") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const socket = ".s.PGSQL.5432"
	l := &line{from: filepath.Join(dir, socket), to: filepath.Join(query.Get("host"), socket)}
	l.mend(t)
	t.Cleanup(l.cut)
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	return u.String(), l
}

func (l *line) mend(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("unix", l.from)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.listener = listener
	l.mu.Unlock()
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", l.to)
			if err != nil {
				_ = near.Close()
				continue
			}
			l.mu.Lock()
			l.open = append(l.open, near, far)
			l.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.listener.Close()
	for _, c := range l.open {
		_ = c.Close()
	}
	l.open = nil
}
