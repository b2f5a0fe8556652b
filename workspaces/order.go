package workspaces

import (
	"container/heap"
	"slices"
)

// inGraphOrder sorts workspaces so that each comes after those it depends on,
// and by name where that leaves the choice. If there are circles, there is no
// order: each circle is returned as a path that ends where it begins.
func inGraphOrder(all []*Workspace) (ordered []*Workspace, circles [][]string) {
	if !slices.ContainsFunc(all, func(w *Workspace) bool { return len(w.DependsOn) > 0 }) {
		return slices.SortedFunc(slices.Values(all), compareNames), nil
	}
	byName := make(map[string]*Workspace, len(all))
	waiting := make(map[string]int, len(all))
	dependents := map[string][]*Workspace{}
	ready := &byNameHeap{}
	for _, w := range all {
		byName[w.Name] = w
		waiting[w.Name] = len(w.DependsOn)
		for _, name := range w.DependsOn {
			dependents[name] = append(dependents[name], w)
		}
		if len(w.DependsOn) == 0 {
			*ready = append(*ready, w)
		}
	}
	heap.Init(ready)
	ordered = make([]*Workspace, 0, len(all))
	for ready.Len() > 0 {
		w := heap.Pop(ready).(*Workspace)
		ordered = append(ordered, w)
		for _, dependent := range dependents[w.Name] {
			if waiting[dependent.Name]--; waiting[dependent.Name] == 0 {
				heap.Push(ready, dependent)
			}
		}
	}
	if len(ordered) == len(all) {
		return ordered, nil
	}
	return nil, findCircles(all, byName)
}

// findCircles walks depth first and returns each circle that it closes, from
// its first name in the alphabet on.
func findCircles(all []*Workspace, byName map[string]*Workspace) [][]string {
	var circles [][]string
	var stack []string
	done := map[string]bool{}
	var visit func(w *Workspace)
	visit = func(w *Workspace) {
		if i := slices.Index(stack, w.Name); i >= 0 {
			circle := slices.Clone(stack[i:])
			first := slices.Index(circle, slices.Min(circle))
			circle = append(circle[first:], circle[:first]...)
			circles = append(circles, append(circle, circle[0]))
			return
		}
		if done[w.Name] {
			return
		}
		stack = append(stack, w.Name)
		for _, name := range w.DependsOn {
			if next := byName[name]; next != nil {
				visit(next)
			}
		}
		stack = stack[:len(stack)-1]
		done[w.Name] = true
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, compareNames)
	for _, w := range sorted {
		visit(w)
	}
	return circles
}

func compareNames(a, b *Workspace) int {
	switch {
	case a.Name < b.Name:
		return -1
	case a.Name > b.Name:
		return 1
	}
	return 0
}

// byNameHeap implements heap.Interface: the smallest name on top.
type byNameHeap []*Workspace

func (h byNameHeap) Len() int           { return len(h) }
func (h byNameHeap) Less(i, j int) bool { return h[i].Name < h[j].Name }
func (h byNameHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byNameHeap) Push(x any)        { *h = append(*h, x.(*Workspace)) }

func (h *byNameHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	*h = old[:len(old)-1]
	return w
}
