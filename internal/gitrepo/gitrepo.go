// Package gitrepo reads Git repositories: which commit a name means, what a
// commit holds, and what changed between two of them.
//
// [Open] finds the repository around a directory. A [Repo] answers questions
// about history ([Repo.Head], [Repo.Resolve], [Repo.MergeBase], [Repo.Diff])
// and hands out a [Tree] for a commit: the commit's files as an [io/fs]
// filesystem that never touches the work tree. A Tree is cheap to open, because
// it reads a directory when it is first asked for; it tells the object id of
// any file or directory without reading it ([Tree.Hash]), so that a caller who
// remembers what it learned about an id reads only what is new; and it can be
// told what will be read ([Tree.Prefetch], [Tree.PrefetchFunc]), after which
// thousands of small files cost no more than Git itself needs for them. A Tree
// owns child processes and is closed when done; a Repo owns nothing and needs
// no closing.
//
// Refs and shallow boundaries are read in-process through go-git. Objects come
// from children of the git command (cat-file, diff-tree, merge-base, status):
// it maps packs into memory, knows every kind of alternate, partial clone and
// commit graph, and reads many objects several times faster.
//
// A [Mirror] is a repository of our own: a bare copy of one that lives
// elsewhere, which it fetches from, merges in and keeps tidy. A server reads
// through it, and [Materialise] writes the files of a commit to a directory,
// again and again for one commit after the other, for Terraform to run in.
//
// The package never writes to a repository that is not a mirror, never follows
// refs/replace (a commit id means what was signed, reviewed and pushed under
// it), hands out bytes as they are stored (no line ending conversion, no
// filters) and does not enter submodules.
package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// ErrNotRepository is what errors.Is finds when [Open] was given a directory
// that is in no Git repository.
var ErrNotRepository = errors.New("not in a Git repository")

// Repo is one Git repository, seen through one of its work trees (or bare).
// It holds no open files and no processes, and is safe for concurrent use.
type Repo struct {
	git       git
	root      string // "" when bare
	gitDir    string // of this work tree
	commonDir string // shared by all linked work trees
	identity  string
	objects   *objects
}

// Open finds the repository that dir belongs to. dir may be any directory of a
// checkout, a linked work tree, a bare repository or a .git directory. It needs
// the git command (2.29 or newer) on PATH.
//
// environ is the environment for Git, as os.Environ returns it, and where PATH
// is read from; that of this process is not looked at. Variables such as GIT_DIR
// that would point Git elsewhere are not heeded; Git's own configuration is,
// among it safe.directory. ctx ends the search, and has no say afterwards.
//
// The error wraps [ErrNotRepository] when there is none, and says what to do
// when Git is missing or refuses the repository.
func Open(ctx context.Context, dir string, environ []string) (*Repo, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open repository %q: %w", dir, err)
	}
	// The way up that Git tells is that of the physical directory.
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("open repository %q: %w", dir, err)
	}
	if info, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("open repository %q: %w", dir, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open repository %q: it is a file; give a directory inside the checkout", dir)
	}
	command, err := findGit(environ)
	if err != nil {
		return nil, fmt.Errorf("open repository %q: %w", dir, err)
	}
	command.dir = abs
	r, err := discover(ctx, command)
	if err != nil {
		return nil, fmt.Errorf("open repository %q: %w", dir, err)
	}
	return r, nil
}

