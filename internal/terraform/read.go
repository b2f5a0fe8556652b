package terraform

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxSource bounds a file of configuration. Hand-written ones are a thousand times smaller.
const maxSource = 16 << 20

// maxNesting bounds how deep brackets may be nested in a file that is parsed here. The parser of HCL recurses, and Go
// cannot recover from the end of its stack: one file of many brackets would end the whole process.
const maxNesting = 500

// readSource reads a file of configuration that a repository brought along. It may be anything: a pipe, on which opening
// would wait for ever, a link to a device without end, or a file that is made to break its reader.
func readSource(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	src, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	switch {
	case err != nil:
		return nil, err
	case len(src) > maxSource:
		return nil, fmt.Errorf("%s is larger than 16 MiB", path)
	case nesting(src) > maxNesting:
		return nil, fmt.Errorf("%s: %w", path, errNesting)
	}
	return src, nil
}

var errNesting = errors.New("brackets are nested more than 500 deep")

// nesting is how deep brackets are nested at most, taking every byte at its face: brackets in strings and comments count,
// which is too many rather than too few.
func nesting(src []byte) int {
	depth, most := 0, 0
	for _, c := range src {
		switch c {
		case '(', '[', '{':
			depth++
			most = max(most, depth)
		case ')', ']', '}':
			depth = max(0, depth-1)
		}
	}
	return most
}
