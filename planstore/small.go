package planstore

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// sealedMagic begins what Seal returns, with its version.
const sealedMagic = "plumbline-small 1 "

// Seal seals a small thing that belongs to a plan but rests elsewhere, such as the account of a run in a database, with
// the store's key. The context says what it is and whose, for example "run 17": Unseal wants the same one, of the same
// repository, so that nothing sealed for one place opens in another.
func (s *Store) Seal(context string, data []byte) ([]byte, error) {
	head := sealedMagic + s.keys.sealing.id + "\n"
	var sealed bytes.Buffer
	sealed.WriteString(head)
	w, err := s.keys.sealing.cipher.NewEncryptingWriter(&sealed, s.binding(head, context))
	if err != nil {
		return nil, fmt.Errorf("seal %q: %w", context, err)
	}
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("seal %q: %w", context, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal %q: %w", context, err)
	}
	return sealed.Bytes(), nil
}

// Unseal returns what was sealed with the same context. Errors about the content are of type *BrokenError; nothing of
// what does not open is returned.
func (s *Store) Unseal(context string, sealed []byte) ([]byte, error) {
	broken := func(reason Reason, format string, args ...any) error {
		return &BrokenError{Place: "the place it was kept in", ID: fmt.Sprintf("%q", context), Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
	line, rest, ok := bytes.Cut(sealed, []byte("\n"))
	id, is := strings.CutPrefix(string(line), sealedMagic)
	if !ok || !is {
		return nil, broken(Tampered, "it does not begin like anything that plumbline seals")
	}
	key, ok := s.keys.opening(id)
	if !ok {
		return nil, broken(OtherKey, "it is sealed with another key, and %s has only %s: add that key", s.keys.source, s.keys.ids())
	}
	r, err := key.cipher.NewDecryptingReader(bytes.NewReader(rest), s.binding(string(line)+"\n", context))
	if err != nil {
		return nil, broken(Tampered, damaged)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, broken(Tampered, "it was changed or damaged since it was sealed, or was sealed for another place")
	}
	return data, nil
}

// binding is the associated data of a small sealed thing. Quoting keeps the parts apart.
func (s *Store) binding(head, context string) []byte {
	return fmt.Appendf(nil, "%s%q %q", head, s.repository, context)
}
