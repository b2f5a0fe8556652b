package workspaces

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Inputs are the files that Terraform may read when it runs a workspace.
type Inputs struct {
	// Files are sorted slash-separated paths from the repository's root. A
	// symbolic link is listed itself, and so is what it leads to.
	Files []string
	// Whole reports that an expression reads a file whose path cannot be told
	// without running Terraform. Files is then the whole repository.
	Whole bool
	// Why says which expression made it whole, as "file:line: text".
	Why string
}

// Inputs lists every file that a workspace reads: its directory and those of
// its local modules with all that is below them, value files, the version file,
// what symbolic links lead to, what it watches, and what expressions name with
// file, templatefile, fileset and their like, or with a path that begins with
// path.module, path.root, path.cwd, "./" or "../".
//
// Left out are what Terraform itself writes (.terraform, state and its backups,
// crash logs), .git, submodules, directories below that belong to other
// workspaces or to modules that this one does not call, unless an expression
// names them, and value files that plumbline.yaml gives only to other
// workspaces.
//
// Paths outside the repository, such as "~/.ssh/id.pub", are no inputs: nobody
// can review them. fsys must hold the commit that the set was made from.
func (s *Set) Inputs(ctx context.Context, fsys fs.FS, w *Workspace) (Inputs, error) {
	in, ok := s.infos[w.Name]
	if !ok {
		return Inputs{}, fmt.Errorf("list the inputs of workspace %q: this commit has no such workspace", w.Name)
	}
	g := &gatherer{ctx: ctx, fsys: fsys, set: s, in: in, files: map[string]bool{}, trees: map[string]bool{}}
	err := g.gather()
	if err == nil && g.why != "" {
		g.files = map[string]bool{}
		err = g.everything()
	}
	if err != nil {
		return Inputs{}, fmt.Errorf("list the inputs of workspace %q: %w", w.Name, err)
	}
	return Inputs{Files: slices.Sorted(maps.Keys(g.files)), Whole: g.why != "", Why: g.why}, nil
}

// digestVersion changes whenever the same files get another digest.
const digestVersion = "plumbline inputs 1\n"

// Digests tell one content of a workspace's inputs from another. Each is a
// SHA-256 in hexadecimal digits, over paths, contents, whether a file may be
// executed, and where symbolic links lead.
type Digests struct {
	// Inputs covers every input.
	Inputs string
	// Configuration leaves out what only pins versions: the lock file of the
	// providers, and the version files. Where it stays and Inputs moves, only
	// versions have changed.
	Configuration string
}

// Digest reads the workspace's inputs. The result is the same for a checkout
// and for the commit that it is of.
func (s *Set) Digest(ctx context.Context, fsys fs.FS, w *Workspace) (Digests, error) {
	inputs, err := s.Inputs(ctx, fsys, w)
	if err != nil {
		return Digests{}, err
	}
	if p, ok := fsys.(prefetcher); ok {
		if err := p.Prefetch(inputs.Files); err != nil {
			return Digests{}, fmt.Errorf("read the inputs of workspace %q: %w", w.Name, err)
		}
	}
	all, configuration := sha256.New(), sha256.New()
	_, _ = io.WriteString(io.MultiWriter(all, configuration), digestVersion)
	for _, name := range inputs.Files {
		if err := ctx.Err(); err != nil {
			return Digests{}, err
		}
		kind, content, err := digestPart(fsys, name)
		if err != nil {
			return Digests{}, fmt.Errorf("read %q, an input of workspace %q: %w", name, w.Name, err)
		}
		sum := sha256.Sum256(content)
		to := io.MultiWriter(all, configuration)
		if pinsVersions(path.Base(name)) {
			to = all
		}
		// A name may hold anything but NUL.
		fmt.Fprintf(to, "%s %x %s\x00", kind, sum, name)
	}
	return Digests{hex.EncodeToString(all.Sum(nil)), hex.EncodeToString(configuration.Sum(nil))}, nil
}

// pinsVersions reports whether a file of this name says nothing but versions.
func pinsVersions(base string) bool {
	return base == lockFile || base == terraformPin || base == tofuPin
}

func digestPart(fsys fs.FS, name string) (kind string, content []byte, err error) {
	info, err := fs.Lstat(fsys, name)
	if err != nil {
		return "", nil, pathless(err)
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(fsys, name)
		return "link", []byte(target), err
	case !mode.IsRegular():
		return "", nil, errors.New("neither a file nor a symbolic link")
	case mode&0o111 != 0:
		kind = "executable"
	default:
		kind = "file"
	}
	content, err = fs.ReadFile(fsys, name)
	return kind, content, err
}

