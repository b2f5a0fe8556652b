package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MirrorOptions say where a mirror is and how patient it is.
type MirrorOptions struct {
	// Dir is the bare repository. It and its parents are made if missing. Files
	// beside it, with the same name and a further ending, belong to the mirror.
	Dir string
	// Environ is the environment for Git, as os.Environ returns it; see [Open].
	Environ []string
	// Timeout is how long one fetch may take; 0 for five minutes.
	Timeout time.Duration
	// LowSpeed is how long a connection over HTTP may bring less than a
	// kilobyte a second before it is given up; 0 for one minute.
	LowSpeed time.Duration
}

// Mirror is a bare copy of a repository that lives elsewhere. Several
// processes may use the same one: whoever changes refs holds a lock between
// processes, and nobody who only reads waits for it. It keeps no files open and
// no processes running, and is safe for concurrent use.
//
// A mirror is a cache of what its origin has. What is ours alone in it are
// merges that [Mirror.Merge] made; they live as long as [Mirror.Keep] names
// them, and for two weeks without that.
type Mirror struct {
	dir      string
	repo     *Repo
	timeout  time.Duration
	lowSpeed time.Duration
}

// OpenMirror opens the mirror in a directory, and makes it if it is not there.
// What a process left behind that was killed while it did so is cleared away.
//
// A directory that holds something else than a bare repository is an error, and
// left alone.
func OpenMirror(ctx context.Context, opts MirrorOptions) (*Mirror, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("open mirror %q: %w", opts.Dir, err)
	}
	m := &Mirror{dir: dir, timeout: opts.Timeout, lowSpeed: opts.LowSpeed}
	if m.timeout == 0 {
		m.timeout = 5 * time.Minute
	}
	if m.lowSpeed == 0 {
		m.lowSpeed = time.Minute
	}
	if err := m.open(ctx, opts.Environ); err != nil {
		return nil, fmt.Errorf("open mirror %q: %w", opts.Dir, err)
	}
	return m, nil
}

