package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

// witness is a program in the place of Terraform that writes down which credentials the real one gets.
type witness struct {
	*awstest.Server
	dir   string
	trace string
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	w := &witness{Server: awstest.New(t), dir: t.TempDir()}
	w.trace = filepath.Join(w.dir, "trace")
	text := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$1 ${AWS_ACCESS_KEY_ID:--} ${TOKEN:--} ${AWS_PROFILE:--} ${READ_TOKEN:--}\" >> '%s'\nexec '%s' \"$@\"\n", w.trace, parts.Terraform(t))
	if err := os.WriteFile(filepath.Join(w.dir, "terraform"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// environ is what a server finds the witness and AWS with.
func (w *witness) environ() []string {
	list := []string{"PATH=" + w.dir + string(os.PathListSeparator) + os.Getenv("PATH")}
	for name, value := range w.Environ() {
		list = append(list, name+"="+value)
	}
	return list
}

// had returns what Terraform was started with, by command: role, token, and whatever else should not be there.
func (w *witness) had(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(w.trace)
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]string{"-": "none", awstest.AccessKey: "the server's own"}
	for _, s := range w.Sessions() {
		roles[s.AccessKey] = s.Role[strings.LastIndexByte(s.Role, '/')+1:]
	}
	had := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		said := strings.Join(append([]string{roles[f[1]]}, f[2:]...), " ")
		if !slices.Contains(had[f[0]], said) {
			had[f[0]] = append(had[f[0]], said)
		}
	}
	return had
}

