package drift

import (
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// This file follows the references that a plan's configuration lists, from an attribute to the resources and data sources
// behind it, through variables, module calls and module outputs. The configuration in plan JSON does not say what is
// behind local values or in dynamic blocks; there the dependencies that the state records for the resource help out,
// because Terraform has followed those.

// module is one module of the configuration, without instance keys, and the call that makes it.
type module struct {
	path   string // "" or "module.a.module.b"
	config *tfjson.ConfigModule
	parent *module
	call   *tfjson.ModuleCall
}

// configuration is what a plan says of its modules and resources, by address without instance keys.
type configuration struct {
	modules   map[string]*module
	resources map[string]*tfjson.ConfigResource
	providers map[string]*tfjson.ProviderConfig
}

func newConfiguration(config *tfjson.Config) *configuration {
	c := &configuration{modules: map[string]*module{}, resources: map[string]*tfjson.ConfigResource{}}
	if config == nil {
		return c
	}
	c.providers = config.ProviderConfigs
	c.add(&module{config: config.RootModule})
	return c
}

func (c *configuration) add(m *module) {
	if m.config == nil {
		return
	}
	c.modules[m.path] = m
	for _, r := range m.config.Resources {
		if r != nil {
			c.resources[join(m.path, r.Address)] = r
		}
	}
	for name, call := range m.config.ModuleCalls {
		if call != nil {
			c.add(&module{path: join(m.path, "module."+name), config: call.Module, parent: m, call: call})
		}
	}
}

// sources is what a value is made from.
type sources struct {
	data    map[string]bool            // addresses of data sources
	managed map[string]map[string]bool // addresses of resources → the attributes that are used, "" for the whole
	opaque  bool                       // part of it is behind a local value, which plan JSON does not spell out
}

// tracer collects the sources of one value.
type tracer struct {
	configuration *configuration
	found         sources
	seen          map[string]bool
}

// scope is where an expression stands: its module, and what each.value and count.index mean there.
type scope struct {
	module         *module
	forEach, count *tfjson.Expression
}

// trace returns the sources of the expressions given.
func (c *configuration) trace(in scope, expressions ...*tfjson.Expression) sources {
	t := tracer{
		configuration: c, seen: map[string]bool{},
		found: sources{data: map[string]bool{}, managed: map[string]map[string]bool{}},
	}
	for _, e := range expressions {
		t.expression(in, e)
	}
	return t.found
}

func (t *tracer) expression(in scope, e *tfjson.Expression) {
	for _, reference := range references(e) {
		t.reference(in, reference)
	}
}

func (t *tracer) reference(in scope, reference string) {
	steps := split(reference)
	if in.module == nil || len(steps) == 0 {
		return
	}
	switch key := in.module.path + " " + reference; {
	case t.seen[key]:
		return
	default:
		t.seen[key] = true
	}
	switch steps[0] {
	case "each":
		t.expression(in, in.forEach)
	case "count":
		t.expression(in, in.count)
	case "local":
		t.found.opaque = true
	case "path", "terraform", "self", "ephemeral", "action":
		// Nothing that changes between an apply and a plan of the same files.
	case "var":
		if call := in.module.call; call != nil && len(steps) > 1 {
			outer := scope{module: in.module.parent, forEach: call.ForEachExpression, count: call.CountExpression}
			t.expression(outer, call.Expressions[steps[1]])
		}
	case "module":
		if len(steps) > 1 {
			t.output(in, steps)
		}
	case "data":
		if len(steps) > 2 {
			t.found.data[join(in.module.path, strings.Join(steps[:3], "."))] = true
		}
	default:
		if len(steps) < 2 {
			return
		}
		address := join(in.module.path, steps[0]+"."+steps[1])
		if t.found.managed[address] == nil {
			t.found.managed[address] = map[string]bool{}
		}
		attribute := ""
		if len(steps) > 2 {
			attribute = steps[2]
		}
		t.found.managed[address][attribute] = true
	}
}

// output goes into a called module: to one output, or to all of them if the reference is to the module as a whole.
func (t *tracer) output(in scope, steps []string) {
	called := t.configuration.modules[join(in.module.path, "module."+steps[1])]
	if called == nil {
		return
	}
	// How many instances there are, and which, is part of the value.
	t.expression(in, called.call.ForEachExpression)
	t.expression(in, called.call.CountExpression)
	for name, output := range called.config.Outputs {
		if output != nil && (len(steps) < 3 || steps[2] == name) {
			t.expression(scope{module: called}, output.Expression)
		}
	}
}

// scopeOf is the scope in which the expressions of a resource stand.
func (c *configuration) scopeOf(address string) scope {
	s := scope{module: c.modules[moduleOf(address)]}
	if r := c.resources[address]; r != nil {
		s.forEach, s.count = r.ForEachExpression, r.CountExpression
	}
	return s
}

// upstream returns the addresses of all resources, managed ones and data sources, on which the one at the address given
// depends in any way: those that Terraform takes along when it is asked to target that one. The recorded ones are what
// the state says, by the same kind of address.
func (c *configuration) upstream(address string, recorded map[string][]string) map[string]bool {
	reached := map[string]bool{}
	c.climb(address, recorded, reached)
	delete(reached, address)
	return reached
}

func (c *configuration) climb(address string, recorded map[string][]string, reached map[string]bool) {
	if reached[address] {
		return
	}
	reached[address] = true
	for _, dependency := range recorded[address] {
		reached[dependency] = true // Terraform records these with everything behind them
	}
	r := c.resources[address]
	if r == nil {
		return
	}
	in := c.scopeOf(address)
	expressions := []*tfjson.Expression{r.ForEachExpression, r.CountExpression}
	expressions = slices.AppendSeq(expressions, maps.Values(r.Expressions))
	// A resource depends on how often each module around it is called, and with it on what that is made from.
	for m := in.module; m != nil && m.call != nil; m = m.parent {
		outer := c.trace(scope{module: m.parent}, m.call.ForEachExpression, m.call.CountExpression)
		c.climbAll(outer, recorded, reached)
		c.climbAll(c.named(m.parent, m.call.DependsOn), recorded, reached)
	}
	if provider := c.providers[r.ProviderConfigKey]; provider != nil {
		at := scope{module: c.modules[provider.ModuleAddress]}
		c.climbAll(c.trace(at, slices.Collect(maps.Values(provider.Expressions))...), recorded, reached)
	}
	c.climbAll(c.trace(in, expressions...), recorded, reached)
	c.climbAll(c.named(in.module, r.DependsOn), recorded, reached)
}

func (c *configuration) climbAll(from sources, recorded map[string][]string, reached map[string]bool) {
	for address := range from.data {
		c.climb(address, recorded, reached)
	}
	for address := range from.managed {
		c.climb(address, recorded, reached)
	}
}

// named resolves the addresses that a depends_on lists.
func (c *configuration) named(in *module, dependsOn []string) sources {
	if len(dependsOn) == 0 {
		return sources{}
	}
	return c.trace(scope{module: in}, &tfjson.Expression{ExpressionData: &tfjson.ExpressionData{References: dependsOn}})
}

// references lists what an expression refers to, in nested blocks too, without the shorter forms that Terraform lists
// behind each reference ("a.b.c", "a.b").
func references(e *tfjson.Expression) []string {
	if e == nil || e.ExpressionData == nil {
		return nil
	}
	var found []string
	for i, reference := range e.References {
		if i > 0 {
			rest, shorter := strings.CutPrefix(e.References[i-1], reference)
			if shorter && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "[")) {
				// The whole is dropped here only because the part just before it is kept; a chain drops one by one.
				continue
			}
		}
		found = append(found, reference)
	}
	for _, block := range e.NestedBlocks {
		for _, key := range slices.Sorted(maps.Keys(block)) {
			found = append(found, references(block[key])...)
		}
	}
	return found
}

// constant reports whether an expression refers to nothing at all. With a value of its own it is a literal; without one
// it calls functions on literals.
func constant(e *tfjson.Expression) bool {
	return e != nil && e.ExpressionData != nil && len(references(e)) == 0
}

// split cuts an address or a reference into its names, leaving out what is in brackets.
func split(address string) []string {
	return strings.FieldsFunc(withoutKeys(address), func(r rune) bool { return r == '.' })
}

// withoutKeys removes instance keys and other indexes from an address: module.a["x.y"].toy_node.n[0] becomes
// module.a.toy_node.n.
func withoutKeys(address string) string {
	if !strings.Contains(address, "[") {
		return address
	}
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(address); i++ {
		switch c := address[i]; {
		case quoted && c == '\\':
			i++
		case depth > 0 && c == '"':
			quoted = !quoted
		case quoted:
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// moduleOf is the module part of an address without instance keys.
func moduleOf(address string) string {
	steps, n := strings.Split(address, "."), 0
	for n+1 < len(steps) && steps[n] == "module" {
		n += 2
	}
	return strings.Join(steps[:n], ".")
}

func join(module, name string) string {
	if module == "" {
		return name
	}
	return module + "." + name
}
