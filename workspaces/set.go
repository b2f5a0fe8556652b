package workspaces

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// info is what a set knows of a workspace beyond what it shows.
type info struct {
	workspace *Workspace
	entry     int            // in plumbline.yaml, notAnEntry if none
	line      int            // of its entry, 0 if none
	dir       string         // the directory without symbolic links
	nodes     []*node        // the root module, then those it reaches
	links     []string       // symbolic links on the way to the directory and the var files
	pins      []string       // the version file, with the links that lead to it
	dependsAt map[string]int // the lines that name the workspaces in DependsOn
}

// disabledEntry is a workspace that plumbline.yaml switches off.
type disabledEntry struct {
	name, dir, workspace string
	line                 int // of "enabled"
}

// place is where the entry is switched off, for messages.
func (e disabledEntry) place() string { return fmt.Sprintf("%s:%d", ConfigFile, e.line) }

// Policy is what plumbline.yaml tells the server about pull requests and
// pushes as a whole. What counts is the base branch's.
type Policy struct {
	// Drafts is "plan" or "wait": what happens to a draft.
	Drafts string
	// Merge is "off", or how a change is merged once all of it was applied by
	// comment: "merge", "squash" or "rebase".
	Merge string
	// Push is "hold" or "apply": what happens to a push to the base branch that
	// came without a pull request.
	Push string
}

// Policy returns the policy of the set's plumbline.yaml, with its defaults; a
// nil set has nothing else.
func (s *Set) Policy() Policy {
	c := &Config{}
	if s != nil && s.config != nil {
		c = s.config
	}
	return Policy{Drafts: either(c.Drafts, defaultDrafts), Merge: either(c.Merge, defaultMerge), Push: either(c.Push, defaultPush)}
}

// Get returns the workspace of that name.
func (s *Set) Get(name string) (*Workspace, bool) {
	if in, ok := s.infos[name]; ok {
		return in.workspace, true
	}
	if s.infos == nil { // the set was put together by a caller
		for _, w := range s.Workspaces {
			if w.Name == name {
				return w, true
			}
		}
	}
	return nil, false
}

// Select returns the workspaces that users name, in the set's order and each
// once. A name that no workspace has may be a directory, which stands for all
// workspaces in it; if there are none, it stands for all in the directories
// below. The error names every name that stands for nothing, with the nearest
// that would, or with the line of plumbline.yaml that switches it off.
//
// It needs no more of the set than Workspaces, so that a caller may select from
// a list of its own.
func (s *Set) Select(names []string) ([]*Workspace, error) {
	known := make(map[string]bool, len(s.Workspaces))
	for _, w := range s.Workspaces {
		known[w.Name] = true
	}
	wanted := map[string]bool{}
	var wrong []string
	list := false
	for _, name := range names {
		dir := path.Clean(name)
		found, off := s.inOrBelow(dir), s.disabledAs(name, dir)
		switch {
		case known[name]:
			wanted[name] = true
		case len(off) > 0 && (len(found) == 0 || off[0].name == name && found[0].Dir != off[0].dir):
			// A directory may still have other workspaces than the one of its
			// name.
			wrong = append(wrong, disabledText(name, off))
		case s.unusable[name] > 0:
			wrong = append(wrong, fmt.Sprintf("workspace %q has a mistake in %s:%d", name, ConfigFile, s.unusable[name]))
		case len(found) > 0:
			for _, w := range found {
				wanted[w.Name] = true
			}
		default:
			text := fmt.Sprintf("there is no workspace %q", name)
			if near := nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			}
			wrong, list = append(wrong, text), true
		}
	}
	if len(wrong) > 0 {
		text := strings.Join(wrong, ", ")
		if list {
			text += " (plumbline workspaces lists them all)"
		}
		return nil, errors.New(text)
	}
	var selected []*Workspace
	for _, w := range s.Workspaces {
		if wanted[w.Name] {
			selected = append(selected, w)
		}
	}
	return selected, nil
}

// inOrBelow returns the workspaces in a directory, or else those in the
// directories below it.
func (s *Set) inOrBelow(dir string) []*Workspace {
	var in, below []*Workspace
	for _, w := range s.Workspaces {
		if w.Dir == dir {
			in = append(in, w)
		} else if within(w.Dir, dir) {
			below = append(below, w)
		}
	}
	if len(in) > 0 {
		return in
	}
	return below
}

// disabledAs returns the disabled workspace of a name, else those in or below a
// directory.
func (s *Set) disabledAs(name, dir string) []disabledEntry {
	var list []disabledEntry
	for _, e := range s.disabled {
		if e.name == name {
			return []disabledEntry{e}
		}
		if within(e.dir, dir) {
			list = append(list, e)
		}
	}
	return list
}

// disabledText says why a name selects nothing.
func disabledText(name string, off []disabledEntry) string {
	if len(off) == 1 && off[0].name == name {
		return fmt.Sprintf("workspace %q is disabled in %s", name, off[0].place())
	}
	var places []string
	for _, e := range off {
		places = append(places, fmt.Sprintf("%q in %s", e.name, e.place()))
	}
	return fmt.Sprintf("every workspace in %q is disabled: %s", name, strings.Join(places, ", "))
}
