package workspaces_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// with returns a tree in which a and b run something, with a plumbline.yaml
// and further files as txtar text.
func with(t *testing.T, config, files string) fstest.MapFS {
	fsys := tree(t, "-- a/main.tf --\n"+resource+"-- b/main.tf --\n"+resource)
	if config != "" {
		fsys["plumbline.yaml"] = &fstest.MapFile{Data: []byte(config), Mode: 0o644}
	}
	for name, f := range tree(t, files) {
		if string(f.Data) == "/dev/null" {
			delete(fsys, name)
		} else {
			fsys[name] = f
		}
	}
	return fsys
}

// guards shows the rules of each workspace in a line.
func guards(list []*workspaces.Workspace) []string {
	out := []string{}
	for _, w := range list {
		line := fmt.Sprintf("%s %s %d", w.Name, w.Apply, w.Approvals)
		for _, extra := range []string{strings.Join(w.Env, ","), w.Account, w.Drift.Every, strings.Join(w.Drift.Windows, ",")} {
			if extra != "" {
				line += " " + extra
			}
		}
		for _, class := range slices.Sorted(maps.Keys(w.Drift.Correct)) {
			line += " " + class + "=" + w.Drift.Correct[class]
		}
		if w.Drift.MaxChanges != workspaces.DefaultMaxChanges {
			line += fmt.Sprintf(" max=%d", w.Drift.MaxChanges)
		}
		for _, rule := range w.Drift.Ignore {
			line += " ignore=" + rule.Address
		}
		for _, kind := range slices.Sorted(maps.Keys(w.Drift.Classes)) {
			line += " " + kind + "->" + w.Drift.Classes[kind]
		}
		out = append(out, line)
	}
	return out
}

