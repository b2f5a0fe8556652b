package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/database"
)

// binary is the real program, built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "plumbline-built-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "plumbline")
	if out, err := exec.Command("go", "build", "-o", file, "../../cmd/plumbline").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build plumbline: %w\n%s", err, out)
	}
	return file, nil
})

// process is a node that is `plumbline serve` in a process of its own.
type process struct {
	config  string
	address string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// startProcess writes a configuration, once, and starts the program with it. It returns when the program is ready.
func (n *node) startProcess(t testing.TB) {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if n.process == nil {
		n.process = &process{config: filepath.Join(n.dir, "server.yaml"), address: freeAddress(t)}
		poll := "5s"
		if n.s.opts.poll != "" {
			poll = n.s.opts.poll
		}
		database := ""
		if n.s.opts.database != "" {
			database = "${DATABASE_URL}" // it may have a password
		}
		text := fmt.Sprintf(`listen: %s
data_dir: %s
database: %q
plan_store: %s
plan_key_file: %s
parallel: 2
log: { level: debug }
forges:
  - type: github
    name: %s
    url: %s
    token: ${FORGE_TOKEN}
    webhook_secret: ${FORGE_SECRET}
    repos: ["%s/*"]
    poll: %s
`, n.process.address, n.dir, database, filepath.Join(n.s.shared, "plans"), filepath.Join(n.s.shared, "plan.key"),
			forgeName, n.s.GitHub.URL, n.s.Repo.Owner, poll) + n.s.opts.config
		if err := os.WriteFile(n.process.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := n.process
	cmd := exec.Command(program, "serve", "--config", p.config)
	cmd.Dir, cmd.Env = n.dir, n.environ()
	cmd.Stdout, cmd.Stderr = n.s.log, n.s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait() // killed or stopped; the log says more
		close(ended)
	}(p.ended)
	n.mu.Lock()
	n.alive = true
	n.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt) // fails only when it has ended
		<-p.ended
	})
	n.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if answers(p.address) {
			break
		}
		select {
		case <-p.ended:
			t.Fatalf("plumbline serve ended at once:\n%s", n.s.log.tail(30))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("plumbline serve was not ready within a minute:\n%s", n.s.log.tail(30))
		}
	}
	if n.db == nil { // a look from outside, beside the server
		n.db, err = database.Open(context.Background(), database.Options{URL: n.s.opts.database, DataDir: n.dir, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.db.Close() })
	}
}

func (n *node) environ() []string {
	own := slices.Concat(n.s.Environ, n.s.opts.environ)
	return append(own, "OTEL_EXPORTER_OTLP_ENDPOINT="+n.s.spans.URL, "OTEL_BSP_SCHEDULE_DELAY=500", "DATABASE_URL="+n.s.opts.database,
		"FORGE_TOKEN="+n.s.GitHub.Token, "FORGE_SECRET="+n.s.GitHub.WebhookSecret, "PLUMBLINE_CACHE_DIR="+filepath.Join(n.s.shared, "cache"))
}

// kill ends the process as kill -9 does. What it started goes on.
func (n *node) kill(t testing.TB) {
	t.Helper()
	n.mu.Lock()
	n.alive = false
	n.mu.Unlock()
	if err := n.process.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-n.process.ended
}

// plumbline runs another command of the program on the node's configuration.
func (n *node) plumbline(t testing.TB, args ...string) string {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, "--config", n.process.config)...)
	cmd.Dir, cmd.Env = n.dir, n.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("plumbline %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// page gets a page of the process's own.
func (n *node) page(t testing.TB, path string) []byte {
	t.Helper()
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Get("http://" + n.process.address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", path, resp.Status, err)
	}
	return body
}

func answers(address string) bool {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + address + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// freeAddress is an address on loopback that nobody listens on now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
