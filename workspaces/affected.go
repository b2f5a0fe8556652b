package workspaces

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// maxReasonsPerModule is how many files of one directory are named as reasons
// before the rest are counted.
const maxReasonsPerModule = 5

// Affected returns the workspaces that a change touches: copies, with Reasons,
// in the order of the newer set. changes are the paths that differ between the
// two commits.
//
// A workspace is touched by a change of a file in its directory or in that of
// one of its local modules, each down to where another module begins; of a var
// file, a backend file, the lock file or the version file; of a file that an
// expression names by a path that can be told without running Terraform; of a
// file that it watches; and of the settings in plumbline.yaml that Terraform
// gets to see. Markdown and tests beside the Terraform files count only when
// they are read by name, and a value file that plumbline.yaml gives to some of
// a directory's workspaces does not touch its others.
//
// A workspace that only the base has comes last, with Removed set and a
// warning. base may be nil, when nothing is known of it: then everything in
// head is new.
func Affected(base, head *Set, changes []Change) []*Workspace {
	if base == nil {
		base = &Set{}
	}
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	was := newTouch(base, slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return !c.Deleted }))
	is := newTouch(head, changes)
	before, gone := match(base, head)

	var list []*Workspace
	for _, w := range head.Workspaces {
		var reasons []string
		if old := before[w.Name]; old == nil {
			reasons = append(reasons, "new workspace")
		} else {
			// What was deleted may have been a part of the workspace only in
			// the base.
			reasons = union(is.reasons(head.infos[w.Name]), was.reasons(base.infos[old.Name]))
			if settingsDiffer(old, w) {
				reasons = append(reasons, ConfigFile+": workspace settings changed")
			}
			if old.VersionFile != w.VersionFile && !slices.ContainsFunc(reasons, isPinReason) {
				reasons = append(reasons, pinName(w.Engine)+" changed")
			}
		}
		if len(reasons) > 0 {
			touched := *w
			touched.Reasons = reasons
			touched.Warnings = []string{}
			list = append(list, &touched)
		}
	}
	for _, w := range gone {
		list = append(list, removed(w, base.infos[w.Name], head))
	}
	return list
}

// removed describes a workspace that is no longer there.
func removed(w *Workspace, in *info, head *Set) *Workspace {
	lost := *w
	lost.Removed = true
	lost.Warnings = []string{fmt.Sprintf(
		"the state of workspace %q may still hold resources; nothing plans or destroys them now (check with terraform state list, and destroy or move them first)", w.Name)}
	lost.Reasons = []string{head.absence(w, in)}
	return &lost
}

// absence says why a set has a workspace of another set no more.
func (s *Set) absence(w *Workspace, in *info) string {
	if s.repo == nil || !s.repo.hasConfig(in.dir) {
		return "directory removed"
	}
	if line := s.unusable[w.Name]; line > 0 {
		return fmt.Sprintf("%s:%d: its settings have a mistake", ConfigFile, line)
	}
	for _, e := range s.disabled {
		if e.name == w.Name || e.dir == w.Dir && e.workspace == w.Workspace {
			return e.place() + ": workspace disabled"
		}
	}
	var others []string
	named := false // by an entry
	for _, other := range s.Workspaces {
		if other.Dir == w.Dir || s.infos[other.Name].dir == in.dir {
			others = append(others, other.Name)
			named = named || other.Source != discovered
		}
	}
	entry, listed := s.entryOf(w.Dir)
	by, called := s.called[in.dir]
	const noRoot = "no longer a root module: "
	switch {
	case w.Source != discovered && len(others) == 0 && !listed:
		return ConfigFile + ": workspace removed"
	case w.Source != discovered && len(others) > 0:
		return fmt.Sprintf("%s: workspace removed; the directory has %s now", ConfigFile, listWorkspaces(others))
	case named:
		return fmt.Sprintf("%s gives the directory other Terraform workspaces now: %s", ConfigFile, strings.Join(others, ", "))
	case len(others) > 0:
		return "the directory has another workspace now: " + strings.Join(others, ", ")
	case listed:
		// Of all that is listed nothing is left: it has mistakes, or is
		// switched off.
		return fmt.Sprintf("%s:%d: its entry gives it no workspace", ConfigFile, entry.Line)
	case called && by.test:
		return noRoot + "a test runs it as a module"
	case called && by.guessed:
		return noRoot + fmt.Sprintf("%q seems to call it as a module, but has a file that Terraform cannot read", by.dir)
	case called:
		return noRoot + fmt.Sprintf("%q calls it as a module", by.dir)
	case s.config.Discover != nil && !*s.config.Discover:
		return ConfigFile + ": discover is false now, and no entry names the directory"
	}
	if pattern := s.config.ignores(in.dir); pattern != "" {
		return fmt.Sprintf("%s: ignored by %q", ConfigFile, pattern)
	}
	engine := s.repo.engineFor(in.dir, s.config.Defaults.Engine)
	if s.repo.view(in.dir, engine) == nil {
		return noRoot + fmt.Sprintf("it holds no files that %s reads", engine)
	}
	return noRoot + "it has nothing to run"
}

