package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	sqlitecode "modernc.org/sqlite/lib"
)

// What a caller may want to tell apart, with errors.Is. The text of the error says more, and what to do.
var (
	// ErrNewer: a newer Plumbline made the tables.
	ErrNewer = errors.New("the database is of a newer Plumbline")
	// ErrLocked: another process kept the database, or a row, for longer than Tx waits.
	ErrLocked = errors.New("the database is locked")
	// ErrFull: no space is left.
	ErrFull = errors.New("the database's disk is full")
	// ErrReadOnly: the database may be read, not written.
	ErrReadOnly = errors.New("the database cannot be written")
	// ErrUnavailable: no connection, or the server is starting or stopping. Later it may work.
	ErrUnavailable = errors.New("the database is not available")
	// ErrUnknown: the connection broke during a commit, which was done or not. It comes with ErrUnavailable.
	ErrUnknown = errors.New("nobody knows whether the transaction was committed")
)

// explained is an error of a driver with what it means.
type explained struct {
	means  error
	advice string
	err    error
}

func (e *explained) Error() string {
	// A driver that tried several addresses tells of each on a line of its own.
	lines := strings.FieldsFunc(e.err.Error(), func(r rune) bool { return r == '\n' || r == '\t' })
	return fmt.Sprintf("%v (%s): %s", e.means, e.advice, strings.Join(lines, " "))
}

func (e *explained) Unwrap() []error { return []error{e.means, e.err} }

// explain adds to an error of a driver what it means and what to do. Other errors are returned as they are.
func explain(err error) error {
	var done *explained
	if err == nil || errors.As(err, &done) {
		return err
	}
	if full := new(sqlitedriver.Error); errors.As(err, &full) {
		switch full.Code() & 0xff {
		case sqlitecode.SQLITE_BUSY, sqlitecode.SQLITE_LOCKED:
			return &explained{ErrLocked, "another process is writing; find it with: fuser plumbline.db", err}
		case sqlitecode.SQLITE_FULL:
			return &explained{ErrFull, "make room in the data directory; nothing of this transaction was kept", err}
		case sqlitecode.SQLITE_READONLY, sqlitecode.SQLITE_PERM:
			return &explained{ErrReadOnly, "its file and directory must be writable by the user that Plumbline runs as", err}
		case sqlitecode.SQLITE_CANTOPEN:
			return &explained{ErrUnavailable, "its file cannot be opened; look at the data directory's permissions", err}
		case sqlitecode.SQLITE_NOTADB, sqlitecode.SQLITE_CORRUPT:
			return &explained{ErrUnavailable, "its file is damaged or is not a database; restore it from a backup", err}
		case sqlitecode.SQLITE_IOERR:
			return &explained{ErrUnavailable, "its disk reports errors", err}
		}
		return err
	}
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		switch {
		case pg.Code == "55P03":
			return &explained{ErrLocked, "another session keeps a row or a table; find it in pg_stat_activity", err}
		case pg.Code == "53100":
			return &explained{ErrFull, "make room on the database server", err}
		case pg.Code == "25006":
			return &explained{ErrReadOnly, "this server is a standby or set read-only; use the URL of the primary", err}
		case pg.Code == "42501":
			return &explained{ErrReadOnly, "its user needs the right to create and write tables in the schema", err}
		case pg.Code == "28P01", pg.Code == "28000":
			return &explained{ErrUnavailable, "the server refuses the user or the password of the URL", err}
		case pg.Code == "3D000":
			return &explained{ErrUnavailable, "the server has no database of that name; create it with: createdb NAME", err}
		case pg.Code == "53300":
			return &explained{ErrUnavailable, "the server has no connection left; raise max_connections", err}
		case strings.HasPrefix(pg.Code, "57P"), strings.HasPrefix(pg.Code, "08"), pg.Code == "25P03":
			return &explained{ErrUnavailable, "the server ended the connection; see its log", err}
		}
		return err
	}
	if lost(err) {
		return &explained{ErrUnavailable, "there is no connection to its server", err}
	}
	return err
}

// transient reports whether the transaction was surely not done and may succeed when it is repeated at once.
func transient(err error) bool {
	if errors.Is(err, ErrUnknown) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if lite := new(sqlitedriver.Error); errors.As(err, &lite) {
		code := lite.Code() & 0xff
		return code == sqlitecode.SQLITE_BUSY || code == sqlitecode.SQLITE_LOCKED
	}
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		switch pg.Code {
		case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
			return true
		case "53300", "57P01", "57P02", "57P03", "25P03": // too many connections, the server stops, crashed or starts
			return true
		}
		return strings.HasPrefix(pg.Code, "08")
	}
	return lost(err)
}

// lost reports whether a connection to PostgreSQL broke or could not be made. A server's own answer is not a loss,
// except that it ends the session.
func lost(err error) bool {
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08") || pg.Code == "25P03"
	}
	if connect := new(pgconn.ConnectError); errors.As(err, &connect) {
		return true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false // the caller's patience ended, which looks like a time-out of the network
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		err != nil && strings.Contains(err.Error(), "conn closed") // pgconn's, which it does not export
}
