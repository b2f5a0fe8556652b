package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// OutputView is a part of what a run has printed, and how far the run is. Its text holds no secret.
type OutputView struct {
	Status Status
	Phase  Phase
	// From is where the text begins and Next where it goes on, in bytes from the beginning of all that the run printed. What
	// was printed does not change, and when the run has ended nothing is added.
	From, Next int64
	// Total is how much there is, Text excepted where it does not open.
	Total int64
	Text  string
}

// Over reports whether there is nothing after the text, and never will be.
func (o OutputView) Over() bool { return o.Status.Ended() && o.Next >= o.Total }

// Output reads what a run has printed: from a byte on, in about so many bytes. From is counted from the end if it is
// negative, and a place beyond the end is the end.
func (v *Views) Output(ctx context.Context, sight Sight, id string, from int64, most int) (OutputView, error) {
	var o OutputView
	var run Run
	var rows []outputRow
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		var ok bool
		var err error
		run, ok, err = first(ctx, tx, scanRunState, "SELECT id, repository, status, phase FROM run WHERE id = $1", id)
		if err == nil && (!ok || !sight.Sees(run.Repository)) {
			err = fmt.Errorf("the run: %w", ErrNoSuch)
		}
		if err != nil {
			return err
		}
		o = OutputView{Status: run.Status, Phase: run.Phase}
		if o.Total, err = v.store.printedSoFar(ctx, tx, id); err != nil {
			return err
		}
		o.From = from
		if from < 0 {
			o.From = max(o.Total+from, 0)
		}
		o.From = min(o.From, o.Total)
		o.Next = o.From
		rows = nil
		if o.From < o.Total && most > 0 {
			rows, err = v.store.output(ctx, tx, id, o.From, most)
		}
		return err
	})
	if err != nil {
		return OutputView{}, fmt.Errorf("read what a run printed: %w", err)
	}
	if len(rows) == 0 {
		return o, nil
	}
	plans, err := v.Plans(string(run.Repository))
	if err != nil {
		return OutputView{}, err
	}
	var text strings.Builder
	for _, row := range rows {
		piece, err := openOutput(plans, row)
		if err != nil {
			return OutputView{}, err
		}
		if skip := o.Next - row.Begins; skip > 0 && int64(len(piece)) == row.Size {
			piece = piece[skip:]
		}
		text.WriteString(piece)
		o.Next = row.Begins + row.Size
	}
	o.Text = strings.ToValidUTF8(text.String(), "\uFFFD") // where somebody asked from amid a character
	return o, nil
}

func scanRunState(row scanner) (r Run, err error) {
	err = row.Scan(&r.ID, &r.Repository, &r.Status, &r.Phase)
	return r, err
}
