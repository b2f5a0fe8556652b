package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/planstore"
)

// A status stands on a commit, and two pull requests may have the same head: into two branches, or opened twice. Whoever
// reports on one of them therefore sets what holds for all of them that are open: the worst verdict of each context, so
// that nothing is green that is not good everywhere.

// shared are the statuses that should stand now, with what other open changes at the same head have to say. others are
// those changes, as they were read.
func (e *Engine) shared(ctx context.Context, plans *planstore.Store, a *account) (all []stated, others []*account, err error) {
	own, err := e.statusesOf(ctx, plans, a)
	if err != nil || a.who.Change == 0 || a.change.Head.Commit == "" {
		return own, nil, err
	}
	var rows []ReportRow
	err = e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		rows, err = e.store.reportsAt(ctx, tx, a.repository.ID, a.change.Head.Commit, a.who.Change)
		return err
	})
	if err != nil || len(rows) == 0 {
		return own, nil, err
	}
	head := a.change.Head.Commit
	if a.change.State != forge.Open { // it has no say any more in what the others may do
		own = slices.DeleteFunc(own, func(s stated) bool { return s.commit == head })
	}
	sayings := []changeSays{{a.who.Change, own}}
	for _, row := range rows {
		other, err := e.readAccount(ctx, row)
		if err != nil {
			return nil, nil, err
		}
		if !other.known || other.change.State != forge.Open || other.change.Head.Commit != head {
			continue
		}
		theirs, err := e.statusesOf(ctx, plans, other)
		if err != nil {
			return nil, nil, err
		}
		others = append(others, other)
		sayings = append(sayings, changeSays{other.who.Change, slices.DeleteFunc(theirs, func(s stated) bool { return s.commit != head })})
	}
	if len(others) == 0 {
		return own, nil, nil
	}
	return worst(sayings, head), others, nil
}

// changeSays is what one change has to say.
type changeSays struct {
	change   int
	statuses []stated
}

// worst joins statuses: of one context on the commit that is shared, the worst verdict stands, with the number of its
// change. Of equal ones that of the lowest number does, so that all come to the same.
func worst(all []changeSays, head string) []stated {
	slices.SortFunc(all, func(a, b changeSays) int { return a.change - b.change })
	rank := func(s forge.StatusState) int {
		return slices.Index([]forge.StatusState{forge.Success, forge.Pending, forge.Failure, forge.Error}, s)
	}
	var joined []stated
	at := map[string]int{}
	for _, one := range all {
		for _, s := range one.statuses {
			if s.commit != head {
				joined = append(joined, s)
				continue
			}
			s.Description = fmt.Sprintf("#%d: %s", one.change, s.Description)
			i, known := at[s.Context]
			switch {
			case !known:
				at[s.Context] = len(joined)
				joined = append(joined, s)
			case rank(s.State) > rank(joined[i].State):
				joined[i] = s
			}
		}
	}
	return joined
}

// statusesOf are the statuses that should stand for one change alone. Those of workspaces that were set before the change
// began to wait say the same as its own: what they told of is not what would be merged now.
func (e *Engine) statusesOf(ctx context.Context, plans *planstore.Store, a *account) ([]stated, error) {
	all, err := e.statuses(plans, a)
	if err != nil || !a.waits() || len(all) == 0 {
		return all, err
	}
	var known map[string]string
	err = e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		known, err = e.store.statuses(ctx, tx, a.repository.ID, a.change.Head.Commit)
		return err
	})
	if err != nil {
		return nil, err
	}
	var contexts []string
	for name := range known {
		if strings.HasPrefix(name, statusContext+"/") {
			contexts = append(contexts, name)
		}
	}
	slices.Sort(contexts)
	for _, name := range contexts {
		s := all[0]
		s.Context = name
		all = append(all, s)
	}
	return all, nil
}

// tellAgainIfMoved asks for the report once more if one of the changes at the same head has had news since it was read:
// whoever reported on that one may have been quicker.
func (e *Engine) tellAgainIfMoved(ctx context.Context, a *account, others []*account) error {
	for _, other := range others {
		var now ReportRow
		err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			now, _, err = e.store.reportOf(ctx, tx, other.who)
			return err
		})
		if err != nil {
			return err
		}
		if now.Wanted == other.wanted {
			continue
		}
		saving := context.WithoutCancel(ctx)
		return e.DB.Tx(saving, func(tx *sql.Tx) error { return e.wantReport(saving, tx, a.who, false) })
	}
	return nil
}

// reportsAt reads the reports of the open changes whose head is a commit, but for one of them, by their numbers.
func (s *store) reportsAt(ctx context.Context, tx *sql.Tx, repo RepoID, commit string, except int) ([]ReportRow, error) {
	all, err := list(ctx, tx, scanReport, "SELECT "+reportColumns+` FROM report WHERE repository = $1 AND operation = '' AND change_number IN
		(SELECT number FROM change WHERE repository = $1 AND head_commit = $2 AND state = 'open' AND number <> $3) ORDER BY change_number`,
		string(repo), commit, except)
	if err != nil {
		return nil, fmt.Errorf("read which changes of %s are at %s: %w", repo, commit, err)
	}
	return all, nil
}

// reportOf reads the report of a subject.
func (s *store) reportOf(ctx context.Context, tx *sql.Tx, who Subject) (ReportRow, bool, error) {
	return first(ctx, tx, scanReport, "SELECT "+reportColumns+" FROM report WHERE repository = $1 AND change_number = $2 AND operation = $3",
		string(who.Repository), who.Change, who.Operation)
}

// wantOthers asks for a report on the open changes that had the same head as a change, which has another one now or is
// not open any more.
func (e *Engine) wantOthers(ctx context.Context, tx *sql.Tx, before ChangeRow) error {
	rows, err := e.store.reportsAt(ctx, tx, before.Repository, before.Head.Commit, before.Number)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := e.wantReport(ctx, tx, row.Subject, true); err != nil {
			return err
		}
	}
	return nil
}
