package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

const repositoryColumns = "id, forge, owner_name, name, default_branch, clone_url, archived, problem, changes_since, comments_since, polled_at, poll_at, poll_failures"

func scanRepository(row scanner) (Repository, error) {
	var r Repository
	var changes, comments, polled, poll int64
	err := row.Scan(&r.ID, &r.Forge, &r.Repo.Owner, &r.Repo.Name, &r.DefaultBranch, &r.CloneURL, &r.Archived, &r.Problem,
		&changes, &comments, &polled, &poll, &r.PollFailures)
	r.ChangesSince, r.CommentsSince, r.PolledAt, r.PollAt = moment(changes), moment(comments), moment(polled), moment(poll)
	return r, err
}

// putRepository writes what a forge says of a repository. Of one that is known, the poller's columns stay as they are.
func (s *store) putRepository(ctx context.Context, tx *sql.Tx, r Repository) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO repository (`+repositoryColumns+`, poll_owner)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '')
		ON CONFLICT (id) DO UPDATE SET default_branch = excluded.default_branch, clone_url = excluded.clone_url,
		archived = excluded.archived, problem = excluded.problem`,
		string(r.ID), r.Forge, r.Repo.Owner, r.Repo.Name, r.DefaultBranch, r.CloneURL, bit(r.Archived), r.Problem,
		millis(r.ChangesSince), millis(r.CommentsSince), millis(r.PolledAt), millis(r.PollAt), r.PollFailures)
	if err != nil {
		return fmt.Errorf("keep the repository %s: %w", r.ID, err)
	}
	return nil
}

// meetRepository makes a row for a repository that is not known yet, so that events may point to it.
func (s *store) meetRepository(ctx context.Context, tx *sql.Tx, forgeName string, id RepoID, repo forge.Repo) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO repository (`+repositoryColumns+`, poll_owner)
		VALUES ($1, $2, $3, $4, '', '', 0, '', 0, 0, 0, 0, 0, '') ON CONFLICT (id) DO NOTHING`,
		string(id), forgeName, repo.Owner, repo.Name)
	if err != nil {
		return fmt.Errorf("keep the repository %s: %w", id, err)
	}
	return nil
}

// repository reads a repository.
func (s *store) repository(ctx context.Context, tx *sql.Tx, id RepoID) (Repository, bool, error) {
	r, ok, err := first(ctx, tx, scanRepository, "SELECT "+repositoryColumns+" FROM repository WHERE id = $1", string(id))
	if err != nil {
		return Repository{}, false, fmt.Errorf("read the repository %s: %w", id, err)
	}
	return r, ok, nil
}

// repositories reads the repositories of a forge, or of all with "", by their ids.
func (s *store) repositories(ctx context.Context, tx *sql.Tx, forgeName string) ([]Repository, error) {
	all, err := list(ctx, tx, scanRepository, "SELECT "+repositoryColumns+" FROM repository WHERE forge = $1 OR $1 = '' ORDER BY id", forgeName)
	if err != nil {
		return nil, fmt.Errorf("read the repositories: %w", err)
	}
	return all, nil
}

// claimPoll takes a repository whose poll is due; nobody else polls it until endPoll.
func (s *store) claimPoll(ctx context.Context, tx *sql.Tx, id RepoID, owner string) (Repository, bool, error) {
	ok, err := s.change1(ctx, tx, "UPDATE repository SET poll_owner = $1 WHERE id = $2 AND poll_owner = '' AND (poll_at <= $3 OR poll_at > $4 OR polled_at > $5)",
		owner, string(id), millis(s.now()), s.beyond(longestPoll), s.beyond(0))
	if err != nil {
		return Repository{}, false, fmt.Errorf("claim the poll of %s: %w", id, err)
	}
	if !ok {
		return Repository{}, false, nil
	}
	return s.repository(ctx, tx, id)
}

