package database_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/plumbline-dev/plumbline/internal/database"
)

// suite holds what is promised of both databases. fresh returns the options of one that is empty.
func suite(t *testing.T, fresh func(t *testing.T) database.Options) {
	for name, test := range map[string]func(t *testing.T, o database.Options){
		"OpenAgainKeepsRows":             openAgainKeepsRows,
		"ManyProcessesMigrateOnce":       manyProcessesMigrateOnce,
		"MigrationThatStoppedGoesOn":     migrationThatStoppedGoesOn,
		"NewerTablesAreRefused":          newerTablesAreRefused,
		"OpenExistingLooksOnly":          openExistingLooksOnly,
		"OtherMigrationsAreRefused":      otherMigrationsAreRefused,
		"TxCommitsOrLeavesNothing":       txCommitsOrLeavesNothing,
		"TxLosesNoUpdate":                txLosesNoUpdate,
		"TxTakesAnyText":                 txTakesAnyText,
		"TxOutlastsDeadlocks":            txOutlastsDeadlocks,
		"TxSaysWhoWasInTheWay":           txSaysWhoWasInTheWay,
		"TxHeedsItsContext":              txHeedsItsContext,
		"ReadSeesOneMoment":              readSeesOneMoment,
		"ReadCannotWrite":                readCannotWrite,
		"KilledProcessLeavesNoHalfWork":  killedProcessLeavesNoHalfWork,
		"JobsComeWithTheirTransaction":   jobsComeWithTheirTransaction,
		"WokenJobsDoNotWait":             wokenJobsDoNotWait,
		"JobsAreTriedOnceUnlessTheySay":  jobsAreTriedOnceUnlessTheySay,
		"JobsAreCancelledAtTheirTimeout": jobsAreCancelledAtTheirTimeout,
		"LeadershipIsHandedOver":         leadershipIsHandedOver,
		"QueueRefusesNonsense":           queueRefusesNonsense,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
		})
	}
}

func open(t *testing.T, o database.Options) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// exec runs statements in one transaction.
func exec(t *testing.T, db *database.DB, texts ...string) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		for _, text := range texts {
			if _, err := tx.ExecContext(t.Context(), text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%q: %v", texts, err)
	}
}

// number reads one number.
func number(t *testing.T, db *database.DB, query string) int64 {
	t.Helper()
	var n int64
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), query).Scan(&n)
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func openAgainKeepsRows(t *testing.T, o database.Options) {
	o.Version = "1.2.3"
	db := open(t, o)
	exec(t, db, "CREATE TABLE note (n BIGINT)", "INSERT INTO note VALUES (7)")
	again := open(t, o)
	if got := number(t, again, "SELECT n FROM note"); got != 7 {
		t.Errorf("the second Open reads %d, want 7", got)
	}
	if err := again.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	if got := number(t, db, "SELECT count(*) FROM plumbline_migration WHERE applied_by = '1.2.3'"); got == 0 {
		t.Error("the tables do not say which version made them")
	}
}

