package engine

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
	"golang.org/x/sync/errgroup"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// outcome is the account of an ended run as it rests in the run's row, sealed with the plan store's key: what Terraform
// printed may hold secrets.
type outcome struct {
	Status     runner.Status  `json:"status"`
	Receipt    planstore.Plan `json:"receipt"` // of the plan that was made or applied; zero if none was
	Error      string         `json:"error,omitempty"`
	NotStarted bool           `json:"not_started,omitempty"` // the error is runner.ErrNotStarted
	// Locked is who held the lock of the state, where the error says so.
	Locked    *terraform.LockedError `json:"locked,omitempty"`
	Notes     []string               `json:"notes,omitempty"`
	Hold      *held                  `json:"hold,omitempty"`
	Kept      string                 `json:"kept,omitempty"` // see runner.Result
	Apply     string                 `json:"apply,omitempty"`
	Approvals int                    `json:"approvals,omitempty"`
	Elapsed   time.Duration          `json:"elapsed,omitempty"`
	// Plan is the plan of an apply, packed. A plan that was applied leaves the plan store, and what was done is told after.
	// What a plan run made is in the plan store and not here.
	Plan []byte `json:"plan,omitempty"`
	// Adoption is what an adoption came to.
	Adoption *adoption `json:"adoption,omitempty"`
}

// held is a runner.Hold.
type held struct {
	Reason      string   `json:"reason"`
	Differences []string `json:"differences,omitempty"`
	Next        string   `json:"next,omitempty"`
	Fingerprint string   `json:"fingerprint,omitempty"`
	Planned     bool     `json:"planned,omitempty"` // there is a new plan, though it may change nothing
	PlanID      string   `json:"plan_id,omitempty"` // by which the new plan is in the plan store
	Plan        []byte   `json:"plan,omitempty"`    // the new plan, packed: it may be accepted, applied, and gone from the store
}

// statusOf is what a run is once its runner has come to a result.
func statusOf(s runner.Status) Status {
	switch s {
	case runner.Partly:
		return Partly
	case runner.Planned, runner.Unchanged, runner.Applied, runner.Held, runner.Skipped, runner.Removed, runner.Drifted:
		return Status(s)
	}
	return Failed
}

// outcomeOf takes down a result.
func outcomeOf(res runner.Result) (outcome, error) {
	o := outcome{
		Status: res.Status, Receipt: res.Receipt, Notes: res.Notes, Kept: res.Kept, Elapsed: res.Elapsed,
		NotStarted: errors.Is(res.Err, runner.ErrNotStarted), Adoption: adoptionOf(res.Adoption),
	}
	if res.Workspace != nil {
		o.Apply, o.Approvals = res.Workspace.Apply, res.Workspace.Approvals
	}
	if res.Err != nil {
		o.Error = res.Err.Error()
		errors.As(res.Err, &o.Locked)
	}
	var err error
	switch res.Status {
	case runner.Applied, runner.Partly, runner.Held:
		if o.Plan, err = packPlan(res.Plan); err != nil {
			return outcome{}, err
		}
	}
	if h := res.Hold; h != nil {
		o.Hold = &held{Reason: h.Reason, Differences: h.Differences, Next: h.Next, Fingerprint: h.Fingerprint, Planned: h.Plan != nil, PlanID: h.PlanID}
		if o.Hold.Plan, err = packPlan(h.Plan); err != nil {
			return outcome{}, err
		}
	}
	return o, nil
}

// sealResult makes what goes into the result column of a run.
func sealResult(plans *planstore.Store, run string, res runner.Result) ([]byte, error) {
	o, err := outcomeOf(res)
	if err != nil {
		return nil, fmt.Errorf("write down the result of run %s: %w", run, err)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write down the result of run %s: %w", run, err)
	}
	return plans.Seal("run "+run, text)
}

// openResult reads what sealResult made. A run that ended without a result has the zero outcome.
func openResult(plans *planstore.Store, run Run) (outcome, error) {
	var o outcome
	if len(run.Result) == 0 {
		return o, nil
	}
	text, err := plans.Unseal("run "+run.ID, run.Result)
	if err != nil {
		return o, fmt.Errorf("read the result of run %s: %w", run.ID, err)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return o, fmt.Errorf("read the result of run %s: %w", run.ID, err)
	}
	return o, nil
}

