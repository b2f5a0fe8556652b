package workspaces

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// hasher is a file system that knows object ids, as a Git tree does: equal ids
// mean equal content, of a directory with all that is below it.
type hasher interface {
	Hash(name string) (string, error)
}

// prefetcher is a file system that would rather hear of many files at once.
type prefetcher interface {
	Prefetch(names []string) error
}

// treePrefetcher can begin with that while its directories are still being
// walked.
type treePrefetcher interface {
	PrefetchFunc(want func(name string) bool) error
}

// isSkippedDir names the directories that are never entered. They hold
// copies that tools make, or in the case of .git no files of the repository.
func isSkippedDir(name string) bool {
	switch name {
	case ".git", ".terraform", ".terragrunt-cache", "node_modules":
		return true
	}
	return false
}

// maxConfigSize is the size in bytes from which on a Terraform file is not
// read but reported. Terraform itself knows no limit; a generated file of this
// size is more likely a mistake.
const maxConfigSize = 32 << 20

// reader turns a file system into records.
type reader struct {
	fsys     fs.FS
	hash     hasher // nil when the file system has no object ids
	cache    *FactCache
	parallel int

	tasks    []*parseTask
	byHash   map[contentKey]*parseTask
	dirs     map[string]*record // by path, as far as they are known
	fresh    []*freshDir        // directories whose records are being made, parents first
	problems []Problem
}

// contentKey is what makes two files say the same.
type contentKey struct {
	hash   string
	kind   taskKind
	syntax fileKind
}

// parseTask is one distinct content to be parsed.
type parseTask struct {
	name string // the first file that has it
	kind taskKind
	file fileFacts
	list []string // what a test file runs
	text string   // what a version file says
	err  error
}

type taskKind byte

const (
	parseConfig taskKind = iota
	parseTests
	readPin
)

// freshDir is a directory whose record is being made.
type freshDir struct {
	path     string
	key      string
	rec      *record
	names    []string     // of the files, beside their tasks
	tasks    []*parseTask // in the order of names
	children []freshChild
}

type freshChild struct {
	name string
	key  string
	dir  *freshDir // nil when rec came from the cache
	rec  *record
}

// readRecords reads every directory of the file system that Terraform might
// have something to do with, by path.
func readRecords(ctx context.Context, fsys fs.FS, opts Options) (map[string]*record, []Problem, error) {
	r := &reader{
		fsys: fsys, cache: opts.Facts, parallel: opts.parallel(),
		byHash: map[contentKey]*parseTask{}, dirs: make(map[string]*record, 1024+opts.Facts.size()),
	}
	var key string
	var err error
	if r.hash, _ = fsys.(hasher); r.hash == nil {
		r.cache = nil
	} else if key, err = r.hash.Hash("."); err != nil {
		return nil, nil, fmt.Errorf("identify the root directory: %w", err)
	}
	if !r.recall(".", key) {
		if p, ok := fsys.(treePrefetcher); ok && r.cache.size() == 0 {
			if err := p.PrefetchFunc(isInteresting); err != nil {
				return nil, nil, fmt.Errorf("read the Terraform files: %w", err)
			}
		}
		entries, err := fs.ReadDir(fsys, ".")
		if err != nil {
			return nil, nil, fmt.Errorf("list the root directory: %w", err)
		}
		if err := r.walk(ctx, &freshDir{path: ".", key: key}, entries); err != nil {
			return nil, nil, err
		}
	}
	// Records that the cache has may lead to others that it lost.
	if err := r.parse(ctx); err != nil {
		return nil, nil, err
	}
	r.assemble()
	return r.dirs, r.problems, ctx.Err()
}

// recall takes a directory's record from the cache, with those below it.
func (r *reader) recall(dir, key string) bool {
	rec, ok := r.cache.get(key)
	if !ok {
		return false
	}
	for _, c := range rec.dirs {
		if !r.recall(join(dir, c.name), c.key) {
			return false
		}
	}
	r.dirs[dir] = rec
	return true
}

// walk lists a directory and those below it that the cache does not know, and
// notes the files to be parsed.
func (r *reader) walk(ctx context.Context, d *freshDir, entries []fs.DirEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.rec = &record{}
	r.fresh = append(r.fresh, d)
	for _, e := range entries {
		name := e.Name()
		full := join(d.path, name)
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			target, err := fs.ReadLink(r.fsys, full)
			if err != nil {
				target = ""
			}
			d.rec.links = append(d.rec.links, symlink{name, target})
		case e.IsDir():
			if isSkippedDir(name) {
				continue
			}
			if err := r.walkChild(ctx, d, name, full); err != nil {
				return err
			}
		case e.Type()&fs.ModeIrregular != 0:
			d.rec.opaque = append(d.rec.opaque, name)
		case !e.Type().IsRegular():
		case configKind(name) != notConfig:
			r.note(d, name, full, parseConfig)
		case isTestFile(name):
			r.note(d, name, full, parseTests)
		case name == terraformPin || name == tofuPin:
			r.note(d, name, full, readPin)
		case isValueFile(name):
			d.rec.values = append(d.rec.values, name)
		}
	}
	return nil
}

