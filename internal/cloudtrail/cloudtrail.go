// Package cloudtrail asks AWS CloudTrail who has changed a resource.
//
// A [Trail] is made once and asked for as long as the process runs. [Trail.Who] is told of a resource as Terraform's state
// recorded it, and since when it can have changed. A table, table.txt, says what CloudTrail calls such a resource and which
// events write to it. The trail looks those up with the credentials that Terraform gets, and returns the newest of them:
// who, when, what and from where. Nothing else of an event leaves this package: what a request held may be secret.
//
// What it finds is a hint for people, and nobody's work depends on it. So there are no errors: when CloudTrail finds
// nothing, refuses or does not answer, nobody is named, and the log has one line. CloudTrail takes two requests in a second
// from an account in a region; the trail stays below that, remembers answers for minutes, and reads only so many pages.
// An event appears in CloudTrail minutes after it happened, so who asks at once may have to ask again.
package cloudtrail

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/time/rate"
)

// Event is something that was done to a resource.
type Event struct {
	ID        string
	At        time.Time
	Principal string // mostly an ARN: who did it
	Name      string // such as ModifyInstanceAttribute
	Service   string // such as ec2.amazonaws.com
	Address   string // an IP address, or the name of a service of AWS that did it for somebody; "" if not known
}

// Query is what a trail is asked.
type Query struct {
	// Scope is whose credentials Environ holds, such as a repository and a workspace: answers are remembered for it.
	Scope string
	// Type is Terraform's type of the resource, and Values are those of its attributes that are text and not sensitive, as
	// they were when it was as it should be.
	Type   string
	Values map[string]string
	// Since is when it was last known not to be changed. Nobody is named if it is zero.
	Since time.Time
	// Environ is what Terraform gets of the environment of the machine, as os.Environ returns it, and Given what it gets
	// besides, which counts first: whose credentials and region are used. Endpoints are those of the machine alone: whoever
	// writes plumbline.yaml does not say where Plumbline sends its requests.
	Environ, Given []string
	// Ambient says that Terraform could also use what the SDK finds by default where Plumbline runs. Without it nothing is
	// asked unless there is an access key.
	Ambient bool
	// Own are the ARNs of roles that Plumbline takes on. What Plumbline's Terraform did in one of them, or with the very
	// credentials that it has, is left out.
	Own []string
}

// Options say what a Trail works with. The zero value is good.
type Options struct {
	// Rows stand before those of the table: see [Row].
	Rows []Row
	// Pause is the least time between two requests in a region; 0 means 600 ms, which keeps below two in any second also
	// where the network bunches them.
	Pause time.Duration
	// Log is told when CloudTrail refuses; nil for nobody.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Limits of what is asked and told.
const (
	// told is how many events of a resource are returned.
	told = 3
	// mostPages is how many pages of 50 events are read of an answer: what is older is not found.
	mostPages = 20
	// keeps is for how long CloudTrail keeps events.
	keeps = 90 * 24 * time.Hour
	// rememberedFor is how long an answer is remembered. Later ones may hold more: events come in late.
	rememberedFor = 5 * time.Minute
	// remembered is how many answers and records of them are, at most: some tens of megabytes.
	remembered = 20_000
	// restFor is how long nothing is asked for a scope after CloudTrail has refused.
	restFor = 15 * time.Minute
	// usualPause is what Options.Pause says.
	usualPause = 600 * time.Millisecond
)

// Trail asks CloudTrail. It may be used by several goroutines at once. A nil Trail knows nobody.
type Trail struct {
	rows  table
	pause time.Duration
	log   *slog.Logger
	now   func() time.Time

	mu       sync.Mutex
	settings map[string]aws.Config    // by profile
	limits   map[string]*rate.Limiter // by region
	answers  map[question]answer
	rests    map[string]time.Time // scopes that are not asked for until then
}

// New returns a trail. It does not contact AWS.
func New(o Options) *Trail {
	t := &Trail{
		rows: builtIn().with(o.Rows), pause: cmp.Or(o.Pause, usualPause), log: o.Log, now: o.Now,
		settings: map[string]aws.Config{}, limits: map[string]*rate.Limiter{}, answers: map[question]answer{}, rests: map[string]time.Time{},
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.now == nil {
		t.now = time.Now
	}
	return t
}

// Knows reports whether there is anything to ask of a type.
func (t *Trail) Knows(resourceType string) bool { return t != nil && len(t.rows.of(resourceType)) > 0 }

// Who returns what was done to a resource since q.Since, the newest first, at most three events. It waits for its turn, and
// for no longer than ctx allows.
func (t *Trail) Who(ctx context.Context, q Query) []Event {
	if !t.Knows(q.Type) || q.Since.IsZero() || !t.now().After(q.Since) || t.resting(q.Scope) {
		return nil
	}
	events, err := t.ask(ctx, q)
	if late := new(noTimeError); err != nil && ctx.Err() == nil && !errors.As(err, &late) {
		t.rest(q.Scope)
		t.log.Warn("CloudTrail does not say who changed a resource; it is asked again later", "scope", q.Scope, "type", q.Type, "error", explain(err))
	}
	return events
}

// ask looks up all that the table says of a type. What was found before something failed is returned with the error.
func (t *Trail) ask(ctx context.Context, q Query) ([]Event, error) {
	c, err := t.client(ctx, q)
	if err != nil {
		return nil, err
	}
	now := t.now()
	since := q.Since.UTC().Truncate(time.Second) // CloudTrail's times are of whole seconds
	if oldest := now.Add(-keeps); since.Before(oldest) {
		since = oldest.UTC().Truncate(time.Hour)
	}
	var found []record
	for _, row := range t.rows.of(q.Type) {
		for _, l := range row.lookups(q.Values) {
			records, err := t.lookup(ctx, c, question{scope: q.Scope, region: c.region, since: since.Unix(), lookup: l.what}, now)
			for _, r := range records {
				if row.counts(r, l.names) && !r.At.Before(since) && !r.elsewhere(c.account) && !r.ours(q, c.accessKey) {
					found = append(found, r)
				}
			}
			if err != nil {
				return newest(found), err
			}
		}
	}
	return newest(found), nil
}

// newest are the events to tell of, each once.
func newest(found []record) []Event {
	slices.SortStableFunc(found, func(a, b record) int { return cmp.Or(b.At.Compare(a.At), strings.Compare(a.ID, b.ID)) })
	var events []Event
	for _, r := range found {
		if len(events) < told && !slices.ContainsFunc(events, func(e Event) bool { return e.ID == r.ID }) {
			events = append(events, r.Event)
		}
	}
	return events
}

// resting reports whether CloudTrail has just refused a scope.
func (t *Trail) resting(scope string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.rests[scope]
	if ok && !t.now().Before(until) {
		delete(t.rests, scope)
		return false
	}
	return ok
}

func (t *Trail) rest(scope string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rests[scope] = t.now().Add(restFor)
}
