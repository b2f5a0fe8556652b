package workspaces_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/workspaces"
)

const schemaPath = "../docs/plumbline.schema.json"

func TestSchemaIsCurrent(t *testing.T) {
	got, err := workspaces.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *updateConfig {
		if err := os.WriteFile(schemaPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/plumbline.schema.json is not what the types say; run go generate ./workspaces (-file +types):\n%s", diff)
	}
}

// TestSchemaAgreesWithParseConfig validates every case of testdata/config in both ways.
func TestSchemaAgreesWithParseConfig(t *testing.T) {
	schema := compiledSchema(t)
	for _, c := range configCases(t) {
		t.Run(c.name, func(t *testing.T) {
			_, problems := workspaces.ParseConfig("plumbline.yaml", c.yaml())
			tree, ok := asJSON(c.yaml())
			if !ok {
				if len(problems) == 0 {
					t.Error("not YAML, and ParseConfig has nothing to say")
				}
				return
			}
			err := schema.Validate(tree)
			if err != nil && len(problems) == 0 {
				t.Errorf("the schema refuses what ParseConfig accepts: %v", err)
			}
			if err == nil && len(problems) > 0 && !c.onlyParser {
				t.Errorf("the schema accepts what ParseConfig refuses:\n%s", list(problems))
			}
		})
	}
}

// TestSchemaAgreesOnEveryValue tries values one key at a time, so that one mistake in a file cannot hide that another goes
// unnoticed.
func TestSchemaAgreesOnEveryValue(t *testing.T) {
	schema := compiledSchema(t)
	values := []string{
		`true`, `0`, `1`, `2`, `101`, `-1`, `1.5`, `null`, `{}`, `[]`, `""`, `" "`, `"x"`, `"a/b"`, `"../x"`, `"/x"`, `"a\\b"`, `"C:/x"`,
		`"a b"`, `" a"`, `"-a"`, `"a\u0007"`, `"a*"`, `"*"`, `"A=b"`, `"=b"`, `".git"`, `"terraform"`, `"tofu"`, `"on-merge"`, `"wait"`, `"squash"`, `"apply"`, `"off"`, `"1h"`,
		`"2027-03-01"`, `["x"]`, `["x","x"]`, `["x",1]`, `[""]`, `["A=b"]`, `["/A=b"]`, `["/x"]`, `["-x"]`, `["a*"]`, `["a\nb"]`, `[{}]`,
		`[{"dir":"x"}]`, `[{"address":"x"}]`, `{"x":"node"}`, `{"a b":"node"}`, `{"x":"y"}`, `{"node":"update"}`, `{"node":"x"}`, `{"node":1}`,
		`["daily 00:00-24:00 UTC"]`, `"arn:aws:iam::111122223333:role/x"`, `"arn:aws:iam::111122223333:role/"`, `"eu-central-1"`, `"90m"`, `"5m"`, `"/x/../y"`,
		`"PLUMBLINE_X"`, `{"file":"/x"}`, `{"file":"x"}`, `{"env":"A"}`, `{"command":["a","a"]}`, `{"A":{"command":[]}}`, `{"A":"b"}`, `{"A":{"file":"/x","env":"B"}}`, `["x/y"]`, `"> 1"`, `"` + strings.Repeat("x", 201) + `"`,
	}
	settings := []string{"workspace", "engine", "terraform", "apply", "approvals", "account", "var_files", "backend_config", "env", "aws", "watch", "drift", "unknown"}
	aws := []string{"plan_role", "apply_role", "session_tags", "region", "duration", "unknown"}
	env := []string{"names", "plan", "apply", "unknown"}
	source := []string{"file", "env", "command", "unknown"}
	drift := []string{"every", "correct", "max_changes", "windows", "ignore", "unknown"}
	rule := []string{"address", "attributes", "until", "owner", "reason", "unknown"}
	places := map[string][]string{
		`{%}`:                                      {"version", "discover", "drafts", "merge", "push", "defaults", "workspaces", "ignore", "classes", "unknown"},
		`{"defaults":{%}}`:                         append([]string{"enabled", "depends_on", "dir", "name"}, settings...),
		`{"workspaces":[{%}]}`:                     {"dir"},
		`{"workspaces":[{"dir":"q",%}]}`:           append([]string{"enabled", "depends_on", "name"}, settings...),
		`{"defaults":{"drift":{%}}}`:               drift,
		`{"workspaces":[{"dir":"q","drift":{%}}]}`: drift,
		`{"workspaces":[{"dir":"q","drift":{"ignore":[{"address":"q",%}]}}]}`: rule[1:],
		`{"defaults":{"drift":{"ignore":[{%}]}}}`:                             rule,
		`{"defaults":{"aws":{%}}}`:                                            aws,
		`{"defaults":{"env":{%}}}`:                                            env,
		`{"defaults":{"env":{"plan":{%}}}}`:                                   {"NAME", "A b", "PLUMBLINE_X", "A*"},
		`{"defaults":{"env":{"plan":{"A":{%}}}}}`:                             source,
		`{"workspaces":[{"dir":"q","env":{"apply":{"A":{"file":"/x",%}}}}]}`:  source[1:],
	}
	// What only a parser of versions, times, dates and patterns can say, or depends on two values at once.
	beyond := []string{"is not a version constraint", "every:", "windows:", "not a day", "leaves the repository", "depends on itself",
		"which AWS does not allow", "depends on the directory", "no plan_role"}
	checked := 0
	for place, keys := range places {
		for _, key := range keys {
			for _, value := range values {
				doc := strings.Replace(place, "%", `"`+key+`":`+value, 1)
				_, problems := workspaces.ParseConfig("plumbline.yaml", []byte(doc))
				tree, ok := asJSON([]byte(doc))
				if !ok {
					t.Fatalf("%s is not JSON", doc)
				}
				err := schema.Validate(tree)
				refused := ""
				for _, p := range problems {
					if p.IsError() {
						refused += p.Error() + "\n"
					}
				}
				checked++
				switch {
				case err != nil && refused == "":
					t.Errorf("%s\nthe schema refuses what ParseConfig accepts: %v", doc, err)
				case err == nil && refused != "" && !containsAny(refused, beyond):
					t.Errorf("%s\nthe schema accepts what ParseConfig refuses: %s", doc, refused)
				}
			}
		}
	}
	if checked < 3000 {
		t.Errorf("checked %d values, want more than 3000", checked)
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	data, err := workspaces.Schema()
	if err != nil {
		t.Fatal(err)
	}
	reference, err := os.ReadFile("../docs/plumbline.yaml.md")
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	if err := json.Unmarshal(data, &top); err != nil {
		t.Fatal(err)
	}
	keys := 0
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		if items, ok := schema["items"].(map[string]any); ok {
			walk(path, items)
		}
		properties, _ := schema["properties"].(map[string]any)
		for key, value := range properties {
			property := value.(map[string]any)
			keys++
			if description, _ := property["description"].(string); !strings.HasSuffix(description, ".") {
				t.Errorf("%s.%s has the description %q, want a sentence", path, key, description)
			}
			if !bytes.Contains(reference, []byte("`"+key+"`")) {
				t.Errorf("docs/plumbline.yaml.md does not name `%s`", key)
			}
			walk(path+"."+key, property)
		}
	}
	walk("", top)
	if keys < 30 {
		t.Errorf("the schema has %d keys, want all of them", keys)
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := workspaces.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("plumbline.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("plumbline.schema.json")
	if err != nil {
		t.Fatalf("the schema is not one: %v", err)
	}
	return schema
}

// asJSON reads YAML as an editor does that checks it against a schema: dates are text, and an empty file is an empty
// mapping. It reports false for what is not YAML, or has keys that are no text.
func asJSON(data []byte) (any, bool) {
	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, false
	}
	if tree == nil {
		return map[string]any{}, true
	}
	ok := true
	var convert func(any) any
	convert = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				v[key] = convert(value)
			}
		case map[any]any:
			ok = false
		case []any:
			for i, value := range v {
				v[i] = convert(value)
			}
		case time.Time:
			return v.Format(time.DateOnly)
		}
		return v
	}
	tree = convert(tree)
	return tree, ok
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
