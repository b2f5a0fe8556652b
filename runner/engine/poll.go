package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// Times of the poller.
const (
	// firstLook is how far back the first look at a repository goes, to learn where the forge's clock stands. It is a day
	// because that is more than two clocks ever differ.
	firstLook = 24 * time.Hour
	// restPoll is when a repository is looked at again that is not polled, or that cannot be.
	restPoll = 10 * time.Minute
	// longestFailure is how far apart polls are that fail, unless the forge asks for more.
	longestFailure = 10 * time.Minute
	// insistAfter is when an event that was dealt with is told again, because what it told of has not changed.
	insistAfter = 10 * time.Minute
	// hiddenFailures is how many polls in a row may fail before the repository says so.
	hiddenFailures = 3
)

// sighting is what a forge says of a repository at one look.
type sighting struct {
	first    bool // nobody has looked before
	answer   forge.Repository
	changes  []forge.Change // that were updated since the last look; at the first all that are open
	past     []forge.Change // at the first look: what was over shortly before it
	comments []forge.Comment
	tips     map[string]string // by branch: of the default branch and of those that open changes go to

	changesSince, commentsSince time.Time // where the next look begins
}

// workPoll asks a forge what happened in a repository, and writes down events for what the rows do not know. How far it
// has seen is written in the same transaction, so nothing is lost however long a forge was out of reach.
//
// A forge that is not polled is asked once all the same: changes that are open already are planned, and branches are
// remembered as they are, so that the next merge is told from what was there before.
func (e *Engine) workPoll(ctx context.Context, id RepoID) error {
	var row Repository
	claimed := false
	err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		row, claimed, err = e.store.claimPoll(ctx, tx, id, e.process)
		return err
	})
	if err != nil || !claimed {
		return err
	}
	f, served := e.forge(row.Forge)
	now := e.store.now()
	if !served || !f.allows(row.Repo) || f.Poll <= 0 && !row.PolledAt.IsZero() {
		row.PollAt = now.Add(restPoll)
		return e.endPoll(ctx, row)
	}
	seen, err := e.lookAt(ctx, f, row, now)
	if ctx.Err() != nil {
		row.PollAt = now // the server stops: whoever comes next looks at once
		return e.endPoll(ctx, row)
	}
	if err != nil {
		return e.pollFailed(ctx, f, row, now, err)
	}
	return e.tellNews(ctx, f, row, seen, now)
}

// lookAt asks the forge. The tip of the default branch comes first: what is merged while this looks is then after it.
func (e *Engine) lookAt(ctx context.Context, f ForgeOptions, row Repository, now time.Time) (sighting, error) {
	s := sighting{first: row.PolledAt.IsZero(), tips: map[string]string{}}
	var err error
	if s.answer, err = f.Client.Repository(ctx, row.Repo); err != nil {
		return s, err
	}
	if !strings.EqualFold(s.answer.String(), row.Repo.String()) || s.answer.Archived {
		return s, nil
	}
	if err := s.lookAtBranch(ctx, f, row.Repo, s.answer.DefaultBranch); err != nil {
		return s, err
	}
	s.changesSince, s.commentsSince = row.ChangesSince, row.CommentsSince
	if s.first {
		s.changesSince, s.commentsSince = now.Add(-firstLook), now.Add(-firstLook)
	}
	recent, err := f.Client.Changes(ctx, row.Repo, forge.ChangesOptions{Since: s.changesSince})
	if err != nil {
		return s, err
	}
	s.changes = recent
	if s.first {
		if s.changes, err = f.Client.Changes(ctx, row.Repo, forge.ChangesOptions{OpenOnly: true}); err != nil {
			return s, err
		}
		s.past = slices.DeleteFunc(slices.Clone(recent), func(c forge.Change) bool { return c.State == forge.Open })
	}
	if s.comments, err = f.Client.CommentsSince(ctx, row.Repo, forge.CommentsOptions{Since: s.commentsSince}); err != nil {
		return s, err
	}
	for _, c := range recent {
		s.changesSince = later(s.changesSince, c.UpdatedAt)
	}
	for _, c := range s.comments {
		s.commentsSince = later(s.commentsSince, c.UpdatedAt)
	}
	bases := map[string]bool{}
	for _, c := range s.changes {
		bases[c.Base.Branch] = c.State == forge.Open || bases[c.Base.Branch]
	}
	err = e.DB.Read(ctx, func(tx *sql.Tx) error {
		open, err := e.store.openChanges(ctx, tx, row.ID, "")
		for _, c := range open {
			bases[c.Base.Branch] = true
		}
		return err
	})
	if err != nil {
		return s, err
	}
	for _, branch := range slices.Sorted(maps.Keys(bases)) {
		if branch == s.answer.DefaultBranch || !bases[branch] || !f.servesBranch(branch, s.answer.DefaultBranch) {
			continue
		}
		if err := s.lookAtBranch(ctx, f, row.Repo, branch); err != nil {
			return s, err
		}
	}
	return s, nil
}

