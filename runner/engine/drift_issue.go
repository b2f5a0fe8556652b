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
	"github.com/plumbline-dev/plumbline/prcomment"
)

// An issue that tells of drift is a subject of reports like a change is: whoever learns something new of a workspace wants
// its issue, and a report brings the issue to what the rows say. It is opened at the first finding that a person should know
// of, edited when there is news, closed when nothing stands any more, and opened again when something does.
//
// Who closes it by hand has seen what it says: it stays closed until something is found that was not there then.

// issuePrefix marks the subjects of issues. No operation's id begins so.
const issuePrefix = "issue "

// Prefixes of an issue's key: the rest is the name of its workspace, or what a group has in common.
const (
	workspaceIssue = "workspace:"
	groupIssue     = "group:"
)

// betweenLooks is how far apart two edits of an issue are that tell only when things were last seen.
const betweenLooks = time.Hour

// issueLabel is on every issue that tells of drift.
const issueLabel = "drift"

// issueSubject is whom reports of an issue are for.
func issueSubject(repo RepoID, key string) Subject {
	return Subject{Repository: repo, Operation: issuePrefix + key}
}

// issue is the key of the issue that a subject is, if it is one.
func (s Subject) issue() (key string, ok bool) { return strings.CutPrefix(s.Operation, issuePrefix) }

// workspace is whose issue it is, and false for the issue of a group.
func (r DriftIssueRow) workspace() (string, bool) { return strings.CutPrefix(r.Key, workspaceIssue) }

// wantIssue asks for the issue of a workspace to be brought to what is known of its drift.
func (e *Engine) wantIssue(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string) error {
	return e.wantReport(ctx, tx, issueSubject(repo, workspaceIssue+workspace), false)
}

// tellIssue brings an issue to what the rows say.
func (e *Engine) tellIssue(ctx context.Context, row ReportRow, key string) error {
	s, err := e.readIssue(ctx, row.Repository, key)
	if err != nil || s == nil {
		return err
	}
	f, ok := e.forge(s.repository.Forge)
	switch {
	case !ok:
		return fmt.Errorf("report on %s: %w", row.Subject, errNotServed)
	case s.repository.Archived:
		return fmt.Errorf("report on %s: %w", row.Subject, errArchived)
	}
	s.client, s.who = f.Client, row.Subject
	if s.wanted && len(s.issue.Members) == 0 {
		var others []string
		if s.logins, others, err = e.owners(ctx, s.repository, s.workspace, s.tip, s.addresses); err != nil {
			return fmt.Errorf("find who owns %s: %w", row.Subject, err)
		}
		if len(others) > 0 {
			s.issue.Notes = append(s.issue.Notes, teams(others))
		}
	}
	if err := s.write(ctx); err != nil {
		return err
	}
	if len(s.along) == 0 {
		return nil
	}
	return e.persist(ctx, func(tx *sql.Tx) error {
		for _, key := range s.along {
			if err := e.wantReport(context.WithoutCancel(ctx), tx, issueSubject(row.Repository, key), false); err != nil {
				return err
			}
		}
		return nil
	})
}

// story is what one issue is to say, and what it says.
type story struct {
	*Engine
	client     Forge
	who        Subject
	repository Repository
	workspace  WorkspaceRow // zero for a group
	tip        string       // of the default branch
	row        DriftIssueRow
	known      bool // there is a row
	issue      prcomment.Issue
	// wanted says that something stands that a person should know of, and newest is when the newest of it came.
	wanted bool
	newest time.Time
	// untold says that something has happened that nobody has been told of, though nothing stands: a correction, or noise.
	untold    bool
	addresses []string // of what stands
	logins    []string // of its owners
	along     []string // keys of issues that are touched by this one
}

// write makes the forge agree. Each step is written down when it is done, and each may be done again.
func (s *story) write(ctx context.Context) error {
	now, body := s.Now(), prcomment.RenderIssue(s.issue, forge.MaxComment)
	news, written := prcomment.IssueDigest(s.issue), digest(body)
	if !s.known {
		if !s.wanted && !s.untold {
			return nil
		}
		if err := s.open(ctx, body); err != nil {
			return err
		}
	}
	settled := s.row.Open == s.wanted || s.row.Open && !s.row.AcknowledgedAt.IsZero()
	fresh := s.row.Digest != news
	stale := s.row.Written != written && now.Sub(s.row.WrittenAt) >= betweenLooks
	if !fresh && !stale && settled {
		return nil
	}
	there, err := s.client.Issue(ctx, s.repository.Repo, s.row.Number)
	if errors.Is(err, forge.ErrNotFound) {
		// Somebody has deleted it, or moved it away.
		if err := s.persist(ctx, func(tx *sql.Tx) error { return s.store.dropDriftIssue(context.WithoutCancel(ctx), tx, s.row) }); err != nil {
			return err
		}
		s.row, s.known = DriftIssueRow{Repository: s.row.Repository, Key: s.row.Key}, false
		return s.write(ctx)
	}
	if err != nil {
		return err
	}
	s.notice(there)
	if there.Body != body && (fresh || stale) {
		there.Title, there.Body = prcomment.IssueTitle(s.issue), body
		if !slices.Contains(there.Labels, issueLabel) {
			there.Labels = append(there.Labels, issueLabel)
		}
		if _, err := s.client.UpdateIssue(ctx, s.repository.Repo, there); err != nil {
			return err
		}
	}
	if fresh || stale {
		s.row.Digest, s.row.Written, s.row.WrittenAt = news, written, now
	}
	if err := s.save(ctx); err != nil {
		return err
	}
	return s.turn(ctx, there.Open)
}

