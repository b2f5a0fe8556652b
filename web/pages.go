package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/live"
	"github.com/plumbline-dev/plumbline/web/signin"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pageTime is how long a page may take to be put together, and verifyTime the verification of the whole audit log.
const (
	pageTime   = 15 * time.Second
	verifyTime = 50 * time.Second
)

// site shows pages. Each is a function that asks Views once and returns what its template writes.
type site struct {
	engine    Engine
	views     Views
	outputs   *live.Outputs
	exposed   bool
	machine   *signin.Asker
	gate      *signin.Gate // nil: nobody can sign in
	token     string       // of the metrics
	origin    *http.CrossOriginProtection
	version   string
	now       func() time.Time
	log       *slog.Logger
	templates map[string]*template.Template // by the page's name
}

func newSite(o Options, log *slog.Logger) *site {
	s := &site{engine: o.Engine, views: o.Views, exposed: o.Exposed, machine: signin.Machine(), gate: o.SignIn, token: o.MetricsToken, origin: http.NewCrossOriginProtection(), version: o.Version, now: o.Now, log: log, templates: map[string]*template.Template{}}
	if s.gate != nil {
		// A proxy may ask in another name than browsers do. What is no origin is told at the start.
		if err := s.origin.AddTrustedOrigin(s.gate.PublicURL); err != nil {
			s.log.Error("the public URL is no origin", "error", err)
		}
	}
	s.outputs = live.New(live.Options{Views: o.Views, State: stateOfRun, Watchers: o.Watchers, Log: log})
	parts := template.Must(template.ParseFS(pageFiles, "pages/frame.html", "pages/parts.html"))
	for _, name := range []string{"workspaces", "workspace", "run", "graph", "drift", "audit", "queue", "ask", "request", "problem", "sign-in", "tokens"} {
		s.templates[name] = template.Must(template.Must(parts.Clone()).ParseFS(pageFiles, "pages/"+name+".html"))
	}
	return s
}

// frameView is what stands around every page.
type frameView struct {
	Name    string // of the page, as the navigation knows it
	Title   string
	Version string
	Now     moment
	Who     string // who asks; "" for nobody, and where nobody can sign in
	Bare    bool   // nobody is signed in: there is nothing to go to
	Form    string // token of forms
	Page    any
}

// page makes a handler of a page: who may see it, how long it may take, and what its errors look like.
func (s *site) page(name, title string, read func(ctx context.Context, q *query) (any, error)) http.HandlerFunc {
	return s.guard(func(w http.ResponseWriter, req *http.Request) {
		q := newQuery(req)
		limit := pageTime
		if q.has("verify") {
			limit = verifyTime
		}
		ctx, cancel := context.WithTimeout(req.Context(), limit)
		defer cancel()
		var ok bool
		if q.sight, ok = s.sight(ctx, w, req, name); !ok {
			return
		}
		view, err := read(ctx, q)
		if q.wrong != "" { // whatever was made of it
			err = q
		}
		if err != nil {
			s.failed(w, req, name, err)
			return
		}
		s.write(w, req, http.StatusOK, name, title, view)
	})
}

// sight is what whoever asks may see. It has answered if that is nothing, or not known.
func (s *site) sight(ctx context.Context, w http.ResponseWriter, req *http.Request, name string) (engine.Sight, bool) {
	who := signin.From(ctx)
	if !who.Some() {
		s.problem(w, req, http.StatusForbidden, "You may see nothing here", "You are signed in, and have no role on this server. Its server.yaml says who has one.")
		return engine.Sight{}, false
	}
	sight, err := who.Sight(ctx)
	if err != nil {
		s.log.Warn("nobody can be told what they may see", "page", name, "error", err)
		s.problem(w, req, http.StatusServiceUnavailable, "What you may see is not known now", "The forge does not say what you may read there. Reload the page soon.")
	}
	return sight, err == nil
}

// failed answers where a page cannot be shown.
func (s *site) failed(w http.ResponseWriter, req *http.Request, name string, err error) {
	var bad *query
	switch {
	case errors.As(err, &bad):
		s.problem(w, req, http.StatusBadRequest, "This address cannot be understood", bad.wrong)
	case errors.Is(err, engine.ErrNoSuch):
		s.problem(w, req, http.StatusNotFound, "There is no such page", "What it was about is not there, or not any more: rows of closed changes are deleted after a while.")
	case errors.Is(err, engine.ErrBusy):
		s.problem(w, req, http.StatusTooManyRequests, "One moment", "Somebody else has asked for this just now, and it takes a while. Reload the page soon.")
	case req.Context().Err() != nil: // whoever asked is gone
	default:
		s.log.Error("a page cannot be shown", "page", name, "error", err)
		s.problem(w, req, http.StatusServiceUnavailable, "The page cannot be shown now", "The database or the plan store does not answer as it should; the log says why.")
	}
}

// problemView is a page that says why there is no other one.
type problemView struct{ Title, Text string }

func (s *site) problem(w http.ResponseWriter, req *http.Request, status int, title, text string) {
	s.write(w, req, status, "problem", title, problemView{title, text})
}

func (s *site) write(w http.ResponseWriter, req *http.Request, status int, name, title string, view any) {
	if titled, ok := view.(interface{ title() string }); ok {
		title = titled.title()
	}
	now := s.now()
	who := signin.From(req.Context())
	frame := frameView{Name: name, Title: title, Version: clean(s.version), Now: at(now, now), Form: who.FormToken(), Page: view}
	if s.gate != nil {
		frame.Who = clean(who.Name())
		frame.Bare = frame.Who == ""
	}
	var text bytes.Buffer
	err := s.templates[name].ExecuteTemplate(&text, "frame.html", frame)
	if err != nil {
		s.log.Error("a page cannot be shown", "page", name, "error", err)
		answerText(w, http.StatusInternalServerError, "The page cannot be shown; the log says why.\n")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // a client that is gone by now needs no page
}
