//go:build e2e

package audit_test

import (
	"testing"

	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestPostgreSQL(t *testing.T) {
	server := parts.StartPostgres(t)
	suite(t, engine{
		fresh: func(t *testing.T) database.Options { return database.Options{URL: server.Database(t)} },
		disarm: []string{
			"ALTER TABLE audit_entry DISABLE TRIGGER ALL", "ALTER TABLE audit_head DISABLE TRIGGER ALL",
			"ALTER TABLE audit_entry DROP CONSTRAINT audit_entry_seq_check",
		},
		strays: []string{
			"TRUNCATE audit_entry", "TRUNCATE audit_head",
			"INSERT INTO audit_entry COPY ON CONFLICT (seq) DO UPDATE SET actor = EXCLUDED.actor",
			"SET LOCAL session_replication_role = replica; DELETE FROM audit_entry",
		},
	})
}

func BenchmarkPostgreSQL(b *testing.B) {
	benchmark(b, database.Options{URL: parts.Postgres(b)})
}
