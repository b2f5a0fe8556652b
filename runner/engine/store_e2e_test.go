//go:build e2e

package engine

import (
	"testing"

	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestStoreOnPostgreSQL(t *testing.T) {
	server := parts.StartPostgres(t)
	storeSuite(t, func(t *testing.T) database.Options { return database.Options{URL: server.Database(t)} })
}

func TestLifeOnPostgreSQL(t *testing.T) {
	server := parts.StartPostgres(t)
	lifeSuite(t, func(t *testing.T) database.Options { return database.Options{URL: server.Database(t)} })
}
