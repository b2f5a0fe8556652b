// Package api answers in JSON what pages show, for programs: the command line is the first of them.
//
// The life of a request: the catalogue in operations.go says which addresses there are and which parameters each takes; what
// is not there, or is asked for wrongly, is a problem (problem.go) before anybody is asked anything. An operation reads its
// parameters (call.go) and returns the work to do, which is done only if all of them were right. What it returns is written
// as a whole (answer.go), so an answer is never half an error, and has a tag by which whoever asks again learns that nothing
// has changed.
//
// openapi.json describes all of it, and is served; a test holds it against real answers of every operation. Names in it stay:
// what is added is optional to know, and what would break a client gets another version in the address.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/live"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// Header is set in every answer of the API, to Version: without it, something else has answered.
const (
	Header  = "Plumbline-Api"
	Version = "v1"
	root    = "/api/v1"
)

// Views is what the API asks of the database. It is ErrNoSuch of the engine for what there is not or is not in sight,
// and each text that it returns is free of secrets.
type Views interface {
	WorkspacesAfter(ctx context.Context, sight engine.Sight, f engine.WorkspaceFilter, after engine.WorkspacePlace) (engine.WorkspacePart, error)
	Workspace(ctx context.Context, sight engine.Sight, repo engine.RepoID, name, before string) (engine.WorkspaceDetail, error)
	Runs(ctx context.Context, sight engine.Sight, f engine.RunFilter) (engine.RunList, error)
	Run(ctx context.Context, sight engine.Sight, id string) (engine.RunDetail, error)
	Graph(ctx context.Context, sight engine.Sight, repo engine.RepoID) (engine.GraphView, error)
	Drift(ctx context.Context, sight engine.Sight, f engine.DriftFilter) (engine.DriftBoard, error)
	AuditLog(ctx context.Context, sight engine.Sight, f audit.Filter) (engine.AuditView, error)
	VerifyAudit(ctx context.Context, sight engine.Sight) error
	Queue(ctx context.Context, sight engine.Sight) (engine.QueueView, error)
	Standing(ctx context.Context, sight engine.Sight) (engine.Standing, error)
	Repositories(ctx context.Context, sight engine.Sight) ([]engine.Repository, error)
	Request(ctx context.Context, sight engine.Sight, id engine.RequestID) (engine.RequestView, error)
	Preview(ctx context.Context, sight engine.Sight, r engine.Request) (engine.Preview, error)
}

// Engine is what the API asks of the engine.
type Engine interface {
	// Ask writes down what somebody asks for.
	Ask(ctx context.Context, r engine.Request) (engine.RequestID, error)
}

// Options say what the API works with. All but Version are required.
type Options struct {
	Engine Engine
	Views  Views
	// Asker finds out who asks, or why nobody is let in, before anything else.
	Asker func(req *http.Request) (*signin.Asker, *Problem)
	// Outputs bring what runs print.
	Outputs *live.Outputs
	// Version is this binary's.
	Version string
	Log     *slog.Logger
}

// API is the handler of every address of the API.
type API struct {
	Options
	routes []Route
	known  *http.ServeMux // the operations, to tell which methods an address takes
	cross  *http.CrossOriginProtection
}

// Route is what is answered where.
type Route struct {
	Pattern string
	Handler http.Handler
}

// New builds it.
func New(o Options) *API {
	a := &API{Options: o, known: http.NewServeMux(), cross: http.NewCrossOriginProtection()}
	for _, op := range a.operations() {
		r := Route{op.method + " " + root + op.path, a.handler(op)}
		a.routes = append(a.routes, r)
		a.known.Handle(r.Pattern, r.Handler)
	}
	// Every other address below is answered here, too: its errors are problems as all others are.
	a.routes = append(a.routes, Route{"/api/", a.handler(operation{read: a.elsewhere})})
	return a
}

// Routes are all there are.
func (a *API) Routes() []Route { return a.routes }

