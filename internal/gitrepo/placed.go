package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
)

// placed is what is remembered of a file that was written: what it is in Git,
// and how it looked on the disk right after, so that a file that somebody
// touched is known by that, as Git's own index does it. The zero value means
// that the file may be there, in whatever state.
type placed struct {
	id   id
	kind kind
	size int64
	time int64 // of its last change, in nanoseconds
}

// placedAs describes a file that was just written.
func placedAs(e entry, info fs.FileInfo) placed {
	return placed{id: e.id, kind: e.kind, size: info.Size(), time: info.ModTime().UnixNano()}
}

// sameFile reports whether a file looks as it did.
func (p placed) sameFile(info fs.FileInfo) bool {
	mode := info.Mode()
	switch p.kind {
	case kindSymlink:
		if mode.Type() != fs.ModeSymlink {
			return false
		}
	case kindExecutable:
		if !mode.IsRegular() || mode&0o100 == 0 {
			return false
		}
	default:
		if !mode.IsRegular() || mode&0o100 != 0 {
			return false
		}
	}
	return p.size == info.Size() && p.time == info.ModTime().UnixNano()
}

// placedHeader begins an index. Then follow, for each file, a line of kind, id,
// size and time, and its name between zero bytes.
const placedHeader = "plumbline placed files 1\n"

// readPlaced reads an index. One that is missing or damaged is empty.
func readPlaced(file string) (map[string]placed, error) {
	index := map[string]placed{}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(string(data), placedHeader)
	for ok && rest != "" {
		var facts, name string
		if facts, rest, ok = strings.Cut(rest, "\x00"); !ok {
			break
		}
		if name, rest, ok = strings.Cut(rest, "\x00"); !ok || !validName(name) || name == "." {
			break
		}
		fields := strings.Split(facts, " ")
		if len(fields) != 4 {
			break
		}
		kindNumber, err := strconv.ParseUint(fields[0], 10, 8)
		i, known := parseHex([]byte(fields[1]))
		size, err2 := strconv.ParseInt(fields[2], 10, 64)
		at, err3 := strconv.ParseInt(fields[3], 10, 64)
		if !known || errors.Join(err, err2, err3) != nil {
			break
		}
		index[name] = placed{id: i, kind: kind(kindNumber), size: size, time: at}
	}
	return index, nil //nolint:nilerr // what comes after the damage is not known
}

// writePlaced replaces an index in one step. It is on the disk when this
// returns.
func writePlaced(file string, index map[string]placed) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(placedHeader)
	for _, name := range slices.Sorted(maps.Keys(index)) {
		p := index[name]
		fmt.Fprintf(&b, "%d %s %d %d\x00%s\x00", p.kind, p.id, p.size, p.time, name)
	}
	return renameio.WriteFile(file, b.Bytes(), 0o600)
}
