//go:build e2e

package planstore_test

import (
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/planstore"
)

// TestFingerprintAcrossEngines holds that OpenTofu and Terraform give one plan
// one fingerprint.
func TestFingerprintAcrossEngines(t *testing.T) {
	s := open(t, planstore.Options{Location: t.TempDir()})
	config := parts.MirrorConfig(t, parts.Mirror(t))
	const variables = `{"size": 3, "password": "canary-one", "names": ["a", "b"]}`
	terraform, tofu := newRoot(t, parts.Terraform(t), config), newRoot(t, parts.Tofu(t), config)
	if want, got := fingerprint(t, s, terraform.plan(variables)), fingerprint(t, s, tofu.plan(variables)); got != want {
		t.Errorf("the plan made by OpenTofu has the fingerprint %s, by Terraform %s", got, want)
	}
}
