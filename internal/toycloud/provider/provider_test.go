package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// TestMain lets the test's own binary be the provider when Terraform starts it as such, as the plumbline binary does.
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

const everything = `
data "toy_image" "debian" {
  name = "debian"
}
resource "toy_network" "main" {
  name = "main"
  cidr = "10.0.0.0/16"
}
data "toy_network" "main" {
  name = toy_network.main.name
}
resource "toy_cluster" "main" {
  name    = "main"
  network = data.toy_network.main.id
  version = "1.33"
}
resource "toy_node" "node" {
  for_each = toset(["a", "b", "c"])
  cluster  = toy_cluster.main.id
  name     = each.key
  size     = "small"
  image    = data.toy_image.debian.reference
  labels   = { rack = each.key }
}
resource "toy_bucket" "logs" {
  name   = "logs"
  tags   = { owner = "me" }
  policy = jsonencode({ read = ["everyone"] })
}
resource "toy_bucket" "plain" {
  name = "plain"
}
`

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{}, everything+`
output "key" {
  value     = toy_bucket.logs.access_key
  sensitive = true
}
output "cidr" {
  value = data.toy_network.main.cidr
}
`)
	first := w.apply()
	w.expect("after the first apply")

	key := w.cloud.Snapshot().Buckets[0].AccessKey
	for _, b := range w.cloud.Snapshot().Buckets {
		if strings.Contains(first, b.AccessKey) {
			t.Errorf("Terraform's output shows the access key of %s", b.Name)
		}
	}
	if state := w.read("terraform.tfstate"); !strings.Contains(state, key) {
		t.Error("the state does not hold the access key: was it looked for in vain above?")
	}

	w.replace(`"1.33"`, `"1.34"`)
	w.replace(`rack = each.key`, `rack = "moved"`)
	w.replace(`tags   = { owner = "me" }`, `versioning = true`)
	w.expect("attributes changed", "toy_bucket.logs update", "toy_cluster.main update",
		`toy_node.node["a"] update`, `toy_node.node["b"] update`, `toy_node.node["c"] update`)
	w.apply()
	w.expect("after the second apply")

	w.replace(`"small"`, `"medium"`)
	w.replace(`name = "plain"`, `name = "bare"`)
	w.expect("attributes changed that cannot change", "toy_bucket.plain replace",
		`toy_node.node["a"] replace`, `toy_node.node["b"] replace`, `toy_node.node["c"] replace`)
	w.apply()
	w.expect("after the third apply")

	w.terraform("apply", "-destroy", "-auto-approve", "-no-color")
	got := w.cloud.Counters()
	want := map[toycloud.Kind]toycloud.Counts{
		toycloud.Networks: {Creates: 1, Deletes: 1},
		toycloud.Clusters: {Creates: 1, Updates: 1, Deletes: 1},
		toycloud.Nodes:    {Creates: 6, Updates: 3, Deletes: 6},
		toycloud.Buckets:  {Creates: 3, Updates: 1, Deletes: 3},
		toycloud.Images:   {},
	}
	for kind, n := range got.Kinds {
		n.Reads, n.Lists = 0, 0
		if diff := cmp.Diff(want[kind], n); diff != "" {
			t.Errorf("what was done to %s (-want +got):\n%s", kind, diff)
		}
	}
	for id, n := range got.Objects {
		if n.Creates > 1 || n.Deletes > 1 {
			t.Errorf("%s was created %d times and deleted %d times", id, n.Creates, n.Deletes)
		}
	}
}

func TestDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{}, everything)
	w.apply()
	w.must(w.cloud.Delete(toycloud.Nodes, "b"))
	w.must(w.cloud.EditNode("a", func(n *toycloud.Node) { n.Labels["rack"] = "other" }))
	w.must(w.cloud.EditNode("c", func(n *toycloud.Node) { n.Size = "large" }))
	w.must(w.cloud.EditBucket("logs", func(b *toycloud.Bucket) { b.Policy = "" }))
	w.must(w.cloud.EditBucket("plain", func(b *toycloud.Bucket) { b.Tags = map[string]string{"new": "tag"} }))
	w.must(w.cloud.EditCluster("main", func(c *toycloud.Cluster) { c.Size = 9 })) // the configuration does not say

	plan := w.plan()
	want := []string{
		"toy_bucket.logs update", "toy_bucket.plain update",
		`toy_node.node["a"] update`, `toy_node.node["b"] create`, `toy_node.node["c"] replace`,
	}
	if diff := cmp.Diff(want, plan.changes); diff != "" {
		t.Errorf("changes after drift (-want +got):\n%s", diff)
	}
	if !slices.Contains(plan.drift, `toy_node.node["b"] delete`) {
		t.Errorf("drift = %v, want that it tells of the deleted node", plan.drift)
	}
	w.apply()
	w.expect("after the correction")

	// A new release of an image is a change of data, not of the nodes.
	w.must(w.cloud.EditImage("debian", func(i *toycloud.Image) { i.Release = "13.0" }))
	plan = w.plan()
	if len(plan.changes) != 3 || len(plan.drift) != 0 {
		t.Errorf("after a new release of the image: changes %v, drift %v, want three replaces and no drift", plan.changes, plan.drift)
	}
}

