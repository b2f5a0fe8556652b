package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
)

// engine is a kind of database.
type engine struct {
	fresh func(t *testing.T) database.Options // one that is empty
	// disarm are statements that take the guards away, which an owner of the database can do.
	disarm []string
	// strays are statements that the guards refuse beside those of every engine.
	strays []string
}

func suite(t *testing.T, e engine) {
	for name, test := range map[string]func(t *testing.T, e engine){
		"EntriesComeBackAsTheyWere":      entriesComeBackAsTheyWere,
		"ListChoosesAndPages":            listChoosesAndPages,
		"AnyTextIsKept":                  anyTextIsKept,
		"RollbackLeavesNoGap":            rollbackLeavesNoGap,
		"ManyWritersMakeOneChain":        manyWritersMakeOneChain,
		"KilledWritersLeaveAWholeChain":  killedWritersLeaveAWholeChain,
		"ClockMayGoBackwards":            clockMayGoBackwards,
		"DatabaseRefusesChanges":         databaseRefusesChanges,
		"EveryColumnIsGuarded":           everyColumnIsGuarded,
		"DamageIsNamed":                  damageIsNamed,
		"CutEndStaysFound":               cutEndStaysFound,
		"RewrittenLogNeedsKeyOrAnchor":   rewrittenLogNeedsKeyOrAnchor,
		"KeysRotate":                     keysRotate,
		"ExportCanBeCheckedByOthers":     exportCanBeCheckedByOthers,
		"SecretsAreNotKept":              secretsAreNotKept,
		"AppendRefusesWhatItCannotKeep":  appendRefusesWhatItCannotKeep,
		"EmptyLogIsWhole":                emptyLogIsWhole,
		"HeadThatIsGoneIsFound":          headThatIsGoneIsFound,
		"KeyIsNeededWhereItWasUsed":      keyIsNeededWhereItWasUsed,
		"EndIsSealedOnceThereIsAKey":     endIsSealedOnceThereIsAKey,
		"EntriesOfOneTransactionAreKept": entriesOfOneTransactionAreKept,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

var (
	key1 = []byte("first key, of thirty-two bytes..")
	key2 = []byte("second key, of thirty-two bytes.")
)

func open(t *testing.T, o database.Options) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newLog(t *testing.T, keys ...[]byte) *audit.Log {
	t.Helper()
	log, err := audit.New(audit.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// add appends each entry in a transaction of its own.
func add(t *testing.T, db *database.DB, log *audit.Log, entries ...audit.Entry) []audit.Entry {
	t.Helper()
	var kept []audit.Entry
	for _, e := range entries {
		err := db.Tx(t.Context(), func(tx *sql.Tx) error {
			got, err := log.Append(t.Context(), tx, e)
			if err == nil {
				kept = append(kept, got)
			}
			return err
		})
		if err != nil {
			t.Fatalf("append %+v: %v", e, err)
		}
	}
	return kept
}

// samples are different in every field.
func samples(n int) []audit.Entry {
	var entries []audit.Entry
	for i := range n {
		text := strconv.Itoa(i)
		entries = append(entries, audit.Entry{
			At: time.Date(2026, 11, 21, 10, 0, i, 123456000, time.UTC), Actor: "alice" + text, Action: "apply" + text,
			Repository: "acme/live" + text, Change: int64(100 + i), Workspace: "network" + text, Commit: "c0ffee" + text,
			Fingerprint: "f1" + text, Allowed: i%2 == 0, Reason: "because " + text, Details: map[string]string{"run": text, "plan": "p" + text},
		})
	}
	return entries
}

func verify(t *testing.T, db *database.DB, log *audit.Log, anchors ...audit.Anchor) (audit.Verified, error) {
	t.Helper()
	var whole audit.Verified
	var result error
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		whole, result = log.Verify(t.Context(), tx, anchors...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return whole, result
}

// wantWhole fails unless the log is whole and has n entries.
func wantWhole(t *testing.T, db *database.DB, log *audit.Log, n int64) audit.Verified {
	t.Helper()
	whole, err := verify(t, db, log)
	if err != nil || whole.Entries != n || whole.End.Seq != n {
		t.Fatalf("verify: %+v, %v; want %d entries", whole, err, n)
	}
	return whole
}

// wantBroken fails unless err names this damage.
func wantBroken(t *testing.T, what string, err error, seq int64, damage audit.Damage) {
	t.Helper()
	broken := new(audit.BrokenError)
	if !errors.As(err, &broken) {
		t.Errorf("%s: verify says %v; want entry %d %s", what, err, seq, damage)
	} else if broken.Seq != seq || broken.Damage != damage {
		t.Errorf("%s: %v; want entry %d %s", what, err, seq, damage)
	}
}

var errUndo = errors.New("undo")

// tamper runs fn without guards in a transaction that is rolled back in the end.
func tamper(t *testing.T, db *database.DB, e engine, fn func(tx *sql.Tx)) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		run(t, tx, e.disarm...)
		fn(tx)
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatalf("tamper: %v", err)
	}
}

func run(t *testing.T, tx *sql.Tx, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := tx.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func entriesComeBackAsTheyWere(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t, key1)
	want := samples(3)
	kept := add(t, db, log, want...)
	var listed []audit.Entry
	if err := db.Read(t.Context(), func(tx *sql.Tx) (err error) {
		listed, err = log.List(t.Context(), tx, audit.Filter{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(listed)
	if diff := cmp.Diff(kept, listed); diff != "" {
		t.Errorf("List differs from what Append returned:\n%s", diff)
	}
	for i := range want {
		want[i].Seq, want[i].Hash = int64(i+1), kept[i].Hash
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("List differs from what was appended:\n%s", diff)
	}
	if whole := wantWhole(t, db, log, 3); whole.Sealed != 3 || whole.End.Hash != kept[2].Hash {
		t.Errorf("verified %+v; want 3 seals, and the end at %s", whole, kept[2].Hash)
	}
}

func listChoosesAndPages(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t)
	all := samples(10)
	add(t, db, log, all...)
	list := func(f audit.Filter) []int64 {
		t.Helper()
		var found []int64
		if err := db.Read(t.Context(), func(tx *sql.Tx) error {
			entries, err := log.List(t.Context(), tx, f)
			for _, e := range entries {
				found = append(found, e.Seq)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, c := range []struct {
		filter audit.Filter
		want   []int64
	}{
		{audit.Filter{Repository: "acme/live3"}, []int64{4}},
		{audit.Filter{Workspace: "network3"}, []int64{4}},
		{audit.Filter{Actor: "alice9"}, []int64{10}},
		{audit.Filter{Action: "apply0"}, []int64{1}},
		{audit.Filter{Change: 105}, []int64{6}},
		{audit.Filter{Change: 105, Actor: "alice0"}, nil},
		{audit.Filter{Refused: true}, []int64{10, 8, 6, 4, 2}},
		{audit.Filter{Refused: true, Limit: 2}, []int64{10, 8}},
		{audit.Filter{Refused: true, Limit: 2, Before: 8}, []int64{6, 4}},
		{audit.Filter{Since: all[7].At}, []int64{10, 9, 8}},
		{audit.Filter{Until: all[2].At}, []int64{2, 1}},
		{audit.Filter{Since: all[4].At, Until: all[6].At, Repository: "acme/live5"}, []int64{6}},
		{audit.Filter{Actor: "x' OR '1'='1"}, nil},
		{audit.Filter{Text: "ALICE9"}, []int64{10}},
		{audit.Filter{Text: "live3"}, []int64{4}},
		{audit.Filter{Text: "alice%"}, nil},
		{audit.Filter{Text: "alice_"}, nil},
		{audit.Filter{Text: "!"}, nil},
	} {
		if got := list(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%+v lists %v, want %v", c.filter, got, c.want)
		}
	}
}

func anyTextIsKept(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t, key1)
	nasty := "'\"; DROP TABLE audit_entry; --\x00\x1b[31m\xff\u202e<b>é"
	kept := add(t, db, log,
		audit.Entry{Actor: nasty, Action: "plan", Repository: nasty, Workspace: nasty, Commit: nasty, Fingerprint: nasty, Reason: nasty, Details: map[string]string{"branch": nasty}},
		audit.Entry{Actor: strings.Repeat("é", 2000), Action: "plan", Reason: strings.Repeat("x", 1<<20), Details: map[string]string{"branch": strings.Repeat("y", 1000)}})
	const want = "'\"; DROP TABLE audit_entry; --\ufffd\ufffd[31m\ufffd\ufffd<b>é"
	if got := kept[0]; got.Actor != want || got.Reason != want || got.Details["branch"] != want {
		t.Errorf("kept %q and %q, want %q", got.Actor, got.Reason, want)
	}
	if got := kept[1]; len(got.Actor) > 500 || !strings.HasSuffix(got.Actor, "é…") || len(got.Reason) != 2000 || len(got.Details["branch"]) != 200 {
		t.Errorf("long texts were cut to %d, %d and %d bytes", len(got.Actor), len(got.Reason), len(got.Details["branch"]))
	}
	wantWhole(t, db, log, 2)
}

func rollbackLeavesNoGap(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t, key1)
	add(t, db, log, samples(2)...)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := log.Append(t.Context(), tx, samples(1)[0]); err != nil {
			return err
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	if kept := add(t, db, log, samples(1)...); kept[0].Seq != 3 {
		t.Errorf("the entry after a rollback has number %d, want 3", kept[0].Seq)
	}
	wantWhole(t, db, log, 3)
}

func entriesOfOneTransactionAreKept(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t, key1)
	if err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		for _, entry := range samples(5) {
			if _, err := log.Append(t.Context(), tx, entry); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, db, log, 5)
}

func manyWritersMakeOneChain(t *testing.T, e engine) {
	o := e.fresh(t)
	log := newLog(t, key1)
	dbs := []*database.DB{open(t, o), open(t, o)}
	var wg sync.WaitGroup
	for writer := range 8 {
		wg.Go(func() {
			for i := range 12 {
				err := dbs[writer%2].Tx(t.Context(), func(tx *sql.Tx) error {
					_, err := log.Append(t.Context(), tx, audit.Entry{Actor: strconv.Itoa(writer), Action: "plan", Change: int64(i)})
					return err
				})
				if err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantWhole(t, dbs[0], log, 96)
	for writer := range 8 {
		var entries []audit.Entry
		if err := dbs[0].Read(t.Context(), func(tx *sql.Tx) (err error) {
			entries, err = log.List(t.Context(), tx, audit.Filter{Actor: strconv.Itoa(writer)})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for i, entry := range entries {
			if entry.Change != int64(11-i) {
				t.Errorf("writer %d's entries are not in the order it wrote them: %d at %d", writer, entry.Change, i)
			}
		}
	}
}

func killedWritersLeaveAWholeChain(t *testing.T, e engine) {
	o := e.fresh(t)
	db, log := open(t, o), newLog(t, key1)
	for round := range 8 {
		before, err := verify(t, db, log)
		if err != nil {
			t.Fatal(err)
		}
		// Two at once, so that one also waits for the lock of another that dies.
		other := child(t, o)
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		last := killAfter(t, child(t, o), 1+3*round)
		if err := other.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = other.Wait() // says that it was killed
		whole, err := verify(t, db, log, last)
		if err != nil {
			t.Fatalf("after kill -9: %v", err)
		}
		if whole.Entries <= before.Entries || whole.Entries < last.Seq {
			t.Fatalf("%d entries after kill -9; the last one acknowledged was %d", whole.Entries, last.Seq)
		}
	}
}

func clockMayGoBackwards(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	clock := time.Date(2026, 11, 21, 12, 0, 0, 0, time.FixedZone("CET", 3600))
	log, err := audit.New(audit.Options{Keys: [][]byte{key1}, Now: func() time.Time {
		clock = clock.Add(-24 * time.Hour)
		return clock
	}})
	if err != nil {
		t.Fatal(err)
	}
	kept := add(t, db, log, audit.Entry{Actor: "a", Action: "plan"}, audit.Entry{Actor: "a", Action: "plan"})
	wantWhole(t, db, log, 2)
	if !kept[1].At.Before(kept[0].At) || kept[1].Seq != 2 || kept[0].At.Format(time.RFC3339) != "2026-11-20T11:00:00Z" {
		t.Errorf("kept %v and %v, want the clock's own times in UTC", kept[0].At, kept[1].At)
	}
}

func databaseRefusesChanges(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t, key1)
	add(t, db, log, samples(3)...)
	const copyRow = `SELECT 2, at, 'mallory', action, repository, change_number, workspace, commit_id, fingerprint, allowed, reason, details, key_id, previous, 'x', seal FROM audit_entry WHERE seq = 2`
	for _, text := range append([]string{
		"UPDATE audit_entry SET actor = 'mallory' WHERE seq = 2",
		"UPDATE audit_entry SET seq = 9 WHERE seq = 3",
		"DELETE FROM audit_entry WHERE seq = 3",
		"DELETE FROM audit_entry",
		"INSERT INTO audit_entry " + strings.Replace(copyRow, "SELECT 2,", "SELECT 9,", 1),
		"INSERT INTO audit_entry " + strings.Replace(copyRow, "SELECT 2,", "SELECT 4,", 1),
		"UPDATE audit_head SET seq = 2",
		"UPDATE audit_head SET seq = 4",
		"UPDATE audit_head SET hash = 'x'",
		"UPDATE audit_head SET seal = 'x'",
		"DELETE FROM audit_head",
	}, e.strays...) {
		text = strings.ReplaceAll(text, "COPY", copyRow)
		err := db.Tx(t.Context(), func(tx *sql.Tx) error {
			for _, part := range strings.Split(text, ";") {
				if _, err := tx.ExecContext(t.Context(), part); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v; want it refused", text, err)
		}
	}
	wantWhole(t, db, log, 3)
}

func everyColumnIsGuarded(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	sealed := newLog(t, key1)
	add(t, db, sealed, samples(6)...)
	chained := newLog(t)
	for _, c := range []struct {
		column, value string
		sealOnly      bool
	}{
		{"at", "'2026-11-21T10:00:02.123457Z'", false},
		{"actor", "'mallory'", false},
		{"action", "'plan'", false},
		{"repository", "''", false},
		{"change_number", "change_number + 1", false},
		{"workspace", "workspace || ' '", false},
		{"commit_id", "upper(commit_id)", false},
		{"fingerprint", "'f'", false},
		{"allowed", "1 - allowed", false},
		{"reason", "'none'", false},
		{"details", "details || ' '", false}, // the same JSON
		{"key_id", "''", false},
		{"previous", "''", false},
		{"hash", "'0'", false},
		{"seal", "'0'", true},
		{"seal", "''", true},
	} {
		tamper(t, db, e, func(tx *sql.Tx) {
			run(t, tx, "UPDATE audit_entry SET "+c.column+" = "+c.value+" WHERE seq = 3")
			what := c.column + " = " + c.value
			_, err := sealed.Verify(t.Context(), tx)
			wantBroken(t, what, err, 3, audit.Changed)
			if !c.sealOnly {
				_, err = chained.Verify(t.Context(), tx)
				wantBroken(t, what+" without a key", err, 3, audit.Changed)
			}
		})
	}
	for _, set := range []string{"hash = '0'", "key_id = ''", "key_id = 'x'", "seal = ''", "seal = '0'"} {
		tamper(t, db, e, func(tx *sql.Tx) {
			run(t, tx, "UPDATE audit_head SET "+set)
			_, err := sealed.Verify(t.Context(), tx)
			wantBroken(t, "head: "+set, err, 6, audit.Changed)
		})
	}
	wantWhole(t, db, sealed, 6)
}

func damageIsNamed(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	sealed, chained := newLog(t, key1), newLog(t)
	add(t, db, sealed, samples(8)...)
	for _, c := range []struct {
		what       string
		statements []string
		seq        int64
		damage     audit.Damage
	}{
		{"one is deleted", []string{"DELETE FROM audit_entry WHERE seq = 4"}, 4, audit.Missing},
		{"several are deleted", []string{"DELETE FROM audit_entry WHERE seq IN (4, 5)"}, 4, audit.Missing},
		{"the first is deleted", []string{"DELETE FROM audit_entry WHERE seq = 1"}, 1, audit.Missing},
		{"the last is deleted", []string{"DELETE FROM audit_entry WHERE seq = 8"}, 8, audit.Missing},
		{"all are deleted", []string{"DELETE FROM audit_entry"}, 1, audit.Missing},
		{"one is deleted and the next take its number", []string{"DELETE FROM audit_entry WHERE seq = 4",
			"UPDATE audit_entry SET seq = -seq WHERE seq > 4", "UPDATE audit_entry SET seq = -seq - 1 WHERE seq < 0"}, 4, audit.Missing},
		{"two change places", []string{"UPDATE audit_entry SET seq = 99 WHERE seq = 3",
			"UPDATE audit_entry SET seq = 3 WHERE seq = 5", "UPDATE audit_entry SET seq = 5 WHERE seq = 99"}, 3, audit.Reordered},
		{"neighbours change places", []string{"UPDATE audit_entry SET seq = 99 WHERE seq = 3",
			"UPDATE audit_entry SET seq = 3 WHERE seq = 4", "UPDATE audit_entry SET seq = 4 WHERE seq = 99"}, 3, audit.Reordered},
		{"one is put in", append(shift(4), insert(4, "x")), 4, audit.Inserted},
		{"one is put in at the end", []string{insert(9, "x")}, 9, audit.Changed},
		{"the head is set back", []string{"UPDATE audit_head SET seq = 7, hash = (SELECT hash FROM audit_entry WHERE seq = 7)"}, 8, audit.Inserted},
	} {
		tamper(t, db, e, func(tx *sql.Tx) {
			run(t, tx, c.statements...)
			for _, log := range []*audit.Log{sealed, chained} {
				_, err := log.Verify(t.Context(), tx)
				wantBroken(t, c.what, err, c.seq, c.damage)
			}
		})
	}
	// By someone who also computes hashes, but has no key.
	for _, seq := range []int64{4, 9} {
		tamper(t, db, e, func(tx *sql.Tx) {
			if seq < 9 {
				run(t, tx, shift(seq)...)
			}
			run(t, tx, insert(seq, "x"))
			rechain(t, tx, seq, seq)
			want := audit.Inserted
			if seq == 9 {
				want = audit.Changed // nothing tells a forged one at the end from a changed one
			}
			_, err := sealed.Verify(t.Context(), tx)
			wantBroken(t, "one with a right hash is put in", err, seq, want)
		})
	}
	tamper(t, db, e, func(tx *sql.Tx) {
		run(t, tx, append(shift(4), insert(4, "x"))...)
		rechain(t, tx, 4, 4)
		_, err := chained.Verify(t.Context(), tx)
		wantBroken(t, "one with a right hash is put in, without a key", err, 4, audit.Inserted)
	})
	wantWhole(t, db, sealed, 8)
}

// shift makes room for an entry.
func shift(seq int64) []string {
	return []string{fmt.Sprintf("UPDATE audit_entry SET seq = -seq WHERE seq >= %d", seq), "UPDATE audit_entry SET seq = 1 - seq WHERE seq < 0"}
}

// insert puts in a forged entry that links to the one before it.
func insert(seq int64, hash string) string {
	return fmt.Sprintf(`INSERT INTO audit_entry SELECT %d, at, 'mallory', action, repository, change_number, workspace, commit_id, fingerprint, 1, reason, details, key_id, hash, '%s', seal FROM audit_entry WHERE seq = %d`, seq, hash, seq-1)
}

// rechain gives entries right hashes again, as the documentation of the format tells everybody to compute them.
func rechain(t *testing.T, tx *sql.Tx, from, to int64) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		if seq > 1 {
			run(t, tx, fmt.Sprintf("UPDATE audit_entry SET previous = (SELECT hash FROM audit_entry WHERE seq = %d) WHERE seq = %d", seq-1, seq))
		}
		var texts [14]string
		into := make([]any, len(texts))
		for i := range texts {
			into[i] = &texts[i]
		}
		err := tx.QueryRowContext(t.Context(), `SELECT seq, at, actor, action, repository, change_number, workspace, commit_id, fingerprint, allowed, reason, details, key_id, previous FROM audit_entry WHERE seq = $1`, seq).Scan(into...)
		if err != nil {
			t.Fatal(err)
		}
		run(t, tx, fmt.Sprintf("UPDATE audit_entry SET hash = '%s' WHERE seq = %d", digest(texts[:]), seq))
	}
}

func digest(texts []string) string {
	all := "plumbline audit entry 1\n"
	for _, text := range texts {
		all += fmt.Sprintf("%d:%s\n", len(text), text)
	}
	sum := sha256.Sum256([]byte(all))
	return hex.EncodeToString(sum[:])
}

// The end is cut off, and the head set to where the log ends now, by someone without the key. Later entries do not heal it.
func cutEndStaysFound(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	sealed, chained := newLog(t, key1), newLog(t)
	kept := add(t, db, sealed, samples(8)...)
	anchor := audit.Anchor{Seq: 8, Hash: kept[7].Hash}
	for _, head := range []string{"", ", seal = '', key_id = ''", ", seal = (SELECT seal FROM audit_entry WHERE seq = 5)"} {
		tamper(t, db, e, func(tx *sql.Tx) {
			run(t, tx, "DELETE FROM audit_entry WHERE seq > 5", "UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit_entry WHERE seq = 5)"+head)
			_, err := sealed.Verify(t.Context(), tx)
			wantBroken(t, "cut off"+head, err, 5, audit.Changed)
			if _, err := chained.Verify(t.Context(), tx); err != nil {
				t.Errorf("without a key and without an anchor this cannot be found, as the documentation says; verify says %v", err)
			}
			_, err = chained.Verify(t.Context(), tx, anchor)
			wantBroken(t, "cut off, with an anchor"+head, err, 6, audit.Missing)
			for range 4 {
				if _, err := sealed.Append(t.Context(), tx, samples(1)[0]); err != nil {
					t.Fatal(err)
				}
			}
			_, err = sealed.Verify(t.Context(), tx)
			wantBroken(t, "cut off, and appended to"+head, err, 9, audit.Changed)
			if err == nil || !strings.Contains(err.Error(), "after entry 5") {
				t.Errorf("verify says %v; want where it was cut", err)
			}
			_, err = chained.Verify(t.Context(), tx, anchor)
			wantBroken(t, "cut off and appended to, with an anchor"+head, err, 8, audit.Changed)
		})
	}
	wantWhole(t, db, sealed, 8)
}

func rewrittenLogNeedsKeyOrAnchor(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	sealed, chained := newLog(t, key1), newLog(t)
	kept := add(t, db, sealed, samples(8)...)
	tamper(t, db, e, func(tx *sql.Tx) {
		run(t, tx, "UPDATE audit_entry SET allowed = 1 WHERE seq = 4")
		rechain(t, tx, 4, 4)
		_, err := chained.Verify(t.Context(), tx)
		wantBroken(t, "one hash is made right", err, 5, audit.Changed)
		rechain(t, tx, 5, 8)
		run(t, tx, "UPDATE audit_head SET hash = (SELECT hash FROM audit_entry WHERE seq = 8)")
		if _, err := chained.Verify(t.Context(), tx); err != nil {
			t.Errorf("without a key and without an anchor this cannot be found, as the documentation says; verify says %v", err)
		}
		_, err = chained.Verify(t.Context(), tx, audit.Anchor{Seq: 6, Hash: kept[5].Hash})
		wantBroken(t, "rewritten, with an anchor", err, 6, audit.Changed)
		_, err = sealed.Verify(t.Context(), tx)
		wantBroken(t, "rewritten, with the key", err, 4, audit.Changed)
		run(t, tx, "UPDATE audit_entry SET key_id = '', seal = '' WHERE seq >= 4", "UPDATE audit_head SET key_id = '', seal = ''")
		rechain(t, tx, 4, 8)
		_, err = sealed.Verify(t.Context(), tx)
		wantBroken(t, "rewritten as if without a key", err, 4, audit.Changed)
		run(t, tx, "UPDATE audit_entry SET key_id = '', seal = ''")
		rechain(t, tx, 1, 8)
		run(t, tx, "UPDATE audit_head SET hash = (SELECT hash FROM audit_entry WHERE seq = 8)")
		_, err = sealed.Verify(t.Context(), tx)
		wantBroken(t, "all rewritten as if without a key", err, 8, audit.Changed)
	})
	if _, err := verify(t, db, sealed, audit.Anchor{Seq: 6, Hash: kept[5].Hash}, audit.Anchor{Seq: 8, Hash: kept[7].Hash}); err != nil {
		t.Errorf("with right anchors: %v", err)
	}
}

func keysRotate(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	add(t, db, newLog(t), samples(2)...)
	add(t, db, newLog(t, key1), samples(2)...)
	both := newLog(t, key2, key1)
	add(t, db, both, samples(2)...)
	if whole := wantWhole(t, db, both, 6); whole.Sealed != 4 {
		t.Errorf("%d seals were checked, want 4", whole.Sealed)
	}
	_, err := verify(t, db, newLog(t, key2))
	wantBroken(t, "the former key is not given", err, 3, audit.Changed)
	if err == nil || !strings.Contains(err.Error(), "was not given") {
		t.Errorf("verify says %v; want that a key is wanting", err)
	}
	// The former key is lost: work goes on, and the log says that nobody can vouch for its end at that time.
	add(t, db, newLog(t, []byte("third key, of thirty-two bytes..")), samples(1)...)
	_, err = verify(t, db, newLog(t, []byte("third key, of thirty-two bytes.."), key2, key1))
	wantBroken(t, "appended without the former key", err, 7, audit.Changed)
}

func keyIsNeededWhereItWasUsed(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	add(t, db, newLog(t, key1), samples(1)...)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := newLog(t).Append(t.Context(), tx, samples(1)[0])
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "no key was given") {
		t.Errorf("appending to a sealed log without a key: %v", err)
	}
	if _, err := audit.New(audit.Options{Keys: [][]byte{key1, []byte("short")}}); err == nil || !strings.Contains(err.Error(), "key 2") {
		t.Errorf("a short key: %v", err)
	}
}

func endIsSealedOnceThereIsAKey(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	add(t, db, newLog(t), samples(2)...)
	wantWhole(t, db, newLog(t), 2)
	_, err := verify(t, db, newLog(t, key1))
	wantBroken(t, "never sealed", err, 2, audit.Changed)
	add(t, db, newLog(t, key1), samples(1)...)
	wantWhole(t, db, newLog(t, key1), 3)
}

func exportCanBeCheckedByOthers(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t, key1)
	add(t, db, log, samples(4)...)
	var out bytes.Buffer
	var end, later audit.Anchor
	var rest bytes.Buffer
	if err := db.Read(t.Context(), func(tx *sql.Tx) (err error) {
		if end, err = log.Export(t.Context(), tx, &out, 0); err != nil {
			return err
		}
		later, err = log.Export(t.Context(), tx, &rest, 3)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if later != end || strings.Count(rest.String(), "\n") != 1 || !strings.HasSuffix(out.String(), rest.String()) {
		t.Errorf("the export after 3 is %+v %q", later, rest.String())
	}
	previous := ""
	for i, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		var got struct {
			Seq, Change                                                                                      int64
			At, Actor, Action, Repository, Workspace, Commit, Fingerprint, Reason, Key, Previous, Hash, Seal string
			Allowed                                                                                          bool
			Details                                                                                          json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		allowed := map[bool]string{true: "1", false: "0"}[got.Allowed]
		want := digest([]string{strconv.FormatInt(got.Seq, 10), got.At, got.Actor, got.Action, got.Repository, strconv.FormatInt(got.Change, 10),
			got.Workspace, got.Commit, got.Fingerprint, allowed, got.Reason, string(got.Details), got.Key, got.Previous})
		if got.Hash != want || got.Previous != previous || got.Seq != int64(i+1) || got.Seal == "" {
			t.Errorf("line %d has hash %s after %s, want %s after %s: %s", i+1, got.Hash, got.Previous, want, previous, line)
		}
		previous = got.Hash
	}
	if (end != audit.Anchor{Seq: 4, Hash: previous}) {
		t.Errorf("the export ends with %+v, want the last line's %s", end, previous)
	}
	if _, err := verify(t, db, log, end); err != nil {
		t.Errorf("verify with the export's end: %v", err)
	}
}

func secretsAreNotKept(t *testing.T, e engine) {
	const canary = "c4n4ry-s3cr3t"
	db := open(t, e.fresh(t))
	log := newLog(t, []byte(canary+strings.Repeat(".", 32)))
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := log.Append(t.Context(), tx, audit.Entry{Actor: "a", Action: "plan", Details: map[string]string{"run": "1", "TF_VAR_password": canary}})
		return err
	})
	if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "fingerprint") && !strings.Contains(err.Error(), `"run"`) {
		t.Errorf("a detail that is not on the list: %v; want it refused without its value", err)
	}
	kept := add(t, db, log, samples(3)...)
	var out bytes.Buffer
	if err := db.Read(t.Context(), func(tx *sql.Tx) error {
		_, err := log.Export(t.Context(), tx, &out, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if all := out.String() + fmt.Sprintf("%+v", kept); strings.Contains(all, canary) || strings.Contains(all, hex.EncodeToString([]byte(canary))) {
		t.Error("the key or a refused detail is in the log")
	}
	if !slices.IsSorted(audit.DetailKeys()) {
		t.Errorf("the keys %q are not sorted", audit.DetailKeys())
	}
}

func appendRefusesWhatItCannotKeep(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t)
	for _, bad := range []audit.Entry{
		{Action: "plan"}, {Actor: "a"}, {Actor: " ", Action: "plan"},
		{Actor: "a", Action: "plan", At: time.Date(10000, 1, 2, 0, 0, 0, 0, time.UTC)},
	} {
		if err := db.Tx(t.Context(), func(tx *sql.Tx) error {
			_, err := log.Append(t.Context(), tx, bad)
			return err
		}); err == nil {
			t.Errorf("%+v was kept", bad)
		}
	}
	wantWhole(t, db, log, 0)
}

func emptyLogIsWhole(t *testing.T, e engine) {
	db := open(t, e.fresh(t))
	wantWhole(t, db, newLog(t), 0)
	wantWhole(t, db, newLog(t, key1), 0)
	_, err := verify(t, db, newLog(t), audit.Anchor{Seq: 1, Hash: "x"})
	wantBroken(t, "emptied, with an anchor", err, 1, audit.Missing)
}

func headThatIsGoneIsFound(t *testing.T, e engine) {
	db, log := open(t, e.fresh(t)), newLog(t, key1)
	add(t, db, log, samples(2)...)
	tamper(t, db, e, func(tx *sql.Tx) {
		run(t, tx, "DELETE FROM audit_head")
		if _, err := log.Verify(t.Context(), tx); err == nil || !strings.Contains(err.Error(), "is gone") {
			t.Errorf("verify: %v", err)
		}
		if _, err := log.Append(t.Context(), tx, samples(1)[0]); err == nil || !strings.Contains(err.Error(), "is gone") {
			t.Errorf("append: %v", err)
		}
	})
}

// As a child the test binary appends until it is killed.
func TestMain(m *testing.M) {
	if os.Getenv("PLUMBLINE_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	o := database.Options{URL: os.Getenv("PLUMBLINE_TEST_URL"), DataDir: os.Getenv("PLUMBLINE_TEST_DIR")}
	if err := appendForEver(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func appendForEver(ctx context.Context, o database.Options) error {
	db, err := database.Open(ctx, o)
	if err != nil {
		return err
	}
	log, err := audit.New(audit.Options{Keys: [][]byte{key1}})
	if err != nil {
		return err
	}
	for {
		var kept audit.Entry
		err := db.Tx(ctx, func(tx *sql.Tx) error {
			kept, err = log.Append(ctx, tx, audit.Entry{Actor: "child", Action: "apply", Allowed: true})
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println(kept.Seq, kept.Hash)
	}
}

func child(t *testing.T, o database.Options) *osexec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_CHILD=append", "PLUMBLINE_TEST_URL="+o.URL, "PLUMBLINE_TEST_DIR="+o.DataDir)
	return cmd
}

// killAfter kills a child as soon as it has acknowledged a number of entries, and returns the last one it acknowledged.
func killAfter(t *testing.T, cmd *osexec.Cmd, lines int) audit.Anchor {
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
	var last audit.Anchor
	printed := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if _, err := fmt.Sscan(scanner.Text(), &last.Seq, &last.Hash); err != nil {
			t.Fatalf("the child says %q: %v", scanner.Text(), err)
		}
		if printed++; printed == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // says that it was killed
	if printed < lines {
		t.Fatalf("the child ended by itself after %d entries: %s", printed, complaint.String())
	}
	return last
}
