package engine

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// account is all that a report tells of, read at one moment.
type account struct {
	who        Subject
	wanted     int64 // what is told: see ReportRow
	again      bool  // an attempt at it has failed, or died
	known      bool
	repository Repository
	change     ChangeRow     // zero for a push
	operations []accountedOp // those that something is to be said about, oldest first
	comments   []CommentRow
	later      time.Time // when a comment is to be begun that was not yet; zero if none is
}

// accountedOp is an operation with its runs, in the graph's order.
type accountedOp struct {
	Operation
	runs []Run
	key  string // of the comment that tells of it; "" if none does
}

// Keys of comments: see prcomment.Mark. What comes after the dash is the end of an operation's id.
const (
	keyPlan  = "plan"
	keyAlong = "along" // of a change that came to its branch with another one
)

func operationKey(prefix, id string) string { return prefix + "-" + id[max(0, len(id)-12):] }

// readAccount reads the rows.
func (e *Engine) readAccount(ctx context.Context, row ReportRow) (*account, error) {
	var a *account
	who := row.Subject
	err := e.DB.Read(ctx, func(tx *sql.Tx) error {
		a = &account{who: who, wanted: row.Wanted, again: row.Attempts > 1}
		var ok bool
		var err error
		if a.repository, ok, err = e.store.repository(ctx, tx, who.Repository); err != nil || !ok {
			return err
		}
		var all []Operation
		if who.Change > 0 {
			if a.change, ok, err = e.store.change(ctx, tx, who.Repository, who.Change); err != nil || !ok {
				return err
			}
			if all, err = e.store.operations(ctx, tx, who.Repository, who.Change, ""); err != nil {
				return err
			}
			if a.comments, err = e.store.comments(ctx, tx, who.Repository, who.Change); err != nil {
				return err
			}
		} else {
			o, ok, err := e.store.operation(ctx, tx, who.Operation)
			if err != nil || !ok {
				return err
			}
			all = []Operation{o}
		}
		a.known = true
		for _, o := range a.choose(all) {
			if o.runs, err = e.store.runsOf(ctx, tx, o.ID); err != nil {
				return err
			}
			a.operations = append(a.operations, o)
		}
		return nil
	})
	return a, err
}

// choose leaves out the plans that another one has replaced, and says which comment tells of what: the plan of a change
// has one comment over its whole life; every apply and unlock has one of its own, and so has what is planned once the
// merge was applied, because nobody looks up there for it.
func (a *account) choose(all []Operation) []accountedOp {
	var chosen []accountedOp
	shown, merged := a.change.Operation, false
	for _, o := range all {
		merged = merged || o.Cause == CauseMerged
		if merged && o.ID == shown {
			shown = lastPlan(all) // what was made later has a comment of its own
		}
	}
	merged = false
	for _, o := range all {
		c := accountedOp{Operation: o}
		switch {
		case a.who.Change == 0:
		case o.Kind == KindApply:
			c.key = operationKey("apply", o.ID)
			merged = merged || o.Cause == CauseMerged
		case o.Kind == KindUnlock:
			c.key = operationKey("unlock", o.ID)
		case merged:
			c.key = operationKey("plan", o.ID)
		case o.ID == shown:
			c.key = keyPlan
		default:
			continue
		}
		chosen = append(chosen, c)
	}
	return chosen
}

// lastPlan is the last plan before the merge was applied.
func lastPlan(all []Operation) string {
	last := ""
	for _, o := range all {
		if o.Cause == CauseMerged {
			break
		}
		if o.Kind == KindPlan {
			last = o.ID
		}
	}
	return last
}

// plan is the operation that the change's plan comment shows; nil if there is none.
func (a *account) plan() *accountedOp {
	for i, o := range a.operations {
		if o.key == keyPlan {
			return &a.operations[i]
		}
	}
	return nil
}

// applies are the applies of the change: after a merge only those of what was merged.
func (a *account) applies() (applies []accountedOp, merged bool) {
	for _, o := range a.operations {
		if o.Kind != KindApply {
			continue
		}
		if o.Cause == CauseMerged && !merged {
			merged, applies = true, nil
		}
		applies = append(applies, o)
	}
	return applies, merged
}

// settledBy maps each workspace that a later apply brought to a good end to that apply's place in the order.
func (a *account) settledBy() map[string]int64 {
	settled := map[string]int64{}
	for _, o := range a.operations {
		for _, r := range o.runs {
			if o.Kind == KindApply && r.Status.OK() {
				settled[r.Workspace] = o.Seq
			}
		}
	}
	return settled
}

// has reports whether a comment with this key was written.
func (a *account) has(key string) bool {
	for _, c := range a.comments {
		if c.Key == key {
			return true
		}
	}
	return false
}

// waits reports whether the change is open and not planned, and why is for its reader.
//
// A change that touches no workspace has nothing to wait for: it is planned, and nothing came of it.
func (a *account) waits() bool {
	n := a.change.Notice
	return a.change.State == forge.Open && n.Waits != "" && (n.State != forge.Success || n.Mends)
}

// unsaid reports whether the last word on an operation cannot be out: its comment shows something else now.
func (a *account) unsaid(o accountedOp) bool { return o.key == keyPlan && a.waits() }

// url is where people read of the change: the newest comment that tells of it, or the server's page.
func (a *account) url(publicURL string) string {
	page := strings.TrimSuffix(publicURL, "/")
	if page != "" {
		page += "/"
	}
	url := func(key string) string {
		for _, c := range a.comments {
			if c.Key == key && c.Page == 1 && c.URL != "" {
				return c.URL
			}
		}
		return ""
	}
	applies, _ := a.applies()
	for i := len(applies) - 1; i >= 0; i-- {
		if u := url(applies[i].key); u != "" {
			return u
		}
	}
	if u := url(keyPlan); u != "" {
		return u
	}
	return page
}
