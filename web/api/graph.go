package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Graph is a part of the order in which the workspaces of a repository are applied.
type Graph struct {
	Repository string      `json:"repository"`
	Problem    string      `json:"problem"` // why nothing can be done with the repository now
	Items      []GraphNode `json:"items"`   // by wave, then by name
	Next       *string     `json:"next"`
}

// GraphNode is a workspace in the order.
type GraphNode struct {
	Name  string   `json:"name"`
	Dir   string   `json:"dir"`
	State string   `json:"state"`
	Wave  int      `json:"wave"`  // how many others must be applied one after the other before it
	Needs []string `json:"needs"` // workspaces of the same repository that are applied first
}

func (a *API) graph(c *call) work {
	repo, limit := engine.RepoID(c.named("repository")), c.limit()
	wave, after := 0, ""
	if parts := c.cursor("graph", 2); parts != nil {
		var err error
		if wave, err = strconv.Atoi(parts[0]); err != nil || wave < 0 {
			c.fail("cursor", "is not one that this list has given: take it from next, as it is")
		}
		after = parts[1]
	}
	return func(ctx context.Context) (any, error) {
		g, err := a.Views.Graph(ctx, c.sight, repo)
		if err != nil {
			return nil, err
		}
		from, found := slices.BinarySearchFunc(g.Nodes, after, func(n engine.GraphNode, name string) int {
			return cmp.Or(n.Wave-wave, cmp.Compare(n.Name, name))
		})
		if found {
			from++
		}
		nodes := g.Nodes[from:min(len(g.Nodes), from+limit)]
		v := Graph{Repository: string(g.Home.ID), Problem: g.Home.Problem, Items: all(nodes, func(n engine.GraphNode) GraphNode {
			return GraphNode{n.Name, n.Dir, word(n.State), n.Wave, texts(n.Needs)}
		})}
		if n := len(nodes); from+n < len(g.Nodes) {
			v.Next = c.next("graph", strconv.Itoa(nodes[n-1].Wave), nodes[n-1].Name)
		}
		return v, nil
	}
}
