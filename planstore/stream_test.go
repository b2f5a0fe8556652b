package planstore_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/plumbline-dev/plumbline/planstore"
)

// stream puts a plan of BYTES bytes, reads it back, verifies it and seals it anew, all in another process, and prints how
// much memory that took at its most.
func stream() error {
	ctx := contextForChild()
	size, err := strconv.ParseInt(os.Getenv("BYTES"), 10, 64)
	if err != nil {
		return err
	}
	options := planstore.Options{Location: os.Getenv("LOCATION"), Key: key1, Repository: "repo"}
	s, err := planstore.Open(ctx, options)
	if err != nil {
		return err
	}
	// It cannot be packed, as a plan file cannot.
	digest := sha256.New()
	file := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), digest)
	p, err := s.Put(ctx, planstore.Plan{Workspace: "a"}, file, io.LimitReader(rand.NewChaCha8([32]byte{2}), size/4))
	if err != nil {
		return err
	}
	if p.PlanBytes != size || p.PlanSHA256 != hex.EncodeToString(digest.Sum(nil)) {
		return fmt.Errorf("stored %d bytes of %d", p.PlanBytes, size)
	}
	options.Key = key2 + "," + key1
	if s, err = planstore.Open(ctx, options); err != nil {
		return err
	}
	did, err := s.Rekey(ctx, false)
	if err != nil || did.Rewritten != 1 {
		return fmt.Errorf("rekey: %+v, %w", did, err)
	}
	if _, err := s.VerifyAll(ctx); err != nil {
		return err
	}
	path := filepath.Join(os.Getenv("OUT"), "plan")
	if err := s.WritePlanFile(ctx, p.ID, path); err != nil {
		return err
	}
	if info, err := os.Stat(path); err != nil || info.Size() != size {
		return errors.Join(err, errors.New("the plan file has another size"))
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	fmt.Print(string(status))
	return nil
}
