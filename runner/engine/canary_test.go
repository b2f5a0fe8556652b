package engine_test

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// TestCanaries puts secrets wherever a server meets some, has things fail that quote them, and looks for them everywhere.
func TestCanaries(t *testing.T) {
	t.Parallel()
	canaries(t, "", func(s *server) {
		s.GitHub.Break(forgetest.Fault{Status: 500, Times: 2})
		s.GitHub.Break(forgetest.Fault{Drop: true, Times: 2})
		s.GitHub.Break(forgetest.Fault{Path: ".git/info/refs", Status: 503, Times: 2})
		s.GitHub.Break(forgetest.Fault{Path: "git-upload-pack", Cut: 60, Times: 1})
	})
}

// canaries are told on a database; "" for the suite's. While they are, disturb is called: something goes wrong that is not
// Terraform's.
func canaries(t *testing.T, database string, disturb func(s *server)) {
	canary := func(name string) string { return "canary-" + name + "-" + rand.Text()[:12] }
	greeting, password := canary("greeting"), canary("password")
	s := start(t, options{
		processes: true, database: database,
		environ: []string{"TF_VAR_greeting=" + greeting, "TF_VAR_db_password=" + password},
		world: world.Options{
			Files: map[string]string{
				"plumbline.yaml": "version: 1\ndefaults: { env: [\"TOY_*\", \"TF_VAR_*\"] }\nworkspaces:\n  - dir: c\n",
				"c/main.tf":      world.Bucket("", "c", "1"),
			},
		},
	})
	s.canaries = append(s.canaries,
		secret{name: "a sensitive variable", value: greeting, stated: true},
		secret{name: "a variable with a telling name", value: password, stated: true})
	n := s.nodes[0]
	backend := ""
	if s.opts.database != "" {
		backend = s.States.Backend("c") // a state of several machines is not on their disks
	}
	pull := s.Open(t, alice, "secrets", map[string]string{
		"c/main.tf": world.Bucket(backend, "c", "2"),
		"c/secrets.tf": `
variable "greeting" {
  type      = string
  sensitive = true
}
variable "db_password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "kept" {
  input = "${var.greeting} ${var.db_password}"
}
resource "toy_bucket" "secret" {
  name = "secret"
  tags = { greeting = var.greeting, password = var.db_password }
}
output "all" {
  value     = "${var.greeting} ${toy_bucket.secret.access_key}"
  sensitive = true
}
`,
	})
	pull.AwaitComment(t, "kind=plan", "toy_bucket.secret", "(sensitive")
	pull.AwaitStatus(t, "plumbline", forge.Success)

	// The provider fails while it applies, and while it plans, and quotes all that it knows.
	reveal := func(verb toycloud.Verb, object string) {
		t.Helper()
		err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: []toycloud.Rule{{Verb: verb, Object: object, Fault: toycloud.FaultReveal, Rate: 1}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	reveal(toycloud.Create, "secret")
	pull.Merge(t, forge.Squash)
	pull.AwaitComment(t, "kind=apply", "The bearer of Bearer (hidden)", "What to do next")
	s.quiet(t)
	s.mend(t)
	pull.Say(t, alice, "plumbline plan")
	s.quiet(t)
	pull.Say(t, alice, "plumbline apply")
	s.AwaitVersions(t, map[string]string{"c": "2", "secret": ""})
	s.quiet(t)
	reveal(toycloud.Read, "")
	disturb(s)
	failing := s.Open(t, alice, "failing", map[string]string{"c/more.tf": "# more\n"})
	failing.AwaitComment(t, "kind=plan", "The bearer of Bearer (hidden)")
	failing.AwaitStatus(t, "plumbline", forge.Failure)
	s.mend(t)
	failing.Push(t, map[string]string{"c/node.tf": "resource \"toy_node\" \"odd\" {\n  cluster = \"x\"\n  name    = \"odd\"\n  size    = var.greeting\n}\n"})
	failing.AwaitComment(t, "kind=plan", "(hidden)", "is no size of a node")
	failing.AwaitStatus(t, "plumbline", forge.Failure)
	reveal(toycloud.Update, "secret")
	failing.Push(t, map[string]string{"c/node.tf": "", "c/secrets.tf": strings.Replace(s.GitHub.ReadFile(t, s.Repo, "main", "c/secrets.tf"), "password = var", "pass = var", 1)})
	failing.AwaitComment(t, "kind=plan", "1 to change")
	failing.AwaitStatus(t, "plumbline", forge.Success)
	failing.Merge(t, forge.Squash)
	failing.AwaitComment(t, "kind=apply", "The bearer of Bearer (hidden)")
	s.quiet(t)

	// Webhooks bring secrets too, whether they are let in or not.
	header := canary("header")
	s.canaries = append(s.canaries, secret{name: "a webhook's header", value: header})
	deliveries := s.GitHub.Deliveries(t, s.Repo)
	genuine := deliveries[len(deliveries)-1]
	for _, name := range []string{"X-Hub-Signature-256", "X-Hub-Signature"} {
		if value := genuine.Header.Get(name); value != "" {
			s.canaries = append(s.canaries, secret{name: "a webhook's signature", value: value})
		}
	}
	send := func(change func(http.Header), want int) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, "http://"+n.process.address+"/webhook/"+forgeName, bytes.NewReader(genuine.Body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = genuine.Header.Clone()
		req.Header.Set("Authorization", "Bearer "+header)
		req.Header.Set("Cookie", "session="+header)
		req.Header.Set("X-Api-Key", header)
		change(req.Header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a webhook was answered with %s, want %d", resp.Status, want)
		}
	}
	send(func(http.Header) {}, http.StatusAccepted)
	send(func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256="+header) }, http.StatusUnauthorized)
	send(func(h http.Header) { h.Set("X-Github-Event", header) }, http.StatusAccepted)
	send(func(h http.Header) { h.Del("X-Hub-Signature-256") }, http.StatusUnauthorized)

	s.quiet(t)
	s.Await(t, "traces", func() bool { return s.spans.has("run") && s.spans.has("event") }, func() string { return string(s.spans.text()) })
	if metrics := n.page(t, "/metrics"); !bytes.Contains(metrics, []byte("plumbline_")) {
		t.Errorf("the metrics are:\n%s", metrics)
	}
	s.seesWhatIsThere(t)
}

// seesWhatIsThere makes sure that those who look for secrets look where things are: what is no secret is found.
func (s *server) seesWhatIsThere(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	seek := func(where string, data []byte, _ bool) {
		if bytes.Contains(data, []byte(s.Repo.Name)) {
			kind, _, _ := strings.Cut(where, "-")
			seen[kind] = true
		}
	}
	seek("log", s.log.copy(), false)
	seek("sent", s.sent.copy(), false)
	seek("traces", s.spans.text(), false)
	for table, text := range s.tables(t) {
		seek("table "+table, text, false)
	}
	for run, text := range s.printed(t) {
		if !strings.Contains(text, "$ terraform ") {
			t.Errorf("the run %s printed %q", run, text)
		}
		if strings.Contains(text, "The bearer of Bearer (redacted)") {
			seen["errors"] = true
		}
		if strings.Contains(text, "toy_bucket.secret will be created") {
			seen["plans"] = true
		}
	}
	for _, must := range []string{"log", "errors", "plans", "sent", "traces", "table run", "table event", "table audit_entry", "table river_job"} {
		if !seen[must] {
			t.Errorf("nothing of this story is in %s: nobody looks there", must)
		}
	}
}
