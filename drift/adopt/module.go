package adopt

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	tfjson "github.com/hashicorp/terraform-json"
	"github.com/zclconf/go-cty/cty"
)

// tree reads the configuration, each file once.
type tree struct {
	in    Input
	dirs  map[string][]*file
	files map[string]*file
}

// module is a module as one call leads to it; the root module has no call.
type module struct {
	dir    string
	files  []*file
	parent *module
	call   *hclsyntax.Block
	// from is the file of the call.
	from *file
}

// instance is a resource instance of the plan and the block that it comes from.
type instance struct {
	rc     *tfjson.ResourceChange
	module *module
	file   *file
	block  *hclsyntax.Block
}

// errNoBlock says that nothing in the configuration declares a resource.
var errNoBlock = errors.New("the configuration has no block for it")

// dir reads the files of a directory that Terraform reads.
func (t *tree) dir(dir string) ([]*file, error) {
	if files, known := t.dirs[dir]; known {
		return files, nil
	}
	for at := dir; at != "."; at = path.Dir(at) {
		if t.isLink(at) {
			return nil, fmt.Errorf("%s is a symbolic link", at)
		}
	}
	entries, err := fs.ReadDir(t.in.Files, dir)
	if err != nil {
		return nil, fmt.Errorf("the directory %s cannot be read", dir)
	}
	tofu := map[string]bool{}
	if t.in.Engine == "tofu" {
		for _, e := range entries {
			if stem, ok := strings.CutSuffix(e.Name(), ".tofu"); ok {
				tofu[stem+".tf"] = true
			} else if stem, ok := strings.CutSuffix(e.Name(), ".tofu.json"); ok {
				tofu[stem+".tf.json"] = true
			}
		}
	}
	var files []*file
	for _, e := range entries {
		name := e.Name()
		stem, kind := configKind(name, t.in.Engine)
		if e.IsDir() || kind == "" || tofu[name] || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue
		}
		f := t.file(path.Join(dir, name))
		f.override = stem == "override" || strings.HasSuffix(stem, "_override")
		files = append(files, f)
	}
	t.dirs[dir] = files
	return files, nil
}

// configKind is what is left of a file's name without its ending, and the
// ending if Terraform reads such files.
func configKind(name, engine string) (stem, kind string) {
	kinds := []string{".tf", ".tf.json"}
	if engine == "tofu" {
		kinds = append(kinds, ".tofu", ".tofu.json")
	}
	for _, kind := range kinds {
		if stem, ok := strings.CutSuffix(name, kind); ok {
			return stem, kind
		}
	}
	return "", ""
}

