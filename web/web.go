// Package web is what listens on a port: webhooks come in here, and Plumbline shows itself here.
//
// The life of a request: Serve's time limits see that it comes in whole or not at all; the handler that New builds gives
// it a place in the log and in the metrics and catches a panic; a route reads what it needs and asks the engine once. A
// webhook's answer says that the engine has written it down, and the work begins after that.
//
// What stands here decides nothing but who may ask: a webhook must be signed, which the forge's client checks, and the
// page is for the machine it runs on, until people can sign in. An answer never repeats what was sent.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Engine is what is asked of the engine.
type Engine interface {
	// Receive writes down what a webhook tells.
	Receive(ctx context.Context, forge string, header http.Header, body []byte) (engine.Receipt, error)
	// Ready returns why work cannot be done now; several reasons are joined.
	Ready(ctx context.Context) error
	// Overview reads what the page shows.
	Overview(ctx context.Context) (engine.Overview, error)
}

// Options say what the handler works with. Engine and Log are required.
type Options struct {
	Engine Engine
	// Forges are the names that webhooks are taken for, at /webhook/NAME.
	Forges []string
	// Exposed says that the address which is listened on can be reached from other machines. Nobody is shown the page
	// then, because it has no sign-in. Otherwise it is shown to those who ask from this machine.
	Exposed bool
	// Metrics are shown at /metrics and count the requests; nil for none.
	Metrics *telemetry.Metrics
	// Version is this binary's, for the page.
	Version string
	Log     *slog.Logger
	// Now is the clock of the page; nil means time.Now.
	Now func() time.Time
}

// New builds the handler of everything.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	log := o.Log.With("component", "web")
	hooks := &webhooks{engine: o.Engine, forges: o.Forges, log: log, large: make(chan struct{}, largeBodies)}
	shown := &page{engine: o.Engine, exposed: o.Exposed, version: o.Version, now: o.Now, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook/{forge}", hooks.serve)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerText(w, http.StatusOK, "alive\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) { ready(w, req, o.Engine) })
	mux.Handle("GET /metrics", o.Metrics.Handler())
	mux.HandleFunc("GET /{$}", shown.serve)
	mux.HandleFunc("GET /style.css", serveStyle)
	return &frame{next: mux, metrics: o.Metrics, log: log}
}

// Time limits and sizes of requests. Forges give a webhook ten seconds.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second // the header and the body
	writeTimeout  = time.Minute      // from the end of the header to the end of the answer
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes
	closeGrace    = 15 * time.Second
)

// Serve serves until ctx ends, then takes no new requests and gives those that are here a few seconds to end. It closes
// the listener.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// What clients do wrong on the wire: noise, unless one looks for it.
		ErrorLog: slog.NewLogLogger(log.With("component", "web").Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-failed // ErrServerClosed
	return err
}
