package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// behindFor is how long a forge's answer may be older than its own event before the answer is believed.
const behindFor = 2 * time.Minute

// look sees how a change stands, and does what follows from that. What the event said is only a reason to look.
func (h *errand) look(ctx context.Context, number int) error {
	row, before, err := h.refresh(ctx, number)
	if err != nil {
		return err
	}
	switch row.State {
	case forge.Open:
		return h.lookOpen(ctx, row, before)
	case forge.Merged:
		return h.lookMerged(ctx, row)
	}
	return h.closed(ctx, row)
}

// refresh asks the forge how a change stands and keeps the answer. before is the row as it was, nil if there was none.
//
// The row is compared with what it was before the forge was asked: of two processes that ask at once, the one whose answer
// may be the older one asks again.
func (h *errand) refresh(ctx context.Context, number int) (row ChangeRow, before *ChangeRow, err error) {
	for range 5 {
		known := false
		err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			row, known, err = h.store.change(ctx, tx, h.repo.ID, number)
			return err
		})
		if err != nil {
			return row, nil, err
		}
		c, err := h.forge.Client.Change(ctx, h.repo.Repo, number)
		if errors.Is(err, forge.ErrNotFound) && known && row.State == forge.Open {
			return row, nil, h.vanished(ctx, row, err)
		}
		if err != nil {
			return row, nil, err
		}
		if err := h.behind(c); err != nil {
			return row, nil, err
		}
		row, before, err = h.keep(ctx, row, known, c)
		if !errors.Is(err, errRaced) {
			return row, before, err
		}
	}
	return row, nil, errRaced
}

// keep writes what the forge says of a change over the row as it was read before.
func (h *errand) keep(ctx context.Context, was ChangeRow, known bool, c forge.Change) (row ChangeRow, before *ChangeRow, err error) {
	err = h.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := h.store.hold(ctx, tx, h.repo.ID); err != nil {
			return err
		}
		now, is, err := h.store.change(ctx, tx, h.repo.ID, c.Number)
		if err != nil {
			return err
		}
		if is != known || is && !sameChange(now.Change, was.Change) {
			return errRaced
		}
		if before, err = h.store.putChange(ctx, tx, h.repo.ID, c); err != nil {
			return err
		}
		if before != nil && before.State == forge.Open && (c.State != forge.Open || c.Head.Commit != before.Head.Commit) {
			if err := h.wantOthers(ctx, tx, *before); err != nil {
				return err
			}
		}
		row, _, err = h.store.change(ctx, tx, h.repo.ID, c.Number)
		return err
	})
	return row, before, err
}

// sameChange reports whether a change has not moved.
func sameChange(a, b forge.Change) bool {
	return a.State == b.State && a.Draft == b.Draft && a.Head == b.Head && a.Base.Branch == b.Base.Branch &&
		a.MergeCommit == b.MergeCommit && a.UpdatedAt.Equal(b.UpdatedAt)
}

// behind is the error of an answer that does not know yet of what the event told: forges answer from copies.
func (h *errand) behind(c forge.Change) error {
	ev := h.event.Event
	if h.event.Source != FromWebhook || h.store.now().Sub(h.event.ReceivedAt) > behindFor || ev.At.IsZero() || !c.UpdatedAt.Before(ev.At) {
		return nil
	}
	stale := false
	switch ev.Kind {
	case forge.ChangeOpened, forge.ChangePushed:
		stale = c.State == forge.Open && ev.After != "" && c.Head.Commit != ev.After
	case forge.ChangeClosed, forge.ChangeMerged:
		stale = c.State == forge.Open
	}
	if !stale {
		return nil
	}
	return &laterError{h.store.now().Add(time.Second), fmt.Sprintf("the forge's answer about #%d is older than its event", c.Number)}
}

// vanished ends what is under way for a change that the forge does not have any more.
func (h *errand) vanished(ctx context.Context, row ChangeRow, cause error) error {
	row.State, row.ClosedAt = forge.Closed, h.store.now()
	err := h.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := h.store.putChange(ctx, tx, h.repo.ID, row.Change)
		return err
	})
	if err == nil {
		err = h.closed(ctx, row)
	}
	return errors.Join(cause, err)
}

