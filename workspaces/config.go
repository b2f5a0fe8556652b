package workspaces

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// configVersion is the version of the format of plumbline.yaml that this package reads.
const configVersion = 1

// topLevel is what messages call the outermost mapping.
const topLevel = "the file's top level"

// DefaultMaxChanges is how many changes one drift correction may make where plumbline.yaml sets no max_changes.
const DefaultMaxChanges = 10

// Defaults of what plumbline.yaml leaves out.
const (
	defaultApply  = "on-merge"
	defaultDrafts = "plan"
	defaultMerge  = "off"
	defaultPush   = "hold"
	defaultWho    = "off"
)

// Config is a repository's plumbline.yaml. The file is optional: the zero Config means that every root module that
// [Discover] finds is a workspace with default settings.
//
// The comments of this type and of those below it are what the JSON Schema, and so an editor, shows for each key.
type Config struct {
	// Version of this format. Only 1 exists; left out it is 1.
	Version int `yaml:"version,omitempty" json:"version,omitempty"`

	// Whether root modules that this file does not name are workspaces too. With false only the entries under
	// "workspaces" are. Default: true.
	Discover *bool `yaml:"discover,omitempty" json:"discover,omitempty"`

	// What the server does with a draft: plan it like any other pull request, or wait until it is ready for review. Read
	// from the base branch. Default: plan.
	Drafts string `yaml:"drafts,omitempty" json:"drafts,omitempty"`

	// Whether the server merges a pull request once everything in it was applied by "plumbline apply", and how: off,
	// merge, squash or rebase. Read from the base branch. Default: off.
	Merge string `yaml:"merge,omitempty" json:"merge,omitempty"`

	// What the server does with a push to the base branch that came without a pull request: plan it and hold it as not
	// applied, or apply the workspaces that apply on merge. Read from the base branch. Default: hold.
	Push string `yaml:"push,omitempty" json:"push,omitempty"`

	// Settings of every workspace, unless its own entry says otherwise.
	Defaults Settings `yaml:"defaults,omitempty" json:"defaults,omitzero"`

	// Workspaces with settings of their own. One directory may have several, one for each Terraform workspace or
	// backend.
	Workspaces []Entry `yaml:"workspaces,omitempty" json:"workspaces,omitempty"`

	// Directories in which, and below which, nothing is discovered: patterns relative to the repository's root, where ** stands for any
	// number of directories. An entry under "workspaces" wins over a pattern.
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty"`

	// Drift classes of resource types, beside the built-in table: a resource type, in which * stands for any
	// characters, and its class.
	Classes map[string]string `yaml:"classes,omitempty" json:"classes,omitempty"`
}

// Entry is one item under "workspaces" in plumbline.yaml.
type Entry struct {
	// Directory of the root module, relative to the repository's root and inside it, with forward slashes. "." is the
	// root. It names one directory: patterns are not expanded.
	Dir string `yaml:"dir" json:"dir"`

	// Name of the workspace, unique in the repository. Default: the directory, or directory@workspace when the
	// Terraform workspace is not "default".
	Name string `yaml:"name,omitempty" json:"name,omitempty"`

	Settings `yaml:",inline"`

	// Line of plumbline.yaml on which the entry begins, counted from 1. It is not a key.
	Line int `yaml:"-" json:"-"`
}

