package engine

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// A request is what a comment's command is, asked for on a page or through the API. It is a row, so that it is not lost and
// can be asked after, and an event of the engine's own works it: in the order of its change's events, one at a time, tried
// again as they are, by the code that works the same command of a comment.

// RequestID names a request; ids sort by time.
type RequestID string

// Action is what a request asks for.
type Action string

// The actions.
const (
	ActPlan    Action = "plan"    // of a change, or of some of its workspaces
	ActApply   Action = "apply"   // likewise
	ActUnlock  Action = "unlock"  // likewise
	ActDrift   Action = "drift"   // look for drift in a workspace now
	ActCorrect Action = "correct" // look, and correct what plumbline.yaml allows
	ActPause   Action = "pause"   // look for no drift in a workspace, a repository or anywhere
	ActResume  Action = "resume"  // end exactly that pause
	ActRetry   Action = "retry"   // work at once what waits to be tried again
)

// Actions are all of them.
func Actions() []Action {
	return []Action{ActPlan, ActApply, ActUnlock, ActDrift, ActCorrect, ActPause, ActResume, ActRetry}
}

// OfChange reports whether an action is one of a change.
func (a Action) OfChange() bool { return a == ActPlan || a == ActApply || a == ActUnlock }

// Request is what somebody asks for. Who may ask is decided in two places: whoever calls Ask has seen to the asker's role,
// and the engine asks the forge for their permission when it works the request.
type Request struct {
	Action     Action `json:"action"`
	Repository RepoID `json:"repository,omitempty"` // "" for a pause of everything
	Change     int    `json:"change,omitempty"`     // of plan, apply and unlock
	// Workspaces are those of the change; none for all. Of what is about drift it is the one; none to pause or resume all of
	// the repository.
	Workspaces []string  `json:"workspaces,omitempty"`
	Addresses  []string  `json:"addresses,omitempty"` // of correct; none for all
	Until      time.Time `json:"until,omitzero"`      // of pause; zero until it is resumed
	Reason     string    `json:"reason,omitempty"`    // of pause
	// Seen maps workspaces to the ids of the plans that the asker was shown right before, of apply: another plan is not
	// applied. nil where they were shown none.
	Seen map[string]string `json:"seen,omitzero"`
	// What is to be tried again, of retry: an event by its key, or the report of the change, or of the operation of a push.
	Event     string `json:"event,omitempty"`
	Report    bool   `json:"report,omitempty"`
	Operation string `json:"operation,omitempty"`

	// Nonce tells the requests of one asker apart: the same one asks once. "" is always another.
	Nonce string `json:"-"`
	By    Asker  `json:"-"`
}

// Asker is who asks.
type Asker struct {
	ID    string // of the person, the same at each request
	Name  string // as the audit log is to tell it where there is no login
	Login string // on the forge of the request's repository; "" for who has none there
	Via   string // ViaWeb or ViaAPI
	// Own says that it is whoever sits at the server's own machine, where nobody signs in: they may do what the command line
	// may.
	Own bool
	// Everywhere says that they may do what concerns all repositories.
	Everywhere bool
}

// Where requests come from.
const (
	ViaWeb = "web"
	ViaAPI = "api"
)

// RequestState is how far a request has come.
type RequestState string

// The states of a request.
const (
	RequestWaiting RequestState = "waiting"
	RequestTaken   RequestState = "taken"   // it was done, or runs were made that do it
	RequestRefused RequestState = "refused" // by a rule
	RequestFailed  RequestState = "failed"  // it could not be worked
)

// MisaskedError says what is wrong with a request.
type MisaskedError struct{ Why string }

func (m *MisaskedError) Error() string { return m.Why }

// ErrOtherRequest is when a nonce is used again for another request.
var ErrOtherRequest = errors.New("something else was asked for with this key before")

// Limits of a request.
const (
	mostAsked  = 50  // workspaces, addresses
	longestAsk = 500 // bytes of a name, an address, a reason
)

