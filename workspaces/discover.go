package workspaces

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// ConfigFile is the name of the optional configuration, at a repository's root.
const ConfigFile = "plumbline.yaml"

// Options say how [Discover] works, not what it finds.
type Options struct {
	// Facts remembers what was read before; nil remembers nothing. It has an
	// effect on Git trees only.
	Facts *FactCache
	// Parallel is how many files are parsed at once; 0 for as many as there
	// are processors.
	Parallel int
}

func (o Options) parallel() int {
	if o.Parallel > 0 {
		return o.Parallel
	}
	return runtime.GOMAXPROCS(0)
}

// Discover finds the workspaces of a file system, which holds a repository at
// its root.
//
// Without plumbline.yaml, a workspace is each directory that has .tf, .tf.json,
// .tofu or .tofu.json files, is not called as a local module by another
// directory, and declares something that a plan could hold: a resource, a data
// source, a module call, an output, a backend and the like. A directory whose
// files cannot be read as HCL is taken to declare something. Directories whose
// name begins with a dot are not workspaces unless plumbline.yaml names them,
// but their modules can be called; .git, .terraform, .terragrunt-cache,
// node_modules, submodules and nested clones are never entered. Symbolic links
// are followed where Terraform follows them: from a module call, and from a
// .tf file.
//
// Mistakes in single directories are Problems of the set. The error says that
// there is no set: the file system cannot be read, or plumbline.yaml is wrong.
// In the latter case the error holds all its Problems, which [Problems] finds.
func Discover(ctx context.Context, fsys fs.FS, opts Options) (*Set, error) {
	config, warnings, err := readConfigFile(fsys)
	if err != nil {
		return nil, err
	}
	dirs, problems, err := readRecords(ctx, fsys, opts)
	if err != nil {
		return nil, err
	}
	d := &discovery{config: config, repo: newRepository(fsys, dirs), set: &Set{infos: map[string]*info{}}}
	for _, p := range slices.Concat(warnings, problems) {
		d.repo.tell(p)
	}
	d.entries()
	d.roots()
	if err := d.finish(); err != nil {
		return nil, err
	}
	return d.set, nil
}

// Problems lists the problems that an error holds, such as those of a wrong
// plumbline.yaml; none for other errors.
func Problems(err error) []Problem {
	var list []Problem
	var p Problem
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, Problems(e)...)
		}
	} else if errors.As(err, &p) {
		list = append(list, p)
	}
	return list
}

// readConfigFile reads plumbline.yaml, if there is one.
func readConfigFile(fsys fs.FS) (*Config, []Problem, error) {
	data, err := fs.ReadFile(fsys, ConfigFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Config{}, nil, nil
	case err != nil:
		return nil, nil, Problem{
			File: ConfigFile, Text: fmt.Sprintf("the file cannot be read: %v", pathless(err)),
			Fix: "make it a readable file of this repository", Severity: SeverityError,
		}
	}
	config, problems := ParseConfig(ConfigFile, data)
	if err := joinProblems(problems); err != nil {
		return nil, nil, err
	}
	return config, problems, nil
}

// discovery is one call of Discover: the set while it is made.
type discovery struct {
	config *Config
	repo   *repository
	set    *Set
	taken  map[string]bool // directories that plumbline.yaml has entries for
	called map[string]caller
	fatal  []Problem
}