// duePolls reads the repositories whose polls wait for nobody but a worker, those first that have waited longest.
func (s *store) duePolls(ctx context.Context, tx *sql.Tx, limit int) ([]RepoID, error) {
	ids, err := list(ctx, tx, scanText, `SELECT id FROM repository WHERE poll_owner = '' AND (poll_at <= $1 OR poll_at > $2 OR polled_at > $4)
		ORDER BY poll_at, id LIMIT $3`, millis(s.now()), s.beyond(longestPoll), limit, s.beyond(0))
	if err != nil {
		return nil, fmt.Errorf("look for repositories to poll: %w", err)
	}
	due := make([]RepoID, len(ids))
	for i, id := range ids {
		due[i] = RepoID(id)
	}
	return due, nil
}

// endPoll writes how far a poll has seen (ChangesSince, CommentsSince, PolledAt, PollFailures, Problem), when the next
// one is due (PollAt), and gives the repository back.
func (s *store) endPoll(ctx context.Context, tx *sql.Tx, r Repository, owner string) error {
	if now := s.now(); r.PolledAt.After(now) {
		r.PolledAt = now // the clock was set back since
	}
	ok, err := s.change1(ctx, tx, `UPDATE repository SET poll_owner = '', changes_since = $1, comments_since = $2, polled_at = $3,
		poll_at = $4, poll_failures = $5, problem = $6 WHERE id = $7 AND poll_owner = $8`,
		millis(r.ChangesSince), millis(r.CommentsSince), millis(r.PolledAt), millis(r.PollAt), r.PollFailures, r.Problem, string(r.ID), owner)
	if err == nil && !ok {
		err = errTaken
	}
	if err != nil {
		return fmt.Errorf("end the poll of %s: %w", r.ID, err)
	}
	return nil
}

// branch reads how far a branch has been handled; !ok says that it was never seen.
func (s *store) branch(ctx context.Context, tx *sql.Tx, repo RepoID, name string) (seen string, ok bool, err error) {
	seen, ok, err = first(ctx, tx, scanText, "SELECT seen FROM branch WHERE repository = $1 AND name = $2", string(repo), name)
	if err != nil {
		return "", false, fmt.Errorf("read the branch %s of %s: %w", name, repo, err)
	}
	return seen, ok, nil
}

// branches reads how far each known branch of a repository has been handled.
func (s *store) branches(ctx context.Context, tx *sql.Tx, repo RepoID) (map[string]string, error) {
	rows, err := list(ctx, tx, func(row scanner) (r [2]string, err error) {
		err = row.Scan(&r[0], &r[1])
		return r, err
	}, "SELECT name, seen FROM branch WHERE repository = $1", string(repo))
	if err != nil {
		return nil, fmt.Errorf("read the branches of %s: %w", repo, err)
	}
	seen := map[string]string{}
	for _, r := range rows {
		seen[r[0]] = r[1]
	}
	return seen, nil
}

// moveBranch notes that a branch has been handled from one commit up to another. It reports false, and changes nothing,
// if the branch is no longer at from; "" says that it was never seen.
func (s *store) moveBranch(ctx context.Context, tx *sql.Tx, repo RepoID, name, from, to string) (moved bool, err error) {
	if from == "" {
		moved, err = s.change1(ctx, tx, "INSERT INTO branch (repository, name, seen, moved_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", string(repo), name, to, millis(s.now()))
	} else {
		moved, err = s.change1(ctx, tx, "UPDATE branch SET seen = $1, moved_at = $2 WHERE repository = $3 AND name = $4 AND seen = $5", to, millis(s.now()), string(repo), name, from)
	}
	if err != nil {
		return false, fmt.Errorf("move the branch %s of %s: %w", name, repo, err)
	}
	return moved, nil
}

const workspaceColumns = "repository, name, dir, present, settings, applied_commit, applied_at, last_status"

