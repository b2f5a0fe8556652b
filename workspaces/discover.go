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

// discovered is the Source of a workspace that no entry names.
const discovered = "discovered"

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
// files cannot be read as HCL is taken to declare something, and to call what
// its text seems to name as the source of a module: a module must not be run by
// itself because its caller is broken. Directories whose
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
	file := readConfigFile(fsys)
	if err := joinProblems(file.problems); err != nil {
		return nil, err
	}
	d, err := discover(ctx, fsys, file, opts)
	if err != nil {
		return nil, err
	}
	if len(d.fatal) > 0 {
		return nil, joinProblems(d.fatal)
	}
	return d.set, nil
}

// Check returns every mistake that [Discover] would find, sorted by place:
// those of plumbline.yaml by itself, and together with them what the repository
// has to say against it and what is wrong in the Terraform files. It goes on
// where Discover gives up, with what could be read of plumbline.yaml. The list
// may hold warnings only; a repository without plumbline.yaml can be without
// mistakes. The error says that the file system cannot be read.
func Check(ctx context.Context, fsys fs.FS, opts Options) ([]Problem, error) {
	file := readConfigFile(fsys)
	if file.useless {
		return file.problems, nil
	}
	d, err := discover(ctx, fsys, file, opts)
	if err != nil {
		return nil, err
	}
	problems := slices.Concat(d.repo.problems, d.fatal)
	sortProblems(problems)
	return problems, nil
}