func (t *tree) isLink(name string) bool {
	info, err := fs.Lstat(t.in.Files, name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// file reads and parses a file. What is wrong with it is kept, and told once it
// is to be edited.
func (t *tree) file(name string) *file {
	if f := t.files[name]; f != nil {
		return f
	}
	f := &file{name: name, body: &hclsyntax.Body{}}
	t.files[name] = f
	var err error
	if f.src, err = fs.ReadFile(t.in.Files, name); err != nil {
		f.problem = "it cannot be read"
		return f
	}
	if strings.HasSuffix(name, ".json") {
		f.problem = "it is written in JSON"
		return f
	}
	parsed, diags := hclsyntax.ParseConfig(f.src, name, hcl.InitialPos)
	switch {
	case diags.HasErrors():
		f.problem = "it has a syntax error"
	case strings.HasPrefix(string(f.src), "\ufeff"):
		f.problem = "it begins with a byte order mark"
	case t.isLink(name):
		f.problem = "it is a symbolic link"
	}
	if body, ok := parsed.Body.(*hclsyntax.Body); ok && !diags.HasErrors() {
		f.body = body
	}
	return f
}

// editable says why a file must not be changed.
func (t *tree) editable(f *file) error {
	if f.problem != "" {
		return fmt.Errorf("%s is not edited: %s", f.name, f.problem)
	}
	places := []string{f.name, path.Dir(f.name)}
	if slices.ContainsFunc(t.in.VarFiles, func(name string) bool { return path.Join(t.in.Dir, name) == f.name }) {
		places = places[:1] // it is read by those alone that name it
	}
	for _, place := range places {
		if others := t.in.Shared[place]; len(others) > 0 {
			return fmt.Errorf("%s is also read by %s", f.name, strings.Join(others, ", "))
		}
	}
	return nil
}

// module follows the calls of an address, such as module.a[0].module.b.
func (t *tree) module(address string) (*module, error) {
	files, err := t.dir(t.in.Dir)
	if err != nil {
		return nil, err
	}
	m := &module{dir: t.in.Dir, files: files}
	if address == "" {
		return m, nil
	}
	steps, ok := parsePath(address)
	if !ok {
		return nil, fmt.Errorf("the address %s cannot be read", address)
	}
	steps = slices.DeleteFunc(steps, func(s step) bool { return s.bracket })
	for i := 1; i < len(steps); i += 2 {
		if m, err = t.called(m, steps[i].name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (t *tree) called(m *module, name string) (*module, error) {
	block, f, err := m.find("module", name)
	if err != nil {
		return nil, fmt.Errorf("the call of the module %s: %w", name, err)
	}
	source, ok := "", false
	if attribute := block.Body.Attributes["source"]; attribute != nil {
		source, ok = text(attribute.Expr)
	}
	if !ok || !strings.HasPrefix(source, "./") && !strings.HasPrefix(source, "../") {
		return nil, fmt.Errorf("it is in the module %s, which does not come from this repository", name)
	}
	dir := path.Join(m.dir, source)
	if !fs.ValidPath(dir) {
		return nil, fmt.Errorf("it is in the module %s, which lies outside of the repository", name)
	}
	files, err := t.dir(dir)
	if err != nil {
		return nil, err
	}
	return &module{dir: dir, files: files, parent: m, call: block, from: f}, nil
}

// find finds the one block that declares something in a module.
func (m *module) find(labels ...string) (found *hclsyntax.Block, in *file, err error) {
	var json *file
	for _, f := range m.files {
		if f.problem != "" {
			json = f
		}
		for _, block := range f.body.Blocks {
			if block.Type != labels[0] || !slices.Equal(block.Labels, labels[1:]) {
				continue
			}
			if f.override || found != nil {
				return nil, nil, fmt.Errorf("%s overrides it", f.name)
			}
			found, in = block, f
		}
	}
	switch {
	case found != nil:
		return found, in, nil
	case json != nil:
		return nil, nil, fmt.Errorf("%w that can be edited: %s may have it, and %s", errNoBlock, json.name, json.problem)
	}
	return nil, nil, errNoBlock
}

// instance finds the block of a resource of the plan.
func (t *tree) instance(rc *tfjson.ResourceChange) (*instance, error) {
	m, err := t.module(rc.ModuleAddress)
	if err != nil {
		return nil, err
	}
	block, f, err := m.find("resource", rc.Type, rc.Name)
	if err != nil {
		return nil, err
	}
	return &instance{rc: rc, module: m, file: f, block: block}, nil
}

// spot is an expression and where it stands.
type spot struct {
	module *module // nil in a file of values
	file   *file
	expr   hclsyntax.Expression
}

func (s spot) at(expr hclsyntax.Expression) spot {
	s.expr = expr
	return s
}

// follow goes from a reference to what it stands for, where that is written
// down: a local value, a variable's default, an argument of the module's call,
// an entry of a file of values.
func (t *tree) follow(s spot) spot {
	for range 32 { // more steps than any configuration has; circles end here
		if p, ok := s.expr.(*hclsyntax.ParenthesesExpr); ok {
			s = s.at(p.Expression)
			continue
		}
		reference, ok := s.expr.(*hclsyntax.ScopeTraversalExpr)
		if !ok || s.module == nil || len(reference.Traversal) < 2 {
			return s
		}
		next, ok := t.referred(s.module, reference.Traversal)
		if !ok {
			return s
		}
		for _, hop := range reference.Traversal[2:] {
			next = t.follow(next)
			inside, ok := member(next.expr, hop)
			if !ok {
				return s
			}
			next = next.at(inside)
		}
		s = next
	}
	return s
}

func (t *tree) referred(m *module, to hcl.Traversal) (spot, bool) {
	name, ok := to[1].(hcl.TraverseAttr)
	if !ok {
		return spot{}, false
	}
	switch to.RootName() {
	case "local":
		for _, f := range m.files {
			for _, block := range f.body.Blocks {
				if attribute := block.Body.Attributes[name.Name]; block.Type == "locals" && attribute != nil {
					return spot{m, f, attribute.Expr}, !f.override
				}
			}
		}
	case "var":
		if m.parent != nil {
			if argument := m.call.Body.Attributes[name.Name]; argument != nil {
				return spot{m.parent, m.from, argument.Expr}, true
			}
		} else if s, found, ok := t.valueOf(name.Name); found {
			return s, ok
		}
		block, f, err := m.find("variable", name.Name)
		if err != nil || block.Body.Attributes["default"] == nil {
			return spot{}, false
		}
		return spot{m, f, block.Body.Attributes["default"].Expr}, true
	}
	return spot{}, false
}

// valueOf finds the file of values that has the last word on a variable of the
// root module.
func (t *tree) valueOf(variable string) (s spot, found, ok bool) {
	names := slices.Clone(t.in.VarFiles)
	slices.Reverse(names)
	var loaded []string
	if entries, err := fs.ReadDir(t.in.Files, t.in.Dir); err == nil {
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".auto.tfvars") || strings.HasSuffix(e.Name(), ".auto.tfvars.json") {
				loaded = append(loaded, e.Name())
			}
		}
	}
	slices.Reverse(loaded)
	names = append(append(names, loaded...), "terraform.tfvars.json", "terraform.tfvars")
	for _, name := range names {
		file := path.Join(t.in.Dir, name)
		if !fs.ValidPath(file) {
			return spot{}, true, false
		}
		if _, err := fs.Stat(t.in.Files, file); err != nil {
			continue
		}
		f := t.file(file)
		if f.problem != "" {
			return spot{}, true, false
		}
		if attribute := f.body.Attributes[variable]; attribute != nil {
			return spot{nil, f, attribute.Expr}, true, true
		}
	}
	return spot{}, false, false
}

// member goes into a written object or list.
func member(expr hclsyntax.Expression, hop hcl.Traverser) (hclsyntax.Expression, bool) {
	var key cty.Value
	switch hop := hop.(type) {
	case hcl.TraverseAttr:
		key = cty.StringVal(hop.Name)
	case hcl.TraverseIndex:
		key = hop.Key
	default:
		return nil, false
	}
	switch e := expr.(type) {
	case *hclsyntax.ObjectConsExpr:
		items, err := itemsOf(e)
		if err != nil || key.Type() != cty.String {
			return nil, false
		}
		for _, item := range items {
			if item.key == key.AsString() {
				return item.value, true
			}
		}
	case *hclsyntax.TupleConsExpr:
		if key.Type() != cty.Number {
			return nil, false
		}
		if i, _ := key.AsBigFloat().Int64(); i >= 0 && int(i) < len(e.Exprs) {
			return e.Exprs[i], true
		}
	}
	return nil, false
}