func listWorkspaces(names []string) string {
	if len(names) == 1 {
		return "the workspace " + names[0]
	}
	return "the workspaces " + strings.Join(names, ", ")
}

// entryOf is the first entry of plumbline.yaml for a directory.
func (s *Set) entryOf(dir string) (Entry, bool) {
	for _, e := range s.config.Workspaces {
		if path.Clean(e.Dir) == dir {
			return e, true
		}
	}
	return Entry{}, false
}

// match pairs the workspaces of two sets: by name, else by directory and
// Terraform workspace if that leaves no doubt, so that one that got another
// name is not taken for removed.
func match(base, head *Set) (before map[string]*Workspace, gone []*Workspace) {
	type place struct{ dir, workspace string }
	before = make(map[string]*Workspace, len(head.Workspaces))
	added := map[place][]*Workspace{}
	for _, w := range head.Workspaces {
		if old, ok := base.Get(w.Name); ok {
			before[w.Name] = old
		} else {
			p := place{w.Dir, w.Workspace}
			added[p] = append(added[p], w)
		}
	}
	lost := map[place][]*Workspace{}
	for _, w := range base.Workspaces {
		if _, ok := head.Get(w.Name); !ok {
			p := place{w.Dir, w.Workspace}
			lost[p] = append(lost[p], w)
		}
	}
	for _, w := range base.Workspaces {
		if _, ok := head.Get(w.Name); ok {
			continue
		}
		p := place{w.Dir, w.Workspace}
		if len(lost[p]) == 1 && len(added[p]) == 1 {
			before[added[p][0].Name] = w
		} else {
			gone = append(gone, w)
		}
	}
	return before, gone
}

// settingsDiffer reports whether Terraform gets to see a difference. When,
// how often and by whose leave it runs does not change a plan.
func settingsDiffer(a, b *Workspace) bool {
	return a.Name != b.Name || a.Workspace != b.Workspace || a.Engine != b.Engine || a.Terraform != b.Terraform ||
		!slices.Equal(a.VarFiles, b.VarFiles) || !slices.Equal(a.BackendConfig, b.BackendConfig) || !slices.Equal(a.Env, b.Env) ||
		!a.Access.Is(b.Access)
}

func isPinReason(reason string) bool {
	return strings.HasSuffix(reason, terraformPin+" changed") || strings.HasSuffix(reason, tofuPin+" changed") ||
		strings.HasSuffix(reason, terraformPin+" removed") || strings.HasSuffix(reason, tofuPin+" removed")
}

func union(a, b []string) []string {
	for _, reason := range b {
		if !slices.Contains(a, reason) {
			a = append(a, reason)
		}
	}
	return a
}

