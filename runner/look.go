package runner

import (
	"context"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Look plans a workspace and lists what differs, measured against its last apply. Nothing is judged, recorded or
// corrected. It serves to see what newer files than those that were applied would do: see drift.Ahead.
func (r *Runner) Look(ctx context.Context, w *workspaces.Workspace, o DriftOptions) ([]drift.Finding, error) {
	_, classes, err := driftPolicy(w, o)
	if err != nil {
		return nil, err
	}
	s, err := r.prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	defer s.close()
	applied, known, err := r.lastApplied(ctx, w.Name)
	if err != nil {
		return nil, err
	}
	m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan, Read: true})
	if err != nil {
		return nil, err
	}
	return drift.Find(r.against(m, applied, known, classes)), nil
}

// AsApplied reports whether the files of this checkout, and what else a workspace is planned from, are those of its last
// apply: then no other checkout has to be planned to tell what is drift. There need not be any files on disk yet.
func (r *Runner) AsApplied(ctx context.Context, w *workspaces.Workspace) (same, known bool, err error) {
	applied, known, err := r.lastApplied(ctx, w.Name)
	if err != nil || !known {
		return false, known, err
	}
	now, err := r.digest(ctx, w, terraform.Binary{})
	if err != nil {
		return false, true, err
	}
	return now.configuration == applied.Plan.ConfigurationDigest, true, nil
}

// SameInputs reports whether a workspace is planned from the same here and in another checkout: files, lock file, settings
// and variables. There need not be any files on disk yet.
func (r *Runner) SameInputs(ctx context.Context, w *workspaces.Workspace, other *Runner, there *workspaces.Workspace) (bool, error) {
	one, err := r.digest(ctx, w, terraform.Binary{})
	if err != nil {
		return false, err
	}
	two, err := other.digest(ctx, there, terraform.Binary{})
	return err == nil && one.inputs == two.inputs, err
}

// facts are what package drift needs to know of a plan.
func facts(p planstore.Plan) drift.Facts {
	if len(p.FloatingModules) > 0 {
		// The files do not say what such a module holds: no digest vouches for it.
		p.ConfigurationDigest = "floats " + p.CreatedAt.String()
	}
	return drift.Facts{
		Commit:           p.Commit,
		Dirty:            p.Dirty,
		InputsDigest:     p.ConfigurationDigest,
		Engine:           p.Engine,
		TerraformVersion: p.TerraformVersion,
		Providers:        p.Providers,
		Serial:           p.Serial,
		Lineage:          p.Lineage,
	}
}

// baseline is what drift is measured against: the last apply.
func baseline(a planstore.Applied) *drift.Facts {
	f := facts(a.Plan)
	f.Serial, f.Lineage, f.Partial = a.Serial, a.Lineage, a.Partial
	return &f
}
