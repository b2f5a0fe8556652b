package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Placement says where [Materialise] writes files, and which.
type Placement struct {
	// Dir is the directory; it is made if missing. One caller at a time.
	Dir string
	// Index is a file outside of Dir that remembers what was written. Lose it,
	// and files that are no longer listed stay where they are.
	Index string
	// Files are the paths in the commit. A symbolic link is written as such, and
	// is of use only if what it leads to is listed too.
	Files []string
}

// Materialise makes a directory hold these files of a commit: content, whether
// they may be executed, and symbolic links. It writes only what differs from
// what lies there, and says how many paths it wrote or removed.
//
// Files that it wrote once and that are listed no longer are removed. Files
// that others put there stay, such as Terraform's, unless one stands exactly
// where a listed file or a directory above it must be. A directory that others
// filled is never removed for a file: that is an error.
//
// Symbolic links in the directory are replaced, never followed, so that nothing
// outside of it is touched whatever earlier commits held. A listed link that
// leads out of the repository is refused, and so is a path behind a link.
//
// When it is interrupted, at any moment, the next call completes the work.
func Materialise(ctx context.Context, t *Tree, p Placement) (changed int, err error) {
	changed, err = materialise(ctx, t, p)
	if err != nil {
		return changed, fmt.Errorf("write the files of a commit to %s: %w", p.Dir, err)
	}
	return changed, nil
}

func materialise(ctx context.Context, t *Tree, p Placement) (int, error) {
	wanted, err := wantedFiles(t, p.Files)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return 0, err
	}
	// A root of the os package is a second wall: it leads nowhere outside.
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	m := &placer{ctx: ctx, tree: t, root: root, dirs: map[string]bool{".": true}}
	if m.index, err = readPlaced(p.Index); err != nil {
		return 0, err
	}

	if err := m.checkCase(wanted); err != nil {
		return 0, err
	}

	// What is to be done goes into the index before it is done, as uncertain:
	// whoever comes after an interruption does it again.
	var removed, written []string
	for name := range m.index {
		if _, ok := wanted[name]; !ok {
			removed = append(removed, name)
			m.index[name] = placed{}
		}
	}
	for name, e := range wanted {
		if !m.holds(name, e) {
			written = append(written, name)
			m.index[name] = placed{}
		}
	}
	if len(removed)+len(written) == 0 {
		return 0, nil
	}
	if err := writePlaced(p.Index, m.index); err != nil {
		return 0, err
	}
	slices.Sort(removed)
	slices.Sort(written)
	slices.Reverse(removed) // what is deepest first
	changed := 0
	for _, name := range removed {
		gone, err := m.remove(name)
		if err != nil {
			return changed, err
		}
		if gone {
			changed++
		}
		delete(m.index, name)
	}
	if err := t.Prefetch(written); err != nil {
		return changed, err
	}
	for _, name := range written {
		if err := m.write(name, wanted[name]); err != nil {
			return changed, fmt.Errorf("%q: %w", name, err)
		}
		changed++
	}
	return changed, writePlaced(p.Index, m.index)
}

// wantedFiles finds the listed files in the commit.
func wantedFiles(t *Tree, names []string) (map[string]entry, error) {
	wanted := make(map[string]entry, len(names))
	above := map[string]bool{".": true} // directories that are no links
	for _, name := range names {
		e, err := t.find(name, false)
		if err == nil {
			switch e.kind {
			case kindDir, kindSubmodule:
				err = errIsDir
			case kindSymlink:
				err = t.staysInside(name)
			}
		}
		for dir := path.Dir(name); err == nil && !above[dir]; dir = path.Dir(dir) {
			var parent entry
			if parent, err = t.find(dir, false); err == nil && parent.kind == kindSymlink {
				err = fmt.Errorf("it lies behind the symbolic link %q; list the link and what it leads to", dir)
			}
			above[dir] = err == nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		wanted[name] = e
	}
	for name := range wanted {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, both := wanted[dir]; both {
				return nil, fmt.Errorf("%q is a file and a directory", dir) // Git forbids it
			}
		}
	}
	return wanted, nil
}

// staysInside refuses a link that leads out of the repository. One that leads
// nowhere may still lead out of a directory that holds more than the commit, so
// it is looked at as it is written too.
func (t *Tree) staysInside(name string) error {
	_, err := t.find(name, true)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ELOOP) {
		return err
	}
	target, err := t.ReadLink(name)
	if err != nil {
		return err
	}
	depth := strings.Count(name, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "..":
			depth--
		case "", ".":
		default:
			depth++
		}
		if depth < 0 {
			return errLeaves
		}
	}
	if strings.HasPrefix(target, "/") || strings.Contains(target, "\x00") || target == "" {
		return errLeaves
	}
	return nil
}

