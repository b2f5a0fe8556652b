package engine

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// Nobody has read what no comment has shown. Since when one shows how a run ended is in the run's row, by the forge's clock,
// and each comment says in its mark which runs it shows: a process may die after it has written a comment and before it has
// written the row, and the next one finds the comment.

// showsOf says in a word which runs of an operation a comment shows: those that have ended. It is the end of the
// operation's id and a bit for each run, in their order.
func showsOf(operation string, runs []Run, without func(Run) bool) string {
	bits := make([]byte, (len(runs)+7)/8)
	for i, r := range runs {
		if r.Status.Ended() && r.Status != Superseded && (without == nil || !without(r)) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return operationKey(hex.EncodeToString(bits), operation)
}

// shownRuns are the runs, of all runs of an operation in their order, that a comment shows whose mark says so.
func shownRuns(shows, operation string, runs []Run) []Run {
	word, id, ok := strings.Cut(shows, "-")
	if _, tail, _ := strings.Cut(operationKey("", operation), "-"); !ok || id != tail {
		return nil
	}
	bits, err := hex.DecodeString(word)
	if err != nil {
		return nil
	}
	var shown []Run
	for i, r := range runs {
		if i/8 < len(bits) && bits[i/8]&(1<<(i%8)) != 0 && r.Status.Ended() && r.Status != Superseded {
			shown = append(shown, r)
		}
	}
	return shown
}

// edition is what a comment of ours shows, and since when it reads so.
type edition struct {
	shows string
	at    time.Time
}

// editions reads the comments of ours that are there with all of their pages.
func editions(comments []forge.Comment) []edition {
	type id struct{ key, shows string }
	type state struct {
		pages map[int]bool
		want  int
		at    time.Time
	}
	found := map[id]*state{}
	for _, c := range comments {
		m, ok := prcomment.ParseMark(c.Body)
		if !ok || !c.Ours || m.Shows == "" {
			continue
		}
		s := found[id{m.Key, m.Shows}]
		if s == nil {
			s = &state{pages: map[int]bool{}}
			found[id{m.Key, m.Shows}] = s
		}
		s.pages[m.Page], s.want = true, max(s.want, m.Pages)
		if c.UpdatedAt.After(s.at) {
			s.at = c.UpdatedAt
		}
	}
	var all []edition
	for i, s := range found {
		if len(s.pages) >= s.want {
			all = append(all, edition{i.shows, s.at})
		}
	}
	return all
}

// unnoted reports whether a run has ended of which no row says since when it is shown.
func unnoted(r Run) bool {
	return r.Status.Ended() && r.Status != Superseded && r.ShownAt.IsZero()
}

// findShown looks in the comments on a change for those runs of operations of which no row says since when they are
// shown, and writes it into runs. Comments that nobody can read show nothing.
func (h *errand) findShown(ctx context.Context, change int, runs map[string][]Run) error {
	some := false
	for _, all := range runs {
		some = some || slices.ContainsFunc(all, unnoted)
	}
	if !some {
		return nil
	}
	comments, err := h.forge.Client.Comments(ctx, h.repo.Repo, change)
	var denied *forge.NotAllowedError
	switch {
	case errors.Is(err, forge.ErrNotFound), errors.As(err, &denied):
		h.log.Warn("the comments on a change cannot be read: what no row says was shown counts as not shown", "repository", h.repo.ID, "change", change, "error", err)
		return nil
	case err != nil:
		return err
	}
	for _, e := range editions(comments) {
		for operation, all := range runs {
			shown := shownRuns(e.shows, operation, all)
			for i, r := range all {
				if unnoted(r) && slices.ContainsFunc(shown, func(s Run) bool { return s.ID == r.ID }) {
					all[i].ShownAt = e.at
				}
			}
		}
	}
	return nil
}

// noteShown writes down since when runs are shown of which no row says it.
func (t *thread) noteShown(ctx context.Context, shown []Run, at time.Time) error {
	var ids []string
	for _, r := range shown {
		if unnoted(r) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 || at.IsZero() {
		return nil
	}
	return t.e.persist(ctx, func(tx *sql.Tx) error {
		return t.e.store.noteShown(context.WithoutCancel(ctx), tx, ids, at)
	})
}

// noteSaid writes down since when the runs are shown that a comment shows which was just written.
func (t *thread) noteSaid(ctx context.Context, key, shows string, o accountedOp) error {
	var at time.Time
	for _, where := range t.beyond(key, 0) {
		if row := t.rows[where]; row.WrittenAt.After(at) {
			at = row.WrittenAt
		}
	}
	return t.noteShown(ctx, shownRuns(shows, o.ID, o.runs), at)
}

// noteFound lists the comments and writes down what they show: an attempt at the report has failed, or died, and what it
// wrote may be about to be written over.
func (t *thread) noteFound(ctx context.Context) error {
	if err := t.list(ctx); err != nil {
		return err
	}
	comments := make([]forge.Comment, 0, len(t.byID))
	for _, c := range t.byID {
		comments = append(comments, c)
	}
	found := editions(comments)
	if len(found) == 0 {
		return nil
	}
	runs := map[string][]Run{}
	err := t.e.DB.Read(ctx, func(tx *sql.Tx) error {
		operations, err := t.e.store.operations(ctx, tx, t.id, t.change, "")
		for _, o := range operations {
			if err == nil && slices.ContainsFunc(found, func(e edition) bool { return strings.HasSuffix(e.shows, operationKey("", o.ID)) }) {
				runs[o.ID], err = t.e.store.runsOf(ctx, tx, o.ID)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read what comments on change %d of %s show: %w", t.change, t.id, err)
	}
	for _, e := range found {
		for operation, all := range runs {
			if err := t.noteShown(ctx, shownRuns(e.shows, operation, all), e.at); err != nil {
				return err
			}
		}
	}
	return nil
}
