package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// These commands let a script tell the story of pull requests to a real server:
// the built program, against a GitHub that serves its API and Git, with a real
// Terraform on a toy cloud. What is awaited fails after a minute, and shows
// what there is instead.
//
//	world                 a GitHub with the repository acme/live: workspaces a, b (needs a) and c,
//	                      or what is in the script's repo/
//	serve [ARG...]        start `plumbline serve --config server.yaml ARG...`; output goes to serve.log
//	sigterm [STATUS]      SIGTERM, and wait for the exit status (0)
//	sigkill               SIGKILL
//	open [-draft|-fork] WHO BRANCH FILES...   open a pull request; the first is 1
//	push N FILES...       more commits on it; push main FILES... for the branch
//	say N WHO TEXT        comment
//	merge N [METHOD]      merge, squash or rebase
//	close|reopen|ready N  what it says
//	approve N WHO         approve
//	grant WHO LEVEL       none, read, write or admin
//	comment N TEXT...     wait for a comment of ours that holds all of the texts
//	! comment N TEXT...   there is none now
//	comments N COUNT      wait for so many comments of ours
//	reaction N NAME       wait for a reaction (seen, accepted, refused) to what was last said
//	verdict N CONTEXT STATE   wait for a status; main instead of N for the branch's tip
//	check N NAME STATE TEXT...   wait for a check run, no mere status, whose title, summary and link hold the texts
//	hang on|off           the forge answers nothing, neither its API nor Git, until it is off
//	metric TEXT...        wait until /metrics holds all of the texts
//	protect APPROVALS [CHECK...]   ask for approvals and statuses before a merge into main
//	merged N              wait until the server has merged it
//	plans COUNT           wait until so many plans are stored in data/plans
//	cloud NAME=VERSION... wait until exactly these buckets are there
//	outside NAME VERSION  change a bucket's version behind Terraform's back
//	issue open|closed TEXT...   wait until there is one issue of ours, in that state, whose text holds all of the texts
//	proposal PREFIX       wait for a pull request of the server's own, from a branch that begins so
//	until REGEXP ARGS...  run plumbline with the arguments until what it says matches
//	follow ARGS...        run plumbline with the arguments beside the script
//	followed REGEXP       wait until what it says, on either output, matches; then it may be asked for more
//	unfollow              interrupt it, and want exit status 0
//	followends STATUS     wait until it ends by itself, with this exit status
//	runid VARIABLE ARGS...    wait until `plumbline runs ARGS` finds a run, and put the id of the newest into the environment
//	httpget URL           wait for 200; the answer's body goes to stdout
//	pages COUNT TEXT...   follow every link from the server's first page: so many pages at least, all 200, none with a text
//	lock NAME ID WHO      lock a remote state as somebody's Terraform would
//	locked NAME...        exactly these remote states are locked now
//	done CREATES UPDATES DELETES   so much was done to buckets, no more and no less
//
// Instead of N, `issue` is what the command issue has found, and `proposal` what proposal has. In what is said, {soon} is a
// day of next month.
//
// FILES are NAME=VERSION for a workspace of one bucket (NAME=VERSION@remote for
// one with a remote backend), or a directory of the script whose files are taken.
var serveCommands = map[string]func(*testscript.TestScript, bool, []string){
	"world":   story(0, func(s *serveStory, _ []string) { s.start() }),
	"serve":   story(0, func(s *serveStory, args []string) { s.serve(args) }),
	"sigterm": story(0, func(s *serveStory, args []string) { s.stop(syscall.SIGTERM, append(args, "0")[0]) }),
	"sigkill": story(0, func(s *serveStory, _ []string) { s.stop(syscall.SIGKILL, "killed") }),
	"open":    story(3, func(s *serveStory, args []string) { s.open(args) }),
	"push": story(2, func(s *serveStory, args []string) {
		if args[0] == "main" {
			s.tip = s.world.Push(s.t, "main", s.files(args[1:]))
			return
		}
		s.pull(args[0]).Push(s.t, s.files(args[1:]))
	}),
	"say": story(3, func(s *serveStory, args []string) {
		soon := time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly)
		s.said = s.pull(args[0]).Say(s.t, args[1], strings.ReplaceAll(args[2], "{soon}", soon))
	}),
	"merge": story(1, func(s *serveStory, args []string) {
		p := s.pull(args[0])
		p.Merge(s.t, forge.MergeMethod(append(args, "merge")[1]))
		s.tip = p.Merged
	}),
	"close":  story(1, func(s *serveStory, args []string) { s.pull(args[0]).Close(s.t) }),
	"reopen": story(1, func(s *serveStory, args []string) { s.pull(args[0]).Reopen(s.t) }),
	"ready":  story(1, func(s *serveStory, args []string) { s.pull(args[0]).Ready(s.t) }),
	"approve": story(2, func(s *serveStory, args []string) {
		s.world.Forge.Approve(s.t, s.world.Repo, args[1], s.pull(args[0]).Number)
	}),
	"grant": story(2, func(s *serveStory, args []string) {
		s.world.Forge.Grant(s.t, s.world.Repo, args[0], permission(s.ts, args[1]))
	}),
	"comment": func(ts *testscript.TestScript, neg bool, args []string) {
		s := ts.Value(storyKey{}).(*serveStory)
		s.ts = ts
		if len(args) < 2 {
			ts.Fatalf("usage: comment N TEXT...")
		}
		p := s.pull(args[0])
		if !neg {
			ts.Logf("%s", p.AwaitComment(s.t, args[1:]...).Body)
			return
		}
		for _, c := range p.Ours(s.t) {
			has := true
			for _, text := range args[1:] {
				has = has && strings.Contains(c.Body, text)
			}
			if has {
				ts.Fatalf("there is a comment with %q:\n%s", args[1:], c.Body)
			}
		}
	},
	"comments": story(2, func(s *serveStory, args []string) {
		want, err := strconv.Atoi(args[1])
		s.ts.Check(err)
		p := s.pull(args[0])
		// Those that are folded away are read by nobody.
		unfolded := func() []forge.Comment {
			shown := s.world.GitHub.CommentsOf(s.t, s.world.Repo, p.Number)
			return slices.DeleteFunc(p.Ours(s.t), func(c forge.Comment) bool { return !slices.Contains(shown, c.Body) })
		}
		s.world.Await(s.t, args[1]+" comments of ours", func() bool { return len(unfolded()) == want }, func() string {
			var all strings.Builder
			for _, c := range unfolded() {
				all.WriteString("--- " + c.ID + "\n" + c.Body + "\n")
			}
			return "there are:\n" + all.String()
		})
	}),
	"reaction": story(2, func(s *serveStory, args []string) {
		known := map[string]forge.Reaction{"seen": forge.Seen, "accepted": forge.Accepted, "refused": forge.Refused}
		s.pull(args[0]).AwaitReaction(s.t, s.said, known[args[1]])
	}),
	"verdict": func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) != 3 {
			ts.Fatalf("usage: verdict N CONTEXT STATE")
		}
		s := ts.Value(storyKey{}).(*serveStory)
		s.ts = ts
		commit := s.tip
		if args[0] != "main" {
			commit = s.pull(args[0]).Head
		}
		if got, ok := s.world.Forge.Statuses(s.t, s.world.Repo, commit)[args[1]]; neg {
			if ok && string(got.State) == args[2] {
				s.fatal("there is the status %s: %s: %s", args[1], got.State, got.Description)
			}
			return
		}
		got := s.world.AwaitStatus(s.t, commit, args[1], forge.StatusState(args[2]))
		s.ts.Logf("%s: %s", got.State, got.Description)
	},
	"check": story(3, func(s *serveStory, args []string) {
		commit := s.tip
		if args[0] != "main" {
			commit = s.pull(args[0]).Head
		}
		var got map[string]forge.Status
		s.world.Await(s.t, fmt.Sprintf("the check run %s to be %s with %q", args[1], args[2], args[3:]), func() bool {
			got = s.world.GitHub.Checks(s.t, s.world.Repo, commit)
			c := got[args[1]]
			has := string(c.State) == args[2]
			for _, text := range args[3:] {
				has = has && strings.Contains(c.Description+"\n"+c.Summary+"\n"+c.URL, text)
			}
			return has
		}, func() string { return fmt.Sprintf("there are %+v", got) })
	}),
	"hang": story(1, func(s *serveStory, args []string) {
		if args[0] == "off" {
			s.mend()
			return
		}
		held := make(chan struct{})
		mend := s.world.GitHub.Break(forgetest.Fault{Do: func() { <-held }})
		s.mend = sync.OnceFunc(func() {
			mend()
			close(held)
		})
		s.ts.Defer(s.mend)
	}),
	"until": story(2, func(s *serveStory, args []string) {
		want := regexp.MustCompile(args[0])
		s.world.Await(s.t, args[0], func() bool {
			return s.ts.Exec("plumbline", args[1:]...) == nil && want.MatchString(s.ts.ReadFile("stdout"))
		}, func() string { return "it says:\n" + s.ts.ReadFile("stdout") })
	}),
	"metric": story(1, func(s *serveStory, args []string) {
		var body []byte
		s.world.Await(s.t, fmt.Sprintf("metrics with %q", args), func() bool {
			resp, err := http.Get(s.ts.Getenv("SERVER") + "/metrics")
			s.ts.Check(err)
			defer resp.Body.Close()
			body, err = io.ReadAll(resp.Body)
			s.ts.Check(err)
			return !slices.ContainsFunc(args, func(text string) bool { return !strings.Contains(string(body), text) })
		}, func() string { return "there are:\n" + string(body) })
	}),
	"protect": story(1, func(s *serveStory, args []string) {
		approvals, err := strconv.Atoi(args[0])
		s.ts.Check(err)
		s.world.Forge.Protect(s.t, s.world.Repo, "main", forge.Protection{Approvals: approvals, Checks: args[1:]})
	}),
	"cloud": story(0, func(s *serveStory, args []string) {
		want := map[string]string{}
		for _, arg := range args {
			name, version, _ := strings.Cut(arg, "=")
			want[name] = version
		}
		s.world.AwaitVersions(s.t, want)
	}),
	"outside": story(2, func(s *serveStory, args []string) {
		s.ts.Check(s.world.Cloud.EditBucket(args[0], func(b *toycloud.Bucket) { b.Tags["version"] = args[1] }))
	}),
	"issue":    story(1, func(s *serveStory, args []string) { s.awaitIssue(args[0] == "open", args[1:]) }),
	"proposal": story(1, func(s *serveStory, args []string) { s.awaitProposal(args[0]) }),
	"pages":    story(1, func(s *serveStory, args []string) { s.crawl(args[0], args[1:]) }),
	"httpget": story(1, func(s *serveStory, args []string) {
		status, body := "", []byte(nil)
		s.world.Await(s.t, "an answer of "+args[0], func() bool {
			resp, err := http.Get(args[0])
			s.ts.Check(err)
			defer resp.Body.Close()
			body, err = io.ReadAll(resp.Body)
			s.ts.Check(err)
			status = resp.Status
			return resp.StatusCode == http.StatusOK
		}, func() string { return status + ": " + string(body) })
		_, err := s.ts.Stdout().Write(body)
		s.ts.Check(err)
	}),
	"merged": story(1, func(s *serveStory, args []string) {
		p := s.pull(args[0])
		s.world.Await(s.t, "the merge of #"+args[0], func() bool {
			merged := s.world.GitHub.StateOf(s.t, s.world.Repo, p.Number) == forge.Merged
			return merged
		}, func() string { return "it is not merged" })
	}),
	"plans": story(1, func(s *serveStory, args []string) {
		var found []string
		s.world.Await(s.t, args[0]+" stored plans", func() bool {
			found = nil
			_ = filepath.WalkDir(s.ts.MkAbs("data/plans"), func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && strings.Contains(path, "/plan/") && filepath.Ext(path) == ".sealed" {
					found = append(found, path)
				}
				return nil
			})
			return strconv.Itoa(len(found)) == args[0]
		}, func() string { return fmt.Sprintf("there are %q", found) })
	}),
	"lock": story(3, func(s *serveStory, args []string) { s.world.States.Lock(args[0], args[1], args[2]) }),
	"locked": story(0, func(s *serveStory, args []string) {
		if got := s.world.States.Locked(); !slices.Equal(got, append([]string{}, args...)) && len(got)+len(args) > 0 {
			s.fatal("the locked states are %q, want %q", got, args)
		}
	}),
	"done": story(3, func(s *serveStory, args []string) {
		c, u, d := s.world.Done()
		if got := fmt.Sprintf("%d %d %d", c, u, d); got != strings.Join(args, " ") {
			s.ts.Fatalf("created, updated and deleted: %s; want %s", got, strings.Join(args, " "))
		}
	}),
}