// touch finds out which workspaces of one set the changes touch.
type touch struct {
	set      *Set
	changes  []Change
	byPath   map[string]Change
	owned    map[string][]Change        // by the directory of the module that the path belongs to
	given    map[string]map[string]bool // value files that plumbline.yaml names, with the names of the workspaces
	patterns map[string][]Change        // what each pattern matches
	sources  map[readFrom][]Change      // what each path in an expression may mean
}

// readFrom is a path in an expression, as it is meant in one directory.
type readFrom struct {
	dir  string
	read *read
}

func newTouch(set *Set, changes []Change) *touch {
	t := &touch{
		set: set, changes: changes, byPath: make(map[string]Change, len(changes)),
		owned: map[string][]Change{}, given: map[string]map[string]bool{}, patterns: map[string][]Change{},
		sources: map[readFrom][]Change{},
	}
	if len(changes) == 0 {
		return t
	}
	for _, c := range changes {
		t.byPath[c.Path] = c
		if dir, ok := owner(set.owners, c.Path); ok {
			t.owned[dir] = append(t.owned[dir], c)
		}
	}
	for _, w := range set.Workspaces {
		in := set.infos[w.Name]
		for _, file := range valueFiles(w) {
			p := path.Join(in.dir, file)
			if t.given[p] == nil {
				t.given[p] = map[string]bool{}
			}
			t.given[p][w.Name] = true
		}
	}
	return t
}

// findOwners lists the directories that files belong to: those of the
// workspaces and of the modules that they reach.
func (s *Set) findOwners() map[string]bool {
	owners := make(map[string]bool, len(s.repo.reached))
	for _, n := range s.repo.reached {
		if n.view != nil {
			owners[n.view.dir] = true
		}
	}
	return owners
}

// owner is the nearest of the directories above a path.
func owner(owners map[string]bool, p string) (string, bool) {
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if owners[dir] {
			return dir, true
		}
		if dir == "." {
			return "", false
		}
	}
}

// valueFiles are the files, relative to the workspace's directory, that
// plumbline.yaml names for it.
func valueFiles(w *Workspace) []string {
	files := slices.Clone(w.VarFiles)
	for _, item := range w.BackendConfig {
		if !isBackendPair(item) {
			files = append(files, item)
		}
	}
	return files
}

// reasons tells why the changes touch a workspace; none when they do not.
func (t *touch) reasons(in *info) []string {
	if len(t.changes) == 0 {
		return nil
	}
	w := in.workspace
	r := &reasons{dir: in.dir, said: map[string]bool{}}
	for _, file := range w.VarFiles {
		if c, ok := t.byPath[path.Join(in.dir, file)]; ok {
			r.add(c.Path, "var file %s", file)
		}
	}
	for _, file := range w.BackendConfig {
		if c, ok := t.byPath[path.Join(in.dir, file)]; ok && !isBackendPair(file) {
			r.add(c.Path, "backend file %s", file)
		}
	}
	if c, ok := t.byPath[path.Join(in.dir, lockFile)]; ok {
		r.add(c.Path, "lock file")
	}
	for _, p := range in.pins {
		if c, ok := t.byPath[p]; ok {
			r.add(c.Path, "%s", relative(in.dir, p))
		}
	}
	for _, p := range in.links {
		if c, ok := t.byPath[p]; ok {
			r.add(c.Path, "link %s", relative(in.dir, p))
		}
	}
	for _, n := range in.nodes {
		if n.view != nil {
			t.module(r, in, n.view.dir)
		}
	}
	for _, n := range in.nodes {
		t.read(r, in, n)
	}
	for _, pattern := range w.Watch {
		for _, c := range t.matching(patternIn(in.dir, pattern)) {
			r.add(c.Path, "watched %s", relative(in.dir, c.Path))
		}
	}
	// A reason ends with what happened to the file.
	list := make([]string, 0, len(r.list))
	for _, reason := range r.list {
		if reason.path == "" {
			list = append(list, reason.text)
		} else if t.byPath[reason.path].Deleted {
			list = append(list, reason.text+" removed")
		} else {
			list = append(list, reason.text+" changed")
		}
	}
	return list
}

