//go:build postgres

package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

// suiteServer is the one PostgreSQL of all tests of this package, once one of them needs it.
var suiteServer = sync.OnceValue(func() suitePostgres {
	server, err := parts.RunPostgres()
	return suitePostgres{server, err}
})

type suitePostgres struct {
	*parts.PostgresServer
	err error
}

var (
	suiteBegun    atomic.Bool
	suiteMigrated struct {
		sync.Mutex
		url string
	}
)

// SuiteURL is the URL of an empty database of PostgreSQL. It has the tables already, which takes longer to make for each
// test than to copy.
func SuiteURL(t testing.TB) string {
	t.Helper()
	suiteBegun.Store(true)
	server := suiteServer()
	if server.err != nil {
		t.Fatal(server.err)
	}
	suiteMigrated.Lock()
	defer suiteMigrated.Unlock()
	if suiteMigrated.url == "" {
		url := server.Database(t)
		db, err := database.Open(t.Context(), database.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		suiteMigrated.url = url
	}
	return server.Copy(t, suiteMigrated.url)
}

// SuiteEnd stops PostgreSQL.
func SuiteEnd() {
	if suiteBegun.Load() && suiteServer().err == nil {
		suiteServer().Stop()
	}
}

// SuiteText is every row of every table.
func SuiteText(t testing.TB, db *database.DB, _ string) string {
	t.Helper()
	var all strings.Builder
	ctx := context.WithoutCancel(t.Context()) // cleanups ask too
	err := db.Read(ctx, func(tx *sql.Tx) error {
		tables, err := list(ctx, tx, scanText, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
		if err != nil {
			return err
		}
		for _, table := range tables {
			rows, err := list(ctx, tx, scanText, fmt.Sprintf(`SELECT CAST(r AS TEXT) FROM "%s" AS r`, table))
			if err != nil {
				return err
			}
			all.WriteString(strings.Join(rows, "\n"))
		}
		return nil
	})
	if err != nil || all.Len() == 0 {
		t.Fatalf("read all rows: %d bytes, %v", all.Len(), err)
	}
	return all.String()
}
