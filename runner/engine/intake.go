package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// FromEngine is the source of events that the engine makes for itself: what must still be done about a change, kept as a
// row so that it is not lost.
const FromEngine Source = "engine"

// The kinds of events that the engine makes for itself. No forge's payload is decoded to them.
const (
	eventStale       forge.Kind = "plumbline-stale"       // After is an apply that moved what the change's plans rest on
	eventStock       forge.Kind = "plumbline-stock"       // After is the tip of the default branch: its workspaces are yet to be known
	eventInterrupted forge.Kind = "plumbline-interrupted" // After is an apply of the change that ended on the way
	eventLook        forge.Kind = "plumbline-look"        // the base branch moved: what the change waits for may be there
	eventMerge       forge.Kind = "plumbline-merge"       // After is the apply after which the change may be merged
	eventPrune       forge.Kind = "plumbline-prune"       // the change's plans are of no more use
	eventRequest     forge.Kind = "plumbline-request"     // After is a request that was made on a page or through the API
	eventPropose     forge.Kind = "plumbline-propose"     // After is an adoption whose run has ended: its issue waits for an answer
)

// How long an event is tried.
const (
	longestBackOff = 5 * time.Minute
	giveUpAfter    = 24 * time.Hour
)

// laterError ends one attempt at an event that is not failing: it is too early.
type laterError struct {
	at  time.Time
	why string
}

func (l *laterError) Error() string { return l.why }

// overError ends an event that can never lead anywhere.
type overError struct{ why string }

func (o *overError) Error() string { return o.why }

// errRaced ends an attempt whose ground was moved by another process or event: what was decided is thrown away.
var errRaced = errors.New("the change has moved on meanwhile")

// errand is one event on its way through the engine. One of them at most is under way for each change, whatever the
// number of processes (see store.claimEvent); rows are compared with what was seen all the same, because a process that
// was taken for dead may still be at it.
type errand struct {
	*Engine
	event EventRow
	repo  Repository
	forge ForgeOptions
	asker asker  // who asks for a command; nil for an event that is none
	ended bool   // the event was ended together with what it led to
	next  string // key of the event of the same change that waited for this one; "" for none
}

// workEvent works an event: it claims it, does what follows from it and ends it. After an error the event is tried again,
// later each time. It returns the key of the event of the same change that waited for this one, "" for none: there is a
// job for it, but whoever goes on at once spares people the queue.
func (e *Engine) workEvent(ctx context.Context, key string) (next string, err error) {
	h := &errand{Engine: e}
	claimed := false
	err = e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		h.event, claimed, err = e.store.claimEvent(ctx, tx, key, e.process)
		return err
	})
	if err != nil || !claimed {
		return "", err
	}
	err = h.close(ctx, h.work(ctx))
	return h.next, err
}

func (h *errand) work(ctx context.Context) error {
	ev := h.event.Event
	if err := h.meet(ctx); err != nil {
		return err
	}
	switch ev.Kind {
	case forge.ChangeOpened, forge.ChangePushed, forge.ChangeClosed, forge.ChangeMerged, forge.ChangeReviewed, eventLook:
		return h.look(ctx, ev.Change)
	case forge.Commented:
		return h.command(ctx)
	case forge.Pushed:
		return h.pushed(ctx)
	case eventStock:
		return h.advance(ctx, h.repo.DefaultBranch, h.event.ReceivedAt)
	case eventStale:
		return h.stale(ctx, ev.Change, ev.After)
	case eventInterrupted:
		return h.interrupted(ctx, ev.Change, ev.After)
	case eventMerge:
		return h.mergeApplied(ctx, ev.Change)
	case eventPrune:
		return h.prune(ctx, ev.Change)
	case eventRequest:
		return h.requested(ctx, RequestID(ev.After))
	case eventPropose:
		return h.proposeAdoption(ctx, ev.After)
	case forge.Ping:
		return nil
	}
	return &overError{fmt.Sprintf("nothing is done about events of the kind %q", ev.Kind)}
}

