package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// statusContext is the context of the status that sums up a change; those of its workspaces begin with it and a slash.
// Branch protection may ask for it, so it never changes.
const statusContext = "plumbline"

// stated is a status on a commit.
type stated struct {
	commit string
	forge.Status
}

// tellStatuses sets the statuses that differ from those we have set. It is done after the comments, which people wait
// for, and leaves off when they are to change again.
func (e *Engine) tellStatuses(ctx context.Context, client Forge, a *account) error {
	plans, err := e.Plans(string(a.repository.ID))
	if err != nil {
		return err
	}
	wanted, others, err := e.shared(ctx, plans, a)
	if err != nil {
		return err
	}
	known := map[string]map[string]string{}
	set := false
	for _, s := range wanted {
		if known[s.commit] != nil {
			continue
		}
		err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			known[s.commit], err = e.store.statuses(ctx, tx, a.repository.ID, s.commit)
			return err
		})
		if err != nil {
			return err
		}
	}
	var failed []error
	for _, s := range e.limited(wanted, known) {
		d := digest(string(s.State), s.Description, s.URL)
		if known[s.commit][s.Context] == d {
			continue
		}
		var news bool
		err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			news, err = e.store.reportNews(ctx, tx, a.who, a.wanted)
			return err
		})
		if err != nil || news {
			return err
		}
		err = client.SetStatus(ctx, a.repository.Repo, s.commit, s.Status)
		if permanent(err) {
			failed = append(failed, err) // another commit may take them: one of them may be gone
			continue
		}
		if err != nil {
			return err
		}
		saving := context.WithoutCancel(ctx)
		err = e.DB.Tx(saving, func(tx *sql.Tx) error {
			return e.store.putStatus(saving, tx, a.repository.ID, s.commit, s.Context, d)
		})
		if err != nil {
			return err
		}
		set = true
	}
	if set {
		if err := e.tellAgainIfMoved(ctx, a, others); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return failed[0]
	}
	return nil
}

// limited leaves out the workspaces' statuses where there are too many of them, except those that were set before. Those
// of workspaces that are no longer touched are brought to an end.
func (e *Engine) limited(wanted []stated, known map[string]map[string]string) []stated {
	count := map[string]int{}
	for _, s := range wanted {
		if s.Context != statusContext {
			count[s.commit]++
		}
	}
	var chosen []stated
	stays := map[[2]string]bool{}
	for _, s := range wanted {
		_, before := known[s.commit][s.Context]
		if s.Context == statusContext || before || count[s.commit] <= e.StatusLimit {
			chosen = append(chosen, s)
		}
		stays[[2]string{s.commit, s.Context}] = true
	}
	for commit, contexts := range known {
		if count[commit] == 0 {
			continue // only the summary stands here, for a change that waits or is applied elsewhere
		}
		for name := range contexts {
			if strings.HasPrefix(name, statusContext+"/") && !stays[[2]string{commit, name}] {
				chosen = append(chosen, stated{commit, forge.Status{Context: name, State: forge.Success, Description: "not touched any more"}})
			}
		}
	}
	return chosen
}

// statuses are those that should stand now.
func (e *Engine) statuses(plans *planstore.Store, a *account) ([]stated, error) {
	url := a.url(e.PublicURL)
	if a.waits() {
		n := a.change.Notice
		s := forge.Status{Context: statusContext, State: n.State, Description: n.Short, URL: url}
		if s.State == "" {
			s.State = forge.Pending
		}
		if s.Description == "" {
			s.Description = "not planned"
		}
		return []stated{{a.change.Head.Commit, s}}, nil
	}
	applies, merged := a.applies()
	var ops []accountedOp
	commits := []string{a.change.Head.Commit}
	switch plan := a.plan(); {
	case a.who.Change == 0:
		ops = a.operations
	case merged:
		ops = applies
	case plan != nil:
		ops = append(ops, *plan)
		for _, o := range applies {
			if o.Seq > plan.Seq && o.HeadCommit == plan.HeadCommit && o.Status != OperationSuperseded {
				ops = append(ops, o)
			}
		}
		commits = []string{plan.HeadCommit}
	}
	if len(ops) == 0 {
		return nil, nil
	}
	if a.who.Change == 0 {
		commits = []string{ops[0].Commit}
	} else if merged {
		commits = []string{ops[0].Commit}
		if a.change.MergeCommit != "" {
			commits = []string{a.change.MergeCommit}
		}
	}
	sum, each, err := summary(plans, ops, a.change.State == forge.Closed)
	if err != nil {
		return nil, err
	}
	var all []stated
	add := func(commit string, s forge.Status) {
		s.URL = url
		all = append(all, stated{commit, s})
	}
	for _, commit := range commits {
		add(commit, sum)
		for _, s := range each {
			add(commit, s)
		}
	}
	if merged && a.change.Head.Commit != "" && a.change.Head.Commit != commits[0] {
		add(a.change.Head.Commit, sum) // where forges show it on the page of the change
	}
	return all, nil
}

