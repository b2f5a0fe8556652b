package engine

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// between is how far apart the reports of one subject are, unless one is urgent: an edit of a comment is a request to the
// forge, and may tell people by mail.
const between = 2 * time.Second

// ReportRow says who is to be told something.
type ReportRow struct {
	Subject
	Wanted   int64 // to be given to endReport: what was asked for later is told later
	Urgent   bool
	Attempts int
}

func scanReport(row scanner) (ReportRow, error) {
	var r ReportRow
	err := row.Scan(&r.Repository, &r.Change, &r.Operation, &r.Wanted, &r.Urgent, &r.Attempts)
	return r, err
}

const reportColumns = "repository, change_number, operation, wanted, urgent, attempts"

// wantReport asks for a report: soon, together with what else happens in the next moments, or at once if urgent. After
// failures it waits its turn all the same.
func (s *store) wantReport(ctx context.Context, tx *sql.Tx, who Subject, urgent bool) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO report (repository, change_number, operation, wanted, told, urgent, owner, attempts, next_at, told_at, problem)
		VALUES ($1, $2, $3, 1, 0, $4, '', 0, 0, 0, '')
		ON CONFLICT (repository, change_number, operation) DO UPDATE SET wanted = report.wanted + 1,
		urgent = CASE WHEN excluded.urgent = 1 THEN 1 ELSE report.urgent END,
		next_at = CASE WHEN report.problem = '' THEN 0 ELSE report.next_at END`,
		string(who.Repository), who.Change, who.Operation, bit(urgent))
	if err != nil {
		return fmt.Errorf("ask for a report on change %d of %s: %w", who.Change, who.Repository, err)
	}
	return nil
}

// due is which reports may be made now: $1 is the time, $2 and $3 what it must not be near, see beyond.
const reportDue = `wanted > told AND owner = '' AND (next_at <= $1 OR next_at > $2) AND (urgent = 1 OR told_at <= $3 OR told_at > $1)`

func (s *store) dueArgs() []any {
	now := s.now()
	return []any{millis(now), s.beyond(longestRetry), millis(now.Add(-between))}
}

// claimReport takes a report that is wanted and due. !ok says that it is not, or that somebody is at it.
func (s *store) claimReport(ctx context.Context, tx *sql.Tx, who Subject, owner string) (ReportRow, bool, error) {
	ok, err := s.change1(ctx, tx, "UPDATE report SET owner = $4, attempts = attempts + 1 WHERE repository = $5 AND change_number = $6 AND operation = $7 AND "+reportDue,
		append(s.dueArgs(), owner, string(who.Repository), who.Change, who.Operation)...)
	if err != nil {
		return ReportRow{}, false, fmt.Errorf("claim the report on change %d of %s: %w", who.Change, who.Repository, err)
	}
	if !ok {
		return ReportRow{}, false, nil
	}
	return first(ctx, tx, scanReport, "SELECT "+reportColumns+" FROM report WHERE repository = $1 AND change_number = $2 AND operation = $3", string(who.Repository), who.Change, who.Operation)
}

// endReport gives a report back. With no problem it tells that r.Wanted was told, and if next is set, that there will be
// something to tell then even if nothing happens meanwhile; with one, that nothing was, and it is tried again at next.
func (s *store) endReport(ctx context.Context, tx *sql.Tx, r ReportRow, owner, problem string, next time.Time) error {
	set := "told = $5, told_at = $6, attempts = 0, problem = '', urgent = CASE WHEN wanted > $5 THEN urgent ELSE 0 END, next_at = 0"
	args := []any{r.Wanted, millis(s.now())}
	if !next.IsZero() {
		// News that has come meanwhile does not wait.
		set += " + CASE WHEN wanted = $5 THEN CAST($7 AS BIGINT) ELSE 0 END, wanted = wanted + CASE WHEN wanted = $5 THEN 1 ELSE 0 END"
		args = append(args, millis(next))
	}
	if problem != "" {
		set, args = "problem = $5, next_at = $6", []any{problem, millis(next)}
	}
	ok, err := s.change1(ctx, tx, "UPDATE report SET owner = '', "+set+" WHERE repository = $1 AND change_number = $2 AND operation = $3 AND owner = $4",
		append([]any{string(r.Repository), r.Change, r.Operation, owner}, args...)...)
	if err == nil && !ok {
		err = errTaken
	}
	if err != nil {
		return fmt.Errorf("end the report on change %d of %s: %w", r.Change, r.Repository, err)
	}
	return nil
}

// reportNews reads whether something is to be told at once that was asked for after the report was claimed.
func (s *store) reportNews(ctx context.Context, tx *sql.Tx, who Subject, since int64) (bool, error) {
	urgent, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM report WHERE repository = $1 AND change_number = $2 AND operation = $3 AND urgent = 1 AND wanted > $4",
		string(who.Repository), who.Change, who.Operation, since)
	if err != nil {
		return false, fmt.Errorf("look for news of change %d of %s: %w", who.Change, who.Repository, err)
	}
	return urgent > 0, nil
}

// ownsReport reports whether a process has the report.
func (s *store) ownsReport(ctx context.Context, tx *sql.Tx, who Subject, owner string) (bool, error) {
	n, _, err := first(ctx, tx, scanNumber, "SELECT COUNT(*) FROM report WHERE repository = $1 AND change_number = $2 AND operation = $3 AND owner = $4",
		string(who.Repository), who.Change, who.Operation, owner)
	if err != nil {
		return false, fmt.Errorf("see who makes the report on change %d of %s: %w", who.Change, who.Repository, err)
	}
	return n > 0, nil
}

// dueReports reads whose reports wait for nobody but a worker, the urgent first.
func (s *store) dueReports(ctx context.Context, tx *sql.Tx, limit int) ([]Subject, error) {
	all, err := list(ctx, tx, scanReport, "SELECT "+reportColumns+" FROM report WHERE "+reportDue+" ORDER BY urgent DESC, told_at, repository, change_number, operation LIMIT $4",
		append(s.dueArgs(), limit)...)
	if err != nil {
		return nil, fmt.Errorf("look for reports that wait: %w", err)
	}
	who := make([]Subject, 0, len(all))
	for _, r := range all {
		who = append(who, r.Subject)
	}
	return who, nil
}

func scanComment(row scanner) (CommentRow, error) {
	var c CommentRow
	var written int64
	err := row.Scan(&c.Repository, &c.Change, &c.Key, &c.Page, &c.ID, &c.URL, &c.Digest, &c.Minimised, &written, &c.Settled)
	c.WrittenAt = moment(written)
	return c, err
}

// comments reads the pages that we have written on a change.
func (s *store) comments(ctx context.Context, tx *sql.Tx, repo RepoID, change int) ([]CommentRow, error) {
	all, err := list(ctx, tx, scanComment, "SELECT repository, change_number, key, page, id, url, digest, minimised, written_at, settled FROM comment WHERE repository = $1 AND change_number = $2 ORDER BY key, page",
		string(repo), change)
	if err != nil {
		return nil, fmt.Errorf("read the comments on change %d of %s: %w", change, repo, err)
	}
	return all, nil
}

// putComment writes what a page of ours is and says.
func (s *store) putComment(ctx context.Context, tx *sql.Tx, c CommentRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO comment (repository, change_number, key, page, id, url, digest, minimised, written_at, settled) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (repository, change_number, key, page) DO UPDATE SET id = excluded.id, url = excluded.url, digest = excluded.digest, minimised = excluded.minimised,
		written_at = excluded.written_at, settled = excluded.settled`,
		string(c.Repository), c.Change, c.Key, c.Page, c.ID, c.URL, c.Digest, bit(c.Minimised), millis(c.WrittenAt), bit(c.Settled))
	if err != nil {
		return fmt.Errorf("keep a comment on change %d of %s: %w", c.Change, c.Repository, err)
	}
	return nil
}

