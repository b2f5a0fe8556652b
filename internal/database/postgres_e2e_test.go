//go:build e2e

package database_test

import (
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestPostgreSQL(t *testing.T) {
	server := parts.StartPostgres(t)
	suite(t, func(t *testing.T) database.Options { return database.Options{URL: server.Database(t)} })
}

func TestPostgreSQLSaysWhyItCannotConnect(t *testing.T) {
	t.Parallel()
	address := parts.Postgres(t)
	const canary = "c4n4ry-p4ss"
	for _, c := range []struct {
		change func(u *url.URL)
		want   string
	}{
		{func(u *url.URL) { u.User = url.UserPassword("plumbline", canary) }, "refuses the user or the password"},
		{func(u *url.URL) { u.Path = "/absent" }, "createdb"},
		{func(u *url.URL) {
			u.RawQuery = "host=/nowhere&sslmode=disable"
			u.User = url.UserPassword("plumbline", canary)
		}, "no connection to its server"},
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		c.change(u)
		_, err = database.Open(t.Context(), database.Options{URL: u.String()})
		if !errors.Is(err, database.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("open says %v; want ErrUnavailable and %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

// As when the server is restarted: sessions end, idle ones and one in the middle of a transaction.
func TestPostgreSQLSessionsThatEndAreReplaced(t *testing.T) {
	t.Parallel()
	o := database.Options{URL: parts.Postgres(t)}
	db, other := open(t, o), open(t, o)
	exec(t, db, "CREATE TABLE note (n BIGINT)")
	runs := 0
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		runs++
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO note VALUES (1)"); err != nil {
			return err
		}
		if runs == 1 {
			exec(t, other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
		}
		_, err := tx.ExecContext(t.Context(), "INSERT INTO note VALUES (2)")
		return err
	})
	if err != nil || runs != 2 {
		t.Errorf("the transaction ran %d times and ended with %v; want it repeated once", runs, err)
	}
	if got := number(t, db, "SELECT count(*) FROM note"); got != 2 {
		t.Errorf("%d rows, want those of the second run alone", got)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

// A trigger that runs at the commit and ends the session stands for a network that breaks there.
func TestPostgreSQLCommitThatNobodyAnswersIsNotRepeated(t *testing.T) {
	t.Parallel()
	db := open(t, database.Options{URL: parts.Postgres(t)})
	exec(t, db, "CREATE TABLE note (n BIGINT)",
		"CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
		"CREATE CONSTRAINT TRIGGER hang_up AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hang_up()")
	runs := 0
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		runs++
		_, err := tx.ExecContext(t.Context(), "INSERT INTO note VALUES (1)")
		return err
	})
	if !errors.Is(err, database.ErrUnknown) || !errors.Is(err, database.ErrUnavailable) || runs != 1 {
		t.Errorf("%d runs, and %v; want one run and ErrUnknown", runs, err)
	}
}
