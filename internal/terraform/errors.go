package terraform

import "fmt"

// Interrupted says that a command was stopped on request, and what state things are in.
type Interrupted struct {
	// Command is "init", "plan", "show" or "apply".
	Command string
	// Killed means that Terraform did not end by itself.
	Killed bool
	// Text is the account for the user.
	Text string
	// Cause is the context's error.
	Cause error
}

func (e *Interrupted) Error() string { return e.Text }

// Unwrap returns the cause, so that errors.Is finds context.Canceled.
func (e *Interrupted) Unwrap() error { return e.Cause }

// LockedError says that someone holds the state lock.
type LockedError struct {
	// ID, Who, Operation, Created and Path are as Terraform printed them; each may be empty.
	ID, Who, Operation, Created, Path string
}

func (e *LockedError) Error() string { return fmt.Sprintf("state is locked by %s (lock %s)", e.Who, e.ID) }

// StalePlanError says that the state has changed since the plan was made.
type StalePlanError struct {
	// Text is Terraform's own message.
	Text string
}

func (e *StalePlanError) Error() string { return e.Text }

// MissingError says that no suitable binary was found, and what to do.
type MissingError struct {
	// Engine is "terraform" or "tofu".
	Engine string
	// Text says what was wanted, by which file, what was found, and what to do.
	Text string
	// Cause may be nil.
	Cause error
}

func (e *MissingError) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *MissingError) Unwrap() error { return e.Cause }
