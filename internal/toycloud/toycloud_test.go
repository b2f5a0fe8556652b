package toycloud_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

func TestLifeOfObjects(t *testing.T) {
	c := start(t, toycloud.Options{})
	network := c.create("networks", `{"name":"main","cidr":"10.0.0.0/16"}`)
	cluster := c.create("clusters", `{"name":"prod","network":"main","version":"1.33"}`)
	node := c.create("nodes", fmt.Sprintf(`{"name":"web-1","cluster":%q,"size":"small"}`, cluster))
	bucket := c.create("buckets", `{"name":"logs","tags":{"a":"b"},"policy":"{\"x\": 1}"}`)
	for prefix, id := range map[string]string{"network-": network, "cluster-": cluster, "node-": node, "bucket-": bucket} {
		if !strings.HasPrefix(id, prefix) {
			t.Errorf("id %q does not begin with %q", id, prefix)
		}
	}

	var b toycloud.Bucket
	c.must(http.MethodGet, "/v1/buckets/"+bucket, "", &b)
	if b.Policy != `{"x": 1}` || b.ETag == "" || b.AccessKey == "" || b.Tags["a"] != "b" {
		t.Errorf("bucket reads back as %+v", b)
	}
	etag := b.ETag
	c.must(http.MethodPut, "/v1/buckets/"+bucket, `{"name":"logs","versioning":true}`, &b)
	if !b.Versioning || b.ETag == etag || b.Policy != "" {
		t.Errorf("updated bucket is %+v, want versioning, another etag, and no policy", b)
	}
	var n toycloud.Node
	c.must(http.MethodPut, "/v1/nodes/"+node, fmt.Sprintf(`{"cluster":%q,"size":"small","labels":{"a":"b"}}`, cluster), &n)
	if n.Labels["a"] != "b" || n.Pool != "default" || n.Name != "web-1" || n.Address == "" {
		t.Errorf("updated node is %+v", n)
	}

	var found struct{ Items []toycloud.Node }
	for query, want := range map[string]int{"": 1, "?name=web-1": 1, "?name=web-2": 0, "?cluster=prod": 1, "?cluster=" + cluster: 1, "?cluster=other": 0} {
		c.must(http.MethodGet, "/v1/nodes"+query, "", &found)
		if len(found.Items) != want {
			t.Errorf("GET /v1/nodes%s finds %d, want %d", query, len(found.Items), want)
		}
	}

	for _, path := range []string{"/v1/nodes/" + node, "/v1/clusters/" + cluster, "/v1/networks/" + network, "/v1/buckets/" + bucket} {
		c.must(http.MethodDelete, path, "", nil)
		c.refused(http.MethodGet, path, "", http.StatusNotFound, "there is no")
		c.refused(http.MethodDelete, path, "", http.StatusNotFound, "there is no")
	}
	want := map[toycloud.Kind]toycloud.Counts{
		toycloud.Networks: {Creates: 1, Deletes: 1},
		toycloud.Clusters: {Creates: 1, Deletes: 1},
		toycloud.Nodes:    {Creates: 1, Updates: 1, Lists: 6, Deletes: 1},
		toycloud.Buckets:  {Creates: 1, Reads: 1, Updates: 1, Deletes: 1},
	}
	if diff := cmp.Diff(want, c.Counters().Kinds); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	if got, want := c.Counters().Objects[bucket], (toycloud.Counts{Creates: 1, Reads: 1, Updates: 1, Deletes: 1}); got != want {
		t.Errorf("counts of the bucket = %+v, want %+v", got, want)
	}
}

