package terraform

import (
	"fmt"

	tfjson "github.com/hashicorp/terraform-json"
)

// Providers returns the version of each provider that the root module has locked, by full address such as
// registry.terraform.io/hashicorp/time. It reads the lock file, so it is right after [Dir.Init].
func (d *Dir) Providers() (map[string]string, error) {
	all, err := readLockFile(d.opts.Dir)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]string, len(all))
	for _, l := range all {
		versions[l.source] = l.version
	}
	return versions, nil
}

// ParsePlan decodes a plan as [Dir.Show] returned it raw.
func ParsePlan(raw []byte) (*tfjson.Plan, error) {
	plan := new(tfjson.Plan)
	// As floats, whole numbers above 2^53 would be rounded, and two different plans could look the same.
	plan.UseJSONNumber(true)
	if err := plan.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("read a plan's JSON: %w", err)
	}
	return plan, nil
}

// Secrets returns the values in environ that look secret by the names of their variables, the longest first. What is
// shown to people must not hold them.
func Secrets(environ []string) []string { return secretsOf(environ) }
