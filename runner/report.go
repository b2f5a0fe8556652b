package runner

import (
	"errors"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/gate"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// ReportOptions say what a report tells beyond the results.
type ReportOptions struct {
	Kind prcomment.Kind
	// Title stands above the verdict; "" for none.
	Title string
	// Commit is what was planned or applied; Dirty says that there were changes
	// beside it.
	Commit string
	Dirty  bool
	// At is when; the zero value leaves it out.
	At time.Time
	// Base is what the commit was compared with; "" if with nothing.
	Base string
	// Commands reports that somebody listens for commands in comments.
	Commands bool
	// Key is hidden in every page, so that a later report finds its place.
	Key string
	// Secrets are values that must not be shown wherever they turn up.
	Secrets []string
	// Problems of the repository become warnings.
	Problems []workspaces.Problem
}

// Report turns results into what prcomment renders.
func Report(results []Result, o ReportOptions) prcomment.Report {
	rep := prcomment.Report{
		Kind:     o.Kind,
		Title:    o.Title,
		Commit:   o.Commit,
		Dirty:    o.Dirty,
		Base:     o.Base,
		Commands: o.Commands,
		Key:      o.Key,
		Secrets:  o.Secrets,
		At:       o.At,
	}
	for _, p := range o.Problems {
		rep.Warnings = append(rep.Warnings, p.Error())
	}
	expired := map[string]bool{}
	for i, res := range results {
		if res.Drift != nil {
			// One rule may stand for many workspaces; it is told once.
			for _, rule := range res.Drift.Verdict.Expired {
				if note := expiredNote(rule); !expired[note] {
					expired[note] = true
					rep.Warnings = append(rep.Warnings, note)
				}
			}
		}
		rep.Workspaces = append(rep.Workspaces, row(i, res))
	}
	return rep
}

// row is one workspace of a report.
func row(order int, res Result) prcomment.Workspace {
	w := prcomment.Workspace{
		Name:        res.Workspace.Name,
		Dir:         res.Workspace.Dir,
		Status:      reportStatus(res),
		Reasons:     res.Workspace.Reasons,
		Plan:        res.Plan,
		Fingerprint: res.Receipt.Fingerprint,
		PlanID:      res.Receipt.ID,
		Elapsed:     res.Elapsed,
		Notes:       res.Notes,
		Order:       order,
	}
	if res.Err != nil {
		w.Error = res.Err.Error()
	}
	var locked *terraform.LockedError
	w.Locked = errors.As(res.Err, &locked)
	if errors.Is(res.Err, ErrNotStarted) {
		w.Next = "nothing was changed; run it again."
	}
	if h := res.Hold; h != nil {
		w.Error = h.Reason
		if res.Workspace.Apply == gate.Never {
			// Elsewhere the report's own advice fits, and says it more safely
			// than a command inside a sentence can.
			w.Next = h.Next
		}
		if h.Plan != nil {
			w.Plan, w.Reviewed = h.Plan, res.Plan
			w.Fingerprint, w.PlanID = h.Fingerprint, h.PlanID
		}
	}
	if d := res.Drift; d != nil {
		// A drift report shows findings; the plan would say the same twice.
		w.Plan = nil
		for _, j := range d.Verdict.Findings {
			w.Findings = append(w.Findings, finding(j, d.Corrected))
		}
		if d.Refused != nil {
			w.Notes = append(w.Notes, "Nothing was corrected: "+d.Refused.Error()+".")
		}
	}
	return w
}

func reportStatus(res Result) prcomment.Status {
	switch res.Status {
	case Planned:
		return prcomment.StatusPlanned
	case Unchanged:
		if res.Drift != nil && len(res.Drift.Corrected) > 0 {
			return prcomment.StatusCorrected
		}
		return prcomment.StatusUnchanged
	case Applied:
		return prcomment.StatusApplied
	case Partly:
		return prcomment.StatusPartly
	case Held:
		return prcomment.StatusHeld
	case Skipped:
		return prcomment.StatusSkipped
	case Drifted:
		return prcomment.StatusDrifted
	case Removed:
		return prcomment.StatusRemoved
	}
	return prcomment.StatusFailed
}

func finding(j drift.Judged, corrected []drift.Finding) prcomment.Finding {
	f := prcomment.Finding{
		Address: j.Address,
		Class:   string(j.Class),
		Cause:   string(j.Cause),
		Outside: j.Outside,
		Action:  strings.Join(j.Actions, " and "),
		Allowed: j.Allowed,
		Ignored: j.Ignored,
		Reason:  j.Reason,
	}
	for _, c := range corrected {
		if c.Key == j.Key {
			f.Corrected = true
		}
	}
	for _, t := range j.Who {
		f.Who = append(f.Who, prcomment.Trace(t))
	}
	for _, a := range j.Attributes {
		f.Attributes = append(f.Attributes, prcomment.Attribute{
			Path: a.Path, Before: a.Before, After: a.After, Sensitive: a.Sensitive, Unknown: a.Unknown,
		})
	}
	return f
}

func expiredNote(rule drift.Ignore) string {
	note := "The ignore rule for `" + rule.Address + "` ended on " + rule.Until.Format(time.DateOnly) + " and no longer counts"
	if rule.Owner != "" {
		note += "; " + rule.Owner + " answers for it"
	}
	return note + "."
}
