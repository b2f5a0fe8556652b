package engine

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// thread is what we say on one change: comments of ours, each found by its key and page. It makes the forge agree with
// what is to be said and keeps the rows in step.
//
// A comment is written before its row is, so a process may die in between. Therefore nothing is created before the
// change's comments have been listed: one that carries our mark, and was written with our credentials, is taken over. What
// others write counts for nothing, whatever it looks like.
type thread struct {
	e      *Engine
	client Forge
	repo   forge.Repo
	id     RepoID
	change int
	rows   map[place]CommentRow
	// mine reports whether it is still up to us to write: a process that was taken for dead may be late.
	mine func(ctx context.Context) error
	// later is when a comment is to be begun that has nothing to tell yet; zero if there is none.
	later time.Time

	listed bool
	byID   map[string]forge.Comment
	marked map[place][]forge.Comment // by their marks, oldest first
}

// place is where a page of ours stands.
type place struct {
	key  string
	page int
}

// goneKey marks the pages that tell of nothing any more, so that nobody takes them for one that does.
const goneKey = "gone"

func (e *Engine) newThread(client Forge, repo Repository, change int, rows []CommentRow, mine func(context.Context) error) *thread {
	t := &thread{e: e, client: client, repo: repo.Repo, id: repo.ID, change: change, rows: map[place]CommentRow{}, mine: mine}
	for _, row := range rows {
		t.rows[place{row.Key, row.Page}] = row
	}
	return t
}

// list reads the change's comments.
func (t *thread) list(ctx context.Context) error {
	comments, err := t.client.Comments(ctx, t.repo, t.change)
	if err != nil {
		return err
	}
	t.listed, t.byID, t.marked = true, map[string]forge.Comment{}, map[place][]forge.Comment{}
	for _, c := range comments {
		if !c.Ours {
			continue
		}
		t.byID[c.ID] = c
		if m, ok := prcomment.ParseMark(c.Body); ok {
			at := place{m.Key, m.Page}
			t.marked[at] = append(t.marked[at], c)
		}
	}
	return nil
}

// say has the pages with the key read so. check looks whether what should be there already really is, which takes a
// request more.
func (t *thread) say(ctx context.Context, key string, pages []string, check bool) error {
	if check {
		for i, body := range pages {
			if row := t.rows[place{key, i + 1}]; row.ID == "" || row.Minimised || row.Digest != digest(body) {
				check = false // it will be written in any case, and that shows what is missing
			}
		}
	}
	if check && !t.listed {
		if err := t.list(ctx); err != nil {
			return err
		}
	}
	for i, body := range pages {
		if err := t.put(ctx, place{key, i + 1}, body, check); err != nil {
			return err
		}
	}
	return nil
}

// put has one page read so.
func (t *thread) put(ctx context.Context, at place, body string, check bool) error {
	row, known := t.rows[at]
	if known && !row.Minimised {
		right := row.Digest == digest(body)
		if right && check {
			found, there := t.byID[row.ID]
			known, right = there, there && same(found.Body, body)
		}
		if known && right {
			return nil
		}
		if found, there := t.byID[row.ID]; there && same(found.Body, body) {
			return t.keep(ctx, at, found, body) // by an attempt that died before it was written down
		}
		if known {
			if err := t.ours(ctx); err != nil {
				return err
			}
			c, err := t.client.EditComment(ctx, t.repo, row.ID, body)
			if err == nil {
				return t.keep(ctx, at, c, body)
			}
			if !errors.Is(err, forge.ErrNotFound) {
				return err
			}
			// Somebody has deleted it.
		}
	}
	return t.create(ctx, at, row, body)
}

// ours refuses to write for a process that was taken for dead: another one writes now, and what it has said is newer.
func (t *thread) ours(ctx context.Context) error {
	if t.mine == nil {
		return nil
	}
	return t.mine(ctx)
}

