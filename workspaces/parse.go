package workspaces

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"
)

// parseFacts finds the facts of one Terraform file. A file that cannot be read
// as HCL yields what could be made of it and its first mistake.
func parseFacts(name string, data []byte) fileFacts {
	if line := tooDeep(data); line > 0 {
		facts := fileFacts{name: name, broken: &syntaxError{line: line, text: fmt.Sprintf("brackets are nested more than %d deep", maxNesting)}}
		facts.guess(data)
		return facts
	}
	if configKind(name) == jsonConfig {
		facts := parseJSONFile(name, data)
		facts.guess(data)
		return facts
	}
	if facts, ok := scanFile(data); ok {
		facts.name = name
		return facts
	}
	facts := parseFile(name, data)
	facts.guess(data)
	return facts
}

// maxNesting bounds how deep brackets may be nested. The parsers recurse, and
// the end of the stack cannot be recovered from: one file made of brackets
// would end the process for everybody.
const maxNesting = 500

// tooDeep returns the line in which brackets are nested too deep, or 0. Every
// byte is taken at its face, also in strings and comments.
func tooDeep(data []byte) int {
	depth, line := 0, 1
	for _, c := range data {
		switch c {
		case '\n':
			line++
		case '(', '[', '{':
			if depth++; depth > maxNesting {
				return line
			}
		case ')', ']', '}':
			depth = max(0, depth-1)
		}
	}
	return 0
}

// guess looks for local module sources in the text of a file that is broken.
// After its first mistake the parser passes over blocks; were their calls lost,
// the modules would be taken for root modules, and be applied.
func (f *fileFacts) guess(data []byte) {
	if f.broken != nil {
		f.guesses = guessSources(data)
	}
}

// sourceText is what a local module source looks like in either syntax, even
// with a conflict marker in front of the string and without its closing quote.
var sourceText = regexp.MustCompile(`\bsource"?\s*[:=]\s*(?:[<|=>]{7}[^\n]*\s*)*\(?\s*"(\.\.?(?:[/\\][^"\r\n]*)?)["\r\n]`)

// guessSources are the local module sources in a text, each once, in comments
// too: better a root module too few for as long as the file is broken.
func guessSources(data []byte) []string {
	// A file in UTF-16 is ASCII with zeros in between.
	data = append(bytes.ReplaceAll(data, []byte{0}, nil), '\n')
	var sources []string
	for _, m := range sourceText.FindAllSubmatch(data, -1) {
		source := strings.TrimSpace(strings.ReplaceAll(string(m[1]), `\/`, "/"))
		if !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	return sources
}

// parseFile is parseFacts for native syntax, with the full parser.
func parseFile(name string, data []byte) fileFacts {
	facts := fileFacts{name: name}
	file, diags := parseSyntax(name, data)
	facts.broken = firstError(diags)
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return facts
	}
	for _, block := range body.Blocks {
		if runsBlock(block.Type) {
			facts.runs = true
		}
		switch block.Type {
		case "module":
			c := call{line: block.TypeRange.Start.Line}
			if len(block.Labels) > 0 {
				c.name = block.Labels[len(block.Labels)-1]
			}
			if attr, ok := block.Body.Attributes["source"]; ok {
				c.line = attr.Expr.StartRange().Start.Line
				var plain bool
				c.source, plain = plainText(attr.Expr)
				c.unknown = !plain
			}
			if attr, ok := block.Body.Attributes["version"]; ok {
				c.version, _ = plainText(attr.Expr)
			}
			facts.calls = append(facts.calls, c)
		case "terraform":
			if attr, ok := block.Body.Attributes["required_version"]; ok {
				if text, ok := plainText(attr.Expr); ok {
					facts.required = append(facts.required, text)
				}
			}
			for _, inner := range block.Body.Blocks {
				switch inner.Type {
				case "backend":
					facts.runs = true
					b := &backendFact{}
					if len(inner.Labels) > 0 {
						b.kind = inner.Labels[0]
					}
					if attr, ok := inner.Body.Attributes["path"]; ok && b.kind == localBackend {
						b.path = plainPath(attr.Expr)
					}
					facts.backend = b
				case "cloud":
					facts.runs = true
					facts.backend = &backendFact{kind: cloudBackend}
				}
			}
		}
	}
	facts.reads = factReads(findReads(body, scope{flat: true}))
	return facts
}

// Two kinds of backend that are more than a name here.
const (
	localBackend = "local"
	cloudBackend = "cloud"
)

// plainPath is the path that an expression writes down, unknownPath when it has
// to be evaluated for that.
func plainPath(expr hcl.Expression) string {
	if text, ok := plainText(expr); ok {
		return text
	}
	return unknownPath
}

// parseSyntax is hclsyntax.ParseConfig, which always returns a file.
func parseSyntax(name string, data []byte) (*hcl.File, hcl.Diagnostics) {
	if tooDeep(data) > 0 {
		data = nil // It was told when the facts were read; here nothing can be made of it.
	}
	return hclsyntax.ParseConfig(data, name, hcl.InitialPos)
}

