package terraform

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Applied is what is known after an apply, failed ones included.
type Applied struct {
	// Started is true when Terraform may have changed something: it was started on the plan and did not turn it down.
	// It is false when this call never started Terraform (a plan file that cannot be read, an apply that is waited for
	// or still runs, an errored.tfstate in the way, a missing binary, a context that was cancelled before), and when
	// Terraform said before the first change that the state is locked or the plan stale. It is true after every other
	// end, also after a failure that left the state as it was: what was begun need not be in the state.
	Started bool
	// Before is the state that the plan was made for, After the one that is there now. After is zero when there is
	// none, or when it could not be read; the error then says so.
	Before, After StateID
	// Done lists the addresses that Terraform reported as created, modified, destroyed or imported, in its order. A
	// replaced one is there twice.
	Done []string
	// Begun lists those that it had begun and not reported as done when it ended. Empty after a success.
	Begun []string
	// ErroredState is the path of the errored.tfstate that this apply left; empty when it left none. The file holds
	// the only record of what was done: keep it.
	ErroredState string
}

// erroredName is the file that Terraform leaves in the root module when it cannot save the state.
const erroredName = "errored.tfstate"

const (
	// hurryPatience is how long Terraform may take to end after it was interrupted twice.
	hurryPatience = 30 * time.Second
	// interruptGap is the time between the first interrupt and the second, and between repetitions of that: signals
	// that come too close upon each other arrive as one. Any beyond the second are harmless.
	interruptGap = time.Second
)

// ApplyOptions say what is applied, and who is told.
type ApplyOptions struct {
	// PlanFile is the path of the plan. Required.
	PlanFile string
	// Name is what the caller calls the plan, such as its id; [Abandoned] brings it back. It may be empty.
	Name string
	// Record is called when Terraform has ended, with what ApplyWith is about to return, and before the traces of the
	// apply are removed: a Plumbline that dies at any moment has recorded the apply or leaves its traces. When Record
	// fails they stay, too, and [Dir.Abandoned] returns the apply. It is not called when Terraform was never started.
	// Nil means that nothing is to be recorded.
	Record func(Applied, error) error
}

// Apply applies a plan file and waits until Terraform has ended, however long that takes. Applied is filled in as far as
// possible also when there is an error.
//
// When ctx is cancelled, Terraform is interrupted once: it lets running operations end, saves the state and gives the
// lock back. When then [Options.Hurry] is closed too, it is interrupted a second time and gives up at once. The error
// is an *Interrupted whose text says what was done and what may be lost. An apply that was interrupted too late to be
// stopped is a success.
//
// Terraform outlives Plumbline: when Plumbline dies, a running apply goes on to its end and saves its state. Until
// then Init, Plan and Apply of this data directory fail with *BusyError; see [Dir.Abandoned]. It does not outlive the
// machine, nor the container that ends with Plumbline.
//
// Other errors: *LockedError, *StalePlanError and *MissingError, after which nothing was applied. [Applied.Started] tells
// for every error whether anything may have been.
func (d *Dir) Apply(ctx context.Context, planFile string) (Applied, error) {
	return d.ApplyWith(ctx, ApplyOptions{PlanFile: planFile})
}

// ApplyWith is [Dir.Apply] with options.
func (d *Dir) ApplyWith(ctx context.Context, o ApplyOptions) (Applied, error) {
	before, err := PlanState(o.PlanFile)
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Before: before}
	if err := d.busy(); err != nil {
		return a, err
	}
	unlockData, err := lockDir(ctx, d.opts.DataDir, false)
	if err != nil {
		return a, d.gaveUp(ctx, "apply", err)
	}
	defer unlockData()
	if err := os.MkdirAll(d.data(applyName), 0o700); err != nil {
		return a, fmt.Errorf("prepare apply: %w", err)
	}
	unlockApply, err := lockDir(ctx, d.data(applyName), true)
	if err != nil {
		return a, d.gaveUp(ctx, "apply", err)
	}
	defer unlockApply()
	if errored := d.ErroredState(); errored != "" {
		return a, fmt.Errorf("%s holds changes that an earlier apply could not save, and another failure would overwrite it: "+
			"bring it into the state (terraform state push %s), or move it away", errored, erroredName)
	}
	if ctx.Err() != nil {
		return a, d.gaveUp(ctx, "apply", ctx.Err())
	}

	record := applyRecord{Began: time.Now().UTC(), Plan: o.PlanFile, Name: o.Name}
	end, err := d.runApply(ctx, &record)
	if err != nil {
		return a, err
	}
	err = d.outcome(ctx, end, &a)
	if o.Record != nil {
		if recordErr := o.Record(a, err); recordErr != nil {
			record.Ended = true
			if writeErr := d.writeApplyRecord(record); writeErr != nil {
				d.log().Warn("the end of an apply not noted", "dir", d.opts.Dir, "error", writeErr)
			}
			return a, err
		}
	}
	d.forgetApply()
	return a, err
}

