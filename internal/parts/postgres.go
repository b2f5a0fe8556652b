package parts

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	postgresUser     = "plumbline"
	postgresPassword = "plumbline-test-password"
)

// PostgresServer is a running PostgreSQL server, of one test or of all tests of a package.
type PostgresServer struct {
	dir     string // holds the data directory and the socket
	bin     string // where the server's programs are
	account *account
	process *os.Process
	exited  chan struct{}
	made    atomic.Int64 // databases
}

// Postgres starts a PostgreSQL server and returns the URL of an empty database on it. Both last as long as the test.
func Postgres(t testing.TB) string {
	t.Helper()
	return StartPostgres(t).Database(t)
}

// StartPostgres starts a PostgreSQL server for a test that wants many databases of it. It is stopped, and its files are
// removed, when the test ends.
func StartPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	s, err := RunPostgres()
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// RunPostgres starts a PostgreSQL server with the programs of this machine; it takes about a second. It listens on a
// socket in a temporary directory and on no port. It is for a package whose tests share one, and then TestMain calls
// Stop.
//
// PostgreSQL refuses to run as root: then the user postgres, which every package of it creates, runs it.
func RunPostgres() (*PostgresServer, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	who, err := postgresAccount()
	if err != nil {
		return nil, err
	}
	// Not below t.TempDir, whose parent only its owner may enter. The path must be short: it holds a socket.
	dir, err := os.MkdirTemp("", "plumbline-postgres-")
	if err != nil {
		return nil, fmt.Errorf("make PostgreSQL's directory: %w", err)
	}
	s := &PostgresServer{dir: dir, bin: bin, account: who, exited: make(chan struct{})}
	if err := s.start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *PostgresServer) start() error {
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(postgresPassword+"\n"), 0o600); err != nil {
		return fmt.Errorf("write PostgreSQL's password: %w", err)
	}
	if err := s.account.own(s.dir, password); err != nil {
		return fmt.Errorf("give PostgreSQL its directory: %w", err)
	}
	err := s.run(context.Background(), "initdb", "--pgdata", s.data(), "--no-sync", "--auth", "scram-sha-256", "--username", postgresUser,
		"--pwfile", password, "--encoding", "UTF8", "--no-locale")
	if err != nil {
		return err
	}
	// No test pulls the plug of the machine, so nothing waits for the disk.
	cmd := s.command(context.Background(), "postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "shared_buffers=16MB", "-c", "max_connections=200", "-c", "fsync=off")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	dieWithParent(cmd)
	s.account.become(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.process = cmd.Process
	go func() {
		_ = cmd.Wait() // the reason is in output
		close(s.exited)
	}()
	if err := s.await(s.exited); err != nil {
		// Waiting for the end first, since output is written until then.
		_ = s.process.Kill()
		<-s.exited
		return fmt.Errorf("%w: %s", err, output.String())
	}
	return nil
}

// Stop ends the server, and its sessions, and removes its files.
func (s *PostgresServer) Stop() {
	_ = s.process.Signal(os.Interrupt) // "fast": it does not wait for its clients
	<-s.exited
	_ = os.RemoveAll(s.dir)
}

// Database makes another empty database and returns its URL, which holds a user and a password. Many may ask at once.
func (s *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	return s.make(t)
}

// Copy makes another database with all that one of Database holds, which nobody may be connected to now. It is dropped
// when the test ends.
func (s *PostgresServer) Copy(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("copy a database of PostgreSQL: its URL cannot be read: %v", err)
	}
	made := s.make(t, "--template", strings.TrimPrefix(u.Path, "/"))
	t.Cleanup(func() {
		u, _ := url.Parse(made)
		if err := s.run(context.Background(), "dropdb", "--force", "--host", s.dir, "--username", postgresUser, strings.TrimPrefix(u.Path, "/")); err != nil {
			t.Errorf("drop a database: %v", err)
		}
	})
	return made
}

func (s *PostgresServer) make(t testing.TB, more ...string) string {
	t.Helper()
	name := "test" + strconv.FormatInt(s.made.Add(1), 10)
	args := append([]string{"--host", s.dir, "--username", postgresUser}, more...)
	if err := s.run(t.Context(), "createdb", append(args, name)...); err != nil {
		t.Fatalf("%v", err)
	}
	query := url.Values{"host": {s.dir}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(postgresUser, postgresPassword), Path: "/" + name, RawQuery: query.Encode()}
	return u.String()
}

// await returns once the server accepts connections. A minute is far more than it needs, even on a loaded machine.
func (s *PostgresServer) await(exited <-chan struct{}) error {
	deadline := time.After(time.Minute)
	for {
		cmd := s.command(context.Background(), "pg_isready", "--quiet", "--host", s.dir, "--username", postgresUser)
		if cmd.Run() == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("PostgreSQL ended before it answered")
		case <-deadline:
			return fmt.Errorf("PostgreSQL did not answer within a minute")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

// run runs one of PostgreSQL's programs to its end.
func (s *PostgresServer) run(ctx context.Context, program string, args ...string) error {
	cmd := s.command(ctx, program, args...)
	s.account.become(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, bytes.TrimSpace(out))
	}
	return nil
}

// command has an environment of its own: variables such as PGDATABASE of whoever runs the tests would lead it astray.
func (s *PostgresServer) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + s.bin + string(os.PathListSeparator) + "/usr/bin:/bin", "PGPASSWORD=" + postgresPassword, "LC_ALL=C", "TZ=UTC"}
	return cmd
}

// findPostgres returns the directory of PostgreSQL's programs: that of the initdb on PATH, else the newest of those
// where Debian, Ubuntu, Red Hat and Homebrew put them, which is not on PATH there.
func findPostgres() (string, error) {
	var dirs []string
	if found, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(found); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	var elsewhere []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		elsewhere = append(elsewhere, found...)
	}
	slices.SortFunc(elsewhere, func(a, b string) int { return postgresMajor(b) - postgresMajor(a) })
	for _, dir := range append(dirs, elsewhere...) {
		complete := true
		for _, program := range []string{"initdb", "postgres", "createdb", "dropdb", "pg_isready"} {
			if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
				complete = false
			}
		}
		if complete {
			return dir, nil
		}
	}
	return "", fmt.Errorf("this test needs a PostgreSQL server (15 or newer) on this machine and found none: " +
		"install the package postgresql (Debian, Ubuntu), postgresql-server (Fedora) or postgresql@17 (Homebrew)")
}

// postgresMajor is the version in a directory's name, or 0.
func postgresMajor(dir string) int {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, dir)
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}
