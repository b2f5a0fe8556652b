package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// apply applies what was reviewed of a workspace, or what was accepted.
func (t *task) apply(ctx context.Context, f *furnished) runner.Result {
	c, err := t.choose(ctx, f)
	if err != nil {
		return runner.Result{Status: runner.Failed, Err: err}
	}
	return f.runner.ApplyChosen(ctx, f.workspace, c)
}

// choose says which plan is to be applied.
func (t *task) choose(ctx context.Context, f *furnished) (runner.Choice, error) {
	accepted := t.op.Accept[t.run.Workspace]
	c := runner.Choice{PlanID: t.run.Reviewed}
	if c.PlanID == "" {
		c.Trusted = accepted == acceptAny
		switch t.op.Cause {
		case CausePush:
			c.Unreviewed = "It was pushed without a pull request, so nobody has reviewed a plan."
		case CauseMerged:
			c.Unreviewed = "It was merged before a plan of it was reviewed."
		default:
			c.Unreviewed = "What is left to do has not been reviewed."
		}
		return c, nil
	}
	receipt, err := t.plans.Get(ctx, c.PlanID)
	if errors.Is(err, planstore.ErrNotFound) {
		return c, nil // runner says so
	}
	if err != nil {
		return c, err
	}
	c.Accepted = accepted != "" && accepted == receipt.Fingerprint
	c.Upstream, err = t.movedSince(ctx, f, receipt)
	return c, err
}

// movedSince names what a workspace depends on and that was changed after its plan was made: what the plan read of it may
// be history.
func (t *task) movedSince(ctx context.Context, f *furnished, receipt planstore.Plan) ([]string, error) {
	var moved []string
	for _, name := range upstreamOf(f.set, f.workspace) {
		last, err := t.plans.LastApplied(ctx, name)
		if errors.Is(err, planstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if last.AppliedAt.After(receipt.CreatedAt) && last.Plan.Counts.Any() {
			moved = append(moved, name)
		}
	}
	return moved, nil
}

// upstreamOf are the workspaces that one depends on, directly or through others.
func upstreamOf(set *workspaces.Set, w *workspaces.Workspace) []string {
	all := slices.Clone(w.DependsOn)
	for i := 0; i < len(all); i++ {
		if dep, ok := set.Get(all[i]); ok {
			for _, name := range dep.DependsOn {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	return all
}

// begin writes that Terraform is about to apply a plan: without that in the row, nothing was begun. It waits out a
// database that is gone, for as long as the run may.
func (t *task) begin(ctx context.Context, w *workspaces.Workspace, receipt planstore.Plan) error {
	for {
		err := t.DB.Tx(ctx, func(tx *sql.Tx) error {
			if err := t.store.beginApply(ctx, tx, t.run.ID, t.run.Owner, receipt); err != nil {
				return err
			}
			_, err := t.Audit.Append(ctx, tx, audit.Entry{
				Actor: t.op.Actor, Action: string(KindApply), Repository: t.repo.Repo.String(), Change: int64(t.op.Change), Workspace: w.Name,
				Commit: t.op.Commit, Fingerprint: receipt.Fingerprint, Allowed: true, Reason: "the gate lets this plan pass; Terraform is started on it",
				Details: map[string]string{
					"run": t.run.ID, "plan": receipt.ID, "lineage": receipt.Lineage, "serial": strconv.FormatUint(receipt.Serial, 10),
					"terraform": receipt.TerraformVersion, "engine": receipt.Engine, "status": "begun",
				},
			})
			return err
		})
		if err == nil {
			t.run.Phase = PhaseApplying
			return nil
		}
		if !passes(err) || ctx.Err() != nil {
			return err
		}
		t.log.Warn("an apply waits for the database", "run", t.run.ID, "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// beginApply writes that a run applies a plan. It is errTaken if the run is no longer its owner's.
func (s *store) beginApply(ctx context.Context, tx *sql.Tx, id, owner string, receipt planstore.Plan) error {
	ok, err := s.change1(ctx, tx, "UPDATE run SET phase = 'applying', plan = $1, fingerprint = $2 WHERE id = $3 AND status = 'running' AND owner = $4",
		receipt.ID, receipt.Fingerprint, id, owner)
	if err == nil && !ok {
		err = errTaken
	}
	if err != nil {
		return fmt.Errorf("note that the run %s applies: %w", id, err)
	}
	return nil
}
