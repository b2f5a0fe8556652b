package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// A look for drift is a run of its own kind. It plans a workspace at the commit that was applied last, asks package drift
// what that says, and, where Git has moved on since, plans the tip as well, to tell apart what waits there. It writes to
// nothing but its own site until it corrects, and gives way to whatever somebody waits for. A correction goes through
// beginCorrection right before Terraform is started on it: that is where pauses and applies are heeded, in one transaction
// with the row that says so. From then on the run is treated as an apply is, until it has ended.
//
// What a look comes to is written by endDrift, in the transaction that ends the run.

// driftLook is what a look for drift knows and has seen so far.
type driftLook struct {
	// tip is the commit at the tip of the default branch, whose settings count.
	tip string
	// before are the findings of the look before, as far as they are still there, or waited for a person.
	before []FindingRow
	// begun are corrections that this very run has begun before its process died: it makes no more.
	begun []CorrectionRow
	// stopped says which findings wait for a person, by their keys, and why.
	stopped map[string]string
	paused  string
	// checked is when the look before ended.
	checked time.Time
	// fresh says that the workspace was just applied.
	fresh bool
	// at is the commit that is looked at, and newer the one at the tip if that is planned as well.
	at, newer string
	// verdict is what was decided before anything was corrected; nil as long as nothing was.
	verdict *drift.Verdict
	// returned are the keys of what was corrected and was there again at once.
	returned []string
}

// freshFor is for how long after an apply a first look may take what differs for noise.
const freshFor = 5 * time.Minute

// lookForDrift looks at a workspace, and corrects what may be corrected. The caller occupies the site.
func (t *task) lookForDrift(ctx context.Context) runner.Result {
	failed := func(err error) runner.Result { return runner.Result{Status: runner.Failed, Err: err} }
	if err := t.DB.Read(ctx, func(tx *sql.Tx) error { return t.recall(ctx, tx) }); err != nil {
		return failed(err)
	}
	c, err := t.clone(ctx, t.repo)
	if err != nil {
		return failed(err)
	}
	tip, err := t.openAt(ctx, c, Operation{Commit: t.drift.tip, Branch: t.op.Branch})
	if err != nil {
		return failed(err)
	}
	defer tip.close()
	if tip.workspace.Removed {
		return runner.Result{Workspace: tip.workspace, Status: runner.Removed}
	}
	o := runner.DriftOptions{
		Correct: true, Rules: tip.workspace, Stopped: t.drift.stopped, Paused: t.drift.paused, Fresh: t.drift.fresh, NewerCommit: tip.commit,
		Absent: t.absent, Judged: func(v drift.Verdict) { t.drift.verdict = &v },
	}
	applied, notes, err := t.openApplied(ctx, c, tip)
	if err != nil {
		return failed(err)
	}
	if applied == nil {
		applied = tip
	} else {
		defer applied.close()
		t.drift.newer = tip.commit
		// The tip first, so that the site then is as it is to be for a correction.
		if err := t.lay(ctx, c, tip); err != nil {
			return failed(err)
		}
		if o.Newer, err = tip.runner.Look(ctx, tip.workspace, o); ctx.Err() != nil {
			return failed(err)
		} else if err != nil {
			notes = append(notes, fmt.Sprintf("Commit %s, which waits for its apply, cannot be planned: %v.", short(tip.commit), err))
		}
	}
	t.drift.at = applied.commit
	if err := t.lay(ctx, c, applied); err != nil {
		return failed(err)
	}
	res := applied.runner.Drift(ctx, []*workspaces.Workspace{applied.workspace}, o)[0]
	res.Notes = append(notes, res.Notes...)
	if res.Status == runner.Drifted && !slices.ContainsFunc(res.Drift.Left.Findings, stands) {
		res.Status = runner.Unchanged
	}
	return res
}

// openAt opens a commit, of which the mirror may have to be told.
func (t *task) openAt(ctx context.Context, c *clone, at Operation) (*furnished, error) {
	if err := c.ensure(ctx, at); err != nil {
		return nil, err
	}
	set, err := c.set(ctx, at.Commit)
	if err != nil {
		return nil, err
	}
	return t.open(ctx, c, at.Commit, set)
}

