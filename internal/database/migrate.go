package database

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river/rivermigrate"
)

// migrations holds NNNN_name.sql for both databases and, where they differ, NNNN_name.sqlite.sql and
// NNNN_name.postgres.sql, which run after it. A file that was released is never edited: a new number follows it.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the number of PostgreSQL's advisory lock that one migrating process holds. It is an arbitrary one.
const migrationLock = 0x706c756d62

const migrationTable = `
CREATE TABLE IF NOT EXISTS plumbline_migration (
  version BIGINT PRIMARY KEY,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  applied_at TEXT NOT NULL,
  applied_by TEXT NOT NULL
)`

// migration is one step from a version of the tables to the next.
type migration struct {
	version int64
	name    string
	text    string
}

// migrate brings the tables, and River's, to this binary's version.
func (db *DB) migrate(ctx context.Context, version string) error {
	steps, err := db.steps(migrations)
	if err != nil {
		return err
	}
	river, err := rivermigrate.New(db.river(), &rivermigrate.Config{Logger: silent()})
	if err != nil {
		return fmt.Errorf("prepare the job queue's tables: %w", err)
	}
	known := river.AllVersions()
	newest := int64(known[len(known)-1].Version)

	// Usually there is nothing to do, and then no lock to wait for: many processes may start at once, and SQLite's may
	// be opened to look while a server writes.
	current := false
	err = db.repeat(ctx, func() error {
		current, err = db.current(ctx, steps, newest)
		return err
	})
	if current || err != nil {
		return err
	}
	err = db.alone(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, migrationTable); err != nil {
			return fmt.Errorf("make the table of migrations: %w", err)
		}
		done, err := applied(ctx, tx, steps)
		if err != nil {
			return err
		}
		for _, step := range steps[done:] {
			if _, err := tx.ExecContext(ctx, step.text); err != nil {
				return fmt.Errorf("migrate to version %d (%s): %w", step.version, step.name, err)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO plumbline_migration (version, name, sha256, applied_at, applied_by) VALUES ($1, $2, $3, $4, $5)`,
				step.version, step.name, step.sum(), time.Now().UTC().Format(time.RFC3339), cmp.Or(version, "unknown")); err != nil {
				return fmt.Errorf("record the migration to version %d: %w", step.version, err)
			}
		}
		return nil
	})
	// River's steps each need a transaction, because PostgreSQL takes a new value of an enum only after its commit.
	// A process that is killed in between, or another that does the next step, does no harm: each looks for the first
	// step that is not done.
	for more := true; more && err == nil; {
		err = db.alone(ctx, func(tx *sql.Tx) error {
			//nolint:staticcheck // Deprecated for batches, which fail on PostgreSQL; one step at a time is what it is for.
			result, err := river.MigrateTx(ctx, tx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{MaxSteps: 1})
			if err != nil {
				return fmt.Errorf("migrate the job queue's tables: %w", err)
			}
			more = len(result.Versions) > 0
			return nil
		})
	}
	return err
}

// alone runs fn in a transaction while no other process migrates.
func (db *DB) alone(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return db.Tx(ctx, func(tx *sql.Tx) error {
		if db.kind == postgres { // SQLite's transaction is the lock
			// Waiting has no limit but the context's: another process may be migrating a large table.
			for _, text := range []string{"SET LOCAL lock_timeout = 0", fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", migrationLock)} {
				if _, err := tx.ExecContext(ctx, text); err != nil {
					return fmt.Errorf("wait for another process that migrates: %w", err)
				}
			}
		}
		return fn(tx)
	})
}

// current reports whether nothing is left to migrate.
func (db *DB) current(ctx context.Context, steps []migration, river int64) (bool, error) {
	var have sql.NullInt64
	err := db.write.QueryRowContext(ctx, `SELECT max(version) FROM river_migration WHERE line = 'main'`).Scan(&have)
	if missing(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read the version of the job queue's tables: %w", err)
	}
	if have.Int64 > river {
		return false, fmt.Errorf("%w: the job queue's tables have version %d and this binary knows %d; use the newer Plumbline, or restore a backup from before it ran", ErrNewer, have.Int64, river)
	}
	done, err := applied(ctx, db.write, steps)
	if missing(err) {
		return false, nil
	}
	return err == nil && done == len(steps) && have.Int64 == river, err
}

// applied returns how many of the steps are done. The table of migrations is read whole, since a step that has another
// text than the one that was run means that the tables are not what this binary takes them for.
func applied(ctx context.Context, q interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, steps []migration) (int, error) {
	rows, err := q.QueryContext(ctx, `SELECT version, sha256, applied_by FROM plumbline_migration ORDER BY version`)
	if err != nil {
		return 0, fmt.Errorf("read the version of the tables: %w", err)
	}
	defer func() { _ = rows.Close() }()
	done := 0
	for rows.Next() {
		var version int64
		var sum, by string
		if err := rows.Scan(&version, &sum, &by); err != nil {
			return 0, fmt.Errorf("read the version of the tables: %w", err)
		}
		if done == len(steps) {
			return 0, fmt.Errorf("%w: its tables have version %d, made by Plumbline %s, and this binary knows %d; use that Plumbline or a newer one, or restore a backup from before it ran",
				ErrNewer, version, by, len(steps))
		}
		if step := steps[done]; version != step.version || sum != step.sum() {
			return 0, fmt.Errorf("the tables were made by Plumbline %s with another migration %d than this binary has (%s): use the Plumbline that made them, or a release that follows it", by, version, step.name)
		}
		done++
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("read the version of the tables: %w", err)
	}
	return done, nil
}

// steps reads the migrations for this kind of database, oldest first.
func (db *DB) steps(files fs.FS) ([]migration, error) {
	mine, other := ".sqlite", ".postgres"
	if db.kind == postgres {
		mine, other = other, mine
	}
	names, err := fs.Glob(files, "migrations/*.sql") // sorted: NAME.sql before NAME.sqlite.sql only by what is done below
	if err != nil {
		return nil, err
	}
	var steps []migration
	for _, name := range names {
		title := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql")
		if strings.HasSuffix(title, other) {
			continue
		}
		base, special := strings.CutSuffix(title, mine)
		number, _, _ := strings.Cut(base, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: its name does not begin with a number", name)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		switch last := len(steps) - 1; {
		case last >= 0 && steps[last].name == base && special:
			steps[last].text += "\n" + string(text)
		case last >= 0 && steps[last].name == base:
			steps[last].text = string(text) + "\n" + steps[last].text
		case version == int64(len(steps))+1:
			steps = append(steps, migration{version, base, string(text)})
		default:
			return nil, fmt.Errorf("read migration %s: want number %d", name, len(steps)+1)
		}
	}
	return steps, nil
}

func (m migration) sum() string {
	sum := sha256.Sum256([]byte(m.text))
	return hex.EncodeToString(sum[:])
}

// missing reports whether a table or a column is not there: River's own table of migrations gets its column line only by
// the fifth of them, which another process may be about to do.
func missing(err error) bool {
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		return pg.Code == "42P01" || pg.Code == "42703"
	}
	return err != nil && (strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), "no such column"))
}
