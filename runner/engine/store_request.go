package engine

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// requestRow is a request that was written down.
type requestRow struct {
	Request
	ID      RequestID
	Asker   string
	Person  string
	Login   string
	Via     string
	Shown   []string // ids of the plans that comments showed when it was asked
	State   RequestState
	Why     string // it is not done
	AskedAt time.Time
	EndedAt time.Time
}

// actor is who asked, as the audit log tells it.
func (r requestRow) actor() string { return cmp.Or(r.Login, r.Person, "somebody") }

// replyTo is what the operations that come of it hold.
func (r requestRow) replyTo() string { return r.Via + " " + string(r.ID) }

// askedVia is where an operation was asked for: ViaWeb or ViaAPI; "" if it was elsewhere.
func (o Operation) askedVia() string {
	if via, id, ok := strings.Cut(o.ReplyTo, " "); ok && !strings.Contains(id, " ") && (via == ViaWeb || via == ViaAPI) {
		return via
	}
	return ""
}

// details are what the audit log says of how it was asked for.
func (r requestRow) details() map[string]string {
	details := map[string]string{"via": r.Via, "request": string(r.ID)}
	if r.Person != "" && r.Person != r.Login {
		details["person"] = r.Person
	}
	return details
}

// auditAction is how the audit log calls what is decided where it is written down: as the command line's decisions.
func (r requestRow) auditAction() string {
	switch r.Action {
	case ActDrift:
		return actionLook
	case ActPause:
		return actionPause
	case ActResume:
		return actionResume
	case ActCorrect:
		return "drift-correct"
	}
	return string(r.Action)
}

const requestColumns = "id, asked, asker, person, login, via, shown, state, why, asked_at, ended_at"

func scanRequest(row scanner) (requestRow, error) {
	var r requestRow
	var asked, shown string
	var at, ended int64
	if err := row.Scan(&r.ID, &asked, &r.Asker, &r.Person, &r.Login, &r.Via, &shown, &r.State, &r.Why, &at, &ended); err != nil {
		return requestRow{}, err
	}
	r.AskedAt, r.EndedAt = moment(at), moment(ended)
	if err := json.Unmarshal([]byte(asked), &r.Request); err != nil {
		return requestRow{}, fmt.Errorf("read the request %s: %w", r.ID, err)
	}
	return r, unpack(shown, &r.Shown)
}

// addRequest keeps a request, unless its asker has asked with its nonce before.
func (s *store) addRequest(ctx context.Context, tx *sql.Tx, r requestRow) (added bool, err error) {
	asked, err := json.Marshal(r.Request)
	if err != nil {
		return false, fmt.Errorf("pack a request: %w", err)
	}
	shown, err := pack(r.Shown)
	if err != nil {
		return false, err
	}
	digest, err := r.digest()
	if err != nil {
		return false, err
	}
	added, err = s.change1(ctx, tx, `INSERT INTO request (`+requestColumns+`, nonce, digest, repository, change_number, action)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING`,
		string(r.ID), string(asked), r.Asker, r.Person, r.Login, r.Via, shown, string(r.State), r.Why, millis(r.AskedAt),
		cmp.Or(r.Nonce, string(r.ID)), digest, string(r.Repository), r.Change, string(r.Action))
	if err != nil {
		return false, fmt.Errorf("keep a request: %w", err)
	}
	return added, nil
}

// askedFor is the request that the asker has made with the same nonce; "" if there is none. It is ErrOtherRequest if that
// was another one.
func (s *store) askedFor(ctx context.Context, tx *sql.Tx, r requestRow) (RequestID, error) {
	if r.Nonce == "" {
		return "", nil
	}
	var digest string
	id, known, err := first(ctx, tx, func(row scanner) (id string, err error) {
		err = row.Scan(&id, &digest)
		return id, err
	}, "SELECT id, digest FROM request WHERE asker = $1 AND nonce = $2", r.Asker, r.Nonce)
	if err != nil {
		return "", fmt.Errorf("look for a request: %w", err)
	}
	same, err := r.digest()
	if err == nil && known && digest != same {
		err = ErrOtherRequest
	}
	return RequestID(id), err
}

// request reads a request.
func (s *store) request(ctx context.Context, tx *sql.Tx, id RequestID) (requestRow, bool, error) {
	r, ok, err := first(ctx, tx, scanRequest, "SELECT "+requestColumns+" FROM request WHERE id = $1", string(id))
	if err != nil {
		return requestRow{}, false, fmt.Errorf("read the request %s: %w", id, err)
	}
	return r, ok, nil
}

// endRequest writes what became of a request that waits.
func (s *store) endRequest(ctx context.Context, tx *sql.Tx, id RequestID, state RequestState, why string) (bool, error) {
	ended, err := s.change1(ctx, tx, "UPDATE request SET state = $1, why = $2, ended_at = $3 WHERE id = $4 AND state = 'waiting'",
		string(state), why, millis(s.now()), string(id))
	if err != nil {
		return false, fmt.Errorf("end the request %s: %w", id, err)
	}
	return ended, nil
}