// TestStalePlan applies a plan after the bucket that it updates was deleted.
func TestStalePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{}, everything)
	w.apply()
	w.replace(`owner = "me"`, `owner = "you"`)
	w.terraform("plan", "-out=stale.plan", "-no-color")
	w.must(w.cloud.Delete(toycloud.Buckets, "logs"))
	w.fails("stale plan", []string{"apply", "stale.plan"}, `Cannot update the bucket "logs"`, "deleted since the plan was made, so plan again")
}

// TestWrongEndpointIsNotDrift points a configuration at a server that knows nothing of its objects. Believing its
// status 404 would mean to create everything anew.
func TestWrongEndpointIsNotDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{}, everything)
	w.apply()
	w.env = append(w.env, provider.EndpointVariable+"="+w.cloud.URL+"/elsewhere")
	w.fails("wrong endpoint", []string{"plan"}, "There is nothing at /elsewhere/v1/", "Is there a toy cloud at "+w.cloud.URL+"/elsewhere?")
}

func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{}, "")
	var main strings.Builder
	for _, o := range []struct {
		object        toycloud.Object
		address, body string
	}{
		{&toycloud.Network{Meta: toycloud.Meta{Name: "main"}, CIDR: "10.0.0.0/16"}, "toy_network.x", `
			name = "main"
			cidr = "10.0.0.0/16"`},
		{&toycloud.Cluster{Meta: toycloud.Meta{Name: "prod"}, Network: "main", Version: "1", Size: 5}, "toy_cluster.x", `
			name    = "prod"
			network = "main"
			version = "1"`},
		{&toycloud.Node{Meta: toycloud.Meta{Name: "web"}, Cluster: "prod", Size: "small", Labels: map[string]string{"a": "b"}}, "toy_node.x", `
			cluster = "prod"
			name    = "web"
			size    = "small"
			labels  = { a = "b" }`},
		{&toycloud.Bucket{Meta: toycloud.Meta{Name: "logs"}, Versioning: true, Policy: `{"a":1}`}, "toy_bucket.x", `
			name       = "logs"
			versioning = true
			policy     = jsonencode({ a = 1 })`},
	} {
		id, err := w.cloud.Add(o.object)
		w.must(err)
		typ, name, _ := strings.Cut(o.address, ".")
		fmt.Fprintf(&main, "import {\n  to = %s\n  id = %q\n}\nresource %q %q {%s\n}\n", o.address, id, typ, name, o.body)
	}
	w.write("main.tf", header+main.String())
	w.expect("plan of the imports", "toy_bucket.x import", "toy_cluster.x import", "toy_network.x import", "toy_node.x import")
	w.apply()
	w.expect("after the imports")
	if got := w.cloud.Counters().Kinds[toycloud.Buckets]; got.Creates+got.Updates != 0 {
		t.Errorf("importing wrote to the cloud: %+v", got)
	}

	w.write("more.tf", `
import {
  to = toy_bucket.y
  id = "bucket-0"
}
resource "toy_bucket" "y" {
  name = "y"
}
`)
	w.fails("import of what is not there", []string{"plan"}, "Cannot import non-existent remote object")
}