// afterwards is what becomes of an event after an attempt.
type afterwards struct {
	Over    bool // it is not tried again
	Failed  bool // though something followed from it
	GaveUp  bool // after a day
	Problem string
	At      time.Time // of the next attempt
}

// judgeAttempt decides when an event is tried again.
func judgeAttempt(ev EventRow, err error, now time.Time) afterwards {
	var later *laterError
	var over *overError
	var limited *forge.RateLimitError
	switch {
	case err == nil:
		return afterwards{Over: true}
	case errors.As(err, &over):
		return afterwards{Over: true, Problem: err.Error()}
	case errors.Is(err, forge.ErrNotFound):
		return afterwards{Over: true, Failed: true, Problem: err.Error()}
	case errors.As(err, &later):
		return afterwards{At: capped(later.at, now), Problem: later.why}
	case errors.Is(err, context.Canceled), errors.Is(err, errRaced), errors.Is(err, errTaken):
		return afterwards{At: now, Problem: err.Error()}
	case now.Sub(ev.ReceivedAt) > giveUpAfter:
		return afterwards{Over: true, Failed: true, GaveUp: true, Problem: err.Error()}
	case errors.As(err, &limited):
		return afterwards{At: capped(limited.Until, now), Problem: err.Error()}
	}
	wait := min(longestBackOff, time.Second<<min(max(ev.Attempts-1, 0), 10))
	return afterwards{At: now.Add(wait), Problem: err.Error()}
}

// capped keeps a time to try again within what rows may hold.
func capped(at, now time.Time) time.Time {
	if longest := now.Add(longestRetry); at.After(longest) {
		return longest
	}
	if at.Before(now) {
		return now
	}
	return at
}

// close gives the event back after an attempt, unless it was ended together with what it led to.
func (h *errand) close(ctx context.Context, err error) error {
	if h.ended {
		if err != nil {
			h.log.Warn("an event was worked, but not all that follows", "event", h.event.Key, "error", err)
		}
		return nil
	}
	ctx = context.WithoutCancel(ctx) // the row must not stay claimed because the server stops
	now := h.store.now()
	after := judgeAttempt(h.event, err, now)
	after.Problem = h.plain(after.Problem)
	log := h.log.With("event", h.event.Key, "attempt", h.event.Attempts)
	switch {
	case after.GaveUp:
		log.Error("an event was given up", "error", after.Problem)
	case after.Failed:
		log.Warn("an event cannot be worked", "reason", after.Problem)
	case after.Over && after.Problem != "":
		log.Debug("an event leads nowhere", "reason", after.Problem)
	case !after.Over && after.At.After(now):
		log.Warn("an event is tried again", "at", after.At, "reason", after.Problem)
	}
	err = h.persist(ctx, func(tx *sql.Tx) error {
		if after.GaveUp {
			if err := h.tellGivenUp(ctx, tx, after.Problem); err != nil {
				return err
			}
		}
		if after.Over {
			if err := h.endRequest(ctx, tx, after.Problem); err != nil {
				return err
			}
		}
		var next string
		var err error
		switch {
		case after.Failed:
			next, err = h.store.endEvent(ctx, tx, h.event.Key, h.process, after.Problem)
		case after.Over:
			next, err = h.store.endEvent(ctx, tx, h.event.Key, h.process, "")
		default:
			next, err = h.store.retryEvent(ctx, tx, h.event.Key, h.process, after.At, after.Problem)
		}
		h.next = next
		if err != nil || next == "" {
			return err
		}
		return h.hint(ctx, tx, eventJob(next))
	})
	if errors.Is(err, errTaken) {
		return nil // its commit was not seen, or another process has it
	}
	return err
}

