package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plumbline-dev/plumbline/internal/awstest"
)

// These commands let a script see which credentials Terraform had: the real one, behind a program of its name that writes
// down with what it is started.
//
//	aws                   STS with the roles plan and apply of the account 111122223333, and credentials that may assume them
//	had COMMAND ROLE [VAR=VALUE...]   since the last had of that command Terraform was started with it, always with
//	                      credentials of the role (- for none) and the variables (VAR= for none)
//	sessions ROLE=NAME... the sessions that STS has made since the last time, by role and name, in order; COMMIT stands
//	                      for one in the name
//	tagged KEY=VALUE...   the last session has these tags
//	canaries DIR...       nothing that STS has given out is below the directories, or was printed last
var rolesCommands = map[string]func(*testscript.TestScript, bool, []string){
	"aws": func(ts *testscript.TestScript, _ bool, _ []string) {
		s := ts.Value(storyKey{}).(*serveStory)
		s.aws = &awsStory{Server: awstest.New(s.parent), trace: ts.MkAbs(".trace"), read: map[string]int{}}
		for name, value := range s.aws.Environ() {
			ts.Setenv(name, value)
		}
		for _, role := range []string{"plan", "apply"} {
			s.aws.AddRole(role, awstest.Role{Trusts: []string{awstest.AccessKey}})
		}
		terraform := ""
		for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
			if path, err := exec.LookPath(filepath.Join(dir, "terraform")); err == nil && terraform == "" {
				terraform = path
			}
		}
		bin := ts.MkAbs(".bin")
		ts.Check(os.MkdirAll(bin, 0o700))
		text := fmt.Sprintf("#!/bin/sh\n{ echo \"== $1\"; env | grep -E '^(AWS_|TOKEN)'; } >> '%s'\nexec '%s' \"$@\"\n", s.aws.trace, terraform)
		ts.Check(os.WriteFile(filepath.Join(bin, "terraform"), []byte(text), 0o700))
		ts.Setenv("PATH", bin+string(os.PathListSeparator)+ts.Getenv("PATH"))
	},
	"had": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: had COMMAND ROLE [VAR=VALUE...]")
		}
		ts.Value(storyKey{}).(*serveStory).aws.had(ts, args[0], args[1], args[2:])
	},
	"sessions": func(ts *testscript.TestScript, _ bool, args []string) {
		s := ts.Value(storyKey{}).(*serveStory).aws
		var got []string
		all := s.Sessions()
		for _, one := range all[s.told:] {
			got = append(got, roleName(one.Role)+"="+commitInName.ReplaceAllString(one.Name, ",COMMIT,"))
		}
		s.told = len(all)
		if !slices.Equal(got, args) {
			ts.Fatalf("the sessions are %q, want %q", got, args)
		}
	},
	"tagged": func(ts *testscript.TestScript, _ bool, args []string) {
		all := ts.Value(storyKey{}).(*serveStory).aws.Sessions()
		for _, arg := range args {
			key, value, _ := strings.Cut(arg, "=")
			if got := all[len(all)-1].Tags[key]; got != value {
				ts.Fatalf("the tag %s is %q, want %q", key, got, value)
			}
		}
	},
	"canaries": func(ts *testscript.TestScript, _ bool, args []string) {
		sessions := ts.Value(storyKey{}).(*serveStory).aws.Sessions()
		if len(sessions) == 0 {
			ts.Fatalf("STS has given out nothing")
		}
		for _, one := range sessions {
			for _, value := range []string{one.AccessKey, one.Secret, one.Token} {
				scriptNoSecret(ts, false, append([]string{value}, args...))
			}
		}
	},
}

var commitInName = regexp.MustCompile(`,[0-9a-f]{8},`)

// awsStory is the stand-in of one script.
type awsStory struct {
	*awstest.Server
	trace string
	read  map[string]int // starts of each command that were looked at
	told  int            // sessions that were looked at
}

func roleName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// had wants that Terraform was started with a command, and each time with the credentials of a role.
func (s *awsStory) had(ts *testscript.TestScript, command, role string, more []string) {
	data, err := os.ReadFile(s.trace)
	ts.Check(err)
	var starts []map[string]string
	for _, text := range strings.Split(string(data), "== ")[1:] {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if lines[0] != command {
			continue
		}
		env := map[string]string{}
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, "=")
			env[name] = value
		}
		starts = append(starts, env)
	}
	if len(starts) == s.read[command] {
		ts.Fatalf("terraform %s was not started", command)
	}
	for _, env := range starts[s.read[command]:] {
		got := "-"
		for _, one := range s.Sessions() {
			if env["AWS_ACCESS_KEY_ID"] == one.AccessKey && env["AWS_SECRET_ACCESS_KEY"] == one.Secret && env["AWS_SESSION_TOKEN"] == one.Token {
				got = roleName(one.Role)
			}
		}
		if got == "-" && env["AWS_ACCESS_KEY_ID"] != "" {
			got = "other credentials"
		}
		if got != role {
			ts.Fatalf("terraform %s had the credentials of %s, want %s", command, got, role)
		}
		for _, kv := range more {
			if name, value, _ := strings.Cut(kv, "="); env[name] != value {
				ts.Fatalf("terraform %s had %s=%q, want %q", command, name, env[name], value)
			}
		}
	}
	s.read[command] = len(starts)
}
