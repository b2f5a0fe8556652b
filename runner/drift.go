package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/gate"
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
	// Rules is the workspace whose settings of drift and of applying count, where those are not its own: what may be
	// corrected is decided at the tip of the default branch, and what is corrected was applied before. nil: its own.
	Rules *workspaces.Workspace
	// Newer is what Look found at newer files, of which NewerCommit is the commit: see drift.Ahead.
	Newer       []drift.Finding
	NewerCommit string
	// Stopped and Paused are as in drift.Policy.
	Stopped map[string]string
	Paused  string
	// Fresh says that an apply has just ended and nothing was looked at since. What differs though the apply was clean is
	// then supposed to be noise of a provider and not somebody's doing; it is remembered, and not corrected.
	Fresh bool
	// Absent says of a finding, by its key, when it was last known not to be there: who changed it has done so since. nil,
	// or a time before the last apply, is the last apply.
	Absent func(key string) time.Time
	// Judged is told of each verdict before anything is corrected by it; nil: nobody is.
	Judged func(drift.Verdict)
}

// Drift plans each selected workspace again and says what has happened behind
// Git's back, why, and what may be done about it.
func (r *Runner) Drift(ctx context.Context, selected []*workspaces.Workspace, o DriftOptions) []Result {
	return r.each(ctx, selected, func(ctx context.Context, w *workspaces.Workspace, needs []Result) Result {
		return r.drift(ctx, w, needs, o)
	})
}

func (r *Runner) drift(ctx context.Context, w *workspaces.Workspace, needs []Result, o DriftOptions) Result {
	policy, classes, err := driftPolicy(w, o)
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	s, err := r.prepare(ctx, w)
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	defer s.close()
	res := Result{Status: Unchanged, Notes: slices.Clone(s.notes)}
	fail := func(err error) Result {
		res.Status, res.Err = Failed, err
		return res
	}

	applied, known, err := r.lastApplied(ctx, w.Name)
	if err != nil {
		return fail(err)
	}
	find := func(m *made) []drift.Finding {
		if m.plan == nil {
			return nil // it is one that was read before, and held nothing
		}
		return drift.Find(r.against(m, applied, known, classes))
	}
	var before cleanLook
	look := func() (*made, []drift.Finding, error) {
		m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan, Read: true, Known: func(content string) bool {
			before, err = r.cleanLook(s, applied)
			return err == nil && known && before.knows(content)
		}})
		if err != nil {
			return nil, nil, err
		}
		return m, find(m), nil
	}
	m, findings, err := look()
	if err != nil {
		return fail(err)
	}
	if known {
		if applied, err = r.learn(ctx, applied, m, findings, o.Fresh); err != nil {
			return fail(err)
		}
		findings = find(m)
	}
	here, ahead := drift.Ahead(findings, o.Newer, o.NewerCommit)
	waiting := drift.Decide(ahead, policy, r.opts.Now())
	verdict := drift.Decide(here, policy, r.opts.Now()).Beside(waiting)
	r.trace(ctx, s, o, m.plan, applied, verdict)
	if o.Judged != nil {
		o.Judged(verdict)
	}
	found := &DriftResult{Verdict: verdict, Left: verdict, Remaining: remaining(verdict)}
	res.Receipt, res.Plan, res.Drift = m.receipt, m.plan, found
	if found.Remaining > 0 {
		res.Status = Drifted
	}
	if !known && len(findings) > 0 {
		res.Notes = append(res.Notes, "Plumbline has not applied this workspace yet, so what differs from the configuration cannot be told apart by age: it counts as not applied, unless Terraform itself saw the real object move.")
	}
	clean := len(findings) == 0 && !m.changes
	if clean && known && sameFacts(facts(m.receipt), *baseline(applied)) {
		before.keep(m.receipt.ContentDigest)
	} else if clean {
		// A sweep that finds nothing proves as much as an apply would, if none was made meanwhile.
		if now, _, err := r.lastApplied(ctx, w.Name); err != nil {
			return fail(err)
		} else if known && now.AppliedAt != applied.AppliedAt {
			return res
		}
		if synced := r.inSync(ctx, planstore.Plan{}, m.receipt); synced.Err != nil {
			return fail(synced.Err)
		}
	}
	if !o.Correct || len(verdict.Targets) == 0 {
		return res
	}

	if found.Refused = mayCorrect(o.rules(w), needs); found.Refused != nil {
		return res
	}
	if !r.correct(ctx, s, o.rules(w), verdict, &res) {
		return res
	}
	// Only a second look proves a correction. The state has moved on with its record.
	r.observe(w, PhaseVerify)
	if applied, known, err = r.lastApplied(ctx, w.Name); err != nil {
		return fail(fmt.Errorf("the drift was corrected, but whether it is gone is not known: %w", err))
	}
	m, left, err := look()
	if err != nil {
		return fail(fmt.Errorf("the drift was corrected, but whether it is gone is not known: %w", err))
	}
	if r.settle(ctx, verdict, left, &res); len(found.Perpetual) > 0 {
		applied.Perpetual = slices.Concat(applied.Perpetual, found.Perpetual)
		left = find(m)
	}
	found.Left = drift.Decide(left, policy, r.opts.Now()).Beside(waiting)
	retrace(verdict, found.Left)
	found.Remaining = remaining(found.Left)
	res.Status = Unchanged
	if found.Remaining > 0 {
		res.Status = Drifted
	}
	return res
}

