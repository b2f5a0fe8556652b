package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const operationColumns = "id, seq, repository, change_number, kind, cause, actor, branch, base_commit, head_commit, commit_id, accept, notes, reply_to, asked, unread, status, event_at, created_at, ended_at, told_at"

func scanOperation(row scanner) (Operation, error) {
	var o Operation
	var accept, notes, asked string
	var event, created, ended, told, unread int64
	err := row.Scan(&o.ID, &o.Seq, &o.Repository, &o.Change, &o.Kind, &o.Cause, &o.Actor, &o.Branch, &o.BaseCommit, &o.HeadCommit,
		&o.Commit, &accept, &notes, &o.ReplyTo, &asked, &unread, &o.Status, &event, &created, &ended, &told)
	if err != nil {
		return Operation{}, err
	}
	o.Unread = unread != 0
	o.EventAt, o.CreatedAt, o.EndedAt, o.ToldAt = moment(event), moment(created), moment(ended), moment(told)
	if err := unpack(accept, &o.Accept); err != nil {
		return Operation{}, err
	}
	if err := unpack(asked, &o.Asked); err != nil {
		return Operation{}, err
	}
	return o, unpack(notes, &o.Notes)
}

// addOperation keeps an operation and its runs. It sets their ids, the operation's Seq and CreatedAt, and Status where it
// is empty: an operation is running, a run waits. Runs that are given with a status are kept so: held ones for example.
// Call Engine.settle afterwards: it queues what is ready, and ends an operation of which nothing is to be done.
func (s *store) addOperation(ctx context.Context, tx *sql.Tx, o Operation, runs []Run) (Operation, []Run, error) {
	known, err := s.hold(ctx, tx, o.Repository)
	if err != nil {
		return Operation{}, nil, err
	}
	if !known {
		return Operation{}, nil, fmt.Errorf("keep an operation: the repository %s has no row", o.Repository)
	}
	if o.ID, err = newID(); err != nil {
		return Operation{}, nil, err
	}
	last, _, err := first(ctx, tx, scanNumber, "SELECT COALESCE(MAX(seq), 0) FROM operation WHERE repository = $1", string(o.Repository))
	if err != nil {
		return Operation{}, nil, fmt.Errorf("number an operation of %s: %w", o.Repository, err)
	}
	o.Seq, o.CreatedAt = last+1, s.now().UTC().Truncate(time.Millisecond)
	if o.Status == "" {
		o.Status = OperationRunning
	}
	if o.Status != OperationRunning && o.EndedAt.IsZero() {
		o.EndedAt = o.CreatedAt
	}
	accept, err := pack(o.Accept)
	if err != nil {
		return Operation{}, nil, err
	}
	notes, err := pack(o.Notes)
	if err != nil {
		return Operation{}, nil, err
	}
	asked, err := pack(o.Asked)
	if err != nil {
		return Operation{}, nil, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO operation (`+operationColumns+`, finished_at, owner, attempts, next_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, 0, '', 0, 0)`,
		o.ID, o.Seq, string(o.Repository), o.Change, string(o.Kind), string(o.Cause), o.Actor, o.Branch, o.BaseCommit, o.HeadCommit,
		o.Commit, accept, notes, o.ReplyTo, asked, bit(o.Unread), string(o.Status), millis(o.EventAt), millis(o.CreatedAt), millis(o.EndedAt), millis(o.ToldAt))
	if err != nil {
		return Operation{}, nil, fmt.Errorf("keep an operation of %s: %w", o.Repository, err)
	}
	added := make([]Run, 0, len(runs))
	for _, r := range runs {
		r.Operation, r.Repository, r.Kind, r.CreatedAt = o.ID, o.Repository, o.Kind, o.CreatedAt
		if r, err = s.addRun(ctx, tx, r); err != nil {
			return Operation{}, nil, err
		}
		added = append(added, r)
	}
	return o, added, nil
}

// operation reads an operation.
func (s *store) operation(ctx context.Context, tx *sql.Tx, id string) (Operation, bool, error) {
	o, ok, err := first(ctx, tx, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE id = $1", id)
	if err != nil {
		return Operation{}, false, fmt.Errorf("read the operation %s: %w", id, err)
	}
	return o, ok, nil
}

// operations reads the operations of a change, oldest first: those of one kind, or all with "".
func (s *store) operations(ctx context.Context, tx *sql.Tx, repo RepoID, change int, kind Kind) ([]Operation, error) {
	all, err := list(ctx, tx, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE repository = $1 AND change_number = $2 AND (kind = $3 OR $3 = '') ORDER BY seq",
		string(repo), change, string(kind))
	if err != nil {
		return nil, fmt.Errorf("read the operations of change %d of %s: %w", change, repo, err)
	}
	return all, nil
}

// appliedSpan reports whether there is an operation that applies what came to a branch with a commit.
func (s *store) appliedSpan(ctx context.Context, tx *sql.Tx, repo RepoID, branch, commit string) (bool, error) {
	n, _, err := first(ctx, tx, scanNumber, `SELECT COUNT(*) FROM operation WHERE repository = $1 AND branch = $2 AND commit_id = $3 AND kind = 'apply'
		AND cause IN ('merged', 'push') AND EXISTS (SELECT 1 FROM run WHERE run.operation = operation.id)`, string(repo), branch, commit)
	if err != nil {
		return false, fmt.Errorf("look for the apply of %s of %s: %w", commit, repo, err)
	}
	return n > 0, nil
}

// endOperation notes that an operation that was running has ended, and reports whether it was. It does not look at runs.
func (s *store) endOperation(ctx context.Context, tx *sql.Tx, id string, status OperationStatus) (bool, error) {
	ended, err := s.change1(ctx, tx, "UPDATE operation SET status = $1, ended_at = $2 WHERE id = $3 AND status = 'running'", string(status), millis(s.now()), id)
	if err != nil {
		return false, fmt.Errorf("end the operation %s: %w", id, err)
	}
	return ended, nil
}

// noteTold writes that the last report of an ended operation was posted, if it is the first time.
func (s *store) noteTold(ctx context.Context, tx *sql.Tx, id string) (first bool, err error) {
	first, err = s.change1(ctx, tx, "UPDATE operation SET told_at = $1 WHERE id = $2 AND told_at = 0 AND status <> 'running'", millis(s.now()), id)
	if err != nil {
		return false, fmt.Errorf("note that the operation %s was told of: %w", id, err)
	}
	return first, nil
}

// supersede ends the operations of a change that have not ended, of one kind or of all with "", but not the one named
// except. What waits is never begun; what runs is asked to stop, and its ids are returned for the workers of this process
// to be told (see Engine.cancel): but an apply that runs, or an unlock, ends as it will.
//
// superseded lists the operations; one of them whose apply still runs counts as superseded too.
func (s *store) supersede(ctx context.Context, tx *sql.Tx, repo RepoID, change int, kind Kind, except string) (cancelled []string, superseded []Operation, err error) {
	if _, err := s.hold(ctx, tx, repo); err != nil {
		return nil, nil, err
	}
	superseded, err = list(ctx, tx, scanOperation, "SELECT "+operationColumns+` FROM operation
		WHERE repository = $1 AND change_number = $2 AND (kind = $3 OR $3 = '') AND id <> $4 AND status = 'running' ORDER BY seq`, string(repo), change, string(kind), except)
	if err != nil {
		return nil, nil, fmt.Errorf("read what is superseded of change %d of %s: %w", change, repo, err)
	}
	now := millis(s.now())
	for _, o := range superseded {
		if _, err := tx.ExecContext(ctx, "UPDATE run SET status = 'superseded', ended_at = $1 WHERE operation = $2 AND status IN ('waiting', 'queued')", now, o.ID); err != nil {
			return nil, nil, fmt.Errorf("supersede the runs of %s: %w", o.ID, err)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE run SET cancel = 1 WHERE operation = $1 AND status = 'running' AND kind = 'plan'", o.ID); err != nil {
			return nil, nil, fmt.Errorf("cancel the runs of %s: %w", o.ID, err)
		}
		ids, err := list(ctx, tx, scanText, "SELECT id FROM run WHERE operation = $1 AND status = 'running' AND cancel = 1", o.ID)
		if err != nil {
			return nil, nil, fmt.Errorf("read the runs of %s: %w", o.ID, err)
		}
		cancelled = append(cancelled, ids...)
		if _, err := s.endOperation(ctx, tx, o.ID, OperationSuperseded); err != nil {
			return nil, nil, err
		}
	}
	return cancelled, superseded, nil
}

// claimFinish takes an operation of which all runs have ended, and which was not finished yet.
func (s *store) claimFinish(ctx context.Context, tx *sql.Tx, id, owner string) (bool, error) {
	ok, err := s.change1(ctx, tx, `UPDATE operation SET owner = $1, attempts = attempts + 1
		WHERE id = $2 AND finished_at = 0 AND owner = '' AND status <> 'running' AND (next_at <= $3 OR next_at > $4)
		AND NOT EXISTS (SELECT 1 FROM run WHERE run.operation = operation.id AND run.status IN ('waiting', 'queued', 'running'))`,
		owner, id, millis(s.now()), s.beyond(longestRetry))
	if err != nil {
		return false, fmt.Errorf("claim the end of the operation %s: %w", id, err)
	}
	return ok, nil
}

// endFinish notes that what follows from an operation's end was done.
func (s *store) endFinish(ctx context.Context, tx *sql.Tx, id, owner string) error {
	return s.leaveFinish(ctx, tx, id, owner, "finished_at = $3", millis(s.now()))
}

// retryFinish gives the end of an operation back, to be tried again at a time.
func (s *store) retryFinish(ctx context.Context, tx *sql.Tx, id, owner string, at time.Time) error {
	return s.leaveFinish(ctx, tx, id, owner, "next_at = $3", millis(at))
}

func (s *store) leaveFinish(ctx context.Context, tx *sql.Tx, id, owner, set string, value int64) error {
	ok, err := s.change1(ctx, tx, "UPDATE operation SET owner = '', "+set+" WHERE id = $1 AND owner = $2", id, owner, value)
	if err == nil && !ok {
		err = errTaken
	}
	if err != nil {
		return fmt.Errorf("end the finish of the operation %s: %w", id, err)
	}
	return nil
}

// dueFinishes reads the operations that have ended and wait to be finished, oldest first.
func (s *store) dueFinishes(ctx context.Context, tx *sql.Tx, limit int) ([]string, error) {
	ids, err := list(ctx, tx, scanText, `SELECT id FROM operation WHERE finished_at = 0 AND owner = '' AND status <> 'running' AND (next_at <= $1 OR next_at > $2)
		AND NOT EXISTS (SELECT 1 FROM run WHERE run.operation = operation.id AND run.status IN ('waiting', 'queued', 'running')) ORDER BY id LIMIT $3`,
		millis(s.now()), s.beyond(longestRetry), limit)
	if err != nil {
		return nil, fmt.Errorf("look for operations that wait to be finished: %w", err)
	}
	return ids, nil
}

func scanNumber(row scanner) (int64, error) {
	var n int64
	err := row.Scan(&n)
	return n, err
}
