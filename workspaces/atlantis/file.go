package atlantis

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxBytes bounds atlantis.yaml. Generated ones with thousands of projects are around one megabyte.
	maxBytes = 4 << 20
	// maxNodes bounds its values, each alias counted as often as it is used.
	maxNodes = 1 << 20
)

// file is an atlantis.yaml. What Atlantis does not document, or a later one knows, is in Rest.
type file struct {
	Version            text                 `yaml:"version"`
	Projects           []project            `yaml:"projects"`
	Workflows          map[string]workflow  `yaml:"workflows"`
	Policies           yaml.Node            `yaml:"policies"`
	Autodiscover       autodiscover         `yaml:"autodiscover"`
	Automerge          truth                `yaml:"automerge"`
	ParallelApply      truth                `yaml:"parallel_apply"`
	ParallelPlan       truth                `yaml:"parallel_plan"`
	DeleteSourceBranch truth                `yaml:"delete_source_branch_on_merge"`
	EmojiReaction      text                 `yaml:"emoji_reaction"`
	RegexpPrefixes     list                 `yaml:"allowed_regexp_prefixes"`
	AbortOnOrderFail   truth                `yaml:"abort_on_execution_order_fail"`
	RepoLocks          locks                `yaml:"repo_locks"`
	SilenceComments    list                 `yaml:"silence_pr_comments"`
	Rest               map[string]yaml.Node `yaml:",inline"`
}

type project struct {
	Name               text                 `yaml:"name"`
	Branch             text                 `yaml:"branch"`
	Dir                text                 `yaml:"dir"`
	Workspace          text                 `yaml:"workspace"`
	Workflow           text                 `yaml:"workflow"`
	Distribution       text                 `yaml:"terraform_distribution"`
	TerraformVersion   text                 `yaml:"terraform_version"`
	Autoplan           autoplan             `yaml:"autoplan"`
	PlanRequirements   list                 `yaml:"plan_requirements"`
	ApplyRequirements  list                 `yaml:"apply_requirements"`
	ImportRequirements list                 `yaml:"import_requirements"`
	DependsOn          list                 `yaml:"depends_on"`
	DeleteSourceBranch truth                `yaml:"delete_source_branch_on_merge"`
	RepoLocking        truth                `yaml:"repo_locking"`
	RepoLocks          locks                `yaml:"repo_locks"`
	Group              number               `yaml:"execution_order_group"`
	PolicyCheck        truth                `yaml:"policy_check"`
	CustomPolicyCheck  truth                `yaml:"custom_policy_check"`
	SilenceComments    list                 `yaml:"silence_pr_comments"`
	Rest               map[string]yaml.Node `yaml:",inline"`

	line int
}

func (p *project) UnmarshalYAML(n *yaml.Node) error {
	type plain project // without this method
	if err := n.Decode((*plain)(p)); err != nil {
		return err
	}
	p.line = n.Line
	p.Name.key, p.Workspace.key, p.TerraformVersion.key = "name", "workspace", "terraform_version"
	return nil
}

type autoplan struct {
	WhenModified list                 `yaml:"when_modified"`
	Enabled      truth                `yaml:"enabled"`
	Rest         map[string]yaml.Node `yaml:",inline"`
}

type autodiscover struct {
	Mode        text                 `yaml:"mode"`
	IgnorePaths list                 `yaml:"ignore_paths"`
	Rest        map[string]yaml.Node `yaml:",inline"`
}

type locks struct {
	Line int
}

func (l *locks) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return wrongType(n, "a mapping")
	}
	l.Line = n.Line
	return nil
}

// workflow keeps stages as they are: what a step may look like depends on the step.
type workflow struct {
	Plan stage                `yaml:"plan"`
	Rest map[string]yaml.Node `yaml:",inline"`

	line int
}

func (w *workflow) UnmarshalYAML(n *yaml.Node) error {
	type plain workflow
	w.line = n.Line
	if n.Kind != yaml.MappingNode {
		return wrongType(n, "a mapping")
	}
	return n.Decode((*plain)(w))
}

type stage struct {
	Steps []step               `yaml:"steps"`
	Rest  map[string]yaml.Node `yaml:",inline"`
}

// step is a step of a stage: its name, and what it is given.
type step struct {
	Name      string
	ExtraArgs list
	// Detail tells apart steps that run a command or set a variable: the program, or the variable's name. Never a value.
	Detail string
	Line   int
}

func (s *step) UnmarshalYAML(n *yaml.Node) error {
	s.Line = n.Line
	if n.Kind == yaml.ScalarNode {
		s.Name = n.Value
		return nil
	}
	var steps map[string]yaml.Node
	if err := n.Decode(&steps); err != nil {
		return err
	}
	if len(steps) != 1 {
		return typeError(n.Line, fmt.Sprintf("a step has one key, and this one has %d", len(steps)))
	}
	for name, value := range steps {
		s.Name = name
		if value.Kind == yaml.AliasNode {
			value = *value.Alias
		}
		if value.Kind == yaml.ScalarNode {
			s.Detail = program(value.Value)
			return nil
		}
		var given struct {
			ExtraArgs list `yaml:"extra_args"`
			Command   text `yaml:"command"`
			Name      text `yaml:"name"`
		}
		if err := value.Decode(&given); err != nil {
			return err
		}
		s.ExtraArgs = given.ExtraArgs
		s.Detail = given.Name.Value
		if s.Detail == "" {
			s.Detail = program(given.Command.Value)
		}
	}
	return nil
}

