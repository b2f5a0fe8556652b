package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/live"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// outputView is the end of what a run has printed. A script goes on from there while it runs.
type outputView struct {
	Text   string
	Events string // where it goes on; "" when it has ended
	Next   int64
	Whole  string // all of it as text
	Cut    string // how much there is, where it is not all
}

// outputRoom is how much of an output is on the page of its run, in bytes.
const outputRoom = 12_000

// output reads the end of what a run has printed; nil if it has printed nothing and never will.
func (s *site) output(ctx context.Context, q *query, id string) (*outputView, error) {
	part, err := s.views.Output(ctx, q.sight, id, -outputRoom, outputRoom)
	if err != nil || part.Total == 0 && part.Status.Ended() {
		return nil, err
	}
	v := &outputView{Text: part.Text, Next: part.Next, Whole: outputURL(id) + ".txt"}
	if part.From > 0 || part.Next < part.Total {
		// From the beginning of a line on, if lines have an end.
		if _, lines, ok := strings.Cut(v.Text, "\n"); ok && part.From > 0 {
			v.Text = lines
		}
		v.Cut = bytesOf(part.Total)
	}
	for escaped(v.Text) > 3*outputRoom/2 {
		v.Text = strings.ToValidUTF8(v.Text[len(v.Text)/2:], "")
		v.Cut = bytesOf(part.Total)
	}
	if !part.Status.Ended() {
		v.Events = outputURL(id)
	}
	return v, nil
}

func outputURL(id string) string { return runURL(id) + "/output" }

// bytesOf is a size in words.
func bytesOf(n int64) string {
	switch {
	case n < 10_000:
		return number(int(n)) + " bytes"
	case n < 10_000_000:
		return number(int(n/1000)) + " kB"
	}
	return number(int(n/1_000_000)) + " MB"
}

// stateOfRun is what events tell of how far a run is: with its mark, so that a script can show it.
func stateOfRun(status engine.Status, phase engine.Phase) map[string]string {
	m := markOfRun(status, phase)
	return map[string]string{"status": string(status), "phase": string(phase), "icon": m.Icon, "word": m.Word, "look": m.Look}
}

// openOutput is the output that somebody asks for, from where they have it. It has answered if it is nil.
func (s *site) openOutput(w http.ResponseWriter, req *http.Request) *live.Stream {
	q := newQuery(req)
	for name := range q.values {
		if name != "from" {
			q.fail("There is no such parameter.")
		}
	}
	from, ok := live.From(req.Header, q.values.Get("from"))
	if !ok {
		q.fail("The parameter from and the header Last-Event-ID take how many bytes come before.")
	}
	sight, ok := s.sight(req.Context(), w, req, "output")
	if !ok {
		return nil
	}
	var stream *live.Stream
	err := engine.ErrNoSuch
	switch {
	case q.wrong != "":
		err = q
	case isID(q.path):
		stream, err = s.outputs.Open(req.Context(), sight, signin.From(req.Context()).Person(), q.path, from)
	}
	if err != nil {
		s.failed(w, req, "output", err)
		return nil
	}
	return stream
}

// events streams what a run prints.
func (s *site) events(w http.ResponseWriter, req *http.Request) {
	if stream := s.openOutput(w, req); stream != nil {
		if err := stream.Events(w, req); err != nil {
			w.Header().Set("Retry-After", strconv.Itoa(10))
			s.failed(w, req, "output", err)
		}
	}
}

// text is what a run has printed by now, for reading without a script, and for keeping.
func (s *site) text(w http.ResponseWriter, req *http.Request) {
	if stream := s.openOutput(w, req); stream != nil {
		stream.Text(w, req)
	}
}
