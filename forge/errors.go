package forge

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotFound is wrapped by the error about something that the forge does not have, or does not show to us: a forge
// answers the same for both, lest strangers learn what exists.
var ErrNotFound = errors.New("not found, or not visible with these credentials")

// ErrSignature is wrapped by the error about a webhook whose signature is missing or wrong.
var ErrSignature = errors.New("webhook signature is missing or wrong")

// ErrPayload is wrapped by the error about a webhook that is signed well and makes no sense.
var ErrPayload = errors.New("webhook payload cannot be read")

// RateLimitError says that the forge wants to be left alone for a while.
type RateLimitError struct {
	Doing string    // what was tried, for example "create a comment on acme/live#7"
	Until time.Time // when to try again
}

// Error names what was tried and when to try again.
func (e *RateLimitError) Error() string {
	return fmt.Sprintf("%s: rate limit reached; try again after %s", e.Doing, e.Until.UTC().Format(time.RFC3339))
}

// NotAllowedError says that the credentials are wrong, or good but may not do this.
type NotAllowedError struct {
	Doing string // what was tried
	Says  string // the forge's own words
	Fix   string // what the operator can do, "" if nothing is known
}

// Error names what was tried, what the forge said and what to do.
func (e *NotAllowedError) Error() string {
	msg := fmt.Sprintf("%s: not allowed: %s", e.Doing, e.Says)
	if e.Fix != "" {
		msg += " (" + e.Fix + ")"
	}
	return msg
}

// NotMergeableError says that the forge refuses to merge a change as things stand: it conflicts, its head has moved, or
// the branch's protection is not satisfied.
type NotMergeableError struct {
	Repo   Repo
	Change int
	Says   string // the forge's own words
}

// Error names the change and the forge's reason.
func (e *NotMergeableError) Error() string {
	return fmt.Sprintf("merge %s#%d: %s", e.Repo, e.Change, e.Says)
}
