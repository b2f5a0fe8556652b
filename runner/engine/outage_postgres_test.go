//go:build postgres

package engine

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/database"
)

// A network that is cut between the engine and its database.
func TestEngineOutlivesItsDatabase(t *testing.T) {
	direct, err := url.Parse(SuiteURL(t))
	if err != nil {
		t.Fatal(err)
	}
	wire := newWire(t, filepath.Join(direct.Query().Get("host"), ".s.PGSQL.5432"))
	through := *direct
	through.RawQuery = url.Values{"host": {wire.dir}, "sslmode": {"disable"}}.Encode()
	e := newEngine(t, database.Options{URL: through.String()}, nil)
	stop := run(t, e)
	w := world(t, e)

	for range 2 {
		wire.cut()
		eventually(t, "it is not ready", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return e.Ready(ctx) != nil
		})
		// A result that comes now is kept when the database is back.
		kept := make(chan error, 1)
		go func() {
			kept <- e.persist(t.Context(), func(tx *sql.Tx) error {
				return w.store.wantReport(context.WithoutCancel(t.Context()), tx, Subject{Repository: "none", Change: 1}, false)
			})
		}()
		time.Sleep(time.Second)
		wire.mend(t)
		eventually(t, "it is ready again", func() bool { return e.Ready(t.Context()) == nil })
		if err := <-kept; err != nil {
			t.Errorf("persist: %v", err)
		}
	}
	// The forge has no such repository: but a worker has taken it.
	key := w.event(1, 1)
	eventually(t, "events are worked", func() bool {
		return text(t, e, "SELECT key FROM event WHERE key = $1 AND attempts > 0", key) != ""
	})
	if err := stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// wire is a socket through which another one is reached, until it is cut.
type wire struct {
	dir, to string
	mu      sync.Mutex
	l       net.Listener
	conns   []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	dir, err := os.MkdirTemp("", "wire") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{dir: dir, to: to}
	t.Cleanup(func() {
		w.cut()
		_ = os.RemoveAll(dir)
	})
	w.mend(t)
	return w
}

func (w *wire) mend(t *testing.T) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(w.dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.l = l
	w.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", w.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
		}
	}()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.l.Close()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}
