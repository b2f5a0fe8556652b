package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// followCommands run a command that ends only when it is interrupted: see serveCommands.
var followCommands = map[string]func(*testscript.TestScript, bool, []string){
	"follow": story(1, func(s *serveStory, args []string) {
		path, err := exec.LookPath("plumbline")
		s.ts.Check(err)
		f := &followedCommand{cmd: exec.Command(path, args...)}
		f.cmd.Dir, f.cmd.Stdout, f.cmd.Stderr = s.ts.MkAbs("."), f, f
		for _, name := range []string{"PATH", "HOME", "PLUMBLINE_SERVER", "PLUMBLINE_TOKEN"} {
			f.cmd.Env = append(f.cmd.Env, name+"="+s.ts.Getenv(name))
		}
		s.ts.Check(f.cmd.Start())
		s.ts.Defer(f.kill)
		s.followed = f
	}),
	"followed": story(1, func(s *serveStory, args []string) {
		want, err := regexp.Compile("(?m)" + args[0])
		s.ts.Check(err)
		for until := time.Now().Add(time.Minute); !want.MatchString(s.followed.String()); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(until) {
				s.fatal("what is followed does not say %q:\n%s", want, s.followed)
			}
		}
	}),
	"unfollow": story(0, func(s *serveStory, _ []string) {
		s.ts.Logf("%s", s.followed)
		s.ts.Check(s.followed.cmd.Process.Signal(os.Interrupt))
		if err := s.followed.cmd.Wait(); err != nil {
			s.fatal("interrupted, it ends with %v:\n%s", err, s.followed)
		}
	}),
}

// runCommands are about runs of the server that a script's environment names: see serveCommands.
var runCommands = map[string]func(*testscript.TestScript, bool, []string){
	"runid": story(2, func(s *serveStory, args []string) {
		path, err := exec.LookPath("plumbline")
		s.ts.Check(err)
		for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			cmd := exec.Command(path, append([]string{"runs", "--json", "--limit", "1"}, args[1:]...)...)
			cmd.Env = []string{"PATH=" + s.ts.Getenv("PATH"), "HOME=" + s.ts.Getenv("HOME"), "PLUMBLINE_SERVER=" + s.ts.Getenv("PLUMBLINE_SERVER")}
			text, err := cmd.Output()
			var runs []struct{ ID string }
			if err == nil && json.Unmarshal(text, &runs) == nil && len(runs) == 1 {
				s.ts.Setenv(args[0], runs[0].ID)
				return
			}
			if time.Now().After(until) {
				s.fatal("there is no such run: %s %v", text, err)
			}
		}
	}),
	"followends": story(1, func(s *serveStory, args []string) {
		want, err := strconv.Atoi(args[0])
		s.ts.Check(err)
		ended := time.AfterFunc(time.Minute, func() { _ = s.followed.cmd.Process.Kill() })
		_ = s.followed.cmd.Wait() // its state says more
		ended.Stop()
		s.ts.Logf("%s", s.followed)
		if got := s.followed.cmd.ProcessState.ExitCode(); got != want {
			s.fatal("it ends with status %d, want %d:\n%s", got, want, s.followed)
		}
	}),
}

// followedCommand is a command that runs beside a script, and what it has said.
type followedCommand struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
}

func (f *followedCommand) Write(data []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(data)
}

func (f *followedCommand) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.String()
}

// kill ends it if the script has not.
func (f *followedCommand) kill() {
	if f.cmd.ProcessState == nil {
		_ = f.cmd.Process.Kill()
		_ = f.cmd.Wait()
	}
}
