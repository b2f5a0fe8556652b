package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// signInView offers the ways of signing in.
type signInView struct {
	Ways []link
	Who  string // is signed in already
}

// signIn shows the ways of signing in. They are links: a browser would not let a form lead to another site.
func (s *site) signIn(w http.ResponseWriter, req *http.Request) {
	if s.gate == nil {
		s.none(w, req)
		return
	}
	q := newQuery(req)
	to := signin.Local(q.values.Get("to"))
	if q.wrong != "" {
		s.problem(w, req, http.StatusBadRequest, "This address cannot be understood", q.wrong)
		return
	}
	var v signInView
	if a, state, err := s.gate.Asker(req); err == nil && state == signin.SignedIn {
		v.Who = clean(a.Name())
	}
	for _, way := range s.gate.Offered() {
		v.Ways = append(v.Ways, link{clean(way.Name), signInURL("/sign-in/"+url.PathEscape(way.ID), to)})
	}
	s.write(w, req, http.StatusOK, "sign-in", "Sign in", v)
}

func signInURL(path, to string) string {
	if to == "/" {
		to = ""
	}
	return address(path, "to", to)
}

// none is where nobody can sign in.
func (s *site) none(w http.ResponseWriter, req *http.Request) {
	if why := s.hidden(req); why != "" {
		answerText(w, http.StatusForbidden, why+"\n")
		return
	}
	s.problem(w, req.WithContext(signin.With(req.Context(), s.machine)), http.StatusNotFound, "Nobody signs in here", "The pages are for this machine only. Set sign_in in server.yaml to let people sign in.")
}

// signInStart sends a browser to a way of signing in.
func (s *site) signInStart(w http.ResponseWriter, req *http.Request) {
	if s.gate == nil {
		s.none(w, req)
		return
	}
	s.signInFailed(w, req, s.gate.Start(w, req, req.PathValue("way"), newQuery(req).values.Get("to")))
}

// signInBack takes a browser that comes back.
func (s *site) signInBack(w http.ResponseWriter, req *http.Request) {
	if s.gate == nil {
		s.none(w, req)
		return
	}
	if len(req.URL.RawQuery) > maxQuery {
		s.problem(w, req, http.StatusBadRequest, "Not signed in", "The address is too long.")
		return
	}
	to, err := s.gate.Back(w, req, req.PathValue("way"))
	if err == nil {
		http.Redirect(w, req, to, http.StatusSeeOther)
	}
	s.signInFailed(w, req, err)
}

// signInFailed says why somebody is not signed in; nil is nothing.
func (s *site) signInFailed(w http.ResponseWriter, req *http.Request, err error) {
	var wrong *signin.WrongError
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrNoSuch):
		s.problem(w, req, http.StatusNotFound, "There is no such way to sign in", "Sign in as the page of that name offers.")
	case errors.Is(err, signin.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		s.problem(w, req, http.StatusTooManyRequests, "One moment", "There were too many tries to sign in. Try again in a minute.")
	case errors.As(err, &wrong):
		s.problem(w, req, http.StatusBadRequest, "Not signed in", wrong.Why)
	case req.Context().Err() != nil: // whoever asked is gone
	default:
		s.log.Error("somebody cannot sign in", "error", err)
		s.problem(w, req, http.StatusBadGateway, "Not signed in", "The other side did not say who you are; the server's log says more.")
	}
}

// signOut ends the session, and shows where to sign in again.
func (s *site) signOut(w http.ResponseWriter, req *http.Request) {
	if s.gate == nil {
		s.none(w, req)
		return
	}
	if err := s.gate.SignOut(w, req); err != nil {
		s.log.Error("a session cannot be ended", "error", err)
		s.problem(w, req, http.StatusServiceUnavailable, "Not signed out", "The database does not answer as it should. Try again.")
		return
	}
	http.Redirect(w, req, "/sign-in", http.StatusSeeOther)
}

// refuse answers somebody who is not let in to see a page: with where to sign in, if that helps.
func (s *site) refuse(w http.ResponseWriter, req *http.Request, status int, why string) {
	reading := req.Method == http.MethodGet || req.Method == http.MethodHead
	if mode := req.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		// A script asks, such as for what a run prints, again and again. It cannot be led to where one signs in, and each try
		// would count, and leave a cookie.
		reading = false
	}
	switch {
	case s.gate == nil:
		answerText(w, status, why+"\n")
	case status != http.StatusUnauthorized || !reading:
		s.problem(w, req, status, "Not done", why)
	default:
		to := signin.Local(req.URL.RequestURI())
		if a, state, err := s.gate.Asker(req); err == nil && state == signin.Stale && s.gate.Offers(a.WayOf()) {
			http.Redirect(w, req, signInURL("/sign-in/"+url.PathEscape(a.WayOf()), to), http.StatusSeeOther)
			return
		}
		http.Redirect(w, req, signInURL("/sign-in", to), http.StatusSeeOther)
	}
}
