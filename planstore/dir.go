package planstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	// temporary begins the names of files that are being written. No listing shows them.
	temporary = ".tmp-"

	// abandoned is the age at which such a file is taken for the leftover of a writer that was killed: no write takes
	// nearly as long.
	abandoned = time.Hour

	// lockName is the file in the root that is locked while an object is deleted or replaced.
	lockName = ".lock"
)

// dirBucket keeps objects as files with mode 0600 in directories with mode 0700.
type dirBucket struct {
	root string // absolute
}

// openDir opens a directory, makes it if it is missing, and clears away what killed writers left behind.
func openDir(root string) (bucket, string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, "", err
	}
	if err := makeDirs(root); err != nil {
		return nil, "", fmt.Errorf("make directory %s: %w", root, err)
	}
	d := &dirBucket{root: root}
	if err := d.clean(); err != nil {
		return nil, "", fmt.Errorf("clear away unfinished files in %s: %w", root, err)
	}
	return d, root, nil
}

func (d *dirBucket) Put(ctx context.Context, key string, c content) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := d.path(key)
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return explainFull(err)
	}
	return writeFile(path, c.writeTo, addFile)
}

func (d *dirBucket) Replace(ctx context.Context, key, _ string, c content) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := d.path(key)
	return writeFile(path, c.writeTo, func(temp, path string) error {
		unlock, err := d.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s", ErrNotFound, path)
		} else if err != nil {
			return err
		}
		return os.Rename(temp, path)
	})
}

func (d *dirBucket) Get(ctx context.Context, key string, limit int64) (*stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := os.Open(d.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, d.path(key))
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	o := &stored{ReadCloser: file, bytes: info.Size()}
	if limit > 0 {
		o.ReadCloser = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(file, limit), file}
	}
	return o, nil
}

func (d *dirBucket) List(ctx context.Context, prefix string) ([]object, error) {
	var objects []object
	err := d.walk(d.path(prefix), func(path string, info fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasPrefix(info.Name(), temporary) || path == filepath.Join(d.root, lockName) {
			return nil
		}
		key, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		objects = append(objects, object{key: filepath.ToSlash(key), size: info.Size()})
		return nil
	})
	slices.SortFunc(objects, func(a, b object) int { return strings.Compare(a.key, b.key) })
	return objects, err
}

func (d *dirBucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := d.path(key)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return syncDir(filepath.Dir(path))
}

// lock keeps Delete and Replace apart, of all processes: a file can be renamed to a name, but not only if that is taken.
func (d *dirBucket) lock(ctx context.Context) (unlock func(), err error) {
	file := flock.New(filepath.Join(d.root, lockName), flock.SetPermissions(0o600))
	if _, err := file.TryLockContext(ctx, 5*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock %s: %w", file.Path(), err)
	}
	return func() { _ = file.Close() }, nil // the lock ends with the file
}

func (d *dirBucket) path(key string) string {
	return filepath.Join(d.root, filepath.FromSlash(key))
}

// walk visits the regular files below a directory. What disappears on the way was deleted or finished by someone else.
func (d *dirBucket) walk(dir string, visit func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				return visit(path, info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func (d *dirBucket) clean() error {
	return d.walk(d.root, func(path string, info fs.FileInfo) error {
		if !strings.HasPrefix(info.Name(), temporary) || time.Since(info.ModTime()) < abandoned {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// writeFile writes a file with mode 0600 so that at any instant, through kill -9 and power loss, path names the whole
// file or what it named before. fill and place may fail, which leaves path as it was.
func writeFile(path string, fill func(io.Writer) error, place func(temp, path string) error) (err error) {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, temporary+"*") // made with mode 0600
	if err != nil {
		return explainFull(err)
	}
	defer func() {
		if err == nil {
			return
		}
		_ = file.Close() // it may be closed already
		if left := os.Remove(file.Name()); !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		err = explainFull(err)
	}()
	if err := fill(file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := place(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// addFile gives a file a name that nothing had. That the same content has it already is as good; then, too, the temporary
// name is gone when it returns.
func addFile(temp, path string) error {
	err := os.Link(temp, path)
	switch {
	case err == nil:
		return os.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		same, err := sameContent(temp, path)
		if err == nil && !same {
			err = fmt.Errorf("%s: %w", path, errExists)
		}
		if err != nil {
			return err
		}
		return os.Remove(temp)
	}
	// Some file systems have no links. Nobody can guess the name, so what has it is ours.
	if _, statErr := os.Lstat(path); !errors.Is(statErr, fs.ErrNotExist) {
		return errors.Join(err, statErr)
	}
	return os.Rename(temp, path)
}

func sameContent(a, b string) (bool, error) {
	first, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	second, err := os.ReadFile(b)
	return bytes.Equal(first, second), err
}

// makeDirs makes a directory and its missing parents with mode 0700, each durable before the next.
func makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir makes the names in a directory durable. File systems that cannot do that say EINVAL or ENOTSUP: there is
// nothing more to be had from them.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// explainFull says what to do about a full disk.
func explainFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("the disk is full (free space, for example with `plumbline plans prune`, and try again): %w", err)
	}
	return err
}
