package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/schedule"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// DriftOptions say what a sweep may do beyond looking.
type DriftOptions struct {
	// Correct allows corrections as plumbline.yaml configures them. Without it
	// a sweep only looks.
	Correct bool
	// AtMost, with Correct, caps every class at this ladder, and is the ladder
	// of a class that plumbline.yaml does not name. The zero value means no
	// cap, and never for a class that is not named.
	AtMost *drift.Ladder
}

// Drift plans each selected workspace again and says what has happened behind
// Git's back, why, and what may be done about it.
func (r *Runner) Drift(ctx context.Context, selected []*workspaces.Workspace, o DriftOptions) []Result {
	return r.each(ctx, selected, func(ctx context.Context, w *workspaces.Workspace, _ []Result) Result {
		return r.drift(ctx, w, o)
	})
}

func (r *Runner) drift(ctx context.Context, w *workspaces.Workspace, o DriftOptions) Result {
	policy, classes, err := driftPolicy(w, o)
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	s, err := r.prepare(ctx, w)
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	defer s.close()

	applied, err := r.opts.Plans.LastApplied(ctx, w.Name)
	known := err == nil
	if err != nil && !errors.Is(err, planstore.ErrNotFound) {
		return Result{Status: Failed, Err: err}
	}
	look := func(ctx context.Context) (*made, []drift.Finding, error) {
		m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan, Read: true})
		if err != nil {
			return nil, nil, err
		}
		in := drift.Input{Plan: m.plan, Current: facts(m.receipt), Classes: classes}
		if known {
			in.Baseline = baseline(applied)
			in.Perpetual = applied.Perpetual
		}
		return m, drift.Find(in), nil
	}
	m, findings, err := look(ctx)
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	verdict := drift.Decide(findings, policy, r.opts.Now())
	found := &DriftResult{Verdict: verdict, Remaining: remaining(verdict)}
	res := Result{Status: Unchanged, Receipt: m.receipt, Plan: m.plan, Drift: found, Notes: slices.Clone(s.notes)}
	if !known && len(findings) > 0 {
		res.Notes = append(res.Notes, "Plumbline has not applied this workspace yet, so what differs from the configuration cannot be told apart by age: it counts as not applied, unless Terraform itself saw the real object move.")
	}
	if o.Correct && len(verdict.Targets) > 0 {
		r.correct(ctx, s, verdict, found, &res)
		if res.Err != nil {
			return res
		}
		if found.Refused == nil {
			// Only a second look proves a correction.
			r.observe(w, PhaseVerify)
			_, left, err := look(ctx)
			if err != nil {
				return Result{Status: Failed, Err: fmt.Errorf("look again after the correction: %w", err), Drift: found}
			}
			r.settle(ctx, verdict, left, policy, found, &res)
		}
	}
	if found.Remaining > 0 {
		res.Status = Drifted
	}
	if len(findings) == 0 && !m.changes && !(known && sameFacts(facts(m.receipt), *baseline(applied))) {
		// A sweep that finds nothing proves as much as an apply would.
		if synced := r.inSync(ctx, planstore.Plan{}, m.receipt); synced.Err != nil {
			return synced
		}
	}
	return res
}

// sameFacts reports whether a baseline says of the present all there is to say.
func sameFacts(now, then drift.Facts) bool {
	return now.Commit == then.Commit && now.Dirty == then.Dirty && now.InputsDigest == then.InputsDigest &&
		now.Serial == then.Serial && now.Lineage == then.Lineage && !then.Partial &&
		now.TerraformVersion == then.TerraformVersion && maps.Equal(now.Providers, then.Providers)
}

// correct plans what the verdict allows and nothing else, holds that plan
// against the verdict resource by resource, and only then applies it.
func (r *Runner) correct(ctx context.Context, s *site, verdict drift.Verdict, found *DriftResult, res *Result) {
	m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposeCorrection, Targets: verdict.Targets, Read: true})
	if err != nil {
		res.Status, res.Err = Failed, fmt.Errorf("plan the correction: %w", err)
		return
	}
	if err := verdict.Check(m.plan); err != nil {
		found.Refused = err
		return
	}
	if !m.changes {
		found.Refused = errors.New("the drift was gone by the time it was to be corrected")
		return
	}
	receipt, err := r.keep(ctx, s, m)
	if err != nil {
		res.Status, res.Err = Failed, err
		return
	}
	before, known := r.lastApplied(ctx, s.workspace.Name)
	did := r.applyFile(ctx, s, receipt, m.path)
	res.Notes = append(res.Notes, did.Notes...)
	res.Kept = did.Kept
	if did.Status != Applied {
		res.Status, res.Err = did.Status, fmt.Errorf("correct the drift: %w", did.Err)
		return
	}
	r.carryBaseline(ctx, before, known, res)
}

