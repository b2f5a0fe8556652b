package planstore

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// stalling answers each request with its part of a text, and goes silent in the middle of the first answers.
func stalling(t *testing.T, text string, stalls int) *httptest.Server {
	t.Helper()
	end := make(chan struct{})
	asked := make(chan struct{}, stalls)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"one"`)
		http.ServeContent(&halving{ResponseWriter: w, stall: func() {
			select {
			case asked <- struct{}{}:
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-end:
				}
				panic(http.ErrAbortHandler)
			default:
			}
		}}, r, "", time.Time{}, strings.NewReader(text))
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(end) })
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-central-1", "AWS_CONFIG_FILE": "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": "", "AWS_MAX_ATTEMPTS": "2", "AWS_ENDPOINT_URL_KMS": s.URL,
	} {
		t.Setenv(name, value)
	}
	return s
}

// halving stalls after half of what is written.
type halving struct {
	http.ResponseWriter
	stall func()
}

func (w *halving) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:len(p)/2])
	w.stall()
	if err != nil {
		return n, err
	}
	m, err := w.ResponseWriter.Write(p[len(p)/2:])
	return n + m, err
}

// TestStalledBodies: where an object stops coming, what is missing is asked for again, and not for ever.
func TestStalledBodies(t *testing.T) {
	text := strings.Repeat("plumbline", 1000)
	for _, c := range []struct {
		stalls int
		whole  bool
	}{{1, true}, {resumptions, true}, {resumptions + 1, false}} {
		s := stalling(t, text, c.stalls)
		u, err := url.Parse("s3://bucket?endpoint=" + s.URL)
		if err != nil {
			t.Fatal(err)
		}
		l, err := parseS3(u)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := openS3(t.Context(), l, 500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			o, err := b.Get(t.Context(), "key", 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer o.Close()
			got, err := io.ReadAll(o)
			if whole := err == nil && string(got) == text; whole != c.whole || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after %d answers that stalled there were %d bytes of %d: %v", c.stalls, len(got), len(text), err)
			}
		}()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("the reading of an answer that stalls does not end")
		}
	}
}

// TestStalledKMS: an answer of KMS that does not come whole is asked for again, and not for ever.
func TestStalledKMS(t *testing.T) {
	stalling(t, "{}{}{}", 100)
	keys, err := openKMS(t.Context(), "alias/x", time.Now, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := keys.generate(t.Context(), &header{})
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("half an answer is taken for a key")
		}
	case <-time.After(time.Minute):
		t.Fatal("the reading of an answer that stalls does not end")
	}
}
