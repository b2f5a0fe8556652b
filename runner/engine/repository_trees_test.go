package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

// TestRunsShareOpenCommits has many runs read a commit: they share what is open, whoever of them is interrupted, and it is
// closed in the end.
func TestRunsShareOpenCommits(t *testing.T) {
	t.Parallel()
	h := startHub(t, someFiles())
	c := h.clone(t, t.TempDir(), h.client)
	tip, err := c.fetchBranch(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	read := func(tree *gitrepo.Tree) error {
		_, err := tree.ReadFile("app/main.tf")
		return err
	}
	if c.opened.has(tip) {
		t.Error("a commit counts as open that nobody has opened")
	}
	stopped, stop := context.WithCancel(t.Context())
	first, leave, err := c.lease(stopped, tip)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	second, leaveToo, err := c.lease(t.Context(), tip)
	if err != nil || first != second || !c.opened.has(tip) {
		t.Fatalf("the second one got another tree, or none: %v", err)
	}
	leave()
	if err := read(second); err != nil {
		t.Errorf("the first one was stopped and left, and the second one reads: %v", err)
	}
	leaveToo()
	third, leave, err := c.lease(t.Context(), tip)
	if err != nil || third != first {
		t.Errorf("who comes soon after got another tree, or none: %v", err)
	}
	c.opened.close() // as the engine does when it ends
	if err := read(third); err != nil {
		t.Errorf("it was closed while it is read: %v", err)
	}
	leave()
	if err := read(third); !errors.Is(err, fs.ErrClosed) || c.opened.has(tip) {
		t.Errorf("nobody reads it any more, and it is open: %v", err)
	}
	if _, _, err := c.lease(t.Context(), "0123456789012345678901234567890123456789"); err == nil {
		t.Error("a commit was opened that is not there")
	}

	trees := map[*gitrepo.Tree]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range treeServes {
				tree, leave, err := c.lease(t.Context(), tip)
				if err != nil {
					t.Error(err)
					return
				}
				if err := read(tree); err != nil {
					t.Error(fmt.Errorf("%d, %d: %w", i, j, err))
				}
				mu.Lock()
				trees[tree] = true
				mu.Unlock()
				leave()
			}
		})
	}
	all.Wait()
	if len(trees) < 4 || len(trees) > 4*treeServes/4 {
		t.Errorf("%d runs read through %d openings", 4*treeServes, len(trees))
	}
	c.opened.close()
	for tree := range trees {
		if err := read(tree); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("an opening stays: %v", err)
		}
	}
}
