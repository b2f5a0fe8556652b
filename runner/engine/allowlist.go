package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// How often allow-lists are held against what a forge has: new repositories that a pattern names are served within ten
// minutes, and at once if a webhook tells of them.
const (
	expandEvery = 10 * time.Minute
	expandAgain = 15 * time.Second // after a failure, later each time
)

// errUntried is the problem of a forge that nobody has asked for anything yet.
var errUntried = errors.New("its credentials have not been tried yet")

// expandUntil finds the repositories of a forge that its allow-list names, again and again until ctx ends. They get rows,
// and so are polled.
func (e *Engine) expandUntil(ctx context.Context, f ForgeOptions) {
	failures := 0
	for {
		err := e.expand(ctx, f)
		if ctx.Err() != nil {
			return
		}
		pause := jittered(expandEvery)
		if err != nil {
			pause = jittered(min(expandAgain<<min(failures, 10), expandEvery))
			var limited *forge.RateLimitError
			if errors.As(err, &limited) {
				pause = max(pause, limited.Until.Sub(e.store.now()))
			}
			if failures == 0 {
				e.log.Warn("the repositories of a forge cannot be listed", "forge", f.Name, "error", said(err))
			}
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// expand makes rows for the repositories of a forge that its allow-list names and that its credentials can see. It tries
// the credentials on the way, which Ready tells of.
func (e *Engine) expand(ctx context.Context, f ForgeOptions) error {
	_, err := f.Client.Self(ctx)
	if err == nil {
		var found, missing []forge.Repo
		if found, missing, err = e.listed(ctx, f); err == nil {
			err = e.meetListed(ctx, f, found, missing)
		}
	}
	var refused *forge.NotAllowedError
	e.mu.Lock()
	defer e.mu.Unlock()
	// A forge that is down for a while makes nobody unready who has worked with it.
	if err == nil || e.tried[f.Name] != nil || errors.As(err, &refused) {
		e.tried[f.Name] = err
	}
	return err
}

// meetListed makes rows for repositories that are not known.
func (e *Engine) meetListed(ctx context.Context, f ForgeOptions, found, missing []forge.Repo) error {
	return e.DB.Tx(ctx, func(tx *sql.Tx) error {
		// The poll of a missing one says what is wrong with it.
		for _, repo := range slices.Concat(found, missing) {
			if err := e.store.meetRepository(ctx, tx, f.Name, f.repoID(repo), repo); err != nil {
				return err
			}
		}
		return nil
	})
}

// listed finds what an allow-list names: patterns among what the credentials reach, and names one by one, as the forge
// spells them. Names that there is nothing for are missing.
func (e *Engine) listed(ctx context.Context, f ForgeOptions) (found, missing []forge.Repo, err error) {
	patterns := slices.ContainsFunc(f.Repos, isPattern)
	if patterns {
		all, err := f.Client.Repos(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, repo := range all {
			if f.allows(repo) {
				found = append(found, repo)
			}
		}
	}
	for _, name := range f.Repos {
		if isPattern(name) || slices.ContainsFunc(found, func(r forge.Repo) bool { return strings.EqualFold(r.String(), name) }) {
			continue
		}
		repo, err := forge.ParseRepo(name)
		if err != nil {
			return nil, nil, err
		}
		answer, err := f.Client.Repository(ctx, repo)
		switch {
		case errors.Is(err, forge.ErrNotFound):
			missing = append(missing, repo)
		case err != nil:
			return nil, nil, err
		case strings.EqualFold(answer.String(), name):
			found = append(found, answer.Repo)
		default:
			missing = append(missing, repo) // it has another name now, which the list does not have
		}
	}
	return found, missing, nil
}

// isPattern reports whether an entry of an allow-list may name more than one repository.
func isPattern(entry string) bool { return strings.ContainsAny(entry, `*?[\`) }

// refused says which forges do not take our credentials, or were not asked yet; nil if all of them do.
func (e *Engine) refused() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, f := range e.Forges {
		if err := e.tried[f.Name]; err != nil {
			errs = append(errs, fmt.Errorf("forge %s: %w", f.Name, err))
		}
	}
	return errors.Join(errs...)
}
