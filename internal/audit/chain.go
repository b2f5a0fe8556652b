package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// row is an entry as it is kept, every column as text. Hashes are computed over it and not over an Entry, so that no
// change is lost in reading.
type row [columns]string

const (
	colSeq = iota
	colAt
	colActor
	colAction
	colRepository
	colChange
	colWorkspace
	colCommit
	colFingerprint
	colAllowed
	colReason
	colDetails
	colKey
	colPrevious
	colHash // from here on not hashed
	colSeal
	columns
)

const columnNames = `seq, at, actor, action, repository, change_number, workspace, commit_id, fingerprint, allowed, reason, details, key_id, previous, hash, seal`

// rowOf returns the row of an entry, without its place in the chain.
func rowOf(e Entry) (row, error) {
	details := make(map[string]string, len(e.Details))
	for name, value := range e.Details {
		details[name] = clean(value, maxDetail)
	}
	encoded, err := json.Marshal(details) // sorted by key
	if err != nil {
		return row{}, err
	}
	allowed := "0"
	if e.Allowed {
		allowed = "1"
	}
	return row{
		colAt:          e.At.UTC().Format(timeFormat),
		colActor:       clean(e.Actor, maxText),
		colAction:      clean(e.Action, maxText),
		colRepository:  clean(e.Repository, maxText),
		colChange:      strconv.FormatInt(e.Change, 10),
		colWorkspace:   clean(e.Workspace, maxText),
		colCommit:      clean(e.Commit, maxText),
		colFingerprint: clean(e.Fingerprint, maxText),
		colAllowed:     allowed,
		colReason:      clean(e.Reason, maxReason),
		colDetails:     string(encoded),
	}, nil
}

// entry reads a row.
func (r row) entry() (Entry, error) {
	seq, seqErr := strconv.ParseInt(r[colSeq], 10, 64)
	change, changeErr := strconv.ParseInt(r[colChange], 10, 64)
	at, atErr := time.Parse(timeFormat, r[colAt])
	var details map[string]string
	detailsErr := json.Unmarshal([]byte(r[colDetails]), &details)
	if err := errors.Join(seqErr, changeErr, atErr, detailsErr); err != nil {
		return Entry{}, fmt.Errorf("it cannot be read, and was changed: %w", err)
	}
	return Entry{
		Seq: seq, At: at, Actor: r[colActor], Action: r[colAction], Repository: r[colRepository], Change: change,
		Workspace: r[colWorkspace], Commit: r[colCommit], Fingerprint: r[colFingerprint], Allowed: r[colAllowed] == "1",
		Reason: r[colReason], Details: details, Hash: r[colHash],
	}, nil
}

// digest returns the hash that the row should have. The documentation of Export says how it is computed.
func (r row) digest() string {
	h := sha256.New()
	_, _ = io.WriteString(h, "plumbline audit entry 1\n")
	for _, text := range r[:colHash] {
		_, _ = io.WriteString(h, strconv.Itoa(len(text))+":"+text+"\n")
	}
	return hex.EncodeToString(h.Sum(nil))
}

// as returns the row under another number.
func (r row) as(seq int64) row {
	r[colSeq] = strconv.FormatInt(seq, 10)
	return r
}

// head is where the chain ends.
type head struct {
	seq             int64
	hash, key, seal string
}

func scanHead(found *sql.Row) (head, error) {
	var h head
	err := found.Scan(&h.seq, &h.hash, &h.key, &h.seal)
	if errors.Is(err, sql.ErrNoRows) {
		return head{}, errors.New("the row that says where the audit log ends is gone: it was deleted from outside of Plumbline; restore the database from a backup")
	}
	return h, err
}

// key seals. The zero key makes empty seals.
type key struct {
	id     string // says which key it is, and nothing of the key
	secret []byte
}

func newKey(secret []byte) key {
	k := key{secret: secret}
	k.id = k.mac("plumbline audit key 1\n")[:16]
	return k
}

func (k key) mac(text string) string {
	if k.secret == nil {
		return ""
	}
	mac := hmac.New(sha256.New, k.secret)
	_, _ = io.WriteString(mac, text)
	return hex.EncodeToString(mac.Sum(nil))
}

func (k key) entry(hash string) string { return k.mac("plumbline audit seal 1\n" + hash) }

func (k key) head(seq int64, hash string) string {
	return k.mac("plumbline audit head 1\n" + strconv.FormatInt(seq, 10) + "\n" + hash)
}

// key returns the key with an id.
func (l *Log) key(id string) (key, bool) {
	for _, k := range l.keys {
		if k.id == id {
			return k, true
		}
	}
	return key{}, false
}

// sealed reports whether a head's seal is right.
func (l *Log) sealed(h head) bool {
	k, known := l.key(h.key)
	return known && same(h.seal, k.head(h.seq, h.hash))
}

// sealer returns how the entry after the head and its new head are sealed.
//
// A head whose seal is wrong was changed by someone without the key. Sealing the next one would make that good, and
// refusing to append would stop all work. So a wrong seal is followed by wrong ones, and Verify finds it however much
// later it is asked.
func (l *Log) sealer(ctx context.Context, tx *sql.Tx, h head) (sealer, error) {
	if len(l.keys) == 0 {
		if h.key != "" {
			return sealer{}, fmt.Errorf("it is sealed, and no key was given: give the key %s, or a new one", h.key)
		}
		return sealer{}, nil
	}
	s := sealer{key: l.keys[0]}
	if h.key != "" {
		if !l.sealed(h) {
			s.broken = brokenAt(h)
		}
		return s, nil
	}
	// Never sealed, or made to look so.
	var sealed int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM audit_entry WHERE key_id <> ''`).Scan(&sealed); err != nil {
		return sealer{}, err
	}
	if sealed > 0 {
		s.broken = brokenAt(h)
	}
	return s, nil
}

type sealer struct {
	key
	broken string // stands in for the head's seal
}

func (s sealer) head(seq int64, hash string) string {
	if s.broken != "" {
		return s.broken
	}
	return s.key.head(seq, hash)
}

const brokenPrefix = "broken after entry "

// brokenAt remembers where a seal was first found to be wrong.
func brokenAt(h head) string {
	if len(h.seal) > len(brokenPrefix) && h.seal[:len(brokenPrefix)] == brokenPrefix {
		return h.seal
	}
	return brokenPrefix + strconv.FormatInt(h.seq, 10)
}

func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// eachRow calls fn for each row of a query of all columns.
func eachRow(ctx context.Context, tx *sql.Tx, query string, args []any, fn func(r row) error) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var found [columns]sql.NullString
		into := make([]any, columns)
		for i := range found {
			into[i] = &found[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		var r row
		for i, column := range found {
			r[i] = column.String
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return rows.Err()
}