// TestNothingIsCreatedTwice applies through everything that goes wrong on the way, and counts.
func TestNothingIsCreatedTwice(t *testing.T) {
	t.Parallel()
	rules := []toycloud.Rule{
		{Verb: toycloud.Create, Object: "a", Fault: toycloud.FaultLost, Next: 2},
		{Verb: toycloud.Create, Object: "b", Fault: toycloud.FaultHalf, Next: 2},
		{Verb: toycloud.Create, Object: "c", Fault: toycloud.FaultDrop, Next: 2},
		{Verb: toycloud.Create, Kind: toycloud.Buckets, Fault: toycloud.FaultError, Next: 2},
		{Verb: toycloud.Create, Kind: toycloud.Clusters, Fault: toycloud.FaultThrottle, Next: 2, RetryAfter: 10 * time.Millisecond},
		{Verb: toycloud.Read, Fault: toycloud.FaultHalf, Next: 3},
		{Verb: toycloud.List, Fault: toycloud.FaultDrop, Next: 1},
		{Verb: toycloud.Delete, Kind: toycloud.Nodes, Fault: toycloud.FaultLost, Next: 3},
		{Verb: toycloud.Update, Fault: toycloud.FaultLost, Next: 1},
	}
	w := newWorld(t, toycloud.Options{Behaviour: toycloud.Behaviour{Rules: rules}}, everything)
	w.apply()
	w.expect("after an apply with faults")
	n := w.cloud.Counters()
	if got := n.Kinds[toycloud.Nodes].Creates; got != 3 || n.Replays < 2 {
		t.Errorf("%d nodes were created, with %d creations asked for again, want 3 and at least 2", got, n.Replays)
	}
	w.replace(`"1.33"`, `"1.34"`)
	w.apply()
	w.expect("after an update whose answer was lost")
	w.terraform("apply", "-destroy", "-auto-approve", "-no-color")
	snap := w.cloud.Snapshot()
	if left := len(snap.Networks) + len(snap.Clusters) + len(snap.Nodes) + len(snap.Buckets); left != 0 {
		t.Errorf("%d objects are left after destroy", left)
	}
	for i, r := range w.cloud.Behaviour().Rules {
		if r.Next != 0 {
			t.Errorf("rule %d had nothing to strike: %+v", i+1, r)
		}
	}
}

func TestThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{Behaviour: toycloud.Behaviour{RequestsPerSecond: 20, Burst: 2}}, everything)
	w.apply()
	w.expect("after a throttled apply")
	if n := w.cloud.Counters(); n.Throttled == 0 || n.Kinds[toycloud.Nodes].Creates != 3 {
		t.Errorf("counters = %+v, want throttled requests, and 3 nodes", n)
	}
}

func TestPerpetualDiff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{Behaviour: toycloud.Behaviour{Normalise: true}}, everything)
	for range 2 {
		w.apply()
		w.expect("right after an apply", "toy_bucket.logs update")
	}
}