// latestRun is the newest run of a workspace, with what it came to.
type latestRun struct {
	Run
	counts planstore.Counts
	// alone says that the run is of a push without a change: there is no comment to see.
	alone bool
}

// summary sums up operations, the oldest first: for each workspace the newest run counts.
func summary(plans *planstore.Store, ops []accountedOp, closed bool) (sum forge.Status, each []forge.Status, err error) {
	latest := map[string]latestRun{}
	var order []string
	kind := KindPlan
	for _, o := range ops {
		if o.Kind == KindApply {
			kind = KindApply
		}
		for _, r := range o.runs {
			outcome, err := openResult(plans, r)
			var broken *planstore.BrokenError
			if err != nil && !errors.As(err, &broken) {
				return sum, nil, err
			}
			if _, ok := latest[r.Workspace]; !ok {
				order = append(order, r.Workspace)
			}
			latest[r.Workspace] = latestRun{r, outcome.Receipt.Counts, o.Change == 0}
		}
	}
	slices.Sort(order)
	t := tally{alone: ops[len(ops)-1].Change == 0}
	for _, name := range order {
		r := latest[name]
		t.add(r)
		state, words := stateOf(r)
		each = append(each, forge.Status{Context: contextOf(name), State: state, Description: words})
	}
	state, words := t.verdict(kind)
	if last := ops[len(ops)-1]; last.Status == OperationSuperseded && last.Kind == KindPlan {
		state, words = forge.Error, "stopped before all of it was planned"
		if closed {
			words = "closed before all of it was planned"
		}
	}
	if ops[len(ops)-1].Unread {
		state, words = forge.Failure, "not applied: "+workspaces.ConfigFile+" of the branch has mistakes"
	}
	return forge.Status{Context: statusContext, State: state, Description: words}, each, nil
}

// tally counts runs by how they stand.
type tally struct {
	all, pending, good, bad, held, applied, changed int
	planned, done                                   planstore.Counts
	alone                                           bool // as of latestRun
}

func (t *tally) add(r latestRun) {
	t.all++
	switch {
	case !r.Status.Ended():
		t.pending++
	case r.Status == Held:
		t.held++
	case r.Status.OK() || r.Status == Removed:
		t.good++
	default:
		t.bad++
	}
	switch r.Status {
	case Planned:
		t.changed++
		t.planned = plus(t.planned, r.counts)
	case Applied:
		t.applied++
		t.done = plus(t.done, r.counts)
	}
}

