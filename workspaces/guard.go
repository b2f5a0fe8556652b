package workspaces

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
)

// Guarded is a rule that a change asks to change, and that stays as it is until
// the change is merged.
type Guarded struct {
	// Workspaces are the names of those that it is about, in the order of the
	// changed set.
	Workspaces []string
	// Key is what plumbline.yaml calls the rule, such as "apply" or
	// "drift.correct".
	Key string
	// Kept is what counts now, and Asked what the change says, both as text for
	// people.
	Kept, Asked string
}

// String says it in a sentence, without the names of the workspaces.
func (g Guarded) String() string {
	return fmt.Sprintf("%s stays %s until this is merged; the change asks for %s", g.Key, g.Kept, g.Asked)
}

// Guard returns the workspaces of head under the rules of base, the branch that
// head is to be merged into, and what head asks for that does not count yet.
// Neither set changes. So nobody can loosen, in the very change that they want
// applied, what guards it: apply, approvals, enabled, account, env (a variable's
// name is access to its value, and a command is run), aws and everything about
// drift.
//
// A workspace that base has is recognised by its directory, without symbolic
// links, and its Terraform workspace, so that neither another name nor another
// entry makes it a new one; where several states share both, by its
// backend_config, and otherwise all of them count. Entries of base count even
// where base's tree has nothing to run for them. What base has switched off
// stays so.
//
// A new workspace gets the strictest of its own rules, of base's defaults, and
// of the rules of what it may be in disguise: workspaces of the same directory,
// and those that base has and head has no more. It may see no variable that
// none of these sees, and gets the credentials of base's defaults, unless it
// asks for just those of one of these.
//
// Switching off, or leaving out, what base has is not prevented: nothing is run
// for it then, and [Affected] tells of it. The set is not for drift, which only
// the base branch has. A nil base is a branch without workspaces and without
// plumbline.yaml. A base that could not be read is not nil: there nothing may be
// run.
func Guard(base, head *Set) (*Set, []Guarded) {
	return guardBy(newGuard(base, head), head)
}

// GuardMerge is Guard for when head is on the branch already. What the branch
// says of env, aws, account, enabled and drift counts from then on, for everything
// that is run: so it counts for what is run first, too, and nobody is shown a
// plan that was made without a variable which the next one sees. Whether the
// merge applies anything, and by whose leave, is still for base to say: apply
// and approvals. Whoever applies finds no reviewed plan of what was switched on,
// and another plan where a new variable makes a difference.
func GuardMerge(base, head *Set) (*Set, []Guarded) {
	g := newGuard(base, head)
	g.merged = true
	return guardBy(g, head)
}

func guardBy(g *guard, head *Set) (*Set, []Guarded) {
	out := *head
	out.Workspaces = make([]*Workspace, 0, len(head.Workspaces))
	out.infos = make(map[string]*info, len(head.infos))
	out.disabled = slices.Clone(head.disabled)
	off := map[string]bool{}
	for _, old := range head.Workspaces {
		in := head.infos[old.Name]
		w := *old
		rules, isOff := g.rules(&w, in)
		if g.merged {
			own := rulesOf(&w)
			rules.env, rules.access, rules.account, rules.drift = own.env, own.access, own.account, own.drift
		}
		if isOff != nil {
			off[w.Name] = true
			e := *isOff
			e.name, e.dir = w.Name, w.Dir
			out.disabled = append(out.disabled, e)
			g.note(w.Name, "enabled", "false", "true")
			continue
		}
		g.compare(&w, rules)
		rules.impose(&w)
		out.Workspaces = append(out.Workspaces, &w)
		if in != nil {
			guarded := *in
			guarded.workspace = &w
			out.infos[w.Name] = &guarded
		}
	}
	if len(off) > 0 {
		for _, w := range out.Workspaces {
			w.DependsOn = slices.DeleteFunc(slices.Clone(w.DependsOn), func(name string) bool { return off[name] })
		}
	}
	return &out, g.notes
}

// guardRules are the settings of a workspace that guard it.
type guardRules struct {
	apply     string
	approvals int
	env       []string
	access    Access
	account   string
	drift     Drift
}

func rulesOf(w *Workspace) guardRules {
	return guardRules{apply: w.Apply, approvals: w.Approvals, env: w.Env, access: w.Access, account: w.Account, drift: w.Drift}
}

// impose makes the workspace obey. It shares nothing with the rules.
func (r guardRules) impose(w *Workspace) {
	w.Apply, w.Approvals, w.Account, w.Env = r.apply, r.approvals, r.account, orEmpty(r.env)
	w.Access = r.access
	w.Access.Plan, w.Access.Apply = cloneSources(r.access.Plan), cloneSources(r.access.Apply)
	w.Drift = r.drift
	w.Drift.Correct = maps.Clone(r.drift.Correct)
	w.Drift.Classes = maps.Clone(r.drift.Classes)
	w.Drift.Windows = orEmpty(r.drift.Windows)
	w.Drift.Ignore = slices.Clone(r.drift.Ignore)
}

