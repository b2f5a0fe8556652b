package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
)

// scriptAuditLog makes a server's database with entries, as a server would:
// the odd ones allowed, each of another pull request.
//
//	auditlog DATA_DIR COUNT
func scriptAuditLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: auditlog DATA_DIR COUNT")
	}
	dir := ts.MkAbs(args[0])
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	ctx := context.Background()
	db, err := database.Open(ctx, database.Options{DataDir: dir, Version: "test"})
	ts.Check(err)
	defer db.Close()
	p := &program{}
	log, err := p.openAuditLog(&serverConfig{planKeyFile: filepath.Join(dir, "plan.key")})
	ts.Check(err)
	for i := range count {
		n := int64(i + 1)
		e := audit.Entry{
			At: time.Date(2026, 11, 21, 9, i, 0, 0, time.UTC), Actor: "ada", Action: "apply", Repository: "acme/live", Change: n,
			Workspace: "network", Commit: "0123abcd", Allowed: n%2 == 1, Reason: fmt.Sprintf("reason %d", n), Details: map[string]string{"plan": "p1"},
		}
		ts.Check(db.Tx(ctx, func(tx *sql.Tx) error {
			_, err := log.Append(ctx, tx, e)
			return err
		}))
	}
}

// scriptSQLite runs a statement on a SQLite file, as somebody with access to
// it would.
//
//	sqlite FILE STATEMENT
func scriptSQLite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sqlite FILE STATEMENT")
	}
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0])) // internal/database registers the driver
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}
