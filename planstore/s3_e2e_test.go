//go:build e2e

package planstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/planstore"
)

// A connection that breaks while a plan is read is told as that: nobody should delete a plan for it.
func TestBrokenConnectionIsNoBrokenPlan(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var allowed atomic.Int64 // bytes of a body before the connection breaks
	allowed.Store(1 << 40)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // it would tell of every break
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.Contains(r.Request.URL.Path, ".sealed") {
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.LimitReader(r.Body, allowed.Load()), r.Body}
		}
		return nil
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)

	s := open(t, planstore.Options{Location: "s3://" + server.Bucket + "?endpoint=" + front.URL})
	p, err := s.Put(t.Context(), planstore.Plan{Workspace: "a"}, bytes.NewReader(randomBytes(100_000)), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{0, 10, 150, 170, 1_000, 20_000, 50_000, 100_000} {
		allowed.Store(n)
		var broken *planstore.BrokenError
		// It goes on three times where a connection broke, which is enough for the last two.
		if err := s.Verify(t.Context(), p.ID); (err == nil) != (n >= 50_000) || errors.As(err, &broken) {
			t.Errorf("verify over a connection that breaks after %d bytes says %v", n, err)
		}
	}
	allowed.Store(1 << 40)
	if err := s.Verify(t.Context(), p.ID); err != nil {
		t.Errorf("verify over a good connection: %v", err)
	}
}

// TestStoreInS3 walks through what users do, in S3.
func TestStoreInS3(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	walkStore(t, func(_ *testing.T, n int) string {
		return fmt.Sprintf("s3://%s/%d?endpoint=%s", server.Bucket, n, server.Endpoint)
	})
}

// TestStoreInS3UnderFaults walks through the same while each request fails twice before it goes through.
func TestStoreInS3UnderFaults(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	faulty := planstore.NewFaultyS3(t, server)
	walkStore(t, func(_ *testing.T, n int) string {
		return fmt.Sprintf("s3://%s/%d?endpoint=%s", server.Bucket, n, faulty.URL)
	})
}
