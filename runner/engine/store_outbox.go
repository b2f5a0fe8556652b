package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// outboxRow is an event that is to be told to a target of notifications. It is gone once it was told.
type outboxRow struct {
	ID         string
	Target     string
	Repository RepoID
	Workspace  string
	DueAt      time.Time
	Attempts   int    // to send it: more than none says that it may have been told
	Payload    []byte // sealed: see sealEvent
}

func scanOutbox(row scanner) (outboxRow, error) {
	var o outboxRow
	var due int64
	var payload string
	err := row.Scan(&o.ID, &o.Target, &o.Repository, &o.Workspace, &due, &o.Attempts, &payload)
	o.DueAt, o.Payload = moment(due), decode(payload)
	return o, err
}

// addOutbox keeps an event for a target. One that gathers is due with those that wait already.
func (s *store) addOutbox(ctx context.Context, tx *sql.Tx, o outboxRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO outbox (id, target, repository, workspace, due_at, attempts, payload)
		VALUES ($1, $2, $3, $4, COALESCE((SELECT MIN(due_at) FROM outbox WHERE target = $2 AND due_at > $7), $5), 0, $6)`,
		o.ID, o.Target, string(o.Repository), o.Workspace, millis(o.DueAt), encode(o.Payload), millis(s.now()))
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO notify_target (name, owner, attempts, next_at, problem) VALUES ($1, '', 0, 0, '') ON CONFLICT (name) DO NOTHING", o.Target)
	}
	if err != nil {
		return fmt.Errorf("keep an event for %s: %w", o.Target, err)
	}
	return nil
}

// targetDue is which targets may be sent to now: $1 is the time, $2 what it cannot be before, see beyond.
const targetDue = `owner = '' AND (next_at <= $1 OR next_at > $2) AND EXISTS (SELECT 1 FROM outbox WHERE outbox.target = notify_target.name AND (due_at <= $1 OR due_at > $2))`

func (s *store) targetArgs() []any { return []any{millis(s.now()), s.beyond(mostDigest)} }

// dueTargets reads which targets wait for nobody but a worker.
func (s *store) dueTargets(ctx context.Context, tx *sql.Tx, limit int) ([]string, error) {
	names, err := list(ctx, tx, scanText, "SELECT name FROM notify_target WHERE "+targetDue+" ORDER BY name LIMIT $3", append(s.targetArgs(), limit)...)
	if err != nil {
		return nil, fmt.Errorf("look for notifications that wait: %w", err)
	}
	return names, nil
}

// claimTarget takes a target that is due, with the events that are to be told to it now. Each of them counts as tried.
func (s *store) claimTarget(ctx context.Context, tx *sql.Tx, name, owner string, limit int) ([]outboxRow, bool, error) {
	fail := func(err error) ([]outboxRow, bool, error) {
		return nil, false, fmt.Errorf("claim the notifications of %s: %w", name, err)
	}
	args := s.targetArgs()
	ok, err := s.change1(ctx, tx, "UPDATE notify_target SET owner = $3 WHERE name = $4 AND "+targetDue, append(args, owner, name)...)
	if err != nil {
		return fail(err)
	}
	if !ok {
		return nil, false, nil
	}
	rows, err := list(ctx, tx, scanOutbox, `SELECT id, target, repository, workspace, due_at, attempts, payload FROM outbox
		WHERE target = $3 AND (due_at <= $1 OR due_at > $2) ORDER BY id LIMIT $4`, append(args, name, limit)...)
	if err != nil {
		return fail(err)
	}
	for _, o := range rows {
		if _, err := tx.ExecContext(ctx, "UPDATE outbox SET attempts = attempts + 1 WHERE id = $1", o.ID); err != nil {
			return fail(err)
		}
	}
	return rows, true, nil
}

// endTarget gives a target back that told is what it was told of, and is not sent to again before next.
func (s *store) endTarget(ctx context.Context, tx *sql.Tx, name, owner string, told []outboxRow, next time.Time) error {
	ok, err := s.change1(ctx, tx, "UPDATE notify_target SET owner = '', attempts = 0, problem = '', next_at = $1 WHERE name = $2 AND owner = $3", millis(next), name, owner)
	if err == nil && !ok {
		err = errTaken
	}
	for _, o := range told {
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM outbox WHERE id = $1", o.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("end the notifications of %s: %w", name, err)
	}
	return nil
}

// retryTarget gives a target back that could not be told, until next. It reports how often that happened in a row.
func (s *store) retryTarget(ctx context.Context, tx *sql.Tx, name, owner, problem string, next func(failures int64) time.Time) (int64, error) {
	failures, ok, err := first(ctx, tx, scanNumber, "SELECT attempts + 1 FROM notify_target WHERE name = $1 AND owner = $2", name, owner)
	if err != nil || !ok {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE notify_target SET owner = '', attempts = $1, problem = $2, next_at = $3 WHERE name = $4",
		failures, problem, millis(next(failures)), name)
	return failures, err
}

// forgetTargets drops what waits for targets that are not there any more, and reports how much that was.
func (s *store) forgetTargets(ctx context.Context, tx *sql.Tx, names []string) (int64, error) {
	marks, args := make([]string, 0, len(names)), make([]any, 0, len(names))
	for i, name := range names {
		marks, args = append(marks, fmt.Sprintf("$%d", i+1)), append(args, name)
	}
	others := ""
	if len(names) > 0 {
		others = " WHERE %s NOT IN (" + strings.Join(marks, ", ") + ")"
	}
	where := func(column string) string {
		if others == "" {
			return ""
		}
		return fmt.Sprintf(others, column)
	}
	result, err := tx.ExecContext(ctx, "DELETE FROM outbox"+where("target"), args...)
	if err != nil {
		return 0, fmt.Errorf("forget targets of notifications: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM notify_target"+where("name"), args...); err != nil {
		return 0, fmt.Errorf("forget targets of notifications: %w", err)
	}
	return result.RowsAffected()
}

// issueURL is the page of the issue that tells of a workspace; "" if it has none.
func (s *store) issueURL(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string) (string, error) {
	url, _, err := first(ctx, tx, scanText, "SELECT url FROM drift_issue WHERE repository = $1 AND key = $2", string(repo), workspaceIssue+workspace)
	if err != nil {
		return "", fmt.Errorf("find the issue of %s of %s: %w", workspace, repo, err)
	}
	return url, nil
}
