package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// asked is the body of what somebody asks for.
type asked struct {
	Action     string            `json:"action"`
	Repository string            `json:"repository"`
	Change     int               `json:"change"`
	Workspaces []string          `json:"workspaces"`
	Addresses  []string          `json:"addresses"`
	Until      Time              `json:"until"`
	Reason     string            `json:"reason"`
	Plans      map[string]string `json:"plans"`
	Event      string            `json:"event"`
	Report     bool              `json:"report"`
	Operation  string            `json:"operation"`
}

// Request is what somebody asked for, and what became of it.
type Request struct {
	ID         string   `json:"id"` // sorts by time
	Action     string   `json:"action"`
	Repository string   `json:"repository"`
	Change     int      `json:"change"`
	Workspaces []string `json:"workspaces"`
	Actor      string   `json:"actor"`
	Via        string   `json:"via"`
	State      string   `json:"state"`
	Why        string   `json:"why"` // it is refused or failed, or what its last attempt came to
	AskedAt    Time     `json:"asked_at"`
	EndedAt    Time     `json:"ended_at"`
	NextAt     Time     `json:"next_at"` // of the next attempt
	Runs       []Run    `json:"runs"`    // that came of it
}

func requestOf(v engine.RequestView) Request {
	return Request{
		ID: string(v.ID), Action: string(v.Request.Action), Repository: string(v.Request.Repository), Change: v.Request.Change, Workspaces: texts(v.Request.Workspaces),
		Actor: v.Actor, Via: v.Via, State: string(v.State), Why: v.Why, AskedAt: at(v.AskedAt), EndedAt: at(v.EndedAt), NextAt: at(v.NextAt), Runs: all(v.Runs, runOf),
	}
}

// Preview is what a request would do.
type Preview struct {
	Refused string            `json:"refused"` // why it would not be done, as far as is known before
	Targets []Target          `json:"targets"`
	Plans   map[string]string `json:"plans"`   // of an apply: give them back in the request, and no other ones are applied
	Covered int               `json:"covered"` // by a pause
}

// Target is a workspace that a request is about.
type Target struct {
	Workspace string `json:"workspace"`
	Run       string `json:"run"`
	Left      string `json:"left"` // why nothing is done about it
	Approvals int    `json:"approvals"`
	Create    int    `json:"create"`
	Update    int    `json:"update"`
	Replace   int    `json:"replace"`
	Destroy   int    `json:"destroy"`
}

func targetOf(t engine.PreviewTarget) Target {
	return Target{t.Workspace, t.Run, t.Left, t.Approvals, t.Counts.Create, t.Counts.Update, t.Counts.Replace, t.Counts.Delete}
}

// maxKey is how long an Idempotency-Key may be, in bytes.
const maxKey = 200

// wanted reads what is asked for.
func (c *call) wanted() engine.Request {
	var b asked
	c.body(&b)
	r := engine.Request{
		Action: engine.Action(b.Action), Repository: engine.RepoID(b.Repository), Change: b.Change, Workspaces: b.Workspaces, Addresses: b.Addresses,
		Until: b.Until.Time, Reason: b.Reason, Seen: b.Plans, Event: b.Event, Report: b.Report, Operation: b.Operation, Nonce: c.req.Header.Get("Idempotency-Key"),
	}
	if c.problem == nil && len(r.Nonce) > maxKey {
		c.problem = problem(kindMalformed, "The header Idempotency-Key has more than 200 bytes.")
	}
	return r
}

// mayAsk is nil if whoever asks may ask for something.
func (c *call) mayAsk(ctx context.Context, r *engine.Request) error {
	who := signin.From(ctx)
	if !c.sight.Sees(r.Repository) {
		return engine.ErrNoSuch
	}
	why, err := who.May(ctx, *r)
	if err == nil && why != "" {
		err = problem(kindForbidden, why)
	}
	r.By = who.As(engine.ViaAPI, r.Repository)
	return err
}

// misasked is a problem for what the engine says of a request that is wrong.
func misasked(err error) error {
	var wrong *engine.MisaskedError
	switch {
	case errors.As(err, &wrong):
		return problem(kindMalformed, wrong.Why)
	case errors.Is(err, engine.ErrOtherRequest):
		return problem(kindReused, "The header Idempotency-Key names a request for something else: take another one.")
	}
	return err
}

func (a *API) requests(c *call) work {
	r := c.wanted()
	return func(ctx context.Context) (any, error) {
		if err := c.mayAsk(ctx, &r); err != nil {
			return nil, err
		}
		id, err := a.Engine.Ask(ctx, r)
		if err != nil {
			return nil, misasked(err)
		}
		v, err := a.Views.Request(ctx, c.sight, id)
		return reply{http.StatusAccepted, root + "/requests/" + string(id), requestOf(v)}, err
	}
}

func (a *API) preview(c *call) work {
	r := c.wanted()
	return func(ctx context.Context) (any, error) {
		if err := c.mayAsk(ctx, &r); err != nil {
			return nil, err
		}
		p, err := a.Views.Preview(ctx, c.sight, r)
		if err != nil {
			return nil, misasked(err)
		}
		v := Preview{Refused: p.Refused, Targets: all(p.Targets, targetOf), Plans: p.Request.Seen, Covered: p.Covered}
		if v.Plans == nil {
			v.Plans = map[string]string{}
		}
		return v, nil
	}
}

func (a *API) request(c *call) work {
	id := c.id()
	return func(ctx context.Context) (any, error) {
		v, err := a.Views.Request(ctx, c.sight, engine.RequestID(id))
		if err != nil {
			return nil, err
		}
		return requestOf(v), nil
	}
}
