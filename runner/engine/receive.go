package engine

import "errors"

// Receipt says what became of the events in a webhook.
type Receipt struct {
	Accepted int // written down: they will be dealt with
	Known    int // written down before: a redelivery
	Ignored  int // nothing that Plumbline acts on
}

// ErrOutside is wrapped by the error about a webhook of a repository that the forge's allow-list does not name.
var ErrOutside = errors.New("the repository is not in the allow-list")
