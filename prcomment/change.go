package prcomment

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// A deed is what a plan does to one object, most dangerous first.
type deed int

const (
	deedDestroy deed = iota
	deedReplace
	deedUpdate
	deedCreate
	deedForget
	deedImport
	deedMove
	deedRead
	deedOther
	deedNone
)

// A change is one object of a plan, with what is done to it.
type change struct {
	*tfjson.ResourceChange
	deed      deed
	moved     bool
	imported  bool
	forgotten bool // the old object is left alone while a new one is created
}

func newChange(rc *tfjson.ResourceChange) change {
	c := change{ResourceChange: rc, deed: deedOf(rc.Change.Actions)}
	c.moved = rc.PreviousAddress != "" && rc.PreviousAddress != rc.Address
	c.imported = rc.Change.Importing != nil
	c.forgotten = c.deed == deedCreate && slices.Contains(rc.Change.Actions, tfjson.ActionForget)
	if c.deed == deedNone {
		switch {
		case c.imported:
			c.deed = deedImport
		case c.moved:
			c.deed = deedMove
		}
	}
	return c
}

// deedOf reads actions by what they contain, not by their order or number, so that a combination that is new to us is
// never taken for something harmless.
func deedOf(actions tfjson.Actions) deed {
	has := func(a tfjson.Action) bool { return slices.Contains(actions, a) }
	switch {
	case has(tfjson.ActionDelete) && has(tfjson.ActionCreate):
		return deedReplace
	case has(tfjson.ActionDelete):
		return deedDestroy
	case has(tfjson.ActionCreate):
		return deedCreate
	case has(tfjson.ActionUpdate):
		return deedUpdate
	case has(tfjson.ActionForget):
		return deedForget
	case has(tfjson.ActionRead):
		return deedRead
	case len(actions) == 0 || actions.NoOp():
		return deedNone
	}
	return deedOther
}

// changesOf lists what a plan does, most dangerous first, otherwise in the plan's order.
func changesOf(plan *tfjson.Plan) []change {
	var changes []change
	for _, rc := range plan.ResourceChanges {
		if rc == nil || rc.Change == nil {
			continue
		}
		if c := newChange(rc); c.deed != deedNone {
			changes = append(changes, c)
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return int(a.deed) - int(b.deed) })
	return changes
}

// name is the address as it is written in a fence, with the deposed key if there is one.
func (c change) name(r *redactor) string {
	address := fenced(r, c.Address)
	if c.DeposedKey != "" {
		address += " (deposed object " + fenced(r, c.DeposedKey) + ")"
	}
	return address
}

// header is the line above a change's attributes.
func (c change) header(r *redactor) string {
	line := map[deed]string{
		deedDestroy: "- destroy ", deedReplace: "-/+ replace ", deedUpdate: "! update ", deedCreate: "+ create ",
		deedForget: "# forget ", deedImport: "# import ", deedMove: "# move ", deedRead: "# read ", deedOther: "! ",
	}[c.deed] + c.name(r)
	if c.deed == deedOther {
		words := make([]string, len(c.Change.Actions))
		for i, a := range c.Change.Actions {
			words[i] = fenced(r, string(a))
		}
		line += " (" + strings.Join(words, ", ") + ")"
	}
	if why := c.why(r, fenced); why != "" {
		line += "  # " + why
	}
	return line
}

