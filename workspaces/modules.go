package workspaces

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// repository is what is known of all directories of one commit or checkout,
// and how they call one another.
type repository struct {
	fsys     fs.FS
	dirs     map[string]*record // by path; symbolic links are not followed
	linked   bool               // there is a symbolic link somewhere
	opaque   map[string]bool    // places of other repositories
	views    map[viewKey]*view
	detours  map[viewKey]*node // modules that are reached through symbolic links
	reached  []*node           // every module that a workspace reaches, and the workspaces' own
	problems []Problem
	told     map[Problem]bool
	stamp    int
}

type viewKey struct{ dir, engine string }

func newRepository(fsys fs.FS, dirs map[string]*record) *repository {
	repo := &repository{
		fsys: fsys, dirs: dirs, opaque: map[string]bool{},
		views: make(map[viewKey]*view, len(dirs)), detours: map[viewKey]*node{}, told: map[Problem]bool{},
	}
	for dir, rec := range dirs {
		repo.linked = repo.linked || len(rec.links) > 0
		for _, name := range rec.opaque {
			repo.opaque[join(dir, name)] = true
		}
	}
	return repo
}

// tell records a problem once.
func (repo *repository) tell(p Problem) {
	if p.Severity == "" {
		p.Severity = SeverityError
	}
	if !repo.told[p] {
		repo.told[p] = true
		repo.problems = append(repo.problems, p)
	}
}

var (
	errLeavesRepository = errors.New("leads out of the repository")
	errLinkLoop         = errors.New("goes round in a loop of symbolic links")
	errOtherRepository  = errors.New("lies in another repository")
)

// maxLinks is how many symbolic links one path may lead through, as on Linux.
const maxLinks = 40

// resolve follows the symbolic links of a path, as the operating system would,
// and returns the path without them, and the links that it went through. It
// says nothing of whether there is anything at the path.
func (repo *repository) resolve(p string) (physical string, links []string, err error) {
	if repo.dirs[p] != nil || !repo.linked && len(repo.opaque) == 0 {
		return p, nil, nil
	}
	at := "."
	rest := strings.Split(p, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", links, errLeavesRepository
			}
			at = path.Dir(at)
			continue
		}
		full := join(at, part)
		if repo.opaque[full] {
			return full, links, errOtherRepository
		}
		target, isLink := "", false
		if rec := repo.dirs[at]; rec != nil {
			target, isLink = rec.link(part)
		}
		if !isLink {
			at = full
			continue
		}
		links = append(links, full)
		if len(links) > maxLinks {
			return "", links, errLinkLoop
		}
		if target == "" || strings.HasPrefix(target, "/") {
			return "", links, errLeavesRepository
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, links, nil
}

// link returns the target of the symbolic link of that name.
func (r *record) link(name string) (string, bool) {
	i, ok := slices.BinarySearchFunc(r.links, name, func(l symlink, name string) int { return strings.Compare(l.name, name) })
	if !ok {
		return "", false
	}
	return r.links[i].target, true
}

// file returns the facts of the Terraform file of that name.
func (r *record) file(name string) *fileFacts {
	for i := range r.files {
		if r.files[i].name == name {
			return &r.files[i]
		}
	}
	return nil
}

// view is a directory as one engine sees it: its files merged.
type view struct {
	dir      string // without symbolic links
	files    []viewFile
	calls    []callAt
	required []string
	runs     bool
	broken   bool
	backend  *backendFact
	links    []string // symbolic links among the files, and those they lead through
	targets  []string // files that the symbolic links lead to
	problems []Problem
	node     *node // the module, when it is reached without symbolic links
}

// viewFile is a file as it stands in the directory, where it may be a symbolic
// link to the one that the facts are of.
type viewFile struct {
	name  string
	facts *fileFacts
}

// callAt is a module block and the file that it stands in.
type callAt struct {
	*call
	file *viewFile
	to   string // the path that a local source leads to, "" when it is none
}

// view returns how an engine sees a directory, nil when it finds nothing there
// that it reads. dir must not lead through symbolic links.
func (repo *repository) view(dir, engine string) *view {
	key := viewKey{dir, engine}
	v, ok := repo.views[key]
	if !ok {
		v = repo.newView(dir, engine)
		repo.views[key] = v
	}
	return v
}