// plainText is the value of an expression that is a plain string.
func plainText(expr hcl.Expression) (string, bool) {
	value, diags := expr.Value(nil)
	if diags.HasErrors() || !value.IsWhollyKnown() || value.IsNull() || value.Type() != cty.String {
		return "", false
	}
	return value.AsString(), true
}

// firstError is the first of the errors by line, nil when there is none. Where
// several begin in one line, the parser's first comes first.
func firstError(diags hcl.Diagnostics) *syntaxError {
	var errs []*hcl.Diagnostic
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			errs = append(errs, d)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	line := func(d *hcl.Diagnostic) int {
		if d.Subject == nil {
			return 0
		}
		return d.Subject.Start.Line
	}
	first := slices.MinFunc(errs, func(a, b *hcl.Diagnostic) int { return cmp.Compare(line(a), line(b)) })
	text := first.Summary
	if first.Detail != "" {
		text += ": " + first.Detail
	}
	return &syntaxError{line: line(first), text: strings.Join(strings.Fields(text), " ")}
}

var jsonSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "module", LabelNames: []string{"name"}},
	{Type: "terraform"},
}}

var jsonModuleSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "source"}, {Name: "version"}}}

var jsonTerraformSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "required_version"}},
	Blocks:     []hcl.BlockHeaderSchema{{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}},
}

var jsonLocalSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "path"}}}

// parseJSONFile is parseFacts for the JSON syntax.
func parseJSONFile(name string, data []byte) fileFacts {
	facts := fileFacts{name: name}
	file, diags := hcljson.Parse(data, name)
	if diags.HasErrors() {
		// After its first error the JSON parser tells of consequences.
		facts.broken = firstError(diags[:1])
		return facts
	}
	content, _, diags := file.Body.PartialContent(jsonSchema)
	if diags.HasErrors() {
		facts.broken = firstError(diags)
	}
	for _, block := range content.Blocks {
		switch block.Type {
		case "module":
			inner, _, _ := block.Body.PartialContent(jsonModuleSchema)
			c := call{name: block.Labels[0], line: block.DefRange.Start.Line}
			if attr, ok := inner.Attributes["source"]; ok {
				c.line = attr.Range.Start.Line
				var plain bool
				c.source, plain = plainText(attr.Expr)
				c.unknown = !plain
			}
			if attr, ok := inner.Attributes["version"]; ok {
				c.version, _ = plainText(attr.Expr)
			}
			facts.calls = append(facts.calls, c)
		case "terraform":
			inner, _, _ := block.Body.PartialContent(jsonTerraformSchema)
			if attr, ok := inner.Attributes["required_version"]; ok {
				if text, ok := plainText(attr.Expr); ok {
					facts.required = append(facts.required, text)
				}
			}
			for _, b := range inner.Blocks {
				facts.runs = true
				if b.Type == cloudBackend {
					facts.backend = &backendFact{kind: cloudBackend}
					continue
				}
				facts.backend = &backendFact{kind: b.Labels[0]}
				attrs, _, _ := b.Body.PartialContent(jsonLocalSchema)
				if attr, ok := attrs.Attributes["path"]; ok && b.Labels[0] == localBackend {
					facts.backend.path = plainPath(attr.Expr)
				}
			}
		}
	}

	tree := jsonTree(data)
	if top, ok := tree.(map[string]any); ok {
		for blockType := range top {
			if runsBlock(blockType) {
				facts.runs = true
			}
		}
	}
	var reads []foundRead
	for _, tmpl := range jsonTemplates(tree, nil) {
		reads = append(reads, findReads(tmpl, scope{flat: true})...)
	}
	for i := range reads {
		reads[i].line = 0 // lines of a template within JSON say nothing of the file's
	}
	facts.reads = factReads(reads)
	return facts
}

// jsonTree decodes JSON into maps and slices; nil when it is none.
func jsonTree(data []byte) any {
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil
	}
	return tree
}

// jsonTemplates collects every string of a configuration in JSON as the
// template that Terraform takes it for, in a stable order.
func jsonTemplates(tree any, list []hclsyntax.Expression) []hclsyntax.Expression {
	switch v := tree.(type) {
	case string:
		if expr, diags := hclsyntax.ParseTemplate([]byte(v), "", hcl.InitialPos); !diags.HasErrors() {
			list = append(list, expr)
		}
	case []any:
		for _, item := range v {
			list = jsonTemplates(item, list)
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			list = jsonTemplates(v[k], list)
		}
	}
	return list
}

// parseTestFile lists the sources of the modules that a test file's run blocks
// run instead of the directory's own. That a test file is broken is no problem,
// for it stops "terraform test" and no plan; what it runs is guessed then.
func parseTestFile(name string, data []byte) []string {
	file, diags := parseSyntax(name, data)
	if diags.HasErrors() {
		return guessSources(data)
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil
	}
	var sources []string
	for _, run := range body.Blocks {
		if run.Type != "run" || run.Body == nil {
			continue
		}
		for _, block := range run.Body.Blocks {
			if block.Type != "module" || block.Body == nil {
				continue
			}
			if attr, ok := block.Body.Attributes["source"]; ok {
				if text, ok := plainText(attr.Expr); ok && isLocalSource(text) {
					sources = append(sources, text)
				}
			}
		}
	}
	return sources
}
