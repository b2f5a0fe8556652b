package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// Ask writes a request down and returns its id: what becomes of it is read with Views.Request. The same asker asking with
// the same nonce again gets the first id. A refusal by a rule is an outcome and no error.
//
// Errors are a *MisaskedError, ErrNoSuch for a repository, change or workspace that there is not, or ErrOtherRequest.
func (e *Engine) Ask(ctx context.Context, r Request) (RequestID, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	var id RequestID
	var cancelled []string
	err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		id, cancelled, err = e.ask(ctx, tx, r)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", r.Action, err)
	}
	e.cancel(errCancelled, cancelled...)
	return id, nil
}

func (e *Engine) ask(ctx context.Context, tx *sql.Tx, r Request) (id RequestID, cancelled []string, err error) {
	r.Reason = e.plain(r.Reason)
	row := requestRow{Request: r, Asker: r.By.ID, Person: r.By.Name, Login: r.By.Login, Via: r.By.Via, State: RequestWaiting, AskedAt: e.store.now()}
	known, err := e.store.askedFor(ctx, tx, row)
	if err != nil || known != "" {
		return known, nil, err
	}
	if err := e.store.thereIs(ctx, tx, r); err != nil {
		return "", nil, err
	}
	text, err := newID()
	if err != nil {
		return "", nil, err
	}
	row.ID = RequestID(text)
	if r.Action == ActApply {
		if row.Shown, err = e.store.plansShown(ctx, tx, r.Repository, r.Change); err != nil {
			return "", nil, err
		}
	}
	added, err := e.store.addRequest(ctx, tx, row)
	if err != nil {
		return "", nil, err
	}
	if !added { // by another connection, just now
		known, err := e.store.askedFor(ctx, tx, row)
		return known, nil, err
	}
	why, atOnce := r.atOnce()
	if why == "" && !atOnce {
		return row.ID, nil, e.sendRequest(ctx, tx, row)
	}
	entry := audit.Entry{Actor: row.actor(), Action: row.auditAction(), Change: int64(r.Change), Allowed: why == "", Reason: why, Details: row.details()}
	if r.Repository != "" {
		entry.Repository = r.Repository.repo().String()
	}
	if len(r.Workspaces) == 1 {
		entry.Workspace = r.Workspaces[0]
	}
	if why == "" {
		if entry.Reason, why, cancelled, err = e.doAtOnce(ctx, tx, row); err != nil {
			return "", nil, err
		}
	}
	state := RequestTaken
	if why != "" {
		state, entry.Allowed, entry.Reason = RequestRefused, false, why
	}
	if _, err := e.store.endRequest(ctx, tx, row.ID, state, why); err != nil {
		return "", nil, err
	}
	_, err = e.Audit.Append(ctx, tx, entry)
	return row.ID, cancelled, err
}

// requestKey is the key of the event that works a request, without the forge's name.
func requestKey(row requestRow) string {
	return fmt.Sprintf("%s#%d %s %s", row.Repository.repo(), row.Change, eventRequest, row.ID)
}

// sendRequest makes the event that works a request.
func (e *Engine) sendRequest(ctx context.Context, tx *sql.Tx, row requestRow) error {
	forgeName, _, _ := strings.Cut(string(row.Repository), "/")
	repo := row.Repository.repo()
	key, _, err := e.store.addEvent(ctx, tx, forgeName, row.Repository, forge.Event{
		Key:  requestKey(row),
		Kind: eventRequest, Repo: repo, Change: row.Change, After: string(row.ID), Sender: row.Login, At: row.AskedAt,
	}, FromEngine)
	if err != nil {
		return err
	}
	return e.hint(ctx, tx, eventJob(key))
}

// atOnce reports whether a request is done where it is written down, or why it is refused there. All others are worked by
// an event, for they take a person whom the forge knows.
func (r Request) atOnce() (why string, atOnce bool) {
	switch {
	case r.Action == ActRetry:
		return "", true
	case r.Repository == "":
		if !r.By.Own && !r.By.Everywhere {
			return "to pause everything, and to end that, takes the role admin for all repositories.", true
		}
		return "", true
	case r.By.Own && (r.Action == ActDrift || r.Action == ActPause || r.Action == ActResume):
		return "", true
	case r.By.Own:
		return fmt.Sprintf("it takes a person whom the forge knows, and nobody signs in here: what may be done is decided by their permission in %s. "+
			"Comment there, or configure `sign_in` on the server.", r.Repository.repo()), true
	case r.By.Login == "":
		name, _, _ := strings.Cut(string(r.Repository), "/")
		return fmt.Sprintf("it takes an account on the forge `%s`, and it is not known which one is yours.", name), true
	}
	return "", false
}

