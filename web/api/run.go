package api

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Run is one workspace in one plan, apply or look for drift.
type Run struct {
	ID         string `json:"id"` // sorts by time
	Repository string `json:"repository"`
	Workspace  string `json:"workspace"`
	Kind       string `json:"kind"`
	Status     string `json:"status"`
	Phase      string `json:"phase"` // what a running one does
	Cause      string `json:"cause"`
	Actor      string `json:"actor"`
	Change     int    `json:"change"` // number of the pull request; 0 for none
	Commit     string `json:"commit"`
	CreatedAt  Time   `json:"created_at"`
	StartedAt  Time   `json:"started_at"`
	EndedAt    Time   `json:"ended_at"`
}

func runOf(r engine.RunCard) Run {
	return Run{
		ID: r.ID, Repository: string(r.Repository), Workspace: r.Workspace, Kind: string(r.Kind), Status: string(r.Status), Phase: string(r.Phase), Cause: string(r.Cause),
		Actor: r.Actor, Change: r.Change, Commit: r.Commit, CreatedAt: at(r.CreatedAt), StartedAt: at(r.StartedAt), EndedAt: at(r.EndedAt),
	}
}

var kinds = []engine.Kind{engine.KindPlan, engine.KindApply, engine.KindUnlock, engine.KindDrift, engine.KindAdopt}

// maxChange is the largest number that a pull request may have.
const maxChange = 1 << 31

func (a *API) runs(c *call) work {
	f := engine.RunFilter{
		Repository: engine.RepoID(c.name("repository")), Workspace: c.name("workspace"), Change: c.number("change", 1, maxChange, 0), Kind: engine.Kind(c.choice("kind", texts(kinds)...)),
		Since: c.time("since"), Notable: c.flag("notable"), Limit: c.limit(),
	}
	for _, status := range c.choices("status", texts(engine.Statuses())...) {
		f.Statuses = append(f.Statuses, engine.Status(status))
	}
	if parts := c.cursor("runs", 1); parts != nil {
		f.Before = parts[0]
	}
	return func(ctx context.Context) (any, error) {
		l, err := a.Views.Runs(ctx, c.sight, f)
		if err != nil {
			return nil, err
		}
		v := List[Run]{Items: all(l.Runs, runOf)}
		if n := len(l.Runs); l.More {
			v.Next = c.next("runs", l.Runs[n-1].ID)
		}
		return v, nil
	}
}

// RunDetail is a run with what it came to and who allowed it.
type RunDetail struct {
	Run
	Operation   string       `json:"operation"` // which the others are of, too
	Branch      string       `json:"branch"`
	ChangeTitle string       `json:"change_title"`
	ChangeURL   string       `json:"change_url"`
	Reasons     []string     `json:"reasons"` // why the workspace is touched
	Waits       []string     `json:"waits"`   // for what
	Notes       []string     `json:"notes"`
	Error       string       `json:"error"`
	Hold        *Hold        `json:"hold"`  // why what was reviewed was not applied
	Plans       []PlanTotals `json:"plans"` // that /runs/{id}/plan shows
	Receipt     Receipt      `json:"receipt"`
	Decisions   []Decision   `json:"decisions"` // about this run, the oldest first
	Others      []Run        `json:"others"`    // of the same operation
}

// Hold says why a reviewed plan was not applied.
type Hold struct {
	Reason      string   `json:"reason"`
	Next        string   `json:"next"` // what to do
	Differences []string `json:"differences"`
}

// PlanTotals is what a plan does, in numbers.
type PlanTotals struct {
	Which   string        `json:"which"`
	Totals  string        `json:"totals"` // in words
	Actions []ActionCount `json:"actions"`
}

// ActionCount is to how many objects something is done.
type ActionCount struct {
	Action string `json:"action"`
	Count  int    `json:"count"`
}

// Receipt is what a plan vouches for.
type Receipt struct {
	Plan             string            `json:"plan"` // ids
	ReviewedPlan     string            `json:"reviewed_plan"`
	Fingerprint      string            `json:"fingerprint"`
	Commit           string            `json:"commit"`
	InputsDigest     string            `json:"inputs_digest"`
	Lineage          string            `json:"lineage"` // of the state that was planned against
	Serial           uint64            `json:"serial"`
	Engine           string            `json:"engine"`
	TerraformVersion string            `json:"terraform_version"`
	Providers        map[string]string `json:"providers"` // source to version
	CreatedAt        Time              `json:"created_at"`
}

