package runner

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// compare says, a line for each resource and output, what the new plan would
// do otherwise than the old one. It names attributes, never values: a value
// may be secret.
func compare(old, now *tfjson.Plan) []string {
	before, after := planned(old), planned(now)
	var lines []string
	for _, key := range sortedKeys(before, after) {
		o, inOld := before[key]
		n, inNew := after[key]
		switch {
		case !inOld:
			lines = append(lines, fmt.Sprintf("%s: %s, which was not in the reviewed plan", key, verb(n.Actions)))
		case !inNew:
			lines = append(lines, fmt.Sprintf("%s: %s was reviewed, but is no longer planned", key, verb(o.Actions)))
		case !slices.Equal(o.Actions, n.Actions):
			lines = append(lines, fmt.Sprintf("%s: %s instead of %s", key, verb(n.Actions), verb(o.Actions)))
		default:
			if attrs := differing(o, n); len(attrs) > 0 {
				lines = append(lines, fmt.Sprintf("%s: %s as reviewed, but with another %s", key, verb(n.Actions), list(attrs)))
			}
		}
	}
	return lines
}

// planned maps each thing that a plan changes to its change.
func planned(p *tfjson.Plan) map[string]*tfjson.Change {
	m := map[string]*tfjson.Change{}
	if p == nil {
		return m
	}
	for _, rc := range p.ResourceChanges {
		if rc == nil || rc.Change == nil || rc.Mode == tfjson.DataResourceMode {
			continue
		}
		if rc.Change.Actions.NoOp() && rc.Change.Importing == nil && rc.PreviousAddress == "" {
			continue
		}
		key := rc.Address
		if rc.DeposedKey != "" {
			key += " (deposed " + rc.DeposedKey + ")"
		}
		m[key] = rc.Change
	}
	for name, c := range p.OutputChanges {
		if c != nil && !c.Actions.NoOp() {
			m["output "+name] = c
		}
	}
	return m
}

// differing names the top-level attributes in which two changes with the same
// actions differ, on either side of the arrow.
func differing(o, n *tfjson.Change) []string {
	names := map[string]bool{}
	for _, side := range [][2]any{{o.Before, n.Before}, {o.After, n.After}, {o.AfterUnknown, n.AfterUnknown}} {
		a, aok := side[0].(map[string]any)
		b, bok := side[1].(map[string]any)
		if !aok || !bok {
			if !reflect.DeepEqual(side[0], side[1]) {
				names["value"] = true
			}
			continue
		}
		for _, k := range sortedKeys(a, b) {
			if !reflect.DeepEqual(a[k], b[k]) {
				names[k] = true
			}
		}
	}
	return sortedKeys(names)
}

func verb(actions tfjson.Actions) string {
	switch {
	case actions.Replace():
		return "replace"
	case actions.NoOp():
		return "no change"
	case len(actions) == 1:
		return string(actions[0])
	}
	words := make([]string, len(actions))
	for i, a := range actions {
		words[i] = string(a)
	}
	return strings.Join(words, " and ")
}

func sortedKeys[V any](maps ...map[string]V) []string {
	seen := map[string]bool{}
	var keys []string
	for _, m := range maps {
		for k := range m {
			if !seen[k] {
				seen[k] = true
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// list joins names as a sentence does.
func list(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
