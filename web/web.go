// Package web is what listens on a port: webhooks come in here, and Plumbline shows itself here.
//
// The life of a request: Serve's time limits see that it comes in whole or not at all; the handler that New builds gives
// it a place in the log and in the metrics and catches a panic; a route reads what it needs and asks the engine once. A
// webhook's answer says that the engine has written it down, and the work begins after that.
//
// What stands here decides nothing but who may ask: a webhook must be signed, which the forge's client checks, and the
// pages are for those who sign in (package signin), or for the machine they run on where nobody can. Apart from a filter in its own form, an answer never
// repeats what was sent.
//
// A page is made in three steps: its function reads the address (query.go), asks Views once, and returns a view in which
// every text is short and shows what it is (words.go); a template in pages/ writes that. The script in assets/ adds keys,
// and nothing that reading needs.
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
	"github.com/plumbline-dev/plumbline/web/api"
	"github.com/plumbline-dev/plumbline/web/live"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// Engine is what is asked of the engine.
type Engine interface {
	// Receive writes down what a webhook tells.
	Receive(ctx context.Context, forge string, header http.Header, body []byte) (engine.Receipt, error)
	// Ask writes down what somebody asks for.
	Ask(ctx context.Context, r engine.Request) (engine.RequestID, error)
	// Ready returns why work cannot be done now; several reasons are joined.
	Ready(ctx context.Context) error
}

// Views is what pages ask of the database. It is ErrNoSuch of the engine for what there is not or is not in sight, and each text that it returns
// is free of secrets, but not yet fit for a page.
type Views interface {
	api.Views
	live.Views
	Workspaces(ctx context.Context, sight engine.Sight, f engine.WorkspaceFilter) (engine.WorkspaceList, error)
}

// Options say what the handler works with. Engine, Views and Log are required.
type Options struct {
	Engine Engine
	Views  Views
	// Forges are the names that webhooks are taken for, at /webhook/NAME.
	Forges []string
	// Exposed says that the address which is listened on can be reached from other machines. Without SignIn nobody is shown the
	// pages then. Otherwise they are shown to those who ask from this machine.
	Exposed bool
	// SignIn lets people sign in; nil: nobody can.
	SignIn *signin.Gate
	// Metrics are shown at /metrics and count the requests; nil for none.
	Metrics *telemetry.Metrics
	// MetricsToken is what whoever reads the metrics must show; "": only this machine reads them, where only it reaches the server.
	MetricsToken string
	// Watchers is how many may watch what runs print at once; 0 means 2000.
	Watchers int
	// Version is this binary's, for the pages.
	Version string
	Log     *slog.Logger
	// Now is the clock of the pages; nil means time.Now.
	Now func() time.Time
}

// New builds the handler of everything.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	log := o.Log.With("component", "web")
	hooks := &webhooks{engine: o.Engine, forges: o.Forges, log: log, large: make(chan struct{}, largeBodies)}
	mux, s := http.NewServeMux(), newSite(o, log)
	for _, r := range routes(o, hooks, s) {
		mux.Handle(r.pattern, r.handler)
	}
	return &frame{next: mux, metrics: o.Metrics, log: log, stop: s.outputs.Stop}
}

// route is what is answered where.
type route struct {
	pattern string
	handler http.Handler
}

// Routes are the patterns of all routes, for tests that hold each of them to something.
func Routes() []string {
	var all []string
	for _, r := range routes(Options{}, &webhooks{}, newSite(Options{}, slog.Default())) {
		all = append(all, r.pattern)
	}
	return all
}

// routes are all there are: a test has a row for each.
func routes(o Options, hooks *webhooks, s *site) []route {
	all := []route{
		{"POST /webhook/{forge}", http.HandlerFunc(hooks.serve)},
		{"GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerText(w, http.StatusOK, "alive\n") })},
		{"GET /readyz", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { ready(w, req, o.Engine) })},
		{"GET /metrics", s.private(o.Metrics.Handler())},
		{"GET /{$}", s.page("workspaces", "Workspaces", s.workspaces)},
		{"GET /workspace", s.page("workspace", "Workspace", s.workspace)},
		{"GET /run/{id}", s.page("run", "Run", s.run)},
		{"GET /run/{id}/output", s.guard(s.events)},
		{"GET /run/{id}/output.txt", s.guard(s.text)},
		{"GET /graph", s.page("graph", "Graph", s.graph)},
		{"GET /drift", s.page("drift", "Drift", s.drift)},
		{"GET /audit", s.page("audit", "Audit", s.audit)},
		{"GET /queue", s.page("queue", "Queue", s.queue)},
		{"GET /ask", s.page("ask", "Really?", s.ask)},
		{"POST /ask", s.form(s.doAsk)},
		{"GET /request/{id}", s.page("request", "What was asked for", s.request)},
		{"GET /sign-in", http.HandlerFunc(s.signIn)},
		{"GET /sign-in/{way}", http.HandlerFunc(s.signInStart)},
		{"GET /sign-in/{way}/back", http.HandlerFunc(s.signInBack)},
		{"POST /sign-out", s.leaving(s.signOut)},
		{"GET /tokens", s.page("tokens", "API tokens", s.tokens)},
		{"POST /tokens", s.form(s.makeToken)},
		{"POST /tokens/{id}/revoke", s.form(s.revokeToken)},
		{"GET /style.css", s.asset(asset("text/css; charset=utf-8", style))},
		{"GET /script.js", s.asset(asset("text/javascript; charset=utf-8", script))},
		{"GET /icon.svg", s.asset(asset("image/svg+xml", icon))},
	}
	for _, r := range api.New(api.Options{Engine: o.Engine, Views: o.Views, Outputs: s.outputs, Asker: s.askerOfAPI, Version: o.Version, Log: s.log}).Routes() {
		all = append(all, route{r.Pattern, r.Handler})
	}
	return all
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
	if f, ok := h.(*frame); ok {
		server.RegisterOnShutdown(f.stop) // what has no end would hold it up
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