func (repo *repository) newView(dir, engine string) *view {
	rec := repo.dirs[dir]
	if rec == nil {
		return nil
	}
	v := &view{dir: dir, files: make([]viewFile, 0, len(rec.files))}
	for i := range rec.files {
		v.files = append(v.files, viewFile{rec.files[i].name, &rec.files[i]})
	}
	for _, l := range rec.links {
		if configKind(l.name) != notConfig {
			repo.addLinked(v, l)
		}
	}
	v.files = slices.DeleteFunc(v.files, func(f viewFile) bool { return !readsFile(engine, f.name, v.files) })
	if len(v.files) == 0 && len(v.problems) == 0 {
		return nil
	}
	inOrder := func(a, b viewFile) int {
		return cmp.Or(cmp.Compare(overrideRank(a.name), overrideRank(b.name)), strings.Compare(a.name, b.name))
	}
	if !slices.IsSortedFunc(v.files, inOrder) {
		slices.SortFunc(v.files, inOrder)
	}
	calls := 0
	for _, f := range v.files {
		calls += len(f.facts.calls)
	}
	v.calls = make([]callAt, 0, calls)
	var broken []viewFile
	for i := range v.files {
		f := &v.files[i]
		v.runs = v.runs || f.facts.runs
		override := isOverride(f.name)
		if f.facts.backend != nil && (override || v.backend == nil) {
			v.backend = f.facts.backend
		}
		if len(f.facts.required) > 0 {
			if override {
				v.required = nil
			}
			v.required = append(v.required[:len(v.required):len(v.required)], f.facts.required...)
		}
		for j := range f.facts.calls {
			at := callAt{call: &f.facts.calls[j], file: f}
			if !override || !v.override(at) {
				v.calls = append(v.calls, at)
			}
		}
		if f.facts.broken != nil {
			broken = append(broken, *f)
		}
	}
	for i := range v.calls {
		if c := &v.calls[i]; !c.unknown && isLocalSource(c.source) {
			c.to = joinLocal(dir, c.source)
		}
	}
	if len(broken) > 0 {
		v.broken = true
		first := broken[0]
		text := "Terraform cannot read the file: " + strings.TrimSuffix(first.facts.broken.text, ".")
		if n := len(broken) - 1; n > 0 {
			text += fmt.Sprintf("; %d more in this directory are broken too", n)
		}
		v.problems = append(v.problems, Problem{
			File: join(dir, first.name), Line: first.facts.broken.line, Text: text,
			Fix: "correct the file; the other directories are not concerned",
		})
	}
	return v
}

func overrideRank(file string) int {
	if isOverride(file) {
		return 1
	}
	return 0
}

// override merges a module block of an override file over the one of the same
// name; false when there is none.
func (v *view) override(over callAt) bool {
	for i := range v.calls {
		c := &v.calls[i]
		if c.name != over.name {
			continue
		}
		merged := *c.call
		if over.source != "" || over.unknown {
			merged.source, merged.unknown, merged.line = over.source, over.unknown, over.line
			c.file = over.file
		}
		if over.version != "" {
			merged.version = over.version
		}
		c.call = &merged
		return true
	}
	return false
}

// readsFile reports whether the engine reads the file: Terraform passes over
// OpenTofu's own files, and OpenTofu over a file for Terraform of which there
// is a version for OpenTofu.
func readsFile(engine, file string, all []viewFile) bool {
	if engine != engineTofu {
		return !isTofuOnly(file)
	}
	var twin string
	if base, ok := strings.CutSuffix(file, ".tf"); ok {
		twin = base + ".tofu"
	} else if base, ok := strings.CutSuffix(file, ".tf.json"); ok {
		twin = base + ".tofu.json"
	} else {
		return true
	}
	return !slices.ContainsFunc(all, func(f viewFile) bool { return f.name == twin })
}