// standing is a workspace of base, or an entry that it has none for.
type standing struct {
	dirs      []string // its directory as written and without symbolic links
	workspace string
	backend   []string
	off       *disabledEntry // not nil when base switches it off
	rules     guardRules
}

// guard is one call of Guard.
type guard struct {
	known    []standing
	gone     []guardRules // what head has no more
	defaults guardRules
	merged   bool // see GuardMerge
	notes    []Guarded
	noted    map[[3]string]int
}

func newGuard(base, head *Set) *guard {
	if base == nil {
		base = &Set{}
	}
	config := base.config
	if config == nil {
		config = &Config{}
	}
	g := &guard{noted: map[[3]string]int{}, defaults: rulesFrom(Settings{}.over(config.Defaults), config)}
	covered := map[int]bool{}
	for _, w := range base.Workspaces {
		s := standing{dirs: []string{w.Dir}, workspace: w.Workspace, backend: w.BackendConfig, rules: rulesOf(w)}
		if in := base.infos[w.Name]; in != nil {
			s.dirs = append(s.dirs, in.dir)
			if in.entry != notAnEntry {
				covered[in.entry] = true
			}
		}
		g.known = append(g.known, s)
		if !slices.ContainsFunc(head.Workspaces, func(h *Workspace) bool { return s.is(h, head.infos[h.Name]) }) {
			g.gone = append(g.gone, s.rules)
		}
	}
	for i := range config.Workspaces {
		e := &config.Workspaces[i]
		if covered[i] || e.Dir == "" {
			continue
		}
		settings := e.over(config.Defaults)
		s := standing{
			dirs: []string{path.Clean(e.Dir)}, workspace: either(settings.Workspace, "default"),
			backend: settings.BackendConfig, rules: rulesFrom(settings, config),
		}
		if base.repo != nil {
			if physical, _, err := base.repo.resolve(s.dirs[0]); err == nil {
				s.dirs = append(s.dirs, physical)
			}
		}
		for j := range base.disabled {
			if off := base.disabled[j]; off.dir == s.dirs[0] && off.workspace == s.workspace && off.name == e.name(config.Defaults) {
				s.off = &off
			}
		}
		g.known = append(g.known, s)
	}
	return g
}

// rulesFrom are the rules that settings make.
func rulesFrom(s Settings, config *Config) guardRules {
	r := guardRules{apply: either(s.Apply, defaultApply), env: s.Env, access: s.access(), account: s.Account, drift: newDrift(s.Drift, config)}
	if s.Approvals != nil {
		r.approvals = *s.Approvals
	}
	return r
}

// shares reports whether the workspace has the same directory.
func (s *standing) shares(w *Workspace, in *info) bool {
	return slices.Contains(s.dirs, w.Dir) || in != nil && slices.Contains(s.dirs, in.dir)
}

// is reports whether the workspace is the same, as far as one can tell without
// its backend.
func (s *standing) is(w *Workspace, in *info) bool {
	return s.workspace == w.Workspace && s.shares(w, in)
}

// rules returns the rules that a workspace of head is under. When base has
// switched it off it returns the place.
func (g *guard) rules(w *Workspace, in *info) (guardRules, *disabledEntry) {
	var same, exact, near []standing
	for i := range g.known {
		s := &g.known[i]
		switch {
		case s.is(w, in) && slices.Equal(s.backend, w.BackendConfig):
			exact = append(exact, *s)
		case s.is(w, in):
			same = append(same, *s)
		case s.shares(w, in):
			near = append(near, *s)
		}
	}
	if len(exact) > 0 {
		same = exact
	}
	if len(same) > 0 {
		rules := same[0].rules
		if same[0].off != nil {
			rules = rules.strictest(rulesOf(w)) // nobody knows what it would have been
		}
		for _, s := range same {
			if s.off != nil && !g.merged {
				return guardRules{}, s.off
			}
			rules = rules.strictest(s.rules)
		}
		return rules, nil
	}

	rules := rulesOf(w).strictest(g.defaults)
	seen, access := slices.Clone(g.defaults.env), g.defaults.access
	beside := func(other guardRules) {
		rules, seen = rules.strictest(other), append(seen, other.env...)
		if w.Access.Is(other.access) {
			access = other.access
		}
	}
	for _, s := range near {
		beside(s.rules)
	}
	for _, gone := range g.gone {
		beside(gone)
	}
	// A change of its files lets whoever writes it see what a workspace of base
	// sees, so that gives nothing away.
	rules.env, rules.access = visible(w.Env, seen), access
	return rules, nil
}

// strictest joins rules so that nothing is allowed that either does not allow.
func (r guardRules) strictest(other guardRules) guardRules {
	if slices.Index(applyChoices, other.apply) > slices.Index(applyChoices, r.apply) {
		r.apply = other.apply
	}
	r.approvals = max(r.approvals, other.approvals)
	r.env = visible(r.env, other.env)
	if !r.access.Is(other.access) {
		r.access = Access{} // neither is stricter, so there is none
	}
	r.drift = r.drift.strictest(other.drift)
	return r
}