// gatherer collects the inputs of one workspace.
type gatherer struct {
	ctx   context.Context
	fsys  fs.FS
	set   *Set
	in    *info
	files map[string]bool
	trees map[string]bool // directories that were added with all below them
	why   string
}

// whole notes why the whole repository has to be taken for an input.
func (g *gatherer) whole(file string, line int, text string) {
	if g.why == "" {
		g.why = Problem{File: file, Line: line, Text: text}.Error()
	}
}

func (g *gatherer) gather() error {
	w, in := g.in.workspace, g.in
	modules := map[string]bool{in.dir: true}
	for _, n := range in.nodes {
		if n.view != nil {
			modules[n.view.dir] = true
		}
	}
	siblings := g.siblingFiles()
	for _, dir := range slices.Sorted(maps.Keys(modules)) {
		err := g.tree(dir, func(p string, isDir bool) bool {
			if isDir {
				return !g.set.owners[p] || modules[p]
			}
			return !siblings[p]
		})
		if err != nil {
			return err
		}
	}
	for _, file := range valueFiles(w) {
		if err := g.path(path.Join(in.dir, file)); err != nil {
			return err
		}
	}
	for _, p := range slices.Concat(in.links, in.pins) {
		if err := g.path(p); err != nil {
			return err
		}
	}
	for _, pattern := range w.Watch {
		if err := g.pattern(patternIn(in.dir, pattern)); err != nil {
			return err
		}
	}
	for _, n := range in.nodes {
		if err := g.node(n); err != nil {
			return err
		}
	}
	return nil
}

// siblingFiles are the value files that plumbline.yaml gives to other
// workspaces only.
func (g *gatherer) siblingFiles() map[string]bool {
	files := map[string]bool{}
	for _, other := range g.set.infos {
		if other == g.in || other.dir != g.in.dir {
			continue
		}
		for _, file := range valueFiles(other.workspace) {
			if !isAutoLoaded(path.Base(file)) {
				files[path.Join(other.dir, file)] = true
			}
		}
	}
	for _, file := range valueFiles(g.in.workspace) {
		delete(files, path.Join(g.in.dir, file))
	}
	return files
}

// everything adds all files of the repository.
func (g *gatherer) everything() error {
	g.trees = map[string]bool{}
	return g.tree(".", func(string, bool) bool { return true })
}

// tree adds a directory and all below it that want accepts.
func (g *gatherer) tree(dir string, want func(p string, isDir bool) bool) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(g.fsys, dir)
	if err != nil {
		return fmt.Errorf("list %q: %w", dir, pathless(err))
	}
	if dir != "." && isForeign(entries) {
		return nil
	}
	for _, e := range entries {
		p := join(dir, e.Name())
		switch {
		case isStateFile(p) || e.Name() == ".terragrunt-cache":
		case e.IsDir():
			if want(p, true) {
				if err := g.tree(p, want); err != nil {
					return err
				}
			}
		case e.Type()&fs.ModeSymlink != 0:
			if err := g.path(p); err != nil {
				return err
			}
		case e.Type().IsRegular() && want(p, false):
			g.files[p] = true
		}
	}
	return nil
}

// path adds what is at a path, through all symbolic links on the way: a file,
// a directory down to the last file, or nothing.
func (g *gatherer) path(p string) error {
	if isOutside(p) {
		return nil
	}
	physical, links, err := g.set.repo.resolve(p)
	for _, l := range links {
		g.files[l] = true
	}
	if err != nil || isStateFile(physical) {
		return nil //nolint:nilerr // what leads nowhere is no input
	}
	info, err := fs.Lstat(g.fsys, physical)
	if err != nil {
		return nil //nolint:nilerr // what is not there is no input
	}
	switch {
	case info.IsDir():
		if g.trees[physical] {
			return nil
		}
		g.trees[physical] = true
		return g.tree(physical, func(string, bool) bool { return true })
	case info.Mode().IsRegular():
		g.files[physical] = true
	}
	return nil
}

// pattern adds the files that a pattern of the whole repository matches.
func (g *gatherer) pattern(pattern string) error {
	base, rest := doublestar.SplitPattern(pattern)
	if isOutside(base) {
		return nil
	}
	matches, err := doublestar.Glob(g.fsys, pattern, doublestar.WithFilesOnly())
	if err != nil {
		return fmt.Errorf("look for the files that %q in %q matches: %w", rest, base, err)
	}
	for _, p := range matches {
		if err := g.path(p); err != nil {
			return err
		}
	}
	return nil
}