// addLinked adds a Terraform file that is a symbolic link.
func (repo *repository) addLinked(v *view, l symlink) {
	full := join(v.dir, l.name)
	target, links, err := repo.resolve(full)
	v.links = append(v.links, links...)
	wrong := func(text, fix string) {
		v.problems = append(v.problems, Problem{
			File: full, Text: fmt.Sprintf("the symbolic link to %q %s", l.target, text), Fix: fix, Severity: SeverityError,
		})
	}
	if err != nil {
		wrong(err.Error(), "let it point to a file of this repository")
		return
	}
	if rec := repo.dirs[path.Dir(target)]; rec != nil {
		if f := rec.file(path.Base(target)); f != nil && configKind(f.name) == configKind(l.name) {
			v.files = append(v.files, viewFile{l.name, f})
			v.targets = append(v.targets, target)
			return
		}
	}
	info, err := fs.Stat(repo.fsys, target)
	if err == nil && info.IsDir() {
		return
	}
	var data []byte
	if err == nil {
		data, err = fs.ReadFile(repo.fsys, target)
	}
	if err != nil {
		wrong("leads to a file that cannot be read: "+pathless(err).Error(), "correct the link or add the file")
		return
	}
	facts := readConfig(l.name, data)
	v.files = append(v.files, viewFile{l.name, &facts})
	v.targets = append(v.targets, target)
}

// hasConfig reports whether the directory holds Terraform files for any
// engine.
func (repo *repository) hasConfig(dir string) bool {
	rec := repo.dirs[dir]
	if rec == nil {
		return false
	}
	return len(rec.files) > 0 || slices.ContainsFunc(rec.links, func(l symlink) bool { return configKind(l.name) != notConfig })
}

// engineFor is the engine of a directory for which nobody chose one.
func (repo *repository) engineFor(dir, chosen string) string {
	if chosen != "" {
		return chosen
	}
	if rec := repo.dirs[dir]; rec != nil && len(rec.links) == 0 && len(rec.files) > 0 &&
		!slices.ContainsFunc(rec.files, func(f fileFacts) bool { return !isTofuOnly(f.name) }) {
		return engineTofu
	}
	return engineDefault
}

// caller is the first that is known to call a directory as a module.
type caller struct {
	dir     string
	test    bool // a test runs it; dir is "" then
	guessed bool // the text of a broken file seems to
}