func TestAutoscalerFights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{Behaviour: toycloud.Behaviour{
		Autoscalers: []toycloud.Autoscaler{{Cluster: "main", Size: 7, Labels: map[string]string{"rack": "mine"}}},
	}}, everything)
	w.replace(`version = "1.33"`, "version = \"1.33\"\n  size = 2")
	for range 2 {
		w.apply()
		w.expect("right after an apply", "toy_cluster.main update",
			`toy_node.node["a"] update`, `toy_node.node["b"] update`, `toy_node.node["c"] update`)
	}
}

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	const bucket = "resource \"toy_bucket\" \"logs\" {\n  name = \"logs\"\n}\n"
	for _, c := range []struct {
		name string
		main string
		env  []string // beside endpoint and token
		rule toycloud.Rule
		says []string
	}{
		{name: "no endpoint", main: bucket, env: []string{"TOY_ENDPOINT="},
			says: []string{"No endpoint of a toy cloud", "the environment variable TOY_ENDPOINT"}},
		{name: "no token", main: bucket, env: []string{"TOY_TOKEN="},
			says: []string{"No token for the toy cloud", "the environment variable TOY_TOKEN"}},
		{name: "endpoint is no URL", main: bucket, env: []string{"TOY_ENDPOINT=localhost:80"},
			says: []string{"The endpoint is no URL of a toy cloud", "http://127.0.0.1:8080"}},
		{name: "wrong token", main: bucket, env: []string{"TOY_TOKEN=canary-5c1d"},
			says: []string{`Cannot create the bucket "logs"`, "The token is missing or wrong.", "Check token in the provider block"}},
		{name: "token may only read", main: bucket, env: []string{"TOY_TOKEN=only-reads"},
			says: []string{"This token may only read, not create.", "Use a token that may write."}},
		{name: "nobody listens", main: bucket, env: []string{"TOY_ENDPOINT=http://127.0.0.1:1"},
			says: []string{"connection refused", "Is the toy cloud running at http://127.0.0.1:1?"}},
		{name: "name is taken", main: strings.ReplaceAll(bucket, "logs", "taken"),
			says: []string{`There is already a bucket named "taken"`, "import block"}},
		{name: "cluster without its network",
			main: "resource \"toy_cluster\" \"x\" {\n  name = \"x\"\n  network = \"gone\"\n  version = \"1\"\n}\n",
			says: []string{"main.tf line", `network = "gone"`, `There is no network "gone": create it first.`}},
		{name: "image that is not there", main: "data \"toy_image\" \"x\" {\n  name = \"nix\"\n}\n",
			says: []string{`Cannot look up the image "nix"`, "There are: debian, flatcar."}},
		{name: "values that cannot be",
			main: "resource \"toy_network\" \"x\" {\n  name = \"No\"\n  cidr = \"10.0.0.1/16\"\n}\n" +
				"resource \"toy_node\" \"x\" {\n  name = \"x\"\n  cluster = \"x\"\n  size = \"huge\"\n}\n" +
				"resource \"toy_bucket\" \"x\" {\n  name = \"x\"\n  policy = \"{\"\n}\n",
			says: []string{"is no name", "did you mean 10.0.0.0/16?", "use one of [small medium large]", "write it with jsonencode"}},
		{name: "settings that cannot be", main: "provider \"toy\" {\n  max_retries = 1000\n  timeout = \"soon\"\n}\n" + bucket,
			says: []string{"Use 0 to 100.", "Write it as 500ms, 10s or 1m."}},
		{name: "throttled for good", main: "provider \"toy\" {\n  max_retries = 1\n}\n" + bucket,
			rule: toycloud.Rule{Fault: toycloud.FaultThrottle, Rate: 1, RetryAfter: time.Millisecond},
			says: []string{"Tried 2 times", "a lower -parallelism"}},
		{name: "an answer that does not come", main: "provider \"toy\" {\n  max_retries = 0\n  timeout = \"100ms\"\n}\n" + bucket,
			rule: toycloud.Rule{Latency: time.Minute},
			says: []string{"There was no answer within 100ms", "It is not known whether this was done."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, toycloud.Options{ReadToken: "only-reads", Behaviour: toycloud.Behaviour{Rules: []toycloud.Rule{c.rule}}}, c.main)
			_, err := w.cloud.Add(&toycloud.Bucket{Meta: toycloud.Meta{Name: "taken"}})
			w.must(err)
			w.env = append(w.env, c.env...)
			out := w.fails(c.name, []string{"apply", "-auto-approve"}, c.says...)
			if strings.Contains(out, "canary-5c1d") || strings.Contains(out, w.cloud.Token) {
				t.Errorf("Terraform's output shows the token:\n%s", out)
			}
		})
	}
}

// TestProviderBlock takes endpoint and token from the configuration while the environment would lead astray.
func TestProviderBlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toycloud.Options{Token: "from-the-block"}, "")
	w.env = append(w.env, "TOY_ENDPOINT=http://127.0.0.1:1", "TOY_TOKEN=wrong", "TF_VAR_token=from-the-block")
	w.write("main.tf", header+fmt.Sprintf(`
variable "token" {
  type = string
}
provider "toy" {
  endpoint = %q
  token    = var.token
}
resource "toy_bucket" "logs" {
  name = "logs"
}
`, w.cloud.URL))
	w.apply()
	w.expect("after apply")
}

func TestIsProvider(t *testing.T) {
	for argv0, want := range map[string]bool{
		"terraform-provider-toy":                   true,
		"terraform-provider-toy_v1.0.0":            true,
		"/a/b/terraform-provider-toy_v1.0.0":       true,
		`C:\a b\terraform-provider-toy_v1.0.0.exe`: true,
		"plumbline":                         false,
		"/terraform-provider-toy/plumbline": false,
		"terraform-provider-toybox_v1.0.0":  false,
		"my-terraform-provider-toy":         false,
		"":                                  false,
	} {
		if got := provider.IsProvider(argv0); got != want {
			t.Errorf("IsProvider(%q) = %v, want %v", argv0, got, want)
		}
	}
}

func TestMirrorRefuses(t *testing.T) {
	for _, binary := range []string{filepath.Join(t.TempDir(), "gone"), t.TempDir()} {
		if err := provider.Mirror(t.TempDir(), binary); err == nil || !strings.Contains(err.Error(), filepath.Base(binary)) {
			t.Errorf("Mirror of %s = %v, want an error that names it", binary, err)
		}
	}
}

