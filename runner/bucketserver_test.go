package runner_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// lockingBackend is a place for a state that can be locked.
type lockingBackend interface{ config() string }

// bucketServer is as much of S3 as Terraform's backend of that name asks for:
// whole objects, and that one is made only when there is none. Its locks say
// whose they are.
type bucketServer struct {
	server  *httptest.Server
	mu      sync.Mutex
	objects map[string][]byte
}

func newBucketServer(t *testing.T) *bucketServer {
	s := &bucketServer{objects: map[string][]byte{}}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

func (s *bucketServer) config() string {
	return fmt.Sprintf(`
terraform {
  backend "s3" {
    bucket                      = "states"
    key                         = "it.tfstate"
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
}
`, s.server.URL)
}

func (s *bucketServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/states/")
	object, known := s.objects[key]
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
	}
	switch {
	case key == "" || key == r.URL.Path:
		fmt.Fprint(w, "<ListBucketResult><Name>states</Name></ListBucketResult>")
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "*" && known:
		fail(http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		s.objects[key] = body
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case !known:
		fail(http.StatusNotFound, "NoSuchKey")
	default:
		sum := md5.Sum(object)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		if r.Method == http.MethodGet {
			_, _ = w.Write(object)
		}
	}
}
