package terraform

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// StateID tells one version of a state from another. The zero value means that there is no state yet.
type StateID struct {
	Lineage string
	Serial  uint64
}

// State reads which state the workspace has now. When the state is a local file it is read, else Terraform is asked
// (state pull), which takes a process. Init must have run.
func (d *Dir) State(ctx context.Context) (StateID, error) {
	if file, ok := d.stateFile(); ok {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			return StateID{}, nil
		}
		if err != nil {
			return StateID{}, fmt.Errorf("read state: %w", err)
		}
		defer f.Close()
		id, err := readStateID(f)
		if err == nil {
			return id, nil
		}
		// OpenTofu can encrypt the file; then only OpenTofu can read it.
		if d.opts.Binary.Engine != "tofu" {
			return StateID{}, fmt.Errorf("read state %q: %w", file, err)
		}
	}
	unlock, err := lockDir(ctx, d.opts.DataDir, false)
	if err != nil {
		return StateID{}, d.gaveUp(ctx, "state pull", err)
	}
	defer unlock()
	x, err := d.exec(nil)
	if err != nil {
		return StateID{}, err
	}
	var state string
	err = x.call(ctx, func(ctx context.Context) (err error) {
		state, err = x.StatePull(ctx)
		return err
	})
	if err != nil {
		return StateID{}, d.failed(ctx, "state pull", err, x.stderr.String(), "")
	}
	id, err := readStateID(strings.NewReader(state))
	if err != nil {
		return StateID{}, fmt.Errorf("read what %s state pull printed: %w", d.opts.Binary.Engine, err)
	}
	return id, nil
}

// PlanState reads from a plan file which state it was made for. That is the state which Terraform compares before it
// applies the plan: the entry tfstate of the zip, after refreshing, whose serial is that of the state as it was read.
// No process is started.
func PlanState(planFile string) (StateID, error) {
	z, err := zip.OpenReader(planFile)
	if errors.Is(err, zip.ErrFormat) {
		return StateID{}, fmt.Errorf("read plan %q: it is not a plan file, or is truncated", planFile)
	}
	if err != nil {
		return StateID{}, fmt.Errorf("read plan: %w", err)
	}
	defer func() { _ = z.Close() }() // It was only read.
	f, err := z.Open("tfstate")
	if err != nil {
		return StateID{}, fmt.Errorf("read plan %q: it holds no state, so it is not a plan file of Terraform 0.12 or newer", planFile)
	}
	defer f.Close()
	id, err := readStateID(f)
	if err != nil {
		return StateID{}, fmt.Errorf("read state in plan %q: %w", planFile, err)
	}
	return id, nil
}

// readStateID reads the beginning of a state, up to its lineage and serial, which Terraform writes before everything
// that may be large; in whichever order they come, nothing else is kept. Nothing at all is no state.
func readStateID(r io.Reader) (StateID, error) {
	dec := json.NewDecoder(r)
	t, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return StateID{}, nil
	}
	if err != nil {
		return StateID{}, notState(err)
	}
	if t != json.Delim('{') {
		return StateID{}, errors.New("it is not a Terraform state")
	}
	var id StateID
	var lineage, serial bool
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return StateID{}, notState(err)
		}
		switch key {
		case "lineage":
			lineage, err = true, dec.Decode(&id.Lineage)
		case "serial":
			serial, err = true, dec.Decode(&id.Serial)
		default:
			err = skipValue(dec)
		}
		if err != nil {
			return StateID{}, notState(err)
		}
		if lineage && serial {
			return id, nil
		}
	}
	return StateID{}, errors.New("it is not a Terraform state: it has no lineage or no serial")
}

func notState(err error) error { return fmt.Errorf("it is not a Terraform state: %w", err) }

// skipValue reads past one value without keeping it.
func skipValue(dec *json.Decoder) error {
	for depth := 0; ; {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
