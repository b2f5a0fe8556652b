package planstore

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
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
	Key        string `json:"key"`   // id of the key that sealed it
	Bytes      int64  `json:"bytes"` // length of all that follows the line
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

	data []byte // as stored; only while it is being put
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

// readPart reads a part to its end and packs it on the way, so that no more than its packed form is held in memory.
func readPart(name string, r io.Reader) (part, error) {
	p := part{Name: name, Packed: name != partPlan}
	digest := sha256.New()
	var data bytes.Buffer
	var err error
	if p.Packed {
		packer, levelErr := gzip.NewWriterLevel(&data, gzip.BestSpeed)
		if levelErr != nil {
			return part{}, levelErr
		}
		p.Bytes, err = io.Copy(io.MultiWriter(packer, digest), r)
		err = errors.Join(err, packer.Close())
	} else {
		p.Bytes, err = io.Copy(io.MultiWriter(&data, digest), r)
	}
	if err != nil {
		return part{}, fmt.Errorf("read the %s that is to be stored: %w", name, err)
	}
	p.data, p.Stored, p.SHA256 = data.Bytes(), int64(data.Len()), hex.EncodeToString(digest.Sum(nil))
	return p, nil
}

// seal makes a sealed object. It sets the header's Key and Bytes.
func (r *keyring) seal(h header, receipt any, parts []part) ([]byte, error) {
	text, err := json.Marshal(receipt)
	if err != nil {
		return nil, fmt.Errorf("encode the receipt: %w", err)
	}
	first, err := json.Marshal(envelope{Receipt: text, Parts: parts})
	if err != nil {
		return nil, fmt.Errorf("encode the envelope: %w", err)
	}
	plain := int64(len(first)) + 1
	for _, p := range parts {
		plain += p.Stored
	}
	h.Key, h.Bytes = r.sealing.id, sealedBytes(plain)
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode the header: %w", err)
	}
	line = []byte(magic + version + " " + string(line) + "\n")
	if len(line) > headerLimit {
		return nil, fmt.Errorf("the names of repository and workspace have %d bytes, too many", len(line))
	}

	var object bytes.Buffer
	object.Grow(len(line) + int(h.Bytes))
	object.Write(line)
	w, err := r.sealing.cipher.NewEncryptingWriter(&object, line)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(append(first, '\n')); err != nil {
		return nil, err
	}
	for _, p := range parts {
		if _, err := w.Write(p.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if got, want := int64(object.Len()), int64(len(line))+h.Bytes; got != want {
		return nil, fmt.Errorf("the sealed object has %d bytes, not the %d that its header says", got, want)
	}
	return object.Bytes(), nil
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

// opened is a sealed object of which the envelope has been read.
type opened struct {
	envelope
	source *sourceReader
	stream *bufio.Reader // what follows the envelope, in clear
	broken func(Reason, string, ...any) error
}

// open reads header and envelope from r, which begins with the object e.
func (s *Store) open(e entry, r io.Reader) (*opened, error) {
	broken := func(reason Reason, format string, args ...any) error {
		return &BrokenError{Place: s.Location() + "/" + e.key, ID: e.id, Reason: reason, Detail: fmt.Sprintf(format, args...) + ": " + e.kind.advice(reason)}
	}
	source := &sourceReader{r: r}
	sealed := bufio.NewReaderSize(source, 4<<10)
	line, err := readLine(sealed, headerLimit)
	if err != nil && !errors.Is(err, errNoLine) {
		return nil, fmt.Errorf("read %s: %w", e.key, err)
	}
	if err != nil {
		if strings.HasPrefix(magic, string(line)) || strings.HasPrefix(string(line), magic) && int64(len(line)) == e.size {
			return nil, broken(Truncated, "truncated: only %d bytes are left", e.size)
		}
		return nil, broken(Tampered, "it does not begin like anything that plumbline stores")
	}
	h, err := parseHeader(line)
	var other otherVersion
	switch {
	case errors.As(err, &other):
		return nil, broken(OtherVersion, "it has format %q and this plumbline reads format %s", string(other), version)
	case err != nil:
		return nil, broken(Tampered, "%v: %s", err, damaged)
	}
	if h.Repository != s.repository {
		return nil, broken(Misplaced, "it belongs to repository %q, not to %q", h.Repository, s.repository)
	}
	if h.Kind != e.kind.name || h.ID != e.id || s.key(e.kind, h.Workspace, h.ID) != e.key {
		return nil, broken(Misplaced, "it belongs to workspace %q as %s %s and was moved here", h.Workspace, h.Kind, h.ID)
	}
	key, ok := s.keys.opening(h.Key)
	if !ok {
		return nil, broken(OtherKey, "it is sealed with key %s and %s has only %s", h.Key, s.keys.source, s.keys.ids())
	}
	switch whole := int64(len(line)) + h.Bytes; {
	case e.size < whole:
		return nil, broken(Truncated, "truncated: %d of its %d bytes are left", e.size, whole)
	case e.size > whole:
		return nil, broken(Tampered, "it has %d bytes where %d were stored: it was changed since", e.size, whole)
	}
	plain, err := key.cipher.NewDecryptingReader(sealed, line)
	if source.err != nil {
		return nil, fmt.Errorf("read %s: %w", e.key, source.err)
	}
	if err != nil {
		return nil, broken(Tampered, damaged)
	}
	o := &opened{source: source, stream: bufio.NewReaderSize(&plainReader{source: source, plain: plain, broken: broken}, 4<<10), broken: broken}
	first, err := readLine(o.stream, 1<<30)
	if errors.Is(err, errNoLine) {
		return nil, broken(Tampered, damaged)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(first, &o.envelope); err != nil {
		return nil, broken(OtherVersion, "its receipt cannot be read (%v)", err)
	}
	return o, nil
}

type otherVersion string

func (v otherVersion) Error() string { return "format " + string(v) }

// parseHeader reads a header line. No error quotes more than the version.
func parseHeader(line []byte) (header, error) {
	rest, ok := strings.CutPrefix(string(line), magic)
	if !ok {
		return header{}, errors.New("its first line is not a header")
	}
	number, text, _ := strings.Cut(rest, " ")
	if number != version {
		if _, err := strconv.ParseUint(number, 10, 32); err == nil {
			return header{}, otherVersion(number)
		}
		return header{}, errors.New("its first line is not a header")
	}
	var h header
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return header{}, errors.New("its first line is not a header")
	}
	return h, nil
}

// sourceReader remembers what the bucket failed with, because the cipher takes an early end for the end.
type sourceReader struct {
	r   io.Reader
	err error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// plainReader turns the cipher's verdict, which only says that a segment does not open, into an error for people. After
// an error it passes nothing on.
type plainReader struct {
	source *sourceReader
	plain  io.Reader
	broken func(Reason, string, ...any) error
	err    error
}

func (r *plainReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.plain.Read(p)
	switch {
	case r.source.err != nil:
		n, err = 0, fmt.Errorf("read a sealed object: %w", r.source.err)
	case err != nil && !errors.Is(err, io.EOF):
		err = r.broken(Tampered, damaged)
	}
	r.err = err
	return n, err
}

// head reads the receipt of an entry, and no more of it than that takes.
func (s *Store) head(ctx context.Context, e entry, receipt any) error {
	err := s.openHead(ctx, e, headBytes, receipt)
	// Broken may mean no more than that the head did not fit.
	var broken *BrokenError
	if errors.As(err, &broken) && e.size > headBytes {
		err = s.openHead(ctx, e, 0, receipt)
	}
	return err
}

func (s *Store) openHead(ctx context.Context, e entry, limit int64, receipt any) error {
	r, err := s.bucket.Get(ctx, e.key, limit)
	if err != nil {
		return s.gone(e, err)
	}
	defer r.Close()
	o, err := s.open(e, r)
	if err != nil {
		return err
	}
	return o.receipt(receipt)
}

func (o *opened) receipt(receipt any) error {
	if err := json.Unmarshal(o.Receipt, receipt); err != nil {
		return o.broken(OtherVersion, "its receipt cannot be read (%v)", err)
	}
	return nil
}

// gone explains that an entry which was just listed is not there any more.
func (s *Store) gone(e entry, err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%s %s: %w in %s: it was deleted a moment ago", e.kind.title, e.id, ErrNotFound, s.Location())
	}
	return fmt.Errorf("read %s from %s: %w", e.key, s.Location(), err)
}

// readPart copies a part to w and then checks it; what was written before an error must be thrown away.
func (s *Store) readPart(ctx context.Context, e entry, name string, w io.Writer) error {
	r, err := s.bucket.Get(ctx, e.key, 0)
	if err != nil {
		return s.gone(e, err)
	}
	defer r.Close()
	o, err := s.open(e, r)
	if err != nil {
		return err
	}
	for _, p := range o.Parts {
		if p.Name == name {
			return o.copyPart(p, w)
		}
		if _, err := io.CopyN(io.Discard, o.stream, p.Stored); err != nil {
			return o.ended(err)
		}
	}
	return o.broken(Tampered, "it holds no %s", name)
}

// readBytes returns a part.
func (s *Store) readBytes(ctx context.Context, e entry, name string) ([]byte, error) {
	var content memory
	if err := s.readPart(ctx, e, name, &content); err != nil {
		return nil, err
	}
	return content, nil
}

// memory is a writer that takes its room at once when the length is known.
type memory []byte

func (m *memory) expect(n int64) { *m = make([]byte, 0, min(n, 1<<30)) }

func (m *memory) Write(p []byte) (int, error) {
	*m = append(*m, p...)
	return len(p), nil
}

// verify reads everything.
func (s *Store) verify(ctx context.Context, e entry) error {
	r, err := s.bucket.Get(ctx, e.key, 0)
	if err != nil {
		return s.gone(e, err)
	}
	defer r.Close()
	o, err := s.open(e, r)
	if err != nil {
		return err
	}
	parts := make(map[string]part, len(o.Parts))
	for _, p := range o.Parts {
		if err := o.copyPart(p, io.Discard); err != nil {
			return err
		}
		parts[p.Name] = p
	}
	if _, err := o.stream.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return err
		}
		return o.broken(Tampered, "it holds more than its receipt says")
	}
	if e.kind != kindPlan {
		return nil
	}
	var p Plan
	if err := o.receipt(&p); err != nil {
		return err
	}
	file, text := parts[partPlan], parts[partJSON]
	if p.PlanSHA256 != file.SHA256 || p.PlanBytes != file.Bytes || p.JSONSHA256 != text.SHA256 || p.JSONBytes != text.Bytes {
		return o.broken(Tampered, "its contents are not those of its receipt")
	}
	return nil
}

