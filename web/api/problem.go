package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Problem is an error as RFC 9457 has it, https://www.rfc-editor.org/rfc/rfc9457. It never repeats what was sent.
type Problem struct {
	Type   string `json:"type"`  // where the kind of problem is described; what follows # is its name
	Title  string `json:"title"` // of the kind
	Status int    `json:"status"`
	Detail string `json:"detail"` // of this one, and what to do
	// Parameter is the one that is wrong; "" where none is.
	Parameter string `json:"parameter,omitempty"`

	allow []string // methods, for a 405
}

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Kind is the name of the kind of problem.
func (p *Problem) Kind() string { return p.Type[strings.LastIndexByte(p.Type, '#')+1:] }

// problemKind is a kind of problem. docs/api.md has a heading for each.
type problemKind struct {
	name   string
	status int
	title  string
}

// The kinds.
var (
	kindParameter     = problemKind{"invalid-parameter", http.StatusBadRequest, "A parameter is wrong"}
	kindUnknown       = problemKind{"unknown-parameter", http.StatusBadRequest, "There is no such parameter"}
	kindMalformed     = problemKind{"malformed-request", http.StatusBadRequest, "The request cannot be read"}
	kindSignIn        = problemKind{"sign-in", http.StatusUnauthorized, "Nobody is signed in"}
	kindForbidden     = problemKind{"forbidden", http.StatusForbidden, "This may not be asked for"}
	kindCrossOrigin   = problemKind{"cross-origin", http.StatusForbidden, "Another site has asked for this"}
	kindNotFound      = problemKind{"not-found", http.StatusNotFound, "There is no such thing"}
	kindNoAddress     = problemKind{"no-such-address", http.StatusNotFound, "There is no such address"}
	kindMethod        = problemKind{"method-not-allowed", http.StatusMethodNotAllowed, "The address does not take this method"}
	kindNotAcceptable = problemKind{"not-acceptable", http.StatusNotAcceptable, "The answer is of another type"}
	kindReused        = problemKind{"reused-key", http.StatusConflict, "The key was used for something else"}
	kindTooLarge      = problemKind{"too-large", http.StatusRequestEntityTooLarge, "The body is too large"}
	kindTooLong       = problemKind{"too-long", http.StatusRequestURITooLong, "The address is too long"}
	kindMediaType     = problemKind{"media-type", http.StatusUnsupportedMediaType, "The body is of another type"}
	kindBusy          = problemKind{"busy", http.StatusTooManyRequests, "One moment"}
	kindInternal      = problemKind{"internal", http.StatusInternalServerError, "Something went wrong here"}
	kindUnavailable   = problemKind{"unavailable", http.StatusServiceUnavailable, "It cannot be answered now"}
)

// problemDocs is where the kinds are described.
const problemDocs = "https://github.com/plumbline-dev/plumbline/blob/main/docs/api.md#"

func problem(kind problemKind, detail string) *Problem {
	return &Problem{Type: problemDocs + kind.name, Title: kind.title, Status: kind.status, Detail: detail}
}

// SignIn is the problem of whoever must say who they are.
func SignIn(detail string) *Problem { return problem(kindSignIn, detail) }

// Forbidden is the problem of whoever may not ask for this.
func Forbidden(detail string) *Problem { return problem(kindForbidden, detail) }

// TooMany is the problem of whoever asks too often.
func TooMany(detail string) *Problem { return problem(kindBusy, detail) }

// Unavailable is the problem of what may be answered later.
func Unavailable(detail string) *Problem { return problem(kindUnavailable, detail) }

// Refuse answers with a problem, for what stands before the API.
func Refuse(w http.ResponseWriter, p *Problem) {
	w.Header().Set(Header, Version)
	refuse(w, p)
}

// retryAfter is when to ask again, in seconds.
const retryAfter = 10

func refuse(w http.ResponseWriter, p *Problem) {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and a number
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="plumbline"`)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", strings.Join(p.allow, ", "))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(text, '\n')) // a client that is gone by now needs no answer
}