// storyKey is where a script keeps its story.
type storyKey struct{}

// serveStory is one script's world and server.
type serveStory struct {
	aws             *awsStory // nil unless the script has said aws
	ts              *testscript.TestScript
	t               testing.TB
	world           *world.World
	pulls           []*world.Pull
	said            string      // id of the last comment of a person
	tip             string      // of the main branch, as far as the script moved it
	issue, proposal *world.Pull // see pull
	server          *exec.Cmd
	mend            func() // ends what the command hang began
	log             *serverLog
	parent          *testing.T
	followed        *followedCommand
}

// story makes a command of at least so many arguments.
func story(least int, do func(*serveStory, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("it takes at least %d arguments and no !", least)
		}
		s := ts.Value(storyKey{}).(*serveStory)
		s.ts = ts
		do(s, args)
	}
}

// scriptTB is a testing.TB that fails the script it is in, not the test around
// all of them.
type scriptTB struct {
	testing.TB
	story *serveStory
	dirs  int
}

func (t *scriptTB) Helper()                      {}
func (t *scriptTB) Name() string                 { return t.story.ts.Name() }
func (t *scriptTB) Context() context.Context     { return context.Background() }
func (t *scriptTB) Cleanup(f func())             { t.story.ts.Defer(f) }
func (t *scriptTB) Log(args ...any)              { t.story.ts.Logf("%s", fmt.Sprint(args...)) }
func (t *scriptTB) Logf(f string, args ...any)   { t.story.ts.Logf(f, args...) }
func (t *scriptTB) Fatal(args ...any)            { t.story.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (t *scriptTB) Fatalf(f string, args ...any) { t.story.fatal(f, args...) }
func (t *scriptTB) Error(args ...any)            { t.Fatal(args...) }
func (t *scriptTB) Errorf(f string, args ...any) { t.Fatalf(f, args...) }
func (t *scriptTB) FailNow()                     { t.Fatal("failed") }
func (t *scriptTB) TempDir() string {
	t.dirs++
	dir := t.story.ts.MkAbs(fmt.Sprintf(".world/%d", t.dirs))
	t.story.ts.Check(os.MkdirAll(dir, 0o700))
	return dir
}

// fatal fails the script, with the end of the server's log. It asks nothing of
// the forge, which may be what fails.
func (s *serveStory) fatal(f string, args ...any) {
	if s.log != nil {
		s.ts.Logf("[the server's log]\n%s", s.log.tail(200))
	}
	s.ts.Fatalf(f, args...)
}

// start makes the world.
func (s *serveStory) start() {
	s.t = &scriptTB{TB: s.parent, story: s}
	var files map[string]string
	if _, err := os.Stat(s.ts.MkAbs("repo")); err == nil {
		files = s.files([]string{"repo"})
	}
	s.world = world.New(s.t, world.Options{Repo: forge.Repo{Owner: "acme", Name: "live"}, Files: files, Patience: time.Minute})
	g := s.world.GitHub
	for _, kv := range append(s.world.Environ, "FORGE_URL="+g.URL, "FORGE_TOKEN="+g.Token, "FORGE_SECRET="+g.WebhookSecret) {
		if name, value, _ := strings.Cut(kv, "="); name != "HOME" {
			s.ts.Setenv(name, value)
		}
	}
	s.ts.Check(os.WriteFile(s.ts.MkAbs("app.pem"), g.AppKey, 0o600))
	s.ts.Defer(func() {
		if s.server != nil {
			_ = s.server.Process.Kill()
			_ = s.server.Wait()
		}
	})
}

// files reads what the arguments name.
func (s *serveStory) files(args []string) map[string]string {
	files := map[string]string{}
	for _, arg := range args {
		if name, version, ok := strings.Cut(arg, "="); ok {
			version, remote := strings.CutSuffix(version, "@remote")
			if remote {
				files[name+"/main.tf"] = world.Bucket(s.world.States.Backend(name), name, version)
				continue
			}
			files[name+"/main.tf"] = world.Bucket("", name, version)
			continue
		}
		root := s.ts.MkAbs(arg)
		s.ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			files[filepath.ToSlash(rel)] = string(data)
			return err
		}))
	}
	return files
}

