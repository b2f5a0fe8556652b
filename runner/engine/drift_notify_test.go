package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/planstore"
)

// hook is a receiver of notifications.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []string
	refuse bool
}

const hookSecret = "h00k-s3cr3t-canary"

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.refuse {
			http.Error(w, "not now, "+r.URL.Path, http.StatusServiceUnavailable)
			return
		}
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		h.got = append(h.got, body["message"])
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) messages() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (h *hook) setRefuse(refuse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = refuse
}

func (h *hook) target(t *testing.T, name string, rule notify.Rule, digest time.Duration) *notify.Target {
	t.Helper()
	target, err := notify.Open(name, "generic+"+h.URL+"/"+hookSecret+"?template=json", rule, digest)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func (d drifting) happened(events ...notify.Event) {
	d.t.Helper()
	d.tx(func(ctx context.Context, tx *sql.Tx) error { return d.engine.tellPeople(ctx, tx, d.id, events...) })
}

// send works what is due, as the queue does.
func (d drifting) send(e *Engine) {
	d.t.Helper()
	var names []string
	d.tx(func(ctx context.Context, tx *sql.Tx) (err error) {
		names, err = e.store.dueTargets(ctx, tx, 10)
		return err
	})
	for _, name := range names {
		err := e.workNotify(d.t.Context(), name)
		if err == nil {
			continue
		}
		if strings.Contains(err.Error(), hookSecret) {
			d.t.Errorf("the error shows the address: %v", err)
		}
		d.tx(func(ctx context.Context, tx *sql.Tx) error { return e.giveBackNotify(ctx, tx, name, err) })
	}
}

func (d drifting) waiting() (n int) {
	d.t.Helper()
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM outbox").Scan(&n)
	})
	return n
}

var aNode = notify.Finding{Address: "toy_node.a", Class: "node", Cause: "outside"}

func TestNotificationsAreGatheredAndRuled(t *testing.T) {
	d := newDrifting(t)
	all, some := newHook(t), newHook(t)
	d.engine.Notify = []*notify.Target{
		all.target(t, "all", notify.Rule{}, 0), some.target(t, "some", notify.Rule{Workspaces: []string{"prod/**"}, States: []notify.State{notify.Drifted}}, time.Hour),
	}
	d.found("prod/net", finding("toy_node.a", drift.CauseOutside, "size"))
	d.tellIssue("prod/net")
	url := d.issue("prod/net", true).URL
	d.happened(notify.Event{Workspace: "prod/net", State: notify.Drifted, Findings: []notify.Finding{aNode}})
	d.happened(notify.Event{Workspace: "dns", State: notify.Unknown, Note: "throttled " + environSecret})
	d.send(d.engine)
	if got := all.messages(); len(got) != 0 {
		t.Errorf("told before others could come: %q", got)
	}
	d.later(gather)
	d.send(d.engine)
	got := all.messages()
	if len(got) != 1 || !strings.Contains(got[0], "prod/net has drifted: toy_node.a (outside, node) "+url) || !strings.Contains(got[0], "dns cannot be looked at; throttled (redacted)") {
		t.Errorf("messages are %q", got)
	}
	d.happened(notify.Event{Workspace: "prod/dns", State: notify.Drifted, Findings: []notify.Finding{aNode}})
	d.later(time.Hour)
	d.send(d.engine)
	if got := some.messages(); len(got) != 1 || !strings.Contains(got[0], "prod/net") || !strings.Contains(got[0], "prod/dns") || strings.Contains(got[0], "throttled") {
		t.Errorf("the digest is %q", got)
	}
	d.send(d.engine)
	d.later(time.Hour)
	d.send(d.engine)
	if n := d.waiting(); n != 0 || len(some.messages()) != 1 || len(all.messages()) != 2 {
		t.Errorf("%d events wait; messages are %q and %q", n, all.messages(), some.messages())
	}
}

// TestNotificationsOutliveFailuresAndKills: none is lost, and what may have been told twice says so.
func TestNotificationsOutliveFailuresAndKills(t *testing.T) {
	d := newDrifting(t)
	h := newHook(t)
	d.engine.Notify = []*notify.Target{h.target(t, "ops", notify.Rule{}, 0)}
	h.setRefuse(true)
	d.happened(notify.Event{Workspace: "net", State: notify.Drifted, Findings: []notify.Finding{aNode}})
	d.later(gather)
	d.send(d.engine)
	var problem string
	var next, failures int64
	look := func() {
		t.Helper()
		d.tx(func(ctx context.Context, tx *sql.Tx) error {
			return tx.QueryRowContext(ctx, "SELECT problem, next_at, attempts FROM notify_target").Scan(&problem, &next, &failures)
		})
	}
	look()
	if !strings.Contains(problem, "503") || strings.Contains(problem, hookSecret) || failures != 1 || !time.UnixMilli(next).After(d.engine.Now()) {
		t.Errorf("the problem is %q, after %d failures, tried again at %v", problem, failures, time.UnixMilli(next))
	}
	h.setRefuse(false)
	d.later(time.Hour)

	// Without the plan store nobody has the key: they wait for it.
	plans := d.engine.Plans
	d.engine.Plans = func(string) (*planstore.Store, error) { return nil, errors.New("the plan store does not answer") }
	d.send(d.engine)
	d.engine.Plans = plans
	if got := h.messages(); len(got) != 0 || d.waiting() != 1 {
		t.Errorf("without the plan store, messages are %q, and %d events wait", got, d.waiting())
	}
	d.later(time.Hour)

	// A process takes them and is killed: whether they were sent nobody knows.
	d.tx(func(ctx context.Context, tx *sql.Tx) error {
		rows, ok, err := d.engine.store.claimTarget(ctx, tx, "ops", "dead", 10)
		if len(rows) != 1 || !ok {
			t.Errorf("claimed %d, %v", len(rows), ok)
		}
		return err
	})
	d.send(d.engine)
	if got := h.messages(); len(got) != 0 {
		t.Errorf("two processes send to one target: %q", got)
	}
	if err := d.engine.sweepOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.send(d.engine)
	if got := h.messages(); len(got) != 1 || !strings.HasPrefix(got[0], "(maybe again) ") {
		t.Errorf("messages are %q", got)
	}
	d.later(time.Hour)
	d.send(d.engine)
	if got := h.messages(); len(got) != 1 || d.waiting() != 0 {
		t.Errorf("messages are %q, and %d events wait", got, d.waiting())
	}
	if strings.Contains(d.log.String(), hookSecret) {
		t.Error("the address is in the log")
	}

	// What waits for a target that is not configured any more is dropped.
	d.happened(notify.Event{Workspace: "net", State: notify.Clean})
	d.engine.Notify = nil
	if err := d.engine.workNotify(t.Context(), "ops"); err != nil || d.waiting() != 0 {
		t.Errorf("%v, and %d events wait", err, d.waiting())
	}
}
