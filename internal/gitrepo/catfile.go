package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
)

// keepLimit is the size in bytes above which a prefetched blob is not kept.
// Terraform code is far smaller; what is larger is read when it is asked for.
const keepLimit = 8 << 20

// object is one answer of git cat-file.
type object struct {
	id   id
	kind string // "blob", "tree", "commit", "tag"
	size int64
	data []byte // nil from --batch-check
}

// missingError says that the repository does not hold an object, or that a name
// leads to none.
type missingError struct{ name, answer string }

func (e *missingError) Error() string {
	return fmt.Sprintf("the repository does not hold object %s (git cat-file says %q): it is damaged, or a partial clone that could not fetch it", e.name, e.answer)
}

// conversation is a long-lived git cat-file that answers one round of questions
// at a time. It starts with the first question, and again after it failed.
type conversation struct {
	git  git
	ctx  context.Context // ends the child
	mode string          // --batch or --batch-check
	crew *crew           // the goroutine that reaps the child belongs to it

	mu    sync.Mutex
	child *child // nil when none runs
}

// child is a running git cat-file.
type child struct {
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr message
	kill   context.CancelFunc
	reaped chan struct{} // closed when it is gone
}

// askLimit is how many ids one round of questions may name: so many that it
// stays below what a pipe always takes at once (PIPE_BUF is 4096 bytes on
// Linux), and neither side can block the other.
const askLimit = 4096 / (2*len(id{}) + 1)

// ask sends the names of up to askLimit objects and hands the answers to
// receive, in the same order. make gives the memory for each content; see
// readObject. An object that is missing is an error, but only after the others
// were received.
func (c *conversation) ask(names []string, make allocate, receive func(object) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if c.child == nil {
		child, err := c.start()
		if err != nil {
			return err
		}
		c.child = child
	}
	_, err := io.WriteString(c.child.stdin, strings.Join(names, "\n")+"\n")
	var refused error
	for n := 0; err == nil && n < len(names); n++ {
		var o object
		o, err = readObject(c.child.stdout, make)
		var missing *missingError
		switch {
		case errors.As(err, &missing):
			missing.name, err = names[n], nil
			refused = errors.Join(refused, missing)
		case err == nil:
			refused = errors.Join(refused, receive(o))
		}
	}
	if err == nil {
		return refused
	}
	// Out of step: this child is of no more use.
	broken := c.child
	c.child = nil
	broken.kill()
	<-broken.reaped
	return failure(c.ctx, "cat-file", err, &broken.stderr)
}

// start starts the child and the goroutine that reaps it.
func (c *conversation) start() (*child, error) {
	ctx, kill := context.WithCancel(c.ctx)
	cmd := c.git.command(ctx, "cat-file", c.mode)
	ch := &child{kill: kill, reaped: make(chan struct{})}
	cmd.Stderr = &ch.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		kill()
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		kill()
		return nil, err
	}
	ch.stdin, ch.stdout = stdin, bufio.NewReaderSize(stdout, 64<<10)
	started := make(chan error, 1)
	joined := c.crew.start(func() {
		defer close(ch.reaped)
		defer kill()
		err := cmd.Start()
		started <- err
		if err == nil {
			// How it ended shows in what it answered; see ask.
			_ = cmd.Wait()
		}
	})
	if !joined {
		kill()
		return nil, fs.ErrClosed
	}
	if err := <-started; err != nil {
		return nil, failure(c.ctx, "cat-file", err, &ch.stderr)
	}
	return ch, nil
}

// crew is the goroutines of one owner. Unlike a bare WaitGroup it can be closed
// while others still try to start some.
type crew struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// start runs f in a goroutine, unless the crew is closed.
func (c *crew) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.group.Go(f)
	}
	return !c.closed
}

// close lets nobody in any more and waits for all to end.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.group.Wait()
}

