package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
)

// letter is what one comment is to say.
type letter struct {
	key   string
	final bool // nothing is to come; else there will be another edition
	// from is when to begin the comment, if it has not been begun; zero for at once.
	from time.Time
	// of is the operation that it tells of; nil if it tells of none.
	of    *accountedOp
	write func(ctx context.Context) (prcomment.Report, error)
}

// letters are what is to be said on a change, in order. What has been told for good is not told again: the plans it shows
// may be gone.
func (e *Engine) letters(ctx context.Context, a *account) ([]letter, error) {
	plans, err := e.Plans(string(a.repository.ID))
	if err != nil {
		return nil, err
	}
	var letters []letter
	applies, _ := a.applies()
	open := a.change.State == forge.Open
	// A draft that waits has a status, and gets its comment when it is ready.
	if a.waits() && a.change.Notice.State != forge.Pending {
		letters = append(letters, letter{key: keyPlan, final: true, write: func(context.Context) (prcomment.Report, error) {
			return e.notice(a), nil
		}})
	}
	if _, merged := a.applies(); a.change.State == forge.Merged && a.change.Notice.Along != "" && !merged {
		letters = append(letters, letter{key: keyAlong, final: true, write: func(context.Context) (prcomment.Report, error) {
			return prcomment.Report{Kind: prcomment.KindApply, Notice: a.change.Notice.Along, Key: keyAlong, Secrets: e.Secrets}, nil
		}})
	}
	for _, o := range a.operations {
		told := !o.ToldAt.IsZero() && o.Status != OperationRunning
		switch {
		case o.key == keyPlan && (a.waits() || told && (!open || len(applies) > 0 || a.change.Pruned)):
			continue
		case o.key == keyPlan && !open && !a.has(keyPlan):
			continue // it was closed before anything was said
		case o.key != keyPlan && told, o.key == "":
			continue
		case o.Kind == KindApply && len(o.runs) == 0 && len(o.Notes) == 0:
			continue // a merge that touches no workspace
		case o.key == keyPlan && len(o.runs) == 0 && o.Cause != CauseCommand && len(o.Notes) == 0 && !a.has(keyPlan):
			continue // most changes of a large repository are none of our business, and their status says so
		}
		letters = append(letters, letter{key: o.key, final: o.Status != OperationRunning, from: o.tellFrom(), of: &o, write: func(ctx context.Context) (prcomment.Report, error) {
			return e.operationReport(ctx, plans, a, o)
		}})
	}
	return letters, nil
}

// silence is how long a comment that has nothing to tell is not begun. Forges mail a comment as it is when it is
// written, and not what it becomes: a mail should show the plan. The status says from the first moment that it is made.
const silence = 5 * time.Second

// tellFrom is when the comment of an operation is to be begun; zero for at once.
func (o accountedOp) tellFrom() time.Time {
	if o.Status != OperationRunning || slices.ContainsFunc(o.runs, func(r Run) bool { return r.Status.Ended() && !r.EndedAt.Equal(o.CreatedAt) }) {
		return time.Time{}
	}
	return o.CreatedAt.Add(silence)
}

// notice says why a change is not planned.
func (e *Engine) notice(a *account) prcomment.Report {
	return prcomment.Report{
		Kind: prcomment.KindPlan, Commit: a.change.Head.Commit, Base: a.change.Base.Branch, Commands: true, Key: keyPlan,
		Notice: a.change.Notice.Waits, Notes: a.change.Notice.Notes, Secrets: e.Secrets,
	}
}

