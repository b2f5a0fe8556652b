package access_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// TestValues: each phase has its own variables, from wherever they come.
func TestValues(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of a file\nwith two lines\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &workspaces.Workspace{Name: "a", Access: workspaces.Access{
		Plan: map[string]workspaces.Source{
			"TEXT": {Text: "as it is"}, "FROM_FILE": {File: file}, "FROM_ENV": {Env: "TOKEN"}, "FROM_COMMAND": {Command: []string{"sh", "-c", `pwd; echo "$TOKEN"; env`}},
		},
		Apply: map[string]workspaces.Source{"TEXT": {Text: "another"}},
	}}
	environ := []string{"PATH=" + os.Getenv("PATH"), "TOKEN=of the environment", "PLUMBLINE_PLAN_KEY=canary"}
	k := access.New(access.Options{Environ: environ, Anything: true}).For(w, purpose)
	g, err := k.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"TEXT": "as it is", "FROM_FILE": "of a file\nwith two lines", "FROM_ENV": "of the environment"} {
		if got := get(g, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := get(g, "FROM_COMMAND"); !strings.HasPrefix(got, "/\nof the environment\n") || strings.Contains(got, "canary") {
		t.Errorf("the command printed %q", got)
	}
	if hidden := g.Given().Hide; slices.Contains(hidden, "as it is") || !slices.Contains(hidden, "of the environment") {
		t.Errorf("hidden are %q", hidden)
	}
	if g, err = k.Apply(t.Context(), permit(t, "a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"TEXT=another"}, g.Given().Set); diff != "" {
		t.Errorf("for the apply (-want +got):\n%s", diff)
	}
}

// TestBadValues: each mistake has its error, and none holds a value or what a command printed.
func TestBadValues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	environ := []string{"PATH=" + os.Getenv("PATH"), "EMPTY="}
	for _, c := range []struct {
		name   string
		source workspaces.Source
		want   string
	}{
		{"no file", workspaces.Source{File: "/nowhere/x"}, "read the value from /nowhere/x: no such file"},
		{"a directory", workspaces.Source{File: dir}, "not a regular file"},
		{"an empty file", workspaces.Source{File: write("empty", "\n")}, "is empty"},
		{"a long file", workspaces.Source{File: write("long", strings.Repeat("canary", 20_000))}, "more than 65536 bytes"},
		{"a zero byte", workspaces.Source{File: write("zero", "canary\x00")}, "zero byte"},
		{"no variable", workspaces.Source{Env: "NONE"}, "NONE is not set"},
		{"an empty variable", workspaces.Source{Env: "EMPTY"}, "is empty"},
		{"no program", workspaces.Source{Command: []string{"no-such-program"}}, "not on PATH"},
		{"a program that is not there", workspaces.Source{Command: []string{"/nowhere/x"}}, "no such file"},
		{"a program in a repository", workspaces.Source{Command: []string{"bin/x"}}, "not absolute"},
		{"a program that fails", workspaces.Source{Command: []string{"sh", "-c", "echo canary; echo canary >&2; exit 3"}}, "exit status 3"},
		{"a program that prints nothing", workspaces.Source{Command: []string{"true"}}, "is empty"},
		{"a program that prints without end", workspaces.Source{Command: []string{"yes", "canary"}}, "more than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := &workspaces.Workspace{Name: "a", Access: workspaces.Access{Plan: map[string]workspaces.Source{"TOKEN": c.source}}}
			_, err := access.New(access.Options{Environ: environ, Anything: true}).For(w, purpose).Plan(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "env.plan.TOKEN") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			ran := strings.Contains(c.want, "exit status") || strings.Contains(c.name, "without end")
			if err != nil && strings.Contains(err.Error(), "what it printed") != ran {
				t.Errorf("whether something was printed: %v", err)
			}
			if err != nil && strings.Contains(strings.ReplaceAll(err.Error(), c.name, ""), "canary") && !strings.Contains(err.Error(), `["yes"`) {
				t.Errorf("the error holds a value: %v", err)
			}
		})
	}
}