// TestTwoRoles: plans of pull requests run with the role that reads, whatever they ask for; what was merged is applied with the
// one that writes; and neither is to be found anywhere afterwards.
func TestTwoRoles(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	arn := map[string]string{}
	for _, name := range []string{"plan", "apply", "admin"} {
		arn[name] = w.AddRole(name, awstest.Role{Trusts: []string{awstest.AccessKey}})
	}
	file, pwned := filepath.Join(w.dir, "write-token"), filepath.Join(w.dir, "pwned")
	if err := os.WriteFile(file, []byte("canary-writes-3c81\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := func(plan, apply, command string) string {
		return fmt.Sprintf(`version: 1
defaults:
  aws: { plan_role: %q, apply_role: %q, session_tags: true }
  env:
    names: ["TOY_*"]
    plan: { TOKEN: { env: READ_TOKEN } }
    apply: { TOKEN: { command: %s } }
workspaces: [{ dir: c }]
`, plan, apply, command)
	}
	base := settings(arn["plan"], arn["apply"], "[cat, "+file+"]")
	s := start(t, options{
		processes: true, environ: append(w.environ(), "READ_TOKEN=canary-reads-90aa", "AWS_PROFILE="),
		config: fmt.Sprintf("credentials:\n  - repos: [acme/*]\n    roles: [%q, %q]\n    env: [READ_TOKEN]\n    commands: [[cat, %s]]\n", arn["plan"], arn["apply"], file),
		world:  world.Options{Files: map[string]string{"plumbline.yaml": base, "c/main.tf": world.Bucket("", "c", "1")}},
	})
	if s.Repo.Owner != "acme" {
		t.Fatalf("the repository is %s", s.Repo)
	}
	s.canaries = append(s.canaries, secret{name: "the token that reads", value: "canary-reads-90aa"}, secret{name: "the token that writes", value: "canary-writes-3c81"},
		secret{name: "the server's key of AWS", value: awstest.SecretKey})
	backend := ""
	if s.opts.database != "" {
		backend = s.States.Backend("c")
	}
	only := func(where string) {
		t.Helper()
		for _, session := range w.Sessions() {
			if session.Role != arn["plan"] {
				t.Errorf("%s: there is a session of %s", where, session.Role)
			}
		}
	}

	const more = "resource \"toy_bucket\" \"more\" {\n  name = \"more\"\n}\n"
	pull := s.Open(t, alice, "more", map[string]string{"c/main.tf": world.Bucket(backend, "c", "2")})
	pull.AwaitComment(t, "kind=plan", "1 to add")
	s.quiet(t)
	only("the plan of a pull request")
	if got := w.Sessions()[0]; got.Tags["plumbline-change"] != "1" || got.Tags["plumbline-commit"] != pull.Head || got.Tags["plumbline-phase"] != "plan" {
		t.Errorf("the session of a plan is %q with %v", got.Name, got.Tags)
	}

	// One that wants more than its base gives, or reads what Terraform was given.
	greedy := s.Open(t, alice, "greedy", map[string]string{
		"plumbline.yaml": strings.Replace(settings(arn["apply"], arn["admin"], "[touch, "+pwned+"]"), "{ env: READ_TOKEN }", "{ command: [touch, "+pwned+"] }", 1),
		"c/more.tf":      more,
	})
	greedy.AwaitComment(t, "kind=plan", "2 to add", "aws stays plan_role `"+arn["plan"]+"`", "apply_role `"+arn["admin"]+"`", "env.plan stays TOKEN from the variable READ_TOKEN")
	thief := s.Open(t, alice, "thief", map[string]string{"c/leak.tf": "output \"leak\" {\n  value = file(\"/proc/self/environ\")\n}\n"})
	thief.AwaitComment(t, "kind=plan", "a credential stands in the plan")
	thief.Push(t, map[string]string{"c/leak.tf": "resource \"terraform_data\" \"leak\" {\n  lifecycle {\n    precondition {\n      condition     = toy_bucket.this.name == \"x\"\n" +
		"      error_message = replace(file(\"/proc/self/environ\"), \"\\u0000\", \" \")\n    }\n  }\n}\n"})
	thief.AwaitComment(t, "kind=plan", "AWS_SESSION_TOKEN=(hidden)")
	// As if a lock said it, and so that nobody finds it who looks for it as it is.
	for _, c := range []struct{ text, shown string }{
		{`see\n\nError: Error acquiring the state lock\n\nLock Info:\n  ID: 1\n  Path: ${replace(file(\"/proc/self/environ\"), \"\u0000\", \" \")}`, "AWS_SESSION_TOKEN=(hidden)"},
		{`${base64encode(file(\"/proc/self/environ\"))}`, "(hidden)"},
	} {
		thief.Push(t, map[string]string{"c/leak.tf": "resource \"terraform_data\" \"leak\" {\n  lifecycle {\n    precondition {\n      condition     = toy_bucket.this.name == \"x\"\n" +
			"      error_message = \"" + strings.ReplaceAll(c.text, `\"`, `"`) + "\"\n    }\n  }\n}\n"})
		thief.AwaitComment(t, "kind=plan", c.shown, thief.Head[:8])
	}
	s.quiet(t)
	only("a pull request that asks for more")
	if _, err := os.Stat(pwned); err == nil {
		t.Error("the command of a pull request was run")
	}
	want := "plan canary-reads-90aa - -"
	if had := w.had(t); fmt.Sprint(had["plan"]) != "["+want+"]" || fmt.Sprint(had["init"]) != "["+want+"]" || had["apply"] != nil {
		t.Errorf("Terraform had %q", had)
	}

	pull.Merge(t, forge.Squash)
	s.AwaitVersions(t, map[string]string{"c": "2"})
	s.quiet(t)
	if had := w.had(t); fmt.Sprint(had["apply"]) != "[apply canary-writes-3c81 - -]" || fmt.Sprint(had["plan"]) != "["+want+"]" {
		t.Errorf("Terraform had %q", had)
	}
	var applied []awstest.Session
	for _, session := range w.Sessions() {
		if session.Role == arn["apply"] {
			applied = append(applied, session)
		}
	}
	if len(applied) != 1 {
		t.Fatalf("the role that writes was had %d times", len(applied))
	}
	tags := applied[0].Tags
	if tags["plumbline-phase"] != "apply" || tags["plumbline-repository"] != forgeName+"/"+s.Repo.String() || tags["plumbline-workspace"] != "c" ||
		tags["plumbline-change"] != "1" || tags["plumbline-commit"] != pull.Merged || tags["plumbline-actor"] == "" {
		t.Errorf("the tags of the apply are %q", tags)
	}

	// Merged, what was asked for counts. Nothing is applied by itself then, because nobody has read a plan that was made so.
	swap := s.Open(t, alice, "swap", map[string]string{"plumbline.yaml": settings(arn["apply"], arn["apply"], "[cat, "+file+"]"), "c/more.tf": more})
	swap.AwaitComment(t, "kind=plan", "1 to add")
	swap.Merge(t, forge.Squash)
	swap.AwaitComment(t, "kind=apply", "the environment, which may choose the account or region that is managed, has changed")
	s.quiet(t)
	// What the operator does not allow is not had, whoever merges it.
	last := s.Open(t, alice, "last", map[string]string{"plumbline.yaml": settings(arn["plan"], arn["apply"], "[touch, "+pwned+"]"), "c/last.tf": "# last\n"})
	last.AwaitComment(t, "kind=plan", "1 to add")
	last.Merge(t, forge.Squash)
	s.quiet(t)
	last.Say(t, alice, "plumbline apply")
	last.AwaitComment(t, "kind=apply", "does not let the plumbline.yaml of "+forgeName+"/"+s.Repo.String()+" name the command")
	s.quiet(t)
	if _, err := os.Stat(pwned); err == nil {
		t.Error("a command that the operator does not allow was run")
	}
	if found := s.Versions(); len(found) != 1 || found["c"] != "2" {
		t.Errorf("there are %v", found)
	}
	for i, session := range w.Sessions() {
		s.canaries = append(s.canaries, secret{name: fmt.Sprintf("the access key of session %d", i), value: session.AccessKey},
			secret{name: fmt.Sprintf("the secret of session %d", i), value: session.Secret}, secret{name: fmt.Sprintf("the token of session %d", i), value: session.Token})
	}
}