// Settings are what can be said of one workspace, and of all of them under "defaults". The zero value of a field
// means that it was not set.
//
// A workspace's own value replaces the default one, lists included; only "drift.correct" is merged class by class, so
// that naming one class does not unname another, and "aws", and the long form of "env", key by key.
type Settings struct {
	// Terraform workspace to select. Default: "default".
	Workspace string `yaml:"workspace,omitempty" json:"workspace,omitempty"`

	// Which program runs: terraform, or tofu for OpenTofu. Default: tofu for a directory that has only files which OpenTofu
	// alone reads (.tofu), else terraform.
	Engine string `yaml:"engine,omitempty" json:"engine,omitempty"`

	// Version constraint for the engine, in quotes. Default: required_version of the root module, else the
	// .terraform-version file (.opentofu-version for tofu), else what is on PATH.
	Terraform string `yaml:"terraform,omitempty" json:"terraform,omitempty"`

	// When plans are applied: on-merge applies what was reviewed once the change is merged; on-comment waits for
	// "plumbline apply" in the pull request; never only plans. Default: on-merge.
	Apply string `yaml:"apply,omitempty" json:"apply,omitempty"`

	// How many approvals of the pull request an apply needs, 0 to 100. Default: 0, which leaves it to the forge's own
	// rules for merging.
	Approvals *int `yaml:"approvals,omitempty" json:"approvals,omitempty"`

	// Whether the workspace is planned, applied and checked for drift at all. Default: true.
	Enabled *bool `yaml:"enabled,omitempty" json:"enabled,omitempty"`

	// Cloud account that the workspace works on. Workspaces that name the same account share one limit on how fast
	// drift is checked. Letters, digits and . _ - / : @. Default: none.
	Account string `yaml:"account,omitempty" json:"account,omitempty"`

	// Variable files passed to Terraform with -var-file, in this order, relative to the workspace's directory and inside
	// the repository. Default: none, which leaves the files that Terraform loads by itself.
	VarFiles []string `yaml:"var_files,omitempty" json:"var_files,omitempty"`

	// Backend settings passed to init with -backend-config, in this order: files relative to the workspace's directory
	// and inside the repository, or key=value pairs. Never write a secret here. Default: none.
	BackendConfig []string `yaml:"backend_config,omitempty" json:"backend_config,omitempty"`

	// Names of environment variables that Terraform may see besides the built-in list. A name may end in * to stand for
	// all that begin so. Or, in the long form, names under "names", and variables with their values under "plan" and
	// "apply". Default: none.
	Env []string `yaml:"env,omitempty" json:"env,omitempty"`

	// PlanEnv and ApplyEnv are what the long form of env sets.
	PlanEnv, ApplyEnv map[string]Source `yaml:"-" json:"-"`

	// Roles of AWS that Terraform gets: one to plan with, another one to apply.
	AWS *AWSSettings `yaml:"aws,omitempty" json:"aws,omitempty"`

	// Files besides the workspace's own, its local modules and its variable files whose change plans it: patterns
	// relative to its directory, which may begin with ../ and where ** stands for any number of directories. Default:
	// none.
	Watch []string `yaml:"watch,omitempty" json:"watch,omitempty"`

	// Names of workspaces that are planned and applied before this one. Default: none.
	DependsOn []string `yaml:"depends_on,omitempty" json:"depends_on,omitempty"`

	// How drift is looked for and what may be corrected.
	Drift *DriftSettings `yaml:"drift,omitempty" json:"drift,omitempty"`
}

// DriftSettings say how drift of a workspace is looked for, and how much of it may be corrected without asking.
type DriftSettings struct {
	// How often the server looks for drift: a duration such as 15m, a cron line of five fields, or off. Default: what
	// the server is set to.
	Every string `yaml:"every,omitempty" json:"every,omitempty"`

	// How far drift of each class may be corrected without asking. Each level allows those before it: never, create,
	// update, replace, all. Default: never.
	Correct map[string]string `yaml:"correct,omitempty" json:"correct,omitempty"`

	// Most changes that one correction may make, at least 1. With more of them nothing is corrected. Default: 10.
	MaxChanges *int `yaml:"max_changes,omitempty" json:"max_changes,omitempty"`

	// When corrections may happen: days, a span of time and a time zone. Any one of them is enough. Default: at any
	// time.
	Windows []string `yaml:"windows,omitempty" json:"windows,omitempty"`

	// Who is asked who changed something outside: off for nobody, or cloudtrail for AWS CloudTrail, with the credentials that
	// Terraform gets. Default: off.
	Who string `yaml:"who,omitempty" json:"who,omitempty"`

	// Drift that is known and accepted.
	Ignore []IgnoreRule `yaml:"ignore,omitempty" json:"ignore,omitempty"`
}

// ParseConfig reads a plumbline.yaml. The name of the file is only for the problems, of which it finds all that can be
// seen without looking at the repository, each with its line and what to do: unknown keys, values of a wrong type or form,
// paths that leave the repository, names and states that two entries share.
//
// The Config is never nil. If one of the problems is an error it holds what could be read, and nothing should be run from
// it. Files of any content are safe to read: size, nesting and aliases are bounded.
func ParseConfig(file string, data []byte) (*Config, []Problem) {
	r := parseConfigFile(file, data)
	return r.config, r.problems
}

