package github

import (
	"bytes"
	"container/list"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// attempt is the lowest transport: it sends one request once, within the time limit.
type attempt struct {
	next    http.RoundTripper
	timeout time.Duration
	onCall  func(Call)
}

func (a *attempt) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), a.timeout)
	req = req.Clone(ctx)
	// The rate limiter above sends the same request a second time. Its body has been read by then.
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			cancel()
			return nil, err
		}
		req.Body = body
	}
	start := time.Now()
	resp, err := a.next.RoundTrip(req)
	if err != nil {
		cancel()
		return nil, err
	}
	if a.onCall != nil {
		remaining, err := strconv.Atoi(resp.Header.Get("X-RateLimit-Remaining"))
		if err != nil {
			remaining = -1
		}
		a.onCall(Call{
			Method: req.Method, Status: resp.StatusCode, Elapsed: time.Since(start),
			Resource: resp.Header.Get("X-RateLimit-Resource"), Remaining: remaining,
		})
	}
	resp.Body = &cancelOnClose{resp.Body, cancel}
	return resp, nil
}

// cancelOnClose frees the timer of a request when its answer has been read.
type cancelOnClose struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelOnClose) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// bearer adds a token.
type bearer struct {
	next  http.RoundTripper
	token string
}

func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}

// etags remembers answers to GET requests and asks for them again only if they have changed. GitHub does not count an
// answer of 304 against the rate limit.
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
//
// Every answer is still GitHub's own, of this moment: nothing is served without asking.
type etags struct {
	next http.RoundTripper

	mu      sync.Mutex
	entries map[string]*list.Element // by URL and Accept header
	recent  *list.List               // of *answer, the latest used in front
	bytes   int
}

// answer is one remembered answer. It is never changed.
type answer struct {
	key    string
	etag   string
	header http.Header
	body   []byte
}

const (
	maxAnswer  = 1 << 20  // bytes: more than a page of 100 pull requests
	maxAnswers = 32 << 20 // bytes
)

func newETags(next http.RoundTripper) *etags {
	return &etags{next: next, entries: map[string]*list.Element{}, recent: list.New()}
}

func (c *etags) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return c.next.RoundTrip(req)
	}
	key := req.URL.String() + " " + req.Header.Get("Accept")
	known := c.get(key)
	if known != nil {
		req = req.Clone(req.Context())
		req.Header.Set("If-None-Match", known.etag)
	}
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusNotModified && known != nil:
		_ = resp.Body.Close()
		header := known.header.Clone()
		for name, values := range resp.Header { // what is left of the rate limit, and when
			header[name] = values
		}
		header.Set("Content-Length", strconv.Itoa(len(known.body)))
		resp.Status, resp.StatusCode = "200 OK", http.StatusOK
		resp.Header, resp.ContentLength = header, int64(len(known.body))
		resp.Body = io.NopCloser(bytes.NewReader(known.body))
	case resp.StatusCode == http.StatusOK && resp.Header.Get("ETag") != "":
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		c.put(&answer{key: key, etag: resp.Header.Get("ETag"), header: resp.Header.Clone(), body: body})
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	return resp, nil
}

func (c *etags) get(key string) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*answer)
}

func (c *etags) put(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[a.key]; ok {
		c.drop(e)
	}
	if len(a.body) > maxAnswer {
		return
	}
	c.entries[a.key] = c.recent.PushFront(a)
	c.bytes += len(a.body)
	for c.bytes > maxAnswers {
		c.drop(c.recent.Back())
	}
}

func (c *etags) drop(e *list.Element) {
	a := c.recent.Remove(e).(*answer)
	delete(c.entries, a.key)
	c.bytes -= len(a.body)
}
