package planstore

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A sealed object is one clear line, the header, and then a stream sealed with AES-256-GCM-HKDF in segments, for which
// the header line is associated data: neither can be changed or exchanged without the other. The stream holds one line
// of JSON, the envelope (receipt and list of parts), and then the parts, one after the other. docs/plan-store.md
// describes the format for people.
const (
	magic   = "plumbline-sealed "
	version = "1"

	// segmentBytes is the length of a sealed segment: reading a receipt means reading this much.
	segmentBytes = 16 << 10
	// streamHeaderBytes and segmentTagBytes are what the cipher adds to a stream and to each segment of it.
	streamHeaderBytes = 1 + keyBytes + 7
	segmentTagBytes   = 16

	// headerLimit bounds the header line. Names of workspaces and repositories are far shorter.
	headerLimit = 64 << 10
	// headBytes is enough for a usual header and the first segment, and one byte more, by which the cipher sees whether
	// the segment is the last. A larger head is read from the whole object.
	headBytes = segmentBytes + 4<<10
)

// header is the clear first line of a sealed object.
type header struct {
	Kind       string `json:"kind"`
	Repository string `json:"repository"`
	Workspace  string `json:"workspace"`
	ID         string `json:"id"`
	Key        string `json:"key"`   // id of the key that sealed it, or the ARN of the one that wraps its own
	Bytes      int64  `json:"bytes"` // length of all that follows the line

	// Of an object with a key of its own: that key, wrapped, and what KMS was told beside the workspace when it did so.
	Wrapped []byte `json:"wrapped,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Run     string `json:"run,omitempty"`
}

// envelope is the first line of the sealed stream.
type envelope struct {
	Receipt json.RawMessage `json:"receipt"`
	Parts   []part          `json:"parts,omitempty"`
}

// part is a file in a sealed object. Text is packed with gzip; plan files are zip archives already.
type part struct {
	Name   string `json:"name"`
	Packed bool   `json:"packed,omitempty"`
	Stored int64  `json:"stored"` // its length in the stream
	Bytes  int64  `json:"bytes"`  // its own length
	SHA256 string `json:"sha256"` // of its own bytes, in hex

	data *spool // as stored; only while it is being put
}

const (
	partPlan  = "plan"
	partJSON  = "json"
	partState = "state"
)

const damaged = "it was changed or damaged since it was stored"

// Reason is what is wrong with an object that cannot be read.
type Reason string

// The reasons of a BrokenError.
const (
	Truncated    Reason = "truncated"     // its end is missing
	Tampered     Reason = "tampered"      // changed since it was sealed, by damage or by intent
	Misplaced    Reason = "misplaced"     // it belongs to another repository, workspace or id
	OtherVersion Reason = "other version" // of the format
	OtherKey     Reason = "other key"     // sealed with a key that the store was not given
)

// BrokenError says that an object in the store is refused, and why. Nothing of such an object is ever returned.
type BrokenError struct {
	Place  string // the location and the object's key in it
	ID     string // by which Delete finds it
	Reason Reason
	Detail string // what was found, and what to do
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("%s in %s: %s", e.ID, e.Place, e.Detail)
}

// packers are used again: each takes a megabyte.
var packers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level exists
	}
	return w
}}

// readPart reads a part to its end and packs it on the way. Who gets it closes it.
func readPart(name string, r io.Reader) (_ part, err error) {
	p := part{Name: name, Packed: name != partPlan, data: &spool{}}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	stored := &counter{w: p.data}
	digest := sha256.New()
	if p.Packed {
		packer := packers.Get().(*gzip.Writer)
		defer packers.Put(packer)
		packer.Reset(stored)
		p.Bytes, err = copyAll(io.MultiWriter(packer, digest), r)
		err = errors.Join(err, packer.Close())
	} else {
		p.Bytes, err = copyAll(io.MultiWriter(stored, digest), r)
	}
	if err != nil {
		return part{}, fmt.Errorf("read the %s that is to be stored: %w", name, err)
	}
	p.Stored, p.SHA256 = stored.n, hex.EncodeToString(digest.Sum(nil))
	return p, nil
}

func (p *part) close() { p.data.close() }

// copyAll is io.Copy in steps of one size, whatever r would rather do: bytes.Reader hands over all that it has at once.
func copyAll(w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, 64<<10))
}

// seal says how a sealed object is written. It sets the header's Bytes and what tells the key.
func (r *keyring) seal(ctx context.Context, h header, receipt any, parts []part) (content, error) {
	text, err := json.Marshal(receipt)
	if err != nil {
		return content{}, fmt.Errorf("encode the receipt: %w", err)
	}
	first, err := json.Marshal(envelope{Receipt: text, Parts: parts})
	if err != nil {
		return content{}, fmt.Errorf("encode the envelope: %w", err)
	}
	first = append(first, '\n')
	plain := int64(len(first))
	for _, p := range parts {
		plain += p.Stored
	}
	return r.sealStream(ctx, h, plain, func(w io.Writer) error {
		if _, err := w.Write(first); err != nil {
			return err
		}
		for _, p := range parts {
			if err := p.data.writeTo(w); err != nil {
				return err
			}
		}
		return nil
	})
}

// sealStream seals a stream, of which the length in clear is known.
func (r *keyring) sealStream(ctx context.Context, h header, plain int64, write func(io.Writer) error) (content, error) {
	h.Bytes = sealedBytes(plain)
	key, err := r.forSealing(ctx, &h)
	if err != nil {
		return content{}, err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return content{}, fmt.Errorf("encode the header: %w", err)
	}
	line := []byte(magic + version + " " + string(text) + "\n")
	if len(line) > headerLimit {
		return content{}, fmt.Errorf("the names of repository and workspace have %d bytes, too many", len(line))
	}
	return content{bytes: int64(len(line)) + h.Bytes, write: func(w io.Writer) error {
		if _, err := w.Write(line); err != nil {
			return err
		}
		sealed, err := key.NewEncryptingWriter(w, line)
		if err != nil {
			return err
		}
		if err := write(sealed); err != nil {
			return err
		}
		return sealed.Close()
	}}, nil
}

// sealedBytes is the length of the sealed form of a stream. The header says it, so that an object whose end is missing is
// told from one that was changed.
func sealedBytes(plain int64) int64 {
	const room = segmentBytes - segmentTagBytes
	segments := int64(1)
	if rest := plain - (room - streamHeaderBytes); rest > 0 {
		segments += (rest + room - 1) / room
	}
	return streamHeaderBytes + plain + segments*segmentTagBytes
}
