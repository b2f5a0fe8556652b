package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
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
