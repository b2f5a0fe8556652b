package planstore

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

const keyBytes = 32

// keyring holds the keys of a store, ready for use.
type keyring struct {
	source  string       // for error messages
	sealing *sealingKey  // the first key
	all     []sealingKey // every key, in the order given
	print   []byte       // what fingerprints are keyed with
	kms     *kmsKeys     // wrap the keys of new objects; nil if local keys seal them
}

type sealingKey struct {
	id     string
	secret []byte
	cipher *subtle.AESGCMHKDF
}

// openKeys reads the keys that the options name, and makes the key file if it does not exist.
func openKeys(o Options) (*keyring, error) {
	if o.Key != "" {
		return parseKeys("the key given", o.Key)
	}
	if o.KeyFile == "" {
		return nil, errors.New("there is no key: give one, or the path of a key file")
	}
	text, err := readKeyFile(o.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKeyFile(o.KeyFile); err != nil {
			return nil, fmt.Errorf("make key file %s: %w", o.KeyFile, err)
		}
		text, err = readKeyFile(o.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read key file %s: %w", o.KeyFile, err)
	}
	return parseKeys("key file "+o.KeyFile, text)
}

func readKeyFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	// Asked of the open file: the path may lead elsewhere by now.
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("others than its owner may use it (mode %#o): run `chmod 600 %s`, and if someone may have read it put a new key on its first line", mode, path)
	}
	if info.Size() > 64<<10 {
		return "", fmt.Errorf("it has %d bytes, too many for a few keys: is it the right file?", info.Size())
	}
	text := make([]byte, info.Size())
	n, err := file.ReadAt(text, 0)
	if n < len(text) {
		return "", err
	}
	return string(text), nil
}

// makeKeyFile makes a key file unless there is one by then. The file appears with its content in it: of several processes
// that do this at once one wins, and the others go on with its key.
func makeKeyFile(path string) error {
	dir := filepath.Dir(path)
	if err := makeDirs(dir); err != nil {
		return err
	}
	var key [keyBytes]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, temporary+"*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces a file that another process has just put there.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// parseKeys reads keys in base64, separated by white space or commas. Lines that begin with # are comments. No error
// quotes what it read: a mistyped key is still nearly the key.
func parseKeys(source, text string) (*keyring, error) {
	ring := &keyring{source: source}
	var oldest []byte
	for number, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, field := range strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' }) {
			key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(field, "="))
			if err != nil {
				return nil, fmt.Errorf("%s, line %d: not a key: expected %d bytes in base64 (make one with `openssl rand -base64 %d`)", source, number+1, keyBytes, keyBytes)
			}
			if len(key) != keyBytes {
				return nil, fmt.Errorf("%s, line %d: the key has %d bytes, expected %d (make one with `openssl rand -base64 %d`)", source, number+1, len(key), keyBytes, keyBytes)
			}
			k, err := newSealingKey(key)
			if err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", source, number+1, err)
			}
			ring.all = append(ring.all, k)
			oldest = key
		}
	}
	if len(ring.all) == 0 {
		return nil, fmt.Errorf("%s holds no key: expected %d bytes in base64 (make one with `openssl rand -base64 %d`)", source, keyBytes, keyBytes)
	}
	ring.sealing = &ring.all[0]
	// From the last, which is the oldest: a new first key must not change the fingerprints of plans that wait for
	// their merge.
	var err error
	ring.print, err = hkdf.Key(sha256.New, oldest, nil, "plumbline plan fingerprint 1", sha256.Size)
	return ring, err
}

func newSealingKey(key []byte) (sealingKey, error) {
	cipher, err := newCipher(key)
	if err != nil {
		return sealingKey{}, err
	}
	// The id is derived with HKDF, apart from every other use of the key, so it tells nothing about it.
	id, err := hkdf.Key(sha256.New, key, nil, "plumbline key id 1", 6)
	if err != nil {
		return sealingKey{}, err
	}
	return sealingKey{id: hex.EncodeToString(id), secret: key, cipher: cipher}, nil
}

// DeriveKeys returns keys for another purpose that follow from a store's keys, one for each in their order, of 32 bytes.
// Who has one of them can neither find the store's keys nor those of another purpose. Of the options only the keys count;
// a key file is made as Open makes it.
func DeriveKeys(o Options, purpose string) ([][]byte, error) {
	ring, err := openKeys(o)
	if err != nil {
		return nil, fmt.Errorf("derive keys for %s: %w", purpose, err)
	}
	keys := make([][]byte, len(ring.all))
	for i, k := range ring.all {
		if keys[i], err = hkdf.Key(sha256.New, k.secret, nil, "plumbline derived 1 "+purpose, keyBytes); err != nil {
			return nil, fmt.Errorf("derive keys for %s: %w", purpose, err)
		}
	}
	return keys, nil
}

// keyError says why no key opens an object.
type keyError struct {
	reason Reason
	detail string
}

func (e *keyError) Error() string { return e.detail }

// forSealing returns what a new object is sealed with, and tells the header by what it opens.
func (r *keyring) forSealing(ctx context.Context, h *header) (*subtle.AESGCMHKDF, error) {
	if r.kms == nil {
		h.Key, h.Wrapped = r.sealing.id, nil
		return r.sealing.cipher, nil
	}
	key, err := r.kms.generate(ctx, h)
	if err != nil {
		return nil, err
	}
	return newCipher(key)
}

// forOpening returns what opens an object. The error is a *keyError if none of the keys does.
func (r *keyring) forOpening(ctx context.Context, h header) (*subtle.AESGCMHKDF, error) {
	if len(h.Wrapped) > 0 {
		if r.kms == nil {
			return nil, &keyError{OtherKey, fmt.Sprintf("it is sealed with a key of AWS KMS, %s, and no such key is configured", h.Key)}
		}
		key, err := r.kms.decrypt(ctx, h)
		if err != nil {
			return nil, err
		}
		return newCipher(key)
	}
	key, ok := r.opening(h.Key)
	if !ok {
		return nil, &keyError{OtherKey, fmt.Sprintf("it is sealed with key %s and %s has only %s", h.Key, r.source, r.ids())}
	}
	return key.cipher, nil
}

func newCipher(key []byte) (*subtle.AESGCMHKDF, error) {
	return subtle.NewAESGCMHKDF(key, "SHA256", keyBytes, segmentBytes, 0)
}

// opening returns the key with an id.
func (r *keyring) opening(id string) (*sealingKey, bool) {
	for i := range r.all {
		if r.all[i].id == id {
			return &r.all[i], true
		}
	}
	return nil, false
}

// ids names the keys, for error messages.
func (r *keyring) ids() string {
	ids := make([]string, len(r.all))
	for i, k := range r.all {
		ids[i] = k.id
	}
	return strings.Join(ids, ", ")
}