// reasons collects one reason for each path at most.
type reasons struct {
	dir  string
	said map[string]bool
	list []reason
}

type reason struct{ path, text string }

func (r *reasons) add(p, format string, args ...any) {
	if !r.said[p] {
		r.said[p] = true
		r.list = append(r.list, reason{p, fmt.Sprintf(format, args...)})
	}
}

// module adds the changes in the directory of the root module or of a module
// that it reaches.
func (t *touch) module(r *reasons, in *info, dir string) {
	changes := t.owned[dir]
	if len(changes) == 0 {
		return
	}
	prefix := modulePrefix(in, dir)
	named, more := 0, 0
	for _, c := range changes {
		if r.said[c.Path] || !t.counts(in.workspace.Name, dir, c.Path) {
			continue
		}
		if named == maxReasonsPerModule {
			more++
			continue
		}
		named++
		r.add(c.Path, "%s%s", prefix, relative(dir, c.Path))
	}
	if more > 0 {
		r.list = append(r.list, reason{text: fmt.Sprintf("%s%d more files changed", prefix, more)})
	}
}

// modulePrefix says which module a reason is about; "" for the root module.
func modulePrefix(in *info, dir string) string {
	if dir == in.dir {
		return ""
	}
	return "module " + modulePath(in.dir, dir) + ": "
}

// counts reports whether a change of a file in a module's directory touches
// the workspace.
func (t *touch) counts(workspace, dir, p string) bool {
	name := path.Base(p)
	if isStateFile(p) || name == lockFile {
		return false
	}
	if path.Dir(p) == dir && (strings.HasSuffix(strings.ToLower(name), ".md") || isTestFile(name)) {
		return false
	}
	if name == terraformPin || name == tofuPin {
		return false // judged by which one is nearest
	}
	if given := t.given[p]; len(given) > 0 && !given[workspace] && !isAutoLoaded(name) {
		return false
	}
	return true
}

// read adds the changes of what the module reads from elsewhere: through
// symbolic links, from submodules, and by paths in its expressions.
func (t *touch) read(r *reasons, in *info, n *node) {
	if n.view == nil {
		return
	}
	add := func(kind string, c Change) {
		r.add(c.Path, "%s%s %s", modulePrefix(in, n.view.dir), kind, relative(in.dir, c.Path))
	}
	for _, p := range n.links {
		if c, ok := t.byPath[p]; ok {
			add("link", c)
		}
	}
	for _, p := range n.foreign {
		if c, ok := t.byPath[p]; ok {
			add("submodule", c)
		}
	}
	for _, p := range slices.Concat(n.view.targets, n.view.links) {
		if c, ok := t.byPath[p]; ok && path.Dir(p) != n.view.dir {
			add("linked", c)
		}
	}
	for _, l := range t.set.repo.linksBelow(n.view.dir) {
		for _, c := range t.below(l.target) {
			add("linked", c)
		}
	}
	for _, f := range n.view.files {
		for i := range f.facts.reads {
			from := readFrom{in.dir, &f.facts.reads[i]}
			if from.read.base == fromModule {
				from.dir = n.path
			}
			list, ok := t.sources[from]
			if !ok {
				list = t.readBy(from.dir, *from.read)
				t.sources[from] = list
			}
			for _, c := range list {
				add("file", c)
			}
		}
	}
}

// readBy are the changes of what a path in an expression may mean.
func (t *touch) readBy(from string, rd read) []Change {
	first := path.Join(from, rd.pieces[0])
	if isOutside(first) {
		return nil
	}
	if len(rd.pieces) == 1 {
		physical, _, err := t.set.repo.resolve(first)
		if err != nil {
			return nil
		}
		if rd.fn == "" {
			return t.below(physical)
		}
		if c, ok := t.byPath[physical]; ok {
			return []Change{c}
		}
		return nil
	}
	// path.Join drops the separator at the end, which tells a directory from
	// the beginning of a name.
	if strings.HasSuffix(rd.pieces[0], "/") {
		first += "/"
	}
	pieces := append([]string{first}, rd.pieces[1:]...)
	var list []Change
	for _, c := range t.changes {
		if fits(pieces, c.Path) {
			list = append(list, c)
		}
	}
	return list
}

