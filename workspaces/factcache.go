package workspaces

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
)

// FactCache remembers what the directories of Git trees say, so that a second
// look at a repository reads only what changed.
//
// An entry is keyed by the tree's object id and is a function of that tree
// alone, so it cannot be stale: what changed has another id. A cache file that
// is damaged, or was written by code that reads files differently, counts as
// empty. Losing the file costs time and nothing else.
//
// A file system without object ids, such as os.DirFS, is never cached: sizes
// and times may lie.
//
// A FactCache may be used by several goroutines, and is best shared by the sets
// that are compared. Processes may share the file: it is replaced as a whole,
// and the last one wins.
type FactCache struct {
	file string

	mu      sync.Mutex
	stored  map[string]string  // key to encoded record, as loaded
	records map[string]*record // key to record, as used since
	added   int                // how many of records are not in stored
}

// OpenFactCache loads the cache from a file. A file that is missing or of no
// use makes an empty cache, and so does the empty name, which is a cache in
// memory that [FactCache.Save] does not keep.
func OpenFactCache(file string) *FactCache {
	c := &FactCache{file: file, records: map[string]*record{}}
	if file == "" {
		return c
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return c
	}
	c.stored, err = readFacts(data)
	if err != nil {
		c.stored = nil
	}
	c.records = make(map[string]*record, len(c.stored))
	return c
}

// Save writes the cache to its file, in a directory that it makes if need be.
// It does nothing when nothing was added. The file is replaced in one step, so
// that a reader sees the old cache or the new one. Entries that were of no use
// are dropped once they outweigh the others.
func (c *FactCache) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == "" || c.added == 0 {
		return nil
	}
	if err := c.write(); err != nil {
		return fmt.Errorf("save the cache of facts in %q: %w", c.file, err)
	}
	c.added = 0
	return nil
}

func (c *FactCache) write() error {
	if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.file), "."+filepath.Base(c.file)+".*")
	if err != nil {
		return err
	}
	// Not synced to the disk: a file that is torn by a power cut fails its
	// checksum.
	_, err = f.Write(c.encode())
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), c.file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// get returns a record that was stored before.
func (c *FactCache) get(key string) (*record, bool) {
	if c == nil || key == "" {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.records[key]; ok {
		return r, true
	}
	data, ok := c.stored[key]
	if !ok {
		return nil, false
	}
	r, err := readRecord(data)
	if err != nil {
		delete(c.stored, key)
		return nil, false
	}
	c.records[key] = r
	return r, true
}

// size is about how many directories the cache knows.
func (c *FactCache) size() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(len(c.stored), len(c.records))
}

// put keeps a record. It must not change afterwards.
func (c *FactCache) put(key string, r *record) {
	if c == nil || key == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.records[key]; ok {
		return
	}
	if c.records == nil {
		c.records = map[string]*record{}
	}
	c.records[key] = r
	c.added++
}

// The file begins with factsMagic, the digest of the code that wrote it, and
// the checksum of the rest: the number of entries, then each one's key and
// encoded record.
const factsMagic = "plumbline facts\n"

// unusedPerUsed is how many entries that were not asked for are kept beside
// each one that was: the trees of some other commits.
const unusedPerUsed = 3

func (c *FactCache) encode() []byte {
	body := make([]byte, 0, 1<<20)
	var entry []byte
	add := func(key string) {
		body = appendString(body, key)
		body = binary.AppendUvarint(body, uint64(len(entry)))
		body = append(body, entry...)
	}
	n := len(c.records)
	for key, r := range c.records {
		if old, ok := c.stored[key]; ok {
			entry = append(entry[:0], old...)
		} else {
			entry = appendRecord(entry[:0], r)
		}
		add(key)
	}
	if len(c.stored) <= (1+unusedPerUsed)*len(c.records) {
		for key, old := range c.stored {
			if _, ok := c.records[key]; !ok {
				entry = append(entry[:0], old...)
				add(key)
				n++
			}
		}
	}
	body = append(binary.AppendUvarint(nil, uint64(n)), body...)

	version := factsVersion()
	file := append([]byte(factsMagic), version[:]...)
	file = binary.BigEndian.AppendUint32(file, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(file, body...)
}

// readFacts is the inverse of encode, but for the records, which are decoded
// when they are asked for.
func readFacts(data []byte) (map[string]string, error) {
	version := factsVersion()
	header := append([]byte(factsMagic), version[:]...)
	if len(data) < len(header)+4 || string(data[:len(header)]) != string(header) {
		return nil, fmt.Errorf("not a cache of facts, or one of another version")
	}
	sum, body := binary.BigEndian.Uint32(data[len(header):]), data[len(header)+4:]
	if sum != crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) {
		return nil, fmt.Errorf("the cache of facts is damaged")
	}
	d := &decoder{rest: string(body)}
	n := d.num()
	if n > uint64(len(d.rest)) {
		return nil, errShort
	}
	stored := make(map[string]string, n)
	for range n {
		key := d.str()
		stored[key] = d.str()
	}
	if d.failed || d.rest != "" {
		return nil, errShort
	}
	return stored, nil
}

// The code that turns files into facts.
var (
	//go:embed facts.go
	factsSource string
	//go:embed scan.go
	scanSource string
	//go:embed parse.go
	parseSource string
	//go:embed paths.go
	pathsSource string
	//go:embed records.go
	recordsSource string
)

// factsVersion identifies the code that turns files into facts: its own source
// and the version of the HCL parser. Whoever changes either gets a new cache
// without having to think of it.
func factsVersion() [sha256.Size]byte {
	h := sha256.New()
	for _, source := range []string{factsSource, scanSource, parseSource, pathsSource, recordsSource} {
		h.Write([]byte(source))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if strings.HasPrefix(dep.Path, "github.com/hashicorp/hcl/") || strings.HasPrefix(dep.Path, "github.com/zclconf/go-cty") {
				h.Write([]byte(dep.Path + dep.Version + dep.Sum))
			}
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
