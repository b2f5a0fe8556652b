package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/database"
)

func sqliteEngine() engine {
	return engine{
		fresh: func(t *testing.T) database.Options { return database.Options{DataDir: t.TempDir()} },
		disarm: []string{
			"DROP TRIGGER audit_entry_no_update", "DROP TRIGGER audit_entry_no_delete", "DROP TRIGGER audit_entry_at_end",
			"DROP TRIGGER audit_head_forward", "DROP TRIGGER audit_head_no_delete",
			"PRAGMA ignore_check_constraints = 1",
		},
		strays: []string{"INSERT OR REPLACE INTO audit_entry COPY", "REPLACE INTO audit_head VALUES (1, 2, 'x', '', '')"},
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	suite(t, sqliteEngine())
}

// The key seals and is nowhere in the database's files.
func TestSQLiteFilesDoNotHoldTheKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, database.Options{DataDir: dir})
	add(t, db, newLog(t, key1), samples(3)...)
	for _, name := range []string{"plumbline.db", "plumbline.db-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, key1) {
			t.Errorf("%s holds the key", name)
		}
	}
}
