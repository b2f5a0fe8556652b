package workspaces

import (
	"encoding/binary"
	"errors"
	"path"
	"strings"
)

// record is what discovery needs to know of one directory, in an order that
// does not depend on how the directory was listed. It follows from the
// directory's contents alone, down to the last subdirectory, so a Git tree's id
// identifies it.
type record struct {
	files  []fileFacts  // the Terraform files, by name
	dirs   []childDir   // the subdirectories in which there is anything to know, by name
	links  []symlink    // every symbolic link, by name
	opaque []string     // subdirectories that belong to another repository: submodules
	values []string     // names of the files that -var-file and -backend-config usually name
	pins   []versionPin // .terraform-version and .opentofu-version
	tested []string     // module sources that test files run, relative to this directory
}

type childDir struct {
	name string
	key  string // the directory's hash, "" when the file system has none
}

type symlink struct{ name, target string }

type versionPin struct{ name, version string }

// empty reports that a parent directory need not know of this one.
func (r *record) empty() bool {
	return len(r.files) == 0 && len(r.dirs) == 0 && len(r.links) == 0 && len(r.opaque) == 0 &&
		len(r.values) == 0 && len(r.pins) == 0 && len(r.tested) == 0
}

// fileFacts is what one Terraform file says that matters here.
type fileFacts struct {
	name     string
	runs     bool // it declares something that a plan could hold
	required []string
	calls    []call
	reads    []read
	broken   *syntaxError
	backend  *backendFact // nil when the file declares none
	// guesses are the local module sources that stand in the text of a broken
	// file, whether or not they are among calls.
	guesses []string
}

// call is one module block.
type call struct {
	name    string
	source  string
	version string
	line    int  // of the source argument
	unknown bool // there is a source, but it is not a plain string
}

// backendFact is where a terraform block keeps the state.
type backendFact struct {
	kind string // the backend's type, "cloud" for a cloud block
	path string // of the local backend, as written; unknownPath when it is no plain string
}

// unknownPath stands for a path that only Terraform could tell.
const unknownPath = "?"

// read is a path that an expression names and that may lie outside the
// directory of its module.
type read struct {
	fn     string // the function that reads it; "" for a path that is only written down
	base   readBase
	pieces []string // what is known of the path; between two pieces anything may stand
	line   int
}

type readBase byte

const (
	fromRoot   readBase = 'r' // relative to the directory in which Terraform runs
	fromModule readBase = 'm' // relative to the module's own directory
)

// syntaxError is the first mistake in a file that Terraform could not read.
type syntaxError struct {
	line int
	text string
}

// fileKind says how a file in a module's directory is read.
type fileKind byte

const (
	notConfig fileKind = iota
	nativeConfig
	jsonConfig
)

// configKind classifies a file by name as Terraform and OpenTofu do, which
// includes their rule that hidden files and editors' backups are left alone.
func configKind(name string) fileKind {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") ||
		(strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#")) {
		return notConfig
	}
	switch {
	case strings.HasSuffix(name, ".tf"), strings.HasSuffix(name, ".tofu"):
		return nativeConfig
	case strings.HasSuffix(name, ".tf.json"), strings.HasSuffix(name, ".tofu.json"):
		return jsonConfig
	}
	return notConfig
}

// isTofuOnly reports whether only OpenTofu reads the configuration file.
func isTofuOnly(name string) bool {
	return strings.HasSuffix(name, ".tofu") || strings.HasSuffix(name, ".tofu.json")
}

// isTestFile reports whether the file holds tests, which "terraform test" runs
// and a plan never reads.
func isTestFile(name string) bool {
	return strings.HasSuffix(name, ".tftest.hcl") || strings.HasSuffix(name, ".tofutest.hcl")
}

// isValueFile reports whether the file holds values for variables or for a
// backend, by the extensions in use.
func isValueFile(name string) bool {
	return strings.HasSuffix(name, ".tfvars") || strings.HasSuffix(name, ".tfvars.json") ||
		strings.HasSuffix(name, ".tfbackend")
}

// isAutoLoaded reports whether Terraform reads the value file by itself.
func isAutoLoaded(name string) bool {
	switch name {
	case "terraform.tfvars", "terraform.tfvars.json":
		return true
	}
	return strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json")
}

// isOverride reports whether the file's blocks are merged over those of the
// others.
func isOverride(name string) bool {
	for _, ext := range []string{".tf", ".tf.json", ".tofu", ".tofu.json"} {
		if base, ok := strings.CutSuffix(name, ext); ok {
			return base == "override" || strings.HasSuffix(base, "_override")
		}
	}
	return false
}

const (
	lockFile      = ".terraform.lock.hcl"
	terraformPin  = ".terraform-version"
	tofuPin       = ".opentofu-version"
	engineTofu    = "tofu"
	engineDefault = "terraform"
)

// pinName is the name of the file that pins the version of an engine.
func pinName(engine string) string {
	if engine == engineTofu {
		return tofuPin
	}
	return terraformPin
}

