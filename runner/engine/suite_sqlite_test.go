//go:build !postgres

package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/database"
)

// SuiteURL is the database that a test of this package uses unless it says otherwise: with "" a file of SQLite in the
// test's data directory. With -tags postgres it is another empty database of PostgreSQL for each call.
func SuiteURL(testing.TB) string { return "" }

// SuiteEnd ends what SuiteURL began.
func SuiteEnd() {}

// SuiteText is everything that a database keeps, whose data directory is dir.
func SuiteText(t testing.TB, _ *database.DB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "plumbline.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database in %s: %v", dir, err)
	}
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) { // its log goes when the last one closes it
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}
