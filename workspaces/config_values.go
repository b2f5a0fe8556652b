package workspaces

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/go-version"
	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/internal/schedule"
)

// What a key may hold. The JSON Schema is made from the same lists and expressions.
var (
	engineChoices = []string{"terraform", "tofu"}
	applyChoices  = []string{"on-merge", "on-comment", "never"}
	draftsChoices = []string{"plan", "wait"}
	mergeChoices  = []string{"off", "merge", "squash", "rebase"}
	pushChoices   = []string{"hold", "apply"}
	classChoices  = []string{"cluster", "node", "resource"}
	whoChoices    = []string{"off", "cloudtrail"}
	ladderChoices = []string{"never", "create", "update", "replace", "all"}

	// terraformWorkspace is narrower than Terraform's own rule by names that begin with a dot or a hyphen: the one would
	// be a path, the other a flag.
	terraformWorkspace = regexp.MustCompile(`^[A-Za-z0-9_~$&+=:@][A-Za-z0-9_.~$&+=:@-]*$`)
	accountName        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`)
	environmentName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\*?$`)
	resourceTypeGlob   = regexp.MustCompile(`^[A-Za-z0-9_*./-]+$`)
	backendPair        = regexp.MustCompile(`^[A-Za-z0-9_.-]+=`)
	driveLetter        = regexp.MustCompile(`^[A-Za-z]:`)
	secretKey          = regexp.MustCompile(`(?i)(secret|password|passwd|token|access_key|private_key|sas|credentials)`)
	patternInDir       = regexp.MustCompile(`[*?]`)
	leavesUpwards      = regexp.MustCompile(`(^|/)\.\.(/|$)`)
	toolDirectory      = regexp.MustCompile(`(^|/)\.(git|terraform)(/|$)`)
)

// Bounds on what nobody means seriously.
const (
	maxNameLength = 200
	maxApprovals  = 100
	maxChanges    = 1_000_000
)

// keyPlaces says under which mapping a key belongs that is easily written one level too high or too low.
var keyPlaces = map[string]string{
	"every": "drift", "correct": "drift", "max_changes": "drift", "windows": "drift",
	"address": "an ignore rule", "attributes": "an ignore rule", "until": "an ignore rule",
	"owner": "an ignore rule", "reason": "an ignore rule",
	"dir": "an item of workspaces", "name": "an item of workspaces",
	"classes": topLevel, "defaults": topLevel, "discover": topLevel,
	"version": topLevel, "drafts": topLevel, "merge": topLevel, "push": topLevel,
	"apply": "defaults or an item of workspaces", "approvals": "defaults or an item of workspaces",
	"terraform": "defaults or an item of workspaces", "engine": "defaults or an item of workspaces",
	"var_files": "defaults or an item of workspaces", "watch": "defaults or an item of workspaces",
	"depends_on": "an item of workspaces", "enabled": "an item of workspaces",
	"plan_role": "aws", "apply_role": "aws", "session_tags": "aws", "duration": "aws",
}

// foreignKeys are what other tools, and habit, call our keys.
var foreignKeys = map[string]string{
	"projects": "workspaces", "stacks": "workspaces", "autodiscover": "discover",
	"automerge": "merge", "auto_merge": "merge", "draft": "drafts",
	"path": "dir", "directory": "dir", "working_directory": "dir", "root": "dir",
	"terraform_version": "terraform", "required_version": "terraform",
	"terraform_distribution": "engine", "distribution": "engine",
	"tfvars": "var_files", "variables": "var_files", "when_modified": "watch", "paths": "watch",
	"terraform_workspace": "workspace", "requirements": "approvals", "apply_requirements": "approvals",
	"environment": "env", "schedule": "every", "interval": "every", "cron": "every",
	"role": "plan_role", "role_arn": "plan_role", "tags": "session_tags", "session_duration": "duration",
	"needs": "depends_on", "dependencies": "depends_on", "exclude": "ignore", "ignore_paths": "ignore",
	"resource": "address", "expires": "until", "disabled": "enabled",
}

