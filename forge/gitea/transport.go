package gitea

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// transport makes an error of each answer that says one, because the SDK drops what some of them say.
type transport struct {
	next   http.RoundTripper
	onCall func(Call)
}

// maxSays is how many bytes of an answer that is an error are read.
const maxSays = 64 << 10

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if t.onCall != nil {
		t.onCall(Call{Method: req.Method, Status: resp.StatusCode, Elapsed: time.Since(start)})
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	refused := &answerError{status: resp.StatusCode, says: http.StatusText(resp.StatusCode)}
	var answer struct {
		Message string `json:"message"`
	}
	// Anything but JSON is a page of a proxy in front of Gitea; the status says enough.
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxSays)).Decode(&answer); err == nil && answer.Message != "" {
		refused.says = strings.Join(strings.Fields(answer.Message), " ")
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		if seconds, err := strconv.Atoi(after); err == nil {
			refused.until = time.Now().Add(time.Duration(seconds) * time.Second)
		} else if at, err := http.ParseTime(after); err == nil {
			refused.until = at
		}
	}
	return nil, refused
}

// answerError is an answer with a status of 400 or more.
type answerError struct {
	status int
	says   string    // Gitea's words, on one line
	until  time.Time // when to try again; zero if not said
}

func (e *answerError) Error() string {
	return fmt.Sprintf("Gitea answered %d: %s", e.status, e.says)
}

// translate turns an error into one of package forge's where a caller must decide by it, and says what was being done.
func translate(doing string, err error) error {
	if err == nil {
		return nil
	}
	var answer *answerError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	// Gitea has no limits of its own; a proxy in front of it may.
	if answer.status == http.StatusTooManyRequests || (answer.status == http.StatusServiceUnavailable && !answer.until.IsZero()) {
		until := answer.until
		if until.IsZero() {
			until = time.Now().Add(time.Minute)
		}
		return &forge.RateLimitError{Doing: doing, Until: until}
	}
	switch answer.status {
	case http.StatusUnauthorized:
		return &forge.NotAllowedError{Doing: doing, Says: answer.says, Fix: "check the token: Gitea does not know it, or it has expired"}
	case http.StatusForbidden:
		fix := ""
		if strings.Contains(answer.says, "scope") {
			fix = "give the token the scopes write:repository, write:issue, read:user and read:organization"
		}
		return &forge.NotAllowedError{Doing: doing, Says: answer.says, Fix: fix}
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%s: %w", doing, forge.ErrNotFound)
	default:
		return fmt.Errorf("%s: %w", doing, answer) // without the URL, which the libraries' text repeats
	}
}

// status is the status code of the answer behind err, or 0.
func status(err error) int {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer.status
	}
	return 0
}
