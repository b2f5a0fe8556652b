package runner

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// erroredState is the name of the file in which Terraform leaves a state that
// it could not save.
const erroredState = "errored.tfstate"

// rescue makes sure that such a state is in the plan store, and returns its
// place there: it is the only record of what was just created, and the
// directory it lies in may not live long. The file itself stays, so that
// Terraform's own advice holds. A state that was kept before is not kept again.
func (r *Runner) rescue(ctx context.Context, w *workspaces.Workspace, home, path string) (place string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	memory := filepath.Join(home, "errored-kept")
	if before, err := os.ReadFile(memory); err == nil {
		if known, at, ok := strings.Cut(string(before), " "); ok && known == digest {
			return at, nil
		}
	}
	ctx = context.WithoutCancel(ctx)
	if place, err = r.opts.Plans.KeepState(ctx, w.Name, bytes.NewReader(data)); err != nil {
		return "", err
	}
	if err := renameio.WriteFile(memory, []byte(digest+" "+place), 0o600); err != nil {
		// Then it is kept once more the next time, which does no harm.
		r.opts.Log.Warn("remember a kept state", "workspace", w.Name, "error", err)
	}
	return place, nil
}

// noteErrored looks for a state that an earlier apply could not save, whoever
// ran it: the Plumbline that would have kept it may have died. It returns what
// to know about it, or "".
func (r *Runner) noteErrored(ctx context.Context, w *workspaces.Workspace, home string) string {
	path := filepath.Join(r.opts.Root, filepath.FromSlash(w.Dir), erroredState)
	place, err := r.rescue(ctx, w, home, path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	note := fmt.Sprintf("A state that Terraform could not save lies in `%s/%s`. Until it is pushed with `terraform state push %s` and removed, what it records is missing from the state, and a plan may want to create it again.", w.Dir, erroredState, erroredState)
	if err != nil {
		return note + fmt.Sprintf(" It could not be copied into the plan store: %v.", err)
	}
	return note + fmt.Sprintf(" A sealed copy is in the plan store: `plumbline plans show --state %s`.", place)
}