// dropComment forgets a page, because it is gone from the forge.
func (s *store) dropComment(ctx context.Context, tx *sql.Tx, c CommentRow) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM comment WHERE repository = $1 AND change_number = $2 AND key = $3 AND page = $4", string(c.Repository), c.Change, c.Key, c.Page)
	if err != nil {
		return fmt.Errorf("forget a comment on change %d of %s: %w", c.Change, c.Repository, err)
	}
	return nil
}

// statuses reads the digests of the statuses that we have set on a commit, by context.
func (s *store) statuses(ctx context.Context, tx *sql.Tx, repo RepoID, commit string) (map[string]string, error) {
	rows, err := list(ctx, tx, func(row scanner) (r [2]string, err error) {
		err = row.Scan(&r[0], &r[1])
		return r, err
	}, "SELECT context, digest FROM status WHERE repository = $1 AND commit_id = $2", string(repo), commit)
	if err != nil {
		return nil, fmt.Errorf("read the statuses of %s of %s: %w", commit, repo, err)
	}
	digests := map[string]string{}
	for _, r := range rows {
		digests[r[0]] = r[1]
	}
	return digests, nil
}

// putStatus writes what a status that we have set says.
func (s *store) putStatus(ctx context.Context, tx *sql.Tx, repo RepoID, commit, name, digest string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO status (repository, commit_id, context, digest) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository, commit_id, context) DO UPDATE SET digest = excluded.digest`, string(repo), commit, name, digest)
	if err != nil {
		return fmt.Errorf("keep the status %s of %s of %s: %w", name, commit, repo, err)
	}
	return nil
}
