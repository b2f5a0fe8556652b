package access_test

import (
	"testing"

	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// TestAmbient: Plumbline's own credentials of AWS are used for a workspace only if nothing keeps them from its Terraform.
func TestAmbient(t *testing.T) {
	t.Parallel()
	text := func(name string) *workspaces.Workspace {
		return &workspaces.Workspace{Name: "t", Access: workspaces.Access{Plan: map[string]workspaces.Source{name: {Text: "x"}}}}
	}
	taken := &workspaces.Workspace{Name: "s", Access: workspaces.Access{Apply: map[string]workspaces.Source{"TOKEN": {Env: "AWS_SECRET_ACCESS_KEY"}}}}
	for _, c := range []struct {
		name  string
		w     *workspaces.Workspace
		set   []*workspaces.Workspace
		rules []access.Rule
		want  bool
	}{
		{name: "nothing is named", w: text("OTHER"), want: true},
		{name: "a profile of the workspace's own", w: text("AWS_PROFILE"), want: true},
		{name: "a role of another repository", w: text("OTHER"), rules: []access.Rule{{Repos: []string{"other/*"}, Roles: []string{"arn:aws:iam::111122223333:role/x"}}}},
		{name: "a key that is handed out", w: text("OTHER"), rules: []access.Rule{{Repos: []string{"other/*"}, Env: []string{"AWS_ACCESS_KEY_ID"}}}},
		{name: "a secret that another workspace takes", w: text("OTHER"), set: []*workspaces.Workspace{taken}},
	} {
		k := access.New(access.Options{Rules: c.rules}).For(c.w, purpose)
		g, err := k.Plan(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := k.Ambient(g, c.set); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
