package api

import (
	"context"
	"net/http"

	"github.com/plumbline-dev/plumbline/web/live"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// Types of what is no JSON.
const (
	plainText   = "text/plain"
	eventStream = "text/event-stream"
)

// output is what a run has printed by now.
func (a *API) output(c *call) work {
	return a.following(c, func(s *live.Stream, w http.ResponseWriter, req *http.Request) { s.Text(w, req) })
}

// outputEvents is what a run prints, while it prints it.
func (a *API) outputEvents(c *call) work {
	return a.following(c, func(s *live.Stream, w http.ResponseWriter, req *http.Request) {
		if s.Events(w, req) != nil {
			refuse(w, problem(kindBusy, "Too many watch what runs print. Ask again soon."))
		}
	})
}

func (a *API) following(c *call, do func(s *live.Stream, w http.ResponseWriter, req *http.Request)) work {
	id := c.id()
	text, _ := c.given("from")
	from, ok := live.From(c.req.Header, text)
	if !ok {
		c.fail("from", "takes how many bytes come before, or how many are wanted of the end with a minus; and Last-Event-ID the id of an event")
	}
	return func(ctx context.Context) (any, error) {
		s, err := a.Outputs.Open(ctx, c.sight, signin.From(ctx).Person(), id, from)
		if err != nil {
			return nil, err
		}
		return stream(func(w http.ResponseWriter, req *http.Request) { do(s, w, req) }), nil
	}
}