// configFile is a plumbline.yaml as it was read.
type configFile struct {
	config   *Config
	problems []Problem
	lines    configLines
	// useless is set when config says nothing of what the file means.
	useless bool
}

func parseConfigFile(file string, data []byte) configFile {
	r := newConfigReader(file)
	c := &Config{Version: configVersion}
	if top := r.document(data); top == nil {
		r.useless = len(r.problems) > 0
	} else if top.Tag != "!!null" {
		r.config(top, c)
		r.sharedNames(c)
		r.checkAccess(c)
	}
	sortProblems(r.problems)
	return configFile{c, r.problems, r.lines, r.useless}
}

// name returns the entry's name, given or made from its directory and Terraform workspace.
func (e *Entry) name(defaults Settings) string {
	workspace := e.over(defaults).Workspace
	switch {
	case e.Name != "":
		return e.Name
	case workspace == "" || workspace == "default":
		return e.Dir
	}
	return e.Dir + "@" + workspace
}

// over returns s with what it does not set taken from defaults. The result shares no map with either.
func (s Settings) over(defaults Settings) Settings {
	s.Workspace = either(s.Workspace, defaults.Workspace)
	s.Engine = either(s.Engine, defaults.Engine)
	s.Terraform = either(s.Terraform, defaults.Terraform)
	s.Apply = either(s.Apply, defaults.Apply)
	s.Account = either(s.Account, defaults.Account)
	s.Approvals = either(s.Approvals, defaults.Approvals)
	s.Enabled = either(s.Enabled, defaults.Enabled)
	s.VarFiles = eitherList(s.VarFiles, defaults.VarFiles)
	s.BackendConfig = eitherList(s.BackendConfig, defaults.BackendConfig)
	s.Env = eitherList(s.Env, defaults.Env)
	s.Watch = eitherList(s.Watch, defaults.Watch)
	s.DependsOn = eitherList(s.DependsOn, defaults.DependsOn)
	s.PlanEnv = eitherSources(s.PlanEnv, defaults.PlanEnv)
	s.ApplyEnv = eitherSources(s.ApplyEnv, defaults.ApplyEnv)
	s.AWS = s.AWS.over(defaults.AWS)
	s.Drift = s.Drift.over(defaults.Drift)
	return s
}

// over returns d with what it does not set taken from defaults; either may be nil. "correct" is merged class by class: an
// entry that names one class must not undo the "never" of another.
func (d *DriftSettings) over(defaults *DriftSettings) *DriftSettings {
	if d == nil && defaults == nil {
		return nil
	}
	var merged, below DriftSettings
	if d != nil {
		merged = *d
	}
	if defaults != nil {
		below = *defaults
	}
	correct := maps.Clone(below.Correct)
	if correct == nil {
		correct = map[string]string{}
	}
	maps.Copy(correct, merged.Correct)
	merged.Correct = correct
	merged.Every = either(merged.Every, below.Every)
	merged.MaxChanges = either(merged.MaxChanges, below.MaxChanges)
	merged.Windows = eitherList(merged.Windows, below.Windows)
	merged.Who = either(merged.Who, below.Who)
	merged.Ignore = eitherList(merged.Ignore, below.Ignore)
	return &merged
}

func either[T comparable](own, otherwise T) T {
	var unset T
	if own != unset {
		return own
	}
	return otherwise
}

// eitherList takes an empty list for one that was set.
func eitherList[T any](own, otherwise []T) []T {
	if own != nil {
		return own
	}
	return otherwise
}

