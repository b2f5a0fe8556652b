package terraform_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// Two plans of the same thing differ in nothing but their time; whatever else differs shows.
func TestPlanContent(t *testing.T) {
	t.Parallel()
	content := func(file string) string {
		t.Helper()
		digest, err := terraform.PlanContent(file)
		if err != nil {
			t.Fatal(err)
		}
		if digest == "" {
			t.Fatalf("nothing is known of plan %s", file)
		}
		return digest
	}
	dir := module(t, "main.tf", usesLocal, "many.tf", `
resource "terraform_data" "many" {
  for_each = toset(["a", "b", "c", "d", "e", "f"])
  input    = { name = each.key, password = sensitive("p"), size = 3 }
}
`)
	d := open(t, options(t, dir))
	initialise(t, d)
	first, _ := plan(t, d)
	want := content(first)
	var again string
	// Several times: the order in which resources are written is up to chance.
	for range 4 {
		again, _ = plan(t, d)
		if got := content(again); got != want {
			t.Errorf("the same plan made again has the digest %s, the first %s", got, want)
		}
	}
	// What is shown of the one must be what is shown of the other, but for the time.
	one, _, err := d.Show(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := d.Show(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := stripTime(t, one), stripTime(t, two); a != b {
		t.Errorf("two plans with one digest show\n%s\nand\n%s", a, b)
	}

	write(t, dir, "more.tf", `output "more" { value = "x" }`)
	changed, _ := plan(t, d)
	if content(changed) == want {
		t.Error("a plan of another configuration has the same digest")
	}
	if err := os.Remove(filepath.Join(dir, "more.tf")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	after, _ := plan(t, d)
	if content(after) == want {
		t.Error("a plan against another state has the same digest")
	}

	// What is no plan file is nothing that is known.
	other := filepath.Join(t.TempDir(), "other")
	write(t, filepath.Dir(other), "other", "no plan")
	if digest, err := terraform.PlanContent(other); err != nil || digest != "" {
		t.Errorf("a file that is no plan: %q, %v", digest, err)
	}
}

func stripTime(t *testing.T, raw []byte) string {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc, "timestamp")
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
