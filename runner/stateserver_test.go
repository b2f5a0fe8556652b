package runner_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// stateServer is Terraform's http backend.
type stateServer struct {
	server   *httptest.Server
	mu       sync.Mutex
	state    []byte
	held     []byte
	refusing bool
}

func newStateServer(t *testing.T) *stateServer {
	s := &stateServer{}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

func (s *stateServer) config() string {
	return fmt.Sprintf(`
terraform {
  backend "http" {
    address        = "%[1]s/state"
    lock_address   = "%[1]s/state"
    unlock_address = "%[1]s/state"
    retry_max      = 0
  }
}
`, s.server.URL)
}

func (s *stateServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		if s.state == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(s.state)
	case http.MethodPost:
		if s.refusing {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.state = body
	case "LOCK":
		if s.held != nil {
			w.WriteHeader(http.StatusLocked)
			_, _ = w.Write(s.held)
			return
		}
		s.held = body
	case "UNLOCK":
		s.held = nil
	}
}

// lock has somebody hold the lock of the state.
func (s *stateServer) lock(t testing.TB, id string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		t.Fatalf("it is locked already: %s", s.held)
	}
	s.held = fmt.Appendf(nil, `{"ID":%q,"Who":"someone@elsewhere"}`, id)
}

func (s *stateServer) unlock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = nil
}

// current is the state as it was saved last.
func (s *stateServer) current() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *stateServer) refuse(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = yes
}

func (s *stateServer) close() { s.server.Close() }