// config reads the top of the file.
func (r *configReader) config(n *yaml.Node, c *Config) {
	if r.useless = n.Kind != yaml.MappingNode || r.newer(n); r.useless && n.Kind == yaml.MappingNode {
		return
	}
	r.mapping(n, topLevel, []field{
		{"version", func(n *yaml.Node) {
			if v, ok := r.number(n, "version", 0, configVersion); ok && v != configVersion {
				r.wrong(n, "write version: 1", "there is no version %d of the format", v)
			}
		}},
		{"discover", func(n *yaml.Node) { c.Discover = r.truthPointer(n, "discover") }},
		{"drafts", func(n *yaml.Node) { c.Drafts, _ = r.choice(n, "drafts", draftsChoices) }},
		{"merge", func(n *yaml.Node) { c.Merge, _ = r.choice(n, "merge", mergeChoices) }},
		{"push", func(n *yaml.Node) { c.Push, _ = r.choice(n, "push", pushChoices) }},
		{"defaults", func(n *yaml.Node) { r.defaults(n, &c.Defaults) }},
		{"workspaces", func(n *yaml.Node) {
			items, _ := r.items(n, "workspaces", "- dir: clusters/prod")
			for i, item := range items {
				r.entryAt = i
				c.Workspaces = append(c.Workspaces, r.entry(item))
			}
			r.entryAt = notAnEntry
		}},
		{"ignore", func(n *yaml.Node) { c.Ignore = r.ignore(n) }},
		{"classes", func(n *yaml.Node) { c.Classes = r.choices(n, "class", r.isResourceType, classChoices) }},
	})
}

// newer tells of a file that a later Plumbline wrote. Nothing else is said about it then: what this version does not know
// is no mistake.
func (r *configReader) newer(n *yaml.Node) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		var version int
		if key.Value == "version" && value.Tag == "!!int" && value.Decode(&version) == nil && version > configVersion {
			r.wrong(value, fmt.Sprintf("update plumbline, or write the file for version %d", configVersion),
				"the file is of version %d, and this plumbline reads version %d", version, configVersion)
			return true
		}
	}
	return false
}

func (r *configReader) defaults(n *yaml.Node, s *Settings) {
	r.mapping(n, "defaults", r.settings(s, new(string)))
}

func (r *configReader) entry(n *yaml.Node) Entry {
	const what = "an item of workspaces"
	e := Entry{Line: n.Line}
	dirGiven := false
	fields := append([]field{
		{"dir", func(n *yaml.Node) {
			dirGiven = true
			e.Dir, _ = r.directory(n)
			r.note("dir", "", n.Line)
		}},
		{"name", func(n *yaml.Node) {
			e.Name, _ = r.workspaceName(n, "name")
			r.note("name", "", n.Line)
		}},
		{"enabled", func(n *yaml.Node) {
			e.Enabled = r.truthPointer(n, "enabled")
			r.note("enabled", "", n.Line)
		}},
		{"depends_on", func(n *yaml.Node) {
			e.DependsOn = r.list(n, "depends_on", `["network/prod"]`, func(item *yaml.Node) (string, bool) {
				return r.workspaceName(item, "depends_on")
			})
		}},
	}, r.settings(&e.Settings, &e.Dir)...)
	if !r.mapping(n, what, fields) {
		return e
	}
	if !dirGiven {
		r.wrong(n, "name the directory of the root module", "%s has no dir", what)
	}
	return e
}

// settings returns the keys that an entry and "defaults" share. The directory is "" where it is not known.
func (r *configReader) settings(s *Settings, dir *string) []field {
	return []field{
		{"workspace", func(n *yaml.Node) {
			s.Workspace, _ = r.matching(n, "workspace", terraformWorkspace, "write a name that Terraform takes: letters, digits and - _ .")
		}},
		{"engine", func(n *yaml.Node) { s.Engine, _ = r.choice(n, "engine", engineChoices) }},
		{"terraform", func(n *yaml.Node) { s.Terraform, _ = r.versionConstraint(n) }},
		{"apply", func(n *yaml.Node) { s.Apply, _ = r.choice(n, "apply", applyChoices) }},
		{"approvals", func(n *yaml.Node) { s.Approvals = r.numberPointer(n, "approvals", 0, maxApprovals) }},
		{"account", func(n *yaml.Node) {
			s.Account, _ = r.matching(n, "account", accountName, "write a name of letters, digits and . _ - / : @")
		}},
		{"var_files", func(n *yaml.Node) { s.VarFiles = r.fileList(n, "var_files", *dir) }},
		{"backend_config", func(n *yaml.Node) { s.BackendConfig = r.backendConfig(n, *dir) }},
		{"env", func(n *yaml.Node) { r.env(n, s) }},
		{"aws", func(n *yaml.Node) { s.AWS = r.aws(n) }},
		{"watch", func(n *yaml.Node) { s.Watch = r.watch(n, *dir) }},
		{"drift", func(n *yaml.Node) { s.Drift = r.drift(n) }},
	}
}