// operationReport says how an operation stands, or ended.
func (e *Engine) operationReport(ctx context.Context, plans *planstore.Store, a *account, o accountedOp) (prcomment.Report, error) {
	results, err := e.shown.results(ctx, plans, o.runs)
	if err != nil {
		return prcomment.Report{}, err
	}
	options := runner.ReportOptions{
		Kind: prcomment.Kind(o.Kind), Commit: o.HeadCommit, Base: o.Branch, Commands: true, Key: o.key, Secrets: e.Secrets, At: o.EndedAt,
	}
	_, merged := a.applies()
	switch {
	case o.Kind == KindUnlock:
		options.Commit, options.Base = "", ""
	case o.Kind == KindApply && o.Cause == CauseMerged:
		options.Title = "Apply after the merge into `" + o.Branch + "`"
		options.Commit, options.Base = o.Commit, ""
	case o.Kind == KindApply:
		options.Title = "Apply"
		if merged {
			options.Commit, options.Base = o.Commit, ""
		}
	case o.Cause == CauseInterrupted:
		options.Title = "What is left to do after the interrupted apply"
		if merged {
			options.Commit = o.Commit
		}
	case o.key != keyPlan:
		options.Title = "Plan after the merge"
		options.Commit = o.Commit
	}
	report := runner.Report(results, options)
	if o.Cause == CauseCommand {
		report.By, report.Via = o.Actor, o.askedVia()
	}
	report.Notes = append(report.Notes, o.Notes...)
	if o.key == keyPlan {
		report.Notes = append(report.Notes, a.change.Notice.Notes...)
	}
	report.Merged = merged || a.change.State == forge.Merged
	stopped := a.stopped(o)
	for i := range report.Workspaces {
		agree(&report.Workspaces[i], o.runs[i], o.runs, results[i], stopped)
	}
	report.Shows = showsOf(o.ID, o.runs, func(r Run) bool {
		i := slices.IndexFunc(o.runs, func(other Run) bool { return other.ID == r.ID })
		return r.Status == Planned && results[i].Plan == nil && results[i].Receipt.JSONBytes > 0 // it is lost, and the comment says so
	})
	if o.Kind == KindPlan {
		if o.Status == OperationSuperseded {
			report.Notice = stopped
		}
		if late := a.unheeded(o); len(late) > 0 {
			report.Notes = append(report.Notes, fmt.Sprintf("The plan of %s came after the merge, so nobody had read it, and it is not what the merge applies: see further down.", names(late)))
		}
		if o.key == keyPlan && a.change.State == forge.Open {
			report.Merging = applyModes(&report, results)
			report.Approvals = approvalsNeeded(&report, results, a.change.Head.Commit)
		}
	}
	return report, nil
}

// unheeded are the workspaces of a plan that a merge applied, or held, by another plan.
func (a *account) unheeded(o accountedOp) (late []string) {
	if o.key != keyPlan {
		return nil
	}
	for _, apply := range a.operations {
		if apply.Kind != KindApply || apply.Cause != CauseMerged {
			continue
		}
		for _, done := range apply.runs {
			if slices.ContainsFunc(o.runs, func(r Run) bool {
				return r.Workspace == done.Workspace && r.Status == Planned && r.Plan != done.Reviewed
			}) {
				late = append(late, done.Workspace)
			}
		}
	}
	return late
}

// stopped is why a superseded operation has no more to say.
func (a *account) stopped(o accountedOp) string {
	switch {
	case o.key == keyPlan && a.change.State == forge.Closed:
		return "The pull request was closed before all of it was planned."
	case o.key == keyPlan && a.change.State == forge.Merged:
		return "It was merged before all of it was planned."
	}
	return "Something newer has taken its place."
}

// applyModes reports whether merging applies what is planned, and notes where it does not.
func applyModes(report *prcomment.Report, results []runner.Result) bool {
	var merging, never, comment []string
	for _, res := range results {
		if res.Status != runner.Planned {
			continue
		}
		switch name := "`" + res.Workspace.Name + "`"; res.Workspace.Apply {
		case "never":
			never = append(never, name)
		case "on-comment":
			comment = append(comment, name)
		default:
			merging = append(merging, name)
		}
	}
	if len(comment) > 0 && len(merging) > 0 {
		report.Notes = append(report.Notes, applied(comment)+" by `plumbline apply`, not by merging.")
	}
	if len(never) > 0 {
		report.Notes = append(report.Notes, applied(never)+" elsewhere: `plumbline.yaml` says `apply: never`.")
	}
	return len(merging) > 0 || len(comment) == 0
}