// node adds what a module's expressions read.
func (g *gatherer) node(n *node) error {
	for _, l := range n.links {
		g.files[l] = true
	}
	if n.view == nil {
		return nil
	}
	for _, p := range slices.Concat(n.view.links, n.view.targets) {
		if err := g.path(p); err != nil {
			return err
		}
	}
	if n.opaque {
		for _, c := range n.view.calls {
			if c.unknown {
				g.whole(n.file(c), c.line, fmt.Sprintf("the source of module %q is not a plain string", c.name))
			}
		}
	}

	// Only the full parser tells what a file reads, and only all files of the
	// module tell what a local value is.
	type source struct {
		file  string
		nodes []hclsyntax.Node
	}
	var sources []source
	sc := scope{workspace: g.in.workspace.Workspace, locals: map[string]hclsyntax.Expression{}}
	for _, f := range n.view.files {
		name := join(n.view.dir, f.name)
		data, err := fs.ReadFile(g.fsys, name)
		if err != nil {
			return fmt.Errorf("read %q: %w", name, pathless(err))
		}
		src := source{file: name}
		if configKind(f.name) == jsonConfig {
			if tooDeep(data) > 0 {
				continue
			}
			for _, expr := range jsonTemplates(jsonTree(data), nil) {
				src.nodes = append(src.nodes, expr)
			}
		} else {
			file, _ := parseSyntax(name, data)
			body, ok := file.Body.(*hclsyntax.Body)
			if !ok {
				continue
			}
			for _, block := range body.Blocks {
				if block.Type != "locals" || block.Body == nil {
					continue
				}
				for name, attr := range block.Body.Attributes {
					sc.locals[name] = attr.Expr
				}
			}
			src.nodes = append(src.nodes, body)
		}
		sources = append(sources, src)
	}
	for _, src := range sources {
		for _, syntax := range src.nodes {
			for _, read := range findReads(syntax, sc) {
				if err := g.read(n, src.file, read); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// read adds what one expression reads.
func (g *gatherer) read(n *node, file string, found foundRead) error {
	for _, v := range found.paths {
		p := placeOf(v)
		if p.foreign {
			continue
		}
		from := g.in.dir
		if p.base == fromModule {
			from = n.path
		}
		at := path.Join(from, p.prefix())
		switch {
		case found.fn == "":
			// A path that is only written down is often the directory of the
			// module, which is there already.
			if at == from || isOutside(at) {
				continue
			}
			if at == "." {
				g.whole(file, found.line, "a path leads to the root of the repository")
				continue
			}
			if err := g.path(at); err != nil {
				return err
			}
		case p.loose:
			g.whole(file, found.line, fmt.Sprintf("%s reads a path that is known only when Terraform runs", found.fn))
		case found.fn == "fileset":
			if err := g.fileset(at, found.pattern); err != nil {
				return err
			}
		default:
			if err := g.path(at); err != nil {
				return err
			}
			if found.fn == "templatefile" {
				if err := g.templates(at, p.known()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fileset adds the files of a directory that one of the patterns matches, or
// all of them where a pattern is not known.
func (g *gatherer) fileset(dir string, patterns []value) error {
	for _, v := range patterns {
		if len(v) != 1 || v[0].kind != knownText {
			return g.path(dir)
		}
	}
	for _, v := range patterns {
		if isOutside(path.Join(dir, v[0].text)) {
			continue
		}
		if !doublestar.ValidatePattern(v[0].text) {
			return g.path(dir)
		}
		if err := g.pattern(patternIn(dir, v[0].text)); err != nil {
			return err
		}
	}
	return nil
}

// templates looks into template files, which may read files in their turn. at
// is the file, or the directory that it lies in.
func (g *gatherer) templates(at string, known bool) error {
	physical, _, err := g.set.repo.resolve(at)
	if err != nil {
		return nil //nolint:nilerr // what leads nowhere is no template
	}
	for _, p := range slices.Sorted(maps.Keys(g.files)) {
		if p != physical && (known || !within(p, physical)) {
			continue
		}
		data, err := fs.ReadFile(g.fsys, p)
		if err != nil || !strings.Contains(string(data), "file") || tooDeep(data) > 0 {
			continue
		}
		expr, diags := hclsyntax.ParseTemplate(data, p, hcl.InitialPos)
		if diags.HasErrors() {
			continue
		}
		for _, read := range findReads(expr, scope{}) {
			if read.fn == "" || read.fn == "templatefile" {
				continue
			}
			if err := g.read(g.in.nodes[0], p, read); err != nil {
				return err
			}
		}
	}
	return nil
}
