package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Damage is what Verify found to be wrong with an entry.
type Damage string

const (
	Changed   Damage = "changed"   // it does not say what it said, or its seal is not ours
	Missing   Damage = "missing"   // it is gone from the middle or from the end
	Reordered Damage = "reordered" // it stands in another one's place
	Inserted  Damage = "inserted"  // Plumbline did not write it
)

// BrokenError is the first damage in the log.
type BrokenError struct {
	Seq    int64 // of the entry; of the first missing one
	Damage Damage
	Detail string // a clause for people
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the audit log is broken: entry %d is %s: %s", e.Seq, e.Damage, e.Detail)
}

// Verified is what a log that is whole consists of.
type Verified struct {
	Entries int64
	Sealed  int64  // how many of them have a seal that was checked; the others are chained only
	End     Anchor // keep it elsewhere: see Anchor
}

// Verify reads the whole log, oldest first, and returns a *BrokenError for the first entry that is not as Append wrote it.
// Anchors are entries that were known to be in the log. Give it a transaction of database.Read, which stops nobody.
//
// Seals are checked only with keys. Then the end of the log must be sealed: one that never was is broken from the first
// entry on, until an entry has been appended with a key.
func (l *Log) Verify(ctx context.Context, tx *sql.Tx, anchors ...Anchor) (Verified, error) {
	end, err := scanHead(tx.QueryRowContext(ctx, `SELECT seq, hash, key_id, seal FROM audit_head WHERE id = 1`))
	if err != nil {
		return Verified{}, fmt.Errorf("verify the audit log: %w", err)
	}
	known := make(map[int64]string, len(anchors))
	for _, a := range anchors {
		known[a.Seq] = a.Hash
	}
	var whole Verified
	var last, bad row
	stop := errors.New("stop")
	wrong := ""
	err = eachRow(ctx, tx, `SELECT `+columnNames+` FROM audit_entry ORDER BY seq`, nil, func(r row) error {
		if wrong = l.wrong(whole, last, r); wrong != "" {
			bad = r
			return stop
		}
		whole.Entries++
		if r[colKey] != "" && len(l.keys) > 0 {
			whole.Sealed++
		}
		last = r
		if hash, anchored := known[whole.Entries]; anchored && !same(hash, r[colHash]) {
			return &BrokenError{whole.Entries, Changed, "it is another one than the anchor says"}
		}
		return nil
	})
	if errors.Is(err, stop) {
		// The rows must be closed before other queries can be asked in the transaction.
		return whole, l.diagnose(ctx, tx, last, bad, whole.Entries+1, wrong)
	}
	if broken := new(BrokenError); errors.As(err, &broken) {
		return whole, err
	}
	if err != nil {
		return whole, fmt.Errorf("verify the audit log: %w", err)
	}
	whole.End = Anchor{whole.Entries, last[colHash]}
	for _, a := range anchors {
		if a.Seq > whole.Entries {
			return whole, &BrokenError{whole.Entries + 1, Missing, fmt.Sprintf("an anchor says that the log had %d entries, and it has %d", a.Seq, whole.Entries)}
		}
	}
	return whole, l.checkEnd(whole, last, end)
}

// wrong says what is wrong with a row that should follow another, or "".
func (l *Log) wrong(before Verified, last, r row) string {
	switch {
	case r[colSeq] != strconv.FormatInt(before.Entries+1, 10):
		return "its number is not the next one"
	case r[colPrevious] != last[colHash]:
		return "it does not follow the entry before it"
	case r[colHash] != r.digest():
		return "its hash is not that of what it says"
	case r[colKey] == "" && r[colSeal] != "":
		return "it has a seal of no key"
	case len(l.keys) == 0:
		return ""
	case r[colKey] == "" && before.Sealed > 0:
		return "it has no seal, and entries before it have"
	case r[colKey] == "":
		return ""
	}
	k, known := l.key(r[colKey])
	switch {
	case !known:
		return "it was sealed with the key " + strconv.Quote(r[colKey]) + ", which was not given"
	case !same(r[colSeal], k.entry(r[colHash])):
		return "its seal is not one of the key " + r[colKey]
	}
	return ""
}

