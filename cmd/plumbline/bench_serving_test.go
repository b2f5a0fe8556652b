package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

// serving is `plumbline serve` over a repository of many workspaces, each with three files of the provider
// hashicorp/local.
type serving struct {
	world   *world.World
	binary  string
	dir     string // of the server: its data, and what the workspaces write
	config  string
	address string
	environ []string
	cmd     *exec.Cmd
	ended   chan error
}

// startServing starts a server. It returns when the server knows the workspaces and gets webhooks. settings are more of
// server.yaml.
func startServing(b *testing.B, binary string, n int, settings string) *serving {
	b.Helper()
	return startServingMore(b, binary, n, settings, func(*serving, map[string]string) {}, func(*serving) {})
}

// startServingMore is startServing of a repository that more adds files to, and past gives a history.
func startServingMore(b *testing.B, binary string, n int, settings string, more func(*serving, map[string]string), past func(*serving)) *serving {
	b.Helper()
	s := &serving{binary: binary, dir: b.TempDir(), address: freeAddress(b)}
	s.config = filepath.Join(s.dir, "server.yaml")
	files := s.files(n, 0)
	more(s, files)
	s.world = world.New(b, world.Options{Files: files, Patience: 10 * time.Minute})
	past(s)
	mirror := "TF_CLI_CONFIG_FILE=" + parts.MirrorConfig(b, parts.Mirror(b))
	s.environ = append(slices.DeleteFunc(slices.Clone(s.world.Environ), func(v string) bool { return strings.HasPrefix(v, "TF_CLI_CONFIG_FILE=") }),
		mirror, "FORGE_TOKEN="+s.world.GitHub.Token, "FORGE_SECRET="+s.world.GitHub.WebhookSecret)
	text := fmt.Sprintf(`listen: %s
data_dir: data
log: { level: %s }
%s
forges:
  - type: github
    url: %s
    token: ${FORGE_TOKEN}
    webhook_secret: ${FORGE_SECRET}
    repos: ["%s/*"]
`, s.address, cmp.Or(os.Getenv("PLUMBLINE_BENCH_LOG"), "warn"), settings, s.world.GitHub.URL, s.world.Repo.Owner)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	s.cmd = exec.Command(binary, "serve", "--config", s.config)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.environ, os.Stderr, os.Stderr
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.cmd.Wait() }()
	b.Cleanup(func() { _ = s.cmd.Process.Kill() })
	s.world.Await(b, "the server to be ready", func() bool {
		resp, err := http.Get("http://" + s.address + "/readyz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, func() string { return "" })
	db, err := database.Open(context.Background(), database.Options{DataDir: filepath.Join(s.dir, "data"), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var known int
	s.world.Await(b, "the server to know the workspaces", func() bool {
		err := db.Read(context.Background(), func(tx *sql.Tx) error {
			return tx.QueryRow("SELECT count(*) FROM workspace").Scan(&known)
		})
		if err != nil {
			b.Fatal(err)
		}
		return known >= n
	}, func() string { return fmt.Sprintf("it knows %d", known) })
	s.world.Forge.SendWebhooksOf(b, s.world.Repo, "http://"+s.address+"/webhook/github")
	return s
}

func freeAddress(b testing.TB) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *serving) names(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("ws%05d", i)
	}
	return names
}

// files are n workspaces, all of them other in another version. Where they write does not depend on where they are planned.
func (s *serving) files(n, version int) map[string]string {
	files := map[string]string{}
	for _, name := range s.names(n) {
		files[name+"/main.tf"] = fmt.Sprintf(`
resource "local_file" "file" {
  for_each = toset(["a", "b", "c"])
  filename = "%s/%s-${each.key}.txt"
  content  = "version %d of ${each.key}"
}
`, filepath.Join(s.dir, "out"), name, version)
	}
	return files
}

// awaitPlan waits for the final comment about the newest push.
func (s *serving) awaitPlan(b *testing.B, pull *world.Pull, n int) {
	b.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for ; ; time.Sleep(5 * time.Millisecond) {
		for _, c := range pull.Ours(b) {
			if strings.Contains(c.Body, "kind=plan") && strings.Contains(c.Body, "commit `"+pull.Head[:8]+"`") && strings.Contains(c.Body, "**Plan: "+thousands(3*n)+" to ") {
				return
			}
		}
		if time.Now().After(deadline) {
			b.Fatalf("no final comment within ten minutes; there are %d comments: %+v", len(pull.Ours(b)), pull.Ours(b))
		}
	}
}

// thousands writes a number as comments do.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// deliveries is how many webhooks were sent so far.
func (s *serving) deliveries(b *testing.B) int {
	return len(s.world.GitHub.Deliveries(b, s.world.Repo))
}

// toldAt is when the server was told of a pull request, after so many earlier webhooks.
func (s *serving) toldAt(b *testing.B, earlier int) time.Time {
	b.Helper()
	for _, d := range s.world.GitHub.Deliveries(b, s.world.Repo)[earlier:] {
		if d.Header.Get("X-GitHub-Event") == "pull_request" {
			return d.SentAt
		}
	}
	b.Fatal("no webhook has told of the pull request")
	return time.Time{}
}

// sinceTold is how long ago that was.
func (s *serving) sinceTold(b *testing.B, earlier int) time.Duration {
	b.Helper()
	now := time.Now()
	return now.Sub(s.toldAt(b, earlier))
}

// run runs a command of the program against the server, and wants it to find nothing.
func (s *serving) run(b *testing.B, args ...string) {
	b.Helper()
	cmd := exec.Command(s.binary, args...)
	cmd.Dir, cmd.Env = s.dir, s.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("plumbline %s: %v\n%s", args[0], err, forge.Cut(string(out), 4000))
	}
}

func (s *serving) stop(b *testing.B) {
	b.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		b.Fatal(err)
	}
	if err := <-s.ended; err != nil {
		b.Fatalf("plumbline serve: %v", err)
	}
}

// loop is a checkout in which a shell plans each workspace, as many at once as there are cores.
type loop struct {
	dir     string
	environ []string
}

func newLoop(b *testing.B, s *serving) *loop {
	return &loop{dir: b.TempDir(), environ: s.environ}
}

func (l *loop) write(b *testing.B, files map[string]string) {
	b.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(l.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

func (l *loop) plan(b *testing.B) time.Duration {
	return l.run(b, "terraform init -input=false >init.log && terraform plan -input=false -out=tf.plan >plan.log")
}

func (l *loop) warmPlan(b *testing.B) time.Duration {
	return l.run(b, "terraform plan -input=false >plan.log")
}

func (l *loop) apply(b *testing.B) time.Duration {
	return l.run(b, "terraform apply -input=false tf.plan >apply.log")
}

func (l *loop) run(b *testing.B, command string) time.Duration {
	b.Helper()
	cmd := exec.Command("sh", "-c", fmt.Sprintf(`ls -d */ | xargs -P%d -I{} sh -c 'cd {} && %s'`, runtime.NumCPU(), command))
	cmd.Dir, cmd.Env = l.dir, l.environ
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("loop: %v\n%s", err, forge.Cut(string(out), 4000))
	}
	return time.Since(start)
}
