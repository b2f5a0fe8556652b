package gitrepo

import (
	"io/fs"
	"path"
)

// bulkChildren is how many git cat-file processes read a large set of objects.
// Two keep Git ahead of a reader that parses on another core; more would take
// the cores from it.
const bulkChildren = 2

// Prefetch starts reading files into memory and returns: a read of a file that
// is on its way waits for it. Each content is read once, however many files
// have it. Names that do not exist, and directories, are passed over; reading
// them will tell. A file above 8 MiB is not kept. The error is only ever that
// of ctx, or that directories could not be read.
func (t *Tree) Prefetch(names []string) error {
	ids := make([]id, 0, len(names))
	for _, name := range names {
		// Following a symlink to its end reads the links on the way, which
		// needs no prefetching: there are few.
		if e, err := t.find(name, true); err == nil && !e.isDir() {
			ids = append(ids, e.id)
		}
	}
	if err := t.alive(); err != nil {
		return err
	}
	return t.fetch(ids)
}

// PrefetchFunc is Prefetch for every file whose name want accepts, of the whole
// tree. Symlinks are offered by their own name and followed. Directories that
// cannot be read are passed over.
func (t *Tree) PrefetchFunc(want func(name string) bool) error {
	if err := t.alive(); err != nil {
		return err
	}
	if err := t.loadAll(); err != nil {
		return err
	}
	var ids []id
	var links []string
	var visit func(dirName string, i id)
	visit = func(dirName string, i id) {
		d, ok := t.repo.objects.dir(i)
		if !ok || t.alive() != nil {
			return
		}
		for _, e := range d.entries {
			name := path.Join(dirName, e.name)
			switch e.kind {
			case kindDir:
				visit(name, e.id)
			case kindFile, kindExecutable:
				if want(name) {
					ids = append(ids, e.id)
				}
			case kindSymlink:
				if want(name) {
					links = append(links, name)
				}
			}
		}
	}
	visit("", t.root.id)
	if err := t.alive(); err != nil {
		return err
	}
	for _, name := range links {
		if e, err := t.find(name, true); err == nil && !e.isDir() {
			ids = append(ids, e.id)
		}
	}
	return t.fetch(ids)
}

// fetch brings blobs into memory, many of them in the background.
func (t *Tree) fetch(ids []id) error {
	ids = t.repo.objects.claim(ids, t)
	if len(ids) == 0 {
		return nil
	}
	receive := func(o object) error {
		if o.kind == "blob" && o.data != nil {
			t.repo.objects.add(o.id, o.data)
		} else { // too large: nobody needs to wait for the others
			t.repo.objects.forsake([]id{o.id})
		}
		return nil
	}
	joined := t.crew.start(func() {
		// What fails here fails again, with its reason, for whoever reads it.
		defer t.repo.objects.forsake(ids)
		_ = t.read(ids, receive)
	})
	if !joined {
		t.repo.objects.forsake(ids)
		return fs.ErrClosed
	}
	return nil
}