// approvalsNeeded reports whether something that is planned takes approvals before it is applied, and notes how many. How
// many there are is not said: they come and go without a new plan, and the number would be wrong soon.
func approvalsNeeded(report *prcomment.Report, results []runner.Result, head string) bool {
	byNumber := map[int][]string{}
	for _, res := range results {
		if n := res.Workspace.Approvals; res.Status == runner.Planned && n > 0 && res.Workspace.Apply != "never" {
			byNumber[n] = append(byNumber[n], res.Workspace.Name)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(byNumber)) {
		report.Notes = append(report.Notes, fmt.Sprintf("Before it is applied, %s takes %s of %s by people with write permission who are not the author.",
			names(byNumber[n]), counted(n, "approval"), short(head)))
	}
	return len(byNumber) > 0
}

// applied begins a sentence on how workspaces are applied.
func applied(names []string) string {
	if len(names) == 1 {
		return names[0] + " is applied"
	}
	const most = 8
	last := names[len(names)-1]
	if len(names) > most {
		last = fmt.Sprintf("%d more", len(names)-most)
		names = names[:most+1]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + last + " are applied"
}

// agree has a workspace of a report agree with its run: only the row knows what has not ended, or ended without a result.
func agree(ws *prcomment.Workspace, run Run, runs []Run, res runner.Result, stopped string) {
	ws.Order = run.Position
	if hold := res.Hold; hold != nil {
		ws.PlanID = hold.PlanID
		// What runner advises on is written for the command line, and the report's own advice is as good.
		if hold.Plan == nil && hold.Next != "" && !strings.Contains(hold.Next, "`plumbline plan") {
			ws.Next = hold.Next
		}
	}
	switch run.Status {
	case Waiting, Queued:
		ws.Status = prcomment.StatusWaiting
	case Running:
		ws.Status = prcomment.StatusRunning
	case Superseded:
		ws.Status, ws.Error = prcomment.StatusSkipped, stopped
	case Skipped:
		ws.Status = prcomment.StatusSkipped
		if ws.Error == "" {
			ws.Error = needed(run, runs)
		}
	case Interrupted:
		ws.Status = prcomment.StatusInterrupted
		if ws.Error == "" {
			ws.Error = "The server died while Terraform applied the plan."
		}
	default:
		ws.Status = prcomment.Status(run.Status)
	}
}

// needed says which of the workspaces that a run depends on kept it from starting.
func needed(run Run, runs []Run) string {
	for _, other := range runs {
		if slices.Contains(run.Needs, other.Workspace) && other.Status.Ended() && !other.Status.OK() {
			return "`" + other.Workspace + "`, which it depends on, " + past(other.Status)
		}
	}
	return "Something that it depends on did not succeed."
}

// past says of a run how it ended.
func past(s Status) string {
	switch s {
	case Failed:
		return "has failed"
	case Partly:
		return "was applied in part"
	case Held:
		return "is held"
	case Skipped:
		return "was not started"
	case Interrupted:
		return "was interrupted"
	case Superseded:
		return "was stopped"
	}
	return "is " + string(s)
}

// mergedAfter reports whether what was merged is applied by a later operation than one.
func (a *account) mergedAfter(seq int64) bool {
	return slices.ContainsFunc(a.operations, func(o accountedOp) bool { return o.Cause == CauseMerged && o.Seq > seq })
}

// obsolete lists the comments that a later apply has settled: applies whose troubles are over, and plans of which all was
// applied after the merge. What succeeded stays, as the record of it.
func (a *account) obsolete() []string {
	var keys []string
	settled := a.settledBy()
	_, merged := a.applies()
	for _, o := range a.operations {
		if o.key == "" || o.Status == OperationRunning || !a.has(o.key) {
			continue
		}
		if later := a.mergedAfter(o.Seq); o.Unread && later {
			keys = append(keys, o.key)
			continue
		}
		over, any := true, false
		for _, r := range o.runs {
			open := o.Kind == KindApply && !r.Status.OK() || o.Kind == KindPlan && r.Status == Planned
			if open {
				any = true
				over = over && settled[r.Workspace] > o.Seq
			}
		}
		if over && any && (o.Kind == KindApply || o.Kind == KindPlan && merged) {
			keys = append(keys, o.key)
		}
	}
	return keys
}
