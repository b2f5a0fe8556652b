package workspaces

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

	// Settings of every workspace, unless its own entry says otherwise.
	Defaults Settings `yaml:"defaults,omitempty" json:"defaults,omitzero"`

	// Workspaces with settings of their own. One directory may have several, one for each Terraform workspace or
	// backend.
	Workspaces []Entry `yaml:"workspaces,omitempty" json:"workspaces,omitempty"`

	// Directories in which nothing is discovered: patterns relative to the repository's root, where ** stands for any
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
// that naming one class does not unname another.
type Settings struct {
	// Terraform workspace to select. Default: "default".
	Workspace string `yaml:"workspace,omitempty" json:"workspace,omitempty"`

	// Which program runs: terraform, or tofu for OpenTofu. Default: terraform.
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
	// all that begin so. Default: none.
	Env []string `yaml:"env,omitempty" json:"env,omitempty"`

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

	// Drift that is known and accepted.
	Ignore []IgnoreRule `yaml:"ignore,omitempty" json:"ignore,omitempty"`
}

// DefaultMaxChanges is how many changes one drift correction may make where plumbline.yaml sets no max_changes.
const DefaultMaxChanges = 10