// lookOpen plans an open change unless it is planned as it stands.
func (h *errand) lookOpen(ctx context.Context, row ChangeRow, before *ChangeRow) error {
	op, known, err := h.current(ctx, row)
	if err != nil {
		return err
	}
	if known && planned(row.Change, op) && !row.Pruned { // a change that was closed for a while has lost its plans
		if before == nil || before.State == forge.Open {
			return nil
		}
		// Its comment says that it is closed.
		return h.DB.Tx(ctx, func(tx *sql.Tx) error {
			return h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true)
		})
	}
	p := planRequest{cause: CausePushed, actor: h.actor(), eventAt: h.event.ReceivedAt}
	if before == nil || before.State != forge.Open || !known {
		p.cause = CauseOpened
	}
	return h.plan(ctx, row, p)
}

// planned reports whether a plan operation is of a change as it stands.
func planned(c forge.Change, op Operation) bool {
	return op.Kind == KindPlan && op.Status != OperationSuperseded && op.HeadCommit == c.Head.Commit && op.Branch == c.Base.Branch
}

// current reads the plan operation that a change's comment shows.
func (h *errand) current(ctx context.Context, row ChangeRow) (op Operation, known bool, err error) {
	if row.Operation == "" {
		return Operation{}, false, nil
	}
	err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		op, known, err = h.store.operation(ctx, tx, row.Operation)
		return err
	})
	return op, known, err
}

// closed ends what is under way for a change that was closed without a merge. An apply that runs goes on to its end.
func (h *errand) closed(ctx context.Context, row ChangeRow) error {
	if row.Pruned {
		return nil
	}
	var cancelled []string
	err := h.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if _, err := h.store.hold(ctx, tx, h.repo.ID); err != nil {
			return nil, err
		}
		now, known, err := h.store.change(ctx, tx, h.repo.ID, row.Number)
		if err != nil {
			return nil, err
		}
		if !known || now.State != forge.Closed {
			return nil, errRaced
		}
		var superseded []Operation
		if cancelled, superseded, err = h.store.supersede(ctx, tx, h.repo.ID, row.Number, "", ""); err != nil {
			return nil, err
		}
		var entries []audit.Entry
		for _, op := range superseded {
			if err := h.settle(ctx, tx, op.ID); err != nil {
				return nil, err
			}
			entries = append(entries, audit.Entry{
				Actor: h.actor(), Action: string(op.Kind), Change: int64(row.Number), Commit: op.HeadCommit,
				Reason: "what had not begun was called off: the change was closed", Details: map[string]string{"event": h.event.Event.Key},
			})
		}
		if row.Operation != "" {
			if err := h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true); err != nil {
				return nil, err
			}
		}
		return entries, h.send(ctx, tx, eventPrune, row.Number, fmt.Sprint("closed ", now.ClosedAt.Unix()))
	})
	h.cancel(errCancelled, cancelled...)
	return err
}

// prune deletes the plans of a change that has no more use for them. While something of the change runs it waits.
func (h *errand) prune(ctx context.Context, number int) error {
	var row ChangeRow
	busy := false
	err := h.DB.Read(ctx, func(tx *sql.Tx) error {
		var known bool
		var err error
		if row, known, err = h.store.change(ctx, tx, h.repo.ID, number); err != nil || !known {
			return err
		}
		busy, err = h.busyWith(ctx, tx, number)
		return err
	})
	if err != nil || row.Number == 0 || row.State == forge.Open {
		return err
	}
	if busy {
		return &laterError{h.store.now().Add(10 * time.Second), "runs of the change have not ended"}
	}
	// Noted first: were the change open again before all of them are gone, it would be planned anew.
	err = h.step(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		return nil, h.store.setPruned(ctx, tx, h.repo.ID, number, true)
	})
	if err != nil {
		return err
	}
	plans, err := h.Plans(string(h.repo.ID))
	if err != nil {
		return err
	}
	if err := plans.DeleteChange(ctx, scopeOf(number)); err != nil {
		return err
	}
	c, err := h.clone(ctx, h.repo)
	if err != nil {
		return err
	}
	return c.forget(ctx, number)
}

// busyWith reports whether runs of a change have not ended.
func (h *errand) busyWith(ctx context.Context, tx *sql.Tx, number int) (bool, error) {
	n, _, err := first(ctx, tx, scanNumber, `SELECT COUNT(*) FROM run JOIN operation ON operation.id = run.operation
		WHERE operation.repository = $1 AND operation.change_number = $2 AND run.status IN ('waiting', 'queued', 'running')`, string(h.repo.ID), number)
	if err != nil {
		return false, fmt.Errorf("count what is under way for change %d of %s: %w", number, h.repo.ID, err)
	}
	return n > 0, nil
}