func manyProcessesMigrateOnce(t *testing.T, o database.Options) {
	var wg sync.WaitGroup
	for range 6 {
		cmd := child(t, "open", o)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("a process that opens at the same time: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	db := open(t, o)
	if got := number(t, db, "SELECT count(*) FROM audit_head"); got != 1 {
		t.Errorf("the first migration ran %d times", got)
	}
}

// Each of River's steps is a transaction, so a process may die between two of them.
func migrationThatStoppedGoesOn(t *testing.T, o database.Options) {
	for steps := 1; steps <= 5; steps++ {
		db := open(t, o)
		want := number(t, db, "SELECT max(version) FROM river_migration")
		for version := want; version > int64(steps); version-- {
			stepBack(t, o)
		}
		again := open(t, o)
		if got := number(t, again, "SELECT max(version) FROM river_migration"); got != want {
			t.Errorf("after step %d of %d, the next Open comes to %d", steps, want, got)
		}
	}
}

// stepBack undoes River's last migration with River's own means.
func stepBack(t *testing.T, o database.Options) {
	t.Helper()
	var migrator *rivermigrate.Migrator[*sql.Tx]
	var pool *sql.DB
	var err error
	if o.URL != "" {
		if pool, err = sql.Open("pgx", o.URL); err == nil {
			migrator, err = rivermigrate.New(riverdatabasesql.New(pool), nil)
		}
	} else {
		if pool, err = sql.Open("sqlite", "file://"+filepath.Join(o.DataDir, "plumbline.db")+"?_pragma=busy_timeout(10000)"); err == nil {
			migrator, err = rivermigrate.New(riversqlite.New(pool), nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	if _, err := migrator.Migrate(t.Context(), rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{MaxSteps: 1}); err != nil {
		t.Fatalf("go one step back: %v", err)
	}
}

func newerTablesAreRefused(t *testing.T, o database.Options) {
	db := open(t, o)
	exec(t, db, "INSERT INTO plumbline_migration (version, name, sha256, applied_at, applied_by) VALUES (900, '0900_future', 'x', 'then', '9.9.9')")
	_, err := database.Open(t.Context(), o)
	if !errors.Is(err, database.ErrNewer) || !strings.Contains(err.Error(), "made by Plumbline 9.9.9") || !strings.Contains(err.Error(), "version 900") {
		t.Errorf("open says %v; want ErrNewer, with the version to use", err)
	}
	exec(t, db, "DELETE FROM plumbline_migration WHERE version = 900", "INSERT INTO river_migration (line, version) VALUES ('main', 900)")
	_, err = database.Open(t.Context(), o)
	if !errors.Is(err, database.ErrNewer) || !strings.Contains(err.Error(), "version 900") {
		t.Errorf("open says %v of a newer job queue; want ErrNewer", err)
	}
}

func openExistingLooksOnly(t *testing.T, o database.Options) {
	if db, err := database.OpenExisting(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is no database yet: %v, %v; want fs.ErrNotExist", db, err)
	}
	if o.URL == "" {
		if left, err := os.ReadDir(o.DataDir); err == nil && len(left) > 0 {
			t.Errorf("it has made %v", left)
		}
	}
	db := open(t, o)
	newest := number(t, db, "SELECT max(version) FROM plumbline_migration")
	exec(t, db, fmt.Sprintf("DELETE FROM plumbline_migration WHERE version = %d AND version > 1", newest))
	older, err := database.OpenExisting(t.Context(), o)
	if err != nil {
		t.Fatalf("a database of an older binary: %v", err)
	}
	defer func() { _ = older.Close() }()
	if err := older.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT seq FROM audit_head").Scan(new(int64))
	}); err != nil {
		t.Errorf("read it: %v", err)
	}
	if got := number(t, db, "SELECT count(*) FROM plumbline_migration"); got != newest-1 {
		t.Errorf("%d migrations are recorded after it was looked at, want %d", got, newest-1)
	}
	exec(t, db, "INSERT INTO plumbline_migration (version, name, sha256, applied_at, applied_by) VALUES (900, '0900_future', 'x', 'then', '9.9.9')",
		"DELETE FROM plumbline_migration WHERE version > 1 AND version < 900")
	if _, err := database.OpenExisting(t.Context(), o); err == nil {
		t.Error("a database of a newer binary was opened")
	}
}

func otherMigrationsAreRefused(t *testing.T, o database.Options) {
	o.Version = "0.9-fork"
	exec(t, open(t, o), "UPDATE plumbline_migration SET sha256 = 'another' WHERE version = 1")
	_, err := database.Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "0.9-fork") || !strings.Contains(err.Error(), "0001_audit") {
		t.Errorf("open says %v; want the migration and who made it", err)
	}
}

func txCommitsOrLeavesNothing(t *testing.T, o database.Options) {
	db := open(t, o)
	exec(t, db, "CREATE TABLE note (n BIGINT)")
	insert := func(tx *sql.Tx) {
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO note VALUES ($1)", 1); err != nil {
			t.Fatal(err)
		}
	}
	refused := errors.New("refused by the caller")
	if err := db.Tx(t.Context(), func(tx *sql.Tx) error { insert(tx); return refused }); !errors.Is(err, refused) {
		t.Errorf("Tx returns %v, want the very error of its function", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not come through")
			}
		}()
		_ = db.Tx(t.Context(), func(tx *sql.Tx) error { insert(tx); panic("on purpose") })
	}()
	if got := number(t, db, "SELECT count(*) FROM note"); got != 0 {
		t.Errorf("%d rows after an error and a panic, want none", got)
	}
	if err := db.Tx(t.Context(), func(tx *sql.Tx) error { insert(tx); return nil }); err != nil {
		t.Fatalf("the transaction after them: %v", err)
	}
	if got := number(t, db, "SELECT count(*) FROM note"); got != 1 {
		t.Errorf("%d rows after a commit, want 1", got)
	}
}

