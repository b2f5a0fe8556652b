package gitrepo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// children returns the process ids of all children, also dead ones that nobody
// waited for.
func children(tb testing.TB) []int {
	tb.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		tb.Fatalf("no /proc/self/task/*/children: %v", err)
	}
	var pids []int
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if os.IsNotExist(err) { // the thread ended
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		for field := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				tb.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually waits until wrong finds nothing wrong.
func eventually(tb testing.TB, wrong func() string) {
	tb.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		text := wrong()
		if text == "" {
			return
		}
		if time.Since(start) > time.Minute {
			tb.Fatal(text)
		}
	}
}

// goroutines returns the stacks that hold a text.
func goroutines(tb testing.TB, text string) string {
	tb.Helper()
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		tb.Fatal(err)
	}
	var ours []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, text) {
			ours = append(ours, stack)
		}
	}
	return strings.Join(ours, "\n\n")
}

// The tests of this file do not run beside others: they look at all children of
// the process.

func TestNothingIsLeftBehind(t *testing.T) {
	dir := newRepo(t)
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("d%d/f%d.tf", i%100, i)] = fmt.Sprint(i)
	}
	importFiles(t, dir, files)
	r := open(t, dir)
	for name, end := range map[string]func(cancel func()){
		"closed":               func(func()) {},
		"cancelled and closed": func(cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tr, err := r.Tree(ctx, "HEAD")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Stat("d1/f1.tf"); err != nil { // the second child
				t.Fatal(err)
			}
			if err := tr.PrefetchFunc(func(string) bool { return true }); err != nil {
				t.Fatal(err)
			}
			if len(children(t)) == 0 {
				t.Error("no children: the test sees nothing")
			}
			end(cancel)
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
			if left := children(t); len(left) != 0 {
				t.Errorf("children left: %v", left)
			}
			if left := goroutines(t, "internal/gitrepo."); left != "" {
				t.Errorf("goroutines left:\n%s", left)
			}
			// A goroutine of os/exec reports its result just before it returns.
			eventually(t, func() string { return goroutines(t, "os/exec.") })
		})
	}
	t.Run("cancelled only", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := r.Tree(ctx, "HEAD"); err != nil {
			t.Fatal(err)
		}
		cancel()
		eventually(t, func() string {
			if left := children(t); len(left) != 0 {
				return fmt.Sprintf("children left: %v", left)
			}
			return ""
		})
	})
	t.Run("failed to open", func(t *testing.T) {
		if _, err := r.Tree(t.Context(), strings.Repeat("1", 40)); err == nil {
			t.Fatal("opened")
		}
		if left := children(t); len(left) != 0 {
			t.Errorf("children left: %v", left)
		}
	})
}

func TestKilledChildIsReplaced(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, map[string]string{"d/f": "x", "e/g": "y"})
	commit(t, dir)
	tr := tree(t, open(t, dir), "HEAD")
	pids := children(t)
	if len(pids) != 1 {
		t.Fatalf("children: %v, want one", pids)
	}
	// An interrupt typed at the terminal must not reach it.
	if group, err := syscall.Getpgid(pids[0]); err != nil || group != pids[0] {
		t.Errorf("the child %d is in group %d, %v; want its own", pids[0], group, err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, err := tr.ReadFile("d/f")
	if err == nil || !strings.Contains(err.Error(), "git cat-file") {
		t.Errorf("the read that met the dead child: %v", err)
	}
	if data, err := tr.ReadFile("e/g"); err != nil || string(data) != "y" {
		t.Errorf("the next read = %q, %v", data, err)
	}
}

// A child that hangs must not hold up whoever gave up waiting.
func TestCancelWhileGitHangs(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, map[string]string{"f": "x"})
	commit(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	tr, err := open(t, dir).Tree(ctx, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range children(t) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error)
	go func() {
		_, err := fs.ReadFile(tr, "f")
		failed <- err
	}()
	cancel()
	if err := <-failed; err == nil {
		t.Error("read from a stopped child")
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if left := children(t); len(left) != 0 {
		t.Errorf("children left: %v", left)
	}
}

// A reader that waits for what another Tree is fetching hangs on neither.
func TestWaitForAnotherTree(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, map[string]string{"f": "x"})
	commit(t, dir)
	r := open(t, dir)
	slow, err := r.Tree(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range children(t) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if err := slow.Prefetch([]string{"f"}); err != nil {
		t.Fatal(err)
	}
	type result struct {
		data []byte
		err  error
	}
	wait := func(ctx context.Context) (*gitrepo.Tree, chan result) {
		tr, err := r.Tree(ctx, "HEAD")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan result, 1)
		go func() {
			data, err := tr.ReadFile("f")
			done <- result{data, err}
		}()
		eventually(t, func() string {
			if goroutines(t, "gitrepo.(*objects).blob") == "" {
				return "the reader does not wait"
			}
			return ""
		})
		return tr, done
	}
	receive := func(done chan result) result {
		select {
		case got := <-done:
			return got
		case <-time.After(time.Minute):
			t.Fatal("the reader still waits")
			return result{}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	impatient, done := wait(ctx)
	cancel()
	if got := receive(done); !errors.Is(got.err, context.Canceled) {
		t.Errorf("after its own end: %q, %v", got.data, got.err)
	}
	closed, done := wait(t.Context())
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	if got := receive(done); !errors.Is(got.err, fs.ErrClosed) {
		t.Errorf("after being closed: %q, %v", got.data, got.err)
	}
	patient, done := wait(t.Context())
	if err := slow.Close(); err != nil {
		t.Error(err)
	}
	if got := receive(done); got.err != nil || string(got.data) != "x" {
		t.Errorf("after the end of the other: %q, %v", got.data, got.err)
	}
	for _, tr := range []*gitrepo.Tree{impatient, patient} {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
}
