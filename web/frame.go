package web

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
)

// frame is around every route: it sets the headers that each answer has, writes the log, counts, and catches panics.
type frame struct {
	next    http.Handler
	metrics *telemetry.Metrics
	log     *slog.Logger
	stop    func() // ends answers that have no end of their own
}

// maxPath is how much of a path gets into the log, in characters.
const maxPath = 120

func (f *frame) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	start := time.Now()
	answer := &answer{ResponseWriter: w}
	secure(w.Header())
	defer func() {
		reason := recover()
		//nolint:errorlint // a panic's value is what was thrown, never wrapped
		if reason != nil && reason != http.ErrAbortHandler {
			f.log.Error("a request caused a panic", "route", req.Pattern, "reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
			if answer.status == 0 {
				answerText(answer, http.StatusInternalServerError, "Something went wrong here; the log says what.\n")
				reason = nil
			}
		}
		f.told(req, answer, time.Since(start))
		if reason != nil {
			// Half an answer must not look like a whole one: net/http breaks off the connection.
			panic(http.ErrAbortHandler)
		}
	}()
	f.next.ServeHTTP(answer, req)
}

// told writes a request into the log and the metrics: of its path a part, and neither its query nor its headers.
func (f *frame) told(req *http.Request, a *answer, took time.Duration) {
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	f.metrics.Answered(req.Pattern, status, took)
	level := slog.LevelDebug
	if status >= 500 && status != http.StatusServiceUnavailable {
		level = slog.LevelError
	}
	f.log.Log(req.Context(), level, "request", "method", forge.Cut(req.Method, 16), "path", forge.Cut(req.URL.Path, maxPath),
		"status", status, "took", took.Round(time.Microsecond), "from", host(req.RemoteAddr))
}

// secure sets what every answer tells a browser: to run and load nothing but what is served here, to send nothing elsewhere,
// to keep nothing.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// answer remembers its status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets net/http reach what is beneath.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// A client that is gone by now needs no answer.
	_, _ = w.Write([]byte(text))
}

// host is an address without its port.
func host(address string) string {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return strings.Trim(address, "[]")
	}
	return name
}
