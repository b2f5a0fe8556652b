package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lock is one of a mirror's two locks, held. They are files beside the
// repository: "DIR.lock" is for whoever changes refs or packs, "DIR.kept.lock"
// for whoever changes refs/plumbline, which must not wait for a fetch. Who wants
// both takes them in that order.
//
// While it is held the file is not empty. Who finds it so knows that the last
// holder did not come to its end, and clears away the lock files that its Git
// left; see clear. The lock is handed down to Git: when this process is killed,
// nobody gets the lock before its Git has ended too.
type lock struct {
	mirror *Mirror
	file   *os.File
	within string // the part of the repository that it guards
	unwell bool   // the last holder was cut off
}

// lockPoll is how often a lock that others hold is asked for.
const lockPoll = 20 * time.Millisecond

// lock waits for the lock for refs and packs, until ctx is done.
func (m *Mirror) lock(ctx context.Context) (*lock, error) {
	return m.take(ctx, m.dir+".lock", "")
}

// lockKept waits for the lock for refs/plumbline. What the last holder left in
// there is cleared away.
func (m *Mirror) lockKept(ctx context.Context) (*lock, error) {
	held, err := m.take(ctx, m.dir+".kept.lock", strings.TrimSuffix(keptRefs, "/"))
	if err != nil {
		return nil, err
	}
	if err := held.clear(); err != nil {
		held.release()
		return nil, err
	}
	return held, nil
}

func (m *Mirror) take(ctx context.Context, name, within string) (*lock, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		ok, err := tryLock(file)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), file.Close())
		}
		if ok {
			break
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for whoever holds %s: %w", name, context.Cause(ctx)), file.Close())
		case <-time.After(lockPoll):
		}
	}
	held := &lock{mirror: m, file: file, within: within}
	info, err := file.Stat()
	if err == nil {
		held.unwell = info.Size() > 0
		_, err = fmt.Fprintf(file, "held by process %d\n", os.Getpid())
	}
	if err != nil {
		held.release()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return held, nil
}

// done says that all went well: there is nothing to clear away.
func (l *lock) done() { _ = l.file.Truncate(0) }

// release gives the lock back.
func (l *lock) release() {
	// Closing would leave it with a helper of Git's that lives on.
	unlock(l.file)
	_ = l.file.Close()
}

// git returns a git for the mirror whose children hold the lock too.
func (l *lock) git() git {
	g := l.mirror.repo.git
	g.inherit = l.file
	return g
}

// clear removes what a Git that was killed left behind, where it guards: lock
// files, on which every later Git would fail, and halves of packs.
func (l *lock) clear() error {
	if !l.unwell {
		return nil
	}
	top := filepath.Join(l.mirror.dir, filepath.FromSlash(l.within))
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // refs come and go
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(l.mirror.dir, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			loose := strings.HasPrefix(rel, "objects/") && rel != "objects/pack" && rel != "objects/info"
			if loose || l.within == "" && rel+"/" == keptRefs {
				return fs.SkipDir
			}
			return nil
		}
		pack, inPack := strings.CutPrefix(rel, "objects/pack/")
		half := inPack && (strings.HasPrefix(pack, "tmp_") || strings.HasPrefix(pack, ".tmp-") || strings.HasSuffix(pack, ".keep"))
		if half || strings.HasSuffix(rel, ".lock") || rel == "gc.pid" {
			return os.Remove(name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear away what a killed Git left behind: %w", err)
	}
	l.unwell = false
	return nil
}