// visible are the names of variables that are in the list or stand for fewer
// variables than a pattern of the list.
func visible(names, list []string) []string {
	var in []string
	for _, name := range names {
		if slices.ContainsFunc(list, func(allowed string) bool {
			prefix, isPattern := strings.CutSuffix(allowed, "*")
			return name == allowed || isPattern && strings.HasPrefix(name, prefix)
		}) {
			in = append(in, name)
		}
	}
	return in
}

// strictest joins what drift may be corrected. Where two answers cannot be
// joined, nothing is.
func (d Drift) strictest(other Drift) Drift {
	correct := map[string]string{}
	for class, level := range d.Correct {
		theirs := slices.Index(ladderChoices, other.Correct[class])
		correct[class] = ladderChoices[max(0, min(slices.Index(ladderChoices, level), theirs))]
	}
	if !maps.Equal(d.Classes, other.Classes) || len(d.Windows) > 0 && len(other.Windows) > 0 && !slices.Equal(d.Windows, other.Windows) {
		correct = map[string]string{}
	}
	d.Correct = correct
	if len(d.Windows) == 0 {
		d.Windows = other.Windows
	}
	if d.MaxChanges == 0 || other.MaxChanges > 0 && other.MaxChanges < d.MaxChanges {
		d.MaxChanges = other.MaxChanges
	}
	d.Ignore = slices.DeleteFunc(slices.Clone(d.Ignore), func(rule IgnoreRule) bool {
		return !slices.ContainsFunc(other.Ignore, func(o IgnoreRule) bool { return reflect.DeepEqual(rule, o) })
	})
	return d
}

// compare notes what the workspace asks for and does not get.
func (g *guard) compare(w *Workspace, r guardRules) {
	g.differ(w.Name, "apply", r.apply, w.Apply)
	g.differ(w.Name, "approvals", fmt.Sprint(r.approvals), fmt.Sprint(w.Approvals))
	g.differ(w.Name, "env", listText(r.env), listText(w.Env))
	g.differ(w.Name, "aws", r.access.roles(), w.Access.roles())
	g.differSources(w.Name, "env.plan", r.access.Plan, w.Access.Plan)
	g.differSources(w.Name, "env.apply", r.access.Apply, w.Access.Apply)
	g.differ(w.Name, "account", either(r.account, "none"), either(w.Account, "none"))
	g.differ(w.Name, "drift.every", either(r.drift.Every, "what the server is set to"), either(w.Drift.Every, "what the server is set to"))
	g.differ(w.Name, "drift.correct", ladderText(r.drift.Correct), ladderText(w.Drift.Correct))
	g.differ(w.Name, "drift.max_changes", fmt.Sprint(r.drift.MaxChanges), fmt.Sprint(w.Drift.MaxChanges))
	g.differ(w.Name, "drift.windows", listText(r.drift.Windows), listText(w.Drift.Windows))
	g.differ(w.Name, "drift.who", r.drift.Who, w.Drift.Who)
	g.differ(w.Name, "classes", mapText(r.drift.Classes), mapText(w.Drift.Classes))
	if !slices.EqualFunc(r.drift.Ignore, w.Drift.Ignore, func(a, b IgnoreRule) bool { return reflect.DeepEqual(a, b) }) {
		g.note(w.Name, "drift.ignore", rulesText(len(r.drift.Ignore)), "other rules")
	}
}

func (g *guard) differ(workspace, key, kept, asked string) {
	if kept != asked {
		g.note(workspace, key, kept, asked)
	}
}

// differSources tells where values come from, and no values.
func (g *guard) differSources(workspace, key string, kept, asked map[string]Source) {
	if sameSources(kept, asked) {
		return
	}
	asks := sourcesText(asked)
	if asks == sourcesText(kept) {
		asks = "other values"
	}
	g.note(workspace, key, sourcesText(kept), asks)
}

// note keeps what was asked for, in one item for all workspaces that ask for
// the same.
func (g *guard) note(workspace, key, kept, asked string) {
	id := [3]string{key, kept, asked}
	at, ok := g.noted[id]
	if !ok {
		at = len(g.notes)
		g.noted[id] = at
		g.notes = append(g.notes, Guarded{Key: key, Kept: kept, Asked: asked})
	}
	g.notes[at].Workspaces = append(g.notes[at].Workspaces, workspace)
}

func listText(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// ladderText leaves out what says nothing.
func ladderText(correct map[string]string) string {
	correct = maps.Clone(correct)
	maps.DeleteFunc(correct, func(_, level string) bool { return level == ladderChoices[0] })
	return mapText(correct)
}

func mapText(m map[string]string) string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, key+": "+m[key])
	}
	return listText(list)
}

func rulesText(n int) string {
	switch n {
	case 0:
		return "without rules"
	case 1:
		return "one rule"
	}
	return fmt.Sprintf("%d rules", n)
}
