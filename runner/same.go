package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/planstore"
)

// A fingerprint is of what a plan shows: values. Not everything that an apply
// will do shows in values. Where the configuration is the same, the same values
// mean the same apply; where it has moved, two plans may look the same and do
// different things. The functions of this file say where that may be.

// hidden returns what the new plan may do otherwise than the reviewed one
// although their fingerprints are the same; "" when nothing is.
func hidden(reviewed, now planstore.Plan, plan *tfjson.Plan) string {
	switch {
	case reviewed.EnvironmentDigest != now.EnvironmentDigest:
		return "the environment, which may choose the account or region that is managed, has changed"
	case reviewed.ConfigurationDigest == now.ConfigurationDigest:
		return ""
	case reviewed.ProvidersDigest == "" || reviewed.ProvidersDigest != now.ProvidersDigest:
		return "how its providers are configured has changed, or cannot be compared"
	}
	return unseen(plan)
}

// unseen returns what of a plan's effect does not show in its values: what is
// computed from an expression only during the apply, what a data source will
// read only then, and what provisioners do.
func unseen(plan *tfjson.Plan) string {
	if plan == nil {
		return ""
	}
	for _, rc := range plan.ResourceChanges {
		if rc == nil || rc.Change == nil || rc.Change.Actions.NoOp() {
			continue
		}
		if rc.Mode == tfjson.DataResourceMode {
			return fmt.Sprintf("`%s` is read only during the apply", rc.Address)
		}
		config := resourceConfig(plan, rc)
		if config == nil {
			if rc.Change.Actions.Delete() {
				continue // Removed from the configuration: there is nothing left in it that could run.
			}
			return fmt.Sprintf("the configuration of `%s` is not in the plan", rc.Address)
		}
		if len(config.Provisioners) > 0 {
			return fmt.Sprintf("`%s` has provisioners", rc.Address)
		}
		unknown, _ := rc.Change.AfterUnknown.(map[string]any)
		for name, is := range unknown {
			// What the configuration does not mention is the provider's to
			// compute; what it does is an expression, and may be another one.
			if _, set := config.Expressions[name]; set && anyTrue(is) {
				return fmt.Sprintf("`%s` of `%s` is known only after the apply", name, rc.Address)
			}
		}
	}
	for name, c := range plan.OutputChanges {
		if c != nil && anyTrue(c.AfterUnknown) {
			return fmt.Sprintf("the output `%s` is known only after the apply", name)
		}
	}
	return ""
}

// resourceConfig finds the configuration of a resource, through its modules.
func resourceConfig(plan *tfjson.Plan, rc *tfjson.ResourceChange) *tfjson.ConfigResource {
	if plan.Config == nil {
		return nil
	}
	module := plan.Config.RootModule
	for _, call := range moduleCalls(rc.ModuleAddress) {
		if module == nil || module.ModuleCalls[call] == nil {
			return nil
		}
		module = module.ModuleCalls[call].Module
	}
	if module == nil {
		return nil
	}
	i := slices.IndexFunc(module.Resources, func(c *tfjson.ConfigResource) bool {
		return c != nil && c.Mode == rc.Mode && c.Type == rc.Type && c.Name == rc.Name
	})
	if i < 0 {
		return nil
	}
	return module.Resources[i]
}

// moduleCalls are the names of the calls in a module's address, without keys:
// module.a["x.y"].module.b is a and b.
func moduleCalls(address string) []string {
	var calls []string
	for rest := address; rest != ""; {
		rest = strings.TrimPrefix(rest, "module.")
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			return append(calls, rest)
		}
		calls = append(calls, rest[:end])
		rest = rest[end:]
		if strings.HasPrefix(rest, "[") {
			rest = rest[keyEnd(rest):]
		}
		rest = strings.TrimPrefix(rest, ".")
	}
	return calls
}

// keyEnd returns where an instance key, with its brackets, ends.
func keyEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ']' && !quoted:
			return i + 1
		}
	}
	return len(s)
}

// anyTrue looks for a true in a tree of marks.
func anyTrue(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case []any:
		return slices.ContainsFunc(v, anyTrue)
	case map[string]any:
		for _, inner := range v {
			if anyTrue(inner) {
				return true
			}
		}
	}
	return false
}

// providersDigest tells one set-up of providers from another: their
// configuration, and the variables that it may refer to. It is "" where the
// set-up refers to what a plan does not show, such as local values.
func providersDigest(plan *tfjson.Plan) string {
	if plan == nil || plan.Config == nil {
		return ""
	}
	raw, err := json.Marshal(plan.Config.ProviderConfigs)
	if err != nil {
		return ""
	}
	text := string(raw)
	for _, hiding := range []string{`"local.`, `"module.`, `"data.`} {
		if strings.Contains(text, hiding) {
			return ""
		}
	}
	if strings.Contains(text, `"var.`) {
		values, err := json.Marshal(plan.Variables)
		if err != nil {
			return ""
		}
		text += string(values)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