func TestGuardKeepsTheRulesOfTheBase(t *testing.T) {
	const strict = "workspaces:\n  - { dir: a, apply: never, approvals: 2, env: [SECRET], account: prod }\n"
	for _, c := range []struct {
		name                 string
		base, head           string // plumbline.yaml
		baseFiles, headFiles string
		want                 []string
		notes                []string
	}{
		{name: "nothing to guard", want: []string{"a on-merge 0", "b on-merge 0"}},
		{
			name: "the same", base: strict, head: strict,
			want: []string{"a never 2 SECRET prod", "b on-merge 0"},
		},
		{
			name: "looser rules", base: strict, head: "workspaces:\n  - { dir: a, env: [SECRET, OTHER] }\n",
			want: []string{"a never 2 SECRET prod", "b on-merge 0"},
			notes: []string{
				"[a] apply stays never until this is merged; the change asks for on-merge",
				"[a] approvals stays 2 until this is merged; the change asks for 0",
				"[a] env stays SECRET until this is merged; the change asks for SECRET, OTHER",
				"[a] account stays prod until this is merged; the change asks for none",
			},
		},
		{
			name: "stricter rules wait as well", base: "", head: "defaults: { apply: never }\n",
			want:  []string{"a on-merge 0", "b on-merge 0"},
			notes: []string{"[a b] apply stays on-merge until this is merged; the change asks for never"},
		},
		{
			name: "plumbline.yaml taken away", base: strict, head: "",
			want: []string{"a never 2 SECRET prod", "b on-merge 0"},
			notes: []string{
				"[a] apply stays never until this is merged; the change asks for on-merge",
				"[a] approvals stays 2 until this is merged; the change asks for 0",
				"[a] env stays SECRET until this is merged; the change asks for none",
				"[a] account stays prod until this is merged; the change asks for none",
			},
		},
		{
			name: "defaults taken away", base: "defaults: { approvals: 1 }\n", head: "",
			want:  []string{"a on-merge 1", "b on-merge 1"},
			notes: []string{"[a b] approvals stays 1 until this is merged; the change asks for 0"},
		},
		{
			name: "another name", base: "workspaces: [{ dir: a, approvals: 2 }]\n", head: "workspaces: [{ dir: a, name: new }]\n",
			want:  []string{"b on-merge 0", "new on-merge 2"},
			notes: []string{"[new] approvals stays 2 until this is merged; the change asks for 0"},
		},
		{
			name:  "names swapped",
			base:  "workspaces: [{ dir: a, name: prod, approvals: 2 }, { dir: b, name: dev }]\n",
			head:  "workspaces: [{ dir: b, name: prod, approvals: 2 }, { dir: a, name: dev }]\n",
			want:  []string{"dev on-merge 2", "prod on-merge 0"},
			notes: []string{"[dev] approvals stays 2 until this is merged; the change asks for 0", "[prod] approvals stays 0 until this is merged; the change asks for 2"},
		},
		{
			name: "another spelling of the directory", base: "workspaces: [{ dir: a, approvals: 2 }]\n", head: "workspaces: [{ dir: .//a/ }]\n",
			want:  []string{"a on-merge 2", "b on-merge 0"},
			notes: []string{"[a] approvals stays 2 until this is merged; the change asks for 0"},
		},
		{
			name: "a symbolic link to the directory", base: "workspaces: [{ dir: a, approvals: 2 }]\n", head: "workspaces: [{ dir: link }]\n",
			headFiles: "-- link --\n-> a\n",
			want:      []string{"b on-merge 0", "link on-merge 2"},
			notes:     []string{"[link] approvals stays 2 until this is merged; the change asks for 0"},
		},
		{
			name: "the directory becomes a symbolic link", base: "workspaces: [{ dir: a, approvals: 2 }]\n", head: "",
			headFiles: "-- a/main.tf --\n-> /dev/null\n-- a --\n-> moved\n-- moved/main.tf --\n" + resource,
			want:      []string{"b on-merge 0", "moved on-merge 2"},
			notes:     []string{"[moved] approvals stays 2 until this is merged; the change asks for 0"},
		},
		{
			name: "another Terraform workspace in the directory", base: "workspaces: [{ dir: a, workspace: prod, apply: never, env: [X] }]\n",
			head: "workspaces: [{ dir: a, workspace: prod2, env: [X, Y] }]\n",
			want: []string{"a@prod2 never 0 X", "b on-merge 0"},
			notes: []string{
				"[a@prod2] apply stays never until this is merged; the change asks for on-merge",
				"[a@prod2] env stays X until this is merged; the change asks for X, Y",
			},
		},
		{
			name: "an entry taken away uncovers the directory", base: "workspaces: [{ dir: a, workspace: prod, apply: never }]\n", head: "",
			want:  []string{"a never 0", "b on-merge 0"},
			notes: []string{"[a] apply stays never until this is merged; the change asks for on-merge"},
		},
		{
			name: "the directory moved", base: "workspaces: [{ dir: a, approvals: 2, env: [X] }]\n", head: "workspaces: [{ dir: c, env: [X] }]\n",
			headFiles: "-- a/main.tf --\n-> /dev/null\n-- c/main.tf --\n" + resource,
			want:      []string{"b on-merge 0", "c on-merge 2 X"},
			notes:     []string{"[c] approvals stays 2 until this is merged; the change asks for 0"},
		},
		{
			name: "switched off and copied", base: "workspaces: [{ dir: a, approvals: 2 }]\n", head: "workspaces: [{ dir: a, enabled: false }]\n",
			headFiles: "-- c/main.tf --\n" + resource,
			want:      []string{"b on-merge 0", "c on-merge 2"},
			notes:     []string{"[c] approvals stays 2 until this is merged; the change asks for 0"},
		},
		{
			name: "switched on", base: "workspaces: [{ dir: a, enabled: false }, { dir: b }]\n", head: "workspaces: [{ dir: a }, { dir: b, depends_on: [a] }]\n",
			want:  []string{"b on-merge 0"},
			notes: []string{"[a] enabled stays false until this is merged; the change asks for true"},
		},
		{
			name: "switched on by another name", base: "workspaces: [{ dir: a, enabled: false }]\n", head: "workspaces: [{ dir: a, name: fresh, approvals: 9 }]\n",
			want:  []string{"b on-merge 0"},
			notes: []string{"[fresh] enabled stays false until this is merged; the change asks for true"},
		},
		{
			name: "switched on without an entry", base: "workspaces: [{ dir: a, enabled: false }]\n", head: "",
			want:  []string{"b on-merge 0"},
			notes: []string{"[a] enabled stays false until this is merged; the change asks for true"},
		},
		{
			name: "an entry of the base that had nothing to run", base: "workspaces: [{ dir: c, approvals: 2 }]\n", head: "",
			headFiles: "-- c/main.tf --\n" + resource,
			want:      []string{"a on-merge 0", "b on-merge 0", "c on-merge 2"},
			notes:     []string{"[c] approvals stays 2 until this is merged; the change asks for 0"},
		},
		{
			name:  "states told apart by their backend",
			base:  "workspaces: [{ dir: a, name: prod, backend_config: ['key=prod'], approvals: 2 }, { dir: a, name: dev, backend_config: ['key=dev'] }]\n",
			head:  "workspaces: [{ dir: a, name: dev, backend_config: ['key=prod'] }, { dir: a, name: prod, backend_config: ['key=dev'], approvals: 2 }]\n",
			want:  []string{"b on-merge 0", "dev on-merge 2", "prod on-merge 0"},
			notes: []string{"[dev] approvals stays 2 until this is merged; the change asks for 0", "[prod] approvals stays 0 until this is merged; the change asks for 2"},
		},
		{
			name:  "a backend spelled in another way",
			base:  "workspaces: [{ dir: a, name: prod, backend_config: ['key=prod'], approvals: 2, apply: never }, { dir: a, name: dev, backend_config: ['key=dev'], approvals: 3 }]\n",
			head:  "workspaces: [{ dir: a, name: dev, backend_config: ['key=dev', 'key=prod'], approvals: 3 }]\n",
			want:  []string{"b on-merge 0", "dev never 3"},
			notes: []string{"[dev] apply stays never until this is merged; the change asks for on-merge"},
		},
		{
			name: "a new workspace may be stricter", base: "defaults: { approvals: 1 }\n",
			head:      "defaults: { approvals: 1 }\nworkspaces: [{ dir: c, apply: on-comment, approvals: 3 }]\n",
			headFiles: "-- c/main.tf --\n" + resource,
			want:      []string{"a on-merge 1", "b on-merge 1", "c on-comment 3"},
		},
		{
			name: "a new workspace may not be looser", base: "defaults: { apply: on-comment, approvals: 1, env: [AWS_*] }\n",
			head:      "defaults: { apply: on-comment, approvals: 1, env: [AWS_*] }\nworkspaces: [{ dir: c, apply: on-merge, approvals: 0, env: [AWS_KEY, AWS_A*, A*, TOKEN] }]\n",
			headFiles: "-- c/main.tf --\n" + resource,
			want:      []string{"a on-comment 1 AWS_*", "b on-comment 1 AWS_*", "c on-comment 1 AWS_KEY,AWS_A*"},
			notes: []string{
				"[c] apply stays on-comment until this is merged; the change asks for on-merge",
				"[c] approvals stays 1 until this is merged; the change asks for 0",
				"[c] env stays AWS_KEY, AWS_A* until this is merged; the change asks for AWS_KEY, AWS_A*, A*, TOKEN",
			},
		},
		{
			name: "a base without plumbline.yaml grants no variables", base: "", head: "workspaces: [{ dir: c, env: [TOKEN] }]\n",
			headFiles: "-- c/main.tf --\n" + resource,
			want:      []string{"a on-merge 0", "b on-merge 0", "c on-merge 0"},
			notes:     []string{"[c] env stays none until this is merged; the change asks for TOKEN"},
		},
		{
			name: "drift",
			base: "defaults: { drift: { every: 1h, correct: { node: update }, max_changes: 3, windows: ['daily 01:00-02:00 UTC'], ignore: [{ address: x }] } }\n",
			head: "defaults: { drift: { every: 'off', correct: { node: all, cluster: all }, max_changes: 99, ignore: [{ address: '*' }] } }\nclasses: { acme_db: resource }\n",
			want: []string{
				"a on-merge 0 1h daily 01:00-02:00 UTC node=update max=3 ignore=x",
				"b on-merge 0 1h daily 01:00-02:00 UTC node=update max=3 ignore=x",
			},
			notes: []string{
				"[a b] drift.every stays 1h until this is merged; the change asks for off",
				"[a b] drift.correct stays node: update until this is merged; the change asks for cluster: all, node: all",
				"[a b] drift.max_changes stays 3 until this is merged; the change asks for 99",
				"[a b] drift.windows stays daily 01:00-02:00 UTC until this is merged; the change asks for none",
				"[a b] classes stays none until this is merged; the change asks for acme_db: resource",
				"[a b] drift.ignore stays one rule until this is merged; the change asks for other rules",
			},
		},
		{
			name: "drift of a new workspace",
			base: "workspaces: [{ dir: a }, { dir: b }]\ndefaults: { drift: { correct: { node: update, cluster: never }, max_changes: 3 } }\n",
			head: "workspaces: [{ dir: a }, { dir: b }, { dir: c, drift: { correct: { node: replace, resource: all }, max_changes: 2, windows: ['daily 01:00-02:00 UTC'], ignore: [{ address: '*' }] } }]\n" +
				"defaults: { drift: { correct: { node: update, cluster: never }, max_changes: 3 } }\n",
			headFiles: "-- c/main.tf --\n" + resource,
			want: []string{
				"a on-merge 0 cluster=never node=update max=3", "b on-merge 0 cluster=never node=update max=3",
				"c on-merge 0 daily 01:00-02:00 UTC cluster=never node=update resource=never max=2",
			},
			notes: []string{
				"[c] drift.correct stays node: update until this is merged; the change asks for node: replace, resource: all",
				"[c] drift.ignore stays without rules until this is merged; the change asks for other rules",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := discover(t, checkout(t, with(t, c.base, c.baseFiles)))
			head := discover(t, checkout(t, with(t, c.head, c.headFiles)))
			asked := guards(head.Workspaces)
			got, noted := workspaces.Guard(base, head)
			equal(t, "rules", guards(got.Workspaces), c.want)
			var notes []string
			for _, n := range noted {
				notes = append(notes, fmt.Sprint(n.Workspaces, " ", n))
			}
			equal(t, "notes", notes, c.notes)
			equal(t, "rules of the set that was given", guards(head.Workspaces), asked)
			for _, w := range got.Workspaces {
				if get(t, got, w.Name) != w {
					t.Errorf("Get(%q) is another workspace than the one in the list", w.Name)
				}
			}
		})
	}
}

