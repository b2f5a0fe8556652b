package engine_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// TestMain lets the test binary be the toy provider, too.
func TestMain(m *testing.M) {
	if world.IsProvider() {
		os.Exit(world.ServeProvider())
	}
	code := m.Run()
	engine.SuiteEnd()
	os.Exit(code)
}

// options say what a story is played on. The zero value is one engine on the suite's database, GitHub, and webhooks.
type options struct {
	world world.Options
	// host makes the forge and its client; nil for GitHub's stand-in.
	host func(t *testing.T) (world.Forge, engine.Forge)
	// database is the URL of an empty PostgreSQL; "" for what the suite is on.
	database string
	// polling looks every second and gets no webhooks.
	polling bool
	// engines is how many there are, each with a data directory of its own; 0 means 1.
	engines int
	// processes makes each node the real program, `plumbline serve`. Only with GitHub.
	processes bool
	// environ is more of the environment, for processes.
	environ []string
	// config is more of server.yaml, for processes.
	config string
	// poll is how often a process looks by itself; "" for every five seconds.
	poll string
	// tune changes how each engine is set up; not with processes.
	tune func(*engine.Options)
}

// server is a world with engines in it, as `plumbline serve` sets them up.
type server struct {
	*world.World
	opts     options
	client   engine.Forge
	shared   string // directory of what all engines share
	nodes    []*node
	log      *logBuffer
	hub      string     // address that webhooks go to
	canaries []secret   // of this story
	sent     logBuffer  // what all engines sent to GitHub's API, headers excepted
	spans    *collector // where processes send their traces
}

// node is one engine with its data directory. It can be stopped and started again.
type node struct {
	s       *server
	dir     string
	process *process // nil for an engine within the test
	db      *database.DB

	mu    sync.Mutex
	live  *engine.Engine // nil while it is stopped, and of a process
	alive bool           // a process is up, or on its way
	stop  func()
}

const forgeName = "forge"

// start starts a server. When the test ends it is stopped and everything that must be true of any story is checked.
func start(t *testing.T, opts options) *server {
	t.Helper()
	if opts.database == "" {
		opts.database = engine.SuiteURL(t)
	}
	if opts.database != "" && opts.processes {
		own := opts.world.Remote
		opts.world.Remote = func(s *world.States, workspace string) string { // a state on one machine is refused where there may be several
			if own != nil && own(s, workspace) != "" {
				return own(s, workspace)
			}
			return s.Backend(workspace)
		}
	}
	s := &server{opts: opts, shared: t.TempDir(), log: &logBuffer{}}
	if opts.host == nil {
		opts.host = gitHub
	}
	opts.world.Forge, s.client = opts.host(t)
	if g, ok := opts.world.Forge.(*forgetest.GitHub); ok {
		g.OnExchange = func(x forgetest.Exchange) { fmt.Fprintf(&s.sent, "%s %s\n%s\n", x.Method, x.URL, x.Body) }
	}
	if text := os.Getenv("STORY_PATIENCE"); text != "" && opts.world.Patience == 0 {
		opts.world.Patience, _ = time.ParseDuration(text)
	}
	s.World = world.New(t, opts.world)
	s.hub = s.listen(t)
	if opts.processes {
		s.spans = startCollector(t)
	}
	for range max(1, opts.engines) {
		n := &node{s: s, dir: t.TempDir()}
		s.nodes = append(s.nodes, n)
		n.start(t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rows are:\n%s", s.rows(t))
		} else {
			s.check(t)
		}
		for _, n := range s.nodes {
			n.halt()
		}
		s.unsaid(t, s.secrets(t)) // also not on the way out
		if t.Failed() {
			t.Logf("the log ends with:\n%s", s.log.tail(60))
		}
	})
	// An engine that sees a branch for the first time takes it as it is: what is merged after this is applied.
	s.Await(t, "the branch main to be known", func() bool {
		return s.count(t, "SELECT count(*) FROM branch WHERE name = 'main'") == 1
	}, func() string { return s.log.tail(20) })
	if !opts.polling {
		s.Forge.SendWebhooksOf(t, s.Repo, s.hub)
	}
	return s
}

