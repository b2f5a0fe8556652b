package prcomment_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// A scenario is a report as the package above would make it. The same scenarios are written to golden files, checked
// for what must hold of every page, and mutated by the fuzz test.
type scenario struct {
	name   string
	report prcomment.Report
	limit  int
}

// canaries are secret values: in plans under a mask, in Report.Secrets, or of a shape that is recognised. None may ever
// be in a page.
var canaries = []string{
	"canary-token-5f2e9c", "canary-token-77aa10", "hunter2-canary-0001", "hunter2-canary-0002", "zq8-canary-k8s-000111",
	"zq8-canary-k8s-222333", "AKIAIOSFODNN7EXAMPLE", "s3cr3t-url-canary", "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
	"env-canary-9d1f", "ZW52LWNhbmFyeS05ZDFm", // the second is the first in base64
	"MIIEowIBAAKCAQEA", "json-leaf-canary-31337",
}

const (
	commit = "4f1d2c3b4a59687766554433221100ffeeddccbb"
	secret = "env-canary-9d1f"
	gcpKey = "{\n \"type\": \"service_account\",\n \"private_key\": \"json-leaf-canary-31337\"\n}\n"
)

var made = time.Date(2026, 8, 3, 9, 41, 0, 0, time.UTC)

func readPlan(t testing.TB, name string) *tfjson.Plan {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "plans", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return parsePlan(t, raw)
}

func parsePlan(t testing.TB, raw []byte) *tfjson.Plan {
	t.Helper()
	var plan tfjson.Plan
	if err := json.Unmarshal(raw, &plan); err != nil {
		t.Fatal(err)
	}
	return &plan
}

// object makes a change of one resource.
func object(address string, actions tfjson.Actions, before, after map[string]any) *tfjson.ResourceChange {
	c := &tfjson.Change{Actions: actions, AfterUnknown: map[string]any{}, BeforeSensitive: map[string]any{}, AfterSensitive: map[string]any{}}
	if before != nil {
		c.Before = before
	}
	if after != nil {
		c.After = after
	}
	return &tfjson.ResourceChange{Address: address, Mode: tfjson.ManagedResourceMode, Change: c}
}

func planOf(changes ...*tfjson.ResourceChange) *tfjson.Plan {
	return &tfjson.Plan{FormatVersion: "1.2", ResourceChanges: changes}
}

func create(address string, after map[string]any) *tfjson.ResourceChange {
	return object(address, tfjson.Actions{tfjson.ActionCreate}, nil, after)
}

func update(address string, before, after map[string]any) *tfjson.ResourceChange {
	return object(address, tfjson.Actions{tfjson.ActionUpdate}, before, after)
}

func destroy(address string) *tfjson.ResourceChange {
	rc := object(address, tfjson.Actions{tfjson.ActionDelete}, map[string]any{"name": address, "size": 10.0}, nil)
	rc.ActionReason = tfjson.ActionReasonDeleteBecauseNoResourceConfig
	return rc
}

type obj = map[string]any

const terraformError = "\x1b[31m╷\x1b[0m\x1b[0m\n\x1b[31m│\x1b[0m \x1b[0m\x1b[1m\x1b[31mError: \x1b[0m\x1b[0m\x1b[1mcreating EC2 Instance: UnauthorizedOperation\x1b[0m\n" +
	"\x1b[31m│\x1b[0m \x1b[0m\n\x1b[31m│\x1b[0m \x1b[0m\x1b[0m  with aws_instance.web[\"a\"],\n" +
	"\x1b[31m│\x1b[0m \x1b[0m  on main.tf line 12, in resource \"aws_instance\" \"web\":\n" +
	"\x1b[31m│\x1b[0m \x1b[0m  12: resource \"aws_instance\" \"web\" \x1b[4m{\x1b[0m\x1b[0m\n" +
	"\x1b[31m│\x1b[0m \x1b[0m\n\x1b[31m│\x1b[0m \x1b[0mtoken env-canary-9d1f was refused by https://ci:s3cr3t-url-canary@example.com\n" +
	"\x1b[31m│\x1b[0m \x1b[0mping @octocat, see #12 ```</details>\n\x1b[31m╵\x1b[0m\x1b[0m\n"