func TestRefusals(t *testing.T) {
	c := start(t, toycloud.Options{})
	c.create("networks", `{"name":"main","cidr":"10.0.0.0/16"}`)
	cluster := c.create("clusters", `{"name":"prod","network":"main","version":"1"}`)
	node := c.create("nodes", `{"name":"web-1","cluster":"prod","size":"small"}`)
	bucket := c.create("buckets", `{"name":"logs"}`)
	network := c.Snapshot().Networks[0].ID
	before := c.Snapshot()

	for _, r := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/v1/networks", `{"name":"main","cidr":"10.1.0.0/16"}`, 409, "already a network named \"main\""},
		{"POST", "/v1/networks", `{"name":"x","cidr":"10.0.0.1/16"}`, 422, "did you mean 10.0.0.0/16?"},
		{"POST", "/v1/networks", `{"name":"x","cidr":"lots"}`, 422, "no range of addresses"},
		{"POST", "/v1/networks", `{"name":"No Name","cidr":"10.0.0.0/16"}`, 422, "is no name"},
		{"POST", "/v1/clusters", `{"name":"x","network":"nowhere","version":"1"}`, 422, "create it first"},
		{"POST", "/v1/clusters", `{"name":"x","network":"main"}`, 422, "needs a version"},
		{"POST", "/v1/clusters", `{"name":"x","network":"main","version":"1","size":-1}`, 422, "1 to 1000"},
		{"POST", "/v1/nodes", `{"name":"x","cluster":"prod","size":"huge"}`, 422, "small, medium or large"},
		{"POST", "/v1/nodes", `{"name":"x","cluster":"prod","size":"small","image":"nix@1"}`, 422, "no image"},
		{"POST", "/v1/nodes", `{"name":"web-1","cluster":"` + cluster + `","size":"small"}`, 409, "already a node"},
		{"POST", "/v1/buckets", `{"name":"x","policy":"{"}`, 422, "jsonencode"},
		{"POST", "/v1/buckets", `{"name":"x","colour":"red"}`, 400, "colour"},
		{"POST", "/v1/buckets", `{"name":`, 400, "read the request"},
		{"POST", "/v1/buckets", `{"name":"x"} {}`, 400, "more than one"},
		{"POST", "/v1/buckets", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 400, "too large"},
		{"POST", "/v1/images", `{"name":"x"}`, 405, "only be read"},
		{"POST", "/v1/rockets", `{"name":"x"}`, 404, "no kind"},
		{"PATCH", "/v1/buckets/" + bucket, `{}`, 404, "nothing at"},
		{"GET", "/", ``, 404, "begin with /v1/clusters"},
		{"PUT", "/v1/nodes/" + node, `{"cluster":"prod","size":"large"}`, 422, "size of a node cannot change"},
		{"PUT", "/v1/buckets/" + bucket, `{"name":"other"}`, 422, "name of a bucket cannot change"},
		{"PUT", "/v1/buckets/bucket-0", `{}`, 404, "there is no bucket"},
		{"DELETE", "/v1/clusters/" + cluster, ``, 409, "still has 1 nodes, such as \"web-1\""},
		{"DELETE", "/v1/networks/" + network, ``, 409, "delete them first"},
	} {
		c.refused(r.method, r.path, r.body, r.status, r.says)
	}
	if diff := cmp.Diff(before, c.Snapshot()); diff != "" {
		t.Errorf("refused requests changed something (-before +after):\n%s", diff)
	}
}

func TestTokens(t *testing.T) {
	c := start(t, toycloud.Options{Token: "write", ReadToken: "read", AdminToken: "admin"})
	for _, r := range []struct {
		token, method, path string
		want                int
	}{
		{"write", "GET", "/v1/buckets", 200},
		{"write", "POST", "/v1/buckets", 200},
		{"read", "GET", "/v1/buckets", 200},
		{"read", "POST", "/v1/buckets", 403},
		{"admin", "GET", "/v1/buckets", 401},
		{"", "GET", "/v1/buckets", 401},
		{"wrong", "POST", "/v1/buckets", 401},
		{"admin", "GET", "/admin/snapshot", 200},
		{"write", "GET", "/admin/snapshot", 401},
		{"", "GET", "/admin/snapshot", 401},
	} {
		if got, body := c.send(r.token, r.method, r.path, `{"name":"logs"}`); got != r.want {
			t.Errorf("%s %s with token %q = %d %s, want %d", r.method, r.path, r.token, got, body, r.want)
		}
	}
	if got := c.Counters().Kinds[toycloud.Buckets].Creates; got != 1 {
		t.Errorf("%d buckets were created, want 1", got)
	}
}

