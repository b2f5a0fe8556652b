package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/demo"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// TestMain lets the test's own binary be the provider when Terraform starts it as such.
func TestMain(m *testing.M) {
	if provider.IsProvider(os.Args[0]) {
		err := provider.Serve(context.Background(), provider.Options{
			Endpoint: os.Getenv(provider.EndpointVariable),
			Token:    os.Getenv(provider.TokenVariable),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestDemoWalk walks the demo from an empty cloud to corrected drift, with Terraform alone.
func TestDemoWalk(t *testing.T) {
	cloud, err := toycloud.Serve(t.Context(), toycloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	repo := t.TempDir()
	if err := demo.Write(repo, demo.Base()); err != nil {
		t.Fatal(err)
	}
	tf := newTerraform(t, cloud)
	tf.run(t, repo, "fmt", "-check", "-recursive", "-diff")

	workspaces := []string{"network", "cluster", "storage"}
	for _, w := range workspaces {
		tf.run(t, filepath.Join(repo, w), "init", "-no-color")
	}
	// On the empty cloud each can be planned before any is applied.
	for _, w := range []string{"storage", "cluster", "network"} {
		if len(tf.changes(t, filepath.Join(repo, w))) == 0 {
			t.Errorf("the first plan of %s is empty", w)
		}
	}
	for _, w := range workspaces {
		tf.run(t, filepath.Join(repo, w), "apply", "-auto-approve", "-no-color")
	}
	expect := func(step string, want map[string][]string) {
		t.Helper()
		got := make([][]string, len(workspaces))
		var wg sync.WaitGroup
		for i, w := range workspaces {
			wg.Go(func() { got[i] = tf.changes(t, filepath.Join(repo, w)) })
		}
		wg.Wait()
		for i, w := range workspaces {
			if diff := cmp.Diff(want[w], got[i]); diff != "" {
				t.Errorf("%s: changes of %s (-want +got):\n%s", step, w, diff)
			}
		}
	}
	expect("planned again", nil)

	if err := demo.Write(repo, demo.Change()); err != nil {
		t.Fatal(err)
	}
	tf.run(t, repo, "fmt", "-check", "-recursive", "-diff")
	expect("the branch", map[string][]string{
		"cluster": {
			`toy_node.node["db-1"] update`, `toy_node.node["web-1"] update`,
			`toy_node.node["web-2"] update`, `toy_node.node["web-3"] create`,
		},
		"storage": {`toy_bucket.bucket["assets"] update`, `toy_bucket.bucket["logs"] update`},
	})
	for _, w := range workspaces {
		tf.run(t, filepath.Join(repo, w), "apply", "-auto-approve", "-no-color")
	}
	expect("the branch applied", nil)

	did, err := demo.Meddle(cloud)
	if err != nil || len(did) != 2 {
		t.Fatalf("Meddle = %q, %v, want two sentences", did, err)
	}
	expect("somebody meddled", map[string][]string{
		"cluster": {fmt.Sprintf(`toy_node.node[%q] create`, demo.MissingNode)},
		"storage": {fmt.Sprintf(`toy_bucket.bucket[%q] update`, demo.EditedBucket)},
	})
	for _, w := range workspaces {
		tf.run(t, filepath.Join(repo, w), "apply", "-auto-approve", "-no-color")
	}
	expect("corrected", nil)

	got := cloud.Counters().Kinds[toycloud.Nodes]
	if got.Creates != 5 || got.Updates != 3 || got.Deletes != 0 {
		t.Errorf("nodes = %+v, want 5 creates (3 at first, 1 in the branch, 1 correction), 3 updates, no deletes", got)
	}
}

func TestChangeOverlaysBase(t *testing.T) {
	var changed []string
	err := fs.WalkDir(demo.Change(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		changed = append(changed, name)
		before, err := fs.ReadFile(demo.Base(), name)
		if err != nil {
			return err
		}
		after, err := fs.ReadFile(demo.Change(), name)
		if bytes.Equal(before, after) {
			t.Errorf("%s is the same in the change as in the base", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cluster/terraform.tfvars", "modules/labels/main.tf"}
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Errorf("files of the change (-want +got):\n%s", diff)
	}
}

// TestGitSeesOnlyWhatIsWritten guards the .gitignore: a demo whose checkout turns dirty by being run shows nothing.
func TestGitSeesOnlyWhatIsWritten(t *testing.T) {
	dir := t.TempDir()
	if err := demo.Write(dir, demo.Base()); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{".terraform.lock.hcl", "terraform.tfstate", "terraform.tfstate.backup", ".terraform.tfstate.lock.info", "errored.tfstate"} {
		if err := os.WriteFile(filepath.Join(dir, "cluster", left), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	git("init", "--quiet")
	git("add", ".")
	got := strings.Fields(git("ls-files"))
	var want []string
	err := fs.WalkDir(demo.Base(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			want = append(want, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files that Git sees (-want +got):\n%s", diff)
	}
}

func TestMeddleNeedsTheDemo(t *testing.T) {
	cloud, err := toycloud.Serve(t.Context(), toycloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	if did, err := demo.Meddle(cloud); err == nil || !strings.Contains(err.Error(), demo.MissingNode) {
		t.Errorf("Meddle with an empty cloud = %q, %v, want an error that names %s", did, err, demo.MissingNode)
	}
}

// terraform runs Terraform with the provider served by the test's own binary.
type terraform struct{ env []string }

func newTerraform(t *testing.T, cloud *toycloud.Server) terraform {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := provider.Mirror(filepath.Join(dir, "mirror"), self); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "terraformrc")
	if err := os.WriteFile(config, []byte(provider.CLIConfig(filepath.Join(dir, "mirror"))), 0o600); err != nil {
		t.Fatal(err)
	}
	return terraform{[]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir(), "TF_CLI_CONFIG_FILE=" + config,
		"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0",
		"GORACE=atexit_sleep_ms=0", // else a provider under the race detector takes a second to end
		"TOY_ENDPOINT=" + cloud.URL, "TOY_TOKEN=" + cloud.Token,
	}}
}

func (tf terraform) run(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "terraform", args...)
	cmd.Dir, cmd.Env = dir, tf.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("terraform %v in %s: %v\n%s%s", args, filepath.Base(dir), err, out, &stderr)
	}
	return out
}

// changes plans and returns what the plan would change: address and action, in order.
func (tf terraform) changes(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for line := range bytes.Lines(tf.run(t, dir, "plan", "-json")) {
		var message struct {
			Type   string
			Change struct {
				Action   string
				Resource struct{ Addr string }
			}
		}
		if err := json.Unmarshal(line, &message); err != nil {
			t.Errorf("plan -json says %s: %v", line, err)
		}
		if message.Type == "planned_change" {
			found = append(found, message.Change.Resource.Addr+" "+message.Change.Action)
		}
	}
	slices.Sort(found)
	return found
}
