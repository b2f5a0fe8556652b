package atlantis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxEdges bounds the depends_on that groups turn into: every workspace of a group names all those of the group before.
const maxEdges = 20_000

// name gives every entry a name that no other has, and leaves out those that would share a state with an earlier one.
func (m *migration) name() {
	names := map[string]bool{}
	states := map[string]string{}
	for _, e := range m.entries {
		if e.leftOut != nil {
			continue
		}
		state := strings.Join(append([]string{e.Dir, orDefault(e.Workspace)}, e.BackendConfig...), "\x00")
		if first, taken := states[state]; taken {
			e.leave(m.note(e.project.line, e.at, "left out: it has the directory, the Terraform workspace and the backend settings of %s, so both would write one state", quote(first)))
			continue
		}
		wanted := e.Name
		if wanted == "" {
			wanted = e.ownName()
		}
		name := wanted
		for i := 2; names[name]; i++ {
			name = fmt.Sprintf("%s-%d", wanted, i)
		}
		if name != wanted {
			m.noteAt(e, "name", e.project.line, "name", "%s is taken by another workspace", quote(wanted))
		}
		names[name] = true
		states[state] = name
		e.Name = name
	}
}

// ownName is the name that a workspace has without being given one.
func (e *entry) ownName() string {
	if e.Workspace == "" {
		return e.Dir
	}
	return e.Dir + "@" + e.Workspace
}

// order fills depends_on from Atlantis' depends_on and execution_order_group.
func (m *migration) order() {
	kept := m.kept()
	m.dependsOn(kept)
	m.raiseGroups(kept)
	groups := map[int][]*entry{}
	for _, e := range kept {
		groups[e.group] = append(groups[e.group], e)
	}
	numbers := slices.Sorted(maps.Keys(groups))
	if len(numbers) < 2 {
		return
	}
	edges := 0
	for i := 1; i < len(numbers); i++ {
		edges += len(groups[numbers[i-1]]) * len(groups[numbers[i]])
		if edges > maxEdges {
			m.noteTop(firstGroup(kept), "execution_order_group",
				"not translated: the groups are so large that naming every dependency would take more than %d names; set depends_on where it matters", maxEdges)
			return
		}
	}
	if m.in.AbortOnOrderFail.Line == 0 {
		m.noteTop(firstGroup(kept), "execution_order_group",
			"groups are dependencies here, so when a workspace fails those of later groups are held; Atlantis went on, because abort_on_execution_order_fail is not set")
	}
	for i := 1; i < len(numbers); i++ {
		// A workspace of the group before that another one there waits for is waited for through that one.
		var last []string
		before := groups[numbers[i-1]]
		waitedFor := map[string]bool{}
		for _, e := range before {
			for _, name := range e.DependsOn {
				waitedFor[name] = true
			}
		}
		for _, e := range before {
			if !waitedFor[e.Name] {
				last = append(last, e.Name)
			}
		}
		for _, e := range groups[numbers[i]] {
			for _, name := range last {
				e.DependsOn = appendNew(e.DependsOn, name)
			}
		}
	}
}

// firstGroup returns the first line that names a group.
func firstGroup(kept []*entry) int {
	for _, e := range kept {
		if line := e.project.Group.Line; line > 0 {
			return line
		}
	}
	return 0
}

func (m *migration) kept() []*entry {
	var kept []*entry
	for _, e := range m.entries {
		if e.leftOut == nil {
			kept = append(kept, e)
		}
	}
	return kept
}

// dependsOn turns names of projects into names of workspaces, and drops those that would close a cycle.
func (m *migration) dependsOn(kept []*entry) {
	byProject := map[string][]*entry{}
	for _, e := range kept {
		if name := e.project.Name.Value; name != "" {
			byProject[name] = append(byProject[name], e)
		}
	}
	type edge struct {
		to   *entry
		item text
	}
	edges := map[*entry][]edge{}
	for _, e := range kept {
		for _, item := range e.project.DependsOn.Items {
			for _, target := range byProject[item.Value] {
				edges[e] = append(edges[e], edge{target, item})
			}
			if len(byProject[item.Value]) == 0 {
				m.noteAt(e, "depends_on", item.Line, "depends_on", "%s is not the name of a project that is written here", quote(item.Value))
			}
		}
	}
	// Walk depth first; an edge back to an entry that the walk is still in would close a cycle.
	const waiting, done = 1, 2
	state := map[*entry]int{}
	for _, root := range kept {
		stack := []*entry{root}
		for len(stack) > 0 {
			e := stack[len(stack)-1]
			if state[e] == done {
				stack = stack[:len(stack)-1]
				continue
			}
			state[e] = waiting
			if len(edges[e]) == 0 {
				state[e] = done
				continue
			}
			next := edges[e][0]
			edges[e] = edges[e][1:]
			if state[next.to] == waiting {
				m.noteAt(e, "depends_on", next.item.Line, "depends_on", "%s waits for this workspace, directly or through others; a cycle cannot be run", quote(next.item.Value))
				continue
			}
			e.DependsOn = appendNew(e.DependsOn, next.to.Name)
			if state[next.to] == 0 {
				stack = append(stack, next.to)
			}
		}
	}
}

// raiseGroups moves a workspace that waits for one of a later group into that group. Every dependency then leads to the
// same group or an earlier one, so that adding those between groups cannot make a cycle.
func (m *migration) raiseGroups(kept []*entry) {
	byName := map[string]*entry{}
	for _, e := range kept {
		byName[e.Name] = e
	}
	// Dependencies before dependents, each once; there are no cycles.
	var sorted []*entry
	const waiting, done = 1, 2
	state := map[*entry]int{}
	for _, root := range kept {
		stack := []*entry{root}
		for len(stack) > 0 {
			e := stack[len(stack)-1]
			switch state[e] {
			case 0:
				state[e] = waiting
				for _, name := range e.DependsOn {
					if next := byName[name]; state[next] == 0 {
						stack = append(stack, next)
					}
				}
				continue
			case waiting:
				state[e] = done
				sorted = append(sorted, e)
			}
			stack = stack[:len(stack)-1]
		}
	}
	var raised []*entry
	for _, e := range sorted {
		own := e.group
		for _, name := range e.DependsOn {
			e.group = max(e.group, byName[name].group)
		}
		if e.group != own {
			raised = append(raised, e)
		}
	}
	slices.SortFunc(raised, func(a, b *entry) int { return cmp.Compare(a.project.line, b.project.line) })
	for _, e := range raised {
		m.noteAt(e, "depends_on", max(e.project.Group.Line, e.project.line), "execution_order_group",
			"taken as %d, because the workspace depends on one of that group", e.group)
	}
}
