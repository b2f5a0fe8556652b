package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// readers is how many read transactions SQLite serves at once.
const readers = 4

// sqliteFile is the database's name in the data directory.
const sqliteFile = "plumbline.db"

func openSQLite(dir string) (*DB, error) {
	if dir == "" {
		return nil, errors.New("open the database: no data directory is set, and no URL of a PostgreSQL database")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w: set data_dir to a directory that this user may write to", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	file := filepath.Join(dir, sqliteFile)
	// Made here because SQLite would make it readable by all. Its log and index, plumbline.db-wal and -shm, get the
	// file's mode from SQLite.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w: set data_dir to a directory that this user may write to", err)
	}
	opened, err := f.Stat()
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if mode := opened.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, fmt.Errorf("open the database %s: other users may open it too (mode %04o): run chmod 600 %[1]s", file, mode)
	}
	write, err := sql.Open("sqlite", sqliteName(file, url.Values{"_txlock": {"immediate"}}))
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", file, err)
	}
	// One writer: the others of this process wait in the pool, in the order they came, instead of racing for the lock.
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", sqliteName(file, url.Values{"_pragma": {"query_only(1)"}}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s: %w", file, err), write.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return &DB{kind: sqlite, where: file, write: write, read: read, file: file, opened: opened}, nil
}

// sqliteName is the data source name of a file, with what every connection needs.
func sqliteName(file string, more url.Values) string {
	query := url.Values{
		"_defensive": {"1"},
		"_error_rc":  {"1"},
		"_pragma": append([]string{
			// A short wait, because it cannot be interrupted: Tx repeats it, and looks at its context in between.
			"busy_timeout(1000)",
			"journal_mode(WAL)",
			// NORMAL would lose the last commits when the power fails. An accepted webhook must not be lost.
			"synchronous(FULL)",
			"foreign_keys(1)",
			// Without it, INSERT OR REPLACE deletes a row past the triggers that guard it.
			"recursive_triggers(1)",
		}, more["_pragma"]...),
	}
	if lock := more.Get("_txlock"); lock != "" {
		query.Set("_txlock", lock)
	}
	slashed := filepath.ToSlash(file)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a drive's letter
	}
	return (&url.URL{Scheme: "file", Path: slashed, RawQuery: query.Encode()}).String()
}

// Trace says how the database was when somebody last wrote to it, in words that mean nothing but that they change with each
// write, whoever it is. It costs a microsecond, so it may be asked often; "" is where only a query could tell.
func (db *DB) Trace() string {
	if db.kind != sqlite {
		return ""
	}
	info, err := os.Stat(db.file + "-wal")
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// checkWAL makes the first connection, and so the file's header, and sees whether readers and the writer can live
// side by side.
func (db *DB) checkWAL(ctx context.Context) error {
	var mode string
	err := db.repeat(ctx, func() error {
		return db.write.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode)
	})
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("SQLite cannot keep a write-ahead log there (journal mode %q): put the data directory on a local file system", mode)
	}
	return nil
}