// bulk streams many objects through git cat-file children that buffer their
// output, and returns when all have come. receive is called from one goroutine
// for each child. Content above keepLimit comes as nil. Objects that are not
// there are left out.
func (g git) bulk(ctx context.Context, ids []id, children int, receive func(object) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Turns of bulkTurn objects keep all children near the front, where a
	// reader that goes in order waits.
	inputs := make([]bytes.Buffer, max(1, min(children, len(ids)/bulkTurn)))
	for n, i := range ids {
		in := &inputs[n/bulkTurn%len(inputs)]
		in.Write(i.appendHex(in.AvailableBuffer()))
		in.WriteByte('\n')
	}
	var all sync.WaitGroup
	errs := make([]error, len(inputs))
	for n := range inputs {
		all.Go(func() {
			if errs[n] = g.pour(ctx, &inputs[n], receive); errs[n] != nil {
				cancel(errs[n])
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

const bulkTurn = 512

// pour runs one child of bulk.
func (g git) pour(ctx context.Context, ids io.Reader, receive func(object) error) error {
	cmd := g.command(ctx, "cat-file", "--batch", "--buffer")
	var stderr message
	cmd.Stdin, cmd.Stderr = ids, &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start git cat-file: %w", err)
	}
	out := bufio.NewReaderSize(stdout, 64<<10)
	var memory arena
	var reading error
	for {
		o, err := readObject(out, memory.take)
		var missing *missingError
		if errors.As(err, &missing) {
			continue
		}
		if err == nil {
			err = receive(o)
		}
		if err != nil {
			reading = err
			break
		}
	}
	if !errors.Is(reading, io.EOF) {
		_ = cmd.Cancel()
	}
	err = cmd.Wait()
	if !errors.Is(reading, io.EOF) {
		return failure(ctx, "cat-file", reading, &stderr)
	}
	if err != nil {
		return failure(ctx, "cat-file", err, &stderr)
	}
	return nil
}

// errProtocol means that git cat-file said something else than documented.
var errProtocol = errors.New("git cat-file gave an answer that is not understood")

// allocate gives the memory for the content of an object, or nil for content
// that is to be read past.
type allocate func(size int64) []byte

// upTo allocates for objects of limited size.
func upTo(limit int64) allocate {
	return func(size int64) []byte {
		if size > limit {
			return nil
		}
		return make([]byte, size)
	}
}

// whole allocates for objects of any size.
func whole(size int64) []byte { return make([]byte, size) }

// readObject reads one answer: "<id> <kind> <size>" and, unless make is nil,
// that many bytes and a newline. io.EOF means that the child has nothing more to
// say. https://git-scm.com/docs/git-cat-file#_batch_output
func readObject(out *bufio.Reader, make allocate) (object, error) {
	line, err := out.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return object{}, errProtocol
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return object{}, err
	}
	line = line[:len(line)-1]
	var o object
	var known bool
	if o.id, known = parseHex(line); !known || len(line) < 42 || line[40] != ' ' {
		return object{}, &missingError{answer: string(line)}
	}
	kind, size, known := bytes.Cut(line[41:], []byte(" "))
	if !known { // "<id> missing"
		return object{}, &missingError{answer: string(line)}
	}
	o.kind = objectKind(kind)
	if o.size, err = strconv.ParseInt(string(size), 10, 64); err != nil || o.size < 0 {
		return object{}, errProtocol
	}
	if make == nil {
		return o, nil
	}
	if o.data = make(o.size); o.data != nil {
		_, err = io.ReadFull(out, o.data)
	} else {
		_, err = io.CopyN(io.Discard, out, o.size)
	}
	if err == nil {
		var end byte
		if end, err = out.ReadByte(); err == nil && end != '\n' {
			err = errProtocol
		}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return o, err
}

// objectKind spares an allocation for each object.
func objectKind(b []byte) string {
	switch string(b) {
	case "blob":
		return "blob"
	case "tree":
		return "tree"
	}
	return string(b)
}

// arena hands out parts of larger pieces of memory: what comes together is
// dropped together.
type arena struct{ free []byte }

// take is an allocate with the limit keepLimit.
func (a *arena) take(size int64) []byte {
	const piece = 256 << 10
	switch {
	case size > keepLimit:
		return nil
	case size > piece/8:
		return make([]byte, size)
	case int(size) > len(a.free) || a.free == nil:
		a.free = make([]byte, piece)
	}
	part := a.free[:size:size]
	a.free = a.free[size:]
	return part
}
