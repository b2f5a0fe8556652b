package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/plumbline-dev/plumbline/planstore"
)

// Most looks for drift find nothing, over and over. To read a plan as JSON is a process of its own, which costs about half
// of what the plan costs. So a look that found nothing leaves a digest of all that this follows from, and the next one whose
// plan is the very same, on the same record, need not read it.

// cleanLook is the memory of one workspace's last look for drift, if that found nothing.
type cleanLook struct {
	file string
	from string // digest of what a look is measured against
}

func (r *Runner) cleanLook(s *site, applied planstore.Applied) (cleanLook, error) {
	record, err := json.Marshal(applied)
	if err != nil {
		return cleanLook{}, err
	}
	from := sha256.New()
	for _, part := range []string{string(record), r.opts.Commit, s.inputs, s.configuration, s.environment, s.binary.Engine, s.binary.Version} {
		sum := sha256.Sum256([]byte(part))
		from.Write(sum[:])
	}
	if r.opts.Dirty {
		from.Write([]byte("dirty"))
	}
	return cleanLook{file: filepath.Join(s.home, "clean"), from: hex.EncodeToString(from.Sum(nil))}, nil
}

// knows reports whether the last look had a plan of this content, was measured against the same, and found nothing.
func (c cleanLook) knows(content string) bool {
	if content == "" {
		return false
	}
	known, err := os.ReadFile(c.file)
	return err == nil && string(known) == c.text(content)
}

// keep remembers a look that found nothing. It is not worth an error: without it the next look takes longer.
func (c cleanLook) keep(content string) {
	if content != "" && !c.knows(content) {
		_ = renameio.WriteFile(c.file, []byte(c.text(content)), 0o600)
	}
}

func (c cleanLook) text(content string) string { return c.from + " " + content }
