package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// actionCorrect is what corrections are called in the audit log.
const actionCorrect = "correct"

// beginCorrection writes that Terraform is about to apply a correction: that the run writes from now on, what it is about
// to correct, and what was found. Without that in the rows nothing was begun. It refuses where an apply waits or somebody
// has said stop, in the very transaction.
func (t *task) beginCorrection(ctx context.Context, w *workspaces.Workspace, receipt planstore.Plan) error {
	if t.drift.verdict == nil {
		return fmt.Errorf("correct %s: there is no verdict: this is a bug of Plumbline", w.Name)
	}
	if !t.correcting(ctx, t.run.ID, true) {
		return beginsNot(errPreempted)
	}
	err := t.DB.Tx(ctx, func(tx *sql.Tx) error {
		if err := t.store.beginCorrection(ctx, tx, t.run, receipt); err != nil {
			return err
		}
		now, n := t.Now(), 0
		for _, j := range t.drift.verdict.Findings {
			if !j.Allowed {
				continue
			}
			n++
			c := CorrectionRow{Repository: t.run.Repository, Workspace: t.run.Workspace, Key: j.Key, Address: j.Address, Run: t.run.ID, At: now}
			if err := t.store.addCorrection(ctx, tx, c); err != nil {
				return err
			}
		}
		found, err := t.findingRows(t.drift.verdict.Findings, nil)
		if err != nil {
			return err
		}
		if err := t.store.seeFindings(ctx, tx, t.run.Repository, t.run.Workspace, now, found); err != nil {
			return err
		}
		_, err = t.Audit.Append(ctx, tx, audit.Entry{
			Actor: t.op.Actor, Action: actionCorrect, Repository: t.repo.Repo.String(), Workspace: w.Name, Commit: receipt.Commit, Fingerprint: receipt.Fingerprint,
			Allowed: true, Reason: "what was changed outside may be corrected as plumbline.yaml says, and the plan does nothing else; Terraform is started on it",
			Details: map[string]string{
				"run": t.run.ID, "plan": receipt.ID, "lineage": receipt.Lineage, "serial": strconv.FormatUint(receipt.Serial, 10),
				"terraform": receipt.TerraformVersion, "engine": receipt.Engine, "counts": strconv.Itoa(n), "status": "begun",
			},
		})
		return err
	})
	if err != nil {
		t.correcting(ctx, t.run.ID, false)
		return beginsNot(err)
	}
	t.run.Phase, t.run.Writes = PhaseApplying, true
	return nil
}

// examineCorrection finds out what became of a correction whose process died. It is not made again: the same run looks
// once more, corrects nothing, and tells what has come of it. Only where nothing was begun it is as if there had been none.
func (t *task) examineCorrection(ctx context.Context, died time.Time) error {
	release, err := t.occupy(ctx, t.run)
	if err != nil {
		return err
	}
	defer release()
	c, err := t.clone(ctx, t.repo)
	if err != nil {
		return err
	}
	var tip string
	err = t.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		tip, _, err = t.store.branch(ctx, tx, t.run.Repository, t.op.Branch)
		return err
	})
	if err != nil {
		return err
	}
	if tip == "" {
		tip = t.op.HeadCommit
	}
	f, err := t.openAt(ctx, c, Operation{Commit: tip, Branch: t.op.Branch})
	if err != nil {
		return err
	}
	defer f.close()
	if applied, _, err := t.openApplied(ctx, c, f); err != nil {
		return err
	} else if applied != nil {
		defer applied.close()
		f = applied
	}
	if f.workspace.Removed {
		return t.lookAgain(ctx, "its workspace is not in the branch any more, so that what became of it is not known")
	}
	applying, err := runner.Applying(siteData(t.siteDir(t.repo, t.run.Workspace)), t.run.Workspace)
	if err != nil || applying {
		return err // looked at again
	}
	if err := t.lay(ctx, c, f); err != nil {
		return err
	}
	in, _, err := f.runner.Settle(ctx, f.workspace, t.run.Plan)
	if err != nil {
		return err
	}
	t.log.Info("an interrupted correction was examined", "run", t.run.ID, "workspace", t.run.Workspace, "plan", t.run.Plan, "fate", in.Fate, "reason", in.Reason)
	switch in.Fate {
	case runner.StillRunning:
		if in.Locked == nil || t.Now().Sub(died) < lockedFor {
			return nil // looked at again
		}
		return t.lookAgain(ctx, "nothing of it is left on this machine, and the state is locked")
	case runner.NotBegun:
		if in.Locked != nil {
			// Made again it would fail on the lock, and then nothing would show any more that it was its own.
			return t.lookAgain(ctx, "it changed nothing, and left the state locked")
		}
		return t.persist(ctx, func(tx *sql.Tx) error {
			ctx := context.WithoutCancel(ctx)
			if err := t.giveBack(ctx, tx); err != nil {
				return err
			}
			return t.store.takeBackCorrections(ctx, tx, t.run.ID)
		})
	case runner.Completed:
		return t.lookAgain(ctx, "it went on by itself and completed")
	case runner.InPart:
		return t.lookAgain(ctx, "it stopped on the way")
	}
	return t.lookAgain(ctx, "what became of it is not known")
}

// lookAgain has the run of an interrupted correction begun again, and writes what became of that into the audit log.
func (t *task) lookAgain(ctx context.Context, fate string) error {
	return t.persist(ctx, func(tx *sql.Tx) error {
		ctx := context.WithoutCancel(ctx)
		if err := t.giveBack(ctx, tx); err != nil {
			return err
		}
		_, err := t.Audit.Append(ctx, tx, audit.Entry{
			Actor: t.op.Actor, Action: actionCorrect, Repository: t.repo.Repo.String(), Workspace: t.run.Workspace, Commit: t.op.Commit, Allowed: true,
			Reason:  "its process died while Terraform corrected; " + fate + ". The workspace is looked at again, and not corrected by that look",
			Details: map[string]string{"run": t.run.ID, "plan": t.run.Plan, "status": string(Interrupted)},
		})
		return err
	})
}