// placer writes into one directory.
type placer struct {
	ctx   context.Context
	tree  *Tree
	root  *os.Root
	index map[string]placed
	dirs  map[string]bool // known to be directories and no links
}

// checkCase refuses files whose names differ in upper and lower case only, where
// the file system takes them for one.
func (m *placer) checkCase(wanted map[string]entry) error {
	folded := make(map[string]string, len(wanted))
	for name := range wanted {
		for ; name != "."; name = path.Dir(name) {
			fold := strings.ToLower(name)
			other, ok := folded[fold]
			if ok && other == name {
				break
			}
			if ok {
				folds, err := m.foldsCase()
				if err != nil || !folds {
					return err
				}
				return fmt.Errorf("this file system cannot tell %q from %q; keep it on one that can", other, name)
			}
			folded[fold] = name
		}
	}
	return nil
}

// foldsCase tries out whether the file system tells upper from lower case.
func (m *placer) foldsCase() (bool, error) {
	const probe, folded = ".plumbline-Case", ".plumbline-case"
	if err := m.root.WriteFile(probe, nil, 0o600); err != nil {
		return false, err
	}
	_, err := m.root.Lstat(folded)
	return err == nil, m.root.Remove(probe)
}

// holds reports whether the directory has a file as it was written, and that
// is the one of the commit.
func (m *placer) holds(name string, e entry) bool {
	was, ok := m.index[name]
	if !ok || was.id != e.id || was.kind != e.kind || was == (placed{}) || !m.isDir(path.Dir(name)) {
		return false
	}
	info, err := m.root.Lstat(name)
	return err == nil && was.sameFile(info)
}

// isDir reports whether a path is a directory, and no part of it a link.
func (m *placer) isDir(dir string) bool {
	if m.dirs[dir] {
		return true
	}
	if !m.isDir(path.Dir(dir)) {
		return false
	}
	info, err := m.root.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	m.dirs[dir] = true
	return true
}

// remove removes a file that was written once, and the directories that it
// leaves empty.
func (m *placer) remove(name string) (bool, error) {
	if err := m.ctx.Err(); err != nil {
		return false, context.Cause(m.ctx)
	}
	if !m.isDir(path.Dir(name)) {
		return false, nil // somebody else removed it, or put something in the way
	}
	info, err := m.root.Lstat(name)
	if err == nil && info.IsDir() {
		return false, nil // nothing that was written
	}
	if err == nil {
		err = m.root.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	gone := err == nil
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if m.root.Remove(dir) != nil { // not empty
			break
		}
		delete(m.dirs, dir)
	}
	return gone, nil //nolint:nilerr // a directory that is not empty stays
}

// write writes one file in the place of whatever is there.
func (m *placer) write(name string, e entry) error {
	if err := m.ctx.Err(); err != nil {
		return context.Cause(m.ctx)
	}
	if err := m.makeDir(path.Dir(name)); err != nil {
		return err
	}
	if info, err := m.root.Lstat(name); err == nil {
		if info.IsDir() {
			// Removed if empty; what Terraform keeps may be in there.
			err = m.root.Remove(name)
			if err != nil {
				return fmt.Errorf("a directory with other files stands in its place; remove it: %w", err)
			}
			delete(m.dirs, name)
		} else if err := m.root.Remove(name); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := m.tree.content(e, false)
	if err != nil {
		return err
	}
	if e.kind == kindSymlink {
		err = m.root.Symlink(string(data), name)
	} else {
		err = m.writeFile(name, e, data)
	}
	if err != nil {
		return err
	}
	info, err := m.root.Lstat(name)
	if err != nil {
		return err
	}
	m.index[name] = placedAs(e, info)
	return nil
}

// writeFile makes a file. It must not exist, so that no link is followed.
func (m *placer) writeFile(name string, e entry, data []byte) error {
	f, err := m.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.mode().Perm())
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// makeDir makes a directory and those above it, in the place of links and files
// that stand there.
func (m *placer) makeDir(dir string) error {
	if m.dirs[dir] {
		return nil
	}
	if err := m.makeDir(path.Dir(dir)); err != nil {
		return err
	}
	info, err := m.root.Lstat(dir)
	if err == nil && !info.IsDir() {
		if err = m.root.Remove(dir); err != nil {
			return err
		}
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = m.root.Mkdir(dir, 0o755)
	}
	if err != nil {
		return err
	}
	m.dirs[dir] = true
	return nil
}