func (r *reader) walkChild(ctx context.Context, d *freshDir, name, full string) error {
	child := freshChild{name: name}
	if r.hash != nil {
		key, err := r.hash.Hash(full)
		if err != nil {
			return fmt.Errorf("identify %q: %w", full, err)
		}
		child.key = key
		if r.recall(full, key) {
			child.rec = r.dirs[full]
			d.children = append(d.children, child)
			return nil
		}
	}
	child.dir = &freshDir{path: full, key: child.key, rec: &record{}}
	entries, err := fs.ReadDir(r.fsys, full)
	if err != nil {
		// A directory that cannot be listed says nothing of the others.
		r.problems = append(r.problems, Problem{
			File: full, Text: fmt.Sprintf("the directory cannot be listed: %v", pathless(err)),
			Fix: "check its permissions and its name", Severity: SeverityWarning,
		})
		child.dir.key = ""
		r.fresh = append(r.fresh, child.dir)
		d.children = append(d.children, child)
		return nil
	}
	if isForeign(entries) {
		d.rec.opaque = append(d.rec.opaque, name)
		return nil
	}
	d.children = append(d.children, child)
	return r.walk(ctx, child.dir, entries)
}

// isForeign reports whether a directory is the place of another repository: a
// submodule, which Git's own trees and a fresh checkout show as an empty
// directory, or a clone within the clone.
func isForeign(entries []fs.DirEntry) bool {
	if len(entries) == 0 {
		return true
	}
	_, found := slices.BinarySearchFunc(entries, ".git", func(e fs.DirEntry, name string) int {
		return strings.Compare(e.Name(), name)
	})
	return found
}

// isInteresting reports whether a walk will ask for the file.
func isInteresting(name string) bool {
	base := path.Base(name)
	if configKind(base) == notConfig && !isTestFile(base) && base != terraformPin && base != tofuPin {
		return false
	}
	for dir := range strings.SplitSeq(path.Dir(name), "/") {
		if isSkippedDir(dir) {
			return false
		}
	}
	return true
}

// note adds a file to the tasks, unless its content is among them already.
func (r *reader) note(d *freshDir, name, full string, kind taskKind) {
	var task *parseTask
	if r.hash != nil {
		if id, err := r.hash.Hash(full); err == nil {
			// The same content means something else under another kind of name.
			key := contentKey{hash: id, kind: kind, syntax: configKind(name)}
			if task = r.byHash[key]; task == nil {
				task = &parseTask{name: full, kind: kind}
				r.byHash[key] = task
				r.tasks = append(r.tasks, task)
			}
		}
	}
	if task == nil {
		task = &parseTask{name: full, kind: kind}
		r.tasks = append(r.tasks, task)
	}
	d.names = append(d.names, name)
	d.tasks = append(d.tasks, task)
}

// parse does all tasks.
func (r *reader) parse(ctx context.Context) error {
	// Doing so for what is on its way already does no harm.
	if p, ok := r.fsys.(prefetcher); ok && len(r.tasks) > 1 {
		names := make([]string, len(r.tasks))
		for i, t := range r.tasks {
			names[i] = t.name
		}
		if err := p.Prefetch(names); err != nil {
			return fmt.Errorf("read the Terraform files: %w", err)
		}
	}
	// Tasks are taken in small runs, in the order in which they were asked
	// for: a file is then likely to be there already, and the counter is no
	// bottleneck.
	const run = 16
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(r.parallel, 1+len(r.tasks)/run) {
		group.Go(func() error {
			for {
				end := int(next.Add(run))
				start := end - run
				if start >= len(r.tasks) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				for _, t := range r.tasks[start:min(end, len(r.tasks))] {
					r.do(t)
				}
			}
		})
	}
	return group.Wait()
}

func (r *reader) do(t *parseTask) {
	base := path.Base(t.name)
	data, err := fs.ReadFile(r.fsys, t.name)
	if err != nil {
		t.err = pathless(err)
		return
	}
	switch t.kind {
	case parseConfig:
		t.file = readConfig(base, data)
	case parseTests:
		t.list = parseTestFile(base, data)
	case readPin:
		t.text = firstLine(data)
	}
}

// readConfig is parseFacts for files of reasonable size.
func readConfig(name string, data []byte) fileFacts {
	if len(data) > maxConfigSize {
		facts := fileFacts{name: name, broken: &syntaxError{
			text: fmt.Sprintf("the file has %d MB, which is more than plumbline reads", len(data)>>20),
		}}
		facts.guess(data)
		return facts
	}
	return parseFacts(name, data)
}

// firstLine is the first line that is neither empty nor a comment, which is
// what the version managers go by.
func firstLine(data []byte) string {
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// assemble completes the records, children first, and stores them.
func (r *reader) assemble() {
	for _, d := range slices.Backward(r.fresh) {
		failed := false
		for i, t := range d.tasks {
			name := d.names[i]
			failed = failed || t.err != nil
			switch t.kind {
			case parseConfig:
				facts := t.file
				facts.name = name
				if t.err != nil {
					facts.broken = &syntaxError{text: fmt.Sprintf("the file cannot be read: %v", t.err)}
				}
				d.rec.files = append(d.rec.files, facts)
			case parseTests:
				d.rec.tested = append(d.rec.tested, t.list...)
			case readPin:
				if t.text != "" {
					d.rec.pins = append(d.rec.pins, versionPin{name, t.text})
				}
			}
		}
		for _, c := range d.children {
			if c.dir != nil {
				c.rec = c.dir.rec
				if c.dir.key == "" {
					c.key = ""
				}
			}
			if !c.rec.empty() {
				d.rec.dirs = append(d.rec.dirs, childDir{c.name, c.key})
			}
			failed = failed || r.hash != nil && c.key == ""
		}
		if failed {
			// What could not be read today may be readable tomorrow.
			d.key = ""
		}
		r.cache.put(d.key, d.rec)
		r.dirs[d.path] = d.rec
	}
}

// join is path.Join for a clean directory and a single name.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// pathless strips the path of an error that will be reported beside it.
func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
