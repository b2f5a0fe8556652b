package runner_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/runner"
)

// TestAdoptLeavesTheRootAsItWas adopts as a server does, which wants the edited
// files and not an edited root; and is interrupted while it proves them.
func TestAdoptLeavesTheRootAsItWas(t *testing.T) {
	t.Parallel()
	const before = "resource \"local_file\" \"a\" {\n  filename = \"${path.module}/a.txt\"\n  content  = \"a\"\n}\n"
	p := newPlace(t, map[string]string{"site/main.tf": before})
	p.Config, p.LocalState = parts.MirrorConfig(t, parts.Mirror(t)), t.TempDir()
	p.apply(t, "1", runner.Choice{PlanID: p.plan(t, "1").Receipt.ID}, runner.Applied)
	if err := os.Remove(filepath.Join(p.Root, "site", "a.txt")); err != nil {
		t.Fatal(err)
	}
	main := func() string {
		text, err := os.ReadFile(filepath.Join(p.Root, "site", "main.tf"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	during := ""
	r, set := p.open(t, "2", func(o *runner.Options) {
		o.Observe = func(e runner.Event) {
			if e.Phase == runner.PhaseVerify {
				during = main()
				cancel()
			}
		}
	})
	res := r.Adopt(ctx, workspace(t, set, ""), runner.AdoptOptions{Keep: true})
	if res.Status != runner.Failed || len(res.Adoption.Files) > 0 || !strings.Contains(during, "removed") {
		t.Errorf("interrupted: %s, %v, files %q, during the proof\n%s", res.Status, res.Err, res.Adoption.Files, during)
	}
	if got := main(); got != before {
		t.Errorf("interrupted, the file is left as\n%s", got)
	}

	r, set = p.open(t, "2")
	res = r.Adopt(t.Context(), workspace(t, set, ""), runner.AdoptOptions{})
	if res.Status != runner.Unchanged || !strings.Contains(string(res.Adoption.Files["site/main.tf"]), "from = local_file.a") {
		t.Errorf("%s, %v, %+v", res.Status, res.Err, res.Adoption)
	}
	if got := main(); got != before {
		t.Errorf("the file is left as\n%s", got)
	}
}