// TakesPerson reports whether a request takes somebody whom the forge of its repository knows.
func (r Request) TakesPerson(by Asker) bool {
	r.By = by
	why, atOnce := r.atOnce()
	return !atOnce || why != ""
}

// doAtOnce does what takes nobody whom the forge knows: what the command line may do, too. It says what was done, or why not.
func (e *Engine) doAtOnce(ctx context.Context, tx *sql.Tx, row requestRow) (done, why string, cancelled []string, err error) {
	pause := Pause{Repository: row.Repository, Until: row.Until, Reason: row.Reason, Actor: row.actor(), At: e.store.now().UTC()}
	if len(row.Workspaces) == 1 {
		pause.Workspace = row.Workspaces[0]
	}
	switch row.Action {
	case ActDrift:
		p, paused, err := e.store.paused(ctx, tx, row.Repository, pause.Workspace)
		if err != nil || paused {
			return "", fmt.Sprintf("nothing is looked at or corrected %s.", p), nil, err
		}
		known, err := e.store.askLook(ctx, tx, row.Repository, pause.Workspace, row.actor())
		if err == nil && !known {
			err = ErrNoSuch
		}
		return "a look for drift was asked for", "", nil, err
	case ActPause:
		if why := pause.isOver(); why != "" {
			return "", why, nil, nil
		}
		cancelled, err = e.store.pauseDrift(ctx, tx, pause)
		return pauseEntry(pause).Reason, "", cancelled, err
	case ActResume:
		ended, err := e.store.endPause(ctx, tx, pause.scope())
		if err == nil && !ended {
			why = "it is not paused."
		}
		return resumeEntry(pause).Reason, why, nil, err
	case ActRetry:
		done, why, err = e.tryNow(ctx, tx, row.Request)
		return done, why, nil, err
	}
	return "", "", nil, fmt.Errorf("nothing is done at once about %s", row.Action)
}

// tryNow has an event or a report worked at once that waits to be tried again, or that was given up.
func (e *Engine) tryNow(ctx context.Context, tx *sql.Tx, r Request) (done, why string, err error) {
	if r.Report {
		who := Subject{Repository: r.Repository, Change: r.Change, Operation: r.Operation}
		waits, err := e.store.reportNow(ctx, tx, who)
		if err != nil || !waits {
			return "", "nothing of it waits.", err
		}
		return "a report that waits is tried at once", "", e.hint(ctx, tx, reportJob(who))
	}
	waits, err := e.store.eventNow(ctx, tx, r.Repository, r.Event)
	if err != nil || !waits {
		return "", "it does not wait any more, or is a command that was given up: whoever means it asks again.", err
	}
	return "an event that waits is tried at once", "", e.hint(ctx, tx, eventJob(r.Event))
}

// isOver is why a pause whose time is over is none; "" where it is not.
func (p Pause) isOver() string {
	if !p.Until.IsZero() && !p.Until.After(p.At) {
		return "that time is over."
	}
	return ""
}

// endRequest ends the request that an event is about, if it is about one.
func (h *errand) endRequest(ctx context.Context, tx *sql.Tx, problem string) error {
	if h.event.Event.Kind != eventRequest {
		return nil
	}
	state, why := RequestTaken, ""
	if v, ok := h.asker.(*visitor); ok && v.why != "" {
		state, why = RequestRefused, v.why
	} else if problem != "" {
		state, why = RequestFailed, problem
	}
	_, err := h.store.endRequest(ctx, tx, RequestID(h.event.Event.After), state, h.plain(why))
	return err
}

// readRequest reads a request that is to be worked.
func (h *errand) readRequest(ctx context.Context, id RequestID) (row requestRow, known bool, err error) {
	err = h.DB.Read(ctx, func(tx *sql.Tx) error {
		row, known, err = h.store.request(ctx, tx, id)
		return err
	})
	return row, known, err
}