func (s *serveStory) pull(number string) *world.Pull {
	if p := map[string]*world.Pull{"issue": s.issue, "proposal": s.proposal}[number]; p != nil {
		return p
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(s.pulls) {
		s.ts.Fatalf("there is no pull request %q; %d were opened", number, len(s.pulls))
	}
	return s.pulls[n-1]
}

func (s *serveStory) open(args []string) {
	open := s.world.Open
	switch args[0] {
	case "-draft":
		open, args = s.world.OpenDraft, args[1:]
	case "-fork":
		open, args = s.world.OpenFork, args[1:]
	}
	p := open(s.t, args[0], args[1], s.files(args[2:]))
	s.pulls = append(s.pulls, p)
	if p.Number != len(s.pulls) {
		s.ts.Fatalf("the forge calls pull request %d number %d", len(s.pulls), p.Number)
	}
}

// client sees the forge as the server does.
func (s *serveStory) client() *github.Client {
	client, err := github.New(github.Options{URL: s.world.GitHub.URL, Token: s.world.GitHub.Token})
	s.ts.Check(err)
	return client
}

func (s *serveStory) awaitIssue(open bool, parts []string) {
	client, shows := s.client(), ""
	s.world.Await(s.t, fmt.Sprintf("an issue, open: %v, with %q", open, parts), func() bool {
		own, err := client.OwnIssues(context.Background(), s.world.Repo)
		s.ts.Check(err)
		if len(own) != 1 {
			shows = fmt.Sprintf("there are %d issues", len(own))
			return false
		}
		shows = fmt.Sprintf("open: %v\n%s", own[0].Open, own[0].Body)
		s.issue = &world.Pull{World: s.world, Number: own[0].Number}
		return own[0].Open == open && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(own[0].Body, part) })
	}, func() string { return shows })
	s.ts.Logf("%s", shows)
}

