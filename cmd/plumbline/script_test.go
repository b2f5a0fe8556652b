package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// TestMain lets the test binary be four programs: the tests, the plumbline
// command of the scripts, the toy provider that the demo starts, and a
// provider that stands in for that of AWS.
func TestMain(m *testing.M) {
	if isAWSProvider() {
		os.Exit(serveAWSProvider())
	}
	if provider.IsProvider(os.Args[0]) {
		os.Exit(Main())
	}
	testscript.Main(m, map[string]func(){
		"plumbline": func() { os.Exit(Main()) },
	})
}

// TestScripts runs the product's promises, one scenario a file, against the
// command as a user calls it: real Git, real Terraform, real providers.
//
//	go test ./cmd/plumbline -run 'TestScripts/drift'
//	go test ./cmd/plumbline -run TestScripts -update
func TestScripts(t *testing.T) {
	runScripts(t, "../../testdata/script", nil)
}

// runScripts runs the scripts of a directory. more, if there is any, adds to their environment; commands to what they
// can do.
func runScripts(t *testing.T, dir string, more func(*testscript.Env), commands ...map[string]func(*testscript.TestScript, bool, []string)) {
	terraform := parts.Terraform(t)
	config := parts.MirrorConfig(t, parts.Mirror(t))
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, ".home")
			if err := os.MkdirAll(home, 0o700); err != nil {
				return err
			}
			// Only what the scripts need: the tests must not depend on the
			// machine's own configuration of Git or Terraform.
			env.Vars = append(env.Vars,
				"HOME="+home,
				"XDG_CACHE_HOME="+filepath.Join(home, "cache"),
				"XDG_STATE_HOME="+filepath.Join(home, "state"),
				"PATH="+filepath.Dir(terraform)+string(os.PathListSeparator)+env.Getenv("PATH"),
				"TF_CLI_CONFIG_FILE="+config,
				"CHECKPOINT_DISABLE=1",
				"GIT_CONFIG_NOSYSTEM=1",
				"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
				"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
				"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
			)
			env.Values[storyKey{}] = &serveStory{parent: t}
			if more != nil {
				more(env)
			}
			return nil
		},
		Cmds: withCommands(append(commands, serveCommands, followCommands, runCommands, rolesCommands, map[string]func(*testscript.TestScript, bool, []string){
			"status":   scriptStatus,
			"auditlog": scriptAuditLog,
			"sqlite":   scriptSQLite,
			"commit":   scriptCommit,
			"absent":   scriptAbsent,
			"jsonhas":  scriptJSONHas,
			"modeis":   scriptModeIs,
			"nosecret": scriptNoSecret,
		})...),
	})
}

// withCommands joins commands of scripts.
func withCommands(all ...map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	joined := map[string]func(*testscript.TestScript, bool, []string){}
	for _, some := range all {
		maps.Copy(joined, some)
	}
	return joined
}

// scriptStatus runs plumbline and wants one exit status of it:
//
//	status 2 plan network
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: status N ARG...")
	}
	err := ts.Exec("plumbline", args[1:]...)
	got := "0"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("run plumbline: %v", err)
	}
	if got != args[0] {
		ts.Fatalf("plumbline %s: exit status %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// scriptCommit makes one commit of everything in a directory, which becomes a
// repository if it is not one yet:
//
//	commit DIR MESSAGE
func scriptCommit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: commit DIR MESSAGE")
	}
	dir := ts.MkAbs(args[0])
	git := func(args ...string) {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, args...)...))
	}
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
		git("init", "-q", "-b", "main")
	}
	git("add", "-A")
	git("commit", "-q", "-m", args[1])
}

// scriptAbsent wants that nothing below a directory has one of the names:
//
//	absent DIR GLOB...
func scriptAbsent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: absent DIR GLOB...")
	}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, glob := range args[1:] {
			if ok, err := filepath.Match(glob, d.Name()); err != nil {
				return err
			} else if ok {
				return fmt.Errorf("%s is there", path)
			}
		}
		return nil
	}))
}

// scriptJSONHas looks a path up in the JSON on standard output:
//
//	jsonhas 0.name network
func scriptJSONHas(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: jsonhas PATH VALUE")
	}
	got, err := lookUp([]byte(ts.ReadFile("stdout")), args[0])
	ts.Check(err)
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q; %q was wanted: %v", args[0], got, args[1], !neg)
	}
}

// scriptModeIs wants a file's permissions: modeis 0600 FILE.
func scriptModeIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: modeis MODE FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// scriptNoSecret wants that a value occurs in no file below the directories,
// and neither in what the last command printed:
//
//	nosecret VALUE DIR...
func scriptNoSecret(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: nosecret VALUE DIR...")
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if strings.Contains(ts.ReadFile(stream), args[0]) {
			ts.Fatalf("%s holds %q", stream, args[0])
		}
	}
	files := 0
	for _, dir := range args[1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			files++
			data, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(data), args[0]) {
				return fmt.Errorf("%s holds %q", path, args[0])
			}
			return err
		}))
	}
	if files == 0 {
		ts.Fatalf("no file was searched")
	}
}