func receiptOf(r engine.Run, p planstore.Plan) Receipt {
	v := Receipt{
		Plan: r.Plan, ReviewedPlan: r.Reviewed, Fingerprint: r.Fingerprint, Commit: p.Commit, InputsDigest: p.InputsDigest, Lineage: p.Lineage, Serial: p.Serial,
		Engine: p.Engine, TerraformVersion: p.TerraformVersion, Providers: p.Providers, CreatedAt: at(p.CreatedAt),
	}
	if v.Providers == nil {
		v.Providers = map[string]string{}
	}
	return v
}

// The plans of a run.
const (
	whichPlan  = "plan"  // that was made, reviewed or applied
	whichFresh = "fresh" // that would be applied now instead of the one that was reviewed
)

func (a *API) run(c *call) work {
	id := c.id()
	return func(ctx context.Context) (any, error) {
		d, err := a.Views.Run(ctx, c.sight, id)
		if err != nil {
			return nil, err
		}
		r, o := d.Run, d.Operation
		v := RunDetail{
			Run: runOf(engine.RunCard{
				ID: r.ID, Repository: r.Repository, Workspace: r.Workspace, Change: o.Change, Kind: r.Kind, Cause: o.Cause, Actor: o.Actor, Commit: o.Commit,
				Status: r.Status, Phase: r.Phase, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
			}),
			Operation: o.ID, Branch: o.Branch, ChangeTitle: d.Change.Title, ChangeURL: outward(d.Change.URL), Reasons: texts(r.Reasons), Waits: texts(d.Waits), Notes: texts(d.Notes),
			Error: d.Error, Plans: []PlanTotals{}, Receipt: receiptOf(r, d.Receipt), Decisions: all(d.Decisions, decisionOf), Others: []Run{},
		}
		if h := d.Hold; h != nil {
			v.Hold = &Hold{h.Reason, h.Next, texts(h.Differences)}
		}
		for _, plan := range []struct {
			which string
			diff  *prcomment.Diff
		}{{whichPlan, d.Diff}, {whichFresh, d.Fresh}} {
			if plan.diff != nil {
				v.Plans = append(v.Plans, totalsOf(plan.which, plan.diff))
			}
		}
		for _, other := range d.Others {
			if other.ID != r.ID {
				v.Others = append(v.Others, runOf(other))
			}
		}
		return v, nil
	}
}

// actions are what a plan may do to an object, the most dangerous first.
var actions = []string{
	"destroy", "replace", "update", "create", "forget", "import", "move", "read", "output", "defer", "invoke", "other", "changed_outside", "deleted_outside",
}

func totalsOf(which string, d *prcomment.Diff) PlanTotals {
	v, counts := PlanTotals{Which: which, Totals: d.Totals, Actions: []ActionCount{}}, map[string]int{}
	for _, item := range d.Items {
		counts[word(item.Deed)]++
	}
	for _, action := range actions {
		if n := counts[action]; n > 0 {
			v.Actions = append(v.Actions, ActionCount{action, n})
		}
	}
	return v
}

// PlanItem is what a plan does to one object.
type PlanItem struct {
	Action  string   `json:"action"`
	Address string   `json:"address"`
	Why     string   `json:"why"`
	Lines   []string `json:"lines"` // of a diff: each begins with its sign, +, -, ! or a space, and a space
	Cut     bool     `json:"cut"`   // there would be more lines
}

// How much of a plan is in one answer, in bytes of lines, and how much of one object.
const (
	planRoom = 4 << 20
	itemRoom = 24_000
)

