package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/forge"
)

// The longest that a row waits before it is tried again. A row that is to wait longer was written before the clock was
// set back, and is due.
const (
	longestRetry = 15 * time.Minute
	longestPoll  = 24 * time.Hour
)

// beyond is a moment that no honest next_at reaches.
func (s *store) beyond(longest time.Duration) int64 {
	return millis(s.now().Add(longest + time.Minute))
}

const eventColumns = "key, repository, payload, source, attempts, received_at"

func scanEvent(row scanner) (EventRow, error) {
	var e EventRow
	var payload string
	var received int64
	if err := row.Scan(&e.Key, &e.Repository, &payload, &e.Source, &e.Attempts, &received); err != nil {
		return EventRow{}, err
	}
	e.ReceivedAt = moment(received)
	if err := json.Unmarshal([]byte(payload), &e.Event); err != nil {
		return EventRow{}, fmt.Errorf("read the event %s: %w", e.Key, err)
	}
	return e, nil
}

// addEvent keeps an event, once. Its caller has cut a comment down to its command. The row's key is returned even if the
// event was known.
func (s *store) addEvent(ctx context.Context, tx *sql.Tx, forgeName string, repo RepoID, e forge.Event, source Source) (key string, added bool, err error) {
	key = forgeName + " " + e.Key
	payload, err := json.Marshal(e)
	if err != nil {
		return "", false, fmt.Errorf("keep the event %s: %w", key, err)
	}
	now := millis(s.now())
	added, err = s.change1(ctx, tx, `INSERT INTO event (key, repository, change_number, kind, payload, source, status, owner, attempts, next_at, problem, received_at, ended_at)
		VALUES ($1, $2, $3, $4, $5, $6, 'waiting', '', 0, $7, '', $7, 0) ON CONFLICT DO NOTHING`,
		key, string(repo), e.Change, string(e.Kind), string(payload), string(source), now)
	if err != nil {
		return "", false, fmt.Errorf("keep the event %s: %w", key, err)
	}
	return key, added, nil
}

// claimEvent takes an event that waits and is due. While it is taken, no other event of the same change is, and one that
// came before it and is due goes first: commands and pushes of one change are worked in their order.
func (s *store) claimEvent(ctx context.Context, tx *sql.Tx, key, owner string) (EventRow, bool, error) {
	e, ok, err := first(ctx, tx, scanEvent, "SELECT "+eventColumns+" FROM event WHERE key = $1 AND status = 'waiting' AND owner = ''", key)
	if err == nil && ok {
		_, err = s.hold(ctx, tx, e.Repository)
	}
	if err == nil && ok {
		ok, err = s.change1(ctx, tx, `UPDATE event SET owner = $1, attempts = attempts + 1
			WHERE key = $2 AND status = 'waiting' AND owner = '' AND (next_at <= $3 OR next_at > $4)
			AND NOT EXISTS (SELECT 1 FROM event AS other WHERE other.repository = event.repository
				AND other.change_number = event.change_number AND (other.owner <> '' OR other.status = 'waiting' AND other.next_at <= $3
					AND (other.received_at < event.received_at OR other.received_at = event.received_at AND other.key < event.key)))`,
			owner, key, millis(s.now()), s.beyond(longestRetry))
	}
	if err != nil {
		return EventRow{}, false, fmt.Errorf("claim the event %s: %w", key, err)
	}
	e.Attempts++
	return e, ok, nil
}

// endEvent notes that an event has been worked: with "" as it should, else that it never can be, and why. It returns the
// key of the next event of the same change, which waited for this one; "" if there is none.
func (s *store) endEvent(ctx context.Context, tx *sql.Tx, key, owner, problem string) (next string, err error) {
	status := "done"
	if problem != "" {
		status = "failed"
	}
	ok, err := s.change1(ctx, tx, "UPDATE event SET status = $1, owner = '', problem = $2, ended_at = $3 WHERE key = $4 AND owner = $5 AND status = 'waiting'",
		status, problem, millis(s.now()), key, owner)
	if err == nil && !ok {
		err = errTaken
	}
	if err == nil {
		next, err = s.nextEvent(ctx, tx, key)
	}
	if err != nil {
		return "", fmt.Errorf("end the event %s: %w", key, err)
	}
	return next, nil
}