// calledDirs are the directories that another one calls as a module, or that a
// test of the module above them runs. The call that closes a circle of modules
// does not count, so that the circle keeps a beginning; it is a problem, told
// under each engine's view of the files.
//
// A broken file calls what its text seems to call, unless that calls the file's
// directory in its turn.
func (repo *repository) calledDirs(engine func(dir string) string) map[string]caller {
	type vertex struct {
		dir   string
		view  *view
		calls []int // indices of callers, in step with at; nil when it calls none
		at    []int // indices of the calls in the view
	}
	var callers []vertex
	index := make(map[string]int, len(repo.dirs))
	for dir := range repo.dirs {
		if repo.hasConfig(dir) {
			callers = append(callers, vertex{dir: dir})
		}
	}
	slices.SortFunc(callers, func(a, b vertex) int { return strings.Compare(a.dir, b.dir) })
	for i, c := range callers {
		index[c.dir] = i
	}
	called := make([]bool, len(callers))
	for i := range callers {
		c := &callers[i]
		if c.view = repo.view(c.dir, engine(c.dir)); c.view == nil {
			continue
		}
		for n, at := range c.view.calls {
			if at.to == "" || isOutside(at.to) {
				continue
			}
			if to, _, err := repo.resolve(at.to); err == nil {
				if j, ok := index[to]; ok {
					c.calls, c.at = append(c.calls, j), append(c.at, n)
					called[j] = called[j] || j != i
				}
			}
		}
	}

	// Depth first, beginning with what nobody calls, so that a circle is cut
	// where it leads back into itself.
	const (
		unseen = iota
		open
		closed
	)
	state := make([]byte, len(callers))
	kept := map[string]caller{}
	keep := func(to string, by caller) {
		if _, ok := kept[to]; !ok {
			kept[to] = by
		}
	}
	var stack []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = open
		stack = append(stack, i)
		for n, to := range callers[i].calls {
			if state[to] == open {
				var circle []string
				for _, member := range stack[slices.Index(stack, to):] {
					circle = append(circle, callers[member].dir)
				}
				repo.tell(circleProblem(callers[i].dir, callers[i].view.calls[callers[i].at[n]], append(circle, callers[to].dir)))
				continue
			}
			keep(callers[to].dir, caller{dir: callers[i].dir})
			if state[to] == unseen {
				visit(to)
			}
		}
		stack = stack[:len(stack)-1]
		state[i] = closed
	}
	for _, first := range []bool{true, false} {
		for i := range callers {
			if state[i] == unseen && len(callers[i].calls) > 0 && (!first || !called[i]) {
				visit(i)
			}
		}
	}

	// Guesses come last and give way, so that a comment in a broken module
	// cannot undo the root module that calls it.
	var reaches func(from, to int, seen map[int]bool) bool
	reaches = func(from, to int, seen map[int]bool) bool {
		if from == to {
			return true
		}
		seen[from] = true
		return slices.ContainsFunc(callers[from].calls, func(next int) bool { return !seen[next] && reaches(next, to, seen) })
	}
	for i := range callers {
		c := &callers[i]
		if c.view == nil || !c.view.broken {
			continue
		}
		for _, f := range c.view.files {
			for _, source := range f.facts.guesses {
				to, _, err := repo.resolve(joinLocal(c.dir, source))
				if j, ok := index[to]; err == nil && ok && !reaches(j, i, map[int]bool{}) {
					c.calls = append(c.calls, j)
					keep(to, caller{dir: c.dir, guessed: true})
				}
			}
		}
	}

	for dir, rec := range repo.dirs {
		for _, source := range rec.tested {
			for _, module := range []string{dir, path.Dir(dir)} {
				if module != dir && path.Base(dir) != "tests" {
					continue
				}
				to := joinLocal(module, source)
				if to != module && within(to, module) {
					keep(to, caller{test: true})
				}
			}
		}
	}
	return kept
}

func circleProblem(dir string, at callAt, circle []string) Problem {
	text := fmt.Sprintf("module %q calls its own directory", at.name)
	if len(circle) > 2 {
		text = fmt.Sprintf("module %q closes a circle of modules: %s", at.name, strings.Join(circle, " → "))
	}
	return Problem{File: join(dir, at.file.name), Line: at.line, Text: text, Fix: "let one of them not call the next", Severity: SeverityError}
}

// within reports whether p is dir or below it.
func within(p, dir string) bool {
	return dir == "." && !isOutside(p) || p == dir || strings.HasPrefix(p, dir+"/")
}

// node is a module as it is reached: by a path that may lead through symbolic
// links. Terraform joins the sources of nested modules to that path, so the
// same directory may call different ones when it is reached differently.
type node struct {
	path     string
	view     *view
	links    []string // on the way to it
	children []*node
	remotes  []RemoteModule
	foreign  []string // places of other repositories that it calls
	opaque   bool     // some of its calls cannot be followed
	expanded bool
	stamp    int
}

// closure lists the modules that are reached from a root module, which comes
// first. It tells the problems that it meets.
func (repo *repository) closure(dir, engine string) []*node {
	root := repo.node(dir, dir, nil, engine)
	repo.expand(root, engine, nil)
	repo.stamp++
	var list []*node
	var visit func(n *node)
	visit = func(n *node) {
		if n.stamp == repo.stamp {
			return
		}
		n.stamp = repo.stamp
		list = append(list, n)
		for _, child := range n.children {
			visit(child)
		}
	}
	visit(root)
	return list
}

func (repo *repository) node(p, physical string, links []string, engine string) *node {
	v := repo.view(physical, engine)
	if v != nil && p == physical && v.node != nil {
		return v.node
	}
	key := viewKey{p, engine}
	if n := repo.detours[key]; n != nil {
		return n
	}
	n := &node{path: p, view: v, links: links}
	if v != nil && p == physical {
		v.node = n
	} else {
		repo.detours[key] = n
	}
	repo.reached = append(repo.reached, n)
	return n
}

