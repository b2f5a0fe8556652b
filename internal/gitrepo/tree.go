package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Tree is what one commit holds, as a read-only filesystem: it implements
// fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and fs.ReadLinkFS. It is safe for
// concurrent use.
//
// Names are as in io/fs, except that they may hold bytes that are not UTF-8, as
// Git's may. Opening, reading and Stat follow symlinks as long as they stay
// inside the repository; one that is absolute or climbs out of it is an error,
// as is a chain of more than 40. Files have mode 0644 or 0755 and no
// modification time, for Git keeps none. A submodule is an empty directory, as
// in a checkout where it was not initialised; Git keeps no other empty ones.
//
// A directory is read when it is first needed. Once many were, all the rest is
// read in one go, so that walking everything costs about one "git ls-tree -r".
// Reading a file costs a round trip to a child process, unless it was named to
// [Tree.Prefetch] before. What is read is shared among the open Trees of the
// Repo: directories until the last one is closed, contents until the one that
// asked for them is.
type Tree struct {
	repo    *Repo
	root    entry
	ctx     context.Context
	end     context.CancelCauseFunc
	stop    func() bool // ends the waking of waiters when ctx is done
	closing sync.Once

	contents conversation // cat-file --batch
	sizes    conversation // cat-file --batch-check
	crew     crew         // reaps children and prefetches

	failed atomic.Pointer[error] // see Failed

	lone    atomic.Int32 // directories read one by one
	loading sync.Mutex   // held by whoever reads all directories
	loaded  bool         // all that can be read were; guarded by loading
}

// loneLimit is how many directories are read one by one before all are.
// Reading 32 of them costs about as much as starting the child that reads
// thousands.
const loneLimit = 32

// Tree opens the files of a commit. rev is an id or whatever [Repo.Resolve]
// takes. ctx governs the whole life of the Tree: once it is done, reads fail
// with its cause. Close the Tree when done with it, or a child process is left
// until ctx is done.
func (r *Repo) Tree(ctx context.Context, rev string) (*Tree, error) {
	commit := rev
	if !isID(rev) {
		var err error
		if commit, err = r.Resolve(ctx, rev); err != nil {
			return nil, err
		}
	}
	t := &Tree{repo: r}
	t.ctx, t.end = context.WithCancelCause(ctx)
	t.contents = conversation{git: r.git, ctx: t.ctx, mode: "--batch", crew: &t.crew}
	t.sizes = conversation{git: r.git, ctx: t.ctx, mode: "--batch-check", crew: &t.crew}
	r.objects.acquire()
	t.stop = context.AfterFunc(t.ctx, r.objects.wake)

	err := t.contents.ask([]string{commit + "^{tree}"}, whole, func(o object) error {
		t.root = entry{name: ".", id: o.id, kind: kindDir}
		_, err := r.objects.addDir(o.id, o.data)
		return err
	})
	if err != nil {
		_ = t.Close()
		var missing *missingError
		if errors.As(err, &missing) {
			return nil, r.unknown(ctx, rev)
		}
		return nil, fmt.Errorf("read commit %q: %w", rev, err)
	}
	return t, nil
}

// Close ends the Tree's children and waits for them. Reads fail from then on
// with fs.ErrClosed; files that are open stay readable. It always returns nil;
// closing again does nothing.
func (t *Tree) Close() error {
	t.closing.Do(func() {
		t.stop()
		t.end(fs.ErrClosed)
		t.repo.objects.wake()
		t.crew.close()
		t.repo.objects.release(t)
	})
	return nil
}

// Open opens a file or directory. A file's content is in memory from then on;
// it implements io.ReaderAt and io.Seeker.
func (t *Tree) Open(name string) (fs.File, error) {
	e, err := t.find(name, true)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if e.isDir() {
		list, err := t.list(e)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openDir{info: info{name: path.Base(name), entry: e}, name: name, list: list}, nil
	}
	data, err := t.content(e, false)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openFile{
		info: info{name: path.Base(name), entry: e, size: int64(len(data))},
		name: name, Reader: bytes.NewReader(data),
	}, nil
}