// why says why Terraform does this, and what else happens on the way. The names in it are written by write.
func (c change) why(r *redactor, write func(*redactor, string) string) string {
	var parts []string
	add := func(s string) { parts = append(parts, s) }
	if c.moved {
		add("moved from " + write(r, c.PreviousAddress))
	}
	if c.imported {
		switch id := c.Change.Importing.ID; {
		case id != "":
			add("imported from id " + write(r, id))
		default:
			add("imported")
		}
	}
	reason := c.ActionReason
	if c.deed == deedForget {
		reason = tfjson.ActionReasonNone // it is always that the configuration says so
	}
	switch reason {
	case tfjson.ActionReasonNone, tfjson.ActionReasonReplaceBecauseCannotUpdate:
	case tfjson.ActionReasonReplaceBecauseTainted:
		add("it is tainted")
	case tfjson.ActionReasonReplaceByRequest:
		add("asked for with -replace")
	case tfjson.ActionReasonReplaceByTriggers:
		add("something in replace_triggered_by changes")
	case tfjson.ActionReasonDeleteBecauseNoResourceConfig:
		add("not in the configuration any more")
	case tfjson.ActionReasonDeleteBecauseWrongRepetition:
		add("the resource changed between count, for_each and neither")
	case tfjson.ActionReasonDeleteBecauseCountIndex:
		add("index " + write(r, indexText(c.Index)) + " is beyond count")
	case tfjson.ActionReasonDeleteBecauseEachKey:
		add("key " + write(r, indexText(c.Index)) + " is not in for_each any more")
	case tfjson.ActionReasonDeleteBecauseNoModule:
		if c.ModuleAddress != "" {
			add("module " + write(r, c.ModuleAddress) + " is not in the configuration any more")
		} else {
			add("its module is not in the configuration any more")
		}
	case tfjson.ActionReasonDeleteBecauseNoMoveTarget:
		add("it was moved to an address that is not in the configuration")
	case tfjson.ActionReasonReadBecauseConfigUnknown:
		add("its configuration is known after apply only")
	case tfjson.ActionReasonReadBecauseDependencyPending:
		add("it depends on something that changes")
	case tfjson.ActionReasonReadBecauseCheckNested:
		add("for a check")
	default:
		add(write(r, strings.ReplaceAll(string(c.ActionReason), "_", " ")))
	}
	if c.deed == deedReplace {
		paths := forcingPaths(c.Change)
		const most = 6
		var names []string
		for _, p := range paths[:min(len(paths), most)] {
			names = append(names, write(r, p))
		}
		if len(paths) > most {
			names = append(names, number(len(paths)-most)+" more")
		}
		switch len(names) {
		case 0:
			if c.ActionReason == tfjson.ActionReasonNone || c.ActionReason == tfjson.ActionReasonReplaceBecauseCannotUpdate {
				add("it cannot be updated in place")
			}
		case 1:
			add(names[0] + " forces it")
		default:
			add(strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " force it")
		}
		if len(c.Change.Actions) > 0 && c.Change.Actions[0] == tfjson.ActionCreate {
			add("the new one is created first")
		}
	}
	switch {
	case c.deed == deedForget:
		add("Terraform stops managing it; the object itself stays")
	case c.forgotten:
		add("the old object stays, unmanaged")
	}
	return strings.Join(parts, "; ")
}

// fenced writes a name inside a fence, on one line.
func fenced(r *redactor, s string) string {
	return unticked(visible(shorten(r.redact(s), maxName), false))
}

// spanned writes a name as code in a sentence.
func spanned(r *redactor, s string) string { return code(r.redact(s)) }

func indexText(index any) string {
	if s, ok := index.(string); ok {
		return strconv.Quote(s)
	}
	return "[" + plain(index) + "]"
}

// forcingPaths are the attributes that force a replacement, as Terraform writes paths.
func forcingPaths(c *tfjson.Change) []string {
	var paths []string
	for _, p := range c.ReplacePaths {
		var b strings.Builder
		for _, step := range asList(p) {
			switch step := step.(type) {
			case string:
				if b.Len() == 0 || isIdentifier(step) {
					if b.Len() > 0 {
						b.WriteByte('.')
					}
					b.WriteString(step)
				} else {
					fmt.Fprintf(&b, "[%q]", step)
				}
			default:
				b.WriteString("[" + plain(step) + "]")
			}
		}
		if s := b.String(); s != "" && !slices.Contains(paths, s) {
			paths = append(paths, s)
		}
		if len(paths) > 200 {
			break
		}
	}
	return paths
}

// forces is the set of the same paths as differ looks them up.
func forces(c *tfjson.Change) map[string]bool {
	if len(c.ReplacePaths) == 0 {
		return nil
	}
	set := make(map[string]bool, len(c.ReplacePaths))
	for _, p := range c.ReplacePaths {
		path := ""
		for _, step := range asList(p) {
			switch step := step.(type) {
			case string:
				path = joinPath(path, step)
			case float64:
				path = joinIndex(path, int(step))
			case int:
				path = joinIndex(path, step)
			case json.Number:
				if n, err := step.Int64(); err == nil {
					path = joinIndex(path, int(n))
				}
			}
		}
		if path != "" {
			set[path] = true
		}
	}
	return set
}

func isIdentifier(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && c != '_' && c != '-' && !(i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// nodes compares the attributes of a change. It makes at most room nodes; cut says that these were not enough.
func (c change) nodes(r *redactor, room int) (root *node, cut bool) {
	d := newDiffer(r, room)
	d.forces = forces(c.Change)
	before := value{v: c.Change.Before, has: c.Change.Before != nil, sensitive: c.Change.BeforeSensitive}
	after := value{v: c.Change.After, has: c.Change.After != nil, sensitive: c.Change.AfterSensitive}
	if c.forgotten {
		before = value{} // it is left behind, nothing of it changes
	}
	root = d.compare("", "", before, after, c.Change.AfterUnknown, 0)
	return root, d.full()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
