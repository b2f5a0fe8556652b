package engine

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// store is what the engine's tables are read and written through: one file for each kind of row. Its methods run inside
// of their caller's transaction, so a decision, its audit entry and its jobs are kept together or not at all. What only
// reads may run in DB.Read too.
//
// Whoever changes runs, operations or when workspaces are looked at holds the repository first (see hold), so two
// transactions never judge the same rows without seeing each other. The audit log's head is locked last.
type store struct {
	now func() time.Time
}

// errTaken is what a step ends with when the row is no longer as its caller knows it: another process has it, or it has
// gone on. Nothing was written.
var errTaken = errors.New("the row has gone on without us")

// newID makes an id that sorts by time.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return id.String(), nil
}

// hold keeps all other transactions that hold the repository waiting until this one ends. It reports whether there is
// such a repository.
func (s *store) hold(ctx context.Context, tx *sql.Tx, repo RepoID) (bool, error) {
	n, err := s.change1(ctx, tx, "UPDATE repository SET id = id WHERE id = $1", string(repo))
	if err != nil {
		return false, fmt.Errorf("hold the repository %s: %w", repo, err)
	}
	return n, nil
}

// change1 runs a statement that changes one row, and reports whether it did.
func (s *store) change1(ctx context.Context, tx *sql.Tx, query string, args ...any) (bool, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// list runs a query and scans each of its rows.
func list[T any](ctx context.Context, tx *sql.Tx, scan func(row scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// first scans the first row of a query, and reports whether there is one.
func first[T any](ctx context.Context, tx *sql.Tx, scan func(row scanner) (T, error), query string, args ...any) (T, bool, error) {
	one, err := scan(tx.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		var none T
		return none, false, nil
	}
	return one, err == nil, err
}

// scanner is a row of a result.
type scanner interface{ Scan(into ...any) error }

func scanText(row scanner) (string, error) {
	var text string
	err := row.Scan(&text)
	return text, err
}

// millis is a time as it is kept; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is the time that millis has kept, in UTC.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pack is a value as JSON for a column; an empty list or map is "".
func pack(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("pack a column: %w", err)
	}
	switch string(text) {
	case "null", "[]", "{}":
		return "", nil
	}
	return string(text), nil
}

// unpack reads what pack wrote.
func unpack(text string, into any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("unpack a column: %w", err)
	}
	return nil
}

// encode is sealed bytes as text for a column.
func encode(sealed []byte) string { return base64.StdEncoding.EncodeToString(sealed) }

// decode reads what encode wrote. What is damaged is returned as it is: it cannot be unsealed, which says so.
func decode(text string) []byte {
	if text == "" {
		return nil
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return []byte(text)
	}
	return sealed
}