// expand finds what a node calls, and what that calls. above are the
// directories on the way to it.
func (repo *repository) expand(n *node, engine string, above []string) {
	if n.expanded || n.view == nil {
		return
	}
	n.expanded = true
	for _, p := range n.view.problems {
		repo.tell(p)
	}
	above = append(above, n.view.dir)
	for _, c := range n.view.calls {
		switch {
		case c.unknown:
			n.opaque = true
			repo.tell(Problem{
				File: n.file(c), Line: c.line, Severity: SeverityWarning,
				Text: fmt.Sprintf("the source of module %q is not a plain string, so its files are not followed", c.name),
				Fix:  "write the path out, or name the files under \"watch\" in plumbline.yaml",
			})
		case c.source == "":
			if c.file.facts.broken == nil {
				repo.tell(Problem{
					File: n.file(c), Line: c.line,
					Text: fmt.Sprintf("module %q has no source", c.name), Fix: "say where the module comes from",
				})
			}
		case isLocalSource(c.source) || isAbsoluteSource(c.source):
			repo.follow(n, c, engine, above)
		default:
			n.remotes = append(n.remotes, RemoteModule{
				Call: c.name, Source: c.source, Version: c.version, Floating: floats(c.source, c.version),
				File: n.file(c), Line: c.line,
			})
		}
	}
}

// file is the path of the file that a call stands in.
func (n *node) file(c callAt) string { return join(n.view.dir, c.file.name) }

// isAbsoluteSource reports whether a module source is a path that means
// another place on each machine.
func isAbsoluteSource(source string) bool {
	return strings.HasPrefix(source, "/") || strings.HasPrefix(source, "~/") || strings.HasPrefix(source, "file:")
}

// follow adds the module that a local source leads to.
func (repo *repository) follow(n *node, c callAt, engine string, above []string) {
	wrong := func(fix, format string, args ...any) {
		repo.tell(Problem{
			File: n.file(c), Line: c.line, Fix: fix,
			Text: fmt.Sprintf("module %q: ", c.name) + fmt.Sprintf(format, args...),
		})
	}
	const moveIn = "move the module into the repository, or give it a remote source"
	if isAbsoluteSource(c.source) {
		wrong(moveIn, "the source %q points outside the repository", c.source)
		return
	}
	to := c.to
	if n.path != n.view.dir {
		to = joinLocal(n.path, c.source)
	}
	if isOutside(to) {
		wrong(moveIn, "the source %q points outside the repository", c.source)
		return
	}
	physical, links, err := repo.resolve(to)
	switch {
	case errors.Is(err, errOtherRepository):
		n.foreign = append(n.foreign, physical)
		repo.tell(Problem{
			File: n.file(c), Line: c.line, Severity: SeverityWarning,
			Text: fmt.Sprintf("module %q: the source %q lies in %q, which is a submodule or an empty directory", c.name, c.source, physical),
			Fix:  "its files are not followed; only the submodule's commit counts as a change",
		})
		return
	case errors.Is(err, errLeavesRepository):
		wrong(moveIn, "the source %q points outside the repository through the symbolic link %q", c.source, links[len(links)-1])
		return
	case err != nil:
		wrong("correct the link", "the source %q %v", c.source, err)
		return
	}
	if slices.Contains(above, physical) {
		from := slices.Index(above, physical)
		if !repo.circleTold(n, c) {
			repo.tell(circleProblem(n.view.dir, c, append(slices.Clone(above[from:]), physical)))
		}
		return
	}
	if repo.view(physical, engine) == nil {
		if info, err := fs.Stat(repo.fsys, physical); err == nil && info.IsDir() {
			wrong("correct the source", "the directory %q holds no files that %s reads", physical, engine)
		} else {
			wrong("correct the source or add the directory", "there is no directory %q", physical)
		}
		return
	}
	child := repo.node(to, physical, links, engine)
	n.children = append(n.children, child)
	repo.expand(child, engine, above)
}

// circleTold reports whether the call is known to close a circle.
func (repo *repository) circleTold(n *node, c callAt) bool {
	return slices.ContainsFunc(repo.problems, func(p Problem) bool {
		return p.File == n.file(c) && p.Line == c.line && p.Severity == SeverityError
	})
}
