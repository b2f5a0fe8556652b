package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Fate is what became of an apply whose Plumbline died.
type Fate string

const (
	// NotBegun: nothing was changed. Terraform was never started on the plan, or
	// turned it down, or ended before the first change.
	NotBegun Fate = "not begun"
	// StillRunning: Terraform is at it, or somebody else holds the state's lock.
	StillRunning Fate = "still running"
	// Completed: every change of the plan was made.
	Completed Fate = "completed"
	// InPart: it ended on the way. What was done, as far as it is known, is in
	// the other fields of [Interrupted].
	InPart Fate = "in part"
	// Unknown: nothing here says how it ended, and the state has moved on or
	// cannot be read.
	Unknown Fate = "unknown"
)

// Interrupted is what is known of an apply whose Plumbline died.
type Interrupted struct {
	Fate Fate
	// Reason says in one sentence what the fate follows from.
	Reason string
	// Receipt is that of the plan; zero when it is known nowhere any more.
	Receipt planstore.Plan
	// Record is what was kept of the apply; nil when nothing was.
	Record *planstore.Applied
	// Left are the traces that it left on this machine; nil when there are none.
	Left *terraform.Abandoned
	// State is what the state is now; StateErr is why that is not known.
	State    terraform.StateID
	StateErr error
	// Locked is who holds the lock of the state; nil when nobody does, or when
	// nobody asked, because the apply went on to its end.
	Locked *terraform.LockedError
}

// Examine says what is known of an apply of this plan that a Plumbline had
// begun and did not live to record. It changes nothing: what Terraform is still
// at goes on, and what was left is left.
func (r *Runner) Examine(ctx context.Context, w *workspaces.Workspace, planID string) (Interrupted, error) {
	o, err := r.open(ctx, w)
	if err != nil {
		return Interrupted{}, err
	}
	return r.examine(ctx, w, o.dir, planID)
}

func (r *Runner) examine(ctx context.Context, w *workspaces.Workspace, dir *terraform.Dir, planID string) (Interrupted, error) {
	var in Interrupted
	var err error
	if in.Left, err = dir.Abandoned(); err != nil {
		return in, err
	}
	if in.Left != nil && in.Left.Errors != "" && w.Access.Passing() {
		in.Left.Errors = "What Terraform said is not shown: the credentials that it had are not known any more, and it may have repeated them."
	}
	in.Receipt, err = r.opts.Plans.Get(ctx, planID)
	if err != nil && !errors.Is(err, planstore.ErrNotFound) {
		return in, err
	}
	records, err := r.opts.Plans.AppliedSince(ctx, w.Name, planID)
	if err != nil {
		return in, err
	}
	for _, a := range records {
		switch planID {
		case a.Plan.ID:
			in.Record, in.Receipt = &a, a.Plan
		case a.Correction:
			in.Record = &a // its receipt is of the last apply
		}
	}
	if in.Left == nil || !in.Left.Running {
		// As a rule init does nothing here: the apply had it done before.
		if _, in.StateErr = dir.Init(ctx); in.StateErr == nil {
			in.State, in.StateErr = dir.State(ctx)
		}
	}
	switch ours := in.Left != nil && in.Left.Name == planID; {
	case in.StateErr != nil, in.Record != nil:
	case !ours:
		// Nothing is known on this machine. Another one may be at it.
		in.Locked, in.StateErr = dir.Locked(ctx)
	case !in.Left.Running && !in.Left.Completed && !in.Left.Refused:
		// It died on the way, and may have left the lock: people need to know.
		var unknown error
		if in.Locked, unknown = dir.Locked(ctx); unknown != nil {
			r.opts.Log.Warn("whether an interrupted apply left its lock is not known", "workspace", w.Name, "plan", planID, "error", unknown)
		}
	}
	in.Fate, in.Reason = fate(in, planID)
	r.opts.Log.Info("interrupted apply", "workspace", w.Name, "plan", planID, "fate", string(in.Fate), "reason", in.Reason)
	return in, nil //nolint:nilerr // that the state cannot be read is a part of what is known
}

