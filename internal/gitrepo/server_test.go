package gitrepo_test

import (
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// gitServer serves the repositories below a directory over smart HTTP, by Git's
// own http-backend, and can be told to misbehave.
type gitServer struct {
	*httptest.Server
	password string                            // wanted of "bot", "" for none
	cut      atomic.Int64                      // bytes of a pack after which the connection breaks; 0 for never
	hold     chan struct{}                     // if set, packs wait until it is closed
	held     chan struct{}                     // tells that one waits
	status   atomic.Int64                      // answered to everything, if set
	before   func(r *http.Request) (to string) // redirects there, unless ""
	seen     atomic.Value                      // the last Authorization header
	packs    atomic.Int64                      // how many fetches got to the pack
}

func serveGit(tb testing.TB, root string) *gitServer {
	tb.Helper()
	s := &gitServer{held: make(chan struct{}, 100)}
	s.seen.Store("")
	backend := &cgi.Handler{
		Path: filepath.Join(git(tb, root, "--exec-path"), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Stderr: io.Discard,
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.seen.Store(r.Header.Get("Authorization"))
		if s.before != nil {
			if to := s.before(r); to != "" {
				http.Redirect(w, r, to, http.StatusFound)
				return
			}
		}
		if status := s.status.Load(); status != 0 {
			http.Error(w, "refused", int(status))
			return
		}
		if user, password, _ := r.BasicAuth(); s.password != "" && (user != "bot" || password != s.password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you? Not "+password, http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if strings.HasSuffix(r.URL.Path, "/git-upload-pack") && r.Method == http.MethodPost && strings.Contains(string(body), "command=fetch") {
			s.packs.Add(1)
			limit := s.cut.Load()
			if limit > 0 || s.hold != nil {
				answer := httptest.NewRecorder()
				backend.ServeHTTP(answer, r)
				for k, v := range answer.Header() {
					w.Header()[k] = v
				}
				data := answer.Body.Bytes()
				if limit > 0 {
					data = data[:min(int(limit), len(data))]
				}
				half := len(data) / 2
				_, _ = w.Write(data[:half])
				_ = http.NewResponseController(w).Flush()
				if s.hold != nil {
					s.held <- struct{}{}
					select {
					case <-s.hold:
					case <-r.Context().Done():
					}
				}
				_, _ = w.Write(data[half:])
				if limit > 0 {
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
				return
			}
		}
		backend.ServeHTTP(w, r)
	}))
	tb.Cleanup(s.Close)
	return s
}
