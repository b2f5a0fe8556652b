package signin

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// flow is one try to sign in. It lies in a cookie of the browser that began it: whoever comes back without did not begin.
type flow struct {
	Way      string `json:"w"`
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	To       string `json:"t"` // where to after
}

// flowTime is how long somebody may take to sign in elsewhere.
const flowTime = 10 * time.Minute

func (g *Gate) way(id string) *way {
	for _, w := range g.ways {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// flowCookie is where a flow lies. Each has its own, so that several windows may sign in at once.
func (g *Gate) flowCookie(state string) string { return g.cookie("-" + state[:8]) }

// Start sends a browser to a way of signing in; to is where it shall be after. The error is engine.ErrNoSuch for a way that
// there is not, ErrTooMany, or that the way does not answer.
func (g *Gate) Start(rw http.ResponseWriter, req *http.Request, id, to string) error {
	w := g.way(id)
	if w == nil {
		return engine.ErrNoSuch
	}
	if !g.limits.allow(req) {
		return ErrTooMany
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(req.Context(), w.client), 2*providerTime)
	defer cancel()
	c, err := w.config(ctx)
	if err != nil {
		return err
	}
	f := flow{Way: id, State: secret(), Verifier: oauth2.GenerateVerifier(), To: Local(to)}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier)}
	if w.Kind == OIDC {
		f.Nonce = secret()
		options = append(options, oidc.Nonce(f.Nonce))
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	g.dropFlows(rw, req)
	g.setCookie(rw, g.flowCookie(f.State), base64.RawURLEncoding.EncodeToString(text), flowTime)
	http.Redirect(rw, req, c.AuthCodeURL(f.State, options...), http.StatusSeeOther)
	return nil
}

// mostFlows is how many tries to sign in a browser may have begun. More of their cookies would crowd out others, and in the
// end make every request too large.
const mostFlows = 10

// dropFlows gives up tries that were begun, where there are too many.
func (g *Gate) dropFlows(rw http.ResponseWriter, req *http.Request) {
	var begun []string
	for _, c := range req.Cookies() {
		if strings.HasPrefix(c.Name, g.cookie("-")) && len(c.Name) == len(g.cookie("-"))+8 {
			begun = append(begun, c.Name)
		}
	}
	if len(begun) < mostFlows {
		return
	}
	for _, name := range begun[:len(begun)-mostFlows+1] {
		g.setCookie(rw, name, "", 0)
	}
}

// Back takes a browser that comes back from a way of signing in, and says where it shall go. The error is engine.ErrNoSuch,
// ErrTooMany, *WrongError, or one for the log.
func (g *Gate) Back(rw http.ResponseWriter, req *http.Request, id string) (to string, err error) {
	w := g.way(id)
	if w == nil {
		return "", engine.ErrNoSuch
	}
	query := req.URL.Query()
	f, ok := g.flow(rw, req, query.Get("state"))
	switch {
	case !ok || f.Way != id:
		return "", &WrongError{"This sign-in was not begun in this browser, or it took too long. Sign in again, at " + g.PublicURL + "."}
	case query.Get("error") != "":
		return "", &WrongError{"The sign-in was refused or given up on the other side."}
	case query.Get("code") == "":
		return "", &WrongError{"The other side has sent you back without a word on who you are."}
	case !g.limits.allow(req):
		return "", ErrTooMany
	}
	ctx, cancel := context.WithTimeout(req.Context(), 3*providerTime)
	defer cancel()
	p, err := w.person(ctx, query.Get("code"), f)
	if err != nil {
		return "", err
	}
	value, err := g.begin(ctx, p, id, g.sent(req))
	if err != nil {
		return "", err
	}
	g.setCookie(rw, g.cookie(""), value, g.Absolute)
	return Local(f.To), nil
}

// flow takes the flow of a state out of the browser: it is good for one try.
func (g *Gate) flow(rw http.ResponseWriter, req *http.Request, state string) (f flow, ok bool) {
	if len(state) != 43 {
		return flow{}, false
	}
	for _, c := range state[:8] { // it becomes part of a name
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return flow{}, false
		}
	}
	name := g.flowCookie(state)
	c, err := req.Cookie(name)
	if err != nil {
		return flow{}, false
	}
	g.setCookie(rw, name, "", 0)
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || json.Unmarshal(text, &f) != nil {
		return flow{}, false
	}
	return f, subtle.ConstantTimeCompare([]byte(f.State), []byte(state)) == 1
}

// SignOut ends the session of a request, and takes its cookie.
func (g *Gate) SignOut(rw http.ResponseWriter, req *http.Request) error {
	g.setCookie(rw, g.cookie(""), "", 0)
	return g.end(req.Context(), g.sent(req))
}

// Offers reports whether there is a way of signing in of an id.
func (g *Gate) Offers(id string) bool { return g.way(id) != nil }

// Offered are the ways of signing in, for a page.
func (g *Gate) Offered() []Way { return g.Ways }

// WayOf is the way by which somebody has signed in.
func (a *Asker) WayOf() string {
	for i, c := range a.person.ID {
		if c == ':' {
			return a.person.ID[:i]
		}
	}
	return ""
}
