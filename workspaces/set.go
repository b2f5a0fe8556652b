package workspaces

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// info is what a set knows of a workspace beyond what it shows.
type info struct {
	workspace     *Workspace
	line          int      // of its entry in plumbline.yaml, 0 if none
	dir           string   // the directory without symbolic links
	nodes         []*node  // the root module, then those it reaches
	links         []string // symbolic links on the way to the directory and the var files
	pins          []string // the version file, with the links that lead to it
	inheritedDeps bool     // depends_on comes from the defaults
}

// Get returns the workspace of that name.
func (s *Set) Get(name string) (*Workspace, bool) {
	in, ok := s.infos[name]
	if !ok {
		return nil, false
	}
	return in.workspace, true
}

// Select returns the workspaces that users name, in graph order and each once.
// A name that no workspace has may be a directory, which stands for all
// workspaces in it. The error names every name that stands for nothing, with
// the nearest that would.
func (s *Set) Select(names []string) ([]*Workspace, error) {
	wanted := map[string]bool{}
	var unknown []string
	for _, name := range names {
		if _, ok := s.infos[name]; ok {
			wanted[name] = true
			continue
		}
		dir, found := path.Clean(strings.TrimSuffix(name, "/")), false
		for _, w := range s.Workspaces {
			if w.Dir == dir {
				wanted[w.Name], found = true, true
			}
		}
		if !found {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, s.unknown(unknown)
	}
	var selected []*Workspace
	for _, w := range s.Workspaces {
		if wanted[w.Name] {
			selected = append(selected, w)
		}
	}
	return selected, nil
}

func (s *Set) unknown(names []string) error {
	var known []string
	for _, w := range s.Workspaces {
		known = append(known, w.Name)
	}
	var told []string
	for _, name := range names {
		text := fmt.Sprintf("there is no workspace %q", name)
		if near := nearest(name, known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		told = append(told, text)
	}
	return fmt.Errorf("%s (plumbline workspaces lists them all)", strings.Join(told, ", "))
}

// Dependents returns the workspaces that depend on the named one, directly or
// through others, in graph order.
func (s *Set) Dependents(name string) []*Workspace {
	reached := map[string]bool{name: true}
	var list []*Workspace
	// Dependencies come first in the set, so one pass is enough.
	for _, w := range s.Workspaces {
		if slices.ContainsFunc(w.DependsOn, func(on string) bool { return reached[on] }) && !reached[w.Name] {
			reached[w.Name] = true
			list = append(list, w)
		}
	}
	return list
}