// What is found again by its text is found again whatever bytes it has.
func txTakesAnyText(t *testing.T, o database.Options) {
	db := open(t, o)
	exec(t, db, "CREATE TABLE note (name TEXT PRIMARY KEY, n BIGINT)")
	for i, name := range []string{"", "plain", "日本 \u2028 \t\n", "caf\xe9", "a\x00b"} {
		err := db.Tx(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO note (name, n) VALUES ($1, $2)", name, i); err != nil {
				return err
			}
			var back string
			var n int
			if err := tx.QueryRowContext(t.Context(), "SELECT name, n FROM note WHERE name = $1", name).Scan(&back, &n); err != nil {
				return err
			}
			if n != i || i < 3 && back != name {
				t.Errorf("%q came back as %q, the %d. of %d", name, back, n, i)
			}
			return nil
		})
		if err != nil {
			t.Errorf("keep %q: %v", name, err)
		}
	}
}

// Two DBs are two pools: on SQLite the same as two processes.
func txLosesNoUpdate(t *testing.T, o database.Options) {
	dbs := []*database.DB{open(t, o), open(t, o)}
	exec(t, dbs[0], "CREATE TABLE note (n BIGINT)", "INSERT INTO note VALUES (0)")
	var wg sync.WaitGroup
	for _, db := range dbs {
		for range 4 {
			wg.Go(func() {
				for range 20 {
					err := db.Tx(t.Context(), func(tx *sql.Tx) error {
						_, err := tx.ExecContext(t.Context(), "UPDATE note SET n = n + 1")
						return err
					})
					if err != nil {
						t.Errorf("update: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
	if got := number(t, dbs[0], "SELECT n FROM note"); got != 160 {
		t.Errorf("%d after 160 updates", got)
	}
}

func txOutlastsDeadlocks(t *testing.T, o database.Options) {
	dbs := []*database.DB{open(t, o), open(t, o)}
	exec(t, dbs[0], "CREATE TABLE pair (name TEXT PRIMARY KEY, n BIGINT)", "INSERT INTO pair VALUES ('a', 0), ('b', 0)")
	var wg sync.WaitGroup
	for i, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			for range 3 {
				err := dbs[i].Tx(t.Context(), func(tx *sql.Tx) error {
					for _, name := range order {
						if _, err := tx.ExecContext(t.Context(), "UPDATE pair SET n = n + 1 WHERE name = $1", name); err != nil {
							return err
						}
						time.Sleep(20 * time.Millisecond) // makes the two meet; the outcome does not depend on it
					}
					return nil
				})
				if err != nil {
					t.Errorf("order %v: %v", order, err)
				}
			}
		})
	}
	wg.Wait()
	if got := number(t, dbs[0], "SELECT min(n) * 100 + max(n) FROM pair"); got != 606 {
		t.Errorf("min and max are %d after 6 updates of each", got)
	}
}

func txSaysWhoWasInTheWay(t *testing.T, o database.Options) {
	holder, waiter := open(t, o), open(t, o)
	exec(t, holder, "CREATE TABLE note (n BIGINT)", "INSERT INTO note VALUES (0)")
	update := func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE note SET n = n + 1")
		return err
	}
	err := holder.Tx(t.Context(), func(tx *sql.Tx) error {
		if err := update(tx); err != nil {
			return err
		}
		if err := waiter.Tx(t.Context(), update); !errors.Is(err, database.ErrLocked) || !strings.Contains(err.Error(), "find it") {
			t.Errorf("the one who waits is told %v; want ErrLocked and where to look", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := number(t, holder, "SELECT n FROM note"); got != 1 {
		t.Errorf("n is %d, want 1", got)
	}
}

func txHeedsItsContext(t *testing.T, o database.Options) {
	holder, waiter := open(t, o), open(t, o)
	exec(t, holder, "CREATE TABLE note (n BIGINT)", "INSERT INTO note VALUES (0)")
	err := holder.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), "UPDATE note SET n = 1"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := waiter.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE note SET n = 2")
			return err
		})
		if err == nil || ctx.Err() == nil {
			t.Errorf("waiting with a context that ended: %v, %v", err, ctx.Err())
		}
		if errors.Is(err, database.ErrUnavailable) {
			t.Errorf("%v: the caller's own time-out is taken for a lost connection", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, waiter, "UPDATE note SET n = n + 10")
	if got := number(t, holder, "SELECT n FROM note"); got != 11 {
		t.Errorf("n is %d, want 11", got)
	}
}

func readSeesOneMoment(t *testing.T, o database.Options) {
	db := open(t, o)
	exec(t, db, "CREATE TABLE note (n BIGINT)", "INSERT INTO note VALUES (1)")
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		var before, after int
		if err := tx.QueryRowContext(t.Context(), "SELECT n FROM note").Scan(&before); err != nil {
			return err
		}
		exec(t, db, "UPDATE note SET n = 2") // does not wait for the reader
		if err := tx.QueryRowContext(t.Context(), "SELECT n FROM note").Scan(&after); err != nil {
			return err
		}
		if before != 1 || after != 1 {
			t.Errorf("read %d, then %d in the same transaction; want 1 twice", before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), "UPDATE note SET n = 3"); err != nil {
			return err
		}
		if got := number(t, db, "SELECT n FROM note"); got != 2 {
			t.Errorf("a reader beside the writer sees %d, want 2", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readCannotWrite(t *testing.T, o database.Options) {
	db := open(t, o)
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "DELETE FROM plumbline_migration")
		return err
	})
	if !errors.Is(err, database.ErrReadOnly) {
		t.Errorf("deleting in Read: %v, want ErrReadOnly", err)
	}
}

func killedProcessLeavesNoHalfWork(t *testing.T, o database.Options) {
	db := open(t, o)
	exec(t, db, "CREATE TABLE pair (name TEXT PRIMARY KEY, n BIGINT)", "INSERT INTO pair VALUES ('a', 0), ('b', 0)")
	for round := range 5 {
		cmd := child(t, "pairs", o)
		acknowledged := killAfter(t, cmd, 3+7*round)
		a, b := number(t, db, "SELECT n FROM pair WHERE name = 'a'"), number(t, db, "SELECT n FROM pair WHERE name = 'b'")
		if a != b || a < acknowledged {
			t.Fatalf("after kill -9 the pair is %d and %d; want equal, and at least the %d that were acknowledged", a, b, acknowledged)
		}
		exec(t, db, "UPDATE pair SET n = 0")
	}
}

type lookAt struct {
	Row int64 `json:"row"`
}

func (lookAt) Kind() string { return "look_at" }

// wokenJobsDoNotWait polls once an hour: each job is worked because of Wake or not at all.
func wokenJobsDoNotWait(t *testing.T, o database.Options) {
	db := open(t, o)
	seen := make(chan int64, 10)
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[lookAt]) error {
		seen <- job.Args.Row
		return nil
	}))
	options := database.QueueOptions{Workers: workers, Queues: map[string]int{river.QueueDefault: 1, "other": 1}, Poll: time.Hour}
	client := start(t, db, options)
	time.Sleep(2 * time.Second) // the look that comes with the start must not be what finds the first
	for row := range int64(10) {
		queue := []string{river.QueueDefault, "other"}[row%2]
		err := db.Tx(t.Context(), func(tx *sql.Tx) error {
			db.Wake(tx, queue)
			_, err := client.InsertTx(t.Context(), tx, lookAt{row}, &river.InsertOpts{Queue: queue})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-seen:
			if got != row {
				t.Fatalf("job %d was worked, want %d", got, row)
			}
		case <-time.After(time.Minute):
			t.Fatalf("job %d was not worked within a minute", row)
		}
		time.Sleep(time.Duration(row) * time.Millisecond)
	}
}

func jobsComeWithTheirTransaction(t *testing.T, o database.Options) {
	db := open(t, o)
	exec(t, db, "CREATE TABLE deed (id BIGINT PRIMARY KEY, done BIGINT)")
	const jobs = 20
	seen := make(chan int64, 2*jobs)
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[lookAt]) error {
		err := db.Tx(ctx, func(tx *sql.Tx) error {
			result, err := tx.ExecContext(ctx, "UPDATE deed SET done = done + 1 WHERE id = $1", job.Args.Row)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil || n != 1 {
				return fmt.Errorf("job for row %d found %d rows, %w", job.Args.Row, n, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		seen <- job.Args.Row
		return nil
	}))
	client := start(t, db, database.QueueOptions{Workers: workers, Queues: map[string]int{river.QueueDefault: 4}})
	enqueue := func(row int64, outcome error) error {
		return db.Tx(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO deed VALUES ($1, 0)", row); err != nil {
				return err
			}
			if _, err := client.InsertTx(t.Context(), tx, lookAt{row}, nil); err != nil {
				return err
			}
			return outcome
		})
	}
	dropped := errors.New("dropped")
	for row := range int64(jobs) {
		if err := enqueue(1000+row, dropped); !errors.Is(err, dropped) {
			t.Fatalf("rolling back: %v", err)
		}
		if err := enqueue(row, nil); err != nil {
			t.Fatalf("enqueue: %v", err)
		}
	}
	rows := map[int64]bool{}
	for range jobs {
		select {
		case row := <-seen:
			rows[row] = true
		case <-time.After(time.Minute):
			t.Fatalf("after a minute only %d jobs of %d were worked", len(rows), jobs)
		}
	}
	if got := number(t, db, "SELECT count(*) FROM deed WHERE done = 1"); got != jobs || len(rows) != jobs {
		t.Errorf("%d rows are done, by %d jobs; want %d", got, len(rows), jobs)
	}
	if got := number(t, db, "SELECT count(*) FROM river_job WHERE scheduled_at > '2001-01-01'"); got != 0 {
		t.Errorf("%d jobs were not due until now: they would wait when the clock is set back", got)
	}
	if got := number(t, db, "SELECT count(*) FROM river_job"); got != jobs {
		t.Errorf("there are %d jobs; want %d, none of a transaction that was rolled back", got, jobs)
	}
}

func jobsAreTriedOnceUnlessTheySay(t *testing.T, o database.Options) {
	db := open(t, o)
	client, err := db.Queue(database.QueueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	twice, err := db.Queue(database.QueueOptions{Attempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(tx *sql.Tx) error {
		for _, c := range []struct {
			client *river.Client[*sql.Tx]
			opts   *river.InsertOpts
			want   int
		}{{client, nil, 1}, {twice, nil, 2}, {client, &river.InsertOpts{MaxAttempts: 3}, 3}} {
			inserted, err := c.client.InsertTx(t.Context(), tx, lookAt{1}, c.opts)
			if err != nil {
				return err
			}
			if inserted.Job.MaxAttempts != c.want {
				t.Errorf("a job is tried %d times, want %d", inserted.Job.MaxAttempts, c.want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func jobsAreCancelledAtTheirTimeout(t *testing.T, o database.Options) {
	db := open(t, o)
	ended := make(chan error, 1)
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[lookAt]) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}))
	client := start(t, db, database.QueueOptions{Workers: workers, Queues: map[string]int{river.QueueDefault: 1}, Timeout: 50 * time.Millisecond})
	if err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := client.InsertTx(t.Context(), tx, lookAt{1}, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the job's context ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the job was not cancelled")
	}
	await(t, "the job that was tried once is discarded", func() bool {
		return number(t, db, "SELECT count(*) FROM river_job WHERE state = 'discarded' AND attempt = 1") == 1
	})
}

func leadershipIsHandedOver(t *testing.T, o database.Options) {
	dbs := []*database.DB{open(t, o), open(t, o)}
	options := database.QueueOptions{Workers: river.NewWorkers(), Queues: map[string]int{river.QueueDefault: 1}}
	river.AddWorker(options.Workers, river.WorkFunc(func(context.Context, *river.Job[lookAt]) error { return nil }))
	first := start(t, dbs[0], options)
	leads := func(client *river.Client[*sql.Tx]) func() bool {
		return func() bool {
			return number(t, dbs[0], "SELECT count(*) FROM river_leader WHERE leader_id = '"+client.ID()+"'") == 1
		}
	}
	await(t, "the only one leads", leads(first))
	second := start(t, dbs[1], options)
	if err := first.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	await(t, "the other one leads", leads(second))
}

func queueRefusesNonsense(t *testing.T, o database.Options) {
	db := open(t, o)
	for _, bad := range []database.QueueOptions{
		{Timeout: -1}, {Poll: -1}, {Attempts: -1},
		{Queues: map[string]int{"default": 1}},
		{Workers: river.NewWorkers(), Queues: map[string]int{"default": 0}},
	} {
		if _, err := db.Queue(bad); err == nil {
			t.Errorf("%+v makes a client", bad)
		}
	}
}

// start starts a client that is stopped before its database is closed.
func start(t *testing.T, db *database.DB, o database.QueueOptions) *river.Client[*sql.Tx] {
	t.Helper()
	client, err := db.Queue(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := client.StopAndCancel(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return client
}

// await fails after a minute, which is far more than anything here takes.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("after a minute it is still not so that %s", what)
		}
	}
}

// What the test binary does when it is started as a child. A child dies for real, as a goroutine cannot.
func TestMain(m *testing.M) {
	role := os.Getenv("PLUMBLINE_TEST_CHILD")
	if role == "" {
		os.Exit(m.Run())
	}
	o := database.Options{URL: os.Getenv("PLUMBLINE_TEST_URL"), DataDir: os.Getenv("PLUMBLINE_TEST_DIR")}
	if err := childMain(context.Background(), role, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childMain(ctx context.Context, role string, o database.Options) error {
	db, err := database.Open(ctx, o)
	if err != nil || role == "open" {
		return err
	}
	for n := 1; ; n++ {
		err := db.Tx(ctx, func(tx *sql.Tx) error {
			for _, name := range []string{"a", "b"} {
				if _, err := tx.ExecContext(ctx, "UPDATE pair SET n = n + 1 WHERE name = $1", name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func child(t *testing.T, role string, o database.Options) *osexec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_CHILD="+role, "PLUMBLINE_TEST_URL="+o.URL, "PLUMBLINE_TEST_DIR="+o.DataDir)
	return cmd
}

// killAfter kills a child as soon as it has printed a number of lines, and returns how many it has printed in all.
func killAfter(t *testing.T, cmd *osexec.Cmd, lines int) int64 {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var printed int64
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if printed++; printed == int64(lines) {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // says that it was killed
	if printed < int64(lines) {
		t.Fatalf("the child ended by itself after %d lines: %s", printed, complaint.String())
	}
	return printed
}
