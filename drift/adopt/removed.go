package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	tfjson "github.com/hashicorp/terraform-json"
)

// deleted makes a wish of a resource that was deleted outside: its block is
// replaced by one that says so.
func (e *editor) deleted(p Place, rc *tfjson.ResourceChange) {
	w := wish{Place: p}
	err := e.refused(p)
	if err == nil {
		w.instance, w.edits, err = e.remove(rc)
	}
	if err != nil {
		e.leave(p, err)
		return
	}
	e.wishes = append(e.wishes, w)
}

func (e *editor) remove(rc *tfjson.ResourceChange) (*instance, []edit, error) {
	if e.olderThan(1, 7) {
		return nil, nil, errors.New("it was deleted, and removed blocks need version 1.7 or newer")
	}
	in, err := e.instance(rc)
	if errors.Is(err, errNoBlock) && e.hasRemoved(rc) {
		return nil, nil, nil // it says so already
	}
	if err != nil {
		return nil, nil, err
	}
	if err := e.editable(in.file); err != nil {
		return nil, nil, err
	}
	for _, address := range e.order {
		other := e.changes[address]
		if other.Type != rc.Type || other.Name != rc.Name {
			continue
		}
		same, err := e.instance(other)
		if err != nil || same.block != in.block {
			continue
		}
		if !e.isGone(other) {
			return nil, nil, fmt.Errorf("it was deleted, and its block also declares %s, which was not", other.Address)
		}
	}
	if where := in.module.references(in.block, rc.Type, rc.Name); where != "" {
		return nil, nil, fmt.Errorf("it was deleted, and %s refers to it", where)
	}
	start := in.block.Range().Start.Byte
	indent, nl := in.file.indent(start), in.file.newline()
	var b strings.Builder
	b.WriteString("removed {" + nl + indent + "  from = " + rc.Type + "." + rc.Name + nl)
	if e.in.Engine != "tofu" {
		b.WriteString(nl + indent + "  lifecycle {" + nl + indent + "    destroy = false" + nl + indent + "  }" + nl)
	}
	b.WriteString(indent + "}")
	return in, []edit{in.file.replace(in.block.Range(), b.String())}, nil
}

// isGone reports whether Terraform found that a real object was deleted.
func (e *editor) isGone(rc *tfjson.ResourceChange) bool {
	if !rc.Change.Actions.Create() {
		return false
	}
	for _, found := range e.in.Plan.ResourceDrift {
		if found != nil && found.Change != nil && found.Address == rc.Address && found.Change.Actions.Delete() {
			return true
		}
	}
	return false
}

// olderThan compares the version that made the plan.
func (e *editor) olderThan(major, minor int) bool {
	v, err := version.NewVersion(e.in.Plan.TerraformVersion)
	if err != nil {
		return false // the plan that proves the edit will say so
	}
	segments := v.Segments()
	return segments[0] < major || segments[0] == major && segments[1] < minor
}

// hasRemoved reports whether a removed block names a resource.
func (e *editor) hasRemoved(rc *tfjson.ResourceChange) bool {
	m, err := e.module(rc.ModuleAddress)
	if err != nil {
		return false
	}
	for _, f := range m.files {
		for _, block := range f.body.Blocks {
			from := block.Body.Attributes["from"]
			if block.Type != "removed" || from == nil {
				continue
			}
			if t, ok := from.Expr.(*hclsyntax.ScopeTraversalExpr); ok && traversalText(t.Traversal) == rc.Type+"."+rc.Name {
				return true
			}
		}
	}
	return false
}

// references says where a module names a resource outside of its own block.
func (m *module) references(own *hclsyntax.Block, kind, name string) string {
	for _, f := range m.files {
		if f.problem != "" && bytes.Contains(f.src, []byte(kind+"."+name)) {
			return f.name
		}
		where := ""
		_ = hclsyntax.VisitAll(f.body, func(n hclsyntax.Node) hcl.Diagnostics {
			expr, ok := n.(*hclsyntax.ScopeTraversalExpr)
			if !ok || where != "" || len(expr.Traversal) < 2 || expr.Traversal.RootName() != kind {
				return nil
			}
			hop, ok := expr.Traversal[1].(hcl.TraverseAttr)
			at := expr.Range()
			inside := own.Range().ContainsPos(at.Start) && own.Range().Filename == at.Filename
			if ok && hop.Name == name && !inside {
				where = fmt.Sprintf("%s:%d", f.name, at.Start.Line)
			}
			return nil
		})
		if where != "" {
			return where
		}
	}
	return ""
}
