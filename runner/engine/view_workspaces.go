package engine

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/drift"
)

// WorkspaceFilter chooses workspaces of default branches. Zero fields choose all.
type WorkspaceFilter struct {
	Text       string // words that all stand in the repository, name, directory or commit
	State      WorkspaceState
	Repository RepoID
	From       int // how many to leave out first
	Limit      int // how many at most; 0 for none
}

// WorkspaceList is a page of workspaces, by repository and folder, so that those of one folder stand together.
type WorkspaceList struct {
	Cards        []WorkspaceCard
	Found        int                    // by the whole filter
	All          int                    // that there are
	States       map[WorkspaceState]int // how many of those that Text and Repository choose
	Repositories []Repository           // all of them, by id
}

// Workspaces reads a page of workspaces. Text and state are looked for in memory: what state a workspace is in follows from
// five tables, and both take milliseconds with ten thousand rows.
func (v *Views) Workspaces(ctx context.Context, sight Sight, f WorkspaceFilter) (WorkspaceList, error) {
	var l WorkspaceList
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		l = WorkspaceList{States: map[WorkspaceState]int{}}
		var err error
		if l.Repositories, err = v.store.repositories(ctx, tx, ""); err != nil {
			return err
		}
		l.Repositories = v.inSight(sight, l.Repositories)
		cards, err := v.cards(ctx, tx, "")
		if err != nil {
			return err
		}
		slices.SortStableFunc(cards, func(a, b WorkspaceCard) int {
			return cmp.Or(strings.Compare(string(a.Repository), string(b.Repository)), strings.Compare(folder(a.Dir), folder(b.Dir)))
		})
		cards = slices.DeleteFunc(cards, func(c WorkspaceCard) bool { return !sight.Sees(c.Repository) })
		l.All = len(cards)
		words := strings.Fields(strings.ToLower(f.Text))
		for _, c := range cards {
			if f.Repository != "" && c.Repository != f.Repository || !contains(words, string(c.Repository), c.Name, c.Dir, c.AppliedCommit) {
				continue
			}
			l.States[c.State]++
			if c.Paused && c.State != StatePaused {
				l.States[StatePaused]++
			}
			if f.State != "" && c.State != f.State && !(f.State == StatePaused && c.Paused) {
				continue
			}
			if l.Found++; l.Found > f.From && len(l.Cards) < f.Limit {
				l.Cards = append(l.Cards, c)
			}
		}
		return nil
	})
	if err != nil {
		return WorkspaceList{}, fmt.Errorf("read the workspaces: %w", err)
	}
	return l, nil
}

// folder is what a directory is in: "" at the top.
func folder(dir string) string { return dir[:max(0, strings.LastIndexByte(dir, '/'))] }

// cards reads how it stands with the workspaces of a repository, or of all with "", by repository, directory and name.
func (v *Views) cards(ctx context.Context, tx *sql.Tx, repo RepoID) ([]WorkspaceCard, error) {
	return v.cardsOf(ctx, tx, 0, "(w.repository = $1 OR $1 = '') ORDER BY w.repository, w.dir, w.name", string(repo))
}

