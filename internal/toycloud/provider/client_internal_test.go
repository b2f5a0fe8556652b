package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

func TestRetryIsBounded(t *testing.T) {
	throttled := func(after time.Duration) error { return &apiError{Status: 429, after: after} }
	dial := &transportError{&net.OpError{Op: "dial", Err: errors.New("refused")}}
	for _, c := range []struct {
		name     string
		err      error
		attempt  int
		again    bool
		min, max time.Duration
	}{
		{"throttled, asked to wait 2 s", throttled(2 * time.Second), 1, true, 2 * time.Second, 2300 * time.Millisecond},
		{"throttled, asked to wait an hour", throttled(time.Hour), 1, true, longestWait, longestWait},
		{"throttled, asked for nothing", throttled(0), 1, true, 50 * time.Millisecond, 100 * time.Millisecond},
		{"unavailable, asked to wait", &apiError{Status: 503, after: time.Second}, 1, true, time.Second, 1200 * time.Millisecond},
		{"server error, first", &apiError{Status: 500}, 1, true, 50 * time.Millisecond, 100 * time.Millisecond},
		{"server error, third", &apiError{Status: 502}, 3, true, 200 * time.Millisecond, 400 * time.Millisecond},
		{"server error, hundredth", &apiError{Status: 504}, 100, true, 2500 * time.Millisecond, 5 * time.Second},
		{"connection lost", fmt.Errorf("read: %w", &transportError{io.ErrUnexpectedEOF}), 1, true, 50 * time.Millisecond, 100 * time.Millisecond},
		{"nobody listens, at first", dial, dialRetries, true, 0, time.Second},
		{"nobody listens, still", dial, dialRetries + 1, false, 0, time.Minute},
		{"refused", &apiError{Status: 422}, 1, false, 0, 0},
		{"wrong token", &apiError{Status: 401}, 1, false, 0, 0},
		{"missing", &apiError{Status: 404}, 1, false, 0, 0},
		{"no JSON", errors.New("the answer is not JSON"), 1, false, 0, time.Second},
	} {
		for range 20 { // part of a wait is random
			again, wait := retry(c.err, c.attempt)
			if again != c.again || wait < c.min || wait > c.max {
				t.Errorf("%s: retry = %v after %v, want %v after %v to %v", c.name, again, wait, c.again, c.min, c.max)
				break
			}
		}
	}
}

// TestInterruptEndsTheWait would take an hour if the wait were not interrupted.
func TestInterruptEndsTheWait(t *testing.T) {
	cloud, err := toycloud.Serve(t.Context(), toycloud.Options{Behaviour: toycloud.Behaviour{Rules: []toycloud.Rule{
		{Fault: toycloud.FaultThrottle, Rate: 1, RetryAfter: time.Hour},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	endpoint, err := url.Parse(cloud.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{token: cloud.Token, retries: 1000, timeout: time.Minute}
	c.open(endpoint)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- c.read(ctx, toycloud.Buckets, "x", nil) }()
	for cloud.Counters().Throttled == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want that it was cancelled", err)
	}
}