// foreignValues are what other tools, and habit, call our values.
var foreignValues = map[string]string{
	"opentofu": "tofu", "tf": "terraform", "merge": "on-merge", "auto": "on-merge", "automatic": "on-merge",
	"comment": "on-comment", "manual": "on-comment", "none": "never", "off": "never", "false": "never",
}

// directory reads a directory inside the repository, cleaned.
func (r *configReader) directory(n *yaml.Node) (string, bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "" {
		r.wrong(n, `write "." for the root of the repository`, "dir is empty")
		return "", false
	}
	dir, ok := r.repositoryPath(n, "dir")
	if !ok {
		return "", false
	}
	switch {
	case leavesUpwards.MatchString(dir):
		r.wrong(n, "give the path from the repository's root, without ..", "dir is %s, which may leave the repository", quote(dir))
	case patternInDir.MatchString(dir):
		r.wrong(n, "write one item for each directory; directories that need no settings of their own are found without one",
			"dir is the pattern %s; it names one directory", quote(dir))
	case toolDirectory.MatchString(dir):
		r.wrong(n, "name the directory of a root module", "dir is %s, which belongs to a tool", quote(dir))
	default:
		return path.Clean(dir), true
	}
	return "", false
}

// repositoryPath reads a path that is relative and has forward slashes; it may still hold "..".
func (r *configReader) repositoryPath(n *yaml.Node, what string) (string, bool) {
	p, ok := r.text(n, what)
	switch {
	case !ok:
	case strings.Contains(p, `\`):
		r.wrong(n, "write it with forward slashes: "+strings.ReplaceAll(shorten(p), `\`, "/"), "%s holds a backslash: %s", what, quote(p))
	case strings.HasPrefix(p, "/"), driveLetter.MatchString(p):
		r.wrong(n, "write it relative, inside the repository", "%s is the absolute path %s", what, quote(p))
	default:
		return p, true
	}
	return "", false
}

// inDirectory reads the path of a file as it is seen from a workspace's directory. Where the directory is not known, "",
// whether the path stays in the repository is left for later.
func (r *configReader) inDirectory(n *yaml.Node, what, dir string) (string, bool) {
	p, ok := r.repositoryPath(n, what)
	if ok && dir != "" && !insideRepository(dir, p) {
		r.wrong(n, "name files inside the repository", "%s has %s, which leaves the repository when it is seen from %s", what, quote(p), quote(dir))
		return "", false
	}
	return p, ok
}

func (r *configReader) fileList(n *yaml.Node, what, dir string) []string {
	return r.list(n, what, `["prod.tfvars"]`, func(item *yaml.Node) (string, bool) {
		return r.inDirectory(item, what, dir)
	})
}

// backendConfig reads files and key=value pairs. A value is never repeated in a message: it may be a secret.
func (r *configReader) backendConfig(n *yaml.Node, dir string) []string {
	const what = "backend_config"
	return r.list(n, what, `["prod.s3.tfbackend"]`, func(item *yaml.Node) (string, bool) {
		if item.Kind == yaml.ScalarNode && isBackendPair(item.Value) {
			key, _, _ := strings.Cut(item.Value, "=")
			switch {
			case item.Tag != "!!str" || strings.ContainsFunc(item.Value, isControl):
				r.wrong(item, "write it as one line of text", "%s %s=… is not a line of text", what, plain(key))
				return "", false
			case !backendPair.MatchString(item.Value):
				r.wrong(item, "write key=value, or the name of a file without =", "%s %s=… has no key that a backend knows", what, quote(key))
				return "", false
			case secretKey.MatchString(key):
				r.tell(Problem{
					Line: item.Line, Severity: SeverityWarning,
					Text: fmt.Sprintf("%s sets %s in clear, in a file that everyone who can read the repository sees", what, key),
					Fix:  "give it to Terraform through the environment of the machine that runs it",
				})
			}
			return item.Value, true
		}
		return r.inDirectory(item, what, dir)
	})
}

// watch reads patterns as they are seen from a workspace's directory; they may begin with "../".
func (r *configReader) watch(n *yaml.Node, dir string) []string {
	return r.list(n, "watch", `["../../policies/**"]`, func(item *yaml.Node) (string, bool) {
		p, ok := r.inDirectory(item, "watch", dir)
		if !ok {
			return "", false
		}
		below := p
		for strings.HasPrefix(below, "../") {
			below = below[len("../"):]
		}
		if leavesUpwards.MatchString(below) {
			r.wrong(item, "put every ../ at the front", "watch has .. inside the pattern %s", quote(p))
			return "", false
		}
		return r.pattern(item, "watch", p)
	})
}

// ignore reads patterns as they are seen from the repository's root.
func (r *configReader) ignore(n *yaml.Node) []string {
	return r.list(n, "ignore", `["examples/**"]`, func(item *yaml.Node) (string, bool) {
		p, ok := r.repositoryPath(item, "ignore")
		if !ok {
			return "", false
		}
		if leavesUpwards.MatchString(p) {
			r.wrong(item, "give it from the repository's root", "ignore has .. in the pattern %s", quote(p))
			return "", false
		}
		return r.pattern(item, "ignore", p)
	})
}

// pattern returns a glob, cleaned, if it is one.
func (r *configReader) pattern(item *yaml.Node, what, p string) (string, bool) {
	switch {
	case strings.HasPrefix(p, "!"):
		r.wrong(item, "remove it, and write the others so that they do not match what it takes back",
			"%s has the pattern %s: patterns cannot take back what others match", what, quote(p))
	case !doublestar.ValidatePattern(p):
		r.wrong(item, "close every [ and {, or put a single such character in brackets: [[]", "%s has a pattern that is not valid: %s", what, quote(p))
	default:
		return path.Clean(p), true
	}
	return "", false
}

// list reads a list of text, each item once. It returns an empty list, not nil, for one without items: it replaces the
// one under "defaults".
func (r *configReader) list(n *yaml.Node, what, example string, read func(*yaml.Node) (string, bool)) []string {
	items, ok := r.items(n, what, example)
	if !ok {
		return nil
	}
	values := make([]string, 0, len(items))
	seen := make(map[string]int, len(items))
	for _, item := range items {
		value, ok := read(item)
		if !ok {
			continue
		}
		if first := seen[value]; first != 0 {
			r.wrong(item, "remove one", "%s has the same item twice, first on line %d", what, first)
			continue
		}
		seen[value] = item.Line
		r.note(what, value, item.Line)
		values = append(values, value)
	}
	return values
}

// workspaceName reads a name as it stands in "plumbline plan NAME" and in comments.
func (r *configReader) workspaceName(n *yaml.Node, what string) (string, bool) {
	name, ok := r.text(n, what)
	switch {
	case !ok:
	case utf8.RuneCountInString(name) > maxNameLength:
		r.wrong(n, "shorten it", "%s is longer than %d characters: %s", what, maxNameLength, quote(name))
	case strings.HasPrefix(name, "-"):
		r.wrong(n, "begin it with another character", "%s begins with a hyphen, as a flag does: %s", what, quote(name))
	case strings.TrimSpace(name) != name:
		r.wrong(n, "remove it", "%s begins or ends with a space: %q", what, shorten(name))
	default:
		return name, true
	}
	return "", false
}

// matching reads text of a given form.
func (r *configReader) matching(n *yaml.Node, what string, form *regexp.Regexp, fix string) (string, bool) {
	value, ok := r.text(n, what)
	if ok && (!form.MatchString(value) || utf8.RuneCountInString(value) > maxNameLength) {
		r.wrong(n, fix, "%s is %s", what, quote(value))
		return "", false
	}
	return value, ok
}

func (r *configReader) environment(n *yaml.Node) []string {
	return r.list(n, "env", `["TF_VAR_region"]`, func(item *yaml.Node) (string, bool) {
		if name, _, pair := strings.Cut(item.Value, "="); pair && item.Kind == yaml.ScalarNode {
			r.wrong(item, "write the name alone, and set the variable where plumbline runs", "env takes names of variables, not values: %s=…", plain(name))
			return "", false
		}
		name, ok := r.text(item, "env")
		switch {
		case !ok:
		case name == "*":
			r.wrong(item, "name the variables that Terraform needs, such as ARM_*", "env would hand Terraform every variable of the machine")
		case !environmentName.MatchString(name):
			r.wrong(item, "a name has letters, digits and _, and may end in *", "env has %s, which is no name of a variable", quote(name))
		default:
			return name, true
		}
		return "", false
	})
}

func (r *configReader) versionConstraint(n *yaml.Node) (string, bool) {
	value, ok := r.text(n, "terraform")
	if !ok {
		return "", false
	}
	if _, err := version.NewConstraint(value); err != nil {
		r.wrong(n, `write one such as "~> 1.11" or ">= 1.9, < 2.0"`, "terraform is %s, which is not a version constraint", quote(value))
		return "", false
	}
	return value, true
}

func (r *configReader) every(n *yaml.Node) (string, bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
		fix := "write an interval such as 15m, or off"
		var units []string
		for _, unit := range []string{"s", "m", "h"} {
			if _, err := schedule.ParseEvery(n.Value + unit); err == nil && len(units) < 2 {
				units = append(units, plain(n.Value)+unit)
			}
		}
		if len(units) > 0 {
			fix = "give it a unit: " + strings.Join(units, " or ")
		}
		r.wrong(n, fix, "every is the number %s", plain(n.Value))
		return "", false
	}
	value, ok := r.text(n, "every")
	if !ok {
		return "", false
	}
	if _, err := schedule.ParseEvery(value); err != nil {
		r.wrong(n, "", "every: %s", err)
		return "", false
	}
	return value, true
}

func (r *configReader) window(n *yaml.Node) (string, bool) {
	value, ok := r.text(n, "windows")
	if !ok {
		return "", false
	}
	if _, err := schedule.ParseWindow(value); err != nil {
		r.wrong(n, "", "windows: %s", err)
		return "", false
	}
	return value, true
}

// day reads a date. YAML takes 2027-03-01 for a date of its own and "2027-03-01" for text; both are meant.
func (r *configReader) day(n *yaml.Node) (string, bool) {
	value := n.Value
	if n.Kind != yaml.ScalarNode || n.Tag != "!!timestamp" {
		var ok bool
		if value, ok = r.text(n, "until"); !ok {
			return "", false
		}
	}
	if _, err := time.Parse(time.DateOnly, value); err != nil {
		r.wrong(n, "write it as 2027-03-01", "until is %s, which is not a day of the calendar", quote(value))
		return "", false
	}
	return value, true
}

// choices reads a mapping from anything that key accepts to one of a few values.
func (r *configReader) choices(n *yaml.Node, what string, key func(*yaml.Node) bool, values []string) map[string]string {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "write it as key: value", "%s takes a mapping, not %s", what, describe(n))
		return nil
	}
	chosen := map[string]string{}
	r.within(n, func() {
		for _, p := range r.pairs(n) {
			keyOK := key(p.key)
			value, ok := r.choice(p.value, what+" of "+quote(p.key.Value), values)
			if ok && keyOK {
				chosen[p.key.Value] = value
			}
		}
	})
	return chosen
}

// isClass tells of a key that is no drift class.
func (r *configReader) isClass(key *yaml.Node) bool {
	if slices.Contains(classChoices, key.Value) {
		return true
	}
	r.wrong(key, choiceFix(key.Value, classChoices), "correct names the class %s", quote(key.Value))
	return false
}

// isResourceType tells of a key that can be no resource type.
func (r *configReader) isResourceType(key *yaml.Node) bool {
	if resourceTypeGlob.MatchString(key.Value) {
		return true
	}
	r.wrong(key, "write a type such as aws_instance or acme_*", "classes names the resource type %s", quote(key.Value))
	return false
}

// insideRepository reports whether a path or pattern relative to dir stays in the repository.
func insideRepository(dir, relative string) bool {
	p := path.Join(dir, relative)
	return p != ".." && !strings.HasPrefix(p, "../")
}

// isBackendPair reports whether an item of backend_config is a key=value pair and not a file.
func isBackendPair(item string) bool { return strings.Contains(item, "=") }