// entries makes the workspaces that plumbline.yaml names.
func (d *discovery) entries() {
	d.taken = map[string]bool{}
	for i := range d.config.Workspaces {
		e := &d.config.Workspaces[i]
		dir := path.Clean(e.Dir)
		d.taken[dir] = true
		settings := e.over(d.config.Defaults)
		if settings.Enabled != nil && !*settings.Enabled {
			continue
		}
		wrong := func(fix, format string, args ...any) {
			d.repo.tell(Problem{File: ConfigFile, Line: e.Line, Text: fmt.Sprintf(format, args...), Fix: fix})
		}
		physical, links, err := d.repo.resolve(dir)
		switch {
		case errors.Is(err, errOtherRepository):
			wrong("name a directory of this repository", "the directory %q belongs to a submodule, or is empty", dir)
			continue
		case err != nil:
			wrong("name a directory of this repository", "the directory %q %v", dir, err)
			continue
		}
		if len(links) > 0 {
			d.taken[physical] = true
		}
		engine := d.repo.engineFor(physical, settings.Engine)
		if d.repo.view(physical, engine) == nil {
			fix := "correct dir, or remove the entry if the directory is gone for good"
			if info, err := fs.Stat(d.repo.fsys, physical); err != nil || !info.IsDir() {
				wrong(fix, "there is no directory %q", dir)
			} else {
				wrong(fix, "the directory %q holds no files that %s reads", dir, engine)
			}
			continue
		}
		d.add(e, dir, physical, links, settings)
	}
}

