package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// GiteaServer is a running Gitea with an empty SQLite database and one administrator, for one test.
type GiteaServer struct {
	URL string // on loopback, without a slash at the end; serves Git, the API and pages
	// User administers the server. Token may do everything that User may, in the API and as a password for Git.
	User, Password, Token string

	output *lockedBuffer
}

// Gitea starts Gitea v1.26.0 on a free loopback port, over a temporary directory, and stops it when the test ends. It
// delivers webhooks to loopback addresses, at once, and lists at most ten things in one answer, where others list 50.
func Gitea(t testing.TB) *GiteaServer {
	t.Helper()
	part := need(t, "gitea")
	program := filepath.Join(part, "gitea")
	var failures []error
	for range 5 { // a chosen port can be lost to another process before Gitea listens
		address, err := freeAddress()
		if err != nil {
			t.Fatalf("find a free port for Gitea: %v", err)
		}
		server := &GiteaServer{URL: "http://" + address, User: "operator", Password: "operator-test-password", output: new(lockedBuffer)}
		dir := t.TempDir()
		config := filepath.Join(dir, "app.ini")
		if err := os.WriteFile(config, []byte(giteaConfig(part, dir, address)), 0o600); err != nil {
			t.Fatalf("write Gitea's configuration: %v", err)
		}
		gitea := func(args ...string) *exec.Cmd {
			cmd := exec.Command(program, append([]string{"--config", config, "--work-path", dir}, args...)...)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "USER=root", "GIT_CONFIG_NOSYSTEM=1"}
			dieWithParent(cmd)
			return cmd
		}
		if output, err := gitea("migrate").CombinedOutput(); err != nil {
			t.Fatalf("make Gitea's database: %v\n%s", err, output)
		}
		output, err := gitea("admin", "user", "create", "--admin", "--must-change-password=false",
			"--username", server.User, "--password", server.Password, "--email", server.User+"@example.com",
			"--access-token", "--access-token-name", "test", "--access-token-scopes", "all").CombinedOutput()
		token := regexp.MustCompile(`\b[0-9a-f]{40}\b`).Find(output)
		if err != nil || token == nil {
			t.Fatalf("make Gitea's administrator: %v\n%s", err, output)
		}
		server.Token = string(token)

		cmd := gitea("web")
		cmd.Stdout, cmd.Stderr = server.output, server.output
		if err := cmd.Start(); err != nil {
			t.Fatalf("start Gitea: %v", err)
		}
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait() // the reason is in output
			close(exited)
		}()
		stop := func() {
			// Asked to stop, it ends its Git processes first, which would otherwise write into a directory that is being
			// removed.
			_ = cmd.Process.Signal(os.Interrupt) // fails only when it has exited already
			<-exited
		}
		if err := awaitHealth(server.URL+"/api/healthz", exited); err != nil {
			stop()
			failures = append(failures, fmt.Errorf("%w: %s", err, server.output))
			continue
		}
		t.Cleanup(func() {
			stop()
			if t.Failed() {
				t.Logf("Gitea's log:\n%s", server.output)
			}
		})
		return server
	}
	t.Fatalf("start Gitea: %v", failures)
	return nil
}

// Do calls the API as the user named ("" for the administrator), with in as JSON unless it is nil, and reads the answer
// into out unless that is nil. path begins after /api/v1. Any answer but a 2xx fails the test.
func (s *GiteaServer) Do(t testing.TB, user, method, path string, in, out any) {
	t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			t.Fatalf("Gitea: %s %s: %v", method, path, err)
		}
	}
	// Not the test's context, which has ended when its cleanups run.
	request, err := http.NewRequestWithContext(context.Background(), method, s.URL+"/api/v1"+path, &body)
	if err != nil {
		t.Fatalf("Gitea: %s %s: %v", method, path, err)
	}
	request.Header.Set("Authorization", "token "+s.Token)
	request.Header.Set("Content-Type", "application/json")
	if user != "" && user != s.User {
		request.Header.Set("Sudo", user)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("Gitea: %v", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		t.Fatalf("Gitea: %s %s as %q: %s, %v\n%s", method, path, user, response.Status, err, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatalf("Gitea: %s %s answers %s: %v", method, path, answer, err)
		}
	}
}

// AddUser makes a user who may do nothing yet, and returns a token that may do what she may.
func (s *GiteaServer) AddUser(t testing.TB, name string) (token string) {
	t.Helper()
	password := name + "-test-password"
	s.Do(t, "", "POST", "/admin/users", map[string]any{
		"username": name, "email": name + "@example.com", "password": password, "must_change_password": false,
	}, nil)
	var made struct{ Sha1 string }
	request, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v1/users/"+name+"/tokens",
		strings.NewReader(`{"name": "test", "scopes": ["all"]}`))
	if err != nil {
		t.Fatalf("Gitea: make a token for %s: %v", name, err)
	}
	request.SetBasicAuth(name, password) // a token cannot make another one
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("Gitea: make a token for %s: %v", name, err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&made); err != nil || made.Sha1 == "" {
		t.Fatalf("Gitea: make a token for %s: %s, %v", name, response.Status, err)
	}
	return made.Sha1
}

// giteaConfig returns an app.ini for a server that talks to nobody but us.
func giteaConfig(part, dir, address string) string {
	host, port, _ := strings.Cut(address, ":")
	return strings.NewReplacer("{part}", part, "{dir}", dir, "{host}", host, "{port}", port).Replace(`
RUN_MODE = prod
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = {dir}

[server]
HTTP_ADDR = {host}
HTTP_PORT = {port}
ROOT_URL = http://{host}:{port}/
STATIC_ROOT_PATH = {part}
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false

[database]
DB_TYPE = sqlite3
PATH = {dir}/gitea.db
SQLITE_JOURNAL_MODE = WAL

[repository]
ROOT = {dir}/repositories
DEFAULT_BRANCH = main

[git]
HOME_PATH = {dir}/home

[security]
INSTALL_LOCK = true
SECRET_KEY = only-for-tests
PASSWORD_HASH_ALGO = pbkdf2$1000$50

[service]
DISABLE_REGISTRATION = true

[webhook]
ALLOWED_HOST_LIST = loopback

; The default queue, on disk, keeps webhooks waiting for seconds.
[queue]
TYPE = channel

; Small pages, so that a test needs few things to fill several.
[api]
MAX_RESPONSE_ITEMS = 10

[session]
PROVIDER = memory

[indexer]
ISSUE_INDEXER_TYPE = db

; A key that is given need not be made.
[oauth2]
JWT_SIGNING_ALGORITHM = HS256
JWT_SECRET = b25seS1mb3ItdGVzdHMtb25seS1mb3ItdGVzdHMtMDA

[actions]
ENABLED = false

[packages]
ENABLED = false

[cron]
ENABLED = false

[log]
MODE = console
LEVEL = Warn
`)
}