// program returns the first word of a command that is no assignment. The rest may hold secrets.
func program(command string) string {
	for _, word := range strings.Fields(command) {
		if !strings.Contains(word, "=") {
			return word
		}
	}
	return ""
}

// text, number, truth and list are values with the line on which they stand; Line is 0 if the key is not there.
type (
	text struct {
		Value, key string
		Line       int
	}
	number struct{ Value, Line int }
	truth  struct {
		Value bool
		Line  int
	}
	list struct {
		Items []text
		Line  int
	}
)

// UnmarshalYAML takes any scalar as it is written, so that the version 1.10 does not become 1.1.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return wrongType(n, "text")
	}
	t.Value, t.Line = n.Value, n.Line
	return nil
}

func (v *number) UnmarshalYAML(n *yaml.Node) error {
	if err := n.Decode(&v.Value); err != nil {
		return wrongType(n, "a whole number")
	}
	v.Line = n.Line
	return nil
}

func (v *truth) UnmarshalYAML(n *yaml.Node) error {
	if err := n.Decode(&v.Value); err != nil {
		return wrongType(n, "true or false")
	}
	v.Line = n.Line
	return nil
}

func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return wrongType(n, "a list")
	}
	l.Line = n.Line
	for _, item := range n.Content {
		var t text
		if err := item.Decode(&t); err != nil {
			return err
		}
		if t.Line == 0 {
			return wrongType(item, "text")
		}
		l.Items = append(l.Items, t)
	}
	return nil
}

func wrongType(n *yaml.Node, want string) error {
	return typeError(n.Line, "a value of another type stands where Atlantis takes "+want)
}

// typeError returns an error that the YAML library collects, so that all of them are told at once.
func typeError(line int, text string) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", line, text)}}
}

// read parses an atlantis.yaml of version 2 or 3.
func read(name string, data []byte) (*file, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%s: the file is %d bytes long; at most %d are read", name, len(data), maxBytes)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: the file is not UTF-8 (save it as UTF-8)", name)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, noVersion(name)
	} else if err != nil {
		return nil, inFile(name, err)
	}
	if !bounded(&document) {
		return nil, fmt.Errorf("%s: the file stands for more than %d values, or an alias contains itself (use fewer aliases)", name, maxNodes)
	}
	if top := document.Content[0]; top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: the file is not a mapping (it begins with version: 3)", name, top.Line)
	}
	var in file
	if err := document.Decode(&in); err != nil {
		return nil, inFile(name, err)
	}
	switch version, err := strconv.Atoi(in.Version.Value); {
	case in.Version.Line == 0:
		return nil, noVersion(name)
	case err != nil || version != 2 && version != 3:
		return nil, fmt.Errorf("%s:%d: version %s of the format cannot be read, only 2 and 3 (bring the file to version 3 first: https://www.runatlantis.io/docs/upgrading-atlantis-yaml)",
			name, in.Version.Line, quote(in.Version.Value))
	}
	return &in, nil
}

func noVersion(name string) error {
	return fmt.Errorf("%s: the file has no version (Atlantis needs version: 3 in its first line)", name)
}

// inFile puts the place before the texts of the YAML library: "yaml: line 3: …", or a list of them.
func inFile(name string, err error) error {
	var texts []string
	var several *yaml.TypeError
	if errors.As(err, &several) {
		texts = several.Errors
	} else {
		texts = []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	for i, t := range texts {
		t = oneLine(t)
		if rest, ok := strings.CutPrefix(t, "line "); ok {
			texts[i] = name + ":" + rest
		} else {
			texts[i] = name + ": " + t
		}
	}
	return errors.New(strings.Join(texts, "\n"))
}

// bounded reports whether a document stands for a sane number of values, each alias written out.
func bounded(document *yaml.Node) bool {
	nodes := 0
	open := map[*yaml.Node]bool{}
	var walk func(*yaml.Node) bool
	walk = func(n *yaml.Node) bool {
		nodes++
		if nodes > maxNodes {
			return false
		}
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n == nil || open[n] {
			return false
		}
		open[n] = true
		defer delete(open, n)
		for _, child := range n.Content {
			if !walk(child) {
				return false
			}
		}
		return true
	}
	return walk(document)
}

// key is a key that is named in a comment, with its line.
type key struct {
	name string
	line int
}

func sortedByLine(rest map[string]yaml.Node) []key {
	var keys []key
	for name, node := range rest {
		keys = append(keys, key{name, node.Line})
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.name, b.name))
	})
	return keys
}

// words returns the items of a list for a comment.
func words(l list) string {
	var all []string
	for _, item := range l.Items {
		all = append(all, oneLine(item.Value))
	}
	return strings.Join(all, ", ")
}

func quote(s string) string { return strconv.Quote(oneLine(s)) }

// oneLine returns text that cannot end a comment, and is not long.
func oneLine(s string) string {
	const limit = 80
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit]) + "…"
	}
	return s
}