// cardsOf reads how it stands with the workspaces that a condition chooses. With room for so many they are in the order of their
// keys, and of the other tables too only what lies between the first and the last of them is read.
func (v *Views) cardsOf(ctx context.Context, tx *sql.Tx, room int, condition string, args ...any) ([]WorkspaceCard, error) {
	cards, err := v.readCards(ctx, tx, room, condition, args...)
	if err != nil || len(cards) == 0 {
		return nil, err
	}
	var findings, changes string
	var between []any
	if room > 0 {
		first, last := cards[0], cards[len(cards)-1]
		findings = " AND (repository, workspace) >= ($1, $2) AND (repository, workspace) <= ($3, $4)"
		changes = " AND c.repository >= $1 AND c.repository <= $3 AND (r.repository, r.workspace) >= ($1, $2) AND (r.repository, r.workspace) <= ($3, $4)"
		between = []any{string(first.Repository), first.Name, string(last.Repository), last.Name}
	}
	type place struct {
		repo RepoID
		name string
	}
	at := make(map[place]*WorkspaceCard, len(cards))
	for i := range cards {
		at[place{cards[i].Repository, cards[i].Name}] = &cards[i]
	}
	pauses, err := v.store.pauses(ctx, tx)
	if err != nil {
		return nil, err
	}
	applying := map[place]bool{}
	if err := each(ctx, tx, func(row scanner) error {
		var p place
		err := row.Scan(&p.repo, &p.name)
		applying[p] = true
		return err
	}, "SELECT repository, workspace FROM run WHERE status = 'running' AND writes = 1"); err != nil {
		return nil, err
	}
	if err := each(ctx, tx, func(row scanner) error {
		var p place
		var class drift.Class
		var n int
		err := row.Scan(&p.repo, &p.name, &class, &n)
		if c := at[p]; c != nil {
			c.Findings += n
			if c.Class == "" || graver(class, c.Class) {
				c.Class = class
			}
		}
		return err
	}, "SELECT repository, workspace, class, COUNT(*) FROM finding WHERE gone_at = 0 AND noise = 0"+findings+" GROUP BY repository, workspace, class", between...); err != nil {
		return nil, err
	}
	if err := each(ctx, tx, func(row scanner) error {
		var p place
		var c ChangeCard
		err := row.Scan(&p.repo, &c.Number, &c.Title, &c.URL, &c.Run, &p.name, &c.Status)
		if card := at[p]; card != nil && c.Status != Unchanged {
			c.Title = v.plain.Line(c.Title)
			card.Changes = append(card.Changes, c)
		}
		return err
	}, `SELECT c.repository, c.number, c.title, c.url, r.id, r.workspace, r.status FROM change AS c JOIN run AS r ON r.operation = c.operation
		WHERE c.state = 'open' AND c.operation <> ''`+changes+" ORDER BY c.repository, c.number", between...); err != nil {
		return nil, err
	}
	for i := range cards {
		c := &cards[i]
		c.Paused = pausedBy(pauses, c.Repository, c.Name)
		c.Overdue = c.Overdue && !c.Paused
		if c.Sweep != SweepDrifted {
			c.Class = ""
		}
		c.State = c.stateOf(applying[place{c.Repository, c.Name}])
	}
	return cards, nil
}

// readCards reads what one query tells of workspaces. It reads rows into where they stay, and into types of the language: with
// ten thousand of them, copying and looking up types take as long as half of the query.
func (v *Views) readCards(ctx context.Context, tx *sql.Tx, room int, condition string, args ...any) ([]WorkspaceCard, error) {
	rows, err := tx.QueryContext(ctx, bareCards+condition, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	now, cards := millis(v.Now()), make([]WorkspaceCard, 0, room)
	var repo, last, sweep string
	var applied, checked, overdue int64
	for rows.Next() {
		cards = append(cards, WorkspaceCard{})
		c := &cards[len(cards)-1]
		if err := rows.Scan(&repo, &c.Name, &c.Dir, &c.AppliedCommit, &applied, &last, &sweep, &checked, &overdue); err != nil {
			return nil, err
		}
		c.Repository, c.LastStatus, c.Sweep = RepoID(repo), Status(last), SweepState(sweep)
		c.AppliedAt, c.CheckedAt, c.Overdue = moment(applied), moment(checked), overdue > 0 && overdue < now
	}
	return cards, rows.Err()
}

// bareCards is the query for that; a condition follows.
const bareCards = `SELECT w.repository, w.name, w.dir, w.applied_commit, w.applied_at, w.last_status, COALESCE(s.state, 'never'), COALESCE(s.checked_at, 0), COALESCE(s.overdue_at, 0)
	FROM workspace AS w LEFT JOIN sweep AS s ON s.repository = w.repository AND s.workspace = w.name AND s.gone = 0 WHERE w.present = 1 AND `

// stateOf is the state that wants somebody most.
func (c *WorkspaceCard) stateOf(applying bool) WorkspaceState {
	planned := false
	for _, change := range c.Changes {
		planned = planned || change.Status == Planned
	}
	switch {
	case applying:
		return StateApplying
	case c.LastStatus == Failed, c.LastStatus == Partly, c.LastStatus == Interrupted:
		return StateFailed
	case c.LastStatus == Held, c.LastStatus == Skipped:
		return StateHeld
	case c.Sweep == SweepDrifted:
		return StateDrifted
	case c.Sweep == SweepUnknown:
		return StateUnknown
	case c.Paused:
		return StatePaused
	case planned:
		return StatePlanned
	case c.Sweep == SweepClean:
		return StateInSync
	case !c.AppliedAt.IsZero():
		return StateApplied
	}
	return StateNew
}

// graver reports whether a class is more dangerous than another.
func graver(a, b drift.Class) bool {
	rank := map[drift.Class]int{drift.ClassCluster: 3, drift.ClassNode: 2, drift.ClassResource: 1}
	return rank[a] > rank[b]
}

// each runs a query and hands each of its rows on.
func each(ctx context.Context, tx *sql.Tx, scan func(row scanner) error, query string, args ...any) error {
	_, err := list(ctx, tx, func(row scanner) (struct{}, error) { return struct{}{}, scan(row) }, query, args...)
	return err
}