// copyPart copies the part that comes next in the stream to w and checks its length and hash.
func (o *opened) copyPart(p part, w io.Writer) error {
	if m, ok := w.(*memory); ok {
		m.expect(p.Bytes)
	}
	stored := &io.LimitedReader{R: o.stream, N: p.Stored}
	digest := &counted{hash: sha256.New()}
	var source io.Reader = stored
	if p.Packed {
		unpacker, err := gzip.NewReader(stored)
		if err != nil {
			return o.ended(err)
		}
		source = unpacker
	}
	// One byte more than there should be is enough to see that there is too much.
	if _, err := io.Copy(io.MultiWriter(w, digest), io.LimitReader(source, p.Bytes+1)); err != nil {
		return o.ended(err)
	}
	if stored.N != 0 || digest.n != p.Bytes || hex.EncodeToString(digest.hash.Sum(nil)) != p.SHA256 {
		return o.broken(Tampered, "its %s is not the one that was stored", p.Name)
	}
	return nil
}

// ended explains that the stream ended early or could not be unpacked.
func (o *opened) ended(err error) error {
	var broken *BrokenError
	switch {
	case o.source.err != nil, errors.As(err, &broken): // said already, and better
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return o.broken(Tampered, "its contents are not those of its receipt")
	}
	return err
}

type counted struct {
	hash hash.Hash
	n    int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.hash.Write(p)
}

var errNoLine = errors.New("no line")

// readLine returns a line with its end. If the end is not among the first limit bytes, or the input ends before it, it
// returns what there is with errNoLine.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for len(line) <= limit {
		piece, err := r.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF):
			return line, errNoLine
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
	return line, errNoLine
}