// notice learns what people have done to the issue meanwhile.
func (s *story) notice(there forge.Issue) {
	switch {
	case s.row.Open && !there.Open && s.row.AcknowledgedAt.IsZero():
		// What it said when it was last written was seen by whoever closed it, whatever the forge's clock says.
		s.row.AcknowledgedAt = s.row.WrittenAt
		if there.ClosedAt.After(s.row.WrittenAt) {
			s.row.AcknowledgedAt = there.ClosedAt
		}
	case there.Open && s.wanted:
		s.row.AcknowledgedAt = time.Time{}
		s.row.Open = true
	}
}

// turn opens or closes the issue, with a comment that says why: an edit is read by nobody.
func (s *story) turn(ctx context.Context, open bool) error {
	acknowledged := !s.row.AcknowledgedAt.IsZero()
	switch {
	case s.wanted && open, !s.wanted && !s.row.Open && !s.untold:
		return nil // somebody may have opened it for a purpose of their own
	case s.wanted && acknowledged && !s.newest.After(s.row.AcknowledgedAt):
		return nil // seen, and closed by hand
	case s.wanted:
		if err := s.say(ctx, "returned", prcomment.IssueReturned); err != nil {
			return err
		}
		if err := s.client.ReopenIssue(ctx, s.repository.Repo, s.row.Number); err != nil {
			return err
		}
		s.row.Open, s.row.AcknowledgedAt = true, time.Time{}
		s.row.Turns++
		if err := s.save(ctx); err != nil {
			return err
		}
		return s.assign(ctx)
	}
	if err := s.say(ctx, "closed", prcomment.IssueClosing); err != nil {
		return err
	}
	if open {
		if err := s.client.CloseIssue(ctx, s.repository.Repo, s.row.Number); err != nil {
			return err
		}
	}
	s.row.Open, s.row.AcknowledgedAt, s.row.ClosedAt = false, time.Time{}, s.Now()
	s.row.Turns++
	return s.save(ctx)
}

// say comments on the issue, once for each turn.
func (s *story) say(ctx context.Context, what string, write func(prcomment.Issue, string) string) error {
	var rows []CommentRow
	err := s.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		rows, err = s.store.comments(ctx, tx, s.repository.ID, s.row.Number)
		return err
	})
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s-%d", what, s.row.Turns+1)
	t := s.newThread(s.client, s.repository, s.row.Number, rows, s.mine)
	return t.put(ctx, place{key, 1}, write(s.issue, key), false)
}

// mine is an error if the report was taken over by another process: this one may have been taken for dead.
func (s *story) mine(ctx context.Context) error {
	var ours bool
	err := s.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		ours, err = s.store.ownsReport(ctx, tx, s.who, s.process)
		return err
	})
	if err == nil && !ours {
		err = fmt.Errorf("report on %s: %w", s.who, errTaken)
	}
	return err
}

// open opens the issue, unless it turns out that it is there: an issue is opened before its row is written, and a process
// may die in between. One that carries our mark, and was opened with our credentials, is taken over.
func (s *story) open(ctx context.Context, body string) error {
	own, err := s.client.OwnIssues(ctx, s.repository.Repo)
	if err != nil {
		return err
	}
	for _, there := range slices.Backward(own) { // the oldest: it is the one that people know
		if mark, ok := prcomment.ParseMark(there.Body); ok && mark.Kind == prcomment.KindDrift && mark.Key == s.issue.Key {
			s.row.Number, s.row.URL, s.row.OpenedAt, s.row.Open = there.Number, there.URL, s.Now(), there.Open
			s.known = true
			return s.save(ctx)
		}
	}
	if err := s.mine(ctx); err != nil {
		return err
	}
	made, err := s.client.OpenIssue(ctx, s.repository.Repo, forge.Issue{Title: prcomment.IssueTitle(s.issue), Body: body, Labels: []string{issueLabel}})
	if err != nil {
		return err
	}
	s.row.Number, s.row.URL, s.row.OpenedAt, s.row.Open = made.Number, made.URL, s.Now(), true
	s.row.Digest, s.row.Written, s.row.WrittenAt = prcomment.IssueDigest(s.issue), digest(body), s.Now()
	s.known = true
	if err := s.save(ctx); err != nil {
		return err
	}
	return s.assign(ctx)
}

// assign gives the issue to its owners, beside whom people have given it to. It is done when the issue is opened, and opened
// again: who is taken off meanwhile is not put back. A forge takes not everybody; that is no reason to tell nobody.
func (s *story) assign(ctx context.Context) error {
	if len(s.logins) == 0 {
		return nil
	}
	there, err := s.client.Issue(ctx, s.repository.Repo, s.row.Number)
	if err != nil {
		return err
	}
	for _, login := range s.logins {
		if slices.Contains(there.Assignees, login) {
			continue
		}
		more := there
		more.Assignees = append(slices.Clone(there.Assignees), login)
		now, err := s.client.UpdateIssue(ctx, s.repository.Repo, more)
		if limited := new(forge.RateLimitError); errors.As(err, &limited) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			s.log.Info("an owner cannot be assigned", "issue", s.row.Number, "repository", s.repository.ID, "owner", login, "error", err)
			continue
		}
		there = now
	}
	return nil
}

func (s *story) save(ctx context.Context) error {
	return s.persist(ctx, func(tx *sql.Tx) error { return s.store.putDriftIssue(context.WithoutCancel(ctx), tx, s.row) })
}
