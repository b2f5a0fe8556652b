package drift

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"
)

// Check compares a plan that targets [Verdict.Targets] with the verdict. It returns nil if the plan would do nothing
// beyond what is allowed: only to allowed resources, by no worse action, to no attribute and to no value other than were
// found, with no output changing that does not follow from them, and with nothing put off, moved, imported, forgotten or
// invoked besides. Otherwise the error names each thing beyond, one a line, and nothing of the plan may be applied.
//
// A plan that does less is fine: what was found may be gone by now. Values are compared for findings as [Find] returned
// them; a verdict that was stored and read back compares actions and paths only.
func (v Verdict) Check(plan *tfjson.Plan) error {
	if plan == nil {
		return errors.New("there is no plan to check")
	}
	allowed := map[string]Judged{}
	outputs := map[string]bool{}
	for _, j := range v.Findings {
		if j.Allowed && slices.Contains(v.Targets, j.Address) {
			allowed[j.Address] = j
			for _, name := range j.Outputs {
				outputs[name] = true
			}
		}
	}
	var beyond []error
	report := func(format string, args ...any) { beyond = append(beyond, fmt.Errorf(format, args...)) }
	for _, rc := range plan.ResourceChanges {
		if rc == nil || rc.Change == nil {
			report("the plan holds an entry that says nothing")
			continue
		}
		done := actions(rc)
		if rc.Mode == tfjson.DataResourceMode && (rc.Change.Actions.Read() || rc.Change.Actions.NoOp()) || slices.Equal(done, []string{"no-op"}) {
			continue
		}
		j, ok := allowed[rc.Address]
		switch {
		case !ok:
			report("%s: the plan would %s it, which the verdict does not allow%s", rc.Address, verb(done), v.heldBecause(rc.Address))
		case rc.DeposedKey != "":
			report("%s: the plan would %s an old object of it (%s), which the verdict does not allow", rc.Address, verb(done), rc.DeposedKey)
		case len(done) > 1:
			report("%s: the plan would %s it; a correction does neither move nor import", rc.Address, verb(done))
		case done[0] != j.Action() && (j.Action() != "replace" || done[0] != "update"):
			report("%s: the plan would %s it, but the verdict allows to %s it", rc.Address, done[0], j.Action())
		default:
			beyond = append(beyond, j.exceeds(rc)...)
		}
	}
	for _, d := range plan.DeferredChanges {
		if d != nil && d.ResourceChange != nil {
			report("%s: Terraform has put off planning it (%s)", d.ResourceChange.Address, d.Reason)
		}
	}
	for _, a := range plan.ActionInvocations {
		if a != nil {
			report("%s: the plan would invoke this action, which the verdict does not allow", a.Address)
		}
	}
	for name, change := range plan.OutputChanges {
		if change != nil && len(change.Actions) > 0 && !change.Actions.NoOp() && !outputs[name] {
			report("output.%s: it would change, and not because of what may be corrected", name)
		}
	}
	slices.SortStableFunc(beyond, func(a, b error) int { return compareText(a.Error(), b.Error()) })
	return errors.Join(beyond...)
}

// exceeds lists the attributes that a plan would set beyond those of the finding, or to other values.
func (j Judged) exceeds(rc *tfjson.ResourceChange) []error {
	var beyond []error
	if rc.Change.Actions.Create() {
		if j.wanted != nil && j.wanted[""] != digest(rc.Change.After, rc.Change.AfterUnknown) {
			beyond = append(beyond, fmt.Errorf("%s: it would be created otherwise than was found", rc.Address))
		}
		return beyond
	}
	for _, d := range changeSides(rc.Change).diff() {
		path := d.steps.String()
		switch {
		case !slices.ContainsFunc(j.Attributes, func(a Attribute) bool { return a.Path == path }):
			beyond = append(beyond, fmt.Errorf("%s: %s would change too, which it did not when drift was found", rc.Address, path))
		case j.wanted != nil && j.wanted[path] != digest(d.after, d.unknown):
			beyond = append(beyond, fmt.Errorf("%s: %s would be set to another value than was found", rc.Address, path))
		}
	}
	return beyond
}

// heldBecause gives the reason why a finding is held, as the end of a sentence.
func (v Verdict) heldBecause(address string) string {
	for _, j := range v.Findings {
		if j.Address == address && !j.Allowed {
			return ": " + j.Reason
		}
	}
	return ""
}

// wanted digests what a plan would set. The digests stay in memory.
func wanted(i *item) map[string]string {
	digests := map[string]string{}
	if i.change != nil && i.change.Change.Actions.Create() {
		digests[""] = digest(i.change.Change.After, i.change.Change.AfterUnknown)
	}
	for _, d := range i.deltas {
		digests[d.steps.String()] = digest(d.after, d.unknown)
	}
	return digests
}

// digest is the same for values of the same JSON.
func digest(values ...any) string {
	encoded, err := json.Marshal(values)
	if err != nil {
		return "" // no decoded JSON comes here
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// verb joins the words of an action for a sentence.
func verb(words []string) string {
	if len(words) == 2 {
		return words[0] + " and " + words[1]
	}
	return words[0]
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
