package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// GraphView is the order in which the workspaces of a repository are applied.
type GraphView struct {
	Repositories []Repository
	Home         Repository  // whose order it is; zero when there is no repository
	Nodes        []GraphNode // by wave, then by name
}

// GraphNode is a workspace in the order.
type GraphNode struct {
	WorkspaceCard
	Needs []string // workspaces of the same repository that are applied first
	Wave  int      // how many others must be applied one after the other before it: 0 for those that need nothing
}

// Graph reads the order of a repository, or of the first that has workspaces with "".
func (v *Views) Graph(ctx context.Context, sight Sight, repo RepoID) (GraphView, error) {
	var g GraphView
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		g = GraphView{}
		var err error
		if g.Repositories, err = v.store.repositories(ctx, tx, ""); err != nil {
			return err
		}
		g.Repositories = v.inSight(sight, g.Repositories)
		if repo == "" {
			h, err := v.horizon(ctx, tx, sight)
			if err != nil {
				return err
			}
			seen, args := h.where("repository")
			some, ok, err := first(ctx, tx, scanText, "SELECT repository FROM workspace WHERE present = 1"+seen+" ORDER BY repository LIMIT 1", args...)
			if err != nil || !ok && len(g.Repositories) == 0 {
				return err
			}
			if !ok {
				some = string(g.Repositories[0].ID)
			}
			repo = RepoID(some)
		}
		if g.Home, err = v.repositoryOf(ctx, tx, sight, repo); err != nil {
			return err
		}
		cards, err := v.cards(ctx, tx, repo)
		if err != nil {
			return err
		}
		needs, err := v.needs(ctx, tx, repo)
		if err != nil {
			return err
		}
		g.Nodes = graphOf(cards, needs)
		return nil
	})
	if err != nil {
		return GraphView{}, fmt.Errorf("read the order: %w", err)
	}
	return g, nil
}

// graphOf puts workspaces in order. What needs itself, which no plumbline.yaml may say, counts as needing nothing more.
func graphOf(cards []WorkspaceCard, needs map[string][]string) []GraphNode {
	present := make(map[string]bool, len(cards))
	for _, c := range cards {
		present[c.Name] = true
	}
	waves := make(map[string]int, len(cards))
	var wave func(name string) int
	wave = func(name string) int {
		if w, ok := waves[name]; ok {
			return w
		}
		waves[name] = 0
		deepest := 0
		for _, need := range needs[name] {
			if present[need] {
				deepest = max(deepest, wave(need)+1)
			}
		}
		waves[name] = deepest
		return deepest
	}
	nodes := make([]GraphNode, 0, len(cards))
	for _, c := range cards {
		n := GraphNode{WorkspaceCard: c, Wave: wave(c.Name)}
		for _, need := range needs[c.Name] {
			if present[need] {
				n.Needs = append(n.Needs, need)
			}
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b GraphNode) int {
		if a.Wave != b.Wave {
			return a.Wave - b.Wave
		}
		return strings.Compare(a.Name, b.Name)
	})
	return nodes
}
