package toycloud

import (
	"maps"
	"slices"
	"time"
)

// Counters say what the API was asked for and what it did: a test that wants each node created exactly once looks
// here. What happens behind Terraform's back is not counted; [Server.Events] tells it.
type Counters struct {
	// Requests that arrived with a token that may do what they asked, whatever became of them.
	Requests int `json:"requests"`

	// Throttled requests: over the limit, or by a rule. Faults counts the other faults that struck.
	Throttled int `json:"throttled"`
	Faults    int `json:"faults"`

	// Replays are creations that were asked for again with the same idempotency key. Nothing was created again.
	Replays int `json:"replays"`

	// What was done, by kind and by an object's id. Refused requests are in neither.
	Kinds   map[Kind]Counts   `json:"kinds"`
	Objects map[string]Counts `json:"objects"`
}

// Counts say how often something was done. Lists is how often objects of a kind were searched for; it stays 0 in the
// counts of one object.
type Counts struct {
	Creates int `json:"creates"`
	Reads   int `json:"reads"`
	Lists   int `json:"lists,omitempty"`
	Updates int `json:"updates"`
	Deletes int `json:"deletes"`
}

func (n Counts) plus(v Verb) Counts {
	switch v {
	case Create:
		n.Creates++
	case Read:
		n.Reads++
	case List:
		n.Lists++
	case Update:
		n.Updates++
	case Delete:
		n.Deletes++
	}
	return n
}

// Event is one thing that happened: a change, a throttled request or a fault. Reading is no event.
type Event struct {
	Number int       `json:"number"` // counted from 1
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"` // api, admin or autoscaler
	Verb   Verb      `json:"verb"`
	Kind   Kind      `json:"kind"`
	ID     string    `json:"id,omitempty"` // empty for a creation that failed
	Name   string    `json:"name,omitempty"`
	Fault  Fault     `json:"fault,omitempty"`  // empty for a change
	Detail string    `json:"detail,omitempty"` // which attributes changed
}

// eventsKept is how many events a cloud remembers.
const eventsKept = 100_000

// ledger is the memory of what happened. The cloud's lock guards it.
type ledger struct {
	Counters
	events []Event
	last   int
}

func (l *ledger) reset() {
	l.Counters = Counters{Kinds: map[Kind]Counts{}, Objects: map[string]Counts{}}
}

func (l *ledger) count(v Verb, o Object) {
	l.Kinds[o.kind()] = l.Kinds[o.kind()].plus(v)
	l.Objects[o.meta().ID] = l.Objects[o.meta().ID].plus(v)
}

func (l *ledger) record(e Event) {
	l.last++
	e.Number = l.last
	if len(l.events) >= 2*eventsKept {
		l.events = slices.Clone(l.events[eventsKept:])
	}
	l.events = append(l.events, e)
}

func (c *cloud) counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.ledger.Counters
	n.Kinds, n.Objects = maps.Clone(n.Kinds), maps.Clone(n.Objects)
	return n
}

func (c *cloud) resetCounters() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.reset()
}

func (c *cloud) eventsAfter(number int) []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scale()
	i, _ := slices.BinarySearchFunc(c.ledger.events, number+1, func(e Event, n int) int { return e.Number - n })
	return append([]Event{}, c.ledger.events[i:]...)
}
