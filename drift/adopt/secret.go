package adopt

import (
	"slices"

	tfjson "github.com/hashicorp/terraform-json"
)

// secret reports whether the real value of a place holds anything that is
// marked as sensitive, by the plan or by the state. A list of blocks may have
// attributes that would be sensitive and are not set: that alone is no secret.
func (e *editor) secret(rc *tfjson.ResourceChange, steps []step) bool {
	masks := []any{rc.Change.BeforeSensitive, rc.Change.AfterSensitive}
	for _, found := range e.in.Plan.ResourceDrift {
		if found != nil && found.Change != nil && found.Address == rc.Address {
			masks = append(masks, found.Change.BeforeSensitive, found.Change.AfterSensitive)
		}
	}
	value := lookup(rc.Change.Before, steps)
	return slices.ContainsFunc(masks, func(mask any) bool { return masked(mask, steps, value) })
}

// masked reports whether a tree of marks covers something in a value that the
// steps lead to. Elements may stand elsewhere in the tree than in the value, so
// a mark on one of them counts for all.
func masked(mask any, steps []step, value any) bool {
	switch m := mask.(type) {
	case bool:
		return m && (value != nil || len(steps) > 0)
	case []any:
		if len(steps) > 0 {
			return slices.ContainsFunc(m, func(m any) bool { return masked(m, steps[1:], value) })
		}
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		return slices.ContainsFunc(m, func(m any) bool {
			return slices.ContainsFunc(list, func(v any) bool { return masked(m, nil, v) })
		})
	case map[string]any:
		if len(steps) > 0 {
			return masked(m[steps[0].name], steps[1:], value)
		}
		object, ok := value.(map[string]any)
		if !ok {
			return false
		}
		for key, inside := range m {
			if masked(inside, nil, object[key]) {
				return true
			}
		}
	}
	return false
}
