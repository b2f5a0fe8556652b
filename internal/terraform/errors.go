package terraform

import (
	"fmt"
	"strings"
)

// Interrupted says that a command was stopped on request, and what state things are in. It unwraps to the cause of the
// cancelled context.
type Interrupted struct {
	// Command is "init", "plan", "show", "apply" and so on.
	Command string
	// Started is false when the request came before Terraform was started: nothing has happened.
	Started bool
	// Killed is true when Terraform did not end by itself.
	Killed bool
	// Text is the account for the user.
	Text string
	// Cause is the cause of the cancelled context.
	Cause error
}

func (e *Interrupted) Error() string { return e.Text }

// Unwrap returns the cause, so that errors.Is finds context.Canceled.
func (e *Interrupted) Unwrap() error { return e.Cause }

// LockedError says that somebody else holds the state lock. Its fields are as Terraform printed them; each may be empty.
type LockedError struct {
	// ID is what "terraform force-unlock" wants.
	ID string
	// Who is user@host of the holder.
	Who string
	// Operation is what the holder does, such as OperationTypeApply.
	Operation string
	// Created is since when, in the holder's clock.
	Created string
	// Path is the state that is locked.
	Path string
}

func (e *LockedError) Error() string {
	var b strings.Builder
	b.WriteString("the state is locked")
	for _, f := range []struct{ label, value string }{
		{" by ", e.Who}, {" since ", e.Created}, {" for ", strings.TrimPrefix(e.Operation, "OperationType")}, {", state ", e.Path},
	} {
		if f.value != "" {
			b.WriteString(f.label + f.value)
		}
	}
	b.WriteString("; wait for it to end")
	if e.ID != "" {
		fmt.Fprintf(&b, ", or, if its owner is gone for good, run: terraform force-unlock %s", e.ID)
	}
	return b.String()
}

// StalePlanError says that the state has changed since the plan was made.
type StalePlanError struct {
	// Text is Terraform's own message.
	Text string
}

func (e *StalePlanError) Error() string { return e.Text }

// BusyError says that an apply of this workspace still runs whose Plumbline is gone. Terraform was left to finish its
// work; nothing else may touch the workspace until it has.
type BusyError struct {
	// PID is Terraform's process; zero when that is not known.
	PID int
	// Began is when that apply began.
	Began string
}

func (e *BusyError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("an apply that began at %s still runs, although the plumbline that started it is gone; wait for it to end", e.Began)
	}
	return fmt.Sprintf("an apply that began at %s still runs as process %d, although the plumbline that started it is gone; "+
		"wait for it to end (to make it stop early, send it one interrupt: kill -INT %d)", e.Began, e.PID, e.PID)
}

// MissingError says that no suitable binary was found, and what to do.
type MissingError struct {
	// Engine is "terraform" or "tofu".
	Engine string
	// Text says what was wanted, by which file, what was found, and what to do.
	Text string
	// Cause is why it could not be installed; nil when that was not tried.
	Cause error
}

func (e *MissingError) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *MissingError) Unwrap() error { return e.Cause }