// fate decides what became of an apply from what is known of it.
func fate(in Interrupted, planID string) (Fate, string) {
	left := in.Left
	if left != nil && left.Running {
		return StillRunning, "Terraform went on by itself and is not done yet."
	}
	if in.Record != nil {
		if in.Record.Partial && (in.Record.Correction != planID || in.Record.Error != "") {
			return InPart, "The record of the apply says that it stopped on the way."
		}
		return Completed, "The record of the apply says that it completed."
	}
	planned := terraform.StateID{Lineage: in.Receipt.Lineage, Serial: in.Receipt.Serial}
	// A plan for a new state already has the lineage that the state would get.
	untouched := in.StateErr == nil && in.Receipt.ID != "" && in.State.Serial == planned.Serial &&
		(in.State.Lineage == planned.Lineage || in.State == terraform.StateID{})
	if left != nil && left.Name == planID {
		switch {
		case left.Completed:
			return Completed, "Terraform said that the apply is complete."
		case left.Refused:
			return NotBegun, "Terraform turned the plan down before the first change."
		case len(left.Done)+len(left.Begun) == 0 && left.ErroredState == "" && untouched:
			return NotBegun, "Terraform reported no change, and the state is the one that the plan was made from."
		case len(left.Done)+len(left.Begun) == 0 && left.ErroredState == "" && in.Receipt.ID == "":
			return NotBegun, "Terraform reported no change. The plan is no longer in the plan store."
		}
		return InPart, "Terraform ended before the apply was complete."
	}
	switch {
	case in.Locked != nil:
		return StillRunning, "The state is locked, so the apply may still be running elsewhere."
	case untouched:
		return NotBegun, "Nothing was left of it here, and the state is the one that the plan was made from."
	case in.StateErr != nil:
		return Unknown, "Nothing was left of it here, and the state cannot be read."
	}
	return Unknown, "Nothing was left of it here, and the state is no longer the one that the plan was made from."
}

// Settle does for an apply whose Plumbline died what that one did not live to
// do: it records what came of the apply, takes what was applied out of the plan
// store, and forgets the traces. It may be called again at any time, also when
// it was itself cut short, and comes to the same end. While the apply still
// runs, nothing is done.
//
// The result is that of an apply: Applied, Partly, or Failed when nothing was
// changed or nothing is known.
func (r *Runner) Settle(ctx context.Context, w *workspaces.Workspace, planID string) (Interrupted, Result, error) {
	o, err := r.open(ctx, w)
	if err != nil {
		return Interrupted{}, Result{}, err
	}
	in, err := r.examine(ctx, w, o.dir, planID)
	if err != nil || in.Fate == StillRunning {
		return in, Result{}, err
	}
	res, err := r.close(ctx, w, o.home, in)
	if err != nil {
		return in, Result{}, err
	}
	if in.Left != nil && in.Left.Name == planID {
		err = o.dir.ForgetAbandoned(in.Left)
	}
	return in, res, err
}

// settleLeft closes the books of an apply that left its traces here.
func (r *Runner) settleLeft(ctx context.Context, w *workspaces.Workspace, home string, dir *terraform.Dir, left *terraform.Abandoned) (Interrupted, error) {
	if left.Name == "" || left.Running {
		return Interrupted{}, nil
	}
	in, err := r.examine(ctx, w, dir, left.Name)
	if err != nil || in.Fate == StillRunning {
		return in, err
	}
	_, err = r.close(ctx, w, home, in)
	return in, err
}