// outcome completes what is known after an apply has ended, and returns its error.
func (d *Dir) outcome(ctx context.Context, end applyEnd, a *Applied) error {
	a.Done, a.Begun = end.done, end.begun
	// Terraform turns a plan down before the first change. The same words may also come from a Terraform that a
	// provisioner has run; by then something was begun.
	refused := turnedDown(end.stderr, d.secrets)
	if len(a.Done)+len(a.Begun) > 0 || end.err == nil {
		refused = nil
	}
	a.Started = refused == nil
	if end.err != nil {
		a.ErroredState = d.ErroredState() // After a success it could only be that of another workspace.
	}
	// The context may be cancelled; what is the case must be known all the same.
	readCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var stateErr error
	a.After, stateErr = d.State(readCtx)

	switch {
	case end.err == nil && stateErr == nil:
		return nil
	case end.err == nil:
		return fmt.Errorf("everything was applied, but the state could not be read afterwards: %w", stateErr)
	case end.stopped != nil:
		return d.interruptedApply(end, *a, stateErr)
	case refused != nil:
		return refused
	}
	return fmt.Errorf("%w\n\n%s", d.ended("apply", end.err, end.stderr, end.stdout), d.account(end, *a, stateErr))
}

// ErroredState returns the path of an errored.tfstate that lies in the root module now, "" when there is none. Until it
// is pushed and removed Apply refuses. Whoever ran Terraform here may have left it, and when several workspaces share
// the root module, it may be of any of them.
func (d *Dir) ErroredState() string {
	path := filepath.Join(d.opts.Dir, erroredName)
	if _, err := os.Lstat(path); err != nil {
		return ""
	}
	return path
}

// interruptedApply accounts for an apply that was told to stop.
func (d *Dir) interruptedApply(end applyEnd, a Applied, stateErr error) *Interrupted {
	e := &Interrupted{Command: "apply", Started: true, Killed: end.stopped.killed, Cause: end.stopped.cause}
	engine := d.opts.Binary.Engine
	switch {
	case end.stopped.killed:
		e.Text = fmt.Sprintf("%s apply was interrupted twice, did not end within %s and was killed.", engine, hurryPatience)
	case end.hurried:
		e.Text = fmt.Sprintf("%s apply was interrupted twice and gave up at once.", engine)
	default:
		e.Text = fmt.Sprintf("%s apply was interrupted and ended in good order.", engine)
	}
	e.Text += "\n" + d.account(end, a, stateErr)
	if text := explain(end.stderr, "", d.secrets); end.stderr != "" {
		e.Text += "\n\n" + text
	}
	return e
}

