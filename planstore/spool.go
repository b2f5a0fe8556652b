package planstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// spoolMemory is how much a spool holds in memory.
const spoolMemory = 4 << 20

// spool holds what can be read only once but is needed after its length and hash are known. What is small stays in
// memory. What is large goes to a file in the system's temporary directory, sealed with a key that is nowhere but in this
// process, because a plan never rests in clear; and the file has no name any more, so a killed process leaves nothing.
// (Where a file that is open cannot lose its name, it loses it in close.)
type spool struct {
	head   bytes.Buffer // all of it, or nothing once there is a file
	file   *os.File
	cipher *subtle.AESGCMHKDF
	sealed io.WriteCloser
}

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.head.Len()+len(p) <= spoolMemory {
		return s.head.Write(p)
	}
	if s.file == nil {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	n, err := s.sealed.Write(p)
	return n, explainFull(err)
}

// spill moves what is held to a file.
func (s *spool) spill() error {
	var key [keyBytes]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	var err error
	if s.cipher, err = subtle.NewAESGCMHKDF(key[:], "SHA256", keyBytes, 1<<20, 0); err != nil {
		return err
	}
	if s.file, err = scratchFile(); err != nil {
		return err
	}
	if s.sealed, err = s.cipher.NewEncryptingWriter(s.file, nil); err != nil {
		return err
	}
	_, err = s.sealed.Write(s.head.Bytes())
	s.head = bytes.Buffer{}
	return explainFull(err)
}

// writeTo writes everything to w, after which nothing more can be added. It may be called again.
func (s *spool) writeTo(w io.Writer) error {
	if s.file == nil {
		_, err := w.Write(s.head.Bytes())
		return err
	}
	if s.sealed != nil {
		if err := s.sealed.Close(); err != nil {
			return explainFull(err)
		}
		s.sealed = nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := s.cipher.NewDecryptingReader(s.file, nil)
	if err != nil {
		return fmt.Errorf("read back %s: %w", s.file.Name(), err)
	}
	_, err = io.Copy(w, r)
	return err
}

// close gives back what the spool holds.
func (s *spool) close() {
	if s.file != nil {
		closeScratch(s.file)
	}
}

// scratchFile makes a file that only this process can reach.
func scratchFile() (*os.File, error) {
	file, err := os.CreateTemp("", "plumbline-*") // made with mode 0600
	if err != nil {
		return nil, fmt.Errorf("make a temporary file for a large plan: %w", explainFull(err))
	}
	_ = os.Remove(file.Name()) // not everywhere while it is open: then closeScratch does it
	return file, nil
}

func closeScratch(file *os.File) {
	// Nothing is lost with a file that was only ever ours.
	_ = errors.Join(file.Close(), os.Remove(file.Name()))
}
