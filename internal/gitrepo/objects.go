package gitrepo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// id is the name of an object.
type id [20]byte

func (i id) String() string { return hex.EncodeToString(i[:]) }

// kind is what a tree entry is: the file type part of its mode.
type kind uint8

const (
	kindFile kind = iota
	kindExecutable
	kindSymlink
	kindDir
	kindSubmodule
)

// entry is one name in a directory.
type entry struct {
	name string
	id   id
	kind kind
}

// dir is a tree object, entries sorted by name. It never changes.
type dir struct{ entries []entry }

// find looks a name up.
func (d *dir) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(d.entries, name, func(e entry, name string) int {
		return strings.Compare(e.name, name)
	})
	if !ok {
		return entry{}, false
	}
	return d.entries[i], true
}

// parseDir reads a tree object: octal mode, space, name, zero byte, 20 bytes of
// id, again and again. Names that would lead out of the directory, or into Git's
// own, are refused: Git never makes them, but whoever can push can.
func parseDir(data []byte) (*dir, error) {
	raw := string(data) // names are slices of it
	d := &dir{entries: make([]entry, 0, len(raw)/28+1)}
	sorted := true
	for at := 0; at < len(raw); {
		space := strings.IndexByte(raw[at:], ' ')
		if space < 0 {
			return nil, errors.New("damaged tree object")
		}
		mode := raw[at : at+space]
		at += space + 1
		zero := strings.IndexByte(raw[at:], 0)
		if zero < 0 || len(raw) < at+zero+1+len(id{}) {
			return nil, errors.New("damaged tree object")
		}
		e := entry{name: raw[at : at+zero]}
		at += zero + 1
		copy(e.id[:], raw[at:])
		at += len(e.id)

		switch mode {
		case "100644", "100664": // the latter is in old histories
			e.kind = kindFile
		case "100755":
			e.kind = kindExecutable
		case "120000":
			e.kind = kindSymlink
		case "40000", "040000":
			e.kind = kindDir
		case "160000":
			e.kind = kindSubmodule
		default:
			return nil, fmt.Errorf("tree object gives %q the unknown mode %q", e.name, mode)
		}
		if e.name == "" || e.name == "." || e.name == ".." || strings.EqualFold(e.name, ".git") || strings.Contains(e.name, "/") {
			return nil, fmt.Errorf("tree object holds the name %q, which Git forbids", e.name)
		}
		if n := len(d.entries); n > 0 && d.entries[n-1].name >= e.name {
			sorted = false
		}
		d.entries = append(d.entries, e)
	}
	if !sorted {
		// Git sorts directories as if a slash ended their names.
		slices.SortFunc(d.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
		for i := 1; i < len(d.entries); i++ {
			if d.entries[i].name == d.entries[i-1].name {
				return nil, fmt.Errorf("tree object holds the name %q twice", d.entries[i].name)
			}
		}
	}
	return d, nil
}

// blob is the content of a file that was prefetched, or is on its way.
type blob struct {
	ready bool
	data  []byte
	by    *Tree // claimed it; others read it as long as this one is open
}

// objects is what the open trees of one repository have read. It is shared
// because two commits have nearly everything in common. Directories are kept
// until the last tree is closed; the contents of files are as many and as large
// as the repository, and go with the tree that asked for them.
type objects struct {
	mu      sync.Mutex
	arrived sync.Cond // a pending blob came, or was given up
	waiting int
	trees   int // open ones
	dirs    map[id]*dir
	blobs   map[id]*blob
}

func newObjects() *objects {
	o := &objects{dirs: map[id]*dir{}, blobs: map[id]*blob{}}
	o.arrived.L = &o.mu
	return o
}

func (o *objects) acquire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trees++
}

func (o *objects) release(t *Tree) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.trees--; o.trees == 0 {
		o.dirs, o.blobs = map[id]*dir{}, map[id]*blob{}
		return
	}
	for i, b := range o.blobs {
		if b.by == t {
			delete(o.blobs, i)
		}
	}
}

// dir returns a directory that was read before.
func (o *objects) dir(i id) (*dir, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.dirs[i]
	return d, ok
}

// addDir keeps a directory.
func (o *objects) addDir(i id, data []byte) (*dir, error) {
	d, err := parseDir(data)
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", i, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.dirs[i]; ok {
		return known, nil
	}
	o.dirs[i] = d
	return d, nil
}

// claim marks the blobs that nobody has yet as pending and returns their ids,
// in order, each once. Whoever claims must add or forsake each of them.
func (o *objects) claim(ids []id, by *Tree) []id {
	o.mu.Lock()
	defer o.mu.Unlock()
	claimed := make([]id, 0, len(ids))
	for _, i := range ids {
		if _, ok := o.blobs[i]; !ok {
			o.blobs[i] = &blob{by: by}
			claimed = append(claimed, i)
		}
	}
	return claimed
}

// add delivers a claimed blob.
func (o *objects) add(i id, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b, ok := o.blobs[i]; ok {
		b.data, b.ready = data, true
	}
	if o.waiting > 0 {
		o.arrived.Broadcast()
	}
}

// forsake gives up those claimed blobs that did not come: whoever wants one
// reads it alone and meets the error, if it is still there.
func (o *objects) forsake(ids []id) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range ids {
		if b, ok := o.blobs[i]; ok && !b.ready {
			delete(o.blobs, i)
		}
	}
	o.arrived.Broadcast()
}

// wake lets waiters look at their context again.
func (o *objects) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.arrived.Broadcast()
}

// blob returns a prefetched blob, waiting for it while it is on its way and
// alive returns nil. It returns false when it is not coming. The bytes are
// shared: callers copy.
func (o *objects) blob(i id, alive func() error) ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		b, ok := o.blobs[i]
		if !ok {
			return nil, false
		}
		if b.ready {
			return b.data, true
		}
		if alive() != nil {
			return nil, false
		}
		o.waiting++
		o.arrived.Wait()
		o.waiting--
	}
}

// parseHex reads the id at the start of a line.
func parseHex(line []byte) (id, bool) {
	var i id
	if len(line) < 2*len(i) {
		return i, false
	}
	_, err := hex.Decode(i[:], line[:2*len(i)])
	return i, err == nil && !bytes.ContainsAny(line[:2*len(i)], "ABCDEF")
}

func (i id) appendHex(b []byte) []byte { return hex.AppendEncode(b, i[:]) }