// TestProgramsOfTheDirectory: PATH may name the directory that Plumbline runs in, and nothing in it is run.
func TestProgramsOfTheDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("bin", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"token", "bin/token"} {
		if err := os.WriteFile(name, []byte("#!/bin/sh\necho canary\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w := &workspaces.Workspace{Name: "a", Access: workspaces.Access{Plan: map[string]workspaces.Source{"TOKEN": {Command: []string{"token"}}}}}
	for _, path := range []string{".", "bin", ""} {
		_, err := access.New(access.Options{Environ: []string{"PATH=" + path}, Anything: true}).For(w, purpose).Plan(t.Context())
		if err == nil || !strings.Contains(err.Error(), "not on PATH") {
			t.Errorf("with PATH=%s: %v", path, err)
		}
	}
}

// TestRules: what the operator does not allow is not had.
func TestRules(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:iam::111122223333:role/"
	rules := []access.Rule{
		{Repos: []string{"acme/live", "hub/beta/*"}, Roles: []string{arn + "team/*"}, Env: []string{"HOME"}},
		{Repos: []string{"wide/*"}, Roles: []string{"arn:aws:iam::*/plan"}},
		{Repos: []string{"acme/*"}, Files: []string{"/etc/hostname"}, Commands: [][]string{{"echo", "one"}}},
	}
	for _, c := range []struct {
		repo   string
		access workspaces.Access
		want   bool
	}{
		{"hub/acme/live", workspaces.Access{PlanRole: arn + "team/plan"}, true},
		{"other/acme/live", workspaces.Access{PlanRole: arn + "team/plan"}, true},
		{"hub/beta/x", workspaces.Access{PlanRole: arn + "team/sub/plan"}, true},
		{"other/beta/x", workspaces.Access{PlanRole: arn + "team/plan"}, false},
		{"hub/acme/other", workspaces.Access{PlanRole: arn + "team/plan"}, false},
		{"hub/acme/live", workspaces.Access{PlanRole: arn + "admin"}, false},
		{"hub/wide/x", workspaces.Access{PlanRole: arn + "plan"}, false},
		{"hub/acme/live", workspaces.Access{PlanRole: "arn:aws:iam::999900000000:role/team/plan"}, false},
		{"hub/acme/live", workspaces.Access{Plan: map[string]workspaces.Source{"A": {Env: "HOME"}}}, true},
		{"hub/acme/live", workspaces.Access{Plan: map[string]workspaces.Source{"A": {Env: "PATH"}}}, false},
		{"hub/acme/x", workspaces.Access{Plan: map[string]workspaces.Source{"A": {Env: "HOME"}}}, false},
		{"hub/acme/x", workspaces.Access{Plan: map[string]workspaces.Source{"A": {File: "/etc/hostname"}}}, true},
		{"hub/acme/x", workspaces.Access{Plan: map[string]workspaces.Source{"A": {File: "/etc/passwd"}}}, false},
		{"hub/acme/x", workspaces.Access{Plan: map[string]workspaces.Source{"A": {Command: []string{"echo", "one"}}}}, true},
		{"hub/acme/x", workspaces.Access{Plan: map[string]workspaces.Source{"A": {Command: []string{"echo", "one", "two"}}}}, false},
		{"hub/acme/x", workspaces.Access{Plan: map[string]workspaces.Source{"A": {Command: []string{"sh"}}}}, false},
		{"elsewhere", workspaces.Access{Plan: map[string]workspaces.Source{"A": {Text: "anybody may write text"}}}, true},
	} {
		environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=/x", "AWS_PROFILE=none-of-that-name"}
		_, err := access.New(access.Options{Environ: environ, Rules: rules}).
			For(&workspaces.Workspace{Name: "a", Access: c.access}, access.Purpose{Repository: c.repo}).Plan(t.Context())
		refused := err != nil && strings.Contains(err.Error(), "does not let the plumbline.yaml of "+c.repo)
		if refused == c.want {
			t.Errorf("%s names %+v: %v, want it allowed: %v", c.repo, c.access, err, c.want)
		}
	}
	w := &workspaces.Workspace{Name: "a", Access: workspaces.Access{Plan: map[string]workspaces.Source{"A": {Env: "HOME"}}}}
	if _, err := access.New(access.Options{Environ: []string{"HOME=/x"}}).For(w, purpose).Plan(t.Context()); err == nil {
		t.Error("without rules something is allowed")
	}
}

// TestPass: what may be given is not also there by itself, nor are other credentials of AWS beside a role's.
func TestPass(t *testing.T) {
	t.Parallel()
	environ := []string{
		"PATH=/bin", "AWS_PROFILE=admin", "AWS_ACCESS_KEY_ID=AKIA", "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL_STS=http://x", "AWS_WEB_IDENTITY_TOKEN_FILE=/t",
		"HCLOUD_TOKEN=all", "HCLOUD_APPLY=write", "ARM_CLIENT_SECRET=x", "OPERATORS=x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=x",
	}
	hcloud := &workspaces.Workspace{Name: "h", Access: workspaces.Access{Apply: map[string]workspaces.Source{"HCLOUD_TOKEN": {Env: "HCLOUD_APPLY"}}}}
	role := &workspaces.Workspace{Name: "r", Access: workspaces.Access{PlanRole: "arn:aws:iam::111122223333:role/plan"}}
	named := &workspaces.Workspace{Name: "r", Env: []string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN"}, Access: role.Access}
	none := &workspaces.Workspace{Name: "n"}
	for _, c := range []struct {
		name  string
		w     *workspaces.Workspace
		set   []*workspaces.Workspace
		rules []access.Rule
		gone  []string
	}{
		{name: "nothing is named", w: none},
		{name: "a variable of one phase", w: hcloud, gone: []string{"HCLOUD_TOKEN", "HCLOUD_APPLY"}},
		{name: "a source of another workspace", w: none, set: []*workspaces.Workspace{hcloud, none, role}, gone: []string{"HCLOUD_APPLY"}},
		{name: "roles", w: role, gone: []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}},
		{name: "roles, and a name", w: named, gone: []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"}},
		{
			name: "what the operator allows", w: none, rules: []access.Rule{{Repos: []string{"other/*"}, Roles: []string{"arn:aws:iam::111122223333:role/x"}, Env: []string{"OPERATORS"}}},
			gone: []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "OPERATORS", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
		},
	} {
		got := access.New(access.Options{Rules: c.rules}).For(c.w, purpose).Pass(environ, c.set)
		want := slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return slices.Contains(c.gone, name)
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestNoWayToTheServersOwn: where the operator allows any role, a workspace without one gets nothing that leads to the
// credentials of the server either.
func TestNoWayToTheServersOwn(t *testing.T) {
	t.Parallel()
	b := access.New(access.Options{Rules: []access.Rule{{Repos: []string{"*/*"}, Roles: []string{"arn:aws:iam::111122223333:role/x"}}}})
	grant, err := b.For(&workspaces.Workspace{Name: "n"}, purpose).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true"} {
		if !slices.Contains(grant.Given().Set, want) {
			t.Errorf("Terraform does not get %s: %q", want, grant.Given().Set)
		}
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_EC2_METADATA_DISABLED"} {
		w := &workspaces.Workspace{Name: "n", Access: workspaces.Access{Plan: map[string]workspaces.Source{name: {Text: "x"}}}}
		if _, err := b.For(w, purpose).Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "env.plan."+name) {
			t.Errorf("%s as text: %v", name, err)
		}
	}
	if grant, err := access.New(access.Options{}).For(&workspaces.Workspace{Name: "n"}, purpose).Plan(t.Context()); err != nil || len(grant.Given().Set) > 0 {
		t.Errorf("where no role is allowed: %q, %v", grant.Given().Set, err)
	}
}

// TestInputs: what a plan is made from holds input variables and text by value, and else where values come from.
func TestInputs(t *testing.T) {
	t.Parallel()
	w := &workspaces.Workspace{Name: "a", Access: workspaces.Access{
		PlanRole: "arn:aws:iam::111122223333:role/plan", ApplyRole: "arn:aws:iam::111122223333:role/apply", Region: "eu-west-1",
		Plan:  map[string]workspaces.Source{"TF_VAR_x": {Env: "X"}, "TOKEN": {Env: "Y"}, "TEXT": {Text: "t"}},
		Apply: map[string]workspaces.Source{"TOKEN": {File: "/run/token"}},
	}}
	variables, declared, err := access.New(access.Options{Environ: []string{"X=1", "Y=canary"}, Anything: true}).For(w, purpose).Inputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"TEXT=t", "TF_VAR_x=1"}, variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	want := []string{
		"plan TEXT as text", "plan TF_VAR_x from the variable X", "plan TOKEN from the variable Y", `apply TOKEN from the file /run/token ""`,
		"plan_role arn:aws:iam::111122223333:role/plan", "apply_role arn:aws:iam::111122223333:role/apply", "region eu-west-1",
	}
	if diff := cmp.Diff(want, declared); diff != "" {
		t.Errorf("declared (-want +got):\n%s", diff)
	}
}