// diagnose names the damage at the row r, which stands where entry next should.
func (l *Log) diagnose(ctx context.Context, tx *sql.Tx, last, r row, next int64, wrong string) error {
	seq, err := strconv.ParseInt(r[colSeq], 10, 64)
	if err != nil {
		return &BrokenError{next, Changed, "an entry's number is " + strconv.Quote(r[colSeq])}
	}
	// The entry that was written next, wherever it is now.
	var genuine *row
	err = eachRow(ctx, tx, `SELECT `+columnNames+` FROM audit_entry WHERE previous = $1 AND seq <> $2 ORDER BY seq`, []any{last[colHash], seq}, func(other row) error {
		if genuine == nil && other[colHash] == other.as(next).digest() {
			genuine = &other
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify the audit log: %w", err)
	}
	// The number under which the row was written, if it was written by Append at all.
	was := seq
	if r[colHash] != r.digest() {
		was = 0
		candidates := []int64{next - 1} // pushed on by one that was put in before it
		if genuine != nil {
			there, err := strconv.ParseInt(genuine[colSeq], 10, 64)
			if err == nil {
				candidates = append(candidates, there)
			}
		}
		for n := next + 1; n <= next+1000; n++ { // moved up, to hide that some are gone
			candidates = append(candidates, n)
		}
		for _, n := range candidates {
			if n > 0 && r[colHash] == r.as(n).digest() {
				was = n
				break
			}
		}
	}
	switch {
	case genuine != nil && was != 0 && was != next:
		return &BrokenError{next, Reordered, fmt.Sprintf("it has the number %s now, and entry %d stands in its place", genuine[colSeq], was)}
	case genuine != nil:
		return &BrokenError{next, Inserted, fmt.Sprintf("%s, and the entry that was written here has the number %s now", wrong, genuine[colSeq])}
	case was != 0 && was < next && next == seq:
		return &BrokenError{was, Inserted, fmt.Sprintf("the entry that was written here has the number %d now", seq)}
	case was > next && r[colPrevious] != last[colHash]:
		detail := fmt.Sprintf("entry %d follows entry %d", was, next-1)
		if was-next > 1 {
			detail += fmt.Sprintf("; %d are missing", was-next)
		}
		return &BrokenError{next, Missing, detail}
	case seq > next:
		return &BrokenError{next, Missing, fmt.Sprintf("the next number is %d", seq)}
	case was == next && r[colPrevious] != last[colHash]:
		return &BrokenError{next, Changed, "it does not follow the entry before it: one of the two was written anew"}
	default:
		return &BrokenError{next, Changed, wrong}
	}
}

// checkEnd holds the last entry against the head.
func (l *Log) checkEnd(whole Verified, last row, end head) error {
	switch {
	case end.seq > whole.Entries:
		return &BrokenError{whole.Entries + 1, Missing, fmt.Sprintf("the log had %d entries, and its end was cut off", end.seq)}
	case end.seq < whole.Entries:
		return &BrokenError{end.seq + 1, Inserted, fmt.Sprintf("the log ended with entry %d", end.seq)}
	case end.hash != last[colHash]:
		return &BrokenError{whole.Entries, Changed, "the log ended with another one"}
	case len(l.keys) == 0 || whole.Entries == 0 && end.key == "" && end.seal == "":
		return nil
	case strings.HasPrefix(end.seal, brokenPrefix):
		return &BrokenError{whole.Entries, Changed, "the seal of the log's end was " + end.seal + ": entries may have been cut off there before others were appended"}
	case end.key == "":
		return &BrokenError{whole.Entries, Changed, "the log's end has no seal: entries may have been cut off, or no entry was appended with a key yet"}
	case !l.sealed(end):
		return &BrokenError{whole.Entries, Changed, "the seal of the log's end is wrong: entries may have been cut off there"}
	case last[colKey] != end.key:
		return &BrokenError{whole.Entries, Changed, "it has another key's seal than the log's end"}
	}
	return nil
}