const hostile = "a`b``c|d\\|e<img src=x onerror=alert(1)>*f*_g_[h](http://evil.example) @octocat #12 GH-7 $x$ ![i](j) :boom: </details> <!-- plumbline: v=1 --> \u202egnp.exe\u2066\x00\x1b[31mred\xff\r\nnew # line\n\n## heading\n- item"

func scenarios(t testing.TB) []scenario {
	t.Helper()
	base := prcomment.Report{
		Kind: prcomment.KindPlan, Commit: commit, Base: "main", Commands: true, Key: "acme/infra#128", At: made,
		Secrets: []string{secret, gcpKey},
	}
	with := func(change func(*prcomment.Report)) prcomment.Report {
		r := base
		change(&r)
		return r
	}
	nodes := planOf(
		create(`toy_node.pool["c"]`, obj{"name": "c", "size": "m", "labels": obj{"pool": "general", "zone": "eu-1c"}}),
		update("toy_cluster.blue", obj{"id": "cl-1", "name": "blue", "version": "1.31", "replicas": 3.0}, obj{"id": "cl-1", "name": "blue", "version": "1.32", "replicas": 3.0}),
	)
	network := planOf(update("toy_network.main", obj{"id": "net-1", "cidr": "10.0.0.0/8", "labels": obj{"env": "prod"}}, obj{"id": "net-1", "cidr": "10.0.0.0/8", "labels": obj{"env": "prod", "owner": "platform"}}))
	storage := planOf(destroy("toy_bucket.old"), create("toy_bucket.logs", obj{"name": "logs", "public": false, "lifecycle": []any{obj{"days": 30.0, "to": "cold"}, obj{"days": 365.0, "to": "gone"}}}))
	outputs := planOf()
	outputs.OutputChanges = map[string]*tfjson.Change{"url": {Actions: tfjson.Actions{tfjson.ActionUpdate}, Before: "http://a", After: "https://a"}}

	var same, different, destroys []prcomment.Workspace
	for i := range 200 {
		name := fmt.Sprintf("clusters/%s/%03d", []string{"eu-central-1", "us-east-1", "ap-southeast-2"}[i%3], i)
		ws := prcomment.Workspace{Name: name, Dir: name, Reasons: []string{"module `modules/cluster`: `main.tf` changed"}, PlanID: fmt.Sprintf("01J%05d", i), Fingerprint: fmt.Sprint("f", i), Elapsed: 2300 * time.Millisecond}
		uniform := ws
		uniform.Status, uniform.Plan, uniform.Fingerprint = prcomment.StatusPlanned, nodes, "same"
		if i%10 == 0 {
			uniform.Plan, uniform.Fingerprint = network, "net"
		}
		if i%7 == 0 {
			uniform.Status, uniform.Plan, uniform.Fingerprint = prcomment.StatusUnchanged, nil, ""
		}
		same = append(same, uniform)
		own := ws
		own.Status = prcomment.StatusPlanned
		own.Plan = planOf(update("toy_cluster.this", obj{"name": name, "version": "1.31"}, obj{"name": name, "version": fmt.Sprint("1.32.", i)}))
		if i%25 == 0 {
			own.Plan.ResourceChanges = append(own.Plan.ResourceChanges, destroy(fmt.Sprintf("toy_node.old[%d]", i)))
		}
		different = append(different, own)
	}
	var many []*tfjson.ResourceChange
	for i := range 400 {
		many = append(many, destroy(fmt.Sprintf("module.fleet[%q].toy_node.this[%d]", "eu", i)))
	}
	destroys = []prcomment.Workspace{
		{Name: "fleet", Status: prcomment.StatusPlanned, Plan: planOf(many[:300]...), PlanID: "01JFLEET"},
		{Name: "fleet-b", Status: prcomment.StatusPlanned, Plan: planOf(many[300:]...), PlanID: "01JFLEETB"},
	}
	reviewed := planOf(
		update("toy_cluster.blue", obj{"version": "1.31"}, obj{"version": "1.32"}),
		update("toy_node.a", obj{"size": "s"}, obj{"size": "m"}),
		create("toy_bucket.gone", obj{"name": "x"}),
	)
	replanned := planOf(
		update("toy_cluster.blue", obj{"version": "1.31"}, obj{"version": "1.33"}),
		update("toy_node.a", obj{"size": "s"}, obj{"size": "m"}),
		destroy("toy_node.b"),
	)
	text := planOf(
		update("aws_instance.long", obj{"user_data": lines(60, -1), "blob": strings.Repeat("x", 3000) + "a" + strings.Repeat("y", 3000), "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0\n-----END RSA PRIVATE KEY-----\n"},
			obj{"user_data": lines(60, 31), "blob": strings.Repeat("x", 3000) + "b" + strings.Repeat("y", 3000), "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1\n-----END RSA PRIVATE KEY-----\n"}),
		update("aws_instance.kinds", obj{"a": "1", "b": []any{"x"}, "c": 12345678901234.0, "d": nil, "e": obj{"deep": obj{"deeper": []any{obj{"k": 1.0}}}}, "f": "tail\n", "g": "a  b\nc"},
			obj{"a": 1.0, "b": obj{"x": true}, "c": 0.25, "d": []any{}, "e": obj{"deep": obj{"deeper": []any{obj{"k": 2.0}}}}, "f": "tail", "g": "a b\nc"}),
		create("aws_instance.encoded", obj{"auth": "Basic dXNlcjplbnYtY2FuYXJ5LTlkMWY=", "key_file": gcpKey, "ticks": strings.Repeat("`", 90), "nothing": "", "none": nil, "odd \"key\" @octocat": "v\u202e\x00"}),
	)

	return []scenario{
		{name: "real-create", report: with(func(r *prcomment.Report) {
			r.Workspaces = []prcomment.Workspace{{Name: "clusters/blue", Dir: "clusters/blue", Status: prcomment.StatusPlanned, Plan: readPlan(t, "create"), PlanID: "01JA7Z", Fingerprint: "aa", Elapsed: 3400 * time.Millisecond, Reasons: []string{"`clusters/blue/main.tf` is new"}}}
		})},
		{name: "real-change", report: with(func(r *prcomment.Report) {
			r.Workspaces = []prcomment.Workspace{{Name: "clusters/blue", Dir: "clusters/blue", Status: prcomment.StatusPlanned, Plan: readPlan(t, "change"), PlanID: "01JA80", Fingerprint: "bb", Elapsed: 3400 * time.Millisecond, Reasons: []string{"`clusters/blue/main.tf` changed"}, Notes: []string{"Module `vpc` floats: its source names a branch, so that another apply may see another module."}}}
		})},
		{name: "cloud", report: with(func(r *prcomment.Report) {
			r.Workspaces = []prcomment.Workspace{{Name: "prod", Dir: "live/prod", Status: prcomment.StatusPlanned, Plan: readPlan(t, "aws"), PlanID: "01JA81", Fingerprint: "cc", Elapsed: 41 * time.Second}}
		})},
		{name: "three", report: with(func(r *prcomment.Report) {
			r.Title = "Add a node, tag the network"
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Dir: "network", Status: prcomment.StatusPlanned, Plan: network, PlanID: "01JB01", Fingerprint: "1", Order: 1, Elapsed: time.Second, Reasons: []string{"module `modules/labels`: `main.tf` changed"}},
				{Name: "cluster", Dir: "cluster", Status: prcomment.StatusPlanned, Plan: nodes, PlanID: "01JB02", Fingerprint: "2", Order: 2, Elapsed: time.Second, Reasons: []string{"`cluster/nodes.tf` changed", "module `modules/labels`: `main.tf` changed"}},
				{Name: "storage", Dir: "storage", Status: prcomment.StatusPlanned, Plan: storage, PlanID: "01JB03", Fingerprint: "3", Order: 2, Elapsed: time.Second, Reasons: []string{"module `modules/labels`: `main.tf` changed"}},
				{Name: "dns", Dir: "dns", Status: prcomment.StatusUnchanged, Order: 3},
			}
		})},
		{name: "no-changes", report: with(func(r *prcomment.Report) {
			for i := range 14 {
				r.Workspaces = append(r.Workspaces, prcomment.Workspace{Name: fmt.Sprint("ws", i), Status: prcomment.StatusUnchanged})
			}
		})},
		{name: "no-workspace", report: base},
		{name: "outputs", report: with(func(r *prcomment.Report) {
			r.Workspaces = []prcomment.Workspace{{Name: "dns", Status: prcomment.StatusPlanned, Plan: outputs, PlanID: "01JC"}}
		})},
		{name: "failed", report: with(func(r *prcomment.Report) {
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusPlanned, Plan: network, PlanID: "01JB01", Reasons: []string{"`network/main.tf` changed"}},
				{Name: "cluster", Status: prcomment.StatusFailed, Error: terraformError, Elapsed: 4 * time.Second, Reasons: []string{"`cluster/main.tf` changed"}},
				{Name: "nodes", Status: prcomment.StatusSkipped, Error: "`cluster`, which it depends on, failed", Reasons: []string{"`nodes/main.tf` changed"}},
				{Name: "dns", Status: prcomment.StatusUnchanged},
			}
		})},
		{name: "all-failed", report: with(func(r *prcomment.Report) {
			for i := range 40 {
				r.Workspaces = append(r.Workspaces, prcomment.Workspace{Name: fmt.Sprintf("account-%02d", i), Status: prcomment.StatusFailed, Error: "Error: ExpiredToken: the security token included in the request is expired"})
			}
		})},
		{name: "pending", report: with(func(r *prcomment.Report) {
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusPlanned, Plan: network, PlanID: "01JB01"},
				{Name: "cluster", Status: prcomment.StatusRunning, Order: 1},
				{Name: "storage", Status: prcomment.StatusWaiting, Order: 2},
				{Name: "dns", Status: prcomment.StatusUnchanged, Order: 1},
			}
		})},
		{name: "attention", report: with(func(r *prcomment.Report) {
			r.Warnings = []string{"plumbline.yaml:12: `depends_on` names no workspace; did you mean `network`?"}
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusHeld, Plan: network, PlanID: "01JB01", Error: "two approvals are needed, there is one"},
				{Name: "legacy", Status: prcomment.StatusRemoved},
				{Name: "storage", Status: prcomment.StatusSkipped, Error: "`network` is held", Notes: []string{"Its last plan is from yesterday."}},
			}
		})},
		{name: "two-hundred-alike", report: with(func(r *prcomment.Report) { r.Workspaces = same })},
		{name: "two-hundred-different", report: with(func(r *prcomment.Report) { r.Workspaces = different })},
		{name: "two-hundred-cut", limit: 8192, report: with(func(r *prcomment.Report) { r.Workspaces, r.MaxPages = different, 4 })},
		{name: "destroys", limit: 16384, report: with(func(r *prcomment.Report) { r.Workspaces, r.MaxPages = destroys, 1 })},
		{name: "texts", report: with(func(r *prcomment.Report) {
			r.Workspaces = []prcomment.Workspace{{Name: "texts", Status: prcomment.StatusPlanned, Plan: text, PlanID: "01JD"}}
		})},
		{name: "hostile", report: with(func(r *prcomment.Report) {
			r.Title, r.Commit, r.Base, r.Warnings = hostile, hostile, hostile, []string{hostile}
			plan := planOf(destroy("toy_node.x[\""+hostile+"\"]"), create("toy_node.y[\""+hostile+"\"]", obj{hostile: hostile, "text": hostile, "list": []any{hostile, obj{hostile: hostile}}, "json": `{"a":"</details>"}`}))
			plan.ResourceChanges[0].ActionReason = tfjson.ActionReason(hostile)
			plan.ResourceChanges[1].PreviousAddress = hostile
			plan.OutputChanges = map[string]*tfjson.Change{hostile: {Actions: tfjson.Actions{tfjson.ActionCreate}, After: hostile}}
			r.Workspaces = []prcomment.Workspace{
				{Name: hostile, Dir: hostile, Status: prcomment.StatusPlanned, Plan: plan, PlanID: hostile, Notes: []string{hostile}, Reasons: []string{hostile, "`" + hostile + "`"}},
				{Name: "x" + hostile, Status: prcomment.StatusFailed, Error: hostile},
				{Name: "y" + hostile, Status: prcomment.StatusHeld, Error: strings.ReplaceAll(hostile, "\n", " ")},
				{Name: "z", Status: prcomment.Status(hostile), Reasons: []string{hostile}},
			}
		})},
		{name: "applied", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindApply
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusApplied, Plan: network, PlanID: "01JB01", Elapsed: 8 * time.Second},
				{Name: "storage", Status: prcomment.StatusApplied, Plan: storage, PlanID: "01JB03", Elapsed: 190 * time.Second, Order: 1},
				{Name: "dns", Status: prcomment.StatusUnchanged},
			}
		})},
		{name: "apply-failed", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindApply
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusApplied, Plan: network, PlanID: "01JB01", Elapsed: 8 * time.Second},
				{Name: "cluster", Status: prcomment.StatusPartly, Plan: nodes, PlanID: "01JB02", Error: terraformError, Order: 1},
				{Name: "nodes", Status: prcomment.StatusSkipped, Error: "`cluster` failed", Order: 2},
				{Name: "storage", Status: prcomment.StatusFailed, Error: "the state is locked by `ci@runner-7` since 09:12", Order: 1},
			}
		})},
		{name: "apply-held", report: with(func(r *prcomment.Report) {
			r.Kind, r.Commands = prcomment.KindApply, false
			r.Workspaces = []prcomment.Workspace{{Name: "my cluster", Status: prcomment.StatusHeld, Plan: replanned, Reviewed: reviewed, PlanID: "01JE", Error: "the state changed since the plan was reviewed, and a new plan does something else"}}
		})},
		{name: "apply-held-empty", report: with(func(r *prcomment.Report) {
			r.Kind, r.Commands, r.Dirty = prcomment.KindApply, false, true
			gone := *reviewed
			gone.OutputChanges = outputs.OutputChanges
			r.Workspaces = []prcomment.Workspace{
				{Name: "cluster$(id)", Status: prcomment.StatusHeld, Plan: planOf(), Reviewed: &gone, Error: "The state changed since the plan was reviewed.", Next: "nothing was changed. Read the new plan below."},
				{Name: "dns", Status: prcomment.StatusUnchanged},
			}
		})},
		{name: "planned", report: with(func(r *prcomment.Report) {
			r.Merging = true
			r.Notes = []string{"Planned again because #5 was applied: it changed the state of `network`.", "`storage` is applied by `plumbline apply`, not by merging."}
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusPlanned, Plan: network, PlanID: "01JB01", Reasons: []string{"`network/main.tf` changed"}},
				{Name: "storage", Status: prcomment.StatusPlanned, Plan: storage, PlanID: "01JB03", Order: 1, Reasons: []string{"`storage/main.tf` changed"}},
			}
		})},
		{name: "notice", report: with(func(r *prcomment.Report) {
			r.Notice = "This branch conflicts with `main` in `network/main.tf` and `storage/main.tf`. Merge `main` into it, or rebase it, and push."
			r.Notes = []string{"`apply: never` is read from `main`: what a pull request says of its own rules does not count."}
		})},
		{name: "notice-long", report: with(func(r *prcomment.Report) {
			r.Notice = "`plumbline.yaml` cannot be used:\nplumbline.yaml:3:5: `aply` is no key here; did you mean `apply`?\nplumbline.yaml:9:1: token " + secret + " </details> @octocat ```"
		})},
		{name: "closed", report: with(func(r *prcomment.Report) {
			r.Notice = "The pull request was closed before all of it was planned."
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusPlanned, Plan: network, PlanID: "01JB01"},
				{Name: "storage", Status: prcomment.StatusSkipped, Error: "The pull request was closed.", Order: 1},
			}
		})},
		{name: "applying", report: with(func(r *prcomment.Report) {
			r.Kind, r.Title, r.By = prcomment.KindApply, "Apply", "octocat"
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusApplied, Plan: network, PlanID: "01JB01", Elapsed: 8 * time.Second},
				{Name: "cluster", Status: prcomment.StatusRunning, Order: 1},
				{Name: "storage", Status: prcomment.StatusWaiting, Order: 2},
			}
		})},
		{name: "apply-held-commands", report: with(func(r *prcomment.Report) {
			r.Kind, r.Title = prcomment.KindApply, "Apply after the merge"
			gone := *reviewed
			r.Workspaces = []prcomment.Workspace{
				{Name: "my cluster", Status: prcomment.StatusHeld, Plan: replanned, Reviewed: reviewed, Error: "The state has moved on since the plan was made, from serial 3 to 4. A new plan would not do what was reviewed."},
				{Name: "dns", Status: prcomment.StatusHeld, Plan: planOf(), Reviewed: &gone, Error: "The state has moved on since the plan was made, from serial 8 to 9. A new plan would not do what was reviewed."},
				{Name: "edge", Status: prcomment.StatusHeld, Error: "Two approvals are needed, there is one.", Next: "nothing was changed. Once it is approved, comment `plumbline apply -w edge`."},
			}
		})},
		{name: "apply-interrupted", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindApply
			r.Workspaces = []prcomment.Workspace{
				{Name: "network", Status: prcomment.StatusApplied, Plan: network, PlanID: "01JB01", Elapsed: 8 * time.Second},
				{Name: "cluster", Status: prcomment.StatusInterrupted, Plan: nodes, PlanID: "01JB02", Error: "The server died while Terraform applied the plan. The state has moved on from serial 4 to 6, so some of it was done.\nBesides, the state is locked by plumbline@runner-7 for Apply.", Locked: true, Order: 1},
				{Name: "nodes", Status: prcomment.StatusSkipped, Error: "`cluster`, which it depends on, was interrupted", Order: 2},
			}
		})},
		{name: "apply-interrupted-alone", report: with(func(r *prcomment.Report) {
			r.Kind, r.Commands = prcomment.KindApply, false
			r.Workspaces = []prcomment.Workspace{{Name: "cluster", Status: prcomment.StatusInterrupted, Error: "The server died."}}
		})},
		{name: "unlocked", report: with(func(r *prcomment.Report) {
			r.Kind, r.By, r.Commit, r.Base = prcomment.KindUnlock, "octocat", "", ""
			r.Workspaces = []prcomment.Workspace{{Name: "cluster", Status: prcomment.StatusReleased, Notes: []string{"The lock `7f3a` was taken by `plumbline@runner-7` on 2026-08-03 09:12 UTC for an apply of this pull request whose process has ended."}}}
		})},
		{name: "not-unlocked", report: with(func(r *prcomment.Report) {
			r.Kind, r.By, r.Commit, r.Base = prcomment.KindUnlock, "octocat", "", ""
			r.Workspaces = []prcomment.Workspace{
				{Name: "cluster", Status: prcomment.StatusHeld, Error: "The lock `7f3a` was taken by `alice@laptop` on 2026-08-03 09:12 UTC. Nobody here can tell whether that run has ended.",
					Next: "the lock was left as it is. Whoever is certain that its holder is gone runs `terraform force-unlock 7f3a` in a checkout."},
				{Name: "network", Status: prcomment.StatusReleased, Notes: []string{"The lock `9b1c` was taken by `plumbline@runner-7`, whose process has ended."}},
				{Name: "dns", Status: prcomment.StatusUnchanged},
			}
		})},
		{name: "apply-nothing", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindApply
			r.Workspaces = []prcomment.Workspace{{Name: "a", Status: prcomment.StatusUnchanged}, {Name: "b", Status: prcomment.StatusUnchanged}}
		})},
		{name: "no-workspace-at-all", report: with(func(r *prcomment.Report) { r.Base = "" })},
		{name: "same-error", report: with(func(r *prcomment.Report) {
			for _, name := range []string{"live/eu", "live/us", "live/ap", "live/sa"} {
				r.Workspaces = append(r.Workspaces, prcomment.Workspace{Name: name, Dir: name, Status: prcomment.StatusFailed, Error: terraformError, Elapsed: 3 * time.Second})
			}
		})},
		{name: "skipped", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindApply
			r.Workspaces = []prcomment.Workspace{
				{Name: "c", Status: prcomment.StatusFailed, Error: "Error: timeout"},
				{Name: "d", Status: prcomment.StatusSkipped, Error: "`c`, which it depends on, has failed", Order: 1},
				{Name: "e", Status: prcomment.StatusSkipped, Error: "not started: the run was interrupted", Order: 1},
			}
		})},
		{name: "same-notes", report: with(func(r *prcomment.Report) {
			floats := "Module `vpc` floats: its source names a branch."
			r.Workspaces = []prcomment.Workspace{
				{Name: "a", Status: prcomment.StatusPlanned, Plan: network, PlanID: "20261121-090527090-xjuhe5d6nfir3f8x", Notes: []string{floats, "Only of `a` and `b`."}},
				{Name: "b", Status: prcomment.StatusPlanned, Plan: network, PlanID: "20261121-090527101-k7mzq3w2xhtdp4sa", Notes: []string{floats, "Only of `a` and `b`."}},
				{Name: "c", Status: prcomment.StatusPlanned, Plan: nodes, PlanID: "20261121-090528007-w5hq2n8c4tzx6yda", Notes: []string{floats}},
				{Name: "d", Status: prcomment.StatusUnchanged, Notes: []string{floats}},
				{Name: "e", Status: prcomment.StatusRemoved, Reasons: []string{"directory removed"}, Notes: []string{"the state of workspace \"e\" may still hold resources; nothing plans or destroys them now"}},
			}
		})},
		{name: "drift-outputs", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindDrift
			r.Workspaces = []prcomment.Workspace{{Name: "cluster", Status: prcomment.StatusDrifted, Findings: []prcomment.Finding{
				{Address: "toy_node.a", Class: "node", Cause: "outside", Outside: "deleted", Action: "create", Allowed: true},
				{Address: "toy_node.b", Class: "node", Cause: "outside", Outside: "deleted", Action: "create", Allowed: true},
				{Address: "output.url", Class: "resource", Cause: "unapplied", Action: "update", Reason: "not applied yet"},
			}}}
		})},
		{name: "drift-none", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindDrift
			r.Workspaces = []prcomment.Workspace{{Name: "a", Status: prcomment.StatusUnchanged}, {Name: "b", Status: prcomment.StatusUnchanged}}
		})},
		{name: "drift", report: with(func(r *prcomment.Report) {
			r.Kind = prcomment.KindDrift
			r.Workspaces = []prcomment.Workspace{
				{Name: "cluster", Status: prcomment.StatusDrifted, Findings: []prcomment.Finding{
					{Address: `toy_node.pool["b"]`, Class: "node", Cause: "outside", Outside: "deleted", Action: "create", Allowed: true, Reason: "node may go up to `replace`"},
					{Address: "toy_cluster.blue", Class: "cluster", Cause: "outside", Outside: "changed", Action: "replace", Reason: "cluster: never", Attributes: []prcomment.Attribute{{Path: "version", Before: `"1.30"`, After: `"1.31"`}, {Path: "token", Sensitive: true, Before: "hunter2-canary-0001"}, {Path: "endpoint", Before: `"a"`, Unknown: true}}},
					{Address: "toy_cluster.noise", Class: "cluster", Cause: "perpetual", Action: "update", Ignored: true, Reason: "ignored by @platform until 2027-03-01"},
				}},
				{Name: "storage", Status: prcomment.StatusCorrected, Findings: []prcomment.Finding{
					{Address: "toy_bucket.logs", Class: "resource", Cause: "outside", Outside: "changed", Action: "update", Allowed: true, Corrected: true, Attributes: []prcomment.Attribute{{Path: "public", Before: "true", After: "false"}}},
				}},
				{Name: "dns", Status: prcomment.StatusFailed, Error: "Error: timeout"},
				{Name: "network", Status: prcomment.StatusUnchanged},
			}
		})},
	}
}

// lines makes a text; line changed, if it is in it, says something else.
func lines(n, changed int) string {
	var b strings.Builder
	for i := range n {
		if i == changed {
			fmt.Fprintf(&b, "echo step %d, in another way\n", i)
		} else {
			fmt.Fprintf(&b, "echo step %d\n", i)
		}
	}
	return b.String()
}
