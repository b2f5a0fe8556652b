package database_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/database"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	suite(t, func(t *testing.T) database.Options { return database.Options{DataDir: t.TempDir()} })
}

func TestSQLiteFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made by open")
	open(t, database.Options{DataDir: dir})
	for name, want := range map[string]os.FileMode{"": 0o700, "plumbline.db": 0o600, "plumbline.db-wal": 0o600, "plumbline.db-shm": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %04o, want %04o", name, got, want)
		}
	}
}

func TestSQLiteRefusesAFileThatOthersMayRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "plumbline.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := database.Open(t.Context(), database.Options{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "mode 0640") || !strings.Contains(err.Error(), "chmod 600 "+file) {
		t.Errorf("open says %v; want the mode and the command that corrects it", err)
	}
}

// A directory's name is not part of a URL's syntax.
func TestSQLiteStaysInItsDirectory(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b", "q?mode=memory", "h#h", "50%41", "é&_txlock=x"} {
		dir := filepath.Join(t.TempDir(), name)
		exec(t, open(t, database.Options{DataDir: dir}), "CREATE TABLE note (n BIGINT)")
		info, err := os.Stat(filepath.Join(dir, "plumbline.db-wal"))
		if err != nil || info.Size() == 0 {
			t.Errorf("%q: nothing was written there: %v", name, err)
		}
	}
}

func TestSQLiteSaysWhatIsWrongWithItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plumbline.db"), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := database.Open(t.Context(), database.Options{DataDir: dir})
	if !errors.Is(err, database.ErrUnavailable) || !strings.Contains(err.Error(), "is not a database") {
		t.Errorf("open says %v of a file that is no database", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := database.Open(t.Context(), database.Options{DataDir: file}); err == nil || !strings.Contains(err.Error(), "set data_dir to") {
		t.Errorf("a file for a data directory: %v, want what to do", err)
	}
	if _, err := database.Open(t.Context(), database.Options{}); err == nil || !strings.Contains(err.Error(), "no data directory") {
		t.Errorf("open says %v without a data directory", err)
	}
}

func TestSQLiteSaysThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	db := open(t, database.Options{DataDir: t.TempDir()})
	exec(t, db, "CREATE TABLE note (text TEXT)")
	fill := func(limit string) error {
		return db.Tx(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), "PRAGMA max_page_count = "+limit); err != nil {
				return err
			}
			_, err := tx.ExecContext(t.Context(), "INSERT INTO note VALUES ($1)", strings.Repeat("x", 1<<20))
			return err
		})
	}
	if err := fill("1"); !errors.Is(err, database.ErrFull) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("writing to a full disk: %v", err)
	}
	if got := number(t, db, "SELECT count(*) FROM note"); got != 0 {
		t.Errorf("%d rows were kept", got)
	}
	if err := fill("1000000"); err != nil {
		t.Errorf("writing when there is room again: %v", err)
	}
}

func TestSQLiteSaysThatItsFileWasReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, database.Options{DataDir: dir})
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "plumbline.db")
	if db.String() != file {
		t.Errorf("the database calls itself %s, want %s", db, file)
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ping without the file: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("ping with another file: %v", err)
	}
}

func TestSQLiteHoldsForeignKeys(t *testing.T) {
	t.Parallel()
	db := open(t, database.Options{DataDir: t.TempDir()})
	exec(t, db, "CREATE TABLE parent (id BIGINT PRIMARY KEY)", "CREATE TABLE child (parent BIGINT REFERENCES parent (id))")
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "INSERT INTO child VALUES (1)")
		return err
	})
	if err == nil {
		t.Error("a row that points to nothing was taken")
	}
}

func TestOpenNeverRepeatsTheURL(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry-p4ss"
	for _, url := range []string{
		"mysql://user:" + canary + "@host/db",
		"postgres://user:" + canary + "@host:notaport/db",
		"postgres://user:" + canary + "%zz@host/db",
		"postgres://user:" + canary + "@host/db?sslmode=perhaps",
	} {
		_, err := database.Open(t.Context(), database.Options{URL: url})
		if err == nil {
			t.Errorf("%s opens", url)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

// Whoever waits for what another process writes need not ask the database again and again.
func TestSQLiteLeavesATrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, theirs := open(t, database.Options{DataDir: dir}), open(t, database.Options{DataDir: dir})
	exec(t, theirs, "CREATE TABLE note (n BIGINT)")
	was := ours.Trace()
	if was == "" || ours.Trace() != was {
		t.Errorf("the trace is %q and then %q, want one that stays while nobody writes", was, ours.Trace())
	}
	for range 3 {
		time.Sleep(20 * time.Millisecond) // times of files are as fine as the kernel's clock
		exec(t, theirs, "INSERT INTO note VALUES (1)")
		if now := ours.Trace(); now == was {
			t.Errorf("the trace is still %q after somebody has written", now)
		} else {
			was = now
		}
	}
}