func (r *configReader) drift(n *yaml.Node) *DriftSettings {
	d := &DriftSettings{}
	r.mapping(n, "drift", []field{
		{"every", func(n *yaml.Node) { d.Every, _ = r.every(n) }},
		{"correct", func(n *yaml.Node) { d.Correct = r.choices(n, "correct", r.isClass, ladderChoices) }},
		{"max_changes", func(n *yaml.Node) { d.MaxChanges = r.numberPointer(n, "max_changes", 1, maxChanges) }},
		{"windows", func(n *yaml.Node) {
			d.Windows = r.list(n, "windows", `["Mon-Fri 08:00-18:00 Europe/Berlin"]`, r.window)
		}},
		{"who", func(n *yaml.Node) { d.Who, _ = r.choice(n, "who", whoChoices) }},
		{"ignore", func(n *yaml.Node) {
			items, ok := r.items(n, "ignore", "- address: aws_instance.web")
			if ok {
				d.Ignore = make([]IgnoreRule, 0, len(items))
			}
			for _, item := range items {
				d.Ignore = append(d.Ignore, r.ignoreRule(item))
			}
		}},
	})
	return d
}

func (r *configReader) ignoreRule(n *yaml.Node) IgnoreRule {
	const what = "an ignore rule"
	var rule IgnoreRule
	addressGiven := false
	isMapping := r.mapping(n, what, []field{
		{"address", func(n *yaml.Node) { addressGiven = true; rule.Address, _ = r.text(n, "address") }},
		{"attributes", func(n *yaml.Node) {
			rule.Attributes = r.list(n, "attributes", "[desired_capacity]", func(item *yaml.Node) (string, bool) {
				return r.text(item, "attributes")
			})
		}},
		{"until", func(n *yaml.Node) { rule.Until, _ = r.day(n) }},
		{"owner", func(n *yaml.Node) { rule.Owner, _ = r.text(n, "owner") }},
		{"reason", func(n *yaml.Node) { rule.Reason, _ = r.text(n, "reason") }},
	})
	if isMapping && !addressGiven {
		r.wrong(n, `name the resources, or write address: "*" for all`, "%s has no address", what)
	}
	return rule
}

func (r *configReader) truthPointer(n *yaml.Node, what string) *bool {
	if v, ok := r.truth(n, what); ok {
		return &v
	}
	return nil
}

func (r *configReader) numberPointer(n *yaml.Node, what string, low, high int) *int {
	if v, ok := r.number(n, what, low, high); ok {
		return &v
	}
	return nil
}

// sharedNames tells of entries that would be one workspace, by name or by state, and of those that wait for themselves.
func (r *configReader) sharedNames(c *Config) {
	names := map[string]int{}
	states := map[string]int{}
	for i := range c.Workspaces {
		e := &c.Workspaces[i]
		if e.Dir == "" {
			continue
		}
		settings := e.over(c.Defaults)
		workspace := either(settings.Workspace, "default")
		state := strings.Join(append([]string{e.Dir, workspace}, settings.BackendConfig...), "\x00")
		if first := states[state]; first != 0 {
			r.tell(Problem{
				Line: e.Line,
				Text: fmt.Sprintf("directory %s with the Terraform workspace %s is given twice, first on line %d", quote(e.Dir), quote(workspace), first),
				Fix:  "remove one; to keep several states in one directory, give each its own workspace or backend_config",
			})
			continue
		}
		states[state] = e.Line
		name := e.name(c.Defaults)
		if first := names[name]; first != 0 {
			r.tell(Problem{
				Line: r.lines.find(i, "name", "", e.Line),
				Text: fmt.Sprintf("the name %s is given twice, first on line %d", quote(name), first),
				Fix:  "give one of them another name",
			})
			continue
		}
		names[name] = r.lines.find(i, "name", "", e.Line)
		if slices.Contains(e.DependsOn, name) {
			r.tell(Problem{
				Line: r.lines.find(i, "depends_on", name, e.Line),
				Text: fmt.Sprintf("the workspace %s depends on itself", quote(name)),
				Fix:  "remove it from its depends_on",
			})
		}
	}
}
