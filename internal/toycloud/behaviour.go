package toycloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// Behaviour is how far a toy cloud is from a perfect one. The zero value is perfect.
type Behaviour struct {
	// Rules slow requests down or make them fail. All rules that match a request apply: their latencies add up, and
	// of their faults the first that strikes happens.
	Rules []Rule `json:"rules,omitempty"`

	// RequestsPerSecond that the API accepts; those beyond it are answered with status 429. 0: no limit.
	RequestsPerSecond float64 `json:"requests_per_second,omitempty"`

	// Burst is how many requests may come at once under that limit. 0: as many as come in one second, at least one.
	Burst int `json:"burst,omitempty"`

	// Autoscalers change things back that Terraform changed.
	Autoscalers []Autoscaler `json:"autoscalers,omitempty"`

	// Normalise makes the API answer a bucket's policy in a form of its own: with sorted keys and with the default
	// "version" added. A configuration that writes it in any other way has a plan that is never empty.
	Normalise bool `json:"normalise,omitempty"`
}

// Verb is what a request wants done.
type Verb string

// The verbs. List is a search by name or cluster.
const (
	Create Verb = "create"
	Read   Verb = "read"
	List   Verb = "list"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Fault is a way in which a request fails.
type Fault string

// The faults. With the first four nothing was done; with the last two it was done, and the caller does not know.
const (
	FaultError    Fault = "error"    // status 500
	FaultReveal   Fault = "reveal"   // status 400, with an error that repeats the caller's token and what it sent
	FaultThrottle Fault = "throttle" // status 429 with Retry-After
	FaultDrop     Fault = "drop"     // the connection is closed without an answer
	FaultLost     Fault = "lost"     // it is done, then the connection is closed without an answer
	FaultHalf     Fault = "half"     // it is done, then the connection is closed in the middle of the answer
)

// Rule slows down, or fails, the requests that it matches.
type Rule struct {
	// What the rule matches. An empty one matches everything. Object is an object's id or name.
	Verb   Verb   `json:"verb,omitempty"`
	Kind   Kind   `json:"kind,omitempty"`
	Object string `json:"object,omitempty"`

	// Latency before the request is carried out, and a random part of up to Jitter on top.
	Latency time.Duration `json:"-"`
	Jitter  time.Duration `json:"-"`

	// Fault that strikes. Empty: none.
	Fault Fault `json:"fault,omitempty"`

	// Next is how many of the next matching requests it strikes. When they are through, Rate decides.
	Next int `json:"next,omitempty"`

	// Rate is the share of the requests that it strikes, 0 to 1.
	Rate float64 `json:"rate,omitempty"`

	// RetryAfter is what FaultThrottle tells the caller to wait. 0: one second.
	RetryAfter time.Duration `json:"-"`
}

// Autoscaler is another hand that works on a cluster: what it wants comes back, whoever changed it.
type Autoscaler struct {
	// Cluster by id or name. Empty: every cluster.
	Cluster string `json:"cluster,omitempty"`

	// Size that the cluster shall have. 0: any.
	Size int `json:"size,omitempty"`

	// Labels that every node of the cluster shall have. Others stay as they are.
	Labels map[string]string `json:"labels,omitempty"`

	// Delay for which it leaves a changed object alone. With 0 the answer to a change still shows the change, and
	// every later answer shows it undone.
	Delay time.Duration `json:"-"`
}

// A rule's durations are written as 150ms in JSON, so that people can write them.
type (
	plainRule Rule
	jsonRule  struct {
		*plainRule
		Latency    string `json:"latency,omitempty"`
		Jitter     string `json:"jitter,omitempty"`
		RetryAfter string `json:"retry_after,omitempty"`
	}
	plainAutoscaler Autoscaler
	jsonAutoscaler  struct {
		*plainAutoscaler
		Delay string `json:"delay,omitempty"`
	}
)

// MarshalJSON writes durations as in 150ms.
func (r Rule) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonRule{(*plainRule)(&r), durationText(r.Latency), durationText(r.Jitter), durationText(r.RetryAfter)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Rule) UnmarshalJSON(data []byte) error {
	*r = Rule{}
	j := jsonRule{plainRule: (*plainRule)(r)}
	if err := unmarshalStrict(data, &j); err != nil {
		return err
	}
	return errors.Join(
		parseDuration("latency", j.Latency, &r.Latency),
		parseDuration("jitter", j.Jitter, &r.Jitter),
		parseDuration("retry_after", j.RetryAfter, &r.RetryAfter))
}

// MarshalJSON writes durations as in 150ms.
func (a Autoscaler) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonAutoscaler{(*plainAutoscaler)(&a), durationText(a.Delay)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Autoscaler) UnmarshalJSON(data []byte) error {
	*a = Autoscaler{}
	j := jsonAutoscaler{plainAutoscaler: (*plainAutoscaler)(a)}
	if err := unmarshalStrict(data, &j); err != nil {
		return err
	}
	return parseDuration("delay", j.Delay, &a.Delay)
}

func (b Behaviour) clone() Behaviour {
	b.Rules = slices.Clone(b.Rules)
	b.Autoscalers = slices.Clone(b.Autoscalers)
	for i := range b.Autoscalers {
		b.Autoscalers[i].Labels = maps.Clone(b.Autoscalers[i].Labels)
	}
	return b
}

// check says what cannot be meant.
func (b Behaviour) check() error {
	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	for i, r := range b.Rules {
		at := "rule " + strconv.Itoa(i+1)
		if !slices.Contains([]Verb{"", Create, Read, List, Update, Delete}, r.Verb) {
			say("%s: no verb %q: use create, read, list, update or delete", at, r.Verb)
		}
		if r.Kind != "" && newObject(r.Kind) == nil {
			say("%s: no kind %q: use networks, clusters, nodes, buckets or images", at, r.Kind)
		}
		if !slices.Contains([]Fault{"", FaultError, FaultReveal, FaultThrottle, FaultDrop, FaultLost, FaultHalf}, r.Fault) {
			say("%s: no fault %q: use error, reveal, throttle, drop, lost or half", at, r.Fault)
		}
		if r.Latency < 0 || r.Jitter < 0 || r.RetryAfter < 0 || r.Next < 0 {
			say("%s: latency, jitter, retry_after and next cannot be negative", at)
		}
		if !(r.Rate >= 0 && r.Rate <= 1) { // written so that NaN is refused
			say("%s: a rate is a share from 0 to 1, not %v", at, r.Rate)
		}
		if r.Fault == "" && (r.Next > 0 || r.Rate > 0) {
			say("%s: next and rate need a fault", at)
		}
		if r.Fault != "" && r.Next == 0 && r.Rate == 0 {
			say("%s: the fault %q would never strike: set next, or a rate (1 is always)", at, r.Fault)
		}
	}
	if !(b.RequestsPerSecond >= 0) || math.IsInf(b.RequestsPerSecond, 1) || b.Burst < 0 {
		say("requests_per_second and burst cannot be negative")
	}
	for i, a := range b.Autoscalers {
		if a.Size < 0 || a.Size > 1000 || a.Delay < 0 {
			say("autoscaler %d: a size is 1 to 1000 and a delay not negative", i+1)
		}
		if a.Size == 0 && len(a.Labels) == 0 {
			say("autoscaler %d: it wants nothing: set a size or labels", i+1)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("behaviour of the toy cloud: %w", errors.Join(wrong...))
	}
	return nil
}

// temper is a behaviour at work: what is left of it, and the chances that it took. The cloud's lock guards it.
type temper struct {
	Behaviour
	asked  map[string]int // how often each rule met each verb on each object, the seed of the next chance
	tokens float64        // requests that may come at once
	filled time.Time      // when tokens was right
}

func newTemper(b Behaviour, now time.Time) *temper {
	t := &temper{Behaviour: b.clone(), asked: map[string]int{}, filled: now}
	t.tokens = t.burst()
	return t
}

func (t *temper) burst() float64 {
	if t.Burst > 0 {
		return float64(t.Burst)
	}
	return max(1, math.Ceil(t.RequestsPerSecond))
}

// throttle takes one request out of the allowance, or says how long until there is one.
func (t *temper) throttle(now time.Time) time.Duration {
	if t.RequestsPerSecond == 0 {
		return 0
	}
	t.tokens = min(t.burst(), t.tokens+max(0, now.Sub(t.filled).Seconds())*t.RequestsPerSecond)
	t.filled = now
	if t.tokens >= 1 {
		t.tokens--
		return 0
	}
	return max(time.Millisecond, time.Duration((1-t.tokens)/t.RequestsPerSecond*float64(time.Second)))
}

// fate is what the rules have in store for one request.
type fate struct {
	latency    time.Duration
	fault      Fault
	retryAfter time.Duration
}

// fate decides about a request for the object that can be called by any of names. Two requests for different objects
// never influence each other's chances, so that the order in which they arrive does not matter.
func (t *temper) fate(c *cloud, verb Verb, kind Kind, names []string) fate {
	var f fate
	for i := range t.Rules {
		r := &t.Rules[i]
		if r.Verb != "" && r.Verb != verb || r.Kind != "" && r.Kind != kind ||
			r.Object != "" && !slices.Contains(names, r.Object) {
			continue
		}
		key := fmt.Sprint(i, verb, kind, names)
		t.asked[key]++
		turn := strconv.Itoa(t.asked[key])
		f.latency += r.Latency + time.Duration(c.chance("jitter", key, turn)*float64(r.Jitter))
		if r.Fault == "" || f.fault != "" {
			continue
		}
		switch {
		case r.Next > 0:
			r.Next--
		case c.chance("fault", key, turn) < r.Rate:
		default:
			continue
		}
		f.fault, f.retryAfter = r.Fault, r.RetryAfter
		if f.retryAfter == 0 {
			f.retryAfter = time.Second
		}
	}
	return f
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func parseDuration(key, text string, into *time.Duration) error {
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%s: %q is no duration: write it as 150ms or 2s", key, text)
	}
	*into = d
	return nil
}
