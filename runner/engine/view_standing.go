package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// Standing is how it stands with everything in a few numbers, and what wants somebody.
type Standing struct {
	All          int                    // workspaces
	States       map[WorkspaceState]int // of them
	Overdue      int                    // workspaces that were not looked at for twice their interval
	Findings     int                    // resources that differ, noise excepted
	Running      int                    // runs
	Waiting      int                    // runs that have not begun
	Retries      int                    // what failed and is tried again
	Repositories int
	Problems     []Repository // with which nothing can be done now
	Pauses       []Pause
	// Wanting are the workspaces that want somebody, the most urgent first; More are not among them.
	Wanting []WorkspaceCard
	More    int
}

// standingCards is how many workspaces that want somebody are named.
const standingCards = 200

// wants reports whether a workspace is in a state that does not mend itself.
func (c *WorkspaceCard) wants() bool {
	return c.Overdue || slices.Contains([]WorkspaceState{StateFailed, StateHeld, StateDrifted, StateUnknown}, c.State)
}

// Standing reads it.
func (v *Views) Standing(ctx context.Context, sight Sight) (Standing, error) {
	var s Standing
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		s = Standing{States: map[WorkspaceState]int{}}
		repositories, err := v.store.repositories(ctx, tx, "")
		if err != nil {
			return err
		}
		for _, r := range v.inSight(sight, repositories) {
			s.Repositories++
			if r.Problem != "" {
				s.Problems = append(s.Problems, r)
			}
		}
		if s.Pauses, err = v.store.pauses(ctx, tx); err != nil {
			return err
		}
		s.Pauses = v.pausesInSight(sight, s.Pauses)
		cards, err := v.cards(ctx, tx, "")
		if err != nil {
			return err
		}
		for _, c := range cards {
			if !sight.Sees(c.Repository) {
				continue
			}
			s.All++
			s.States[c.State]++
			s.Findings += c.Findings
			if c.Overdue {
				s.Overdue++
			}
			if c.wants() {
				s.Wanting = append(s.Wanting, c)
			}
		}
		order := WorkspaceStates()
		slices.SortStableFunc(s.Wanting, func(a, b WorkspaceCard) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
		if s.More = max(0, len(s.Wanting)-standingCards); s.More > 0 {
			s.Wanting = s.Wanting[:standingCards]
		}
		h, err := v.horizon(ctx, tx, sight)
		if err != nil {
			return err
		}
		seen, args := h.where("repository")
		if err := each(ctx, tx, func(row scanner) error {
			var status Status
			var n int
			err := row.Scan(&status, &n)
			if status == Running {
				s.Running += n
			} else {
				s.Waiting += n
			}
			return err
		}, "SELECT status, COUNT(*) FROM run WHERE status IN ('waiting', 'queued', 'running')"+seen+" GROUP BY status", args...); err != nil {
			return err
		}
		retries, err := v.retries(ctx, tx, h)
		s.Retries = len(retries)
		return err
	})
	if err != nil {
		return Standing{}, fmt.Errorf("read how it stands: %w", err)
	}
	return s, nil
}

// Repositories reads all repositories, by id.
func (v *Views) Repositories(ctx context.Context, sight Sight) ([]Repository, error) {
	var all []Repository
	err := v.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		all, err = v.store.repositories(ctx, tx, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return v.inSight(sight, all), nil
}
