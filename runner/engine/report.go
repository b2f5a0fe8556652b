package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// workReport brings comments and statuses of one subject to what the rows say. It reads the rows once and makes the
// forge agree with them, so it does not matter how often it is asked to, or what an earlier one has not finished. What is
// wanted while it is at it is told next, by itself if it is due, else by whoever the sweeper sends. After an error it is
// tried again, later each time.
func (e *Engine) workReport(ctx context.Context, who Subject) error {
	for ctx.Err() == nil {
		var row ReportRow
		var claimed bool
		err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
			row, claimed, err = e.store.claimReport(ctx, tx, who, e.process)
			return err
		})
		if err != nil || !claimed {
			return err
		}
		problem, next := "", time.Time{}
		err = e.tell(ctx, row)
		var early *earlyError
		switch {
		case errors.As(err, &early):
			next = early.until
		case err != nil:
			var wait time.Duration
			problem, wait = e.putOff(ctx, row, err)
			next = e.store.now().Add(wait)
		}
		// The row is given back even when the server is about to stop: what was posted is posted.
		err = e.persist(ctx, func(tx *sql.Tx) error {
			return e.store.endReport(context.WithoutCancel(ctx), tx, row, e.process, problem, next)
		})
		if errors.Is(err, errTaken) {
			// This process was taken for dead, and may have written over what another one has said since.
			err = errors.Join(err, e.DB.Tx(ctx, func(tx *sql.Tx) error { return e.store.wantReport(ctx, tx, who, true) }))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errNotServed: the configuration does not name the subject's forge any more.
var errNotServed = errors.New("the forge is not in the configuration")

// errArchived: the forge takes neither comments nor statuses there.
var errArchived = errors.New("the repository is archived")

// tell does the work of a report: comments first, which people wait for, statuses after.
func (e *Engine) tell(ctx context.Context, row ReportRow) error {
	who := row.Subject
	if key, ok := who.issue(); ok {
		return e.tellIssue(ctx, row, key)
	}
	a, err := e.readAccount(ctx, row)
	if err != nil || !a.known {
		return err
	}
	f, ok := e.forge(a.repository.Forge)
	switch {
	case !ok:
		return fmt.Errorf("report on %s: %w", who, errNotServed)
	case a.repository.Archived:
		return fmt.Errorf("report on %s: %w", who, errArchived)
	}
	commented := e.tellComments(ctx, f.Client, a)
	if commented != nil && !permanent(commented) {
		return commented
	}
	if commented == nil && who.Change > 0 {
		if err := e.noteTold(ctx, a); err != nil {
			return err
		}
	}
	stated := e.tellStatuses(ctx, f.Client, a)
	if stated == nil && who.Change == 0 {
		stated = e.noteTold(ctx, a)
	}
	if commented == nil && stated == nil && !a.later.IsZero() {
		return &earlyError{a.later}
	}
	return errors.Join(commented, stated)
}

// earlyError says that a comment was not begun yet, because it has nothing to tell.
type earlyError struct{ until time.Time }

func (e *earlyError) Error() string { return "there is nothing to tell yet" }

// noteTold writes down that the last word on ended operations is out.
func (e *Engine) noteTold(ctx context.Context, a *account) error {
	for _, o := range a.operations {
		if o.Status == OperationRunning || !o.ToldAt.IsZero() || a.unsaid(o) {
			continue
		}
		var first bool
		err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
			first, err = e.store.noteTold(ctx, tx, o.ID)
			return err
		})
		if err != nil {
			return err
		}
		if first && !o.EventAt.IsZero() && o.Status == OperationDone {
			e.Metrics.Commented(e.store.now().Sub(o.EventAt))
		}
	}
	return nil
}

// permanent reports whether trying again soon is of no use: somebody has to change something first.
func permanent(err error) bool {
	var denied *forge.NotAllowedError
	return errors.As(err, &denied) || errors.Is(err, forge.ErrNotFound) || errors.Is(err, errArchived) || errors.Is(err, errNotServed)
}

// putOff decides how long a report that failed waits, and says what is wrong. It is logged the first time only.
func (e *Engine) putOff(ctx context.Context, r ReportRow, err error) (problem string, wait time.Duration) {
	var limited *forge.RateLimitError
	switch tries := min(max(r.Attempts, 1), 12); {
	case ctx.Err() != nil:
		return "the server stopped on the way", 0
	case errors.As(err, &limited):
		wait = time.Until(limited.Until) + time.Second
	case permanent(err):
		wait = time.Minute << min(tries-1, 4)
	default:
		wait = time.Second << tries
	}
	wait = min(max(wait, time.Second), longestRetry)
	problem = prcomment.Redact(err.Error(), e.Secrets)
	if r.Attempts <= 1 {
		e.log.Warn("report put off", "subject", r.String(), "problem", problem, "retry_in", wait.Round(time.Second).String())
	}
	return problem, wait
}

// String names a subject for people.
func (s Subject) String() string {
	if s.Change > 0 {
		return fmt.Sprintf("%s#%d", s.Repository, s.Change)
	}
	if key, ok := s.issue(); ok {
		return fmt.Sprintf("the drift of %s in %s", strings.TrimPrefix(key, workspaceIssue), s.Repository)
	}
	return fmt.Sprintf("a push to %s", s.Repository)
}