func (m *Mirror) open(ctx context.Context, environ []string) error {
	if _, err := os.Lstat(m.dir); errors.Is(err, fs.ErrNotExist) {
		if err := m.create(ctx, environ); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	repo, err := Open(ctx, m.dir, environ)
	if errors.Is(err, ErrNotRepository) && m.empty() {
		// A machine that lost its power may have kept the rename of create and
		// not the files.
		if err = m.create(ctx, environ); err == nil {
			repo, err = Open(ctx, m.dir, environ)
		}
	}
	if err != nil {
		return err
	}
	// Git looks for a repository upwards: what is found may lie around.
	if real, err := filepath.EvalSymlinks(m.dir); err != nil {
		return err
	} else if repo.root != "" || repo.gitDir != real {
		return errors.New("the directory holds something else than a bare Git repository; move it away, or choose another place")
	}
	m.repo = repo
	return nil
}

// empty reports whether the mirror's directory holds nothing that could not be
// fetched again: no file with content in it, except what Git makes anew.
func (m *Mirror) empty() bool {
	head, err := os.Stat(filepath.Join(m.dir, "HEAD"))
	if err == nil && head.Size() > 0 {
		return false
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !slices.Contains([]string{"HEAD", "config", "objects", "refs", "packed-refs"}, e.Name()) {
			return false
		}
	}
	return true
}

// mirrorConfig is the configuration of a mirror. Nothing collects garbage
// behind the back of readers, and what a fetch brought is on the disk before
// refs name it.
//
// transfer.fsckObjects stays off: it refuses whole histories for old mistakes
// that harm nobody, and the names that could do harm are refused by the reader
// (see parseDir). What was sent is checked against its id in any case.
const mirrorConfig = `[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	logAllRefUpdates = false
	hooksPath = /dev/null
	fsync = all
	fsyncMethod = batch
[gc]
	auto = 0
	autoDetach = false
[maintenance]
	auto = false
[fetch]
	fsckObjects = false
	writeCommitGraph = false
[uploadpack]
	hideRefs = refs/plumbline
`

// create makes the repository beside its place and moves it there. Who comes
// second finds it made.
func (m *Mirror) create(ctx context.Context, environ []string) error {
	parent, base := filepath.Split(m.dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	held, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer held.release()
	if _, err := os.Stat(filepath.Join(m.dir, "objects")); err == nil && !m.empty() {
		return nil
	}
	left, err := filepath.Glob(filepath.Join(globEscape(parent), globEscape(base)+".new-*"))
	if err != nil {
		return err
	}
	for _, name := range left {
		// A neighbour's name may go on like that, but not end so.
		if strings.Trim(name[strings.LastIndex(name, "-")+1:], "0123456789") != "" {
			continue
		}
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	making, err := os.MkdirTemp(parent, base+".new-")
	if err != nil {
		return err
	}
	command, err := findGit(environ)
	if err != nil {
		return err
	}
	command.dir = making
	_, err = command.run(ctx, "-c", "init.defaultBranch=main", "init", "--quiet", "--bare", "--template=", "--object-format=sha1", making)
	if err == nil {
		err = os.WriteFile(filepath.Join(making, "config"), []byte(mirrorConfig), 0o600)
	}
	if err == nil && m.empty() {
		err = os.RemoveAll(m.dir)
	}
	if err == nil {
		err = os.Rename(making, m.dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(making))
	}
	held.done()
	return nil
}

// globEscape makes a pattern that matches a name and nothing else.
func globEscape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// Dir returns the absolute path of the bare repository.
func (m *Mirror) Dir() string { return m.dir }

// Repo returns the mirror for reading. It sees at once what a fetch brings.
func (m *Mirror) Repo() *Repo { return m.repo }

// keptRefs is where the refs of Keep are.
const keptRefs = "refs/plumbline/"

// Keep makes a ref, refs/plumbline/NAME, that saves a commit and all that it
// leads to from being collected as garbage. A name that is in use moves.
func (m *Mirror) Keep(ctx context.Context, name, commit string) error {
	ref := keptRefs + name
	if !isID(commit) || !plainRef(ref) {
		return fmt.Errorf("keep commit %q as %q: want an object id and a plain name", commit, name)
	}
	held, err := m.lockKept(ctx)
	if err == nil {
		defer held.release()
		if _, err = held.git().run(ctx, "update-ref", "--no-deref", ref, commit); err == nil {
			held.done()
			return nil
		}
	}
	return fmt.Errorf("keep commit %s in the mirror %s: %w", commit, m.dir, err)
}

// Kept lists the commits that Keep saves, by name.
func (m *Mirror) Kept(ctx context.Context) (map[string]string, error) {
	out, err := m.repo.git.run(ctx, "for-each-ref", "--format=%(objectname) %(refname)", keptRefs)
	if err != nil {
		return nil, fmt.Errorf("list what is kept in the mirror %s: %w", m.dir, err)
	}
	kept := map[string]string{}
	for line := range strings.Lines(string(out)) {
		commit, ref, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ok {
			kept[strings.TrimPrefix(ref, keptRefs)] = commit
		}
	}
	return kept, nil
}

// Drop deletes refs by their full names: refs/plumbline/NAME for what was kept,
// refs/pull/7/head for what was fetched and is of no more use. Names that do
// not exist are passed over. It waits for a fetch that is under way.
func (m *Mirror) Drop(ctx context.Context, refs ...string) error {
	var commands strings.Builder
	for _, ref := range refs {
		if !plainRef(ref) {
			return fmt.Errorf("drop ref %q of the mirror %s: it is no full name of a ref", ref, m.dir)
		}
		commands.WriteString("option no-deref\ndelete " + ref + "\n")
	}
	if len(refs) == 0 {
		return nil
	}
	if err := m.exclusive(ctx, func(held *lock) error {
		kept, err := m.lockKept(ctx)
		if err != nil {
			return err
		}
		defer kept.release()
		if _, err := held.git().feed(ctx, commands.String(), "update-ref", "--stdin"); err != nil {
			return err
		}
		kept.done()
		return nil
	}); err != nil {
		return fmt.Errorf("drop refs of the mirror %s: %w", m.dir, err)
	}
	return nil
}

// Untidy reports whether enough has piled up for Maintain to be worth its while:
// each fetch leaves a pack or a few single objects, and reading gets slower with
// every pack.
func (m *Mirror) Untidy() bool {
	const packs, singles = 30, 30
	count := func(pattern string) int {
		found, err := filepath.Glob(filepath.Join(globEscape(m.dir), "objects", pattern))
		if err != nil {
			return 0
		}
		return len(found)
	}
	// Ids are random: one directory of 256 tells of all.
	return count("pack/*.pack") > packs || count("17/*") > singles
}

// Maintain packs what many fetches brought and drops what no ref has led to for
// two weeks. Readers go on meanwhile; fetches wait. It is for a quiet hour.
func (m *Mirror) Maintain(ctx context.Context) error {
	err := m.exclusive(ctx, func(held *lock) error {
		_, err := held.git().run(ctx, "gc", "--quiet", "--prune=2.weeks.ago")
		return err
	})
	if err != nil {
		return fmt.Errorf("maintain the mirror %s: %w", m.dir, err)
	}
	return nil
}

// exclusive runs do under the lock for refs and packs.
func (m *Mirror) exclusive(ctx context.Context, do func(held *lock) error) error {
	held, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer held.release()
	if err := held.clear(); err != nil {
		return err
	}
	if err := do(held); err != nil {
		return err
	}
	held.done()
	return nil
}

// plainRef reports whether a name may be handed to "git update-ref --stdin",
// which reads lines, and names a ref that a mirror has.
// https://git-scm.com/docs/git-check-ref-format
func plainRef(ref string) bool {
	if !strings.HasPrefix(ref, "refs/") || strings.ContainsAny(ref, " \t\n\x00\"\\~^:?*[\x7f") ||
		strings.Contains(ref, "..") || strings.Contains(ref, "@{") || strings.Contains(ref, "//") || strings.HasSuffix(ref, "/") {
		return false
	}
	for part := range strings.SplitSeq(ref, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") || strings.HasSuffix(part, ".") {
			return false
		}
	}
	return true
}