func TestGuardWithoutABase(t *testing.T) {
	head := discover(t, with(t, "defaults: { approvals: 1, env: [TOKEN], drift: { correct: { node: all } } }\n", ""))
	got, _ := workspaces.Guard(nil, head)
	equal(t, "rules", guards(got.Workspaces), []string{"a on-merge 1 node=never", "b on-merge 1 node=never"})
}

func TestGuardTakesAwayWhatTheBaseSwitchesOff(t *testing.T) {
	base := discover(t, with(t, "workspaces: [{ dir: a, enabled: false }]\n", ""))
	fsys := with(t, "workspaces: [{ dir: a }, { dir: b, depends_on: [a] }]\n", "")
	head, _ := workspaces.Guard(base, discover(t, fsys))
	list := workspaces.Affected(base, head, []workspaces.Change{{Path: "a/main.tf"}, {Path: "b/main.tf"}})
	equal(t, "affected", names(list), []string{"b"})
	equal(t, "dependencies", list[0].DependsOn, []string{})
	if _, err := head.Select([]string{"a"}); err == nil || !strings.Contains(err.Error(), "disabled in plumbline.yaml:1") {
		t.Errorf("Select of what is switched off: %v, want that it is disabled", err)
	}
}

func TestPolicyHasDefaults(t *testing.T) {
	var none *workspaces.Set
	equal(t, "policy of no set", none.Policy(), workspaces.Policy{Drafts: "plan", Merge: "off", Push: "hold"})
	set := discover(t, with(t, "drafts: wait\nmerge: squash\npush: apply\n", ""))
	equal(t, "policy", set.Policy(), workspaces.Policy{Drafts: "wait", Merge: "squash", Push: "apply"})
}

// TestGuardMerge: once merged, what is run and what it sees is the branch's,
// and whether it is applied is still for the base to say.
func TestGuardMerge(t *testing.T) {
	base := discover(t, with(t, "workspaces:\n  - { dir: a, apply: on-comment, approvals: 2, env: [OLD], account: prod }\n  - { dir: b, enabled: false, approvals: 1 }\n", ""))
	head := discover(t, with(t, "workspaces:\n  - { dir: a, env: [OLD, NEW], account: test }\n  - { dir: b, env: [NEW], apply: on-merge }\n", ""))
	before, _ := workspaces.Guard(base, head)
	if got, want := strings.Join(guards(before.Workspaces), "; "), "a on-comment 2 OLD prod"; got != want {
		t.Errorf("before the merge: %s, want %s", got, want)
	}
	after, asked := workspaces.GuardMerge(base, head)
	if got, want := strings.Join(guards(after.Workspaces), "; "), "a on-comment 2 OLD,NEW test; b on-merge 1 NEW"; got != want {
		t.Errorf("of the merge: %s, want %s", got, want)
	}
	for _, rule := range asked {
		if rule.Key != "apply" && rule.Key != "approvals" {
			t.Errorf("%s is said not to count", rule.Key)
		}
	}
}
