package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// task is a run on its way through a worker.
type task struct {
	*Engine
	run   Run
	op    Operation
	repo  Repository
	plans *planstore.Store
	// merged reports that the operation's change is merged.
	merged bool
	// released reports that the lock of the state was released.
	released bool
	// drift is what a look for drift has seen so far.
	drift driftLook
	times phaseTimes
	// printed is what the run prints; nil where it is not run. Rest are the rows of it that go with the run's end.
	printed *printed
	rest    []outputRow
}

// workRun works a run: it claims it and brings it to its end. ctx ends with one of the causes in engine.go.
//
// Until the row says that Terraform applies, a run can be given back at any time. Afterwards it ends with what came of
// the apply, or, if this process dies, by recoverRun.
func (e *Engine) workRun(ctx context.Context, id string) error {
	t := &task{Engine: e}
	mine, printed := false, int64(0)
	err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		if t.run, mine, err = e.store.claimRun(ctx, tx, id, e.process); err != nil || !mine {
			return err
		}
		if err := t.read(ctx, tx); err != nil {
			return err
		}
		if t.run.Attempts > 1 {
			if printed, err = t.store.printedSoFar(ctx, tx, id); err != nil {
				return err
			}
		}
		return t.tell(ctx, tx)
	})
	if err != nil || !mine {
		return err
	}
	on, span := e.Tracer.Start(ctx, "run", slog.String("kind", string(t.run.Kind)), slog.String("repository", string(t.run.Repository)), slog.String("workspace", t.run.Workspace))
	t.times.parent = e.Tracer.Parent(on)
	t.printing(printed)
	defer t.outputs.forget(t.printed)
	res := t.do(on)
	t.rest = t.endPrinting(ctx)
	span.Set(slog.String("result", string(res.Status)))
	span.End(nil) // what Terraform said may hold secrets
	return t.end(ctx, res)
}

// read reads what a run belongs to.
func (t *task) read(ctx context.Context, tx *sql.Tx) error {
	var known bool
	var err error
	if t.op, known, err = t.store.operation(ctx, tx, t.run.Operation); err == nil && known {
		t.repo, known, err = t.store.repository(ctx, tx, t.run.Repository)
	}
	if err == nil && known && t.op.Change != 0 {
		var change ChangeRow
		change, _, err = t.store.change(ctx, tx, t.run.Repository, t.op.Change)
		t.merged = change.State == forge.Merged
	}
	if err == nil && !known {
		err = fmt.Errorf("run %s has lost its operation or its repository", t.run.ID)
	}
	if err == nil {
		t.plans, err = t.Plans(string(t.run.Repository))
	}
	return err
}

// tell asks for a report of what the run does. What a look for drift does is told of once it has found something.
func (t *task) tell(ctx context.Context, tx *sql.Tx) error {
	if t.run.Kind.sweeps() {
		return nil
	}
	return t.wantReport(ctx, tx, t.op.subject(), false)
}

// do runs Terraform, in the site of the workspace.
func (t *task) do(ctx context.Context) runner.Result {
	failed := func(err error) runner.Result { return runner.Result{Status: runner.Failed, Err: err} }
	release, err := t.occupy(ctx, t.run)
	if err != nil {
		return failed(err)
	}
	defer release()
	if t.run.Kind == KindDrift {
		return t.lookForDrift(ctx)
	}
	f, err := t.furnish(ctx)
	if err != nil {
		return failed(err)
	}
	defer f.close()
	switch {
	case f.workspace.Removed && t.run.Kind != KindPlan:
		return runner.Result{Workspace: f.workspace, Status: runner.Removed}
	case t.run.Kind == KindApply:
		return t.apply(ctx, f)
	case t.run.Kind == KindUnlock:
		return t.unlock(ctx, f)
	case t.run.Kind == KindAdopt:
		return f.runner.Adopt(ctx, f.workspace, runner.AdoptOptions{Addresses: t.op.Asked})
	}
	return f.runner.Plan(ctx, []*workspaces.Workspace{f.workspace})[0]
}

// furnished is a site that a run can be run in.
type furnished struct {
	commit    string
	runner    *runner.Runner
	workspace *workspaces.Workspace
	set       *workspaces.Set
	tree      *gitrepo.Tree
	close     func()
}

// errOccupied says that an apply goes on in the site whose process died.
var errOccupied = errors.New("an earlier apply of the workspace is still running")