func (a *API) plan(c *call) work {
	id, which, action, limit, from := c.id(), c.choice("which", whichPlan, whichFresh), c.choice("action", actions...), c.limit(), 0
	if parts := c.cursor("plan", 1); parts != nil {
		n, err := strconv.Atoi(parts[0])
		if from = n; err != nil || n < 0 {
			c.fail("cursor", "is not one that this list has given: take it from next, as it is")
		}
	}
	return func(ctx context.Context) (any, error) {
		d, err := a.Views.Run(ctx, c.sight, id)
		if err != nil {
			return nil, err
		}
		diff := d.Diff
		if which == whichFresh {
			diff = d.Fresh
		}
		if diff == nil {
			return nil, problem(kindNotFound, "The run has no such plan that could be shown, or not any more: /runs/"+id+" lists its plans.")
		}
		items := diff.Items
		if action != "" {
			items = slices.DeleteFunc(slices.Clone(items), func(i prcomment.DiffItem) bool { return word(i.Deed) != action })
		}
		from = min(from, len(items))
		v, room := List[PlanItem]{Items: []PlanItem{}}, planRoom
		for i, item := range items[from:] {
			if len(v.Items) == limit || room <= 0 {
				v.Next = c.next("plan", strconv.Itoa(from+i))
				break
			}
			lines, cut := item.Lines(itemRoom)
			for _, line := range lines {
				room -= len(line)
			}
			v.Items = append(v.Items, PlanItem{word(item.Deed), item.Address, item.Why, texts(lines), cut})
		}
		return v, nil
	}
}

// Queue is what is worked, what waits, and what happened last.
type Queue struct {
	Running []QueuedRun `json:"running"` // the oldest first
	Waiting []QueuedRun `json:"waiting"` // in the order of their operations
	More    int         `json:"more"`    // that are not shown
	Retries []Retry     `json:"retries"` // what failed and is tried again
	Recent  []Operation `json:"recent"`  // the newest first
}

// QueuedRun is a run that has not ended.
type QueuedRun struct {
	Run
	ChangeTitle string   `json:"change_title"`
	ChangeURL   string   `json:"change_url"`
	Waits       []string `json:"waits"`
}

// Retry is an event or a report that could not be worked and is tried again.
type Retry struct {
	What       string `json:"what"`
	Repository string `json:"repository"`
	Change     int    `json:"change"`
	Attempts   int    `json:"attempts"`
	NextAt     Time   `json:"next_at"`
	Problem    string `json:"problem"`
}

// Operation is one plan or one apply, of one change or push, at one commit.
type Operation struct {
	ID          string       `json:"id"`
	Repository  string       `json:"repository"`
	Kind        string       `json:"kind"`
	Status      string       `json:"status"`
	Cause       string       `json:"cause"`
	Actor       string       `json:"actor"`
	Change      int          `json:"change"`
	ChangeTitle string       `json:"change_title"`
	ChangeURL   string       `json:"change_url"`
	Branch      string       `json:"branch"`
	Commit      string       `json:"commit"`
	CreatedAt   Time         `json:"created_at"`
	EndedAt     Time         `json:"ended_at"`
	Runs        []RunSummary `json:"runs"`
}

// RunSummary is a run in a few words.
type RunSummary struct {
	ID        string `json:"id"`
	Workspace string `json:"workspace"`
	Status    string `json:"status"`
	Phase     string `json:"phase"`
}

func (a *API) queue(c *call) work {
	return func(ctx context.Context) (any, error) {
		q, err := a.Views.Queue(ctx, c.sight)
		if err != nil {
			return nil, err
		}
		queued := func(r engine.QueuedRun) QueuedRun {
			return QueuedRun{runOf(r.RunCard), r.Title, outward(r.URL), texts(r.Waits)}
		}
		return Queue{
			Running: all(q.Running, queued), Waiting: all(q.Waiting, queued), More: q.More,
			Retries: all(q.Retries, func(r engine.RetryView) Retry {
				return Retry{r.What, string(r.Repository), r.Change, r.Attempts, at(r.NextAt), r.Problem}
			}),
			Recent: all(q.Recent, func(o engine.OperationSummary) Operation {
				return Operation{
					ID: o.ID, Repository: string(o.Repository), Kind: string(o.Kind), Status: string(o.Status), Cause: string(o.Cause), Actor: o.Actor, Change: o.Change,
					ChangeTitle: o.Title, ChangeURL: outward(o.URL), Branch: o.Branch, Commit: o.Commit, CreatedAt: at(o.CreatedAt), EndedAt: at(o.EndedAt),
					Runs: all(o.Runs, func(r engine.RunSummary) RunSummary {
						return RunSummary{r.ID, r.Workspace, string(r.Status), string(r.Phase)}
					}),
				}
			}),
		}, nil
	}
}

// Took is how long the run took, or 0 while it runs.
func (r Run) Took() time.Duration {
	if r.StartedAt.IsZero() || r.EndedAt.IsZero() {
		return 0
	}
	return r.EndedAt.Sub(r.StartedAt.Time)
}
