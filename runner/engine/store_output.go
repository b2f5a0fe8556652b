package engine

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/plumbline-dev/plumbline/planstore"
)

// outputRow is a piece of what a run has printed. Its text is packed, sealed for its place and encoded.
type outputRow struct {
	Run    string
	Begins int64 // bytes of text that come before it
	Size   int64 // of its text
	Text   string
}

// outputPiece is how many bytes of text are in one row, at most.
const outputPiece = 64 << 10

// outputSeal is what a piece is sealed for, so that none can take the place of another.
func outputSeal(run string, begins int64) string { return fmt.Sprintf("output %s %d", run, begins) }

// How the text of a piece is kept.
const (
	outputPlain  = 'p'
	outputPacked = 'z'
	packedFrom   = 400 // bytes: less is not worth it
)

// sealOutput makes rows of a text.
func sealOutput(plans *planstore.Store, run string, begins int64, text string) ([]outputRow, error) {
	var rows []outputRow
	for text != "" {
		piece := text[:pieceOf(text)]
		text = text[len(piece):]
		var kept bytes.Buffer
		if len(piece) < packedFrom {
			kept.WriteByte(outputPlain)
			kept.WriteString(piece)
		} else {
			kept.WriteByte(outputPacked)
			packer, err := gzip.NewWriterLevel(&kept, gzip.BestSpeed)
			if err == nil {
				_, err = io.WriteString(packer, piece)
				err = errors.Join(err, packer.Close())
			}
			if err != nil {
				return nil, fmt.Errorf("pack what run %s printed: %w", run, err)
			}
		}
		sealed, err := plans.Seal(outputSeal(run, begins), kept.Bytes())
		if err != nil {
			return nil, fmt.Errorf("seal what run %s printed: %w", run, err)
		}
		rows = append(rows, outputRow{Run: run, Begins: begins, Size: int64(len(piece)), Text: encode(sealed)})
		begins += int64(len(piece))
	}
	return rows, nil
}

// pieceOf is where a text is cut: at a line's end if there is one, and never within a character.
func pieceOf(text string) int {
	if len(text) <= outputPiece {
		return len(text)
	}
	if i := strings.LastIndexByte(text[:outputPiece], '\n'); i >= 0 {
		return i + 1
	}
	n := outputPiece
	for n > outputPiece-4 && text[n]&0xc0 == 0x80 {
		n--
	}
	return n
}

// openOutput is the text of a row. What does not open is told in words, which may be of another length.
func openOutput(plans *planstore.Store, row outputRow) (string, error) {
	kept, err := plans.Unseal(outputSeal(row.Run, row.Begins), decode(row.Text))
	var broken *planstore.BrokenError
	if errors.As(err, &broken) {
		return fmt.Sprintf("[%d bytes are in the database, but do not open: %s]\n", row.Size, broken.Detail), nil
	}
	if err != nil || len(kept) == 0 {
		return "", err
	}
	if kept[0] != outputPacked {
		return string(kept[1:]), nil
	}
	unpacker, err := gzip.NewReader(bytes.NewReader(kept[1:]))
	if err != nil {
		return "", fmt.Errorf("unpack what run %s printed: %w", row.Run, err)
	}
	text, err := io.ReadAll(io.LimitReader(unpacker, 2*outputPiece))
	if err != nil {
		return "", fmt.Errorf("unpack what run %s printed: %w", row.Run, err)
	}
	return string(text), nil
}

// addOutput keeps pieces of what runs print. With an owner, only those of a run that is still this owner's. What is there
// already stays: nobody may know whether an earlier try was committed.
func (s *store) addOutput(ctx context.Context, tx *sql.Tx, rows []outputRow, owner string) error {
	for _, r := range rows {
		_, err := tx.ExecContext(ctx, `INSERT INTO run_output (run, begins, size, written_at, text)
			SELECT id, CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT) FROM run WHERE id = $1 AND (owner = $6 OR $6 = '') ON CONFLICT DO NOTHING`,
			r.Run, r.Begins, r.Size, millis(s.now()), r.Text, owner)
		if err != nil {
			return fmt.Errorf("keep what run %s printed: %w", r.Run, err)
		}
	}
	return nil
}

// printedSoFar is how many bytes of text a run has printed.
func (s *store) printedSoFar(ctx context.Context, tx *sql.Tx, run string) (int64, error) {
	n, _, err := first(ctx, tx, scanNumber, "SELECT begins + size FROM run_output WHERE run = $1 ORDER BY begins DESC LIMIT 1", run)
	if err != nil {
		return 0, fmt.Errorf("read how much run %s has printed: %w", run, err)
	}
	return n, nil
}

// output reads pieces that a run has printed, from the one on that holds the byte at from, until they are of about most
// bytes.
func (s *store) output(ctx context.Context, tx *sql.Tx, run string, from int64, most int) ([]outputRow, error) {
	rows, err := tx.QueryContext(ctx, "SELECT run, begins, size, text FROM run_output WHERE run = $1 AND begins > $2 AND begins + size > $3 ORDER BY begins LIMIT 64",
		run, from-outputPiece, from)
	if err != nil {
		return nil, fmt.Errorf("read what run %s printed: %w", run, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var all []outputRow
	for sum := int64(0); sum < int64(most) && rows.Next(); {
		var r outputRow
		if err := rows.Scan(&r.Run, &r.Begins, &r.Size, &r.Text); err != nil {
			return nil, fmt.Errorf("read what run %s printed: %w", run, err)
		}
		all = append(all, r)
		sum += r.Begins + r.Size - max(from, r.Begins)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read what run %s printed: %w", run, err)
	}
	return all, nil
}
