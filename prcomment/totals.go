package prcomment

import (
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// totals counts what plans do, object by object. A replacement is one replacement, not a creation and a destruction.
type totals struct {
	create, update, replace, destroy int
	imported, moved, forgotten       int
	read, deferred, other, outputs   int
	drifted                          int
}

func totalsOf(plan *tfjson.Plan) totals {
	var t totals
	if plan == nil {
		return t
	}
	for _, rc := range plan.ResourceChanges {
		if rc == nil || rc.Change == nil {
			continue
		}
		c := newChange(rc)
		switch c.deed {
		case deedCreate:
			t.create++
		case deedUpdate:
			t.update++
		case deedReplace:
			t.replace++
		case deedDestroy:
			t.destroy++
		case deedForget:
			t.forgotten++
		case deedRead:
			t.read++
		case deedOther:
			t.other++
		}
		if c.imported {
			t.imported++
		}
		if c.moved {
			t.moved++
		}
		if c.forgotten {
			t.forgotten++
		}
	}
	t.deferred = len(plan.DeferredChanges)
	t.other += len(plan.ActionInvocations)
	for _, c := range plan.OutputChanges {
		if c != nil && deedOf(c.Actions) != deedNone {
			t.outputs++
		}
	}
	for _, rc := range plan.ResourceDrift {
		if rc != nil && rc.Change != nil && deedOf(rc.Change.Actions) != deedNone {
			t.drifted++
		}
	}
	return t
}

func (t totals) plus(o totals) totals {
	t.create += o.create
	t.update += o.update
	t.replace += o.replace
	t.destroy += o.destroy
	t.imported += o.imported
	t.moved += o.moved
	t.forgotten += o.forgotten
	t.read += o.read
	t.deferred += o.deferred
	t.other += o.other
	t.outputs += o.outputs
	t.drifted += o.drifted
	return t
}

// any says whether there is anything to show.
func (t totals) any() bool { return t != totals{} }

// changes says whether an apply would do anything: to read data sources, and to notice what others did, is not to change.
func (t totals) changes() bool {
	t.read, t.drifted = 0, 0
	return t.any()
}

// words says it in a row, the future or the past: "3 to add, 1 to destroy" or "3 added, 1 destroyed".
func (t totals) words(past bool) string {
	var parts []string
	add := func(n int, future, done string) {
		if n == 0 {
			return
		}
		if past {
			parts = append(parts, number(n)+" "+done)
		} else {
			parts = append(parts, number(n)+" to "+future)
		}
	}
	add(t.imported, "import", "imported")
	add(t.create, "add", "added")
	add(t.update, "change", "changed")
	add(t.replace, "replace", "replaced")
	add(t.destroy, "destroy", "destroyed")
	add(t.moved, "move", "moved")
	add(t.forgotten, "forget", "forgotten")
	add(t.deferred, "defer", "deferred")
	add(t.other, "run", "run")
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case t.outputs > 0 && past:
		return count(t.outputs, "output changed", "outputs changed")
	case t.outputs > 0:
		return "only " + count(t.outputs, "output changes", "outputs change")
	case t.read > 0:
		return count(t.read, "data source to read", "data sources to read")
	case t.drifted > 0:
		return "nothing to do, but " + count(t.drifted, "object changed", "objects changed") + " outside of Terraform"
	}
	return "no changes"
}