// check is what is wrong with a request as such.
func (r *Request) check() error {
	wrong := func(format string, args ...any) error { return &MisaskedError{fmt.Sprintf(format, args...)} }
	switch r.Action {
	case ActPlan, ActApply, ActUnlock:
		if r.Repository == "" || r.Change <= 0 {
			return wrong("%s takes the pull request that it is about.", r.Action)
		}
	case ActDrift, ActCorrect:
		if r.Repository == "" || len(r.Workspaces) != 1 {
			return wrong("%s takes one workspace.", r.Action)
		}
	case ActPause, ActResume:
		if len(r.Workspaces) > 1 || r.Repository == "" && len(r.Workspaces) > 0 {
			return wrong("%s takes one workspace, a repository, or neither for everything.", r.Action)
		}
	case ActRetry:
		if r.Repository == "" || r.Report == (r.Event != "") {
			return wrong("retry takes an event or a report that waits.")
		}
	default:
		return wrong("There is no such action.")
	}
	if r.Change != 0 && !r.Action.OfChange() && r.Action != ActRetry || len(r.Addresses) > 0 && r.Action != ActCorrect ||
		(r.Reason != "" || !r.Until.IsZero()) && r.Action != ActPause || r.Seen != nil && r.Action != ActApply {
		return wrong("%s does not take that.", r.Action)
	}
	if len(r.Workspaces) > mostAsked || len(r.Addresses) > mostAsked {
		return wrong("That is more than %d; leave them out to mean all.", mostAsked)
	}
	texts := append([]string{r.Reason, r.Nonce, r.Event, r.Operation}, r.Workspaces...)
	for _, text := range append(texts, r.Addresses...) {
		if len(text) > longestAsk || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return wrong("One of the texts is too long, or is no text.")
		}
	}
	return nil
}

// digest tells two requests apart. What was seen is not of it: a form that was loaded again asks for the same.
func (r Request) digest() (string, error) {
	r.Seen = nil
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("pack a request: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// requested works a request.
func (h *errand) requested(ctx context.Context, id RequestID) error {
	row, known, err := h.readRequest(ctx, id)
	if err != nil {
		return err
	}
	if !known || row.State != RequestWaiting {
		return &overError{"the request is over"}
	}
	h.asker = &visitor{request: row}
	verb, ours := prcomment.Verb(row.Action), h.own(ctx)
	if row.Action.OfChange() {
		cmd := prcomment.Command{Verb: verb, Workspaces: row.Workspaces}
		if ours != nil {
			var change ChangeRow
			change.Number = row.Change
			return h.refused(ctx, change, cmd, ours)
		}
		return h.obey(ctx, cmd, nil)
	}
	p := &plea{errand: h, cmd: prcomment.IssueCommand{Verb: verb, Addresses: row.Addresses, Until: row.Until, Reason: row.Reason}}
	if len(row.Workspaces) > 0 {
		p.workspace = row.Workspaces[0]
	}
	switch {
	case ours != nil:
		return p.refused(ctx, ours)
	case p.workspace == "":
		return p.refused(ctx, p.wholeRepository(ctx))
	}
	return p.obey(ctx, nil)
}

// own is a refusal of our own account: it commands nothing, whatever it may do.
func (h *errand) own(ctx context.Context) error {
	self, err := h.forge.Client.Self(ctx)
	if err == nil && strings.EqualFold(self, h.asker.login()) {
		err = &refusal{why: fmt.Sprintf("%s is Plumbline's own account, which asks for nothing.", codeName(self))}
	}
	return err
}

// wholeRepository pauses a repository, or ends that. It takes more than what is about one workspace.
func (p *plea) wholeRepository(ctx context.Context) error {
	if err := p.mayCommand(ctx, forge.Admin); err != nil {
		return err
	}
	pause := Pause{Repository: p.repo.ID, Actor: p.actorName(), Until: p.cmd.Until, Reason: p.cmd.Reason, At: p.store.now().UTC()}
	if why := pause.isOver(); why != "" {
		return &refusal{why: why}
	}
	var cancelled []string
	err := p.conclude(ctx, func(tx *sql.Tx) (entries []audit.Entry, err error) {
		if p.cmd.Verb == prcomment.VerbResume {
			ended, err := p.store.endPause(ctx, tx, pause.scope())
			if err == nil && !ended {
				err = &refusal{why: "it is not paused."}
			}
			return []audit.Entry{p.entry(true, "the pause was ended", nil)}, err
		}
		cancelled, err = p.store.pauseDrift(ctx, tx, pause)
		return []audit.Entry{p.entry(true, pauseEntry(pause).Reason, nil)}, err
	})
	p.cancel(errCancelled, cancelled...)
	return err
}
