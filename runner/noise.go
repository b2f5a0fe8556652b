package runner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/planstore"
)

// What differs right after a clean apply is noise of a provider, or somebody was quick. One plan cannot tell the two apart,
// so it is a supposition, in the record of that apply: noise for as long as supposedFor, then a finding like any other that
// is held with that doubt. What was there right after two applies is noise. What goes away by itself never was.
//
// What is back right after a correction is noise too, unless a look has seen it as it was applied: then reality has taken
// our value once, and it is somebody else's doing that it is another one again.

// supposedFor is how long what differed right after an apply counts as noise without a doubt.
const supposedFor = 5 * time.Minute

// against is what drift is found in: a plan, and the record of the last apply if there is one.
func (r *Runner) against(m *made, applied planstore.Applied, known bool, classes map[string]drift.Class) drift.Input {
	in := drift.Input{Plan: m.plan, Current: facts(m.receipt), Classes: classes}
	if !known {
		return in
	}
	in.Baseline, in.Perpetual = baseline(applied), slices.Clone(applied.Perpetual)
	for _, key := range slices.Sorted(maps.Keys(applied.Supposed)) {
		s := applied.Supposed[key]
		if s.Plan != applied.Plan.ID {
			continue
		}
		if age := r.opts.Now().Sub(s.At); age >= 0 && age < supposedFor {
			in.Perpetual = append(in.Perpetual, key)
		} else {
			in.Supposed = append(in.Supposed, key)
		}
	}
	return in
}

// learn takes into the record of the last apply what a look says of noise. fresh says that nothing was looked at since the
// apply: then what differs though nothing was done, by a plan of the same files, versions and state as the apply's, is
// supposed to be noise. What is gone is not noise, and what the plan would not touch is none yet.
func (r *Runner) learn(ctx context.Context, applied planstore.Applied, m *made, findings []drift.Finding, fresh bool) (planstore.Applied, error) {
	learnt := applied
	learnt.Perpetual, learnt.Supposed = slices.Clone(applied.Perpetual), maps.Clone(applied.Supposed)
	if learnt.Supposed == nil {
		learnt.Supposed = map[string]planstore.Supposition{}
	}
	now, then := facts(m.receipt), *baseline(applied)
	changed := false
	if fresh && !then.Partial && now.InputsDigest == then.InputsDigest && now.Serial == then.Serial && now.Lineage == then.Lineage {
		changed = !learnt.Looked
		learnt.Looked = true
		for _, f := range findings {
			if f.Cause != drift.CauseOutside || f.Outside == "deleted" || f.Action() != "update" && f.Action() != "replace" || slices.Contains(learnt.Perpetual, f.Key) {
				continue
			}
			changed = true
			if before, ok := learnt.Supposed[f.Key]; ok && before.Plan != applied.Plan.ID {
				delete(learnt.Supposed, f.Key)
				learnt.Perpetual = append(learnt.Perpetual, f.Key)
				continue
			}
			learnt.Supposed[f.Key] = planstore.Supposition{Plan: applied.Plan.ID, At: r.opts.Now().UTC()}
		}
	}
	maps.DeleteFunc(learnt.Supposed, func(key string, s planstore.Supposition) bool {
		// Of an earlier apply, it has had its say once there was a look after this one.
		gone := s.Plan != applied.Plan.ID && learnt.Looked ||
			s.Plan == applied.Plan.ID && !slices.ContainsFunc(findings, func(f drift.Finding) bool { return covers(f, key) })
		changed = changed || gone
		return gone
	})
	if !changed {
		return applied, nil
	}
	// As it is now: a correction or an apply may have been recorded since.
	last, known, err := r.lastApplied(ctx, applied.Plan.Workspace)
	if err != nil || !known || last.AppliedAt != applied.AppliedAt {
		return applied, err
	}
	if err := r.opts.Plans.PutApplied(context.WithoutCancel(ctx), learnt); err != nil {
		return applied, fmt.Errorf("remember what of the plan is noise: %w", err)
	}
	return learnt, nil
}

// covers reports whether a finding is the one with this key, or about its resource with more beside: then what the key
// tells of may still be there.
func covers(f drift.Finding, key string) bool {
	return f.Key == key || len(key) > len(f.Address) && key[:len(f.Address)+1] == f.Address+" "
}

// inherit begins the record of an apply with what was noise before it: if it is there again, it is noise for good.
func inherit(record *planstore.Applied, before planstore.Applied) {
	for key, s := range before.Supposed {
		record.Supposed = withSupposition(record.Supposed, key, s)
	}
	for _, key := range before.Perpetual {
		record.Supposed = withSupposition(record.Supposed, key, planstore.Supposition{Plan: before.Plan.ID, At: before.AppliedAt})
	}
}

func withSupposition(all map[string]planstore.Supposition, key string, s planstore.Supposition) map[string]planstore.Supposition {
	if all == nil {
		all = map[string]planstore.Supposition{}
	}
	all[key] = s
	return all
}

// settle compares what a second look still finds with what was corrected. What is back at once is noise of its provider, is
// remembered as such, and never corrected again; but what was seen as it was applied is fought over.
func (r *Runner) settle(ctx context.Context, verdict drift.Verdict, left []drift.Finding, res *Result) {
	found := res.Drift
	applied, known, err := r.lastApplied(ctx, res.Receipt.Workspace)
	var perpetual, returned []string
	for _, j := range verdict.Findings {
		if !j.Allowed {
			continue
		}
		_, supposed := applied.Supposed[j.Key]
		switch back := slices.ContainsFunc(left, func(f drift.Finding) bool { return f.Key == j.Key }); {
		case back && err == nil && known && applied.Looked && !supposed:
			returned = append(returned, j.Key)
		case back:
			perpetual = append(perpetual, j.Key)
		default:
			found.Corrected = append(found.Corrected, j.Finding)
		}
	}
	found.Perpetual, found.Returned = perpetual, returned
	if len(returned) > 0 {
		res.Notes = append(res.Notes, fmt.Sprintf("%d of the findings were there again right after they were corrected. After the last apply they were not, so something else keeps changing them.", len(returned)))
	}
	if len(perpetual) == 0 {
		return
	}
	res.Notes = append(res.Notes, fmt.Sprintf("%d of the findings came back the same right after they were corrected. That is noise of the provider; it is remembered, and not corrected again.", len(perpetual)))
	if err != nil || !known {
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
