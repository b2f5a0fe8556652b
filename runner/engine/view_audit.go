package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
)

// AuditView is a page of the audit log.
type AuditView struct {
	Entries []audit.Entry // the newest first
	More    bool          // there are older ones
	Whole   bool          // who asks sees the server as a whole, and may have the log verified
	Checked *AuditCheck   // the newest verification; nil when there was none since the start
}

// AuditCheck is what a verification of the whole log came to.
type AuditCheck struct {
	At       time.Time
	Verified audit.Verified
	Broken   *audit.BrokenError // the first damage; nil when the log is whole
}

// ErrBusy is when somebody else has just asked for the same, and it takes a while.
var ErrBusy = errors.New("somebody else has asked for this just now")

// AuditLog reads a page of the audit log. Its verification is told to whoever sees the server as a whole.
func (v *Views) AuditLog(ctx context.Context, sight Sight, f audit.Filter) (AuditView, error) {
	var a AuditView
	limit := f.Limit
	f.Limit++
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		h, err := v.horizon(ctx, tx, sight)
		if err != nil {
			return err
		}
		a.Entries, err = v.Audit.List(ctx, tx, h.audit(f))
		return err
	})
	if err != nil {
		return AuditView{}, err
	}
	if a.More = len(a.Entries) > limit; a.More {
		a.Entries = a.Entries[:limit]
	}
	for i, e := range a.Entries {
		a.Entries[i] = v.entry(e)
	}
	if a.Whole = sight.Sees(""); a.Whole {
		v.mu.Lock()
		defer v.mu.Unlock()
		a.Checked = v.verified
	}
	return a, nil
}

// VerifyAudit reads the whole audit log and remembers what that came to. It is ErrBusy while it is done already, and ErrNoSuch
// for whoever does not see the server as a whole: what it comes to tells how many entries there are.
func (v *Views) VerifyAudit(ctx context.Context, sight Sight) error {
	if !sight.Sees("") {
		return ErrNoSuch
	}
	if !v.verifying.TryLock() {
		return ErrBusy
	}
	defer v.verifying.Unlock()
	check := AuditCheck{At: v.Now()}
	err := v.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		check.Verified, err = v.Audit.Verify(ctx, tx)
		return err
	})
	if err != nil && !errors.As(err, &check.Broken) {
		return fmt.Errorf("verify the audit log: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.verified = &check
	return nil
}

// entry hides what must not be seen. The log should hold none of it: this is the second net.
func (v *Views) entry(e audit.Entry) audit.Entry {
	e.Actor, e.Action, e.Workspace, e.Reason = v.plain.Line(e.Actor), v.plain.Line(e.Action), v.plain.Line(e.Workspace), v.plain.Line(e.Reason)
	return e
}
