package adopt_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/plumbline-dev/plumbline/drift/adopt"
)

// Around the resource stands what must not change by a byte. It is not
// formatted, so nothing else is.
const (
	above = "# above\nvariable   \"above\" { }  // with ${odd} spaces\n\n"
	below = "\n\nresource \"toy_node\"   \"below\" {\n      a=\"1\"   # one\n  rule  { n = 1 }\n}\n# the end"
)

// dice makes configurations and changes.
type dice struct{ *rand.Rand }

func (d dice) one(list ...string) string { return list[d.IntN(len(list))] }

func (d dice) text() string {
	return d.one("", "a", "b", "c", "d", "${x}", "%{ if y }", `"quoted"`, "a\nb", "ü€", `back\slash`, "$${", "# no comment", "//", "tab\t", "]", "}", ",")
}

func (d dice) scalar() any {
	switch d.IntN(5) {
	case 0:
		return d.IntN(2) == 0
	case 1:
		return json.Number(d.one("0", "-1", "3", "2.5", "12345678901234567890", "1000000"))
	}
	return d.text()
}

func (d dice) list(of func() any) any {
	list := []any{}
	for range d.IntN(5) {
		list = append(list, of())
	}
	return list
}

func (d dice) object(of func() any) any {
	object := map[string]any{}
	for range d.IntN(4) {
		object[d.one("env", "team", "app.io/x", "a b", "for", "null", "x-y")] = of()
	}
	return object
}

// resource is one value for each shape of attribute; every attribute is either
// there or null.
func (d dice) resource() map[string]any {
	// What is missing and what is empty are the same to package drift, so
	// nothing inside of an attribute is empty.
	text := func() any { return cmp.Or(d.text(), "e") }
	block := func() any {
		return map[string]any{"port": json.Number(fmt.Sprint(d.IntN(4))), "note": d.one("a", "b", "c"), "id": nil}
	}
	r := map[string]any{"rule": d.list(block)}
	for name, of := range map[string]func() any{
		"one": d.scalar, "two": text, "names": func() any { return d.list(text) },
		"tags": func() any { return d.object(text) }, "any": func() any { return d.object(func() any { return append(d.list(text).([]any), "e") }) },
	} {
		if r[name] = nil; d.IntN(5) > 0 {
			r[name] = of()
		}
	}
	return r
}

