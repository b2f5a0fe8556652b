package runner

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Plan plans the selected workspaces and stores each plan. Results are in
// graph order; a workspace that fails does not keep others from being planned,
// since a plan changes nothing that another one reads.
func (r *Runner) Plan(ctx context.Context, selected []*workspaces.Workspace) []Result {
	results := r.each(ctx, selected, func(ctx context.Context, w *workspaces.Workspace, _ []Result) Result {
		return r.plan(ctx, w)
	})
	noteUpstream(results)
	return results
}

func (r *Runner) plan(ctx context.Context, w *workspaces.Workspace) Result {
	if w.Removed {
		return Result{Status: Removed, Notes: w.Warnings}
	}
	s, err := r.prepare(ctx, w)
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	defer s.close()

	made, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan})
	if err != nil {
		return Result{Status: Failed, Err: err, Notes: s.notes}
	}
	receipt, err := r.keep(ctx, s, made)
	if err != nil {
		return Result{Status: Failed, Err: err, Plan: made.plan, Notes: s.notes}
	}
	res := Result{Status: Unchanged, Receipt: receipt, Plan: made.plan, Notes: s.notes}
	if made.changes {
		res.Status = Planned
	}
	if len(receipt.FloatingModules) > 0 {
		res.Notes = append(res.Notes, floatingNote(receipt.FloatingModules))
	}
	return res
}

type planOptions struct {
	Purpose string
	Targets []string
	// Read asks for the plan in JSON even when nothing would change, which is
	// what finding drift needs. Otherwise an empty plan is not read: that
	// saves a process.
	Read bool
	// Known, with Read, says of an empty plan's content whether it is known what
	// it says; then it is not read. nil: it is not.
	Known func(content string) bool
}

// made is a plan that Terraform has just written.
type made struct {
	receipt planstore.Plan
	changes bool
	path    string
	raw     []byte
	plan    *tfjson.Plan
}

// planAt plans a site, without its state's lock, and reads what came of it.
func (r *Runner) planAt(ctx context.Context, s *site, o planOptions) (*made, error) {
	r.observe(s.workspace, PhasePlan)
	if err := s.renew(ctx); err != nil {
		return nil, err
	}
	m := &made{path: s.file(o.Purpose + ".tfplan")}
	var err error
	if s.digests, err = r.digest(ctx, s.workspace, s.binary); err != nil {
		return nil, err
	}
	r.opts.Output.hold()
	defer r.opts.Output.release()
	changes, err := s.dir.Plan(ctx, terraform.PlanOptions{Out: m.path, Targets: o.Targets})
	if err != nil {
		return nil, err
	}
	// The plan was made from the files that the digest is of, or it was not:
	// somebody may have pulled meanwhile.
	if now, err := r.digest(ctx, s.workspace, s.binary); err != nil {
		return nil, err
	} else if now.inputs != s.inputs {
		return nil, errors.New("the files that the plan was made from changed while it was made: plan again")
	}
	m.changes = changes
	content, err := terraform.PlanContent(m.path)
	if err != nil {
		return nil, err
	}
	if changes || o.Read && (o.Known == nil || !o.Known(content)) {
		if err := r.read(ctx, s, m, content); err != nil {
			return nil, err
		}
		r.opts.Output.learn(m.plan)
		if err := s.grant.Check(m.raw); err != nil {
			r.opts.Output.discard()
			return nil, err
		}
	}
	state, err := terraform.PlanState(m.path)
	if err != nil {
		// OpenTofu can encrypt its plan files; then the state is asked.
		if state, err = s.dir.State(ctx); err != nil {
			return nil, err
		}
	}
	// A plan that was not read has no changes, as has an empty one.
	fingerprint, err := r.opts.Plans.Fingerprint(cmp.Or(m.plan, &tfjson.Plan{}))
	if err != nil {
		return nil, err
	}
	providers, err := s.dir.Providers()
	if err != nil {
		return nil, err
	}
	w := s.workspace
	m.receipt = planstore.Plan{
		Repository:          r.opts.Repository,
		Workspace:           w.Name,
		Dir:                 w.Dir,
		TerraformWorkspace:  w.Workspace,
		Commit:              r.opts.Commit,
		Dirty:               r.opts.Dirty,
		Change:              r.opts.Change,
		Run:                 r.opts.Run,
		InputsDigest:        s.inputs,
		ConfigurationDigest: s.configuration,
		EnvironmentDigest:   s.environment,
		ProvidersDigest:     providersDigest(m.plan),
		ContentDigest:       content,
		Lineage:             state.Lineage,
		Serial:              state.Serial,
		Fingerprint:         fingerprint,
		Engine:              s.binary.Engine,
		TerraformVersion:    s.binary.Version,
		Providers:           providers,
		FloatingModules:     floating(w),
		Counts:              planstore.Count(m.plan),
		Targets:             o.Targets,
		Purpose:             o.Purpose,
		CreatedAt:           r.opts.Now().UTC(),
	}
	return m, nil
}