// TestSameSeedSameCloud builds the same things in two orders: ids, keys and faults may depend on neither.
func TestSameSeedSameCloud(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	behaviour := toycloud.Behaviour{Rules: []toycloud.Rule{{Verb: toycloud.Create, Fault: toycloud.FaultError, Rate: 0.5}}}
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	build := func(seed uint64, names []string) (toycloud.Snapshot, map[string]int) {
		c := start(t, toycloud.Options{Seed: seed, Now: now, Behaviour: behaviour})
		attempts := map[string]int{}
		for _, name := range names {
			for status := 0; status != 200; attempts[name]++ {
				status, _ = c.send(c.Token, "POST", "/v1/buckets", fmt.Sprintf(`{"name":%q}`, name))
			}
		}
		return c.Snapshot(), attempts
	}
	first, firstAttempts := build(1, names)
	slices.Reverse(names)
	second, secondAttempts := build(1, names)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the order of requests shows (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(firstAttempts, secondAttempts); diff != "" {
		t.Errorf("faults depend on the order of requests (-first +second):\n%s", diff)
	}
	if other, _ := build(2, names); other.Buckets[0].ID == first.Buckets[0].ID || other.Buckets[0].AccessKey == first.Buckets[0].AccessKey {
		t.Errorf("another seed makes the same bucket %+v", other.Buckets[0])
	}
}

func TestRecreatedObjectHasAnotherID(t *testing.T) {
	c := start(t, toycloud.Options{})
	first := c.create("buckets", `{"name":"logs"}`)
	snap := c.Snapshot()
	c.must("DELETE", "/v1/buckets/"+first, "", nil)
	second := c.create("buckets", `{"name":"logs"}`)
	if first == second {
		t.Errorf("the bucket came back with the id %s that it had before", first)
	}
	if err := c.Restore(snap); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(snap, c.Snapshot()); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	c.must("GET", "/v1/buckets/"+first, "", nil)
	c.refused("GET", "/v1/buckets/"+second, "", 404, "there is no bucket")
}

func TestRestoreRefusesWhatDoesNotFit(t *testing.T) {
	c := start(t, toycloud.Options{})
	c.create("buckets", `{"name":"logs"}`)
	before := c.Snapshot()
	bucket := toycloud.Bucket{Meta: toycloud.Meta{ID: "b", Name: "x"}}
	for says, snap := range map[string]toycloud.Snapshot{
		"create it first": {Nodes: []toycloud.Node{{Meta: toycloud.Meta{ID: "n", Name: "n"}, Cluster: "gone", Size: "small"}}},
		"is no name":      {Buckets: []toycloud.Bucket{{Meta: toycloud.Meta{ID: "b"}}}},
		"already a":       {Buckets: []toycloud.Bucket{bucket, bucket}},
		"the id b":        {Buckets: []toycloud.Bucket{bucket, {Meta: toycloud.Meta{ID: "b", Name: "y"}}}},
		"it has none":     {Buckets: []toycloud.Bucket{{Meta: toycloud.Meta{Name: "x"}}}},
	} {
		if err := c.Restore(snap); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Restore = %v, want an error that says %q", err, says)
		}
	}
	if diff := cmp.Diff(before, c.Snapshot()); diff != "" {
		t.Errorf("a refused snapshot changed something (-before +after):\n%s", diff)
	}
}