// isLocalSource reports whether a module source is a path in the same
// repository, by the prefixes that Terraform goes by.
func isLocalSource(source string) bool {
	for _, prefix := range []string{"./", "../", `.\`, `..\`} {
		if strings.HasPrefix(source, prefix) {
			return true
		}
	}
	return source == "." || source == ".."
}

// joinLocal is the path that a local source leads to, as written, from dir. It
// begins with ".." when it leads out of the repository.
func joinLocal(dir, source string) string {
	// The usual source, which goes up and then down to a clean path, needs no
	// more than cutting. There are many of them.
	at, rest := dir, source
	for strings.HasPrefix(rest, "../") && at != "." {
		rest = rest[len("../"):]
		if i := strings.LastIndexByte(at, '/'); i >= 0 {
			at = at[:i]
		} else {
			at = "."
		}
	}
	if rest != "" && !strings.Contains(rest, ".") && !strings.Contains(rest, `\`) &&
		!strings.Contains(rest, "//") && !strings.HasSuffix(rest, "/") {
		return join(at, rest)
	}
	return path.Join(dir, strings.ReplaceAll(source, `\`, "/"))
}

// isOutside reports whether a cleaned path leads out of the repository.
func isOutside(p string) bool {
	return p == ".." || strings.HasPrefix(p, "../") || strings.HasPrefix(p, "/")
}

// appendRecord appends the compact form that readRecord understands. Numbers
// are varints, strings and lists carry their length.
func appendRecord(b []byte, r *record) []byte {
	b = appendList(b, r.files, func(b []byte, f fileFacts) []byte {
		b = appendString(b, f.name)
		var flags byte
		if f.runs {
			flags |= 1
		}
		if f.broken != nil {
			flags |= 2
		}
		if f.backend != nil {
			flags |= 4
		}
		b = append(b, flags)
		if f.backend != nil {
			b = appendString(appendString(b, f.backend.kind), f.backend.path)
		}
		b = appendList(b, f.required, appendString)
		b = appendList(b, f.calls, func(b []byte, c call) []byte {
			b = appendString(appendString(appendString(b, c.name), c.source), c.version)
			n := uint64(c.line) << 1
			if c.unknown {
				n |= 1
			}
			return binary.AppendUvarint(b, n)
		})
		b = appendList(b, f.reads, func(b []byte, r read) []byte {
			b = append(appendString(b, r.fn), byte(r.base))
			b = appendList(b, r.pieces, appendString)
			return binary.AppendUvarint(b, uint64(r.line))
		})
		if f.broken != nil {
			b = appendString(binary.AppendUvarint(b, uint64(f.broken.line)), f.broken.text)
			b = appendList(b, f.guesses, appendString)
		}
		return b
	})
	b = appendList(b, r.dirs, func(b []byte, d childDir) []byte { return appendString(appendString(b, d.name), d.key) })
	b = appendList(b, r.links, func(b []byte, l symlink) []byte { return appendString(appendString(b, l.name), l.target) })
	b = appendList(b, r.opaque, appendString)
	b = appendList(b, r.values, appendString)
	b = appendList(b, r.pins, func(b []byte, p versionPin) []byte { return appendString(appendString(b, p.name), p.version) })
	return appendList(b, r.tested, appendString)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendList[T any](b []byte, list []T, item func([]byte, T) []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, v := range list {
		b = item(b, v)
	}
	return b
}

var errShort = errors.New("the record ends too early")

// readRecord is the inverse of appendRecord. The strings of the record share
// the memory of data.
func readRecord(data string) (*record, error) {
	d := &decoder{rest: data}
	r := &record{
		files: readList(d, func(d *decoder) fileFacts {
			f := fileFacts{name: d.str()}
			flags := d.byte()
			f.runs = flags&1 != 0
			if flags&4 != 0 {
				f.backend = &backendFact{kind: d.str(), path: d.str()}
			}
			f.required = readList(d, (*decoder).str)
			f.calls = readList(d, func(d *decoder) call {
				c := call{name: d.str(), source: d.str(), version: d.str()}
				n := d.num()
				c.line, c.unknown = int(n>>1), n&1 != 0
				return c
			})
			f.reads = readList(d, func(d *decoder) read {
				return read{fn: d.str(), base: readBase(d.byte()), pieces: readList(d, (*decoder).str), line: int(d.num())}
			})
			if flags&2 != 0 {
				f.broken = &syntaxError{line: int(d.num()), text: d.str()}
				f.guesses = readList(d, (*decoder).str)
			}
			return f
		}),
		dirs:   readList(d, func(d *decoder) childDir { return childDir{name: d.str(), key: d.str()} }),
		links:  readList(d, func(d *decoder) symlink { return symlink{name: d.str(), target: d.str()} }),
		opaque: readList(d, (*decoder).str),
		values: readList(d, (*decoder).str),
		pins:   readList(d, func(d *decoder) versionPin { return versionPin{name: d.str(), version: d.str()} }),
		tested: readList(d, (*decoder).str),
	}
	if d.failed || d.rest != "" {
		return nil, errShort
	}
	return r, nil
}

// decoder reads what the append functions wrote. After the first mistake it
// returns zero values.
type decoder struct {
	rest   string
	failed bool
}

func (d *decoder) fail() {
	d.failed = true
	d.rest = ""
}

func (d *decoder) byte() byte {
	if d.rest == "" {
		d.fail()
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

func (d *decoder) num() uint64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		c := d.byte()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	d.fail()
	return 0
}

func (d *decoder) str() string {
	n := d.num()
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func readList[T any](d *decoder, item func(*decoder) T) []T {
	n := d.num()
	// An item takes at least one byte, so a longer list is a broken one.
	if n == 0 || n > uint64(len(d.rest)) {
		if n != 0 {
			d.fail()
		}
		return nil
	}
	list := make([]T, 0, n)
	for range n {
		list = append(list, item(d))
	}
	return list
}