// lookAtBranch reads a tip. A branch that is gone, or has no commit yet, has none.
func (s *sighting) lookAtBranch(ctx context.Context, f ForgeOptions, repo forge.Repo, branch string) error {
	tip, err := f.Client.Branch(ctx, repo, branch)
	if errors.Is(err, forge.ErrNotFound) {
		return nil
	}
	if err == nil {
		s.tips[branch] = tip
	}
	return err
}

// tellNews writes events for what the rows do not know, and how far the look has seen.
func (e *Engine) tellNews(ctx context.Context, f ForgeOptions, row Repository, s sighting, now time.Time) error {
	ctx = context.WithoutCancel(ctx) // what was found out is written down, also while the server stops
	row.PollFailures, row.Problem = 0, ""
	row.PollAt = now.Add(jittered(f.Poll))
	if problem := unservable(row.Repo, s.answer); problem != "" {
		row.Archived, row.Problem, row.PollAt = s.answer.Archived, problem, now.Add(restPoll)
		return e.persist(ctx, func(tx *sql.Tx) error {
			if err := e.store.endPoll(ctx, tx, row, e.process); err != nil {
				return err
			}
			return e.store.putRepository(ctx, tx, row)
		})
	}
	row.DefaultBranch, row.CloneURL, row.Archived = s.answer.DefaultBranch, s.answer.CloneURL, false
	row.ChangesSince, row.CommentsSince, row.PolledAt = s.changesSince, s.commentsSince, now
	if f.Poll <= 0 {
		row.PollAt = now.Add(restPoll)
	}
	var told []forge.Event
	err := e.persist(ctx, func(tx *sql.Tx) error {
		told = nil
		if err := e.store.endPoll(ctx, tx, row, e.process); err != nil {
			return err
		}
		if err := e.store.putRepository(ctx, tx, row); err != nil {
			return err
		}
		if _, err := e.store.hold(ctx, tx, row.ID); err != nil {
			return err
		}
		for _, c := range s.past {
			// The next look sees some of them again, and must not take them for new.
			if _, err := e.store.putChange(ctx, tx, row.ID, c); err != nil {
				return err
			}
		}
		known := map[int]ChangeRow{}
		for _, c := range s.changes {
			was, ok, err := e.store.change(ctx, tx, row.ID, c.Number)
			if err != nil {
				return err
			}
			if ok {
				known[c.Number] = was
			}
		}
		branches, err := e.store.branches(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		for branch, tip := range s.tips {
			if _, ok := branches[branch]; !ok {
				if _, err := e.store.moveBranch(ctx, tx, row.ID, branch, "", tip); err != nil {
					return err
				}
			}
		}
		for _, event := range differences(s, row.Repo, known, branches) {
			r, err := e.insist(ctx, tx, f, event, now)
			if err != nil {
				return err
			}
			if r.Accepted > 0 {
				told = append(told, event)
			}
		}
		for _, event := range commentEvents(s, row.Repo) {
			if s.first {
				err = e.passOver(ctx, tx, f, row.ID, event)
			} else {
				var r Receipt
				if r, err = e.accept(ctx, tx, f, []forge.Event{event}, FromPoll); r.Accepted > 0 {
					told = append(told, event)
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.countEvents(f, told, FromPoll)
	if len(told) > 0 {
		e.log.Info("poll found events", "repository", row.ID, "events", len(told))
	}
	return nil
}

// differences are the events that lead from what the rows know to what the forge says, in the order in which they happened.
func differences(s sighting, repo forge.Repo, known map[int]ChangeRow, branches map[string]string) []forge.Event {
	var events []forge.Event
	for _, c := range s.changes {
		was, ok := known[c.Number]
		if kind, differs := difference(was.Change, ok, c, s.first); differs {
			before := ""
			if was.Head.Commit != c.Head.Commit {
				before = was.Head.Commit
			}
			events = append(events, forge.ChangeEvent(kind, c, before, ""))
		}
	}
	slices.SortStableFunc(events, func(a, b forge.Event) int { return a.At.Compare(b.At) })
	for _, branch := range slices.Sorted(maps.Keys(s.tips)) {
		// The first sight of the default branch is told too: its workspaces are not known yet.
		if seen, ok := branches[branch]; ok && seen != s.tips[branch] || !ok && branch == s.answer.DefaultBranch {
			events = append(events, forge.PushEvent(repo, branch, seen, s.tips[branch], "", time.Time{}))
		}
	}
	return events
}

// difference says what happened to a change between the row and the forge's answer, if something did.
func difference(was forge.Change, known bool, is forge.Change, first bool) (forge.Kind, bool) {
	switch {
	case known && is.UpdatedAt.Before(was.UpdatedAt):
		return "", false // the row has been told of something newer meanwhile
	case !known && is.State == forge.Open:
		return forge.ChangeOpened, true
	case !known:
		// Merged between two looks, it is on its branch and has to be applied. Before the first look, or closed, it is over.
		return forge.ChangeMerged, is.State == forge.Merged && !first
	case was.State != is.State && is.State == forge.Merged:
		return forge.ChangeMerged, true
	case was.State != is.State && is.State == forge.Closed:
		return forge.ChangeClosed, was.State == forge.Open
	case was.State != is.State:
		return forge.ChangeOpened, true
	case is.State != forge.Open:
		return "", false
	}
	moved := was.Head.Commit != is.Head.Commit || was.Base.Branch != is.Base.Branch || was.Draft != is.Draft
	return forge.ChangePushed, moved
}

// commentEvents are the events of comments, the oldest first.
func commentEvents(s sighting, repo forge.Repo) []forge.Event {
	var events []forge.Event
	for _, c := range s.comments {
		events = append(events, forge.CommentEvent(repo, c.Change, c, c.Author))
	}
	slices.SortStableFunc(events, func(a, b forge.Event) int { return a.At.Compare(b.At) })
	return events
}

// insist writes an event down. If it was dealt with a while ago and what it tells of is still so, it is written again:
// either dealing with it failed, or it happened twice with the same key, as when a branch is pushed back and forth.
func (e *Engine) insist(ctx context.Context, tx *sql.Tx, f ForgeOptions, event forge.Event, now time.Time) (Receipt, error) {
	r, err := e.accept(ctx, tx, f, []forge.Event{event}, FromPoll)
	if err != nil || r.Known == 0 {
		return r, err
	}
	recent, err := e.store.eventLately(ctx, tx, f.Name, event.Key, now.Add(-insistAfter))
	if err != nil || recent {
		return r, err
	}
	event.Key += " still at " + now.UTC().Format(time.RFC3339)
	return e.accept(ctx, tx, f, []forge.Event{event}, FromPoll)
}

// passOver notes an event as dealt with. Commands from before the first look were meant for somebody else.
func (e *Engine) passOver(ctx context.Context, tx *sql.Tx, f ForgeOptions, id RepoID, event forge.Event) error {
	event, wanted := essence(event)
	if !wanted {
		return nil
	}
	key, added, err := e.store.addEvent(ctx, tx, f.Name, id, event, FromPoll)
	if err != nil || !added {
		return err
	}
	return e.store.dropEvent(ctx, tx, key, "from before this repository was served")
}

// pollFailed says why a repository could not be looked at, and when to try again.
func (e *Engine) pollFailed(ctx context.Context, f ForgeOptions, row Repository, now time.Time, problem error) error {
	var limited *forge.RateLimitError
	var refused *forge.NotAllowedError
	row.PollFailures++
	switch {
	case errors.As(problem, &limited):
		// That is no failure, and says nothing of the repository.
		row.PollFailures--
		row.PollAt = limited.Until
		if latest := now.Add(longestPoll); row.PollAt.After(latest) {
			row.PollAt = latest
		}
		row.PollAt = later(row.PollAt, now).Add(jittered(time.Second))
		e.log.Info("polling waits for the forge's rate limit", "repository", row.ID, "until", row.PollAt)
	case errors.Is(problem, forge.ErrNotFound):
		row.Problem = "It was not found with these credentials: it was deleted or moved, or access to it was taken away."
		row.PollAt = now.Add(restPoll)
	case errors.As(problem, &refused):
		row.Problem, row.PollAt = said(problem), now.Add(restPoll)
	default:
		wait := max(f.Poll, time.Second) << min(row.PollFailures-1, 10)
		row.PollAt = now.Add(jittered(min(wait, max(longestFailure, f.Poll))))
		if row.PollFailures >= hiddenFailures {
			row.Problem = said(problem)
		}
	}
	if row.PollFailures == 1 || row.PollFailures == hiddenFailures {
		e.log.Warn("a repository cannot be polled", "repository", row.ID, "failures", row.PollFailures, "error", said(problem))
	}
	return e.endPoll(ctx, row)
}

func (e *Engine) endPoll(ctx context.Context, row Repository) error {
	ctx = context.WithoutCancel(ctx)
	return e.persist(ctx, func(tx *sql.Tx) error { return e.store.endPoll(ctx, tx, row, e.process) })
}

// unservable says why nothing can be done with a repository, in a sentence; "" if something can.
func unservable(repo forge.Repo, answer forge.Repository) string {
	switch {
	case !strings.EqualFold(answer.String(), repo.String()):
		return fmt.Sprintf("It is called %s now.", answer.Repo)
	case answer.Archived:
		return "It is archived: nothing can be told there."
	}
	return ""
}

// jittered is a duration give or take a tenth, so that many repositories do not stay in step.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