// TestServeWithoutTerraform starts the binary by hand, as someone curious would.
func TestServeWithoutTerraform(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := provider.Mirror(dir, self); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "registry.*", "plumbline-dev", "toy", provider.Version, "*_*", "terraform-provider-toy_v*"))
	if err != nil || len(found) != 2 {
		t.Fatalf("the mirror holds %v, %v, want the provider for Terraform and for OpenTofu", found, err)
	}
	out, err := exec.CommandContext(t.Context(), found[0]).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), "plugin") {
		t.Errorf("the provider on its own: %v\n%s\nwant a failure that says that it is a plugin", err, out)
	}
}

const header = `
terraform {
  required_providers {
    toy = {
      source  = "plumbline-dev/toy"
      version = "1.0.0"
    }
  }
}
`

// world is a toy cloud and a Terraform configuration that works on it.
type world struct {
	t     *testing.T
	cloud *toycloud.Server
	dir   string
	env   []string
}

func newWorld(t *testing.T, opts toycloud.Options, main string) *world {
	t.Helper()
	cloud, err := toycloud.Serve(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	home := t.TempDir()
	mirror := filepath.Join(home, "a mirror") // a path with a space, as on some people's machines
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := provider.Mirror(mirror, self); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(home, "terraformrc")
	if err := os.WriteFile(config, []byte(provider.CLIConfig(mirror)), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cloud: cloud, dir: t.TempDir(), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(), "TF_CLI_CONFIG_FILE=" + config,
		"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0",
		"GORACE=atexit_sleep_ms=0", // else a provider under the race detector takes a second to end
		provider.EndpointVariable + "=" + cloud.URL, provider.TokenVariable + "=" + cloud.Token,
	}}
	w.write("main.tf", header+main)
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
}

func (w *world) read(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	w.must(err)
	return string(data)
}

// replace edits main.tf.
func (w *world) replace(old, with string) {
	w.t.Helper()
	main := w.read("main.tf")
	if !strings.Contains(main, old) {
		w.t.Fatalf("main.tf does not hold %s", old)
	}
	w.write("main.tf", strings.ReplaceAll(main, old, with))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run runs Terraform, after init if there was none yet.
func (w *world) run(args ...string) (string, error) {
	w.t.Helper()
	if _, err := os.Stat(filepath.Join(w.dir, ".terraform")); err != nil && args[0] != "init" {
		w.terraform("init", "-no-color")
	}
	cmd := exec.CommandContext(w.t.Context(), "terraform", args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	return string(out) + stderr.String(), err
}

func (w *world) terraform(args ...string) string {
	w.t.Helper()
	out, err := w.run(args...)
	if err != nil {
		w.t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (w *world) apply() string {
	w.t.Helper()
	return w.terraform("apply", "-auto-approve", "-no-color")
}

// fails checks that Terraform fails and says why. Terraform wraps lines and draws a frame; neither counts.
func (w *world) fails(step string, args []string, says ...string) string {
	w.t.Helper()
	out, err := w.run(slices.Insert(args, 1, "-no-color")...)
	if err == nil {
		w.t.Errorf("%s: terraform %s worked:\n%s", step, args[0], out)
	}
	flat := regexp.MustCompile(`[\s│╷╵]+`).ReplaceAllString(out, " ")
	for _, s := range says {
		if !strings.Contains(flat, s) {
			w.t.Errorf("%s: Terraform does not say %q:\n%s", step, s, out)
		}
	}
	return out
}

// plan is what Terraform would change, and what it says was changed outside: address and action, in order.
type plan struct{ changes, drift []string }

func (w *world) plan() plan {
	w.t.Helper()
	var p plan
	for line := range strings.Lines(w.terraform("plan", "-json")) {
		var message struct {
			Type   string
			Change struct {
				Action   string
				Resource struct{ Addr string }
			}
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			w.t.Fatalf("plan -json says %s: %v", line, err)
		}
		what := message.Change.Resource.Addr + " " + message.Change.Action
		switch message.Type {
		case "planned_change":
			p.changes = append(p.changes, what)
		case "resource_drift":
			p.drift = append(p.drift, what)
		}
	}
	slices.Sort(p.changes)
	slices.Sort(p.drift)
	return p
}

// expect plans and compares what would change.
func (w *world) expect(step string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.plan().changes); diff != "" {
		w.t.Errorf("%s: changes (-want +got):\n%s", step, diff)
	}
}
