package runner

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/cloudtrail"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
)

// askWho is the setting drift.who of a workspace of which AWS CloudTrail is asked.
const askWho = "cloudtrail"

// whoFor is how long one look waits for all that it asks. Each begins anywhere among the findings, so that in the end all of
// them are asked about.
const whoFor = time.Minute

// trace puts into the findings of a verdict who changed them outside, where there is somebody to ask and an answer. It never
// fails.
func (r *Runner) trace(ctx context.Context, s *site, o DriftOptions, plan *tfjson.Plan, applied planstore.Applied, v drift.Verdict) {
	w := s.workspace
	if r.opts.Trail == nil || plan == nil || o.rules(w).Drift.Who != askWho {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, whoFor)
	defer cancel()
	drifted := map[string]*tfjson.Change{}
	for _, rc := range plan.ResourceDrift {
		if rc != nil && rc.DeposedKey == "" {
			drifted[rc.Address] = rc.Change
		}
	}
	environ := terraform.Environ(s.keys.Pass(r.opts.Environ, r.opts.Set.Workspaces), w.Env)
	given, ambient := s.grant.Given().Set, s.keys.Ambient(s.grant, r.opts.Set.Workspaces)
	first := rand.IntN(max(1, len(v.Findings)))
	for i := range v.Findings {
		j := &v.Findings[(first+i)%len(v.Findings)]
		was := drifted[j.Address]
		if was == nil || j.Outside == "" || !fromOutside(j.Finding) || j.Ignored || j.Agreed || !r.opts.Trail.Knows(j.Type) {
			continue
		}
		since := applied.AppliedAt
		if o.Absent != nil {
			if absent := o.Absent(j.Key); absent.After(since) {
				since = absent
			}
		}
		events := r.opts.Trail.Who(ctx, cloudtrail.Query{
			Scope: r.opts.Repository + " " + w.Name, Type: j.Type, Values: openTexts(was.Before, was.BeforeSensitive), Since: since,
			Environ: environ, Given: given, Ambient: ambient, Own: w.Access.Roles(),
		})
		for _, e := range events {
			j.Who = append(j.Who, drift.Trace{At: e.At, By: e.Principal, From: e.Address, Event: e.Name, Service: e.Service})
		}
	}
}

// fromOutside reports whether a finding is outside drift, or has some in it.
func fromOutside(f drift.Finding) bool {
	return f.Cause == drift.CauseOutside || slices.ContainsFunc(f.Attributes, func(a drift.Attribute) bool { return a.Cause == drift.CauseOutside })
}

// openTexts are the attributes of a resource that are text and not sensitive.
func openTexts(values, sensitive any) map[string]string {
	attributes, _ := values.(map[string]any)
	if hidden, _ := sensitive.(bool); hidden {
		return nil
	}
	masks, _ := sensitive.(map[string]any)
	texts := map[string]string{}
	for name, value := range attributes {
		text, ok := value.(string)
		if hidden, marked := masks[name].(bool); ok && text != "" && !(marked && hidden) {
			texts[name] = text
		}
	}
	return texts
}

// retrace puts what is known of who changed a finding into the same finding of a later look.
func retrace(from, to drift.Verdict) {
	for i := range to.Findings {
		for _, j := range from.Findings {
			if j.Key == to.Findings[i].Key && len(to.Findings[i].Who) == 0 {
				to.Findings[i].Who = j.Who
			}
		}
	}
}
