package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

const runColumns = "id, operation, repository, workspace, dir, position, kind, status, phase, needs, around, reasons, reviewed, plan, fingerprint, result, writes, cancel, owner, attempts, created_at, started_at, ended_at, shown_at"

func scanRun(row scanner) (Run, error) {
	var r Run
	var needs, around, reasons, result string
	var created, started, ended, shown int64
	err := row.Scan(&r.ID, &r.Operation, &r.Repository, &r.Workspace, &r.Dir, &r.Position, &r.Kind, &r.Status, &r.Phase, &needs, &around, &reasons,
		&r.Reviewed, &r.Plan, &r.Fingerprint, &result, &r.Writes, &r.Cancel, &r.Owner, &r.Attempts, &created, &started, &ended, &shown)
	if err != nil {
		return Run{}, err
	}
	r.Result = decode(result)
	r.CreatedAt, r.StartedAt, r.EndedAt, r.ShownAt = moment(created), moment(started), moment(ended), moment(shown)
	for text, into := range map[*string]*[]string{&needs: &r.Needs, &around: &r.Around, &reasons: &r.Reasons} {
		if err := unpack(*text, into); err != nil {
			return Run{}, err
		}
	}
	return r, nil
}

func (s *store) addRun(ctx context.Context, tx *sql.Tx, r Run) (Run, error) {
	var err error
	if r.ID == "" {
		if r.ID, err = newID(); err != nil {
			return Run{}, err
		}
	}
	if r.Status == "" {
		r.Status = Waiting
	}
	r.Writes = r.Kind == KindApply || r.Kind == KindUnlock
	if r.Status.Ended() && r.EndedAt.IsZero() {
		r.EndedAt = r.CreatedAt
	}
	var lists [3]string
	for i, v := range [][]string{r.Needs, r.Around, r.Reasons} {
		if lists[i], err = pack(v); err != nil {
			return Run{}, err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO run (`+runColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, $11, $12, $13, $14, $15, $16, 0, '', 0, $17, $18, $19, $20)`,
		r.ID, r.Operation, string(r.Repository), r.Workspace, r.Dir, r.Position, string(r.Kind), string(r.Status), lists[0], lists[1], lists[2],
		r.Reviewed, r.Plan, r.Fingerprint, encode(r.Result), bit(r.Writes), millis(r.CreatedAt), millis(r.StartedAt), millis(r.EndedAt), millis(r.ShownAt))
	if err != nil {
		return Run{}, fmt.Errorf("keep a run of %s in %s: %w", r.Workspace, r.Repository, err)
	}
	return r, nil
}

// run reads a run.
func (s *store) run(ctx context.Context, tx *sql.Tx, id string) (Run, bool, error) {
	r, ok, err := first(ctx, tx, scanRun, "SELECT "+runColumns+" FROM run WHERE id = $1", id)
	if err != nil {
		return Run{}, false, fmt.Errorf("read the run %s: %w", id, err)
	}
	return r, ok, nil
}

// runsOf reads the runs of an operation in the graph's order.
func (s *store) runsOf(ctx context.Context, tx *sql.Tx, operation string) ([]Run, error) {
	all, err := list(ctx, tx, scanRun, "SELECT "+runColumns+" FROM run WHERE operation = $1 ORDER BY position, workspace", operation)
	if err != nil {
		return nil, fmt.Errorf("read the runs of %s: %w", operation, err)
	}
	return all, nil
}

// noteShown writes down that plans were shown in a comment at a time of the forge's clock. The first time counts: who has
// read a plan has read it.
func (s *store) noteShown(ctx context.Context, tx *sql.Tx, runs []string, at time.Time) error {
	for _, id := range runs {
		if _, err := tx.ExecContext(ctx, "UPDATE run SET shown_at = $1 WHERE id = $2 AND shown_at = 0", millis(at), id); err != nil {
			return fmt.Errorf("note that the run %s was shown: %w", id, err)
		}
	}
	return nil
}

// mayRun is a condition on a queued run: one that writes waits for any other that writes to its workspace, and a look for
// drift also for those that are about to. A plan waits for nobody.
func mayRun(run string) string {
	return "(" + run + ".kind = 'plan' OR NOT EXISTS (SELECT 1 FROM run AS other WHERE other.repository = " + run + ".repository AND other.workspace = " + run +
		".workspace AND other.writes = 1 AND (other.status = 'running' OR " + run + ".kind IN ('drift', 'adopt') AND other.status = 'queued')))"
}

// claimRun takes a queued run. !ok says that it is not queued any more, or that another apply of its workspace runs: it
// is then looked at again when that one ends.
func (s *store) claimRun(ctx context.Context, tx *sql.Tx, id, owner string) (Run, bool, error) {
	r, ok, err := s.run(ctx, tx, id)
	if err != nil || !ok || r.Status != Queued {
		return Run{}, false, err
	}
	if _, err := s.hold(ctx, tx, r.Repository); err != nil {
		return Run{}, false, err
	}
	ok, err = s.change1(ctx, tx, `UPDATE run SET status = 'running', phase = '', owner = $1, attempts = attempts + 1, started_at = $2, cancel = 0
		WHERE id = $3 AND status = 'queued' AND `+mayRun("run"),
		owner, millis(s.now()), id)
	if err != nil {
		return Run{}, false, fmt.Errorf("claim the run %s: %w", id, err)
	}
	if !ok {
		return Run{}, false, nil
	}
	return s.run(ctx, tx, id)
}

// stepRun takes a run from the status it has in r to the next one, and writes what else r has learnt: Reviewed, Plan,
// Fingerprint and Result. It refuses a step that the table of statuses lacks. It is errTaken if the row no longer has r's
// status and owner, so a process that was taken for dead cannot write what it finds later. A run whose process died ended
// when r.EndedAt says, if that is known.
//
// A run that is given back (Queued) though it was asked to stop becomes Superseded. The run is returned as it now is.
func (s *store) stepRun(ctx context.Context, tx *sql.Tx, r Run, to Status) (Run, error) {
	if !r.Status.may(to) {
		return Run{}, fmt.Errorf("run %s of %s: a run that is %s cannot become %s", r.ID, r.Workspace, r.Status, to)
	}
	if _, err := s.hold(ctx, tx, r.Repository); err != nil {
		return Run{}, err
	}
	now, known, err := s.run(ctx, tx, r.ID)
	if err != nil {
		return Run{}, err
	}
	if !known || now.Status != r.Status || now.Owner != r.Owner {
		return Run{}, fmt.Errorf("run %s of %s cannot become %s: %w", r.ID, r.Workspace, to, errTaken)
	}
	if to == Queued && now.Cancel {
		to = Superseded
	}
	now.Status, now.Phase, now.Owner, now.Cancel = to, PhaseNone, "", false
	if now.Kind == KindDrift {
		now.Writes = false // it corrects no more
	}
	now.Reviewed, now.Plan, now.Fingerprint, now.Result = r.Reviewed, r.Plan, r.Fingerprint, r.Result
	if to.Ended() {
		now.EndedAt = s.now().UTC().Truncate(time.Millisecond)
		if !r.EndedAt.IsZero() && r.EndedAt.Before(now.EndedAt) {
			now.EndedAt = later(r.EndedAt, now.StartedAt)
		}
	}
	err = s.must(ctx, tx, `UPDATE run SET status = $1, phase = '', owner = '', cancel = 0, reviewed = $2, plan = $3, fingerprint = $4, result = $5, ended_at = $6, writes = $7 WHERE id = $8`,
		string(to), now.Reviewed, now.Plan, now.Fingerprint, encode(now.Result), millis(now.EndedAt), bit(now.Writes), now.ID)
	if err != nil {
		return Run{}, fmt.Errorf("note that run %s of %s is %s: %w", r.ID, r.Workspace, to, err)
	}
	return now, nil
}

// readyRuns looks at what waits in an operation. A run whose needs have all ended well, and before which no apply of an
// earlier operation has to come, is queued; one of whose needs did not end well is skipped, and so is what needs it. It
// returns the runs that are queued now, for which the caller makes jobs, and the skipped ones.
func (s *store) readyRuns(ctx context.Context, tx *sql.Tx, operation string) (queued, skipped []Run, err error) {
	o, ok, err := s.operation(ctx, tx, operation)
	if err != nil || !ok {
		return nil, nil, err
	}
	if _, err := s.hold(ctx, tx, o.Repository); err != nil {
		return nil, nil, err
	}
	runs, err := s.runsOf(ctx, tx, operation)
	if err != nil {
		return nil, nil, err
	}
	earlier := map[string]bool{}
	if o.Kind == KindApply {
		names, err := list(ctx, tx, scanText, `SELECT DISTINCT r.workspace FROM run AS r JOIN operation AS o ON o.id = r.operation
			WHERE r.repository = $1 AND r.status IN ('waiting', 'queued', 'running') AND r.kind = 'apply' AND o.seq < $2`, string(o.Repository), o.Seq)
		if err != nil {
			return nil, nil, fmt.Errorf("read what comes before the operation %s: %w", operation, err)
		}
		for _, name := range names {
			earlier[name] = true
		}
	}
	steps := next(runs, earlier)
	for i, r := range runs {
		to, ok := steps[r.Workspace]
		if !ok {
			continue
		}
		if runs[i], err = s.stepRun(ctx, tx, r, to); err != nil {
			return nil, nil, err
		}
		if to == Queued {
			queued = append(queued, runs[i])
		} else {
			skipped = append(skipped, runs[i])
		}
	}
	return queued, skipped, nil
}

// next decides which of an operation's waiting runs are to be queued or skipped. earlier holds the workspaces whose
// applies of earlier operations have not ended.
func next(runs []Run, earlier map[string]bool) map[string]Status {
	status := map[string]Status{}
	for _, r := range runs {
		status[r.Workspace] = r.Status
	}
	steps := map[string]Status{}
	for again := true; again; {
		again = false
		for _, r := range runs {
			if status[r.Workspace] != Waiting {
				continue
			}
			to := Queued
			for _, need := range r.Needs {
				of, known := status[need]
				switch {
				case !known || of.OK():
				case of.Ended():
					to = Skipped
				case to != Skipped:
					to = Waiting
				}
			}
			if to == Queued && slices.ContainsFunc(r.Around, func(name string) bool { return earlier[name] }) {
				to = Waiting
			}
			if to != Waiting {
				status[r.Workspace], steps[r.Workspace] = to, to
				again = true
			}
		}
	}
	return steps
}

// blockedApplies reads the operations, oldest first, that have runs waiting in a repository, but not the one named
// except. Whoever ends a run of an apply calls readyRuns for each of them.
func (s *store) blockedApplies(ctx context.Context, tx *sql.Tx, repo RepoID, except string) ([]string, error) {
	ids, err := list(ctx, tx, scanText, `SELECT id FROM operation WHERE repository = $1 AND id <> $2 AND status = 'running' AND kind NOT IN ('plan', 'drift', 'adopt')
		AND EXISTS (SELECT 1 FROM run WHERE run.operation = operation.id AND run.status = 'waiting') ORDER BY seq`, string(repo), except)
	if err != nil {
		return nil, fmt.Errorf("read the applies that wait in %s: %w", repo, err)
	}
	return ids, nil
}

// settled is what follows from a run that ended.
type settled struct {
	Queued     []Run    // are ready now: make jobs for them
	Skipped    []Run    // never will be
	Operations []string // of which no run is left that has not ended: finish and report them
	Touched    []string // operations with a run in Queued, Skipped or the ended one: report them
}

// settle does what follows in the rows from a run of an operation that ended, or from an operation that was just added or
// superseded: readyRuns of it and, unless it only planned, of those that waited for it; operations of which nothing is
// left are done, unless they were superseded before.
func (s *store) settle(ctx context.Context, tx *sql.Tx, operation string) (settled, error) {
	var all settled
	o, ok, err := s.operation(ctx, tx, operation)
	if err != nil {
		return settled{}, err
	}
	if !ok {
		return settled{}, fmt.Errorf("settle the operation %s: there is none", operation)
	}
	if _, err := s.hold(ctx, tx, o.Repository); err != nil {
		return settled{}, err
	}
	look := []string{operation}
	if o.Kind != KindPlan && !o.Kind.sweeps() {
		more, err := s.blockedApplies(ctx, tx, o.Repository, operation)
		if err != nil {
			return settled{}, err
		}
		look = append(look, more...)
	}
	for _, id := range look {
		queued, skipped, err := s.readyRuns(ctx, tx, id)
		if err != nil {
			return settled{}, err
		}
		all.Queued, all.Skipped = append(all.Queued, queued...), append(all.Skipped, skipped...)
		if id == operation || len(queued)+len(skipped) > 0 {
			all.Touched = append(all.Touched, id)
		}
		left, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM run WHERE operation = $1 AND status IN ('waiting', 'queued', 'running')", id)
		if err != nil {
			return settled{}, fmt.Errorf("count what is left of %s: %w", id, err)
		}
		if left > 0 {
			continue
		}
		if _, err := s.endOperation(ctx, tx, id, OperationDone); err != nil {
			return settled{}, err
		}
		all.Operations = append(all.Operations, id)
	}
	return all, nil
}
