package planstore

import (
	"bufio"
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

// opened is a sealed object of which the envelope has been read.
type opened struct {
	envelope
	header header
	first  []byte // the envelope's line
	source *sourceReader
	stream *bufio.Reader // what follows the envelope, in clear
	broken func(Reason, string, ...any) error
}

// open reads header and envelope from r, which begins with the object e.
func (s *Store) open(ctx context.Context, e entry, r *stored) (*opened, error) {
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
		if strings.HasPrefix(magic, string(line)) || strings.HasPrefix(string(line), magic) && int64(len(line)) == r.bytes {
			return nil, broken(Truncated, "truncated: only %d bytes are left", r.bytes)
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
	switch whole := int64(len(line)) + h.Bytes; {
	case r.bytes < whole:
		return nil, broken(Truncated, "truncated: %d of its %d bytes are left", r.bytes, whole)
	case r.bytes > whole:
		return nil, broken(Tampered, "it has %d bytes where %d were stored: it was changed since", r.bytes, whole)
	}
	key, err := s.keys.forOpening(ctx, h)
	var unfit *keyError
	if errors.As(err, &unfit) {
		return nil, broken(unfit.reason, "%s", unfit.detail)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", e.key, err)
	}
	plain, err := key.NewDecryptingReader(sealed, line)
	if source.err != nil {
		return nil, fmt.Errorf("read %s: %w", e.key, source.err)
	}
	if err != nil {
		return nil, broken(Tampered, damaged)
	}
	o := &opened{header: h, source: source, stream: bufio.NewReaderSize(&plainReader{source: source, plain: plain, broken: broken}, 4<<10), broken: broken}
	first, err := readLine(o.stream, 1<<30)
	if errors.Is(err, errNoLine) {
		return nil, broken(Tampered, damaged)
	}
	if err != nil {
		return nil, err
	}
	o.first = first
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
		// Damage on the way here is no damage where it rests: the bucket tells at the end of what it sent.
		if _, drained := io.Copy(io.Discard, r.source); drained != nil {
			n, err = 0, fmt.Errorf("read a sealed object: %w", drained)
			break
		}
		err = r.broken(Tampered, damaged)
	}
	r.err = err
	return n, err
}

// head reads the receipt of an entry, and no more of it than that takes.
func (s *Store) head(ctx context.Context, e entry, receipt any) error {
	bytes, err := s.openHead(ctx, e, headBytes, receipt)
	// Broken may mean no more than that the head did not fit.
	var broken *BrokenError
	if errors.As(err, &broken) && bytes > headBytes {
		_, err = s.openHead(ctx, e, 0, receipt)
	}
	return err
}

// openHead reads a receipt from the first limit bytes, and says how many there are in all.
func (s *Store) openHead(ctx context.Context, e entry, limit int64, receipt any) (bytes int64, err error) {
	r, err := s.bucket.Get(ctx, e.key, limit)
	if err != nil {
		return 0, s.gone(e, err)
	}
	defer r.Close()
	o, err := s.open(ctx, e, r)
	if err != nil {
		return r.bytes, err
	}
	return r.bytes, o.receipt(receipt)
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
		s.seen.forget(e)
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
	o, err := s.open(ctx, e, r)
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
	o, err := s.open(ctx, e, r)
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
