// Package live brings what a run prints to all who watch it, while it is printed.
//
// The life of a stream: [Outputs.Events] reads once with the eyes of who asks, so that what they may not see or what there is
// not is an error as of any page. Then the stream joins the feed of its run, which one goroutine reads for all who watch: each
// piece is read, opened and written as an event once, and every stream sends the same bytes. Who is further behind than a feed
// keeps reads by itself until it has caught up. The number of an event is the offset of what follows it, so whoever comes back
// with the last one that it got misses nothing and gets nothing twice, from whichever process, and after a restart.
//
// A stream ends when the run has and all was sent, when its client does not read, after a while (whoever comes back is asked
// anew who they are), and when the server stops.
package live

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Views is what is asked of the database.
type Views interface {
	Output(ctx context.Context, sight engine.Sight, id string, from int64, most int) (engine.OutputView, error)
}

// Options say what Outputs work with. Views and Log are required.
type Options struct {
	Views Views
	// State describes how far a run is, for the events that tell of it; nil gives status and phase.
	State func(status engine.Status, phase engine.Phase) map[string]string
	// Watchers is how many may watch at once; 0 means 2000.
	Watchers int
	Log      *slog.Logger
}

// Outputs are those of all runs.
type Outputs struct {
	Options
	catching chan struct{} // held by who reads by itself
	stopped  chan struct{}

	mu       sync.Mutex
	stopping bool
	watching int
	persons  map[string]int // how many streams each has
	feeds    map[string]*feed
	senders  map[*sender]bool
}

// Bounds.
const (
	usualMost    = 2000 // watchers
	mostEach     = 100  // of them one person: nobody is to take all places
	maxCatching  = 8
	partBytes    = 256 << 10        // read at once
	patience     = 20 * time.Second // of one write: whoever does not read for so long is gone
	stillHere    = 15 * time.Second // between signs of life
	streamTime   = 5 * time.Minute  // of one stream
	catchingTime = 5 * time.Second  // to wait for a turn
	readTime     = 15 * time.Second // of one look at the database
)

// New makes Outputs. Stop ends them.
func New(o Options) *Outputs {
	if o.State == nil {
		o.State = func(status engine.Status, phase engine.Phase) map[string]string {
			return map[string]string{"status": string(status), "phase": string(phase)}
		}
	}
	o.Watchers = cmp.Or(o.Watchers, usualMost)
	return &Outputs{Options: o, catching: make(chan struct{}, maxCatching), stopped: make(chan struct{}), feeds: map[string]*feed{}, persons: map[string]int{}, senders: map[*sender]bool{}}
}

// Stop ends all streams, and begins no more.
func (o *Outputs) Stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopping {
		return
	}
	o.stopping = true
	close(o.stopped)
	for s := range o.senders { // one that waits for a client need not
		_ = s.control.SetWriteDeadline(time.Now())
	}
}

// From is where somebody wants to go on: behind the last event that they got, or where a text says; "" is the beginning. A
// number below zero is counted from the end.
func From(header http.Header, text string) (int64, bool) {
	if last := header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		return n, err == nil && n >= 0
	}
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// read looks at a part of an output, when it is its turn.
func (o *Outputs) read(ctx context.Context, sight engine.Sight, id string, from int64, most int) (engine.OutputView, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	turn := time.NewTimer(catchingTime)
	defer turn.Stop()
	select {
	case o.catching <- struct{}{}:
	case <-turn.C:
		return engine.OutputView{}, engine.ErrBusy
	case <-ctx.Done():
		return engine.OutputView{}, ctx.Err()
	}
	defer func() { <-o.catching }()
	return o.Views.Output(ctx, sight, id, from, most)
}

// Stream is an output that somebody may see, from a place on.
type Stream struct {
	o     *Outputs
	sight engine.Sight
	id    string
	who   string            // a person; "" for the machine itself
	part  engine.OutputView // the first
}

// Open looks whether there is such an output for who asks: a person, or "" for the machine itself.
func (o *Outputs) Open(ctx context.Context, sight engine.Sight, who, id string, from int64) (*Stream, error) {
	part, err := o.read(ctx, sight, id, from, partBytes)
	if err != nil {
		return nil, err
	}
	return &Stream{o: o, sight: sight, id: id, who: who, part: part}, nil
}