// discover does what a set needs, unless that fails with problems that are
// fatal to the set.
func discover(ctx context.Context, fsys fs.FS, file configFile, opts Options) (*discovery, error) {
	dirs, problems, err := readRecords(ctx, fsys, opts)
	if err != nil {
		return nil, err
	}
	d := &discovery{
		config: file.config, lines: file.lines, repo: newRepository(fsys, dirs),
		set: &Set{infos: map[string]*info{}, unusable: map[string]int{}},
	}
	for _, p := range slices.Concat(file.problems, problems) {
		d.repo.tell(p)
	}
	d.entries()
	d.roots()
	d.finish()
	return d, nil
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
func readConfigFile(fsys fs.FS) configFile {
	info, err := fs.Stat(fsys, ConfigFile)
	if err == nil && !info.Mode().IsRegular() {
		// Reading a pipe would wait for ever, a device never end.
		err = errors.New("it is not a regular file")
	}
	var data []byte
	if err == nil {
		data, err = fs.ReadFile(fsys, ConfigFile)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return configFile{config: &Config{}}
	case err != nil:
		return configFile{config: &Config{}, useless: true, problems: []Problem{{
			File: ConfigFile, Text: fmt.Sprintf("the file cannot be read: %v", pathless(err)),
			Fix: "make it a readable file of this repository", Severity: SeverityError,
		}}}
	}
	return parseConfigFile(ConfigFile, data)
}

// discovery is one call of Discover: the set while it is made.
type discovery struct {
	config *Config
	lines  configLines
	repo   *repository
	set    *Set
	taken  map[string]bool // directories that plumbline.yaml has entries for
	called map[string]caller
	fatal  []Problem // what leaves no set
}

// entries makes the workspaces that plumbline.yaml names.
func (d *discovery) entries() {
	d.taken = map[string]bool{}
	for i := range d.config.Workspaces {
		e := &d.config.Workspaces[i]
		if e.Dir == "" {
			// What is wrong with it was told, and its name means something.
			if e.Name != "" {
				d.set.unusable[e.Name] = d.lines.find(i, "dir", "", e.Line)
			}
			continue
		}
		dir := path.Clean(e.Dir)
		d.taken[dir] = true
		settings := e.over(d.config.Defaults)
		if settings.Enabled != nil && !*settings.Enabled {
			workspace := either(settings.Workspace, "default")
			d.set.disabled = append(d.set.disabled, disabledEntry{
				name: e.name(d.config.Defaults), dir: dir, workspace: workspace, line: d.lines.find(i, "enabled", "", e.Line),
			})
			continue
		}
		wrong := func(fix, format string, args ...any) {
			line := d.lines.find(i, "dir", "", e.Line)
			d.set.unusable[e.name(d.config.Defaults)] = line
			d.repo.tell(Problem{File: ConfigFile, Line: line, Text: fmt.Sprintf(format, args...), Fix: fix})
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
		d.add(i, dir, physical, links, settings)
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
		if !isCalled(dir) && !d.taken[dir] && !isHidden(dir) && d.repo.hasConfig(dir) && d.config.ignores(dir) == "" {
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
		d.add(notAnEntry, dir, dir, nil, settings)
	}
}

// isHidden reports whether a part of the path begins with a dot.
func isHidden(dir string) bool {
	return dir != "." && strings.HasPrefix(dir, ".") || strings.Contains(dir, "/.")
}

// ignores returns the pattern by which plumbline.yaml ignores the directory or
// one that it lies in; "" when there is none.
func (c *Config) ignores(dir string) string {
	for _, pattern := range c.Ignore {
		for at := dir; ; at = path.Dir(at) {
			if doublestar.MatchUnvalidated(path.Clean(pattern), at) {
				return pattern
			}
			if at == "." || !strings.Contains(at, "/") {
				break
			}
		}
	}
	return ""
}

// add makes one workspace of an entry, or of none when it was discovered.
func (d *discovery) add(at int, dir, physical string, links []string, s Settings) {
	w := &Workspace{
		Dir:           dir,
		Workspace:     either(s.Workspace, "default"),
		Engine:        d.repo.engineFor(physical, s.Engine),
		Terraform:     s.Terraform,
		VarFiles:      orEmpty(s.VarFiles),
		BackendConfig: orEmpty(s.BackendConfig),
		Account:       s.Account,
		Env:           orEmpty(s.Env),
		Access:        s.access(),
		Watch:         orEmpty(s.Watch),
		DependsOn:     orEmpty(s.DependsOn),
		Apply:         either(s.Apply, defaultApply),
		Drift:         newDrift(s.Drift, d.config),
		Reasons:       []string{},
		Warnings:      []string{},
		Source:        discovered,
	}
	if s.Approvals != nil {
		w.Approvals = *s.Approvals
	}
	entry := Entry{Dir: dir}
	line := 0
	if at != notAnEntry {
		e := &d.config.Workspaces[at]
		line = e.Line
		w.Source = fmt.Sprintf("%s:%d", ConfigFile, line)
		entry.Name, entry.Settings = e.Name, e.Settings
	}
	w.Name = entry.name(d.config.Defaults)
	if d.refuse(w, at, line, physical) {
		return
	}

	nodes := d.repo.closure(physical, w.Engine)
	in := &info{
		workspace: w, entry: at, line: line, dir: physical, nodes: nodes, links: links,
	}
	d.modules(w, in)
	w.VersionFile, in.pins = d.pin(physical, pinName(w.Engine))
	d.checkValueFiles(w, in)
	d.backend(w, in)

	if other := d.set.infos[w.Name]; other != nil {
		if at != notAnEntry {
			return // only another entry is here before it, and that they share a name was told
		}
		d.fatal = append(d.fatal, Problem{
			File: ConfigFile, Line: d.lines.find(other.entry, "name", "", other.line), Severity: SeverityError, Workspace: w.Name,
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

// backend fills where the state is kept, as far as it is written down.
func (d *discovery) backend(w *Workspace, in *info) {
	v := in.nodes[0].view
	if v == nil || v.backend == nil {
		return
	}
	w.Backend, w.BackendPath = v.backend.kind, v.backend.path
	if w.Backend != localBackend {
		return
	}
	for _, item := range w.BackendConfig {
		if isBackendPair(item) {
			if key, value, _ := strings.Cut(item, "="); key == "path" {
				w.BackendPath = value
			}
		} else if written := d.pathInBackendFile(path.Join(in.dir, item)); written != "" {
			w.BackendPath = written
		}
	}
}

// pathInBackendFile is the argument "path" of a backend file, "" when it has
// none.
func (d *discovery) pathInBackendFile(file string) string {
	target, _, err := d.repo.resolve(file)
	if err != nil {
		return unknownPath
	}
	data, err := fs.ReadFile(d.repo.fsys, target)
	if err != nil || strings.HasSuffix(target, ".json") {
		return unknownPath
	}
	parsed, diags := parseSyntax(target, data)
	if diags.HasErrors() {
		return unknownPath
	}
	attrs, _ := parsed.Body.JustAttributes()
	if attr, ok := attrs["path"]; ok {
		return plainPath(attr.Expr)
	}
	return ""
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

// refuse reports whether the workspace would read files outside of the
// repository, and tells of each. An entry's own paths were checked when
// plumbline.yaml was read; those that it has from "defaults" mean another place
// in each directory.
func (d *discovery) refuse(w *Workspace, at, line int, dir string) bool {
	refused := false
	check := func(key string, items []string) {
		for _, item := range items {
			if key == "backend_config" && isBackendPair(item) || insideRepository(dir, item) {
				continue
			}
			refused = true
			line := d.lines.find(at, key, item, line)
			d.set.unusable[w.Name] = line
			d.repo.tell(Problem{
				File: ConfigFile, Line: line, Workspace: w.Name,
				Text: fmt.Sprintf("%s has %s, which leaves the repository when it is seen from %s", key, quote(item), quote(dir)),
				Fix:  fmt.Sprintf("give %s an entry with %s of its own, such as [], or leave its directory out", quote(w.Name), key),
			})
		}
	}
	check("var_files", w.VarFiles)
	check("backend_config", w.BackendConfig)
	check("watch", w.Watch)
	return refused
}

// checkValueFiles warns of var files and backend files that are not there.
// Only a warning, for they may be made by what runs plumbline.
func (d *discovery) checkValueFiles(w *Workspace, in *info) {
	check := func(kind, key, file string) {
		full := path.Join(in.dir, file)
		if isOutside(full) || path.IsAbs(file) {
			return // such a workspace was refused
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
				File: ConfigFile, Line: d.lines.find(in.entry, key, file, in.line), Severity: SeverityWarning, Workspace: w.Name,
				Text: fmt.Sprintf("the %s %q of workspace %q does not exist", kind, file, w.Name),
				Fix:  "correct the path, which is relative to the workspace's directory, or add the file",
			})
		}
	}
	for _, file := range w.VarFiles {
		check("var file", "var_files", file)
	}
	for _, file := range w.BackendConfig {
		if !isBackendPair(file) {
			check("backend file", "backend_config", file)
		}
	}
}

// newDrift makes a workspace's drift settings of what plumbline.yaml says.
func newDrift(s *DriftSettings, config *Config) Drift {
	drift := Drift{
		Correct: map[string]string{}, MaxChanges: DefaultMaxChanges, Who: defaultWho,
		Windows: []string{}, Ignore: []IgnoreRule{}, Classes: map[string]string{},
	}
	maps.Copy(drift.Classes, config.Classes)
	if s == nil {
		return drift
	}
	drift.Every = s.Every
	maps.Copy(drift.Correct, s.Correct)
	drift.Windows = orEmpty(s.Windows)
	drift.Who = either(s.Who, defaultWho)
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
func (d *discovery) finish() {
	d.dependencies()
	ordered, circles := inGraphOrder(d.set.Workspaces)
	for _, circle := range circles {
		d.fatal = append(d.fatal, Problem{
			File: ConfigFile, Line: d.set.infos[circle[0]].dependsAt[circle[1]], Severity: SeverityError, Workspace: circle[0],
			Text: "depends_on goes round in a circle: " + strings.Join(circle, " → "),
			Fix:  "let one of them not depend on the next",
		})
	}
	sortProblems(d.fatal)
	if len(circles) == 0 {
		d.set.Workspaces = ordered
	}
	d.set.config, d.set.called = d.config, d.called
	d.set.repo = d.repo
	d.set.owners = d.set.findOwners()

	if len(d.repo.problems) == 0 {
		return
	}
	// A problem in a root module's own file is that workspace's.
	owners := map[string][]string{}
	for _, w := range d.set.Workspaces {
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
	disabled := map[string]disabledEntry{}
	for _, e := range d.set.disabled {
		disabled[e.name] = e
	}
	for _, w := range d.set.Workspaces {
		in := d.set.infos[w.Name]
		in.dependsAt = map[string]int{}
		resolved := []string{}
		for _, name := range w.DependsOn {
			line := d.lines.find(in.entry, "depends_on", name, in.line)
			add := func(other string) {
				// That one depends on itself was told when the file was read.
				if other != w.Name {
					resolved = append(resolved, other)
					in.dependsAt[other] = line
				}
			}
			wrong := func(fix, format string, args ...any) {
				d.repo.tell(Problem{
					File: ConfigFile, Line: line, Workspace: w.Name,
					Text: fmt.Sprintf("workspace %q depends on %q, ", w.Name, name) + fmt.Sprintf(format, args...), Fix: fix,
				})
			}
			siblings := byDir[path.Clean(name)]
			off, isOff := disabled[name]
			switch {
			case d.set.infos[name] != nil:
				add(name)
			case isOff && (len(siblings) == 0 || off.dir != path.Clean(name)):
				wrong("remove it from depends_on, or enable it", "which is disabled in line %d", off.line)
			case d.set.unusable[name] > 0:
				wrong("correct that first", "which has a mistake in line %d", d.set.unusable[name])
			case len(siblings) > 0:
				for _, sibling := range siblings {
					add(sibling)
				}
			default:
				fix := "name a workspace that is found and enabled; see plumbline workspaces"
				if near := nearest(name, names); near != "" {
					fix = fmt.Sprintf("did you mean %q?", near)
				}
				wrong(fix, "which is no workspace")
			}
		}
		slices.Sort(resolved)
		w.DependsOn = slices.Compact(resolved)
	}
}
