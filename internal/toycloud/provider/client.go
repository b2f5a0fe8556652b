package provider

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

const (
	defaultRetries = 10
	defaultTimeout = 30 * time.Second

	// longestWait bounds every wait before a retry, whatever Retry-After asks for.
	longestWait = 30 * time.Second

	// dialRetries bounds the retries while nobody listens at the endpoint: most likely it is wrong.
	dialRetries = 3
)

// client speaks the toy cloud's API.
type client struct {
	endpoint *url.URL
	token    string
	retries  int
	timeout  time.Duration // for one attempt
	http     *http.Client
}

// apiError is an answer of the toy cloud that is not what was asked for.
type apiError struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field"`

	after time.Duration // what the cloud asks to wait; 0: it does not say
}

func (e *apiError) Error() string { return e.Message }

// gaveUp is an error that did not go away.
type gaveUp struct {
	attempts int
	err      error
}

func (e *gaveUp) Error() string { return fmt.Sprintf("tried %d times: %v", e.attempts, e.err) }
func (e *gaveUp) Unwrap() error { return e.err }

func (c *client) open(endpoint *url.URL) {
	c.endpoint = endpoint
	c.http = &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute},
		// An API does not redirect; following one would show the token to someone else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// create asks for an object. The key in each creation lets the cloud recognise a repeated one, so that an answer that
// was lost does not lead to a second object.
func (c *client) create(ctx context.Context, kind toycloud.Kind, in, out any) error {
	return c.do(ctx, http.MethodPost, c.url(kind), rand.Text(), in, out)
}

func (c *client) read(ctx context.Context, kind toycloud.Kind, id string, out any) error {
	return c.do(ctx, http.MethodGet, c.url(kind, id), "", nil, out)
}

func (c *client) update(ctx context.Context, kind toycloud.Kind, id string, in, out any) error {
	return c.do(ctx, http.MethodPut, c.url(kind, id), "", in, out)
}

// delete removes an object; one that is gone already is fine.
func (c *client) delete(ctx context.Context, kind toycloud.Kind, id string) error {
	err := c.do(ctx, http.MethodDelete, c.url(kind, id), "", nil, &struct{}{})
	if isMissing(err) {
		return nil
	}
	return err
}

// find reads all objects of a kind that have a name, or all at all if it is empty.
func find[O any](ctx context.Context, c *client, kind toycloud.Kind, name string) ([]O, error) {
	u := c.url(kind)
	u.RawQuery = url.Values{"name": {name}}.Encode()
	var out struct{ Items []O }
	err := c.do(ctx, http.MethodGet, u, "", nil, &out)
	return out.Items, err
}

func (c *client) url(kind toycloud.Kind, id ...string) *url.URL {
	return c.endpoint.JoinPath(append([]string{"v1", string(kind)}, id...)...)
}

// do sends a request until it is answered, refused for good, or has failed too often.
func (c *client) do(ctx context.Context, method string, u *url.URL, key string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
	}
	for attempt := 1; ; attempt++ {
		err := c.try(ctx, method, u, key, body, out)
		if err == nil {
			return nil
		}
		again, wait := retry(err, attempt)
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		if !again {
			return err
		}
		if attempt > c.retries {
			if attempt == 1 {
				return err
			}
			return &gaveUp{attempt, err}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w while waiting to try again after: %w", ctx.Err(), err)
		}
	}
}

func (c *client) try(ctx context.Context, method string, u *url.URL, key string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err // the rest is method and URL
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("there was no answer within %s: %w", c.timeout, err)
	}
	if err != nil {
		return &transportError{err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return &transportError{fmt.Errorf("the answer broke off: %w", err)}
	}
	if resp.StatusCode != http.StatusOK {
		return readError(resp, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("the answer is not what a toy cloud says: %w", err)
	}
	return nil
}

// transportError is a request without a whole answer.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

func readError(resp *http.Response, data []byte) error {
	var body struct{ Error apiError }
	if json.Unmarshal(data, &body) != nil || body.Error.Message == "" {
		body.Error = apiError{Message: "it answers " + resp.Status}
	}
	e := body.Error
	e.Status = resp.StatusCode
	if ms, err := strconv.Atoi(resp.Header.Get("Retry-After-Ms")); err == nil && ms > 0 {
		e.after = time.Duration(ms) * time.Millisecond
	} else if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.after = time.Duration(s) * time.Second
	} else if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		e.after = max(0, time.Until(at))
	}
	return &e
}

// retry says whether a failed attempt is worth another one, and after how long.
func retry(err error, attempt int) (bool, time.Duration) {
	// 0.1 s, 0.2 s, 0.4 s, … up to 5 s, each less a random part so that those who failed together do not come back
	// together.
	wait := min(5*time.Second, 100*time.Millisecond<<min(attempt-1, 6))
	wait -= mathrand.N(wait / 2)

	var api *apiError
	if errors.As(err, &api) {
		switch api.Status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			if api.after > 0 {
				// A little later than asked, and not all at once.
				wait = api.after + mathrand.N(api.after/10+time.Millisecond)
			}
			return true, min(wait, longestWait)
		case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
			return true, wait
		}
		return false, 0
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return attempt <= dialRetries, wait
	}
	var transport *transportError
	return errors.As(err, &transport), wait
}

// isMissing reports whether the cloud says that an object does not exist. A bare status 404 is not enough: it may come
// from something else at a wrong endpoint, and believing it would mean to create everything anew.
func isMissing(err error) bool {
	var api *apiError
	return errors.As(err, &api) && api.Status == http.StatusNotFound && api.Code == "not_found"
}
