package workspaces_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// credentials shows what each workspace gets, in a line.
func credentials(list []*workspaces.Workspace) []string {
	out := []string{}
	for _, w := range list {
		a := w.Access
		line := w.Name
		for _, role := range []string{a.PlanRole, a.ApplyRole} {
			line += " " + role[strings.LastIndexByte(role, '/')+1:]
		}
		for _, name := range a.Names() {
			line += fmt.Sprintf(" %s=%s|%s", name, a.Plan[name], a.Apply[name])
		}
		out = append(out, line)
	}
	return out
}

// TestGuardKeepsTheCredentialsOfTheBase: no change gets, before it is merged, other roles or variables than those of its
// base, whatever it writes.
func TestGuardKeepsTheCredentialsOfTheBase(t *testing.T) {
	roles := func(plan, apply string) string {
		return fmt.Sprintf("aws: { plan_role: 'arn:aws:iam::111122223333:role/%s', apply_role: 'arn:aws:iam::111122223333:role/%s' }", plan, apply)
	}
	const token = "env: { plan: { TOKEN: { env: READ } }, apply: { TOKEN: { command: [token] } } }"
	const more = "-- c/main.tf --\n" + resource
	for _, c := range []struct {
		name       string
		base, head string
		headFiles  string
		want       []string
		notes      []string
		merged     []string // of GuardMerge; nil for what want says
	}{
		{
			name: "other roles", base: "defaults: { " + roles("plan", "apply") + " }\n", head: "defaults: { " + roles("apply", "apply") + " }\n",
			want: []string{"a plan apply", "b plan apply"}, merged: []string{"a apply apply", "b apply apply"},
			notes: []string{"[a b] aws stays plan_role `arn:aws:iam::111122223333:role/plan`, apply_role `arn:aws:iam::111122223333:role/apply` until this is merged; " +
				"the change asks for plan_role `arn:aws:iam::111122223333:role/apply`, apply_role `arn:aws:iam::111122223333:role/apply`"},
		},
		{
			name: "roles taken away", base: "workspaces: [{ dir: a, " + roles("plan", "apply") + " }]\n", head: "",
			want: []string{"a plan apply", "b  "}, merged: []string{"a  ", "b  "},
			notes: []string{"[a] aws stays plan_role `arn:aws:iam::111122223333:role/plan`, apply_role `arn:aws:iam::111122223333:role/apply` until this is merged; the change asks for none"},
		},
		{
			name: "a command of its own", base: "workspaces: [{ dir: a, " + token + " }]\n",
			head: "workspaces: [{ dir: a, env: { plan: { TOKEN: { command: [curl, evil] }, KUBECONFIG: /tmp/x } } }]\n",
			want: []string{"a   TOKEN=from the variable READ|from the command [\"token\"]", "b  "}, merged: []string{"a   KUBECONFIG=as text|as text TOKEN=from the command [\"curl\" \"evil\"]|as text", "b  "},
			notes: []string{
				`[a] env.plan stays TOKEN from the variable READ until this is merged; the change asks for KUBECONFIG as text, TOKEN from the command ["curl" "evil"]`,
				`[a] env.apply stays TOKEN from the command ["token"] until this is merged; the change asks for none`,
			},
		},
		{
			name: "other text, which is not told", base: "defaults: { env: { plan: { TOKEN: one } } }\n", head: "defaults: { env: { plan: { TOKEN: two } } }\n",
			want:  []string{"a   TOKEN=as text|as text", "b   TOKEN=as text|as text"},
			notes: []string{"[a b] env.plan stays TOKEN as text until this is merged; the change asks for other values"},
		},
		{
			name: "a new workspace has the credentials of the defaults", base: "defaults: { " + roles("plan", "apply") + " }\n",
			head:      "defaults: { " + roles("plan", "apply") + " }\nworkspaces: [{ dir: c, " + roles("admin", "admin") + ", " + token + " }]\n",
			headFiles: more, want: []string{"a plan apply", "b plan apply", "c plan apply"},
			merged: []string{"a plan apply", "b plan apply", "c admin admin TOKEN=from the variable READ|from the command [\"token\"]"},
			notes: []string{
				"[c] aws stays plan_role `arn:aws:iam::111122223333:role/plan`, apply_role `arn:aws:iam::111122223333:role/apply` until this is merged; " +
					"the change asks for plan_role `arn:aws:iam::111122223333:role/admin`, apply_role `arn:aws:iam::111122223333:role/admin`",
				`[c] env.plan stays none until this is merged; the change asks for TOKEN from the variable READ`,
				`[c] env.apply stays none until this is merged; the change asks for TOKEN from the command ["token"]`,
			},
		},
		{
			name: "a new workspace without defaults has none", base: "workspaces: [{ dir: a, " + roles("plan", "apply") + " }]\n",
			head:      "workspaces: [{ dir: a, " + roles("plan", "apply") + " }, { dir: c, " + roles("plan", "apply") + " }]\n",
			headFiles: more, want: []string{"a plan apply", "b  ", "c  "}, merged: []string{"a plan apply", "b  ", "c plan apply"},
			notes: []string{"[c] aws stays none until this is merged; the change asks for plan_role `arn:aws:iam::111122223333:role/plan`, apply_role `arn:aws:iam::111122223333:role/apply`"},
		},
		{
			name: "a directory that moves keeps its own", base: "workspaces: [{ dir: a, " + roles("plan", "apply") + " }]\n",
			head:      "workspaces: [{ dir: c, " + roles("plan", "apply") + " }]\n",
			headFiles: "-- a/main.tf --\n-> /dev/null\n" + more, want: []string{"b  ", "c plan apply"},
		},
		{
			name: "a directory that moves cannot swap them", base: "workspaces: [{ dir: a, " + roles("plan", "apply") + " }]\n",
			head:      "workspaces: [{ dir: c, " + roles("apply", "apply") + " }]\n",
			headFiles: "-- a/main.tf --\n-> /dev/null\n" + more, want: []string{"b  ", "c  "}, merged: []string{"b  ", "c apply apply"},
			notes: []string{"[c] aws stays none until this is merged; the change asks for plan_role `arn:aws:iam::111122223333:role/apply`, apply_role `arn:aws:iam::111122223333:role/apply`"},
		},
		{
			name: "two states that cannot be told apart", base: "workspaces: [{ dir: a, name: one, backend_config: ['key=one'], " + roles("plan", "apply") + " }, { dir: a, name: two, backend_config: ['key=two'] }]\n",
			head: "workspaces: [{ dir: a, name: three, backend_config: ['key=three'], " + roles("plan", "apply") + " }]\n",
			want: []string{"b  ", "three  "}, merged: []string{"b  ", "three plan apply"},
			notes: []string{"[three] aws stays none until this is merged; the change asks for plan_role `arn:aws:iam::111122223333:role/plan`, apply_role `arn:aws:iam::111122223333:role/apply`"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, head := discover(t, checkout(t, with(t, c.base, ""))), discover(t, checkout(t, with(t, c.head, c.headFiles)))
			got, noted := workspaces.Guard(base, head)
			equal(t, "credentials", credentials(got.Workspaces), c.want)
			var notes []string
			for _, n := range noted {
				notes = append(notes, fmt.Sprint(n.Workspaces, " ", n))
			}
			equal(t, "notes", notes, c.notes)
			if c.merged == nil {
				c.merged = c.want
			}
			got, _ = workspaces.GuardMerge(base, head)
			equal(t, "credentials once merged", credentials(got.Workspaces), c.merged)
		})
	}
}
