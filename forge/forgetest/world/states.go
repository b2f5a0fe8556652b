package world

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// States is a remote backend of the type "http", with locks.
// https://developer.hashicorp.com/terraform/language/backend/http
type States struct {
	url string

	mu     sync.Mutex
	states map[string][]byte
	locks  map[string][]byte // what Terraform says of the lock
	saves  map[string]int
	refuse map[string]bool
	gates  map[string]chan struct{}
}

func startStates(t testing.TB) *States {
	s := &States{states: map[string][]byte{}, locks: map[string][]byte{}, saves: map[string]int{}, refuse: map[string]bool{}, gates: map[string]chan struct{}{}}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		server.CloseClientConnections() // a save that is held would never end
		server.Close()
	})
	s.url = server.URL
	return s
}

// Backend is the block of a configuration whose state is kept here under the name.
func (s *States) Backend(name string) string {
	at := s.url + "/" + name
	return fmt.Sprintf("  backend \"http\" {\n    address        = %q\n    lock_address   = %q\n    unlock_address = %q\n    retry_max      = 0\n  }\n", at, at, at)
}

// Saves is how often a state was saved.
func (s *States) Saves(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saves["/"+name]
}

// Get returns a state; nil if there is none.
func (s *States) Get(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.states["/"+name])
}

// Locked names the states that are locked, sorted.
func (s *States) Locked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for path := range s.locks {
		names = append(names, strings.TrimPrefix(path, "/"))
	}
	slices.Sort(names)
	return names
}

// Lock locks a state as a Terraform with the given id, by the given person.
func (s *States) Lock(name, id, who string) {
	info, _ := json.Marshal(map[string]string{ // strings can be encoded
		"ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": who, "Version": "1.11.4", "Created": "2026-11-21T08:00:00Z", "Path": "",
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locks["/"+name] = info
}

// LockID is the id of the lock on a state, "" for none.
func (s *States) LockID(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return lockID(s.locks["/"+name])
}

// Unlock takes the lock off a state, as an operator does.
func (s *States) Unlock(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.locks, "/"+name)
}

// Refuse makes each save of a state fail, or not.
func (s *States) Refuse(name string, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse["/"+name] = yes
}

// Hold makes each save of a state wait until release is called.
func (s *States) Hold(name string) (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates["/"+name] = gate
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.gates, "/"+name)
		close(gate)
	})
}

func (s *States) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	name := r.URL.Path
	if r.Method == http.MethodPost {
		s.mu.Lock()
		gate := s.gates[name]
		s.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-r.Context().Done():
				return
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		if s.states[name] == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(s.states[name])
	case http.MethodPost:
		if s.refuse[name] {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.states[name] = body
		s.saves[name]++
	case http.MethodDelete:
		delete(s.states, name)
	case "LOCK":
		if held := s.locks[name]; held != nil {
			w.WriteHeader(http.StatusLocked)
			_, _ = w.Write(held)
			return
		}
		s.locks[name] = body
	case "UNLOCK":
		// Without a body it is forced, or by an old Terraform.
		held := s.locks[name]
		if len(body) > 0 && held != nil && lockID(body) != lockID(held) {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write(held)
			return
		}
		delete(s.locks, name)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func lockID(info []byte) string {
	var lock struct{ ID string }
	_ = json.Unmarshal(info, &lock) // what cannot be read has no id
	return lock.ID
}