// Text writes what there is by now, as plain text.
func (s *Stream) Text(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := s.o.sender(w)
	defer s.o.forget(out)
	part, end := s.part, s.part.Total
	for req.Method != http.MethodHead {
		if out.send([]byte(part.Text)) != nil || part.Text == "" || part.Next >= end {
			return
		}
		var err error
		if part, err = s.o.read(req.Context(), s.sight, s.id, part.Next, partBytes); err != nil {
			panic(http.ErrAbortHandler) // half an output must not look like a whole one
		}
	}
}

// Events writes what there is and what comes, as server-sent events: messages whose data is a text in JSON, "state" when the
// run is further, and "end" after all of it. It is busy (engine.ErrBusy) where too many watch, or
// one person too much.
func (s *Stream) Events(w http.ResponseWriter, req *http.Request) error {
	f, err := s.o.join(s.id, s.who)
	if err != nil {
		return err
	}
	defer s.o.leave(f, s.who)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that gathers answers would keep it all
	out := s.o.sender(w)
	defer s.o.forget(out)
	if out.control.SetReadDeadline(time.Time{}) != nil || req.Method == http.MethodHead {
		return nil
	}
	over := time.NewTimer(streamTime)
	defer over.Stop()
	alive := time.NewTicker(stillHere)
	defer alive.Stop()

	if out.send([]byte("retry: 2000\n\n"), messageOf(s.part)) != nil {
		return nil
	}
	at, told := s.part.Next, ""
	for {
		select { // also where there is always something to send
		case <-over.C:
			return nil
		case <-s.o.stopped:
			return nil
		case <-req.Context().Done():
			return nil
		default:
		}
		now := s.o.look(f, at)
		if told != now.state && now.state != "" {
			told = now.state
			if out.send([]byte("event: state\ndata: "+told+"\n\n")) != nil {
				return nil
			}
		}
		switch {
		case now.behind:
			part, err := s.o.read(req.Context(), s.sight, s.id, at, partBytes)
			if errors.Is(err, engine.ErrBusy) {
				continue
			}
			if err != nil || part.Next <= at {
				return nil
			}
			part = until(part, now.next)
			if out.send(messageOf(part)) != nil {
				return nil
			}
			at = part.Next
			continue
		case len(now.messages) > 0:
			if out.send(now.messages...) != nil {
				return nil
			}
			at = now.next
			continue
		case now.over:
			_ = out.send([]byte("event: end\ndata: " + told + "\n\n"))
			return nil
		case now.gone:
			return nil
		}
		select {
		case <-now.changed:
		case <-alive.C:
			if out.send([]byte(": still here\n\n")) != nil {
				return nil
			}
		case <-over.C:
			return nil
		case <-s.o.stopped:
		case <-req.Context().Done():
		}
	}
}

// until cuts a part at an offset, where events of the feed go on.
func until(part engine.OutputView, end int64) engine.OutputView {
	if cut := end - part.From; part.Next > end && cut > 0 && part.Next-part.From == int64(len(part.Text)) {
		part.Text, part.Next = part.Text[:cut], end
	}
	return part
}

// messageOf is a part as an event; nil if there is nothing in it.
func messageOf(part engine.OutputView) []byte {
	if part.Text == "" {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %d\ndata: ", part.Next)
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // it is no HTML, and twice as long otherwise
	_ = encoder.Encode(part.Text)
	b.WriteByte('\n') // the encoder has written the first
	return b.Bytes()
}

// sender writes with patience that has an end.
type sender struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stopped <-chan struct{}
}

func (o *Outputs) sender(w http.ResponseWriter) *sender {
	s := &sender{w, http.NewResponseController(w), o.stopped}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.senders[s] = true
	return s
}

// forget ends with a sender. Its answer may still have a last line, for which there is a moment.
func (o *Outputs) forget(s *sender) {
	_ = s.control.SetWriteDeadline(time.Now().Add(time.Second))
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.senders, s)
}

func (s *sender) send(all ...[]byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	select {
	case <-s.stopped: // after the deadline, which Stop may just have set
		return http.ErrServerClosed
	default:
	}
	for _, b := range all {
		if _, err := s.w.Write(b); err != nil {
			return err
		}
	}
	return s.control.Flush()
}
