package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// newCloudCheckout is a checkout on a toy cloud of its own.
func newCloudCheckout(t *testing.T, files map[string]string) (*testCheckout, *toycloud.Server) {
	t.Helper()
	cloud, err := toycloud.Serve(t.Context(), toycloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := provider.Mirror(filepath.Join(dir, "mirror"), self); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "terraform.rc")
	if err := os.WriteFile(config, []byte(provider.CLIConfig(filepath.Join(dir, "mirror"))), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newTestCheckout(t, files)
	c.environ = append(c.environ,
		"TF_CLI_CONFIG_FILE="+config,
		provider.EndpointVariable+"="+cloud.URL,
		provider.TokenVariable+"="+cloud.Token,
	)
	return c, cloud
}

const toyProvider = `
terraform {
  required_providers {
    toy = { source = "plumbline-dev/toy" }
  }
}
provider "toy" {}
`

type sweep []struct {
	Status string
	Drift  struct {
		Findings []struct {
			Address, Class, Cause string
			Allowed               bool
			Reason                string
		}
		Corrected []string
		Refused   string
		Remaining int
	}
}

func (c *testCheckout) sweep(want int, args ...string) sweep {
	c.t.Helper()
	out := c.run(want, append([]string{"drift", "--json"}, args...)...)
	// Progress goes to standard error, which this test mixes in.
	out = out[strings.Index(out, "[\n"):]
	var s sweep
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// TestNoiseIsCorrectedOnceAtMost runs against a cloud whose API gives back
// something else than it was given: what comes back right after a correction is
// noise, is remembered as such, and is left alone from then on.
func TestNoiseIsCorrectedOnceAtMost(t *testing.T) {
	t.Parallel()
	c, cloud := newCloudCheckout(t, map[string]string{
		"plumbline.yaml": "version: 1\ndefaults:\n  env: [\"TOY_*\"]\n  drift:\n    correct: { resource: update }\n",
		"main.tf": toyProvider + `
resource "toy_bucket" "logs" {
  name   = "logs"
  policy = jsonencode({ read = ["auditors"] })
}
`})
	if err := cloud.SetBehaviour(toycloud.Behaviour{Normalise: true}); err != nil {
		t.Fatal(err)
	}
	c.run(exitChanges, "plan")
	c.run(exitOK, "apply")
	c.sweep(exitChanges, "--correct")
	updates := cloud.Counters().Kinds[toycloud.Buckets].Updates
	if updates > 1 {
		t.Errorf("%d updates by one sweep, want at most 1", updates)
	}
	for range 2 {
		s := c.sweep(exitChanges, "--correct")
		if f := s[0].Drift.Findings; len(f) != 1 || f[0].Cause != "perpetual" || f[0].Allowed {
			t.Errorf("findings %+v, want one that is perpetual and held", f)
		}
	}
	if got := cloud.Counters().Kinds[toycloud.Buckets].Updates; got != updates {
		t.Errorf("noise was corrected again: %d updates, then %d", updates, got)
	}
}

// TestClusterIsNeverTouchedUnasked holds what correction may do to what the
// ladder of each class says, and counts in the cloud what was really done.
func TestClusterIsNeverTouchedUnasked(t *testing.T) {
	t.Parallel()
	c, cloud := newCloudCheckout(t, map[string]string{
		"plumbline.yaml": "version: 1\ndefaults:\n  env: [\"TOY_*\"]\n  drift:\n    correct: { cluster: never, node: create }\n",
		"main.tf": toyProvider + `
resource "toy_network" "main" {
  name = "main"
  cidr = "10.0.0.0/16"
}
resource "toy_cluster" "main" {
  name    = "main"
  network = toy_network.main.name
  version = "1.33"
}
resource "toy_node" "web" {
  for_each = toset(["web-1", "web-2"])
  cluster  = toy_cluster.main.id
  name     = each.key
  size     = "small"
}
resource "toy_bucket" "logs" {
  name       = "logs"
  versioning = true
}
`})
	c.run(exitChanges, "plan")
	c.run(exitOK, "apply")
	for _, err := range []error{
		cloud.EditCluster("main", func(o *toycloud.Cluster) { o.Version = "1.32" }),
		cloud.EditNode("web-2", func(o *toycloud.Node) { o.Labels = map[string]string{"by": "hand"} }),
		cloud.EditBucket("logs", func(o *toycloud.Bucket) { o.Versioning = false }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cloud.ResetCounters()
	c.sweep(exitChanges, "--correct")
	for kind, n := range cloud.Counters().Kinds {
		if n.Creates+n.Updates+n.Deletes > 0 {
			t.Errorf("%s: %+v, although no ladder allows it", kind, n)
		}
	}
	// The flag serves the class that plumbline.yaml does not name, and raises no other.
	s := c.sweep(exitChanges, "--correct", "update")
	if got := strings.Join(s[0].Drift.Corrected, " "); got != "toy_bucket.logs" {
		t.Errorf("corrected %q, want the bucket alone: %+v", got, s[0].Drift)
	}
	counters := cloud.Counters().Kinds
	if counters[toycloud.Buckets].Updates != 1 || counters[toycloud.Clusters].Updates != 0 || counters[toycloud.Nodes].Updates != 0 {
		t.Errorf("counters %+v, want one update of a bucket and nothing else", counters)
	}
	for _, f := range s[0].Drift.Findings {
		if f.Cause != "outside" {
			t.Errorf("%s has the cause %s, want outside", f.Address, f.Cause)
		}
	}
}
