package web

import (
	"context"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

type graphView struct {
	Repos   []chip
	Repo    string
	List    string // address of the repository's workspaces
	Count   string
	Problem string
	Drawing *drawing
	TooMany bool // to be drawn
	Legend  []mark
	Waves   []waveView
	Pages   pagesView
	Empty   bool
}

// waveView is workspaces that may be applied at the same time.
type waveView struct {
	Title string
	Nodes []nodeView
}

type nodeView struct {
	Name, URL string
	State     mark
	Needs     []link
	More      int // needs that are not named
}

func (v graphView) title() string {
	if v.Repo == "" {
		return "Graph"
	}
	return "Graph of " + v.Repo
}

// How much of a graph is drawn, and listed on a page.
const (
	drawnNodes  = 160
	listedNodes = 250
	namedNeeds  = 6
)

func (s *site) graph(ctx context.Context, q *query) (any, error) {
	repo, first := engine.RepoID(q.text("repo")), q.number("from")
	if q.wrong != "" {
		return nil, q
	}
	g, err := s.views.Graph(ctx, q.sight, repo)
	if err != nil {
		return nil, err
	}
	v := graphView{Empty: len(g.Nodes) == 0, Problem: sentence(g.Home.Problem)}
	if g.Home.ID != "" {
		v.Repo, v.List = repoName(g.Home.ID), address("/", "repo", string(g.Home.ID))
	}
	for _, r := range g.Repositories {
		if len(g.Repositories) > 1 && len(v.Repos) < 100 {
			v.Repos = append(v.Repos, chip{mark: mark{Word: repoName(r.ID)}, URL: address("/graph", "repo", string(r.ID)), Chosen: r.ID == g.Home.ID})
		}
	}
	v.Count = plural(len(g.Nodes), "workspace")
	joined := map[string]bool{}
	for _, n := range g.Nodes {
		for _, need := range n.Needs {
			joined[n.Name], joined[need] = true, true
		}
	}
	var drawn []engine.GraphNode
	for _, n := range g.Nodes {
		if joined[n.Name] {
			drawn = append(drawn, n)
		}
	}
	switch {
	case len(drawn) > drawnNodes:
		v.TooMany = true
	case len(drawn) > 0:
		v.Drawing = draw(drawn)
	}
	seen := map[engine.WorkspaceState]bool{}
	for _, n := range g.Nodes {
		seen[n.State] = true
	}
	for _, state := range engine.WorkspaceStates() {
		if seen[state] {
			v.Legend = append(v.Legend, markOf(state))
		}
	}
	first = min(first, len(g.Nodes))
	page := g.Nodes[first:min(len(g.Nodes), first+listedNodes)]
	last := -1
	for _, n := range page {
		if n.Wave != last {
			title := "Needs nothing"
			if n.Wave > 0 {
				title = "After " + plural(n.Wave, "step")
			}
			v.Waves, last = append(v.Waves, waveView{Title: title}), n.Wave
		}
		node := nodeView{Name: clean(n.Name), URL: workspaceURL(n.Repository, n.Name), State: markOf(n.State), More: max(0, len(n.Needs)-namedNeeds)}
		for _, need := range n.Needs[:min(len(n.Needs), namedNeeds)] {
			node.Needs = append(node.Needs, link{clean(need), workspaceURL(n.Repository, need)})
		}
		wave := &v.Waves[len(v.Waves)-1]
		wave.Nodes = append(wave.Nodes, node)
	}
	v.Pages = pagesOf(first, len(page), len(g.Nodes), listedNodes, func(n int) string {
		return address("/graph", "repo", string(g.Home.ID), "from", from(n))
	})
	return v, nil
}
