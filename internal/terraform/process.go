package terraform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is one run of a binary that terraform-exec is not asked to make. terraform-exec runs plan, workspace and
// state commands; it does not run
//
//   - init and show, because it starts "terraform version" before each of them on a new object, at 30 ms of the time
//     that people wait for, and the version is known;
//   - apply, because it has the kernel kill Terraform when Plumbline dies (Pdeathsig), which loses whatever Terraform
//     has made and not yet saved; because it cannot pass on a second interrupt; because outside Linux it leaves
//     Terraform in Plumbline's process group, where one Ctrl-C reaches it twice and makes it give up at once; and
//     because Terraform, writing into a pipe whose reader died, dies too (SIGPIPE).
//
// The process gets a process group of its own, so that a Ctrl-C in a terminal reaches Plumbline only, which then tells
// Terraform once.
type process struct {
	path           string
	args           []string
	dir            string
	env            []string
	stdout, stderr io.Writer
	// inherits are files that stay open in the process, from the descriptor 3 on.
	inherits []*os.File
	// grace is how long it may run on after its context was cancelled.
	grace time.Duration
}

// pipePatience is how long output is waited for after the process itself has ended. A child that it left behind may
// hold the pipe open for ever.
const pipePatience = 2 * time.Second

// run waits for the end. When ctx is cancelled the process is interrupted, and killed with all its children when the
// grace has passed; the error is then a *stopped. An exit status other than 0 is an *exec.ExitError.
func (p *process) run(ctx context.Context) error {
	if ctx.Err() != nil {
		return &stopped{cause: context.Cause(ctx), before: true}
	}
	cmd, err := p.start(true)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return p.afterward(cmd, err)
	case <-ctx.Done():
	}
	s := &stopped{cause: context.Cause(ctx)}
	// Fails only when it has just ended.
	_ = cmd.Process.Signal(os.Interrupt)
	select {
	case s.err = <-ended:
	case <-time.After(p.grace):
		s.killed = true
		killGroup(cmd.Process.Pid)
		s.err = <-ended
	}
	s.err = p.afterward(cmd, s.err)
	return s
}

// start starts it, and tries again while the binary is busy: a process that is being forked elsewhere in this program
// may for a moment hold a freshly installed binary open for writing.
func (p *process) start(diesWithParent bool) (*exec.Cmd, error) {
	for try := 0; ; try++ {
		cmd := exec.Command(p.path, p.args...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, p.stdout, p.stderr
		if cmd.Env == nil {
			cmd.Env = []string{} // os/exec would hand on the whole of ours.
		}
		cmd.ExtraFiles = p.inherits
		cmd.WaitDelay = pipePatience
		cmd.SysProcAttr = ownGroup(diesWithParent)
		err := cmd.Start()
		if err == nil {
			return cmd, nil
		}
		if !errors.Is(err, syscall.ETXTBSY) || try == 20 {
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// afterward ends children that outlived the process with its pipes in their hands.
func (p *process) afterward(cmd *exec.Cmd, err error) error {
	if errors.Is(err, exec.ErrWaitDelay) {
		killGroup(cmd.Process.Pid)
		return nil
	}
	return err
}

// stopped says how a process ended that was told to.
type stopped struct {
	cause  error
	err    error // of Wait; nil when it ended well all the same
	before bool  // it was never started
	killed bool
}

func (s *stopped) Error() string { return fmt.Sprintf("stopped: %v", s.cause) }
func (s *stopped) Unwrap() error { return s.cause }

// killGroup ends a process and all its children that did not leave its group.
func killGroup(pid int) {
	// The group may be gone already, which is what is wanted.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// capped keeps the first bytes that are written to it and counts the rest, so that a program that prints without end
// costs no memory.
type capped struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	limit   int
	dropped int64
	// flood is called, and Write fails, when more than maxFlood was dropped. Nil: never.
	flood func()
}

// maxFlood is how much a command may print to stderr before it is stopped: terraform-exec keeps all of it.
const maxFlood = 64 << 20

var errFlood = errors.New("it was stopped because it printed more than 64 MiB of errors")

func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := min(len(p), c.limit-c.buf.Len())
	c.buf.Write(p[:keep])
	c.dropped += int64(len(p) - keep)
	if c.flood != nil && c.dropped > maxFlood {
		c.flood()
		return 0, errFlood
	}
	return len(p), nil
}

func (c *capped) Bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.buf.Bytes())
}

func (c *capped) String() string { return string(c.Bytes()) }
