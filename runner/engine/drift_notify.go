package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// Rhythm of notifications.
const (
	// gather is how long an event waits for others, and for its issue to be opened.
	gather = 10 * time.Second
	// betweenNotes is how far apart two messages to one target are: chats refuse what comes faster.
	betweenNotes = 10 * time.Second
	// sendWithin is how long a target may take to answer.
	sendWithin = 30 * time.Second
	// mostEvents is how many events one message tells of, or counts.
	mostEvents = 500
	// mostDigest is the longest that events are gathered for.
	mostDigest = 7 * 24 * time.Hour
)

// target finds a target of notifications by its name.
func (e *Engine) target(name string) (*notify.Target, bool) {
	for _, t := range e.Notify {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

// tellPeople keeps events for whoever wants to be told of them, in the transaction in which they happen: so none is lost.
// Repository and At are set here. What an event says goes to chats, so secrets are taken out of it.
func (e *Engine) tellPeople(ctx context.Context, tx *sql.Tx, repo RepoID, events ...notify.Event) error {
	if len(e.Notify) == 0 || len(events) == 0 {
		return nil
	}
	plans, err := e.Plans(string(repo))
	if err != nil {
		return err
	}
	now := e.Now()
	for _, event := range events {
		event.Repository, event.At = repo.repo().String(), now
		event.Note = prcomment.Redact(event.Note, e.Secrets)
		for _, t := range e.Notify {
			wanted, ok := t.Rule.Pick(event)
			if !ok {
				continue
			}
			o := outboxRow{Target: t.Name, Repository: repo, Workspace: event.Workspace, DueAt: now.Add(gather + t.Digest)}
			if o.ID, err = newID(); err != nil {
				return err
			}
			if o.Payload, err = sealEvent(plans, o.ID, wanted); err != nil {
				return err
			}
			if err := e.store.addOutbox(ctx, tx, o); err != nil {
				return err
			}
		}
	}
	return nil // the sweeper makes the job when they are due
}

func sealEvent(plans *planstore.Store, id string, event notify.Event) ([]byte, error) {
	text, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("write down an event: %w", err)
	}
	return plans.Seal("event "+id, text)
}

// openEvents reads what is to be told. An event that cannot be unsealed never will be, and is dropped; while the plan store
// cannot be opened, which has the key, all of them wait.
func (e *Engine) openEvents(rows []outboxRow, urls map[string]string) ([]notify.Line, error) {
	var lines []notify.Line
	for _, o := range rows {
		plans, err := e.Plans(string(o.Repository))
		if err != nil {
			return nil, err
		}
		l := notify.Line{URL: urls[o.ID], Again: o.Attempts > 0}
		text, err := plans.Unseal("event "+o.ID, o.Payload)
		if err == nil {
			err = json.Unmarshal(text, &l.Event)
		}
		if err != nil {
			e.log.Error("a notification is dropped", "target", o.Target, "error", err)
			continue
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// workNotify tells a target of all events that wait for it, in one message.
//
// An event is told at least once: if the process dies between sending and writing that it was sent, or the target does not
// answer, nobody knows whether it arrived, and it is told again and says so.
func (e *Engine) workNotify(ctx context.Context, name string) error {
	target, ok := e.target(name)
	if !ok {
		return e.persist(ctx, func(tx *sql.Tx) error { return e.forgetTargets(ctx, tx) })
	}
	var rows []outboxRow
	urls := map[string]string{}
	err := e.DB.Tx(ctx, func(tx *sql.Tx) error {
		var claimed bool
		var err error
		if rows, claimed, err = e.store.claimTarget(ctx, tx, name, e.process, mostEvents); err != nil || !claimed {
			return err
		}
		for _, o := range rows {
			if urls[o.ID], err = e.store.issueURL(ctx, tx, o.Repository, o.Workspace); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	lines, err := e.openEvents(rows, urls)
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		sending, cancel := context.WithTimeout(ctx, sendWithin)
		title, message := notify.Compose(lines)
		err = target.Send(sending, title, message)
		cancel()
		if err != nil {
			return errors.New(prcomment.Redact(err.Error(), e.Secrets))
		}
	}
	// What was sent was sent, even if we are to stop now.
	return e.persist(ctx, func(tx *sql.Tx) error {
		return e.store.endTarget(context.WithoutCancel(ctx), tx, name, e.process, rows, e.Now().Add(betweenNotes))
	})
}

// giveBackNotify puts off a target that could not be told.
func (e *Engine) giveBackNotify(ctx context.Context, tx *sql.Tx, name string, problem error) error {
	_, err := e.store.retryTarget(context.WithoutCancel(ctx), tx, name, e.process, said(problem), func(failures int64) time.Time {
		return e.again(failures+2, problem)
	})
	return err
}

// forgetTargets drops what waits for targets that the configuration does not have any more.
func (e *Engine) forgetTargets(ctx context.Context, tx *sql.Tx) error {
	names := make([]string, 0, len(e.Notify))
	for _, t := range e.Notify {
		names = append(names, t.Name)
	}
	n, err := e.store.forgetTargets(context.WithoutCancel(ctx), tx, names)
	if err == nil && n > 0 {
		e.log.Warn("notifications are dropped: their targets are not in the configuration any more", "count", n)
	}
	return err
}