// mayCorrect is what stands in the way of any correction of a workspace,
// whatever was found; nil when nothing does.
func mayCorrect(w *workspaces.Workspace, needs []Result) error {
	if w.Apply == gate.Never {
		return errors.New("plumbline.yaml says `apply: never` for this workspace")
	}
	for _, need := range needs {
		if !need.OK() {
			return fmt.Errorf("`%s`, which it depends on, %s", need.Workspace.Name, need.Status.past())
		}
	}
	return nil
}

// sameFacts reports whether a baseline says of the present all there is to say.
func sameFacts(now, then drift.Facts) bool {
	return now.Commit == then.Commit && now.Dirty == then.Dirty && now.InputsDigest == then.InputsDigest &&
		now.Serial == then.Serial && now.Lineage == then.Lineage && !then.Partial &&
		now.TerraformVersion == then.TerraformVersion && maps.Equal(now.Providers, then.Providers)
}

// correct plans what the verdict allows and nothing else, holds that plan
// against the verdict resource by resource, and only then applies it. Rules is
// the workspace whose settings count. It reports whether it was applied; if not, res says why.
func (r *Runner) correct(ctx context.Context, s *site, rules *workspaces.Workspace, verdict drift.Verdict, res *Result) bool {
	fail := func(status Status, err error) bool {
		res.Status, res.Err = status, fmt.Errorf("correct the drift: %w", err)
		return false
	}
	before, known, err := r.lastApplied(ctx, s.workspace.Name)
	if err != nil {
		return fail(Failed, err)
	}
	m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposeCorrection, Targets: verdict.Targets, Read: true})
	if err != nil {
		return fail(Failed, err)
	}
	correction := gate.Correction{Rules: rules, Verdict: verdict, Plan: m.plan, Receipt: m.receipt}
	if m.plan != nil {
		correction.Beyond = beyondValues(before, known, m)
	}
	permit, err := gate.Correct(correction)
	if err != nil {
		res.Drift.Refused = err
		return false
	}
	if !m.changes {
		res.Drift.Refused = errors.New("the drift was gone by the time it was to be corrected")
		return false
	}
	// A correction brings the real objects back to what was applied; it does
	// not apply a newer commit. So the record stays that of the last apply, and
	// only the state moves on. Without one there is nothing to carry: a
	// targeted plan vouches for nothing beyond its targets.
	var record *planstore.Applied
	receipt, err := r.keep(ctx, s, m)
	if err != nil {
		return fail(Failed, err)
	}
	if known {
		record = corrected(before, receipt)
	}
	did := r.applyFile(ctx, s, permit, receipt, m.path, record)
	// Applied or not, a correction is for this moment only.
	if err := r.opts.Plans.Delete(context.WithoutCancel(ctx), receipt.ID); err != nil && !errors.Is(err, planstore.ErrNotFound) {
		did.Notes = append(did.Notes, fmt.Sprintf("The plan of the correction could not be taken out of the plan store: %v.", err))
	}
	res.Notes = append(res.Notes, did.Notes...)
	res.Kept = did.Kept
	if no := new(NotNowError); did.Status == Failed && errors.As(did.Err, &no) {
		res.Drift.Refused = no
		return false
	}
	if did.Status != Applied {
		return fail(did.Status, did.Err)
	}
	return true
}

// corrected begins the record of a correction: that of the last apply, on whose state another plan was applied.
func corrected(before planstore.Applied, receipt planstore.Plan) *planstore.Applied {
	before.Correction, before.Error = receipt.ID, ""
	return &before
}

// NotNowError is what Options.Before returns where a correction must not be made now though nothing has failed: somebody
// has just paused corrections, or an apply is about to begin. The workspace then is as it was found.
type NotNowError struct {
	// Why is the reason in plain words.
	Why string
}

func (e *NotNowError) Error() string { return e.Why }

// beyondValues says what a correction might do beyond the values that the
// verdict was held against, because Git has moved on since the last apply and
// what it changed would run along; "" when nothing would.
func beyondValues(before planstore.Applied, known bool, m *made) string {
	switch {
	case known && before.Plan.EnvironmentDigest != m.receipt.EnvironmentDigest:
		return "the environment, which may choose the account or region that is managed, is not that of the last apply"
	case known && before.Plan.ConfigurationDigest == m.receipt.ConfigurationDigest && !before.Partial:
		return ""
	case known && (before.Plan.ProvidersDigest == "" || before.Plan.ProvidersDigest != m.receipt.ProvidersDigest):
		return "how its providers are configured is not known to be as it was at the last apply"
	}
	for name, c := range m.plan.OutputChanges {
		if c != nil && !c.Actions.NoOp() {
			return fmt.Sprintf("the output `%s` would change along, and Git has moved on since the last apply", name)
		}
	}
	for _, rc := range m.plan.ResourceChanges {
		if rc == nil || rc.Change == nil || rc.Change.Actions.NoOp() {
			continue
		}
		if config := resourceConfig(m.plan, rc); config != nil && len(config.Provisioners) > 0 {
			return fmt.Sprintf("`%s` has provisioners, and Git has moved on since the last apply", rc.Address)
		}
	}
	return ""
}

// lastApplied reads the record of a workspace's last apply, if there is one.
func (r *Runner) lastApplied(ctx context.Context, workspace string) (applied planstore.Applied, known bool, err error) {
	applied, err = r.opts.Plans.LastApplied(context.WithoutCancel(ctx), workspace)
	if errors.Is(err, planstore.ErrNotFound) {
		return planstore.Applied{}, false, nil
	}
	return applied, err == nil, err
}

// remaining counts the findings that a person still has to know of.
func remaining(v drift.Verdict) int {
	n := 0
	for _, j := range v.Findings {
		if !j.Ignored && !j.Agreed {
			n++
		}
	}
	return n
}