// account says what state things are in after an apply that did not succeed.
func (d *Dir) account(end applyEnd, a Applied, stateErr error) string {
	var say []string
	done, begun, halfway := sortOut(a.Done, a.Begun)
	switch n := len(done); {
	case n == 1:
		say = append(say, "One change was finished: "+done[0]+".")
	case n > 1:
		say = append(say, fmt.Sprintf("%d changes were finished: %s.", n, listing(done)))
	case len(halfway) == 0:
		say = append(say, "No change was finished.")
	}
	switch n := len(halfway); {
	case n == 1:
		say = append(say, halfway[0]+" was destroyed; its creation was begun and not finished.")
	case n > 1:
		say = append(say, fmt.Sprintf("%d were destroyed, and their creation was begun and not finished: %s.", n, listing(halfway)))
	}
	if len(begun) > 0 {
		say = append(say, "Begun and not finished: "+listing(begun)+".")
	}
	switch {
	case a.ErroredState != "":
		say = append(say, fmt.Sprintf("The state could NOT be saved. What was done is recorded only in %s: keep that file. "+
			"To bring it into the state: terraform state push %s", a.ErroredState, erroredName))
	case stateErr != nil:
		say = append(say, "Whether the state was saved is not known, because it could not be read: "+stateErr.Error())
	case a.After == a.Before:
		say = append(say, fmt.Sprintf("The state is the one from before (serial %d).", a.Before.Serial))
	default:
		say = append(say, fmt.Sprintf("The state was saved (serial %d, before: %d).", a.After.Serial, a.Before.Serial))
	}
	abrupt := end.hurried || end.stopped != nil && end.stopped.killed || killedFromOutside(end.err)
	switch {
	case abrupt && len(a.Begun) > 0:
		say = append(say, "What was begun may exist without being in the state: look for it before the next apply, and import it.")
	case abrupt && len(a.Done) > 0 && a.After == a.Before && a.ErroredState == "":
		say = append(say, "What was done may be missing from the state: look for it before the next apply, and import it.")
	}
	_, local := d.stateFile()
	switch {
	case hasTitle(end.stderr, "Error releasing the state lock"):
		say = append(say, "The state lock could not be given back: it remains until somebody runs terraform force-unlock.")
	case abrupt && !local:
		say = append(say, "A state lock may remain. The next run then names its id, for terraform force-unlock.")
	}
	return strings.Join(say, "\n")
}

// sortOut takes out of done and begun what is in both: half of a replacement. Terraform says "destroyed" and "creating"
// of the same address then; where it creates first, it names the object that goes otherwise ("deposed").
func sortOut(allDone, allBegun []string) (done, begun, halfway []string) {
	for _, address := range allBegun {
		if slices.Contains(allDone, address) {
			halfway = append(halfway, address)
		} else {
			begun = append(begun, address)
		}
	}
	for _, address := range allDone {
		if !slices.Contains(halfway, address) {
			done = append(done, address)
		}
	}
	return done, begun, halfway
}

