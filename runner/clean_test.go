package runner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/runner"
)

// TestCleanLooks: a look that finds what the last one found, nothing, reads no plan; one that would find something does.
func TestCleanLooks(t *testing.T) {
	t.Parallel()
	p, dir := applied(t)
	calls, bin := filepath.Join(t.TempDir(), "calls"), t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho \"$1\" >>'%s'\nexec '%s' \"$@\"\n", calls, parts.Terraform(t))
	if err := os.WriteFile(filepath.Join(bin, "terraform"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p.Path = bin + string(os.PathListSeparator) + p.Path
	look := func(what string, want runner.Status, shown int, found string) {
		t.Helper()
		_ = os.Remove(calls) // there may be none yet
		r, set := p.open(t, "7")
		res := r.Drift(t.Context(), set.Workspaces, runner.DriftOptions{})[0]
		if res.Err != nil || res.Status != want || told(res.Drift.Verdict) != found {
			t.Errorf("%s: got %s, %v, %q, want %s and %q", what, res.Status, res.Err, told(res.Drift.Verdict), want, found)
		}
		if got := strings.Count(content(t, calls), "show"); got != shown {
			t.Errorf("%s: %d plans were read, want %d", what, got, shown)
		}
	}
	edit := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "one"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look("the first", runner.Unchanged, 1, "")
	look("the second", runner.Unchanged, 0, "")
	edit("changed by hand")
	look("after an edit", runner.Drifted, 1, "local_file.one outside")
	edit("1")
	look("after it was undone", runner.Unchanged, 0, "")
	p.write(t, "main.tf", content(t, filepath.Join(p.Root, "main.tf"))+"\n# other files\n")
	look("of other files", runner.Unchanged, 1, "")
	look("of the same files again, on the record of the look before", runner.Unchanged, 1, "")
	look("once more", runner.Unchanged, 0, "")
	found, err := filepath.Glob(filepath.Join(p.Work, "*", "clean"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the memory: got %q, %v, want it once", found, err)
	}
	if err := os.WriteFile(found[0], []byte("dam"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("with a damaged memory", runner.Unchanged, 1, "")
	look("and after that", runner.Unchanged, 0, "")
}