// retryEvent gives an event back, to be tried again at a time that is not further away than longestRetry. It returns the
// key of the next event of the same change, as endEvent does.
func (s *store) retryEvent(ctx context.Context, tx *sql.Tx, key, owner string, at time.Time, problem string) (next string, err error) {
	ok, err := s.change1(ctx, tx, "UPDATE event SET owner = '', next_at = $1, problem = $2 WHERE key = $3 AND owner = $4 AND status = 'waiting'",
		millis(at), problem, key, owner)
	if err == nil && !ok {
		err = errTaken
	}
	if err == nil {
		next, err = s.nextEvent(ctx, tx, key)
	}
	if err != nil {
		return "", fmt.Errorf("give back the event %s: %w", key, err)
	}
	return next, nil
}

func (s *store) nextEvent(ctx context.Context, tx *sql.Tx, key string) (string, error) {
	next, _, err := first(ctx, tx, scanText, `SELECT e.key FROM event AS e JOIN event AS this ON e.repository = this.repository AND e.change_number = this.change_number
		WHERE this.key = $1 AND e.key <> this.key AND e.status = 'waiting' AND e.owner = '' AND (e.next_at <= $2 OR e.next_at > $3) ORDER BY e.received_at, e.key LIMIT 1`,
		key, millis(s.now()), s.beyond(longestRetry))
	return next, err
}

// dueEvents reads the keys of events that wait for nobody but a worker, the oldest first: of each change the first alone.
func (s *store) dueEvents(ctx context.Context, tx *sql.Tx, limit int) ([]string, error) {
	keys, err := list(ctx, tx, scanText, `SELECT key FROM event WHERE status = 'waiting' AND owner = '' AND (next_at <= $1 OR next_at > $2)
		AND NOT EXISTS (SELECT 1 FROM event AS other WHERE other.repository = event.repository AND other.change_number = event.change_number AND other.owner <> '')
		ORDER BY next_at, received_at, key LIMIT $3`, millis(s.now()), s.beyond(longestRetry), limit)
	if err != nil {
		return nil, fmt.Errorf("look for events that wait: %w", err)
	}
	return keys, nil
}

// commentEvents reads what was kept of the comments on a change, oldest first.
func (s *store) commentEvents(ctx context.Context, tx *sql.Tx, repo RepoID, change int) ([]EventRow, error) {
	all, err := list(ctx, tx, scanEvent, "SELECT "+eventColumns+" FROM event WHERE repository = $1 AND change_number = $2 AND kind = $3 ORDER BY received_at, key",
		string(repo), change, string(forge.Commented))
	if err != nil {
		return nil, fmt.Errorf("read the comments on change %d of %s: %w", change, repo, err)
	}
	return all, nil
}

// eventLately reports whether an event whose key begins so waits, or was dealt with after a moment.
func (s *store) eventLately(ctx context.Context, tx *sql.Tx, forgeName, key string, after time.Time) (bool, error) {
	prefix := forgeName + " " + key
	n, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM event WHERE substr(key, 1, $1) = $2 AND (status = 'waiting' OR ended_at > $3)",
		utf8.RuneCountInString(prefix), prefix, millis(after))
	if err != nil {
		return false, fmt.Errorf("look for the event %s: %w", prefix, err)
	}
	return n > 0, nil
}

// dropEvent notes that an event which waits is not to be worked, and why.
func (s *store) dropEvent(ctx context.Context, tx *sql.Tx, key, why string) error {
	_, err := s.change1(ctx, tx, "UPDATE event SET status = 'done', problem = $1, ended_at = $2 WHERE key = $3 AND status = 'waiting' AND owner = ''",
		why, millis(s.now()), key)
	if err != nil {
		return fmt.Errorf("drop the event %s: %w", key, err)
	}
	return nil
}
