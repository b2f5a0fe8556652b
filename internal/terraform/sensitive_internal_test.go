package terraform

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSensitiveValues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.tf": `
variable "plain" {}
variable "not" { sensitive = false }
variable "secret" {
  type      = string
  sensitive = true
}
variable "tree" { sensitive = true }
variable "native" { sensitive = "true" }
variable "short" { sensitive = true }
variable "unset" { sensitive = true }
`,
		"more.tf.json": `{"variable": {"json": {"sensitive": true}}}`,
		"broken.tf":    "variable \"half\" {\n  sensitive = true\n}\nresource \"x\" {",
		"notes.txt":    `variable "plain" { sensitive = true }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := sensitiveValues(dir, []string{
		"TF_VAR_plain=eu-central-1", "TF_VAR_not=eu-central-2", "TF_VAR_secret=correct horse", "TF_VAR_short=on", "OTHER=secret",
		`TF_VAR_tree={"a": ["battery staple"], "n": 7}`, `TF_VAR_native={ a = { deep = ["of a list"] }, "b" = 12345678 }`, "TF_VAR_json=in another file", "TF_VAR_half=in a broken file",
	})
	want := []string{"battery staple", "correct horse", "in a broken file", "in another file", `{"a": ["battery staple"], "n": 7}`,
		`{ a = { deep = ["of a list"] }, "b" = 12345678 }`, "of a list", "12345678"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
