package engine

import (
	"context"
	"errors"
)

// workPoll asks a forge what happened in a repository. After an error it is tried again, later each time.
func (e *Engine) workPoll(ctx context.Context, repo RepoID) error {
	return errors.New("not built yet")
}