// discover asks Git where things are, once, so that later children are told and
// need not search again.
func discover(ctx context.Context, command git) (*Repo, error) {
	out, err := command.run(ctx, "rev-parse", "--is-bare-repository",
		"--is-inside-work-tree", "--show-object-format", "--show-cdup", "--absolute-git-dir")
	if err != nil {
		var failed *gitError
		if errors.As(err, &failed) && strings.Contains(failed.stderr, "not a git repository") {
			return nil, fmt.Errorf("%w: give a directory inside a checkout, or make it one with \"git init\"", ErrNotRepository)
		}
		return nil, err
	}
	// The way up is a line only inside a work tree. The path comes last, because
	// it may hold newlines.
	inside := bytes.HasPrefix(out, []byte("true\ntrue\n")) || bytes.HasPrefix(out, []byte("false\ntrue\n"))
	want := 4
	if inside {
		want = 5
	}
	fields := strings.SplitN(strings.TrimSuffix(string(out), "\n"), "\n", want)
	if len(fields) != want {
		return nil, fmt.Errorf("git rev-parse answered %q, which is not understood: is this Git older than 2.29?", out)
	}
	bare, format, gitDir := fields[0] == "true", fields[2], fields[want-1]
	if format != "sha1" {
		return nil, fmt.Errorf("the repository names its objects by %s; only sha1 is supported", format)
	}
	root := ""
	switch {
	case inside:
		root = filepath.Join(command.dir, fields[3])
	case !bare && filepath.Base(gitDir) == ".git" && filepath.Dir(gitDir) != command.dir:
		// Asked from inside .git: the checkout is around it.
		command.dir = filepath.Dir(gitDir)
		return discover(ctx, command)
	}

	r := &Repo{root: root, gitDir: gitDir, commonDir: gitDir, objects: newObjects()}
	// https://git-scm.com/docs/gitrepository-layout: commondir is relative to
	// the directory that holds it.
	if link, err := os.ReadFile(filepath.Join(gitDir, "commondir")); err == nil {
		common := strings.TrimSuffix(string(link), "\n")
		if !filepath.IsAbs(common) {
			common = filepath.Join(gitDir, common)
		}
		r.commonDir = filepath.Clean(common)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(r.commonDir); err == nil {
		r.commonDir = real
	}
	r.git = command.in(r.gitDir, r.root)

	origin, err := r.git.run(ctx, "config", "--get-all", "-z", "remote.origin.url")
	var failed *gitError
	if errors.As(err, &failed) && failed.status == 1 { // not set
		origin, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(origin), "\x00")
	r.identity = identify(first, r.commonDir)
	return r, nil
}

// Root returns the absolute path of the work tree, symlinks resolved, or ""
// when the repository is bare.
func (r *Repo) Root() string { return r.root }

// Identity returns a name of the repository that is the same in every clone and
// every linked work tree: the address of its remote "origin" without scheme,
// credentials, default port and ".git" ("github.com/acme/infra"), so that a
// laptop's SSH clone and a CI job's HTTPS clone agree. An origin that is a local
// directory gives its absolute path. Without an origin it is the absolute path
// of the common Git directory.
func (r *Repo) Identity() string { return r.identity }

// Head is what is checked out.
type Head struct {
	Commit string // 40 hexadecimal digits; "" when Unborn
	Branch string // without refs/heads/; "" when detached
	Unborn bool   // the branch has no commit yet
}

// Head says what is checked out. A repository without commits is no error.
func (r *Repo) Head(ctx context.Context) (Head, error) {
	if err := ctx.Err(); err != nil {
		return Head{}, err
	}
	refs := r.refs()
	ref, err := refs.Reference(plumbing.HEAD)
	if err != nil {
		return Head{}, fmt.Errorf("read HEAD of %s: %w", r.gitDir, err)
	}
	var head Head
	if ref.Type() == plumbing.SymbolicReference {
		if ref.Target() == "refs/heads/.invalid" {
			// What Git leaves in HEAD for readers that do not know reftable.
			return Head{}, fmt.Errorf("read HEAD of %s: its refs are stored as reftable, which is not supported: \"git refs migrate --ref-format=files\" converts them", r.gitDir)
		}
		head.Branch = strings.TrimPrefix(ref.Target().String(), "refs/heads/")
	}
	ref, err = storer.ResolveReference(refs, plumbing.HEAD)
	switch {
	case errors.Is(err, plumbing.ErrReferenceNotFound):
		head.Unborn = true
	case err != nil:
		return Head{}, fmt.Errorf("read HEAD of %s: %w", r.gitDir, err)
	case ref.Hash().IsZero(): // what go-git makes of anything else
		return Head{}, fmt.Errorf("read HEAD of %s: it names neither a branch nor a commit", r.gitDir)
	default:
		head.Commit = ref.Hash().String()
	}
	return head, nil
}

// refs returns go-git's view of the repository. It is made anew for each use:
// that costs nothing, sees refs that moved, and go-git's storage is not safe
// for concurrent use. Its storage is built by hand because go-git's own Open
// refuses repositories with extensions that do not matter for refs (sparse
// checkouts and partial clones have them).
func (r *Repo) refs() *filesystem.Storage {
	files := dotgit.NewRepositoryFilesystem(osfs.New(r.gitDir), osfs.New(r.commonDir))
	return filesystem.NewStorage(files, cache.NewObjectLRUDefault())
}

// shallow says whether history was cut off when the repository was cloned.
func (r *Repo) shallow() bool {
	boundary, err := r.refs().Shallow()
	return err == nil && len(boundary) > 0
}
