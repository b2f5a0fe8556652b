package workspaces

import (
	_ "embed" // for the two source files below
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"

	"github.com/invopop/jsonschema"
)

//go:generate go test . -run TestSchemaIsCurrent -update-config

// The descriptions of the schema are the comments of the types, taken from their source, so that there is one text and not
// two. They are a few kilobytes.
var (
	//go:embed config.go
	configSource string
	//go:embed config_access.go
	accessSource string
	//go:embed workspaces.go
	workspacesSource string
)

// Schema returns the JSON Schema of plumbline.yaml (draft 2020-12), indented, for editors that complete and check YAML. It
// is made from the types [Config] and those below it; docs/plumbline.schema.json holds a copy.
//
// It knows keys, types, choices and the form of most values. What needs a calendar, a version parser or a look at other
// entries only [ParseConfig] finds. It never refuses a file that ParseConfig accepts, except for YAML's merge keys, which
// editors resolve before they check.
func Schema() ([]byte, error) {
	comments, err := fieldComments(configSource, accessSource, workspacesSource)
	if err != nil {
		return nil, fmt.Errorf("read the comments of the configuration's types: %w", err)
	}
	reflector := jsonschema.Reflector{DoNotReference: true, ExpandedStruct: true, Anonymous: true, CommentMap: comments}
	schema := reflector.Reflect(&Config{})
	schema.Title = "plumbline.yaml"
	schema.Description = "Settings of a repository for Plumbline. The file is optional: with none every root module is a workspace."
	for _, refine := range refinements(schema, reflector.Reflect(&EnvSettings{})) {
		if refine.schema == nil {
			return nil, fmt.Errorf("refine the schema: the types have no key %q", refine.key)
		}
		refine.with(refine.schema)
	}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(out, '\n'), nil
}

// refinement is what the Go type of a key does not say.
type refinement struct {
	key    string
	schema *jsonschema.Schema
	with   func(*jsonschema.Schema)
}

// refinements returns those of the whole tree. env is the long form of that key.
func refinements(top, env *jsonschema.Schema) []refinement {
	at := func(s *jsonschema.Schema, keys ...string) *jsonschema.Schema {
		for _, key := range keys {
			if s == nil || s.Properties == nil {
				return nil
			}
			s, _ = s.Properties.Get(key)
			if s != nil && key == "workspaces" {
				s = s.Items
			}
		}
		return s
	}
	var all []refinement
	add := func(within *jsonschema.Schema, key string, with ...func(*jsonschema.Schema)) {
		all = append(all, refinement{key, at(within, strings.Split(key, ".")...), func(s *jsonschema.Schema) {
			for _, f := range with {
				f(s)
			}
		}})
	}
	add(top, "version", enum(configVersion), usually(configVersion))
	add(top, "discover", usually(true))
	add(top, "drafts", oneOf(draftsChoices), usually(defaultDrafts))
	add(top, "merge", oneOf(mergeChoices), usually(defaultMerge))
	add(top, "push", oneOf(pushChoices), usually(defaultPush))
	add(top, "defaults", without("enabled", "depends_on"))
	add(top, "ignore", items(relativePath, not(leavesUpwards)), examples([]string{"examples/**"}))
	add(top, "classes", mapKeys(resourceTypeGlob), mapValues(classChoices), examples(map[string]string{"acme_vm_*": "node"}))

	env.Version, env.ID = "", ""
	add(env, "names", items(form(environmentName)), examples([]string{"TF_VAR_region", "ARM_*"}))
	for _, phase := range []string{"plan", "apply"} {
		add(env, phase, variables, examples(map[string]any{"HCLOUD_TOKEN": map[string]any{"env": "HCLOUD_" + strings.ToUpper(phase) + "_TOKEN"}}))
	}
	entry := at(top, "workspaces")
	add(entry, "dir", relativePath, not(leavesUpwards), not(patternInDir), not(toolDirectory), examples("clusters/prod", "."))
	add(entry, "name", workspaceNameForm, examples("prod"))
	add(entry, "enabled", usually(true))
	add(entry, "depends_on", items(workspaceNameForm), examples([]string{"network/prod"}))
	for _, settings := range []*jsonschema.Schema{at(top, "defaults"), entry} {
		add(settings, "workspace", form(terraformWorkspace), usually("default"), examples("prod"))
		add(settings, "engine", oneOf(engineChoices))
		add(settings, "terraform", text, examples("~> 1.11", ">= 1.9, < 2.0"))
		add(settings, "apply", oneOf(applyChoices), usually(defaultApply))
		add(settings, "approvals", between(0, maxApprovals), usually(0))
		add(settings, "account", form(accountName), examples("prod-eu"))
		add(settings, "var_files", items(relativePath), examples([]string{"prod.tfvars"}))
		add(settings, "backend_config", items(backendItem), examples([]string{"prod.s3.tfbackend"}, []string{"key=prod.tfstate"}))
		add(settings, "env", items(form(environmentName)), orElse(env), examples([]string{"TF_VAR_region", "ARM_*"}))
		add(settings, "aws.plan_role", role, examples("arn:aws:iam::123456789012:role/plumbline-plan"))
		add(settings, "aws.apply_role", role, examples("arn:aws:iam::123456789012:role/plumbline-apply"))
		add(settings, "aws.session_tags", usually(false))
		add(settings, "aws.region", form(awsRegion), examples("eu-central-1"))
		add(settings, "aws.duration", form(sessionLength), usually("1h"))
		add(settings, "watch", items(relativePath), examples([]string{"../../policies/**"}))
		add(settings, "drift.every", text, examples("15m", "0 6 * * Mon-Fri", "off"))
		add(settings, "drift.correct", mapKeys(regexp.MustCompile("^("+strings.Join(classChoices, "|")+")$")), mapValues(ladderChoices),
			examples(map[string]string{"cluster": "never", "node": "replace", "resource": "update"}))
		add(settings, "drift.max_changes", between(1, maxChanges), usually(DefaultMaxChanges))
		add(settings, "drift.windows", items(text), examples([]string{"Mon-Fri 08:00-18:00 Europe/Berlin"}))
		add(settings, "drift.who", oneOf(whoChoices), usually(defaultWho))
		add(settings, "drift.ignore", func(s *jsonschema.Schema) { s.Items.Required = []string{"address"} })
		rule := at(settings, "drift", "ignore")
		if rule != nil {
			rule = rule.Items
		}
		add(rule, "address", text, examples("aws_autoscaling_group.*"))
		add(rule, "attributes", items(text), examples([]string{"desired_capacity"}))
		add(rule, "until", form(regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)), examples("2027-03-01"))
		add(rule, "owner", text, examples("@platform"))
		add(rule, "reason", text, examples("scaled by hand until the launch"))
	}
	return all
}