// close records an apply that has ended, as [Runner.applyFile] does, and makes
// its result.
func (r *Runner) close(ctx context.Context, w *workspaces.Workspace, home string, in Interrupted) (Result, error) {
	ctx = context.WithoutCancel(ctx)
	res := Result{Workspace: w, Receipt: in.Receipt}
	if in.Receipt.ID != "" && hasChanges(in.Receipt) {
		plan, err := r.storedPlan(ctx, in.Receipt)
		if err != nil && !errors.Is(err, planstore.ErrNotFound) {
			return res, err
		}
		res.Plan = plan
	}
	switch in.Fate {
	case Completed:
		res.Status = Applied
	case InPart:
		res.Status = Partly
	default:
		res.Status = Failed
	}
	if res.Status != Applied {
		res.Err = in.error()
	}
	if in.Left != nil && in.Left.ErroredState != "" {
		place, err := r.rescue(ctx, w, home, in.Left.ErroredState)
		if err != nil {
			return res, fmt.Errorf("keep the state that Terraform could not save: %w", err)
		}
		res.Kept = place
		if res.Err != nil {
			res.Err = fmt.Errorf("%w\nA sealed copy of the state that could not be saved is in the plan store: plumbline plans show --state %s", res.Err, place)
		}
	}
	if in.Receipt.Purpose == planstore.PurposeCorrection && in.Fate == NotBegun {
		err := r.opts.Plans.Delete(ctx, in.Receipt.ID)
		return res, err
	}
	if res.Status == Failed {
		return res, nil
	}
	if in.Record == nil {
		switch {
		case in.Receipt.ID == "":
			// Its books can never be closed, and whoever comes next must not wait for that. Plans from before it are
			// noticed by the serial of the state.
			r.opts.Log.Warn("an apply stays without a record, because its plan is no longer in the plan store", "workspace", w.Name, "fate", string(in.Fate))
			return res, nil
		case in.StateErr != nil && res.Status == Applied:
			return res, fmt.Errorf("record the apply of %s: %w", w.Name, in.StateErr)
		}
		record, known, err := r.recordAfter(ctx, w, in.Receipt)
		if err != nil {
			return res, err
		}
		record.AppliedAt = r.opts.Now().UTC()
		record.Lineage, record.Serial = in.State.Lineage, in.State.Serial
		if res.Err != nil {
			record.Partial, record.Error = true, res.Err.Error()
		}
		if known {
			if err := r.opts.Plans.PutApplied(ctx, *record); err != nil {
				return res, err
			}
		}
	}
	switch {
	case in.Receipt.Purpose == planstore.PurposeCorrection:
		// Applied or not, it is for its moment only, and replaces nothing.
		if err := r.opts.Plans.Delete(ctx, in.Receipt.ID); err != nil && !errors.Is(err, planstore.ErrNotFound) {
			return res, err
		}
	case res.Status == Applied:
		if err := r.opts.Plans.DeleteThrough(ctx, in.Receipt); err != nil {
			return res, err
		}
	}
	return res, nil
}

// recordAfter begins the record of an apply that was interrupted. A correction has that of the last apply, and leaves none
// where none is known.
func (r *Runner) recordAfter(ctx context.Context, w *workspaces.Workspace, receipt planstore.Plan) (record *planstore.Applied, known bool, err error) {
	if receipt.Purpose != planstore.PurposeCorrection {
		return recordOf(receipt), true, nil
	}
	before, known, err := r.lastApplied(ctx, w.Name)
	return corrected(before, receipt), known, err
}

// ErrInterrupted is the error of an apply whose Plumbline died before it ended.
var ErrInterrupted = errors.New("interrupted: Plumbline died while this was being applied")

// error accounts for an apply that did not complete.
func (in Interrupted) error() error {
	say := []string{in.Reason}
	if l := in.Left; l != nil {
		if len(l.Done) > 0 {
			say = append(say, "Done: "+list(l.Done)+".")
		}
		if begun := slices.DeleteFunc(slices.Clone(l.Begun), func(a string) bool { return slices.Contains(l.Done, a) }); len(begun) > 0 {
			say = append(say, "Begun and not reported as done: "+list(begun)+". It may exist without being in the state: look for it before the next apply.")
		}
		if l.Errors != "" {
			say = append(say, l.Errors)
		}
	}
	switch {
	case in.Record != nil && in.Record.Error != "":
		say = append(say, in.Record.Error)
	case in.StateErr != nil:
		say = append(say, fmt.Sprintf("The state could not be read: %v.", in.StateErr))
	case in.Receipt.ID != "" && in.State.Serial != in.Receipt.Serial:
		say = append(say, fmt.Sprintf("The state is at serial %d, the plan was made at %d.", in.State.Serial, in.Receipt.Serial))
	default:
		say = append(say, fmt.Sprintf("The state is at serial %d, as the plan was.", in.State.Serial))
	}
	if in.Locked != nil {
		return fmt.Errorf("%w. %s Besides, %w", ErrInterrupted, strings.Join(say, " "), in.Locked)
	}
	return fmt.Errorf("%w. %s", ErrInterrupted, strings.Join(say, " "))
}
