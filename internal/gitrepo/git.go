package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// git runs the git command in one repository.
type git struct {
	path string
	dir  string   // where children run
	env  []string // their whole environment

	inherit *os.File // a lock that children hold too; nil for none
}

// findGit looks git up on the PATH of the environment that children are given,
// and not on that of this process. An entry that is not absolute is passed over:
// it could lead into the repository, which is not to be run.
func findGit(parent []string) (git, error) {
	env := environ(parent)
	var path string
	for _, v := range env { // the last one counts, as in os/exec
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		// With an absolute name LookPath only asks whether it can be run.
		if found, err := exec.LookPath(filepath.Join(dir, "git")); err == nil {
			return git{path: found, env: env}, nil
		}
	}
	return git{}, fmt.Errorf("the git command is not on PATH; install Git 2.29 or newer: %w", exec.ErrNotFound)
}

// keptVariables are the GIT_* variables of ours that children still see. The
// others could turn them to another repository, index or object store (a hook
// or "git submodule foreach" sets several), or change what they print.
var keptVariables = regexp.MustCompile(`^GIT_(CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|EXEC_PATH|SSL_CAINFO|SSL_CAPATH|SSH|SSH_COMMAND|ASKPASS)=`)

// environ makes the environment of children from that of the parent.
func environ(parent []string) []string {
	env := make([]string, 0, len(parent)+8)
	for _, v := range parent {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "GIT_") && !keptVariables.MatchString(v):
		case name == "LC_ALL" || name == "LANGUAGE":
		default:
			env = append(env, v)
		}
	}
	return append(env,
		"LC_ALL=C",                 // messages are matched
		"GIT_OPTIONAL_LOCKS=0",     // reading must not write the index
		"GIT_NO_REPLACE_OBJECTS=1", // an id means what it names
		"GIT_TERMINAL_PROMPT=0",    // a partial clone may fetch; it must not ask
	)
}

// in returns a git for the repository whose directories are known.
func (g git) in(gitDir, root string) git {
	g.env = append(g.env[:len(g.env):len(g.env)], "GIT_DIR="+gitDir)
	g.dir = gitDir
	if root != "" {
		g.env = append(g.env, "GIT_WORK_TREE="+root)
		g.dir = root
	}
	return g
}

// command prepares a child that ctx ends.
func (g git) command(ctx context.Context, args ...string) *exec.Cmd {
	// A repository's own configuration may name programs to run. Nothing here
	// needs them, and a checkout may come from anywhere.
	args = append([]string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull}, args...)
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Dir, cmd.Env = g.dir, g.env
	// A helper that a child started may hold the pipes open; it is not waited
	// for longer than this.
	cmd.WaitDelay = 2 * time.Second
	ownGroup(cmd)
	if g.inherit != nil {
		handDown(cmd, g.inherit)
	}
	return cmd
}

// run runs git to its end and returns what it printed.
func (g git) run(ctx context.Context, args ...string) ([]byte, error) {
	return g.feed(ctx, "", args...)
}

// feed is run with standard input.
func (g git) feed(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := g.command(ctx, args...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var stdout bytes.Buffer
	var stderr message
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), failure(ctx, subcommand(args), err, &stderr)
	}
	return stdout.Bytes(), nil
}

// gitError is a git command that failed.
type gitError struct {
	command string
	status  int // exit status, -1 when it did not exit by itself
	stderr  string
	err     error
}

func (e *gitError) Error() string {
	if e.stderr != "" {
		return fmt.Sprintf("git %s: %s", e.command, e.stderr)
	}
	return fmt.Sprintf("git %s: %v", e.command, e.err)
}

func (e *gitError) Unwrap() error { return e.err }

// failure explains why a child ended badly. When ctx ended it, that is why.
func failure(ctx context.Context, command string, err error, stderr *message) error {
	if ctx.Err() != nil {
		return fmt.Errorf("git %s: %w", command, context.Cause(ctx))
	}
	e := &gitError{command: command, status: -1, stderr: stderr.String(), err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e.status = exit.ExitCode()
	}
	return e
}

// message keeps the start of what a child says on standard error.
type message struct{ buf bytes.Buffer }

func (m *message) Write(p []byte) (int, error) {
	if room := 4096 - m.buf.Len(); room > 0 {
		m.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// credentials in a URL, which Git repeats when a fetch fails.
var credentials = regexp.MustCompile(`://[^/\s@]*@`)

func (m *message) String() string {
	s := credentials.ReplaceAllString(m.buf.String(), "://")
	s = strings.ReplaceAll(s, "fatal: ", "")
	return strings.TrimSpace(s)
}

// subcommand finds the name to use in messages, behind "-c name=value".
func subcommand(args []string) string {
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}
