package planstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
)

// Rekeyed is what Rekey did, or with a dry run would do, by numbers of objects.
type Rekeyed struct {
	Rewritten int // sealed anew
	Current   int // sealed with the present key already
}

// errCurrent says that an object needs no new seal.
var errCurrent = errors.New("sealed with the present key")

// Rekey seals everything that is stored for the repository anew, with the present key (the first one of KMSKey or, without
// it, of the key file), unless it is sealed with that already: after it, older keys can be taken away. Each object is
// replaced at once by the same one under another seal; one that is deleted meanwhile stays deleted, and a second call goes
// on where the first was stopped. What cannot be read stays as it is and is joined in the error.
//
// What rests elsewhere, see [Store.Seal], is not sealed anew, and fingerprints do not change: both hang on the key file.
func (s *Store) Rekey(ctx context.Context, dryRun bool) (Rekeyed, error) {
	var all Rekeyed
	var errs []error
	for _, k := range kinds {
		entries, err := s.entries(ctx, k, "")
		if err != nil {
			return all, fmt.Errorf("rekey: %w", err)
		}
		done, err := s.each(ctx, entries, func(ctx context.Context, e entry) error { return s.rekey(ctx, e, dryRun) })
		all.Rewritten += len(done)
		joined, _ := err.(interface{ Unwrap() []error })
		if joined == nil {
			continue
		}
		for _, err := range joined.Unwrap() {
			if errors.Is(err, errCurrent) {
				all.Current++
			} else {
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return all, fmt.Errorf("rekey: %w", err)
	}
	return all, nil
}

// rekey seals one object anew, or says that it is errCurrent.
func (s *Store) rekey(ctx context.Context, e entry, dryRun bool) error {
	r, err := s.bucket.Get(ctx, e.key, 0)
	if err != nil {
		return s.gone(e, err)
	}
	defer r.Close()
	o, err := s.open(ctx, e, r)
	if err != nil {
		return err
	}
	current, err := s.keys.current(ctx, o.header)
	if err != nil {
		return err
	}
	if current {
		return errCurrent
	}
	if dryRun {
		return nil
	}
	h := o.header
	h.Commit, h.Run = "", ""
	if s.keys.kms != nil {
		var of struct { // a plan, or a record of an apply with its plan
			Commit, Run string
			Plan        struct{ Commit, Run string }
		}
		if err := o.receipt(&of); err != nil {
			return err
		}
		h.Commit, h.Run = cmp.Or(of.Commit, of.Plan.Commit), cmp.Or(of.Run, of.Plan.Run, e.id)
	}
	plain := int64(len(o.first))
	for _, p := range o.Parts {
		plain += p.Stored
	}
	c, err := s.keys.sealStream(ctx, h, plain, func(w io.Writer) error {
		if _, err := w.Write(o.first); err != nil {
			return err
		}
		if _, err := io.CopyN(w, o.stream, plain-int64(len(o.first))); err != nil {
			return o.ended(err)
		}
		// Only at its end does the old seal say that nothing is missing.
		if _, err := o.stream.ReadByte(); !errors.Is(err, io.EOF) {
			if err == nil {
				err = o.broken(Tampered, "it holds more than its receipt says")
			}
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.bucket.Replace(ctx, e.key, r.version, c); err != nil {
		return fmt.Errorf("seal %s anew: %w", e.key, err)
	}
	return nil
}

// current reports whether a new object would be sealed with the key of this one.
func (r *keyring) current(ctx context.Context, h header) (bool, error) {
	if r.kms != nil {
		return r.kms.wraps(ctx, h)
	}
	return len(h.Wrapped) == 0 && h.Key == r.sealing.id, nil
}