// orElse allows a mapping in the place of a list.
func orElse(mapping *jsonschema.Schema) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		list := &jsonschema.Schema{Type: s.Type, Items: s.Items, UniqueItems: s.UniqueItems}
		s.Type, s.Items, s.UniqueItems = "", nil, false
		s.AnyOf = []*jsonschema.Schema{list, mapping}
	}
}

func role(s *jsonschema.Schema) {
	form(roleARN)(s)
	length := uint64(maxARNLength)
	s.MaxLength = &length
}

// variables are a mapping from names to the sources of their values.
func variables(s *jsonschema.Schema) {
	name := &jsonschema.Schema{}
	form(variableName)(name)
	not(ownVariable)(name)
	s.PropertyNames = name
	one, most := uint64(1), uint64(1)
	literal, file, env, arg := &jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "string"}
	text(literal)
	text(file)
	file.AllOf = append(file.AllOf, &jsonschema.Schema{Pattern: absolutePath.String()})
	not(leavesUpwards)(file)
	form(variableName)(env)
	not(ownVariable)(env)
	text(arg)
	properties := jsonschema.NewProperties()
	properties.Set("file", file)
	properties.Set("env", env)
	properties.Set("command", &jsonschema.Schema{Type: "array", Items: arg, MinItems: &one})
	s.AdditionalProperties = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		literal, {Type: "object", Properties: properties, AdditionalProperties: jsonschema.FalseSchema, MinProperties: &one, MaxProperties: &most},
	}}
}

func enum(values ...any) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Enum = values }
}

func oneOf(values []string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		for _, v := range values {
			s.Enum = append(s.Enum, v)
		}
	}
}

func usually(value any) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Default = value }
}

func examples(values ...any) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Examples = values }
}

func between(low, high int) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		s.Minimum, s.Maximum = json.Number(fmt.Sprint(low)), json.Number(fmt.Sprint(high))
	}
}

// items refines what a list holds. No list may hold the same twice.
func items(with ...func(*jsonschema.Schema)) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		s.UniqueItems = true
		for _, f := range with {
			f(s.Items)
		}
	}
}

func mapKeys(form *regexp.Regexp) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.PropertyNames = &jsonschema.Schema{Pattern: form.String()} }
}

func mapValues(choices []string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { oneOf(choices)(s.AdditionalProperties) }
}

// without removes keys.
func without(keys ...string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		for _, key := range keys {
			s.Properties.Delete(key)
		}
	}
}

// text is text that is not blank and has no control characters.
func text(s *jsonschema.Schema) {
	s.Pattern = `\S`
	not(regexp.MustCompile(`[\x00-\x1f\x7f-\x9f` + "\u2028\u2029" + `]`))(s)
}

func form(pattern *regexp.Regexp) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		s.Pattern = pattern.String()
		length := uint64(maxNameLength)
		s.MaxLength = &length
	}
}

// not refuses text that a pattern is found in. (Expressions in a schema have no portable way to say it themselves.)
func not(pattern *regexp.Regexp) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		s.AllOf = append(s.AllOf, &jsonschema.Schema{Not: &jsonschema.Schema{Pattern: pattern.String()}})
	}
}

func relativePath(s *jsonschema.Schema) {
	text(s)
	not(regexp.MustCompile(`^/|^[A-Za-z]:|\\`))(s)
}

// backendItem allows key=value, whose value may begin with or hold anything.
func backendItem(s *jsonschema.Schema) {
	file, pair := &jsonschema.Schema{}, &jsonschema.Schema{Pattern: backendPair.String()}
	relativePath(file)
	not(regexp.MustCompile("="))(file)
	text(s)
	s.AnyOf = []*jsonschema.Schema{file, pair}
}

func workspaceNameForm(s *jsonschema.Schema) {
	text(s)
	not(regexp.MustCompile(`^[-\s]|\s$`))(s)
	length := uint64(maxNameLength)
	s.MaxLength = &length
}

// fieldComments returns the comments of the types and fields in Go source, under the names by which the reflector asks for
// them.
func fieldComments(sources ...string) (map[string]string, error) {
	const pkg = "github.com/plumbline-dev/plumbline/workspaces."
	comments := map[string]string{}
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				return false
			}
			for _, f := range structure.Fields.List {
				for _, name := range f.Names {
					comments[pkg+spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			return false
		})
	}
	return comments, nil
}