// fits reports whether p begins with the first of the pieces, ends with the
// last, and holds the others in between, in their order.
func fits(pieces []string, p string) bool {
	rest, ok := strings.CutPrefix(p, strings.TrimPrefix(pieces[0], "./"))
	if !ok {
		return false
	}
	for _, piece := range pieces[1 : len(pieces)-1] {
		i := strings.Index(rest, piece)
		if i < 0 {
			return false
		}
		rest = rest[i+len(piece):]
	}
	return strings.HasSuffix(rest, pieces[len(pieces)-1])
}

// below are the changes of a file, or of a directory down to the last file.
func (t *touch) below(p string) []Change {
	if c, ok := t.byPath[p]; ok {
		return []Change{c}
	}
	if p == "." {
		return t.changes
	}
	// The paths are sorted, so those below a directory stand together.
	i, _ := slices.BinarySearchFunc(t.changes, p+"/", func(c Change, prefix string) int { return strings.Compare(c.Path, prefix) })
	j := i
	for j < len(t.changes) && strings.HasPrefix(t.changes[j].Path, p+"/") {
		j++
	}
	return t.changes[i:j]
}

// matching are the changes that a pattern of the whole repository matches.
func (t *touch) matching(pattern string) []Change {
	list, ok := t.patterns[pattern]
	if !ok {
		for _, c := range t.changes {
			if doublestar.MatchUnvalidated(pattern, c.Path) {
				list = append(list, c)
			}
		}
		t.patterns[pattern] = list
	}
	return list
}

// patternIn is a pattern relative to dir as one of the whole repository.
func patternIn(dir, pattern string) string {
	return path.Join(literalPattern.Replace(dir), pattern)
}

var literalPattern = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`)

// foundLink is a symbolic link and where it leads.
type foundLink struct{ path, target string }

// linksBelow are the symbolic links in a module's directory and below, down to
// where another directory with Terraform files begins, that lead to other
// directories.
func (repo *repository) linksBelow(dir string) []foundLink {
	if !repo.linked {
		return nil
	}
	var list []foundLink
	var visit func(at string)
	visit = func(at string) {
		rec := repo.dirs[at]
		if rec == nil {
			return
		}
		for _, l := range rec.links {
			full := join(at, l.name)
			if target, _, err := repo.resolve(full); err == nil && !within(target, dir) {
				list = append(list, foundLink{full, target})
			}
		}
		for _, c := range rec.dirs {
			if full := join(at, c.name); !repo.hasConfig(full) {
				visit(full)
			}
		}
	}
	visit(dir)
	return list
}

// relative is the way from a directory to a path.
func relative(from, to string) string {
	if from == "." {
		return to
	}
	up := ""
	for !within(to, from) {
		up += "../"
		from = path.Dir(from)
	}
	if to == from {
		return strings.TrimSuffix(up, "/")
	}
	if from != "." {
		to = strings.TrimPrefix(to, from+"/")
	}
	return up + to
}

// modulePath is relative in the form that a module source has.
func modulePath(from, to string) string {
	p := relative(from, to)
	if strings.HasPrefix(p, "..") {
		return p
	}
	return "./" + p
}

// isStateFile reports whether the path is one that Terraform keeps its own
// state or its own copies in: an outcome of runs, not an input to them.
func isStateFile(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".terraform" || part == ".git" || strings.HasSuffix(part, ".tfstate.d") {
			return true
		}
	}
	name := path.Base(p)
	switch {
	case strings.HasSuffix(name, ".tfstate"), strings.HasSuffix(name, ".tfstate.backup"),
		strings.HasSuffix(name, ".tfstate.lock.info"), strings.HasPrefix(name, "terraform.tfstate"),
		name == "crash.log":
		return true
	}
	return false
}