// thereIs is ErrNoSuch unless what a request is about is known.
func (s *store) thereIs(ctx context.Context, tx *sql.Tx, r Request) error {
	if r.Repository == "" {
		return nil
	}
	if _, known, err := s.repository(ctx, tx, r.Repository); err != nil || !known {
		return cmp.Or(err, fmt.Errorf("the repository: %w", ErrNoSuch))
	}
	if r.Action.OfChange() {
		if _, known, err := s.change(ctx, tx, r.Repository, r.Change); err != nil || !known {
			return cmp.Or(err, fmt.Errorf("the pull request: %w", ErrNoSuch))
		}
	} else if len(r.Workspaces) == 1 {
		if w, known, err := s.sweep(ctx, tx, r.Repository, r.Workspaces[0]); err != nil || !known || w.Gone {
			return cmp.Or(err, fmt.Errorf("the workspace: %w", ErrNoSuch))
		}
	}
	return nil
}

// plansShown are the plans of a change that comments show: of each workspace the newest that was
// planned, and the newest that an apply was about.
func (s *store) plansShown(ctx context.Context, tx *sql.Tx, repo RepoID, change int) ([]string, error) {
	plans, err := list(ctx, tx, scanText, `SELECT DISTINCT r.plan FROM run AS r JOIN operation AS o ON o.id = r.operation
		WHERE o.repository = $1 AND o.change_number = $2 AND r.plan <> '' AND r.shown_at > 0 AND NOT EXISTS
			(SELECT 1 FROM run AS n JOIN operation AS p ON p.id = n.operation WHERE p.repository = $1 AND p.change_number = $2
				AND n.repository = $1 AND n.workspace = r.workspace AND n.kind = r.kind AND n.plan <> '' AND n.created_at > r.created_at)`, string(repo), change)
	if err != nil {
		return nil, fmt.Errorf("read which plans of change %d of %s are shown: %w", change, repo, err)
	}
	return plans, nil
}

// eventNow has an event worked at once that waits. One that was given up waits again, unless it is somebody's command:
// those are asked for again.
func (s *store) eventNow(ctx context.Context, tx *sql.Tx, repo RepoID, key string) (bool, error) {
	waits, err := s.change1(ctx, tx, `UPDATE event SET next_at = $1, status = 'waiting', ended_at = 0 WHERE key = $2 AND repository = $3 AND owner = ''
		AND (status = 'waiting' OR status = 'failed' AND kind NOT IN ($4, $5, $6))`,
		millis(s.now()), key, string(repo), string(forge.Commented), string(eventRequest), string(eventPropose))
	if err != nil {
		return false, fmt.Errorf("have the event %s worked at once: %w", key, err)
	}
	return waits, nil
}

// reportNow has a report tried at once that waits.
func (s *store) reportNow(ctx context.Context, tx *sql.Tx, who Subject) (bool, error) {
	waits, err := s.change1(ctx, tx, "UPDATE report SET next_at = 0, urgent = 1 WHERE repository = $1 AND change_number = $2 AND operation = $3 AND wanted > told AND owner = ''",
		string(who.Repository), who.Change, who.Operation)
	if err != nil {
		return false, fmt.Errorf("have a report of %s tried at once: %w", who.Repository, err)
	}
	return waits, nil
}

// waitingFor is what the last attempt came to at what is to be tried again, and whether it waits.
func (s *store) waitingFor(ctx context.Context, tx *sql.Tx, r Request) (problem string, waits bool, err error) {
	if r.Report {
		problem, waits, err = first(ctx, tx, scanText, "SELECT problem FROM report WHERE repository = $1 AND change_number = $2 AND operation = $3 AND wanted > told",
			string(r.Repository), r.Change, r.Operation)
	} else {
		problem, waits, err = first(ctx, tx, scanText, "SELECT problem FROM event WHERE key = $1 AND repository = $2 AND status <> 'done'", r.Event, string(r.Repository))
	}
	if err != nil {
		return "", false, fmt.Errorf("look what waits of %s: %w", r.Repository, err)
	}
	return problem, waits, nil
}

// operationOf is the operation that came of a request; "" if none did.
func (s *store) operationOf(ctx context.Context, tx *sql.Tx, r requestRow) (string, error) {
	id, _, err := first(ctx, tx, scanText, "SELECT id FROM operation WHERE repository = $1 AND change_number = $2 AND reply_to = $3 ORDER BY seq LIMIT 1",
		string(r.Repository), r.Change, r.replyTo())
	if err != nil {
		return "", fmt.Errorf("find what came of the request %s: %w", r.ID, err)
	}
	return id, nil
}