// read fills in what a plan says. A plan with the very content of the newest
// stored one says what that one says: then the process that would show it is
// saved, and people wait less.
func (r *Runner) read(ctx context.Context, s *site, m *made, content string) error {
	if last, err := r.opts.Plans.LatestOf(ctx, s.workspace.Name, r.opts.Change); err == nil && content != "" && last.ContentDigest == content && last.JSONBytes > 0 {
		if raw, err := r.opts.Plans.JSON(ctx, last.ID); err == nil {
			if plan, err := terraform.ParsePlan(raw); err == nil {
				m.raw, m.plan = raw, plan
				return nil
			}
		}
	}
	var err error
	m.raw, m.plan, err = s.dir.Show(ctx, m.path)
	return err
}

// keep seals a plan into the store. The store outlives an interrupt: a plan
// that was made is kept even when the run is being stopped.
func (r *Runner) keep(ctx context.Context, s *site, m *made) (planstore.Plan, error) {
	file, err := openForStore(m.path)
	if err != nil {
		return planstore.Plan{}, err
	}
	defer file.Close()
	receipt, err := r.opts.Plans.Put(context.WithoutCancel(ctx), m.receipt, file, bytes.NewReader(m.raw))
	if err != nil {
		return planstore.Plan{}, fmt.Errorf("store the plan of %s: %w", s.workspace.Name, err)
	}
	return receipt, nil
}

// noteUpstream tells the reader of a plan what it could not see: a workspace
// it depends on is about to change, too.
func noteUpstream(results []Result) {
	changing := map[string]bool{}
	for _, r := range results {
		if r.Status == Planned {
			changing[r.Workspace.Name] = true
		}
	}
	for i := range results {
		w := results[i].Workspace
		for _, dep := range w.DependsOn {
			if changing[dep] && results[i].Status != Removed {
				results[i].Notes = append(results[i].Notes, fmt.Sprintf(
					"It depends on %s, which is about to change as well: after that apply it is planned again, and applied only if its plan is still this one.", dep))
			}
		}
	}
}

// floating lists the remote modules that may be something else tomorrow.
func floating(w *workspaces.Workspace) []string {
	var names []string
	for _, m := range w.RemoteModules {
		if m.Floating {
			names = append(names, fmt.Sprintf("%s (%s)", m.Call, m.Source))
		}
	}
	return names
}

func floatingNote(modules []string) string {
	return fmt.Sprintf("The inputs digest cannot vouch for modules that float; pin them to a version or a commit: %s.", list(modules))
}

// storedPlan reads a stored plan's JSON; nil for a plan that changes nothing,
// which has none.
func (r *Runner) storedPlan(ctx context.Context, receipt planstore.Plan) (*tfjson.Plan, error) {
	raw, err := r.opts.Plans.JSON(ctx, receipt.ID)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, nil
	}
	plan, err := terraform.ParsePlan(raw)
	r.opts.Output.learn(plan)
	return plan, err
}