// operation is one thing that can be asked for.
type operation struct {
	method, path string
	parameters   []string      // those that its query may have
	patience     time.Duration // how long it may take; 0: answerTime
	kind         string        // the type of its answer; "": JSON
	// read reads what was asked for, and returns what there is to do. That is done only if nothing was wrong.
	read func(c *call) work
}

// work does what was asked for; who asks is in the context. It returns a value that becomes JSON, a reply, or a stream.
type work func(ctx context.Context) (any, error)

// reply is an answer with another status than 200.
type reply struct {
	status   int
	location string // where what was made is to be seen; "" for nowhere
	value    any
}

// stream writes an answer of another kind than JSON by itself.
type stream func(w http.ResponseWriter, req *http.Request)

// answerTime is how long an answer may take to be put together.
const answerTime = 15 * time.Second

func (a *API) handler(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set(Header, Version)
		begun := false
		defer func() {
			//nolint:errorlint // a panic's value is what was thrown, never wrapped
			switch reason := recover(); {
			case reason == nil:
			case begun || reason == http.ErrAbortHandler:
				panic(reason)
			default:
				a.Log.Error("a request caused a panic", "route", req.Pattern, "reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
				refuse(w, problem(kindInternal, "The log of the server says what."))
			}
		}()
		value, err := a.ask(req, op)
		if p := a.problemOf(req, err); p != nil {
			refuse(w, p)
			return
		}
		switch value := value.(type) {
		case nil: // whoever asked is gone
		case stream:
			begun = true
			value(w, req)
		default:
			answer(w, req, value)
		}
	}
}

// ask checks all that can be wrong with a request, and then does what it asks for.
func (a *API) ask(req *http.Request, op operation) (any, error) {
	who, p := a.Asker(req)
	if p != nil {
		return nil, p
	}
	if a.cross.Check(req) != nil {
		return nil, problem(kindCrossOrigin, "A page of another origin has sent this request. Programs send no Origin and no Sec-Fetch-Site.")
	}
	c := newCall(req, op)
	do := op.read(c)
	if c.problem != nil {
		return nil, c.problem
	}
	if kind := op.kindOf(); !accepts(req.Header.Values("Accept"), kind) {
		return nil, problem(kindNotAcceptable, "The answer is "+kind+", which the header Accept does not name.")
	}
	patience := op.patience
	if patience == 0 {
		patience = answerTime
	}
	ctx, cancel := context.WithTimeout(signin.With(req.Context(), who), patience)
	defer cancel()
	var err error
	if c.sight, err = who.Sight(ctx); err != nil {
		a.Log.Warn("nobody can be told what they may see", "route", req.Pattern, "error", err)
		return nil, problem(kindUnavailable, "The forge does not say what you may read there. Ask again soon.")
	}
	return do(ctx)
}

func (op operation) kindOf() string {
	if op.kind != "" {
		return op.kind
	}
	return "application/json"
}

// problemOf says what an error is to whoever asked; nil if there is nothing to say or nobody to hear it.
func (a *API) problemOf(req *http.Request, err error) *Problem {
	var p *Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return p
	case errors.Is(err, engine.ErrNoSuch):
		return problem(kindNotFound, "What it was about is not there, or not any more: rows of closed changes are deleted after a while.")
	case errors.Is(err, engine.ErrBusy):
		return problem(kindBusy, "Somebody else has asked for this just now, and it takes a while. Ask again soon.")
	case req.Context().Err() != nil:
		return nil //nolint:nilerr // whoever asked is gone
	}
	a.Log.Error("a request cannot be answered", "route", req.Pattern, "error", err)
	return problem(kindUnavailable, "The database or the plan store does not answer as it should; the log of the server says why.")
}

// elsewhere is what is not in the catalogue: an address that there is not, or another method of one that there is.
func (a *API) elsewhere(c *call) work {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := a.known.Handler(&http.Request{Method: method, URL: c.req.URL, Host: c.req.Host}); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	c.problem = problem(kindNoAddress, "There is nothing at this address. "+root+"/openapi.json describes what there is.")
	if len(allowed) > 0 {
		c.problem = problem(kindMethod, "The header Allow has the methods that this address takes.")
		c.problem.allow = allowed
	}
	return nil
}
