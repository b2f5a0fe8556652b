package planstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// KeptState describes a state file that Terraform could not save where it belongs, and that is kept here instead.
type KeptState struct {
	Place     string    `json:"place"` // its id: what State and DeleteState take
	Workspace string    `json:"workspace"`
	KeptAt    time.Time `json:"kept_at"`
	Bytes     int64     `json:"bytes"`
	SHA256    string    `json:"sha256"` // in hex
}

// KeepState seals and keeps a state file, such as the errored.tfstate that Terraform leaves when it could not write the
// state after an apply, and returns its place in the store. Nothing but DeleteState ever removes it.
func (s *Store) KeepState(ctx context.Context, workspace string, state io.Reader) (place string, err error) {
	failed := func(err error) (string, error) {
		return "", fmt.Errorf("keep the state of workspace %q in %s: %w", workspace, s.Location(), err)
	}
	if workspace == "" {
		return failed(errors.New("no workspace was named"))
	}
	content, err := readPart(partState, state)
	if err != nil {
		return failed(err)
	}
	defer content.close()
	id, at, err := s.newID()
	if err != nil {
		return failed(err)
	}
	receipt := KeptState{Place: id, Workspace: workspace, KeptAt: at, Bytes: content.Bytes, SHA256: content.SHA256}
	if err := s.put(ctx, kindState, maker{workspace: workspace, run: id}, id, receipt, content); err != nil {
		return failed(err)
	}
	return id, nil
}

// States lists the kept states, newest first. As in List, what cannot be read is joined in the error beside the rest.
func (s *Store) States(ctx context.Context) ([]KeptState, error) {
	entries, err := s.entries(ctx, kindState, "")
	if err != nil {
		return nil, fmt.Errorf("list kept states: %w", err)
	}
	states, err := heads[KeptState](ctx, s, entries)
	slices.SortFunc(states, func(a, b KeptState) int { return strings.Compare(b.Place, a.Place) })
	return states, err
}

// State returns a kept state, byte for byte, by its place or the only place that begins so.
func (s *Store) State(ctx context.Context, place string) ([]byte, error) {
	e, err := s.find(ctx, kindState, place)
	if err != nil {
		return nil, err
	}
	state, err := s.readBytes(ctx, e, partState)
	if err != nil {
		return nil, fmt.Errorf("read kept state: %w", err)
	}
	return state, nil
}

// DeleteState removes a kept state, readable or not.
func (s *Store) DeleteState(ctx context.Context, place string) error {
	e, err := s.look(ctx, kindState, place)
	if err != nil {
		return err
	}
	if err := s.bucket.Delete(ctx, e.key); err != nil {
		return fmt.Errorf("delete kept state %s: %w", e.id, err)
	}
	return nil
}