// furnish lays the files of the operation's commit out in the site, which the caller occupies. What may be over soon,
// such as a forge that does not answer, is waited for a while.
func (t *task) furnish(ctx context.Context) (*furnished, error) {
	for wait := time.Second; ; wait *= 2 {
		f, err := t.furnishOnce(ctx)
		if err == nil || ctx.Err() != nil || wait > 32*time.Second || errors.Is(err, errOccupied) || len(workspaces.Problems(err)) > 0 {
			return f, err
		}
		t.log.Warn("a run cannot begin yet", "run", t.run.ID, "workspace", t.run.Workspace, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (t *task) furnishOnce(ctx context.Context) (*furnished, error) {
	c, err := t.clone(ctx, t.repo)
	if err != nil {
		return nil, err
	}
	if err := c.ensure(ctx, t.op); err != nil {
		return nil, err
	}
	set, err := t.rules(ctx, c)
	if err != nil {
		return nil, err
	}
	f, err := t.open(ctx, c, t.op.Commit, set)
	if err != nil {
		return nil, err
	}
	if !f.workspace.Removed {
		err = t.lay(ctx, c, f)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// lay writes the files of a commit into the site, in place of those that lie there.
func (t *task) lay(ctx context.Context, c *clone, f *furnished) error {
	site := t.siteDir(t.repo, t.run.Workspace)
	// What Terraform reads while it runs is not exchanged under its feet.
	applying, err := runner.Applying(siteData(site), t.run.Workspace)
	if err != nil {
		return err
	}
	if applying {
		return errOccupied
	}
	_, err = c.materialise(ctx, f.tree, f.commit, t.run.Workspace, site)
	return err
}

// open makes a runner over the site as it is with the files of a commit, which the mirror has. They need not lie there yet.
func (t *task) open(ctx context.Context, c *clone, at string, set *workspaces.Set) (*furnished, error) {
	f := &furnished{commit: at, set: set}
	var known bool
	if f.workspace, known = f.set.Get(t.run.Workspace); !known {
		f.workspace = &workspaces.Workspace{Name: t.run.Workspace, Dir: t.run.Dir, Removed: true}
	} else {
		w := *f.workspace
		w.Reasons = t.run.Reasons
		f.workspace = &w
	}
	var err error
	if f.tree, f.close, err = c.lease(ctx, at); err != nil {
		return nil, err
	}
	commit := at
	if t.run.Kind == KindPlan && t.op.HeadCommit != "" && !t.merged {
		commit = t.op.HeadCommit // what people know; the other is its merge, which nobody has seen
	}
	site := t.siteDir(t.repo, t.run.Workspace)
	before := t.begin
	if t.run.Kind == KindDrift {
		before = t.beginCorrection
	}
	options := runner.Options{
		Root: siteFiles(site), Files: f.tree, Set: f.set, Repository: string(t.repo.ID), Commit: commit, Change: scope(t.op), Run: t.run.ID,
		Plans: t.plans, Installer: t.Installer, Providers: t.Providers, WorkDir: siteData(site), Environ: t.Environ, Access: t.Access, Actor: t.op.Actor, Parallel: 1,
		LocalState: t.stateDir(t.repo), RefuseLocalState: t.Shared, Settle: true,
		Before: before, Trail: t.Trail, Observe: t.observe, Log: t.log, Now: t.Now,
	}
	if t.printed != nil {
		options.Output = t.printed.Output
	}
	if f.runner, err = runner.New(options); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// rules are the workspaces of the operation's commit. What a change says about what guards them counts once it is merged: of
// a commit that is on the branch, which a head that was replaced before the merge is not.
func (t *task) rules(ctx context.Context, c *clone) (*workspaces.Set, error) {
	if t.op.BaseCommit == "" {
		return c.set(ctx, t.op.Commit)
	}
	if t.merged && t.op.Cause != CauseMerged {
		if on, err := c.onBranch(ctx, t.op.Branch, t.op.Commit); err != nil {
			return nil, err
		} else if on {
			return c.set(ctx, t.op.Commit)
		}
	}
	guarded := c.guarded
	if t.op.Cause == CauseMerged || t.op.Cause == CausePush {
		guarded = c.guardedMerge
	}
	set, _, err := guarded(ctx, t.op.BaseCommit, t.op.Commit)
	return set, err
}

// scope is where an operation's plans are kept: with its change's, or with those of pushes.
func scope(op Operation) string {
	if op.Change == 0 {
		return "push"
	}
	return strconv.Itoa(op.Change)
}

// observe writes what the run does, for people to see. It never takes back that Terraform applies.
func (t *task) observe(ev runner.Event) {
	t.times.note(t.Tracer, ev)
	phase := map[runner.Phase]Phase{runner.PhaseInit: PhasePreparing, runner.PhasePlan: PhasePlanning}[ev.Phase]
	if phase == PhaseNone {
		return
	}
	ctx, cancel := context.WithTimeout(t.hard, 2*time.Second)
	defer cancel()
	err := t.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := t.store.change1(ctx, tx, "UPDATE run SET phase = $1 WHERE id = $2 AND status = 'running' AND owner = $3 AND phase <> 'applying'",
			string(phase), t.run.ID, t.run.Owner)
		return err
	})
	if err != nil {
		t.log.Debug("what a run does was not written", "run", t.run.ID, "phase", phase, "error", err)
	}
}

// end writes what came of the run, and what follows from it.
func (t *task) end(ctx context.Context, res runner.Result) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errFenced) {
		return cause // the row is another process's
	}
	to := after(res, cause)
	if t.released && to == Unchanged {
		to = Released
	}
	r := t.run
	r.Plan, r.Fingerprint = "", ""
	switch {
	case to == Queued, to == Superseded:
		t.log.Info("a run was given back", "run", r.ID, "workspace", r.Workspace, "cause", cause, "error", res.Err)
	case res.Hold != nil:
		r.Plan, r.Fingerprint = res.Hold.PlanID, res.Hold.Fingerprint
	default:
		r.Plan, r.Fingerprint = res.Receipt.ID, res.Receipt.Fingerprint
	}
	return t.write(ctx, r, to, res)
}

// after decides what a run is after a worker has come to a result, or was stopped on the way.
func after(res runner.Result, cause error) Status {
	var busy *terraform.BusyError
	begun := res.Status != runner.Failed && res.Status != runner.Skipped
	switch {
	case !begun && errors.Is(cause, errCancelled):
		return Superseded
	case !begun && (cause != nil || errors.Is(res.Err, errOccupied) || errors.As(res.Err, &busy)):
		return Queued
	}
	return statusOf(res.Status)
}

// write takes a run to its next status, with its result, in one transaction with all that follows.
func (t *task) write(ctx context.Context, r Run, to Status, res runner.Result) error {
	r.Result = nil
	if to.Ended() && to != Superseded {
		if res.Workspace == nil {
			res.Workspace = &workspaces.Workspace{Name: r.Workspace, Dir: r.Dir, Reasons: r.Reasons}
		}
		var err error
		if r.Result, err = sealResult(t.plans, r.ID, res); err != nil {
			// What was done counts for more than its account.
			t.log.Error("the account of a run is lost", "run", r.ID, "workspace", r.Workspace, "status", to, "error", err)
		}
	}
	ctx = context.WithoutCancel(ctx)
	err := t.persist(ctx, func(tx *sql.Tx) error {
		now, err := t.store.stepRun(ctx, tx, r, to)
		if err != nil {
			return err
		}
		if err := t.store.addOutput(ctx, tx, t.rest, ""); err != nil {
			return err
		}
		if now.Status == Queued {
			if err := t.hint(ctx, tx, runJob(now)); err != nil {
				return err
			}
			return t.tell(ctx, tx)
		}
		if err := t.settle(ctx, tx, t.op.ID); err != nil {
			return err
		}
		switch {
		case now.Kind == KindPlan, now.Kind == KindAdopt, now.Status == Superseded && now.Kind == KindDrift:
			return nil // it decides nothing
		case now.Kind == KindDrift:
			return t.endDrift(ctx, tx, now, res)
		}
		if now.Kind == KindApply && now.Status != Superseded {
			if err := t.noteApply(ctx, tx, now); err != nil {
				return err
			}
		}
		return t.note(ctx, tx, now, res)
	})
	if errors.Is(err, errTaken) {
		t.log.Warn("the end of a run came too late: another process has it", "run", r.ID, "workspace", r.Workspace, "status", to)
		return nil
	}
	if err == nil && to.Ended() {
		t.Metrics.RunEnded(string(r.Kind), string(to), t.Now().Sub(r.StartedAt), t.times.total())
		t.log.Info("run ended", "run", r.ID, "repository", r.Repository, "workspace", r.Workspace, "kind", r.Kind, "status", to, "took", res.Elapsed)
	}
	return err
}

// note writes into the audit log what became of an apply or of a lock.
func (t *task) note(ctx context.Context, tx *sql.Tx, r Run, res runner.Result) error {
	entry := audit.Entry{
		Actor: t.op.Actor, Action: string(r.Kind), Repository: t.repo.Repo.String(), Change: int64(t.op.Change), Workspace: r.Workspace,
		Commit: t.op.Commit, Fingerprint: r.Fingerprint, Allowed: r.Status.OK() || r.Status == Partly,
		Details: map[string]string{"run": r.ID, "status": string(r.Status), "branch": t.op.Branch},
	}
	if r.Plan != "" {
		entry.Details["plan"] = r.Plan
	}
	switch r.Status {
	case Applied:
		entry.Reason = "all of the plan was applied"
	case Partly:
		entry.Reason = "the apply stopped on the way"
	case Unchanged:
		entry.Reason = "there was nothing to do"
	case Interrupted:
		entry.Reason = "its process died while Terraform applied the plan, and the apply was not completed as far as is known"
	case Held:
		entry.Reason = "held: " + res.Hold.Reason
	case Released:
		entry.Reason = "the run that held the lock is surely gone"
	case Removed:
		entry.Reason = "its directory is gone: nothing was run"
	case Failed:
		entry.Reason = "it failed before anything was changed"
	default:
		entry.Reason = "it was not begun"
	}
	_, err := t.Audit.Append(ctx, tx, entry)
	return err
}
