package workspaces

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// AWSSettings are the roles that Terraform is given on AWS.
type AWSSettings struct {
	// ARN of the role that plans and looks for drift run with. It should be able to read and nothing else. Default: none,
	// which leaves Terraform the credentials of the environment.
	PlanRole string `yaml:"plan_role,omitempty" json:"plan_role,omitempty"`

	// ARN of the role that an apply gets once the gate has allowed it. Default: none; with a plan_role and without an
	// apply_role nothing is applied.
	ApplyRole string `yaml:"apply_role,omitempty" json:"apply_role,omitempty"`

	// Whether sessions are tagged with repository, workspace, change, commit, actor and phase. The trust policies of the
	// roles must then allow sts:TagSession. Default: false.
	SessionTags *bool `yaml:"session_tags,omitempty" json:"session_tags,omitempty"`

	// Region of STS, and what AWS_REGION says to Terraform. Default: what the environment says.
	Region string `yaml:"region,omitempty" json:"region,omitempty"`

	// How long credentials last, from 15m to 12h; the roles must allow it, and a session that was made with another role
	// lasts 1h at most. Default: 1h.
	Duration string `yaml:"duration,omitempty" json:"duration,omitempty"`
}

// EnvSettings are the long form of "env".
type EnvSettings struct {
	// Names of environment variables that Terraform may see besides the built-in list, as in the short form. Default:
	// none.
	Names []string `yaml:"names,omitempty" json:"names,omitempty"`

	// Variables that Terraform gets while it plans or looks for drift: text, { file: PATH }, { env: NAME } or { command:
	// [PROGRAM, ARGUMENT] }. Default: none.
	Plan map[string]Source `yaml:"plan,omitempty" json:"plan,omitempty"`

	// Variables that Terraform gets in an apply that the gate has allowed, written as those of plan. Default: none.
	Apply map[string]Source `yaml:"apply,omitempty" json:"apply,omitempty"`
}

// Source says where the value of a variable comes from. Exactly one of its fields is set.
type Source struct {
	// Text is the value itself.
	Text string `json:"text,omitempty"`
	// File is the absolute path of a file that holds the value.
	File string `json:"file,omitempty"`
	// Env is the name of an environment variable of Plumbline's own.
	Env string `json:"env,omitempty"`
	// Command is a program and its arguments; what it prints is the value.
	Command []string `json:"command,omitempty"`
}

// String tells the source and never a value.
func (s Source) String() string {
	switch {
	case s.File != "":
		return "from the file " + s.File
	case s.Env != "":
		return "from the variable " + s.Env
	case len(s.Command) > 0:
		return fmt.Sprintf("from the command %q", s.Command)
	}
	return "as text"
}

// Access says which credentials Terraform gets for a workspace: what it may reach when it plans, and what when it applies.
type Access struct {
	// PlanRole and ApplyRole are ARNs of roles of AWS; "" for none.
	PlanRole  string `json:"plan_role,omitempty"`
	ApplyRole string `json:"apply_role,omitempty"`
	// SessionTags has sessions of the roles tagged.
	SessionTags bool `json:"session_tags,omitempty"`
	// Region is that of AWS; "" for what the environment says.
	Region string `json:"region,omitempty"`
	// Duration is how long a session lasts, in Go's notation; "" for an hour.
	Duration string `json:"duration,omitempty"`
	// Plan and Apply are variables of the two phases, by their names.
	Plan  map[string]Source `json:"plan,omitempty"`
	Apply map[string]Source `json:"apply,omitempty"`
}

// Lasts is Duration as a duration.
func (a Access) Lasts() time.Duration {
	if d, err := time.ParseDuration(a.Duration); err == nil {
		return d
	}
	return time.Hour
}

// Names are the variables that either phase sets, in order.
func (a Access) Names() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a.Plan)), maps.Keys(a.Apply))
	slices.Sort(names)
	return slices.Compact(names)
}

// Roles are the ARNs that Plumbline takes on for the workspace, to know its own doings in a cloud's log by. Nobody gets
// credentials by them: those are runner/access's to give.
func (a Access) Roles() []string {
	return slices.DeleteFunc([]string{a.PlanRole, a.ApplyRole}, func(role string) bool { return role == "" })
}

// Passing reports whether an apply gets values that nobody can tell afterwards, and so cannot hide either.
func (a Access) Passing() bool {
	for _, s := range a.Apply {
		if s.Text == "" {
			return true
		}
	}
	return a.ApplyRole != ""
}

// Is reports whether two are the same.
func (a Access) Is(other Access) bool {
	return a.roles() == other.roles() && sameSources(a.Plan, other.Plan) && sameSources(a.Apply, other.Apply)
}

func sameSources(a, b map[string]Source) bool {
	return maps.EqualFunc(a, b, func(x, y Source) bool { return reflect.DeepEqual(x, y) })
}

// roles is everything of AWS in one text for people, in Markdown: an ARN is to be copied.
func (a Access) roles() string {
	var say []string
	for _, kv := range [][2]string{{"plan_role", a.PlanRole}, {"apply_role", a.ApplyRole}, {"region", a.Region}, {"duration", a.Duration}} {
		if kv[1] != "" {
			say = append(say, fmt.Sprintf("%s `%s`", kv[0], kv[1]))
		}
	}
	if a.SessionTags {
		say = append(say, "session_tags")
	}
	return listText(say)
}

// sourcesText tells variables and where they come from, and no values.
func sourcesText(sources map[string]Source) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		list = append(list, name+" "+sources[name].String())
	}
	return listText(list)
}

// access is what settings say of it. It shares nothing with them.
func (s Settings) access() Access {
	a := Access{Plan: cloneSources(s.PlanEnv), Apply: cloneSources(s.ApplyEnv)}
	if s.AWS != nil {
		a.PlanRole, a.ApplyRole, a.Region, a.Duration = s.AWS.PlanRole, s.AWS.ApplyRole, s.AWS.Region, s.AWS.Duration
		a.SessionTags = s.AWS.SessionTags != nil && *s.AWS.SessionTags
	}
	return a
}

func cloneSources(sources map[string]Source) map[string]Source {
	if len(sources) == 0 {
		return nil
	}
	out := make(map[string]Source, len(sources))
	for name, s := range sources {
		s.Command = slices.Clone(s.Command)
		out[name] = s
	}
	return out
}

// over returns s with what it does not set taken from defaults; either may be nil. It is merged key by key: whoever names
// the roles of a workspace still wants the region of all.
func (s *AWSSettings) over(defaults *AWSSettings) *AWSSettings {
	if s == nil || defaults == nil {
		if s == nil {
			s = defaults
		}
		return s
	}
	return &AWSSettings{
		PlanRole: either(s.PlanRole, defaults.PlanRole), ApplyRole: either(s.ApplyRole, defaults.ApplyRole),
		SessionTags: either(s.SessionTags, defaults.SessionTags), Region: either(s.Region, defaults.Region), Duration: either(s.Duration, defaults.Duration),
	}
}

func eitherSources(own, otherwise map[string]Source) map[string]Source {
	if own != nil {
		return own
	}
	return otherwise
}
