package workspaces_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/workspaces"
)

func TestAddIgnore(t *testing.T) {
	t.Parallel()
	rule := workspaces.IgnoreRule{Address: "toy_node.web", Attributes: []string{"size"}, Until: "2027-03-01", Owner: "@bob", Reason: "the autoscaler does it"}
	app := &workspaces.Workspace{Name: "app", Dir: "app"}
	for name, test := range map[string]struct{ before, after string }{
		"no file": {"", `version: 1
workspaces:
  - dir: app
    drift:
      ignore:
        - address: toy_node.web
          attributes: [size]
          until: 2027-03-01
          owner: "@bob"
          reason: "the autoscaler does it"
`},
		"an entry for another": {"# ours\nworkspaces:\n- dir: network # the first\n\n# the end\n", `# ours
workspaces:
- dir: network # the first
- dir: app
  drift:
    ignore:
      - address: toy_node.web
        attributes: [size]
        until: 2027-03-01
        owner: "@bob"
        reason: "the autoscaler does it"

# the end
`},
		"a list": {`workspaces:
  - dir: app
    drift:
      every: 1h # often
      ignore:
        # known since May
        - address: "a.*"
          reason: >-
            folded
            text
        # and this

      max_changes: 3

  # the next
  - dir: network
`, `workspaces:
  - dir: app
    drift:
      every: 1h # often
      ignore:
        # known since May
        - address: "a.*"
          reason: >-
            folded
            text
        - address: toy_node.web
          attributes: [size]
          until: 2027-03-01
          owner: "@bob"
          reason: "the autoscaler does it"
        # and this

      max_changes: 3

  # the next
  - dir: network
`},
		"no list": {"workspaces:\n  - dir: app\n    drift:\n      every: 1h\n    apply: never\n  - dir: network\n",
			"workspaces:\n  - dir: app\n    drift:\n      every: 1h\n      ignore:\n        - address: toy_node.web\n          attributes: [size]\n          until: 2027-03-01\n          owner: \"@bob\"\n          reason: \"the autoscaler does it\"\n    apply: never\n  - dir: network\n"},
		"no drift, at the end, without a newline": {"workspaces:\n  - apply: never\n    dir: app",
			"workspaces:\n  - apply: never\n    dir: app\n    drift:\n      ignore:\n        - address: toy_node.web\n          attributes: [size]\n          until: 2027-03-01\n          owner: \"@bob\"\n          reason: \"the autoscaler does it\"\n"},
		"brackets": {"workspaces:\n  - { dir: app, drift: { every: 1h, ignore: [ {address: a.b} ] } } # all\n",
			"workspaces:\n  - { dir: app, drift: { every: 1h, ignore: [{ address: toy_node.web, attributes: [size], until: 2027-03-01, owner: \"@bob\", reason: \"the autoscaler does it\" },  {address: a.b} ] } } # all\n"},
		"brackets without any": {"workspaces: [{dir: app}]\n",
			"workspaces: [{drift: { ignore: [{ address: toy_node.web, attributes: [size], until: 2027-03-01, owner: \"@bob\", reason: \"the autoscaler does it\" }] }, dir: app}]\n"},
		"rules of defaults": {"defaults:\n  drift:\n    ignore: [{ address: \"x.*\" }]\nworkspaces:\n  - dir: app\n    apply: never\n",
			"defaults:\n  drift:\n    ignore: [{ address: \"x.*\" }]\nworkspaces:\n  - dir: app\n    apply: never\n    drift:\n      ignore:\n        - address: \"x.*\"\n        - address: toy_node.web\n          attributes: [size]\n          until: 2027-03-01\n          owner: \"@bob\"\n          reason: \"the autoscaler does it\"\n"},
		"lines of Windows": {"workspaces:\r\n  - dir: app\r\n    drift:\r\n      ignore:\r\n      - address: a.b\r\n",
			"workspaces:\r\n  - dir: app\r\n    drift:\r\n      ignore:\r\n      - address: a.b\r\n      - address: toy_node.web\r\n        attributes: [size]\r\n        until: 2027-03-01\r\n        owner: \"@bob\"\r\n        reason: \"the autoscaler does it\"\r\n"},
	} {
		got, err := workspaces.AddIgnore("plumbline.yaml", []byte(test.before), app, rule)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(test.after, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, before := range map[string]string{
		"mistakes":       "workspaces:\n  - dir: ../x\n",
		"a key alone":    "workspaces:\n  - dir: app\n    drift:\n",
		"a top level":    "- a\n",
		"an alias":       "defaults:\n  drift: &d\n    ignore:\n      - address: a.b\nworkspaces:\n  - dir: app\n    drift: *d\n",
		"newer than us":  "version: 9\nworkspaces: []\n",
		"other document": "workspaces:\n  - dir: app\n---\nx: y\n",
	} {
		if got, err := workspaces.AddIgnore("plumbline.yaml", []byte(before), app, rule); err == nil {
			t.Errorf("%s: no error, but\n%s", name, got)
		}
	}
	if got, err := workspaces.AddIgnore("plumbline.yaml", nil, &workspaces.Workspace{Name: "app@prod", Dir: "app"}, rule); err == nil {
		t.Errorf("a workspace that an entry cannot name: %s", got)
	}
}

// Whatever a rule's words hold, they are read back as they were.
func FuzzAddIgnore(f *testing.F) {
	f.Add("workspaces:\n  - dir: app\n    drift: { ignore: [] }\n", `toy_node.web["a: b"]`, "tags[\"x y\"]", "# no remark\n- dir: x")
	f.Add("", "a.b", "{{ x }}", "&a *b !!str | > % @ ` ' \" \\ \u2028 \u0085")
	f.Add("workspaces:\n- dir: app\n  drift:\n    ignore:\n    - address: |\n        x.y\n", "*", "a", "yes")
	f.Fuzz(func(t *testing.T, before, address, attribute, reason string) {
		app := &workspaces.Workspace{Name: "app", Dir: "app"}
		rule := workspaces.IgnoreRule{Address: address, Attributes: []string{attribute}, Until: "2027-03-01", Reason: reason}
		after, err := workspaces.AddIgnore("plumbline.yaml", []byte(before), app, rule)
		if err != nil {
			return
		}
		config, problems := workspaces.ParseConfig("plumbline.yaml", after)
		if slices.ContainsFunc(problems, workspaces.Problem.IsError) {
			t.Fatalf("%v\n%s", problems, after)
		}
		found := false
		for _, e := range config.Workspaces {
			if e.Drift != nil {
				for _, r := range e.Drift.Ignore {
					found = found || r.Address == address && slices.Equal(r.Attributes, rule.Attributes) && r.Reason == reason && r.Until == rule.Until
				}
			}
		}
		if !found {
			t.Errorf("the rule is not in\n%s", after)
		}
		for line := range strings.Lines(before) { // nothing that stood there is gone
			if !strings.Contains(string(after), strings.TrimSpace(line)) && !strings.ContainsAny(line, "[{") {
				t.Errorf("%q is gone from\n%s", line, after)
			}
		}
	})
}
