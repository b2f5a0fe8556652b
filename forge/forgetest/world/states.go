package world

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// States is where states lie that are not on the server's machine, with their locks. Terraform's backend "http" reaches it
// (Backend), which says of a lock that it meets no more than its id, and so does its backend "s3" (Bucket), which says whose
// it is and since when.
// https://developer.hashicorp.com/terraform/language/backend/http
// https://developer.hashicorp.com/terraform/language/backend/s3
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

// Bucket is Backend by way of the backend "s3", whose locks name their holders.
func (s *States) Bucket(name string) string {
	return fmt.Sprintf(`  backend "s3" {
    bucket                      = "states"
    key                         = %q
    region                      = "us-east-1"
    access_key                  = "test"
    secret_key                  = "test"
    use_lockfile                = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
    skip_s3_checksum            = true
    endpoints                   = { s3 = %q }
  }
`, name, s.url)
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
	s.LockAt(name, id, who, time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC))
}

// LockAt is Lock at a moment of one's choice.
func (s *States) LockAt(name, id, who string, at time.Time) {
	info, _ := json.Marshal(map[string]string{ // strings can be encoded
		"ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": who, "Version": "1.11.4", "Created": at.Format(time.RFC3339Nano), "Path": "",
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
	if key, ok := strings.CutPrefix(r.URL.Path, "/states"); ok {
		s.serveObject(w, r, key, body)
		return
	}
	name := r.URL.Path
	if r.Method == http.MethodPost && !s.admit(r, name) {
		return
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

// serveObject is as much of S3 as Terraform asks for: whole objects, and that one is made only when there is none, which
// is how a lock is taken.
func (s *States) serveObject(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	name, isLock := strings.CutSuffix(key, ".tflock")
	if r.Method == http.MethodPut && !isLock && !s.admit(r, name) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := s.states
	if isLock {
		objects = s.locks
	}
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
	}
	object := objects[name]
	switch {
	case name == "" || name == "/":
		fmt.Fprint(w, "<ListBucketResult><Name>states</Name></ListBucketResult>")
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "*" && object != nil:
		fail(http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut && !isLock && s.refuse[name]:
		fail(http.StatusForbidden, "AccessDenied")
	case r.Method == http.MethodPut:
		objects[name] = body
		if !isLock {
			s.saves[name]++
		}
	case r.Method == http.MethodDelete:
		delete(objects, name)
		w.WriteHeader(http.StatusNoContent)
	case object == nil:
		fail(http.StatusNotFound, "NoSuchKey")
	default:
		sum := md5.Sum(object)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(object)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(object)
		}
	}
}

// admit waits while saves of a state are held, and reports whether its sender still waits.
func (s *States) admit(r *http.Request, name string) bool {
	s.mu.Lock()
	gate := s.gates[name]
	s.mu.Unlock()
	if gate == nil {
		return true
	}
	select {
	case <-gate:
		return true
	case <-r.Context().Done():
		return false
	}
}

func lockID(info []byte) string {
	var lock struct{ ID string }
	_ = json.Unmarshal(info, &lock) // what cannot be read has no id
	return lock.ID
}
