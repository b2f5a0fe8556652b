package runner

import (
	"context"
	"slices"

	"github.com/plumbline-dev/plumbline/workspaces"
)

type walkOptions struct {
	// All is the whole graph, dependencies first. A dependency that leads
	// through a workspace that is not selected still orders those that are.
	All []*workspaces.Workspace
	// Selected is what is run.
	Selected []*workspaces.Workspace
	// Parallel is how many run at once, at least 1.
	Parallel int
	// Do runs one workspace. Needs are the results of the selected workspaces
	// that it depends on, directly or through others.
	Do func(ctx context.Context, w *workspaces.Workspace, needs []Result) Result
}

// walk runs each selected workspace once, after all that it depends on, and
// returns their results in the order of the graph. Do is called for every
// workspace even when the context ends, so that each has its result.
func walk(ctx context.Context, o walkOptions) []Result {
	order, needs := plot(o.All, o.Selected)

	results := make([]Result, len(order))
	unmet := make([]int, len(order))
	dependents := make([][]int, len(order))
	var ready []int
	for i, ns := range needs {
		unmet[i] = len(ns)
		for _, n := range ns {
			dependents[n] = append(dependents[n], i)
		}
		if len(ns) == 0 {
			ready = append(ready, i)
		}
	}

	ended := make(chan int)
	running := 0
	for range order {
		for running < o.Parallel && len(ready) > 0 {
			i := ready[0]
			ready = ready[1:]
			running++
			needed := make([]Result, len(needs[i]))
			for k, n := range needs[i] {
				needed[k] = results[n]
			}
			go func() {
				results[i] = o.Do(ctx, order[i], needed)
				ended <- i
			}()
		}
		i := <-ended
		running--
		for _, d := range dependents[i] {
			if unmet[d]--; unmet[d] == 0 {
				at, _ := slices.BinarySearch(ready, d)
				ready = slices.Insert(ready, at, d)
			}
		}
	}
	return results
}

// plot returns the selected workspaces in the order of the graph, and for each
// of them the positions of those it must wait for.
func plot(all, selected []*workspaces.Workspace) ([]*workspaces.Workspace, [][]int) {
	wanted := make(map[string]*workspaces.Workspace, len(selected))
	for _, w := range selected {
		wanted[w.Name] = w
	}
	var order []*workspaces.Workspace
	position := map[string]int{}
	var needs [][]int
	// reach maps each workspace, selected or not, to the selected ones that
	// come before it. The graph is in order, so one pass settles it.
	reach := map[string]map[int]bool{}
	for _, w := range all {
		before := map[int]bool{}
		for _, dep := range w.DependsOn {
			if p, ok := position[dep]; ok {
				before[p] = true
			}
			for p := range reach[dep] {
				before[p] = true
			}
		}
		reach[w.Name] = before
		mine, ok := wanted[w.Name]
		if !ok {
			continue
		}
		position[w.Name] = len(order)
		order = append(order, mine)
		waits := make([]int, 0, len(before))
		for p := range before {
			waits = append(waits, p)
		}
		slices.Sort(waits)
		needs = append(needs, waits)
	}
	// Removed workspaces are selected but no longer in the graph.
	for _, w := range selected {
		if _, ok := position[w.Name]; !ok {
			position[w.Name] = len(order)
			order = append(order, w)
			needs = append(needs, nil)
		}
	}
	return order, needs
}