// openApplied opens the commit that was applied last, if another one is at the tip and a plan of it could say something
// else; nil if the tip is all there is to look at. Where what was applied cannot be had any more, the facts of the last
// apply have to do: then what Git and the world have both moved is not told apart so well.
func (t *task) openApplied(ctx context.Context, c *clone, tip *furnished) (f *furnished, notes []string, err error) {
	if t.op.Commit == "" || t.op.Commit == tip.commit {
		return nil, nil, nil
	}
	cannot := func(why string) []string {
		return []string{fmt.Sprintf("Commit %s was applied last, and %s: what was changed outside is told from what waits in Git by a plan of %s alone.",
			short(t.op.Commit), why, short(tip.commit))}
	}
	by := Operation{Commit: t.op.Commit, Branch: t.op.Branch}
	err = t.DB.Read(ctx, func(tx *sql.Tx) error {
		apply, known, err := t.store.appliedBy(ctx, tx, t.run.Repository, t.op.Commit)
		if known {
			by = apply
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	f, err = t.openAt(ctx, c, by)
	switch {
	case ctx.Err() != nil:
		return nil, nil, context.Cause(ctx)
	case err != nil:
		t.log.Info("an applied commit cannot be looked at", "run", t.run.ID, "workspace", t.run.Workspace, "commit", t.op.Commit, "error", said(err))
		return nil, cannot("it is not to be had any more"), nil
	case f.workspace.Removed:
		f.close()
		return nil, cannot("it has no such workspace"), nil
	}
	// What Terraform may reach is decided at the tip, as is what may be corrected: roles of an older commit may be gone, or
	// were taken back, as names of variables may be.
	f.workspace.Access, f.workspace.Account = tip.workspace.Access, tip.workspace.Account
	taken := slices.ContainsFunc(f.workspace.Env, func(name string) bool { return !slices.Contains(tip.workspace.Env, name) })
	if taken {
		f.workspace.Env = tip.workspace.Env
	}
	same, known, err := f.runner.AsApplied(ctx, f.workspace)
	if err == nil && known && same {
		if same, err = f.runner.SameInputs(ctx, f.workspace, tip.runner, tip.workspace); err == nil && !same {
			return f, nil, nil
		}
	} else if err == nil && known && taken {
		notes = cannot("the names in env that it was applied with are not handed over any more")
	} else if err == nil && known {
		notes = cannot("something else was applied since, by hand")
	}
	f.close()
	return nil, notes, err
}

// appliedBy reads the newest operation that has applied a commit.
func (s *store) appliedBy(ctx context.Context, tx *sql.Tx, repo RepoID, commit string) (Operation, bool, error) {
	o, ok, err := first(ctx, tx, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE repository = $1 AND commit_id = $2 AND kind = 'apply' ORDER BY seq DESC LIMIT 1",
		string(repo), commit)
	if err != nil {
		return Operation{}, false, fmt.Errorf("look what has applied %s: %w", commit, err)
	}
	return o, ok, nil
}

// recall reads what is known of the workspace from looks before.
func (t *task) recall(ctx context.Context, tx *sql.Tx) error {
	now := t.Now()
	d := driftLook{stopped: map[string]string{}}
	var err error
	if d.tip, _, err = t.store.branch(ctx, tx, t.run.Repository, t.op.Branch); err != nil {
		return err
	}
	if d.tip == "" {
		d.tip = t.op.HeadCommit
	}
	if d.before, err = t.store.findings(ctx, tx, t.run.Repository, t.run.Workspace, time.UnixMilli(1)); err != nil {
		return err
	}
	corrections, err := t.store.correctionsOf(ctx, tx, t.run.Repository, t.run.Workspace, "")
	if err != nil {
		return err
	}
	times := map[string][]time.Time{}
	for _, c := range corrections {
		if c.Run == t.run.ID {
			d.begun = append(d.begun, c)
			continue
		}
		times[c.Key] = append(times[c.Key], c.At)
	}
	fight := drift.Fight{After: t.Drift.FightAfter, Within: t.Drift.FightWithin}
	for _, f := range d.before {
		var counted []time.Time
		for _, at := range times[f.Key] {
			if !at.Before(f.CountFrom) {
				counted = append(counted, at)
			}
		}
		if !f.StoppedAt.IsZero() {
			// It stopped then, and what is not corrected any more has no corrections within any time after a while.
			d.stopped[f.Key] = fmt.Sprintf("it was corrected %d times and came back each time; since %s it waits for a person",
				len(counted), f.StoppedAt.UTC().Format("2006-01-02 15:04 MST"))
		} else if why := fight.Stops(counted, now); why != "" {
			d.stopped[f.Key] = why
		}
	}
	pause, paused, err := t.store.paused(ctx, tx, t.run.Repository, t.run.Workspace)
	switch {
	case err != nil:
		return err
	case !t.Drift.Correct:
		d.paused = "the server is set to correct nothing"
	case paused:
		d.paused = "corrections are paused " + pause.String()
	case len(d.begun) > 0:
		d.paused = "this look has begun a correction already, and was interrupted"
	}
	row, known, err := t.store.workspace(ctx, tx, t.run.Repository, t.run.Workspace)
	if err != nil {
		return err
	}
	sweep, _, err := t.store.sweep(ctx, tx, t.run.Repository, t.run.Workspace)
	d.checked = sweep.CheckedAt
	since := now.Sub(row.AppliedAt)
	d.fresh = known && row.LastStatus == Applied && row.AppliedAt.After(sweep.CheckedAt) && since >= 0 && since < freshFor
	t.drift = d
	return err
}

// lookTime is how long a look may take: what happened while the one before was at it may not have been seen by it.
const lookTime = 10 * time.Minute

// absent is when a finding was last known not to be there; zero if nobody knows.
func (t *task) absent(key string) time.Time {
	if d, there := t.standing(key); there {
		return d.Absent
	}
	if t.drift.checked.IsZero() {
		return time.Time{}
	}
	return t.drift.checked.Add(-lookTime)
}

// standing is what the look before knew of a finding, if it was there.
func (t *task) standing(key string) (findingDetail, bool) {
	row, known := t.seenBefore(key)
	if !known || !row.GoneAt.IsZero() {
		return findingDetail{}, false
	}
	d, err := openFinding(t.plans, row)
	return d, err == nil
}

// beginsNot maps why a correction may not begin now to what package runner takes for a refusal.
func beginsNot(err error) error {
	for _, known := range []error{errYields, errPaused, errPreempted} {
		if errors.Is(err, known) {
			return &runner.NotNowError{Why: err.Error()}
		}
	}
	return err
}