// roots makes a workspace of each root module that plumbline.yaml does not
// name.
func (d *discovery) roots() {
	chosen := map[string]string{}
	for _, e := range d.config.Workspaces {
		if e.Engine != "" {
			chosen[path.Clean(e.Dir)] = e.Engine
		}
	}
	d.called = d.repo.calledDirs(func(dir string) string {
		if engine := chosen[dir]; engine != "" {
			return engine
		}
		return d.repo.engineFor(dir, d.config.Defaults.Engine)
	})
	if d.config.Discover != nil && !*d.config.Discover {
		return
	}
	if enabled := d.config.Defaults.Enabled; enabled != nil && !*enabled {
		return
	}
	isCalled := func(dir string) bool { _, ok := d.called[dir]; return ok }
	var dirs []string
	for dir := range d.repo.dirs {
		if !isCalled(dir) && !d.taken[dir] && !isHidden(dir) && d.repo.hasConfig(dir) && !d.isIgnored(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	settings := Settings{}.over(d.config.Defaults)
	for _, dir := range dirs {
		v := d.repo.view(dir, d.repo.engineFor(dir, settings.Engine))
		// A view with problems but no files has links that lead nowhere.
		if v == nil || !v.runs && !v.broken && len(v.files) > 0 {
			continue
		}
		d.add(nil, dir, dir, nil, settings)
	}
}

// isHidden reports whether a part of the path begins with a dot.
func isHidden(dir string) bool {
	return dir != "." && strings.HasPrefix(dir, ".") || strings.Contains(dir, "/.")
}

// isIgnored reports whether plumbline.yaml ignores the directory or one that
// it lies in.
func (d *discovery) isIgnored(dir string) bool {
	for _, pattern := range d.config.Ignore {
		for at := dir; ; at = path.Dir(at) {
			if doublestar.MatchUnvalidated(path.Clean(pattern), at) {
				return true
			}
			if at == "." || !strings.Contains(at, "/") {
				break
			}
		}
	}
	return false
}

// add makes one workspace. e is nil when it was discovered.
func (d *discovery) add(e *Entry, dir, physical string, links []string, s Settings) {
	w := &Workspace{
		Dir:           dir,
		Workspace:     either(s.Workspace, "default"),
		Engine:        d.repo.engineFor(physical, s.Engine),
		Terraform:     s.Terraform,
		VarFiles:      orEmpty(s.VarFiles),
		BackendConfig: orEmpty(s.BackendConfig),
		Account:       s.Account,
		Env:           orEmpty(s.Env),
		Watch:         orEmpty(s.Watch),
		DependsOn:     orEmpty(s.DependsOn),
		Apply:         either(s.Apply, "on-merge"),
		Drift:         d.drift(s.Drift),
		Reasons:       []string{},
		Warnings:      []string{},
		Source:        "discovered",
	}
	if s.Approvals != nil {
		w.Approvals = *s.Approvals
	}
	entry := Entry{Dir: dir}
	line := 0
	if e != nil {
		line = e.Line
		w.Source = fmt.Sprintf("%s:%d", ConfigFile, line)
		entry.Name, entry.Settings = e.Name, e.Settings
	}
	w.Name = entry.name(d.config.Defaults)

	nodes := d.repo.closure(physical, w.Engine)
	in := &info{
		workspace: w, line: line, dir: physical, nodes: nodes, links: links,
		inheritedDeps: e == nil || e.DependsOn == nil,
	}
	d.modules(w, in)
	w.VersionFile, in.pins = d.pin(physical, pinName(w.Engine))
	d.checkValueFiles(w, in)

	if other := d.set.infos[w.Name]; other != nil {
		d.fatal = append(d.fatal, Problem{
			File: ConfigFile, Line: max(line, other.line), Severity: SeverityError, Workspace: w.Name,
			Text: fmt.Sprintf("two workspaces have the name %q: that of %q and that of %q", w.Name, other.workspace.Dir, w.Dir),
			Fix:  "give one of them a name of its own",
		})
		return
	}
	d.set.infos[w.Name] = in
	d.set.Workspaces = append(d.set.Workspaces, w)
}

// modules fills what follows from the modules that the workspace reaches.
func (d *discovery) modules(w *Workspace, in *info) {
	w.Modules, w.RemoteModules, w.RequiredVersions = make([]string, 0, len(in.nodes)), []RemoteModule{}, []string{}
	for i, n := range in.nodes {
		if n.view != nil && n.view.dir != in.dir {
			w.Modules = append(w.Modules, n.view.dir)
		}
		w.RemoteModules = append(w.RemoteModules, n.remotes...)
		if i == 0 && n.view != nil {
			w.RequiredVersions = append(w.RequiredVersions, n.view.required...)
		}
	}
	slices.Sort(w.Modules)
	w.Modules = slices.Compact(w.Modules)
}

// pin finds the nearest file that pins the engine's version, from dir upwards,
// and says which paths it depends on.
func (d *discovery) pin(dir, name string) (version string, paths []string) {
	for ; ; dir = path.Dir(dir) {
		if rec := d.repo.dirs[dir]; rec != nil {
			for _, p := range rec.pins {
				if p.name == name {
					return p.version, []string{join(dir, name)}
				}
			}
			if _, ok := rec.link(name); ok {
				full := join(dir, name)
				if target, links, err := d.repo.resolve(full); err == nil {
					if data, err := fs.ReadFile(d.repo.fsys, target); err == nil {
						return firstLine(data), append(links, target)
					}
				}
			}
		}
		if dir == "." {
			return "", nil
		}
	}
}

// checkValueFiles warns of var files and backend files that are not there.
// Only a warning, for they may be made by what runs plumbline.
func (d *discovery) checkValueFiles(w *Workspace, in *info) {
	check := func(kind, file string) {
		full := path.Join(in.dir, file)
		if isOutside(full) || path.IsAbs(file) {
			return // plumbline.yaml was checked for it
		}
		physical, links, err := d.repo.resolve(full)
		if err == nil {
			in.links = append(in.links, links...)
			if rec := d.repo.dirs[path.Dir(physical)]; rec != nil && slices.Contains(rec.values, path.Base(physical)) {
				return
			}
			_, err = fs.Stat(d.repo.fsys, physical)
		}
		if err != nil {
			d.repo.tell(Problem{
				File: ConfigFile, Line: in.line, Severity: SeverityWarning, Workspace: w.Name,
				Text: fmt.Sprintf("the %s %q of workspace %q does not exist", kind, file, w.Name),
				Fix:  "correct the path, which is relative to the workspace's directory, or add the file",
			})
		}
	}
	for _, file := range w.VarFiles {
		check("var file", file)
	}
	for _, file := range w.BackendConfig {
		if !isBackendPair(file) {
			check("backend file", file)
		}
	}
}

func (d *discovery) drift(s *DriftSettings) Drift {
	drift := Drift{
		Correct: map[string]string{}, MaxChanges: DefaultMaxChanges,
		Windows: []string{}, Ignore: []IgnoreRule{}, Classes: map[string]string{},
	}
	maps.Copy(drift.Classes, d.config.Classes)
	if s == nil {
		return drift
	}
	drift.Every = s.Every
	maps.Copy(drift.Correct, s.Correct)
	drift.Windows = orEmpty(s.Windows)
	if s.MaxChanges != nil {
		drift.MaxChanges = *s.MaxChanges
	}
	for _, rule := range s.Ignore {
		rule.Attributes = orEmpty(rule.Attributes)
		drift.Ignore = append(drift.Ignore, rule)
	}
	return drift
}

// orEmpty makes a list of its own that is never nil, so that JSON shows [].
func orEmpty(list []string) []string {
	return append([]string{}, list...)
}

// finish resolves what workspaces say of one another and puts all in order.
func (d *discovery) finish() error {
	d.dependencies()
	ordered, circles := inGraphOrder(d.set.Workspaces)
	for _, circle := range circles {
		d.fatal = append(d.fatal, Problem{
			File: ConfigFile, Line: d.set.infos[circle[0]].line, Severity: SeverityError, Workspace: circle[0],
			Text: "depends_on goes round in a circle: " + strings.Join(circle, " → "),
			Fix:  "let one of them not depend on the next",
		})
	}
	if len(d.fatal) > 0 {
		sortProblems(d.fatal)
		return joinProblems(d.fatal)
	}
	d.set.Workspaces = ordered
	d.set.repo = d.repo
	d.set.owners = d.set.findOwners()

	if len(d.repo.problems) == 0 {
		return nil
	}
	// A problem in a root module's own file is that workspace's.
	owners := map[string][]string{}
	for _, w := range ordered {
		owners[d.set.infos[w.Name].dir] = append(owners[d.set.infos[w.Name].dir], w.Name)
	}
	for i := range d.repo.problems {
		p := &d.repo.problems[i]
		if names := owners[path.Dir(p.File)]; p.Workspace == "" && p.File != ConfigFile && len(names) == 1 {
			p.Workspace = names[0]
		}
	}
	d.set.Problems = d.repo.problems
	sortProblems(d.set.Problems)
	return nil
}

// dependencies replaces a directory in depends_on by the workspaces that it
// has, and drops names that nobody has, which is a problem.
func (d *discovery) dependencies() {
	if !slices.ContainsFunc(d.set.Workspaces, func(w *Workspace) bool { return len(w.DependsOn) > 0 }) {
		return
	}
	byDir := map[string][]string{}
	var names []string
	for _, w := range d.set.Workspaces {
		byDir[w.Dir] = append(byDir[w.Dir], w.Name)
		names = append(names, w.Name)
	}
	for _, w := range d.set.Workspaces {
		in := d.set.infos[w.Name]
		resolved := []string{}
		for _, name := range w.DependsOn {
			switch {
			case d.set.infos[name] != nil:
				if name != w.Name || !in.inheritedDeps {
					resolved = append(resolved, name)
				}
			case len(byDir[path.Clean(name)]) > 0:
				for _, sibling := range byDir[path.Clean(name)] {
					if sibling != w.Name {
						resolved = append(resolved, sibling)
					}
				}
			default:
				fix := "name a workspace that is found and enabled; see plumbline workspaces"
				if near := nearest(name, names); near != "" {
					fix = fmt.Sprintf("did you mean %q?", near)
				}
				d.repo.tell(Problem{
					File: ConfigFile, Line: in.line, Workspace: w.Name,
					Text: fmt.Sprintf("workspace %q depends on %q, which is no workspace", w.Name, name), Fix: fix,
				})
			}
		}
		slices.Sort(resolved)
		w.DependsOn = slices.Compact(resolved)
	}
}
