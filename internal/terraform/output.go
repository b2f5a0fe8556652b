package terraform

import (
	"io"
	"os"
	"time"
)

// Output takes what init, plan and apply print while they run, in clear: what goes to standard output as it comes, and what
// goes to standard error once the command has ended, so that an error stands together. Other commands are not shown: some of
// them print a state or a plan as data.
//
// Write never fails and must be quick, for Terraform waits for it.
type Output interface {
	// Hide names values that must be shown to nobody. It is called before anything is written that may hold them.
	Hide(values ...string)
	io.Writer
}

// announce writes the line that stands before what a command prints.
func (d *Dir) announce(command string) {
	if d.opts.Output != nil {
		_, _ = io.WriteString(d.opts.Output, Announced(d.opts.Binary.Engine, command))
	}
}

// Announced is the line that stands before what a command prints.
func Announced(engine, command string) string { return "$ " + engine + " " + command + "\n" }

// shown is a writer that keeps what it is for, and shows it.
func (d *Dir) shown(keep io.Writer) io.Writer {
	if d.opts.Output == nil {
		return keep
	}
	return io.MultiWriter(keep, d.opts.Output)
}

// said shows what a command that has ended printed to stderr.
func (d *Dir) said(stderr string) {
	if d.opts.Output != nil && stderr != "" {
		_, _ = io.WriteString(d.opts.Output, stderr)
	}
}

// followEvery is how often the output of an apply is looked for in its file.
const followEvery = 200 * time.Millisecond

// follow shows what a file grows by, until the function that it returns is called, which shows the rest.
//
// An apply writes to a file and not to a pipe, because it may outlive Plumbline, so the file is all that there is to read.
func (d *Dir) follow(path string) (end func()) {
	if d.opts.Output == nil {
		return func() {}
	}
	file, err := os.Open(path)
	if err != nil {
		d.log().Warn("what an apply prints is not shown", "dir", d.opts.Dir, "error", err)
		return func() {}
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer file.Close()
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for last := false; ; {
			// As far as it goes now: somebody whom Terraform left behind may write to it without end.
			if info, err := file.Stat(); err == nil {
				if at, err := file.Seek(0, io.SeekCurrent); err == nil && info.Size() > at {
					_, _ = io.CopyN(d.opts.Output, file, info.Size()-at)
				}
			}
			if last {
				return
			}
			select {
			case <-over:
				last = true
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}
