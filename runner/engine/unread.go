package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// While plumbline.yaml of a branch has mistakes nobody can tell what a merge touches, nor what guards it. So what is merged
// then gets an operation without runs, which is unread; its change and all open ones are told. Once a merge or a push
// mends the file, what is unread is caught up with: each change gets an apply of its own, in the order of the branch, at the
// commit that mends the file and under the rules that counted before it was broken. What nobody has reviewed is held.

// footing is what a part of a branch's way is judged by.
type footing struct {
	ground
	late    []Operation // what is unread, oldest first: to be caught up with
	unread  bool        // of this part, too, nobody can tell what it touches
	changed []string    // commits of pushes that it takes along
}

// footing finds out what a part of a branch's way touches.
func (h *errand) footing(ctx context.Context, branch string, span gitrepo.Span) (f footing, err error) {
	err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		f.late, err = h.store.unread(ctx, tx, h.repo.ID, branch)
		return err
	})
	if err != nil {
		return f, err
	}
	mirror, err := h.clone(ctx, h.repo)
	if err != nil {
		return f, err
	}
	base := span.From
	if len(f.late) > 0 {
		base = f.late[0].BaseCommit // the last one that could be read
	}
	f.ground, err = h.surveyBy(ctx, mirror, mirror.guardedMerge, branch, base, span.From, span.To)
	var broken *brokenError
	if errors.As(err, &broken) && broken.base {
		// The branch was broken when it was first seen: there is nothing to compare with.
		f.ground, err = h.surveyBy(ctx, mirror, mirror.guardedMerge, branch, span.To, span.From, span.To)
		f.Scratch = true
	}
	if errors.As(err, &broken) {
		f.unread = true
		f.ground = ground{Base: span.From, Commit: span.To, Notes: []string{
			fmt.Sprintf("Nothing was applied yet: `%s` of %s cannot be used, so nobody can tell what this touches and what guards it. Once that file is mended there, this is caught up with and told of here. %s",
				workspaces.ConfigFile, codeName(branch), problemList(broken.problems))}}
		return f, nil
	}
	if err != nil {
		return f, err
	}
	// Pushes have nobody who waits for them in a pull request: what they touch goes along with what mends the file.
	for _, op := range f.late {
		if op.Change != 0 {
			continue
		}
		more, err := h.touched(ctx, mirror, f.ground, op)
		if err != nil {
			return f, err
		}
		f.Affected = merged(f.Set, f.Affected, more)
		f.changed = append(f.changed, short(op.Commit))
	}
	if len(f.changed) > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("This catches up with %s too, which came while `%s` could not be used.", names(f.changed), workspaces.ConfigFile))
	}
	return f, nil
}

// problemList lists mistakes in one line.
func problemList(problems []workspaces.Problem) string {
	var all []string
	for _, p := range problems[:min(len(problems), 5)] {
		all = append(all, sentence(strings.ReplaceAll(p.Error(), "\n", " ")))
	}
	if more := len(problems) - len(all); more > 0 {
		all = append(all, fmt.Sprintf("And %d more.", more))
	}
	return strings.Join(all, " ")
}

// touched are the workspaces of a ground that an unread operation touches.
func (h *errand) touched(ctx context.Context, mirror *clone, g ground, op Operation) ([]*workspaces.Workspace, error) {
	changed, err := mirror.changed(ctx, op.BaseCommit, op.Commit)
	if err != nil {
		return nil, err
	}
	return workspaces.Affected(g.BaseSet, g.Set, changed), nil
}

// merged joins two lists of workspaces, in the order of the set. Those that are gone come last.
func merged(set *workspaces.Set, a, b []*workspaces.Workspace) []*workspaces.Workspace {
	have := map[string]*workspaces.Workspace{}
	for _, w := range slices.Concat(b, a) {
		have[w.Name] = w
	}
	var all []*workspaces.Workspace
	for _, w := range set.Workspaces {
		if found := have[w.Name]; found != nil {
			all = append(all, found)
			delete(have, w.Name)
		}
	}
	for _, w := range slices.Concat(a, b) {
		if have[w.Name] == w {
			all = append(all, w)
		}
	}
	return all
}

// lateApply is the apply that catches up with a change.
type lateApply struct {
	op   Operation
	runs []Run
	all  []judged
}

// catchUp makes the applies of the changes that are unread.
func (h *errand) catchUp(ctx context.Context, branch string, span gitrepo.Span, f footing, eventAt time.Time) ([]lateApply, error) {
	if f.unread {
		return nil, nil
	}
	var applies []lateApply
	for _, was := range f.late {
		if was.Change == 0 {
			continue
		}
		mirror, err := h.clone(ctx, h.repo)
		if err != nil {
			return nil, err
		}
		g := f.ground
		if g.Affected, err = h.touched(ctx, mirror, f.ground, was); err != nil {
			return nil, err
		}
		var row ChangeRow
		err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			row, _, err = h.store.change(ctx, tx, h.repo.ID, was.Change)
			return err
		})
		if err != nil {
			return nil, err
		}
		all, err := h.judgeSpan(ctx, gitrepo.Span{Change: was.Change, From: was.BaseCommit, To: was.Commit}, row, g)
		if err != nil {
			return nil, err
		}
		l := lateApply{all: all, op: Operation{
			Repository: h.repo.ID, Change: was.Change, Kind: KindApply, Cause: CauseMerged, Actor: was.Actor, Branch: branch,
			BaseCommit: f.Base, HeadCommit: row.Head.Commit, Commit: span.To, EventAt: eventAt,
			Notes: []string{fmt.Sprintf("This catches up with the merge: `%s` can be used again as of %s, and what is run is the branch as it is there.", workspaces.ConfigFile, short(span.To))},
		}}
		if l.runs, err = h.applyRuns(&l.op, f.Set, all); err != nil {
			return nil, err
		}
		applies = append(applies, l)
	}
	return applies, nil
}

// tellUnread has the other open changes looked at: they cannot be planned on a branch whose plumbline.yaml has mistakes.
func (e *Engine) tellUnread(ctx context.Context, tx *sql.Tx, op Operation) error {
	open, err := e.store.openChanges(ctx, tx, op.Repository, op.Branch)
	if err != nil {
		return err
	}
	for _, row := range open {
		if row.Number != op.Change && row.Operation != "" {
			if err := e.send(ctx, tx, op.Repository, eventStale, row.Number, op.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// unread reads what came to a branch and is to be caught up with, oldest first.
func (s *store) unread(ctx context.Context, tx *sql.Tx, repo RepoID, branch string) ([]Operation, error) {
	all, err := list(ctx, tx, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE repository = $1 AND branch = $2 AND unread = 1 ORDER BY seq",
		string(repo), branch)
	if err != nil {
		return nil, fmt.Errorf("read what is to be caught up with of %s of %s: %w", branch, repo, err)
	}
	return all, nil
}

// caughtUp notes that nothing of a branch is unread any more.
func (s *store) caughtUp(ctx context.Context, tx *sql.Tx, repo RepoID, branch string) error {
	_, err := tx.ExecContext(ctx, "UPDATE operation SET unread = 2 WHERE repository = $1 AND branch = $2 AND unread = 1", string(repo), branch)
	if err != nil {
		return fmt.Errorf("note that %s of %s is caught up with: %w", branch, repo, err)
	}
	return nil
}
