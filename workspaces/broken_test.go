package workspaces_test

import (
	"testing"
)

// TestABrokenCallerStillCallsItsModules covers what must never be planned by
// itself: a module whose caller cannot be read just now.
func TestABrokenCallerStillCallsItsModules(t *testing.T) {
	const lib = "-- lib/db/main.tf --\n" + resource + "-- lib/net/main.tf --\n" + resource
	const calls = "module \"db\" {\n  source = \"../lib/db\"\n}\n\nmodule \"net\" {\n  source = \"../lib/net\"\n}\n"
	for _, c := range []struct {
		name, files string
		want        []string
	}{
		{"a conflict marker on the first line", "-- app/main.tf --\n<<<<<<< HEAD\n" + calls, []string{"app"}},
		{"a conflict within a call", "-- app/main.tf --\nmodule \"db\" {\n<<<<<<< HEAD\n  source = \"../lib/db\"\n=======\n  source = \"../lib/net\"\n>>>>>>> main\n}\n", []string{"app"}},
		{"a conflict between the key and its value", "-- app/main.tf --\nmodule \"db\" {\n  source =\n<<<<<<< HEAD\n    \"../lib/db\"\n}\nmodule \"net\" {\n  source = (\"../lib/net\")\n}\n", []string{"app"}},
		{"an unclosed string on the first line", "-- app/main.tf --\nx = \"abc\n" + calls, []string{"app"}},
		{"an unclosed heredoc", "-- app/main.tf --\nx = <<EOT\n" + calls, []string{"app"}},
		{"an unclosed comment", "-- app/main.tf --\n/*\n" + calls, []string{"app"}},
		{"an unclosed source", "-- app/main.tf --\nmodule \"db\" {\n  source = \"../lib/db\n}\nmodule \"net\" {\n  source = \"../lib/net\"\n}\n", []string{"app"}},
		{"a bad line anywhere", "-- app/main.tf --\n" + calls + "x = = 1\nmodule \"more\" {\n", []string{"app"}},
		{"a bad brace in front", "-- app/main.tf --\nlocals {{\n}\n" + calls, []string{"app"}},
		{"a conflict in JSON", "-- app/main.tf.json --\n{\n<<<<<<< HEAD\n  \"module\": {\"db\": {\"source\": \"../lib/db\"}, \"net\": {\"source\" :\n \"..\\/lib\\/net\"}}\n}\n", []string{"app"}},
		{"no text in UTF-8", "-- app/main.tf --\nx = \"\xff\"\n" + calls, []string{"app"}},
		{
			"a one-line block in a module that calls others",
			"-- app/main.tf --\nmodule \"m\" {\n  source = \"../m\"\n}\n-- m/main.tf --\nterraform { required_providers { aws = { source = \"hashicorp/aws\" } } }\n" + calls,
			[]string{"app"},
		},
		{
			"a test that cannot be read",
			"-- app/main.tf --\n" + calls + "-- app/tests/setup/main.tf --\n" + resource + "-- app/tests/x.tftest.hcl --\n<<<<<<< HEAD\nrun \"setup\" {\n  module {\n    source = \"./tests/setup\"\n  }\n}\n",
			[]string{"app"},
		},
		{
			"a comment in a broken module names who calls it",
			"-- app/main.tf --\n" + calls + "-- lib/db/main.tf --\n# source = \"../../app\"\nx = = 1\n",
			[]string{"app"},
		},
		{
			"two that seem to call one another",
			"-- app/main.tf --\n<<<<<<< HEAD\n" + calls + "# source = \"../beta\"\n-- beta/main.tf --\n<<<<<<< HEAD\n# source = \"../app\"\n",
			[]string{"app"},
		},
		{
			"one that seems to call itself",
			"-- app/main.tf --\n<<<<<<< HEAD\n" + calls + "# source = \"./\"\n",
			[]string{"app"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := tree(t, lib+c.files)
			set := discover(t, fsys)
			equal(t, "workspaces", names(set.Workspaces), c.want)
			for _, p := range set.Problems {
				if p.Line == 0 {
					t.Errorf("unexpected problem: %+v", p)
				}
			}
		})
	}
}
