package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
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
	views     Views
	exposed   bool
	version   string
	now       func() time.Time
	log       *slog.Logger
	templates map[string]*template.Template // by the page's name
}

func newSite(o Options, log *slog.Logger) *site {
	s := &site{views: o.Views, exposed: o.Exposed, version: o.Version, now: o.Now, log: log, templates: map[string]*template.Template{}}
	parts := template.Must(template.ParseFS(pageFiles, "pages/frame.html", "pages/parts.html"))
	for _, name := range []string{"workspaces", "workspace", "run", "graph", "drift", "audit", "queue", "problem"} {
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
		view, err := read(ctx, q)
		if q.wrong != "" { // whatever was made of it
			err = q
		}
		var bad *query
		switch {
		case errors.As(err, &bad):
			s.problem(w, http.StatusBadRequest, "This address cannot be understood", bad.wrong)
		case errors.Is(err, engine.ErrNoSuch):
			s.problem(w, http.StatusNotFound, "There is no such page", "What it was about is not there, or not any more: rows of closed changes are deleted after a while.")
		case errors.Is(err, engine.ErrBusy):
			s.problem(w, http.StatusTooManyRequests, "One moment", "Somebody else has asked for this just now, and it takes a while. Reload the page soon.")
		case req.Context().Err() != nil: // whoever asked is gone
		case err != nil:
			s.log.Error("a page cannot be shown", "page", name, "error", err)
			s.problem(w, http.StatusServiceUnavailable, "The page cannot be shown now", "The database or the plan store does not answer as it should; the log says why.")
		default:
			s.write(w, http.StatusOK, name, title, view)
		}
	})
}

// problemView is a page that says why there is no other one.
type problemView struct{ Title, Text string }

func (s *site) problem(w http.ResponseWriter, status int, title, text string) {
	s.write(w, status, "problem", title, problemView{title, text})
}

func (s *site) write(w http.ResponseWriter, status int, name, title string, view any) {
	if titled, ok := view.(interface{ title() string }); ok {
		title = titled.title()
	}
	now := s.now()
	var text bytes.Buffer
	err := s.templates[name].ExecuteTemplate(&text, "frame.html", frameView{Name: name, Title: title, Version: clean(s.version), Now: at(now, now), Page: view})
	if err != nil {
		s.log.Error("a page cannot be shown", "page", name, "error", err)
		answerText(w, http.StatusInternalServerError, "The page cannot be shown; the log says why.\n")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // a client that is gone by now needs no page
}

// guard keeps pages, and what they load, from those who may not see them.
func (s *site) guard(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if why := s.hidden(req); why != "" {
			answerText(w, http.StatusForbidden, why+"\n")
			return
		}
		next(w, req)
	}
}

// hidden returns why pages are not shown to who asks, or "".
//
// The names and the changes of private repositories stand on them, and nobody can sign in. A request from this machine may
// still be anybody's: a proxy's, or that of a page in a browser here whose name was made to point here.
func (s *site) hidden(req *http.Request) string {
	switch {
	case s.exposed:
		return "The pages have no sign-in, so they are not shown where other machines can reach them. Listen on 127.0.0.1 to see them; webhooks, health and metrics are served here."
	case !loopback(host(req.RemoteAddr)), !loopback(host(req.Host)), forwarded(req.Header):
		return "The pages have no sign-in, so they are shown only to this machine itself, at http://127.0.0.1 or http://localhost and not through a proxy."
	}
	return ""
}

// forwarded reports whether a proxy says that somebody else asks.
func forwarded(h http.Header) bool {
	return slices.ContainsFunc([]string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"},
		func(name string) bool { return len(h[name]) > 0 })
}

func loopback(name string) bool {
	address, _, _ := strings.Cut(name, "%")
	ip := net.ParseIP(address)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}
