package live

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// feed is the end of what a run prints, as events, for all who watch.
type feed struct {
	id   string
	stop context.CancelFunc

	watchers int // under the mutex of Outputs

	// Under the mutex of Outputs, too: a look is short, and comes a few times a second from each stream.
	messages []message
	bytes    int
	next     int64  // where the newest message ends
	state    string // in JSON; "" before the first look
	over     bool   // the run has ended, and all is in messages
	gone     bool   // there is no such run any more
	changed  chan struct{}
}

// message is a piece of the output.
type message struct {
	from, to int64
	event    []byte
}

// window is how many bytes of events a feed keeps.
const window = 1 << 20

// How often a feed looks at the database, and after a failure.
const (
	lookEvery   = 250 * time.Millisecond
	lookWaiting = time.Second // of a run that has not begun
	lookFailed  = 3 * time.Second
)

// join adds a watcher to the feed of a run, which begins with the first.
func (o *Outputs) join(id, who string) (*feed, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopping || o.watching >= o.Watchers || who != "" && o.persons[who] >= mostEach {
		return nil, engine.ErrBusy
	}
	o.watching++
	o.persons[who]++
	f := o.feeds[id]
	if f == nil {
		ctx, cancel := context.WithCancel(context.Background()) // of no request: it serves all of them
		f = &feed{id: id, stop: cancel, changed: make(chan struct{}), next: -1}
		o.feeds[id] = f
		go o.feed(ctx, f)
	}
	f.watchers++
	return f, nil
}

// leave ends the feed with its last watcher.
func (o *Outputs) leave(f *feed, who string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watching--
	if o.persons[who]--; o.persons[who] == 0 {
		delete(o.persons, who)
	}
	if f.watchers--; f.watchers == 0 {
		f.stop()
		delete(o.feeds, f.id)
	}
}

// feed reads for all watchers, until the last has left or nothing comes any more.
func (o *Outputs) feed(ctx context.Context, f *feed) {
	from := int64(-partBytes / 4)
	for ctx.Err() == nil {
		part, err := o.Views.Output(ctx, engine.Everything(), f.id, from, partBytes)
		wait := lookEvery
		switch {
		case errors.Is(err, engine.ErrNoSuch):
			o.change(f, func() { f.gone = true })
			return
		case ctx.Err() != nil:
			return
		case err != nil:
			o.Log.Warn("what a run prints cannot be shown now", "run", f.id, "error", err)
			wait = lookFailed
		default:
			from = part.Next
			o.take(f, part)
			if part.Over() {
				return
			}
			if part.Next < part.Total {
				continue
			}
			if part.Status != engine.Running {
				wait = lookWaiting
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// take adds a part to a feed.
func (o *Outputs) take(f *feed, part engine.OutputView) {
	state, err := json.Marshal(o.State(part.Status, part.Phase))
	if err != nil {
		state = []byte("{}") // strings are always fit
	}
	event := messageOf(part)
	if event == nil && f.state == string(state) && !part.Over() && f.next >= 0 {
		return // only this goroutine writes to them
	}
	o.change(f, func() {
		if event != nil {
			f.messages = append(f.messages, message{part.From, part.Next, event})
			f.bytes += len(event)
			for f.bytes > window && len(f.messages) > 1 {
				f.bytes -= len(f.messages[0].event)
				f.messages = f.messages[1:]
			}
		}
		f.next, f.state, f.over = part.Next, string(state), part.Over()
	})
}

// change changes a feed and wakes its watchers.
func (o *Outputs) change(f *feed, do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

// look is what a feed has for somebody.
type look struct {
	messages [][]byte
	next     int64 // where those end, or up to where somebody who is behind reads by itself
	behind   bool
	state    string
	over     bool
	gone     bool
	changed  <-chan struct{}
}

// look is what a feed has for who has all that comes before an offset.
func (o *Outputs) look(f *feed, at int64) look {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := look{next: f.next, state: f.state, gone: f.gone, changed: f.changed}
	if f.next <= at {
		l.over = f.over
		return l
	}
	for i, m := range f.messages {
		switch {
		case m.to <= at:
		case m.from == at:
			for _, m := range f.messages[i:] {
				l.messages = append(l.messages, m.event)
			}
			return l
		default: // amid it, or before what is kept
			l.behind, l.next = true, m.to
			if m.from > at {
				l.next = m.from
			}
			return l
		}
	}
	l.behind = true
	return l
}
