package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Sizes of webhooks. GitHub sends none that is larger than 25 MB.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
const (
	maxBody     = 25 << 20 // bytes
	smallBody   = 1 << 20  // bytes
	largeBodies = 8        // how many that are not small may be in memory at once
)

// Patience with what a webhook needs.
const (
	largeWait   = 5 * time.Second
	receiveTime = 30 * time.Second
	retryAfter  = "30" // seconds
)

// webhooks takes in what forges send.
type webhooks struct {
	engine Engine
	forges []string
	log    *slog.Logger
	large  chan struct{} // a slot for each body that is not small
	quiet  quiet
}

// What is wrong with a webhook before the engine sees it.
var (
	errTooLarge = errors.New("body too large")
	errBusy     = errors.New("too many large webhooks at once")
	errSlow     = errors.New("body came too slowly")
	errBroken   = errors.New("body broke off")
	errNoForge  = errors.New("no such forge")
)

func (h *webhooks) serve(w http.ResponseWriter, req *http.Request) {
	name := req.PathValue("forge")
	receipt, err := h.receive(w, req, name)
	if err != nil {
		h.refuse(w, req, name, err)
		return
	}
	answerJSON(w, http.StatusAccepted, map[string]int{"accepted": receipt.Accepted, "known": receipt.Known, "ignored": receipt.Ignored})
	level := slog.LevelInfo
	if receipt.Accepted == 0 {
		level = slog.LevelDebug // our own comments and statuses come back as events
	}
	h.log.Log(req.Context(), level, "webhook", "forge", name, "accepted", receipt.Accepted, "known", receipt.Known, "ignored", receipt.Ignored)
}

func (h *webhooks) receive(w http.ResponseWriter, req *http.Request, name string) (engine.Receipt, error) {
	if !slices.Contains(h.forges, name) {
		return engine.Receipt{}, errNoForge
	}
	body, done, err := h.read(w, req)
	defer done()
	if err != nil {
		return engine.Receipt{}, err
	}
	// A forge that hangs up now has sent everything, and would not send it again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), receiveTime)
	defer cancel()
	return h.engine.Receive(ctx, name, req.Header, body)
}

// read reads a body. Only so many that are not small are kept in memory at once: whoever sends them need not be a forge,
// and the signature can only be checked once a body is here. done must be called when the body is not needed any more.
func (h *webhooks) read(w http.ResponseWriter, req *http.Request) (body []byte, done func(), err error) {
	done = func() {}
	if req.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // and so do not read the rest
		return nil, done, errTooLarge
	}
	from := http.MaxBytesReader(w, req.Body, maxBody)
	var b bytes.Buffer
	if _, err := io.CopyN(&b, from, smallBody); errors.Is(err, io.EOF) {
		return b.Bytes(), done, nil
	} else if err != nil {
		return nil, done, readError(err)
	}
	patience := time.NewTimer(largeWait)
	defer patience.Stop()
	select {
	case h.large <- struct{}{}:
		done = func() { <-h.large }
	case <-patience.C:
		return nil, done, errBusy
	case <-req.Context().Done():
		return nil, done, errBroken
	}
	if _, err := b.ReadFrom(from); err != nil {
		return nil, done, readError(err)
	}
	return b.Bytes(), done, nil
}

func readError(err error) error {
	tooLarge, network := (*http.MaxBytesError)(nil), net.Error(nil)
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.As(err, &network) && network.Timeout():
		return errSlow
	}
	return errBroken
}

// refuse answers a webhook that was not taken. What is said and logged is ours: an error of the forge's client may repeat
// a header.
func (h *webhooks) refuse(w http.ResponseWriter, req *http.Request, name string, err error) {
	status, reason := refusal(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	answerJSON(w, status, map[string]string{"error": reason})
	attrs := []any{"status", status, "reason", reason, "from", host(req.RemoteAddr)}
	if slices.Contains(h.forges, name) {
		attrs = append(attrs, "forge", name)
	}
	if status >= 500 {
		attrs = append(attrs, "error", err)
	}
	// Anybody may send what is refused, as often as they like.
	if logged, unsaid := h.quiet.may(time.Now()); logged {
		if unsaid > 0 {
			attrs = append(attrs, "unsaid", unsaid)
		}
		h.log.Warn("webhook refused", attrs...)
	}
}

// refusal says how a webhook is refused, and why, in words for whoever set it up.
func refusal(err error) (status int, reason string) {
	switch {
	case errors.Is(err, errNoForge):
		return http.StatusNotFound, "webhooks go to /webhook/NAME, with the name of a forge in server.yaml that has a webhook_secret"
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge, "a webhook may have 25 MB"
	case errors.Is(err, errSlow):
		return http.StatusRequestTimeout, "the body took too long to arrive"
	case errors.Is(err, errBroken):
		return http.StatusBadRequest, "the body broke off"
	case errors.Is(err, errBusy):
		return http.StatusServiceUnavailable, "too many large webhooks at once; send it again later"
	case errors.Is(err, forge.ErrSignature):
		return http.StatusUnauthorized, "the signature is missing or wrong; the webhook's secret must be the one of webhook_secret"
	case errors.Is(err, forge.ErrPayload):
		return http.StatusBadRequest, "the payload cannot be read as a webhook of this forge"
	case errors.Is(err, engine.ErrOutside):
		return http.StatusForbidden, "the repository is not in the list of this forge's repos; nothing was done"
	case unavailable(err):
		return http.StatusServiceUnavailable, "it could not be written down; send it again later"
	}
	return http.StatusInternalServerError, "something went wrong here; the log says what"
}

// unavailable reports whether the same webhook may be taken later.
func unavailable(err error) bool {
	for _, cause := range []error{
		database.ErrUnavailable, database.ErrLocked, database.ErrFull, database.ErrReadOnly, database.ErrUnknown,
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // only maps of strings and numbers come here
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that is gone by now needs no answer
}

// maxRefusals is how many refused webhooks are logged in a minute.
const maxRefusals = 60

// quiet keeps a flood out of the log.
type quiet struct {
	mu     sync.Mutex
	since  time.Time
	count  int
	unsaid int
}

// may reports whether one more line may be logged, and how many were not before it.
func (q *quiet) may(now time.Time) (ok bool, unsaid int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if passed := now.Sub(q.since); passed < 0 || passed >= time.Minute {
		q.since, q.count = now, 0
	}
	if q.count >= maxRefusals {
		q.unsaid++
		return false, 0
	}
	q.count++
	unsaid, q.unsaid = q.unsaid, 0
	return true, unsaid
}
