package runner

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// scratch is a directory for the plan files of one run of one workspace. They
// hold secrets in clear, so it is private and goes with the run. What a killed
// process left behind is found by its lock, which nobody holds any more, and
// goes with the next run.
type scratch struct {
	dir  string
	lock *flock.Flock
}

const (
	scratchPrefix = "plan-"
	scratchLock   = "lock"
)

// newScratch makes a directory below home, and removes those that were left.
func newScratch(home string) (*scratch, error) {
	left, err := filepath.Glob(filepath.Join(home, scratchPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range left {
		s := scratch{dir: dir, lock: flock.New(filepath.Join(dir, scratchLock))}
		if free, err := s.lock.TryLock(); err == nil && free {
			s.remove()
		}
	}
	// The lock is taken before the directory gets its name, so that nobody can
	// take a new one for one that was left.
	making, err := os.MkdirTemp(home, "making-")
	if err != nil {
		return nil, err
	}
	s := &scratch{dir: making, lock: flock.New(filepath.Join(making, scratchLock))}
	if free, err := s.lock.TryLock(); err != nil || !free {
		s.remove()
		return nil, fmt.Errorf("lock it: %w", err)
	}
	named := filepath.Join(home, scratchPrefix+filepath.Base(making)[len("making-"):])
	if err := os.Rename(making, named); err != nil {
		s.remove()
		return nil, err
	}
	s.dir = named
	return s, nil
}

// remove removes the directory before it gives up the lock.
func (s *scratch) remove() {
	os.RemoveAll(s.dir)
	_ = s.lock.Close()
}
