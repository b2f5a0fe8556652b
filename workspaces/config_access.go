package workspaces

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
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

// What the keys may hold. The JSON Schema is made from the same expressions.
var (
	roleARN        = regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/([A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,64}$`)
	awsRegion      = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	sessionLength  = regexp.MustCompile(`^([0-9]+[hms])+$`)
	variableName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	ownVariable    = regexp.MustCompile(`^PLUMBLINE_`)
	absolutePath   = regexp.MustCompile(`^/`)
	awsCredentials = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
)

// maxARNLength is that of the path and the name of a role, with room for the rest.
const maxARNLength = 700

const (
	shortestSession = 15 * time.Minute
	longestSession  = 12 * time.Hour
)

func (r *configReader) aws(n *yaml.Node) *AWSSettings {
	s := &AWSSettings{}
	r.mapping(n, "aws", []field{
		{"plan_role", func(n *yaml.Node) { s.PlanRole = r.role(n, "plan_role") }},
		{"apply_role", func(n *yaml.Node) { s.ApplyRole = r.role(n, "apply_role") }},
		{"session_tags", func(n *yaml.Node) { s.SessionTags = r.truthPointer(n, "session_tags") }},
		{"region", func(n *yaml.Node) {
			s.Region, _ = r.matching(n, "region", awsRegion, "write one such as eu-central-1")
		}},
		{"duration", func(n *yaml.Node) {
			value, ok := r.matching(n, "duration", sessionLength, "write one from 15m to 12h, such as 1h")
			if !ok {
				return
			}
			if d, err := time.ParseDuration(value); err != nil || d < shortestSession || d > longestSession || d%time.Second != 0 {
				r.wrong(n, "write one from 15m to 12h, such as 1h", "duration is %s, which AWS does not allow", quote(value))
				return
			}
			s.Duration = value
		}},
	})
	return s
}

// role reads the ARN of a role.
func (r *configReader) role(n *yaml.Node, key string) string {
	value, ok := r.text(n, key)
	if !ok {
		return ""
	}
	r.note("aws."+key, "", n.Line)
	if !roleARN.MatchString(value) || utf8.RuneCountInString(value) > maxARNLength {
		r.wrong(n, "write it as arn:aws:iam::123456789012:role/NAME", "%s is %s: %s", key, quote(value), whyNoRole(value))
		return ""
	}
	return value
}

// whyNoRole says what is wrong with an ARN.
func whyNoRole(value string) string {
	parts := strings.SplitN(value, ":", 6)
	switch {
	case strings.TrimSpace(value) != value:
		return "it begins or ends with a space"
	case parts[0] != "arn" || len(parts) < 6:
		return "that is not a whole ARN"
	case !regexp.MustCompile(`^aws(-[a-z]+)*$`).MatchString(parts[1]):
		return "its partition is not aws, aws-cn or the like"
	case parts[2] == "sts":
		return "that is a session of a role, not the role"
	case parts[2] != "iam":
		return "it is of the service " + quote(parts[2]) + ", not iam"
	case parts[3] != "":
		return "roles have no region"
	case !regexp.MustCompile(`^[0-9]{12}$`).MatchString(parts[4]):
		return "its account is " + quote(parts[4]) + ", not 12 digits"
	case !strings.HasPrefix(parts[5], "role/"):
		return "it is " + quote(parts[5]) + ", not a role"
	}
	return "the name of the role is not one that AWS takes"
}

// env reads the short form, a list of names, or the long one.
func (r *configReader) env(n *yaml.Node, s *Settings) {
	if n.Kind != yaml.MappingNode {
		s.Env = r.environment(n)
		return
	}
	r.mapping(n, "env", []field{
		{"names", func(n *yaml.Node) { s.Env = r.environment(n) }},
		{"plan", func(n *yaml.Node) { s.PlanEnv = r.sources(n, "env.plan") }},
		{"apply", func(n *yaml.Node) { s.ApplyEnv = r.sources(n, "env.apply") }},
	})
}

func (r *configReader) sources(n *yaml.Node, what string) map[string]Source {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "write it as NAME: value", "%s takes a mapping, not %s", what, describe(n))
		return nil
	}
	sources := map[string]Source{}
	r.within(n, func() {
		for _, p := range r.pairs(n) {
			r.note(what, p.key.Value, p.key.Line)
			if name := p.key.Value; !variableName.MatchString(name) || ownVariable.MatchString(name) || utf8.RuneCountInString(name) > maxNameLength {
				r.wrong(p.key, "a name has letters, digits and _, and does not begin with PLUMBLINE_", "%s has %s, which is no name of a variable for Terraform", what, quote(name))
				continue
			}
			if s, ok := r.source(p.value, what+"."+p.key.Value); ok {
				sources[p.key.Value] = s
				if s.Text != "" && secretKey.MatchString(p.key.Value) {
					r.tell(Problem{
						Line: p.value.Line, Severity: SeverityWarning,
						Text: fmt.Sprintf("%s sets %s in clear, in a file that everyone who can read the repository sees", what, p.key.Value),
						Fix:  "take it from a file, from the environment or from a command: see docs/credentials.md",
					})
				}
			}
		}
	})
	return sources
}

// source reads where one value comes from.
func (r *configReader) source(n *yaml.Node, what string) (s Source, ok bool) {
	if n.Kind != yaml.MappingNode {
		s.Text, ok = r.text(n, what)
		return s, ok
	}
	given := 0
	isMapping := r.mapping(n, what, []field{
		{"file", func(n *yaml.Node) {
			given++
			s.File, ok = r.text(n, "file")
			if ok && (!absolutePath.MatchString(s.File) || leavesUpwards.MatchString(s.File)) {
				r.wrong(n, "write the whole path, from / on and without ..", "file is %s, which is not an absolute path", quote(s.File))
				ok = false
			}
		}},
		{"env", func(n *yaml.Node) {
			given++
			s.Env, ok = r.matching(n, "env", variableName, "write the name of a variable: letters, digits and _")
			if ok && ownVariable.MatchString(s.Env) {
				r.wrong(n, "use another variable", "env is %s, and Plumbline's own settings are not for Terraform", quote(s.Env))
				ok = false
			}
		}},
		{"command", func(n *yaml.Node) {
			given++
			s.Command, ok = r.command(n)
		}},
	})
	if isMapping && given != 1 {
		r.wrong(n, "write { file: PATH }, { env: NAME }, { command: [PROGRAM] }, or the value itself", "%s takes one source, and has %d", what, given)
		return Source{}, false
	}
	return s, ok && isMapping
}

// command reads a program with its arguments. Unlike other lists it may hold the same twice.
func (r *configReader) command(n *yaml.Node) (argv []string, ok bool) {
	items, isList := r.items(n, "command", "[vault, read, -field=token, cloud/creds/plan]")
	for _, item := range items {
		arg, ok := r.text(item, "command")
		if !ok {
			return nil, false
		}
		argv = append(argv, arg)
	}
	switch {
	case !isList:
		return nil, false
	case len(argv) == 0:
		r.wrong(n, "name the program, then its arguments", "command is empty")
		return nil, false
	case strings.Contains(argv[0], "/") && !strings.HasPrefix(argv[0], "/"):
		r.wrong(n, "write the whole path of the program, or its name alone if it is on PATH", "command runs %s, which depends on the directory that it is run in", quote(argv[0]))
		return nil, false
	}
	return argv, true
}

// checkAccess tells of entries whose roles do not go together.
func (r *configReader) checkAccess(c *Config) {
	for i := range c.Workspaces {
		e := &c.Workspaces[i]
		a := e.over(c.Defaults).access()
		if a.ApplyRole != "" && a.PlanRole == "" {
			r.tell(Problem{
				Line: r.lines.find(i, "aws.apply_role", "", e.Line), Severity: SeverityError,
				Text: "aws has an apply_role and no plan_role, so plans would have no credentials",
				Fix:  "name the role that plans and looks for drift run with",
			})
		}
		if a.PlanRole == "" && a.ApplyRole == "" {
			continue
		}
		for what, sources := range map[string]map[string]Source{"env.plan": a.Plan, "env.apply": a.Apply} {
			for _, name := range awsCredentials {
				if _, both := sources[name]; both {
					r.tell(Problem{
						Line: r.lines.find(i, what, name, e.Line), Severity: SeverityError,
						Text: fmt.Sprintf("%s sets %s, and aws names roles that set it as well", what, name),
						Fix:  "remove one of the two",
					})
				}
			}
		}
	}
}
