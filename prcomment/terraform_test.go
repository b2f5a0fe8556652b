package prcomment_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestTerraform renders plans that the installed Terraform makes now, not those that were kept: whatever its JSON looks
// like by then, secrets stay hidden, and what is destroyed is named.
func TestTerraform(t *testing.T) {
	t.Parallel()
	binary := parts.Terraform(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "terraform"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "cli.tfrc")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	terraform := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(binary, args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TF_CLI_CONFIG_FILE=" + config, "CHECKPOINT_DISABLE=1"}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("terraform %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return out
	}
	render := func() string {
		t.Helper()
		plan := parsePlan(t, terraform("show", "-json", "p"))
		report := prcomment.Report{Key: "k", Workspaces: []prcomment.Workspace{{Name: "w", Status: prcomment.StatusPlanned, Plan: plan}}}
		pages := prcomment.Render(report, 0)
		checkPages(t, pages, 0, report)
		return strings.Join(pages, "\n")
	}
	want := func(page string, lines ...string) {
		t.Helper()
		for _, l := range lines {
			if !strings.Contains(page, l) {
				t.Errorf("there is no %q in:\n%s", l, page)
			}
		}
	}

	terraform("init", "-input=false")
	terraform("plan", "-input=false", "-out=p")
	want(render(), "**Plan: 1 to import, 15 to add, 1 to change**", "+         password = (sensitive)", "+ output.token = (sensitive)")

	terraform("apply", "-input=false", "p")
	terraform("taint", "terraform_data.tainted")
	terraform("plan", "-input=false", "-out=p", "-var=token=canary-token-5f2e9c", "-var=nodes={}")
	want(render(), "1 to replace, 3 to destroy",
		"> - **replace** `terraform_data.tainted`: it is tainted",
		"> - **destroy** `module.cluster.terraform_data.node[\"gpu \\\"x\\\"\"]`: key `\"gpu \\\"x\\\"\"` is not in for_each any more",
		"!     input.password = (sensitive, changes)",
	)
}