// create writes a page that is not there, unless it turns out that it is. old is the row of the one that was there; a
// folded one stays as it is, for whoever edits it is read by nobody.
func (t *thread) create(ctx context.Context, at place, old CommentRow, body string) error {
	if !t.listed {
		if err := t.list(ctx); err != nil {
			return err
		}
	}
	for _, c := range t.marked[at] {
		if c.ID == old.ID {
			continue
		}
		if !same(c.Body, body) {
			edited, err := t.client.EditComment(ctx, t.repo, c.ID, body)
			if errors.Is(err, forge.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			c = edited
		}
		return t.keep(ctx, at, c, body)
	}
	if err := t.ours(ctx); err != nil {
		return err
	}
	c, err := t.client.CreateComment(ctx, t.repo, t.change, body)
	if err != nil {
		return err
	}
	return t.keep(ctx, at, c, body)
}

// keep writes the row of a page.
func (t *thread) keep(ctx context.Context, at place, c forge.Comment, body string) error {
	row := CommentRow{Repository: t.id, Change: t.change, Key: at.key, Page: at.page, ID: c.ID, URL: c.URL, Digest: digest(body), WrittenAt: c.UpdatedAt}
	return t.save(ctx, at, row)
}

func (t *thread) save(ctx context.Context, at place, row CommentRow) error {
	t.rows[at] = row
	// What was posted is posted, even if we are to stop now or the database is gone.
	return t.e.persist(ctx, func(tx *sql.Tx) error { return t.e.store.putComment(context.WithoutCancel(ctx), tx, row) })
}

// beyond lists the pages with the key after the last one.
func (t *thread) beyond(key string, last int) []place {
	var more []place
	for page := last + 1; ; page++ {
		at := place{key, page}
		if _, ok := t.rows[at]; !ok {
			return more
		}
		more = append(more, at)
	}
}

// empty clears the pages after the last one, for as long as it is not known whether they will be needed.
func (t *thread) empty(ctx context.Context, kind prcomment.Kind, key string, last int) error {
	for _, at := range t.beyond(key, last) {
		mark := prcomment.Mark{Kind: kind, Key: key, Page: at.page, Pages: at.page}
		if err := t.put(ctx, at, mark.String()+"\n<sub>What stood here is being made anew; see the first comment.</sub>\n", false); err != nil {
			return err
		}
	}
	return nil
}

// drop takes away the pages after the last one: they are emptied, folded where the forge can, and forgotten.
func (t *thread) drop(ctx context.Context, kind prcomment.Kind, key string, last int) error {
	more := t.beyond(key, last)
	for i := len(more) - 1; i >= 0; i-- { // from behind, so that none is left after a gap
		at := more[i]
		row := t.rows[at]
		body := prcomment.Mark{Kind: kind, Key: goneKey, Page: 1, Pages: 1}.String() + "\n<sub>What stood here is not needed any more.</sub>\n"
		_, err := t.client.EditComment(ctx, t.repo, row.ID, body)
		if err == nil && !row.Minimised {
			err = t.fold(ctx, row.ID)
		}
		if err != nil && !errors.Is(err, forge.ErrNotFound) {
			return err
		}
		delete(t.rows, at)
		if err := t.e.persist(ctx, func(tx *sql.Tx) error { return t.e.store.dropComment(context.WithoutCancel(ctx), tx, row) }); err != nil {
			return err
		}
	}
	return nil
}

// minimise folds all pages with the key away, where the forge can.
func (t *thread) minimise(ctx context.Context, key string) error {
	for _, at := range t.beyond(key, 0) {
		row := t.rows[at]
		if row.Minimised {
			continue
		}
		done, err := t.client.MinimiseComment(ctx, t.repo, row.ID)
		if err = cosmetic(err); err != nil {
			return err
		}
		if !done {
			continue
		}
		row.Minimised = true
		if err := t.save(ctx, at, row); err != nil {
			return err
		}
	}
	return nil
}

// settle has the pages with the key say that what they offer is over. The plans that they show may be gone by now, so they
// are not made anew: only their last line changes. A page that somebody has edited is left alone.
func (t *thread) settle(ctx context.Context, key, words string) error {
	for _, at := range t.beyond(key, 0) {
		row := t.rows[at]
		if row.Settled || row.Minimised {
			continue
		}
		if !t.listed {
			if err := t.list(ctx); err != nil {
				return err
			}
		}
		row.Settled = true
		if body, ours := asWritten(t.byID[row.ID].Body, row.Digest); ours {
			if settled := prcomment.Settle(body, words); settled != body {
				c, err := t.client.EditComment(ctx, t.repo, row.ID, settled)
				if err != nil && !errors.Is(err, forge.ErrNotFound) {
					return err
				}
				if err == nil {
					row.Digest, row.WrittenAt = digest(settled), c.UpdatedAt
				}
			}
		}
		if err := t.save(ctx, at, row); err != nil {
			return err
		}
	}
	return nil
}

// asWritten is what we wrote, from what a forge made of it. !ours says that somebody has edited it since.
func asWritten(body, written string) (text string, ours bool) {
	body = strings.TrimRight(strings.ReplaceAll(body, "\r\n", "\n"), " \t\n")
	for _, end := range []string{"\n", ""} {
		if digest(body+end) == written {
			return body + end, true
		}
	}
	return "", false
}

func (t *thread) fold(ctx context.Context, id string) error {
	_, err := t.client.MinimiseComment(ctx, t.repo, id)
	return cosmetic(err)
}

// cosmetic forgives a forge that does not let us fold comments: nothing is lost but order.
func cosmetic(err error) error {
	var denied *forge.NotAllowedError
	if errors.As(err, &denied) || errors.Is(err, forge.ErrNotFound) {
		return nil
	}
	return err
}

// all returns the rows as they now are.
func (t *thread) all() []CommentRow {
	rows := make([]CommentRow, 0, len(t.rows))
	for _, row := range t.rows {
		rows = append(rows, row)
	}
	return rows
}

// digest stands for what a comment or status says.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// same compares bodies as forges keep them: some change line breaks and white space at the end.
func same(a, b string) bool {
	clean := func(s string) string { return strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), " \t\n") }
	return clean(a) == clean(b)
}