// ReadFile returns the content of a file. The bytes belong to the caller.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	e, err := t.find(name, true)
	if err == nil && e.isDir() {
		err = errIsDir
	}
	var data []byte
	if err == nil {
		data, err = t.content(e, true)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

// ReadDir lists a directory, sorted by name. Asking an entry for its Info costs
// a round trip, since Git keeps sizes with the files.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.find(name, true)
	var list []fs.DirEntry
	if err == nil {
		list, err = t.list(e)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return list, nil
}

// Stat describes a file or directory, following symlinks.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return t.stat("stat", name, true) }

// Lstat describes a file, directory or symlink.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) { return t.stat("lstat", name, false) }

func (t *Tree) stat(op, name string, follow bool) (fs.FileInfo, error) {
	e, err := t.find(name, follow)
	var size int64
	if err == nil {
		size, err = t.size(e)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return &info{name: path.Base(name), entry: e, size: size}, nil
}

// ReadLink returns the target of a symlink, as it was committed.
func (t *Tree) ReadLink(name string) (string, error) {
	e, err := t.find(name, false)
	if err == nil && e.kind != kindSymlink {
		err = fmt.Errorf("not a symlink: %w", fs.ErrInvalid)
	}
	var target []byte
	if err == nil {
		target, err = t.content(e, true)
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(target), nil
}

// Hash returns the object id of a file or directory, as 40 hexadecimal digits,
// without reading it. Same id, same content: of a directory with all that is in
// it. Like Stat it follows symlinks, so that it names what Open would open; but
// the id of a directory says nothing of where symlinks inside it lead. The id
// of a submodule is the commit that it is at.
func (t *Tree) Hash(name string) (string, error) {
	e, err := t.find(name, true)
	if err != nil {
		return "", &fs.PathError{Op: "hash", Path: name, Err: err}
	}
	return e.id.String(), nil
}

// errIsDir is what reading a directory as a file gives.
var errIsDir = errors.New("is a directory")

// maxLinks is how many symlinks one name may lead through, as on Linux.
const maxLinks = 40

// maxTarget is how long the target of a symlink may be, in bytes, as on Linux.
const maxTarget = 4096

// find walks to a name. With follow, the last part is followed when it is a
// symlink; earlier parts always are.
func (t *Tree) find(name string, follow bool) (entry, error) {
	if err := t.alive(); err != nil {
		return entry{}, err
	}
	if !validName(name) {
		return entry{}, fs.ErrInvalid
	}
	var parents [16]entry // of at, without it; spares an allocation
	above := parents[:0]
	at, links := t.root, 0
	for rest, more := name, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if !at.isDir() {
			return entry{}, fmt.Errorf("%q is not a directory: %w", at.name, fs.ErrNotExist)
		}
		if part == "." || part == "" {
			continue
		}
		if part == ".." { // only in symlinks
			if len(above) == 0 {
				return entry{}, errLeaves
			}
			at, above = above[len(above)-1], above[:len(above)-1]
			continue
		}
		if at.kind == kindSubmodule {
			return entry{}, fmt.Errorf("%q is a submodule, whose files are in another repository: %w", at.name, fs.ErrNotExist)
		}
		d, err := t.dir(at)
		if err != nil {
			return entry{}, err
		}
		next, ok := d.find(part)
		if !ok {
			return entry{}, fs.ErrNotExist
		}
		if next.kind != kindSymlink || !more && !follow {
			above = append(above, at)
			at = next
			continue
		}
		if links++; links > maxLinks {
			return entry{}, syscall.ELOOP
		}
		target, err := t.target(next)
		if err != nil {
			return entry{}, err
		}
		if more {
			target += "/" + rest
		}
		rest, more = target, true
	}
	return at, nil
}

// errLeaves is for symlinks to places that the commit does not hold.
var errLeaves = errors.New("a symlink leads out of the repository")

// target reads where a symlink points to, and keeps it.
func (t *Tree) target(link entry) (string, error) {
	data, ok := t.repo.objects.blob(link.id, t.alive)
	if !ok {
		if err := t.alive(); err != nil {
			return "", err
		}
		err := t.ask(&t.contents, []string{link.id.String()}, upTo(maxTarget), func(o object) error {
			data = o.data
			if data == nil {
				return fmt.Errorf("symlink %q has a target of %d bytes: %w", link.name, o.size, fs.ErrInvalid)
			}
			t.repo.objects.claim([]id{o.id}, t)
			t.repo.objects.add(o.id, o.data)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	if len(data) == 0 {
		return "", fs.ErrNotExist
	}
	if data[0] == '/' {
		return "", errLeaves
	}
	return string(data), nil
}

// validName is fs.ValidPath, but for any bytes.
func validName(name string) bool {
	if fs.ValidPath(name) {
		return true
	}
	if name == "" || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// Failed returns the first error of a read that was not the fault of what was
// read: Git failed, or the Tree's context was done. Whoever reads files as an
// [fs.FS] and makes sense of those that cannot be read asks it afterwards, so
// as not to take the end of a process for something that somebody committed.
func (t *Tree) Failed() error {
	if failed := t.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

// note keeps err for Failed, and returns it.
func (t *Tree) note(err error) error {
	if err != nil {
		t.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// ask asks a child, and notes its failure. What receive returns is about the
// object, and so is that it is missing.
func (t *Tree) ask(c *conversation, names []string, make allocate, receive func(object) error) error {
	var refused error
	err := c.ask(names, make, func(o object) error {
		refused = receive(o)
		return refused
	})
	var missing *missingError
	if err == nil || refused != nil || errors.As(err, &missing) {
		return err
	}
	return t.note(err)
}

// alive says why the Tree can no longer be read, or nil.
func (t *Tree) alive() error {
	if t.ctx.Err() != nil {
		return t.note(context.Cause(t.ctx))
	}
	return nil
}

// dir reads a directory.
func (t *Tree) dir(e entry) (*dir, error) {
	if d, ok := t.repo.objects.dir(e.id); ok {
		return d, nil
	}
	if t.lone.Add(1) > loneLimit {
		if err := t.loadAll(); err != nil {
			return nil, err
		}
		if d, ok := t.repo.objects.dir(e.id); ok {
			return d, nil
		}
		// Not there or refused by parseDir: read it alone to tell why.
	}
	var d *dir
	err := t.ask(&t.contents, []string{e.id.String()}, whole, func(o object) (err error) {
		if o.kind != "tree" {
			return fmt.Errorf("object %s is a %s, not a tree: the repository is damaged", e.id, o.kind)
		}
		d, err = t.repo.objects.addDir(o.id, o.data)
		return err
	})
	return d, err
}

// loadAll reads the directories that were not read yet, level by level.
// Damaged ones are left out: they are an error only to who asks for them.
func (t *Tree) loadAll() error {
	t.loading.Lock()
	defer t.loading.Unlock()
	if t.loaded {
		return nil
	}
	seen := map[id]bool{t.root.id: true}
	level := []id{t.root.id}
	for len(level) > 0 {
		var unread []id
		for _, i := range level {
			if _, ok := t.repo.objects.dir(i); !ok {
				unread = append(unread, i)
			}
		}
		if err := t.loadDirs(unread); err != nil {
			return err
		}
		var below []id
		for _, i := range level {
			d, ok := t.repo.objects.dir(i)
			if !ok {
				continue
			}
			for _, e := range d.entries {
				if e.kind == kindDir && !seen[e.id] {
					seen[e.id] = true
					below = append(below, e.id)
				}
			}
		}
		level = below
	}
	t.loaded = true
	return nil
}

// loadDirs reads directories whose ids are known.
func (t *Tree) loadDirs(ids []id) error {
	receive := func(o object) error {
		if o.kind == "tree" && o.data != nil {
			_, _ = t.repo.objects.addDir(o.id, o.data)
		}
		return nil
	}
	return t.read(ids, receive)
}

// read reads any number of objects, leaving out those that are not there and
// contents above keepLimit. For many it starts children, for which receive may
// be called at the same time.
func (t *Tree) read(ids []id, receive func(object) error) error {
	const few = 4 * askLimit // starting a child costs as much as four rounds
	if len(ids) > few {
		return t.note(t.repo.git.bulk(t.ctx, ids, bulkChildren, receive))
	}
	return t.askAll(ids, receive)
}

// askAll reads a few objects through the child that runs anyway.
func (t *Tree) askAll(ids []id, receive func(object) error) error {
	for part := range slices.Chunk(ids, askLimit) {
		names := make([]string, len(part))
		for n, i := range part {
			names[n] = i.String()
		}
		err := t.ask(&t.contents, names, upTo(keepLimit), receive)
		var missing *missingError
		if err != nil && !errors.As(err, &missing) {
			return err
		}
	}
	return nil
}

// list makes directory entries.
func (t *Tree) list(e entry) ([]fs.DirEntry, error) {
	if e.kind == kindSubmodule {
		return []fs.DirEntry{}, nil
	}
	if e.kind != kindDir {
		return nil, fmt.Errorf("not a directory: %w", fs.ErrInvalid)
	}
	d, err := t.dir(e)
	if err != nil {
		return nil, err
	}
	all := make([]dirEntry, len(d.entries))
	list := make([]fs.DirEntry, len(d.entries))
	for n := range d.entries {
		all[n] = dirEntry{tree: t, entry: &d.entries[n]}
		list[n] = &all[n]
	}
	return list, nil
}

// content returns what a file or symlink holds; with own, as a copy that the
// caller may change.
func (t *Tree) content(e entry, own bool) ([]byte, error) {
	if data, ok := t.repo.objects.blob(e.id, t.alive); ok {
		if own {
			data = append(make([]byte, 0, len(data)), data...)
		}
		return data, nil
	}
	if err := t.alive(); err != nil {
		return nil, err
	}
	var data []byte
	err := t.ask(&t.contents, []string{e.id.String()}, whole, func(o object) error {
		if o.kind != "blob" {
			return fmt.Errorf("object %s is a %s, not a blob: the repository is damaged", e.id, o.kind)
		}
		data = o.data
		return nil
	})
	return data, err
}

// size returns how many bytes a file or symlink has.
func (t *Tree) size(e entry) (int64, error) {
	if e.isDir() {
		return 0, nil
	}
	if data, ok := t.repo.objects.blob(e.id, t.alive); ok {
		return int64(len(data)), nil
	}
	if err := t.alive(); err != nil {
		return 0, err
	}
	var size int64
	err := t.ask(&t.sizes, []string{e.id.String()}, nil, func(o object) error {
		size = o.size
		return nil
	})
	return size, err
}

func (e entry) isDir() bool { return e.kind == kindDir || e.kind == kindSubmodule }

// mode is what the entry would be in a checkout.
func (e entry) mode() fs.FileMode {
	switch e.kind {
	case kindDir, kindSubmodule:
		return fs.ModeDir | 0o755
	case kindSymlink:
		return fs.ModeSymlink | 0o777
	case kindExecutable:
		return 0o755
	default:
		return 0o644
	}
}

// info describes a file. It implements fs.FileInfo.
type info struct {
	name  string
	entry entry
	size  int64
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.size }
func (i *info) Mode() fs.FileMode  { return i.entry.mode() }
func (i *info) ModTime() time.Time { return time.Time{} }
func (i *info) IsDir() bool        { return i.entry.isDir() }
func (i *info) Sys() any           { return nil }

// dirEntry is one line of ReadDir.
type dirEntry struct {
	tree  *Tree
	entry *entry
}

func (d *dirEntry) Name() string      { return d.entry.name }
func (d *dirEntry) IsDir() bool       { return d.entry.isDir() }
func (d *dirEntry) Type() fs.FileMode { return d.entry.mode().Type() }
func (d *dirEntry) String() string    { return fs.FormatDirEntry(d) }

func (d *dirEntry) Info() (fs.FileInfo, error) {
	size, err := d.tree.size(*d.entry)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: d.entry.name, Err: err}
	}
	return &info{name: d.entry.name, entry: *d.entry, size: size}, nil
}

// openFile is an open file, its content in memory.
type openFile struct {
	info info
	name string
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return &f.info, nil }
func (f *openFile) Close() error               { return nil }

// openDir is an open directory.
type openDir struct {
	info info
	name string
	list []fs.DirEntry
	at   int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return &d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errIsDir}
}

// ReadDir returns the next n entries, or with n <= 0 all that are left.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	left := d.list[d.at:]
	if n > 0 {
		if len(left) == 0 {
			return nil, io.EOF
		}
		left = left[:min(n, len(left))]
	}
	d.at += len(left)
	return append([]fs.DirEntry{}, left...), nil
}
