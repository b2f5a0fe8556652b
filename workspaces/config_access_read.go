package workspaces

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/internal/terraform"
)

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
			if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
				r.wrong(n, sessionFix(n.Value), "duration is the number %s", plain(n.Value))
				return
			}
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

// sessionFix says how to write a length that was given as a number, which is one of seconds everywhere in AWS.
func sessionFix(number string) string {
	d, err := time.ParseDuration(number + "s")
	if err != nil || d < shortestSession || d > longestSession {
		return "write one from 15m to 12h, such as 1h"
	}
	text := d.String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nothing) {
			text = text[:len(text)-2]
		}
	}
	return "give it a unit: " + text
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
			if why := terraform.NeverGiven(p.key.Value); why != "" {
				r.wrong(p.key, "remove it", "%s sets %s, which is never handed to Terraform: %s", what, p.key.Value, why)
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

// checkAccess tells of roles that do not go together, in entries and in what discovered directories take from "defaults".
func (r *configReader) checkAccess(c *Config) {
	if c.Discover == nil || *c.Discover {
		r.checkRoles(notAnEntry, 0, c.Defaults.access())
	}
	for i := range c.Workspaces {
		e := &c.Workspaces[i]
		r.checkRoles(i, e.Line, e.over(c.Defaults).access())
	}
}

func (r *configReader) checkRoles(entry, otherwise int, a Access) {
	switch {
	case a.PlanRole == "" && a.ApplyRole == "":
		return
	case a.PlanRole == "":
		r.tell(Problem{
			Line: r.lines.find(entry, "aws.apply_role", "", otherwise), Severity: SeverityError,
			Text: "aws has an apply_role and no plan_role, so plans would have no credentials",
			Fix:  "name the role that plans and looks for drift run with",
		})
	case a.PlanRole == a.ApplyRole:
		r.tell(Problem{
			Line: r.lines.find(entry, "aws.apply_role", "", otherwise), Severity: SeverityWarning,
			Text: "aws has the same role as plan_role and apply_role, so every plan can write what an apply can",
			Fix:  "plan with a role that only reads",
		})
	}
	for what, sources := range map[string]map[string]Source{"env.plan": a.Plan, "env.apply": a.Apply} {
		for _, name := range awsCredentials {
			if _, both := sources[name]; both {
				r.tell(Problem{
					Line: r.lines.find(entry, what, name, otherwise), Severity: SeverityError,
					Text: fmt.Sprintf("%s sets %s, and aws names roles that set it as well", what, name),
					Fix:  "remove one of the two",
				})
			}
		}
	}
}