// tellComments writes the comments on a change.
func (e *Engine) tellComments(ctx context.Context, client Forge, a *account) error {
	if a.who.Change == 0 {
		return nil
	}
	t := e.newThread(client, a.repository, a.who.Change, a.comments, func(ctx context.Context) error {
		var ours bool
		err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			ours, err = e.store.ownsReport(ctx, tx, a.who, e.process)
			return err
		})
		if err == nil && !ours {
			err = fmt.Errorf("report on %s: %w", a.who, errTaken)
		}
		return err
	})
	if a.again && len(a.comments) > 0 {
		if err := t.noteFound(ctx); err != nil {
			return err
		}
	}
	err := e.sayAll(ctx, t, a)
	a.comments, a.later = t.all(), t.later
	return err
}

// sayAll says what there is to say, in the order of the operations, and folds away what it makes obsolete.
func (e *Engine) sayAll(ctx context.Context, t *thread, a *account) error {
	letters, err := e.letters(ctx, a)
	if err != nil {
		return err
	}
	for _, l := range letters {
		if !l.from.IsZero() && !a.has(l.key) && e.store.now().Before(l.from) {
			if t.later.IsZero() || l.from.Before(t.later) {
				t.later = l.from
			}
			continue
		}
		report, err := l.write(ctx)
		if err != nil {
			return err
		}
		pages := prcomment.Render(report, forge.MaxComment)
		if err := t.say(ctx, l.key, pages, l.final); err != nil {
			return err
		}
		if l.of != nil {
			if err := t.noteSaid(ctx, l.key, report.Shows, *l.of); err != nil {
				return err
			}
		}
		if l.final {
			err = t.drop(ctx, report.Kind, l.key, len(pages))
		} else {
			err = t.empty(ctx, report.Kind, l.key, len(pages))
		}
		if err != nil {
			return err
		}
	}
	if o := a.plan(); a.change.State != forge.Open && (o == nil || o.Status != OperationRunning) {
		words := "This was closed without being merged: nothing of it is applied."
		if a.change.State == forge.Merged {
			words = "This is merged."
			if _, applied := a.applies(); applied || a.change.Notice.Along != "" {
				words += " What became of it is told further down."
			}
		}
		if err := t.settle(ctx, keyPlan, words); err != nil {
			return err
		}
	}
	for _, key := range a.obsolete() {
		if err := t.settle(ctx, key, "What this left open is settled: see further down."); err != nil {
			return err
		}
		if err := t.minimise(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
