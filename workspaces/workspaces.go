// Package workspaces answers what can be run in a repository: it finds the
// root modules, reads plumbline.yaml, follows local modules, orders the result
// and says which workspaces a change touches and why.
//
// The life of a [Workspace]: [Discover] walks a file system and finds every
// directory with Terraform files that no other directory calls as a module and
// that has something to run. plumbline.yaml, if there is one, refines what was
// found: names, several Terraform workspaces in one directory, var files,
// order, what to leave out. The result is a [Set]: the workspaces of one
// commit, dependencies first. From two sets and the list of changed paths,
// [Affected] tells which workspaces a change touches, each with its reasons;
// from one set, [Set.Inputs] and [Set.Digest] tell what a workspace reads.
//
// The package is pure over io/fs: the same code reads a checkout and a commit
// in Git's object store. It starts no process, opens no network connection and
// evaluates no expression beyond what is written down as a literal. It does not
// know what Terraform would plan; it errs towards naming a workspace too many
// rather than one too few.
package workspaces

// Workspace is one thing that can be planned and applied: a root module's
// directory together with a Terraform workspace and its settings.
type Workspace struct {
	// Name is unique in a set. Unless plumbline.yaml says otherwise it is Dir,
	// or Dir@Workspace when Workspace is not "default".
	Name string `json:"name"`
	// Dir is the slash-separated path of the root module from the repository's
	// root, "." for the root itself.
	Dir string `json:"dir"`
	// Workspace is the Terraform workspace, "default" unless set.
	Workspace string `json:"workspace"`
	// Engine is "terraform" or "tofu".
	Engine string `json:"engine"`
	// Terraform is the version constraint from plumbline.yaml, "" if none.
	Terraform string `json:"terraform"`
	// RequiredVersions are the required_version constraints in the root module.
	RequiredVersions []string `json:"required_versions"`
	// VersionFile is the version that the nearest .terraform-version names
	// (.opentofu-version for tofu), from Dir upwards to the repository's root;
	// "" if there is none.
	VersionFile string `json:"version_file"`
	// VarFiles are passed as -var-file, as written, relative to Dir.
	VarFiles []string `json:"var_files"`
	// BackendConfig are passed as -backend-config, as written; those that name
	// files are relative to Dir.
	BackendConfig []string `json:"backend_config"`
	// Backend is the type of the backend that the root module declares, such as
	// "s3" or "local", "cloud" for a cloud block; "" when it declares none and
	// Terraform keeps the state in a file of its own choice.
	Backend string `json:"backend"`
	// BackendPath is where the backend "local" keeps the state: the path as
	// written, in the backend block or over it in BackendConfig; "" when none
	// is, "?" when only Terraform could tell.
	BackendPath string `json:"backend_path"`
	// Account groups workspaces that share one cloud account's rate limits.
	Account string `json:"account"`
	// Env are the names of environment variables, beyond the built-in list,
	// that Terraform may see. A name may end in "*".
	Env []string `json:"env"`
	// Access is which credentials Terraform gets.
	Access Access `json:"access,omitzero"`
	// Watch are patterns, relative to Dir, of further files whose change
	// touches the workspace.
	Watch []string `json:"watch"`
	// DependsOn are the names of the workspaces that must be applied first.
	DependsOn []string `json:"depends_on"`
	// Apply is "on-merge", "on-comment" or "never".
	Apply string `json:"apply"`
	// Approvals is how many approvals an apply needs; 0 for none.
	Approvals int `json:"approvals"`
	// Drift says how drift is looked for and what may be done about it.
	Drift Drift `json:"drift"`
	// Modules are the directories of the local modules that are called,
	// directly or through one another, as sorted paths from the repository's
	// root.
	Modules []string `json:"modules"`
	// RemoteModules are the modules that come from elsewhere, called by the
	// root module or by one of Modules.
	RemoteModules []RemoteModule `json:"remote_modules"`
	// Reasons are filled by [Affected]: why a change touches the workspace.
	Reasons []string `json:"reasons"`
	// Removed is set by [Affected] when the workspace is in the base only.
	Removed bool `json:"removed"`
	// Warnings are filled by [Affected]: what to know before going on, such as
	// that the state of a removed workspace may still hold resources.
	Warnings []string `json:"warnings"`
	// Source tells where the workspace comes from: "discovered", or the line
	// of its entry, such as "plumbline.yaml:12".
	Source string `json:"source"`
}

// Drift is how one workspace's drift is looked for and corrected. The values
// are as written in plumbline.yaml, and have been checked.
type Drift struct {
	// Every is a duration ("15m"), a cron line, or "off".
	Every string `json:"every"`
	// Correct is the ladder by class (cluster, node, resource): never, create,
	// update, replace or all. A class that is missing is never corrected.
	Correct map[string]string `json:"correct"`
	// MaxChanges caps how many resources one correction may touch; 0 for no
	// cap.
	MaxChanges int `json:"max_changes"`
	// Windows are the times at which a correction may run; none means always.
	Windows []string `json:"windows"`
	// Who is asked who changed something outside: off or cloudtrail.
	Who string `json:"who"`
	// Ignore are the differences that do not count.
	Ignore []IgnoreRule `json:"ignore"`
	// Classes extends the built-in table: resource type, which may be a glob,
	// to class.
	Classes map[string]string `json:"classes"`
}

// IgnoreRule is one difference that does not count as drift.
type IgnoreRule struct {
	// Address is a resource address and may hold "*".
	Address string `json:"address"`
	// Attributes are the attributes that may differ; none means all.
	Attributes []string `json:"attributes"`
	// Until is the last day of the rule as YYYY-MM-DD, "" for ever.
	Until string `json:"until"`
	// Owner is who answers for the rule.
	Owner string `json:"owner"`
	// Reason says why the rule is there.
	Reason string `json:"reason"`
}

// RemoteModule is a module call whose source is not a local path.
type RemoteModule struct {
	// Call is the name of the module block.
	Call string `json:"call"`
	// Source is as written.
	Source string `json:"source"`
	// Version is the version argument as written, "" if there is none.
	Version string `json:"version"`
	// Floating reports that the same files may mean another module tomorrow:
	// no exact version, or no ref that looks like a commit or a tag.
	Floating bool `json:"floating"`
	// File and Line tell where the module block is.
	File string `json:"file"`
	Line int    `json:"line"`
}

// Set is all workspaces of one commit.
type Set struct {
	// Workspaces are in graph order: dependencies before their dependents, and
	// by name where the graph leaves the choice.
	Workspaces []*Workspace
	// Problems are the mistakes found on the way. One directory's mistake
	// leaves the other directories alone.
	Problems []Problem

	infos  map[string]*info // by name of the workspace
	owners map[string]bool  // directories that files belong to
	repo   *repository

	config   *Config           // what plumbline.yaml says
	called   map[string]caller // directories that are called as modules
	disabled []disabledEntry
	unusable map[string]int // names of workspaces that have a mistake in plumbline.yaml, and its line
}

// Change is one path that differs between two commits.
type Change struct {
	// Path is slash-separated from the repository's root.
	Path string
	// Deleted reports that the path is gone in the newer commit.
	Deleted bool
}