func (s *serveStory) awaitProposal(prefix string) {
	client, all := s.client(), []forge.Change(nil)
	s.world.Await(s.t, "a pull request from "+prefix, func() bool {
		var err error
		all, err = client.Changes(context.Background(), s.world.Repo, forge.ChangesOptions{OpenOnly: true})
		s.ts.Check(err)
		all = slices.DeleteFunc(all, func(c forge.Change) bool { return !strings.HasPrefix(c.Head.Branch, prefix) })
		return len(all) == 1
	}, func() string { return fmt.Sprintf("there are %+v", all) })
	s.proposal = &world.Pull{World: s.world, Number: all[0].Number, Author: world.Alice, Branch: all[0].Head.Branch, Head: all[0].Head.Commit}
}

// serverLog keeps what the server says, and finds its address in it.
type serverLog struct {
	mu     sync.Mutex
	text   bytes.Buffer
	file   *os.File
	listen chan string
	found  bool
}

var listening = regexp.MustCompile(`is listening on (http://\S+?),? `)

func (l *serverLog) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(data)
	if m := listening.FindSubmatch(l.text.Bytes()); m != nil && !l.found {
		l.found = true
		l.listen <- string(m[1])
	}
	return l.file.Write(data)
}

func (l *serverLog) tail(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(l.text.String(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// serve starts the server and points the forge's webhooks to it, if it has a
// secret for them.
func (s *serveStory) serve(args []string) {
	if s.server != nil {
		s.ts.Fatalf("a server runs already")
	}
	file, err := os.OpenFile(s.ts.MkAbs("serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.ts.Check(err)
	s.ts.Defer(func() { _ = file.Close() })
	s.log = &serverLog{file: file, listen: make(chan string, 1)}
	path, err := exec.LookPath("plumbline")
	s.ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve", "--config", "server.yaml"}, args...)...)
	cmd.Dir = s.ts.MkAbs(".")
	cmd.Stdout, cmd.Stderr = s.log, s.log
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TF_CLI_CONFIG_FILE", "CHECKPOINT_DISABLE",
		"GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "TOY_ENDPOINT", "TOY_TOKEN", "FORGE_URL", "FORGE_TOKEN", "FORGE_SECRET", "CANARY_TOKEN"} {
		cmd.Env = append(cmd.Env, name+"="+s.ts.Getenv(name))
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if value := s.ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	s.ts.Check(cmd.Start())
	s.server = cmd
	select {
	case address := <-s.log.listen:
		s.ts.Setenv("SERVER", address)
		s.ts.Setenv("ADDRESS", strings.TrimPrefix(address, "http://"))
		if config := s.ts.ReadFile("server.yaml"); strings.Contains(config, "webhook_secret") {
			s.world.GitHub.SendWebhooks(address + "/webhook/github")
		}
	case <-time.After(time.Minute):
		s.server = nil
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		s.fatal("the server does not listen")
	}
}

// stop sends a signal, waits, and wants an exit status.
func (s *serveStory) stop(signal syscall.Signal, want string) {
	if s.server == nil {
		s.ts.Fatalf("no server runs")
	}
	server := s.server
	s.server = nil
	s.world.GitHub.SendWebhooks("")
	s.ts.Check(server.Process.Signal(signal))
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	select {
	case err := <-ended:
		got := "0"
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			got = strconv.Itoa(exit.ExitCode())
			if exit.ExitCode() < 0 {
				got = "killed"
			}
		}
		if got != want {
			s.fatal("the server ended with %s, want %s", got, want)
		}
	case <-time.After(2 * time.Minute):
		_ = server.Process.Kill()
		s.fatal("the server does not stop")
	}
}

func permission(ts *testscript.TestScript, level string) forge.Permission {
	for _, p := range []forge.Permission{forge.None, forge.Read, forge.Write, forge.Admin} {
		if fmt.Sprint(p) == level {
			return p
		}
	}
	ts.Fatalf("there is no permission %q", level)
	return forge.None
}