func TestBehindTerraformsBack(t *testing.T) {
	c := start(t, toycloud.Options{})
	for _, o := range []toycloud.Object{
		&toycloud.Network{Meta: toycloud.Meta{Name: "main"}, CIDR: "10.0.0.0/16"},
		&toycloud.Cluster{Meta: toycloud.Meta{Name: "one"}, Network: "main", Version: "1"},
		&toycloud.Cluster{Meta: toycloud.Meta{Name: "two"}, Network: "main", Version: "1"},
		&toycloud.Node{Meta: toycloud.Meta{Name: "web"}, Cluster: "one", Size: "small"},
		&toycloud.Node{Meta: toycloud.Meta{Name: "web"}, Cluster: "two", Size: "small"},
		&toycloud.Node{Meta: toycloud.Meta{Name: "db"}, Cluster: "two", Size: "small"},
		&toycloud.Bucket{Meta: toycloud.Meta{Name: "logs"}, Tags: map[string]string{"a": "1", "b": "2"}},
	} {
		if _, err := c.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Add(&toycloud.Bucket{Meta: toycloud.Meta{Name: "logs"}}); err == nil {
		t.Error("a second bucket of one name was added")
	}
	if err := c.Delete(toycloud.Nodes, "web"); err == nil || !strings.Contains(err.Error(), "say which by its id") {
		t.Errorf("deleting one of two nodes named web = %v, want a question which", err)
	}
	if err := c.Delete(toycloud.Nodes, "gone"); err == nil {
		t.Error("a node that is not there was deleted")
	}
	if err := c.EditNode("db", func(n *toycloud.Node) { n.Size, n.Name = "large", "other" }); err != nil {
		t.Error(err)
	}
	if err := c.EditNode("db", func(n *toycloud.Node) { n.Cluster = "one" }); err == nil {
		t.Error("a node moved to another cluster")
	}
	if err := c.EditCluster("one", func(x *toycloud.Cluster) { x.Version = "" }); err == nil {
		t.Error("a cluster lost its version")
	}
	if err := c.EditNetwork("main", func(n *toycloud.Network) { n.CIDR = "10.1.0.0/16" }); err != nil {
		t.Error(err)
	}
	if err := c.EditImage("debian", func(i *toycloud.Image) { i.Release = "13.0" }); err != nil {
		t.Error(err)
	}
	if err := c.EditBucket("logs", func(b *toycloud.Bucket) { b.Tags["c"] = "3" }); err != nil {
		t.Error(err)
	}
	admin := func(method, path, body string) {
		t.Helper()
		if status, answer := c.send(c.AdminToken, method, path, body); status != 200 {
			t.Errorf("%s %s = %d %s", method, path, status, answer)
		}
	}
	admin("PATCH", "/admin/buckets/logs", `{"versioning":true,"tags":{"a":null,"d":"4"}}`)
	admin("POST", "/admin/buckets", `{"name":"found"}`)
	admin("DELETE", "/admin/clusters/one", "")

	snap := c.Snapshot()
	if len(snap.Clusters) != 1 || len(snap.Nodes) != 2 {
		t.Errorf("left are %d clusters and %d nodes, want 1 and 2: a cluster takes its nodes along", len(snap.Clusters), len(snap.Nodes))
	}
	for _, n := range snap.Nodes {
		if n.Name == "db" && n.Size != "large" {
			t.Errorf("edited node is %+v", n)
		}
	}
	i := slices.IndexFunc(snap.Buckets, func(b toycloud.Bucket) bool { return b.Name == "logs" })
	if diff := cmp.Diff(map[string]string{"b": "2", "c": "3", "d": "4"}, snap.Buckets[i].Tags); diff != "" || !snap.Buckets[i].Versioning {
		t.Errorf("edited bucket is %+v (tags -want +got):\n%s", snap.Buckets[i], diff)
	}
	if got := snap.Images[slices.IndexFunc(snap.Images, func(i toycloud.Image) bool { return i.Name == "debian" })].Reference; got != "debian@13.0" {
		t.Errorf("reference of the edited image = %q", got)
	}
	if got := c.Counters(); got.Requests != 0 || len(got.Kinds) != 0 {
		t.Errorf("counters = %+v: what happens outside must not count", got)
	}
	events := c.Events(0)
	last := events[len(events)-1]
	if last.Actor != "admin" || last.Verb != toycloud.Delete || last.Name != "one" || last.Number != len(events) {
		t.Errorf("last event = %+v, want the deletion of the cluster", last)
	}
	if got := c.Events(last.Number - 1); len(got) != 1 || got[0] != last {
		t.Errorf("Events(%d) = %+v, want the last one", last.Number-1, got)
	}
	if got := c.Events(last.Number + 5); len(got) != 0 {
		t.Errorf("Events of the future = %+v", got)
	}
}

func TestFaults(t *testing.T) {
	for _, f := range []struct {
		fault   toycloud.Fault
		status  int // 0: no whole answer
		created bool
	}{
		{toycloud.FaultError, 500, false},
		{toycloud.FaultReveal, 400, false},
		{toycloud.FaultThrottle, 429, false},
		{toycloud.FaultDrop, 0, false},
		{toycloud.FaultLost, 0, true},
		{toycloud.FaultHalf, 0, true},
	} {
		t.Run(string(f.fault), func(t *testing.T) {
			c := start(t, toycloud.Options{Behaviour: toycloud.Behaviour{Rules: []toycloud.Rule{
				{Verb: toycloud.Create, Kind: toycloud.Buckets, Object: "logs", Fault: f.fault, Next: 1},
			}}})
			c.create("buckets", `{"name":"untouched"}`)
			status, body := c.send(c.Token, "POST", "/v1/buckets", `{"name":"logs"}`)
			if status != f.status {
				t.Errorf("the struck request is answered with %d %s, want %d", status, body, f.status)
			}
			if reveals := strings.Contains(string(body), c.Token) && strings.Contains(string(body), `\"name\":\"logs\"`); reveals != (f.fault == toycloud.FaultReveal) {
				t.Errorf("the answer repeats what was sent: %v: %s", reveals, body)
			}
			if got := len(c.Snapshot().Buckets) == 2; got != f.created {
				t.Errorf("bucket created: %v, want %v", got, f.created)
			}
			// Asking again with the same key does it once, and answers as if it were the first time.
			c.create("buckets", `{"name":"logs"}`)
			n := c.Counters()
			if n.Kinds[toycloud.Buckets].Creates != 2 || n.Throttled+n.Faults != 1 || (n.Replays == 1) != f.created {
				t.Errorf("counters = %+v", n)
			}
			i := slices.IndexFunc(c.Events(0), func(e toycloud.Event) bool { return e.Fault == f.fault && e.Name == "logs" })
			if i < 0 {
				t.Errorf("no event tells of the fault: %+v", c.Events(0))
			}
			if left := c.Behaviour().Rules[0].Next; left != 0 {
				t.Errorf("%d strikes are left, want 0", left)
			}
		})
	}
}

func TestRateIsAShare(t *testing.T) {
	c := start(t, toycloud.Options{Behaviour: toycloud.Behaviour{Rules: []toycloud.Rule{
		{Verb: toycloud.List, Fault: toycloud.FaultError, Rate: 0.3},
	}}})
	failed := 0
	for range 1000 {
		if status, _ := c.send(c.Token, "GET", "/v1/buckets", ""); status == 500 {
			failed++
		}
	}
	if failed < 240 || failed > 360 {
		t.Errorf("%d of 1000 requests failed, want about 300", failed)
	}
}

func TestThrottling(t *testing.T) {
	clock := newClock()
	c := start(t, toycloud.Options{Now: clock.now, Behaviour: toycloud.Behaviour{RequestsPerSecond: 2, Burst: 3}})
	statuses := func(n int) (got []int) {
		for range n {
			status, _ := c.send(c.Token, "GET", "/v1/buckets", "")
			got = append(got, status)
		}
		return got
	}
	if diff := cmp.Diff([]int{200, 200, 200, 429, 429}, statuses(5)); diff != "" {
		t.Errorf("a burst of five (-want +got):\n%s", diff)
	}
	req, err := http.NewRequest("GET", c.URL+"/v1/buckets", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if s, ms := resp.Header.Get("Retry-After"), resp.Header.Get("Retry-After-Ms"); s != "1" || ms != "500" {
		t.Errorf("Retry-After = %q, Retry-After-Ms = %q, want 1 and 500", s, ms)
	}
	clock.add(time.Second)
	if diff := cmp.Diff([]int{200, 200, 429}, statuses(3)); diff != "" {
		t.Errorf("a second later (-want +got):\n%s", diff)
	}
	if got := c.Counters().Throttled; got != 4 {
		t.Errorf("throttled = %d, want 4", got)
	}
}

func TestAutoscalerFightsBack(t *testing.T) {
	clock := newClock()
	c := start(t, toycloud.Options{Now: clock.now, Behaviour: toycloud.Behaviour{Autoscalers: []toycloud.Autoscaler{
		{Cluster: "prod", Size: 7, Labels: map[string]string{"scaled": "yes"}, Delay: time.Minute},
	}}})
	c.create("networks", `{"name":"main","cidr":"10.0.0.0/16"}`)
	cluster := c.create("clusters", `{"name":"prod","network":"main","version":"1"}`)
	other := c.create("clusters", `{"name":"calm","network":"main","version":"1"}`)
	c.create("nodes", `{"name":"a","cluster":"prod","size":"small","labels":{"own":"1"}}`)
	size := func(id string) int {
		t.Helper()
		var got toycloud.Cluster
		c.must("GET", "/v1/clusters/"+id, "", &got)
		return got.Size
	}
	for round := range 2 {
		var put toycloud.Cluster
		c.must("PUT", "/v1/clusters/"+cluster, `{"network":"main","version":"1","size":2}`, &put)
		if put.Size != 2 || size(cluster) != 2 {
			t.Errorf("round %d: the answer says %d, and reading %d, before the delay is over", round, put.Size, size(cluster))
		}
		clock.add(time.Minute)
		if got := size(cluster); got != 7 {
			t.Errorf("round %d: size = %d after the delay, want 7", round, got)
		}
	}
	if got := size(other); got != 3 {
		t.Errorf("the other cluster has size %d, want 3", got)
	}
	if diff := cmp.Diff(map[string]string{"own": "1", "scaled": "yes"}, c.Snapshot().Nodes[0].Labels); diff != "" {
		t.Errorf("labels of the node (-want +got):\n%s", diff)
	}
	var fought []string
	for _, e := range c.Events(0) {
		if e.Actor == "autoscaler" {
			fought = append(fought, e.Name+" "+e.Detail)
		}
	}
	if diff := cmp.Diff([]string{"prod size", "a labels", "prod size"}, fought); diff != "" {
		t.Errorf("what the autoscaler did (-want +got):\n%s", diff)
	}
}

func TestNormalise(t *testing.T) {
	c := start(t, toycloud.Options{Behaviour: toycloud.Behaviour{Normalise: true}})
	for policy, want := range map[string]string{
		`{"b": 1, "a": 2}`:                 `{"a":2,"b":1,"version":"2024-01-01"}`,
		`{"a":2,"version":"mine"}`:         `{"a":2,"version":"mine"}`,
		`["not an object"]`:                `["not an object"]`,
		"":                                 "",
		`{"version":"2024-01-01","a":[1]}`: `{"a":[1],"version":"2024-01-01"}`,
	} {
		name := fmt.Sprintf("b%x", policy)[:min(60, 1+2*len(policy))]
		body, err := json.Marshal(map[string]string{"name": name, "policy": policy})
		if err != nil {
			t.Fatal(err)
		}
		var got toycloud.Bucket
		c.must("GET", "/v1/buckets/"+c.create("buckets", string(body)), "", &got)
		if got.Policy != want {
			t.Errorf("policy %s reads back as %s, want %s", policy, got.Policy, want)
		}
	}
}

// TestLatency proves that latency delays what is done, not only the answer, and that closing
// does not wait for it.
func TestLatency(t *testing.T) {
	c := start(t, toycloud.Options{Behaviour: toycloud.Behaviour{Rules: []toycloud.Rule{
		{Verb: toycloud.Create, Latency: time.Hour},
	}}})
	answered := make(chan int)
	go func() {
		status, _ := c.send(c.Token, "POST", "/v1/buckets", `{"name":"slow"}`)
		answered <- status
	}()
	for c.Counters().Requests == 0 { // until it has arrived
		time.Sleep(time.Millisecond)
	}
	if status, _ := c.send(c.Token, "GET", "/v1/buckets", ""); status != 200 {
		t.Errorf("a request without latency is answered with %d", status)
	}
	if got := len(c.Snapshot().Buckets); got != 0 {
		t.Errorf("%d buckets exist while the creation is still under way", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if status := <-answered; status != 0 {
		t.Errorf("the slow request is answered with %d by a closed cloud", status)
	}
	if got := len(c.Snapshot().Buckets); got != 0 {
		t.Errorf("%d buckets exist after closing", got)
	}
}

// TestGivenUpRequestIsCarriedOut is why interrupted applies are dangerous: the cloud does not care who listens.
func TestGivenUpRequestIsCarriedOut(t *testing.T) {
	c := start(t, toycloud.Options{Behaviour: toycloud.Behaviour{Rules: []toycloud.Rule{
		{Verb: toycloud.Create, Latency: 2 * time.Second}, // the caller is gone long before
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", c.URL+"/v1/buckets", strings.NewReader(`{"name":"logs"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	gone := make(chan error)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	for c.Counters().Requests == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller got %v, want that it was cancelled", err)
	}
	for len(c.Snapshot().Buckets) == 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestBehaviourIsChecked(t *testing.T) {
	c := start(t, toycloud.Options{})
	for body, says := range map[string]string{
		`{"rules":[{"verb":"destroy"}]}`:                  `rule 1: no verb "destroy"`,
		`{"rules":[{},{"kind":"rockets"}]}`:               `rule 2: no kind "rockets"`,
		`{"rules":[{"fault":"boom","next":1}]}`:           `no fault "boom"`,
		`{"rules":[{"fault":"error"}]}`:                   "would never strike",
		`{"rules":[{"rate":1}]}`:                          "need a fault",
		`{"rules":[{"fault":"error","rate":2}]}`:          "from 0 to 1",
		`{"rules":[{"latency":"fast"}]}`:                  "is no duration",
		`{"rules":[{"latency":"-1s"}]}`:                   "cannot be negative",
		`{"rules":[{"latencies":"1s"}]}`:                  "latencies",
		`{"requests_per_second":-1}`:                      "cannot be negative",
		`{"autoscalers":[{}]}`:                            "wants nothing",
		`{"autoscalers":[{"size":1,"delay":"tomorrow"}]}`: "is no duration",
		`{"autoscalers":[{"size":-1}]}`:                   "1 to 1000",
	} {
		if status, answer := c.send(c.AdminToken, "PUT", "/admin/behaviour", body); status != 400 || !strings.Contains(readReason(t, answer), says) {
			t.Errorf("PUT %s = %d %s, want 400 and %q", body, status, answer, says)
		}
	}
	if got := c.Behaviour(); !cmp.Equal(got, toycloud.Behaviour{}) {
		t.Errorf("refused behaviour stuck: %+v", got)
	}
	want := toycloud.Behaviour{
		Rules: []toycloud.Rule{{Verb: toycloud.Read, Kind: toycloud.Nodes, Object: "a", Latency: 150 * time.Millisecond,
			Jitter: time.Second, Fault: toycloud.FaultThrottle, Next: 2, Rate: 0.5, RetryAfter: 3 * time.Second}},
		RequestsPerSecond: 5, Burst: 6, Normalise: true,
		Autoscalers: []toycloud.Autoscaler{{Cluster: "x", Size: 1, Labels: map[string]string{"a": "b"}, Delay: time.Minute}},
	}
	if err := c.SetBehaviour(want); err != nil {
		t.Fatal(err)
	}
	_, text := c.send(c.AdminToken, "GET", "/admin/behaviour", "")
	if !bytes.Contains(text, []byte(`"latency":"150ms"`)) {
		t.Errorf("behaviour in JSON = %s, want durations that people can read", text)
	}
	if err := c.SetBehaviour(toycloud.Behaviour{}); err != nil {
		t.Fatal(err)
	}
	if status, answer := c.send(c.AdminToken, "PUT", "/admin/behaviour", string(text)); status != 200 {
		t.Fatalf("PUT of what GET said = %d %s", status, answer)
	}
	if diff := cmp.Diff(want, c.Behaviour()); diff != "" {
		t.Errorf("behaviour after a round trip through JSON (-want +got):\n%s", diff)
	}
}

func TestFileOutlivesTheServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cloud.json")
	opts := toycloud.Options{File: file}
	first := start(t, opts)
	id := first.create("buckets", `{"name":"logs"}`)
	first.must("PUT", "/v1/buckets/"+id, `{"versioning":true}`, nil)
	want := first.Snapshot()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, want 0600: it holds access keys", info.Mode().Perm())
	}
	// The first server is not closed: what it answered must be in the file already.
	second := start(t, opts)
	if diff := cmp.Diff(want, second.Snapshot()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(file, []byte(`{"buckets":[{"name":"x"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := toycloud.Serve(t.Context(), opts); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Serve with a broken file = %v, want an error that names it", err)
	}
}

func TestUnwritableFileIsToldOf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := start(t, toycloud.Options{File: filepath.Join(dir, "cloud.json")})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.refused("POST", "/v1/buckets", `{"name":"logs"}`, 500, "not saved")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c.create("buckets", `{"name":"logs"}`) // the same key: it is there already
	if got := len(c.Snapshot().Buckets); got != 1 {
		t.Errorf("%d buckets, want 1", got)
	}
}

func TestServeRefuses(t *testing.T) {
	c := start(t, toycloud.Options{})
	for says, opts := range map[string]toycloud.Options{
		"loopback only":        {Address: "0.0.0.0:0"},
		"write it as":          {Address: "127.0.0.1"},
		"another address":      {Address: strings.TrimPrefix(c.URL, "http://")},
		"would never strike":   {Behaviour: toycloud.Behaviour{Rules: []toycloud.Rule{{Fault: toycloud.FaultDrop}}}},
		"the toy cloud's file": {File: t.TempDir()},
	} {
		if s, err := toycloud.Serve(t.Context(), opts); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Serve(%+v) = %v, %v, want an error that says %q", opts, s, err, says)
		}
	}
}

func TestContextEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := toycloud.Serve(ctx, toycloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Close(); err != nil { // waits until it is down
		t.Error(err)
	}
	if resp, err := http.Get(s.URL); err == nil {
		resp.Body.Close()
		t.Error("a cloud whose context ended still answers")
	}
}

// TestManyAtOnce is for the race detector, and for names that many want at the same time.
func TestManyAtOnce(t *testing.T) {
	c := start(t, toycloud.Options{Behaviour: toycloud.Behaviour{
		Rules:       []toycloud.Rule{{Verb: toycloud.Update, Fault: toycloud.FaultError, Rate: 0.1}},
		Autoscalers: []toycloud.Autoscaler{{Size: 4}},
	}})
	c.create("networks", `{"name":"main","cidr":"10.0.0.0/16"}`)
	c.create("clusters", `{"name":"prod","network":"main","version":"1"}`)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 20 {
				name := fmt.Sprintf("node-%d", i)
				status, body := c.send(c.Token, "POST", "/v1/nodes", fmt.Sprintf(`{"name":%q,"cluster":"prod","size":"small"}`, name))
				var n toycloud.Node
				if status == 200 && json.Unmarshal(body, &n) == nil {
					c.send(c.Token, "PUT", "/v1/nodes/"+n.ID, fmt.Sprintf(`{"cluster":"prod","size":"small","labels":{"w":"%d"}}`, worker))
				}
				c.Snapshot()
				c.Counters()
				c.Events(0)
				if err := c.EditCluster("prod", func(x *toycloud.Cluster) { x.Size = 1 + i }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := c.Counters().Kinds[toycloud.Nodes].Creates; got != 20 || len(c.Snapshot().Nodes) != 20 {
		t.Errorf("%d nodes were created and %d exist, want 20", got, len(c.Snapshot().Nodes))
	}
}

// cloud is a server with a customer. Each body that is sent twice to create has the same idempotency key.
type cloud struct {
	*toycloud.Server
	t *testing.T
}

func start(t *testing.T, opts toycloud.Options) cloud {
	t.Helper()
	s, err := toycloud.Serve(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return cloud{s, t}
}

// send returns the status and body of the answer; the status is 0 when there was no whole one.
func (c cloud) send(token, method, path, body string) (int, []byte) {
	req, err := http.NewRequest(method, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", fmt.Sprintf("%x", sha256.Sum256([]byte(path+body))))
	}
	// One connection each: a connection that is dropped must not be mistaken for one that was idle too long, which
	// Go's client would try again by itself.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, data
}

func (c cloud) must(method, path, body string, into any) {
	c.t.Helper()
	status, data := c.send(c.Token, method, path, body)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s %s = %d %s", method, path, body, status, data)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			c.t.Fatalf("%s %s answers %s: %v", method, path, data, err)
		}
	}
}

func (c cloud) create(kind, body string) (id string) {
	c.t.Helper()
	var m toycloud.Meta
	c.must(http.MethodPost, "/v1/"+kind, body, &m)
	return m.ID
}

func (c cloud) refused(method, path, body string, status int, says string) {
	c.t.Helper()
	got, data := c.send(c.Token, method, path, body)
	if got != status || !strings.Contains(readReason(c.t, data), says) {
		c.t.Errorf("%s %s %.80s = %d %s, want %d and %q", method, path, body, got, data, status, says)
	}
}

func readReason(t *testing.T, answer []byte) string {
	t.Helper()
	var e struct{ Error struct{ Message string } }
	if err := json.Unmarshal(answer, &e); err != nil {
		t.Errorf("answer %s: %v", answer, err)
	}
	return e.Error.Message
}

// clock stands still until it is told otherwise.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
