package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/planstore"
)

// shownPlans keeps the plans that reports have read from the plan store: while an operation goes on its report is made
// again every few seconds, and what has been planned does not change. Plans are secrets, so they are kept in memory alone,
// and only what reports show of them.
type shownPlans struct {
	mu    sync.Mutex
	plans map[string]*tfjson.Plan // by id
	bytes int64                   // of their JSON
}

// The most that is kept, in bytes of JSON: all of it, and one plan. In memory it is several times as much.
const (
	mostShown    = 16 << 20
	mostShownOne = 2 << 20
)

// read reads a plan from the store, unless it is at hand. The plan must not be changed.
func (s *shownPlans) read(ctx context.Context, store *planstore.Store, receipt planstore.Plan) (*tfjson.Plan, error) {
	s.mu.Lock()
	plan := s.plans[receipt.ID]
	s.mu.Unlock()
	if plan != nil {
		return plan, nil
	}
	text, err := store.JSON(ctx, receipt.ID)
	if err != nil {
		return nil, err
	}
	plan = &tfjson.Plan{}
	if err := json.Unmarshal(text, plan); err != nil {
		return nil, fmt.Errorf("read the JSON of plan %s: %w", receipt.ID, err)
	}
	plan = shownOf(plan)
	size := int64(len(text))
	if size > mostShownOne {
		return plan, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+size > mostShown || s.plans == nil {
		s.plans, s.bytes = map[string]*tfjson.Plan{}, 0 // those of operations that go on are soon read again
	}
	if s.plans[receipt.ID] == nil {
		s.plans[receipt.ID] = plan
		s.bytes += size
	}
	return plan, nil
}

// shownOf is what reports show of a plan.
func shownOf(plan *tfjson.Plan) *tfjson.Plan {
	shown := &tfjson.Plan{
		FormatVersion: plan.FormatVersion, TerraformVersion: plan.TerraformVersion,
		ResourceChanges: plan.ResourceChanges, ResourceDrift: plan.ResourceDrift, DeferredChanges: plan.DeferredChanges,
		OutputChanges: plan.OutputChanges, Checks: plan.Checks, ActionInvocations: plan.ActionInvocations,
	}
	if shown.FormatVersion == "" {
		shown.FormatVersion = "1.2" // else it could not be read again; an empty plan is made without one
	}
	return shown
}