// gitHub is the stand-in for GitHub, with a token.
func gitHub(t *testing.T) (world.Forge, engine.Forge) {
	t.Helper()
	g := forgetest.StartGitHub(t)
	client, err := github.New(github.Options{URL: g.URL, Token: g.Token, WebhookSecret: g.WebhookSecret, Timeout: 10 * time.Second, MaxWait: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return g, client
}

// listen takes in webhooks and hands each to one of the engines that live, in turn.
func (s *server) listen(t *testing.T) string {
	t.Helper()
	turn := 0
	var mu sync.Mutex
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		turn++
		first := turn
		mu.Unlock()
		for i := range s.nodes {
			n := s.nodes[(first+i)%len(s.nodes)]
			n.mu.Lock()
			live, alive := n.live, n.alive
			n.mu.Unlock()
			if alive {
				n.pass(w, r, body)
				return
			}
			if live == nil {
				continue
			}
			if _, err := live.Receive(r.Context(), forgeName, r.Header, body); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusAccepted)
			return
		}
		http.Error(w, "no engine lives", http.StatusServiceUnavailable)
	}))
	t.Cleanup(hub.Close)
	return hub.URL
}

// pass hands a webhook to a process.
func (n *node) pass(w http.ResponseWriter, r *http.Request, body []byte) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+n.process.address+"/webhook/"+forgeName, bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// start opens what an engine needs and runs it, as cmd/plumbline does.
func (n *node) start(t *testing.T) {
	t.Helper()
	if n.s.opts.processes {
		n.startProcess(t)
		return
	}
	db, err := database.Open(context.Background(), database.Options{URL: n.s.opts.database, DataDir: n.dir, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.New(audit.Options{Keys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := terraform.OpenProviderCache(filepath.Join(n.dir, "providers"))
	if err != nil {
		t.Fatal(err)
	}
	opts := engine.Options{
		DB: db, Audit: log, DataDir: n.dir,
		Plans: func(repository string) (*planstore.Store, error) {
			return planstore.Open(context.Background(), planstore.Options{
				Location: filepath.Join(n.s.shared, "plans", repository), KeyFile: filepath.Join(n.s.shared, "plan.key"), Repository: repository,
			})
		},
		Forges: []engine.ForgeOptions{{Name: forgeName, Client: n.s.client, Repos: []string{n.s.Repo.String()}, Poll: time.Minute}},
		Installer: terraform.NewInstaller(terraform.InstallerOptions{
			CacheDir: filepath.Join(n.dir, "terraform"), SearchPath: variable(n.s.Environ, "PATH"),
		}),
		Providers: providers,
		Environ:   n.s.Environ,
		Secrets:   terraform.Secrets(n.s.Environ),
		Shared:    n.s.opts.engines > 1,
		Grace:     time.Minute,
		Log:       slog.New(slog.NewTextHandler(n.s.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", filepath.Base(n.dir)),
	}
	if n.s.opts.polling {
		opts.Forges[0].Poll = time.Second // and not less: the forge counts in seconds
	}
	if n.s.opts.tune != nil {
		n.s.opts.tune(&opts)
	}
	e, err := engine.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live, n.db = e, db
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the engine ended with %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
}

// halt stops an engine as SIGTERM does.
func (n *node) halt() {
	n.mu.Lock()
	n.live, n.alive = nil, false
	n.mu.Unlock()
	n.stop()
}

// restart stops an engine and starts another over the same data directory.
func (n *node) restart(t *testing.T) {
	t.Helper()
	n.halt()
	n.start(t)
}

func variable(environ []string, name string) string {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// read runs a query in the database of the first engine.
func (s *server) read(t *testing.T, fn func(ctx context.Context, tx *sql.Tx) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.nodes[0].db.Read(ctx, func(tx *sql.Tx) error { return fn(ctx, tx) }); err != nil {
		t.Fatal(err)
	}
}

// count returns the number that a query yields.
func (s *server) count(t *testing.T, query string) (n int) {
	t.Helper()
	s.read(t, func(ctx context.Context, tx *sql.Tx) error { return tx.QueryRowContext(ctx, query).Scan(&n) })
	return n
}

// rows shows what the engines know.
func (s *server) rows(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, query := range []string{
		"SELECT received_at, key, status, attempts, next_at, ended_at, problem FROM event ORDER BY received_at",
		"SELECT number, state, head_commit, base_commit, operation, pruned, notice FROM change ORDER BY number",
		"SELECT seq, id, change_number, kind, cause, status, commit_id, created_at, ended_at, told_at FROM operation ORDER BY seq",
		"SELECT operation, id, workspace, kind, status, phase, plan, owner, attempts, created_at, started_at, ended_at FROM run ORDER BY id",
		"SELECT change_number, operation, wanted, told, attempts, next_at, problem FROM report",
	} {
		fmt.Fprintf(&b, "%s\n", query)
		s.read(t, func(ctx context.Context, tx *sql.Tx) error {
			return each(ctx, tx, query, func(row []any) {
				for _, value := range row {
					fmt.Fprintf(&b, "  %v", value)
				}
				b.WriteString("\n")
			})
		})
	}
	return b.String()
}

// quiet waits until there is nothing left to do: each event was dealt with, each operation has ended and was told.
func (s *server) quiet(t *testing.T) {
	t.Helper()
	s.told(t)
	queries := map[string]string{
		"events that wait":       "SELECT count(*) FROM event WHERE status = 'waiting'",
		"operations that run":    "SELECT count(*) FROM operation WHERE status = 'running'",
		"reports that are to do": "SELECT count(*) FROM report WHERE told < wanted",
	}
	left := map[string]int{}
	s.Await(t, "nothing to be left to do", func() bool {
		for range 2 { // an event may become an operation between two queries
			for what, query := range queries {
				if left[what] = s.count(t, query); left[what] > 0 {
					return false
				}
			}
		}
		return true
	}, func() string { return fmt.Sprintf("there are %v", left) })
}

// told waits until the server knows of everything that has happened on the forge.
func (s *server) told(t *testing.T) {
	t.Helper()
	var misses string
	s.Await(t, "the server to know what happened on the forge", func() bool {
		misses = s.misses(t)
		return misses == ""
	}, func() string { return misses + "\n" + s.log.tail(20) })
}

// misses says what the server does not know yet; "" if it knows all.
func (s *server) misses(t *testing.T) string {
	t.Helper()
	ctx := context.Background() // cleanups ask too
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	known := func(query string, args ...any) (n int) {
		t.Helper()
		s.read(t, func(ctx context.Context, tx *sql.Tx) error { return tx.QueryRowContext(ctx, query, args...).Scan(&n) })
		return n
	}
	tip, err := s.client.Branch(ctx, s.Repo, "main")
	must(err)
	if known("SELECT count(*) FROM branch WHERE name = 'main' AND seen = $1", tip) == 0 {
		return "main is at " + tip
	}
	changes, err := s.client.Changes(ctx, s.Repo, forge.ChangesOptions{})
	must(err)
	for _, c := range changes {
		if c.State == forge.Closed && known("SELECT count(*) FROM change WHERE number = $1", c.Number) == 0 {
			continue // opened and closed while nobody looked: there is nothing to know
		}
		draft := 0
		if c.Draft {
			draft = 1
		}
		if known("SELECT count(*) FROM change WHERE number = $1 AND state = $2 AND draft = $3 AND (head_commit = $4 OR state <> 'open')",
			c.Number, string(c.State), draft, c.Head.Commit) == 0 {
			return fmt.Sprintf("the change is %+v", c)
		}
	}
	comments, err := s.client.CommentsSince(ctx, s.Repo, forge.CommentsOptions{})
	must(err)
	for _, c := range comments {
		if _, command := prcomment.CommandLine(c.Body); !command || c.Ours {
			continue
		}
		key := forgeName + " " + forge.CommentEvent(s.Repo, c.Change, c, "").Key
		if known("SELECT count(*) FROM event WHERE key = $1", key) == 0 {
			return fmt.Sprintf("%s said %q", c.Author, c.Body)
		}
	}
	return ""
}

// check holds the server against what is true at the end of every story.
func (s *server) check(t *testing.T) {
	t.Helper()
	s.quiet(t)
	if s.opts.processes {
		s.nodes[0].plumbline(t, "audit", "verify")
	} else {
		s.verify(t)
	}
	if failed := s.count(t, "SELECT count(*) FROM event WHERE status = 'failed'"); failed > 0 {
		t.Errorf("%d events were given up", failed)
	}
	if locked := s.States.Locked(); len(locked) > 0 {
		t.Errorf("state locks are left: %q", locked)
	}
	for _, number := range s.numbers(t) {
		s.checkThread(t, number)
	}
	s.absent(t, s.secrets(t))
}

// verify holds the audit log against its chain.
func (s *server) verify(t *testing.T) {
	t.Helper()
	s.read(t, func(ctx context.Context, tx *sql.Tx) error {
		log, err := audit.New(audit.Options{Keys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
		if err != nil {
			return err
		}
		if _, err := log.Verify(ctx, tx); err != nil {
			t.Errorf("the audit log: %v", err)
		}
		return nil
	})
}

// numbers returns the pull requests that the server knows.
func (s *server) numbers(t *testing.T) (numbers []int) {
	t.Helper()
	s.read(t, func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT number FROM change ORDER BY number")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
		return rows.Err()
	})
	return numbers
}

// checkThread looks for comments that are doubled.
func (s *server) checkThread(t *testing.T, number int) {
	t.Helper()
	seen := map[string]string{}
	for _, c := range s.Forge.Thread(t, s.Repo, number) {
		if !c.Ours {
			continue
		}
		mark, ok := prcomment.ParseMark(c.Body)
		if !ok {
			t.Errorf("comment %s on #%d has no mark:\n%s", c.ID, number, c.Body)
			continue
		}
		id := fmt.Sprintf("%s %s %d", mark.Kind, mark.Key, mark.Page)
		if other := seen[id]; other != "" {
			t.Errorf("comments %s and %s on #%d are both %q", other, c.ID, number, id)
		}
		seen[id] = c.ID
	}
}

// logBuffer is the log of all engines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) copy() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func (l *logBuffer) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(s))
}

func (l *logBuffer) tail(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(strings.TrimSpace(l.b.String()), "\n")
	all = slices.DeleteFunc(all, func(line string) bool { // the queue's
		return strings.Contains(line, "level=DEBUG") && !strings.Contains(line, "event")
	})
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// pages returns our comments of a kind on a pull request.
func pages(t *testing.T, p *world.Pull, kind prcomment.Kind) []forge.Comment {
	t.Helper()
	return slices.DeleteFunc(p.Ours(t), func(c forge.Comment) bool {
		mark, ok := prcomment.ParseMark(c.Body)
		return !ok || mark.Kind != kind
	})
}

// breakBucket makes the cloud refuse to create a bucket, until mend is called.
func (s *server) breakBucket(t *testing.T, name string) {
	t.Helper()
	err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: []toycloud.Rule{
		{Verb: toycloud.Create, Kind: toycloud.Buckets, Object: name, Fault: toycloud.FaultError, Rate: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *server) mend(t *testing.T) {
	t.Helper()
	if err := s.Cloud.SetBehaviour(toycloud.Behaviour{}); err != nil {
		t.Fatal(err)
	}
}

// plans counts the stored plans.
func (s *server) plans(t *testing.T) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.shared, "plans"), func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "/plan/") && strings.HasSuffix(path, ".sealed") {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// state asks the forge how far a pull request has come.
func (s *server) state(t *testing.T, p *world.Pull) forge.State {
	t.Helper()
	c, err := s.client.Change(t.Context(), s.Repo, p.Number)
	if err != nil {
		t.Fatal(err)
	}
	return c.State
}
