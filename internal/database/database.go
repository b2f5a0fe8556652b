// Package database holds what Plumbline's server must not forget: one SQLite file by default, or a PostgreSQL database
// when several machines serve.
//
// The life of a DB: Open finds out which of the two is meant, creates what is missing, brings the tables to the version
// of this binary and hands back one DB. Its users change rows in Tx, which repeats a transaction that lost a race, look
// at rows in Read, and put jobs beside rows, in the same transaction, through the client that Queue builds. Close ends
// it.
//
// One text of SQL serves both databases: both bind $1, $2. What cannot be said in one way stands in two files of
// migrations/. SQLite has one writing connection in a process, so a transaction must be short: never hold one across
// Git, HTTP or Terraform, and never begin a second one inside of a first, which would wait for itself.
//
// It will not go back to an older version of the tables, make backups, or reach for a database that is gone longer than
// a few seconds: it says ErrUnavailable, and its user decides.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long Tx and Read go on repeating what may yet succeed.
const patience = 10 * time.Second

// Options says which database to open.
type Options struct {
	// URL is postgres://… or postgresql://… as libpq understands it, or "" for SQLite.
	URL string
	// DataDir is where SQLite's file is, plumbline.db; it is made if missing. PostgreSQL does not use it.
	DataDir string
	// Version is the version of this binary. It is kept beside the tables it makes, so that an older binary can name it.
	// "" is kept as "unknown".
	Version string
}

// DB is an open database. It may be used by many goroutines at once.
type DB struct {
	kind  kind
	where string  // for people: a path, or a host and a name; never a password
	write *sql.DB // on SQLite a single connection
	read  *sql.DB // on PostgreSQL the same as write

	bell bell

	file   string      // SQLite's
	opened os.FileInfo // of file
}

type kind int

const (
	sqlite kind = iota
	postgres
)

// Open opens the database, makes it if it is SQLite's and missing, and migrates it. Any number of processes may open one
// database at once: one migrates, the others wait.
//
// It returns ErrNewer when the tables are of a newer binary, and leaves them alone.
func Open(ctx context.Context, o Options) (*DB, error) {
	var db *DB
	var err error
	switch {
	case o.URL == "":
		db, err = openSQLite(o.DataDir)
	case strings.HasPrefix(o.URL, "postgres://"), strings.HasPrefix(o.URL, "postgresql://"):
		db, err = openPostgres(o.URL)
	default:
		// Not the URL itself: it may hold a password.
		return nil, errors.New(`open the database: its URL begins with neither postgres:// nor postgresql://; leave it empty for SQLite`)
	}
	if err != nil {
		return nil, err
	}
	if err := db.prepare(ctx, o.Version); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// OpenExisting opens a database to look at it, while others may serve from it. It makes nothing and migrates nothing, so
// the tables may be those of an older binary. It returns an error that wraps fs.ErrNotExist when there is no database, or
// one without Plumbline's tables, and ErrNewer as Open does.
func OpenExisting(ctx context.Context, o Options) (*DB, error) {
	var db *DB
	var err error
	if o.URL == "" {
		file := filepath.Join(o.DataDir, sqliteFile)
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("open the database: %w", err)
		}
		db, err = openSQLite(o.DataDir)
	} else {
		db, err = openPostgres(o.URL)
	}
	if err != nil {
		return nil, err
	}
	if err := db.known(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s: %w", db.where, err), db.Close())
	}
	return db, nil
}

// known checks that the tables are ours and not of a newer binary.
func (db *DB) known(ctx context.Context) error {
	steps, err := db.steps(migrations)
	if err != nil {
		return err
	}
	return db.repeat(ctx, func() error {
		_, err := applied(ctx, db.read, steps)
		if missing(err) {
			return fmt.Errorf("it has no tables of Plumbline: %w", fs.ErrNotExist)
		}
		return err
	})
}

func (db *DB) prepare(ctx context.Context, version string) error {
	if db.kind == sqlite {
		if err := db.checkWAL(ctx); err != nil {
			return fmt.Errorf("open the database %s: %w", db.where, err)
		}
	}
	if err := db.migrate(ctx, version); err != nil {
		return fmt.Errorf("open the database %s: %w", db.where, err)
	}
	return nil
}

// Close closes the database. What still uses it fails.
func (db *DB) Close() error {
	err := db.write.Close()
	if db.read != db.write {
		// The last connection to close folds SQLite's log into its file.
		err = errors.Join(err, db.read.Close())
	}
	if err != nil {
		return fmt.Errorf("close the database %s: %w", db.where, err)
	}
	return nil
}

// String says where the database is, without credentials.
func (db *DB) String() string { return db.where }

// Ping returns nil if the database answers, and on SQLite if its file is still the one that was opened.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	if err := db.read.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("ask the database %s: %w", db.where, explain(err))
	}
	if db.kind == postgres {
		return nil
	}
	now, err := os.Stat(db.file)
	if err != nil {
		return fmt.Errorf("look for the database: %w: what is written now is lost when Plumbline stops; stop it and restore the file", err)
	}
	if !os.SameFile(db.opened, now) {
		return fmt.Errorf("the database %s was replaced while it is open: what is written now goes to the former file; restart Plumbline", db.file)
	}
	return nil
}

// Tx runs fn in a transaction that may write, and commits it if fn returns nil. While it runs, a row that fn has changed
// is changed by nobody else; on SQLite nothing is.
//
// fn is run again, in a new transaction, when the database was busy or took it for the loser of a race or a deadlock, or
// when the connection broke before the commit, for about ten seconds. So fn must change nothing but the database. When
// the connection breaks during the commit, nobody knows whether it was done: the error is ErrUnknown, and fn is not run
// again. An error of fn is returned as it is, with ErrLocked, ErrFull, ErrReadOnly or ErrUnavailable added where the
// database was the cause.
func (db *DB) Tx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return db.repeat(ctx, func() error {
		var this *sql.Tx
		defer func() { db.bell.ring(this) }()
		return once(ctx, db.write, nil, func(tx *sql.Tx) error {
			this = tx
			return fn(tx)
		})
	})
}

// Read runs fn in a transaction that sees the database as it was at one moment and cannot write. On SQLite it waits for
// no writer. fn may be run again, as in Tx.
func (db *DB) Read(ctx context.Context, fn func(tx *sql.Tx) error) error {
	options := &sql.TxOptions{ReadOnly: true}
	if db.kind == postgres {
		options.Isolation = sql.LevelRepeatableRead
	}
	return db.repeat(ctx, func() error { return once(ctx, db.read, options, fn) })
}

func (db *DB) repeat(ctx context.Context, run func() error) error {
	until := time.Now().Add(patience)
	pause := 5 * time.Millisecond
	for {
		err := run()
		if err == nil || !transient(err) || !time.Now().Before(until) {
			return explain(err)
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), explain(err))
		case <-timer.C:
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// once runs fn in one transaction.
func once(ctx context.Context, pool *sql.DB, options *sql.TxOptions, fn func(tx *sql.Tx) error) error {
	tx, err := pool.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	// Also when fn panics: the one connection of SQLite must not be lost. After a commit it does nothing.
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		if ctx.Err() != nil && errors.Is(err, sql.ErrTxDone) {
			return ctx.Err() // database/sql has rolled back already
		}
		if lost(err) {
			return fmt.Errorf("commit: %w: %w", ErrUnknown, err)
		}
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
