package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// trim deletes what nobody will ask for again.
func (e *Engine) trim(ctx context.Context) error {
	now := e.Now()
	month, quarter := millis(now.AddDate(0, -1, 0)), millis(now.AddDate(0, -3, 0))
	day, year := millis(now.AddDate(0, 0, -1)), millis(now.AddDate(-1, 0, 0))
	err := e.DB.Tx(ctx, func(tx *sql.Tx) error {
		for _, t := range []struct {
			statement string
			before    int64
		}{
			// Forges redeliver within days. Of comments, see trimCommands.
			{"DELETE FROM event WHERE status <> 'waiting' AND kind <> '" + string(forge.Commented) + "' AND ended_at < $1", month},
			// What looks for drift have found is in rows of its own; there are thousands of looks each hour.
			{"DELETE FROM run WHERE kind IN ('drift', 'adopt') AND ended_at > 0 AND ended_at < $1", day},
			{"DELETE FROM operation WHERE kind IN ('drift', 'adopt') AND status <> 'running' AND finished_at > 0 AND ended_at < $1 AND NOT EXISTS (SELECT 1 FROM run WHERE run.operation = operation.id)", day},
			// With its run at the latest, by the constraint of its table.
			{"DELETE FROM run_output WHERE written_at < $1", quarter},
			// What held a year ago is known by the last row before.
			{`DELETE FROM sweep_history WHERE at < $1 AND (state = 'never' OR EXISTS (SELECT 1 FROM sweep_history AS n
				WHERE n.repository = sweep_history.repository AND n.workspace = sweep_history.workspace AND n.at > sweep_history.at AND n.at < $1))`, year},
			{"DELETE FROM finding WHERE gone_at > 0 AND gone_at < $1", year},
			{"DELETE FROM correction WHERE at < $1", year},
			{"DELETE FROM request WHERE ended_at > 0 AND ended_at < $1", quarter},
			{"DELETE FROM process WHERE ended_at > 0 AND ended_at < $1", month},
			// A target that has taken nothing for a month will not want it all.
			{"DELETE FROM outbox WHERE due_at < $1", month},
			{`DELETE FROM report WHERE wanted <= told AND owner = '' AND told_at < $1 AND (change_number = 0 OR EXISTS (SELECT 1 FROM change AS c
				WHERE c.repository = report.repository AND c.number = report.change_number AND c.state <> 'open' AND c.closed_at < $1))`, quarter},
			{`DELETE FROM status WHERE EXISTS (SELECT 1 FROM change AS c WHERE c.repository = status.repository
				AND c.head_commit = status.commit_id AND c.state <> 'open' AND c.closed_at < $1)`, quarter},
		} {
			if _, err := tx.ExecContext(ctx, t.statement, t.before); err != nil {
				return err
			}
		}
		return e.trimCommands(ctx, tx, month)
	})
	if err != nil {
		return fmt.Errorf("delete old rows: %w", err)
	}
	return e.trimOperations(ctx, now.AddDate(-1, 0, 0))
}

// trimCommands deletes the events of comments that were dealt with before some time, but for those that a look at their
// repository would show again: it begins with the last comment that was seen, which in a quiet repository is an old one,
// and a command that nobody remembers would be done once more.
func (e *Engine) trimCommands(ctx context.Context, tx *sql.Tx, before int64) error {
	old, err := list(ctx, tx, scanEvent, "SELECT "+eventColumns+" FROM event WHERE status <> 'waiting' AND kind = $1 AND ended_at < $2",
		string(forge.Commented), before)
	if err != nil {
		return err
	}
	since := map[RepoID]time.Time{}
	for _, ev := range old {
		seen, asked := since[ev.Repository]
		if !asked {
			row, _, err := e.store.repository(ctx, tx, ev.Repository)
			if err != nil {
				return err
			}
			seen = row.CommentsSince.Truncate(time.Second) // as forges are asked
			since[ev.Repository] = seen
		}
		if c := ev.Event.Comment; c != nil && !seen.IsZero() && !c.UpdatedAt.Before(seen) {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM event WHERE key = $1", ev.Key); err != nil {
			return err
		}
	}
	return nil
}

// trimmedAtOnce is of how many operations the rows are deleted in one transaction, and trimRounds of how many of one
// change. The rest waits for the next time.
const (
	trimmedAtOnce = 200
	trimRounds    = 20
)

// trimOperations deletes the operations that ended before some time, with their runs and what they came to, once nothing
// points at them: their change is merged or closed for as long, and they are neither the newest apply of a workspace, by
// which drift and state locks are understood, nor still to be caught up with. Of a change the oldest goes first: with a
// later one gone, what an earlier one held would look as if it waited still. The audit log keeps what was decided.
func (e *Engine) trimOperations(ctx context.Context, before time.Time) error {
	err := e.DB.Tx(ctx, func(tx *sql.Tx) error {
		for deleted, round := 0, 0; deleted < trimmedAtOnce && round < trimRounds; round++ {
			n, err := trimOldest(ctx, tx, before, trimmedAtOnce-deleted)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			deleted += n
		}
		// Our comments stay on the forge, and are known there by their marks.
		_, err := tx.ExecContext(ctx, `DELETE FROM comment WHERE EXISTS (SELECT 1 FROM change AS c WHERE c.repository = comment.repository AND c.number = comment.change_number
			AND c.state <> 'open' AND c.closed_at < $1) AND NOT EXISTS (SELECT 1 FROM operation AS o WHERE o.repository = comment.repository AND o.change_number = comment.change_number)`,
			millis(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("delete old operations: %w", err)
	}
	return nil
}

// trimOldest deletes the oldest operation of each change and push that may go, at most so many, and counts them.
func trimOldest(ctx context.Context, tx *sql.Tx, before time.Time, limit int) (int, error) {
	ids, err := list(ctx, tx, scanText, `SELECT id FROM operation AS o WHERE kind NOT IN ('drift', 'adopt') AND status <> 'running' AND ended_at < $1 AND finished_at > 0 AND owner = '' AND unread <> 1
		AND (change_number = 0 OR NOT EXISTS (SELECT 1 FROM operation AS e WHERE e.repository = o.repository AND e.change_number = o.change_number AND e.seq < o.seq))
		AND (change_number = 0 OR EXISTS (SELECT 1 FROM change AS c WHERE c.repository = o.repository AND c.number = o.change_number AND c.state <> 'open' AND c.closed_at < $1))
		AND NOT EXISTS (SELECT 1 FROM report AS p WHERE p.repository = o.repository AND p.change_number = o.change_number AND p.operation IN ('', o.id) AND p.wanted > p.told)
		AND NOT EXISTS (SELECT 1 FROM workspace AS w WHERE w.repository = o.repository AND w.applied_commit = o.commit_id)
		AND NOT EXISTS (SELECT 1 FROM run AS r WHERE r.operation = o.id AND (r.status IN ('waiting', 'queued', 'running') OR r.kind = 'apply' AND NOT EXISTS
			(SELECT 1 FROM run AS n WHERE n.repository = r.repository AND n.workspace = r.workspace AND n.kind = 'apply' AND n.created_at > r.created_at)))
		ORDER BY id LIMIT $2`, millis(before), limit)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		for _, statement := range []string{"DELETE FROM run WHERE operation = $1", "DELETE FROM operation WHERE id = $1"} {
			if _, err := tx.ExecContext(ctx, statement, id); err != nil {
				return 0, err
			}
		}
	}
	return len(ids), nil
}
