package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/plumbline-dev/plumbline/workspaces"
)

func TestWalkKeepsTheOrderOfTheGraph(t *testing.T) {
	for _, c := range []struct {
		name     string
		graph    string // "name<dep,dep name …", dependencies first
		selected string
		waits    map[string]string
	}{
		{"a chain", "a b<a c<b", "a b c", map[string]string{"b": "a", "c": "a b"}},
		{"a gap in the middle still orders the ends", "a b<a c<b", "a c", map[string]string{"c": "a"}},
		{"a diamond", "a b<a c<a d<b,c", "a b c d", map[string]string{"b": "a", "c": "a", "d": "a b c"}},
		{"unrelated", "a b c", "a b c", nil},
		{"removed ones wait for nothing", "a b<a", "a b gone", map[string]string{"b": "a"}},
	} {
		for _, parallel := range []int{1, 2, 8} {
			t.Run(fmt.Sprintf("%s at %d", c.name, parallel), func(t *testing.T) {
				var all []*workspaces.Workspace
				for _, f := range strings.Fields(c.graph) {
					name, deps, _ := strings.Cut(f, "<")
					w := &workspaces.Workspace{Name: name}
					if deps != "" {
						w.DependsOn = strings.Split(deps, ",")
					}
					all = append(all, w)
				}
				var selected []*workspaces.Workspace
				for _, name := range strings.Fields(c.selected) {
					i := slices.IndexFunc(all, func(w *workspaces.Workspace) bool { return w.Name == name })
					if i < 0 {
						selected = append(selected, &workspaces.Workspace{Name: name})
						continue
					}
					selected = append(selected, all[i])
				}
				// The order in which the caller names them must not matter.
				slices.Reverse(selected)

				var mu sync.Mutex
				ended := map[string]bool{}
				running, most := 0, 0
				results := walk(context.Background(), walkOptions{All: all, Selected: selected, Parallel: parallel,
					Do: func(_ context.Context, w *workspaces.Workspace, needs []Result) Result {
						mu.Lock()
						running++
						most = max(most, running)
						var got []string
						for _, n := range needs {
							got = append(got, n.Workspace.Name)
							if !ended[n.Workspace.Name] {
								t.Errorf("%s started before %s ended", w.Name, n.Workspace.Name)
							}
						}
						if want := c.waits[w.Name]; strings.Join(got, " ") != want {
							t.Errorf("%s was given the results of %q, want %q", w.Name, strings.Join(got, " "), want)
						}
						mu.Unlock()
						mu.Lock()
						defer mu.Unlock()
						running--
						ended[w.Name] = true
						return Result{Workspace: w}
					}})
				if most > parallel {
					t.Errorf("%d ran at once, want at most %d", most, parallel)
				}
				var got []string
				for _, r := range results {
					got = append(got, r.Workspace.Name)
				}
				if strings.Join(got, " ") != c.selected {
					t.Errorf("results in the order %q, want %q", strings.Join(got, " "), c.selected)
				}
			})
		}
	}
}
