package audit_test

import (
	"database/sql"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
)

func BenchmarkSQLite(b *testing.B) {
	benchmark(b, database.Options{DataDir: b.TempDir()})
}

// benchmark measures an entry in a transaction of its own, flushed to disk, and reading a log of 10,000.
func benchmark(b *testing.B, o database.Options) {
	db, err := database.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	log, err := audit.New(audit.Options{Keys: [][]byte{key1}})
	if err != nil {
		b.Fatal(err)
	}
	sample := samples(1)[0]
	b.Run("Append", func(b *testing.B) {
		for b.Loop() {
			if err := db.Tx(b.Context(), func(tx *sql.Tx) error {
				_, err := log.Append(b.Context(), tx, sample)
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := db.Tx(b.Context(), func(tx *sql.Tx) error {
		for range 10_000 {
			if _, err := log.Append(b.Context(), tx, sample); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.Run("Verify", func(b *testing.B) {
		var entries int64
		for b.Loop() {
			if err := db.Read(b.Context(), func(tx *sql.Tx) error {
				whole, err := log.Verify(b.Context(), tx)
				entries += whole.Entries
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(entries), "µs/entry")
	})
}