// tellGivenUp says on the change, if there is one, that something could not be done.
func (h *errand) tellGivenUp(ctx context.Context, tx *sql.Tx, problem string) error {
	if h.event.Event.Change == 0 {
		return nil
	}
	row, known, err := h.store.change(ctx, tx, h.event.Repository, h.event.Event.Change)
	if err != nil || !known {
		return err
	}
	row.Notice.Notes = append(row.Notice.Notes, fmt.Sprintf("What happened at %s was not acted upon: a day of attempts failed, at last with: %s",
		h.event.ReceivedAt.UTC().Format("2006-01-02 15:04 MST"), problem))
	if err := h.store.setNotice(ctx, tx, row.Repository, row.Number, row.Notice); err != nil {
		return err
	}
	return h.wantReport(ctx, tx, Subject{Repository: row.Repository, Change: row.Number}, true)
}

// step writes rows on the way. What fn returns goes into the audit log, which is locked last.
func (h *errand) step(ctx context.Context, fn func(tx *sql.Tx) ([]audit.Entry, error)) error {
	return h.DB.Tx(ctx, func(tx *sql.Tx) error {
		entries, err := fn(tx)
		if err != nil {
			return err
		}
		return h.note(ctx, tx, entries)
	})
}

// conclude writes what an event leads to, and in the same transaction ends it: so it leads there once.
func (h *errand) conclude(ctx context.Context, fn func(tx *sql.Tx) ([]audit.Entry, error)) error {
	err := h.DB.Tx(ctx, func(tx *sql.Tx) error {
		entries, err := fn(tx)
		if err != nil {
			return err
		}
		next, err := h.store.endEvent(ctx, tx, h.event.Key, h.process, "")
		h.next = next
		if err == nil {
			err = h.endRequest(ctx, tx, "")
		}
		if err == nil && next != "" {
			err = h.hint(ctx, tx, eventJob(next))
		}
		if err != nil {
			return err
		}
		return h.note(ctx, tx, entries)
	})
	h.ended = err == nil
	return err
}

// note appends to the audit log what was decided.
func (h *errand) note(ctx context.Context, tx *sql.Tx, entries []audit.Entry) error {
	for _, entry := range entries {
		entry.Repository = h.repo.Repo.String()
		if entry.Actor = strings.TrimSpace(entry.Actor); entry.Actor == "" {
			entry.Actor = ourselves
		}
		if _, err := h.Audit.Append(ctx, tx, entry); err != nil {
			return err
		}
	}
	return nil
}

// ourselves is the actor of what nobody asked for.
const ourselves = "plumbline"

// send keeps an event that the engine makes for itself. The name tells it from others of its kind on the change.
func (h *errand) send(ctx context.Context, tx *sql.Tx, kind forge.Kind, change int, name string) error {
	return h.Engine.send(ctx, tx, h.repo.ID, kind, change, name)
}

func (e *Engine) send(ctx context.Context, tx *sql.Tx, repo RepoID, kind forge.Kind, change int, name string) error {
	forgeName, _, _ := strings.Cut(string(repo), "/")
	key, added, err := e.store.addEvent(ctx, tx, forgeName, repo, forge.Event{
		Key:  fmt.Sprintf("%s#%d %s %s", repo.repo(), change, kind, name),
		Kind: kind, Repo: repo.repo(), Change: change, After: name, Sender: ourselves, At: e.store.now(),
	}, FromEngine)
	if err != nil || !added {
		return err
	}
	return e.hint(ctx, tx, eventJob(key))
}

// plain is a text without secrets and of a length that rows and logs can bear.
func (e *Engine) plain(text string) string {
	for _, secret := range e.Secrets {
		if len(secret) >= 6 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return forge.Cut(strings.ToValidUTF8(text, "\uFFFD"), 1000)
}

// actor is who did what an event tells of.
func (h *errand) actor() string {
	if h.event.Event.Sender != "" {
		return h.event.Event.Sender
	}
	return ourselves
}
