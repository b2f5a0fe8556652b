package terraform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// sensitiveValues returns what the environment gives to variables that the root module in dir declares as sensitive.
// Terraform hides such a value where it knows it to be one, which it does not in the errors of providers: those are words.
// What cannot be read declares nothing here, and Terraform says so.
func sensitiveValues(dir string, environ []string) []string {
	given := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if name, ok := strings.CutPrefix(name, "TF_VAR_"); ok {
			given[name] = value
		}
	}
	if len(given) == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var values []string
	for _, e := range entries {
		for _, name := range sensitiveVariables(filepath.Join(dir, e.Name())) {
			if value, ok := given[name]; ok {
				values = append(values, worthHiding(value)...)
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// sensitiveVariables reads which variables a file of Terraform's language declares as sensitive.
func sensitiveVariables(file string) (names []string) {
	parser := hclparse.NewParser()
	var parsed *hcl.File
	switch {
	case strings.HasSuffix(file, ".tf"), strings.HasSuffix(file, ".tofu"):
		parsed, _ = parser.ParseHCLFile(file) // what can be read of it
	case strings.HasSuffix(file, ".tf.json"), strings.HasSuffix(file, ".tofu.json"):
		parsed, _ = parser.ParseJSONFile(file)
	}
	if parsed == nil || parsed.Body == nil {
		return nil
	}
	content, _, _ := parsed.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "variable", LabelNames: []string{"name"}}}})
	for _, block := range content.Blocks {
		attributes, _, _ := block.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "sensitive"}}})
		if a, ok := attributes.Attributes["sensitive"]; ok {
			if yes, diags := a.Expr.Value(nil); !diags.HasErrors() {
				if yes, err := convert.Convert(yes, cty.Bool); err == nil && yes.RawEquals(cty.True) { // Terraform takes "true" too
					names = append(names, block.Labels[0])
				}
			}
		}
	}
	return names
}

// worthHiding returns a value as it is given, and the strings and numbers in it if it is a list or an object, which
// Terraform reads in its own language. Short ones would blacken
// words of a message and protect nothing.
func worthHiding(value string) []string {
	var all []string
	add := func(s string) {
		if s = strings.TrimSpace(s); len(s) >= 6 {
			all = append(all, s)
		}
	}
	add(value)
	for line := range strings.Lines(value) {
		add(line)
	}
	if expr, diags := hclsyntax.ParseExpression([]byte(value), "", hcl.InitialPos); !diags.HasErrors() {
		read, _ := expr.Value(nil)
		_ = cty.Walk(read, func(_ cty.Path, v cty.Value) (bool, error) {
			if (v.Type() == cty.String || v.Type() == cty.Number) && v.IsKnown() && !v.IsNull() {
				if s, err := convert.Convert(v, cty.String); err == nil {
					add(s.AsString())
				}
			}
			return true, nil
		})
	}
	var tree any
	if json.Unmarshal([]byte(value), &tree) == nil {
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case string:
				add(v)
			case []any:
				for _, e := range v {
					walk(e)
				}
			case map[string]any:
				for _, e := range v {
					walk(e)
				}
			}
		}
		walk(tree)
	}
	return all
}