// listing names addresses, but no more than people read.
func listing(addresses []string) string {
	const most = 20
	if len(addresses) <= most {
		return strings.Join(addresses, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(addresses[:most], ", "), len(addresses)-most)
}

func killedFromOutside(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() < 0
}

// applyName is the directory in the data directory that holds a running apply: its output, because a file, unlike a
// pipe, is still there for Terraform to write to when Plumbline dies, and the record by which another Plumbline finds
// it. They are removed when it has ended.
const applyName = "plumbline-apply"

// applyRecord is written before Terraform is started, and again with its number.
type applyRecord struct {
	PID   int       `json:"pid"`
	Start string    `json:"start"`
	Began time.Time `json:"began"`
	Plan  string    `json:"plan"`
	Name  string    `json:"name,omitempty"`
	// Ended is true when it was seen to end, and its caller could not record that.
	Ended bool `json:"ended,omitempty"`
}

// applyEnd is how Terraform ended.
type applyEnd struct {
	err            error // of Wait
	stopped        *stopped
	hurried        bool
	done, begun    []string
	stdout, stderr string // the first of them
}

// runApply runs terraform apply, and leaves its traces. Its own error means that nothing was started, and leaves none.
func (d *Dir) runApply(ctx context.Context, record *applyRecord) (end applyEnd, err error) {
	stdout, err := os.OpenFile(d.data(applyName, "stdout"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return end, fmt.Errorf("prepare apply: %w", err)
	}
	defer stdout.Close()
	stderr, err := os.OpenFile(d.data(applyName, "stderr"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return end, fmt.Errorf("prepare apply: %w", err)
	}
	defer stderr.Close()
	// Terraform inherits it locked: should Plumbline die before it can record which process that is, the lock tells
	// that there is one. It is a new file each time: a daemon that an earlier apply left behind may hold the last one.
	if err := os.Remove(d.data(applyName, aliveName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return end, fmt.Errorf("prepare apply: %w", err)
	}
	alive, err := os.OpenFile(d.data(applyName, aliveName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return end, fmt.Errorf("prepare apply: %w", err)
	}
	defer alive.Close()
	if err := unix.Flock(int(alive.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOLCK) {
		return end, fmt.Errorf("prepare apply: lock %s: %w", alive.Name(), err)
	}
	if err := d.writeApplyRecord(*record); err != nil {
		return end, fmt.Errorf("prepare apply: %w", err)
	}
	p := process{
		path: d.opts.Binary.Path, args: []string{"apply", "-no-color", "-input=false", "-auto-approve", record.Plan},
		dir: d.opts.Dir, env: d.environ(), stdout: stdout, stderr: stderr, inherits: []*os.File{alive},
	}
	cmd, err := p.start(false)
	if err != nil {
		d.forgetApply()
		return end, d.ended("apply", err, "", "")
	}
	record.PID, record.Start = cmd.Process.Pid, processStart(cmd.Process.Pid)
	if err := d.writeApplyRecord(*record); err != nil {
		d.log().Warn("running apply not recorded", "dir", d.opts.Dir, "error", err)
	}
	d.announce("apply")
	endFollowing := d.follow(d.data(applyName, "stdout"))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	cancelled := ctx.Done()
	var hurry <-chan struct{}
	var again, kill <-chan time.Time
wait:
	for {
		select {
		case end.err = <-ended:
			break wait
		case <-cancelled:
			cancelled, hurry = nil, d.opts.Hurry
			end.stopped = &stopped{cause: context.Cause(ctx)}
			d.log().Info("interrupting apply", "dir", d.opts.Dir)
			_ = cmd.Process.Signal(os.Interrupt) // Fails only when it has just ended.
		case <-hurry:
			hurry, again, kill = nil, time.After(interruptGap), time.After(hurryPatience)
			end.hurried = true
			d.log().Warn("interrupting apply a second time", "dir", d.opts.Dir)
		case <-again:
			again = time.After(interruptGap)
			_ = cmd.Process.Signal(os.Interrupt)
		case <-kill:
			kill = nil
			end.stopped.killed = true
			killGroup(cmd.Process.Pid)
		}
	}
	if killedFromOutside(end.err) {
		killGroup(cmd.Process.Pid) // Its providers have lost their master.
	}
	endFollowing()
	end.stdout, end.stderr = head(d.data(applyName, "stdout")), head(d.data(applyName, "stderr"))
	d.said(end.stderr)
	end.done, end.begun = progress(d.data(applyName, "stdout"))
	return end, nil
}

// aliveName is the file whose lock Terraform holds as long as it runs.
const aliveName = "alive"

func (d *Dir) writeApplyRecord(r applyRecord) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return renameio.WriteFile(d.data(applyName, "record.json"), data, 0o600)
}

// forgetApply removes the traces of an apply that has ended under our eyes. The record goes first.
func (d *Dir) forgetApply() {
	for _, name := range []string{"record.json", "stdout", "stderr"} {
		if err := os.Remove(d.data(applyName, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.log().Warn("apply not tidied up", "error", err)
		}
	}
}

// Abandoned is an apply whose Plumbline died before it ended.
type Abandoned struct {
	// Running is true while Terraform is still at it.
	Running bool
	// PID is Terraform's process; zero when Plumbline died in the very moment in which it started it.
	PID int
	// Name is that of [ApplyOptions].
	Name string
	// Ended is true when Plumbline saw it end, and could not record how.
	Ended bool
	// Began is when it began.
	Began time.Time
	// PlanFile is the path of the plan, which may be gone by now.
	PlanFile string
	// Done and Begun are as in [Applied].
	Done, Begun []string
	// Errors is what Terraform reported as errors, masked; empty when none, or not yet.
	Errors string
	// ErroredState is the path of the errored.tfstate that lies in the root module; empty while Running and when there
	// is none. As with [Applied], the file holds the only record of what was done.
	ErroredState string
	// Completed is true when Terraform said that the apply is complete.
	Completed bool
	// Refused is true when Terraform turned the plan down before the first change: the state was locked or had moved on.
	Refused bool
}

// Abandoned returns the apply that an earlier Plumbline left running in this data directory, also after Terraform has
// ended; nil when there is none. It is returned again until it is forgotten; see [Dir.ForgetAbandoned].
func (d *Dir) Abandoned() (*Abandoned, error) {
	unlock, held, err := d.tryApplyLock()
	if err != nil || held {
		return nil, err // With the lock held, the Plumbline that started it lives.
	}
	defer unlock()
	return d.abandoned()
}

// Applying reports whether an apply goes on in a data directory whose Plumbline died.
func Applying(dataDir string) (bool, error) {
	d := &Dir{opts: Options{DataDir: dataDir}}
	if !exists(d.data(applyName, "record.json")) {
		return false, nil
	}
	a, err := d.Abandoned()
	return a != nil && a.Running, err
}

// ForgetAbandoned forgets what [Dir.Abandoned] has returned, once people were told. An apply that still runs, or another
// one than this, is not forgotten; nil is nothing to forget.
func (d *Dir) ForgetAbandoned(told *Abandoned) error {
	if told == nil {
		return nil
	}
	unlock, held, err := d.tryApplyLock()
	if err != nil || held {
		return err
	}
	defer unlock()
	a, err := d.abandoned()
	if err != nil {
		return err
	}
	if a != nil && !a.Running && a.PID == told.PID && a.Began.Equal(told.Began) {
		d.forgetApply()
	}
	return nil
}

// abandoned reads the record, with the lock held.
func (d *Dir) abandoned() (*Abandoned, error) {
	data, err := os.ReadFile(d.data(applyName, "record.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read record of an apply: %w", err)
	}
	var r applyRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read record of an apply %q: %w", d.data(applyName, "record.json"), err)
	}
	stdout := d.data(applyName, "stdout")
	a := &Abandoned{PID: r.PID, Name: r.Name, Began: r.Began, PlanFile: r.Plan, Ended: r.Ended}
	if r.PID != 0 {
		a.Running = r.Start != "" && processStart(r.PID) == r.Start
	} else {
		a.Running = d.alive()
	}
	a.Done, a.Begun = progress(stdout)
	if stderr := head(d.data(applyName, "stderr")); stderr != "" {
		a.Errors = explain(stderr, "", d.secrets)
	}
	if !a.Running {
		a.ErroredState = d.ErroredState()
		a.Completed = a.Errors == "" && completed(stdout)
		a.Refused = len(a.Done)+len(a.Begun) == 0 && turnedDown(head(d.data(applyName, "stderr")), d.secrets) != nil
	}
	return a, nil
}

// alive reports whether a Terraform runs whose process was never recorded.
func (d *Dir) alive() bool {
	f, err := os.Open(d.data(applyName, aliveName))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// busy is an error while an abandoned apply runs.
func (d *Dir) busy() error {
	if !exists(d.data(applyName, "record.json")) {
		return nil // The usual case, at the price of one look.
	}
	a, err := d.Abandoned()
	if err != nil {
		return err
	}
	if a != nil && a.Running {
		return &BusyError{PID: a.PID, Began: a.Began.Format(time.RFC3339)}
	}
	return nil
}

// tryApplyLock takes the lock that Apply holds, without waiting.
func (d *Dir) tryApplyLock() (unlock func(), held bool, err error) {
	f, err := os.Open(d.data(applyName))
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look for an apply: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, true, nil
	}
	return func() { f.Close() }, false, nil
}

// head returns the beginning of a file, "" when it cannot be read.
func head(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxStderr))
	return string(data)
}

// Terraform's own words, from internal/command/views/hook_ui.go; OpenTofu has kept them.
var (
	doneRE  = regexp.MustCompile(`^(.+): (?:Creation|Modifications|Destruction|Import|Closing|Opening) complete\b`)
	begunRE = regexp.MustCompile(`^(.+): (?:Creating|Modifying|Destroying)\.\.\.`)
)

// progress reads from an apply's output what it has done and what it has begun. Lines of provisioners, which come after
// an address and a name in parentheses, and may say anything, are not believed.
func progress(path string) (done, begun []string) {
	eachLine(path, func(line string) {
		if strings.Contains(line, "-exec): ") {
			return
		}
		if m := doneRE.FindStringSubmatch(line); m != nil {
			if i := slices.Index(begun, m[1]); i >= 0 {
				done = append(done, m[1])
				begun = slices.Delete(begun, i, i+1)
			} else if strings.Contains(line, ": Import complete") {
				done = append(done, m[1])
			}
		} else if m := begunRE.FindStringSubmatch(line); m != nil {
			begun = append(begun, strings.TrimSpace(m[1]))
		}
	})
	return done, begun
}

func completed(path string) bool {
	found := false
	eachLine(path, func(line string) {
		found = found || strings.HasPrefix(line, "Apply complete!")
	})
	return found
}

// eachLine calls f for every line of a file, of very long ones for the beginning.
func eachLine(path string, f func(line string)) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			f(strings.TrimRight(string(line), "\r\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}
