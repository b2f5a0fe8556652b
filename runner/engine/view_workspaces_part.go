package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// WorkspacePlace is where a list of workspaces by repository and name goes on: after the one that it names.
type WorkspacePlace struct {
	Repository RepoID
	Name       string
}

// WorkspacePart is a part of the list of workspaces, by repository and name.
type WorkspacePart struct {
	Cards []WorkspaceCard
	More  bool // there are others after them
}

// readAtOnce is how many workspaces are read at once when most may not be what is looked for.
const readAtOnce = 1000

// WorkspacesAfter reads the workspaces that a filter chooses, from a place on. Other than Workspaces it reads of each table only
// what the part is made of, so that who reads all parts reads each row once. The filter's From counts for nothing.
func (v *Views) WorkspacesAfter(ctx context.Context, sight Sight, f WorkspaceFilter, after WorkspacePlace) (WorkspacePart, error) {
	var part WorkspacePart
	words := strings.Fields(strings.ToLower(f.Text))
	some := len(words) > 0 || f.State != "" || !sight.all
	atOnce := f.Limit + 1
	if some {
		atOnce = readAtOnce
	}
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		part = WorkspacePart{}
		for at := after; ; {
			condition, args := "(w.repository, w.name) > ($1, $2)", []any{string(at.Repository), at.Name, atOnce}
			switch {
			case f.Repository == "":
			case at.Repository > f.Repository:
				return nil
			case at.Repository == f.Repository:
				condition = "w.repository = $1 AND w.name > $2"
			default:
				condition, args = "w.repository = $1 AND w.name > $2", []any{string(f.Repository), "", atOnce}
			}
			cards, err := v.cardsOf(ctx, tx, atOnce, condition+" ORDER BY w.repository, w.name LIMIT $3", args...)
			if err != nil {
				return err
			}
			if !some {
				part.More = len(cards) > f.Limit
				part.Cards = cards[:min(len(cards), f.Limit)]
				return nil
			}
			for _, c := range cards {
				if !sight.Sees(c.Repository) || !f.chooses(c, words) {
					continue
				}
				if part.More = len(part.Cards) == f.Limit; part.More {
					return nil
				}
				part.Cards = append(part.Cards, c)
			}
			if len(cards) < atOnce {
				return nil
			}
			at = WorkspacePlace{cards[len(cards)-1].Repository, cards[len(cards)-1].Name}
		}
	})
	if err != nil {
		return WorkspacePart{}, fmt.Errorf("read the workspaces: %w", err)
	}
	return part, nil
}

// chooses reports whether a workspace fits the filter; words are those of its text.
func (f WorkspaceFilter) chooses(c WorkspaceCard, words []string) bool {
	return (f.Repository == "" || c.Repository == f.Repository) && contains(words, string(c.Repository), c.Name, c.Dir, c.AppliedCommit) &&
		(f.State == "" || c.State == f.State || f.State == StatePaused && c.Paused)
}
