package world_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestMain(m *testing.M) {
	if world.IsProvider() {
		os.Exit(world.ServeProvider())
	}
	os.Exit(m.Run())
}

// A world holds together without any Plumbline: people can apply by hand in it, with either backend.
func TestByHand(t *testing.T) {
	t.Parallel()
	for name, backend := range map[string]func(*world.States, string) string{"http": (*world.States).Backend, "s3": (*world.States).Bucket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			byHand(t, backend, name == "s3")
		})
	}
}

func byHand(t *testing.T, backend func(*world.States, string) string, named bool) {
	w := world.New(t, world.Options{Remote: backend})
	text := world.Bucket(backend(w.States, "a"), "a", "2")
	pull := w.Open(t, world.Alice, "more", map[string]string{"a/main.tf": text})
	pull.Say(t, world.Mallory, "nice")
	pull.Merge(t, forge.Squash)
	if len(pull.Ours(t)) != 0 || pull.Merged == "" {
		t.Errorf("the pull request is %+v with %+v of ours", pull, pull.Ours(t))
	}

	dir := filepath.Join(t.TempDir(), "a")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	terraform := func(args ...string) (string, error) {
		cmd := exec.Command(parts.Terraform(t), args...)
		cmd.Dir, cmd.Env = dir, w.Environ
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{{"init", "-input=false", "-no-color"}, {"apply", "-auto-approve", "-input=false", "-no-color"}} {
		if out, err := terraform(args...); err != nil {
			t.Fatalf("terraform %s: %v\n%s", args[0], err, out)
		}
	}
	w.AwaitVersions(t, map[string]string{"a": "2"})
	if created, updated, deleted := w.Done(); created != 1 || updated != 0 || deleted != 0 {
		t.Errorf("the cloud made %d, changed %d and deleted %d buckets, want 1, 0, 0", created, updated, deleted)
	}
	if locked := w.States.Locked(); len(locked) != 0 || w.States.Saves("a") == 0 {
		t.Errorf("after an apply %q are locked and the state was saved %d times", locked, w.States.Saves("a"))
	}
	w.States.Lock("a", "c0ffee", "bob@laptop")
	out, err := terraform("apply", "-auto-approve", "-input=false", "-no-color")
	if err == nil || !strings.Contains(out, "c0ffee") || strings.Contains(out, "bob@laptop") != named {
		t.Errorf("apply of a locked state: %v, want it refused with the lock's id, and its holder named: %v\n%s", err, named, out)
	}
	if out, err := terraform("force-unlock", "-force", "c0ffee"); err != nil || len(w.States.Locked()) != 0 {
		t.Errorf("force-unlock: %v, still locked: %q\n%s", err, w.States.Locked(), out)
	}
}
