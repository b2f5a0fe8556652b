package main

import (
	"strings"
	"testing"
)

func TestFlagsFirst(t *testing.T) {
	app := (&program{}).app()
	for in, want := range map[string]string{
		"plan":                                  "plan",
		"plan network --json":                   "plan --json -- network",
		"plan --json network":                   "plan --json -- network",
		"plan network -p 3 app":                 "plan -p 3 -- network app",
		"plan --parallel=3 network":             "plan --parallel=3 -- network",
		"-C dir plan network --json":            "-C dir plan --json -- network",
		"plan -- --json":                        "plan -- --json",
		"plan network -- --json -x":             "plan -- network --json -x",
		"drift --correct":                       "drift --correct",
		"drift --correct update":                "drift --correct=update",
		"drift --correct update network":        "drift --correct=update -- network",
		"drift --correct network":               "drift --correct -- network",
		"drift network --correct":               "drift --correct -- network",
		"drift --correct=replace network":       "drift --correct=replace -- network",
		"plans show ID --json":                  "plans show --json -- ID",
		"plans prune --older-than 24h":          "plans prune --older-than 24h",
		"nothing --json":                        "--json -- nothing",
		"plan net --generate-bash-completion":   "plan net --generate-bash-completion",
		"plan --plan-store s3://b/p network -p": "plan --plan-store s3://b/p -p -- network",
	} {
		got := strings.Join(flagsFirst(app, append([]string{"plumbline"}, strings.Fields(in)...))[1:], " ")
		if got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestSecretsAreNotInJSON(t *testing.T) {
	const secret = `ab"c\d` + "\n" + `<e>fgh`
	var out strings.Builder
	p := &program{stdout: &out, environ: []string{"TF_VAR_db_password=" + secret, "HOME=/home/ada"}}
	type nested struct {
		Value, Inner, Kept string
	}
	if err := p.printJSON(nested{Value: "x" + secret + "y", Inner: inString(secret), Kept: "/home/ada"}); err != nil {
		t.Fatal(err)
	}
	if got, err := lookUp([]byte(out.String()), "Value"); err != nil || got != "x(secret)y" {
		t.Errorf("a secret in a string: %q, %v", got, err)
	}
	if got, err := lookUp([]byte(out.String()), "Inner"); err != nil || got != "(secret)" {
		t.Errorf("a secret in JSON in a string: %q, %v", got, err)
	}
	if got, err := lookUp([]byte(out.String()), "Kept"); err != nil || got != "/home/ada" {
		t.Errorf("what is no secret: %q, %v", got, err)
	}
}
