package drift_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// TestMain lets the test binary be the providers that Terraform starts.
func TestMain(m *testing.M) {
	if serveLab() {
		return
	}
	if provider.IsProvider(os.Args[0]) {
		err := provider.Serve(context.Background(), provider.Options{
			Endpoint: os.Getenv(provider.EndpointVariable), Token: os.Getenv(provider.TokenVariable),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// bench is a workspace on a toy cloud and a lab, driven by a real Terraform.
type bench struct {
	t         *testing.T
	terraform string
	dir       string // of the root module
	lab       lab
	cloud     *toycloud.Server
	env       []string
	labAt     string // version of the lab in use
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cloud, err := toycloud.Serve(ctx, toycloud.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	mirror := t.TempDir()
	mirrorLab(t, mirror)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := provider.Mirror(mirror, binary); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, terraform: parts.Terraform(t), dir: filepath.Join(t.TempDir(), "workspace"), cloud: cloud, labAt: labVersions[0]}
	b.lab = lab{dir: t.TempDir(), version: b.labAt}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LAB_DIR=" + b.lab.dir,
		"TF_CLI_CONFIG_FILE=" + parts.MirrorConfig(t, mirror, parts.Mirror(t)), "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1",
		provider.EndpointVariable + "=" + cloud.URL, provider.TokenVariable + "=" + cloud.Token,
	}
	return b
}

// run runs Terraform and returns its standard output and whether it succeeded.
func (b *bench) run(args ...string) ([]byte, error) {
	cmd := exec.Command(b.terraform, args...)
	cmd.Dir, cmd.Env = b.dir, b.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("terraform %s: %w\n%s%s", strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

func (b *bench) must(args ...string) []byte {
	b.t.Helper()
	out, err := b.run(args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// write sets a file of the workspace.
func (b *bench) write(name, text string) {
	b.t.Helper()
	file := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// replace changes a text in a file of the workspace, as a commit does.
func (b *bench) replace(name, old, new string) {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		b.t.Fatalf("%s has no %q", name, old)
	}
	b.write(name, strings.ReplaceAll(string(data), old, new))
}

// remove deletes a file of the workspace.
func (b *bench) remove(name string) {
	b.t.Helper()
	if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
		b.t.Fatal(err)
	}
}

// init writes the providers block for the workspace's configuration and initialises it.
func (b *bench) init() {
	b.t.Helper()
	b.write("providers.tf", fmt.Sprintf(`terraform {
  required_providers {
    lab   = { source = "plumbline-dev/lab", version = %q }
    toy   = { source = "plumbline-dev/toy" }
    local = { source = "hashicorp/local" }
    time  = { source = "hashicorp/time" }
  }
}
`, b.labAt))
	b.must("init", "-input=false", "-no-color")
}

func (b *bench) apply(args ...string) {
	b.t.Helper()
	b.must(append([]string{"apply", "-auto-approve", "-input=false", "-no-color"}, args...)...)
}

// applyFails applies and wants that to fail.
func (b *bench) applyFails() {
	b.t.Helper()
	if out, err := b.run("apply", "-auto-approve", "-input=false", "-no-color"); err == nil {
		b.t.Fatalf("apply succeeded, but was to fail:\n%s", out)
	}
}

// upgradeLab goes over to the second version of the lab, as a floating version does: no file in Git changes.
func (b *bench) upgradeLab() {
	b.t.Helper()
	b.labAt = labVersions[1]
	b.remove(".terraform.lock.hcl")
	b.init()
}

// edit changes an object of the lab behind Terraform's back.
func (b *bench) edit(name string, change func(*stored)) {
	b.t.Helper()
	s, err := b.lab.read(name)
	if err != nil {
		b.t.Fatal(err)
	}
	change(&s)
	if err := b.lab.write(s); err != nil {
		b.t.Fatal(err)
	}
}

// lose deletes an object of the lab behind Terraform's back.
func (b *bench) lose(name string) {
	b.t.Helper()
	if err := os.Remove(b.lab.file(name)); err != nil {
		b.t.Fatal(err)
	}
}

// fact sets what a data source of the lab says.
func (b *bench) fact(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.lab.dir, "fact-"+name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// deny makes the lab refuse to finish creating, or to delete.
func (b *bench) deny(what string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.lab.dir, "deny-"+what), nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// ok fails the test on an error of the toy cloud.
func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// plan plans, and returns the plan's JSON.
func (b *bench) plan(args ...string) []byte {
	b.t.Helper()
	b.must(append([]string{"plan", "-out=plan.bin", "-input=false", "-no-color", "-lock=false"}, args...)...)
	return b.must("show", "-json", "plan.bin")
}

// facts are the facts of the workspace as it is. The versions in use do not count among the files here, so that they can
// change on their own.
func (b *bench) facts() drift.Facts {
	b.t.Helper()
	var state struct {
		Serial  uint64 `json:"serial"`
		Lineage string `json:"lineage"`
	}
	if pulled := b.must("state", "pull"); len(bytes.TrimSpace(pulled)) > 0 {
		if err := json.Unmarshal(pulled, &state); err != nil {
			b.t.Fatal(err)
		}
	}
	var version struct {
		Version   string            `json:"terraform_version"`
		Providers map[string]string `json:"provider_selections"`
	}
	if err := json.Unmarshal(b.must("version", "-json"), &version); err != nil {
		b.t.Fatal(err)
	}
	hash := sha256.New()
	err := filepath.WalkDir(b.dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".tf" || d.Name() == "providers.tf" {
			return err
		}
		data, err := os.ReadFile(file)
		fmt.Fprintf(hash, "%s %d %s", strings.TrimPrefix(file, b.dir), len(data), data)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return drift.Facts{
		InputsDigest: hex.EncodeToString(hash.Sum(nil)), Engine: "terraform", TerraformVersion: version.Version,
		Providers: version.Providers, Serial: state.Serial, Lineage: state.Lineage,
	}
}

// recording is one case of the corpus on disk: what Terraform really said.
type recording struct {
	Baseline  *drift.Facts    `json:"baseline"`
	Current   drift.Facts     `json:"current"`
	Perpetual []string        `json:"perpetual,omitempty"`
	Plan      json.RawMessage `json:"plan"`
	// Newer is the plan of files that are newer than the applied ones, of which Plan then is.
	Newer      json.RawMessage `json:"newer,omitempty"`
	NewerFacts drift.Facts     `json:"newer_facts,omitzero"`
}

// record plays a case and returns what came of it.
func (b *bench) record(e example) recording {
	b.t.Helper()
	for name, text := range e.files {
		b.write(name, text)
	}
	b.write("main.tf", e.config)
	if e.before != nil {
		e.before(b)
	}
	b.init()
	if e.applyFails {
		b.applyFails()
	} else {
		b.apply()
	}
	baseline := b.facts()
	r := recording{Baseline: &baseline}
	if e.noise {
		for _, f := range drift.Find(drift.Input{Plan: decode(b.t, b.plan()), Baseline: &baseline, Current: b.facts()}) {
			r.Perpetual = append(r.Perpetual, f.Key)
		}
	}
	if e.then != nil {
		e.then(b)
	}
	r.Current = b.facts()
	if e.facts != nil {
		e.facts(&r)
	}
	r.Plan = b.plan(e.args...)
	if e.git != nil {
		before := b.sources()
		e.git(b)
		b.init()
		r.NewerFacts, r.Newer = b.facts(), b.plan(e.args...)
		for name := range b.sources() {
			b.remove(name)
		}
		for name, text := range before {
			b.write(name, text)
		}
		b.init()
	}
	return r
}

// sources are the workspace's files by name.
func (b *bench) sources() map[string]string {
	b.t.Helper()
	names, err := filepath.Glob(filepath.Join(b.dir, "*.tf"))
	b.ok(err)
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		b.ok(err)
		files[filepath.Base(name)] = string(text)
	}
	return files
}

// judge finds and decides as a sweep does.
func (r recording) judge(t testing.TB, e example) drift.Verdict {
	t.Helper()
	in := r.input(t)
	found := drift.Find(in)
	policy := everything
	policy.Stopped = map[string]string{}
	for _, f := range found {
		if why := (drift.Fight{After: 3, Within: 24 * time.Hour}).Stops(e.corrected[f.Address], now); why != "" {
			policy.Stopped[f.Key] = why
		}
	}
	if r.Newer == nil {
		return drift.Decide(found, policy, now)
	}
	in.Plan, in.Current = decode(t, r.Newer), r.NewerFacts
	here, ahead := drift.Ahead(found, drift.Find(in), "")
	return drift.Decide(here, policy, now).Beside(drift.Decide(ahead, policy, now))
}

func decode(t testing.TB, data []byte) *tfjson.Plan {
	t.Helper()
	plan := new(tfjson.Plan)
	if err := json.Unmarshal(data, plan); err != nil {
		t.Fatal(err)
	}
	return plan
}

// corpusFile is where a case is recorded.
func corpusFile(name string) string {
	return filepath.Join("testdata", "corpus", strings.ReplaceAll(name, " ", "_")+".json")
}

func load(t testing.TB, name string) recording {
	t.Helper()
	data, err := os.ReadFile(corpusFile(name))
	if err != nil {
		t.Fatalf("%v (record it: go test ./drift -run TestCorpus -update)", err)
	}
	var r recording
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r recording) input(t testing.TB) drift.Input {
	return drift.Input{Plan: decode(t, r.Plan), Baseline: r.Baseline, Current: r.Current, Perpetual: r.Perpetual}
}

func (r recording) save(t *testing.T, name string) {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out.Bytes(), []byte(os.TempDir()+"/")) || runtime.GOOS == "windows" {
		t.Fatalf("%s: the plan holds a path of this machine", name)
	}
	if err := os.MkdirAll(filepath.Dir(corpusFile(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(corpusFile(name), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// line writes a finding as the corpus expects it: address class cause action, then the attributes that have a cause of
// their own.
func line(j drift.Judged) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s", j.Address, j.Class, j.Cause, strings.Join(j.Actions, "+"))
	byCause := map[drift.Cause][]string{}
	for _, a := range j.Attributes {
		if !a.Consequence {
			byCause[a.Cause] = append(byCause[a.Cause], a.Path)
		}
	}
	for _, cause := range slices.Sorted(maps.Keys(byCause)) {
		fmt.Fprintf(&b, " %s(%s)", cause, strings.Join(byCause[cause], " "))
	}
	if len(j.Follows) > 0 {
		fmt.Fprintf(&b, " follows(%s)", strings.Join(j.Follows, " "))
	}
	return b.String()
}
