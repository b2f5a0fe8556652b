package planstore

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// suffix ends the key of every object: whatever else lies in the bucket is not ours and is left alone.
const suffix = ".sealed"

// kind is a sort of object in the store.
type kind struct {
	name  string // in the header
	title string // for people
	lost  string // what to do when one is lost
	// keyLost follows where its key is lost: what that costs.
	keyLost string
}

var (
	kindPlan    = kind{"plan", "plan", "take it away with `plumbline plans prune --broken` and plan again", " (nothing but the plan is lost: Terraform's state is not in it)"}
	kindApplied = kind{"applied", "record of an apply", "the next apply takes its place, or remove it from the store by hand", " (Terraform's state is not in it)"}
	kindState   = kind{"state", "kept state", "bring it back from a backup of the store; delete it only when the real state is known to be good", ""}
)

// advice says what to do about a broken object.
func (k kind) advice(reason Reason) string {
	switch reason {
	case OtherVersion:
		return "use the plumbline that wrote it; or else " + k.lost
	case OtherKey:
		return "add that key; or, if another Plumbline keeps plans here, give one of the two a place of its own; or, if the key is lost, " + k.lost + k.keyLost
	}
	return k.lost
}

// prefix begins the keys of all objects of a kind in this repository.
func (s *Store) prefix(k kind) string {
	return slug(s.repository) + "/" + k.name + "/"
}

// key is where an object lies in the bucket. It follows from what the object's header says, so that an object that was
// moved is found out.
func (s *Store) key(k kind, workspace, id string) string {
	return s.prefix(k) + slug(workspace) + "/" + id + suffix
}

// slug makes a name of at most 57 characters for a directory of any file system: what can be read of the name, and a hash
// of it because names may be long, differ only in case, or hold anything.
func slug(name string) string {
	readable := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
	// The end of a name tells more than its beginning: hosts and parent directories are common to many.
	if len(readable) > 40 {
		readable = readable[len(readable)-40:]
	}
	readable = strings.Trim(readable, ".-")
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:8])
	if readable == "" {
		return hash
	}
	return readable + "-" + hash
}

var idEncoding = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// newID makes an id such as 20260102-150405678-k7mzq3w2xhtdp4sa: the time in UTC to the millisecond, for people and for
// sorting, and 80 random bits, so that ids of several machines never meet and none can be guessed.
func (s *Store) newID() (string, time.Time, error) {
	var random [10]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().UTC()
	at := now.Truncate(time.Millisecond)
	if !at.After(s.last) {
		at = s.last.Add(time.Millisecond)
	}
	s.last = at
	stamp := strings.Replace(at.Format("20060102-150405.000"), ".", "", 1)
	return fmt.Sprintf("%s-%s", stamp, idEncoding.EncodeToString(random[:])), now, nil
}
