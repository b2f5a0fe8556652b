package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

const changeColumns = "repository, number, title, author, state, draft, fork, head_branch, head_commit, base_branch, base_commit, merge_commit, url, updated_at, closed_at, notice, operation, pruned"

func scanChange(row scanner) (ChangeRow, error) {
	var c ChangeRow
	var updated, closed int64
	var notice string
	err := row.Scan(&c.Repository, &c.Number, &c.Title, &c.Author, &c.State, &c.Draft, &c.Fork, &c.Head.Branch, &c.Head.Commit,
		&c.Base.Branch, &c.Base.Commit, &c.MergeCommit, &c.URL, &updated, &closed, &notice, &c.Operation, &c.Pruned)
	if err != nil {
		return ChangeRow{}, err
	}
	c.UpdatedAt, c.ClosedAt = moment(updated), moment(closed)
	c.Repo = c.Repository.repo()
	return c, unpack(notice, &c.Notice)
}

// putChange writes a change as the forge now tells of it, and returns the row as it was before; nil if there was none.
// What was made of the change (Notice, Operation, Pruned) stays. What the forge said of an earlier moment than the row's
// own changes nothing: two requests may be answered in another order than they were asked.
func (s *store) putChange(ctx context.Context, tx *sql.Tx, repo RepoID, c forge.Change) (before *ChangeRow, err error) {
	if _, err := s.hold(ctx, tx, repo); err != nil {
		return nil, err
	}
	old, known, err := s.change(ctx, tx, repo, c.Number)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO change (`+changeColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, '', '', 0)
		ON CONFLICT (repository, number) DO UPDATE SET title = excluded.title, author = excluded.author, state = excluded.state,
		draft = excluded.draft, fork = excluded.fork, head_branch = excluded.head_branch, head_commit = excluded.head_commit,
		base_branch = excluded.base_branch, base_commit = excluded.base_commit, merge_commit = excluded.merge_commit,
		url = excluded.url, updated_at = excluded.updated_at, closed_at = excluded.closed_at
		WHERE change.updated_at <= excluded.updated_at`,
		string(repo), c.Number, c.Title, c.Author, string(c.State), bit(c.Draft), bit(c.Fork), c.Head.Branch, c.Head.Commit,
		c.Base.Branch, c.Base.Commit, c.MergeCommit, c.URL, millis(c.UpdatedAt), millis(c.ClosedAt))
	if err != nil {
		return nil, fmt.Errorf("keep change %d of %s: %w", c.Number, repo, err)
	}
	if !known {
		return nil, nil
	}
	return &old, nil
}

// change reads a change.
func (s *store) change(ctx context.Context, tx *sql.Tx, repo RepoID, number int) (ChangeRow, bool, error) {
	c, ok, err := first(ctx, tx, scanChange, "SELECT "+changeColumns+" FROM change WHERE repository = $1 AND number = $2", string(repo), number)
	if err != nil {
		return ChangeRow{}, false, fmt.Errorf("read change %d of %s: %w", number, repo, err)
	}
	return c, ok, nil
}

// openChanges reads the open changes onto a branch, or onto any with "", by their numbers.
func (s *store) openChanges(ctx context.Context, tx *sql.Tx, repo RepoID, baseBranch string) ([]ChangeRow, error) {
	all, err := list(ctx, tx, scanChange, "SELECT "+changeColumns+" FROM change WHERE repository = $1 AND state = 'open' AND (base_branch = $2 OR $2 = '') ORDER BY number",
		string(repo), baseBranch)
	if err != nil {
		return nil, fmt.Errorf("read the open changes of %s: %w", repo, err)
	}
	return all, nil
}

// mergedSince reads the changes that were merged into a branch since some time by the forge's clock, by their numbers.
func (s *store) mergedSince(ctx context.Context, tx *sql.Tx, repo RepoID, baseBranch string, since time.Time) ([]ChangeRow, error) {
	all, err := list(ctx, tx, scanChange, "SELECT "+changeColumns+" FROM change WHERE repository = $1 AND state = 'merged' AND base_branch = $2 AND (closed_at >= $3 OR closed_at = 0) ORDER BY number",
		string(repo), baseBranch, millis(since))
	if err != nil {
		return nil, fmt.Errorf("read the changes merged into %s of %s: %w", baseBranch, repo, err)
	}
	return all, nil
}

// setNotice writes what a change's comment and status say besides the runs.
func (s *store) setNotice(ctx context.Context, tx *sql.Tx, repo RepoID, number int, n Notice) error {
	text, err := pack(n)
	if err == nil {
		err = s.must(ctx, tx, "UPDATE change SET notice = $1 WHERE repository = $2 AND number = $3", text, string(repo), number)
	}
	if err != nil {
		return fmt.Errorf("note why change %d of %s waits: %w", number, repo, err)
	}
	return nil
}

// setOperation writes which plan operation a change's comment shows; "" for none.
func (s *store) setOperation(ctx context.Context, tx *sql.Tx, repo RepoID, number int, operation string) error {
	err := s.must(ctx, tx, "UPDATE change SET operation = $1 WHERE repository = $2 AND number = $3", operation, string(repo), number)
	if err != nil {
		return fmt.Errorf("note the plan of change %d of %s: %w", number, repo, err)
	}
	return nil
}

// setPruned writes whether a change's plans are gone from the plan store.
func (s *store) setPruned(ctx context.Context, tx *sql.Tx, repo RepoID, number int, pruned bool) error {
	err := s.must(ctx, tx, "UPDATE change SET pruned = $1 WHERE repository = $2 AND number = $3", bit(pruned), string(repo), number)
	if err != nil {
		return fmt.Errorf("note that the plans of change %d of %s are gone: %w", number, repo, err)
	}
	return nil
}

// must runs a statement that has to change a row.
func (s *store) must(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	ok, err := s.change1(ctx, tx, query, args...)
	if err == nil && !ok {
		err = sql.ErrNoRows
	}
	return err
}