// results rebuilds what the runs of an operation came to, in their order, from the rows and the plan store. A run that has
// not ended has a result without a status. Plans that are not in the store any more are left out, with a note; a store
// that cannot be read now is an error.
func (s *shownPlans) results(ctx context.Context, plans *planstore.Store, runs []Run) ([]runner.Result, error) {
	results := make([]runner.Result, len(runs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(resultReaders)
	for i, run := range runs {
		group.Go(func() error {
			o, err := openResult(plans, run)
			var broken *planstore.BrokenError
			if errors.As(err, &broken) {
				o.Notes = append(o.Notes, "What came of it is in the database, but does not open: "+broken.Detail+".")
			} else if err != nil {
				return err
			}
			results[i], err = o.result(ctx, plans, s, run)
			return err
		})
	}
	return results, group.Wait()
}

// told is an error as it was worded, with what it was about.
type told struct {
	text  string
	about error
}

func (e *told) Error() string { return e.text }
func (e *told) Unwrap() error { return e.about }

// resultReaders is how many plans are read at once: enough to hide the latency of S3.
const resultReaders = 8

// result is the runner's result again, with its plans.
func (o outcome) result(ctx context.Context, plans *planstore.Store, shown *shownPlans, run Run) (runner.Result, error) {
	res := runner.Result{
		Workspace: &workspaces.Workspace{Name: run.Workspace, Dir: run.Dir, Reasons: run.Reasons, Apply: o.Apply, Approvals: o.Approvals},
		Status:    o.Status, Receipt: o.Receipt, Notes: o.Notes, Kept: o.Kept, Elapsed: o.Elapsed,
	}
	switch {
	case o.NotStarted:
		res.Err = runner.ErrNotStarted
	case o.Locked != nil:
		res.Err = &told{o.Error, o.Locked}
	case o.Error != "":
		res.Err = errors.New(o.Error)
	}
	var err error
	if res.Plan, err = unpackPlan(o.Plan); err != nil {
		return res, fmt.Errorf("read the plan of run %s: %w", run.ID, err)
	}
	if o.Status == runner.Planned && o.Receipt.JSONBytes > 0 {
		plan, err := shown.read(ctx, plans, o.Receipt)
		var broken *planstore.BrokenError
		switch {
		case errors.Is(err, planstore.ErrNotFound):
			res.Notes = append(res.Notes, "Its plan is not in the plan store any more, so that it cannot be shown.")
		case errors.As(err, &broken):
			res.Notes = append(res.Notes, "Its plan cannot be shown: "+broken.Detail+".")
		case err != nil:
			return res, err
		default:
			res.Plan = plan
		}
	}
	if h := o.Hold; h != nil {
		res.Hold = &runner.Hold{Reason: h.Reason, Differences: h.Differences, Next: h.Next, Fingerprint: h.Fingerprint, PlanID: h.PlanID}
		if res.Hold.Plan, err = unpackPlan(h.Plan); err != nil {
			return res, fmt.Errorf("read the new plan of run %s: %w", run.ID, err)
		}
		if h.Planned && res.Hold.Plan == nil {
			res.Notes = append(res.Notes, "The new plan is too large to be shown here.")
		}
	}
	return res, nil
}

// mostPlan is how many bytes of a packed plan are kept in a row. What is larger is told by its numbers alone.
const mostPlan = 4 << 20

// packPlan packs what reports show of a plan; nil for no plan, and for one that is too large.
func packPlan(plan *tfjson.Plan) ([]byte, error) {
	if plan == nil {
		return nil, nil
	}
	var packed bytes.Buffer
	packer := gzip.NewWriter(&packed)
	if err := json.NewEncoder(packer).Encode(shownOf(plan)); err != nil {
		return nil, fmt.Errorf("pack a plan: %w", err)
	}
	if err := packer.Close(); err != nil {
		return nil, fmt.Errorf("pack a plan: %w", err)
	}
	if packed.Len() > mostPlan {
		return nil, nil
	}
	return packed.Bytes(), nil
}

// unpackPlan reads what packPlan made.
func unpackPlan(packed []byte) (*tfjson.Plan, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	unpacker, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(unpacker)
	if err != nil {
		return nil, err
	}
	var plan tfjson.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return nil, err
	}
	return &plan, nil
}