func scanWorkspace(row scanner) (WorkspaceRow, error) {
	var w WorkspaceRow
	var applied int64
	err := row.Scan(&w.Repository, &w.Name, &w.Dir, &w.Present, &w.Settings, &w.AppliedCommit, &applied, &w.LastStatus)
	w.AppliedAt = moment(applied)
	return w, err
}

// workspaces reads the workspaces of a repository, by name.
func (s *store) workspaces(ctx context.Context, tx *sql.Tx, repo RepoID) ([]WorkspaceRow, error) {
	all, err := list(ctx, tx, scanWorkspace, "SELECT "+workspaceColumns+" FROM workspace WHERE repository = $1 ORDER BY name", string(repo))
	if err != nil {
		return nil, fmt.Errorf("read the workspaces of %s: %w", repo, err)
	}
	return all, nil
}

// putWorkspaces writes which workspaces the default branch of a repository has: Name, Dir and Settings of each are used.
// Others that are known are kept as not present.
func (s *store) putWorkspaces(ctx context.Context, tx *sql.Tx, repo RepoID, present []WorkspaceRow) error {
	if _, err := tx.ExecContext(ctx, "UPDATE workspace SET present = 0 WHERE repository = $1", string(repo)); err != nil {
		return fmt.Errorf("keep the workspaces of %s: %w", repo, err)
	}
	for _, w := range present {
		_, err := tx.ExecContext(ctx, `INSERT INTO workspace (`+workspaceColumns+`) VALUES ($1, $2, $3, 1, $4, '', 0, '')
			ON CONFLICT (repository, name) DO UPDATE SET dir = excluded.dir, present = 1, settings = excluded.settings`,
			string(repo), w.Name, w.Dir, w.Settings)
		if err != nil {
			return fmt.Errorf("keep the workspace %s of %s: %w", w.Name, repo, err)
		}
	}
	return nil
}

// noteApplied writes how the newest apply of a workspace ended; the commit counts as applied if it was.
func (s *store) noteApplied(ctx context.Context, tx *sql.Tx, repo RepoID, name, dir, commit string, status Status, at time.Time) error {
	applied := status == Applied || status == Unchanged
	if !applied {
		commit, at = "", time.Time{}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO workspace (`+workspaceColumns+`) VALUES ($1, $2, $3, 1, '', $4, $5, $6)
		ON CONFLICT (repository, name) DO UPDATE SET last_status = excluded.last_status,
		applied_commit = CASE WHEN excluded.applied_commit = '' THEN workspace.applied_commit ELSE excluded.applied_commit END,
		applied_at = CASE WHEN excluded.applied_commit = '' THEN workspace.applied_at ELSE excluded.applied_at END`,
		string(repo), name, dir, commit, millis(at), string(status))
	if err != nil {
		return fmt.Errorf("note how %s of %s was applied: %w", name, repo, err)
	}
	return nil
}

// branchMovedAt reads when a branch was last handled further.
func (s *store) branchMovedAt(ctx context.Context, tx *sql.Tx, repo RepoID, name string) (time.Time, error) {
	ms, _, err := first(ctx, tx, scanNumber, "SELECT moved_at FROM branch WHERE repository = $1 AND name = $2", string(repo), name)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when the branch %s of %s moved: %w", name, repo, err)
	}
	return moment(ms), nil
}

// latestHandled reads when, by the forge's clock, the latest of the changes was merged into a branch whose merge has its
// apply operation; zero if there is none.
func (s *store) latestHandled(ctx context.Context, tx *sql.Tx, repo RepoID, branch string) (time.Time, error) {
	ms, _, err := first(ctx, tx, scanNumber, `SELECT COALESCE(MAX(change.closed_at), 0) FROM change
		JOIN operation ON operation.repository = change.repository AND operation.change_number = change.number
		WHERE change.repository = $1 AND change.base_branch = $2 AND change.state = 'merged' AND operation.cause = 'merged'`, string(repo), branch)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the latest merge into %s of %s: %w", branch, repo, err)
	}
	return moment(ms), nil
}
