//go:build e2e

package terraform_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// TestOpenTofu drives OpenTofu through the life of a workspace.
func TestOpenTofu(t *testing.T) {
	t.Parallel()
	dir := module(t, "main.tofu", usesLocal+`
output "engine" {
  value = terraform.workspace
}
`)
	o := options(t, dir)
	o.Binary = terraform.Binary{Engine: "tofu", Path: parts.Tofu(t), Version: "1.12.6"}
	o.Workspace = "blue"
	var err error
	if o.Providers, err = terraform.OpenProviderCache(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	d := open(t, o)
	initialise(t, d)
	file, changes := plan(t, d)
	if !changes {
		t.Error("no changes")
	}
	_, shown, err := d.Show(t.Context(), file)
	if err != nil || len(shown.ResourceChanges) != 1 {
		t.Fatalf("show: got %+v, %v", shown, err)
	}
	a, err := d.Apply(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"local_file.it"}, a.Done); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	providers, err := d.Providers()
	if diff := cmp.Diff(map[string]string{"registry.opentofu.org/hashicorp/local": "1.4.0"}, providers); diff != "" || err != nil {
		t.Errorf("providers: %v (-want +got):\n%s", err, diff)
	}
	second, changes := plan(t, d)
	if changes {
		t.Error("second plan: changes")
	}
	if got, err := terraform.PlanState(second); err != nil || got != a.After || got.Serial == 0 {
		t.Errorf("state of the second plan: got %+v, %v, want %+v", got, err, a.After)
	}
	if in := initialise(t, d); in.Ran {
		t.Errorf("init again: got %+v", in)
	}
}
