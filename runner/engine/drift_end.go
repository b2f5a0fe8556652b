package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/runner"
)

// findingRows are the rows of findings.
func (t *task) findingRows(found []drift.Judged, refused error) ([]FindingRow, error) {
	var rows []FindingRow
	now := t.Now()
	for _, j := range found {
		d := findingDetail{Judged: j, Fight: t.drift.stopped[j.Key], Commit: t.drift.at, Newer: t.drift.newer}
		d.Absent = t.absent(j.Key)
		if before, there := t.standing(j.Key); there && len(d.Who) == 0 && j.Cause == before.Cause {
			d.Who = before.Who // logs of clouds forget, and are not always to be had
		}
		if refused != nil && j.Allowed {
			d.Refused = refused.Error()
		}
		row := FindingRow{Key: j.Key, Address: j.Address, Class: j.Class, Cause: j.Cause, Noise: j.Cause == drift.CausePerpetual}
		if _, stopped := t.drift.stopped[j.Key]; stopped {
			row.StoppedAt = now
			if before, ok := t.seenBefore(j.Key); ok && !before.StoppedAt.IsZero() {
				row.StoppedAt = before.StoppedAt
			}
		}
		if slices.Contains(t.drift.returned, j.Key) {
			row.Returned = true
			if j.Allowed {
				d.Reason = "it was corrected, and was there again at once: something else wants it otherwise"
			}
		}
		var err error
		if row.Detail, err = sealFinding(t.plans, t.run.Repository, t.run.Workspace, d); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (t *task) seenBefore(key string) (FindingRow, bool) {
	i := slices.IndexFunc(t.drift.before, func(f FindingRow) bool { return f.Key == key })
	if i < 0 {
		return FindingRow{}, false
	}
	return t.drift.before[i], true
}

// stands reports whether a finding makes a workspace a drifted one. Noise does not, nor what is to be left alone, nor what
// Git has come to ask for.
func stands(j drift.Judged) bool { return !j.Ignored && !j.Agreed && j.Cause != drift.CausePerpetual }

// endDrift writes what a look for drift came to: its findings, what was corrected, the workspace's state and history, the
// decisions, and that the workspace's issue is to tell of it. It is a part of the transaction that ends the run.
func (t *task) endDrift(ctx context.Context, tx *sql.Tx, r Run, res runner.Result) error {
	if r.Status == Removed {
		return t.leave(ctx, tx, r)
	}
	now := t.Now()
	look := Look{Repository: r.Repository, Workspace: r.Workspace, At: now, Run: r.ID, State: SweepClean, Counts: map[string]int{}}
	var left []drift.Judged
	var corrected []FindingRow
	var problem []byte
	var err error
	if res.Drift == nil || res.Status == runner.Failed {
		look.State = SweepUnknown
		text := "nothing is known of why"
		if res.Err != nil {
			text = res.Err.Error()
		}
		if problem, err = sealProblem(t.plans, r.Repository, r.Workspace, text); err != nil {
			return err
		}
		if t.drift.verdict != nil {
			left = t.drift.verdict.Findings // it was seen before that came in between
		}
	} else {
		left, t.drift.returned = slices.DeleteFunc(slices.Clone(res.Drift.Left.Findings), func(j drift.Judged) bool { return j.Agreed }), res.Drift.Returned
		if corrected, err = t.correctedRows(res.Drift); err != nil {
			return err
		}
	}
	refused := t.refused(res)
	rows, err := t.findingRows(left, refused)
	if err != nil {
		return err
	}
	for _, j := range left {
		look.Counts[string(j.Cause)+"/"+string(j.Class)]++
		if stands(j) && look.State == SweepClean {
			look.State = SweepDrifted
		}
	}
	look.Corrected = len(corrected)
	rows = append(rows, corrected...)
	put := t.store.putFindings
	if look.State == SweepUnknown {
		put = t.store.seeFindings // what was not seen need not be gone
	}
	if err := put(ctx, tx, r.Repository, r.Workspace, now, rows); err != nil {
		return err
	}
	if err := t.store.putLook(ctx, tx, look); err != nil {
		return err
	}
	before, _, err := t.store.sweep(ctx, tx, r.Repository, r.Workspace)
	if err != nil {
		return err
	}
	if err := t.endLook(ctx, tx, r, look.State, problem); err != nil {
		return err
	}
	if err := t.tellPeople(ctx, tx, r.Repository, t.news(before.State, look, left, rows)...); err != nil {
		return err
	}
	if err := t.noteDrift(ctx, tx, r, rows, look, refused); err != nil {
		return err
	}
	return t.wantIssue(ctx, tx, r.Repository, r.Workspace)
}

// leave ends a look at a workspace that the branch has no more.
func (t *task) leave(ctx context.Context, tx *sql.Tx, r Run) error {
	w, known, err := t.store.sweep(ctx, tx, r.Repository, r.Workspace)
	if err != nil || !known || w.Operation != r.Operation {
		return err
	}
	w.Operation = ""
	return t.store.putSweep(ctx, tx, w)
}

// refused is why nothing was corrected though something was allowed, or why it stopped on the way; nil where nothing stood
// in the way.
func (t *task) refused(res runner.Result) error {
	switch {
	case res.Status == runner.Partly:
		return fmt.Errorf("its correction stopped on the way: %w", res.Err)
	case res.Drift != nil && res.Drift.Refused != nil:
		return res.Drift.Refused
	case t.drift.verdict != nil && res.Status == runner.Failed:
		return res.Err
	}
	return nil
}

// correctedRows are the rows of what was corrected and is gone: by this look, or before its process died.
func (t *task) correctedRows(found *runner.DriftResult) ([]FindingRow, error) {
	var rows []FindingRow
	now := t.Now()
	for _, f := range found.Corrected {
		judged := drift.Judged{Finding: f, Allowed: true}
		if i := slices.IndexFunc(found.Verdict.Findings, func(j drift.Judged) bool { return j.Key == f.Key }); i >= 0 {
			judged = found.Verdict.Findings[i]
		}
		row, err := t.findingRows([]drift.Judged{judged}, nil)
		if err != nil {
			return nil, err
		}
		row[0].CorrectedAt = now
		rows = append(rows, row...)
	}
	for _, c := range t.drift.begun {
		row, known := t.seenBefore(c.Key)
		if !known || slices.ContainsFunc(found.Left.Findings, func(j drift.Judged) bool { return j.Key == c.Key }) {
			continue
		}
		row.CorrectedAt = c.At
		rows = append(rows, row)
	}
	return rows, nil
}

// noteDrift writes into the audit log what a look has corrected, and what it has refused to correct since it was last told.
// That nothing is to be corrected is no decision, and a refusal that goes on is one.
func (t *task) noteDrift(ctx context.Context, tx *sql.Tx, r Run, rows []FindingRow, look Look, refused error) error {
	note := func(allowed bool, reason string, n int) error {
		details := map[string]string{"run": r.ID, "status": string(look.State), "counts": strconv.Itoa(n)}
		if r.Plan != "" {
			details["plan"] = r.Plan
		}
		_, err := t.Audit.Append(ctx, tx, audit.Entry{
			Actor: t.op.Actor, Action: actionCorrect, Repository: t.repo.Repo.String(), Workspace: r.Workspace, Commit: t.op.Commit,
			Allowed: allowed, Reason: reason, Details: details,
		})
		return err
	}
	if look.Corrected > 0 {
		if err := note(true, "corrected: a second look finds them gone", look.Corrected); err != nil {
			return err
		}
	}
	if n := len(t.drift.returned); n > 0 {
		if err := note(true, "corrected, and back at once: something else wants it otherwise", n); err != nil {
			return err
		}
	}
	stopped := 0
	for _, row := range rows {
		if before, ok := t.seenBefore(row.Key); !row.StoppedAt.IsZero() && (!ok || before.StoppedAt.IsZero()) {
			stopped++
		}
	}
	if stopped > 0 {
		if err := note(false, "refused: corrected again and again, and back each time; a person has to decide", stopped); err != nil {
			return err
		}
	}
	if refused == nil || t.toldBefore(rows) {
		return nil
	}
	reason := "refused: what a correction would do goes beyond what was found, or the workspace may not be corrected"
	var notNow *runner.NotNowError
	switch {
	case errors.As(refused, &notNow):
		reason = "refused: an apply goes first, or somebody has paused corrections"
	case look.State == SweepUnknown || r.Status == Partly:
		reason = "not completed: it failed on the way"
	}
	return note(false, reason, len(t.drift.verdict.Targets))
}

// toldBefore reports whether the look before has refused the same for the same reason.
func (t *task) toldBefore(rows []FindingRow) bool {
	for _, row := range rows {
		row.Repository, row.Workspace = t.run.Repository, t.run.Workspace
		now, err := openFinding(t.plans, row)
		if err != nil || now.Refused == "" {
			continue
		}
		before, ok := t.seenBefore(row.Key)
		if !ok || !before.GoneAt.IsZero() {
			return false
		}
		if was, err := openFinding(t.plans, before); err != nil || was.Refused != now.Refused {
			return false
		}
	}
	return true
}

// noteApply writes how far a workspace of the default branch was applied, and has it looked at soon: what differs right
// after an apply may be noise, and what differed before may be gone, also where the files have come to what is real and
// nothing was left to apply.
func (t *task) noteApply(ctx context.Context, tx *sql.Tx, r Run) error {
	if r.Status == Removed || t.op.Branch != t.repo.DefaultBranch {
		return nil
	}
	now := t.Now()
	if err := t.store.noteApplied(ctx, tx, r.Repository, r.Workspace, r.Dir, t.op.Commit, r.Status, now); err != nil || r.Status != Applied && r.Status != Unchanged {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE sweep SET next_at = $1 WHERE repository = $2 AND workspace = $3 AND gone = 0 AND next_at > $1 AND ($4 = 1 OR state = 'drifted')",
		millis(now), string(r.Repository), r.Workspace, bit(r.Status == Applied))
	if err != nil {
		return fmt.Errorf("have %s looked at after its apply: %w", r.Workspace, err)
	}
	return nil
}
