//go:build e2e

package main

import (
	"encoding/json"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// TestE2EKubernetes runs the scenarios that need a real Kubernetes, and Terraform's provider for it. Their scripts may
// change the cluster behind Terraform's back:
//
//	kube GET PATH               an object to standard output, as JSON
//	kube POST|PUT|PATCH PATH FILE   what the file says, as JSON; a PATCH is a merge patch
//	kube DELETE PATH
//	! kube GET PATH             there is no such object
//	unnamespace NAME            delete a namespace
//
// PATH begins after /api/v1.
func TestE2EKubernetes(t *testing.T) {
	config := parts.MirrorConfig(t, parts.Mirror(t), parts.KubectlMirror(t))
	cluster := parts.Kubernetes(t)
	runScripts(t, "../../testdata/e2e/kubernetes", func(env *testscript.Env) {
		env.Setenv("TF_CLI_CONFIG_FILE", config)
		env.Setenv("KUBECONFIG", cluster.Config)
	}, map[string]func(*testscript.TestScript, bool, []string){
		"kube": func(ts *testscript.TestScript, neg bool, args []string) {
			if len(args) < 2 || len(args) > 3 {
				ts.Fatalf("usage: kube METHOD PATH [FILE]")
			}
			tb, path := scriptTBOf(ts), "/api/v1"+args[1]
			if neg {
				if cluster.Has(tb, path) {
					ts.Fatalf("%s is there", path)
				}
				return
			}
			var in any
			if len(args) == 3 {
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[2])), &in))
			}
			var out json.RawMessage
			cluster.Do(tb, args[0], path, in, &out)
			_, err := ts.Stdout().Write(out)
			ts.Check(err)
		},
		"unnamespace": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) != 1 {
				ts.Fatalf("usage: unnamespace NAME")
			}
			cluster.DeleteNamespace(scriptTBOf(ts), args[0])
		},
	})
}

// scriptTBOf returns what fails the script that a command is called by.
func scriptTBOf(ts *testscript.TestScript) *scriptTB {
	s := ts.Value(storyKey{}).(*serveStory)
	s.ts = ts
	return &scriptTB{TB: s.parent, story: s}
}