// verdict is the state of a change, with counts.
func (t *tally) verdict(kind Kind) (forge.StatusState, string) {
	in := " in " + workspacesOf(t.all)
	verb, past := "planning", "planned"
	if kind == KindApply {
		verb, past = "applying", "applied"
	}
	switch {
	case t.all == 0 && kind == KindApply: // it was applied before the merge
		return forge.Success, "nothing is left to apply"
	case t.all == 0:
		return forge.Success, "no workspace is touched"
	case t.bad > 0 && t.pending == 0:
		words := fmt.Sprintf("%d of %s not %s", t.bad, workspacesOf(t.all), past)
		if t.held > 0 {
			words += fmt.Sprintf(", %d held", t.held)
		}
		return forge.Failure, words
	case t.pending > 0:
		words := fmt.Sprintf("%s: %d of %s done", verb, t.all-t.pending, workspacesOf(t.all))
		if t.bad > 0 {
			words += fmt.Sprintf(", %d failed", t.bad)
		}
		return forge.Pending, words
	case t.held > 0 && t.alone:
		return forge.Failure, fmt.Sprintf("unapplied: %d of %s held for the next pull request there", t.held, workspacesOf(t.all))
	case t.held > 0:
		return forge.Failure, fmt.Sprintf("%d of %s held: see the comment", t.held, workspacesOf(t.all))
	case t.changed > 0:
		return forge.Success, words(t.planned, false) + fmt.Sprintf(" in %d of %s", t.changed, workspacesOf(t.all))
	case t.applied > 0:
		return forge.Success, words(t.done, true) + in
	case kind == KindApply:
		return forge.Success, "nothing to apply" + in
	}
	return forge.Success, "no changes" + in
}

func workspacesOf(n int) string {
	if n == 1 {
		return "1 workspace"
	}
	return fmt.Sprintf("%d workspaces", n)
}

// stateOf is the status of one workspace. Its words are ours and numbers alone: what Terraform says may hold secrets, and
// a status has no room for it.
func stateOf(r latestRun) (forge.StatusState, string) {
	switch {
	case r.alone && r.Status == Held:
		return forge.Failure, "unapplied: held for the next pull request that touches it"
	case r.alone && r.Status == Failed:
		return forge.Failure, "failed: plan it in a checkout to see why"
	}
	switch r.Status {
	case Waiting, Queued:
		return forge.Pending, "waiting"
	case Running:
		return forge.Pending, "running"
	case Planned:
		return forge.Success, words(r.counts, false)
	case Unchanged:
		return forge.Success, "no changes"
	case Applied:
		return forge.Success, words(r.counts, true)
	case Released:
		return forge.Success, "state lock released"
	case Removed:
		return forge.Success, "its directory is gone"
	case Held:
		return forge.Failure, "held: see the comment"
	case Partly:
		return forge.Failure, "stopped half-way: part of the plan is applied"
	case Interrupted:
		return forge.Error, "interrupted: how much is applied is not known"
	case Skipped:
		return forge.Failure, "not started: what it depends on did not succeed"
	case Superseded:
		return forge.Error, "stopped: something newer has taken its place"
	}
	return forge.Failure, "failed: see the comment"
}

// words says what a plan would do, or what was done.
func words(c planstore.Counts, past bool) string {
	var parts []string
	add := func(n int, future, done string) {
		switch {
		case n > 0 && past:
			parts = append(parts, fmt.Sprintf("%d %s", n, done))
		case n > 0:
			parts = append(parts, fmt.Sprintf("%d to %s", n, future))
		}
	}
	add(c.Import, "import", "imported")
	add(c.Create, "add", "added")
	add(c.Update, "change", "changed")
	add(c.Replace, "replace", "replaced")
	add(c.Delete, "destroy", "destroyed")
	add(c.Move, "move", "moved")
	add(c.Forget, "forget", "forgotten")
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case c.Outputs > 0:
		return "outputs only"
	case past:
		return "applied"
	}
	return "changes"
}

func plus(a, b planstore.Counts) planstore.Counts {
	return planstore.Counts{
		Create: a.Create + b.Create, Update: a.Update + b.Update, Replace: a.Replace + b.Replace, Delete: a.Delete + b.Delete,
		Import: a.Import + b.Import, Forget: a.Forget + b.Forget, Move: a.Move + b.Move, Read: a.Read + b.Read, Outputs: a.Outputs + b.Outputs,
	}
}

// contextOf names a workspace's status. What forges may not take in a name stays out of it, and its digest goes in.
func contextOf(workspace string) string {
	const most = 100
	plain := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, workspace)
	if cut := forge.Cut(plain, most); cut != workspace {
		plain = cut + " " + digest(workspace)[:8]
	}
	return statusContext + "/" + plain
}
