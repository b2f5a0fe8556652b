package web

import (
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/web/api"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// asker finds out who asks for a page. If nobody is let in, why says so in a sentence, and status is the answer's.
func (s *site) asker(req *http.Request) (a *signin.Asker, status int, why string) {
	if s.gate != nil {
		a, state, err := s.gate.Asker(req)
		switch {
		case err != nil:
			s.log.Error("nobody can be told apart", "error", err)
			return nil, http.StatusServiceUnavailable, "Who you are cannot be found out now; the log says why."
		case state != signin.SignedIn:
			return nil, http.StatusUnauthorized, "Sign in first, or once more."
		}
		return a, 0, ""
	}
	if why := s.hidden(req); why != "" {
		return nil, http.StatusForbidden, why
	}
	return s.machine, 0, ""
}

// guard keeps pages, and what they load, from those who may not see them, and puts who asks into the request's context.
func (s *site) guard(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		a, status, why := s.asker(req)
		if why != "" {
			s.refuse(w, req, status, why)
			return
		}
		next(w, req.WithContext(signin.With(req.Context(), a)))
	}
}

// askerOfAPI is asker for programs, who get a problem instead.
func (s *site) askerOfAPI(req *http.Request) (*signin.Asker, *api.Problem) {
	a, status, why := s.caller(req)
	switch {
	case why == "":
		return a, nil
	case status == http.StatusTooManyRequests:
		return nil, api.TooMany(why)
	case status == http.StatusUnauthorized:
		return nil, api.SignIn(why)
	case status == http.StatusServiceUnavailable:
		return nil, api.Unavailable(why)
	}
	return nil, api.Forbidden(why)
}

// caller finds out who asks for the API: whoever's token a request shows, for it has no cookies. Otherwise it is as asker.
func (s *site) caller(req *http.Request) (a *signin.Asker, status int, why string) {
	if s.gate == nil {
		return s.asker(req)
	}
	a, ok, err := s.gate.Bearer(req)
	switch {
	case !ok:
		return nil, http.StatusUnauthorized, "Show an API token, as Authorization: Bearer TOKEN. The page /tokens makes them."
	case errors.Is(err, signin.ErrTooMany):
		return nil, http.StatusTooManyRequests, "Too many tokens were tried from there. Try again in a minute."
	case errors.Is(err, signin.ErrToken):
		return nil, http.StatusUnauthorized, "The token is not known here, has expired or was revoked."
	case err != nil:
		s.log.Error("nobody can be told apart", "error", err)
		return nil, http.StatusServiceUnavailable, "Who you are cannot be found out now; the log says why."
	}
	return a, 0, ""
}

// asset serves what pages load. Where people can sign in it is for everybody: the page that they do it on needs it.
func (s *site) asset(next http.HandlerFunc) http.HandlerFunc {
	if s.gate != nil {
		return next
	}
	return s.guard(next)
}

// maxForm is how large a form that does something may be, in bytes.
const maxForm = 64 << 10

// form is the guard of what forms do: whoever sends one must have got it from here. The browser's own word for that is
// asked first; the token in the form says it where a browser is silent.
func (s *site) form(next http.HandlerFunc) http.HandlerFunc { return s.guard(s.sentFromHere(next)) }

// leaving is form for signing out. Whoever has signed in too long ago to do anything else may do that: the session would
// stay behind for whoever uses the browser next.
func (s *site) leaving(next http.HandlerFunc) http.HandlerFunc {
	next = s.sentFromHere(next)
	return func(w http.ResponseWriter, req *http.Request) {
		if s.gate != nil {
			if a, state, err := s.gate.Asker(req); err == nil && state == signin.Stale {
				next(w, req.WithContext(signin.With(req.Context(), a)))
				return
			}
		}
		s.guard(next)(w, req)
	}
}

// sentFromHere refuses a form that does not come from a page of this server, made for who asks.
func (s *site) sentFromHere(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		const again = "This form was not sent from a page of this server, or is too old. Go back, reload the page and try again."
		if s.origin.Check(req) != nil {
			s.problem(w, req, http.StatusForbidden, "Not done", again)
			return
		}
		req.Body = http.MaxBytesReader(w, req.Body, maxForm)
		if err := req.ParseForm(); err != nil {
			s.problem(w, req, http.StatusBadRequest, "Not done", "The form cannot be read.")
			return
		}
		if !signin.From(req.Context()).SentForm(req.PostForm.Get(signin.FormField)) {
			s.problem(w, req, http.StatusForbidden, "Not done", again)
			return
		}
		next(w, req)
	}
}

// private keeps the metrics, which count what is done in all repositories, from those who may not read them.
func (s *site) private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch why := s.hidden(req); {
		case s.token != "":
			sent, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
			if subtle.ConstantTimeCompare([]byte(sent), []byte(s.token)) != 1 {
				answerText(w, http.StatusUnauthorized, "The metrics are for whoever shows their token: set authorization in Prometheus.\n")
				return
			}
		case why != "" || s.gate != nil:
			answerText(w, http.StatusForbidden, "The metrics are not shown where others can reach the server. Set metrics: { token: … } in server.yaml to read them.\n")
			return
		}
		next.ServeHTTP(w, req)
	})
}

// hidden returns why pages are not shown to who asks, or "".
//
// The names and the changes of private repositories stand on them, and nobody can sign in. A request from this machine may
// still be anybody's: a proxy's, or that of a page in a browser here whose name was made to point here.
func (s *site) hidden(req *http.Request) string {
	switch {
	case s.exposed:
		return "The pages have no sign-in, so they are not shown where other machines can reach them. Listen on 127.0.0.1 to see them; webhooks and health are served here."
	case !loopback(host(req.RemoteAddr)), !loopback(host(req.Host)), forwarded(req):
		return "The pages have no sign-in, so they are shown only to this machine itself, at http://127.0.0.1 or http://localhost and not through a proxy."
	}
	return ""
}

// forwarded reports whether a proxy asks for somebody else: where it says so, where it speaks HTTP/1.0, as nginx does that was
// told nothing, and no browser and no curl has for decades, or where the browser has opened a page of another name.
func forwarded(req *http.Request) bool {
	if !req.ProtoAtLeast(1, 1) || slices.ContainsFunc([]string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"},
		func(name string) bool { return len(req.Header[name]) > 0 }) {
		return true
	}
	return slices.ContainsFunc(req.Header["Origin"], func(origin string) bool {
		u, err := url.Parse(origin)
		return err != nil || !loopback(u.Hostname())
	})
}

func loopback(name string) bool {
	address, _, _ := strings.Cut(name, "%")
	ip := net.ParseIP(address)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}
