package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// Receipt says what became of the events in a webhook.
type Receipt struct {
	Accepted int // written down: they will be dealt with
	Known    int // written down before: a redelivery
	Ignored  int // nothing that Plumbline acts on
}

// ErrOutside is wrapped by the error about a webhook of a repository that the forge's allow-list does not name.
var ErrOutside = errors.New("the repository is not in the allow-list")

// Receive takes a webhook in: it checks the signature, writes down what the webhook tells, and returns. The work comes
// after that. A webhook that is delivered again changes nothing.
//
// Errors wrap forge.ErrSignature, forge.ErrPayload or ErrOutside where the webhook is at fault, and an error of package
// database where it may be delivered again later. They may repeat what a header says.
func (e *Engine) Receive(ctx context.Context, forgeName string, header http.Header, body []byte) (Receipt, error) {
	f, ok := e.forge(forgeName)
	if !ok {
		return Receipt{}, fmt.Errorf("take a webhook in: no forge is called %q", forgeName)
	}
	events, err := f.Client.Decode(header, body)
	if err != nil {
		return Receipt{}, fmt.Errorf("take a webhook of %s in: %w", forgeName, err)
	}
	for _, event := range events {
		if event.Kind != forge.Ping && !f.allows(event.Repo) {
			return Receipt{}, fmt.Errorf("take a webhook of %s in: %s: %w", forgeName, event.Repo, ErrOutside)
		}
	}
	var r Receipt
	err = e.DB.Tx(ctx, func(tx *sql.Tx) error {
		r, err = e.accept(ctx, tx, f, events, FromWebhook)
		return err
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("take a webhook of %s in: %w", forgeName, err)
	}
	if r.Accepted > 0 {
		e.countEvents(f, events, FromWebhook)
	}
	return r, nil
}

// accept writes events down, each once, with the jobs that work them.
func (e *Engine) accept(ctx context.Context, tx *sql.Tx, f ForgeOptions, events []forge.Event, source Source) (Receipt, error) {
	var r Receipt
	for _, event := range events {
		event, wanted := essence(event)
		if !wanted {
			r.Ignored++
			continue
		}
		id := f.repoID(event.Repo)
		if err := e.store.meetRepository(ctx, tx, f.Name, id, event.Repo); err != nil {
			return Receipt{}, err
		}
		key, added, err := e.store.addEvent(ctx, tx, f.Name, id, event, source)
		if err != nil {
			return Receipt{}, err
		}
		if !added {
			r.Known++
			continue
		}
		r.Accepted++
		if err := e.hint(ctx, tx, eventJob(key)); err != nil {
			return Receipt{}, err
		}
	}
	return r, nil
}

// essence is what is kept of an event: of a comment no more than the command. It reports whether the event is one that
// something follows from.
func essence(event forge.Event) (forge.Event, bool) {
	if event.Kind == forge.Ping {
		return event, false
	}
	if event.Kind != forge.Commented {
		return event, true
	}
	if event.Comment == nil || event.Comment.Ours {
		return event, false
	}
	line, ok := prcomment.CommandLine(event.Comment.Body)
	if !ok {
		return event, false
	}
	command := *event.Comment
	command.Body = line
	event.Comment = &command
	return event, true
}

func (e *Engine) countEvents(f ForgeOptions, events []forge.Event, source Source) {
	for _, event := range events {
		if _, wanted := essence(event); wanted {
			e.Metrics.EventAccepted(f.Name, string(source), string(event.Kind))
		}
	}
}