// write renders a value with a layout by chance.
func (d dice) write(v any, indent string) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		quoted, _ := json.Marshal(v)
		return strings.NewReplacer("${", "$${", "%{", "%%{", `\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(quoted))
	case []any:
		return d.elements(len(v), "[", "]", indent, ",", func(i int) string { return d.write(v[i], indent+"  ") })
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		d.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		return d.elements(len(keys), "{", "}", indent, d.one("", ","), func(i int) string {
			key := keys[i]
			if key != "env" && key != "team" && key != "x-y" || d.IntN(3) == 0 {
				key = d.write(key, "")
			}
			return key + d.one(" = ", "=", "   = ") + d.write(v[keys[i]], indent+"  ")
		})
	}
	return fmt.Sprint(v)
}

func (d dice) elements(n int, open, end, indent, comma string, text func(int) string) string {
	var b strings.Builder
	b.WriteString(open)
	lines := d.IntN(2) == 0
	for i := range n {
		switch {
		case lines:
			if d.IntN(4) == 0 {
				b.WriteString("\n" + indent + "  # before")
			}
			b.WriteString("\n" + indent + "  " + text(i))
			if i+1 < n || d.IntN(2) == 0 {
				b.WriteString(comma)
			}
			b.WriteString(d.one("", "", " # after"))
		case i > 0:
			b.WriteString("," + d.one(" ", "  ", "") + text(i))
		default:
			b.WriteString(d.one("", " ") + text(i))
		}
	}
	if lines {
		b.WriteString("\n" + indent)
	}
	return b.String() + end
}

func (d dice) config(r map[string]any) string {
	var b strings.Builder
	b.WriteString("resource \"toy_node\" \"x\" {\n")
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if name != "rule" && (r[name] != nil || d.IntN(3) == 0) {
			b.WriteString("  " + name + d.one(" = ", "=") + d.write(r[name], "  ") + d.one("\n", " # said\n", "\n\n"))
		}
	}
	for _, rule := range r["rule"].([]any) {
		b.WriteString(d.one("", "\n", "  # a rule\n") + "  rule {\n")
		for _, name := range []string{"port", "note"} {
			b.WriteString("    " + name + " = " + d.write(rule.(map[string]any)[name], "    ") + d.one("\n", " # here\n"))
		}
		b.WriteString("  }\n")
	}
	return b.String() + "}"
}

// said reads back what a resource of a file says.
func said(t testing.TB, src []byte, name string) map[string]any {
	t.Helper()
	file, diags := hclsyntax.ParseConfig(src, "main.tf", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, src)
	}
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		if block.Type == "resource" && block.Labels[1] == name {
			return bodySaid(t, block.Body)
		}
	}
	t.Fatalf("no resource %s:\n%s", name, src)
	return nil
}

func bodySaid(t testing.TB, b *hclsyntax.Body) map[string]any {
	t.Helper()
	r := map[string]any{}
	rules := []any{}
	for name, attribute := range b.Attributes {
		v, diags := attribute.Expr.Value(nil)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if v.IsNull() {
			continue
		}
		text, err := ctyjson.Marshal(v, v.Type())
		if v.Type() == cty.Number {
			text = []byte(v.AsBigFloat().Text('f', -1))
		}
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
		r[name] = value
	}
	for _, block := range b.Blocks {
		rules = append(rules, bodySaid(t, block.Body))
	}
	if len(rules) > 0 {
		r["rule"] = rules
	}
	return r
}

// canonical leaves out what is null or no block at all.
func canonical(v any) string {
	object := maps.Clone(v.(map[string]any))
	for key, value := range object {
		list, isList := value.([]any)
		if value == nil || key == "rule" && len(list) == 0 {
			delete(object, key)
		} else if key == "rule" && isList {
			list = slices.Clone(list)
			for i := range list {
				list[i] = json.RawMessage(canonical(list[i]))
			}
			object[key] = list
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// property holds that the configuration says what is real after one edit, that
// nothing around it moved, that no comment of what stays is lost, and that a
// second edit has nothing to do.
func property(t testing.TB, seed uint64) {
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	was := d.resource()
	real := d.resource()
	if d.IntN(2) == 0 { // a small change
		real = maps.Clone(was)
		name := d.one("one", "two", "names", "tags", "any", "rule")
		real[name] = d.resource()[name]
	}
	for name, value := range real {
		// What is not set and reads as empty is no drift.
		if empty := fmt.Sprint(value); was[name] == nil && slices.Contains([]string{"", "0", "false", "[]", "map[]"}, empty) {
			real[name] = nil
		}
		if hollow := fmt.Sprint(was[name]); value == nil && name != "rule" && slices.Contains([]string{"", "[]", "map[]"}, hollow) {
			real[name] = was[name]
		}
	}
	src := above + d.config(was) + below
	if got := said(t, []byte(src), "x"); canonical(got) != canonical(was) {
		t.Fatalf("seed %d: the test writes %s for %s\n%s", seed, canonical(got), canonical(was), src)
	}
	plan := planOf(t, []moved{{Address: "toy_node.x", Was: was, Real: real}})
	in := adopt.Input{Files: fstest.MapFS{"main.tf": {Data: []byte(src), Mode: 0o644}}, Dir: ".", Plan: plan, Findings: findingsOf(plan)}
	edits := adopt.Edit(in)
	result := src
	if data, ok := edits.Files["main.tf"]; ok {
		result = string(data)
	}
	if !strings.HasPrefix(result, above) || !strings.HasSuffix(result, below) {
		t.Fatalf("seed %d: what stands around it has changed:\n%s\nwas:\n%s", seed, result, src)
	}
	want := maps.Clone(real)
	for _, l := range edits.Left {
		top := strings.FieldsFunc(l.Attribute, func(c rune) bool { return c == '.' || c == '[' })[0]
		switch {
		case strings.Contains(l.Why, "nothing but a comment"), strings.Contains(l.Why, "laid out"), strings.Contains(l.Why, "cannot be told"):
			delete(want, top)
		default:
			t.Fatalf("seed %d: %s is left: %s\n%s", seed, l.Attribute, l.Why, src)
		}
	}
	got := said(t, []byte(result), "x")
	for key := range got {
		if _, ok := want[key]; !ok {
			delete(got, key)
		}
	}
	if canonical(got) != canonical(want) {
		t.Fatalf("seed %d: it says\n%s\nand real is\n%s\nfrom\n%s\nto\n%s", seed, canonical(got), canonical(want), src, result)
	}
	in.Files = fstest.MapFS{"main.tf": {Data: []byte(result), Mode: 0o644}}
	if again := adopt.Edit(in); len(again.Files) > 0 {
		t.Fatalf("seed %d: a second time changes\n%s\nto\n%s", seed, result, again.Files["main.tf"])
	}
}

// TestAdoptedIsReal plays many configurations and changes.
func TestAdoptedIsReal(t *testing.T) {
	t.Parallel()
	for seed := range uint64(800) {
		property(t, seed)
	}
}

// FuzzEdit looks for seeds that TestAdoptedIsReal does not reach.
func FuzzEdit(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { property(t, seed) })
}