// carryBaseline keeps what drift is measured against. A correction brings the
// real objects back to what was applied; it does not apply a newer commit.
func (r *Runner) carryBaseline(ctx context.Context, before planstore.Applied, known bool, res *Result) {
	if !known {
		return
	}
	ctx = context.WithoutCancel(ctx)
	latest, ok := r.lastApplied(ctx, before.Plan.Workspace)
	if !ok {
		return
	}
	before.AppliedAt = latest.AppliedAt
	before.Serial, before.Lineage = latest.Serial, latest.Lineage
	if err := r.opts.Plans.PutApplied(ctx, before); err != nil {
		res.Notes = append(res.Notes, fmt.Sprintf("The correction could not be recorded: %v.", err))
	}
}

func (r *Runner) lastApplied(ctx context.Context, workspace string) (planstore.Applied, bool) {
	applied, err := r.opts.Plans.LastApplied(ctx, workspace)
	return applied, err == nil
}

// settle compares what a second look still finds with what was corrected. A
// finding that is back at once is noise of its provider, not drift, and is
// remembered as such, so that it is never corrected again.
func (r *Runner) settle(ctx context.Context, verdict drift.Verdict, left []drift.Finding, policy drift.Policy, found *DriftResult, res *Result) {
	var perpetual []string
	for _, j := range verdict.Findings {
		if !j.Allowed {
			continue
		}
		if slices.ContainsFunc(left, func(f drift.Finding) bool { return f.Key == j.Key }) {
			perpetual = append(perpetual, j.Key)
			continue
		}
		found.Corrected = append(found.Corrected, j.Finding)
	}
	after := drift.Decide(left, policy, r.opts.Now())
	found.Remaining = remaining(after)
	if len(perpetual) == 0 {
		return
	}
	res.Notes = append(res.Notes, fmt.Sprintf("%d of the findings came back the same right after they were corrected. That is noise of the provider; it is remembered, and not corrected again.", len(perpetual)))
	applied, ok := r.lastApplied(ctx, res.Receipt.Workspace)
	if !ok {
		return
	}
	for _, key := range perpetual {
		if !slices.Contains(applied.Perpetual, key) {
			applied.Perpetual = append(applied.Perpetual, key)
		}
	}
	if err := r.opts.Plans.PutApplied(context.WithoutCancel(ctx), applied); err != nil {
		res.Notes = append(res.Notes, fmt.Sprintf("The noise could not be remembered: %v.", err))
	}
}

// facts are what package drift needs to know of a plan.
func facts(p planstore.Plan) drift.Facts {
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

// remaining counts the findings that a person still has to know of.
func remaining(v drift.Verdict) int {
	n := 0
	for _, j := range v.Findings {
		if !j.Ignored {
			n++
		}
	}
	return n
}

// driftPolicy translates a workspace's settings, which package workspaces has
// checked as text, into the words of package drift.
func driftPolicy(w *workspaces.Workspace, o DriftOptions) (drift.Policy, map[string]drift.Class, error) {
	fail := func(what string, err error) (drift.Policy, map[string]drift.Class, error) {
		return drift.Policy{}, nil, fmt.Errorf("%s of %s (%s): %w", what, w.Name, w.Source, err)
	}
	p := drift.Policy{Correct: map[drift.Class]drift.Ladder{}, AtMost: drift.All, MaxChanges: w.Drift.MaxChanges}
	for class, ladder := range w.Drift.Correct {
		l, err := drift.ParseLadder(ladder)
		if err != nil {
			return fail("drift.correct."+class, err)
		}
		p.Correct[drift.Class(class)] = l
	}
	if o.AtMost != nil {
		p.AtMost, p.Default = *o.AtMost, *o.AtMost
	}
	for _, text := range w.Drift.Windows {
		window, err := schedule.ParseWindow(text)
		if err != nil {
			return fail("drift.windows", err)
		}
		p.Windows = append(p.Windows, window)
	}
	for _, rule := range w.Drift.Ignore {
		ignore := drift.Ignore{Address: rule.Address, Attributes: rule.Attributes, Owner: rule.Owner, Reason: rule.Reason}
		if rule.Until != "" {
			until, err := time.Parse(time.DateOnly, rule.Until)
			if err != nil {
				return fail("drift.ignore.until", err)
			}
			ignore.Until = until
		}
		p.Ignore = append(p.Ignore, ignore)
	}
	classes := map[string]drift.Class{}
	for pattern, class := range w.Drift.Classes {
		classes[pattern] = drift.Class(class)
	}
	return p, classes, nil
}
